"""Entries of H^-1, and what follows from them, for gradients that all share one small matrix."""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.curvature._small import Small, tiles, widened


class Entries:
    """H^-1 = (I - S^T S) / damp for S = W G: what comes of its columns, which are kept once they are known.

    Entries are cut off at the bounds 1 / H_aa <= H^-1_aa <= 1 / damp, which rounding errors may pass.
    """

    def __init__(self, G: Array, small: Small) -> None:
        self._G, self.small = G, small
        self._place = np.full(G.shape[1], -1, dtype=np.int64)  # of a column of S among the rows of _S
        self._known = 0
        self._S, self._least = np.empty((0, G.shape[0])), np.empty(0)

    def diagonal(self) -> Array:
        """Return the diagonal of H^-1 in float64."""
        xp, parts = _arrays.namespace(self._G), []
        W = _arrays.from_numpy(self.small.W, self._G)
        for columns in tiles(self._G):
            tile = widened(self._G[:, columns])
            S = W @ tile
            least = 1 / (1 + xp.sum(tile * tile, axis=0) / self.small.shift)
            parts.append(xp.maximum(1 - xp.sum(S * S, axis=0), least) / self.small.damp)
        return xp.concat(parts)

    def elements(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return entries at pairs of places: O(m) each, and 2 m^2 flops for each column that is new."""
        self._learn(np.unique(np.concatenate([rows, cols])))
        a, b = self._place[rows], self._place[cols]
        values = (rows == cols) - np.einsum("ji,ji->j", self._S[a], self._S[b])
        return np.where(rows == cols, np.maximum(values, self._least[a]), values) / self.small.damp

    def without(self, w: Array, Q: np.ndarray) -> Array:
        """Return w - H^-1 E (E^T H^-1 E)^-1 E^T w in float64, for the columns E of the identity in Q."""
        xp = _arrays.namespace(w)
        self._learn(np.sort(Q))
        S = self._S[self._place[Q]].T
        block = np.eye(len(Q)) - S.T @ S
        np.fill_diagonal(block, np.maximum(np.diagonal(block), self._least[self._place[Q]]))
        c = np.linalg.solve(block, _arrays.to_numpy(xp.take(w, _arrays.from_numpy(Q, w))))
        t = _arrays.from_numpy(self.small.W.T @ (S @ c), w)
        new = xp.concat([w[columns] + widened(self._G[:, columns]).T @ t for columns in tiles(self._G)])
        return _zero_at(new, Q)

    def _learn(self, used: np.ndarray) -> None:
        """Add the columns of S that are not yet known."""
        new = used[self._place[used] < 0]
        if len(new) == 0:
            return
        C, first, last = columns(self._G, new), self._known, self._known + len(new)
        if last > len(self._S):
            room = max(last, 2 * len(self._S)) - self._known
            self._S = np.concatenate([self._S[:first], np.empty((room, len(C)))])
            self._least = np.concatenate([self._least[:first], np.empty(room)])
        self._S[first:last] = (self.small.W @ C).T
        self._least[first:last] = 1 / (1 + np.sum(C * C, axis=0) / self.small.shift)
        self._place[new], self._known = np.arange(first, last), last


def columns(G: Array, places: np.ndarray) -> np.ndarray:
    """Bring some columns of the gradients to the host, in float64."""
    taken = _arrays.namespace(G).take(G, _arrays.from_numpy(places, G), axis=1)
    return widened(np.asarray(_arrays.to_numpy(taken)))


def _zero_at(w: Array, Q: np.ndarray) -> Array:
    """Return weights that are exactly zero at some places."""
    xp = _arrays.namespace(w)
    kept = np.ones(w.shape[0], dtype=bool)
    kept[Q] = False
    return xp.where(_arrays.from_numpy(kept, w), w, xp.zeros_like(w))
