"""G G^T in float64 for few very long rows: half of it, at the speed of libraries of matrix products in float64.

A tile of columns is widened and turned into panels of rows, which meet each other in registers; only blocks on
and below the diagonal are computed. NumPy widens on one thread and BLAS fills both triangles of an odd
product: together they take twice as long for 512 rows of a million float32. In float32, sums over 128
columns would take half the time again, but their errors, 1e-8 of the lengths of the rows, are what
a small damping magnifies. On a GPU the reference runs.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows, _tile, long_rows
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels.long_rows import TILE, copy, takes, tiles, widened

ROWS = _tile.ROWS
WIDTH = _tile.VECTORS * _tile.lanes_of(np.float64)  # rows of G in a panel
DEPTH = 128  # columns in a tile
PANELS = 1 << 19  # bytes of all panels, which stay in the second-level cache
INNER = 32  # tiles whose products are added before they join the sum
PARTS = 16
LONG = 32  # columns for each row, below which BLAS does as well

_put = _tile.outer(add=False)
_join = _tile.outer(rows=1)
_fetch = _tile.prefetch()


def reference(G: Array) -> Array:
    """Return G G^T in float64."""
    xp, m = _arrays.namespace(G), G.shape[0]
    total = xp.zeros((m, m), dtype=xp.float64, device=G.device)
    for columns in tiles(G.shape[1]):
        tile = widened(G[:, columns])
        total += tile @ tile.T
    return total


def cpu(G: np.ndarray) -> np.ndarray:
    """Multiply panels; what they do not take goes to the reference."""
    if takes(G) and G.shape[0] <= ROWS:
        return long_rows.cpu(G, widened(G).T)
    if not _pays(G):
        return reference(G)
    m, d = G.shape
    panels = -(-m // WIDTH)
    depth = max(16, min(DEPTH, PANELS // (8 * panels * WIDTH)))
    sums = np.zeros((_parts(d, depth), 2, panels * WIDTH, panels * WIDTH))
    memory, corner, stride, _ = _rows.flat(G)
    _gram(memory, corner, stride, m, d, np.empty(0, np.float64 if G.dtype == np.float64 else np.float32), depth, sums)
    for part in sums[1:]:
        sums[0, 1] += part[1]
    K = np.triu(sums[0, 1, :m, :m])
    return K + np.triu(K, 1).T


def _pays(G: np.ndarray) -> bool:
    return takes(G) and G.shape[1] >= LONG * G.shape[0]


def _parts(d: int, depth: int) -> int:
    return max(1, min(PARTS, d // (4 * depth)))


def terms(G: Array) -> int:
    """Count the roundings, in units of float64, that a sum of products over the columns of G gathers."""
    d = G.shape[1]
    if G.shape[0] <= ROWS:
        return long_rows.terms(G)
    if _arrays.engine_of(G) == "cpu" and _pays(G):
        return DEPTH + INNER + math.ceil(d / (16 * INNER * _parts(d, DEPTH))) + PARTS + 4
    return min(TILE, d) + d // TILE + 4


@njit(parallel=True, cache=True)
def _gram(G, g0, gi, m, d, like, depth, sums):  # type: ignore[no-untyped-def]
    """Add the products of panels for each part of the columns, above the diagonal, in two steps that keep sums short."""
    parts, _, size, _ = sums.shape
    panels, tiles = size // WIDTH, (d + depth - 1) // depth
    for part in prange(parts):
        P, out, one = np.zeros((panels, depth, WIDTH)), np.zeros((ROWS, WIDTH)), np.ones(1)
        held = np.zeros((ROWS, depth), like.dtype)
        begin, end = tiles * part // parts, tiles * (part + 1) // parts
        for tile in range(begin, end):
            first = tile * depth
            for row in range(0, m, ROWS):
                copy(G, g0 + row * gi + first, gi, min(ROWS, m - row), min(depth, d - first), held)
                _turn(held, P[row // WIDTH], row % WIDTH)
            for q in range(panels):
                for row in range(q * WIDTH, min(m, (q + 1) * WIDTH)):
                    _fetch(G, g0 + row * gi + first + depth, depth)
                for i in range(0, min(m, (q + 1) * WIDTH), ROWS):
                    _put(depth, P, i // WIDTH * depth * WIDTH + i % WIDTH, 1, WIDTH, P, q * depth * WIDTH, WIDTH, out, 0, WIDTH)
                    for a in range(ROWS):
                        _join(1, one, 0, 0, 0, out, a * WIDTH, 0, sums, (part * 2 * size + i + a) * size + q * WIDTH, 0)
            if (tile - begin) % INNER == INNER - 1 or tile == end - 1:
                sums[part, 1] += sums[part, 0]
                sums[part, 0] = 0.0


@njit(cache=True)
def _turn(held, panel, column):  # type: ignore[no-untyped-def]
    """Write a few rows as columns of a panel."""
    for k in range(held.shape[1]):
        for i in range(ROWS):
            panel[k, column + i] = held[i, k]


gram = Kernel(reference, cpu)
