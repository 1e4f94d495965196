"""Lanczos: Krylov bases of Hermitian matrices with full orthogonalization, one vector or a block at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array

NOISE = 50  # roundoff units of the longest product: what is left of a block below it is rounding error


@dataclass(frozen=True)
class Krylov:
    """An orthonormal basis Q of a Krylov space, P of the block that comes next, and A Q = Q T + P C.

    Attributes
    ----------
    rows : array (m, n)
        Q^T.
    T : NumPy array (m, m)
        Q^H A Q in double precision, as computed: `skewness` shows whether A is Hermitian.
    P : array (n, r)
        r = 0 where Q is invariant.
    C : NumPy array (r, m)
        P^H A Q.
    first : int
        Columns of the first block.
    size : float
        Length of the longest product so far, which is the scale of rounding errors.
    """

    rows: Array
    T: np.ndarray
    P: Array
    C: np.ndarray
    first: int
    size: float

    @cached_property
    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors of the Hermitian part of T."""
        values, vectors = np.linalg.eigh((self.T + self.T.conj().T) / 2)
        return values, vectors

    @cached_property
    def residuals(self) -> np.ndarray:
        """||A Q y - theta Q y|| of each Ritz pair, but for rounding errors."""
        return np.linalg.norm(self.C @ self.ritz[1], axis=0)

    @property
    def skewness(self) -> float:
        """||T - T^H|| / ||T||: rounding errors if A is Hermitian."""
        size = float(np.linalg.norm(self.T))
        return float(np.linalg.norm(self.T - self.T.conj().T)) / size if size else 0.0

    @property
    def finished(self) -> bool:
        """Whether the space is invariant: nothing can be added."""
        return self.P.shape[1] == 0

    def vectors(self, columns: np.ndarray) -> Array:
        """Return Q times host columns (m, k), an (n, k) array."""
        xp = _arrays.namespace(self.rows)
        return self.rows.T @ xp.astype(_arrays.from_numpy(columns, self.rows), self.rows.dtype)

    def grown(self, product: Callable[[Array], Array], steps: int) -> Krylov:
        """Add up to `steps` blocks, every one orthogonalized twice against all before it.

        Directions of a block that depend on earlier ones are dropped, so that blocks may shrink.
        """
        xp, (m, n) = _arrays.namespace(self.P), self.rows.shape
        order = min(n, m + self.P.shape[1] * steps)
        rows = xp.empty((order, n), dtype=self.P.dtype, device=self.P.device)
        T = np.zeros((order, order), dtype=self.T.dtype)
        rows[:m, :], T[:m, :m] = self.rows, self.T
        P, C, size, end = self.P, self.C, self.size, m
        for _ in range(steps):
            if P.shape[1] == 0:
                break
            begin, end = end, end + P.shape[1]
            rows[begin:end, :], T[begin:end, :begin] = P.T, C
            W = product(P)
            size = max(size, float(xp.max(xp.linalg.vector_norm(W, axis=0))))
            P, T[:end, begin:end], tail = _next_block(rows[:end, :], W, size)
            C = np.concatenate([np.zeros((P.shape[1], begin)), tail], axis=1)
        return Krylov(rows[:end, :], T[:end, :end], P, C, self.first, size)

    def refreshed(self, start: Array) -> Krylov:
        """Go on with a fresh start where the space is invariant."""
        start = start - self.rows.T @ _adjoint_times(self.rows, start)
        P = _next_block(self.rows, start, 0.0)[0]
        return replace(self, P=P, C=np.zeros((P.shape[1], self.T.shape[0]), dtype=self.T.dtype))

    def restarted(self, keep: int) -> Krylov:
        """Keep the Ritz vectors of the `keep` largest Ritz values, and the block that comes next."""
        values, vectors = self.ritz
        best = vectors[:, -keep:]
        return Krylov(self.vectors(best).T, np.diag(values[-keep:]).astype(self.T.dtype), self.P, self.C @ best, 0, self.size)


def block_lanczos(product: Callable[[Array], Array], start: Array, steps: int) -> Krylov:
    """Build an orthonormal basis of span{X, A X, ..., A^(steps - 1) X} for a start X of shape (n, b)."""
    P, _ = _independent(start, 0.0)
    nothing = np.zeros((P.shape[1], 0), dtype=_double(start[:0, :]).dtype)
    return Krylov(P.T[:0, :], nothing[:0, :], P, nothing, P.shape[1], 0.0).grown(product, steps)


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
