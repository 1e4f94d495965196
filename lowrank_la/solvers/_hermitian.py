"""Square systems: what is known of the spectrum of the matrix, products that may read half of it, and their rounding errors."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array, Door, is_complex, wide
from lowrank_la.solvers._block import dots, norms
from lowrank_la.solvers._system import FEW, System, U, compressed, precision, take


@dataclass(frozen=True)
class Spectrum:
    """What one reading of the entries tells: no eigenvalue is below `floor`, or above `ceiling` in absolute value."""

    floor: float
    ceiling: float


@dataclass(frozen=True)
class Doubt:
    """Rounding errors of each column of B - A X in the 2-norm: `slack` of computing it, `grain` of rounding X to its dtype."""

    slack: np.ndarray
    grain: np.ndarray


class Hermitian(System):
    """A system with a square matrix.

    Attributes
    ----------
    spectrum : Spectrum or None
        None where no entries are at hand.
    """

    spectrum: Spectrum | None = None

    @abstractmethod
    def doubt(self, X: Array) -> Doubt:
        """Bound what rounding does to the columns of B - A X."""


class _Stored(Hermitian):
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
    def row_sums(self) -> Array:
        """Return the row sums of |A| in float64."""

    @abstractmethod
    def diagonal(self) -> Array:
        """Return the real part of the diagonal in float64."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """Most terms of a sum that a product adds up."""

    def doubt(self, X: Array) -> Doubt:
        u = self.unit * (self.terms + 4)
        spread = norms(self.sizes(self.door.xp.abs(X))) * (1 + 4 * self.terms * U)
        return Doubt(u / (1 - u) * (spread + norms(self.B)), 2 * _arrays.unit_roundoff(self.door.xp, self.door.dtype) * spread)

    def discs(self) -> Spectrum:
        """Bound the spectrum by Gershgorin's discs.

        Raises
        ------
        ValueError
            An entry of the diagonal is not positive.
        """
        xp = self.door.xp
        diagonal = self.diagonal()
        rows = self.row_sums()
        if bool(xp.any(diagonal <= 0)):
            first = int(xp.argmax(xp.astype(diagonal <= 0, xp.int8)))
            got = float(diagonal[first])
            raise ValueError(f"{self.function}: A must be positive definite; got {got:.6g} on the diagonal in row {first}")
        floor = xp.min(2 * diagonal - rows * (1 + 4 * self.terms * U))
        return Spectrum(float(floor), float(xp.max(rows)) * (1 + 4 * self.terms * U))


class _Dense(_Stored):
    def __init__(self, function: str, door: Door, A: Any, b: Array) -> None:
        super().__init__(function, door, A, b)
        self._sums, self.mirrored = kernels.hermitian.inspect(A)
        if not bool(door.xp.all(door.xp.isfinite(self._sums))):
            _checks.finite(function, "A", A)

    def times(self, X: Array) -> Array:
        if self.mirrored:
            return kernels.hermitian.times(self.A, X)
        return self.A @ X if X.shape[1] == 1 and X.dtype == self.A.dtype else kernels.skinny.times(self.A, X)

    def sizes(self, X: Array) -> Array:
        return (kernels.hermitian.sizes if self.mirrored else kernels.hermitian.sizes_reference)(self.A, X)

    def row_sums(self) -> Array:
        return self._sums

    def diagonal(self) -> Array:
        return real(wide(self.door.xp.linalg.diagonal(self.A)))

    @property
    def terms(self) -> int:
        return self.A.shape[1]


class _Sparse(_Stored):
    def __init__(self, function: str, door: Door, A: Any, b: Array) -> None:
        super().__init__(function, door, compressed(A), b)
        _checks.finite(function, "A", self.A)

    def times(self, X: Array) -> Array:
        product = kernels.sparse_vector if X.shape[1] <= FEW else kernels.sparse_product
        return product.times(self.A.data, self.A.indices, self.A.indptr, X)

    def sizes(self, X: Array) -> Array:
        return kernels.sparse_vector.sizes(self.A.data, self.A.indices, self.A.indptr, X)

    def row_sums(self) -> Array:
        xp = self.door.xp
        return self.sizes(xp.ones((self.A.shape[0], 1), dtype=xp.float64, device=self.B.device))[:, 0]

    def diagonal(self) -> Array:
        return real(wide(self.A.diagonal()))

    @property
    def terms(self) -> int:
        return int((self.A.indptr[1:] - self.A.indptr[:-1]).max())


class _Operator(Hermitian):
    """A that is known by its products; their own rounding errors are nobody's to tell."""

    exact = False

    def __init__(self, function: str, door: Door, A: Any, b: Array) -> None:
        super().__init__(function, door, b)
        self._apply = self.outside(lambda X: A @ X, "A @ X", A.shape[0])

    def times(self, X: Array) -> Array:
        return self._apply(X)

    def doubt(self, X: Array) -> Doubt:
        size = norms(self.B) + norms(self.times(X))
        return Doubt(4 * U * size, 2 * _arrays.unit_roundoff(self.door.xp, self.door.dtype) * size)


def enter(function: str, A: Any, b: Array) -> Hermitian:
    """Take a system inside and check its shapes, entries and symmetry.

    Raises
    ------
    ValueError
        A is not square, Hermitian and positive definite as far as entries and two products show; b does not fit;
        or an entry is not finite.
    TypeError
        A is no linear map, or arrays belong to different libraries.
    """
    door, matrix, b, stored = take(function, A, b, square=True)
    system = _system(function, door, matrix, b, stored)
    symmetric(system, "A", system.times, int(matrix.shape[0]), precision(door, A))
    return system


def _system(function: str, door: Door, A: Any, b: Array, stored: bool) -> Hermitian:
    if not stored:
        return _Operator(function, door, A, b)
    system = (_Sparse if _arrays.is_sparse(A) else _Dense)(function, door, A, b)
    system.spectrum = system.discs()
    return system


def preconditioned(system: System, given: Any, n: int) -> Callable[[Array], Array] | None:
    """Make a function of a preconditioner of order n, and require that it is Hermitian and positive; None without one.

    Raises
    ------
    ValueError
        It is not.
    TypeError
        It is neither a function nor a linear map.
    """
    if given is None:
        return None
    linear = _arrays.is_sparse(given) or hasattr(given, "__matmul__")
    if not (linear or callable(given)):
        raise TypeError(f"{system.function}: preconditioner must be a function or a linear map; got {type(given).__name__}")
    if linear:
        _checks.shape(system.function, "preconditioner", given, (n, n))
    apply = _rows(system, given) or system.outside((lambda R: given @ R) if linear else given, "what the preconditioner returns", n)
    symmetric(system, "preconditioner", apply, n, _arrays.unit_roundoff(system.door.xp, system.door.dtype))
    return apply


def _rows(system: System, given: Any) -> Callable[[Array], Array] | None:
    """Return products by our own threads for a sparse matrix of the kind of b."""
    rows = compressed(given) if _arrays.is_sparse(given) else None
    if rows is None or rows.data.dtype != system.B.dtype:
        return None
    _checks.finite(system.function, "preconditioner", rows)
    return lambda R: kernels.sparse_vector.times(rows.data, rows.indices, rows.indptr, R)


def symmetric(system: System, name: str, apply: Callable[[Array], Array], n: int, roundoff: float) -> None:
    """Require that a map is Hermitian, and positive on two Gaussian vectors, which a map that is not will hardly pass.

    Raises
    ------
    ValueError
        It is not.
    """
    function, xp, B = system.function, system.door.xp, system.B
    probes = _random.host_generator(0, "solvers symmetry").standard_normal((n, 2))
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
