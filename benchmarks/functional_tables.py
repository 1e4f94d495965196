"""Tables of the documentation of `FunctionalTucker`, by hand: the published settings, with the authors' algorithm and with ours.

The synthetic surface is that of the paper's notebook. The air-quality data of the paper are not bundled with anything that can be
installed; draws of the same size and number of distinct coordinates, from a model of rank 3, stand in for them.
Run ``python -m benchmarks.functional_tables``, some minutes; it writes `benchmarks/results/DATE-functional-tables.md`.
"""

from __future__ import annotations

import datetime
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.functional import surface
from lowrank_la import ConvergenceWarning
from lowrank_la.functional_tucker import FunctionalTucker

RESULTS = Path(__file__).parent / "results"
SEEDS = range(5)
AIR, LEVELS = 11_954, (428, 501, 1461)  # data, and distinct pressures, temperatures and times
PUBLISHED = {"as_published": True, "held_out": 0.0, "max_iter": 100, "tol": 0.0}
NOTEBOOK = {
    "as published: CP, rank 1, Matern 3/2": PUBLISHED | {"ranks": 1, "format": "cp", "kernel": "matern32", "variance": 0.5},
    "corrected, CP, rank 1": {"ranks": 1, "format": "cp", "held_out": 0.0},
    "corrected, Tucker, rank 1": {"ranks": 1, "held_out": 0.0},
    "corrected, Tucker, rank 2": {"ranks": 2, "held_out": 0.0},
}


def notebook(seed: int) -> tuple[np.ndarray, ...]:
    """Draw six random grids of 15 x 15, rounded to six decimals: half to train, half to test."""
    rng = np.random.default_rng(seed)
    grids = [np.stack(np.meshgrid(rng.random(15), rng.random(15), indexing="ij"), axis=-1).reshape(-1, 2) for _ in range(6)]
    x = rng.permutation(np.round(np.concatenate(grids), 6))
    return x[:675], surface(x[:675]), x[675:], surface(x[675:])


def air(seed: int) -> tuple[np.ndarray, ...]:
    """Draw smooth factors of rank 3 and rough noise of a third of the standard deviation; 90% to train, 10% to test."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(0, count, AIR) / (count - 1) for count in LEVELS], axis=1)
    waves, phases = rng.uniform(1, 12, (3, 3)), rng.uniform(0, 2 * np.pi, (3, 3))
    u = [np.sin(x[:, k, None] * waves[k] + phases[k]) for k in range(3)]
    f = np.einsum("na,nb,nc,abc->n", *u, rng.standard_normal((3, 3, 3)))
    y = f / np.std(f) + 0.33 * rng.standard_normal(AIR)
    cut = AIR * 9 // 10
    return x[:cut], y[:cut], x[cut:], y[cut:]


def run(data: tuple[np.ndarray, ...], options: dict[str, Any]) -> tuple[float, float, float, float]:
    """Return RMSE, MAE, coverage of 90% intervals, and seconds."""
    x, y, new, truth = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model = FunctionalTucker(rng=0, **options).fit(x, y)
        seconds = time.perf_counter() - start
    mean, std = model.predict(new, return_std=True)
    miss = np.abs(mean - truth)
    return float(np.sqrt(np.mean(miss**2))), float(np.mean(miss)), float(np.mean(miss <= 1.6448536 * std)), seconds


def rows(name: str, runs: list[tuple[float, float, float, float]]) -> str:
    """Write medians over the seeds as a line of a table, the largest RMSE beside them."""
    rmse, mae, coverage, seconds = np.median(runs, axis=0)
    return f"| {name} | {rmse:.2g} | {max(r[0] for r in runs):.2g} | {mae:.2g} | {coverage:.2f} | {seconds:.2f} |"


def table(title: str, cases: dict[str, dict[str, Any]], data: list[tuple[np.ndarray, ...]]) -> list[str]:
    """Make a table: one line for each setting."""
    for options in cases.values():
        run(data[0], options | {"max_iter": 2})  # compiles
    heading = ["| setting | RMSE | largest | MAE | coverage | seconds |", "|---" * 6 + "|"]
    return ["", f"## {title}", "", *heading, *[rows(name, [run(d, options) for d in data]) for name, options in cases.items()]]


def air_cases() -> dict[str, dict[str, Any]]:
    """Name the settings of the paper for the air-quality data: Matern 1/2, lengthscale 0.1, 100 epochs."""
    cases = {}
    for R in (2, 3, 5, 7):
        cases[f"as published, rank {R}, Matern 1/2"] = PUBLISHED | {"ranks": R, "kernel": "matern12"}
        cases[f"corrected, rank {R}, Matern 1/2"] = {"ranks": R, "kernel": "matern12", "held_out": 0.0}
        cases[f"corrected, rank {R}, Matern 3/2"] = {"ranks": R, "held_out": 0.0}
    return cases


def main() -> None:
    lines = ["Medians over five draws; coverage is that of 90% intervals; seconds for a fit on two threads.", ""]
    lines += table("Synthetic surface, 675 + 675 points (published: RMSE 0.004, MAE 0.002, 8 s)", NOTEBOOK, [notebook(s) for s in SEEDS])
    lines += table(f"Size of the air-quality data, {AIR} data, noise 0.33", air_cases(), [air(s) for s in range(2)])
    path = RESULTS / f"{datetime.date.today():%Y-%m-%d}-functional-tables.md"
    path.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
