"""What is known about the gains afterwards: an angle, a verdict, and error bars.

Let u be the unit eigenvector of the smallest eigenvalue of T, u0 the truth in the same coordinates and rho = u0^H T u0 its quotient. The
component of u0 that is orthogonal to u has a quotient of at least lambda_2, hence

    sin^2 angle(u, u0) <= (rho - lambda_1) / (lambda_2 - lambda_1).

The quotient is the energy of the noise that the signals do not fit: at most max_i ||e_i||^2 / w_i for noise e_i of channel i.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.calibration._models import Elimination
from lowrank_la.calibration._spectral import coordinates, quotient, restricted, sine
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
    factor : array (m, k) or None
        Relative errors of the gains are `factor` times white noise; their sizes are `spread`.
    """

    singular_values: tuple[float, float]
    gap_ratio: float
    identifiable: bool
    certificate: Certificate
    spread: np.ndarray
    freedom: float
    factor: Array | None = None


def warn_unidentifiable(function: str, evidence: Evidence) -> None:
    """Warn of the verdict, and say why."""
    why = f"the two smallest singular values have a ratio of {evidence.gap_ratio:.3g}"
    if evidence.freedom < 0.5:
        why = "there are as many unknowns as equations, none of which is left over to tell the noise by"
    text = f"{function}: the gains are not identifiable at this noise level: {why}"
    warnings.warn(text, ConvergenceWarning, stacklevel=5)


def certify(
    made: Elimination, d: Array, noise: np.ndarray | None, places: np.ndarray | None, given: str = "", unit_modulus: bool = False
) -> Evidence:
    """Judge gains; `noise` bounds the norm of the noise of each channel, `given` names assumptions of the claim."""
    phases = unit_modulus and is_complex(d)
    if places is not None and places.size == made.w.size:
        certificate = Certificate(RELATIVE, 0.0, 1.0, GIVEN)
        none = d[:, None] * 0
        return Evidence((0.0, math.inf), math.inf, True, certificate, np.zeros(places.size), made.freedom + places.size - 1, none)
    if places is not None:
        return _tied(made, d, noise, places, given, phases)
    values, V = made.spectrum
    lam = host(values[: min(2, values.shape[0])])
    first, second = float(max(lam[0], made.slack)), float(max(lam[1], made.slack)) if lam.size > 1 else math.inf
    off = sine(V[:, 0], coordinates(made, d))
    estimate = join(angle(_quotient(made, first, d), lam, made.slack), off)
    bound = estimate if noise is None else join(angle(_given(made, noise), lam, made.slack), off)
    ratio = math.sqrt(second / first)
    certificate = statement(CLAIM + given, bound, noise is not None)
    verdict = made.freedom >= 0.5 and (ratio >= GAP or estimate <= ANGLE)
    factor = fisher_root(_phased(made, d) if phases else made, d, phases)
    spread = _rows(factor) if lam.size < 2 or lam[1] - lam[0] > 2 * made.slack else np.full(made.w.size, math.inf)
    freedom = made.freedom + phases * (made.w.size - 1) / 2  # a phase is half an unknown
    return Evidence((math.sqrt(first), math.sqrt(second)), ratio, verdict, certificate, spread, freedom, factor)


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
    """Estimate the quotient of the truth from the least one, which the gains have fitted to the noise, on the safe side."""
    freedom = made.freedom
    if freedom < 0.5:
        return math.inf
    rho = first * float(np.sum(made.share)) / freedom
    return rho * (1 + DEVIATIONS * math.sqrt((1 if is_complex(d) else 2) / freedom))


def _phased(made: Elimination, d: Array) -> Elimination:
    """Return what T says of phases: twice its real part, turned so that t is real."""
    xp = _arrays.namespace(d)
    turn = d / xp.astype(xp.abs(d), d.dtype)
    T = xp.real(turn[:, None] * made.T * conj(turn))
    return replace(made, T=xp.astype(2 * T, d.dtype), slack=2 * made.slack)


