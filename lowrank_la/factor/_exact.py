"""Direct methods for dense matrices: LAPACK's SVD, and the eigenvectors of the Gram matrix."""

from __future__ import annotations

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.factor._matrix import Matrix


def lapack(A: Array) -> tuple[Array, Array, Array]:
    """Return U, s, V of a matrix or a batch of them."""
    U, s, Vh = _arrays.namespace(A).linalg.svd(A, full_matrices=False)
    return U, s, adjoint(Vh)


def gram_basis(matrix: Matrix, width: int) -> tuple[Array, float]:
    """Leading eigenvectors of A^H A, in double precision, and the smallest singular value among them over the largest.

    The eigenvectors tell singular values apart down to the root of the roundoff unit.
    """
    xp = matrix.xp
    H = _gram(matrix)
    values, V = xp.linalg.eigh(H)
    ratio = float(values[-width] / values[-1]) if float(values[-1]) > 0 else 0.0
    return xp.flip(V[:, -width:], axis=1), max(ratio, 0.0) ** 0.5


def _gram(matrix: Matrix) -> Array:
    if not matrix.dense:
        return wide(matrix.gram_times(matrix.xp.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.like.device)))
    H = None
    for _, block in _arrays.row_blocks(matrix.entries):
        block = wide(block)
        term = adjoint(block) @ block
        H = term if H is None else H + term
    return H
