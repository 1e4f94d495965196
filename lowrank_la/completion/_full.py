"""A matrix without missing entries: the truncated singular value decomposition is the answer."""

from __future__ import annotations

from lowrank_la import _arrays
from lowrank_la.completion._observations import Compressed
from lowrank_la.completion._problem import Factors, Options, Problem
from lowrank_la.completion._sweeps import Fit

STEPS = 12  # of block Krylov for the leading singular vectors of a large matrix


def applies(entries: Compressed, options: Options) -> bool:
    """Say whether the matrix is full and the problem plain least squares."""
    m, n = entries.shape
    plain = options.loss == "l2" and not options.nonnegative and not options.bias and entries.weights is None
    return plain and len(entries) == m * n


def fit(problem: Problem) -> Fit:
    """Minimise the sum of squares plus the ridge exactly: the ridge comes off the singular values."""
    from lowrank_la.factor import svd

    rank, given = problem.options.rank, problem.options.ridge
    ridge = 0.0 if given is None else given / problem.scale
    xp = _arrays.namespace(problem.rows.values)
    found = svd(xp.reshape(problem.rows.values, problem.shape), rank, n_iter=STEPS, certificate=False, rng=problem.seed)
    root = xp.sqrt(xp.maximum(found.s - ridge, xp.zeros_like(found.s)))
    return Fit(Factors(found.U * root, found.V * root), ridge, 0.0, "converged", exact=True)
