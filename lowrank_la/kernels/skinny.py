"""A X and A^H (A X - 1 row) for a large A and few columns of X, where libraries of matrix products reach half their speed.

The Gram product reads A once: a tile of rows is copied to the cache, in the dtype of X, and meets X and
its own product with X there. For 20000 x 2000 and 60 columns it takes half the time of two
products by OpenBLAS in float64, a quarter in float32. On a GPU the reference runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows, _tile
from lowrank_la.kernels._engine import Kernel

ROWS = _tile.ROWS
HEIGHT = 64  # rows of a tile
DEPTH = 1024  # columns of A that meet a tile of A X at a time: X's strip and the tile stay in the second-level cache
PARTS = 16  # of the rows, whose sums are added in order
MOST_COLUMNS = 8192  # of A in a tile that still fits the cache
LINE = 64  # bytes
FEW_FLOPS = 1e7  # below it the call of a compiled loop costs more than it saves

_add, _add_half = _tile.outer(), _tile.outer(vectors=1)


def reference(A: Array, X: Array) -> Array:
    """Return A X in the dtype of X, or of A where only A is complex."""
    xp, dtype = _arrays.namespace(A, X), _common(A, X)
    if A.dtype == dtype:
        return A @ X
    return xp.concat([xp.astype(block, dtype) @ X for _, block in _arrays.row_blocks(A)], axis=0)


def gram_reference(A: Array, X: Array, row: Array | None = None) -> tuple[Array, Array]:
    """Return A^H W and the column sums of W, for W = A X - 1 row, in the dtype of A X."""
    xp, dtype = _arrays.namespace(A, X), _common(A, X)
    total = xp.zeros((X.shape[0] + 1, X.shape[1]), dtype=dtype, device=X.device)
    for _, block in _arrays.row_blocks(A):
        block = xp.astype(block, dtype, copy=False)
        W = block @ X if row is None else block @ X - row[None, :]
        total += xp.concat([_arrays.adjoint_of(xp, block) @ W, xp.sum(W, axis=0)[None, :]])
    return total[:-1, :], total[-1, :]


def _common(A: Array, X: Array) -> Any:
    xp = _arrays.namespace(A, X)
    return A.dtype if xp.isdtype(A.dtype, "complex floating") and not xp.isdtype(X.dtype, "complex floating") else X.dtype


def cpu(A: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return A X by tiles of rows; what the tile does not take goes to the reference."""
    if not (_takes(A, X) and A.itemsize <= X.itemsize and A.strides[1] == A.itemsize):
        return reference(A, X)
    (n, d), c = A.shape, X.shape[1]
    Y = np.empty((n, c), X.dtype)
    _times(*_rows.flat(A)[:3], n, d, _strips(X), c, Y)
    return Y


