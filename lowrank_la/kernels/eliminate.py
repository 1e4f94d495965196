"""New columns of a partial Cholesky factor: (G - F F[pivots]^T) L^-T and the squared lengths of its rows, in one pass over F.

A tile of rows meets the rows of F at the pivots, a triangle below them, panel by panel, and stays in the second-level cache
meanwhile. On a GPU the reference runs: a matrix product and a triangular solve.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays, _threads
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows, _tile
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel

ROWS = _tile.ROWS
HEIGHT = 64  # rows of a tile

_add, _put = _tile.outer(), _tile.outer(add=False)


def reference(F: Array, first: int, G: Array, pivots: Array, L: Array) -> Array:
    """Store (G - F_1 F_1[pivots]^H) L^-H behind the `first` columns F_1 of F; return the squared lengths of its rows, float64.

    Without columns before, `pivots` are not looked at.
    """
    xp, last = _arrays.namespace(F, G), first + L.shape[0]
    if first:
        at_pivots = xp.take(F, pivots, axis=0)[:, :first]  # in this order: a part of the columns would be copied first
        G = G - F[:, :first] @ _arrays.adjoint_of(xp, at_pivots)
    R = _arrays.adjoint_of(xp, xp.astype(L, F.dtype))
    new = _arrays.adjoint_of(xp, _arrays.solve_triangular(R, _arrays.adjoint_of(xp, G), adjoint=True))
    F[:, first:last] = new
    wide = xp.astype(xp.abs(new), xp.float64)
    return xp.sum(wide * wide, axis=1)


def cpu(F: np.ndarray, first: int, G: np.ndarray, pivots: np.ndarray, L: np.ndarray) -> np.ndarray:
    """Run the tiles; complex numbers and other layouts of F take the reference. The same bits for any number of threads."""
    if not _rows.is_plain(F, G) or F.dtype != G.dtype or not F.flags.c_contiguous:
        return reference(F, first, G, pivots, L)
    left, inverses = packed(F[pivots, :first] if first else np.zeros((L.shape[0], 0)), L, F.dtype)
    lengths = np.empty(F.shape[0])
    with _threads.kernels_for(2.0 * G.size * (first + L.shape[0])):
        _columns(F, first, L.shape[0], *_rows.flat(G), left, inverses, lengths)
    return lengths


def packed(at_pivots: np.ndarray, L: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Cut -[F[pivots], L]^T into panels of columns, each contiguous, and invert the triangles on the diagonal of L."""
    width = _tile.VECTORS * _tile.lanes_of(dtype)
    (b, first), count = at_pivots.shape, -(-L.shape[0] // width)
    L, padded = L.astype(np.float64), np.eye(count * width)
    padded[:b, :b] = L
    inverses, left = np.zeros((count, width, width), dtype), np.zeros((count, first + count * width, width), dtype)
    for p in range(count):
        square, here = slice(p * width, (p + 1) * width), slice(p * width, min(b, (p + 1) * width))
        inverses[p] = np.linalg.inv(padded[square, square]).T
        left[p, :first, : here.stop - here.start] = -at_pivots[here].T
        left[p, first : first + p * width, : here.stop - here.start] = -L[here, : p * width].T
    return left, inverses


@njit(parallel=True, cache=True)
def _columns(F, first, count, G, g0, gi, gj, left, inverses, lengths):  # type: ignore[no-untyped-def]
    """Fill the new columns tile by tile."""
    n, (panels, depth, width) = F.shape[0], left.shape
    for tile in prange((n + HEIGHT - 1) // HEIGHT):
        block, edge = aligned(ROWS, width, F), np.zeros((ROWS, depth), F.dtype)
        for row in range(tile * HEIGHT, min(n, tile * HEIGHT + HEIGHT), ROWS):
            for p in range(panels):
                for i in range(min(ROWS, n - row)):
                    for j in range(min(width, count - p * width)):
                        block[i, j] = G[g0 + (row + i) * gi + (p * width + j) * gj]
                panel(F, row, first, count, p, left, inverses, block, edge)
            measure(F, row, first, count, lengths)


@njit(cache=True)
def panel(F, row, first, count, p, left, inverses, block, edge):  # type: ignore[no-untyped-def]
    """Turn a block of G into the next columns of F; rows that are not enough for a block go through a copy."""
    (n, stride), (_, height, width) = F.shape, left.shape
    rows, depth, columns = min(ROWS, n - row), first + p * width, min(width, count - p * width)
    if rows == ROWS:
        _add(depth, F, row * stride, stride, 1, left, p * height * width, width, block, 0, width)
    else:
        if p == 0:
            edge[:rows, :first] = F[row:, :first]
        _add(depth, edge, 0, height, 1, left, p * height * width, width, block, 0, width)
    if rows == ROWS and columns == width:
        _put(width, block, 0, width, 1, inverses, p * width * width, width, F, row * stride + depth, stride)
    else:
        _put(width, block, 0, width, 1, inverses, p * width * width, width, edge, depth, height)
        F[row : row + rows, depth : depth + columns] = edge[:rows, depth : depth + columns]


@njit(cache=True)
def measure(F, row, first, count, lengths):  # type: ignore[no-untyped-def]
    """Sum the squares of the new columns in a block of rows."""
    for i in range(row, min(F.shape[0], row + ROWS)):
        total = 0.0
        for j in range(first, first + count):
            total += np.float64(F[i, j]) * np.float64(F[i, j])
        lengths[i] = total


apply = Kernel(reference, cpu)
