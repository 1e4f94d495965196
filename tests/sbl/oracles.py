"""Kronecker SBL by definition: dense matrices, and inverses in place of factorizations."""

from __future__ import annotations

from functools import reduce

import numpy as np


def draw(rng, *shape, complex_=False):
    """Draw standard normal numbers, real or complex."""
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape)) / np.sqrt(2) if complex_ else x


def problem(seed, rows, columns, atoms, snr, *, complex_=False):
    """Draw factors, a signal on a product of random supports and measurements: Y, factors, X, noise variance, supports."""
    rng = np.random.default_rng(seed)
    A = [draw(rng, m, n, complex_=complex_) for m, n in zip(rows, columns, strict=True)]
    support = [np.sort(rng.permutation(n)[:atoms]) for n in columns]
    X = np.zeros(columns, dtype=A[0].dtype)
    X[np.ix_(*support)] = draw(rng, *(atoms,) * len(columns), complex_=complex_)
    clean = (reduce(np.kron, A) @ X.ravel()).reshape(rows)
    noise = np.mean(np.abs(clean) ** 2) / 10 ** (snr / 10)
    return clean + np.sqrt(noise) * draw(rng, *rows, complex_=complex_), A, X, noise, support


def posterior(y, A, g, noise):
    """Return mean, variances, cost and covariance of the data for prior variances kron(g)."""
    K, G = reduce(np.kron, A), np.diag(reduce(np.kron, g))
    C = K @ G @ K.conj().T + noise * np.eye(K.shape[0])
    inverse = np.linalg.inv(C)
    gain = G @ K.conj().T @ inverse
    cost = y.shape[1] * np.linalg.slogdet(C)[1] + np.trace(y.conj().T @ inverse @ y).real
    return gain @ y, np.diag(G - gain @ K @ G).real, cost, C


def error(x, X):
    """Return ||x - X||^2 / ||X||^2."""
    return np.linalg.norm(np.ravel(x) - np.ravel(X)) ** 2 / np.linalg.norm(X) ** 2
