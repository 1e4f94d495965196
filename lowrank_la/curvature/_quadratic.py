"""(1/2) dw^T H dw for the damped empirical Fisher matrix of some gradients, least under the condition that some weights are zero.

For a set S that stays and Q that goes, dw_S solves H_SS dw_S = (1/m) G_S^T G_Q w_Q: a solve with the gradients of S, for any size of Q.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import ConvergenceWarning
from lowrank_la.curvature._mfac import MFAC
from lowrank_la.factor._dense import gamma, host, wide

TILE = 1024  # columns of a sum


@dataclass(frozen=True)
class Kept:
    """The weights that stay: their gradients G, which belong to `places`, and H^-1 for them; those of the others are left out or zero."""

    mask: np.ndarray
    places: np.ndarray
    G: Array
    fisher: MFAC


@dataclass(frozen=True)
class Fit:
    """Weights, and how far they may be from the best ones in the norm of H."""

    weights: np.ndarray
    error: float = 0.0


@dataclass(frozen=True)
class Quadratic:
    """The model around some weights, by their gradients, with H in blocks of `width`."""

    G: Array
    base: np.ndarray
    damp: float
    width: int

    def keep(self, mask: np.ndarray) -> Kept:
        """Build H^-1 for the weights that stay."""
        xp, G, places = _arrays.namespace(self.G), self.G, np.arange(len(mask))
        if self.width >= len(mask) and mask.any():
            places = np.flatnonzero(mask)
        if len(places) < len(mask):
            G = xp.take(G, _arrays.from_numpy(places, G), axis=1)
        elif not mask.all():
            G = xp.where(_arrays.from_numpy(mask, G), G, xp.zeros_like(G))
        return Kept(mask, places, G, MFAC(G, damp=self.damp, block=self.width))

    def scores(self, kept: Kept, current: np.ndarray) -> np.ndarray:
        """Score the weights that stay; those that have gone come before all."""
        scores = np.full(len(current), -np.inf)
        scores[kept.places] = host(kept.fisher.pruning_scores(_arrays.from_numpy(current[kept.places], self.G)))
        scores[~kept.mask] = -np.inf
        return scores

    def fit(self, kept: Kept) -> Fit:
        """Give the weights that stay the values for which the model is least."""
        b, slip = self._pull(kept)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what matters here is told at the end
            result = kept.fisher.solve(_arrays.from_numpy(b, self.G))
        change = np.zeros_like(self.base)
        change[kept.places] = host(result.x)
        by_error = math.sqrt(self.largest(kept)) * result.error_bound * float(np.linalg.norm(change))
        by_residual = result.certificate.bound * float(np.linalg.norm(b)) / math.sqrt(self.damp)
        error = min(by_error, by_residual) + slip / math.sqrt(self.damp)
        return Fit(np.where(kept.mask, self.base + change, 0.0), error * (1 + 1e-8))

    def largest(self, kept: Kept) -> float:
        """Bound the largest eigenvalue of H for the weights that stay."""
        width = min(self.width, kept.G.shape[1])
        squares = [float(np.sum(_lengths(kept.G[:, block]) ** 2)) for block in _blocks(kept.G.shape[1], width)]
        return (self.damp + max(squares) / self.G.shape[0]) * (1 + 1e-8)

    def increase(self, weights: np.ndarray) -> float:
        """Evaluate the model."""
        dw = weights - self.base
        images = [_times(self.G[:, block], dw[block]) for block in _blocks(len(dw), self.width)]
        return (self.damp * float(dw @ dw) + sum(float(image @ image) for image in images) / self.G.shape[0]) / 2

    def _pull(self, kept: Kept) -> tuple[np.ndarray, float]:
        """Return (1/m) G_S^T G_Q w_Q, block by block in float64, and a bound on its rounding error."""
        m, gone, pulls, slips = self.G.shape[0], np.where(kept.mask, 0.0, self.base), [], []
        for block, here in zip(_blocks(len(gone), self.width), _blocks(kept.G.shape[1], self.width), strict=True):
            G, w, S = self.G[:, block], gone[block], kept.G[:, here]
            z = _times(G, w) / m
            pulls.append(sum(host(wide(rows).T @ _arrays.from_numpy(z[i : i + rows.shape[0]], S)) for i, rows in _arrays.row_blocks(S)))
            of_z = gamma(min(TILE, len(w)) + len(w) // TILE + 5, z) * _lengths(G) * float(np.linalg.norm(w)) / m
            slips.append(float(_lengths(S) @ (of_z + gamma(m + 4, z) * np.abs(z))))
        return np.concatenate(pulls), float(np.linalg.norm(slips))


def _blocks(d: int, width: int) -> Iterator[slice]:
    for first in range(0, d, width):
        yield slice(first, min(first + width, d))


def _times(G: Array, x: np.ndarray) -> np.ndarray:
    """Return G x in float64, tile by tile: sums that are cut have smaller rounding errors."""
    total = np.zeros(G.shape[0])
    for tile in _blocks(len(x), TILE):
        total += host(wide(G[:, tile]) @ _arrays.from_numpy(x[tile], G))
    return total


def _lengths(G: Array) -> np.ndarray:
    """Return the norms of the rows."""
    return np.concatenate([host(_arrays.namespace(G).linalg.vector_norm(wide(rows), axis=1)) for _, rows in _arrays.row_blocks(G)])
