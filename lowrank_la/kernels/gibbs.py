"""Entropic transport plans of a stored cost matrix, and the least costs beyond potentials.

`plan` computes P_ij = exp((f_i + g_j - C_ij) / eps) with row sums a, a row at a time in the cache: exponentials in vector
registers, then all sums. They are float64; what is kept of P, for `scaling` and `plan_newton`, is float32, because from the
second-level cache on reading it is what takes the time. 0.5 ns a pair on two cores, a sixth of NumPy's time. Sums
over rows run in parts whose number depends on the shape alone. On a GPU the references run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _exponents, _rows, _tile
from lowrank_la.kernels._engine import Kernel

GROUP = _tile.ROWS  # rows of the plan that are read together
VECTORS = 4
BLOCK = VECTORS * _tile.lanes_of(np.float64)  # columns whose sums stay in registers
LANES = _exponents.LANES
PARTS = 16
LOG2E = math.log2(math.e)

_exponentials = _exponents.exponentials()


class Plan(NamedTuple):
    """A plan P_ij = exp((f_i + g_j - C_ij) / eps).

    Attributes
    ----------
    P : array
        The plan, on the CPU float32 and padded with zeros to whole tiles; None if it was not wanted.
    f : NumPy array (n,)
        Row potentials.
    rows, columns : NumPy arrays (n,) and (m,)
        Sums.
    diagonal : NumPy array (m,)
        Diagonal of the Schur complement diag(columns) - P^T diag(1 / rows) P.
    costs : NumPy array (n,)
        sum_j C_ij P_ij.
    """

    P: Array
    f: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    diagonal: np.ndarray
    costs: np.ndarray


def plan_reference(
    C: Array, f: np.ndarray, g: np.ndarray, a: np.ndarray, eps: float, kappa: float = 0.0, keep: bool | Array = True, fixed: bool = False
) -> Plan:
    """Return the plan of column potentials g whose row potentials are best for row weights a.

    Parameters
    ----------
    C : array (n, m)
        Costs; inf for what is forbidden.
    f, g, a : NumPy arrays
        Guess of the row potentials, column potentials and row weights, all positive.
    eps : float
        Regularisation, in the units of C.
    kappa : float
        eps / rho: the row sums are a exp(-h / rho), where h = f - eps log a; 0 makes them a.
    keep : bool or array
        Keep P, perhaps in the memory of an earlier one.
    fixed : bool
        Take f as it is.
    """
    xp = _arrays.namespace(C)
    wide = xp.astype(C, xp.float64, copy=False)
    f_, g_, a_ = (_arrays.from_numpy(x, C) for x in (f, g, a))
    z = (g_[None, :] - wide) / eps
    if not fixed:
        top = xp.max(z, axis=1)
        total = xp.log(xp.sum(xp.exp(z - top[:, None]), axis=1)) + top
        f_ = eps * (xp.log(a_) - total / (1 + kappa))
    P = xp.exp(z + f_[:, None] / eps)
    rows, columns = xp.sum(P, axis=1), xp.sum(P, axis=0)
    costs = xp.sum(xp.where(P > 0, wide, xp.zeros_like(wide)) * P, axis=1)
    diagonal = xp.sum(P * (1 - P / rows[:, None]), axis=0)
    return Plan(P if keep is not False else None, *(_arrays.to_numpy(x) for x in (f_, rows, columns, diagonal, costs)))


def plan_cpu(
    C: np.ndarray,
    f: np.ndarray,
    g: np.ndarray,
    a: np.ndarray,
    eps: float,
    kappa: float = 0.0,
    keep: bool | Array = True,
    fixed: bool = False,
) -> Plan:
    """Run the rows in parts."""
    n, m = C.shape
    memory, c0, ci, cj = _rows.flat(C)
    if cj != 1 or not _rows.is_plain(C):
        memory, c0, ci, cj = _rows.flat(np.ascontiguousarray(C, dtype=np.float64))
    P = keep if isinstance(keep, np.ndarray) else empty(n, m, keep)
    F, G = f * (LOG2E / eps), np.zeros(P.shape[1])
    G[:m] = g * (LOG2E / eps)
    sums, rows, costs = np.empty((parts_of(n), 2, P.shape[1])), np.empty(n), np.empty(n)
    _plan(memory, c0, ci, m, F, G, np.log2(a), LOG2E / eps, -1.0 if fixed else kappa, P, sums, rows, costs)
    columns, diagonal = sums.sum(axis=0)[:, :m]
    return Plan(P if keep is not False else None, F * (eps / LOG2E), rows, columns, diagonal, costs)


def empty(n: int, m: int, keep: bool = True) -> np.ndarray:
    """Return memory for a plan in whole tiles, zero beyond it."""
    P = np.empty((-(-n // GROUP) * GROUP if keep else 0, -(-m // BLOCK) * BLOCK), dtype=np.float32)
    P[n:] = 0.0
    return P


def parts_of(n: int) -> int:
    """Count the parts of a sum over rows."""
    return max(1, min(PARTS, n // GROUP))


@njit(parallel=True, cache=True)
def _plan(C, c0, ci, m, F, G, log_a, scale, kappa, P, sums, rows, costs):  # type: ignore[no-untyped-def]
    n, parts, wide = F.size, sums.shape[0], sums.shape[2]
    for part in prange(parts):
        columns, diagonal = sums[part, 0], sums[part, 1]
        columns[:] = 0.0
        diagonal[:] = 0.0
        p = np.zeros(wide)
        for i in range(n * part // parts, n * (part + 1) // parts):
            at = c0 + i * ci
            finish_row(C, at, m, i, F, G, log_a, scale, kappa, p, rows, costs, columns, diagonal)
            if P.shape[0]:
                _keep(p, P[i])


@njit(cache=True)
def finish_row(C, at, m, i, F, G, log_a, scale, kappa, p, rows, costs, columns, diagonal):  # type: ignore[no-untyped-def]
    """Find the potential of row i, whose costs start at C[at]; put its plan entries into p, and add them to all sums."""
    r = _row(C, at, m, F[i], G, scale, p)
    factor = 1.0
    if kappa >= 0.0:
        if not 1e-200 < r < 1e200:
            F[i] = -_largest(C, at, m, G, scale)
            r = _row(C, at, m, F[i], G, scale, p)
        rise = (log_a[i] - math.log2(r) - kappa * (F[i] - log_a[i])) / (1.0 + kappa)
        F[i] += rise
        factor = 2.0**rise
    rows[i] = r * factor
    costs[i] = _weighted(C, at, m, p) * factor
    _add(p, 1.0 / r if r > 0.0 else 0.0, rows[i], columns, diagonal)


@njit(cache=True)
def _row(C, at, m, f, G, scale, p):  # type: ignore[no-untyped-def]
    """Fill p with 2^(f + G_j - scale C_j) and return its sum."""
    whole = m // LANES * LANES
    r = _exponentials(whole, C, at, G, 0, f, scale, p, 0)
    if whole < m:
        tail = np.full(LANES, np.inf)
        for j in range(whole, m):
            tail[j - whole] = C[at + j]
        r += _exponentials(LANES, tail, 0, G, whole, f, scale, p, whole)
    return r


@njit(cache=True)
def _largest(C, at, m, G, scale):  # type: ignore[no-untyped-def]
    top = -np.inf
    for j in range(m):
        top = max(top, G[j] - scale * C[at + j])
    return top


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _weighted(C, at, m, p):  # type: ignore[no-untyped-def]
    """Sum of C_j p_j over the pairs that are allowed."""
    total = 0.0
    for j in range(m):
        total += C[at + j] * p[j] if p[j] > 0.0 else 0.0
    return total


@njit(cache=True, fastmath={"contract"})
def _add(p, inverse, weight, columns, diagonal):  # type: ignore[no-untyped-def]
    """Scale p to the row sum `weight` and add it to the column sums and to the diagonal of the Schur complement."""
    for j in range(p.size):
        share = p[j] * inverse
        value = share * weight
        p[j] = value
        columns[j] += value
        diagonal[j] += value * (1.0 - share)


@njit(cache=True)
def _keep(p, row):  # type: ignore[no-untyped-def]
    for j in range(p.size):
        row[j] = p[j]


def transforms_reference(C: Array, f: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return min_j (C_ij - g_j) for all i and min_i (C_ij - f_i) for all j."""
    xp = _arrays.namespace(C)
    wide = xp.astype(C, xp.float64, copy=False)
    f_, g_ = (_arrays.from_numpy(x, C) for x in (f, g))
    return tuple(_arrays.to_numpy(x) for x in (xp.min(wide - g_[None, :], axis=1), xp.min(wide - f_[:, None], axis=0)))


