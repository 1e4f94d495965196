"""Sums over groups of data of Kronecker or entrywise products of table rows: what a Tucker or CP model learns from its data.

Datum n names a row of a table in each mode but one. Its products with a weight are added up over the group it belongs to. Data come
sorted, so that a thread owns whole groups: no atomics, and the same bits for any number of threads. NumPy forms the products of a
block of data in memory first, which takes eight times as long for three modes of rank 5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays, _threads
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel

THREADS = 128  # of a GPU for a group


class Tables(NamedTuple):
    """Tables of several modes in one memory: a row (mode, first entry, columns) of `layout` for each."""

    layout: np.ndarray
    flat: np.ndarray
    entrywise: bool

    @property
    def width(self) -> int:
        """Length of a product: of one row if rows are multiplied entry by entry, else all lengths multiplied."""
        columns = [int(c) for c in self.layout[:, 2]]
        return columns[0] if self.entrywise else math.prod(columns)


def tables_of(tables: Sequence[np.ndarray], mode: int | None, entrywise: bool) -> Tables:
    """Put the tables (n_k, s_k), float64, of all modes but one behind each other; `entrywise` needs equal s_k, and one mode to stay."""
    others = [k for k in range(len(tables)) if k != mode]
    ends = np.cumsum([0, *[tables[k].size for k in others]])
    layout = np.array([(k, ends[i], tables[k].shape[1]) for i, k in enumerate(others)], dtype=np.int64).reshape(-1, 3)
    flat = np.concatenate([tables[k].ravel() for k in others]) if others else np.ones(1)
    return Tables(layout, flat, entrywise)


def reference(places: Array, weights: Array, starts: np.ndarray, tables: Tables) -> Array:
    """Sum products of table rows over groups of data.

    Parameters
    ----------
    places : array (N, K), integers
        Rows of the tables, for each datum and mode.
    weights : array (N,), float64
        Factors of the products.
    starts : NumPy array (G + 1,)
        Group g has the data starts[g] to starts[g + 1] - 1; it may be empty.
    tables : Tables
        On the host.

    Returns
    -------
    array (G, tables.width), float64
        Later modes run faster.
    """
    xp, sums = _arrays.namespace(places, weights), []
    ends = [*tables.layout[1:, 1].tolist(), tables.flat.size]
    parts = [(k, tables.flat[a:b].reshape(-1, c)) for (k, a, c), b in zip(tables.layout.tolist(), ends, strict=False)]
    parts = [(k, _arrays.from_numpy(rows, weights)) for k, rows in parts]
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        product = weights[first:last, None]
        for k, rows in parts:
            here = xp.take(rows, places[first:last, k], axis=0)
            product = product * here if tables.entrywise else xp.reshape(product[:, :, None] * here[:, None, :], (last - first, -1))
        sums.append(xp.sum(product, axis=0))
    return xp.stack(sums)


def cpu(places: np.ndarray, weights: np.ndarray, starts: np.ndarray, tables: Tables) -> np.ndarray:
    """Give each thread groups of its own."""
    sums = np.zeros((starts.size - 1, tables.width))
    loop = _entrywise if tables.entrywise else _pairs if tables.layout.shape[0] == 2 else _products
    with _threads.kernels_for(2.0 * tables.width * float(starts[-1] - starts[0])):
        loop(places, weights, starts, tables.layout, tables.flat, sums)
    return sums


@njit(parallel=True, cache=True)
def _pairs(places, weights, starts, layout, flat, sums):  # type: ignore[no-untyped-def]
    """Add outer products of rows of two tables."""
    (a, a0, height), (b, b0, width) = layout
    for g in prange(starts.size - 1):
        total = sums[g]
        for n in range(starts[g], starts[g + 1]):
            left, right, w = a0 + places[n, a] * height, b0 + places[n, b] * width, weights[n]
            for i in range(height):
                v = w * flat[left + i]
                for j in range(width):
                    total[i * width + j] += v * flat[right + j]


@njit(parallel=True, cache=True)
def _products(places, weights, starts, layout, flat, sums):  # type: ignore[no-untyped-def]
    """Add Kronecker products of rows of any number of tables: all but the last grow in a buffer."""
    last = layout.shape[0] - 1
    length = sums.shape[1] // max(1, layout[last, 2] if last >= 0 else 1)
    for g in prange(starts.size - 1):
        total, product = sums[g], np.empty(length)
        for n in range(starts[g], starts[g + 1]):
            product[0] = weights[n]
            size = 1
            for k in range(last):
                row, width = layout[k, 1] + places[n, layout[k, 0]] * layout[k, 2], layout[k, 2]
                for i in range(size - 1, -1, -1):
                    v = product[i]
                    for j in range(width):
                        product[i * width + j] = v * flat[row + j]
                size *= width
            if last < 0:
                total[0] += product[0]
                continue
            row, width = layout[last, 1] + places[n, layout[last, 0]] * layout[last, 2], layout[last, 2]
            for i in range(size):
                for j in range(width):
                    total[i * width + j] += product[i] * flat[row + j]


@njit(parallel=True, cache=True)
def _entrywise(places, weights, starts, layout, flat, sums):  # type: ignore[no-untyped-def]
    """Add products of rows, entry by entry."""
    width = sums.shape[1]
    for g in prange(starts.size - 1):
        total, product = sums[g], np.empty(width)
        for n in range(starts[g], starts[g + 1]):
            product[:] = weights[n]
            for k in range(layout.shape[0]):
                row = layout[k, 1] + places[n, layout[k, 0]] * width
                for j in range(width):
                    product[j] *= flat[row + j]
            for j in range(width):
                total[j] += product[j]


def cuda(places: Any, weights: Any, starts: np.ndarray, tables: Tables) -> Any:
    """Give each group a block of threads, which share the entries of its sum."""
    groups = starts.size - 1
    sums = _arrays.namespace(weights).zeros((groups, tables.width), dtype=weights.dtype)
    if groups:
        moved = [_arrays.from_numpy(x, weights) for x in (starts, tables.layout, tables.flat)]
        _cuda_kernel()[groups, min(THREADS, tables.width)](places, weights, *moved, tables.entrywise, sums)
    return sums


@functools.cache
def _cuda_kernel():  # type: ignore[no-untyped-def]
    global gpu  # a global, because the simulator swaps the globals of a kernel
    from numba import cuda as gpu

    @gpu.jit
    def kernel(places, weights, starts, layout, flat, entrywise, sums):  # type: ignore[no-untyped-def]
        """Sum one entry after the other, over the data in their order; its columns in the tables come from its number, last mode first."""
        group = gpu.blockIdx.x
        for entry in range(gpu.threadIdx.x, sums.shape[1], gpu.blockDim.x):
            total = 0.0
            for n in range(starts[group], starts[group + 1]):
                product, rest = weights[n], entry
                for k in range(layout.shape[0] - 1, -1, -1):
                    width = layout[k, 2]
                    column = entry if entrywise else rest % width
                    product *= flat[layout[k, 1] + places[n, layout[k, 0]] * width + column]
                    rest //= width
                total += product
            sums[group, entry] = total

    return kernel


sums = Kernel(reference, cpu, cuda)