def fisher_root(made: Elimination, d: Array, phases: bool = False) -> Array:
    """Return F (m, m - 1) with F F^H the inverse Fisher information of relative changes of the gains, but for the scale."""
    values, V = made.spectrum
    return _factor(made, values[1:] - values[0], V[:, 1:], d, phases)


def _factor(made: Elimination, values: Array, V: Array, d: Array, phases: bool) -> Array:
    """Return the root of a pseudo-inverse of T, given by eigenvalues and eigenvectors, over t: relative errors for noise of size one."""
    xp = _arrays.namespace(d)
    if phases:
        d = xp.astype(xp.abs(d), d.dtype)
    values = xp.where(values > made.slack, values, xp.full_like(values, made.slack))
    over = d * _arrays.from_numpy(_level(made, d) / (made.v * made.root), d)
    return over[:, None] * V / xp.astype(xp.sqrt(values), V.dtype)


def _rows(factor: Array) -> np.ndarray:
    return host(_arrays.namespace(factor).linalg.vector_norm(factor, axis=1))


def _level(made: Elimination, d: Array) -> float:
    """Return the root mean square of v / d: the size by which the noise is multiplied."""
    return float(np.sqrt(np.average((made.v / host(_arrays.namespace(d).abs(d))) ** 2, weights=made.w)))


def residual(made: Elimination, d: Array) -> float:
    """Estimate the standard deviation of the noise by the eigenvalue alone, for gains that are not polished."""
    own = coordinates(made, d)
    louder = float(np.sum(made.share / made.w * host(_arrays.namespace(d).abs(own)) ** 2))  # weights are smaller than the noise wants
    return math.sqrt(quotient(made, own) / louder * float(np.sum(made.share)) / made.freedom) if made.freedom >= 0.5 else math.inf


def _tied(made: Elimination, d: Array, noise: np.ndarray | None, places: np.ndarray, given: str, phases: bool) -> Evidence:
    """Judge gains of which some are known: the rest solves a definite system.

    T_UU (u - u0)_U is -(T u0)_U for the truth u0, so that the error is at most sqrt(rho / lambda_min(T_UU)) times ||u0||.
    """
    xp = _arrays.namespace(d)
    values, V = xp.linalg.eigh(restricted(made, places))
    least = max(float(values[0]) - made.slack, 0.0)
    own = _arrays.from_numpy(made.root * made.v, d) / d
    misfit = quotient(made, own) + made.slack
    freedom = made.freedom + places.size - 1
    first = max(misfit, made.slack)
    rho = first * float(np.sum(made.share)) / freedom if freedom >= 0.5 else math.inf
    rho *= 1 + DEVIATIONS * math.sqrt(2 / max(freedom, 0.5))
    estimate = relative(rho, least, misfit)
    bound = estimate if noise is None else relative(_given(made, noise), least, misfit)
    pair = math.sqrt(first), math.sqrt(max(float(values[0]), made.slack))
    if phases:
        values, V = xp.linalg.eigh(restricted(_phased(made, d), places))
    order = np.argsort(np.concatenate([places, np.setdiff1d(np.arange(made.w.size), places)]))
    V = xp.concat([xp.zeros((places.size, V.shape[1]), dtype=V.dtype, device=V.device), V])
    factor = _factor(made, values, xp.take(V, _arrays.from_numpy(order, d), axis=0), d, phases)
    certificate = statement(RELATIVE + given, bound, noise is not None)
    verdict = pair[1] / pair[0] >= GAP or estimate <= ANGLE
    freedom += phases * (made.w.size - places.size) / 2
    return Evidence(pair, pair[1] / pair[0], verdict, certificate, _rows(factor), freedom, factor)


def relative(rho: float, least: float, misfit: float) -> float:
    """Bound ||u - u0|| / ||u0|| for gains u whose own quotient is `misfit`.

    Both u and the truth u0 agree in the known entries, hence ||u - u0|| <= (|u|_T + |u0|_T) / sqrt(lambda_min), |.|_T the seminorm of T.
    """
    if not least > 0:
        return math.inf
    own, true = math.sqrt(misfit / least), math.sqrt(rho / least)
    return math.inf if own >= 1 else (own + true) / (1 - own)
