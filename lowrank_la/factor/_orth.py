"""Orthonormal bases: a sketch makes the columns well conditioned, their Gram matrix makes them orthonormal."""

from __future__ import annotations

import math

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, host, wide
from lowrank_la.sketching import SparseSign

TALL = 16  # rows per column from which a sketch pays
LEAST = 1e-12  # largest entry, as its inverse, without which a matrix is scaled: squares of float32 must neither overflow nor underflow
MANY_ENTRIES = 1 << 18  # of Y, likewise
TALLEST_CONDITION = 0.1  # over roundoff: beyond it the sketch no longer conditions what it should
BLOCK = 4096  # rows that meet two triangles while they are in the cache
EASY = 100  # condition, apart from lengths of columns, up to which an explicit inverse costs no digits that matter
SKETCH_ROWS = 3  # per column: whitened columns have a condition of about 4


def orth(Y: Array, *, rng: _random.RNG = None) -> Array:
    """Find an orthonormal basis of the columns of a matrix.

    Parameters
    ----------
    Y : array (n, m)
        Real or complex; of any condition.
    rng : None, int or numpy.random.Generator
        An int gives the same basis on every backend, to rounding.

    Returns
    -------
    array (n, r)
        Orthonormal columns; r is the numerical rank of Y: singular values below
        max(n, m) roundoff units of the largest count as zero.

    Raises
    ------
    ValueError
        Y is not 2-dimensional, is empty, or has an entry that is NaN or infinite.
    TypeError
        Y is no array of numbers.

    Notes
    -----
    Cost: 4 n m^2 flops in matrix products for tall Y, 2 to 5 times less time than a QR
    factorization; memory three n x m arrays. The columns are orthonormal to some roundoff units whatever the
    condition of Y: a QR factorization R of a sketch of Y makes Y R^-1 well conditioned, and
    Cholesky's factor of its Gram matrix does the rest. Y that is not tall, or too ill conditioned for
    its sketch, meets Householder's QR.

    References
    ----------
    .. [1] Fan, Guo and Lin, A novel randomized XR-based preconditioned CholeskyQR algorithm,
       arXiv:2111.11148. Sketched QR before CholeskyQR.
    .. [2] Yamamoto, Nakatsukasa, Yanagisawa and Fukaya, Roundoff error analysis of the CholeskyQR2
       algorithm, Electron. Trans. Numer. Anal. 44, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import orth
    >>> Y = np.vander(np.linspace(0, 1, 2000), 12)
    >>> Q = orth(Y, rng=0)
    >>> bool(abs(Q.T @ Q - np.eye(12)).max() < 1e-14)
    True
    >>> orth(Y[:, [3, 4, 3]], rng=0).shape
    (2000, 2)
    """
    seed = _random.seed_of("orth", rng)
    door, [Y] = _arrays.enter("orth", Y=Y)
    _checks.ndim("orth", "Y", Y, 2)
    _checks.not_empty("orth", "Y", Y)
    _checks.finite("orth", "Y", Y)
    xp = door.xp
    largest = _largest(Y)
    Q, R = orthonormal(Y if not largest or LEAST < largest < 1 / LEAST else Y / largest, seed)
    s = _arrays.to_numpy(xp.linalg.svdvals(R))
    rank = int((s > max(Y.shape) * _arrays.unit_roundoff(xp, Y.dtype) * s[0]).sum())
    if rank < R.shape[1]:
        Q = Q @ xp.linalg.svd(R, full_matrices=False)[0][:, :rank]
    return door.leave(Q)


def _largest(Y: Array) -> float:
    xp = _arrays.namespace(Y)
    return max(float(xp.max(xp.abs(block))) for _, block in _arrays.row_blocks(Y))


def orthonormal(Y: Array, seed: int) -> tuple[Array, Array]:
    """Factor Y = Q R with min(n, m) orthonormal columns of Q, also where Y is rank deficient; R is triangular."""
    X, M, R = nearly(Y, seed)
    return (X if M is None else X @ M), R


def nearly(Y: Array, seed: int) -> tuple[Array, Array | None, Array]:
    """Factor Y = X M R as `orthonormal` does, but leave Q = X M to be formed; M = None is the identity, and X is Y where that will do."""
    xp, (n, m) = _arrays.namespace(Y), Y.shape
    if n >= TALL * m and n * m >= MANY_ENTRIES:
        R = _arrays.triangular_factor(SparseSign(max(SKETCH_ROWS * m, 16), n, rng=seed).apply(Y))
        lengths = xp.linalg.vector_norm(R, axis=0)
        if _condition(R) * _arrays.unit_roundoff(xp, R.dtype) < TALLEST_CONDITION:
            if _condition(R / lengths) < EASY:
                return Y, *_whitened(Y, R, lengths)
            Q, R = _twice(Y, R)
            return Q, None, R
    Q, R = xp.linalg.qr(Y, mode="reduced")
    return Q, None, R


def _whitened(Y: Array, R: Array, lengths: Array) -> tuple[Array, Array]:
    """Find M and R from the Gram matrix of Y R^-1, which is never stored: columns that only differ in length bear an explicit inverse."""
    xp = _arrays.namespace(Y)
    eye = xp.eye(R.shape[0], dtype=R.dtype, device=R.device)
    R_inv = _arrays.solve_triangular(R / lengths, eye) / lengths[:, None]
    G = kernels.whiten.gram(Y, R_inv, Y[:, :0], None, False)[0]
    C = adjoint(xp.linalg.cholesky(G))
    M = wide(R_inv) @ _arrays.solve_triangular(C, wide(eye))
    return xp.astype(M, Y.dtype), xp.astype(C @ wide(R), Y.dtype)


def _twice(Y: Array, R: Array) -> tuple[Array, Array]:
    """Whiten by R row by row, which bears any condition, and then by Cholesky's factor; block by block, in the memory of the answer."""
    xp = _arrays.namespace(Y)
    X, G = xp.empty_like(Y), xp.zeros((Y.shape[1], Y.shape[1]), dtype=Y.dtype, device=Y.device)
    for offset, block in _arrays.row_blocks(Y, BLOCK):
        white = adjoint(_arrays.solve_triangular(R, adjoint(block), adjoint=True))
        X[offset : offset + BLOCK, :] = white
        G += adjoint(white) @ white
    C = adjoint(xp.linalg.cholesky(G))
    C_inv = _arrays.solve_triangular(C, xp.eye(R.shape[0], dtype=Y.dtype, device=Y.device))
    for offset, block in _arrays.row_blocks(X, BLOCK):
        X[offset : offset + BLOCK, :] = block @ C_inv
    return X, C @ R


def _condition(R: Array) -> float:
    s = host(_arrays.namespace(R).linalg.svdvals(R))
    return float(s[0] / s[-1]) if s[-1] > 0 else math.inf
