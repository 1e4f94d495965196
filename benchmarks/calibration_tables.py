"""Tables and the phase picture of the documentation of `self_calibrate`, by hand.

Run ``python -m benchmarks.calibration_tables [errors] [bound] [estimate] [options] [phase]``, each one or two minutes; it writes
`benchmarks/results/DATE-calibration-*.md` and `docs/_static/self_calibration_phase.png`. Data are drawn as in the tests: complex Gaussian
matrices, signals and noise, gains of sizes from 0.5 to 1.5 with random phases.
"""

from __future__ import annotations

import datetime
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lowrank_la import ConvergenceWarning
from lowrank_la.calibration import self_calibrate
from tests.calibration import oracles
from tests.calibration.oracles import Truth
from tests.calibration.test_certificate import random_problem, violations

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SNRS = (10, 20, 40)
DRAWS = 30
REFERENCE = {  # mean errors of the gains in 3 draws at 10, 20 and 40 dB, of the first program for the spectral method
    ("repeated", 256, 64, 4): tuple(10 ** (db / 20) for db in (-13.4, -24.1, -44.6)),
    ("repeated", 256, 128, 8): (np.nan, 10 ** (-27.7 / 20), np.nan),
    ("diverse", 128, 64, 8): (0.233, 0.059, 0.0073),
    ("diverse", 128, 64, 40): (0.085, 0.0255, 0.0024),
    ("diverse", 256, 32, 4): (0.231, 0.063, 0.0066),
    ("snapshots", 128, 64, 20): (0.145, 0.037, 0.0040),
    ("snapshots", 128, 64, 400): (0.028, 0.0080, 0.00077),
    ("snapshots", 256, 64, 10): (0.146, 0.042, 0.0041),
}
SMALL = (("repeated", 24, 8, 4), ("diverse", 24, 6, 5), ("snapshots", 24, 6, 12))


