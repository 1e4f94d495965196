"""Self-calibration of a million channels behind coded Fourier operators: time, memory, errors, and what one product has to cost.

Run ``python -m benchmarks.calibration_scale``, a minute; it writes `benchmarks/results/DATE-calibration-scale.md`. Each case runs in a
process of its own, after a small one that loads the compiled loops.

Model of a product with the reduced matrix (p images, the projection, p adjoints): 2 p transforms of 5 m log2 m flops; and, beside the
transforms, 16 (9 p + 3) + 8 (2 p) bytes for each channel: images are written once, read and written by the projection next to what they
are projected on, read by the sum over snapshots, and masks are read twice. The floor takes the measured time of the transforms alone,
and the measured speed of a copy.
"""

from __future__ import annotations

import datetime
import json
import math
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import _runner
from lowrank_la import ConvergenceWarning
from lowrank_la.calibration import CodedFourier, self_calibrate

RESULTS = Path(__file__).parent / "results"
CASES = [((1_000_000,), 4), ((1000, 1000), 4), ((1 << 20,), 4), ((1_000_003,), 4)]
SNR = 30


class Counted(CodedFourier):
    """Counts batches of p transforms."""

    batches = 0

    def _fourier(self, x: Any, *, inverse: bool = False) -> Any:
        self.batches += x.shape[0]
        return super()._fourier(x, inverse=inverse)


def problem(grid: tuple[int, ...], p: int) -> tuple[np.ndarray, Counted, np.ndarray]:
    """Draw masks of signs, gains between 0.5 and 1.5 with random phases, a real signal, and noise."""
    rng, m = np.random.default_rng(0), math.prod(grid)
    A = Counted(rng.choice([-1.0, 1.0], (p, *grid)), dims=len(grid))
    d = rng.uniform(0.5, 1.5, m) * np.exp(2j * np.pi * rng.random(m))
    Y = d * A.apply(rng.standard_normal(m))
    size = 10 ** (-SNR / 20) * np.linalg.norm(Y) / math.sqrt(2 * p * m)
    for l in range(p):
        Y[l] += size * (rng.standard_normal(m) + 1j * rng.standard_normal(m))
    A.batches = 0
    return Y, A, d


def measure(grid: tuple[int, ...], p: int) -> dict[str, float]:
    """Calibrate once, and measure transforms and copies by themselves."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    self_calibrate(*problem((2048,), p)[:2], model="repeated")
    Y, A, d = problem(grid, p)
    with _runner._PeakMemory() as memory:
        start = time.perf_counter()
        result = self_calibrate(Y, A, model="repeated")
        seconds = time.perf_counter() - start
    transforms = A.batches
    aligned = result.d * (np.vdot(result.d, d) / np.vdot(result.d, result.d))
    error = abs(aligned - d)
    m = d.size
    fourier, copy = _least(lambda: A._fourier(Y)) / p, _least(lambda: np.copyto(Y, Y[::-1]))
    traffic = 16 * (9 * p + 3) + 16 * p
    return {
        "seconds": seconds,
        "MiB above the data": memory.extra if memory.extra is not None else np.nan,
        "MiB of the process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "error of the gains": float(np.linalg.norm(error) / np.linalg.norm(d)),
        "error / error bar": float(np.sqrt(np.mean((error / result.d_error * np.linalg.norm(result.d) / np.linalg.norm(aligned)) ** 2))),
        "steps of the polish": len(result.history) - 1,
        "transforms": transforms,
        "Gflop in transforms": transforms * 5 * m * math.log2(m) / 1e9,
        "seconds in transforms, alone": transforms * fourier,
        "floor in seconds": transforms * fourier + transforms / (2 * p) * traffic * m / (32 * p * m / copy),
    }


def _least(function: Any) -> float:
    times = []
    for _ in range(4):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Run each case in a process of its own, and write the table."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(tuple(json.loads(sys.argv[1])), int(sys.argv[2]))))
        return
    rows = []
    for grid, p in CASES:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.calibration_scale", json.dumps(grid), str(p)], capture_output=True, text=True, check=True
        )
        rows.append(json.loads(done.stdout))
        print(grid, p, rows[-1], flush=True)
    host = _runner.machine()
    sizes = [" x ".join(map(str, grid)) for grid, _ in CASES]
    lines = [
        f"Self-calibration by transforms, model `repeated`, {SNR} dB, one draw each, {CASES[0][1]} masks of signs, on {host['processor']}, "
        f"{host['cores']} cores.",
        "",
        "| | " + " | ".join(sizes) + " |",
        "|" + " --- |" * (len(sizes) + 1),
        *(f"| {name} | " + " | ".join(f"{row[name]:.4g}" for row in rows) + " |" for name in rows[0]),
    ]
    (RESULTS / f"{datetime.date.today()}-calibration-scale.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
