"""Tables of the documentation of `self_calibrate`, by hand: errors against noise for the three models, and the angle bound in 10000 draws.

Run ``python -m benchmarks.calibration_tables``, some minutes; it writes `benchmarks/results/DATE-calibration-tables.md`.
"""

from __future__ import annotations

import datetime
import sys
import warnings
from pathlib import Path

import numpy as np

from lowrank_la import ConvergenceWarning
from lowrank_la.calibration import self_calibrate
from tests.calibration import oracles
from tests.calibration.test_certificate import violations

RESULTS = Path(__file__).parent / "results"
SNRS = (10, 20, 40)
DRAWS = 6
REFERENCE = {  # relative errors of the gains by the spectral method, of the algorithm's first prototype
    ("repeated", 256, 64, 4): tuple(10 ** (db / 20) for db in (-13.4, -24.1, -44.6)),
    ("repeated", 256, 128, 8): (np.nan, 10 ** (-27.7 / 20), np.nan),
    ("diverse", 128, 64, 8): (0.233, 0.059, 0.0073),
    ("diverse", 128, 64, 40): (0.085, 0.0255, 0.0024),
    ("diverse", 256, 32, 4): (0.231, 0.063, 0.0066),
    ("snapshots", 128, 64, 20): (0.145, 0.037, 0.0040),
    ("snapshots", 128, 64, 400): (0.028, 0.0080, 0.00077),
    ("snapshots", 256, 64, 10): (0.146, 0.042, 0.0041),
}


def errors(model: str, m: int, n: int, p: int, snr: float) -> dict[str, float]:
    """Return means over draws: errors by method, noise and gap, and how error bars fit."""
    found: dict[str, list[float]] = {name: [] for name in ("spectral", "polished", "x", "bars", "gap", "bound")}
    for seed in range(DRAWS):
        t = oracles.draw(np.random.default_rng(seed), model, m, n, p, snr)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            result = self_calibrate(t.Y, t.A, model=model)
            start = self_calibrate(t.Y, t.A, model=model, method="spectral")
        scale = np.vdot(result.d, t.d) / np.vdot(result.d, result.d)
        found["spectral"].append(oracles.error(start.d, t.d))
        found["polished"].append(oracles.error(result.d, t.d))
        found["x"].append(oracles.error(result.x.ravel(), t.X.ravel()))
        found["bars"].append(float(np.sqrt(np.mean(abs(result.d - t.d / scale) ** 2 / result.d_error**2))))
        found["gap"].append(result.gap_ratio)
        found["bound"].append(result.certificate.bound)
    return {name: float(np.mean(values)) for name, values in found.items()}


def table() -> list[str]:
    """Return the rows for all cases."""
    lines = [
        "| model | m, n, p | SNR | reference | spectral | polished | error of x | error / error bar | gap ratio | estimated sine |",
        "|" + " --- |" * 10,
    ]
    for (model, *sizes), reference in REFERENCE.items():
        for snr, known in zip(SNRS, reference, strict=True):
            f = errors(model, *sizes, snr)
            row = [model, ", ".join(map(str, sizes)), f"{snr}", "" if np.isnan(known) else f"{known:.2g}"]
            row += [f"{f[name]:.2g}" for name in ("spectral", "polished", "x", "bars", "gap", "bound")]
            lines.append("| " + " | ".join(row) + " |")
            print(lines[-1], flush=True)
    return lines


def main(draws: int = 10_000) -> None:
    """Write the tables."""
    lines = [f"Self-calibration, means of {DRAWS} draws.", "", *table()]
    wrong, useful = violations(range(draws), max_iter=20)
    lines += ["", f"Angle bound for the true noise: {wrong} violations in {draws} random draws, below one in {useful} of them."]
    print(lines[-1])
    path = RESULTS / f"{datetime.date.today()}-calibration-tables.md"
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
