"""`sbl`: sparse Bayesian learning with any dictionary, the baseline without Kronecker structure."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _checks, _threads
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor import _dense
from lowrank_la.sbl import _em, _problem
from lowrank_la.sbl._columns import indices, used
from lowrank_la.sbl._em import Moments, Prior, Rule
from lowrank_la.sbl._fast import End, Search
from lowrank_la.sbl._problem import Entry, Problem

NAME = "sbl"
CLAIM = "max_k |g[k] d cost / d g[k]| <= bound times the number of measurements"
SMALL = 1 << 18  # entries of A for which threads of BLAS do not pay
PREPARED, PREPARING = 1e-2, 50  # expectation-maximisation that only prepares ends at this change, or after so many steps


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
        Before each step and after the last: log det C + trace(C^-1 y y^H), -2 log evidence (- log evidence if complex) up to a
        constant; for "auto" and "fast" with the price of the atoms in use (see Notes of `sbl`).
    chi2 : float
        ||y - A x||^2 over what noise alone would leave; near 1 if the model holds.
    dof : float
        Effective number of parameters.
    converged : bool
        No step changed, or would change, more than `tol`.
    n_iter : int
        Number of steps; for "auto" and "fast" of those from the start that is reported.
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


def sbl(
    y: Array,
    A: Array,
    *,
    method: str = "auto",
    noise_var: float | None = None,
    prune: float = 1e-3,
    tol: float = 1e-4,
    max_iter: int = 500,
    coupling: float = 0.5,
) -> SBLResult:
    """Find a sparse x with y = A x + noise by maximising the evidence over one prior variance for each column.

    This is for dictionaries without structure. If A is a Kronecker product, `kronecker_sbl` is faster by orders of magnitude and
    finds the support more often.

    Parameters
    ----------
    y : array (m,) or (m, L), real or complex
        Measurements; snapshots share the prior variances.
    A : array (m, N)
        Dictionary. Columns need not have length one.
    method : {"auto", "fast", "em", "pattern"}
        "fast": take up atoms one by one, keep as many as pay, and revise them one by one [3]_, with a price for each that noise alone
        does not reach. "auto": the same also from where expectation-maximisation leads, which copes better with columns that are alike;
        the better of both. "em": classical expectation-maximisation [1]_ [2]_, without the price; it keeps atoms that explain noise.
        "pattern": the same for signals whose atoms come in blocks, with second moments and precisions averaged over neighbours [4]_.
    noise_var : float, at least 0, optional
        Variance of the noise; estimated if None.
    prune : float, 0 <= prune <= 0.5
        For "em", "pattern" and the start of "auto": drop columns whose prior variance falls below this share of the largest.
    tol : float, above 0
        Stop when a step changes the prior variances by at most this share; for "auto" and "fast", when none would lower the cost by more.
    max_iter : int
        Steps at most.
    coupling : float, 0 <= coupling <= 1
        Only for "pattern": weight of both neighbours of an atom.

    Returns
    -------
    SBLResult
        x is the posterior mean; certificate bounds the violation of the first-order conditions (which "pattern" does not aim at).

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
    With C the covariance of y, cost = log det C + trace(C^-1 y y^H). It falls with about a third of all atoms of pure noise. So "auto"
    and "fast" minimise cost + price * (atoms in use), where the price, 2 log(N + 1), or log(N + 1) for complex data, is what the best
    of N atoms gains from pure noise. If the noise is estimated, every cost is the least over its variance. "fast" uses at most m / 2
    atoms.

    Cost: a step of "fast" with k atoms in use takes N (m + k^2) + k^3 flops and some; one of "em" factors the covariance, m^2 (k + m)
    flops, where k = N at first. Memory: an array of the size of A, for "em" three. Work is in float64.

    References
    ----------
    .. [1] Tipping, Sparse Bayesian learning and the relevance vector machine, JMLR 1, 2001. The model.
    .. [2] Wipf and Rao, Sparse Bayesian learning for basis selection, IEEE TSP 52(8), 2004. The limit of small noise.
    .. [3] Tipping and Faul, Fast marginal likelihood maximisation for sparse Bayesian models, AISTATS 2003. Steps of one atom, with the
       noise held fixed; the price, and the noise that follows each step, are not from there.
    .. [4] Fang, Shen, Li and Wang, Pattern-coupled sparse Bayesian learning for recovery of block-sparse signals, IEEE TSP 63, 2015.
       The coupling of neighbours; here its weights sum to one.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sbl import sbl
    >>> A = np.random.default_rng(0).standard_normal((40, 100))
    >>> sbl(3 * A[:, 7] - A[:, 50], A).support
    array([ 7, 50])
    """
    method = _checks.choice(NAME, "method", method, ("auto", "fast", "em", "pattern"))
    noise = None if noise_var is None else _checks.real(NAME, "noise_var", noise_var, 0)
    prune, tol = _checks.real(NAME, "prune", prune, 0, 0.5), _checks.real(NAME, "tol", tol, 0, open=True)
    max_iter = _checks.integer(NAME, "max_iter", max_iter, 1)
    coupling = _checks.real(NAME, "coupling", coupling, 0, 1)
    entry = _problem.enter(NAME, y, [A], name="A")
    if entry.problem.energy == 0:
        return _nothing(entry, noise or 0.0)
    rule = Rule(noise is None, prune, coupling if method == "pattern" else 0.0)
    with _threads.serial_blas() if math.prod(entry.problem.A[0].shape) < SMALL else nullcontext():
        if method in ("auto", "fast"):
            return _searched(entry, rule, noise, both=method == "auto", tol=tol, max_iter=max_iter)
        climb = _em.climb(entry.problem, _em.flat(entry.problem, noise), rule, tol=tol, max_iter=max_iter)
        now = _em.moments(entry.problem, climb.prior)
        return _answer(entry, climb.prior, now, (*climb.costs, now.cost), converged=climb.change <= tol)


def _searched(entry: Entry, rule: Rule, noise: float | None, *, both: bool, tol: float, max_iter: int) -> SBLResult:
    """Move from one start or from both, and answer with the better end."""
    problem, search = entry.problem, Search(entry.problem, noise)
    starts = [search.path()]
    if both:
        climb = _em.climb(problem, _em.flat(problem, noise), rule, tol=PREPARED, max_iter=min(PREPARING, max_iter))
        starts.append(search.start(climb.prior))
    end = min([search.improve(start, tol=tol, max_iter=max_iter) for start in starts], key=_score)
    prior = search.prior(end.state)
    return _answer(entry, prior, _em.moments(problem, prior), end.scores, converged=end.fall <= tol)


def _score(end: End) -> float:
    return end.state.score


def _nothing(entry: Entry, noise: float) -> SBLResult:
    """Answer for data that are zero: everything is."""
    zero, door = entry.problem.norms[0] * 0, entry.door
    mean = zero[:, None] * entry.problem.Y[:1, :]
    return SBLResult(
        x=entry.leave(mean),
        support=door.leave_wide(indices([], zero)),
        gamma=door.leave(zero),
        variance=door.leave(zero),
        noise_var=noise,
        cost_trace=np.zeros(1),
        chi2=math.nan if noise == 0 else 0.0,
        dof=0.0,
        converged=True,
        n_iter=0,
        certificate=Certificate(CLAIM, 0.0, 1.0, "residual"),
    )


def _answer(entry: Entry, prior: Prior, now: Moments, trace: tuple[float, ...], *, converged: bool) -> SBLResult:
    """Put everything into the caller's units."""
    if not converged:
        warnings.warn(f"{NAME}: {len(trace) - 1} steps did not converge to tol; raise max_iter, or tol", ConvergenceWarning, stacklevel=4)
    problem, door, norms = entry.problem, entry.door, entry.problem.norms[0]
    dof = problem.size - prior.noise * now.inverse_trace
    left = (problem.size - dof) * prior.noise * problem.snapshots
    slope = float(_arrays.namespace(now.slope).max(abs(now.slope))) + _rounding(problem, prior, now)
    return SBLResult(
        x=entry.leave(now.mean / norms[:, None]),
        support=door.leave_wide(indices(used(prior.g), norms)),
        gamma=door.leave(prior.g / norms**2),
        variance=door.leave(now.variance / norms**2),
        noise_var=prior.noise,
        cost_trace=np.asarray(trace),
        chi2=now.residual / left if left > 0 else math.nan,
        dof=dof,
        converged=converged,
        n_iter=len(trace) - 1,
        certificate=Certificate(CLAIM, slope / (problem.size * problem.snapshots), 1.0, "residual"),
    )


def _rounding(problem: Problem, prior: Prior, now: Moments) -> float:
    """Bound rounding errors by a backward error of the covariance of the data, relative to its smallest eigenvalue."""
    xp, count = _arrays.namespace(prior.g), problem.size * problem.snapshots
    quadratic = abs(now.cost) + count * abs(math.log(prior.noise))
    return _dense.gamma(sum(problem.A[0].shape) + 4, problem.A[0]) * (1 + float(xp.sum(prior.g)) / prior.noise) * (count + 2 * quadratic)
