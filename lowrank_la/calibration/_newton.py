"""Gauss-Newton steps on the likelihood by products alone, the gains eliminated: conjugate gradients for the signals."""

from __future__ import annotations

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.calibration._operators import product
from lowrank_la.calibration._polish import Fit, update
from lowrank_la.calibration._reduced import EXACT, LONG, Channels, Elimination, System
from lowrank_la.factor._dense import U, conj

INNER, STEPS = 0.1, 30  # decrease of the residual in a step, and the iterations it may take
SETTLED = 1e-5  # relative decrease of the objective that the last step was good for
HALVINGS = 5  # of a step that makes the fit worse


def polish(form: Elimination, t: Array, most: int) -> tuple[Fit, Array]:
    """Take Gauss-Newton steps on the likelihood; return what they lead to, and predictions of what the gains multiply."""
    state = _First(form, t) if most else _Unpolished(form, t)
    x, d, Z, R = state.x, state.d, state.Z, form.Y - state.Z * state.d
    history, settled = [_energy(R)], most == 0
    rounding = (16 * U) ** 2 * float(form.xp.sum(form.q))
    for _ in range(most):
        step, gain = _direction(form, d, Z, R)
        better = _along(form, x, step, d, history[-1])
        settled = better is None or gain <= SETTLED * history[-1] or history[-1] <= rounding
        if better is None:
            break
        x, d, Z, R = better
        history.append(_energy(R))
        if settled:
            break
    return Fit(d, x, tuple(history), settled), Z


class _First:
    """Signals of the linear problem, and the best gains for them."""

    def __init__(self, form: Elimination, t: Array) -> None:
        self.x = form.sensing.fitted(form.Y * t)
        self.Z = form.sensing.image(self.x)
        self.d = best_gains(form, self.Z, inverse(form, t))


class _Unpolished:
    """Gains of the linear problem, and the best signals for them."""

    def __init__(self, form: Elimination, t: Array) -> None:
        self.d = inverse(form, t)
        xp, size = form.xp, form.xp.abs(self.d)
        if form.options.unit_modulus:
            self.d = self.d / xp.where(size > 0, size, 1.0)
        weight = xp.abs(self.d) ** 2
        system = System(form.sensing, Channels(form.Y, weight, xp.zeros_like(weight)), float(xp.mean(weight)))
        self.x = system.solve(form.sensing.back(conj(self.d) * form.Y), EXACT, LONG)
        self.Z = form.sensing.image(self.x)


def inverse(form: Elimination, t: Array) -> Array:
    """Return 1 / t on live channels, none beyond all bounds, and zero on dead ones."""
    xp, size = form.xp, form.xp.abs(t)
    floor = 1e-12 * xp.max(size)
    t = xp.where(size > floor, t, xp.astype(floor, t.dtype))
    return form.sensing.live / t


def best_gains(form: Elimination, Z: Array, d: Array) -> Array:
    """Return the best gains for predictions Z, zero on dead channels."""
    return form.sensing.live * update(form.Y, Z, d, form.options)


def _direction(form: Elimination, d: Array, Z: Array, R: Array) -> tuple[Array, float]:
    """Return a Gauss-Newton step of the signals, and by how much it would make the objective smaller if that were quadratic."""
    return normal_system(form, d, Z).iterate(form.sensing.back(product(R, conj(d), form.sensing.work)), INNER, STEPS)


def normal_system(form: Elimination, d: Array, Z: Array) -> System:
    xp, weight = form.xp, form.xp.abs(d) ** 2
    scale = form.inverted(xp.real(kernels.channel_projection.channel_sum(Z, Z)))
    channels = Channels(Z, weight, scale, phase=form.options.unit_modulus)
    return System(form.sensing, channels, float(xp.sum(weight)) / form.live.size)


def _along(form: Elimination, x: Array, step: Array, d: Array, energy: float) -> tuple[Array, Array, Array, Array] | None:
    """Go along a step, or a part of it, that makes the fit better; return signals, gains, predictions and residuals."""
    for _ in range(HALVINGS):
        trial = x + step
        Z = form.sensing.image(trial)
        new = best_gains(form, Z, d)
        R = form.Y - product(Z, new, form.sensing.work)
        if _energy(R) < energy:
            return trial, new, Z, R
        step = step / 2
    return None


def _energy(R: Array) -> float:
    return float(_arrays.namespace(R).linalg.vector_norm(R)) ** 2
