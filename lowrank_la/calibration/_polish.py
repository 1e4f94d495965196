"""Alternating least squares on the likelihood ||Y - fit||^2, from a start that is already close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.calibration._problem import REPEATED, SNAPSHOTS, Problem
from lowrank_la.calibration._spectral import Options
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, conj

TOL = 1e-7  # relative decrease of the objective below which the polish ends
RIDGE = 1e-14  # over the mean diagonal, for matrices of low rank; a step of refinement takes it back


@dataclass(frozen=True)
class Fit:
    """Gains (m,), signals (n,) or (p, n), objectives, and whether they have settled."""

    d: Array
    x: Array
    history: tuple[float, ...]
    settled: bool


def polish(problem: Problem, d: Array, options: Options, max_iter: int) -> Fit:
    """Alternate; no step makes the objective larger."""
    x, Z = signals(problem, d)
    history = [objective(problem.Y, d, Z)]
    settled = max_iter == 0
    for _ in range(max_iter):
        trial = update(problem.Y, Z, d, options)
        trial_x, trial_Z = signals(problem, trial)
        value = objective(problem.Y, trial, trial_Z)
        settled = value >= (1 - TOL) * history[-1]
        if value > history[-1]:
            break
        d, x, Z = trial, trial_x, trial_Z
        history.append(value)
        if settled:
            break
    return Fit(d, x, tuple(history), settled)


def objective(Y: Array, d: Array, Z: Array) -> float:
    """Return ||Y - Z diag(d)||^2."""
    return float(_arrays.namespace(Y).linalg.vector_norm(Y - Z * d)) ** 2


def update(Y: Array, Z: Array, d: Array, options: Options) -> Array:
    """Return the best gains for predictions Z (p, m) of what they multiply; known ones stay."""
    xp = _arrays.namespace(Y)
    inner, energy = xp.sum(conj(Z) * Y, axis=0), xp.sum(xp.abs(Z) ** 2, axis=0)
    if options.unit_modulus:
        size = xp.abs(inner)
        return xp.where(size > 0, inner / xp.where(size > 0, size, xp.ones_like(size)), d)
    new = xp.where(energy > 0, inner / xp.where(energy > 0, energy, xp.ones_like(energy)), d)
    new = xp.where(xp.abs(new) > 0, new, d)
    if options.places is None:
        return new
    held = np.zeros(d.shape[0], dtype=bool)
    held[options.places] = True
    return xp.where(_arrays.from_numpy(held, d), d, new)


def signals(problem: Problem, d: Array) -> tuple[Array, Array]:
    """Return the signals that fit best with given gains, and their images A_l x_l (p, m)."""
    xp, Y = _arrays.namespace(problem.Y), problem.Y
    A = d[:, None] * problem.A
    gram = adjoint(A) @ A
    if problem.model == REPEATED:
        gram = xp.sum(gram, axis=0)
    gram = _ridged(gram)
    x = xp.linalg.solve(gram, _correlate(problem.model, A, Y))
    x = x + xp.linalg.solve(gram, _correlate(problem.model, A, Y - _image(problem.model, A, x)))
    Z = _image(problem.model, problem.A, x)
    if problem.model == SNAPSHOTS:
        return xp.matrix_transpose(x), Z
    return x[..., 0], Z


def _ridged(gram: Array) -> Array:
    xp = _arrays.namespace(gram)
    mean = xp.mean(xp.real(xp.linalg.diagonal(gram)), axis=-1)
    return gram + RIDGE * mean[..., None, None] * _dense.eye(xp, gram.shape[-1], gram)


def _correlate(model: str, A: Array, Y: Array) -> Array:
    """Return sum_l A_l^H y_l (n, 1), each A_l^H y_l (p, n, 1), or A^H Y^T (n, p)."""
    xp = _arrays.namespace(Y)
    if model == SNAPSHOTS:
        return adjoint(A) @ xp.matrix_transpose(Y)
    each = adjoint(A) @ Y[:, :, None]
    return xp.sum(each, axis=0) if model == REPEATED else each


def _image(model: str, A: Array, x: Array) -> Array:
    xp = _arrays.namespace(x)
    return xp.matrix_transpose(A @ x) if model == SNAPSHOTS else (A @ x)[..., 0]
