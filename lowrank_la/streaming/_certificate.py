"""What is known about the columns of V: from a Gram matrix, held-back rows, a sketch or a second pass; rounding errors included."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.factor import FrequentDirectionsResult, _held
from lowrank_la.factor._dense import adjoint, gamma, norms, wide
from lowrank_la.streaming._aside import Aside

FAILURE = 0.01
FEWEST_HELD = 64  # for an estimate of the value


class Known(NamedTuple):
    """Values, bounds, angle and certificate, as in the result."""

    values: np.ndarray
    lower: float
    upper: float
    sin_angle: float
    certificate: Certificate


def from_gram(G: Array, V: Array, theta: np.ndarray, trace: float, n: int) -> Known:
    """Measure the residual of V; `theta` are all eigenvalues of G, descending, and none of A^H A is further from its own than `slack`."""
    V, (d, r) = wide(V), V.shape
    xp, slack = _arrays.namespace(G), rounding(n, V) * trace
    Q = xp.linalg.qr(V, mode="reduced")[0]
    H = adjoint(Q) @ (G @ Q)
    values = _arrays.to_numpy(xp.linalg.eigvalsh((H + adjoint(H)) / 2))[::-1]
    residual = _length(G @ Q - Q @ H) + math.sqrt(r) * slack
    sine = separated(residual, float(values[-1] - theta[r]) - 2 * slack) if r < d else 0.0
    carried = float(np.sum(np.real(_arrays.to_numpy(xp.linalg.diagonal(adjoint(V) @ (G @ V))))))
    lower, upper = max(carried - r * slack * (1 + slack), 0.0), float(np.sum(theta[:r])) + r * slack
    return Known(values, lower, upper, sine, angle_at_most(r, sine, "residual"))


def from_second_pass(T: Array, Z: Array, r: int, like: Array, trace: float, n: int) -> tuple[Array, np.ndarray, Known]:
    """Turn T = A^H A Z into r Ritz vectors V; return them, all Ritz values and what is known.

    Ritz values are below the eigenvalues of the same number. So no eigenvalue of A^H A but the first r, nor of its part
    orthogonal to V, is more than what all others of them leave of the trace.
    """
    xp, slack = _arrays.namespace(T), rounding(n, T) * trace
    G = adjoint(Z) @ T
    theta, U = xp.linalg.eigh((G + adjoint(G)) / 2)
    U, ritz = xp.flip(U, axis=1)[:, :r], np.maximum(_arrays.to_numpy(theta)[::-1], 0.0)
    V, values = Z @ U, ritz[:r]
    lossy = 2 * math.sqrt(r) * trace * _length(wide(xp.astype(V, like.dtype)) - V)  # by rounding V to the dtype that leaves
    residual = _length(T @ U - V * xp.astype(_arrays.from_numpy(values, V), V.dtype)) + math.sqrt(r) * slack + lossy
    total = float(np.sum(values))
    lower, upper = max(total - r * slack - lossy, 0.0), trace + slack
    most = trace - float(np.sum(np.delete(ritz, r))) if ritz.size > r else trace - total
    gap = float(values[-1]) - most - (Z.shape[1] + 2) * slack - lossy if r < Z.shape[0] else math.inf
    if gap > 0:
        sine, upper = separated(residual, gap), min(upper, total + residual**2 / gap + r * slack)
        certificate = angle_at_most(r, sine, "residual of a second pass")
    else:
        sine = separated(residual, float(values[-1] - ritz[r])) if ritz.size > r else 1.0
        certificate = eigenvalues_within(r, residual, "residual of a second pass")
    return V, ritz, Known(values, lower, upper, sine, certificate)


def from_held(V: Array, heavy: Aside, held: Aside, light: int, guess: np.ndarray, trace: float, n: int) -> Known:
    """Add the exact part of the heavy rows to a bound on the mean of the light ones.

    Without enough held-back rows the values are the guess.
    """
    heavy_part, x = np.sum(_squares(heavy.rows, V), axis=0), _squares(held.rows, V)
    lower = float(np.sum(heavy_part)) + light * _held.mean_at_least(np.sum(x, axis=1), FAILURE)
    lower *= 1 - rounding(len(x) + len(heavy), V)
    values = heavy_part + light * np.mean(x, axis=0) if len(x) >= FEWEST_HELD else guess
    method = f"{len(x)} held-back rows, {len(heavy)} heavy rows"
    certificate = carried_at_least(V.shape[1], lower, 1 - FAILURE, method, ", for rows in random order")
    return Known(np.minimum(values, trace), lower, trace * (1 + rounding(n, V)), 1.0, certificate)


def from_sketch(V: Array, sketch: FrequentDirectionsResult, drawn: np.ndarray | None) -> Known:
    """Bracket the energy of V between that of the sketch and what was taken off, and by draws whose mean it is.

    With E <= ||A V||_F^2 and l_i >= lambda_i, the angle theta has sin^2 theta <= (l_1 + ... + l_r - E) / (l_r - l_{r+1}).
    """
    d, r = V.shape
    s = np.append(_arrays.to_numpy(sketch.s).astype(np.float64) ** 2, 0.0)
    slack = sketch._rounding * sketch.squared_norm
    above = sketch.certificate.bound + slack
    lower = max(float(np.sum(norms(_arrays.from_numpy(wide(sketch.B), V) @ wide(V)) ** 2)) - r * slack, 0.0)
    upper, values = float(np.sum(s[:r])) + r * above, s[:r]
    certificate = carried_at_least(r, lower, 1.0, "Frequent Directions")
    if drawn is not None:
        seen = min(_held.mean_at_least(drawn, FAILURE) * (1 - rounding(drawn.size, V)), upper)
        values = np.clip(np.mean(drawn, keepdims=True), lower, upper)
        if seen > lower:
            lower = seen
            certificate = carried_at_least(r, lower, 1 - FAILURE, f"{drawn.size} rows drawn in proportion to |a|^2")
    sine = math.sqrt(separated(max(upper - lower, 0.0), float(s[r - 1] - s[r]))) if r < d else 0.0
    return Known(values, lower, upper, sine, certificate)


def angle_at_most(r: int, sine: float, method: str) -> Certificate:
    """Claim the angle between V and leading eigenvectors, always."""
    if r == 1:
        claim = "the sine of the angle between v and the leading eigenvector of A^H A is at most bound"
    else:
        claim = f"the sine of the largest angle between the columns of V and {r} leading eigenvectors of A^H A is at most bound"
    return Certificate(claim, sine, 1.0, method)


def eigenvalues_within(r: int, distance: float, method: str) -> Certificate:
    """Claim eigenvalues close to the values, leading or not, always."""
    claim = "an eigenvalue of A^H A is within bound of value" if r == 1 else f"{r} eigenvalues of A^H A are within bound of values"
    return Certificate(claim, distance, 1.0, method)


def carried_at_least(r: int, energy: float, confidence: float, method: str, condition: str = "") -> Certificate:
    """Claim how much of A lies along V."""
    return Certificate(("||A v||^2 >= bound" if r == 1 else "||A V||_F^2 >= bound") + condition, energy, confidence, method)


def separated(residual: float, gap: float) -> float:
    """Bound a sine by residual / gap, or by 1 where there is no gap."""
    return min(1.0, residual / gap) if gap > 0 else 1.0


def rounding(n: int, x: Array) -> float:
    """Bound the rounding errors of A^H A, or of A^H (A Z), relative to ||A||_F^2, and of what is computed from them."""
    return gamma(n + 16 * x.shape[0] + 16, x) * 2


def _squares(rows: Array, V: Array) -> np.ndarray:
    """Return |<a, v>|^2 for each row and column."""
    return np.abs(_arrays.to_numpy(wide(rows) @ wide(V))) ** 2


def _length(x: Array) -> float:
    return float(norms(x))
