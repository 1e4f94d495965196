"""Matching pursuit, the greedy baseline: Kronecker supports are never written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.sbl import _problem
from lowrank_la.sbl._evidence import outer
from lowrank_la.sbl._oracle import SparseResult, columns, fitted
from lowrank_la.sbl._problem import Problem
from lowrank_la.tensors import _modes


def omp(y: Array, A: Array, *, n_nonzero: int | None = None, tol: float = 1e-6) -> SparseResult:
    """Choose columns of A one by one, by orthogonal matching pursuit.

    Each step adds the column with the largest correlation with the residual, summed over snapshots, and
    fits all chosen columns anew, by updating a QR factorization.

    Parameters
    ----------
    y : array (m,) or (m, L), real or complex
        Measurements; snapshots share their support.
    A : array (m, N)
        Dictionary. Columns need not have length one.
    n_nonzero : int, 1 <= n_nonzero <= min(m, N), default min(m, N)
        Number of columns at most.
    tol : float, 0 <= tol < 1
        Stop when the residual is at most tol ||y||.

    Returns
    -------
    SparseResult
        x : array (N,) or (N, L). support : tuple of one array of indices, in ascending order.
        certificate : bounds ||y - A x||, rounding errors included.

    Raises
    ------
    TypeError
        y or A is no dense array of numbers.
    ValueError
        Shapes do not fit, an entry is not finite, or an option is out of range.

    Notes
    -----
    Cost: m N L flops a step, and m k for the update. Memory: one m x k array. The columns that are chosen depend on the
    data alone, no randomness is involved. Columns that depend on those in use are passed over.

    References
    ----------
    .. [1] Pati, Rezaiifar and Krishnaprasad, Orthogonal matching pursuit, Asilomar 1993.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sbl import omp
    >>> A = np.random.default_rng(0).standard_normal((40, 100))
    >>> omp(3 * A[:, 7] - A[:, 50], A).support[0]
    array([ 7, 50])
    """
    entry = _problem.enter("omp", y, [A])
    problem = entry.problem
    n_nonzero = _count("omp", "n_nonzero", n_nonzero, min(problem.A[0].shape))
    tol = _checks.real("omp", "tol", tol, 0, 1)
    xp, a, R = _arrays.namespace(problem.Y), problem.A[0], problem.Y
    Q, chosen, free = a[:, :0], [], problem.alive[0]
    while len(chosen) < n_nonzero and bool(xp.any(free)) and not _small(problem, R, tol):
        score = xp.sum(xp.abs(_dense.adjoint(a) @ R) ** 2, axis=1)
        k = int(xp.argmax(xp.where(free, score, -xp.ones_like(score))))
        q = a[:, k : k + 1]
        for _ in range(2):
            q = q - Q @ (_dense.adjoint(Q) @ q)
        free = free & (xp.arange(free.shape[0], device=free.device) != k)
        length = float(xp.linalg.vector_norm(q))
        if length > 1e-10:
            Q, chosen = xp.concat([Q, q / length], axis=1), [*chosen, k]
            R = R - Q[:, -1:] @ (_dense.adjoint(Q[:, -1:]) @ R)
    return fitted(entry, [chosen], len(chosen), tol, n_nonzero)


def kronecker_omp(y: Array, factors: Sequence[Any], *, n_atoms: int | Sequence[int] | None = None, tol: float = 1e-2) -> SparseResult:
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
    tol : float, 0 <= tol < 1
        Stop when the residual is at most tol ||y||.

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

    References
    ----------
    .. [1] Caiafa and Cichocki, Computing sparse representations of multidimensional signals using Kronecker bases,
       Neural Computation 25, 2013.

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
    tol = _checks.real("kronecker_omp", "tol", tol, 0, 1)
    chosen: list[list[int]] = [[] for _ in problem.A]
    R, steps = problem.Y, 0
    while not _small(problem, R, tol):
        tuple_ = _strongest(problem, R, chosen, limits)
        if tuple_ is None:
            break
        grown = [sorted({*have, k}) for have, k in zip(chosen, tuple_, strict=True)]
        if grown == chosen:
            break
        chosen, steps = grown, steps + 1
        R = problem.Y - _modes.multiply_all(problem.Y, [_projector(a, s) for a, s in zip(problem.A, chosen, strict=True)])
    return fitted(entry, chosen, steps, tol, None)


def _count(function: str, name: str, value: Any, most: int) -> int:
    return most if value is None else _checks.integer(function, name, value, 1, most)


def _counts(function: str, n_atoms: Any, problem: Problem) -> list[int]:
    most = [min(a.shape) for a in problem.A]
    if not isinstance(n_atoms, Sequence):
        return [limit if n_atoms is None else min(limit, _checks.integer(function, "n_atoms", n_atoms, 1)) for limit in most]
    if len(n_atoms) != len(most):
        raise ValueError(f"{function}: n_atoms must be an integer or {len(most)} of them, one for each factor; got {len(n_atoms)}")
    return [min(limit, _checks.integer(function, f"n_atoms[{i}]", n, 1)) for i, (n, limit) in enumerate(zip(n_atoms, most, strict=True))]


def _small(problem: Problem, R: Array, tol: float) -> bool:
    return problem.energy == 0 or _problem.square(R) + problem.spare <= tol**2 * problem.energy


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
