"""Block-wise subsampled randomized Hadamard transform S (D A), S^H Y, and the entries of S.

Rows are taken in blocks of `size` = 2^k. In block g, the row number i goes to place
pi_g(i) with sign D, a Walsh-Hadamard transform follows, and sketch row r receives entry
sigma_g(r) of it with sign L_g(r), over sqrt(height): for j = g size + i

    S[r, j] = L_g(r) (-1)^popcount(sigma_g(r) & pi_g(i)) D_j / sqrt(height).

pi and sigma are Feistel permutations of the bits of an index: four rounds, alternately
on the high and the low half; round t adds word t of Philox(major g, minor other half).
Signs are bits: of Philox(j // 128, 0) for D, of Philox(g, r // 128) for L.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _tile, fwht, philox
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel

_TILE_BYTES = 1 << 20  # one block of a panel of columns
_CUDA_ROWS = 1 << 18  # that are transformed together
_AHEAD = 4  # rows of A that are asked for early
_MAX_PARTS = 16  # of the blocks, whatever the number of threads


_fetch = _tile.prefetch()


class Streams(NamedTuple):
    """Philox streams of the four random ingredients."""

    place: int
    sample: int
    left: int
    right: int


def permute(like: Array, seed: int, stream: int, size: int, blocks: Array, index: Array) -> Array:
    """Feistel permutation of 0..size - 1 (a power of two) at `index`, one for each of the broadcast `blocks`."""
    bits = size.bit_length() - 1
    low = bits // 2
    high_half, low_half = index >> low, index & ((1 << low) - 1)
    for t in range(0, 4, 2):
        high_half = high_half ^ (philox.words(like, seed, stream, blocks, low_half)[t] & ((1 << (bits - low)) - 1))
        low_half = low_half ^ (philox.words(like, seed, stream, blocks, high_half)[t + 1] & ((1 << low) - 1))
    return (high_half << low) | low_half


def signs(like: Array, seed: int, stream: int, major: Array, index: Array) -> Array:
    """Signs +-1 (int64): bit index % 128 of Philox(major, index // 128)."""
    xp = _arrays.namespace(like)
    words = xp.stack(xp.broadcast_arrays(*philox.words(like, seed, stream, major, index >> 7)))
    word = (index >> 5) & 3
    chosen = sum(xp.where(word == w, words[w, ...], xp.zeros_like(words[w, ...])) for w in range(4))
    return 1 - 2 * ((chosen >> (index & 31)) & 1)


def row_signs(like: Array, seed: int, stream: int, first: int, last: int) -> Array:
    """Signs D of the data rows first to last: bit row % 128 of Philox(row // 128, 0)."""
    xp = _arrays.namespace(like)
    major = xp.arange(first >> 7, (last + 127) >> 7, dtype=xp.int64, device=like.device)
    words = xp.stack(philox.words(like, seed, stream, major, xp.zeros_like(major)), axis=1)
    bits = (words[:, :, None] >> xp.arange(32, dtype=xp.int64, device=like.device)) & 1
    return 1 - 2 * xp.reshape(bits, (-1,))[first & 127 : last - (first >> 7 << 7)]


def matrix(like: Array, seed: int, streams: Streams, height: int, size: int, cols: Array) -> Array:
    """Columns `cols` (int64) of S as a dense array with the real dtype of `like`, entry by entry."""
    xp = _arrays.namespace(like)
    r, blocks = xp.arange(height, dtype=xp.int64, device=like.device)[:, None], (cols // size)[None, :]
    r, blocks = xp.broadcast_arrays(r, blocks)
    sampled = permute(like, seed, streams.sample, size, blocks, r)
    placed = permute(like, seed, streams.place, size, cols // size, cols % size)
    common = sampled & placed[None, :]
    for shift in (32, 16, 8, 4, 2, 1):
        common = common ^ (common >> shift)
    value = (
        (1 - 2 * (common & 1))
        * signs(like, seed, streams.left, blocks, r)
        * signs(like, seed, streams.right, cols >> 7, cols & 127)[None, :]
    )
    return xp.astype(value, _arrays.real_dtype(xp, like.dtype)) / math.sqrt(height)


def reference(A: Array, seed: int, streams: Streams, height: int, size: int, row_offset: int, scale: Array | None) -> Array:
    """S (D A) through the dense S."""
    xp = _arrays.namespace(A)
    S = matrix(A, seed, streams, height, size, row_offset + xp.arange(A.shape[0], dtype=xp.int64, device=A.device))
    return xp.astype(S if scale is None else S * scale, A.dtype) @ A


def adjoint_reference(Y: Array, seed: int, streams: Streams, height: int, size: int, first: int, last: int) -> Array:
    """Rows first to last of S^H Y through the dense S."""
    xp = _arrays.namespace(Y)
    S = matrix(Y, seed, streams, height, size, xp.arange(first, last, dtype=xp.int64, device=Y.device))
    return xp.astype(S.T, Y.dtype) @ Y


def cpu(A: np.ndarray, seed: int, streams: Streams, height: int, size: int, row_offset: int, scale: np.ndarray | None) -> np.ndarray:
    """S (D A), one read of A; the same bits for any number of threads."""
    if np.iscomplexobj(A) and A.strides[1] == A.itemsize:
        return cpu(A.view(A.real.dtype), seed, streams, height, size, row_offset, scale).view(A.dtype)
    if np.iscomplexobj(A):
        real, imag = (cpu(part, seed, streams, height, size, row_offset, scale) for part in (A.real, A.imag))
        return np.asarray(real + 1j * imag, dtype=A.dtype)
    n, c = A.shape
    lanes, width = _panel(c, size, A.dtype)
    blocks = (row_offset + n - 1) // size - row_offset // size + 1 if n else 0
    parts = max(1, min(_MAX_PARTS, blocks, n // (8 * height)))
    sums = np.zeros((parts, height, -(-c // lanes) * lanes), A.dtype)
    weights = np.ones(0, A.dtype) if scale is None else scale.astype(A.dtype, copy=False)
    _sketch(np.asarray(A), np.uint64(seed), _words(streams), size, row_offset, blocks, weights, width, sums)
    for part in sums[1:]:
        sums[0] += part
    return sums[0, :, :c] * A.dtype.type(1 / math.sqrt(height))


def adjoint_cpu(Y: np.ndarray, seed: int, streams: Streams, height: int, size: int, first: int, last: int) -> np.ndarray:
    """Rows first to last of S^H Y: block by block, sample, transform, put back."""
    if np.iscomplexobj(Y):
        Y = np.ascontiguousarray(Y)
        return adjoint_cpu(Y.view(Y.real.dtype), seed, streams, height, size, first, last).view(Y.dtype)
    X = np.empty((last - first, Y.shape[1]), Y.dtype)
    width = _panel(Y.shape[1], size, Y.dtype)[1]
    _lift(np.ascontiguousarray(Y) * Y.dtype.type(1 / math.sqrt(height)), np.uint64(seed), _words(streams), size, first, width, X)
    return X


def permutation(seed: int, stream: int, block: int, size: int) -> np.ndarray:
    """Feistel permutation of 0..size - 1 on the host; walks the cycles if size is no power of two."""
    bits = (size - 1).bit_length()
    full = np.empty(1 << bits, np.int32 if bits < 31 else np.int64)
    _permutation(np.uint64(seed), np.uint64(stream), block, bits, full)
    places = full[:size]
    while (places >= size).any():
        places = np.where(places >= size, full[np.where(places >= size, places, 0)], places)
    return places


def _words(streams: Streams) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(stream) for stream in streams)


def _panel(c: int, size: int, dtype: np.dtype) -> tuple[int, int]:
    """Lanes of a vector, and columns of a panel; panels have equal width."""
    lanes = _tile.lanes_of(dtype)
    vectors = max(1, -(-c // lanes))
    panels = -(-vectors // max(2, _TILE_BYTES // (size * _tile.VECTOR_BYTES)))
    return lanes, -(-vectors // panels) * lanes


@njit(cache=True)
def _permutation(seed, stream, block, bits, out):
    """out[i] = Feistel permutation of i, for the first out.size indices; its rounds are short tables."""
    low = bits // 2
    tables = np.empty((4, 1 << (bits - low)), np.int64)
    for v in range(tables.shape[1]):
        words = philox.cpu_words(seed, stream, np.uint64(block), np.uint64(v))
        tables[0, v], tables[1, v], tables[2, v], tables[3, v] = words[0], words[1], words[2], words[3]
    high_mask, low_mask = (1 << (bits - low)) - 1, (1 << low) - 1
    for i in range(out.size):
        h, l = i >> low, i & low_mask
        h ^= tables[0, l] & high_mask
        l ^= tables[1, h] & low_mask
        h ^= tables[2, l] & high_mask
        l ^= tables[3, h] & low_mask
        out[i] = (h << low) | l


@njit(cache=True)
def _sign(seed, stream, major, index):
    word = philox.cpu_words(seed, stream, np.uint64(major), np.uint64(index >> 7))[(index >> 5) & 3]
    return 1 - 2 * np.int64((word >> np.uint64(index & 31)) & np.uint64(1))


@njit(cache=True)
def _left_signs(seed, stream, block, out):
    for r in range(0, out.size, 32):
        word = philox.cpu_words(seed, stream, np.uint64(block), np.uint64(r >> 7))[(r >> 5) & 3]
        for i in range(r, min(r + 32, out.size)):
            out[i] = 1 - 2 * np.int64((word >> np.uint64(i & 31)) & np.uint64(1))


@njit(parallel=True, cache=True)
def _sketch(A, seed, streams, size, row_offset, blocks, weights, width, sums):
    """Partition p of the blocks adds to sums[p], one panel of columns and one block at a time."""
    parts, height, columns = sums.shape
    panels = -(-columns // width)
    bits = _log2(size)
    for task in prange(parts * panels):
        p, left = task // panels, task % panels * width
        tile = aligned(size, width, sums)
        place, sample, signs = np.empty(size, np.int32), np.empty(height, np.int32), np.empty(height, np.int32)
        for b in range(blocks * p // parts, blocks * (p + 1) // parts):
            block = row_offset // size + b
            _permutation(seed, streams[0], block, bits, place)
            _permutation(seed, streams[1], block, bits, sample)
            _left_signs(seed, streams[2], block, signs)
            _place_rows(A, seed, streams[3], block * size, row_offset, left, weights, place, tile)
            fwht.transform_tile(bits, width * tile.itemsize // _tile.VECTOR_BYTES, tile, 0)
            w = min(width, columns - left)
            for r in range(height):
                for j in range(w):
                    sums[p, r, left + j] += signs[r] * tile[sample[r], j]


@njit(cache=True)
def _log2(size):
    bits = 0
    while 1 << bits < size:
        bits += 1
    return bits


@njit(cache=True)
def _place_rows(A, seed, stream, start, row_offset, left, weights, place, tile):
    """Put the rows of the block that begins at data row `start` in their places, with signs; rows outside A are zero."""
    w = min(tile.shape[1], A.shape[1] - left)
    stride, step = A.strides[0] // A.itemsize, A.strides[1] // A.itemsize
    for i in range(place.size):
        row = start + i - row_offset
        target = place[i]
        if 0 <= row < A.shape[0]:
            if step == 1:
                _fetch(A, (row + _AHEAD) * stride + left, w)
            factor = _sign(seed, stream, (start + i) >> 7, (start + i) & 127)
            if weights.size:
                for j in range(w):
                    tile[target, j] = factor * weights[row] * A[row, left + j]
            else:
                for j in range(w):
                    tile[target, j] = factor * A[row, left + j]
        else:
            tile[target, :] = 0


@njit(parallel=True, cache=True)
def _lift(Y, seed, streams, size, first, width, X):
    height, columns = Y.shape
    panels = -(-columns // width)
    bits = _log2(size)
    start = first // size
    blocks = -(-(first + X.shape[0]) // size) - start
    for task in prange(blocks * panels):
        block, left = start + task // panels, task % panels * width
        w = min(width, columns - left)
        tile = aligned(size, width, Y)
        place, sample, signs = np.empty(size, np.int32), np.empty(height, np.int32), np.empty(height, np.int32)
        _permutation(seed, streams[0], block, bits, place)
        _permutation(seed, streams[1], block, bits, sample)
        _left_signs(seed, streams[2], block, signs)
        for r in range(height):
            for j in range(w):
                tile[sample[r], j] = signs[r] * Y[r, left + j]
        fwht.transform_tile(bits, width * tile.itemsize // _tile.VECTOR_BYTES, tile, 0)
        for i in range(max(0, first - block * size), min(size, first + X.shape[0] - block * size)):
            row = block * size + i
            factor = _sign(seed, streams[3], row >> 7, row & 127)
            for j in range(w):
                X[row - first, left + j] = factor * tile[place[i], j]


def cuda(A: Array, seed: int, streams: Streams, height: int, size: int, row_offset: int, scale: Array | None) -> Array:
    """S (D A): blocks are placed, transformed together and sampled."""
    xp = _arrays.namespace(A)
    real = _arrays.real_dtype(xp, A.dtype)
    out = xp.zeros((height, A.shape[1]), dtype=A.dtype)
    group = size * max(1, _CUDA_ROWS // size)
    for start in range(row_offset // size * size, row_offset + A.shape[0], group):
        first, last = max(start, row_offset), min(start + group, row_offset + A.shape[0])
        rows = xp.arange(first, last, dtype=xp.int64)
        blocks = -(-last // size) - start // size
        factor = xp.astype(row_signs(A, seed, streams.right, first, last), real)
        factor = factor if scale is None else factor * scale[first - row_offset : last - row_offset]
        X = xp.zeros((blocks * size, A.shape[1]), dtype=A.dtype)
        places = rows // size * size - start + permute(A, seed, streams.place, size, rows // size, rows % size)
        X[places, :] = factor[:, None] * A[first - row_offset : last - row_offset, :]
        X = xp.reshape(fwht.transform(xp.reshape(X, (blocks, size, -1)), 1, True), X.shape)
        at, factors = _samples(A, seed, streams, height, size, start // size, blocks)
        out += xp.sum(factors[:, :, None] * xp.reshape(xp.take(X, xp.reshape(at, (-1,)), axis=0), (blocks, height, -1)), axis=0)
    return out


def adjoint_cuda(Y: Array, seed: int, streams: Streams, height: int, size: int, first: int, last: int) -> Array:
    """Rows first to last of S^H Y: all blocks at once."""
    xp = _arrays.namespace(Y)
    start, blocks = first // size, -(-last // size) - first // size
    at, factors = _samples(Y, seed, streams, height, size, start, blocks)
    X = xp.zeros((blocks * size, Y.shape[1]), dtype=Y.dtype)
    X[xp.reshape(at, (-1,)), :] = xp.reshape(factors[:, :, None] * Y[None, :, :], (blocks * height, -1))
    X = xp.reshape(fwht.transform(xp.reshape(X, (blocks, size, -1)), 1, True), X.shape)
    rows = xp.arange(first, last, dtype=xp.int64)
    places = (rows // size - start) * size + permute(Y, seed, streams.place, size, rows // size, rows % size)
    factor = xp.astype(row_signs(Y, seed, streams.right, first, last), _arrays.real_dtype(xp, Y.dtype))
    return factor[:, None] * xp.take(X, places, axis=0)


def _samples(like: Array, seed: int, streams: Streams, height: int, size: int, start: int, blocks: int) -> tuple[Array, Array]:
    """Return the sampled rows (blocks, height), counted from the first block on, and their factors."""
    xp = _arrays.namespace(like)
    block, r = xp.arange(start, start + blocks, dtype=xp.int64)[:, None], xp.arange(height, dtype=xp.int64)[None, :]
    block, r = xp.broadcast_arrays(block, r)
    at = (block - start) * size + permute(like, seed, streams.sample, size, block, r)
    left = signs(like, seed, streams.left, block, r)
    return at, xp.astype(left, _arrays.real_dtype(xp, like.dtype)) / math.sqrt(height)


apply = Kernel(reference, cpu, cuda)
adjoint = Kernel(adjoint_reference, adjoint_cpu, adjoint_cuda)
