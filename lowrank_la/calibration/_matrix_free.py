"""Coded Fourier sensing at full size: everything by transforms, nothing of size m x m.

Transforms are unitary, so that sum_l A_l^H A_l is a diagonal, and the signals are eliminated without a solve. In the norm of the
channel energies q the matrix of `_models` is T = I - H, where H is positive semidefinite with eigenvalues up to one: Lanczos needs a few
dozen products with it, of 2 p transforms each. Channels with little energy are badly determined there; the signals are
not, and the polish starts from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.calibration import _certificate as judge
from lowrank_la.calibration._operators import CodedFourier
from lowrank_la.calibration._polish import Fit, objective, update
from lowrank_la.calibration._problem import REPEATED, SNAPSHOTS, Problem
from lowrank_la.calibration._spectral import Options, sine
from lowrank_la.factor._dense import conj, host

STEPS, RESTARTS = 24, 8  # of Lanczos: vectors that are kept, and how often it begins again
TOL = 1e-6  # residual of the leading Ritz vector, of eigenvalue about one
INNER = 4  # steps of conjugate gradients between two updates of the gains
SETTLED = 1e-5  # relative decrease that ends the polish


@dataclass(frozen=True)
class Spectral:
    """Leading eigenvector of H, u = sqrt(q) / d, and the two smallest eigenvalues of I - H, as Ritz values know them."""

    u: Array
    values: np.ndarray
    slack: float


class Elimination:
    """The operator H, and the signals that belong to u."""

    def __init__(self, problem: Problem) -> None:
        self.A: CodedFourier = problem.A
        self.problem, self.xp = problem, _arrays.namespace(problem.Y)
        xp, self.Y = self.xp, problem.Y
        self.q = xp.sum(xp.abs(self.Y) ** 2, axis=0)
        self.scale = 1 / xp.sqrt(self.q)
        energy = xp.abs(self.A.flat) ** 2
        self.energy = xp.sum(energy, axis=0) if problem.model == REPEATED else energy
        seen = self.energy > 0
        self.inverse = xp.where(seen, 1 / xp.where(seen, self.energy, xp.ones_like(self.energy)), xp.zeros_like(self.energy))
        seen_count = xp.astype(seen, xp.float64)
        rank = float(xp.sum(seen_count)) * (problem.p if problem.model == SNAPSHOTS else 1)
        self.w = problem.p - rank / problem.m

    def signals(self, u: Array) -> Array:
        """Return the signals (m,) or (p, m) that belong to u."""
        back = self.A.correlate(self.Y * (self.scale * u))
        return self.inverse * (self.xp.sum(back, axis=0) if self.problem.model == REPEATED else back)

    def apply(self, u: Array) -> Array:
        """Return H u."""
        return self.scale * self.xp.sum(conj(self.Y) * self.A.image(self.signals(u)), axis=0)

    @property
    def freedom(self) -> float:
        return (self.w - 1) * self.problem.m + 1


def spectral(form: Elimination) -> Spectral:
    """Find the leading pair of H by restarted Lanczos."""
    xp, m = form.xp, form.problem.m
    start = _arrays.from_numpy(_random.host_generator(0, "calibration").standard_normal((2, m)), form.q)
    u = xp.astype(start[0, :], xp.complex128) + 1j * start[1, :]
    u, values, residuals = _lanczos(form.apply, u / xp.linalg.vector_norm(u), min(STEPS, m))
    for _ in range(RESTARTS):
        if residuals[0] <= TOL:
            break
        u, values, residuals = _lanczos(form.apply, u / xp.linalg.vector_norm(u), min(STEPS, m))
    slack = float(residuals[0]) ** 2 + 8 * _unit() * math.log2(m)
    return Spectral(u, np.array([1 - values[0], 1 - values[1] - residuals[1]]), slack)


def _unit() -> float:
    return float(np.finfo(np.float64).eps)


def _lanczos(apply: Callable[[Array], Array], start: Array, steps: int) -> tuple[Array, np.ndarray, np.ndarray]:
    """Return the leading Ritz vector, and the two leading Ritz values with their residuals."""
    xp, V, alpha, beta = _arrays.namespace(start), [start], [], []
    for _ in range(steps):
        r = apply(V[-1])
        alpha.append(float(xp.real(xp.vecdot(V[-1], r))))
        for _ in range(2):  # against all, twice: full orthogonality
            for v in V:
                r = r - v * xp.vecdot(v, r)
        beta.append(float(xp.linalg.vector_norm(r)))
        if beta[-1] < 1e-12 or len(V) == steps:
            break
        V.append(r / beta[-1])
    values, S = np.linalg.eigh(np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1))
    u = sum((float(c) * v for c, v in zip(S[1:, -1], V[1:], strict=True)), start=float(S[0, -1]) * V[0])
    pair = [-1, -2] if values.size > 1 else [-1, -1]
    return u, values[pair], beta[-1] * abs(S[-1, pair])


def polish(form: Elimination, u: Array, options: Options, max_iter: int) -> Fit:
    """Alternate between the best gains and a few steps of conjugate gradients for the signals."""
    A, Y, xp = form.A, form.Y, form.xp
    x = form.signals(u)
    Z = A.image(x)
    d = update(Y, Z, xp.ones_like(Z[0, :]), options)
    history, settled = [objective(Y, d, Z)], max_iter == 0
    for _ in range(max_iter):
        x = _refine(form, d, x, Y - d * Z)
        Z = A.image(x)
        d = update(Y, Z, d, options)
        history.append(objective(Y, d, Z))
        settled = history[-1] >= (1 - SETTLED) * history[-2]
        if settled:
            break
    return Fit(d, x, tuple(history), settled)


def _refine(form: Elimination, d: Array, x: Array, R: Array) -> Array:
    """Improve signals for given gains: preconditioned conjugate gradients on the normal equations, warm."""
    xp, mean = form.xp, float(form.xp.mean(form.xp.abs(d) ** 2))
    precondition = form.inverse / mean

    def back(R: Array) -> Array:
        g = form.A.correlate(conj(d) * R)
        return xp.sum(g, axis=0) if form.problem.model == REPEATED else g

    g = back(R)
    h = precondition * g
    direction, rho = h, _inner(g, h)
    for _ in range(INNER):
        image = d * form.A.image(direction)
        energy = _inner(image, image)
        if not (energy > 0 and rho > 0):
            break
        x = x + (rho / energy) * direction
        R = R - (rho / energy) * image
        g = back(R)
        h = precondition * g
        new = _inner(g, h)
        direction, rho = h + (new / rho) * direction, new
    return x


def _inner(a: Array, b: Array) -> float:
    xp = _arrays.namespace(a)
    return float(xp.sum(xp.real(conj(a) * b)))


def certify(form: Elimination, found: Spectral, d: Array, noise: np.ndarray | None) -> judge.Evidence:
    """Judge gains as in `_certificate`; Ritz values make every bound an estimate."""
    xp, lam = form.xp, found.values
    first, second = (max(float(value), found.slack) for value in lam)
    own = xp.sqrt(form.q) / d
    own = own / xp.linalg.vector_norm(own)
    off = sine(found.u / xp.linalg.vector_norm(found.u), own)
    m = form.problem.m
    rho = first * form.w * m / form.freedom if form.freedom >= 0.5 else math.inf
    rho *= 1 + judge.DEVIATIONS / math.sqrt(max(form.freedom, 0.5))
    estimate = judge.join(judge.angle(rho, lam, found.slack), off)
    if noise is not None:
        rho = float(np.max(noise**2 / host(form.q)))
    bound = judge.join(judge.angle(rho, lam, found.slack), off)
    ratio = math.sqrt(second / first)
    certificate = judge.statement(judge.CLAIM, bound, False)
    pair = math.sqrt(first), math.sqrt(second)
    return judge.Evidence(pair, ratio, ratio >= judge.GAP or estimate <= judge.ANGLE, certificate, _spread(form), form.freedom)


def _spread(form: Elimination) -> np.ndarray:
    """Return relative errors for given signals and unit noise: one over the root of the energy of the channel."""
    return 1 / np.sqrt(host(form.q))
