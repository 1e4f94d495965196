"""Tables and pictures of the documentation of `kronecker_sbl` and `sbl`, by hand: the published sweep, channels, single factors.

Run ``python -m benchmarks.sbl_tables [simulations] [channels] [single] [dense] [sizes] [picture] [METHOD ...]``, minutes to an hour; it
appends rows to `benchmarks/results/DATE-sbl-*.md`, passing over those that are there; draws `docs/_static/sbl_support.png`. Settings are
those of He and Joseph (arXiv:2307.14719), the numbers are drawn anew, on other seeds than those on which defaults were chosen.

- Errors are mean and median of ||x' - x||^2 / ||x||^2; for channels, of the channel that x makes, averaged over patterns of the surface.
- Overlap: |S' and S| / |S' or S| of the entries above 1e-3 of the largest.
- Symbol error rate, as the authors measure it: for each pattern the leading singular vectors of the estimated channel H' shape the beam at
  both ends, u^H H v s + noise arrives, with noise at the same SNR below |u^H H v|^2, and the QPSK symbol s' is chosen for which u^H H' v s'
  is nearest. Given H and H' the rate has a closed form, which replaces the random symbols; it is averaged over patterns and trials.
- Seconds are those of whatever else the machine did.
"""

from __future__ import annotations

import datetime
import math
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from lowrank_la import ConvergenceWarning
from lowrank_la.sbl import kronecker_omp, kronecker_sbl, kronecker_sbl_batch, omp, oracle_lstsq, sbl

Factors: TypeAlias = list[np.ndarray]
ROOT = Path(__file__).parents[1]
FIRST, TRIALS = 100, 200  # seeds of the tables
COUPLED = (0, 2)


@dataclass(frozen=True)
class Method:
    """How to solve a problem, and how often."""

    solve: Callable[[Any], Any]
    trials: int


METHODS = {
    "auto": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise), TRIALS),
    "oracle": Method(lambda p: oracle_lstsq(p.Y, p.A, p.support), TRIALS),
    "kronecker_omp, noise level known": Method(lambda p: kronecker_omp(p.Y, p.A, n_atoms=10, tol=noise_level(p)), TRIALS),
    "kronecker_omp": Method(lambda p: kronecker_omp(p.Y, p.A), TRIALS),
    "auto, noise estimated": Method(lambda p: kronecker_sbl(p.Y, p.A), TRIALS),
    "svd": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, method="svd", n_init=1, max_iter=150), TRIALS),
    "svd+am": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, method="svd+am", n_init=1, max_iter=150), 100),
    "am": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, method="am", n_init=1, max_iter=150), 25),
}
CHANNEL = {
    "auto": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0), 50),
    "auto, noise estimated": Method(lambda p: kronecker_sbl(p.Y, p.A, rng=0), 50),
    "pattern 0.5": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0, method="pattern", coupled_modes=COUPLED), 50),
    "pattern 0.8": Method(
        lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0, method="pattern", coupling=0.8, coupled_modes=COUPLED), 50
    ),
    "svd": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0, method="svd", max_iter=150), 50),
    "am": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0, method="am", max_iter=150), 50),
    "auto, 10 trials": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise, rng=0), 10),
    "kronecker_omp": Method(lambda p: kronecker_omp(p.Y, p.A), 50),
    "oracle": Method(lambda p: oracle_lstsq(p.Y, p.A, p.support), 50),
    "oracle, 10 trials": Method(lambda p: oracle_lstsq(p.Y, p.A, p.support), 10),
    "sbl em": Method(lambda p: sbl(p.Y.ravel(), p.K, noise_var=p.noise, method="em", prune=1e-4, max_iter=150), 3),
    "sbl pattern 0.9": Method(lambda p: sbl(p.Y.ravel(), p.K, noise_var=p.noise, method="pattern", coupling=0.9, max_iter=150), 10),
    "sbl fast": Method(lambda p: sbl(p.Y.ravel(), p.K, noise_var=p.noise, method="fast"), 50),
}
SINGLE = {
    "sbl auto": Method(lambda p: sbl(p.Y, p.A[0], noise_var=p.noise), 100),
    "sbl fast": Method(lambda p: sbl(p.Y, p.A[0], noise_var=p.noise, method="fast"), 100),
    "sbl em": Method(lambda p: sbl(p.Y, p.A[0], noise_var=p.noise, method="em"), 100),
    "kronecker_sbl": Method(lambda p: kronecker_sbl(p.Y, p.A, noise_var=p.noise), 100),
    "sbl auto, noise estimated": Method(lambda p: sbl(p.Y, p.A[0]), 100),
    "sbl fast, noise estimated": Method(lambda p: sbl(p.Y, p.A[0], method="fast"), 100),
    "sbl em, noise estimated": Method(lambda p: sbl(p.Y, p.A[0], method="em"), 100),
    "kronecker_sbl, noise estimated": Method(lambda p: kronecker_sbl(p.Y, p.A), 100),
    "omp": Method(lambda p: omp(p.Y, p.A[0]), 100),
    "oracle": Method(lambda p: oracle_lstsq(p.Y, p.A, p.support), 100),
}


