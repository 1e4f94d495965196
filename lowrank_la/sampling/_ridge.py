"""`ridge_leverage_scores`: leverage when directions of little energy count for less."""

from __future__ import annotations

from typing import Any

from lowrank_la import _checks, _random
from lowrank_la.sampling._leverage import score
from lowrank_la.sampling._result import ScoreResult


def ridge_leverage_scores(
    A: Any, ridge: float, *, method: str = "auto", eps: float = 0.25, delta: float = 0.01, rng: _random.RNG = None
) -> ScoreResult:
    """Find the ridge leverage score of every row of a matrix, between two bounds.

    The score of row a_i is a_i^H (A^H A + ridge I)^-1 a_i: a leverage score of A with the d rows
    sqrt(ridge) I below it, in which directions of less energy than `ridge` count little.

    Parameters
    ----------
    A : array (n, d), sparse matrix, or row blocks
        As for `leverage_scores`.
    ridge : float, ridge >= 0
        In the units of A^H A; with 0 these are the leverage scores.
    method, eps, delta, rng
        As for `leverage_scores`.

    Returns
    -------
    ScoreResult
        The sum of exact scores is the effective dimension, sum_j s_j^2 / (s_j^2 + ridge) over the singular values of A;
        rank is the numerical rank of A and the rows below it.

    Raises
    ------
    ValueError
        As for `leverage_scores`, or ridge is negative.
    TypeError
        As for `leverage_scores`.

    Warns
    -----
    ConvergenceWarning
        A is so ill conditioned, and ridge so small, that rounding errors hide everything.

    Notes
    -----
    Cost, memory and certificate are those of `leverage_scores`, but a wide A is not reduced first.

    References
    ----------
    .. [1] Alaoui and Mahoney, Fast randomized kernel ridge regression with statistical guarantees, NeurIPS 2015.
       Ridge leverage scores and effective dimension.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import ridge_leverage_scores
    >>> A = np.random.default_rng(0).standard_normal((5000, 8)) * np.logspace(0, -6, 8)
    >>> result = ridge_leverage_scores(A, 1e-3, rng=0)
    >>> s = np.linalg.svd(A, compute_uv=False)
    >>> bool(abs(result.scores.sum() - (s**2 / (s**2 + 1e-3)).sum()) < 1e-12)
    True
    """
    ridge = _checks.real("ridge_leverage_scores", "ridge", ridge, 0)
    return score("ridge_leverage_scores", A, ridge, method, eps, delta, rng)