def transforms_cpu(C: np.ndarray, f: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find both in one read."""
    if C.strides[1] != C.itemsize or not _rows.is_plain(C):
        C = np.ascontiguousarray(C, dtype=np.float64)
    rows, columns = np.empty(C.shape[0]), np.empty((parts_of(C.shape[0]), C.shape[1]))
    _transforms(*_rows.flat(C)[:3], f, g, rows, columns)
    return rows, columns.min(axis=0)


@njit(parallel=True, cache=True)
def _transforms(C, c0, ci, f, g, rows, columns):  # type: ignore[no-untyped-def]
    n, parts = f.size, columns.shape[0]
    for part in prange(parts):
        columns[part] = np.inf
        for i in range(n * part // parts, n * (part + 1) // parts):
            rows[i] = least(C, c0 + i * ci, f[i], g, columns[part])


@njit(cache=True, fastmath={"nnan", "nsz"})
def least(C, at, f, g, columns):  # type: ignore[no-untyped-def]
    """Return the least C_j - g_j of a row that starts at C[at], and lower the least C_j - f of each column to it."""
    smallest = np.inf
    for j in range(g.size):
        cost = C[at + j]
        value = cost - g[j]
        smallest = value if value < smallest else smallest
        other = cost - f
        columns[j] = other if other < columns[j] else columns[j]
    return smallest


plan = Kernel(plan_reference, plan_cpu)
transforms = Kernel(transforms_reference, transforms_cpu)
