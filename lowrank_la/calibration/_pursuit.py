"""Supports of sparse signals by products alone: large entries of the signals for given gains, and the gains for given supports, in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.calibration._matrix_free import START, leading
from lowrank_la.calibration._newton import best_gains, inverse, polish
from lowrank_la.calibration._operators import Kept
from lowrank_la.calibration._problem import SNAPSHOTS, Problem, counts, enough
from lowrank_la.calibration._reduced import Elimination
from lowrank_la.calibration._spectral import Options
from lowrank_la.factor._dense import conj

ROUNDS = 12  # of supports and gains
STEPS = 3  # of the polish in each
POWERS = 8  # truncated power steps for each size of the support, where dense signals would explain everything


def support(problem: Problem, dead: np.ndarray, k: int, options: Options) -> np.ndarray:
    """Find the k entries that matter, (k,), or (p, k) for the model "diverse"."""
    options = replace(options, places=None, values=None, smooth=0.0)
    form = Elimination(problem, dead, options)
    x = form.sensing.fitted(form.Y * (form.root * leading(form, START).u))
    if not enough(counts(problem)):
        x = _truncated(form, x, k)
    tried: dict[bytes, tuple[float, np.ndarray]] = {}
    found = _largest(form, x, k)
    for _ in range(ROUNDS):
        if found.tobytes() in tried:
            break
        small = Elimination(kept(problem, found), dead, options)
        Z = small.sensing.image(x)
        d = best_gains(small, Z, form.xp.ones_like(Z[0, :]))
        fit, Z = polish(small, inverse(small, d), STEPS)
        tried[found.tobytes()] = fit.history[-1], found
        slope = form.sensing.back(conj(fit.d) * (form.Y - Z * fit.d))
        size = float(form.xp.sum(form.xp.abs(fit.d) ** 2)) / form.live.size
        x = fit.x + form.sensing.inverse / size * slope
        found = _largest(form, x, k)
    return min(tried.values(), key=lambda pair: pair[0])[1]


def kept(problem: Problem, found: np.ndarray) -> Problem:
    """Set all columns off the support to zero."""
    mask = np.zeros((*found.shape[:-1], problem.n))
    np.put_along_axis(mask, found, 1.0, axis=-1)
    return replace(problem, A=Kept(problem.A, _arrays.from_numpy(mask, problem.Y)))


def _truncated(form: Elimination, x: Array, k: int) -> Array:
    """Power steps on the matrix whose leading vector is the signal; the number of entries that are kept falls by a factor two at a time."""
    size = form.problem.n
    while size > k:
        size = max(k, size // 2)
        for _ in range(POWERS):
            x = form.xp.where(_mask(form, x, size), x, form.xp.zeros_like(x))
            t = form.channels.best(form.sensing.image(x))
            x = form.sensing.fitted(form.Y * t)
            x = x / form.xp.linalg.vector_norm(x)
    return x


def _mask(form: Elimination, x: Array, k: int) -> Array:
    found = _largest(form, x, k)
    mask = np.zeros((*found.shape[:-1], form.problem.n), dtype=bool)
    np.put_along_axis(mask, found, True, axis=-1)
    return _arrays.from_numpy(mask, x)


def _largest(form: Elimination, x: Array, k: int) -> np.ndarray:
    """Return the entries that contribute most to the measurements: in each signal, or in all snapshots of one matrix."""
    inverse = _arrays.to_numpy(form.sensing.inverse)
    energy = np.abs(_arrays.to_numpy(x)) ** 2 * np.where(inverse > 0, 1 / np.where(inverse > 0, inverse, 1.0), 0.0)
    if form.problem.model == SNAPSHOTS:
        energy = np.sum(energy, axis=0)
    return np.sort(np.argpartition(-energy, k - 1, axis=-1)[..., :k], axis=-1)
