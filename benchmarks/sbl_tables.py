"""Tables of the documentation of `kronecker_sbl`, by hand: the published sweep, and channels between mobile, surface and base station.

Run ``python -m benchmarks.sbl_tables [simulations] [methods] [channels]``, some minutes; it writes `benchmarks/results/DATE-sbl-*.md`.
The settings are those of He and Joseph (arXiv:2307.14719), the numbers are drawn anew. Errors are mean and median of ||x' - x||^2 / ||x||^2
(channels: of the channel itself), overlaps those of the entries above 1e-3 of the largest.
"""

from __future__ import annotations

import datetime
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from lowrank_la import ConvergenceWarning
from lowrank_la.sbl import kronecker_omp, kronecker_sbl, oracle_lstsq

Factors: TypeAlias = list[np.ndarray]
RESULTS = Path(__file__).parent / "results"
METHODS: dict[str, Callable[..., Any]] = {
    "auto": lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise),
    "auto, noise estimated": lambda p: kronecker_sbl(p.Y, p.A),
    "svd+am": lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, method="svd+am", n_init=1, max_iter=150),
    "svd": lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, method="svd", n_init=1, max_iter=150),
    "am": lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, method="am", n_init=1, max_iter=150),
    "kronecker_omp": lambda p: kronecker_omp(p.Y, p.A, n_atoms=10, tol=noise_level(p)),
    "oracle": lambda p: oracle_lstsq(p.Y, p.A, p.support),
}
CHANNEL: dict[str, Callable[..., Any]] = {
    "auto": lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0),
    "auto, noise estimated": lambda p: kronecker_sbl(p.Y, p.A, rng=0),
    "pattern 0.5": lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0, method="pattern", coupled_modes=COUPLED),
    "pattern 0.8": lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0, method="pattern", coupling=0.8, coupled_modes=COUPLED),
    "svd": lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0, method="svd", max_iter=150),
    "oracle": lambda p: oracle_lstsq(p.Y, p.A, p.support),
}
COUPLED = (0, 2)


@dataclass(frozen=True)
class Problem:
    """Measurements, factors, the signal and its support, the variance of the noise, and what makes a channel of the signal."""

    Y: np.ndarray
    A: list[np.ndarray]
    X: np.ndarray
    support: list[np.ndarray]
    noise: float
    reach: list[np.ndarray] | None = None


def noise_level(problem: Problem) -> float:
    """Return the norm of the noise over that of the measurements."""
    return float(np.sqrt(problem.Y.size * problem.noise) / np.linalg.norm(problem.Y))


def simulation(seed: int, first: int = 8, atoms: int = 3, snr: float = 25) -> Problem:
    """Draw real Gaussian factors with 15 columns, and a Gaussian signal on a random product of supports."""
    rng = np.random.default_rng(seed)
    A = [rng.standard_normal((m, 15)) for m in (first, 12, 15)]
    support = [rng.permutation(15)[:atoms] for _ in A]
    X = np.zeros((15, 15, 15))
    X[np.ix_(*support)] = rng.standard_normal((atoms,) * 3)
    return _measured(rng, A, X, support, snr)


def channel(seed: int, snr: float = 20) -> Problem:
    """Draw a channel from a mobile (6 antennas) by a surface of 256 elements to a base station (16 antennas), grids of 18 angles.

    One path leaves the mobile; a cluster of three neighbouring angles meets the surface, and another the base station. 6 patterns of the
    surface and 3 pilots give 6 x 3 x 16 = 288 complex measurements of 18^3 = 5832 unknowns.
    """
    rng = np.random.default_rng(seed)
    mobile, surface, base = (_steering(n) for n in (6, 256, 16))
    pilots = np.exp(0.5j * np.pi * (rng.integers(0, 4, (3, 6)) + 0.5)) / np.sqrt(6)
    patterns = rng.choice([-1.0, 1.0], (6, 256)) / 16
    A = [patterns @ (surface * surface[:, :1].conj()), pilots @ mobile.conj(), base]
    first = rng.integers(0, 16, 2)
    support = [(first[0] - rng.integers(18) + np.arange(3)) % 18, rng.integers(18, size=1), first[1] + np.arange(3)]
    X = np.zeros((18, 18, 18), dtype=complex)
    X[np.ix_(*support)] = np.multiply.outer(_complex(rng, 3), _complex(rng, 3))[:, None, :]
    return _measured(rng, A, X, support, snr, reach=[A[0], mobile.conj(), base])


