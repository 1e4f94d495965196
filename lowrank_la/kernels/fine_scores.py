"""Rows of (A P) C, where A P is found in more than working precision: their squared norms and their Gram matrix.

Where P is the inverse of an ill conditioned triangle, terms of a product A P cancel, and rounding
errors grow with the condition. Here the leading bits of A and of P are split off. Products of those
are exact in float64, in any order; the rest is small, and so are its errors. With the product by C these are
four triangular products instead of one; sums of double length would take ten times the operations. On a GPU the reference runs.
"""

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

_squares = _tile.squares()


def bits(terms: int) -> int:
    """Leading bits of two factors for which sums of so many products are exact."""
    return (53 - math.ceil(math.log2(max(terms, 1)))) // 2


def reference(A: Any, P: Array, columns: Array, C: Array, scale: Array | None) -> tuple[Array, Array]:
    """Return the squared norms (n,) of the rows of Q = D ((A diag(columns)) P) C, D = diag(scale), and Q^H Q.

    Parameters
    ----------
    A : array (n, d), or sparse matrix in compressed rows
        Real or complex.
    P, C : array (d, d), upper triangular
        float64 or complex128.
    columns : array (d,), float64
        Powers of two that bring the columns of A to similar lengths.
    scale : array (n,) or None
        Real.
    """
    xp = _arrays.namespace(P)
    terms = A.shape[1] * (2 if xp.isdtype(P.dtype, "complex floating") else 1)
    P1, P2 = _split(P, terms, 0)
    parts, G = [], None
    for offset, block in _arrays.row_blocks(A):
        block = block.toarray() if _arrays.is_sparse(block) else block
        X = xp.astype(block, P.dtype, copy=False) * columns
        X1, X2 = _split(X, terms, 1)
        Q = (X1 @ P1 + (X1 @ P2 + X2 @ P)) @ C
        Q = Q if scale is None else scale[offset : offset + block.shape[0], None] * Q
        part = _arrays.adjoint_of(xp, Q) @ Q
        parts.append(xp.sum(xp.abs(Q) ** 2, axis=1))
        G = part if G is None else G + part
    return xp.concat(parts), G


def _split(X: Array, terms: int, axis: int) -> tuple[Array, Array]:
    """Split off the leading bits, counted from the largest entry along an axis."""
    xp = _arrays.namespace(X)
    if xp.isdtype(X.dtype, "complex floating"):
        (re1, re2), (im1, im2) = _split(xp.real(X), terms, axis), _split(xp.imag(X), terms, axis)
        return re1 + 1j * im1, re2 + 1j * im2
    largest = xp.max(xp.abs(X), axis=axis, keepdims=True)
    exponent = xp.ceil(xp.log2(xp.where(largest > 0, largest, xp.ones_like(largest))))
    sigma = 1.5 * xp.asarray(2.0, dtype=X.dtype, device=X.device) ** (exponent + (52 - bits(terms)))
    leading = (X + sigma) - sigma
    return leading, X - leading


def cpu(A: Any, P: np.ndarray, columns: np.ndarray, C: np.ndarray, scale: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Run the tiles; other matrices than dense real ones take the reference."""
    if not _rows.is_plain(A, P, C, scale):
        return reference(A, P, columns, C, scale)
    n, d = A.shape
    panels = -(-d // WIDTH)
    parts = _rows.parts_of(-(-n // TILE), 8 * d * panels * WIDTH, n * d * A.itemsize)
    factors = np.stack([_whitening.packed(part, panels) for part in (*_split(P, d, 0), P, C)])
    h = np.empty(-(-n // ROWS) * ROWS)
    sums = _sums(*_rows.flat(A), n, d, factors, columns, _rows.weights(scale), bits(d), parts, h)
    G = np.triu(sums.sum(axis=0)[:d, :d])
    return h[:n], G + np.triu(G, 1).T


@njit(parallel=True, cache=True)
def _sums(A, a0, ai, aj, n, d, factors, columns, scale, bits, parts, h):  # type: ignore[no-untyped-def]
    """Fill h; return the upper triangle of the Gram matrix for each part of the rows."""
    panels = factors.shape[1]
    half = panels * WIDTH - d >= WIDTH // 2
    tiles = (n + TILE - 1) // TILE
    sums = np.zeros((parts, (d + ROWS - 1) // ROWS * ROWS, panels * WIDTH))
    for part in prange(parts):
        Q, rest = np.zeros((panels, TILE, WIDTH)), np.zeros((panels, TILE, WIDTH))
        X, low = np.empty((TILE, d)), np.empty((TILE, d))
        for tile in range(part * tiles // parts, (part + 1) * tiles // parts):
            row = tile * TILE
            rows = min(TILE, n - row)
            _whitening.load_rows(A, a0 + row * ai, ai, aj, rows, X)
            height = (rows + ROWS - 1) // ROWS * ROWS
            _divide(X[:height], columns, bits, low)
            _whitening.triangular(X, 0, ROWS * d, d, 1, False, rows, d, factors[0], half, True, Q)
            _whitening.triangular(X, 0, ROWS * d, d, 1, False, rows, d, factors[1], half, True, rest)
            _whitening.triangular(low, 0, ROWS * d, d, 1, False, rows, d, factors[2], half, False, rest)
            _join(Q, rest, X[:height])
            _whitening.triangular(X, 0, ROWS * d, d, 1, False, rows, d, factors[3], half, True, Q)
            _whitening.scale(scale[row:], rows, Q)
            for i in range(0, rows, ROWS):
                _squares(panels, Q, i * WIDTH, WIDTH, TILE * WIDTH, h, row + i)
            _whitening.gram(Q, rows, 0, half, d, sums[part])
    return sums


@njit(cache=True)
def _divide(X, columns, bits, low):  # type: ignore[no-untyped-def]
    """Scale the columns of a tile and move all but the leading bits of each row to another tile."""
    for i in range(X.shape[0]):
        largest = 0.0
        for k in range(X.shape[1]):
            X[i, k] *= columns[k]
            largest = max(largest, abs(X[i, k]))
        sigma = 1.5 * 2.0 ** (math.ceil(math.log2(largest)) + (52 - bits)) if largest > 0.0 else 0.0
        for k in range(X.shape[1]):
            leading = (X[i, k] + sigma) - sigma
            low[i, k] = X[i, k] - leading
            X[i, k] = leading


@njit(cache=True)
def _join(Q, rest, X):  # type: ignore[no-untyped-def]
    """Add two tiles of panels; the sum is a tile of whole rows."""
    d = X.shape[1]
    for p in range(Q.shape[0]):
        for i in range(X.shape[0]):
            for v in range(min(WIDTH, d - p * WIDTH)):
                X[i, p * WIDTH + v] = Q[p, i, v] + rest[p, i, v]


product = Kernel(reference, cpu)
