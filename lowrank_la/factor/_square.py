"""Square matrices that are seen through products: arrays, sparse matrices, operators, or a function of products."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np

from lowrank_la import _arrays, _checks, _threads
from lowrank_la._arrays import Array
from lowrank_la.factor import _matrix
from lowrank_la.factor._matrix import Matrix

ASYMMETRY = 10  # roundoff units times sqrt(n): rounding errors of products


class _Function(Matrix):
    """X -> A X for X of shape (n, k), in the caller's kind of array; A is taken to be Hermitian where A^H is wanted."""

    def __init__(self, function: str, name: str, A: Callable[[Array], Array], like: Array) -> None:
        door, [like] = _arrays.enter(function, like=like)
        _checks.ndim(function, "like", like, 1)
        n = like.shape[0]
        self._adopt(door, like[:0], (n, n))
        self.A, self.where = A, (function, f"{name}(X)")

    def times(self, X: Array) -> Array:
        self.passes += 1
        function, name = self.where
        _, [Y] = _arrays.enter(function, **{name: self.A(self.door.leave(X))})
        _checks.shape(function, name, Y, tuple(X.shape))
        return self.xp.astype(_checks.finite(function, name, Y), self.dtype, copy=False)

    def adjoint_times(self, Y: Array) -> Array:
        return self.times(Y)


def enter(function: str, A: Any, like: Array | None = None) -> Matrix:
    """Take a square matrix inside; with `like`, A is a function that multiplies.

    Raises
    ------
    TypeError
        A is no matrix.
    ValueError
        A is not square, is empty, or has an entry that is not finite.
    """
    if like is not None and not callable(A):
        raise TypeError(f"{function}: like must be None unless A is a function of products; got both an array and like")
    matrix = _matrix.enter(function, "A", A) if like is None else _Function(function, "A", A, like)
    if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"{function}: A must be square and not empty; got shape {matrix.shape}")
    return matrix


def one_blas_thread(matrix: Matrix) -> AbstractContextManager[None]:
    """Keep BLAS on one thread where compiled kernels make the products: small calls between them leave its threads spinning."""
    in_kernels = matrix.squared_norm is not None and _arrays.engine_of(matrix.like) == "cpu"
    return _threads.serial_blas() if in_kernels else nullcontext()


def diagonal(matrix: Matrix) -> np.ndarray | None:
    """Return the diagonal in double precision, or None where entries are not at hand."""
    if matrix.squared_norm is None:
        return None
    A = cast(Any, matrix).A
    whole = _arrays.is_array(A) or _arrays.is_sparse(A)
    parts = [_arrays.to_numpy(_block_diagonal(block, offset)) for offset, block in ([(0, A)] if whole else matrix.blocks())]
    return np.concatenate([part.astype(np.complex128 if np.iscomplexobj(part) else np.float64) for part in parts])


def _block_diagonal(block: Any, offset: int) -> Array:
    rows = block.shape[0]
    if _arrays.is_sparse(block):
        return block.diagonal(offset)[:rows]
    return _arrays.namespace(block).linalg.diagonal(block[:, offset : offset + rows])


def dense(matrix: Matrix) -> Array:
    """Return all entries, from n products where they are not at hand."""
    if matrix.squared_norm is None:
        return matrix.times(matrix.xp.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.like.device))
    return matrix.xp.concat([block.toarray() if _arrays.is_sparse(block) else block for _, block in matrix.blocks()], axis=0)


def check_hermitian(function: str, matrix: Matrix, skewness: float) -> None:
    """Require that a computed X^H A X is Hermitian but for rounding errors.

    Raises
    ------
    ValueError
        It is not.
    """
    u = matrix.roundoff
    if skewness > max(u ** (2 / 3), ASYMMETRY * matrix.shape[0] ** 0.5 * u):
        rule = "Hermitian" if matrix.xp.isdtype(matrix.dtype, "complex floating") else "symmetric"
        raise ValueError(f"{function}: A must be {rule}; got ||S - S^H|| = {skewness:.2g} ||S|| for S = X^H A X with a random X")


def check_semidefinite(function: str, matrix: Matrix, smallest: float, largest: float) -> None:
    """Require that no Rayleigh quotient is negative but for rounding errors.

    Raises
    ------
    ValueError
        One is.
    """
    n, u = matrix.shape[0], matrix.roundoff
    if smallest < -min(ASYMMETRY * n * u, u**0.5) * max(largest, -smallest):
        raise ValueError(
            f"{function}: A must be positive semidefinite; got a Rayleigh quotient of {smallest:.6g}, beside one of {largest:.6g}"
        )
