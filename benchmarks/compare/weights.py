"""Factorizations of dense matrices as layers of networks meet them: weights, roots, rotations; beside SciPy, PyTorch and plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task, factor
from lowrank_la.factor import (
    Factored,
    cur,
    kron_svd,
    orth,
    polar,
    procrustes,
    prox,
    psd_power,
    reduced_rank_regression,
    sylvester_spd,
    weighted_svd,
)


@dataclass(frozen=True)
class Problem:
    """Some arrays, and a rank where one is wanted."""

    arrays: tuple[np.ndarray, ...]
    rank: int = 0


def covariance(n: int, seed: int) -> np.ndarray:
    """Build a covariance whose eigenvalues fall from 1 to 1e-4."""
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    return (Q * np.geomspace(1, 1e-4, n)) @ Q.T


def _weighted(size: str) -> Problem:
    n, rank = (2048, 128) if size == "full" else (60, 6)
    return Problem((factor.weight(n, rank).A, covariance(n, 0).astype(np.float32)), rank)


def our_weighted(problem: Problem, **options: Any) -> np.ndarray:
    M, H = problem.arrays
    return weighted_svd(M, problem.rank, right=H, rng=0, **options).to_dense()


def numpy_weighted(problem: Problem) -> np.ndarray:
    """Take the root of the weights, truncate all singular values, and map back."""
    M, H = problem.arrays
    values, V = np.linalg.eigh(H)
    root = (V * np.sqrt(values.clip(1e-12))) @ V.T
    U, s, Wh = np.linalg.svd(M @ root, full_matrices=False)
    k = problem.rank
    return (U[:, :k] * s[:k]) @ (Wh[:k] @ ((V / np.sqrt(values.clip(1e-12))) @ V.T))


def torch_weighted(problem: Problem) -> np.ndarray:
    import torch

    torch.set_num_threads(THREADS)
    M, C = torch.from_numpy(problem.arrays[0]), torch.linalg.cholesky(torch.from_numpy(problem.arrays[1]))
    U, s, Wh = torch.linalg.svd(M @ C, full_matrices=False)
    k = problem.rank
    return ((U[:, :k] * s[:k]) @ torch.linalg.solve_triangular(C, Wh[:k], upper=False, left=False)).numpy()


def weighted_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    M, H = (x.astype(float) for x in problem.arrays)
    C = np.linalg.cholesky(H)
    least = float(np.linalg.norm(np.linalg.svd(M @ C, compute_uv=False)[problem.rank :]))
    return {"error / least": float(np.linalg.norm((M - answer) @ C)) / least}


def _regression(size: str) -> Problem:
    n, d, q, rank = (100_000, 200, 100, 10) if size == "full" else (400, 12, 8, 3)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    return Problem((X, X @ rng.standard_normal((d, rank)) @ rng.standard_normal((rank, q)) + rng.standard_normal((n, q))), rank)


def our_regression(problem: Problem) -> np.ndarray:
    return reduced_rank_regression(*problem.arrays, problem.rank, rng=0).to_dense()


def numpy_regression(problem: Problem) -> np.ndarray:
    X, Y = problem.arrays
    B = np.linalg.lstsq(X, Y)[0]
    V = np.linalg.svd(X @ B, full_matrices=False)[2][: problem.rank].T
    return (B @ V) @ V.T


def gram_regression(problem: Problem) -> np.ndarray:
    X, Y = problem.arrays
    B = np.linalg.solve(X.T @ X, X.T @ Y)
    V = np.linalg.eigh(B.T @ (X.T @ Y))[1][:, -problem.rank :]
    return (B @ V) @ V.T


def regression_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    X, Y = problem.arrays
    return {"relative residual": float(np.linalg.norm(Y - X @ answer) / np.linalg.norm(Y))}


def _square(size: str, count: int = 1) -> Problem:
    n = 1000 if size == "full" else 30
    return Problem(tuple(np.random.default_rng(i).standard_normal((n, n)) for i in range(count)))


def scipy_polar(problem: Problem) -> np.ndarray:
    from scipy.linalg import polar

    return polar(problem.arrays[0])[0]


def torch_newton_schulz(problem: Problem) -> np.ndarray:
    """Iterate until nothing moves, with no more than products."""
    import torch

    torch.set_num_threads(THREADS)
    X = torch.from_numpy(problem.arrays[0])
    X = X / torch.linalg.matrix_norm(X)
    for _ in range(100):
        before, X = X, 1.5 * X - 0.5 * X @ (X.T @ X)
        if torch.linalg.matrix_norm(X - before) < 1e-12:
            break
    return X.numpy()


def polar_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    U, _, Vh = np.linalg.svd(problem.arrays[0])
    return {
        "error": float(np.linalg.norm(answer - U @ Vh, 2)),
        "orthogonality": float(np.linalg.norm(answer.T @ answer - np.eye(len(U)), 2)),
    }


def _roots(size: str) -> Problem:
    return Problem((covariance(1000 if size == "full" else 30, 0),))


def scipy_inverse_root(problem: Problem) -> np.ndarray:
    from scipy.linalg import inv, sqrtm

    return inv(sqrtm(problem.arrays[0]))


def scipy_fractional(problem: Problem) -> np.ndarray:
    from scipy.linalg import fractional_matrix_power

    return fractional_matrix_power(problem.arrays[0], -0.5)


def root_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    X = np.real(answer)
    return {"norm of X H X - I": float(np.linalg.norm(X @ problem.arrays[0] @ X - np.eye(len(X))))}


def _points(size: str) -> Problem:
    n, d = (200_000, 100) if size == "full" else (300, 6)
    rng = np.random.default_rng(0)
    P = rng.standard_normal((n, d))
    return Problem((P, P @ np.linalg.qr(rng.standard_normal((d, d)))[0] + 0.1 * rng.standard_normal((n, d))))


def scipy_procrustes(problem: Problem) -> np.ndarray:
    from scipy.linalg import orthogonal_procrustes

    return orthogonal_procrustes(*problem.arrays)[0]


def procrustes_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    P, Q = problem.arrays
    return {"relative misfit": float(np.linalg.norm(P @ answer - Q) / np.linalg.norm(Q))}


def _sylvester(size: str) -> Problem:
    n = 1000 if size == "full" else 30
    return Problem((covariance(n, 0), covariance(n, 1), np.random.default_rng(2).standard_normal((n, n))))


def scipy_sylvester(problem: Problem) -> np.ndarray:
    from scipy.linalg import solve_sylvester

    return solve_sylvester(*problem.arrays)


def sylvester_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    P, Q, R = problem.arrays
    return {"relative residual": float(np.linalg.norm(P @ answer + answer @ Q - R) / np.linalg.norm(R))}


def _low_rank(size: str) -> Problem:
    n, rank = (2000, 20) if size == "full" else (60, 4)
    rng = np.random.default_rng(0)
    M = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, n)) + rng.standard_normal((n, n))
    return Problem((M,), 2 * int(np.sqrt(n)) + 2)  # the noise ends below twice the root of n


def numpy_shrink(problem: Problem) -> np.ndarray:
    U, s, Vh = np.linalg.svd(problem.arrays[0], full_matrices=False)
    return (U * (s - problem.rank).clip(0)) @ Vh


def shrink_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    right = numpy_shrink(problem)
    return {"relative error": float(np.linalg.norm(answer - right) / np.linalg.norm(right))}


def _kron(size: str) -> Problem:
    n = 48 if size == "full" else 6
    rng = np.random.default_rng(0)
    terms = sum(0.7**i * np.kron(rng.standard_normal((n, n)), rng.standard_normal((n, n))) for i in range(20))
    return Problem((np.asarray(terms),), 8)


def our_kron(problem: Problem) -> np.ndarray:
    n = round(problem.arrays[0].shape[0] ** 0.5)
    return kron_svd(problem.arrays[0], ((n, n), (n, n)), problem.rank, rng=0).to_dense()


def numpy_kron(problem: Problem) -> np.ndarray:
    """Rearrange, and truncate all singular values."""
    M, k = problem.arrays[0], problem.rank
    n = round(M.shape[0] ** 0.5)
    U, s, Vh = np.linalg.svd(M.reshape(n, n, n, n).transpose(0, 2, 1, 3).reshape(n * n, n * n), full_matrices=False)
    return ((U[:, :k] * s[:k]) @ Vh[:k]).reshape(n, n, n, n).transpose(0, 2, 1, 3).reshape(M.shape)


def relative_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    return {"relative error": float(np.linalg.norm(problem.arrays[0] - answer) / np.linalg.norm(problem.arrays[0]))}


def _tall(size: str) -> Problem:
    n, m = (1_000_000, 50) if size == "full" else (5000, 6)
    rng = np.random.default_rng(0)
    return Problem((rng.standard_normal((n, m)) @ (rng.standard_normal((m, m)) * np.geomspace(1, 1e-8, m)),))


def scipy_orth(problem: Problem) -> np.ndarray:
    from scipy.linalg import orth

    return orth(problem.arrays[0])


def torch_qr(problem: Problem) -> np.ndarray:
    import torch

    torch.set_num_threads(THREADS)
    return torch.linalg.qr(torch.from_numpy(problem.arrays[0]))[0].numpy()


def basis_error(problem: Problem, Q: np.ndarray) -> Mapping[str, float]:
    Y = problem.arrays[0]
    missed = np.linalg.norm(Y - Q @ (Q.T @ Y)) / np.linalg.norm(Y)
    return {"orthogonality": float(np.linalg.norm(Q.T @ Q - np.eye(Q.shape[1]), 2)), "missed share": float(missed)}


def _sum(size: str) -> Problem:
    n, rank = (4096, 32) if size == "full" else (60, 3)
    rng = np.random.default_rng(0)
    return Problem(tuple(rng.standard_normal((n, rank)) for _ in range(8)), rank)


def our_sum(problem: Problem) -> np.ndarray:
    B = problem.arrays
    terms = [Factored.from_factors(B[i], B[i + 4].T) for i in range(4)]
    return Factored.sum(terms).recompress(problem.rank).to_dense()


def numpy_sum(problem: Problem) -> np.ndarray:
    """Form the sum, and truncate all singular values."""
    B = problem.arrays
    U, s, Vh = np.linalg.svd(sum(B[i] @ B[i + 4].T for i in range(4)), full_matrices=False)
    return (U[:, : problem.rank] * s[: problem.rank]) @ Vh[: problem.rank]


def sum_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    B = problem.arrays
    M = sum(B[i] @ B[i + 4].T for i in range(4))
    return {"relative error": float(np.linalg.norm(M - answer) / np.linalg.norm(M))}


def our_cur(problem: factor.Problem) -> np.ndarray:
    return cur(problem.A, problem.rank, rng=0).to_dense()


def scipy_cur(problem: factor.Problem) -> np.ndarray:
    """Columns and rows by SciPy's interpolative decomposition, and the projections on both."""
    from scipy.linalg.interpolative import interp_decomp

    A, k = problem.A, problem.rank
    columns, rows = (interp_decomp(X, k, rng=0)[0][:k] for X in (A, np.ascontiguousarray(A.T)))
    Q, P = np.linalg.qr(A[:, columns])[0], np.linalg.qr(A[rows].T)[0]
    return Q @ (Q.T @ A @ P) @ P.T


