"""`kronecker_sbl`: sparse Bayesian learning with a Kronecker-structured dictionary and support."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array
from lowrank_la._random import RNG
from lowrank_la._result import ConvergenceWarning
from lowrank_la.sbl import _pattern
from lowrank_la.sbl._answer import answers, nothing
from lowrank_la.sbl._loop import PHASES, Options, Place
from lowrank_la.sbl._problem import enter
from lowrank_la.sbl._result import KroneckerSBLResult
from lowrank_la.sbl._solve import resume, solve
from lowrank_la.sbl._stack import Stack, stacked

NAME = "kronecker_sbl"
DEFAULT = "mm"  # at every noise level measured the least errors and the most exact supports
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
    init: KroneckerSBLResult | None = None,
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
        Factors of the dictionary; operators are made dense. M_i may be more or less than N_i; columns need not have length one, and
        may be zero.
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
        Drop an atom whose hyper-parameter stays below this share of the largest of its mode. When nothing moves any more, one that is
        worth clearly more than noise to the evidence comes back, once, and those that are worth less go. 0 keeps all.
    tol : float, above 0
        Stop when a step changes no mode's hyper-parameters by more than this share.
    max_iter : int
        Steps at most, of each start.
    coupling : float, 0 <= coupling <= 1
        Only for "pattern": weight of both neighbours of an atom in its prior variance.
    coupled_modes : sequence of int, optional
        Only for "pattern": modes whose neighbours are coupled; all if None.
    init : KroneckerSBLResult, optional
        Go on from there, with max_iter more steps, in place of other starts: to the same end as without the stop, if nothing else changes.
    rng : None, int or numpy.random.Generator
        For the third start and those after it, which are random.

    Returns
    -------
    KroneckerSBLResult
        x : posterior mean, in the form of y. support : indices of the atoms in use, for each mode. gammas, variance, noise_var,
        cost_trace, chi2, margin and others: see there.
        certificate : bounds the violation of the first-order conditions of the evidence for the atoms in use, over the number of
        measurements, rounding errors included. It says that the hyper-parameters are stationary; `missed`, that no single pruned atom
        would lower the cost by more; whether they are the right ones is judged by chi2.

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

    See Also
    --------
    lowrank_la.sbl.kronecker_sbl_batch : Many independent y.

    Notes
    -----
    Cost of a step of "mm": an SVD of each M_i x N_i factor and a few products with tensors of the size of y; of the other
    methods also some mode products between y and x. Memory: a few arrays of the sizes of y and, at the end, x. Work is in float64.
    A factor with more rows than columns is first reduced by a QR factorization, and again when few of its atoms are left: from then on
    steps cost what few atoms cost.

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
    return _solved(NAME, y, factors, False, method, noise_var, n_init, prune, tol, max_iter, coupling, coupled_modes, init, rng)[0]


def kronecker_sbl_batch(
    Y: Array | Sequence[Array],
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
    init: Sequence[KroneckerSBLResult] | None = None,
    rng: RNG = None,
) -> list[KroneckerSBLResult]:
    """Solve many independent problems with the same factors, such as the carriers of a band: each as `kronecker_sbl` would.

    Every problem has its own hyper-parameters, noise, starts and end. They climb side by side, which saves most of the time of small ones.

    Parameters
    ----------
    Y : array (B, ...), or sequence of B arrays
        Measurements; behind the axis of problems as for `kronecker_sbl`, the axis of snapshots last.
    factors : sequence of arrays (M_i, N_i), or linear operators with `@`
        Factors of the dictionary.
    method, noise_var, n_init, prune, tol, max_iter, coupling, coupled_modes
        As for `kronecker_sbl`, for each problem.
    init : sequence of B results, optional
        Go on from there.
    rng : None, int or numpy.random.Generator
        For random starts, the same for each problem.

    Returns
    -------
    list of KroneckerSBLResult
        One for each problem: that of `kronecker_sbl` with the same seed, to rounding.

    Raises
    ------
    TypeError
        Y or a factor is no array of numbers, or factors or init is no sequence.
    ValueError
        Shapes do not fit, an entry is not finite, or an option is out of range.

    Warns
    -----
    ConvergenceWarning
        max_iter steps were not enough for some problem.

    See Also
    --------
    kronecker_sbl : One problem; what the options mean.

    Notes
    -----
    Cost and memory are those of `kronecker_sbl` for each problem; groups of problems with up to 2^17 measurements climb together.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sbl import kronecker_sbl_batch
    >>> rng = np.random.default_rng(0)
    >>> A, B = rng.standard_normal((8, 15)), rng.standard_normal((12, 15))
    >>> Y = A[:, [2]] * B[:, 4] * np.array([1.0, -3.0])[:, None, None] + 0.01 * rng.standard_normal((2, 8, 12))
    >>> [result.support[0].tolist() for result in kronecker_sbl_batch(Y, [A, B])]
    [[2], [2]]
    """
    name = "kronecker_sbl_batch"
    return _solved(
        name, _joined(name, Y), factors, True, method, noise_var, n_init, prune, tol, max_iter, coupling, coupled_modes, init, rng
    )


def _joined(name: str, Y: Any) -> Array:
    """Stack a sequence of arrays.

    Raises
    ------
    TypeError
        Y is neither an array nor a sequence of arrays.
    ValueError
        There is no problem, or shapes differ.
    """
    if _arrays.is_array(Y):
        return _checks.not_empty(name, "Y", Y)
    if not isinstance(Y, Sequence) or not all(map(_arrays.is_array, Y)):
        raise TypeError(f"{name}: Y must be an array or a sequence of arrays; got {type(Y).__name__}")
    shapes = {tuple(y.shape) for y in Y}
    if len(shapes) != 1:
        raise ValueError(f"{name}: Y must be arrays of one shape; got {', '.join(map(str, sorted(shapes))) or 'none'}")
    return _arrays.namespace(*Y).stack(list(Y))


def _solved(
    name: str,
    y: Array,
    factors: Sequence[Any],
    batch: bool,
    method: str,
    noise_var: float | None,
    n_init: int | None,
    prune: float,
    tol: float,
    max_iter: int,
    coupling: float,
    coupled_modes: Sequence[int] | None,
    init: Any,
    rng: RNG,
) -> list[KroneckerSBLResult]:
    """Check everything, and solve the problems of a batch, or the only one."""
    method = _checks.choice(name, "method", method, ("auto", *PHASES))
    options = _options(name, DEFAULT if method == "auto" else method, noise_var, prune, tol, max_iter)
    noise = None if noise_var is None else _checks.real(name, "noise_var", noise_var, 0)
    n_init = None if n_init is None else _checks.integer(name, "n_init", n_init, 1)
    seed = _random.seed_of(name, rng)
    entry = enter(name, y, factors, batch=batch)
    if options.method == "pattern":
        entry = replace(entry, problem=_pattern.coupled(name, entry.problem, coupling, coupled_modes))
    problem = stacked(entry)
    places = [] if init is None else _places(name, init if batch else [init], problem, options, n_init)
    there = np.flatnonzero(_arrays.to_numpy(problem.energy))
    results = [nothing(entry, options.method, noise or 0.0)] * problem.count
    if there.size:
        problem = problem.take(there)
        with _threads.serial_blas() if math.prod(problem.Y.shape[1:]) < SMALL else nullcontext():
            if init is None:
                ways = solve(problem, options, noise, n_init, seed)
            else:
                ways = resume(problem, [places[k] for k in there], options, noise)
            found = answers(entry, problem, ways, options)
        for k, result in zip(there, found, strict=True):
            results[k] = result
    _warn(name, results, options, batch)
    return results


def _places(name: str, init: Any, problem: Stack, options: Options, n_init: int | None) -> list[Place]:
    """Check what earlier results know; after another method the last phase begins.

    Raises
    ------
    TypeError
        They are no results, or not as many as problems.
    ValueError
        They belong to other factors or to data that were zero, or several starts are asked for.
    """
    if n_init not in (None, 1):
        raise ValueError(f"{name}: n_init must be None or 1 beside init; got {n_init}")
    if not isinstance(init, Sequence) or len(init) != problem.count or not all(isinstance(x, KroneckerSBLResult) for x in init):
        got = f"{len(init)}: {', '.join(type(x).__name__ for x in init[:3])}" if isinstance(init, Sequence) else type(init).__name__
        raise TypeError(f"{name}: init must be an earlier result for each problem, of which there are {problem.count}; got {got}")
    columns, places = tuple(a.shape[1] for a in problem.alive), []
    for result in init:
        shape = tuple(g.shape[0] for g in result.gammas)
        if shape != columns:
            raise ValueError(f"{name}: init must be a result for factors with {columns} columns; got {shape}")
        if result._place is None:
            raise ValueError(f"{name}: init must not be a result for data that are zero")
        last = len(PHASES[options.method]) - 1
        places.append(result._place if result.method == options.method else replace(result._place, phase=last))
    return places


def _options(name: str, method: str, noise_var: float | None, prune: float, tol: float, max_iter: int) -> Options:
    tol = _checks.real(name, "tol", tol, 0, open=True)
    prune = _checks.real(name, "prune", prune, 0, 0.5)
    return Options(method, noise_var is None, prune, tol, _checks.integer(name, "max_iter", max_iter, 1))


def _warn(name: str, results: Sequence[KroneckerSBLResult], options: Options, batch: bool) -> None:
    """Say that more steps are needed."""
    open_ = [k for k, result in enumerate(results) if not result.converged]
    if open_:
        where = f"problem {open_[0]}, the first of {len(open_)} of {len(results)}, " if batch else ""
        text = f"{where}step {results[open_[0]].n_iter}, the last, moved the hyper-parameters by more than tol = {options.tol:.2g}"
        warnings.warn(f"{name}: {text}", ConvergenceWarning, stacklevel=4)
