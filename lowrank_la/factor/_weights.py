"""Weights on one side of a matrix: a diagonal, a Gram matrix or its factor, all as one root L with H = L^H L."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, gamma, norms, residual, wide

NO_SLACK = np.asarray(0.0)


@dataclass(frozen=True)
class Weight:
    """H = L^H L up to `slack`, in float64; what it does to the rows of a matrix.

    Attributes
    ----------
    root : array (..., q, m), or (..., m) if diagonal, or None
        L; None is the identity.
    diagonal : bool
    triangular : bool
        L is an upper triangle that can be inverted.
    slack : array of float64
        Bound on ||H - L^H L||_2, on the host.
    clipped : array of float64
        Sum of the negative eigenvalues that were set to 0, relative to the sum of all absolute values.
    """

    root: Array | None = None
    diagonal: bool = False
    triangular: bool = False
    slack: np.ndarray = field(default_factory=lambda: NO_SLACK)
    clipped: np.ndarray = field(default_factory=lambda: NO_SLACK)

    def times(self, E: Array) -> Array:
        """Return L E, in the dtype of E."""
        if self.root is None:
            return E
        root = _arrays.namespace(E).astype(self.root, E.dtype, copy=False)
        return root[..., :, None] * E if self.diagonal else root @ E

    def pinv_times(self, U: Array) -> Array:
        """Return L^+ U, in float64; directions of no weight stay 0."""
        if self.root is None:
            return wide(U)
        xp = _arrays.namespace(U)
        if self.diagonal:
            return _divided(xp, wide(U), self.root)
        if self.triangular:
            return _dense.solve_triangular(self.root, wide(U))
        W, d, Zh = xp.linalg.svd(self.root, full_matrices=False)
        cutoff = max(self.root.shape[-2:]) * 2 * _dense.U * xp.max(d, axis=-1, keepdims=True)
        d = xp.where(d > cutoff, d, xp.zeros_like(d))
        return adjoint(Zh) @ _divided(xp, adjoint(W) @ wide(U), d)

    @property
    def norm(self) -> np.ndarray:
        """||L||_F, or for a diagonal ||L||_2: the factor by which rounding errors of E grow."""
        if self.root is None:
            return np.asarray(1.0)
        if not self.diagonal:
            return norms(self.root)
        return _dense.host(_arrays.namespace(self.root).max(self.root, axis=-1))

    def rounding(self, E: Array) -> np.ndarray:
        """Bound the error of L E, computed in float64."""
        if self.root is None:
            return np.asarray(0.0)
        return gamma(4 if self.diagonal else self.root.shape[-1] + 4, E) * self.norm * norms(E)


def _divided(xp: Any, U: Array, d: Array) -> Array:
    """Divide rows of U by d; rows with d = 0 become 0."""
    d = d[..., :, None]
    return xp.where(d > 0, U / xp.where(d > 0, d, xp.ones_like(d)), xp.zeros_like(U))


def weight(function: str, name: str, H: Array | None, X: Array | None, M: Array, axis: int, damping: float) -> Weight:
    """Read the weights of one side of M, of which `H` (vector or Gram matrix) or `X` (factor) may be given.

    Raises
    ------
    ValueError
        Shapes do not fit, a weight is negative, or H is not Hermitian and positive semidefinite.
    TypeError
        Weights of a diagonal are complex.
    """
    n = M.shape[axis]
    if X is not None:
        _dense.same_batch(function, f"{name}_factor", X, M, "M")
        if X.shape[-2] != n:
            raise ValueError(f"{function}: {name}_factor must have {n} rows; got shape {tuple(X.shape)}")
        return _of_factor(X, damping)
    if H is None:
        return Weight()
    if H.ndim == M.ndim - 1:
        return _of_diagonal(_checks.shape(function, name, H, (*M.shape[:-2], n)), function, name, damping)
    _checks.shape(function, name, H, (*M.shape[:-2], n, n))
    return _of_gram(H, function, name, damping)


def _of_diagonal(w: Array, function: str, name: str, damping: float) -> Weight:
    """Take weights of rows.

    Raises
    ------
    ValueError
        A weight is negative.
    """
    xp = _arrays.namespace(w)
    w = _dense.real(function, name, w)
    if bool(xp.any(w < 0)):
        raise ValueError(f"{function}: {name} must be nonnegative; got {float(xp.min(w)):.6g}")
    w = wide(w)
    return Weight(xp.sqrt(w + damping * xp.mean(w, axis=-1, keepdims=True)), diagonal=True)


def _of_gram(H: Array, function: str, name: str, damping: float) -> Weight:
    """Take a Gram matrix apart by Cholesky or, if it is nearly singular, by eigenvalues, of which negative ones are rounding errors.

    Raises
    ------
    ValueError
        H is not Hermitian, or has a negative eigenvalue beyond the square root of roundoff.
    """
    xp = _arrays.namespace(H)
    tolerance = math.sqrt(_arrays.unit_roundoff(xp, H.dtype))
    H = _dense.hermitian(function, name, H)
    H = H + damping * _mean_diagonal(H) * _dense.eye(xp, H.shape[-1], H)
    C = _dense.cholesky(H)
    if C is not None:
        return Weight(C, triangular=True, slack=residual(H, adjoint(C), C))
    eigen = _dense.semidefinite(function, name, H, tolerance)
    values = eigen.values
    kept = xp.where(values > 0, values, xp.zeros_like(values))
    total, negative = _dense.host(xp.sum(xp.abs(values), axis=-1)), _dense.host(xp.sum(kept - values, axis=-1))
    clipped = np.where(total > 0, negative / np.where(total > 0, total, 1), 0)
    return Weight(xp.sqrt(kept)[..., :, None] * adjoint(eigen.V), slack=eigen.slack, clipped=clipped)


def _of_factor(X: Array, damping: float) -> Weight:
    """Take the triangular factor of X^H, so that X X^H is never formed; if X is slim, X^H is root enough.

    For float32 the Gram matrix in float64 is precise enough, and faster.
    """
    xp = _arrays.namespace(X)
    short = _arrays.unit_roundoff(xp, X.dtype) > _dense.U
    Xh = wide(adjoint(X))
    if damping:
        mean = xp.sum(xp.abs(Xh) ** 2, axis=(-2, -1)) / Xh.shape[-1]
        Xh = xp.concat([Xh, xp.sqrt(damping * mean)[..., None, None] * _dense.eye(xp, Xh.shape[-1], Xh)], axis=-2)
    if Xh.shape[-2] <= Xh.shape[-1]:
        return Weight(Xh)
    H = adjoint(Xh) @ Xh
    C = _dense.cholesky(H) if short else None
    R = _arrays.triangular_factor(Xh) if C is None else C
    slack = residual(H, adjoint(R), R) + gamma(Xh.shape[-2] + 4, Xh) * norms(Xh) ** 2
    return Weight(R, triangular=_dense.invertible(R, 10 * math.sqrt(R.shape[-1] * _dense.U)), slack=slack)


def _mean_diagonal(H: Array) -> Array:
    xp = _arrays.namespace(H)
    return xp.mean(xp.real(xp.linalg.diagonal(H)) if _dense.is_complex(H) else xp.linalg.diagonal(H), axis=-1)[..., None, None]
