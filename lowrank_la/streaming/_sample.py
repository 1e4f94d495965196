"""Rows that a stream draws in proportion to |a|^2, whatever their order: what they show of a vector is unbiased."""

from __future__ import annotations

from typing import Any

import numpy as np

from lowrank_la import _arrays, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import wide

DRAWS = _random.stream("TopEigenvector: draws of rows")
MERGES = _random.stream("TopEigenvector: draws between streams")
NUMBERS = 1 << 22
NAMES = ("energy", "threshold", "draws", "total", "merges")


class Sample:
    """Independent draws, each of which holds row i with probability |a_i|^2 / ||A||_F^2.

    A draw changes to row t with probability |a_t|^2 over the energy so far. So the energy at which it next
    changes is the energy when it last did, over a uniform number; nothing is drawn for the rows between.
    """

    def __init__(self, like: Array, d: int, seed: int) -> None:
        xp, count = _arrays.namespace(like), max(64, min(1024, NUMBERS // d))
        self.seed = seed
        self.rows = xp.zeros((count, d), dtype=like.dtype, device=like.device)
        self.energy = np.zeros(count)  # of those rows
        self.threshold = np.full(count, np.nextafter(0.0, 1.0))  # the first row with energy
        self.draws = np.zeros(count, np.int64)
        self.total = 0.0
        self.merges = 0

    def take(self, X: Any, squares: np.ndarray) -> None:
        """Take rows with their squared norms."""
        energies = self.total + np.cumsum(squares)
        chosen = np.full(self.draws.size, -1)
        while energies.size and (due := np.flatnonzero(self.threshold <= energies[-1])).size:
            chosen[due] = np.searchsorted(energies, self.threshold[due])
            self._set(due, energies[chosen[due]])
        self.total = float(energies[-1]) if energies.size else self.total
        new = np.flatnonzero(chosen >= 0)
        if new.size:
            self._put(new, X[chosen[new], :] if _arrays.is_sparse(X) else _taken(X, chosen[new]))
            self.energy[new] = squares[chosen[new]]

    def _set(self, which: np.ndarray, energy: np.ndarray | float) -> None:
        """Draw when these change next."""
        self.threshold[which] = energy / _uniforms(self.seed, DRAWS, which, self.draws[which])
        self.draws[which] += 1

    def _put(self, which: np.ndarray, rows: Any) -> None:
        xp = _arrays.namespace(self.rows)
        rows = xp.astype(rows.toarray() if _arrays.is_sparse(rows) else rows, self.rows.dtype, copy=False)
        source = np.arange(self.energy.size)
        source[which] = self.energy.size + np.arange(which.size)
        self.rows = _taken(xp.concat([self.rows, rows]), source)

    def merge(self, other: Sample) -> None:
        """Take another stream: each draw keeps its row or takes that of the other, in proportion to their energies."""
        self.merges = max(self.merges, other.merges) + 1
        self.draws = np.maximum(self.draws, other.draws)
        if other.total == 0:
            return
        every, both = np.arange(self.draws.size), self.total + other.total
        take = np.flatnonzero(_uniforms(self.seed, MERGES, every, np.full_like(every, self.merges)) * both <= other.total)
        if take.size:
            self._put(take, _taken(other.rows, take))
            self.energy[take] = other.energy[take]
        self.total = both
        self._set(every, both)

    def energies(self, V: Array) -> np.ndarray:
        """Give for each draw, and each column v, a number (m, J) whose mean is ||A v||^2."""
        seen = np.abs(_arrays.to_numpy(wide(self.rows) @ wide(V))) ** 2
        return self.total * (seen / np.where(self.energy > 0, self.energy, 1.0)[:, None])

    def stored(self) -> dict[str, np.ndarray]:
        """Give named host arrays for a file."""
        arrays = {f"sample_{name}": np.asarray(getattr(self, name)) for name in NAMES}
        return arrays | {"sample_rows": _arrays.to_numpy(self.rows)}

    def restore(self, file: Any) -> None:
        """Read what `stored` gave."""
        self.rows, self.energy, self.threshold, self.draws = (file[f"sample_{name}"] for name in ("rows", "energy", "threshold", "draws"))
        self.total, self.merges = float(file["sample_total"]), int(file["sample_merges"])

    def move(self, like: Array) -> None:
        """Bring the rows to the namespace and device of an array."""
        self.rows = _arrays.from_numpy(self.rows, like)


def _uniforms(seed: int, stream: int, major: np.ndarray, minor: np.ndarray) -> np.ndarray:
    """Draw numbers from (0, 1]."""
    high, low, _, _ = kernels.philox.words(major, seed, stream, major, minor)
    return ((high << 20 | low >> 12) + 1) / 2.0**52


def _taken(X: Array, index: np.ndarray) -> Array:
    return _arrays.namespace(X).take(X, _arrays.from_numpy(index, X), axis=0)
