"""`sinkhorn`: the public function, and the order in which it does things."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array
from lowrank_la.transport import _batch, _problem, _solve, _torch
from lowrank_la.transport._answer import answer
from lowrank_la.transport._problem import Problem
from lowrank_la.transport._result import TransportResult
from lowrank_la.transport._solve import Run, Step

NAME = "sinkhorn"
METHODS = ("auto", "newton-sparse", "sinkhorn")
SERIAL = 1 << 17  # pairs up to which a second thread gains nothing
SERIAL_BLAS = 3000  # columns up to which factorizations take one thread
SAMPLE = 3000  # points of a problem that gives costs too many to store a start
LEAST_REG = 1e-13  # in units of the largest cost: below it the exponents have no correct digit
SHARE, SHARE_EXACT = 1e-2, 1e-3  # of the range of the costs, that the regularisation is by default
TOL, TOL_POINTS, TOL_EXACT = 1e-9, 1e-6, 1e-3


def sinkhorn(
    C: Any,
    a: Array | None = None,
    b: Array | None = None,
    reg: float | None = None,
    *,
    cost: str | Callable[[Array, Array], Array] = "sqeuclidean",
    method: str = "auto",
    unbalanced: float | tuple[float, float] | None = None,
    mass: float | None = None,
    tol: float | None = None,
    max_iter: int = 10_000,
    init: tuple[Array, Array] | None = None,
    certificate: bool = True,
    refine: str | None = None,
    callback: Callable[[Step], Any] | None = None,
) -> TransportResult:
    """Find the entropic transport plan between weighted points, and bracket the least cost without regularisation.

    The plan P >= 0 with row sums a and column sums b minimises <C, P> + reg KL(P | a b^T). Sinkhorn sweeps at falling
    regularisations are followed by Newton steps on the dual, so that small reg and small errors cost little.

    Parameters
    ----------
    C : array (n, m) or (batch, n, m), or tuple (X, Y) of arrays (n, d) and (m, d) or with a batch axis in front
        Real costs, inf for forbidden pairs; or two clouds of points. The answer keeps the namespace, device and dtype.
    a, b : arrays (n,) and (m,), or (batch, n) and (batch, m), optional
        Nonnegative weights of the same mass; equal ones of mass 1 by default.
    reg : float > 0, optional
        Regularisation, in the units of the costs; by default a hundredth of their range, or a thousandth with `refine`. Far below
        what float64 resolves it is raised to 1e-13 times the largest cost.
    cost : {"sqeuclidean", "euclidean", "cosine"} or callable
        Cost of clouds: |x - y|^2, |x - y|, 1 - x . y / (|x| |y|), or a function of blocks (p, d) and (q, d) that returns
        the block (p, q), in float64.
    method : {"auto", "newton-sparse", "sinkhorn"}
        "newton-sparse" leaves small entries of the plan out of the Newton matrices, as in [1]_ but by their sum instead of
        their number; "auto" does so where one pair in 50 or fewer is left; "sinkhorn" makes sweeps alone.
    unbalanced : float > 0 or pair, optional
        Prices rho1, rho2 of missing the weights: adds rho1 KL(P 1 | a) + rho2 KL(P^T 1 | b), and masses may differ; inf means never.
    mass : float, 0 < mass <= the smaller of both, optional
        Move only so much, with sums at most a and b (partial transport). Solved with a dummy point on each side.
    tol : float > 0, optional
        L1 error of both sums over the mass; by default 1e-9, or 1e-6 where costs are not stored, or 1e-3 with `refine`.
    max_iter : int, max_iter >= 1
        Sweeps and Newton steps, at most.
    init : pair of arrays (f, g), optional
        Potentials of an earlier answer for similar costs and reg.
    certificate : bool
        Compute the bounds: some five passes over the costs. They are exact where pairs are forbidden.
    refine : {None, "exact"}
        "exact": find an optimal plan without regularisation, `plan(feasible=True)`, and close the bracket to rounding, by the network
        simplex method from the potentials. For balanced problems whose costs can be stored.
    callback : callable, optional
        Called with each `Step`; a true answer stops.

    Returns
    -------
    TransportResult
        Potentials, value, bracket and certificate; the plan on demand, as an array, sparse, or as an operator. For a batch, numbers are
        arrays (batch,).

    Raises
    ------
    ValueError
        Shapes do not fit, an entry is NaN or -inf, weights are negative or of different mass, no plan avoids the forbidden pairs,
        or an option is out of range.
    TypeError
        Arrays are complex, no numbers, or of different libraries; tensors require gradients and mass is given.

    Warns
    -----
    ConvergenceWarning
        The error stayed above tol; the bracket holds all the same.

    See Also
    --------
    sinkhorn_divergence : A distance between clouds, without the bias of the regularisation.

    Notes
    -----
    Cost: 0.5 ns a pair for each plan and 0.05 for each sweep or iteration of conjugate gradients on two cores, while the plan fits
    the cache; typically 40 sweeps, and 100 to 1000 iterations. Where the plan nearly falls apart, a few sparse factorizations, or
    m^3 / 3 flops for each if the plan is not sparse. `refine` takes about as long again. Memory: 4 n m bytes for the plan beside C,
    and a copy of C if its rows are not contiguous. Clouds of more than 2^25 pairs are never stored: n + m numbers, and
    0.2 to 1 ns a pair for each sweep or iteration.

    Rows are eliminated: f is the exact minimiser for g, and Newton's method maximises the concave dual over g alone,
    with a shift that vanishes with the error and a search along each step. Sums and exponentials are float64 for every dtype;
    the matrix of the steps is float32.

    Certificate, always true: `lower_bound` is the value of potentials with f_i + g_j <= C_ij, and `upper_bound` the cost of a plan
    with the right sums [3]_, both with their rounding errors. They hold for any potentials, whether converged or not, and
    bracket the least cost without regularisation: their distance has a part that only a smaller reg reduces. With `unbalanced` they
    bracket the regularised objective. With `refine`, or infinite costs, both are those of an optimal plan, and agree to rounding.

    Tensors of PyTorch that require gradients get them: values by the envelope theorem, f, g and `plan()` by implicit differentiation.

    References
    ----------
    .. [1] Tang et al., Accelerating Sinkhorn algorithm with sparse Newton iterations, ICLR 2024. Sweeps, then sparse Newton.
    .. [2] Tang and Qiu, Safe and sparse Newton method for entropic-regularized optimal transport, NeurIPS 2024. Bounding what is left
       out by its sum, and the vanishing shift.
    .. [3] Altschuler, Niles-Weed and Rigollet, Near-linear time approximation algorithms for optimal transport via Sinkhorn
       iteration, NIPS 2017. Rounding to a feasible plan.
    .. [4] Schmitzer, Stabilized sparse scaling algorithms for entropy regularized transport problems, SIAM J. Sci. Comput. 41,
       2019. Absorbed kernels and falling regularisation.
    .. [5] Cunningham, A network simplex method, Mathematical Programming 11, 1976. Trees that keep ties from cycling.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.transport import sinkhorn
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.random((60, 2)), rng.random((50, 2))
    >>> result = sinkhorn((X, Y), reg=1e-3)
    >>> P = result.plan()
    >>> bool(abs(P.sum(axis=0) - 1 / 50).sum() <= 1e-9) and result.lower_bound <= result.upper_bound
    True
    """
    if _batch.is_batch(C):
        options = {"cost": cost, "method": method, "unbalanced": unbalanced, "mass": mass, "tol": tol, "max_iter": max_iter}
        options |= {"certificate": certificate, "refine": refine, "callback": callback}
        return _batch.solve(NAME, sinkhorn, C, a, b, reg, init, options)
    if _arrays.wants_gradients(C, a, b):
        options = {"cost": cost, "method": method, "unbalanced": unbalanced, "mass": mass, "tol": tol, "max_iter": max_iter}
        options |= {"init": init, "certificate": certificate, "refine": refine, "callback": callback}
        if mass is not None:
            raise TypeError(f"{NAME}: mass excludes tensors that require gradients; pass C.detach()")
        return _torch.attach(NAME, lambda C, a, b: sinkhorn(C, a, b, reg, **options), C, a, b, cost, _penalties(unbalanced))
    rhos = _penalties(unbalanced)
    problem = _problem.enter(NAME, C, a, b, cost, balanced=rhos == (np.inf, np.inf) and mass is None)
    if mass is not None:
        problem = _problem.partial(NAME, problem, mass, alone=unbalanced is None and init is None)
    exact = refine is not None
    if refine is not None:
        _exact_is_possible(_checks.choice(NAME, "refine", refine, ["exact"]), problem, rhos)
    eps = _regularisation(reg, problem, SHARE_EXACT if exact else SHARE)
    default = TOL_EXACT if exact else TOL if problem.costs.is_stored else TOL_POINTS
    run = Run(
        costs=problem.costs,
        a=problem.a[problem.rows],
        b=problem.b[problem.columns],
        rhos=rhos,
        tol=default if tol is None else _checks.real(NAME, "tol", tol, 0, open=True),
        max_iter=_checks.integer(NAME, "max_iter", max_iter, 1),
        method=_checks.choice(NAME, "method", method, METHODS),
        callback=callback,
        patience=_solve.PATIENCE if problem.forbidden else sys.maxsize,
    )
    f, g = _start(init, problem)
    with _threads_for(run.costs):
        if init is None and not run.costs.is_stored:
            f, g = _solve.sampled(run, eps, problem.spread, _samples(run))
        point = _solve.solve(run, eps, problem.spread, f, g, warm=init is not None or not run.costs.is_stored)
        return answer(NAME, problem, run, point, certificate, exact)


def _exact_is_possible(refine: str, problem: Problem, rhos: tuple[float, float]) -> None:
    """Require what the linear program needs.

    Raises
    ------
    ValueError
        The problem is unbalanced, or its costs are not stored.
    """
    if not np.isinf(rhos).all() or not problem.costs.is_stored:
        pairs = " x ".join(str(count) for count in problem.costs.shape)
        raise ValueError(f"{NAME}: refine={refine!r} needs a balanced problem with costs that can be stored; got {pairs} pairs")


def _penalties(unbalanced: Any) -> tuple[float, float]:
    """Return the prices of missing a and b; inf means never.

    Raises
    ------
    ValueError
        There are not two of them.
    """
    if unbalanced is None:
        return np.inf, np.inf
    pair = unbalanced if isinstance(unbalanced, tuple | list) else (unbalanced, unbalanced)
    if len(pair) != 2:
        raise ValueError(f"{NAME}: unbalanced must be a number or a pair; got {unbalanced!r}")
    first, second = (np.inf if x == np.inf else _checks.real(NAME, "unbalanced", x, 0, open=True) for x in pair)
    return first, second


def _regularisation(reg: float | None, problem: Problem, share: float) -> float:
    """Return the regularisation, by default a share of the range of the costs."""
    if reg is None:
        return share * problem.spread or 1.0
    return max(_checks.real(NAME, "reg", reg, 0, open=True), LEAST_REG * problem.largest)


def _start(init: tuple[Array, Array] | None, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return potentials of the points that have weight.

    Raises
    ------
    TypeError
        init is no pair.
    """
    if init is None:
        return np.zeros(len(problem.rows)), np.zeros(len(problem.columns))
    if not isinstance(init, tuple | list) or len(init) != 2:
        raise TypeError(f"{NAME}: init must be a pair of potentials (f, g); got {type(init).__name__}")
    sizes = problem.everything.shape
    f, g = (_potential(f"init[{k}]", x, size, problem.everything.like) for k, (x, size) in enumerate(zip(init, sizes, strict=True)))
    return f[problem.rows], g[problem.columns]


def _potential(which: str, x: Array, size: int, like: Array) -> np.ndarray:
    x = _checks.shape(NAME, which, _arrays.beside(NAME, which, x, like), (size,))
    return _arrays.to_numpy(_checks.finite(NAME, which, x)).astype(np.float64)


@contextmanager
def _threads_for(costs: Any) -> Iterator[None]:
    """Keep small problems on one thread, and BLAS on one thread where spinning between its calls would take more than it gives."""
    n, m = costs.shape
    with _threads.serial_kernels() if n * m < SERIAL else nullcontext(), _threads.serial_blas() if m < SERIAL_BLAS else nullcontext():
        yield


def _samples(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on both sides, the same in every call."""
    draw = _random.host_generator(0, "sinkhorn start")
    rows, columns = (np.sort(draw.permutation(w.size)[: min(w.size, SAMPLE)]) for w in (run.a, run.b))
    return rows, columns
