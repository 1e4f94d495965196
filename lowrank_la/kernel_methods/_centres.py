"""Centres of clusters as landmarks: a few steps of Lloyd's algorithm on a sample of the points."""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.kernel_methods._gram import Gram

PER_CENTRE = 40  # points of the sample for every centre
STEPS = 6
BLOCK = 2048  # rows whose distances stay in the cache


def sample(gram: Gram, count: int, seed: int) -> Gram:
    """Take the points among which `count` centres are found."""
    order = _random.host_generator(seed, "nystrom: centres").permutation(gram.n)[: PER_CENTRE * count]
    return Gram(gram.function, gram.door, gram.points(_arrays.from_numpy(np.sort(order), gram.X)), gram.kernel)


def centres(X: Array, start: Array) -> Array:
    """Move centres from where they start, in a few steps; single precision is enough for it."""
    if start.shape[0] == 0:
        return start
    points, first = _arrays.to_numpy(X), _arrays.to_numpy(start)
    middle, size = points.mean(axis=0), float(np.abs(points).max()) or 1.0
    scaled, C = (((x - middle) / size).astype(np.float32) for x in (points, first))
    for _ in range(STEPS):
        C = _means(scaled, _nearest(scaled, C), C)
    return _arrays.from_numpy((C * size + middle).astype(points.dtype), X)


def _nearest(X: np.ndarray, C: np.ndarray) -> np.ndarray:
    """Find the nearest centre of every point."""
    half, right = np.sum(C * C, axis=1) / 2, np.ascontiguousarray(C.T)
    return np.concatenate([np.argmin(half - block @ right, axis=1) for _, block in _arrays.row_blocks(X, BLOCK)])


def _means(X: np.ndarray, nearest: np.ndarray, C: np.ndarray) -> np.ndarray:
    """Means of the points of every cluster; an empty one keeps its centre."""
    from scipy.sparse import csr_array

    n, counts = X.shape[0], np.bincount(nearest, minlength=C.shape[0])
    members = csr_array((np.ones(n, X.dtype), nearest, np.arange(n + 1)), shape=(n, C.shape[0]))
    return np.where(counts[:, None] > 0, (members.T @ X) / np.maximum(counts, 1)[:, None].astype(X.dtype), C)
