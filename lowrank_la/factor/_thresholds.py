"""The scalar proximal maps behind `prox`: argmin over x >= 0 of (x - y)^2 / 2 + lam x^p."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEWTON_STEPS = 12  # from the right of a convex function with slope at least p / 2: more than double precision needs


@dataclass(frozen=True)
class Power:
    """The penalty lam x^p for 0 <= p <= 1; p = 0 counts the nonzeros."""

    lam: float
    p: float

    @property
    def threshold(self) -> float:
        """Values up to it become 0; above, the map jumps to `least`, unless p = 1."""
        if self.lam == 0:
            return 0.0
        return self.least + self.lam * self.p * self.least ** (self.p - 1) if self.p < 1 else self.lam

    @property
    def least(self) -> float:
        """Smallest value other than 0 that the map takes: there the penalised distance is that of 0."""
        return (2 * self.lam * (1 - self.p)) ** (1 / (2 - self.p))

    def map(self, y: np.ndarray) -> np.ndarray:
        """Apply the map to each y >= 0."""
        kept = y > self.threshold
        if self.p in {0.0, 1.0} or self.lam == 0:
            return np.where(kept, y - self.lam * self.p, 0.0)
        high = np.where(kept, y, 2 * self.threshold)
        x = high.copy()
        for _ in range(NEWTON_STEPS):
            slope = self.lam * self.p * x ** (self.p - 1)
            x = np.maximum(x - (x - high + slope) / (1 - slope * (1 - self.p) / x), self.least)
        return np.where(kept, x, 0.0)

    def penalty(self, x: np.ndarray) -> np.ndarray:
        """Return lam x^p of each x >= 0."""
        return self.lam * np.where(x > 0, np.where(x > 0, x, 1.0) ** self.p, 0.0)

    def value(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Sum of the objective over the last axis."""
        return (0.5 * (x - y) ** 2 + self.penalty(x)).sum(axis=-1)
