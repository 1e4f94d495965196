"""Rows that a stream keeps as they are: the heavy ones, and those held back for the certificate."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor import _held

STREAM = _random.stream("TopEigenvector: held-back rows")


def priorities(seed: int, first: int, count: int) -> np.ndarray:
    """Draw 32-bit integers for rows `first` and on."""
    return _held.priorities(seed, STREAM, first, count)


@dataclass(frozen=True)
class Aside:
    """Some rows with their indices, squared norms and priorities, which are on the host."""

    rows: Array
    index: np.ndarray
    energy: np.ndarray
    priority: np.ndarray

    @classmethod
    def none(cls, like: Array, d: int) -> Aside:
        """Give no rows."""
        rows = _arrays.namespace(like).zeros((0, d), dtype=like.dtype, device=like.device)
        return cls(rows, np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return self.index.size

    def take(self, chosen: np.ndarray) -> Aside:
        """Keep those rows that a mask chooses."""
        if chosen.all():
            return self
        return Aside(some_rows(self.rows, chosen), self.index[chosen], self.energy[chosen], self.priority[chosen])

    def joined(self, *others: Aside) -> Aside:
        """Put the rows of other sets behind."""
        sets = (self, *others)
        rows = _arrays.namespace(self.rows).concat([part.rows for part in sets])
        return Aside(rows, *(np.concatenate([getattr(part, name) for part in sets]) for name in ("index", "energy", "priority")))

    def later(self, rows: int) -> Aside:
        """Count the indices on from a number of earlier rows."""
        return replace(self, index=self.index + rows)

    def stored(self, name: str) -> dict[str, np.ndarray]:
        """Give named host arrays for a file."""
        return {f"{name}_{field.name}": _arrays.to_numpy(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def restored(cls, name: str, file: Any) -> Aside:
        """Read what `stored` gave."""
        return cls(*(file[f"{name}_{field.name}"] for field in fields(cls)))

    def moved(self, like: Array) -> Aside:
        """Bring the rows to the namespace and device of an array."""
        return replace(self, rows=_arrays.from_numpy(self.rows, like))


def some_rows(X: Any, chosen: np.ndarray) -> Array:
    """Copy the rows that a host mask chooses, dense."""
    index = np.flatnonzero(chosen)
    if _arrays.is_sparse(X):
        return X[index].toarray()
    xp = _arrays.namespace(X)
    return xp.take(X, _arrays.from_numpy(index, X), axis=0)
