"""Conventions for the scale that gains and signals share, and the way back to all channels and entries."""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array

RULES = ("mean_gain", "unit_norm", "first")


def rule(function: str, normalize: str | int, dead: np.ndarray) -> str | int:
    """Check a convention; a reference channel is counted among live ones.

    Raises
    ------
    ValueError
        There is no such convention, or the reference channel is dead.
    TypeError
        It is neither a name nor an index.
    """
    if isinstance(normalize, str):
        _checks.choice(function, "normalize", normalize, RULES)
        if normalize != "first":
            return normalize
        normalize = 0
    place = _checks.integer(function, "normalize", normalize, 0, dead.size - 1)
    if dead[place]:
        raise ValueError(f"{function}: normalize must name a live channel; got {place}, which is zero in all snapshots")
    return int(np.sum(~dead[:place]))


def normalized(d: Array, x: Array | None, convention: str | int) -> tuple[Array, Array | None]:
    """Scale gains as the convention wants, and signals against it."""
    xp = _arrays.namespace(d)
    if isinstance(convention, int):
        unit = d[convention]
    else:
        size = xp.mean(xp.abs(d)) if convention == "mean_gain" else xp.linalg.vector_norm(d)
        total = xp.sum(d)
        length = xp.abs(total)
        phase = total / length if float(length) > 0 else xp.ones_like(total)
        unit = phase * xp.astype(size, d.dtype)
    return d / unit, None if x is None else x * unit


def filled(x: Array, dead: np.ndarray, value: float) -> Array:
    """Put dead channels back."""
    if not dead.any():
        return x
    xp = _arrays.namespace(x)
    rest = xp.full((int(dead.sum()),), value, dtype=x.dtype, device=x.device)
    order = np.argsort(np.concatenate([np.flatnonzero(~dead), np.flatnonzero(dead)]))
    return xp.take(xp.concat([x, rest]), _arrays.from_numpy(order, x))


def spread_out(x: Array, support: np.ndarray | None, n: int) -> Array:
    """Put the entries off the support back, as zeros."""
    if support is None:
        return x
    xp = _arrays.namespace(x)
    picked = _arrays.from_numpy((support[..., None] == np.arange(n)).astype(np.float64), x)
    picked = xp.astype(picked, x.dtype)
    return (x[..., None, :] @ picked)[..., 0, :]
