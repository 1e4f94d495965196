"""Optimal transport of projected points: W_p^p between X theta and Y theta for many directions theta, and its slopes.

On a line the best plan matches quantiles, so the cost is a sum over two sorted rows. A task projects all points on
a few directions in register tiles, sorts a row at a time in cache (`_radix`) and adds up; nothing of the size
directions x points is stored. Each direction is done by itself, so that the answer does not depend on the number
of threads. On a GPU the reference runs, on cuBLAS and CuPy's sort.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array, Namespace
from lowrank_la.kernels import _radix, _tile
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel

_CHUNK_BYTES = 1 << 26  # of projections that the reference holds at a time
_WORK_ROWS = 2 * _tile.ROWS + 3  # of a thread: projections of both clouds, two sorted rows, a spare one; in one array, for large pages
_SUMS = {"contract", "reassoc", "nsz"}


def reference(X: Array, Y: Array, T: Array, shift: Array, a: Array | None, b: Array | None, p: float) -> Array:
    """Return the least mean of |x . theta - y . theta + shift|^p over couplings, (L,) in float64.

    X (n, d) and Y (m, d) hold points, T (L, d) directions theta, and `shift` (L,) is float64. Weights a (n,) and b
    (m,) are float64 and sum to 1; None for both means uniform ones.
    """
    xp = _arrays.namespace(X)
    costs = []
    for rows in _chunks(X, Y, T):
        _, _, differences, masses = _matched(xp, X, Y, T[rows, :], shift[rows], a, b)
        costs.append(xp.sum(masses * xp.abs(differences) ** p, axis=1))
    return xp.concat(costs)


def slopes_reference(X: Array, Y: Array, T: Array, shift: Array, a: Array | None, b: Array | None, p: float) -> tuple[Array, Array, Array]:
    """Return the costs and their derivatives by the projected points, (L, n) and (L, m) in the dtype of X."""
    xp = _arrays.namespace(X)
    (order, i), (other, j), differences, masses = _matched(xp, X, Y, T, shift, a, b)
    slopes = p * masses * xp.abs(differences) ** (p - 1) * xp.sign(differences)
    E, F = (_gathered(xp, part, index, sorting) for part, index, sorting in ((slopes, i, order), (-slopes, j, other)))
    return xp.sum(masses * xp.abs(differences) ** p, axis=1), xp.astype(E, X.dtype), xp.astype(F, X.dtype)


def _chunks(X: Array, Y: Array, T: Array) -> list[slice]:
    step = max(1, _CHUNK_BYTES // (8 * (X.shape[0] + Y.shape[0])))
    return [slice(first, min(first + step, T.shape[0])) for first in range(0, T.shape[0], step)]


def _matched(xp: Namespace, X: Array, Y: Array, T: Array, shift: Array, a: Array | None, b: Array | None) -> tuple:
    """Sort projections and match quantiles: (order, index) of both sides, differences and masses of the matches, all with L rows."""
    U, V = (xp.astype(T @ xp.matrix_transpose(points), xp.float64) for points in (X, Y))
    order, other = xp.argsort(U, axis=1), xp.argsort(V, axis=1)
    if a is None:
        i, j, masses = _uniform_matches(xp, U, V)
    else:
        weights = (xp.take_along_axis(xp.broadcast_to(w[None, :], index.shape), index, axis=1) for w, index in ((a, order), (b, other)))
        i, j, masses = _weighted_matches(xp, *weights)
    ends = (
        xp.take_along_axis(U, xp.take_along_axis(order, i, axis=1), axis=1),
        xp.take_along_axis(V, xp.take_along_axis(other, j, axis=1), axis=1),
    )
    return (order, i), (other, j), ends[0] - ends[1] + shift[:, None], masses


def _uniform_matches(xp: Namespace, U: Array, V: Array) -> tuple[Array, Array, Array]:
    """Point i covers masses from i m to (i + 1) m of n m, point j those from j n to (j + 1) n: exact in integers."""
    (rows, n), m = U.shape, V.shape[1]
    if n == m:
        index = xp.arange(n, dtype=xp.int64, device=U.device)
        ends = index + 1
        i = j = index
    else:
        ends = xp.concat([m * xp.arange(1, n + 1, dtype=xp.int64, device=U.device), n * xp.arange(1, m, dtype=xp.int64, device=U.device)])
        ends = xp.sort(ends)
        i, j = (ends - 1) // m, (ends - 1) // n
    total = float(ends[-1])
    masses = xp.astype(ends - xp.concat([xp.zeros_like(ends[:1]), ends[:-1]]), xp.float64) / total
    return tuple(xp.broadcast_to(x[None, :], (rows, x.shape[0])) for x in (i, j, masses))


def _weighted_matches(xp: Namespace, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Match masses row by row; a and b hold the weights of the sorted points."""
    tops = [xp.cumulative_sum(weights, axis=1) for weights in (a, b)]
    ends = xp.sort(xp.concat(tops, axis=1), axis=1)
    masses = xp.diff(ends, axis=1, prepend=xp.zeros_like(ends[:, :1]))
    middles = ends - masses / 2
    i, j = (
        xp.stack([xp.clip(xp.searchsorted(top[row, :], middles[row, :]), 0, top.shape[1] - 1) for row in range(top.shape[0])])
        for top in tops
    )
    return i, j, masses


