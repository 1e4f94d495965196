"""Tiles of whitened rows: D A R^-1 for a tile of rows of A and an upper triangular R^-1, and products of such tiles.

A tile of A meets the panels of R^-1 (a triangular product) and becomes a tile of Q in
panels, which meet each other (a symmetric product) or give the norms of its rows while they
are still in cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lowrank_la.kernels import _tile

TILE = 128  # rows of a tile: two panels of Q fit the first-level cache
DEPTH = 128  # terms of a triangular product between visits of Q: so much of a panel of R^-1 stays there, too
ROWS = _tile.ROWS
WIDTH = _tile.VECTORS * _tile.lanes_of(np.float64)  # columns of a panel
AHEAD = 256  # columns up to which the next tile finds room in the second-level cache beside this one

_add, _add_half = _tile.outer(), _tile.outer(vectors=1)
_put, _put_half = _tile.outer(add=False), _tile.outer(vectors=1, add=False)
_fetch = _tile.prefetch()


def packed(R_inv: np.ndarray, panels: int) -> np.ndarray:
    """Cut R^-1 into panels of WIDTH columns, each contiguous, the last padded with zeros."""
    d = R_inv.shape[0]
    padded = np.zeros((d, panels * WIDTH))
    padded[:, :d] = R_inv
    return np.ascontiguousarray(padded.reshape(d, panels, WIDTH).transpose(1, 0, 2))


@njit(cache=True)
def fill(A, at, ai, aj, rows, d, R_inv, half, X, Q):  # type: ignore[no-untyped-def]
    """Fill the panels of Q = A R^-1 for the rows of a tile."""
    if aj == 1 and rows % ROWS == 0 and A.itemsize == 8:
        triangular(A, at, ROWS * ai, ai, 1, d <= AHEAD, rows, d, R_inv, half, True, Q)
        return
    if ai == 1:
        _load_columns(A, at, aj, rows, X.reshape((TILE // ROWS, d, ROWS)))
        triangular(X, 0, ROWS * d, 1, ROWS, False, rows, d, R_inv, half, True, Q)
    else:
        load_rows(A, at, ai, aj, rows, X.reshape((TILE, d)))
        triangular(X, 0, ROWS * d, d, 1, False, rows, d, R_inv, half, True, Q)


@njit(cache=True)
def _load_columns(A, at, aj, rows, X):  # type: ignore[no-untyped-def]
    """Copy a tile with contiguous columns to slabs of ROWS rows, where a column of a slab is contiguous."""
    whole, rest = divmod(rows, ROWS)
    for j in range(X.shape[1]):
        column = A[at + j * aj :]
        for slab in range(whole):
            for i in range(ROWS):
                X[slab, j, i] = column[slab * ROWS + i]
        for i in range(ROWS if rest else 0):
            X[whole, j, i] = column[whole * ROWS + i] if i < rest else 0.0


@njit(cache=True)
def load_rows(A, at, ai, aj, rows, X):  # type: ignore[no-untyped-def]
    """Copy a tile row by row, with zero rows up to a multiple of ROWS."""
    for i in range(rows):
        if aj == 1:
            line = A[at + i * ai :]
            for j in range(X.shape[1]):
                X[i, j] = line[j]
        else:
            for j in range(X.shape[1]):
                X[i, j] = A[at + i * ai + j * aj]
    X[rows : (rows + ROWS - 1) // ROWS * ROWS] = 0.0


@njit(cache=True)
def triangular(a, at, slab, sai, sak, ahead, rows, d, R_inv, half, put, Q):  # type: ignore[no-untyped-def]
    """Fill the panels of Q with a R^-1, or add it to them unless `put`; `slab` elements lie between a row of `a` and the ROWS-th after it.

    `ahead` asks for the next tile of `a` meanwhile: its rows are too short a stretch for the hardware's own reading ahead.
    """
    panels = R_inv.shape[0]
    for p in range((d + WIDTH - 1) // WIDTH):
        K = min(d, (p + 1) * WIDTH)
        for k in range(0, K, DEPTH):
            depth, right = min(DEPTH, K - k), (p * d + k) * WIDTH
            for i in range((rows + ROWS - 1) // ROWS):
                left, q = at + i * slab + k * sak, (p * TILE + i * ROWS) * WIDTH
                if ahead and k == 0:
                    for row in range(rows + i * ROWS, rows + i * ROWS + ROWS):
                        _fetch(a, at + row * sai + p * WIDTH, WIDTH)
                if half and p == panels - 1:
                    if put and k == 0:
                        _put_half(depth, a, left, sai, sak, R_inv, right, WIDTH, Q, q, WIDTH)
                    else:
                        _add_half(depth, a, left, sai, sak, R_inv, right, WIDTH, Q, q, WIDTH)
                elif put and k == 0:
                    _put(depth, a, left, sai, sak, R_inv, right, WIDTH, Q, q, WIDTH)
                else:
                    _add(depth, a, left, sai, sak, R_inv, right, WIDTH, Q, q, WIDTH)


@njit(cache=True)
def gram(Q, rows, first, half, d, total):  # type: ignore[no-untyped-def]
    """Add Q^T Q to total: panels from `first` on, against the columns at and above their diagonal."""
    panels, _, width = Q.shape
    columns = total.shape[1]
    for q in range(first, panels):
        for i in range(0, min(d, (q + 1) * width), ROWS):
            left = i // width * TILE * width + i % width
            if half and q == panels - 1:
                _add_half(rows, Q, left, 1, width, Q, q * TILE * width, width, total, i * columns + q * width, columns)
            else:
                _add(rows, Q, left, 1, width, Q, q * TILE * width, width, total, i * columns + q * width, columns)


@njit(cache=True)
def scale(weights, rows, Q):  # type: ignore[no-untyped-def]
    """Multiply rows of a tile by weights, if there are any."""
    if weights.size == 0:
        return
    for p in range(Q.shape[0]):
        for i in range(rows):
            for v in range(WIDTH):
                Q[p, i, v] *= weights[i]
