"""One step of hyper-parameters: of majorisation-minimisation, or of expectation-maximisation with several ways to maximise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sbl._evidence import Evidence
from lowrank_la.sbl._stack import products, total

BALANCED = 1e-6  # slice means of an M-step are that near to 1
SWEEPS, POWERS = 50, 20

Step = Callable[[Evidence], Evidence]


def mm(evidence: Evidence) -> Evidence:
    """Multiply the hyper-parameters of one mode after the other by the ratio of the parts of the gradient, or by its square root.

    The square root never raises the cost: log det is concave in the hyper-parameters, and the quadratic form is bounded by a sum of
    their inverses. The ratio itself goes twice as far, and is kept where the cost falls.
    """
    bold = _sweep(evidence, 1.0)
    bad = np.flatnonzero(~_arrays.to_numpy(bold.cost <= evidence.cost))
    return bold.replaced(bad, _sweep(evidence.take(bad), 0.5)) if bad.size else bold


def _sweep(evidence: Evidence, power: float) -> Evidence:
    xp = evidence.problem.xp
    for i, g in enumerate(evidence.g):
        nums, dens = evidence.slices(i)
        ratio = xp.where(dens > 0, nums, xp.zeros_like(g)) / xp.where(dens > 0, dens, xp.ones_like(g))
        evidence = evidence.with_mode(i, g * ratio**power)
    return even(evidence)


def noise(evidence: Evidence) -> Evidence:
    """Multiply the variance of the noise by the square root of such a ratio; the cost never rises."""
    D, problem, xp = evidence.precision, evidence.problem, evidence.problem.xp
    num = total(D * D * evidence.energies) + problem.spare / evidence.noise**2
    den = problem.snapshots * (total(D) + problem.unseen / evidence.noise)
    return evidence.with_noise(xp.maximum(evidence.noise * xp.sqrt(num / den), problem.floor))


def alternating(evidence: Evidence) -> Evidence:
    """Maximise the expected likelihood exactly, by balancing a tensor."""
    return _moved(evidence, balance(moments(evidence), evidence.g, SWEEPS))


def single_sweep(evidence: Evidence) -> Evidence:
    """Improve the expected likelihood by one sweep over the modes."""
    return _moved(evidence, balance(moments(evidence), evidence.g, 1))


def rank_one(evidence: Evidence) -> Evidence:
    """Fit the second moments by a tensor of rank one, in the least-squares sense; the cost may rise."""
    return _moved(evidence, leading(moments(evidence)))


def moments(evidence: Evidence) -> Array:
    """Return the posterior second moments |x|^2, averaged over snapshots."""
    mean, variance = evidence.posterior()
    xp = evidence.problem.xp
    return variance + xp.mean(xp.abs(mean) ** 2, axis=-1)


def balance(moment: Array, g: Sequence[Array], sweeps: int) -> list[Array]:
    """Minimise sum_p log g_p + moment_p / g_p over g = outer(g_1, ..., g_I), one g_i after the other.

    The problem is convex in log g_i; at the minimum, the slices of moment / outer(g_i) have mean one.
    """
    xp, g = _arrays.namespace(moment), list(g)
    open_ = g[0][:, 0] == g[0][:, 0]
    for _ in range(sweeps):
        worst = xp.zeros_like(g[0][:, 0])
        for i in range(len(g)):
            mean = slice_means(moment, g, i)
            worst = xp.maximum(worst, deviation(mean, g[i]))
            g[i] = xp.where(open_[:, None], g[i] * mean, g[i])
        open_ = open_ & (worst > BALANCED)
        if not bool(xp.any(open_)):
            break
    return g


def slice_means(moment: Array, g: Sequence[Array], mode: int) -> Array:
    """Return the means (B, n_i) of moment / outer(g_i) over the active entries of each slice of a mode."""
    xp = _arrays.namespace(moment)
    inverse = [_inverse(x) for x in g]
    T, count = moment, xp.ones_like(g[0][:, 0])
    for i in reversed(range(len(g))):  # the last axis first
        if i != mode:
            T = _contract(T, inverse[i], i)
            count = count * xp.sum(xp.astype(g[i] > 0, count.dtype), axis=1)
    return xp.reshape(T, g[mode].shape) * inverse[mode] / xp.clip(count, min=1)[:, None]


def _contract(T: Array, v: Array, mode: int) -> Array:
    """Sum over a mode with weights; its axis stays, of length one."""
    xp, shape = _arrays.namespace(T), T.shape
    blocks = xp.reshape(T, (shape[0], math.prod(shape[1 : mode + 1]), shape[mode + 1], math.prod(shape[mode + 2 :])))
    return xp.reshape(v[:, None, None, :] @ blocks, (*shape[: mode + 1], 1, *shape[mode + 2 :]))


def deviation(mean: Array, g: Array) -> Array:
    """Return the largest distance of the means of active slices from 1, (B,)."""
    xp = _arrays.namespace(mean)
    return xp.max(xp.where(g > 0, xp.abs(mean - 1), xp.zeros_like(g)), axis=1)


def _inverse(g: Array) -> Array:
    xp = _arrays.namespace(g)
    return xp.where(g > 0, 1 / xp.where(g > 0, g, xp.ones_like(g)), xp.zeros_like(g))


def leading(moment: Array) -> list[Array]:
    """Return non-negative vectors whose outer product approximates a non-negative tensor: leading pairs of successive unfoldings."""
    xp, vectors = _arrays.namespace(moment), []
    while moment.ndim > 2:
        T = xp.reshape(moment, (*moment.shape[:2], -1))
        v = xp.sum(T, axis=1, keepdims=True)
        u = T @ xp.matrix_transpose(v)
        for _ in range(POWERS):  # the leading vectors of a non-negative matrix are non-negative
            v = xp.matrix_transpose(_unit(u)) @ T
            u = T @ xp.matrix_transpose(v)
        vectors.append(_unit(u)[..., 0])
        moment = xp.reshape(v, (moment.shape[0], *moment.shape[2:]))
    return [*vectors, moment]


def _unit(u: Array) -> Array:
    xp = _arrays.namespace(u)
    return u / xp.clip(xp.linalg.vector_norm(u, axis=1, keepdims=True), min=1e-300)


def rank_one_error(moment: Array, g: Sequence[Array]) -> Array:
    """Return the relative distance of the second moments from the outer product of the variances, (B,)."""
    xp = _arrays.namespace(moment)
    size, gap = (xp.sqrt(total(x * x)) for x in (moment, moment - products(g)))
    return xp.where(size > 0, gap / xp.where(size > 0, size, xp.ones_like(size)), xp.zeros_like(size))


def even(evidence: Evidence) -> Evidence:
    """Move the scales of all modes but the last into the last; nothing else changes."""
    xp, last = evidence.problem.xp, len(evidence.g) - 1
    tops = [xp.max(g, axis=1, keepdims=True) for g in evidence.g[:-1]]
    scales = [xp.where(top > 0, top, xp.ones_like(top)) for top in tops]
    scales.append(1 / math.prod(scales) if scales else xp.ones_like(evidence.g[last][:, :1]))
    g = tuple(x / scale for x, scale in zip(evidence.g, scales, strict=True))
    s2 = tuple(x / scale for x, scale in zip(evidence.s2, scales, strict=True))
    return Evidence(evidence.problem, g, evidence.noise, evidence.U, s2, evidence.Y)


def _moved(evidence: Evidence, g: Sequence[Array]) -> Evidence:
    for i, x in enumerate(g):
        evidence = evidence.with_mode(i, x)
    return even(evidence)
