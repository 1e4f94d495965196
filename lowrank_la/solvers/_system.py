"""The matrix of a linear system, whatever it is made of: products, what is known of its spectrum, and their rounding errors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array, Door, is_complex, wide
from lowrank_la.solvers._block import dots, norms

U = 2.0**-53
FEW = 4  # columns below which the loops of sparse libraries are as good as a kernel for many


@dataclass(frozen=True)
class Spectrum:
    """What one reading of the entries tells: no eigenvalue is below `floor`, or above `ceiling` in absolute value."""

    floor: float
    ceiling: float


class System(ABC):
    """A X = B on the way in: X and B have two axes and are in double precision.

    Attributes
    ----------
    door : Door
        Where X leaves.
    B : array (n, t)
        Right-hand sides.
    vector : bool
        Whether b had one axis.
    spectrum : Spectrum or None
        None where no entries are at hand.
    """

    spectrum: Spectrum | None = None

    def __init__(self, function: str, door: Door, b: Array) -> None:
        self.function, self.door, self.vector = function, door, b.ndim == 1
        self.B = wide(b[:, None] if self.vector else b)

    @abstractmethod
    def times(self, X: Array) -> Array:
        """Return A X in double precision."""

    @abstractmethod
    def slack(self, X: Array) -> np.ndarray:
        """Bound the rounding errors of each column of B - A X in the 2-norm."""

    @abstractmethod
    def grain(self, X: Array) -> np.ndarray:
        """Return what rounding X to its dtype may cost each column of A X in the 2-norm."""

    def residual(self, X: Array) -> Array:
        """Return B - A X."""
        return self.B - self.times(X)

    def rounded(self, X: Array) -> Array:
        """Round X to the dtype in which it will leave, and come back."""
        return wide(self.door.xp.astype(X, self.door.dtype, copy=False))

    def leave(self, X: Array) -> Array:
        """Hand out a solution in the shape of b."""
        return self.door.leave(X[:, 0] if self.vector else X)

    def outside(self, function: Callable[[Array], Any], name: str) -> Callable[[Array], Array]:
        """Let a caller's function see its own kind of arrays, and check what it returns."""

        def call(X: Array) -> Array:
            Y = _arrays.beside(self.function, name, function(self.door.leave(X)), X)
            _checks.shape(self.function, name, Y, tuple(X.shape))
            if not is_complex(X):
                _checks.real_dtype(self.function, name, Y)
            return self.door.xp.astype(_checks.finite(self.function, name, Y), X.dtype, copy=False)

        return call


class _Stored(System):
    """A with entries."""

    def __init__(self, function: str, door: Door, A: Any, b: Array) -> None:
        super().__init__(function, door, b)
        self.A = A
        data = A.data if _arrays.is_sparse(A) else A
        self.unit = 2 * U if is_complex(data) or is_complex(self.B) else U
        if is_complex(data):
            self.B = door.xp.astype(self.B, door.xp.complex128, copy=False)

    @abstractmethod
    def sizes(self, X: Array) -> Array:
        """Return |A| X for a real X."""

    @abstractmethod
    def diagonal(self) -> Array:
        """Return the real part of the diagonal in float64."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """Most terms of a sum that a product adds up."""

    def slack(self, X: Array) -> np.ndarray:
        u = self.unit * (self.terms + 4)
        return u / (1 - u) * (self._spread(X) + norms(self.B))

    def grain(self, X: Array) -> np.ndarray:
        return 2 * _arrays.unit_roundoff(self.door.xp, self.door.dtype) * self._spread(X)

    def _spread(self, X: Array) -> np.ndarray:
        """Return the norms of |A| |X|."""
        return norms(self.sizes(self.door.xp.abs(X))) * (1 + 4 * self.terms * U)

    def discs(self) -> Spectrum:
        """Bound the spectrum by Gershgorin's discs.

        Raises
        ------
        ValueError
            An entry of the diagonal is not positive.
        """
        xp = self.door.xp
        diagonal = self.diagonal()
        rows = self.sizes(xp.ones((self.A.shape[0], 1), dtype=xp.float64, device=self.B.device))[:, 0]
        if bool(xp.any(diagonal <= 0)):
            first = int(xp.argmax(xp.astype(diagonal <= 0, xp.int8)))
            got = float(diagonal[first])
            raise ValueError(f"{self.function}: A must be positive definite; got {got:.6g} on the diagonal in row {first}")
        floor = xp.min(2 * diagonal - rows * (1 + 4 * self.terms * U))
        return Spectrum(float(floor), float(xp.max(rows)) * (1 + 4 * self.terms * U))


class _Dense(_Stored):
    def times(self, X: Array) -> Array:
        return kernels.skinny.times(self.A, X)

    def sizes(self, X: Array) -> Array:
        xp = self.door.xp
        return xp.concat([wide(xp.abs(block)) @ X for _, block in _arrays.row_blocks(self.A)], axis=0)

    def diagonal(self) -> Array:
        return real(wide(self.door.xp.linalg.diagonal(self.A)))

    @property
    def terms(self) -> int:
        return self.A.shape[1]


class _Sparse(_Stored):
    def times(self, X: Array) -> Array:
        if X.shape[1] < FEW and X.dtype == self.A.dtype:
            return self.A @ X
        return kernels.sparse_product.times(self.A.data, self.A.indices, self.A.indptr, X)

    def sizes(self, X: Array) -> Array:
        return kernels.sparse_product.times(abs(self.A.data), self.A.indices, self.A.indptr, X)

    def diagonal(self) -> Array:
        return real(wide(self.A.diagonal()))

    @property
    def terms(self) -> int:
        return int((self.A.indptr[1:] - self.A.indptr[:-1]).max())


class _Operator(System):
    """A that is known by its products; their own rounding errors are nobody's to tell."""

    def __init__(self, function: str, door: Door, A: Any, b: Array) -> None:
        super().__init__(function, door, b)
        self._apply = self.outside(lambda X: A @ X, "A @ X")

    def times(self, X: Array) -> Array:
        return self._apply(X)

    def slack(self, X: Array) -> np.ndarray:
        return 4 * U * (norms(self.B) + norms(self.times(X)))

    def grain(self, X: Array) -> np.ndarray:
        return 2 * _arrays.unit_roundoff(self.door.xp, self.door.dtype) * (norms(self.B) + norms(self.times(X)))


