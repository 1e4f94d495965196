"""From a start to a stationary point of the evidence: steps until nothing moves, with pruning that can be undone.

Problems of a stack climb together, and each stops by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sbl import _atoms, _certificate, _steps, _view
from lowrank_la.sbl._evidence import Evidence
from lowrank_la.sbl._stack import Stack
from lowrank_la.sbl._view import View

# Each method is a sequence of phases: the step, and whether it only prepares the next phase.
PHASES = {
    "am": (_steps.alternating,),
    "ksbl": (_steps.single_sweep,),
    "svd": (_steps.rank_one,),
    "mm": (_steps.mm,),
    "svd+am": (_steps.rank_one, _steps.alternating),
    "svd+mm": (_steps.rank_one, _steps.mm),
    "pattern": (_steps.mm,),
}
PREPARED, PREPARING = 1e-2, 30  # a preparing phase ends at this change, or after so many steps


@dataclass(frozen=True)
class Options:
    """How to climb."""

    method: str
    learn_noise: bool
    prune: float
    tol: float
    max_iter: int


@dataclass(frozen=True)
class Place:
    """Where a climb stands: all that it needs to go on.

    Attributes
    ----------
    g : tuple of arrays (N_i,)
        Hyper-parameters, for columns of length one.
    noise : float
        Variance of the noise.
    safe : tuple of arrays (N_i,), bool
        Atoms that were readmitted, which happens once.
    phase, steps : int
        Phases of the method that are behind it, and steps.
    """

    g: tuple[Array, ...]
    noise: float
    safe: tuple[Array, ...]
    phase: int = 0
    steps: int = 0


@dataclass
class Climb:
    """The way of one problem.

    Attributes
    ----------
    place : Place
        The last hyper-parameters.
    trace : list of float
        Costs at the start and after each step.
    cuts : list of int
        Steps that pruned atoms or readmitted them.
    monotone_from : int
        First step of a method that never raises the cost but by pruning; the length of the trace if there is none.
    change : float
        Largest relative change of the last step; inf if it pruned or readmitted atoms.
    suspicious : bool
        The residual is too large for noise.
    missed : float
        Largest fall of the cost that a pruned atom alone offers, if nothing moves any more.
    """

    place: Place
    trace: list[float] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    monotone_from: int = 0
    change: float = math.inf
    suspicious: bool = False
    missed: float = math.nan

    @property
    def n_iter(self) -> int:
        """Number of steps."""
        return len(self.trace) - 1

    @property
    def cost(self) -> float:
        """The last cost."""
        return self.trace[-1]


def climb(problem: Stack, places: Sequence[Place], options: Options) -> list[Climb]:
    """Run the phases of a method, from one place for each problem."""
    climbs, steps = [Climb(place) for place in places], PHASES[options.method]
    for phase, step in enumerate(steps):
        ids = np.flatnonzero([c.place.phase == phase and c.n_iter < options.max_iter for c in climbs])
        if ids.size:
            _phase(problem.take(ids), [climbs[k] for k in ids], step, options, final=phase + 1 == len(steps))
    return climbs


def _phase(problem: Stack, climbs: list[Climb], step: _steps.Step, options: Options, *, final: bool) -> None:
    """Let all problems climb until the last one stops."""
    here = gathered(problem, [c.place for c in climbs])
    for c, cost in zip(climbs, _arrays.to_numpy(here.evidence.cost), strict=True):
        c.trace = c.trace or [float(cost)]
        c.monotone_from = c.n_iter
    while climbs:
        evidence = step(here.evidence)
        if options.learn_noise:
            evidence = _steps.noise(evidence)
        change = _change(here.evidence, evidence)
        here, cut = _atoms.pruned(replace(here, evidence=evidence), here.evidence, options.prune)
        if final:
            here, cut = _settled(here, climbs, change <= options.tol, cut, options.prune)
        _note(climbs, _arrays.to_numpy(here.evidence.cost), np.where(cut, math.inf, change), cut)
        over = np.array([c.change <= options.tol if final else _prepared(c) for c in climbs])
        stop = over | np.array([c.n_iter >= options.max_iter for c in climbs])
        if stop.any():
            _leave(here.take(np.flatnonzero(stop)), [c for c, s in zip(climbs, stop, strict=True) if s], over[stop], step, final=final)
            climbs = [c for c, s in zip(climbs, stop, strict=True) if not s]
            here = here.take(np.flatnonzero(~stop)) if climbs else here
        here = here.narrowed() if climbs and cut.any() else here


def gathered(problem: Stack, places: Sequence[Place]) -> View:
    """Put the places of problems side by side."""
    xp = problem.xp
    g = [xp.stack(x) for x in zip(*(p.g for p in places), strict=True)]
    noise = _arrays.from_numpy(np.array([p.noise for p in places]), problem.energy)
    return _view.look(problem, g, noise, tuple(xp.stack(x) for x in zip(*(p.safe for p in places), strict=True)))


def _note(climbs: list[Climb], costs: np.ndarray, change: np.ndarray, cut: np.ndarray) -> None:
    for c, cost, moved, was_cut in zip(climbs, costs, change, cut, strict=True):
        if was_cut:
            c.cuts.append(len(c.trace))
        c.trace.append(float(cost))
        c.change = float(moved)
        c.place = replace(c.place, steps=c.place.steps + 1)


def _prepared(climb: Climb) -> bool:
    return climb.change <= PREPARED or climb.place.steps >= PREPARING


def _leave(here: View, climbs: list[Climb], over: np.ndarray, step: _steps.Step, *, final: bool) -> None:
    """Write down where problems stop."""
    g, noise, suspicious = here.whole(), _arrays.to_numpy(here.evidence.noise), _certificate.suspicious(here.evidence)
    for k, c in enumerate(climbs):
        place = Place(tuple(x[k, ...] for x in g), float(noise[k]), tuple(s[k, ...] for s in here.safe), c.place.phase, c.place.steps)
        c.place = place if final or not over[k] else replace(place, phase=place.phase + 1)
        c.suspicious = bool(suspicious[k])
        if step is _steps.rank_one:
            c.monotone_from = len(c.trace)


def _settled(here: View, climbs: list[Climb], quiet: np.ndarray, cut: np.ndarray, prune: float) -> tuple[View, np.ndarray]:
    """Where nothing moves any more, give back atoms that the evidence asks for, or give up those that it does not need."""
    if not quiet.any():
        return here, cut
    here, back, missed = _atoms.readmitted(here, np.flatnonzero(quiet))
    for k, fall in zip(np.flatnonzero(quiet), missed, strict=True):
        climbs[k].missed = math.nan if back[k] else float(fall)
    cut = cut | back
    if prune > 0 and (quiet & ~cut).any():
        here, gone = _atoms.dropped(here, quiet & ~cut)
        cut = cut | gone
    return here, cut


def _change(before: Evidence, after: Evidence) -> np.ndarray:
    """Return the largest relative change of a mode's hyper-parameters and of the noise variance, (B,)."""
    xp = before.problem.xp
    changes = [_distance(xp, a, b) for a, b in zip(before.g, after.g, strict=True)]
    changes.append(xp.abs(after.noise - before.noise) / before.noise)
    return _arrays.to_numpy(xp.max(xp.stack(changes), axis=0))


def _distance(xp: _arrays.Namespace, old: Array, new: Array) -> Array:
    size, gap = xp.linalg.vector_norm(old, axis=1), xp.linalg.vector_norm(new - old, axis=1)
    return xp.where(size > 0, gap / xp.where(size > 0, size, xp.ones_like(size)), xp.zeros_like(size))
