"""S (D A) and S^H Y for a sparse-sign matrix S that is never stored, and the entries of S.

S is height x n with `zeta` nonzeros +-1/sqrt(zeta) in each column j, one per block of
height/zeta rows. Block t takes word t % 4 of Philox(major j, minor t // 4): bit 0 is
the sign, the other 31 bits choose the row by multiply and shift.
"""

from __future__ import annotations

import importlib
import math

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import philox
from lowrank_la.kernels._engine import Kernel

_TILE = 512  # rows that are sketched together: their copy stays in the second-level cache
_PANEL_BYTES = 1 << 20  # so does the panel of the sketch they go to
_MAX_PARTS = 16  # row partitions, whatever the number of threads


def entries(like: Array, seed: int, stream: int, height: int, zeta: int, rows: Array) -> tuple[Array, Array]:
    """Row indices and signs (len(rows), zeta), both int64, of the columns `rows` of S."""
    xp = _arrays.namespace(like)
    blocks = [w for minor in range(-(-zeta // 4)) for w in philox.words(like, seed, stream, rows, xp.full_like(rows, minor))]
    words = xp.stack(blocks[:zeta], axis=1)
    width = height // zeta
    first = width * xp.arange(zeta, dtype=xp.int64, device=like.device)
    return first + (((words >> 1) * width) >> 31), 1 - 2 * (words & 1)


def matrix(like: Array, seed: int, stream: int, height: int, zeta: int, rows: Array) -> Array:
    """Columns `rows` of S as a dense (height, len(rows)) array with the real dtype of `like`."""
    xp = _arrays.namespace(like)
    targets, signs = entries(like, seed, stream, height, zeta, rows)
    hit = xp.arange(height // zeta, dtype=xp.int64, device=like.device)
    parts = [
        xp.where(t * (height // zeta) + hit[:, None] == targets[None, :, t], signs[None, :, t], xp.zeros_like(signs[None, :, t]))
        for t in range(zeta)
    ]
    return xp.astype(xp.concat(parts), _arrays.real_dtype(xp, like.dtype)) / math.sqrt(zeta)


def reference(A: Array, seed: int, stream: int, height: int, zeta: int, row_offset: int, scale: Array | None) -> Array:
    """S (D A) through the dense S."""
    xp = _arrays.namespace(A)
    rows = row_offset + xp.arange(A.shape[0], dtype=xp.int64, device=A.device)
    S = matrix(A, seed, stream, height, zeta, rows)
    return xp.astype(S if scale is None else S * scale, A.dtype) @ A


def cpu(A: np.ndarray, seed: int, stream: int, height: int, zeta: int, row_offset: int, scale: np.ndarray | None) -> np.ndarray:
    """S (D A), one read of A; the same bits for any number of threads."""
    if np.iscomplexobj(A) and A.strides[1] == A.itemsize:
        return cpu(A.view(A.real.dtype), seed, stream, height, zeta, row_offset, scale).view(A.dtype)
    if np.iscomplexobj(A):
        parts = [cpu(part, seed, stream, height, zeta, row_offset, scale) for part in (A.real, A.imag)]
        return np.asarray(parts[0] + 1j * parts[1], dtype=A.dtype)
    n, c = A.shape
    width = min(c, max(64, _PANEL_BYTES // (height * A.itemsize)))
    width = -(-c // max(1, -(-c // max(1, width))))  # panels of equal width
    parts = max(1, min(_MAX_PARTS, n // (8 * height)))
    weights = np.ones(0, A.dtype) if scale is None else scale.astype(A.dtype, copy=False)
    sums = np.zeros((parts, height, c), A.dtype)
    _scatter(A, np.uint64(seed), np.uint64(stream), zeta, row_offset, weights, width, sums)
    out = sums[0]
    for part in sums[1:]:
        out += part
    out *= A.dtype.type(1 / math.sqrt(zeta))
    return out


@njit(parallel=True, cache=True)
def _scatter(A, seed, stream, zeta, row_offset, weights, width, sums):
    parts, height, c = sums.shape
    panels = -(-c // max(1, width))
    for task in prange(parts * panels):
        p, left = task // panels, (task % panels) * width
        first, last = A.shape[0] * p // parts, A.shape[0] * (p + 1) // parts
        w = min(width, c - left)
        row = np.empty(w, A.dtype)
        for i in range(first, last):
            for j in range(w):
                row[j] = A[i, left + j] * weights[i] if weights.size else A[i, left + j]
            for t in range(zeta):
                w4 = philox.cpu_words(seed, stream, np.uint64(row_offset + i), np.uint64(t // 4))
                word = w4[t % 4]
                target = t * (height // zeta) + (((word >> np.uint64(1)) * np.uint64(height // zeta)) >> np.uint64(31))
                if word & np.uint64(1):
                    for j in range(w):
                        sums[p, target, left + j] -= row[j]
                else:
                    for j in range(w):
                        sums[p, target, left + j] += row[j]


def adjoint_reference(Y: Array, seed: int, stream: int, height: int, zeta: int, first: int, last: int) -> Array:
    """Rows first to last of S^H Y through the dense S."""
    xp = _arrays.namespace(Y)
    S = matrix(Y, seed, stream, height, zeta, xp.arange(first, last, dtype=xp.int64, device=Y.device))
    return xp.astype(S.T, Y.dtype) @ Y


def adjoint_cpu(Y: np.ndarray, seed: int, stream: int, height: int, zeta: int, first: int, last: int) -> np.ndarray:
    """Rows first to last of S^H Y: each is a signed sum of zeta rows of Y."""
    X = np.zeros((last - first, Y.shape[1]), Y.dtype)
    _gather(np.ascontiguousarray(Y), np.uint64(seed), np.uint64(stream), zeta, first, Y.dtype.type(1 / math.sqrt(zeta)), X)
    return X


@njit(parallel=True, cache=True)
def _gather(Y, seed, stream, zeta, first, factor, X):
    width = np.uint64(Y.shape[0] // zeta)
    for i in prange(X.shape[0]):
        for t in range(zeta):
            word = philox.cpu_words(seed, stream, np.uint64(first + i), np.uint64(t // 4))[t % 4]
            target = np.uint64(t) * width + (((word >> np.uint64(1)) * width) >> np.uint64(31))
            sign = -factor if word & np.uint64(1) else factor
            for j in range(Y.shape[1]):
                X[i, j] += sign * Y[target, j]


def csr_reference(values, indices, indptr, columns, seed, stream, height, zeta, row_offset, scale):
    """S (D A) for A in compressed rows with so many columns, through a sparse S; a dense array."""
    sparse = importlib.import_module("scipy.sparse" if isinstance(values, np.ndarray) else "cupyx.scipy.sparse")
    n = indptr.shape[0] - 1
    xp = _arrays.namespace(values)
    targets, signs = entries(values, seed, stream, height, zeta, row_offset + xp.arange(n, dtype=xp.int64))
    weights = xp.astype(signs, values.dtype) / math.sqrt(zeta)
    weights = weights if scale is None else weights * scale[:, None]
    transposed = sparse.csr_matrix((weights.ravel(), targets.ravel(), zeta * xp.arange(n + 1)), shape=(n, height))
    return (transposed.T @ sparse.csr_matrix((values, indices, indptr), shape=(n, columns))).toarray()


def csr_cpu(values, indices, indptr, columns, seed, stream, height, zeta, row_offset, scale):
    """S (D A) for A in compressed rows with so many columns; a dense array."""
    parts = max(1, min(_MAX_PARTS, values.shape[0] // (8 * height * max(1, columns))))
    weights = np.ones(0) if scale is None else scale
    sums = np.zeros((parts, height, columns), values.dtype)
    _scatter_csr(values, indices, indptr, np.uint64(seed), np.uint64(stream), zeta, row_offset, weights, sums)
    out = sums[0]
    for part in sums[1:]:
        out += part
    out *= values.dtype.type(1 / math.sqrt(zeta))
    return out


@njit(parallel=True, cache=True)
def _scatter_csr(values, indices, indptr, seed, stream, zeta, row_offset, weights, sums):
    parts, height, _ = sums.shape
    width = np.uint64(height // zeta)
    n = indptr.shape[0] - 1
    for p in prange(parts):
        for i in range(n * p // parts, n * (p + 1) // parts):
            for t in range(zeta):
                word = philox.cpu_words(seed, stream, np.uint64(row_offset + i), np.uint64(t // 4))[t % 4]
                target = np.uint64(t) * width + (((word >> np.uint64(1)) * width) >> np.uint64(31))
                sign = -1.0 if word & np.uint64(1) else 1.0
                if weights.size:
                    sign *= weights[i]
                for e in range(indptr[i], indptr[i + 1]):
                    sums[p, target, indices[e]] += sign * values[e]


apply = Kernel(reference, cpu)
adjoint = Kernel(adjoint_reference, adjoint_cpu)
apply_csr = Kernel(csr_reference, csr_cpu)
