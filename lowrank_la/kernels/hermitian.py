"""Products with a dense Hermitian matrix for few vectors, where the time is that of reading the matrix: half of it will do.

Each entry below the diagonal is read once and serves its own row and the one across. For order 3000 and one vector that
takes half the time of BLAS's general product, which reads all, and a fourteenth of that of its symmetric one on two cores. The
sums have parts, whose number is fixed, so that threads do not change a bit. On a GPU the references run.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array, wide
from lowrank_la.kernels import _rows, skinny
from lowrank_la.kernels._engine import Kernel

PARTS = 16
ROWS = 4  # that meet a vector at a time
CHUNK = 1024  # columns that stay in the first-level cache with these rows
SIDE = 64  # of the tiles that are compared across the diagonal
MOST = 4  # vectors, beyond which registers pay more than half the reading
FEW = 1 << 16  # entries, below which the call of a compiled loop costs more than it saves
_SUMS = {"reassoc", "contract", "nsz"}


def times_reference(A: Array, X: Array) -> Array:
    """Return A X for an A that equals its adjoint in every bit, in double precision for X in double precision."""
    return skinny.times(A, X)


def sizes_reference(A: Array, X: Array) -> Array:
    """Return |A| X in float64 for a real X and an A whose absolute values equal their transpose."""
    xp = _arrays.namespace(A, X)
    return xp.concat([wide(xp.abs(block)) @ X for _, block in _arrays.row_blocks(A)], axis=0)


def inspect_reference(A: Array) -> tuple[Array, bool]:
    """Return the sums of absolute values over the rows, in float64, and whether A equals its adjoint in every entry."""
    xp, adjoint = _arrays.namespace(A), _arrays.adjoint_of(_arrays.namespace(A), A)
    sums, same = [], True
    for first, block in _arrays.row_blocks(A):
        sums.append(xp.sum(wide(xp.abs(block)), axis=1))
        same = same and bool(xp.all(block == adjoint[first : first + block.shape[0], :]))
    return xp.concat(sums), same


def times_cpu(A: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Read half of A; what the loops do not take goes to the reference."""
    if X.dtype.kind == "c" and _takes(A, 2 * X.shape[1]):
        parts = times_cpu(A, np.ascontiguousarray(X).view(X.real.dtype))
        return parts.view(X.dtype)
    if not (_takes(A, X.shape[1]) and X.dtype == np.float64):
        return times_reference(A, X)
    return _halves(A, X, False)


