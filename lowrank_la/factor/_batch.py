"""`svd` of the matrices of a batch: small ones together, large ones one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense, _exact, _matrix
from lowrank_la.factor._certificate import ERROR
from lowrank_la.factor._methods import MANY, NAME, SMALL, Plan, certified
from lowrank_la.factor._result import SVDResult
from lowrank_la.factor._signs import signed


def batched(A: Array, plan: Plan, centre: bool) -> SVDResult:
    """Factor every matrix of a (b, n, d) array.

    Raises
    ------
    ValueError
        The plan asks for what a batch does not offer: a tolerance, or the dearer certificates.
    """
    door, [inside] = _dense.enter(NAME, A=A)
    if plan.tol is not None or plan.certificate not in ("error", False):
        raise ValueError(f"{NAME}: tol and certificate={plan.certificate!r} need one matrix; got shape {tuple(A.shape)}")
    small = min(inside.shape[1:])
    k = small if plan.rank is None else _checks.integer(NAME, "rank", plan.rank, 1, small)
    mean = door.xp.mean(inside, axis=1, keepdims=True) if centre else None
    inside = inside if mean is None else inside - mean
    together = plan.method == "exact" or (plan.method == "auto" and (small <= SMALL or MANY * (k + plan.oversample) >= small))
    answer = _together(inside, k) if together else _one_by_one(inside, replace(plan, rank=k))
    leave = door.leave
    U, V = signed(answer.U, answer.V)
    return replace(answer, U=leave(U), s=leave(answer.s), V=leave(V), mean=None if mean is None else leave(mean[:, 0, :]))


def _together(A: Array, k: int) -> SVDResult:
    U, s, V = _exact.lapack(A)
    U, s, V = U[..., :k], s[..., :k], V[..., :k]
    bound = _dense.residual(A, U * s[:, None, :], _dense.adjoint(V))
    return SVDResult(U, s, V, bound, None, 1, 0, "exact", True, _dense.always(ERROR, bound, "residual"))


def _one_by_one(A: Array, plan: Plan) -> SVDResult:
    xp, matrices = _arrays.namespace(A), [_matrix.enter(NAME, "A", A[i, :, :]) for i in range(A.shape[0])]
    parts = [certified(matrix, replace(plan, seed=(plan.seed + i) % 2**64)) for i, matrix in enumerate(matrices)]
    outcomes, verdicts = [outcome for outcome, _ in parts], [verdict for _, verdict in parts]
    U, s, V = (xp.stack([getattr(outcome.factors, name) for outcome in outcomes]) for name in ("U", "s", "V"))
    errors = np.asarray([verdict.error for verdict in verdicts])
    certificates = [verdict.certificate for verdict in verdicts if verdict.certificate is not None]
    worst = max(certificates, key=lambda certificate: certificate.bound, default=None)
    passes, steps = (max(numbers) for numbers in ([m.passes for m in matrices], [o.steps for o in outcomes]))
    return SVDResult(U, s, V, errors, None, passes, steps, outcomes[0].method, all(o.converged for o in outcomes), worst)
