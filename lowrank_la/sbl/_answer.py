"""Answers in the caller's units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.sbl import _atoms, _certificate, _view
from lowrank_la.sbl._certificate import Verdict
from lowrank_la.sbl._evidence import Evidence, outer, power, start, variances
from lowrank_la.sbl._loop import Climb, Options, gathered
from lowrank_la.sbl._problem import Entry
from lowrank_la.sbl._result import KroneckerSBLResult
from lowrank_la.sbl._solve import best
from lowrank_la.sbl._stack import Stack


def answers(entry: Entry, problem: Stack, ways: Sequence[Sequence[Climb]], options: Options) -> list[KroneckerSBLResult]:
    """Answer with the best climb of each problem."""
    here = gathered(problem, [best(way).place for way in ways])
    g, few = here.whole(), here.evidence
    evidence = few if few.problem is problem else start(problem, g, few.noise)
    _complete([best(way) for way in ways], evidence)
    mean, variance = few.posterior()
    verdict = _certificate.judge(evidence, few, variance + power(mean) / problem.snapshots)
    mean, variance = _everywhere(here, mean), _everywhere(here, variance)
    norms = outer(entry.problem.norms)
    v = variances(problem, g)
    return [
        _answer(entry, way, options, mean[k, ...] / norms[..., None], variance[k, ...] / norms**2, [x[k, ...] for x in v], verdict, k)
        for k, way in enumerate(ways)
    ]


def _complete(climbs: Sequence[Climb], evidence: Evidence) -> None:
    """Find what pruned atoms offer where a climb has not come to ask."""
    open_ = [k for k, climb in enumerate(climbs) if math.isnan(climb.missed)]
    if open_:
        for k, fall in zip(open_, _arrays.to_numpy(_atoms.missed(evidence.take(np.array(open_)))), strict=True):
            climbs[k].missed = float(fall)


def _everywhere(here: _view.View, T: Array) -> Array:
    for i in range(len(here.seen)):
        T = here.widened(T, i, i + 1)
    return T


def _answer(
    entry: Entry, way: Sequence[Climb], options: Options, x: Array, variance: Array, prior: list[Array], verdict: Verdict, k: int
) -> KroneckerSBLResult:
    climb, door = best(way), entry.door
    return KroneckerSBLResult(
        x=entry.leave(x),
        support=tuple(door.leave_wide(_support(v)) for v in prior),
        gammas=tuple(door.leave(g / n**2) for g, n in zip(climb.place.g, entry.problem.norms, strict=True)),
        variance=entry.leave_one(variance),
        noise_var=climb.place.noise,
        cost_trace=np.asarray(climb.trace),
        monotone_from=climb.monotone_from,
        cuts=tuple(climb.cuts),
        chi2=float(verdict.chi2[k]),
        dof=float(verdict.dof[k]),
        balance=float(verdict.balance[k]),
        rank_one_error=float(verdict.rank_one_error[k]),
        margin=float(verdict.margin[k]),
        missed=climb.missed,
        method=options.method,
        start_costs=tuple(c.cost for c in way),
        converged=climb.change <= options.tol,
        n_iter=climb.n_iter,
        certificate=Certificate(_certificate.CLAIM, float(verdict.bound[k]), 1.0, "residual"),
        _place=climb.place,
    )


def _support(g: Array) -> Array:
    return _arrays.namespace(g).nonzero(g > 0)[0]


def nothing(entry: Entry, method: str, noise: float) -> KroneckerSBLResult:
    """Answer for data that are zero: everything is."""
    problem, door = entry.problem, entry.door
    xp = _arrays.namespace(problem.Y)
    zeros = [xp.zeros_like(n) for n in problem.norms]
    X = outer(zeros)
    x = xp.broadcast_to(X[..., None], (*X.shape, math.prod(entry.tail)))
    return KroneckerSBLResult(
        x=entry.leave(xp.astype(x, problem.Y.dtype)),
        support=tuple(door.leave(_support(g)) for g in zeros),
        gammas=tuple(door.leave(g) for g in zeros),
        variance=entry.leave_one(X),
        noise_var=noise,
        cost_trace=np.zeros(1),
        monotone_from=0,
        cuts=(),
        chi2=math.nan if noise == 0 else 0.0,
        dof=0.0,
        balance=0.0,
        rank_one_error=0.0,
        margin=0.0,
        missed=0.0,
        method=method,
        start_costs=(0.0,),
        converged=True,
        n_iter=0,
        certificate=Certificate(_certificate.CLAIM, 0.0, 1.0, "residual"),
        _place=None,
    )
