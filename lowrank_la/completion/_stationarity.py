"""How steep the objective still is where the sweeps ended."""

from __future__ import annotations

import math
from dataclasses import replace

from lowrank_la import _arrays, kernels
from lowrank_la.completion import _robust
from lowrank_la.completion._observations import spread
from lowrank_la.completion._problem import BLOCKS, Factors, Problem
from lowrank_la.completion._sweeps import Fit, total_weight

ENOUGH = 1 << 17  # entries that stand for more of them


def stationarity(problem: Problem, factors: Factors, fit: Fit) -> float:
    """Return ||gradient|| ||(U, V)|| over twice the weighted sum of squares of the entries; 0 at a stationary point."""
    xp = _arrays.namespace(factors.left)
    sides = (problem, factors), (problem.transpose(), factors.transpose())
    steepness = sum(_half_gradient(*side, fit) for side in sides)
    size = sum(float(xp.sum(side * side)) for side in (factors.left, factors.right))
    return math.sqrt(steepness * size) / (problem.variance * total_weight(problem))


def _half_gradient(problem: Problem, factors: Factors, fit: Fit) -> float:
    """Sum the squares of half the gradient by the left factor, which must not point out of nonnegative factors.

    Of many entries, some rows stand for all.
    """
    share = min(1.0, ENOUGH / len(problem.rows))
    count = 1 if share == 1.0 else BLOCKS
    rows, (m, _) = problem.rows.blocks(share, count), problem.shape
    xp = _arrays.namespace(factors.left)
    left = xp.concat([factors.left[first:last, :] for first, last in spread(m, share, count)])
    weights = _robust.weights(rows, replace(factors, left=left), "left", problem.options.loss, fit.noise)
    F, offset = factors.regressors(factors.right)
    slope = fit.ridge * left - kernels.pairs.gradient(rows.values, rows.indices, rows.indptr, left, F, offset, weights)[0]
    if problem.options.nonnegative:
        slope = xp.where((left <= 0) & (slope > 0), xp.zeros_like(slope), slope)
    return float(xp.sum(slope * slope)) * m / left.shape[0]
