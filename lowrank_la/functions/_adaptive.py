"""How many coefficients a function needs in each variable: where their tails end, and what fibres tell before a grid is filled."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.functions import _chebyshev
from lowrank_la.functions._sampler import Sampler

START = 17  # nodes of the coarsest grid
PARITY = 2  # last slices that must be negligible: one of two vanishes for an even or odd function
PERSISTENT = 4  # grids on which noise has the same level, up to a factor of 2; a narrow peak hides on fewer
FLAT = 0.1  # share of a plateau that is left at its end
SHARE = 0.25  # of the tolerance: what a tail on lines may have, so that the tail on the grid will do


def slice_norms(coefficients: Array, axis: int) -> np.ndarray:
    """Return the Frobenius norms of the slices along an axis, on the host."""
    xp = _arrays.namespace(coefficients)
    rest = tuple(k for k in range(coefficients.ndim) if k != axis)
    norms = xp.linalg.vector_norm(coefficients, axis=rest) if rest else xp.abs(coefficients)
    return np.asarray(_arrays.to_numpy(norms), dtype=np.float64)


def tails_of(norms: np.ndarray) -> np.ndarray:
    """Return, for j = 0, ..., m, the norm of slices j, j + 1, ..."""
    return np.sqrt(np.append(np.cumsum(norms[::-1] ** 2)[::-1], 0.0))


def kept(norms: np.ndarray, tol: float) -> int:
    """Return how many slices, at least one, are to be kept so that the others have a norm of at most tol."""
    return max(1, int(np.argmax(tails_of(norms) <= tol)))


def resolved(norms: np.ndarray, tol: float) -> bool:
    """Say whether the last two slices are negligible."""
    return len(norms) > PARITY and kept(norms, tol) <= len(norms) - PARITY


def plateau(norms: np.ndarray, tol: float) -> float | None:
    """Return the relative norm of the slices from which on they stop to decay, above the tolerance; None if they decay.

    The rule of Aurentz and Trefethen: the envelope e of the norms is flat from j to 1.25 j + 5 if it falls there by a factor of at
    least 3 (1 - log e_j / log tol). A level near the tolerance may still slope; one above tol^(2/3) is never taken for noise. What is far
    lower at the last coefficients does decay.
    """
    tails = tails_of(norms)
    envelope = np.maximum.accumulate(norms[::-1])[::-1]
    if envelope[0] == 0 or tol >= 1:
        return None
    envelope = envelope / envelope[0]
    for j in range(1, len(envelope)):
        end = round(1.25 * j + 5)
        if end >= len(envelope) or envelope[j] <= tol:
            return None
        flat = envelope[-1 - PARITY] > FLAT * envelope[j]
        if flat and envelope[end] > 3 * (1 - math.log(envelope[j]) / math.log(tol)) * envelope[j]:
            return float(tails[j] / tails[0])
    return None


@dataclass
class Fibres:
    """Values along lines parallel to one axis.

    Attributes
    ----------
    mode : int
        The axis.
    through : array (S, d), on the host
        Points in [-1, 1]^d that the lines go through.
    values : array (p, m, S)
        At the m nodes of the axis.
    resolved : bool
        Whether m nodes are enough.
    noise : float
        Relative level of noise in the coefficients; 0 where none was found.
    """

    mode: int
    through: np.ndarray
    values: Array
    resolved: bool = False
    noise: float = 0.0

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.values.shape[1]

    def norms(self) -> np.ndarray:
        """Return the norms of the coefficients of each degree, over all lines."""
        return slice_norms(_chebyshev.coefficients(self.values, axis=1), 1)


def along(sampler: Sampler, mode: int, through: np.ndarray, t: Array) -> Array:
    """Return the values (p, m, S) at points t (m,) of lines along one axis."""
    coordinates = [sampler.coordinates(np.ascontiguousarray(x)[None, :]) for x in through.T]
    coordinates[mode] = t[:, None]
    values = sampler.at(coordinates)
    shape = (sampler.width, t.shape[0], len(through))
    xp = _arrays.namespace(values)
    return values if tuple(values.shape) == shape else xp.broadcast_to(values, shape) + xp.zeros(shape, dtype=values.dtype)


def fibres(sampler: Sampler, mode: int, through: np.ndarray, m: int) -> Fibres:
    """Sample lines through some points at m nodes."""
    return Fibres(mode, through, along(sampler, mode, through, sampler.nodes(m)))


def settle(sampler: Sampler, lines: Fibres, tol: float, most: int) -> Fibres:
    """Refine lines, all samples re-used, until their coefficients decay below tol, level off, or need more than `most` nodes."""
    levels: list[float] = []
    while True:
        norms = lines.norms()
        lines.resolved = resolved(norms, SHARE * tol * float(tails_of(norms)[0]))
        levels.append(0.0 if lines.resolved else plateau(norms, SHARE * tol) or 0.0)
        last = levels[-PERSISTENT:]
        if len(last) == PERSISTENT and 0 < max(last) < 2 * min(last):
            lines.noise = levels[-1]
        if lines.resolved or lines.noise or finer(lines.size) > most:
            return lines
        refine(sampler, lines)


def refine(sampler: Sampler, lines: Fibres) -> None:
    """Go from m to 2 m - 1 nodes."""
    m = lines.size
    new = along(sampler, lines.mode, lines.through, sampler.nodes(finer(m))[1::2])
    lines.values = interleaved(lines.values, new, 1)


def finer(m: int) -> int:
    """Return the number of nodes of the next nested grid."""
    return 2 * m - 1 if m > 1 else 3


def interleaved(old: Array, new: Array, axis: int) -> Array:
    """Put the slices of a nested grid and the new ones between them together: old, new, old, ..., old."""
    xp = _arrays.namespace(old)
    shape = list(old.shape)
    shape[axis] += new.shape[axis]
    out = xp.empty(tuple(shape), dtype=old.dtype, device=old.device)
    whole = (slice(None),) * axis
    out[(*whole, slice(0, None, 2), ...)] = old
    out[(*whole, slice(1, None, 2), ...)] = new
    return out


def pilot(sampler: Sampler, points: np.ndarray, tol: float, most: int) -> list[Fibres]:
    """Sample lines through random points, and through the point where an ascent of |f - mean f| ends."""
    start = min(START, most)
    lines = [fibres(sampler, k, points, start) for k in range(sampler.dim)]
    if sampler.dim > 1:
        peak = _ascent(sampler, lines[0], start)
        lines = [joined(F, fibres(sampler, F.mode, peak, start)) for F in lines]
    return [settle(sampler, F, tol, most) for F in lines]


def needed(lines: Fibres, tol: float) -> int:
    """Return the number of nodes that a grid needs along lines."""
    norms = lines.norms()
    return min(kept(norms, SHARE * tol * float(tails_of(norms)[0])) + PARITY, lines.size)


def joined(one: Fibres, other: Fibres) -> Fibres:
    """Put lines with the same nodes together."""
    values = _arrays.namespace(one.values).concat([one.values, other.values], axis=2)
    return replace(one, through=np.concatenate([one.through, other.through]), values=values)


def _ascent(sampler: Sampler, lines: Fibres, m: int) -> np.ndarray:
    """Go along one axis after the other to where the function is farthest from its mean."""
    xp, values = _arrays.namespace(lines.values), lines.values
    mean, t = xp.mean(values, axis=(1, 2), keepdims=True), _chebyshev.nodes(m)
    far = _arrays.to_numpy(xp.linalg.vector_norm(values - mean, axis=0))
    row, column = np.unravel_index(int(np.argmax(far)), far.shape)
    peak = lines.through[column : column + 1].copy()
    peak[0, 0] = t[row]
    for k in range(1, sampler.dim):
        line = fibres(sampler, k, peak, m).values
        peak[0, k] = t[int(np.argmax(_arrays.to_numpy(xp.linalg.vector_norm(line - mean, axis=0))))]
    return peak
