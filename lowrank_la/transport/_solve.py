"""From potentials to better ones: regularisation falls level by level, with Sinkhorn sweeps, then Newton's method, on each.

Potentials f and g mean the plan P_ij = a_i b_j exp((f_i + g_j - C_ij) / eps). Rows are eliminated: f is always the best for g,
so that the row sums of a plan are right and Newton's method maximises a concave function of g alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

START, RATIO = 0.1, 4.0  # first level, in units of the range of the costs, and the ratio of levels
SWEEPS = 10  # sweeps on each level
ROUGH = 0.003  # marginal error that is good enough on all levels but the last
CLAMP = 20.0  # longest step in units of eps
FIRST_SHIFT, LAST_SHIFT, MOST_SHIFT = 0.1, 1e-3, 1e3  # shift of the Newton matrix over the marginal error
STEEP = 0.2  # share of the slope at which a whole step is doubled
FINE = 1e-5  # marginal error where sweeps in single precision may stand still
FARTHEST = 1e5  # longest step to which doubling leads
PATIENCE, STALLED = 100, 0.9  # with forbidden pairs, Newton steps within which the error has to fall to such a share
LOST = 1e-25  # columns with a smaller share of what is due are set anew
REFINED = 15  # iterations that factors may take
SAMPLED = 1e-3  # marginal error that is good enough for a start
U = 2.0**-53


class Step(NamedTuple):
    """One step of the solver, as the history keeps it and a callback sees it.

    Attributes
    ----------
    phase : str
        "sweeps" or "newton".
    reg : float
        Regularisation of the level.
    n_iter : int
        Sweeps and Newton steps so far.
    error : float
        Marginal error over the mass.
    seconds : float
        Since the solver began.
    """

    phase: str
    reg: float
    n_iter: int
    error: float
    seconds: float


@dataclass
class Run:
    """What the solver is asked for, and the account that it keeps."""

    costs: Any
    a: np.ndarray
    b: np.ndarray
    rhos: tuple[float, float]
    tol: float
    max_iter: int
    method: str
    callback: Callable[[Step], Any] | None
    patience: int = sys.maxsize
    n_sweeps: int = 0
    n_newton: int = 0
    n_cg: int = 0
    stopped: bool = False
    history: list[Step] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    @property
    def newton(self) -> bool:
        """Say whether to make Newton steps."""
        return self.method != "sinkhorn"

    @property
    def sparse(self) -> bool:
        """Say whether to leave small entries out of their matrices."""
        return self.method == "newton-sparse"

    @property
    def is_balanced(self) -> bool:
        """Say whether both sums are due exactly."""
        return bool(np.isinf(self.rhos).all())

    @property
    def left(self) -> int:
        """Iterations that may still be made."""
        return 0 if self.stopped else self.max_iter - self.n_sweeps - self.n_newton

    def note(self, phase: str, reg: float, error: float) -> None:
        """Keep a step, and ask the callback whether to go on."""
        step = Step(phase, reg, self.n_sweeps + self.n_newton, float(error), time.perf_counter() - self.began)
        self.history.append(step)
        self.stopped |= self.callback is not None and bool(self.callback(step))


@dataclass(frozen=True)
class Point:
    """Potentials on one level, the sums of their plan, the dual value and the marginal error."""

    eps: float
    f: np.ndarray
    g: np.ndarray
    plan: Any
    due: np.ndarray
    dual: float
    error: float


def solve(run: Run, eps: float, spread: float, f: np.ndarray, g: np.ndarray, *, warm: bool) -> Point:
    """Solve for potentials at eps, from a guess that is good for a similar eps if `warm`."""
    levels = [eps] if warm else levels_to(eps, spread)
    for level in levels[:-1]:
        if run.left <= 0:
            break
        f, g, error = sweep(run, level, f, g, SWEEPS)
        if error > ROUGH and run.newton:
            point = newton(run, evaluate(run, level, f, g), ROUGH)
            f, g = point.f, point.g
    if not warm and run.left > 0:
        f, g, _ = sweep(run, eps, f, g, SWEEPS)
    point = evaluate(run, eps, f, g)
    if warm and point.error > ROUGH:
        point = evaluate(run, eps, *sweep(run, eps, f, g, SWEEPS)[:2])
    return newton(run, point, run.tol) if run.newton else scale(run, point)


def sampled(run: Run, eps: float, spread: float, chosen: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Solve between samples of the points, and extend the potentials to all of them: the start where costs are not stored."""
    rows, columns = chosen
    a, b = run.a[rows] / run.a[rows].sum(), run.b[columns] / run.b[columns].sum()
    costs = run.costs.stored(rows, columns)
    few = Run(costs, a, b, run.rhos, SAMPLED, run.max_iter, "auto", None)
    point = solve(few, eps, spread, np.zeros(rows.size), np.zeros(columns.size), warm=False)
    ones = np.ones(run.b.size)
    back = run.costs.part(rows, np.arange(run.b.size)).transposed()
    g = back.plan(0 * ones, point.f + eps * np.log(a), ones, eps).f
    return np.zeros(run.a.size), g


