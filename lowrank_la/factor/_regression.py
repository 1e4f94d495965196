"""`reduced_rank_regression`: least squares for a matrix of coefficients of low rank."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor import _dense
from lowrank_la.factor._core import core
from lowrank_la.factor._dense import adjoint, gamma, norms, wide
from lowrank_la.factor._partial import leading
from lowrank_la.sketching import SparseSign

NAME = "reduced_rank_regression"
METHODS = ("auto", "exact")
TALL = 8  # rows for each column of X, from which a sketch is taken for the triangular factor
CLAIM = "||Y - X W||_F^2 + ridge ||W||_F^2 - minimum over W of this rank <= bound"
IN_RANGE = " (and with X W in the numerical range of X)"
BLOCK, HEIGHT = 1 << 21, 2048  # numbers, and rows at most, in a block
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
        Singular values of the fit of full rank, X W (with its ridge rows); what a smaller rank gives away is
        their tail. Only r of them where `svd` was used.
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


def reduced_rank_regression(
    X: Array, Y: Array, rank: int, *, ridge: float = 0.0, method: str = "auto", rng: _random.RNG = None
) -> ReducedRankResult:
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
    method : {"auto", "exact"}
        "exact": LAPACK. "auto": `svd` for many predictors and responses of which few singular values are wanted.
    rng : None, int or numpy.random.Generator
        For sketches and `svd`; an int gives the same answer on every backend, to rounding.

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
    Cost: a sparse-sign sketch and its QR factorization (of X itself, if n < 8 d), 2 n d (2 d + q) flops for the basis
    and coordinates in float64, 4 n r (d + q) for the residual, and the SVD of a d x q matrix or, where both are
    large, `svd`. No normal equations of X: P = R^-1 makes X P nearly orthonormal, and only the Gram matrix of X P
    is taken, to repair what the sketch or rounding left. Memory: the sketch, and blocks of rows.

    Certificate: by the theorem of Eckart and Young the minimum is ||Y||^2 - sum_(i <= r) sigma_i^2
    for the singular values sigma_i of Q^H Y, Q any orthonormal basis of the range of X (with
    ridge: of X on top of sqrt(ridge) I). The error of the computed Q, which grows with the condition number of X,
    is bounded and taken off; the objective of the answer is measured, and rounding is added. Always
    true, but with probability 0.99 where `svd` was used.

    References
    ----------
    .. [1] Izenman, Reduced-rank regression for the multivariate linear model, J. Multivariate
       Anal. 5, 1975. The closed form.
    .. [2] Rokhlin and Tygert, A fast randomized algorithm for overdetermined linear
       least-squares regression, PNAS 105(36), 2008. The sketched triangular factor.
    .. [3] Mukherjee and Zhu, Reduced rank ridge regression and its kernel extensions, Stat. Anal. Data Min. 4, 2011.
       Ridge by additional rows.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import reduced_rank_regression
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 30))
    >>> W = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 20))
    >>> Y = X @ W + 0.1 * rng.standard_normal((500, 20))
    >>> result = reduced_rank_regression(X, Y, 3, rng=0)
    >>> bool(np.linalg.norm(result.to_dense() - W) < 0.03 * np.linalg.norm(W))
    True
    >>> result.certificate.bound < 1e-5 * result.objective
    True
    """
    door, [X, Y] = _dense.enter(NAME, X=X, Y=Y)
    _checks.ndim(NAME, "X", X, (2, 3))
    _dense.same_batch(NAME, "Y", Y, X, "X")
    if Y.shape[-2] != X.shape[-2]:
        raise ValueError(f"{NAME}: Y must have {X.shape[-2]} rows, as many as X; got shape {tuple(Y.shape)}")
    rank = _checks.integer(NAME, "rank", rank, 1, min(X.shape[-1], Y.shape[-1]))
    ridge = _checks.real(NAME, "ridge", ridge, 0)
    method = _checks.choice(NAME, "method", method, METHODS)
    seed = _random.seed_of(NAME, rng)

    P, fit = _basis(X, Y, ridge, seed)
    lead = leading(fit.C, P.dtype, rank, method == "exact", seed)
    cut = core(P @ (fit.K @ lead.W), lead.values[..., :rank], lead.Z).truncate(rank)
    U, s, V = (door.xp.astype(x, dtype, copy=False) for x, dtype in ((cut.U, X.dtype), (cut.s, door.real_dtype), (cut.V, X.dtype)))

    measured = _measure(X, Y, U, s, V, ridge)
    least = _minimum(Y, fit, lead.tail)
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
        fitted_values=door.leave(lead.values),
        normal_residual=_dense.number(door, measured.normal, X),
        numerical_rank=numerical_rank,
        certificate=Certificate(claim, float(np.max(measured.bound - least)), lead.confidence, "Eckart-Young"),
    )


