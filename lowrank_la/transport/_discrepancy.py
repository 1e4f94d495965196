"""Bound the distance between two laws from a sample of each: maximum mean discrepancy for a Gaussian kernel."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array

CLAIM = "maximum mean discrepancy between the law of the bridge's ends and that of X1 <= bound"
CONFIDENCE = 0.99
MOST = 20_000  # points of each sample: pairs of all of them are summed
SAMPLE = 1000  # points that decide the bandwidth
ROUNDING = 1e-12  # of the squared discrepancy of the samples


def bandwidth(Y: Array, random: np.random.Generator) -> float:
    """Median distance of a few points, which must be independent of those that are judged."""
    from scipy.spatial.distance import pdist

    distances = pdist(_arrays.to_numpy(Y)[random.permutation(Y.shape[0])[:SAMPLE]])
    positive = distances[distances > 0]
    return float(np.median(positive)) if positive.size else 1.0


def discrepancy(X: Array, Y: Array, h: float) -> float:
    """Return a bound that holds with probability `CONFIDENCE` over independent samples X (n, d) and Y (m, d).

    The samples' mean unit vectors are as far apart as the laws' to within Z, with E Z^2 <= 1/n + 1/m, and Z
    changes by at most sqrt(2) / n or sqrt(2) / m with one point, which McDiarmid's inequality turns into a tail.
    """
    X, Y = X[: min(MOST, X.shape[0]), :], Y[: min(MOST, Y.shape[0]), :]
    n, m = X.shape[0], Y.shape[0]
    square = _mean(X, X, h) + _mean(Y, Y, h) - 2 * _mean(X, Y, h)
    radius = math.sqrt(1 / n + 1 / m) * (1 + math.sqrt(math.log(1 / (1 - CONFIDENCE))))
    return min(math.sqrt(max(square, 0.0) + ROUNDING) + radius, math.sqrt(2))


def _mean(X: Array, Y: Array, h: float) -> float:
    xp = _arrays.namespace(X)
    ones = xp.ones((Y.shape[0], 1), dtype=Y.dtype, device=Y.device)
    return float(xp.mean(kernels.kernel_product.apply(X, Y, ones, "rbf", (h,)))) / Y.shape[0]
