"""`rpcholesky`: a partial Cholesky factor of a positive semidefinite matrix, its pivots drawn at random."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor._dense import is_complex, wide

NAME = "rpcholesky"
CLAIM = "trace and Frobenius and spectral norm of K - F F^H <= bound"
PROPOSALS = 32, 256  # least and largest number of pivots proposed at once
EAGER, IDLE = 0.6, 0.2  # shares of accepted proposals above and below which their number changes
FLOOR = 30  # roundoff units of the trace, per column: what is left below it is rounding error
U = float(np.finfo(np.float64).eps) / 2

Entries = Callable[[Any, Any], Array]


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
    >>> result.rank < 60 and result.evaluations < 130_000
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
    elimination = _Elimination(door, entries, entered, 0 if rank is None else most)
    _eliminate(elimination, most, (tol or 0.0) * elimination.trace, _random.host_generator(seed, NAME))
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


class _Elimination:
    """What has been eliminated of K, and the diagonal of the rest, in double precision."""

    def __init__(self, door: Door, entries: Entries, diagonal: Array, expected: int) -> None:
        self.xp, self.door, self.entries = door.xp, door, entries
        self.diagonal = self.xp.astype(diagonal, self.xp.float64)
        self.roundoff = _arrays.unit_roundoff(self.xp, door.dtype)
        self.F = self.xp.zeros((diagonal.shape[0], expected), dtype=door.dtype, device=diagonal.device)
        self.pivots = np.zeros(0, dtype=np.int64)
        self.trace = float(self.xp.sum(self.diagonal))
        self.evaluations = 0
        self.rest, self.error = self.diagonal, self.trace

    @property
    def size(self) -> int:
        return self.pivots.size

    @property
    def noise(self) -> Array:
        """What rounding errors may leave of an eliminated diagonal entry."""
        return (FLOOR + self.size) * self.roundoff * self.diagonal

    @property
    def factor(self) -> Array:
        return self.F[:, : self.size]

    def block(self, rows: Any, columns: Array) -> Array:
        """Entries of what remains of K."""
        entries = self.entries(rows, columns)
        self.evaluations += entries.shape[0] * entries.shape[1]
        left = self.factor if isinstance(rows, slice) else self._rows(rows)
        return entries - left @ _arrays.adjoint_of(self.xp, self._rows(columns))

    def _rows(self, rows: Array) -> Array:
        return self.xp.take(self.F, rows, axis=0)[:, : self.size]  # in this order: a part of the columns would be copied first

    def propose(self, random: np.random.Generator, count: int) -> np.ndarray:
        """Draw rows with probabilities proportional to the diagonal of what remains, with replacement."""
        sums = self.xp.cumulative_sum(self.rest)
        targets = self.xp.asarray(random.random(count) * float(sums[-1]), dtype=sums.dtype, device=sums.device)
        places = _arrays.to_numpy(self.xp.searchsorted(sums, targets, side="right"))
        return np.minimum(places, sums.shape[0] - 1).astype(np.int64)

    def add(self, pivots: np.ndarray, L: np.ndarray) -> None:
        """Eliminate pivots whose block of what remains is L L^H.

        Raises
        ------
        ValueError
            What remains has a negative diagonal entry.
        """
        xp, first, last = self.xp, self.size, self.size + pivots.size
        G = self.block(slice(None), _arrays.from_numpy(pivots, self.F))
        R = xp.astype(_arrays.from_numpy(L.conj().T, self.F), self.F.dtype)
        new = _arrays.adjoint_of(xp, _arrays.solve_triangular(R, _arrays.adjoint_of(xp, G), adjoint=True))
        self._reserve(last)
        self.F[:, first:last] = new
        self.pivots = np.concatenate([self.pivots, pivots])
        rest = self.rest - xp.sum(_squares(xp, new), axis=1)
        if bool(xp.any(rest < -1e3 * self.noise)):
            worst = int(xp.argmin(rest))
            raise ValueError(
                f"{NAME}: K must be positive semidefinite; elimination leaves {float(rest[worst]):.3g} on the diagonal, row {worst}"
            )
        self.rest = xp.where(rest > self.noise, rest, xp.zeros_like(rest))
        self.error = float(xp.sum(self.rest))

    def trim(self, goal: float) -> None:
        """Drop the last pivots as long as the trace of what remains stays below the goal."""
        columns = _arrays.to_numpy(self.xp.sum(_squares(self.xp, self.factor), axis=0))
        errors = self.error + np.cumsum(np.append(columns, 0.0)[::-1])[::-1]  # with the first 0, 1, 2, ... pivots
        self.pivots = self.pivots[: int(np.argmax(errors <= goal))] if self.error <= goal else self.pivots

    def _reserve(self, columns: int) -> None:
        """Make room, twice as much as before."""
        if columns > self.F.shape[1]:
            more = min(max(columns, 2 * self.F.shape[1], 2 * PROPOSALS[0]), self.F.shape[0]) - self.F.shape[1]
            self.F = self.xp.concat([self.F, self.xp.zeros((self.F.shape[0], more), dtype=self.F.dtype, device=self.F.device)], axis=1)


def _eliminate(elimination: _Elimination, most: int, goal: float, random: np.random.Generator) -> None:
    """Propose and accept pivots until there are enough of them, or the trace of what remains is small."""
    count = PROPOSALS[0]
    while elimination.size < most and elimination.error > goal:
        proposals = elimination.propose(random, count)
        place = _arrays.from_numpy(proposals, elimination.F)
        H = _arrays.to_numpy(elimination.block(place, place))
        parts = elimination.rest, elimination.noise, elimination.diagonal
        weights, noise, diagonal = (_arrays.to_numpy(elimination.xp.take(x, place, axis=0)) for x in parts)
        _check_hermitian(H, math.sqrt(elimination.roundoff) * float(diagonal.max()))
        accepted, L = _accept(H, np.maximum(random.random(count) * weights, noise), most - elimination.size)
        if accepted.size:
            elimination.add(proposals[accepted], L)
        share = accepted.size / count
        count = min(max(count * 2 if share > EAGER else count // 2 if share < IDLE else count, PROPOSALS[0]), PROPOSALS[1])
    if goal:
        elimination.trim(goal)


def _accept(H: np.ndarray, hurdles: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Eliminate proposals one by one, those whose diagonal entry is still above its hurdle; return them and their Cholesky factor."""
    H, accepted = H.astype(np.result_type(H.dtype, np.float64)), []
    for j in range(H.shape[0]):
        if H[j, j].real <= hurdles[j] or len(accepted) == most:
            continue
        H[j:, j] /= math.sqrt(H[j, j].real)
        H[j + 1 :, j + 1 :] -= np.outer(H[j + 1 :, j], H[j + 1 :, j].conj())
        accepted.append(j)
    chosen = np.array(accepted, dtype=np.int64)
    return chosen, np.tril(H[np.ix_(chosen, chosen)])


