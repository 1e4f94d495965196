"""Tables of docs/sliced_wasserstein.md: what every estimator does to the variance, and a flow of points along noisy gradients.

Run with: python -m benchmarks.sliced_tables
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.compare import _runner
from benchmarks.compare.sliced import Clouds, cases, chair, plane
from lowrank_la.sliced import sliced_wasserstein

RESULTS = Path(__file__).parent / "results"
MODES = ("lower", "upper", "spherical", "orthogonal", "qmc", "auto")
COUNTS, DRAWS = (100, 400), 100
FLOWING, STEPS, SHOWN = ("none", "lower", "upper", "auto"), 8000, (1, 1000, 2000, 3000, 4000, 6000, 8000)
Table = dict[str, dict[str, float]]


def square_error(clouds: Clouds, mode: str, L: int, truth: float, first: int = 0) -> float:
    """Mean over seeds of the squared error of SW_2^2."""
    found = [sliced_wasserstein(*clouds, n_projections=L, variance_reduction=mode, rng=first + seed).value_p for seed in range(DRAWS)]
    return float(np.mean((np.array(found) - truth) ** 2))


def gains(L: int) -> Table:
    """Mean square error of plain Monte Carlo over that of every estimator, with L projections."""
    table = {}
    for name, clouds in cases().items():
        truth = float(np.mean([sliced_wasserstein(*clouds, n_projections=8000, rng=10**6 + seed).value_p for seed in range(4)]))
        plain = square_error(clouds, "none", L, truth, 10**5)
        modes = [mode for mode in MODES if mode != "spherical" or clouds[0].shape[1] == 3]
        table[name] = {mode: plain / square_error(clouds, mode, L, truth) for mode in modes}
        print(L, name, table[name], flush=True)
    table["median"] = {mode: float(np.median([row[mode] for row in table.values() if mode in row])) for mode in MODES}
    return table


def flow(n: int = 1024) -> Table:
    """Follow W_2 while one shape flows into another, far away, by steps of 0.01 along the gradient of n SW_2 from 10 projections each."""
    import ot
    import torch

    rng = np.random.default_rng(0)
    source, target = (torch.tensor(2 * shape(rng, n) + offset) for shape, offset in ((chair, -10), (plane, 10)))
    table: Table = {}
    for mode in FLOWING:
        points, table[mode] = source.clone().requires_grad_(), {}
        for step in range(1, STEPS + 1):
            value = sliced_wasserstein(points, target, n_projections=10, variance_reduction=mode, rng=step).value
            (slope,) = torch.autograd.grad(n * value, points)
            points = (points - 0.01 * slope).detach().requires_grad_()
            if step in SHOWN:
                table[mode][f"{step}"] = float(ot.emd2([], [], ot.dist(points.detach(), target), numItermax=10**6)) ** 0.5
        print(mode, table[mode], flush=True)
    return table


def markdown(table: Mapping[str, Mapping[str, float]], corner: str) -> list[str]:
    """Write rows by name, columns in order of appearance."""
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "| --- " * (1 + len(columns)) + "|"]
    for name, row in table.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[column]:.3g}" if column in row else "" for column in columns) + " |")
    return lines


def main() -> None:
    """Take all figures and save them beside those of `benchmarks.compare`."""
    host = _runner.machine()
    tables = {f"variance of plain Monte Carlo over that of each estimator, {L} projections": gains(L) for L in COUNTS}
    tables["W_2 from the target after so many steps along gradients from 10 projections"] = flow()
    path = RESULTS / f"{host['date']}-sliced-variance.json"
    path.write_text(json.dumps({"machine": host, "draws": DRAWS, "tables": tables}, indent=1) + "\n")
    lines = [f"{host['processor']}; {host['date']}; {DRAWS} draws of each estimate."]
    for name, table in tables.items():
        lines += ["", f"## {name}", "", *markdown(table, "clouds" if "variance" in name else "estimator")]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
