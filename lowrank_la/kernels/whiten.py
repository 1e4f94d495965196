"""Gram matrix of the whitened columns Q = D A R^-1 and their products with right-hand sides, in one pass over A.

A tile of rows of A meets the panels of R^-1 (a triangular product), becomes a tile of
[Q, D B] in panels, and these meet each other (a symmetric product) while they are still in
cache: Q is never stored. The answers are float64 (complex128) for every input, because
they are sums over all rows. On a GPU the reference runs: its row blocks are matrix products,
which cuBLAS does best.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows, _tile
from lowrank_la.kernels._engine import Kernel

TILE = 128  # rows of a tile: two panels of Q fit the first-level cache
DEPTH = 128  # terms of a triangular product between visits of Q: so much of a panel of R^-1 stays there, too
ROWS = _tile.ROWS
WIDTH = _tile.VECTORS * _tile.lanes_of(np.float64)  # columns of a panel
WIDTH32 = _tile.VECTORS * _tile.lanes_of(np.float32)
AHEAD = 256  # columns up to which the next tile finds room in the second-level cache beside this one
FLUSH = 16  # tiles that a float32 sum may gather before it joins the float64 sum

_add, _add_half = _tile.outer(), _tile.outer(vectors=1)
_put, _put_half = _tile.outer(add=False), _tile.outer(vectors=1, add=False)
_fetch = _tile.prefetch()


def reference(A: Array, R_inv: Array, B: Array, scale: Array | None, fast: bool) -> tuple[Array, Array]:
    """Return G = Q^H Q (d, d) and C = Q^H D B (d, k) for Q = D A R_inv, D = diag(scale), R_inv upper triangular.

    `fast` allows G (never Q or C) the precision of float32; the reference ignores it.
    """
    xp = _arrays.namespace(A, R_inv, B)
    wide = xp.result_type(A.dtype, B.dtype, xp.float64)
    G = C = None
    for offset, rows in _arrays.row_blocks(A):
        here = slice(offset, offset + rows.shape[0])
        Q = xp.astype(rows, wide, copy=False) @ xp.astype(R_inv, wide, copy=False)
        DB = xp.astype(B[here, :], wide, copy=False)
        if scale is not None:
            d = xp.astype(scale[here], xp.float64, copy=False)[:, None]
            Q, DB = d * Q, d * DB
        Qh = _arrays.adjoint_of(xp, Q)
        G = Qh @ Q if G is None else G + Qh @ Q
        C = Qh @ DB if C is None else C + Qh @ DB
    return G, C


def cpu(A: np.ndarray, R_inv: np.ndarray, B: np.ndarray, scale: np.ndarray | None, fast: bool) -> tuple[np.ndarray, np.ndarray]:
    """Run the tiles; complex or mixed dtypes take the reference."""
    if not _rows.is_plain(A, R_inv, B, scale):
        return reference(A, R_inv, B, scale, fast)
    (n, d), k = A.shape, B.shape[1]
    panels = -(-(d + k) // WIDTH)
    parts = _rows.parts_of(-(-n // TILE), 8 * d * panels * WIDTH, n * d * A.itemsize)
    packed = _packed(R_inv, panels)
    sums = _sums(*_rows.flat(A), n, d, *_rows.flat(B), k, _rows.weights(scale), packed, parts, fast)
    S = sums.sum(axis=0)
    G = np.triu(S[:d, :d])
    return G + np.triu(G, 1).T, S[:d, d : d + k].copy()


def _packed(R_inv: np.ndarray, panels: int) -> np.ndarray:
    """Cut R^-1 into panels of WIDTH columns, each contiguous, the last padded with zeros."""
    d = R_inv.shape[0]
    padded = np.zeros((d, panels * WIDTH))
    padded[:, :d] = R_inv
    return np.ascontiguousarray(padded.reshape(d, panels, WIDTH).transpose(1, 0, 2))


@njit(parallel=True, cache=True)
def _sums(A, a0, ai, aj, n, d, B, b0, bi, bj, k, scale, R_inv, parts, fast):  # type: ignore[no-untyped-def]
    """Sum [Q, D B]^T [Q, D B] over each part of the rows; only blocks on and above the diagonal are filled."""
    panels = R_inv.shape[0]
    columns = panels * WIDTH
    tiles = (n + TILE - 1) // TILE
    height = (d + ROWS - 1) // ROWS * ROWS
    half = panels * WIDTH - (d + k) >= WIDTH // 2
    whole = d // WIDTH  # panels without right-hand sides
    panels32 = (whole * WIDTH + WIDTH32 - 1) // WIDTH32 if fast else 0
    sums = np.empty((parts, height, columns))
    for part in prange(parts):
        total = sums[part]
        total[:] = 0.0
        Q, X = np.zeros((panels, TILE, WIDTH)), np.empty(TILE * d)
        Q32 = np.zeros((panels32, TILE, WIDTH32), dtype=np.float32)
        total32 = np.zeros((whole * WIDTH, panels32 * WIDTH32), dtype=np.float32)
        last = (part + 1) * tiles // parts
        for tile in range(part * tiles // parts, last):
            row = tile * TILE
            rows = min(TILE, n - row)
            _whiten(A, a0 + row * ai, ai, aj, rows, d, R_inv, half, X, Q)
            _append(B, b0 + row * bi, bi, bj, rows, k, d, Q)
            _scale(scale[row:], rows, Q)
            _gram(Q, rows, whole if fast else 0, half, d, total)
            if fast:
                _narrow(Q, rows, whole, Q32)
                _gram(Q32, rows, 0, whole * WIDTH % WIDTH32 > 0, whole * WIDTH, total32)
                if tile % FLUSH == FLUSH - 1 or tile == last - 1:
                    _flush(total32, total)
    return sums


@njit(cache=True)
def _whiten(A, at, ai, aj, rows, d, R_inv, half, X, Q):  # type: ignore[no-untyped-def]
    """Fill the panels of Q = A R^-1 for the rows of a tile."""
    if aj == 1 and rows % ROWS == 0 and A.itemsize == 8:
        _triangular(A, at, ROWS * ai, ai, 1, d <= AHEAD, rows, d, R_inv, half, Q)
        return
    if ai == 1:
        _load_columns(A, at, aj, rows, X.reshape((TILE // ROWS, d, ROWS)))
        _triangular(X, 0, ROWS * d, 1, ROWS, False, rows, d, R_inv, half, Q)
    else:
        _load_rows(A, at, ai, aj, rows, X.reshape((TILE, d)))
        _triangular(X, 0, ROWS * d, d, 1, False, rows, d, R_inv, half, Q)


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
def _load_rows(A, at, ai, aj, rows, X):  # type: ignore[no-untyped-def]
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
def _triangular(a, at, slab, sai, sak, ahead, rows, d, R_inv, half, Q):  # type: ignore[no-untyped-def]
    """Fill the panels of Q = a R^-1, where `slab` elements lie between one row of `a` and the ROWS-th after it.

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
                    if k == 0:
                        _put_half(depth, a, left, sai, sak, R_inv, right, WIDTH, Q, q, WIDTH)
                    else:
                        _add_half(depth, a, left, sai, sak, R_inv, right, WIDTH, Q, q, WIDTH)
                elif k == 0:
                    _put(depth, a, left, sai, sak, R_inv, right, WIDTH, Q, q, WIDTH)
                else:
                    _add(depth, a, left, sai, sak, R_inv, right, WIDTH, Q, q, WIDTH)


