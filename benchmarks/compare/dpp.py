"""Determinantal samples: `sample_dpp` and `sample_l_ensemble` beside DPPy and a plain loop in Numba.

Orthonormal columns (or eigenpairs) are made before the clock starts, for all contenders alike: a time is that of the samples
alone, and divided by their number it compares with others. The error is how far the shares of items are from their exact
probabilities, in standard deviations of a perfect sampler (root mean square over groups of items: 1 is perfect).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from benchmarks.compare import Task
from lowrank_la.dpp import DiscreteFeatures, _chain, sample_l_ensemble

GROUPS = 50


@dataclass(frozen=True)
class Problem:
    """Orthonormal columns Q (N, m), or eigenpairs of a kernel, and how many samples to draw in a call."""

    Q: np.ndarray
    samples: int
    few: int  # samples for contenders that are slow


def _features(n: int, m: int, samples: int, few: int = 1) -> Problem:
    rng = np.random.default_rng(0)
    Phi = rng.standard_normal((n, m)) * rng.uniform(0.2, 2, (n, 1))
    return Problem(np.ascontiguousarray(DiscreteFeatures(Phi).inside), samples, few)


def ours(problem: Problem) -> np.ndarray:
    return _chain.rows(problem.Q, problem.samples, 0)[0]


def ours_one(problem: Problem) -> np.ndarray:
    return np.concatenate([_chain.rows(problem.Q, 1, seed)[0] for seed in range(problem.samples)])


def plain(problem: Problem) -> np.ndarray:
    """Propose by inversion, test by one projection, orthogonalise twice: the loop as one writes it."""
    shares = np.sum(problem.Q**2, axis=1)
    return _plain(problem.Q, shares, np.cumsum(shares), problem.samples, 0)


@njit(cache=True)
def _plain(Q, shares, steps, samples, seed):  # type: ignore[no-untyped-def]
    np.random.seed(seed)  # noqa: NPY002  Numba's own generator
    n, m = Q.shape
    drawn, B, y = np.empty((samples, m), np.int64), np.empty((m, m)), np.empty(m)
    for r in range(samples):
        known = 0
        while known < m:
            j = min(np.searchsorted(steps, np.random.random() * steps[-1], side="right"), n - 1)  # noqa: NPY002
            y[:known] = np.dot(B[:known], Q[j])
            rest = shares[j] - np.dot(y[:known], y[:known])
            if rest <= np.random.random() * shares[j]:  # noqa: NPY002
                continue
            f = Q[j] - np.dot(y[:known], B[:known])
            f -= np.dot(np.dot(B[:known], f), B[:known])
            B[known] = f / np.sqrt(np.dot(f, f))
            drawn[r, known] = j
            known += 1
    return drawn


def dppy(problem: Problem, mode: str) -> np.ndarray:
    """Use the sampler of projection kernels by their eigenvectors, whose default and fastest mode is "GS"."""
    from dppy.exact_sampling import proj_dpp_sampler_eig

    rng = np.random.RandomState(0)
    return np.array([proj_dpp_sampler_eig(problem.Q, mode, random_state=rng) for _ in range(problem.few)])


def error(problem: Problem, drawn: np.ndarray) -> Mapping[str, float]:
    """Compare the shares of groups of items with exact ones, and count items that were drawn twice."""
    p = np.sum(problem.Q**2, axis=1)
    group = np.arange(p.size) * GROUPS // p.size
    expected, counts = np.zeros(GROUPS), np.zeros((drawn.shape[0], GROUPS))
    np.add.at(expected, group, p)
    np.add.at(counts, (np.arange(drawn.shape[0])[:, None], group[drawn]), 1)
    within = np.array([np.sum((problem.Q[group == g].T @ problem.Q[group == g]) ** 2) for g in range(GROUPS)])
    deviation = np.sqrt((expected - within) / drawn.shape[0])  # the exact variance of a count: trace(P) - ||P||_F^2 on the group
    repeated = sum(drawn.shape[1] - len(set(sample.tolist())) for sample in drawn)
    z = (counts.mean(axis=0) - expected) / deviation
    return {"samples": drawn.shape[0], "share error / ideal": float(np.sqrt(np.mean(z**2))), "repeated items": repeated}


@dataclass(frozen=True)
class Kernel:
    """A Gaussian kernel of points on a line, which is numerically of low rank, and a size."""

    L: np.ndarray
    size: int
    samples: int


def _kernel(n: int, size: int, samples: int) -> Kernel:
    x = np.linspace(0, 1, n)
    return Kernel(np.exp(-200 * (x[:, None] - x) ** 2), size, samples)


def ours_fixed(problem: Kernel) -> Any:
    return sample_l_ensemble(problem.L, size=problem.size, repeats=problem.samples, rng=0).indices


def dppy_fixed(problem: Kernel) -> Any:
    from dppy.finite_dpps import FiniteDPP

    process = FiniteDPP("likelihood", L=problem.L)
    rng = np.random.RandomState(0)
    return np.array([process.sample_exact_k_dpp(problem.size, random_state=rng) for _ in range(problem.samples)])


def spacing(problem: Kernel, drawn: np.ndarray) -> Mapping[str, float]:
    """Give the mean distance of neighbours, which all exact samplers share, and items that were drawn twice."""
    ordered = np.sort(drawn, axis=1)
    gaps = np.diff(ordered, axis=1)
    return {"mean least gap": float(gaps.min(axis=1).mean() / problem.L.shape[0]), "repeated items": int((gaps == 0).sum())}


def _task(n: int, m: int, samples: int, few: int) -> Task:
    contenders = {
        "lowrank_la": ours,
        "lowrank_la, a call for each": ours_one,
        "plain Numba loop": plain,
        "DPPy GS": lambda problem: dppy(problem, "GS"),
    }
    name = f"projection DPP of {m} of {n} items, {samples} samples (DPPy: {few})"
    return Task(name, lambda size: _features(n, m, samples, few) if size == "full" else _features(60, 6, 20, 5), contenders, error)


TASKS = [
    _task(10_000, 50, 10_000, 5),
    _task(100_000, 100, 200, 2),
    _task(10_000, 500, 10, 1),
    Task(
        "k-DPP of 20 of 1000 items with a Gaussian kernel, eigenpairs included, 100 samples",
        lambda size: _kernel(1000, 20, 100) if size == "full" else _kernel(60, 5, 4),
        {"lowrank_la": ours_fixed, "DPPy": dppy_fixed},
        spacing,
    ),
]
