"""Gaussian pooling: random rows, weighted by Gaussians, are added in equal groups; and the adjoint.

Place p of 2^k meets row pi(p) of the data, pi a Feistel permutation, with the weight
r cos(angle) of the Box-Muller pair of words 0 and 1 of Philox(major p, minor 0). Group r
of `height` collects the places p with floor(p height / 2^k) = r.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _dense_normals, dense, srht
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels._gather import gather_sum


def matrix(like: Array, seed: int, place: int, weight: int, height: int, size: int) -> Array:
    """Pooling matrix (height, size) in the real dtype of `like`."""
    xp = _arrays.namespace(like)
    row, value = _places(like, seed, place, weight, size)
    inverse = xp.argsort(row)
    group = inverse * height // size
    r = xp.arange(height, dtype=xp.int64, device=like.device)
    value = xp.take(value, inverse)[None, :]
    return xp.where(group[None, :] == r[:, None], value, xp.zeros_like(value))


def reference(Y: Array, seed: int, place: int, weight: int, height: int) -> Array:
    """Pool the 2^k rows of Y into `height`."""
    xp = _arrays.namespace(Y)
    return xp.astype(matrix(Y, seed, place, weight, height, Y.shape[0]), Y.dtype) @ Y


def spread_reference(Z: Array, seed: int, place: int, weight: int, size: int) -> Array:
    """Adjoint: spread the rows of Z over `size` = 2^k rows."""
    xp = _arrays.namespace(Z)
    return xp.astype(matrix(Z, seed, place, weight, Z.shape[0], size).T, Z.dtype) @ Z


def cpu(Y: np.ndarray, seed: int, place: int, weight: int, height: int) -> np.ndarray:
    """Pool the 2^k rows of Y into `height`."""
    out = np.zeros((height, Y.shape[1]), Y.dtype)
    _pool(Y, _dense_normals.first_row(np.uint64(seed), np.uint64(weight), Y.shape[0]), srht.permutation(seed, place, 0, Y.shape[0]), out)
    return out


def spread_cpu(Z: np.ndarray, seed: int, place: int, weight: int, size: int) -> np.ndarray:
    """Adjoint: spread the rows of Z over `size` = 2^k rows."""
    out = np.empty((size, Z.shape[1]), Z.dtype)
    _spread(Z, _dense_normals.first_row(np.uint64(seed), np.uint64(weight), size), srht.permutation(seed, place, 0, size), out)
    return out


@njit(parallel=True, cache=True)
def _pool(Y, weights, rows, out):
    height, size = out.shape[0], Y.shape[0]
    for r in prange(height):
        for p in range(-(-r * size // height), -(-(r + 1) * size // height)):
            factor, row = weights[p], rows[p]
            for j in range(Y.shape[1]):
                out[r, j] += factor * Y[row, j]


@njit(parallel=True, cache=True)
def _spread(Z, weights, rows, out):
    for p in prange(rows.size):
        factor = weights[p]
        r = p * Z.shape[0] // rows.size
        for j in range(Z.shape[1]):
            out[rows[p], j] = factor * Z[r, j]


def cuda(Y: Array, seed: int, place: int, weight: int, height: int) -> Array:
    """Pool the 2^k rows of Y into `height`: each row of the answer gathers its own."""
    xp = _arrays.namespace(Y)
    rows, weights = _places(Y, seed, place, weight, Y.shape[0])
    start = -(-xp.arange(height + 1, dtype=xp.int64) * Y.shape[0] // height)
    return gather_sum(Y, rows, weights, start)


def spread_cuda(Z: Array, seed: int, place: int, weight: int, size: int) -> Array:
    """Adjoint: spread the rows of Z over `size` = 2^k rows."""
    xp = _arrays.namespace(Z)
    rows, weights = _places(Z, seed, place, weight, size)
    group = xp.arange(size, dtype=xp.int64) * Z.shape[0] // size
    order = xp.argsort(rows)
    return xp.take(weights, order)[:, None] * xp.take(Z, xp.take(group, order), axis=0)


def _places(like: Array, seed: int, place: int, weight: int, size: int) -> tuple[Array, Array]:
    """Row and weight of each place."""
    xp = _arrays.namespace(like)
    p = xp.arange(size, dtype=xp.int64, device=like.device)
    return srht.permute(like, seed, place, size, xp.zeros_like(p), p), dense.normals(like, seed, weight, 1, p)[0, :]


apply = Kernel(reference, cpu, cuda)
spread = Kernel(spread_reference, spread_cpu, spread_cuda)
