"""Gradient of a least-squares problem as if computed in twice the working precision, in one pass over A.

Products are split into value and rounding error by a fused multiply-add, sums by Knuth's
two-sum, and the errors are added up beside the values (Ogita, Rump and Oishi, Accurate
sum and dot product, SIAM J. Sci. Comput. 26, 2005). It takes about twice the time of the
plain gradient, and is what lets a certificate say more than rounding would allow.

Rounding, with u = 2^-53 and gamma(m) = m u / (1 - m u), for real inputs and unless numbers
underflow: the computed R differs from B - A X by at most gamma(3 d + 10)^2 (|B| + |A| |X|),
entry by entry; the sum of the two computed parts of g from A^T D^2 R, for that R, by at
most gamma(m)^2 |A|^T D^2 |R| with m = `sum_length(A, k)`. The parts of several blocks of
rows belong together by `add`, not by a rounded sum: they are large where g is small.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array, Namespace
from lowrank_la.kernels import _fine_dense, _rows, _tile
from lowrank_la.kernels._engine import Kernel

Pair: TypeAlias = "tuple[Array, Array]"  # a value and what rounding lost of it
Answer: TypeAlias = "tuple[Array, Array, Array]"

ROW_TILE, COLUMN_TILE = (
    32,
    512,
)  # rows of a tile with contiguous rows, which stays in cache, and with contiguous columns, which must be long
SPLIT = 2.0**27 + 1


def reference(A: Array, X: Array, B: Array, scale: Array | None) -> Answer:
    """Return g = A^H D^2 R (d, k) in two parts and the squared column norms (k,) of D R, for R = B - A X and D = diag(scale)."""
    xp = _arrays.namespace(A, X, B)
    if xp.isdtype(xp.result_type(A.dtype, B.dtype, X.dtype), "complex floating"):
        return _complex(reference, A, X, B, scale)
    total, r2 = None, None
    for offset, rows in _arrays.row_blocks(A):
        here = slice(offset, offset + rows.shape[0])
        rows, rest, X = (xp.astype(part, xp.float64) for part in (rows, B[here, :], X))
        R = rest, xp.zeros_like(rest)
        for j in range(rows.shape[1]):
            R = add(R, _product(rows[:, j : j + 1], -X[j : j + 1, :]))
        squares = xp.astype(scale[here], xp.float64)[:, None] ** 2 if scale is not None else xp.ones_like(R[0][:, :1])
        r2 = xp.sum(squares * (R[0] + R[1]) ** 2, axis=0) + (0.0 if r2 is None else r2)
        for _ in range(0 if scale is None else 2):
            R = _times(R, xp.astype(scale[here], xp.float64)[:, None])
        g = [_sum_rows(xp, _times(R, rows[:, j : j + 1])) for j in range(rows.shape[1])]
        g = xp.stack([high for high, _ in g]), xp.stack([low for _, low in g])
        total = g if total is None else add(total, g)
    return *total, r2


def add(s: Pair, t: Pair) -> Pair:
    """Add two pairs of values and errors, real or complex."""
    total = s[0] + t[0]
    z = total - s[0]
    return total, s[1] + (((s[0] - (total - z)) + (t[0] - z)) + t[1])


def _product(x: Array, y: Array) -> Pair:
    """Return x * y and its rounding error, by Dekker's splitting."""
    p = x * y
    (a, b), (c, d) = _halves(x), _halves(y)
    return p, ((a * c - p) + a * d + b * c) + b * d


def _halves(x: Array) -> Pair:
    t = SPLIT * x
    high = t - (t - x)
    return high, x - high


def _times(s: Pair, y: Array) -> Pair:
    p, e = _product(s[0], y)
    return p, e + s[1] * y


