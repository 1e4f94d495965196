"""Kernel ridge regression by Cholesky's factorization of the whole matrix, and the diagonal of its inverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, eye, host
from lowrank_la.kernel_methods._ridge_problem import Problem


@dataclass(frozen=True)
class Factored:
    """G = D K D + ridge I, its inverse, and W with W^T W = G^-1."""

    inverse: Callable[[Array], Array]
    W: Callable[[], Array]


def solve(problem: Problem) -> tuple[Array, Array]:
    """Return B and its residual, after one correction."""
    G = problem.dense()
    inverse = _factored(problem, G).inverse
    B = inverse(problem.rhs)
    B = problem.rounded(B + inverse(problem.rhs - G @ B))
    return B, problem.rhs - G @ B


def inverse_diagonal(problem: Problem) -> Array:
    """Return the diagonal of G^-1."""
    W = _factored(problem, problem.dense()).W()
    return problem.xp.sum(W * W, axis=0)


def _factored(problem: Problem, G: Array) -> Factored:
    """Factor G, by its eigenvalues where rounding errors forbid Cholesky's factor.

    Raises
    ------
    ValueError
        K is not positive semidefinite.
    """
    xp, n, ridge = problem.xp, problem.gram.n, problem.ridge
    try:
        R = adjoint(xp.linalg.cholesky(G))
        if np.all(np.isfinite(host(xp.linalg.diagonal(R)))):
            return Factored(
                lambda V: _arrays.solve_triangular(R, _arrays.solve_triangular(R, V, adjoint=True)),
                lambda: _arrays.solve_triangular(R, eye(xp, n, G), adjoint=True),
            )
    except np.linalg.LinAlgError:
        pass
    values, V = xp.linalg.eigh(G)
    least, most = float(values[0]) - ridge, float(values[-1])
    if least < -10 * n * _arrays.unit_roundoff(xp, problem.gram.door.dtype) * most:
        raise ValueError(f"{problem.gram.function}: K must be positive semidefinite; got an eigenvalue of {least:.6g}")
    values = xp.where(values > ridge, values, xp.full_like(values, ridge))
    return Factored(lambda B: V @ ((adjoint(V) @ B) / values[:, None]), lambda: adjoint(V) / xp.sqrt(values)[:, None])
