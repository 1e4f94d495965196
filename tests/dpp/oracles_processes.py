"""Laws of determinantal processes by enumeration, and how far counts are from them."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import stats


def minors(K: np.ndarray, size: int | None = None) -> dict[tuple[int, ...], float]:
    """Return det(K_S) for all sets S of so many items, or for all sets; rounding below 0 is cut."""
    n = K.shape[0]
    sizes = range(n + 1) if size is None else [size]
    sets = (S for k in sizes for S in itertools.combinations(range(n), k))
    return {S: max(float(np.linalg.det(K[np.ix_(S, S)]).real), 0.0) if S else 1.0 for S in sets}


def law(K: np.ndarray, size: int | None = None) -> dict[tuple[int, ...], float]:
    """Return the probabilities of an L-ensemble, or of a k-DPP."""
    weights = minors(K, size)
    total = sum(weights.values())
    return {S: weight / total for S, weight in weights.items()}


def distance(first: dict[tuple[int, ...], float], second: dict[tuple[int, ...], float]) -> float:
    """Total variation distance of two laws on the same sets."""
    return sum(abs(first[S] - second[S]) for S in first) / 2


def p_value(expected: dict[tuple[int, ...], float], samples: list[np.ndarray]) -> float:
    """Chi-square test of samples against a law; sets that are expected fewer than 5 times count together."""
    counts = dict.fromkeys(expected, 0)
    for sample in samples:
        counts[tuple(sorted(int(item) for item in sample))] += 1
    observed = np.array(list(counts.values()), dtype=float)
    wanted = np.array(list(expected.values())) * len(samples)
    rare = wanted < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    wanted = np.append(wanted[~rare], wanted[rare].sum())
    assert observed[wanted < 1e-9].sum() == 0, "an impossible set was drawn"
    keep = wanted >= 1
    statistic = np.sum((observed[keep] - wanted[keep]) ** 2 / wanted[keep])
    return float(stats.chi2.sf(statistic, max(int(keep.sum()) - 1, 1)))


def orthonormal(n: int, m: int, seed: int, *, complex: bool = False) -> np.ndarray:
    """Draw a matrix with orthonormal columns whose rows have very different lengths."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, m)) * rng.uniform(0.1, 2, (n, 1))
    return np.linalg.qr(A + 1j * rng.standard_normal((n, m)) if complex else A)[0]
