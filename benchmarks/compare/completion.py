"""Matrix completion: `complete` beside cmfrec, implicit, fancyimpute, and alternating least squares as one writes it in Numba.

Every contender starts from raw triples; the numbers of sweeps of the others are the least
with which they reach the held-out error that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task
from lowrank_la import complete


@dataclass(frozen=True)
class Problem:
    """Triples of a product plus noise, and noise-free entries elsewhere."""

    rows: np.ndarray
    cols: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]
    rank: int
    noise: float
    test: tuple[np.ndarray, np.ndarray, np.ndarray]


def make(m: int, n: int, rank: int, entries: int, noise: float, power: float = 1.0) -> Problem:
    """Draw factors with unit-variance products; `power` above 1 crowds the entries into the first rows and columns."""
    rng = np.random.default_rng(0)
    U, V = rng.standard_normal((m, rank)), rng.standard_normal((n, rank)) / np.sqrt(rank)

    def products(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return np.einsum("ij,ij->i", U[rows], V[cols])

    places = np.unique(
        (m * rng.uniform(size=entries) ** power).astype(np.int64) * n + (n * rng.uniform(size=entries) ** power).astype(np.int64)
    )
    places = rng.permutation(places)
    rows, cols = places // n, places % n
    values = products(rows, cols) + noise * rng.standard_normal(len(places))
    some = rng.integers(0, len(rows), 200_000)
    at = rows[some], cols[rng.permutation(some)]  # rows and columns that were seen
    return Problem(rows, cols, values, (m, n), rank, noise, (*at, products(*at)))


def _setup(size: str, m: int, n: int, rank: int, entries: int, **options: Any) -> Problem:
    return make(m, n, rank, entries, **options) if size == "full" else make(300, 200, 3, 20_000, **options)


def ours(problem: Problem, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    result = complete((problem.rows, problem.cols, problem.values), problem.rank, shape=problem.shape, rng=0, **options)
    return result.U, result.V


def cmfrec(problem: Problem, sweeps: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    from cmfrec import CMF
    from scipy.sparse import coo_matrix

    model = CMF(
        k=problem.rank,
        lambda_=10 * problem.noise**2 or 1e-12,
        niter=sweeps,
        user_bias=False,
        item_bias=False,
        center=False,
        nthreads=THREADS,
        precompute_for_predictions=False,
        verbose=False,
        **options,
    )
    model.fit(coo_matrix((problem.values, (problem.rows, problem.cols)), shape=problem.shape))
    return model.A_, model.B_


def plain_numba(problem: Problem, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
    """Alternate in the way that a first version is written: SciPy's compressed rows, a Gram matrix and a solve for each."""
    from scipy.sparse import csr_array

    rows = csr_array((problem.values, (problem.rows, problem.cols)), shape=problem.shape)
    cols = rows.tocsc()
    V = np.random.default_rng(1).standard_normal((problem.shape[1], problem.rank))
    for _ in range(sweeps):
        U = _half_sweep()(rows.data, rows.indices, rows.indptr, V, 10 * problem.noise**2)
        V = _half_sweep()(cols.data, cols.indices, cols.indptr, U, 10 * problem.noise**2)
    return U, V


@cache
def _half_sweep() -> Any:
    from numba import njit, prange

    @njit
    def cholesky_solve(G, x):  # type: ignore[no-untyped-def]
        k = len(x)
        for a in range(k):
            for b in range(a + 1):
                s = G[a, b]
                for c in range(b):
                    s -= G[a, c] * G[b, c]
                G[a, b] = s / G[b, b] if b < a else np.sqrt(max(s, 1e-300))
            for b in range(a):
                x[a] -= G[a, b] * x[b]
            x[a] /= G[a, a]
        for a in range(k - 1, -1, -1):
            for b in range(a + 1, k):
                x[a] -= G[b, a] * x[b]
            x[a] /= G[a, a]

    @njit(parallel=True)
    def half_sweep(values, indices, indptr, F, ridge):  # type: ignore[no-untyped-def]
        m, k = len(indptr) - 1, F.shape[1]
        X = np.zeros((m, k))
        for i in prange(m):
            G = np.zeros((k, k))
            x = X[i]
            for t in range(indptr[i], indptr[i + 1]):
                f = F[indices[t]]
                for a in range(k):
                    x[a] += values[t] * f[a]
                    for b in range(a + 1):
                        G[a, b] += f[a] * f[b]
            for a in range(k):
                G[a, a] += ridge
            if indptr[i + 1] > indptr[i]:
                cholesky_solve(G, x)
        return X

    return half_sweep


def fancyimpute_soft(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Truncate the singular values of the dense matrix, over and over: the strongest of that package on low-rank data."""
    from fancyimpute import IterativeSVD

    M = np.full(problem.shape, np.nan)
    M[problem.rows, problem.cols] = problem.values
    return IterativeSVD(problem.rank, max_iters=200, verbose=False).fit_transform(M), np.eye(problem.shape[1])


def error(problem: Problem, answer: tuple[np.ndarray, np.ndarray]) -> Mapping[str, float]:
    """Return the root mean square error on the noise-free test entries, which are of variance one."""
    (U, V), (rows, cols, truth) = answer, problem.test
    predicted = np.einsum("ij,ij->i", np.asarray(U, np.float64)[rows], np.asarray(V, np.float64)[cols])
    return {"held-out RMSE": float(np.sqrt(np.mean((predicted - truth) ** 2)))}


def contenders(sweeps: int) -> dict[str, Any]:
    """Return everyone, the peers with so many sweeps."""
    settings = {
        "CG, float32": {"use_cg": True, "use_float": True, "finalize_chol": False},
        "CG, float64": {"use_cg": True, "use_float": False, "finalize_chol": False},
        "Cholesky, float32": {"use_cg": False, "use_float": True},
        "Cholesky, float64": {"use_cg": False, "use_float": False},
    }
    return {
        "lowrank_la": ours,
        "plain numba Cholesky": partial(plain_numba, sweeps=sweeps),
        **{f"cmfrec {words}": partial(cmfrec, sweeps=sweeps, **options) for words, options in settings.items()},
    }


TASKS = [
    Task(
        "complete 20000 x 5000, rank 20, 5e6 entries, noise 0.01",
        partial(_setup, m=20_000, n=5000, rank=20, entries=5_000_000, noise=0.01),
        contenders(sweeps=6),
        error,
    ),
    Task(
        "complete 20000 x 5000, rank 20, crowded entries, noise 0.1",
        partial(_setup, m=20_000, n=5000, rank=20, entries=5_000_000, noise=0.1, power=2.0),
        contenders(sweeps=8),
        error,
    ),
    Task(
        "complete 1000 x 1000, rank 10, 1e5 entries, no noise",
        partial(_setup, m=1000, n=1000, rank=10, entries=105_400, noise=0.0),
        {**contenders(sweeps=30), "fancyimpute IterativeSVD": fancyimpute_soft},
        error,
    ),
]
