"""Problems with the same factors, side by side: every array has a leading axis, with one entry for each problem."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array, Namespace
from lowrank_la.sbl._problem import Entry


@dataclass(frozen=True)
class Stack:
    """Y = X x_1 A_1 ... x_I A_I + noise for each of B problems, in float64 or complex128.

    Attributes
    ----------
    Y : array (B, m_1, ..., m_I, L)
        Measurements of L snapshots, in the range of the factors.
    A : tuple of arrays (1 or B, m_i, n_i), m_i <= n_i
        Factors, their columns of length one, or zero where a column is dead.
    alive : tuple of arrays (1 or B, n_i), bool
        Columns that are not zero.
    couplings : tuple
        For each mode None, or the matrix (n_i, n_i) that makes variances of hyper-parameters.
    energy, spare : arrays (B,)
        Squared norm of all measurements, and of the part that no X can reach.
    size : int
        Measurements of one snapshot, before tall factors were reduced.
    """

    Y: Array
    A: tuple[Array, ...]
    alive: tuple[Array, ...]
    couplings: tuple[Array | None, ...]
    energy: Array
    spare: Array
    size: int

    @functools.cached_property
    def xp(self) -> Namespace:
        """Namespace of the arrays."""
        return _arrays.namespace(self.Y)

    @functools.cached_property
    def adjoints(self) -> tuple[Array, ...]:
        """Adjoints of the factors."""
        return tuple(map(adjoint, self.A))

    @property
    def count(self) -> int:
        """Number of problems B."""
        return self.Y.shape[0]

    @property
    def snapshots(self) -> int:
        """Number of snapshots L of each problem."""
        return self.Y.shape[-1]

    @property
    def unseen(self) -> int:
        """Dimensions of the measurements that no X can reach."""
        return self.size - math.prod(self.Y.shape[1:-1])

    @property
    def floor(self) -> Array:
        """Least noise variance that is told from none, (B,)."""
        return 1e-10 * self.energy / (self.size * self.snapshots)

    def work(self, columns: Sequence[int]) -> int:
        """Estimate the flops of a step with so many columns of each factor."""
        rows = [min(a.shape[1], n) for a, n in zip(self.A, columns, strict=True)]
        size = math.prod(rows) * self.snapshots
        return self.count * sum(10 * m * m * n + 4 * size * m + 20 * size for m, n in zip(rows, columns, strict=True))

    def take(self, ids: np.ndarray) -> Stack:
        """Return some of the problems."""
        Y, energy, spare = (take(x, ids) for x in (self.Y, self.energy, self.spare))
        A, alive = (tuple(x if x.shape[0] == 1 else take(x, ids) for x in items) for items in (self.A, self.alive))
        return Stack(Y, A, alive, self.couplings, energy, spare, self.size)

    def restricted(self, kept: Sequence[Array | None]) -> Stack:
        """Return the problems with some of their columns, in order, then dead ones up to the largest number of a problem; None keeps all.

        Factors that become tall are reduced by a QR factorization, so that the rest of a climb costs what few atoms cost.
        """
        xp, Y, spare = self.xp, self.Y, self.spare
        A, alive = list(self.A), list(self.alive)
        for i, mask in enumerate(kept):
            if mask is None:
                continue
            places, alive[i] = chosen(mask)
            A[i] = columns(A[i], places) * xp.astype(alive[i], A[i].dtype)[:, None, :]
            if A[i].shape[1] > A[i].shape[2]:
                Q, A[i] = xp.linalg.qr(A[i], mode="reduced")
                inside = multiply(Y, adjoint(Q), i)
                spare = spare + squares(Y - multiply(inside, Q, i))
                Y = inside
        return Stack(Y, tuple(A), tuple(alive), self.couplings, self.energy, spare, self.size)


def stacked(entry: Entry) -> Stack:
    """Separate the problems of a batch."""
    problem, xp, energy = entry.problem, _arrays.namespace(entry.energy), entry.energy
    Y = xp.moveaxis(xp.reshape(problem.Y, (*problem.Y.shape[:-1], energy.shape[0], -1)), -2, 0)
    A, alive = tuple(a[None, ...] for a in problem.A), tuple(a[None, ...] for a in problem.alive)
    return Stack(Y, A, alive, problem.couplings, energy, entry.spare, problem.size)


def take(x: Array, ids: np.ndarray) -> Array:
    """Return some entries of the leading axis."""
    return _arrays.namespace(x).take(x, _arrays.from_numpy(ids, x), axis=0)


def put(x: Array, ids: np.ndarray, new: Array) -> Array:
    """Return x with some entries of the leading axis replaced."""
    order = np.arange(x.shape[0])
    order[ids] = order.size + np.arange(ids.size)
    return take(_arrays.namespace(x).concat([x, new]), order)


def chosen(mask: Array, most: int = 0) -> tuple[Array, Array]:
    """Return the places (B, n) of the entries of masks (B, N), filled up to the largest number n of a problem, and which are true."""
    xp = _arrays.namespace(mask)
    number = xp.astype(mask, xp.int64)
    most = most or max(1, int(xp.max(xp.sum(number, axis=1))))
    places = xp.argsort(1 - number, axis=1, stable=True)[:, :most]
    return places, xp.take_along_axis(mask, places, axis=1)


def columns(A: Array, places: Array) -> Array:
    """Return columns (B, m, n) of matrices (1 or B, m, N) at the places (B, n)."""
    xp = _arrays.namespace(A)
    return xp.take_along_axis(xp.broadcast_to(A, (places.shape[0], *A.shape[1:])), places[:, None, :], axis=2)


def spread(x: Array, mask: Array, axis: int) -> Array:
    """Put entries of an axis back among zeros, where the masks (B, N) are true."""
    xp = _arrays.namespace(mask)
    shape = (mask.shape[0], *(mask.shape[1] if k == axis else 1 for k in range(1, x.ndim)))
    places = xp.clip(xp.cumulative_sum(xp.astype(mask, xp.int64), axis=1) - 1, min=0)
    there = xp.take_along_axis(x, xp.reshape(places, shape), axis=axis)
    return xp.where(xp.reshape(mask, shape), there, xp.zeros_like(there))


def adjoint(M: Array) -> Array:
    """Return the adjoint of each matrix."""
    return _arrays.adjoint_of(_arrays.namespace(M), M)


def multiply(T: Array, M: Array, mode: int) -> Array:
    """Return T x_mode M for tensors (B, n_1, ..., n_I, L) and matrices (1 or B, p, n_mode)."""
    xp, shape = _arrays.namespace(T), T.shape
    before, n, behind = math.prod(shape[1 : mode + 1]), shape[mode + 1], math.prod(shape[mode + 2 :])
    if behind == 1:
        product = xp.reshape(T, (shape[0], before, n)) @ xp.matrix_transpose(M)
    elif before == 1:
        product = M @ xp.reshape(T, (shape[0], n, behind))
    else:
        product = M[:, None, :, :] @ xp.reshape(T, (shape[0], before, n, behind))
    return xp.reshape(product, (*shape[: mode + 1], M.shape[1], *shape[mode + 2 :]))


def multiply_all(T: Array, matrices: Sequence[Array]) -> Array:
    """Multiply every mode by its matrices; those that shrink the tensor most come first."""
    for i in sorted(range(len(matrices)), key=lambda i: matrices[i].shape[1] / max(1, matrices[i].shape[2])):
        T = multiply(T, matrices[i], i)
    return T


def products(vectors: Sequence[Array]) -> Array:
    """Return tensors (B, n_1, ..., n_I) of all products of entries, one from each of the vectors (1 or B, n_i)."""
    xp = _arrays.namespace(vectors[0])
    T = vectors[0]
    for v in vectors[1:]:
        T = T[..., None] * xp.reshape(v, (v.shape[0], *(1,) * (T.ndim - 1), v.shape[1]))
    return T


def squares(x: Array) -> Array:
    """Return the sum of |x|^2 over each problem, (B,)."""
    xp = _arrays.namespace(x)
    return xp.linalg.vector_norm(xp.reshape(x, (x.shape[0], -1)), axis=1) ** 2


def total(x: Array) -> Array:
    """Return the sum over each problem, (B,)."""
    xp = _arrays.namespace(x)
    return xp.sum(xp.reshape(x, (x.shape[0], -1)), axis=1)
