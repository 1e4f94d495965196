"""Tall matrices in panels for register tiles: strips of a few vectors of columns, row after row.

A product S A with a random S is cut into tasks: parts of the rows of A, whose results are
added in order, chunks of the rows of S, and panels of columns. Their number depends on the
shapes alone, and so does the answer, whatever the number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from lowrank_la._arrays import Array
from lowrank_la.kernels import _tile

DEPTH = 256  # rows of A in a panel
CHUNK = 128  # rows of S that share their random words
_STRIPS = 32  # of a panel: 1 MiB of the second-level cache
_TASKS = 32
_SHARE = 8  # the sums of further parts take at most 1 / 8 of the memory of A


class Layout(NamedTuple):
    """How the product is cut; `width` columns in a strip, `strips` strips in a panel, `chunk` rows of S."""

    width: int
    strips: int
    panels: int
    chunk: int
    chunks: int
    parts: int


def layout(n: int, c: int, height: int, dtype: np.dtype) -> Layout:
    """Cut the product of S (height, n) with an (n, c) matrix into tasks."""
    width = _tile.VECTORS * _tile.lanes_of(dtype)
    strips = -(-c // width)
    panels = -(-strips // _STRIPS)
    parts = max(1, min(-(-_TASKS // max(1, panels)), n // (_SHARE * height)))
    chunks = max(1, min(height // CHUNK, _TASKS // max(1, parts * panels)))
    chunk = -(-height // (chunks * CHUNK)) * CHUNK
    return Layout(width, -(-strips // max(1, panels)), panels, chunk, -(-height // chunk), parts)


def zeros(plan: Layout, height: int, dtype: np.dtype) -> np.ndarray:
    """Allocate the sums of a product: (parts, strips of all panels, height padded to whole tiles, width)."""
    return np.zeros((plan.parts, plan.panels * plan.strips, -(-height // _tile.ROWS) * _tile.ROWS, plan.width), dtype)


def joined(sums: np.ndarray, height: int, columns: int, factor: float) -> Array:
    """Add the parts in order, join the strips, drop the padding and scale."""
    total = sums[0]
    for part in sums[1:]:
        total += part
    return total.transpose(1, 0, 2).reshape(sums.shape[2], -1)[:height, :columns] * sums.dtype.type(factor)


@njit(cache=True)
def pack(A, corner, down, across, columns, rows, weights, panel, depth):
    """Copy a corner of a matrix, times the weights of its rows, to strips of `depth` rows each; the rest becomes zero."""
    width = panel.shape[1]
    strips = panel.shape[0] // depth
    full = max(0, min(strips, columns // width)) if across == 1 else 0
    for i in range(rows if full else 0):
        at = corner + i * down
        for s in range(full):
            for j in range(width):
                panel[s * depth + i, j] = A[at + s * width + j]
    for s in range(full, strips):
        _copy(A, corner + s * width * across, down, across, rows, columns - s * width, panel[s * depth : (s + 1) * depth])
    for s in range(strips):
        panel[s * depth + rows : (s + 1) * depth] = 0
        if weights.size:
            for i in range(rows):
                panel[s * depth + i] *= weights[i]


@njit(cache=True)
def _copy(A, corner, down, across, rows, columns, strip):
    """Copy up to a strip of columns, 8 at a time: lines of the strip fill, and columns far apart stay in the cache."""
    columns = max(0, min(columns, strip.shape[1]))
    for first in range(0, columns, 8):
        for i in range(rows):
            for j in range(first, min(first + 8, columns)):
                strip[i, j] = A[corner + i * down + j * across]
    strip[:rows, columns:] = 0


@njit(cache=True)
def store(strips, rows, depth, factor, X, row, left):
    """Copy the first rows of strips of `depth` rows, times a factor, to rows of X from column `left` on."""
    width = strips.shape[1]
    for s in range(strips.shape[0] // depth):
        for i in range(rows):
            for j in range(min(width, X.shape[1] - left - s * width)):
                X[row + i, left + s * width + j] = factor * strips[s * depth + i, j]
