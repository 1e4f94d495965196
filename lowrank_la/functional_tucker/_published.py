"""The algorithm of the authors' code, with its defects, for comparison: damped messages and no evidence bound."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lowrank_la._arrays import Array
from lowrank_la.functional_tucker import _core, _moments, _predict
from lowrank_la.functional_tucker._ascent import Rules, Run
from lowrank_la.functional_tucker._core import Core
from lowrank_la.functional_tucker._data import Axis
from lowrank_la.functional_tucker._kernels import Prior, transitions
from lowrank_la.functional_tucker._state_space import interpolate, smooth
from lowrank_la.functional_tucker._statistics import summed
from lowrank_la.functional_tucker._sweeps import Factor, Noise, Problem, State, messages

DAMPING, DAMPING_NOISE, DAMPING_CORE = 0.5, 0.6, 0.9  # shares of the old messages
FIRST = 1e-3  # precision of the message of each datum to the core at the start, where a prior should be


def run(problem: Problem, state: State, rules: Rules, generator: np.random.Generator) -> Run:
    """Make damped updates of everything, a fixed number of times unless the expected log likelihood settles; the trace holds that."""
    starts = [generator.standard_normal((factor.prior.order, factor.mean.shape[1])) for factor in state.factors]
    state = replace(state, noise=problem.past.noise if not state.factors[0].smoothed else state.noise)
    trace: list[float] = []
    for n_iter in range(1, rules.max_iter + 1):
        for k, start in enumerate(starts):
            state = _with_factor(problem, state, k, start)
        state = _with_core(problem, state) if state.core is not None else state
        state = _with_noise(problem, state)
        trace.append(_log_likelihood(problem, state) + rules.offset)
        settled = len(trace) > 1 and abs(trace[-1] - trace[-2]) <= rules.tol * max(abs(trace[-1] - rules.offset), problem.total)
        if settled or (rules.callback is not None and rules.callback(n_iter, trace[-1])):
            return Run(state, trace, settled)
    return Run(state, trace, False)


def misread(W: np.ndarray, k: int) -> np.ndarray:
    """Return the core as messages to mode k see it: stored with its modes reversed, and unfolded along axis k as if it were not."""
    rest, others = [a for a in range(W.ndim) if a != k], [j for j in reversed(range(W.ndim)) if j != k]
    axis = dict(zip(others, rest, strict=True)) | {k: k}
    return W.transpose().transpose([axis[j] for j in range(W.ndim)])


def _with_factor(problem: Problem, state: State, k: int, start: np.ndarray) -> State:
    """Damp the messages to a mode, add a normal prior at each abscissa, and smooth from a random mean."""
    factor, seen = state.factors[k], state
    if state.core is not None:
        seen = replace(state, core=_core.start(np.ascontiguousarray(misread(state.core.mean, k)), full=False))
    shift, precision = messages(problem.groups[k], seen, k)
    tau = state.noise.precision
    precision = DAMPING * factor.precision + (1 - DAMPING) * tau * precision
    shift = DAMPING * factor.shift + (1 - DAMPING) * tau * shift
    prior, R = factor.prior, factor.mean.shape[1]
    path = (transitions(prior, factor.t - factor.t[0])[0] @ start).reshape(factor.t.size, -1)
    sd = math.sqrt(prior.variance)
    total = precision + np.eye(R) / prior.variance
    smoothed = smooth(prior, factor.t, total, shift - np.einsum("nij,nj->ni", total, sd * path[:, :R]))
    smoothed = replace(smoothed, mean=smoothed.mean + sd * path[:, :R], smoothed_mean=smoothed.smoothed_mean + path)
    smoothed = replace(smoothed, filtered_mean=smoothed.filtered_mean + path)
    new = Factor(prior, factor.t, smoothed.mean, smoothed.cov, precision, shift, smoothed)
    return replace(state, factors=(*state.factors[:k], new, *state.factors[k + 1 :]))


def _with_core(problem: Problem, state: State) -> State:
    """Damp the messages to the core; there is no prior."""
    before, group = state.core, problem.groups[0]
    assert before is not None
    old = before.precision
    if not np.any(old):
        one = _moments.fold(np.eye(before.mean.size)[None], before.mean.shape)[0]
        old = FIRST * problem.total * (one > 0)
    tau = state.noise.precision
    precision = DAMPING_CORE * old + (1 - DAMPING_CORE) * tau * summed(group, group.weights, 0, state.moments)
    shift = DAMPING_CORE * before.shift + (1 - DAMPING_CORE) * tau * summed(group, group.weighted, 0, state.means)
    return replace(state, core=_core.posterior(precision, shift, Core(before.mean, before.cov, precision, shift, math.inf)))


def _with_noise(problem: Problem, state: State) -> State:
    """Damp the two parameters of the noise."""
    shift, precision = messages(problem.groups[0], state, 0)
    mean, cov = state.factors[0].mean, state.factors[0].cov
    square = np.sum(precision * (cov + mean[:, :, None] * mean[:, None, :]))
    misfit = max(problem.energy_about(state.offset) - 2 * float(np.sum(shift * mean)) + float(square), 0.0)
    past, d = problem.past.noise, DAMPING_NOISE
    a = d * state.noise.a + (1 - d) * (past.a + problem.total / 2)
    return replace(state, noise=Noise(a, d * state.noise.b + (1 - d) * (past.b + misfit / 2)), misfit=misfit)


def _log_likelihood(problem: Problem, state: State) -> float:
    noise = state.noise
    return 0.5 * problem.total * (noise.log_precision - math.log(2 * math.pi)) - 0.5 * noise.precision * state.misfit


def predict(state: State, axes: tuple[Axis, ...], coords: np.ndarray, like: Array) -> tuple[np.ndarray, np.ndarray]:
    """Predict from factors that are interpolated as if the smoothed values on both sides were independent."""
    return _predict.predict(state, axes, coords, like, moments_at)


def moments_at(factor: Factor, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means (Q, R) and covariances (Q, R, R); what is right at the abscissae and outside their range."""
    assert factor.smoothed is not None
    mean, cov = (x.copy() for x in interpolate(factor.prior, factor.t, factor.smoothed, t))
    left = np.searchsorted(factor.t, t, side="right") - 1
    between = (left >= 0) & (left < factor.t.size - 1) & (factor.t[np.maximum(left, 0)] != t)
    if np.any(between):
        mean[between], cov[between] = _merged(factor, t[between], left[between])
    return mean, cov


def _merged(factor: Factor, t: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    smoothed, prior, R = factor.smoothed, factor.prior, factor.mean.shape[1]
    assert smoothed is not None
    m, P = smoothed.smoothed_mean, smoothed.smoothed_cov
    (A1, Q1), (A2, Q2) = _step(prior, t - factor.t[left], R), _step(prior, factor.t[left + 1] - t, R)
    ahead = np.linalg.inv(A1 @ P[left] @ A1.transpose(0, 2, 1) + Q1)
    behind = np.linalg.inv(P[left + 1] + Q2)
    both = np.linalg.inv(ahead + A2.transpose(0, 2, 1) @ behind @ A2)
    pull = ahead @ (A1 @ m[left, :, None]) + A2 @ (behind @ m[left + 1, :, None])  # A2 should be transposed
    return math.sqrt(prior.variance) * (both @ pull)[:, :R, 0], prior.variance * both[:, :R, :R]


def _step(prior: Prior, gaps: np.ndarray, R: int) -> tuple[np.ndarray, np.ndarray]:
    A, root = transitions(prior, gaps)
    eye = np.eye(R)
    return np.kron(A, eye[None]), np.kron(root @ root.transpose(0, 2, 1), eye[None])
