"""The trace of a matrix that is seen through products."""

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
from lowrank_la.factor import _probes, _square
from lowrank_la.factor._matrix import Matrix
from lowrank_la.factor._orth import orthonormal
from lowrank_la.factor._psd import half, shifted_cholesky

NAME = "trace"
METHODS = ("auto", "exact", "xtrace", "xnystrace", "hutch++", "hutchinson")
CLAIM = "|value - trace(A)| <= bound"
PRODUCTS = 60
PROBES = 10  # independent samples of which every error bar is made
FEWEST = {"xtrace": 14, "xnystrace": 12, "hutch++": 14, "hutchinson": 10}
SAFETY = 2.5  # times Student's t, since samples are few and skew: chosen by calibration
ROUNDING = 10  # roundoff units times sqrt(n): errors of products


@dataclass(frozen=True, repr=False)
class TraceResult(Result):
    """The trace of a matrix, exact or estimated.

    Attributes
    ----------
    value : float or complex
        The trace.
    standard_error : float
        Estimated standard deviation of the value, as if all samples were independent; 0 if it is exact.
    products : int
        Products of A with vectors; 0 if the diagonal was at hand.
    method : str
        The method that ran.
    converged : bool
        Whether the tolerance was reached; True if there is none.
    certificate : Certificate
        Bounds the error of the value.
    """

    value: float | complex
    standard_error: float
    products: int
    method: str
    converged: bool
    certificate: Certificate


