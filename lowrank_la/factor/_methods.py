"""The methods of `svd`: which one suits, and how each finds factors of a matrix with no more columns than rows."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays, _threads
from lowrank_la._arrays import Array
from lowrank_la.factor import _exact, _krylov, _orth
from lowrank_la.factor._certificate import Factors, Verdict, certify, frobenius, spectral
from lowrank_la.factor._dense import adjoint, host, wide
from lowrank_la.factor._matrix import Matrix

NAME = "svd"
SMALL = 200  # columns up to which direct methods are as fast as any
MANY = 5  # times the wanted columns exceed the columns of A: direct methods again
FEW_FLOPS = 2e9  # of LAPACK, below which nothing is gained by avoiding it
GRAM_RATIO = 1e-6  # smallest over largest singular value that a Gram matrix in double precision tells apart safely
LEAST_TOLERANCE = 20  # roots of roundoff: smaller errors drown in the energy of A
FIRST_RANK = 16  # where the search for a tolerance begins if energy cannot show the way


@dataclass(frozen=True)
class Plan:
    """What the caller wants, checked."""

    rank: int | None
    tol: float | None
    norm: str
    method: str
    n_iter: int | None
    oversample: int
    certificate: str | bool
    seed: int

    def width(self, matrix: Matrix) -> int:
        """Columns of the basis from which `rank` singular vectors are taken."""
        return matrix.shape[1] if self.rank is None else min(self.rank + self.oversample, matrix.shape[1])


@dataclass(frozen=True)
class Outcome:
    """Factors, how they were found, and whether U diag(s) is A V but for rounding."""

    factors: Factors
    method: str
    steps: int
    converged: bool
    projected: bool


def certified(matrix: Matrix, plan: Plan) -> tuple[Outcome, Verdict]:
    """Factor a matrix of any shape by its tall view; return factors of the matrix itself, and what is known of them."""
    turned = matrix.shape[0] < matrix.shape[1]
    view = matrix.H if turned else matrix
    method = choose(view, plan) if plan.method == "auto" else plan.method
    in_kernels = method in ("krylov", "subspace") and _arrays.engine_of(matrix.like) == "cpu"
    with _threads.serial_blas() if in_kernels else nullcontext():
        outcome = solve(view, plan, method)
        verdict = certify(view, outcome.factors, plan.certificate, outcome.projected, plan.seed)
    if turned:
        outcome = replace(outcome, factors=Factors(outcome.factors.V, outcome.factors.s, outcome.factors.U))
    return outcome, verdict


def solve(matrix: Matrix, plan: Plan, method: str) -> Outcome:
    """Run a method; "gram" gives way to "exact" where it is not precise enough and was not asked for.

    Raises
    ------
    ValueError
        method="exact" for a matrix that is no dense array.
    """
    if method == "exact" and not matrix.dense:
        raise ValueError(f'{NAME}: A must be a dense array for method="exact"; use another method')
    if method == "gram":
        V, ratio = _exact.gram_basis(matrix, plan.width(matrix))
        if ratio > GRAM_RATIO or plan.method == "gram" or not matrix.dense:
            return _projected(matrix, V, plan, method, 0, True)
        method = "exact"
    if method == "exact":
        U, s, V = _exact.lapack(matrix.entries)
        factors, reached = _cut(matrix, Factors(wide(U), wide(s), wide(V)), plan)
        return Outcome(factors, method, 0, reached, projected=False)
    if plan.tol is not None and (plan.rank is None or plan.norm == "spectral" or matrix.squared_norm is None):
        return _within(matrix, plan, method)
    width = plan.width(matrix)
    target = _krylov.LESS_EXCESS.get(plan.certificate, _krylov.EXCESS)
    found = _krylov.leading(matrix, plan.rank or width, width, plan.n_iter, krylov=method == "krylov", seed=plan.seed, target=target)
    V, steps, settled = found
    return _projected(matrix, V, plan, method, steps, settled)


def choose(matrix: Matrix, plan: Plan) -> str:
    """Prefer direct methods where most singular values are wanted, or more digits than energies have."""
    n, d = matrix.shape
    fine = plan.tol is not None and plan.tol < LEAST_TOLERANCE * matrix.roundoff**0.5
    if not matrix.dense:
        return "gram" if d <= SMALL and not fine else "krylov"
    many = plan.tol is None and MANY * plan.width(matrix) >= d
    if d > SMALL and not many and not fine:
        return "krylov"
    return "gram" if n > 2 * d and n * d * d > FEW_FLOPS and not fine else "exact"


def _within(matrix: Matrix, plan: Plan, method: str) -> Outcome:
    """Reach a tolerance: by energy in the Frobenius norm, else by certified errors of growing ranks."""
    if plan.norm == "fro" and matrix.squared_norm is not None:
        V, steps, reached = _krylov.within(matrix, plan.tol**2, plan.seed)  # type: ignore[operator]
        return _projected(matrix, V, plan, method, steps, reached)
    most, rank, steps = plan.rank or matrix.shape[1], min(FIRST_RANK, matrix.shape[1]), 0
    while True:
        rank = min(rank, most)
        outcome = solve(matrix, replace(plan, rank=rank, tol=None), method)
        steps += outcome.steps
        factors, reached = _cut_by_certificate(matrix, outcome.factors, outcome.projected, plan)
        if reached or rank == most:
            return replace(outcome, factors=factors, steps=steps, converged=reached)
        rank *= 2


def _projected(matrix: Matrix, V: Array, plan: Plan, method: str, steps: int, converged: bool) -> Outcome:
    """Take the singular value decomposition of A V V^H, for a basis V in double precision."""
    scale = _krylov.power_of_two(matrix)
    X, M, R = _orth.nearly(matrix.wide_times(V * scale), plan.seed)
    U, s, Wh = matrix.xp.linalg.svd(R, full_matrices=False)
    k = min(plan.rank or V.shape[1], V.shape[1])
    U = U[:, :k] if M is None else M @ U[:, :k]
    factors, reached = _cut(matrix, Factors(X @ U, s[:k] / scale, V @ adjoint(Wh[:k, :])), plan)
    return Outcome(factors, method, steps, converged and reached, projected=True)


def _cut(matrix: Matrix, factors: Factors, plan: Plan) -> tuple[Factors, bool]:
    """Keep no more singular triplets than rank and tolerance ask for; say whether the tolerance is met."""
    k = min(plan.rank or factors.s.shape[0], factors.s.shape[0])
    if plan.tol is None:
        return factors.first(k), True
    s = host(factors.s)
    if plan.norm == "spectral":
        enough = np.r_[s[1:], 0.0][:k] <= plan.tol * s[0]
    elif matrix.dense and s.size == matrix.shape[1]:  # all singular values: sums from below are free of cancellation
        below = np.r_[np.cumsum(s[::-1] ** 2)[::-1][1:], 0.0][:k]
        enough = below <= plan.tol**2 * np.sum(s**2)
    else:
        enough = matrix.squared_norm - np.cumsum(s[:k] ** 2) <= plan.tol**2 * matrix.squared_norm  # type: ignore[operator]
    return (factors.first(int(np.argmax(enough)) + 1), True) if enough.any() else (factors.first(k), False)


def _cut_by_certificate(matrix: Matrix, factors: Factors, projected: bool, plan: Plan) -> tuple[Factors, bool]:
    """Keep as few triplets as the certified error of all of them allows."""
    tol: float = plan.tol  # type: ignore[assignment]
    s = host(factors.s)
    if plan.norm == "spectral":
        left, size = spectral(matrix, factors, projected, plan.seed).bound, float(s[0])
        errors = np.hypot(np.r_[s[1:], 0.0], left)
    else:
        left = frobenius(matrix, factors, True, plan.seed)[1].bound
        size = float(np.linalg.norm(s))
        errors = np.hypot(np.sqrt(np.r_[np.cumsum(s[::-1] ** 2)[::-1][1:], 0.0]), left)
    enough = errors <= tol * size
    return (factors.first(int(np.argmax(enough)) + 1), True) if enough.any() else (factors, False)
