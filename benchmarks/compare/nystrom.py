"""Low rank for kernel matrices: `nystrom` beside scikit-learn and randomly pivoted Cholesky written well in NumPy; products in tiles.

All errors are trace(K - F F^T) / trace(K), computed from the factor that a contender returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task
from lowrank_la import kernels
from lowrank_la.kernel_methods import RBF, nystrom


@dataclass(frozen=True)
class Problem:
    """Points, the bandwidth of a Gaussian kernel, and how many landmarks to take."""

    X: np.ndarray
    bandwidth: float
    rank: int
    V: np.ndarray | None = None

    @property
    def kernel(self) -> RBF:
        return RBF(self.bandwidth)


def clusters(n: int, rank: int) -> Problem:
    """Scatter points about 100 centres in 20 dimensions; sizes fall like 1 / i, and each cluster lies near a plane of its own."""
    rng, count, d, flat = np.random.default_rng(0), 100, 20, 3
    shares = 1 / np.arange(1.0, count + 1)
    labels = np.sort(rng.choice(count, n, p=shares / shares.sum()))
    X = 2 * rng.standard_normal((count, d))[labels] + 0.1 * rng.standard_normal((n, d))
    planes = rng.standard_normal((count, flat, d)) / flat**0.5
    for label in range(count):
        here = labels == label
        X[here] += rng.standard_normal((int(here.sum()), flat)) @ planes[label]
    return Problem(X[rng.permutation(n)], 8.0, rank)


def smile(n: int, rank: int, bandwidth: float) -> Problem:
    """Draw a face: two small eyes, a mouth of a tenth of the points, and a circle; set-up of Chen, Epperly, Tropp and Webber."""
    rng, eye, mouth = np.random.default_rng(0), math.ceil(n**0.5), math.ceil(n / 10)
    radius, angle = np.sqrt(rng.random(2 * eye)), 2 * math.pi * rng.random(2 * eye)
    eyes = np.stack([radius * np.cos(angle) + np.repeat([-4.0, 4.0], eye), radius * np.sin(angle) + 4], axis=1)
    x, turn = np.linspace(-5, 5, mouth), np.linspace(0, 2 * math.pi, n - 2 * eye - mouth)
    X = np.concatenate([eyes, np.stack([x, x**2 / 16 - 5], axis=1), 10 * np.stack([np.cos(turn), np.sin(turn)], axis=1)])
    return Problem(X, bandwidth, rank)


def spiral(n: int, rank: int) -> Problem:
    """Wind a spiral that crowds its points at the centre; set-up of the same authors."""
    t = np.linspace(2, 0, n) ** 6
    return Problem(np.exp(0.2 * t)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1), 1000.0, rank)


def columns(problem: Problem, pivots: np.ndarray) -> np.ndarray:
    """Gaussian kernel of the pivots with all points, (b, n), in few passes over memory."""
    X, Z = problem.X, problem.X[pivots]
    G = (Z / problem.bandwidth**2) @ X.T
    G -= np.sum(X * X, axis=1) / (2 * problem.bandwidth**2)
    G -= np.sum(Z * Z, axis=1)[:, None] / (2 * problem.bandwidth**2)
    return np.exp(np.minimum(G, 0, out=G), out=G)


def ours(problem: Problem, dtype: Any = np.float64, **options: Any) -> np.ndarray:
    options = {"rank": problem.rank, "kernel": problem.kernel, "rng": 0, **options}
    return nystrom(problem.X.astype(dtype, copy=False), **options).F


def one_by_one(problem: Problem) -> np.ndarray:
    """Randomly pivoted Cholesky as it is defined."""
    rng, n = np.random.default_rng(0), problem.X.shape[0]
    F, left = np.zeros((problem.rank, n)), np.ones(n)
    for k in range(problem.rank):
        pivot = rng.choice(n, p=left / left.sum())
        g = columns(problem, np.array([pivot]))[0] - F[:k, pivot] @ F[:k]
        F[k] = g / math.sqrt(g[pivot])
        left = np.maximum(left - F[k] ** 2, 0)
    return F.T


def in_blocks(problem: Problem, width: int = 100) -> np.ndarray:
    """Randomly pivoted Cholesky in blocks: pivots of a block are drawn at once and all are taken."""
    from scipy.linalg import cholesky, solve_triangular

    rng, n = np.random.default_rng(0), problem.X.shape[0]
    F, left, k = np.zeros((problem.rank, n)), np.ones(n), 0
    while k < problem.rank:
        width = min(width, problem.rank - k)
        pivots = np.unique(rng.choice(n, 2 * width, p=left / left.sum()))
        pivots = rng.permutation(pivots)[:width]
        G = columns(problem, pivots)
        G -= F[:k, pivots].T @ F[:k]
        H = G[:, pivots]
        L = cholesky(H + 2e-12 * np.eye(len(pivots)), lower=True, check_finite=False)  # pivots of a block may depend on each other
        new = solve_triangular(L, G, lower=True, check_finite=False, overwrite_b=True)
        F[k : k + len(pivots)] = new
        left = np.maximum(left - np.einsum("ij,ij->j", new, new), 0)
        k += len(pivots)
    return F.T


def by_rejection(problem: Problem, width: int = 120) -> np.ndarray:
    """Accelerated randomly pivoted Cholesky: proposals in blocks, accepted so that the law is that of one at a time."""
    from scipy.linalg import solve_triangular

    rng, n = np.random.default_rng(0), problem.X.shape[0]
    F, left, k = np.zeros((problem.rank, n)), np.ones(n), 0
    while k < problem.rank:
        proposals = rng.choice(n, width, p=left / left.sum())
        H = columns(Problem(problem.X[proposals], problem.bandwidth, width), np.arange(width)) - F[:k, proposals].T @ F[:k, proposals]
        pivots, L = _accepted(H, rng.random(width) * np.diagonal(H), problem.rank - k)
        G = columns(problem, proposals[pivots])
        G -= F[:k, proposals[pivots]].T @ F[:k]
        new = solve_triangular(L, G, lower=True, check_finite=False, overwrite_b=True)
        F[k : k + len(pivots)] = new
        left = np.maximum(left - np.einsum("ij,ij->j", new, new), 0)
        k += len(pivots)
    return F.T


def _accepted(H: np.ndarray, hurdles: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    H, pivots = H.copy(), []
    for j in range(H.shape[0]):
        if hurdles[j] < H[j, j] and len(pivots) < most:
            H[j:, j] /= math.sqrt(H[j, j])
            H[j + 1 :, j + 1 :] -= np.outer(H[j + 1 :, j], H[j + 1 :, j])
            pivots.append(j)
    return np.array(pivots), np.tril(H[np.ix_(pivots, pivots)])


def sklearn_nystroem(problem: Problem, more: int = 1) -> np.ndarray:
    from sklearn.kernel_approximation import Nystroem

    gamma = 1 / (2 * problem.bandwidth**2)
    return Nystroem(gamma=gamma, n_components=more * problem.rank, random_state=0).fit_transform(problem.X)


def sklearn_centres(problem: Problem, minibatch: bool = False) -> np.ndarray:
    """Centres of clusters as landmarks, then Nystrom's formula."""
    from scipy.linalg import cholesky, solve_triangular
    from sklearn.cluster import KMeans, MiniBatchKMeans

    if minibatch:
        clusters = MiniBatchKMeans(problem.rank, n_init=1, random_state=0).fit(problem.X)
    else:
        clusters = KMeans(problem.rank, n_init=1, init="random", max_iter=5, random_state=0).fit(problem.X)
    Z, n = clusters.cluster_centers_, problem.X.shape[0]
    G = columns(Problem(np.concatenate([problem.X, Z]), problem.bandwidth, 0), np.arange(n, n + len(Z)))
    L = cholesky(G[:, n:] + 1e-12 * np.eye(len(Z)), lower=True, check_finite=False)
    return solve_triangular(L, G[:, :n], lower=True, check_finite=False, overwrite_b=True).T


