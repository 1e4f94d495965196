"""From the last point of the solver to the answer: bounds, potentials of all points, warnings."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.transport import _bracket
from lowrank_la.transport._bracket import Rounded
from lowrank_la.transport._exact import ExactPlan, exact_plan
from lowrank_la.transport._plan import LazyPlan
from lowrank_la.transport._problem import Problem
from lowrank_la.transport._result import TransportResult
from lowrank_la.transport._solve import Point, Run

CLAIM = "cost of plan(feasible=True) - least cost without regularisation <= bound"
CLAIM_UNBALANCED = "objective of the plan - least objective <= bound"


def answer(name: str, problem: Problem, run: Run, point: Point, certificate: bool, refine: bool) -> TransportResult:
    """Extend the potentials to points without weight, bound the error and put everything together."""
    balanced = run.is_balanced
    due = run.a if np.isinf(run.rhos[0]) else run.a * np.exp(-point.f / run.rhos[0])
    errors = float(np.abs(point.plan.rows - due).sum()), point.error
    converged = bool(sum(errors) <= run.tol * max(1.0, float(point.plan.rows.sum())))
    wanted = refine or (problem.forbidden and balanced and (certificate or not converged))
    exact = exact_plan(name, run.costs, run.a, run.b, point.f, point.g, problem.largest) if wanted else None
    _complain(name, run, sum(errors), converged)
    lower, upper, rounded = _bounds(problem, run, point, exact) if certificate or refine else (-np.inf, np.inf, None)
    shift = float(run.a @ point.f - run.b @ point.g) / 2 if balanced else 0.0
    f, g = _extended(problem, run, point, shift)
    mass, keep_rows, keep_columns = problem.mass, *problem.shown
    return TransportResult(
        f=_leave(problem, f[:keep_rows]),
        g=_leave(problem, g[:keep_columns]),
        value=mass * point.dual,
        value_gap=float(mass * _gap(problem, run, point, upper, rounded or exact)),
        transport_cost=mass * float(point.plan.costs.sum()),
        lower_bound=mass * lower,
        upper_bound=mass * upper,
        row_error=mass * errors[0],
        column_error=mass * errors[1],
        reg=point.eps,
        n_iter=run.n_sweeps + run.n_newton,
        n_sweeps=run.n_sweeps,
        n_newton=run.n_newton,
        n_cg=run.n_cg,
        converged=converged,
        history=tuple(run.history),
        certificate=Certificate(CLAIM if balanced else CLAIM_UNBALANCED, mass * (upper - lower), 1.0, "duality gap"),
        _plan=_lazy(problem, f, g, point.eps, exact or rounded),
    )


def _complain(name: str, run: Run, error: float, converged: bool) -> None:
    """Warn of a marginal error above the tolerance."""
    if converged or run.stopped:
        return
    steps = f"after {run.n_sweeps} sweeps and {run.n_newton} Newton steps"
    warnings.warn(f"{name}: marginal error {error:.3g} above tol = {run.tol:.3g} {steps}", ConvergenceWarning, stacklevel=5)


def _bounds(problem: Problem, run: Run, point: Point, exact: ExactPlan | None) -> tuple[float, float, Rounded | None]:
    """Bracket the least cost, or the least objective of an unbalanced problem, for mass 1; return the rounded plan if there is one."""
    if not run.is_balanced:
        return point.dual, _objective(run, point), None
    rounded = None if problem.forbidden else _bracket.rounded(run.costs, run.a, run.b, point, problem.largest)
    if exact is not None:
        return exact.lower, exact.cost + exact.slack, rounded
    lower = _bracket.lower_bound(run.costs, run.a, run.b, point.f, point.g, problem.largest)
    return lower, np.inf if rounded is None else rounded.cost + rounded.slack, rounded


def _gap(problem: Problem, run: Run, point: Point, upper: float, near: Rounded | ExactPlan | None) -> float:
    """Bound how far the dual value is below the least objective, for mass 1."""
    if not run.is_balanced:
        return upper - point.dual
    if near is None:
        return np.inf
    size = problem.largest + point.eps * (1 + abs(near.entropy)) + float(run.a @ np.abs(point.f)) + float(run.b @ np.abs(point.g))
    rounding = 8 * (run.a.size + run.b.size + 10) * _bracket.U * size
    gap = max(near.cost + point.eps * near.entropy - point.dual, 0.0) + rounding
    return np.inf if np.isnan(gap) else gap  # where figures overflow


def _objective(run: Run, point: Point) -> float:
    """Return the regularised objective of the plan of an unbalanced problem."""
    r, c = point.plan.rows, point.plan.columns
    energy = float(r @ point.f + c @ point.g)  # <C, P> + reg <log(P / (a b)), P>
    value = energy - point.eps * float(r.sum() - run.a.sum() * run.b.sum())
    return value + sum(_missing(x, due, rho) for x, due, rho in ((r, run.a, run.rhos[0]), (c, run.b, run.rhos[1])))


def _missing(x: np.ndarray, due: np.ndarray, rho: float) -> float:
    """Price rho KL(x | due) of missing the sums, or zero where x is due exactly."""
    return 0.0 if np.isinf(rho) else rho * float(np.sum(x * np.log(x / due) - x + due))


def _extended(problem: Problem, run: Run, point: Point, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Give points without weight the potential that their first grain of mass would have."""
    n, m = problem.everything.shape
    f, g = np.empty(n), np.empty(m)
    f[problem.rows], g[problem.columns] = point.f - shift, point.g + shift
    sides = (f, problem.rows, g, problem.columns, run.b), (g, problem.columns, f, problem.rows, run.a)
    for own, kept, other, partners, w in sides:
        missing = np.setdiff1d(np.arange(len(own)), kept)
        if len(missing):
            costs = problem.everything if own is f else problem.everything.transposed()
            ones = np.ones(len(missing))
            own[missing] = costs.part(missing, partners).plan(0 * ones, other[partners] + point.eps * np.log(w), ones, point.eps).f
    return f, g


def _lazy(problem: Problem, f: np.ndarray, g: np.ndarray, eps: float, feasible: Rounded | ExactPlan | None) -> LazyPlan:
    """Keep what makes the plan between all points that the caller knows."""
    n, m = problem.shown
    if isinstance(feasible, ExactPlan):
        feasible = feasible.inside(problem.rows, problem.columns, problem.everything.shape, problem.shown)
    elif feasible is not None:
        columns, left_rows, left_columns = np.ones_like(g), np.zeros_like(f), np.zeros_like(g)
        columns[problem.columns], left_columns[problem.columns] = feasible.columns, feasible.left_columns
        left_rows[problem.rows] = feasible.left_rows
        feasible = replace(feasible, columns=columns[:m], left_rows=left_rows[:n], left_columns=left_columns[:m])
    costs = problem.everything.part(np.arange(n), np.arange(m))
    return LazyPlan(problem.door, costs, problem.a[:n], problem.b[:m], f[:n], g[:m], eps, problem.mass, problem.points, feasible)


def _leave(problem: Problem, x: np.ndarray) -> Array:
    return problem.door.leave_wide(_arrays.from_numpy(x, problem.everything.like))
