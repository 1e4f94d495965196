"""Schrodinger bridges: `light_bridge` beside the published training, written in torch, on samples of a bridge that is known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la import ConvergenceWarning
from lowrank_la._result import Certificate
from lowrank_la.transport import LightBridge, light_bridge

EPS = 0.5
COMPONENTS = 10


@dataclass(frozen=True)
class Problem:
    """Samples of both ends, fresh points of the first law, the means of the true bridge's ends from there, and most steps to take."""

    X0: np.ndarray
    X1: np.ndarray
    fresh: np.ndarray
    means: np.ndarray
    limit: int


def planted(d: int, seed: int = 0) -> LightBridge:
    """Draw a bridge with five components."""
    rng = np.random.default_rng(seed)
    centres, scales, zero = 2 * rng.standard_normal((5, d)) / math.sqrt(d), rng.uniform(0.1, 0.6, (5, d)), np.zeros(d)
    never = Certificate("none", math.inf, 0.0, "planted")
    return LightBridge(np.log(rng.dirichlet(5 * np.ones(5))), centres, scales, zero, zero, EPS, 0.0, 0.0, 0, True, never)


def _setup(size: str, n: int, d: int) -> Problem:
    n, d, limit = (n, d, 10_000) if size == "full" else (200, 2, 20)
    rng, truth = np.random.default_rng(1), planted(d)
    fresh = rng.standard_normal((5000, d))
    return Problem(rng.standard_normal((n, d)), truth.sample(rng.standard_normal((n, d)), rng=2), fresh, truth.mean(fresh), limit)


def ours(problem: Problem) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        bridge = light_bridge(problem.X0, problem.X1, eps=EPS, n_components=COMPONENTS, rng=0)
    return bridge.mean(problem.fresh)


def published(problem: Problem, steps: int) -> np.ndarray:
    """Adam at rate 1e-3 on batches of 128 with automatic differentiation, centres started at points of the second sample."""
    import torch

    torch.manual_seed(0)
    X, Y = (torch.from_numpy(x).float() for x in (problem.X0, problem.X1))
    d = X.shape[1]
    log_weight = torch.full((COMPONENTS,), -math.log(COMPONENTS), requires_grad=True)
    r = Y[torch.randperm(len(Y))[:COMPONENTS]].clone().requires_grad_()
    log_s = torch.full((COMPONENTS, d), math.log(0.1), requires_grad=True)
    optimizer = torch.optim.Adam([log_weight, r, log_s], lr=1e-3)
    for _ in range(min(steps, problem.limit)):
        x, y = X[torch.randint(len(X), (128,))], Y[torch.randint(len(Y), (128,))]
        s = log_s.exp()
        log_c = torch.logsumexp(log_weight + ((x * x) @ s.T + 2 * x @ r.T) / (2 * EPS), dim=1)
        away = (((y[:, None] - r) ** 2) / s).sum(-1) / EPS + log_s.sum(-1) + d * math.log(2 * math.pi * EPS)
        loss = log_c.mean() - torch.logsumexp(log_weight - away / 2, dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        x, s = torch.from_numpy(problem.fresh).float(), log_s.exp()
        share = torch.softmax(log_weight + ((x * x) @ s.T + 2 * x @ r.T) / (2 * EPS), dim=1)
        return (share[:, :, None] * (r + s * x[:, None])).sum(1).numpy()


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Measure the conditional means against the true ones, relative to their spread."""
    spread = problem.means - problem.means.mean(axis=0)
    return {"error of the means": float(np.linalg.norm(answer - problem.means) / np.linalg.norm(spread))}


CONTENDERS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "torch, 2000 steps of Adam": partial(published, steps=2000),
    "torch, 10000 steps of Adam": partial(published, steps=10_000),
}

TASKS = [
    Task("bridge between samples of 10000 points in 2 dimensions", partial(_setup, n=10_000, d=2), CONTENDERS, error),
    Task("bridge between samples of 10000 points in 16 dimensions", partial(_setup, n=10_000, d=16), CONTENDERS, error),
]
