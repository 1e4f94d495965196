"""Tucker tensors the slow and obvious way, in long double."""

import numpy as np


def dense(core, factors):
    """Multiply every mode by its factor."""
    T = np.asarray(core, dtype=np.clongdouble)
    for k, V in enumerate(factors):
        T = np.moveaxis(np.tensordot(np.asarray(V, dtype=np.clongdouble), T, (1, k)), 0, k)
    return T


def error(T, core, factors):
    """Frobenius norm of what a Tucker tensor leaves of T."""
    return float(np.sqrt(np.sum(np.abs(np.asarray(T, dtype=np.clongdouble) - dense(core, factors)) ** 2)))


def canonical(weights, factors):
    """Sum of rank-one tensors."""
    total = 0
    for r, weight in enumerate(weights):
        term = np.asarray(weight, dtype=np.clongdouble)
        for U in factors:
            term = np.multiply.outer(term, np.asarray(U, dtype=np.clongdouble)[:, r])
        total = total + term
    return total


def tails(T, ranks):
    """Norms of the singular values of each unfolding beyond a rank."""
    sigmas = (np.linalg.svd(np.moveaxis(T, k, 0).reshape(n, -1), compute_uv=False) for k, n in enumerate(T.shape))
    return [float(np.linalg.norm(s[r:])) for s, r in zip(sigmas, ranks, strict=True)]


def tensor(shape, ranks, noise, rng, *, complex_values=False):
    """Return a tensor of given multilinear ranks plus noise, relative to its norm."""

    def normal(*size):
        return rng.standard_normal(size) + (1j * rng.standard_normal(size) if complex_values else 0)

    T = normal(*ranks)
    for k, (n, r) in enumerate(zip(shape, ranks, strict=True)):
        T = np.moveaxis(np.tensordot(np.linalg.qr(normal(n, r))[0], T, (1, k)), 0, k)
    E = normal(*shape)
    return T + noise * np.linalg.norm(T) / np.linalg.norm(E) * E
