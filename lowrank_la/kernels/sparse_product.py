"""Compressed rows times dense matrices: A X, A^H Y, and A^H (A X) in one pass that never stores A X.

The dense matrix is cut into panels of up to four vectors of columns, one sum of which stands
in registers: a row of A X is gathered there and, for A^H (A X), at once scattered to the rows
that its entries name. The scattered sums have parts, one for each range of rows of A, whose
number depends on the sizes alone. For a 1e6 x 1e5 matrix with 10 entries a row and 30 columns
SciPy's loops take over twice as long for A X, three times as long for A^H (A X).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows, _tile
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel

WIDEST = 4  # vectors of a panel
FEW_PRODUCTS = 1 << 18  # below it SciPy's loops end before threads have begun
_RANGES = 64  # of rows, where each writes its own part of the answer
_PARTS = 16  # of a sum over rows
_PARTS_BYTES = 1 << 26  # of all parts together, if they are more than two: scattered sums slow down beyond the cache
_FULL = 4  # a part of a sum should get so many entries for each of its rows


def _times_reference(values: Array, indices: Array, indptr: Array, X: Array) -> Array:
    """Return A X.

    Parameters
    ----------
    values, indices, indptr : arrays (N,), (N,) and (n + 1,)
        Compressed rows of A, in any order inside a row.
    X : array (d, l)
        Products and sums are computed in its dtype.

    Returns
    -------
    array (n, l)
    """
    if _arrays.engine_of(values) == "reference":  # a library without sparse matrices
        host = (_arrays.to_numpy(x) for x in (values, indices, indptr, X))
        return _arrays.from_numpy(_times_reference(*host), X)
    return _matrix(values, indices, indptr, X.shape[0], X) @ X


def _adjoint_reference(values: Array, indices: Array, indptr: Array, Y: Array, columns: int) -> Array:
    """Return A^H Y for A with so many columns."""
    return _matrix(values, indices, indptr, columns, Y).conj().T @ Y


def _gram_reference(values: Array, indices: Array, indptr: Array, X: Array, row: Array | None = None) -> tuple[Array, Array]:
    """Return A^H W and the column sums of W, where W = A X - 1 row.

    Parameters
    ----------
    values, indices, indptr, X
        As for A X.
    row : array (l,), optional
        Zero by default.

    Returns
    -------
    array (d, l) and array (l,)
    """
    xp = _arrays.namespace(values)
    A = _matrix(values, indices, indptr, X.shape[0], X)
    W = A @ X if row is None else A @ X - row[None, :]
    return A.conj().T @ W, xp.sum(W, axis=0)


def _matrix(values: Array, indices: Array, indptr: Array, columns: int, X: Array) -> Any:
    """Give the sparse matrix in the dtype of X, but complex entries to a real X."""
    if values.dtype.kind == X.dtype.kind:
        values = values.astype(X.dtype, copy=False)
    sparse = importlib.import_module("scipy.sparse" if isinstance(values, np.ndarray) else "cupyx.scipy.sparse")
    return sparse.csr_matrix((values, indices, indptr), shape=(indptr.shape[0] - 1, columns))


def _times_cpu(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return A X, ranges of rows side by side."""
    if _for_scipy(values, X):
        return _times_reference(values, indices, indptr, X)
    Y = np.empty((indptr.size - 1, X.shape[1]), X.dtype)
    _times(*_memory(values, indices, indptr), _edges(indptr, _RANGES), _packed(X, 1), Y)
    return Y


def _adjoint_cpu(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, Y: np.ndarray, columns: int) -> np.ndarray:
    """Return A^H Y, a sum over ranges of rows."""
    if _for_scipy(values, Y):
        return _adjoint_reference(values, indices, indptr, Y, columns)
    parts = _parts(values, columns, Y)
    Z = _sums(parts, columns, Y.shape[1], Y.dtype)
    _adjoint(*_memory(values, indices, indptr), _edges(indptr, parts), *_rows.flat(Y), Y.shape[1], Z)
    return _joined(Z, columns, Y.shape[1])


