"""Squared lengths of the rows of a dense matrix, summed in float64 for every dtype.

NumPy takes six times as long for float32, of which it first writes a copy in float64, and a third longer for float64 out of cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel

SMALL = 1 << 13  # numbers for which NumPy is as fast
LARGE = 1 << 21  # numbers from which threads pay, which other libraries may still hold
PARTS = 64
REORDERED = {"reassoc", "contract", "nsz"}  # lets a sum use vectors, and keeps NaN and infinity


def reference(A: Array) -> Array:
    """Return sum_j |A_ij|^2, (n,), float64."""
    xp = _arrays.namespace(A)
    parts = [xp.real(A), xp.imag(A)] if xp.isdtype(A.dtype, "complex floating") else [A]
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is an answer
        return sum(xp.vecdot(part, part) for part in (xp.astype(part, xp.float64, copy=False) for part in parts))


def cpu(A: np.ndarray) -> np.ndarray:
    """Go once over contiguous rows; other layouts and dtypes take the reference."""
    if A.size <= SMALL or not (A.flags.c_contiguous and A.flags.aligned and A.dtype.char in "fdFD" and A.dtype.isnative):
        return reference(A)
    rows, out = A.view(A.real.dtype), np.empty(A.shape[0])
    rows.flags.writeable = False  # one type, which compiles once
    (_sums_side_by_side if A.size >= LARGE else _sums)(rows, out)
    return out


@njit(cache=True, fastmath=REORDERED)
def _sums(rows, out):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        total = 0.0
        for j in range(rows.shape[1]):
            value = np.float64(rows[i, j])
            total += value * value
        out[i] = total


@njit(parallel=True, cache=True)
def _sums_side_by_side(rows, out):  # type: ignore[no-untyped-def]
    for part in prange(PARTS):
        begin, end = out.size * part // PARTS, out.size * (part + 1) // PARTS
        _sums(rows[begin:end], out[begin:end])


squares = Kernel(reference, cpu)
