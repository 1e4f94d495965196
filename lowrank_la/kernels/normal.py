"""Product with the normal matrix A^H D^2 A, in one pass over A.

The answer is float64 (complex128) for every input, because it is a sum over all rows.
"""

from __future__ import annotations

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
        rows = xp.astype(rows, wide, copy=False)
        W = rows @ xp.astype(V, wide, copy=False)
        if scale is not None:
            W = xp.astype(scale[offset : offset + rows.shape[0]], xp.float64, copy=False)[:, None] ** 2 * W
        part = _arrays.adjoint_of(xp, rows) @ W
        product = part if product is None else product + part
    return product


def one_pass(A: Array, V: Array, scale: Array | None) -> Array:
    """Run the loops of the gradient: A^H D^2 A V is minus the gradient at V for zero right-hand sides."""
    xp = _arrays.namespace(A)
    zero = xp.broadcast_to(xp.zeros((), dtype=A.dtype), (A.shape[0], V.shape[1]))
    return -residual.gradient(A, V, zero, scale)[0]


product = Kernel(reference, cpu=one_pass, cuda=one_pass)
