"""Orthonormal discrete cosine transform (type II) along the first axis, and its inverse."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel


def reference(A: Array, inverse: bool) -> Array:
    """C A, or C^T A for the inverse, with the matrix C."""
    xp = _arrays.namespace(A)
    k = xp.arange(A.shape[0], dtype=xp.int64, device=A.device)
    C = matrix(A, A.shape[0], k, k)
    return xp.astype(C.T if inverse else C, A.dtype) @ A


def matrix(like: Array, size: int, rows: Array, cols: Array) -> Array:
    """Entries sqrt(2 / size) cos(pi k (2 m + 1) / (2 size)) of C, k in rows and m in cols; row 0 over sqrt(2)."""
    xp = _arrays.namespace(like)
    quarter = rows[:, None] * (2 * cols[None, :] + 1) % (4 * size)  # reduced exactly, so that large angles stay accurate
    C = xp.cos(xp.astype(quarter, xp.float64) * (math.pi / (2 * size))) * math.sqrt(2 / size)
    C = xp.where(rows[:, None] == 0, C / math.sqrt(2), C)
    return xp.astype(C, _arrays.real_dtype(xp, like.dtype))


def cpu(A: np.ndarray, inverse: bool) -> np.ndarray:
    """Return C A, or C^T A, by the fast Fourier transform of SciPy."""
    import numba
    import scipy.fft

    return scipy.fft.dct(A, type=3 if inverse else 2, axis=0, norm="ortho", workers=numba.get_num_threads())


def cuda(A: Array, inverse: bool) -> Array:
    """Return C A, or C^T A, by the fast Fourier transform of CuPy."""
    import cupyx.scipy.fft

    return cupyx.scipy.fft.dct(A, type=3 if inverse else 2, axis=0, norm="ortho")


transform = Kernel(reference, cpu, cuda)
