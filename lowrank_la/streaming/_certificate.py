"""What is known about v: from a Gram matrix, from rows that were held back, or from a second pass; rounding errors included."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.factor._dense import adjoint, gamma, wide
from lowrank_la.streaming._aside import Aside

ANGLE = "the sine of the angle between v and the leading eigenvector of A^H A is at most bound"
ENERGY = "||A v||^2 >= bound"
RANDOM_ORDER = ENERGY + ", for rows in random order"
EIGENVALUE = "an eigenvalue of A^H A is within bound of value"
FAILURE = 0.01
BETS = np.geomspace(1e-3, 0.9, 16)  # shares of the capital
HALVINGS = 40
FEWEST_HELD = 64  # for an estimate of the value


class Known(NamedTuple):
    """Value, bounds, angle and certificate, as in the result."""

    value: float
    lower: float
    upper: float
    sin_angle: float
    certificate: Certificate


def from_gram(G: Array, v: Array, second: float, trace: float, n: int) -> Known:
    """Measure the residual of v; no eigenvalue of A^H A is further from one of its computed form than `slack`."""
    v = wide(v)
    xp, slack = _arrays.namespace(G), rounding(n, v) * trace
    Gv = G @ v
    length = float(xp.linalg.vector_norm(v))
    value = float(xp.real(xp.vecdot(v, Gv))) / length**2 if length else 0.0
    r = float(xp.linalg.vector_norm(Gv - value * v)) + slack
    sine = separated(r, value - second - 2 * slack)
    return Known(value, max(value - slack, 0.0), value + r + slack, sine, Certificate(ANGLE, sine, 1.0, "residual"))


def from_second_pass(T: Array, Z: Array, v_of: Array, trace: float, n: int) -> tuple[Array, np.ndarray, Known]:
    """Turn T = A^H A Z into Ritz pairs; return v, the Ritz values and what is known.

    Ritz values are below the eigenvalues of the same number, so that the second eigenvalue is at most what
    all others of them leave of the trace.
    """
    xp, slack = _arrays.namespace(T), rounding(n, T) * trace
    G = adjoint(Z) @ T
    theta, U = xp.linalg.eigh((G + adjoint(G)) / 2)
    ritz, u = np.maximum(_arrays.to_numpy(theta)[::-1], 0.0), U[:, -1]
    v, value = Z @ u, float(ritz[0])
    lossy = float(xp.linalg.vector_norm(wide(xp.astype(v, v_of.dtype)) - v))  # by rounding v to the dtype that leaves
    r = float(xp.linalg.vector_norm(T @ u - value * v)) + slack + 2 * lossy * trace
    most_second = trace - value - float(np.sum(ritz[2:])) + (Z.shape[1] + 1) * slack
    gap = value - most_second - slack
    upper = min(trace * (1 + slack / max(trace, 1e-300)), value + r**2 / gap + slack) if gap > 0 else trace + slack
    if gap > 0:
        sine = separated(r, gap)
        certificate = Certificate(ANGLE, sine, 1.0, "residual of a second pass")
    else:
        sine = separated(r, value - float(ritz[1])) if ritz.size > 1 else 1.0
        certificate = Certificate(EIGENVALUE, r, 1.0, "residual of a second pass")
    return v, ritz, Known(value, max(value - r, 0.0), upper, sine, certificate)


def from_held(v: Array, heavy: Aside, held: Aside, light: int, guess: float, trace: float, n: int) -> Known:
    """Add the exact part of the heavy rows to a bound on the mean of the light ones.

    Without enough held-back rows the value is the guess.
    """
    heavy_part, x = float(np.sum(_squares(heavy.rows, v))), _squares(held.rows, v)
    lower = (heavy_part + light * mean_at_least(x, FAILURE)) * (1 - rounding(x.size + len(heavy), v))
    value = heavy_part + light * float(np.mean(x)) if x.size >= FEWEST_HELD else guess
    certificate = Certificate(RANDOM_ORDER, lower, 1 - FAILURE, f"{x.size} held-back rows, {len(heavy)} heavy rows")
    return Known(min(value, trace), lower, trace * (1 + rounding(n, v)), 1.0, certificate)


def mean_at_least(x: np.ndarray, failure: float) -> float:
    """Bound the mean of a law on [0, inf) from below, by independent draws of it.

    If the mean is m, the capital prod_i (1 - b + b x_i / m) of who bets a share b has expectation 1, and so has its
    average over several b. It is above 1 / failure with probability at most `failure`, and falls as m grows
    (Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86, 2024).
    """
    if not np.any(x > 0):
        return 0.0
    low, high = 0.0, float(np.mean(x))
    for _ in range(HALVINGS):
        m = (low + high) / 2
        gains = np.sum(np.log1p(BETS * (x[:, None] / m - 1)), axis=0)
        rich = np.logaddexp.reduce(gains) - math.log(BETS.size) >= -math.log(failure)
        low, high = (m, high) if rich else (low, m)
    return low


def separated(residual: float, gap: float) -> float:
    """Bound a sine by residual / gap, or by 1 where there is no gap."""
    return min(1.0, residual / gap) if gap > 0 else 1.0


def rounding(n: int, x: Array) -> float:
    """Bound the rounding errors of A^H A, or of A^H (A Z), relative to ||A||_F^2, and of what is computed from them."""
    return gamma(n + 16 * x.shape[0] + 16, x) * 2


def _squares(rows: Array, v: Array) -> np.ndarray:
    """Return |<a, v>|^2 for each row."""
    return np.abs(_arrays.to_numpy(wide(rows) @ wide(v))) ** 2
