"""Control variates: functions of the direction that resemble the cost and whose means over the sphere are known.

All are made of the moments of the clouds on a direction theta: q0 = (theta . mu)^2 and the variances q1 = theta . S1 theta,
q2 = theta . S2 theta. Means of quadratic forms and of products of two are known in closed form. The cost of two
Gaussians with these moments has no such mean; it is averaged over many directions, which needs no sorting.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lowrank_la import _arrays
from lowrank_la.sliced import _directions
from lowrank_la.sliced._problem import Cloud, Problem
from lowrank_la.sliced._regression import regress

PAIRS = ((1, 1), (1, 2), (2, 2))
QUADRATIC, FULL = 12, 30  # directions from which quadratic forms, and all controls, are worth their coefficients
_SMALL = 128  # dimension up to which covariances always cost little
_INNER = 1 << 13  # directions for the mean of the Gaussian cost
_INNER_WORK = 1 << 24  # no more of them than this over the square of the dimension
_RULE = 64  # angles, and heights, of the rule in two and three dimensions
_NODES = 64  # of the quadrature for Gaussian costs


@dataclass(frozen=True)
class Mean:
    """A mean over the sphere, its error, and how it was found: a weighted mean over directions, less controls."""

    value: float
    error: float
    T: np.ndarray
    weights: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True)
class Controls:
    """The moments of a problem and what is made of them.

    Attributes
    ----------
    problem : Problem
    singles : tuple of int
        Quadratic forms that serve as controls: for p = 2 the means are taken care of exactly, and 0 is absent.
    pairs : tuple of pairs
        Products of two forms that serve; none where covariances would cost too much.
    seed : int
        Draws the directions of the inner average.
    """

    problem: Problem
    singles: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    seed: int

    @property
    def d(self) -> int:
        """Dimension."""
        return self.problem.d

    def forms(self, T: np.ndarray) -> np.ndarray:
        """Values (3, L) of q0, q1 and q2 on directions."""
        return np.stack([(T @ self.problem.mu) ** 2, *(self._variance(cloud, T) for cloud in (self.problem.X, self.problem.Y))])

    def _variance(self, cloud: Cloud, T: np.ndarray) -> np.ndarray:
        if self.pairs:
            return np.einsum("lk,lk->l", T @ cloud.covariance, T)
        xp = self.problem.door.xp
        rows, total = self.problem.directions(T), 0.0
        for offset, block in _arrays.row_blocks(cloud.points):
            squares = xp.astype(rows @ xp.matrix_transpose(block), xp.float64) ** 2
            if cloud.weights is None:
                total = total + xp.sum(squares, axis=1) / cloud.n
            else:
                total = total + squares @ cloud.weights[offset : offset + block.shape[0]]
        return _arrays.to_numpy(total)

    @cached_property
    def traces(self) -> np.ndarray:
        """Traces of mu mu^T, S1 and S2."""
        return np.array([self.problem.mu @ self.problem.mu, self.problem.X.trace, self.problem.Y.trace])

    def matrix(self, form: int) -> np.ndarray:
        """Return S1 or S2."""
        return (self.problem.X if form == 1 else self.problem.Y).covariance

    def polynomials(self, q: np.ndarray) -> np.ndarray:
        """Return controls with known means, less these means: (L, k)."""
        singles = [q[i] - self.traces[i] / self.d for i in self.singles]
        pairs = []
        for i, j in self.pairs:
            mean = self.traces[i] * self.traces[j] + 2 * np.sum(self.matrix(i) * self.matrix(j))
            pairs.append(q[i] * q[j] - mean / (self.d * (self.d + 2)))
        return np.stack([*singles, *pairs], axis=1)

    def gaussian(self, q: np.ndarray) -> np.ndarray:
        """Return the cost of two Gaussians with these moments (L,); for p = 2 only the part that is not a quadratic form."""
        if self.problem.p == 2:
            return np.sqrt(q[1] * q[2])
        z, w = _quadrature()
        return np.abs(np.sqrt(q[0])[:, None] + (np.sqrt(q[1]) - np.sqrt(q[2]))[:, None] * z) ** self.problem.p @ w

    def gaussian_slopes(self, q: np.ndarray) -> np.ndarray:
        """Return the derivatives (3, L) of the Gaussian cost by q0, q1 and q2."""
        roots = np.sqrt(np.maximum(q, 1e-12 * np.max(q, initial=1e-300)))
        if self.problem.p == 2:
            return np.stack([np.zeros(q.shape[1]), roots[2] / roots[1] / 2, roots[1] / roots[2] / 2])
        z, w = _quadrature()
        x = roots[0][:, None] + (roots[1] - roots[2])[:, None] * z
        slopes = self.problem.p * np.abs(x) ** (self.problem.p - 1) * np.sign(x)
        return np.stack([slopes @ w, slopes @ (w * z), -slopes @ (w * z)]) / (2 * roots)

    @cached_property
    def gaussian_mean(self) -> Mean:
        """Mean of the Gaussian cost over the sphere: by a rule in two and three dimensions, else over random directions."""
        if self.d <= 3:
            T, weights = _sphere_rule(self.d)
            coarse = float(self.gaussian(self.forms(_sphere_rule(self.d, 2)[0])) @ _sphere_rule(self.d, 2)[1])
            mean = float(self.gaussian(self.forms(T)) @ weights)
            return Mean(mean, abs(mean - coarse), T, weights, np.zeros(len(self.singles) + len(self.pairs)))
        M = max(1 << 10, min(_INNER, _INNER_WORK // self.d**2))
        T = _directions.independent(M, self.d, self.seed, "sliced: inner")
        q = self.forms(T)
        fit = regress(self.polynomials(q), self.gaussian(q))
        return Mean(fit.mean, float(fit.residual.std() / math.sqrt(M)), T, np.full(M, 1 / M), fit.coefficients)

    def values(self, T: np.ndarray) -> tuple[np.ndarray, float]:
        """Return as many controls as the directions support, less their means, (L, k), and the standard error of the last one's mean."""
        if len(T) < QUADRATIC:
            return np.empty((len(T), 0)), 0.0
        q = self.forms(T)
        if len(T) < FULL or not self.pairs:
            return self.polynomials(q)[:, : len(self.singles)], 0.0
        mean = self.gaussian_mean
        return np.column_stack([self.polynomials(q), self.gaussian(q) - mean.value]), mean.error


def choose(problem: Problem, L: int, seed: int) -> Controls:
    """Take all controls whose means cost less than the projections."""
    return Controls(problem, (1, 2) if problem.p == 2 else (0, 1, 2), PAIRS if problem.d <= max(_SMALL, L) else (), seed)


@functools.cache
def _sphere_rule(d: int, coarser: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Directions and weights of a rule for even functions on the circle or the sphere, exact to high degree."""
    count = _RULE // coarser
    angles = np.pi * (np.arange(count) + 0.5) / count
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if d == 2:
        return circle, np.full(count, 1 / count)
    z, w = np.polynomial.legendre.leggauss(count)
    T = np.concatenate([np.sqrt(1 - z[:, None, None] ** 2) * circle, np.broadcast_to(z[:, None, None], (count, count, 1))], axis=2)
    return T.reshape(-1, 3), np.repeat(w / (2 * count), count)


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for means over a standard normal variable."""
    z, w = np.polynomial.hermite_e.hermegauss(_NODES)
    return z, w / w.sum()
