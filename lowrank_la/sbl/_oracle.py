"""Least squares on a Kronecker support: for one that is known, and for those that matching pursuit finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _dense
from lowrank_la.sbl import _problem
from lowrank_la.sbl._evidence import outer
from lowrank_la.sbl._problem import Entry
from lowrank_la.tensors import _modes

CLAIM = "||y - fit|| <= bound"


@dataclass(frozen=True, repr=False)
class SparseResult(Result):
    """A sparse solution of y = A x and its support.

    Attributes
    ----------
    x : array
        The solution, in the form of y.
    support : tuple of integer arrays
        For each factor the indices in use; one array for a plain matrix.
    residual_norm : float
        ||y - A x||, of all snapshots together.
    n_iter : int
        Number of atoms chosen, or of index tuples.
    converged : bool
        The residual is at most `tol` ||y||, or as many atoms as asked for are in use.
    certificate : Certificate
        The residual, with its rounding errors.
    """

    x: Array
    support: tuple[Array, ...]
    residual_norm: float
    n_iter: int
    converged: bool
    certificate: Certificate


def oracle_lstsq(y: Array, factors: Sequence[Any], support: Sequence[Any]) -> SparseResult:
    """Fit measurements on a Kronecker support that is known: the best that any method could do.

    Parameters
    ----------
    y : array
        Measurements, in the forms that `kronecker_sbl` takes.
    factors : sequence of arrays (M_i, N_i)
        Factors of the dictionary kron(A_1, ..., A_I).
    support : sequence of integer sequences
        For each factor the indices in use.

    Returns
    -------
    SparseResult
        x is the solution of least squares (of least norm where columns depend on each other) on the product of the supports.

    Raises
    ------
    TypeError
        y or a factor is no dense array of numbers.
    ValueError
        Shapes do not fit, an entry is not finite, or an index is out of range.

    Notes
    -----
    X = Y x_1 A_1[:, S_1]^+ ... x_I A_I[:, S_I]^+, exact for product supports.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sbl import oracle_lstsq
    >>> A = np.random.default_rng(0).standard_normal((8, 12))
    >>> x = oracle_lstsq(A[:, 2] - A[:, 5], [A], [[2, 5]]).x
    >>> bool(abs(x[2] - 1) < 1e-12 and abs(x[5] + 1) < 1e-12)
    True
    """
    entry = _problem.enter("oracle_lstsq", y, factors)
    problem = entry.problem
    if len(support) != len(problem.A):
        raise ValueError(
            f"oracle_lstsq: support must have one sequence of indices for each of {len(problem.A)} factors; got {len(support)}"
        )
    chosen = [
        sorted({_checks.integer("oracle_lstsq", f"support[{i}]", int(k), 0, a.shape[1] - 1) for k in _arrays.to_numpy(s)})
        for i, (s, a) in enumerate(zip(support, problem.A, strict=True))
    ]
    return fitted(entry, chosen, math.prod(map(len, chosen)), 0.0, 0)


def columns(a: Array, chosen: list[int]) -> Array:
    """Return some columns of a matrix."""
    xp = _arrays.namespace(a)
    return xp.take(a, xp.asarray(chosen, dtype=xp.int64, device=a.device), axis=1)


def fitted(entry: Entry, chosen: list[list[int]], steps: int, tol: float, wanted: int | None) -> SparseResult:
    """Fit on the product of the supports, scatter, and measure the residual."""
    problem, door = entry.problem, entry.door
    xp, X = _arrays.namespace(problem.Y), problem.Y
    for i, (a, s) in enumerate(zip(problem.A, chosen, strict=True)):
        E = columns(xp.eye(a.shape[1], dtype=a.dtype, device=a.device), s)
        solver = E @ xp.linalg.pinv(columns(a, s), rtol=1e-12) if s else xp.zeros_like(_dense.adjoint(a))
        X = _modes.multiply(X, solver, i)
    R = problem.Y - _modes.multiply_all(X, problem.A)
    norm = math.sqrt(_problem.square(R) + problem.spare)
    terms = 4 * sum(sum(a.shape) for a in problem.A)
    scale = math.sqrt(problem.energy) + math.sqrt(_problem.square(X)) * math.prod(float(xp.linalg.matrix_norm(a)) for a in problem.A)
    done = norm <= tol * math.sqrt(problem.energy) or (wanted is not None and (wanted == 0 or steps == wanted))
    return SparseResult(
        x=entry.leave(X / outer(problem.norms)[..., None]),
        support=tuple(door.leave_wide(xp.asarray(sorted(s), dtype=xp.int64, device=problem.Y.device)) for s in chosen),
        residual_norm=norm,
        n_iter=steps,
        converged=done,
        certificate=Certificate(CLAIM, norm + _dense.gamma(terms, problem.Y) * scale, 1.0, "residual"),
    )
