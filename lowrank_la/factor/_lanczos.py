"""Lanczos: Krylov bases of Hermitian matrices with full orthogonalization, one vector or a block at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array

NOISE = 10  # roundoff units of ||A||: what is left of a block below it is rounding error


@dataclass(frozen=True)
class Krylov:
    """A Q = Q T + P tail E^H with orthonormal [Q, P], where E picks the last block of columns.

    Attributes
    ----------
    rows : array (m, n)
        Q^T.
    T : NumPy array (m, m)
        Q^H A Q in double precision, as computed: `skewness` shows whether A is Hermitian.
    tail : NumPy array (r, last)
        What couples the last block to the space outside of Q; r = 0 where Q is invariant.
    first : int
        Columns of the first block.
    """

    rows: Array
    T: np.ndarray
    tail: np.ndarray
    first: int

    @cached_property
    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors of the Hermitian part of T."""
        values, vectors = np.linalg.eigh((self.T + self.T.conj().T) / 2)
        return values, vectors

    @cached_property
    def residuals(self) -> np.ndarray:
        """||A Q y - theta Q y|| of each Ritz pair, but for rounding errors."""
        last = self.ritz[1][-self.tail.shape[1] :, :]
        return np.linalg.norm(self.tail @ last, axis=0)

    @property
    def skewness(self) -> float:
        """||T - T^H|| / ||T||: rounding errors if A is Hermitian."""
        size = float(np.linalg.norm(self.T))
        return float(np.linalg.norm(self.T - self.T.conj().T)) / size if size else 0.0


def block_lanczos(product: Callable[[Array], Array], start: Array, steps: int) -> Krylov:
    """Build an orthonormal basis of span{X, A X, ..., A^(steps - 1) X} for a start X of shape (n, b).

    Every block is orthogonalized twice against all earlier ones. Directions of a block that depend on
    earlier ones are dropped, so that blocks may shrink; the basis ends early where it is invariant.
    """
    xp, (n, b) = _arrays.namespace(start), start.shape
    rows = xp.empty((min(n, b * steps), n), dtype=start.dtype, device=start.device)
    T = np.zeros((rows.shape[0],) * 2, dtype=np.complex128 if xp.isdtype(start.dtype, "complex floating") else np.float64)
    Q, tail = _independent(start, 0.0)
    first, size, end = Q.shape[1], 0.0, 0
    for step in range(steps):
        begin, end = end, end + Q.shape[1]
        rows[begin:end, :] = Q.T
        W = product(Q)
        size = max(size, float(xp.max(xp.linalg.vector_norm(W, axis=0))))
        Q, T[:end, begin:end], tail = _next_block(rows[:end, :], W, size)
        if Q.shape[1] == 0 or step == steps - 1:
            break
        T[end : end + Q.shape[1], begin:end] = tail
    return Krylov(rows[:end, :], T[:end, :end], tail, first)


def _next_block(rows: Array, W: Array, size: float) -> tuple[Array, np.ndarray, np.ndarray]:
    """Split W = Q C + Q' S with Q' orthonormal and orthogonal to Q; return Q', C, S."""
    C = _adjoint_times(rows, W)
    Q, S = _independent(W - rows.T @ C, size)
    again = _adjoint_times(rows, Q)
    Q, turn = _arrays.namespace(W).linalg.qr(Q - rows.T @ again, mode="reduced")
    return Q, _double(C) + _double(again) @ S, _double(turn) @ S


def _adjoint_times(rows: Array, W: Array) -> Array:
    xp = _arrays.namespace(W)
    return (xp.conj(rows) if xp.isdtype(W.dtype, "complex floating") else rows) @ W


def _independent(W: Array, size: float) -> tuple[Array, np.ndarray]:
    """Factor W = Q S with orthonormal Q, without the directions that are rounding errors of vectors of length `size`."""
    xp = _arrays.namespace(W)
    Q, R = xp.linalg.qr(W, mode="reduced")
    S = _double(R)
    left, s, right = np.linalg.svd(S, full_matrices=False)
    keep = s > NOISE * _arrays.unit_roundoff(xp, W.dtype) * max(size, s[0])
    if keep.all():
        return Q, S
    return Q @ xp.astype(_arrays.from_numpy(left[:, keep], Q), Q.dtype), s[keep, None] * right[keep, :]


def _double(x: Array) -> np.ndarray:
    host = _arrays.to_numpy(x)
    return host.astype(np.complex128 if np.iscomplexobj(host) else np.float64)
