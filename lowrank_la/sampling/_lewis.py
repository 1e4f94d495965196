"""`lewis_weights`: the change of density that makes l_p look like l_2."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

from lowrank_la import _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.sampling import _basis, _rows
from lowrank_la.sampling._basis import Basis
from lowrank_la.sampling._leverage import narrowed
from lowrank_la.sampling._lewis_convex import density, descend
from lowrank_la.sampling._result import ScoreResult
from lowrank_la.sampling._rows import Rows

NAME = "lewis_weights"
CLAIM = "max_i |log(scores_i / exact Lewis weight of row i)| <= bound"
LEAST = -690.0  # logarithm of the weight of zero rows, as in the kernel
TINY = 1e-12  # of the mean weight: rows below it do not keep the iteration going
HALVINGS = 4  # of the step before steps that descend for certain take over
MOST_RESIDUAL = 100.0
ROUNDING = 1e-12  # of logarithms


@dataclass(frozen=True, repr=False)
class LewisResult(ScoreResult):
    """Lewis weights of the rows of a matrix; see `ScoreResult` for the other fields.

    Attributes
    ----------
    residual : float
        max_i |log(F(w)_i / w_i)| over the rows whose w_i or F(w)_i is above 1e-12 of the mean; F(w) = w
        for exact weights.
    n_iter : int
        Rounds: passes over A.
    """

    residual: float
    n_iter: int


@dataclass(frozen=True)
class Weights:
    """Weights of rows, and how far they are from a fixed point.

    Attributes
    ----------
    x : array (n,)
        log(w), at least LEAST.
    nonzero : array (n,), bool
        Rows that are not zero.
    basis : Basis
        Of D A, D = diag(w)^(1/2 - 1/p).
    residual, full : float
        max_i |log(F(w)_i / w_i)| over the rows that matter, and over all that are not zero.
    rounds : int
        Passes over A.
    """

    x: Array
    basis: Basis
    residual: float
    full: float
    rounds: int


def lewis_weights(A: Any, p: float, *, tol: float = 1e-8, max_iter: int | None = None, rng: _random.RNG = None) -> LewisResult:
    """Find the l_p Lewis weight of every row of a matrix.

    Lewis weights are the leverage scores of W^(1/2 - 1/p) A, where W holds the weights themselves: the fixed point of
    F(w)_i = (a_i^H (A^H W^(1 - 2/p) A)^-1 a_i)^(p/2). Rows sampled in proportion to them keep ||A x||_p for all x.

    Parameters
    ----------
    A : array (n, d), sparse matrix, or row blocks
        As for `leverage_scores`.
    p : float, p >= 1
        Exponent of the norm. For p = 2 the weights are the leverage scores.
    tol : float, tol > 0
        Stop when max_i |log(F(w)_i / w_i)| <= tol over the rows that matter: those above 1e-12 of the mean weight.
    max_iter : int, max_iter >= 1, optional
        Rounds, each one pass over A; the default is some three times what the rate asks for.
    rng : None, int or numpy.random.Generator
        An int gives the same weights on every backend, to rounding, and the same bits for any number of threads.

    Returns
    -------
    LewisResult
        scores : array (n,), float64, the weights, whose sum is the rank.  lower, upper : arrays (n,).
        rank, residual, n_iter, converged and certificate, which bounds max_i |log(scores_i / w_i)|.

    Raises
    ------
    ValueError
        As for `leverage_scores`, or p, tol or max_iter is out of range.
    TypeError
        As for `leverage_scores`.

    Warns
    -----
    ConvergenceWarning
        The residual is above tol after max_iter rounds.

    Notes
    -----
    Cost of a round: 2 n d^2 flops in one pass, which finds the scores for the old weights and the Gram
    matrix for the new ones. Memory: two vectors of n and what `leverage_scores` needs.

    Rounds are w <- w^(1 - theta) F(w)^theta with theta = 4 / (p + 2). In logarithms the derivative of F is (1 - p/2) K with a
    stochastic matrix K whose eigenvalues lie between 0 and 1; this theta makes the largest eigenvalue of the step least,
    |p - 2| / (p + 2). In the largest |log| the step contracts by 3 |p - 2| / (p + 2) for 1 < p < 4 from anywhere. For larger p no
    proof is known: theta is halved when the residual has grown twice, and in the end steps descend on the convex
    function -log det(A^H diag(v) A) + (1 - 2/p) sum_i v_i^(p / (p - 2)), v = w^(1 - 2/p), whose minimum Lewis weights are.
    theta, and the certificate for p >= 4, are this library's own.

    Certificate (holds always, rounding errors included): let rho be the largest residual over all rows. For p < 4 F is a
    contraction, so the error is at most rho / (1 - |1 - p/2|). For p > 2 the gradient of the convex function is monotone,
    hence with eta = exp(2 rho / p) - 1 and b = max(1, p/2 - 1)

        sum_i |v*_i - v_i| tau_i <= m = (1 + eta) ((1 + eta)^b - 1) sum_i w_i,

    A^H diag(v*) A lies within factors 1 -+ m of A^H diag(v) A, and the error is at most rho - (p/2) log(1 - m). The smaller one counts.

    References
    ----------
    .. [1] Cohen and Peng, l_p row sampling by Lewis weights, STOC 2015. The iteration for p < 4, with theta = 1.
    .. [2] Fazel, Lee, Padmanabhan and Sidford, Computing Lewis weights to high precision, SODA 2022. The convex function.
    .. [3] Lee, Faster algorithms for convex and combinatorial optimization, PhD thesis, MIT, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import lewis_weights
    >>> A = np.random.default_rng(0).standard_normal((2000, 5))
    >>> result = lewis_weights(A, 1, rng=0)
    >>> bool(abs(result.scores.sum() - 5) < 1e-6), result.certificate.bound < 1e-7
    (True, True)
    """
    p = _checks.real(NAME, "p", p, 1)
    tol = _checks.real(NAME, "tol", tol, 0, open=True)
    max_iter = _default_rounds(p, tol) if max_iter is None else _checks.integer(NAME, "max_iter", max_iter, 1)
    seed = _random.seed_of(NAME, rng)
    rows = _rows.enter(NAME, A)
    with _rows.threads_for(rows):
        rows, basis, _ = _basis.begin(narrowed(rows), seed)
        return _answer(rows, solve(rows, basis, p, tol, max_iter, seed), p, tol)


def _default_rounds(p: float, tol: float) -> int:
    """Three times the rounds that the rate |p - 2| / (p + 2) asks for from an error of 1e3."""
    rate = abs(p - 2) / (p + 2)
    return 50 + (math.ceil(3 * math.log(1e3 / min(tol, 1.0)) / -math.log(rate)) if rate else 0)


def solve(rows: Rows, basis: Basis, p: float, tol: float, max_iter: int, seed: int = 0) -> Weights:
    """Iterate w <- w^(1 - theta) F(w)^theta from a basis of A, or of its sketch; descend where that does not converge."""
    xp = rows.door.xp
    if basis.rank == 0:
        return Weights(xp.full((rows.n,), LEAST, dtype=xp.float64, device=basis.P.device), basis, 0.0, 0.0, 0)
    x, basis = _start(rows, basis, p, seed)
    theta, grown, halved, last = step_length(p), 0, 0, math.inf
    floor = math.log(TINY * basis.rank / rows.n)
    count = 0
    while True:
        count += 1
        y, G, residual, full = rows.lewis(basis.square, x, theta, p, floor)
        here = Weights(x, basis, residual, full, count)
        if (count > 1 and residual <= tol) or count == max_iter:
            return here
        grown += not residual <= last
        if grown == 2:
            theta, grown, halved = theta / 2, 0, halved + 1
        last = residual
        if halved > HALVINGS and p >= 4:
            x, basis = descend(rows, x, basis, p, seed)
        else:
            x, basis = y, _basis.moved(basis, G) or _basis.begin(rows.weighted(density(y, p)), seed)[1]


def _start(rows: Rows, basis: Basis, p: float, seed: int) -> tuple[Array, Basis]:
    """Give log(w) for equal weights, or for rank one the solution w_i ~ |a_i|^p, and the basis of its density."""
    xp = rows.door.xp
    mean = math.log(basis.rank / rows.n)
    if basis.rank > 1:
        x = xp.full((rows.n,), mean, dtype=xp.float64, device=basis.P.device)
        return x, replace(basis, P=basis.P * math.exp((1 / p - 0.5) * mean))
    h = rows.norms(basis.square)
    x = p / 2 * xp.log(xp.where(h > 0, h, xp.ones_like(h)))
    x = xp.where(h > 0, x - float(xp.max(x)), xp.full_like(h, LEAST))
    x = xp.clip(x - math.log(float(xp.sum(xp.exp(x)))), LEAST, None)
    return x, _basis.begin(rows.weighted(density(x, p)), seed)[1]


def step_length(p: float) -> float:
    """Give the theta with the least local rate: eigenvalues of the map lie between 1 - theta and 1 - theta p / 2."""
    return 4 / (p + 2)


def _answer(rows: Rows, found: Weights, p: float, tol: float) -> LewisResult:
    """Bracket the weights, and warn where they are not good enough."""
    xp, leave = rows.door.xp, rows.door.leave_wide
    w = xp.where(found.x > LEAST, xp.exp(found.x), xp.zeros_like(found.x))
    rounding = p / 2 * _basis.error_of(rows, found.basis) + ROUNDING
    bound = distance(found.full + rounding, p, float(xp.sum(w)))
    converged = found.residual <= tol
    if not converged:
        words = f"{NAME}: the residual is {found.residual:.2g} after {found.rounds} rounds, above tol = {tol:.2g}"
        warnings.warn(words, ConvergenceWarning, stacklevel=3)
    factor = math.exp(min(bound, 700.0))
    upper = xp.clip(w * factor, None, 1.0) if math.isfinite(bound) else xp.ones_like(w)
    certificate = Certificate(CLAIM, bound, 1.0, "residual")
    return LewisResult(leave(w), leave(w / factor), leave(upper), found.basis.rank, converged, certificate, found.residual, found.rounds)


def distance(residual: float, p: float, total: float) -> float:
    """Bound max_i |log(w_i / w*_i)| for weights with this residual and sum, w* being the Lewis weights.

    For p < 4 the map F is a contraction. For p > 2 weights minimize a convex function; its
    monotone gradient bounds the sum of |v_i - v*_i| tau_i, and with it A^H diag(v*) A.
    """
    rate = abs(1 - p / 2)
    contracted = residual / (1 - rate) if rate < 1 else math.inf
    if p <= 2 or not residual < MOST_RESIDUAL:
        return contracted
    eta = math.expm1(2 * residual / p)  # |v_i tau_i - w_i| <= eta w_i
    mean = math.expm1(max(1.0, p / 2 - 1) * math.log1p(eta))
    moved = (1 + eta) * total * mean
    return min(contracted, residual - p / 2 * math.log1p(-moved) if moved < 1 else math.inf)
