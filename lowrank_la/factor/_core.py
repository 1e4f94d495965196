"""A product of tall factors, taken apart by two orthogonal factorizations and the SVD of their small core."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, defect, norms, residual, wide
from lowrank_la.factor._orth import orthonormal
from lowrank_la.factor._signs import signed

SEED = 0  # of the sketch that only makes a QR factorization faster


@dataclass(frozen=True)
class Core:
    """L diag(s) R^H = Q_left W diag(values) (Q_right Z)^H up to rounding, with orthonormal columns; leading axes are batches."""

    factors: tuple[Array, Array, Array]
    Q_left: Array
    Q_right: Array
    R_left: Array
    R_right: Array
    W: Array
    values: Array
    Z: Array

    def truncate(self, rank: int) -> Truncation:
        """Keep the leading singular triplets."""
        xp = _arrays.namespace(self.values)
        U, V = self.Q_left @ self.W[..., :, :rank], self.Q_right @ self.Z[..., :, :rank]
        U, V, W, Z = signed(U, V, self.W[..., :, :rank], self.Z[..., :, :rank])
        W, Z = (xp.concat([turned, old[..., :, rank:]], axis=-1) for turned, old in ((W, self.W), (Z, self.Z)))
        return Truncation(replace(self, W=W, Z=Z), U, self.values[..., :rank], V)


@dataclass(frozen=True)
class Truncation:
    """U diag(s) V^H, the leading part of what a core stands for."""

    core: Core
    U: Array
    s: Array
    V: Array

    def error_bound(self) -> np.ndarray:
        """Bound ||L diag(s) R^H - U diag(s) V^H||_F.

        The tail is that of exactly orthonormal bases; how far these are from that, and how far the
        factors are from their products, is measured and not taken from the theory of Householder QR.
        """
        core, rank = self.core, self.s.shape[-1]
        left, right = 1 + defect(core.Q_left), 1 + defect(core.Q_right)
        spread = left * right * (1 + defect(core.W)) * (1 + defect(core.Z))
        made = residual(self.U, core.Q_left, core.W[..., :, :rank]) + residual(self.V, core.Q_right, core.Z[..., :, :rank])
        largest = _dense.host(self.s[..., 0])
        return spread * (tails(core.values)[..., rank] + _small(core) + largest * made) + _split(core, left)


def core(L: Array, s: Array, R: Array) -> Core:
    """Take L diag(s) R^H apart; L and R need not be orthonormal, s not positive."""
    xp = _arrays.namespace(L, R)
    Q_left, R_left = _orthonormal(L)
    Q_right, R_right = _orthonormal(R)
    W, values, Zh = xp.linalg.svd((R_left * s[..., None, :]) @ adjoint(R_right), full_matrices=False)
    return Core((L, s, R), Q_left, Q_right, R_left, R_right, W, values, adjoint(Zh))


def _orthonormal(X: Array) -> tuple[Array, Array]:
    if X.ndim == 2:
        return orthonormal(X, SEED)
    Q, R = _arrays.namespace(X).linalg.qr(X, mode="reduced")
    return Q, R


def tails(values: Array) -> np.ndarray:
    """Return sqrt(sum_(i > r) values_i^2) for r = 0, 1, ..., k, along the last axis."""
    squares = _dense.host(values)[..., ::-1] ** 2
    sums = np.cumsum(squares, axis=-1)[..., ::-1]
    return np.sqrt(np.concatenate([sums, np.zeros((*sums.shape[:-1], 1))], axis=-1))


def _small(core: Core) -> np.ndarray:
    """Bound how far the SVD of the small matrix is from it."""
    T, B = wide(core.R_left) * wide(core.factors[1])[..., None, :], wide(adjoint(core.R_right))
    rounding = _dense.gamma(T.shape[-1] + 4, T) * _dense.product_size(T, B)
    return residual(T @ B, core.W * core.values[..., None, :], adjoint(core.Z)) + rounding


def _split(core: Core, left: np.ndarray) -> np.ndarray:
    """Bound what the two QR factorizations have lost."""
    L, s, R = core.factors
    lost = residual(L, core.Q_left, core.R_left) * norms(R * s[..., None, :])
    return lost + left * norms(core.R_left * s[..., None, :]) * residual(R, core.Q_right, core.R_right)
