"""The state for rows in any order: a sketch by Frequent Directions, alone or beside Oja's iteration and rows drawn for the certificate."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import FrequentDirections, _held
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.streaming._certificate import FAILURE
from lowrank_la.streaming._oja import Oja

DIRECTIONS = 32  # rows of the sketch, or twice the wanted vectors


class AnyOrder:
    """What one pass over rows in any order leaves.

    The candidates for v are the vectors of Oja's iteration and the leading vector of the sketch. Half of the drawn rows choose
    among them; the other half never matters for v and tells what v is worth.
    """

    def __init__(self, like: Array, d: int, wanted: int, seed: int, *, oja: bool) -> None:
        self.like, self.d = like, d
        self.sketch = FrequentDirections(d, min(d, max(DIRECTIONS, 2 * wanted)))
        self.oja = Oja(like, d, seed) if oja else None

    @property
    def energy(self) -> float:
        """||A||_F^2."""
        return self.sketch._energy

    @property
    def space(self) -> int:
        """Count the numbers of the state."""
        return 2 * self.sketch._l * self.d + (0 if self.oja is None else self.oja.space)

    def take(self, X: Any, squares: np.ndarray) -> None:
        """Take rows with their squared norms."""
        self.sketch.update(X)
        if self.oja is not None:
            self.oja.take(X, squares)
            self.oja.sample.take(X, squares)

    def candidates(self) -> tuple[Array, np.ndarray]:
        """Give the vectors of Oja's iteration with that of the sketch behind them, and what is certified of ||A v||^2.

        That is what half of the draws certify, or ||B v||^2 if it is more.
        """
        assert self.oja is not None
        sketch, xp = self.sketch.result(), _arrays.namespace(self.oja.V)
        V = xp.concat([self.oja.V, self.leading(1)], axis=1)
        kept = np.sum(np.abs(_arrays.to_numpy(wide(_arrays.from_numpy(sketch.B, V)) @ V)) ** 2, axis=0)
        seen = self.oja.sample.energies(V)[::2]
        return V, np.maximum(kept, [_held.mean_at_least(x, FAILURE) for x in seen.T])

    def chosen(self) -> Array:
        """Give the candidate (d, 1) of which most is certified: an estimate may be large because it is poor."""
        V, energies = self.candidates()
        best = int(np.argmax(energies))
        return V[:, best : best + 1]

    def drawn(self, v: Array) -> np.ndarray:
        """Give independent numbers with mean ||A v||^2, of draws on which v does not depend."""
        assert self.oja is not None
        return self.oja.sample.energies(v)[1::2, 0]

    def leading(self, count: int) -> Array:
        """Give leading vectors of the sketch."""
        return wide(_arrays.from_numpy(self.sketch.result().V[:, :count], self.like))

    def basis(self, count: int) -> Array:
        """Give orthonormal columns that should hold the leading eigenvectors."""
        xp = _arrays.namespace(self.like)
        V = self.leading(count)
        if self.oja is not None:
            V = xp.concat([self.chosen(), V], axis=1)[:, :count]
        return xp.linalg.qr(V, mode="reduced")[0]

    def merge(self, other: AnyOrder) -> None:
        """Take another stream; Oja's iteration goes on from that of the larger one, over rows that stand for the smaller one."""
        if self.oja is not None and other.oja is not None:
            smaller = min(self, other, key=lambda state: state.energy)
            rows = smaller._model() if smaller.energy > 0 else None
            if smaller is self:
                self.oja.adopt(other.oja)
            if rows is not None:
                squares = np.sum(np.abs(_arrays.to_numpy(rows)) ** 2, axis=1)
                self.oja.take(rows, squares)
            self.oja.sample.merge(other.oja.sample)
        self.sketch.merge(other.sketch)

    def _model(self) -> Array:
        """Give a few rows: the chosen vector with its energy, and the sketch without it."""
        assert self.oja is not None
        v = self.chosen()
        energy = float(np.mean(self.oja.sample.energies(v)[::2]))
        B = wide(_arrays.from_numpy(self.sketch.result().B, self.like))
        return _arrays.namespace(B).concat([energy**0.5 * adjoint(v), B - (B @ v) @ adjoint(v)])

    def stored(self) -> dict[str, Any]:
        """Give named host arrays for a file."""
        file = io.BytesIO()
        self.sketch.save(file)  # type: ignore[arg-type]
        return {"sketch": np.frombuffer(file.getvalue(), np.uint8)} | ({} if self.oja is None else self.oja.stored())

    def restore(self, file: Any) -> None:
        """Read what `stored` gave."""
        self.sketch = FrequentDirections.load(io.BytesIO(file["sketch"].tobytes()))  # type: ignore[arg-type]
        if self.oja is not None:
            self.oja.restore(file)

    def move(self, like: Array) -> None:
        """Bring the state to the namespace and device of an array; the sketch follows at its next rows."""
        self.like = like
        if self.oja is not None:
            self.oja.move(like)
