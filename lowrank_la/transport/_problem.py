"""What comes in: costs or points, weights and options, checked; zero weights are set aside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la.factor._dense import refuse_sparse
from lowrank_la.transport._costs import StoredCosts
from lowrank_la.transport._points import PointCosts

COSTS = ("sqeuclidean", "euclidean", "cosine")
STORED = 1 << 25  # pairs of points whose costs are stored
MASSES = {4: 1e-5, 8: 1e-9}  # relative difference of the masses that passes as rounding


@dataclass(frozen=True)
class Problem:
    """A checked problem: all points, the weights (of mass 1 if balanced), and the points that have weight.

    `largest` and `spread` are the largest cost in absolute value and the range of the costs, of pairs that are allowed.
    """

    door: Door
    everything: Any
    costs: Any
    a: np.ndarray
    b: np.ndarray
    mass: float
    points: Array | None
    largest: float
    spread: float
    forbidden: bool
    shown: tuple[int, int]  # points that are no dummies

    @property
    def rows(self) -> np.ndarray:
        """Places of positive row weights."""
        return np.flatnonzero(self.a)

    @property
    def columns(self) -> np.ndarray:
        """Places of positive column weights."""
        return np.flatnonzero(self.b)


def enter(name: str, C: Any, a: Array | None, b: Array | None, cost: Any, balanced: bool) -> Problem:
    """Check costs (n, m), or a pair of clouds (n, d) and (m, d), and weights."""
    if isinstance(C, tuple):
        door, everything, low, high, forbidden, points = _clouds(name, C, cost)
    else:
        refuse_sparse(name, C=C)
        door, [C] = _arrays.enter(name, C=C)
        _checks.not_empty(name, "C", _checks.ndim(name, "C", _checks.real_dtype(name, "C", C), 2))
        low, high, forbidden = _range(name, C)
        everything, points = StoredCosts(_by_rows(C)), None
    n, m = everything.shape
    a_, b_ = weights(name, "a", a, everything.like, n), weights(name, "b", b, everything.like, m)
    mass = _mass(name, door, a_, b_) if balanced else 1.0
    if balanced:
        a_, b_ = a_ / a_.sum(), b_ / b_.sum()
    costs = everything.part(np.flatnonzero(a_), np.flatnonzero(b_))
    if forbidden and balanced:
        _some_partner(name, costs)
    return Problem(door, everything, costs, a_, b_, mass, points, max(abs(low), abs(high)), high - low, forbidden, (n, m))


def _clouds(name: str, clouds: tuple[Any, ...], cost: Any) -> tuple[Door, Any, float, float, bool, Array]:
    """Check two clouds; compute their costs if they are few enough to be stored.

    Raises
    ------
    ValueError
        The tuple is no pair.
    """
    if len(clouds) != 2:
        raise ValueError(f"{name}: C must be a cost matrix or a pair of clouds (X, Y); got a tuple of {len(clouds)}")
    if not callable(cost):
        _checks.choice(name, "cost", cost, COSTS)
    refuse_sparse(name, X=clouds[0], Y=clouds[1])
    door, [X, Y] = _arrays.enter(name, X=clouds[0], Y=clouds[1])
    for which, x in (("X", X), ("Y", Y)):
        _checks.not_empty(name, which, _checks.ndim(name, which, _checks.real_dtype(name, which, x), 2))
        _checks.finite(name, which, x)
    _checks.shape(name, "Y", Y, (Y.shape[0], X.shape[1]))
    wide = door.xp.float64
    costs = PointCosts(door.xp.astype(X, wide, copy=False), door.xp.astype(Y, wide, copy=False), cost)
    if cost == "cosine":
        costs = PointCosts(_unit(name, "X", costs.X), _unit(name, "Y", costs.Y), "sqeuclidean", 0.5)
    if costs.shape[0] * costs.shape[1] > STORED:
        return door, costs, *_reach(costs), Y
    C = kernels.cloud.costs(costs.X, costs.Y, costs.cost)
    _checks.shape(name, "cost(X, Y)", C, costs.shape)
    stored = StoredCosts(C * costs.factor_ if costs.factor_ != 1 else C)
    return door, stored, *_range(name, stored.C), Y


def _unit(name: str, which: str, x: Array) -> Array:
    """Return points on the unit sphere: half their squared distance is one minus the cosine.

    Raises
    ------
    ValueError
        A point is zero.
    """
    xp = _arrays.namespace(x)
    norms = xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))
    if bool(xp.any(norms == 0)):
        raise ValueError(f"{name}: {which} must have no zero row for cost='cosine'; got {int(xp.sum(xp.astype(norms == 0, xp.int64)))}")
    return x / norms


def _reach(costs: PointCosts) -> tuple[float, float, bool]:
    """Bound costs that are not stored: by the corners of the clouds, or for a function by a look at all of them."""
    if callable(costs.cost):
        ranges = [_range("sinkhorn", C) for _, C in kernels.cloud.tiles(costs.X, costs.Y, costs.cost)]
        return min(r[0] for r in ranges), max(r[1] for r in ranges), any(r[2] for r in ranges)
    xp = _arrays.namespace(costs.X)
    low = xp.minimum(xp.min(costs.X, axis=0), xp.min(costs.Y, axis=0))
    high = xp.maximum(xp.max(costs.X, axis=0), xp.max(costs.Y, axis=0))
    square = float(xp.sum((high - low) ** 2))
    return 0.0, costs.factor_ * (square if costs.cost == "sqeuclidean" else square**0.5), False


def _by_rows(C: Array) -> Array:
    """Return costs whose rows are contiguous, which the loops read."""
    return np.ascontiguousarray(C) if isinstance(C, np.ndarray) and C.strides[1] != C.itemsize else C


def partial(name: str, problem: Problem, mass: float, *, alone: bool) -> Problem:
    """Add a dummy point on each side that takes what is not moved, free of charge; a pair of dummies costs more than it could save.

    Raises
    ------
    ValueError
        mass goes with another option that it excludes, or the costs cannot be stored.
    """
    first, second = float(problem.a.sum()), float(problem.b.sum())
    mass = _checks.real(name, "mass", mass, 0, min(first, second))
    if mass == 0 or not alone or not problem.everything.is_stored:
        raise ValueError(f"{name}: mass must be positive, without unbalanced or init, and with costs that can be stored; got {mass:g}")
    C = problem.everything.C
    xp = _arrays.namespace(C)
    wide = xp.concat([C, xp.zeros((C.shape[0], 1), dtype=C.dtype, device=C.device)], axis=1)
    corner = xp.asarray([[0.0] * C.shape[1] + [2 * problem.largest + problem.spread]], dtype=C.dtype, device=C.device)
    everything = StoredCosts(xp.concat([wide, corner], axis=0))
    total = first + second - mass
    a, b = np.append(problem.a, second - mass) / total, np.append(problem.b, first - mass) / total
    costs = everything.part(np.flatnonzero(a), np.flatnonzero(b))
    largest = 2 * problem.largest + problem.spread
    return replace(problem, everything=everything, costs=costs, a=a, b=b, mass=total, largest=largest)


def weights(name: str, which: str, w: Array | None, like: Array, length: int) -> np.ndarray:
    """Check weights and bring them to the host in float64; None means equal weights of mass 1.

    Raises
    ------
    ValueError
        A weight is negative, or all are zero.
    """
    if w is None:
        return np.full(length, 1 / length)
    w = _arrays.beside(name, which, w, like)
    _checks.shape(name, which, _checks.real_dtype(name, which, w), (length,))
    values = _arrays.to_numpy(_checks.finite(name, which, w)).astype(np.float64)
    if values.min() < 0:
        raise ValueError(f"{name}: {which} must not be negative; got {values.min():g} at index {int(values.argmin())}")
    if values.sum() == 0:
        raise ValueError(f"{name}: {which} must have a positive entry; got zeros")
    return values


def _mass(name: str, door: Door, a: np.ndarray, b: np.ndarray) -> float:
    """Return the common mass.

    Raises
    ------
    ValueError
        The masses differ.
    """
    first, second = float(a.sum()), float(b.sum())
    if abs(first - second) > MASSES[door.xp.finfo(door.dtype).bits // 8] * max(first, second):
        raise ValueError(f"{name}: a and b must have the same mass unless unbalanced or mass is given; got {first:.10g} and {second:.10g}")
    return first


def _range(name: str, C: Array) -> tuple[float, float, bool]:
    """Return the least and the largest finite cost and whether some are infinite.

    Raises
    ------
    ValueError
        A cost is NaN or -inf, or all are inf.
    """
    xp = _arrays.namespace(C)
    low, high = float(xp.min(C)), float(xp.max(C))
    if low != low or high != high or low == -np.inf:
        bad = int(xp.sum(xp.astype(xp.isnan(C) | (-xp.inf == C), xp.int64)))
        raise ValueError(f"{name}: C must have no NaN and no -inf entry; got {bad} out of {C.shape[0] * C.shape[1]}")
    if high == np.inf:
        high = float(xp.max(xp.where(xp.inf > C, C, -xp.inf * xp.ones_like(C))))
        if high == -np.inf:
            raise ValueError(f"{name}: C must allow some pair; got only infinite costs")
        return low, high, True
    return low, high, False


def _some_partner(name: str, costs: Any) -> None:
    """Require a finite cost in every row and column that has weight.

    Raises
    ------
    ValueError
        There is none.
    """
    n, m = costs.shape
    for least, side in zip(costs.transforms(np.zeros(n), np.zeros(m)), ("row", "column"), strict=True):
        if not np.isfinite(least).all():
            raise ValueError(f"{name}: C must allow a partner for every point with weight; got only inf in {side} {int(least.argmax())}")