def levels_to(eps: float, spread: float) -> list[float]:
    """Return falling regularisations, the last of them eps."""
    levels = [eps]
    while levels[-1] * RATIO <= START * spread:
        levels.append(levels[-1] * RATIO)
    return levels[::-1]


def evaluate(run: Run, eps: float, f: np.ndarray, g: np.ndarray) -> Point:
    """Make the plan of g with the best f, for which f is a guess."""
    a, b = run.a, run.b
    kappas = eps / run.rhos[0], eps / run.rhos[1]
    plan = run.costs.plan(f + eps * np.log(a), g + eps * np.log(b), a, eps, kappas[0])
    f = plan.f - eps * np.log(a)
    due = b if kappas[1] == 0 else b * np.exp(-kappas[1] * g / eps)
    dual = _conjugate(a, f, run.rhos[0]) + _conjugate(b, g, run.rhos[1]) - eps * float(plan.rows.sum() - a.sum() * b.sum())
    return Point(eps, f, g, plan, due, dual, float(np.abs(plan.columns - due).sum()))


def _conjugate(a: np.ndarray, f: np.ndarray, rho: float) -> float:
    """Dual value of one marginal: a . f, or -rho a . (exp(-f / rho) - 1) if it may miss a at a price."""
    return float(a @ f) if np.isinf(rho) else float(-rho * (a @ np.expm1(-f / rho)))


