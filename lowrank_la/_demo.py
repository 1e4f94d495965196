"""The demonstration: a photograph restored from 35% of its values and a large regression, errors beside certificates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowrank_la import plotting
from lowrank_la.completion import CompletionResult, complete
from lowrank_la.regression import sketch_lstsq

KEPT = 0.35  # share of the photograph's values that the restoration sees
RANK = 20
SIDE, STEP = 8, 2  # of the overlapping squares, in pixels
REACH = 2  # how far back a pixel's predictors lie
NEIGHBOURS, DEGREE = 9, 3  # 220 monomials
SEED = 0


@dataclass(frozen=True)
class Restoration:
    """A restored photograph and the model behind it, with the true error over the entries that the model did not see."""

    image: np.ndarray
    model: CompletionResult
    true_error: float
    seconds: float


def run(out: Path) -> None:
    """Do both jobs, print times, errors and certificates, and write three pictures to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    photograph = load_photograph()
    _warm_up(photograph)
    restored = _restore_and_report(photograph, out)
    print()
    _regress_and_report(photograph, out)
    figure = restored.model.plot()
    figure.axes[0].axhline(restored.true_error, color="k", linestyle=":", label="true error")
    figure.axes[0].legend()
    figure.savefig(out / "convergence.png", dpi=120)
    print(f"\nPictures: {', '.join(str(out / name) for name in ('photograph.png', 'convergence.png', 'bounds.png'))}")


def load_photograph() -> np.ndarray:
    """Return a photograph of a dahlia that scikit-learn brings along, (426, 640, 3), values from 0 to 1."""
    from sklearn.datasets import load_sample_image

    return load_sample_image("flower.jpg")[:426] / 255.0  # rows that squares of 8 in steps of 2 cover


def _warm_up(photograph: np.ndarray) -> None:
    """Compile the kernels, so that the times below are those of a second call."""
    print("Compiling kernels (long the first time only) ...", end=" ", flush=True)
    start = time.perf_counter()
    part = photograph[:200, :320]
    corner = hide(part, SEED)
    restore_squares(part, corner)
    restore_matrix(part, corner)
    A, b = predict_pixels(part)
    sketch_lstsq(A, b, rng=SEED)
    print(f"{time.perf_counter() - start:.1f} s\n")


def hide(photograph: np.ndarray, seed: int) -> np.ndarray:
    """Return the photograph with NaN in place of values drawn at random, each colour of each pixel for itself."""
    kept = np.random.default_rng(seed).random(photograph.shape) < KEPT
    return np.where(kept, photograph, np.nan)


def restore_matrix(photograph: np.ndarray, seen: np.ndarray) -> Restoration:
    """Complete the three colours side by side as one matrix."""

    def lay_out(image: np.ndarray) -> np.ndarray:
        return image.transpose(0, 2, 1).reshape(len(image), -1)

    def back(table: np.ndarray) -> np.ndarray:
        return table.reshape(len(photograph), 3, -1).transpose(0, 2, 1)

    return _restore(photograph, seen, lay_out, back)


