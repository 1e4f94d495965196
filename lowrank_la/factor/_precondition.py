"""From a sketch of A to a triangular P that makes A P well conditioned, and the numerical rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array


@dataclass(frozen=True)
class Preconditioner:
    """A basis P of the row space in which the normal matrix is close to the identity.

    Columns of A are scaled to lengths between 1 and 2 by powers of two, so no rounding
    and no copy of A: the scales c live in P = diag(c) E R^-1. E picks `rank` columns
    that span the others; with full rank it is the identity.

    Attributes
    ----------
    P : array (d, rank)
        Basis; P as columns of `square`.
    square : array (d, d), upper triangular
        P with zero columns at the dropped ones, as the Gram kernel wants it.
    R : array (rank, rank), upper triangular
        R^H R is close to the Gram matrix of the scaled columns that are kept.
    scales : array (d,)
        c.
    keep : int64 array (rank,) or None
        Columns that are kept, ascending; None if all.
    null : array (d, d - rank) or None
        Orthonormal basis of the null space of A.
    start : array (d, k)
        The solution of the sketched problem.
    """

    P: Array
    square: Array
    R: Array
    scales: Array
    keep: Array | None
    null: Array | None
    start: Array

    @property
    def rank(self) -> int:
        return self.R.shape[0]

    def kept(self, v: Array) -> Array:
        """Rows of v that belong to kept columns of A."""
        return v if self.keep is None else _arrays.namespace(v).take(v, self.keep, axis=0)

    def kept_square(self, G: Array) -> Array:
        """Rows and columns of G that belong to kept columns of A."""
        return G if self.keep is None else _arrays.namespace(G).take(self.kept(G), self.keep, axis=1)

    def spread(self, P: Array) -> Array:
        """Put columns that belong to kept columns of A in their places, with zeros between them."""
        return P if self.keep is None else P @ _arrays.namespace(P).matrix_transpose(_one_hot(self.keep, self.scales.shape[0], P))

    def shortest(self, X: Array) -> Array:
        """Remove from X what A maps to zero: the solution of least norm."""
        if self.null is None:
            return X
        xp = _arrays.namespace(X)
        return X - self.null @ (_arrays.adjoint_of(xp, self.null) @ X)


def precondition(Y: Array, Z: Array, roundoff: float) -> Preconditioner:
    """Factor a sketch Y of A; solve min ||Z - Y X|| on the way.

    Singular values below 30 roundoff times the largest count as zero, after scaling of columns.
    """
    xp = _arrays.namespace(Y, Z)
    d = Y.shape[1]
    scales = _inverse_lengths(Y)
    T = _arrays.triangular_factor(xp.concat([Y * scales, Z], axis=1))
    R, QhZ = _square_top(T, d), _top(T, d)[:, d:]
    R_inv, rank = _inverse_and_rank(R, 30 * roundoff)
    if rank == d:
        P = scales[:, None] * R_inv
        return Preconditioner(P, P, R, scales, None, None, P @ QhZ)
    return _rank_deficient(R, QhZ, scales, rank)


def _inverse_lengths(Y: Array) -> Array:
    """Powers of two within a factor two of the inverse column norms; 1 for zero columns."""
    xp = _arrays.namespace(Y)
    largest = xp.max(xp.abs(Y), axis=0)
    safe = xp.where(largest > 0, largest, xp.ones_like(largest))
    lengths = safe * xp.sqrt(xp.sum(xp.abs(Y / safe) ** 2, axis=0))
    exponent = xp.where(largest > 0, xp.floor(xp.log2(xp.where(largest > 0, lengths, xp.ones_like(lengths)))), xp.zeros_like(lengths))
    return xp.asarray(2.0, dtype=exponent.dtype, device=exponent.device) ** xp.clip(-exponent, -1000, 1000)


def _top(T: Array, d: int) -> Array:
    """First d rows of T, with zeros where T is shorter."""
    xp = _arrays.namespace(T)
    if T.shape[0] >= d:
        return T[:d, :]
    return xp.concat([T, xp.zeros((d - T.shape[0], T.shape[1]), dtype=T.dtype, device=T.device)])


def _square_top(T: Array, d: int) -> Array:
    return _top(T, d)[:, :d]


def _inverse_and_rank(R: Array, threshold: float) -> tuple[Array, int]:
    """Invert R and count its singular values above threshold times the largest; the inverse counts only if all are."""
    xp = _arrays.namespace(R)
    diagonal = xp.abs(xp.linalg.diagonal(R))
    R_inv = xp.eye(R.shape[0], dtype=R.dtype, device=R.device)
    if bool(xp.all(diagonal > threshold * xp.max(diagonal))):
        R_inv = _arrays.solve_triangular(R, R_inv)
        if _norm(R) * threshold < 1 / _norm(R_inv):  # no singular values needed: the Frobenius norms bound the condition
            return R_inv, R.shape[0]
    s = xp.linalg.svdvals(R)
    return R_inv, int(xp.sum(xp.astype(s > threshold * xp.max(s), xp.int64)))


def _norm(x: Array) -> float:
    """Frobenius norm, without overflow of squares."""
    xp = _arrays.namespace(x)
    largest = float(xp.max(xp.abs(x)))
    return largest * float(xp.linalg.matrix_norm(x / largest)) if 0 < largest < math.inf else math.inf


def _rank_deficient(R: Array, QhZ: Array, scales: Array, rank: int) -> Preconditioner:
    """Keep `rank` columns that span the others, and the null space that this leaves."""
    from scipy.linalg import qr

    xp = _arrays.namespace(R)
    d = R.shape[0]
    _, order = qr(_arrays.to_numpy(R), mode="r", pivoting=True)  # type: ignore[misc]
    keep, drop = (_arrays.from_numpy(_ascending(part), R) for part in (order[:rank], order[rank:]))
    pick, leave = (_one_hot(part, d, R) for part in (keep, drop))
    T = _top(_arrays.triangular_factor(xp.concat([xp.take(R, keep, axis=1), xp.take(R, drop, axis=1), QhZ], axis=1)), rank)
    R_kept = T[:, :rank]
    R_inv = _arrays.solve_triangular(R_kept, xp.eye(rank, dtype=R.dtype, device=R.device))
    P = scales[:, None] * (pick @ R_inv)
    null = scales[:, None] * (leave - pick @ (R_inv @ T[:, rank:d]))
    null = xp.linalg.qr(null, mode="reduced")[0]
    square = P @ xp.matrix_transpose(pick)
    return Preconditioner(P, square, R_kept, scales, keep, null, P @ T[:, d:])


def _ascending(order: Any) -> Any:
    order = order.astype("int64")
    order.sort()
    return order


def _one_hot(index: Array, d: int, like: Array) -> Array:
    xp = _arrays.namespace(like)
    return xp.astype(xp.arange(d, dtype=xp.int64, device=like.device)[:, None] == index[None, :], like.dtype)