def sweep(run: Run, eps: float, f: np.ndarray, g: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Make Sinkhorn sweeps; return the potentials and the marginal error before the last of them."""
    point = _revived(run, evaluate(run, eps, f, g))
    kappas = eps / run.rhos[0], eps / run.rhos[1]
    count = max(1, min(count, run.left))
    v = (point.due / point.plan.columns) ** (1 / (1 + kappas[1]))
    swept = run.costs.sweeps(point.plan, point.plan.rows, point.due, v, count, kappas)
    error = float(swept.errors[-1]) if swept.errors.size else point.error
    run.n_sweeps += count
    run.note("sweeps", eps, error)
    return point.f + eps * np.log(swept.u), point.g + eps * np.log(swept.v), error


def _revived(run: Run, point: Point) -> Point:
    """Give columns that have lost touch with all rows the potential of their cheapest row."""
    lost = point.plan.columns <= LOST * point.due
    if not lost.any():
        return point
    nearest = run.costs.transforms(point.f, point.g)[1]
    return evaluate(run, point.eps, point.f, np.where(lost, nearest, point.g))


def newton(run: Run, point: Point, goal: float) -> Point:
    """Maximise the dual by Newton's method with a shift that vanishes with the error, until the error meets the goal."""
    shift, direct = FIRST_SHIFT, False
    point = _revived(run, point)
    errors = [np.inf]
    while point.error > goal and run.left > 0 and point.error < STALLED * errors[max(0, len(errors) - run.patience)]:
        errors.append(point.error)
        step, direct = _direction(run, point, shift * point.error, direct)
        following, length = _search(run, point, step)
        if length == 0.0:
            break
        shift = min(max(shift * (0.25 if length >= 1 else 4.0 if length < 0.2 else 1.0), LAST_SHIFT), MOST_SHIFT)
        point = following
        run.n_newton += 1
        run.note("newton", point.eps, point.error)
    return point


def _direction(run: Run, point: Point, shift: float, direct: bool) -> tuple[np.ndarray, bool]:
    """Solve for a step of g in units of eps: by conjugate gradients, or where they took long by factors; say which."""
    kappas = point.eps / run.rhos[0], point.eps / run.rhos[1]
    rhs = point.due - point.plan.columns
    more = shift * run.b + kappas[1] * point.due
    if not any(kappas):
        rhs = rhs - rhs.mean()
    rtol = min(max(min(point.error, 0.1 * point.error**0.5), 1e-8), 1e-2)
    system = run.costs.system(point.plan, more, kappas[0], point.error, run.sparse)
    if not direct:
        step, n_iter = system.iterate(rhs, rtol, system.few)
        run.n_cg += n_iter
        if n_iter < system.few:
            return step, False
    factor = system.factor()
    if factor is not None:
        step, n_iter = system.refine(factor, rhs, rtol, REFINED)
        run.n_cg += n_iter
        if n_iter < REFINED:
            return step, True
    step, n_iter = system.iterate(rhs, rtol, 10 * system.few)
    run.n_cg += n_iter
    return step, False


def _search(run: Run, point: Point, step: np.ndarray) -> tuple[Point, float]:
    """Find a length for the step at which the dual rises as its slope promises; return the new point and the length, 0 if there is none.

    Entries of the plan that have to vanish do so exponentially: there whole steps are too short, and are doubled while the dual is steep.
    """
    slope = point.eps * float(step @ (point.due - point.plan.columns))
    most = float(np.abs(step).max())
    length = min(1.0, CLAMP / most) if most > 0 else 0.0
    while length > 1e-8:
        following = _moved(run, point, step, length)
        if _rises(run, point, following, length * slope) and following.error < max(4 * point.error, 1e-3):
            break
        length /= 4
    else:
        return point, 0.0
    while (
        length * most <= FARTHEST
        and following.error > run.tol
        and point.eps * float(step @ (following.due - following.plan.columns)) > STEEP * slope
    ):
        farther = _moved(run, point, step, 2 * length)
        if not farther.dual > following.dual:
            break
        following, length = farther, 2 * length
    return following, length


def _moved(run: Run, point: Point, step: np.ndarray, length: float) -> Point:
    return evaluate(run, point.eps, point.f, point.g + length * point.eps * step)


def _rises(run: Run, point: Point, following: Point, promise: float) -> bool:
    """Say whether the dual has risen by a share of what its slope promised, up to rounding."""
    size = float(run.a @ np.abs(point.f)) + float(run.b @ np.abs(point.g)) + point.eps * (1 + float(point.plan.rows.sum()))
    return following.dual >= point.dual + 1e-4 * promise - 64 * U * size


def scale(run: Run, point: Point) -> Point:
    """Make Sinkhorn sweeps until the error meets the tolerance, the last of them in double precision."""
    count = SWEEPS
    while point.error > run.tol and run.left > 0:
        if count:
            following = evaluate(run, point.eps, *sweep(run, point.eps, point.f, point.g, count)[:2])
            count = 0 if following.error > 0.5 * point.error and following.error < FINE else min(2 * count, 100)
        else:
            v = (point.due / point.plan.columns) ** (1 / (1 + point.eps / run.rhos[1]))
            following = evaluate(run, point.eps, point.f, point.g + point.eps * np.log(v))
            run.n_sweeps += 1
            run.note("sweeps", point.eps, following.error)
        point = following
    return point
