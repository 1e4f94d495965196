"""Exact transport plans by the network simplex method, on few pairs that good potentials choose.

Only pairs with the least reduced costs C_ij - f_i - g_j are candidates. When none of them enters the basis, a read of the whole matrix
looks for others that would, which with potentials of an entropic plan happens a few times. Flows are integers, in units of 2^-60 of
the mass: ties are ties, and strongly feasible trees leave them without cycling [Cunningham, Mathematical Programming 11, 1976].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from lowrank_la.kernels._engine import Kernel

UNIT = 2.0**-60  # of the mass
CANDIDATES, FOUND = 8, 4  # pairs of a row that are candidates from the start, and that join them after a read
ROUNDS = 1000  # reads of the matrix, at most
U = 2.0**-53


class Exact(NamedTuple):
    """An optimal plan in coordinates, optimal potentials, and the mass for which no allowed pairs were left."""

    rows: np.ndarray
    columns: np.ndarray
    flows: np.ndarray
    f: np.ndarray
    g: np.ndarray
    missing: float


class _Tree(NamedTuple):
    """Rows, columns and a root as nodes of a tree: for each node its parent, and the arc between them."""

    parent: np.ndarray
    arc: np.ndarray  # number of a candidate, or -1 for an artificial arc
    up: np.ndarray  # whether the arc leads to the parent
    flow: np.ndarray
    depth: np.ndarray
    potential: np.ndarray
    first: np.ndarray  # child
    after: np.ndarray  # sibling
    before: np.ndarray


def reference(C: np.ndarray, a: np.ndarray, b: np.ndarray, f: np.ndarray, g: np.ndarray) -> Exact:
    """Minimise <C, P> over plans with sums a and b of mass 1, without infinite costs, by HiGHS.

    Parameters
    ----------
    C : array (n, m), float64
        Costs, inf for forbidden pairs.
    a, b : arrays (n,) and (m,)
        Positive weights.
    f, g : arrays (n,) and (m,)
        Good potentials; any will do.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    (n, m), (rows, columns) = C.shape, np.nonzero(np.isfinite(C))
    count, largest = len(rows), float(np.abs(C[rows, columns]).max())
    places = np.concatenate([rows, n + columns, np.arange(n + m)])  # last, what is missing
    variables = np.concatenate([np.arange(count), np.arange(count), count + np.arange(n + m)])
    sums = csr_array((np.ones(len(places)), (places, variables)), shape=(n + m, count + n + m))
    price = np.full(n + m, 4 * (n + m) * largest + 1)
    answer = linprog(np.concatenate([C[rows, columns], price]), A_eq=sums, b_eq=np.concatenate([a, b]), method="highs")
    flows, duals = answer.x[:count], answer.eqlin.marginals
    used = flows > 0
    return Exact(rows[used], columns[used], flows[used], duals[:n], duals[n:], float(answer.x[count : count + n].sum()))


def cpu(C: np.ndarray, a: np.ndarray, b: np.ndarray, f: np.ndarray, g: np.ndarray) -> Exact:
    """Pivot among candidates and read the matrix in turns."""
    n = a.size
    supplies, demands = _units(a), _units(b)
    demands[demands.argmax()] += supplies.sum() - demands.sum()
    rows, columns, costs = _cheapest_pairs(C, f, g, np.inf, CANDIDATES)
    largest = float(np.abs(costs).max()) + _largest(C)
    price, tree = (float(np.ptp(costs)) + 64 * U * largest) or 1.0, _start(supplies, demands)
    x, y = f, g
    for _ in range(ROUNDS):
        tolerance = 64 * U * (largest + price)
        _optimise(rows, n + columns, costs, price, tolerance, *tree)
        x, y = f - tree.potential[:n], g + tree.potential[n:-1]
        more = _cheapest_pairs(C, x, y, -2 * tolerance, FOUND)
        if len(more[0]):
            added = C[more[0], more[1]] - f[more[0]] - g[more[1]]
            rows, columns, costs = (np.concatenate(pair) for pair in zip((rows, columns, costs), (*more[:2], added), strict=True))
        elif not tree.flow[:-1][tree.arc[:-1] < 0].any() or price > 4 * (n + b.size) * largest:
            break
        else:
            price *= 64
    real = np.flatnonzero((tree.arc[:-1] >= 0) & (tree.flow[:-1] > 0))
    missing = float(tree.flow[:n][tree.arc[:n] < 0].sum()) * UNIT
    chosen = tree.arc[real]
    return Exact(rows[chosen], columns[chosen], tree.flow[real] * UNIT, x, y, missing)


def _largest(C: np.ndarray) -> float:
    """Return the largest |C_ij| of pairs that are allowed."""
    top = float(C.max())
    return max(abs(float(C.min())), abs(top) if np.isfinite(top) else float(np.max(np.abs(C[np.isfinite(C)]))))


def _units(w: np.ndarray) -> np.ndarray:
    return np.maximum(np.rint(w / UNIT), 1).astype(np.int64)


def _start(supplies: np.ndarray, demands: np.ndarray) -> _Tree:
    """Hang all nodes on the root, which takes all supplies and meets all demands."""
    n, m = supplies.size, demands.size
    root, nodes = n + m, np.arange(n + m)
    return _Tree(
        parent=np.append(np.full(n + m, root), -1),
        arc=np.full(n + m + 1, -1),
        up=np.arange(n + m + 1) < n,
        flow=np.concatenate([supplies, demands, [0]]),
        depth=np.append(np.ones(n + m, np.int64), 0),
        potential=np.zeros(n + m + 1),
        first=np.append(np.full(n + m, -1), 0),
        after=np.append(nodes[1:], [-1, -1]),
        before=np.append(nodes - 1, -1),
    )


