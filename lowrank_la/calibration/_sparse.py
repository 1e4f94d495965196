"""Sparse signals: find the support, then solve on it as if it had been known."""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.calibration import _models, _polish, _spectral
from lowrank_la.calibration._problem import DIVERSE, REPEATED, Problem, counts, enough
from lowrank_la.calibration._spectral import Options
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, conj, host

ROUNDS = 10  # of supports and gains
STEPS = 500  # of the truncated power method


def support(problem: Problem, k: int, options: Options) -> np.ndarray:
    """Find the k entries that matter: (k,), or (p, k) for the model "diverse"."""
    xp = _arrays.namespace(problem.Y)
    v = _spectral.first_sizes(host(xp.sum(xp.abs(problem.Y) ** 2, axis=0)))
    if options.unit_modulus:
        v = np.ones_like(v)
    if problem.model == REPEATED:
        found = _truncated(problem, v, k)
        d = _fitted(problem, found, options, v)
    else:
        d = _first_gains(problem, v, options)
        found = _pursuit(problem, d, k)
    for _ in range(ROUNDS):
        d = _fitted(problem, found, options, v)
        again = _pursuit(problem, d, k)
        if np.array_equal(again, found):
            break
        found = again
    return found


def _fitted(problem: Problem, found: np.ndarray, options: Options, v: np.ndarray) -> Array:
    small = problem.columns(found)
    d, _ = _spectral.gains(lambda v: _models.eliminate(small, v), v, options)
    return _polish.polish(small, d, options, 10).d


def _first_gains(problem: Problem, v: np.ndarray, options: Options) -> Array:
    """Take the answer for dense signals if there is one, else gains of phase zero."""
    if enough(counts(problem)):
        return _spectral.gains(lambda v: _models.eliminate(problem, v), v, options)[0]
    return _arrays.namespace(problem.Y).astype(_arrays.from_numpy(v, problem.Y), problem.Y.dtype)


def _truncated(problem: Problem, v: np.ndarray, k: int) -> np.ndarray:
    """Find the smallest sparse quotient of K - B^H diag(1 / q) B, the matrix with the gains eliminated, by truncated power steps."""
    xp, Y = _arrays.namespace(problem.Y), problem.Y
    A = _arrays.from_numpy(v, Y)[:, None] * problem.A
    q = xp.sum(xp.abs(Y) ** 2, axis=0)
    B = xp.sum(conj(Y)[:, :, None] * A, axis=0) / xp.sqrt(q)[:, None]
    H = xp.sum(adjoint(A) @ A, axis=0) - adjoint(B) @ B
    values, V = xp.linalg.eigh((H + adjoint(H)) / 2)
    H = float(values[-1]) * _dense.eye(xp, problem.n, H) - H
    x, found = V[:, 0], np.arange(problem.n)
    for keep in _shrinking(problem.n, k):
        for _ in range(STEPS // 10):
            x, found = _cut(H @ x[:, None], keep)
    for _ in range(STEPS):
        last = found
        x, found = _cut(H @ x[:, None], k)
        if np.array_equal(last, found):
            break
    return found


def _shrinking(n: int, k: int) -> list[int]:
    """Let the number of entries fall by a factor two at a time: fewer wrong turns."""
    sizes = []
    while n > 2 * k:
        n //= 2
        sizes.append(n)
    return sizes


def _cut(x: Array, k: int) -> tuple[Array, np.ndarray]:
    """Keep the k largest entries."""
    xp, x = _arrays.namespace(x), x[:, 0]
    size = host(xp.abs(x))
    found = np.sort(np.argsort(-size, kind="stable")[:k])
    mask = np.zeros(size.size)
    mask[found] = 1
    x = x * _arrays.from_numpy(mask, x)
    return x / xp.linalg.vector_norm(x), found


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
