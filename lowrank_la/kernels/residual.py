"""Gradient and squared norms of the residual of a least-squares problem, in one pass over A.

The answers are float64 (complex128) for every input, because they are sums over all rows.
"""

from __future__ import annotations

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel


def reference(A: Array, X: Array, B: Array, scale: Array | None) -> tuple[Array, Array]:
    """Return g = A^H D R (d, k) and the squared column norms (k,) of R = D (B - A X), with D = diag(scale)."""
    xp = _arrays.namespace(A, X, B)
    wide = xp.result_type(A.dtype, B.dtype, xp.float64)
    g = r2 = None
    for offset, rows in _arrays.row_blocks(A):
        here = slice(offset, offset + rows.shape[0])
        rows = xp.astype(rows, wide)
        R = xp.astype(B[here, :], wide) - rows @ xp.astype(X, wide)
        d = 1.0 if scale is None else xp.astype(scale[here], xp.float64)[:, None]
        R = d * R
        part, part2 = _arrays.adjoint_of(xp, rows) @ (d * R), xp.sum(xp.abs(R) ** 2, axis=0)
        g, r2 = (part, part2) if g is None else (g + part, r2 + part2)
    return g, r2


gradient = Kernel(reference)
