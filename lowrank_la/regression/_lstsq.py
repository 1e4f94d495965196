"""`sketch_lstsq`: the public function, and the order in which it does things."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor._precondition import precondition
from lowrank_la.regression import _entry
from lowrank_la.regression._bounds import Scene
from lowrank_la.regression._entry import NAME, Entry
from lowrank_la.regression._methods import Outcome, solve
from lowrank_la.regression._plan import METHODS, SKETCHES, Plan, make_plan
from lowrank_la.regression._wide import solve_wide

CLAIM = "max_i |x_i - x*_i| <= bound"
SERIAL = 1 << 17  # entries of A up to which a second thread gains nothing
THREADED = 1 << 20  # entries of A from which a QR gains more from threads of BLAS than the kernels after it lose


@dataclass(frozen=True, repr=False)
class LstsqResult(Result):
    """Answer of `sketch_lstsq`.

    Attributes
    ----------
    x : array (d,) or (d, k)
        The solution.
    residual_norm : float, or array (k,)
        ||b - A x||_2, weighted if weights were given; estimated from the sketch where A was read only once.
    backward_error : float
        Estimate of the smallest relative change of A and b for which x is exact; inf where it was not computed.
    x_bound : array, shape of x
        Bound on |x_i - x*_i|, entry by entry, with the confidence of the certificate.
    rank : int
        Numerical rank of A.
    method : str
        The method that gave x.
    converged : bool
        A has full rank and, except for "solve", the backward error reached its tolerance.
    n_iter : int
        Corrections, or inner iterations.
    sketch_rows : int
        Rows of the sketch; 0 if there was none.
    certificate : Certificate
        Its bound is the largest entry of x_bound.
    """

    x: Array
    residual_norm: Any
    backward_error: float
    x_bound: Array
    rank: int
    method: str
    converged: bool
    n_iter: int
    sketch_rows: int
    certificate: Certificate


def sketch_lstsq(
    A: Any,
    b: Any,
    *,
    method: str = "auto",
    sketch: str = "auto",
    sketch_rows: int | None = None,
    eps: float | None = None,
    delta: float = 0.01,
    tol: float | None = None,
    ridge: float = 0.0,
    weights: Array | None = None,
    rng: _random.RNG = None,
    certificate: bool = True,
) -> LstsqResult:
    """Solve min ||A x - b||_2 for a tall A, with a bound on the error of every entry of x.

    A small random sketch S A yields a triangular R that makes A R^-1 well conditioned;
    the problem is then solved, and corrected, in those coordinates.

    Parameters
    ----------
    A : array (n, d), sparse matrix, linear operator, or row blocks
        Real or complex. A linear operator has `matmat` and `rmatmat`. Row blocks are a list
        or other iterable of arrays or sparse matrices with d columns, or a function that
        returns one; an iterator, which comes once, allows only ``method="solve"``.
    b : array (n,) or (n, k)
        Right-hand sides.
    method : {"auto", "cholqr", "spir", "fossils", "ihs", "solve", "direct"}
        "cholqr": one matrix A^H A in the good coordinates, corrected until backward stable;
        the fastest for d up to some hundreds. "spir", "fossils": conjugate gradients, or
        Polyak's iteration, in the good coordinates, refined twice; for large d, sparse A and
        operators. "ihs": iterative sketching with momentum, forward stable only. "solve":
        the solution of the sketched problem, one pass over A, a statistical estimate.
        "direct": QR of A. "auto": "solve" if `eps` is given, "direct" for small A, else
        "cholqr" or "spir".
    sketch : {"auto", "sparse_sign", "srht", "srdct", "rademacher", "gaussian", "bgp", "countsketch"}
        Kind of S. "auto" is "sparse_sign", but "gaussian" for blocks that come once.
    sketch_rows : int, d + 1 <= sketch_rows <= n, optional
        Rows of S; the default suits the method.
    eps : float, eps > 0, optional
        For "solve": choose the sketch so that max_i |x_i - x*_i| <= eps / sqrt(d) *
        ||A x* - b|| * ||A^+|| with probability 1 - delta.
    delta : float, 0 < delta < 1
        Chance that a certificate that rests on the sketch may fail.
    tol : float, tol > 0, optional
        Relative backward error at which to stop; the unit roundoff of A's dtype by default.
        Smaller values ask for more digits of x, see Notes.
    ridge : float, ridge >= 0
        Adds ridge * ||x||^2 to the squared residual norm.
    weights : array (n,), real, weights >= 0, optional
        Weights of the squared residuals.
    rng : None, int or numpy.random.Generator
        An int gives the same sketch on every backend, thread count and division into blocks.
    certificate : bool
        False saves the double-length arithmetic (about a tenth of the time; for "solve" a
        pass over A) and leaves x_bound at inf.

    Returns
    -------
    LstsqResult
        x, residual_norm, backward_error, x_bound, rank, method, converged, n_iter,
        sketch_rows and certificate.

    Raises
    ------
    ValueError
        b or weights do not fit A, an entry is not finite, a weight is negative, an argument
        is out of range, eps comes with a method or sketch that cannot keep it, or A comes
        once and the method reads it again.
    TypeError
        A or b is no array of numbers, arrays belong to different libraries, or weights are complex.

    Warns
    -----
    ConvergenceWarning
        A is rank deficient to working precision (singular values below 30 roundoff units of
        the largest, columns scaled to equal length): x is the solution of least norm. Or the
        backward error stayed above 4 tol. `converged` is then False.

    Notes
    -----
    Cost of "cholqr": 8 n d flops for the sketch, 2 n d^2 for A R^-1 and its Gram matrix,
    and 1 to 4 passes over A. Of "spir": the sketch and 20 to 50 passes. Extra memory: the
    sketch, a few d x d matrices and at most an eighth of A; "direct" copies A. A is never
    copied otherwise; column scales are folded into R, weights are applied row by row.

    Certificates, in `certificate.method`, with g = A^H (b - A x), P = R^-1 and M = (A P)^H (A P),
    for which x* - x = P M^-1 P^H g exactly:

    - "L2" (cholqr, direct; always true): M is computed, g in twice the working precision,
      and rounding errors are bounded and added. Where the bound shows that one more
      correction is safe, it is made: x is then often correct to the last digit.
    - "L1" (spir, fossils, ihs, solve; probability 1 - delta): |x_i - x*_i| <= ||P^H e_i||
      ||P^H g|| (1 + eta)^2, eta = sqrt(d/m) + sqrt(2 log(2/delta)/m) for m sketch rows. The law is
      that of a Gaussian sketch; others behave alike.
    - "L0" (solve with gaussian, bgp, srht or srdct; probability 1 - delta): no second pass,
      Student's t for the m - d degrees of freedom left in the sketch. Exact for gaussian.
    - "none": nothing is known, the bound is inf.

    For a wide A (n < d, ridge = 0) x has least norm among all solutions of A x = b; every
    method but "direct" then uses A^H R^-1, and backward_error measures the residual alone.
    If both b and A are real so is x; a complex b with a real A is solved in two real parts.

    References
    ----------
    .. [1] Epperly, Meier and Nakatsukasa, Fast randomized least-squares solvers can be just as
       accurate and stable as classical direct solvers, arXiv:2406.03468. SPIR and FOSSILS.
    .. [2] Epperly, Fast and forward stable randomized algorithms for linear least-squares
       problems, arXiv:2311.04362. Iterative sketching with momentum.
    .. [3] Rokhlin and Tygert, A fast randomized algorithm for overdetermined linear
       least-squares regression, PNAS 105(36), 2008. Sketched QR as preconditioner.
    .. [4] Karlson and Walden, Estimation of optimal backward perturbation bounds for the linear
       least squares problem, BIT 37, 1997. The backward error.
    .. [5] Price, Song and Woodruff, Fast regression with an l_inf guarantee, ICALP 2017, and Song,
       Ye, Yin and Zhang, A nearly-optimal bound for fast regression with l_inf guarantee, ICML 2023.
       The norm of `eps`; the proof of the latter for SRHT has a gap, see the documentation.
    .. [6] Ogita, Rump and Oishi, Accurate sum and dot product, SIAM J. Sci. Comput. 26, 2005.
       The double-length gradient.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import sketch_lstsq
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((20000, 20))
    >>> b = A @ np.ones(20) + 0.01 * rng.standard_normal(20000)
    >>> result = sketch_lstsq(A, b, rng=0)
    >>> bool(abs(result.x - np.linalg.lstsq(A, b)[0]).max() < 1e-14)
    True
    >>> result.certificate.bound < 1e-15 and result.certificate.confidence == 1
    True
    """
    method = _checks.choice(NAME, "method", method, METHODS)
    sketch = _checks.choice(NAME, "sketch", sketch, SKETCHES)
    delta = _checks.real(NAME, "delta", delta, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    entry = _entry.enter(A, b, weights, ridge)
    tol = entry.roundoff if tol is None else _checks.real(NAME, "tol", tol, 0, open=True)
    plan = make_plan(entry, method, sketch, sketch_rows, eps, delta, seed)
    if 0 in (*entry.shape, entry.columns_b):
        return _nothing_to_solve(entry)
    if entry.wide:
        _check_small(entry)
        outcome, rank = solve_wide(entry, plan, tol, certificate)
        return _answer(entry, rank, plan, outcome, tol)
    with _threads_for(entry, plan):
        entry, Y, Z = _sketched(entry, plan)
        scene = Scene(entry.problem, precondition(Y, Z, entry.roundoff), entry.norms_b(), fine=certificate)
        outcome = solve(scene, plan, tol, certificate, Y, Z)
    return _answer(entry, scene.basis.rank, plan, outcome, tol)


@contextmanager
def _threads_for(entry: Entry, plan: Plan) -> Iterator[None]:
    """Leave BLAS one thread where compiled kernels do all that is large, and these one thread where nothing is."""
    size, real = math.prod(entry.shape), entry.door.xp.isdtype(entry.door.dtype, "real floating")
    compiled = real and entry.kind != "operator" and _arrays.engine_of(entry.problem.like) == "cpu"
    with ExitStack() as stack:
        if compiled and (plan.S is not None or size < THREADED):
            stack.enter_context(_threads.serial_blas())
        if compiled and size < SERIAL:
            stack.enter_context(_threads.serial_kernels())
        yield


def _sketched(entry: Entry, plan: Plan) -> tuple[Entry, Array, Array]:
    """Sketch A and b; their sketch is finite if and only if they are (and no sum overflows).

    Raises
    ------
    ValueError
        A is not finite.
    """
    for attempt in (attempt() for attempt in (lambda: entry, entry.shrunk)):
        Y, Z = attempt.problem.dense() if plan.S is None else attempt.problem.sketch(plan.S, both=plan.method != "cholqr")
        xp = _arrays.namespace(Y)
        if bool(xp.all(xp.isfinite(Y))):
            return attempt, Y, Z
        _entry.check_finite(entry)
    raise ValueError(f"{NAME}: A must have entries whose sums stay finite; divide A by its largest entry")


def _answer(entry: Entry, rank: int, plan: Plan, outcome: Outcome, tol: float) -> LstsqResult:
    """Put everything into the caller's units, and warn where the answer is not what was asked."""
    ridge, full = entry.problem.ridge, min(entry.shape) if entry.wide else entry.shape[1]
    x = entry.solution(outcome.X)
    x_bound = entry.bounds(outcome.bound, outcome.X, x)
    xp = _arrays.namespace(outcome.bound)
    largest = float(_arrays.namespace(x_bound).max(x_bound))
    norms = entry.norms(outcome.r2 - ridge * xp.sum(xp.abs(outcome.X) ** 2, axis=0) if ridge else outcome.r2)
    exact = outcome.method == "solve" or outcome.backward_error <= 4 * tol
    if rank < full:
        warnings.warn(f"{NAME}: A has numerical rank {rank} of {full}; x is the solution of least norm", ConvergenceWarning, stacklevel=3)
    elif not exact:
        warnings.warn(f"{NAME}: backward error {outcome.backward_error:.2g} is above tol = {tol:.2g}", ConvergenceWarning, stacklevel=3)
    return LstsqResult(
        x=x,
        residual_norm=float(norms[0]) if entry.vector else entry.door.leave(norms),
        backward_error=outcome.backward_error,
        x_bound=x_bound,
        rank=rank,
        method=outcome.method,
        converged=rank == full and exact,
        n_iter=outcome.n_iter,
        sketch_rows=plan.height,
        certificate=Certificate(CLAIM, largest, 1.0 if outcome.level in {"L2", "none"} else 1 - plan.delta, outcome.level),
    )


def _check_small(entry: Entry) -> None:
    """Look for entries of a wide A that are not finite."""
    if entry.kind != "operator":
        _entry.check_finite(entry)


def _nothing_to_solve(entry: Entry) -> LstsqResult:
    """Answer for a problem without rows, columns or right-hand sides: zeros."""
    xp = _arrays.namespace(entry.problem.like)
    X = xp.zeros((entry.shape[1], entry.problem.like.shape[1]), dtype=xp.float64, device=entry.problem.like.device)
    x = entry.solution(X)
    norms = entry.norms(entry.norms_b() ** 2)
    certificate = Certificate(CLAIM, 0.0, 1.0, "L2")
    return LstsqResult(
        x, float(norms[0]) if entry.vector else entry.door.leave(norms), 0.0, entry.bounds(X, X, x), 0, "direct", True, 0, 0, certificate
    )
