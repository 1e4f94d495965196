"""Systems and least squares by iteration: ours beside SciPy's, whose answers come without residuals or bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.compare import Task
from lowrank_la import solvers

TOL = 1e-8


@dataclass(frozen=True)
class Problem:
    """A system or least-squares problem with right-hand sides in columns, a preconditioner and a direction map."""

    A: Any
    B: np.ndarray
    P: Any = None
    direction: Callable[[np.ndarray], np.ndarray] | None = None


def poisson(n: int) -> Any:
    """Five-point Laplacian on an n x n grid."""
    T, eye = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)), sp.eye_array(n)
    return (sp.kron(T, eye) + sp.kron(eye, T)).tocsr()


def diffusion(n: int, contrast: float, seed: int = 0) -> Any:
    """Five-point diffusion on an n x n grid, with the coefficients of the links between 1 and the contrast."""
    rng, place = np.random.default_rng(seed), np.arange(n * n).reshape(n, n)
    first, second = (np.concatenate([x.ravel(), y.ravel()]) for x, y in ((place[:, :-1], place[:-1]), (place[:, 1:], place[1:])))
    off = sp.coo_array((-(contrast ** rng.random(first.size)), (first, second)), shape=(n * n, n * n)).tocsr()
    off = off + off.T
    return (off + sp.diags_array(1.0 - off.sum(axis=1))).tocsr()


def _grid(size: str, count: int, n: int) -> Problem:
    A = poisson(n if size == "full" else 10)
    return Problem(A, np.random.default_rng(0).standard_normal((A.shape[0], count)))


def _layers(size: str, *, factor: bool) -> Problem:
    from scipy.sparse.linalg import spilu

    A = diffusion(256 if size == "full" else 10, 1e4)
    if not factor:
        return Problem(A, np.random.default_rng(0).standard_normal((A.shape[0], 1)), sp.diags_array(1 / A.diagonal()).tocsr())
    ilu = spilu(A.tocsc(), drop_tol=1e-3, fill_factor=5, diag_pivot_thresh=0.0, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    return Problem(A, np.random.default_rng(0).standard_normal((A.shape[0], 1)), lambda R: (ilu.solve(R) + ilu.solve(R, "T")) / 2)


def _dense(size: str, count: int) -> Problem:
    n, rng = 3000 if size == "full" else 40, np.random.default_rng(0)
    G = rng.standard_normal((n, n))
    return Problem(G @ G.T + n * np.eye(n), rng.standard_normal((n, count)))


def _learned(size: str) -> Problem:
    """Poisson's equation with a map that solves in the span of 200 vectors fitted to solutions for random right-hand sides."""
    from scipy.sparse.linalg import splu

    n, rank = (128, 200) if size == "full" else (10, 20)
    A, rng = poisson(n), np.random.default_rng(1)
    samples = splu(A.tocsc()).solve(rng.standard_normal((n * n, 2 * rank)))
    V = np.linalg.qr(samples @ np.linalg.svd(samples, full_matrices=False)[2].T)[0][:, :rank]
    C = np.linalg.inv(V.T @ (A @ V))
    return Problem(A, rng.standard_normal((n * n, 1)), None, lambda r: r / 8 + V @ (C @ (V.T @ r)))


def _tall(size: str, count: int) -> Problem:
    m, n = (200000, 40000) if size == "full" else (60, 20)
    rng = np.random.default_rng(0)
    columns = rng.integers(0, n, (m, 8))
    A = sp.csr_array((rng.standard_normal(8 * m), columns.ravel(), np.arange(0, 8 * m + 1, 8)), shape=(m, n))
    A.sum_duplicates()
    return Problem((A @ sp.diags_array(np.geomspace(1, 30, n))).tocsr(), rng.standard_normal((m, count)))


def ours(problem: Problem) -> Any:
    return solvers.conjugate_gradients(problem.A, problem.B, preconditioner=problem.P, tol=TOL)


