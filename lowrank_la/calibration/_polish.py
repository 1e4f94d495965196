"""Steps on the likelihood ||Y - fit||^2, signals eliminated, from a start that is already close: scoring, or alternating least squares."""

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
DEPTH = 5  # earlier steps that a new one is mixed with
MIXING, TINY = 1e-12, 1e-200  # of the normal equations of the mixture
FAR = 0.5  # relative change of a gain beyond which no quadratic model is trusted


@dataclass(frozen=True)
class Fit:
    """Gains (m,), signals (n,) or (p, n), objectives, whether they have settled, and errors of the signals for unit noise."""

    d: Array
    x: Array
    history: tuple[float, ...]
    settled: bool
    x_error: Array | None = None


def polish(problem: Problem, d: Array, options: Options, max_iter: int, root: Array | None = None) -> Fit:
    """Score with a root of the inverse Fisher information while that helps, else alternate; no step makes the objective larger.

    Steps are mixed with earlier ones, as Anderson does, unless that makes the fit worse.
    """
    x, Z = _signals(problem, d)
    history = [objective(problem.Y, d, Z)]
    settled, tried = max_iter == 0, []
    for _ in range(max_iter):
        new = None if root is None else _scored(problem.Y, Z, d, root)
        if new is None:
            root, new = None, _alternated(problem.Y, Z, d, options)
        tried = [*([] if options.unit_modulus else tried[-DEPTH:]), (d, new - d)]
        trial = _mixed(tried) if len(tried) > 1 else new
        trial_x, trial_Z = _improved(problem, trial, x, Z)
        value = objective(problem.Y, trial, trial_Z)
        if not value <= history[-1] and (len(tried) > 1 or root is not None):
            root = root if len(tried) > 1 else None
            tried = []
            continue
        settled = value >= (1 - TOL) * history[-1]
        if value > history[-1]:
            break
        d, x, Z = trial, trial_x, trial_Z
        history.append(value)
        if settled:
            break
    return Fit(d, _as_rows(problem.model, x), tuple(history), settled)


def _scored(Y: Array, Z: Array, d: Array, root: Array) -> Array | None:
    """Take a step of scoring, the inverse Fisher information times the gradient by relative changes of the gains; None if it goes far."""
    xp = _arrays.namespace(Y)
    gradient = xp.sum(conj(d * Z) * (Y - d * Z), axis=0)
    change = (root @ (adjoint(root) @ gradient[:, None]))[:, 0]
    return d * (1 + change) if float(xp.max(xp.abs(change))) <= FAR else None


def _mixed(tried: list[tuple[Array, Array]]) -> Array:
    """Combine the last steps so that what is left of them, were they linear in the gains, is least."""
    xp = _arrays.namespace(tried[-1][0])
    d, step = tried[-1]
    places = xp.stack([there - d for there, _ in tried[:-1]], axis=1)
    steps = xp.stack([other - step for _, other in tried[:-1]], axis=1)
    gram = adjoint(steps) @ steps
    gram = gram + (MIXING * xp.real(xp.linalg.trace(gram)) + TINY) * _dense.eye(xp, gram.shape[0], gram)
    return d + step - ((places + steps) @ xp.linalg.solve(gram, adjoint(steps) @ step[:, None]))[:, 0]


def _alternated(Y: Array, Z: Array, d: Array, options: Options) -> Array:
    """Take the best gains for these predictions."""
    new = update(Y, Z, d, options)
    return new if options.places is None else _rescaled(Y, Z, new, options.places, options.unit_modulus)


def objective(Y: Array, d: Array, Z: Array) -> float:
    """Return ||Y - Z diag(d)||^2."""
    return float(_arrays.namespace(Y).linalg.vector_norm(Y - Z * d)) ** 2


def update(Y: Array, Z: Array, d: Array, options: Options) -> Array:
    """Return the best gains for predictions Z (p, m) of what they multiply; known ones stay."""
    xp = _arrays.namespace(Y)
    inner, energy = xp.sum(conj(Z) * Y, axis=0), xp.sum(xp.abs(Z) ** 2, axis=0)
    if options.unit_modulus:
        energy = xp.abs(inner)
    new = xp.where(energy > 0, inner / xp.where(energy > 0, energy, xp.ones_like(energy)), d)
    new = xp.where(xp.abs(new) > 0, new, d)
    if options.places is None:
        return new
    return xp.where(_arrays.from_numpy(_known(d, options.places), d), d, new)


def _known(d: Array, places: np.ndarray) -> np.ndarray:
    return np.isin(np.arange(d.shape[0]), places)


def _rescaled(Y: Array, Z: Array, d: Array, places: np.ndarray, unit_modulus: bool) -> Array:
    """Divide unknown gains by the factor that known gains want for the signals, which alternation alone finds slowly."""
    xp = _arrays.namespace(Y)
    K = _arrays.from_numpy(places, Y)
    fit, y = xp.take(d * Z, K, axis=1), xp.take(Y, K, axis=1)
    inner, energy = xp.sum(conj(fit) * y), xp.sum(xp.abs(fit) ** 2)
    c = inner / xp.astype(xp.abs(inner) if unit_modulus else energy, d.dtype)
    if not 0 < float(xp.abs(c)) < np.inf:
        return d
    return xp.where(_arrays.from_numpy(_known(d, places), d), d, d / c)


def signals(problem: Problem, d: Array) -> tuple[Array, Array]:
    """Return the signals that fit best with given gains, and their images A_l x_l (p, m)."""
    x, Z = _signals(problem, d)
    return _as_rows(problem.model, x), Z


def _signals(problem: Problem, d: Array) -> tuple[Array, Array]:
    """Solve the normal equations, and refine."""
    xp, Y, model = _arrays.namespace(problem.Y), problem.Y, problem.model
    A = d[:, None] * problem.A
    gram = grams(model, A)
    x = xp.linalg.solve(gram, _correlate(model, A, Y))
    x = x + xp.linalg.solve(gram, _correlate(model, A, Y - _image(model, A, x)))
    return x, _image(model, problem.A, x)


def _improved(problem: Problem, d: Array, x: Array, Z: Array) -> tuple[Array, Array]:
    """Return the signals for new gains, as a refinement of those for gains nearby."""
    model, A = problem.model, d[:, None] * problem.A
    x = x + _arrays.namespace(x).linalg.solve(grams(model, A), _correlate(model, A, problem.Y - d * Z))
    return x, _image(model, problem.A, x)


def _as_rows(model: str, x: Array) -> Array:
    return _arrays.namespace(x).matrix_transpose(x) if model == SNAPSHOTS else x[..., 0]


def grams(model: str, A: Array) -> Array:
    """Return A^H A (n, n), the sum of all A_l^H A_l, or each of them (p, n, n), with a little added to the diagonal."""
    xp = _arrays.namespace(A)
    gram = adjoint(A) @ A
    if model == REPEATED:
        gram = xp.sum(gram, axis=0)
    mean = xp.mean(xp.real(xp.linalg.diagonal(gram)), axis=-1)
    return gram + RIDGE * mean[..., None, None] * _dense.eye(xp, gram.shape[-1], gram)


def images(model: str, A: Array, x: Array) -> Array:
    """Return all A_l x_l (p, m) for signals (n,) or (p, n)."""
    return _image(model, A, _arrays.namespace(x).matrix_transpose(x) if model == SNAPSHOTS else x[..., None])


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
