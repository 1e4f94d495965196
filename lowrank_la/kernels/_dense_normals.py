"""Products with a matrix of random Gaussians for the CPU: a few rows of S at a time are drawn, used in register tiles and forgotten."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la.kernels import _panels, _tile, _vector
from lowrank_la.kernels._aligned import aligned

_LIFT_ROWS = 256  # of X that are made together
_LIFT_DEPTH = 64  # rows of S
_SHARES = 64  # of the rows of X, whatever the number of threads

_draw = _vector.drawn(_vector.normals)
_add, _add1 = _tile.outer(), _tile.outer(vectors=1)


@njit(parallel=True, cache=True)
def entries(cols, seed, stream, out):
    """Fill out[i, t], padded to whole vectors, with the number of row i and column cols[t]: one column at a time."""
    for t in prange(cols.size):
        four = np.empty((4, _vector.LANES), np.float64)
        for i in range(0, out.shape[0], 4):
            _draw(1, seed, stream, np.uint64(cols[t]), np.uint64(i // 4), four, 0, _vector.LANES)
            out[i : i + 4, t] = four[:, 0]


@njit(parallel=True, cache=True)
def first_row(seed, stream, columns):
    """Return row 0 of the Gaussian matrix in columns 0 to `columns`."""
    out = np.empty(columns, np.float64)
    blocks = -(-columns // _LIFT_ROWS)
    for block in prange(blocks):
        first = block * _LIFT_ROWS
        count = min(_LIFT_ROWS, columns - first)
        four = np.empty((4, _LIFT_ROWS), np.float64)
        _draw(count, seed, stream, np.uint64(first), np.uint64(0), four, 0, _LIFT_ROWS)
        out[first : first + count] = four[0, :count]
    return out


@njit(cache=True)
def _rows(count, seed, stream, first, row, S):
    """Fill the rows of S with rows of the Gaussian matrix from `row` on, in columns `first` to first + count."""
    for i in range(0, S.shape[0], 4):
        _draw(count, seed, stream, np.uint64(first), np.uint64((row + i) // 4), S, i * S.shape[1], S.shape[1])


@njit(parallel=True, cache=True)
def sketch(A, corner, down, across, rows, columns, seed, stream, row_offset, weights, plan, sums):
    """Add S A to the sums: parts of the rows of A, chunks of the rows of S, panels of columns."""
    width, strips, panels, chunk, chunks, parts = plan
    depth, tall = _panels.DEPTH, _tile.ROWS
    for task in prange(parts * chunks * panels):
        p, q, left = task // (chunks * panels), task // panels % chunks, task % panels * strips
        begin, end = rows * p // parts, rows * (p + 1) // parts
        panel = aligned(strips * depth, width, sums)
        S = aligned(tall, depth + _vector.LANES, sums)  # the odd stride spreads its columns over the cache
        for first in range(begin, end, depth):
            count = min(depth, end - first)
            here = corner + first * down + left * width * across
            _panels.pack(A, here, down, across, columns - left * width, count, weights[first : first + count], panel, depth)
            for row in range(q * chunk, min((q + 1) * chunk, sums.shape[2]), tall):
                _rows(count, seed, stream, row_offset + first, row, S)
                for s in range(strips):
                    at = ((p * sums.shape[1] + left + s) * sums.shape[2] + row) * width
                    _multiply(count, S, 0, S.shape[1], 1, panel, s * depth, columns - (left + s) * width, sums, at)


@njit(cache=True)
def _multiply(count, S, corner, down, across, panel, row, columns, out, at):
    """Add a product of a tile of S with so many rows of a panel to a tile of the result."""
    width = panel.shape[1]
    if 2 * columns > width:
        _add(count, S, corner, down, across, panel, row * width, width, out, at, width)
    elif columns > 0:
        _add1(count, S, corner, down, across, panel, row * width, width, out, at, width)


@njit(parallel=True, cache=True)
def lift(Y, corner, down, across, height, seed, stream, first, factor, width, strips, X):
    """Fill X, rows first to first + len(X) of S^T Y; shares of its rows and panels of columns."""
    rows, columns = X.shape
    depth = -(-height // 4) * 4
    shares = min(_SHARES, -(-rows // _LIFT_ROWS))
    panels = -(-columns // (strips * width))
    for task in prange(shares * panels):
        begin, end, left = rows * (task // panels) // shares, rows * (task // panels + 1) // shares, task % panels * strips * width
        panel, total = aligned(strips * depth, width, X), aligned(strips * _LIFT_ROWS, width, X)
        S = aligned(_LIFT_DEPTH, _LIFT_ROWS + _vector.LANES, X)
        _panels.pack(Y, corner + left * across, down, across, columns - left, height, np.empty(0), panel, depth)
        for row in range(begin, end, _LIFT_ROWS):
            count = min(_LIFT_ROWS, end - row)
            total[:] = 0
            for top in range(0, depth, _LIFT_DEPTH):
                deep = min(_LIFT_DEPTH, depth - top)
                _rows(count, seed, stream, first + row, top, S[:deep])
                for s in range(strips):
                    for i in range(0, count, _tile.ROWS):
                        at = (s * _LIFT_ROWS + i) * width
                        _multiply(deep, S, i, 1, S.shape[1], panel, s * depth + top, columns - left - s * width, total, at)
            _panels.store(total, count, _LIFT_ROWS, factor, X, row, left)
