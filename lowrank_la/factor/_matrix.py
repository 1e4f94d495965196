"""One face for everything with rows and columns: products, passes that are counted, the Frobenius norm.

Algorithms see a `Matrix` and never ask what it is made of. Dense and sparse arrays, linear
operators and blocks of rows differ only here; so do centring and transposition, which are
views. A product with a block of rows reads them once, and `gram_times` is one pass for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array, Door, Namespace
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.sketching import SparseSign

MANY_ENTRIES = 1 << 20  # of A, from which it pays to be rough
MOST_ENERGY = 1e24  # which float32 copies of A can still bear, as its inverse
TINY = 1e-280  # squares below it have lost digits
NONZEROS = 4  # in each column of a sketch that only begins
MUCH_CANCELLATION = 100  # a centred norm this much below the norm of A is summed again, entry by entry


class Matrix(ABC):
    """A, of shape (n, d), as products see it.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    door : Door
        Where the answers leave.
    like : array
        An empty array with the namespace, device and dtype of the products.
    passes : int
        How often A has been read so far.
    squared_norm : float or None
        ||A||_F^2, in float64; None for a linear operator, whose entries nobody sees.
    squared_scale : float or None
        The sum whose rounding errors `squared_norm` carries: larger than it after centring.
    dense : bool
        Whether A is an array of all its entries.
    rough : dtype or None
        A shorter dtype in which `gram_times` is cheaper, for X of that dtype.
    """

    shape: tuple[int, int]
    door: Door
    like: Array
    dense: bool = False
    rough: Any = None
    passes: int = 0
    squared_norm: float | None = None
    squared_scale: float | None = None

    @property
    def xp(self) -> Namespace:
        return self.door.xp

    @property
    def dtype(self) -> Any:
        return self.like.dtype

    @property
    def roundoff(self) -> float:
        return _arrays.unit_roundoff(self.xp, self.dtype)

    @property
    def H(self) -> Matrix:
        """A^H, a view that counts its passes in A."""
        return _Adjoint(self)

    @abstractmethod
    def times(self, X: Array) -> Array:
        """Return A X."""

    @abstractmethod
    def adjoint_times(self, Y: Array) -> Array:
        """Return A^H Y."""

    def gram_times(self, X: Array) -> Array:
        """Return A^H (A X)."""
        return self.adjoint_times(self.times(X))

    def adjoint_gram_times(self, Y: Array) -> Array:
        """Return A (A^H Y)."""
        return self.times(self.adjoint_times(Y))

    def wide_times(self, X: Array) -> Array:
        """Return A X for X in float64 or complex128, computed in that precision where the entries of A are at hand."""
        return wide(self.times(self.xp.astype(X, self.dtype, copy=False)))

    def wide_adjoint_times(self, Y: Array) -> Array:
        """Return A^H Y, as precise as `wide_times`."""
        return wide(self.adjoint_times(self.xp.astype(Y, self.dtype, copy=False)))

    def sketch(self, height: int, seed: int) -> Array:
        """Return S A for a sparse-sign matrix S of so many rows."""
        S = _signs(height, self.shape[0], seed)
        columns = S.adjoint(self.xp.eye(S.shape[0], dtype=self.dtype, device=self.like.device))
        return adjoint(self.adjoint_times(columns[:, :height]))

    @property
    def entries(self) -> Array:
        """A as one dense array, which centring copies; only where `dense`."""
        raise NotImplementedError

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield (first row, dense or sparse block) over all rows, in one pass; not for linear operators."""
        raise NotImplementedError

    def _adopt(self, door: Door, like: Array, shape: tuple[int, int]) -> None:
        self.door, self.like, self.shape = door, like, shape


