"""Predictive distributions against values that the model has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la._result import Certificate, Result

LEVEL, CONFIDENCE = 0.9, 0.95
LEAST = 10  # values that are worth a check
CLAIM = f"a {LEVEL:.0%} interval misses a new value, drawn like the held-out ones, with a probability <= bound"


@dataclass(frozen=True, repr=False)
class Calibration(Result):
    """How predictive distributions did on values that had no part in the fit.

    Attributes
    ----------
    n : int
        Values that were held out.
    coverage : float
        Share of them inside their central 90% intervals.
    nlpd : float
        Mean negative logarithm of the predictive density, in the units of the values.
    rmse : float
        Root of the mean squared error.
    ks : float
        Largest distance between the distribution of the probability integral transforms Phi((y - mean) / std) and the uniform one
        (Kolmogorov and Smirnov).
    """

    n: int
    coverage: float
    nlpd: float
    rmse: float
    ks: float


def calibration(y: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Calibration:
    """Compare values with normal predictive distributions."""
    from scipy.special import ndtr, ndtri

    z = (y - mean) / std
    u = np.sort(ndtr(z))
    steps = np.arange(z.size + 1) / z.size
    return Calibration(
        n=z.size,
        coverage=float(np.mean(np.abs(z) <= ndtri((1 + LEVEL) / 2))),
        nlpd=float(np.mean(0.5 * z * z + np.log(std)) + 0.5 * math.log(2 * math.pi)),
        rmse=float(np.sqrt(np.mean((y - mean) ** 2))),
        ks=float(max(np.max(steps[1:] - u), np.max(u - steps[:-1]))),
    )


def certificate(found: Calibration | None) -> Certificate:
    """Bound the probability of a miss from the number of misses, by Clopper and Pearson's limit."""
    if found is None:
        return Certificate(CLAIM, 1.0, 1.0, "nothing held out")
    from scipy.special import betaincinv

    misses = found.n - round(found.coverage * found.n)
    bound = 1.0 if misses == found.n else float(betaincinv(misses + 1, found.n - misses, CONFIDENCE))
    return Certificate(CLAIM, bound, CONFIDENCE, "held-out values")
