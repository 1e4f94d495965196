"""A tall matrix that grows: rows are added anywhere, and an orthonormal basis of its columns is found but never stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, wide

CHUNK = 4096  # rows that lie together
LEAST = 1e-13  # of the largest singular value, those that count


class Tall:
    """Rows in chunks of fixed height, so that growing copies nothing and zero rows cost nothing.

    Attributes
    ----------
    rows : int
        Number of rows so far: the last one that something was added to.
    chunks : list of array (CHUNK, columns) or None
        None is a chunk of zeros.
    """

    def __init__(self, like: Array, columns: int) -> None:
        self.like, self.columns = like, columns
        self.rows = 0
        self.chunks: list[Any] = []

    def add(self, offset: int, block: Array) -> None:
        """Add a block to the rows from `offset` on."""
        xp = _arrays.namespace(self.like)
        end = offset + block.shape[0]
        self.rows = max(self.rows, end)
        self.chunks += [None] * (-(-self.rows // CHUNK) - len(self.chunks))
        for c in range(offset // CHUNK, -(-end // CHUNK)):
            first, last = max(offset, c * CHUNK), min(end, (c + 1) * CHUNK)
            if self.chunks[c] is None:
                self.chunks[c] = xp.zeros((CHUNK, self.columns), dtype=self.like.dtype, device=self.like.device)
            self.chunks[c][first - c * CHUNK : last - c * CHUNK, :] += block[first - offset : last - offset, :]

    def add_all(self, other: Tall) -> None:
        """Add another one, row by row."""
        for offset, chunk in other.blocks():
            self.add(offset, chunk)
        self.rows = max(self.rows, other.rows)
        self.chunks += [None] * (-(-self.rows // CHUNK) - len(self.chunks))

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield (first row, rows) where something was added."""
        for c, chunk in enumerate(self.chunks):
            if chunk is not None:
                yield c * CHUNK, chunk[: min(CHUNK, self.rows - c * CHUNK), :]

    def moved(self, like: Array) -> Tall:
        """Bring the rows from the host to the library and device of `like`."""
        other = Tall(like, self.columns)
        other.rows = self.rows
        other.chunks = [None if chunk is None else _arrays.from_numpy(chunk, like) for chunk in self.chunks]
        return other


@dataclass(frozen=True)
class Basis:
    """An orthonormal basis of the numerical range of the first columns Y of a tall matrix, as Q = (Y P) G.

    Attributes
    ----------
    R : array (<= k, k)
        Y = Q' R for some orthonormal Q'.
    P, G : arrays (k, j) and (j, j)
        Q is found twice as in CholeskyQR2: Y P is nearly orthonormal, as far as rounding
        allows, and (Y P) G is so to working precision.
    """

    tall: Tall
    R: Array
    P: Array
    G: Array

    def rows(self) -> Iterator[tuple[int, Array]]:
        """Yield (first row, rows of Y P) in double precision."""
        for offset, block in self.tall.blocks():
            yield offset, wide(block[:, : self.P.shape[0]]) @ self.P


def basis(tall: Tall, columns: int) -> Basis:
    """Find the basis for the first columns; two passes over the rows."""
    xp = _arrays.namespace(tall.like)
    R = wide(xp.zeros((0, columns), dtype=tall.like.dtype, device=tall.like.device))
    for _, block in tall.blocks():
        R = _arrays.triangular_factor(xp.concat([R, wide(block[:, :columns])]))
    _, S, Vh = xp.linalg.svd(R, full_matrices=False)
    rank = int(xp.sum(xp.astype((LEAST * S[:1] < S) & (S > 0), xp.int64)))
    P = adjoint(Vh)[:, :rank] / S[:rank]
    first = Basis(tall, R, P, xp.eye(rank, dtype=P.dtype, device=P.device))
    gram = xp.zeros((rank, rank), dtype=P.dtype, device=P.device)
    for _, Q in first.rows():
        gram += adjoint(Q) @ Q
    values, E = xp.linalg.eigh(gram)
    return Basis(tall, R, P, E / xp.sqrt(xp.astype(values, P.dtype)))