class _Dense(Matrix):
    dense = True

    def __init__(self, function: str, name: str, A: Array) -> None:
        door, [A] = _arrays.enter(function, **{name: A})
        _checks.ndim(function, name, A, 2)
        self._adopt(door, door.xp.zeros((0,), dtype=A.dtype, device=A.device), tuple(A.shape))
        self.A = A
        self.squared_norm = self.squared_scale = _finite_energy(function, name, A)
        large = A.shape[0] * A.shape[1] >= MANY_ENTRIES and 1 / MOST_ENERGY < self.squared_norm < MOST_ENERGY
        self.rough = door.xp.float32 if large and A.dtype == door.xp.float64 else None

    def times(self, X: Array) -> Array:
        self.passes += 1
        return kernels.skinny.times(self.A, X)

    wide_times = times  # the kernel widens float32 entries as it reads them

    def adjoint_times(self, Y: Array) -> Array:
        self.passes += 1
        return adjoint(adjoint(Y) @ self.A)

    def gram_times(self, X: Array) -> Array:
        self.passes += 1
        return kernels.skinny.gram(self.A, X)[0]

    def centred_gram_times(self, X: Array, row: Array) -> tuple[Array, Array]:
        """A^H W and the column sums of W for W = A X - 1 row, in one pass."""
        self.passes += 1
        return kernels.skinny.gram(self.A, X, row)

    def adjoint_gram_times(self, Y: Array) -> Array:
        self.passes += 1
        return kernels.skinny.gram(adjoint(self.A), Y)[0]

    def wide_adjoint_times(self, Y: Array) -> Array:
        if Y.dtype == self.dtype:
            return self.adjoint_times(Y)
        return _total(adjoint(wide(block)) @ Y[offset : offset + block.shape[0], :] for offset, block in self.blocks())

    def sketch(self, height: int, seed: int) -> Array:
        self.passes += 1
        return _signs(height, self.shape[0], seed).apply(self.A)[:height, :]

    @property
    def entries(self) -> Array:
        return self.A

    def blocks(self) -> Iterator[tuple[int, Array]]:
        self.passes += 1
        return _arrays.row_blocks(self.A)


class _Sparse(Matrix):
    """A SciPy or CuPy sparse matrix, in compressed rows or columns, each place stored once.

    The other kind is made when a product needs it: wide matrices in columns go without rows.
    """

    def __init__(self, function: str, name: str, A: Any) -> None:
        door, [A] = _arrays.enter(function, **{name: A})
        self.given = _compressed(A)
        self._adopt(door, self.given.data[:0], tuple(A.shape))
        self.in_columns = self.given.format == "csc" and A.shape[0] < A.shape[1]
        self.squared_norm = self.squared_scale = _finite_energy(function, name, self.given.data)

    @cached_property
    def A(self) -> Any:
        """A in compressed rows."""
        return self.given.tocsr()

    def times(self, X: Array) -> Array:
        self.passes += 1
        if self.in_columns:
            return kernels.sparse_product.adjoint(*self._columns, X, self.shape[0])
        return kernels.sparse_product.times(*self._rows, X)

    def adjoint_times(self, Y: Array) -> Array:
        self.passes += 1
        if self.in_columns:
            return kernels.sparse_product.times(*self._columns, Y)
        return kernels.sparse_product.adjoint(*self._rows, Y, self.shape[1])

    wide_times, wide_adjoint_times = times, adjoint_times  # the kernel widens float32 entries as it reads them

    def gram_times(self, X: Array) -> Array:
        self.passes += 1
        return kernels.sparse_product.gram(*self._rows, X)[0]

    def centred_gram_times(self, X: Array, row: Array) -> tuple[Array, Array]:
        """A^H W and the column sums of W for W = A X - 1 row, in one pass."""
        self.passes += 1
        return kernels.sparse_product.gram(*self._rows, X, row)

    def adjoint_gram_times(self, Y: Array) -> Array:
        self.passes += 1
        return kernels.sparse_product.gram(*self._columns, Y)[0]

    @property
    def _rows(self) -> tuple[Array, Array, Array]:
        return self.A.data, self.A.indices, self.A.indptr

    @cached_property
    def _columns(self) -> tuple[Array, Array, Array]:
        """Compressed rows of A^H: a copy of the size of A, unless A is real and came in columns."""
        if self.given.format == "csc":
            indptr, indices, data = self.given.indptr, self.given.indices, self.given.data
        else:
            indptr, indices, data = kernels.compress.transpose(*self._rows, self.shape[1])
        return self.xp.conj(data) if self.xp.isdtype(self.dtype, "complex floating") else data, indices, indptr

    def sketch(self, height: int, seed: int) -> Array:
        self.passes += 1
        return _signs(height, self.shape[0], seed).apply(self.A)[:height, :]

    def blocks(self) -> Iterator[tuple[int, Array]]:
        self.passes += 1
        return _arrays.row_blocks(self.A)


