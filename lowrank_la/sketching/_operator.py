"""What all sketching operators share: the doors, row blocks, chunks, and the dense submatrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Namespace

Index: TypeAlias = "slice | list[int] | np.ndarray | None"

_PANEL = 64  # columns of S^H that meet a linear operator at a time


class Sketch(ABC):
    """A random d x n matrix S with E[S^T S] = I that is never stored.

    Every entry is a pure function of (seed, row, column): the same seed gives the same S
    on every backend, for every number of threads and for every division of A into chunks.

    Parameters
    ----------
    d : int, d >= 1
        Rows of S. Some operators round it up; `shape` tells.
    n : int, n >= 0
        Columns of S: rows of the data.
    rng : None, int or numpy.random.Generator
        An int from 0 to 2**64 - 1 is the seed itself.

    Attributes
    ----------
    shape : tuple of int
        (d, n).
    seed : int
        Together with the class and its parameters, all there is to save of S.

    Raises
    ------
    ValueError
        d is below 1, n is negative, or rng is a negative int or needs more than 64 bits.
    TypeError
        d or n is no integer, or rng is of another type.
    """

    shape: tuple[int, int]
    seed: int

    def __init__(self, d: int, n: int, *, rng: _random.RNG = None) -> None:
        name = type(self).__name__
        self.shape = (_checks.integer(name, "d", d, 1), _checks.integer(name, "n", n))
        self.seed = _random.seed_of(name, rng)
        self._stream = _random.stream(name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.shape} with seed {self.seed}"

    def apply(self, A: Any, *, row_offset: int = 0, scale: Array | None = None) -> Array:
        """Return S D A, where D is the diagonal matrix of `scale`.

        Parameters
        ----------
        A : array (m, c) or (m,), sparse matrix, linear operator, or row blocks
            Rows row_offset to row_offset + m of the data. Row blocks are an iterable, or
            a function that returns one, of arrays or sparse matrices with c columns.
        row_offset : int, row_offset >= 0
            Column of S that meets the first row of A. Sketches of disjoint chunks add up
            to the sketch of all their rows.
        scale : array (m,), real, optional
            Factors for the rows of A, applied on the fly.

        Returns
        -------
        array (d, c) or (d,)
            In the namespace, on the device and with the floating dtype of A.

        Raises
        ------
        ValueError
            A has the wrong number of axes or does not fit n, or scale does not fit A.
        TypeError
            A is no matrix of numbers, or scale is complex.
        """
        where = f"{type(self).__name__}.apply"
        _checks.integer(where, "row_offset", row_offset)
        if _arrays.is_row_blocks(A):
            return self._apply_blocks(where, A, row_offset, scale)
        return self._apply_matrix(where, A, row_offset, scale)

    def apply_pair(self, A: Any, B: Array, *, row_offset: int = 0, scale: Array | None = None) -> tuple[Array, Array]:
        """Return S D A and S D B: by one pass over both, where the operator can.

        Parameters
        ----------
        A, B, row_offset, scale
            As in `apply`; B is an array (m, k).

        Returns
        -------
        tuple of array (d, c) and array (d, k)

        Raises
        ------
        ValueError, TypeError
            As in `apply`.
        """
        return self.apply(A, row_offset=row_offset, scale=scale), self.apply(B, row_offset=row_offset, scale=scale)

    def adjoint(self, Y: Array) -> Array:
        """Return S^H Y.

        Parameters
        ----------
        Y : array (d, c) or (d,)

        Returns
        -------
        array (n, c) or (n,)
            In the namespace, on the device and with the floating dtype of Y.

        Raises
        ------
        ValueError
            Y has the wrong number of axes or not d rows.
        TypeError
            Y is no array of numbers.
        """
        where = f"{type(self).__name__}.adjoint"
        door, [Y] = _arrays.enter(where, Y=Y)
        _checks.ndim(where, "Y", Y, (1, 2))
        _checks.rows_like(where, "Y", Y, self.shape[0], "S")
        X = self._lift(_columns(door.xp, Y), 0, self.shape[1])
        return door.leave(X if Y.ndim == 2 else X[:, 0])

    def block(self, rows: Index = None, cols: Index = None, *, like: Array | None = None) -> Array:
        """Return a dense submatrix of S.

        Parameters
        ----------
        rows, cols : slice, list of int or array of int, optional
            Which rows and columns; all by default.
        like : array, optional
            The block takes its namespace, device and real dtype; NumPy float64 by default.

        Returns
        -------
        array (len(rows), len(cols))

        Raises
        ------
        ValueError
            An index is out of range.
        """
        where = f"{type(self).__name__}.block"
        door, [inside] = _arrays.enter(where, like=np.empty(0) if like is None else like)
        row_list = _index(where, "rows", rows, self.shape[0])
        col_list = _index(where, "cols", cols, self.shape[1])
        S = self._matrix(door.xp.real(inside) if _is_complex(door.xp, inside) else inside, _arrays.from_numpy(col_list, inside))
        return door.leave(door.xp.take(S, _arrays.from_numpy(row_list, inside), axis=0))

    def merge(self, first: Array, second: Array) -> Array:
        """Add the sketches of two chunks of rows: the sketch of both.

        Parameters
        ----------
        first, second : array (d, c) or (d,)
            Answers of `apply` with the `row_offset` of each chunk.

        Returns
        -------
        array (d, c) or (d,)

        Raises
        ------
        ValueError
            The two differ in shape or do not have d rows.
        """
        where = f"{type(self).__name__}.merge"
        _checks.rows_like(where, "first", first, self.shape[0], "S")
        _checks.shape(where, "second", second, tuple(first.shape))
        return first + second

    @abstractmethod
    def _sketch(self, A: Array, row_offset: int, scale: Array | None) -> Array:
        """S D A for a dense matrix inside the door."""

    @abstractmethod
    def _lift(self, Y: Array, first: int, last: int) -> Array:
        """Rows first to last of S^H Y for a dense matrix inside the door."""

    @abstractmethod
    def _matrix(self, like: Array, cols: Array) -> Array:
        """Columns of S (int64 indices) with the real dtype of `like`."""

    def _sketch_sparse(self, A: Any, row_offset: int, scale: Array | None) -> Array:
        """S D A for a sparse matrix: dense blocks of its rows, 32 MiB each."""
        return self._sum(
            self._sketch(block.toarray(), row_offset + offset, None if scale is None else scale[offset : offset + block.shape[0]])
            for offset, block in _arrays.row_blocks(A)
        )

    def _apply_matrix(self, where: str, A: Any, row_offset: int, scale: Array | None) -> Array:
        if not _arrays.is_operator(A) and not hasattr(A, "shape"):
            _, [A] = _arrays.enter(where, A=A)
        self._check_rows(where, A, row_offset, scale)
        if _arrays.is_operator(A):
            return self._apply_operator(A, row_offset, scale)
        door, (A, scale) = _arrays.enter(where, A=A, scale=scale)
        scale = _real(door.xp, scale)
        if _arrays.is_sparse(A):
            return self._sketch_sparse(A, row_offset, scale)
        Y = self._sketch(_columns(door.xp, A), row_offset, scale)
        return door.leave(Y if A.ndim == 2 else Y[:, 0])

    def _apply_blocks(self, where: str, A: Any, row_offset: int, scale: Array | None) -> Array:
        return self._sum(
            self._apply_matrix(where, block, row_offset + offset, None if scale is None else scale[offset : offset + block.shape[0]])
            for offset, block in _checks.row_blocks(where, "A", A)
        )

    def _apply_operator(self, A: Any, row_offset: int, scale: Array | None) -> Array:
        """S D A = (A^H (D S^H))^H, a panel of S^H at a time."""
        panels = []
        for left in range(0, self.shape[0], _PANEL):
            width = min(_PANEL, self.shape[0] - left)
            columns = self._lift(np.eye(self.shape[0], width, -left), row_offset, row_offset + A.shape[0])
            panels.append(A.rmatmat(columns if scale is None else np.asarray(scale)[:, None] * columns).conj().T)
        return np.concatenate(panels)

    def _sum(self, sketches: Any) -> Array:
        total = None
        for sketch in sketches:
            total = sketch if total is None else total + sketch
        if total is None:
            raise ValueError(f"{type(self).__name__}.apply: A must have at least one block of rows; got none")
        return total

    def _check_rows(self, where: str, A: Any, row_offset: int, scale: Array | None) -> None:
        if len(A.shape) not in (1, 2):
            raise ValueError(f"{where}: A must be 1-dimensional or 2-dimensional; got shape {tuple(A.shape)}")
        if row_offset + A.shape[0] > self.shape[1]:
            raise ValueError(f"{where}: A must end at row {self.shape[1]} = n; got {A.shape[0]} rows from row_offset = {row_offset}")
        if scale is not None:
            scale = scale if hasattr(scale, "shape") else np.asarray(scale)
            _checks.real_dtype(where, "scale", _checks.shape(where, "scale", scale, (A.shape[0],)))


def _columns(xp: Namespace, x: Array) -> Array:
    return x if x.ndim == 2 else xp.reshape(x, (-1, 1))


def _is_complex(xp: Namespace, x: Array) -> bool:
    return xp.isdtype(x.dtype, "complex floating")


def _real(xp: Namespace, scale: Array | None) -> Array | None:
    return xp.real(scale) if scale is not None and _is_complex(xp, scale) else scale


def _index(where: str, name: str, index: Index, size: int) -> np.ndarray:
    if index is None or isinstance(index, slice):
        return np.arange(size)[index or slice(None)]
    numbers = np.asarray(index, dtype=np.int64)
    if numbers.ndim != 1 or (numbers.size and not (numbers.min() >= 0 and numbers.max() < size)):
        raise ValueError(f"{where}: {name} must be a slice or a list of indices from 0 to {size - 1}; got {index!r}")
    return numbers
