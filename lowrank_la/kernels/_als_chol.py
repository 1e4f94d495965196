"""Solves of many small normal matrices at once: the number of the matrix is the vector lane.

A matrix of order 20 is too small for LAPACK, and for vectors along its rows; eight of
them side by side keep every operation a full vector of float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la.kernels import _tile
from lowrank_la.kernels._als_gram import LANES, load_batch, scratch_for

_BLOCK = 4
_block = _tile.lanewise(_BLOCK, _BLOCK, LANES)
_column = _tile.lanewise(_BLOCK, 1, LANES)
_single = _tile.lanewise(1, 1, LANES)


def order_of(k: int) -> int:
    """Order of the padded matrices: k regressors, the targets, and up to full blocks."""
    return -(-(k + 1) // _BLOCK) * _BLOCK


@njit(cache=True)
def factor(G, k, own, added, floor, ones, worst):
    """Factor the matrices G (order, order, LANES) in place, L on and below the diagonal.

    Row k carries the targets: it becomes L^-1 h, and its last entry the minimised
    objective. The diagonal becomes 1 / L_aa. Pivots are at least `floor`; `worst` gets the
    smallest ratio of a pivot, less `added`, to `own`, the diagonal entry of the data.
    """
    row = G.shape[1] * LANES
    worst[:] = 1.0
    for j in range(0, k, _BLOCK):
        for i in range(j if j else k + 1, k + 1, _BLOCK):
            _block(j, G, i * row, row, LANES, G, j * row, row, LANES, G, i * row + j * LANES, row, ones, 0)
        for c in range(j, min(j + _BLOCK, k)):
            corner, diagonal = c * row + j * LANES, c * row + c * LANES
            _single(c - j, G, corner, row, LANES, G, corner, row, LANES, G, diagonal, row, ones, 0)
            _invert_root(G, c, own, added, floor, worst)
            edge = min(-(-(c + 1) // _BLOCK) * _BLOCK, k + 1)
            for i in range(c + 1, edge):
                _single(c - j, G, i * row + j * LANES, row, LANES, G, corner, row, LANES, G, i * row + c * LANES, row, G, diagonal)
            for i in range(edge, k + 1, _BLOCK):
                _column(c - j, G, i * row + j * LANES, row, LANES, G, corner, row, LANES, G, i * row + c * LANES, row, G, diagonal)
    done = k // _BLOCK * _BLOCK if k % _BLOCK else 0  # columns that the last block has taken off the targets' square already
    targets = k * row + done * LANES
    _single(k - done, G, targets, row, LANES, G, targets, row, LANES, G, k * row + k * LANES, row, ones, 0)


@njit(cache=True, error_model="numpy")  # no test for division by zero, so that the lanes are one vector
def _invert_root(G, c, own, added, floor, worst):
    for lane in range(LANES):
        pivot = G[c, c, lane]
        relative = (pivot - added[c, lane]) / own[c, lane] if own[c, lane] > 0 else 0.0
        worst[lane] = max(min(worst[lane], relative), 0.0)
        G[c, c, lane] = 1 / np.sqrt(max(pivot, floor[lane]))


@njit(cache=True)
def back_substitute(G, k, x):
    """Solve L^T x = L^-1 h from what `factor` left; x is (k, LANES)."""
    row = G.shape[1] * LANES
    for a in range(k - 1, -1, -1):
        for lane in range(LANES):
            x[a, lane] = G[k, a, lane]
        below = (a + 1) * row + a * LANES
        _single(k - 1 - a, G, below, 0, row, x, (a + 1) * LANES, 0, LANES, x, a * LANES, 0, G, a * row + a * LANES)


@njit(cache=True)
def _batch(k, order):
    """Allocate what `load_batch` fills: matrices one after the other and side by side, their diagonals, and the least pivots."""
    return np.zeros((LANES, k + 1, k + 1)), np.zeros((order, order, LANES)), np.zeros((k, LANES)), np.zeros((k, LANES)), np.ones(LANES)


@njit(parallel=True, cache=True)
def cholesky(entries, penalty, F, heavy, height, parts, order, X, loss, pivot):
    """Solve all rows by Cholesky."""
    for p in prange(len(parts) - 1):
        _cholesky_rows(entries, penalty, F, heavy, height, parts[p], parts[p + 1], order, X, loss, pivot)


@njit(cache=True)
def _cholesky_rows(entries, penalty, F, heavy, height, begin, end, order, X, loss, pivot):
    k = X.shape[1]
    scratch, ones = scratch_for(F, height), np.ones(LANES)
    batch, x = _batch(k, order), np.zeros((k, LANES))
    _, G, own, added, floor = batch
    worst = np.ones(LANES)
    for first in range(begin, end, LANES):
        last = min(first + LANES, end)
        load_batch(entries, penalty, F, heavy, first, last, k, scratch, batch)
        factor(G, k, own, added, floor, ones, worst)
        back_substitute(G, k, x)
        for i in range(first, last):
            pivot[i] = worst[i - first] if entries.indptr[i + 1] - entries.indptr[i] >= k else 0.0
            loss[i] = max(G[k, k, i - first], 0.0)
            for a in range(k):
                X[i, a] = x[a, i - first]


@njit(parallel=True, cache=True)
def nonnegative(entries, penalty, F, heavy, height, parts, order, rounds, X, loss):
    """Improve all rows by coordinate descent on x >= 0."""
    for p in prange(len(parts) - 1):
        _nonnegative_rows(entries, penalty, F, heavy, height, parts[p], parts[p + 1], order, rounds, X, loss)


@njit(cache=True)
def _nonnegative_rows(entries, penalty, F, heavy, height, begin, end, order, rounds, X, loss):
    k = X.shape[1]
    scratch, ones = scratch_for(F, height), np.ones(LANES)
    batch, x, gradient = _batch(k, order), np.zeros((k, LANES)), np.zeros((k, LANES))
    _, G, own, _, _ = batch
    for first in range(begin, end, LANES):
        last = min(first + LANES, end)
        load_batch(entries, penalty, F, heavy, first, last, k, scratch, batch)
        x[:] = 0
        for i in range(first, last):
            for a in range(k):
                x[a, i - first] = max(X[i, a], 0.0)
        _descend(G, k, own, x, gradient, ones, rounds)
        for i in range(first, last):
            loss[i] = max(_objective(G, k, x, gradient, i - first), 0.0)
            for a in range(k):
                X[i, a] = x[a, i - first]


@njit(cache=True)
def _descend(G, k, own, x, gradient, ones, rounds):
    """Minimise over one coordinate after the other; leave h - G x in `gradient`. Rows without data become 0."""
    for lane in range(LANES):
        total = 0.0
        for a in range(k):
            total += own[a, lane]
            G[a, a, lane] = G[a, a, lane] if G[a, a, lane] > 0 else 1.0
            for b in range(a):
                G[b, a, lane] = G[a, b, lane]
        for a in range(k):
            x[a, lane] = x[a, lane] if total > 0 else 0.0
    for _ in range(rounds):
        for a in range(k):
            _slope(G, k, a, x, gradient, ones)
            for lane in range(LANES):
                x[a, lane] = max(x[a, lane] + gradient[a, lane] / G[a, a, lane], 0.0)
    for a in range(k):
        _slope(G, k, a, x, gradient, ones)


@njit(cache=True)
def _slope(G, k, a, x, gradient, ones):
    """Put entry a of h - G x into `gradient`."""
    for lane in range(LANES):
        gradient[a, lane] = G[k, a, lane]
    _single(k, G, a * G.shape[1] * LANES, 0, LANES, x, 0, 0, LANES, gradient, a * LANES, 0, ones, 0)


@njit(cache=True)
def _objective(G, k, x, gradient, lane):
    """Evaluate the row's objective, y^T y - x^T h - x^T (h - G x)."""
    total = G[k, k, lane]
    for a in range(k):
        total -= x[a, lane] * (G[k, a, lane] + gradient[a, lane])
    return total
