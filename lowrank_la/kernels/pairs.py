"""U V^T at given places only: predictions, residuals, their sizes and the gradient, summed in float64.

A factorisation with biases is one with two more columns, [U, row bias, 1] and
[V, 1, column bias], so that these loops serve it as they are.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel

PARTS_PER_THREAD = 8
REASSOCIATE = {"reassoc", "contract", "nsz"}  # lets sums run in vector lanes; NaN and infinity keep their meaning


def _predict_reference(U: Array, V: Array, rows: Array, cols: Array) -> Array:
    """Return U[rows] . V[cols], one number per pair.

    Parameters
    ----------
    U, V : float arrays (m, k) and (n, k)
    rows, cols : integer arrays (N,)

    Returns
    -------
    array (N,), dtype of U
        Each a sum of k products in float64.
    """
    xp = _arrays.namespace(U, V, rows, cols)
    return xp.astype(_products(xp, U, V, rows, cols), U.dtype)


def _residual_reference(values: Array, indices: Array, indptr: Array, U: Array, V: Array, offset: Array | None = None) -> Array:
    """Return values - offset[column] - U V^T at the entries of compressed rows.

    Parameters
    ----------
    values, indices, indptr : arrays (N,), (N,) and (m + 1,)
        Compressed rows.
    U, V : float arrays (m, k) and (n, k)
    offset : float array (n,), optional

    Returns
    -------
    float array (N,), dtype of `values`, in the order of the entries
    """
    xp = _arrays.namespace(values, U, V)
    return xp.astype(_residuals(xp, values, indices, indptr, U, V, offset), values.dtype)


def _gradient_reference(
    values: Array,
    indices: Array,
    indptr: Array,
    U: Array,
    V: Array,
    offset: Array | None = None,
    weights: Array | None = None,
) -> tuple[Array, Array]:
    """Return the weighted residuals times V, row by row, and their weighted squares.

    With r = values - offset - U V^T at the entries and w the weights (N,), 1 by default:

    Returns
    -------
    G : float64 array (m, k)
        Row i is sum_t w_t r_t V[j_t]: minus half the gradient of the sum of squares
        with respect to U.
    squares : float64 array (m,)
        sum_t w_t r_t^2.

    Notes
    -----
    One pass over the entries, 4 N k flops; the residuals are not stored.
    """
    xp = _arrays.namespace(values, U, V)
    r = _residuals(xp, values, indices, indptr, U, V, offset)
    weighted = r if weights is None else r * xp.astype(weights, xp.float64)
    terms = weighted[:, None] * xp.astype(xp.take(V, indices, axis=0), xp.float64)
    return _row_sums(xp, terms, indptr), _row_sums(xp, (weighted * r)[:, None], indptr)[:, 0]


def _sizes_reference(values: Array, indices: Array, indptr: Array, U: Array, V: Array) -> tuple[Array, Array]:
    """Return how large the residuals values - U V^T are, row by row; they are not stored.

    Returns
    -------
    squares : float64 array (m,)
        Sum of their squares.
    largest : float64 array (m,)
        Largest absolute value, 0 for a row without entries.
    """
    xp = _arrays.namespace(values, U, V)
    r = _residuals(xp, values, indices, indptr, U, V, None)
    padded = _padded_rows(xp, r[:, None], indptr)[:, :, 0]
    return xp.sum(padded * padded, axis=1), xp.max(xp.abs(padded), axis=1)


def _products(xp: Any, U: Array, V: Array, rows: Array, cols: Array) -> Array:
    left = xp.astype(xp.take(U, rows, axis=0), xp.float64)
    return xp.sum(left * xp.astype(xp.take(V, cols, axis=0), xp.float64), axis=1)


def _residuals(xp: Any, values: Array, indices: Array, indptr: Array, U: Array, V: Array, offset: Any) -> Array:
    target = xp.astype(values, xp.float64)
    if offset is not None:
        target = target - xp.astype(xp.take(offset, indices), xp.float64)
    return target - _products(xp, U, V, _rows_of(xp, values, indptr), indices)


def _rows_of(xp: Any, values: Array, indptr: Array) -> Array:
    places = xp.arange(values.shape[0], dtype=indptr.dtype, device=values.device)
    return xp.searchsorted(indptr, places, side="right") - 1


def _row_sums(xp: Any, terms: Array, indptr: Array) -> Array:
    """Sum runs of terms (N, c)."""
    return xp.sum(_padded_rows(xp, terms, indptr), axis=1)


def _padded_rows(xp: Any, terms: Array, indptr: Array) -> Array:
    """Gather runs of terms (N, c) to one padded row each: (m, longest run, c), zeros beyond the ends."""
    degree = indptr[1:] - indptr[:-1]
    if terms.shape[0] == 0:
        return xp.zeros((degree.shape[0], 1, terms.shape[1]), dtype=xp.float64, device=terms.device)
    order = xp.arange(int(xp.max(degree)), dtype=indptr.dtype, device=indptr.device)[None, :]
    inside = order < degree[:, None]
    place = xp.reshape(xp.where(inside, indptr[:-1][:, None] + order, 0), (-1,))
    padded = xp.reshape(xp.take(terms, place, axis=0), (*inside.shape, terms.shape[1]))
    return xp.where(inside[..., None], padded, xp.zeros_like(padded))


def _predict_cpu(U: np.ndarray, V: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    out = np.empty(len(rows), U.dtype)
    _predict(U, V, rows, cols, out)
    return out


def _residual_cpu(values, indices, indptr, U, V, offset=None):
    out = np.empty(len(values), values.dtype)
    _residual(values, indices, indptr, U, V, _or_empty(offset), _even_rows(indptr), out)
    return out


def _gradient_cpu(values, indices, indptr, U, V, offset=None, weights=None):
    G, squares = np.zeros(U.shape), np.zeros(len(indptr) - 1)
    _gradient(values, indices, indptr, U, V, _or_empty(offset), _or_empty(weights), _even_rows(indptr), G, squares)
    return G, squares


def _sizes_cpu(values, indices, indptr, U, V):
    squares, largest = np.zeros(len(indptr) - 1), np.zeros(len(indptr) - 1)
    _sizes(values, indices, indptr, U, V, _or_empty(None), _even_rows(indptr), squares, largest)
    return squares, largest


def _or_empty(x):
    return np.empty(0) if x is None else x


def _even_rows(indptr):
    """Cut the rows into runs of about equal entries; which run a row falls into does not change its answer."""
    work = indptr + np.arange(len(indptr))
    targets = np.linspace(0, work[-1], PARTS_PER_THREAD * get_num_threads() + 1)
    return np.append(np.searchsorted(work, targets[:-1]), len(indptr) - 1)


@njit(cache=True, inline="always")
def _dot(u, v):
    total = 0.0
    for a in range(len(u)):
        total += np.float64(u[a]) * np.float64(v[a])
    return total


@njit(cache=True, inline="always")
def _left_over(values, indices, U, V, offset, i, t):
    j = indices[t]
    target = np.float64(values[t])
    if len(offset):
        target -= offset[j]
    return target - _dot(U[i], V[j])


@njit(parallel=True, cache=True, fastmath=REASSOCIATE)
def _predict(U, V, rows, cols, out):
    for t in prange(len(rows)):
        out[t] = _dot(U[rows[t]], V[cols[t]])


@njit(parallel=True, cache=True, fastmath=REASSOCIATE)
def _residual(values, indices, indptr, U, V, offset, parts, out):
    for p in prange(len(parts) - 1):
        for i in range(parts[p], parts[p + 1]):
            for t in range(indptr[i], indptr[i + 1]):
                out[t] = _left_over(values, indices, U, V, offset, i, t)


@njit(parallel=True, cache=True, fastmath=REASSOCIATE)
def _gradient(values, indices, indptr, U, V, offset, weights, parts, G, squares):
    for p in prange(len(parts) - 1):
        for i in range(parts[p], parts[p + 1]):
            for t in range(indptr[i], indptr[i + 1]):
                r = _left_over(values, indices, U, V, offset, i, t)
                weighted = r * weights[t] if len(weights) else r
                squares[i] += weighted * r
                row = V[indices[t]]
                for a in range(len(row)):
                    G[i, a] += weighted * row[a]


@njit(parallel=True, cache=True, fastmath=REASSOCIATE)
def _sizes(values, indices, indptr, U, V, offset, parts, squares, largest):
    for p in prange(len(parts) - 1):
        for i in range(parts[p], parts[p + 1]):
            for t in range(indptr[i], indptr[i + 1]):
                r = _left_over(values, indices, U, V, offset, i, t)
                squares[i] += r * r
                largest[i] = max(largest[i], abs(r))


CUDA_THREADS = 64
CUDA_BLOCKS = 4096


def _predict_cuda(U: Array, V: Array, rows: Array, cols: Array) -> Array:
    out = _arrays.namespace(U).empty(len(rows), dtype=U.dtype)
    if len(rows):
        _cuda_predict()[min(CUDA_BLOCKS, -(-len(rows) // CUDA_THREADS)), CUDA_THREADS](U, V, rows, cols, out)
    return out


def _residual_cuda(values: Array, indices: Array, indptr: Array, U: Array, V: Array, offset: Array | None = None) -> Array:
    return _by_rows(values, indices, indptr, U, V, offset, None, (len(values), 0))[0]


def _gradient_cuda(
    values: Array, indices: Array, indptr: Array, U: Array, V: Array, offset: Array | None = None, weights: Array | None = None
) -> tuple[Array, Array]:
    return _by_rows(values, indices, indptr, U, V, offset, weights, (0, U.shape[1]))[1:3]


def _sizes_cuda(values: Array, indices: Array, indptr: Array, U: Array, V: Array) -> tuple[Array, Array]:
    return _by_rows(values, indices, indptr, U, V, None, None, (0, 0))[2:]


def _by_rows(
    values: Array, indices: Array, indptr: Array, U: Array, V: Array, offset: Any, weights: Any, wanted: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
    """Launch a block per row; `wanted` says how many residuals and gradient columns to write: all or none."""
    xp = _arrays.namespace(values)
    m = len(indptr) - 1
    out, G, squares, largest = xp.empty(wanted[0], dtype=values.dtype), xp.zeros((m, wanted[1])), xp.zeros(m), xp.zeros(m)
    offset, weights = (xp.empty(0) if x is None else x for x in (offset, weights))
    if m and len(values):
        _cuda_rows()[min(CUDA_BLOCKS, m), CUDA_THREADS](values, indices, indptr, U, V, offset, weights, out, G, squares, largest)
    return out, G, squares, largest


@functools.cache
def _cuda_predict():  # type: ignore[no-untyped-def]
    global gpu  # a global, because the simulator swaps the globals of a kernel
    from numba import cuda as gpu

    @gpu.jit
    def predict(U, V, rows, cols, out):  # type: ignore[no-untyped-def]
        for t in range(gpu.grid(1), len(rows), gpu.gridsize(1)):
            total = 0.0
            for a in range(U.shape[1]):
                total += np.float64(U[rows[t], a]) * np.float64(V[cols[t], a])
            out[t] = total

    return predict


@functools.cache
def _cuda_rows():  # type: ignore[no-untyped-def]
    global gpu
    from numba import cuda as gpu

    threads = CUDA_THREADS

    @gpu.jit
    def by_rows(values, indices, indptr, U, V, offset, weights, out, G, squares, largest):  # type: ignore[no-untyped-def]
        """Take a row at a time: threads lie along its entries for the residuals, then along columns for the gradient."""
        weighted = gpu.shared.array(threads, np.float64)
        longest = gpu.shared.array(threads, np.float64)
        lane = gpu.threadIdx.x
        for i in range(gpu.blockIdx.x, len(indptr) - 1, gpu.gridDim.x):
            square, most = 0.0, 0.0
            for first in range(indptr[i], indptr[i + 1], threads):
                t = first + lane
                weighted[lane] = 0.0
                if t < indptr[i + 1]:
                    j = indices[t]
                    r = np.float64(values[t]) - (offset[j] if offset.size else 0.0)
                    for a in range(U.shape[1]):
                        r -= np.float64(U[i, a]) * np.float64(V[j, a])
                    if out.size:
                        out[t] = r
                    weighted[lane] = r * weights[t] if weights.size else r
                    square += weighted[lane] * r
                    most = max(most, abs(r))
                gpu.syncthreads()
                for a in range(lane, G.shape[1], threads):
                    part = 0.0
                    for s in range(min(threads, indptr[i + 1] - first)):
                        part += weighted[s] * V[indices[first + s], a]
                    G[i, a] += part
                gpu.syncthreads()
            weighted[lane], longest[lane] = square, most
            gpu.syncthreads()
            if lane == 0:
                for s in range(1, threads):
                    square += weighted[s]
                    most = max(most, longest[s])
                squares[i], largest[i] = square, most
            gpu.syncthreads()

    return by_rows


predict = Kernel(_predict_reference, _predict_cpu, _predict_cuda)
residual = Kernel(_residual_reference, _residual_cpu, _residual_cuda)
gradient = Kernel(_gradient_reference, _gradient_cpu, _gradient_cuda)
sizes = Kernel(_sizes_reference, _sizes_cpu, _sizes_cuda)
