"""Derivatives, integrals and inner products, each an exact operation on coefficients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, conj
from lowrank_la.functions import _chebyshev
from lowrank_la.functions._parts import Parts, frobenius

MEAN_SQUARE = math.pi / (2 * math.sqrt(2))  # |integral of e over [a, b]| <= (b - a) MEAN_SQUARE times the root mean square of e


def derivative(parts: Parts, axis: int, order: int) -> Parts:
    """Differentiate along one axis."""
    V, (a, b) = parts.factors[axis], parts.domain[axis]
    for _ in range(order):
        V = _chebyshev.differentiate(V) * float(2 / (b - a))
    return parts.replaced(axis, V)


def derivative_growth(m: int, length: float, order: int) -> float:
    """Bound by how much a derivative exceeds a polynomial with m coefficients on an interval, both in root mean square.

    The spectral norm of the matrix of a derivative, for orthonormal polynomials, is at most the root of its largest sum over a
    row times that over a column.
    """
    growth = 1.0
    for top in range(m - 1, m - 1 - order, -1):
        odd, even = (sum(range(first, top + 1, 2)) for first in (1, 2))
        column = top * (top - 1 + math.sqrt(2)) if top % 2 else top**2
        growth *= math.sqrt(2 * max(odd, even) * column) * 2 / length if top > 0 else 0.0
    return growth


def laplacian(parts: Parts) -> tuple[Parts, float]:
    """Add the second derivatives, in bases joined by theirs, and return the sum of the norms of the terms."""
    xp, bases = _arrays.namespace(parts.core), []
    for axis, V in enumerate(parts.factors):
        second = derivative(parts, axis, 2).factors[axis]
        Q, R = xp.linalg.qr(xp.concat([V, _chebyshev.resized(second, V.shape[0])], axis=1), mode="reduced")
        bases.append((Q, R[:, : V.shape[1]], R[:, V.shape[1] :]))
    terms = [parts.contracted([R2 if k == axis else R for k, (_, R, R2) in enumerate(bases)]) for axis in range(parts.dim)]
    return Parts(sum(terms[1:], start=terms[0]), tuple(Q for Q, _, _ in bases), parts.domain), sum(map(frobenius, terms))


def integral(parts: Parts, axes: Sequence[int]) -> Parts:
    """Integrate over some axes, which leaves a function of the others."""
    kept = [axis for axis in range(parts.dim) if axis not in axes]
    rows = [_integrals(V, interval) if k in axes else None for k, (V, interval) in enumerate(zip(parts.factors, parts.domain, strict=True))]
    return without(parts, parts.contracted(rows), kept)


def without(parts: Parts, core: Array, kept: Sequence[int]) -> Parts:
    """Drop the axes of a core that have shrunk to length 1, and their variables."""
    shape = [*core.shape[: parts.lead], *(core.shape[parts.lead + k] for k in kept)]
    core = _arrays.namespace(core).reshape(core, tuple(shape))
    return Parts(core, tuple(parts.factors[k] for k in kept), parts.domain[list(kept)])


def _integrals(V: Array, interval: np.ndarray) -> Array:
    """Return the integrals of the columns as a matrix with one row."""
    weights = _chebyshev.integral_weights(V.shape[0]) * ((interval[1] - interval[0]) / 2)
    return _row(weights, V) @ V


def _row(numbers: np.ndarray, like: Array) -> Array:
    xp = _arrays.namespace(like)
    return xp.astype(_arrays.from_numpy(numbers[None, :], like), like.dtype)


def antiderivative(parts: Parts, axis: int) -> Parts:
    """Integrate along one axis from its lower end."""
    a, b = parts.domain[axis]
    return parts.replaced(axis, _chebyshev.integrate(parts.factors[axis]) * float((b - a) / 2))


def fixed(parts: Parts, values: dict[int, float]) -> Parts:
    """Fix some variables."""
    kept = [axis for axis in range(parts.dim) if axis not in values]
    rows = [_at(V, values[k], parts.domain[k]) if k in values else None for k, V in enumerate(parts.factors)]
    return without(parts, parts.contracted(rows), kept)


def _at(V: Array, value: float, interval: np.ndarray) -> Array:
    x = _chebyshev.to_reference(np.asarray([value]), interval)
    return _row(_chebyshev.vandermonde(np.clip(x, -1, 1), V.shape[0])[0], V) @ V


def slice_growth(m: int, value: float, interval: np.ndarray) -> float:
    """Bound by how much a polynomial with m coefficients exceeds, at one point, its root mean square: the Christoffel function."""
    x = np.clip(_chebyshev.to_reference(np.asarray([value]), interval), -1, 1)
    return float(np.linalg.norm(_chebyshev.vandermonde(x, m)[0] / _chebyshev.probability_scale(m)))


def inner(one: Parts, other: Parts, weight: str) -> Array:
    """Return the inner product, conjugate linear in the first function, as an array of one entry."""
    grams = []
    for V, W, interval in zip(one.factors, other.factors, one.domain, strict=True):
        A, B = (weighted(X, max(V.shape[0], W.shape[0]), interval, weight) for X in (V, W))
        grams.append(adjoint(A) @ B)
    xp = _arrays.namespace(one.core, other.core)
    return xp.sum(conj(one.core) * other.contracted(grams))


def norm(parts: Parts, weight: str) -> float:
    """Return the norm, through triangular factors, so that small ones are not lost in rounding errors of their squares."""
    bases = [weighted(V, V.shape[0], interval, weight) for V, interval in zip(parts.factors, parts.domain, strict=True)]
    return frobenius(parts.contracted([_arrays.triangular_factor(A) for A in bases]))


def weighted(V: Array, m: int, interval: np.ndarray, weight: str) -> Array:
    """Return columns whose inner products are those of the functions: V has at most m coefficients.

    Those of the Lebesgue measure are weighted values at 2 m - 1 nodes, where quadrature is exact.
    """
    if weight == "chebyshev":
        numbers, columns = _chebyshev.probability_scale(m), _chebyshev.resized(V, m)
    else:
        numbers = np.sqrt(_chebyshev.node_weights(2 * m - 1) * ((interval[1] - interval[0]) / 2))
        columns = _chebyshev.values(_chebyshev.resized(V, 2 * m - 1))
    return columns * _arrays.namespace(V).matrix_transpose(_row(numbers, V))
