"""Alias tables: draws from any discrete law in constant time (Walker; Vose)."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


def tables(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Build an alias table for each row of non-negative weights (T, N): keep (T, N), shares of 2^63, and alias (T, N), both int64."""
    keep, alias = np.empty(weights.shape, np.int64), np.empty(weights.shape, np.int64)
    _tables(np.ascontiguousarray(weights, dtype=np.float64), keep, alias)
    return keep, alias


@njit(parallel=True, cache=True)
def _tables(weights, keep, alias):  # type: ignore[no-untyped-def]
    for t in prange(weights.shape[0]):
        _table(weights[t], keep[t], alias[t])


@njit(cache=True)
def _table(weights, keep, alias):  # type: ignore[no-untyped-def]
    """Fill up each item below the average with a share of one above it."""
    n = weights.size
    share, order = weights * (n / weights.sum()), np.empty(n, np.int64)
    low, high = 0, n  # order[:low] are below the average, order[high:] are not
    for j in range(n):
        if share[j] < 1:
            order[low] = j
            low += 1
        else:
            high -= 1
            order[high] = j
    heaviest = np.argmax(weights)
    while low and high < n:
        low -= 1
        j, donor = order[low], order[high]
        keep[j], alias[j] = np.int64(share[j] * 2.0**63), donor
        share[donor] -= 1 - share[j]
        if share[donor] < 1:
            high += 1
            order[low] = donor
            low += 1
    for i in range(low):  # rounding leaves a few of them: items without weight must stay without
        keep[order[i]], alias[order[i]] = np.int64(min(share[order[i]], 1 - 2.0**-53) * 2.0**63), heaviest
    for i in range(high, n):
        keep[order[i]], alias[order[i]] = np.int64(2**63 - 1), order[i]
