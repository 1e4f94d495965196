"""Conjugate gradients for Hermitian positive definite matrices, with bounds on residuals and errors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.solvers import _block, _hermitian
from lowrank_la.solvers._block import dots, norms
from lowrank_la.solvers._hermitian import Hermitian, Spectrum
from lowrank_la.solvers._result import SolveResult, error_certificate, residual_certificate
from lowrank_la.solvers._system import listener

CORRECTIONS = 6  # times that the iteration starts again from a residual computed anew
AIM = 0.9  # of the tolerance, by the iteration's own residual
FLOOR = 1e-13  # drop of the residual that one run of the iteration can be trusted with
PER_ROW = 10  # products for each row, by default


def conjugate_gradients(
    A: Any,
    b: Array,
    *,
    preconditioner: Any = None,
    x0: Array | SolveResult | None = None,
    tol: float = 1e-8,
    max_iter: int | None = None,
    least_eigenvalue: float | None = None,
    callback: Callable[[int, np.ndarray], Any] | None = None,
) -> SolveResult:
    """Solve A x = b for a Hermitian positive definite A, with bounds on the residual and on the error.

    All right-hand sides go through the same products, each with step lengths of its own, and stop one by one.
    The iteration starts again from a residual computed anew until that one has reached the tolerance.

    Parameters
    ----------
    A : array (n, n), sparse matrix, or linear map
        Real symmetric or complex Hermitian, positive definite. A linear map has `shape` and `@` with arrays (n, s) of the kind of b.
    b : array (n,) or (n, t)
        Right-hand sides, real or complex.
    preconditioner : callable, array (n, n), sparse matrix or linear map, optional
        R (n, s) -> P^-1 R, or P^-1 itself: Hermitian positive definite, near the inverse of A.
    x0 : array or SolveResult, optional
        Where to start, in the shape of b; zero by default. An earlier result for the same A, b and P goes on with its directions: it takes
        about as many iterations altogether as without the interruption, a third to a half fewer than from its x alone.
    tol : float, tol > 0
        Norm of each residual to reach, relative to that of its right-hand side.
    max_iter : int, max_iter >= 1, optional
        Products with A after which to give up; 10 n by default.
    least_eigenvalue : float, least_eigenvalue > 0, optional
        A number that is surely below all eigenvalues of A: makes the bound on the error a certain one.
    callback : callable, optional
        Called after each iteration with its number and the norms of all residuals (t,), as the recurrence knows them; a true answer stops.

    Returns
    -------
    SolveResult
        x, n_iter, residual, history, least_eigenvalue, error, converged, certificate and directions.

    Raises
    ------
    ValueError
        A is not square, not Hermitian, or not positive definite as its entries, products or the iteration show; a shape does not fit; an
        entry is not finite; or an argument is out of range.
    TypeError
        An argument has the wrong type, or arrays belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        A residual is above the tolerance after `max_iter` products, or where it no longer falls; the certificate stays true.

    Notes
    -----
    Cost: one product with A, and 10 n t flops for vectors, an iteration; about three products more for the checks and the certificate.
    Up to four right-hand sides meet a dense A that equals its adjoint in every bit in products that read half of it.
    Memory: eight arrays of the shape of b in double precision; A is not copied. Entries in single precision are widened as they
    are read. The answer is rounded to the dtype of A before its residual is computed.

    Certificates: `certificate` adds to the computed residual what its rounding errors can amount to, (k + 4) u (|A| |x| + |b|) for rows
    with k entries. Errors follow from ||x - x*||_A^2 = r^H A^-1 r <= ||r||^2 / lambda for any lambda below the spectrum: the one that is
    given, or Gershgorin's, if positive. Otherwise the least Ritz value theta of the iteration gives the
    estimate (r^H P^-1 r / theta)^(1/2): it is seldom wrong by much, as the iteration converges by finding that eigenvalue where it
    matters, but theta lies above the spectrum and nothing is proved. A may be singular if b lies in its range: only the eigenvalues
    that b contains count then.

    References
    ----------
    .. [1] Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, J. Res. NBS 49, 1952.
    .. [2] Meurant and Tichy, Error norm estimation in the conjugate gradient algorithm, SIAM, 2024. Ritz values from the coefficients.
    .. [3] van der Vorst and Ye, Residual replacement strategies for Krylov subspace iterative methods for the convergence of true
       residuals, SIAM J. Sci. Comput. 22, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import diags_array
    >>> from lowrank_la.solvers import conjugate_gradients
    >>> A = diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(1000, 1000))
    >>> result = conjugate_gradients(A, np.ones(1000))
    >>> result.converged, result.error.method
    (True, 'residual over the least eigenvalue by Gershgorin')
    >>> bool(np.linalg.norm(1 - A @ result.x) <= result.certificate.bound < 1e-6)
    True
    """
    function = "conjugate_gradients"
    system = _hermitian.enter(function, A, b)
    tol = _checks.real(function, "tol", tol, 0.0, open=True)
    n = int(system.B.shape[0])
    max_iter = PER_ROW * n if max_iter is None else _checks.integer(function, "max_iter", max_iter, 1)
    given = None if least_eigenvalue is None else _checks.real(function, "least_eigenvalue", least_eigenvalue, 0.0, open=True)
    precondition = _hermitian.preconditioned(system, preconditioner, n) or (lambda R: R)
    tell = listener(function, callback)
    with system.threads():
        run = _solve(system, precondition, start(system, x0), tol, max_iter, tell)
        doubt = system.doubt(run.X)
        certificate = residual_certificate(system, run.R, doubt.slack)
        floor, error = _error(system, precondition, run, given, certificate.bound)
    directions = None if run.P is None else system.door.leave_wide(run.P[:, 0] if system.vector else run.P)
    return answer(SolveResult, system, run, tol, doubt.grain, certificate, floor, error, directions=directions)


@dataclass
class Run:
    """The iteration so far: X, its residual computed anew, what it has shown of the spectrum of P^-1 A, the last directions P."""

    X: Array
    R: Array
    n_iter: int
    history: list[np.ndarray]
    ritz: tuple[float, float] = (math.inf, 0.0)
    P: Array | None = None
    singular: bool = False


def start(system: Hermitian, x0: Array | SolveResult | None) -> Run:
    """Check the first guess and compute its residual."""
    n = int(system.B.shape[0])
    if not isinstance(x0, SolveResult):
        X, R = system.start(x0, n)
        return Run(X, R, 0, [norms(R)])
    X, R = system.start(x0.x, n)
    estimate = x0.error is not None and x0.error.confidence == 0 and x0.least_eigenvalue
    P = None if x0.directions is None else system.guess("x0.directions", x0.directions, n)
    return Run(X, R, 0, [norms(R)], (estimate or math.inf, 0.0), P)


def _solve(
    system: Hermitian,
    precondition: Callable[[Array], Array],
    run: Run,
    tol: float,
    max_iter: int,
    tell: Callable[[int, np.ndarray], Any],
) -> Run:
    """Iterate, compute the residual anew, and go on from there where it is too large."""
    goals = tol * norms(system.B)

    def watch(n_iter: int, lengths: np.ndarray) -> Any:
        run.history.append(lengths.copy())
        return tell(len(run.history) - 1, lengths * system.scale)

    for _ in range(CORRECTIONS):
        before = norms(run.R)
        open_ = before > goals
        if not open_.any() or run.n_iter >= max_iter:
            break
        aims = np.where(open_, np.maximum(AIM * goals, FLOOR * before), np.inf)
        part = _block.conjugate_gradients(
            system.times,
            run.R,
            aims,
            precondition=precondition,
            max_iter=max_iter - run.n_iter,
            directions=run.P,
            watch=watch,
        )
        _check_definite(system, part)
        least, most = part.ritz_range()
        run.ritz = min(run.ritz[0], least), max(run.ritz[1], most)
        run.n_iter, run.P = run.n_iter + part.n_iter, part.directions
        run.singular = run.singular or part.singular
        if not accept(system, run, _off_brink(system, run, part), before, open_) or part.stopped or part.singular:
            break
    return run


def _off_brink(system: Hermitian, run: Run, part: _block.Iterates) -> Array:
    """Return the step, or for columns that went over the brink the one before, if that leaves the smaller residual."""
    if not part.brink:
        return part.X
    xp = system.door.xp
    earlier = xp.stack([part.brink.get(j, part.X[:, j]) for j in range(part.X.shape[1])], axis=1)
    lengths = [norms(run.R - system.times(X)) for X in (earlier, part.X)]
    return xp.where(_arrays.from_numpy(lengths[0] < lengths[1], earlier)[None, :], earlier, part.X)


def accept(system: Hermitian, run: Run, step: Array, before: np.ndarray, open_: np.ndarray) -> bool:
    """Take the columns that have become better; say whether it is worth while to go on."""
    xp = system.door.xp
    trial = system.rounded(run.X + step)
    R = system.residual(trial)
    after = norms(R)
    # twice the fall of x^H A x / 2 - Re b^H x, which residuals need not follow; it has no least value where A is singular
    falls = (dots(trial - run.X, run.R + R) > 0) & (not run.singular)
    better = _arrays.from_numpy((after < before) | falls, R)[None, :]
    run.X, run.R = xp.where(better, trial, run.X), xp.where(better, R, run.R)
    return bool(np.any(open_ & (after < before / 2)))


def _check_definite(system: Hermitian, part: _block.Iterates) -> None:
    """Tell an indefinite matrix from one that is singular but for rounding errors.

    Raises
    ------
    ValueError
        A is indefinite.
    """
    ceiling = system.spectrum.ceiling if system.spectrum else max(part.ritz_range()[1], abs(part.curvature))
    noise = 4 * system.B.shape[0] * _arrays.unit_roundoff(system.door.xp, system.door.dtype) * ceiling
    if part.curvature < -noise:
        raise ValueError(f"{system.function}: A must be positive definite; got a direction d with d^H A d = {part.curvature:.6g} ||d||^2")


def _error(
    system: Hermitian, precondition: Callable[[Array], Array], run: Run, given: float | None, bound: float
) -> tuple[float | None, Certificate | None]:
    """Bound the error in the norm of A by that of the residual, or estimate it."""
    floor, how = known(given, system.spectrum)
    if floor is not None:
        return floor, error_certificate(bound, floor, how)
    theta = run.ritz[0]
    size = math.sqrt(max(0.0, float(np.max(dots(run.R, precondition(run.R)))))) * system.scale
    made = error_certificate(size, theta, "estimate from the least Ritz value")
    return (theta if made else None), made


def known(given: float | None, spectrum: Spectrum | None) -> tuple[float | None, str]:
    """Return the best number that is surely below the spectrum, and where it comes from."""
    if given is not None and (spectrum is None or given >= spectrum.floor):
        return given, "residual over the least eigenvalue given"
    if spectrum is not None and spectrum.floor > 0:
        return spectrum.floor, "residual over the least eigenvalue by Gershgorin"
    return None, ""


def answer(
    kind: Any,
    system: Hermitian,
    run: Run,
    tol: float,
    grain: np.ndarray,
    certificate: Certificate,
    floor: float | None,
    error: Certificate | None,
    **more: Any,
) -> Any:
    """Judge the residuals, warn where they are too large, and hand out."""
    after, goals = norms(run.R), tol * norms(system.B)
    converged = bool(np.all((after <= goals) | (after <= grain)))
    if not converged:
        worst = float(np.max(after / np.where(goals > 0, norms(system.B), 1.0)))
        message = f"{system.function}: a relative residual of {worst:.3g} is above tol={tol:g} after {run.n_iter} iterations"
        if run.singular:
            message += "; A is singular to working precision, and b not in its range"
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
    after, history = after * system.scale, np.stack(run.history) * system.scale
    flat = (float(after[0]), history[:, 0]) if system.vector else (after, history)
    return kind(system.leave(run.X), run.n_iter, *flat, floor, error, converged, certificate, **more)
