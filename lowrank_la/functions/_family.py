"""Gaussians exp(-t^2 (x - y)^2) of several rates t, for x and y in two intervals, in one basis of functions of x and one of y.

All is done on the host: it depends on the rates and intervals, not on the number of particles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowrank_la import _random
from lowrank_la.functions import _chebyshev

INTERPOLATION, BASES = 0.25, 0.5  # shares of the tolerance
ROUNDINGS = 32  # of a value of a Gaussian and its transform, at most
BETWEEN = 1.5  # by which a sum of absolute values may be larger between the nodes of twice the degree
MOST_NODES = 1025  # ranks of about so many would not fit into memory
ELLIPSES = np.geomspace(1e-4, 40.0, 400)  # that bound errors of interpolation: their half-axes are cosh and sinh of these


@dataclass(frozen=True)
class Family:
    """exp(-t_k^2 (x - y)^2) ~ a(x)^T mixing[k] b(y), for x and y mapped to [-1, 1].

    Attributes
    ----------
    left, right : arrays (m, R) and (n, S)
        Chebyshev coefficients of the functions a and b, in orthonormal columns.
    mixing : array (K, R, S)
    errors : array (K,)
        Bounds on the largest errors.
    sizes : array (K,)
        Largest values of |a(x)|^T |mixing[k]| |b(y)|, which rounding errors are relative to.
    """

    left: np.ndarray
    right: np.ndarray
    mixing: np.ndarray
    errors: np.ndarray
    sizes: np.ndarray


def family(rates: np.ndarray, x: Sequence[float], y: Sequence[float], tol: float, *, size: int | None = None) -> Family:
    """Separate the Gaussians to `tol` in absolute value, with as many coefficients in x as that takes, or with `size`."""
    half_x, half_y, shift = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2, (x[0] + x[1] - y[0] - y[1]) / 2
    share, sharpest = tol * INTERPOLATION / 8, float(rates.max())
    m, n = size or min(nodes_for(sharpest * half_x, share), MOST_NODES), min(nodes_for(sharpest * half_y, share), MOST_NODES)
    apart = half_x * _chebyshev.nodes(m)[:, None] - half_y * _chebyshev.nodes(n) + shift
    values = np.exp(-((rates[:, None, None] * apart) ** 2))
    A = _chebyshev.coefficients(_chebyshev.coefficients(values, 1), 2)
    left = _basis(A, tol * BASES)
    right = left if m == n and half_x == half_y and shift == 0 else _basis(A.transpose(0, 2, 1), tol * BASES)
    mixing = left.T @ A @ right
    interpolation = [interpolation_error(t * half_x, m) + _lebesgue(m) * interpolation_error(t * half_y, n) for t in rates]
    errors = np.array(interpolation) + _largest(A - left @ mixing @ right.T) + ROUNDINGS * 2.0**-53
    a, b = (np.abs(_chebyshev.values(_chebyshev.resized(V, 2 * len(V)))) for V in (left, right))
    return Family(left, right, mixing, errors, BETWEEN * np.array([np.max(a @ np.abs(S) @ b.T) for S in mixing]))


def nodes_for(rate: float, tol: float) -> int:
    """Count the nodes at which exp(-rate^2 (x - y)^2) is interpolated on [-1, 1] to within tol, for every real y."""
    with np.errstate(over="ignore"):
        degree = (math.log(4 / tol) + (rate * np.sinh(ELLIPSES)) ** 2 - np.log(np.expm1(ELLIPSES))) / ELLIPSES
    return max(0, math.ceil(float(np.min(degree)))) + 1


def interpolation_error(rate: float, m: int) -> float:
    """Bound the error of interpolation at m nodes by 4 M exp(-s (m - 1)) / (exp(s) - 1) on the best Bernstein ellipse.

    On the one with half-axes cosh(s) and sinh(s), Gaussians are at most M = exp(rate^2 sinh(s)^2). No error is above 1 plus the
    Lebesgue constant.
    """
    with np.errstate(over="ignore"):
        exponent = math.log(4) + (rate * np.sinh(ELLIPSES)) ** 2 - (m - 1) * ELLIPSES - np.log(np.expm1(ELLIPSES))
    return math.exp(min(float(np.min(exponent)), math.log(1 + _lebesgue(m))))


def _lebesgue(m: int) -> float:
    """Bound the Lebesgue constant of m Chebyshev nodes of the second kind."""
    return 1 + 2 / math.pi * math.log(m)


def _basis(A: np.ndarray, tol: float) -> np.ndarray:
    """Find an orthonormal basis of the columns of all matrices A (K, m, n) from random combinations of them."""
    K, m, n = A.shape
    draws = _random.host_generator(0, "separation of Gaussians").standard_normal((K, n, min(m, K * n)))
    Q, s, _ = np.linalg.svd((A @ draws).sum(axis=0), full_matrices=False)
    tails = np.append(np.cumsum((s * np.sum(np.abs(Q), axis=0))[::-1])[::-1], 0.0)
    return Q[:, : max(1, int(np.argmax(tails <= tol)))]


def _largest(E: np.ndarray) -> np.ndarray:
    """Bound the largest absolute values of functions of two variables with coefficients E (K, m, n)."""
    return np.sum(np.abs(E), axis=(1, 2))
