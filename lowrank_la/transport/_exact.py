"""Exact plans: the linear program that entropic transport approaches, solved from the potentials that are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import kernels
from lowrank_la.transport import _bracket

U = 2.0**-53


@dataclass(frozen=True)
class ExactPlan:
    """An optimal plan Q in compressed rows, for mass 1.

    `cost` is <C, Q> up to `slack`, `lower` a bound of the least cost from optimal potentials, and `entropy` KL(Q | a b^T).
    """

    matrix: Any
    cost: float
    slack: float
    entropy: float
    lower: float

    def inside(self, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], shown: tuple[int, int]) -> Any:
        """Return the plan between all points that the caller knows; rows and columns of the matrix are these of all points."""
        from scipy.sparse import csr_array

        i, j = self.matrix.nonzero()
        Q = csr_array((self.matrix.data, (rows[i], columns[j])), shape=shape)
        return Q[: shown[0], : shown[1]]


def exact_plan(name: str, costs: Any, a: np.ndarray, b: np.ndarray, f: np.ndarray, g: np.ndarray, largest: float) -> ExactPlan:
    """Solve the linear program.

    Raises
    ------
    ValueError
        No plan avoids the forbidden pairs.
    """
    from scipy.sparse import csr_array

    C = np.ascontiguousarray(costs.rows(slice(None)))
    found = kernels.network_simplex.solve(C, a, b, f, g)
    if found.missing > 4 * (a.size + b.size) * kernels.network_simplex.UNIT:  # weights lose less than a unit each
        raise ValueError(f"{name}: C must leave some plan with the sums a and b; got infinite costs that every plan meets")
    i, j, q = found.rows, found.columns, found.flows
    return ExactPlan(
        matrix=csr_array((q, (i, j)), shape=C.shape),
        cost=float(q @ C[i, j]),
        slack=8 * (a.size + b.size + 10) * U * largest,
        entropy=float(q @ np.log(q / (a[i] * b[j]))),
        lower=_bracket.lower_bound(costs, a, b, found.f, found.g, largest),
    )
