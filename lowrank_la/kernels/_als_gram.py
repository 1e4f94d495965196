"""What the row solvers of `als_rows` share: gather a panel of regressors, form the Gram matrix of a row.

A panel is a few dozen to 256 rows of F, copied side by side into the first-level cache,
with the target of each as one more column: one symmetric product of register tiles then
gives normal matrix, right-hand side and sum of squares at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange

from lowrank_la.kernels import _tile
from lowrank_la.kernels._aligned import aligned

PANEL_BYTES = 1 << 14
FLUSH = 4096  # entries summed in float32 before the sum goes to float64
HEAVY = 1 << 16  # entries from which a row is cut into chunks that threads share
PARTS_PER_THREAD = 8
LANES = 8  # small matrices handled side by side

_ROWS = _tile.ROWS
_VECTOR_BYTES = _tile.VECTOR_BYTES
_SHORT = 8  # lanes of a panel of at most 8 columns, whatever the register
_copy2, _short_copy = _tile.outer(1, 2, add=False), _tile.outer(1, 1, _SHORT, add=False)
_tile1, _tile2, _tile3 = (_tile.outer(_ROWS, vectors) for vectors in (1, 2, 3))
_tall = _tile.outer(2 * _ROWS, 1)  # a tile of one vector is bound by its loads unless it is tall
_short = _tile.outer(_ROWS, 1, _SHORT)


class Entries(NamedTuple):
    """Compressed rows and what belongs to their entries; empty arrays stand for no offset and no weights."""

    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    offset: np.ndarray
    weights: np.ndarray


class Penalty(NamedTuple):
    """ridge_i diag(metric) + gram, and the relative ridges at rounding level for all rows and for short ones."""

    ridge: np.ndarray
    metric: np.ndarray
    gram: np.ndarray
    tiny: float
    short: float


def widened(F: np.ndarray, dtype: Any) -> np.ndarray:
    """Copy F with room for the targets as column k, padded to full vectors."""
    n, k = F.shape
    lanes = _SHORT if k < _SHORT else max(_SHORT, _tile.lanes_of(dtype))
    out = aligned(n, -(-(k + 1) // lanes) * lanes, F[:0].astype(dtype))
    out[:, :k] = F
    return out


def panel_height(F: np.ndarray) -> int:
    """Rows of a panel that fits the first-level cache."""
    return int(np.clip(PANEL_BYTES // (F.shape[1] * F.itemsize), 32, 256)) // 16 * 16


def even_parts(indptr: np.ndarray, k: int) -> np.ndarray:
    """Cut the rows into runs of about equal work; which run a row falls into does not change its answer."""
    work = np.minimum(np.diff(indptr), HEAVY).cumsum() + np.arange(1, len(indptr)) * (k // 3 + 8)
    targets = np.linspace(0, work[-1] if len(work) else 0, PARTS_PER_THREAD * get_num_threads() + 1)
    return np.append(np.searchsorted(work, targets[:-1]), len(work))


@njit(cache=True)
def gather(entries, F, begin, end, k, panel, one):
    """Fill the panel with the regressors from begin to end, the target as column k, each times the root of its weight."""
    values, indices, offset, weights = entries.values, entries.indices, entries.offset, entries.weights
    width = F.shape[1]
    pair = 2 * _VECTOR_BYTES // panel.itemsize
    for count in range(end - begin):
        j = np.intp(indices[begin + count])
        y = values[begin + count]
        if len(offset):
            y -= offset[j]
        if len(weights):
            one[0] = np.sqrt(weights[begin + count])
        if width == pair:  # a loop of one step costs as much as the step
            _copy2(1, one, 0, 0, 0, F, j * width, 0, panel, count * width, 0)
        else:
            for a in range(0, width, _SHORT):
                _short_copy(1, one, 0, 0, 0, F, j * width + a, 0, panel, count * width + a, 0)
        panel[count, k] = one[0] * y
    return end - begin


@njit(cache=True)
def syrk(panel, count, k, sums):
    """Add the lower triangle of panel^T panel, k + 1 columns, to sums; blocks on the diagonal come whole."""
    width = panel.shape[1]
    native = _VECTOR_BYTES // panel.itemsize
    if width % native:
        for i in range(0, k + 1, _ROWS):
            _short(count, panel, i, 1, width, panel, 0, width, sums, i * width, width)
        return
    done = 2 * _ROWS if native >= 2 * _ROWS else 0
    if done:
        _tall(count, panel, 0, 1, width, panel, 0, width, sums, 0, width)
    for i in range(done, k + 1, _ROWS):
        j, left = 0, (i + _ROWS + native - 1) // native
        while left == 3 or left > 4:
            _tile3(count, panel, i, 1, width, panel, j, width, sums, i * width + j, width)
            j, left = j + 3 * native, left - 3
        while left >= 2:
            _tile2(count, panel, i, 1, width, panel, j, width, sums, i * width + j, width)
            j, left = j + 2 * native, left - 2
        if left:
            _tile1(count, panel, i, 1, width, panel, j, width, sums, i * width + j, width)


@njit(cache=True)
def add_gram(entries, F, begin, end, k, scratch, G):
    """Add the Gram matrix of some regressors and targets of a row to the lower triangle of G (float64)."""
    panel, one, sums = scratch
    for first in range(begin, end, FLUSH):
        last = min(first + FLUSH, end)
        sums[:] = 0
        for t in range(first, last, len(panel)):
            count = gather(entries, F, t, min(t + len(panel), last), k, panel, one)
            syrk(panel, count, k, sums)
        for a in range(k + 1):
            for b in range(a + 1):
                G[a, b] += sums[a, b]


@njit(cache=True)
def scratch_for(F, height):
    """Allocate what one thread needs to form Gram matrices: panel, root of the weight, sums."""
    width = F.shape[1]
    return aligned(height, width, F), np.ones(1, F.dtype), aligned(width, width, F)


@njit(cache=True)
def load_batch(entries, penalty, F, heavy, first, last, k, scratch, batch):
    """Form the penalised Gram matrices of a run of rows, one a lane.

    The batch is (grams, G, own, added, floor): `grams` (LANES, k + 1, k + 1) the matrices one
    after the other, without penalties; G the penalised ones side by side; `own` and `added`
    (k, LANES) the diagonals of the data and of the penalties; `floor` (LANES,) the ridge
    at rounding level, which is also the least pivot.
    """
    grams, G, own, added, floor = batch
    grams[:] = 0
    for i in range(first, last):
        begin, end = entries.indptr[i], entries.indptr[i + 1]
        if end - begin > HEAVY:
            grams[i - first] = heavy.grams[np.searchsorted(heavy.rows, i)]
        else:
            add_gram(entries, F, begin, end, k, scratch, grams[i - first])
    _interleave(grams, k, G)
    own[:] = 0
    floor[:] = 1
    for lane in range(last - first):
        i = first + lane
        floor[lane] = _penalise(G, lane, entries.indptr[i + 1] - entries.indptr[i], k, penalty.ridge[i], penalty, own, added)


@njit(cache=True)
def _interleave(grams, k, G):
    """Lay matrices that stand one after the other side by side: writing each by itself would touch every line of G eight times."""
    G[:] = 0
    for a in range(k + 1):
        for b in range(a + 1):
            for lane in range(LANES):
                G[a, b, lane] = grams[lane, a, b]


@njit(cache=True)
def _penalise(G, lane, degree, k, ridge, penalty, own, added):
    mean = 0.0
    for a in range(k):
        own[a, lane] = G[a, a, lane]
        mean += G[a, a, lane] / k
    floor = floor_of(degree, k, mean, ridge, penalty)
    for a in range(k):
        for b in range(a):
            G[a, b, lane] += penalty.gram[a, b]
        added[a, lane] = ridge * penalty.metric[a] + penalty.gram[a, a] + floor
        G[a, a, lane] += added[a, lane]
    return floor


@njit(cache=True)
def floor_of(degree, k, mean, ridge, penalty):
    """Give the ridge that keeps a row regular: for rows shorter than k the one that balances rounding and bias."""
    if not mean > 0:
        return 1.0
    short = penalty.short * mean - ridge if degree < k else 0.0
    return max(penalty.tiny * mean, short)


class Heavy(NamedTuple):
    """Gram matrices of the rows with more than HEAVY entries, whose chunks threads share."""

    rows: np.ndarray
    grams: np.ndarray


def heavy_rows(entries: Entries, F: np.ndarray, k: int, height: int) -> Heavy:
    """Sum the Gram matrices of the heavy rows, chunk by chunk in a fixed order."""
    degree = np.diff(entries.indptr)
    rows = np.flatnonzero(degree > HEAVY)
    if not len(rows):
        return Heavy(rows, np.zeros((0, k + 1, k + 1)))
    chunks = [(r, b) for r, i in enumerate(rows) for b in range(entries.indptr[i], entries.indptr[i + 1], HEAVY)]
    table = np.array(chunks, np.int64).reshape(-1, 2)
    grams = np.zeros((len(rows), k + 1, k + 1))
    np.add.at(grams, table[:, 0], _chunk_grams(entries, F, k, height, rows[table[:, 0]], table[:, 1]))
    return Heavy(rows, grams)


@njit(parallel=True, cache=True)
def _chunk_grams(entries, F, k, height, rows, begins):
    grams = np.zeros((len(rows), k + 1, k + 1))
    for c in prange(len(rows)):
        _chunk_gram(entries, F, k, height, rows[c], begins[c], grams[c])
    return grams


@njit(cache=True)
def _chunk_gram(entries, F, k, height, i, chunk, G):
    add_gram(entries, F, chunk, min(chunk + HEAVY, entries.indptr[i + 1]), k, scratch_for(F, height), G)
