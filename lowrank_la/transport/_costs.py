"""Costs between two sets of points as the solver sees them: a matrix in memory, and the loops that run over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.transport import _systems


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

    def system(self, plan: Any, shift: np.ndarray, kappa: float, error: float, sparse: bool) -> Any:
        """Return the Newton system of the last plan."""
        return _systems.of_stored(plan.P, plan, shift, kappa, error, sparse)

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
