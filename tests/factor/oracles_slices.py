"""Random matrices of many kinds, and slow, obvious versions of choices and errors."""

import itertools

import numpy as np


def problem(seed):
    """Return a random matrix (n, d) and a rank: slow and fast decay, low rank, outliers, bad scales, complex, tall and wide."""
    rng = np.random.default_rng(seed)
    n, d = (int(x) for x in rng.integers(2, 40, 2))
    A = rng.standard_normal((n, d))
    if rng.random() < 0.3:
        A = A + 1j * rng.standard_normal((n, d))
    kind = rng.integers(6)
    if kind < 2:
        U, _, Vh = np.linalg.svd(A, full_matrices=False)
        r = min(n, d)
        A = (U * [np.arange(1.0, r + 1) ** -1, 10.0 ** -np.arange(r)][kind]) @ Vh
    elif kind == 2:
        r = int(rng.integers(1, min(n, d) + 1))
        A = A[:, :r] @ rng.standard_normal((r, d))
    elif kind == 3:
        A[:, rng.integers(d)] *= 1e6
    elif kind == 4:
        A = A * 10.0 ** rng.uniform(-8, 8, d)
    return A, int(rng.integers(1, min(n, d) + 1))


def residual(A, L, R):
    """||A - L R||_F in long double."""
    A, L, R = (x.astype(np.clongdouble) for x in (A, L, R))
    return float(np.sqrt(np.sum(np.abs(A - L @ R) ** 2)))


def projection_error(A, indices):
    """||A - C C^+ A||_F by a QR factorization in long double, Gram-Schmidt twice; the larger dependent columns are kept."""
    rest = A.astype(np.clongdouble if np.iscomplexobj(A) else np.longdouble)
    for index in indices:
        q = rest[:, index].copy()
        length = np.sqrt(np.sum(np.abs(q) ** 2))
        if length <= 1e-17 * np.sqrt(np.sum(np.abs(A[:, index]) ** 2)):
            continue
        q = q / length
        for _ in range(2):
            rest = rest - np.outer(q, q.conj() @ rest)
    return float(np.sqrt(np.sum(np.abs(rest) ** 2)))


def largest_volume_gain(Y, chosen):
    """Largest growth of |det(C^H C)| when one chosen column is exchanged, tried one by one."""
    volume = gram_determinant(Y[:, chosen])
    others = [j for j in range(Y.shape[1]) if j not in chosen]
    gains = [
        gram_determinant(Y[:, [j if spot == i else old for spot, old in enumerate(chosen)]]) / volume
        for i, j in itertools.product(range(len(chosen)), others)
    ]
    return max(gains, default=0.0)


def gram_determinant(C):
    return float(np.prod(np.linalg.svd(C, compute_uv=False) ** 2))


def cholesky_one_by_one(K, k, rng):
    """Randomly pivoted Cholesky as it is defined: one pivot at a time from the whole remainder."""
    rest, pivots = K.copy(), []
    for _ in range(k):
        weights = np.clip(np.diagonal(rest).real, 0, None)
        j = int(rng.choice(K.shape[0], p=weights / weights.sum()))
        pivots.append(j)
        rest = rest - np.outer(rest[:, j], rest[j]) / rest[j, j]
    return pivots, rest
