"""`FrequentDirections`: a few rows B that stand for a stream of rows A, with a bound on A^H A - B^H B that holds always."""

from __future__ import annotations

import math
import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _threads
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _intake
from lowrank_la.factor._dense import U as ROUNDOFF
from lowrank_la.factor._dense import adjoint, is_complex, wide
from lowrank_la.factor._intake import Kind, reading
from lowrank_la.factor._signs import signed

NAME = "FrequentDirections"
SMALL = 1e8  # products in a Gram matrix, below which threads cost more than they bring
CLAIM = "||A^H A - B^H B||_2 <= bound"


@dataclass(frozen=True, repr=False)
class FrequentDirectionsResult(Result):
    """Answer of `FrequentDirections`.

    Attributes
    ----------
    s : array (l,), real
        Singular values of B, descending. But for rounding s_i^2 <= sigma_i(A)^2 <= s_i^2 + bound.
    V : array (d, l)
        Right singular vectors of B; the largest entry of each is positive.
    squared_norm : float
        ||A||_F^2.
    n_rows : int
        Rows of A.
    certificate : Certificate
        Bounds ||A^H A - B^H B||_2, always.
    """

    s: Array
    V: Array
    squared_norm: float
    n_rows: int
    certificate: Certificate
    _rounding: float = field(default=0.0, repr=False)

    @property
    def B(self) -> Array:
        """The sketch, diag(s) V^H of shape (l, d)."""
        return self.s[:, None] * adjoint(self.V)

    def projection_error(self, k: int) -> float:
        """Bound ||A - A V_k V_k^H||_F for the first k columns of V.

        Parameters
        ----------
        k : int, 0 <= k <= l

        Returns
        -------
        float
            It holds always, rounding errors included, because ||A V_k||_F^2 >= s_1^2 + ... + s_k^2.

        Raises
        ------
        ValueError, TypeError
            k is out of range or no integer.
        """
        _checks.integer("projection_error", "k", k, 0, self.s.shape[0])
        captured = _arrays.to_numpy(self.s).astype(np.float64)[:k]
        slack = self._rounding * (k + 1) * self.squared_norm
        return math.sqrt(max(self.squared_norm - float(captured @ captured) + slack, 0.0))


