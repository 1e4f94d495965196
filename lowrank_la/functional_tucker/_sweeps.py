"""Coordinate ascent: one factor after the other, the core, a constant, and the noise, each the best that it can be given all others.

The posterior is q(u_1) ... q(u_K) q(W) q(c) q(tau). With Gaussian noise each update is exact: the evidence bound (ELBO) never falls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lowrank_la._arrays import Array
from lowrank_la.functional_tucker import _core, _moments
from lowrank_la.functional_tucker._core import Core
from lowrank_la.functional_tucker._data import Sorted
from lowrank_la.functional_tucker._learning import learned
from lowrank_la.functional_tucker._state_space import Prior, Smoothed, smooth
from lowrank_la.functional_tucker._statistics import contracted, summed


@dataclass(frozen=True)
class Factor:
    """Posterior of u_k at the abscissae: means (n, R), covariances (n, R, R).

    It is the prior, conditioned on observations exp(shift^T u - u^T precision u / 2) at each abscissa. `gain` is what the factor adds
    to the evidence bound, apart from the data's part.
    """

    prior: Prior
    t: np.ndarray
    mean: np.ndarray
    cov: np.ndarray
    precision: np.ndarray
    shift: np.ndarray
    smoothed: Smoothed | None = None
    gain: float = 0.0

    @cached_property
    def moments(self) -> np.ndarray:
        """Packed second moments (n, s)."""
        return _moments.second(self.mean, self.cov)


@dataclass(frozen=True)
class Noise:
    """Gamma posterior of the precision tau of the noise."""

    a: float
    b: float

    @property
    def precision(self) -> float:
        """E tau."""
        return self.a / self.b

    @property
    def variance(self) -> float:
        """E 1 / tau."""
        return self.b / (self.a - 1.0) if self.a > 1.0 else math.inf

    @property
    def log_precision(self) -> float:
        """E log(tau)."""
        from scipy.special import digamma

        return float(digamma(self.a)) - math.log(self.b)

    def divergence(self, other: Noise) -> float:
        """Return the Kullback-Leibler divergence from another one."""
        logs = (self.a - other.a) * (self.log_precision + math.log(self.b)) + other.a * math.log(self.b / other.b)
        return logs - math.lgamma(self.a) + math.lgamma(other.a) + self.precision * other.b - self.a


@dataclass(frozen=True)
class Offset:
    """Normal posterior of the constant c that is added to f: a standard normal prior and exp(shift c - precision c^2 / 2)."""

    precision: float = 0.0
    shift: float = 0.0

    @property
    def variance(self) -> float:
        """Its variance."""
        return 1.0 / (1.0 + self.precision)

    @property
    def mean(self) -> float:
        """Its mean."""
        return self.shift * self.variance

    def gain(self, past: Offset) -> float:
        """Return what it adds to the evidence bound, apart from the data's part."""
        square = self.mean**2 + self.variance
        return past.shift * self.mean - 0.5 * past.precision * square - 0.5 * (square - 1.0 - math.log(self.variance))


@dataclass(frozen=True)
class Past:
    """What data that are gone have left: observations of offset, factors and core, and the noise; at first the prior of the noise."""

    noise: Noise
    offset: Offset = Offset()
    factors: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    core: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Problem:
    """Data of one run in the order of each mode; sums of their weights, and of weights times values and their squares."""

    groups: tuple[Sorted, ...]
    total: float
    sum: float
    energy: float
    past: Past

    def energy_about(self, offset: Offset) -> float:
        """Return E sum_n w_n (z_n - c)^2."""
        c = offset.mean
        return self.energy - 2 * c * self.sum + (c * c + offset.variance) * self.total


@dataclass(frozen=True)
class State:
    """A posterior; `core` is None for a CP model. `misfit` is E sum_n w_n (z_n - c - f(x_n))^2."""

    factors: tuple[Factor, ...]
    core: Core | None
    noise: Noise
    offset: Offset = Offset(1e12)  # zero, before any data
    misfit: float = math.inf

    @property
    def means(self) -> list[np.ndarray]:
        """Tables of means."""
        return [factor.mean for factor in self.factors]

    @property
    def moments(self) -> list[np.ndarray]:
        """Tables of packed second moments."""
        return [factor.moments for factor in self.factors]


def elbo(problem: Problem, state: State) -> float:
    """Return the evidence bound, for values in standard units. With a past it lacks a constant."""
    noise, past = state.noise, problem.past
    value = 0.5 * problem.total * (noise.log_precision - math.log(2 * math.pi)) - 0.5 * noise.precision * state.misfit
    value += sum(factor.gain for factor in state.factors) - noise.divergence(past.noise)
    value += state.offset.gain(past.offset)
    if state.core is not None:
        value -= state.core.divergence
        value += state.core.expectation(*past.core) if past.core is not None else 0.0
    return value


