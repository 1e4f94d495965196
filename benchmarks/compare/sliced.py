"""Sliced Wasserstein distances beside POT and sorted rows of NumPy; the variance of every estimator beside plain Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la.sliced import sliced_wasserstein

Clouds = tuple[np.ndarray, np.ndarray]
CHUNK_BYTES = 1 << 21  # of the projections that the NumPy contender sorts at a time: what was fastest


@dataclass
class Problem:
    """Two clouds, and directions for all contenders."""

    X: np.ndarray
    Y: np.ndarray
    n_projections: int

    @cached_property
    def directions(self) -> np.ndarray:
        T = np.random.default_rng(1).standard_normal((self.n_projections, self.X.shape[1]))
        return (T / np.linalg.norm(T, axis=1, keepdims=True)).astype(self.X.dtype)

    @cached_property
    def truth(self) -> float:
        """SW_2 by the default estimator with many directions of its own."""
        return float(sliced_wasserstein(self.X, self.Y, n_projections=8 * self.n_projections, rng=12345).value)


def boxes(rng: np.random.Generator, n: int, parts: list[tuple[tuple[float, float, float], tuple[float, float, float]]]) -> np.ndarray:
    """Draw points on the surfaces of boxes, given by centres and sizes."""
    centres, sizes = (np.array(x) for x in zip(*parts, strict=True))
    areas = sizes[:, 0] * sizes[:, 1] + sizes[:, 1] * sizes[:, 2] + sizes[:, 0] * sizes[:, 2]
    part = rng.choice(len(parts), n, p=areas / areas.sum())
    points, side = rng.uniform(-0.5, 0.5, (n, 3)), rng.integers(0, 3, n)
    points[np.arange(n), side] = 0.5 * np.sign(points[np.arange(n), side])
    return centres[part] + sizes[part] * points


def chair(rng: np.random.Generator, n: int = 2048) -> np.ndarray:
    legs = [((x, y, -0.35), (0.06, 0.06, 0.4)) for x in (-0.2, 0.2) for y in (-0.2, 0.2)]
    return boxes(rng, n, [((0, 0, -0.12), (0.5, 0.5, 0.06)), ((0, 0.22, 0.2), (0.5, 0.06, 0.6)), *legs])


def plane(rng: np.random.Generator, n: int = 2048) -> np.ndarray:
    body, wings = ((0, 0, 0), (1.0, 0.12, 0.12)), ((0.05, 0, 0), (0.22, 1.0, 0.03))
    return boxes(rng, n, [body, wings, ((-0.45, 0, 0.02), (0.12, 0.35, 0.02)), ((-0.45, 0, 0.1), (0.12, 0.02, 0.2))])


def torus(rng: np.random.Generator, n: int = 2048) -> np.ndarray:
    around, inside = rng.uniform(0, 2 * np.pi, (2, n))
    radius = 0.35 + 0.1 * np.cos(inside)
    return np.stack([radius * np.cos(around), radius * np.sin(around), 0.1 * np.sin(inside) + 0.3], axis=1)


def gaussians(rng: np.random.Generator, d: int, n: int = 500) -> Clouds:
    """Draw two Gaussian clouds with unrelated covariances."""
    A = rng.standard_normal((d, d)) / np.sqrt(d) * np.linspace(0.3, 1.5, d)
    B = rng.standard_normal((d, d)) / np.sqrt(d)
    return rng.standard_normal((n, d)) @ A + 0.5 * rng.standard_normal(d), rng.standard_normal((n, d)) @ B


def mixtures(rng: np.random.Generator, d: int, n: int = 500) -> Clouds:
    """Draw two mixtures of two clusters, with equal means."""
    ends = rng.standard_normal((2, d))
    ends *= 2 / np.linalg.norm(ends, axis=1, keepdims=True)
    X, Y = (0.5 * rng.standard_normal((n, d)) + np.sign(rng.uniform(-1, 1, (n, 1))) * end for end in ends)
    return X, Y


def heavy(rng: np.random.Generator, d: int = 20, n: int = 500) -> Clouds:
    """Draw squares of Gaussians with signs, and an anisotropic Gaussian cloud."""
    G = rng.standard_normal((n, d))
    return 0.7 * np.sign(G) * G**2, rng.standard_normal((n, d)) * np.linspace(0.3, 2, d)


def cases() -> dict[str, Clouds]:
    """Name the pairs of clouds on which variances are measured."""
    rng = np.random.default_rng(7)
    shapes = chair(rng), plane(rng), torus(rng)
    pairs = {"chair, plane": (shapes[0], shapes[1]), "chair, torus": (shapes[0], shapes[2]), "plane, torus": (shapes[1], shapes[2])}
    pairs |= {f"Gaussians, d = {d}": gaussians(rng, d) for d in (10, 20, 50)}
    pairs |= {f"mixtures, d = {d}": mixtures(rng, d) for d in (10, 50)}
    return pairs | {"heavy tails, d = 20": heavy(rng)}


def _problem(size: str, n: int, d: int, L: int, dtype: str) -> Problem:
    n, L = (n, L) if size == "full" else (500, 32)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((n, d)), rng.standard_normal((n, d)) * np.linspace(0.5, 1.5, d) + 0.1
    return Problem(X.astype(dtype), Y.astype(dtype), L)


def ours(problem: Problem, share: int = 1, **options: Any) -> Any:
    return sliced_wasserstein(problem.X, problem.Y, n_projections=-(-problem.n_projections // share), rng=0, **options)


def pot(problem: Problem) -> float:
    import ot

    return float(ot.sliced_wasserstein_distance(problem.X, problem.Y, projections=problem.directions.T))


def numpy_rows(problem: Problem) -> float:
    """Sort contiguous rows of projections in place, a few at a time so that they stay in cache."""
    T, X, Y = problem.directions, problem.X, problem.Y
    step = max(1, CHUNK_BYTES // (X.itemsize * (len(X) + len(Y))))
    total = 0.0
    for first in range(0, len(T), step):
        U, V = T[first : first + step] @ X.T, T[first : first + step] @ Y.T
        U.sort(axis=1)
        V.sort(axis=1)
        U -= V
        total += float(np.vdot(U, U)) / len(X)
    return (total / len(T)) ** 0.5


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    if not isinstance(answer, float):
        return {**error(problem, float(answer.value)), "certified": answer.certificate.bound / problem.truth}
    return {"relative error": abs(answer - problem.truth) / problem.truth}


CONTENDERS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la, a tenth of the projections": partial(ours, share=10),
    'lowrank_la variance_reduction="none"': partial(ours, variance_reduction="none"),
    "numpy, sorted rows": numpy_rows,
    "POT": pot,
}


def _task(n: int, d: int, L: int, dtype: str) -> Task:
    """Leave out POT where it would take minutes to show for float32 what it shows for float64."""
    contenders = {name: run for name, run in CONTENDERS.items() if name != "POT" or n < 100_000 or dtype == "float64"}
    name = f"sliced Wasserstein, 2 x {n} x {d}, {L} projections, {dtype}"
    return Task(name, partial(_problem, n=n, d=d, L=L, dtype=dtype), contenders, error)


TASKS = [_task(n, d, 1000, dtype) for n, d in ((100_000, 3), (10_000, 64)) for dtype in ("float64", "float32")]
