"""Debiasing: the rank that the data support, then Gauss-Newton steps on the measurements that are no outliers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint
from lowrank_la.recovery import _start
from lowrank_la.recovery._problem import Pair, Problem, Terms, absolute, balanced, svd
from lowrank_la.recovery._subgradient import GAUSSIAN
from lowrank_la.recovery._tangent import Tangent

CUT = 3.0  # robust standard deviations from which a measurement is an outlier
STEPS, SEARCH, INNER = 30, 10, 60  # of Gauss-Newton, for ranks that are tried, and of conjugate gradients in each
PATIENCE = 3  # steps that may fail to lower the residual
INEXACT = 1e-4  # reduction of the gradient of each linear problem
WORSE = 1.1  # times the best score that a smaller rank may have
BETTER = 1.02  # times the score of a larger rank that the search goes on to
EXACT = 1e-4  # times the tolerance: relative steps and residuals that are as good as none
LEAST_FREE = 0.05  # share of the measurements that a rank must leave
NOISE = 64.0  # roundoff units of the measurements: residuals that are rounding errors
SHARP = 0.1  # roots of the roundoff unit, of the measurements: residuals below are no outliers


def refine(problem: Problem, factors: Pair, *, robust: bool, tol: float) -> Terms:
    """Return the debiased model, with as many terms as the rank that was found."""
    first = terms = svd(factors)
    rank = terms[1].shape[0] + 1
    while (found := detect(problem, terms, robust=robust)) < rank:  # what looked like a term may vanish when polished
        rank = found
        terms = _polish(problem, _leading(terms, rank), robust, tol)
    return _shortened(problem, _lengthened(problem, terms, first, robust, tol), robust, tol)


def _lengthened(problem: Problem, terms: Terms, first: Terms, robust: bool, tol: float) -> Terms:
    """Add terms as long as the score improves: a new one, or the next of the model that debiasing began with."""
    while (rank := terms[1].shape[0]) < problem.rank and (score := _score(problem, terms, robust)) > _exact(problem, tol):
        for longer in (_extended(problem, terms, robust), _leading(first, rank + 1)):
            longer = _polish(problem, longer, robust, tol, SEARCH)
            if BETTER * _score(problem, longer, robust) < score:
                break
        else:
            break
        terms = longer
    return _polish(problem, terms, robust, tol)


def _shortened(problem: Problem, terms: Terms, robust: bool, tol: float) -> Terms:
    """Take off terms that are not missed: one that only fits a few gross errors leaves the median of the rest as it is."""
    most = WORSE * _score(problem, terms, robust) + rounding(problem)
    while (rank := terms[1].shape[0]) > 1:
        shorter = _polish(problem, _leading(terms, rank - 1), robust, tol)
        if _score(problem, shorter, robust) > most:
            break
        terms = shorter
    return terms


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


def _polish(problem: Problem, terms: Terms, robust: bool, tol: float, steps: int = STEPS) -> Terms:
    """Take Gauss-Newton steps, each with the weights of the last, until they are small or have stopped to help; return the best."""
    xp, r = problem.door.xp, problem.residual(_pair(terms))
    best, least, patience = terms, _loss(problem, r, robust), PATIENCE
    for _ in range(steps):
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
    return int(np.argmax(scores <= WORSE * scores.min() + rounding(problem))) + 1


def _score(problem: Problem, terms: Terms, robust: bool) -> float:
    """Return the typical residual over the share of the measurements that the rank leaves free.

    Half of them decide a median; a model that fits clearly more measurements than it has unknowns to rounding errors fits them all.
    """
    r, count = problem.residual(_pair(terms)), len(problem.fit)
    needed = unknowns(problem, terms[1].shape[0])
    free = 1 - (2 if robust else 1) * needed / count
    if robust and free <= LEAST_FREE:
        free = (np.count_nonzero(absolute(r)[problem.fit] <= rounding(problem)) - needed) / count
    return _loss(problem, r, robust) / free if free > LEAST_FREE else math.inf


def unknowns(problem: Problem, rank: int) -> int:
    """Count the numbers that a matrix of this rank is made of, complex ones if the measurements are, as real ones are by real ones."""
    m, n = problem.shape
    return rank * (2 * m - rank + 1) // 2 if problem.symmetric else rank * (m + n - rank)


def _weights(problem: Problem, r: Array) -> Array:
    """Return roots of weights: 1 for inliers, and for others the cut over their residual, so that no row is left without measurements."""
    xp, most = _arrays.namespace(r), cut(problem, r)
    size = xp.abs(r)
    return problem.fitted * most / xp.where(size > most, size, xp.full_like(size, most))


def cut(problem: Problem, r: Array) -> float:
    """Return the residual from which a measurement is an outlier: none below the size where rows that converge late would be ones."""
    sharp = SHARP * _arrays.unit_roundoff(problem.door.xp, problem.y.dtype) ** 0.5 * problem.typical(problem.y)
    return max(CUT * GAUSSIAN * problem.typical(r), sharp, rounding(problem)) or 1.0


def inliers(problem: Problem, r: Array) -> np.ndarray:
    """Say which measurements are no outliers, on the host."""
    return absolute(r) <= cut(problem, r)


def rounding(problem: Problem) -> float:
    """Return the size of residuals that are rounding errors."""
    return NOISE * _arrays.unit_roundoff(problem.door.xp, problem.y.dtype) * float(np.median(absolute(problem.y)))


def _exact(problem: Problem, tol: float) -> float:
    """Return the residual that is called none."""
    return max(2 * rounding(problem), EXACT * tol * float(np.median(absolute(problem.y))))


def _loss(problem: Problem, r: Array, robust: bool) -> float:
    return problem.typical(r) if robust else problem.rms(r)


def _pair(terms: Terms) -> Pair:
    P, s, Q = terms
    return balanced(P, s, Q, s.shape[0])


def _newton_step(problem: Problem, terms: Terms, r: Array, roots: Array) -> Terms:
    """Solve the problem linearised on the tangent space of the rank, and go back to the rank by an SVD."""
    P, s, Q = terms
    tangent = Tangent(problem, P, Q, roots)
    step = tangent.solve(-tangent.adjoint(tangent.w[:, None] * r[:, None]), INEXACT, INNER)
    dU, dV = (x[0, ...] for x in tangent.factors(step))
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


def _distance(a: Terms, b: Terms) -> float:
    """Return ||A - B||_F / ||B||_F for two matrices given by their singular triples."""
    xp = _arrays.namespace(a[0])
    left = xp.concat([a[0] * xp.astype(a[1], a[0].dtype)[None, :], -b[0] * xp.astype(b[1], b[0].dtype)[None, :]], axis=1)
    R = xp.linalg.qr(left)[1] @ adjoint(xp.linalg.qr(xp.concat([a[2], b[2]], axis=1))[1])
    return float(xp.linalg.matrix_norm(R)) / (float(xp.linalg.vector_norm(b[1])) or 1.0)
