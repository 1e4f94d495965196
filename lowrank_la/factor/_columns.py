"""`column_subset`: columns of A that span nearly all of it, and the projection on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _matrix, _methods, _orth, _pivoted, _slices
from lowrank_la.factor._dense import adjoint
from lowrank_la.factor._matrix import Matrix

METHODS = ("qr", "strong", "rpcholesky", "leverage", "deim", "osinsky")
DIRECT = 1e8  # flops of a pivoted QR of A itself that nobody notices
DIRECT_ENTRIES = 1 << 23
MUCH_CANCELLATION = 1e4  # roundoff units of ||A||^2: smaller squared errors are seen in the sketch only
SEED = 0  # of sketches that only precondition
FEW = 10  # columns over those to choose, up to which the triangular factor of A comes cheaper than steps on all of A
DEPENDENT = 30  # roundoff units of the longest column: a remainder below it is rounding error


@dataclass(frozen=True, repr=False)
class ColumnSubsetResult(Result):
    """Columns J of A, and what the projection on them misses.

    Attributes
    ----------
    indices : array (k,), int64
        J, in the order of choice.
    error : float
        ||A - C C^+ A||_F for C = A[:, J], or an estimate where the certificate says so.
    guarantee : float
        Factor within which this method keeps that error of the least error of any matrix of
        rank k, by proof; inf where there is no proof, or the columns were chosen from a sketch.
    passes : int
        How often A was read.
    method : str
        The rule of choice.
    certificate : Certificate or None
        Bounds the error; None if it was not wanted.
    """

    indices: Array
    error: float
    guarantee: float
    passes: int
    method: str
    certificate: Certificate | None


def column_subset(
    A: Any, k: int, *, method: str = "qr", sketch_rows: int | None = None, rng: _random.RNG = None, certificate: bool = True
) -> ColumnSubsetResult:
    """Choose k columns of A that span nearly all of it.

    The columns are chosen from a small picture of A: from a random sketch of its rows, or, if A
    is small, from A itself. What their span misses is then measured on A.

    Parameters
    ----------
    A : array (n, d), sparse matrix, linear operator, or row blocks
        Real or complex. Row blocks are a list of arrays or sparse matrices with d columns,
        or a function that returns an iterable of them; they are read several times.
    k : int, 1 <= k <= min(n, d)
        Columns to choose.
    method : {"qr", "strong", "rpcholesky", "leverage", "deim", "osinsky"}
        "qr": pivoted QR, the column with the largest remainder each time; fast and nearly always
        good. "strong": goes on to swap columns until no coefficient of the others is above 2.
        "rpcholesky": draws columns by their remainders, which outliers cannot mislead.
        "leverage": draws columns by their leverage scores, without replacement. "deim": pivots
        of the leading singular vectors. "osinsky": singular vectors and remainders
        together; the best guarantee.
    sketch_rows : int, sketch_rows >= k, optional
        Rows of the sketch, 2 k + 20 by default; n or more: choose from A itself.
    rng : None, int or numpy.random.Generator
        An int gives the same sketch and the same draws on every backend.
    certificate : bool
        False saves a pass over A; `error` is then an estimate.

    Returns
    -------
    ColumnSubsetResult
        indices, error, guarantee, passes, method and certificate.

    Raises
    ------
    ValueError
        A is empty, has an entry that is not finite, or an argument is out of range.
    TypeError
        A is no matrix of numbers, or row blocks that can be read only once.

    Notes
    -----
    Cost for l = 2 k + 20 sketch rows: the sketch, 4 l d k flops for the choice (on the host), 2 n k^2 for an
    orthonormal basis, and 2 n d k for each of two passes over A. "leverage", "deim" and
    "osinsky" need leading singular vectors besides. Memory: the sketch, a few k x d matrices and the chosen columns.

    Certificate: the residual A - C X is measured entry by entry for the X that is found, its rounding
    errors are bounded and added; the projection can only be closer. Confidence 1. For sparse matrices too
    large for that, ||A||^2 - 2 Re <A, C X> + ||C X||^2 in double precision, which sees errors down to some 1e-7 ||A||.
    For linear operators 10 fresh Gaussian probes with confidence 0.99: the bound is 2 times the estimate.

    `guarantee` is computed for the columns that were chosen, from the largest gain of volume that a
    swap would bring ([1]_, which limits it to sqrt(1 + 4 k (d - k)) for "strong") or from the singular
    vectors in their rows ([2]_); for "osinsky" it is at most sqrt(k + 1) [3]_, which no rule can improve.

    References
    ----------
    .. [1] Gu and Eisenstat, Efficient algorithms for computing a strong rank-revealing QR
       factorization, SIAM J. Sci. Comput. 17, 1996.
    .. [2] Sorensen and Embree, A DEIM induced CUR factorization, SIAM J. Sci. Comput. 38, 2016.
    .. [3] Osinsky, Close to optimal column approximations with a single SVD, arXiv:2308.09068.
    .. [4] Chen, Epperly, Tropp and Webber, Randomly pivoted Cholesky, Comm. Pure Appl. Math. 78, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import column_subset
    >>> A = np.vander(np.linspace(0, 1, 300), 40, increasing=True)
    >>> result = column_subset(A, 8)
    >>> C = A[:, result.indices]
    >>> error = np.linalg.norm(A - C @ np.linalg.lstsq(C, A)[0])
    >>> bool(error <= result.certificate.bound < 1e-3 * np.linalg.norm(A))
    True
    """
    method = _checks.choice("column_subset", "method", method, METHODS)
    seed = _random.seed_of("column_subset", rng)
    matrix = _checks.not_empty("column_subset", "A", _matrix.enter("column_subset", "A", A))
    k = _checks.integer("column_subset", "k", k, 1, min(matrix.shape))
    picture = look(matrix, rows_of_sketch("column_subset", matrix, sketch_rows, k), seed, k)
    choice = choose(picture, k, method, seed)
    fit = project(matrix, choice.indices)
    error, proof = judge(matrix, picture, fit, seed, certificate)
    return ColumnSubsetResult(leave_indices(matrix, choice.indices), error, choice.guarantee, matrix.passes, method, proof)


def leave_indices(matrix: Matrix, indices: np.ndarray) -> Array:
    """Hand indices to the caller."""
    return matrix.door.leave(_arrays.from_numpy(indices, matrix.like))


def rows_of_sketch(function: str, matrix: Matrix, wanted: int | None, k: int) -> int:
    """Rows of the picture: all of them if A is small."""
    n, d = matrix.shape
    if wanted is not None:
        return _checks.integer(function, "sketch_rows", wanted, k)
    small = n * d <= DIRECT_ENTRIES and n * d * min(n, d) <= DIRECT
    return n if small else 2 * k + 20


@dataclass(frozen=True)
class Picture:
    """What the choice of columns sees of A: a matrix Y with few rows, on the host, in double precision.

    Attributes
    ----------
    matrix : Matrix
        A.
    Y : NumPy array (l, d)
        A itself, its triangular factor, or a sketch of it.
    exact : bool
        Y^H Y = A^H A.
    """

    matrix: Matrix
    Y: np.ndarray
    exact: bool

    def singular_vectors(self, k: int, seed: int) -> np.ndarray:
        """Leading right singular vectors, as columns."""
        if self.exact:
            return _adjoint(np.linalg.svd(self.Y, full_matrices=False)[2][:k])
        plan = _methods.Plan(k, None, "fro", "auto", None, 10, False, seed)
        return double(_methods.certified(self.matrix, plan)[0].factors.V)


def look(matrix: Matrix, height: int, seed: int, k: int) -> Picture:
    """Sketch A for the choice of k columns, or take all of it if the sketch would not be shorter."""
    exact = height >= matrix.shape[0]
    Y = _slices.whole(matrix) if exact else matrix.sketch(height, seed)
    compress = Y.shape[1] < min(Y.shape[0], FEW * k)
    return Picture(matrix, double(_arrays.triangular_factor(Y) if compress else Y), exact)


@dataclass(frozen=True)
class Choice:
    """Columns, and a proved factor over the least error."""

    indices: np.ndarray
    guarantee: float


def choose(picture: Picture, k: int, method: str, seed: int) -> Choice:
    """Apply one of the rules."""
    Y, random = picture.Y, _random.host_generator(seed, "factor: columns")
    V = picture.singular_vectors(k, seed) if method in {"leverage", "deim", "osinsky"} else None
    if V is None:
        rule = {"qr": _pivoted.greedy, "strong": _pivoted.strong, "rpcholesky": partial(_pivoted.random_pivots, random=random)}[method]
        indices = rule(Y, k)
    elif method == "osinsky":
        indices = _pivoted.osinsky(V, Y - (Y @ V) @ _adjoint(V), k)
    else:
        indices = _pivoted.deim(V, k) if method == "deim" else _pivoted.leverage(V, k, random)
    return Choice(indices, _guarantee(Y, V, indices, method) if picture.exact else math.inf)


def _guarantee(Y: np.ndarray, V: np.ndarray | None, indices: np.ndarray, method: str) -> float:
    """Bound the projection error over the least one, in the Frobenius norm, by what is known of the columns."""
    k, d = indices.size, Y.shape[1]
    factor = math.sqrt(1 + _pivoted.largest_gain(Y, indices) * k * (d - k))
    if V is not None:
        least = float(np.linalg.svd(V[indices], compute_uv=False)[-1])
        factor = min(factor, 1 / least if least else math.inf)
    return min(factor, math.sqrt(k + 1)) if method == "osinsky" else factor


@dataclass(frozen=True)
class Fit:
    """A ~ C X for C = A[:, indices].

    Attributes
    ----------
    indices : NumPy array (k,)
    skeleton : array (n, k) or sparse matrix
        C.
    X : array (k, d)
    captured : float or None
        ||C X||_F^2 if it is orthogonal to A - C X.
    """

    indices: np.ndarray
    skeleton: Any
    X: Array
    captured: float | None


@dataclass(frozen=True)
class Basis:
    """C = Q R place^T up to rounding, without the columns of C that depend on those before.

    Attributes
    ----------
    Q : array (n, r), orthonormal columns
    R : array (r, r), upper triangular
    place : array (k, r) or None
        Columns of the identity: which columns of C were kept; None if all.
    """

    Q: Array
    R: Array
    place: Array | None

    def coefficients(self, B: Array) -> Array:
        """Return C^+ Q B, with zeros for the columns that depend on others."""
        X = _arrays.solve_triangular(self.R, B)
        return X if self.place is None else self.place @ X


def basis(C: Array) -> Basis:
    """Factor C by QR, twice if columns depend on others."""
    xp = _arrays.namespace(C)
    Q, R = _orth.orthonormal(C, SEED)
    keep = _independent(R)
    if keep.size == C.shape[1]:
        return Basis(Q, R, None)
    Q, R = _orth.orthonormal(xp.take(C, _arrays.from_numpy(keep, C), axis=1), SEED)
    place = _arrays.from_numpy(np.arange(C.shape[1])[:, None] == keep[None, :], C)
    return Basis(Q, R, xp.astype(place, C.dtype))


def project(matrix: Matrix, indices: np.ndarray) -> Fit:
    """Find the best coefficients of all columns, in one pass."""
    skeleton = _slices.columns(matrix, indices)
    found = basis(_slices.dense(skeleton))
    B = adjoint(matrix.adjoint_times(found.Q))
    return Fit(indices, skeleton, _with_identity(found.coefficients(B), indices), kernels.energy.squared_norm(B))


def _independent(R: Array) -> np.ndarray:
    """Columns of a triangular matrix that do not depend on those before."""
    R = np.abs(_arrays.to_numpy(R))
    return np.flatnonzero(np.diagonal(R) > DEPENDENT * float(np.finfo(R.dtype).eps) / 2 * R.max(initial=0.0))


def _with_identity(X: Array, indices: np.ndarray) -> Array:
    """Put the identity, which X holds up to rounding, into its columns `indices`."""
    xp = _arrays.namespace(X)
    place = _arrays.from_numpy(indices, X)
    unit = place[:, None] == xp.arange(X.shape[1], dtype=place.dtype, device=place.device)[None, :]
    return xp.where(xp.any(unit, axis=0)[None, :], xp.astype(unit, X.dtype), X)


def judge(matrix: Matrix, picture: Picture, fit: Fit, seed: int, certificate: bool) -> tuple[float, Certificate | None]:
    """Measure the error, or estimate it without another pass."""
    if certificate:
        return _slices.certified_error(matrix, _slices.dense(fit.skeleton), fit.X, seed)
    if matrix.squared_norm is not None and fit.captured is not None:
        rest = matrix.squared_norm - fit.captured
        if rest > MUCH_CANCELLATION * matrix.roundoff * matrix.squared_norm:
            return math.sqrt(rest), None
    return float(np.linalg.norm(picture.Y - picture.Y[:, fit.indices] @ double(fit.X))), None


def double(x: Array) -> np.ndarray:
    """Bring a small array to the host, in double precision."""
    host = _arrays.to_numpy(x)
    return host.astype(np.complex128 if np.iscomplexobj(host) else np.float64, copy=False)


def _adjoint(x: np.ndarray) -> np.ndarray:
    return x.conj().T
