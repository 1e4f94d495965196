"""Symmetric matrices as vectors: a model's square is multilinear in the packed second moments of its factors.

E f(x)^2 = <T, m_1(x) o ... o m_K(x)> where m_k packs E u_k u_k^T (entries on and above the diagonal) and T packs E vec(W) vec(W)^T in
every pair of its modes, entries off the diagonal counted twice. T has about 2^-K of the entries of the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

LARGEST = 1 << 24  # entries of a matrix that is folded at once


def pack(M: np.ndarray) -> np.ndarray:
    """Return the entries on and above the diagonals (n, R (R + 1) / 2) of symmetric matrices (n, R, R)."""
    i, j = np.triu_indices(M.shape[-1])
    return M[..., i, j]


def second(mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Return the packed second moments of random vectors (n, R)."""
    return pack(cov + mean[:, :, None] * mean[:, None, :])


def places(R: int) -> np.ndarray:
    """Return where the entries (R, R) of a symmetric matrix stand in the packed one."""
    where = np.zeros((R, R), dtype=np.int64)
    i, j = np.triu_indices(R)
    where[i, j] = where[j, i] = np.arange(i.size)
    return where


def unpack(m: np.ndarray, R: int, *, twice: bool) -> np.ndarray:
    """Return symmetric matrices (n, R, R) from packed ones, whose entries off the diagonal may count twice."""
    M = m[..., places(R)]
    return np.where(np.eye(R, dtype=bool), M, M / 2) if twice else M


def fold(M: np.ndarray, ranks: Sequence[int]) -> np.ndarray:
    """Pack each mode of matrices (B, P, P), P the product of the ranks, adding mirror images: (B, s_1, ..., s_K)."""
    lead = M.shape[0]
    for R in ranks:
        rest = M.shape[-1] // R
        blocks = M.reshape(-1, R, rest, R, rest)
        i, j = np.triu_indices(R)
        packed = blocks[:, i, :, j, :] + np.where(i < j, 1.0, 0.0)[:, None, None, None] * blocks[:, j, :, i, :]
        M = np.moveaxis(packed, 0, 1).reshape(-1, rest, rest)
    return M.reshape(lead, *[R * (R + 1) // 2 for R in ranks])


def unfold(T: np.ndarray, ranks: Sequence[int]) -> np.ndarray:
    """Return the symmetric matrices (B, P, P) whose entries stand in (B, s_1, ..., s_K): no mirror images are added up here."""
    for k, R in enumerate(ranks):
        T = np.take(T, places(R).ravel(), axis=k + 1)
    K, lead = len(ranks), T.shape[0]
    T = T.reshape(lead, *[R for R in ranks for _ in (0, 1)])
    T = T.transpose(0, *range(1, 2 * K, 2), *range(2, 2 * K + 1, 2))
    return T.reshape(lead, math.prod(ranks), -1)


def blocks(T: np.ndarray, ranks: Sequence[int]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (i, j, block) with i <= j for the blocks of the matrix of `unfold`, split along the first mode."""
    for i, j, here in zip(*np.triu_indices(ranks[0]), T, strict=True):
        yield int(i), int(j), unfold(here[None], ranks[1:])[0]


def diagonal(T: np.ndarray, ranks: Sequence[int]) -> np.ndarray:
    """Return the diagonal (R_1, ..., R_K) of the matrix of `unfold`."""
    return T[np.ix_(*[np.diagonal(places(R)) for R in ranks])]


def core_moments(mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Pack E vec(W) vec(W)^T for a core of this mean (R_1, ..., R_K); cov is a matrix (P, P) or the variances (P,)."""
    ranks, w = mean.shape, mean.reshape(mean.shape[0], -1)
    if mean.size**2 <= LARGEST:
        S = np.diag(cov) if cov.ndim == 1 else cov
        return fold((S + np.outer(w, w))[None], ranks)[0]
    variances, parts = cov.reshape(w.shape), []
    for i, j in zip(*np.triu_indices(ranks[0]), strict=True):
        block = np.outer(w[i], w[j])
        block = block + np.diag(variances[i]) if i == j else block + block.T
        parts.append(fold(block[None], ranks[1:]))
    return np.concatenate(parts)
