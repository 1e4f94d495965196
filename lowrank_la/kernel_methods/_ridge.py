"""`kernel_ridge`: the public function, and the order in which it does things."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.factor._dense import host
from lowrank_la.kernel_methods import _ridge_dense, _ridge_distance, _ridge_pcg, _ridge_problem, _ridge_restricted
from lowrank_la.kernel_methods._functions import KernelLike
from lowrank_la.kernel_methods._ridge_distance import Distance
from lowrank_la.kernel_methods._ridge_path import best_ridge
from lowrank_la.kernel_methods._ridge_pcg import RidgeState
from lowrank_la.kernel_methods._ridge_problem import Problem, norms, steepness
from lowrank_la.kernel_methods._ridge_result import NAME, KernelRidgeResult, Training

CLAIM = "|f(x) - f*(x)| <= bound sqrt(k(x, x)) for every x"
SOLVERS = ("auto", "direct", "pcg", "nystrom")
DIRECT, ITERATIVE = 5000, 200_000  # points up to which "auto" takes these solvers
TOLERANCES = {4: 1e-4, 8: 1e-6}


def kernel_ridge(
    X: Array,
    y: Array,
    *,
    kernel: KernelLike = "rbf",
    ridge: float | str = 1.0,
    solver: str = "auto",
    rank: int | None = None,
    tol: float | None = None,
    max_iter: int = 500,
    sample_weight: Array | None = None,
    start: KernelRidgeResult | None = None,
    callback: Callable[[RidgeState], Any] | None = None,
    rng: _random.RNG = None,
    certificate: bool = True,
) -> KernelRidgeResult:
    """Fit a function in the space of a kernel by ridge regression, and bound its distance from the exact minimiser.

    Minimises sum_i w_i (y_i - f(x_i))^2 + ridge ||f||^2. The minimiser is f*(x) = sum_j a_j k(x, x_j) with
    (K + ridge I) a = y if all weights are 1.

    Parameters
    ----------
    X : array (n, d) or sparse matrix, or the kernel matrix (n, n) if kernel is "precomputed"
        Points, n >= 1; real. The answer keeps its namespace, device and dtype.
    y : array (n,) or (n, t), real
        Targets.
    kernel : {"rbf", "laplace", "matern", "polynomial", "linear", "cosine", "precomputed"}, KernelFunction or callable
        A name stands for the kernel with its default parameters; the bandwidth is the median distance of a sample, in which
        a weight counts as repetition. A callable kernel(X, Y) returns the block of its values; it must be positive semidefinite.
    ridge : float, ridge > 0, or "loo"
        The regulariser. "loo": the one with the least leave-one-out error among the default ones of `kernel_ridge_path`.
    solver : {"auto", "direct", "pcg", "nystrom"}
        "direct": Cholesky's factorization of the whole matrix. "pcg": conjugate gradients with a Nystrom
        preconditioner, K in tiles. "nystrom": only functions of a few centres, found with one pass over the data: an
        approximation, whose distance from f* is bounded like that of the others. "auto": the first of them for at most
        5000 points, the second up to 200000.
    rank : int, 1 <= rank <= n, optional
        Columns of the preconditioner, or centres. By default 10 sqrt(n), at most 2000; for "pcg" fewer, where
        they leave less than 10 ridges of the trace, which makes a condition of at most 11.
    tol : float, 0 < tol < 1, optional
        Relative residual ||y - (K + ridge I) a||_2 / ||y||_2 to reach; the default is 1e-6, and 1e-4 in float32.
    max_iter : int
        Products with the kernel matrix, at most.
    sample_weight : array (n,), optional
        Weights of the squared residuals; not negative.
    start : KernelRidgeResult, optional
        An earlier answer for the same points, from which "pcg" starts.
    callback : callable
        Called with the `RidgeState` after each iteration of "pcg"; a true answer stops.
    rng : None, int or numpy.random.Generator
        Decides the centres, and the sample for a bandwidth "median". An int gives the same answer on every backend.

    certificate : bool
        False saves "nystrom" the bounds, which take a third of its time or more, and leaves them at inf.

    Returns
    -------
    KernelRidgeResult
        coefficients, objective, gap, error_bound, certificate and the rest, with `predict` and `leave_one_out`.

    Raises
    ------
    ValueError
        Shapes do not fit, an entry is not finite, a weight is negative or all are zero, K is not symmetric or not
        positive semidefinite (as far as that shows), or an argument is out of range.
    TypeError
        X, y or weights are complex or no arrays of numbers of one library, or an argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The tolerance was not reached, or the callback stopped the iteration. The bounds hold nevertheless.

    Notes
    -----
    Cost and memory: "direct" n^3 / 3 flops and 3 n^2 numbers; "pcg" n^2 kernel values for each iteration, besides
    2 n k^2 flops at the start, and n k numbers for k = rank; "nystrom" 2 n k kernel values, 3 n k^2 flops and k^2 numbers,
    besides the choice of the centres, which takes memory for 2^27 numbers at most. Each column of y stops by itself.

    Certificate. With a residual r = y - (K + ridge I) a in double precision, the duality gap of the objective is
    exactly ||r||^2. It bounds the objective's excess, and sum_i (f - f*)(x_i)^2. In the norm of the
    kernel, ||f - f*|| <= ||r|| / (2 sqrt(ridge)), and |f(x) - f*(x)| <= sqrt(k(x, x)) ||f - f*||. For "nystrom",
    a = (y - f) / ridge makes a gap of ridge ||f - sum_j a_j k(., x_j)||^2, and ||f - f*|| is at most that norm; it needs one
    product with K, of which 1000 random rows are taken for more than 20000 points (confidence 0.99, by an
    empirical Bernstein inequality). Rounding errors are bounded and added, for kernel values accurate to 32 + d
    roundoff units of sqrt(k(x, x) k(y, y)). With weights the same holds for D K D, D^2 = diag(w).

    References
    ----------
    .. [1] Diaz, Epperly, Frangella, Tropp and Webber, Robust, randomized preconditioning for kernel ridge
       regression, arXiv:2304.12465. The preconditioner, and when it is good enough.
    .. [2] Rudi, Carratino and Rosasco, FALKON: an optimal large scale kernel method, NeurIPS 2017. Few centres, all
       points; here by orthogonal factors instead of normal equations.
    .. [3] Maurer and Pontil, Empirical Bernstein bounds and sample variance penalization, COLT 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.kernel_methods import RBF, kernel_ridge
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-3, 3, (2000, 2))
    >>> y = np.sin(X[:, 0]) * X[:, 1] + 0.1 * rng.standard_normal(2000)
    >>> exact = kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.1, rng=0)
    >>> result = kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.1, solver="pcg", rng=0)
    >>> f, bound = result.predict(X[:5] + 0.1, return_bound=True)
    >>> bool(np.all(abs(f - exact.predict(X[:5] + 0.1)) <= bound)) and result.n_iter < 20
    True
    """
    seed = _random.seed_of(NAME, rng)
    _checks.choice(NAME, "solver", solver, SOLVERS)
    max_iter = _checks.integer(NAME, "max_iter", max_iter, 1)
    problem = _ridge_problem.enter(NAME, X, y, kernel, sample_weight, seed)
    rank = None if rank is None else _checks.integer(NAME, "rank", rank, 1, problem.gram.n)
    size = 4 if problem.gram.door.dtype == problem.xp.float32 else 8
    tol = TOLERANCES[size] if tol is None else _checks.real(NAME, "tol", tol, 0, 1, open=True)
    problem = dataclasses.replace(problem, ridge=_ridge(problem, ridge, rank, seed))
    if solver == "auto":
        solver = "direct" if problem.gram.n <= DIRECT else "pcg" if problem.gram.n <= ITERATIVE else "nystrom"
    B = _started(problem, start)
    data = Training(X, problem.gram.X.shape[1], y, sample_weight, seed, rank, tol, max_iter)
    fitted = _restricted(problem, rank, seed, certificate) if solver == "nystrom" else _full(problem, solver, data, B, callback)
    return _answer(problem, fitted, data)


def _ridge(problem: Problem, ridge: float | str, rank: int | None, seed: int) -> float:
    if isinstance(ridge, str):
        _checks.choice(NAME, "ridge", ridge, ("loo",))
        return best_ridge(problem, rank, seed)
    return _checks.real(NAME, "ridge", ridge, 0, open=True)


def _started(problem: Problem, start: KernelRidgeResult | None) -> Array | None:
    """Take the coefficients of an earlier answer inside.

    Raises
    ------
    ValueError
        They are of another shape.
    """
    if start is None:
        return None
    coefficients = _arrays.beside(NAME, "start.coefficients", start.coefficients, problem.y)
    columns = coefficients if coefficients.ndim == 2 else coefficients[:, None]
    return problem.taken(_checks.shape(NAME, "start.coefficients", columns, tuple(problem.y.shape)))


@dataclass(frozen=True)
class _Fitted:
    """An answer in the units of the problem."""

    solver: str
    coefficients: Array
    indices: np.ndarray | None
    rank: int
    condition: float
    n_iter: int
    residual: np.ndarray
    objective: np.ndarray
    gap: np.ndarray
    distance: Distance


def _full(problem: Problem, solver: str, data: Training, start: Array | None, callback: Any) -> _Fitted:
    """Solve for all coefficients; the residual says everything else."""
    if solver == "direct":
        outcome = _ridge_pcg.Outcome(*_ridge_dense.solve(problem), 0, 0, 1.0)
    else:
        P = _ridge_pcg.preconditioner(problem, data.rank, data.seed)
        outcome = _ridge_pcg.solve(problem, P, data.tol, data.max_iter, start, callback)
    B, R = outcome.B, outcome.R
    size, left = norms(R), R + problem.ridge * B  # D (y - f)
    bound = size + problem.slack(B)
    inner = host(problem.xp.sum(B * (problem.rhs - left), axis=0))
    distance = steepness(problem.ridge, problem.trace) * bound
    return _Fitted(
        solver=solver,
        coefficients=problem.coefficients(B),
        indices=None,
        rank=outcome.rank,
        condition=outcome.condition,
        n_iter=outcome.n_iter,
        residual=size / np.where(problem.sizes > 0, problem.sizes, 1.0),
        objective=norms(left) ** 2 + problem.ridge * np.maximum(inner, 0),
        gap=bound**2,
        distance=Distance(distance, distance, distance, 1.0, "residual"),
    )


def _restricted(problem: Problem, rank: int | None, seed: int, certificate: bool) -> _Fitted:
    """Solve for functions of centres."""
    model = _ridge_restricted.choose(problem, rank, seed)
    fit = _ridge_restricted.solve(model)
    distance = _ridge_distance.distance(model, fit, seed) if certificate else _ridge_distance.unknown(problem)
    unit = _arrays.from_numpy(problem.unit, fit.beta)[None, :]
    return _Fitted(
        solver="nystrom",
        coefficients=problem.xp.astype(fit.beta * unit, problem.gram.door.dtype),
        indices=model.indices,
        rank=model.rank,
        condition=1.0,
        n_iter=0,
        residual=problem.ridge * norms(fit.theta - fit.inner) / np.where(fit.size > 0, fit.size, 1.0),
        objective=(problem.ridge * norms(fit.dual)) ** 2 + problem.ridge * norms(fit.theta) ** 2,
        gap=problem.ridge * distance.whole**2,
        distance=distance,
    )


def _answer(problem: Problem, fitted: _Fitted, data: Training) -> KernelRidgeResult:
    """Put everything into the caller's units, and warn where the tolerance was not reached."""
    door, unit, residual = problem.gram.door, problem.unit, float(np.max(fitted.residual))
    converged = residual <= data.tol
    if not converged:
        text = f"{NAME}: the relative residual is {residual:.2g} after {fitted.n_iter} iterations, above tol = {data.tol:.2g}"
        warnings.warn(text, ConvergenceWarning, stacklevel=3)

    def figure(numbers: np.ndarray) -> Any:
        return float(numbers[0]) if problem.vector else door.leave_wide(_arrays.from_numpy(numbers, problem.y))

    indices = None if fitted.indices is None else _arrays.from_numpy(fitted.indices, problem.y)
    points = problem.gram.X if indices is None else problem.gram.points(indices)
    with np.errstate(over="ignore"):
        squares = unit**2
        objective, gap, distance = fitted.objective * squares, fitted.gap * squares, fitted.distance.whole * unit
    return KernelRidgeResult(
        coefficients=door.leave_wide(fitted.coefficients[:, 0] if problem.vector else fitted.coefficients),
        points=None if isinstance(problem.gram.kernel, str) else points if _arrays.is_sparse(points) else door.leave(points),
        indices=None if indices is None else door.leave(indices),
        kernel=problem.gram.kernel,
        ridge=problem.ridge,
        solver=fitted.solver,
        rank=fitted.rank,
        condition=fitted.condition,
        n_iter=fitted.n_iter,
        residual=residual,
        objective=figure(objective),
        gap=figure(gap),
        error_bound=figure(distance),
        converged=converged,
        certificate=Certificate(CLAIM, float(np.max(distance)), fitted.distance.confidence, fitted.distance.method),
        training=data,
        split=(fitted.distance.along * unit, fitted.distance.across * unit),
    )
