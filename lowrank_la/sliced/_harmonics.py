"""Even spherical harmonics as control variates, without a basis of them: zonal functions about random poles span their space."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la.sliced import _directions

_MOST_DEGREE = {2: 64}  # on the circle, where the basis is orthogonal
_MOST_ON_POLES = 16  # beyond it poles tell too little apart


def count(d: int, degree: int) -> int:
    """Even harmonics of degree 2 to `degree`: one less than the monomials of this degree, which span them and the constant."""
    return math.comb(degree + d - 1, degree) - 1


def degree_for(most: int, d: int) -> int:
    """Largest even degree with at most so many harmonics; 0 if there is none."""
    degree = 0
    while degree < _MOST_DEGREE.get(d, _MOST_ON_POLES) and count(d, degree + 2) <= most:
        degree += 2
    return degree


def values(T: np.ndarray, degree: int, seed: int) -> np.ndarray:
    """Return controls (L, k) that span the even harmonics of degree 2 to `degree`; their means over the sphere are zero."""
    d = T.shape[1]
    if degree == 0:
        return np.empty((len(T), 0))
    if d == 2:
        turns = np.arctan2(T[:, 1], T[:, 0])[:, None] * np.arange(2, degree + 1, 2)
        return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)
    t = T @ _poles(count(d, degree), d, seed).T
    before, here, total = np.ones_like(t), t, np.zeros_like(t)
    for n in range(1, degree):  # Gegenbauer polynomials that are 1 at t = 1
        before, here = here, ((2 * n + d - 2) * t * here - n * before) / (n + d - 2)
        if n % 2:
            size = math.comb(n + d, n + 1) - math.comb(n + d - 2, n - 1)
            total += math.sqrt(size) * here
    return total


def _poles(k: int, d: int, seed: int) -> np.ndarray:
    """Draw poles: spread over the half sphere in three dimensions, where there are many, else at random."""
    return _directions.spiral(2 * k)[:k] if d == 3 else _directions.independent(k, d, seed, "sliced: poles")
