"""How much a sample of rows distorts norms: exactly for p = 2, from below by an ascent for other p."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, gamma, wide
from lowrank_la.sampling._basis import Basis
from lowrank_la.sampling._rows import Rows
from lowrank_la.sampling._sample_draw import Draw

DIRECTIONS, CLIMBERS, STEPS = 16, 4, 6
HEIGHT = 4096  # rows of a block: what they make for all directions stays in cache


def exact_distortion(matrix: Rows, basis: Basis, draw: Draw) -> float:
    """Bound | ||S A x||^2 / ||A x||^2 - 1 | over all x, rounding errors included."""
    if basis.rank == 0:
        return 0.0
    if not basis.error < 1:
        return math.inf
    xp = matrix.door.xp
    Q = draw.rows(matrix, basis.P, 0.5)
    G = adjoint(Q) @ Q
    values = _arrays.to_numpy(xp.linalg.eigvalsh((G + adjoint(G)) / 2))
    m, d = Q.shape
    trace = float(values.sum())
    slack = gamma(m + 8 * d + 8, Q) * trace + basis.error * trace  # of G: sums, and errors of the rows of A P
    low, high = (float(values[0]) - slack) / (1 + basis.error), (float(values[-1]) + slack) / (1 - basis.error)
    return max(high - 1, 1 - low, 0.0)


def found_distortion(matrix: Rows, basis: Basis, draw: Draw, p: float, seed: int) -> float:
    """Find the largest | ||S A x||_p^p / ||A x||_p^p - 1 | that an ascent from some directions meets: a lower bound."""
    d = basis.rank
    if d == 0:
        return 0.0
    few = draw.rows(matrix, basis.P, 1 / p)
    Z = _arrays.from_numpy(_directions(_arrays.to_numpy(few), d, seed), few)
    ratios, up = _ratios(matrix, basis, few, Z, p)
    worst = float(np.max(np.abs(ratios - 1)))
    order = np.argsort(ratios)
    count = min(CLIMBERS, order.size)
    picks = np.concatenate([order[-count:], order[:count]])
    sign = np.concatenate([np.ones(count), -np.ones(count)])
    xp = matrix.door.xp
    Z, up = (xp.take(x, _arrays.from_numpy(picks, few), axis=1) for x in (Z, up))
    rate = np.full(picks.size, 0.5)
    now = ratios[picks]
    for _ in range(STEPS):
        trial = Z + _arrays.from_numpy(rate * sign, few)[None, :] * up
        trial = trial / xp.linalg.vector_norm(trial, axis=0)[None, :]
        there, slope = _ratios(matrix, basis, few, trial, p)
        better = sign * there > sign * now
        chosen = _arrays.from_numpy(better, few)[None, :]
        Z, up = xp.where(chosen, trial, Z), xp.where(chosen, slope, up)
        now, rate = np.where(better, there, now), np.where(better, 1.5 * rate, rate / 3)
    return max(worst, float(np.max(np.abs(now - 1))))


def _directions(few: np.ndarray, d: int, seed: int) -> np.ndarray:
    """Random directions, and the extreme ones of the sample in the l_2 norm, of length 1."""
    G = few.conj().T @ few
    values = np.linalg.eigh(G)[1]
    ends = values[:, np.unique(np.r_[: min(4, d), max(d - 4, 0) : d])]
    drawn = _random.host_generator(seed, "sample_rows test").standard_normal((d, DIRECTIONS - ends.shape[1]))
    Z = np.concatenate([ends, drawn], axis=1)
    return Z / np.linalg.norm(Z, axis=0)


def _ratios(matrix: Rows, basis: Basis, few: Array, Z: Array, p: float) -> tuple[np.ndarray, Array]:
    """Ratios ||S A x||_p^p / ||A x||_p^p for x = P z, and directions of length 1 in which they grow."""
    xp = matrix.door.xp
    ours, climb = _powers(xp, few, Z, p)
    theirs: Any = 0.0
    fall: Any = 0.0
    for _, block, _ in matrix.blocks():
        for _, rows in _arrays.row_blocks(block, HEIGHT):
            Q = rows @ basis.P if _arrays.is_sparse(rows) else wide(rows) @ basis.P
            part, slope = _powers(xp, Q, Z, p)
            theirs, fall = theirs + part, fall + slope
    up = climb / ours[None, :] - fall / theirs[None, :]
    size = xp.linalg.vector_norm(up, axis=0)[None, :]
    return _arrays.to_numpy(ours / theirs), up / xp.where(size > 0, size, xp.ones_like(size))


def _powers(xp: Any, Q: Array, Z: Array, p: float) -> tuple[Array, Array]:
    """||Q z||_p^p of each column, and its gradient over p."""
    V = Q @ Z
    size = xp.abs(V)
    if p >= 2:
        weights = size ** (p - 2)
    else:
        weights = xp.where(size > 0, size, xp.ones_like(size)) ** (p - 2)
    slopes = weights * V
    return xp.sum(slopes * V if V.dtype == size.dtype else weights * size**2, axis=0), adjoint(Q) @ slopes
