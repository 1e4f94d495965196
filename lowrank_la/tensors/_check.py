"""What `tucker` and its answer ask of their arguments."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array


def wanted(
    function: str, tol: float | None, ranks: int | Sequence[int] | None, shape: tuple[int, ...]
) -> tuple[float | None, tuple[int, ...] | None]:
    """Return tolerance and ranks, clipped to what the shape allows.

    Raises
    ------
    ValueError
        Neither is given, or one is out of range.
    """
    if tol is None and ranks is None:
        raise ValueError(f"{function}: tol or ranks must be given; got neither")
    tol = None if tol is None else _checks.real(function, "tol", tol, 0, 1, open=True)
    return tol, None if ranks is None else _ranks(function, ranks, shape)


def _ranks(function: str, ranks: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    d = len(shape)
    try:
        given = tuple(_checks.integer(function, f"ranks[{k}]", r, 1) for k, r in enumerate(ranks))
    except TypeError:
        return _clipped((_checks.integer(function, "ranks", ranks, 1),) * d, shape)
    if len(given) != d:
        raise ValueError(f"{function}: ranks must be an integer or {d} of them, one for each mode; got {len(given)}")
    clipped = _clipped(given, shape)
    if clipped != given:
        warnings.warn(f"{function}: ranks {given} are more than shape {shape} allows; {clipped} are used", UserWarning, stacklevel=4)
    return clipped


def _clipped(ranks: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """No rank exceeds the length of its mode, or the product of the other ranks."""
    clipped = [min(r, n) for r, n in zip(ranks, shape, strict=True)]
    while True:
        least = [min(r, math.prod(clipped) // r) for r in clipped]
        if least == clipped:
            return tuple(clipped)
        clipped = least


def inside(x: Array) -> Array:
    """Take an array of an answer inside."""
    return _arrays.enter("TuckerResult", x=x)[1][0]


def outside(x: Array, like: Array) -> Array:
    """Give an array the namespace and dtype of an answer."""
    return _arrays.enter("TuckerResult", x=like)[0].leave(x)


def indices(function: str, indices: Array, like: Array, shape: tuple[int, ...]) -> Array:
    """Require indices (Q, d) within a shape."""
    indices = _arrays.beside(function, "indices", indices, like)
    _checks.ndim(function, "indices", indices, 2)
    _checks.shape(function, "indices", indices, (indices.shape[0], len(shape)))
    for k, n in enumerate(shape):
        _checks.ids(function, f"indices[:, {k}]", indices[:, k], n)
    return indices
