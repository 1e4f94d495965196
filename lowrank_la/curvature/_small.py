"""The m x m algebra in float64, and passes over the long rows by tiles of columns that are widened in the cache.

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
from lowrank_la.factor._dense import MOST, U, gamma, host, wide

TILE = 2048  # columns that are widened at a time, for matrix products
NARROW = 512  # the same for products with few vectors: a tile that stays in the second-level cache
FEW = 8  # vectors
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


def tiles(G: Array, width: int = TILE) -> Iterator[slice]:
    """Cut the columns of G into tiles."""
    for first in range(0, G.shape[1], width):
        yield slice(first, min(first + width, G.shape[1]))


def products_error(G: Array) -> float:
    """Bound the relative rounding error of what `gram`, `products` and sums over narrow tiles give."""
    return gamma(min(TILE, G.shape[1]) + math.ceil(G.shape[1] / NARROW) + 4, G)


def gram(G: Array) -> np.ndarray:
    """Return G G^T in float64."""
    xp = _arrays.namespace(G)
    total = xp.zeros((G.shape[0], G.shape[0]), dtype=xp.float64, device=G.device)
    for columns in tiles(G):
        tile = wide(G[:, columns])
        total += tile @ tile.T
    return host(total)


def products(G: Array, X: Array) -> np.ndarray:
    """Return G X in float64."""
    xp, k = _arrays.namespace(G), X.shape[1]
    if k <= FEW and _arrays.engine_of(G) == "cpu" and G.flags.c_contiguous and 2.0 * G.size * k > kernels.skinny.FEW_FLOPS:
        return kernels.skinny.times(G, wide(X))  # its sums are cut after 1024 columns
    total = xp.zeros((G.shape[0], k), dtype=xp.float64, device=G.device)
    for columns in tiles(G, NARROW if k <= FEW else TILE):
        total += wide(G[:, columns]) @ wide(X[columns, :])
    return host(total)


def finite(function: str, name: str, x: Array) -> Array:
    """Require real, finite numbers whose squares do not overflow.

    Raises
    ------
    TypeError
        They are complex.
    ValueError
        An entry is not finite or too large.
    """
    _checks.real_dtype(function, name, x)
    _checks.finite(function, name, x)
    xp = _arrays.namespace(x)
    if x.dtype == xp.float64 and any(float(xp.max(xp.abs(block))) > MOST[8] for _, block in _arrays.row_blocks(x)):
        raise ValueError(f"{function}: {name} must have entries whose squares do not overflow; scale it down")
    return x
