"""Fit at a given rank, or find the rank by the error of held-out entries."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from lowrank_la import _arrays
from lowrank_la.completion import _start, _sweeps
from lowrank_la.completion._problem import Problem, residuals
from lowrank_la.completion._sweeps import Fit, Monitor

WIDEST = 100  # largest rank tried
NOISELESS = 1e-20  # relative squared error of a rank that needs no rival


def fit(problem: Problem, monitor: Monitor, dtype: Any) -> Fit:
    """Fit at the rank asked for, or at the best one found; rows become the long side on the way."""
    m, n = problem.shape
    if n > m:
        found = fit(problem.transpose(), monitor, dtype)
        return replace(found, factors=found.factors.transpose())
    if problem.options.rank is not None:
        return _start.fit(problem, problem.options.rank, monitor, dtype)
    return _search(problem, monitor, dtype)


def _search(problem: Problem, monitor: Monitor, dtype: Any) -> Fit:
    """Start at the number of singular values above the noise edge, then climb or descend while the error falls."""
    widest = most(problem)
    best = _start.fit(problem, _spectral_rank(problem, widest), monitor, dtype)
    for step in (_up, _down):
        rank = best.factors.rank
        while best.ending == "converged" and best.score > NOISELESS and (next_rank := step(best.factors.rank, widest)) != best.factors.rank:
            trial = _refit(problem, best, next_rank, monitor)
            if not _better(problem, trial, best):
                break
            best = trial
        if best.factors.rank != rank:
            break
    return best


def most(problem: Problem) -> int:
    """Return the largest rank with two entries per parameter, which no noise level could support less of."""
    m, n = problem.shape
    return max(1, min(WIDEST, m, n, len(problem.rows) // (2 * (m + n))))


def _up(rank: int, widest: int) -> int:
    return min(widest, rank + max(1, rank // 4))


def _down(rank: int, widest: int) -> int:
    del widest
    return max(1, rank - max(1, rank // 5))


def _spectral_rank(problem: Problem, widest: int) -> int:
    """Count singular values above the edge that missing entries alone would give."""
    from lowrank_la.completion._leading import leading

    _, s, _ = leading(problem, widest)
    m, n = problem.shape
    edge = math.sqrt(problem.variance * len(problem.rows) / (m * n)) * (math.sqrt(m) + math.sqrt(n))
    xp = _arrays.namespace(s)
    return max(1, int(xp.count_nonzero(s > 1.05 * edge)))


def _refit(problem: Problem, best: Fit, rank: int, monitor: Monitor) -> Fit:
    """Fit at another rank, from the best factors widened by small columns or cut to the leading ones."""
    factors = _sweeps.balance(best.factors, problem.options.nonnegative)
    factors = _start.widen(problem, factors, rank) if rank > factors.rank else _start.narrow(factors, rank)
    return _sweeps.run(problem, factors, monitor)


def _better(problem: Problem, trial: Fit, best: Fit) -> bool:
    """Say whether a wider model lowers the held-out error by a standard error, or a narrower one keeps it within one."""
    judges = _sweeps.judges(problem)
    xp = _arrays.namespace(judges.values)
    gain = residuals(best.factors, judges) ** 2 - residuals(trial.factors, judges) ** 2
    mean, error = float(xp.mean(gain)), float(xp.std(gain)) / math.sqrt(len(judges))
    return mean > error if trial.factors.rank > best.factors.rank else mean > -error