def gram_cpu(A: np.ndarray, X: np.ndarray, row: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return A^T W and the column sums of W, for W = A X - 1 row, in one read of A; the same bits for any number of threads."""
    (n, d), c = A.shape, X.shape[1]
    if not (_takes(A, X) and d <= MOST_COLUMNS):
        return gram_reference(A, X, row)
    strips = _strips(X)
    line = LINE // X.itemsize
    stride = (d // line // 2 * 2 + 3) * line  # an odd number of cache lines, so that rows do not compete for places
    parts = max(1, min(PARTS, 4 * n // d, n // HEIGHT))
    height = -(-d // ROWS) * ROWS  # a row of sums comes behind
    sums = np.zeros((parts, height + 1, strips.shape[0] * strips.shape[2]), X.dtype)
    shift = np.zeros(sums.shape[2], X.dtype)
    shift[:c] = 0 if row is None else row
    _gram(*_rows.flat(A), n, d, strips, c, stride, shift, sums)
    for part in sums[1:]:
        sums[0] += part
    return np.ascontiguousarray(sums[0, :d, :c]), sums[0, height, :c].copy()


def _takes(A: np.ndarray, X: np.ndarray) -> bool:
    return _rows.is_plain(A, X) and 2.0 * A.size * X.shape[1] >= FEW_FLOPS


def _strips(X: np.ndarray) -> np.ndarray:
    """Cut X into strips as wide as a tile, each contiguous, the last padded with zeros."""
    d, c = X.shape
    width = _tile.VECTORS * _tile.lanes_of(X.dtype)
    count = -(-c // width)
    padded = np.zeros((d, count * width), X.dtype)
    padded[:, :c] = X
    return np.ascontiguousarray(padded.reshape(d, count, width).transpose(1, 0, 2))


@njit(parallel=True, cache=True)
def _times(A, a0, ai, n, d, X, c, Y):  # type: ignore[no-untyped-def]
    """Fill Y = A X tile by tile, as many columns of A at a time as the cache holds."""
    strips, _, width = X.shape
    for tile in prange((n + HEIGHT - 1) // HEIGHT):
        first = tile * HEIGHT
        rows = min(HEIGHT, n - first)
        whole = rows // ROWS * ROWS
        rest = np.zeros((ROWS, DEPTH), X.dtype)
        out = np.zeros((strips, HEIGHT, width), X.dtype)
        for left in range(0, d, DEPTH):
            depth = min(DEPTH, d - left)
            _multiply(A, a0 + first * ai + left, ai, whole, depth, X, left, c, out)
            if whole < rows:
                for i in range(whole, rows):
                    for k in range(depth):
                        rest[i - whole, k] = A[a0 + (first + i) * ai + left + k]
                _multiply(rest, 0, DEPTH, ROWS, depth, X, left, c, out[:, whole:])
        for i in range(rows):
            for j in range(c):
                Y[first + i, j] = out[j // width, i, j % width]


@njit(cache=True)
def _multiply(A, at, ai, rows, depth, X, left, c, out):  # type: ignore[no-untyped-def]
    """Add the product of a block of A, which meets the rows of X from `left` on, to the strips of `out`."""
    strips, d, width = X.shape
    half = strips * width - c >= width // 2
    for s in range(strips):
        x, y = (s * d + left) * width, s * HEIGHT * width
        for i in range(0, rows, ROWS):
            if half and s == strips - 1:
                _add_half(depth, A, at + i * ai, ai, 1, X, x, width, out, y + i * width, width)
            else:
                _add(depth, A, at + i * ai, ai, 1, X, x, width, out, y + i * width, width)


@njit(parallel=True, cache=True)
def _gram(A, a0, ai, aj, n, d, X, c, stride, row, sums):  # type: ignore[no-untyped-def]
    """Add T^T W and the sums of W = T X - 1 row, for the tiles T of each part of the rows."""
    strips, _, width = X.shape
    parts = sums.shape[0]
    for part in prange(parts):
        tile = np.zeros(HEIGHT * stride, X.dtype)
        last = n * (part + 1) // parts
        for first in range(n * part // parts, last, HEIGHT):
            rows = min(HEIGHT, last - first)
            _copy(A, a0 + first * ai, ai, aj, rows, d, stride, tile)
            out = np.zeros((strips, HEIGHT, width), X.dtype)
            _multiply(tile, 0, stride, HEIGHT, d, X, 0, c, out)
            _shift(out, row, rows, sums[part, -1])
            _multiply_back(tile, stride, out, c, sums[part])


@njit(cache=True)
def _shift(out, row, rows, sums):  # type: ignore[no-untyped-def]
    """Subtract a row from the rows of a tile, and add them up."""
    strips, _, width = out.shape
    for s in range(strips):
        for i in range(rows):
            for v in range(width):
                out[s, i, v] -= row[s * width + v]
                sums[s * width + v] += out[s, i, v]


@njit(cache=True)
def _multiply_back(tile, stride, out, c, total):  # type: ignore[no-untyped-def]
    """Add T^T W."""
    strips, _, width = out.shape
    columns = total.shape[1]
    half = columns - c >= width // 2
    for j in range(0, total.shape[0] - 1, ROWS):
        for s in range(strips):
            w, at = s * HEIGHT * width, j * columns + s * width
            if half and s == strips - 1:
                _add_half(HEIGHT, tile, j, 1, stride, out, w, width, total, at, columns)
            else:
                _add(HEIGHT, tile, j, 1, stride, out, w, width, total, at, columns)


@njit(cache=True)
def _copy(A, at, ai, aj, rows, d, stride, tile):  # type: ignore[no-untyped-def]
    """Copy rows of A along its fast axis, with zero rows up to the height of the tile."""
    if aj == 1:
        for i in range(rows):
            line, out = A[at + i * ai :], tile[i * stride :]
            for j in range(d):
                out[j] = line[j]
    else:
        for j in range(d):
            for i in range(rows):
                tile[i * stride + j] = A[at + i * ai + j * aj]
    tile[rows * stride :] = 0.0


times = Kernel(reference, cpu)
gram = Kernel(gram_reference, gram_cpu)
