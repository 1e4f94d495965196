"""Functions of one variable in which least squares look for factors: orthonormal, and apart in roughness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowrank_la.functions import _chebyshev

ORDER = 3  # of splines


@dataclass(frozen=True)
class Basis:
    """m functions on an interval: what they are, and the roughness of each, from 0 up.

    Attributes
    ----------
    kind : {"chebyshev", "bspline"}
        Chebyshev polynomials with mean square 1 for their own measure, of roughness degree^4; or those combinations of cubic B-splines on
        equal pieces that are orthonormal for the uniform measure on [-1, 1], and so are their second derivatives but for
        their sizes, whose squares are the roughness.
    interval : (float, float)
    transform : array (m, m)
        From coefficients to those of plain Chebyshev polynomials or B-splines.
    roughness : array (m,)
    """

    kind: str
    interval: tuple[float, float]
    transform: np.ndarray
    roughness: np.ndarray

    @property
    def size(self) -> int:
        """Number of functions."""
        return self.roughness.size

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return values (n, m) at points (n,) of the interval."""
        return plain(self.kind, self.interval, self.size, x) @ self.transform


def make(kind: str, interval: tuple[float, float], m: int) -> Basis:
    """Return a basis of m functions; splines are at least four."""
    if kind == "chebyshev":
        return Basis(kind, interval, np.diag(1.0 / _chebyshev.probability_scale(m)), np.arange(m) ** 4.0)
    from scipy.linalg import eigh

    m = max(m, ORDER + 1)
    x, w = np.polynomial.legendre.leggauss(ORDER + 1)  # exact for products of two cubic polynomials
    edges = np.linspace(-1.0, 1.0, m - ORDER + 1)
    h = np.diff(edges)[:, None] / 2.0
    points, weights = (edges[:-1, None] + h * (1.0 + x)).ravel(), (h * w / 2.0).ravel()
    values, second = _splines(points, m), _splines(points, m, 2)
    roughness, V = eigh(second.T @ (weights[:, None] * second), values.T @ (weights[:, None] * values))
    roughness[:2] = 0.0  # of straight lines
    return Basis(kind, interval, V, roughness)


def plain(kind: str, interval: tuple[float, float], m: int, x: np.ndarray) -> np.ndarray:
    """Return the values (n, m) of Chebyshev polynomials or B-splines at points (n,) of an interval."""
    s = np.clip(_chebyshev.to_reference(x, interval), -1.0, 1.0)
    return _chebyshev.vandermonde(s, m) if kind == "chebyshev" else _splines(s, m)


def _splines(s: np.ndarray, m: int, derivative: int = 0) -> np.ndarray:
    """Return values (n, m) of cubic B-splines on equal pieces of [-1, 1], or of a derivative."""
    from scipy.interpolate import BSpline

    knots = np.concatenate([[-1.0] * ORDER, np.linspace(-1.0, 1.0, m - ORDER + 1), [1.0] * ORDER])
    return BSpline(knots, np.eye(m), ORDER).derivative(derivative)(s) if derivative else BSpline(knots, np.eye(m), ORDER)(s)
