"""What all designs share: draw until the Gram matrix is good, keep the best of several, leave out what is not needed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from lowrank_la import _checks
from lowrank_la._result import ConvergenceWarning
from lowrank_la.dpp._bases import Basis
from lowrank_la.dpp._design import Design, Sites, make_design, slack, spread
from lowrank_la.dpp._greedy import thinned


@dataclass(frozen=True)
class Search:
    """How a design is chosen among draws; nothing of it looks at the function to be measured.

    Attributes
    ----------
    function : str
        Public function that asks.
    delta : float or None
        Largest ||G - I||; None takes the first draw.
    max_trials : int
        Trials before giving up.
    best_of : int
        Draws in each trial, of which the one with the least ||G - I|| counts.
    subsample : bool or int
        Leave out points while ||G - I|| <= delta: as many as possible, or down to so many.
    """

    function: str
    delta: float | None
    max_trials: int
    best_of: int
    subsample: bool | int

    def __post_init__(self) -> None:
        name = self.function
        if self.delta is not None:
            _checks.real(name, "delta", self.delta, 0, 1, open=True)
        elif self.subsample:
            raise ValueError(f"{name}: delta must be a number if points are to be left out; got None")
        _checks.integer(name, "max_trials", self.max_trials, 1)
        _checks.integer(name, "best_of", self.best_of, 1)
        if not isinstance(self.subsample, bool):
            _checks.integer(name, "subsample", self.subsample, 1)

    def design(self, basis: Basis, draw: Callable[[int], tuple[Sites, int]], kind: str, repeats: int = 0) -> Design:
        """Draw, choose and build the answer; draw(i) returns the i-th draw and how many points were proposed for it."""
        best, least, proposals, count = None, math.inf, 0, 0
        for count in range(1, self.max_trials * self.best_of + 1):
            sites, proposed = draw(count - 1)
            apart, proposals = spread(basis, sites), proposals + proposed
            if best is None or apart < least:
                best, least = sites, apart
            if count % self.best_of == 0 and (self.delta is None or least <= self.delta):
                break
        assert best is not None
        passed = self.delta is None or least <= self.delta
        if passed and self.subsample and self.delta is not None:
            fewest = basis.size if self.subsample is True else max(basis.size, self.subsample)
            best = thinned(best, fewest, self.delta - slack(basis, best.x.shape[0], 1 + self.delta))
        design = make_design(basis, best, kind=kind, repeats=repeats, trials=count, proposals=proposals, converged=passed)
        warn_unless_passed(self.function, design, self.delta)
        return design


def warn_unless_passed(function: str, design: Design, delta: float | None) -> None:
    """Warn about a design whose Gram matrix is further from I than was asked."""
    if not design.converged and delta is not None:
        words = f"{function}: {design.size} points have ||G - I|| = {design.certificate.bound:.3g}, more than delta = {delta:.3g}"
        warnings.warn(f"{words}, after {design.trials} draws", ConvergenceWarning, stacklevel=4)
