"""Systems with a rectangular matrix: products both ways, with the damping as rows below, and their rounding errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array, Door, is_complex
from lowrank_la.solvers._block import norms
from lowrank_la.solvers._system import FEW, System, U, compressed, precision, take

HUGE = 1e140  # squares of entries add up without overflow


class Rectangular(System):
    """min ||B - A X||, where A is the given matrix with damp I below, and B the given right-hand sides with zeros below.

    Attributes
    ----------
    rows, columns : int
        Shape of the given matrix.
    damp : float
        Factor of the identity.
    """

    def __init__(self, function: str, door: Door, A: Any, b: Array, damp: float) -> None:
        super().__init__(function, door, b)
        self.A, self.damp = A, damp
        self.A_h = compressed(A.conj().T) if _arrays.is_sparse(A) else None  # products that gather are faster than those that scatter
        self.rows, self.columns = (int(side) for side in A.shape)
        data = A.data if _arrays.is_sparse(A) else A
        if _arrays.is_array(data) and is_complex(data):
            self.B = door.xp.astype(self.B, door.xp.complex128, copy=False)
        self.unit = 2 * U if is_complex(self.B) else U
        if damp:
            self.B = self._below(self.B, door.xp.zeros((self.columns, self.B.shape[1]), dtype=self.B.dtype, device=self.B.device))

    def times(self, X: Array) -> Array:
        return self._below(self.forth(X), self.damp * X) if self.damp else self.forth(X)

    def adjoint(self, Y: Array) -> Array:
        """Return A^H Y in double precision."""
        return self.back(Y[: self.rows, :]) + self.damp * Y[self.rows :, :] if self.damp else self.back(Y)

    def forth(self, X: Array) -> Array:
        """Return the given matrix times X."""
        return _gather(self.A, X) if _arrays.is_sparse(self.A) else _product(self.A, X)

    def back(self, Y: Array) -> Array:
        """Return the adjoint of the given matrix times Y."""
        return _gather(self.A_h, Y) if _arrays.is_sparse(self.A) else _product(self.A, Y, adjoint=True)

    def doubt(self, X: Array, R: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bound rounding errors of each column in the 2-norm: of R = B - A X, of A^H R, and of the latter for X rounded to its dtype."""
        xp, terms = self.door.xp, self._terms()
        size = self._sizes(xp.abs(X))
        e = _gamma(self.unit * (terms[1] + 4)) * (size + xp.abs(self.B))
        back = self._sizes(xp.concat([e + _gamma(self.unit * (terms[0] + 4)) * xp.abs(R), size], axis=1), adjoint=True)
        here = 1 + 8 * sum(terms) * U
        slack, grain = norms(back).reshape(2, -1) * here
        return norms(e) * here, slack, 2 * _arrays.unit_roundoff(self.door.xp, self.door.dtype) * grain

    def _sizes(self, X: Array, adjoint: bool = False) -> Array:
        """Return |A| X or |A|^T X for a real X."""
        top = X[: self.rows, :] if adjoint else X
        if _arrays.is_sparse(self.A):
            rows: Any = self.A_h if adjoint else self.A
            image = kernels.sparse_vector.sizes(rows.data, rows.indices, rows.indptr, top)
        else:
            image = _product(self.A, top, adjoint=adjoint, absolute=True)
        if not self.damp:
            return image
        return image + self.damp * X[self.rows :, :] if adjoint else self._below(image, self.damp * X)

    def _terms(self) -> tuple[int, int]:
        """Return the most terms of sums over rows and over columns."""
        if not _arrays.is_sparse(self.A):
            return self.rows, self.columns
        longest = [int((rows.indptr[1:] - rows.indptr[:-1]).max()) for rows in (self.A_h, self.A) if rows is not None]
        return longest[0], longest[1]

    def _below(self, top: Array, bottom: Array) -> Array:
        return self.door.xp.concat([top, bottom], axis=0)


