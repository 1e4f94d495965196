"""`kron_svd`: the nearest sum of Kronecker products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _dense, _matrix
from lowrank_la.factor._core import core
from lowrank_la.factor._factored import Factored
from lowrank_la.factor._result import SVDResult
from lowrank_la.factor._svd import svd

NAME = "kron_svd"
CLAIM = "||M - sum_i s_i kron(A_i, B_i)||_F <= bound"
Shapes = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, repr=False)
class KronResult(Result):
    """M ~ sum_i s_i kron(A_i, B_i).

    Attributes
    ----------
    A : array (k, m1, n1)
        Left factors, orthonormal in the Frobenius inner product.
    s : array (k,), real
        Weights, descending: singular values of the rearranged matrix.
    B : array (k, m2, n2)
        Right factors, orthonormal too.
    error : float
        ||M - sum_i s_i kron(A_i, B_i)||_F.
    passes : int
        How often M was read.
    converged : bool
        Whether the tolerance was reached; True if none was given.
    certificate : Certificate
        Bounds the error.
    """

    A: Array
    s: Array
    B: Array
    error: float
    passes: int
    converged: bool
    certificate: Certificate

    @property
    def rank(self) -> int:
        """Number of Kronecker products."""
        return self.s.shape[0]

    def __matmul__(self, X: Array) -> Array:
        """Multiply with an array (n1 n2,) or (n1 n2, p), without forming a Kronecker product."""
        xp = _arrays.namespace(self.A, X)
        (k, m1, n1), (_, m2, n2) = self.A.shape, self.B.shape
        _checks.ndim(NAME, "X", X, (1, 2))
        _checks.rows_like(NAME, "X", X, n1 * n2, "M has columns")
        left = xp.reshape(self.A * self.s[:, None, None], (k * m1, n1))
        half = xp.reshape(left @ xp.reshape(X, (n1, -1)), (k, m1, n2, -1))
        product = xp.tensordot(xp.permute_dims(half, (1, 3, 0, 2)), xp.permute_dims(self.B, (0, 2, 1)), axes=2)
        return xp.reshape(xp.permute_dims(product, (0, 2, 1)), (m1 * m2, *X.shape[1:]))

    def to_dense(self) -> Array:
        """Form the sum.

        Returns
        -------
        array (m1 m2, n1 n2)
        """
        xp = _arrays.namespace(self.A)
        (k, m1, n1), (_, m2, n2) = self.A.shape, self.B.shape
        flat = xp.matrix_transpose(xp.reshape(self.A * self.s[:, None, None], (k, -1))) @ xp.reshape(self.B, (k, -1))
        return xp.reshape(xp.permute_dims(xp.reshape(flat, (m1, n1, m2, n2)), (0, 2, 1, 3)), (m1 * m2, n1 * n2))


def kron_svd(
    M: Any,
    shapes: Shapes,
    rank: int | None = None,
    *,
    tol: float | None = None,
    rng: _random.RNG = None,
) -> KronResult:
    """Approximate M by a sum of k Kronecker products A_i (x) B_i, nearest in the Frobenius norm.

    The entries of M are rearranged so that a Kronecker product becomes a matrix of
    rank one; the singular value decomposition of that matrix gives all terms.

    Parameters
    ----------
    M : array (m1 m2, n1 n2), sparse matrix, or Factored
        Real or complex. A sparse matrix stays sparse; the rearrangement of a factored one is never formed.
    shapes : ((m1, n1), (m2, n2))
        Shapes of the left and of the right factors.
    rank : int, 1 <= rank <= min(m1 n1, m2 n2), optional
        Number of terms; with `tol` the largest that may be returned. All by default.
    tol : float, 0 < tol < 1, optional
        Take as few terms as leave an error of at most tol * ||M||_F.
    rng : None, int or numpy.random.Generator
        For the randomized decomposition of large matrices; an int gives the same answer on every backend.

    Returns
    -------
    KronResult
        A, s, B, error, passes, converged and certificate; `result @ X` and `to_dense`.

    Raises
    ------
    ValueError
        M has not the shape that `shapes` ask for, rank or tol is out of range, or an entry is not finite.
    TypeError
        M is no matrix of numbers, or shapes are not two pairs of integers.

    Warns
    -----
    ConvergenceWarning
        `tol` was not reached, see `svd`.

    Notes
    -----
    Cost: one copy of M (of its stored entries), and `svd` of a matrix m1 n1 x m2 n2. A product of the
    rearrangement of a factored M of rank r with p vectors takes 2 r p m1 n2 (m2 + n1) flops.

    Certificate: rearranging keeps the Frobenius norm, so the error is that of `svd`: the tail
    of the singular values, with rounding errors. Always true. For a factored M the identity ||M - M_k||^2 = ||M||^2 - ||s||^2
    serves, which cannot show errors below the square root of roundoff times ||M||.

    References
    ----------
    .. [1] Van Loan and Pitsianis, Approximation with Kronecker products, in: Linear Algebra for
       Large Scale and Real-Time Applications, Kluwer 1993. The rearrangement.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import kron_svd
    >>> rng = np.random.default_rng(0)
    >>> M = np.kron(rng.standard_normal((6, 4)), rng.standard_normal((5, 7)))
    >>> result = kron_svd(M, ((6, 4), (5, 7)), 1)
    >>> bool(np.allclose(result.to_dense(), M)), result.certificate.bound < 1e-10
    (True, True)
    """
    shapes = _read(shapes)
    (m1, n1), (m2, n2) = shapes
    if not isinstance(M, Factored) and (_arrays.is_operator(M) or _arrays.is_row_blocks(M)):
        got = "a linear operator" if _arrays.is_operator(M) else "row blocks"
        raise TypeError(f"{NAME}: M must be an array, a sparse matrix or Factored; got {got}")
    if rank is not None:
        rank = _checks.integer(NAME, "rank", rank, 1, min(m1 * n1, m2 * n2))
    if tol is not None:
        tol = _checks.real(NAME, "tol", tol, 0, 1, open=True)
    leave, found = _decomposed(M, shapes, rank, tol, rng)
    xp = _arrays.namespace(found.U)
    left, right = xp.matrix_transpose(found.U), _dense.conj(xp.matrix_transpose(found.V))
    bound = found.certificate
    assert bound is not None
    return KronResult(
        A=leave(xp.reshape(left, (-1, *shapes[0]))),
        s=leave(found.s),
        B=leave(xp.reshape(right, (-1, *shapes[1]))),
        error=found.error,
        passes=found.passes,
        converged=found.converged,
        certificate=Certificate(CLAIM, bound.bound, bound.confidence, bound.method),
    )


def _decomposed(
    M: Any, shapes: Shapes, rank: int | None, tol: float | None, rng: _random.RNG
) -> tuple[Callable[[Array], Array], SVDResult]:
    """Decompose the rearranged matrix; also return what its factors leave by."""
    if isinstance(M, Factored):
        _fits(M.shape, shapes)
        return _as_it_is, svd(_Rearranged(M, shapes), rank, tol=tol, rng=rng)
    matrix = _matrix.enter(NAME, "M", M)
    _fits(matrix.shape, shapes)
    M = matrix.A  # type: ignore[attr-defined]
    return matrix.door.leave, svd(_sparse(M, shapes) if _arrays.is_sparse(M) else _in_rows(M, shapes), rank, tol=tol, rng=rng)


def _as_it_is(x: Array) -> Array:
    return x


def _read(shapes: Any) -> Shapes:
    """Read two pairs of positive integers.

    Raises
    ------
    TypeError
        These are something else.
    """
    try:
        (m1, n1), (m2, n2) = shapes
    except (TypeError, ValueError):
        raise TypeError(f"{NAME}: shapes must be two pairs of integers, as ((m1, n1), (m2, n2)); got {shapes!r}") from None
    m1, n1, m2, n2 = (_checks.integer(NAME, "shapes", size, 1) for size in (m1, n1, m2, n2))
    return (m1, n1), (m2, n2)


def _fits(shape: tuple[int, ...], shapes: Shapes) -> None:
    """Check the shape of M.

    Raises
    ------
    ValueError
        It is not that of a Kronecker product.
    """
    (m1, n1), (m2, n2) = shapes
    if tuple(shape) != (m1 * m2, n1 * n2):
        raise ValueError(f"{NAME}: M must have shape {(m1 * m2, n1 * n2)} for these factors; got {tuple(shape)}")


def _in_rows(M: Array, shapes: Shapes) -> Array:
    """Put the block of M that belongs to an entry of A into one row."""
    (m1, n1), (m2, n2) = shapes
    xp = _arrays.namespace(M)
    return xp.reshape(xp.permute_dims(xp.reshape(M, (m1, m2, n1, n2)), (0, 2, 1, 3)), (m1 * n1, m2 * n2))


def _sparse(M: Any, shapes: Shapes) -> Any:
    (m1, n1), (m2, n2) = shapes
    coo = M.tocoo()
    i, j = coo.row.astype(np.int64), coo.col.astype(np.int64)
    places = ((i // m2) * n1 + j // n2, (i % m2) * n2 + j % n2)
    return type(coo)((coo.data, places), shape=(m1 * n1, m2 * n2)).tocsr()


class _Rearranged(_matrix.Matrix):
    """The rearrangement of U diag(s) V^H, which takes x to sum_k s_k U_k mat(x) V_k^H."""

    def __init__(self, M: Factored, shapes: Shapes) -> None:
        (m1, n1), (m2, n2) = shapes
        door, [U, s, V] = _arrays.enter(NAME, U=M.U, s=M.s, V=M.V)
        s = door.xp.real(s) if _dense.is_complex(s) else s
        self._adopt(door, U[:0, 0], (m1 * n1, m2 * n2))
        self.left = door.xp.reshape(U * s, (m1, m2, -1))
        self.right = door.xp.reshape(V, (n1, n2, -1))
        parts = core(U, s, V)
        full = parts.truncate(parts.values.shape[-1])
        size = float(np.linalg.norm(_dense.host(parts.values))) + float(full.error_bound())
        lengths = [_dense.host(door.xp.linalg.vector_norm(_dense.wide(x), axis=0)) for x in (U * s, V)]
        self.squared_norm = size**2
        self.squared_scale = float(lengths[0] @ lengths[1]) ** 2

    def times(self, X: Array) -> Array:
        self.passes += 1
        return self._contracted(self.left, _dense.conj(self.right), X)

    def adjoint_times(self, Y: Array) -> Array:
        self.passes += 1
        left, right = (self.xp.permute_dims(x, (1, 0, 2)) for x in (_dense.conj(self.left), self.right))
        return self._contracted(left, right, Y)

    def _contracted(self, left: Array, right: Array, X: Array) -> Array:
        """Sum over k, i2 and j2 of left[i1, i2, k] right[j1, j2, k] X[(i2 j2), p]."""
        xp = self.xp
        (i1, i2, _), (j1, j2, _) = left.shape, right.shape
        half = xp.tensordot(left, xp.reshape(X, (i2, j2, -1)), axes=((1,), (0,)))  # (i1, k, j2, p)
        product = xp.tensordot(half, right, axes=((1, 2), (2, 1)))  # (i1, p, j1)
        return xp.reshape(xp.permute_dims(product, (0, 2, 1)), (i1 * j1, -1))
