"""Sum of the squared absolute values of a matrix, in float64, in one pass.

BLAS offers the same sum in the precision of the matrix, where sixteen million float32 values
lose half their digits, and only for contiguous memory. A value that is not finite shows in the answer.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows
from lowrank_la.kernels._engine import Kernel

LANES = 32  # independent sums that hide the latency of an addition
CHUNK = 1 << 15
SMALL = 1 << 13  # numbers that are added before threads wake up


def reference(A: Array) -> float:
    """Return the sum of |a|^2 over a dense array."""
    xp = _arrays.namespace(A)
    total = 0.0
    for _, block in _arrays.row_blocks(A):
        parts = [xp.real(block), xp.imag(block)] if xp.isdtype(block.dtype, "complex floating") else [block]
        total += sum(float(xp.sum(xp.astype(part, xp.float64, copy=False) ** 2)) for part in parts)
    return total


def cpu(A: np.ndarray) -> float:
    """Add up contiguous memory in chunks, on all threads; other layouts and dtypes take the reference."""
    if not (A.flags.forc and A.flags.aligned and A.dtype.char in "fdFD" and A.dtype.isnative):
        return reference(A)
    memory = A.ravel(order="K")
    memory = memory.view(memory.real.dtype) if np.iscomplexobj(memory) else memory
    if memory.size <= SMALL:
        wide = memory.astype(np.float64, copy=False)
        return float(np.vdot(wide, wide))
    return float(np.sum(_sums(_rows.flat(memory[:, None])[0])))


@njit(parallel=True, cache=True)
def _sums(x):  # type: ignore[no-untyped-def]
    """Squares summed by chunks of fixed size, so that the answer does not depend on the threads."""
    chunks = (x.size + CHUNK - 1) // CHUNK
    sums = np.empty(chunks)
    for c in prange(chunks):
        first, last = c * CHUNK, min((c + 1) * CHUNK, x.size)
        lanes = np.zeros(LANES)
        whole = first + (last - first) // LANES * LANES
        for i in range(first, whole, LANES):
            for lane in range(LANES):
                value = np.float64(x[i + lane])
                lanes[lane] += value * value
        total = 0.0
        for lane in range(LANES):
            total += lanes[lane]
        for i in range(whole, last):
            value = np.float64(x[i])
            total += value * value
        sums[c] = total
    return sums


squared_norm = Kernel(reference, cpu)
