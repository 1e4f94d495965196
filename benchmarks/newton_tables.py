"""Tables of the documentation of `particle_potential`, by hand: the published settings of the Chebyshev-Tucker format for particles.

Settings are those of Benner, Khoromskij, Khoromskaia and Sun: the long-range part of the Newton kernel on grids of n points, and a
protein of 500 atoms, for which a random cloud of as many charges stands here. The quadrature is ours. Run
``python -m benchmarks.newton_tables``; it takes a minute and writes benchmarks/results/DATE-newton-tables.md.
"""

from __future__ import annotations

import datetime
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.compare.particles import cube, potential_error
from lowrank_la import ConvergenceWarning, chebyshev_tucker
from lowrank_la.functions import FunctionTucker, GaussianSum, newton_quadrature, particle_potential

TOL = 1e-7
BOX = np.array([[-1.0, 1.0]] * 3)
LONG = {256: 10, 1024: 13, 4096: 16}  # grid points along an axis, and terms of the long range
SHARPER = 14  # terms for which a random cloud has the ranks of the protein
RESULTS = Path(__file__).parent / "results"


def gaussians(n: int, terms: int, centres: np.ndarray, charges: np.ndarray) -> GaussianSum:
    """Take the smoothest terms for distances from one step of a grid of n points to the diagonal of half the box."""
    farthest = 3**0.5
    rates, weights = (x / farthest for x in newton_quadrature(farthest * n / 2, TOL))
    return GaussianSum(centres, charges, rates[:terms], weights[:terms])


def slice_error(f: FunctionTucker, cloud: GaussianSum, n: int) -> tuple[float, float]:
    """Return the largest error on the middle slice of a grid of n cell centres, and the largest value; all points near the axes count."""
    near = np.unique(np.concatenate([np.arange(64), np.linspace(64, n // 2 - 1, 64).astype(int)]))
    x = np.concatenate([-near[::-1] - 0.5, near + 0.5]) * 2 / n
    z = np.array([1 / n])
    grid = np.stack(np.meshgrid(x, x, z, indexing="ij"), axis=-1).reshape(-1, 3)
    exact = cloud(grid).reshape(len(x), len(x), 1)
    return float(np.max(np.abs(f.grid(x, x, z) - exact))), float(np.max(np.abs(exact)))


def converted(cloud: GaussianSum, m: int, tol: float = TOL) -> FunctionTucker:
    """Convert with m nodes; too few of them are what the tables show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return chebyshev_tucker(cloud, BOX, tol=tol, degree=m - 1)


def kernel_table() -> list[str]:
    """Return relative errors of the long-range and the full kernel on the middle slice, at a tolerance that leaves those of the degree."""
    lines = ["| n | terms | m = 129 | m = 257 | m = 513 | ranks |", "|---" * 6 + "|"]
    for n, long in LONG.items():
        everything = len(newton_quadrature(3**0.5 * n / 2, TOL)[0])
        for name, terms in (("long", long), ("all", everything)):
            cloud, cells = gaussians(n, terms, np.zeros((1, 3)), np.ones(1)), []
            for m in (129, 257, 513):
                f = converted(cloud, m, 1e-10)
                error, size = slice_error(f, cloud, n)
                cells.append(f"{error / size:.1e}")
            lines.append(f"| {n} | {name}, {terms} | " + " | ".join(cells) + f" | {max(f.ranks)} |")
    return lines


def protein_table(particles: int = 500, n: int = 256) -> list[str]:
    """Return ranks and errors for a cloud of charges in a ball, with degrees fixed and chosen, the published split and a sharper one."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((particles, 3))
    X *= (0.8 * rng.random(particles) ** (1 / 3) / np.linalg.norm(X, axis=1))[:, None]
    charges = rng.uniform(-0.1, 0.1, particles)
    lines = ["| terms | m | ranks | largest error on the middle slice | slice maximum | seconds |", "|---" * 6 + "|"]
    for terms in (LONG[n], SHARPER):
        cloud = gaussians(n, terms, X, charges)
        for m in (65, 129, 257, None):
            f, seconds = timed(lambda m=m, cloud=cloud: converted(cloud, m) if m else chebyshev_tucker(cloud, BOX, tol=TOL))
            error, size = slice_error(f, cloud, n)
            name = m or f"chosen: {max(f.degrees) + 1}"
            lines.append(f"| {terms} | {name} | {f.ranks} | {error:.1e} | {size:.3f} | {seconds:.3f} |")
    return lines


def growth_table(cutoff: float = 0.2) -> list[str]:
    """Return times of building and evaluating against the number of particles, for one cut-off and for chosen ones."""
    lines = ["| particles | cut-off 0.2: built, s | ranks | chosen cut-off | built, s | at all particles, s | error |", "|---" * 7 + "|"]
    for particles in (500, 1000, 2000, 5000, 10_000, 20_000, 100_000):
        problem, cells = cube(particles), []
        for choice in (cutoff, None):
            potential, seconds = timed(lambda choice=choice, problem=problem: particle_potential(problem.X, problem.charges, cutoff=choice))
            cells.append((potential, seconds))
        (fixed, built), (chosen, built_chosen) = cells
        values, seconds = timed(lambda potential=chosen, problem=problem: potential(problem.X))
        error = potential_error(problem, values)["error"]
        numbers = f"{built:.3f} | {max(fixed.long.ranks)} | {chosen.cutoff:.2f} | {built_chosen:.3f} | {seconds:.3f} | {error:.1e}"
        lines.append(f"| {particles} | {numbers} |")
    return lines


def timed(function) -> tuple:  # type: ignore[no-untyped-def, type-arg]
    """Return an answer, and the best time of three calls."""
    spans = []
    for _ in range(3):
        start = time.perf_counter()
        answer = function()
        spans.append(time.perf_counter() - start)
    return answer, min(spans)


if __name__ == "__main__":
    headings = {"Newton kernel": kernel_table, "500 charges": protein_table, "Growth": growth_table}
    text = "\n\n".join(f"## {heading}\n\n" + "\n".join(table()) for heading, table in headings.items())
    (RESULTS / f"{datetime.date.today().isoformat()}-newton-tables.md").write_text(text + "\n")
    print(text)
