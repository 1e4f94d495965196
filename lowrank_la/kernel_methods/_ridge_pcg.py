"""Kernel ridge regression by conjugate gradients, preconditioned by a Nystrom approximation; K is never stored."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, eye, host, wide
from lowrank_la.kernel_methods._approximation import approximate
from lowrank_la.kernel_methods._ridge_problem import Problem, norms
from lowrank_la.solvers._block import conjugate_gradients

SHARE = 10.0  # trace of K - F F^T, over the ridge, at which the preconditioner is good enough: a condition of 11
COLUMNS = 2000  # of F at most
UNITS = 128  # unit vectors to solve for at once
CORRECTIONS = 4  # times that the iteration starts again from a residual in double precision
AIM = 0.9  # of the tolerance, by the iteration's own residual
FLOORS = {4: 1e-4, 8: 1e-12}  # drop of the residual that one run of the iteration can be trusted with


@dataclass(frozen=True)
class RidgeState:
    """What a callback sees after each iteration.

    Attributes
    ----------
    n_iter : int
        Products with the kernel matrix so far.
    residual : NumPy array (t,)
        Relative norm of each residual, as the recurrence knows it.
    """

    n_iter: int
    residual: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """B, its residual in double precision, and how it came about."""

    B: Array
    R: Array
    n_iter: int
    rank: int
    condition: float


def preconditioner(problem: Problem, rank: int | None, seed: int) -> Preconditioner:
    """Approximate K until what is missing is a few ridges, or the columns are too many."""
    gram = problem.gram
    most = min(gram.n, math.ceil(10 * math.sqrt(gram.n)), COLUMNS) if rank is None else rank
    trace = float(problem.xp.sum(gram.diagonal))
    heaviest = 1.0 if problem.root is None else float(problem.xp.max(problem.root)) ** 2
    tol = SHARE * problem.ridge / (heaviest * trace) if rank is None and trace else None
    if tol is not None and tol >= 1:  # the ridge alone is good enough
        return Preconditioner(problem, gram.door.xp.zeros((gram.n, 0), dtype=gram.door.dtype, device=problem.y.device), gram.diagonal)
    part = approximate(gram, rank=most, tol=tol, method="rpcholesky", seed=seed)
    return Preconditioner(problem, part.F, part.residual)


class Preconditioner:
    """P^-1 for P = D F F^T D + ridge I, which is never above the matrix of the problem.

    Attributes
    ----------
    rank : int
        Columns of F.
    condition : float
        Bound on the condition number of the preconditioned matrix.
    """

    def __init__(self, problem: Problem, F: Array, residual: Array) -> None:
        self._problem, self._F, self.rank = problem, F, int(F.shape[1])
        missing = residual[:, None] if problem.root is None else problem.root**2 * residual[:, None]
        self.condition = 1 + float(problem.xp.sum(missing)) / problem.ridge
        self._W = self._small() if self.rank else F

    def __call__(self, V: Array) -> Array:
        """Return P^-1 V."""
        if not self.rank:
            return V / self._problem.ridge
        inner = adjoint(self._W) @ (self._W @ self._down(self._problem.weigh(V)))
        return (V - self._problem.weigh(self._up(inner))) / self._problem.ridge

    def _small(self) -> Array:
        """Return W with W^T W = (F^T D^2 F + ridge I)^-1."""
        xp, ridge = self._problem.xp, self._problem.ridge
        M = xp.zeros((self.rank, self.rank), dtype=xp.float64, device=self._F.device)
        for first, tile in _arrays.row_blocks(self._F):
            tile = wide(tile)
            tile = tile if self._problem.root is None else self._problem.root[first : first + tile.shape[0], :] * tile
            M = M + adjoint(tile) @ tile
        try:
            R = adjoint(xp.linalg.cholesky(M + ridge * eye(xp, self.rank, M)))
            return _arrays.solve_triangular(R, eye(xp, self.rank, M), adjoint=True)
        except np.linalg.LinAlgError:
            values, V = xp.linalg.eigh(M)
            values = xp.where(values > 0, values, xp.zeros_like(values)) + ridge
            return adjoint(V) / xp.sqrt(values)[:, None]

    def _down(self, V: Array) -> Array:
        """Return F^T V in double precision."""
        if self._F.dtype == self._problem.xp.float64:
            return adjoint(self._F) @ V
        return sum(adjoint(wide(tile)) @ V[first : first + tile.shape[0], :] for first, tile in _arrays.row_blocks(self._F))

    def _up(self, V: Array) -> Array:
        """Return F V in double precision."""
        if self._F.dtype == self._problem.xp.float64:
            return self._F @ V
        return self._problem.xp.concat([wide(tile) @ V for _, tile in _arrays.row_blocks(self._F)], axis=0)


def solve(
    problem: Problem, P: Preconditioner, tol: float, max_iter: int, start: Array | None, callback: Callable[[RidgeState], Any] | None
) -> Outcome:
    """Iterate, find the residual in double precision, and go on from there where it is too large."""
    B = problem.xp.zeros_like(problem.rhs) if start is None else problem.rounded(start)
    R = problem.rhs if start is None else problem.residual(B)
    goals, used = tol * problem.sizes, 0
    for _ in range(CORRECTIONS):
        before = norms(R)
        open_ = before > goals
        if not open_.any() or used >= max_iter:
            break
        aims = np.where(open_, np.maximum(AIM * goals, _floor(problem) * before), np.inf)
        watch = _watch(callback, used, problem.sizes)
        run = conjugate_gradients(problem.times, R, aims, precondition=P, max_iter=max_iter - used, watch=watch)
        _check_definite(problem, run.indefinite)
        used += run.n_iter
        trial = problem.rounded(B + run.X)
        R_new = problem.residual(trial)
        after = norms(R_new)
        better = _arrays.from_numpy(after < before, B)[None, :]
        B, R = problem.xp.where(better, trial, B), problem.xp.where(better, R_new, R)
        if run.stopped or not np.any(open_ & (after < before / 2)):
            break
    return Outcome(B, R, used, P.rank, P.condition)


def inverse_diagonal(problem: Problem, P: Preconditioner, rows: np.ndarray, tol: float, max_iter: int) -> np.ndarray:
    """Return entries of the diagonal of (D K D + ridge I)^-1, by solving for unit vectors.

    For any z with r = e_i - G z, e_i^T G^-1 e_i = z^T (e_i + r) + r^T G^-1 r, the last term of which is below r^T r / ridge.
    """
    parts = []
    for first in range(0, rows.size, UNITS):
        part = rows[first : first + UNITS]
        unit = np.zeros((problem.gram.n, part.size))
        unit[part, np.arange(part.size)] = 1.0
        E = _arrays.from_numpy(unit, problem.y)
        Z = conjugate_gradients(problem.times, E, np.full(part.size, tol), precondition=P, max_iter=max_iter).X
        R = E - problem.weigh(problem.product(problem.weigh(Z))) - problem.ridge * Z
        parts.append(host(problem.xp.sum(Z * (E + R), axis=0)))
    return np.concatenate(parts) if parts else np.zeros(0)


def _floor(problem: Problem) -> float:
    return FLOORS[4 if problem.gram.door.dtype == problem.xp.float32 else 8]


def _watch(callback: Callable[[RidgeState], Any] | None, used: int, sizes: np.ndarray) -> Callable[[int, np.ndarray], Any]:
    if callback is None:
        return lambda n_iter, residual: False
    safe = np.where(sizes > 0, sizes, 1.0)
    return lambda n_iter, residual: callback(RidgeState(used + n_iter, residual / safe))


def _check_definite(problem: Problem, indefinite: bool) -> None:
    """Tell an indefinite kernel from a ridge that rounding errors drown.

    Raises
    ------
    ValueError
        The kernel is indefinite.
    """
    noise = 4 * problem.gram.n * _arrays.unit_roundoff(problem.xp, problem.gram.door.dtype) * float(problem.xp.max(problem.lengths)) ** 2
    if indefinite and problem.ridge > noise:
        raise ValueError(f"{problem.gram.function}: K must be positive semidefinite; got a direction in which K + ridge I is not")
