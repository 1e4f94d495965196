"""Least squares by LSMR, with a bound on the backward error."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.solvers import _bidiagonal, _rectangular
from lowrank_la.solvers._block import dots, norms
from lowrank_la.solvers._gradients import AIM, CORRECTIONS, FLOOR, PER_ROW
from lowrank_la.solvers._hermitian import preconditioned
from lowrank_la.solvers._rectangular import Rectangular
from lowrank_la.solvers._result import LeastSquaresResult
from lowrank_la.solvers._system import U, listener

BACKWARD = "x_j minimises ||b_j - (A + E_j) x||_2 for some E_j with ||E_j||_2 <= bound, for every right-hand side"
ERROR = "||A (x_j - x*_j)||_2 <= bound, for every right-hand side"


def lsmr(
    A: Any,
    b: Array,
    *,
    damp: float = 0.0,
    preconditioner: Any = None,
    x0: Array | None = None,
    tol: float = 1e-8,
    max_iter: int | None = None,
    least_singular_value: float | None = None,
    callback: Callable[[int, np.ndarray], Any] | None = None,
) -> LeastSquaresResult:
    """Minimise ||b - A x||^2 + damp^2 ||x||^2 for a large sparse matrix or a linear map, with a bound on the backward error.

    Never forms A^H A. All right-hand sides go through the same products and stop one by one. The iteration starts again from a
    residual computed anew until that one has passed. For dense matrices that are much longer than wide `sketch_lstsq` is faster.

    Parameters
    ----------
    A : array (m, n), sparse matrix, or linear map
        Real or complex, of any shape. A linear map has `shape`, `@` with arrays (n, s) of the kind of b, and its adjoint in `H` or `T`.
    b : array (m,) or (m, t)
        Right-hand sides, real or complex.
    damp : float, damp >= 0
        Weight of the size of x.
    preconditioner : callable, array (n, n), sparse matrix or linear map, optional
        G (n, s) -> P^-1 G, or P^-1 itself: Hermitian positive definite, near the inverse of A^H A + damp^2 I.
    x0 : array, optional
        Where to start; zero by default.
    tol : float, tol > 0
        Each gradient A^H r to reach, relative to ||A||_2 ||r||; or r, relative to b, where A x = b has a solution.
    max_iter : int, max_iter >= 1, optional
        Products with A, and with A^H, after which to give up; 10 min(m, n) by default.
    least_singular_value : float, least_singular_value > 0, optional
        A number that is surely below all n singular values of A: makes the bound on the error a certain one; so does `damp`.
    callback : callable, optional
        Called after each iteration with its number and the gradients (t,) as the recurrence knows them; a true answer stops.

    Returns
    -------
    LeastSquaresResult
        x, n_iter, residual, gradient, history, least_singular_value, error, converged and certificate.

    Raises
    ------
    ValueError
        A shape does not fit, an entry is not finite or above 1e140 in size, products with A and its adjoint do not belong together, the
        preconditioner is not Hermitian and positive definite, or an argument is out of range.
    TypeError
        An argument has the wrong type, or arrays belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        A gradient is above the tolerance after `max_iter` iterations, or where it no longer falls; the certificate stays true.

    Notes
    -----
    Cost: one product with A, one with A^H and 20 (m + n) t flops an iteration; about three of each more for the certificate. Memory: two
    vectors (m, t) and eight (n, t) in double precision; a sparse A is stored once more, by columns, and no other is copied.

    From x0 = 0 and without a preconditioner the iteration finds the solution of least norm where A has not full rank. The gradient
    falls in every step, in the norm of P^-1.

    Certificate: with E = -r r^H A / ||r||^2, x is the exact minimiser for A + E [2]_, and with E = r x^H / ||x||^2 it solves (A + E) x = b:
    the bound is the lesser of ||A^H r|| / ||r|| and ||r|| / ||x||, rounding errors of r and A^H r included. With damping, A has damp I
    below, b zeros, and E as many rows. `error` follows from ||A (x - x*)||^2 = g^H (A^H A)^-1 g <= ||g||^2 / sigma^2 for the gradient g
    and any sigma below the singular values; it is an estimate where sigma is the least one that the iteration has seen.

    References
    ----------
    .. [1] Fong and Saunders, LSMR: an iterative algorithm for sparse least-squares problems, SIAM J. Sci. Comput. 33, 2011. The iteration.
    .. [2] Stewart, Research, development, and LINPACK, Mathematical Software III, 1977. The backward error.
    .. [3] Arioli and Orban, Iterative methods for symmetric quasi-definite linear systems, 2013. Bidiagonalization in other norms.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import random_array
    >>> from lowrank_la.solvers import lsmr
    >>> rng = np.random.default_rng(0)
    >>> A, b = random_array((2000, 300), density=0.02, rng=rng), rng.standard_normal(2000)
    >>> result = lsmr(A, b)
    >>> x = np.linalg.lstsq(A.toarray(), b)[0]
    >>> result.converged, bool(np.linalg.norm(A @ (result.x - x)) <= result.error.bound < 1e-5)
    (True, True)
    """
    function = "lsmr"
    damp = _checks.real(function, "damp", damp, 0.0)
    tol = _checks.real(function, "tol", tol, 0.0, open=True)
    system = _rectangular.enter(function, A, b, damp)
    if max_iter is None:
        max_iter = PER_ROW * min(system.rows, system.columns)
    max_iter = _checks.integer(function, "max_iter", max_iter, 1)
    if least_singular_value is not None:
        least_singular_value = _checks.real(function, "least_singular_value", least_singular_value, 0.0, open=True)
    precondition = preconditioned(system, preconditioner, system.columns)
    tell = listener(function, callback)
    with system.threads():
        run = _start(system, x0)
        _solve(system, precondition, run, tol, max_iter, tell)
    return _answer(system, precondition, run, tol, least_singular_value)


@dataclass
class _Run:
    """The iteration so far: X, its residual R and gradient G computed anew, and what it has shown of A."""

    X: Array
    R: Array
    G: Array
    n_iter: int = 0
    history: list[np.ndarray] = field(default_factory=list)
    size: float = 0.0
    least: float = math.inf


def _start(system: Rectangular, x0: Array | None) -> _Run:
    X, R = system.start(x0, system.columns)
    return _Run(X, R, system.adjoint(R))


def _solve(
    system: Rectangular,
    precondition: Callable[[Array], Array] | None,
    run: _Run,
    tol: float,
    max_iter: int,
    tell: Callable[[int, np.ndarray], Any],
) -> None:
    """Iterate, compute residual and gradient anew, and go on from there where they are too large."""
    weighed = _weighed(run.G, precondition)
    run.history.append(weighed)

    def watch(n_iter: int, gradients: np.ndarray) -> Any:
        run.history.append(gradients.copy())
        return tell(len(run.history) - 1, gradients * system.scale)

    for _ in range(CORRECTIONS):
        before, goal = norms(run.G), tol * norms(system.B)
        open_ = ~_passed(run, tol, goal)
        if not open_.any() or run.n_iter >= max_iter:
            return
        ratio = np.where(before > 0, weighed / np.where(before > 0, before, 1.0), 1.0)
        rule = _bidiagonal.Rule(AIM * tol, ratio, FLOOR * weighed, np.where(open_, AIM * goal, math.inf))
        part = _bidiagonal.lsmr(
            system.times, system.adjoint, run.R, rule, precondition=precondition, max_iter=max_iter - run.n_iter, watch=watch
        )
        run.n_iter += part.n_iter
        run.size, run.least = max(run.size, part.size), min(run.least, part.least_square())
        if not _accept(system, run, part.X, before, open_) or part.stopped:
            return
        weighed = _weighed(run.G, precondition)


def _weighed(G: Array, precondition: Callable[[Array], Array] | None) -> np.ndarray:
    """Return the norms of gradients in P^-1."""
    return norms(G) if precondition is None else np.sqrt(np.maximum(dots(G, precondition(G)), 0.0))


def _passed(run: _Run, tol: float, goal: np.ndarray) -> np.ndarray:
    gradient, residual = norms(run.G), norms(run.R)
    return (gradient <= tol * run.size * residual) | (residual <= goal)


def _accept(system: Rectangular, run: _Run, step: Array, before: np.ndarray, open_: np.ndarray) -> bool:
    """Take the columns whose gradient or residual has become smaller; say whether it is worth while to go on."""
    xp = system.door.xp
    trial = system.rounded(run.X + step)
    R = system.residual(trial)
    G = system.adjoint(R)
    after = norms(G)
    better = _arrays.from_numpy((after < before) | (norms(R) < norms(run.R)), R)[None, :]
    run.X, run.R, run.G = xp.where(better, trial, run.X), xp.where(better, R, run.R), xp.where(better, G, run.G)
    return bool(np.any(open_ & (after < before / 2)))


def _answer(
    system: Rectangular, precondition: Callable[[Array], Array] | None, run: _Run, tol: float, least: float | None
) -> LeastSquaresResult:
    """Judge gradients and residuals, warn where they are too large, and hand out."""
    slack_r, slack_g, grain = system.doubt(run.X, run.R)
    gradient, residual = norms(run.G), norms(run.R)
    converged = bool(np.all(_passed(run, tol, tol * norms(system.B)) | (gradient <= grain)))
    if not converged:
        scale = np.maximum(run.size * residual, np.finfo(float).tiny)
        message = f"a relative gradient of {float(np.max(gradient / scale)):.3g} is above tol={tol:g} after {run.n_iter} iterations"
        warnings.warn(f"{system.function}: {message}", ConvergenceWarning, stacklevel=3)
    bound = _backward(gradient + slack_g, residual, slack_r, norms(run.X), system.columns + system.rows)
    how = "gradient over residual" if system.exact else "gradient over residual, products of the map taken as they come"
    floor, error = _error(system, precondition, run, slack_g, least)
    short = (norms(run.R[: system.rows, :]) if system.damp else residual) * system.scale
    gradient, history = gradient * system.scale, np.stack(run.history) * system.scale
    figures = (float(short[0]), float(gradient[0]), history[:, 0]) if system.vector else (short, gradient, history)
    certificate = Certificate(BACKWARD, float(np.max(bound)), 1.0, how)
    return LeastSquaresResult(system.leave(run.X), run.n_iter, *figures, floor, error, converged, certificate)


def _backward(gradient: np.ndarray, residual: np.ndarray, slack: np.ndarray, length: np.ndarray, terms: int) -> np.ndarray:
    """Bound the backward errors, rounding errors of the norms included."""
    least, most = residual - slack, residual + slack
    with np.errstate(divide="ignore", invalid="ignore"):
        stewart = np.where(least > 0, gradient / least, math.inf)
        through = np.where(length > 0, most / length, np.where(most > 0, math.inf, 0.0))
    return np.minimum(stewart, through) * (1 + 4 * terms * U)


def _error(
    system: Rectangular, precondition: Callable[[Array], Array] | None, run: _Run, slack: np.ndarray, least: float | None
) -> tuple[float | None, Certificate | None]:
    """Bound the error of A x by the gradient, or estimate it."""
    known = math.hypot(least or 0.0, system.damp)
    if known > 0:
        how = "gradient over the least singular value given" if least else "gradient over the damping"
        bound = float(np.max(norms(run.G) * (1 + 2 * system.columns * U) + slack)) * system.scale
        return known, Certificate(ERROR, bound / known * (1 + 4 * U), 1.0, how)
    if not system.columns * U * run.size**2 < run.least < math.inf:
        return None, None
    seen, plain = math.sqrt(run.least), norms(run.G)
    size = _weighed(run.G, precondition) * (1 + slack / np.where(plain > 0, plain, math.inf))
    return seen, Certificate(ERROR, float(np.max(size)) * system.scale / seen, 0.0, "estimate from the least singular value seen")