def _steering(antennas: int) -> np.ndarray:
    cosines = np.linspace(-1, 1, 18, endpoint=False)
    return np.exp(1j * np.pi * np.outer(np.arange(antennas), cosines)) / np.sqrt(antennas)


def _complex(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)


def _measured(rng: np.random.Generator, A: Factors, X: np.ndarray, support: Factors, snr: float, reach: Factors | None = None) -> Problem:
    """Add noise to the image of X."""
    clean = _image(A, X)
    noise = float(np.mean(np.abs(clean) ** 2) / 10 ** (snr / 10))
    draw = _complex(rng, *clean.shape) if np.iscomplexobj(clean) else rng.standard_normal(clean.shape)
    return Problem(clean + np.sqrt(noise) * draw, A, X, support, noise, reach)


def _image(A: list[np.ndarray], X: np.ndarray) -> np.ndarray:
    """Multiply every mode: the mode in front moves behind the others, three times."""
    return reduce(lambda T, a: np.tensordot(T, a, (0, 1)), A, X)


def trial(problem: Problem, method: Callable[..., Any]) -> tuple[float, float, float]:
    """Return the normalised squared error, the overlap of supports, and seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        x = method(problem).x
    seconds = time.perf_counter() - start
    found, true = np.abs(x) > 1e-3 * np.abs(x).max(), problem.X != 0
    overlap = float((found & true).sum() / max(1, (found | true).sum()))
    return _error(problem, x), overlap, seconds


def _error(problem: Problem, x: np.ndarray) -> float:
    """Measure x, or the channel that it makes: the mean over the patterns of the surface."""
    if problem.reach is None:
        return float(np.linalg.norm(x - problem.X) ** 2 / np.linalg.norm(problem.X) ** 2)
    true, gap = _image(problem.reach, problem.X), _image(problem.reach, x - problem.X)
    return float(np.mean(np.linalg.norm(gap, axis=(1, 2)) ** 2 / np.linalg.norm(true, axis=(1, 2)) ** 2))


def row(name: str, problems: list[Problem], method: Callable[..., Any]) -> str:
    """Format mean and median error in dB, overlap, and seconds."""
    error, overlap, seconds = np.transpose([trial(problem, method) for problem in problems])
    mean, median = 10 * np.log10([error.mean(), np.median(error)])
    return f"| {name} | {mean:.1f} | {median:.1f} | {overlap.mean():.2f} | {1e3 * seconds.mean():.1f} | {1e3 * seconds.max():.1f} |"


def table(title: str, points: dict[str, list[Problem]], methods: dict[str, Callable[..., Any]]) -> list[str]:
    """Measure methods at each point."""
    lines = [
        f"## {title}",
        "",
        "| setting, method | mean dB | median dB | overlap | mean ms | worst ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for point, problems in points.items():
        for name, method in methods.items():
            lines.append(row(f"{point}, {name}", problems, method))
            print(lines[-1], flush=True)
    return [*lines, ""]


def simulations() -> list[str]:
    """Repeat the published sweep, 200 trials a point."""
    seeds, start = range(200), time.perf_counter()
    points = {
        **{f"M_1 = {m}": [simulation(s, first=m) for s in seeds] for m in (6, 8, 10, 12, 14)},
        **{f"K = {k}": [simulation(s, atoms=k) for s in seeds] for k in (2, 3, 4, 5, 6)},
        **{f"SNR {snr} dB": [simulation(s, snr=snr) for s in seeds] for snr in (5, 10, 15, 20, 25, 30)},
    }
    lines = table("Simulation, 200 trials a point", points, {name: METHODS[name] for name in ("auto", "oracle")})
    return [*lines, f"All of it took {time.perf_counter() - start:.0f} s."]


def methods() -> list[str]:
    """Compare ways to climb, 25 trials a point."""
    points = {f"SNR {snr} dB": [simulation(s, snr=snr) for s in range(25)] for snr in (5, 15, 20, 30)}
    return table("Methods, 25 trials a point", points, METHODS)


def channels() -> list[str]:
    """Estimate channels, 50 trials a point."""
    points = {f"SNR {snr} dB": [channel(s, snr) for s in range(50)] for snr in (4, 8, 12, 16, 20)}
    return table("Channels, 50 trials a point", points, CHANNEL)


def main() -> None:
    """Run the parts that are named, or all."""
    parts = {"simulations": simulations, "methods": methods, "channels": channels}
    for name in sys.argv[1:] or parts:
        text = "\n".join(parts[name]())
        (RESULTS / f"{datetime.date.today()}-sbl-{name}.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
