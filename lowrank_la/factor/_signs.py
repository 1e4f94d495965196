"""One sign rule for all singular vectors and eigenvectors."""

from __future__ import annotations

from lowrank_la import _arrays
from lowrank_la._arrays import Array

NEARLY_LARGEST = 0.999  # among entries this close to the largest the first one decides, so that rounding seldom does


def signed(U: Array, *others: Array) -> tuple[Array, ...]:
    """Turn the columns of U so that their largest entries are real and positive, and those of the others with them.

    The others hold vectors that are paired with those of U, column by column, as V in
    A = U diag(s) V^H: every product u_i v_i^H stays what it is. Leading axes are batches.
    """
    back = turns(U)
    return (U * back, *(other * back for other in others))


def turns(U: Array) -> Array:
    """Find what the columns of U must be multiplied by, for the rule of `signed`."""
    xp = _arrays.namespace(U)
    if 0 in U.shape:
        return xp.ones((*U.shape[:-2], 1, U.shape[-1]), dtype=U.dtype, device=U.device)
    size = xp.abs(U)
    near = size >= NEARLY_LARGEST * xp.max(size, axis=-2, keepdims=True)
    first = xp.argmax(xp.astype(near, xp.int8), axis=-2, keepdims=True)
    pivot = xp.take_along_axis(U, first, axis=-2)
    length = xp.abs(pivot)
    turn = xp.where(length > 0, pivot, xp.ones_like(pivot)) / xp.where(length > 0, length, xp.ones_like(length))
    return xp.conj(turn) if xp.isdtype(U.dtype, "complex floating") else turn
