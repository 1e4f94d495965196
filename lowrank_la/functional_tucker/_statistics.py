"""Sums over the data of a mode, contracted with the core: what each abscissa learns from its data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.functional_tucker._data import Sorted

BLOCK = 1 << 19  # numbers in a block of sums


def contracted(
    group: Sorted, weights: Array, mode: int, tables: list[np.ndarray], matrix: np.ndarray | None, *, entrywise: bool = False
) -> np.ndarray:
    """Return, for each abscissa of a mode, the sum over its data of weight times product of table rows times matrix.

    Parameters
    ----------
    group : Sorted
        The data.
    weights : array (N,)
        In the order of `group`.
    mode : int
        Which tables (n_k, s_k) takes all but this one.
    matrix : array (product of s_k or s_k, columns) or None
        None is the identity.
    entrywise : bool
        Multiply rows entry by entry.

    Returns
    -------
    array (n_mode, columns)
    """
    sums = np.concatenate([_host(_times(G, matrix)) for _, G in _blocks(group, weights, mode, tables, entrywise)])
    return np.add.reduceat(sums, group.firsts, axis=0)


def summed(group: Sorted, weights: Array, mode: int, tables: list[np.ndarray]) -> np.ndarray:
    """Return the sum over all data of weight times Kronecker product of table rows, as a tensor (s_1, ..., s_K)."""
    total, owners = 0.0, group.owners()
    for first, G in _blocks(group, weights, mode, tables, False):
        rows = _arrays.from_numpy(tables[mode][owners[first : first + G.shape[0]]], G)
        total = total + _host(_arrays.namespace(G).matrix_transpose(rows) @ G)
    shape = [table.shape[1] for table in tables]
    return np.moveaxis(np.asarray(total).reshape(shape[mode], *shape[:mode], *shape[mode + 1 :]), 0, mode)


def _blocks(group: Sorted, weights: Array, mode: int, tables: list[np.ndarray], entrywise: bool) -> Iterator[tuple[int, Array]]:
    entrywise = entrywise and len(tables) > 1
    laid = kernels.tucker_statistics.tables_of(tables, mode, entrywise)
    groups, height = group.starts.size - 1, max(1, BLOCK // laid.width)
    for first in range(0, groups, height):
        starts = group.starts[first : min(first + height, groups) + 1]
        yield first, kernels.tucker_statistics.sums(group.places, weights, starts, laid)


def _times(G: Array, matrix: np.ndarray | None) -> Array:
    return G if matrix is None else G @ _arrays.from_numpy(matrix, G)


def _host(x: Array) -> np.ndarray:
    return _arrays.to_numpy(x)
