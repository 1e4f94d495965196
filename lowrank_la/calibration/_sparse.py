"""Sparse signals: find the support, then solve on it as if it had been known."""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.calibration import _models, _polish, _search, _spectral
from lowrank_la.calibration._problem import DIVERSE, REPEATED, SNAPSHOTS, Problem, counts, enough
from lowrank_la.calibration._spectral import Options
from lowrank_la.factor._dense import adjoint, host

ROUNDS = 10  # of supports and gains
FEW = 256  # channels up to which supports of many signals are searched for: an eigenproblem of that size for each trial


def support(problem: Problem, k: int, options: Options) -> np.ndarray:
    """Find the k entries that matter, (k,), or (p, k) for the model "diverse": of all supports that are tried, the one that fits best."""
    xp = _arrays.namespace(problem.Y)
    q = host(xp.sum(xp.abs(problem.Y) ** 2, axis=0))
    v = np.ones_like(q) if options.unit_modulus else _spectral.first_sizes(q)
    tried: dict[bytes, tuple[float, np.ndarray]] = {}
    for found in _starts(problem, q, v, k, options):
        for _ in range(ROUNDS):
            if found.tobytes() in tried:
                break
            fit = _fitted(problem, found, options, v)
            tried[found.tobytes()] = fit.history[-1], found
            found = _pursuit(problem, fit.d, k)
    return min(tried.values(), key=lambda pair: pair[0])[1]


def _starts(problem: Problem, q: np.ndarray, v: np.ndarray, k: int, options: Options) -> list[np.ndarray]:
    """Search for supports that all snapshots share; else pursue them for the gains of dense signals."""
    Y, A = _arrays.to_numpy(problem.Y), problem.A
    if problem.model == REPEATED:
        A = v[:, None] * _arrays.to_numpy(A)
        B = np.sum(Y.conj()[:, :, None] * A, axis=0) / np.sqrt(q)[:, None]
        A = A.reshape(-1, problem.n)
        return _search.supports(_search.OneSignal(A.conj().T @ A, B.conj().T @ B), k)
    if problem.model == SNAPSHOTS and problem.m <= FEW:
        return _search.supports(_search.ManySignals(v[:, None] * _arrays.to_numpy(A), Y, q), k)
    return [_pursuit(problem, _first_gains(problem, v, options), k)]


def _fitted(problem: Problem, found: np.ndarray, options: Options, v: np.ndarray) -> _polish.Fit:
    small = problem.columns(found)
    d, _ = _spectral.gains(lambda v: _models.eliminate(small, v), v, options)
    return _polish.polish(small, d, options, 10)


def _first_gains(problem: Problem, v: np.ndarray, options: Options) -> Array:
    """Take the answer for dense signals if there is one, else gains of phase zero."""
    if enough(counts(problem)):
        return _spectral.gains(lambda v: _models.eliminate(problem, v), v, options)[0]
    return _arrays.namespace(problem.Y).astype(_arrays.from_numpy(v, problem.Y), problem.Y.dtype)


def _pursuit(problem: Problem, d: Array, k: int) -> np.ndarray:
    """Choose entries for given gains by orthogonal matching pursuit, for all snapshots at once or for each."""
    xp, Y = _arrays.namespace(problem.Y), problem.Y
    A = d[:, None] * problem.A
    if problem.model == DIVERSE:
        return np.stack([_greedy(A[l, ...], Y[l, :][:, None], k) for l in range(problem.p)])
    if problem.model == REPEATED:
        return _greedy(xp.reshape(A, (-1, problem.n)), xp.reshape(Y, (-1, 1)), k)
    return _greedy(A, xp.matrix_transpose(Y), k)


def _greedy(A: Array, Y: Array, k: int) -> np.ndarray:
    """Add the column that explains most of what is left, k times."""
    xp = _arrays.namespace(A)
    length = xp.linalg.vector_norm(A, axis=0)
    A = A / xp.where(length > 0, length, xp.ones_like(length))
    found: list[int] = []
    left = Y
    for _ in range(k):
        score = host(xp.linalg.vector_norm(adjoint(A) @ left, axis=1))
        score[found] = -1
        found.append(int(np.argmax(score)))
        Q = _models.basis(xp.take(A, _arrays.from_numpy(np.array(found), A), axis=1))
        left = Y - Q @ (adjoint(Q) @ Y)
    return np.sort(np.array(found))
