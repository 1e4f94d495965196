"""Products with the inverse of a damped empirical Fisher matrix: `MFAC` beside the dense inverse and a Woodbury loop, in plain NumPy.

Each contender starts from the gradients and solves for one of them, which is the step of an optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la.curvature import MFAC

DAMP = 1e-4


@dataclass(frozen=True)
class Problem:
    """Gradients, the last of which is the right-hand side, and the answer in float64."""

    G: np.ndarray
    x: np.ndarray


def gradients(m: int, d: int) -> np.ndarray:
    """Draw float32 gradients with a few strong directions in common, as those of a network have."""
    rng = np.random.default_rng(0)
    strong = rng.standard_normal((m, 4), dtype=np.float32) @ rng.standard_normal((4, d), dtype=np.float32)
    strong += np.float32(0.1) * rng.standard_normal((m, d), dtype=np.float32)
    return strong


def _setup(size: str, m: int, d: int) -> Problem:
    G = gradients(m, d) if size == "full" else gradients(8, 100)
    m = len(G)
    blocks = range(0, G.shape[1], 4096)
    K = sum(block @ block.T for block in (G[:, first : first + 4096].astype(float) for first in blocks))
    s = np.linalg.solve(K + m * DAMP * np.eye(m), np.eye(m)[-1])
    return Problem(G, np.concatenate([m * (s @ G[:, first : first + 4096].astype(float)) for first in blocks]))


def ours(problem: Problem) -> Any:
    return MFAC(problem.G, damp=DAMP).solve(problem.G[-1])


def dense(problem: Problem) -> np.ndarray:
    G = problem.G.astype(float)
    return np.linalg.inv(DAMP * np.eye(G.shape[1]) + G.T @ G / len(G)) @ G[-1]


def woodbury(problem: Problem) -> np.ndarray:
    """Apply the rank-one formula gradient by gradient, as the published static algorithm does, in float32."""
    G, m = problem.G, np.float32(len(problem.G))
    H, sizes = np.empty_like(G), np.empty(len(G), G.dtype)
    for i, g in enumerate(G):
        H[i] = g / np.float32(DAMP) - ((H[:i] @ g) / sizes[:i]) @ H[:i]
        sizes[i] = m + g @ H[i]
    return G[-1] / np.float32(DAMP) - ((H @ G[-1]) / sizes) @ H


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Measure ||x - x*|| / ||x*||; ours brings a bound on it."""
    if isinstance(answer, np.ndarray):
        return {"relative error": float(np.linalg.norm(answer - problem.x) / np.linalg.norm(problem.x))}
    return {**error(problem, answer.x), "bound": answer.error_bound}


CONTENDERS: dict[str, Callable[[Problem], Any]] = {"lowrank_la": ours, "numpy, rank-one updates": woodbury}

TASKS = [
    Task("inverse Fisher product, 256 gradients of length 1e6, float32", partial(_setup, m=256, d=1_000_000), CONTENDERS, error),
    Task(
        "inverse Fisher product, 64 gradients of length 2000, float32",
        partial(_setup, m=64, d=2000),
        {**CONTENDERS, "numpy, dense inverse": dense},
        error,
    ),
]
