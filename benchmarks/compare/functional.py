"""`FunctionalTucker` beside the algorithm of the authors' code, discrete Tucker and CP decompositions of binned data, and dense GPs.

Errors are those of predictions at new points against the noise-free function, over its standard deviation there; "coverage" is the
share of noisy new values inside 90% intervals, where a method has any.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task
from lowrank_la import ConvergenceWarning
from lowrank_la.functional_tucker import FunctionalTucker

NEW = 2000


@dataclass(frozen=True)
class Problem:
    """Training data; new points, their noisy values and the function's."""

    x: np.ndarray
    y: np.ndarray
    new: np.ndarray
    y_new: np.ndarray
    f: np.ndarray


def smooth(x: np.ndarray) -> np.ndarray:
    """Evaluate a function of multilinear rank (3, 2, 2)."""
    wave = np.sin(6 * x[:, 0]) * x[:, 1]
    return wave + np.cos(5 * x[:, 2]) * np.exp(-x[:, 0]) + 0.5 * x[:, 1] * np.sin(4 * x[:, 2])


def surface(x: np.ndarray) -> np.ndarray:
    """Evaluate the synthetic surface of the paper's notebook."""
    a, b = x[:, 0], x[:, 1]
    return np.sin(2 * np.pi * a) ** 2 * np.cos(2 * np.pi * a) * np.exp(-2 * b) * np.sin(1.5 * np.pi * b)


def drawn(size: str, n: int, levels: tuple[int, int, int]) -> Problem:
    """Draw points with so many levels of each coordinate, and noise of 0.1."""
    n = n if size == "full" else 200
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, count, n + NEW) / (count - 1) for count in levels], axis=1)
    f = smooth(x)
    y = f + 0.1 * rng.standard_normal(n + NEW)
    return Problem(x[:n], y[:n], x[n:], y[n:], f[n:])


def notebook(size: str) -> Problem:
    """Draw six random grids of 15 x 15, half of which train."""
    rng, side = np.random.default_rng(0), 15 if size == "full" else 6
    grids = [np.stack(np.meshgrid(rng.random(side), rng.random(side), indexing="ij"), axis=-1).reshape(-1, 2) for _ in range(6)]
    x = rng.permutation(np.round(np.concatenate(grids), 6))
    half, f = len(x) // 2, surface(x)
    return Problem(x[:half], f[:half], x[half:], f[half:], f[half:])


def ours(problem: Problem, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return FunctionalTucker(**{"rng": 0, "held_out": 0.0} | options).fit(problem.x, problem.y)


def dense_gp(problem: Problem) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel(1.0) * RBF(np.full(problem.x.shape[1], 0.3)) + WhiteKernel(0.01)
    return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(problem.x, problem.y)


class Binned:
    """A decomposition of the tensor of cell means by TensorLy, which fills empty cells as it goes; predictions are those of the cell."""

    def __init__(self, problem: Problem, rank: int, bins: int, method: str) -> None:
        import tensorly

        shape = (bins,) * problem.x.shape[1]
        self.bins, self.mean = bins, float(np.mean(problem.y))
        flat = np.ravel_multi_index(tuple(self.cells(problem.x).T), shape)
        counts = np.bincount(flat, minlength=int(np.prod(shape)))
        sums = np.bincount(flat, problem.y - self.mean, int(np.prod(shape)))
        T, mask = (sums / np.maximum(counts, 1)).reshape(shape), (counts > 0).astype(float).reshape(shape)
        if method == "cp":
            from tensorly.decomposition import parafac

            found = parafac(T, rank, mask=mask, n_iter_max=200, tol=1e-7, init="svd", random_state=0)
            self.dense = tensorly.cp_to_tensor(found)
        else:
            from tensorly.decomposition import tucker

            found = tucker(T, [rank] * T.ndim, mask=mask, n_iter_max=200, tol=1e-7, init="svd", random_state=0)
            self.dense = tensorly.tucker_to_tensor(found)

    def cells(self, x: np.ndarray) -> np.ndarray:
        return np.minimum((x * self.bins).astype(int), self.bins - 1)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.mean + self.dense[tuple(self.cells(x).T)]


def error(problem: Problem, model: Any) -> Mapping[str, float]:
    """Measure predictions; intervals where there are any."""
    size = float(np.std(problem.f))
    if isinstance(model, Binned):
        return {"relative error": float(np.sqrt(np.mean((model.predict(problem.new) - problem.f) ** 2))) / size}
    mean, std = model.predict(problem.new, return_std=True)
    figures = {"relative error": float(np.sqrt(np.mean((mean - problem.f) ** 2))) / size}
    figures["coverage"] = float(np.mean(np.abs(problem.y_new - mean) <= 1.6448536 * std))
    return figures | ({"sweeps": model.n_iter_} if isinstance(model, FunctionalTucker) else {})


PUBLISHED = {"as_published": True, "max_iter": 100, "tol": 1e-7}
DISCRETE: dict[str, Callable[[Problem], Any]] = {
    "TensorLy parafac, masked, 10 bins": partial(Binned, rank=4, bins=10, method="cp"),
    "TensorLy tucker, masked, 10 bins": partial(Binned, rank=3, bins=10, method="tucker"),
    "TensorLy tucker, masked, 20 bins": partial(Binned, rank=3, bins=20, method="tucker"),
}
SMALL: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": partial(ours, ranks=3),
    "lowrank_la format='cp'": partial(ours, ranks=4, format="cp"),
    "lowrank_la held_out=0.1": partial(ours, ranks=3, held_out=0.1),
    "lowrank_la as_published=True": partial(ours, ranks=3, **PUBLISHED),
    "scikit-learn GaussianProcessRegressor": dense_gp,
    **DISCRETE,
}
MIDDLE = {name: way for name, way in SMALL.items() if "scikit" not in name}
NOTEBOOK: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": partial(ours, ranks=1),
    "lowrank_la format='cp'": partial(ours, ranks=1, format="cp"),
    "lowrank_la as_published=True, format='cp'": partial(ours, ranks=1, format="cp", variance=0.5, **PUBLISHED),
    "scikit-learn GaussianProcessRegressor": dense_gp,
}
LARGE: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la one sweep": partial(ours, ranks=5, max_iter=1),
    "lowrank_la ten sweeps": partial(ours, ranks=5, max_iter=10),
}

TASKS = [
    Task("functional Tucker: the notebook's surface, 675 points", notebook, NOTEBOOK, error),
    Task("functional Tucker: 3 modes, 500 data", partial(drawn, n=500, levels=(100_000, 100_000, 100_000)), SMALL, error),
    Task("functional Tucker: 3 modes, 20000 data", partial(drawn, n=20_000, levels=(200, 200, 200)), MIDDLE, error),
    Task("functional Tucker: 3 modes, 1000000 data", partial(drawn, n=1_000_000, levels=(300, 1000, 2000)), LARGE, error),
]
assert THREADS == 2  # of BLAS, which all contenders use