def trace(
    A: Any,
    *,
    method: str = "auto",
    products: int | None = None,
    tol: float | None = None,
    delta: float = 0.05,
    like: Array | None = None,
    rng: _random.RNG = None,
) -> TraceResult:
    """Estimate the trace of a matrix from products with random vectors, with an error bar.

    Parameters
    ----------
    A : array (n, n), sparse matrix, linear operator, row blocks, or function
        A function A(X) multiplies and needs `like`: an inverse, an exponential, a Hessian.
    method : {"auto", "exact", "xtrace", "xnystrace", "hutch++", "hutchinson"}
        "xtrace": every test vector serves both a low-rank approximation and the estimate of the rest.
        "xnystrace": the same for positive semidefinite A, at half the products. "hutch++": separate test vectors.
        "hutchinson": the mean of x^H A x. "exact": the diagonal, from n products if it is not at hand. "auto":
        "exact" where the diagonal is at hand or the products suffice, else "xtrace".
    products : int, optional
        Products of A with vectors; 60 by default, or as many as `tol` takes.
    tol : float, tol > 0, optional
        Double the products until the bound is below tol * |value|.
    delta : float, 0 < delta < 1
        Chance that the bound fails.
    like : array (n,), optional
        For a function: gives the order, the namespace, device and dtype of the X it takes, of shape (n, k).
    rng : None, int or numpy.random.Generator
        An int gives the same test vectors on every backend.

    Returns
    -------
    TraceResult
        value, standard_error, products, method, converged and certificate.

    Raises
    ------
    ValueError
        A is not square, is empty or not finite; for "xnystrace" also if products show that it is not Hermitian
        positive semidefinite; or an argument is out of range.
    TypeError
        A is no matrix, or an argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The tolerance was not reached within `products`.

    Notes
    -----
    Cost for m products: 2 n m^2 flops and three n x m/2 arrays ("xtrace"; n x m for "xnystrace"). Where A has
    a decaying spectrum "xtrace" is far more accurate than "hutch++", and that than "hutchinson"; for a flat
    one all are alike. Test vectors are uniform on a sphere, and scaled again after projection, as in [1]_.
    Certificate: ten of the products are with vectors that nothing else depends on. Added to the trace of the
    low-rank part they give independent estimates; their distance from the value, two and a half times Student's t quantile
    times their standard error, and rounding errors make the bound. It is statistical, not proved: the factor,
    found by calibration, makes up for skew samples. Leave-one-out errors alone are up to a hundred
    times too small where the rank of A is near the number of test vectors. For "exact" the claim holds always.

    References
    ----------
    .. [1] Epperly, Tropp and Webber, XTrace: making the most of every sample in stochastic trace estimation,
       SIAM J. Matrix Anal. Appl. 45, 2024.
    .. [2] Meyer, Musco, Musco and Woodruff, Hutch++: optimal stochastic trace estimation, SOSA 2021.
    .. [3] Girard, A fast 'Monte-Carlo cross-validation' procedure for large least squares problems
       with noisy data, Numer. Math. 56, 1989.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import trace
    >>> d = 1 / np.arange(1.0, 2001) ** 2
    >>> result = trace(lambda X: d[:, None] * X, like=d, rng=0)
    >>> bool(abs(result.value - d.sum()) <= result.certificate.bound < 0.05)
    True
    """
    method = _checks.choice(NAME, "method", method, METHODS)
    matrix = _square.enter(NAME, A, like)
    budget = (
        None
        if products is None
        else _checks.integer(NAME, "products", products, FEWEST.get(method, 1 if method == "exact" else FEWEST["xtrace"]))
    )
    goal = None if tol is None else _checks.real(NAME, "tol", tol, 0, open=True)
    delta = _checks.real(NAME, "delta", delta, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    if method == "exact" or (method == "auto" and matrix.squared_norm is not None):
        return _exact(matrix)
    most = budget or (PRODUCTS if goal is None else 2 * matrix.shape[0])
    m = most if goal is None else min(most, PRODUCTS)
    while True:
        if m >= matrix.shape[0]:
            return _exact(matrix)
        result = _estimate(matrix, "xtrace" if method == "auto" else method, m, delta, goal, seed)
        if result.converged or m == most:
            break
        m = min(2 * m, most)
    if not result.converged:
        warnings.warn(f"{NAME}: the bound is above tol after {m} products", ConvergenceWarning, stacklevel=2)
    return result


def _exact(matrix: Matrix) -> TraceResult:
    """Sum the diagonal."""
    values, products, rounding = _square.diagonal(matrix), 0, np.finfo(float).eps
    if values is None:
        values = np.diagonal(_double(_square.dense(matrix)))
        products, rounding = matrix.shape[0], ROUNDING * matrix.shape[0] ** 0.5 * matrix.roundoff
    value = _number(math.fsum(np.real(values)) + 1j * math.fsum(np.imag(values)), values)
    bound = rounding * (float(np.sum(np.abs(values))) if products else abs(value))
    return TraceResult(value, 0.0, products, "exact", True, Certificate(CLAIM, bound, 1.0, "diagonal"))


@dataclass(frozen=True)
class _Samples:
    """Estimates of the trace, all of which make the value, and the scale of rounding errors."""

    left_out: np.ndarray
    independent: np.ndarray
    scale: float


def _estimate(matrix: Matrix, method: str, m: int, delta: float, tol: float | None, seed: int) -> TraceResult:
    """Average the samples of a method, and say how far off they may be."""
    from scipy.special import stdtrit

    with _square.one_blas_thread(matrix):
        samples = _METHODS[method](matrix, m, seed)
    every, fresh = np.concatenate([samples.left_out, samples.independent]), samples.independent
    quantile = SAFETY * float(stdtrit(fresh.size - 1, 1 - delta / 2))
    rounding = ROUNDING * matrix.shape[0] ** 0.5 * matrix.roundoff * samples.scale
    bound = float(abs(every.mean() - fresh.mean())) + quantile * _standard_error(fresh) + rounding
    value = _number(every.mean(), every)
    certificate = Certificate(CLAIM, bound, 1 - delta, f"{fresh.size} independent samples")
    return TraceResult(value, _standard_error(every), m, method, tol is None or bound <= tol * abs(value), certificate)


def _standard_error(samples: np.ndarray) -> float:
    return float(np.std(samples, ddof=1)) / samples.size**0.5


def _hutchinson(matrix: Matrix, m: int, seed: int) -> _Samples:
    X = _sphere(matrix, m, seed, "trace: hutchinson")
    samples = _columns(X, matrix.times(X))
    return _Samples(samples[:0], samples, float(np.max(np.abs(samples))))


def _hutch_plus_plus(matrix: Matrix, m: int, seed: int) -> _Samples:
    """Take the trace on the range of A X, and sample the rest."""
    l = min(m // 3, (m - PROBES) // 2)
    X = _sphere(matrix, l, seed, "trace: hutch++")
    Q = orthonormal(matrix.times(X), seed)[0]
    captured, rest, _ = _split(matrix, Q, m - 2 * l, seed)
    return _Samples(rest[:0], captured.sum() + rest, _scale(captured, rest))


def _xtrace(matrix: Matrix, m: int, seed: int) -> _Samples:
    """Use every test vector for the range of the others' estimates and for the rest of its own [1].

    Without column i, the range of Y = A X = Q R is that of Q (I - s_i s_i^H), where s_i is column i of R^-H, normalized.
    """
    xp, n, l = matrix.xp, matrix.shape[0], (m - PROBES) // 2
    X = _sphere(matrix, l, seed, "trace: xtrace")
    Q, R = orthonormal(matrix.times(X), seed)
    captured, rest, Z = _split(matrix, Q, m - 2 * l, seed)
    H, W = _double(_arrays.adjoint_of(xp, Q) @ Z), _double(_arrays.adjoint_of(xp, Q) @ X)
    T, R = _double(_arrays.adjoint_of(xp, Z) @ X), _double(R)
    S = _left_out(R, matrix.roundoff)
    kept = _inner(S, W)
    a = S * kept - W  # x_i + Q a_i is test vector i, projected
    energies = _inner(W, R) + _inner(T, a) + _inner(a, R) + _inner(a, H @ a)
    lengths = n - np.sum(np.abs(W) ** 2, axis=0) + np.abs(kept) ** 2
    samples = captured.sum() - _inner(S, H @ S) + (n - l + 1) * energies / lengths
    return _Samples(samples, captured.sum() + rest, _scale(captured, rest) + float(np.linalg.norm(H)))


def _split(matrix: Matrix, Q: Array, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, Array]:
    """Return the diagonal of Q^H A Q, samples of the trace on the orthogonal complement of Q, and A Q, in one product."""
    n, l = Q.shape
    X = _outside(Q, _sphere(matrix, count, seed, "trace: probes"))
    both = matrix.times(matrix.xp.concat([Q, X], axis=1))
    return _columns(Q, both[:, :l]), (n - l) * _columns(X, both[:, l:]), both[:, :l]


def _xnystrace(matrix: Matrix, m: int, seed: int) -> _Samples:
    """Use every test vector for the Nystrom approximation of the others' estimates and for the rest of its own [1].

    With X = Q R, M = X^H A X = C^H C and B = A X C^-1, leaving out column i lowers the trace of B B^H by
    ||B C^-H e_i||^2 / d_i and leaves an energy of 1 / d_i, for d_i = (M^-1)_ii. A is shifted a little.
    """
    xp, n, l = matrix.xp, matrix.shape[0], m - PROBES
    Q, R = orthonormal(_sphere(matrix, l, seed, "trace: xnystrace"), seed)
    G = _outside(Q, _sphere(matrix, PROBES, seed, "trace: probes"))
    both = matrix.times(xp.concat([Q, G], axis=1))
    C, shift = shifted_cholesky(NAME, matrix, Q, both[:, :l])
    if shift == 0.0:
        return _Samples(np.zeros(l), np.zeros(PROBES), 0.0)
    B = half(C, both[:, :l] + shift * Q)
    factor, R_inv = _double(_arrays.triangular_factor(B)), np.linalg.inv(_double(R))
    C_inv = R_inv @ np.linalg.inv(_double(C))
    d = np.sum(np.abs(C_inv) ** 2, axis=1)
    lost = np.sum(np.abs(factor @ C_inv.conj().T) ** 2, axis=0) / d
    energies = (n - l + 1) * np.sum(np.abs(R_inv) ** 2, axis=1) / d
    captured = float(np.sum(np.abs(factor) ** 2)) - n * shift
    rest = _columns(G, both[:, l:]) - np.sum(np.abs(_double(_arrays.adjoint_of(xp, B) @ G)) ** 2, axis=0)
    rest = (n - l) * (rest.real + shift)
    return _Samples(captured - lost + energies, captured + rest, abs(captured) + 2 * n * shift)


_METHODS: dict[str, Callable[[Matrix, int, int], _Samples]] = {
    "xtrace": _xtrace,
    "xnystrace": _xnystrace,
    "hutch++": _hutch_plus_plus,
    "hutchinson": _hutchinson,
}


def _outside(Q: Array, X: Array) -> Array:
    """Project X away from the range of Q, and scale the columns to length 1."""
    xp = _arrays.namespace(Q)
    for _ in range(2):
        X = X - Q @ (_arrays.adjoint_of(xp, Q) @ X)
        X = X / xp.linalg.vector_norm(X, axis=0)
    return X


def _scale(captured: np.ndarray, rest: np.ndarray) -> float:
    return float(np.sum(np.abs(captured)) + np.max(np.abs(rest)))


def _left_out(R: np.ndarray, roundoff: float) -> np.ndarray:
    """Normalize the columns of R^-H, with zero pivots replaced: what they stand for is outside the range anyway."""
    pivots = np.abs(np.diagonal(R))
    floor = roundoff * float(pivots.max()) or 1.0
    R = R + np.diag(np.where(pivots < floor, floor, 0.0))
    S = np.linalg.inv(R).conj().T
    S = S / np.max(np.abs(S), axis=0)
    return S / np.linalg.norm(S, axis=0)


def _sphere(matrix: Matrix, count: int, seed: int, purpose: str) -> Array:
    return _probes.sphere(matrix.like, matrix.shape[0], count, seed, purpose)


def _columns(X: Array, Y: Array) -> np.ndarray:
    """x_i^H y_i for each column."""
    return _double(_arrays.namespace(X).vecdot(X, Y, axis=-2))


def _inner(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    return np.sum(X.conj() * Y, axis=0)


def _number(value: complex, like: np.ndarray) -> float | complex:
    return complex(value) if np.iscomplexobj(like) else float(np.real(value))


def _double(x: Array) -> np.ndarray:
    host = _arrays.to_numpy(x)
    return host.astype(np.complex128 if np.iscomplexobj(host) else np.float64)
