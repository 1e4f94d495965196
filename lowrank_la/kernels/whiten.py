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
from lowrank_la.kernels import _rows, _tile, _whitening
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels._whitening import ROWS, TILE, WIDTH

WIDTH32 = _tile.VECTORS * _tile.lanes_of(np.float32)
FLUSH = 16  # tiles that a float32 sum may gather before it joins the float64 sum


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
    return (G + _arrays.adjoint_of(xp, G)) / 2, C  # some libraries round the two triangles of a product differently


def cpu(A: np.ndarray, R_inv: np.ndarray, B: np.ndarray, scale: np.ndarray | None, fast: bool) -> tuple[np.ndarray, np.ndarray]:
    """Run the tiles; complex or mixed dtypes take the reference."""
    if not _rows.is_plain(A, R_inv, B, scale):
        return reference(A, R_inv, B, scale, fast)
    (n, d), k = A.shape, B.shape[1]
    panels = -(-(d + k) // WIDTH)
    parts = _parts(A, panels)
    packed = _whitening.packed(R_inv, panels)
    sums = _sums(*_rows.flat(A), n, d, *_rows.flat(B), k, _rows.weights(scale), packed, parts, fast)
    S = sums.sum(axis=0)
    G = np.triu(S[:d, :d])
    return G + np.triu(G, 1).T, S[:d, d : d + k].copy()


def _parts(A: np.ndarray, panels: int) -> int:
    n, d = A.shape
    return _rows.parts_of(-(-n // TILE), 8 * d * panels * WIDTH, n * d * A.itemsize)


def sum_length(A: Array) -> int:
    """Count the roundings that a sum over the rows of A gathers in a Gram matrix without right-hand sides."""
    n, d = A.shape
    if _arrays.engine_of(A) != "cpu" or not _rows.is_plain(A):
        return n
    parts = _parts(A, -(-d // WIDTH))
    return (-(-n // TILE) // parts + 1) * TILE + parts


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
            _whitening.fill(A, a0 + row * ai, ai, aj, rows, d, R_inv, half, X, Q)
            _append(B, b0 + row * bi, bi, bj, rows, k, d, Q)
            _whitening.scale(scale[row:], rows, Q)
            _whitening.gram(Q, rows, whole if fast else 0, half, d, total)
            if fast:
                _narrow(Q, rows, whole, Q32)
                _whitening.gram(Q32, rows, 0, whole * WIDTH % WIDTH32 > 0, whole * WIDTH, total32)
                if tile % FLUSH == FLUSH - 1 or tile == last - 1:
                    _flush(total32, total)
    return sums


@njit(cache=True)
def _append(B, at, bi, bj, rows, k, d, Q):  # type: ignore[no-untyped-def]
    """Write the right-hand sides behind the d columns of Q."""
    for j in range(k):
        p, v = divmod(d + j, WIDTH)
        for i in range(rows):
            Q[p, i, v] = B[at + i * bi + j * bj]


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


gram = Kernel(reference, cpu)
