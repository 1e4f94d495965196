"""Leading singular triplets, or those above a threshold: by LAPACK, or alone by `svd`, with what is left bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense, _matrix
from lowrank_la.factor._core import tails
from lowrank_la.factor._dense import adjoint, defect, gamma, norms, residual, wide
from lowrank_la.factor._norms import largest_eigenvalue_bound
from lowrank_la.factor._svd import svd

FIRST_RANK, SHARE = 16, 8  # ranks that are tried, up to this part of all
STEPS = (4, 12, 30)  # of block Krylov
MARGIN = 0.9  # of the threshold, below which a singular value shows that none is missing
LANCZOS_STEPS, FAILURE = 24, 0.01
LARGE, FEW = 400, 8  # rows and columns, and columns for each one wanted, from which `svd` is faster than LAPACK


@dataclass(frozen=True)
class Leading:
    """Leading singular vectors of a matrix, and what every matrix of their rank leaves.

    Attributes
    ----------
    W, Z : array
        Left and right vectors.
    values : array
        Singular values: all, or only the leading ones.
    tail : array of float64
        Lower bound on the distance of every matrix of this rank.
    confidence : float
        Probability of the bound.
    """

    W: Array
    values: Array
    Z: Array
    tail: np.ndarray
    confidence: float


def leading(B: Array, dtype: Any, rank: int, exact: bool, seed: int) -> Leading:
    """Decompose B, which is in float64, in another dtype; in part if that is faster and `exact` does not forbid it.

    The lower bound holds with probability 0.99 where `svd` is used, by its certificate.
    """
    xp = _arrays.namespace(B)
    short = xp.astype(B, dtype, copy=False)
    if not exact and B.ndim == 2 and min(B.shape) >= max(LARGE, FEW * rank):
        found = svd(short, rank, certificate="excess", rng=seed)
        assert found.certificate is not None
        tail = np.asarray(found.error / (1 + found.certificate.bound)) - norms(B - short)
        return Leading(found.U, found.s, found.V, tail, found.certificate.confidence)
    W, values, Zh = xp.linalg.svd(short, full_matrices=False)
    tail = tails(values)[..., min(rank, values.shape[-1])] * (1 - defect(W)) * (1 - defect(adjoint(Zh)))
    tail = tail - residual(B, wide(W) * wide(values)[..., None, :], Zh)
    return Leading(W[..., :, :rank], values, adjoint(Zh)[..., :, :rank], tail, 1.0)


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
            U, s, V = _polished(M, found.V, count)
            away = _residuals(M, U, s, V)
            if away <= tol * norms(M):
                return Triplets(U, s, V, away, 1 - FAILURE, "block Lanczos") if _no_more(M, U, s, V, threshold, seed) else None
        else:
            return None
        rank *= 2
    return None


def _polished(M: Array, V: Array, count: int) -> tuple[Array, Array, Array]:
    """Make leading triplets of the span of V more precise, by subspace iteration in float64; `svd` may have stepped in float32."""
    xp, A, X = _arrays.namespace(M), wide(M), wide(V)
    X, _ = xp.linalg.qr(adjoint(A) @ (A @ X), mode="reduced")
    Q, _ = xp.linalg.qr(A @ X, mode="reduced")
    X, s, Wh = xp.linalg.svd(adjoint(A) @ Q, full_matrices=False)
    real = _arrays.real_dtype(xp, M.dtype)
    U, s, V = (Q @ adjoint(Wh))[:, :count], s[:count], X[:, :count]
    return xp.astype(U, M.dtype, copy=False), xp.astype(s, real, copy=False), xp.astype(V, M.dtype, copy=False)


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