def restore_squares(photograph: np.ndarray, seen: np.ndarray) -> Restoration:
    """Complete the matrix with an overlapping square in each row; average the predictions of each value."""
    places = [len(range(0, length - SIDE + 1, STEP)) for length in photograph.shape[:2]]

    def lay_out(image: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(image, (SIDE, SIDE), axis=(0, 1))[::STEP, ::STEP]
        return windows.reshape(places[0] * places[1], -1)

    def back(table: np.ndarray) -> np.ndarray:
        total, count = np.zeros(photograph.shape), np.zeros(photograph.shape)
        squares = table.reshape(*places, 3, SIDE, SIDE)
        for dy in range(SIDE):
            for dx in range(SIDE):
                where = slice(dy, dy + STEP * places[0], STEP), slice(dx, dx + STEP * places[1], STEP)
                total[where] += squares[..., dy, dx]
                count[where] += 1
        return total / count

    return _restore(photograph, seen, lay_out, back)


def _restore(photograph: np.ndarray, seen: np.ndarray, lay_out: Callable, back: Callable) -> Restoration:
    table = lay_out(seen).astype(np.float32)
    start = time.perf_counter()
    model = complete(table, RANK, rng=SEED)
    seconds = time.perf_counter() - start
    filled = model.to_dense()
    unfitted = np.isnan(table)
    unfitted[model.held_out] = True
    error = np.sqrt(np.mean((filled - lay_out(photograph))[unfitted] ** 2, dtype=np.float64))
    return Restoration(np.where(np.isnan(seen), np.clip(back(filled), 0, 1), seen), model, float(error), seconds)


def _restore_and_report(photograph: np.ndarray, out: Path) -> Restoration:
    height, width = photograph.shape[:2]
    seen = hide(photograph, SEED)
    print(f"A photograph of {width} x {height} pixels from {KEPT:.0%} of its {photograph.size} values, {_decibels(seen, photograph)}")
    print(f"  {'complete, rank ' + str(RANK):34}{'time':>8}{'picture':>11}{'error':>10}   certified (0.95)")
    matrix, squares = restore_matrix(photograph, seen), restore_squares(photograph, seen)
    for name, done in (("as one matrix", matrix), ("as overlapping squares", squares)):
        name = f"{name}, {done.model.shape[0]} x {done.model.shape[1]}"
        quality = _decibels(done.image, photograph)
        print(f"  {name:34}{done.seconds:6.2f} s{quality:>11}{done.true_error:10.5f}   <= {done.model.certificate.bound:.5f}")
    titles = (
        f"{KEPT:.0%} of the values",
        f"as one matrix: {_decibels(matrix.image, photograph)}",
        f"as overlapping squares: {_decibels(squares.image, photograph)}",
        "the photograph",
    )
    images = (seen, matrix.image, squares.image, photograph)
    plotting.pictures(dict(zip(titles, images, strict=True))).savefig(out / "photograph.png", dpi=120)
    return squares


def _decibels(image: np.ndarray, truth: np.ndarray) -> str:
    """Peak signal-to-noise ratio, with missing values black."""
    return f"{-10 * np.log10(np.mean((np.nan_to_num(image) - truth) ** 2)):.1f} dB"


def predict_pixels(photograph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose a regression: the brightness of each pixel from the cubic monomials of nine pixels before it.

    Returns
    -------
    A : array (n, 220)
        Multiples of 2^-24, because brightness is one of 2^-8: products of A are exact for short factors.
    b : array (n,)
    """
    light = np.round(255 * photograph @ [0.25, 0.5, 0.25]) / 256
    height, width = light.shape
    before = [(dy, dx) for dy in range(-REACH, 1) for dx in range(-REACH, REACH + 1) if (dy, dx) < (0, 0)]
    nearest = sorted(before, key=lambda place: place[0] ** 2 + place[1] ** 2)[:NEIGHBOURS]
    inner = [light[REACH + dy : height + dy, REACH + dx : width - REACH + dx] for dy, dx in nearest]
    terms = _monomials(NEIGHBOURS, DEGREE)
    A = np.ones((height - REACH, width - 2 * REACH, 1 + len(terms)))
    for y in range(height - REACH):  # a line of the photograph at a time stays in the cache
        for column, (parent, neighbour) in enumerate(terms, 1):
            np.multiply(A[y, :, parent], inner[neighbour][y], out=A[y, :, column])
    return A.reshape(-1, A.shape[2]), light[REACH:, REACH : width - REACH].ravel()


def _monomials(variables: int, degree: int) -> list[tuple[int, int]]:
    """Column of the monomial without its last factor, and that factor, for each column after the constant one."""
    terms: list[tuple[int, int]] = []
    lower = [(0, 0)]  # columns of the degree before, with the first variable that may follow
    for _ in range(degree):
        new = [(parent, variable) for parent, first in lower for variable in range(first, variables)]
        lower = [(len(terms) + 1 + place, variable) for place, (_, variable) in enumerate(new)]
        terms += new
    return terms


def _regress_and_report(photograph: np.ndarray, out: Path) -> None:
    from scipy.linalg import cho_factor, cho_solve, lstsq

    A, b = predict_pixels(photograph)
    ours, seconds = _timed(lambda: sketch_lstsq(A, b, rng=SEED))
    rivals = {driver: _timed(lambda driver=driver: lstsq(A, b, lapack_driver=driver)) for driver in ("gelsd", "gelsy")}
    step = cho_solve(cho_factor(A.T @ A), _exact_gradient(A, b, ours.x))
    error = np.abs(step)
    singular_values = rivals["gelsd"][0][3]
    condition = singular_values[0] / singular_values[-1]
    print(f"A regression, {A.shape[0]} x {A.shape[1]}, condition number {condition:.0e}: a pixel's brightness from cubic")
    print("monomials of nine pixels before it")
    print(f"  {'':34}{'time':>8}{'residual':>11}{'error':>10}   certified")
    _print_solution("sketch_lstsq", seconds, float(np.linalg.norm(b - A @ ours.x)), error, f"<= {ours.certificate.bound:.1e}")
    for driver, ((x, *_), seconds) in rivals.items():
        _print_solution(f"scipy.linalg.lstsq, LAPACK {driver}", seconds, float(np.linalg.norm(b - A @ x)), np.abs(ours.x + step - x), "")
    plotting.bounds(error, ours.x_bound).savefig(out / "bounds.png", dpi=120)


def _print_solution(name: str, seconds: float, residual: float, error: np.ndarray, certified: str) -> None:
    print(f"  {name:34}{seconds:6.2f} s{residual:11.5f}{error.max():10.1e}   {certified}".rstrip())


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def _exact_gradient(A: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return A^T (b - A x), rounded once: the true error of x is (A^T A)^-1 times it.

    A has 24 bits, so that its products with slices of x and of residuals have fewer than 53.
    """
    parts = []
    for first in range(0, len(A), 4096):
        rows = A[first : first + 4096]
        residuals = -(rows @ _slices(x))
        residuals[:, 0] += b[first : first + 4096]
        parts += [(rows.T @ _slices(residual)).T for residual in residuals.T]
    return np.array([math.fsum(column) for column in np.concatenate(parts).T])


def _slices(values: np.ndarray) -> np.ndarray:
    """Return columns that add up to the values, each of 15 bits in common fixed point."""
    columns, rest = [], values
    unit = 2.0 ** (math.ceil(math.log2(np.abs(values).max() or 1.0)) - 15)
    while not columns or np.any(rest):
        columns.append(np.round(rest / unit) * unit)
        rest, unit = rest - columns[-1], unit * 2.0**-15
    return np.stack(columns, axis=1)
