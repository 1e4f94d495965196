"""Canonical tensors, sums of R products of vectors, in Tucker format: the reduced higher-order SVD.

A first projection of each mode acts on the columns alone, so that no array has more than a fraction of the entries of the
tensor; its error is bounded. The small core is then truncated with an error that is measured. The squares of both add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, gamma, is_complex
from lowrank_la.tensors._truncate import Truncation, left_vectors, rank_of, truncate

FIRST = 0.1  # share of the tolerance for the first projection
BLOCK = 1 << 22  # entries of a product of columns at a time
MOST_TERMS = 2000  # whose Gram matrix is formed for the sake of a sharper bound
CANCELLED = 1e-4  # of the sum of lengths: the norm of what is left is not taken from a Gram matrix, which loses half the digits
HELD = 1 << 24  # entries of a core that is formed for that


def enter(function: str, weights: Any, factors: Sequence[Any]) -> tuple[Door, Array, list[Array]]:
    """Take a canonical tensor inside.

    Raises
    ------
    ValueError
        Shapes do not fit, or an entry is not finite.
    """
    named = {f"factors[{k}]": U for k, U in enumerate(factors)}
    if not named:
        raise ValueError(f"{function}: factors must have at least one array; got none")
    door, [*inside, w] = _dense.enter(function, **named, weights=weights)
    terms = inside[0].shape[-1]
    for name, U in zip(named, inside, strict=True):
        _checks.ndim(function, name, U, 2)
        if U.shape[1] != terms:
            raise ValueError(
                f"{function}: {name} must have {inside[0].shape[1]} columns, as many as factors[0]; got shape {tuple(U.shape)}"
            )
    terms = inside[0].shape[1]
    w = door.xp.ones(terms, dtype=inside[0].dtype, device=inside[0].device) if w is None else w
    return door, _checks.shape(function, "weights", w, (terms,)), inside


def canonical(weights: Array, factors: Sequence[Array], *, tol: float = 0.0, ranks: Sequence[int] | None = None) -> Truncation:
    """Compress sum_r weights[r] factors[0][:, r] o factors[1][:, r] o ... to within `tol` in the Frobenius norm.

    The squared error is at most the sum of the squared tails.
    """
    xp, d = _arrays.namespace(weights, *factors), len(factors)
    scaled, columns = normalised(weights, factors)
    spread = math.sqrt(_largest_eigenvalue(columns))
    bases, first = [], []
    for U in columns:
        V, s = left_vectors(U * xp.astype(xp.abs(scaled), U.dtype))
        r, tail = rank_of(s, FIRST * tol / (spread * math.sqrt(d)), V.shape[1])
        bases.append(V[:, :r])
        first.append(tail * spread)
    core = assemble(scaled, [adjoint(V) @ U for V, U in zip(bases, columns, strict=True)])
    inner = truncate(core, tol=math.sqrt(max(tol**2 - math.hypot(*first) ** 2, 0.0)), ranks=ranks)
    rotated = tuple(V @ W for V, W in zip(bases, inner.factors, strict=True))
    tails = tuple(math.hypot(*pair) for pair in zip(first, inner.tails, strict=True))
    roundings = gamma(scaled.shape[0] + sum(U.shape[0] + U.shape[1] for U in bases), core) * _length(scaled)
    narrow = _arrays.unit_roundoff(xp, core.dtype) / _dense.U
    return Truncation(inner.core, rotated, tails, math.hypot(*first, inner.bound) + roundings * narrow, inner.size)


def canonical_norm(weights: Array, factors: Sequence[Array]) -> float:
    """Return the Frobenius norm of a canonical tensor."""
    scaled, columns = normalised(weights, factors)
    xp, total = _arrays.namespace(scaled), _length(scaled)
    square = xp.sum(_dense.conj(scaled)[:, None] * _gram(columns) * scaled[None, :])
    norm = math.sqrt(max(float(xp.real(square) if is_complex(square) else square), 0.0))
    if norm > CANCELLED * total or math.prod(min(U.shape) for U in columns) > HELD:
        return norm
    small = [left_vectors(U)[0] for U in columns]
    core = assemble(scaled, [adjoint(V) @ U for V, U in zip(small, columns, strict=True)])
    return float(_dense.norms(xp.reshape(core, (core.shape[0], -1))))


def floor(weights: Array, factors: Sequence[Array]) -> float:
    """Return the size below which the sum of the terms is rounding error."""
    scaled, _ = normalised(weights, factors)
    return 4 * _arrays.unit_roundoff(_arrays.namespace(scaled), scaled.dtype) * _length(scaled)


def _length(scaled: Array) -> float:
    xp = _arrays.namespace(scaled)
    return float(xp.sum(xp.abs(scaled)))


def normalised(weights: Array, factors: Sequence[Array]) -> tuple[Array, list[Array]]:
    """Move the lengths of the columns to the weights; columns of zeros stay, with weight zero."""
    xp, columns = _arrays.namespace(weights, *factors), []
    for U in factors:
        lengths = xp.linalg.vector_norm(U, axis=0)
        columns.append(U / xp.astype(xp.where(lengths > 0, lengths, xp.ones_like(lengths)), U.dtype))
        weights = weights * xp.astype(lengths, weights.dtype)
    return weights, columns


def _gram(columns: Sequence[Array]) -> Array:
    """Return the inner products of the R rank-one tensors."""
    gram = adjoint(columns[0]) @ columns[0]
    for U in columns[1:]:
        gram = gram * (adjoint(U) @ U)
    return gram


def assemble(weights: Array, columns: Sequence[Array]) -> Array:
    """Add up the rank-one tensors, a block of them at a time."""
    xp, shape = _arrays.namespace(weights, *columns), tuple(U.shape[0] for U in columns)
    head, width = shape[0], max(1, math.prod(shape[1:]))
    total = xp.zeros((head, width), dtype=columns[0].dtype, device=weights.device)
    step = max(1, BLOCK // width)
    for first in range(0, weights.shape[0], step):
        block = slice(first, min(first + step, weights.shape[0]))
        total = total + columns[0][:, block] @ _products(xp, weights[block], [U[:, block] for U in columns[1:]])
    return xp.reshape(total, shape)


def _products(xp: _arrays.Namespace, weights: Array, columns: list[Array]) -> Array:
    """Return the weighted outer products of columns, one in each row."""
    rows = xp.astype(weights[:, None], columns[0].dtype) if columns else weights[:, None]
    for U in columns:
        rows = xp.reshape(rows[:, :, None] * xp.matrix_transpose(U)[:, None, :], (U.shape[1], -1))
    return rows


def _largest_eigenvalue(columns: list[Array]) -> float:
    """Bound the largest eigenvalue of the Gram matrices of products of all columns but one, by R or by the sums of their rows."""
    terms = columns[0].shape[1]
    if len(columns) < 2 or terms > MOST_TERMS:
        return float(terms)
    xp = _arrays.namespace(*columns)
    sizes = [xp.abs(_gram(columns[:k] + columns[k + 1 :])) for k in range(len(columns))]
    return max(float(xp.max(xp.sum(size, axis=1))) for size in sizes)