def _cheapest_pairs(C: np.ndarray, f: np.ndarray, g: np.ndarray, limit: float, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of each row with the least C_ij - f_i - g_j below a limit, and these."""
    most = min(most, g.size)
    places, values = np.empty((f.size, most), np.int64), np.full((f.size, most), np.inf)
    _cheapest(C, f, g, limit, places, values)
    rows, k = np.nonzero(values < limit)
    return rows, places[rows, k], values[rows, k]


@njit(parallel=True, cache=True)
def _cheapest(C, f, g, limit, places, values):  # type: ignore[no-untyped-def]
    most = values.shape[1]
    for i in prange(f.size):
        worst = limit
        for j in range(g.size):
            value = C[i, j] - f[i] - g[j]
            if value < worst:
                k = most - 1
                while k > 0 and values[i, k - 1] > value:
                    values[i, k], places[i, k] = values[i, k - 1], places[i, k - 1]
                    k -= 1
                values[i, k], places[i, k] = value, j
                worst = min(worst, values[i, most - 1])


@njit(cache=True)
def _optimise(tails, heads, costs, price, tolerance, parent, arc, up, flow, depth, potential, first, after, before):  # type: ignore[no-untyped-def]
    """Pivot until no candidate enters, the best of a block each time."""
    block, at, idle = max(10, int(math.sqrt(costs.size))), 0, 0
    _potentials(costs, price, parent, arc, up, depth, potential, first, after)
    fresh = True
    while True:
        best, entering = -tolerance, -1
        for _ in range(block):
            reduced = costs[at] + potential[tails[at]] - potential[heads[at]]
            if reduced < best:
                best, entering = reduced, at
            at = at + 1 if at + 1 < costs.size else 0
        if entering >= 0:
            idle, fresh = 0, False
            shift, top = _pivot(entering, tails[entering], heads[entering], best, parent, arc, up, flow, depth, first, after, before)
            _shift(top, shift, parent, depth, potential, first, after)
            continue
        idle += block
        if idle >= costs.size:
            if fresh:
                return
            _potentials(costs, price, parent, arc, up, depth, potential, first, after)  # without the rounding errors of many shifts
            idle, fresh = 0, True


@njit(cache=True)
def _potentials(costs, price, parent, arc, up, depth, potential, first, after):  # type: ignore[no-untyped-def]
    root = parent.size - 1
    potential[root] = 0.0
    node = first[root]
    while node != root:
        cost = costs[arc[node]] if arc[node] >= 0 else price
        potential[node] = potential[parent[node]] + (-cost if up[node] else cost)
        node = _following(node, root, parent, first, after)


@njit(cache=True)
def _following(node, top, parent, first, after):  # type: ignore[no-untyped-def]
    """Return the node that comes next in a walk over a subtree, or its top at the end."""
    if first[node] >= 0:
        return first[node]
    while node != top and after[node] < 0:
        node = parent[node]
    return node if node == top else after[node]


@njit(cache=True)
def _pivot(entering, tail, head, reduced, parent, arc, up, flow, depth, first, after, before):  # type: ignore[no-untyped-def]
    """Let an arc enter and the last arc that blocks the flow around its cycle leave; return the shift of a subtree and its top."""
    x, y = tail, head
    while x != y:
        if depth[x] >= depth[y]:
            x = parent[x]
        else:
            y = parent[y]
    meet, leaving, least, from_tail = x, -1, np.iinfo(np.int64).max, True
    x = tail
    while x != meet:
        if up[x] and flow[x] < least:
            least, leaving = flow[x], x
        x = parent[x]
    x = head
    while x != meet:
        if not up[x] and flow[x] <= least:
            least, leaving, from_tail = flow[x], x, False
        x = parent[x]
    _push(tail, meet, -least, parent, up, flow)
    _push(head, meet, least, parent, up, flow)
    top, above = (tail, head) if from_tail else (head, tail)
    _hang(top, above, entering, from_tail, least, leaving, parent, arc, up, flow, first, after, before)
    return (-reduced if from_tail else reduced), top


@njit(cache=True)
def _push(node, meet, amount, parent, up, flow):  # type: ignore[no-untyped-def]
    """Send flow upwards from a node."""
    while node != meet:
        flow[node] += amount if up[node] else -amount
        node = parent[node]


@njit(cache=True)
def _hang(node, above, own, leads_up, amount, last, parent, arc, up, flow, first, after, before):  # type: ignore[no-untyped-def]
    """Hang the subtree cut off above `last` by its node `node` on another one, and turn round the path between them."""
    while True:
        old = parent[node], arc[node], not up[node], flow[node]
        left, right = before[node], after[node]
        if left >= 0:
            after[left] = right
        else:
            first[old[0]] = right
        if right >= 0:
            before[right] = left
        parent[node], arc[node], up[node], flow[node] = above, own, leads_up, amount
        before[node], after[node] = -1, first[above]
        if first[above] >= 0:
            before[first[above]] = node
        first[above] = node
        if node == last:
            return
        above, own, leads_up, amount, node = node, old[1], old[2], old[3], old[0]


@njit(cache=True)
def _shift(top, shift, parent, depth, potential, first, after):  # type: ignore[no-untyped-def]
    node = top
    while True:
        depth[node] = depth[parent[node]] + 1
        potential[node] += shift
        node = _following(node, top, parent, first, after)
        if node == top:
            return


solve = Kernel(reference, cpu)
