"""Construction from lines: bases from the values along a few lines of each axis, and a core that interpolates at chosen nodes.

A grid is never filled: m nodes on some 2 r lines along each of d axes, and r^d points for the core. Lines go through random
points first, then through the points where the function is worst.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.functions import _chebyshev
from lowrank_la.functions._adaptive import Fibres, fibres, finer, joined, kept, refine, settle
from lowrank_la.functions._focus import random_points, sample
from lowrank_la.functions._goal import Built, Goal, attempt, finish, settled
from lowrank_la.functions._parts import Parts
from lowrank_la.functions._sampler import Sampler
from lowrank_la.tensors._truncate import left_vectors

RESTARTS = 10
FIRST_SHARE = 0.25  # of the tolerance, for the bases: interpolation at nodes amplifies what they miss
LINES = 2  # per column of a basis
SPARE = 8  # columns beyond twice the ranks that the caller wants: interpolation in few of them would amplify the others
COARSER = 4.0  # by so much the tolerance of bases is raised until the core fits, and lowered after a failed trial


@dataclass(frozen=True)
class Basis:
    """A basis of the functions of one variable, and as many nodes at which it can be told from others.

    Attributes
    ----------
    V : array (m, r)
        Coefficients; the columns are orthonormal.
    rows : array (r,), on the host
        Indices of nodes.
    at_rows : array (r, r)
        Values of the basis there.
    constant : float
        Norm of the projection of values that interpolates at these nodes.
    """

    V: Array
    rows: np.ndarray
    at_rows: Array
    constant: float


def cross(sampler: Sampler, lines: Sequence[Fibres], goal: Goal) -> Built:
    """Interpolate, look at random points, and add lines through the worst of them until they agree."""
    lines, share, tries = list(lines), FIRST_SHARE, []
    for number in range(RESTARTS):
        lines = [_enough(sampler, F, share * goal.tol, goal, tries[-1][1] if tries else None) for F in lines]
        built = interpolated(sampler, lines, share * goal.tol, goal)
        trial = attempt(sampler, built, goal, number)
        coarse = [k for k in built.short if finer(lines[k].size) <= goal.limit(lines[k].size)]
        if goal.sizes or goal.ranks or (trial.passed and not coarse):
            return settled(built, trial, goal)
        tries.append((trial.excess, built))
        if built.short and not coarse and number and trial.excess > tries[-2][0] / COARSER:
            break  # more lines do not help where degrees are exhausted
        for k in coarse:
            refine(sampler, lines[k])
        lines = [_through(sampler, F, trial.worst, goal) for F in lines]
        share = max(share / COARSER, _arrays.unit_roundoff(sampler.door.xp, sampler.door.dtype) / goal.tol)
    return replace(min(tries, key=lambda pair: pair[0])[1], passed=False)


def _through(sampler: Sampler, lines: Fibres, points: np.ndarray, goal: Goal) -> Fibres:
    """Add lines through some points."""
    more = fibres(sampler, lines.mode, points, lines.size)
    return settle(sampler, joined(lines, more), goal.tol, goal.limit(lines.size))


def _enough(sampler: Sampler, lines: Fibres, tol: float, goal: Goal, built: Built | None) -> Fibres:
    """Add lines through random points until there are two for each column of a basis; half of them near peaks, once these are known."""
    most = LINES * min(lines.size, max(8, _largest_rank(sampler, goal)))
    while sampler.dim > 1:
        count, width = lines.values.shape[2], lines.values.shape[0]
        wanted = min(LINES * _rank(left_vectors(_coefficient_matrix(lines))[1], tol), most)
        if count * width >= wanted:
            break
        more = min(max(wanted, count), most) - count
        purpose = f"chebyshev_tucker lines {lines.mode} {count}"
        if built is None:
            points = random_points(goal.seed, purpose, more, sampler.dim)
        else:
            points = sample(built.parts, goal.seed, purpose, (more + 1) // 2).points
        lines = _through(sampler, lines, points, goal)
    return lines


def _largest_rank(sampler: Sampler, goal: Goal) -> int:
    """Return the rank for which a core with equal ranks just fits."""
    return int((goal.max_bytes / sampler.bytes) ** (1 / sampler.dim))


def _coefficient_matrix(lines: Fibres) -> Array:
    xp = _arrays.namespace(lines.values)
    return xp.reshape(xp.moveaxis(_chebyshev.coefficients(lines.values, axis=1), 1, 0), (lines.size, -1))


def _rank(s: np.ndarray, tol: float) -> int:
    """Return the number of singular values, at least one, so that the norm of the others is at most tol relative to all."""
    return kept(s, tol * float(np.linalg.norm(s)))


def interpolated(sampler: Sampler, lines: Sequence[Fibres], tol: float, goal: Goal) -> Built:
    """Build the function that agrees with the original one at a small grid of nodes."""
    pairs = [left_vectors(_coefficient_matrix(F)) for F in lines]
    ranks = _affordable(sampler, [s for _, s in pairs], tol, goal)
    bases = [_basis(U[:, :r]) for (U, _), r in zip(pairs, ranks, strict=True)]
    core = sampler.grid([_chosen(sampler, F.size, B.rows) for F, B in zip(lines, bases, strict=True)])
    for k, B in enumerate(bases):
        core = _solved(B.at_rows, core, 1 + k)
    parts = Parts(core, tuple(B.V for B in bases), sampler.domain)
    return finish(parts, 0.0, goal, math.prod(B.constant for B in bases))


def _affordable(sampler: Sampler, spectra: Sequence[np.ndarray], tol: float, goal: Goal) -> list[int]:
    """Choose ranks by the tolerance, or by a larger one if the core would not fit."""
    while True:
        ranks = [_rank(s, tol) for s in spectra]
        if goal.ranks:
            ranks = [min(r, 2 * cap + SPARE) for r, cap in zip(ranks, goal.ranks, strict=True)]
        if math.prod(ranks) * sampler.bytes <= goal.max_bytes:
            return ranks
        tol *= COARSER


def _basis(V: Array) -> Basis:
    """Choose nodes by pivoted QR of the values there."""
    from scipy.linalg import qr

    xp = _arrays.namespace(V)
    at_nodes = _chebyshev.values(V, axis=0)
    Q = np.linalg.qr(_arrays.to_numpy(at_nodes))[0]
    _, order = qr(Q.conj().T, mode="r", pivoting=True, check_finite=False)  # type: ignore[misc]
    rows = np.sort(order[: V.shape[1]])
    constant = 1 / max(float(np.linalg.svd(Q[rows], compute_uv=False)[-1]), np.finfo(float).tiny)
    return Basis(V, rows, xp.take(at_nodes, _arrays.from_numpy(rows, V), axis=0), constant)


def _chosen(sampler: Sampler, m: int, rows: np.ndarray) -> Array:
    return sampler.coordinates(_chebyshev.nodes(m)[rows])


def _solved(A: Array, core: Array, axis: int) -> Array:
    """Apply the inverse of A along an axis."""
    xp = _arrays.namespace(A, core)
    front = xp.moveaxis(core, axis, 0)
    solved = xp.linalg.solve(A, xp.reshape(front, (A.shape[0], -1)))
    return xp.moveaxis(xp.reshape(solved, front.shape), 0, axis)
