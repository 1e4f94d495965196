"""Products with few very long rows, summed in float64: G X, and x = (B - G^T t) / damp together with G x, in one read of G each.

G (m, d) is far larger than the caches. Its rows are float32, float64, or bfloat16 kept as uint16 words. NumPy widens
them on one thread, and BLAS sums in the precision of G. Here they are widened in registers, tile by tile of
columns. Sums run plainly over at most CHUNK columns and are then added with compensation, in parts
whose number depends on the shape alone: the same bits for any number of threads. With 512 rows of a million
float32, G X takes the time in which memory delivers them and the other product half as much again:
on two cores a tenth of the time of NumPy. On a GPU the reference runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows, _tile
from lowrank_la.kernels._engine import Kernel

ROWS = _tile.ROWS
LANES = _tile.lanes_of(np.float64)
CHUNK = 2048  # columns whose products are added up plainly
VECTORS = 8
BLOCK = VECTORS * LANES  # columns of G^T t in registers
HELD = 1 << 20  # bytes of a tile
AHEAD = 2  # groups of rows for which memory is asked in advance
PARTS = 64
MOST = 32  # columns of X, beyond which libraries of matrix products are faster
FEW = 1 << 18  # numbers in G, below which a compiled loop does not pay
TILE = 2048  # columns that the reference widens at a time

_dots = _tile.inner(apart=True)
_combine = _tile.outer(rows=1, vectors=VECTORS)
_fetch = _tile.prefetch()


class Swept(NamedTuple):
    """x = (B - G^T t) / damp (d, k), v = G x (m, k) for the rounded x, and the squared norms of its columns (k,)."""

    x: Array
    v: Array
    squares: Array


def widened(x: Array) -> Array:
    """Return numbers in float64, bfloat16 ones from their words."""
    xp = _arrays.namespace(x)
    if x.dtype == xp.uint16:
        x = (x.astype(np.uint32) << 16).view(np.float32)
    return xp.astype(x, xp.float64, copy=False)


def tiles(d: int, width: int = TILE) -> Iterator[slice]:
    """Cut d columns into tiles."""
    for first in range(0, d, width):
        yield slice(first, min(first + width, d))


def reference(G: Array, X: Array) -> Array:
    """Return G X (m, k) in float64."""
    xp = _arrays.namespace(G)
    total = xp.zeros((G.shape[0], X.shape[1]), dtype=xp.float64, device=G.device)
    for columns in tiles(G.shape[1]):
        total += widened(G[:, columns]) @ widened(X[columns, :])
    return total


def sweep_reference(G: Array, B: Array, t: Array, damp: float) -> Swept:
    """Return x in the dtype of G, float32 for words, and float64 sums; t (m, k) is float64."""
    xp, k = _arrays.namespace(G), B.shape[1]
    dtype = xp.float32 if G.dtype == xp.uint16 else G.dtype
    x, v = xp.empty(B.shape, dtype=dtype, device=G.device), xp.zeros_like(t)
    squares = xp.zeros(k, dtype=xp.float64, device=G.device)
    for columns in tiles(G.shape[1]):
        tile = widened(G[:, columns])
        x[columns, :] = xp.astype((widened(B[columns, :]) - tile.T @ t) / damp, dtype)
        rounded = widened(x[columns, :])
        v += tile @ rounded
        squares += xp.sum(rounded * rounded, axis=0)
    return Swept(x, v, squares)


def terms(G: Array) -> int:
    """Count the roundings, in units of float64, that a sum of products over the columns of G gathers."""
    d = G.shape[1]
    plain = min(TILE, d) + d // TILE + 4
    if _arrays.engine_of(G) == "cpu" and takes(G):
        return min(plain, CHUNK // LANES + int(math.log2(LANES)) + 8) if d > CHUNK else plain
    return plain


def takes(G: np.ndarray) -> bool:
    """Say whether the compiled loops take G."""
    return G.dtype.char in "fdH" and G.dtype.isnative and G.size >= FEW and G.strides[1] == G.itemsize


def cpu(G: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Stream through G; what the loops do not take goes to the reference."""
    (m, d), k = G.shape, X.shape[1]
    if not (takes(G) and k <= MOST and X.dtype.char in "fd"):
        return reference(G, X)
    sums = np.zeros((max(1, min(PARTS, d // CHUNK)), 2, k, _padded(m)))
    memory, corner, stride, _ = _rows.flat(G)
    _times(memory, _plain(memory), corner, stride, m, d, np.ascontiguousarray(X.T, dtype=np.float64), sums)
    return _joined(sums)[:, :m].T


def sweep_cpu(G: np.ndarray, B: np.ndarray, t: np.ndarray, damp: float) -> Swept:
    """Sweep through G; what the loops do not take goes to the reference."""
    (m, d), k = G.shape, B.shape[1]
    if not (takes(G) and k <= MOST and B.dtype.char in "fd"):
        return sweep_reference(G, B, t, damp)
    memory, corner, stride, _ = _rows.flat(G)
    plain = _plain(memory)
    width = max(BLOCK, min(CHUNK, HELD // (_padded(m) * plain.itemsize) // BLOCK * BLOCK))
    parts = max(1, min(PARTS, -(-d // width)))
    sums, squares = np.zeros((parts, 2, k, _padded(m))), np.zeros((parts, k))
    x, weights = np.empty((k, d), plain.dtype), np.zeros((k, _padded(m)))
    weights[:, :m] = t.T
    _sweep(memory, plain, corner, stride, m, d, np.ascontiguousarray(B.T, dtype=np.float64), weights, damp, width, x, sums, squares)
    return Swept(x.T, _joined(sums)[:, :m].T, squares.sum(axis=0))


def _padded(m: int) -> int:
    return -(-m // ROWS) * ROWS


def _plain(memory: np.ndarray) -> np.ndarray:
    """Give the register tiles, which read floating numbers alone, an empty array in place of words."""
    return _rows.flat(np.empty((0, 1), np.float32))[0] if memory.dtype == np.uint16 else memory


@njit(parallel=True, cache=True)
def _times(G, plain, g0, gi, m, d, X, sums):  # type: ignore[no-untyped-def]
    """Add G X for each part of the columns: a chunk of X meets all rows, a few at a time."""
    parts, k, groups = sums.shape[0], X.shape[0], sums.shape[3] // ROWS
    chunks = (d + CHUNK - 1) // CHUNK
    for part in prange(parts):
        held = np.zeros((ROWS, CHUNK), plain.dtype)
        x, lanes = np.zeros((k, CHUNK)), np.zeros((k, ROWS * LANES))
        for chunk in range(chunks * part // parts, chunks * (part + 1) // parts):
            first = chunk * CHUNK
            width = min(CHUNK, d - first)
            x[:, :width] = X[:, first : first + width]
            x[:, width:] = 0.0
            for g in range(groups):
                at, rows = g0 + g * ROWS * gi + first, min(ROWS, m - g * ROWS)
                if plain.size and rows == ROWS and width == CHUNK:
                    _add_dots(plain, at, gi, x, lanes, 0)
                else:
                    copy(G, at, gi, rows, width, held)
                    _add_dots(held, 0, CHUNK, x, lanes, 0)
                for c in range(k):
                    _flush(lanes[c], sums[part, :, c, g * ROWS : g * ROWS + ROWS])


@njit(cache=True)
def _add_dots(A, at, stride, x, lanes, row):  # type: ignore[no-untyped-def]
    """Add the products of ROWS rows of a tile with x, lane by lane, to those of the rows from `row` on."""
    k, width = x.shape
    for c in range(k):
        _dots(width, A, at, stride, x, c * width, lanes, c * lanes.shape[1] + row * LANES)


@njit(cache=True)
def copy(G, at, gi, rows, width, held):  # type: ignore[no-untyped-def]
    """Copy a corner of G to `held`, with zeros around it; a word of bfloat16 is the upper half of a float32 number."""
    words = held.view(np.uint32)
    for i in range(held.shape[0]):
        count = width if i < rows else 0
        line = G[at + i * gi : at + i * gi + count]
        if G.itemsize == 2:
            out = words[i]
            for j in range(count):
                out[j] = np.uint32(line[j]) << np.uint32(16)
        else:
            target = held[i]
            for j in range(count):
                target[j] = line[j]
        held[i, count:] = 0.0


@njit(cache=True)
def _flush(lanes, sums):  # type: ignore[no-untyped-def]
    """Add the lanes of each row to its sum, and what rounding loses there to the second row of sums."""
    for i in range(lanes.size // LANES):
        mine = lanes[i * LANES : (i + 1) * LANES]
        half = LANES // 2
        while half > 0:
            for v in range(half):
                mine[v] += mine[v + half]
            half //= 2
        _add_to(sums, i, mine[0])
        mine[:] = 0.0


@njit(cache=True)
def _add_to(sums, i, value):  # type: ignore[no-untyped-def]
    before = sums[0, i]
    total = before + value
    rest = total - before
    sums[1, i] += (before - (total - rest)) + (value - rest)
    sums[0, i] = total


@njit(cache=True)
def _joined(sums):  # type: ignore[no-untyped-def]
    """Add the parts in order."""
    for part in range(1, sums.shape[0]):
        for c in range(sums.shape[2]):
            for i in range(sums.shape[3]):
                _add_to(sums[0, :, c], i, sums[part, 0, c, i])
                sums[0, 1, c, i] += sums[part, 1, c, i]
    return sums[0, 0] + sums[0, 1]


@njit(parallel=True, cache=True)
def _sweep(G, plain, g0, gi, m, d, B, t, damp, W, X, sums, squares):  # type: ignore[no-untyped-def]
    """Go through the tiles of each part: rows of a tile join G^T t while the same rows of the tile before meet its x."""
    parts, k, rows = sums.shape[0], t.shape[0], t.shape[1]
    tiles, every = (d + W - 1) // W, max(1, CHUNK // W)
    for part in prange(parts):
        held = np.zeros((2, rows if plain.size == 0 else ROWS, W), plain.dtype)
        y, x, lanes = np.zeros((k, W)), np.zeros((k, W)), np.zeros((k, rows * LANES))
        begin, end = tiles * part // parts, tiles * (part + 1) // parts
        for tile in range(begin, end + 1):
            first = tile * W
            y[:] = 0.0
            for row in range(0, rows, ROWS):
                if tile < end:
                    _ahead(G, g0, gi, first, row, rows, W)
                    _add_rows(G, plain, g0, gi, m, d, first, W, row, held[tile % 2], t, y)
                if tile > begin:
                    _add_products(G, plain, g0, gi, m, d, first - W, W, row, held[1 - tile % 2], x, lanes)
            if tile > begin and ((tile - begin) % every == 0 or tile == end):
                for c in range(k):
                    _flush(lanes[c], sums[part, :, c])
            for c in range(k if tile < end else 0):
                squares[part, c] += _solve(B[c], y[c], damp, first, min(W, d - first), X[c], x[c])


@njit(cache=True)
def _ahead(G, g0, gi, first, row, rows, W):  # type: ignore[no-untyped-def]
    """Ask memory for rows that come soon, of the next tile after the last ones."""
    row += AHEAD * ROWS
    if row >= rows:
        row, first = row - rows, first + W
    for i in range(ROWS):
        _fetch(G, g0 + (row + i) * gi + first, W)


@njit(cache=True)
def _add_rows(G, plain, g0, gi, m, d, first, W, row, held, t, y):  # type: ignore[no-untyped-def]
    """Add a few rows of a tile, times t, to y; words are widened once and kept for the second product."""
    at, count, width = g0 + row * gi + first, min(ROWS, m - row), min(W, d - first)
    if plain.size and count == ROWS and width == W:
        _add_combined(plain, at, gi, t, row, y)
        return
    mine = held if plain.size else held[row : row + ROWS]
    copy(G, at, gi, count, width, mine)
    _add_combined(mine, 0, W, t, row, y)


@njit(cache=True)
def _add_combined(A, at, stride, t, row, y):  # type: ignore[no-untyped-def]
    k, width = y.shape
    for c in range(k):
        for j in range(0, width, BLOCK):
            _combine(ROWS, t, c * t.shape[1] + row, 0, 1, A, at + j, stride, y, c * width + j, 0)


@njit(cache=True)
def _add_products(G, plain, g0, gi, m, d, first, W, row, held, x, lanes):  # type: ignore[no-untyped-def]
    at, count, width = g0 + row * gi + first, min(ROWS, m - row), min(W, d - first)
    if plain.size and count == ROWS and width == W:
        _add_dots(plain, at, gi, x, lanes, row)
        return
    mine = held if plain.size else held[row : row + ROWS]
    if plain.size:
        copy(G, at, gi, count, width, mine)
    _add_dots(mine, 0, W, x, lanes, row)


@njit(cache=True)
def _solve(b, y, damp, first, width, out, x):  # type: ignore[no-untyped-def]
    """Round (b - y) / damp to the answer, keep that in x, and return the sum of its squares."""
    total = 0.0
    for j in range(width):
        out[first + j] = (b[first + j] - y[j]) / damp
        x[j] = out[first + j]
    x[width:] = 0.0
    for j in range(width):
        total += x[j] * x[j]
    return total


times = Kernel(reference, cpu)
sweep = Kernel(sweep_reference, sweep_cpu)