def directions(problem: Problem) -> Any:
    assert problem.direction is not None
    return solvers.conjugate_directions(problem.A, problem.B[:, 0], problem.direction, tol=TOL)


def scipy(problem: Problem, name: str) -> np.ndarray:
    import scipy.sparse.linalg as linalg

    solve, P = getattr(linalg, name), problem.P
    M = (
        P
        if P is None or sp.issparse(P)
        else linalg.LinearOperator(problem.A.shape, matvec=lambda r: P(r.reshape(-1, 1))[:, 0], dtype=np.float64)
    )
    return np.stack([solve(problem.A, b, rtol=TOL, M=M)[0] for b in problem.B.T], axis=1)


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Largest relative residual, and what the certificate says."""
    x, sizes = np.reshape(getattr(answer, "x", answer), problem.B.shape), np.linalg.norm(problem.B, axis=0)
    figures = {"residual": float(np.max(np.linalg.norm(problem.B - problem.A @ x, axis=0) / sizes))}
    if hasattr(answer, "certificate"):
        figures |= {"certified": answer.certificate.bound / float(np.min(sizes)), "steps": answer.n_iter}
    return figures


def least_squares(problem: Problem) -> Any:
    return solvers.lsmr(problem.A, problem.B, tol=TOL)


def scipy_least_squares(problem: Problem, name: str) -> np.ndarray:
    import scipy.sparse.linalg as linalg

    solve = partial(getattr(linalg, name), problem.A, atol=TOL, btol=TOL)
    return np.stack([solve(b)[0] for b in problem.B.T], axis=1)


def gradient(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Largest ||A^T r|| / ||r||, relative to the 2-norm of A, and what the certificate says."""
    from scipy.sparse.linalg import svds

    x, size = getattr(answer, "x", answer), float(svds(problem.A, 1, return_singular_vectors=False, rng=0)[0])
    R = problem.B - problem.A @ x
    figures = {"gradient": float(np.max(np.linalg.norm(problem.A.T @ R, axis=0) / np.linalg.norm(R, axis=0))) / size}
    if hasattr(answer, "certificate"):
        figures |= {"certified": answer.certificate.bound / size, "steps": answer.n_iter}
    return figures


SYSTEMS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "SciPy cg": partial(scipy, name="cg"),
    "SciPy minres": partial(scipy, name="minres"),
}
LEAST_SQUARES: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": least_squares,
    "SciPy lsmr": partial(scipy_least_squares, name="lsmr"),
    "SciPy lsqr": partial(scipy_least_squares, name="lsqr"),
}
LEARNED = {"lowrank_la, learned directions": directions, "lowrank_la, conjugate gradients": ours, "SciPy cg": SYSTEMS["SciPy cg"]}

TASKS = [
    Task("Poisson's equation on 512 x 512", partial(_grid, count=1, n=512), SYSTEMS, error),
    Task("Poisson's equation on 300 x 300, 8 right-hand sides", partial(_grid, count=8, n=300), SYSTEMS, error),
    Task("diffusion with contrast 10000 on 256 x 256, diagonal preconditioner", partial(_layers, factor=False), SYSTEMS, error),
    Task("diffusion with contrast 10000 on 256 x 256, incomplete factors", partial(_layers, factor=True), SYSTEMS, error),
    Task("dense positive definite matrix of order 3000", partial(_dense, count=1), SYSTEMS, error),
    Task("dense positive definite matrix of order 3000, 8 right-hand sides", partial(_dense, count=8), SYSTEMS, error),
    Task("Poisson's equation on 128 x 128, learned directions", _learned, LEARNED, error),
    Task("sparse least squares, 200000 x 40000, 8 entries a row", partial(_tall, count=1), LEAST_SQUARES, gradient),
    Task("sparse least squares, 200000 x 40000, 8 entries a row, 4 right-hand sides", partial(_tall, count=4), LEAST_SQUARES, gradient),
]
