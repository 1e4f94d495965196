"""p = 1 and p = inf: linear programs on the few rows that decide, certified by the others.

For p = 1 all rows far from the fit keep the signs of their residuals, so only rows near it enter the program; if
a sign changes after all, that row enters the next one. For p = inf only the largest residuals matter: the program on
some rows bounds the minimum from below, and rows that exceed it enter the next one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.regression._lp_newton import Point
from lowrank_la.regression._lp_problem import LpProblem

ROUNDS = 60
FEW = 400  # rows that one program takes at once in any case
PER_COLUMN = 8  # rows per column of a first program
TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
INSIDE = 1e-9  # distance of |y| from 1 that makes a row an interpolated one


def least_absolute(problem: LpProblem, x: Array) -> Point | None:
    """Minimise ||r||_1 from a good x; None if the programs have not settled."""
    n, P = problem.b.shape[0], problem.basis.P
    r = _host(problem.residual(x))
    near = np.argsort(np.abs(r), kind="stable")[: _first(n, problem.rank)]
    for step in range(1, ROUNDS + 1):
        y = np.sign(r)
        y[near] = 0
        Q = problem.white_rows(near)
        answer = _signed_program(Q, r[near], -_host(problem.gradient(_arrays.from_numpy(y, problem.b))))
        if answer is None and near.size == n:
            return None
        if answer is None:  # the rows outside pull further than those inside hold
            near = np.argsort(np.abs(r), kind="stable")[: 4 * near.size]
            continue
        z, y[near] = answer
        x = x + P @ _arrays.from_numpy(z, problem.b)
        old, r = r, _host(problem.residual(x))
        outside = np.ones(n, dtype=bool)
        outside[near] = False
        turned = np.flatnonzero(outside & (old * r < 0))
        if turned.size == 0:
            return Point(x, _arrays.from_numpy(y, problem.b), step)
        near = np.union1d(near, turned)
    return None


def _signed_program(Q: np.ndarray, r: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Minimise ||r - Q z||_1 + c^T z over z by its dual: max r^T y with Q^T y = c, |y| <= 1; return z and y."""
    done = _program(-_unit(r), A_eq=Q.T, b_eq=c, bounds=(-1, 1))
    if done is None:
        return None
    y = done.x
    fitted = np.flatnonzero(np.abs(y) < 1 - INSIDE)
    z = -done.eqlin.marginals * _size(r)
    if fitted.size >= Q.shape[1]:  # interpolate anew: the solver's z has its tolerance
        exact = np.linalg.lstsq(Q[fitted], r[fitted], rcond=None)[0]
        if np.sum(np.abs(r - Q @ exact)) + c @ exact <= np.sum(np.abs(r - Q @ z)) + c @ z:
            z = exact
    return z, y


def least_maximum(problem: LpProblem, x: Array, tol: float) -> Point | None:
    """Minimise max |r| by rows that exceed the last program's bound."""
    n, P = problem.b.shape[0], problem.basis.P
    r = _host(problem.residual(x))
    far = np.argsort(-np.abs(r), kind="stable")[: _first(n, problem.rank)]
    best = None
    for step in range(1, ROUNDS + 1):
        answer = _minimax_program(problem.white_rows(far), r[far])
        if answer is None:
            return best
        z, multipliers, least = answer
        x = x + P @ _arrays.from_numpy(z, problem.b)
        r = _host(problem.residual(x))
        y = np.zeros(n)
        y[far] = multipliers
        best = Point(x, _arrays.from_numpy(y, problem.b), step)
        beyond = np.argsort(-np.abs(r), kind="stable")[: 4 * problem.rank + 8]
        beyond = np.setdiff1d(beyond[np.abs(r[beyond]) > least * (1 + 0.1 * tol)], far)
        if beyond.size == 0:
            return best
        far = np.union1d(far, beyond)
    return best


def _minimax_program(Q: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Minimise max |r - Q z|; return z, the dual point and the minimum."""
    m, k = Q.shape
    one = np.ones((m, 1))
    cost = np.r_[np.zeros(k), 1.0]
    scaled = _unit(r)
    done = _program(
        cost,
        A_ub=np.block([[-Q, -one], [Q, -one]]),
        b_ub=np.concatenate([-scaled, scaled]),
        bounds=[(None, None)] * k + [(0, None)],
    )
    if done is None:
        return None
    lower, upper = done.ineqlin.marginals[:m], done.ineqlin.marginals[m:]
    return done.x[:k] * _size(r), upper - lower, done.fun * _size(r)


def _program(cost: np.ndarray, **constraints: Any) -> Any:
    from scipy.optimize import linprog

    for options in (TIGHT, {}):
        done = linprog(cost, **constraints, method="highs", options=options)
        if done.status == 0:
            return done
    return None


def _first(n: int, rank: int) -> int:
    return min(n, max(FEW, PER_COLUMN * rank))


def _size(r: np.ndarray) -> float:
    return float(np.abs(r).max()) or 1.0


def _unit(r: np.ndarray) -> np.ndarray:
    return r / _size(r)


def _host(v: Array) -> np.ndarray:
    return np.array(_arrays.to_numpy(v), dtype=np.float64)
