"""Costs between two sets of points as the solver sees them: a matrix in memory, and the loops that run over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la._cg import conjugate_gradients

DIRECT = 6000  # columns up to which the Schur complement is factored where conjugate gradients take long
ROUNDED = 1e-12  # relative shift that keeps a factorization definite


@dataclass
class StoredCosts:
    """A cost matrix (n, m) in memory; potentials and marginals are float64 vectors on the host."""

    C: Array
    _memory: Any = field(default=True, repr=False)  # of the last plan, for the next one

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.C.shape[0], self.C.shape[1]

    @property
    def is_stored(self) -> bool:
        """Say whether the costs are in memory."""
        return True

    @property
    def like(self) -> Array:
        """An array of the library and device of the problem."""
        return self.C

    def rows(self, rows: slice) -> np.ndarray:
        """Return rows of the matrix in float64, on the host."""
        return _arrays.to_numpy(self.C[rows, :]).astype(np.float64, copy=False)

    def part(self, rows: np.ndarray, columns: np.ndarray) -> StoredCosts:
        """Return the costs between some of the points."""
        xp = _arrays.namespace(self.C)
        C = self.C
        for axis, kept in enumerate((rows, columns)):
            if len(kept) < C.shape[axis]:
                C = xp.take(C, _arrays.from_numpy(kept, C), axis=axis)
        return StoredCosts(C)

    def transposed(self) -> StoredCosts:
        """Return the costs the other way."""
        return StoredCosts(self.C.T)

    def plan(self, f: np.ndarray, g: np.ndarray, a: np.ndarray, eps: float, kappa: float = 0.0) -> Any:
        """Return a plan that is kept until the next one; see `kernels.gibbs.plan_reference`."""
        plan = kernels.gibbs.plan(self.C, f, g, a, eps, kappa, self._memory)
        self._memory = plan.P
        return plan

    def sums(self, f: np.ndarray, g: np.ndarray, eps: float) -> Any:
        """Return the sums of a plan of given potentials, which is not kept."""
        return kernels.gibbs.plan(self.C, f, g, np.ones_like(f), eps, 0.0, False, True)

    def sweeps(self, plan: Any, a: np.ndarray, b: np.ndarray, v: np.ndarray, count: int, kappas: tuple[float, float]) -> Any:
        """Scale the rows and columns of the last plan."""
        return kernels.scaling.sweeps(plan.P, a, b, v, count, kappas)

    def newton(
        self, plan: Any, b: np.ndarray, shift: np.ndarray, kappa: float, rtol: float, most: int, delta: float | None
    ) -> tuple[np.ndarray, int]:
        """Solve with the Schur complement of the last plan by conjugate gradients, perhaps without entries of share delta in all."""
        diagonal = plan.diagonal if kappa == 0 else plan.columns - (plan.columns - plan.diagonal) / (1 + kappa)
        if delta is None:
            return kernels.plan_newton.newton(plan.P, b, diagonal, shift, kappa, rtol, most, self.shape[0])
        return kernels.sparse_plan.newton(plan.P, b, diagonal, shift, kappa, rtol, most, plan.rows, plan.columns, delta)

    def factor(self, plan: Any, shift: np.ndarray, kappa: float) -> Any:
        """Factor the Schur complement of the last plan, or return None where that would cost too much."""
        n, m = self.shape
        if m > DIRECT:
            return None
        P = plan.P[:n, :m] if isinstance(plan.P, np.ndarray) else plan.P
        xp = _arrays.namespace(P)
        weights = _arrays.from_numpy(1 / np.sqrt((1 + kappa) * plan.rows), P)
        Q = P * xp.astype(weights, P.dtype)[:, None]
        return _factored(_arrays.to_numpy(Q.T @ Q).astype(np.float64), plan.columns, shift, kappa)

    def refine(
        self, plan: Any, factor: Any, b: np.ndarray, shift: np.ndarray, kappa: float, rtol: float, most: int
    ) -> tuple[np.ndarray, int]:
        """Solve like `newton`, preconditioned by the factors of an earlier plan."""
        from scipy.linalg import cho_solve

        rows, c = kernels.plan_newton.product(plan.P, np.ones(b.size), np.ones(self.shape[0]), True)
        w = 1 / ((1 + kappa) * rows)

        def apply(Y: Array) -> Array:
            return np.stack([(c + shift) * y - kernels.plan_newton.product(plan.P, y, w, False)[1] for y in Y.T], axis=1)

        goals = np.array([rtol * np.linalg.norm(b)])
        answer = conjugate_gradients(
            apply, b[:, None], goals, precondition=lambda R: cho_solve(factor, R, check_finite=False), max_iter=most
        )
        return answer.X[:, 0], answer.n_iter

    def transforms(self, f: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return min_j (C_ij - g_j) and min_i (C_ij - f_i)."""
        return kernels.gibbs.transforms(self.C, f, g)

    def between(self, a: np.ndarray, b: np.ndarray) -> float:
        """Return sum a_i C_ij b_j, over pairs with a_i b_j > 0."""
        rows, columns = np.flatnonzero(a), np.flatnonzero(b)
        if len(rows) == 0 or len(columns) == 0:
            return 0.0
        C = self.C if len(rows) == self.shape[0] and len(columns) == self.shape[1] else self.part(rows, columns).C
        xp, total = _arrays.namespace(C), 0.0
        b_ = _arrays.from_numpy(b[columns], C)
        for first, block in _arrays.row_blocks(C):
            products = _arrays.to_numpy(xp.astype(block, xp.float64, copy=False) @ b_)
            total += float(a[rows[first : first + len(products)]] @ products)
        return total


def _factored(W: np.ndarray, columns: np.ndarray, shift: np.ndarray, kappa: float) -> Any:
    """Factor diag(columns + shift) - W; for kappa = 0 its diagonal comes from the other entries, which loses no digits."""
    from scipy.linalg import LinAlgError, cho_factor

    np.negative(W, out=W)
    own = -W.diagonal()
    np.fill_diagonal(W, 0.0)
    inside = -W.sum(axis=1) if kappa == 0 else columns - own
    np.fill_diagonal(W, inside * (1 + ROUNDED) + shift)
    if kappa == 0:
        W += np.outer(columns, columns / columns.sum())  # constants are the null space without it
    try:
        return cho_factor(W, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
