"""`lp_regression`: the public function, and the order in which it does things."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.regression._lp_bound import Bracket, bracket
from lowrank_la.regression._lp_linear import least_absolute, least_maximum
from lowrank_la.regression._lp_newton import Point, newton
from lowrank_la.regression._lp_problem import LpProblem, prepare
from lowrank_la.regression._problem import wide_dtype
from lowrank_la.sampling import RowSample, sample_rows
from lowrank_la.sampling._loss import norm_gradient

NAME = "lp_regression"
CLAIM = "||A x - b||_p - minimum <= bound"
IN_RANGE = " over all x with A x in the numerical range of A"
MAX_ITER = 100
LARGE, ROUGHER = 4.0, 1e-2  # p from which a smaller power, to such a gap, gives a start
ROUGH, ROUGH_STEPS = 1e-3, 15  # gap and steps of Newton's method before the linear programs of p = 1
SERIAL = 1 << 17  # entries of A up to which a second thread gains nothing
SLACK = 4  # roundoff units of the terms of the objective: a bound below needs no warning


@dataclass(frozen=True, repr=False)
class LpResult(Result):
    """Answer of `lp_regression`.

    Attributes
    ----------
    x : array (d,) or (d, k)
        The solution.
    objective : float, or array (k,)
        ||A x - b||_p, weighted if weights were given.
    lower_bound : float, or array (k,)
        No x has a smaller objective.
    gap : float, or array (k,)
        (objective - lower_bound) / objective, rounding errors added: the relative distance from the minimum is at most this.
    n_iter : int
        Steps of Newton's method and linear programs on all rows, the most of any right-hand side.
    converged : bool
        A has full rank, and every gap is at most `tol`, or the rounding of x and A allows no better.
    method : str
        "newton" or "linear programs".
    rank : int
        Numerical rank of A.
    sample : RowSample or None
        The rows that were solved first.
    certificate : Certificate
        Bounds the objective minus the minimum, the largest of several.
    """

    x: Array
    objective: Any
    lower_bound: Any
    gap: Any
    n_iter: int
    converged: bool
    method: str
    rank: int
    sample: RowSample | None
    certificate: Certificate


def lp_regression(
    A: Any,
    b: Array,
    p: float,
    *,
    sample: RowSample | float | None = None,
    weights: Array | None = None,
    tol: float = 1e-8,
    polish: int | str = "auto",
    max_iter: int | None = None,
    rng: _random.RNG = None,
) -> LpResult:
    """Minimise ||A x - b||_p for 1 <= p <= inf, and prove by duality how close x is to the minimum.

    Newton's method on a smoothed loss, whose steps also bring a dual point; p = 1 and p = inf end
    in small linear programs on the rows that decide, so that x interpolates its rows exactly.

    Parameters
    ----------
    A : array (n, d) or sparse matrix
        Real or complex.
    b : array (n,) or (n, k)
        Right-hand sides, each a problem of its own.
    p : float, 1 <= p <= inf
        1 resists gross outliers, inf minimises the largest residual (real data only), 2 is least squares.
    sample : RowSample, float or None
        Solve on these rows of [A b] first (see `sample_rows`), or on rows drawn for this distortion. Needs p < inf.
    weights : array (n,), real, weights >= 0, optional
        Weights of |r_i|^p (of |r_i| for p = inf).
    tol : float, tol > 0
        Gap at which to stop.
    polish : {"auto"} or int, polish >= 0
        Steps on all rows after those on a sample; "auto" takes as many as `tol` needs, mostly 2 to 4.
        With p = 1, 0 keeps the answer of the sample, and anything else makes it exact.
    max_iter : int, max_iter >= 1, optional
        Most steps of Newton's method; 100 by default.
    rng : None, int or numpy.random.Generator
        An int gives the same sketch and sample on every backend and thread count.

    Returns
    -------
    LpResult
        x, objective, lower_bound, gap, n_iter, converged, method, rank, sample and certificate.

    Raises
    ------
    ValueError
        p is below 1, b, weights or sample do not fit A, an argument is out of range, or an entry is not finite.
    TypeError
        A or b is no array of numbers, arrays belong to different libraries, weights are complex, or
        data are complex and p = inf.

    Warns
    -----
    ConvergenceWarning
        The gap stayed above `tol` and above what rounding allows; or A is rank deficient to working precision: x is then
        of least norm among all x with the same A x.

    Notes
    -----
    Cost: a sketch, a Gram matrix, and for each step one weighted Gram matrix, 4 n d^2 flops each; typically 2 to 10 steps for
    1.2 <= p <= 4, more for larger p and for a few rows that outweigh all others. Programs for p = 1 and inf have some
    8 d rows; their rounds cost 2 n d each. Extra memory: a few vectors (n,), and a tenth of A in blocks.

    Certificate (dual gap, always true): for every v with A^H v = 0, Hoelder's inequality gives Re v^H b <= ||v||_q ||A x - b||_p
    for all x, 1/p + 1/q = 1. The dual point v is the gradient of the loss, linearised at the end of a Newton step,
    or the multipliers of a linear program; what is left of A^H v is computed as if in twice the precision and, with all
    other rounding errors, taken off. Unlike the usual v = sign(r) |r|^(p-1), projected, it is sharp for p near 1 too.

    References
    ----------
    .. [1] Adil, Peng and Sachdeva, Fast, provably convergent IRLS algorithm for p-norm linear regression, NeurIPS 2019.
       The setting for p > 2; the iteration here is Newton's.
    .. [2] Barrodale and Roberts, An improved algorithm for discrete l_1 linear approximation, SIAM J. Numer. Anal. 10, 1973.
       Interpolation at the minimum for p = 1.
    .. [3] Cohen and Peng, l_p row sampling by Lewis weights, STOC 2015. Sample and solve.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import lp_regression
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((2000, 5))
    >>> b = A @ np.ones(5) + 0.01 * rng.standard_normal(2000)
    >>> b[:200] = 1000
    >>> result = lp_regression(A, b, 1, rng=0)
    >>> bool(abs(result.x - 1).max() < 0.01)
    True
    >>> result.gap < 1e-8 and result.certificate.confidence == 1
    True
    """
    p = _power(p)
    tol = _checks.real(NAME, "tol", tol, 0, open=True)
    steps = MAX_ITER if max_iter is None else _checks.integer(NAME, "max_iter", max_iter, 1)
    auto = isinstance(polish, str) and _checks.choice(NAME, "polish", polish, ["auto"]) == "auto"
    finish = steps if auto else _checks.integer(NAME, "polish", polish)
    seed = _random.seed_of(NAME, rng)
    data = _enter(A, b, weights, p)
    drawn = _sample(A, b, p, sample, seed, weights)

    with _threads.serial_blas(), _threads.serial_kernels() if math.prod(data.A.shape) < SERIAL else nullcontext():
        start = prepare(data.A, data.B, data.scale, data.roundoff, seed)
        X = start.X if drawn is None else _on_sample(data, drawn, p, tol, steps, seed)
        answers = []
        for j in range(data.B.shape[1]):
            problem = replace(start.problem, b=data.B[:, j])
            point = _solve(problem, X[:, j], p, tol, steps if drawn is None else finish, near=drawn is not None)
            x = problem.basis.shortest(point.x[:, None])
            rounded = data.xp.astype(data.xp.astype(x, data.door.dtype), x.dtype)[:, 0]  # what the caller will see
            answers.append(Answer(x, point.steps, bracket(problem, rounded, point.y, p, data.roundoff)))
    aim = tol if drawn is None or isinstance(sample, RowSample) else max(tol, float(sample))  # type: ignore[arg-type]
    return _result(data, start.problem, answers, p, aim, drawn)


@dataclass(frozen=True)
class Data:
    """Data inside the door: b as columns (n, k) of `unit`, in float64 or complex128, and weights^(1/p)."""

    door: Door
    A: Any
    B: Array
    scale: Array | None
    unit: float
    vector: bool

    @property
    def xp(self) -> Any:
        return self.door.xp

    @property
    def roundoff(self) -> float:
        return _arrays.unit_roundoff(self.xp, self.door.real_dtype)


@dataclass(frozen=True)
class Answer:
    """Solution (d, 1) for one right-hand side, steps taken, and what is known about its objective."""

    x: Array
    steps: int
    found: Bracket


def _power(p: Any) -> float:
    if isinstance(p, float | int) and not isinstance(p, bool) and p == math.inf:
        return math.inf
    return _checks.real(NAME, "p", p, 1)


def _enter(A: Any, b: Any, weights: Any, p: float) -> Data:
    """Check the data.

    Raises
    ------
    TypeError
        Data are complex and p = inf, or b is sparse.
    """
    door, [inner, c] = _arrays.enter(NAME, A=A, b=b)
    if _arrays.is_sparse(c):
        raise TypeError(f"{NAME}: b must be a dense array; got {type(c).__name__}")
    _checks.given(NAME, "b", c)
    if _complex(c) and not _complex(inner):
        door, [c, inner] = _arrays.enter(NAME, b=b, A=A)
    if math.isinf(p) and (_complex(c) or _complex(inner)):
        raise TypeError(f"{NAME}: A and b must be real for p = inf; got complex numbers")
    inner = inner.tocsr() if _arrays.is_sparse(inner) else inner
    for name, value, dims in (("A", inner, 2), ("b", c, (1, 2))):
        _checks.ndim(NAME, name, value, dims)
        _checks.not_empty(NAME, name, value)
    _checks.rows_like(NAME, "b", c, inner.shape[0], "A")
    for name, value in (("A", inner), ("b", c)):
        _checks.finite(NAME, name, value)
    xp = door.xp
    B = xp.astype(xp.reshape(c, (c.shape[0], -1)), wide_dtype(xp, c), copy=False)
    largest = float(xp.max(xp.abs(B)))
    unit = 2.0 ** math.floor(math.log2(largest)) if largest > 0 else 1.0
    return Data(door, inner, B / unit, _scale(weights, c, p), unit, c.ndim == 1)


def _complex(x: Any) -> bool:
    return "complex" in str(x.dtype)


def _scale(weights: Any, b: Array, p: float) -> Array | None:
    if weights is None:
        return None
    w = _checks.real_dtype(NAME, "weights", _arrays.beside(NAME, "weights", weights, b))
    _checks.finite(NAME, "weights", _checks.shape(NAME, "weights", w, (b.shape[0],)))
    xp = _arrays.namespace(w)
    if bool(xp.any(w < 0)):
        raise ValueError(f"{NAME}: weights must be at least 0; got {float(xp.min(w)):g}")
    w = xp.astype(w, xp.float64)
    return w if math.isinf(p) else w ** (1 / p)


def _sample(A: Any, b: Any, p: float, sample: Any, seed: int, weights: Any) -> RowSample | None:
    """Draw rows where a distortion was given, and check what was given.

    Raises
    ------
    ValueError
        There is no sampling for p = inf.
    TypeError
        sample is neither rows nor a number.
    """
    if sample is None:
        return None
    if math.isinf(p):
        raise ValueError(f"{NAME}: sample must be None for p = inf, where no sample of rows keeps lengths")
    if isinstance(sample, RowSample):
        _checks.ids(NAME, "sample.indices", sample.indices, A.shape[0])
        return sample
    eps = _checks.real(NAME, "sample", sample, 0, 1, open=True)
    if weights is not None:
        raise ValueError(f"{NAME}: sample must be rows of the weighted problem, from sample_rows, where weights are given; got {eps:g}")
    return sample_rows(A, p, b=b, eps=eps, rng=seed)


def _on_sample(data: Data, rows: RowSample, p: float, tol: float, steps: int, seed: int) -> Array:
    """Solve on a sample of rows; return solutions (d, k)."""
    xp = data.xp
    indices = _arrays.beside(NAME, "sample.indices", rows.indices, data.B)
    scale = xp.astype(_arrays.beside(NAME, "sample.weights", rows.weights, data.B), xp.float64) ** (1 / p)
    scale = scale if data.scale is None else scale * xp.take(data.scale, indices)
    A = data.A[_arrays.to_numpy(indices)] if _arrays.is_sparse(data.A) else xp.take(data.A, indices, axis=0)
    B = xp.take(data.B, indices, axis=0)
    start = prepare(A, B, scale, data.roundoff, seed)
    columns = range(B.shape[1])
    return xp.stack([_solve(replace(start.problem, b=B[:, j]), start.X[:, j], p, tol, steps).x for j in columns], axis=1)


def _solve(problem: LpProblem, x: Array, p: float, tol: float, steps: int, *, near: bool = False) -> Point:
    """Find a solution and a dual point from a start x; without steps, only the dual point."""
    if problem.gram is None:  # A is 0: every v is a dual point, and the gradient of the norm the best one
        return Point(x, norm_gradient(problem.residual(x), p), 0)
    if math.isinf(p):
        return least_maximum(problem, x, tol) or Point(x, problem.residual(x), 0)
    if p > LARGE and not near and steps:
        start = _solve(problem, x, p / LARGE if p > LARGE**2 else p**0.5, ROUGHER, steps)
        end = newton(problem, start.x, p, tol, steps)
        return replace(end, steps=start.steps + end.steps)
    if p > 1 or steps == 0 or _complex(problem.b):
        return newton(problem, x, p, tol, steps, near=near)
    start = newton(problem, x, p, max(tol, ROUGH), min(steps, ROUGH_STEPS), near=near)
    exact = least_absolute(problem, start.x)
    return newton(problem, start.x, p, tol, steps) if exact is None else replace(exact, steps=start.steps + exact.steps)


def _result(data: Data, problem: LpProblem, answers: list[Answer], p: float, tol: float, sample: RowSample | None) -> LpResult:
    """Put everything into the caller's units, and warn where the answer is not what was asked."""
    xp, door, unit = data.xp, data.door, data.unit
    full, found = min(problem.A.shape), [answer.found for answer in answers]
    reached = all(one.bound <= max(tol * one.objective, SLACK * one.rounding) for one in found)
    if problem.rank < full:
        message = f"{NAME}: A has numerical rank {problem.rank} of {full}; x is the solution of least norm"
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
    elif not reached:
        gap = max(one.gap for one in found)
        warnings.warn(f"{NAME}: the gap {gap:.2g} is above tol = {tol:.2g}", ConvergenceWarning, stacklevel=3)
    X = door.leave(xp.concat([answer.x for answer in answers], axis=1) * unit)

    def numbers(values: list[float]) -> Any:
        return values[0] if data.vector else door.leave_wide(xp.asarray(values, dtype=xp.float64, device=data.B.device))

    return LpResult(
        x=X[:, 0] if data.vector else X,
        objective=numbers([one.objective * unit for one in found]),
        lower_bound=numbers([one.lower * unit for one in found]),
        gap=numbers([one.gap for one in found]),
        n_iter=max(answer.steps for answer in answers),
        converged=problem.rank == full and reached,
        method="linear programs" if math.isinf(p) or (p == 1 and not _complex(problem.b)) else "newton",
        rank=problem.rank,
        sample=sample,
        certificate=Certificate(CLAIM + (IN_RANGE if problem.rank < full else ""), unit * max(one.bound for one in found), 1.0, "dual gap"),
    )
