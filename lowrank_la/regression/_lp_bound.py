"""How far from the minimum an answer can be: Hoelder's inequality at a dual point, with all that rounding can do."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.regression._lp_problem import LpProblem, U, wide_blocks
from lowrank_la.regression._problem import gamma
from lowrank_la.sampling._loss import conjugate, norms


@dataclass(frozen=True)
class Bracket:
    """The objective ||D (b - A x)||_p of an answer, and bounds of it and of the minimum that hold in spite of rounding.

    `rounding` bounds what the rounding of x, and of residuals, can change in the objective.
    """

    objective: float
    upper: float
    lower: float
    rounding: float

    @property
    def bound(self) -> float:
        """Objective minus minimum is at most this."""
        return self.upper - self.lower

    @property
    def gap(self) -> float:
        """The bound over the objective, at most 1."""
        return min(1.0, self.bound / self.objective) if self.objective > 0 else 0.0


def bracket(problem: LpProblem, x: Array, y: Array, p: float, roundoff: float) -> Bracket:
    """Bound the minimum from below by a dual point y of D (b - A x).

    With v = D y, r = b - A x and any other x*, Re v^H (b - A x*) = Re v^H r + Re (A^H v)^H (x - x*) and is at most
    ||y||_q times the objective of x*. Since x - x* = P u with ||u||_2 <= ||D A P u||_2 / sigma, and ||D A P u||_p is at most
    twice the objective of x if x* is better, the last term is at most 2 ||P^H A^H v||_2 n^max(0, 1/2 - 1/p) / sigma objectives.
    """
    xp = _arrays.namespace(problem.b)
    n = problem.b.shape[0]
    r = problem.residual(x)
    terms, weight = _sizes(problem, x, y)
    size = float(norms(terms, p))
    noise = gamma(problem.A.shape[1] + 8) * size
    rounding = noise + roundoff * size
    relative = gamma(n + 8) + 16 * (1 + (p if math.isfinite(p) else 0.0)) * U  # of a p-norm
    objective = float(norms(r, p))
    upper = objective * (1 + relative) + noise
    size = float(norms(y, conjugate(p))) * (1 + 16 * (2 + _conjugate_power(p)) * U + gamma(n + 8))
    if not (size > 0 and objective > 0 and math.isfinite(size)):
        return Bracket(objective, upper, 0.0, rounding)
    product = xp.sum(xp.conj(y) * r) if xp.isdtype(r.dtype, "complex floating") else xp.sum(y * r)
    inner = float(xp.real(product)) - gamma(n + 12) * float(xp.sum(xp.abs(y) * xp.abs(r))) - size * noise
    slope = _slope(problem, y, weight)
    spread = 2 * upper * n ** max(0.0, 0.5 - 1 / p) * slope / math.sqrt(problem.gram.least) if problem.gram else 0.0
    return Bracket(objective, upper, max(0.0, (inner - spread) / size * (1 - 4 * U)), rounding)


def _conjugate_power(p: float) -> float:
    """Return the power q, or 0 for a norm without powers."""
    q = conjugate(p)
    return q if math.isfinite(q) else 0.0


def _sizes(problem: LpProblem, x: Array, y: Array) -> tuple[Array, Array]:
    """Return D (|b| + |A| |x|), the terms of residuals, and |A|^T D |y|, those of A^H D y, in one pass."""
    xp = _arrays.namespace(problem.b)
    v, size = xp.abs(problem.scaled(y)), xp.abs(x)
    terms, total = [], xp.zeros_like(size)
    for offset, rows in wide_blocks(problem.A):
        rows = abs(rows) if _arrays.is_sparse(rows) else xp.abs(rows)
        terms.append(rows @ size)
        total = total + xp.matrix_transpose(rows) @ v[offset : offset + rows.shape[0]] if not _arrays.is_sparse(rows) else rows.T @ v
    return problem.scaled(xp.abs(problem.b) + xp.concat(terms)), total


def _slope(problem: LpProblem, y: Array, weight: Array) -> float:
    """Bound ||P^H A^H D y||_2, the product with A as if in twice the precision."""
    xp = _arrays.namespace(y)
    v = problem.scaled(y)[:, None]
    zero = xp.zeros((problem.A.shape[1], 1), dtype=v.dtype, device=v.device)
    run = kernels.fine_gradient.csr if _arrays.is_sparse(problem.A) else kernels.fine_gradient.gradient
    high, low, _ = run(problem.A, zero, v, None)
    g = (high + low)[:, 0]
    n, d = problem.A.shape
    scaled = 2 * U if problem.scale is not None else 0.0  # y stands for v / D
    error = (gamma(3 * n + 20) ** 2 + scaled) * weight + gamma(d + 8) * xp.abs(g)
    P = problem.basis.P
    Ph = _arrays.adjoint_of(xp, P)
    return float(xp.linalg.vector_norm(Ph @ g)) * (1 + gamma(d + 8)) + float(xp.linalg.vector_norm(xp.matrix_transpose(xp.abs(P)) @ error))