def _sum_rows(xp: Namespace, s: Pair) -> Pair:
    """Add up the rows of a pair (n, k), halving their number."""
    while s[0].shape[0] > 1:
        half = (s[0].shape[0] + 1) // 2
        odd = 2 * half - s[0].shape[0]
        zeros = xp.zeros((odd, s[0].shape[1]), dtype=s[0].dtype, device=s[0].device)
        s = add((s[0][:half, :], s[1][:half, :]), tuple(xp.concat([part[half:, :], zeros]) for part in s))
    return s[0][0, :], s[1][0, :]


def _complex(run: Callable[..., Answer], A: Array, X: Array, B: Array, scale: Array | None) -> Answer:
    """Real arithmetic on [Re A, Im A], [Re X; -Im X | Im X; Re X] and [Re B | Im B]."""
    xp = _arrays.namespace(A, X, B)
    d, k = X.shape
    total, r2 = None, None
    for offset, rows in _arrays.row_blocks(A):
        here = slice(offset, offset + rows.shape[0])
        parts = [_components(xp, part) for part in (rows, X, B[here, :])]
        X2 = xp.concat([xp.concat(parts[1], axis=1), xp.concat([-parts[1][1], parts[1][0]], axis=1)])
        *h, s2 = run(xp.concat(parts[0], axis=1), X2, xp.concat(parts[2], axis=1), None if scale is None else scale[here])
        g = _complex_pair(h, d, k)
        total, r2 = (g, s2[:k] + s2[k:]) if total is None else (add(total, g), r2 + s2[:k] + s2[k:])
    return *total, r2


def _complex_pair(h: list[Array], d: int, k: int) -> Pair:
    """Gradient from the products of [Re A, Im A]^T with [Re R | Im R]."""
    re = add(tuple(part[:d, :k] for part in h), tuple(part[d:, k:] for part in h))
    im = add(tuple(part[:d, k:] for part in h), tuple(-part[d:, :k] for part in h))
    return re[0] + 1j * im[0], re[1] + 1j * im[1]


def _components(xp: Namespace, x: Array) -> Pair:
    if not xp.isdtype(x.dtype, "complex floating"):
        x = xp.astype(x, xp.float64)
        return x, xp.zeros_like(x)
    return xp.astype(xp.real(x), xp.float64), xp.astype(xp.imag(x), xp.float64)


def cpu(A: np.ndarray, X: np.ndarray, B: np.ndarray, scale: np.ndarray | None) -> Answer:
    """Run the register tiles; complex numbers as pairs of real ones."""
    if any(np.iscomplexobj(x) for x in (A, X, B)):
        return _complex(cpu, A, X, B, scale)
    if not _rows.is_plain(A, B, scale):
        return reference(A, X, B, scale)
    (n, d), k = A.shape, X.shape[1]
    parts = _parts(A, k)
    flat, *corner = _rows.flat(A)
    flat_b, *corner_b = _rows.flat(B)
    tile = COLUMN_TILE if corner[1] == 1 else ROW_TILE
    X = np.ascontiguousarray(X.T, dtype=np.float64)
    high, low, r2 = _fine_dense.sums(flat, *corner, n, d, flat_b, *corner_b, k, X, _rows.weights(scale), parts, tile)
    return *_joined(high, low), r2.sum(axis=0)


def _joined(high: np.ndarray, low: np.ndarray) -> Pair:
    """Add the parts (parts, k, d) of a gradient."""
    total = functools.reduce(add, zip(high, low, strict=True))
    return np.ascontiguousarray(total[0].T), np.ascontiguousarray(total[1].T)