@dataclass(frozen=True)
class Problem:
    """Measurements, factors, the signal and its support, the variance of the noise, and what makes a channel of the signal."""

    Y: np.ndarray
    A: list[np.ndarray]
    X: np.ndarray
    support: list[np.ndarray]
    noise: float
    reach: list[np.ndarray] | None = None
    snr: float = math.nan

    @property
    def K(self) -> np.ndarray:
        """The dictionary, written out."""
        return reduce(np.kron, self.A)


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
    return Problem(clean + np.sqrt(noise) * draw, A, X, support, noise, reach, snr)


def _image(A: list[np.ndarray], X: np.ndarray) -> np.ndarray:
    """Multiply every mode: the mode in front moves behind the others, three times."""
    return reduce(lambda T, a: np.tensordot(T, a, (0, 1)), A, X)


def single(seed: int, rows: int, columns: int, atoms: int, snr: float, kind: str = "real") -> Problem:
    """Draw one factor: Gaussian, or an oversampled Fourier matrix or one with decaying singular values, whose columns are alike."""
    rng = np.random.default_rng(10000 + seed)
    draw = _complex if kind in ("complex", "Fourier") else lambda rng, *shape: rng.standard_normal(shape)
    A = draw(rng, rows, columns)
    if kind == "Fourier":
        A = np.exp(2j * np.pi * np.outer(np.arange(rows), np.arange(columns) / columns))
    elif kind == "decaying":
        A = draw(rng, rows, rows) * np.exp(-4 * np.arange(rows) / rows) @ A
    support, X = [rng.permutation(columns)[:atoms]], np.zeros(columns, dtype=A.dtype)
    X[support[0]] = draw(rng, atoms)
    return _measured(rng, [A], X, support, snr)


