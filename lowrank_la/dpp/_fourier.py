"""Trigonometric functions, and draws from squares of cosines in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la.dpp._bases import Univariate


@dataclass(frozen=True)
class Fourier(Univariate):
    """Trigonometric functions, orthonormal for the uniform probability on a period.

    Parameters
    ----------
    size : int, size >= 1
        Number m of functions: 1, sqrt(2) cos(2 pi x), sqrt(2) sin(2 pi x), sqrt(2) cos(4 pi x), ... for the period (0, 1);
        if `complex`, exp(2 pi i k x) for k = 0, 1, -1, 2, -2, ...
    domain : (float, float), default (0, 1)
        One period.
    complex : bool, default False
        Take complex exponentials.

    Raises
    ------
    ValueError
        size is below 1, or the domain is empty or not finite.
    TypeError
        size is no integer.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import Fourier
    >>> bool(np.allclose(Fourier(3).eval([0.25]), [[1, 0, 2**0.5]]))
    True
    """

    domain: tuple[float, float] = (0.0, 1.0)
    complex: bool = False

    family = "fourier"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "domain", interval("Fourier", self.domain))

    @property
    def shift(self) -> float:
        return self.domain[0]

    @property
    def scale(self) -> float:
        return self.domain[1] - self.domain[0]

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return phi(x_i) (n, m) at checked points (n, 1)."""
        j = np.arange(self.size)
        waves, odd = (j + 1) // 2, j % 2 == 1
        turns = ((x - self.shift) / self.scale) % 1.0 * waves % 1.0  # exact, where an angle would lose digits
        angle = 2 * math.pi * turns
        if self.complex:
            return np.exp(1j * np.where(odd, angle, -angle))
        return np.where(j == 0, 1.0, math.sqrt(2) * np.where(odd, np.cos(angle), np.sin(angle)))

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, 1) from mu."""
        return self.shift + self.scale * generator.random((n, 1))

    def draw_squares(self, degrees: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw a point from |phi_j|^2 dmu for each entry j of `degrees`."""
        waves = np.zeros_like(degrees) if self.complex else (degrees + 1) // 2 * 2
        return self.shift + self.scale * cosine_squared(waves, np.where(degrees % 2 == 1, 0.0, 0.5), generator)

    def gram(self) -> np.ndarray:
        """Return the inner products (m, m) in L2(mu) of the functions, by 2 m equidistant nodes."""
        nodes = 2 * self.size
        V = self.eval(self.shift + self.scale * np.arange(nodes) / nodes)
        return V.conj().T @ V / nodes


def interval(function: str, domain: Any) -> tuple[float, float]:
    """Require two finite numbers, the lower one first.

    Raises
    ------
    ValueError
        They are not.
    """
    ends = tuple(float(end) for end in domain)
    if not (len(ends) == 2 and math.isfinite(ends[0]) and math.isfinite(ends[1]) and ends[0] < ends[1]):
        raise ValueError(f"{function}: domain must be (low, high) with low < high; got {domain!r}")
    return ends


def cosine_squared(waves: np.ndarray, phase: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw x in [0, 1) with density 1 + cos(2 pi (waves x - phase)), or 1 where waves is 0.

    A uniform x that fails a trial of probability (1 + cos) / 2 moves by half a wave, where the trial would have succeeded.
    """
    x, trial = generator.random((2, waves.size))
    waves = np.where(waves > 0, waves, np.inf)
    fails = 2 * trial > 1 + np.cos(2 * math.pi * (np.where(np.isinf(waves), 0.0, waves) * x - phase))
    return np.where(fails, (x + 0.5 / waves) % 1.0, x)
