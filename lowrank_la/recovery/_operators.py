"""Linear measurements of a matrix: y_l = <A_l, U V^H>, never through the matrix where its factors will do.

The convention is that of the trace: <A, M> = sum conj(A_ij) M_ij, so that the adjoint is z -> sum z_l A_l.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from lowrank_la import _arrays, _threads, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, conj, is_complex, promote

SMALL = 1 << 18  # entries of `rows_at` that are sooner read than products are called
TILE = 1 << 18  # entries of a dense array that are widened at a time: they stay in the cache


class Measurements(ABC):
    """N linear measurements of (m, n) matrices: what `recover` asks of an operator.

    Attributes
    ----------
    shape : tuple of int
        (N, m, n).

    Notes
    -----
    Any object with this `shape` and these three methods will do; it then gets and gives arrays of the library that `y` belongs to.
    """

    shape: tuple[int, int, int]

    def apply(self, U: Array, V: Array) -> Array:
        """Return <A_l, U V^H>, an array (N,), for factors (m, k) and (n, k)."""
        door, [U, V] = promote("apply", U=U, V=V)
        return door.leave_wide(self._apply(U, V))

    def adjoint_matmat(self, z: Array, V: Array) -> Array:
        """Return (sum z_l A_l) V, an array (m, k)."""
        door, [V, z] = promote("adjoint_matmat", V=V, z=z)
        return door.leave_wide(self._sides(z, None, V)[0])

    def adjoint_rmatmat(self, z: Array, U: Array) -> Array:
        """Return (sum z_l A_l)^H U, an array (n, k)."""
        door, [U, z] = promote("adjoint_rmatmat", U=U, z=z)
        return door.leave_wide(self._sides(z, U, None)[1])

    @abstractmethod
    def rows_at(self, P: Array, Q: Array) -> tuple[Array, Array] | None:
        """Return A_l Q and A_l^H P, arrays (N, m r) and (N, n r), which is all that products with dU Q^H + P dV^H need of the A_l.

        None where they would take more memory than they are worth.
        """

    @abstractmethod
    def _apply(self, U: Array, V: Array) -> Array:
        """Return the measurements of U V^H, for arrays inside the door."""

    @abstractmethod
    def _sides(self, z: Array, U: Array | None, V: Array | None) -> tuple[Any, Any]:
        """Return (sum z_l A_l) V and (sum z_l A_l)^H U, each only if its factor is given."""


def sides(op: Any, z: Array, U: Array | None, V: Array | None) -> tuple[Any, Any]:
    """Return both products with sum z_l A_l; measurements of this module read their data once for the two of them."""
    if isinstance(op, Measurements):
        return op._sides(z, U, V)
    return None if V is None else op.adjoint_matmat(z, V), None if U is None else op.adjoint_rmatmat(z, U)


def entries(op: Any) -> int:
    """Count the numbers that a product with measurements of this module reads; 0 for those of others."""
    if isinstance(op, Dense):
        return math.prod(op.shape)
    return op.shape[0] * (op.shape[1] + op.shape[2]) if isinstance(op, RankOne) else 0


class Dense(Measurements):
    """Matrices A_l given by their entries, an array (N, m, n)."""

    def __init__(self, A: Array) -> None:
        self.shape = tuple(A.shape)
        self.A = _arrays.namespace(A).reshape(A, (A.shape[0], -1))

    def _apply(self, U: Array, V: Array) -> Array:
        xp = _arrays.namespace(self.A, U, V)
        M = conj(xp.reshape(U @ adjoint(V), (-1,)))
        return conj(xp.concat([A @ M for _, A in self._tiles(M.dtype)]))  # reads A as it lies

    def _sides(self, z: Array, U: Array | None, V: Array | None) -> tuple[Any, Any]:
        D = sum(z[first : first + A.shape[0]] @ A for first, A in self._tiles(z.dtype))
        D = _arrays.namespace(self.A, z).reshape(D, self.shape[1:])
        return None if V is None else D @ V, None if U is None else adjoint(D) @ U

    def rows_at(self, P: Array, Q: Array) -> tuple[Array, Array]:
        """Return them always: they are smaller than A by r (m + n) / (m n)."""
        xp, N = _arrays.namespace(self.A, P), self.shape[0]
        tiles = [xp.reshape(A, (-1, *self.shape[1:])) for _, A in self._tiles(P.dtype)]
        left, right = xp.concat([A @ Q for A in tiles]), xp.concat([adjoint(A) @ P for A in tiles])
        return xp.reshape(left, (N, -1)), xp.reshape(right, (N, -1))

    def _tiles(self, dtype: Any) -> Iterator[tuple[int, Array]]:
        """Return A whole, or tile by tile if it has to be widened: single precision takes half the memory, and five times the time."""
        if self.A.dtype == dtype:
            return iter([(0, self.A)])
        xp, height = _arrays.namespace(self.A), max(1, TILE // self.A.shape[1])
        return ((first, xp.astype(A, dtype)) for first, A in _arrays.row_blocks(self.A, height))


class Outer(Measurements):
    """Matrices A_l = a_l b_l^H."""

    @abstractmethod
    def _vectors(self, like: Array) -> tuple[Array, Array]:
        """Return the rows a_l (N, m) and b_l (N, n)."""

    def rows_at(self, P: Array, Q: Array) -> tuple[Array, Array] | None:
        (N, m, n), xp = self.shape, _arrays.namespace(P)
        if N * (m + n) * P.shape[1] > SMALL:
            return None
        a, b = (xp.astype(x, P.dtype, copy=False) for x in self._vectors(P))
        left, right = a[:, :, None] * (conj(b) @ Q)[:, None, :], b[:, :, None] * (conj(a) @ P)[:, None, :]
        return xp.reshape(left, (N, -1)), xp.reshape(right, (N, -1))


class RankOne(Outer):
    """Matrices A_l = a_l b_l^H, the rows of two arrays (N, m) and (N, n)."""

    def __init__(self, a: Array, b: Array) -> None:
        self.shape = (a.shape[0], a.shape[1], b.shape[1])
        self.a, self.b = a, b

    def _vectors(self, like: Array) -> tuple[Array, Array]:
        return self.a, self.b

    def _apply(self, U: Array, V: Array) -> Array:
        xp = _arrays.namespace(self.a, U, V)
        return xp.sum((conj(self.a) @ U) * conj(conj(self.b) @ V), axis=1)

    def _sides(self, z: Array, U: Array | None, V: Array | None) -> tuple[Any, Any]:
        xp = _arrays.namespace(self.a, z)
        left = None if V is None else xp.matrix_transpose(self.a) @ (z[:, None] * (conj(self.b) @ V))
        right = None if U is None else xp.matrix_transpose(self.b) @ (conj(z)[:, None] * (conj(self.a) @ U))
        return left, right


class EntryMask(Outer):
    """Single entries of the matrix, at integer arrays `rows` and `cols` (N,)."""

    def __init__(self, rows: Array, cols: Array, shape: tuple[int, int]) -> None:
        self.shape = (rows.shape[0], *shape)
        self.rows, self.cols = rows, cols
        self._by_rows, self._by_cols = _compress(rows, cols, shape[0]), _compress(cols, rows, shape[1])

    def _vectors(self, like: Array) -> tuple[Array, Array]:
        return _unit(self.rows, self.shape[1], like), _unit(self.cols, self.shape[2], like)

    def _apply(self, U: Array, V: Array) -> Array:
        with _threads.kernels_for(2.0 * self.shape[0] * U.shape[1]):
            return self._entries(U, V)

    def _entries(self, U: Array, V: Array) -> Array:
        xp, place = _arrays.namespace(U, V), (self.rows, self.cols)
        if not is_complex(U):
            return kernels.pairs.predict(U, V, *place)
        (Ur, Ui), (Vr, Vi) = ((xp.real(X), xp.imag(X)) for X in (U, V))
        right = xp.concat([Vr, Vi], axis=1)
        real = kernels.pairs.predict(xp.concat([Ur, Ui], axis=1), right, *place)
        return _complex(real, kernels.pairs.predict(xp.concat([Ui, -Ur], axis=1), right, *place), U)

    def _sides(self, z: Array, U: Array | None, V: Array | None) -> tuple[Any, Any]:
        return None if V is None else _product(z, *self._by_rows, V), None if U is None else _product(conj(z), *self._by_cols, U)


class Fourier(Outer):
    """Coefficients of the unitary two-dimensional Fourier transform: entries of F_m M F_n^T, whose factors are transforms of ours."""

    def __init__(self, rows: Array, cols: Array, shape: tuple[int, int]) -> None:
        self.mask = EntryMask(rows, cols, shape)
        self.shape = self.mask.shape

    def _vectors(self, like: Array) -> tuple[Array, Array]:
        a, b = self.mask._vectors(like)
        return conj(_transform(a.T)).T, _transform(b.T).T

    def _apply(self, U: Array, V: Array) -> Array:
        return self.mask._apply(_transform(U), conj(_transform(conj(V))))

    def _sides(self, z: Array, U: Array | None, V: Array | None) -> tuple[Any, Any]:
        U = None if U is None else _transform(U)
        V = None if V is None else conj(_transform(conj(V)))
        left, right = self.mask._sides(z, U, V)
        return None if V is None else _transform(left, inverse=True), None if U is None else conj(_transform(conj(right), inverse=True))


def _unit(ids: Array, length: int, like: Array) -> Array:
    """Return unit vectors as rows."""
    xp = _arrays.namespace(like)
    return xp.astype(ids[:, None] == xp.arange(length, dtype=ids.dtype, device=ids.device)[None, :], like.dtype)


def _transform(X: Array, *, inverse: bool = False) -> Array:
    """Transform columns by the unitary matrix F, or by its inverse."""
    xp = _arrays.namespace(X)
    if not is_complex(X):
        X = xp.astype(X, xp.complex64 if X.dtype == xp.float32 else xp.complex128)
    return (xp.fft.ifft if inverse else xp.fft.fft)(X, axis=0, norm="ortho")


def _compress(rows: Array, cols: Array, height: int) -> tuple[Array, Array, Array]:
    """Return the order that sorts by rows, the columns in that order, and where each row begins."""
    xp = _arrays.namespace(rows)
    order = xp.argsort(rows, stable=True)
    indptr = xp.searchsorted(xp.take(rows, order), xp.arange(height + 1, dtype=rows.dtype, device=rows.device))
    return order, xp.take(cols, order), indptr


def _product(z: Array, order: Array, indices: Array, indptr: Array, X: Array) -> Array:
    """Return Z X for the sparse matrix with entries z."""
    xp = _arrays.namespace(z, X)
    z = xp.take(z, order)
    if not is_complex(X):
        return kernels.sparse_product.times(xp.astype(z, X.dtype, copy=False), indices, indptr, X)
    k, both = X.shape[1], xp.concat([xp.real(X), xp.imag(X)], axis=1)
    real = kernels.sparse_product.times(xp.real(z) if is_complex(z) else z, indices, indptr, both)
    imag = kernels.sparse_product.times(xp.imag(z), indices, indptr, both) if is_complex(z) else xp.zeros_like(real)
    return _complex(real[:, :k] - imag[:, k:], real[:, k:] + imag[:, :k], X)


def _complex(real: Array, imag: Array, like: Array) -> Array:
    xp = _arrays.namespace(real)
    out = xp.astype(real, like.dtype)
    return out + xp.asarray(1j, dtype=like.dtype, device=like.device) * xp.astype(imag, like.dtype)
