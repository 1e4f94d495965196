"""Gradient and squared norms of the residual of a least-squares problem, in one pass over A.

A tile of A is read twice, the second time from cache: once for its part of the residual,
once for what that part adds to the gradient. The answers are float64 (complex128) for
every input, because they are sums over all rows.

Rounding, with u = 2^-53 and gamma(m) = m u / (1 - m u), for real inputs: the computed R
differs from D (B - A X) by at most gamma(d + 2) |D| (|B| + |A| |X|), entry by entry; the
computed g from A^T D R, for that R, by at most gamma(m) |A|^T |D| |R| with
m = `sum_length(A, k)`; and r2 by at most gamma(m) times itself. Inputs in float32 are
widened exactly.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows, _tile
from lowrank_la.kernels._engine import Kernel

ROWS = _tile.ROWS
LANES = _tile.lanes_of(np.float64)
SWEEP = 4  # columns that one pass over a tile of contiguous columns combines: as many streams as hardware prefetches well
CUDA_ROWS, CUDA_LANES, CUDA_BLOCKS = 16, 32, 512  # rows of a tile, threads on each, blocks: fixed, so that sums do not depend on the device
STRIP = 12  # vectors of one long combination: enough independent sums to hide the latency of an addition

_dots, _dot = _tile.inner(), _tile.inner(rows=1)
_strip, _vector = _tile.outer(rows=1, vectors=STRIP), _tile.outer(rows=1, vectors=1)
_put = _tile.outer(vectors=1, add=False)


def reference(A: Array, X: Array, B: Array, scale: Array | None) -> tuple[Array, Array]:
    """Return g = A^H D R (d, k) and the squared column norms (k,) of R = D (B - A X), with D = diag(scale)."""
    xp = _arrays.namespace(A, X, B)
    wide = xp.result_type(A.dtype, B.dtype, xp.float64)
    g = r2 = None
    for offset, rows in _arrays.row_blocks(A):
        here = slice(offset, offset + rows.shape[0])
        rows = xp.astype(rows, wide, copy=False)
        R = xp.astype(B[here, :], wide, copy=False) - rows @ xp.astype(X, wide, copy=False)
        d = 1.0 if scale is None else xp.astype(scale[here], xp.float64, copy=False)[:, None]
        R = d * R
        part, part2 = _arrays.adjoint_of(xp, rows) @ (d * R), xp.sum(xp.abs(R) ** 2, axis=0)
        g, r2 = (part, part2) if g is None else (g + part, r2 + part2)
    return g, r2


def cpu(A: np.ndarray, X: np.ndarray, B: np.ndarray, scale: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Run the tiles; complex or mixed dtypes take the reference."""
    if not _rows.is_plain(A, X, B, scale):
        return reference(A, X, B, scale)
    n, d, k = *A.shape, X.shape[1]
    height, parts = _split(A, k)
    X = np.array(X, dtype=np.float64)
    loop, X = (_single, X[:, 0].copy()) if k == 1 else (_several, _panels(X))
    g, r2 = loop(*_rows.flat(A), n, d, *_rows.flat(B), X, k, _rows.weights(scale), height, parts)
    return g.sum(axis=0), r2.sum(axis=0)


