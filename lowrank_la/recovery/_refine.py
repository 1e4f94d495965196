"""Debiasing: the rank that the data support, then Gauss-Newton steps on the measurements that are no outliers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint
from lowrank_la.recovery import _start
from lowrank_la.recovery._problem import Pair, Problem, absolute, balanced, svd
from lowrank_la.recovery._subgradient import GAUSSIAN

Terms: TypeAlias = tuple[Array, Array, Array]  # P, s, Q of P diag(s) Q^H; Q is P if the model is symmetric

CUT = 3.0  # robust standard deviations from which a measurement is an outlier
STEPS, INNER = 30, 60  # of Gauss-Newton, and of conjugate gradients in each
PATIENCE = 3  # steps that may fail to lower the residual
INEXACT = 1e-4  # reduction of the gradient of each linear problem
WORSE = 1.1  # times the best score that a smaller rank may have
EXACT = 1e-4  # times the tolerance: relative steps and residuals that are as good as none
LEAST_FREE = 0.05  # share of the measurements that a rank must leave
NOISE = 64.0  # roundoff units of the measurements below which nothing is an outlier


def refine(problem: Problem, factors: Pair, *, robust: bool, tol: float) -> Pair:
    """Return debiased factors with as many columns as the rank that was found."""
    terms = svd(factors)
    rank = terms[1].shape[0] + 1
    while (found := detect(problem, terms, robust=robust)) < rank:  # what looked like a term may vanish when polished
        rank = found
        terms = _polish(problem, _leading(terms, rank), robust, tol)
    while rank < problem.rank and _score(problem, terms, robust) > _exact(problem, tol):
        longer = _polish(problem, _extended(problem, terms, robust), robust, tol)
        if not WORSE * _score(problem, longer, robust) < _score(problem, terms, robust):
            break
        terms, rank = longer, rank + 1
    return balanced(*terms, rank)


def _extended(problem: Problem, terms: Terms, robust: bool) -> Terms:
    """Add the leading term of what is left: a small singular value may not have grown out of the start in time."""
    left_over = replace(problem, y=-problem.residual(_pair(terms)), rank=1)
    start = _start.spectral(left_over, robust=robust)
    if start is None:
        return terms
    xp, (U, V), (u, v) = problem.door.xp, _pair(terms), _start.small(start, 1.0, problem.symmetric)
    U_new = xp.concat([U, u], axis=1)
    return svd((U_new, U_new if problem.symmetric else xp.concat([V, v], axis=1)))


def _leading(terms: Terms, rank: int) -> Terms:
    P, s, Q = terms
    P_k = P[:, :rank]
    return P_k, s[:rank], P_k if Q is P else Q[:, :rank]


def _polish(problem: Problem, terms: Terms, robust: bool, tol: float) -> Terms:
    """Take Gauss-Newton steps, each with the weights of the last, until they are small or have stopped to help; return the best."""
    xp, r = problem.door.xp, problem.residual(_pair(terms))
    best, least, patience = terms, _loss(problem, r, robust), PATIENCE
    for _ in range(STEPS):
        moved = _newton_step(problem, terms, r, _weights(problem, r) if robust else problem.fitted)
        shift, terms = _distance(terms, moved), moved
        r = problem.residual(_pair(terms))
        size = _loss(problem, r, robust)
        patience = PATIENCE if size < least else patience - 1
        if size < least:
            best, least = terms, size
        if patience == 0 or shift <= max(EXACT * tol, 4 * _arrays.unit_roundoff(xp, problem.y.dtype)):
            break
    return best


def detect(problem: Problem, terms: Terms, *, robust: bool) -> int:
    """Return the smallest rank whose residual, per degree of freedom, is close to the best."""
    scores = np.asarray([_score(problem, _leading(terms, rank), robust) for rank in range(1, terms[1].shape[0] + 1)])
    if not np.isfinite(scores.min()):
        return len(scores)
    return int(np.argmax(scores <= WORSE * scores.min() + _floor(problem))) + 1


def _score(problem: Problem, terms: Terms, robust: bool) -> float:
    """Return the typical residual over the share of the measurements that the rank leaves free; half of them decide a median."""
    rank, (m, n) = terms[1].shape[0], problem.shape
    unknowns = rank * (m + n - rank) / (2 if problem.symmetric else 1)
    free = 1 - (2 if robust else 1) * unknowns / len(problem.fit)
    return _loss(problem, problem.residual(_pair(terms)), robust) / free if free > LEAST_FREE else math.inf


def _weights(problem: Problem, r: Array) -> Array:
    """Return roots of weights: 1 for inliers, and for others the cut over their residual, so that no row is left without measurements."""
    xp, cut = _arrays.namespace(r), _cut(problem, r)
    size = xp.abs(r)
    return problem.fitted * cut / xp.where(size > cut, size, xp.full_like(size, cut))


def _cut(problem: Problem, r: Array) -> float:
    return max(CUT * GAUSSIAN * problem.typical(r), _floor(problem)) or 1.0


def inliers(problem: Problem, r: Array) -> np.ndarray:
    """Say which measurements are no outliers, on the host."""
    return absolute(r) <= _cut(problem, r)


def _floor(problem: Problem) -> float:
    return NOISE * _arrays.unit_roundoff(problem.door.xp, problem.y.dtype) * float(np.median(absolute(problem.y)))


def _exact(problem: Problem, tol: float) -> float:
    """Return the residual that is called none."""
    return max(2 * _floor(problem), EXACT * tol * float(np.median(absolute(problem.y))))


def _loss(problem: Problem, r: Array, robust: bool) -> float:
    return problem.typical(r) if robust else problem.rms(r)


def _pair(terms: Terms) -> Pair:
    P, s, Q = terms
    return balanced(P, s, Q, s.shape[0])


def _newton_step(problem: Problem, terms: Terms, r: Array, roots: Array) -> Terms:
    """Solve the problem linearised on the tangent space of the rank, and go back to the rank by an SVD."""
    P, s, Q = terms
    dU, dV = _tangent_lstsq(problem, P, Q, -r, roots)
    xp, k = _arrays.namespace(P), s.shape[0]
    left = xp.concat([P * xp.astype(s, P.dtype)[None, :] + dU, P], axis=1)
    if P is Q:
        return _symmetric_terms(P, s, dU)
    P, s, Q = svd((left, xp.concat([Q, dV], axis=1)))
    return P[:, :k], s[:k], Q[:, :k]


def _symmetric_terms(P: Array, s: Array, dU: Array) -> Terms:
    """Return the leading positive eigenpairs of P diag(s) P^H + dU P^H + P dU^H."""
    xp, k = _arrays.namespace(P), s.shape[0]
    basis, R = xp.linalg.qr(xp.concat([P, dU], axis=1))
    first, second = R[:, :k], R[:, k:]
    half = (first * xp.astype(s / 2, P.dtype)[None, :] + second) @ adjoint(first)
    values, W = xp.linalg.eigh(half + adjoint(half))
    P = basis @ xp.flip(W, axis=1)[:, :k]
    return P, xp.flip(xp.where(values > 0, values, xp.zeros_like(values)))[:k], P


def _tangent_lstsq(problem: Problem, P: Array, Q: Array, b: Array, roots: Array) -> Pair:
    """Minimise the sum of w_l^2 |<A_l, dU Q^H + P dV^H> - b_l|^2 by conjugate gradients."""
    xp = _arrays.namespace(P)
    w = xp.astype(roots, b.dtype)
    x, rest = (xp.zeros_like(P), xp.zeros_like(Q)), w * b
    s = problem.pull(w * rest, (P, Q))
    p, gamma = s, _energy(s)
    goal = INEXACT**2 * gamma
    for _ in range(INNER):
        if not gamma > goal:
            break
        q = w * problem.apply((xp.concat([p[0], P], axis=1), xp.concat([Q, p[1]], axis=1)))
        alpha = gamma / (float(xp.linalg.vector_norm(q)) ** 2 or 1.0)
        x, rest = (x[0] + alpha * p[0], x[1] + alpha * p[1]), rest - alpha * q
        s = problem.pull(w * rest, (P, Q))
        last, gamma = gamma, _energy(s)
        p = s[0] + gamma / last * p[0], s[1] + gamma / last * p[1]
    return x


def _energy(pair: Pair) -> float:
    xp = _arrays.namespace(*pair)
    return sum(float(xp.linalg.vector_norm(x)) ** 2 for x in pair)


def _distance(a: Terms, b: Terms) -> float:
    """Return ||A - B||_F / ||B||_F for two matrices given by their singular triples."""
    xp = _arrays.namespace(a[0])
    left = xp.concat([a[0] * xp.astype(a[1], a[0].dtype)[None, :], -b[0] * xp.astype(b[1], b[0].dtype)[None, :]], axis=1)
    R = xp.linalg.qr(left)[1] @ adjoint(xp.linalg.qr(xp.concat([a[2], b[2]], axis=1))[1])
    return float(xp.linalg.matrix_norm(R)) / (float(xp.linalg.vector_norm(b[1])) or 1.0)
