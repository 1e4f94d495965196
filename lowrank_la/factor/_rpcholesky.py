"""`rpcholesky`: a partial Cholesky factor of a positive semidefinite matrix, its pivots drawn at random."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor._elimination import Elimination, Entries, Randomly, eliminate, rounding

NAME = "rpcholesky"
CLAIM = "trace and Frobenius and spectral norm of K - F F^H <= bound"


@dataclass(frozen=True, repr=False)
class RPCholeskyResult(Result):
    """K ~ F F^H, never larger than K, and exact in the columns that were drawn.

    Attributes
    ----------
    indices : array (k,), int64
        Pivots, in the order they were drawn.
    F : array (n, k)
        Factor; its rows `indices` are lower triangular.
    residual : array (n,), real
        Diagonal of K - F F^H; |K_ij - (F F^H)_ij|^2 <= residual_i residual_j.
    error : float
        trace(K - F F^H).
    relative_error : float
        The same over trace(K).
    evaluations : int
        Entries of K that were asked for.
    converged : bool
        Whether the tolerance was reached; True if none was given.
    certificate : Certificate
        Bounds the error.
    """

    indices: Array
    F: Array
    residual: Array
    error: float
    relative_error: float
    evaluations: int
    converged: bool
    certificate: Certificate

    @property
    def rank(self) -> int:
        """Number of pivots."""
        return self.F.shape[1]


def rpcholesky(
    K: Any, rank: int | None = None, *, tol: float | None = None, diagonal: Array | None = None, rng: _random.RNG = None
) -> RPCholeskyResult:
    """Approximate a positive semidefinite matrix from a few of its columns, drawn where the approximation is worst.

    Each pivot is drawn with probability proportional to the diagonal of what remains, and
    eliminated. Pivots are proposed in blocks and accepted or rejected so that their law is
    that of drawing one at a time, at the speed of matrix products.

    Parameters
    ----------
    K : array (n, n), sparse matrix, or callable
        Hermitian and positive semidefinite. A callable K(rows, columns) returns the block
        of entries K[rows, columns] as an array; `columns` is an array of indices, and so is `rows`,
        or ``slice(None)`` for all rows: ``lambda i, j: kernel(X[i], X[j])`` is one.
    rank : int, 1 <= rank <= n
        Columns to take; at most, if `tol` is given too.
    tol : float, 0 < tol < 1
        Stop when trace(K - F F^H) <= tol trace(K).
    diagonal : array (n,), real
        Diagonal of K; only with a callable, and required there.
    rng : None, int or numpy.random.Generator
        An int gives the same pivots on every backend, to rounding.

    Returns
    -------
    RPCholeskyResult
        indices, F, residual, error, relative_error, evaluations, converged and certificate.

    Raises
    ------
    ValueError
        K is empty, not square, not Hermitian or not positive semidefinite (as far as its entries were
        looked at), not finite, an argument is out of range, or neither rank nor tol is given.
    TypeError
        K is no matrix of numbers.

    Warns
    -----
    ConvergenceWarning
        The tolerance is not reached by `rank` columns, or lies below rounding errors.

    Notes
    -----
    Cost: n (k + 1) entries of K and some (b k)^2 / k for proposals in blocks of b = 32 to 256, and n k^2
    flops. Memory: F. Fewer than `rank` columns come back where K has lower rank, to working precision.

    Certificate: trace(K - F F^H) is summed from the diagonal of K and the rows of F in double precision. What
    remains of a positive semidefinite matrix is one, so its trace bounds its norms; rounding errors, of the
    order k u trace(K), are bounded and added. Confidence 1. On average over the draws the trace is at most
    1 + e times the least possible for rank r once k >= r / e + r log(1 / (e h)), where h is the
    least possible over trace(K) [1]_.

    References
    ----------
    .. [1] Chen, Epperly, Tropp and Webber, Randomly pivoted Cholesky: practical approximation of a kernel
       matrix with few entry evaluations, Comm. Pure Appl. Math. 78, 2025.
    .. [2] Epperly, Tropp and Webber, Embrace rejection: kernel matrix approximation by accelerated randomly
       pivoted Cholesky, arXiv:2410.03969. Proposals in blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import rpcholesky
    >>> x = np.random.default_rng(0).standard_normal((2000, 2))
    >>> def kernel(i, j):
    ...     return np.exp(-np.sum((x[i][:, None] - x[j]) ** 2, axis=-1) / 2)
    >>> result = rpcholesky(kernel, tol=1e-3, diagonal=np.ones(2000), rng=0)
    >>> result.rank < 60 and result.evaluations < 140_000
    True
    >>> K = kernel(slice(None), slice(None))
    >>> bool(np.linalg.norm(K - result.F @ result.F.T, 2) <= result.certificate.bound <= 2.1)
    True
    """
    seed = _random.seed_of(NAME, rng)
    if rank is None and tol is None:
        raise ValueError(f"{NAME}: rank or tol must be given; got neither")
    tol = None if tol is None else _checks.real(NAME, "tol", tol, 0, 1, open=True)
    door, entries, entered = _enter(K, diagonal)
    n = entered.shape[0]
    most = n if rank is None else _checks.integer(NAME, "rank", rank, 1, n)
    elimination = Elimination(NAME, door, entries, entered, 0 if rank is None else most)
    eliminate(elimination, Randomly(seed, NAME), most, (tol or 0.0) * elimination.trace)
    result = _answer(elimination, tol)
    if not result.converged:
        words = f"{NAME}: {result.rank} columns leave {result.relative_error:.2g} of the trace, more than tol = {tol:.2g}"
        warnings.warn(words, ConvergenceWarning, stacklevel=2)
    return result


def _enter(K: Any, diagonal: Array | None) -> tuple[Door, Entries, Array]:
    """Take K inside as a function of rows and columns, with its diagonal.

    Raises
    ------
    ValueError
        K is not square or has no rows, its diagonal has a negative entry, is missing or is not wanted.
    """
    if callable(K) and not _arrays.is_sparse(K):
        if diagonal is None:
            raise ValueError(f"{NAME}: diagonal must be given with a callable K; got None")
        entered = _enter_callable(K, diagonal)
    elif diagonal is not None:
        raise ValueError(f"{NAME}: diagonal must not be given with a matrix K; got one")
    else:
        entered = _enter_matrix(K)
    xp, weights = entered[0].xp, entered[2]
    if weights.shape[0] == 0:
        raise ValueError(f"{NAME}: K must have at least one row; got none")
    if bool(xp.any(weights < 0)):
        raise ValueError(f"{NAME}: K must be positive semidefinite; got a negative diagonal entry in row {int(xp.argmin(weights))}")
    return entered


def _enter_callable(K: Callable[[Any, Any], Array], diagonal: Array) -> tuple[Door, Entries, Array]:
    """One entry tells the dtype; indices go out as the caller's arrays."""
    outer, [diagonal] = _arrays.enter(NAME, diagonal=diagonal)
    _checks.ndim(NAME, "diagonal", _checks.real_dtype(NAME, "diagonal", diagonal), 1)
    _checks.finite(NAME, "diagonal", diagonal)
    first = outer.leave(_arrays.from_numpy(np.zeros(min(1, diagonal.shape[0]), dtype=np.int64), diagonal))
    door, [block] = _arrays.enter(NAME, **{"K(rows, columns)": K(first, first)})

    def entries(rows: Any, columns: Array) -> Array:
        block = K(rows if isinstance(rows, slice) else outer.leave(rows), outer.leave(columns))
        _, [block] = _arrays.enter(NAME, **{"K(rows, columns)": block})
        height = diagonal.shape[0] if isinstance(rows, slice) else rows.shape[0]
        return _checks.finite(NAME, "K(rows, columns)", _checks.shape(NAME, "K(rows, columns)", block, (height, columns.shape[0])))

    _checks.shape(NAME, "K(rows, columns)", block, (first.shape[0],) * 2)
    return door, entries, diagonal


