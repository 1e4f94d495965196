"""`sbl`: sparse Bayesian learning with any dictionary, the baseline without Kronecker structure."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor import _dense
from lowrank_la.sbl import _problem
from lowrank_la.sbl._fast import Model, one_atom
from lowrank_la.sbl._problem import Entry, square

NAME = "sbl"
CLAIM = "max_k |g[k] d cost / d g[k]| <= bound times the number of measurements"


@dataclass(frozen=True, repr=False)
class SBLResult(Result):
    """A sparse vector and how far it can be trusted.

    Attributes
    ----------
    x : array (N,) or (N, L)
        Posterior mean.
    support : array of integers
        Atoms in use.
    gamma : array (N,)
        Prior variances.
    variance : array (N,)
        Posterior variances.
    noise_var : float
        Variance of the noise, given or estimated.
    cost_trace : numpy array
        log det C + trace(C^-1 y y^H) before each step and after the last: -2 log evidence (- log evidence if complex), up to a constant.
    chi2 : float
        ||y - A x||^2 over what noise alone would leave; near 1 if the model holds.
    dof : float
        Effective number of parameters.
    converged : bool
        The last step moved the prior variances by at most `tol`.
    n_iter : int
        Number of steps.
    certificate : Certificate
        Bounds the violation of the first-order conditions.
    """

    x: Array
    support: Array
    gamma: Array
    variance: Array
    noise_var: float
    cost_trace: np.ndarray
    chi2: float
    dof: float
    converged: bool
    n_iter: int
    certificate: Certificate


@dataclass(frozen=True)
class _Moments:
    """What one factorization of the covariance of the data gives."""

    mean: Array
    variance: Array
    S: Array
    Q2: Array
    residual: float
    inverse_trace: float
    cost: float


def sbl(
    y: Array, A: Array, *, method: str = "mm", noise_var: float | None = None, prune: float = 1e-3, tol: float = 1e-4, max_iter: int = 500
) -> SBLResult:
    """Find a sparse x with y = A x + noise by maximising the evidence over one prior variance for each column.

    This is the classical method, for dictionaries without structure. If A is a Kronecker product, `kronecker_sbl` is faster by
    orders of magnitude and finds the support more often.

    Parameters
    ----------
    y : array (m,) or (m, L), real or complex
        Measurements; snapshots share the prior variances.
    A : array (m, N)
        Dictionary. Columns need not have length one.
    method : {"mm", "em", "fast"}
        Multiplicative steps of majorisation-minimisation, or expectation-maximisation, which is slower. Both never raise the cost. "fast"
        starts from nothing and changes one atom a step, the one that lowers the cost most [3]_, and takes up new ones only if they explain
        more than noise would: for large dictionaries and few atoms.
    noise_var : float, at least 0, optional
        Variance of the noise; estimated if None.
    prune : float, 0 <= prune <= 0.5
        Drop columns whose prior variance falls below this share of the largest.
    tol : float, above 0
        Stop when a step changes the prior variances by at most this share; for "fast", when it lowers the cost by no more.
    max_iter : int
        Steps at most.

    Returns
    -------
    SBLResult
        x is the posterior mean; certificate bounds the violation of the first-order conditions.

    Raises
    ------
    TypeError
        y or A is no dense array of numbers.
    ValueError
        Shapes do not fit, an entry is not finite, or an option is out of range.

    Warns
    -----
    ConvergenceWarning
        max_iter steps were not enough.

    Notes
    -----
    Each step factors the m x m covariance of the data: m^2 (N + m / 3) flops; one of "fast" multiplies A by the k atoms in use: m N k.
    Memory: two arrays of the size of A. Work is in float64.

    References
    ----------
    .. [1] Tipping, Sparse Bayesian learning and the relevance vector machine, JMLR 1, 2001. The model.
    .. [2] Wipf and Rao, Sparse Bayesian learning for basis selection, IEEE TSP 52(8), 2004. The limit of small noise.
    .. [3] Tipping and Faul, Fast marginal likelihood maximisation for sparse Bayesian models, AISTATS 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sbl import sbl
    >>> A = np.random.default_rng(0).standard_normal((40, 100))
    >>> sbl(3 * A[:, 7] - A[:, 50], A, noise_var=1e-6).support
    array([ 7, 50])
    """
    method = _checks.choice(NAME, "method", method, ("mm", "em", "fast"))
    noise = None if noise_var is None else _checks.real(NAME, "noise_var", noise_var, 0)
    prune, tol = _checks.real(NAME, "prune", prune, 0, 0.5), _checks.real(NAME, "tol", tol, 0, open=True)
    max_iter = _checks.integer(NAME, "max_iter", max_iter, 1)
    entry = _problem.enter(NAME, y, [A])
    model, costs, change = _start(entry, noise), [], math.inf
    if method == "fast":
        model = replace(model, g=0 * model.g)
    while len(costs) < max_iter and change > tol and model.noise > 0:
        cost, change, after = _advance(model, method, prune)
        costs.append(cost)
        model = replace(after, noise=model.noise) if noise is not None else after
    return _answer(entry, model, costs, change <= tol or model.noise == 0, tol)


def _start(entry: Entry, noise: float | None) -> Model:
    problem = entry.problem
    xp, a, power = _arrays.namespace(problem.Y), problem.A[0], problem.energy / problem.snapshots
    g = xp.astype(problem.alive[0], xp.float64)
    g = g * (power / max(float(xp.sum(g)), 1.0))
    first = 0.1 * power / problem.size if noise is None else max(noise, problem.floor)
    return Model(a, problem.Y, problem.size, problem.spare, problem.floor, g, first)


def _moments(model: Model) -> _Moments:
    """Factor C = noise I + A diag(g) A^H = F F^H; everything else is F^-1 A and F^-1 Y."""
    A, Y, g, noise = model.A, model.Y, model.g, model.noise
    xp, unseen, L = _arrays.namespace(A), model.size - A.shape[0], Y.shape[1]
    B = A * xp.sqrt(g)
    F = xp.linalg.cholesky(B @ _dense.adjoint(B) + noise * _dense.eye(xp, A.shape[0], A))
    inverse = _arrays.solve_triangular(_dense.adjoint(F), _dense.eye(xp, A.shape[0], A), adjoint=True)
    W, V = inverse @ A, inverse @ Y
    S, Q = xp.sum(xp.abs(W) ** 2, axis=0), _dense.adjoint(W) @ V
    residual = noise**2 * square(_dense.adjoint(inverse) @ V) + model.spare
    logs = 2 * float(xp.sum(xp.log(xp.real(xp.linalg.diagonal(F))))) + unseen * math.log(noise)
    return _Moments(
        mean=g[:, None] * Q,
        variance=xp.clip(g - g**2 * S, 0),
        S=S,
        Q2=xp.mean(xp.abs(Q) ** 2, axis=1),
        residual=residual,
        inverse_trace=square(inverse) + unseen / noise,
        cost=L * logs + square(V) + model.spare / noise,
    )


def _advance(model: Model, method: str, prune: float) -> tuple[float, float, Model]:
    """Return the cost before a step, what it changes, and the model after it."""
    if method == "fast":
        step = one_atom(model)
        return step.cost, step.fall, step.after
    moments = _moments(model)
    after = _step(model, moments, method, prune)
    return moments.cost, _change(model.g, after.g), after


def _step(model: Model, moments: _Moments, method: str, prune: float) -> Model:
    xp, g = _arrays.namespace(model.g), model.g
    if method == "em":
        g = xp.where(g > 0, moments.variance + xp.mean(xp.abs(moments.mean) ** 2, axis=1), g)
        freedom = model.size - model.noise * moments.inverse_trace
        noise = (moments.residual / model.Y.shape[1] + model.noise * freedom) / model.size
    else:
        g = g * xp.sqrt(moments.Q2 / xp.where(moments.S > 0, moments.S, xp.ones_like(g)))
        noise = model.noise * math.sqrt(moments.residual / (model.Y.shape[1] * model.noise**2 * moments.inverse_trace))
    g = xp.where(g < prune * xp.max(g), xp.zeros_like(g), g)
    return replace(model, g=g, noise=max(noise, model.floor))


def _change(old: Array, new: Array) -> float:
    norm = _arrays.namespace(old).linalg.vector_norm
    size = max(float(norm(old)), float(norm(new)))
    return float(norm(new - old)) / size if size > 0 else 0.0


def _answer(entry: Entry, model: Model, costs: list[float], converged: bool, tol: float) -> SBLResult:
    if not converged:
        warnings.warn(f"{NAME}: {len(costs)} steps did not reach tol = {tol:.2g}", ConvergenceWarning, stacklevel=3)
    door, norms, g, xp = entry.door, entry.problem.norms[0], model.g, _arrays.namespace(model.g)
    if model.noise == 0:  # the data are zero
        zero = xp.zeros_like(g)
        moments = _Moments(xp.zeros_like(_dense.adjoint(model.A)[:, :1] * model.Y[:1, :]), zero, zero, zero, 0.0, 0.0, 0.0)
    else:
        moments = _moments(model)
    dof = model.size - model.noise * moments.inverse_trace if model.noise else 0.0
    left = (model.size - dof) * model.noise * model.Y.shape[1]
    count = model.size * model.Y.shape[1]
    kkt = model.Y.shape[1] * float(xp.max(g * xp.abs(moments.S - moments.Q2)))
    kkt += _rounding(model, moments) if model.noise else 0.0
    return SBLResult(
        x=entry.leave(moments.mean / norms[:, None]),
        support=door.leave_wide(xp.nonzero(g > 0)[0]),
        gamma=door.leave(g / norms**2),
        variance=door.leave(moments.variance / norms**2),
        noise_var=model.noise,
        cost_trace=np.asarray([*costs, moments.cost]),
        chi2=moments.residual / left if left > 0 else math.nan,
        dof=dof,
        converged=converged,
        n_iter=len(costs),
        certificate=Certificate(CLAIM, kkt / count, 1.0, "residual"),
    )


def _rounding(model: Model, moments: _Moments) -> float:
    """Bound rounding errors by a backward error of the covariance of the data, relative to its smallest eigenvalue."""
    xp, count = _arrays.namespace(model.g), model.size * model.Y.shape[1]
    quadratic = abs(moments.cost) + count * abs(math.log(model.noise))
    return _dense.gamma(sum(model.A.shape) + 4, model.A) * (1 + float(xp.sum(model.g)) / model.noise) * (count + 2 * quadratic)
