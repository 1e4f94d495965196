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
from lowrank_la.kernels import _tile, philox
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels._gather import gather_sum

_TILE_BYTES = 3 << 19  # rows that are sketched together are copied: most of the copy stays in the second-level cache
_PANEL_BYTES = 1 << 21  # the panel of the sketch they go to; narrower ones would split short rows of A
_AHEAD = 4  # rows of A that are asked for early
_CUDA_CHUNK = 1 << 20  # rows whose entries of S are sorted at a time
_MAX_TASKS = 16  # panels times row partitions, whatever the number of threads


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


def reference(
    A: Array, seed: int, stream: int, height: int, zeta: int, row_offset: int, scale: Array | None, B: Array | None = None
) -> Array:
    """S D A, or S D [A, B], through the dense S."""
    xp = _arrays.namespace(A)
    A = A if B is None else xp.concat([A, B], axis=1)
    rows = row_offset + xp.arange(A.shape[0], dtype=xp.int64, device=A.device)
    S = matrix(A, seed, stream, height, zeta, rows)
    return xp.astype(S if scale is None else S * scale, A.dtype) @ A


def cpu(
    A: np.ndarray, seed: int, stream: int, height: int, zeta: int, row_offset: int, scale: np.ndarray | None, B: np.ndarray | None = None
) -> np.ndarray:
    """S D A, or S D [A, B], in one read; the same bits for any number of threads."""
    B = A[:, :0] if B is None else B
    if np.iscomplexobj(A) and A.strides[1] == A.itemsize == B.strides[1]:
        A_parts, B_parts = A.view(A.real.dtype), B.view(A.real.dtype)
        return cpu(A_parts, seed, stream, height, zeta, row_offset, scale, B_parts).view(A.dtype)
    if np.iscomplexobj(A):
        halves = (A.real, B.real), (A.imag, B.imag)
        real, imag = (cpu(a, seed, stream, height, zeta, row_offset, scale, b) for a, b in halves)
        return np.asarray(real + 1j * imag, dtype=A.dtype)
    columns = A.shape[1] + B.shape[1]
    width, panels, tile_rows, parts = _layout(A.shape[0], columns, height, A.dtype)
    sums = np.zeros((parts, panels, height, width), A.dtype)
    weights = np.ones(0, A.dtype) if scale is None else scale.astype(A.dtype, copy=False)
    _sketch(np.asarray(A), np.asarray(B), np.uint64(seed), np.uint64(stream), zeta, row_offset, weights, tile_rows, sums)
    return _total(sums, zeta, columns)


