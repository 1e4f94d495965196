"""Costs between two clouds of points that are never stored: the loops compute them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.transport import _systems
from lowrank_la.transport._costs import StoredCosts


@dataclass(frozen=True)
class Scaled:
    """A plan and the exact potentials that it belongs to, from which its entries are made again."""

    plan: Any
    f: np.ndarray
    g: np.ndarray
    eps: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plan, name)


@dataclass(frozen=True)
class PointCosts:
    """Costs factor * cost(x_i, y_j); the same methods as `StoredCosts`."""

    X: Array
    Y: Array
    cost: Any
    factor_: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Points on both sides."""
        return self.X.shape[0], self.Y.shape[0]

    @property
    def is_stored(self) -> bool:
        """Say whether the costs are in memory."""
        return False

    @property
    def like(self) -> Array:
        """An array of the library and device of the problem."""
        return self.X

    def rows(self, rows: slice) -> np.ndarray:
        """Return rows of the matrix in float64, on the host."""
        wide = _arrays.namespace(self.X).float64
        xp = _arrays.namespace(self.X)
        C = kernels.cloud.costs(xp.astype(self.X[rows, :], wide), xp.astype(self.Y, wide), self.cost)
        return self.factor_ * _arrays.to_numpy(C).astype(np.float64, copy=False)

    def part(self, rows: np.ndarray, columns: np.ndarray) -> PointCosts:
        """Return the costs between some of the points."""
        xp = _arrays.namespace(self.X)
        X, Y = (
            x if len(kept) == x.shape[0] else xp.take(x, _arrays.from_numpy(kept, x), axis=0)
            for x, kept in ((self.X, rows), (self.Y, columns))
        )
        return PointCosts(X, Y, self.cost, self.factor_)

    def stored(self, rows: np.ndarray, columns: np.ndarray) -> StoredCosts:
        """Compute the costs between some of the points."""
        part = self.part(rows, columns)
        return StoredCosts(self.factor_ * kernels.cloud.costs(part.X, part.Y, part.cost))

    def transposed(self) -> PointCosts:
        """Return the costs the other way."""
        cost = self.cost if isinstance(self.cost, str) else _swapped(self.cost)
        return PointCosts(self.Y, self.X, cost, self.factor_)

    def plan(self, f: np.ndarray, g: np.ndarray, a: np.ndarray, eps: float, kappa: float = 0.0) -> Scaled:
        """Return the sums of the plan of g with the best f."""
        plan = kernels.cloud.plan(self.X, self.Y, self.cost, *self._units(f, g), a, eps / self.factor_, kappa)
        plan = plan._replace(f=plan.f * self.factor_, costs=plan.costs * self.factor_)
        return Scaled(plan, plan.f, g, eps)

    def sums(self, f: np.ndarray, g: np.ndarray, eps: float) -> Any:
        """Return the sums of the plan of given potentials."""
        plan = kernels.cloud.plan(self.X, self.Y, self.cost, *self._units(f, g), np.ones_like(f), eps / self.factor_, 0.0, True)
        return plan._replace(costs=plan.costs * self.factor_)

    def sweeps(self, plan: Scaled, a: np.ndarray, b: np.ndarray, v: np.ndarray, count: int, kappas: tuple[float, float]) -> Any:
        """Scale the rows and columns of a plan."""
        units = self._units(plan.f, plan.g)
        return kernels.cloud.sweeps(self.X, self.Y, self.cost, *units, a, b, v, plan.eps / self.factor_, count, kappas)

    def system(self, plan: Scaled, shift: np.ndarray, kappa: float, error: float, sparse: bool) -> _systems.PointSystem:
        """Return the Newton system of a plan; no entry is left out, as none is stored."""
        del error, sparse
        return _systems.of_points(lambda y, w: self._gram(plan, y, w), plan, shift, kappa)

    def transforms(self, f: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return min_j (C_ij - g_j) and min_i (C_ij - f_i)."""
        along, across = kernels.cloud.transforms(self.X, self.Y, self.cost, *self._units(f, g))
        return along * self.factor_, across * self.factor_

    def between(self, a: np.ndarray, b: np.ndarray) -> float:
        """Return sum a_i C_ij b_j, over pairs with a_i b_j > 0."""
        rows, columns = np.flatnonzero(a), np.flatnonzero(b)
        if len(rows) == 0 or len(columns) == 0:
            return 0.0
        part = self.part(rows, columns)
        tiles = kernels.cloud.tiles(part.X, part.Y, part.cost)
        return self.factor_ * sum(
            float(a[rows][where] @ (_arrays.to_numpy(C).astype(np.float64, copy=False) @ b[columns])) for where, C in tiles
        )

    def _gram(self, plan: Scaled, y: np.ndarray, w: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        return kernels.cloud.gram(self.X, self.Y, self.cost, *self._units(plan.f, plan.g), plan.eps / self.factor_, y, w)

    def _units(self, f: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return f / self.factor_, g / self.factor_


def _swapped(cost: Any) -> Any:
    """Return the function with its arguments exchanged."""
    return lambda Y, X: _arrays.namespace(X).matrix_transpose(cost(X, Y))
