"""The leading eigenvector of a stream of rows in random order: `TopEigenvector` beside scikit-learn and a Gram matrix that is summed up.

One direction has four times the variance of all others. The error is 1 - (v . v1)^2, for v1 of all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la.streaming import TopEigenvector

CHUNK = 1000


@dataclass(frozen=True)
class Stream:
    """All rows, and the leading eigenvector of their Gram matrix."""

    A: np.ndarray
    v1: np.ndarray

    def chunks(self) -> list[np.ndarray]:
        return [self.A[first : first + CHUNK] for first in range(0, self.A.shape[0], CHUNK)]


def spiked(n: int, d: int, ratio: float = 4.0) -> Stream:
    """Draw normal rows with variance `ratio` in a random direction and 1 in all others."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal(d)
    u /= np.linalg.norm(u)
    A = rng.standard_normal((n, d))
    for block in np.array_split(A, 1 + n // 10_000):
        block += np.outer(block @ u, (np.sqrt(ratio) - 1) * u)
    return Stream(A, np.linalg.eigh(A.T @ A)[1][:, -1])


def ours(stream: Stream, **options: Any) -> np.ndarray:
    top = TopEigenvector(stream.A.shape[1], rng=0, **options)
    for chunk in stream.chunks():
        top.partial_fit(chunk)
    return top.result().v


def gram(stream: Stream) -> np.ndarray:
    G = np.zeros((stream.A.shape[1],) * 2)
    for chunk in stream.chunks():
        G += chunk.T @ chunk
    return np.linalg.eigh(G)[1][:, -1]


def sklearn_pca(stream: Stream) -> np.ndarray:
    from sklearn.decomposition import IncrementalPCA

    pca = IncrementalPCA(1)
    for chunk in stream.chunks():
        pca.partial_fit(chunk)
    return pca.components_[0]


def error(stream: Stream, v: np.ndarray) -> Mapping[str, float]:
    return {"1 - (v . v1)^2": 1 - float(v @ stream.v1) ** 2}


CONTENDERS = {
    "lowrank_la": ours,
    "lowrank_la method='gram'": lambda stream: ours(stream, method="gram"),
    "numpy, Gram matrix": gram,
    "scikit-learn IncrementalPCA(1)": sklearn_pca,
}

TASKS = [
    Task(
        "top eigenvector of a 1e6 x 200 stream, chunks of 1000",
        lambda size: spiked(1_000_000, 200) if size == "full" else spiked(4000, 20),
        CONTENDERS,
        error,
    )
]
