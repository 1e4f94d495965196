"""Orthonormal polynomials on an interval: Legendre, Chebyshev, Jacobi.

Points of |p_j|^2 dmu are drawn exactly: from the arcsine law with Bernstein's bound (Legendre), by a closed form
(Chebyshev), or under tangents of the logarithm of the density (Jacobi).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _checks
from lowrank_la.dpp._bases import Polynomials
from lowrank_la.dpp._fourier import cosine_squared, interval
from lowrank_la.dpp._humps import Chart, draw_humps, log_power


@dataclass(frozen=True)
class _OnInterval(Polynomials):
    """Polynomials with t in [-1, 1], for the weight (1 - t)^alpha (1 + t)^beta, scaled to a probability."""

    domain: tuple[float, float] = (-1.0, 1.0)

    family = "jacobi"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "domain", interval(type(self).__name__, self.domain))

    @property
    def shift(self) -> float:
        return (self.domain[0] + self.domain[1]) / 2

    @property
    def scale(self) -> float:
        return (self.domain[1] - self.domain[0]) / 2

    def recurrence(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a_0, ..., a_(count-1) and b_0, ..., b_(count-1), with b_0 = 0."""
        alpha, beta = self.parameters
        k, c = np.arange(count, dtype=np.float64), alpha + beta
        a, b = np.full(count, (beta - alpha) / (c + 2)), np.zeros(count)
        a[1:] = (beta - alpha) * c / ((2 * k[1:] + c) * (2 * k[1:] + c + 2))
        if count > 1:
            b[1] = math.sqrt(4 * (1 + alpha) * (1 + beta) / ((c + 2) ** 2 * (c + 3)))
        k = k[2:]
        b[2:] = np.sqrt(4 * k * (k + alpha) * (k + beta) * (k + c) / ((2 * k + c) ** 2 * (2 * k + c + 1) * (2 * k + c - 1)))
        return a, b

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, 1) from mu."""
        alpha, beta = self.parameters
        t = 2 * generator.beta(beta + 1, alpha + 1, (n, 1)) - 1
        return self.shift + self.scale * t

    def draw_squares(self, degrees: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw a point from |phi_j|^2 dmu for each entry j of `degrees`."""
        return self.shift + self.scale * draw_humps(self, degrees, generator)

    def chart(self) -> Chart:
        """Take the angle as coordinate, where the zeros are nearly equidistant and all factors are sines of half-angles."""
        alpha, beta = self.parameters
        return Chart(
            ends=(0.0, math.pi),
            place=np.cos,
            speed=lambda angle: -np.sin(angle),
            inverse=lambda t: np.arccos(np.clip(t, -1, 1)),
            log_weight=lambda angle: log_power(2 * alpha + 1, np.sin(angle / 2)) + log_power(2 * beta + 1, np.cos(angle / 2)),
            slope=lambda angle: (alpha + 0.5) / np.tan(angle / 2) - (beta + 0.5) * np.tan(angle / 2),
        )


@dataclass(frozen=True)
class Legendre(_OnInterval):
    """Legendre polynomials of degrees 0 to size - 1, orthonormal for the uniform probability on an interval.

    Parameters
    ----------
    size : int, size >= 1
        Number m of functions.
    domain : (float, float), default (-1, 1)
        The interval.

    Raises
    ------
    ValueError
        size is below 1, or the domain is empty or not finite.
    TypeError
        size is no integer.

    Notes
    -----
    Points of |p_j|^2 dmu are proposed by the arcsine law and accepted with probability
    pi sqrt(1 - t^2) p_j(t)^2 / 4, which Bernstein's inequality keeps below 1 [1]_: two proposals on average.

    References
    ----------
    .. [1] Szego, Orthogonal Polynomials, 4th ed., AMS, 1975, Theorem 7.3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import Legendre
    >>> basis = Legendre(3, domain=(0, 2))
    >>> bool(np.allclose(basis.eval([0.0, 2.0]), [[1, -(3**0.5), 5**0.5], [1, 3**0.5, 5**0.5]]))
    True
    """

    @property
    def parameters(self) -> tuple[float, float]:
        """Exponents (alpha, beta) of the weight."""
        return 0.0, 0.0

    def draw_squares(self, degrees: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw a point from |phi_j|^2 dmu for each entry j of `degrees`."""
        t, wanting = np.empty(degrees.size), np.arange(degrees.size)
        while wanting.size:
            angle = math.pi * generator.random(wanting.size)
            proposed = np.cos(angle)
            squares = np.exp(self.log_squares(degrees[wanting], proposed)[0])
            accepted = 4 * generator.random(wanting.size) < math.pi * np.sin(angle) * squares
            t[wanting[accepted]] = proposed[accepted]
            wanting = wanting[~accepted]
        return self.shift + self.scale * t


@dataclass(frozen=True)
class Chebyshev(_OnInterval):
    """Chebyshev polynomials of degrees 0 to size - 1, orthonormal for the arcsine law on an interval.

    Parameters
    ----------
    size : int, size >= 1
        Number m of functions: 1, and sqrt(2) cos(j arccos t) for j = 1, ..., m - 1.
    domain : (float, float), default (-1, 1)
        The interval.

    Raises
    ------
    ValueError
        size is below 1, or the domain is empty or not finite.
    TypeError
        size is no integer.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import Chebyshev
    >>> bool(np.allclose(Chebyshev(3).eval([1.0]), [[1, 2**0.5, 2**0.5]]))
    True
    """

    @property
    def parameters(self) -> tuple[float, float]:
        """Exponents (alpha, beta) of the weight."""
        return -0.5, -0.5

    def draw_squares(self, degrees: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw a point from |phi_j|^2 dmu for each entry j of `degrees`: 2 cos^2(j angle) for a uniform angle."""
        turns = cosine_squared(degrees, np.zeros(degrees.size), generator)
        return self.shift + self.scale * np.cos(math.pi * turns)


@dataclass(frozen=True)
class Jacobi(_OnInterval):
    """Jacobi polynomials of degrees 0 to size - 1, orthonormal for (1 - t)^alpha (1 + t)^beta, scaled to a probability.

    Parameters
    ----------
    size : int, size >= 1
        Number m of functions.
    domain : (float, float), default (-1, 1)
        The interval that t in [-1, 1] is mapped to.
    alpha, beta : float, at least -1/2
        Exponents at the upper and at the lower end.

    Raises
    ------
    ValueError
        An argument is out of range.
    TypeError
        size is no integer, or an exponent no number.

    Notes
    -----
    With t = cos(angle), the logarithm of |p_j|^2 times the weight is a sum of logarithms of sines of half-angles, concave between
    two zeros of p_j for exponents of at least -1/2. Points are drawn under its tangents; about 7 of 8 proposals are accepted.

    Examples
    --------
    >>> from lowrank_la.dpp import Jacobi
    >>> Jacobi(4, alpha=0.5, beta=1)
    Jacobi(size=4, domain=(-1.0, 1.0), alpha=0.5, beta=1)
    """

    alpha: float = 0.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "beta"):
            _checks.real("Jacobi", name, getattr(self, name), -0.5)

    @property
    def parameters(self) -> tuple[float, float]:
        """Exponents (alpha, beta) of the weight."""
        return float(self.alpha), float(self.beta)
