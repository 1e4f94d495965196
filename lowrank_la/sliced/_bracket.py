"""Bounds on SW_p^p that hold always, from moments of the clouds alone."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la.sliced._problem import Problem


def bracket(problem: Problem) -> tuple[float, float]:
    """Return bounds on SW_p^p.

    A projection of y - x on a uniform direction has p-th moment c |y - x|^p, with c = E|theta_1|^p. Below: the means must
    travel, and for p = 2 the standard deviations must change. Above: no coupling of the clouds beats the best one on each
    direction, be it that of all pairs or of x_i with y_i.
    """
    p, d = problem.p, problem.d
    travel = float(np.linalg.norm(problem.mu))
    if d == 1:
        return 0.0, math.inf
    c = _moment(d, p)
    if p == 2:
        spread = problem.X.trace, problem.Y.trace
        low = (travel**2 + (math.sqrt(spread[0]) - math.sqrt(spread[1])) ** 2) / d
        high = (travel**2 + sum(spread)) / d
    else:
        low = c * travel**p
        high = c * (problem.X.moment(p) ** (1 / p) + problem.Y.moment(p) ** (1 / p) + travel) ** p
    high = min(high, c * problem.paired)
    slack = 8 * (d + problem.X.n + problem.Y.n) * 2.0**-53
    return max(0.0, low * (1 - slack) - slack * (high - low)), high * (1 + slack)


def _moment(d: int, p: float) -> float:
    """E|theta_1|^p for theta uniform on the sphere."""
    return math.exp(math.lgamma(d / 2) + math.lgamma((p + 1) / 2) - math.lgamma((d + p) / 2) - math.lgamma(0.5))