def _gathered(xp: Namespace, slopes: Array, index: Array, order: Array) -> Array:
    """Add up the slopes of each point's matches, which are consecutive, and put them where the point was before it was sorted."""
    totals = xp.cumulative_sum(slopes, axis=1, include_initial=True)
    points = xp.arange(order.shape[1], dtype=index.dtype, device=index.device)
    rows = []
    for row in range(order.shape[0]):
        first, last = (xp.searchsorted(index[row, :], points, side=side) for side in ("left", "right"))
        rows.append(xp.take(totals[row, :], last) - xp.take(totals[row, :], first))
    return xp.take_along_axis(xp.stack(rows), xp.argsort(order, axis=1), axis=1)


def cpu(X: np.ndarray, Y: np.ndarray, T: np.ndarray, shift: np.ndarray, a: np.ndarray | None, b: np.ndarray | None, p: float) -> np.ndarray:
    """Project, sort and add up in tiles; no slopes."""
    nothing = np.empty((0, 0), X.dtype)
    return _costs(X, Y, T, shift, a, b, p, nothing, nothing)


def slopes_cpu(
    X: np.ndarray, Y: np.ndarray, T: np.ndarray, shift: np.ndarray, a: np.ndarray | None, b: np.ndarray | None, p: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let the numbers of the points move along with them, and write slopes where each point was."""
    E, F = (np.zeros((T.shape[0], points.shape[0]), X.dtype) for points in (X, Y))
    return _costs(X, Y, T, shift, a, b, p, E, F), E, F


def _costs(X, Y, T, shift, a, b, p, E, F):  # type: ignore[no-untyped-def]
    n, m, L = X.shape[0], Y.shape[0], T.shape[0]
    shares = max(1, min(numba.get_num_threads(), L))
    group = min(_tile.ROWS, -(-L // shares))
    costs = np.empty(L)
    weights = [np.empty(0) if w is None else np.ascontiguousarray(w) for w in (a, b)]
    width = -(-max(n, m) // _width(X)) * _width(X)
    work = aligned(shares * _WORK_ROWS, width, X)
    bits = work.view(np.uint32 if X.itemsize == 4 else np.uint64)
    orders = np.empty((shares, 3, width if weights[0].size or E.size else 0), np.uint32)
    tiles = _grouped(T, group), _packed(X), _packed(Y)
    _run(*tiles, group, work, bits, orders, n, m, shift, *weights, float(p), E, F, costs)
    return costs


def _width(X: np.ndarray) -> int:
    return _tile.VECTORS * _tile.lanes_of(X.dtype)


def _grouped(T: np.ndarray, group: int) -> np.ndarray:
    """Fill up groups of directions to the height of a tile with zeros."""
    groups = -(-T.shape[0] // group)
    rows = np.zeros((groups, _tile.ROWS, T.shape[1]), T.dtype)
    spread = np.zeros((groups * group, T.shape[1]), T.dtype)
    spread[: T.shape[0]] = T
    rows[:, :group] = spread.reshape(groups, group, T.shape[1])
    return rows


def _packed(X: np.ndarray) -> np.ndarray:
    width = _width(X)
    panels = aligned(-(-X.shape[0] // width) * X.shape[1], width, X)
    _pack(np.ascontiguousarray(X), panels)
    return panels


@njit(parallel=True, cache=True)
def _pack(X, panels):
    """Store points side by side, a tile's width of them for each coordinate."""
    n, d = X.shape
    width = panels.shape[1]
    for panel in prange((n + width - 1) // width):
        for v in range(min(width, n - panel * width)):
            for k in range(d):
                panels[panel * d + k, v] = X[panel * width + v, k]


_tile_product = _tile.outer(add=False)


@njit(parallel=True, cache=True)
def _run(T, PX, PY, group, work, bits, orders, n, m, shift, a, b, p, E, F, costs):
    """Each share takes some groups of directions, one after the other, in its own rows of `work`."""
    shares = orders.shape[0]
    carried = orders.shape[2] > 0
    for share in prange(shares):
        counts = np.empty((2, 1 << _radix.MOST_BITS), np.uint32)
        order, other, spare_order = orders[share, 0], orders[share, 1], orders[share, 2]
        top_X = share * _WORK_ROWS
        top_Y = top_X + _tile.ROWS
        last = top_Y + _tile.ROWS
        u, v, spare = work[last, :n], work[last + 1, :m], work[last + 2]
        u_bits, v_bits, spare_bits = bits[last, :n], bits[last + 1, :m], bits[last + 2]
        for g in range(T.shape[0] * share // shares, T.shape[0] * (share + 1) // shares):
            _project(T, g, PX, work, top_X)
            _project(T, g, PY, work, top_Y)
            for r in range(min(group, costs.size - g * group)):
                l, x, y = g * group + r, top_X + r, top_Y + r
                _radix.sort(work[x, :n], bits[x, :n], u, u_bits, carried, order, spare, spare_bits, spare_order, counts)
                _radix.sort(work[y, :m], bits[y, :m], v, v_bits, carried, other, spare, spare_bits, spare_order, counts)
                if carried or n != m:
                    row = l if E.size else 0
                    costs[l] = _merge(u, v, order, other, a, b, shift[l], p, E[row : row + 1], F[row : row + 1])
                else:
                    costs[l] = _add(u, v, shift[l], p)


@njit(cache=True)
def _project(T, g, panels, U, top):
    """Rows top to top + ROWS of U become the products of a group of directions with all points."""
    d, width = T.shape[2], panels.shape[1]
    for panel in range(panels.shape[0] // d):
        at = top * U.shape[1] + panel * width
        _tile_product(d, T, g * _tile.ROWS * d, d, 1, panels, panel * d * width, width, U, at, U.shape[1])


@njit(cache=True, fastmath=_SUMS)
def _add(u, v, shift, p):
    """Mean of |u_i - v_i + shift|^p over sorted rows of one length."""
    total = 0.0
    if p == 2.0:
        for i in range(u.size):
            difference = np.float64(u[i]) - np.float64(v[i]) + shift
            total += difference * difference
    elif p == 1.0:
        for i in range(u.size):
            total += abs(np.float64(u[i]) - np.float64(v[i]) + shift)
    else:
        for i in range(u.size):
            total += abs(np.float64(u[i]) - np.float64(v[i]) + shift) ** p
    return total / u.size


@njit(cache=True)
def _merge(u, v, order, other, a, b, shift, p, E, F):
    """Walk through both rows, matching mass; uniform masses are counted in units of 1 / (n m), which is exact."""
    n, m = u.size, v.size
    weighted, sloped = a.size > 0, E.size > 0
    unit = 1.0 if weighted else 1.0 / (np.float64(n) * np.float64(m))
    i = j = 0
    left = a[order[0]] if weighted else np.float64(m)
    right = b[other[0]] if weighted else np.float64(n)
    total = 0.0
    while True:
        mass = min(left, right)
        difference = np.float64(u[i]) - np.float64(v[j]) + shift
        size = abs(difference)
        total += mass * (size * size if p == 2.0 else size**p)
        if sloped and size > 0:
            slope = unit * mass * p * (size if p == 2.0 else size ** (p - 1.0))
            slope = slope if difference > 0 else -slope
            E[0, order[i]] += slope
            F[0, other[j]] -= slope
        left -= mass
        right -= mass
        if left == 0.0:
            i += 1
            if i == n:
                break
            left = a[order[i]] if weighted else np.float64(m)
        if right == 0.0:
            j += 1
            if j == m:
                break
            right = b[other[j]] if weighted else np.float64(n)
    return total * unit


values = Kernel(reference, cpu)
slopes = Kernel(slopes_reference, slopes_cpu)