class _Operator(Matrix):
    def __init__(self, function: str, name: str, A: Any) -> None:
        door, [like] = _arrays.enter(function, like=np.zeros(0, dtype=A.dtype))
        self._adopt(door, like, tuple(A.shape))
        self.A, self.where = A, (function, name)

    def times(self, X: Array) -> Array:
        self.passes += 1
        return self._checked(self.A.matmat(X))

    def adjoint_times(self, Y: Array) -> Array:
        self.passes += 1
        return self._checked(self.A.rmatmat(Y))

    def _checked(self, X: Array) -> Array:
        if not np.isfinite(X).all():
            function, name = self.where
            raise ValueError(f"{function}: {name} must give finite products; got NaN or infinite entries")
        return X.astype(self.like.dtype, copy=False)


class _Blocks(Matrix):
    """Blocks of rows that can be read again and again: a list, or a function that returns an iterable."""

    def __init__(self, function: str, name: str, A: Any) -> None:
        if not (callable(A) or isinstance(A, list | tuple)):
            raise TypeError(
                f"{function}: {name} must be a list of row blocks or a function that returns an iterable of them; "
                f"got {type(A).__name__}, which ends after one reading (use StreamingSVD)"
            )
        self.A, self.where = A, (function, name)
        self.passes = 1
        self.squared_norm = self.squared_scale = 0.0
        rows, columns, kind = 0, 0, None
        for _, block in _checks.row_blocks(function, name, A):
            door, inside = self._enter(block)
            entries = inside.data if _arrays.is_sparse(inside) else inside
            if kind is None:
                columns, kind = inside.shape[1], (door, door.xp.zeros((0,), dtype=entries.dtype, device=entries.device))
            if inside.shape[1] != columns:
                got = tuple(inside.shape)
                raise ValueError(f"{function}: {name} must have blocks with {columns} columns, as the first; got shape {got}")
            self.squared_norm += _finite_energy(function, name, entries)
            rows += inside.shape[0]
        if kind is None:
            raise ValueError(f"{function}: {name} must have at least one block of rows; got none")
        self.squared_scale = self.squared_norm
        self._adopt(*kind, (rows, columns))

    def _enter(self, block: Array) -> tuple[Door, Array]:
        function, name = self.where
        door, [block] = _arrays.enter(function, **{name: block})
        _checks.ndim(function, f"each block of {name}", block, 2)
        return door, block.tocsr() if _arrays.is_sparse(block) else block

    def blocks(self) -> Iterator[tuple[int, Array]]:
        self.passes += 1
        for offset, block in _checks.row_blocks(*self.where, self.A):
            _, block = self._enter(block)
            yield offset, block if _arrays.is_sparse(block) else self.xp.astype(block, self.like.dtype, copy=False)

    def times(self, X: Array) -> Array:
        return self.xp.concat([block @ X for _, block in self.blocks()], axis=0)

    def adjoint_times(self, Y: Array) -> Array:
        return _total(adjoint(block) @ Y[offset : offset + block.shape[0], :] for offset, block in self.blocks())

    def wide_times(self, X: Array) -> Array:
        return self.xp.concat([_wide_block(block) @ X for _, block in self.blocks()], axis=0)

    def wide_adjoint_times(self, Y: Array) -> Array:
        return _total(adjoint(_wide_block(block)) @ Y[offset : offset + block.shape[0], :] for offset, block in self.blocks())

    def gram_times(self, X: Array) -> Array:
        return _total(adjoint(block) @ (block @ X) for _, block in self.blocks())

    def centred_gram_times(self, X: Array, row: Array) -> tuple[Array, Array]:
        """A^H W and the column sums of W for W = A X - 1 row, in one pass."""
        both = _total(_with_sums(block, block @ X - row[None, :]) for _, block in self.blocks())
        return both[:-1, :], both[-1, :]

    def sketch(self, height: int, seed: int) -> Array:
        S = _signs(height, self.shape[0], seed)
        return _total(S.apply(block, row_offset=offset) for offset, block in self.blocks())[:height, :]


