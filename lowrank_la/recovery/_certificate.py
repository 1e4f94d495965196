"""What measurements that nothing looked at say about the next one: a bound by order statistics."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la._result import Certificate

CONFIDENCE = 0.95
CLAIM = "median of |y - <A, U V^H>| over fresh measurements drawn like these <= bound"


def held_out(sizes: np.ndarray) -> Certificate:
    """Bound the median of a law by an order statistic of a sample from it, whatever the law."""
    count = len(sizes)
    j = order(count)
    bound = float(np.sort(sizes)[j]) if j < count else math.inf
    return Certificate(CLAIM, bound, CONFIDENCE, f"order statistic of {count} held-out measurements")


def order(count: int) -> int:
    """Return the least j with P(Bin(count, 1/2) <= j) >= 0.95, or `count`, for which that probability is 1.

    The j-th smallest of a sample, counted from 0, is below the median m only if more than j of the sample are below m,
    each of which has probability 1/2 at most.
    """
    from scipy.special import bdtr

    return int(np.argmax(bdtr(np.arange(count + 1), count, 0.5) >= CONFIDENCE))
