"""Slow and more accurate: polynomials in long double, densities on fine grids, laws of designs by enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import special

LONG = np.longdouble


def monic(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return orthonormal polynomials (n, m) in long double, whose exponents reach 4932, from their monic recurrence.

    a_k and b_k^2 are given in long double; polynomials are normalised only at the end.
    """
    t = np.asarray(t, dtype=LONG)
    values = [np.ones_like(t), t - a[0]]
    for k in range(1, len(a)):
        values.append((t - a[k]) * values[k] - b[k] * values[k - 1])
    norms = np.sqrt(np.cumprod(np.concatenate([[LONG(1)], b[1:]]).astype(LONG)))
    return np.stack(values[: len(a)], axis=1) / norms[: len(a)]


def jacobi(m: int, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """a_k and b_k^2 of the Jacobi weight, from moments of the beta law in long double for the first two."""
    k, c = np.arange(m, dtype=LONG), LONG(alpha) + LONG(beta)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = (LONG(beta) ** 2 - LONG(alpha) ** 2) / ((2 * k + c) * (2 * k + c + 2))
        b = 4 * k * (k + alpha) * (k + beta) * (k + c) / ((2 * k + c) ** 2 * ((2 * k + c) ** 2 - 1))
    a[0] = (LONG(beta) - LONG(alpha)) / (c + 2)
    if m > 1:
        b[1] = 4 * (1 + LONG(alpha)) * (1 + LONG(beta)) / ((c + 2) ** 2 * (c + 3))
    return a, b


def hermite(m: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(m, dtype=LONG), np.arange(m, dtype=LONG)


def laguerre(m: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    k = np.arange(m, dtype=LONG)
    return 2 * k + 1 + LONG(alpha), k * (k + LONG(alpha))


def rule(family, nodes: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Return a Gauss rule from SciPy for the measure of a family, in its own points."""
    if family.family == "jacobi":
        t, w = special.roots_jacobi(nodes, *family.parameters)
    elif family.family == "hermite":
        t, w = special.roots_hermitenorm(nodes)
    elif family.family == "laguerre":
        t, w = special.roots_genlaguerre(nodes, *family.parameters)
    else:
        t, w = np.arange(nodes) / nodes, np.ones(nodes)
    return family.shift + family.scale * t, w / w.sum()


def volume_law(Q: np.ndarray, n: int) -> dict[tuple[int, ...], float]:
    """Probabilities of all ordered designs of n rows: det(sum of u u^T) times those of independent rows, normalised."""
    nu = np.sum(Q**2, axis=1) / Q.shape[1]
    law = {}
    for design in itertools.product(range(Q.shape[0]), repeat=n):
        rows = Q[list(design)] / np.linalg.norm(Q[list(design)], axis=1)[:, None]
        law[design] = float(np.linalg.det(rows.T @ rows) * np.prod(nu[list(design)]))
    total = sum(law.values())
    return {design: p / total for design, p in law.items() if p > 1e-14}


def chi_square(counts: dict, law: dict, draws: int) -> float:
    """Return the probability of a chi-square as large; outcomes expected less than five times are put together."""
    assert set(counts) <= set(law)
    frequent = [key for key, p in law.items() if p * draws >= 5]
    seen, expected = [counts.get(key, 0) for key in frequent], [law[key] * draws for key in frequent]
    rest = draws - sum(expected)
    if rest > 5:
        seen, expected = [*seen, draws - sum(seen)], [*expected, rest]
    statistic = sum((s - e) ** 2 / e for s, e in zip(seen, expected, strict=True))
    return float(special.chdtrc(len(seen) - 1, statistic))


def leave_one_out(A: np.ndarray, b: np.ndarray, ridge: float) -> np.ndarray:
    """Errors at each row of a fit to all others."""
    errors, m = [], A.shape[1]
    for i in range(A.shape[0]):
        rest = np.delete(np.arange(A.shape[0]), i)
        tall = np.concatenate([A[rest], math.sqrt(ridge) * np.eye(m)])
        x = np.linalg.lstsq(tall, np.concatenate([b[rest], np.zeros((m, b.shape[1]))]))[0]
        errors.append(b[i] - A[i] @ x)
    return np.array(errors)
