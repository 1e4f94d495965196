"""Where climbs start: scaled so that the expected energy of the data is the measured one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.sbl._evidence import power, variances
from lowrank_la.sbl._stack import Stack, adjoint, multiply_all

SPREAD = 1.0  # standard deviation of the logarithms of random starts


def starts(problem: Stack, seed: int) -> Iterator[list[Array]]:
    """Yield hyper-parameters (B, N_i) without end: all atoms alike, then what they have in common with the data, then random ones."""
    xp, alive = problem.xp, [_ones(problem, a) for a in problem.alive]
    yield _scaled(problem, alive)
    T = power(multiply_all(problem.Y, [adjoint(a) for a in problem.A]))
    axes = range(1, T.ndim)
    yield _scaled(problem, [xp.sum(T, axis=tuple(j for j in axes if j != i)) for i in axes])
    draws = _random.host_generator(seed, "kronecker_sbl starts")
    while True:
        logs = [draws.standard_normal(a.shape[1]) for a in alive]
        yield _scaled(problem, [a * xp.exp(SPREAD * _arrays.from_numpy(x, a)) for x, a in zip(logs, alive, strict=True)])


def _ones(problem: Stack, alive: Array) -> Array:
    """Return ones for the atoms of each problem that are alive."""
    xp = problem.xp
    return xp.broadcast_to(xp.astype(alive, problem.energy.dtype), (problem.count, alive.shape[1]))


def _scaled(problem: Stack, g: Sequence[Array]) -> list[Array]:
    xp = problem.xp
    g = [x / xp.clip(xp.max(x, axis=1, keepdims=True), min=1e-300) for x in g]
    total = 1.0
    for v in variances(problem, g):
        total = total * xp.sum(v, axis=1)
    g[-1] = (
        g[-1] * xp.where(total > 0, problem.energy / (problem.snapshots * xp.where(total > 0, total, xp.ones_like(total))), total)[:, None]
    )
    return g
