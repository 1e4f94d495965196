"""Conjugate directions from a map of the caller's, learned or not."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.solvers import _hermitian
from lowrank_la.solvers._block import dots, norms
from lowrank_la.solvers._gradients import AIM, CORRECTIONS, PER_ROW, Run, accept, answer, known, start
from lowrank_la.solvers._hermitian import Hermitian
from lowrank_la.solvers._result import DirectionsResult, error_certificate, residual_certificate
from lowrank_la.solvers._system import U, listener

ROUNDING = 16.0  # roundoff units of a curvature, or of the angle to the residual, below which a direction is of no use


def conjugate_directions(
    A: Any,
    b: Array,
    direction: Callable[[Array], Array],
    *,
    keep: int = 2,
    x0: Array | None = None,
    tol: float = 1e-8,
    max_iter: int | None = None,
    least_eigenvalue: float | None = None,
    callback: Callable[[int, np.ndarray], Any] | None = None,
) -> DirectionsResult:
    """Solve A x = b for a Hermitian positive definite A along directions that a map makes of residuals.

    Each direction is made conjugate to the last few; the step along it minimises the error in the norm of A. The map may be anything, a
    trained network for example: it decides how fast the iteration is, never whether the answer is right.

    Parameters
    ----------
    A : array (n, n), sparse matrix, or linear map
        Real symmetric or complex Hermitian, positive definite. A linear map has `shape` and `@` with arrays (n, 1) of the kind of b.
    b : array (n,)
        Right-hand side, real or complex.
    direction : callable
        r (n,) -> d (n,), an array of the kind of b; its length does not matter. The identity gives conjugate gradients.
    keep : int, keep >= 1
        Directions to which the next one is made conjugate. One is enough for a Hermitian linear map; others gain from more.
    x0 : array (n,), optional
        Where to start; zero by default.
    tol : float, tol > 0
        Norm of the residual to reach, relative to that of b.
    max_iter : int, max_iter >= 1, optional
        Products with A after which to give up; 10 n by default.
    least_eigenvalue : float, least_eigenvalue > 0, optional
        A number that is surely below all eigenvalues of A: makes a bound on the error possible where entries do not.
    callback : callable, optional
        Called after each iteration with its number and the norm of the residual (1,), as the recurrence knows it; a true answer stops.

    Returns
    -------
    DirectionsResult
        x, n_iter, residual, history, least_eigenvalue, error, converged, certificate, conjugacy and replaced.

    Raises
    ------
    ValueError
        A is not square, not Hermitian, or not positive definite as its entries, products or a direction show; a shape does not fit; an
        entry is not finite; or an argument is out of range.
    TypeError
        An argument has the wrong type, or arrays belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        The residual is above the tolerance after `max_iter` products, or where it no longer falls; the certificate stays true.

    Notes
    -----
    Cost: one call of the map, one product with A and 8 keep n flops an iteration. Memory: 2 keep + 6 vectors in double precision.
    Where the map returns nothing of use (a direction orthogonal to the residual, or in the span of the last ones), the residual itself
    is taken, and counted in `replaced`: no step ever increases the error in the norm of A.
    Certificates are those of `conjugate_gradients`, without the estimate: coefficients of such an iteration give no Ritz values.

    References
    ----------
    .. [1] Kaneda, Akar, Chen, Kala, Hyde and Teran, A deep conjugate direction method for iteratively solving linear systems, ICML 2023.
       The iteration, with a network for the map; the loss is `direction_loss`.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import diags_array
    >>> from lowrank_la.solvers import conjugate_directions, conjugate_gradients
    >>> A = diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(1000, 1000))
    >>> result = conjugate_directions(A, np.ones(1000), lambda r: r)
    >>> result.n_iter == conjugate_gradients(A, np.ones(1000)).n_iter, result.conjugacy < 1e-10
    (True, True)
    """
    function = "conjugate_directions"
    system = _hermitian.enter(function, A, b)
    if not system.vector:
        raise ValueError(f"{function}: b must be 1-dimensional; got shape {tuple(system.B.shape)}")
    if not callable(direction):
        raise TypeError(f"{function}: direction must be a function; got {type(direction).__name__}")
    keep = _checks.integer(function, "keep", keep, 1)
    tol = _checks.real(function, "tol", tol, 0.0, open=True)
    max_iter = PER_ROW * int(system.B.shape[0]) if max_iter is None else _checks.integer(function, "max_iter", max_iter, 1)
    given = None if least_eigenvalue is None else _checks.real(function, "least_eigenvalue", least_eigenvalue, 0.0, open=True)
    run = start(system, x0)
    search = _Search(system, _as_columns(system, direction), keep)
    with system.threads():
        _solve(system, search, run, tol, max_iter, listener(function, callback))
        doubt = system.doubt(run.X)
    certificate = residual_certificate(system, run.R, doubt.slack)
    floor, how = known(given, system.spectrum)
    error = None if floor is None else error_certificate(certificate.bound, floor, how)
    more = {"conjugacy": search.conjugacy, "replaced": search.replaced}
    return answer(DirectionsResult, system, run, tol, doubt.grain, certificate, floor, error, **more)


def direction_loss(A: Any, R: Array, D: Array) -> Array:
    """Measure how good directions are: the share of each residual that the best step along its direction leaves in the 2-norm.

    This is the loss ||r - (r^H A d / ||A d||^2) A d|| / ||r|| that a direction map is trained on, 0 for d = A^-1 r.

    Parameters
    ----------
    A : array (n, n), sparse matrix, or linear map
        Has `@` with arrays of the kind of R.
    R, D : arrays (n, t)
        Residuals, and what the map makes of them.

    Returns
    -------
    array (t,)
        From 0 to 1; 1 for a residual or direction of zero. PyTorch tensors keep their gradients with respect to D.

    Raises
    ------
    ValueError
        D has not the shape of R, or A does not fit.
    TypeError
        R or D is no array, or they belong to different libraries.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.solvers import direction_loss
    >>> A, R = np.diag([1.0, 2.0, 4.0]), np.ones((3, 1))
    >>> direction_loss(A, R, np.linalg.solve(A, R)).round(6), direction_loss(A, R, R).round(6)
    (array([0.]), array([0.471405]))
    """
    function = "direction_loss"
    for name, x in (("R", R), ("D", D)):
        if not _arrays.is_array(x):
            raise TypeError(f"{function}: {name} must be an array; got {type(x).__name__}")
    _checks.shape(function, "D", D, tuple(_checks.ndim(function, "R", R, 2).shape))
    n = R.shape[0]
    if _arrays.is_array(A) or not hasattr(A, "__matmul__"):
        A = _arrays.beside(function, "A", A, R)
    if tuple(getattr(A, "shape", ())) != (n, n):
        raise ValueError(f"{function}: A must have shape {(n, n)}, as R has {n} rows; got {getattr(A, 'shape', type(A).__name__)}")
    xp = _arrays.namespace(R, D)
    Q = A @ D
    across, squares = xp.sum((xp.conj(Q) if xp.isdtype(Q.dtype, "complex floating") else Q) * R, axis=0), xp.sum(xp.abs(Q) ** 2, axis=0)
    left = xp.linalg.vector_norm(R - Q * (across / xp.where(squares > 0, squares, xp.ones_like(squares))), axis=0)
    size = xp.linalg.vector_norm(R, axis=0)
    return xp.where(size > 0, left / xp.where(size > 0, size, xp.ones_like(size)), xp.ones_like(size))


def _as_columns(system: Hermitian, direction: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Let a map of vectors take and return arrays with one column."""

    def column(R: Array) -> Array:
        d = direction(R[:, 0] if system.scale == 1.0 else R[:, 0] * system.scale)
        return d[:, None] if getattr(d, "ndim", 0) == 1 else d

    return system.outside(column, "what direction returns, as a column,", system.B.shape[0])