@njit(cache=True)
def _append(B, at, bi, bj, rows, k, d, Q):  # type: ignore[no-untyped-def]
    """Write the right-hand sides behind the d columns of Q."""
    for j in range(k):
        p, v = divmod(d + j, WIDTH)
        for i in range(rows):
            Q[p, i, v] = B[at + i * bi + j * bj]


@njit(cache=True)
def _scale(weights, rows, Q):  # type: ignore[no-untyped-def]
    if weights.size == 0:
        return
    for p in range(Q.shape[0]):
        for i in range(rows):
            for v in range(WIDTH):
                Q[p, i, v] *= weights[i]


@njit(cache=True)
def _narrow(Q, rows, whole, Q32):  # type: ignore[no-untyped-def]
    """Round the first panels of Q to float32, two and two side by side."""
    for p in range(whole):
        side = p % 2 * WIDTH
        for i in range(rows):
            for v in range(WIDTH):
                Q32[p // 2, i, side + v] = Q[p, i, v]


@njit(cache=True)
def _flush(total32, total):  # type: ignore[no-untyped-def]
    """Move the float32 sums to the float64 ones."""
    for i in range(total32.shape[0]):
        for j in range(total32.shape[0]):
            total[i, j] += total32[i, j]
            total32[i, j] = 0.0


@njit(cache=True)
def _gram(Q, rows, first, half, d, total):  # type: ignore[no-untyped-def]
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


gram = Kernel(reference, cpu)
