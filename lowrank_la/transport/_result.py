"""What `sinkhorn` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lowrank_la import _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.transport._solve import Step


@dataclass(frozen=True, repr=False)
class TransportResult(Result):
    """A plan between two weighted sets of points, as potentials.

    With masses 1 the plan is P_ij = a_i b_j exp((f_i + g_j - C_ij) / reg); other equal masses divide it by the mass.

    Attributes
    ----------
    f, g : arrays (n,) and (m,), float64
        Potentials, also where weights are zero. A constant that may move from one to the other is fixed by a . f = b . g.
        They keep float64 for every input: rounded, they would belong to another plan.
    value : float
        Least value of <C, P> + reg KL(P | a b^T), by duality: never above it but for rounding, and close to second order in the errors.
    value_gap : float
        The least value is at most value + value_gap, and not below value by more; inf without certificate.
    transport_cost : float
        <C, P>.
    lower_bound, upper_bound : float
        Bracket of the least cost without regularisation, rounding errors included; the upper one is the cost of `plan(feasible=True)`.
        With `unbalanced`, of the regularised objective instead.
    row_error, column_error : float
        L1 distances of the sums of the plan from what is due.
    reg : float
        The regularisation.
    n_iter : int
        Sweeps and Newton steps.
    n_sweeps, n_newton, n_cg : int
        Sinkhorn sweeps, Newton steps and the iterations of conjugate gradients in them.
    converged : bool
        row_error + column_error is at most `tol` times the mass.
    history : tuple of Step
    certificate : Certificate
        Bounds upper_bound - lower_bound.
    """

    f: Array
    g: Array
    value: float
    value_gap: float
    transport_cost: float
    lower_bound: float
    upper_bound: float
    row_error: float
    column_error: float
    reg: float
    n_iter: int
    n_sweeps: int
    n_newton: int
    n_cg: int
    converged: bool
    history: tuple[Step, ...]
    certificate: Certificate
    _plan: Any = field(repr=False)

    def plan(self, kind: str = "dense", *, feasible: bool = False, threshold: float = 1e-12) -> Any:
        """Return the plan.

        Parameters
        ----------
        kind : {"dense", "sparse"}
            An array (n, m) like the costs, or a SciPy CSR array of float64.
        feasible : bool
            Return the plan behind `upper_bound`, whose sums are right to rounding, instead of that of the potentials. It is an optimal
            one without regularisation, and may be sparse, with `refine="exact"` or forbidden pairs.
        threshold : float, 0 <= threshold < 1
            "sparse" leaves out entries below this share of both their row sum and their column sum.

        Returns
        -------
        array or sparse array

        Raises
        ------
        ValueError
            kind or threshold is none of these, or a feasible plan is to be sparse and is not, or belongs to an unbalanced problem.
        """
        name = "TransportResult.plan"
        kind = _checks.choice(name, "kind", kind, ["dense", "sparse"])
        threshold = _checks.real(name, "threshold", threshold, 0, 1)
        return self._plan.sparse(threshold, feasible) if kind == "sparse" else self._plan.dense(feasible)

    def apply(self, V: Array, *, adjoint: bool = False) -> Array:
        """Return P V, or P^T V, without forming P.

        Parameters
        ----------
        V : array (m,) or (m, k), or (n,) or (n, k) with `adjoint`
            Vectors, of the library of the costs.
        adjoint : bool
            Multiply by P^T.

        Returns
        -------
        array
            In the dtype of the costs.
        """
        return self._plan.apply(V, adjoint)

    def barycentric(self, Y: Array | None = None) -> Array:
        """Return the mean of the partners of each point, sum_j P_ij y_j / sum_j P_ij, zero where a_i is zero.

        Parameters
        ----------
        Y : array (m, d), optional
            The second set of points; by default that of the problem, if it came as points.

        Returns
        -------
        array (n, d)
            In the dtype of the costs.
        """
        return self._plan.barycentric(Y)
