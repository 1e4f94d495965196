"""What a factorization answers."""

from __future__ import annotations

from dataclasses import dataclass

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result


@dataclass(frozen=True, repr=False)
class SVDResult(Result):
    """A ~ U diag(s) V^H with orthonormal columns, and how far it can be trusted.

    Attributes
    ----------
    U : array (n, k)
        Left singular vectors; the largest entry of each is positive.
    s : array (k,), real
        Singular values, descending.
    V : array (d, k)
        Right singular vectors.
    error : float
        ||A - U diag(s) V^H||_F, or an estimate where the certificate says so.
    residuals : array (k,), real, or None
        ||A^H u_i - s_i v_i||_2: a singular value of A lies within this distance of s_i.
    passes : int
        How often A was read.
    n_iter : int
        Power or Krylov steps; 0 for direct methods.
    method : str
        The method that ran.
    converged : bool
        Whether the tolerance was reached; True if none was given.
    certificate : Certificate or None
        Bounds the error; None if it was not wanted.
    """

    U: Array
    s: Array
    V: Array
    error: float
    residuals: Array | None
    passes: int
    n_iter: int
    method: str
    converged: bool
    certificate: Certificate | None

    @property
    def rank(self) -> int:
        """Number of singular triplets."""
        return self.s.shape[-1]

    def to_dense(self) -> Array:
        """Form U diag(s) V^H."""
        return (self.U * self.s) @ _arrays.adjoint_of(_arrays.namespace(self.V), self.V)
