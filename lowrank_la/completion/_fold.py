"""Factors of new rows for a model whose columns are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.completion import _observations
from lowrank_la.completion._problem import Factors

if TYPE_CHECKING:
    from lowrank_la.completion._result import CompletionResult


def factors_of(result: CompletionResult) -> Factors:
    """Return a result's model in the units of the data, biases in a column of their own if it has any."""
    _, [U, V, row_bias, col_bias] = _arrays.enter("complete", U=result.U, V=result.V, row_bias=result.row_bias, col_bias=result.col_bias)
    xp = _arrays.namespace(U)
    if result.mean == 0.0 and not bool(xp.any(row_bias != 0)) and not bool(xp.any(col_bias != 0)):
        return Factors(U, V)
    unit = float(xp.mean(xp.astype(U, xp.float64) ** 2)) ** 0.5 or 1.0
    left = xp.concat([U, row_bias[:, None] / unit], axis=1)
    right = xp.concat([V, col_bias[:, None] / unit], axis=1)
    return Factors(left, right, result.mean, unit)


def fold_in(result: CompletionResult, new_rows: Any, shape: Any, mask: Any) -> tuple[Array, Array]:
    door, entries = _observations.read("transform", new_rows, shape=shape, mask=mask)
    n = result.V.shape[0]
    if entries.shape[1] != n:
        raise ValueError(f"transform: new_rows must have {n} columns, as many as V has rows; got shape {entries.shape}")
    factors = factors_of(result)
    xp = _arrays.namespace(factors.right)
    F, offset = factors.regressors(factors.right)
    nonnegative = bool(xp.all(factors.U >= 0)) and bool(xp.all(factors.V >= 0)) and not factors.unit
    solution = kernels.als_rows.solve(
        entries.values,
        entries.indices,
        entries.indptr,
        F,
        ridge=xp.full((entries.shape[0],), result.ridge, dtype=xp.float64, device=F.device),
        offset=offset,
        method="nonneg" if nonnegative else "chol",
        steps=50,
    )
    k = factors.rank
    empty = (entries.degrees == 0)[:, None]
    average = xp.astype(xp.mean(xp.astype(factors.U, xp.float64), axis=0), factors.U.dtype)[None, :]
    U = xp.where(empty, average, solution.X[:, :k])
    row_bias = solution.X[:, k] * factors.unit if factors.unit else xp.zeros_like(U[:, 0])
    return door.leave(U), door.leave(row_bias)


def fill_empty(U: Array, degrees: Array) -> Array:
    """Give rows without entries, whose factors are 0, the average of the others' factors."""
    xp = _arrays.namespace(U)
    filled = max(1, int(xp.count_nonzero(degrees)))
    average = xp.sum(U, axis=0, dtype=xp.float64) / filled
    return xp.where((degrees == 0)[:, None], xp.astype(average, U.dtype)[None, :], U)
