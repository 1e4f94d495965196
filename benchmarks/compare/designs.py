"""Approximation from few values: `weighted_lstsq` beside NumPy and SciPy, at equal numbers of points.

Peers fit without weights at independent points of mu, on a Halton sequence, at equispaced points or at Chebyshev nodes, which know
that there is one variable. Errors are over the least possible one in the span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from benchmarks.designs_tables import SAMPLERS, plane_wave, reference, unweighted, witch
from lowrank_la.dpp import Basis, Legendre, TensorBasis, hyperbolic_cross, weighted_lstsq

REPETITIONS = 20  # designs, of which the median and the worst error count


@dataclass(frozen=True)
class Problem:
    """A function, the functions to combine, and the number of points."""

    f: Callable[[np.ndarray], np.ndarray]
    basis: Basis
    points: int


def _line(size: str) -> Problem:
    return Problem(witch, Legendre(31 if size == "full" else 6), 62 if size == "full" else 12)


def _square(size: str) -> Problem:
    level = 26 if size == "full" else 4
    basis = TensorBasis(Legendre(level), hyperbolic_cross(2, level - 1))
    return Problem(plane_wave, basis, 2 * basis.size)


def ours(problem: Problem, design: str) -> list[np.ndarray]:
    fits = []
    for seed in range(REPETITIONS):
        drawn = SAMPLERS[design](problem.basis, problem.points, delta=None, rng=seed)
        fits.append(weighted_lstsq(problem.f(drawn.points), problem.basis, design=drawn).x)
    return fits


def plain(problem: Problem) -> list[np.ndarray]:
    return [unweighted(problem.basis, problem.f, problem.points, seed) for seed in range(REPETITIONS)]


def halton(problem: Problem) -> list[np.ndarray]:
    from scipy.stats import qmc

    fits = []
    for seed in range(REPETITIONS):
        x = 2 * qmc.Halton(problem.basis.dim, rng=seed).random(problem.points) - 1
        fits.append(np.linalg.lstsq(problem.basis.eval(x), problem.f(x[:, 0] if x.shape[1] == 1 else x))[0])
    return fits


def numpy_equispaced(problem: Problem) -> list[np.ndarray]:
    from numpy.polynomial import Legendre as Series

    x = np.linspace(-1, 1, problem.points)
    fitted = Series.fit(x, problem.f(x), problem.basis.size - 1, domain=[-1, 1])
    return [fitted.coef / np.sqrt(2 * np.arange(problem.basis.size) + 1)]


def numpy_chebyshev(problem: Problem) -> list[np.ndarray]:
    from numpy.polynomial.chebyshev import chebpts1

    x = chebpts1(problem.points)
    return [np.linalg.lstsq(problem.basis.eval(x), problem.f(x))[0]]


def error(problem: Problem, answer: list[np.ndarray]) -> Mapping[str, float]:
    """Measure L2 errors by Gauss's rule."""
    measure, best = reference(problem.basis, problem.f)
    errors = [measure(x) / best for x in answer]
    return {"points": problem.points, "median error / least": float(np.median(errors)), "worst error / least": float(max(errors))}


OURS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": partial(ours, design="repeated"),
    "lowrank_la design='christoffel'": partial(ours, design="iid"),
    "lowrank_la design='volume'": partial(ours, design="volume"),
}
LINE = {
    **OURS,
    "numpy lstsq, random points": plain,
    "numpy lstsq, Halton points of scipy": halton,
    "numpy Legendre.fit, equispaced": numpy_equispaced,
    "numpy lstsq, Chebyshev nodes": numpy_chebyshev,
}
SQUARE = {**OURS, "numpy lstsq, random points": plain, "numpy lstsq, Halton points of scipy": halton}

TASKS = [
    Task("20 designs of 62 points, 31 Legendre polynomials, 1/(1+5x^2)", _line, LINE, error),
    Task("20 designs of 2m points, hyperbolic cross of degree 25 in two variables", _square, SQUARE, error),
]