def sum_length(A: Array, k: int) -> int:
    """Bound the roundings between any term of g or r2 and the answer, for k right-hand sides."""
    if _arrays.engine_of(A) != "cpu" or not _rows.is_plain(A):
        return A.shape[0] + 4
    height, parts = _split(A, k)
    return height + -(-A.shape[0] // (height * parts)) + parts + 4


def _split(A: np.ndarray, k: int) -> tuple[int, int]:
    """Choose the rows of a tile, which is to stay in cache, and the number of parts."""
    n, d = A.shape
    by_columns = A.strides[0] == A.itemsize != A.strides[1]
    cached = (1 << 17) // max(d, 1)
    height = min(max(cached // 128, 1), 16) * 128 if by_columns and k == 1 else min(max(cached // 64, 1), 8) * 32
    return height, _rows.parts_of(-(-n // height), 8 * k * d, A.nbytes)


def _panels(X: np.ndarray) -> np.ndarray:
    """Cut X into panels of LANES columns, each contiguous, the last padded with zeros."""
    d, k = X.shape
    padded = np.zeros((d, -(-k // LANES) * LANES))
    padded[:, :k] = X
    return np.ascontiguousarray(padded.reshape(d, -1, LANES).transpose(1, 0, 2))


@njit(parallel=True, cache=True)
def _single(A, a0, ai, aj, n, d, B, b0, bi, bj, x, k, scale, height, parts):  # type: ignore[no-untyped-def]
    """Sum gradient and squared residual over each part of the rows, for one right-hand side."""
    tiles = (n + height - 1) // height
    gradient, square = np.zeros((parts, d, 1)), np.zeros((parts, 1))
    for part in prange(parts):
        r, g = np.empty(height), np.empty(d)
        X = np.empty(0 if ai == 1 or aj == 1 else ROWS * d)
        for tile in range(part * tiles // parts, (part + 1) * tiles // parts):
            row = tile * height
            rows = min(height, n - row)
            g[:] = 0.0
            for i in range(rows):
                r[i] = B[b0 + (row + i) * bi]
            if ai == 1 and aj != 1:
                _columns(A, a0 + row, aj, rows, d, x, scale[row:], r, g, square[part])
            else:
                _rows_of(A, a0 + row * ai, ai, aj, rows, d, x, scale[row:], X, r, g, square[part])
            for j in range(d):
                gradient[part, j, 0] += g[j]
    return gradient, square


@njit(cache=True)
def _columns(A, at, aj, rows, d, x, weights, r, g, square):  # type: ignore[no-untyped-def]
    """Add one tile whose columns are contiguous; r holds the right-hand side."""
    s = np.empty(SWEEP)
    for j in range(0, d, SWEEP):
        columns = min(SWEEP, d - j)
        for t in range(columns):
            s[t] = -x[j + t]
        _combine(columns, s, A, at + j * aj, aj, rows, r)
    _weigh(rows, weights, r, square)
    _project(d, rows, A, at, aj, r, g)


@njit(cache=True)
def _rows_of(A, at, ai, aj, rows, d, x, weights, X, r, g, square):  # type: ignore[no-untyped-def]
    """Add one tile row by row; r holds the right-hand side."""
    s = np.empty(ROWS)
    for i in range(0, rows, ROWS):
        count = min(ROWS, rows - i)
        s[:] = 0.0
        if aj == 1:
            _project(count, d, A, at + i * ai, ai, x, s)
        else:
            for t in range(count):
                for j in range(d):
                    X[t * d + j] = A[at + (i + t) * ai + j * aj]
            _project(count, d, X, 0, d, x, s)
        for t in range(count):
            s[t] = r[i + t] - s[t]
        _weigh(count, weights[i:], s, square)
        if aj == 1:
            _combine(count, s, A, at + i * ai, ai, d, g)
        else:
            _combine(count, s, X, 0, d, d, g)


@njit(cache=True)
def _weigh(rows, weights, r, square):  # type: ignore[no-untyped-def]
    """Turn B - A x into D^2 (B - A x), adding the squared norm of what stands between."""
    total = 0.0
    for i in range(rows):
        weight = weights[i] if weights.size else 1.0
        total += (weight * r[i]) ** 2
        r[i] *= weight * weight
    square[0] += total


@njit(cache=True)
def _project(count, length, A, at, step, x, out):  # type: ignore[no-untyped-def]
    """Add to out the inner products of x with `count` contiguous vectors that lie `step` apart."""
    whole = count - count % ROWS
    for i in range(0, whole, ROWS):
        _dots(length, A, at + i * step, step, x, 0, out, i)
    for i in range(whole, count):
        _dot(length, A, at + i * step, step, x, 0, out, i)


@njit(cache=True)
def _combine(count, s, A, at, step, length, out):  # type: ignore[no-untyped-def]
    """Add to out the combination, with coefficients s, of `count` contiguous vectors that lie `step` apart."""
    v = 0
    while v + STRIP * LANES <= length:
        _strip(count, s, 0, 0, 1, A, at + v, step, out, v, 0)
        v += STRIP * LANES
    while v + LANES <= length:
        _vector(count, s, 0, 0, 1, A, at + v, step, out, v, 0)
        v += LANES
    for w in range(v, length):
        for t in range(count):
            out[w] += s[t] * A[at + t * step + w]


@njit(parallel=True, cache=True)
def _several(A, a0, ai, aj, n, d, B, b0, bi, bj, X, k, scale, height, parts):  # type: ignore[no-untyped-def]
    """Sum gradients and squared residuals over each part of the rows, for several right-hand sides."""
    tiles = (n + height - 1) // height
    wide = (d + ROWS - 1) // ROWS * ROWS
    gradient, square = np.zeros((parts, d, k)), np.zeros((parts, k))
    for part in prange(parts):
        T = np.zeros(wide * (height + ROWS))
        R, g = np.empty((height, LANES)), np.empty((wide, LANES))
        for tile in range(part * tiles // parts, (part + 1) * tiles // parts):
            row = tile * height
            rows, at, right = min(height, n - row), a0 + row * ai, b0 + row * bi
            if aj == 1 and row + height < n:  # the row after the tile exists: reading beyond the last column is safe
                _both(A, at, ai, 1, d, X, B, right, bi, bj, rows, scale[row:], R, g, gradient[part], square[part])
            elif ai == 1:
                _load_columns(A, at, aj, rows, d, T.reshape((wide, height + ROWS)))
                _both(T, 0, 1, height + ROWS, d, X, B, right, bi, bj, rows, scale[row:], R, g, gradient[part], square[part])
            else:
                _load_rows(A, at, ai, aj, rows, d, T.reshape((height + ROWS, wide)))
                _both(T, 0, wide, 1, d, X, B, right, bi, bj, rows, scale[row:], R, g, gradient[part], square[part])
    return gradient, square


@njit(cache=True)
def _load_columns(A, at, aj, rows, d, T):  # type: ignore[no-untyped-def]
    for j in range(d):
        column = A[at + j * aj :]
        for i in range(rows):
            T[j, i] = column[i]


@njit(cache=True)
def _load_rows(A, at, ai, aj, rows, d, T):  # type: ignore[no-untyped-def]
    for i in range(rows):
        for j in range(d):
            T[i, j] = A[at + i * ai + j * aj]


@njit(cache=True)
def _both(T, at, ti, tj, d, X, B, right, bi, bj, rows, weights, R, g, gradient, square):  # type: ignore[no-untyped-def]
    """Add one tile T, readable up to whole blocks of ROWS rows and columns, a panel of right-hand sides after the other."""
    for p in range(X.shape[0]):
        for i in range(0, rows, ROWS):
            _put(d, T, at + i * ti, ti, tj, X, p * d * LANES, LANES, R, i * LANES, LANES)
        first = p * LANES
        columns = min(LANES, square.size - first)
        _subtract(B, right + first * bj, bi, bj, rows, columns, weights, R, square[first:])
        for j in range(0, d, ROWS):
            _put(rows, T, at + j * tj, tj, ti, R, 0, LANES, g, j * LANES, LANES)
        for j in range(d):
            for v in range(columns):
                gradient[j, first + v] += g[j, v]


@njit(cache=True)
def _subtract(B, at, bi, bj, rows, columns, weights, R, square):  # type: ignore[no-untyped-def]
    """Turn A X into D^2 (B - A X), adding the squared norms of what stands between."""
    for v in range(columns):
        total = 0.0
        for i in range(rows):
            weight = weights[i] if weights.size else 1.0
            r = B[at + i * bi + v * bj] - R[i, v]
            total += (weight * r) ** 2
            R[i, v] = weight * weight * r
        square[v] += total


def cuda(A: Array, X: Array, B: Array, scale: Array | None) -> tuple[Array, Array]:
    """One pass for one right-hand side and contiguous real rows; BLAS on row blocks, the reference, for the rest."""
    if X.shape[1] != 1 or not A.flags.c_contiguous or not _rows.is_plain(A, X, B, scale):
        return reference(A, X, B, scale)
    xp = _arrays.namespace(A)
    n, d = A.shape
    blocks = max(1, min(CUDA_BLOCKS, -(-n // CUDA_ROWS)))
    g, r2 = xp.zeros((blocks, d)), xp.zeros((blocks, CUDA_ROWS))
    weights = xp.empty(0) if scale is None else xp.astype(scale, xp.float64, copy=False)
    _cuda_single()[blocks, CUDA_ROWS * CUDA_LANES](A, xp.astype(X[:, 0], xp.float64), xp.astype(B[:, 0], xp.float64), weights, g, r2)
    return xp.sum(g, axis=0)[:, None], xp.reshape(xp.sum(r2), (1,))


@functools.cache
def _cuda_single():  # type: ignore[no-untyped-def]
    global gpu  # a global, because the simulator swaps the globals of a kernel
    from numba import cuda as gpu

    rows, lanes, threads, padded = CUDA_ROWS, CUDA_LANES, CUDA_ROWS * CUDA_LANES, CUDA_LANES + 1

    @gpu.jit
    def single(A, x, b, scale, gradient, square):  # type: ignore[no-untyped-def]
        """Each block adds its range of tiles: threads lie along rows of A for the residual, then along columns for the gradient."""
        parts = gpu.shared.array((rows, padded), np.float64)
        r = gpu.shared.array(rows, np.float64)
        t, block = gpu.threadIdx.x, gpu.blockIdx.x
        i, lane = t // lanes, t % lanes
        n, d = A.shape
        tiles = (n + rows - 1) // rows
        total = 0.0
        for tile in range(block * tiles // gpu.gridDim.x, (block + 1) * tiles // gpu.gridDim.x):
            first = tile * rows
            inside = min(rows, n - first)
            dot = 0.0
            if i < inside:
                for j in range(lane, d, lanes):
                    dot += A[first + i, j] * x[j]
            parts[i, lane] = dot
            gpu.syncthreads()
            if t < inside:
                rest = 0.0
                for v in range(lanes):
                    rest += parts[t, v]
                rest = b[first + t] - rest
                weight = scale[first + t] if scale.size else 1.0
                total += (weight * rest) ** 2
                r[t] = weight * weight * rest
            gpu.syncthreads()
            for j in range(t, d, threads):
                part = 0.0
                for row in range(inside):
                    part += A[first + row, j] * r[row]
                gradient[block, j] += part
            gpu.syncthreads()
        if t < rows:
            square[block, t] = total

    return single


gradient = Kernel(reference, cpu, cuda)
