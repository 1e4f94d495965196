"""Fewer equations than unknowns: the solution of least norm, from a basis of the row space.

With W = A^H P well conditioned and G = W^H W, it is x = W z for G z = P^H b. P comes from a
sketch of A^H as for tall problems (Meng, Saunders and Mahoney's LSRN), or from its QR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._precondition import precondition
from lowrank_la.regression import _bounds
from lowrank_la.regression._bounds import Scene
from lowrank_la.regression._entry import Entry
from lowrank_la.regression._methods import CORRECTIONS, Outcome
from lowrank_la.regression._plan import Plan
from lowrank_la.regression._problem import BlockRows, OperatorRows, Problem, gamma, wide_dtype


@dataclass(frozen=True)
class Adjoint:
    """The linear operator A^H."""

    A: Any

    @property
    def shape(self) -> tuple[int, int]:
        return self.A.shape[1], self.A.shape[0]

    @property
    def dtype(self) -> Any:
        return self.A.dtype

    def matmat(self, V: Array) -> Array:
        return self.A.rmatmat(V)

    def rmatmat(self, V: Array) -> Array:
        return self.A.matmat(V)


@dataclass(frozen=True)
class Columns:
    """The unknowns' side of a wide problem: A^H v and b - A x, a block of rows of A at a time, in float64."""

    A: Any
    B: Array

    def combine(self, V: Array) -> Array:
        """Return A^H V."""
        if not _arrays.is_array(self.A):
            return self.A.rmatmat(V) if _arrays.is_operator(self.A) else self.A.conj().T @ V
        xp = _arrays.namespace(V)
        total = 0
        for offset, rows in _arrays.row_blocks(self.A):
            rows = xp.astype(rows, wide_dtype(xp, rows), copy=False)
            total = total + _arrays.adjoint_of(xp, rows) @ V[offset : offset + rows.shape[0], :]
        return total

    def residual(self, X: Array) -> Array:
        """Return B - A X."""
        if not _arrays.is_array(self.A):
            return self.B - (self.A.matmat(X) if _arrays.is_operator(self.A) else self.A @ X)
        xp = _arrays.namespace(X)
        parts = [xp.astype(rows, wide_dtype(xp, rows), copy=False) @ X for _, rows in _arrays.row_blocks(self.A)]
        return self.B - xp.concat(parts)


def turned(entry: Entry) -> tuple[Entry, Columns]:
    """Return the tall problem of A^T (of A^H for operators), and A and B themselves."""
    problem = entry.problem
    rows = problem.rows
    xp = _arrays.namespace(rows.B)
    A, B = rows.A, xp.astype(rows.B, wide_dtype(xp, rows.B), copy=False)
    if rows.scale is not None or _arrays.is_row_blocks(A):
        A, B = problem.dense()
    zeros = xp.zeros((rows.shape[1], 1), dtype=A.dtype if _arrays.is_array(A) else rows.B.dtype, device=rows.B.device)
    if _arrays.is_operator(A):
        tall = OperatorRows(Adjoint(A), zeros, None, (rows.shape[1], rows.shape[0]))
    else:
        tall = BlockRows(A.T, zeros, None, (rows.shape[1], rows.shape[0]))
    return replace(entry, problem=Problem(tall, 0.0)), Columns(A, B)