def enter(function: str, A: Any, b: Array) -> System:
    """Take a system inside and check its shapes, entries and symmetry.

    Raises
    ------
    ValueError
        A is not square, Hermitian and positive definite as far as entries and two products show; b does not fit;
        or an entry is not finite.
    TypeError
        A is no linear map, or arrays belong to different libraries.
    """
    stored = _arrays.is_sparse(A) or _arrays.is_array(A) or not (hasattr(A, "shape") and hasattr(A, "__matmul__"))
    door, inside = _arrays.enter(function, **({"A": A, "b": b} if stored else {"b": b}))
    b_in = inside[-1]
    if is_complex(b_in) and not door.xp.isdtype(door.dtype, "complex floating"):
        door = _arrays.enter(function, b=b)[0]
    n = _order(function, inside[0] if stored else A)
    _checks.not_empty(function, "b", _checks.ndim(function, "b", b_in, (1, 2)))
    _checks.finite(function, "b", _checks.rows_like(function, "b", b_in, n, "A"))
    system = _system(function, door, inside[0] if stored else A, b_in, stored)
    symmetric(function, "A", system.times, system, _precision(door, A))
    return system


def _system(function: str, door: Door, A: Any, b: Array, stored: bool) -> System:
    if not stored:
        return _Operator(function, door, A, b)
    _checks.finite(function, "A", A)
    system = _Sparse(function, door, _compressed(A), b) if _arrays.is_sparse(A) else _Dense(function, door, A, b)
    system.spectrum = system.discs()
    return system


def _compressed(A: Any) -> Any:
    """Give compressed rows without repeated places; the given matrix stays as it is."""
    rows = A.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy() if rows is A else rows
        rows.sum_duplicates()
    return rows


def _order(function: str, A: Any) -> int:
    shape = tuple(A.shape)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{function}: A must be square; got shape {shape}")
    if shape[0] == 0:
        raise ValueError(f"{function}: A must have at least one row; got shape {shape}")
    return int(shape[0])


def _precision(door: Door, A: Any) -> float:
    """Return the roundoff of the entries of A, or of its products."""
    name = str(getattr(A, "dtype", "")).split(".")[-1]
    return 2.0**-24 if name in ("float32", "complex64", "float16", "bfloat16") else _arrays.unit_roundoff(door.xp, door.dtype)


def symmetric(function: str, name: str, apply: Callable[[Array], Array], system: System, roundoff: float) -> None:
    """Require that a map is Hermitian, and positive on two Gaussian vectors, which a map that is not will hardly pass.

    Raises
    ------
    ValueError
        It is not.
    """
    xp, B = system.door.xp, system.B
    probes = _random.host_generator(0, "solvers symmetry").standard_normal((B.shape[0], 2))
    V = xp.astype(_arrays.from_numpy(probes, B), B.dtype, copy=False)
    W = apply(V)
    across = _arrays.to_numpy(_arrays.adjoint_of(xp, V) @ W)
    tolerance = math.sqrt(roundoff) * float(norms(W).sum())
    if abs(across[0, 1] - across[1, 0].conjugate()) > tolerance or np.abs(np.imag(np.diagonal(across))).max() > tolerance:
        raise ValueError(f"{function}: {name} must be Hermitian; got v^H (A u) that differs from (A v)^H u for random u, v")
    if np.any(dots(V, W) < -tolerance):
        raise ValueError(f"{function}: {name} must be positive definite; got v^H A v < 0 for a random v")


def real(x: Array) -> Array:
    """Return the real part."""
    return _arrays.namespace(x).real(x) if is_complex(x) else x