def _check_hermitian(H: np.ndarray, tolerance: float) -> None:
    """Compare the entries at hand with those across the diagonal.

    The tolerance is of the scale of K: what is left of K carries the rounding errors of what was subtracted.

    Raises
    ------
    ValueError
        They differ by more than rounding errors of a kernel function.
    """
    difference = float(np.abs(H - H.conj().T).max())
    if difference > tolerance:
        raise ValueError(f"{NAME}: K must be Hermitian; entries differ by {difference:.3g} from those across the diagonal")


def _squares(xp: Any, F: Array) -> Array:
    F = wide(F)
    return xp.abs(F) ** 2 if is_complex(F) else F * F


def _answer(elimination: _Elimination, tol: float | None) -> RPCholeskyResult:
    """Sum the trace of what remains afresh, with its rounding errors and those of the elimination."""
    xp, door, k = elimination.xp, elimination.door, elimination.size
    residual = elimination.diagonal - xp.sum(_squares(xp, elimination.factor), axis=1)
    error, trace = max(float(xp.sum(residual)), 0.0), elimination.trace
    terms = 4 if xp.isdtype(elimination.F.dtype, "complex floating") else 1
    rounding = 4 * terms * (k + 4) * elimination.roundoff * trace + 4 * (k + residual.shape[0]) * U * trace
    return RPCholeskyResult(
        indices=door.leave(_arrays.from_numpy(elimination.pivots, elimination.F)),
        F=door.leave(elimination.factor),
        residual=door.leave(xp.where(residual > 0, residual, xp.zeros_like(residual))),
        error=error,
        relative_error=error / trace if trace else 0.0,
        evaluations=elimination.evaluations,
        converged=tol is None or error <= tol * trace,
        certificate=Certificate(CLAIM, error + rounding, 1.0, "trace"),
    )
