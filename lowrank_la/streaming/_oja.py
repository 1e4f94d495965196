"""Oja's iteration for rows in any order, at all learning rates that can matter, with the growth that tells which of them learned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor import _probes
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.streaming._sample import Sample

START = "TopEigenvector: start of Oja's iteration"
LEAST = 0.3  # rate * ||A||_F^2 at which a rate is told apart: no energy of unit rows is this times a power of two
PIECE = 1 << 12  # rows
STARTS = 2  # which rates take in turn: one that is nearly orthogonal to v1 harms half of them
LEARNED = 1.5  # times ln d: growth of a vector that has found a direction


class Oja:
    """Vectors v that move by rate * a^H (a v) with each row a, one for each learning rate.

    Rates are powers of two over the energy of the first row, from LEAST to 2 d ln d over the energy so far; with the largest, a
    vector can grow by d^2 even if no eigenvalue is above their mean. Smaller rates than LEAST over the energy are not told
    apart: v0 + rate y is what they have become, for y = A^H A v0, to first order in what is small.
    `sample` holds rows for the choice among the vectors and for the certificate.
    """

    def __init__(self, like: Array, d: int, seed: int) -> None:
        xp = _arrays.namespace(like)
        none = xp.zeros(0, dtype=wide(like).dtype, device=like.device)
        self.v0 = _probes.sphere(none, d, STARTS, seed, START) / d**0.5
        self.y = xp.zeros_like(self.v0)
        self.V = self.v0[:, :0]
        self.steepest = 2 * d * max(math.log(d), 1.0)
        self.power = np.zeros(0, np.int64)  # rate = 2^-power / unit
        self.next = 0
        self.growth = np.zeros(0)
        self.unit = self.energy = 0.0
        self.sample = Sample(like, d, seed)

    @property
    def space(self) -> int:
        """Count the numbers of the state."""
        d, vectors = self.V.shape
        return d * (vectors + 2 * STARTS) + 2 * vectors + self.sample.energy.size * (d + 3)

    @property
    def rates(self) -> np.ndarray:
        """Learning rates of the columns of V."""
        return 2.0**-self.power / (self.unit or 1.0)

    def learned(self) -> np.ndarray:
        """Say which vectors have grown enough."""
        return self.growth >= LEARNED * math.log(self.v0.shape[0])

    def take(self, X: Any, squares: np.ndarray) -> None:
        """Take rows with their squared norms."""
        for first, piece in _arrays.row_blocks(X, PIECE):
            self._take(piece, squares[first : first + PIECE])

    def _take(self, X: Any, squares: np.ndarray) -> None:
        """Take some rows, cut where a new rate is to be told apart."""
        energies = self.energy + np.cumsum(squares)
        row = int(np.searchsorted(energies, 0.0, side="right"))  # the first one with energy
        while row < squares.size:
            if self.unit == 0.0:
                self.unit = float(squares[row])
                self.next = -math.ceil(math.log2(self.steepest))
            self._tell_apart(float(energies[row]))
            limit = LEAST * 2.0**self.next * self.unit
            stop = max(row + 1, int(np.searchsorted(energies, limit, side="right")))
            self._advance(X[row:stop, :])
            row = stop
        self.energy = float(energies[-1])

    def _tell_apart(self, energy: float) -> None:
        """If rates are no longer small at this energy, begin with them and end those that have become too large."""
        first = self.next
        while 2.0**-self.next * energy > LEAST * self.unit:
            self.next += 1
        if self.next == first:
            return
        xp, powers = _arrays.namespace(self.V), np.arange(first, self.next)
        powers = powers[2.0**-powers * (energy / self.unit) <= self.steepest]
        keep = self.rates * energy <= self.steepest
        rates = xp.astype(_arrays.from_numpy(2.0**-powers / self.unit, self.V), self.V.dtype)
        start = _arrays.from_numpy(powers % STARTS, self.V)
        new = xp.take(self.v0, start, axis=1) + xp.take(self.y, start, axis=1) * rates
        size = xp.linalg.vector_norm(new, axis=0)
        kept = xp.take(self.V, _arrays.from_numpy(np.flatnonzero(keep), self.V), axis=1)
        self.V = xp.concat([kept, new / size], axis=1)
        self.power = np.concatenate([self.power[keep], powers])
        self.growth = np.concatenate([self.growth[keep], np.log(_arrays.to_numpy(size))])

    def _advance(self, X: Any) -> None:
        self.V, more = kernels.oja.advance(self.V, X, self.rates)
        self.growth = self.growth + _arrays.to_numpy(more)
        rows = X.astype(self.V.dtype, copy=False) if _arrays.is_sparse(X) else wide(X)
        self.y = self.y + adjoint(rows) @ (rows @ self.v0)

    def adopt(self, other: Oja) -> None:
        """Become what another one is."""
        for name in ("v0", "y", "V", "power", "next", "growth", "unit", "energy"):
            setattr(self, name, getattr(other, name))

    def stored(self) -> dict[str, np.ndarray]:
        """Give named host arrays for a file."""
        arrays = {f"oja_{name}": _arrays.to_numpy(getattr(self, name)) for name in ("v0", "y", "V")}
        rest = {f"oja_{name}": np.asarray(getattr(self, name)) for name in ("power", "next", "growth", "unit", "energy")}
        return arrays | rest | self.sample.stored()

    def restore(self, file: Any) -> None:
        """Read what `stored` gave."""
        self.v0, self.y, self.V, self.power, self.growth = (file[f"oja_{name}"] for name in ("v0", "y", "V", "power", "growth"))
        self.next, self.unit, self.energy = int(file["oja_next"]), float(file["oja_unit"]), float(file["oja_energy"])
        self.sample.restore(file)

    def move(self, like: Array) -> None:
        """Bring the vectors to the namespace and device of an array."""
        self.v0, self.y, self.V = (_arrays.from_numpy(x, like) for x in (self.v0, self.y, self.V))
        self.sample.move(like)
