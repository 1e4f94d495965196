"""Tables and pictures of the documentation of `recover`, by hand: rank guesses, initial scales, rates, phase transitions, a soak test.

Run ``python -m benchmarks.recovery_tables [guesses] [scales] [rates] [phase] [soak] [pictures]``; all takes some 20 minutes of one core.
Every number is a line of benchmarks/results/DATE-recovery-tables.jsonl as soon as it is known, and lines that are there are not computed
again, so that a run can be broken off. DATE-recovery-tables.md has the tables; `pictures` draws docs/_static/recover_{phase,rates}.png.
The settings follow the papers: small Gaussian problems, gross errors, rank guesses that are too large; draws are on other seeds than
those on which defaults were chosen.
"""

from __future__ import annotations

import datetime
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.recovery import Problem, error, make
from lowrank_la import ConvergenceWarning
from lowrank_la.recovery import Measurements, dense_gaussian, entry_mask, fourier, rank_one, recover

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SIDE, RANK, GUESS, TRIALS = 20, 2, 10, 10  # of the phase pictures
PER_FREEDOM = (2.0, 3.0, 4.0, 6.0, 8.0)  # measurements for each of the r (m + n - r) unknowns
OUTLIERS = (0.0, 0.1, 0.2, 0.3, 0.4)
KINDS = ("dense", "rank_one", "complex", "mask", "fourier")
ALPHAS = (0.5, 0.2, 0.1, 0.05)
CURVES = ("symmetric, rank known", "symmetric, rank 6", "two factors, rank 6", "two factors, rank 6, rebalanced")
SOAK = range(10_000, 11_000)  # seeds

Row = Mapping[str, Any]


def quiet(problem: Any, guess: int, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return recover(problem.op, problem.y, guess, rng=0, **options)


def relative(problem: Any, result: Any) -> float:
    return error(problem, result.to_dense())["relative error"]


def guesses() -> Iterator[tuple[str, Callable[[], Row]]]:
    """Give errors of the bare method from small and large starts, and after debiasing, for several guesses of rank 3."""

    def row(guess: int) -> Row:
        problem = make("dense", (30, 30), 3, 3, 1800, 0.2)
        starts = {f"start {scale:g}": quiet(problem, guess, debias=False, init_scale=scale, tol=1e-4) for scale in (1e-6, 1e-4, 1.0)}
        polished = quiet(problem, guess)
        errors = {name: relative(problem, result) for name, result in starts.items()}
        return {**errors, "debiased": relative(problem, polished), "rank found": polished.rank}

    for guess in (3, 9, 15, 30):
        yield f"{guess}", lambda guess=guess: row(guess)


def scales() -> Iterator[tuple[str, Callable[[], Row]]]:
    """Give iterations and errors with and without rebalancing: 50 x 50 of rank 3, guessed as 6."""

    def row(scale: float) -> Row:
        problem = make("dense", (50, 50), 3, 6, 3000, 0.0)
        ours = quiet(problem, 6, loss="l2", debias=False, init_scale=scale)
        plain = quiet(problem, 6, loss="l2", debias=False, rebalance=False, init_scale=scale, max_iter=1000)
        return {"iterations": ours.n_iter, "rebalanced": relative(problem, ours), "1000 plain iterations": relative(problem, plain)}

    for scale in (1e-1, 1e-2, 1e-3):
        yield f"{scale:g}", lambda scale=scale: row(scale)


def rates() -> Iterator[tuple[str, Callable[[], Row]]]:
    """Give residuals of gradient descent with steps of one length: 50 x 50 of rank 3 from 3000 measurements."""

    def row(curve: str, alpha: float) -> Row:
        symmetric = curve.startswith("symmetric")
        problem = semidefinite() if symmetric else make("dense", (50, 50), 3, 6, 3000, 0.0)
        options: dict[str, Any] = {"loss": "l2", "method": "gd", "debias": False, "max_iter": 1000, "tol": 1e-12}
        options |= {"symmetric": True} if symmetric else {"rebalance": "auto" if "rebalanced" in curve else False}
        result = quiet(problem, 3 if "known" in curve else 6, init_scale=alpha, **options)
        return {"history": [float(f"{x / np.sqrt(np.mean(problem.y**2)):.3e}") for x in result.history]}

    for curve in CURVES:
        for alpha in ALPHAS:
            yield f"{curve}, {alpha:g}", lambda curve=curve, alpha=alpha: row(curve, alpha)


def semidefinite() -> Problem:
    """Draw the same kind of problem with a positive semidefinite matrix."""
    U = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 3)))[0] * np.linspace(1, 0.5, 3) ** 0.5
    op = dense_gaussian(3000, (50, 50), rng=0)
    return Problem(op, None, op.apply(U, U), U @ U.T, 6)


