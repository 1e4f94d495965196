"""What held-out entries say about the missing ones."""

from __future__ import annotations

import math

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate

CONFIDENCE = 0.95
MARGIN = 2.0  # times the largest residual among observed entries: no missing entry is taken to be off by more
CLAIM = (
    "root mean square of M - model over the entries not fitted <= bound, if entries are missing uniformly at random "
    "and none is off by more than twice the largest residual"
)


def held_out(left_over: Array, largest: float) -> Certificate:
    """Bound the error over all entries that were not fitted, from a uniform sample of them and the largest residual seen.

    The empirical Bernstein inequality of Maurer and Pontil (COLT 2009) for the squares.
    """
    count = left_over.shape[0]
    if count < 2:
        return Certificate(CLAIM, math.inf, CONFIDENCE, "no held-out entries" if count == 0 else "1 held-out entry")
    xp = _arrays.namespace(left_over)
    scale = max(largest, float(xp.max(xp.abs(left_over)))) or 1.0
    squares = (left_over / scale) ** 2
    deviation = math.log(2 / (1 - CONFIDENCE))
    variance = float(xp.var(squares, correction=1))
    upper = float(xp.mean(squares)) + math.sqrt(2 * variance * deviation / count) + 7 * MARGIN**2 * deviation / (3 * (count - 1))
    return Certificate(CLAIM, scale * min(math.sqrt(upper), MARGIN), CONFIDENCE, f"{count} held-out entries")


def exact(residual: float) -> Certificate:
    """State the error of a model of a matrix that was given in full."""
    return Certificate("root mean square of M - model over all entries = bound", residual, 1.0, "residual")