def _enter_matrix(K: Any) -> tuple[Door, Entries, Array]:
    """Entries of a Hermitian array come from its rows, which lie together in memory.

    Raises
    ------
    ValueError
        K is not square.
    """
    door, [K] = _arrays.enter(NAME, K=K)
    if K.ndim != 2 or K.shape[0] != K.shape[1]:
        raise ValueError(f"{NAME}: K must be square; got shape {tuple(K.shape)}")
    _checks.finite(NAME, "K", K)
    xp = door.xp
    if _arrays.is_sparse(K):
        K = K.tocsr()
        return door, lambda rows, columns: K[rows][:, columns].toarray(), xp.real(K.diagonal())

    def entries(rows: Any, columns: Array) -> Array:
        if isinstance(rows, slice):
            return _arrays.adjoint_of(xp, xp.take(K, columns, axis=0))
        return xp.take(xp.take(K, rows, axis=0), columns, axis=1)

    diagonal = xp.linalg.diagonal(K)
    return door, entries, xp.real(diagonal) if xp.isdtype(K.dtype, "complex floating") else diagonal


def _answer(elimination: Elimination, tol: float | None) -> RPCholeskyResult:
    """Sum the trace of what remains, with its rounding errors and those of the elimination."""
    xp, door, F = elimination.xp, elimination.door, elimination.factor
    residual = elimination.diagonal - elimination.lengths
    error, trace = max(float(xp.sum(residual)), 0.0), elimination.trace
    pivots = _arrays.from_numpy(elimination.pivots, F)
    slack = rounding(F, xp.take(F, pivots, axis=0), trace)
    return RPCholeskyResult(
        indices=door.leave(pivots),
        F=door.leave(F),
        residual=door.leave(xp.where(residual > 0, residual, xp.zeros_like(residual))),
        error=error,
        relative_error=error / trace if trace else 0.0,
        evaluations=elimination.evaluations,
        converged=tol is None or error <= tol * trace,
        certificate=Certificate(CLAIM, error + slack, 1.0, "trace"),
    )
