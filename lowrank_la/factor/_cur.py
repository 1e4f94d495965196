"""`cur`: a matrix from some of its columns, some of its rows, and a small matrix between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _columns, _matrix, _pivoted, _slices
from lowrank_la.factor._columns import Basis
from lowrank_la.factor._dense import adjoint
from lowrank_la.factor._matrix import Matrix

NAME = "cur"
METHODS = ("qr", "strong", "rpcholesky", "leverage", "deim")


@dataclass(frozen=True, repr=False)
class CURResult(Result):
    """A ~ C U R with C = A[:, columns] and R = A[rows, :].

    Attributes
    ----------
    rows, columns : array (k,), int64
        Rows and columns that were chosen, in the order of choice.
    C : array (n, k), sparse if A is
        The chosen columns.
    U : array (k, k)
        What stands between them.
    R : array (k, d), sparse if A is
        The chosen rows.
    error : float
        ||A - C U R||_F, or an estimate where the certificate says so.
    passes : int
        How often A was read.
    method : str
        The rule of choice.
    certificate : Certificate or None
        Bounds the error; None if it was not wanted.
    """

    rows: Array
    columns: Array
    C: Any
    U: Array
    R: Any
    error: float
    passes: int
    method: str
    certificate: Certificate | None

    @property
    def rank(self) -> int:
        """Number of rows, and of columns."""
        return self.rows.shape[0]

    def to_dense(self) -> Array:
        """Form C U R."""
        return self.C @ (self.U @ self.R)


def cur(
    A: Any,
    rank: int,
    *,
    core: str = "projection",
    method: str = "qr",
    sketch_rows: int | None = None,
    rng: _random.RNG = None,
    certificate: bool = True,
) -> CURResult:
    """Approximate a matrix by some of its columns, some of its rows, and a small matrix between them.

    Columns and rows of data mean something, unlike singular vectors; they stay sparse
    if the data are, and nonnegative. Columns are chosen as by `column_subset`, and rows for those columns.

    Parameters
    ----------
    A : array (n, d), sparse matrix, linear operator, or row blocks
        Real or complex. Row blocks are a list of arrays or sparse matrices with d columns,
        or a function that returns an iterable of them; they are read several times.
    rank : int, 1 <= rank <= min(n, d)
        Number of columns, and of rows.
    core : {"projection", "cross"}
        "projection": U = C^+ A R^+, the best one for these rows and columns. "cross": U = A[rows, columns]^-1, for which
        C U R meets A in them exactly; it needs no other entries of A.
    method : {"qr", "strong", "rpcholesky", "leverage", "deim"}
        The rule of choice, see `column_subset`.
    sketch_rows : int, sketch_rows >= rank, optional
        Rows of the sketch, 2 rank + 20 by default; n or more: choose columns from A itself.
    rng : None, int or numpy.random.Generator
        An int gives the same sketch and the same draws on every backend.
    certificate : bool
        False saves a pass over A; `error` is then an estimate.

    Returns
    -------
    CURResult
        rows, columns, C, U, R, error, passes, method and certificate.

    Raises
    ------
    ValueError
        A is empty, has an entry that is not finite, or an argument is out of range.
    TypeError
        A is no matrix of numbers, or row blocks that can be read only once.

    Notes
    -----
    Cost: that of `column_subset`, the same choice among the n rows of an orthonormal basis of C
    (4 n k^2 flops), and 2 d k^2 for a basis of R. "cross" saves the pass of 2 n d k flops. Memory: a few n x k and
    k x d matrices.

    The error is at most that of the columns plus that of the rows, each as `column_subset` finds it. U is found from
    QR factorizations of C and R, not from their normal equations; columns or rows
    that depend on others to working precision get zeros in it. U has entries of the size of 1 / sigma_k, and the product
    C U R rounding errors of the size of u sigma_1^2 / sigma_k.

    Certificate: that of `column_subset`, for A - C U R as it is returned, rounding errors of U included.

    References
    ----------
    .. [1] Mahoney and Drineas, CUR matrix decompositions for improved data analysis, PNAS 106, 2009.
    .. [2] Sorensen and Embree, A DEIM induced CUR factorization, SIAM J. Sci. Comput. 38, 2016.
    .. [3] Goreinov, Tyrtyshnikov and Zamarashkin, A theory of pseudoskeleton approximations,
       Linear Algebra Appl. 261, 1997. The cross form.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import cur
    >>> x, y = np.linspace(0, 1, 300), np.linspace(0, 1, 200)
    >>> A = np.exp(-3 * abs(x[:, None] - 2 * y))
    >>> result = cur(A, 20, rng=0)
    >>> bool(np.array_equal(result.C, A[:, result.columns]))
    True
    >>> error = np.linalg.norm(A - result.C @ result.U @ result.R)
    >>> bool(error <= result.certificate.bound < 0.05 * np.linalg.norm(A))
    True
    """
    _checks.choice(NAME, "core", core, ("projection", "cross"))
    _checks.choice(NAME, "method", method, METHODS)
    seed = _random.seed_of(NAME, rng)
    matrix = _checks.not_empty(NAME, "A", _matrix.enter(NAME, "A", A))
    rank = _checks.integer(NAME, "rank", rank, 1, min(matrix.shape))
    picture = _columns.look(matrix, _columns.rows_of_sketch(NAME, matrix, sketch_rows, rank), seed, rank)
    columns = _columns.choose(picture, rank, method, seed).indices
    C = _slices.columns(matrix, columns)
    left = _columns.basis(_slices.dense(C))
    rows = _rows_for(_columns.double(left.Q), rank, method, seed)
    R = _slices.rows(matrix, rows)
    U, captured = _cross(C, rows) if core == "cross" else _projection(matrix, left, _slices.dense(R))
    fit = _columns.Fit(columns, C, U @ _slices.dense(R), captured)
    error, proof = _columns.judge(matrix, picture, fit, seed, certificate)
    row_places, column_places = (_columns.leave_indices(matrix, index) for index in (rows, columns))
    C, U, R = (part if _arrays.is_sparse(part) else matrix.door.leave(part) for part in (C, U, R))
    return CURResult(row_places, column_places, C, U, R, error, matrix.passes, method, proof)


def _rows_for(Q: np.ndarray, k: int, method: str, seed: int) -> np.ndarray:
    """Choose rows that determine the columns of Q well."""
    random = _random.host_generator(seed, "factor: rows")
    if method in {"leverage", "deim"}:
        return _pivoted.deim(Q, k) if method == "deim" else _pivoted.leverage(Q, k, random)
    Y = Q.conj().T
    if method == "rpcholesky":
        return _pivoted.random_pivots(Y, k, random)
    return _pivoted.strong(Y, k) if method == "strong" else _pivoted.greedy(Y, k)


def _projection(matrix: Matrix, left: Basis, R: Array) -> tuple[Array, float]:
    """C^+ A R^+ and the squared norm of what it captures of A."""
    right = _columns.basis(adjoint(R))
    M = adjoint(matrix.adjoint_times(left.Q)) @ right.Q
    half = adjoint(left.coefficients(M))
    return adjoint(right.coefficients(half)), kernels.energy.squared_norm(M)


def _cross(C: Any, rows: np.ndarray) -> tuple[Array, None]:
    """Invert A[rows, columns], without the singular values that are rounding errors."""
    C = _slices.dense(C[rows]) if _arrays.is_sparse(C) else _arrays.namespace(C).take(C, _arrays.from_numpy(rows, C), axis=0)
    xp = _arrays.namespace(C)
    W = _columns.double(C)
    cut = _columns.DEPENDENT * _arrays.unit_roundoff(xp, C.dtype)
    return xp.astype(_arrays.from_numpy(np.linalg.pinv(W, rcond=cut), C), C.dtype), None
