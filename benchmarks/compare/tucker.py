"""Tucker decompositions: `tucker` beside TensorLy, which takes no tolerance and is given the ranks that ours found.

The smooth tensors are 1 / (1 + a_1 x_1 + ... + a_d x_d) on a grid, whose ranks are small; the noisy one has ranks 20 and noise of half the
tolerance. Errors are relative. TensorLy's own are no part of its answer; its fastest setting is one sweep of orthogonal
iteration from random factors, its default starts from SVDs of the unfoldings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la import tensors

TOL = 1e-6


@dataclass(frozen=True)
class Problem:
    """A tensor, its norm, and the ranks that ours needs for the tolerance."""

    T: np.ndarray
    norm: float
    ranks: tuple[int, ...]


def smooth(n: int, d: int) -> np.ndarray:
    """Sample a function on a grid in the unit cube."""
    x = np.linspace(0, 1, n)
    total = np.ones((1,) * d)
    for k in range(d):
        total = total + (1 + 0.3 * k) * x.reshape([-1 if j == k else 1 for j in range(d)])
    return 1 / total


def noisy(n: int, rank: int, noise: float) -> np.ndarray:
    """Spoil a tensor of three equal ranks with noise, relative to its norm."""
    rng = np.random.default_rng(0)
    core = rng.standard_normal((rank,) * 3)
    factors = [np.linalg.qr(rng.standard_normal((n, rank)))[0] for _ in range(3)]
    T = np.einsum("abc,ia,jb,kc->ijk", core, *factors, optimize=True)
    return T + noise * np.linalg.norm(T) / n**1.5 * rng.standard_normal(T.shape)


def _problem(T: np.ndarray) -> Problem:
    return Problem(T, float(np.linalg.norm(T)), tensors.tucker(T, tol=TOL, rng=0).ranks)


def _smooth(size: str, n: int, d: int) -> Problem:
    return _problem(smooth(n if size == "full" else 12, d))


def _noisy(size: str) -> Problem:
    n, rank = (300, 20) if size == "full" else (20, 3)
    return _problem(noisy(n, rank, TOL / 2))


def ours(problem: Problem, **options: Any) -> Any:
    return tensors.tucker(problem.T, tol=TOL, rng=0, **options)


def tensorly(problem: Problem, **options: Any) -> Any:
    from tensorly.decomposition import tucker

    return tucker(problem.T, rank=problem.ranks, random_state=0, **options)


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Relative error, sum of the ranks, and what the certificate says."""
    core, factors = (answer.core, answer.factors) if hasattr(answer, "certificate") else (answer[0], answer[1])
    left = rows(core, factors, problem.T)
    figures = {"error": left / problem.norm, "sum of ranks": float(sum(core.shape))}
    if hasattr(answer, "certificate"):
        figures["certified"] = answer.certificate.bound / problem.norm
    return figures


def rows(core: np.ndarray, factors: Any, T: np.ndarray) -> float:
    """Add up what is left of T, a few slices at a time."""
    for k in range(1, T.ndim):
        core = np.moveaxis(np.tensordot(factors[k], core, (1, k)), 0, k)
    flat, total = core.reshape(core.shape[0], -1), 0.0
    for i in range(T.shape[0]):
        total += float(np.sum((T[i].ravel() - factors[0][i] @ flat) ** 2))
    return total**0.5


FAST: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la method='sthosvd'": partial(ours, method="sthosvd"),
    "lowrank_la method='hosvd'": partial(ours, method="hosvd"),
    "TensorLy, init='random', randomized_svd, 1 sweep": partial(tensorly, init="random", svd="randomized_svd", n_iter_max=1),
    "TensorLy, randomized_svd, 1 sweep": partial(tensorly, svd="randomized_svd", n_iter_max=1),
}
DEFAULT: dict[str, Callable[[Problem], Any]] = {"lowrank_la": ours, "TensorLy, default": tensorly}

TASKS = [
    Task("tucker of a smooth 300 x 300 x 300 tensor, tol 1e-6", partial(_smooth, n=300, d=3), FAST, error),
    Task("tucker of a smooth 100 x 100 x 100 x 100 tensor, tol 1e-6", partial(_smooth, n=100, d=4), FAST, error),
    Task("tucker of a noisy 300 x 300 x 300 tensor, ranks 20, tol 1e-6", _noisy, FAST, error),
    Task("tucker of a smooth 300 x 300 x 300 tensor, beside a default", partial(_smooth, n=300, d=3), DEFAULT, error),
    Task("tucker of a smooth 100 x 100 x 100 x 100 tensor, beside a default", partial(_smooth, n=100, d=4), DEFAULT, error),
]
