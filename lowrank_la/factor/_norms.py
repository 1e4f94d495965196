"""How large a matrix is: its norms, and bounds on the largest eigenvalue of a semidefinite one, from products."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor import _matrix, _probes, _square
from lowrank_la.factor._lanczos import Krylov, block_lanczos
from lowrank_la.factor._matrix import Matrix

NAME = "norm_estimate"
CLAIM = "lower <= the norm of A <= bound"
BLOCK = 4  # vectors of a start: with b of them the chance that all miss an eigenvector falls with power b
NORMS = (2, "fro", 1, math.inf)
MOST_STEPS = 120
PROBES = 60  # for the Frobenius norm of an operator
GRID, ROUNDS = 64, 4  # points of a logarithmic grid and refinements, in the search for the largest eigenvalue
NEAREST = 1e-13  # relative distance from a Ritz value below which rounding errors hide the eigenvalue
ROUNDING = 10  # roundoff units times sqrt(n): errors of products, relative to the largest eigenvalue


@dataclass(frozen=True, repr=False)
class NormResult(Result):
    """A norm of a matrix, between two bounds.

    Attributes
    ----------
    value : float
        The norm, or an estimate.
    lower, upper : float
        Bounds.
    passes : int
        How often A was read.
    method : str
        The method that ran.
    converged : bool
        Whether the bounds are as close as asked.
    certificate : Certificate
        Its bound is `upper`.
    """

    value: float
    lower: float
    upper: float
    passes: int
    method: str
    converged: bool
    certificate: Certificate


def norm_estimate(
    A: Any,
    ord: float | str = 2,
    *,
    tol: float = 0.01,
    delta: float = 1e-6,
    like: Array | None = None,
    rng: _random.RNG = None,
) -> NormResult:
    """Enclose a norm of a matrix between bounds, by a few products where entries do not give it.

    Parameters
    ----------
    A : array (n, d), sparse matrix, linear operator, row blocks, or function
        A function A(X) multiplies by a square Hermitian matrix and needs `like`.
    ord : {2, "fro", 1, inf}
        Spectral norm, Frobenius norm, largest sum of absolute values of a column, or of a row.
    tol : float, tol > 0
        For the spectral norm: go on until upper <= (1 + tol) * lower.
    delta : float, 0 < delta < 1
        Chance that the norm is not between the bounds.
    like : array (n,), optional
        For a function: gives the order, the namespace, device and dtype of the X it takes, of shape (n, k).
    rng : None, int or numpy.random.Generator
        An int gives the same random vectors on every backend.

    Returns
    -------
    NormResult
        value, lower, upper, passes, method, converged and certificate.

    Raises
    ------
    ValueError
        A is empty or not finite, a function is not square, the norm needs entries that an operator
        does not have, or an argument is out of range.
    TypeError
        A is no matrix, or an argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The bounds of the spectral norm are further apart than tol after 120 steps.

    Notes
    -----
    Spectral norm: block Lanczos for A^H A, or A A^H if that is smaller, from four Gaussian vectors; each step
    multiplies four vectors by A and by A^H and keeps four more of length min(n, d). `lower` is the root of
    the largest Ritz value. `upper` rests on the part of the first singular vector in the start, whose law is
    known: with it, the computed Lanczos matrix leaves room only for singular values below `upper`, and for
    no others. This is never worse than the bound of Kuczynski and Wozniakowski [1]_, which must allow for
    every spectrum, and far better where the spectrum is kinder. One event covers all steps, so that
    stopping at the right one costs no confidence.

    Frobenius norm, and the norms 1 and inf: exact, in one pass over the entries. The Frobenius norm of an
    operator comes from products with 60 Gaussian vectors; its bounds hold for every spectrum, since an
    error of rank one is the worst case [2]_.

    References
    ----------
    .. [1] Kuczynski and Wozniakowski, Estimating the largest eigenvalue by the power and Lanczos algorithms
       with a random start, SIAM J. Matrix Anal. Appl. 13, 1992.
    .. [2] Roosta-Khorasani, Szekely and Ascher, Assessing stochastic algorithms for large scale nonlinear least
       squares problems using extremal probabilities of linear combinations of gamma random variables,
       SIAM/ASA J. Uncertainty Quantification 3, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import norm_estimate
    >>> A = np.random.default_rng(0).standard_normal((500, 300))
    >>> result = norm_estimate(A, rng=0)
    >>> bool(result.lower <= np.linalg.norm(A, 2) <= result.upper < 1.01 * result.lower)
    True
    """
    ord = _checks.choice(NAME, "ord", next((norm for norm in NORMS if ord == norm), ord), NORMS)
    tol = _checks.real(NAME, "tol", tol, 0, open=True)
    delta = _checks.real(NAME, "delta", delta, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    matrix = _matrix.enter(NAME, "A", A) if like is None else _square.enter(NAME, A, like)
    if 0 in matrix.shape:
        raise ValueError(f"{NAME}: A must not be empty; got shape {matrix.shape}")
    if ord == 2:
        with _square.one_blas_thread(matrix):
            return _spectral(matrix, tol, delta, seed)
    if matrix.squared_norm is not None:
        return _from_entries(matrix, ord)
    if ord != "fro":
        raise ValueError(f"{NAME}: ord must be 2 or 'fro' for an operator, whose entries are not at hand; got {ord!r}")
    return _frobenius(matrix, delta, seed)


def _spectral(matrix: Matrix, tol: float, delta: float, seed: int) -> NormResult:
    """Take Lanczos steps for the Gram matrix until the bounds are close."""
    side = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.H
    n = side.shape[1]
    krylov, steps = block_lanczos(side.gram_times, _probes.gaussian(matrix.like, n, min(BLOCK, n), seed, NAME), 1), 1
    while True:
        low, high = enclose_largest(krylov, n, steps, delta, matrix.roundoff)
        lower, upper = math.sqrt(low), math.sqrt(high)
        converged = upper <= (1 + tol) * lower
        if converged or krylov.finished or steps >= MOST_STEPS:
            break
        more = min(max(3, steps // 3), MOST_STEPS - steps)
        krylov, steps = krylov.grown(side.gram_times, more), steps + more
    if not converged:
        warnings.warn(f"{NAME}: upper / lower - 1 = {upper / lower - 1:.2g} is above tol = {tol:.2g}", ConvergenceWarning, stacklevel=3)
    certificate = Certificate(CLAIM, upper, 1 - delta, "block Lanczos")
    return NormResult(lower, lower, upper, matrix.passes, "lanczos", converged, certificate)


def _from_entries(matrix: Matrix, ord: float | str) -> NormResult:
    """Read a norm off the entries."""
    if ord == "fro":
        value, u = math.sqrt(matrix.squared_norm or 0.0), float(np.finfo(float).eps)
    else:
        value, u = (_largest_column if ord == 1 else _largest_row)(matrix), matrix.roundoff
    slack = ROUNDING * max(matrix.shape) ** 0.5 * u * value
    certificate = Certificate(CLAIM, value + slack, 1.0, "entries")
    return NormResult(value, value - slack, value + slack, matrix.passes, "exact", True, certificate)


def _largest_column(matrix: Matrix) -> float:
    sums: Any = 0.0
    for _, block in matrix.blocks():
        sums = sums + _absolute_sums(block, 0)
    return float(_arrays.namespace(sums).max(sums))


def _largest_row(matrix: Matrix) -> float:
    sums = (_absolute_sums(block, 1) for _, block in matrix.blocks())
    return max(float(_arrays.namespace(part).max(part)) for part in sums if part.shape[0])


def _absolute_sums(block: Any, axis: int) -> Array:
    if _arrays.is_sparse(block):
        return abs(block).sum(axis=axis).reshape(-1)
    xp = _arrays.namespace(block)
    return xp.sum(xp.abs(block), axis=axis)


def _frobenius(matrix: Matrix, delta: float, seed: int) -> NormResult:
    """Multiply Gaussian vectors; the two tails share delta."""
    from scipy.special import gammainccinv, gammaincinv

    X = _probes.gaussian(matrix.like, matrix.shape[1], PROBES, seed, NAME)
    Y = matrix.times(X)
    total = float(matrix.xp.linalg.matrix_norm(Y)) ** 2
    half = 1.0 if matrix.xp.isdtype(matrix.dtype, "complex floating") else 0.5
    low, high = (math.sqrt(half * total / float(quantile(half * PROBES, delta / 2))) for quantile in (gammainccinv, gammaincinv))
    certificate = Certificate(CLAIM, high, 1 - delta, f"{PROBES} Gaussian probes")
    return NormResult(math.sqrt(total / PROBES), low, high, matrix.passes, "probes", True, certificate)


def largest_eigenvalue_bound(
    product: Callable[[Array], Array],
    like: Array,
    n: int,
    steps: int,
    failure: float,
    *,
    seed: int,
    purpose: str = "largest eigenvalue",
    block: int = BLOCK,
) -> tuple[float, float]:
    """Enclose the largest eigenvalue of a positive semidefinite operator by block Lanczos from a Gaussian start.

    Parameters
    ----------
    product : callable
        Maps an (n, b) array X to H X.
    like : array
        Gives namespace, device and dtype of X.
    n, steps : int
        Order of H, and products with blocks to make. Memory: `block` * `steps` vectors.
    failure : float
        Probability that the largest eigenvalue may be above the bound.
    seed, purpose : int, str
        Name the random start.
    block : int
        Columns of the start.

    Returns
    -------
    tuple of float
        The largest Ritz value, never above the largest eigenvalue but for rounding errors, and the bound.

    Notes
    -----
    Let v be a unit eigenvector for the largest eigenvalue. For an orthonormal basis Q1 of the start,
    ||v^H Q1||^2 has a Beta distribution, whose quantile c^2 it exceeds with probability 1 - failure.
    Two consequences hold then, see `beyond` and `beyond_every_spectrum`; the smaller bound counts.
    """
    krylov = block_lanczos(product, _probes.gaussian(like, n, min(block, n), seed, purpose), steps)
    return enclose_largest(krylov, n, steps, failure, _arrays.unit_roundoff(_arrays.namespace(like), like.dtype))


def enclose_largest(krylov: Krylov, n: int, steps: int, failure: float, roundoff: float) -> tuple[float, float]:
    """Give the largest Ritz value of a positive semidefinite matrix and a bound on its largest eigenvalue."""
    ritz = float(krylov.ritz[0][-1])
    if ritz <= 0:
        return 0.0, 0.0
    overlap = least_overlap(n, krylov.first, np.iscomplexobj(krylov.T), failure)
    bound = beyond(krylov, overlap, ritz, beyond_every_spectrum(ritz, overlap, steps))
    return ritz, bound * (1 + ROUNDING * math.sqrt(n) * roundoff)


def least_overlap(n: int, b: int, is_complex: bool, failure: float) -> float:
    """Quantile of ||v^H Q||^2 for a fixed unit v and the basis Q of a uniformly random subspace of dimension b."""
    from scipy.special import betaincinv

    parts = 1.0 if is_complex else 0.5  # squared normals in a component, halved
    return float(betaincinv(parts * b, parts * (n - b), failure)) if b < n else 1.0


def beyond_every_spectrum(ritz: float, overlap: float, steps: int) -> float:
    """Bound the largest eigenvalue of H >= 0 by its largest Ritz value t alone.

    Some vector x of the start has |v^H x|^2 = overlap. For p of degree steps - 1 the vector p(H) x lies in
    the Krylov space, so that sum_i (h_i - t) p(h_i)^2 |x_i|^2 <= 0. With s = asinh(sqrt(h / t - 1)) and
    (t - h) p(h)^2 = t T(sqrt(1 - h / t))^2 for Chebyshev's T of degree 2 steps - 1, which is at most t on
    [0, t] and -t sinh((2 steps - 1) s)^2 beyond, this says sinh((2 steps - 1) s)^2 overlap <= 1 - overlap.
    The estimate of Kuczynski and Wozniakowski (SIAM J. Matrix Anal. Appl. 13, 1992), without its last steps.
    """
    return ritz * (1 + math.sinh(math.acosh(1 / math.sqrt(overlap)) / (2 * steps - 1)) ** 2)


def beyond(krylov: Krylov, overlap: float, low: float, high: float) -> float:
    """Bound the largest eigenvalue h of a Hermitian A from the Ritz value `low`, a bound `high` and all of T.

    For y = v^H Q and w = v^H P, A v = h v gives y (h - T) = w C, so that y = w K with K = C (h - T)^-1,
    while |y|^2 + |w|^2 <= 1. Hence h is possible only if some w makes |w K_1|^2, the part of y in
    the start, at least overlap * (|w K|^2 + |w|^2).
    """
    values, vectors = krylov.ritz
    K = krylov.C @ vectors, vectors.conj().T
    near, far = NEAREST * low, high - low
    if krylov.finished:
        return low + near
    for _ in range(ROUNDS):
        gaps = np.geomspace(near, max(near, far), GRID)
        possible = np.flatnonzero(_largest_overlap(low + gaps - values[:, None], *K, krylov.first) >= overlap)
        if possible.size == 0:
            return low + near
        top = int(possible[-1])
        near, far = gaps[top], gaps[min(top + 1, GRID - 1)]
    return low + far


def _largest_overlap(distances: np.ndarray, left: np.ndarray, right: np.ndarray, first: int) -> np.ndarray:
    """Maximize |w K_1|^2 / (|w K|^2 + |w|^2), K = left distances^-1 right, for each column of distances h - theta."""
    K = (left / distances.T[:, None, :]) @ right
    eye = np.broadcast_to(np.eye(left.shape[0]), (K.shape[0], left.shape[0], left.shape[0]))
    Q = np.linalg.qr(np.concatenate([K, eye], axis=-1).conj().swapaxes(-1, -2))[0]
    return np.linalg.norm(Q[:, :first, :], ord=2, axis=(-2, -1)) ** 2
