"""A sum of Gaussians about many centres in bases of functions of one variable: one pass over the centres for all Gaussians."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.functions import _chebyshev, _family, _parts
from lowrank_la.functions._family import Family
from lowrank_la.functions._parts import Parts
from lowrank_la.tensors._modes import multiply_all

BLOCK = 1 << 14  # particles whose polynomials are held at a time
NARROW = 1e-9  # of the domain, by which an interval of centres is longer than they need
MOST_ENTRIES = 1 << 27  # of a core, 1 GB
FINEST = 1e-15  # absolute tolerance of Gaussians that rounding errors allow


@dataclass(frozen=True)
class Terms:
    """A sum of Gaussians, inside: arrays in float64, rates and weights on the host."""

    centres: Array
    charges: Array
    rates: np.ndarray
    weights: np.ndarray

    @property
    def size(self) -> float:
        """Sum of absolute charges."""
        return float(_arrays.namespace(self.charges).sum(abs(self.charges)))


def evaluated(terms: Terms, points: Array) -> Array:
    """Return the sum at points (M, d), in float64."""
    xp = _arrays.namespace(points, terms.centres)
    X, q = xp.astype(points, xp.float64, copy=False), terms.charges[:, None]
    total = xp.zeros((X.shape[0], 1), dtype=xp.float64, device=X.device)
    for t, c in zip(terms.rates, terms.weights, strict=True):
        if t > 0:
            total = total + float(c) * kernels.kernel_product.apply(X, terms.centres, q, "rbf", (1 / (math.sqrt(2) * float(t)),))
        else:
            total = total + float(c) * xp.sum(q)
    return total[:, 0]


def hull(X: Array) -> np.ndarray:
    """Return the least box (d, 2) that holds the rows of X, on the host."""
    xp = _arrays.namespace(X)
    return np.stack([_arrays.to_numpy(xp.min(X, axis=0)), _arrays.to_numpy(xp.max(X, axis=0))], axis=1).astype(np.float64)


def separated(name: str, terms: Terms, box: np.ndarray, tol: float, sizes: Sequence[int] | None = None) -> tuple[Parts, float]:
    """Write a sum in joint bases of all Gaussians, to within `tol` in absolute value; return it with a bound on that error.

    Raises
    ------
    ValueError
        The Gaussians are so sharp, or the variables so many, that the core would not fit into memory.
    """
    d, mass, sides = len(box), terms.size * float(np.sum(np.abs(terms.weights))), _sides(terms, box)
    each = min(max(tol / (d * mass), FINEST), 0.1) if mass else 0.1
    if d == 1:
        return _sampled(terms, box, each, None if sizes is None else sizes[0])
    families = _families(terms.rates, box, sides, each, sizes or [None] * d)
    needed = [max(f.left.shape[1], f.right.shape[1]) for f in families]
    if math.prod(needed) > MOST_ENTRIES:
        rule = f"Gaussians must be so smooth on the domain that a core of {MOST_ENTRIES} entries holds them"
        raise ValueError(f"{name}: {rule}; got a need for {' x '.join(map(str, needed))}")
    errors = np.prod([1 + f.errors for f in families], axis=0) - 1
    errors += _roundings(terms, families) * np.prod([f.sizes for f in families], axis=0)
    error = terms.size * float(np.abs(terms.weights) @ errors)
    bases = tuple(_arrays.from_numpy(f.left, terms.centres) for f in families)
    return Parts(_core(terms, sides, families), bases, box), error


def _sampled(terms: Terms, box: np.ndarray, tol: float, size: int | None) -> tuple[Parts, float]:
    """Interpolate a sum over particles on a line."""
    half = float(box[0, 1] - box[0, 0]) / 2
    m = size or _family.nodes_for(float(terms.rates.max()) * half, tol)
    x = _arrays.from_numpy(_chebyshev.from_reference(_chebyshev.nodes(m), box[0]), terms.centres)
    whole = _parts.orthonormal(Parts(_ones(x), (_chebyshev.coefficients(evaluated(terms, x[:, None]))[:, None],), box))
    errors = np.array([_family.interpolation_error(t * half, m) for t in terms.rates]) + _family.ROUNDINGS * 2.0**-53
    return whole, terms.size * float(np.abs(terms.weights) @ errors)


def _ones(like: Array) -> Array:
    return _arrays.namespace(like).ones((1,), dtype=like.dtype, device=like.device)


def _roundings(terms: Terms, families: Sequence[Family]) -> float:
    """Bound the relative rounding errors of a sum over particles in chunks, and of the functions that it is made of."""
    chunk = kernels.moments.CHUNK
    return (chunk + terms.centres.shape[0] / chunk + sum(sum(f.right.shape) + f.left.shape[1] for f in families)) * 2.0**-53


def _families(rates: np.ndarray, box: np.ndarray, sides: np.ndarray, tol: float, sizes: Sequence[int | None]) -> list[Family]:
    """Separate the Gaussians along each axis; axes that differ by a shift share the work."""
    made: dict[tuple[float, ...], Family] = {}
    keys = [(x[1] - x[0], y[1] - y[0], x[0] - y[0], size or 0) for x, y, size in zip(box, sides, sizes, strict=True)]
    for key, x, y, size in zip(keys, box, sides, sizes, strict=True):
        if key not in made:
            made[key] = _family.family(rates, x, y, tol, size=size)
    return [made[key] for key in keys]


def _sides(terms: Terms, box: np.ndarray) -> np.ndarray:
    """Return an interval that holds the centres along each axis: that of the domain unless one is much shorter."""
    around, lengths = hull(terms.centres), box[:, 1] - box[:, 0]
    joint = np.stack([np.minimum(box[:, 0], around[:, 0]), np.maximum(box[:, 1], around[:, 1])], axis=1)
    tight = around + NARROW * lengths[:, None] * np.array([-1.0, 1.0])
    return np.where((tight[:, 1] - tight[:, 0] < lengths / 2)[:, None], tight, joint)


def _core(terms: Terms, sides: np.ndarray, families: Sequence[Family]) -> Array:
    """Add up the particles in functions of their places, and let each Gaussian turn the sum into functions of x."""
    X, rights = terms.centres, [_arrays.from_numpy(f.right, terms.centres) for f in families]
    sums: Array = 0.0
    for first in range(0, X.shape[0], BLOCK):
        here = slice(first, min(first + BLOCK, X.shape[0]))
        columns = [_table(X[here, k], y, B.shape[0]) @ B for k, (y, B) in enumerate(zip(sides, rights, strict=True))]
        sums = sums + kernels.moments.sums(terms.charges[here], columns)
    core: Array = 0.0
    for k, weight in enumerate(terms.weights):
        core = core + float(weight) * multiply_all(sums, [_arrays.from_numpy(f.mixing[k], X) for f in families])
    return core


def _table(y: Array, interval: np.ndarray, m: int) -> Array:
    return _chebyshev.vandermonde(kernels.chebyshev.reference_points(y, interval, y.dtype), m)
