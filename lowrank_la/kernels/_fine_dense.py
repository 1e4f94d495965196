"""The loops of the fine gradient over a dense matrix: register tiles that keep a value and its rounding error."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la.kernels import _tile

LANES = _tile.lanes_of(np.float64)
STRIP, ROWS = 4, 4  # vectors of a combination, and rows of a group of inner products: as many independent sums as registers hold
SWEEP = 8  # columns that one pass over a tile of contiguous columns combines: as many streams as hardware prefetches well

_dots, _dot = _tile.inner_fine(ROWS), _tile.inner_fine(1)
_strip, _vector = _tile.outer_fine(STRIP), _tile.outer_fine(1)


@njit(parallel=True, cache=True)
def sums(A, a0, ai, aj, n, d, B, b0, bi, bj, k, X, scale, parts, tile):  # type: ignore[no-untyped-def]
    """Sum A^T D^2 (B - A X) over each part of the rows: values and errors (parts, k, d), and squared norms of D (B - A X)."""
    high, low, r2 = np.zeros((parts, k, d)), np.zeros((parts, k, d)), np.zeros((parts, k))
    tiles = (n + tile - 1) // tile
    minus, nothing = -X, np.zeros(max(d, tile))
    for part in prange(parts):
        R, E = np.empty(tile), np.empty(tile)
        T = np.empty(0 if ai == 1 or aj == 1 else tile * d)
        for t in range(part * tiles // parts, (part + 1) * tiles // parts):
            row = t * tile
            rows, at = min(tile, n - row), a0 + row * ai
            if T.size:
                _load(A, at, ai, aj, rows, T.reshape((tile, d)))
            for q in range(k):
                for i in range(rows):
                    R[i], E[i] = B[b0 + (row + i) * bi + q * bj], 0.0
                if T.size:
                    _project(rows, d, T, 0, d, minus[q], nothing, R, E)
                elif aj == 1:
                    _project(rows, d, A, at, ai, minus[q], nothing, R, E)
                else:
                    for j in range(0, d, SWEEP):
                        _combine(min(SWEEP, d - j), minus[q, j:], nothing, A, at + j * aj, aj, rows, R, E)
                r2[part, q] += weigh(scale[row:], rows, R, E)
                if T.size:
                    _combine(rows, R, E, T, 0, d, d, high[part, q], low[part, q])
                elif aj == 1:
                    _combine(rows, R, E, A, at, ai, d, high[part, q], low[part, q])
                else:
                    _project(d, rows, A, at, aj, R, E, high[part, q], low[part, q])
    return high, low, r2


@njit(cache=True)
def _load(A, at, ai, aj, rows, T):  # type: ignore[no-untyped-def]
    for i in range(rows):
        for j in range(T.shape[1]):
            T[i, j] = A[at + i * ai + j * aj]


@njit(cache=True)
def _project(count, length, A, at, step, x, y, out, error):  # type: ignore[no-untyped-def]
    """Add the inner products of x + y with `count` contiguous vectors that lie `step` apart."""
    whole = count - count % ROWS
    for i in range(0, whole, ROWS):
        _dots(length, A, at + i * step, step, x, y, 0, out, error, i)
    for i in range(whole, count):
        _dot(length, A, at + i * step, step, x, y, 0, out, error, i)


@njit(cache=True)
def _combine(count, s, t, A, at, step, length, out, error):  # type: ignore[no-untyped-def]
    """Add the combination, with coefficients s + t, of `count` contiguous vectors that lie `step` apart."""
    if length < LANES:
        for k in range(count):
            for v in range(length):
                _add_product(s[k], t[k], A[at + k * step + v], out, error, v)
        return
    v = 0
    while v + STRIP * LANES <= length:
        _strip(count, s, t, 0, A, at + v, step, out, error, v, 0)
        v += STRIP * LANES
    while v < length:
        start = min(v, length - LANES)  # the last vector may overlap the one before
        _vector(count, s, t, 0, A, at + start, step, out, error, start, v - start)
        v += LANES


@njit(cache=True)
def _add_product(x, small, y, out, error, v):  # type: ignore[no-untyped-def]
    p = x * y
    e = _tile.fma(y, small, _tile.fma(x, y, -p))
    h = out[v]
    s = h + p
    z = s - h
    out[v] = s
    error[v] += ((h - (s - z)) + (p - z)) + e


@njit(cache=True)
def weigh(weights, rows, R, E):  # type: ignore[no-untyped-def]
    """Multiply R + E by the squared weights; return the squared norm under single weights."""
    total = 0.0
    for i in range(rows):
        w = weights[i] if weights.size else 1.0
        r = R[i] + E[i]
        total += (w * r) * (w * r)
        for _ in range(2 if weights.size else 0):
            p = w * R[i]
            E[i] = w * E[i] + _tile.fma(w, R[i], -p)
            R[i] = p
    return total
