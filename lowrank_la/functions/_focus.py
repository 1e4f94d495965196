"""Random points where a function in Chebyshev-Tucker format has much to tell: near its peaks and fronts.

A product of laws on the angles arccos(x_k), each constant on the cells around the nodes. The share of a cell is that of its
node in the squared norms of the rows of the basis: its leverage. Together with points from the Chebyshev measure
they find errors that are crowded in a small part of the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la.functions import _chebyshev
from lowrank_la.functions._parts import Parts


@dataclass(frozen=True)
class Law:
    """Edges of the cells of each angle, and the probability of lying below them."""

    edges: tuple[np.ndarray, ...]
    below: tuple[np.ndarray, ...]

    def draw(self, seed: int, purpose: str, count: int) -> np.ndarray:
        """Draw points (count, d) of [-1, 1]^d."""
        u = _random.host_generator(seed, purpose).random((count, len(self.edges)))
        return np.cos(np.stack([np.interp(u[:, k], p, e) for k, (p, e) in enumerate(zip(self.below, self.edges, strict=True))], axis=1))

    def density(self, points: np.ndarray) -> np.ndarray:
        """Return the density (count,) with respect to the Chebyshev measure."""
        ratio, angles = np.ones(len(points)), np.arccos(points)
        for k, (e, p) in enumerate(zip(self.edges, self.below, strict=True)):
            cell = np.clip(np.searchsorted(e, angles[:, k], side="right") - 1, 0, len(e) - 2)
            ratio *= np.pi * np.diff(p)[cell] / np.diff(e)[cell]
        return ratio


@dataclass(frozen=True)
class Sample:
    """Points (q, d) of [-1, 1]^d, the first half from the Chebyshev measure, the others where the function has much to tell.

    Attributes
    ----------
    points : array (q, d)
    weights : array (q,)
        With them, averages estimate those for the Chebyshev measure; none exceeds 2.
    """

    points: np.ndarray
    weights: np.ndarray


def sample(parts: Parts, seed: int, purpose: str, half: int) -> Sample:
    """Draw as many points from both laws."""
    law = law_of(parts)
    plain = random_points(seed, purpose, half, parts.dim)
    points = np.concatenate([plain, law.draw(seed, f"{purpose}, focus", half)])
    return Sample(points, 2 / (1 + law.density(points)))


def law_of(parts: Parts) -> Law:
    """Build the law of a function."""
    edges, below = [], []
    for V in parts.factors:
        m = V.shape[0]
        leverage = np.sum(np.abs(_arrays.to_numpy(_chebyshev.values(V, axis=0))) ** 2, axis=1, dtype=np.float64)
        middle = (np.arange(m - 1) + 0.5) * (np.pi / max(m - 1, 1))
        edges.append(np.concatenate([[0.0], middle, [np.pi]]))
        shares = leverage * np.diff(edges[-1])
        below.append(np.concatenate([[0.0], np.cumsum(shares)]) / np.sum(shares))
    return Law(tuple(edges), tuple(below))


def random_points(seed: int, purpose: str, count: int, d: int) -> np.ndarray:
    """Draw points (count, d) of [-1, 1]^d from the Chebyshev measure: cosines of uniform angles."""
    return np.cos(np.pi * _random.host_generator(seed, purpose).random((count, d)))
