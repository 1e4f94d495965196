"""The plan of a solved problem, made in blocks of rows when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.transport._bracket import Rounded

BLOCK = 1 << 20  # entries of a block of rows


@dataclass(frozen=True)
class LazyPlan:
    """Costs of all pairs, and weights (of mass 1 if the problem is balanced) and potentials of all points, on the host."""

    door: Door
    costs: Any
    a: np.ndarray
    b: np.ndarray
    f: np.ndarray
    g: np.ndarray
    eps: float
    mass: float
    points: Array | None
    feasible: Any  # `Rounded`, or an exact plan in compressed rows, or None

    def dense(self, feasible: bool) -> Array:
        """Return the plan, or the feasible one beside it.

        Raises
        ------
        ValueError
            There is no feasible one.
        """
        if feasible and self.feasible is None:
            raise ValueError("TransportResult.plan: a feasible plan needs a balanced problem, and its certificate")
        if feasible and not isinstance(self.feasible, Rounded):
            return self._leave(self.mass * self.feasible.toarray())
        return self._leave(np.concatenate([block for _, block in self._blocks(feasible)]))

    def sparse(self, threshold: float, feasible: bool) -> Any:
        """Return the entries above a share of their row or column sum in a CSR array.

        Raises
        ------
        ValueError
            The feasible plan is not sparse.
        """
        from scipy.sparse import csr_array, vstack

        if feasible:
            if self.feasible is None or isinstance(self.feasible, Rounded):
                raise ValueError("TransportResult.plan: a feasible plan is dense without refine='exact'; got kind='sparse'")
            return self.mass * self.feasible
        blocks = []
        for rows, P in self._blocks():
            P[(threshold * self.mass * self.a[rows, None] >= P) & (threshold * self.mass * self.b >= P)] = 0.0
            blocks.append(csr_array(P))
        return vstack(blocks, format="csr")

    def apply(self, V: Array, adjoint: bool) -> Array:
        """Return P V or P^T V."""
        name = "TransportResult.apply"
        V = _checks.ndim(name, "V", _arrays.beside(name, "V", V, self.costs.like), (1, 2))
        rows = len(self.a if adjoint else self.b)
        values = _arrays.to_numpy(_checks.rows_like(name, "V", V, rows, "the plan has points on that side")).astype(np.float64)
        if adjoint:
            return self._leave(np.sum([P.T @ values[rows] for rows, P in self._blocks()], axis=0))
        return self._leave(np.concatenate([P @ values for _, P in self._blocks()]))

    def barycentric(self, Y: Array | None) -> Array:
        """Return the mean of the partners of each point.

        Raises
        ------
        ValueError
            There are no points.
        """
        name = "TransportResult.barycentric"
        if Y is None and self.points is None:
            raise ValueError(f"{name}: Y must be given, as the problem came as a cost matrix")
        Y = self.points if Y is None else _arrays.beside(name, "Y", Y, self.costs.like)
        Y = _arrays.to_numpy(_checks.rows_like(name, "Y", _checks.ndim(name, "Y", Y, 2), len(self.b), "b")).astype(np.float64)
        means = [P @ Y / np.maximum(P.sum(axis=1, keepdims=True), np.finfo(float).tiny) for _, P in self._blocks()]
        return self._leave(np.concatenate(means))

    def _blocks(self, feasible: bool = False) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield rows of the plan in float64."""
        height = max(1, BLOCK // len(self.b))
        with np.errstate(divide="ignore"):
            f, g = self.f + self.eps * np.log(self.a), self.g + self.eps * np.log(self.b)
        for first in range(0, len(self.a), height):
            rows = slice(first, min(first + height, len(self.a)))
            P = np.exp((f[rows, None] + g - self.costs.rows(rows)) / self.eps)
            if feasible:
                left = self.feasible.left_rows / self.feasible.left
                P = P * (self.feasible.shrink * self.feasible.columns) + left[rows, None] * self.feasible.left_columns
            yield rows, self.mass * P

    def _leave(self, x: np.ndarray) -> Array:
        return self.door.leave(_arrays.from_numpy(np.ascontiguousarray(x), self.costs.like))
