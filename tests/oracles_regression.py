"""Least-squares problems with known properties, and their solutions to more digits than float64 has."""

from __future__ import annotations

import mpmath
import numpy as np


def problem(n: int, d: int, *, cond: float = 1e2, noise: float = 1e-3, kind: str = "incoherent", k: int | None = None, seed: int = 0):
    """Return A (n, d) with unit norm and the given condition, and b = A x + noise of that norm.

    Kinds: "incoherent"; "coherent" (all but a few of A's rows are tiny); "heavy" (rows and noise with Cauchy-like
    tails); "scaled" (columns of lengths 1e-8 to 1e8); "fortran" (column-major); "deficient" (two columns repeat others).
    """
    rng = np.random.default_rng([n, d, seed])
    U = rng.standard_normal((n, d))
    if kind == "coherent":
        U[d:] *= 1e-6
    if kind == "heavy":
        U *= np.abs(rng.standard_cauchy((n, 1)))
    U = np.linalg.qr(U)[0]
    V = np.linalg.qr(rng.standard_normal((d, d)))[0]
    A = (U * np.logspace(-np.log10(cond), 0, d)) @ V.T
    x = rng.standard_normal(d if k is None else (d, k))
    r = rng.standard_cauchy((n, *x.shape[1:])) if kind == "heavy" else rng.standard_normal((n, *x.shape[1:]))
    b = A @ x + noise * r / np.linalg.norm(r, axis=0)
    if kind == "scaled":
        A = A * np.logspace(-8, 8, d)[rng.permutation(d)]
    if kind == "deficient":
        A[:, d // 2] = A[:, 0] + A[:, 1]
    return (np.asfortranarray(A) if kind == "fortran" else A), b


def solve(A, b, *, weights=None, ridge: float = 0.0, digits: int = 60) -> np.ndarray:
    """Return the exact solution, rounded once: normal equations in rational sums and many digits."""
    A, B = np.asarray(A), np.asarray(b)
    B = B[:, None] if B.ndim == 1 else B
    w = np.ones(A.shape[0]) if weights is None else np.asarray(weights)
    with mpmath.workdps(digits):
        M, C = _exact_products(A, B, w)
        d = A.shape[1]
        M = mpmath.matrix(M) + mpmath.mpf(ridge) * mpmath.eye(d)
        columns = [mpmath.lu_solve(M, mpmath.matrix(list(C[:, j]))) for j in range(B.shape[1])]
        convert = complex if np.iscomplexobj(A) or np.iscomplexobj(B) else float
        X = np.array([[convert(column[i]) for column in columns] for i in range(d)])
    return X if np.ndim(b) == 2 else X[:, 0]


def _exact_products(A, B, w):
    """A^H W A and A^H W B without rounding: entries are cut into integers of few bits, whose products int64 sums hold."""
    if np.iscomplexobj(A) or np.iscomplexobj(B):
        ((rr, rc), (ir, ic)) = (
            _exact_products(A.real, np.hstack([A.real, A.imag, B.real, B.imag]), w),
            _exact_products(A.imag, np.hstack([A.real, A.imag, B.real, B.imag]), w),
        )
        del rr, ir
        d, k, j = A.shape[1], B.shape[1], mpmath.mpc(0, 1)
        M = rc[:, :d] + ic[:, d : 2 * d] + j * (rc[:, d : 2 * d] - ic[:, :d])
        C = rc[:, 2 * d : 2 * d + k] + ic[:, 2 * d + k :] + j * (rc[:, 2 * d + k :] - ic[:, 2 * d : 2 * d + k])
        return M, C
    left, right = _slices(A), _slices(np.hstack([A, B]))
    weights = _slices(w[:, None])
    total = np.full((A.shape[1], A.shape[1] + B.shape[1]), mpmath.mpf(0), dtype=object)
    for lw, sw in weights:
        for la, sa in left:
            P = (la * lw).astype(np.float64)
            for lb, sb in right:
                total = total + _big(P.T @ lb) * mpmath.mpf(2) ** (sw + sa + sb)
    return total[:, : A.shape[1]], total[:, A.shape[1] :]


def _big(x):
    return np.array([[mpmath.mpf(float(v)) for v in row] for row in x], dtype=object)


def _slices(x, bits: int = 12):
    """Cut x into integer matrices of at most 12 bits times powers of two: 2^36 times 2^17 rows fit 53 bits."""
    parts = []
    rest = np.array(x, dtype=np.float64)
    while rest.any():
        shift = int(np.floor(np.log2(np.abs(rest).max()))) + 1 - bits
        part = np.trunc(rest * 2.0**-shift)
        parts.append((part, shift))
        rest = rest - part * 2.0**shift
    return parts


def backward_error(A, b, x) -> float:
    """Karlson and Walden's estimate over ||A||_F, from the singular values of A and a residual in long double."""
    _, s, Vh = np.linalg.svd(A, full_matrices=False)
    wide = np.longdouble
    r = b.astype(wide) - A.astype(wide) @ x.astype(wide)
    g = (A.astype(wide).T @ r).astype(float)
    norm = np.linalg.norm(A)
    size2 = np.linalg.norm(b) ** 2 + (norm * np.linalg.norm(x)) ** 2
    shift2 = norm**2 * float(r @ r) / size2
    return float(np.linalg.norm((Vh @ g) / np.sqrt(s**2 + shift2)) / np.sqrt(size2))
