"""`reduced_rank_regression`: least squares for a matrix of coefficients of low rank."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor import _dense
from lowrank_la.factor._core import core, tails
from lowrank_la.factor._dense import adjoint, defect, gamma, norms, residual, wide

NAME = "reduced_rank_regression"
CLAIM = "||Y - X W||_F^2 + ridge ||W||_F^2 - minimum over W of this rank <= bound"
IN_RANGE = " (and with X W in the numerical range of X)"
BLOCK = 1 << 21  # numbers in a block of rows
GOOD = 0.1  # squared length of a basis vector, nominally 1, below which rounding has made it


@dataclass(frozen=True, repr=False)
class ReducedRankResult(Result):
    """Coefficients W = U diag(s) V^H of low rank.

    Attributes
    ----------
    U, s, V : array (d, r), (r,), (q, r), or with a leading batch axis
        W as a singular value decomposition.
    residual_norm : float or array (b,)
        ||Y - X W||_F.
    objective : float or array (b,)
        ||Y - X W||_F^2 + ridge ||W||_F^2, measured on the answer.
    minimum : float or array (b,)
        No W of this rank has a smaller objective; rounding errors are taken off.
    fitted_values : array (min(d, q),), real
        Singular values of the fit of full rank, X W (with its ridge rows); what a smaller rank gives away is their tail.
    normal_residual : float or array (b,)
        ||(X^H (Y - X W) - ridge W) V||_F, which vanishes at the minimum.
    numerical_rank : int
        Rank of X, or of X with its ridge rows (the smallest of a batch).
    certificate : Certificate
        Bounds objective - minimum (the largest of a batch).
    """

    U: Array
    s: Array
    V: Array
    residual_norm: Any
    objective: Any
    minimum: Any
    fitted_values: Array
    normal_residual: Any
    numerical_rank: int
    certificate: Certificate

    @property
    def rank(self) -> int:
        """Number of singular triplets."""
        return self.s.shape[-1]

    def to_dense(self) -> Array:
        """Form W."""
        return (self.U * self.s[..., None, :]) @ adjoint(self.V)


def reduced_rank_regression(X: Array, Y: Array, rank: int, *, ridge: float = 0.0) -> ReducedRankResult:
    """Minimise ||Y - X W||_F^2 + ridge ||W||_F^2 over all W of rank at most r, in closed form.

    An orthonormal basis of the range of X turns the problem into the best approximation
    of rank r of the coordinates of Y, which its singular values give.

    Parameters
    ----------
    X : array (n, d) or (b, n, d), real or complex
        Predictors, one observation a row; a leading axis is a batch of problems.
    Y : array (n, q) or (b, n, q)
        Responses.
    rank : int, 1 <= rank <= min(d, q)
        Rank r.
    ridge : float, ridge >= 0
        Weight of ||W||_F^2, in squared units of X.

    Returns
    -------
    ReducedRankResult
        U, s, V, residual_norm, objective, minimum, fitted_values, normal_residual, numerical_rank
        and certificate.

    Raises
    ------
    ValueError
        Y does not fit X, rank or ridge is out of range, an array is empty, or an entry is not finite.
    TypeError
        X or Y is no array of numbers, or they belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        X is rank deficient to working precision (columns scaled to equal length): W is then of
        least norm in scaled units, and the certificate speaks of W with X W in the numerical range of X.

    Notes
    -----
    Cost: 2 n d^2 flops for a QR factorization (R only), 2 n d (2 d + q) for the basis and
    coordinates in float64, 4 n r (d + q) for the residual, and SVDs of d x d and d x q matrices. No normal equations
    of X: P = R^-1 makes X P nearly orthonormal, and only the Gram matrix of X P is taken, to
    repair what rounding left. Memory: one copy of X with its ridge rows, and blocks of rows.

    Certificate: by the theorem of Eckart and Young the minimum is ||Y||^2 - sum_(i <= r) sigma_i^2
    for the singular values sigma_i of Q^H Y, Q any orthonormal basis of the range of X (with
    ridge: of X on top of sqrt(ridge) I). The error of the computed Q, which grows with the condition number of X,
    is bounded and taken off; the objective of the answer is measured, and rounding is added.

    References
    ----------
    .. [1] Izenman, Reduced-rank regression for the multivariate linear model, J. Multivariate
       Anal. 5, 1975. The closed form.
    .. [2] Mukherjee and Zhu, Reduced rank ridge regression and its kernel extensions, Stat. Anal. Data Min. 4, 2011.
       Ridge by additional rows.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import reduced_rank_regression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 30))
    >>> W = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 20))
    >>> Y = X @ W + 0.1 * rng.standard_normal((500, 20))
    >>> result = reduced_rank_regression(X, Y, 3)
    >>> bool(np.linalg.norm(result.to_dense() - W) < 0.03 * np.linalg.norm(W))
    True
    >>> result.certificate.bound < 1e-7 * result.objective
    True
    """
    door, [X, Y] = _dense.enter(NAME, X=X, Y=Y)
    _checks.ndim(NAME, "X", X, (2, 3))
    _dense.same_batch(NAME, "Y", Y, X, "X")
    if Y.shape[-2] != X.shape[-2]:
        raise ValueError(f"{NAME}: Y must have {X.shape[-2]} rows, as many as X; got shape {tuple(Y.shape)}")
    rank = _checks.integer(NAME, "rank", rank, 1, min(X.shape[-1], Y.shape[-1]))
    ridge = _checks.real(NAME, "ridge", ridge, 0)

    P = _whitening(X, ridge)
    fit = _coordinates(X, Y, P, ridge)
    C, sigma, Zh = door.xp.linalg.svd(fit.C, full_matrices=False)
    cut = core(P @ (fit.K @ C[..., :, :rank]), sigma[..., :rank], adjoint(Zh)[..., :, :rank]).truncate(rank)
    U, s, V = (door.xp.astype(x, dtype, copy=False) for x, dtype in ((cut.U, X.dtype), (cut.s, door.real_dtype), (cut.V, X.dtype)))

    measured = _measure(X, Y, U, s, V, ridge)
    least = _minimum(Y, fit, (C, sigma, Zh), rank)
    full = min(X.shape[-2] if not ridge else X.shape[-1], X.shape[-1])
    numerical_rank = int(np.min(fit.rank))
    if numerical_rank < full:
        message = f"{NAME}: X has numerical rank {numerical_rank} of {full}; W is of least norm"
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    claim = CLAIM + IN_RANGE if numerical_rank < full else CLAIM
    return ReducedRankResult(
        U=door.leave(U),
        s=door.leave(s),
        V=door.leave(V),
        residual_norm=_dense.number(door, measured.residual, X),
        objective=_dense.number(door, measured.objective, X),
        minimum=_dense.number(door, least, X),
        fitted_values=door.leave(sigma),
        normal_residual=_dense.number(door, measured.normal, X),
        numerical_rank=numerical_rank,
        certificate=_dense.always(claim, measured.bound - least, "Eckart-Young"),
    )


def _whitening(X: Array, ridge: float) -> Array:
    """Return P in float64 such that X P (with ridge rows) has nearly orthonormal columns, or columns 0."""
    xp = _arrays.namespace(X)
    if ridge:
        X = xp.concat([X, math.sqrt(ridge) * _dense.eye(xp, X.shape[-1], X)], axis=-2)
    scale = xp.linalg.vector_norm(X, axis=-2)
    scale = xp.where(scale > 0, scale, xp.ones_like(scale))
    R = _arrays.triangular_factor(X / scale[..., None, :])
    _, d, Vh = xp.linalg.svd(R, full_matrices=False)
    cutoff = max(X.shape[-2:]) * float(xp.finfo(X.dtype).eps) * d[..., :1]
    inverse = xp.where(d > cutoff, 1 / xp.where(d > cutoff, d, xp.ones_like(d)), xp.zeros_like(d))
    return wide(adjoint(Vh) * inverse[..., None, :]) / wide(scale)[..., :, None]


@dataclass(frozen=True)
class _Coordinates:
    """Y in the basis N K of the range of X, N = X P; K repairs N, whose Gram matrix is not quite I.

    Attributes
    ----------
    C : array (k, q)
        (N K)^H Y.
    K : array (k, k)
    rank : array of int
        Columns of K that are not 0.
    skew : array
        Bound on the distance of the squared singular values of N K from 1.
    slack : array
        Bound on the rounding errors of C.
    """

    C: Array
    K: Array
    rank: np.ndarray
    skew: np.ndarray
    slack: np.ndarray


def _coordinates(X: Array, Y: Array, P: Array, ridge: float) -> _Coordinates:
    """Make an orthonormal basis by eigenvalues of the Gram matrix of N, and bound what that leaves."""
    xp = _arrays.namespace(X)
    n, d, k = *X.shape[-2:], P.shape[-1]
    G, F = ridge * (adjoint(P) @ P), xp.zeros((*P.shape[:-2], k, Y.shape[-1]), dtype=P.dtype, device=P.device)
    for rows in _blocks(X, Y):
        N = wide(X[..., rows, :]) @ P
        G, F = G + adjoint(N) @ N, F + adjoint(N) @ wide(Y[..., rows, :])
    g, E = xp.linalg.eigh((G + adjoint(G)) / 2)
    good = g > GOOD
    root = xp.where(good, 1 / xp.sqrt(xp.where(good, g, xp.ones_like(g))), xp.zeros_like(g))
    K = E * root[..., None, :]
    N_size = np.sqrt(np.maximum(_dense.host(xp.sum(g, axis=-1)), 0.0))
    N_slack = gamma(d + 4, P) * _dense.product_size(X, P) + gamma(4, P) * math.sqrt(ridge) * norms(P)
    Y_size, stretch = norms(Y), _dense.host(xp.max(root, axis=-1))
    sums = gamma(n + d + 8, P)
    G_slack = sums * N_size**2 + 2 * N_size * N_slack + N_slack**2 + residual(G, E * g[..., None, :], adjoint(E))
    turned = defect(E)
    skew = stretch**2 * (G_slack + (2 * turned + turned**2) * np.max(_dense.host(xp.abs(g)), axis=-1))
    slack = stretch * (sums * N_size + N_slack) * Y_size + gamma(k + 4, P) * _dense.product_size(adjoint(K), F)
    return _Coordinates(adjoint(K) @ F, K, np.asarray(_dense.host(xp.sum(xp.astype(good, xp.int64), axis=-1))), skew, slack)


def _minimum(Y: Array, fit: _Coordinates, svd: tuple[Array, Array, Array], rank: int) -> np.ndarray:
    """Bound the objective of every W of this rank from below."""
    C, sigma, Zh = svd
    kept = tails(sigma)
    captured = np.sqrt(np.maximum(kept[..., 0] ** 2 - kept[..., min(rank, kept.shape[-1] - 1)] ** 2, 0.0))
    wrong = fit.slack + residual(fit.C, C * sigma[..., None, :], Zh)
    captured = captured * (1 + defect(C)) * (1 + defect(adjoint(Zh))) * (1 + gamma(sigma.shape[-1] + 8, C)) + wrong
    size = norms(Y)
    energy = size**2 * (1 - gamma(math.prod(Y.shape[-2:]) + 4, Y))
    with np.errstate(divide="ignore"):
        return np.maximum(energy - np.where(fit.skew < 1, captured**2 / np.maximum(1 - fit.skew, 0.0), np.inf), 0.0)


@dataclass(frozen=True)
class _Measured:
    residual: np.ndarray
    objective: np.ndarray
    bound: np.ndarray
    normal: np.ndarray


def _measure(X: Array, Y: Array, U: Array, s: Array, V: Array, ridge: float) -> _Measured:
    """Measure the objective of the answer in float64, block by block, and bound it."""
    xp = _arrays.namespace(X)
    left, right = wide(U) * wide(s)[..., None, :], wide(V)
    squares, cross = np.asarray(0.0), -ridge * left @ (adjoint(right) @ right)
    for rows in _blocks(X, Y):
        block = wide(X[..., rows, :])
        E = wide(Y[..., rows, :]) - (block @ left) @ adjoint(right)
        squares = squares + norms(E) ** 2
        cross = cross + adjoint(block) @ (E @ right)
    size = norms(left)
    rounding = (gamma(X.shape[-1] + 4, left) + gamma(left.shape[-1] + 4, left)) * norms(X) * size * norms(right)
    found = np.sqrt(squares)
    penalty = ridge * norms(left @ adjoint(right)) ** 2 if ridge else np.asarray(0.0)
    count = gamma(math.prod(Y.shape[-2:]) + U.shape[-2] * V.shape[-2] + 8, left)
    bound = (found * (1 + count) + rounding) ** 2 + penalty * (1 + count) + 2 * ridge * gamma(left.shape[-1] + 4, left) * size**2
    return _Measured(found, squares + penalty, bound, norms(xp.asarray(cross)))


def _blocks(X: Array, Y: Array) -> Iterator[slice]:
    n, width = X.shape[-2], X.shape[-1] + Y.shape[-1]
    height = max(1, BLOCK // (width * math.prod(X.shape[:-2])))
    for start in range(0, n, height):
        yield slice(start, min(start + height, n))
