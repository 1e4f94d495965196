"""`polar`: the nearest matrix with orthonormal columns, and the positive semidefinite rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, defect, gamma, norms, residual, wide

NAME = "polar"
METHODS = ("auto", "svd", "qdwh", "newton-schulz")
CLAIM = "||U^H U - I||_F (U U^H for a wide A) and ||A - U H||_F / ||A||_F <= bound"
BY_QR = 100.0  # a step with a larger weight needs the stability of a QR factorization
MOST_STEPS = 100


@dataclass(frozen=True, repr=False)
class PolarResult(Result):
    """A = U H.

    Attributes
    ----------
    U : array (m, n), or with a leading batch axis
        Orthonormal columns (rows, if m < n): nearest to A in the Frobenius norm.
    H : array (n, n)
        Hermitian positive semidefinite, (A^H A)^(1/2).
    U_bound : float or array (b,)
        Bound on ||U - U*||_F for the exact U*; inf where A is singular to working precision, for U* is then not unique.
    n_iter : int
        Steps of the iteration; 0 for "svd".
    method : str
        The method that gave the answer.
    certificate : Certificate
        Bounds orthogonality and residual (the larger one, and the largest of a batch).
    """

    U: Array
    H: Array
    U_bound: Any
    n_iter: int
    method: str
    certificate: Certificate


def polar(A: Array, *, method: str = "auto") -> PolarResult:
    """Factor A = U H: U with orthonormal columns, H Hermitian positive semidefinite.

    Parameters
    ----------
    A : array (m, n) or (b, m, n), real or complex
        A leading axis is a batch. If m < n, the rows of U are orthonormal.
    method : {"auto", "svd", "qdwh", "newton-schulz"}
        "svd": U = W V^H. "qdwh": rational iteration with dynamic weights, at most 6 or 7 steps.
        "newton-schulz": matrix products only, after one QR factorization; for well-conditioned A
        and for processors where products are all that is fast. If an iteration does not end in
        orthonormal columns, as may happen for singular A, the SVD takes over.
        "auto": "qdwh" on a GPU, else "svd", which LAPACK does 2 to 3 times faster than either iteration.

    Returns
    -------
    PolarResult
        U, H, U_bound, n_iter, method and certificate.

    Raises
    ------
    ValueError
        A is empty, not 2- or 3-dimensional, has an entry that is not finite, or the method is unknown.
    TypeError
        A is no array of numbers.

    Notes
    -----
    Cost in units of n^3 flops, for m = n: SVD about 20, with poor use of the processor. QDWH: 5 for a QR
    factorization of A, 5 for each of up to 3 steps by QR, 4 for each of up to 4 steps by linear solves.
    Newton-Schulz: 5, and 4 for each of about 5 + log(cond(A)) steps. A tall A is reduced to n x n first.
    Memory: some 5 arrays like A.

    Convergence: A is divided by an upper bound of its norm, and a lower bound l of its smallest
    singular value comes from the inverse of R. All singular values then stay in [l, 1] while each step
    moves l towards 1 as fast as its degree allows; for Newton-Schulz, by the scaling of [3]_.

    Certificate: both norms are computed in float64 from the answer, rounding errors included. For
    `U_bound`, U H is compared with the exact polar decomposition of a matrix near it, and
    ||U - U*||_F <= 2 ||E||_F / (sigma_min(A) + sigma_min(A + E)) [4]_.
    Rounding errors are bounded by their worst case, which for n = 1000 is some hundred times what occurs.

    References
    ----------
    .. [1] Nakatsukasa, Bai and Gygi, Optimizing Halley's iteration for computing the matrix polar
       decomposition, SIAM J. Matrix Anal. Appl. 31, 2010. QDWH and its weights.
    .. [2] Higham, Functions of Matrices, SIAM 2008, chapter 8. Newton-Schulz.
    .. [3] Chen and Chow, A stable scaling of Newton-Schulz for improving the sign function computation
       of a Hermitian matrix, Argonne ANL/MCS-P5059-0114, 2014.
    .. [4] Li and Sun, Perturbation bounds of unitary and subunitary polar factors, SIAM J. Matrix Anal. Appl. 23, 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import polar
    >>> A = np.random.default_rng(0).standard_normal((300, 40))
    >>> result = polar(A)
    >>> bool(np.allclose(result.U @ result.H, A))
    True
    >>> result.certificate.bound < 1e-11
    True
    """
    method = _checks.choice(NAME, "method", method, METHODS)
    door, [A] = _dense.enter(NAME, A=A)
    _checks.ndim(NAME, "A", A, (2, 3))
    if method == "auto":
        method = "qdwh" if _arrays.engine_of(A) == "cuda" else "svd"
    is_wide = A.shape[-2] < A.shape[-1]
    B = adjoint(A) if is_wide else A

    Z, n_iter = _by_svd(B), 0
    if method != "svd":
        Z, n_iter = _by_iteration(B, _qdwh if method == "qdwh" else _newton_schulz)
        if not np.all(defect(Z) <= math.sqrt(_arrays.unit_roundoff(door.xp, A.dtype))):
            Z, method = _by_svd(B), "svd"
    K = adjoint(Z) @ B
    K = (K + adjoint(K)) / 2
    U, H = (adjoint(Z), Z @ K @ adjoint(Z)) if is_wide else (Z, K)
    H = (H + adjoint(H)) / 2 if is_wide else H
    skew, size = defect(Z), norms(A)
    lost = residual(B, Z, K)
    error = residual(A, U, H) if is_wide else lost
    return PolarResult(
        U=door.leave(U),
        H=door.leave(H),
        U_bound=_dense.number(door, _distance(B, K, skew, lost), A),
        n_iter=n_iter,
        method=method,
        certificate=_dense.always(CLAIM, np.maximum(skew, error / np.where(size > 0, size, 1)), "residual"),
    )


def _by_svd(B: Array) -> Array:
    W, _, Zh = _arrays.namespace(B).linalg.svd(B, full_matrices=False)
    return W @ Zh


def _by_iteration(B: Array, step: Callable[[Array, float], tuple[Array, float]]) -> tuple[Array, int]:
    """Reduce B to a triangle, scale it, and let steps drive its singular values to 1."""
    xp = _arrays.namespace(B)
    roundoff = _arrays.unit_roundoff(xp, B.dtype)
    Q, X = xp.linalg.qr(B, mode="reduced")
    bound = xp.minimum(xp.linalg.matrix_norm(X), xp.sqrt(xp.linalg.matrix_norm(X, ord=1) * xp.linalg.matrix_norm(X, ord=math.inf)))
    X = X / xp.where(bound > 0, bound, xp.ones_like(bound))[..., None, None]
    least, n_iter = _smallest(X, roundoff), 0
    while 1 - least > roundoff and n_iter < MOST_STEPS:
        X, least = step(X, least)
        n_iter += 1
    return Q @ X, n_iter


def _smallest(R: Array, roundoff: float) -> float:
    """Bound the singular values of a triangle (of all in a batch) from below, by its inverse."""
    xp = _arrays.namespace(R)
    diagonal = xp.abs(xp.linalg.diagonal(R))
    if float(xp.min(diagonal)) <= R.shape[-1] * roundoff:
        return roundoff
    largest = float(np.max(norms(_dense.solve_triangular(R, _dense.eye(xp, R.shape[-1], R)))))
    return min(max(1 / largest, roundoff), 1.0) if math.isfinite(largest) else roundoff


def _qdwh(X: Array, least: float) -> tuple[Array, float]:
    """One step X (a + b X^H X) (1 + c X^H X)^-1, with the weights that are best for singular values in [least, 1]."""
    xp = _arrays.namespace(X)
    l2 = least * least
    d = (4 * (1 - l2) / l2**2) ** (1 / 3)
    root = math.sqrt(1 + d)
    a = root + 0.5 * math.sqrt(8 - 4 * d + 8 * (2 - l2) / (l2 * root))
    b = (a - 1) ** 2 / 4
    c = a + b - 1
    n, one = X.shape[-1], _dense.eye(xp, X.shape[-1], X)
    if c > BY_QR:
        Q, _ = xp.linalg.qr(xp.concat([math.sqrt(c) * X, one], axis=-2), mode="reduced")
        rest = (a - b / c) / math.sqrt(c) * (Q[..., :-n, :] @ adjoint(Q[..., -n:, :]))
    else:
        rest = (a - b / c) * adjoint(xp.linalg.solve(one + c * (adjoint(X) @ X), adjoint(X)))
    return (b / c) * X + rest, min(1.0, least * (a + b * l2) / (1 + c * l2))


def _newton_schulz(X: Array, least: float) -> tuple[Array, float]:
    """One step of degree 3, scaled so that [least, 1] is mapped onto the shortest possible [l, 1]."""
    scale = math.sqrt(3 / (1 + least + least * least))
    scaled = scale * X
    return 1.5 * scaled - 0.5 * scaled @ (adjoint(scaled) @ scaled), min(1.0, scale * least * (1.5 - 0.5 * (scale * least) ** 2))


def _distance(B: Array, K: Array, skew: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Bound the distance of Z from the exact polar factor of B, given ||Z^H Z - I|| and ||B - Z K||.

    With the exact polar factor P of Z and the positive part of K, P K_+ is an exact polar decomposition near B.
    """
    xp = _arrays.namespace(K)
    values = _dense.host(xp.linalg.eigvalsh(wide(K)))
    size = norms(K)
    rounding = gamma(10 * K.shape[-1], K) * size
    negative = np.sqrt((np.minimum(values, 0) ** 2).sum(axis=-1))
    away = lost + skew * size + negative + rounding
    least = values[..., 0] - rounding
    room = 2 * least - away
    with np.errstate(divide="ignore"):
        return np.where(room > 0, 2 * away / np.where(room > 0, room, 1), np.inf) + skew
