"""`eliminate` for a kernel of points: its values become columns of the factor in the first-level cache, and are never in memory.

Saves a fifth of the time of a Nystrom approximation in double precision, more in single. On a GPU the reference runs.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _threads
from lowrank_la._arrays import Array
from lowrank_la.kernels import _kernel_tiles, _rows, eliminate, kernel_entries
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels._kernel_tiles import CHUNK, ROWS
from lowrank_la.kernels.eliminate import HEIGHT


def reference(F: Array, first: int, X: Array, Z: Array, family: str, numbers: tuple[float, ...], pivots: Array, L: Array) -> Array:
    """Do what `eliminate` does for G = k(X, Z), Z being the points at the pivots."""
    return eliminate.reference(F, first, kernel_entries.reference(X, Z, family, numbers), pivots, L)


def cpu(
    F: np.ndarray, first: int, X: np.ndarray, Z: np.ndarray, family: str, numbers: tuple[float, ...], pivots: np.ndarray, L: np.ndarray
) -> np.ndarray:
    """Run the tiles; the same bits for any number of threads."""
    if not _rows.is_plain(F, X, Z) or not F.dtype == X.dtype == Z.dtype or not F.flags.c_contiguous or X.shape[1] == 0:
        return eliminate.cpu(F, first, kernel_entries.cpu(X, Z, family, numbers), pivots, L)
    left, inverses = eliminate.packed(F[pivots, :first] if first else np.zeros((L.shape[0], 0)), L, F.dtype)
    lengths = np.empty(F.shape[0])
    with _threads.kernels_for(2.0 * F.shape[0] * L.shape[0] * (first + L.shape[0] + X.shape[1] + _kernel_tiles.PROFILE_FLOPS)):
        plan, rows, columns = _kernel_tiles.prepare(X, Z, family, numbers)
        _columns(F, first, L.shape[0], plan, *rows, _kernel_tiles.panels(columns), columns.norms, left, inverses, lengths)
    return lengths


@njit(parallel=True, cache=True)
def _columns(F, first, count, plan, rows, norms_rows, points, norms, left, inverses, lengths):  # type: ignore[no-untyped-def]
    """Fill the new columns tile by tile."""
    n, (panels, depth, width) = F.shape[0], left.shape
    for tile in prange((n + HEIGHT - 1) // HEIGHT):
        block, c, edge = aligned(ROWS, width, F), aligned(ROWS, CHUNK, F), np.zeros((ROWS, depth), F.dtype)
        for row in range(tile * HEIGHT, min(n, tile * HEIGHT + HEIGHT), ROWS):
            for p in range(panels):
                _kernel_tiles.fill(plan, rows, row, norms_rows, points, p * width, width, norms, c, block, 0, width)
                eliminate.panel(F, row, first, count, p, left, inverses, block, edge)
            eliminate.measure(F, row, first, count, lengths)


apply = Kernel(reference, cpu)
