"""The gradient of an estimate by the points, with the coefficients of its controls held fixed.

The estimate is sum_l w_l (W_l - beta . (c(theta_l) - E c)), where controls depend on the points through mu, S1 and S2 alone. So its
gradient is one sum over sorted projections, and three symmetric matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sliced import _torch
from lowrank_la.sliced._controls import Controls
from lowrank_la.sliced._modes import Estimate, Sample
from lowrank_la.sliced._problem import Cloud, Problem


class Form:
    """The symmetric matrix sum_l f_l theta_l theta_l^T + scalar I + matrix."""

    def __init__(self, T: np.ndarray, f: np.ndarray, scalar: float, matrix: np.ndarray | None) -> None:
        self.T, self.f, self.scalar, self.matrix = T, f, scalar, matrix

    def __matmul__(self, vector: np.ndarray) -> np.ndarray:
        """Multiply with a vector on the host."""
        product = self.T.T @ (self.f * (self.T @ vector)) + self.scalar * vector
        return product if self.matrix is None else product + self.matrix @ vector

    def of(self, points: Array) -> Array:
        """Multiply with every point."""
        xp = _arrays.namespace(points)
        T, f = (xp.astype(_arrays.from_numpy(x, points), points.dtype) for x in (self.T, self.f))
        product = ((points @ xp.matrix_transpose(T)) * f) @ T + self.scalar * points
        return product if self.matrix is None else product + points @ xp.astype(_arrays.from_numpy(self.matrix, points), points.dtype)


def with_gradients(X: Array, Y: Array, p: float, answer: Any, slopes: Callable[[], tuple[Array, Array]]) -> Any:
    """Give both values of an answer their gradients, if X or Y ask for them; that of the root at zero is taken to be zero."""
    if not _arrays.wants_gradients(X, Y):
        return answer
    root = 1 / (p * answer.value ** (p - 1)) if answer.value > 0 else 0.0
    found = slopes()
    value = _torch.attached(answer.value, X, Y, tuple(root * slope for slope in found))
    return replace(answer, value=value, value_p=_torch.attached(answer.value_p, X, Y, found))


def gradient(problem: Problem, sample: Sample, estimate: Estimate) -> tuple[Array, Array]:
    """Return the derivatives of the estimate of SW_p^p by X and by Y."""
    travel = 2 * problem.mu / problem.d if sample.exact else np.zeros(problem.d)
    forms: Any = [None] * 3
    if estimate.controls is not None and estimate.coefficients.size:
        forms = _forms(estimate.controls, sample.T, -estimate.weights, estimate.coefficients)
        travel = travel + 2 * (forms[0] @ problem.mu)
    return by_points(problem, sample.T, estimate.weights, sample.shift, travel, forms)


def by_points(
    problem: Problem, T: np.ndarray, weights: np.ndarray, shift: np.ndarray | None = None, travel: Any = 0.0, forms: Any = (None,) * 3
) -> tuple[Array, Array]:
    """Return derivatives by X and Y of a weighted sum of costs, and of what depends on the difference of the means and the covariances."""
    from_X, from_Y, _, _ = problem.slopes(T, T @ problem.mu if shift is None else shift, weights)
    travel = travel + np.zeros(problem.d)
    sides = (problem.X, from_X, travel, forms[1]), (problem.Y, from_Y, -travel, forms[2])
    return tuple(problem.door.leave(_assembled(*side)) for side in sides)


def _assembled(cloud: Cloud, slopes: Array, travel: np.ndarray, form: Form | None) -> Array:
    """Add up what a point does to the projections, the mean and the covariance; points without weight do nothing."""
    xp = _arrays.namespace(slopes)
    moved = xp.astype(_arrays.from_numpy(travel, slopes), slopes.dtype)[None, :]
    if form is not None:
        moved = moved + 2 * form.of(cloud.points)
    weights = 1 / cloud.n if cloud.weights is None else xp.astype(cloud.weights, slopes.dtype)[:, None]
    total = slopes + weights * moved
    if cloud.kept is None:
        return total
    everywhere = xp.zeros((cloud.size, cloud.d), dtype=total.dtype, device=total.device)
    everywhere[cloud.kept, :] = total
    return everywhere


def _forms(controls: Controls, T: np.ndarray, weights: np.ndarray, coefficients: np.ndarray) -> list[Form]:
    """Differentiate by mu mu^T, S1 and S2 the sum of w_l beta . c(theta_l), and beta . E c; the weights w sum to -1."""
    k = len(controls.singles) + len(controls.pairs)
    polynomial, gaussian = coefficients[:k], float(coefficients[k:].sum())
    q = controls.forms(T)
    f = weights * (_polynomial_slopes(controls, q, polynomial) + (gaussian * controls.gaussian_slopes(q) if gaussian else 0.0))
    means = _mean_slopes(controls, polynomial)
    if gaussian:  # the inner mean is a sum over directions, with controls of its own
        inner = controls.gaussian_mean
        q = controls.forms(inner.T)
        slopes = controls.gaussian_slopes(q) - _polynomial_slopes(controls, q, inner.coefficients)
        T, f = np.concatenate([T, inner.T]), np.concatenate([f, gaussian * inner.weights * slopes], axis=1)
        means = [
            (s + gaussian * t, m + gaussian * n) for (s, m), (t, n) in zip(means, _mean_slopes(controls, inner.coefficients), strict=True)
        ]
    if not controls.pairs:
        return [Form(T, f[i], means[i][0], None) for i in range(3)]
    none = np.empty((0, controls.d)), np.empty(0)
    return [Form(*none, means[i][0], (T.T * f[i]) @ T + means[i][1]) for i in range(3)]


def _polynomial_slopes(controls: Controls, q: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the derivatives (3, L) of the polynomials' combination by q0, q1 and q2."""
    slopes = np.zeros_like(q)
    for beta, i in zip(coefficients, controls.singles, strict=False):
        slopes[i] += beta
    for beta, (i, j) in zip(coefficients[len(controls.singles) :], controls.pairs, strict=False):
        slopes[i] += beta * q[j]
        slopes[j] += beta * q[i]
    return slopes


def _mean_slopes(controls: Controls, coefficients: np.ndarray) -> list[tuple[float, np.ndarray | float]]:
    """Differentiate the mean of the polynomials' combination by mu mu^T, S1 and S2: a multiple of the identity, and a matrix."""
    d, t = controls.d, controls.traces
    scalars: list[float] = [0.0] * 3
    matrices: list[np.ndarray | float] = [0.0] * 3
    for beta, i in zip(coefficients, controls.singles, strict=False):
        scalars[i] += beta / d
    for beta, (i, j) in zip(coefficients[len(controls.singles) :], controls.pairs, strict=False):
        for one, other in ((i, j), (j, i)):
            scalars[one] += beta * t[other] / (d * (d + 2))
            matrices[one] = matrices[one] + 2 * beta / (d * (d + 2)) * controls.matrix(other)
    return list(zip(scalars, matrices, strict=True))
