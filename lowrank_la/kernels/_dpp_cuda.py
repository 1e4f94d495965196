"""The chain rule on a GPU: a block of threads decides on the proposals of one sample."""

from __future__ import annotations

import functools
import math

import numpy as np

THREADS = 128


@functools.cache
def round_kernel():  # type: ignore[no-untyped-def]
    global gpu  # a global, because the simulator swaps the globals of a kernel
    from numba import cuda as gpu

    threads = THREADS

    @gpu.jit
    def decide_round(Q, pair, items, uniforms, columns, sizes, cap, B, x, drawn, attempts):  # type: ignore[no-untyped-def]
        """Decide on a round of proposals, one by one; thread l has the products with basis vectors l, l + threads, ..."""
        part = gpu.shared.array(threads, np.float64)
        r, lane = gpu.blockIdx.x, gpu.threadIdx.x
        m = sizes[r]
        chosen = min(r, columns.shape[0] - 1)
        known = 0
        while known < m and drawn[r, known] >= 0:
            known += 1
        tried = attempts[r]
        for t in range(items.shape[1]):
            if known == m or tried == cap * m:
                break
            item, fresh = items[r, t], True
            tried += 1
            for s in range(known):
                fresh = fresh and drawn[r, s] != item
            for turn in range(2 * pair):  # test and first projection, second one; the same for i x, if complex
                square = 0.0
                for j in range(lane, m * pair, threads):
                    if turn % 2 == 0:
                        c = pair * columns[chosen, j // pair] + (j if turn == 0 else 1 - j) % pair
                        x[r, 0, j] = -Q[item, c] if turn and j % 2 == 0 else Q[item, c]
                    square += x[r, 0, j] ** 2
                gpu.syncthreads()
                size = pair * known + turn // 2
                rest = square
                for b in range(lane, size, threads):
                    dot = 0.0
                    for j in range(m * pair):
                        dot += B[r, b, j] * x[r, 0, j]
                    x[r, 1, b] = dot
                    rest -= dot * dot
                part[lane] = square
                gpu.syncthreads()
                square = 0.0
                for s in range(threads):
                    square += part[s]
                gpu.syncthreads()
                part[lane] = rest
                gpu.syncthreads()
                rest = 0.0
                for s in range(threads):
                    rest += part[s]
                if turn == 0 and not (fresh and rest > uniforms[r, t] * square):
                    fresh = False
                    break
                for j in range(lane, m * pair, threads):
                    for b in range(size):
                        x[r, 0, j] -= x[r, 1, b] * B[r, b, j]
                gpu.syncthreads()
                if turn % 2:
                    square = 0.0
                    for j in range(m * pair):
                        square += x[r, 0, j] ** 2
                    for j in range(lane, m * pair, threads):
                        B[r, size, j] = x[r, 0, j] / math.sqrt(square)
                gpu.syncthreads()
            if fresh:
                if lane == 0:
                    drawn[r, known] = item
                known += 1
            gpu.syncthreads()
        if lane == 0:
            attempts[r] = tried

    return decide_round
