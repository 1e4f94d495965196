"""Construction on a full grid of samples: the grid is filled, compressed mode by mode with a known error, and refined where needed.

Transforms act on the small bases that come out of the compression, not on the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import conj
from lowrank_la.functions import _chebyshev
from lowrank_la.functions._adaptive import finer, interleaved
from lowrank_la.functions._goal import Built, Goal, attempt, finish, settled
from lowrank_la.functions._parts import Parts, frobenius, orthonormal
from lowrank_la.functions._sampler import Sampler

WIDTH = 24  # columns of the first sketch of a mode
LEAST = 1 << 16  # entries of a tensor for which a sketch pays
SHARE = 0.05  # of the tolerance, for the compression of samples
ROUNDING = 4.0  # roundoff units below which no residual falls
BLOCK = 1 << 15  # entries whose residual is formed at a time
SPARE = 8  # columns beyond those that a first sketch says are needed


def on_grid(sampler: Sampler, sizes: Sequence[int], goal: Goal) -> Built:
    """Fill a grid of `sizes` nodes and refine it until the coefficients decay and random points agree, or it grows too large."""
    T, number = sampler.grid([sampler.nodes(m) for m in sizes]), 0
    while True:
        built = from_samples(T, sampler.domain, goal)
        if goal.sizes or not built.short:
            built = settled(built, attempt(sampler, built, goal, number), goal)
        if goal.sizes or built.resolved:
            return built
        modes = affordable(T.shape[1:], built.short or range(sampler.dim), sampler.bytes, goal)
        if not modes:
            return built
        for k in modes:
            T = _refined(sampler, T, k)
        number += 1


def affordable(shape: Sequence[int], modes: Sequence[int], itemsize: int, goal: Goal) -> tuple[int, ...]:
    """Return the modes that can be refined, the coarsest first, within the limits of degree and memory."""
    sizes, chosen = list(shape), []
    for k in sorted(modes, key=lambda k: sizes[k]):
        more = math.prod(sizes) // sizes[k] * finer(sizes[k])
        if finer(sizes[k]) <= goal.most and more * itemsize <= goal.max_bytes:
            sizes[k] = finer(sizes[k])
            chosen.append(k)
    return tuple(chosen)


def _refined(sampler: Sampler, T: Array, mode: int) -> Array:
    """Sample the slices between those that are there."""
    axes = [sampler.nodes(m) for m in T.shape[1:]]
    axes[mode] = sampler.nodes(finer(T.shape[1 + mode]))[1::2]
    return interleaved(T, sampler.grid(axes), 1 + mode)


def from_samples(T: Array, domain: np.ndarray, goal: Goal) -> Built:
    """Turn samples (p, m_1, ..., m_d) at the nodes into a function."""
    return finish(*on_nodes(T, domain, goal.tol, goal.seed), goal)


def on_nodes(T: Array, domain: np.ndarray, tol: float, seed: int) -> tuple[Parts, float]:
    """Turn samples into coefficients with orthonormal factors, and bound the norm of those that are left out."""
    core, bases, lost = compress(T, tol, seed)
    factors = []
    for k, Q in enumerate(bases):
        if Q is None:
            core = _chebyshev.coefficients(core, axis=1 + k)
            factors.append(_arrays.namespace(core).eye(T.shape[1 + k], dtype=core.dtype, device=core.device))
        else:
            factors.append(_chebyshev.coefficients(Q, axis=0))
    amplified = lost * math.prod(math.sqrt(2 / (m - 1)) for m in T.shape[1:] if m > 1)
    return orthonormal(Parts(core, tuple(factors), domain)), amplified


def compress(T: Array, tol: float, seed: int) -> tuple[Array, list[Array | None], float]:
    """Write T (p, m_1, ..., m_d) as core x_k bases[k], columns orthonormal, None where a mode stays as it is; return the error too.

    The last mode comes first, whose fibres lie together in memory; once compressed it stands in front, so that after d turns
    all modes are in order again.
    """
    xp, d = _arrays.namespace(T), T.ndim - 1
    energy = frobenius(T) ** 2
    least = (ROUNDING * _arrays.unit_roundoff(xp, T.dtype)) ** 2
    allowed = max((SHARE * tol) ** 2 / 2**d, least) * energy / d
    bases: list[Array | None] = [None] * d
    core, lost = T, 0.0
    for k in range(d - 1, -1, -1):
        found = _range(core, energy, allowed, seed)
        if found is None:
            core = xp.moveaxis(core, -1, 0)
        else:
            bases[k], core, left = found
            lost += left
    return xp.moveaxis(core, -1, 0), bases, math.sqrt(lost)


def _range(T: Array, energy: float, allowed: float, seed: int) -> tuple[Array, Array, float] | None:
    """Find Q with T ~ P x_last Q, up to an energy that is at most `allowed`; None if that takes half of the fibre.

    Returns Q, P with its last mode in front, and the energy that is left. If a sketch is too narrow, the energy that it leaves
    tells the width of the next one.
    """
    xp, m, width = _arrays.namespace(T), T.shape[-1], WIDTH
    while math.prod(T.shape) >= LEAST and 2 * width <= m:
        Q = xp.linalg.qr(_sketch(T, width, seed), mode="reduced")[0]
        P, left = _projected(xp.reshape(T, (-1, m)), Q)
        if left <= allowed:
            return Q, xp.reshape(P, (Q.shape[1], *T.shape[:-1])), left
        decay = math.log(left / energy) / math.log(allowed / energy)
        width = max(width + WIDTH // 2, math.ceil(width / max(decay, 1 / m)) + SPARE)
    return None


def _sketch(T: Array, width: int, seed: int) -> Array:
    """Return random combinations (m, width) of the fibres along the last axis; their weights are products of normal numbers."""
    xp, (*lead, n, m) = _arrays.namespace(T), T.shape
    count, rng = math.prod(lead), _random.host_generator(seed, f"chebyshev_tucker sketch {width}")
    real = _arrays.real_dtype(xp, T.dtype)
    inner, outer = (xp.astype(_arrays.from_numpy(rng.standard_normal((width, size)), T), real) for size in (n, count))
    rows = xp.astype(inner, T.dtype) @ xp.reshape(T, (count, n, m))
    return xp.matrix_transpose(xp.sum(rows * xp.matrix_transpose(outer)[:, :, None], axis=0))


def _projected(A: Array, Q: Array) -> tuple[Array, float]:
    """Return the components P^T of rows in the range of Q, A ~ P Q^T, and the energy of what is left.

    Blocks of rows stay in the cache. A compiled loop would wait for the threads of BLAS, which spin after the sketch.
    """
    xp = _arrays.namespace(A)
    P = xp.empty((Q.shape[1], A.shape[0]), dtype=A.dtype, device=A.device)
    conjugate, transpose, left = conj(Q), xp.matrix_transpose(Q), 0.0
    for first, rows in _arrays.row_blocks(A, max(1, BLOCK // A.shape[1])):
        inside = rows @ conjugate
        P[:, first : first + rows.shape[0]] = xp.matrix_transpose(inside)
        left += float(xp.linalg.vector_norm(rows - inside @ transpose)) ** 2
    return P, left
