"""Expectation-maximisation with one prior variance for each column, on the columns that are still in use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.sbl._columns import columns, rows, scattered, used
from lowrank_la.sbl._problem import Problem, square


@dataclass(frozen=True)
class Prior:
    """Prior variances of columns of length one, and the variance of the noise."""

    g: Array
    noise: float


@dataclass(frozen=True)
class Moments:
    """What one factorization of the covariance of the data gives.

    Attributes
    ----------
    mean : array (N, L)
        Posterior means.
    variance : array (N,)
        Posterior variances.
    slope : array (N,)
        g times the derivative of the cost.
    residual : float
        ||Y - A mean||^2.
    inverse_trace : float
        Trace of the inverse of the covariance.
    cost : float
        log det + trace of (covariance of the data)^-1 Y Y^H.
    """

    mean: Array
    variance: Array
    slope: Array
    residual: float
    inverse_trace: float
    cost: float


@dataclass(frozen=True)
class Climb:
    """Where expectation-maximisation ended, the costs before each step, and what the last step changed."""

    prior: Prior
    costs: tuple[float, ...]
    change: float


@dataclass(frozen=True)
class Rule:
    """How to step: whether the noise is learnt, when an atom is dropped, and the weight of neighbours."""

    learn: bool
    prune: float
    coupling: float = 0.0


def flat(problem: Problem, noise: float | None) -> Prior:
    """Start with all atoms alike, scaled so that the expected energy of the data is the measured one."""
    xp, power = _arrays.namespace(problem.Y), problem.energy / problem.snapshots
    g = xp.astype(problem.alive[0], xp.float64)
    first = 0.1 * power / problem.size if noise is None else max(noise, problem.floor)
    return Prior(g * (power / max(float(xp.sum(g)), 1.0)), first)


def climb(problem: Problem, prior: Prior, rule: Rule, *, tol: float, max_iter: int) -> Climb:
    """Step until the prior variances change by at most `tol`."""
    costs, change = [], math.inf
    while len(costs) < max_iter and change > tol:
        now = moments(problem, prior)
        after = _step(problem, prior, now, rule)
        change = _change(prior.g, after.g)
        costs.append(now.cost)
        prior = after
    return Climb(prior, tuple(costs), change)


def moments(problem: Problem, prior: Prior) -> Moments:
    """Factor C = noise I + A diag(g) A^H = F F^H; everything else is F^-1 A and F^-1 Y."""
    atoms, noise, L, n = used(prior.g), prior.noise, problem.snapshots, problem.A[0].shape[1]
    A, g, Y = columns(problem.A[0], atoms), rows(prior.g, atoms), problem.Y
    xp, unseen = _arrays.namespace(A), problem.size - A.shape[0]
    B, one = A * xp.sqrt(g), _dense.eye(_arrays.namespace(A), A.shape[0], A)
    F = xp.linalg.cholesky(B @ _dense.adjoint(B) + noise * one)
    inverse = _arrays.solve_triangular(_dense.adjoint(F), one, adjoint=True)
    W, V = inverse @ A, inverse @ Y
    S, Q = xp.sum(xp.abs(W) ** 2, axis=0), _dense.adjoint(W) @ V
    logs = 2 * float(xp.sum(xp.log(xp.real(xp.linalg.diagonal(F))))) + unseen * math.log(noise)
    return Moments(
        mean=scattered(g[:, None] * Q, atoms, n),
        variance=scattered(xp.clip(g - g**2 * S, 0), atoms, n),
        slope=scattered(g * (L * S - xp.sum(xp.abs(Q) ** 2, axis=1)), atoms, n),
        residual=noise**2 * square(_dense.adjoint(inverse) @ V) + problem.spare,
        inverse_trace=square(inverse) + unseen / noise,
        cost=L * logs + square(V) + problem.spare / noise,
    )


def _step(problem: Problem, prior: Prior, now: Moments, rule: Rule) -> Prior:
    xp = _arrays.namespace(prior.g)
    g = now.variance + xp.mean(xp.abs(now.mean) ** 2, axis=1)
    if rule.coupling:
        g = _coupled(g, rule)
    g = xp.where((g < rule.prune * xp.max(g)) | ~problem.alive[0], xp.zeros_like(g), g)
    if not rule.learn:
        return Prior(g, prior.noise)
    freedom = problem.size - prior.noise * now.inverse_trace
    noise = (now.residual / problem.snapshots + prior.noise * freedom) / problem.size
    return Prior(g, max(noise, problem.floor))


def _coupled(moment: Array, rule: Rule) -> Array:
    """Average second moments, then their inverses, over neighbours; an atom next to one that is dropped is dropped too."""
    xp = _arrays.namespace(moment)
    around = _averaged(moment, rule.coupling)
    small = around <= rule.prune * xp.max(around)
    precision = _averaged(1 / xp.where(small, xp.ones_like(around), around), rule.coupling)
    return xp.where(_averaged(xp.astype(small, xp.float64), rule.coupling) > 0, xp.zeros_like(around), 1 / precision)


def _averaged(x: Array, coupling: float) -> Array:
    xp = _arrays.namespace(x)
    end = xp.zeros_like(x[:1])
    both = xp.concat([x[1:], end]) + xp.concat([end, x[:-1]])
    return (x + coupling * both) / (1 + 2 * coupling)


def _change(old: Array, new: Array) -> float:
    norm = _arrays.namespace(old).linalg.vector_norm
    size = max(float(norm(old)), float(norm(new)))
    return float(norm(new - old)) / size if size > 0 else 0.0
