"""The figure of docs/sinkhorn.md: marginal error against time, of every method on one problem.

Run with: python -m benchmarks.transport_convergence
"""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import _runner
from benchmarks.compare.transport import Problem, absorbed, costs, error, ours, pot, regot_solver

RESULTS = Path(__file__).parent / "results"
FIGURE = Path(__file__).parents[1] / "docs" / "_static" / "sinkhorn_convergence.png"
KINDS, N, ETA = ("clouds", "images"), 1000, 1200
LONGEST = 3.0  # seconds of one curve's last point
COUNTS = (1, 3, 10, 30, 60, 100, 200, 400, 1000, 2000, 4000, 10_000)
Curve = list[tuple[float, float]]

OURS = {"lowrank_la": "auto", "lowrank_la, sparse": "newton-sparse", "lowrank_la, sweeps": "sinkhorn"}
PEERS: dict[str, Callable[[Problem], Any]] = {
    "NumPy, absorbed kernel": absorbed,
    "POT sinkhorn": lambda problem: pot(problem, "sinkhorn"),
    "POT stabilized": lambda problem: pot(problem, "sinkhorn_stabilized"),
    "regot ssns": lambda problem: regot_solver(problem, "sinkhorn_ssns"),
    "regot splr": lambda problem: regot_solver(problem, "sinkhorn_splr"),
}


def curve_of_ours(problem: Problem, method: str) -> Curve:
    """Read the history of one call; errors on coarser levels are those of other problems and do not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = min((ours(problem, method=method, max_iter=4000).history for _ in range(2)), key=lambda steps: steps[-1].seconds)
    return [(step.seconds, step.error) for step in history if step.reg == problem.reg]


def curve_of_peer(problem: Problem, solve: Callable[[Problem], Any]) -> Curve:
    """Time calls that are cut off after more and more iterations."""
    return list(_points(problem, solve))


def _points(problem: Problem, solve: Callable[[Problem], Any]) -> Iterator[tuple[float, float]]:
    solve(dataclasses.replace(problem, sweeps=1))
    for count in COUNTS:
        start = time.perf_counter()
        answer = solve(dataclasses.replace(problem, sweeps=count))
        seconds = time.perf_counter() - start
        off = error(problem, answer)["marginal error"]
        yield seconds, off
        if seconds > LONGEST or off < 1e-9:
            return


def measure() -> dict[str, dict[str, Curve]]:
    curves: dict[str, dict[str, Curve]] = {}
    for kind in KINDS:
        problem = Problem(costs(kind, N), 1 / ETA, 0)
        ours(problem)
        curves[kind] = {name: curve_of_ours(problem, method) for name, method in OURS.items()}
        curves[kind] |= {name: curve_of_peer(problem, solve) for name, solve in PEERS.items()}
    return curves


def draw(curves: dict[str, dict[str, Curve]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(11, 4), sharey=True, layout="constrained")
    for ax, (kind, lines) in zip(axes, curves.items(), strict=True):
        for k, (name, curve) in enumerate(lines.items()):
            own = name in OURS
            ax.loglog(*np.array(curve).T, marker=".", lw=2.2 if own else 1.2, ls="-" if own else "--", color=f"C{k}", label=name)
        ax.axhline(1e-9, color="0.7", lw=1)
        ax.set(xlabel="seconds", title=f"{kind}, n = {N}, eta = {ETA}", ylim=(1e-15, 3))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("L1 error of both sums")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right center")
    figure.savefig(path, dpi=110)


def main() -> None:
    host, curves = _runner.machine(), measure()
    path = RESULTS / f"{host['date']}-transport-convergence.json"
    path.write_text(json.dumps({"machine": host, "curves": curves}, indent=1) + "\n")
    draw(curves, FIGURE)


if __name__ == "__main__":
    main()
