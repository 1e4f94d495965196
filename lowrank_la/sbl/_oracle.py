"""Least squares on a Kronecker support: for one that is known, and for those that matching pursuit finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _dense
from lowrank_la.sbl import _problem
from lowrank_la.sbl._columns import columns, indices, scattered
from lowrank_la.sbl._evidence import outer
from lowrank_la.sbl._problem import Entry
from lowrank_la.tensors import _modes

CLAIM = "||y - fit|| <= bound"
RANK = 1e-12  # singular values below this share of the largest count as zero


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
        The residual is at most `tol` ||y||, or as many atoms as asked for, or as pay, are in use.
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
        y or a factor is no dense array of numbers, or an index is no integer.
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
    support = _checks.several("oracle_lstsq", "support", support)
    if len(support) != len(problem.A):
        raise ValueError(
            f"oracle_lstsq: support must have one sequence of indices for each of {len(problem.A)} factors; got {len(support)}"
        )
    chosen = [_indices(f"support[{i}]", s, a.shape[1]) for i, (s, a) in enumerate(zip(support, problem.A, strict=True))]
    return fitted(entry, chosen, math.prod(map(len, chosen)), lambda _: True)


def _indices(name: str, support: Any, n: int) -> list[int]:
    """Return indices in ascending order, each once.

    Raises
    ------
    TypeError
        There is no sequence, or an entry of it is no integer.
    ValueError
        An index is out of range.
    """
    listed = np.asarray(_arrays.to_numpy(support) if _arrays.is_array(support) else support)
    if listed.ndim != 1:
        raise TypeError(f"oracle_lstsq: {name} must be a sequence of indices; got {type(support).__name__}")
    return sorted({_checks.integer("oracle_lstsq", f"{name}[{j}]", k, 0, n - 1) for j, k in enumerate(listed.tolist())})


def fitted(entry: Entry, chosen: list[list[int]], steps: int, done: Callable[[float], bool]) -> SparseResult:
    """Fit on the product of the supports; `done` judges the norm of the residual."""
    problem = entry.problem
    fit = least_squares(problem.Y, [columns(a, s) for a, s in zip(problem.A, chosen, strict=True)], problem.spare)
    X = fit.X
    for i, (a, s) in enumerate(zip(problem.A, chosen, strict=True)):
        X = _modes.multiply(X, scattered(_dense.eye(_arrays.namespace(a), len(s), a), s, a.shape[1]), i)
    return SparseResult(
        x=entry.leave(X / outer(problem.norms)[..., None]),
        support=tuple(entry.door.leave_wide(indices(s, problem.Y)) for s in chosen),
        residual_norm=fit.norm,
        n_iter=steps,
        converged=done(fit.norm),
        certificate=Certificate(CLAIM, fit.bound, 1.0, "residual"),
    )


@dataclass(frozen=True)
class Fit:
    """A solution of least squares with the chosen columns, the norm of its residual, and a bound on it."""

    X: Array
    norm: float
    bound: float


def least_squares(Y: Array, B: list[Array], spare: float) -> Fit:
    """Fit Y with the chosen columns of each mode; `spare` is the energy of the data outside of Y."""
    return measured(Y, _modes.multiply_all(Y, [_pseudo_inverse(b) for b in B]), B, spare)


def measured(Y: Array, X: Array, B: list[Array], spare: float) -> Fit:
    """Measure the residual of X, rounding errors included."""
    norm = math.sqrt(_problem.square(Y - _modes.multiply_all(X, B)) + spare)
    sizes = math.prod(float(_dense.norms(b)) for b in B)
    scale = math.sqrt(_problem.square(Y) + spare) + math.sqrt(_problem.square(X)) * sizes
    return Fit(X, norm, norm + _dense.gamma(4 * sum(sum(b.shape) for b in B), Y) * scale)


def _pseudo_inverse(B: Array) -> Array:
    xp = _arrays.namespace(B)
    if B.shape[0] <= 2 * B.shape[1]:
        return xp.linalg.pinv(B, rtol=RANK)
    Q, R = xp.linalg.qr(B, mode="reduced")
    return xp.linalg.pinv(R, rtol=RANK) @ _dense.adjoint(Q)
