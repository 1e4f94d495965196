"""Vectors of Krylov iterations, one column for each right-hand side: inner products, steps, turns and scales, in one pass by threads.

NumPy stores a temporary array for each operation: the vectors of a step of conjugate gradients for 262144 unknowns take it four times
as long, with several columns some eight times. Sums have parts, whose number is fixed, so that threads do not change a bit. On a GPU the
references run.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel

PARTS = 32
FEW = 1 << 14  # numbers in an array, below which one thread is done before others have begun
_SUMS = {"reassoc", "contract", "nsz"}


def dots_reference(A: Array, B: Array) -> np.ndarray:
    """Return Re a_j^H b_j for each column, on the host."""
    xp = _arrays.namespace(A, B)
    if xp.isdtype(A.dtype, "complex floating"):
        return dots_reference(xp.real(A), xp.real(B)) + dots_reference(xp.imag(A), xp.imag(B))
    return _arrays.to_numpy(xp.sum(A * B, axis=0))


def step_reference(X: Array, R: Array, P: Array, Q: Array, lengths: np.ndarray) -> tuple[Array, Array, np.ndarray]:
    """Return X + P diag(lengths), R - Q diag(lengths) and the squared norms of the columns of the latter."""
    row = _arrays.from_numpy(lengths, X)[None, :]
    R = R - Q * row
    return X + P * row, R, dots_reference(R, R)


def turn_reference(Z: Array, P: Array, ratios: np.ndarray) -> Array:
    """Return Z + P diag(ratios)."""
    return Z + P * _arrays.from_numpy(ratios, Z)[None, :]


def scale_reference(X: Array, factors: np.ndarray) -> Array:
    """Return X diag(factors)."""
    return X * _arrays.from_numpy(factors, X)[None, :]


def dots_cpu(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Add up in compiled code, by threads if there is much; complex or scattered arrays go to the reference."""
    if not _takes(A, B):
        return dots_reference(A, B)
    if A.size < FEW:
        sums = np.zeros(A.shape[1])
        _add_dots(A.reshape(-1), B.reshape(-1), sums)
        return sums
    parts = np.zeros((PARTS, A.shape[1]))
    _dots(A.reshape(-1), B.reshape(-1), A.shape[0], parts)
    return parts.sum(axis=0)


def step_cpu(X: np.ndarray, R: np.ndarray, P: np.ndarray, Q: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step in compiled code, by threads if there is much; complex or scattered arrays go to the reference."""
    if not _takes(X, R, P, Q):
        return step_reference(X, R, P, Q, lengths)
    if X.size < FEW:
        R_new = turn_cpu(R, Q, -lengths)
        return turn_cpu(X, P, lengths), R_new, dots_cpu(R_new, R_new)
    X_new, R_new, parts = np.empty_like(X), np.empty_like(R), np.zeros((PARTS, X.shape[1]))
    _step(*(x.reshape(-1) for x in (X, R, P, Q)), X.shape[0], lengths, X_new.reshape(-1), R_new.reshape(-1), parts)
    return X_new, R_new, parts.sum(axis=0)


def turn_cpu(Z: np.ndarray, P: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Turn in compiled code, by threads if there is much; complex or scattered arrays go to the reference."""
    if not _takes(Z, P):
        return turn_reference(Z, P, ratios)
    out = np.empty_like(Z)
    if Z.size < FEW:
        _add(Z.reshape(-1), P.reshape(-1), ratios, out.reshape(-1))
    else:
        _turn(Z.reshape(-1), P.reshape(-1), Z.shape[0], ratios, out.reshape(-1))
    return out


def scale_cpu(X: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Multiply by threads; little is done at once by NumPy, and so are complex or scattered arrays."""
    if not _takes(X) or X.size < FEW:
        return scale_reference(X, factors)
    out = np.empty_like(X)
    _scale(X.reshape(-1), X.shape[0], factors, out.reshape(-1))
    return out


def _takes(*arrays: np.ndarray) -> bool:
    return all(x.dtype == np.float64 and x.flags.c_contiguous for x in arrays)


@njit(parallel=True, cache=True)
def _dots(A, B, n, sums):  # type: ignore[no-untyped-def]
    columns = sums.shape[1]
    for part in prange(PARTS):
        first, last = n * part // PARTS * columns, n * (part + 1) // PARTS * columns
        _add_dots(A[first:last], B[first:last], sums[part])


@njit(cache=True, fastmath=_SUMS)
def _add_dots(a, b, sums):  # type: ignore[no-untyped-def]
    """Work on plain vectors, which compilers turn into vector code where they do not for parts of larger ones."""
    columns = sums.size
    if columns == 1:
        total = 0.0
        for i in range(a.size):
            total += a[i] * b[i]
        sums[0] = total
        return
    for at in range(0, a.size, columns):
        left, right = a[at : at + columns], b[at : at + columns]
        for j in range(columns):
            sums[j] += left[j] * right[j]


@njit(parallel=True, cache=True)
def _step(X, R, P, Q, n, lengths, X_new, R_new, sums):  # type: ignore[no-untyped-def]
    columns = sums.shape[1]
    for part in prange(PARTS):
        first, last = n * part // PARTS * columns, n * (part + 1) // PARTS * columns
        _add(X[first:last], P[first:last], lengths, X_new[first:last])
        r = R_new[first:last]
        _add(R[first:last], Q[first:last], -lengths, r)
        _add_dots(r, r, sums[part])


@njit(parallel=True, cache=True)
def _turn(Z, P, n, ratios, out):  # type: ignore[no-untyped-def]
    columns = ratios.size
    for part in prange(PARTS):
        first, last = n * part // PARTS * columns, n * (part + 1) // PARTS * columns
        _add(Z[first:last], P[first:last], ratios, out[first:last])


@njit(parallel=True, cache=True)
def _scale(X, n, factors, out):  # type: ignore[no-untyped-def]
    columns = factors.size
    for part in prange(PARTS):
        first, last = n * part // PARTS * columns, n * (part + 1) // PARTS * columns
        _multiply(X[first:last], factors, out[first:last])


@njit(cache=True)
def _multiply(x, factors, out):  # type: ignore[no-untyped-def]
    columns = factors.size
    for at in range(0, x.size, columns):
        left, here = x[at : at + columns], out[at : at + columns]
        for j in range(columns):
            here[j] = left[j] * factors[j]


@njit(cache=True)
def _add(x, d, factors, out):  # type: ignore[no-untyped-def]
    columns = factors.size
    if columns == 1:
        factor = factors[0]
        for i in range(x.size):
            out[i] = x[i] + factor * d[i]
        return
    for at in range(0, x.size, columns):
        left, right, here = x[at : at + columns], d[at : at + columns], out[at : at + columns]
        for j in range(columns):
            here[j] = left[j] + factors[j] * right[j]


dots = Kernel(dots_reference, dots_cpu)
step = Kernel(step_reference, step_cpu)
turn = Kernel(turn_reference, turn_cpu)
scale = Kernel(scale_reference, scale_cpu)
