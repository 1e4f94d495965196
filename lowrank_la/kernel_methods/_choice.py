"""Landmarks by ridge leverage scores: recursive halving (Musco and Musco) and the path of ridges (BLESS).

Both estimate scores from a weighted subset S that was drawn with probabilities p: the score of row i is about
(k_ii - k_iS (K_SS + ridge diag(p))^-1 k_Si) / ridge.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from lowrank_la import _arrays, _threads
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, eye, host, wide
from lowrank_la.kernel_methods._functions import KernelFunction
from lowrank_la.kernel_methods._gram import Gram, lifted

TILE = 1 << 22  # entries of K at a time
FEWEST = 64  # rows at which halving ends
LEAST = 1e-13  # ridge over trace, where the path of ridges ends


class Subset:
    """Rows of K with the probabilities they were drawn with."""

    def __init__(self, rows: np.ndarray, p: np.ndarray) -> None:
        self.rows, self.p = rows, p


def residuals(gram: Gram, rows: np.ndarray, subset: Subset, ridge: float) -> np.ndarray:
    """Return k_ii - k_iS (K_SS + ridge diag(p))^-1 k_Si for some rows, on the host; never negative.

    Raises
    ------
    ValueError
        K_SS has a negative eigenvalue.
    """
    xp, S = gram.door.xp, _arrays.from_numpy(subset.rows, gram.diagonal)
    block = wide(gram.block(S, S))
    floor = 10 * subset.rows.size * _arrays.unit_roundoff(xp, gram.door.dtype) * float(xp.max(xp.linalg.diagonal(block)))
    shift = _arrays.from_numpy(ridge * subset.p + floor, gram.diagonal)
    try:
        L = xp.linalg.cholesky((block + adjoint(block)) / 2 + shift[:, None] * eye(xp, subset.rows.size, block))
    except np.linalg.LinAlgError:
        raise ValueError(f"{gram.function}: K must be positive semidefinite; got a submatrix that is not") from None
    parts = []
    for _, tile in _arrays.row_blocks(rows, max(1, TILE // subset.rows.size)):
        index = _arrays.from_numpy(tile, gram.diagonal)
        parts.append(host(xp.take(gram.diagonal, index, axis=0) - _lengths(gram, index, S, L)))
    return np.maximum(np.concatenate(parts), 0.0)


def _lengths(gram: Gram, rows: Array, S: Array, L: Array) -> Array:
    """Return the squared lengths of the rows of K[rows, S] L^-T, in double precision."""
    if isinstance(gram.kernel, KernelFunction) and not _arrays.is_sparse(gram.X):
        return gram.lift(wide(gram.points(rows)), wide(gram.points(S)), L)[1]
    return lifted(wide(gram.block(rows, S)), L)[1]


def undisturbed(gram: Gram) -> AbstractContextManager[None]:
    """Keep BLAS on one thread, whose small factorizations alternate with compiled kernels that do nearly all of the work."""
    return _threads.serial_blas() if _arrays.engine_of(gram.diagonal) == "cpu" else nullcontext()


def halving(
    gram: Gram, random: np.random.Generator, oversample: float, *, size: int = FEWEST, ridge: float | None = None
) -> tuple[Subset, float]:
    """Draw a subset by recursion over halves of the rows; without a ridge, one of about `size` rows, whose ridge is found on the way.

    Returns the subset that estimates scores of all rows, and the ridge to use it with.
    """
    order = random.permutation(gram.n)
    least = max(size, FEWEST)
    levels = max(0, math.ceil(math.log2(gram.n / least))) if gram.n > least else 0
    lengths = [math.ceil(gram.n / 2**level) for level in range(levels + 1)]
    subset = Subset(order[: lengths[-1]], np.ones(lengths[-1]))
    for length in lengths[-2:0:-1]:
        shift = ridge if ridge is not None else _tail(gram, subset, size, oversample)
        rows = order[:length]
        p = np.minimum(1.0, oversample * residuals(gram, rows, subset, shift) / shift)
        chosen = random.random(length) < p
        if chosen.any():
            subset = Subset(rows[chosen], p[chosen])
    return subset, ridge if ridge is not None else _tail(gram, subset, size, 1.0)  # all of them are drawn from these scores


def _tail(gram: Gram, subset: Subset, size: int, oversample: float) -> float:
    """Find the ridge at which about `size` rows are drawn: what all but the leading eigenvalues add up to, over their number."""
    k = max(1, math.ceil(size / (2 * oversample)))
    S = _arrays.from_numpy(subset.rows, gram.diagonal)
    w = 1 / np.sqrt(subset.p)
    values = np.maximum(np.linalg.eigvalsh(w[:, None] * host(gram.block(S, S)) * w), 0.0)
    total = float(np.sum(values))
    return max(float(np.sum(values[: max(values.size - k, 0)])) / k, LEAST * total) or 1.0


def path(
    gram: Gram, random: np.random.Generator, oversample: float, *, size: float = math.inf, ridge: float = 0.0
) -> tuple[Subset, Subset]:
    """Draw subsets for ridges that fall by halves, each scored by the one before, down to a ridge or up to an expected size.

    Returns the last one, and the candidates that it was drawn from with their chances.
    """
    diagonal = host(gram.diagonal)
    trace = float(np.sum(diagonal))
    shift, last = trace, max(ridge, LEAST * trace)
    subset = candidates = Subset(random.permutation(np.flatnonzero(diagonal > 0))[:1], np.ones(1))
    while candidates.rows.size < size or np.sum(candidates.p) < size:
        shift = max(shift / 2, last)
        cap = np.minimum(1.0, oversample * diagonal / (diagonal + shift))
        rows = np.flatnonzero(random.random(gram.n) < cap)
        if rows.size:
            p = np.minimum(oversample * residuals(gram, rows, subset, shift) / shift, cap[rows])
            candidates = Subset(rows, p / cap[rows])
            chosen = random.random(rows.size) < candidates.p
            subset = Subset(rows[chosen], p[chosen]) if chosen.any() else subset
        if shift == last:
            break
    return subset, candidates


def without_replacement(rows: np.ndarray, weights: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw rows one after the other, with chances proportional to the weights of those that are left."""
    keys = random.exponential(size=rows.size) / np.maximum(weights, np.finfo(float).tiny)
    return rows[np.argsort(keys, kind="stable")[:count]]
