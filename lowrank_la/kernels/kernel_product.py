"""k(X, Y) V in tiles, without the kernel matrix; of a matrix that is symmetric, half of the tiles serve twice.

A tile of kernel values is made in the first-level cache and multiplied there. On a GPU the reference runs, whose tiles are matrix
products.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays, _threads
from lowrank_la._arrays import Array
from lowrank_la.kernels import _kernel_tiles, _rows, _tile, kernel_entries
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels._kernel_tiles import CHUNK, ROWS

TILE = 1 << 22  # entries of a tile of the reference
COLUMNS = 32  # of V at a time
PARTS, PARTS_BYTES = 16, 1 << 27  # sums of a symmetric product that are added at the end, and their memory

_dots, _back = _tile.inner(), _tile.outer(rows=1, vectors=4)


def reference(X: Array, Y: Array, V: Array, family: str, numbers: tuple[float, ...]) -> Array:
    """Return the (m, k) product with V (n, k); X may be Y itself."""
    xp = _arrays.namespace(V)
    height = max(1, TILE // max(1, Y.shape[0]))
    tiles = [kernel_entries.reference(block, Y, family, numbers) @ V for _, block in _arrays.row_blocks(X, height)]
    return xp.concat(tiles, axis=0) if tiles else xp.zeros((0, V.shape[1]), dtype=V.dtype, device=V.device)


def cpu(X: np.ndarray, Y: np.ndarray, V: np.ndarray, family: str, numbers: tuple[float, ...]) -> np.ndarray:
    """Run the tiles, with sums over many of them in float64; the same bits for any number of threads."""
    plain = _rows.is_plain(X, Y, V) and X.dtype == Y.dtype == V.dtype
    if not plain or X.shape[1] == 0:
        return reference(X, Y, V, family, numbers)
    with _threads.kernels_for(2.0 * X.shape[0] * Y.shape[0] * (X.shape[1] + _kernel_tiles.PROFILE_FLOPS)):
        return _multiplied(X, Y, V, family, numbers)


def _multiplied(X: np.ndarray, Y: np.ndarray, V: np.ndarray, family: str, numbers: tuple[float, ...]) -> np.ndarray:
    """Multiply some columns of V at a time."""
    plan, rows, columns = _kernel_tiles.prepare(X, Y, family, numbers)
    packed, (m, t) = _kernel_tiles.panels(columns), (X.shape[0], V.shape[1])
    out = np.empty((m, t), V.dtype)
    for first in range(0, t, COLUMNS):
        right = np.zeros((min(COLUMNS, t - first), columns.rows.shape[0]), V.dtype)
        right[:, : V.shape[0]] = V[:, first : first + COLUMNS].T
        if X is Y:
            parts = max(2, min(PARTS, PARTS_BYTES // (8 * right.size + 1), right.shape[1] // CHUNK))
            sums = _symmetric(plan, *rows, packed, right, parts).sum(axis=0)
        else:
            sums = _product(plan, *rows, packed, columns.norms, right, m)
        out[:, first : first + COLUMNS] = sums[:, :m].T
    return out


@njit(parallel=True, cache=True)
def _product(plan, rows, norms_rows, packed, norms, right, m):  # type: ignore[no-untyped-def]
    """Return (k(X, Y) V)^T for m rows of X and V^T = right, padded."""
    t, n = right.shape
    sums = np.zeros((t, rows.shape[0]))
    for tile in prange((m + CHUNK - 1) // CHUNK):
        values, c = aligned(ROWS, CHUNK, rows), aligned(ROWS, CHUNK, rows)
        part = np.empty((t, ROWS), rows.dtype)
        for first in range(0, n, CHUNK):
            for row in range(tile * CHUNK, min(m, tile * CHUNK + CHUNK), ROWS):
                _kernel_tiles.fill(plan, rows, row, norms_rows, packed, first, CHUNK, norms, c, values, 0, CHUNK)
                _times(values, right, first, part, row, sums)
    return sums


@njit(parallel=True, cache=True)
def _symmetric(plan, rows, norms, packed, right, parts):  # type: ignore[no-untyped-def]
    """Return parts of (k(X, X) V)^T: tiles on and above the diagonal, in block rows that alternate between short and long ones."""
    t, n = right.shape
    blocks = n // CHUNK
    sums = np.zeros((parts, t, n))
    for part in prange(parts):
        values, c = aligned(ROWS, CHUNK, rows), aligned(ROWS, CHUNK, rows)
        few, mirrored = np.empty((t, ROWS), rows.dtype), aligned(t, CHUNK, rows)
        for turn in range((blocks + parts - 1) // parts):
            block = turn * parts + (part if turn % 2 == 0 else parts - 1 - part)
            if block >= blocks:
                continue
            start = block * CHUNK
            for first in range(start, n, CHUNK):
                mirrored[:] = 0
                for row in range(start, start + CHUNK, ROWS):
                    _kernel_tiles.fill(plan, rows, row, norms, packed, first, CHUNK, norms, c, values, 0, CHUNK)
                    _times(values, right, first, few, row, sums[part])
                    if first > start:
                        for s in range(t):
                            for j in range(0, CHUNK, mirrored_width(values)):
                                _back(ROWS, right, s * n + row, 0, 1, values, j, CHUNK, mirrored, s * CHUNK + j, 0)
                if first > start:
                    for s in range(t):
                        for j in range(CHUNK):
                            sums[part, s, first + j] += mirrored[s, j]
    return sums


@njit(cache=True)
def mirrored_width(values):  # type: ignore[no-untyped-def]
    """Columns that a row of a mirrored product takes at a time."""
    return 4 * _tile.VECTOR_BYTES // values.itemsize


@njit(cache=True)
def _times(values, right, first, part, row, sums):  # type: ignore[no-untyped-def]
    """Add the product of a few rows of kernel values with V to the sums."""
    t, n = right.shape
    part[:] = 0
    for s in range(t):
        _dots(CHUNK, values, 0, CHUNK, right, s * n + first, part, s * ROWS)
        for i in range(ROWS):
            sums[s, row + i] += part[s, i]


apply = Kernel(reference, cpu)
