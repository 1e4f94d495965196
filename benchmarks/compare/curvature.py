"""Products with the inverse of a damped empirical Fisher matrix: ours beside the published algorithms in torch, and the dense inverse.

All answers are steps of an optimizer: H^-1 times one of the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task
from lowrank_la.curvature import MFAC, SlidingMFAC

DAMP = 1e-4
NARROW = 4096  # columns that the oracle widens at a time


@dataclass(frozen=True)
class Problem:
    """Gradients G, the inverse of G G^T + m damp I in float64, and windows that are full."""

    G: np.ndarray
    damp: float
    S: np.ndarray
    windows: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """H^-1 times gradient number `index`, and a bound on its relative error if there is one."""

    x: np.ndarray
    index: int = -1
    bound: float | None = None
    rounded: bool = False


def gradients(m: int, d: int) -> np.ndarray:
    """Draw float32 gradients with a few strong directions in common, as those of a network have."""
    rng = np.random.default_rng(0)
    G = rng.standard_normal((m, 4), dtype=np.float32) @ rng.standard_normal((4, d), dtype=np.float32)
    for g in G:
        g += np.float32(0.1) * rng.standard_normal(d, dtype=np.float32)
    return G


def _setup(size: str, m: int, d: int, damp: float = DAMP, windows: Mapping[str, Callable[..., Any]] | None = None) -> Problem:
    G = gradients(m, d) if size == "full" else gradients(8, 100)
    K = sum(tile @ tile.T for tile in (G[:, first : first + NARROW].astype(float) for first in range(0, G.shape[1], NARROW)))
    S = np.linalg.inv(K + len(G) * damp * np.eye(len(G)))
    full = {}
    for name, window in (windows or {}).items():
        try:
            full[name] = window(G, damp)
        except ImportError:
            continue  # its contender reports that
    return Problem(G, damp, S, full)


def ours(problem: Problem) -> Step:
    result = MFAC(problem.G, damp=problem.damp).solve(problem.G[-1])
    return Step(result.x, -1, result.error_bound)


def dense(problem: Problem) -> Step:
    G = problem.G.astype(float)
    return Step(np.linalg.inv(problem.damp * np.eye(G.shape[1]) + G.T @ G / len(G)) @ G[-1])


def published_static(problem: Problem) -> Step:
    """Run the static recursion of the paper in float32: h_i is the inverse with the gradients before g_i, times g_i."""
    import torch

    torch.set_num_threads(THREADS)
    G, damp, m = torch.from_numpy(problem.G), problem.damp, len(problem.G)
    H, sizes = torch.empty_like(G), torch.empty(m)
    for i in range(m):
        torch.div(G[i], damp, out=H[i])
        if i:
            H[i].addmv_(H[:i].T, (H[:i] @ G[i]) / sizes[:i], alpha=-1)
        sizes[i] = m + G[i] @ H[i]
    return Step(torch.addmv(G[-1] / damp, H.T, (H @ G[-1]) / sizes, alpha=-1).numpy())


class OurWindow:
    """A full window, in which the oldest gradient becomes the newest: its gradients stay the same."""

    def __init__(self, G: np.ndarray, damp: float, storage: str | None = None) -> None:
        self.rounded = storage is not None
        self.fisher, self.index = SlidingMFAC(G.shape[1], len(G), damp=damp, storage=storage), -1
        self.fisher.push(G)

    def push_solve(self, G: np.ndarray) -> Step:
        self.index = (self.index + 1) % len(G)
        result = self.fisher.push_solve(G[self.index])
        return Step(result.x, self.index, result.error_bound, self.rounded)


class PublishedWindow:
    """The dynamic algorithm of the paper in float32: products with the window, an elimination, and a triangle of coefficients."""

    def __init__(self, G: np.ndarray, damp: float) -> None:
        import torch

        torch.set_num_threads(THREADS)
        self.G, self.damp, self.index = torch.from_numpy(G.copy()), damp, -1
        self.dots = self.G @ self.G.T

    def push_solve(self, G: np.ndarray) -> Step:
        import torch

        self.index = (self.index + 1) % len(G)
        g, m = self.G[self.index].copy_(torch.from_numpy(G[self.index])), len(G)
        self.dots[self.index] = self.dots[:, self.index] = self.G @ g
        D = self.dots / self.damp  # D_ij becomes g_i times the inverse with the gradients before it, times g_j
        for i in range(m - 1):
            D[i + 1 :, i + 1 :].addr_(D[i + 1 :, i] / (m + D[i, i]), D[i, i + 1 :], alpha=-1)
        sizes = m + D.diagonal()
        triangle = torch.eye(m) + (D.T / sizes).tril(-1)
        B = torch.linalg.solve_triangular(triangle, torch.eye(m) / self.damp, upper=False)
        z = B @ (self.G @ g)
        return Step((g / self.damp - ((z / sizes) @ B) @ self.G).numpy(), self.index)


def step(name: str, problem: Problem) -> Step:
    import torch  # noqa: F401  # only the published window needs it

    return problem.windows[name].push_solve(problem.G)


def our_step(name: str, problem: Problem) -> Step:
    return problem.windows[name].push_solve(problem.G)


def error(problem: Problem, answer: Step) -> Mapping[str, float]:
    """Measure ||x - x*|| / ||x*|| for x* = m G^T S e, which needs no difference; ours brings a bound, for rounded gradients alone."""
    if answer.rounded and answer.bound is not None:
        return {"bound": answer.bound}
    G, s = problem.G, len(problem.G) * problem.S[answer.index]
    wrong = size = 0.0
    for first in range(0, G.shape[1], NARROW):
        x = s @ G[:, first : first + NARROW].astype(float)
        wrong += float(np.sum((answer.x[first : first + NARROW] - x) ** 2))
        size += float(np.sum(x**2))
    measured = {"relative error": (wrong / size) ** 0.5}
    return measured if answer.bound is None else {**measured, "bound": answer.bound}


STATIC: dict[str, Callable[[Problem], Step]] = {"lowrank_la": ours, "torch, published static recursion": published_static}
WINDOWS = {"ours": OurWindow, "bfloat16": partial(OurWindow, storage="bfloat16"), "published": PublishedWindow}
STEPS: dict[str, Callable[[Problem], Step]] = {
    "lowrank_la": partial(our_step, "ours"),
    'lowrank_la, storage="bfloat16"': partial(our_step, "bfloat16"),
    "torch, published window": partial(step, "published"),
}

TASKS = [
    Task("set-up and a product, 512 gradients of length 1e6, float32", partial(_setup, m=512, d=1_000_000), STATIC, error),
    Task(
        "push and step, window of 512 gradients of length 1e6, float32, damping 1e-6",
        partial(_setup, m=512, d=1_000_000, damp=1e-6, windows=WINDOWS),
        STEPS,
        error,
    ),
    Task(
        "push and step, window of 128 gradients of length 4096, float32, damping 1e-6",
        partial(_setup, m=128, d=4096, damp=1e-6, windows=WINDOWS),
        STEPS,
        error,
    ),
    Task(
        "set-up and a product, 64 gradients of length 2000, float32",
        partial(_setup, m=64, d=2000),
        {**STATIC, "numpy, dense inverse": dense},
        error,
    ),
]
