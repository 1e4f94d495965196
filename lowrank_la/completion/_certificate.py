"""Certificates: what held-out entries say about the missing ones, and how far a model is from the best."""

from __future__ import annotations

import math

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate

CONFIDENCE = 0.95
ENOUGH = 10  # held-out entries below which no bound is given
CLAIM = "root mean square of M - model over the entries not fitted <= bound, if entries are missing uniformly at random"


def held_out(left_over: Array) -> Certificate:
    """Bound the error over all entries that were not fitted from a uniform sample of them.

    The sample mean of the squared residuals, plus Johnson's one-sided Student interval, which corrects
    for their skewness.
    """
    count = left_over.shape[0]
    if count < ENOUGH:
        return Certificate(CLAIM, math.inf, CONFIDENCE, f"held-out entries: {count} are too few")
    from scipy.special import stdtrit

    xp = _arrays.namespace(left_over)
    scale = float(xp.max(xp.abs(left_over))) or 1.0
    squares = (left_over / scale) ** 2
    mean = float(xp.mean(squares))
    deviation = squares - mean
    variance = float(xp.sum(deviation**2)) / (count - 1)
    skewness = float(xp.mean(deviation**3)) / variance**1.5 if variance > 0 else 0.0
    t = float(stdtrit(count - 1, CONFIDENCE))
    upper = mean + math.sqrt(variance / count) * (t + skewness * (1 + 2 * t**2) / (6 * math.sqrt(count)))
    return Certificate(CLAIM, scale * math.sqrt(upper), CONFIDENCE, f"{count} held-out entries")


def exact(residual: float) -> Certificate:
    """State the error of a model of a matrix that was given in full."""
    return Certificate("root mean square of M - model over all entries = bound", residual, 1.0, "residual")