def cur_error(problem: factor.Problem, answer: np.ndarray) -> Mapping[str, float]:
    return {"error / least": float(np.linalg.norm(problem.A - answer)) / (problem.least or problem.norm)}


def _columns(size: str) -> factor.Problem:
    n, d, rank = (4096, 2048, 64) if size == "full" else (200, 90, 8)
    return factor.with_spectrum(n, d, np.arange(1.0, d + 1) ** -1, rank)


def one(function: Callable[..., Any]) -> Callable[[Problem], np.ndarray]:
    """Call a function with the arrays of a problem."""
    return lambda problem: function(*problem.arrays)


TASKS = [
    Task(
        "weighted_svd of a 2048 x 2048 float32 weight, full right weights, rank 128",
        _weighted,
        {
            "lowrank_la": our_weighted,
            "lowrank_la method='exact'": partial(our_weighted, method="exact"),
            "NumPy, root and full SVD": numpy_weighted,
            "torch, Cholesky and full SVD": torch_weighted,
        },
        weighted_error,
    ),
    Task(
        "reduced_rank_regression 100000 x 200 on 100 responses, rank 10",
        _regression,
        {"lowrank_la": our_regression, "NumPy lstsq and SVD": numpy_regression, "NumPy, normal equations": gram_regression},
        regression_error,
    ),
    Task(
        "polar factor of 1000 x 1000 Gaussians",
        _square,
        {"lowrank_la": one(lambda A: polar(A).U), "scipy polar": scipy_polar, "torch, Newton-Schulz": torch_newton_schulz},
        polar_error,
    ),
    Task(
        "inverse root of a 1000 x 1000 covariance, condition 1e4",
        _roots,
        {
            "lowrank_la": one(lambda H: psd_power(H, -0.5).X),
            "scipy sqrtm and inv": scipy_inverse_root,
            "scipy fractional_matrix_power": scipy_fractional,
        },
        root_error,
    ),
    Task(
        "procrustes, 200000 points in 100 dimensions",
        _points,
        {"lowrank_la": one(lambda P, Q: procrustes(P, Q).R), "scipy orthogonal_procrustes": scipy_procrustes},
        procrustes_error,
    ),
    Task(
        "sylvester_spd 1000 x 1000",
        _sylvester,
        {"lowrank_la": one(lambda P, Q, R: sylvester_spd(P, Q, R).X), "scipy solve_sylvester": scipy_sylvester},
        sylvester_error,
    ),
    Task(
        "prox of the nuclear norm, 2000 x 2000 of rank 20 with noise",
        _low_rank,
        {"lowrank_la": lambda problem: prox(problem.arrays[0], problem.rank, rng=0).X, "NumPy, full SVD": numpy_shrink},
        shrink_error,
    ),
    Task(
        "kron_svd of a 2304 x 2304 matrix, 8 terms",
        _kron,
        {"lowrank_la": our_kron, "NumPy, full SVD": numpy_kron},
        relative_error,
    ),
    Task(
        "orth 1000000 x 50, condition 1e8",
        _tall,
        {
            "lowrank_la": one(lambda Y: orth(Y, rng=0)),
            "NumPy qr": one(lambda Y: np.linalg.qr(Y)[0]),
            "torch qr": torch_qr,
            "scipy orth": scipy_orth,
        },
        basis_error,
    ),
    Task(
        "sum of four products of rank 32, 4096 x 4096, cut to rank 32",
        _sum,
        {"lowrank_la": our_sum, "NumPy, full SVD of the sum": numpy_sum},
        sum_error,
    ),
    Task(
        "cur 4096 x 2048, rank 64, singular values 1/i",
        _columns,
        {"lowrank_la": our_cur, "scipy interp_decomp twice": scipy_cur},
        cur_error,
    ),
]