def csr(A: Any, X: Array, B: Array, scale: Array | None) -> Answer:
    """Do the same for a sparse matrix; on a GPU, through dense blocks of its rows."""
    if _arrays.engine_of(B) != "cpu":
        parts = []
        for offset, rows in _arrays.row_blocks(A):
            here = slice(offset, offset + rows.shape[0])
            parts.append(gradient(rows.toarray(), X, B[here, :], None if scale is None else scale[here]))
        return *functools.reduce(add, [part[:2] for part in parts]), sum(part[2] for part in parts)
    A = A.tocsr()
    if any(np.iscomplexobj(x) for x in (A, X, B)):
        return _complex_csr(A, X, B, scale)
    (n, d), k = A.shape, X.shape[1]
    parts = max(1, min(_rows.FEW_PARTS, A.data.nbytes // max(1, 32 * d * k), n))
    X = np.ascontiguousarray(X.T, dtype=np.float64)
    B = np.ascontiguousarray(B, dtype=np.float64)
    high, low, r2 = _csr_sums(A.data, A.indices, A.indptr, d, X, B, _rows.weights(scale), parts)
    return *_joined(high, low), r2.sum(axis=0)


def _complex_csr(A: Any, X: np.ndarray, B: np.ndarray, scale: np.ndarray | None) -> Answer:
    from scipy.sparse import hstack

    d, k = X.shape
    X2 = np.block([[X.real, X.imag], [-X.imag, X.real]])
    *h, s2 = csr(hstack([A.real, A.imag], format="csr"), X2, np.hstack([B.real, B.imag]), scale)
    return *_complex_pair(h, d, k), s2[:k] + s2[k:]


def sum_length(A: Array, k: int) -> int:
    """Bound the number of roundings between any term of g and the answer, for k right-hand sides."""
    if _arrays.engine_of(A) != "cpu" or not _rows.is_plain(A):
        return 3 * A.shape[0] + 20
    parts = _parts(A, k)
    return 3 * (-(-A.shape[0] // parts) + COLUMN_TILE + parts) + 20


def _parts(A: np.ndarray, k: int) -> int:
    return _rows.parts_of(A.shape[0], max(1, 16 * A.shape[1] * k), A.nbytes)


@njit(cache=True)
def _residual(A, rows, d, x, R, E):  # type: ignore[no-untyped-def]
    """Take A x from R; what rounding loses goes to E."""
    for j in range(d):
        for i in range(rows):
            a = A[j * rows + i]
            p = a * x[j]
            e = _tile.fma(a, x[j], -p)
            r = R[i]
            s = r - p
            z = s - r
            R[i] = s
            E[i] += ((r - (s - z)) - (p + z)) - e


@njit(cache=True)
def _collect(A, rows, d, R, E, high, low):  # type: ignore[no-untyped-def]
    """Add A^T (R + E) to high + low."""
    for i in range(rows):
        r, rest = R[i], E[i]
        for j in range(d):
            a = A[i * d + j]
            p = a * r
            e = _tile.fma(a, rest, _tile.fma(a, r, -p))
            h = high[j]
            s = h + p
            z = s - h
            high[j] = s
            low[j] += ((h - (s - z)) + (p - z)) + e


@njit(parallel=True, cache=True)
def _csr_sums(values, columns, starts, d, X, B, scale, parts):  # type: ignore[no-untyped-def]
    """Sum each part of the rows of a CSR matrix."""
    n, k = B.shape
    high, low, r2 = np.zeros((parts, k, d)), np.zeros((parts, k, d)), np.zeros((parts, k))
    for part in prange(parts):
        for q in range(k):
            x, g, g_low = X[q], high[part, q], low[part, q]
            R, E = np.empty(1), np.empty(1)
            for i in range(part * n // parts, (part + 1) * n // parts):
                R[0], E[0] = B[i, q], 0.0
                for t in range(starts[i], starts[i + 1]):
                    _residual(values[t : t + 1], 1, 1, x[columns[t] : columns[t] + 1], R, E)
                r2[part, q] += _fine_dense.weigh(scale[i:], 1, R, E)
                for t in range(starts[i], starts[i + 1]):
                    j = columns[t]
                    _collect(values[t : t + 1], 1, 1, R, E, g[j : j + 1], g_low[j : j + 1])
    return high, low, r2


gradient = Kernel(reference, cpu)