def _layout(n: int, c: int, height: int, dtype: np.dtype) -> tuple[int, int, int, int]:
    """Columns of a panel, panels, rows of a tile, and row partitions: functions of the shape, never of the threads."""
    lanes = _tile.lanes_of(dtype)
    vectors = -(-c // lanes)
    panels = -(-vectors // max(8, _PANEL_BYTES // (height * _tile.VECTOR_BYTES)))
    width = -(-vectors // max(1, panels)) * lanes
    tile_rows = min(2048, max(128, _TILE_BYTES // max(1, width * dtype.itemsize)))
    return width, panels, tile_rows, max(1, min(-(-_MAX_TASKS // max(1, panels)), n // (8 * height)))


def _total(sums: np.ndarray, zeta: int, columns: int) -> np.ndarray:
    """Add the partitions in order, join the panels and scale S to isometry."""
    for part in sums[1:]:
        sums[0] += part
    out = np.concatenate([*sums[0], sums[0, :0].reshape(sums.shape[2], 0)], axis=1)[:, :columns]
    return out * sums.dtype.type(1 / math.sqrt(zeta))


_fetch = _tile.prefetch()
_add8, _add4, _add2, _add1 = (_tile.gather(vectors) for vectors in (8, 4, 2, 1))


@njit(parallel=True, cache=True)
def _sketch(A, B, seed, stream, zeta, row_offset, weights, tile_rows, sums):
    """Partition p of the rows adds to sums[p], one panel of columns and one tile of rows at a time."""
    parts, panels, height, width = sums.shape
    for task in prange(parts * panels):
        p, left = task // panels, (task % panels) * width
        begin, end = A.shape[0] * p // parts, A.shape[0] * (p + 1) // parts
        tile = aligned(tile_rows, width, A)
        keys = np.empty((-(-zeta // 4) * 4, tile_rows), np.int32)
        start = np.empty(height // zeta + 1, np.int32)
        order, signs = np.empty(tile_rows, np.int32), np.empty(tile_rows, A.dtype)
        for first in range(begin, end, tile_rows):
            rows = min(tile_rows, end - first)
            _fill_keys(seed, stream, row_offset + first, rows, height // zeta, keys)
            _fill_tile(A, B, first, rows, left, weights, tile)
            for t in range(zeta):
                at = (task * height + t * (height // zeta)) * width
                if height // zeta > 4 * rows:  # most buckets are empty
                    _add_each(tile, keys[t, :rows], order, signs, sums, at)
                    continue
                _sort(keys[t, :rows], start, order, signs)
                _add_block(tile, start, order, signs, sums, at)


@njit(cache=True)
def _fill_keys(seed, stream, first, rows, block, keys):
    """keys[t, i] = twice the row that data row first + i meets in block t, plus its sign bit."""
    block = np.uint64(block)
    one = np.uint64(1)
    for minor in range(keys.shape[0] // 4):
        for i in range(rows):
            words = philox.cpu_words(seed, stream, np.uint64(first + i), np.uint64(minor))
            keys[4 * minor, i] = (((words[0] >> one) * block) >> np.uint64(31)) << one | (words[0] & one)
            keys[4 * minor + 1, i] = (((words[1] >> one) * block) >> np.uint64(31)) << one | (words[1] & one)
            keys[4 * minor + 2, i] = (((words[2] >> one) * block) >> np.uint64(31)) << one | (words[2] & one)
            keys[4 * minor + 3, i] = (((words[3] >> one) * block) >> np.uint64(31)) << one | (words[3] & one)


@njit(cache=True)
def _fill_tile(A, B, first, rows, left, weights, tile):
    """Copy a tile of [A, B], times the weights; `left` is its first column."""
    split, right = A.shape[1] - left, left + tile.shape[1] - A.shape[1]
    _copy(A, first, rows, left, tile[:, : max(0, split)])
    _copy(B, first, rows, max(0, -split), tile[:, max(0, split) : max(0, split) + max(0, right)])
    if weights.size:
        for i in range(rows):
            tile[i, :] *= weights[first + i]


@njit(cache=True)
def _copy(A, first, rows, left, tile):
    """Copy a tile of A along the fast axis of A."""
    width = min(tile.shape[1], A.shape[1] - left)
    if A.strides[1] <= A.strides[0]:
        for i in range(rows):
            if A.strides[1] == A.itemsize and width < A.shape[1]:  # parts of rows escape the hardware's own reading ahead
                _fetch(A, (first + i + _AHEAD) * (A.strides[0] // A.itemsize) + left, width)
            for j in range(width):
                tile[i, j] = A[first + i, left + j]
    else:  # Fortran order: 8 columns at a time, so that both sides use whole cache lines
        for j0 in range(0, width, 8):
            for i in range(rows):
                for j in range(j0, min(j0 + 8, width)):
                    tile[i, j] = A[first + i, left + j]


@njit(cache=True)
def _sort(keys, start, order, signs):
    """Sort the tile's rows by counting, by their row in the block: start[r] <= k < start[r + 1] go to row r."""
    start[:] = 0
    for key in keys:
        start[(key >> 1) + 1] += 1
    for r in range(1, start.size):
        start[r] += start[r - 1]
    for i in range(keys.size - 1, -1, -1):  # downwards from the bucket's end, so that start[r + 1] ends as the begin of bucket r
        r = (keys[i] >> 1) + 1
        start[r] -= 1
        order[start[r]] = i
        signs[start[r]] = 1 - 2 * (keys[i] & 1)
    start[:-1] = start[1:]
    start[-1] = keys.size


@njit(cache=True)
def _add_block(tile, start, order, signs, sums, at):
    """Add the sorted rows of a tile to one block of rows of the sketch."""
    for r in range(start.size - 1):
        _add(start[r + 1] - start[r], tile, order, signs, start[r], sums, at + r * tile.shape[1])


@njit(cache=True)
def _add_each(tile, keys, order, signs, sums, at):
    """Add the rows of a tile one by one."""
    for i in range(keys.size):
        order[i], signs[i] = i, 1 - 2 * (keys[i] & 1)
        _add(1, tile, order, signs, i, sums, at + (keys[i] >> 1) * tile.shape[1])


@njit(cache=True)
def _add(count, tile, order, signs, k, sums, at):
    """Add `count` rows of a tile, listed from order[k] on, to the row of the sketch at `at`; the sums stand in registers."""
    width = tile.shape[1]
    lanes = _tile.VECTOR_BYTES // tile.itemsize
    c = 0
    while width - c >= 8 * lanes:
        _add8(count, tile, c, width, order, signs, k, sums, at + c)
        c += 8 * lanes
    if width - c >= 4 * lanes:
        _add4(count, tile, c, width, order, signs, k, sums, at + c)
        c += 4 * lanes
    if width - c >= 2 * lanes:
        _add2(count, tile, c, width, order, signs, k, sums, at + c)
        c += 2 * lanes
    if width - c >= lanes:
        _add1(count, tile, c, width, order, signs, k, sums, at + c)


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
    parts = max(1, min(_MAX_TASKS, values.shape[0] // (8 * height * max(1, columns))))
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
    """Let a thread add to one block of rows of one part, few enough to stay in its cache."""
    parts, height, _ = sums.shape
    width = np.uint64(height // zeta)
    n = indptr.shape[0] - 1
    for task in prange(parts * zeta):
        p, t = task // zeta, task % zeta
        for i in range(n * p // parts, n * (p + 1) // parts):
            word = philox.cpu_words(seed, stream, np.uint64(row_offset + i), np.uint64(t // 4))[t % 4]
            target = np.uint64(t) * width + (((word >> np.uint64(1)) * width) >> np.uint64(31))
            sign = -1.0 if word & np.uint64(1) else 1.0
            if weights.size:
                sign *= weights[i]
            for e in range(indptr[i], indptr[i + 1]):
                sums[p, target, indices[e]] += sign * values[e]


def cuda(A: Array, seed: int, stream: int, height: int, zeta: int, row_offset: int, scale: Array | None, B: Array | None = None) -> Array:
    """S D A, or S D [A, B]: a chunk's entries are sorted by their row, and each row of the sketch gathers its own."""
    xp = _arrays.namespace(A)
    if B is not None:
        return xp.concat([cuda(part, seed, stream, height, zeta, row_offset, scale) for part in (A, B)], axis=1)
    real = _arrays.real_dtype(xp, A.dtype)
    out = xp.zeros((height, A.shape[1]), dtype=A.dtype)
    for first in range(0, A.shape[0], _CUDA_CHUNK):
        chunk = A[first : first + _CUDA_CHUNK, :]
        rows = xp.arange(row_offset + first, row_offset + first + chunk.shape[0], dtype=xp.int64)
        targets, signs = entries(A, seed, stream, height, zeta, rows)
        weights = xp.astype(signs, real) / math.sqrt(zeta)
        weights = weights if scale is None else weights * scale[first : first + chunk.shape[0], None]
        order = xp.argsort(xp.reshape(targets, (-1,)), stable=True)
        start = xp.searchsorted(xp.take(xp.reshape(targets, (-1,)), order), xp.arange(height + 1, dtype=xp.int64))
        out += gather_sum(chunk, order // zeta, xp.take(xp.reshape(weights, (-1,)), order), start)
    return out


def adjoint_cuda(Y: Array, seed: int, stream: int, height: int, zeta: int, first: int, last: int) -> Array:
    """Rows first to last of S^H Y: zeta gathers."""
    xp = _arrays.namespace(Y)
    targets, signs = entries(Y, seed, stream, height, zeta, xp.arange(first, last, dtype=xp.int64))
    weights = xp.astype(signs, _arrays.real_dtype(xp, Y.dtype)) / math.sqrt(zeta)
    X = xp.zeros((last - first, Y.shape[1]), dtype=Y.dtype)
    for t in range(zeta):
        X += weights[:, t, None] * xp.take(Y, targets[:, t], axis=0)
    return X


apply = Kernel(reference, cpu, cuda)
adjoint = Kernel(adjoint_reference, adjoint_cpu, adjoint_cuda)
apply_csr = Kernel(csr_reference, csr_cpu, cuda=csr_reference)
