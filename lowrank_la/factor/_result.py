"""What a factorization answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
    error : float, or array (b,) for a batch
        ||A - U diag(s) V^H||_F; an estimate for linear operators.
    residuals : NumPy array (k,) or None
        The larger of ||A v_i - s_i u_i||_2 and ||A^H u_i - s_i v_i||_2: a singular value of A lies
        within this distance of s_i. With the certificates "excess" and "values" only, as angles.
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
    angles : NumPy array (k,) or None
        angles[j - 1] bounds the sine of the largest angle between the span of the first j
        columns of V (of U if n < d) and that of the exact singular vectors, with the
        confidence of the certificate; 1 where singular values are too close to tell.
    mean : array (d,) or None
        Means of the columns, if A was centred: U diag(s) V^H approximates A - mean.

    Notes
    -----
    For a batch of b matrices every array has a leading axis of length b, and the
    certificate holds for each of them.
    """

    U: Array
    s: Array
    V: Array
    error: Any
    residuals: np.ndarray | None
    passes: int
    n_iter: int
    method: str
    converged: bool
    certificate: Certificate | None
    angles: np.ndarray | None = None
    mean: Array | None = None

    @property
    def rank(self) -> int:
        """Number of singular triplets."""
        return self.s.shape[-1]

    def to_dense(self) -> Array:
        """Form U diag(s) V^H."""
        return (self.U * self.s[..., None, :]) @ _arrays.adjoint_of(_arrays.namespace(self.V), self.V)
