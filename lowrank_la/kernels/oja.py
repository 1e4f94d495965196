"""Oja's iteration v <- v + g a^H (a v), one row a after the other, for several vectors v with learning rates g of their own.

Dense rows go in blocks: within one, the multiples of its rows that are added to v solve a triangular system with the Gram
matrix of the rows, so that all the rest is matrix products. Sparse rows go one by one, for all vectors side by side. The
systems are solved by substitution, which keeps the digits of what grows fast; NumPy's solver, which pivots, loses them, and takes
three to five times longer. For 23 vectors of 50000 entries, and 50 entries in a row, the loop takes a tenth of the time of
SciPy's products of blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _rows
from lowrank_la.kernels._engine import Kernel

BLOCK = 64  # rows
ROOM = 300.0  # logarithm of how much a vector may grow before it is scaled down
PANEL = 8  # vectors that a thread carries through sparse rows
LONG = 1e100  # squared length at which it scales one of them down


def reference(V: Array, X: Any, rates: np.ndarray) -> tuple[Array, Array]:
    """Advance vectors over rows.

    Parameters
    ----------
    V : array (d, J), float64 or complex128
        Unit vectors.
    X : array (n, d), or sparse matrix in compressed rows
        The rows. Products are in the dtype of V.
    rates : array (J,), float64, on the host
        Not negative, and at most 1e100 / |a|^2 for each row a.

    Returns
    -------
    V : array (d, J)
        Unit vectors.
    growth : array (J,), float64
        Logarithms of the lengths they had before they were scaled down.
    """
    xp, growth = _arrays.namespace(V), _nothing(V)
    g = xp.astype(_arrays.from_numpy(rates, V), V.dtype)
    for _, block in _arrays.row_blocks(X, BLOCK):
        rows = _wide(block.toarray() if _arrays.is_sparse(block) else block, V)
        for i in range(rows.shape[0]):
            a = rows[i : i + 1, :]
            V, growth = _unit(V + _arrays.adjoint_of(xp, a) @ (g * (a @ V)), growth)
    return V, growth


def cpu(V: np.ndarray, X: Any, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Go through dense rows in blocks, and through sparse rows one by one."""
    if not _arrays.is_sparse(X):
        return _in_blocks(V, X, rates)
    values = X.data.astype(np.promote_types(X.dtype, np.float64), copy=False)
    V, growth = V.copy(), _nothing(V)
    _through(*(_rows.flat(x[:, None])[0] for x in (values, X.indices, X.indptr)), rates, V, growth)
    return _unit(V, growth)


def _in_blocks(V: np.ndarray, X: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    growth, first, fastest = _nothing(V), 0, np.max(rates, initial=0.0)
    while first < X.shape[0]:
        rows = _wide(X[first : first + BLOCK], V)
        G = rows @ rows.conj().T
        most = np.log1p(fastest * np.real(np.diagonal(G)))
        count = max(1, int(np.searchsorted(np.cumsum(most), ROOM, side="right")))
        C = rows[:count] @ V
        _substitute(np.ascontiguousarray(G), rates, C)
        V, growth = _unit(V + rows[:count].conj().T @ C, growth)
        first += count
    return V, growth


def _nothing(V: Array) -> Array:
    return _arrays.namespace(V).zeros(V.shape[1], dtype=_arrays.namespace(V).float64, device=V.device)


def _wide(rows: Array, V: Array) -> Array:
    return _arrays.namespace(V).astype(rows, V.dtype, copy=False)


def _unit(V: Array, growth: Array) -> tuple[Array, Array]:
    xp = _arrays.namespace(V)
    size = xp.linalg.vector_norm(V, axis=0)
    return V / size, growth + xp.log(size)


@njit(cache=True)
def _substitute(G, rates, C):  # type: ignore[no-untyped-def]
    """Overwrite p with c, c_i = g (p_i + sum_{l < i} G_il c_l), in each column."""
    for i in range(C.shape[0]):
        for before in range(i):
            for j in range(C.shape[1]):
                C[i, j] += G[i, before] * C[before, j]
        for j in range(C.shape[1]):
            C[i, j] *= rates[j]


@njit(parallel=True, cache=True)
def _through(values, indices, indptr, rates, V, growth):  # type: ignore[no-untyped-def]
    """Take row by row; squared lengths follow by recurrence, and a long vector is scaled down."""
    vectors = V.shape[1]
    for panel in prange((vectors + PANEL - 1) // PANEL):
        left = panel * PANEL
        width = min(PANEL, vectors - left)
        p, square = np.empty(width, V.dtype), np.ones(width)
        for i in range(indptr.size - 1):
            energy = 0.0
            p[:] = 0
            for e in range(indptr[i], indptr[i + 1]):
                energy += abs(values[e]) ** 2
                for j in range(width):
                    p[j] += values[e] * V[indices[e], left + j]
            for j in range(width):
                g = rates[left + j]
                square[j] += (2.0 + g * energy) * g * abs(p[j]) ** 2
                p[j] *= g
            for e in range(indptr[i], indptr[i + 1]):
                a = np.conj(values[e])
                for j in range(width):
                    V[indices[e], left + j] += a * p[j]
            for j in range(width):
                if square[j] > LONG:
                    V[:, left + j] /= np.sqrt(square[j])
                    growth[left + j] += 0.5 * np.log(square[j])
                    square[j] = 1.0


advance = Kernel(reference, cpu)
