"""The sub-gradient method of a robust loss from a small start, with steps that shrink geometrically."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.recovery import _start
from lowrank_la.recovery._problem import Pair, Problem
from lowrank_la.recovery._start import Start, sign

FIRST_STEP = 0.3  # over the norm of the first back-projection; the paper's range
WAY = 20.0  # what the steps add up to, at least
FOLDS = {"l1": 2.2, "huber": 3.3}  # and for each e-folding from the start: less strands small singular values, more feeds columns too many
DIVERGED = 10.0  # times the median residual of a zero model
HALVINGS = 12
GAUSSIAN = 1.4826  # standard deviations of a normal law per median absolute value
CORNER = 1.345  # standard deviations up to which Huber's loss is quadratic


@dataclass(frozen=True)
class Descent:
    """Where a method ended: the best iterate and the way there."""

    factors: Pair
    history: tuple[float, ...]
    converged: bool
    halvings: int = 0


def score(problem: Problem, r: Array, loss: str) -> Array:
    """Return the derivative of the loss at the fitted residuals, between -1 and 1 (in the unit disc if complex); 0 at 0."""
    xp = _arrays.namespace(r)
    if loss == "l1":
        z = sign(r)
    else:
        corner = CORNER * GAUSSIAN * problem.typical(r)
        size = xp.abs(r)
        z = r / xp.astype(xp.where(size > corner, size, xp.full_like(size, corner or 1.0)), r.dtype)
    return z * xp.astype(problem.fitted, r.dtype)


def descend(problem: Problem, start: Start, loss: str, scale: float, step: float | None, max_iter: int, last: float) -> Descent:
    """Run the method until its step has shrunk to `last` of the first one, with half the step whenever it diverges."""
    found, first = None, FIRST_STEP if step is None else step
    for halvings in range(HALVINGS):
        found = replace(_run(problem, start, loss, scale, first, max_iter, last), halvings=halvings)
        if found.history[-1] <= DIVERGED * found.history[0]:
            return found
        first /= 2
    assert found is not None
    return replace(found, converged=False)


def _run(problem: Problem, start: Start, loss: str, scale: float, first: float, max_iter: int, last: float) -> Descent:
    factors = _start.small(start, scale, problem.symmetric)
    history, best, least, share = [], factors, float("inf"), 1.0
    shrink = 1 - FIRST_STEP / max(WAY, FOLDS[loss] * math.log(1 / scale))
    for _ in range(max_iter):
        r = problem.residual(factors)
        history.append(problem.typical(r))
        held_out = problem.typical(r, problem.tune) if len(problem.tune) else history[-1]
        if held_out <= least:
            best, least = factors, held_out
        if share < last or history[-1] == 0.0 or not history[-1] <= DIVERGED * history[0]:
            break
        direction = problem.pull(score(problem, r, loss), factors)
        factors = move(factors, direction, first * share / start.unit)
        share *= shrink
    return Descent(best, tuple(history), share < last or history[-1] == 0.0)


def move(factors: Pair, direction: Pair, length: float) -> Pair:
    """Return the factors moved against the direction, still one array if they were."""
    U, V = factors
    moved = U - length * direction[0]
    return moved, moved if U is V else V - length * direction[1]
