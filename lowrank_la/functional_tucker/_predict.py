"""Predictions: moments of the factors at new coordinates, contracted with the core, point by point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.functional_tucker import _moments
from lowrank_la.functional_tucker._data import Axis, Sorted
from lowrank_la.functional_tucker._state_space import interpolate
from lowrank_la.functional_tucker._statistics import contracted
from lowrank_la.functional_tucker._sweeps import Factor, State, along


def moments_at(factor: Factor, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means (Q, R) and covariances (Q, R, R) of a factor at any points."""
    if factor.smoothed is None:
        R = factor.mean.shape[1]
        return np.zeros((t.size, R)), np.broadcast_to(factor.prior.variance * np.eye(R), (t.size, R, R))
    return interpolate(factor.prior, factor.t, factor.smoothed, t)


def predict(
    state: State, axes: tuple[Axis, ...], coords: np.ndarray, like: Array, at: Callable[[Factor, np.ndarray], Any] = moments_at
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of f(x) with its constant, in standard units at coordinates (Q, K); sums run where `like` lives."""
    if coords.shape[0] == 0:
        return np.zeros(0), np.zeros(0)
    means, moments, places = [], [], []
    for factor, axis, x in zip(state.factors, axes, coords.T, strict=True):
        t, inverse = np.unique(axis.scaled(x), return_inverse=True)
        mean, cov = at(factor, t)
        means.append(mean)
        moments.append(_moments.second(mean, cov))
        places.append(inverse)
    points = _ungrouped(np.stack(places, axis=1).astype(np.int32), like)
    f = _multilinear(points, means, None if state.core is None else state.core.mean)
    square = _multilinear(points, moments, _mirrored(means[0].shape[1]) if state.core is None else state.core.moments)
    return state.offset.mean + f, state.offset.variance + np.maximum(square - f * f, 0.0)


def _ungrouped(places: np.ndarray, like: Array) -> Sorted:
    """Make each point a group of its own."""
    one = _arrays.from_numpy(np.ones(places.shape[0]), like)
    return Sorted(_arrays.from_numpy(places, like), one, one, np.arange(places.shape[0] + 1), np.arange(places.shape[0]))


def _multilinear(points: Sorted, tables: list[np.ndarray], core: np.ndarray | None) -> np.ndarray:
    """Contract a core with a row of each table, for every point; without core, or with one of one axis, entry by entry."""
    first = tables[0][_arrays.to_numpy(points.places)[:, 0]]
    if len(tables) == 1:
        return first @ (np.ones(first.shape[1]) if core is None else core)
    if core is None or core.ndim == 1:
        rest = contracted(points, points.weights, 0, tables, None, entrywise=True)
        return np.sum(first * rest * (1.0 if core is None else core), axis=1)
    return np.sum(first * contracted(points, points.weights, 0, tables, along(core, 0)), axis=1)


def _mirrored(R: int) -> np.ndarray:
    """Return the weights of packed products in E f^2 for a CP model: 2 off the diagonal."""
    i, j = np.triu_indices(R)
    return np.where(i < j, 2.0, 1.0)