class FrequentDirections:
    """Keep a few rows B that stand for all rows A of a stream: B^H B is close to A^H A and never above it.

    No random numbers: the bound holds for every stream, also one that reacts to the answers.

    Parameters
    ----------
    d : int, d >= 1
        Columns.
    sketch_size : int, 1 <= sketch_size <= d
        Rows l of B.

    Attributes
    ----------
    n_rows : int
        Rows so far.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or no integer.

    See Also
    --------
    StreamingSVD : Left singular vectors too, and changes of rows that have come.

    Notes
    -----
    When 2 l rows have gathered, their squared singular values are lowered by the (l + 1)-st of
    them, and l rows remain [1]_. Each time ||A^H A - B^H B||_2 grows by at most what was taken
    off. The certificate is the sum, with all rounding errors; but for these it is never above
    ||A - A_k||_F^2 / (l + 1 - k), for any k <= l.

    Cost: about 12 l d flops for each row, in matrix products, and 72 l^2 in eigenvalue problems.
    Memory: 2 l d numbers in double precision and a block of 64 MiB.

    References
    ----------
    .. [1] Ghashami, Liberty, Phillips and Woodruff, Frequent Directions: simple and deterministic
       matrix sketching, SIAM J. Comput. 45, 2016. The algorithm, its bound and its merging.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import FrequentDirections
    >>> A = np.random.default_rng(0).standard_normal((2000, 50)) * 0.8 ** np.arange(50)
    >>> stream = FrequentDirections(50, 20)
    >>> for block in np.split(A, 8):
    ...     stream.update(block)
    >>> result = stream.result()
    >>> error = np.linalg.norm(A.T @ A - result.B.T @ result.B, 2)
    >>> bool(error <= result.certificate.bound < 1e-3 * np.linalg.norm(A, 2) ** 2)
    True
    """

    n_rows: int

    def __init__(self, d: int, sketch_size: int) -> None:
        self._d = _checks.integer(NAME, "d", d, 1)
        self._l = _checks.integer(NAME, "sketch_size", sketch_size, 1, self._d)
        self.n_rows = 0
        self._energy = self._shrunk = self._rounding = 0.0
        self._count = 0
        self._kind: Kind | None = None  # until the first update

    def __repr__(self) -> str:
        return f"{NAME} of {self._l} rows for {self.n_rows} rows so far, {self._d} columns"

    def update(self, rows: Any) -> None:
        """Take more rows of A.

        Parameters
        ----------
        rows : array (m, d), sparse matrix, memory-mapped array, or row blocks
            Row blocks are an iterable of arrays or sparse matrices, or a function that returns one.

        Raises
        ------
        ValueError
            Rows do not have d columns, or have entries that are not finite. Blocks of 64 MiB
            are taken one by one: those before the one with the fault stay, see `n_rows`.
        TypeError
            Rows are no array of numbers, complex after real ones, or of another library than those before.
        """
        where = f"{NAME}.update"
        for piece in _intake.pieces(where, "rows", rows, self._d, self._d, self.n_rows):
            block = self._take(where, piece.door, piece.block)
            block = wide(block.toarray() if _arrays.is_sparse(block) else block)
            self._energy += _intake.finite(where, "rows", piece.whole, block)
            with _threads.serial_blas() if self._l**2 * self._d < SMALL else nullcontext():
                self._push(block)
            self.n_rows += block.shape[0]

    def merge(self, other: FrequentDirections) -> None:
        """Take all rows of another stream, which stays as it is; the bounds of both add up.

        Parameters
        ----------
        other : FrequentDirections
            With the same d and sketch size.

        Raises
        ------
        ValueError
            The streams differ in d, sketch size or dtype.
        TypeError
            other is no FrequentDirections, or holds arrays of another library.
        """
        where = f"{NAME}.merge"
        if not isinstance(other, FrequentDirections):
            raise TypeError(f"{where}: other must be a {NAME}; got {type(other).__name__}")
        if (self._d, self._l) != (other._d, other._l):
            raise ValueError(f"{where}: other must have d = {self._d} and sketch_size = {self._l}; got {other!r}")
        if other._kind is None:
            return
        (self._kind or self._open(other._kind)).check_same(where, other._kind)
        self._push(other._buffer[: other._count, :])
        self.n_rows += other.n_rows
        self._energy += other._energy
        self._shrunk += other._shrunk
        self._rounding += other._rounding

    def result(self) -> FrequentDirectionsResult:
        """Return the sketch of what has come so far; the stream may go on.

        Raises
        ------
        ValueError
            Nothing has come yet.
        """
        if self._kind is None or self.n_rows == 0:
            raise ValueError(f"{NAME}.result: the stream must have got rows before; got none")
        xp, like, leave = self._kind.xp, self._kind.like, self._kind.door.leave
        rows, lost, rounding = _shrink(self._buffer[: self._count, :], self._l)
        if rows.shape[0] < self._l:
            zeros = xp.zeros((self._l - rows.shape[0], self._d), dtype=rows.dtype, device=rows.device)
            rows = xp.concat([rows, zeros])
        _, s, Vh = xp.linalg.svd(rows, full_matrices=False)
        [V] = signed(xp.astype(adjoint(Vh), like.dtype))
        s = xp.astype(s, _arrays.real_dtype(xp, like.dtype))
        u = _arrays.unit_roundoff(xp, like.dtype)
        rounding += self._rounding + _svd_rounding(u, self._l, self._d) * self._energy
        bound = (self._shrunk + lost) * (1 + 1e-10) + rounding
        certificate = Certificate(CLAIM, bound, 1.0, "sum of the squared singular values that were taken off")
        relative = rounding / self._energy if self._energy else 0.0
        return FrequentDirectionsResult(leave(s), leave(V), self._energy, self.n_rows, certificate, relative)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a stream that is loaded from it goes on bit for bit."""
        stored: dict[str, Any] = {"d": self._d, "sketch_size": self._l, "n_rows": self.n_rows}
        stored |= {"energy": self._energy, "shrunk": self._shrunk, "rounding": self._rounding}
        if self._kind is not None:
            stored |= {"rows": _arrays.to_numpy(self._buffer[: self._count, :]), "like": _arrays.to_numpy(self._kind.like)}
        np.savez(path, **stored)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FrequentDirections:
        """Read a stream that `save` wrote; its first update decides the library and device of the arrays.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        with reading(NAME, path) as file:
            stream = cls(int(file["d"]), int(file["sketch_size"]))
            if "rows" in file:
                door, [like] = _arrays.enter(NAME, like=file["like"])
                stream._open(Kind(door, like, from_file=True))
                stream._count = file["rows"].shape[0]
                stream._buffer[: stream._count, :] = file["rows"]
            stream.n_rows = int(file["n_rows"])
            stream._energy, stream._shrunk, stream._rounding = (float(file[name]) for name in ("energy", "shrunk", "rounding"))
        return stream

    def _open(self, kind: Kind) -> Kind:
        self._kind = kind
        self._buffer = kind.xp.zeros((2 * self._l, self._d), dtype=wide(kind.like).dtype, device=kind.like.device)
        return kind

    def _take(self, where: str, door: Door, rows: Any) -> Any:
        """Open the stream by its first array; cast the later ones to its dtype."""
        kind = self._kind or self._open(Kind.of(door, rows))
        if kind.from_file:
            self._kind = kind = kind.going_on_as(Kind.of(door, rows))
            self._buffer = _arrays.from_numpy(self._buffer, kind.like)
        return kind.cast(where, "rows", door, rows)

    def _push(self, rows: Array) -> None:
        """Put rows into the buffer; shrink it whenever it is full."""
        first = 0
        while first < rows.shape[0]:
            taken = min(2 * self._l - self._count, rows.shape[0] - first)
            self._buffer[self._count : self._count + taken, :] = rows[first : first + taken, :]
            self._count, first = self._count + taken, first + taken
            if self._count == 2 * self._l:
                self._buffer[: self._l, :], lost, rounding = _shrink(self._buffer, self._l)
                self._count = self._l
                self._shrunk, self._rounding = self._shrunk + lost, self._rounding + rounding