class _Mapped(Rectangular):
    """A matrix that is known by its products; their own rounding errors are nobody's to tell."""

    exact = False

    def __init__(self, function: str, door: Door, A: Any, b: Array, damp: float) -> None:
        super().__init__(function, door, A, b, damp)
        self._forth = self.outside(lambda X: A @ X, "A @ X", self.rows)
        self._back = self.outside(_adjoint_of(function, A), "A^H @ Y", self.columns)

    def forth(self, X: Array) -> Array:
        return self._forth(X)

    def back(self, Y: Array) -> Array:
        return self._back(Y)

    def doubt(self, X: Array, R: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = self.times(X)
        size = norms(self.B) + norms(image)
        back = norms(self.adjoint(image)) + norms(self.adjoint(self.B))
        return 4 * U * size, 4 * U * back, 2 * _arrays.unit_roundoff(self.door.xp, self.door.dtype) * back


def enter(function: str, A: Any, b: Array, damp: float) -> Rectangular:
    """Take a least-squares problem inside and check shapes, entries, and that products both ways belong to one matrix.

    Raises
    ------
    ValueError
        A shape is wrong, an entry is not finite or too large, or the adjoint of a linear map is none.
    TypeError
        A is no linear map with an adjoint, or arrays belong to different libraries.
    """
    door, matrix, b, stored = take(function, A, b)
    if stored:
        matrix = compressed(matrix) if _arrays.is_sparse(matrix) else matrix
        return Rectangular(function, door, _moderate(function, _checks.finite(function, "A", matrix)), b, damp)
    system = _Mapped(function, door, matrix, b, damp)
    _adjoined(system, precision(door, A))
    return system


def _moderate(function: str, A: Any) -> Any:
    """Require entries whose squares do not overflow in sums.

    Raises
    ------
    ValueError
        One is too large.
    """
    data = A.data if _arrays.is_sparse(A) else A
    xp = _arrays.namespace(data)
    largest = max((float(xp.max(xp.abs(block))) for _, block in _arrays.row_blocks(data)), default=0.0)
    if largest > HUGE:
        raise ValueError(f"{function}: A must have entries of size at most {HUGE:g}; got {largest:.3g}")
    return A


def _adjoined(system: Rectangular, roundoff: float) -> None:
    """Require that products with a map and with its adjoint agree for Gaussian vectors.

    Raises
    ------
    ValueError
        They do not.
    """
    xp, draw = system.door.xp, _random.host_generator(0, "solvers adjoint")
    u, v = (
        xp.astype(_arrays.from_numpy(draw.standard_normal((side, 1)), system.B), system.B.dtype, copy=False)
        for side in (system.rows, system.columns)
    )
    image, back = system.forth(v), system.back(u)
    ours, theirs = (complex(_arrays.to_numpy(_arrays.adjoint_of(xp, x) @ y)[0, 0]) for x, y in ((u, image), (back, v)))
    if abs(ours - theirs) > math.sqrt(roundoff) * float(norms(u)[0] * norms(image)[0] + norms(back)[0] * norms(v)[0]):
        raise ValueError(
            f"{system.function}: A must have its adjoint in .H or .T; got u^H (A v) that differs from (A^H u)^H v for random u, v"
        )


def _adjoint_of(function: str, A: Any) -> Callable[[Array], Any]:
    """Find the products with the adjoint of a linear map.

    Raises
    ------
    TypeError
        There are none.
    """
    if hasattr(A, "H"):
        return lambda Y: A.H @ Y
    if hasattr(A, "T"):
        return lambda Y: (A.T @ Y.conj()).conj() if hasattr(Y, "conj") else A.T @ Y
    raise TypeError(f"{function}: A must have .H or .T with @, besides shape and @; got {type(A).__name__}")


def _gather(rows: Any, X: Array) -> Array:
    """Return the product of compressed rows with X."""
    product = kernels.sparse_vector if X.shape[1] <= FEW else kernels.sparse_product
    return product.times(rows.data, rows.indices, rows.indptr, X)


def _product(A: Array, X: Array, *, adjoint: bool = False, absolute: bool = False) -> Array:
    """Return A X or A^H X, or the same with |A|; matrices in another precision than X are widened block by block."""
    xp = _arrays.namespace(A, X)
    if not absolute and A.dtype == X.dtype:
        return _arrays.adjoint_of(xp, A) @ X if adjoint else A @ X
    if not (absolute or adjoint):
        return kernels.skinny.times(A, X)
    parts = []
    for first, block in _arrays.row_blocks(A):
        wide = xp.astype(xp.abs(block) if absolute else block, X.dtype if not is_complex(block) or absolute else xp.complex128)
        parts.append(_arrays.adjoint_of(xp, wide) @ X[first : first + block.shape[0], :] if adjoint else wide @ X)
        if adjoint and len(parts) == 2:
            parts = [parts[0] + parts[1]]
    return parts[0] if adjoint else xp.concat(parts, axis=0)


def _gamma(mu: float) -> float:
    return mu / (1 - mu)
