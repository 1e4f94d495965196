"""Columns of dense random matrices: Rademacher signs and Gaussians, a pure function of (seed, stream, row, column).

Column j of a sign matrix takes bit i % 128 of Philox(major j, minor i // 128) in row i.
Column j of a Gaussian matrix takes number i % 4 of the two Box-Muller pairs made of the
four words of Philox(major j, minor i // 4). A word w stands for (w + 1/2) / 2^32, so that
no Gaussian is beyond 6.7; logarithm and cosine are taken in float64 on every device.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import philox
from lowrank_la.kernels._engine import Kernel

_UNIT = 2.0**-32


def rademacher_reference(like: Array, seed: int, stream: int, height: int, cols: Array) -> Array:
    """Draw a sign matrix (height, len(cols)) in the real dtype of `like`."""
    xp = _arrays.namespace(like)
    minor = xp.arange(-(-height // 128), dtype=xp.int64, device=like.device)
    words = xp.stack(philox.words(like, seed, stream, *xp.broadcast_arrays(cols[None, :], minor[:, None])), axis=1)
    bits = xp.arange(32, dtype=xp.int64, device=like.device)
    bits = (words[:, :, None, :] >> bits[None, None, :, None]) & 1
    signs = xp.reshape(1 - 2 * bits, (-1, cols.shape[0]))
    return xp.astype(signs[:height, :], _arrays.real_dtype(xp, like.dtype))


def rademacher_cpu(like: np.ndarray, seed: int, stream: int, height: int, cols: np.ndarray) -> np.ndarray:
    """Draw a sign matrix (height, len(cols)) in the real dtype of `like`, Fortran-ordered."""
    out = np.empty((cols.size, -(-height // 128) * 128), like.real.dtype)
    _rademacher(np.uint64(seed), np.uint64(stream), cols, out)
    return out[:, :height].T


def gaussian_reference(like: Array, seed: int, stream: int, height: int, cols: Array) -> Array:
    """Draw a standard Gaussian matrix (height, len(cols)) in the real dtype of `like`."""
    xp = _arrays.namespace(like)
    minor = xp.arange(-(-height // 4), dtype=xp.int64, device=like.device)
    words = philox.words(like, seed, stream, *xp.broadcast_arrays(cols[None, :], minor[:, None]))
    u = [(xp.astype(w, xp.float64) + 0.5) * _UNIT for w in words]
    pairs = [(xp.sqrt(-2 * xp.log(u[t])), 2 * math.pi * u[t + 1]) for t in (0, 2)]
    values = xp.stack([part for r, angle in pairs for part in (r * xp.cos(angle), r * xp.sin(angle))], axis=1)
    return xp.astype(xp.reshape(values, (-1, cols.shape[0]))[:height, :], _arrays.real_dtype(xp, like.dtype))


def gaussian_cpu(like: np.ndarray, seed: int, stream: int, height: int, cols: np.ndarray) -> np.ndarray:
    """Draw a standard Gaussian matrix (height, len(cols)) in the real dtype of `like`, Fortran-ordered."""
    out = np.empty((cols.size, -(-height // 4) * 4), like.real.dtype)
    _gaussian(np.uint64(seed), np.uint64(stream), cols, out)
    return out[:, :height].T


@njit(parallel=True, cache=True)
def _rademacher(seed, stream, cols, out):
    one = np.uint64(1)
    for j in prange(cols.size):
        for minor in range(out.shape[1] // 128):
            words = philox.cpu_words(seed, stream, np.uint64(cols[j]), np.uint64(minor))
            for w in range(4):
                word = words[w]
                for bit in range(32):
                    out[j, 128 * minor + 32 * w + bit] = 1 - 2 * np.int64((word >> np.uint64(bit)) & one)


@njit(parallel=True, cache=True)
def _gaussian(seed, stream, cols, out):
    for j in prange(cols.size):
        for minor in range(out.shape[1] // 4):
            words = philox.cpu_words(seed, stream, np.uint64(cols[j]), np.uint64(minor))
            for t in range(0, 4, 2):
                radius, angle = polar(words[t], words[t + 1])
                out[j, 4 * minor + t] = radius * math.cos(angle)
                out[j, 4 * minor + t + 1] = radius * math.sin(angle)


@njit(inline="always")
def polar(first, second):
    """Radius and angle of a Box-Muller pair from two words."""
    return math.sqrt(-2.0 * math.log((first + 0.5) * _UNIT)), 2.0 * math.pi * ((second + 0.5) * _UNIT)


rademacher = Kernel(rademacher_reference, rademacher_cpu, cuda=rademacher_reference)
gaussian = Kernel(gaussian_reference, gaussian_cpu, cuda=gaussian_reference)
