"""How far a factorization can be trusted: bounds on its error and on its distance from the best one of its rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.factor import _probes
from lowrank_la.factor._dense import U as ROUNDOFF
from lowrank_la.factor._dense import adjoint, gamma, host, wide
from lowrank_la.factor._matrix import Matrix
from lowrank_la.factor._norms import largest_eigenvalue_bound

ERROR = "||A - U diag(s) V^H||_F <= bound"
SPECTRAL = "||A - U diag(s) V^H||_2 <= bound"
EXCESS = "||A - U diag(s) V^H||_F <= (1 + bound) * the error of the best approximation of rank k"
VALUES = "max_i |s_i - s_i(A)| <= bound"
FAILURE = 0.01  # chance that a bound from random probes does not hold
PROBES = 10
LANCZOS_STEPS = 12
ROUNDED = 4  # roundoff units for U, s and V as they leave
SOME = 0.05  # of a squared norm, what rounding errors may add if that saves a pass
LITTLE = 0.01  # of a bound, what rounding errors may add before the residual is formed


@dataclass(frozen=True)
class Factors:
    """U, s and V in double precision, as they are before they are rounded to the dtype of the input."""

    U: Array
    s: Array
    V: Array

    def first(self, k: int) -> Factors:
        """Keep k triplets."""
        return Factors(self.U[:, :k], self.s[:k], self.V[:, :k])


@dataclass(frozen=True)
class Verdict:
    """What is known about an answer; residuals and angles come with the certificates that need them."""

    error: float
    certificate: Certificate | None
    residuals: np.ndarray | None = None
    angles: np.ndarray | None = None


def certify(matrix: Matrix, factors: Factors, kind: str | bool, projected: bool, seed: int) -> Verdict:
    """Find the error in the Frobenius norm, and the certificate that was asked for.

    `projected` says that U diag(s) is A V, so that squared norms subtract.
    """
    if kind is False:
        return Verdict(_plain_error(matrix, factors), None)
    error, certificate = frobenius(matrix, factors, projected, seed)
    if kind == "error":
        return Verdict(error, certificate)
    beyond = spectral(matrix, factors, projected, seed)
    if kind == "spectral":
        return Verdict(error, beyond)
    limits = Limits(matrix, factors, beyond.bound)
    answer = limits.excess(certificate, beyond) if kind == "excess" else limits.values(beyond)
    return Verdict(error, answer, limits.residuals, limits.angles)


def _plain_error(matrix: Matrix, factors: Factors) -> float:
    """Error by the difference of squares, which rounding leaves imprecise where it is small."""
    if matrix.squared_norm is None:
        return math.nan
    return math.sqrt(max(matrix.squared_norm - float(np.sum(host(factors.s) ** 2)), 0.0))


def frobenius(matrix: Matrix, factors: Factors, projected: bool, seed: int) -> tuple[float, Certificate]:
    """Bound the error in the Frobenius norm in the cheapest way that is sharp."""
    if matrix.squared_norm is None:
        return probed_error(matrix, factors, seed)
    error, bound = projection_error(matrix, factors) if projected else (0.0, math.inf)
    if bound <= (1 + LITTLE) * error or (projected and not matrix.dense):
        return error, Certificate(ERROR, bound, 1.0, "projection")
    error, bound = residual_error(matrix, factors)
    return error, Certificate(ERROR, bound, 1.0, "residual")


def projection_error(matrix: Matrix, factors: Factors) -> tuple[float, float]:
    """||A||_F^2 - ||s||^2, exact for orthonormal V and U diag(s) = A V, and a bound with all rounding errors."""
    s = host(factors.s)
    energy = max(matrix.squared_norm - float(s @ s), 0.0)  # type: ignore[operator]
    rounding = (ROUNDED * matrix.roundoff + 4 * s.size * ROUNDOFF) * float(np.linalg.norm(s))
    return math.sqrt(energy), math.sqrt(energy + _lost(matrix, s.size)) + rounding


def _lost(matrix: Matrix, k: int) -> float:
    """Bound the rounding errors of ||A||_F^2 - ||A V||_F^2 for V with k columns."""
    return 4 * (min(matrix.shape) + k * k + 10) * math.sqrt(k + 1) * ROUNDOFF * matrix.squared_scale  # type: ignore[operator]


def residual_error(matrix: Matrix, factors: Factors) -> tuple[float, float]:
    """Form A - U diag(s) V^H block by block, in double precision; return its norm and a bound with the rounding errors."""
    Us, Vh = factors.U * factors.s, adjoint(factors.V)
    energy = 0.0
    for offset, block in matrix.blocks():
        dense = wide(block.toarray() if _arrays.is_sparse(block) else block)
        energy += kernels.energy.squared_norm(dense - Us[offset : offset + block.shape[0], :] @ Vh)
    s = host(factors.s)
    rounding = gamma(s.size + 4, Us) * (float(s.sum()) + math.sqrt(matrix.squared_scale))  # type: ignore[arg-type]
    rounding += ROUNDED * matrix.roundoff * float(np.linalg.norm(s))
    return math.sqrt(energy), math.sqrt(energy) * (1 + 1e-10) + rounding


def probed_error(matrix: Matrix, factors: Factors, seed: int) -> tuple[float, Certificate]:
    """Estimate the error of an operator by Gaussian probes; the bound allows for an error of rank one, which hides best."""
    G = _probes.gaussian(matrix.like, matrix.shape[1], PROBES, seed, "error probes")
    energy = kernels.energy.squared_norm(deflated(matrix, factors, G)) / PROBES
    rounding = 10 * math.sqrt(max(matrix.shape)) * matrix.roundoff * float(factors.s[0])
    bound = math.sqrt(energy / least_share(matrix)) + rounding
    return math.sqrt(energy), Certificate(ERROR, bound, 1 - FAILURE, f"{PROBES} Gaussian probes")


def least_share(matrix: Matrix) -> float:
    """Quantile of the mean of so many squared normals: the share of an error of rank one that probes see at least."""
    from scipy.special import gammaincinv

    shape = PROBES / 2 * (2 if matrix.xp.isdtype(matrix.dtype, "complex floating") else 1)
    return float(gammaincinv(shape, FAILURE)) / shape


def deflated(matrix: Matrix, factors: Factors, X: Array) -> Array:
    """Return (A - U diag(s) V^H) X."""
    return matrix.times(X) - _low_rank(matrix, factors.U, factors.s, factors.V, X)


def deflated_adjoint(matrix: Matrix, factors: Factors, Y: Array) -> Array:
    """Return (A - U diag(s) V^H)^H Y."""
    return matrix.adjoint_times(Y) - _low_rank(matrix, factors.V, factors.s, factors.U, Y)


def _low_rank(matrix: Matrix, U: Array, s: Array, V: Array, X: Array) -> Array:
    """U diag(s) V^H X, in the precision of A."""
    U, s, V = (matrix.xp.astype(x, t, copy=False) for x, t in ((U, matrix.dtype), (s, matrix.door.real_dtype), (V, matrix.dtype)))
    return (U * s) @ (adjoint(V) @ X)


def spectral(matrix: Matrix, factors: Factors, projected: bool, seed: int) -> Certificate:
    """Bound the spectral norm of the error by block Lanczos from a random start.

    Where U diag(s) is A V, the error times its adjoint is (I - V V^H) A^H A (I - V V^H), which one pass multiplies with. Its
    rounding errors are those of A^H A, so that errors far below A are multiplied in two passes.
    """
    size, noise = float(factors.s[0]), 10 * math.sqrt(max(matrix.shape)) * matrix.roundoff
    once = projected and noise * size**2 <= SOME * _least_square(matrix, factors)
    V = matrix.xp.astype(factors.V, matrix.dtype, copy=False)

    def outside(X: Array) -> Array:
        return X - V @ (adjoint(V) @ X)

    def product(X: Array) -> Array:
        if once:
            return outside(matrix.gram_times(outside(X)))
        return deflated_adjoint(matrix, factors, deflated(matrix, factors, X))

    _, bound = largest_eigenvalue_bound(product, matrix.like, matrix.shape[1], LANCZOS_STEPS, FAILURE, seed=seed, purpose="spectral error")
    bound = math.sqrt(bound + noise * size**2) if once else math.sqrt(bound) + noise * size
    return Certificate(SPECTRAL, bound, 1 - FAILURE, "block Lanczos")


def _least_square(matrix: Matrix, factors: Factors) -> float:
    """Square of what the spectral norm of the error is at least: the mean of what its squared singular values can be."""
    if matrix.squared_norm is None:
        return 0.0
    s = host(factors.s)
    return max(matrix.squared_norm - float(s @ s) - _lost(matrix, s.size), 0.0) / max(min(matrix.shape) - s.size, 1)


class Limits:
    """What A can still hide, given a bound C on the spectral norm of what V leaves.

    For H = A^H A, orthonormal V, T = V^H H V and R = H V - V T = P W, no eigenvalue of H exceeds that
    of [[T, W^H], [W, C^2 I]] with the same number, which is C^2 beyond its order.
    """

    def __init__(self, matrix: Matrix, factors: Factors, C: float) -> None:
        V, s = factors.V, factors.s
        R = matrix.wide_adjoint_times(factors.U * s) - V * s**2
        W = _arrays.to_numpy(_arrays.triangular_factor(R))
        self.matrix, self.s, self.tilts = matrix, host(s), np.linalg.norm(W, axis=0)
        block = np.block([[np.diag(self.s**2), W.conj().T], [W, C**2 * np.eye(W.shape[0])]])
        values = np.r_[np.linalg.eigvalsh(block), np.full(self.s.size + 1, C**2)]
        self.largest = np.maximum(np.sort(values)[::-1][: self.s.size + 1], 0.0)

    @property
    def residuals(self) -> np.ndarray:
        """||A^H u_i - s_i v_i||."""
        return self.tilts / np.where(self.s > 0, self.s, 1.0)

    @property
    def angles(self) -> np.ndarray:
        """Sine of the largest angle between the first j columns of V and what they approximate, by Davis and Kahan."""
        gaps = self.s**2 - self.largest[1:]
        together = np.sqrt(np.cumsum(self.tilts**2))
        return np.where(gaps > together, together / np.where(gaps > 0, gaps, 1.0), 1.0)

    def excess(self, error: Certificate, beyond: Certificate) -> Certificate:
        """Bound the error over the least possible one."""
        k = self.s.size
        best = self.matrix.squared_norm - float(self.largest[:k].sum()) - _lost(self.matrix, k)  # type: ignore[operator]
        ratio = error.bound / math.sqrt(best) - 1 if best > 0 else math.inf
        return Certificate(EXCESS, ratio, beyond.confidence + error.confidence - 1, "Ritz values and block Lanczos")

    def values(self, beyond: Certificate) -> Certificate:
        """Bound the errors of all singular values, none of which is overestimated but for rounding."""
        gap = float(np.max(np.sqrt(self.largest[:-1]) - self.s))
        rounding = math.sqrt(max(self.matrix.shape)) * 10 * self.matrix.roundoff * float(self.s[0])
        return Certificate(VALUES, max(gap, 0.0) + rounding, beyond.confidence, "Ritz values and block Lanczos")
