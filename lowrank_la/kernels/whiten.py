"""Gram matrix of the whitened columns Q = D A R^-1 and their products with right-hand sides, in one pass over A.

The answers are float64 (complex128) for every input, because they are sums over all rows.
"""

from __future__ import annotations

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel


def reference(A: Array, R_inv: Array, B: Array, scale: Array | None, fast: bool) -> tuple[Array, Array]:
    """Return G = Q^H Q (d, d) and C = Q^H D B (d, k) for Q = D A R_inv, D = diag(scale), R_inv upper triangular.

    `fast` allows G (never Q or C) the precision of float32; the reference ignores it.
    """
    xp = _arrays.namespace(A, R_inv, B)
    wide = xp.result_type(A.dtype, B.dtype, xp.float64)
    G = C = None
    for offset, rows in _arrays.row_blocks(A):
        here = slice(offset, offset + rows.shape[0])
        Q = xp.astype(rows, wide) @ xp.astype(R_inv, wide)
        DB = xp.astype(B[here, :], wide)
        if scale is not None:
            d = xp.astype(scale[here], xp.float64)[:, None]
            Q, DB = d * Q, d * DB
        Qh = _arrays.adjoint_of(xp, Q)
        G = Qh @ Q if G is None else G + Qh @ Q
        C = Qh @ DB if C is None else C + Qh @ DB
    return G, C


gram = Kernel(reference)
