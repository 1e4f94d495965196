"""Self-calibration at full size: everything by products with the sensing matrices, nothing of size m x m.

In the norm of the channel energies q the matrix of `_models`, for trial sizes of one, is T = I - H, where H is positive semidefinite with
eigenvalues up to one: Lanczos needs some two dozen products with it. Channels with little energy are badly determined there; the signals
are not. From them, Gauss-Newton steps on the likelihood, with the gains eliminated, converge like Newton's method where the fit is good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la._threads import kernels_for, serial_blas
from lowrank_la.calibration import _certificate as judge
from lowrank_la.calibration._newton import STEPS, inverse, normal_system, polish
from lowrank_la.calibration._polish import Fit
from lowrank_la.calibration._problem import Problem
from lowrank_la.calibration._reduced import EXACT, ROUGH, Elimination, System
from lowrank_la.calibration._spectral import Options, sine
from lowrank_la.factor._dense import U, conj, host, is_complex
from lowrank_la.factor._lanczos import Krylov, block_lanczos

FIRST, MORE, MOST = 16, 4, 200  # products of Lanczos at first, at a time, in all
ROOM, KEPT = 24, 4  # its vectors before and after a restart
START, CLOSE = 1e-3, 1e-9  # residuals of the leading Ritz vector, of eigenvalue about one: before the polish, and without one
POWERS = 200  # inverse iterations
PROBES = 1 << 16  # channels that are enough for one random vector to tell the errors of predictions


@dataclass(frozen=True)
class Leading:
    """Leading eigenvector of H, u = sqrt(q) / d, and the two smallest eigenvalues of I - H, as Ritz values know them."""

    u: Array
    values: np.ndarray
    slack: float


@dataclass(frozen=True)
class Answer:
    """Gains of live channels and signals, and what is known about them."""

    fit: Fit
    evidence: judge.Evidence
    weights: np.ndarray


def solve(problem: Problem, dead: np.ndarray, options: Options, most: int, noise: np.ndarray | None, given: str = "") -> Answer:
    """Find gains and signals, and judge them; `given` names assumptions of the claim."""
    with serial_blas(), kernels_for(8.0 * problem.p * problem.m):
        form = Elimination(problem, dead, options, ROUGH if most else EXACT)
        found = leading(form, START if most else CLOSE)
        fit, Z = polish(form, _start(form, found), most)
        evidence = _certify(form, found, fit, Z, noise, given)
    live = _arrays.from_numpy(form.live, fit.d)
    return Answer(replace(fit, d=form.xp.take(fit.d, live)), evidence, host(form.q)[form.live])


def leading(form: Elimination, tol: float) -> Leading:
    """Find the leading pair of H by Lanczos with thick restarts."""
    xp, dtype = form.xp, form.Y.dtype
    parts = _random.host_generator(0, "calibration").standard_normal((2, form.problem.m)) * form.free
    start = parts[0] + 1j * parts[1] if is_complex(form.Y) else parts[0]
    start = xp.astype(_arrays.from_numpy(start, form.Y), dtype)[:, None]

    def product(V: Array) -> Array:
        return form.apply(V[:, 0])[:, None]

    krylov = block_lanczos(product, start / xp.linalg.vector_norm(start), min(FIRST, max(1, int(form.free.sum()))))
    products = FIRST
    while krylov.largest(1)[2][0] > tol and not krylov.finished and products < MOST:
        if krylov.rows.shape[0] >= ROOM:
            krylov = krylov.restarted(KEPT)
        krylov = krylov.grown(product, MORE)
        products += MORE
    return _leading(krylov, form.problem.m)


def _leading(krylov: Krylov, m: int) -> Leading:
    values, vectors, residuals = krylov.largest(2)
    second = values[1] + residuals[1] if values.size > 1 else -math.inf
    slack = float(residuals[0]) ** 2 + 16 * U * math.log2(m + 1)
    return Leading(krylov.vectors(vectors[:, :1])[:, 0], np.array([1 - values[0], 1 - second]), slack)


def _start(form: Elimination, found: Leading) -> Array:
    """Return t = 1 / d from the linear problem."""
    xp, options = form.xp, form.options
    zero = form.known()
    if options.places is not None:
        return form.solve(xp.zeros_like(zero), zero)
    free = xp.astype(_arrays.from_numpy(form.free.astype(np.float64), form.Y), form.Y.dtype)
    if options.method == "lstsq":
        return form.solve(free)
    t = form.root * found.u
    return _smoothed(form, free, t) if form.mu else t


def _smoothed(form: Elimination, free: Array, t: Array) -> Array:
    """Iterate on the inverse, from the answer without the penalty or from equal gains, whichever is better."""
    xp = form.xp
    t = min((v / xp.linalg.vector_norm(v) for v in (t, free)), key=lambda v: _penalised(form, v))
    for _ in range(POWERS):
        new = form.solve(t, tol=1e-10)
        new = new / xp.linalg.vector_norm(new)
        change, t = sine(t, new), new
        if change < 1e-9:
            break
    return t


def _penalised(form: Elimination, t: Array) -> float:
    rough = form.channels.rough
    penalty = 0.0 if rough is None else float(form.xp.real(form.xp.vecdot(t, rough.applied(t))))
    return _misfit(form, t) + penalty


def _misfit(form: Elimination, t: Array) -> float:
    """Return t^H G t: what the best signals leave."""
    target = form.Y * t
    return float(form.xp.linalg.vector_norm(form.sensing.live * (target - form.sensing.image(form.sensing.fitted(target + 0))))) ** 2


def _certify(form: Elimination, found: Leading, fit: Fit, Z: Array, noise: np.ndarray | None, assuming: str) -> judge.Evidence:
    """Judge gains as in `_certificate`; Ritz values make every bound an estimate."""
    xp, freedom = form.xp, form.freedom
    t = inverse(form, fit.d)
    own = xp.sqrt(form.q) * t
    size = float(xp.linalg.vector_norm(own))
    tied = form.options.places is not None
    misfit = max(_misfit(form, t) / size**2, found.slack) if tied else 0.0
    first = misfit if tied else max(float(found.values[0]), found.slack)
    second = max(float(found.values[0 if tied else 1]), found.slack)
    rho = first * form.sensing.share * form.live.size / freedom if freedom >= 0.5 else math.inf
    rho *= 1 + judge.DEVIATIONS * math.sqrt((1 if is_complex(form.Y) else 2) / max(freedom, 0.5))
    given = None if noise is None else float(np.max(noise**2 / host(form.q)[form.live]))

    def bound(rho: float) -> float:
        if tied:
            return judge.relative(rho, second - found.slack, misfit)
        return judge.join(judge.angle(rho, found.values, found.slack), sine(found.u, own / size))

    estimate, ratio = bound(rho), math.sqrt(second / first)
    claim = (judge.RELATIVE if tied else judge.CLAIM) + assuming
    certificate = judge.statement(claim, estimate if given is None else bound(given), False)
    verdict = freedom >= 0.5 and (ratio >= judge.GAP or estimate <= judge.ANGLE)
    return judge.Evidence((math.sqrt(first), math.sqrt(second)), ratio, verdict, certificate, _spread(form, fit, Z), freedom)


def _spread(form: Elimination, fit: Fit, Z: Array) -> np.ndarray:
    """Return relative standard errors for unit noise: of channels whose signals are known, and of the signals.

    A prediction z_i has about the same error in all channels, the mean of which a random vector tells: to the variance
    1 / (|d_i|^2 |z_i|^2) of the gain for given signals it adds c / |z_i|^2.
    """
    xp = form.xp
    energy = host(xp.real(kernels.channel_projection.channel_sum(Z, Z)))[form.live]
    size = host(xp.abs(fit.d))[form.live] ** 2
    with np.errstate(divide="ignore"):
        spread = np.sqrt((1 / size + _predicted(form, fit, Z)) / energy)
    return np.where(form.free[form.live], spread, 0.0)


def _predicted(form: Elimination, fit: Fit, Z: Array) -> float:
    """Estimate the mean of z_i^H C_i z_i / |z_i|^2, where C_i is the covariance of the predictions in channel i."""
    xp, system = form.xp, normal_system(form, fit.d, Z)
    system = System(form.sensing, replace(system.channels, phase=False), 1.0)
    generator = _random.host_generator(0, "calibration errors")
    count = max(1, PROBES // form.problem.m)
    total = 0.0
    for _ in range(min(count, 8)):
        turns = np.exp(2j * np.pi * generator.random(form.problem.m)) if is_complex(Z) else generator.choice([-1.0, 1.0], form.problem.m)
        probe = _arrays.from_numpy(turns * form.free, Z)
        b = form.sensing.back(Z * (system.channels.scale * probe))
        if form.options.places is None:  # signals are determined up to their scale only
            b = b - fit.x * (xp.sum(conj(fit.x) * b) / xp.sum(xp.abs(fit.x) ** 2))
        seen = kernels.channel_projection.channel_sum(Z, form.sensing.image(system.solve(b, 1e-2, STEPS)))
        total += float(xp.sum(xp.real(conj(probe) * seen)))
    return total / min(count, 8) / max(1, int(form.free.sum()))