def solve(t: Truth, model: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return self_calibrate(t.Y, t.A, model=model, **options)


def plain(t: Truth, model: str) -> np.ndarray:
    """Return the gains of the spectral method as published: the smallest singular vector of the linear system, by its normal matrix."""
    Y, A = t.Y, t.A
    m = Y.shape[1]
    if model == "repeated":
        B = -np.sum(Y.conj()[:, :, None] * A, axis=0)
        N = np.block([[np.diag(np.sum(abs(Y) ** 2, axis=0)), B], [B.conj().T, np.einsum("lij,lik->jk", A.conj(), A)]])
    else:  # with the signals eliminated
        N = oracles.projected(Y, A, model)
    return 1 / np.linalg.eigh(N)[1][:m, 0]


def ratios(t: Truth, result: Any) -> float:
    """Return the root mean square of errors over error bars."""
    scale = np.vdot(result.d, t.d) / np.vdot(result.d, result.d)
    return float(np.sqrt(np.mean(abs(result.d - t.d / scale) ** 2 / result.d_error**2)))


def measured(model: str, m: int, n: int, p: int, snr: float) -> np.ndarray:
    """Return, for each draw: errors of the plain method, of ours without and with polish, the least possible one, and what ours says."""
    rows = []
    for seed in range(DRAWS):
        t = oracles.draw(np.random.default_rng(seed), model, m, n, p, snr)
        ours, start = solve(t, model), solve(t, model, method="spectral")
        row = [oracles.error(d, t.d) for d in (plain(t, model), start.d, ours.d)]
        row += [oracles.floor(t, model), oracles.error(ours.x.ravel(), t.X.ravel()), ratios(t, ours), ours.gap_ratio]
        rows.append([*row, ours.certificate.bound, oracles.sine(ours.d, t.d, ours.weights)])
    return np.array(rows)


def errors() -> list[str]:
    """Compare errors with those of the plain method on the same draws, with the reference and with the Cramer-Rao floor."""
    columns = ["model", "m, n, p", "SNR", "reference", "plain, mean", "median", "spectral, mean", "median", "polished, mean", "median"]
    columns += ["floor", "better than plain", "error of x", "error / error bar", "gap ratio", "estimated sine", "sine"]
    lines = [f"Self-calibration, {DRAWS} draws of each case; floor: root mean square of the Cramer-Rao bound.", "", *_head(columns)]
    for (model, *sizes), reference in REFERENCE.items():
        for snr, known in zip(SNRS, reference, strict=True):
            f = measured(model, *sizes, snr)
            row = [model, ", ".join(map(str, sizes)), f"{snr}", "" if np.isnan(known) else f"{known:.3g}"]
            row += [f"{number:.3g}" for k in range(3) for number in (np.mean(f[:, k]), np.median(f[:, k]))]
            row += [f"{np.sqrt(np.mean(f[:, 3] ** 2)):.3g}", f"{np.mean(f[:, 2] < f[:, 0]):.0%}"]
            row += [f"{number:.3g}" for number in np.median(f[:, 4:], axis=0)]
            _add(lines, row)
    return lines


def bound(draws: int = 10_000) -> list[str]:
    """Count violations of the bound for the true noise."""
    wrong, useful = violations(range(draws), max_iter=20)
    return [f"Angle bound for the true noise: {wrong} violations in {draws} random draws, below one in {useful} of them."]


def estimate(draws: int = 1000) -> list[str]:
    """Count how often the estimated sine is too small, and by how much it is too large."""
    lines = [
        f"Estimated sine, {draws} draws of each case.",
        "",
        *_head(["case", "SNR", "too small", "median of estimate / sine", "below one"]),
    ]
    for model, m, n, p in SMALL:
        for snr in SNRS:
            draw = partial(oracles.draw, model=model, m=m, n=n, p=p, snr=snr)
            _add(lines, [f"{model} {m}, {n}, {p}", f"{snr}", *_coverage((model, draw(np.random.default_rng(s))) for s in range(draws))])
    _add(lines, ["sizes, field and noise at random", "0 to inf", *_coverage(map(random_problem, range(10 * draws)))])
    return lines


def _coverage(problems: Iterable[tuple[str, Truth]]) -> list[str]:
    rows = []
    for model, t in problems:
        result = solve(t, model, max_iter=20)
        rows.append((result.certificate.bound, oracles.sine(result.d, t.d, result.weights)))
    said, true = np.array(rows).T
    useful = said < 1
    return [f"{np.mean(said < true):.2%}", f"{np.median((said / np.maximum(true, 1e-15))[useful]):.2g}", f"{np.mean(useful):.0%}"]


def smooth_gains(t: Truth) -> Truth:
    """Replace the gains by slowly varying ones."""
    grid = np.linspace(0, 1, t.d.size)
    d = (1 + 0.4 * np.sin(4 * grid)) * np.exp(2j * grid)
    return Truth((t.Y - t.E) / t.d * d + t.E, t.A, d, t.X, t.E)


def options() -> list[str]:
    """Measure what knowing more brings: median errors of gains and signals without and with it."""
    cases: dict[str, tuple[dict[str, Any], Callable[[Truth], Truth], Callable[[Truth], dict[str, Any]]]] = {
        "known=, 8 of 40": ({}, lambda t: t, lambda t: {"known": (np.arange(0, 40, 5), t.d[::5])}),
        "smooth=0.1": ({}, smooth_gains, lambda t: {"smooth": 0.1}),
        "smooth=1": ({}, smooth_gains, lambda t: {"smooth": 1.0}),
        "unit_modulus=True": ({"spread": 0.0}, lambda t: t, lambda t: {"unit_modulus": True}),
        "sparsity=3": ({"sparsity": 3}, lambda t: t, lambda t: {"sparsity": 3}),
    }
    head = _head(["option", "SNR", "gains without", "with", "signals without", "with"])
    lines = [f"Snapshots, m = 40, n = 20, p = 6, medians of {2 * DRAWS} draws.", "", *head]
    for name, (drawn, change, known) in cases.items():
        for snr in (15, 30):
            rows = []
            for seed in range(2 * DRAWS):
                t = change(oracles.draw(np.random.default_rng(seed), "snapshots", 40, 20, 6, snr, **drawn))
                pair = solve(t, "snapshots"), solve(t, "snapshots", **known(t))
                rows.append([oracles.error(r.d, t.d) for r in pair] + [oracles.error(r.x.ravel(), t.X.ravel()) for r in pair])
            _add(lines, [name, f"{snr}", *(f"{value:.3g}" for value in np.median(rows, axis=0))])
    return lines


M, TRIALS = 24, 20  # channels and trials of the phase picture
GRID = {  # unknowns of a signal, and snapshots
    "repeated": (range(4, 97, 8), range(1, 7)),
    "diverse": (range(2, 24, 2), range(1, 13)),
    "snapshots": (range(2, 24, 2), range(1, 13)),
}
LEVELS = {"noiseless, error < 1e-6": (np.inf, 1e-6), "20 dB, error < 0.1": (20, 0.1)}


def enough(model: str, n: float) -> float:
    """Return the snapshots at which there are as many equations as unknowns."""
    return 1 + (n - 1) / M if model == "repeated" else (M - 1) / (M - n)


def phase() -> list[str]:
    """Measure shares of success over sizes of signals and numbers of snapshots; draw them."""
    shares = {(level, model): _shares(model, *LEVELS[level]) for level in LEVELS for model in GRID}
    _picture(shares)
    lines = [f"Share of {TRIALS} trials with success, m = {M}: rows p, columns n; nan: fewer equations than unknowns, refused."]
    for (level, model), share in shares.items():
        columns, rows = GRID[model]
        lines += ["", f"{model}, {level}", "", *_head(["p", *map(str, columns)])]
        lines += ["| " + " | ".join([str(p), *(f"{value:.2f}" for value in row)]) + " |" for p, row in zip(rows, share, strict=True)]
    return lines


def _shares(model: str, snr: float, limit: float) -> np.ndarray:
    columns, rows = GRID[model]
    share = np.full((len(rows), len(columns)), np.nan)
    for i, p in enumerate(rows):
        for j, n in enumerate(columns):
            if p >= enough(model, n):
                draws = (oracles.draw(np.random.default_rng(seed), model, M, n, p, snr) for seed in range(TRIALS))
                share[i, j] = np.mean([oracles.error(solve(t, model).d, t.d) < limit for t in draws])
    return share


def _picture(shares: dict[tuple[str, str], np.ndarray]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), layout="constrained", sharex="col", sharey="col")
    for ax, ((level, model), share) in zip(axes.flat, shares.items(), strict=True):
        columns, rows = GRID[model]
        ax.set_facecolor("0.85")
        image = ax.pcolormesh(list(columns), list(rows), share, vmin=0, vmax=1, cmap="viridis", shading="nearest")
        n = np.linspace(columns[0], min(columns[-1], M - 1 if model != "repeated" else columns[-1]), 200)
        ax.plot(n, [enough(model, value) for value in n], "r", lw=2)
        ax.set(title=f"{model}: {level}", ylim=(rows[0] - 0.5, rows[-1] + 0.5))
    for ax in axes[1]:
        ax.set_xlabel("unknowns of a signal, n")
    axes[0, 0].set_ylabel("snapshots, p")
    axes[1, 0].set_ylabel("snapshots, p")
    figure.colorbar(image, ax=axes, label="share of success")
    figure.savefig(ROOT / "docs" / "_static" / "self_calibration_phase.png", dpi=110)


def _head(columns: list[str]) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]


def _add(lines: list[str], row: list[str]) -> None:
    lines.append("| " + " | ".join(row) + " |")
    print(lines[-1], flush=True)


PARTS: dict[str, Callable[[], list[str]]] = {"errors": errors, "bound": bound, "estimate": estimate, "options": options, "phase": phase}


def main() -> None:
    """Run the parts that are named, or all."""
    for name in sys.argv[1:] or PARTS:
        text = "\n".join(PARTS[name]())
        print(text)
        (RESULTS / f"{datetime.date.today()}-calibration-{name}.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
