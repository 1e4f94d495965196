"""Bases for one mode of a tensor: right singular vectors of a tall matrix whose rows are the fibres of the mode.

Tolerances are relative to the norm of the matrix. The bases are columns X such that A X X^H is close to A; the factor of
the mode is conj(X).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _random, _threads, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, host, wide
from lowrank_la.sketching import SparseSign
from lowrank_la.tensors._modes import three_way

GRAM = 3e-7  # 20 sqrt(eps): what is left out below it drowns in the rounding errors of a Gram matrix
SAMPLE = 32  # fibres drawn first
FINE, COARSE, SPARE = 0.01, 0.7, 8  # columns for a hundredth of the tolerance, but few more than for most of it
OVERSAMPLING = 10
SERIAL = 1 << 26  # numbers times the shorter side, below which other threads of BLAS would only be in the way of the next kernel
BLOCK = 1 << 21  # numbers in a block of fibres


@dataclass(frozen=True)
class Leading:
    """The leading right singular vectors of a matrix, all its singular values, its norm, and the norm of what is left out."""

    X: Array
    values: np.ndarray
    size: float
    tail: float


def rank_of(s: np.ndarray, tol: float, most: int) -> tuple[int, float]:
    """Return the least rank, from 1 to `most`, whose discarded singular values have a norm of at most tol, and that norm."""
    tails = np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0))
    r = max(1, min(int(np.argmax(tails <= tol)), most))
    return r, float(tails[r]) if r < len(tails) else 0.0


def fibres(T: Array, mode: int) -> Iterator[Array]:
    """Yield blocks of the matrix whose rows are the fibres of a mode; views for the last one, copies of a few MiB for the others."""
    xp, T = _arrays.namespace(T), three_way(T, mode)
    lead, n, trail = T.shape
    few, width = max(1, BLOCK // (n * trail)), max(1, BLOCK // n)
    for i in range(0, lead, few):
        for j in range(0, trail, width):
            block = T[i : min(i + few, lead), :, j : min(j + width, trail)]
            yield xp.reshape(xp.matrix_transpose(block), (-1, n))


def exact(T: Array, mode: int, tol: float, most: int) -> Leading:
    """Find as many vectors as a tolerance asks for, at most `most`, for the fibres of a mode.

    The Gram matrix serves as long as its rounding errors are below what is left out, a QR factorization otherwise.
    """
    n = T.shape[mode]
    if math.prod(T.shape) > n * n and (tol >= GRAM or most < n):
        found = _from_gram(fibres(T, mode), tol, most)
        if tol >= GRAM or found.tail >= GRAM * found.size:
            return found
    return leading(_triangle(fibres(T, mode)), tol, most)


def _from_gram(blocks: Iterable[Array], tol: float, most: int) -> Leading:
    total: Any = 0.0
    for block in blocks:
        block = wide(block)
        total = total + adjoint(block) @ block
    xp = _arrays.namespace(total)
    values, V = xp.linalg.eigh(total)
    s = np.sqrt(np.maximum(host(values)[::-1], 0.0))
    size = float(np.linalg.norm(s))
    r, tail = rank_of(s, tol * size, most)
    last = _arrays.from_numpy(np.arange(len(s) - 1, len(s) - 1 - r, -1), V)
    return Leading(xp.take(V, last, axis=1), s, size, tail)


def _triangle(blocks: Iterable[Array]) -> Array:
    """Return R of a QR factorization of a matrix given by blocks of rows, or a short matrix as it is."""
    R: Any = None
    for block in blocks:
        block = wide(block)
        R = block if R is None else _arrays.namespace(block).concat([R, block], axis=0)
        if R.shape[0] > R.shape[1]:
            R = _arrays.triangular_factor(R)
    return R


def leading(A: Array, tol: float, most: int) -> Leading:
    """Find the leading right singular vectors of a small matrix."""
    with _threads.serial_blas() if math.prod(A.shape) * min(A.shape) < SERIAL else nullcontext():
        _, s, Vh = _arrays.namespace(A).linalg.svd(A, full_matrices=False)
    s = host(s)
    size = float(np.linalg.norm(s))
    r, tail = rank_of(s, tol * size, most)
    return Leading(adjoint(Vh)[:, :r], s, size, tail)


def trials(A: Array, tol: float, seed: int, purpose: str) -> Iterator[Array]:
    """Yield bases for the rows of A: from a few of them, from wider and wider sketches of all, and the exact one at last.

    The first ones are cheap, and mostly good enough; what they leave has to be measured.
    """
    rows, n = A.shape
    most = min(n, rows) // 2
    width, X = SAMPLE, None
    while X is None and width <= most:
        X = _ample(_sample(A, width, seed, purpose), tol)
        width *= 2
    if X is not None:
        yield X
        width //= 2
    while width <= most:
        X = _ample(wide(SparseSign(width, rows, rng=seed).apply(A)), tol)
        if X is not None:
            yield X
        width *= 2
    yield from by_svd(A, tol, n)


def by_svd(A: Array, tol: float, most: int) -> Iterator[Array]:
    """Yield the leading singular vectors, and again with more care where rounding errors of a Gram matrix spoil them."""
    found = exact(A, 1, tol, most)
    yield found.X
    if tol >= GRAM and found.X.shape[1] < most:
        yield leading(_triangle(fibres(A, 1)), tol, most).X


def _sample(A: Array, width: int, seed: int, purpose: str) -> Array:
    """Take one row at random from each of equal strata, the first and the last one of all: corners say most about smooth functions."""
    edges = np.linspace(0, A.shape[0], width + 1).astype(np.int64)
    chosen = _random.host_generator(seed, purpose).integers(edges[:-1], edges[1:])
    chosen[[0, -1]] = 0, A.shape[0] - 1
    return wide(_arrays.namespace(A).take(A, _arrays.from_numpy(chosen, A), axis=0))


def _ample(rows: Array, tol: float) -> Array | None:
    """Return the singular vectors for a hundredth of the tolerance, but few more than for most of it; None if those fill half the space."""
    found, width = leading(rows, 0.0, rows.shape[0]), rows.shape[0]
    least, enough = (rank_of(found.values, part * tol * found.size, width)[0] for part in (COARSE, FINE))
    return found.X[:, : min(enough + 1, least + SPARE, 3 * width // 4)] if 2 * least <= width else None


def ranged(A: Array, rank: int, seed: int) -> Array | None:
    """Return a basis of a few more vectors than `rank`, by a sketch and a power step; None where that would not pay."""
    rows, n = A.shape
    width = rank + OVERSAMPLING
    if 2 * width > min(n, rows):
        return None
    X = leading(wide(SparseSign(2 * width, rows, rng=seed).apply(A)), 0.0, width).X
    return _arrays.namespace(A).linalg.qr(kernels.skinny.gram(A, X)[0], mode="reduced")[0]
