"""`kernel_ridge_path`: errors of leave-one-out and generalized cross-validation for many ridges, from one eigendecomposition."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor._dense import U, adjoint, host, wide
from lowrank_la.kernel_methods import _ridge_problem
from lowrank_la.kernel_methods._approximation import approximate
from lowrank_la.kernel_methods._functions import KernelLike
from lowrank_la.kernel_methods._ridge_problem import Problem

NAME = "kernel_ridge_path"
CLAIM = "0 <= effective dimension of K at `ridge` - degrees_of_freedom <= bound"
EXACT = 2000  # points up to which the eigenvalues of K itself are taken
LARGEST = 1e150  # targets, whose squares are averaged
COLUMNS = 2000  # of the approximation for more of them, at most
PER_DECADE, DECADES = 4, 10  # of the default ridges, down from the trace


@dataclass(frozen=True, repr=False)
class KernelRidgePathResult(Result):
    """Errors of prediction, estimated for many ridges.

    Attributes
    ----------
    ridges : array (g,), float64
        In the order they were given, or descending.
    loo : array (g,), float64
        Mean squared leave-one-out residual, weighted by `sample_weight`, averaged over targets.
    gcv : array (g,), float64
        The same by generalized cross-validation.
    degrees_of_freedom : array (g,), float64
        Trace of the matrix that maps targets to fitted values.
    ridge : float
        The one with the least `loo`.
    rank : int
        n, or the number of centres if K was approximated.
    certificate : Certificate
        Says how far the degrees of freedom at `ridge` are below those of K itself: small beside them if the
        approximation is fine enough for this ridge.
    """

    ridges: Array
    loo: Array
    gcv: Array
    degrees_of_freedom: Array
    ridge: float
    rank: int
    certificate: Certificate


def kernel_ridge_path(
    X: Array,
    y: Array,
    *,
    kernel: KernelLike = "rbf",
    ridges: Array | None = None,
    rank: int | None = None,
    sample_weight: Array | None = None,
    rng: _random.RNG = None,
) -> KernelRidgePathResult:
    """Estimate the error of prediction of kernel ridge regression for many ridges at once.

    Parameters
    ----------
    X : array (n, d), or the kernel matrix (n, n) if kernel is "precomputed"
        Points, n >= 1; real.
    y : array (n,) or (n, t), real
        Targets.
    kernel : name, KernelFunction, callable or "precomputed"
        As for `kernel_ridge`.
    ridges : array (g,), positive, optional
        By default 41 of them, four in a decade, down from the trace of K.
    rank : int, 1 <= rank <= n, optional
        Centres of a Nystrom approximation of K; n is K itself. By default n up to 2000 points, then 10 sqrt(n),
        at most 2000, or fewer where they leave hardly anything of the trace.
    sample_weight : array (n,), optional
        Weights of the squared residuals; not negative.
    rng : None, int or numpy.random.Generator
        Decides the centres, and the sample for a bandwidth "median".

    Returns
    -------
    KernelRidgePathResult
        ridges, loo, gcv, degrees_of_freedom, ridge, rank and certificate.

    Raises
    ------
    ValueError
        Shapes do not fit, an entry is not finite, squares of y overflow, a ridge is not positive, K is not positive semidefinite,
        or an argument is out of range.
    TypeError
        An argument is complex or no array of numbers of the library of X.

    Notes
    -----
    Cost: 9 n^3 flops for K itself; 3 n k^2 flops and n (k + 1) kernel entries for k centres, and then n k
    for each ridge. Memory: 3 n^2 or n k numbers. With D^2 = diag(sample_weight) and D K D = V diag(s) V^T, the
    matrix of fitted values is H = V diag(s / (s + ridge)) V^T, and the leave-one-out residual of point i is
    its residual over 1 - H_ii: exact, for the kernel or for its approximation.

    Certificate: what is left of K is positive semidefinite with a known trace, which over the ridge bounds what it
    adds to the degrees of freedom. Confidence 1.

    References
    ----------
    .. [1] Golub, Heath and Wahba, Generalized cross-validation as a method for choosing a good ridge parameter,
       Technometrics 21, 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.kernel_methods import kernel_ridge, kernel_ridge_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-3, 3, (300, 1))
    >>> y = np.sin(X[:, 0]) + 0.1 * rng.standard_normal(300)
    >>> path = kernel_ridge_path(X, y, rng=0)
    >>> result = kernel_ridge(X, y, ridge=path.ridge, rng=0)
    >>> bool(np.isclose(np.mean(result.leave_one_out() ** 2), path.loo.min()))
    True
    >>> bool(0.008 < path.loo.min() < 0.013)
    True
    """
    seed = _random.seed_of(NAME, rng)
    problem = _ridge_problem.enter(NAME, X, y, kernel, sample_weight, seed)
    if float(np.max(problem.unit)) > LARGEST:
        raise ValueError(f"{NAME}: y must have entries whose squares do not overflow; scale it down")
    rank = None if rank is None else _checks.integer(NAME, "rank", rank, 1, problem.gram.n)
    grid = _grid(problem) if ridges is None else _given(problem, ridges)
    return path(problem, grid, rank, seed)


def path(problem: Problem, grid: np.ndarray, rank: int | None, seed: int) -> KernelRidgePathResult:
    """Evaluate all ridges of a checked problem."""
    n: int = problem.gram.n
    if rank is None:
        rank = n if n <= EXACT else min(math.ceil(10 * math.sqrt(n)), COLUMNS)
    spectrum = _whole(problem) if rank == n else _approximate(problem, rank, seed)
    loo, gcv = _errors(problem, spectrum, grid)
    freedom = np.sum(spectrum.values / (spectrum.values + grid[:, None]), axis=1)
    best = int(np.argmin(loo))
    ridge = float(grid[best])

    def leave(numbers: np.ndarray) -> Array:
        return problem.gram.door.leave_wide(_arrays.from_numpy(numbers, problem.y))

    certificate = Certificate(CLAIM, spectrum.missing / ridge, 1.0, "trace")
    return KernelRidgePathResult(leave(grid), leave(loo), leave(gcv), leave(freedom), ridge, spectrum.values.size, certificate)


def best_ridge(problem: Problem, rank: int | None, seed: int) -> float:
    """Choose the ridge with the least leave-one-out error among the default ones."""
    return path(problem, _grid(problem), rank, seed).ridge


@dataclass(frozen=True)
class _Spectrum:
    """D K D ~ V diag(values) V^T: eigenvalues on the host, rows of V = factor @ basis, and the trace of what is missing."""

    values: np.ndarray
    factor: Array
    basis: Array | None
    missing: float

    def tiles(self, problem: Problem) -> Iterator[tuple[slice, Array]]:
        """Yield rows and their part of V."""
        for first, tile in _arrays.row_blocks(self.factor):
            rows = slice(first, first + tile.shape[0])
            if self.basis is None:
                yield rows, tile
            else:
                yield rows, (wide(tile) if problem.root is None else problem.root[rows, :] * wide(tile)) @ self.basis


def _whole(problem: Problem) -> _Spectrum:
    """Take K itself apart.

    Raises
    ------
    ValueError
        It is not positive semidefinite.
    """
    K, n = dataclasses.replace(problem, ridge=0.0).dense(), problem.gram.n
    values, V = problem.xp.linalg.eigh(K)
    s = host(values)
    noise = 10 * n * _arrays.unit_roundoff(problem.xp, problem.gram.door.dtype) * max(float(s[-1]), 0.0)
    if s[0] < -noise:
        raise ValueError(f"{problem.gram.function}: K must be positive semidefinite; got an eigenvalue of {s[0]:.6g}")
    return _Spectrum(np.maximum(s, 0), V, None, 10 * n**1.5 * U * max(float(s[-1]), 0.0))


def _approximate(problem: Problem, rank: int, seed: int) -> _Spectrum:
    """Take F F^T apart; directions that are only rounding errors are left out."""
    xp, gram = problem.xp, problem.gram
    part = approximate(gram, rank=rank, tol=None, method="rpcholesky", seed=seed)
    M = xp.zeros((part.rank, part.rank), dtype=xp.float64, device=problem.y.device)
    for first, tile in _arrays.row_blocks(part.F):
        tile = wide(tile) if problem.root is None else problem.root[first : first + tile.shape[0], :] * wide(tile)
        M = M + adjoint(tile) @ tile
    values, W = xp.linalg.eigh(M)
    s = host(values)
    kept = s > 10 * max(part.rank, 1) * U * max(s[-1], 0.0) if s.size else np.zeros(0, dtype=bool)
    basis = xp.take(W, _arrays.from_numpy(np.flatnonzero(kept), W), axis=1) / _arrays.from_numpy(np.sqrt(s[kept]), W)[None, :]
    left = part.residual if problem.root is None else problem.root[:, 0] ** 2 * part.residual
    heaviest = 1.0 if problem.root is None else float(xp.max(problem.root)) ** 2
    return _Spectrum(s[kept], part.F, basis, float(xp.sum(left)) + heaviest * part.rounding + float(np.sum(np.abs(s[~kept]))))


def _errors(problem: Problem, spectrum: _Spectrum, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum squared residuals, left out and weighted by generalized cross-validation, tile after tile."""
    xp, t = problem.xp, problem.rhs.shape[1]
    target = problem.rhs * _arrays.from_numpy(problem.unit / np.max(problem.unit), problem.y)[None, :]
    inner: Any = sum(adjoint(V) @ target[rows, :] for rows, V in spectrum.tiles(problem))
    whole = spectrum.values.size == problem.gram.n
    shares = spectrum.values / (spectrum.values + grid[:, None])  # (g, k)
    lost = _arrays.from_numpy((grid[:, None] / (spectrum.values + grid[:, None])).T, problem.y)
    kept = _arrays.from_numpy(shares.T, problem.y)
    loo, plain = np.zeros(grid.size), np.zeros(grid.size)
    for rows, V in spectrum.tiles(problem):
        left = (V * V) @ lost if whole else 1 - (V * V) @ kept
        left = xp.where(left > U, left, xp.full_like(left, U))
        for j in range(t):
            part = inner[:, j][:, None]
            residual = V @ (lost * part) if whole else target[rows, j][:, None] - V @ (kept * part)
            plain += host(xp.sum(residual**2, axis=0))
            loo += host(xp.sum((residual / left) ** 2, axis=0))
    size = float(np.max(problem.unit)) ** 2 / t
    total = problem.gram.n if problem.root is None else float(xp.sum(problem.root**2))
    freedom = np.sum(shares, axis=1) / problem.gram.n
    return size * loo / total, size * plain / total / np.maximum(1 - freedom, U) ** 2


def _grid(problem: Problem) -> np.ndarray:
    trace = problem.trace or 1.0
    return trace * 10.0 ** -(np.arange(PER_DECADE * DECADES + 1) / PER_DECADE)


def _given(problem: Problem, ridges: Array) -> np.ndarray:
    ridges = _checks.ndim(NAME, "ridges", _arrays.beside(NAME, "ridges", ridges, problem.y), 1)
    _checks.finite(NAME, "ridges", _checks.not_empty(NAME, "ridges", _checks.real_dtype(NAME, "ridges", ridges)))
    grid = host(ridges)
    if not np.all(grid > 0):
        raise ValueError(f"{NAME}: ridges must be positive; got {float(grid.min()):.6g} as the least")
    return grid
