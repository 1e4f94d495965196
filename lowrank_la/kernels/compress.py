"""Triples to compressed rows, compressed rows to their transpose or to fewer entries: stable parallel counting sorts.

A stable sort has one answer, so neither the number of threads nor the split of the work
shows in it. NumPy's argsort takes about 20 times as long on 5e6 entries. The answers are
allocated by NumPy, which asks for large pages: a third of the time of a scatter into small ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel

EXTENT_BUCKETS = 1 << 12  # integers from which a second thread pays


def _csr_reference(values: Array, rows: Array, cols: Array, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Compress triples to rows.

    Parameters
    ----------
    values : array (N,), any dtype
        Entries, or their positions where several arrays are to follow the same order.
    rows, cols : integer arrays (N,)
        Places of the entries, inside `shape`; any order, repeats stay beside each other.
    shape : (m, n)

    Returns
    -------
    indptr : int64 array (m + 1,)
    indices : int32 array (N,), int64 if n needs it
        Columns, not decreasing inside each row.
    values : array (N,)
        Equal places keep the order they came in.
    """
    xp = _arrays.namespace(values, rows, cols)
    by_col = xp.argsort(cols, stable=True)
    order = xp.take(by_col, xp.argsort(xp.take(rows, by_col), stable=True))
    indices = xp.astype(xp.take(cols, order), _index_dtype(xp, shape[1]))
    return _pointers(xp, xp.take(rows, order), shape[0]), indices, xp.take(values, order)


def _transpose_reference(values: Array, indices: Array, indptr: Array, n: int) -> tuple[Array, Array, Array]:
    """Return the compressed rows of the transpose: the columns of the given rows.

    Parameters
    ----------
    values, indices, indptr : arrays (N,), (N,) and (m + 1,)
        Compressed rows, in any order inside a row.
    n : int
        Columns.

    Returns
    -------
    indptr, indices, values : arrays (n + 1,), (N,) and (N,)
        As from `csr`; indices are rows of the given matrix, not decreasing.
    """
    xp = _arrays.namespace(values, indices, indptr)
    m = indptr.shape[0] - 1
    places = xp.arange(values.shape[0], dtype=indptr.dtype, device=values.device)
    rows = xp.searchsorted(indptr, places, side="right") - 1
    order = xp.argsort(indices, stable=True)
    return (
        _pointers(xp, xp.take(indices, order), n),
        xp.astype(xp.take(rows, order), _index_dtype(xp, m)),
        xp.take(values, order),
    )


def _without_reference(values: Array, indices: Array, indptr: Array, places: Array) -> tuple[Array, Array, Array]:
    """Drop the entries at some places of the storage.

    Parameters
    ----------
    values, indices, indptr : arrays (N,), (N,) and (m + 1,)
        Compressed rows.
    places : int64 array (p,)
        Increasing positions from 0 to N - 1.

    Returns
    -------
    indptr, indices, values : arrays (m + 1,), (N - p,) and (N - p,)
        The other entries, in their order.
    """
    xp = _arrays.namespace(values, indices, indptr, places)
    every = xp.arange(values.shape[0], dtype=places.dtype, device=values.device)
    keep = xp.searchsorted(places, every) == xp.searchsorted(places, every, side="right")
    return indptr - xp.astype(xp.searchsorted(places, indptr), indptr.dtype), indices[keep], values[keep]


def _extent_reference(ids: Array) -> tuple[int, int]:
    """Return the least and the largest of some integers (N,), N > 0."""
    xp = _arrays.namespace(ids)
    return int(xp.min(ids)), int(xp.max(ids))


def _pointers(xp: Any, sorted_rows: Array, m: int) -> Array:
    edges = xp.arange(m + 1, dtype=sorted_rows.dtype, device=sorted_rows.device)
    return xp.astype(xp.searchsorted(sorted_rows, edges, side="left"), xp.int64)


def _index_dtype(xp: Any, n: int) -> Any:
    return xp.int32 if n < 2**31 else xp.int64


