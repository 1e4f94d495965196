"""Supports of signals that are sparse together: a beam search for the set of columns that explains the measurements best.

Among sets of so many columns the best one leaves the smallest eigenvalue: of the matrix for the signal, with the gains eliminated, if
there is one signal; of the matrix for the gains if there are many. Sets grow column by column. How far a column would bring a set is told
by its leading vector; the sets that come out best are looked at in full.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

WIDTH = 16  # sets that are kept at each size
LOOK = 4  # times as many are looked at in full
EXCHANGES = 20  # of a column for a better one, at most


class Family(Protocol):
    """What the search asks: energies explained by sets (s, k), and about what they would be with one column more."""

    n: int

    def explained(self, sets: np.ndarray) -> np.ndarray:
        """Return the part of all energy that each set explains, at most one."""
        ...

    def outlook(self, chosen: np.ndarray) -> np.ndarray:
        """Return lower bounds of what one set explains together with each column (n,)."""
        ...


def supports(family: Family, k: int) -> list[np.ndarray]:
    """Return the sets of k columns that came out best, the best one first."""
    sets = np.arange(family.n)[:, None]
    sets = _best(family, sets, WIDTH)
    for _ in range(1, k):
        sets = _best(family, _extended(family, sets), WIDTH)
    best = [_exchanged(family, chosen) for chosen in sets[:2]]
    return sorted(best, key=lambda chosen: -float(family.explained(chosen[None, :])[0]))


def _best(family: Family, sets: np.ndarray, count: int) -> np.ndarray:
    return sets[np.argsort(-family.explained(sets), kind="stable")[:count]]


def _extended(family: Family, sets: np.ndarray) -> np.ndarray:
    """Add a column to each set, and return the most promising ones."""
    outlook = np.stack([family.outlook(chosen) for chosen in sets])
    np.put_along_axis(outlook, sets, -np.inf, axis=1)
    order = np.argsort(-outlook, axis=None, kind="stable")[: LOOK * WIDTH]
    parent, column = np.unravel_index(order, outlook.shape)
    there = np.isfinite(outlook[parent, column])
    return np.unique(np.sort(np.concatenate([sets[parent], column[:, None]], axis=1)[there], axis=1), axis=0)


def _exchanged(family: Family, chosen: np.ndarray) -> np.ndarray:
    """Exchange columns as long as that helps."""
    value = float(family.explained(chosen[None, :])[0])
    for _ in range(EXCHANGES if chosen.size > 1 else 0):
        fewer = np.stack([np.delete(chosen, i) for i in range(chosen.size)])
        trials = _best(family, _extended(family, fewer), 1)
        new = float(family.explained(trials)[0])
        if new <= value + 1e-12:
            break
        value, chosen = new, trials[0]
    return chosen


class OneSignal:
    """Pencil (M, K) for one signal: K = sum_l A_l^H A_l, M = B^H diag(1 / q) B."""

    def __init__(self, K: np.ndarray, M: np.ndarray) -> None:
        scale = np.sqrt(np.maximum(np.real(np.diagonal(K)), np.finfo(np.float64).tiny))
        self.n = K.shape[0]
        self.K = K / np.outer(scale, scale) + 1e-14 * np.eye(self.n)
        self.M = M / np.outer(scale, scale)

    def explained(self, sets: np.ndarray) -> np.ndarray:
        """Return the largest eigenvalues."""
        return self._pairs(sets)[0][:, -1]

    def _pairs(self, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        K, M = (X[sets[:, :, None], sets[:, None, :]] for X in (self.K, self.M))
        values, V = np.linalg.eigh(K)
        V = V / np.sqrt(np.maximum(values, 1e-14))[:, None, :]
        top, W = np.linalg.eigh(V.conj().swapaxes(1, 2) @ M @ V)
        return top, (V @ W)[:, :, -1]

    def outlook(self, chosen: np.ndarray) -> np.ndarray:
        """Solve the pencil on the span of the leading vector and each column."""
        top, x = self._pairs(chosen[None, :])
        a, x = top[0, -1], x[0]
        m, k = self.M[:, chosen] @ x, self.K[:, chosen] @ x
        diagonal, ones = np.real(np.diagonal(self.M)), np.real(np.diagonal(self.K))
        square = np.maximum(ones - np.abs(k) ** 2, 1e-14)
        half = (a * ones + diagonal - 2 * np.real(np.conj(m) * k)) / 2
        return (half + np.sqrt(np.maximum(half**2 - square * (a * diagonal - np.abs(m) ** 2), 0))) / square


class ManySignals:
    """Snapshots of signals through one matrix: the projector on columns, entrywise times the Gram matrix of unit diagonal."""

    def __init__(self, A: np.ndarray, Y: np.ndarray, q: np.ndarray) -> None:
        self.n, self.A, self.Y = A.shape[1], A, Y / np.sqrt(q)
        self.gram = self.Y.conj().T @ self.Y

    def explained(self, sets: np.ndarray) -> np.ndarray:
        """Return the largest eigenvalues."""
        return np.array([np.linalg.eigvalsh(self._matrix(chosen)[0])[-1] for chosen in sets])

    def _matrix(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        Q = np.linalg.qr(self.A[:, chosen])[0]
        return (Q @ Q.conj().T) * self.gram, Q

    def outlook(self, chosen: np.ndarray) -> np.ndarray:
        """Keep the gains, and project the snapshots on the rest of each column."""
        H, Q = self._matrix(chosen)
        values, V = np.linalg.eigh(H)
        rest = self.A - Q @ (Q.conj().T @ self.A)
        length = np.maximum(np.sum(np.abs(rest) ** 2, axis=0), 1e-12 * np.sum(np.abs(self.A) ** 2, axis=0) + np.finfo(np.float64).tiny)
        return values[-1] + np.sum(np.abs((self.Y * V[:, -1]) @ rest.conj()) ** 2, axis=0) / length
