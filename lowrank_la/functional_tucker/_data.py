"""What comes into a model: checked data, the abscissae of each mode, and the data in the order of each mode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.factor._dense import refuse_sparse

LONGEST = 4096  # data in a group, so that a mode with few abscissae has work for all threads
SAME = 1e-12  # of the range of a mode: abscissae that are closer are one


@dataclass(frozen=True)
class Observations:
    """Data without missing ones: `coords` (N, K), values and weights (N,) in float64 on the host; `like` has the caller's library."""

    coords: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    like: Array
    n_dropped: int = 0

    def __len__(self) -> int:
        return self.y.size

    def rows(self, which: np.ndarray) -> Observations:
        """Return a part of the data."""
        return Observations(self.coords[which], self.y[which], self.weights[which], self.like)


@dataclass(frozen=True)
class Scale:
    """Units of the values: y = mean + size z."""

    mean: float
    size: float

    @classmethod
    def of(cls, data: Observations) -> Scale:
        """Standardize: constant values have their own size, or 1."""
        w = data.weights / np.sum(data.weights)
        largest = float(np.max(np.abs(data.y))) or 1.0
        z = data.y / largest
        mean = float(w @ z)
        size = math.sqrt(float(w @ (z - mean) ** 2))
        return cls(largest * mean, largest * (size if size > 1e-14 else 1.0))


@dataclass(frozen=True)
class Axis:
    """Units of a coordinate, and its abscissae t (n,), ascending, in these units: from 0 to 1 for the first data."""

    start: float
    length: float
    t: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Axis:
        """Take the units from the range of the data; a single abscissa has length 1."""
        start, stop = float(np.min(x)), float(np.max(x))
        length = stop - start
        return cls(start, length if length > 0 and math.isfinite(length) else 1.0, np.empty(0)).joined(x)[0]

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Return coordinates in the units of this axis."""
        return (x - self.start) / self.length

    def joined(self, x: np.ndarray) -> tuple[Axis, np.ndarray, np.ndarray]:
        """Take in more abscissae: the new axis, the places of the old abscissae on it, and those of x."""
        values, inverse = np.unique(np.concatenate([self.t, self.scaled(x)]), return_inverse=True)
        new = np.diff(values, prepend=-math.inf) > SAME
        group = np.cumsum(new) - 1
        inverse = group[inverse]
        return Axis(self.start, self.length, values[new]), inverse[: self.t.size], inverse[self.t.size :].astype(np.int32)


@dataclass(frozen=True)
class Sorted:
    """Data in the order of the abscissae of one mode, in groups of at most LONGEST that belong to one abscissa.

    Group g has the data starts[g] to starts[g + 1] - 1; abscissa j has the groups firsts[j] to firsts[j + 1] - 1, one at least.
    """

    places: Array  # (N, K)
    weights: Array  # (N,)
    weighted: Array  # (N,), weights times values
    starts: np.ndarray
    firsts: np.ndarray

    @classmethod
    def of(cls, places: np.ndarray, mode: int, n: int, weights: np.ndarray, z: np.ndarray, like: Array) -> Sorted:
        """Sort data whose abscissae are at these places (N, K); the mode has n abscissae."""
        order = np.argsort(places[:, mode], kind="stable")
        counts = np.bincount(places[:, mode], minlength=n)
        groups = np.maximum(1, -(-counts // LONGEST))
        firsts = np.cumsum(groups) - groups
        within = LONGEST * (np.arange(int(groups.sum())) - np.repeat(firsts, groups))
        starts = np.append(np.repeat(np.cumsum(counts) - counts, groups) + within, places.shape[0])
        rows, w, wz = (_arrays.from_numpy(x, like) for x in (places[order], weights[order], (weights * z)[order]))
        return cls(rows, w, wz, starts, firsts)

    def owners(self) -> np.ndarray:
        """Return the abscissa of each group."""
        return np.repeat(np.arange(self.firsts.size), np.diff(np.append(self.firsts, self.starts.size - 1)))


def enter(where: str, coords: Array, y: Array, weights: Array | None, modes: int | None) -> Observations:
    """Check data and drop those without value.

    Raises
    ------
    ValueError
        Shapes do not fit, a coordinate is NaN or infinite, a value is infinite, all are NaN, there are none, or a weight is
        negative, not finite, or all are zero.
    TypeError
        An array is complex, sparse, or of another library.
    """
    _, [coords, y, weights] = dense(where, coords=coords, y=y, weights=weights)
    coords = points(where, coords, modes)
    N = coords.shape[0]
    _checks.not_empty(where, "coords", coords)
    _checks.shape(where, "y", y, (N,))
    like = coords[:0, 0]
    w = np.ones(N) if weights is None else host(_checks.finite(where, "weights", _checks.shape(where, "weights", weights, (N,))))
    if np.min(w) < 0:
        raise ValueError(f"{where}: weights must not be negative; got {np.min(w):.6g}")
    x, values = host(coords), host(y)
    kept = ~np.isnan(values)
    if not np.any(w[kept] > 0):
        raise ValueError(f"{where}: y must have a value that is not NaN and has a positive weight; got none")
    _checks.finite(where, "y", values[kept])
    return Observations(x[kept], values[kept], w[kept], like, N - int(np.sum(kept)))


def points(where: str, coords: Array, modes: int | None) -> Array:
    """Check coordinates (N, K).

    Raises
    ------
    ValueError
        They have no columns or another number of them than `modes`, or an entry is not finite.
    """
    _checks.ndim(where, "coords", _checks.real_dtype(where, "coords", coords), 2)
    if coords.shape[1] == 0 or (modes is not None and coords.shape[1] != modes):
        rule = "at least one column" if modes is None else f"{modes} columns, one for each mode"
        raise ValueError(f"{where}: coords must have {rule}; got shape {tuple(coords.shape)}")
    return _checks.finite(where, "coords", coords)


def dense(where: str, **arrays: Any) -> tuple[Door, list[Any]]:
    """Take dense real arrays inside; None passes.

    Raises
    ------
    TypeError
        An array is sparse, complex or of another library than the first.
    """
    refuse_sparse(where, **arrays)
    door, inside = _arrays.enter(where, **arrays)
    for name, x in zip(arrays, inside, strict=True):
        if x is not None:
            _checks.real_dtype(where, name, x)
    return door, inside


def host(x: Array) -> np.ndarray:
    """Bring an array to the host, in float64."""
    return np.asarray(_arrays.to_numpy(x), dtype=np.float64)
