"""Leading singular vectors of the entries as they stand: what the spectral start and the search for a rank look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.completion._observations import Compressed
from lowrank_la.completion._problem import Problem
from lowrank_la.factor import svd
from lowrank_la.factor._matrix import Matrix

STEPS = 3  # of block Krylov


def leading(problem: Problem, rank: int) -> tuple[Array, Array, Array]:
    """Return leading singular triples of the matrix of entries, 0 where missing, its heavy rows and columns trimmed."""
    found = svd(_Trimmed(problem), rank, n_iter=STEPS, certificate=False, rng=problem.seed)
    return found.U, found.s, found.V


class _Trimmed(Matrix):
    """The entries as they stand, 0 where missing; rows and columns with over twice the average degree weigh less."""

    def __init__(self, problem: Problem) -> None:
        rows, cols = problem.rows, problem.cols
        door, [values] = _arrays.enter("complete", values=rows.values)
        self._adopt(door, values[:0], problem.shape)
        self.rows, self.cols = (_centred(side, problem.mean) for side in (rows, cols))
        self.row_weights, self.col_weights = (_trim_weights(door.xp, side) for side in (rows, cols))

    def times(self, X: Array) -> Array:
        self.passes += 1
        return self.row_weights * _product(self.rows, self.col_weights * X)

    def adjoint_times(self, Y: Array) -> Array:
        self.passes += 1
        return self.col_weights * _product(self.cols, self.row_weights * Y)


def _centred(side: Compressed, mean: float) -> Compressed:
    return replace(side, values=side.values - mean) if mean else side


def _product(side: Compressed, X: Array) -> Array:
    X = _arrays.namespace(X).astype(X, side.values.dtype, copy=False)
    return kernels.sparse_product.times(side.values, side.indices, side.indptr, X)


def _trim_weights(xp: Any, side: Compressed) -> Array:
    degrees = xp.astype(side.degrees, xp.float64)
    heavy = 2 * len(side) / side.shape[0]
    return xp.sqrt(heavy / xp.where(degrees > heavy, degrees, xp.full_like(degrees, heavy)))[:, None]
