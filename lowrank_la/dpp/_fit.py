"""Weighted least squares on a design, and what can be said about its error from the values at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la.dpp._bases import Basis
from lowrank_la.dpp._design import Sites, slack
from lowrank_la.factor._dense import U


@dataclass(frozen=True)
class Fit:
    """Coefficients C (m, q), residuals, and bounds.

    Attributes
    ----------
    C : array (m, q)
        Of the orthonormal functions.
    residual, loo : arrays (q,)
        ||f - f^||_n, and its leave-one-out form; inf where a point decides alone.
    least : float
        Certified lower bound on lambda_min(G) + ridge; 0 if there is none.
    rounding : float
        Norm of a perturbation of the data, in the norm of the residual, that explains the rounding errors of C.
    rank : int
        Numerical rank of the problem.
    """

    C: np.ndarray
    residual: np.ndarray
    loo: np.ndarray
    least: float
    rounding: float
    rank: int


def fit(basis: Basis, sites: Sites, B: np.ndarray, ridge: float) -> Fit:
    """Solve min sum_i w_i |f(x_i) - v(x_i)|^2 / n + ridge ||v||^2."""
    n, m = sites.rows.shape
    A = sites.rows / math.sqrt(n)
    b = np.exp(sites.log_weights / 2)[:, None] * B / math.sqrt(n)
    tall = np.concatenate([A, math.sqrt(ridge) * np.eye(m)]) if ridge else A
    Q, solve, rank = _factored(tall)
    C = solve(Q[:n].conj().T @ b)
    R = b - A @ C
    rest = 1 - np.sum(np.abs(Q[:n]) ** 2, axis=1)
    decided = rest <= 64 * m * U  # the fit goes through these points, whatever their values
    loo = np.linalg.norm(R / np.where(decided, 1.0, rest)[:, None], axis=0)
    values = np.linalg.eigvalsh(A.conj().T @ A)
    least = max(float(values[0]) - slack(basis, n, float(values[-1])), 0.0) + ridge
    return Fit(
        C=C,
        residual=np.linalg.norm(R, axis=0),
        loo=np.full(loo.shape, math.inf) if decided.any() else loo,
        least=least,
        rounding=_rounding(sites, A, b, C, R, ridge, least),
        rank=rank,
    )


def _factored(A: np.ndarray):  # type: ignore[no-untyped-def]
    """Return Q, a function that solves R X = Y, and the rank; the solution of least norm where the rank is not full."""
    from scipy.linalg import solve_triangular

    Q, R = np.linalg.qr(A)
    size = np.abs(np.diagonal(R))
    tolerance = max(A.shape) * U
    if A.shape[0] >= A.shape[1] and size.min() > 64 * tolerance * size.max():
        return Q, lambda Y: solve_triangular(R, Y), A.shape[1]
    P, s, Vh = np.linalg.svd(A, full_matrices=False)
    rank = int(np.sum(s > tolerance * s[0]))
    return P[:, :rank], lambda Y: Vh[:rank].conj().T @ (Y / s[:rank, None]), rank


def _rounding(sites: Sites, A: np.ndarray, b: np.ndarray, C: np.ndarray, R: np.ndarray, ridge: float, least: float) -> float:
    """Bound the gradient at C, and with it the distance of C from the minimizer, times sqrt(least)."""
    if not least > 0:
        return math.inf
    n, m = A.shape
    size, length, answer = np.linalg.norm(A), np.linalg.norm(b, axis=0), np.linalg.norm(C, axis=0)
    gradient = np.linalg.norm(A.conj().T @ R - ridge * C, axis=0)
    scale = float(np.abs(sites.log_weights[np.isfinite(sites.log_weights)]).max(initial=0.0))
    terms = (n + 28 * m + 16 + scale) * 2 * U * size * (length + size * answer) + 4 * U * ridge * answer
    return float(np.max(gradient + terms)) / math.sqrt(least)
