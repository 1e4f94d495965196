"""H^-1 for a block-diagonal H, batch by batch of blocks of one size.

A block of d_b coordinates has H_b = damp I + T^T T / n for the columns T of G. What is kept of it is V with
V V^T = H_b^-1 or, if there are more coordinates than gradients, V V^T = (T T^T + n damp I)^-1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.curvature._small import FLOOR, widened
from lowrank_la.curvature._solve import Answer
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import gamma, host

BATCH = 1 << 22  # numbers in the gradients of a batch


@dataclass(frozen=True)
class Batch:
    """A few blocks of `size` coordinates from `first` on: their gradients (blocks, n, size) are widened on demand."""

    G: Array
    first: int
    size: int
    count: int
    damp: float
    V: Array

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + self.size * self.count)

    @property
    def dual(self) -> bool:
        """Whether the n x n form is the smaller one."""
        return self.size > self.G.shape[0]

    def gradients(self) -> Array:
        xp, n = _arrays.namespace(self.G), self.G.shape[0]
        tile = xp.reshape(widened(self.G[:, self.columns]), (n, self.count, self.size))
        return xp.permute_dims(tile, (1, 0, 2))

    def factored(self) -> Batch:
        """Return the batch with its V."""
        T, n = self.gradients(), self.G.shape[0]
        K = T @ _turned(T) if self.dual else _turned(T) @ T / n
        return replace(self, V=_root(K, n * self.damp if self.dual else self.damp))

    def inverse(self, T: Array, b: Array) -> Array:
        """Return H^-1 b for blocks b (blocks, size, k)."""
        if not self.dual:
            return self.V @ (_turned(self.V) @ b)
        return (b - _turned(T) @ (self.V @ (_turned(self.V) @ (T @ b)))) / self.damp

    def times(self, T: Array, x: Array) -> Array:
        return self.damp * x + _turned(T) @ (T @ x) / self.G.shape[0]

    def diagonal(self) -> Array:
        xp = _arrays.namespace(self.G)
        if not self.dual:
            return xp.reshape(xp.sum(self.V * self.V, axis=-1), (-1,))
        T = self.gradients()
        S, shift = _turned(self.V) @ T, self.G.shape[0] * self.damp
        least = 1 / (1 + xp.sum(T * T, axis=1) / shift)
        return xp.reshape(xp.maximum(1 - xp.sum(S * S, axis=1), least) / self.damp, (-1,))

    def inverse_columns(self, block: int, places: np.ndarray) -> np.ndarray:
        """Return columns of the inverse of one block, on the host."""
        V = host(self.V[block, ...])
        if not self.dual:
            return V @ V[places].T
        start = self.first + block * self.size
        T = widened(np.asarray(_arrays.to_numpy(self.G[:, start : start + self.size])))
        return (np.eye(self.size)[:, places] - T.T @ (V @ (V.T @ T[:, places]))) / self.damp


class Blocks:
    """All batches, the last of a smaller block if the size does not divide d."""

    def __init__(self, G: Array, damp: float, size: int) -> None:
        (n, d), self.size, self.damp = G.shape, size, damp
        whole = d // size
        count = max(1, BATCH // (size * n))
        cuts = [(i * size, size, min(count, whole - i)) for i in range(0, whole, count)]
        if d % size:
            cuts.append((whole * size, d % size, 1))
        self._G, self._count = G, count
        self.batches = [Batch(G, first, width, blocks, damp, G[:0, :0]).factored() for first, width, blocks in cuts]

    def solve(self, B: Array, dtype: object) -> Answer:
        """Return H^-1 B, corrected once, with bounds that add up the squares of those of the blocks."""
        xp = _arrays.namespace(B)
        parts = [_solve(batch, B[batch.columns, :], dtype) for batch in self.batches]
        residual, error, size = (np.sqrt(sum(part[i] ** 2 for part in parts)) for i in (1, 2, 3))
        return Answer(xp.concat([part[0] for part in parts]), residual, error, size)

    @functools.cached_property
    def most(self) -> float:
        """A bound on ||H||."""
        xp = _arrays.namespace(self._G)
        return self.damp + max(float(xp.max(xp.sum(batch.gradients() ** 2, axis=(1, 2)))) for batch in self.batches) / self._G.shape[0]

    def diagonal(self) -> Array:
        return _arrays.namespace(self._G).concat([batch.diagonal() for batch in self.batches])

    def elements(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Return entries at pairs of places, which are zero between blocks."""
        values, mine = np.zeros(len(rows)), rows // self.size
        for block, batch, number in self._blocks(np.unique(mine[mine == cols // self.size])):
            here = np.flatnonzero((mine == block) & (cols // self.size == block))
            used, places = np.unique(cols[here] - block * self.size, return_inverse=True)
            values[here] = batch.inverse_columns(number, used)[rows[here] - block * self.size, places]
        return values

    def without(self, w: Array, Q: np.ndarray) -> Array:
        """Return w - H^-1 E (E^T H^-1 E)^-1 E^T w in float64, for the columns E of the identity in Q."""
        new = np.array(_arrays.to_numpy(w), dtype=np.float64)
        for block, batch, number in self._blocks(np.unique(Q // self.size)):
            start = block * self.size
            places = Q[Q // self.size == block] - start
            Z = batch.inverse_columns(number, places)
            mine = new[start : start + batch.size]
            mine -= Z @ np.linalg.solve(Z[places], mine[places])
            mine[places] = 0
        return _arrays.from_numpy(new, w)

    def logdet(self) -> float:
        """Return log det H."""
        total = 0.0
        for batch in self.batches:
            _, value = np.linalg.slogdet(host(batch.V))
            total -= 2 * float(np.sum(value))
            if batch.dual:
                n = batch.G.shape[0]
                total += batch.count * ((batch.size - n) * math.log(batch.damp) - n * math.log(n))
        return total

    def _blocks(self, numbers: np.ndarray) -> Iterator[tuple[int, Batch, int]]:
        """Find blocks by their number: yield it, the batch, and the place in the batch."""
        for block in numbers.tolist():
            whole = self._G.shape[1] // self.size
            batch = self.batches[-1] if block == whole else self.batches[block // self._count]
            yield block, batch, 0 if block == whole else block % self._count


def _turned(x: Array) -> Array:
    return _arrays.namespace(x).matrix_transpose(x)


def _root(K: Array, shift: float) -> Array:
    """Return V with V V^T = (K + shift I)^-1, from Cholesky factors or, where rounding errors forbid that, from eigenvalues."""
    xp = _arrays.namespace(K)
    one = _dense.eye(xp, K.shape[-1], K)
    C = _dense.cholesky(K + shift * one)
    if C is not None:
        return xp.linalg.solve(C, one)
    values, V = xp.linalg.eigh(K)
    floor = FLOOR * xp.sum(xp.abs(values), axis=-1, keepdims=True)
    return V / xp.sqrt(xp.maximum(xp.maximum(values, xp.zeros_like(values)) + shift, floor))[..., None, :]


def _solve(batch: Batch, b: Array, dtype: object) -> tuple[Array, np.ndarray, np.ndarray, np.ndarray]:
    """Return x, and bounds on its residual and its error and its size, for the blocks of a batch together."""
    xp, (n, k) = _arrays.namespace(b), (batch.G.shape[0], b.shape[1])
    T, b = batch.gradients(), xp.reshape(widened(b), (batch.count, batch.size, k))
    x = batch.inverse(T, b)
    x = x + batch.inverse(T, b - batch.times(T, x))
    r = host(xp.linalg.vector_norm(b - batch.times(T, x), axis=1))
    norms, sizes = host(xp.linalg.vector_norm(b, axis=1)), host(xp.linalg.vector_norm(x, axis=1))
    energy = host(xp.sum(T * T, axis=(1, 2)))[:, None] / n
    r = r * (1 + 1e-8) + gamma(n + batch.size + 8, b) * (norms + (batch.damp + energy) * sizes)
    out = xp.astype(xp.reshape(x, (-1, k)), dtype)
    lost = _arrays.unit_roundoff(xp, dtype) * sizes * (1 + 1e-6) + math.sqrt(batch.size) * float(xp.finfo(dtype).smallest_normal)
    residual, error = r + (batch.damp + energy) * lost, r / batch.damp + lost
    exact = norms == 0
    bounds = (np.linalg.norm(np.where(exact, 0.0, part), axis=0) for part in (residual, error, sizes))
    return out, *bounds
