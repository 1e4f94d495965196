"""A climb sees the atoms in use only: what pruned atoms cost is saved, until they are asked for again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sbl import _stack
from lowrank_la.sbl._evidence import Evidence, start
from lowrank_la.sbl._stack import Stack

WASTE = 2**19  # flops of a step that are worth the flops and the calls of a new view


@dataclass(frozen=True)
class View:
    """Problems, and the evidence of some of their atoms.

    Attributes
    ----------
    problem : Stack
        The problems with all atoms.
    evidence : Evidence
        Of the atoms that are seen.
    seen : tuple
        For each mode None, if all atoms are seen, or masks (B, N_i).
    safe : tuple of arrays (B, N_i), bool
        Atoms that were readmitted.
    """

    problem: Stack
    evidence: Evidence
    seen: tuple[Array | None, ...]
    safe: tuple[Array, ...]

    def whole(self) -> tuple[Array, ...]:
        """Return the hyper-parameters of all atoms."""
        return tuple(self.widened(g, i, 1) for i, g in enumerate(self.evidence.g))

    def widened(self, x: Array, i: int, axis: int) -> Array:
        """Put what belongs to the atoms that are seen among zeros for the others."""
        mask = self.seen[i]
        return x if mask is None else _stack.spread(x, mask, axis)

    def protected(self, i: int) -> Array:
        """Return which of the atoms that are seen were readmitted."""
        mask, width = self.seen[i], self.evidence.g[i].shape[1]
        if mask is None:
            return self.safe[i]
        return _arrays.namespace(mask).take_along_axis(self.safe[i], _stack.chosen(mask, width)[0], axis=1)

    def take(self, ids: np.ndarray) -> View:
        """Return some of the problems."""
        seen = tuple(None if mask is None else _stack.take(mask, ids) for mask in self.seen)
        return View(self.problem.take(ids), self.evidence.take(ids), seen, tuple(_stack.take(s, ids) for s in self.safe))

    def narrowed(self) -> View:
        """Look at fewer atoms, if that saves enough."""
        evidence = self.evidence
        used = _used(evidence.problem, evidence.g)
        return _few(self.problem, self.whole(), evidence.noise, self.safe) if _saves(evidence.problem, used) else self


def look(problem: Stack, g: Sequence[Array], noise: Array, safe: tuple[Array, ...]) -> View:
    """Look at the atoms in use, if that saves enough, or at all."""
    if _saves(problem, _used(problem, g)):
        return _few(problem, g, noise, safe)
    return View(problem, start(problem, g, noise), (None,) * len(g), safe)


def _used(problem: Stack, g: Sequence[Array]) -> list[int]:
    """Return the largest number of atoms in use of a problem, for each mode; all, where neighbours are coupled."""
    xp = problem.xp
    numbers = [xp.sum(xp.astype(x > 0, xp.int64), axis=1) for x in g]
    return [int(xp.max(n)) if C is None else x.shape[1] for n, x, C in zip(numbers, g, problem.couplings, strict=True)]


def _saves(problem: Stack, used: Sequence[int]) -> bool:
    work = problem.work([a.shape[2] for a in problem.A])
    return work - problem.work(used) > max(WASTE, work / 2)


def _few(problem: Stack, g: Sequence[Array], noise: Array, safe: tuple[Array, ...]) -> View:
    seen = tuple(x > 0 if C is None else None for x, C in zip(g, problem.couplings, strict=True))
    few = [x if m is None else _arrays.namespace(x).take_along_axis(x, _stack.chosen(m)[0], axis=1) for x, m in zip(g, seen, strict=True)]
    return View(problem, start(problem.restricted(seen), few, noise), seen, safe)
