"""Stacks of tensors of equal shape, all compressed at once by batched linear algebra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, gamma, host, wide
from lowrank_la.tensors._basis import rank_of


def truncate(
    T: Array, tol: float, ranks: Sequence[int] | None
) -> tuple[Array, tuple[Array, ...], list[np.ndarray], np.ndarray, np.ndarray]:
    """Compress each tensor of a stack (B, n_1, ..., n_d) to within `tol` of its norm, with ranks that suffice for all.

    Returns core, factors, tails of each mode, bounds on the errors and norms.
    """
    xp, count, d = _arrays.namespace(T), T.shape[0], T.ndim - 1
    core, size = wide(T), _lengths(T)
    left = (tol * size) ** 2
    factors: list[Any] = [None] * d
    tails: list[Any] = [None] * d
    for position, k in enumerate(sorted(range(d), key=lambda k: T.shape[k + 1])):
        A = xp.reshape(xp.moveaxis(core, k + 1, 1), (count, core.shape[k + 1], -1))
        short = adjoint(xp.linalg.qr(adjoint(A), mode="reduced")[1]) if A.shape[2] > A.shape[1] else A
        V, s, _ = xp.linalg.svd(short, full_matrices=False)
        shares, most = np.sqrt(left / (d - position)), T.shape[k + 1] if ranks is None else ranks[k]
        s = host(s)
        r = max(rank_of(s[b], shares[b], most)[0] for b in range(count))
        tails[k] = np.sqrt(np.sum(s[:, r:] ** 2, axis=1))
        left = np.maximum(left - tails[k] ** 2, 0.0)
        factors[k] = V[:, :, :r]
        core = multiply(core, adjoint(factors[k]), k)
    core, *factors = (xp.astype(x, T.dtype, copy=False) for x in (core, *factors))
    E = wide(T) - multiply_all(wide(core), [wide(V) for V in factors])
    rounding = gamma(sum(V.shape[2] + 2 for V in factors), E) * math.sqrt(math.prod(core.shape[1:])) * size
    return core, tuple(factors), tails, _lengths(E) * (1 + gamma(math.prod(T.shape[1:]), E)) + rounding, size


def multiply(T: Array, M: Array, mode: int) -> Array:
    """Multiply each tensor of a stack by its matrix in one mode."""
    xp = _arrays.namespace(T, M)
    moved = xp.moveaxis(T, mode + 1, 1)
    product = M @ xp.reshape(moved, (T.shape[0], T.shape[mode + 1], -1))
    return xp.moveaxis(xp.reshape(product, (*product.shape[:2], *moved.shape[2:])), 1, mode + 1)


def multiply_all(T: Array, matrices: Sequence[Array]) -> Array:
    """Multiply each tensor of a stack by its matrices in all modes."""
    for k, M in enumerate(matrices):
        T = multiply(T, M, k)
    return T


def _lengths(T: Array) -> np.ndarray:
    xp = _arrays.namespace(T)
    return host(xp.linalg.vector_norm(xp.reshape(wide(T), (T.shape[0], -1)), axis=1))
