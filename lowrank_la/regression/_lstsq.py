"""`sketch_lstsq`: the public function, and the order in which it does things."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.regression import _entry
from lowrank_la.regression._bounds import Scene
from lowrank_la.regression._entry import NAME, Entry
from lowrank_la.regression._methods import Outcome, solve
from lowrank_la.regression._plan import METHODS, SKETCHES, Plan, make_plan
from lowrank_la.regression._precondition import precondition
from lowrank_la.regression._wide import solve_wide

CLAIM = "max_i |x_i - x*_i| <= bound"


@dataclass(frozen=True, repr=False)
class LstsqResult(Result):
    """Answer of `sketch_lstsq`.

    Attributes
    ----------
    x : array (d,) or (d, k)
        The solution.
    residual_norm : float, or array (k,)
        ||b - A x||_2, weighted if weights were given; estimated from the sketch where A was read only once.
    backward_error : float
        Estimate of the smallest relative change of A and b for which x is exact; inf where it was not computed.
    x_bound : array, shape of x
        Bound on |x_i - x*_i|, entry by entry, with the confidence of the certificate.
    rank : int
        Numerical rank of A.
    method : str
        The method that gave x.
    converged : bool
        A has full rank and, except for "solve", the backward error reached its tolerance.
    n_iter : int
        Corrections, or inner iterations.
    sketch_rows : int
        Rows of the sketch; 0 if there was none.
    certificate : Certificate
        Its bound is the largest entry of x_bound.
    """

    x: Array
    residual_norm: Any
    backward_error: float
    x_bound: Array
    rank: int
    method: str
    converged: bool
    n_iter: int
    sketch_rows: int
    certificate: Certificate


def sketch_lstsq(
    A: Any,
    b: Any,
    *,
    method: str = "auto",
    sketch: str = "auto",
    sketch_rows: int | None = None,
    eps: float | None = None,
    delta: float = 0.01,
    tol: float | None = None,
    ridge: float = 0.0,
    weights: Array | None = None,
    rng: _random.RNG = None,
    certificate: bool = True,
) -> LstsqResult:
    """Solve min ||A x - b||_2 for a tall A, with a bound on the error of every entry of x.

    Notes
    -----
    The sketch yields a triangular R that makes A R^-1 well conditioned.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.
    """
    method = _checks.choice(NAME, "method", method, METHODS)
    sketch = _checks.choice(NAME, "sketch", sketch, SKETCHES)
    delta = _checks.real(NAME, "delta", delta, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    entry = _entry.enter(A, b, weights, ridge)
    tol = entry.roundoff if tol is None else _checks.real(NAME, "tol", tol, 0, open=True)
    plan = make_plan(entry, method, sketch, sketch_rows, eps, delta, seed)
    if 0 in (*entry.shape, entry.columns_b):
        return _nothing_to_solve(entry)
    if entry.wide:
        _check_small(entry)
        outcome, rank = solve_wide(entry, plan, tol, certificate)
        return _answer(entry, rank, plan, outcome, tol)
    entry, Y, Z = _sketched(entry, plan)
    scene = Scene(entry.problem, precondition(Y, Z, entry.roundoff), entry.norms_b(), fine=certificate)
    outcome = solve(scene, plan, tol, certificate, Y, Z)
    return _answer(entry, scene.basis.rank, plan, outcome, tol)


def _sketched(entry: Entry, plan: Plan) -> tuple[Entry, Array, Array]:
    """Sketch A and b; their sketch is finite if and only if they are (and no sum overflows).

    Raises
    ------
    ValueError
        A is not finite.
    """
    for attempt in (entry, entry.shrunk()):
        Y, Z = attempt.problem.dense() if plan.S is None else attempt.problem.sketch(plan.S)
        xp = _arrays.namespace(Y)
        if bool(xp.all(xp.isfinite(Y))):
            return attempt, Y, Z
        _entry.check_finite(entry)
    raise ValueError(f"{NAME}: A must have entries whose sums stay finite; divide A by its largest entry")


def _answer(entry: Entry, rank: int, plan: Plan, outcome: Outcome, tol: float) -> LstsqResult:
    """Put everything into the caller's units, and warn where the answer is not what was asked."""
    ridge, full = entry.problem.ridge, min(entry.shape) if entry.wide else entry.shape[1]
    x = entry.solution(outcome.X)
    x_bound = entry.bounds(outcome.bound, outcome.X, x)
    xp = _arrays.namespace(outcome.bound)
    largest = float(_arrays.namespace(x_bound).max(x_bound))
    norms = entry.norms(outcome.r2 - ridge * xp.sum(xp.abs(outcome.X) ** 2, axis=0) if ridge else outcome.r2)
    exact = outcome.method == "solve" or outcome.backward_error <= 4 * tol
    if rank < full:
        warnings.warn(f"{NAME}: A has numerical rank {rank} of {full}; x is the solution of least norm", ConvergenceWarning, stacklevel=3)
    elif not exact:
        warnings.warn(f"{NAME}: backward error {outcome.backward_error:.2g} is above tol = {tol:.2g}", ConvergenceWarning, stacklevel=3)
    return LstsqResult(
        x=x,
        residual_norm=float(norms[0]) if entry.vector else entry.door.leave(norms),
        backward_error=outcome.backward_error,
        x_bound=x_bound,
        rank=rank,
        method=outcome.method,
        converged=rank == full and exact,
        n_iter=outcome.n_iter,
        sketch_rows=plan.height,
        certificate=Certificate(CLAIM, largest, 1.0 if outcome.level in {"L2", "none"} else 1 - plan.delta, outcome.level),
    )


def _check_small(entry: Entry) -> None:
    """Look for entries of a wide A that are not finite."""
    if entry.kind != "operator":
        _entry.check_finite(entry)


def _nothing_to_solve(entry: Entry) -> LstsqResult:
    """Answer for a problem without rows, columns or right-hand sides: zeros."""
    xp = _arrays.namespace(entry.problem.like)
    X = xp.zeros((entry.shape[1], entry.problem.like.shape[1]), dtype=xp.float64, device=entry.problem.like.device)
    x = entry.solution(X)
    norms = entry.norms(entry.norms_b() ** 2)
    certificate = Certificate(CLAIM, 0.0, 1.0, "L2")
    return LstsqResult(
        x, float(norms[0]) if entry.vector else entry.door.leave(norms), 0.0, entry.bounds(X, X, x), 0, "direct", True, 0, 0, certificate
    )
