"""The kernels that are known by name, as frozen records of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array

KernelLike: TypeAlias = "str | KernelFunction | Callable[[Array, Array], Array]"


@dataclass(frozen=True)
class KernelFunction:
    """A positive semidefinite function of two points; called with points X (m, d) and Y (n, d), it gives the (m, n) block of its values."""

    @property
    def family(self) -> str:
        """Name of the loop that computes entries."""
        return type(self).__name__.lower()

    @property
    def numbers(self) -> tuple[float, ...]:
        """Parameters of that loop."""
        return ()

    def __call__(self, X: Array, Y: Array) -> Array:
        """Return k(x_i, y_j), shape (m, n)."""
        name = type(self).__name__
        door, [X, Y] = _arrays.enter(name, X=X, Y=Y)
        for label, points in (("X", X), ("Y", Y)):
            points = _checks.real_dtype(name, label, check_dense(name, label, self, points))
            _checks.finite(name, label, _checks.ndim(name, label, points, 2))
        _checks.shape(name, "Y", Y, (Y.shape[0], X.shape[1]))
        return door.leave(kernels.kernel_entries.apply(X, Y, self.family, self.numbers))


@dataclass(frozen=True)
class _Banded(KernelFunction):
    """A kernel of distance in units of a bandwidth.

    Attributes
    ----------
    bandwidth : float > 0 or "median"
        "median": the median distance between the points of a random sample of at most 1000 of them.
    """

    bandwidth: float | str = "median"

    def __post_init__(self) -> None:
        if not (isinstance(self.bandwidth, str) and self.bandwidth == "median"):
            bandwidth = _checks.real(type(self).__name__, "bandwidth", self.bandwidth, 0, open=True)
            object.__setattr__(self, "bandwidth", bandwidth)

    @property
    def numbers(self) -> tuple[float, ...]:
        """The bandwidth.

        Raises
        ------
        ValueError
            It is still to be taken from the data.
        """
        if isinstance(self.bandwidth, str):
            raise ValueError(f"{type(self).__name__}: bandwidth must be a number to call the kernel; got {self.bandwidth!r}")
        return (self.bandwidth,)


@dataclass(frozen=True)
class RBF(_Banded):
    """Gaussian kernel exp(-||x - y||_2^2 / (2 bandwidth^2))."""


@dataclass(frozen=True)
class Laplace(_Banded):
    """Laplace kernel exp(-||x - y||_1 / bandwidth)."""


@dataclass(frozen=True)
class Matern(_Banded):
    """Matern kernel of smoothness nu: with r = sqrt(2 nu) ||x - y||_2 / bandwidth, exp(-r) times 1, 1 + r or 1 + r + r^2 / 3.

    Attributes
    ----------
    bandwidth : float > 0 or "median"
        Unit of distance.
    nu : {0.5, 1.5, 2.5}
        Smoothness.
    """

    nu: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if _checks.real("Matern", "nu", self.nu) not in (0.5, 1.5, 2.5):
            raise ValueError(f"Matern: nu must be one of 0.5, 1.5, 2.5; got {self.nu!r}")

    @property
    def family(self) -> str:
        """Name of the loop that computes entries."""
        return f"matern{int(2 * self.nu)}2"


@dataclass(frozen=True)
class Polynomial(KernelFunction):
    """Polynomial kernel (scale x . y + offset)^degree; degree 1 and offset 0 make the linear kernel.

    Attributes
    ----------
    degree : int >= 1
        Power.
    scale : float > 0
        Factor of the inner product.
    offset : float >= 0
        Constant.
    """

    degree: int = 3
    scale: float = 1.0
    offset: float = 1.0

    def __post_init__(self) -> None:
        _checks.integer("Polynomial", "degree", self.degree, 1)
        _checks.real("Polynomial", "scale", self.scale, 0, open=True)
        _checks.real("Polynomial", "offset", self.offset, 0)

    @property
    def numbers(self) -> tuple[float, ...]:
        """Degree, scale and offset."""
        return (float(self.degree), self.scale, self.offset)


@dataclass(frozen=True)
class Cosine(KernelFunction):
    """Cosine of the angle between x and y; 0 where one of them is zero."""


def check_dense(function: str, name: str, kernel: object, X: Array) -> Array:
    """Require dense points where a kernel needs them.

    Raises
    ------
    TypeError
        Sparse points meet the Laplace kernel, whose distances are no products.
    """
    if isinstance(kernel, Laplace) and _arrays.is_sparse(X):
        raise TypeError(f"{function}: {name} must be a dense array for the Laplace kernel; got {type(X).__name__}")
    return X


NAMES: dict[str, KernelFunction] = {
    "rbf": RBF(),
    "laplace": Laplace(),
    "matern": Matern(),
    "polynomial": Polynomial(),
    "linear": Polynomial(1, 1.0, 0.0),
    "cosine": Cosine(),
}
