"""Low-rank recovery: `recover` beside the published methods as one writes them in NumPy; no package offers them.

The first task has gross errors and a rank guess five times too large, the second no errors and a rank that is too large, the third entries.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la import ConvergenceWarning, complete
from lowrank_la.recovery import Measurements, dense_gaussian, entry_mask, recover


@dataclass(frozen=True)
class Problem:
    """Measurements, the matrices behind them if they are dense, the truth, and the rank that is guessed."""

    op: Measurements
    A: np.ndarray | None
    y: np.ndarray
    M: np.ndarray
    rank: int


def make(kind: str, shape: tuple[int, int], rank: int, guess: int, count: int, outliers: float) -> Problem:
    """Draw a matrix of unit norm with equal singular values but for a factor of two, and measure it."""
    rng, (m, n) = np.random.default_rng(0), shape
    U, V = (np.linalg.qr(rng.standard_normal((length, rank)))[0] for length in shape)
    U = U * np.linspace(1, 0.5, rank)
    if kind == "dense":
        op: Any = dense_gaussian(count, shape, rng=0)
        A = op.A
    else:
        places = rng.permutation(m * n)[:count]
        op, A = entry_mask(places // n, places % n, shape=shape), None
    y = op.apply(U, V)
    wrong = rng.random(count) < outliers
    return Problem(op, A, y + wrong * 10 * np.median(abs(y)) * rng.standard_normal(count), U @ V.T, guess)


def _setup(size: str, kind: str, shape: tuple[int, int], rank: int, guess: int, count: int, outliers: float) -> Problem:
    if size == "full":
        return make(kind, shape, rank, guess, count, outliers)
    return make(kind, (14, 12), 2, min(guess, 4), 160 if kind == "mask" else 500, outliers)


def ours(problem: Problem, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # least squares says that gross errors spoil it
        return recover(problem.op, problem.y, problem.rank, rng=0, **options).to_dense()


def published_subgradient(problem: Problem, iterations: int = 1500, decay: float = 0.99) -> np.ndarray:
    """Take the paper's steps from 1e-4 times the leading singular vectors of the signs, with the best decay of 0.985, 0.99 and 0.995."""
    assert problem.A is not None
    shape, (N, _) = problem.M.shape, problem.A.shape
    D = (np.sign(problem.y) @ problem.A).reshape(shape) / N
    P, _, Qh = np.linalg.svd(D, full_matrices=False)
    U, V = 1e-4 * P[:, : problem.rank], 1e-4 * Qh[: problem.rank].T
    for t in range(iterations):
        signs = np.sign(problem.A @ (U @ V.T).ravel() - problem.y)
        D = (signs @ problem.A).reshape(shape) / N
        U, V = U - 0.3 * decay**t * D @ V, V - 0.3 * decay**t * D.T @ U
    return U @ V.T


def l1_nuclear(problem: Problem, iterations: int = 1000, penalty: float = 3.0, tol: float = 1e-10) -> np.ndarray:
    """Minimise sum |r| + weight ||M||_*, the convex relaxation, by ADMM, with the best weight and penalty of twelve pairs."""
    assert problem.A is not None
    (N, _), shape = problem.A.shape, problem.M.shape
    weight, A, y = N**0.5 * sum(length**0.5 for length in shape) / 2, problem.A, problem.y
    solve = np.linalg.inv(A.T @ A + N * np.eye(A.shape[1]))
    r, p = np.zeros(N), np.zeros(N)
    Z, W = np.zeros(A.shape[1]), np.zeros(A.shape[1])
    for _ in range(iterations):
        x = solve @ (A.T @ (y + r - p) + N * (Z - W))
        misfit = A @ x - y
        r = np.sign(misfit + p) * np.maximum(abs(misfit + p) - 1 / penalty, 0)
        P, s, Qh = np.linalg.svd((x + W).reshape(shape), full_matrices=False)
        Z = ((P * np.maximum(s - weight / (penalty * N), 0)) @ Qh).ravel()
        p, W = p + misfit - r, W + x - Z
        if np.linalg.norm(misfit - r) <= tol * np.linalg.norm(y) and np.linalg.norm(x - Z) <= tol * np.linalg.norm(x):
            break
    return Z.reshape(shape)


def plain_descent(problem: Problem, iterations: int = 2000, scale: float = 0.1) -> np.ndarray:
    """Descend from random factors of a tenth of the size, the second a third of that."""
    assert problem.A is not None
    rng, (N, _), (m, n) = np.random.default_rng(1), problem.A.shape, problem.M.shape
    U = scale * rng.standard_normal((m, problem.rank)) / m**0.5
    V = scale / 3 * rng.standard_normal((n, problem.rank)) / n**0.5
    for _ in range(iterations):
        D = ((problem.A @ (U @ V.T).ravel() - problem.y) @ problem.A).reshape(m, n) / N
        U, V = U - 0.3 * D @ V, V - 0.3 * D.T @ U
    return U @ V.T


def robust_completion(problem: Problem, **options: Any) -> np.ndarray:
    """Alternate with the true rank: with a guess three times too large it recovers nothing."""
    rank = int(np.linalg.matrix_rank(problem.M))
    triples = problem.op.rows, problem.op.cols, problem.y  # type: ignore[attr-defined]
    return complete(triples, rank, shape=problem.M.shape, rng=0, **options).to_dense()


def error(problem: Problem, M: np.ndarray) -> Mapping[str, float]:
    return {"relative error": float(np.linalg.norm(M - problem.M) / np.linalg.norm(problem.M))}


TASKS = [
    Task(
        "recover 50 x 40, rank 3 guessed as 15, 20% of 2700 Gaussian measurements grossly wrong",
        partial(_setup, kind="dense", shape=(50, 40), rank=3, guess=15, count=2700, outliers=0.2),
        {
            "lowrank_la": ours,
            "lowrank_la, huber": partial(ours, loss="huber"),
            "lowrank_la, no debiasing": partial(ours, debias=False),
            "published sub-gradient": published_subgradient,
            "l1 + nuclear norm, ADMM": l1_nuclear,
            "lowrank_la, least squares": partial(ours, loss="l2"),
        },
        error,
    ),
    Task(
        "recover 50 x 50, rank 3 guessed as 6, 3000 Gaussian measurements without errors",
        partial(_setup, kind="dense", shape=(50, 50), rank=3, guess=6, count=3000, outliers=0.0),
        {
            "lowrank_la, debiased": partial(ours, loss="l2"),
            "lowrank_la, rebalanced": partial(ours, loss="l2", debias=False),
            "lowrank_la, scaled": partial(ours, loss="l2", method="scaled", debias=False),
            "plain gradient descent": plain_descent,
        },
        error,
    ),
    Task(
        "recover 200 x 150, rank 3 guessed as 9, half of the entries, 20% of them grossly wrong",
        partial(_setup, kind="mask", shape=(200, 150), rank=3, guess=9, count=15_000, outliers=0.2),
        {
            "lowrank_la": ours,
            "complete, l1, rank known": partial(robust_completion, loss="l1"),
            "complete, huber, rank known": partial(robust_completion, loss="huber"),
        },
        error,
    ),
]
