"""What `factor` learns from products: eigenpairs, traces, densities, norms, streams; beside ARPACK, LOBPCG, LAPACK and scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task, factor
from lowrank_la.factor import FrequentDirections, StreamingSVD, eigsh_psd, norm_estimate, nystrom_psd, rpcholesky, spectral_density, trace


@dataclass(frozen=True)
class Spectrum:
    """A positive semidefinite matrix, how many eigenpairs are wanted, and what is known of all eigenvalues (descending)."""

    K: Any
    rank: int
    values: np.ndarray

    @property
    def tail(self) -> float:
        """The least error of that rank in the nuclear norm."""
        return float(self.values[self.rank :].sum())


def kernel(size: str) -> Spectrum:
    """Build a Gaussian kernel of points in four dimensions."""
    n, rank = (4000, 100) if size == "full" else (200, 10)
    X = np.random.default_rng(0).standard_normal((n, 4))
    squares = np.sum(X**2, axis=1)
    K = np.exp(-(squares[:, None] + squares - 2 * X @ X.T).clip(0) / 4)
    return Spectrum(K, rank, np.linalg.eigvalsh(K)[::-1])


def graph(size: str) -> Spectrum:
    """Build the Laplacian of a random graph; its eigenvalues are those that ARPACK finds to the last digit."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import eigsh

    n, edges, rank = (50_000, 250_000, 10) if size == "full" else (400, 1200, 4)
    rng = np.random.default_rng(0)
    W = sp.coo_array((np.ones(edges), (rng.integers(0, n, edges), rng.integers(0, n, edges))), shape=(n, n)).tocsr()
    W = W + W.T
    L = (sp.diags_array(W.sum(axis=1)) - W).tocsr()
    return Spectrum(L, rank, eigsh(L, rank, return_eigenvectors=False)[::-1])


def pairs_error(problem: Spectrum, answer: tuple[np.ndarray, np.ndarray]) -> Mapping[str, float]:
    values, V = answer
    residual = np.linalg.norm(problem.K @ V - V * values, axis=0).max()
    lost = np.abs(np.sort(values)[::-1] - problem.values[: problem.rank]).max()
    return {"residual / s_1": residual / problem.values[0], "error of values / s_1": lost / problem.values[0]}


