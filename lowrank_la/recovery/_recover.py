"""The public function."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array
from lowrank_la._result import ConvergenceWarning
from lowrank_la.factor import _dense
from lowrank_la.recovery import _certificate, _gradient, _local, _refine, _start, _subgradient
from lowrank_la.recovery._local import UNKNOWN, Local
from lowrank_la.recovery._operators import entries
from lowrank_la.recovery._options import Options, read_options
from lowrank_la.recovery._problem import Pair, Problem, absolute, balanced, read_operator, split
from lowrank_la.recovery._result import RecoverResult
from lowrank_la.recovery._subgradient import Descent

SMALL, SMALLER, SMALL_SQUARES = 1e-3, 1e-6, 1e-1  # initial scales of robust losses, without debiasing, and of least squares
COARSE = 1e-3  # share of the first step at which debiasing takes over
MANY = 1 << 21  # entries of the measurements from which BLAS may use all threads
EXPLAINED = 0.5  # of a typical measurement, that a converged model may leave


def recover(
    op: Any,
    y: Array,
    rank: int,
    *,
    loss: Literal["l1", "l2", "huber"] = "l1",
    symmetric: bool = False,
    method: Literal["auto", "subgradient", "gd", "scaled"] = "auto",
    init: Literal["small", "spectral"] = "small",
    init_scale: float | None = None,
    rebalance: Literal["auto"] | bool = "auto",
    debias: bool = True,
    step: float | None = None,
    max_iter: int = 1500,
    tol: float = 1e-6,
    validation: float = 0.1,
    rng: _random.RNG = None,
) -> RecoverResult:
    """Recover a low-rank matrix from linear measurements, some of them grossly wrong, when its rank is only guessed.

    Finds U (m, k) and V (n, k) with y_l ~ <A_l, U V^H> by a sub-gradient method from a small start, which
    neither gross errors nor a rank far too large mislead, and polishes the answer on the measurements that fit.

    Parameters
    ----------
    op : Measurements, or array (N, m, n)
        The A_l: `dense_gaussian`, `rank_one`, `entry_mask` or `fourier` of `lowrank_la.recovery`, an array of matrices, or an
        object with `shape` (N, m, n), `apply(U, V)` -> (N,), `adjoint_matmat(z, V)` -> (m, k) and
        `adjoint_rmatmat(z, U)` -> (n, k); products are <A, M> = sum conj(A_ij) M_ij.
    y : array (N,)
        The measurements. Complex ones ask for complex factors; they must be complex if `op` is.
    rank : int, 1 <= rank <= min(m, n)
        Columns of U and V: an upper guess of the rank, several times too large at no harm.
    loss : {"l1", "l2", "huber"}
        "l1": some measurements may be arbitrarily wrong. "huber": the same, smooth where residuals are
        below 1.345 robust standard deviations. "l2": none are; the errors are small noise.
    symmetric : bool
        The matrix is positive semidefinite, U U^H; then V is U.
    method : {"auto", "subgradient", "gd", "scaled"}
        "subgradient" for robust losses, the only one there. For "l2": "gd", gradient descent with rebalancing, or "scaled",
        the gradient times a damped inverse of the Gram matrix of the other factor. "auto" takes "gd" for two
        factors, "scaled" for a symmetric model, whose loss falls like 1 / T^2 by plain descent if the rank is too large.
    init : {"small", "spectral"}
        "small": factors of size `init_scale`, along the leading singular vectors of sum sign(y_l) A_l for robust losses, random for "l2".
        "spectral": those vectors at the scale of the matrix; outliers and a large rank are then harmful.
    init_scale : float > 0, optional
        Size of small factors over the root of the largest singular value: 1e-3 by default, 1e-6 without debiasing, where a smaller
        start leaves less of columns that are too many, and 1e-1 for "l2".
    rebalance : {"auto"} or bool
        For "gd" with two factors ("auto": yes): once progress is slow, make the columns of U orthogonal and equally long
        without changing U V^H. The rate is then that of a well-conditioned problem, whatever the initial scale.
    debias : bool
        Find the rank that the data support, discard outliers, and solve for the rest by Gauss-Newton steps.
    step : float > 0, optional
        First step over its natural unit: 0.3 by default, 0.6 for "scaled". It is halved, and the method started again, if it diverges.
    max_iter : int
        Iterations at most, of each start.
    tol : float > 0
        Relative residual at which "l2" stops (or its relative progress over 20 iterations); share of the first step at which
        robust losses do, 1e-3 if `debias` follows.
    validation : float, 0 <= validation <= 0.5
        Share of the measurements that are not fitted: half of them pick the iterate, half give the certificate.
    rng : None, int or numpy.random.Generator
        An int gives the same answer on every backend and thread count, to rounding.

    Returns
    -------
    RecoverResult
        U, V in the namespace, device and dtype of y, and how they were found.
        certificate : bounds, with confidence 0.95, the median of |y - <A, U V^H>| over fresh measurements, **if
        measurements and their errors are independent draws from one law**.
        local : bounds, with confidence 0.95, the distance to a matrix next to the answer, **if inliers have Gaussian errors**.

    Raises
    ------
    ValueError
        Shapes do not fit, an entry is NaN or infinite, an option is out of range, or options exclude each other.
    TypeError
        An argument is of the wrong kind, `op` is complex and y is not, or arrays belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        `max_iter` came first; the model explains less than half of a typical measurement; there are fewer measurements than
        unknowns, the inliers do not determine the matrix, or some of them are not checked by any other.

    Notes
    -----
    Cost: an `apply`, an `adjoint_matmat` and an `adjoint_rmatmat` with k columns an iteration, some 460 of them for robust losses (1400
    without debiasing); fewer, with as many columns as the rank, for debiasing, and some 500 for the local findings if the
    tangents have more than 160 numbers or the operator is large. Memory besides `op`: six arrays of N, eight factors, and
    r (m + n) N numbers if those are few or the A_l are given as matrices.

    Certificate: the held-out residuals are a sample from the law of a fresh one, so that an order statistic bounds its median without
    any assumption on the law; with fewer than 5 of them nothing can be said. For standard normal A_l and no noise
    that median is 0.6745 ||U V^H - M||_F.

    Local: let T be the measurements of tangents of the rank that was found by the inliers; there are d = r (m + n - r) of the ones and n of
    the others. Errors e of the inliers move the answer by T^+ e. Their part in the range of T is bounded by the rest, ||r||^2 / (n - d),
    and the F-law; the least singular value of T, by Lanczos, turns it into a distance. What `redundancy` finds for the l-th inlier is
    1 - (T T^+)_ll, its redundancy number [4]_. Where errors are gross or nil, an inlier with a positive one is right, but for
    coincidence: measurements that determine each other contradict each other if one of them is wrong. A dual vector z in [-1, 1]^N that
    no tangent changes, of signs at outliers and near r / cut at inliers, proves that the loss of r + <A, H> is at least Re <z, r>.

    The theory [1]_ needs restricted isometry of signs, which Gaussian matrices have; rank-one matrices and entries
    of incoherent matrices work in practice. Steps shrink so that they add up to 20, or 2.2 for each e-folding between the start and the
    matrix (3.3 for "huber"), in units of the norm of the first back-projection: less strands small singular values, more feeds columns
    that are too many.

    References
    ----------
    .. [1] Ma and Fattahi, Global convergence of sub-gradient method for robust matrix recovery: small initialization, noisy
       measurements, and over-parameterization, JMLR 24, 2023. The robust method.
    .. [2] Xiong, Ding and Du, How over-parameterization slows down gradient descent in matrix sensing: the curses of symmetry
       and initialization, ICLR 2024. One step that makes the rate independent of the initial scale.
    .. [3] Zhang, Fattahi and Zhang, Preconditioned gradient descent for over-parameterized nonconvex matrix
       factorization, NeurIPS 2021. The damping of "scaled".
    .. [4] Baarda, A testing procedure for use in geodetic networks, Netherlands Geodetic Commission, 1968. Redundancy numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.recovery import dense_gaussian, recover
    >>> rng = np.random.default_rng(0)
    >>> U, V = rng.standard_normal((20, 2)), rng.standard_normal((15, 2))
    >>> op = dense_gaussian(600, (20, 15), rng=0)
    >>> y = op.apply(U, V)
    >>> y[::5] += 100 * rng.standard_normal(120)  # every fifth measurement is wrong
    >>> result = recover(op, y, 10, rng=0)
    >>> result.rank
    2
    >>> bool(abs(result.to_dense() - U @ V.T).max() < 1e-8)
    True
    """
    options = read_options(loss, symmetric, method, init, init_scale, rebalance, debias, step, max_iter, tol)
    validation = _checks.real("recover", "validation", validation, 0.0, 0.5)
    problem = _pose(op, y, rank, symmetric, validation, _random.seed_of("recover", rng))
    with _threads.serial_blas() if entries(problem.op) < MANY else contextlib.nullcontext():
        return _recover(problem, options)


def _recover(problem: Problem, options: Options) -> RecoverResult:
    start = _start.spectral(problem, robust=options.robust)
    if start is None:
        return _zero(problem)
    descent = _descend(problem, start, options)
    if not options.debias:
        return _answer(problem, descent.factors, descent, indefinite=start.indefinite)
    terms = _refine.refine(problem, descent.factors, robust=options.robust, tol=options.tol)
    factors = balanced(*terms, terms[1].shape[0])
    local = _local.examine(problem, terms, problem.residual(factors))
    doubts = local.doubts(robust=options.robust)
    return _answer(problem, factors, descent, indefinite=start.indefinite, local=local, doubts=doubts)


def _pose(op: Any, y: Any, rank: Any, symmetric: bool, validation: float, seed: int) -> Problem:
    """Check the data and set some of them aside.

    Raises
    ------
    ValueError
        A symmetric model meets matrices that are not square, or a check of an argument fails.
    """
    op = read_operator(op)
    door, [y] = _dense.enter("recover", y=y)
    _checks.ndim("recover", "y", y, 1)
    N, m, n = op.shape
    _checks.shape("recover", "y", y, (N,))
    if symmetric and m != n:
        raise ValueError(f"recover: op must measure square matrices if symmetric; got shape {tuple(op.shape)}")
    rank = _checks.integer("recover", "rank", rank, 1, min(m, n))
    fit, tune, test = split(N, validation, seed)
    fitted = np.zeros(N)
    fitted[fit] = 1.0
    fitted = door.xp.astype(_arrays.from_numpy(fitted, y), door.real_dtype)
    return Problem(op, y, door, rank, symmetric, fitted, fit, tune, test, seed)


def _descend(problem: Problem, start: _start.Start, options: Options) -> Descent:
    scale = options.scale
    if options.robust:
        scale = scale or (SMALL if options.debias else SMALLER)
        last = max(options.tol, COARSE) if options.debias else options.tol
        return _subgradient.descend(problem, start, options.loss, scale, options.step, options.max_iter, last)
    if options.init == "spectral":
        begin = _start.small(start, 1.0, problem.symmetric)
    else:
        begin = _start.random(problem, start.size, scale or SMALL_SQUARES)
    return _gradient.descend(
        problem,
        begin,
        start,
        scaled=options.method == "scaled",
        rebalance=options.rebalance and not problem.symmetric,
        step=options.step,
        max_iter=options.max_iter,
        tol=options.tol,
    )


def _zero(problem: Problem) -> RecoverResult:
    """Answer measurements that back-project to zero by the zero matrix."""
    (m, n), k, xp = problem.shape, problem.rank, problem.door.xp
    U = xp.zeros((m, k), dtype=problem.y.dtype, device=problem.y.device)
    V = U if problem.symmetric else xp.zeros((n, k), dtype=problem.y.dtype, device=problem.y.device)
    return _answer(problem, (U, V), Descent((U, V), (problem.typical(problem.y),), True))


def _answer(
    problem: Problem, factors: Pair, descent: Descent, *, indefinite: bool = False, local: Local = UNKNOWN, doubts: Sequence[str] = ()
) -> RecoverResult:
    r = problem.residual(factors)
    left = max(problem.typical(r), problem.typical(r, problem.tune) if len(problem.tune) else 0.0)
    explained = left <= EXPLAINED * problem.typical(problem.y)
    _warn(problem, factors, descent, explained, indefinite, doubts)
    U, V = (problem.door.leave(x) for x in factors)
    everyone = _arrays.from_numpy(_refine.inliers(problem, r), problem.y)
    return RecoverResult(
        U=U,
        V=U if problem.symmetric else V,
        rank=U.shape[1],
        history=descent.history,
        converged=descent.converged and explained and not doubts,
        n_iter=len(descent.history),
        residual=problem.typical(r),
        inliers=problem.door.leave_wide(everyone),
        certificate=_certificate.held_out(absolute(r)[problem.test]),
        local=local.certificate,
        dual_gap=local.dual_gap,
        redundancy=local.redundancy,
        held_out=problem.door.leave_wide(_arrays.from_numpy(problem.test, problem.y)),
    )


def _warn(problem: Problem, factors: Pair, descent: Descent, explained: bool, indefinite: bool, doubts: Sequence[str]) -> None:
    rank, count = factors[0].shape[1], len(problem.fit)
    words = []
    if not descent.converged:
        words.append(f"{len(descent.history)} iterations were not enough, or every step diverged")
    if not explained:
        words.append("the model explains less than half of a typical measurement")
        if indefinite:
            words.append("the matrix looks indefinite: try symmetric=False")
    if count < (needed := _refine.unknowns(problem, rank)):
        words.append(f"{count} fitted measurements do not determine the {needed} unknowns of rank {rank}")
    words += doubts
    if words:
        warnings.warn(f"recover: {'; '.join(words)}", ConvergenceWarning, stacklevel=5)
