"""Streams of points and leverage scores: `SequentialNystrom` and `kernel_leverage_scores` beside plain SQUEAK, BLESS and dense scores.

The error of a stream is trace(K - K~) / trace(K) over all points, and ||K - K~||_2 over what is allowed, ridge / (1 - eps),
on the first 2000 points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la.kernel_methods import RBF, SequentialNystrom, kernel_leverage_scores, nystrom

EPS, QBAR = 0.5, 10
JUDGED = 2000  # points of which all of K is formed
CHUNK = 1000


@dataclass
class Points:
    """Points, a kernel, a ridge, and how many points a stream of them keeps."""

    X: np.ndarray
    kernel: RBF
    ridge: float
    rank: int = 0

    @cached_property
    def K(self) -> np.ndarray:
        return self.kernel(self.X[:JUDGED], self.X[:JUDGED])

    @cached_property
    def scores(self) -> np.ndarray:
        """Diagonal of K (K + ridge I)^-1; positive terms only."""
        values, V = np.linalg.eigh(self.kernel(self.X, self.X))
        values = np.maximum(values, 0)
        return (V**2) @ (values / (values + self.ridge))

    def chunks(self) -> list[np.ndarray]:
        return [self.X[first : first + CHUNK] for first in range(0, len(self.X), CHUNK)]


def cloud(n: int, ridge: float, bandwidth: float = 3.0, d: int = 10) -> Points:
    """Draw a Gaussian cloud with one point in a hundred far out."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    X[rng.random(n) < 0.01] *= 3
    return Points(X, RBF(bandwidth), ridge)


def ours(problem: Points, **options: Any) -> np.ndarray:
    stream = SequentialNystrom(problem.kernel, ridge=problem.ridge, eps=EPS, qbar=QBAR, rng=0, **options)
    for chunk in problem.chunks():
        stream.partial_fit(chunk)
    return stream.result().points


def _gaussian(problem: Points, A: np.ndarray, B: np.ndarray) -> np.ndarray:
    squares = np.sum(A**2, axis=1)[:, None] + np.sum(B**2, axis=1) - 2 * A @ B.T
    return np.exp(-np.maximum(squares, 0) / (2 * float(problem.kernel.bandwidth) ** 2))


def plain_squeak(problem: Points, block: int = CHUNK) -> np.ndarray:
    """Follow the paper block by block: add the block, score all points by an eigendecomposition, thin."""
    rng = np.random.default_rng(0)
    points, p, q = np.empty((0, problem.X.shape[1])), np.empty(0), np.empty(0, int)
    for first in range(0, len(problem.X), block):
        new = problem.X[first : first + block]
        points = np.concatenate([points, new])
        p, q = np.concatenate([p, np.ones(len(new))]), np.concatenate([q, np.full(len(new), QBAR)])
        w = np.sqrt(q / (QBAR * p))
        values, V = np.linalg.eigh(w[:, None] * _gaussian(problem, points, points) * w)
        scores = (V**2) @ (np.maximum(values, 0) / (np.maximum(values, 0) + problem.ridge)) / w**2
        lower = np.minimum(p, (1 - EPS) * scores)
        q = rng.binomial(q, lower / p)
        points, p, q = points[q > 0], lower[q > 0], q[q > 0]
    return points


def landmarks_at_once(problem: Points, method: str) -> np.ndarray:
    """Choose as many landmarks as ours, with all points at hand."""
    found = nystrom(problem.X, kernel=problem.kernel, rank=problem.rank, method=method, rng=0).landmarks
    assert found is not None
    return found


def stream_error(problem: Points, points: np.ndarray) -> Mapping[str, float]:
    """Measure with an eigendecomposition of the landmarks' kernel matrix."""
    values, V = np.linalg.eigh(problem.kernel(points, points))
    kept = values > 1e-12 * values[-1]
    T = V[:, kept] / np.sqrt(values[kept])
    F = [problem.kernel(chunk, points) @ T for chunk in problem.chunks()]
    missing = len(problem.X) - sum(float(np.sum(part**2)) for part in F)
    few = np.concatenate(F)[:JUDGED]
    norm = float(np.linalg.eigvalsh(problem.K - few @ few.T)[-1])
    return {"points": len(points), "relative trace error": missing / len(problem.X), "norm / allowed": norm * (1 - EPS) / problem.ridge}


def our_scores(problem: Points, method: str = "auto") -> Any:
    return kernel_leverage_scores(problem.X, kernel=problem.kernel, ridge=problem.ridge, method=method, rng=0)


def dppy_bless(problem: Points) -> np.ndarray:
    """DPPy's dictionary, and its estimator for all rows, in blocks."""
    from dppy.bless import bless, estimate_rls_bless
    from sklearn.gaussian_process.kernels import RBF as Kernel

    kernel = Kernel(float(problem.kernel.bandwidth))
    found = bless(problem.X, kernel, problem.ridge, 4, random_state=0, verbose=False)
    parts = [estimate_rls_bless(found, chunk, kernel, problem.ridge) for chunk in problem.chunks()]
    return np.concatenate(parts)


def dense(problem: Points) -> np.ndarray:
    """Score by a Cholesky factorization of all of K + ridge I."""
    from scipy.linalg import cho_factor, cho_solve

    K = _gaussian(problem, problem.X, problem.X)
    K[np.diag_indices_from(K)] += problem.ridge
    inverse = cho_solve(cho_factor(K, overwrite_a=True, check_finite=False), np.eye(len(K)), overwrite_b=True, check_finite=False)
    return 1 - problem.ridge * np.diag(inverse)


def score_error(problem: Points, answer: Any) -> Mapping[str, float]:
    """Measure relative errors against an eigendecomposition of K if it is small, and say how far bounds are apart."""
    scores = answer if isinstance(answer, np.ndarray) else answer.scores
    exact = problem.scores
    error = np.abs(scores - exact) / exact
    figures = {"median relative error": float(np.median(error)), "largest": float(np.max(error))}
    if isinstance(answer, np.ndarray):
        return figures
    inside = np.mean((answer.lower <= exact * (1 + 1e-9)) & (exact <= answer.upper * (1 + 1e-9)))
    return {**figures, "certified": answer.certificate.bound, "inside the bounds": float(inside), "landmarks": len(answer.landmarks)}


STREAMS = {
    "lowrank_la": ours,
    "numpy, SQUEAK as in the paper": plain_squeak,
    "lowrank_la nystrom(method='uniform'), all points at hand": partial(landmarks_at_once, method="uniform"),
    "lowrank_la nystrom(), all points at hand": partial(landmarks_at_once, method="rpcholesky"),
}
SCORES = {
    "lowrank_la": our_scores,
    "lowrank_la method='recursive'": partial(our_scores, method="recursive"),
    "lowrank_la method='exact'": partial(our_scores, method="exact"),
    "dppy BLESS": dppy_bless,
    "scipy, all of K": dense,
}


def _streamed(size: str, n: int) -> Points:
    """Find the rank before the clock runs."""
    problem = cloud(n if size == "full" else 1500, 20.0)
    return replace(problem, rank=len(ours(problem)))


TASKS = [
    Task(
        "sequential Nystrom of a stream of 20000 x 10",
        partial(_streamed, n=20_000),
        STREAMS,
        stream_error,
    ),
    Task(
        "kernel leverage scores of 4000 x 10",
        lambda size: cloud(4000, 5.0) if size == "full" else cloud(600, 5.0),
        SCORES,
        score_error,
    ),
]
