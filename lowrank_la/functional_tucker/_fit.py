"""A whole fit: starts, held-out data, and the run on all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lowrank_la import _random, _threads
from lowrank_la.functional_tucker import _initial, _predict, _published
from lowrank_la.functional_tucker._ascent import Rules, Run, ascend, promising
from lowrank_la.functional_tucker._calibration import LEAST, Calibration, calibration
from lowrank_la.functional_tucker._data import Axis, Observations, Scale, Sorted
from lowrank_la.functional_tucker._options import NAME, Options
from lowrank_la.functional_tucker._state_space import smooth
from lowrank_la.functional_tucker._sweeps import Factor, Noise, Past, Problem, State


@dataclass(frozen=True)
class Fitted:
    """A posterior, its units, and how it came about."""

    state: State
    axes: tuple[Axis, ...]
    scale: Scale
    n_iter: int
    trace: list[float]
    converged: bool
    n_dropped: int = 0
    calibration: Calibration | None = None


def quiet() -> AbstractContextManager[None]:
    """Keep BLAS on one thread beside compiled kernels."""
    return _threads.serial_blas()


def fit(data: Observations, options: Options, seed: int, earlier: Fitted | None, callback: Callable[[int, float], Any] | None) -> Fitted:
    """Fit to data, or go on from an earlier fit with these."""
    rules = Rules(options.max_iter, options.tol, options.learn and not options.as_published, callback)
    if earlier is not None:
        axes, places, state = extended(earlier, data)
        problem, rules = ready(data, axes, places, earlier.scale, Past(Noise(*options.noise_prior)), rules)
        run = _run(problem, state, rules, options, seed, earlier.n_iter)
        return replace(
            earlier, state=run.state, axes=axes, n_iter=earlier.n_iter + len(run.trace), trace=run.trace, converged=run.converged
        )
    axes, places = _opened(data)
    past = Past(Noise(*options.noise_prior))
    kept, out = _split(len(data), options.held_out, seed)
    train = data.rows(kept)
    scale = Scale.of(train if np.sum(train.weights) > 0 else data)
    problem, rules_kept = ready(train, axes, places[kept], scale, past, rules)
    starts = [promising(problem, state, rules_kept) for state in _starts(train, axes, places[kept], scale, options, seed)]
    run = max((_run(problem, state, rules_kept, options, seed, 0) for state in starts), key=lambda run: run.trace[-1])
    n_iter, checked = len(run.trace), None
    if out.size:
        fitted = Fitted(run.state, axes, scale, n_iter, run.trace, run.converged)
        checked = check(fitted, data.rows(out), options.as_published)
        problem, rules = ready(data, axes, places, scale, past, rules)
        run = _run(problem, run.state, rules, options, seed, n_iter)
        n_iter += len(run.trace)
    return Fitted(run.state, axes, scale, n_iter, run.trace, run.converged, data.n_dropped, checked)


def resumed(earlier: Fitted, run: Run, axes: tuple[Axis, ...]) -> Fitted:
    """Return an earlier fit as one more run has left it."""
    n_iter = earlier.n_iter + len(run.trace)
    return replace(earlier, state=run.state, axes=axes, n_iter=n_iter, trace=run.trace, converged=run.converged)


def _opened(data: Observations) -> tuple[tuple[Axis, ...], np.ndarray]:
    axes = tuple(Axis.of(x) for x in data.coords.T)
    return axes, np.stack([axis.joined(x)[2] for axis, x in zip(axes, data.coords.T, strict=True)], axis=1)


def extended(fitted: Fitted, data: Observations) -> tuple[tuple[Axis, ...], np.ndarray, State]:
    """Take the coordinates of more data into the axes, and into the posterior, which knows nothing there."""
    joined = [axis.joined(x) for axis, x in zip(fitted.axes, data.coords.T, strict=True)]
    factors = tuple(_on(factor, axis, old) for factor, (axis, old, _) in zip(fitted.state.factors, joined, strict=True))
    places = np.stack([new for _, _, new in joined], axis=1)
    return tuple(axis for axis, _, _ in joined), places, replace(fitted.state, factors=factors)


def _on(factor: Factor, axis: Axis, old: np.ndarray) -> Factor:
    """Move a factor to an axis with more abscissae."""
    n, R = axis.t.size, factor.mean.shape[1]
    if n == factor.t.size:
        return factor
    precision, shift = np.zeros((n, R, R)), np.zeros((n, R))
    precision[old], shift[old] = factor.precision, factor.shift
    smoothed = smooth(factor.prior, axis.t, precision, shift)
    return Factor(factor.prior, axis.t, smoothed.mean, smoothed.cov, precision, shift, smoothed, float(smoothed.log_evidence))


def ready(data: Observations, axes: tuple[Axis, ...], places: np.ndarray, scale: Scale, past: Past, rules: Rules) -> tuple[Problem, Rules]:
    """Sort data for each mode, and let the bound count in the units of the values."""
    z = (data.y - scale.mean) / scale.size
    groups = tuple(Sorted.of(places, k, axis.t.size, data.weights, z, data.like) for k, axis in enumerate(axes))
    total = float(np.sum(data.weights))
    problem = Problem(groups, total, float(data.weights @ z), float(data.weights @ z**2), past)
    return problem, replace(rules, offset=-total * math.log(scale.size))


def _split(N: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to fit and those to hold out: none if they are too few to say anything."""
    count = round(share * N)
    if count < LEAST:
        return np.arange(N), np.arange(0)
    out = np.sort(_random.host_generator(seed, f"{NAME} held-out").permutation(N)[:count])
    return np.setdiff1d(np.arange(N), out), out


def _starts(data: Observations, axes: tuple[Axis, ...], places: np.ndarray, scale: Scale, options: Options, seed: int) -> list[State]:
    t, z = [axis.t for axis in axes], (data.y - scale.mean) / scale.size
    priors = [options.prior(k, axis) for k, axis in enumerate(axes)]
    generators = [None, *[_random.host_generator(seed, f"{NAME} start {i}") for i in range(1, options.n_init)]]
    model = {"priors": priors, "ranks": options.ranks, "cp": options.cp, "full": options.full}
    return [_initial.start(t, places, z, data.weights, **model, generator=generator) for generator in generators]


def _run(problem: Problem, state: State, rules: Rules, options: Options, seed: int, done: int) -> Run:
    if options.as_published:
        return _published.run(problem, state, rules, _random.host_generator(seed, f"{NAME} published"))
    return ascend(problem, state, rules, done)


def check(fitted: Fitted, data: Observations, as_published: bool = False) -> Calibration | None:
    """Compare predictions with values that have not been seen; each with the noise of its weight, relative to the mean of the weights."""
    how = _published.predict if as_published else _predict.predict
    data = data.rows(data.weights > 0)
    if len(data) < LEAST:
        return None
    f, variance = how(fitted.state, fitted.axes, data.coords, data.like)
    std = fitted.scale.size * np.sqrt(variance + fitted.state.noise.variance * data.weights.mean() / data.weights)
    return calibration(data.y, fitted.scale.mean + fitted.scale.size * f, std)
