"""Weighted sums of chosen rows on the GPU: what sketches with few nonzeros come down to."""

from __future__ import annotations

import functools

from lowrank_la import _arrays
from lowrank_la._arrays import Array

_THREADS = 128


def gather_sum(A: Array, order: Array, weights: Array, start: Array) -> Array:
    """Return out[r, :] = sum of weights[k] * A[order[k], :] over start[r] <= k < start[r + 1], in order of k.

    One block of threads for each row of the answer, a thread for each column: no atomics,
    so that the answer is the same each time.
    """
    xp = _arrays.namespace(A)
    out = xp.zeros((start.shape[0] - 1, A.shape[1]), dtype=A.dtype)
    if out.size:
        _kernel()[(out.shape[0], -(-A.shape[1] // _THREADS)), _THREADS](A, order, weights, start, out)
    return out


@functools.cache
def _kernel():  # type: ignore[no-untyped-def]
    global gpu  # a global, because the simulator swaps the globals of a kernel
    from numba import cuda as gpu

    @gpu.jit
    def kernel(A, order, weights, start, out):  # type: ignore[no-untyped-def]
        r = gpu.blockIdx.x
        j = gpu.blockIdx.y * gpu.blockDim.x + gpu.threadIdx.x
        if j < A.shape[1]:
            total = out[r, j]
            for k in range(start[r], start[r + 1]):
                total += weights[k] * A[order[k], j]
            out[r, j] = total

    return kernel
