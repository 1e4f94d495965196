"""Fast Walsh-Hadamard transform along any axis.

A transform of 2^k rows runs in passes of at most 10 levels. A pass copies 2^m rows at
equal distances and a panel of columns to a scratch tile in the second-level cache,
transforms it there by radix 8 in registers, and copies it back. Where rows are short,
the last levels run on the transposed tile, so that vectors stay full.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _tile
from lowrank_la.kernels._engine import Kernel

_LEVELS = 10  # of one pass
_TILE_BYTES = 1 << 19
_WIDE = 1  # vectors in a row that needs no transposition
_ROW_LANES = 8  # vectors in a row of a tile
_AHEAD = 8  # rows from memory that are asked for early
_CUDA_LEVELS, _CUDA_TILE, _CUDA_THREADS = 9, 4096, 256
_CHUNKS = 64  # shares of the work, whatever the number of threads


def reference(A: Array, axis: int, overwrite: bool) -> Array:
    """Return H A along an axis of 2^k entries, unscaled: level by level, entries 2^b apart."""
    xp = _arrays.namespace(A)
    n, axis = A.shape[axis], axis % A.ndim
    before, after = math.prod(A.shape[:axis]), math.prod(A.shape[axis + 1 :])
    x = A
    for bit in range(n.bit_length() - 1):
        x = xp.reshape(x, (before * (n >> (bit + 1)), 2, after << bit))
        x = xp.stack([x[:, 0, :] + x[:, 1, :], x[:, 0, :] - x[:, 1, :]], axis=1)
    return xp.reshape(x, A.shape) if n > 1 else xp.asarray(A, copy=True)


def cpu(A: np.ndarray, axis: int, overwrite: bool) -> np.ndarray:
    """Return H A along an axis of 2^k entries, unscaled; in the memory of A if told so and A is C-contiguous."""
    A = np.ascontiguousarray(A)
    out = A if overwrite and A.flags.writeable else np.empty_like(A)
    real = A.real.dtype
    n, axis = A.shape[axis], axis % A.ndim
    before, after = math.prod(A.shape[:axis]), math.prod(A.shape[axis + 1 :]) * A.itemsize // real.itemsize
    source, target = A.view(real).reshape(-1), out.view(real).reshape(-1)
    if source.size == 0 or n == 1:
        target[:] = source
        return out
    k = n.bit_length() - 1
    passes = -(-k // _LEVELS)
    low = 0
    for p in range(passes):
        levels = k * (p + 1) // passes - low
        _pass(source, target, before << (k - low - levels), levels, after << low)
        source, low = target, low + levels
    return out


def _pass(source: np.ndarray, target: np.ndarray, outer: int, levels: int, inner: int) -> None:
    """Transform the middle axis of C-ordered arrays (outer, 2**levels, inner), flat here, from source to target."""
    lanes = _tile.lanes_of(source.dtype)
    room = _TILE_BYTES // (source.itemsize << levels)  # columns of a tile
    if inner >= _WIDE * lanes:
        width = min(-(-inner // lanes) * lanes, max(_ROW_LANES * lanes, room // lanes * lanes))
        _wide(source, target, outer, levels, inner, width)
        return
    last = min(levels, math.ceil(math.log2(_ROW_LANES * lanes / inner)))
    _narrow(source, target, outer, levels - last, last, inner, max(1, min(outer, room // (2 * inner))))


_fetch = _tile.prefetch()
_mix1, _mix2, _mix3, _mix4 = (_tile.hadamard(levels) for levels in (1, 2, 3, 4))


@njit(cache=True)
def aligned(rows, columns, like):
    """Zeros in the dtype of `like` that start on a cache line: loads that straddle two lines take twice as long."""
    space = np.zeros(rows * columns + 16, like.dtype)
    start = (-space.ctypes.data % 64) // space.itemsize
    return space[start : start + rows * columns].reshape(rows, columns)


@njit(cache=True)
def first_levels(levels):
    """Levels of the first sweep, so that all others take 3."""
    return 4 if levels % 3 == 1 and levels > 1 else (levels % 3 or min(levels, 3))


@njit(cache=True)
def mix(levels, vectors, tile, row, step):
    """Transform 2**levels rows of the tile, `step` apart, from `row` on; at most 4 levels."""
    at, distance = row * tile.shape[1], step * tile.shape[1]
    if levels == 1:
        _mix1(vectors, tile, at, distance)
    elif levels == 2:
        _mix2(vectors, tile, at, distance)
    elif levels == 3:
        _mix3(vectors, tile, at, distance)
    elif levels == 4:
        _mix4(vectors, tile, at, distance)


@njit(cache=True)
def sweep(low, vectors, tile, row, rows):
    """Take the 3 levels from `low` on of a transform of so many rows."""
    for group in range(row, row + rows, 8 << low):
        for i in range(group, group + (1 << low)):
            mix(3, vectors, tile, i, 1 << low)


@njit(cache=True)
def transform_tile(levels, vectors, tile, row):
    """Transform 2**levels rows of the tile from `row` on."""
    first = first_levels(levels)
    for i in range(row, row + (1 << levels), 1 << first):
        mix(first, vectors, tile, i, 1)
    for low in range(first, levels, 3):
        sweep(low, vectors, tile, row, 1 << levels)


@njit(parallel=True, cache=True)
def _wide(source, target, outer, levels, inner, width):
    """Rows of several vectors: a tile is 2**levels rows of a panel of columns."""
    panels = -(-inner // width)
    rows, lanes = 1 << levels, _tile.VECTOR_BYTES // source.itemsize
    tasks = outer * panels
    chunks = min(tasks, _CHUNKS)
    first = first_levels(levels)
    for chunk in prange(chunks):
        tile = aligned(rows, width, source)
        for task in range(tasks * chunk // chunks, tasks * (chunk + 1) // chunks):
            left = task % panels * width
            w = min(width, inner - left)
            vectors = -(-w // lanes)
            corner = task // panels * rows * inner + left
            for group in range(0, rows, 1 << first):  # the first sweep works on rows that just came in ...
                for i in range(group, group + (1 << first)):
                    _fetch(source, corner + (i + _AHEAD) * inner, w)
                    _copy(source, corner + i * inner, w, tile, i)
                mix(first, vectors, tile, group, 1)
            for low in range(first, levels - 3, 3):
                sweep(low, vectors, tile, 0, rows)
            step = rows >> 3 if levels > first else rows
            for i in range(step):  # ... and the last on rows that leave at once
                if levels > first:
                    mix(3, vectors, tile, i, step)
                for row in range(i, rows, step):
                    _store(tile, row, w, target, corner + row * inner)


@njit(cache=True)
def _copy(source, start, w, tile, row):
    for j in range(w):
        tile[row, j] = source[start + j]


@njit(cache=True)
def _store(tile, row, w, target, start):
    for j in range(w):
        target[start + j] = tile[row, j]


@njit(parallel=True, cache=True)
def _narrow(source, target, outer, high, low, inner, batch):
    """Rows shorter than a few vectors: the `high` levels on rows of 2**low joined ones, the `low` levels on the transposed tile."""
    lanes = _tile.VECTOR_BYTES // source.itemsize
    joined = inner << low
    wide, rows = -(-joined // lanes), batch << high
    vectors = -(-rows * inner // lanes)
    tasks = -(-outer // batch)
    chunks = min(tasks, _CHUNKS)
    for chunk in prange(chunks):
        tile = aligned(rows, wide * lanes, source)
        turned = aligned(1 << low, (vectors + 1) * lanes, source)  # the odd stride spreads a column over the cache
        for task in range(tasks * chunk // chunks, tasks * (chunk + 1) // chunks):
            here = min(batch, outer - task * batch) << high
            corner = task * rows * joined
            for i in range(here):
                _copy(source, corner + i * joined, joined, tile, i)
            for i in range(0, here, 1 << high):
                transform_tile(high, wide, tile, i)
            _turn(tile, here, inner, turned)
            transform_tile(low, vectors, turned, 0)
            _turn_back(turned, here, inner, target, corner)


@njit(cache=True)
def _turn(tile, rows, inner, turned):
    for group in range(0, rows, 8):
        end = min(group + 8, rows)
        for l in range(turned.shape[0]):
            if inner == 1:
                for i in range(group, end):
                    turned[l, i] = tile[i, l]
            else:
                for i in range(group, end):
                    for e in range(inner):
                        turned[l, i * inner + e] = tile[i, l * inner + e]


@njit(cache=True)
def _turn_back(turned, rows, inner, target, corner):
    length = turned.shape[0]
    for i in range(rows):
        start = corner + i * length * inner
        if inner == 1:
            for l in range(length):
                target[start + l] = turned[l, i]
        else:
            for l in range(length):
                for e in range(inner):
                    target[start + l * inner + e] = turned[l, i * inner + e]


def cuda(A: Array, axis: int, overwrite: bool) -> Array:
    """Return H A along an axis of 2^k entries, unscaled; passes of at most 9 levels in shared memory."""
    xp = _arrays.namespace(A)
    out = A if overwrite and A.flags.c_contiguous else xp.asarray(A, copy=True, order="C")
    n, axis = A.shape[axis], axis % A.ndim
    before, after = math.prod(A.shape[:axis]), math.prod(A.shape[axis + 1 :])
    k = n.bit_length() - 1
    if not out.size or not k:
        return out
    complex_ = xp.isdtype(A.dtype, "complex floating")
    flat = xp.reshape(out, (-1,))
    flat = flat.view(_arrays.real_dtype(xp, A.dtype)) if complex_ else flat
    after, low, passes = after * (2 if complex_ else 1), 0, -(-k // _CUDA_LEVELS)
    for p in range(passes):
        levels = k * (p + 1) // passes - low
        inner, width = after << low, min(after << low, _CUDA_TILE >> levels)
        blocks = (before << (k - low - levels)) * -(-inner // width)
        _cuda_pass(str(flat.dtype))[blocks, _CUDA_THREADS](flat, levels, inner, width)
        low += levels
    return out


@functools.cache
def _cuda_pass(dtype):  # type: ignore[no-untyped-def]
    global gpu  # a global, because the simulator swaps the globals of a kernel
    from numba import cuda as gpu
    from numba import from_dtype

    scalar, size = from_dtype(np.dtype(dtype)), _CUDA_TILE

    @gpu.jit
    def kernel(x, levels, inner, width):  # type: ignore[no-untyped-def]
        """Transform the middle axis of (outer, 2**levels, inner): a block of threads has a panel of columns."""
        tile = gpu.shared.array(size, scalar)
        t, threads = gpu.threadIdx.x, gpu.blockDim.x
        panels = (inner + width - 1) // width
        left = gpu.blockIdx.x % panels * width
        w = min(width, inner - left)
        corner = (gpu.blockIdx.x // panels << levels) * inner + left
        for e in range(t, w << levels, threads):
            tile[e] = x[corner + e // w * inner + e % w]
        for bit in range(levels):
            gpu.syncthreads()
            for pair in range(t, w << (levels - 1), threads):
                row, column = pair // w, pair % w
                upper = ((row >> bit << (bit + 1)) | (row & ((1 << bit) - 1))) * w + column
                lower = upper + (w << bit)
                a, b = tile[upper], tile[lower]
                tile[upper], tile[lower] = a + b, a - b
        gpu.syncthreads()
        for e in range(t, w << levels, threads):
            x[corner + e // w * inner + e % w] = tile[e]

    return kernel


transform = Kernel(reference, cpu, cuda)
