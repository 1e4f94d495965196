"""What a least-squares problem can be asked: a sketch, a Gram matrix, a gradient, a product. One pass over A each."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array

U = 2.0**-53  # sums over rows and everything d x d is in float64


@dataclass(frozen=True)
class Rows(ABC):
    """The rows of D A and D B, D = diag(scale). All sums over rows come back in float64 (complex128)."""

    A: Any
    B: Array
    scale: Array | None
    shape: tuple[int, int]

    @abstractmethod
    def sketch(self, S: Any) -> tuple[Array, Array]:
        """Return S D A and S D B."""

    @abstractmethod
    def sketch_matrix(self, S: Any) -> Array:
        """Return S D A alone."""

    @abstractmethod
    def gram(self, P: Array, fast: bool) -> tuple[Array, Array]:
        """Return Q^H Q and Q^H D B for Q = D A P, P upper triangular."""

    @abstractmethod
    def gradient(self, X: Array, fine: bool) -> tuple[Array, Array]:
        """Return A^H D R and the squared column norms of R = D (B - A X), `fine` in twice the precision if it can be had."""

    @abstractmethod
    def gradient_rounding(self, fine: bool) -> tuple[float, float]:
        """Return s and t: a residual has errors up to s times the sum of its terms, g up to t |A|^H |R| + u |g| beyond those."""

    @abstractmethod
    def product(self, V: Array) -> Array:
        """Return A^H D^2 A V."""

    def fast_rounding(self) -> float:
        """Bound the relative error of a Gram matrix with float32 sums."""
        return 2.0**-24 * (kernels.whiten.FLUSH * kernels.whiten.TILE + 8)


@dataclass(frozen=True)
class BlockRows(Rows):
    """Rows that lie in memory, on disk or come block by block; a dense or sparse matrix is one block."""

    def _blocks(self) -> Iterator[tuple[int, Any, Array, Array | None]]:
        parts = _arrays.row_blocks(self.A) if _arrays.is_row_blocks(self.A) else [(0, self.A)]
        for offset, A in parts:
            here = slice(offset, offset + A.shape[0])
            yield offset, A, self.B[here, :], None if self.scale is None else self.scale[here]

    def sketch(self, S: Any) -> tuple[Array, Array]:
        return _sums(S.apply_pair(A, B, row_offset=at, scale=s) for at, A, B, s in self._blocks())

    def sketch_matrix(self, S: Any) -> Array:
        return _sums((S.apply(A, row_offset=at, scale=s),) for at, A, _, s in self._blocks())[0]

    def gram(self, P: Array, fast: bool) -> tuple[Array, Array]:
        return _sums(
            _sparse_gram(A, P, B, s) if _arrays.is_sparse(A) else kernels.whiten.gram(A, P, B, s, fast) for _, A, B, s in self._blocks()
        )

    def gradient(self, X: Array, fine: bool) -> tuple[Array, Array]:
        if fine:
            return self._fine_gradient(X)
        dense = kernels.residual.gradient
        return _sums((_sparse_gradient if _arrays.is_sparse(A) else dense)(A, X, B, s) for _, A, B, s in self._blocks())

    def _fine_gradient(self, X: Array) -> tuple[Array, Array]:
        """Keep both parts of the gradient until all blocks are in: it is much smaller than its parts."""
        kernel = kernels.fine_gradient
        answers = [(kernel.csr if _arrays.is_sparse(A) else kernel.gradient)(A, X, B, s) for _, A, B, s in self._blocks()]
        high, low = functools.reduce(kernel.add, [answer[:2] for answer in answers])
        return high + low, sum(answer[2] for answer in answers)

    def gradient_rounding(self, fine: bool) -> tuple[float, float]:
        n, d = self.shape
        if fine and _arrays.is_array(self.A):
            return gamma(3 * d + 10) ** 2, gamma(kernels.fine_gradient.sum_length(self.A, self.B.shape[1])) ** 2
        if fine:
            return gamma(3 * d + 10) ** 2, gamma(3 * n + 20) ** 2
        return gamma(d + 8), gamma(n + 8)

    def product(self, V: Array) -> Array:
        return _sums(
            (_sparse_product(A, V, s) if _arrays.is_sparse(A) else kernels.normal.product(A, V, s),) for _, A, _, s in self._blocks()
        )[0]


@dataclass(frozen=True)
class OperatorRows(Rows):
    """Rows known only through products with A and A^H."""

    _WIDTH: ClassVar[int] = 32  # vectors per product: few calls, little memory

    def _scaled(self, R: Array, power: int = 1) -> Array:
        return R if self.scale is None else self.scale[:, None] ** power * R

    def sketch(self, S: Any) -> tuple[Array, Array]:
        return self.sketch_matrix(S), S.apply(self.B, scale=self.scale)

    def sketch_matrix(self, S: Any) -> Array:
        xp = _arrays.namespace(self.B)
        rows = []
        eye = xp.eye(S.shape[0], dtype=_arrays.real_dtype(xp, self.B.dtype), device=self.B.device)
        for first in range(0, S.shape[0], self._WIDTH):
            columns = S.adjoint(eye[:, first : min(first + self._WIDTH, S.shape[0])])
            rows.append(_arrays.adjoint_of(xp, self.A.rmatmat(self._scaled(columns))))
        return xp.concat(rows)

    def gram(self, P: Array, fast: bool) -> tuple[Array, Array]:
        del fast
        xp = _arrays.namespace(self.B)
        Ph = _arrays.adjoint_of(xp, P)
        columns = range(0, P.shape[1], self._WIDTH)
        G = xp.concat([Ph @ self.product(P[:, j : min(j + self._WIDTH, P.shape[1])]) for j in columns], axis=1)
        return (G + _arrays.adjoint_of(xp, G)) / 2, Ph @ self.A.rmatmat(self._scaled(self.B, 2))

    def gradient(self, X: Array, fine: bool) -> tuple[Array, Array]:
        del fine
        xp = _arrays.namespace(self.B)
        R = self._scaled(self.B - self.A.matmat(X))
        return self.A.rmatmat(self._scaled(R)), xp.sum(xp.abs(R) ** 2, axis=0)

    def gradient_rounding(self, fine: bool) -> tuple[float, float]:
        del fine
        return gamma(self.shape[1] + 8), gamma(self.shape[0] + 8)

    def product(self, V: Array) -> Array:
        return self.A.rmatmat(self._scaled(self.A.matmat(V), 2))


@dataclass(frozen=True)
class Problem:
    """min ||D (B - A X)||^2 + ridge ||X||^2, seen as one problem with d more rows sqrt(ridge) I."""

    rows: Rows
    ridge: float

    @property
    def like(self) -> Array:
        """An array that shows namespace and device."""
        return self.rows.B

    def sketch(self, S: Any, *, both: bool = True) -> tuple[Array, Array]:
        """Return the sketch of A and B (zeros unless `both`) in float64, with the ridge rows unsketched below it."""
        xp = _arrays.namespace(self.like)
        zeros = xp.zeros((S.shape[0], self.like.shape[1]), dtype=self.like.dtype, device=self.like.device)
        parts = self.rows.sketch(S) if both else (self.rows.sketch_matrix(S), zeros)
        Y, Z = (xp.astype(part, wide_dtype(xp, self.like), copy=False) for part in parts)
        return self._with_ridge(Y, Z)

    def dense(self) -> tuple[Array, Array]:
        """Return D A and D B in float64, with the ridge rows below: a copy, for problems that are small."""
        xp = _arrays.namespace(self.like)
        A = self.rows.A
        if _arrays.is_operator(A):
            A = A.matmat(xp.eye(A.shape[1], dtype=self.like.dtype, device=self.like.device))
        elif _arrays.is_row_blocks(A):
            A = xp.concat([block.toarray() if _arrays.is_sparse(block) else block for _, block in _arrays.row_blocks(A)])
        elif _arrays.is_sparse(A):
            A = A.toarray()
        Y, Z = (xp.astype(part, wide_dtype(xp, self.like), copy=False) for part in (A, self.rows.B))
        if self.rows.scale is not None:
            Y, Z = (xp.astype(self.rows.scale, xp.float64)[:, None] * part for part in (Y, Z))
        return self._with_ridge(Y, Z)

    def _with_ridge(self, Y: Array, Z: Array) -> tuple[Array, Array]:
        if self.ridge == 0:
            return Y, Z
        xp = _arrays.namespace(Y)
        eye = math.sqrt(self.ridge) * xp.eye(Y.shape[1], dtype=Y.dtype, device=Y.device)
        return xp.concat([Y, eye]), xp.concat([Z, xp.zeros((Y.shape[1], Z.shape[1]), dtype=Z.dtype, device=Z.device)])

    def gram(self, P: Array, fast: bool) -> tuple[Array, Array]:
        """Return P^H M P and P^H D B for the normal matrix M = A^H D^2 A + ridge I."""
        G, C = self.rows.gram(P, fast)
        xp = _arrays.namespace(G)
        return (G if self.ridge == 0 else G + self.ridge * (_arrays.adjoint_of(xp, P) @ P)), C

    def gradient(self, X: Array, fine: bool) -> tuple[Array, Array]:
        """Return the gradient A^H D^2 (B - A X) - ridge X and the squared norms of the residuals of all n + d rows."""
        g, r2 = self.rows.gradient(X, fine)
        if self.ridge == 0:
            return g, r2
        xp = _arrays.namespace(X)
        return g - self.ridge * X, r2 + self.ridge * xp.sum(xp.abs(X) ** 2, axis=0)

    def product(self, V: Array) -> Array:
        """Return M V for the normal matrix M."""
        MV = self.rows.product(V)
        return MV if self.ridge == 0 else MV + self.ridge * V


def gamma(k: float) -> float:
    """Bound k u / (1 - k u) on the relative error of k roundings to float64."""
    return k * U / (1 - k * U) if k * U < 0.5 else math.inf


def wide_dtype(xp: Any, like: Array) -> Any:
    """Return the dtype in which d x d matrices are handled: float64 or complex128."""
    return xp.complex128 if xp.isdtype(like.dtype, "complex floating") else xp.float64


def _sums(parts: Any) -> tuple[Array, ...]:
    """Add tuples of arrays, entry by entry."""
    total: tuple[Array, ...] | None = None
    for part in parts:
        total = part if total is None else tuple(a + b for a, b in zip(total, part, strict=True))
    assert total is not None
    return total


def _weighted(scale: Array | None, R: Array) -> Array:
    return R if scale is None else scale[:, None] * R


def _sparse_gram(A: Any, P: Array, B: Array, scale: Array | None) -> tuple[Array, Array]:
    xp = _arrays.namespace(P)

    def part(offset: int, block: Any) -> tuple[Array, Array]:
        here = slice(offset, offset + block.shape[0])
        weights = None if scale is None else scale[here]
        Q = _weighted(weights, block @ P)
        Qh = _arrays.adjoint_of(xp, Q)
        return Qh @ Q, Qh @ _weighted(weights, B[here, :])

    return _sums(part(offset, block) for offset, block in _arrays.row_blocks(A))


def _sparse_gradient(A: Any, X: Array, B: Array, scale: Array | None) -> tuple[Array, Array]:
    xp = _arrays.namespace(X)
    R = _weighted(scale, B - A @ X)
    return A.conj().T @ _weighted(scale, R), xp.sum(xp.abs(R) ** 2, axis=0)


def _sparse_product(A: Any, V: Array, scale: Array | None) -> Array:
    return A.conj().T @ _weighted(scale, _weighted(scale, A @ V))
