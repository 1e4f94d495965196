"""Tables and the phase picture of the documentation of `recover`, by hand.

Run ``python -m benchmarks.recovery_tables``; it takes two minutes and writes benchmarks/results/DATE-recovery-tables.md and
docs/_static/recover_phase.png. The settings follow the papers: small Gaussian problems, gross errors, rank guesses that are too large.
"""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.recovery import Problem, error, make
from lowrank_la import ConvergenceWarning
from lowrank_la.recovery import dense_gaussian, recover

ROOT = Path(__file__).parents[1]
SIDE, RANK, GUESS, TRIALS = 20, 2, 10, 4
PER_FREEDOM = (2.0, 3.0, 4.0, 6.0, 8.0)  # measurements for each of the r (m + n - r) unknowns
OUTLIERS = (0.0, 0.1, 0.2, 0.3, 0.4)


def quiet(problem: Problem, guess: int, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return recover(problem.op, problem.y, guess, rng=0, **options)


def relative(problem: Problem, result: Any) -> float:
    return error(problem, result.to_dense())["relative error"]


def draw(count: int, outliers: float, seed: int) -> Problem:
    """Draw a problem of the phase picture."""
    rng = np.random.default_rng([seed, count, round(100 * outliers)])
    U, V = (np.linalg.qr(rng.standard_normal((SIDE, RANK)))[0] for _ in range(2))
    op = dense_gaussian(count, (SIDE, SIDE), rng=rng)
    y = op.apply(U, V)
    wrong = rng.random(count) < outliers
    return Problem(op, None, y + wrong * 10 * np.median(abs(y)) * rng.standard_normal(count), U @ V.T, GUESS)


def phase() -> np.ndarray:
    """Return the share of trials with a relative error below 1e-3, for each share of outliers and each number of measurements."""
    unknowns = RANK * (2 * SIDE - RANK)
    share = np.zeros((len(OUTLIERS), len(PER_FREEDOM)))
    for i, outliers in enumerate(OUTLIERS):
        for j, per in enumerate(PER_FREEDOM):
            problems = [draw(round(per * unknowns), outliers, seed) for seed in range(TRIALS)]
            share[i, j] = np.mean([relative(p, quiet(p, GUESS)) < 1e-3 for p in problems])
    return share


def picture(share: np.ndarray) -> None:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    image = axis.imshow(share, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="viridis")
    axis.set_xticks(range(len(PER_FREEDOM)), [f"{per:g}" for per in PER_FREEDOM])
    axis.set_yticks(range(len(OUTLIERS)), [f"{outliers:.0%}" for outliers in OUTLIERS])
    axis.set(xlabel="measurements per unknown", ylabel="grossly wrong")
    figure.colorbar(image, label="recovered")
    figure.savefig(ROOT / "docs" / "_static" / "recover_phase.png", dpi=120)


def guesses() -> list[str]:
    """Return the table of rank guesses: errors of the sub-gradient method with small and large starts, and after debiasing."""
    problem = make("dense", (30, 30), 3, 3, 1800, 0.2)
    lines = ["| rank guess | small start | large start | debiased | rank found |", "|---|---|---|---|---|"]
    for guess in (3, 9, 15, 30):
        bare, large = (relative(problem, quiet(problem, guess, debias=False, init_scale=scale, tol=1e-4)) for scale in (1e-4, 1.0))
        polished = quiet(problem, guess)
        lines.append(f"| {guess} | {bare:.1e} | {large:.1e} | {relative(problem, polished):.1e} | {polished.rank} |")
    return lines


def scales() -> list[str]:
    """Return the table of initial scales: iterations and errors with and without rebalancing, 50 x 50 of rank 3."""
    problem = make("dense", (50, 50), 3, 6, 3000, 0.0)
    lines = ["| initial scale | iterations, rebalanced | error | error of as many plain iterations | of 1000 |", "|---|---|---|---|---|"]
    for scale in (1e-1, 1e-2, 1e-3):
        ours = quiet(problem, 6, loss="l2", debias=False, init_scale=scale)
        plain = [
            relative(problem, quiet(problem, 6, loss="l2", debias=False, rebalance=False, init_scale=scale, max_iter=count))
            for count in (ours.n_iter, 1000)
        ]
        lines.append(f"| {scale:g} | {ours.n_iter} | {relative(problem, ours):.1e} | {plain[0]:.1e} | {plain[1]:.1e} |")
    return lines


def main() -> None:
    share = phase()
    picture(share)
    table = ["| grossly wrong | " + " | ".join(f"{per:g}" for per in PER_FREEDOM) + " |", "|" + "---|" * (len(PER_FREEDOM) + 1)]
    table += [f"| {o:.0%} | " + " | ".join(f"{x:.2f}" for x in row) + " |" for o, row in zip(OUTLIERS, share, strict=True)]
    blocks = ["# Tables of `recover`", *["\n".join(lines) for lines in (guesses(), scales(), table)]]
    path = ROOT / "benchmarks" / "results" / f"{datetime.date.today()}-recovery-tables.md"
    path.write_text("\n\n".join(blocks) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
