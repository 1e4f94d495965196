"""Fast Walsh-Hadamard transform along any axis.

A transform of 2^k rows runs in passes, of 11 or 12 levels on neighbouring rows and 9 or
fewer on rows far apart. The first sweep of a pass reads 2^m rows at equal distances and a
panel of columns into a scratch tile in the second-level cache, sweeps of radix 8 in
registers transform it there, and the last one writes it back. Rows that are no whole
vectors are read and written as vectors that overlap, or transformed inside a vector, for
as many levels as make their multiples whole.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _tile, _tile_signs
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel

_FIRST_LEVELS = 11  # of the first pass, one more where rows are short
_LEVELS = 9  # of the others
_TILE_BYTES = 1 << 18
_ROW_VECTORS = 8  # in a row of a tile, at least; shorter rows are joined
_AHEAD = 8  # rows from memory that are asked for early
_NEAR = 4096  # bytes between rows; 8 that are farther apart compete for the same lines of the cache: copy them one by one
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
    k, low = n.bit_length() - 1, 0
    first = min(k, _FIRST_LEVELS + _is_narrow(after, real))
    for levels in (first, *_split(k - first)):
        _pass(source, target, before << (k - low - levels), levels, after << low)
        source, low = target, low + levels
    return out


def _split(levels: int) -> list[int]:
    """Share levels between as few passes as they need."""
    passes = -(-levels // _LEVELS)
    return [levels * (p + 1) // passes - levels * p // passes for p in range(passes)]


def _is_narrow(inner: int, dtype: np.dtype) -> bool:
    """Say whether rows of so many columns must be joined to whole vectors."""
    lanes = _tile.lanes_of(dtype)
    return inner % lanes > 0 and inner < _ROW_VECTORS * lanes


def _pass(source: np.ndarray, target: np.ndarray, outer: int, levels: int, inner: int) -> None:
    """Transform the middle axis of C-ordered arrays (outer, 2**levels, inner), flat here, from source to target."""
    lanes = _tile.lanes_of(source.dtype)
    room = _TILE_BYTES // (source.itemsize << levels)  # columns of a tile
    if _is_narrow(inner, source.dtype):
        low, inside = min(levels, lanes.bit_length() - 1), lanes % inner == 0 and lanes // inner <= 1 << levels
        low = (lanes // inner).bit_length() - 1 if inside else low
        _narrow(source, target, outer, levels - low, low, inner, max(1, min(outer, room // inner)), inside)
        return
    width = min(-(-inner // lanes) * lanes, max(_ROW_VECTORS * lanes, room // lanes * lanes))
    _wide(source, target, outer, levels, inner, width)


_fetch = _tile.prefetch()
_mix1, _mix2, _mix3, _mix4 = (_tile_signs.hadamard(levels) for levels in (1, 2, 3, 4))
_inside1, _inside2, _inside4, _inside8 = (_tile_signs.hadamard_lanes(distance) for distance in (1, 2, 4, 8))


@njit(cache=True)
def first_levels(levels):
    """Levels of the first sweep, so that all others take 3."""
    return 4 if levels % 3 == 1 and levels > 1 else (levels % 3 or min(levels, 3))


@njit(cache=True)
def mix(levels, vectors, a, ia, sa, b, ib, sb):
    """Transform 2**levels rows of so many vectors, `sa` apart in a, to rows of b; at most 4 levels."""
    if levels == 1:
        _mix1(vectors, a, ia, sa, b, ib, sb)
    elif levels == 2:
        _mix2(vectors, a, ia, sa, b, ib, sb)
    elif levels == 3:
        _mix3(vectors, a, ia, sa, b, ib, sb)
    elif levels == 4:
        _mix4(vectors, a, ia, sa, b, ib, sb)


@njit(cache=True)
def sweep(levels, low, vectors, tile, row, rows):
    """Take so many levels from `low` on of a transform of so many rows of the tile."""
    width = tile.shape[1]
    joined = 1 << low if vectors * (_tile.VECTOR_BYTES // tile.itemsize) == width else 1  # neighbouring rows make one long row
    for group in range(row, row + rows, 1 << (low + levels)):
        for i in range(group, group + (1 << low), joined):
            mix(levels, vectors * joined, tile, i * width, width << low, tile, i * width, width << low)


@njit(cache=True)
def transform_tile(levels, vectors, tile, row):
    """Transform 2**levels rows of the tile from `row` on."""
    first = first_levels(levels)
    sweep(first, 0, vectors, tile, row, 1 << levels)
    for low in range(first, levels, 3):
        sweep(3, low, vectors, tile, row, 1 << levels)


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
            corner = task // panels * rows * inner + left
            for row in range(0, rows, 1 << first):  # the first sweep works on rows that come in ...
                _read(first, source, corner + row * inner, inner, w, tile, row)
            for low in range(first, levels - 3, 3):
                sweep(3, low, -(-w // lanes), tile, 0, rows)
            step = rows >> 3 if levels > first else rows
            for row in range(step):  # ... and the last on rows that leave
                _write(levels > first, tile, row, step, w, target, corner, inner)


@njit(cache=True)
def _read(levels, source, corner, inner, w, tile, row):
    """Take the first levels of 2**levels rows on their way into the tile."""
    lanes = _tile.VECTOR_BYTES // source.itemsize
    width, at = tile.shape[1], row * tile.shape[1]
    for i in range(1 << levels):
        _fetch(source, corner + (i + _AHEAD) * inner, w)
    if w % lanes == 0 and inner * source.itemsize < _NEAR:
        mix(levels, w // lanes, source, corner, inner, tile, at, width)
        return
    for i in range(1 << levels):
        for j in range(w):
            tile[row + i, j] = source[corner + i * inner + j]
    mix(levels, -(-w // lanes), tile, at, width, tile, at, width)


@njit(cache=True)
def _write(mixes, tile, row, step, w, target, corner, inner):
    """Take 3 levels, if there are any left, of rows of the tile `step` apart on their way out."""
    lanes = _tile.VECTOR_BYTES // target.itemsize
    at, apart = row * tile.shape[1], step * tile.shape[1]
    if mixes and w % lanes == 0 and inner * target.itemsize < _NEAR:
        _mix3(w // lanes, tile, at, apart, target, corner + row * inner, step * inner)
        return
    if mixes:
        _mix3(-(-w // lanes), tile, at, apart, tile, at, apart)
    for i in range(row, tile.shape[0], step):
        for j in range(w):
            target[corner + i * inner + j] = tile[i, j]


@njit(parallel=True, cache=True)
def _narrow(source, target, outer, high, low, inner, batch, inside):
    """Rows of broken vectors: `low` levels make them 2**low rows joined to whole vectors, for the `high` levels."""
    lanes = _tile.VECTOR_BYTES // source.itemsize
    joined, rows = inner << low, batch << high
    tasks = -(-outer // batch)
    chunks = min(tasks, _CHUNKS)
    for chunk in prange(chunks):
        space = aligned(1, rows * joined + lanes, source)[0]
        tile = space[: rows * joined].reshape(rows, joined)
        for task in range(tasks * chunk // chunks, tasks * (chunk + 1) // chunks):
            here = min(batch, outer - task * batch) << high
            corner = task * rows * joined
            if inside:
                _mix_inside(inner, here * joined // lanes, source, corner, space)
            else:
                _mix_overlapping(low, here, source, corner, inner, space)
            for i in range(0, here, 1 << high):
                transform_tile(high, joined // lanes, tile, i)
            for j in range(here * joined):
                target[corner + j] = space[j]


@njit(cache=True)
def _mix_inside(inner, vectors, source, corner, space):
    """Transform inside each of the vectors from `corner` on."""
    if inner == 1:
        _inside1(vectors, source, corner, space, 0)
    elif inner == 2:
        _inside2(vectors, source, corner, space, 0)
    elif inner == 4:
        _inside4(vectors, source, corner, space, 0)
    elif inner == 8:
        _inside8(vectors, source, corner, space, 0)


@njit(cache=True)
def _mix_overlapping(levels, blocks, source, corner, inner, space):
    """Transform blocks of 2**levels rows; every vector but those of a last block may reach into the next row."""
    lanes = _tile.VECTOR_BYTES // source.itemsize
    joined = inner << levels
    for i in range(blocks):
        start = corner + i * joined
        if start + joined + lanes <= source.size:
            mix(levels, -(-inner // lanes), source, start, inner, space, i * joined, inner)
        else:  # no vector may reach beyond the end of the memory
            edge = np.zeros(joined + lanes, source.dtype)
            for j in range(joined):
                edge[j] = source[start + j]
            mix(levels, -(-inner // lanes), edge, 0, inner, space, i * joined, inner)


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
