"""Rows of a stream that are held back at random, and what such a sample says about the mean over all rows."""

from __future__ import annotations

import functools
import math

import numpy as np

from lowrank_la import kernels

BATCH = 1 << 14
BETS = np.geomspace(1e-3, 0.9, 16)  # shares of the capital
HALVINGS = 40


def priorities(seed: int, stream: int, first: int, count: int) -> np.ndarray:
    """Draw 32-bit integers for rows `first` and on; the rows with the least of them are a random sample."""
    batches = [_batch(seed, stream, number) for number in range(first // BATCH, (first + count - 1) // BATCH + 1)]
    return np.concatenate(batches)[first % BATCH :][:count] if len(batches) > 1 else batches[0][first % BATCH :][:count]


@functools.lru_cache(maxsize=4)
def _batch(seed: int, stream: int, number: int) -> np.ndarray:
    """Draw them for a batch of rows, which short chunks share: row t has word t % 4 of counter t // 4."""
    counters = np.arange(number * BATCH // 4, (number + 1) * BATCH // 4, dtype=np.int64)
    words = kernels.philox.words(counters, seed, stream, counters, np.zeros_like(counters))
    drawn = np.stack(words, axis=1).reshape(-1)
    drawn.flags.writeable = False
    return drawn


def mean_at_least(x: np.ndarray, failure: float) -> float:
    """Bound the mean of a law on [0, inf) from below, by independent draws of it, or the mean of numbers by some of them.

    If the mean is m, the capital prod_i (1 - b + b x_i / m) of who bets a share b has expectation 1, and so has its
    average over several b. It is above 1 / failure with probability at most `failure`, and falls as m grows
    (Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86, 2024). For draws without replacement the expectation is at most
    1, by Maclaurin's inequality for the products of nonnegative numbers.
    """
    if not np.any(x > 0):
        return 0.0
    low, high = 0.0, float(np.mean(x))
    for _ in range(HALVINGS):
        m = (low + high) / 2
        gains = np.sum(np.log1p(BETS * (x[:, None] / m - 1)), axis=0)
        rich = np.logaddexp.reduce(gains) - math.log(BETS.size) >= -math.log(failure)
        low, high = (m, high) if rich else (low, m)
    return low


def mean_at_most(x: np.ndarray, most: float, failure: float) -> float:
    """Bound the mean of a law on [0, most] from above, by the bound from below for `most` - x."""
    return most * (1 - mean_at_least(1 - x / most, failure)) if most > 0 and x.size else most
