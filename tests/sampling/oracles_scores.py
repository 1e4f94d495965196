"""Leverage scores and Lewis weights, slowly: in fractions, in long double, by plain iteration; and matrices to try them on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

LONG = np.longdouble


def exact_leverage(A: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """Leverage scores of the numbers in A without any rounding; A has full column rank."""
    rows = [[Fraction(float(x)) for x in row] for row in A]
    d = A.shape[1]
    G = [[sum(row[i] * row[j] for row in rows) + (Fraction(ridge) if i == j else 0) for j in range(d)] for i in range(d)]
    M = [line + [Fraction(int(i == j)) for j in range(d)] for i, line in enumerate(G)]
    for a in range(d):
        pivot = next(b for b in range(a, d) if M[b][a] != 0)
        M[a], M[pivot] = M[pivot], M[a]
        M[a] = [x / M[a][a] for x in M[a]]
        for b in range(d):
            if b != a:
                M[b] = [x - M[b][a] * y for x, y in zip(M[b], M[a], strict=True)]
    inverse = [line[d:] for line in M]
    return np.array([float(sum(row[i] * inverse[i][j] * row[j] for i in range(d) for j in range(d))) for row in rows])


def long_leverage(A: np.ndarray) -> np.ndarray:
    """Leverage scores in long double, by two Cholesky factorizations of whitened columns; for conditions up to 1e8."""
    P = _inverse(np.linalg.qr(A)[1].astype(LONG))
    A = A.astype(LONG)
    for _ in range(2):
        Y = A @ P
        P = P @ _inverse(_cholesky(Y.T @ Y))
    return np.sum((A @ P) ** 2, axis=1)


def _cholesky(G: np.ndarray) -> np.ndarray:
    R = np.zeros_like(G)
    for i in range(len(G)):
        R[i, i] = np.sqrt(G[i, i] - np.sum(R[:i, i] ** 2))
        R[i, i + 1 :] = (G[i, i + 1 :] - R[:i, i] @ R[:i, i + 1 :]) / R[i, i]
    return R


def _inverse(R: np.ndarray) -> np.ndarray:
    X = np.diag(1 / np.diag(R))
    for i in range(len(R) - 2, -1, -1):
        X[i, i + 1 :] = -(R[i, i + 1 :] @ X[i + 1 :, i + 1 :]) / R[i, i]
    return X


def leverage(A: np.ndarray) -> np.ndarray:
    """Leverage scores by the singular value decomposition, null directions dropped."""
    U, s, _ = np.linalg.svd(A, full_matrices=False)
    return np.sum(abs(U[:, s > 1e-11 * s[0]]) ** 2, axis=1)


def lewis_map(A: np.ndarray, w: np.ndarray, p: float) -> np.ndarray:
    """F(w)_i = (a_i^H (A^H W^(1 - 2/p) A)^-1 a_i)^(p/2) through a QR factorization."""
    scaled = w[:, None] ** (0.5 - 1 / p) * A
    R = np.linalg.qr(scaled, mode="r")
    return np.sum(abs(np.linalg.solve(R.T, A.T)) ** 2, axis=0) ** (p / 2)


def lewis(A: np.ndarray, p: float, rounds: int = 600) -> np.ndarray:
    """Lewis weights by slow steps that converge for every p."""
    w = np.full(len(A), A.shape[1] / len(A))
    for _ in range(rounds):
        w = w ** (1 - 1 / p) * lewis_map(A, w, p) ** (1 / p)
    return w


def tall(n: int, d: int, cond: float = 10.0, kind: str = "plain", seed: int = 0) -> np.ndarray:
    """Draw a matrix of about this condition, with a few heavy rows if it is "spiked"."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    if kind == "spiked":
        A[: min(20, n // 3)] *= 30
        A[0] *= 1e3
    return (A * np.logspace(0, -np.log10(cond), d)) @ np.linalg.qr(rng.standard_normal((d, d)))[0]


def nearly_dependent(n: int, d: int, digits: int, seed: int = 0) -> np.ndarray:
    """Integers in columns that agree in all but their last digits: a condition of about 10^digits."""
    rng = np.random.default_rng(seed)
    common = rng.integers(-9, 10, (n, 1)) * 10**digits
    return (common + rng.integers(-9, 10, (n, d))).astype(float)