def _gram_cpu(
    values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, X: np.ndarray, row: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return A^H W and the column sums of W = A X - 1 row; no row of W outlives its use."""
    if _for_scipy(values, X):
        return _gram_reference(values, indices, indptr, X, row)
    d, columns = X.shape
    parts = _parts(values, d, X)
    Z = _sums(parts, d, columns, X.dtype)
    start = _packed(np.zeros((1, columns), X.dtype) if row is None else -row[None, :].astype(X.dtype), parts)
    sums = np.zeros((parts, *start.shape), X.dtype)
    _gram(*_memory(values, indices, indptr), _edges(indptr, parts), _packed(X, parts), start, Z, sums)
    return _joined(Z, d, columns), _joined(sums, 1, columns)[0]


def _for_scipy(values: np.ndarray, X: np.ndarray) -> bool:
    """Say whether there is little to do, or something that the loops do not know."""
    return values.size * X.shape[1] < FEW_PRODUCTS or not _rows.is_plain(values, X)


def _memory(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """View arrays as one type each, which compiles once."""
    return tuple(_rows.flat(x[:, None])[0] for x in arrays)


def _edges(indptr: np.ndarray, parts: int) -> np.ndarray:
    """Cut the rows into ranges with about the same number of entries."""
    edges = np.searchsorted(indptr, np.arange(parts + 1) * int(indptr[-1]) // parts)
    edges[0], edges[-1] = 0, indptr.size - 1
    return edges


def _parts(values: np.ndarray, rows: int, X: np.ndarray) -> int:
    """Count the parts of a sum with so many rows and the columns of X; together they take no more memory than the sparse matrix."""
    bytes_each = rows * -(-X.shape[1] // _tile.lanes_of(X.dtype)) * _tile.VECTOR_BYTES
    few = min(values.size // (_FULL * rows), values.size * (values.itemsize + 4) // bytes_each)
    return max(1, min(_PARTS, few, max(2, _PARTS_BYTES // bytes_each)))


def _cut(columns: int, dtype: np.dtype, parts: int) -> tuple[int, int]:
    """Cut columns into panels, narrower ones where the parts are too few for the threads: (panels, width)."""
    lanes = _tile.lanes_of(dtype)
    vectors = -(-columns // lanes)
    panels = max(-(-vectors // WIDEST), min(vectors, -(-get_num_threads() // parts)))
    width = -(-vectors // panels)
    return -(-vectors // width), width * lanes


def _packed(X: np.ndarray, parts: int) -> np.ndarray:
    """Copy X to panels of whole vectors that start on cache lines: (panels, rows, width)."""
    packed = _zeros(1, X.shape[0], _cut(X.shape[1], X.dtype, parts), X.dtype)[0]
    _pack(*_rows.flat(X), X.shape[1], packed)
    return packed


def _sums(parts: int, rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
    return _zeros(parts, rows, _cut(columns, dtype, parts), dtype)


def _zeros(parts: int, rows: int, cut: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Allocate (parts, panels, rows, width) that start on a cache line; NumPy asks for large pages, Numba would not."""
    panels, width = cut
    size = parts * panels * rows * width
    space = np.empty(size + 64 // dtype.itemsize, dtype)
    first = -space.ctypes.data % 64 // dtype.itemsize
    zeros = space[first : first + size].reshape(parts, panels, rows, width)
    _clear(zeros.reshape(parts * panels * rows, width))
    return zeros


def _joined(Z: np.ndarray, rows: int, columns: int) -> np.ndarray:
    out = np.empty((rows, columns), Z.dtype)
    _join(Z, out)
    return out


_gather1, _gather2, _gather3, _gather4 = (_tile.gather(vectors) for vectors in (1, 2, 3, 4))
_scatter1, _scatter2, _scatter3, _scatter4 = (_tile.scatter(vectors) for vectors in (1, 2, 3, 4))


@njit(parallel=True, cache=True)
def _times(values, indices, indptr, edges, X, Y):  # type: ignore[no-untyped-def]
    panels, d, width = X.shape
    for task in prange(panels * (edges.size - 1)):
        panel, p = task % panels, task // panels
        y = aligned(1, width, X[0, 0])[0]
        left = panel * width
        columns = min(width, Y.shape[1] - left)
        for i in range(edges[p], edges[p + 1]):
            y[:] = 0
            _gather(indptr[i + 1] - indptr[i], X, panel * d * width, indices, values, indptr[i], y)
            for j in range(columns):
                Y[i, left + j] = y[j]


@njit(parallel=True, cache=True)
def _adjoint(values, indices, indptr, edges, Y, corner, down, across, columns, Z):  # type: ignore[no-untyped-def]
    parts, panels, rows, width = Z.shape
    for task in prange(parts * panels):
        panel, p = task % panels, task // panels
        y = aligned(1, width, Z[0, 0, 0])[0]
        left = panel * width
        for i in range(edges[p], edges[p + 1]):
            for j in range(min(width, columns - left)):
                y[j] = Y[corner + i * down + (left + j) * across]
            _scatter(indptr[i + 1] - indptr[i], y, indices, values, indptr[i], Z, task * rows * width)


@njit(parallel=True, cache=True)
def _gram(values, indices, indptr, edges, X, start, Z, sums):  # type: ignore[no-untyped-def]
    parts, panels, rows, width = Z.shape
    for task in prange(parts * panels):
        panel, p = task % panels, task // panels
        y, total = aligned(2, width, Z[0, 0, 0])
        for i in range(edges[p], edges[p + 1]):
            y[:] = start[panel, 0]
            _gather(indptr[i + 1] - indptr[i], X, panel * rows * width, indices, values, indptr[i], y)
            total += y
            _scatter(indptr[i + 1] - indptr[i], y, indices, values, indptr[i], Z, task * rows * width)
        sums[p, panel, 0] = total


@njit(inline="always")
def _gather(count, X, corner, indices, values, first, y):  # type: ignore[no-untyped-def]
    """Add to y the rows of a panel of X that `count` entries name."""
    width = y.size
    vectors = width * y.itemsize // _tile.VECTOR_BYTES
    if vectors == 4:
        _gather4(count, X, corner, width, indices, values, first, y, 0)
    elif vectors == 3:
        _gather3(count, X, corner, width, indices, values, first, y, 0)
    elif vectors == 2:
        _gather2(count, X, corner, width, indices, values, first, y, 0)
    else:
        _gather1(count, X, corner, width, indices, values, first, y, 0)


@njit(inline="always")
def _scatter(count, y, indices, values, first, Z, corner):  # type: ignore[no-untyped-def]
    """Add multiples of y to the rows of a panel of Z that `count` entries name."""
    width = y.size
    vectors = width * y.itemsize // _tile.VECTOR_BYTES
    if vectors == 4:
        _scatter4(count, y, 0, indices, values, first, Z, corner, width)
    elif vectors == 3:
        _scatter3(count, y, 0, indices, values, first, Z, corner, width)
    elif vectors == 2:
        _scatter2(count, y, 0, indices, values, first, Z, corner, width)
    else:
        _scatter1(count, y, 0, indices, values, first, Z, corner, width)


@njit(parallel=True, cache=True)
def _clear(Z):  # type: ignore[no-untyped-def]
    """Zero memory in order, which leaves it in the caches for what is scattered later."""
    for i in prange(Z.shape[0]):
        Z[i, :] = 0


@njit(parallel=True, cache=True)
def _pack(X, corner, down, across, columns, packed):  # type: ignore[no-untyped-def]
    _, rows, width = packed.shape
    for i in prange(rows):
        for j in range(columns):
            packed[j // width, i, j % width] = X[corner + i * down + j * across]


@njit(parallel=True, cache=True)
def _join(Z, out):  # type: ignore[no-untyped-def]
    """Add the parts in order and drop the padding."""
    width = Z.shape[3]
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            total = Z[0, j // width, i, j % width]
            for p in range(1, Z.shape[0]):
                total += Z[p, j // width, i, j % width]
            out[i, j] = total


times = Kernel(_times_reference, _times_cpu)
adjoint = Kernel(_adjoint_reference, _adjoint_cpu)
gram = Kernel(_gram_reference, _gram_cpu)
