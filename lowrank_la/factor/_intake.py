"""What comes into a stream: pieces of any kind, block by block, and the library and dtype that the first one decides."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array, Door, Namespace
from lowrank_la.factor._dense import is_complex

BLOCK = 1 << 23  # numbers in a block of rows and in what becomes of it


class Piece(NamedTuple):
    """Some rows of what a caller gave, inside the door."""

    row: int
    block: Any
    door: Door
    whole: Any


@dataclass(frozen=True)
class Kind:
    """Library, device and dtype of a stream: `like` is an empty array of it.

    A stream from a file holds NumPy arrays until its next update decides where they go.
    """

    door: Door
    like: Array
    from_file: bool = False

    @classmethod
    def of(cls, door: Door, H: Any) -> Kind:
        """Give the kind of an array or sparse matrix inside a door."""
        return cls(door, (H.data if _arrays.is_sparse(H) else door.xp.reshape(H[:0, ...], (-1,)))[:0])

    @property
    def xp(self) -> Namespace:
        return self.door.xp

    def going_on_as(self, other: Kind) -> Kind:
        """Keep the dtype, take the library and the device of the first update after a file."""
        dtype = getattr(other.xp, str(self.like.dtype)) if self.xp is not other.xp else self.like.dtype
        return Kind(other.door, other.xp.astype(other.like, dtype, copy=False))

    def cast(self, where: str, name: str, door: Door, H: Any) -> Any:
        """Cast a later array to the dtype of the stream.

        Raises
        ------
        TypeError
            H belongs to another library, or is complex in a real stream.
        """
        given = Kind.of(door, H)
        if given.xp is not self.xp:
            raise TypeError(f"{where}: {name} must be an array of {self.xp.__name__}, as before; got {given.xp.__name__}")
        if is_complex(given.like) and not is_complex(self.like):
            raise TypeError(f"{where}: {name} must be real, as the first update; got dtype {given.like.dtype}")
        dtype = self.like.dtype
        return H.astype(dtype, copy=False) if _arrays.is_sparse(H) else door.xp.astype(H, dtype, copy=False)

    def check_same(self, where: str, other: Kind) -> None:
        """Require another stream of the same library and dtype.

        Raises
        ------
        TypeError
            The library differs.
        ValueError
            The dtype differs.
        """
        if self.xp is not other.xp:
            raise TypeError(f"{where}: other must hold arrays of {self.xp.__name__}; got {other.xp.__name__}")
        if self.like.dtype != other.like.dtype:
            raise ValueError(f"{where}: other must have dtype {self.like.dtype}; got {other.like.dtype}")


@contextmanager
def reading(name: str, path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a file that the `save` of a stream wrote, for its `load`.

    Raises
    ------
    ValueError
        It is not such a file, or what is read from it does not fit.
    """
    with expecting(f"{name}.load: {path} must be a file that {name}.save wrote"), np.load(path, allow_pickle=False) as file:
        yield file


@contextmanager
def expecting(rule: str) -> Iterator[None]:
    """Word what goes wrong while a state is read.

    Raises
    ------
    ValueError
        The state does not fit.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{rule}; {error}") from None


def pieces(where: str, name: str, H: Any, columns: int, numbers: int, row: int, room: float = math.inf) -> Iterator[Piece]:
    """Yield the rows of arrays, sparse matrices or row blocks, in blocks of which each row becomes so many numbers.

    The first one is number `row` of at most `room`.

    Raises
    ------
    TypeError
        H is no array of numbers.
    ValueError
        Rows have another number of columns, or there are too many of them.
    """
    parts = _checks.row_blocks(where, name, H) if _arrays.is_row_blocks(H) else [(0, H)]
    for offset, part in parts:
        door, [part] = _arrays.enter(where, **{name: part})
        if part.ndim != 2 or part.shape[1] != columns:
            raise ValueError(f"{where}: {name} must be 2-dimensional with {columns} columns; got shape {tuple(part.shape)}")
        ends_within(where, name, part, row + offset, room)
        height = BLOCK // (numbers if _arrays.is_sparse(part) else max(numbers, columns))
        for first, block in _arrays.row_blocks(part, max(1, height)):
            yield Piece(row + offset + first, block, door, part)


def ends_within(where: str, name: str, H: Any, row: int, room: float) -> None:
    """Require that rows of H, from number `row` on, are at most `room`.

    Raises
    ------
    ValueError
        There are more.
    """
    if row + H.shape[0] > room:
        raise ValueError(f"{where}: {name} must end at row {room}; got {H.shape[0]} rows from row {row} on")


def finite(where: str, name: str, whole: Any, *computed: Array) -> float:
    """Sum the squares of what was computed from a block, which shows entries that are not finite.

    Raises
    ------
    ValueError
        There is one, or the squares overflow.
    """
    energy = sum(kernels.energy.squared_norm(x) for x in computed)
    if not math.isfinite(energy):
        _checks.finite(where, name, whole)
        raise ValueError(f"{where}: {name} must have entries whose squares do not overflow; scale it down")
    return energy
