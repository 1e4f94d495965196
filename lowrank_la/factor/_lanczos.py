"""Lanczos: Krylov bases of Hermitian matrices with full orthogonalization, one vector or a block at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _probes, _square
from lowrank_la.factor._matrix import Matrix

CLAIM = "|values_i - an eigenvalue of A| <= residuals_i <= bound, for every i"
NOISE = 50  # roundoff units of the longest product: what is left of a block below it is rounding error
RELIABLE = 100  # times sqrt(roundoff): least ratio of the eigenvalues of a Gram matrix that is good for orthogonalization
NEGLIGIBLE = 1e-28  # weight of a node that belongs to the rows of zeros behind an invariant space
ROUNDING = 20  # roundoff units times sqrt(n): errors of products


@dataclass(frozen=True, repr=False)
class LanczosResult(Result):
    """A Q = Q T + beta_k q e_k^H for a tridiagonal T with diagonal alpha and off-diagonal beta.

    Attributes
    ----------
    alpha : array (k,), real
        Diagonal of T.
    beta : array (k,), real
        Off-diagonal of T, beta >= 0; the last entry is the length of what comes next.
    Q : array (n, k) or None
        Orthonormal basis of the Krylov space; None if it was not kept.
    values : array (k,), real
        Ritz values, the eigenvalues of T, descending.
    weights : array (k,), real
        Weights of the Gauss quadrature at these nodes: x^H f(A) x ~ ||x||^2 sum weights f(values) for the start x.
    residuals : array (k,), real
        ||A u_i - values_i u_i||_2 for the Ritz vectors u_i.
    invariant : bool
        Whether the space is invariant, so that the Ritz values are eigenvalues; k is then smaller than asked if
        there was no more to find.
    certificate : Certificate
        Bounds the residuals.
    """

    alpha: Array
    beta: Array
    Q: Array | None
    values: Array
    weights: Array
    residuals: Array
    invariant: bool
    certificate: Certificate


def lanczos(
    A: Any,
    k: int,
    *,
    start: Array | None = None,
    reorthogonalize: bool = True,
    like: Array | None = None,
    rng: _random.RNG = None,
) -> LanczosResult:
    """Tridiagonalize a Hermitian matrix on the Krylov space of one vector.

    Parameters
    ----------
    A : array (n, n), sparse matrix, linear operator, row blocks, or function
        Symmetric or Hermitian. A function A(X) multiplies and needs `like`.
    k : int, 1 <= k <= n
        Steps, each of one product.
    start : array (n,), optional
        First vector, of any length but zero; Gaussian by default.
    reorthogonalize : bool
        False keeps three vectors instead of k. Q is then None, and eigenvalues that have converged
        may appear more than once; the weights stay good for quadrature.
    like : array (n,), optional
        For a function: gives the order, the namespace, device and dtype of the X it takes, of shape (n, 1).
    rng : None, int or numpy.random.Generator
        An int gives the same start on every backend.

    Returns
    -------
    LanczosResult
        alpha, beta, Q, values, weights, residuals, invariant and certificate.

    Raises
    ------
    ValueError
        A is not square, is empty, not finite, or products show that it is not Hermitian; start is zero or
        does not fit; or k is out of range.
    TypeError
        A is no matrix, or an argument has the wrong type.

    Notes
    -----
    Cost: k products and, with reorthogonalization, 8 n k^2 flops and k vectors of memory; every vector
    is orthogonalized twice against all others, so that Q is orthonormal to working precision.
    Certificate: for a Hermitian A and a unit vector u some eigenvalue lies within ||A u - t u||_2 of t;
    rounding errors are added. Without reorthogonalization nothing is promised (bound inf), although
    the residuals are still good guides [2]_.

    References
    ----------
    .. [1] Lanczos, An iteration method for the solution of the eigenvalue problem of linear differential
       and integral operators, J. Res. Natl. Bur. Stand. 45, 1950.
    .. [2] Paige, Accuracy and effectiveness of the Lanczos algorithm for the symmetric eigenproblem,
       Linear Algebra Appl. 34, 1980.
    .. [3] Golub and Meurant, Matrices, Moments and Quadrature, Princeton, 2010. The weights.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import lanczos
    >>> A = np.diag(np.append(np.arange(99.0), 200))
    >>> result = lanczos(A, 15, rng=0)
    >>> bool(abs(result.values[0] - 200) <= result.residuals[0] < 1e-3)
    True
    >>> result = lanczos(A, 5, start=np.eye(100)[3])
    >>> result.invariant, float(result.values[0])
    (True, 3.0)
    """
    name = "lanczos"
    matrix = _square.enter(name, A, like)
    k = _checks.integer(name, "k", k, 1, matrix.shape[0])
    seed = _random.seed_of(name, rng)
    first = _first_vector(name, matrix, start, seed)
    if not reorthogonalize:
        T = tridiagonal(matrix, first, k)
        _square.check_hermitian(name, matrix, T.skewness)
        return _short_answer(matrix, T)
    with _square.one_blas_thread(matrix):
        krylov = block_lanczos(matrix.times, first, k)
    _square.check_hermitian(name, matrix, krylov.skewness)
    return _full_answer(matrix, krylov, first)


def _first_vector(function: str, matrix: Matrix, start: Array | None, seed: int) -> Array:
    """Return the start as an (n, 1) array of length 1.

    Raises
    ------
    ValueError
        It is zero, not finite, or does not fit.
    """
    n, xp = matrix.shape[0], matrix.xp
    if start is None:
        x = _probes.gaussian(matrix.like, n, 1, seed, "lanczos: start")[:, 0]
    else:
        x = xp.astype(_arrays.beside(function, "start", start, matrix.like), matrix.dtype)
        _checks.finite(function, "start", _checks.shape(function, "start", x, (n,)))
    largest = float(xp.max(xp.abs(x)))
    if largest == 0.0:
        raise ValueError(f"{function}: start must not be zero; got {n} zeros")
    x = x / largest
    return (x / xp.linalg.vector_norm(x))[:, None]


def _full_answer(matrix: Matrix, krylov: Krylov, first: Array) -> LanczosResult:
    """Turn the basis so that it begins with the start and couples with positive numbers."""
    xp = matrix.xp
    T, m = (krylov.T + krylov.T.conj().T) / 2, krylov.T.shape[0]
    turn = complex(_arrays.to_numpy(_adjoint_times(krylov.rows[:1, :], first))[0, 0])
    turns = np.cumprod(_phase(np.concatenate([[turn], np.diagonal(T, -1)])))
    turns = turns if np.iscomplexobj(T) else turns.real
    rows = krylov.rows * xp.astype(_arrays.from_numpy(turns, krylov.rows), matrix.dtype)[:, None]
    beta = np.concatenate([np.abs(np.diagonal(T, -1)), [np.linalg.norm(krylov.C)]])
    values, vectors = krylov.ritz
    numbers = np.diagonal(T).real, beta, values[::-1], np.abs(vectors[0, ::-1]) ** 2, krylov.residuals[::-1]
    slack = ROUNDING * matrix.shape[0] ** 0.5 * matrix.roundoff * krylov.size
    certificate = Certificate(CLAIM, float(np.max(krylov.residuals)) + slack, 1.0, "residual")
    alpha, beta, values, weights, residuals = (to_caller(matrix, part) for part in numbers)
    Q = matrix.door.leave(rows.T)
    return LanczosResult(alpha, beta, Q, values, weights, residuals, krylov.finished or m == matrix.shape[0], certificate)


def _short_answer(matrix: Matrix, T: Tridiagonal) -> LanczosResult:
    steps = int(np.argmax(T.beta[:, 0] == 0)) + 1 if (T.beta[:, 0] == 0).any() else T.beta.shape[0]
    T = T.first(steps)
    values, vectors = T.ritz
    residuals = T.beta[-1, 0] * np.abs(vectors[0, -1, ::-1])
    numbers = T.alpha[:, 0], T.beta[:, 0], values[0, ::-1], vectors[0, 0, ::-1] ** 2, residuals
    alpha, beta, values, weights, residuals = (to_caller(matrix, part) for part in numbers)
    certificate = Certificate(CLAIM, np.inf, 1.0, "none")
    return LanczosResult(alpha, beta, None, values, weights, residuals, bool(T.beta[-1, 0] == 0), certificate)


def _phase(x: np.ndarray) -> np.ndarray:
    size = np.abs(x)
    return np.where(size > 0, x, 1) / np.where(size > 0, size, 1)


def to_caller(matrix: Matrix, x: np.ndarray) -> Array:
    """Hand out real numbers from the host."""
    xp = matrix.xp
    return matrix.door.leave(xp.astype(_arrays.from_numpy(np.ascontiguousarray(x), matrix.like), matrix.door.real_dtype))


@dataclass(frozen=True)
class Tridiagonal:
    """Lanczos matrices of p starts: alpha and beta of shape (k, p), zero where a space became invariant."""

    alpha: np.ndarray
    beta: np.ndarray
    skewness: float

    @cached_property
    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (p, k), ascending, and eigenvectors (p, k, k)."""
        k, p = self.alpha.shape
        T = np.zeros((p, k, k))
        i = np.arange(k)
        T[:, i, i] = self.alpha.T
        T[:, i[1:], i[:-1]] = self.beta[:-1].T  # eigh reads the lower triangle
        values, vectors = np.linalg.eigh(T)
        return values, vectors

    @property
    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights (p, k) of Gauss quadrature; weights that are rounding errors are zero."""
        values, vectors = self.ritz
        weights = vectors[:, 0, :] ** 2
        return values, np.where(weights > NEGLIGIBLE, weights, 0.0)

    def first(self, steps: int) -> Tridiagonal:
        """Forget all steps but the first."""
        return Tridiagonal(self.alpha[:steps], self.beta[:steps], self.skewness)


def tridiagonal(matrix: Matrix, X: Array, steps: int) -> Tridiagonal:
    """Run Lanczos without reorthogonalization for all columns of X, of length 1, at once."""
    xp, p = matrix.xp, X.shape[1]
    alpha, beta = np.zeros((steps, p)), np.zeros((steps, p))
    before, length = xp.zeros_like(X), xp.zeros((p,), dtype=matrix.door.real_dtype, device=X.device)
    size = skew = 0.0
    for j in range(steps):
        W = matrix.times(X)
        size = max(size, _longest(W))
        skew = max(skew, float(xp.max(xp.abs(xp.vecdot(before, W, axis=-2) - length) * length)))  # short steps magnify rounding
        W = W - before * length
        diagonal = xp.vecdot(X, W, axis=-2)
        W = W - X * diagonal
        length = xp.linalg.vector_norm(W, axis=0)
        goes_on = length > NOISE * matrix.roundoff * size
        length = xp.where(goes_on, length, xp.zeros_like(length))
        alpha[j], beta[j] = np.real(_arrays.to_numpy(diagonal)), _arrays.to_numpy(length)
        before, X = X, xp.where(goes_on, W, xp.zeros_like(W)) / xp.where(goes_on, length, xp.ones_like(length))
    return Tridiagonal(alpha, beta, skew / size / size if size else 0.0)


@dataclass(frozen=True)
class Krylov:
    """An orthonormal basis Q of a Krylov space, P of the block that comes next, and A Q = Q T + P C.

    Attributes
    ----------
    rows : array (m, n)
        Q^T.
    T : NumPy array (m, m)
        Q^H A Q in double precision, as computed: `skewness` shows whether A is Hermitian.
    P : array (n, r)
        r = 0 where Q is invariant.
    C : NumPy array (r, m)
        P^H A Q.
    first : int
        Columns of the first block.
    size : float
        Length of the longest product so far, which is the scale of rounding errors.
    memory : array or None
        Where the rows lie, with room for more.
    """

    rows: Array
    T: np.ndarray
    P: Array
    C: np.ndarray
    first: int
    size: float
    memory: Array | None = None

    @cached_property
    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors of the Hermitian part of T."""
        values, vectors = np.linalg.eigh((self.T + self.T.conj().T) / 2)
        return values, vectors

    def largest(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the largest Ritz values, descending, the vectors that go with them, and the residuals."""
        from scipy.linalg import eigh

        m = self.T.shape[0]
        T = (self.T + self.T.conj().T) / 2
        values, vectors = eigh(T, subset_by_index=(max(0, m - count), m - 1), driver="evr", check_finite=False)
        return values[::-1], vectors[:, ::-1], np.linalg.norm(self.C @ vectors[:, ::-1], axis=0)

    @cached_property
    def residuals(self) -> np.ndarray:
        """||A Q y - theta Q y|| of each Ritz pair, but for rounding errors."""
        return np.linalg.norm(self.C @ self.ritz[1], axis=0)

    @property
    def smallest(self) -> float:
        """The smallest Ritz value."""
        return float(np.linalg.eigvalsh((self.T + self.T.conj().T) / 2)[0])

    @property
    def skewness(self) -> float:
        """||T - T^H|| / ||T||: rounding errors if A is Hermitian."""
        size = float(np.linalg.norm(self.T))
        return float(np.linalg.norm(self.T - self.T.conj().T)) / size if size else 0.0

    @property
    def finished(self) -> bool:
        """Whether the space is invariant: nothing can be added."""
        return self.P.shape[1] == 0

    def vectors(self, columns: np.ndarray) -> Array:
        """Return Q times host columns (m, k), an (n, k) array."""
        return _times(self.rows, _like(self.rows, columns))

    def grown(self, product: Callable[[Array], Array], steps: int) -> Krylov:
        """Add up to `steps` blocks, every one orthogonalized twice against what it is coupled with, once against all before.

        Directions of a block that depend on earlier ones are dropped, so that blocks may shrink.
        """
        m, n = self.rows.shape
        order = min(n, m + self.P.shape[1] * steps)
        memory = self._room(order)
        T = np.zeros((order, order), dtype=self.T.dtype)
        T[:m, :m] = self.T
        P, C, size, end = self.P, self.C, self.size, m
        for _ in range(steps):
            if P.shape[1] == 0:
                break
            begin, end = end, end + P.shape[1]
            memory[begin:end, :], T[begin:end, :begin] = P.T, C
            coupled = int(np.argmax(np.any(C != 0, axis=0))) if C.any() else begin
            W = product(P)
            size = max(size, _longest(W))
            P, T[:end, begin:end], tail = _next_block(memory[:end, :], coupled, W, size)
            C = np.concatenate([np.zeros((P.shape[1], begin)), tail], axis=1)
        return Krylov(memory[:end, :], T[:end, :end], P, C, self.first, size, memory)

    def _room(self, order: int) -> Array:
        """Return memory for more rows that begins with those at hand; it grows geometrically, and what follows them is free."""
        m, n = self.rows.shape
        if self.memory is not None and self.memory.shape[0] >= order:
            return self.memory
        xp = _arrays.namespace(self.P)
        memory = xp.empty((min(n, max(order, 2 * m)), n), dtype=self.P.dtype, device=self.P.device)
        memory[:m, :] = self.rows
        return memory

    def refreshed(self, start: Array) -> Krylov:
        """Go on with a fresh start where the space is invariant."""
        P = _next_block(self.rows, 0, start - _times(self.rows, _adjoint_times(self.rows, start)), _longest(start))[0]
        return replace(self, P=P, C=np.zeros((P.shape[1], self.T.shape[0]), dtype=self.T.dtype))

    def restarted(self, keep: int) -> Krylov:
        """Keep the Ritz vectors of the `keep` largest Ritz values, and the block that comes next."""
        values, vectors, _ = self.largest(keep)
        return Krylov(self.vectors(vectors).T, np.diag(values).astype(self.T.dtype), self.P, self.C @ vectors, 0, self.size)


def block_lanczos(product: Callable[[Array], Array], start: Array, steps: int) -> Krylov:
    """Build an orthonormal basis of span{X, A X, ..., A^(steps - 1) X} for a start X of shape (n, b)."""
    P = _orthonormal(_independent(start, 0.0, start.shape[0])[0])[0]
    nothing = np.zeros((P.shape[1], 0), dtype=_double(start[:0, :]).dtype)
    return Krylov(P.T[:0, :], nothing[:0, :], P, nothing, P.shape[1], 0.0).grown(product, steps)


def _next_block(rows: Array, coupled: int, W: Array, size: float) -> tuple[Array, np.ndarray, np.ndarray]:
    """Split W = Q C + Q' S with Q' orthonormal and orthogonal to Q; return Q', C, S.

    But for rounding errors W is orthogonal to the rows before `coupled`.
    """
    C = _adjoint_times(rows[coupled:, :], W)
    Q, S = _independent(W - _times(rows[coupled:, :], C), size, rows.shape[1] - rows.shape[0])
    again = _adjoint_times(rows, Q)
    Q, turn = _orthonormal(Q - _times(rows, again))
    coefficients = _double(again) @ S
    coefficients[coupled:, :] += _double(C)
    return Q, coefficients, turn @ S


def _adjoint_times(rows: Array, W: Array) -> Array:
    """Return Q^H W. OpenBLAS takes a third of the time when the long side comes last in both factors."""
    xp = _arrays.namespace(W)
    if xp.isdtype(W.dtype, "complex floating"):
        return xp.conj((xp.conj(W).T @ rows.T).T)
    return (W.T @ rows.T).T


def _times(rows: Array, C: Array) -> Array:
    """Return Q C, likewise."""
    return (C.T @ rows).T


def _independent(W: Array, size: float, most: int) -> tuple[Array, np.ndarray]:
    """Factor W = Q S with nearly orthonormal Q of at most so many columns.

    Directions that are rounding errors of vectors of length `size` are left out.
    """
    xp, b = _arrays.namespace(W), W.shape[1]
    u = _arrays.unit_roundoff(xp, W.dtype)
    noise = NOISE * u * b**0.5
    energies, V = _gram_eigh(W)
    if 0 < b <= most and energies[0] > max(RELIABLE * u**0.5 * energies[-1], (noise * size) ** 2):
        lengths = energies**0.5
        return W @ _like(W, V / lengths), lengths[:, None] * V.conj().T
    Q, R = xp.linalg.qr(W, mode="reduced")
    left, s, right = np.linalg.svd(_double(R), full_matrices=False)
    keep = np.flatnonzero(s > noise * max(size, s[0]))[:most]
    return Q @ _like(W, left[:, keep]), s[keep, None] * right[keep, :]


def _orthonormal(Q: Array) -> tuple[Array, np.ndarray]:
    """Factor Q = P S with orthonormal P, for a Q that is nearly orthonormal unless rounding errors make up most of it."""
    energies, V = _gram_eigh(Q)
    if V.size and energies[0] > 0.5 and energies[-1] < 2:
        lengths = energies**0.5
        return Q @ _like(Q, (V / lengths) @ V.conj().T), (V * lengths) @ V.conj().T
    P, R = _arrays.namespace(Q).linalg.qr(Q, mode="reduced")
    return P, _double(R)


def _gram_eigh(W: Array) -> tuple[np.ndarray, np.ndarray]:
    xp = _arrays.namespace(W)
    energies, V = np.linalg.eigh(_double(_arrays.adjoint_of(xp, W) @ W))
    return energies, V


def _longest(W: Array) -> float:
    xp = _arrays.namespace(W)
    return float(xp.max(xp.linalg.vector_norm(W, axis=0)))


def _like(W: Array, x: np.ndarray) -> Array:
    return _arrays.namespace(W).astype(_arrays.from_numpy(x, W), W.dtype)


def _double(x: Array) -> np.ndarray:
    host = _arrays.to_numpy(x)
    return host.astype(np.complex128 if np.iscomplexobj(host) else np.float64)
