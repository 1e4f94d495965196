"""How far a fit on a few centres is from the fit on all points: a duality gap, from all of the kernel matrix or from random rows of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import U, adjoint, host, wide
from lowrank_la.kernel_methods._ridge_problem import ENTRY, Problem, norms, steepness
from lowrank_la.kernel_methods._ridge_restricted import Fit, Model

EXACT = 20_000  # points up to which the certificate reads the whole kernel matrix
ROWS = 1000  # of the kernel matrix that it reads for more of them
DELTA = 0.01  # chance that the certificate fails then


@dataclass(frozen=True)
class Distance:
    """Bounds on f* - f, for the solution f* of the whole problem, one for each target, in the norm of the kernel.

    Attributes
    ----------
    whole : NumPy array (t,)
        On f* - f.
    along, across : NumPy arrays (t,)
        On its parts in the span of the centres' functions and orthogonal to it; together they may say less, at a point more.
    confidence : float
        Of all of them.
    method : str
        How they were found.
    """

    whole: np.ndarray
    along: np.ndarray
    across: np.ndarray
    confidence: float
    method: str


def distance(model: Model, fit: Fit, seed: int) -> Distance:
    """Bound f* - f by the duality gap of the coefficients a = `dual` of the whole problem.

    ||f - f*||^2 <= ||f - K D a||^2 = ||theta - Phi^T D a||^2 + q^2 with q^2 = a^T D E D a and E = K - Phi Phi^T. The residual
    of a is r = D (f - K D a), and f* = K D (a + G^-1 r): no part of K D G^-1 r has a norm above ||r|| / (2 sqrt(ridge)).
    """
    problem, n = model.problem, model.problem.gram.n
    near = norms(fit.theta - fit.inner) * (1 + 1e-8) + _slack(model, fit)
    if n <= EXACT:
        q, r = _outside(model, fit)
        confidence, method = 1.0, "duality gap"
    else:
        q, left = _sampled(model, fit, seed)
        r = math.sqrt(problem.trace) * near + math.sqrt(left) * q
        confidence, method = 1 - DELTA, "duality gap, sampled rows"
    moved = steepness(problem.ridge, problem.trace) * r
    whole = np.hypot(near, q)
    return Distance(whole, np.minimum(near + moved, whole), np.minimum(q + moved, whole), confidence, method)


def unknown(problem: Problem) -> Distance:
    """Say nothing."""
    nothing = np.full(problem.unit.size, np.inf)
    return Distance(nothing, nothing, nothing, 1.0, "none")


def _outside(model: Model, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Bound q and ||r|| with rounding errors, from a product with all of K."""
    problem = model.problem
    R = problem.residual(fit.dual)
    image = problem.rhs - problem.ridge * fit.dual - R  # D K D a
    square = host(problem.xp.sum(fit.dual * image, axis=0)) - norms(fit.inner) ** 2
    rounding = 3 * (problem.gram.n + problem.gram.X.shape[1] + ENTRY) * U * _spread(model, fit) ** 2
    return np.sqrt(np.maximum(square, 0) + rounding), norms(R) + problem.slack(fit.dual)


def _spread(model: Model, fit: Fit) -> np.ndarray:
    """Sum sqrt(k(x, x)) |coefficient| for f and for its dual: the scale of their rounding errors in the norm of the kernel."""
    problem, xp = model.problem, model.problem.xp
    there = xp.take(problem.gram.diagonal, _arrays.from_numpy(model.indices, problem.y))
    of_dual = xp.sum(problem.lengths * xp.abs(fit.dual), axis=0)
    return host(of_dual + xp.sum(xp.sqrt(there)[:, None] * xp.abs(fit.beta), axis=0))


def _sampled(model: Model, fit: Fit, seed: int) -> tuple[np.ndarray, float]:
    """Bound q from rows of E drawn with chances like their largest shares, and the trace of D E D.

    A share of the sum q^2, over its chance, is at most M q: the empirical Bernstein inequality is then quadratic in q.
    """
    problem, xp = model.problem, model.problem.xp
    missing = xp.concat([_missing(model, rows, Phi) for rows, Phi in model.tiles()], axis=0)
    weights = host(xp.abs(fit.dual) * xp.sqrt(missing))
    most = np.sum(weights, axis=0)
    chances = np.mean(weights / np.where(most > 0, most, 1.0), axis=1)
    left = float(xp.sum(missing))
    if not chances.any():
        return np.zeros(most.shape), left
    chances /= chances.sum()
    rows = _random.host_generator(seed, "kernel ridge: certificate").choice(chances.size, ROWS, p=chances)
    M = np.max(weights[chances > 0] / chances[chances > 0, None], axis=0)
    places = _arrays.from_numpy(rows, problem.y)
    shares = _rows_of_rest(model, fit, places) * host(xp.take(problem.weigh(fit.dual), places, axis=0)) / chances[rows, None]
    log = math.log(2 * most.size / DELTA)
    noise = 3 * (problem.gram.n + problem.gram.X.shape[1] + ENTRY) * U * _spread(model, fit) ** 2
    level = np.mean(shares, axis=0) + np.sqrt(2 * np.var(shares, axis=0, ddof=1) * log / ROWS) + noise
    slope = 14 * M * log / (3 * (ROWS - 1))
    return np.minimum((slope + np.sqrt(slope**2 + 4 * np.maximum(level, 0))) / 2, most), left


def _missing(model: Model, rows: slice, Phi: Array) -> Array:
    """Bound the diagonal of D E D from above, rounding errors included, for some rows."""
    problem = model.problem
    places = _arrays.from_numpy(model.indices, problem.y)
    left = missing(model.R, Phi, problem.gram.diagonal[rows], problem.xp.take(problem.gram.diagonal, places), problem.gram.X.shape[1])
    return left if problem.root is None else problem.root[rows, :] ** 2 * left


def missing(R: Array, Phi: Array, here: Array, there: Array, width: int) -> Array:
    """Bound k(x, x) - |phi(x)|^2 from above, shape (m, 1), given k(x, x) and k(z, z) for the centres.

    Errors of k(x, z) and of the centres' matrix move |phi|^2 by themselves times v = R^-1 phi, once and twice.
    """
    xp = _arrays.namespace(Phi)
    v = _arrays.solve_triangular(R, adjoint(Phi))
    spread = xp.sqrt(here) + xp.sum(xp.abs(v) * xp.sqrt(there)[:, None], axis=0)
    left = here - xp.sum(Phi * Phi, axis=1)
    grain = (2 * R.shape[0] + width + ENTRY) * U
    return (xp.where(left > 0, left, xp.zeros_like(left)) + grain * spread**2)[:, None]


def _rows_of_rest(model: Model, fit: Fit, places: Array) -> np.ndarray:
    """Return rows of E D a."""
    problem, fine = model.problem, model.problem.fine
    a, X = problem.weigh(fit.dual), fine.points(places)
    whole = wide(X) @ a if isinstance(fine.kernel, str) else fine.product(X, fine.X, a)
    return host(whole - model.features(X) @ fit.inner)


def _slack(model: Model, fit: Fit) -> np.ndarray:
    """Bound what rounding errors add to theta - Phi^T D a."""
    problem = model.problem
    terms = (problem.gram.n + 2 * model.rank + ENTRY) * U
    return terms * (_spread(model, fit) + norms(fit.theta) * math.sqrt(problem.trace / problem.ridge))
