"""The singular triplets above a threshold: all of them by LAPACK, or only those, with what is left bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense, _matrix
from lowrank_la.factor._dense import adjoint, gamma, norms, residual, wide
from lowrank_la.factor._norms import largest_eigenvalue_bound
from lowrank_la.factor._svd import svd

FIRST_RANK, SHARE = 16, 8  # ranks that are tried, up to this part of all
STEPS = (4, 12, 30)  # of block Krylov
MARGIN = 0.9  # of the threshold, below which a singular value shows that none is missing
LANCZOS_STEPS, FAILURE = 24, 0.01


@dataclass(frozen=True)
class Triplets:
    """U diag(s) V^H plus a part that the threshold removes; it differs from M by at most `away`."""

    U: Array
    s: Array
    V: Array
    away: np.ndarray
    confidence: float
    method: str


def everything(M: Array) -> Triplets:
    """Take the full singular value decomposition."""
    U, s, Vh = _arrays.namespace(M).linalg.svd(M, full_matrices=False)
    return Triplets(U, s, adjoint(Vh), residual(M, wide(U) * wide(s)[..., None, :], Vh), 1.0, "singular values")


def surviving(M: Array, threshold: float, tol: float, seed: int) -> Triplets | None:
    """Find the singular triplets above a threshold to a share `tol` of ||M||_F; None if that is not worth while."""
    matrix, rank = _matrix.enter("prox", "M", M), FIRST_RANK
    while rank <= min(M.shape) // SHARE:
        for steps in STEPS:
            found = svd(matrix, rank, n_iter=steps, method="krylov", certificate=False, rng=seed)
            count = int((_dense.host(found.s) > threshold).sum())
            if count == rank or float(found.s[-1]) > MARGIN * threshold:
                break
            U, s, V = found.U[:, :count], found.s[:count], found.V[:, :count]
            away = _residuals(M, U, s, V)
            if away <= tol * norms(M):
                return Triplets(U, s, V, away, 1 - FAILURE, "block Lanczos") if _no_more(M, U, s, V, threshold, seed) else None
        else:
            return None
        rank *= 2
    return None


def _residuals(M: Array, U: Array, s: Array, V: Array) -> np.ndarray:
    """Bound the Frobenius norm of what couples the triplets with the rest of M."""
    M, U, s, V = (wide(x) for x in (M, U, s, V))
    left, right = norms(M @ V - U * s), norms(adjoint(M) @ U - V * s)
    return np.sqrt(left**2 + right**2) + 2 * gamma(max(M.shape) + 4, M) * norms(M) * math.sqrt(U.shape[1])


def _no_more(M: Array, U: Array, s: Array, V: Array, threshold: float, seed: int) -> bool:
    """Say whether M without the triplets is certainly below the threshold in the spectral norm."""

    def product(X: Array) -> Array:
        E = M @ X - (U * s) @ (adjoint(V) @ X)
        return adjoint(M) @ E - (V * s) @ (adjoint(U) @ E)

    like = M[:0, 0]
    _, bound = largest_eigenvalue_bound(product, like, M.shape[1], LANCZOS_STEPS, FAILURE, seed=seed, purpose="prox")
    return math.sqrt(bound) <= threshold
