"""Leading eigenvectors of streams: `TopEigenvector` beside scikit-learn, a Gram matrix that is summed up, and Oja's iteration.

The error is 1 - (v . v1)^2, for v1 of all rows. Oja's iteration gets the best learning rate of 4, 8 and 16 over lambda_1, for which it
is told lambda_1 and v1; its time is that of one rate.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from benchmarks.compare import Task
from lowrank_la import ConvergenceWarning
from lowrank_la.streaming import TopEigenvector


@dataclass(frozen=True)
class Stream:
    """All rows, how many come at once, and the leading eigenvector with its eigenvalue."""

    A: Any
    v1: np.ndarray
    value: float
    chunk: int = 1000

    def chunks(self) -> Iterator[Any]:
        return (self.A[first : first + self.chunk] for first in range(0, self.A.shape[0], self.chunk))

    @functools.cached_property
    def rate(self) -> float:
        """The best learning rate for Oja's iteration."""
        return max((step / self.value for step in (4, 8, 16)), key=lambda rate: abs(float(oja(self, rate) @ self.v1)))


def spiked(n: int, d: int, ratio: float = 4.0, *, dtype: Any = np.float64, chunk: int = 1000, ordered: bool = False) -> Stream:
    """Draw normal rows with variance `ratio` in a random direction and 1 in all others; `ordered` puts those with much of it first."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal(d)
    u /= np.linalg.norm(u)
    A = rng.standard_normal((n, d), dtype)
    for block in np.array_split(A, 1 + n // 10_000):
        block += np.outer(block @ u, (np.sqrt(ratio) - 1) * u).astype(dtype)
    A = A[np.argsort(-np.abs(A @ u))] if ordered else A
    return Stream(A, *leading(A, u), chunk)


def topic(n: int, d: int, entries: int = 50, chunk: int = 1000) -> Stream:
    """Draw sparse rows; a fifth of them have a fifth of their entries, all positive, among the columns of one topic."""
    rng = np.random.default_rng(0)
    columns = rng.integers(0, d, (n, entries), dtype=np.int32)
    signs = rng.choice(np.array([-1.0, 1.0]), (n, entries))
    on = rng.random(n) < 0.2
    columns[on, : entries // 5], signs[on, : entries // 5] = columns[on, : entries // 5] % (d // 100), 1.0
    A = sp.csr_array((signs.ravel(), columns.ravel(), np.arange(0, n * entries + 1, entries)), shape=(n, d))
    A.sum_duplicates()
    return Stream(A, *leading(A, np.ones(d)), chunk)


def leading(A: Any, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Find the leading eigenvector of A^T A: `eigh` of it if it is small, else by SciPy from a start."""
    if A.shape[1] <= 1000:
        G = A.T @ A
        values, V = np.linalg.eigh(G.toarray() if sp.issparse(G) else G)
        return V[:, -1], float(values[-1])
    _, s, Vt = svds(A, 1, v0=start.astype(A.dtype), tol=1e-5)
    return Vt[0].astype(np.float64), float(s[0]) ** 2


def ours(stream: Stream, **options: Any) -> np.ndarray:
    top = TopEigenvector(stream.A.shape[1], rng=0, **options)
    for chunk in stream.chunks():
        top.partial_fit(chunk)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the error stands in the table
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


def oja(stream: Stream, rate: float | None = None) -> np.ndarray:
    rate = rate or stream.rate
    v = np.random.default_rng(1).standard_normal(stream.A.shape[1])
    v /= np.linalg.norm(v)
    for chunk in stream.chunks():
        advance = _through_sparse if sp.issparse(chunk) else _through_dense
        v = advance(chunk, v, rate)
        v /= np.linalg.norm(v)
    return v


def _through_dense(rows: np.ndarray, v: np.ndarray, rate: float) -> np.ndarray:
    for a in rows:
        v += rate * (a @ v) * a
    return v


def _through_sparse(rows: Any, v: np.ndarray, rate: float) -> np.ndarray:
    for first, last in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        columns, a = rows.indices[first:last], rows.data[first:last]
        np.add.at(v, columns, rate * (a @ v[columns]) * a)
    return v


def scipy_svds(stream: Stream) -> np.ndarray:
    return svds(stream.A, 1, v0=np.ones(stream.A.shape[1]))[2][0]


def error(stream: Stream, v: np.ndarray) -> Mapping[str, float]:
    return {"1 - (v . v1)^2": 1 - float(np.asarray(v, np.float64) @ stream.v1) ** 2}


def by(method: str, order: str = "arbitrary") -> Callable[[Stream], np.ndarray]:
    return lambda stream: ours(stream, method=method, order=order)


PEERS = {"numpy, Gram matrix": gram, "scikit-learn IncrementalPCA(1)": sklearn_pca, "Oja's iteration, best rate": oja}
IN_RANDOM_ORDER = {"lowrank_la": ours, "lowrank_la method='gram'": by("gram"), **PEERS}
IN_BAD_ORDER = {
    "lowrank_la method='oja'": by("oja"),
    "lowrank_la method='directions'": by("directions"),
    "lowrank_la method='gram'": by("gram"),
    **PEERS,
}

TASKS = [
    Task(
        "top eigenvector of a 1e6 x 200 stream, chunks of 1000",
        lambda size: spiked(1_000_000, 200) if size == "full" else spiked(4000, 20),
        IN_RANDOM_ORDER,
        error,
    ),
    Task(
        "top eigenvector of a 2e5 x 200 stream with a small gap, lambda_1 / lambda_2 = 1.2",
        lambda size: spiked(200_000, 200, 1.2) if size == "full" else spiked(4000, 20, 1.2),
        IN_RANDOM_ORDER,
        error,
    ),
    Task(
        "top eigenvector of a 4e4 x 200 stream, large rows first",
        lambda size: spiked(40_000, 200, ordered=True) if size == "full" else spiked(2000, 20, ordered=True),
        IN_BAD_ORDER,
        error,
    ),
    Task(
        "top eigenvector of a wide stream, 6e4 x 5000 in float32, chunks of 250",
        lambda size: spiked(60_000, 5000, dtype=np.float32, chunk=250) if size == "full" else spiked(2000, 100, dtype=np.float32),
        {"lowrank_la": ours, **PEERS},
        error,
    ),
    Task(
        "top eigenvector of a wide sparse stream, 8e5 x 50000 with 50 entries a row",
        lambda size: topic(800_000, 50_000) if size == "full" else topic(4000, 500),
        {"lowrank_la": ours, "Oja's iteration, best rate": oja, "SciPy svds(1), all rows in memory": scipy_svds},
        error,
    ),
]
