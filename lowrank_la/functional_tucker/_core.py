"""The core of a Tucker model: a Gaussian posterior, dense for small cores and with independent entries for large ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lowrank_la import _arrays
from lowrank_la.functional_tucker import _moments
from lowrank_la.solvers._block import conjugate_gradients

TOL = 1e-8  # relative residual of the mean of a large core
MAX_ITER = 200


@dataclass(frozen=True)
class Core:
    """Posterior of vec(W): its mean as a tensor, and its covariance (P, P) or variances (P,).

    It is the prior, under which entries are independent with one variance, conditioned on an observation
    exp(shift^T w - w^T precision w / 2), whose precision is packed as in `_moments`.
    """

    mean: np.ndarray
    cov: np.ndarray
    precision: np.ndarray
    shift: np.ndarray
    variance: float = 1.0

    @cached_property
    def moments(self) -> np.ndarray:
        """E vec(W) vec(W)^T, packed."""
        return _moments.core_moments(self.mean, self.cov)

    @property
    def energy(self) -> float:
        """E ||W||^2."""
        return float(np.sum(self.mean**2) + np.sum(self.cov if self.cov.ndim == 1 else np.diagonal(self.cov)))

    @property
    def divergence(self) -> float:
        """Kullback-Leibler divergence from the prior."""
        P = self.mean.size
        logdet = float(np.sum(np.log(self.cov))) if self.cov.ndim == 1 else float(np.linalg.slogdet(self.cov)[1])
        return 0.5 * (self.energy / self.variance - P + P * math.log(self.variance) - logdet)

    def expectation(self, precision: np.ndarray, shift: np.ndarray) -> float:
        """Return E(shift^T w - w^T precision w / 2) for a packed precision."""
        return float(np.sum(shift * self.mean) - 0.5 * np.sum(precision * self.moments))


def start(mean: np.ndarray, *, full: bool) -> Core:
    """Return a core that is known exactly, before any data."""
    P, packed = mean.size, [R * (R + 1) // 2 for R in mean.shape]
    return Core(mean, np.zeros((P, P) if full else P), np.zeros(packed), np.zeros(mean.shape))


def posterior(precision: np.ndarray, shift: np.ndarray, before: Core) -> Core:
    """Return the core that an observation makes of the prior, in the form of the core before.

    Entries that are independent have the variances that are best for that form, and the mean of the dense one, by conjugate
    gradients from the mean before: each step raises the evidence bound.
    """
    variance = before.variance
    if before.cov.ndim == 1:
        spread = 1.0 / (1.0 / variance + _moments.diagonal(precision, shift.shape))
        return Core(_mean(precision, shift, variance, before.mean, spread), spread.ravel(), precision, shift, variance)
    Lambda = _moments.unfold(precision[None], shift.shape)[0]
    Lambda[np.diag_indices_from(Lambda)] += 1.0 / variance
    R = np.linalg.cholesky(Lambda).T
    R_inv = _arrays.solve_triangular(R, np.eye(R.shape[0]))
    mean = R_inv @ (R_inv.T @ shift.ravel())
    return Core(mean.reshape(shift.shape), R_inv @ R_inv.T, precision, shift, variance)


def _mean(precision: np.ndarray, shift: np.ndarray, variance: float, guess: np.ndarray, spread: np.ndarray) -> np.ndarray:
    ranks = shift.shape

    def apply(V: np.ndarray) -> np.ndarray:
        X = V.reshape(ranks[0], -1, V.shape[1])
        out = X / variance
        for i, j, block in _moments.blocks(precision, ranks):
            out[i] += block @ X[j]
            if i != j:
                out[j] += block @ X[i]
        return out.reshape(V.shape)

    w = guess.reshape(-1, 1)
    residual = shift.reshape(-1, 1) - apply(w)
    goal = np.array([TOL * float(np.linalg.norm(shift))])
    step = conjugate_gradients(apply, residual, goal, precondition=lambda R: spread.reshape(-1, 1) * R, max_iter=MAX_ITER)
    return (w + step.X).reshape(ranks)
