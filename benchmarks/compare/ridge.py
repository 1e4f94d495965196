"""Kernel ridge regression: `kernel_ridge` beside scikit-learn's dense solver, and beside ridge regression on its Nystroem features.

The error is that of predictions at 1000 new points against the exact minimiser: the root of the mean square, over that of the
minimiser's values. Ours comes with a bound on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la.kernel_methods import RBF, KernelRidgeResult, kernel_ridge

DIMENSION, BANDWIDTH, RIDGE, NEW = 20, 6.0, 1.0, 1000


@dataclass(frozen=True)
class Problem:
    """Training points and targets, new points, and the exact minimiser's values there."""

    X: np.ndarray
    y: np.ndarray
    new: np.ndarray
    f: np.ndarray


def points(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw normal points, targets that depend on three coordinates, and new points."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n + NEW, DIMENSION))
    y = np.sin(X[:n, 0]) + X[:n, 1] * X[:n, 2] + 0.1 * rng.standard_normal(n)
    return X[:n], y, X[n:]


def ours(problem: Problem, **options: Any) -> KernelRidgeResult:
    return kernel_ridge(problem.X, problem.y, kernel=RBF(BANDWIDTH), ridge=RIDGE, rng=0, **options)


def restricted(problem: Problem, rank: int, **options: Any) -> KernelRidgeResult:
    return ours(problem, solver="nystrom", rank=min(rank, len(problem.X)), **options)


def sklearn_dense(problem: Problem) -> Any:
    from sklearn.kernel_ridge import KernelRidge

    return KernelRidge(alpha=RIDGE, kernel="rbf", gamma=0.5 / BANDWIDTH**2).fit(problem.X, problem.y)


def sklearn_nystroem(problem: Problem, components: int) -> Any:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    features = Nystroem(gamma=0.5 / BANDWIDTH**2, n_components=min(components, len(problem.X)), random_state=0)
    return make_pipeline(features, Ridge(RIDGE, fit_intercept=False)).fit(problem.X, problem.y)


def _setup(size: str, n: int) -> Problem:
    X, y, new = points(n if size == "full" else 200)
    exact = kernel_ridge(X, y, kernel=RBF(BANDWIDTH), ridge=RIDGE, tol=1e-10, rng=1)
    return Problem(X, y, new, exact.predict(new))


def error(problem: Problem, model: Any) -> Mapping[str, float]:
    """Measure the error of predictions; ours brings iterations and a bound, of which the largest is shown."""
    size = float(np.linalg.norm(problem.f))
    if not isinstance(model, KernelRidgeResult):
        return {"relative error": float(np.linalg.norm(model.predict(problem.new) - problem.f)) / size}
    f, bound = model.predict(problem.new, return_bound=True)
    figures = {"iterations": model.n_iter, "certified": min(float(np.linalg.norm(bound)) / size, 1e300)}
    return {"relative error": float(np.linalg.norm(f - problem.f)) / size, **figures}


EXACT: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la solver='direct'": partial(ours, solver="direct"),
    "scikit-learn KernelRidge": sklearn_dense,
}


LARGE: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la solver='nystrom', rank=1000": partial(restricted, rank=1000),
    "lowrank_la solver='nystrom', rank=2000": partial(restricted, rank=2000),
    "lowrank_la solver='nystrom', rank=2000, certificate=False": partial(restricted, rank=2000, certificate=False),
    "scikit-learn Nystroem(1000), Ridge": partial(sklearn_nystroem, components=1000),
    "scikit-learn Nystroem(2000), Ridge": partial(sklearn_nystroem, components=2000),
}

TASKS = [
    Task("kernel ridge regression 10000 x 20", partial(_setup, n=10_000), EXACT, error),
    Task("kernel ridge regression 50000 x 20", partial(_setup, n=50_000), LARGE, error),
    Task("kernel ridge regression 100000 x 20", partial(_setup, n=100_000), {"lowrank_la": ours}, error),
]
