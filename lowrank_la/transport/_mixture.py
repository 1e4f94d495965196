"""The potential of a light Schrodinger bridge: a mixture of Gaussians, with all integrals in closed form.

v(y) = sum_k exp(l_k) N(y | r_k, eps S_k); the plan from x is a mixture, too:
exp(<x, y> / eps) v(y) / c(x) = sum_k softmax_k(l + (x' S x + 2 r' x) / (2 eps)) N(y | r_k + S_k x, eps S_k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array


@dataclass(frozen=True)
class Mixture:
    """Parameters in double precision, in one namespace.

    Attributes
    ----------
    l : array (K,)
        Logarithms of the weights.
    r : array (K, d)
        Centres.
    s : array (K, d) or (K, d, d)
        Diagonals of S_k, or their lower Cholesky factors.
    eps : float
        Variance of the Wiener process at time 1.
    """

    l: Array
    r: Array
    s: Array
    eps: float

    @property
    def full(self) -> bool:
        """Whether the S_k are full matrices."""
        return self.s.ndim == 3

    def beside(self, like: Array) -> Mixture:
        """Bring the parameters to the namespace and device of an array."""
        return at(self.l, self.r, self.s, self.eps, like)

    def with_weights(self, l: Array) -> Mixture:
        """Replace the logarithms of the weights."""
        return Mixture(l, self.r, self.s, self.eps)

    def log_c(self, X: Array) -> Array:
        """Logarithm of each component's share of c(x), shape (n, K)."""
        linear = X @ _arrays.namespace(X).matrix_transpose(self.r)
        return self.l + (self.quadratic(X) / 2 + linear) / self.eps

    def log_v(self, Y: Array) -> Array:
        """Logarithm of each component's share of v(y), shape (n, K)."""
        xp, d = _arrays.namespace(Y), Y.shape[1]
        if self.full:
            away = [self._whitened(Y, k) for k in range(self.r.shape[0])]
            distance = xp.stack([xp.sum(z * z, axis=0) for z in away], axis=1)
            logdet = 2 * xp.sum(xp.log(xp.linalg.diagonal(self.s)), axis=1)
        else:
            inverse = 1 / self.s
            cross = Y @ xp.matrix_transpose(inverse * self.r)
            distance = (Y * Y) @ xp.matrix_transpose(inverse) - 2 * cross + xp.sum(inverse * self.r * self.r, axis=1)
            logdet = xp.sum(xp.log(self.s), axis=1)
        return self.l - (d * math.log(2 * math.pi * self.eps) + logdet + distance / self.eps) / 2

    def quadratic(self, X: Array) -> Array:
        """Return x' S_k x, shape (n, K)."""
        xp = _arrays.namespace(X)
        if not self.full:
            return (X * X) @ xp.matrix_transpose(self.s)
        products = (X @ self.s[k, :, :] for k in range(self.r.shape[0]))
        return xp.stack([xp.sum(Z * Z, axis=1) for Z in products], axis=1)

    def times(self, X: Array, k: int) -> Array:
        """S_k x for each row."""
        L = self.s[k, ...]
        return (X @ L) @ _arrays.namespace(X).matrix_transpose(L) if self.full else X * L

    def root_times(self, Z: Array, k: int) -> Array:
        """S_k^1/2 z for each row."""
        xp = _arrays.namespace(Z)
        return Z @ xp.matrix_transpose(self.s[k, :, :]) if self.full else Z * xp.sqrt(self.s[k, :])

    def means(self, X: Array, weights: Array) -> Array:
        """Sum over k of weights_k (r_k + S_k x)."""
        parts = (weights[:, k][:, None] * (self.r[k, :] + self.times(X, k)) for k in range(self.r.shape[0]))
        return sum(parts, start=_arrays.namespace(X).zeros_like(X))

    def drift(self, X: Array, t: float) -> Array:
        """Drift of the bridge at time t < 1."""
        xp = _arrays.namespace(X)
        logits, ends = zip(*(self._bridged(X, t, k) for k in range(self.r.shape[0])), strict=True)
        weights = shares(xp, xp.stack(logits, axis=1))[1]
        end = sum((weights[:, k][:, None] * ends[k] for k in range(len(ends))), start=xp.zeros_like(X))
        return (end - X) / (1 - t)

    def _whitened(self, Y: Array, k: int) -> Array:
        """L_k^-1 (y - r_k), one column for each row of Y."""
        xp = _arrays.namespace(Y)
        return _arrays.solve_triangular(xp.matrix_transpose(self.s[k, :, :]), xp.matrix_transpose(Y - self.r[k, :]), adjoint=True)

    def _bridged(self, X: Array, t: float, k: int) -> tuple[Array, Array]:
        """Logit of component k for points at time t, and the mean of their ends there.

        From x at time t, the end has the density exp(-|y - x|^2 / (2 eps (1 - t))) v(y) exp(|y|^2 / (2 eps)) up to a factor.
        In multiples of 1 / eps its precision is A = t / (1 - t) + S^-1, and with h = x / (1 - t) + S^-1 r its mean is A^-1 h.
        """
        xp, a = _arrays.namespace(X), t / (1 - t)
        r, h = self.r[k, :], X / (1 - t)
        if self.full:
            L = self.s[k, :, :]
            S = L @ xp.matrix_transpose(L)
            values, Q = xp.linalg.eigh(S)
            h, r, diagonal = h @ Q, r @ Q, values
        else:
            Q, diagonal = None, self.s[k, :]
        weight = 1 + a * diagonal  # S A
        mean = (h * diagonal + r) / weight
        quadratic = xp.sum((h + r / diagonal) * mean, axis=1) - xp.sum(r * r / diagonal)
        logit = self.l[k] - xp.sum(xp.log(weight)) / 2 + quadratic / (2 * self.eps)
        return logit, mean if Q is None else mean @ xp.matrix_transpose(Q)


def at(l: Array, r: Array, s: Array, eps: float, like: Array) -> Mixture:
    """Bring parameters of any namespace to that of an array."""
    l, r, s = (_arrays.from_numpy(_arrays.to_numpy(x), like) for x in (l, r, s))
    return Mixture(l, r, s, eps)


def shares(xp: Any, logits: Array) -> tuple[Array, Array]:
    """Logarithm of the sum of exponentials of each row, and the share of each in it."""
    top = xp.max(logits, axis=1, keepdims=True)
    e = xp.exp(logits - top)
    total = xp.sum(e, axis=1, keepdims=True)
    return xp.squeeze(top + xp.log(total), axis=1), e / total


def take(mixture: Mixture, choice: np.ndarray, X: Array, Z: Array) -> Array:
    """Draw r_k + S_k x + (eps S_k)^1/2 z with one component k for each row."""
    xp = _arrays.namespace(X)
    order = np.argsort(choice, kind="stable")
    parts = []
    for k in range(mixture.r.shape[0]):
        mine = order[np.searchsorted(choice[order], k) : np.searchsorted(choice[order], k, side="right")]
        if mine.size:
            rows = _arrays.from_numpy(mine, X)
            x, z = xp.take(X, rows, axis=0), xp.take(Z, rows, axis=0)
            parts.append(mixture.r[k, :] + mixture.times(x, k) + math.sqrt(mixture.eps) * mixture.root_times(z, k))
    return xp.take(xp.concat(parts, axis=0), _arrays.from_numpy(np.argsort(order), X), axis=0)
