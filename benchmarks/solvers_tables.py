"""Tables of the documentation of `solvers`, by hand: federated rounds over seeds, interrupted runs, estimates of errors, dense systems.

Run ``python -m benchmarks.solvers_tables``; it takes some minutes and writes benchmarks/results/DATE-solvers-tables.md.
"""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.solvers import poisson
from lowrank_la import ConvergenceWarning
from lowrank_la.solvers import conjugate_gradients, federated_wls, lsmr

ROOT = Path(__file__).parents[1]
SEEDS = range(100, 120)
CLIENTS, UNKNOWNS = 10, 5
NOISES, FACTORS = (1e-4, 1e-3, 1e-2, 1e-1), (0.1, 0.3, 1.0, 3.0, 10.0)
SIZES = {"40 each": (40,) * CLIENTS, "4 to 400": (4, 7, 11, 19, 31, 52, 86, 144, 240, 400)}
Data = Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]


def draw(seed: int, sizes: Sequence[int] = (40,) * CLIENTS) -> Data:
    """Draw clients whose data differ in scale, weights and truth."""
    rng = np.random.default_rng(seed)
    truth, data = rng.standard_normal(UNKNOWNS), []
    for rows in sizes:
        X = rng.standard_normal((rows, UNKNOWNS)) * rng.uniform(0.5, 2, UNKNOWNS)
        y = X @ (truth + 0.3 * rng.standard_normal(UNKNOWNS)) + 0.1 * rng.standard_normal(rows)
        data.append((X, y, rng.uniform(0.2, 3, rows)))
    return data


def published(data: Data, rho: float, rounds: int, share: float, noise: float, seed: int) -> np.ndarray:
    """Return the mean that the server holds after each round of the update without multipliers; clients that are not heard go on."""
    rng = np.random.default_rng(seed)
    H = np.stack([X.T @ (q[:, None] * X) for X, _, q in data])
    c = np.stack([X.T @ (q * y) for X, y, q in data])
    w = np.linalg.solve(H, c[..., None])[..., 0]
    inverse = np.linalg.inv(H + rho * np.eye(UNKNOWNS))
    z = np.repeat(w.mean(axis=0)[None], len(data), axis=0)
    before, means, count = z, [], max(1, round(share * len(data)))
    for _ in range(rounds):
        w = (inverse @ ((H @ w[..., None])[..., 0] + rho * (2 * z - before))[..., None])[..., 0]
        heard = rng.permutation(len(data))[:count]
        means.append((w[heard] + noise * rng.standard_normal((count, UNKNOWNS))).mean(axis=0))
        before, z = z, means[-1] + noise * rng.standard_normal(w.shape)
    return np.array(means)


