"""The data of a Kronecker-structured problem: factors with columns of unit length and at most as many rows as columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.factor import _dense
from lowrank_la.tensors import _modes

DENSE = 1 << 27  # entries of an operator: 1 or 2 GiB


@dataclass(frozen=True)
class Problem:
    """Y = X x_1 A_1 ... x_I A_I + noise, in float64 or complex128.

    Attributes
    ----------
    Y : array (m_1, ..., m_I, L)
        Measurements of L snapshots, in the range of the factors.
    A : tuple of arrays (m_i, N_i), m_i <= N_i
        Factors, their columns of length one, or zero where a column is dead.
    norms : tuple of arrays (N_i,)
        Lengths of the columns that were given; 1 for dead ones.
    alive : tuple of arrays (N_i,), bool
        Columns that are not zero.
    couplings : tuple
        For each mode None, or the matrix (N_i, N_i) that makes variances of hyper-parameters.
    size : int
        Measurements of one snapshot, before tall factors were reduced.
    spare : float
        Energy of the measurements that no X can reach.
    """

    Y: Array
    A: tuple[Array, ...]
    norms: tuple[Array, ...]
    alive: tuple[Array, ...]
    couplings: tuple[Array | None, ...]
    size: int
    spare: float

    @property
    def snapshots(self) -> int:
        """Number of snapshots L."""
        return self.Y.shape[-1]

    @property
    def unseen(self) -> int:
        """Dimensions of the measurements that no X can reach."""
        return self.size - math.prod(self.Y.shape[:-1])

    @property
    def energy(self) -> float:
        """Squared norm of all measurements."""
        return square(self.Y) + self.spare

    @property
    def floor(self) -> float:
        """Least noise variance that is told from none."""
        return 1e-10 * self.energy / (self.size * self.snapshots)


@dataclass(frozen=True)
class Entry:
    """A problem and the way out: answers have the form in which y came, flat or a tensor, with or without an axis of snapshots."""

    problem: Problem
    door: Door
    flat: bool
    tail: tuple[int, ...]
    energy: Array  # squared norm of the measurements of each problem of a batch, (B,)
    spare: Array  # the part of it that no X can reach

    def leave(self, X: Array) -> Array:
        """Hand out a tensor (N_1, ..., N_I, L)."""
        return self._shaped(X, self.tail)

    def leave_one(self, X: Array) -> Array:
        """Hand out a tensor (N_1, ..., N_I)."""
        return self._shaped(X, ())

    def _shaped(self, X: Array, tail: tuple[int, ...]) -> Array:
        columns = tuple(a.shape[1] for a in self.problem.A)
        lead = (math.prod(columns),) if self.flat else columns
        return self.door.leave(_arrays.namespace(X).reshape(X, (*lead, *tail)))


def square(x: Array) -> float:
    """Return the sum of |x|^2."""
    xp = _arrays.namespace(x)
    return float(xp.linalg.vector_norm(xp.reshape(x, (-1,)))) ** 2


def enter(function: str, y: Array, factors: Sequence[Any], *, batch: bool = False, name: str = "") -> Entry:
    """Check and prepare the data; those of a batch, along the first axis of y, become snapshots of one problem.

    `name` is that of a single factor in messages.

    Raises
    ------
    TypeError
        y or a factor is no array of numbers, or they belong to different libraries.
    ValueError
        There is no factor, an entry is not finite, or shapes do not fit.
    """
    if _arrays.is_array(factors) or not isinstance(factors, Sequence) or not factors:
        raise TypeError(f"{function}: factors must be a sequence of at least one matrix; got {_kind(factors)}")
    dense = [_entries(function, i, A) if _arrays.is_operator(A) else A for i, A in enumerate(factors)]
    names = [name] if name else [f"factors[{i}]" for i in range(len(dense))]
    door, (y, *A) = _dense.enter(function, **{"Y" if batch else "y": y}, **dict(zip(names, dense, strict=True)))
    for label, a in zip(names, A, strict=True):
        _checks.ndim(function, label, a, 2)
    rows, xp = tuple(a.shape[0] for a in A), _arrays.namespace(y)
    if not batch:
        y = y[None, ...]
    flat, tail = _form(function, tuple(y.shape[1:]), rows, batch)
    Y = _arrays.wide(xp.reshape(y, (y.shape[0], *rows, math.prod(tail))))
    Y = xp.reshape(xp.moveaxis(Y, 0, -2), (*rows, -1))
    energy, (problem, spare) = _energies(Y), _reduced(Y, [_arrays.wide(a) for a in A])
    energy, spare = (xp.sum(xp.reshape(x, (y.shape[0], -1)), axis=1) for x in (energy, spare))
    return Entry(problem, door, flat, tail, energy, spare)


def _kind(x: Any) -> str:
    return f"{type(x).__name__} of {len(x)}" if isinstance(x, Sequence) else type(x).__name__


def _entries(function: str, i: int, operator: Any) -> Array:
    """Make a factor dense: every step takes the singular value decomposition of its columns in use, which fast products do not speed up.

    Raises
    ------
    ValueError
        It has too many entries.
    """
    import numpy as np

    rows, columns = operator.shape
    if rows * columns > DENSE:
        raise ValueError(f"{function}: factors[{i}] must have at most {DENSE} entries, since it is made dense; got shape {operator.shape}")
    return operator @ np.eye(columns)


def _form(function: str, shape: tuple[int, ...], rows: tuple[int, ...], batch: bool) -> tuple[bool, tuple[int, ...]]:
    """Say whether measurements are flat, and the axis of snapshots that they have.

    Raises
    ------
    ValueError
        The shape does not fit the factors.
    """
    size, count = math.prod(rows), len(rows)
    if shape[:1] == (size,) and len(shape) <= 2:
        return True, shape[1:]
    if shape[:count] == rows and len(shape) <= count + 1:
        return False, shape[count:]
    hint = ""
    if sorted(shape[:count]) == sorted(rows):
        hint = "; its axes are those of the factors in another order: permute the factors, or the axes of y"
    wanted = f"({size},) or ({size}, L)" if count == 1 else f"({size},), ({size}, L), {rows} or {(*rows, 'L')}".replace("'", "")
    y, where = ("Y", " behind the axis of problems") if batch else ("y", "")
    raise ValueError(f"{function}: {y} must have shape {wanted}{where} for factors with {rows} rows; got {shape}{hint}")


def _reduced(Y: Array, A: list[Array]) -> tuple[Problem, Array]:
    """Scale the columns of the factors and reduce tall ones; return also what is lost of the energy of each snapshot."""
    xp = _arrays.namespace(Y)
    size, norms, alive = math.prod(Y.shape[:-1]), [], []
    spare = xp.zeros_like(_energies(Y))
    for i, a in enumerate(A):
        length = xp.linalg.vector_norm(a, axis=0)
        alive.append(length > 0)
        norms.append(xp.where(alive[i], length, xp.ones_like(length)))
        A[i] = a / norms[i]
        if a.shape[0] > a.shape[1]:
            Q, A[i] = xp.linalg.qr(A[i], mode="reduced")
            inside = _modes.multiply(Y, _dense.adjoint(Q), i)
            spare = spare + _energies(Y - _modes.multiply(inside, Q, i))
            Y = inside
    return Problem(Y, tuple(A), tuple(norms), tuple(alive), (None,) * len(A), size, float(xp.sum(spare))), spare


def _energies(Y: Array) -> Array:
    """Return the energy of each snapshot."""
    xp = _arrays.namespace(Y)
    return xp.linalg.vector_norm(xp.reshape(Y, (-1, Y.shape[-1])), axis=0) ** 2
