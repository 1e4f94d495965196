"""Dense random matrices S / sqrt(height): products, adjoints and entries, functions of (seed, stream, row, column).

Law "rademacher": column j takes bit i % 128 of Philox(major j, minor i // 128) in row i.
Law "gaussian": column j takes number i % 4 of the two Box-Muller pairs made of the four
words of Philox(major j, minor i // 4). A word w stands for (w + 1/2) / 2^32, so that no
Gaussian is beyond 6.7; logarithm and cosine are taken in float64 on every device.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _dense_normals, _dense_signs, _panels, _rows, philox
from lowrank_la.kernels._engine import Kernel

Law = Literal["rademacher", "gaussian"]

_UNIT = 2.0**-32
_TILE_ENTRIES = 1 << 22  # of S, where a library of matrix products does the work
_CPU = {"rademacher": _dense_signs, "gaussian": _dense_normals}


def reference(A: Array, law: Law, seed: int, stream: int, height: int, row_offset: int, scale: Array | None) -> Array:
    """S (D A) / sqrt(height), a tile of columns of S at a time."""
    xp = _arrays.namespace(A)
    Y = xp.zeros((height, A.shape[1]), dtype=A.dtype, device=A.device)
    step = max(1, _TILE_ENTRIES // height)
    for first in range(0, A.shape[0], step):
        block = A[first : min(first + step, A.shape[0]), :]
        S = _columns(A, law, seed, stream, height, row_offset + first, row_offset + first + block.shape[0])
        Y += (S if scale is None else S * xp.astype(scale[first : first + block.shape[0]], A.dtype)) @ block
    return Y / math.sqrt(height)


def adjoint_reference(Y: Array, law: Law, seed: int, stream: int, first: int, last: int) -> Array:
    """Rows first to last of S^H Y / sqrt(height), a tile of columns of S at a time."""
    xp, height = _arrays.namespace(Y), Y.shape[0]
    step = max(1, _TILE_ENTRIES // height)
    parts = [_columns(Y, law, seed, stream, height, start, min(start + step, last)).T @ Y for start in range(first, last, step)]
    return xp.concat([*parts, Y[:0, :]]) / math.sqrt(height)


def _columns(like: Array, law: Law, seed: int, stream: int, height: int, first: int, last: int) -> Array:
    xp = _arrays.namespace(like)
    cols = xp.arange(first, last, dtype=xp.int64, device=like.device)
    return xp.astype(entries(like, law, seed, stream, height, cols), like.dtype, copy=False)


def cpu(A: np.ndarray, law: Law, seed: int, stream: int, height: int, row_offset: int, scale: np.ndarray | None) -> np.ndarray:
    """S (D A) / sqrt(height), one read of A, and S never in memory; the same bits for any number of threads."""
    if np.iscomplexobj(A) and A.strides[1] == A.itemsize:
        return cpu(A.view(A.real.dtype), law, seed, stream, height, row_offset, scale).view(A.dtype)
    if np.iscomplexobj(A):
        real, imag = (cpu(part, law, seed, stream, height, row_offset, scale) for part in (A.real, A.imag))
        return np.asarray(real + 1j * imag, dtype=A.dtype)
    n, c = A.shape
    plan = _panels.layout(n, c, height, A.dtype)
    sums = _panels.zeros(plan, height, A.dtype)
    weights = np.empty(0, A.dtype) if scale is None else scale.astype(A.dtype, copy=False)
    _CPU[law].sketch(*_rows.flat(A), n, c, np.uint64(seed), np.uint64(stream), row_offset, weights, plan, sums)
    return _panels.joined(sums, height, c, 1 / math.sqrt(height))


def adjoint_cpu(Y: np.ndarray, law: Law, seed: int, stream: int, first: int, last: int) -> np.ndarray:
    """Rows first to last of S^H Y / sqrt(height)."""
    if np.iscomplexobj(Y):
        Y = np.ascontiguousarray(Y)
        return adjoint_cpu(Y.view(Y.real.dtype), law, seed, stream, first, last).view(Y.dtype)
    height, c = Y.shape
    X = np.empty((last - first, c), Y.dtype)
    plan = _panels.layout(last - first, c, height, Y.dtype)
    factor = Y.dtype.type(1 / math.sqrt(height))
    _CPU[law].lift(*_rows.flat(Y), height, np.uint64(seed), np.uint64(stream), first, factor, plan.width, max(1, plan.strips), X)
    return X


def entries_reference(like: Array, law: Law, seed: int, stream: int, height: int, cols: Array) -> Array:
    """Columns `cols` (int64) of S, without the factor, in the real dtype of `like`."""
    return (_signs if law == "rademacher" else normals)(like, seed, stream, height, cols)


def entries_cpu(like: np.ndarray, law: Law, seed: int, stream: int, height: int, cols: np.ndarray) -> np.ndarray:
    """Columns `cols` of S, without the factor, in the real dtype of `like`."""
    if law == "rademacher":
        return _signs(like, seed, stream, height, cols)
    out = np.empty((-(-height // 4) * 4, cols.size), like.real.dtype)
    _dense_normals.entries(cols, np.uint64(seed), np.uint64(stream), out)
    return out[:height]


def _signs(like: Array, seed: int, stream: int, height: int, cols: Array) -> Array:
    xp = _arrays.namespace(like)
    minor = xp.arange(-(-height // 128), dtype=xp.int64, device=like.device)
    words = xp.stack(philox.words(like, seed, stream, *xp.broadcast_arrays(cols[None, :], minor[:, None])), axis=1)
    bits = xp.arange(32, dtype=xp.int64, device=like.device)
    bits = (words[:, :, None, :] >> bits[None, None, :, None]) & 1
    signs = xp.reshape(1 - 2 * bits, (-1, cols.shape[0]))
    return xp.astype(signs[:height, :], _arrays.real_dtype(xp, like.dtype))


def normals(like: Array, seed: int, stream: int, height: int, cols: Array) -> Array:
    """Gaussians by the array API, the oracle of the others."""
    xp = _arrays.namespace(like)
    minor = xp.arange(-(-height // 4), dtype=xp.int64, device=like.device)
    words = philox.words(like, seed, stream, *xp.broadcast_arrays(cols[None, :], minor[:, None]))
    u = [(xp.astype(w, xp.float64) + 0.5) * _UNIT for w in words]
    pairs = [(xp.sqrt(-2 * xp.log(u[t])), 2 * math.pi * u[t + 1]) for t in (0, 2)]
    values = xp.stack([part for r, angle in pairs for part in (r * xp.cos(angle), r * xp.sin(angle))], axis=1)
    return xp.astype(xp.reshape(values, (-1, cols.shape[0]))[:height, :], _arrays.real_dtype(xp, like.dtype))


apply = Kernel(reference, cpu)
adjoint = Kernel(adjoint_reference, adjoint_cpu)
entries = Kernel(entries_reference, entries_cpu)
