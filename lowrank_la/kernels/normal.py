"""Product with the normal matrix A^H D^2 A, in one pass over A.

The answer is float64 (complex128) for every input, because it is a sum over all rows.
"""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import residual
from lowrank_la.kernels._engine import Kernel


def reference(A: Array, V: Array, scale: Array | None) -> Array:
    """Return A^H D^2 A V (d, k), with D = diag(scale)."""
    xp = _arrays.namespace(A, V)
    wide = xp.result_type(A.dtype, V.dtype, xp.float64)
    product = None
    for offset, rows in _arrays.row_blocks(A):
        rows = xp.astype(rows, wide)
        W = rows @ xp.astype(V, wide)
        if scale is not None:
            W = xp.astype(scale[offset : offset + rows.shape[0]], xp.float64)[:, None] ** 2 * W
        part = _arrays.adjoint_of(xp, rows) @ W
        product = part if product is None else product + part
    return product


def cpu(A: np.ndarray, V: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """Run the gradient's tiles: A^H D^2 A V is minus the gradient at V for zero right-hand sides."""
    zero = np.broadcast_to(np.zeros((), dtype=A.dtype), (A.shape[0], V.shape[1]))
    return -residual.cpu(A, V, zero, scale)[0]


product = Kernel(reference, cpu)
