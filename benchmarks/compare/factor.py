"""Low-rank factorizations: `svd` beside scikit-learn, fbpca, PyTorch, ARPACK and LAPACK; `interpolative` beside SciPy.

Dense matrices have a known spectrum, so that the error of an answer is measured against the least
possible one. Certificates are on unless a contender's name says otherwise; the others offer none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task
from lowrank_la.factor import interpolative, svd


@dataclass(frozen=True)
class Problem:
    """A matrix, the rank that is wanted, and the least error of that rank where it is known."""

    A: Any
    rank: int
    least: float | None
    norm: float


def with_spectrum(n: int, d: int, s: np.ndarray, rank: int, dtype: Any = np.float64) -> Problem:
    """Build an n x d matrix, n >= d, with singular values s: its singular vectors are cosines, shuffled, with random signs."""
    from scipy.fft import dct

    rng = np.random.default_rng(0)
    A = np.zeros((n, d))
    A[rng.permutation(n)[:d], rng.permutation(d)] = s
    for _ in range(2):
        A = dct(A * rng.choice([-1.0, 1.0], (n, 1)), axis=0, norm="ortho", overwrite_x=True, workers=THREADS)
        A = dct(A * rng.choice([-1.0, 1.0], d), axis=1, norm="ortho", overwrite_x=True, workers=THREADS)
    return Problem(A.astype(dtype), rank, float(np.linalg.norm(s[rank:])), float(np.linalg.norm(s)))


def sparse(n: int, d: int, count: int, rank: int, power: float) -> Problem:
    """Scatter ones; `power` above 1 crowds them into the first rows and columns, where they add up."""
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    places = ((size * rng.random(count) ** power).astype(np.int32) for size in (n, d))
    A = csr_array((np.ones(count), tuple(places)), shape=(n, d))
    A.sum_duplicates()
    return Problem(A, rank, None, float(np.linalg.norm(A.data)))


def weight(n: int, rank: int) -> Problem:
    """Mimic a trained layer: singular values of a power law, and the quarter circle of noise below."""
    grid = np.linspace(0, 2, 100_001)
    quarter_circle = np.cumsum(np.sqrt(4 - grid**2))
    noise = np.interp(np.arange(n, 0, -1) - 0.5, quarter_circle / quarter_circle[-1] * n, grid)
    return with_spectrum(n, n, np.hypot(20 * np.arange(1, n + 1) ** -0.7, noise), rank, np.float32)


def _dense(size: str, decay: Callable[[np.ndarray], np.ndarray]) -> Problem:
    n, d, rank = (20_000, 2000, 50) if size == "full" else (300, 60, 5)
    return with_spectrum(n, d, decay(np.arange(1.0, d + 1)), rank)


def _sparse(size: str, power: float) -> Problem:
    return sparse(1_000_000, 100_000, 10_000_000, 20, power) if size == "full" else sparse(500, 200, 3000, 5, power)


def _weight(size: str) -> Problem:
    return weight(4096, 128) if size == "full" else weight(200, 8)


def _columns(size: str) -> Problem:
    n, d, rank = (4096, 2048, 64) if size == "full" else (200, 90, 8)
    return with_spectrum(n, d, np.arange(1.0, d + 1) ** -1, rank)


def ours(problem: Problem, **options: Any) -> Any:
    return svd(problem.A, problem.rank, rng=0, **options)


def sklearn_svd(problem: Problem, n_iter: int | str) -> Any:
    from sklearn.utils.extmath import randomized_svd

    return randomized_svd(problem.A, problem.rank, n_iter=n_iter, random_state=0)


def fbpca_pca(problem: Problem, n_iter: int) -> Any:
    import fbpca

    np.random.seed(0)  # noqa: NPY002  fbpca draws from the global generator
    return fbpca.pca(problem.A, problem.rank, raw=True, n_iter=n_iter)


def torch_lowrank(problem: Problem, niter: int) -> Any:
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    U, s, V = torch.svd_lowrank(torch.from_numpy(problem.A), problem.rank + 10, niter=niter)
    k = problem.rank
    return U[:, :k].numpy(), s[:k].numpy(), V[:, :k].numpy().T


def arpack(problem: Problem) -> Any:
    from scipy.sparse.linalg import svds

    return svds(problem.A, problem.rank, rng=0)


def numpy_svd(problem: Problem) -> Any:
    U, s, Vh = np.linalg.svd(problem.A, full_matrices=False)
    return U[:, : problem.rank], s[: problem.rank], Vh[: problem.rank]


def torch_svd(problem: Problem) -> Any:
    import torch

    torch.set_num_threads(THREADS)
    U, s, Vh = torch.linalg.svd(torch.from_numpy(problem.A), full_matrices=False)
    return U[:, : problem.rank].numpy(), s[: problem.rank].numpy(), Vh[: problem.rank].numpy()


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Measure ||A - U diag(s) V^H||_F over the least one, or over ||A||; ours brings passes and a certificate."""
    if not isinstance(answer, tuple):
        unit = problem.least or problem.norm
        certified = answer.certificate
        share = None if certified is None else certified.bound if "(1 + bound)" in certified.claim else certified.bound / unit
        name = "certified excess" if certified is not None and "(1 + bound)" in certified.claim else "certified error"
        figures = {} if share is None else {name: min(share, 1e300)}
        return {**error(problem, (answer.U, answer.s, answer.V.conj().T)), "passes": answer.passes, **figures}
    U, s, Vh = answer
    if problem.least is None:
        return {"relative error": _sparse_error(problem, U * s, Vh) / problem.norm, "captured share": float(s @ s) / problem.norm**2}
    return {"error / least": _dense_error(problem.A, U * s, Vh) / problem.least}


