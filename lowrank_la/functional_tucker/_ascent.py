"""Runs of coordinate ascent until the evidence bound no longer grows, from several starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from lowrank_la.functional_tucker import _gauge
from lowrank_la.functional_tucker._learning import SMOOTHNESS
from lowrank_la.functional_tucker._sweeps import Problem, State, elbo, sweep

FORMING = 5  # sweeps with the first lengthscales: factors that are noise still would teach that a mode is constant
EVERY, LEARNING = 2, 30  # priors are learned in each second of the sweeps up to here: then they stay, which ends their slow drift
FEW = 10_000  # data, up to which it depends on the lengthscales at the start whether factors form
SHORTER, LONGER = 0.2, 10.0  # other lengthscales to start from


@dataclass(frozen=True)
class Rules:
    """When to stop, and what is learned. `callback(n_iter, elbo)` may stop; `offset` puts the bound into the user's units."""

    max_iter: int
    tol: float
    learn: bool
    callback: Callable[[int, float], Any] | None = None
    offset: float = 0.0


@dataclass(frozen=True)
class Run:
    """Where a run ended."""

    state: State
    trace: list[float] = field(default_factory=list)
    converged: bool = False


def ascend(problem: Problem, state: State, rules: Rules, done: int = 0) -> Run:
    """Sweep until the bound grows by less than tol times its size (or the number of data, if larger); `done` sweeps are behind."""
    run = Run(state)
    for n_iter in range(done + 1, done + rules.max_iter + 1):
        if n_iter > 1 and state.core is not None and not problem.past.factors:
            state = _gauge.improved(state)
        *_, state = sweep(problem, state, learn=rules.learn and n_iter % EVERY == 0 and FORMING < n_iter <= LEARNING)
        run.trace.append(elbo(problem, state) + rules.offset)
        formed = not rules.learn or n_iter > FORMING + EVERY
        run = Run(state, run.trace, formed and _settled(run.trace, rules, problem.total))
        if run.converged or (rules.callback is not None and rules.callback(n_iter, run.trace[-1])):
            break
    return run


def promising(problem: Problem, state: State, rules: Rules) -> State:
    """Return the start from which a few sweeps lead highest: this one, one of smooth functions, or one of a rougher mode."""
    if not rules.learn or problem.groups[0].weights.shape[0] > FEW:
        return state
    modes = [k for k, factor in enumerate(state.factors) if factor.prior.kernel in SMOOTHNESS]
    starts = [state, _changed(state, modes, LONGER), *(_changed(state, [k], SHORTER) for k in modes)]
    return max(starts, key=lambda start: ascend(problem, start, Rules(FORMING, 0.0, learn=False)).trace[-1])


def _changed(state: State, modes: list[int], by: float) -> State:
    """Multiply the lengthscales of some modes."""
    factors = list(state.factors)
    for k in modes:
        prior = factors[k].prior
        factors[k] = replace(factors[k], prior=replace(prior, lengthscale=by * prior.lengthscale))
    return replace(state, factors=tuple(factors))


def _settled(trace: list[float], rules: Rules, total: float) -> bool:
    if len(trace) <= EVERY:
        return False
    size = max(abs(trace[-1] - rules.offset), total)
    return trace[-1] - trace[-1 - EVERY] <= EVERY * rules.tol * size
