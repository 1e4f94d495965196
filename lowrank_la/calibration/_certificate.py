"""What is known about the gains afterwards: an angle, a verdict, and error bars.

Let u be the unit eigenvector of the smallest eigenvalue of T, u0 the truth in the same coordinates and rho = u0^H T u0 its quotient. The
component of u0 that is orthogonal to u has a quotient of at least lambda_2, hence

    sin^2 angle(u, u0) <= (rho - lambda_1) / (lambda_2 - lambda_1).

The quotient is the energy of the noise that the signals do not fit: at most max_i ||e_i||^2 / w_i for noise e_i of channel i.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.calibration._models import Elimination
from lowrank_la.calibration._spectral import coordinates, restricted, sine
from lowrank_la.factor._dense import conj, host, is_complex

CLAIM = "sine of the angle between 1 / d and the true 1 / d, channels weighted by `weights`, <= bound"
RELATIVE = "||1 / d - true 1 / d|| <= bound ||true 1 / d||, channels weighted by `weights`"
GIVEN, ESTIMATE = "eigenvalues and the given noise", "ESTIMATE: eigenvalues, and white noise whose size is taken from the residual"
CONFIDENCE = 0.99  # of the estimate, over white noise
DEVIATIONS = 3.0  # of the estimated noise that the estimate allows for
GAP, ANGLE = 2.0, 0.5  # ratio of singular values, or sine of the estimated angle, that make gains identifiable


@dataclass(frozen=True)
class Evidence:
    """What the eigenvalues say.

    Attributes
    ----------
    singular_values : tuple of two floats
        The smallest ones.
    gap_ratio : float
        Their ratio.
    identifiable : bool
        The verdict.
    certificate : Certificate
        Of the angle or, with known gains, of the relative error.
    spread : NumPy array (m,)
        Relative standard error of each gain, for noise of standard deviation one.
    freedom : float
        Equations less unknowns.
    """

    singular_values: tuple[float, float]
    gap_ratio: float
    identifiable: bool
    certificate: Certificate
    spread: np.ndarray
    freedom: float


def warn_unidentifiable(function: str, evidence: Evidence) -> None:
    """Warn of the verdict."""
    ratio = f"the two smallest singular values have a ratio of {evidence.gap_ratio:.3g}"
    text = f"{function}: the gains are not identifiable at this noise level: {ratio}"
    warnings.warn(text, ConvergenceWarning, stacklevel=5)


def certify(made: Elimination, d: Array, noise: np.ndarray | None, places: np.ndarray | None, given: str = "") -> Evidence:
    """Judge gains; `noise` bounds the norm of the noise of each channel, `given` names assumptions of the claim."""
    if places is not None and places.size == made.w.size:
        return Evidence(
            (0.0, math.inf), math.inf, True, Certificate(RELATIVE, 0.0, 1.0, GIVEN), np.zeros(places.size), made.freedom + places.size - 1
        )
    if places is not None:
        return _tied(made, d, noise, places, given)
    xp = _arrays.namespace(d)
    values, V = xp.linalg.eigh(made.T)
    lam = host(values[: min(2, values.shape[0])])
    first, second = float(max(lam[0], made.slack)), float(max(lam[1], made.slack)) if lam.size > 1 else math.inf
    off = sine(V[:, 0], coordinates(made, d))
    estimate = join(angle(_quotient(made, first, d), lam, made.slack), off)
    bound = estimate if noise is None else join(angle(_given(made, noise), lam, made.slack), off)
    ratio = math.sqrt(second / first)
    certificate = statement(CLAIM + given, bound, noise is not None)
    spread = _spread(made, host(values), host(xp.abs(V)), d)
    return Evidence(
        (math.sqrt(first), math.sqrt(second)),
        ratio,
        made.freedom >= 0.5 and (ratio >= GAP or estimate <= ANGLE),
        certificate,
        spread,
        made.freedom,
    )


def statement(claim: str, bound: float, given: bool) -> Certificate:
    """Word the certificate; only a given noise makes it deterministic."""
    return Certificate(claim, bound, 1.0 if given else CONFIDENCE, GIVEN if given else ESTIMATE)


def angle(rho: float, lam: np.ndarray, slack: float) -> float:
    """Bound the sine of the angle by the quotient of the truth, rounding errors included."""
    if lam.size < 2:
        return 0.0
    gap = lam[1] - lam[0] - 2 * slack
    if not gap > 0:
        return 1.0
    return min(1.0, math.sqrt(max(rho - lam[0] + 2 * slack, 0.0) / gap) + 2 * slack / gap)


def join(first: float, second: float) -> float:
    """Bound the sine of the sum of two angles by their sines."""
    total = math.asin(min(first, 1.0)) + math.asin(min(second, 1.0))
    return math.sin(total) if total < math.pi / 2 else 1.0


def _given(made: Elimination, noise: np.ndarray) -> float:
    return float(np.max(noise**2 / made.w))


def _quotient(made: Elimination, first: float, d: Array) -> float:
    """Estimate the quotient of the truth by the variance of the noise, on the safe side."""
    freedom = made.freedom
    if freedom < 0.5:
        return math.inf
    variance = first * float(np.sum(made.w)) / freedom
    return variance * (1 + DEVIATIONS * math.sqrt((1 if is_complex(d) else 2) / freedom))


def _spread(made: Elimination, values: np.ndarray, V: np.ndarray, d: Array) -> np.ndarray:
    """Return sqrt of the diagonal of the pseudo-inverse, without the direction of the scale, over |t|."""
    above = np.maximum(values[1:] - values[0], made.slack)
    variance = np.sum(V[:, 1:] ** 2 / above, axis=1) / made.w
    return np.sqrt(variance) * host(_arrays.namespace(d).abs(d)) / made.v * _level(made, d)


def _level(made: Elimination, d: Array) -> float:
    """Return the root mean square of v / d: the size by which the noise is multiplied."""
    return float(np.sqrt(np.average((made.v / host(_arrays.namespace(d).abs(d))) ** 2, weights=made.w)))


def residual(made: Elimination, d: Array) -> float:
    """Estimate the standard deviation of the noise by the eigenvalue alone, for gains that are not polished."""
    xp = _arrays.namespace(d)
    own = coordinates(made, d)
    first = max(float(xp.real(xp.sum(conj(own) * (made.T @ own[:, None])[:, 0]))), 0.0)
    return math.sqrt(first * float(np.sum(made.w)) / made.freedom) if made.freedom >= 0.5 else math.inf


def _tied(made: Elimination, d: Array, noise: np.ndarray | None, places: np.ndarray, given: str) -> Evidence:
    """Judge gains of which some are known: the rest solves a definite system.

    T_UU (u - u0)_U is -(T u0)_U for the truth u0, so that the error is at most sqrt(rho / lambda_min(T_UU)) times ||u0||.
    """
    xp = _arrays.namespace(d)
    values, V = xp.linalg.eigh(restricted(made, places))
    values = host(values)
    least = max(float(values[0]) - made.slack, 0.0)
    own = _arrays.from_numpy(made.root * made.v, d) / d
    size = float(xp.linalg.vector_norm(own))
    misfit = max(float(xp.real(xp.sum(conj(own) * (made.T @ own[:, None])[:, 0]))), 0.0) / size**2 + made.slack
    freedom = made.freedom + places.size - 1
    first = max(misfit, made.slack)
    variance = first * float(np.sum(made.w)) / freedom if freedom >= 0.5 else math.inf
    rho = variance * (1 + DEVIATIONS * math.sqrt(2 / max(freedom, 0.5)))
    estimate = _relative(rho, least, misfit)
    bound = estimate if noise is None else _relative(_given(made, noise), least, misfit)
    spread = np.zeros(made.w.size)
    unknown = np.setdiff1d(np.arange(made.w.size), places)
    inverse = np.sum(host(xp.abs(V)) ** 2 / np.maximum(values, made.slack), axis=1)
    spread[unknown] = np.sqrt(inverse / made.w[unknown])
    spread *= host(xp.abs(d)) / made.v * _level(made, d)
    pair = math.sqrt(first), math.sqrt(max(float(values[0]), made.slack))
    certificate = statement(RELATIVE + given, bound, noise is not None)
    return Evidence(pair, pair[1] / pair[0], pair[1] / pair[0] >= GAP or estimate <= ANGLE, certificate, spread, freedom)


def _relative(rho: float, least: float, misfit: float) -> float:
    """Bound ||u - u0|| / ||u0|| for gains u whose own quotient is `misfit`.

    Both u and the truth u0 agree in the known entries, hence ||u - u0|| <= (|u|_T + |u0|_T) / sqrt(lambda_min), |.|_T the seminorm of T.
    """
    if not least > 0:
        return math.inf
    own, true = math.sqrt(misfit / least), math.sqrt(rho / least)
    return math.inf if own >= 1 else (own + true) / (1 - own)
