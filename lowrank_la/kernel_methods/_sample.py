"""Points of a stream that are held back at random, for the certificate: those with the smallest of random integers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor import _held
from lowrank_la.factor._dense import host

STREAM = _random.stream("SequentialNystrom: held-back points")
MOST = 1024
NUMBERS = 1 << 22  # in all of them, at most, but for the fewest
FEWEST = 64


@dataclass(frozen=True)
class Sample:
    """Points of a sample, with their rows and priorities on the host, and what is known of all points.

    Attributes
    ----------
    points : array (s, d)
        In the dtype of the stream.
    index, priority : NumPy arrays (s,), int64
        Rows, ascending, and the integers that chose them.
    seen : int
        Points of the stream.
    trace, largest : float
        Sum of k(x, x) over all of them, and the largest.
    """

    points: Array
    index: np.ndarray
    priority: np.ndarray
    seen: int = 0
    trace: float = 0.0
    largest: float = 0.0

    @classmethod
    def none(cls, points: Array) -> Sample:
        """Begin, with an array (0, d)."""
        return cls(points, np.zeros(0, np.int64), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return self.index.size

    def taken(self, X: Array, diagonal: Array, priority: np.ndarray) -> Sample:
        """Take more rows, with their k(x, x) and priorities."""
        k = host(diagonal)
        index = np.arange(self.seen, self.seen + k.size)
        return self.joined(Sample(X, index, priority, k.size, float(np.sum(k)), float(np.max(k))))

    def joined(self, other: Sample) -> Sample:
        """Put two samples together, as one of all rows."""
        xp, d = _arrays.namespace(self.points), self.points.shape[1]
        most = max(FEWEST, min(MOST, NUMBERS // max(d, 1)))
        priority = np.concatenate([self.priority, other.priority])
        chosen = np.sort(np.argsort(priority, kind="stable")[:most])
        mine, theirs = chosen[chosen < len(self)], chosen[chosen >= len(self)] - len(self)
        points = [
            part if places.size == part.shape[0] else _rows(part, places) for part, places in ((self.points, mine), (other.points, theirs))
        ]
        totals = self.seen + other.seen, self.trace + other.trace, max(self.largest, other.largest)
        return Sample(xp.concat(points, axis=0), np.concatenate([self.index, other.index])[chosen], priority[chosen], *totals)

    def later(self, rows: int) -> Sample:
        """Count the rows on from a number of earlier ones."""
        return dataclasses.replace(self, index=self.index + rows)

    def moved(self, like: Array) -> Sample:
        """Bring the points to the namespace and device of an array."""
        return dataclasses.replace(self, points=_arrays.from_numpy(self.points, like))

    def stored(self) -> dict[str, np.ndarray]:
        """Give named host arrays for a file."""
        return {f"sample_{field.name}": np.asarray(_arrays.to_numpy(getattr(self, field.name))) for field in dataclasses.fields(self)}

    @classmethod
    def restored(cls, file: Any) -> Sample:
        """Read what `stored` gave."""
        points, index, priority = (file[f"sample_{name}"] for name in ("points", "index", "priority"))
        return cls(points, index, priority, int(file["sample_seen"]), float(file["sample_trace"]), float(file["sample_largest"]))


def drawn(seed: int, first: int, count: int) -> np.ndarray:
    """Draw the integers of rows `first` and on."""
    return _held.priorities(seed, STREAM, first, count)


def _rows(X: Array, places: np.ndarray) -> Array:
    """Take rows; all of them are the array itself."""
    return X if places.size == X.shape[0] else _arrays.namespace(X).take(X, _arrays.from_numpy(places, X), axis=0)
