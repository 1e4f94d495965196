"""`interpolative`: A as combinations of some of its own columns, or rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor import _columns, _matrix, _pivoted
from lowrank_la.factor._columns import Fit, Picture
from lowrank_la.factor._dense import adjoint
from lowrank_la.factor._matrix import Matrix

NAME = "interpolative"
BY_TOLERANCE = ("qr", "strong")
FIRST_ROWS = 64  # of the sketch, where the rank is not known
GROWTH = 20  # one over the share by which a rank that was too small grows


@dataclass(frozen=True, repr=False)
class InterpolativeResult(Result):
    """A ~ A[:, indices] X, or A ~ X A[indices, :], and how far off it is.

    Attributes
    ----------
    indices : array (k,), int64
        Columns (rows) that were chosen, in the order of choice.
    X : array (k, d), or (n, k) for rows
        Coefficients; X[:, indices], or X[indices, :], is the identity, exactly.
    skeleton : array (n, k), or (k, d) for rows; sparse if A is
        The chosen columns (rows).
    axis : str
        "columns" or "rows".
    error : float
        ||A - approximation||_F, or an estimate where the certificate says so.
    passes : int
        How often A was read.
    method : str
        The rule of choice.
    converged : bool
        Whether the tolerance was reached; True if none was given.
    certificate : Certificate or None
        Bounds the error; None if it was not wanted.
    """

    indices: Array
    X: Array
    skeleton: Any
    axis: str
    error: float
    passes: int
    method: str
    converged: bool
    certificate: Certificate | None

    @property
    def rank(self) -> int:
        """Number of chosen columns, or rows."""
        return self.indices.shape[0]

    def to_dense(self) -> Array:
        """Form the approximation."""
        return self.skeleton @ self.X if self.axis == "columns" else self.X @ self.skeleton


def interpolative(
    A: Any,
    rank: int | None = None,
    *,
    tol: float | None = None,
    axis: str = "columns",
    method: str = "qr",
    sketch_rows: int | None = None,
    rng: _random.RNG = None,
    certificate: bool = True,
) -> InterpolativeResult:
    """Write a matrix as combinations of a few of its own columns, or rows, with the error bounded.

    Finds J and X with A ~ A[:, J] X: columns are chosen from a random sketch of A (from A itself if it is
    small), and the coefficients X are the best ones for them.

    Parameters
    ----------
    A : array (n, d), sparse matrix, linear operator, or row blocks
        Real or complex. Row blocks are a list of arrays or sparse matrices with d columns,
        or a function that returns an iterable of them; they are read several times.
    rank : int, 1 <= rank <= min(n, d)
        Columns to take; at most, if `tol` is given too.
    tol : float, 0 < tol < 1
        Take so many columns that ||A - A[:, J] X||_F <= tol ||A||_F.
    axis : {"columns", "rows"}
        "rows": A ~ X A[J, :].
    method : {"qr", "strong", "rpcholesky", "leverage", "deim", "osinsky"}
        How columns are chosen, see `column_subset`; only the first two work with `tol`. "strong" keeps all
        coefficients of the picture from which it chooses below 2; those of A are close to them.
    sketch_rows : int, sketch_rows >= rank, optional
        Rows of the sketch, 2 rank + 20 by default; n or more: choose from A itself. Not with `tol`.
    rng : None, int or numpy.random.Generator
        An int gives the same sketch and the same draws on every backend.
    certificate : bool
        False saves a pass over A; `error` is then an estimate.

    Returns
    -------
    InterpolativeResult
        indices, X, skeleton = A[:, J] (sparse if A is), axis, error, passes, method, converged and certificate.

    Raises
    ------
    ValueError
        A is empty or has an entry that is not finite, an argument is out of range, or
        neither rank nor tol is given.
    TypeError
        A is no matrix of numbers, or row blocks that can be read only once.

    Warns
    -----
    ConvergenceWarning
        `rank` columns, or all of them, do not reach the tolerance.

    Notes
    -----
    Cost and certificate: those of `column_subset`. A tolerance costs a few sketches more, and two passes for
    each rank tried; the answer has few columns more than needed. For linear operators the sketch judges
    whether the tolerance is kept; the certificate's probes stay out of it.
    Columns that depend on others to working precision get coefficients for themselves only, so that X stays
    bounded where the rank is above that of A.

    References
    ----------
    .. [1] Cheng, Gimbutas, Martinsson and Rokhlin, On the compression of low rank matrices,
       SIAM J. Sci. Comput. 26, 2005. The decomposition.
    .. [2] Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 53, 2011. Columns
       from a sketch; there the coefficients too, which costs accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import interpolative
    >>> x, y = np.linspace(0, 1, 200), np.linspace(2, 3, 100)
    >>> A = 1 / (x[:, None] + y)
    >>> result = interpolative(A, tol=1e-8)
    >>> result.rank < 8 and result.converged
    True
    >>> error = np.linalg.norm(A - A[:, result.indices] @ result.X)
    >>> bool(error <= result.certificate.bound <= 1.01e-8 * np.linalg.norm(A))
    True
    """
    _checks.choice(NAME, "axis", axis, ("columns", "rows"))
    _checks.choice(NAME, "method", method, _columns.METHODS)
    seed = _random.seed_of(NAME, rng)
    tol = _check_tol(rank, tol, method, sketch_rows)
    matrix = _checks.not_empty(NAME, "A", _matrix.enter(NAME, "A", A))
    most = min(matrix.shape) if rank is None else _checks.integer(NAME, "rank", rank, 1, min(matrix.shape))
    matrix = matrix if axis == "columns" else matrix.H
    if tol is None:
        picture = _columns.look(matrix, _columns.rows_of_sketch(NAME, matrix, sketch_rows, most), seed, most)
        fit = _columns.project(matrix, _columns.choose(picture, most, method, seed).indices)
        error, proof = _columns.judge(matrix, picture, fit, seed, certificate)
        return _answer(matrix, fit, axis, error, method, True, proof)
    fit, error, proof, converged = _by_tolerance(matrix, most, tol, method, seed, certificate)
    if not converged:
        words = f"{NAME}: {fit.indices.size} {axis} leave an error of {error:.3g}, more than tol = {tol:.2g} allows"
        warnings.warn(words, ConvergenceWarning, stacklevel=2)
    return _answer(matrix, fit, axis, error, method, converged, proof)


def _check_tol(rank: int | None, tol: float | None, method: str, sketch_rows: int | None) -> float | None:
    """Check what has to do with the tolerance.

    Raises
    ------
    ValueError
        There is neither rank nor tolerance, or tol goes with a method or sketch that cannot serve it.
    """
    if tol is None:
        if rank is None:
            raise ValueError(f"{NAME}: rank or tol must be given; got neither")
        return None
    if method not in BY_TOLERANCE:
        raise ValueError(f"{NAME}: method must be one of {', '.join(map(repr, BY_TOLERANCE))} if tol is given; got {method!r}")
    if sketch_rows is not None:
        raise ValueError(f"{NAME}: sketch_rows must not be given with tol, which chooses it; got {sketch_rows}")
    return _checks.real(NAME, "tol", tol, 0, 1, open=True)


def _by_tolerance(
    matrix: Matrix, most: int, tol: float, method: str, seed: int, certificate: bool
) -> tuple[Fit, float, Certificate | None, bool]:
    """Find the rank from the picture, and raise it until the error that is measured keeps the tolerance."""
    picture, rank, size = _guess(matrix, most, tol, seed)
    rule = _pivoted.greedy if method == "qr" else _pivoted.strong
    probed = matrix.squared_norm is None  # probes that decide when to stop would spoil their own certificate
    while True:
        fit = _columns.project(matrix, rule(picture.Y, rank))
        error, proof = _columns.judge(matrix, picture, fit, seed, certificate and not probed)
        if error <= tol * size or rank == most:
            break
        rank = min(most, rank + 1 + rank // GROWTH)
    converged = error <= tol * size
    if probed and certificate:
        error, proof = _columns.judge(matrix, picture, fit, seed, True)
    return fit, error, proof, converged


def _guess(matrix: Matrix, most: int, tol: float, seed: int) -> tuple[Picture, int, float]:
    """Enlarge the sketch until it has twice as many rows as its remainders say columns are needed.

    Coefficients that fit l rows of a sketch leave only a share 1 - k / l of the squared error to be seen there.
    """
    height = _columns.rows_of_sketch(NAME, matrix, None, FIRST_ROWS // 2)
    while True:
        picture = _columns.look(matrix, height, seed, most)
        whole = float(np.sum(np.abs(picture.Y) ** 2)) if matrix.squared_norm is None else matrix.squared_norm
        seen = np.ones(most + 1) if picture.exact else 1 - np.arange(height // 2 + 1) / height
        tails = _pivoted.pivoted_qr(picture.Y, min(most, seen.size - 1), goal=tol**2 * whole * seen[-1])[1]
        good = np.flatnonzero(tails <= tol**2 * whole * seen[: tails.size])
        if good.size or seen.size > most:
            return picture, max(1, int(good[0]) if good.size else most), whole**0.5
        height *= 2


def _answer(
    matrix: Matrix, fit: Fit, axis: str, error: float, method: str, converged: bool, proof: Certificate | None
) -> InterpolativeResult:
    leave = matrix.door.leave
    X, skeleton = (fit.X, fit.skeleton) if axis == "columns" else (adjoint(fit.X), adjoint(fit.skeleton))
    return InterpolativeResult(
        _columns.leave_indices(matrix, fit.indices),
        leave(X),
        skeleton if _arrays.is_sparse(skeleton) else leave(skeleton),
        axis,
        error,
        matrix.passes,
        method,
        converged,
        proof,
    )
