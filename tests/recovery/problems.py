"""Measured matrices for tests: every kind of measurements, gross errors, and the entries of each A_l as an oracle."""

from __future__ import annotations

import numpy as np

from lowrank_la.recovery import dense_gaussian, entry_mask, fourier, rank_one

KINDS = ("dense", "rank_one", "complex", "mask", "fourier")


def normal(rng, *shape, is_complex=False):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if is_complex else x


def operator(kind, count, shape, seed=0, convert=np.asarray):
    """Return measurements and the array (N, m, n) of their matrices."""
    rng, (m, n) = np.random.default_rng(seed), shape
    if kind == "dense":
        op = dense_gaussian(count, shape, like=convert(np.zeros(1)), rng=seed)
        return op, dense_gaussian(count, shape, rng=seed).A.reshape(count, m, n)
    if kind in ("rank_one", "complex"):
        a, b = (normal(rng, count, length, is_complex=kind == "complex") for length in shape)
        return rank_one(convert(a), convert(b)), a[:, :, None] * b[:, None, :].conj()
    if kind == "mask":
        rows, cols = np.divmod(rng.permutation(m * n)[:count], n)
        A = np.zeros((len(rows), m, n))
        A[np.arange(len(rows)), rows, cols] = 1
        return entry_mask(convert(rows), convert(cols), shape=shape), A
    rows, cols = np.divmod(rng.permutation(m * n)[:count], n)
    F = [np.fft.fft(np.eye(length), norm="ortho") for length in shape]
    return fourier(convert(rows), convert(cols), shape=shape), (F[0][rows][:, :, None] * F[1][cols][:, None, :]).conj()


def matrix(shape, rank, seed=0, *, symmetric=False, is_complex=False, condition=2.0):
    """Return a matrix of unit norm whose singular values fall geometrically."""
    rng, (m, n) = np.random.default_rng(seed + 1000), shape
    U = np.linalg.qr(normal(rng, m, rank, is_complex=is_complex))[0]
    V = U if symmetric else np.linalg.qr(normal(rng, n, rank, is_complex=is_complex))[0]
    return (U * np.geomspace(1, 1 / condition, rank)) @ V.conj().T


def factors(M, rank):
    U, s, Vh = np.linalg.svd(M)
    return U[:, :rank] * s[:rank], Vh[:rank].conj().T


def spoiled(y, share, seed=0, size=10.0):
    """Make a share of the measurements grossly wrong."""
    rng = np.random.default_rng(seed + 2000)
    bad = rng.random(y.shape) < share
    return y + bad * size * np.median(abs(y)) * normal(rng, *y.shape, is_complex=np.iscomplexobj(y)), bad


def error(result, M):
    U, V = (np.asarray(x) for x in (result.U, result.V))
    return np.linalg.norm(U @ V.conj().T - M) / np.linalg.norm(M)