def _csr_cpu(values: np.ndarray, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    m, n = shape
    edges = _even(len(values), n)
    indptr, first = _places(cols, edges, n)
    row_of, by_col = np.empty(len(values), _index_dtype(np, m)), np.empty_like(values)
    _scatter(values, rows, cols, edges, first, row_of, by_col)
    return _transpose_cpu(by_col, row_of, indptr, m)


def _transpose_cpu(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    m = len(indptr) - 1
    row_edges = np.searchsorted(indptr, _even(len(values), n))
    row_edges[-1] = m
    out_indptr, first = _places(indices, indptr[row_edges], n)
    row_of, by_col = np.empty(len(values), _index_dtype(np, m)), np.empty_like(values)
    _scatter_rows(values, indices, indptr, row_edges, first, row_of, by_col)
    return out_indptr, row_of, by_col


def _without_cpu(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, ...]:
    kept = len(values) - len(places)
    out_indices, out_values = np.empty(kept, indices.dtype), np.empty(kept, values.dtype)
    _keep(values, indices, places, out_indices, out_values)
    return indptr - np.searchsorted(places, indptr).astype(indptr.dtype, copy=False), out_indices, out_values


def _extent_cpu(ids: np.ndarray) -> tuple[int, int]:
    low, high = _extents(ids, _even(len(ids), EXTENT_BUCKETS))
    return int(low.min()), int(high.max())


def _even(entries: int, buckets: int) -> np.ndarray:
    """Cut the entries into parts to sort side by side: each has a counter for every bucket, which must not outweigh the entries."""
    parts = max(1, min(get_num_threads(), entries // max(1, buckets)))
    return np.arange(parts + 1) * entries // parts


def _places(keys: np.ndarray, edges: np.ndarray, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bucket pointers, and the first place of each part in each bucket."""
    counts = np.zeros((len(edges) - 1, buckets), np.int64)
    _count(keys, edges, counts)
    return _offsets(counts), counts


@njit(parallel=True, cache=True)
def _count(keys, edges, counts):
    """Count the keys of each part."""
    for p in prange(len(counts)):
        for t in range(edges[p], edges[p + 1]):
            counts[p, keys[t]] += 1


@njit(parallel=True, cache=True)
def _scatter(values, others, keys, edges, first, out_others, out_values):
    """Sort entries by key: the other index and the value of each."""
    for p in prange(len(first)):
        next_place = first[p]
        for t in range(edges[p], edges[p + 1]):
            key = keys[t]
            place = next_place[key]
            next_place[key] = place + 1
            out_others[place] = others[t]
            out_values[place] = values[t]


@njit(parallel=True, cache=True)
def _scatter_rows(values, indices, indptr, row_edges, first, out_rows, out_values):
    """Like `_scatter` by indices, with the row of each entry read off the pointers."""
    for p in prange(len(first)):
        next_place = first[p]
        for i in range(row_edges[p], row_edges[p + 1]):
            for t in range(indptr[i], indptr[i + 1]):
                key = indices[t]
                place = next_place[key]
                next_place[key] = place + 1
                out_rows[place] = i
                out_values[place] = values[t]


@njit(parallel=True, cache=True)
def _keep(values, indices, places, out_indices, out_values):
    """Move each run between two places down by the number of places before it."""
    for r in prange(len(places) + 1):
        begin = places[r - 1] + 1 if r else 0
        end = places[r] if r < len(places) else len(values)
        for t in range(begin, end):
            out_indices[t - r] = indices[t]
            out_values[t - r] = values[t]


@njit(parallel=True, cache=True)
def _extents(ids, edges):
    low, high = np.empty(len(edges) - 1, ids.dtype), np.empty(len(edges) - 1, ids.dtype)
    for p in prange(len(low)):
        least = most = ids[edges[p]]
        for t in range(edges[p], edges[p + 1]):
            least, most = min(least, ids[t]), max(most, ids[t])
        low[p], high[p] = least, most
    return low, high


@njit(cache=True)
def _offsets(counts):
    """Turn counts (parts, buckets) into the first place of each part in each bucket; return the bucket pointers."""
    parts, buckets = counts.shape
    indptr = np.empty(buckets + 1, np.int64)
    total = 0
    for b in range(buckets):
        indptr[b] = total
        for p in range(parts):
            count = counts[p, b]
            counts[p, b] = total
            total += count
    indptr[buckets] = total
    return indptr


csr = Kernel(_csr_reference, _csr_cpu)  # on a GPU the reference is CuPy's own device sort
transpose = Kernel(_transpose_reference, _transpose_cpu)
without = Kernel(_without_reference, _without_cpu)
extent = Kernel(_extent_reference, _extent_cpu)
