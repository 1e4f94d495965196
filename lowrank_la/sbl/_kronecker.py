"""`kronecker_sbl`: sparse Bayesian learning with a Kronecker-structured dictionary and support."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array
from lowrank_la._random import RNG
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.sbl import _certificate, _pattern
from lowrank_la.sbl._evidence import Evidence, outer, variances
from lowrank_la.sbl._loop import PHASES, Climb, Options, best, climb
from lowrank_la.sbl._problem import Entry, Problem, enter
from lowrank_la.sbl._result import KroneckerSBLResult
from lowrank_la.sbl._starts import starts

NAME = "kronecker_sbl"
DEFAULT = "mm"  # at every noise level measured the least errors and the most exact supports
STARTS = 5  # starts at most, while the residual does not look like noise
SMALL = 1 << 18  # entries of Y and X for which threads of BLAS do not pay


def kronecker_sbl(
    y: Array,
    factors: Sequence[Any],
    *,
    method: str = "auto",
    noise_var: float | None = None,
    n_init: int | None = None,
    prune: float = 1e-2,
    tol: float = 1e-4,
    max_iter: int = 500,
    coupling: float = 0.5,
    coupled_modes: Sequence[int] | None = None,
    rng: RNG = None,
) -> KroneckerSBLResult:
    """Find a sparse x with y = (A_1 kron ... kron A_I) x + noise whose support is a product of one set of atoms per factor.

    x has the Gaussian prior with variances g_1 kron ... kron g_I: sum N_i hyper-parameters in place of prod N_i. They maximise the
    evidence, and most of them end at zero. Everything is computed from small singular value decompositions of the
    factors; the Kronecker matrix, and covariances of the size of x, are never formed.

    Parameters
    ----------
    y : array (M,), (M, L), (M_1, ..., M_I) or (M_1, ..., M_I, L), real or complex, M = M_1 ... M_I
        Measurements of one signal or of L snapshots with a common support. Flat ones are in C order, the last factor runs
        fastest, as in `numpy.kron(A_1, A_2)`. A tensor is the safer form: factors in the wrong order are then seen by its shape.
    factors : sequence of arrays (M_i, N_i), or linear operators with `@`
        Factors of the dictionary. M_i may be more or less than N_i; columns need not have length one, and may be zero.
    method : {"auto", "mm", "am", "svd", "ksbl", "svd+am", "svd+mm", "pattern"}
        How to climb. "mm": multiplicative steps of majorisation-minimisation, never down ("auto" is this: see Notes). "am":
        expectation-maximisation with alternating maximisation [1]_; "ksbl": the same with one sweep; "svd": with a rank-one fit in
        place of maximisation [1]_, which may lower the evidence; pairs start with the fit. "pattern": "mm" for signals whose
        atoms come in blocks, with coupled neighbours.
    noise_var : float, at least 0, optional
        Variance of the noise of each entry of y; estimated if None. Below 1e-10 of the mean square of y it counts as that.
    n_init : int, optional
        Number of starts, of which the one with the largest evidence is reported. None: two if the noise
        is estimated, else one, and up to four more as long as `chi2` shows that the residual is not noise.
    prune : float, 0 <= prune <= 0.5
        Drop an atom whose hyper-parameter falls below this share of the largest of its mode. When nothing moves
        any more it comes back, once, if the evidence asks for it clearly. 0 keeps all.
    tol : float, above 0
        Stop when a step changes no mode's hyper-parameters by more than this share.
    max_iter : int
        Steps at most, of each start.
    coupling : float, 0 <= coupling <= 1
        Only for "pattern": weight of both neighbours of an atom in its prior variance.
    coupled_modes : sequence of int, optional
        Only for "pattern": modes whose neighbours are coupled; all if None.
    rng : None, int or numpy.random.Generator
        For the third start and those after it, which are random.

    Returns
    -------
    KroneckerSBLResult
        x : posterior mean, in the form of y. support : indices of the atoms in use, for each mode. gammas, variance, noise_var,
        cost_trace, chi2, margin and others: see there.
        certificate : bounds the violation of the first-order conditions of the evidence for the atoms in use, over the number of
        measurements, rounding errors included. It says that the hyper-parameters are stationary; whether they are the right
        ones is judged by chi2.

    Raises
    ------
    TypeError
        y or a factor is no array of numbers, or factors is no sequence.
    ValueError
        Shapes do not fit (named: what was expected, and whether axes are in another order), an entry is not finite, or an
        option is out of range.

    Warns
    -----
    ConvergenceWarning
        max_iter steps were not enough.

    Notes
    -----
    Cost of a step of "mm": an SVD of each M_i x N_i factor and a few products with tensors of the size of y; of the other
    methods also some mode products between y and x. Memory: a few arrays of the sizes of y and, at the end, x. Work is in float64.
    Every factor with more rows than columns is first reduced by a QR factorization.

    With C the covariance of y, cost = log det C + trace(C^-1 y y^H), and d cost / d g_i[k] = d - n with two sums n, d >= 0 over
    atoms, "mm" multiplies g_i[k] by sqrt(n / d): log det C is concave in g_i and the other term is bounded by a sum of 1/g
    terms, so that the cost falls. The same step estimates the variance of the noise, and serves coupled hyper-parameters unchanged.

    Zero columns of a factor are not seen in the data: their hyper-parameters, x and variance are zero.

    References
    ----------
    .. [1] He and Joseph, Bayesian algorithms for Kronecker-structured sparse vector recovery with application to IRS-MIMO channel
       estimation, IEEE TSP, 2024, arXiv:2307.14719. The model, "am", "svd" and "pattern"; the steps "mm" are not from there.
    .. [2] Fang, Shen, Li and Wang, Pattern-coupled sparse Bayesian learning for recovery of block-sparse signals, IEEE TSP 63, 2015.
       The coupling.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import kronecker_sbl
    >>> rng = np.random.default_rng(0)
    >>> A, B = rng.standard_normal((8, 15)), rng.standard_normal((12, 15))
    >>> X = np.zeros((15, 15))
    >>> X[np.ix_([2, 9], [4, 5])] = [[1, -2], [3, 1]]
    >>> result = kronecker_sbl(A @ X @ B.T + 0.01 * rng.standard_normal((8, 12)), [A, B])
    >>> [s.tolist() for s in result.support]
    [[2, 9], [4, 5]]
    >>> bool(np.linalg.norm(result.x - X) < 0.02 * np.linalg.norm(X))
    True
    """
    method = _checks.choice(NAME, "method", method, ("auto", *PHASES))
    options = _options(DEFAULT if method == "auto" else method, noise_var, prune, tol, max_iter)
    n_init = None if n_init is None else _checks.integer(NAME, "n_init", n_init, 1)
    seed = _random.seed_of(NAME, rng)
    entry = enter(NAME, y, factors)
    problem = entry.problem
    if options.method == "pattern":
        problem = _pattern.coupled(NAME, problem, coupling, coupled_modes)
    noise = None if noise_var is None else _checks.real(NAME, "noise_var", noise_var, 0)
    if problem.energy == 0:
        return _nothing(entry, problem, options.method, noise or 0.0)
    with _threads.serial_blas() if math.prod(problem.Y.shape) < SMALL else nullcontext():
        climbs = _climbs(problem, options, noise, n_init, seed)
        return _answer(entry, best(climbs), options, tuple(c.cost for c in climbs))


def _options(method: str, noise_var: float | None, prune: float, tol: float, max_iter: int) -> Options:
    tol = _checks.real(NAME, "tol", tol, 0, open=True)
    prune = _checks.real(NAME, "prune", prune, 0, 0.5)
    return Options(method, noise_var is None, prune, tol, _checks.integer(NAME, "max_iter", max_iter, 1))


def _climbs(problem: Problem, options: Options, noise: float | None, n_init: int | None, seed: int) -> list[Climb]:
    """Climb from as many starts as asked for; unasked, from two without a noise variance, else from more while the residual is no noise."""
    first = 0.1 * problem.energy / (problem.size * problem.snapshots) if noise is None else max(noise, problem.floor)
    climbs: list[Climb] = []
    for evidence in islice(starts(problem, first, seed), n_init or (STARTS if noise is not None else 2)):
        climbs.append(climb(evidence, options))
        if n_init is None and noise is not None and not _suspicious(best(climbs).evidence):
            break
    return climbs


def _suspicious(evidence: Evidence) -> bool:
    return _certificate.chi_square(evidence) > _certificate.chi_square_limit(evidence)


def _answer(entry: Entry, climb: Climb, options: Options, costs: tuple[float, ...]) -> KroneckerSBLResult:
    """Put everything into the caller's units, and warn where the answer is not what was asked."""
    evidence, door = climb.evidence, entry.door
    problem, verdict = evidence.problem, _certificate.judge(evidence)
    mean, variance = evidence.posterior()
    norms = outer(problem.norms)
    converged = climb.change <= options.tol
    if not converged:
        text = f"{NAME}: step {climb.n_iter}, the last, moved the hyper-parameters by {climb.change:.2g}, more than tol = {options.tol:.2g}"
        warnings.warn(text, ConvergenceWarning, stacklevel=3)
    return KroneckerSBLResult(
        x=entry.leave(mean / norms[..., None]),
        support=tuple(door.leave_wide(_support(v)) for v in variances(problem, evidence.g)),
        gammas=tuple(door.leave(g / n**2) for g, n in zip(evidence.g, problem.norms, strict=True)),
        variance=entry.leave_one(variance / norms**2),
        noise_var=evidence.noise,
        cost_trace=np.asarray(climb.trace),
        monotone_from=climb.monotone_from,
        cuts=climb.cuts,
        chi2=verdict.chi2,
        dof=verdict.dof,
        balance=verdict.balance,
        rank_one_error=verdict.rank_one_error,
        margin=min(map(_certificate.margin, evidence.g)),
        method=options.method,
        start_costs=costs,
        converged=converged,
        n_iter=climb.n_iter,
        certificate=verdict.certificate,
    )


def _support(g: Array) -> Array:
    return _arrays.namespace(g).nonzero(g > 0)[0]


def _nothing(entry: Entry, problem: Problem, method: str, noise: float) -> KroneckerSBLResult:
    """Answer for data that are zero: everything is."""
    xp, door = _arrays.namespace(problem.Y), entry.door
    zeros = [xp.zeros_like(n) for n in problem.norms]
    X = outer(zeros)
    x = xp.broadcast_to(X[..., None], (*X.shape, problem.snapshots))
    return KroneckerSBLResult(
        x=entry.leave(xp.astype(x, problem.Y.dtype)),
        support=tuple(door.leave(_support(g)) for g in zeros),
        gammas=tuple(door.leave(g) for g in zeros),
        variance=entry.leave_one(X),
        noise_var=noise,
        cost_trace=np.zeros(1),
        monotone_from=0,
        cuts=(),
        chi2=math.nan if noise == 0 else 0.0,
        dof=0.0,
        balance=0.0,
        rank_one_error=0.0,
        margin=0.0,
        method=method,
        start_costs=(0.0,),
        converged=True,
        n_iter=0,
        certificate=Certificate(_certificate.CLAIM, 0.0, 1.0, "residual"),
    )
