"""Orthonormal polynomials on unbounded domains: Hermite and Laguerre, of any degree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _checks
from lowrank_la.dpp._bases import Polynomials
from lowrank_la.dpp._humps import Chart, draw_humps, log_power


@dataclass(frozen=True)
class Hermite(Polynomials):
    """Hermite polynomials (probabilists') of degrees 0 to size - 1, orthonormal for a Gaussian.

    Parameters
    ----------
    size : int, size >= 1
        Number m of functions.
    mean, deviation : float, default 0 and 1
        Of the Gaussian; deviation > 0.

    Raises
    ------
    ValueError
        An argument is out of range.
    TypeError
        size is no integer, or the mean or deviation no number.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import Hermite
    >>> bool(np.allclose(Hermite(3).eval([2.0]), [[1, 2, 3 / 2**0.5]]))
    True
    """

    mean: float = 0.0
    deviation: float = 1.0

    family = "hermite"

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.real("Hermite", "mean", self.mean)
        _checks.real("Hermite", "deviation", self.deviation, 0, open=True)

    @property
    def shift(self) -> float:
        return self.mean

    @property
    def scale(self) -> float:
        return self.deviation

    def recurrence(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a_0, ..., a_(count-1) and b_0, ..., b_(count-1), with b_0 = 0."""
        return np.zeros(count), np.sqrt(np.arange(count, dtype=np.float64))

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, 1) from mu."""
        return self.shift + self.scale * generator.standard_normal((n, 1))

    def draw_squares(self, degrees: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw a point from |phi_j|^2 dmu for each entry j of `degrees`."""
        return self.shift + self.scale * draw_humps(self, degrees, generator)

    def chart(self) -> Chart:
        """Take t itself as coordinate."""
        return GAUSSIAN


GAUSSIAN = Chart(
    ends=(-math.inf, math.inf),
    place=lambda t: t,
    speed=np.ones_like,
    inverse=lambda t: t,
    log_weight=lambda t: -t * t / 2,
    slope=lambda t: -t,
)


@dataclass(frozen=True)
class Laguerre(Polynomials):
    """Laguerre polynomials of degrees 0 to size - 1, orthonormal for the gamma law with density prop. to t^alpha exp(-t).

    Parameters
    ----------
    size : int, size >= 1
        Number m of functions.
    alpha : float, alpha > -1
        Exponent of the weight.
    rate : float, rate > 0
        x = t / rate: the weight decays as exp(-rate x).

    Raises
    ------
    ValueError
        An argument is out of range.
    TypeError
        size is no integer, or alpha or rate no number.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import Laguerre
    >>> bool(np.allclose(Laguerre(3).eval([2.0]), [[1, -1, -1]]))
    True
    """

    alpha: float = 0.0
    rate: float = 1.0

    family = "laguerre"

    def __post_init__(self) -> None:
        super().__post_init__()
        _checks.real("Laguerre", "alpha", self.alpha, -1, open=True)
        _checks.real("Laguerre", "rate", self.rate, 0, open=True)

    @property
    def parameters(self) -> tuple[float, ...]:
        """Exponent (alpha,) of the weight."""
        return (float(self.alpha),)

    @property
    def scale(self) -> float:
        return 1 / self.rate

    def recurrence(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a_0, ..., a_(count-1) and b_0, ..., b_(count-1), with b_0 = 0; b < 0 makes p_k(0) positive, as is usual."""
        k = np.arange(count, dtype=np.float64)
        return 2 * k + 1 + self.alpha, -np.sqrt(k * (k + self.alpha))

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, 1) from mu."""
        return self.scale * generator.gamma(self.alpha + 1, size=(n, 1))

    def draw_squares(self, degrees: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw a point from |phi_j|^2 dmu for each entry j of `degrees`."""
        return self.scale * draw_humps(self, degrees, generator)

    def chart(self) -> Chart:
        """Take a root of t as coordinate, in which the weight has no pole and zeros are nearly equidistant."""
        power = max(2.0, 1 / (self.alpha + 1))
        rest = max(power * (self.alpha + 1) - 1, 0.0)
        return Chart(
            ends=(0.0, math.inf),
            place=lambda root: root**power,
            speed=lambda root: power * root ** (power - 1),
            inverse=lambda t: np.maximum(t, 0) ** (1 / power),
            log_weight=lambda root: log_power(rest, root) - root**power,
            slope=lambda root: rest / root - power * root ** (power - 1),
        )
