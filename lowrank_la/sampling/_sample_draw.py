"""Draws: each row for itself, with replacement, or in rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint
from lowrank_la.sampling import _basis
from lowrank_la.sampling._basis import Basis
from lowrank_la.sampling._rows import Rows

STREAM = "sample_rows"
ROUNDS = 12
FULL = 1e-8  # least eigenvalue, over the largest, of a sample of full rank in good coordinates


@dataclass(frozen=True)
class Draw:
    """Rows, the weights of their |a_i^H x|^p, their chances, and the expected number of rows; `complete` if nothing is left out."""

    indices: Array
    weights: Array
    q: Array
    expected: float
    complete: bool = False

    def rows(self, matrix: Rows, P: Array, power: float) -> Array:
        """Rows of A P times weights^power."""
        xp, index = matrix.door.xp, _arrays.to_numpy(self.indices)
        parts = []
        for offset, block, _ in matrix.blocks():
            first, last = np.searchsorted(index, [offset, offset + block.shape[0]])
            here = index[first:last] - offset
            rows = block[here] if matrix.sparse else xp.take(block, _arrays.from_numpy(here, self.weights), axis=0)
            parts.append(rows @ P if _arrays.is_sparse(rows) else xp.astype(rows, P.dtype, copy=False) @ P)
        return (self.weights**power)[:, None] * xp.concat(parts)

    def has_rank(self, matrix: Rows, basis: Basis) -> bool:
        """Say whether these rows span what all rows span."""
        if self.indices.shape[0] < basis.rank:
            return False
        if basis.rank == 0:
            return True
        Q = self.rows(matrix, basis.P, 0.5)
        values = _arrays.to_numpy(matrix.door.xp.linalg.eigvalsh(adjoint(Q) @ Q))
        return bool(values[0] > FULL * values[-1])


def everything(matrix: Rows) -> Draw:
    """Keep all rows."""
    xp, device = matrix.door.xp, matrix.like.device
    ones = xp.ones((matrix.n,), dtype=xp.float64, device=device)
    return Draw(xp.arange(matrix.n, dtype=xp.int64, device=device), ones, ones, float(matrix.n), complete=True)


def bernoulli_draw(scores: Array, size: int, seed: int, turn: int) -> Draw:
    """Keep each row with chance min(1, 1/n + score / alpha)."""
    factor, expected = scale_for(scores, size)
    indices, q = kernels.bernoulli.draw(scores, factor, 1 / scores.shape[0], seed, _random.stream(STREAM), turn)
    return Draw(indices, 1 / q, q, expected)


def scale_for(scores: Array, size: float) -> tuple[float, float]:
    """Find 1 / alpha for an expected size, from below by Newton's method on a concave function with finitely many pieces."""
    xp, n = _arrays.namespace(scores), scores.shape[0]
    nonzero = scores > 0
    floor = xp.astype(nonzero, xp.float64) / n
    most = float(xp.sum(xp.astype(nonzero, xp.float64)))
    factor, expected = 0.0, float(xp.sum(floor))
    for _ in range(100):
        q = floor + factor * scores
        open_ = (q < 1) & nonzero
        expected = float(xp.sum(xp.where(q < 1, q, xp.ones_like(q))))
        slope = float(xp.sum(xp.where(open_, scores, xp.zeros_like(scores))))
        missing = min(size, most) - expected
        if missing <= 1e-9 * size or slope == 0:
            break
        factor += missing / slope
    return factor, expected


def replacement_draw(scores: Array, size: int, seed: int, turn: int) -> Draw:
    """Draw `size` times with chances proportional to scores; repeated draws of a row become one row of larger weight."""
    host = np.asarray(_arrays.to_numpy(scores), dtype=np.float64)
    sums = np.cumsum(host)
    uniform = kernels.bernoulli.uniforms(host, seed, _random.stream(STREAM + " with replacement"), size, turn)
    drawn = np.minimum(np.searchsorted(sums, uniform * sums[-1], side="right"), np.flatnonzero(host)[-1])
    indices, counts = np.unique(drawn, return_counts=True)
    q = size * host[indices] / sums[-1]
    kept, weights, q = (_arrays.from_numpy(part, scores) for part in (indices.astype(np.int64), counts / q, q))
    return Draw(kept, weights, q, float(size))


def recursive_draw(matrix: Rows, scores: Array, size: int, p: float, seed: int, turn: int) -> Draw:
    """Draw by powers tau^(p/2) of leverage scores in rounds, each on the sample of the round before, down to `size` rows.

    One round leaves about n^(1 - p/2) rows: scores of the sample, which has fewer rows, are then closer to Lewis weights.
    """
    xp = matrix.door.xp
    draw = everything(matrix)
    for stage in range(ROUNDS):
        now = draw.indices.shape[0]
        aim = max(size, math.ceil(size ** (p / 2) * now ** (1 - p / 2)))  # the fixed point is `size`
        last = aim <= 1.1 * size or stage == ROUNDS - 1
        aim = size if last else aim
        if now <= aim:
            break
        part = bernoulli_draw(scores, aim, seed, turn * ROUNDS + stage + 1)
        chosen = [xp.take(x, part.indices) for x in (draw.indices, draw.weights, draw.q)]
        draw = Draw(chosen[0], chosen[1] * part.weights, chosen[2] * part.q, part.expected)
        if last:
            break
        scores = _scores(matrix, draw, p)
    return draw


def _scores(matrix: Rows, draw: Draw, p: float) -> Array:
    """Leverage scores of the scaled rows of a sample, to the power p/2."""
    xp, index = matrix.door.xp, draw.indices
    few = matrix.A[_arrays.to_numpy(index)] if matrix.sparse else xp.take(matrix.A, index, axis=0)
    from_sample = Rows(matrix.function, few, matrix.door, index.shape[0], matrix.d, matrix.like, draw.weights ** (1 / p))
    rows, basis, _ = _basis.begin(from_sample, 0)
    return rows.norms(_basis.exact(rows, basis).square) ** (p / 2)
