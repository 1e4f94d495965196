"""Hermitian positive definite systems: `conjugate_gradients` beside SciPy's, whose answers come without residuals or bounds."""

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
    """A system with right-hand sides in columns."""

    A: Any
    B: np.ndarray


def poisson(n: int) -> Any:
    """Five-point Laplacian on an n x n grid."""
    T, eye = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)), sp.eye_array(n)
    return (sp.kron(T, eye) + sp.kron(eye, T)).tocsr()


def _grid(size: str, count: int) -> Problem:
    A = poisson(300 if size == "full" else 10)
    return Problem(A, np.random.default_rng(0).standard_normal((A.shape[0], count)))


def _dense(size: str, count: int) -> Problem:
    n, rng = 3000 if size == "full" else 40, np.random.default_rng(0)
    G = rng.standard_normal((n, n))
    return Problem(G @ G.T + n * np.eye(n), rng.standard_normal((n, count)))


def ours(problem: Problem) -> Any:
    return solvers.conjugate_gradients(problem.A, problem.B, tol=TOL)


def scipy(problem: Problem, name: str) -> np.ndarray:
    import scipy.sparse.linalg as linalg

    solve = getattr(linalg, name)
    return np.stack([solve(problem.A, b, rtol=TOL)[0] for b in problem.B.T], axis=1)


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Largest relative residual, and what the certificate says."""
    x, sizes = getattr(answer, "x", answer), np.linalg.norm(problem.B, axis=0)
    figures = {"residual": float(np.max(np.linalg.norm(problem.B - problem.A @ x, axis=0) / sizes))}
    if hasattr(answer, "certificate"):
        figures["certified"] = answer.certificate.bound / float(np.min(sizes))
    return figures


CONTENDERS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "SciPy cg": partial(scipy, name="cg"),
    "SciPy minres": partial(scipy, name="minres"),
}

TASKS = [
    Task("conjugate gradients for Poisson's equation on 300 x 300", partial(_grid, count=1), CONTENDERS, error),
    Task("conjugate gradients for Poisson's equation on 300 x 300, 8 right-hand sides", partial(_grid, count=8), CONTENDERS, error),
    Task("conjugate gradients for a dense matrix of order 3000, 8 right-hand sides", partial(_dense, count=8), CONTENDERS, error),
]
