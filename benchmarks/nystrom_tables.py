"""Tables of the documentation of `nystrom`, by hand: errors of every rule, and times of three ways to draw the same pivots.

The data, kernels and ranks are those of Chen, Epperly, Tropp and Webber (errors) and of Epperly, Tropp and Webber (times).
Run ``python -m benchmarks.nystrom_tables errors`` and ``python -m benchmarks.nystrom_tables times``; some minutes in all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.compare.nystrom import Problem, by_rejection, error, in_blocks, one_by_one, ours, smile, spiral
from lowrank_la.factor import eigsh_psd
from lowrank_la.kernel_methods import nystrom

METHODS = ("uniform", "greedy", "rls", "bless", "rpcholesky", "kmeans")
RANKS = (10, 30, 50, 100, 150)
WAYS: Mapping[str, Callable[[Problem], np.ndarray]] = {
    "`nystrom`": ours,
    "accelerated": by_rejection,
    "block": lambda problem: in_blocks(problem, 120),
    "one by one": one_by_one,
}


def least(problem: Problem) -> list[float]:
    """Return the least relative trace errors that are possible."""
    values = eigsh_psd(problem.kernel(problem.X, problem.X), max(RANKS), rng=0).s
    return [float(max(1 - values[:rank].sum() / problem.X.shape[0], 0)) for rank in RANKS]


def errors(n: int = 10_000, draws: int = 20) -> str:
    """Return medians of the relative trace error."""
    lines = ["| data | method | " + " | ".join(f"k = {rank}" for rank in RANKS) + " |", "|---" * (2 + len(RANKS)) + "|"]
    for name, problem in {"smile": smile(n, 1, 2.0), "spiral": spiral(n, 1)}.items():
        for method in METHODS:
            runs = [
                [nystrom(problem.X, kernel=problem.kernel, rank=rank, method=method, rng=seed).relative_error for seed in range(draws)]
                for rank in RANKS
            ]
            lines.append(f"| {name} | {method} | " + " | ".join(f"{np.median(run):.1e}" for run in runs) + " |")
        lines.append(f"| {name} | least possible | " + " | ".join(f"{value:.1e}" for value in least(problem)) + " |")
    return "\n".join(lines)


def times(n: int = 100_000, repeats: int = 3) -> str:
    """Return the best times in seconds, with the error."""
    lines = ["| k | " + " | ".join(WAYS) + " |", "|---" * (1 + len(WAYS)) + "|"]
    for way in WAYS.values():
        way(smile(n, 10, 0.2))  # compiles
    for rank in (10, 200, 400, 600, 800, 1000):
        problem, cells = smile(n, rank, 0.2), []
        for way in WAYS.values():
            spans = []
            for _ in range(repeats if rank < 500 else 1):
                start = time.perf_counter()
                F = way(problem)
                spans.append(time.perf_counter() - start)
            cells.append(f"{min(spans):.3f} ({error(problem, F)['trace error']:.3g})")
        lines.append(f"| {rank} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print({"errors": errors, "times": times}[sys.argv[1]]())
