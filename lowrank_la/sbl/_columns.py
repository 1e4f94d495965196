"""Some columns of a dictionary, and vectors that live on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array


def columns(a: Array, chosen: Sequence[int]) -> Array:
    """Return some columns of a matrix."""
    return _arrays.namespace(a).take(a, indices(chosen, a), axis=1)


def rows(a: Array, chosen: Sequence[int]) -> Array:
    """Return some entries of a vector, or rows of a matrix."""
    return _arrays.namespace(a).take(a, indices(chosen, a), axis=0)


def indices(chosen: Sequence[int], like: Array) -> Array:
    """Return indices as an array."""
    return _arrays.from_numpy(np.asarray(chosen, dtype=np.int64), like)


def scattered(x: Array, chosen: Sequence[int], n: int) -> Array:
    """Return n rows: those of x at the indices chosen, which differ, and zeros."""
    xp, place = _arrays.namespace(x), np.full(n, len(chosen))
    place[list(chosen)] = np.arange(len(chosen))
    return rows(xp.concat([x, xp.zeros((1, *x.shape[1:]), dtype=x.dtype, device=x.device)]), place.tolist())


def used(g: Array) -> list[int]:
    """Return the indices of the entries that are not zero."""
    return np.flatnonzero(_arrays.to_numpy(g)).tolist()
