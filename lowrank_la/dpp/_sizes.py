"""Which eigenvectors take part in a sample: independent choices, or such choices given their number."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

CHUNK = 1 << 22  # uniform numbers at a time
STEPS = 200  # halvings of an interval of logarithms


class Choice(NamedTuple):
    """Chosen columns[r, :sizes[r]] of sample r; what stands behind them means nothing."""

    columns: np.ndarray
    sizes: np.ndarray


def random_size(values: np.ndarray, repeats: int, generator: np.random.Generator) -> Choice:
    """Choose each l of `values` with probability l / (1 + l)."""
    share = values / (1 + values)
    rows = max(1, CHUNK // max(1, values.size))
    chosen = [generator.random((min(rows, repeats - r), values.size)) < share for r in range(0, repeats, rows)]
    return _compact(np.concatenate(chosen))


def fixed_size(values: np.ndarray, size: int, repeats: int, generator: np.random.Generator) -> Choice:
    """Choose a set of `size` of the positive values with probability prop. to its product.

    That is the law of independent choices with odds c l given their number, for any c. The table holds
    P(j of the first n are chosen), from sums of positive terms; c puts the wanted number at the peak.
    """
    n = values.size
    if size in (0, n):
        return Choice(np.tile(np.arange(size), (repeats, 1)), np.full(repeats, size))
    share, rest = _tilted(values, size)
    table = np.zeros((n + 1, size + 1))
    table[0, 0] = 1.0
    for i in range(n):
        table[i + 1] = table[i] * rest[i]
        table[i + 1, 1:] += table[i, :-1] * share[i]
    wanted, chosen = np.full(repeats, size), np.zeros((repeats, n), np.bool_)
    for i in range(n - 1, -1, -1):
        take = share[i] * table[i, np.maximum(wanted - 1, 0)] * (wanted > 0)
        leave = rest[i] * table[i, wanted]
        chosen[:, i] = generator.random(repeats) * (take + leave) < take
        wanted -= chosen[:, i]
    return _compact(chosen)


def _compact(chosen: np.ndarray) -> Choice:
    """List the columns that are chosen in each row."""
    sizes = chosen.sum(axis=1)
    columns = np.argsort(~chosen, axis=1, kind="stable")[:, : int(sizes.max(initial=0))]
    return Choice(np.ascontiguousarray(columns), sizes)


def _tilted(values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return p = c l / (1 + c l) and 1 - p, with c such that the sum of p is `size`."""
    logs = np.log(values)
    low, high = -float(logs.max()) - math.log(values.size) - 1, -float(logs.min()) + math.log(values.size) + 1
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _logistic(logs + middle).sum() < size:
            low = middle
        else:
            high = middle
    return _logistic(logs + high), _logistic(-logs - high)


def _logistic(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), to full relative accuracy at both ends."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small)
