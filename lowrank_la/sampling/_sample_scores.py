"""Scores by which rows are drawn, and how many rows they ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.sampling._basis import Basis
from lowrank_la.sampling._lewis import lewis_weights
from lowrank_la.sampling._rows import Rows
from lowrank_la.sampling._sensitivities import lp_sensitivities

NAME = "sample_rows"
SCHEMES = ("auto", "leverage", "root_leverage", "lewis", "sensitivity", "sens+lev")
LEWIS_TOL = 0.05
SAFETY = 2.0  # times the size that theory gives without its logarithms, times log(2 d)


@dataclass(frozen=True)
class Scores:
    """Nonnegative scores (n,), their kind, and the total sensitivity where it is known."""

    scheme: str
    scores: Array
    total: float | None = None


def find_scores(matrix: Rows, basis: Basis, scheme: str, given: Any, p: float, seed: int) -> Scores:
    """Score all rows."""
    if scheme == "given":
        return Scores(scheme, _given(matrix, given))
    if scheme == "lewis":
        w = lewis_weights(matrix.A, p, tol=LEWIS_TOL, rng=seed).scores
        return Scores(scheme, _arrays.beside(NAME, "scores", w, matrix.like))
    tau = matrix.norms(basis.square)
    if scheme == "leverage":
        return Scores(scheme, tau)
    if scheme == "root_leverage":
        return Scores(scheme, tau ** (p / 2))
    found = lp_sensitivities(matrix.A, p, method="approx", rng=seed)
    s = _arrays.beside(NAME, "scores", found.scores, matrix.like)
    return Scores(scheme, s if scheme == "sensitivity" else s + tau, found.total)


def _given(matrix: Rows, scores: Any) -> Array:
    """Check scores of the caller.

    Raises
    ------
    ValueError
        One is negative, or all are 0.
    """
    xp = matrix.door.xp
    scores = _checks.real_dtype(NAME, "scores", _arrays.beside(NAME, "scores", scores, matrix.like))
    scores = xp.astype(_checks.finite(NAME, "scores", _checks.shape(NAME, "scores", scores, (matrix.n,))), xp.float64)
    if bool(xp.any(scores < 0)) or not bool(xp.any(scores > 0)):
        raise ValueError(f"{NAME}: scores must be at least 0 and not all 0; got a least of {float(xp.min(scores)):g}")
    return scores


def default_size(found: Scores, d: int, n: int, p: float, eps: float) -> int:
    """Twice the rows of the theory without its polylogarithms, times log(2 d); the matrix Chernoff bound for p = 2."""
    if d == 0:
        return n
    S = d if found.total is None else max(found.total, 1.0)
    if found.scheme == "leverage" and p == 2:
        rows = (2 + 2 * eps / 3) * d * math.log(200 * d)
        return min(n, math.ceil(rows / eps**2))
    if found.scheme == "sensitivity":
        rows = min(S ** (2 / p), d ** (1 - p / 2) * S) if p < 2 else S ** (2 - 2 / p)
    elif found.scheme == "sens+lev":
        rows = S + d if p <= 2 else d ** (2 / p) * S ** (2 - 4 / p)
    else:
        rows = d ** max(1.0, p / 2)
    return min(n, max(2 * d, math.ceil(SAFETY * rows * math.log(2 * d + 1) / eps**2)))
