"""The public function."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array
from lowrank_la._result import ConvergenceWarning
from lowrank_la.factor import _dense
from lowrank_la.recovery import _certificate, _gradient, _refine, _start, _subgradient
from lowrank_la.recovery._operators import entries
from lowrank_la.recovery._problem import Pair, Problem, absolute, read_operator, split
from lowrank_la.recovery._result import RecoverResult
from lowrank_la.recovery._subgradient import Descent

SMALL, SMALL_SQUARES = 1e-3, 1e-1  # initial scales of robust losses and of least squares
COARSE = 1e-3  # share of the first step at which debiasing takes over
MANY = 1 << 21  # entries of the measurements from which BLAS may use all threads
EXPLAINED = 0.5  # of a typical measurement, that a converged model may leave


@dataclass(frozen=True)
class _Options:
    loss: str
    method: str
    scale: float | None
    init: str
    rebalance: bool
    debias: bool
    step: float | None
    max_iter: int
    tol: float

    @property
    def robust(self) -> bool:
        return self.loss != "l2"


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
    max_iter: int = 1000,
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
        factors, "scaled" for a symmetric model, which plain descent fits at a rate of 1 / T^2 if the rank is too large.
    init : {"small", "spectral"}
        "small": factors of size `init_scale`, along the leading singular vectors of sum sign(y_l) A_l for robust losses, random for "l2".
        "spectral": those vectors at the scale of the matrix; outliers and a large rank are then harmful.
    init_scale : float > 0, optional
        Size of small factors over the root of the largest singular value: 1e-3 by default, 1e-1 for "l2".
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

    Raises
    ------
    ValueError
        Shapes do not fit, an entry is NaN or infinite, an option is out of range, or options exclude each other.
    TypeError
        An argument is of the wrong kind, `op` is complex and y is not, or arrays belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        `max_iter` came first; the model explains less than half of a typical held-out measurement; or there are fewer
        measurements than k (m + n), so that a matrix of rank k is not determined.

    Notes
    -----
    Cost: an `apply`, an `adjoint_matmat` and an `adjoint_rmatmat` with k columns an iteration, some 460 of them for robust losses,
    and as many for debiasing. Memory besides `op`: six arrays of N and eight factors.

    Certificate: the held-out residuals are a sample from the law of a fresh one, so that an order statistic bounds its median without
    any assumption on the law; with fewer than 5 of them nothing can be said. For standard normal A_l and no noise
    that median is 0.6745 ||U V^H - M||_F.

    The theory [1]_ needs restricted isometry of signs, which Gaussian matrices have; rank-one matrices and entries
    of incoherent matrices work in practice. Steps shrink by 0.985, in units of the norm of the first back-projection.

    References
    ----------
    .. [1] Ma and Fattahi, Global convergence of sub-gradient method for robust matrix recovery: small initialization, noisy
       measurements, and over-parameterization, JMLR 24, 2023. The robust method.
    .. [2] Xiong, Ding and Du, How over-parameterization slows down gradient descent in matrix sensing: the curses of symmetry
       and initialization, ICLR 2024. One step that makes the rate independent of the initial scale.
    .. [3] Zhang, Fattahi and Zhang, Preconditioned gradient descent for over-parameterized nonconvex matrix
       factorization, NeurIPS 2021. The damping of "scaled".

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
    options = _options(loss, symmetric, method, init, init_scale, rebalance, debias, step, max_iter, tol)
    validation = _checks.real("recover", "validation", validation, 0.0, 0.5)
    problem = _pose(op, y, rank, symmetric, validation, _random.seed_of("recover", rng))
    with _threads.serial_blas() if entries(problem.op) < MANY else contextlib.nullcontext():
        return _recover(problem, options)


def _recover(problem: Problem, options: _Options) -> RecoverResult:
    start = _start.spectral(problem, robust=options.robust)
    if start is None:
        return _zero(problem)
    descent = _descend(problem, start, options)
    factors = descent.factors
    if options.debias:
        factors = _refine.refine(problem, factors, robust=options.robust, tol=options.tol)
    return _answer(problem, factors, descent, start.indefinite)


def _options(
    loss: Any, symmetric: Any, method: Any, init: Any, scale: Any, rebalance: Any, debias: Any, step: Any, max_iter: Any, tol: Any
) -> _Options:
    _checks.choice("recover", "loss", loss, ("l1", "l2", "huber"))
    _checks.choice("recover", "method", method, ("auto", "subgradient", "gd", "scaled"))
    _checks.choice("recover", "init", init, ("small", "spectral"))
    _checks.choice("recover", "rebalance", rebalance, ("auto", True, False))
    for name, flag in (("symmetric", symmetric), ("debias", debias)):
        _checks.choice("recover", name, flag, (True, False))
    if method != "auto" and (method == "subgradient") == (loss == "l2"):
        raise ValueError(f"recover: method must be 'subgradient' for loss 'l1' and 'huber', another for 'l2'; got {method!r} for {loss!r}")
    if rebalance is True and (symmetric or loss != "l2" or method == "scaled"):
        raise ValueError("recover: rebalance must be 'auto' or False but for method 'gd' with loss 'l2' and two factors; got True")
    if scale is not None:
        scale = _checks.real("recover", "init_scale", scale, 0.0, open=True)
    if step is not None:
        step = _checks.real("recover", "step", step, 0.0, open=True)
    if method == "auto":
        method = "subgradient" if loss != "l2" else "scaled" if symmetric else "gd"
    max_iter = _checks.integer("recover", "max_iter", max_iter, 1)
    tol = _checks.real("recover", "tol", tol, 0.0, open=True)
    return _Options(loss, method, 1.0 if init == "spectral" else scale, init, rebalance is not False, debias, step, max_iter, tol)


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


def _descend(problem: Problem, start: _start.Start, options: _Options) -> Descent:
    scale = options.scale
    if options.robust:
        scale = scale or SMALL
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
    return _answer(problem, (U, V), Descent((U, V), (problem.typical(problem.y),), True), False)


def _answer(problem: Problem, factors: Pair, descent: Descent, indefinite: bool) -> RecoverResult:
    r = problem.residual(factors)
    left, size = problem.typical(r, problem.tune if len(problem.tune) else None), problem.typical(problem.y)
    explained = left <= EXPLAINED * size
    _warn(problem, factors, descent, explained, indefinite)
    U, V = (problem.door.leave(x) for x in factors)
    everyone = _arrays.from_numpy(_refine.inliers(problem, r), problem.y)
    return RecoverResult(
        U=U,
        V=U if problem.symmetric else V,
        rank=U.shape[1],
        history=descent.history,
        converged=descent.converged and explained,
        n_iter=len(descent.history),
        residual=problem.typical(r),
        inliers=problem.door.leave_wide(everyone),
        certificate=_certificate.held_out(absolute(r)[problem.test]),
        held_out=problem.door.leave_wide(_arrays.from_numpy(problem.test, problem.y)),
    )


def _warn(problem: Problem, factors: Pair, descent: Descent, explained: bool, indefinite: bool) -> None:
    (m, n), rank, count = problem.shape, factors[0].shape[1], len(problem.fit)
    unknowns = rank * (2 * m - rank + 1) // 2 if problem.symmetric else rank * (m + n - rank)
    words = []
    if not descent.converged:
        words.append(f"{len(descent.history)} iterations were not enough, or every step diverged")
    if not explained:
        words.append("the model explains less than half of a typical held-out measurement")
        if indefinite:
            words.append("the matrix looks indefinite: try symmetric=False")
    if count < unknowns:
        words.append(f"{count} fitted measurements do not determine the {unknowns} unknowns of rank {rank}")
    if words:
        warnings.warn(f"recover: {'; '.join(words)}", ConvergenceWarning, stacklevel=5)