def _shrink(M: Array, rows: int) -> tuple[Array, float, float]:
    """Return at most so many rows B, and bounds: ||M^H M - B^H B||_2 is at most the first but for rounding, the second."""
    xp, (m, d) = _arrays.namespace(M), M.shape
    if m <= rows:
        return M, 0.0, 0.0
    values, E = xp.linalg.eigh(M @ adjoint(M))
    lost = max(float(values[m - rows - 1]), 0.0)
    values = xp.flip(values[m - rows :])
    kept = xp.where(values > lost, values - lost, xp.zeros_like(values))
    weights = xp.sqrt(kept / xp.where(values > lost, values, xp.ones_like(values)))
    B = xp.astype(weights, M.dtype)[:, None] * (adjoint(xp.flip(E[:, m - rows :], axis=1)) @ M)
    energy = float(xp.sum(xp.abs(M) ** 2))
    return B, lost, _rounding(m, d, is_complex(M)) * energy


def _rounding(m: int, d: int, complex_numbers: bool) -> float:
    """Bound what rounding changes in M^H M, relative to ||M||_F^2: the Gram matrix, its eigenvectors, the product with M."""
    return (d + 4 * m**1.5 + 32 * m) * ROUNDOFF * (3 if complex_numbers else 1)


def _svd_rounding(u: float, rows: int, d: int) -> float:
    """Bound the same for the singular values and vectors of the last rows, as they leave."""
    return 8 * u + 32 * (rows + d) * ROUNDOFF