def sweep(problem: Problem, state: State, *, learn: bool) -> Iterator[State]:
    """Update everything once, and what the priors leave open as well if told so; yield the posterior after each update."""
    for k in range(len(state.factors)):
        state = with_factor(problem, state, k, learn=learn)
        yield state
    if state.core is not None:
        state = with_core(problem, state, learn=learn)
        yield state
    state = with_offset(problem, state)
    yield state
    yield with_noise(problem, state)


def with_factor(problem: Problem, state: State, k: int, *, learn: bool) -> State:
    """Update the factor of a mode, by Kalman filter and smoother over its abscissae."""
    factor, tau = state.factors[k], state.noise.precision
    shift, precision = messages(problem.groups[k], state, k)
    total, pull = tau * precision, tau * shift
    if problem.past.factors:
        total, pull = total + problem.past.factors[k][0], pull + problem.past.factors[k][1]
    prior = learned(factor.prior, factor.t, total, pull) if learn else factor.prior
    smoothed = smooth(prior, factor.t, total, pull)
    mean, cov = smoothed.mean, smoothed.cov
    fit, spread = float(np.sum(shift * mean)), float(np.sum(precision * (cov + mean[:, :, None] * mean[:, None, :])))
    gain = float(smoothed.log_evidence) - tau * (fit - spread / 2)
    new = Factor(prior, factor.t, mean, cov, total, pull, smoothed, gain)
    factors = (*state.factors[:k], new, *state.factors[k + 1 :])
    return replace(state, factors=factors, misfit=problem.energy_about(state.offset) - 2 * fit + spread)


def messages(group: Sorted, state: State, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what each abscissa of a mode learns from data with noise of variance 1: shifts (n, R) and precisions (n, R, R)."""
    R, cp = state.factors[k].mean.shape[1], state.core is None
    if state.core is None:
        first, second = (None, None) if len(state.factors) > 1 else (np.ones((1, R)), np.ones((1, R * (R + 1) // 2)))
    else:
        first, second = along(state.core.mean, k), along(state.core.moments, k)
    shift = contracted(group, residuals(group, state), k, state.means, first, entrywise=cp)
    packed = contracted(group, group.weights, k, state.moments, second, entrywise=cp)
    return shift, _moments.unpack(packed, R, twice=not cp)


def residuals(group: Sorted, state: State) -> Array:
    """Return weights times values without offset, in the order of a group."""
    return group.weighted - state.offset.mean * group.weights


def along(T: np.ndarray, mode: int) -> np.ndarray:
    """Return the matrix (product of the other modes, n_mode) of a tensor."""
    return np.moveaxis(T, mode, -1).reshape(-1, T.shape[mode])


def with_core(problem: Problem, state: State, *, learn: bool) -> State:
    """Update the core, and the variance of its entries under the prior if told so."""
    assert state.core is not None
    k = _shortest(problem)
    gram = summed(problem.groups[k], problem.groups[k].weights, k, state.moments)
    right = summed(problem.groups[k], residuals(problem.groups[k], state), k, state.means)
    precision, shift = state.noise.precision * gram, state.noise.precision * right
    if problem.past.core is not None:
        precision, shift = precision + problem.past.core[0], shift + problem.past.core[1]
    core = _core.posterior(precision, shift, state.core)
    core = replace(core, variance=core.energy / core.mean.size) if learn else core
    misfit = problem.energy_about(state.offset) - 2 * float(np.sum(right * core.mean)) + float(np.sum(gram * core.moments))
    return replace(state, core=core, misfit=misfit)


def with_offset(problem: Problem, state: State) -> State:
    """Update the constant."""
    k = _shortest(problem)
    core = None if state.core is None else along(state.core.mean, k)
    core = np.ones((1, state.means[k].shape[1])) if core is None and len(state.factors) == 1 else core
    sums = contracted(problem.groups[k], problem.groups[k].weights, k, state.means, core, entrywise=state.core is None)
    fit = float(np.sum(sums * state.means[k]))
    tau, past = state.noise.precision, problem.past.offset
    offset = Offset(past.precision + tau * problem.total, past.shift + tau * (problem.sum - fit))
    moved = problem.energy_about(offset) - problem.energy_about(state.offset) + 2 * (offset.mean - state.offset.mean) * fit
    return replace(state, offset=offset, misfit=state.misfit + moved)


def _shortest(problem: Problem) -> int:
    """Return the mode with the fewest groups."""
    return min(range(len(problem.groups)), key=lambda k: problem.groups[k].starts.size)


def with_noise(problem: Problem, state: State) -> State:
    """Update the noise."""
    past = problem.past.noise
    return replace(state, noise=Noise(past.a + problem.total / 2, past.b + max(state.misfit, 0.0) / 2))