def least_norm(scene: Scene, columns: Columns, tol: float, certificate: bool) -> Outcome | None:
    """Solve, and correct until the residual is at rounding level; None if rows of A depend on each other."""
    xp = _arrays.namespace(columns.B)
    gram, _ = _bounds.gram(scene, fast=False)
    if gram is None or not scene.full_rank:
        return None
    turn = _same if _arrays.is_operator(columns.A) else _conjugate(xp)
    P, Lh = turn(scene.basis.P), turn(gram.Lh)
    Ph = _arrays.adjoint_of(xp, P)
    gram = replace(gram, Lh=Lh)
    norm_A = float(xp.linalg.matrix_norm(_bounds.lengths(gram.R)[None, :] / scene.basis.scales[None, :]))
    V = P @ gram.solve(Ph @ columns.B)
    steps = 0
    while True:
        X = columns.combine(V)
        R = columns.residual(X)
        size = norm_A * xp.linalg.vector_norm(X, axis=0) + xp.linalg.vector_norm(columns.B, axis=0)
        error = xp.linalg.vector_norm(R, axis=0) / xp.where(size > 0, size, xp.ones_like(size))
        worst = float(xp.max(error))
        y = gram.solve(Ph @ R)
        if worst <= tol or steps == CORRECTIONS:
            break
        V, steps = V + P @ y, steps + 1
    r2 = xp.sum(xp.abs(R) ** 2, axis=0)
    if not certificate:
        return Outcome(X, r2, worst, xp.full_like(r2, math.inf) + xp.zeros_like(xp.abs(X)), "none", "cholqr", steps)
    return Outcome(X, r2, worst, _bound(scene, gram, columns, V, X, y), "L2", "cholqr", steps)


def _bound(scene: Scene, gram: _bounds.Gram, columns: Columns, V: Array, X: Array, y: Array) -> Array:
    """Bound |X - X*|: X* - A^H V = W M^-1 P^H (B - A A^H V), and X is A^H V up to rounding."""
    xp = _arrays.namespace(X)
    d, n = scene.problem.rows.shape
    lengths = 1.01 * _bounds.lengths(gram.R) / scene.basis.scales  # of the rows of A
    made = gamma(n + 4) * xp.sum(lengths[:, None] * xp.abs(V), axis=0)
    terms = xp.abs(columns.B) + lengths[:, None] * xp.linalg.vector_norm(X, axis=0)
    r_error = gamma(d + 8) * terms + lengths[:, None] * made
    size = xp.linalg.vector_norm(y, axis=0)
    if not gram.least > 0:
        return xp.full(X.shape, math.inf, dtype=xp.float64, device=X.device)
    spread = (gram.slack * size + xp.linalg.vector_norm(xp.matrix_transpose(xp.abs(scene.basis.P)) @ r_error, axis=0)) / gram.least
    return math.sqrt(gram.most) * (size + spread + gamma(6 * n + 8) * size) + made + xp.zeros_like(xp.abs(X))


def by_svd(entry: Entry) -> tuple[Outcome, int]:
    """Solve a wide problem whose rows depend on each other, and return the rank with the least-norm solution."""
    Y, Z = entry.problem.dense()
    xp = _arrays.namespace(Y)
    U, s, Vh = xp.linalg.svd(Y, full_matrices=False)
    kept = s > 30 * entry.roundoff * xp.max(s)
    inverse = xp.where(kept, 1 / xp.where(kept, s, xp.ones_like(s)), xp.zeros_like(s))
    X = _arrays.adjoint_of(xp, Vh) @ (inverse[:, None] * (_arrays.adjoint_of(xp, U) @ Z))
    r2 = xp.sum(xp.abs(Z - Y @ X) ** 2, axis=0)
    unknown = xp.full(X.shape, math.inf, dtype=xp.float64, device=X.device)
    return Outcome(X, r2, math.inf, unknown, "none", "direct", 0), int(xp.sum(xp.astype(kept, xp.int64)))


def solve_wide(entry: Entry, plan: Plan, tol: float, certificate: bool) -> tuple[Outcome, int]:
    """Return the outcome and the numerical rank of A."""
    tall, columns = turned(entry)
    Y, Z = tall.problem.dense() if plan.S is None else tall.problem.sketch(plan.S, both=False)
    scene = Scene(tall.problem, precondition(Y, Z, entry.roundoff), tall.norms_b(), fine=False)
    outcome = least_norm(scene, columns, tol, certificate)
    if outcome is None:
        return by_svd(entry)
    return (replace(outcome, method="direct") if plan.S is None else outcome), entry.shape[0]


def _same(x: Array) -> Array:
    return x


def _conjugate(xp: Any) -> Any:
    return lambda x: xp.conj(x) if xp.isdtype(x.dtype, "complex floating") else x
