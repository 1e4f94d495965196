"""Some rows or columns of a matrix of any kind, its sketch from the left, and what A - L R leaves of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.factor import _probes
from lowrank_la.factor._certificate import FAILURE, PROBES, least_share
from lowrank_la.factor._dense import U, adjoint, is_complex, wide
from lowrank_la.factor._matrix import Matrix, _Adjoint, _Blocks, _Dense, _Operator, _Sparse

SMALL_ENOUGH = 1 << 24  # entries of a sparse matrix up to which a residual is formed, in dense blocks
PIECE = 1 << 19  # entries of a residual that are formed at once, in memory that stays mapped
PANEL = 4096  # rows that are summed at once where rounding errors are counted


def columns(matrix: Matrix, index: np.ndarray) -> Any:
    """Take A[:, index]: sparse if A is sparse, one pass over row blocks, a product with unit vectors for operators."""
    if isinstance(matrix, _Adjoint):
        return adjoint(rows(matrix.H, index))
    place = _arrays.from_numpy(index, matrix.like)
    if isinstance(matrix, _Dense):
        return matrix.xp.take(matrix.A, place, axis=1)
    if isinstance(matrix, _Sparse):
        return matrix.A[:, place]
    if isinstance(matrix, _Blocks):
        return matrix.xp.concat([_columns_of(block, place) for _, block in matrix.blocks()])
    return matrix.times(_unit_vectors(matrix, matrix.shape[1], place))


def _columns_of(block: Any, place: Array) -> Array:
    return block[:, place].toarray() if _arrays.is_sparse(block) else _arrays.namespace(block).take(block, place, axis=1)


def rows(matrix: Matrix, index: np.ndarray) -> Any:
    """Take A[index, :], as `columns`."""
    if isinstance(matrix, _Adjoint):
        return adjoint(columns(matrix.H, index))
    place = _arrays.from_numpy(index, matrix.like)
    if isinstance(matrix, _Dense):
        return matrix.xp.take(matrix.A, place, axis=0)
    if isinstance(matrix, _Sparse):
        return matrix.A[place]
    if isinstance(matrix, _Blocks):
        return _rows_of_blocks(matrix, index)
    return adjoint(matrix.adjoint_times(_unit_vectors(matrix, matrix.shape[0], place)))


def whole(matrix: Matrix) -> Array:
    """Form A as a dense array."""
    if isinstance(matrix, _Adjoint):
        return adjoint(whole(matrix.H))
    if matrix.dense:
        matrix.passes += 1
        return matrix.entries
    if isinstance(matrix, _Operator):
        xp = matrix.xp
        return matrix.times(xp.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.like.device))
    return matrix.xp.concat([dense(block) for _, block in matrix.blocks()])


def certified_error(matrix: Matrix, L: Array, R: Array, seed: int) -> tuple[float, Certificate]:
    """Measure ||A - L R||_F: entry by entry, by an identity for large sparse A, by Gaussian probes for operators."""
    claim = "||A - approximation||_F <= bound"
    if isinstance(matrix, _Adjoint):
        return certified_error(matrix.H, adjoint(R), adjoint(L), seed)
    if isinstance(matrix, _Operator):
        error, bound = _probed(matrix, L, R, seed)
        return error, Certificate(claim, bound, 1 - FAILURE, f"{PROBES} Gaussian probes")
    if isinstance(matrix, _Sparse) and math.prod(matrix.shape) > SMALL_ENOUGH:
        error, bound = _by_identity(matrix, L, R)
        return error, Certificate(claim, bound, 1.0, "inner products")
    error, bound = _entry_by_entry(matrix, L, R)
    return error, Certificate(claim, bound, 1.0, "residual")


def _entry_by_entry(matrix: Matrix, L: Array, R: Array) -> tuple[float, float]:
    """Measure ||A - L R||_F by row blocks; bound it with the rounding errors (k + 2) u (|A| + |L| |R|) of an entry."""
    xp, squares, height = matrix.xp, 0.0, max(1, PIECE // matrix.shape[1])
    for offset, block in matrix.blocks():
        for first, piece in _arrays.row_blocks(block, height):
            top = offset + first
            rest = xp.reshape(wide(dense(piece) - L[top : top + piece.shape[0], :] @ R), (-1,))
            squares += float(xp.real(xp.vecdot(rest, rest)) if is_complex(rest) else xp.vecdot(rest, rest))  # BLAS: see `serial_blas`
    error = math.sqrt(squares)
    factor = 4 if is_complex(matrix.like) else 1
    slack = factor * (L.shape[1] + 2) * matrix.roundoff * (math.sqrt(matrix.squared_norm or 0.0) + _size_of_product(xp, L, R))
    return error, (error + slack) * (1 + 1e-9)


def _by_identity(matrix: _Sparse, L: Array, R: Array) -> tuple[float, float]:
    """||A||^2 - 2 Re <L^H A, R> + <L^H L R, R> in double precision, and with the rounding errors of its sums."""
    xp, wide = matrix.xp, matrix.xp.result_type(matrix.dtype, matrix.xp.float64)
    L, R = xp.astype(L, wide, copy=False), xp.astype(R, wide, copy=False)
    matrix.passes += 1
    product = adjoint(adjoint(matrix.A.astype(wide, copy=False)) @ L)
    whole = float(matrix.squared_norm)  # type: ignore[arg-type]
    squares = whole - 2 * _inner(xp, product, R) + _inner(xp, sum(adjoint(part) @ part for _, part in _arrays.row_blocks(L, PANEL)) @ R, R)
    terms = int(xp.max(xp.bincount(matrix.A.indices))) + PANEL + L.shape[0] // PANEL + L.shape[1] + 64  # of the longest sum
    slack = 4 * terms * U * (math.sqrt(whole) + _size_of_product(xp, L, R)) ** 2
    return math.sqrt(max(squares, 0.0)), math.sqrt(max(squares, 0.0) + slack) * (1 + 1e-9)


def _probed(matrix: Matrix, L: Array, R: Array, seed: int) -> tuple[float, float]:
    """Root mean square of ||(A - L R) g|| over fresh Gaussian g, and a bound that fails once in a hundred draws.

    The sum of squares is a mixture of chi-squares; its lower tail is longest for an error of rank one.
    """
    G = _probes.gaussian(matrix.like, matrix.shape[1], PROBES, seed, "factor: error of slices")
    product, approximation = matrix.times(G), L @ (R @ G)
    squares = kernels.energy.squared_norm(product - approximation) / PROBES
    size = sum(math.sqrt(kernels.energy.squared_norm(x) / PROBES) for x in (product, approximation))
    rounding = 10 * math.sqrt(max(matrix.shape)) * matrix.roundoff * size
    return math.sqrt(squares), math.sqrt(squares / least_share(matrix)) + rounding


def _size_of_product(xp: Any, L: Array, R: Array) -> float:
    """|| |L| |R| ||_F, from the Gram matrix of |L|."""
    sizes = [xp.astype(xp.abs(factor), xp.float64, copy=False) for factor in (L, R)]
    return math.sqrt(_inner(xp, (sizes[0].T @ sizes[0]) @ sizes[1], sizes[1]))


def _inner(xp: Any, X: Array, Y: Array) -> float:
    """Re <X, Y>."""
    return float(xp.real(xp.sum(X * (xp.conj(Y) if is_complex(Y) else Y)))) if 0 not in X.shape else 0.0


def _unit_vectors(matrix: Matrix, n: int, place: Array) -> Array:
    """Columns `place` of the identity."""
    xp = matrix.xp
    return xp.astype(xp.arange(n, dtype=place.dtype, device=place.device)[:, None] == place[None, :], matrix.dtype)


def _rows_of_blocks(matrix: _Blocks, index: np.ndarray) -> Array:
    """Gather rows as their blocks come by, and put them into the order asked for."""
    found, order = [], np.argsort(index, kind="stable")
    for offset, block in matrix.blocks():
        here = order[(index[order] >= offset) & (index[order] < offset + block.shape[0])]
        place = _arrays.from_numpy(index[here] - offset, matrix.like)
        found.append(dense(block[place] if _arrays.is_sparse(block) else matrix.xp.take(block, place, axis=0)))
    return matrix.xp.take(matrix.xp.concat(found), _arrays.from_numpy(np.argsort(order), matrix.like), axis=0)


def dense(block: Any) -> Array:
    """Hold a matrix as an array."""
    return block.toarray() if _arrays.is_sparse(block) else block