def error(problem: Problem, F: np.ndarray) -> Mapping[str, float]:
    left = 1 - sum(float(np.sum(block.astype(np.float64) ** 2)) for block in np.array_split(F, 20)) / problem.X.shape[0]
    return {"trace error": left, "rank": F.shape[1]}


def our_product(problem: Problem, dtype: Any = np.float64) -> np.ndarray:
    X = problem.X.astype(dtype, copy=False)
    return kernels.kernel_product.apply(X, X, problem.V.astype(dtype, copy=False), "rbf", problem.kernel.numbers)


def numpy_product(problem: Problem) -> np.ndarray:
    blocks = np.array_split(np.arange(problem.X.shape[0]), max(1, problem.X.shape[0] // 500))
    return np.concatenate([columns(problem, block) @ problem.V for block in blocks])


def sklearn_product(problem: Problem) -> np.ndarray:
    from sklearn.metrics.pairwise import rbf_kernel

    blocks, gamma = np.array_split(problem.X, max(1, problem.X.shape[0] // 500)), 1 / (2 * problem.bandwidth**2)
    return np.concatenate([rbf_kernel(block, problem.X, gamma) @ problem.V for block in blocks])


def torch_product(problem: Problem, single: bool = False) -> np.ndarray:
    import torch

    torch.set_num_threads(THREADS)
    X, V = (torch.from_numpy(x).to(torch.float32 if single else torch.float64) for x in (problem.X, problem.V))
    scale = -1 / (2 * problem.bandwidth**2)
    return torch.cat([torch.exp_(torch.cdist(block, X).square_().mul_(scale)) @ V for block in torch.split(X, 500)]).numpy()


def product_error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    """Compare some rows with sums over differences."""
    rows = np.arange(0, problem.X.shape[0], max(1, problem.X.shape[0] // 50))
    squares = np.stack([np.sum((problem.X - x) ** 2, axis=1) for x in problem.X[rows]])
    exact = np.exp(-squares / (2 * problem.bandwidth**2)) @ problem.V
    return {"error": float(np.abs(answer[rows] - exact).max() / np.abs(exact).max())}


def _product_problem(size: str) -> Problem:
    problem = clusters(20_000 if size == "full" else 300, 1)
    return Problem(problem.X, problem.bandwidth, 1, np.random.default_rng(1).standard_normal((problem.X.shape[0], 1)))


SAME_RANK: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la, float32": partial(ours, dtype=np.float32),
    "lowrank_la method='kmeans'": partial(ours, method="kmeans"),
    "lowrank_la method='uniform'": partial(ours, method="uniform"),
    "lowrank_la method='rls'": partial(ours, method="rls"),
    "lowrank_la method='bless'": partial(ours, method="bless"),
    "lowrank_la method='greedy'": partial(ours, method="greedy"),
    "lowrank_la, 1000 landmarks": lambda problem: ours(problem, rank=2 * problem.rank),
    "block RPCholesky, NumPy": in_blocks,
    "accelerated RPCholesky, NumPy": by_rejection,
    "RPCholesky one by one, NumPy": one_by_one,
    "scikit-learn Nystroem": sklearn_nystroem,
    "scikit-learn Nystroem, 1000 landmarks": partial(sklearn_nystroem, more=2),
    "scikit-learn MiniBatchKMeans, Nystrom": partial(sklearn_centres, minibatch=True),
    "scikit-learn KMeans (5 steps), Nystrom": sklearn_centres,
}
SMILE: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "accelerated RPCholesky, NumPy": by_rejection,
    "block RPCholesky, NumPy": partial(in_blocks, width=120),
    "RPCholesky one by one, NumPy": one_by_one,
}
PRODUCTS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": our_product,
    "lowrank_la, float32": partial(our_product, dtype=np.float32),
    "NumPy, tiles": numpy_product,
    "scikit-learn rbf_kernel, tiles": sklearn_product,
    "torch cdist, tiles": torch_product,
    "torch cdist, tiles, float32": partial(torch_product, single=True),
}

TASKS = [
    Task(
        "nystrom 50000 x 20, 500 landmarks", lambda size: clusters(50_000, 500) if size == "full" else clusters(400, 20), SAME_RANK, error
    ),
    Task(
        "nystrom of the smile, 100000 points, 1000 landmarks",
        lambda size: smile(100_000, 1000, 0.2) if size == "full" else smile(400, 20, 0.5),
        SMILE,
        error,
    ),
    Task("Gaussian kernel times a vector, 20000 x 20", _product_problem, PRODUCTS, product_error),
]
