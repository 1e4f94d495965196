"""Products of a tensor with matrices, mode by mode, without a copy of an unfolding."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lowrank_la import _arrays
from lowrank_la._arrays import Array


def multiply(T: Array, M: Array, mode: int) -> Array:
    """Return T x_mode M: fibres of the mode, of length n, become M times fibres, of length p, for M of shape (p, n)."""
    xp, shape = _arrays.namespace(T, M), tuple(T.shape)
    product = _product(xp, three_way(T, mode), M)
    return xp.reshape(product, (*shape[:mode], M.shape[0], *shape[mode + 1 :]))


def _product(xp: _arrays.Namespace, blocks: Array, M: Array) -> Array:
    lead, n, trail = blocks.shape
    if trail == 1:
        return xp.reshape(blocks, (lead, n)) @ xp.matrix_transpose(M)
    if lead == 1:
        return M @ xp.reshape(blocks, (n, trail))
    return M @ blocks


def three_way(T: Array, mode: int) -> Array:
    """View T as (modes before, mode, modes behind)."""
    shape = tuple(T.shape)
    return _arrays.namespace(T).reshape(T, (math.prod(shape[:mode]), shape[mode], math.prod(shape[mode + 1 :])))


def multiply_all(T: Array, matrices: Sequence[Array | None]) -> Array:
    """Multiply every mode by its matrix, None leaves a mode alone; those that shrink the tensor most come first."""
    given = [(k, M) for k, M in enumerate(matrices) if M is not None]
    for k, M in sorted(given, key=lambda pair: pair[1].shape[0] / max(1, pair[1].shape[1])):
        T = multiply(T, M, k)
    return T


def unfold(T: Array, mode: int) -> Array:
    """Return the matrix (n_mode, rest) whose columns are the fibres of a mode, the others in their order."""
    xp = _arrays.namespace(T)
    return xp.reshape(xp.moveaxis(T, mode, 0), (T.shape[mode], -1))