class _Adjoint(Matrix):
    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        n, d = matrix.shape
        self._adopt(matrix.door, matrix.like, (d, n))
        self.dense, self.rough = matrix.dense, matrix.rough if isinstance(matrix, _Dense) else None
        self.squared_norm, self.squared_scale = matrix.squared_norm, matrix.squared_scale

    @property
    def passes(self) -> int:  # type: ignore[override]
        return self.matrix.passes

    @property
    def H(self) -> Matrix:
        return self.matrix

    def times(self, X: Array) -> Array:
        return self.matrix.adjoint_times(X)

    def adjoint_times(self, Y: Array) -> Array:
        return self.matrix.times(Y)

    def gram_times(self, X: Array) -> Array:
        return self.matrix.adjoint_gram_times(X)

    def adjoint_gram_times(self, Y: Array) -> Array:
        return self.matrix.gram_times(Y)

    def wide_times(self, X: Array) -> Array:
        return self.matrix.wide_adjoint_times(X)

    def wide_adjoint_times(self, Y: Array) -> Array:
        return self.matrix.wide_times(Y)

    @property
    def entries(self) -> Array:
        return adjoint(self.matrix.entries)

    def blocks(self) -> Iterator[tuple[int, Array]]:
        return _arrays.row_blocks(self.entries)


class _Centred(Matrix):
    """A - 1 mean^T, which is never formed: every product is corrected by one of rank one."""

    def __init__(self, matrix: Matrix, mean: Array) -> None:
        self.matrix, self.mean = matrix, mean
        self._adopt(matrix.door, matrix.like, matrix.shape)
        self.dense, self.squared_scale = matrix.dense, matrix.squared_norm
        if matrix.squared_norm is not None:
            energy = matrix.squared_norm - self.shape[0] * kernels.energy.squared_norm(mean)
            if energy < matrix.squared_norm / MUCH_CANCELLATION:
                energy = sum(kernels.energy.squared_norm(block) for _, block in self.blocks())
            self.squared_norm = energy
            self.rough = matrix.rough if MUCH_CANCELLATION * energy > matrix.squared_norm else None

    @property
    def passes(self) -> int:  # type: ignore[override]
        return self.matrix.passes

    def times(self, X: Array) -> Array:
        return self.matrix.times(X) - self._row(X)[None, :]

    def wide_times(self, X: Array) -> Array:
        return self.matrix.wide_times(X) - self._row(X)[None, :]

    def wide_adjoint_times(self, Y: Array) -> Array:
        return self._centre(self.matrix.wide_adjoint_times(Y), self.xp.sum(Y, axis=0))

    def sketch(self, height: int, seed: int) -> Array:
        ones = self.xp.ones((self.shape[0], 1), dtype=self.dtype, device=self.like.device)
        return self.matrix.sketch(height, seed) - _signs(height, self.shape[0], seed).apply(ones)[:height, :] * self.mean[None, :]

    @property
    def entries(self) -> Array:
        return self.matrix.entries - self.mean[None, :]

    def adjoint_times(self, Y: Array) -> Array:
        return self._centre(self.matrix.adjoint_times(Y), self.xp.sum(Y, axis=0))

    def gram_times(self, X: Array) -> Array:
        if isinstance(self.matrix, _Dense | _Sparse | _Blocks):
            return self._centre(*self.matrix.centred_gram_times(X, self._row(X)))
        return super().gram_times(X)

    def _centre(self, Z: Array, sums: Array) -> Array:
        return Z - adjoint(self._mean_beside(Z)[None, :]) * sums[None, :]

    def _row(self, X: Array) -> Array:
        return (self._mean_beside(X)[None, :] @ X)[0, :]

    def _mean_beside(self, X: Array) -> Array:
        return self.xp.astype(self.mean, X.dtype) if self.rough is not None and X.dtype == self.rough else self.mean

    def blocks(self) -> Iterator[tuple[int, Array]]:
        for offset, block in self.matrix.blocks():
            yield offset, (block.toarray() if _arrays.is_sparse(block) else block) - self.mean[None, :]


