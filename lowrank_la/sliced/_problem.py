"""Two weighted clouds of points as the estimators want them: checked, about their own means, with their moments."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la._threads import serial_blas, serial_kernels
from lowrank_la.factor import _dense

_SAME_MASS = 1e-5  # relative difference of masses that rounding of float32 weights explains
_CHUNK_BYTES = 1 << 26
_SMALL = 1 << 21  # projected points for which one thread is fastest


@dataclass(frozen=True)
class Cloud:
    """Points about their mean, with weights (None: uniform); those `kept` of `size`, if some had no weight."""

    points: Array
    weights: Array | None
    mean: np.ndarray
    kept: Array | None
    size: int

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared distances of the points from their mean, float64."""
        return _arrays.to_numpy(kernels.row_energy.squares(self.points))

    @property
    def n(self) -> int:
        """Number of points."""
        return self.points.shape[0]

    @property
    def d(self) -> int:
        """Dimension."""
        return self.points.shape[1]

    @cached_property
    def trace(self) -> float:
        """Trace of the covariance."""
        return self.average(self.squares)

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of the points (d, d), on the host."""
        xp = _arrays.namespace(self.points)
        total = np.zeros((self.d, self.d))
        for offset, block in _arrays.row_blocks(self.points):
            block = xp.astype(block, xp.float64, copy=False)
            weighted = block if self.weights is None else block * self.weights[offset : offset + block.shape[0], None]
            total += _arrays.to_numpy(xp.matrix_transpose(weighted) @ block)
        return total / self.n if self.weights is None else total

    def average(self, values: np.ndarray) -> float:
        """Weighted mean of one number for each point."""
        return float(values.mean() if self.weights is None else _arrays.to_numpy(self.weights) @ values)

    def moment(self, p: float) -> float:
        """Mean of the p-th power of the distance from the mean."""
        return self.average(self.squares ** (p / 2))


@dataclass(frozen=True)
class Problem:
    """Two clouds whose projections are compared with costs |u - v|^p."""

    function: str
    door: Door
    X: Cloud
    Y: Cloud
    p: float
    paired: float  # mean of |x_i - y_i|^p if there are as many points on both sides and all count alike, else inf

    @property
    def d(self) -> int:
        """Dimension."""
        return self.X.d

    @cached_property
    def mu(self) -> np.ndarray:
        """Difference of the means."""
        return self.X.mean - self.Y.mean

    @property
    def same(self) -> bool:
        """Whether both clouds are the same arrays."""
        return self.paired == 0

    @property
    def rounding(self) -> float:
        """Bound on what rounding in projections can change the p-th root of a mean of W_p^p, by the triangle inequality."""
        u, p = _arrays.unit_roundoff(self.door.xp, self.door.dtype), self.p
        size = self.X.moment(p) ** (1 / p) + self.Y.moment(p) ** (1 / p) + float(np.linalg.norm(self.mu))
        scale = float(np.linalg.norm(self.X.mean) + np.linalg.norm(self.Y.mean))
        return (self.d + 6) * u * size + (2 * self.d + self.X.n + self.Y.n) * 2.0**-53 * (size + scale)

    def directions(self, T: np.ndarray) -> Array:
        """Bring directions (L, d) beside the points."""
        name = "float32" if _arrays.unit_roundoff(self.door.xp, self.door.dtype) > 1e-10 else "float64"
        return _arrays.from_numpy(T.astype(name), self.X.points)

    def costs(self, T: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """W_p^p of the centred clouds, one moved by the shift, on each direction."""
        beside = _arrays.from_numpy(shift, self.X.points)
        values = kernels.sorted_transport.values
        found = values(self.X.points, self.Y.points, self.directions(T), beside, self.X.weights, self.Y.weights, self.p)
        return _arrays.to_numpy(found)

    def slopes(self, T: np.ndarray, shift: np.ndarray, c: np.ndarray) -> tuple[Array, Array, np.ndarray, np.ndarray]:
        """Differentiate costs: sums of c_l times that of cost l by the points of both sides, each by its direction, and the costs.

        The derivative by the direction supposes that the shift is theta . mu.
        """
        xp, X, Y = self.door.xp, self.X.points, self.Y.points
        sums, by_direction, costs = [xp.zeros_like(X), xp.zeros_like(Y)], [], []
        step = max(1, _CHUNK_BYTES // (8 * (X.shape[0] + Y.shape[0])))
        for first in range(0, len(T), step):
            rows = self.directions(T[first : first + step])
            beside = _arrays.from_numpy(shift[first : first + step], X)
            W, E, F = kernels.sorted_transport.slopes(X, Y, rows, beside, self.X.weights, self.Y.weights, self.p)
            factor = xp.astype(_arrays.from_numpy(c[first : first + step], X), X.dtype)[:, None]
            sums = [total + xp.matrix_transpose(part) @ (factor * rows) for total, part in zip(sums, (E, F), strict=True)]
            moved = _arrays.to_numpy(xp.sum(xp.astype(E, xp.float64), axis=1))[:, None] * self.mu
            by_direction.append(_arrays.to_numpy(E @ X + F @ Y) + moved)
            costs.append(_arrays.to_numpy(W))
        return sums[0], sums[1], np.concatenate(by_direction), np.concatenate(costs)

    @contextmanager
    def threads(self, L: int) -> Iterator[None]:
        """Keep small products off the cores that the kernels want, and small problems on the calling thread."""
        with serial_blas(), serial_kernels() if L * (self.X.n + self.Y.n) < _SMALL else nullcontext():
            yield

    def spread(self, theta: np.ndarray) -> np.ndarray:
        """Mean of (x - y)(x - y)^T (d, d) over the coupling that is best on one direction."""
        X, Y = (_arrays.to_numpy(cloud.points).astype(np.float64) + cloud.mean for cloud in (self.X, self.Y))
        order, other = np.argsort(X @ theta), np.argsort(Y @ theta)
        tops = [_tops(cloud, index) for cloud, index in ((self.X, order), (self.Y, other))]
        ends = np.union1d(*tops)
        i, j = (np.minimum(np.searchsorted(top, ends), top.size - 1) for top in tops)
        gaps = X[order[i]] - Y[other[j]]
        return (gaps.T * np.diff(ends, prepend=0.0)) @ gaps


def _tops(cloud: Cloud, order: np.ndarray) -> np.ndarray:
    """Masses up to each point, in order; the last is 1."""
    tops = np.arange(1, cloud.n + 1) / cloud.n if cloud.weights is None else np.cumsum(_arrays.to_numpy(cloud.weights)[order])
    tops[-1] = 1.0
    return tops


def enter(function: str, X: Array, Y: Array, a: Array | None, b: Array | None, p: float, line: bool = False) -> Problem:
    """Check two clouds, or numbers on a line, and their weights, and take the means off.

    Raises
    ------
    ValueError
        A cloud is no matrix, is empty, or not finite; the dimensions differ; weights do not fit, are negative, or all
        zero, or the masses differ; p is below 1.
    TypeError
        An argument is complex or no array of numbers.
    """
    p = _checks.real(function, "p", p, 1)
    names = ("x", "y") if line else ("X", "Y")
    door, [X, Y] = _dense.enter(function, **{name: _arrays.detached(points) for name, points in zip(names, (X, Y), strict=True)})
    for name, points in zip(names, (X, Y), strict=True):
        _checks.finite(function, name, _checks.ndim(function, name, _checks.real_dtype(function, name, points), 1 if line else 2))
    if line:
        X, Y = X[:, None], Y[:, None]
    if X.shape[1] != Y.shape[1]:
        raise ValueError(f"{function}: Y must have {X.shape[1]} columns, as many as X; got shape {tuple(Y.shape)}")
    a, b = _masses(function, (a, b), (X, Y), names)
    paired = _paired(X, Y, p) if a is None and X.shape == Y.shape else math.inf
    return Problem(function, door, _cloud(X, a), _cloud(Y, b), p, paired)


def _paired(X: Array, Y: Array, p: float) -> float:
    xp = _arrays.namespace(X)
    total = 0.0
    for offset, block in _arrays.row_blocks(X):
        other = Y[offset : offset + block.shape[0], :]
        gap = xp.astype(block, xp.float64, copy=False) - xp.astype(other, xp.float64, copy=False)
        total += float(xp.sum(xp.sum(gap * gap, axis=1) ** (p / 2)))
    return total / X.shape[0]


def _masses(
    function: str, given: tuple[Any, Any], clouds: tuple[Array, Array], names: tuple[str, str]
) -> tuple[Array | None, Array | None]:
    """Weights that sum to 1, on both sides or on none.

    Raises
    ------
    ValueError
        They do not fit, are negative or all zero, or the masses differ.
    """
    if given[0] is None and given[1] is None:
        return None, None
    xp = _arrays.namespace(*clouds)
    found, masses = [], []
    for name, weights, points, other in zip("ab", given, clouds, names, strict=True):
        if weights is None:
            found.append(xp.full((points.shape[0],), 1 / points.shape[0], dtype=xp.float64, device=points.device))
            masses.append(None)
            continue
        weights = _checks.ndim(function, name, _checks.real_dtype(function, name, _arrays.beside(function, name, weights, points)), 1)
        weights = _checks.finite(function, name, xp.astype(_checks.rows_like(function, name, weights, points.shape[0], other), xp.float64))
        if bool(xp.any(weights < 0)):
            raise ValueError(f"{function}: {name} must not be negative; got a negative weight at index {int(xp.argmin(weights))}")
        masses.append(float(xp.sum(weights)))
        if not masses[-1] > 0:
            raise ValueError(f"{function}: {name} must have a positive weight; got none")
        found.append(weights / masses[-1])
    known = [mass for mass in masses if mass is not None]
    if abs(known[0] - known[-1]) > _SAME_MASS * known[0]:
        words = f"{function}: b must have the mass of a, {known[0]:g}; got {known[-1]:g}. Unbalanced transport compares different masses"
        raise ValueError(words)
    if abs(known[0] - 1) > _SAME_MASS:
        warnings.warn(f"{function}: weights sum to {known[0]:g}; they were divided by it", UserWarning, stacklevel=4)
    return found[0], found[1]


def _cloud(points: Array, weights: Array | None) -> Cloud:
    """Drop points without weight; subtract the mean, which is found in float64."""
    xp = _arrays.namespace(points)
    size, kept = points.shape[0], None
    if weights is not None and bool(xp.any(weights == 0)):
        kept = xp.nonzero(weights > 0)[0]
        points, weights = xp.take(points, kept, axis=0), xp.take(weights, kept)
    mean = _mean(points, weights)
    points = points - xp.astype(mean, points.dtype)
    rest = _mean(points, weights)  # the mean was rounded to the dtype of the points: far from zero that is too much
    rounded = xp.astype(xp.astype(mean, points.dtype), xp.float64)
    return Cloud(points - xp.astype(rest, points.dtype), weights, _arrays.to_numpy(rounded + rest), kept, size)


def _mean(points: Array, weights: Array | None) -> Array:
    """Weighted mean of the points in float64."""
    xp = _arrays.namespace(points)
    mean = xp.zeros((points.shape[1],), dtype=xp.float64, device=points.device)
    for offset, block in _arrays.row_blocks(points):
        block = xp.astype(block, xp.float64, copy=False)
        mean = mean + (xp.sum(block, axis=0) / points.shape[0] if weights is None else weights[offset : offset + block.shape[0]] @ block)
    return mean
