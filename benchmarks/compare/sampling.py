"""Leverage scores beside QR factorizations, Lewis weights beside the plain iteration by QR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task
from lowrank_la.sampling import _basis, _rows, leverage_scores, lewis_weights

SAMPLE = 2000  # rows whose scores are judged


@dataclass
class Problem:
    """A tall matrix, and a judge of its scores that works in more than working precision."""

    A: np.ndarray
    p: float = 2.0

    @cached_property
    def sample(self) -> np.ndarray:
        return np.random.default_rng(1).choice(len(self.A), min(SAMPLE, len(self.A)), replace=False)

    @cached_property
    def exact(self) -> np.ndarray:
        """Leverage scores of the sample: a Gram matrix and rows of whitened columns in long double, for conditions up to 1e8."""
        long, A = np.longdouble, self.A
        start = _basis.begin(_rows.enter("judge", A), 1)[1].P.astype(long)
        G = np.zeros((A.shape[1],) * 2, long)
        for first in range(0, len(A), 20_000):
            Y = A[first : first + 20_000].astype(long) @ start
            G += Y.T @ Y
        T = np.linalg.cholesky(G.astype(float)).astype(long)
        for _ in range(3):  # T T^T = G to long double, by Newton's correction
            E = _forward(T, _forward(T, G - T @ T.T).T).T
            T = T @ (np.tril(E, -1) + np.diag(np.diag(E) / 2) + np.eye(len(E)))
        return np.sum(_forward(T, (A[self.sample].astype(long) @ start).T) ** 2, axis=0)


def _forward(T: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Solve T X = B for a lower triangular T in long double."""
    X = B.copy()
    for i in range(len(T)):
        X[i] = (X[i] - T[i, :i] @ X[:i]) / T[i, i]
    return X


def tall(n: int, d: int, cond: float = 1e2, p: float = 2.0) -> Problem:
    """Draw a matrix of about this condition."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d)) * np.logspace(0, -np.log10(cond), d)
    return Problem(A @ np.linalg.qr(rng.standard_normal((d, d)))[0], p)


def _leverage(size: str, cond: float) -> Problem:
    return tall(*((1_000_000, 50) if size == "full" else (4000, 10)), cond=cond)


def _lewis(size: str, p: float) -> Problem:
    return tall(*((200_000, 30) if size == "full" else (2000, 8)), p=p)


def ours(problem: Problem, **options: Any) -> Any:
    return leverage_scores(problem.A, rng=0, **options)


def numpy_qr(problem: Problem) -> np.ndarray:
    Q = np.linalg.qr(problem.A)[0]
    return np.einsum("ij,ij->i", Q, Q)


def scipy_qr(problem: Problem) -> np.ndarray:
    from scipy.linalg import qr

    Q = qr(problem.A, mode="economic", check_finite=False)[0]
    return np.einsum("ij,ij->i", Q, Q)


def torch_qr(problem: Problem) -> np.ndarray:
    import torch

    torch.set_num_threads(THREADS)
    Q = torch.linalg.qr(torch.from_numpy(problem.A))[0]
    return torch.linalg.vector_norm(Q, dim=1).square().numpy()


def pinv_rows(problem: Problem) -> np.ndarray:
    """As statsmodels finds the diagonal of the hat matrix."""
    return np.einsum("ij,ji->i", problem.A, np.linalg.pinv(problem.A))


def leverage_error(problem: Problem, answer: Any) -> Mapping[str, float]:
    if not isinstance(answer, np.ndarray):
        inside = np.mean((answer.lower[problem.sample] <= problem.exact) & (problem.exact <= answer.upper[problem.sample]))
        figures = {"certified": answer.certificate.bound, "inside the brackets": float(inside)}
        return {**leverage_error(problem, answer.scores), **figures}
    error = abs(answer[problem.sample] - problem.exact)
    return {"relative error": float(np.max(error / problem.exact)), "absolute error": float(np.max(error))}


def our_weights(problem: Problem) -> Any:
    return lewis_weights(problem.A, problem.p, rng=0)


def plain_weights(problem: Problem, damping: float | None = None) -> tuple[np.ndarray, int]:
    """Iterate by QR to the same residual; undamped unless told, which only p < 4 bears."""
    A, p = problem.A, problem.p
    damping = (1.0 if p < 4 else 4 / (p + 2)) if damping is None else damping
    x = np.full(len(A), np.log(A.shape[1] / len(A)))
    rounds = 0
    while True:
        rounds += 1
        Q = np.linalg.qr(np.exp((0.5 - 1 / p) * x)[:, None] * A)[0]
        step = p / 2 * (np.log(np.einsum("ij,ij->i", Q, Q)) + (2 / p - 1) * x) - x
        if rounds == 200 or np.max(abs(step)) <= 1e-8:
            return np.exp(x), rounds
        x = x + damping * step


def weights_error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Measure the residual of the fixed point, by QR."""
    if not isinstance(answer, tuple):
        return {**weights_error(problem, (answer.scores, answer.n_iter)), "certified log error": answer.certificate.bound}
    w, rounds = answer
    Q = np.linalg.qr(w[:, None] ** (0.5 - 1 / problem.p) * problem.A)[0]
    return {"residual": float(np.max(abs(problem.p / 2 * np.log(np.sum(Q**2, axis=1) / w)))), "rounds": rounds}


LEVERAGE: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la method='sketch'": partial(ours, method="sketch"),
    "numpy qr": numpy_qr,
    "scipy qr": scipy_qr,
    "torch qr": torch_qr,
    "numpy pinv, as statsmodels": pinv_rows,
}
WEIGHTS: dict[str, Callable[[Problem], Any]] = {"lowrank_la": our_weights, "numpy qr, plain iteration": plain_weights}

TASKS = [
    *[
        Task(f"leverage scores 1e6 x 50, condition {cond:.0e}", partial(_leverage, cond=cond), LEVERAGE, leverage_error)
        for cond in (1e2, 1e6, 1e8)
    ],
    *[Task(f"Lewis weights 200000 x 30, p = {p:g}", partial(_lewis, p=p), WEIGHTS, weights_error) for p in (1, 1.5, 3, 6)],
]
