"""`max_sliced`: the direction on which two clouds differ most."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.sliced import _directions
from lowrank_la.sliced._gradient import by_points, with_gradients
from lowrank_la.sliced._problem import Problem, enter

NAME = "max_sliced"
CLAIM = "value <= max over directions of W_p <= value + bound"
_COVARIANCES = 2048  # dimension up to which the upper bound takes eigenvalues, not traces
_LEAST_STEP = 1e-4


@dataclass(frozen=True, repr=False)
class MaxSlicedResult(Result):
    """The largest W_p over directions that was found.

    Attributes
    ----------
    value : float
        W_p on `direction`: a lower bound of the maximum. Where X or Y require gradients it is a tensor that gives them.
    value_p : float
        W_p^p, likewise.
    direction : array (d,)
        Unit vector.
    upper : float
        Upper bound of the maximum.
    n_iter : int
        Steps.
    converged : bool
        Whether the ascent came to rest.
    certificate : Certificate
        Bounds how far the maximum may be above `value`.
    """

    value: Any
    value_p: Any
    direction: Array
    upper: float
    n_iter: int
    converged: bool
    certificate: Certificate


def max_sliced(
    X: Array,
    Y: Array,
    *,
    p: float = 2,
    a: Array | None = None,
    b: Array | None = None,
    starts: int = 16,
    max_iter: int = 100,
    tol: float = 1e-8,
    rng: _random.RNG = None,
) -> MaxSlicedResult:
    """Search the direction on which the projections of two clouds are farthest apart, and bound what was missed.

    Parameters
    ----------
    X : array (n, d), real
        Points. Torch tensors may require gradients.
    Y : array (m, d), real
        Points to compare with.
    p : float, p >= 1
        Exponent of the cost |u - v|^p.
    a : array (n,), non-negative
        Weights of the rows of X; uniform by default.
    b : array (m,), non-negative
        Weights of the rows of Y, of the mass of `a`.
    starts : int, starts >= 1
        Directions that climb side by side: that of the means, eigenvectors of the difference of the covariances, random ones.
    max_iter : int, max_iter >= 1
        Steps.
    tol : float, tol > 0
        Rest is where W_p^p grows by less than this fraction.
    rng : None, int or numpy.random.Generator
        Draws the random starts.

    Returns
    -------
    MaxSlicedResult
        value, value_p, direction, upper, n_iter, converged and certificate.

    Raises
    ------
    ValueError
        X or Y is no matrix, is empty or not finite, dimensions or masses differ, weights do not fit or are negative, or an
        argument is out of range.
    TypeError
        An argument is complex or no array of numbers.

    Warns
    -----
    ConvergenceWarning
        `max_iter` steps were not enough.

    Notes
    -----
    Cost: a step projects and sorts all points on each start. A step goes from theta towards the normalised gradient, all the way if that
    is uphill, else half as far; W_p^p is not convex in theta, so what is found is a local maximum. Gradients hold the
    direction and the matching fixed.

    Certificate, holds always: no coupling beats the best one on its direction, so max W_2^2 <= lambda_max(sum_ij pi_ij (x_i - y_j)
    (x_i - y_j)^T) for every coupling pi: for the one that is best on `direction`, whose bound is tight if `direction` is
    its top eigenvector, and for that of independent pairs. For p < 2 the same holds since W_p <= W_2; for p > 2 norms take
    the place of projections.

    References
    ----------
    .. [1] Deshpande, Hu, Sun, Pyrros, Siddiqui, Koyejo, Zhao, Forsyth and Schwing, Max-sliced Wasserstein distance and its use for GANs,
       CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sliced import max_sliced
    >>> X = np.random.default_rng(0).standard_normal((500, 4))
    >>> result = max_sliced(X, X + np.array([0.0, 2.0, 0.0, 0.0]), rng=0)
    >>> bool(abs(result.value - 2) < 1e-12), bool(abs(result.direction[1]) > 1 - 1e-12)
    (True, True)
    >>> bool(result.certificate.bound < 1e-6)
    True
    """
    starts = _checks.integer(NAME, "starts", starts, 1)
    max_iter = _checks.integer(NAME, "max_iter", max_iter, 1)
    tol = _checks.real(NAME, "tol", tol, 0, open=True)
    seed = _random.seed_of(NAME, rng)
    problem = enter(NAME, X, Y, a, b, p)
    with problem.threads(starts):
        theta, cost, n_iter, converged = _climb(problem, _starts(problem, starts, seed), max_iter, tol)
        value, slack = cost ** (1 / p), 0.0 if problem.same else problem.rounding
        upper = max(value, _upper(problem, theta)) + slack
    if not converged:
        warnings.warn(f"{NAME}: still climbing after {max_iter} steps", ConvergenceWarning, stacklevel=2)
    direction = problem.door.leave(_arrays.from_numpy(theta, problem.X.points))
    certificate = Certificate(CLAIM, upper - value, 1.0, "couplings")
    answer = MaxSlicedResult(value, cost, direction, upper, n_iter, converged, certificate)
    return with_gradients(X, Y, p, answer, lambda: by_points(problem, theta[None, :], np.ones(1)))


def _starts(problem: Problem, count: int, seed: int) -> np.ndarray:
    d = problem.d
    if d == 1:
        return np.ones((1, 1))
    rows = [] if not problem.mu.any() else [problem.mu[None, :] / np.linalg.norm(problem.mu)]
    if d <= _COVARIANCES:
        vectors = np.linalg.eigh(problem.X.covariance - problem.Y.covariance)[1]
        rows += [vectors.T[[-1, 0]]]
    return np.concatenate([*rows, _directions.independent(count, d, seed, f"{NAME}: starts")])[:count]


def _climb(problem: Problem, T: np.ndarray, max_iter: int, tol: float) -> tuple[np.ndarray, float, int, bool]:
    """Climb from all rows of T; return the best direction, its cost, the steps taken, and whether all came to rest."""
    slopes, costs = _slopes(problem, T)
    step, resting = np.ones(len(T)), np.zeros(len(T), bool)
    turn = 0
    while turn < max_iter and not resting.all():
        turn += 1
        trial = T + step[:, None] * (_unit(slopes) - T)
        trial = np.where(resting[:, None], T, _unit(np.where(np.linalg.norm(trial, axis=1, keepdims=True) > 1e-8, trial, T)))
        there, cost = _slopes(problem, trial)
        better = cost > costs
        resting |= np.where(better, cost - costs <= tol * cost, step < _LEAST_STEP) | (costs == 0)
        T, slopes = (np.where(better[:, None], new, old) for new, old in ((trial, T), (there, slopes)))
        costs, step = np.where(better, cost, costs), np.where(better, np.minimum(1.0, 2 * step), step / 2)
    best = int(np.argmax(costs))
    return T[best], float(costs[best]), turn, bool(resting.all())


def _slopes(problem: Problem, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, _, slopes, costs = problem.slopes(T, T @ problem.mu, np.zeros(len(T)))
    return slopes, costs


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _upper(problem: Problem, theta: np.ndarray) -> float:
    """Bound the largest W_p from above by couplings."""
    p = problem.p
    if problem.same:
        return 0.0
    if p > 2:
        bound = problem.X.moment(p) ** (1 / p) + problem.Y.moment(p) ** (1 / p) + float(np.linalg.norm(problem.mu))
    elif problem.d > _COVARIANCES:
        bound = math.sqrt(problem.X.trace + problem.Y.trace + float(problem.mu @ problem.mu))
    else:
        pairs = problem.X.covariance + problem.Y.covariance + np.outer(problem.mu, problem.mu)
        largest = min(np.linalg.eigvalsh(M)[-1] for M in (pairs, problem.spread(theta)))
        bound = math.sqrt(max(0.0, float(largest)) * (1 + 8 * problem.d * 2.0**-53))
    return min(bound, problem.paired ** (1 / p))
