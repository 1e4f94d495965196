"""Random problems of the three models, with the truth, and slow obvious versions of what the library computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Truth:
    Y: np.ndarray
    A: np.ndarray
    d: np.ndarray
    X: np.ndarray
    E: np.ndarray


def draw(rng, model, m, n, p, snr, *, real=False, spread=0.5, sparsity=None):
    """Gaussian matrices and signals, gains of size 1 +- spread with random phases (signs); snr in dB."""

    def gaussian(*shape):
        return rng.standard_normal(shape) if real else (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)

    A = gaussian(m, n) if model == "snapshots" else gaussian(p, m, n)
    size = 1 + spread * rng.uniform(-1, 1, m)
    d = size * (rng.choice([-1.0, 1.0], m) if real else np.exp(2j * np.pi * rng.random(m)))
    X = gaussian(n) if model == "repeated" else gaussian(p, n)
    if sparsity is not None:
        keep = rng.permutation(n)[:sparsity]
        X[..., np.setdiff1d(np.arange(n), keep)] = 0
    Z = X @ A.T if A.ndim == 2 else (A @ np.broadcast_to(X, (p, n))[:, :, None])[..., 0]
    E = 10 ** (-snr / 20) * np.sqrt(np.mean(abs(Z * d) ** 2)) * gaussian(p, m)
    return Truth(Z * d + E, A, d, X, E)


def aligned(d, truth):
    """Return d times the scalar that brings it next to the truth."""
    return d * (np.vdot(d, truth) / np.vdot(d, d))


def error(d, truth):
    """Relative error after alignment."""
    return np.linalg.norm(aligned(d, truth) - truth) / np.linalg.norm(truth)


def sine(d, truth, weights):
    """Sine of the angle between 1 / d and 1 / truth in the weighted norm."""
    u, v = np.sqrt(weights) / d, np.sqrt(weights) / truth
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    return np.linalg.norm(v - np.vdot(u, v) * u)


def projected(Y, A, model):
    """The matrix of sum_l ||diag(y_l) t - A_l x_l||^2 at the best signals, by projectors."""
    p, m = Y.shape
    if model == "repeated":
        Q = np.linalg.qr(A.reshape(p * m, -1))[0].reshape(A.shape)
        B = np.sum(Y.conj()[:, :, None] * Q, axis=0)
        return np.diag(np.sum(abs(Y) ** 2, axis=0)) - B @ B.conj().T
    Q = np.linalg.qr(A)[0]
    P = np.broadcast_to(np.eye(m) - Q @ Q.conj().swapaxes(-1, -2), (p, m, m))
    return sum(y.conj()[:, None] * P[l] * y for l, y in enumerate(Y))


def floor(t, model):
    """Root of the Cramer-Rao bound of the squared relative error of complex gains after alignment: signals unknown, as is the scale.

    The derivatives by relative changes of the gains are diag(d_i a_li^T x_l); what the signals could undo is projected out.
    """
    values, V = np.linalg.eigh(projected(t.Y - t.E, t.d[:, None] * t.A, model))
    half = t.d[:, None] * V[:, 1:] / np.sqrt(values[1:])
    unit = t.d / np.linalg.norm(t.d)
    half = half - np.outer(unit, unit.conj() @ half)
    return np.linalg.norm(t.E) / np.sqrt(t.E.size) * np.linalg.norm(half) / np.linalg.norm(t.d)


def system(Y, A, model, v):
    """The linear system M [t; x] = 0 as a dense matrix, sensing matrices scaled by v."""
    p, m = Y.shape
    A = np.broadcast_to(A, (p, *A.shape[-2:])) * v[:, None]
    left = np.concatenate([np.diag(y) for y in Y])
    if model == "repeated":
        return np.hstack([left, -A.reshape(p * m, -1)])
    n = A.shape[-1]
    right = np.zeros((p * m, p * n), dtype=A.dtype)
    for i in range(p):
        right[i * m : (i + 1) * m, i * n : (i + 1) * n] = -A[i]
    return np.hstack([left, right])


def schur(M, m):
    """Schur complement of M^H M in its last rows and columns."""
    N = M.conj().T @ M
    return N[:m, :m] - N[:m, m:] @ np.linalg.pinv(N[m:, m:], rcond=1e-12, hermitian=True) @ N[m:, :m]
