"""Squared norms of the rows of D A P, and a round of Lewis weights, each in one pass over A that never stores A P."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows, _tile, _whitening
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels._whitening import ROWS, TILE, WIDTH

LEAST = -690.0  # logarithm of the smallest weight
CHUNKS = 64  # of rows, which threads share among themselves

_squares = _tile.squares()


def norms_reference(A: Any, P: Array, scale: Array | None) -> Array:
    """Return the squared norms (n,), float64, of the rows of D A P, D = diag(scale).

    Parameters
    ----------
    A : array (n, d), or sparse matrix in compressed rows
        Real or complex.
    P : array (d, d), upper triangular
        float64 or complex128.
    scale : array (n,) or None
        Real.
    """
    xp = _arrays.namespace(P)
    parts = []
    for offset, block in _arrays.row_blocks(A):
        h = xp.sum(xp.abs(_times(block, P)) ** 2, axis=1)
        parts.append(h if scale is None else h * scale[offset : offset + block.shape[0]] ** 2)
    return xp.concat(parts)


def lewis_reference(A: Any, P: Array, x: Array, theta: float, p: float, floor: float) -> tuple[Array, Array, float, float]:
    """Move logarithms of weights x towards those of F(w)_i = ||a_i P||^p, and form the Gram matrix of their density.

    Parameters
    ----------
    A, P
        As above.
    x : array (n,), float64
        log(w).
    theta : float
        Length of the step: 1 goes to F(w).
    p : float
        Exponent.
    floor : float
        Rows with log(w_i) or log(F(w)_i) above it count for the first residual.

    Returns
    -------
    y : array (n,), float64
        x + theta r, at least LEAST, with r = log(F(w)) - x; LEAST for zero rows.
    G : array (d, d)
        Sum of exp((1 - 2/p) y_i) (a_i P)^H (a_i P).
    residual, full : float
        max_i |r_i| over the rows that `floor` lets count, and over all rows that are not zero.
    """
    xp = _arrays.namespace(P)
    moved, steps, G = [], [], None
    for offset, block in _arrays.row_blocks(A):
        Q = _times(block, P)
        h = xp.sum(xp.abs(Q) ** 2, axis=1)
        at = x[offset : offset + block.shape[0]]
        r = xp.where(h > 0, p / 2 * xp.log(xp.where(h > 0, h, xp.ones_like(h))) - at, xp.zeros_like(at))
        y = xp.where(h > 0, xp.clip(at + theta * r, LEAST, None), xp.full_like(at, LEAST))
        Q = xp.exp((0.5 - 1 / p) * y)[:, None] * Q
        part = _arrays.adjoint_of(xp, Q) @ Q
        G = part if G is None else G + part
        moved.append(y)
        steps.append(r)
    r = xp.concat(steps)
    size = xp.abs(r)
    counts = (x > floor) | (x + r > floor)
    return xp.concat(moved), G, float(xp.max(xp.where(counts, size, xp.zeros_like(size)))), float(xp.max(size))


def _times(block: Any, P: Array) -> Array:
    if _arrays.is_sparse(block):
        return block @ P
    xp = _arrays.namespace(P)
    dtype = xp.result_type(block.dtype, P.dtype)
    return xp.astype(block, dtype, copy=False) @ xp.astype(P, dtype, copy=False)


def norms_cpu(A: Any, P: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """Run the tiles; other matrices than dense real ones take the reference."""
    if not _rows.is_plain(A, P, scale):
        return norms_reference(A, P, scale)
    n, d = A.shape
    h = np.empty(-(-n // ROWS) * ROWS)
    _norms(*_rows.flat(A), n, d, _whitening.packed(P, -(-d // WIDTH)), h)
    h = h[:n]
    return h if scale is None else h * scale**2


def lewis_cpu(A: Any, P: np.ndarray, x: np.ndarray, theta: float, p: float, floor: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Run the tiles; the same bits for any number of threads."""
    if not _rows.is_plain(A, P, x):
        return lewis_reference(A, P, x, theta, p, floor)
    n, d = A.shape
    panels = -(-d // WIDTH)
    parts = _rows.parts_of(-(-n // TILE), 8 * d * panels * WIDTH, n * d * A.itemsize)
    y = np.empty(n)
    sums, largest = _lewis(*_rows.flat(A), n, d, _whitening.packed(P, panels), np.ascontiguousarray(x), theta, p, floor, parts, y)
    G = np.triu(sums.sum(axis=0)[:d, :d])
    return y, G + np.triu(G, 1).T, *(float(r) for r in largest.max(axis=0))


@njit(parallel=True, cache=True)
def _norms(A, a0, ai, aj, n, d, P, h):  # type: ignore[no-untyped-def]
    panels = P.shape[0]
    half = panels * WIDTH - d >= WIDTH // 2
    tiles = (n + TILE - 1) // TILE
    parts = min(tiles, CHUNKS)
    for part in prange(parts):
        Q, X = np.zeros((panels, TILE, WIDTH)), np.empty(TILE * d)
        for tile in range(part * tiles // parts, (part + 1) * tiles // parts):
            row = tile * TILE
            rows = min(TILE, n - row)
            _whitening.fill(A, a0 + row * ai, ai, aj, rows, d, P, half, X, Q)
            _row_squares(Q, rows, h, row)


@njit(parallel=True, cache=True)
def _lewis(A, a0, ai, aj, n, d, P, x, theta, p, floor, parts, y):  # type: ignore[no-untyped-def]
    """Fill y; return the Gram matrix (its upper triangle) and the largest residuals for each part of the rows."""
    panels = P.shape[0]
    half = panels * WIDTH - d >= WIDTH // 2
    tiles = (n + TILE - 1) // TILE
    sums, largest = np.zeros((parts, (d + ROWS - 1) // ROWS * ROWS, panels * WIDTH)), np.zeros((parts, 2))
    for part in prange(parts):
        Q, X = np.zeros((panels, TILE, WIDTH)), np.empty(TILE * d)
        h = np.empty(TILE)
        for tile in range(part * tiles // parts, (part + 1) * tiles // parts):
            row = tile * TILE
            rows = min(TILE, n - row)
            _whitening.fill(A, a0 + row * ai, ai, aj, rows, d, P, half, X, Q)
            _row_squares(Q, rows, h, 0)
            _move(h, x[row : row + rows], theta, p, floor, y[row : row + rows], largest[part])
            _whitening.scale(h, rows, Q)
            _whitening.gram(Q, rows, 0, half, d, sums[part])
    return sums, largest


@njit(cache=True)
def _row_squares(Q, rows, h, at):  # type: ignore[no-untyped-def]
    """Store the squared norms of the rows of a tile, whose columns behind the last one are zero."""
    for i in range(0, rows, ROWS):
        _squares(Q.shape[0], Q, i * WIDTH, WIDTH, TILE * WIDTH, h, at + i)


@njit(cache=True)
def _move(h, x, theta, p, floor, y, largest):  # type: ignore[no-untyped-def]
    """Move weights of rows with squared norms h, which become the weights of the rows in the Gram matrix."""
    power = 0.5 - 1.0 / p
    for i in range(x.size):
        if h[i] == 0.0:
            y[i] = LEAST
            continue
        r = 0.5 * p * math.log(h[i]) - x[i]
        y[i] = max(x[i] + theta * r, LEAST)
        h[i] = math.exp(power * y[i])
        largest[1] = max(largest[1], abs(r))
        if max(x[i], x[i] + r) > floor:
            largest[0] = max(largest[0], abs(r))


norms = Kernel(norms_reference, norms_cpu)
lewis = Kernel(lewis_reference, lewis_cpu)
