"""The smoothed power loss sum (|r|^2 + delta^2)^(p/2) of residuals, and norms that neither overflow nor underflow.

Newton's method on it, with delta going to zero, solves l_p problems; its linearised gradients are dual points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowrank_la import _arrays
from lowrank_la._arrays import Array


@dataclass(frozen=True)
class Loss:
    """Value and derivatives at residuals r (n, ...), in units of `unit`^p, `unit` per column.

    Attributes
    ----------
    value : array (...)
        Sum of (|r|^2 + delta^2)^(p/2).
    y : array (n, ...)
        Gradient over p: (|r|^2 + delta^2)^(p/2 - 1) r.
    across, along : array (n, ...)
        Eigenvalues of the Hessian over p for changes across and along r in the complex plane; real residuals only have `along`.
    phase : array (n, ...) or None
        r / |r| of complex residuals.
    """

    value: Array
    y: Array
    across: Array
    along: Array
    phase: Array | None

    def curve(self, V: Array) -> Array:
        """Hessian (over p) times a change V of r."""
        xp = _arrays.namespace(V)
        if self.phase is None:
            return self.along * V
        return self.across * V + (self.along - self.across) * self.phase * xp.real(xp.conj(self.phase) * V)


def loss(r: Array, p: float, delta: Array) -> Loss:
    """Evaluate the smoothed loss; delta > 0, of the shape of a row of r."""
    xp = _arrays.namespace(r)
    size2 = _square(r) + delta**2
    across = size2 ** (p / 2 - 1)
    along = across * ((p - 1) + (2 - p) * delta**2 / size2)
    phase = None
    if xp.isdtype(r.dtype, "complex floating"):
        size = xp.abs(r)
        phase = r / xp.where(size > 0, size, xp.ones_like(size))
    return Loss(xp.sum(across * size2, axis=0), across * r, across, along, phase)


def value(r: Array, p: float, delta: Array) -> Array:
    """Sum of (|r|^2 + delta^2)^(p/2) over the rows."""
    return _arrays.namespace(r).sum((_square(r) + delta**2) ** (p / 2), axis=0)


def _square(r: Array) -> Array:
    xp = _arrays.namespace(r)
    return xp.real(r) ** 2 + xp.imag(r) ** 2 if xp.isdtype(r.dtype, "complex floating") else r * r


def conjugate(p: float) -> float:
    """Return q with 1/p + 1/q = 1."""
    return 1.0 if math.isinf(p) else math.inf if p == 1 else p / (p - 1)


def norms(r: Array, p: float) -> Array:
    """||r||_p of each column."""
    xp = _arrays.namespace(r)
    size = xp.abs(r)
    largest = xp.max(size, axis=0)
    if math.isinf(p):
        return largest
    safe = xp.where(largest > 0, largest, xp.ones_like(largest))
    return largest * xp.sum((size / safe) ** p, axis=0) ** (1 / p)


def norm_gradient(r: Array, p: float) -> Array:
    """Return a positive multiple of a subgradient of ||r||_p: for p = inf one entry, where |r| is largest."""
    xp = _arrays.namespace(r)
    size = xp.abs(r)
    phase = r / xp.where(size > 0, size, xp.ones_like(size))
    largest = xp.max(size)
    if math.isinf(p):
        first = xp.arange(r.shape[0], device=r.device) == xp.argmax(size)
        return xp.where(first, phase, xp.zeros_like(phase))
    return phase * (size / xp.where(largest > 0, largest, xp.ones_like(largest))) ** (p - 1)