def our_pairs(problem: Spectrum, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    answer = eigsh_psd(problem.K, problem.rank, rng=0, **options)
    return answer.s, answer.U


def arpack(problem: Spectrum, tol: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.sparse.linalg import eigsh

    return eigsh(problem.K, problem.rank, tol=tol, v0=np.random.default_rng(0).standard_normal(problem.K.shape[0]))


def lobpcg(problem: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    from scipy.sparse.linalg import lobpcg

    start = np.random.default_rng(0).standard_normal((problem.K.shape[0], problem.rank + 4))
    values, V = lobpcg(problem.K, start, tol=1e-7 * problem.values[0], maxiter=300)
    return values[: problem.rank], V[:, : problem.rank]


def lapack(problem: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    from scipy.linalg import eigh

    n = problem.K.shape[0]
    return eigh(problem.K, subset_by_index=(n - problem.rank, n - 1), check_finite=False)


def factor_error(problem: Spectrum, answer: Any) -> Mapping[str, float]:
    """Measure the nuclear norm that is left over the least one; what is left is semidefinite."""
    F, bound = answer
    left = float(np.trace(problem.K) - np.sum(F * F))
    return {"error / least": left / problem.tail, **({} if bound is None else {"certified error": bound / problem.tail})}


def our_nystrom(problem: Spectrum) -> tuple[np.ndarray, float]:
    answer = nystrom_psd(problem.K, problem.rank, rng=0)
    return answer.U * answer.s**0.5, answer.certificate.bound


def our_cholesky(problem: Spectrum) -> tuple[np.ndarray, float]:
    answer = rpcholesky(problem.K, problem.rank, rng=0)
    return answer.F, answer.certificate.bound


def pivoted_cholesky(problem: Spectrum) -> tuple[np.ndarray, None]:
    """Run LAPACK's greedy Cholesky factorization, which goes through the whole matrix."""
    from scipy.linalg.lapack import dpstrf

    C, pivots, _, _ = dpstrf(problem.K, lower=1)
    F = np.zeros((C.shape[0], problem.rank))
    F[pivots - 1] = np.tril(C)[:, : problem.rank]
    return F, None


def uniform_columns(problem: Spectrum) -> tuple[np.ndarray, None]:
    """Draw columns with equal probabilities, as kernel libraries do."""
    chosen = np.random.default_rng(0).permutation(problem.K.shape[0])[: problem.rank]
    C = problem.K[:, chosen]
    values, V = np.linalg.eigh(C[chosen])
    keep = values > 1e-12 * values[-1]
    return C @ (V[:, keep] / np.sqrt(values[keep])), None


def number_error(true: float, answer: tuple[float, float | None]) -> Mapping[str, float]:
    value, bound = answer
    return {"relative error": abs(value / true - 1), **({} if bound is None else {"certified": bound / abs(true)})}


def trace_error(problem: Spectrum, answer: tuple[float, float | None]) -> Mapping[str, float]:
    return number_error(float(np.sum(problem.values**3)), answer)


def our_trace(problem: Spectrum) -> tuple[float, float]:
    K = problem.K
    answer = trace(lambda X: K @ (K @ (K @ X)), products=120, like=K[0], rng=0)
    return float(np.real(answer.value)), answer.certificate.bound


def hutchinson(problem: Spectrum) -> tuple[float, None]:
    K = problem.K
    X = np.random.default_rng(0).choice([-1.0, 1.0], (K.shape[0], 120))
    return float(np.sum(X * (K @ (K @ (K @ X))))) / 120, None


def cubed(problem: Spectrum) -> tuple[float, None]:
    return float(np.sum((problem.K @ problem.K) * problem.K)), None


def log_determinant(problem: Spectrum, answer: tuple[float, float | None]) -> Mapping[str, float]:
    return number_error(float(np.sum(np.log(1 + problem.values.clip(0)))), answer)


def our_density(problem: Spectrum) -> tuple[float, float]:
    answer = spectral_density(problem.K, rng=0).trace(lambda values: np.log1p(values.clip(0)))
    return float(np.real(answer.value)), answer.certificate.bound


def all_values(problem: Spectrum) -> tuple[float, None]:
    return float(np.sum(np.log1p(np.linalg.eigvalsh(problem.K).clip(0)))), None


def cholesky_determinant(problem: Spectrum) -> tuple[float, None]:
    return float(np.linalg.slogdet(problem.K + np.eye(problem.K.shape[0]))[1]), None


def our_norm(problem: Spectrum) -> tuple[float, float]:
    answer = norm_estimate(problem.K, rng=0)
    return answer.value, answer.upper - answer.value


def scipy_norm(problem: Spectrum) -> tuple[float, None]:
    from scipy.linalg.interpolative import estimate_spectral_norm

    return float(estimate_spectral_norm(problem.K, its=20, rng=0)), None


def sparse_norm(problem: Spectrum) -> tuple[float, None]:
    from scipy.sparse.linalg import svds

    return float(svds(problem.K, 1, return_singular_vectors=False, rng=0)[0]), None


def norm_error(problem: Spectrum, answer: tuple[float, float | None]) -> Mapping[str, float]:
    return number_error(float(problem.values[0]), answer)


def rows(size: str) -> factor.Problem:
    n, d, rank = (20_000, 2000, 50) if size == "full" else (300, 60, 5)
    return factor.with_spectrum(n, d, np.arange(1.0, d + 1) ** -1, rank)


def stream_error(problem: factor.Problem, answer: Any) -> Mapping[str, float]:
    """Project the rows on the directions that were found."""
    V, bound = answer
    left = np.sqrt(max(problem.norm**2 - np.linalg.norm(problem.A @ V) ** 2, 0.0))
    return {"error / least": left / problem.least, **({} if bound is None else {"certified error": bound / problem.least})}


def _chunks(problem: factor.Problem) -> list[np.ndarray]:
    return [problem.A[first : first + 1000] for first in range(0, problem.A.shape[0], 1000)]


def our_stream(problem: factor.Problem) -> tuple[np.ndarray, float]:
    stream = StreamingSVD(problem.A.shape[1], problem.rank, rng=0)
    for chunk in _chunks(problem):
        stream.append(chunk)
    answer = stream.svd()
    return answer.V, answer.certificate.bound


def our_directions(problem: factor.Problem) -> tuple[np.ndarray, float]:
    stream = FrequentDirections(problem.A.shape[1], 2 * problem.rank)
    for chunk in _chunks(problem):
        stream.update(chunk)
    answer = stream.result()
    return answer.V[:, : problem.rank], answer.projection_error(problem.rank)


def incremental_pca(problem: factor.Problem) -> tuple[np.ndarray, None]:
    from sklearn.decomposition import IncrementalPCA

    model = IncrementalPCA(problem.rank)
    for chunk in _chunks(problem):
        model.partial_fit(chunk)
    return model.components_.T, None


TASKS = [
    Task(
        "eigenpairs of a graph Laplacian, 50000 nodes, k = 10",
        graph,
        {
            "lowrank_la": our_pairs,
            "ARPACK, tol 1e-8": partial(arpack, tol=1e-8),
            "ARPACK, all digits": partial(arpack, tol=0),
            "LOBPCG": lobpcg,
        },
        pairs_error,
    ),
    Task(
        "eigenpairs of a Gaussian kernel, n = 4000, k = 100",
        kernel,
        {"lowrank_la": our_pairs, "ARPACK, tol 1e-8": partial(arpack, tol=1e-8), "LOBPCG": lobpcg, "LAPACK, a part": lapack},
        pairs_error,
    ),
    Task(
        "rank 100 of a Gaussian kernel, n = 4000",
        kernel,
        {
            "lowrank_la nystrom_psd": our_nystrom,
            "lowrank_la rpcholesky": our_cholesky,
            "LAPACK pstrf": pivoted_cholesky,
            "NumPy, columns drawn evenly": uniform_columns,
        },
        factor_error,
    ),
    Task(
        "trace of the cube of a Gaussian kernel, n = 4000, 120 products",
        kernel,
        {"lowrank_la": our_trace, "Hutchinson, 120 products": hutchinson, "NumPy, the square and a sum": cubed},
        trace_error,
    ),
    Task(
        "log det(I + K) of a Gaussian kernel, n = 4000",
        kernel,
        {"lowrank_la spectral_density": our_density, "NumPy eigvalsh": all_values, "NumPy slogdet": cholesky_determinant},
        log_determinant,
    ),
    Task(
        "spectral norm of a graph Laplacian, 50000 nodes",
        graph,
        {"lowrank_la": our_norm, "scipy svds, k = 1": sparse_norm},
        norm_error,
    ),
    Task(
        "spectral norm of a Gaussian kernel, n = 4000",
        kernel,
        {"lowrank_la": our_norm, "scipy estimate_spectral_norm": scipy_norm, "scipy svds, k = 1": sparse_norm},
        norm_error,
    ),
    Task(
        "directions of a stream of 20000 rows of 2000, rank 50, singular values 1/i",
        rows,
        {
            "lowrank_la StreamingSVD": our_stream,
            "lowrank_la FrequentDirections": our_directions,
            "scikit-learn IncrementalPCA": incremental_pca,
        },
        stream_error,
    ),
]
