"""A matrix without missing entries: the truncated singular value decomposition is the answer."""

from __future__ import annotations

from lowrank_la import _arrays
from lowrank_la.completion._observations import Compressed
from lowrank_la.completion._problem import Factors, Options, Problem
from lowrank_la.completion._sweeps import Fit


def applies(entries: Compressed, options: Options) -> bool:
    """Say whether the matrix is full and the problem plain least squares."""
    m, n = entries.shape
    plain = options.loss == "l2" and not options.nonnegative and not options.bias and entries.weights is None
    return plain and len(entries) == m * n


def fit(problem: Problem) -> Fit:
    """Minimise the sum of squares plus the ridge exactly: the ridge comes off the singular values."""
    rank, given = problem.options.rank, problem.options.ridge
    ridge = 0.0 if given is None else given / problem.scale
    xp = _arrays.namespace(problem.rows.values)
    P, s, Qt = xp.linalg.svd(xp.reshape(problem.rows.values, problem.shape), full_matrices=False)
    root = xp.sqrt(xp.maximum(s[:rank] - ridge, xp.zeros_like(s[:rank])))
    return Fit(Factors(P[:, :rank] * root, xp.matrix_transpose(Qt)[:, :rank] * root), ridge, 0.0, "converged", exact=True)