def phase() -> Iterator[tuple[str, Callable[[], Row]]]:
    """Give the share of problems recovered to 1e-3, and that of the others which the answer does not call converged."""

    def row(kind: str, outliers: float, per: float) -> Row:
        count = round(per * RANK * (2 * SIDE - RANK))
        problems = [draw(kind, count, outliers, seed) for seed in range(TRIALS)]
        results = [quiet(p, GUESS) for p in problems]
        right = np.asarray([relative(p, result) < 1e-3 for p, result in zip(problems, results, strict=True)])
        owned = np.asarray([not result.converged for result in results])
        return {"recovered": float(right.mean()), "wrong": int((~right).sum()), "of these owned up": int((owned & ~right).sum())}

    for kind in ("dense", "rank_one"):
        for outliers in OUTLIERS:
            for per in PER_FREEDOM:
                yield f"{kind}, {outliers:g}, {per:g}", lambda kind=kind, outliers=outliers, per=per: row(kind, outliers, per)


def draw(kind: str, count: int, outliers: float, seed: int) -> Problem:
    """Draw a problem of the phase pictures: both singular values are 1."""
    rng = np.random.default_rng([seed, count, round(100 * outliers)])
    U, V = (np.linalg.qr(rng.standard_normal((SIDE, RANK)))[0] for _ in range(2))
    op = measurements(kind, count, (SIDE, SIDE), rng)
    y = op.apply(U, V)
    wrong = rng.random(count) < outliers
    return Problem(op, None, y + wrong * 10 * np.median(abs(y)) * rng.standard_normal(count), U @ V.T, GUESS)


def measurements(kind: str, count: int, shape: tuple[int, int], rng: np.random.Generator) -> Measurements:
    """Draw measurements of a kind; "complex" ones are of rank one."""
    if kind == "dense":
        return dense_gaussian(count, shape, rng=rng)
    if kind in ("mask", "fourier"):
        places = np.divmod(rng.permutation(shape[0] * shape[1])[:count], shape[1])
        return (entry_mask if kind == "mask" else fourier)(*places, shape=shape)
    a, b = (normal(rng, (count, length), kind == "complex") for length in shape)
    return rank_one(a, b)


def normal(rng: np.random.Generator, shape: tuple[int, ...], is_complex: bool) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if is_complex else x


@dataclass(frozen=True)
class Soaked:
    """A small problem of any kind: everything about it is drawn."""

    op: Measurements
    y: np.ndarray
    M: np.ndarray
    rank: int
    kind: str
    symmetric: bool


