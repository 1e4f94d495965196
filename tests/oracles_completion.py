"""Slow, obvious answers to completion problems, and problems whose answers are known."""

import numpy as np


def low_rank(m, n, k, *, observed=0.5, noise=0.0, seed=0, nonnegative=False):
    """Return a matrix of rank k, and a copy with noise in which most entries are NaN."""
    random = np.random.default_rng(seed)
    U, V = random.standard_normal((m, k)), random.standard_normal((n, k))
    if nonnegative:
        U, V = abs(U), abs(V)
    X = U @ V.T
    noisy = X + noise * random.standard_normal((m, n))
    return X, np.where(random.random((m, n)) < observed, noisy, np.nan)


def hard_problem(seed, kind):
    """Return a full matrix with noise, its observed part, a rank and a share to hold out, for the certificate's calibration."""
    random = np.random.default_rng(seed)
    m, n = random.integers(40, 120, 2)
    k = int(random.integers(1, 5))
    U, V = random.standard_normal((m, k)), random.standard_normal((n, k))
    if kind == "ill-conditioned":
        U = U * 10.0 ** -np.arange(k)
    if kind == "coherent":
        U = U * np.where(random.random((m, 1)) < 0.05, 20, 1)
    noise = {
        "heavy-tailed": lambda: 0.1 * random.standard_t(2.5, (m, n)),
        "outliers": lambda: 10 * (random.random((m, n)) < 0.02) * random.standard_normal((m, n)),
        "noiseless": lambda: np.zeros((m, n)),
    }.get(kind, lambda: 0.1 * random.standard_normal((m, n)))
    M = U @ V.T + noise()
    rank = k + 2 if kind == "over-stated rank" else k
    observed = random.random((m, n)) < random.uniform(0.3, 0.7)
    return M, np.where(observed, M, np.nan), rank, float(random.choice([0.1, 0.2]))


def nuclear_norm(M, ridge, *, weights=None, steps=20000):
    """Minimise sum w (M - X)^2 / 2 + ridge ||X||_* over all X by accelerated proximal gradients with restarts."""
    seen = ~np.isnan(M)
    w = seen * (1.0 if weights is None else weights)
    filled = np.where(seen, M, 0.0)
    step = 1 / w.max()
    X = Z = np.zeros_like(filled)
    t = 1.0
    for _ in range(steps):
        P, s, Qt = np.linalg.svd(Z - step * w * (Z - filled), full_matrices=False)
        new = (P * np.maximum(s - step * ridge, 0)) @ Qt
        if np.sum((Z - new) * (new - X)) > 0:
            t = 1.0
        t_new = (1 + np.sqrt(1 + 4 * t * t)) / 2
        Z = new + (t - 1) / t_new * (new - X)
        if np.linalg.norm(new - X) <= 1e-13 * np.linalg.norm(new):
            return new
        X, t = new, t_new
    return X


def error(result, X):
    """Return the relative Frobenius error of a result on NumPy arrays."""
    return float(np.linalg.norm(result.to_dense() - X) / np.linalg.norm(X))
