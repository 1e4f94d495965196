"""One step of hyper-parameters: of majorisation-minimisation, or of expectation-maximisation with several ways to maximise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sbl._evidence import Evidence, outer
from lowrank_la.tensors import _modes

BALANCED = 1e-6  # slice means of an M-step are that near to 1
SWEEPS, POWERS = 50, 20

Step = Callable[[Evidence], Evidence]


def mm(evidence: Evidence) -> Evidence:
    """Multiply the hyper-parameters of one mode after the other by the ratio of the parts of the gradient, or by its square root.

    The square root never raises the cost: log det is concave in the hyper-parameters, and the quadratic form is bounded by a sum of
    their inverses. The ratio itself goes twice as far, and is kept where the cost falls.
    """
    bold = _sweep(evidence, 1.0)
    return even(bold if bold.cost() <= evidence.cost() else _sweep(evidence, 0.5))


def _sweep(evidence: Evidence, power: float) -> Evidence:
    for i, g in enumerate(evidence.g):
        nums, dens = evidence.slices(i)
        xp = _arrays.namespace(g)
        ratio = xp.where(dens > 0, nums, xp.zeros_like(g)) / xp.where(dens > 0, dens, xp.ones_like(g))
        evidence = evidence.with_mode(i, g * ratio**power)
    return evidence


def noise(evidence: Evidence) -> Evidence:
    """Multiply the variance of the noise by the square root of such a ratio; the cost never rises."""
    D, problem = evidence.precision(), evidence.problem
    xp = _arrays.namespace(D)
    num = float(xp.sum((D * xp.abs(evidence.Y)) ** 2)) + problem.spare / evidence.noise**2
    den = problem.snapshots * (float(xp.sum(D)) + problem.unseen / evidence.noise)
    return evidence.with_noise(max(evidence.noise * math.sqrt(num / den), problem.floor))


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
    xp = _arrays.namespace(variance)
    return variance + xp.mean(xp.abs(mean) ** 2, axis=-1)


def balance(moment: Array, g: Sequence[Array], sweeps: int) -> list[Array]:
    """Minimise sum_p log g_p + moment_p / g_p over g = outer(g_1, ..., g_I), one g_i after the other.

    The problem is convex in log g_i; at the minimum, the slices of moment / outer(g_i) have mean one.
    """
    g = list(g)
    for _ in range(sweeps):
        worst = 0.0
        for i in range(len(g)):
            mean = slice_means(moment, g, i)
            worst = max(worst, deviation(mean, g[i]))
            g[i] = g[i] * mean
        if worst <= BALANCED:
            break
    return g


def slice_means(moment: Array, g: Sequence[Array], mode: int) -> Array:
    """Return the means of moment / outer(g_i) over the active entries of each slice of a mode."""
    xp = _arrays.namespace(moment)
    rows = [_inverse(x)[None, :] for x in g]
    counts = [int(xp.sum(xp.astype(x > 0, xp.int64))) for j, x in enumerate(g) if j != mode]
    total = _modes.multiply_all(moment, [None if j == mode else row for j, row in enumerate(rows)])
    return xp.reshape(total, (-1,)) * rows[mode][0, :] / max(1, math.prod(counts))


def deviation(mean: Array, g: Array) -> float:
    """Return the largest distance of the means of active slices from 1."""
    xp = _arrays.namespace(mean)
    return float(xp.max(xp.where(g > 0, xp.abs(mean - 1), xp.zeros_like(g))))


def _inverse(g: Array) -> Array:
    xp = _arrays.namespace(g)
    return xp.where(g > 0, 1 / xp.where(g > 0, g, xp.ones_like(g)), xp.zeros_like(g))


def leading(moment: Array) -> list[Array]:
    """Return non-negative vectors whose outer product approximates a non-negative tensor: leading pairs of successive unfoldings."""
    xp, vectors = _arrays.namespace(moment), []
    while moment.ndim > 1:
        T = xp.reshape(moment, (moment.shape[0], -1))
        v = xp.sum(T, axis=0)
        u = T @ v
        for _ in range(POWERS):  # the leading vectors of a non-negative matrix are non-negative
            u = u / max(float(xp.linalg.vector_norm(u)), 1e-300)
            v = u @ T
            u = T @ v
        vectors.append(u / max(float(xp.linalg.vector_norm(u)), 1e-300))
        moment = xp.reshape(v, tuple(moment.shape[1:]))
    return [*vectors, moment]


def rank_one_error(moment: Array, g: Sequence[Array]) -> float:
    """Return the relative distance of the second moments from the outer product of the variances."""
    xp = _arrays.namespace(moment)
    size = float(xp.linalg.vector_norm(xp.reshape(moment, (-1,))))
    gap = float(xp.linalg.vector_norm(xp.reshape(moment - outer(g), (-1,))))
    return gap / size if size > 0 else 0.0


def even(evidence: Evidence) -> Evidence:
    """Move the scales of all modes but the last into the last; nothing else changes."""
    scales = [float(_arrays.namespace(g).max(g)) for g in evidence.g[:-1]]
    if not all(scale > 0 for scale in scales):
        return evidence
    last, product = len(scales), math.prod(scales)
    g = [x / scale for x, scale in zip(evidence.g[:-1], scales, strict=True)]
    s2 = [x / scale for x, scale in zip(evidence.s2[:-1], scales, strict=True)]
    return Evidence(
        evidence.problem,
        (*g, evidence.g[last] * product),
        evidence.noise,
        evidence.U,
        (*s2, evidence.s2[last] * product),
        evidence.Y,
    )


def _moved(evidence: Evidence, g: Sequence[Array]) -> Evidence:
    for i, x in enumerate(g):
        evidence = evidence.with_mode(i, x)
    return even(evidence)
