"""One estimator for each `variance_reduction`: its directions, its controls, and how its error is found."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la.sliced import _controls, _directions, _harmonics
from lowrank_la.sliced._controls import Controls
from lowrank_la.sliced._problem import Problem
from lowrank_la.sliced._regression import error_of, regress, skewness_of

MODES = ("auto", "none", "lower", "upper", "spherical", "orthogonal", "qmc")
_SPARING = 3  # directions for each spherical harmonic beside the moments
_AS_PUBLISHED = ("none", "lower", "upper")  # on independent directions, means of the clouds and all


@dataclass(frozen=True)
class Sample:
    """Costs on directions.

    Attributes
    ----------
    T : array (L, d)
        Directions.
    block : int
        How many in a row depend on each other: orthonormal ones, or a low-discrepancy set.
    shift : array (L,)
        What the projected means differ by; zero where that part of the cost is known exactly.
    costs : array (L,)
    exact : float
        Part of the mean of W_p^p that is known exactly.
    """

    T: np.ndarray
    block: int
    shift: np.ndarray
    costs: np.ndarray
    exact: float


@dataclass(frozen=True)
class Estimate:
    """Mean of W_p^p over the sphere.

    Attributes
    ----------
    mean, error, freedom, skewness : float
        Estimate, standard error (inf if there are too few directions to tell), its degrees of freedom, and the skewness of the mean.
    weights : array (L,)
        Factors of the costs in the mean, as far as they do not depend on the points.
    coefficients : array (k,)
        Factors of the controls.
    controls : Controls or None
        None where controls do not depend on the points.
    gain : float
        Variance of as many independent directions over that of this estimate.
    """

    mean: float
    error: float
    freedom: float
    skewness: float
    weights: np.ndarray
    coefficients: np.ndarray
    controls: Controls | None
    gain: float


def block_of(mode: str, L: int, d: int) -> int:
    """Directions that are drawn together: of an orthonormal basis, or of a low-discrepancy set."""
    if mode in ("auto", "orthogonal"):
        return min(L, d)
    return -(-L // _directions.TURNS) if mode == "qmc" else 1


def draw(problem: Problem, mode: str, L: int, block: int, seed: int, first: int = 0) -> Sample:
    """Draw at least L directions in whole blocks, numbers `first` on of a stream, and find the costs."""
    T = _drawn(mode, L, problem.d, block, seed, first)
    splits = problem.p == 2 and mode not in _AS_PUBLISHED
    shift = np.zeros(len(T)) if splits else T @ problem.mu
    exact = float(problem.mu @ problem.mu) / problem.d if splits else 0.0
    return Sample(T, block, shift, problem.costs(T, shift), exact)


def _drawn(mode: str, L: int, d: int, block: int, seed: int, first: int) -> np.ndarray:
    purpose = "sliced: directions"
    if d == 1:
        return np.ones((1, 1))
    if mode in ("auto", "orthogonal"):
        return _directions.orthonormal(L, d, block, seed, purpose, first)
    if mode == "qmc":
        return _directions.low_discrepancy(L, d, block, seed, purpose, first)
    return _directions.independent(L, d, seed, purpose, first)


def joined(one: Sample, two: Sample) -> Sample:
    """Put two samples together."""
    T, shift, costs = (np.concatenate(pair) for pair in ((one.T, two.T), (one.shift, two.shift), (one.costs, two.costs)))
    return Sample(T, one.block, shift, costs, one.exact)


def estimate(problem: Problem, mode: str, sample: Sample, seed: int) -> Estimate:
    """Turn costs into an estimate of their mean."""
    if problem.d == 1:
        found = Estimate(float(sample.costs[0]), 0.0, 1.0, 0.0, np.ones(1), np.empty(0), None, math.inf)
    elif mode in ("lower", "upper"):
        found = _as_published(problem, mode, sample, seed)
    elif mode == "qmc":
        found = _between_turns(sample)
    elif mode == "spherical":
        found = _on_harmonics(problem, sample, seed)
    else:
        found = _on_moments(problem, sample, seed if mode == "auto" else None)
    raw = sample.costs + ((sample.T @ problem.mu) ** 2 if sample.exact else 0.0)
    plain = float(raw.var(ddof=1)) / len(raw) if len(raw) > 1 else math.inf
    gain = plain / found.error**2 if found.error > 0 else math.inf
    return replace(found, mean=found.mean + sample.exact, gain=gain)


def _on_moments(problem: Problem, sample: Sample, seed: int | None) -> Estimate:
    """Regress on functions of the moments of the clouds, and on spherical harmonics in low dimensions; on nothing, without a seed."""
    L = len(sample.costs)
    if seed is None:
        fit = regress(np.empty((L, 0)), sample.costs)
        return Estimate(fit.mean, *error_of(fit, sample.block, problem.d), fit.weights, np.empty(0), None, math.nan)
    controls = _controls.choose(problem, L, seed)
    C, uncertain = controls.values(sample.T)
    degree = _harmonics.degree_for(L // _SPARING, problem.d)
    H = _harmonics.values(sample.T, degree, seed)
    fit = regress(np.column_stack([H, C]), sample.costs)
    coefficients = fit.coefficients[H.shape[1] :]
    error, freedom, skewness = error_of(fit, sample.block, problem.d, max(2, degree))
    error = math.hypot(error, uncertain * coefficients[-1]) if uncertain else error
    return Estimate(fit.mean, error, freedom, skewness, regress(H, sample.costs).weights, coefficients, controls, math.nan)


def _on_harmonics(problem: Problem, sample: Sample, seed: int) -> Estimate:
    """Regress on all even spherical harmonics of a degree that the number of directions allows; the weights do not depend on the points."""
    degree = _harmonics.degree_for(len(sample.costs) // 2, problem.d)
    fit = regress(_harmonics.values(sample.T, degree, seed), sample.costs)
    return Estimate(fit.mean, *error_of(fit, 1, problem.d), fit.weights, np.empty(0), None, math.nan)


def _as_published(problem: Problem, mode: str, sample: Sample, seed: int) -> Estimate:
    """Regress on one control, (theta . mu)^2 or the variances besides; the coefficient is that of the paper, without an intercept."""
    controls = _controls.Controls(problem, (0,) if mode == "lower" else (0, 1, 2), (), seed)
    C, W = controls.polynomials(controls.forms(sample.T)).sum(axis=1), sample.costs
    L, square = W.size, float(C @ C)
    factor = float((W - W.mean()) @ C) / square if square > 0 else 0.0
    mean = float(W.mean() - factor * C.mean())
    coefficients, uniform = np.full(len(controls.singles), factor), np.full(L, 1 / L)
    if L < 3:
        return Estimate(mean, math.inf, 1.0, 0.0, uniform, coefficients, controls, math.nan)
    W1, C1, rest = (W.sum() - W) / (L - 1), (C.sum() - C) / (L - 1), square - C**2
    factors = np.where(rest > 0, (W @ C - W * C - (L - 1) * W1 * C1) / np.where(rest > 0, rest, 1.0), 0.0)
    moved = (W1 - factors * C1 - mean) * math.sqrt((L - 1) / L)  # the jackknife: the factor varies, too
    return Estimate(mean, float(np.linalg.norm(moved)), L - 2.0, -skewness_of(moved), uniform, coefficients, controls, math.nan)


def _between_turns(sample: Sample) -> Estimate:
    """Take turns of a low-discrepancy set for independent values."""
    turns = sample.costs.reshape(-1, sample.block).mean(axis=1)
    error = float(turns.std(ddof=1) / math.sqrt(turns.size)) if turns.size > 1 else math.inf
    uniform = np.full(sample.costs.size, 1 / sample.costs.size)
    mean, freedom = float(turns.mean()), max(1.0, turns.size - 1.0)
    return Estimate(mean, error, freedom, skewness_of(turns - mean), uniform, np.empty(0), None, math.nan)
