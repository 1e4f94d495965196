"""Newton systems (diag(c + shift) - P^T diag(1 / r) P / (1 + kappa)) y = b of a plan P with row sums r and column sums c.

Each is solved by conjugate gradients; where they take long, with factors of the matrix as preconditioner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la.solvers._block import conjugate_gradients

DIRECT = 6000  # columns up to which the matrix is factored where conjugate gradients take long
ROUNDED = 1e-12  # relative shift that keeps a factorization definite
FEW = 50  # plans with so many times more pairs than large entries are compressed
SPARSELY = 128  # entries of a row of the matrix up to which it is factored as a sparse one
Gram: TypeAlias = Callable[[np.ndarray, "np.ndarray | None"], tuple[np.ndarray, np.ndarray]]  # P y, P^T diag(w) P y; P^T 1 for no w
SPARSE, MOST = 0.01, 0.1  # share of each row and column that compressed plans leave out, over the marginal error; and at most


def of_stored(P: Any, plan: Any, shift: np.ndarray, kappa: float, error: float, always: bool) -> StoredSystem | CompressedSystem:
    """Return the system of a stored plan; without its small entries if few are left, or `always`."""
    n, m = plan.rows.size, plan.columns.size
    diagonal = _unshifted(plan, kappa)
    delta, most = min(SPARSE * error, MOST), n * m if always else n * m // FEW
    S = kernels.sparse_plan.compress(P, plan.rows, plan.columns, delta, most)
    if S is None:
        return StoredSystem(plan.columns, diagonal, shift, kappa, P, plan.rows)
    return CompressedSystem(S.sum(axis=0), diagonal, shift, kappa, S, 1 / ((1 + kappa) * S.sum(axis=1)))


def of_points(gram: Gram, plan: Any, shift: np.ndarray, kappa: float) -> PointSystem:
    """Return the system of a plan of points, which is not stored."""
    return PointSystem(plan.columns, _unshifted(plan, kappa), shift, kappa, gram)


def _unshifted(plan: Any, kappa: float) -> np.ndarray:
    """Return the diagonal of diag(c) - P^T diag(1 / r) P / (1 + kappa)."""
    return plan.diagonal if kappa == 0 else plan.columns - (plan.columns - plan.diagonal) / (1 + kappa)


@dataclass(frozen=True)
class System:
    """What all have: the column sums c, the diagonal of the matrix without `shift`, and kappa."""

    columns: np.ndarray
    diagonal: np.ndarray
    shift: np.ndarray
    kappa: float

    @property
    def few(self) -> int:
        """Iterations that take as long as a factorization, or a tenth of all where there is none."""
        return 150 + self.columns.size // 8


@dataclass(frozen=True)
class StoredSystem(System):
    """The whole plan."""

    P: Any
    rows: np.ndarray

    def iterate(self, b: np.ndarray, rtol: float, most: int) -> tuple[np.ndarray, int]:
        """Solve by conjugate gradients that the diagonal preconditions."""
        return kernels.plan_newton.newton(self.P, b, self.diagonal, self.shift, self.kappa, rtol, most, self.rows.size)

    def factor(self) -> Any:
        """Factor the matrix, or return None where that would cost too much."""
        n, m = self.rows.size, self.columns.size
        if m > DIRECT:
            return None
        P = self.P[:n, :m] if isinstance(self.P, np.ndarray) else self.P
        xp = _arrays.namespace(P)
        weights = _arrays.from_numpy(1 / np.sqrt((1 + self.kappa) * self.rows), P)
        Q = P * xp.astype(weights, P.dtype)[:, None]
        return _factored(_arrays.to_numpy(Q.T @ Q).astype(np.float64), self.columns, self.shift, self.kappa)

    def refine(self, factor: Any, b: np.ndarray, rtol: float, most: int) -> tuple[np.ndarray, int]:
        """Solve by conjugate gradients that factors precondition."""
        product = kernels.plan_newton.product
        rows, c = product(self.P, np.ones(b.size), np.ones(self.rows.size), True)
        w = 1 / ((1 + self.kappa) * rows)
        return _conjugate(lambda y: (c + self.shift) * y - product(self.P, y, w, False)[1], factor, b, rtol, most)


@dataclass(frozen=True)
class CompressedSystem(System):
    """The large entries S of a plan; the matrix is diag(columns + shift) - S^T diag(weights) S, with the column sums of S."""

    S: Any
    weights: np.ndarray

    @property
    def few(self) -> int:
        """Iterations that take as long as a factorization."""
        return 300

    def iterate(self, b: np.ndarray, rtol: float, most: int) -> tuple[np.ndarray, int]:
        """Solve by conjugate gradients that the diagonal preconditions."""
        S, c = self.S, self.columns + self.shift
        return kernels.sparse_plan.newton(S.data, S.indices, S.indptr, b, self.diagonal + self.shift, c, self.weights, rtol, most)

    def factor(self) -> Any:
        """Factor the matrix, or return None where that would cost too much."""
        if self.columns.size > DIRECT:
            return None
        W = self.S.T @ self.S.multiply(self.weights[:, None]).tocsr()
        if W.nnz > SPARSELY * self.columns.size:
            return _factored(W.toarray(), self.columns, self.shift, self.kappa)
        return _sparsely_factored(W, self.columns, self.shift, self.kappa)

    def refine(self, factor: Any, b: np.ndarray, rtol: float, most: int) -> tuple[np.ndarray, int]:
        """Solve by conjugate gradients that factors precondition."""
        S, c = self.S, self.columns + self.shift
        return _conjugate(lambda y: c * y - S.T @ (self.weights * (S @ y)), factor, b, rtol, most)


@dataclass(frozen=True)
class PointSystem(System):
    """The plan of points, whose entries are computed for each product."""

    gram: Gram

    def iterate(self, b: np.ndarray, rtol: float, most: int) -> tuple[np.ndarray, int]:
        """Solve by conjugate gradients that the diagonal preconditions."""
        diagonal = (self.diagonal + self.shift)[:, None]
        rows, c = self.gram(np.ones_like(b), None)
        w = 1 / ((1 + self.kappa) * rows)
        return _conjugate(lambda y: (c + self.shift) * y - self.gram(y, w)[1], lambda R: R / diagonal, b, rtol, most)

    def factor(self) -> None:
        """Leave the matrix as it is: it does not fit."""


def _conjugate(
    apply: Callable[[np.ndarray], np.ndarray], solve: Callable[[np.ndarray], np.ndarray], b: np.ndarray, rtol: float, most: int
) -> tuple[np.ndarray, int]:
    """Solve for one right-hand side by preconditioned conjugate gradients."""
    goals = np.array([rtol * np.linalg.norm(b)])
    answer = conjugate_gradients(lambda Y: np.stack([apply(y) for y in Y.T], axis=1), b[:, None], goals, precondition=solve, max_iter=most)
    return answer.X[:, 0], answer.n_iter


def _factored(W: np.ndarray, columns: np.ndarray, shift: np.ndarray, kappa: float) -> Any:
    """Return the function that solves with diag(columns + shift) - W, or None if rounding errors make it indefinite."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    diagonal = _diagonal(W, columns, shift, kappa)
    np.negative(W, out=W)
    np.fill_diagonal(W, diagonal)
    if kappa == 0:
        W += np.outer(columns, columns / columns.sum())  # constants are the null space without it
    try:
        factor = cho_factor(W, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    return lambda R: cho_solve(factor, R, check_finite=False)


def _sparsely_factored(W: Any, columns: np.ndarray, shift: np.ndarray, kappa: float) -> Any:
    """Do the same for a sparse W, with an elimination that keeps the order of minimum degree: pivots of such a matrix are safe."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    A = diags_array(_diagonal(W, columns, shift, kappa) + W.diagonal()) - W
    try:
        factor = splu(A.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError:  # a zero pivot
        return None
    return factor.solve


def _diagonal(W: Any, columns: np.ndarray, shift: np.ndarray, kappa: float) -> np.ndarray:
    """Return that of diag(columns + shift) - W; for kappa = 0 it comes from the other entries of W, which loses no digits."""
    inside = W.sum(axis=1) - W.diagonal() if kappa == 0 else columns - W.diagonal()
    return inside * (1 + ROUNDED) + shift
