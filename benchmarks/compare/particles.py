"""Electrostatics: `particle_potential` beside sums over all pairs, the fast multipole method, and the published way to the long range.

Errors of potentials are relative to the potential that the charges would have if all were positive, the largest over some points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task
from lowrank_la import chebyshev_tucker
from lowrank_la.functions import GaussianSum, ParticlePotential, newton_quadrature, particle_potential

TOL = 1e-7
CHECKED = 200  # points whose error is looked at
TILE = 1 << 20  # pairs of a tile in NumPy


@dataclass(frozen=True)
class Problem:
    """Charges +-1 in the unit cube, and points."""

    X: np.ndarray
    charges: np.ndarray
    points: np.ndarray
    cutoff: float | None = None

    @cached_property
    def exact(self) -> tuple[np.ndarray, np.ndarray]:
        """Potentials at the first points, in long double, and what errors are relative to."""
        apart = self.points[:CHECKED, None, :].astype(np.longdouble) - self.X
        r = np.sqrt(np.sum(apart**2, axis=2))
        inverse = np.where(r > 0, 1 / np.where(r > 0, r, 1), 0)
        return inverse @ self.charges, inverse @ np.abs(self.charges)

    @cached_property
    def potential(self) -> ParticlePotential:
        """The potential, built once."""
        return particle_potential(self.X, self.charges, tol=TOL, cutoff=self.cutoff)


def cube(n: int, m: int = 0, cutoff: float | None = None) -> Problem:
    """Draw n charges and m points; with m = 0 the points are the particles."""
    rng = np.random.default_rng(0)
    X, charges = rng.random((n, 3)), rng.choice([-1.0, 1.0], n)
    return Problem(X, charges, rng.random((m, 3)) if m else X, cutoff)


def ours(problem: Problem) -> np.ndarray:
    """Build and evaluate."""
    return particle_potential(problem.X, problem.charges, tol=TOL, cutoff=problem.cutoff)(problem.points)


def ours_evaluated(problem: Problem) -> np.ndarray:
    """Evaluate only."""
    return problem.potential(problem.points)


def numpy_tiles(problem: Problem, dtype: Any = np.float64) -> np.ndarray:
    """Sum over all pairs, a tile at a time, squared distances by matrix products."""
    X, points, charges = (x.astype(dtype, copy=False) for x in (problem.X, problem.points, problem.charges))
    out, step = np.empty(len(points), dtype), max(1, TILE // len(X))
    for first in range(0, len(points), step):
        block = points[first : first + step]
        square = sum((block[:, k, None] - X[:, k]) ** 2 for k in range(3))
        np.sqrt(square, out=square)
        with np.errstate(divide="ignore"):
            np.divide(1, square, out=square)
        square[np.isinf(square)] = 0
        out[first : first + step] = square @ charges
    return out


def multipoles(problem: Problem, eps: float = TOL) -> np.ndarray:
    """Call FMM3D, whose kernel is 1 / (4 pi r), and which is more accurate than it is asked to be."""
    import fmm3dpy

    sources = np.asfortranarray(problem.X.T)
    if problem.points is problem.X:
        return 4 * np.pi * fmm3dpy.lfmm3d(eps=eps, sources=sources, charges=problem.charges, pg=1).pot
    targets = np.asfortranarray(problem.points.T)
    return 4 * np.pi * fmm3dpy.lfmm3d(eps=eps, sources=sources, charges=problem.charges, targets=targets, pgt=1).pottarg


def potential_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    V, size = problem.exact
    return {"error": float(np.max(np.abs(answer[:CHECKED] - V) / size))}


def certified_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    """Return the error, and the bound of our certificate for the same problem."""
    return {**potential_error(problem, answer), "our bound": problem.potential.certificate.bound}


@dataclass(frozen=True)
class Smooth:
    """The long range of a cloud: Gaussians, a number of nodes and a tolerance for the published way."""

    cloud: GaussianSum
    nodes: int
    tol: float = TOL

    @cached_property
    def points(self) -> np.ndarray:
        return np.random.default_rng(1).random((CHECKED, 3))


def smooth(n: int, nodes: int, ratio: float) -> Smooth:
    """Take the Gaussians for distances from 1 / ratio of the diagonal on, for n charges in the unit cube."""
    rates, weights = (x / 3**0.5 for x in newton_quadrature(ratio, TOL))
    problem = cube(n)
    return Smooth(GaussianSum(problem.X, problem.charges, rates, weights), nodes)


def ours_smooth(problem: Smooth) -> Any:
    return chebyshev_tucker(problem.cloud, [(0, 1)] * 3, tol=problem.tol)


def reduced_hosvd(problem: Smooth) -> tuple[np.ndarray, list[np.ndarray]]:
    """Stack the coefficients of all N K Gaussians, one matrix for each mode, take their left singular vectors, and contract the core."""
    from scipy.fft import dct

    cloud, m = problem.cloud, problem.nodes
    x = 0.5 + 0.5 * np.cos(np.pi * np.arange(m) / (m - 1))
    weights = np.outer(cloud.charges, cloud.weights).ravel()
    modes = []
    for y in cloud.centres.T:
        values = np.exp(-((cloud.rates * (x[:, None, None] - y[:, None])) ** 2)).reshape(m, -1)
        C = dct(values, type=1, axis=0, workers=THREADS) / (m - 1)
        C[[0, -1]] /= 2
        modes.append(C)
    factors = []
    for C in modes:
        U, s, _ = np.linalg.svd(np.linalg.qr((C * weights).T, mode="r").T)
        tails = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]
        factors.append(U[:, : int(np.sum(tails > problem.tol * np.linalg.norm(s) / 3**0.5))])
    A, B, C = (U.T @ C for U, C in zip(factors, modes, strict=True))
    core = np.zeros((len(A), len(B) * len(C)))
    for first in range(0, len(weights), 512):
        here = slice(first, first + 512)
        core += (A[:, here] * weights[here]) @ (B[:, None, here] * C[None, :, here]).reshape(-1, B[:, here].shape[1]).T
    return core.reshape(len(A), len(B), len(C)), factors


def smooth_error(problem: Smooth, answer: Any) -> Mapping[str, float]:
    """Return the largest error at random points, over the largest value there, and the largest rank."""
    x, exact = problem.points, problem.cloud(problem.points)
    if isinstance(answer, tuple):
        core, factors = answer
        tables = [np.cos(np.arccos(2 * x[:, k, None] - 1) * np.arange(len(U))) @ U for k, U in enumerate(factors)]
        values, rank = np.einsum("abc,na,nb,nc->n", core, *tables, optimize=True), max(core.shape)
    else:
        values, rank = answer(x), max(answer.ranks)
    return {"error": float(np.max(np.abs(values - exact)) / np.max(np.abs(exact))), "rank": rank}


ALL: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "FMM3D, eps 1e-7": multipoles,
    "FMM3D, eps 1e-4": partial(multipoles, eps=1e-4),
    "NumPy, all pairs in tiles": numpy_tiles,
    "NumPy, all pairs in tiles, float32": partial(numpy_tiles, dtype=np.float32),
}
MANY = {name: way for name, way in ALL.items() if not name.startswith("NumPy")}  # NumPy takes a minute
EVALUATION: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la, built before": ours_evaluated,
    "lowrank_la, built and evaluated": ours,
    "FMM3D, eps 1e-7": multipoles,
    "FMM3D, eps 1e-4": partial(multipoles, eps=1e-4),
    "NumPy, all pairs in tiles": numpy_tiles,
}
SMOOTH: dict[str, Callable[[Smooth], Any]] = {"lowrank_la": ours_smooth, "reduced HOSVD of all Gaussians, NumPy": reduced_hosvd}

TASKS = [
    Task("potential of 10000 charges at themselves", lambda size: cube(10_000 if size == "full" else 200), ALL, certified_error),
    Task("potential of 100000 charges at themselves", lambda size: cube(100_000 if size == "full" else 300), MANY, certified_error),
    Task(
        "potential of 10000 charges at 100000 points",
        lambda size: cube(10_000, 100_000, 0.2) if size == "full" else cube(100, 200, 0.5),
        EVALUATION,
        certified_error,
    ),
    Task("long range of 500 charges", lambda size: smooth(500, 73, 10) if size == "full" else smooth(20, 40, 4), SMOOTH, smooth_error),
    Task("long range of 5000 charges", lambda size: smooth(5000, 73, 10) if size == "full" else smooth(30, 40, 4), SMOOTH, smooth_error),
]
