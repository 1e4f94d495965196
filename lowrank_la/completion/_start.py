"""Where the sweeps begin: random factors, a trimmed spectral estimate, or an earlier answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.completion._problem import Factors, Problem
from lowrank_la.completion._sweeps import Fit, Monitor, run, solve_left

LONG = 8  # entries a column keeps in the part, over the rank
ENOUGH = 5  # entries the part keeps, over its parameters
LARGEST_PART = 0.35  # share of the rows above which a part does not pay
SPECTRAL_CHEAP = 1e7  # entries times rank below which it costs next to nothing, and is the safer one
SPECTRAL_BELOW = 2.5  # entries per parameter below which the spectral start saves more sweeps than it costs


def fit(problem: Problem, rank: int, monitor: Monitor, dtype: Any) -> Fit:
    """Fit at one rank, from wherever the options say."""
    init = problem.options.init
    if isinstance(init, Factors):
        start = _with_biases(problem, init.scaled(1 / problem.scale), dtype)
        return run(problem, widen(problem, start, rank), monitor)
    count = len(problem.rows)
    pays = count * rank < SPECTRAL_CHEAP or count < SPECTRAL_BELOW * problem.parameters(rank)
    if init == "spectral" or (init == "auto" and pays and not problem.options.nonnegative):
        return run(problem, spectral(problem, rank, dtype), monitor)
    return _from_part(problem, rank, monitor, dtype)


def _from_part(problem: Problem, rank: int, monitor: Monitor, dtype: Any) -> Fit:
    """Start at random; with entries to spare, find the right factor from a part of the rows first."""
    m, n = problem.shape
    count = len(problem.rows)
    share = max(LONG * rank * n / count, ENOUGH * rank * n / max(1, count - ENOUGH * rank * m))
    if share > LARGEST_PART or problem.options.nonnegative:
        return run(problem, random(problem, rank, dtype), monitor)
    part = problem.part(share)
    rough = run(part, random(part, rank, dtype), monitor)
    left = _arrays.namespace(rough.factors.left).zeros((m, rough.factors.left.shape[1]), dtype=dtype, device=problem.rows.values.device)
    factors = replace(rough.factors, left=left)
    if rough.ending in {"interrupted", "stopped"}:
        return replace(rough, factors=solve_left(problem, factors, rough.ridge))
    return run(problem, factors, monitor, noise=rough.noise, rate=rough.rate)


def _with_biases(problem: Problem, factors: Factors, dtype: Any) -> Factors:
    """Give an earlier answer bias columns, if the problem has biases and it does not."""
    xp = _arrays.namespace(factors.left)
    left, right = (xp.astype(side, dtype) for side in (factors.left, factors.right))
    if not problem.bias or factors.unit:
        return Factors(left, right, factors.mean, factors.unit)
    left, right = (xp.concat([side, xp.zeros_like(side[:, :1])], axis=1) for side in (left, right))
    return Factors(left, right, problem.mean, problem.unit(factors.rank))


def random(problem: Problem, rank: int, dtype: Any) -> Factors:
    """Draw the right factor of a model with the variance of the data; the first half sweep finds the left one."""
    m, n = problem.shape
    unit, width = problem.unit(rank), rank + problem.bias
    drawn = _random.host_generator(problem.seed, "complete: start").standard_normal((n, width)) * unit
    if problem.bias:
        drawn[:, rank] = 0.0
    if problem.options.nonnegative:
        drawn = abs(drawn)
    like = problem.rows.values
    xp = _arrays.namespace(like)
    left = xp.full((m, width), unit if problem.options.nonnegative else 0.0, dtype=dtype, device=like.device)
    return Factors(left, xp.astype(_arrays.from_numpy(drawn, like), dtype), problem.mean, unit if problem.bias else 0.0)


def spectral(problem: Problem, rank: int, dtype: Any) -> Factors:
    """Take the leading singular vectors of the entries, rare ones scaled up: an unbiased estimate of the matrix."""
    from lowrank_la.completion._leading import leading

    m, n = problem.shape
    left, s, right = leading(problem, rank)
    xp = _arrays.namespace(left)
    root = xp.sqrt(s * (m * n / len(problem.rows)))
    sides = [_clip(xp, left) * root, _clip(xp, right) * root]
    unit = problem.unit(rank) if problem.bias else 0.0
    if problem.bias:
        sides = [xp.concat([side, xp.zeros_like(side[:, :1])], axis=1) for side in sides]
    if problem.options.nonnegative:
        sides = [xp.abs(side) for side in sides]
    return Factors(xp.astype(sides[0], dtype), xp.astype(sides[1], dtype), problem.mean, unit)


def _clip(xp: Any, Q: Array) -> Array:
    """Shorten rows of an orthonormal basis that carry over ten times their fair share."""
    lengths = xp.linalg.vector_norm(Q, axis=1)
    fair = 10**0.5 * (Q.shape[1] / Q.shape[0]) ** 0.5
    return Q * (fair / xp.where(lengths > fair, lengths, xp.full_like(lengths, fair)))[:, None]


def widen(problem: Problem, factors: Factors, rank: int) -> Factors:
    """Add columns to factors up to a rank: small random ones on the right, zeros on the left."""
    missing = rank - factors.rank
    if missing <= 0:
        return factors
    xp = _arrays.namespace(factors.right)
    k, (m, n) = factors.rank, problem.shape
    drawn = _random.host_generator(problem.seed, f"complete: columns {k} to {rank}").standard_normal((n, missing)) * problem.unit(rank)
    fresh = xp.astype(_arrays.from_numpy(drawn, factors.right), factors.right.dtype)
    zeros = xp.zeros((m, missing), dtype=factors.left.dtype, device=factors.left.device)
    if problem.options.nonnegative:
        fresh, zeros = xp.abs(fresh), zeros + problem.unit(rank)
    left = xp.concat([factors.left[:, :k], zeros, factors.left[:, k:]], axis=1)
    right = xp.concat([factors.right[:, :k], fresh, factors.right[:, k:]], axis=1)
    return Factors(left, right, factors.mean, factors.unit)


def narrow(factors: Factors, rank: int) -> Factors:
    """Keep the leading columns of balanced factors."""
    xp = _arrays.namespace(factors.left)
    k = factors.rank
    left, right = (xp.concat([side[:, :rank], side[:, k:]], axis=1) for side in (factors.left, factors.right))
    return Factors(left, right, factors.mean, factors.unit)