def _dense_error(A: np.ndarray, L: np.ndarray, R: np.ndarray) -> float:
    blocks = (slice(first, first + 1000) for first in range(0, A.shape[0], 1000))
    return float(np.sqrt(sum(np.linalg.norm(A[rows].astype(float) - L[rows].astype(float) @ R) ** 2 for rows in blocks)))


def _sparse_error(problem: Problem, L: np.ndarray, R: np.ndarray) -> float:
    inner = float(np.sum((problem.A.T @ L).T * R))
    return float(np.sqrt(max(problem.norm**2 - 2 * inner + float(np.sum((L.T @ L) * (R @ R.T))), 0.0)))


def scipy_interp(problem: Problem, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    from scipy.linalg.interpolative import interp_decomp, reconstruct_interp_matrix

    indices, rest = interp_decomp(problem.A, problem.rank, rng=0, **options)
    return indices[: problem.rank], reconstruct_interp_matrix(indices, rest)


def scipy_qr(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    from scipy.linalg import qr, solve_triangular

    k = problem.rank
    R, order = qr(problem.A, mode="r", pivoting=True, check_finite=False)
    X = np.empty((k, R.shape[1]))
    X[:, order] = solve_triangular(R[:k, :k], R[:k], check_finite=False)
    return order[:k], X


def our_columns(problem: Problem, **options: Any) -> Any:
    return interpolative(problem.A, problem.rank, rng=0, **options)


def column_error(problem: Problem, answer: Any) -> Mapping[str, float]:
    if not isinstance(answer, tuple):
        bound = {} if answer.certificate is None else {"certified error": answer.certificate.bound / problem.least}
        return {**column_error(problem, (answer.indices, answer.X)), **bound}
    indices, X = answer
    return {"error / least": _dense_error(problem.A, problem.A[:, indices], X) / problem.least, "largest |X|": float(abs(X).max())}


DENSE: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la certificate=False": partial(ours, certificate=False),
    "lowrank_la certificate='excess'": partial(ours, certificate="excess"),
    "scikit-learn randomized_svd": partial(sklearn_svd, n_iter="auto"),
    "scikit-learn randomized_svd, n_iter=2": partial(sklearn_svd, n_iter=2),
    "fbpca, n_iter=2": partial(fbpca_pca, n_iter=2),
    "fbpca, n_iter=5": partial(fbpca_pca, n_iter=5),
    "torch svd_lowrank, niter=2": partial(torch_lowrank, niter=2),
    "torch svd_lowrank, niter=5": partial(torch_lowrank, niter=5),
    "scipy svds": arpack,
}
SPARSE: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la certificate=False": partial(ours, certificate=False),
    "scikit-learn randomized_svd": partial(sklearn_svd, n_iter="auto"),
    "scikit-learn randomized_svd, n_iter=2": partial(sklearn_svd, n_iter=2),
    "fbpca, n_iter=2": partial(fbpca_pca, n_iter=2),
    "scipy svds": arpack,
}
WEIGHT: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la certificate='excess'": partial(ours, certificate="excess"),
    "torch svd_lowrank, niter=2": partial(torch_lowrank, niter=2),
    "scikit-learn randomized_svd": partial(sklearn_svd, n_iter="auto"),
    "torch linalg.svd": torch_svd,
    "numpy linalg.svd": numpy_svd,
}
COLUMNS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": our_columns,
    "lowrank_la certificate=False": partial(our_columns, certificate=False),
    "lowrank_la sketch_rows=n, without a sketch": lambda problem: our_columns(problem, sketch_rows=problem.A.shape[0]),
    "lowrank_la method='strong'": partial(our_columns, method="strong"),
    "lowrank_la method='osinsky'": partial(our_columns, method="osinsky"),
    "scipy interp_decomp": scipy_interp,
    "scipy interp_decomp, rand=False": partial(scipy_interp, rand=False),
    "scipy qr, pivoting": scipy_qr,
}

TASKS = [
    Task("svd 20000 x 2000, rank 50, singular values i^-0.5", partial(_dense, decay=lambda i: i**-0.5), DENSE, error),
    Task("svd 20000 x 2000, rank 50, singular values 0.9^i", partial(_dense, decay=lambda i: 0.9**i), DENSE, error),
    Task("svd sparse 1e6 x 1e5, 1e7 entries, rank 20, uniform", partial(_sparse, power=1.0), SPARSE, error),
    Task("svd sparse 1e6 x 1e5, 1e7 entries, rank 20, power law", partial(_sparse, power=3.0), SPARSE, error),
    Task("svd of a 4096 x 4096 float32 weight, rank 128", _weight, WEIGHT, error),
    Task("interpolative 4096 x 2048, rank 64, singular values 1/i", _columns, COLUMNS, column_error),
]
