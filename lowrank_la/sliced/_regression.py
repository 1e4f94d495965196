"""Regression of costs on control variates: the intercept is the estimate, and leaving out directions shows its error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

_BLOCKS = 12  # beyond the number of coefficients: from so many blocks on, blocks are the units of the error
_DEPENDENT = 1e-8  # what a control adds to others, relative to its size, that counts as nothing


@dataclass(frozen=True)
class Fit:
    """An intercept.

    Attributes
    ----------
    mean : float
        The intercept.
    weights : array (L,)
        The intercept is their product with the responses.
    coefficients : array (k,)
        Factors of the controls; zero where they add nothing to others.
    basis : array (L, r)
        Orthonormal basis of the constant and the controls.
    residual : array (L,)
    """

    mean: float
    weights: np.ndarray
    coefficients: np.ndarray
    basis: np.ndarray
    residual: np.ndarray


def regress(C: np.ndarray, W: np.ndarray) -> Fit:
    """Fit W by a constant and controls C (L, k) whose means are zero."""
    from scipy.linalg import qr, solve_triangular

    L, k = C.shape
    middle = C.mean(axis=0)
    centred = C - middle
    size = np.linalg.norm(centred, axis=0)
    kept = np.flatnonzero(size > _DEPENDENT * np.linalg.norm(C, axis=0))
    weights, coefficients, basis = np.full(L, 1 / L), np.zeros(k), np.full((L, 1), L**-0.5)
    if kept.size:
        Q, R, order = cast(Any, qr(centred[:, kept] / size[kept], mode="economic", pivoting=True))
        rank = int(np.sum(np.abs(np.diag(R)) > _DEPENDENT))
        kept, Q, R = kept[order[:rank]], Q[:, :rank], R[:rank, :rank]
        coefficients[kept] = solve_triangular(R, Q.T @ (W - W.mean())) / size[kept]
        weights = weights - Q @ solve_triangular(R, middle[kept] / size[kept], trans=1)
        basis = np.column_stack([basis, Q])
    mean = float(W.mean() - middle @ coefficients)
    return Fit(mean, weights, coefficients, basis, W - W.mean() - centred @ coefficients)


def half_width(error: float, freedom: float, skewness: float, level: float) -> float:
    """Half width of a symmetric interval for a mean: Student's quantile, and what skewness takes from its coverage by Hall's expansion."""
    from scipy.special import ndtri, stdtrit

    if not math.isfinite(error):
        return math.inf
    z = float(ndtri((1 + level) / 2))
    return error * (float(stdtrit(freedom, (1 + level) / 2)) + z * max(0.0, z**4 + 2 * z**2 - 3) / 18 * skewness**2)


def skewness_of(parts: np.ndarray) -> float:
    """Skewness of a sum of independent parts that are centred."""
    variance = float(np.sum(parts**2))
    return float(np.sum(parts**3)) / variance**1.5 if variance > 0 else 0.0


def error_of(fit: Fit, block: int, d: int, degree: int = 2) -> tuple[float, float, float]:
    """Return the standard error of the mean, its degrees of freedom and its skewness; inf where there are too few directions to tell.

    Directions come alone (block = 1) or in blocks of so many orthonormal ones. Many blocks are units that are left out
    one by one. Within few of them directions count as independent, times a factor: the values of an even function at a right angle
    are correlated by at most P(0), for P the Gegenbauer polynomial, 1 at 1, of the next degree divisible by 4 that is left
    when all harmonics up to `degree` are taken out.
    """
    L, k = fit.basis.shape
    units = L // block
    if block > 1 and units >= _BLOCKS + k:
        moved = _left_out(fit, block)
        return float(np.linalg.norm(moved)), units - 1.0, skewness_of(moved)
    if k + 1 >= L:
        return math.inf, 1.0, 0.0
    alike = 1 + (block - 1) * _at_right_angle(d, degree // 4 * 4 + 4) if block > 1 else 1.0
    moved = _left_out(fit, 1)
    return math.sqrt(alike) * float(np.linalg.norm(moved)), float(L - k), skewness_of(moved)


def _at_right_angle(d: int, degree: int) -> float:
    """Gegenbauer polynomial of a degree divisible by 4, 1 at 1, at 0."""
    return math.prod((2 * j + 1) / (d - 1 + 2 * j) for j in range(degree // 2))


def _left_out(fit: Fit, block: int) -> np.ndarray:
    """Return what the mean moves when each unit is left out, the jackknife known as HC3."""
    units = len(fit.weights) // block
    Q, w, r = (x.reshape(units, block, -1) for x in (fit.basis, fit.weights, fit.residual))
    left = np.eye(block) - Q @ Q.transpose(0, 2, 1)
    if block == 1:
        predicted = r / np.maximum(left, 1e-12)
    else:
        predicted = np.linalg.solve(left + 1e-12 * np.eye(block), r)
    return np.sum(w * predicted, axis=(1, 2))
