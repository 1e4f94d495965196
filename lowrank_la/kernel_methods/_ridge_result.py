"""What `kernel_ridge` returns: a function that predicts, with a bound, and the residuals without each point."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor._dense import U, adjoint, host
from lowrank_la.kernel_methods import _ridge_dense, _ridge_distance, _ridge_pcg, _ridge_problem, _ridge_restricted
from lowrank_la.kernel_methods._gram import Gram, diagonal_of
from lowrank_la.kernel_methods._ridge_problem import ENTRY, Problem, double

NAME = "kernel_ridge"
TILE = 2048  # new points whose features are made at a time
MOST_AT_ONCE = 20_000  # points up to which all leave-one-out residuals of "pcg" come from the whole matrix


@dataclass(frozen=True)
class Training:
    """What later questions need: the data as they were given, and how they were used."""

    X: Array
    width: int
    y: Array
    weights: Array | None
    seed: int
    rank: int | None
    tol: float
    max_iter: int


@dataclass(frozen=True, repr=False)
class KernelRidgeResult(Result):
    """A function f(x) = sum_j coefficients_j k(x, points_j), and how far it is from the minimiser f*.

    Attributes
    ----------
    coefficients : array (m,) or (m, t)
        One for each of `points`: (K + ridge I) coefficients = y, or for "nystrom" those of the centres.
    points : array (m, d), sparse matrix or None
        All of X, or the centres; None if K was given as a matrix.
    indices : array (m,), int64, or None
        Rows of X that are centres; None if all are.
    kernel : KernelFunction, callable or "precomputed"
        With every parameter known.
    ridge : float
        The regulariser.
    solver : str
        The solver that found the coefficients.
    rank : int
        Columns of the preconditioner, or centres; 0 for "direct".
    condition : float
        For "pcg", a bound on the condition number of the preconditioned matrix, but for rounding errors, known before iterating; else 1.
    n_iter : int
        Iterations.
    residual : float
        Largest relative residual, over the targets, of the equations that were solved.
    objective : float, or array (t,)
        sum_i w_i (y_i - f(x_i))^2 + ridge ||f||^2 in the norm of the kernel.
    gap : float, or array (t,)
        Bound on the objective's excess over its minimum, hence also on sum_i w_i (f - f*)(x_i)^2.
    error_bound : float, or array (t,)
        Bound on ||f - f*|| in the norm of the kernel, hence on |f(x) - f*(x)| / sqrt(k(x, x)).
    converged : bool
        `residual` is at most the tolerance.
    certificate : Certificate
        Its bound is the largest `error_bound`.
    """

    coefficients: Array
    points: Array | None
    indices: Array | None
    kernel: Any
    ridge: float
    solver: str
    rank: int
    condition: float
    n_iter: int
    residual: float
    objective: Any
    gap: Any
    error_bound: Any
    converged: bool
    certificate: Certificate
    training: Training = field(repr=False)
    split: tuple[np.ndarray, np.ndarray] = field(repr=False)

    def predict(self, X_new: Array, *, return_bound: bool = False) -> Any:
        """Return f at new points, in tiles.

        Parameters
        ----------
        X_new : array (m, d) or sparse matrix, or (m, n) for a precomputed kernel
            Points, or kernel values between new points and all n training points.
        return_bound : bool
            Compute in double precision, and bound |f(x) - f*(x)| at every point, rounding errors included,
            with the confidence of the certificate.

        Returns
        -------
        f : array (m,) or (m, t)
        bound : array like f
            Only with `return_bound`.

        Raises
        ------
        ValueError
            X_new does not fit or is not finite; or a bound is asked for with a precomputed kernel, which does not tell k(x, x).
        TypeError
            X_new is complex, or no array of the library of X.
        """
        name = f"{NAME}.predict"
        if return_bound and self.points is None:
            raise ValueError(f"{name}: return_bound must be False for a precomputed kernel, which does not tell k(x, x); got True")
        gram, points, coefficients = self._enter(name, X_new, wide=return_bound)
        columns = coefficients if coefficients.ndim == 2 else coefficients[:, None]
        f = gram.X @ columns if points is None else gram.product(gram.X, points, columns)
        leave = gram.door.leave
        out = leave(f if coefficients.ndim == 2 else f[:, 0])
        if points is None or not return_bound:
            return out
        grain = 2 * _arrays.unit_roundoff(_arrays.namespace(out), out.dtype)
        bound = self._bound(gram, points, columns, f) * (1 + grain) + grain * gram.door.xp.abs(f)
        return out, leave(bound if coefficients.ndim == 2 else bound[:, 0])

    def leave_one_out(self, rows: Array | None = None) -> Array:
        """Return y_i - f_{-i}(x_i), where f_{-i} is fitted without point i, by a formula and without fitting again.

        Exact for "direct", and for "nystrom" with all centres kept. "pcg" needs the diagonal of (K + ridge I)^-1: for all
        points from Cholesky's factorization of K (3 n^2 numbers of memory), for some by solving a system for each, to the same tolerance.

        Parameters
        ----------
        rows : array of integers (q,), optional
            Some rows of X, for example a random sample; all by default.

        Returns
        -------
        array (q,) or (q, t)

        Raises
        ------
        ValueError
            A row is out of range, or none are given with "pcg" and more than 20000 points.
        TypeError
            rows are no integers.
        """
        name, data = f"{NAME}.leave_one_out", self.training
        problem = _ridge_problem.enter(name, data.X, data.y, self.kernel, data.weights, data.seed)
        problem = dataclasses.replace(problem, ridge=self.ridge)
        chosen = np.arange(problem.gram.n) if rows is None else _rows(name, rows, problem)
        if self.solver == "nystrom":
            whole = _ridge_restricted.leave_one_out(_ridge_restricted.at(problem, _numbers(self.indices).astype(np.int64)))
            residual = problem.xp.take(whole, _arrays.from_numpy(chosen, whole), axis=0)
        else:
            residual = self._left_out(name, problem, chosen, all_rows=rows is None)
        residual = residual * _arrays.from_numpy(problem.unit, residual)[None, :]
        return problem.gram.door.leave(residual[:, 0] if problem.vector else residual)

    def _left_out(self, name: str, problem: Problem, chosen: np.ndarray, *, all_rows: bool) -> Array:
        """Return (y - f) / (ridge g) for the diagonal g of (D K D + ridge I)^-1.

        Raises
        ------
        ValueError
            That is too much to ask for all rows.
        """
        xp, data = problem.xp, self.training
        places = _arrays.from_numpy(chosen, problem.y)
        if all_rows and self.solver == "pcg" and problem.gram.n > MOST_AT_ONCE:
            raise ValueError(f"{name}: rows must be given for more than {MOST_AT_ONCE} points; got None for {problem.gram.n}")
        if all_rows or self.solver == "direct":
            g = xp.take(_ridge_dense.inverse_diagonal(problem), places, axis=0)
        else:
            P = _ridge_pcg.preconditioner(problem, data.rank, data.seed)
            g = _arrays.from_numpy(_ridge_pcg.inverse_diagonal(problem, P, chosen, data.tol, data.max_iter), problem.y)
        _, [_, coefficients] = _arrays.enter(name, X=data.X, coefficients=self.coefficients)
        B = problem.taken(coefficients if coefficients.ndim == 2 else coefficients[:, None])
        f = xp.take(problem.product(problem.weigh(B)), places, axis=0)
        return (xp.take(problem.y, places, axis=0) - f) / (problem.ridge * g[:, None])

    def _enter(self, name: str, X_new: Array, *, wide: bool) -> tuple[Gram, Array | None, Array]:
        """Take new points inside; return their kernel, the points of f and its coefficients, in double precision if asked."""
        first = {"coefficients": self.coefficients} if self.points is None else {"points": self.points, "coefficients": self.coefficients}
        door, inside = _arrays.enter(name, **first, X_new=X_new)
        X_new, coefficients = inside[-1], inside[-2]
        width = self.training.width
        _checks.real_dtype(name, "X_new", _checks.ndim(name, "X_new", X_new, 2))
        _checks.finite(name, "X_new", _checks.shape(name, "X_new", X_new, (X_new.shape[0], width)))
        if wide:
            door = dataclasses.replace(door, dtype=door.xp.float64)
            inside, X_new, coefficients = [double(x) for x in inside], double(X_new), double(coefficients)
        if self.points is None and self.indices is not None:
            X_new = door.xp.take(X_new, _arrays.from_numpy(_numbers(self.indices).astype(np.int64), X_new), axis=1)
        return Gram(name, door, X_new, self.kernel), None if self.points is None else inside[0], coefficients

    def _bound(self, gram: Gram, points: Array, columns: Array, f: Array) -> Array:
        """Add the rounding errors of f to the bound of the certificate."""
        xp, width = gram.door.xp, points.shape[1]
        here = xp.sqrt(gram.diagonal)[:, None]
        error = here * _arrays.from_numpy(np.atleast_1d(_numbers(self.error_bound)), f)[None, :]
        if self.solver == "nystrom" and points.shape[0] and np.all(np.isfinite(self.split[0])):
            error = xp.minimum(error, self._split_bound(gram, points))
        spread = xp.sum(xp.sqrt(diagonal_of(gram, points))[:, None] * xp.abs(columns), axis=0)[None, :]
        rounding = (points.shape[0] + width + ENTRY) * U * spread
        return error + here * rounding

    def _split_bound(self, gram: Gram, points: Array) -> Array:
        """Bound the error by its parts: near the centres, functions orthogonal to theirs are small.

        Where rounding errors hide that, the bound is infinite.
        """
        xp, there = gram.door.xp, diagonal_of(gram, points)
        try:
            R = adjoint(xp.linalg.cholesky(gram.between(points, points)))
        except np.linalg.LinAlgError:
            return xp.full_like(gram.diagonal, np.inf)[:, None]
        parts = []
        for first, tile in _arrays.row_blocks(gram.X, TILE):
            Phi, _ = gram.lift(tile, points, adjoint(R))
            here = gram.diagonal[first : first + tile.shape[0]]
            left = _ridge_distance.missing(R, Phi, here, there, points.shape[1])
            along, across = (_arrays.from_numpy(x, Phi)[None, :] for x in self.split)
            parts.append(xp.sqrt(here)[:, None] * along + xp.sqrt(left) * across)
        return xp.concat(parts, axis=0)


def _numbers(x: Any) -> np.ndarray:
    """Bring what was handed out back to the host."""
    return host(x) if hasattr(x, "dtype") else np.asarray(x, dtype=np.float64)


def _rows(name: str, rows: Array, problem: Problem) -> np.ndarray:
    rows = _checks.ndim(name, "rows", _arrays.beside(name, "rows", rows, problem.y), 1)
    return _arrays.to_numpy(_checks.ids(name, "rows", rows, problem.gram.n)).astype(np.int64)
