"""Sums over particles of products of functions of their coordinates: sum_n q_n a(x_n) o b(y_n) o c(z_n).

As a matrix product the sum needs all products of two of the factors in memory, and is bound by that. Here a panel of them is formed
in the first-level cache and meets the third factor in registers. In other than three dimensions, and on a GPU, the reference runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _tile
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel

ROWS, WIDTH = _tile.ROWS, _tile.VECTORS * _tile.lanes_of(np.float64)
CHUNK = 256  # particles of a panel
PANEL_ENTRIES = 1 << 19  # of the reference

_add = _tile.outer()


def reference(charges: Array, columns: Sequence[Array]) -> Array:
    """Return the sum, (r_1, ..., r_d), for charges (N,) and values (N, r_k) of the functions of each coordinate."""
    xp = _arrays.namespace(charges, *columns)
    shape = [B.shape[1] for B in columns]
    height = max(16, PANEL_ENTRIES // max(1, math.prod(shape[1:])))
    first, total = columns[0] * charges[:, None], xp.zeros((shape[0], math.prod(shape[1:])), dtype=charges.dtype, device=charges.device)
    for start in range(0, charges.shape[0], height):
        here = slice(start, min(start + height, charges.shape[0]))
        others = xp.ones((here.stop - start, 1), dtype=charges.dtype, device=charges.device)
        for B in columns[1:]:
            others = xp.reshape(others[:, :, None] * B[here, :][:, None, :], (others.shape[0], -1))
        total += xp.matrix_transpose(first[here, :]) @ others
    return xp.reshape(total, tuple(shape))


def cpu(charges: np.ndarray, columns: Sequence[np.ndarray]) -> np.ndarray:
    """Run the tiles for three coordinates; a sum runs over the particles in their order."""
    if len(columns) != 3 or any(B.dtype != np.float64 for B in (charges, *columns)):
        return reference(charges, columns)
    A, B, C = columns
    A, C = _padded(A * charges[:, None], ROWS), _padded(C, WIDTH)
    out = np.zeros((B.shape[1], A.shape[1], C.shape[1]))
    _sums(A, np.ascontiguousarray(B), C, out)
    return np.ascontiguousarray(out.transpose(1, 0, 2)[: columns[0].shape[1], :, : columns[2].shape[1]])


def _padded(X: np.ndarray, step: int) -> np.ndarray:
    return np.pad(X, [(0, 0), (0, -X.shape[1] % step)])


@njit(parallel=True, cache=True)
def _sums(A, B, C, out):  # type: ignore[no-untyped-def]
    n, rows, columns = A.shape[0], A.shape[1], C.shape[1]
    for j in prange(B.shape[1]):
        panel = aligned(CHUNK, WIDTH, A)
        for first in range(0, n, CHUNK):
            count = min(CHUNK, n - first)
            for c in range(0, columns, WIDTH):
                for k in range(count):
                    b = B[first + k, j]
                    for v in range(WIDTH):
                        panel[k, v] = b * C[first + k, c + v]
                for i in range(0, rows, ROWS):
                    _add(count, A, first * rows + i, 1, rows, panel, 0, WIDTH, out, (j * rows + i) * columns + c, columns)


sums = Kernel(reference, cpu)
