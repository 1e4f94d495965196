"""Positive semidefinite matrices: their largest eigenpairs, and the randomized Nystrom approximation."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor import _probes, _square
from lowrank_la.factor._lanczos import Krylov, block_lanczos
from lowrank_la.factor._matrix import Matrix
from lowrank_la.factor._orth import orthonormal
from lowrank_la.factor._signs import signed

PAIRS_CLAIM = "|s_i - an eigenvalue of A| <= residuals_i <= bound, for every i"
TRACE_CLAIM = "||A - U diag(s) U^H||_2 <= ||A - U diag(s) U^H||_* <= bound, if A is positive semidefinite"
SMALL = 300  # orders for which LAPACK finds all eigenvalues in no time
SPARE, WIDEST = 4, 36  # columns of a block beyond the rank, and at most: eigenvalues repeated more often may be missed
CYCLE = 8  # blocks between restarts
FIRST_LOOK, MOST_AHEAD = 4, 6  # steps before the first look at the residuals, and at most before the next
PROBES = 10
ROUNDING = 20  # roundoff units times sqrt(n): errors of products


@dataclass(frozen=True, repr=False)
class EighResult(Result):
    """A ~ U diag(s) U^H with orthonormal columns, and how far it can be trusted.

    Attributes
    ----------
    U : array (n, k)
        Eigenvectors; the largest entry of each is positive.
    s : array (k,), real
        Eigenvalues, descending.
    residuals : array (k,), real, or None
        ||A u_i - s_i u_i||_2: an eigenvalue of A lies within this distance of s_i. None for a Nystrom approximation.
    tail : float or None
        trace(A) minus the sum of s: the sum of all other eigenvalues, or more. None where the diagonal is not
        at hand; an unbiased estimate from random probes for a Nystrom approximation of an operator.
    passes : int
        How often A was read.
    n_iter : int
        Krylov or power steps.
    method : str
        The method that ran.
    converged : bool
        Whether the tolerance was reached; True if there is none.
    certificate : Certificate
        Bounds the residuals, or the error in the nuclear norm for a Nystrom approximation.
    """

    U: Array
    s: Array
    residuals: Array | None
    tail: float | None
    passes: int
    n_iter: int
    method: str
    converged: bool
    certificate: Certificate

    @property
    def rank(self) -> int:
        """Number of eigenpairs."""
        return self.s.shape[0]

    def to_dense(self) -> Array:
        """Form U diag(s) U^H."""
        return (self.U * self.s) @ _arrays.adjoint_of(_arrays.namespace(self.U), self.U)


def eigsh_psd(
    A: Any,
    rank: int,
    *,
    tol: float | None = None,
    method: str = "auto",
    max_iter: int = 200,
    like: Array | None = None,
    rng: _random.RNG = None,
) -> EighResult:
    """Find the largest eigenvalues of a positive semidefinite matrix, and their eigenvectors.

    Block Lanczos from a Gaussian start, with full orthogonalization and thick restarts; every
    eigenvalue comes with the distance within which an eigenvalue of A surely lies.

    Parameters
    ----------
    A : array (n, n), sparse matrix, linear operator, row blocks, or function
        Symmetric or Hermitian positive semidefinite. A function A(X) multiplies and needs `like`.
    rank : int, 1 <= rank <= n
        Eigenpairs to find.
    tol : float, tol > 0, optional
        Residual at which an eigenpair is good, relative to the largest eigenvalue; by default the
        square root of the unit roundoff, with which well separated eigenvalues have all their digits.
    method : {"auto", "krylov", "exact"}
        "exact": LAPACK on the dense matrix. "auto" is "exact" up to order 300, or where more than a
        fifth of all eigenpairs are wanted from stored entries.
    max_iter : int, max_iter >= 1
        Products with blocks after which to give up.
    like : array (n,), optional
        For a function: gives the order, the namespace, device and dtype of the X it takes, of shape (n, k).
    rng : None, int or numpy.random.Generator
        An int gives the same start on every backend.

    Returns
    -------
    EighResult
        U, s, residuals, tail, passes, n_iter, method, converged and certificate.

    Raises
    ------
    ValueError
        A is not square, not Hermitian, has a negative eigenvalue that the products show, is empty or
        not finite; or an argument is out of range.
    TypeError
        A is no matrix, or an argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        Some residuals are above the tolerance after `max_iter` steps; the certificate stays true.

    Notes
    -----
    Cost: blocks of b = min(rank + 4, 36) columns; each step multiplies one by A and orthogonalizes it
    against at most rank + 9 b vectors, which is also the memory. Certificate: for a Hermitian A and a unit
    vector u some eigenvalue lies within ||A u - s u||_2 of s; rounding errors of the residuals are
    added. That none of the largest eigenvalues is missed is certain only up to the random start:
    one that is repeated more than 36 times, among many others, may be counted too seldom. `tail` bounds what is left.

    References
    ----------
    .. [1] Golub and Underwood, The block Lanczos method for computing eigenvalues, Mathematical Software III, 1977.
    .. [2] Wu and Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems,
       SIAM J. Matrix Anal. Appl. 22, 2000.
    .. [3] Musco and Musco, Randomized block Krylov methods for stronger and faster approximate singular
       value decomposition, NeurIPS 2015. Why a random block start suffices.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import eigsh_psd
    >>> X = np.random.default_rng(0).standard_normal((1000, 400)) / np.arange(1, 401)
    >>> result = eigsh_psd(X.T @ X, 3, rng=0)
    >>> exact = np.linalg.eigvalsh(X.T @ X)[:-4:-1]
    >>> bool(np.all(abs(result.s - exact) <= 1e-13 * exact[0]))
    True
    """
    name = "eigsh_psd"
    method = _checks.choice(name, "method", method, ("auto", "krylov", "exact"))
    matrix = _square.enter(name, A, like)
    rank = _checks.integer(name, "rank", rank, 1, matrix.shape[0])
    goal = matrix.roundoff**0.5 if tol is None else _checks.real(name, "tol", tol, 0, open=True)
    max_iter = _checks.integer(name, "max_iter", max_iter, 1)
    seed = _random.seed_of(name, rng)
    if method == "exact" or (method == "auto" and _is_small(matrix, rank)):
        return _exact(name, matrix, rank)
    with _square.one_blas_thread(matrix):
        return _ritz_pairs(name, matrix, _largest(matrix, rank, goal, max_iter, seed), goal)


def _is_small(matrix: Matrix, rank: int) -> bool:
    n = matrix.shape[0]
    return n <= SMALL or (matrix.squared_norm is not None and 5 * rank > n)


def _exact(function: str, matrix: Matrix, rank: int) -> EighResult:
    """Let LAPACK find all eigenpairs, and measure the residuals of those that are wanted."""
    xp, S = matrix.xp, _square.dense(matrix)
    S_H = _arrays.adjoint_of(xp, S)
    size = float(xp.linalg.matrix_norm(S))
    _square.check_hermitian(function, matrix, float(xp.linalg.matrix_norm(S - S_H)) / size if size else 0.0)
    values, U = xp.linalg.eigh((S + S_H) / 2)
    _square.check_semidefinite(function, matrix, float(values[0]), float(values[-1]))
    n = matrix.shape[0]
    largest = xp.arange(n - 1, n - rank - 1, -1, device=U.device)
    s, [U] = xp.take(values, largest), signed(xp.take(U, largest, axis=1))
    residuals = xp.linalg.vector_norm(S @ U - U * s, axis=0)
    return _pairs(matrix, U, s, residuals, float(values[-1]), 0, "exact", True)


@dataclass(frozen=True)
class _Found:
    """A Krylov space, its largest Ritz pairs, and the products with blocks that it took."""

    krylov: Krylov
    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    steps: int

    def worst(self, rank: int) -> float:
        """Return the largest residual, relative to the largest eigenvalue; inf if pairs are missing."""
        if self.values.size < rank:
            return math.inf
        return float(np.max(self.residuals)) / self.values[0] if self.values[0] > 0 else 0.0

    def agrees(self, values: np.ndarray, tol: float) -> bool:
        """Say whether these are the same Ritz values."""
        return values.size == self.values.size and bool(np.max(np.abs(values - self.values)) <= tol * max(self.values[0], 0.0))


def _largest(matrix: Matrix, rank: int, tol: float, max_iter: int, seed: int) -> _Found:
    """Grow and restart a Krylov space until its largest Ritz values have small residuals."""
    n = matrix.shape[0]
    block = min(n, rank + SPARE, WIDEST)

    def start(attempt: int) -> Array:
        return _probes.gaussian(matrix.like, n, block, seed, f"eigsh_psd: start {attempt}")

    steps = max(min(FIRST_LOOK, max_iter), -(-rank // block))
    krylov = block_lanczos(matrix.times, start(0), steps)
    before, more, known = math.inf, steps, np.zeros(0)
    while True:
        found = _Found(krylov, *krylov.largest(rank), steps)
        worst, complete = found.worst(rank), krylov.T.shape[0] == n
        sure = complete or not krylov.finished or found.agrees(known, tol)
        if (worst <= tol and sure) or (steps >= max_iter and found.values.size == rank):
            return found
        more = max(1, min(_steps_ahead(before, worst, tol, more), max_iter - steps))
        if krylov.finished:  # eigenvalues that are repeated more often than the block is wide show in a fresh one
            krylov, known, worst = krylov.refreshed(start(steps)), found.values, math.inf
        elif krylov.T.shape[0] > rank + CYCLE * block:
            krylov = krylov.restarted(rank + block)
        krylov, steps, before = krylov.grown(matrix.times, more), steps + more, worst


def _steps_ahead(before: float, now: float, tol: float, last: int) -> int:
    """Guess how many steps are missing, from what the last ones did to the residuals."""
    if not 0 < now < before < math.inf:
        return 2
    return min(MOST_AHEAD, max(1, math.ceil(last * math.log(now / tol) / math.log(before / now))))


def _ritz_pairs(function: str, matrix: Matrix, found: _Found, tol: float) -> EighResult:
    krylov, rank = found.krylov, found.values.size
    _square.check_hermitian(function, matrix, krylov.skewness)
    _square.check_semidefinite(function, matrix, krylov.smallest, found.values[0])
    [U] = signed(krylov.vectors(found.vectors))
    s, residuals = _real(matrix, found.values), _real(matrix, found.residuals)
    worst = found.worst(rank)
    if worst > tol:
        text = f"{function}: residuals up to {worst:.2g} of the largest eigenvalue are above tol after {found.steps} steps"
        warnings.warn(text, ConvergenceWarning, stacklevel=3)
    return _pairs(matrix, U, s, residuals, float(found.values[0]), found.steps, "krylov", worst <= tol)


def _pairs(matrix: Matrix, U: Array, s: Array, residuals: Array, largest: float, steps: int, method: str, converged: bool) -> EighResult:
    """Add the rounding errors of products to the residuals, and what the trace says."""
    xp, leave = matrix.xp, matrix.door.leave
    residuals = residuals + ROUNDING * matrix.shape[0] ** 0.5 * matrix.roundoff * max(largest, 0.0)
    trace = _trace(matrix)
    tail = None if trace is None else trace - _total(s)
    bound = float(xp.max(residuals))
    certificate = Certificate(PAIRS_CLAIM, bound, 1.0, "residual")
    return EighResult(leave(U), leave(s), leave(residuals), tail, matrix.passes, steps, method, converged, certificate)


def nystrom_psd(
    A: Any,
    rank: int,
    *,
    oversample: int | None = None,
    n_iter: int = 0,
    delta: float = 0.01,
    like: Array | None = None,
    rng: _random.RNG = None,
) -> EighResult:
    """Approximate a positive semidefinite matrix from below by one product with a random block.

    With Y = A W for a random W, the matrix Y (W^H Y)^+ Y^H is the best approximation of A between
    0 and A on the range of Y; its largest eigenpairs are returned.

    Parameters
    ----------
    A : array (n, n), sparse matrix, linear operator, row blocks, or function
        Symmetric or Hermitian positive semidefinite. A function A(X) multiplies and needs `like`.
    rank : int, 1 <= rank <= n
        Eigenpairs to return.
    oversample : int, oversample >= 0, optional
        Columns of W beyond the rank; by default 10, or half the rank if that is more.
    n_iter : int, n_iter >= 0
        Power steps before the product, for eigenvalues that decay slowly: one more pass each.
    delta : float, 0 < delta < 1
        Where the trace is unknown: the chance that the bound fails.
    like : array (n,), optional
        For a function: gives the order, the namespace, device and dtype of the X it takes, of shape (n, k).
    rng : None, int or numpy.random.Generator
        An int gives the same W on every backend.

    Returns
    -------
    EighResult
        U, s, tail, passes, n_iter, method, converged and certificate; residuals is None.

    Raises
    ------
    ValueError
        A is not square, not Hermitian, has a negative eigenvalue that the products show, is empty or
        not finite; or an argument is out of range.
    TypeError
        A is no matrix, or an argument has the wrong type.

    Notes
    -----
    Cost: one pass with l = rank + oversample columns (n_iter + 1 passes), 6 n l^2 flops; memory three
    n x l arrays. A small multiple of the identity is added for the Cholesky factor of W^H Y and taken off
    the eigenvalues again [1]_. Certificate: 0 <= U diag(s) U^H <= A, so that the nuclear norm of
    the error is trace(A) - sum(s), exactly but for rounding errors that are added. Where the diagonal is not
    at hand, 10 Gaussian probes g ride along in the first product: the sum of g^H (A - U diag(s) U^H) g,
    divided by the delta-quantile of its law for an error of rank one, which is the worst case [2]_,
    bounds the nuclear norm with probability 1 - delta.

    References
    ----------
    .. [1] Tropp, Yurtsever, Udell and Cevher, Fixed-rank approximation of a positive-semidefinite matrix
       from streaming data, NeurIPS 2017. Shift and order of steps.
    .. [2] Roosta-Khorasani, Szekely and Ascher, Assessing stochastic algorithms for large scale nonlinear least
       squares problems using extremal probabilities of linear combinations of gamma random variables,
       SIAM/ASA J. Uncertainty Quantification 3, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import nystrom_psd
    >>> x = np.linspace(0, 1, 500)
    >>> K = np.exp(-20 * (x[:, None] - x) ** 2)
    >>> result = nystrom_psd(K, 15, rng=0)
    >>> bool(np.linalg.norm(K - result.to_dense(), "nuc") <= result.certificate.bound < 1e-4)
    True
    """
    name = "nystrom_psd"
    matrix = _square.enter(name, A, like)
    n = matrix.shape[0]
    rank = _checks.integer(name, "rank", rank, 1, n)
    columns = min(n, rank + (max(10, rank // 2) if oversample is None else _checks.integer(name, "oversample", oversample)))
    n_iter = _checks.integer(name, "n_iter", n_iter)
    delta = _checks.real(name, "delta", delta, 0, 1, open=True)
    seed = _random.seed_of(name, rng)

    trace = _trace(matrix)
    W = _probes.gaussian(matrix.like, n, columns, seed, "nystrom_psd: test matrix")
    G = _probes.gaussian(matrix.like, n, PROBES if trace is None else 0, seed, "nystrom_psd: probes")
    with _square.one_blas_thread(matrix):
        W, Y, AG = _products(matrix, W, G, n_iter, seed)
        U, s, shift = _nystrom(name, matrix, W, Y, seed)
    U, s = signed(U)[0][:, :rank], s[:rank]
    tail, bound = _nystrom_error(matrix, U, s, trace, G, AG, delta)
    bound += 2 * columns * shift + ROUNDING * n**0.5 * matrix.roundoff * (_total(s) if trace is None else trace)
    how = "trace" if trace is not None else f"{PROBES} Gaussian probes"
    certificate = Certificate(TRACE_CLAIM, bound, 1.0 if trace is not None else 1 - delta, how)
    leave = matrix.door.leave
    return EighResult(leave(U), leave(s), None, tail, matrix.passes, n_iter, "nystrom", True, certificate)


def _products(matrix: Matrix, W: Array, G: Array, n_iter: int, seed: int) -> tuple[Array, Array, Array]:
    """Multiply an orthonormal basis of W, after power steps, and the probes, which ride along in the first pass."""
    xp = matrix.xp
    W = orthonormal(W, seed)[0]
    both = matrix.times(xp.concat([W, G], axis=1))
    Y, AG = both[:, : W.shape[1]], both[:, W.shape[1] :]
    for _ in range(n_iter):
        W = orthonormal(Y, seed)[0]
        Y = matrix.times(W)
    return W, Y, AG


def _nystrom(function: str, matrix: Matrix, W: Array, Y: Array, seed: int) -> tuple[Array, Array, float]:
    """Eigenpairs of Y (W^H Y)^+ Y^H, descending, and the shift that made W^H Y definite."""
    xp = matrix.xp
    C, shift = shifted_cholesky(function, matrix, W, Y)
    if shift == 0.0:
        return W, xp.zeros((W.shape[1],), dtype=matrix.door.real_dtype, device=W.device), 0.0
    Q, R = orthonormal(half(C, Y + shift * W), seed)
    left, s, _ = xp.linalg.svd(R)
    values = s * s - shift
    return Q @ left, xp.where(values > 0, values, xp.zeros_like(values)), shift


def shifted_cholesky(function: str, matrix: Matrix, W: Array, Y: Array) -> tuple[Array, float]:
    """Upper Cholesky factor of W^H Y + shift I for orthonormal W and Y = A W; the shift is 0 only for Y = 0.

    Raises
    ------
    ValueError
        W^H Y is not Hermitian, or has a negative eigenvalue.
    """
    xp = matrix.xp
    core = _arrays.adjoint_of(xp, W) @ Y
    core_H, size = _arrays.adjoint_of(xp, core), float(xp.linalg.matrix_norm(core))
    if size == 0.0:
        return core, 0.0
    _square.check_hermitian(function, matrix, float(xp.linalg.matrix_norm(core - core_H)) / size)
    core = (core + core_H) / 2
    values = xp.linalg.eigvalsh(core)
    _square.check_semidefinite(function, matrix, float(values[0]), float(values[-1]))
    shift = max(matrix.shape[0] ** 0.5 * matrix.roundoff * float(xp.linalg.matrix_norm(Y)), -2 * float(values[0]))
    lower = xp.linalg.cholesky(core + shift * xp.eye(core.shape[0], dtype=core.dtype, device=core.device))
    return _arrays.adjoint_of(xp, lower), shift


def half(C: Array, Y: Array) -> Array:
    """Return B = Y C^-1, whose B B^H is the Nystrom approximation."""
    xp = _arrays.namespace(Y)
    return _arrays.adjoint_of(xp, _arrays.solve_triangular(C, _arrays.adjoint_of(xp, Y), adjoint=True))


def _nystrom_error(matrix: Matrix, U: Array, s: Array, trace: float | None, G: Array, AG: Array, delta: float) -> tuple[float, float]:
    """Return the nuclear norm of the error, or an unbiased estimate, and a bound on it."""
    if trace is not None:
        tail = trace - _total(s)
        return tail, max(tail, 0.0)
    xp = matrix.xp
    captured = _arrays.adjoint_of(xp, U) @ G
    is_complex = xp.isdtype(G.dtype, "complex floating")
    products = xp.vecdot(G, AG, axis=-2)
    energies = (xp.real(products) if is_complex else products) - xp.sum(xp.abs(captured) ** 2 * s[:, None], axis=0)
    total = max(_total(energies), 0.0)
    return total / PROBES, total / _least_energy(is_complex, delta)


def _least_energy(is_complex: bool, delta: float) -> float:
    """Quantile of sum |g^H u|^2 over the probes, for a unit vector u."""
    from scipy.special import gammaincinv

    return float(gammaincinv(PROBES, delta) if is_complex else 2 * gammaincinv(PROBES / 2, delta))


def _trace(matrix: Matrix) -> float | None:
    values = _square.diagonal(matrix)
    return None if values is None else math.fsum(np.real(values))


def _total(x: Array) -> float:
    return math.fsum(_arrays.to_numpy(x).astype(float))


def _real(matrix: Matrix, x: np.ndarray) -> Array:
    xp = matrix.xp
    return xp.astype(_arrays.from_numpy(np.ascontiguousarray(x), matrix.like), matrix.door.real_dtype)