def sizes_cpu(A: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Read half of A; what the loops do not take goes to the reference."""
    if not (_takes(A, 1) and X.dtype == np.float64):
        return sizes_reference(A, X)
    return np.concatenate([_halves(A, X[:, j : j + MOST], True) for j in range(0, X.shape[1], MOST)], axis=1)


def inspect_cpu(A: np.ndarray) -> tuple[np.ndarray, bool]:
    """Walk through pairs of tiles that mirror each other."""
    if not _takes(A, 1):
        return inspect_reference(A)
    sums, same = np.zeros((PARTS, A.shape[0])), np.ones(PARTS, np.bool_)
    _inspect(*_rows.flat(_contiguous(A))[:3], _edges(A.shape[0], SIDE), sums, same)
    return sums.sum(axis=0), bool(same.all())


def _takes(A: np.ndarray, columns: int) -> bool:
    return _rows.is_plain(A) and A.size >= FEW and columns <= MOST and A.itemsize in A.strides


def _contiguous(A: np.ndarray) -> np.ndarray:
    """Return A or its transpose, whichever has contiguous rows."""
    return A if A.strides[1] == A.itemsize else A.T


def _halves(A: np.ndarray, X: np.ndarray, absolute: bool) -> np.ndarray:
    n, c = X.shape
    sums = np.empty((PARTS, c, n))
    _times(*_rows.flat(_contiguous(A))[:3], _edges(n, ROWS), np.ascontiguousarray(X.T), absolute, sums)
    return np.ascontiguousarray(sums.sum(axis=0).T)


def _edges(n: int, step: int) -> np.ndarray:
    """Cut the rows into parts with about the same number of entries below the diagonal."""
    edges = (np.sqrt(np.arange(PARTS + 1) / PARTS) * n).astype(np.int64) // step * step
    edges[-1] = n
    return edges


@njit(parallel=True, cache=True)
def _times(A, a0, ai, edges, X, absolute, sums):  # type: ignore[no-untyped-def]
    """Set `sums` to the parts of A X, or |A| X, a few rows left of the diagonal at a time."""
    parts, columns, _ = sums.shape
    for part in prange(parts):
        total, dots = sums[part], np.zeros((columns, ROWS))
        total[:] = 0.0
        for i in range(edges[part], edges[part + 1], ROWS):
            rows = min(ROWS, edges[part + 1] - i)
            at = a0 + i * ai
            dots[:] = 0.0
            for first in range(0, i if rows == ROWS else 0, CHUNK):
                width = min(CHUNK, i - first)
                for c in range(columns):
                    _four(A, at + first, ai, width, X[c, first:], X[c, i:], absolute, total[c, first:], dots[c])
            for c in range(columns):
                _corner(A, at, ai, i, rows, X[c], absolute, total[c], dots[c])


@njit(cache=True, fastmath=_SUMS)
def _four(A, at, ai, width, x, left, absolute, y, dots):  # type: ignore[no-untyped-def]
    """Add the products of four rows with x to `dots`, and the combination of them by `left` to y."""
    a, b, c, d = (
        A[at : at + width],
        A[at + ai : at + ai + width],
        A[at + 2 * ai : at + 2 * ai + width],
        A[at + 3 * ai : at + 3 * ai + width],
    )
    s, t, u, v = 0.0, 0.0, 0.0, 0.0
    if absolute:
        for j in range(width):
            p, q, r, w = abs(a[j]), abs(b[j]), abs(c[j]), abs(d[j])
            s += p * x[j]
            t += q * x[j]
            u += r * x[j]
            v += w * x[j]
            y[j] += p * left[0] + q * left[1] + r * left[2] + w * left[3]
    else:
        for j in range(width):
            s += a[j] * x[j]
            t += b[j] * x[j]
            u += c[j] * x[j]
            v += d[j] * x[j]
            y[j] += a[j] * left[0] + b[j] * left[1] + c[j] * left[2] + d[j] * left[3]
    dots[0] += s
    dots[1] += t
    dots[2] += u
    dots[3] += v


@njit(cache=True)
def _corner(A, at, ai, i, rows, x, absolute, y, dots):  # type: ignore[no-untyped-def]
    """Add what the sums have gathered, the entries near the diagonal, and all entries of rows that are fewer than four."""
    first = i if rows == ROWS else 0
    for k in range(rows):
        y[i + k] += dots[k]
        for j in range(first, i + k + 1):
            a = abs(A[at + k * ai + j]) if absolute else A[at + k * ai + j]
            y[i + k] += a * x[j]
            if j < i + k:
                y[j] += a * x[i + k]


@njit(parallel=True, cache=True)
def _inspect(A, a0, ai, edges, sums, same):  # type: ignore[no-untyped-def]
    """Add up absolute values by rows, and compare tiles left of the diagonal with those above it."""
    n = sums.shape[1]
    for part in prange(sums.shape[0]):
        mirror = np.empty((SIDE, SIDE + 8), A.dtype)  # rows that do not compete for places in the cache
        for i in range(edges[part], edges[part + 1], SIDE):
            rows = min(SIDE, n - i)
            for j in range(0, i + 1, SIDE):
                columns = min(SIDE, n - j)
                _add_sizes(A, a0 + i * ai + j, ai, rows, columns, sums[part, i:])
                if j < i:
                    _add_sizes(A, a0 + j * ai + i, ai, columns, rows, sums[part, j:])
                _turn(A, a0 + j * ai + i, ai, columns, rows, mirror)
                same[part] &= _equal(A, a0 + i * ai + j, ai, rows, columns, mirror)


@njit(cache=True, fastmath=_SUMS)
def _add_sizes(A, at, ai, rows, columns, sums):  # type: ignore[no-untyped-def]
    for i in range(rows):
        line, total = A[at + i * ai : at + i * ai + columns], 0.0
        for j in range(columns):
            total += abs(line[j])
        sums[i] += total


@njit(cache=True)
def _turn(A, at, ai, rows, columns, mirror):  # type: ignore[no-untyped-def]
    for i in range(rows):
        for j in range(columns):
            mirror[j, i] = A[at + i * ai + j]


@njit(cache=True)
def _equal(A, at, ai, rows, columns, mirror):  # type: ignore[no-untyped-def]
    differ = 0
    for i in range(rows):
        line = A[at + i * ai : at + i * ai + columns]
        for j in range(columns):
            differ += line[j] != mirror[i, j]
    return differ == 0


times = Kernel(times_reference, times_cpu)
sizes = Kernel(sizes_reference, sizes_cpu)
inspect = Kernel(inspect_reference, inspect_cpu)
