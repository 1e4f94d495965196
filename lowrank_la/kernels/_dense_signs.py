"""Products with a matrix of random signs by the method of four Russians, for the CPU.

The 16 signed sums of every 4 rows of A stand in a table, 32 KiB for 32 rows and two vectors of
columns. A row of S, 32 bits for these rows, picks 8 table rows: a quarter of the operations of
a matrix product, and no sign is ever turned into a number (Arlazarov, Dinic, Kronrod and
Faradzev, 1970, for Boolean matrices).
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la.kernels import _panels, _tile_signs, _vector
from lowrank_la.kernels._aligned import aligned

_BITS = 32  # signs in a word
_LIFT_ROWS = 1024  # of X that are made together
_SHARES = 64  # of the rows of X, whatever the number of threads

_draw = _vector.drawn(_vector.words)
_tables, _tables1 = _tile_signs.sign_sums(), _tile_signs.sign_sums(1)
_add, _add1 = _tile_signs.lookup(), _tile_signs.lookup(1)


@njit(parallel=True, cache=True)
def sketch(A, corner, down, across, rows, columns, seed, stream, row_offset, weights, plan, sums):
    """Add S A to the sums: parts of the rows of A, chunks of the rows of S, panels of columns."""
    width, strips, panels, chunk, chunks, parts = plan
    depth = _panels.DEPTH
    for task in prange(parts * chunks * panels):
        p, q, left = task // (chunks * panels), task // panels % chunks, task % panels * strips
        begin, end = rows * p // parts, rows * (p + 1) // parts
        height = min(chunk, sums.shape[2] - q * chunk)
        panel, table = aligned(strips * depth, width, sums), aligned(4 * _BITS, width, sums)
        codes = np.empty((depth // _BITS, chunk), np.uint32)
        for first in range(begin, end, depth):
            count = min(depth, end - first)
            here = corner + first * down + left * width * across
            _panels.pack(A, here, down, across, columns - left * width, count, weights[first : first + count], panel, depth)
            for g in range(-(-count // _BITS)):
                _columns(seed, stream, row_offset + first + g * _BITS, q * chunk, codes[g])
            for s in range(strips):
                at = ((p * sums.shape[1] + left + s) * sums.shape[2] + q * chunk) * width
                for g in range(-(-count // _BITS)):
                    _multiply(panel, s * depth + g * _BITS, columns - (left + s) * width, table, height, codes[g], sums, at)


@njit(cache=True)
def _multiply(panel, row, columns, table, height, codes, sums, at):
    """Add a product with 32 rows of a panel to `height` rows of the sums."""
    width = panel.shape[1]
    if 2 * columns > width:
        _tables(8, panel, row * width, width, table, 0, width)
        _add(height, codes, 0, table, 0, sums, at, width)
    elif columns > 0:
        _tables1(8, panel, row * width, width, table, 0, width)
        _add1(height, codes, 0, table, 0, sums, at, width)


@njit(cache=True)
def _columns(seed, stream, first, top, codes):
    """Signs of 32 columns of S from `first` on: bit j of codes[i] belongs to row top + i and column first + j."""
    words = np.empty((4, _BITS), np.uint32)
    for minor in range(codes.size // 128):
        _draw(_BITS, seed, stream, np.uint64(first), np.uint64(top // 128 + minor), words, 0, _BITS)
        for w in range(4):
            _transpose(words[w])
            codes[128 * minor + _BITS * w : 128 * minor + _BITS * (w + 1)] = words[w]


@njit(cache=True)
def _transpose(words):
    """Transpose a matrix of 32 x 32 bits: swap quarters of it, then quarters of these, and so on."""
    half, mask = 16, np.uint32(0x0000FFFF)
    while half:
        for group in range(0, 32, 2 * half):
            for i in range(group, group + half):
                swap = ((words[i] >> np.uint32(half)) ^ words[i + half]) & mask
                words[i] ^= swap << np.uint32(half)
                words[i + half] ^= swap
        half >>= 1
        mask ^= mask << np.uint32(half)


@njit(parallel=True, cache=True)
def lift(Y, corner, down, across, height, seed, stream, first, factor, width, strips, X):
    """Fill X, rows first to first + len(X) of S^T Y; shares of its rows and panels of columns."""
    rows, columns = X.shape
    depth = -(-height // 128) * 128
    shares = min(_SHARES, -(-rows // _LIFT_ROWS))
    panels = -(-columns // (strips * width))
    for task in prange(shares * panels):
        begin, end, left = rows * (task // panels) // shares, rows * (task // panels + 1) // shares, task % panels * strips * width
        panel, table = aligned(strips * depth, width, X), aligned(4 * _BITS, width, X)
        total = aligned(_LIFT_ROWS, width, X)
        codes = np.empty((depth // _BITS, _LIFT_ROWS + _vector.LANES), np.uint32)
        _panels.pack(Y, corner + left * across, down, across, columns - left, height, np.empty(0), panel, depth)
        for row in range(begin, end, _LIFT_ROWS):
            count = min(_LIFT_ROWS, end - row)
            for minor in range(depth // 128):
                at = 4 * minor * codes.shape[1]
                _draw(count, seed, stream, np.uint64(first + row), np.uint64(minor), codes, at, codes.shape[1])
            for s in range(min(strips, -(-(columns - left) // width))):
                total[:] = 0
                for g in range(-(-height // _BITS)):
                    _multiply(panel, s * depth + g * _BITS, columns - left - s * width, table, count, codes[g], total, 0)
                _panels.store(total, count, _LIFT_ROWS, factor, X, row, left + s * width)