class _Search:
    """The last directions d with q = A d and d^H q, and how conjugate they are."""

    def __init__(self, system: Hermitian, direction: Callable[[Array], Array], keep: int) -> None:
        self.system, self.direction = system, direction
        self.kept: deque[tuple[Array, Array, float]] = deque(maxlen=keep)
        self.first: tuple[Array, Array, float] | None = None
        self.conjugacy, self.replaced = 0.0, 0

    def next(self, R: Array) -> tuple[Array, Array, float] | None:
        """Return a direction along which the error falls, its product with A and its curvature; None where rounding errors rule."""
        found = self._conjugate(self.direction(R), R)
        if found is None:
            self.replaced += 1
            found = self._conjugate(R, R)
        if found is not None:
            self._compare(found)
            self.kept.append(found)
            self.first = self.first or found
        return found

    def _conjugate(self, D: Array, R: Array) -> tuple[Array, Array, float] | None:
        """Make a direction conjugate to the last ones, unless nothing is left of it.

        Raises
        ------
        ValueError
            A is not positive definite along it.
        """
        length = float(norms(D)[0])
        if not 0 < length < math.inf:
            return None
        D = D * (1 / length)
        for E, Q, curvature in self.kept:
            D = D - E * (inner(Q, D) / curvature)
        left = float(norms(D)[0])
        if left <= ROUNDING * U * max(1.0, left):
            return None
        D = D * (1 / left)
        Q = self.system.times(D)
        curvature, size = float(dots(D, Q)[0]), float(norms(Q)[0])
        noise = ROUNDING * U * math.sqrt(D.shape[0]) * size
        if curvature < -self.system.B.shape[0] * noise:
            raise ValueError(
                f"{self.system.function}: A must be positive definite; got a direction d with d^H A d = {curvature:.6g} ||d||^2"
            )
        useful = curvature > noise and abs(inner(D, R)) > ROUNDING * U * math.sqrt(D.shape[0]) * float(norms(R)[0])
        return (D, Q, curvature) if useful else None

    def _compare(self, found: tuple[Array, Array, float]) -> None:
        D, _, curvature = found
        for other in [*self.kept, self.first]:
            if other is not None:
                here = abs(inner(other[1], D)) / math.sqrt(curvature * other[2])
                self.conjugacy = max(self.conjugacy, here)


def inner(A: Array, B: Array) -> Any:
    """Return a^H b for two columns, as a number of the host."""
    xp = _arrays.namespace(A, B)
    number = _arrays.to_numpy(_arrays.adjoint_of(xp, A) @ B)[0, 0]
    return complex(number) if np.iscomplexobj(number) else float(number)


def _solve(system: Hermitian, search: _Search, run: Run, tol: float, max_iter: int, tell: Callable[[int, np.ndarray], Any]) -> None:
    """Step until the residual is small, computed anew; go on from there where it is not."""
    goal, stopped = tol * float(norms(system.B)[0]), False
    for _ in range(CORRECTIONS):
        before = float(norms(run.R)[0])
        if before <= goal or run.n_iter >= max_iter or stopped:
            return
        X, R = run.X, run.R
        while float(norms(R)[0]) > AIM * goal and run.n_iter < max_iter and not stopped:
            found = search.next(R)
            if found is None:
                break
            D, Q, curvature = found
            length = inner(D, R) / curvature
            X, R = X + D * length, R - Q * length
            run.n_iter += 1
            run.history.append(norms(R))
            stopped = bool(tell(run.n_iter, run.history[-1] * system.scale))
        if not accept(system, run, X - run.X, np.asarray([before]), np.asarray([True])):
            return