def trial(problem: Problem, method: Method) -> tuple[float, float, float, float]:
    """Return the normalised squared error, the overlap of supports, the symbol error rate, and seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        x = np.reshape(method.solve(problem).x, problem.X.shape)
    seconds = time.perf_counter() - start
    found, true = np.abs(x) > 1e-3 * np.abs(x).max(), problem.X != 0
    overlap = float((found & true).sum() / max(1, (found | true).sum()))
    return _error(problem, x), overlap, _symbol_errors(problem, x), seconds


def _error(problem: Problem, x: np.ndarray) -> float:
    """Measure x, or the channel that it makes: the mean over the patterns of the surface."""
    if problem.reach is None:
        return float(np.linalg.norm(x - problem.X) ** 2 / np.linalg.norm(problem.X) ** 2)
    true, gap = _image(problem.reach, problem.X), _image(problem.reach, x - problem.X)
    return float(np.mean(np.linalg.norm(gap, axis=(1, 2)) ** 2 / np.linalg.norm(true, axis=(1, 2)) ** 2))


def _symbol_errors(problem: Problem, x: np.ndarray) -> float:
    """Return the rate of wrong QPSK symbols that the estimated channels lead to, see the head of this file."""
    if problem.reach is None:
        return math.nan
    rates = []
    for H, estimate in zip(_image(problem.reach, problem.X), _image(problem.reach, x), strict=True):
        U, s, Vh = np.linalg.svd(estimate)
        angle = np.angle(U[:, 0].conj() @ H @ Vh[0].conj())  # of the true gain; that of the estimated one is s[0]
        arms = 10 ** (problem.snr / 20) * np.cos(angle + np.pi / 4 * np.array([1, -1]))
        rates.append(1 - math.prod(0.5 * math.erfc(-arm) for arm in arms) if s[0] > 0 else 0.75)
    return float(np.mean(rates))


HEADINGS = ("setting, method", "trials", "mean dB", "median dB", "overlap", "symbol errors", "mean ms", "worst ms")


def rows(section: str, draw: Callable[..., Problem], settings: dict[str, dict[str, Any]], methods: dict[str, Method]) -> None:
    """Measure each method at each setting, and append a row for it to the file of the section unless it is there."""
    wanted = [name for name in sys.argv[1:] if name in methods] or methods
    for name in wanted:
        method = methods[name]
        for setting, options in settings.items():
            title = f"{setting}, {name}"
            if any(line.startswith(f"| {title} |") for line in _lines(section)):
                continue
            trials = np.array([trial(draw(FIRST + seed, **options), method) for seed in range(method.trials)])
            error, overlap, wrong, seconds = trials.T
            mean, median = 10 * np.log10([error.mean(), np.median(error)])
            figures = f"{mean:.1f} | {median:.1f} | {overlap.mean():.2f} | {wrong.mean():.3f} | {1e3 * seconds.mean():.1f}"
            _append(section, f"| {title} | {method.trials} | {figures} | {1e3 * seconds.max():.1f} |".replace("nan", ""))


def _path(section: str) -> Path:
    return ROOT / "benchmarks" / "results" / f"{datetime.date.today()}-sbl-{section}.md"


def _lines(section: str) -> list[str]:
    return _path(section).read_text().splitlines() if _path(section).exists() else []


def _append(section: str, line: str) -> None:
    """Append a row; the table of a file that is new begins with its headings."""
    start = "" if _lines(section) else f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}\n"
    with _path(section).open("a") as file:
        file.write(f"{start}{line}\n")
    print(line, flush=True)


def simulations() -> None:
    """Repeat the published sweep: measurements, atoms and noise."""
    settings: dict[str, dict[str, Any]] = {
        **{f"M_1 = {m}": {"first": m} for m in (6, 8, 10, 12, 14)},
        **{f"K = {k}": {"atoms": k} for k in (2, 3, 4, 5, 6)},
        **{f"SNR {snr} dB": {"snr": snr} for snr in (5, 10, 15, 20, 25, 30)},
    }
    rows("simulations", simulation, settings, METHODS)


def channels() -> None:
    """Estimate channels."""
    rows("channels", channel, {f"SNR {snr} dB": {"snr": snr} for snr in (4, 8, 12, 16, 20)}, CHANNEL)


def singles() -> None:
    """Compare the methods of `sbl` on single factors."""
    sizes = [(100, 300, 10, 20, "real"), (50, 150, 10, 20, "real"), (50, 150, 10, 20, "complex"), (50, 100, 5, 10, "real")]
    sizes += [(40, 200, 5, 30, "real"), (100, 200, 30, 30, "real"), (40, 120, 6, 20, "Fourier"), (60, 150, 8, 20, "decaying")]
    settings = {
        f"{m} x {n} {kind}, {k} atoms, {snr} dB": {"rows": m, "columns": n, "atoms": k, "snr": snr, "kind": kind}
        for m, n, k, snr, kind in sizes
    }
    rows("single", single, settings, SINGLE)


def dense() -> None:
    """Solve once with the dense formulation, with as many steps as "am" takes here or the first 50 of them, and by "am" and "auto"."""
    from benchmarks.compare.sbl import dense, draw

    problem = draw((8, 12, 15), (15, 15, 15), 3)
    lines = []
    for name, solve in _solvers(problem, dense):
        start = time.perf_counter()
        steps, x = solve()
        seconds = time.perf_counter() - start
        error = 10 * np.log10(np.linalg.norm(x.ravel() - problem.X.ravel()) ** 2 / np.linalg.norm(problem.X) ** 2)
        lines.append(f"| {name} | {steps} | {seconds:.4f} | {error:.1f} |")
        print(lines[-1], flush=True)
    head = ["| solve, 15^3 unknowns, 8 x 12 x 15 measurements, 20 dB | steps | s | error, dB |", "| --- | --- | --- | --- |"]
    _path("dense").write_text("\n".join([*head, *lines, ""]))


def _solvers(problem: Any, dense: Callable[..., Any]) -> Iterator[tuple[str, Callable[[], tuple[int, np.ndarray]]]]:
    def library(method: str) -> Callable[[], tuple[int, np.ndarray]]:
        def solve() -> tuple[int, np.ndarray]:
            result = kronecker_sbl(problem.Y, problem.A, method=method, noise_var=problem.noise, n_init=1)
            return result.n_iter, result.x

        return solve

    for name in ("auto", "am"):
        library(name)()  # the first call may compile
        yield name, library(name)
    steps = min(library("am")()[0], 50)
    yield "dense am, the first steps", lambda: (steps, dense(problem, steps))


def sizes() -> None:
    """Solve larger problems once each, and many small ones together and one by one: seconds and peak memory beside the data."""
    shapes = {
        "64^3 unknowns, 32^3 measurements": ((32,) * 3, (64,) * 3, ()),
        "128^3 unknowns, 64^3 measurements": ((64,) * 3, (128,) * 3, ()),
        "512^2 unknowns, 256^2 measurements": ((256,) * 2, (512,) * 2, ()),
        "8^5 unknowns, 6^5 measurements": ((6,) * 5, (8,) * 5, ()),
        "15^3 unknowns, 8 x 12 x 15 measurements, 100 snapshots": ((8, 12, 15), (15,) * 3, (100,)),
    }
    lines = ["| problem, real Gaussian factors, 3 atoms of each, 20 dB, noise known | s | MiB | error, dB |", "| --- | --- | --- | --- |"]
    for name, (measured, columns, snapshots) in shapes.items():
        problem = _sized(measured, columns, snapshots)
        seconds, memory, x = _costs(partial(kronecker_sbl, problem.Y, problem.A, noise_var=problem.noise))
        lines.append(f"| {name} | {seconds:.3f} | {memory:.1f} | {10 * np.log10(_error(problem, x)):.1f} |")
        print(lines[-1], flush=True)
    problems = [replace(simulation(FIRST + s), A=simulation(FIRST).A) for s in range(128)]
    A = problems[0].A
    Y = np.stack([_measured(np.random.default_rng(s), A, p.X, p.support, 25).Y for s, p in enumerate(problems)])
    for name, solve in {"together": partial(kronecker_sbl_batch, Y, A), "one by one": lambda: [kronecker_sbl(y, A) for y in Y]}.items():
        solve()
        start = time.perf_counter()
        solve()
        lines.append(f"| 128 of the simulation, noise estimated, {name} | {time.perf_counter() - start:.3f} | | |")
        print(lines[-1], flush=True)
    _path("sizes").write_text("\n".join([*lines, ""]))


def _sized(measured: tuple[int, ...], columns: tuple[int, ...], snapshots: tuple[int, ...]) -> Problem:
    """Draw a problem of any size, in which all snapshots share a support."""
    rng = np.random.default_rng(FIRST)
    A = [rng.standard_normal((m, n)) for m, n in zip(measured, columns, strict=True)]
    support = [rng.permutation(n)[:3] for n in columns]
    X = np.zeros((*columns, *snapshots))
    X[np.ix_(*support)] = rng.standard_normal((3,) * len(columns) + snapshots)
    clean = X
    for a in A:
        clean = np.tensordot(clean, a, (0, 1))
    clean = np.moveaxis(clean, 0, -1) if snapshots else clean
    noise = float(np.mean(clean**2) / 100)
    return Problem(clean + np.sqrt(noise) * rng.standard_normal(clean.shape), A, X, support, noise)


def _costs(solve: Callable[[], Any]) -> tuple[float, float, np.ndarray]:
    """Return seconds of the second call, peak MiB of a third, and the answer."""
    solve()
    start = time.perf_counter()
    x = solve().x
    seconds = time.perf_counter() - start
    tracemalloc.start()
    solve()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak / 2**20, x


def picture() -> None:
    """Draw the share of exact supports over measurements and atoms, and the hyper-parameters of one signal."""
    import matplotlib.pyplot as plt

    measurements, atoms, draws = range(2, 16), range(1, 10), 10
    share = [[np.mean([_exact(simulation(FIRST + s, first=m, atoms=k)) for s in range(draws)]) for m in measurements] for k in atoms]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", width_ratios=(1, 1.3))
    mesh = axes[0].pcolormesh(list(measurements), list(atoms), share, vmin=0, vmax=1, cmap="viridis", shading="nearest")
    axes[0].set(xlabel="rows of the first factor, of 15 columns", ylabel="atoms of each factor", title="share of exact supports, 25 dB")
    figure.colorbar(mesh, ax=axes[0])
    problem = simulation(FIRST, first=6, snr=10)
    result = kronecker_sbl(problem.Y, problem.A)
    for i, (g, s) in enumerate(zip(result.gammas, problem.support, strict=True)):
        axes[1].stem(15 * i + np.arange(15), g / g.max(), linefmt="C0-", markerfmt="C0o", basefmt="k-", label="found" if i == 0 else None)
        axes[1].plot(15 * i + s, np.zeros(len(s)), "C3^", markersize=9, clip_on=False, label="true atoms" if i == 0 else None)
        axes[1].axvline(15 * i - 0.5, color="0.8")
    axes[1].set(
        xlabel="atoms of factor 1, 2, 3", title="hyper-parameters, 6 x 12 x 15 measurements at 10 dB", ylabel="share of the largest"
    )
    axes[1].legend(loc=(0.2, 0.75))
    figure.savefig(ROOT / "docs" / "_static" / "sbl_support.png", dpi=110)


def _exact(problem: Problem) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = kronecker_sbl(problem.Y, problem.A, noise_var=problem.noise, n_init=1).support
    return all(set(a.tolist()) == set(b.tolist()) for a, b in zip(found, problem.support, strict=True))


def main() -> None:
    """Run the parts that are named, or all."""
    parts = {"simulations": simulations, "channels": channels, "single": singles, "dense": dense, "sizes": sizes, "picture": picture}
    for name in [name for name in sys.argv[1:] if name in parts] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
