"""Answers of the solvers, and bounds on their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.solvers._block import norms
from lowrank_la.solvers._system import System, U

RESIDUAL = "||b_j - A x_j||_2 <= bound, for every right-hand side"
ERROR = "||x_j - x*_j||_A <= bound, for every right-hand side"


@dataclass(frozen=True, repr=False)
class SolveResult(Result):
    """Solutions of A x = b, and how far they can be trusted.

    Attributes
    ----------
    x : array (n,) or (n, t)
        Solutions.
    n_iter : int
        Iterations of the right-hand side that took most.
    residual : float or NumPy array (t,)
        Norms ||b_j - A x_j||_2, computed anew from x.
    history : NumPy array (n_iter + 1,) or (n_iter + 1, t)
        Norms of the residuals after each iteration, as the recurrence knows them; the first are those of x0.
    least_eigenvalue : float or None
        The number from which `error` was computed: below the spectrum of A if given or proved by the entries, and an
        estimate of the least eigenvalue of P^-1 A otherwise. None where nothing is known.
    error : Certificate or None
        Bounds the error in the norm of A. Its `method` says whether the eigenvalue was given, proved by Gershgorin's discs, or
        is an estimate, whose confidence is 0.
    converged : bool
        Whether all residuals reached the tolerance, or the least that the dtype of x allows.
    certificate : Certificate
        Bounds the residuals, rounding errors included.
    directions : array (n,) or (n, t), or None
        The last direction of each right-hand side, with which an iteration that starts from this result goes on.
    """

    x: Array
    n_iter: int
    residual: float | np.ndarray
    history: np.ndarray
    least_eigenvalue: float | None
    error: Certificate | None
    converged: bool
    certificate: Certificate
    directions: Array | None = field(default=None, repr=False)


@dataclass(frozen=True, repr=False)
class DirectionsResult(SolveResult):
    """Solution of A x = b by conjugate directions.

    Attributes
    ----------
    conjugacy : float
        max |d_i^H A d_j| / (||d_i||_A ||d_j||_A) over directions at most `keep` apart, and of each with the first:
        0 for exact arithmetic and a symmetric map.
    replaced : int
        Iterations in which the map gave no usable direction and the residual took its place.
    """

    conjugacy: float = 0.0
    replaced: int = 0


@dataclass(frozen=True, repr=False)
class LeastSquaresResult(Result):
    """Minimisers of ||b - A x||^2 + damp^2 ||x||^2, and how far they can be trusted.

    Attributes
    ----------
    x : array (n,) or (n, t)
        Solutions.
    n_iter : int
        Iterations of the right-hand side that took most.
    residual : float or NumPy array (t,)
        Norms ||b_j - A x_j||_2, computed anew from x.
    gradient : float or NumPy array (t,)
        Norms ||A^H (b_j - A x_j) - damp^2 x_j||_2, computed anew from x.
    history : NumPy array (n_iter + 1,) or (n_iter + 1, t)
        Norms of the gradients after each iteration, as the recurrence knows them, in the norm of P^-1; the first are those of x0.
    least_singular_value : float or None
        The number from which `error` was computed: below the singular values of A with damp I below if it follows from what was
        given, and an estimate of the least one of A P^(-1/2) otherwise. None where nothing is known.
    error : Certificate or None
        Bounds ||A (x - x*)||_2, with damping of A with damp I below. Its `method` says whether the singular value was given or is an
        estimate, whose confidence is 0.
    converged : bool
        Whether all gradients or residuals reached the tolerance, or the least that the dtype of x allows.
    certificate : Certificate
        Bounds the backward error, rounding errors included.
    """

    x: Array
    n_iter: int
    residual: float | np.ndarray
    gradient: float | np.ndarray
    history: np.ndarray
    least_singular_value: float | None
    error: Certificate | None
    converged: bool
    certificate: Certificate


def residual_certificate(system: System, R: Array, slack: np.ndarray) -> Certificate:
    """Bound the norms of the residuals, which are R as computed up to `slack`."""
    bound = float(np.max(norms(R) * (1 + 2 * R.shape[0] * U) + slack)) * system.scale
    return Certificate(RESIDUAL, bound, 1.0, "residual" if system.exact else "residual, products of the operator taken as they come")


def error_certificate(bound: float, floor: float, how: str) -> Certificate | None:
    """Bound the error by a residual, or its norm in P^-1, and a number below the spectrum of A, or of P^-1 A."""
    if not 0 < floor < math.inf:
        return None
    return Certificate(ERROR, bound / math.sqrt(floor) * (1 + 4 * U), 0.0 if how.startswith("estimate") else 1.0, how)