def enter(function: str, name: str, A: Any) -> Matrix:
    """Take a matrix of any kind inside, check that it is finite, and measure its Frobenius norm on the way.

    A `Matrix` is inside already: modules of this package bring kinds of their own.

    Raises
    ------
    TypeError
        A is no matrix, or row blocks that can be read only once.
    ValueError
        A is not 2-dimensional, has a NaN or infinite entry, or its blocks do not fit together.
    """
    if isinstance(A, Matrix):
        return A
    if _arrays.is_sparse(A):
        return _Sparse(function, name, A)
    if _arrays.is_operator(A):
        return _Operator(function, name, A)
    if _arrays.is_row_blocks(A):
        return _Blocks(function, name, A)
    return _Dense(function, name, A)


def centred(matrix: Matrix) -> tuple[Matrix, Array]:
    """Subtract the mean of each column; return the view and the means, which cost one pass."""
    ones = matrix.xp.ones((matrix.shape[0], 1), dtype=matrix.dtype, device=matrix.like.device)
    total = matrix.adjoint_times(ones)[:, 0]
    mean = (matrix.xp.conj(total) if matrix.xp.isdtype(matrix.dtype, "complex floating") else total) / matrix.shape[0]
    return _Centred(matrix, mean), mean


def _compressed(A: Any) -> Any:
    """Give compressed rows or columns without repeated places; the given matrix stays as it is."""
    compressed = A if A.format == "csc" else A.tocsr()
    if not compressed.has_canonical_format:
        compressed = compressed.copy() if compressed is A else compressed
        compressed.sum_duplicates()
    return compressed


def _signs(height: int, n: int, seed: int) -> SparseSign:
    return SparseSign(height, n, zeta=NONZEROS, rng=seed)


def _total(terms: Iterable[Array]) -> Array:
    """Add up in place; there is at least one."""
    terms = iter(terms)
    total = next(terms)
    for term in terms:
        total += term
    return total


def _wide_block(block: Any) -> Any:
    if _arrays.is_sparse(block):
        return block.astype(np.result_type(block.dtype, np.float64), copy=False)
    return wide(block)


def _with_sums(block: Any, W: Array) -> Array:
    """A^H W with a last row of the column sums of W."""
    xp = _arrays.namespace(W)
    return xp.concat([adjoint(block) @ W, xp.sum(W, axis=0)[None, :]], axis=0)


def _finite_energy(function: str, name: str, x: Array) -> float:
    """Sum squares, which shows entries that are not finite without a pass of their own.

    Raises
    ------
    ValueError
        An entry is not finite, or squares overflow or underflow.
    """
    energy = kernels.energy.squared_norm(x)
    if not np.isfinite(energy):
        _checks.finite(function, name, x)
        raise ValueError(f"{function}: {name} must have entries whose squares do not overflow; scale it down")
    if energy < TINY and bool(_arrays.namespace(x).any(x != 0)):
        raise ValueError(f"{function}: {name} must have entries whose squares do not underflow; scale it up")
    return energy
