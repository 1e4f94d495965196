"""Lengthscale and variance of a mode's prior, by the evidence of its filter.

Over distances far below its lengthscale, a Matern process of smoothness nu depends on variance / lengthscale^(2 nu) alone. The evidence
has a ridge there, so that the search goes along it as well as across.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from lowrank_la.functional_tucker._state_space import Prior, fit_lengthscale, log_evidence

FACTOR = 3.0  # by which a lengthscale changes at most in one search across, and its square along
TOL = 0.02  # of logarithms of lengthscales
SMOOTHNESS = {"matern12": 0.5, "matern32": 1.5, "matern52": 2.5, "rbf-approx": 2.5}


def learned(prior: Prior, t: np.ndarray, precision: np.ndarray, shift: np.ndarray) -> Prior:
    """Return a prior of larger evidence, or the same."""
    prior = fit_lengthscale(prior, t, precision, shift, factor=FACTOR)
    if prior.kernel not in SMOOTHNESS or t.size < 2:
        return prior
    from scipy.optimize import minimize_scalar

    def along(x: float) -> Prior:
        variance = prior.variance * math.exp(2 * SMOOTHNESS[prior.kernel] * x)
        return replace(prior, lengthscale=prior.lengthscale * math.exp(x), variance=variance)

    def loss(x: float) -> float:
        return -float(log_evidence(along(x), t, precision, shift))

    width = 2 * math.log(FACTOR)
    best: Any = minimize_scalar(loss, bounds=(-width, width), method="bounded", options={"xatol": TOL})
    return along(float(best.x)) if best.fun < loss(0.0) else prior
