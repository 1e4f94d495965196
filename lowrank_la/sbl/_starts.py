"""Where a climb starts: scaled so that the expected energy of the data is the measured one."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.sbl._evidence import Evidence, start, variances
from lowrank_la.sbl._problem import Problem
from lowrank_la.tensors import _modes

SPREAD = 1.0  # standard deviation of the logarithms of random starts


def starts(problem: Problem, noise: float, seed: int) -> Iterator[Evidence]:
    """Yield starts without end: all atoms alike, then what they have in common with the data, then random ones."""
    yield _scaled(problem, noise, [_arrays.namespace(n).ones_like(n) for n in problem.norms])
    yield _scaled(problem, noise, _matched(problem))
    draws = _random.host_generator(seed, "kronecker_sbl starts")
    while True:
        logs = [draws.standard_normal(a.shape[0]) for a in problem.alive]
        g = [_arrays.namespace(a).exp(SPREAD * _arrays.from_numpy(x, a)) for x, a in zip(logs, problem.alive, strict=True)]
        yield _scaled(problem, noise, g)


def _matched(problem: Problem) -> list[Array]:
    """Sum |A^H y|^2 over the slices of each mode."""
    T = _modes.multiply_all(problem.Y, [_dense.adjoint(a) for a in problem.A])
    xp = _arrays.namespace(T)
    return [xp.sum(_modes.three_way(xp.abs(T) ** 2, i), axis=(0, 2)) for i in range(len(problem.A))]


def _scaled(problem: Problem, noise: float, g: list[Array]) -> Evidence:
    xp = _arrays.namespace(problem.Y)
    g = [xp.where(alive, x, xp.zeros_like(x)) for x, alive in zip(g, problem.alive, strict=True)]
    g = [x / max(float(xp.max(x)), 1e-300) for x in g]
    power = math.prod(float(xp.sum(v)) for v in variances(problem, g))
    if power > 0:
        g[-1] = g[-1] * (problem.energy / (problem.snapshots * power))
    return start(problem, g, noise)
