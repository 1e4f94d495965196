"""A linear system on its way in and out, whatever its matrix is made of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _threads
from lowrank_la._arrays import Array, Door, is_complex, wide

U = 2.0**-53
FAR = 200  # powers of two
FEW = 8  # columns up to which sparse products take them a few at a time


def listener(function: str, callback: Any) -> Callable[[int, np.ndarray], Any]:
    """Return the caller's function, or one that never stops.

    Raises
    ------
    TypeError
        It is no function.
    """
    if callback is None:
        return lambda n_iter, norms: False
    if not callable(callback):
        raise TypeError(f"{function}: callback must be a function; got {type(callback).__name__}")
    return callback


class System(ABC):
    """A X = B on the way in: X and B have two axes and are in double precision.

    Attributes
    ----------
    door : Door
        Where X leaves.
    B : array (m, t)
        Right-hand sides.
    vector : bool
        Whether b had one axis.
    scale : float
        Power of two by which B, X and all norms are to be multiplied on their way out: 1 unless squares of B leave the range of numbers.
    exact : bool
        Whether rounding errors of products are known.
    foreign : bool
        Whether a caller's function takes part.
    """

    exact = True
    foreign = False

    def __init__(self, function: str, door: Door, b: Array) -> None:
        self.function, self.door, self.vector = function, door, b.ndim == 1
        B = wide(b[:, None] if self.vector else b)
        exponent = math.frexp(float(door.xp.max(door.xp.abs(B))))[1]
        self.scale = math.ldexp(1.0, exponent) if abs(exponent) > FAR else 1.0
        self.B = B / self.scale if self.scale != 1.0 else B

    @abstractmethod
    def times(self, X: Array) -> Array:
        """Return A X in double precision."""

    def residual(self, X: Array) -> Array:
        """Return B - A X."""
        return self.B - self.times(X)

    def start(self, x0: Any, rows: int) -> tuple[Array, Array]:
        """Check a first guess with so many rows, zero by default; return it and its residual."""
        xp = self.door.xp
        if x0 is None:
            return xp.zeros((rows, self.B.shape[1]), dtype=self.B.dtype, device=self.B.device), self.B
        X = self.rounded(self.guess("x0", x0, rows) / self.scale)
        return X, self.residual(X)

    def guess(self, name: str, given: Any, rows: int) -> Array:
        """Check an array that has the shape of a solution with so many rows, and widen it."""
        x: Array = _arrays.beside(self.function, name, given, self.B)
        _checks.shape(self.function, name, x, (rows,) if self.vector else (rows, self.B.shape[1]))
        if not is_complex(self.B):
            _checks.real_dtype(self.function, name, x)
        _checks.finite(self.function, name, x)
        return self.door.xp.astype(x[:, None] if self.vector else x, self.B.dtype, copy=False)

    def rounded(self, X: Array) -> Array:
        """Round X to the dtype in which it will leave, and come back."""
        return wide(self.door.xp.astype(X, self.door.dtype, copy=False))

    def leave(self, X: Array) -> Array:
        """Hand out a solution in the shape of b."""
        return self.door.leave((X[:, 0] if self.vector else X) * self.scale)

    def threads(self) -> AbstractContextManager[None]:
        """Keep kernels on one thread beside a caller's functions, whose own threads, such as those of BLAS, spin between calls."""
        return _threads.serial_kernels() if self.foreign else nullcontext()

    def outside(self, function: Callable[[Array], Any], name: str, rows: int) -> Callable[[Array], Array]:
        """Let a caller's function see its own kind of arrays, and check what it returns, an array with so many rows."""
        self.foreign = True

        def call(X: Array) -> Array:
            Y = _arrays.beside(self.function, name, function(self.door.leave(X)), X)
            _checks.shape(self.function, name, Y, (rows, X.shape[1]))
            if not is_complex(X):
                _checks.real_dtype(self.function, name, Y)
            return self.door.xp.astype(_checks.finite(self.function, name, Y), X.dtype, copy=False)

        return call


def take(function: str, A: Any, b: Array, *, square: bool = False) -> tuple[Door, Any, Array, bool]:
    """Bring a matrix or linear map and right-hand sides inside, and check all but the entries of A; say whether it has entries.

    Raises
    ------
    ValueError
        The shape of A is wrong, b does not fit A, or an entry is not finite.
    TypeError
        A is no linear map, or arrays belong to different libraries.
    """
    _checks.given(function, "b", b)
    stored = _arrays.is_sparse(A) or _arrays.is_array(A) or not (hasattr(A, "shape") and hasattr(A, "__matmul__"))
    door, inside = _arrays.enter(function, **({"A": A, "b": b} if stored else {"b": b}))
    matrix, b_in = inside[0] if stored else A, inside[-1]
    if is_complex(b_in) and not door.xp.isdtype(door.dtype, "complex floating"):
        door = _arrays.enter(function, b=b)[0]
    shape = tuple(matrix.shape)
    if len(shape) != 2 or (square and shape[0] != shape[1]):
        raise ValueError(f"{function}: A must be {'square' if square else '2-dimensional'}; got shape {shape}")
    if 0 in shape:
        raise ValueError(f"{function}: A must have at least one row and column; got shape {shape}")
    _checks.not_empty(function, "b", _checks.ndim(function, "b", b_in, (1, 2)))
    _checks.finite(function, "b", _checks.rows_like(function, "b", b_in, shape[0], "A"))
    return door, matrix, b_in, stored


def compressed(A: Any) -> Any:
    """Give compressed rows without repeated places; the given matrix stays as it is."""
    rows = A.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy() if rows is A else rows
        rows.sum_duplicates()
    return rows


def precision(door: Door, A: Any) -> float:
    """Return the roundoff of the entries of A, or of its products."""
    name = str(getattr(A, "dtype", "")).split(".")[-1]
    return 2.0**-24 if name in ("float32", "complex64", "float16", "bfloat16") else _arrays.unit_roundoff(door.xp, door.dtype)
