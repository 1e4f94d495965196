"""What a construction is to reach and what it may cost, and what it has reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint
from lowrank_la.functions import _chebyshev, _evaluate, _parts
from lowrank_la.functions._adaptive import PARITY, kept, resolved, slice_norms, tails_of
from lowrank_la.functions._focus import sample
from lowrank_la.functions._parts import Parts
from lowrank_la.functions._sampler import Sampler
from lowrank_la.tensors._modes import multiply, unfold
from lowrank_la.tensors._truncate import truncate

TRIALS = 128  # points at which a construction is compared with the function before it is accepted
SLACK = 2.0  # times the tolerance that the root mean square at these points may be
PEAK = 20.0  # times the tolerance that the largest error may be, over the norm of coefficients or the largest value
BLOCK = 1 << 21  # numbers of a contraction with tables at a time
WORST = 8  # points that are remembered


@dataclass(frozen=True)
class Goal:
    """The relative tolerance in the Frobenius norm of coefficients, caps, and the seed.

    Attributes
    ----------
    tol : float
    ranks : tuple of int or None
        Most ranks.
    sizes : tuple of int or None
        Numbers of nodes that the caller has fixed.
    most : int
        Most nodes of a variable.
    max_bytes : int
        Most memory for an array of samples.
    seed : int
    """

    tol: float
    ranks: tuple[int, ...] | None
    sizes: tuple[int, ...] | None
    most: int
    max_bytes: int
    seed: int

    def limit(self, m: int) -> int:
        """Return the most nodes of a variable that has m now."""
        return m if self.sizes else self.most


@dataclass(frozen=True)
class Built:
    """A function, and what is known of its error; the core has an axis for outputs in front.

    Attributes
    ----------
    parts : Parts
    short : tuple of int
        Variables whose coefficients have not decayed.
    truncation : float
        Bound on the Frobenius norm of the coefficients that were left out.
    tail : tuple of float
        Norm of the last slices of coefficients before they were dropped, over that of all.
    passed : bool
        Whether random points agreed.
    stability : float
    """

    parts: Parts
    short: tuple[int, ...]
    truncation: float
    tail: tuple[float, ...]
    passed: bool = True
    stability: float = 1.0

    @property
    def resolved(self) -> bool:
        """Whether the tolerance has been reached, as far as known."""
        return self.passed and not self.short


def finish(parts: Parts, lost: float, goal: Goal, stability: float = 1.0) -> Built:
    """Look at the tails of a function with orthonormal factors, drop coefficients that have decayed, and lower the ranks.

    `lost` bounds the norm of what had been left out before.
    """
    size, d = _parts.frobenius(parts.core), parts.dim
    parts, error = truncated(parts, goal.tol / 2 * size, goal.ranks)
    drop = goal.tol / (2 * math.sqrt(d)) * size
    norms = [row_norms(parts, k) for k in range(d)]
    short = tuple(k for k in range(d) if not resolved(norms[k], drop))
    tails = [tails_of(e) for e in norms]
    tail = tuple(float(t[max(len(t) - 1 - PARITY, 0)]) / size if size else 0.0 for t in tails)
    if not goal.sizes:
        rows = [kept(e, drop) for e in norms]
        error += math.hypot(*(t[n] for t, n in zip(tails, rows, strict=True)))
        factors = tuple(V[:n, :] for V, n in zip(parts.factors, rows, strict=True))
        parts = _parts.orthonormal(Parts(parts.core, factors, parts.domain))
    return Built(parts, short, lost + error, tail, stability=stability)


def row_norms(parts: Parts, axis: int) -> np.ndarray:
    """Return the norms of the slices of coefficients of one variable."""
    V, fibres = parts.factors[axis], unfold(parts.core, axis + parts.lead)
    if V.shape[0] > 2 * V.shape[1]:
        fibres = adjoint(_arrays.triangular_factor(adjoint(fibres)))
    return slice_norms(V @ fibres, 0)


def truncated(parts: Parts, tol: float, ranks: Sequence[int] | None) -> tuple[Parts, float]:
    """Lower the ranks only."""
    lead = parts.lead
    cut = truncate(parts.core, tol=tol, ranks=None if ranks is None else [*parts.core.shape[:lead], *ranks])
    core = multiply(cut.core, cut.factors[0], 0) if lead else cut.core
    return Parts(core, tuple(V @ W for V, W in zip(parts.factors, cut.factors[lead:], strict=True)), parts.domain), cut.error


def errors(sampler: Sampler, parts: Parts, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sizes of the original function and of the distance from it, lengths of vectors of outputs, at points of [-1, 1]^d."""
    xp = sampler.door.xp
    t = [sampler.coordinates(np.ascontiguousarray(column)) for column in points.T]
    x = [_chebyshev.from_reference(c, interval) for c, interval in zip(t, sampler.domain, strict=True)]
    values = xp.broadcast_to(sampler.at(t), (sampler.width, len(points)))
    off = values - _values(parts, [_evaluate.columns(*given) for given in zip(parts.factors, x, parts.domain, strict=True)])
    sizes, distances = (_arrays.to_numpy(xp.linalg.vector_norm(v, axis=0)).astype(np.float64) for v in (values, off))
    return sizes, distances


def _values(parts: Parts, tables: Sequence[Array]) -> Array:
    """Return the values (p, q) at a few points, from those of the bases, by matrix products: their threads are awake at this time."""
    xp, blocks = _arrays.namespace(parts.core), []
    width = math.prod(parts.core.shape) // parts.core.shape[1]
    for first, head in _arrays.row_blocks(tables[0], max(1, BLOCK // width)):
        values = xp.tensordot(head, parts.core, axes=([1], [1]))
        for table in tables[1:]:
            rows = table[first : first + head.shape[0], ...]
            values = xp.sum(values * xp.reshape(rows, (rows.shape[0], 1, -1) + (1,) * (values.ndim - 3)), axis=2)
        blocks.append(values)
    return xp.matrix_transpose(xp.concat(blocks, axis=0))


@dataclass(frozen=True)
class Trial:
    """A comparison at random points.

    Attributes
    ----------
    passed : bool
        The root mean square for the Chebyshev measure, and the largest error, are as the tolerance wants them.
    excess : float
        By how much they are too large.
    worst : array (WORST, d)
        Points where the function is farthest off.
    """

    passed: bool
    excess: float
    worst: np.ndarray


def attempt(sampler: Sampler, built: Built, goal: Goal, number: int) -> Trial:
    """Compare with the function at a few random points, never the same."""
    drawn = sample(built.parts, goal.seed, f"chebyshev_tucker trial {number}", TRIALS // 2)
    values, off = errors(sampler, built.parts, drawn.points)
    root = float(np.sqrt(np.mean(drawn.weights * off**2)))
    size, largest = _parts.frobenius(built.parts.core), float(np.max(values))
    excess = max(_over(root, SLACK * goal.tol * size), _over(float(np.max(off)), PEAK * goal.tol * max(size, largest)))
    return Trial(excess <= 1, excess, drawn.points[np.argsort(off)[-WORST:]])


def settled(built: Built, trial: Trial, goal: Goal) -> Built:
    """Note how a trial went: fixed degrees that agree with the function are enough, whatever their tails; fixed ranks need not agree."""
    if goal.sizes and trial.passed:
        return replace(built, short=())
    return built if goal.ranks else replace(built, passed=trial.passed)


def _over(value: float, limit: float) -> float:
    return value / limit if limit else math.inf if value else 0.0