def anything(seed: int) -> Soaked:
    """Draw 6 to 16 rows and columns, rank 1 to 3, a guess up to 5 times that, 1.5 to 8 measurements per unknown, 0 to 30% errors."""
    rng = np.random.default_rng(seed)
    kind, symmetric = KINDS[seed % 5], bool(seed // 5 % 2)
    m = int(rng.integers(8, 17))
    n, rank = m if symmetric else int(rng.integers(6, 17)), int(rng.integers(1, 4))
    is_complex = kind in ("complex", "fourier")
    U, V = (np.linalg.qr(normal(rng, (length, rank), is_complex))[0] for length in (m, n))
    V = U if symmetric else V
    U = U * np.geomspace(1, 1 / rng.choice([1, 2, 10]), rank)
    count = max(12, round(rng.uniform(1.5, 8) * rank * (m + n - rank) / (2 if symmetric else 1)))
    op = measurements(kind, min(count, m * n) if kind in ("mask", "fourier") else count, (m, n), rng)
    y = op.apply(U, V)
    wrong = rng.random(y.shape) < rng.choice([0, 0.1, 0.2, 0.3])
    y = y + wrong * 10 * np.median(abs(y)) * normal(rng, y.shape, is_complex)
    return Soaked(op, y, U @ V.conj().T, min(m, n, rank * int(rng.integers(1, 6))), kind, symmetric)


def verdict(problem: Soaked) -> Row:
    """Say what became of a problem: errors are in the Frobenius norm, relative but for the local bound's."""
    result = quiet(problem, problem.rank, symmetric=problem.symmetric)
    off = float(np.linalg.norm(result.to_dense() - problem.M))
    return {
        "kind": problem.kind,
        "right": off < 1e-6 * np.linalg.norm(problem.M),
        "converged": bool(result.converged),
        "exact": result.residual < 1e-9 * np.median(abs(problem.y)),
        "within": bool(off <= max(result.local.bound, 1e-9)),
    }


def soak() -> Iterator[tuple[str, Callable[[], Row]]]:
    for first in range(SOAK.start, SOAK.stop, 100):
        yield f"{first}", lambda first=first: {"rows": [verdict(anything(seed)) for seed in range(first, first + 100)]}


SECTIONS = {"guesses": guesses, "scales": scales, "rates": rates, "phase": phase, "soak": soak}


def known(path: Path) -> dict[str, dict[str, Any]]:
    """Read the lines that are there: section -> name -> row."""
    found: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    if path.exists():
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            found[entry["section"]][entry["name"]] = entry["row"]
    return found


def compute(section: str, path: Path) -> None:
    """Append the lines of a section that are not there."""
    there = known(path)[section]
    for name, row in SECTIONS[section]():
        if name not in there:
            with path.open("a") as file:
                file.write(json.dumps({"section": section, "name": name, "row": row()}, default=bool) + "\n")


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Lay out a table: errors with two digits, shares with two decimals."""

    def text(x: Any) -> str:
        return f"{x:.1e}" if isinstance(x, float) and x < 0.1 and x else f"{x:.2f}" if isinstance(x, float) else str(x)

    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *([text(x) for x in row] for row in rows)])


def tables(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    blocks = ["# Tables of `recover`"]
    for section, title in (("guesses", "rank guess"), ("scales", "initial scale")):
        if rows := found[section]:
            blocks.append(table([title, *next(iter(rows.values()))], [[name, *row.values()] for name, row in rows.items()]))
    for kind in ("dense", "rank_one"):
        if f"{kind}, 0.4, 8" in found["phase"]:
            rows = [[f"{o:.0%}", *(found["phase"][f"{kind}, {o:g}, {per:g}"]["recovered"] for per in PER_FREEDOM)] for o in OUTLIERS]
            blocks.append(table([f"{kind}: grossly wrong", *(f"{per:g}" for per in PER_FREEDOM)], rows))
    if found["phase"]:
        wrong, owned = (sum(row[key] for row in found["phase"].values()) for key in ("wrong", "of these owned up"))
        blocks.append(f"Of {wrong} answers with an error above 1e-3, {owned} say converged=False.")
    if found["soak"]:
        blocks.append(soaked([row for rows in found["soak"].values() for row in rows["rows"]]))
    return blocks


def soaked(rows: list[Row]) -> str:
    """Count, for each kind of measurements, right answers and claims that are not true."""
    head = ["kind", "draws", "right", "converged", "of these right", "fit exactly and wrong", "error above the local bound"]

    def line(name: str, some: list[Row]) -> list[Any]:
        claimed = [row for row in some if row["converged"]]
        right = sum(row["right"] for row in claimed)
        false = sum(row["exact"] and not row["right"] for row in claimed)
        return [name, len(some), sum(row["right"] for row in some), len(claimed), right, false, sum(not row["within"] for row in claimed)]

    return table(head, [*(line(kind, [row for row in rows if row["kind"] == kind]) for kind in KINDS), line("all", rows)])


def draw_phase(found: Mapping[str, Any]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", sharey=True)
    image = None
    for axis, kind, title in zip(axes, ("dense", "rank_one"), ("Gaussian matrices", "rank-one matrices"), strict=True):
        share = [[found[f"{kind}, {o:g}, {per:g}"]["recovered"] for per in PER_FREEDOM] for o in OUTLIERS]
        image = axis.imshow(share, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="viridis")
        axis.set_xticks(range(len(PER_FREEDOM)), [f"{per:g}" for per in PER_FREEDOM])
        axis.set_yticks(range(len(OUTLIERS)), [f"{o:.0%}" for o in OUTLIERS])
        axis.set(title=title, xlabel="measurements per unknown")
    axes[0].set_ylabel("grossly wrong")
    figure.colorbar(image, ax=axes, label="recovered")
    figure.savefig(ROOT / "docs" / "_static" / "recover_phase.png", dpi=120)


def draw_rates(found: Mapping[str, Any]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained", sharey=True)
    for axis, curve in zip(axes, CURVES, strict=True):
        for alpha, shade in zip(ALPHAS, (0.85, 0.6, 0.4, 0.15), strict=True):
            history = found[f"{curve}, {alpha:g}"]["history"]
            axis.semilogy(range(1, len(history) + 1), history, color=plt.get_cmap("viridis")(shade), label=f"{alpha:g}")
        axis.set(title=curve, xlabel="iteration", ylim=(1e-12, 3), xlim=(0, 1000))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("relative residual")
    axes[-1].legend(title="initial scale")
    figure.savefig(ROOT / "docs" / "_static" / "recover_rates.png", dpi=110)


def main(names: list[str]) -> None:
    path = RESULTS / f"{datetime.date.today()}-recovery-tables.jsonl"
    for section in SECTIONS:
        if not names or section in names:
            compute(section, path)
    found = known(path)
    if not names or "pictures" in names:
        draw_phase(found["phase"])
        draw_rates(found["rates"])
    text = "\n\n".join(tables(found)) + "\n"
    path.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
