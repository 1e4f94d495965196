"""Which starts a problem gets, and which problems climb together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sbl._loop import Climb, Options, Place, climb
from lowrank_la.sbl._stack import Stack
from lowrank_la.sbl._starts import starts

STARTS = 5  # starts at most, while the residual does not look like noise
GROUP = 1 << 17  # measurements of problems that climb together: larger groups leave the cache


def solve(problem: Stack, options: Options, noise: float | None, n_init: int | None, seed: int) -> list[list[Climb]]:
    """Climb from as many starts as asked for; unasked, from two without a noise variance, else from more while the residual is no noise."""
    ways: list[list[Climb]] = [[] for _ in range(problem.count)]
    first = _arrays.to_numpy(0.1 * problem.energy / (problem.size * problem.snapshots) if noise is None else problem.floor)
    first = first if noise is None else np.maximum(noise, first)
    rounds = [n_init or 2] if n_init or noise is None else [1] * STARTS
    source, open_ = starts(problem, seed), np.arange(problem.count)
    for count in rounds:
        jobs = [(int(k), _at(g, int(k), first[k])) for g in islice(source, count) for k in open_]
        for k, way in zip([k for k, _ in jobs], _together(problem, jobs, options), strict=True):
            ways[k].append(way)
        open_ = np.array([k for k in open_ if best(ways[k]).suspicious], dtype=np.int64)
        if not open_.size:
            break
    return ways


def resume(problem: Stack, places: Sequence[Place], options: Options, noise: float | None) -> list[list[Climb]]:
    """Go on from where earlier climbs stopped."""
    floor, jobs = _arrays.to_numpy(problem.floor), []
    for k, place in enumerate(places):
        g, safe = ([_arrays.from_numpy(_arrays.to_numpy(x), problem.energy) for x in items] for items in (place.g, place.safe))
        start = max(place.noise if noise is None else noise, float(floor[k]))
        jobs.append((k, Place(tuple(g), start, tuple(safe), place.phase, place.steps)))
    return [[climb] for climb in _together(problem, jobs, options)]


def _at(g: list[Array], k: int, noise: float) -> Place:
    own = tuple(x[k, ...] for x in g)
    return Place(own, float(noise), tuple(x < 0 for x in own))


def _together(problem: Stack, jobs: list[tuple[int, Place]], options: Options) -> list[Climb]:
    """Let groups of problems climb together."""
    size, climbs = max(1, GROUP // math.prod(problem.Y.shape[1:])), []
    for first in range(0, len(jobs), size):
        group = jobs[first : first + size]
        climbs += climb(problem.take(np.array([k for k, _ in group])), [place for _, place in group], options)
    return climbs


def best(climbs: Sequence[Climb]) -> Climb:
    """Return the climb with the largest evidence."""
    return min(climbs, key=lambda climb: climb.cost)