def _basis(X: Array, Y: Array, ridge: float, seed: int) -> tuple[Array, _Coordinates]:
    """Return P with X P (ridge rows included) nearly orthonormal, and what Y is in this basis."""
    xp = _arrays.namespace(X)
    scale = xp.sqrt(xp.linalg.vector_norm(X, axis=-2) ** 2 + ridge)
    scale = xp.where(scale > 0, scale, xp.ones_like(scale))
    R = _triangle(X, ridge, scale, seed)
    roundoff = max(X.shape[-2:]) * float(xp.finfo(X.dtype).eps)
    if R.shape[-2] == R.shape[-1] and _dense.invertible(R, 10 * roundoff):
        P = wide(_dense.solve_triangular(R, _dense.eye(xp, R.shape[-1], R))) / wide(scale)[..., :, None]
        fit = _coordinates(X, Y, P, ridge)
        if np.all(fit.rank == R.shape[-1]):
            return P, fit
    _, d, Vh = xp.linalg.svd(R, full_matrices=False)
    kept = d > roundoff * d[..., :1]
    inverse = xp.where(kept, 1 / xp.where(kept, d, xp.ones_like(d)), xp.zeros_like(d))
    P = wide(adjoint(Vh) * inverse[..., None, :]) / wide(scale)[..., :, None]
    return P, _coordinates(X, Y, P, ridge)


def _triangle(X: Array, ridge: float, scale: Array, seed: int) -> Array:
    """Return R whose inverse whitens X with scaled columns and its ridge rows: of X or, if it is tall, of a sketch."""
    xp, (n, d) = _arrays.namespace(X), X.shape[-2:]
    rows = X
    if X.ndim == 2 and n >= TALL * max(d, 8):
        rows = SparseSign(max(4 * d, 16), n, rng=seed).apply(X)
    if ridge:
        rows = xp.concat([rows, math.sqrt(ridge) * _dense.eye(xp, d, X)], axis=-2)
    return _arrays.triangular_factor(rows / scale[..., None, :])


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
    """Make an orthonormal basis by the Gram matrix of N, and bound what that leaves."""
    xp = _arrays.namespace(X)
    n, d, k = *X.shape[-2:], P.shape[-1]
    G, F = ridge * (adjoint(P) @ P), xp.zeros((*P.shape[:-2], k, Y.shape[-1]), dtype=P.dtype, device=P.device)
    for rows in _blocks(X, Y):
        N = wide(X[..., rows, :]) @ P
        G, F = G + adjoint(N) @ N, F + adjoint(N) @ wide(Y[..., rows, :])
    K, kept, stretch = _repair((G + adjoint(G)) / 2)
    Kh = adjoint(K)
    N_size = np.sqrt(_dense.host(xp.sum(xp.abs(xp.linalg.diagonal(G)), axis=-1)))
    N_slack = gamma(d + 4, P) * _dense.product_size(X, P) + gamma(4, P) * math.sqrt(ridge) * norms(P)
    height = _height(X, Y)
    sums = gamma(height + n // height + d + 8, P)
    G_slack = sums * N_size**2 + 2 * N_size * N_slack + N_slack**2
    skew = norms(Kh @ G @ K - kept) + 2 * gamma(k + 4, P) * norms(K) ** 2 * norms(G) + stretch**2 * G_slack
    slack = stretch * (sums * N_size + N_slack) * norms(Y) + gamma(k + 4, P) * _dense.product_size(Kh, F)
    rank = np.round(_dense.host(xp.sum(xp.real(xp.linalg.diagonal(kept)), axis=-1)))
    return _Coordinates(Kh @ F, K, rank, skew, slack)


def _repair(G: Array) -> tuple[Array, Array, np.ndarray]:
    """Return K with K^H G K = I, or a part of I where G is bad, that part, and a bound on ||K||_2."""
    xp = _arrays.namespace(G)
    one = _dense.eye(xp, G.shape[-1], G)
    C = _dense.cholesky(G)
    if C is not None and float(xp.min(xp.abs(xp.linalg.diagonal(C)))) > GOOD:
        K = _dense.solve_triangular(C, one)
        return K, one, np.sqrt(_dense.host(xp.linalg.matrix_norm(K, ord=1)) * _dense.host(xp.linalg.matrix_norm(K, ord=math.inf)))
    g, E = xp.linalg.eigh(G)
    good = g > GOOD
    root = xp.where(good, 1 / xp.sqrt(xp.where(good, g, xp.ones_like(g))), xp.zeros_like(g))
    kept = one * xp.astype(good, G.dtype)[..., None, :]
    return E * root[..., None, :], kept, _dense.host(xp.max(root, axis=-1))


def _minimum(Y: Array, fit: _Coordinates, tail: np.ndarray) -> np.ndarray:
    """Bound the objective of every W of this rank from below, given that no matrix of this rank is nearer to C than `tail`."""
    most = np.sqrt(np.maximum(norms(fit.C) ** 2 * (1 + gamma(math.prod(fit.C.shape[-2:]) + 4, fit.C)) - np.maximum(tail, 0.0) ** 2, 0.0))
    captured = most + fit.slack
    energy = norms(Y) ** 2 * (1 - gamma(math.prod(Y.shape[-2:]) + 4, Y))
    room = np.maximum(1 - fit.skew, 0.0)
    return np.maximum(np.where(room > 0, energy - captured**2 / np.where(room > 0, room, 1), 0.0), 0.0)


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
    n, height = X.shape[-2], _height(X, Y)
    for start in range(0, n, height):
        yield slice(start, min(start + height, n))


def _height(X: Array, Y: Array) -> int:
    """Return the rows of a block, few enough that sums by blocks also round less than the long ones."""
    return max(1, min(HEIGHT, BLOCK // ((X.shape[-1] + Y.shape[-1]) * math.prod(X.shape[:-2]))))
