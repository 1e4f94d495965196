"""Compressed rows times few vectors: A X and |A| X, by threads; `sparse_product` is for many.

For the five-point Laplacian of 262144 unknowns and one vector two cores take half the time of SciPy's loop. On a GPU the references run.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la._arrays import Array
from lowrank_la.kernels import sparse_product
from lowrank_la.kernels._engine import Kernel

PARTS = 64  # ranges of rows
WIDTH = 4  # columns whose sums stand in registers together
FEW = 1 << 15  # products below which one thread ends before others have begun

UNSIGNED = {4: np.uint32, 8: np.uint64}


def times_reference(values: Array, indices: Array, indptr: Array, X: Array) -> Array:
    """Return A X (n, t) in the dtype of X, for compressed rows of A."""
    return sparse_product.times(values, indices, indptr, X)


def sizes_reference(values: Array, indices: Array, indptr: Array, X: Array) -> Array:
    """Return |A| X (n, t) for a real X."""
    return sparse_product.times(abs(values), indices, indptr, X)


def times_cpu(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Share the rows among threads; what the loop does not take goes to the reference."""
    if X.dtype.kind == "c" and values.dtype.kind != "c":
        return times_cpu(values, indices, indptr, np.ascontiguousarray(X).view(X.real.dtype)).view(X.dtype)
    return _product(values, indices, indptr, X, False) if _takes(values, X) else times_reference(values, indices, indptr, X)


def sizes_cpu(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Share the rows among threads; what the loop does not take goes to the reference."""
    return _product(values, indices, indptr, X, True) if _takes(values, X) else sizes_reference(values, indices, indptr, X)


def _takes(values: np.ndarray, X: np.ndarray) -> bool:
    return values.dtype.char in "fd" and values.dtype.isnative and X.dtype == np.float64


def _product(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, X: np.ndarray, absolute: bool) -> np.ndarray:
    marks = np.arange(PARTS + 1) * int(indptr[-1]) // PARTS
    edges = np.searchsorted(indptr, marks.astype(indptr.dtype))  # with about as many entries in each range
    edges[0], edges[-1] = 0, indptr.size - 1
    d, c = X.shape
    Y = np.empty((indptr.size - 1, c))
    width = 1 if c == 1 else -(-c // WIDTH) * WIDTH
    if width > c:
        X = np.concatenate([X, np.zeros((d, width - c))], axis=1)
    places = (np.ascontiguousarray(x).view(UNSIGNED[x.itemsize]) for x in (indices, indptr))  # none counts from the end
    loop = _times if values.size * width >= FEW else _times_alone
    loop(np.ascontiguousarray(values), *places, edges, np.ascontiguousarray(X).reshape(-1), width, absolute, Y)
    return Y


@njit(parallel=True, cache=True)
def _times(values, indices, indptr, edges, X, width, absolute, Y):  # type: ignore[no-untyped-def]
    for part in prange(edges.size - 1):
        _range(values, indices, indptr[edges[part] : edges[part + 1] + 1], X, width, absolute, Y[edges[part] : edges[part + 1]])


@njit(cache=True)
def _times_alone(values, indices, indptr, edges, X, width, absolute, Y):  # type: ignore[no-untyped-def]
    _range(values, indices, indptr, X, width, absolute, Y)


@njit(cache=True)
def _range(values, indices, ends, X, width, absolute, Y):  # type: ignore[no-untyped-def]
    """Fill rows of the answer."""
    columns = Y.shape[1]
    if width == 1:
        _one(values, indices, ends, X, absolute, Y.reshape(-1))
        return
    for left in range(0, width, WIDTH):
        _four(values, indices, ends, X, np.uint64(left), np.uint64(width), absolute, Y[:, left : min(left + WIDTH, columns)])


@njit(cache=True)
def _one(values, indices, ends, x, absolute, y):  # type: ignore[no-untyped-def]
    k = np.uint64(ends[0])
    for i in range(y.size):
        end, total = np.uint64(ends[i + 1]), 0.0
        while k < end:
            a = abs(values[k]) if absolute else values[k]
            total += a * x[indices[k]]
            k += np.uint64(1)
        y[i] = total


@njit(cache=True)
def _four(values, indices, ends, X, left, width, absolute, Y):  # type: ignore[no-untyped-def]
    """Fill up to four columns of the answer."""
    k, columns = np.uint64(ends[0]), Y.shape[1]
    for i in range(Y.shape[0]):
        end = np.uint64(ends[i + 1])
        p, q, r, s = 0.0, 0.0, 0.0, 0.0
        while k < end:
            a = abs(values[k]) if absolute else values[k]
            at = np.uint64(indices[k]) * width + left
            p += a * X[at]
            q += a * X[at + np.uint64(1)]
            r += a * X[at + np.uint64(2)]
            s += a * X[at + np.uint64(3)]
            k += np.uint64(1)
        Y[i, 0] = p
        if columns > 1:
            Y[i, 1] = q
        if columns > 2:
            Y[i, 2] = r
        if columns > 3:
            Y[i, 3] = s


times = Kernel(times_reference, times_cpu)
sizes = Kernel(sizes_reference, sizes_cpu)