def steady(history: np.ndarray, rounds: int) -> float:
    """Return the root mean square of the last quarter of so many rounds."""
    return float(np.sqrt(np.mean(history[3 * rounds // 4 : rounds] ** 2)))


def rounds_row(share: float, noise: float) -> str:
    """Compare both updates: medians, over data and draws, of the steady error after 300 and 5000 rounds."""
    figures = []
    for seed in SEEDS:
        data = draw(seed)
        result = federated_wls(data, participation=share, link_noise=noise, rounds=5000, rng=seed)
        means = published(data, result.rho, 5000, share, noise, seed)
        theirs = np.linalg.norm(means - result.central, axis=1)
        figures.append([steady(h, rounds) for h in (theirs, result.history) for rounds in (300, 5000)])
    return row(f"{share:.0%}, {noise:g}", [f"{x:.1e}" for x in np.median(figures, axis=0)])


def slope_row(share: float) -> str:
    """Fit the mean square error, over data and draws, to a power of the variance of the noise."""

    def error(noise: float, seed: int) -> float:
        return federated_wls(draw(seed), participation=share, link_noise=noise, rounds=600, rng=seed).steady_error ** 2

    errors = [np.mean([error(noise, seed) for seed in SEEDS]) for noise in NOISES]
    slope = np.polyfit(2 * np.log(NOISES), np.log(errors), 1)[0]
    return row(f"{share:.0%}", [*(f"{x:.1e}" for x in errors), f"{slope:.4f}"])


def weight_row(name: str, share: float) -> str:
    """Count rounds to a relative error of 1e-8 for multiples of the default weight: median and worst over the seeds."""
    cells = []
    for factor in FACTORS:
        counts = []
        for seed in SEEDS:
            data = draw(seed, SIZES[name])
            default = federated_wls(data, rounds=1, rng=0).rho
            result = federated_wls(data, rho=factor * default, rounds=2000, participation=share, rng=seed)
            reached = result.history <= 1e-8 * np.linalg.norm(result.central)
            counts.append(int(np.argmax(reached)) + 1 if reached.any() else 2000)
        cells.append(f"{np.median(counts):.0f}, {max(counts)}")
    return row(f"{name}, {share:.0%}", cells)


def restarts_row(n: int, cuts: int) -> str:
    """Count iterations of runs that were interrupted: from the whole result, and from its solution alone."""
    A, whole, totals = poisson(n), 0, np.zeros(2)
    for seed in SEEDS:
        b = np.random.default_rng(seed).standard_normal(n * n)
        steps = conjugate_gradients(A, b).n_iter
        whole += steps
        for way in (0, 1):
            x0: Any = None
            for turn in range(cuts + 1):
                result = conjugate_gradients(A, b, x0=x0, max_iter=steps // (cuts + 1) if turn < cuts else None)
                totals[way] += result.n_iter
                x0 = result.x if way else result
    return row(f"{n} x {n}", [str(cuts), *(f"{x / len(SEEDS):.0f}" for x in (whole, *totals))])


def gradients_ratio(seed: int, tol: float) -> float:
    A, x = poisson(30), np.random.default_rng(seed).standard_normal(900)
    result = conjugate_gradients(A, A @ x, tol=tol)
    e = x - result.x
    assert result.error is not None
    return result.error.bound / float(np.sqrt(e @ (A @ e)))


def lsmr_ratio(seed: int, tol: float) -> float:
    rng = np.random.default_rng(seed)
    A, b = rng.standard_normal((300, 100)) * np.geomspace(1, 100, 100), rng.standard_normal(300)
    result = lsmr(A, b, tol=tol)
    assert result.error is not None
    return result.error.bound / float(np.linalg.norm(A @ (np.linalg.lstsq(A, b)[0] - result.x)))


def estimates_row(name: str, tol: float) -> str:
    """Compare estimates of errors with the errors: quantiles of their ratio."""
    ratios = [{"conjugate gradients": gradients_ratio, "lsmr": lsmr_ratio}[name](seed, tol) for seed in SEEDS]
    share = np.mean(np.array(ratios) >= 1)
    return row(f"{name}, {tol:g}", [*(f"{x:.2g}" for x in np.quantile(ratios, [0.05, 0.5, 0.95])), f"{share:.2f}"])


def dense_row(name: str, before: Callable[..., Any] | None, pause: float) -> str:
    """Time solves of a dense system of order 3000: again and again, or after another one and a pause; best and worst of 9."""
    rng = np.random.default_rng(SEEDS[0])
    G, b = rng.standard_normal((3000, 3000)), rng.standard_normal(3000)
    A = G @ G.T + 3000 * np.eye(3000)
    solve, cells = conjugate_gradients if name.startswith("ours") else scipy_cg, []
    solve(A, b)
    for _ in range(9):
        if before is not None:
            before(A, b)
        time.sleep(pause)
        start = time.perf_counter()
        solve(A, b)
        cells.append(1e3 * (time.perf_counter() - start))
    return row(name, [f"{min(cells):.0f}", f"{np.median(cells):.0f}", f"{max(cells):.0f}"])


def scipy_cg(A: np.ndarray, b: np.ndarray) -> Any:
    from scipy.sparse.linalg import cg

    return cg(A, b, rtol=1e-8)


def row(name: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([name, *cells]) + " |"


TABLES: list[tuple[str, list[str], list[Callable[[], str]]]] = [
    (
        "Federated rounds: steady error, medians of 20 data sets",
        ["clients heard, noise", "published, 300 rounds", "published, 5000", "`federated_wls`, 300", "`federated_wls`, 5000"],
        [partial(rounds_row, share, noise) for share in (1.0, 0.5) for noise in (0.0, 1e-3, 1e-2)],
    ),
    (
        "Federated rounds: mean square error for variances of the noise, means of 20 data sets",
        ["clients heard", *(f"{s**2:g}" for s in NOISES), "slope"],
        [partial(slope_row, share) for share in (1.0, 0.5, 0.2)],
    ),
    (
        "Federated rounds: rounds to 1e-8 for multiples of the default weight, median and worst of 20 data sets",
        ["rows of clients, heard", *(f"{f:g} rho" for f in FACTORS)],
        [partial(weight_row, name, share) for name in SIZES for share in (1.0, 0.5)],
    ),
    (
        "Interrupted conjugate gradients for Poisson's equation: iterations altogether, means of 20 right-hand sides",
        ["grid", "interruptions", "iterations without", "from the result", "from its x alone"],
        [partial(restarts_row, n, cuts) for n in (30, 100) for cuts in (1, 3, 7)],
    ),
    (
        "Estimates of the error over the error, 20 draws",
        ["solver, tol", "5 %", "median", "95 %", "share above 1"],
        [partial(estimates_row, name, tol) for name in ("conjugate gradients", "lsmr") for tol in (1e-2, 1e-4, 1e-6, 1e-8)],
    ),
    (
        "One dense system of order 3000, milliseconds of 9 solves",
        ["solver", "best", "median", "worst"],
        [
            partial(dense_row, "ours, in turn with itself", None, 0.0),
            partial(dense_row, "SciPy cg, in turn with itself", None, 0.0),
            partial(dense_row, "ours, right after SciPy cg", scipy_cg, 0.0),
            partial(dense_row, "ours, 0.1 s after SciPy cg", scipy_cg, 0.1),
        ],
    ),
]


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    blocks = ["# Tables of `solvers`"]
    for heading, names, rows in TABLES:
        lines = [row(names[0], names[1:]), "|" + "---|" * len(names), *(make() for make in rows)]
        blocks += [f"## {heading}", "\n".join(lines)]
        print(blocks[-2], blocks[-1], sep="\n\n", end="\n\n", flush=True)
    path = ROOT / "benchmarks" / "results" / f"{datetime.date.today()}-solvers-tables.md"
    path.write_text("\n\n".join(blocks) + "\n")


if __name__ == "__main__":
    main()
