"""The m x m algebra in float64.

For H = damp I + G^T G / n, with K = G G^T and K_lam = K + n damp I,

    H^-1 b = (b - G^T K_lam^-1 G b) / damp,    H^-1 G^T z = n G^T K_lam^-1 z.

The first form cancels by a factor of up to |K| / (n damp): float64 affords what float32 does not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import MOST, U, gamma, host

FLOOR = 4 * U  # eigenvalues of K + n damp I below this share of the trace are rounding errors


@dataclass(frozen=True)
class Small:
    """K = G G^T on the host, for the n rows of G that count; further rows are zero."""

    K: np.ndarray
    n: int
    damp: float

    @property
    def shift(self) -> float:
        """What is added to the diagonal of K: n damp."""
        return self.n * self.damp

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Bounds on the norms of the rows."""
        return np.sqrt(np.diagonal(self.K) * (1 + 1e-8))

    @functools.cached_property
    def W(self) -> np.ndarray:
        """Return W with W^T W = (K + n damp I)^-1, from a Cholesky factor or, where rounding errors forbid that, from eigenvalues."""
        m = self.K.shape[0]
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                L = np.linalg.cholesky(self.K + self.shift * np.eye(m))
                if self.shift > FLOOR * np.trace(self.K):
                    return _arrays.solve_triangular(L.T, np.eye(m), adjoint=True)
            except np.linalg.LinAlgError:
                pass
        values, V = np.linalg.eigh(self.K)
        values = np.maximum(np.maximum(values, 0) + self.shift, FLOOR * np.trace(self.K))
        return V.T / np.sqrt(values)[:, None]

    def reach(self, f: np.ndarray, slack: float, enough: np.ndarray) -> np.ndarray:
        """Bound the norms of n G^T (K + n damp I)^-1 w over all w with |w_i| <= f_i, for the columns of f.

        The norm of n G^T (K + n damp I)^-1 is at most sqrt(n / damp) / 2. If that is not `enough`, W may tell more.
        """
        plain = math.sqrt(self.n / self.damp) / 2 * np.linalg.norm(f, axis=0)
        stretch = math.inf if np.all(plain <= enough) else self._stretch(slack)
        return np.minimum(plain, self.n * stretch * np.linalg.norm(np.abs(self.W) @ f, axis=0)) if stretch < math.inf else plain

    def _stretch(self, slack: float) -> float:
        """Bound sqrt(|W^-T (K + n damp I)^-1 W^-1|) for the K that `slack` bounds the rounding errors of."""
        m = self.K.shape[0]
        rounding = 2 * gamma(m + 8, self.K) * self._scale**2 * (np.trace(self.K) + m * self.shift)
        defect = self._defect + rounding + slack * np.sum((np.abs(self.W) @ self.lengths) ** 2)
        return 1 / math.sqrt(1 - defect) if defect < 1 / 2 else math.inf

    @functools.cached_property
    def _scale(self) -> float:
        return float(np.linalg.norm(self.W))

    @functools.cached_property
    def _defect(self) -> float:
        """Return ||W (K + n damp I) W^T - I||_F, as computed."""
        return float(np.linalg.norm(self.W @ self.times(self.W.T) - np.eye(self.K.shape[0])))

    def inverse(self, u: np.ndarray) -> np.ndarray:
        """Return (K + n damp I)^-1 u, corrected once."""
        t = self.W.T @ (self.W @ u)
        return t + self.W.T @ (self.W @ (u - self.times(t)))

    def times(self, t: np.ndarray) -> np.ndarray:
        """Return (K + n damp I) t."""
        return self.K @ t + self.shift * t

    def image(self, w: np.ndarray, slack: float) -> np.ndarray:
        """Bound the norms of the columns of G^T w, where K has a relative error of `slack` in each entry's scale."""
        squares = np.sum(w * (self.K @ w), axis=0)
        return np.sqrt(np.maximum(squares, 0) + slack * self.spread(w) ** 2)

    def spread(self, w: np.ndarray) -> np.ndarray:
        """Return sum_i |g_i| |w_i| for each column, a bound on |G^T w|."""
        return self.lengths @ np.abs(w)


def products_error(G: Array) -> float:
    """Bound the relative rounding error of K and of products with the gradients, in the scale of their terms."""
    return gamma(max(kernels.long_rows.terms(G), kernels.row_gram.terms(G)), np.empty(0))


def gram(function: str, name: str, G: Array) -> np.ndarray:
    """Return G G^T in float64 for real, finite rows whose squares do not overflow: its diagonal tells.

    Raises
    ------
    TypeError
        They are complex.
    ValueError
        An entry is not finite or too large.
    """
    _checks.real_dtype(function, name, G)
    with np.errstate(over="ignore", invalid="ignore"):
        K = host(kernels.row_gram.gram(G))
    if not np.all(np.diagonal(K) <= MOST[8] ** 2):
        finite(function, name, G)
    return K


def finite(function: str, name: str, x: Array) -> Array:
    """Require real, finite numbers whose squares do not overflow.

    Raises
    ------
    TypeError
        They are complex.
    ValueError
        An entry is not finite or too large.
    """
    xp = _arrays.namespace(x)
    if x.dtype == xp.uint16:
        x = widened(x)
    _checks.real_dtype(function, name, x)
    _checks.finite(function, name, x)
    if x.dtype == xp.float64 and any(float(xp.max(xp.abs(block))) > MOST[8] for _, block in _arrays.row_blocks(x)):
        raise ValueError(f"{function}: {name} must have entries whose squares do not overflow; scale it down")
    return x


def rounded(x: np.ndarray) -> np.ndarray:
    """Round float32 numbers to bfloat16, the nearest or the even one, and return their words."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype(np.uint16)


def widened(x: Array) -> Array:
    """Return gradients in float64, those in bfloat16 from their words."""
    return kernels.long_rows.widened(x)


def tiles(G: Array) -> Iterator[slice]:
    """Cut the columns of G into tiles."""
    return kernels.long_rows.tiles(G.shape[1])
