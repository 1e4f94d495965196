"""What held-out entries say about the missing ones, and what duality says about the objective."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from lowrank_la import _arrays, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.completion._fold import factors_of
from lowrank_la.completion._observations import Compressed

if TYPE_CHECKING:
    from lowrank_la.completion._result import CompletionResult

CONFIDENCE = 0.95
MARGIN = 2.0  # times the largest residual among observed entries: no missing entry is taken to be off by more
STARTS, POWERS, QUARTER = 10, 60, 0.25  # of the power method that bounds a norm
FAILURE = 0.2**STARTS
CLAIM = (
    "root mean square of M - model over the entries not fitted <= bound, if entries are missing uniformly at random "
    "and none is off by more than twice the largest residual"
)


def held_out(left_over: Array, largest: float) -> Certificate:
    """Bound the error over all entries that were not fitted, from a uniform sample of them and the largest residual seen.

    The empirical Bernstein inequality of Maurer and Pontil (COLT 2009) for the squares.
    """
    count = left_over.shape[0]
    if count < 2:
        return Certificate(CLAIM, math.inf, CONFIDENCE, "no held-out entries" if count == 0 else "1 held-out entry")
    xp = _arrays.namespace(left_over)
    scale = max(largest, float(xp.max(xp.abs(left_over)))) or 1.0
    squares = (left_over / scale) ** 2
    deviation = math.log(2 / (1 - CONFIDENCE))
    variance = float(xp.var(squares, correction=1))
    upper = float(xp.mean(squares)) + math.sqrt(2 * variance * deviation / count) + 7 * MARGIN**2 * deviation / (3 * (count - 1))
    return Certificate(CLAIM, scale * min(math.sqrt(upper), MARGIN), CONFIDENCE, f"{count} held-out entries")


def exact(residual: float) -> Certificate:
    """State the error of a model of a matrix that was given in full."""
    return Certificate("root mean square of M - model over all entries = bound", residual, 1.0, "residual")


def optimality_gap(result: CompletionResult, entries: Compressed) -> Certificate:
    """Bound how far a model's objective is above the least one; see `CompletionResult.optimality_gap`."""
    factors = factors_of(result)
    xp = _arrays.namespace(factors.left)
    place = entries.values, entries.indices, entries.indptr
    E = kernels.pairs.residual(*place, *factors.plain)
    target = E + entries.values - kernels.pairs.residual(*place, factors.U, factors.V)  # what U V^T is to meet
    size = sum(float(xp.sum(side * side)) for side in (factors.U, factors.V))
    primal = float(xp.vecdot(E, E)) + result.ridge * size
    c = min(1.0, result.ridge / (_norm_bound(replace(entries, values=E)) or 1.0))
    dual = 2 * c * float(xp.vecdot(E, target)) - c**2 * float(xp.vecdot(E, E))
    rounding = 4 * entries.values.shape[0] ** 0.5 * float(xp.finfo(E.dtype).eps) * (primal + float(xp.vecdot(target, target)))
    claim = "objective - its minimum over all matrices <= bound"
    return Certificate(claim, max(primal - dual, 0.0) + rounding, 1 - FAILURE, "dual gap of the nuclear norm")


def _norm_bound(E: Compressed) -> float:
    """Bound the spectral norm of sparse E by powers of E^T E on Gaussian vectors.

    (E^T E)^q g is at least s_1^(2q) times |v_1 . g|, which for one of 10 independent g exceeds a quarter
    with probability 1 - 0.2^10.
    """
    adjoint, random = E.transpose(), _random.host_generator(0, "complete: optimality gap")
    xp = _arrays.namespace(E.values)
    X = _arrays.from_numpy(random.standard_normal((E.shape[1], STARTS)), E.values)
    X, growth = xp.astype(X, xp.float64), 0.0
    for _ in range(POWERS):
        X = _product(adjoint, _product(E, X))
        longest = float(xp.max(xp.linalg.vector_norm(X, axis=0)))
        if longest == 0.0:
            return 0.0
        X, growth = X / longest, growth + math.log(longest)
    return math.exp((growth - math.log(QUARTER)) / (2 * POWERS))


def _product(side: Compressed, X: Array) -> Array:
    xp = _arrays.namespace(X)
    nothing = xp.zeros((side.shape[0], X.shape[1]), dtype=X.dtype, device=X.device)
    return kernels.pairs.gradient(side.values, side.indices, side.indptr, nothing, X)[0]
