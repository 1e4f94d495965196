"""Loops of entropic transport between two clouds of points, whose costs are computed whenever they are needed.

A group of rows goes from coordinates to plan entries in the second-level cache, meets the column vector and
joins the sums over rows there: one exponential for each pair in a whole Sinkhorn sweep, or in a product with
the Newton matrix. Both are float32, with sums in float64; `plan` and `transforms`, which decide what is true, are
float64. Costs that are functions, points of many coordinates and other libraries take the references: tiles of costs, and
the loops of `gibbs` on each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _exponents, _profiles, _rows, _tile, gibbs, plan_newton, scaling
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels.gibbs import Plan
from lowrank_la.kernels.scaling import Sweeps

GROUP = 4  # rows whose entries stay in the cache together
TILE = 1 << 22  # entries of a tile of the references
FEW = 16  # coordinates up to which differences are formed; beyond, inner products
BLOCK = 64  # columns are padded to whole blocks
FAR = -1e30  # potential of columns that are none
LOG2E = gibbs.LOG2E

_squares = _profiles.differences(_profiles.square, rows=GROUP, vectors=2)
_exponentials = _exponents.exponentials()
_dots = _tile.inner(rows=GROUP)
_combine = _tile.outer(rows=1, vectors=4)

Cost = "str | Callable[[Array, Array], Array]"


def costs_reference(X: Array, Y: Array, cost: Any) -> Array:
    """Return the costs (n, m): "sqeuclidean", "euclidean", or what a function of the points gives."""
    if callable(cost):
        return cost(X, Y)
    xp = _arrays.namespace(X, Y)
    if X.shape[1] <= FEW:
        columns = (xp.square(X[:, k][:, None] - Y[:, k][None, :]) for k in range(X.shape[1]))
        squares = sum(columns, start=xp.zeros((X.shape[0], Y.shape[0]), dtype=X.dtype, device=X.device))
    else:
        centre = xp.mean(Y, axis=0, keepdims=True)
        X, Y = X - centre, Y - centre
        squares = xp.sum(X * X, axis=1)[:, None] + xp.sum(Y * Y, axis=1)[None, :] - 2 * (X @ xp.matrix_transpose(Y))
        squares = xp.where(squares > 0, squares, xp.zeros_like(squares))
    return squares if cost == "sqeuclidean" else xp.sqrt(squares)


def costs_cpu(X: np.ndarray, Y: np.ndarray, cost: Any) -> np.ndarray:
    """Form differences in registers."""
    if not _is_plain(X, Y, cost):
        return costs_reference(X, Y, cost)
    rows, columns, wide = _packed(X, Y, X.dtype)
    C = np.empty((X.shape[0], Y.shape[0]), X.dtype)
    _costs(rows, columns, cost == "euclidean", np.empty(wide, X.dtype), C)
    return C


def _is_plain(X: np.ndarray, Y: np.ndarray, cost: Any) -> bool:
    return _rows.is_plain(X, Y) and isinstance(cost, str) and 0 < X.shape[1] <= FEW


def _packed(X: np.ndarray, Y: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Centre points, and pad rows of X and columns of Y^T to whole groups."""
    centre = Y.mean(axis=0, dtype=np.float64)
    wide = -(-len(Y) // BLOCK) * BLOCK
    rows, columns = np.zeros((-(-len(X) // GROUP) * GROUP, X.shape[1]), dtype), np.zeros((X.shape[1], wide), dtype)
    rows[: len(X)], columns[:, : len(Y)] = X - centre, (Y - centre).T
    return rows, columns, wide


@njit(cache=True)
def _fill(X, Y, first, root, C):  # type: ignore[no-untyped-def]
    """Put the costs of a group of rows into C."""
    d, wide = Y.shape
    for j in range(0, wide, 2 * (64 // C.itemsize)):
        _squares(d, X, first * d, d, Y, j, wide, C, j, wide)
    if root:
        for i in range(GROUP):
            for j in range(wide):
                C[i, j] = math.sqrt(C[i, j])


@njit(parallel=True, cache=True)
def _costs(X, Y, root, like, out):  # type: ignore[no-untyped-def]
    groups = X.shape[0] // GROUP
    parts = min(groups, 16)
    for part in prange(parts):
        C = np.empty((GROUP, Y.shape[1]), like.dtype)
        for group in range(groups * part // parts, groups * (part + 1) // parts):
            _fill(X, Y, group * GROUP, root, C)
            for i in range(min(GROUP, out.shape[0] - group * GROUP)):
                out[group * GROUP + i] = C[i, : out.shape[1]]


def tiles(X: Array, Y: Array, cost: Any) -> Iterator[tuple[slice, Array]]:
    """Yield rows of the costs."""
    height = max(1, TILE // Y.shape[0])
    for first in range(0, X.shape[0], height):
        rows = slice(first, min(first + height, X.shape[0]))
        yield rows, costs(X[rows, :], Y, cost)


def plan_reference(
    X: Array, Y: Array, cost: Any, f: np.ndarray, g: np.ndarray, a: np.ndarray, eps: float, kappa: float = 0.0, fixed: bool = False
) -> Plan:
    """Return the sums of a plan, see `gibbs.plan_reference`; P is not kept."""
    parts = [gibbs.plan(C, f[rows], g, a[rows], eps, kappa, False, fixed) for rows, C in tiles(X, Y, cost)]
    along = [np.concatenate([getattr(part, name) for part in parts]) for name in ("f", "rows", "costs")]
    across = [sum(getattr(part, name) for part in parts) for name in ("columns", "diagonal")]
    return Plan(None, along[0], along[1], across[0], across[1], along[2])


def plan_cpu(
    X: np.ndarray,
    Y: np.ndarray,
    cost: Any,
    f: np.ndarray,
    g: np.ndarray,
    a: np.ndarray,
    eps: float,
    kappa: float = 0.0,
    fixed: bool = False,
) -> Plan:
    """Keep the rows in the cache from the coordinates to the sums."""
    if not _is_plain(X, Y, cost):
        return plan_reference(X, Y, cost, f, g, a, eps, kappa, fixed)
    n, m = f.size, g.size
    rows, columns, wide = _packed(X, Y, np.float64)
    F, G = f * (LOG2E / eps), np.full(wide, FAR)
    G[:m] = g * (LOG2E / eps)
    sums, out, weighted = np.empty((gibbs.parts_of(n), 2, wide)), np.empty(n), np.empty(n)
    _plan(rows, columns, cost == "euclidean", m, F, G, np.log2(a), LOG2E / eps, -1.0 if fixed else kappa, sums, out, weighted)
    across, diagonal = sums.sum(axis=0)[:, :m]
    return Plan(None, F * (eps / LOG2E), out, across, diagonal, weighted)


@njit(parallel=True, cache=True)
def _plan(X, Y, root, m, F, G, log_a, scale, kappa, sums, rows, costs):  # type: ignore[no-untyped-def]
    n, parts, wide = F.size, sums.shape[0], sums.shape[2]
    groups = X.shape[0] // GROUP
    for part in prange(parts):
        columns, diagonal = sums[part, 0], sums[part, 1]
        columns[:] = 0.0
        diagonal[:] = 0.0
        C, p = np.empty((GROUP, wide)), np.empty(wide)
        flat = C.reshape(-1)
        for group in range(groups * part // parts, groups * (part + 1) // parts):
            _fill(X, Y, group * GROUP, root, C)
            for i in range(group * GROUP, min(n, group * GROUP + GROUP)):
                gibbs.finish_row(flat, (i - group * GROUP) * wide, m, i, F, G, log_a, scale, kappa, p, rows, costs, columns, diagonal)


def sweeps_reference(
    X: Array,
    Y: Array,
    cost: Any,
    f: np.ndarray,
    g: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    v: np.ndarray,
    eps: float,
    count: int,
    kappas: Any,
) -> Sweeps:
    """Make Sinkhorn sweeps, see `scaling.sweeps_reference`, on the plan of potentials f and g."""
    errors, u, new = [], np.ones_like(f), v
    for k in range(count):
        swept = plan_reference(X, Y, cost, f + eps * np.log(u), g + eps * np.log(new), np.ones_like(f), eps, 0.0, True)
        if k:
            errors.append(float(np.abs(swept.rows - a * u ** -kappas[0]).sum()))
        t = swept.rows / u
        u = (a / t) ** (1 / (1 + kappas[0]))
        w = plan_reference(X, Y, cost, f + eps * np.log(u), g, np.ones_like(f), eps, 0.0, True).columns
        new = (b / w) ** (1 / (1 + kappas[1]))
    return Sweeps(u, new, np.array(errors))


def sweeps_cpu(
    X: np.ndarray,
    Y: np.ndarray,
    cost: Any,
    f: np.ndarray,
    g: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    v: np.ndarray,
    eps: float,
    count: int,
    kappas: Any,
) -> Sweeps:
    """Compute each entry once a sweep."""
    if not _is_plain(X, Y, cost):
        return sweeps_reference(X, Y, cost, f, g, a, b, v, eps, count, kappas)
    n, m = a.size, b.size
    rows, columns, F, G = _narrow(X, Y, f, g, eps)
    weights, u, wide, errors = np.zeros(F.size), np.ones(F.size), np.zeros(G.size), np.zeros(count)
    weights[:n], wide[:m] = a, v
    scale = np.float32(LOG2E / eps)
    _sweeps(rows, columns, cost == "euclidean", F, G, scale, weights, b, u, wide, *kappas, errors, np.empty((gibbs.parts_of(n), G.size)))
    return Sweeps(u[:n], wide[:m], errors[1:])


def _narrow(
    X: np.ndarray, Y: np.ndarray, f: np.ndarray, g: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rows, columns, wide = _packed(X, Y, np.float32)
    F, G = np.zeros(rows.shape[0], np.float32), np.full(wide, FAR, np.float32)
    F[: f.size], G[: g.size] = f * (LOG2E / eps), g * (LOG2E / eps)
    return rows, columns, F, G


@njit(cache=True)
def _entries(X, Y, first, root, F, G, scale, C, P):  # type: ignore[no-untyped-def]
    """Compute the plan entries of a group of rows."""
    wide = Y.shape[1]
    _fill(X, Y, first, root, C)
    for i in range(GROUP):
        _exponentials(wide, C, i * wide, G, 0, F[first + i], scale, P, i * wide)


@njit(parallel=True, cache=True)
def _sweeps(X, Y, root, F, G, scale, a, b, u, v, kappa, kappa_columns, errors, sums):  # type: ignore[no-untyped-def]
    parts, wide, groups = sums.shape[0], Y.shape[1], X.shape[0] // GROUP
    away = np.empty(parts)
    for k in range(errors.size):
        for part in prange(parts):
            total = sums[part]
            total[:] = 0.0
            C, P, dots = np.empty((GROUP, wide), np.float32), np.empty((GROUP, wide), np.float32), np.empty(GROUP)
            off = 0.0
            for group in range(groups * part // parts, groups * (part + 1) // parts):
                first = group * GROUP
                _entries(X, Y, first, root, F, G, scale, C, P)
                dots[:] = 0.0
                _dots(wide, P, 0, wide, v, 0, dots, 0)
                off += scaling.scale_rows(a, dots, first, kappa, u)
                for j in range(0, wide, 32):
                    _combine(GROUP, u, first, 0, 1, P, j, wide, total, j, 0)
            away[part] = off
        errors[k] = away.sum()
        scaling.scale_columns(b, sums, kappa_columns, v)


def gram_reference(
    X: Array, Y: Array, cost: Any, f: np.ndarray, g: np.ndarray, eps: float, y: np.ndarray, w: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return t = P y and P^T diag(w) t, or P^T 1 if w is None."""
    t, z = [], np.zeros_like(y)
    for rows, C in tiles(X, Y, cost):
        plan = gibbs.plan(C, f[rows], g, np.ones(rows.stop - rows.start), eps, 0.0, True, True)
        some, part = plan_newton.product(plan.P, y, np.ones(len(plan.f)) if w is None else w[rows], w is None)
        t.append(some)
        z += part
    return np.concatenate(t), z


def gram_cpu(
    X: np.ndarray, Y: np.ndarray, cost: Any, f: np.ndarray, g: np.ndarray, eps: float, y: np.ndarray, w: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute each entry once."""
    if not _is_plain(X, Y, cost):
        return gram_reference(X, Y, cost, f, g, eps, y, w)
    rows, columns, F, G = _narrow(X, Y, f, g, eps)
    weights, wide, t = np.zeros(F.size), np.zeros(G.size), np.empty(F.size)
    weights[: f.size], wide[: g.size] = 1.0 if w is None else w, y
    sums = np.empty((gibbs.parts_of(f.size), G.size))
    _gram(rows, columns, cost == "euclidean", F, G, np.float32(LOG2E / eps), wide, weights, t, sums, w is None)
    return t[: f.size], sums.sum(axis=0)[: g.size]


@njit(parallel=True, cache=True)
def _gram(X, Y, root, F, G, scale, y, w, t, sums, plain):  # type: ignore[no-untyped-def]
    parts, wide, groups = sums.shape[0], Y.shape[1], X.shape[0] // GROUP
    for part in prange(parts):
        total = sums[part]
        total[:] = 0.0
        C, P, dots = np.empty((GROUP, wide), np.float32), np.empty((GROUP, wide), np.float32), np.empty(GROUP)
        for group in range(groups * part // parts, groups * (part + 1) // parts):
            first = group * GROUP
            _entries(X, Y, first, root, F, G, scale, C, P)
            dots[:] = 0.0
            _dots(wide, P, 0, wide, y, 0, dots, 0)
            for i in range(GROUP):
                t[first + i] = dots[i]
                dots[i] = w[first + i] * (1.0 if plain else dots[i])
            for j in range(0, wide, 32):
                _combine(GROUP, dots, 0, 0, 1, P, j, wide, total, j, 0)


def transforms_reference(X: Array, Y: Array, cost: Any, f: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return min_j (C_ij - g_j) for all i and min_i (C_ij - f_i) for all j."""
    along, across = [], np.full(g.size, np.inf)
    for rows, C in tiles(X, Y, cost):
        some, part = gibbs.transforms(C, f[rows], g)
        along.append(some)
        across = np.minimum(across, part)
    return np.concatenate(along), across


def transforms_cpu(X: np.ndarray, Y: np.ndarray, cost: Any, f: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute each cost once."""
    if not _is_plain(X, Y, cost):
        return transforms_reference(X, Y, cost, f, g)
    rows, columns, _ = _packed(X, Y, np.float64)
    along, across = np.empty(f.size), np.empty((gibbs.parts_of(f.size), g.size))
    _transforms(rows, columns, cost == "euclidean", f, g, along, across)
    return along, across.min(axis=0)


@njit(parallel=True, cache=True)
def _transforms(X, Y, root, f, g, rows, columns):  # type: ignore[no-untyped-def]
    n, parts, wide, groups = f.size, columns.shape[0], Y.shape[1], X.shape[0] // GROUP
    for part in prange(parts):
        columns[part] = np.inf
        C = np.empty((GROUP, wide))
        flat = C.reshape(-1)
        for group in range(groups * part // parts, groups * (part + 1) // parts):
            _fill(X, Y, group * GROUP, root, C)
            for i in range(group * GROUP, min(n, group * GROUP + GROUP)):
                rows[i] = gibbs.least(flat, (i - group * GROUP) * wide, f[i], g, columns[part])


costs = Kernel(costs_reference, costs_cpu)
plan = Kernel(plan_reference, plan_cpu)
sweeps = Kernel(sweeps_reference, sweeps_cpu)
gram = Kernel(gram_reference, gram_cpu)
transforms = Kernel(transforms_reference, transforms_cpu)
