"""Matching pursuit with Kronecker supports, which are never written out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.sbl import _problem
from lowrank_la.sbl._columns import columns
from lowrank_la.sbl._evidence import outer
from lowrank_la.sbl._omp import EXACT, criterion
from lowrank_la.sbl._oracle import SparseResult, fitted
from lowrank_la.sbl._problem import Problem, square
from lowrank_la.tensors import _modes


def kronecker_omp(
    y: Array, factors: Sequence[Any], *, n_atoms: int | Sequence[int] | None = None, tol: float | None = None
) -> SparseResult:
    """Choose atoms of each factor by orthogonal matching pursuit with a Kronecker support.

    Each step takes the index tuple with the largest correlation with the residual, adds its indices to the
    supports of their modes, and fits the product of the supports anew.

    Parameters
    ----------
    y : array
        Measurements, in the forms that `kronecker_sbl` takes.
    factors : sequence of arrays (M_i, N_i)
        Factors of the dictionary kron(A_1, ..., A_I).
    n_atoms : int or sequence of int, default min(M_i, N_i)
        Number of atoms of each mode at most.
    tol : float, 0 <= tol < 1, optional
        Stop when the residual is at most tol ||y||. If None, as many steps are taken as pay: see Notes.

    Returns
    -------
    SparseResult
        x in the form of y, support as a tuple with an array of indices for each mode.

    Raises
    ------
    TypeError
        y or a factor is no dense array of numbers.
    ValueError
        Shapes do not fit, an entry is not finite, or an option is out of range.

    Notes
    -----
    The fit is X = Y x_1 A_1[:, S_1]^+ ... x_I A_I[:, S_I]^+: the Kronecker matrix is never formed. Cost: some mode
    products a step. Memory: arrays of the sizes of X and Y.

    Without `tol`, steps go on until the limits, or until the product of the supports has half as many entries as y; the one is kept
    where n log ||y - fit||^2 + p log n + 2 sum_i |S_i| log N_i is least [2]_, with n numbers in y and p in the solution.

    References
    ----------
    .. [1] Caiafa and Cichocki, Computing sparse representations of multidimensional signals using Kronecker bases,
       Neural Computation 25, 2013.
    .. [2] Chen and Chen, Extended Bayesian information criteria for model selection with large model spaces, Biometrika 95, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sbl import kronecker_omp
    >>> rng = np.random.default_rng(0)
    >>> A, B = rng.standard_normal((20, 25)), rng.standard_normal((30, 40))
    >>> result = kronecker_omp(np.outer(A[:, 2], B[:, 5] - 2 * B[:, 6]), [A, B])
    >>> [s.tolist() for s in result.support]
    [[2], [5, 6]]
    """
    entry = _problem.enter("kronecker_omp", y, factors)
    problem = entry.problem
    limits = _counts("kronecker_omp", n_atoms, problem)
    least = EXACT if tol is None else _checks.real("kronecker_omp", "tol", tol, 0, 1)
    path = _path(problem, limits, least, 0.5 if tol is None else math.inf)
    steps = _paying(problem, path) if tol is None else len(path) - 1
    return fitted(entry, path[steps].chosen, steps, lambda norm: tol is None or norm <= tol * math.sqrt(problem.energy))


@dataclass(frozen=True)
class _Step:
    """Supports, and the energy that their product leaves of the data."""

    chosen: list[list[int]]
    energy: float

    @property
    def parameters(self) -> int:
        return math.prod(map(len, self.chosen))


def _path(problem: Problem, limits: list[int], tol: float, most: float) -> list[_Step]:
    """Grow the supports until the residual is small, nothing is allowed, or the parameters are more than that share of the data."""
    path, R = [_Step([[] for _ in problem.A], problem.energy)], problem.Y
    while path[-1].energy > tol**2 * problem.energy:
        strongest = _strongest(problem, R, path[-1].chosen, limits)
        if strongest is None:
            break
        grown = [sorted({*have, k}) for have, k in zip(path[-1].chosen, strongest, strict=True)]
        if grown == path[-1].chosen or math.prod(map(len, grown)) > max(most * problem.size, 1):
            break
        R = problem.Y - _modes.multiply_all(problem.Y, [_projector(a, s) for a, s in zip(problem.A, grown, strict=True)])
        path.append(_Step(grown, square(R) + problem.spare))
    return path


def _paying(problem: Problem, path: list[_Step]) -> int:
    """Return the step with the least criterion."""
    numbers = problem.snapshots * (2 if _dense.is_complex(problem.Y) else 1)
    widths, exact = [math.log(a.shape[1]) for a in problem.A], EXACT**2 * problem.energy
    values = []
    for step in path:
        choices = sum(len(s) * w for s, w in zip(step.chosen, widths, strict=True))
        values.append(criterion(step.energy, numbers * problem.size, numbers * step.parameters, choices, exact=exact))
    return values.index(min(values))


def _counts(function: str, n_atoms: Any, problem: Problem) -> list[int]:
    most = [min(a.shape) for a in problem.A]
    if not isinstance(n_atoms, Sequence):
        return [limit if n_atoms is None else min(limit, _checks.integer(function, "n_atoms", n_atoms, 1)) for limit in most]
    if len(n_atoms) != len(most):
        raise ValueError(f"{function}: n_atoms must be an integer or {len(most)} of them, one for each factor; got {len(n_atoms)}")
    return [min(limit, _checks.integer(function, f"n_atoms[{i}]", n, 1)) for i, (n, limit) in enumerate(zip(n_atoms, most, strict=True))]


def _strongest(problem: Problem, R: Array, chosen: list[list[int]], limits: list[int]) -> tuple[int, ...] | None:
    """Return the index tuple with the largest correlation among those that the limits still allow."""
    T = _modes.multiply_all(R, [_dense.adjoint(a) for a in problem.A])
    xp = _arrays.namespace(T)
    score = xp.sum(xp.abs(T) ** 2, axis=-1)
    allowed = [_allowed(xp, a, have, most) for a, have, most in zip(problem.A, chosen, limits, strict=True)]
    score = score * outer(allowed)
    flat = int(xp.argmax(xp.reshape(score, (-1,))))
    if float(xp.reshape(score, (-1,))[flat]) == 0:
        return None
    index = []
    for n in reversed(score.shape):
        flat, k = divmod(flat, n)
        index.append(k)
    return tuple(reversed(index))


def _allowed(xp: _arrays.Namespace, a: Array, have: list[int], most: int) -> Array:
    mask = [1.0 if len(have) < most or k in set(have) else 0.0 for k in range(a.shape[1])]
    return xp.asarray(mask, dtype=xp.float64, device=a.device)


def _projector(a: Array, chosen: list[int]) -> Array:
    """Return the orthogonal projector onto the chosen columns."""
    Q = _range(columns(a, chosen))
    return Q @ _dense.adjoint(Q)


def _range(B: Array) -> Array:
    xp = _arrays.namespace(B)
    U, s, _ = xp.linalg.svd(B, full_matrices=False)
    return U[:, : int(xp.sum(xp.astype(s > 1e-12 * xp.max(s), xp.int64)))] if s.shape[0] else U
