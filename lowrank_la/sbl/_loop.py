"""From a start to a stationary point of the evidence: steps until nothing moves, with pruning that can be undone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sbl import _steps
from lowrank_la.sbl._evidence import Evidence

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
VANISHED = 1e-30  # a share of the largest hyper-parameter that is none
PREPARED, PREPARING = 1e-2, 30  # a preparing phase ends at this change, or after so many steps
SIGNIFICANT = 4  # an atom is readmitted if it offers that many times the logarithm of the number of atoms; noise offers half of it at best

Masks: TypeAlias = "tuple[Array, ...]"


@dataclass(frozen=True)
class Options:
    """How to climb."""

    method: str
    learn_noise: bool
    prune: float
    tol: float
    max_iter: int


@dataclass(frozen=True)
class Climb:
    """Where a climb ended.

    Attributes
    ----------
    evidence : Evidence
        The last hyper-parameters.
    trace : tuple of float
        Costs at the start and after each step.
    cuts : tuple of int
        Steps that pruned atoms or readmitted them.
    monotone_from : int
        First step of a method that never raises the cost but by pruning; the length of the trace if there is none.
    change : float
        Largest relative change of the last step; inf if it pruned or readmitted atoms.
    safe : tuple of arrays
        Atoms that were readmitted, which happens once.
    """

    evidence: Evidence
    trace: tuple[float, ...]
    cuts: tuple[int, ...]
    monotone_from: int
    change: float
    safe: Masks

    @property
    def n_iter(self) -> int:
        """Number of steps."""
        return len(self.trace) - 1

    @property
    def cost(self) -> float:
        """The last cost."""
        return self.trace[-1]


def climb(evidence: Evidence, options: Options) -> Climb:
    """Run the phases of a method."""
    *preparing, last = PHASES[options.method]
    here = Climb(evidence, (evidence.cost(),), (), 0, 1.0, tuple(g < 0 for g in evidence.g))
    for step in preparing:
        here = _phase(here, step, replace(options, tol=PREPARED, max_iter=min(PREPARING, options.max_iter)), undo=False)
    if last is not _steps.rank_one:
        here = replace(here, monotone_from=here.n_iter)
        return _phase(here, last, options)
    here = _phase(here, last, options)
    return replace(here, monotone_from=len(here.trace))


def _phase(here: Climb, step: _steps.Step, options: Options, *, undo: bool = True) -> Climb:
    evidence, trace, cuts, change, safe = here.evidence, list(here.trace), list(here.cuts), here.change, here.safe
    while len(trace) <= options.max_iter:
        before = evidence
        evidence = step(evidence)
        if options.learn_noise:
            evidence = _steps.noise(evidence)
        kept, change = _pruned(evidence, options.prune, safe), _change(before, evidence)
        if undo and change <= options.tol:
            kept, safe = _readmitted(kept, options.prune, safe)
        if kept is not evidence:
            cuts.append(len(trace))
            evidence, change = kept, math.inf
        trace.append(evidence.cost())
        if change <= options.tol:
            break
    return replace(here, evidence=evidence, trace=tuple(trace), cuts=tuple(cuts), change=change, safe=safe)


def _pruned(evidence: Evidence, prune: float, safe: Masks) -> Evidence:
    """Set hyper-parameters to zero that are below a share of the largest of their mode, a far smaller one for those readmitted."""
    for i, g in enumerate(evidence.g):
        xp = _arrays.namespace(g)
        share = max(prune, VANISHED) * xp.max(g)
        small = (g > 0) & (g < share) & (~safe[i] | (g < prune * share))
        if bool(xp.any(small)):
            evidence = evidence.with_mode(i, xp.where(small, xp.zeros_like(g), g))
    return evidence


def _readmitted(evidence: Evidence, prune: float, safe: Masks) -> tuple[Evidence, Masks]:
    """Give atoms back, once, whose pruning cost more evidence than the best of as many atoms of pure noise would."""
    limit, masks = SIGNIFICANT * math.log(sum(g.shape[0] for g in evidence.g) + 1), list(safe)
    for i, g in enumerate(evidence.g):
        xp = _arrays.namespace(g)
        wanted = (g == 0) & (gains(evidence, i) > limit) & ~safe[i]
        if bool(xp.any(wanted)):
            masks[i] = masks[i] | wanted
            evidence = evidence.with_mode(i, xp.where(wanted, 2 * prune * xp.max(g), g))
    return evidence, tuple(masks)


def gains(evidence: Evidence, i: int) -> Array:
    """Estimate by how much the cost falls with one more atom of a mode: exactly, if the atoms of its slice are orthogonal and alike."""
    nums, dens = evidence.slices(i)
    xp = _arrays.namespace(nums)
    others = [int(xp.sum(xp.astype(g > 0, xp.int64))) for j, g in enumerate(evidence.g) if j != i]
    seen = (dens > 0) & evidence.problem.alive[i] & (nums > dens)
    ratio = xp.where(seen, nums, xp.ones_like(nums)) / xp.where(seen, dens, xp.ones_like(dens))
    return evidence.problem.snapshots * math.prod(others) * (ratio - 1 - xp.log(ratio))


def _change(before: Evidence, after: Evidence) -> float:
    """Return the largest relative change of a mode's hyper-parameters and of the noise variance."""
    changes = [_distance(a, b) for a, b in zip(before.g, after.g, strict=True)]
    return max(*changes, abs(after.noise - before.noise) / before.noise)


def _distance(old: Array, new: Array) -> float:
    norm = _arrays.namespace(old).linalg.vector_norm
    size = float(norm(old))
    return float(norm(new - old)) / size if size > 0 else 0.0


def best(climbs: Sequence[Climb]) -> Climb:
    """Return the climb with the largest evidence."""
    return min(climbs, key=lambda climb: climb.cost)
