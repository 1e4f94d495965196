"""How the Newton kernel of a cloud of particles is split: the cut-off, the smooth part below it, and sizes that bounds refer to."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Door
from lowrank_la._result import Certificate
from lowrank_la.functions import _algebra, _chebyshev, _evidence, _parts
from lowrank_la.functions._function import FunctionTucker, function_of
from lowrank_la.functions._newton import newton_quadrature
from lowrank_la.functions._parts import Parts
from lowrank_la.functions._separated import Terms, separated

FINER = 2**-0.25  # from one trial cut-off to the next
LOOKERS, SEEN = 256, 8192  # particles that count their neighbours, among so many
MOST_RATIO = {1: 1e4, 2: 250.0, 3: 50.0}  # of the diagonal of the domain and a cut-off, so that the core fits into memory
CELLS = 8  # along each axis, for bounds on the potential of all charges
VISITED = 2.5  # pairs looked at for each within the cut-off
VALUES = 4  # evaluations of the potential at all particles that the cut-off is chosen for
PAIR, SUM, VALUE, MIX = 0.3, 0.015, 0.007, 0.06  # nanoseconds: of a pair; of a product in the core's sum, its evaluation, its bases
SEPARATION, DISCARDED = 0.05, 0.2  # shares of a tolerance
METHOD = "separation, discarded coefficients and rounding"
TERMS = 64  # nodes at which the smooth part is interpolated


def cutoff_of(X: np.ndarray, box: np.ndarray, tol: float) -> float:
    """Choose the cut-off for which building and some evaluations at all particles cost least, short and long range together."""
    diagonal = float(np.linalg.norm(box[:, 1] - box[:, 0]))
    distances, share = _distances(X)
    best, least, cutoff = diagonal, math.inf, diagonal
    while True:
        rates, _ = newton_quadrature(diagonal / cutoff, tol)
        ranks = _ranks(rates[-1] / diagonal, box, tol)
        near = min(VISITED * share * float(np.searchsorted(distances, cutoff)), float(len(X)))
        entries = float(ranks.prod())
        cost = VALUES * (PAIR * near + VALUE * entries) + SUM * entries + MIX * len(rates) * float(ranks.max()) * entries / len(X)
        best, least = (cutoff, cost) if cost < least else (best, least)
        cutoff *= FINER
        if near <= 1 or cost > 4 * least or cutoff * MOST_RATIO[len(box)] < diagonal:
            return best


def _distances(X: np.ndarray) -> tuple[np.ndarray, float]:
    """Return sorted distances of pairs of particles, and how many neighbours of one particle each stands for."""
    lookers, seen = X[:: -(-len(X) // LOOKERS)], X[:: -(-len(X) // SEEN)]
    squares = sum((lookers[:, k, None] - seen[None, :, k]) ** 2 for k in range(X.shape[1]))
    return np.sort(np.sqrt(squares), axis=None), len(X) / len(seen) / len(lookers)


def _ranks(rate: float, box: np.ndarray, tol: float) -> np.ndarray:
    """Estimate how many functions of one variable the sharpest Gaussian needs on each axis: the area that they fill in phase space."""
    return 5 + 2 * rate * math.sqrt(math.log(1e3 / tol)) * (box[:, 1] - box[:, 0]) / math.pi


def smooth_part(rates: np.ndarray, weights: np.ndarray, cutoff: float, tol: float) -> tuple[np.ndarray, float]:
    """Return sum_k c_k exp(-t_k^2 r^2) for r below the cut-off as a polynomial in u = 2 r^2 / cutoff^2 - 1, and a bound on its error.

    Coefficients come lowest first. They are those of a Chebyshev series, cut where it has fallen below tol or into its rounding errors;
    those of Horner's rule are in the bound.
    """
    u = 2.0**-53
    noise = TERMS * u * float(np.sum(weights))
    squares = cutoff**2 * (1 + _chebyshev.nodes(TERMS)) / 2
    series = _chebyshev.coefficients(np.exp(-np.outer(squares, rates**2)) @ weights)
    below = np.cumsum(np.abs(series[::-1]))
    count = max(TERMS - int(np.searchsorted(below, max(tol, noise))), 1)
    power = np.polynomial.chebyshev.cheb2poly(series[:count])
    rounding = 2 * (count + 1) * u * float(np.sum(np.abs(power))) + noise
    return power, 2 * float(np.sum(np.abs(series[count:]))) + rounding


def least_potential(X: np.ndarray, charges: np.ndarray, box: np.ndarray) -> float:
    """Bound sum_n |q_n| / |x - x_n| from below for all x in the box, with its diagonal for the distance of near particles."""
    d, side = len(box), (box[:, 1] - box[:, 0]) / CELLS
    places = np.clip(((X - box[:, 0]) / side).astype(np.int64), 0, CELLS - 1)
    cells = np.stack(np.unravel_index(np.arange(CELLS**d), (CELLS,) * d), axis=1)
    mass = np.bincount(places @ CELLS ** np.arange(d)[::-1], np.abs(charges), CELLS**d)
    farthest = np.sqrt(sum(((np.abs(cells[:, k, None] - cells[None, :, k]) + 1) * side[k]) ** 2 for k in range(d)))
    np.fill_diagonal(farthest, np.linalg.norm(box[:, 1] - box[:, 0]))
    return float(np.min(np.sum(mass / farthest, axis=1)))


def long_range(name: str, door: Door, terms: Terms, box: np.ndarray, tol: float) -> tuple[FunctionTucker, float]:
    """Sum the smooth part, and bound its error in absolute value, rounding errors of its evaluation included."""
    whole, separation = separated(name, terms, box, SEPARATION * tol)
    reach = math.prod(largest_values(_arrays.to_numpy(V))[1] for V in whole.factors)
    parts, dropped = _algebra.compressed(whole, DISCARDED * tol / reach)
    error = separation + reach * dropped + _evaluation_errors(parts)
    known = Certificate(_evidence.CLAIM, separation + dropped + _evidence.roundoff(parts), 1.0, METHOD)
    return function_of(parts.core, parts.factors, box, door=door, certificate=known, truncation=dropped), error


def _evaluation_errors(parts: Parts) -> float:
    """Bound the rounding errors of values of a function."""
    sizes, reaches = zip(*(largest_values(_arrays.to_numpy(V)) for V in parts.factors), strict=True)
    weighted = np.abs(_arrays.to_numpy(parts.core))
    for size in reversed(sizes):
        weighted = weighted @ size
    steps = sum(V.shape[0] + V.shape[1] for V in parts.factors)
    return 4 * steps * 2.0**-53 * min(float(weighted), math.prod(reaches) * _parts.frobenius(parts.core))


def largest_values(V: np.ndarray) -> tuple[np.ndarray, float]:
    """Bound the absolute values of functions on [-1, 1] with coefficients V (m, r), one by one and in the norm of all at a point.

    A polynomial of degree n is at most 1 / cos(pi / 8) times its largest value at 4 n + 1 nodes.
    """
    m = V.shape[0]
    values = _chebyshev.values(_chebyshev.resized(V, 8 * m + 1))
    slack = 1 / math.cos(math.pi / 8)
    return slack * np.max(np.abs(values), axis=0), math.sqrt(slack) * float(np.max(np.linalg.norm(values, axis=1)))
