"""What a basis is, and polynomials of one variable by their three-term recurrence, of any degree.

Values of orthonormal polynomials overflow on unbounded domains (Hermite: from a degree of about 350 on, squared), but
least squares needs only directions phi / ||phi|| and logarithms of lengths. The recurrence therefore carries a scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lowrank_la import _arrays, _checks

BLOCK = 1 << 12  # points of a recurrence that stay in the cache
BIG = 2.0**300  # values beyond it are scaled down; what then underflows is below rounding of the rest


@runtime_checkable
class Basis(Protocol):
    """Functions phi_1, ..., phi_m, orthonormal in L2(mu), and how to draw points for them.

    Points are NumPy arrays (n, dim), or (n,) where dim is 1. A basis on a finite set (`discrete`) has row indices for points.

    Attributes
    ----------
    size : int
        Number m of functions.
    dim : int
        Number of coordinates of a point.
    discrete : bool
        Points are row indices.
    """

    @property
    def size(self) -> int: ...

    @property
    def dim(self) -> int: ...

    @property
    def discrete(self) -> bool: ...

    def eval(self, x: Any) -> np.ndarray:
        """Return the values (n, m) of the functions."""
        ...

    def unit(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return phi / ||phi|| (n, m) and log ||phi||^2 (n,), which exist where phi overflows."""
        ...

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points from nu = ||phi||^2 / m dmu."""
        ...

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points from mu, scaled to mass 1."""
        ...

    def gram(self) -> np.ndarray:
        """Return the inner products (m, m) in L2(mu) of the functions, by quadrature: the identity but for rounding."""
        ...


def check_basis(function: str, basis: Any) -> Basis:
    """Require a basis.

    Raises
    ------
    TypeError
        It is none.
    """
    if not isinstance(basis, Basis):
        raise TypeError(f"{function}: basis must be a basis such as Legendre(10) or DiscreteFeatures(Phi); got {type(basis).__name__}")
    return basis


class Functions:
    """What follows from `values`, and from `scaled` where values overflow, for bases on a continuous domain."""

    size: int
    dim: int
    discrete = False

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return phi(x_i) (n, m) at checked points (n, dim)."""
        raise NotImplementedError

    def scaled(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return V (n, m) and s (n,) with phi(x_i) = exp(s_i) V_i."""
        return self.values(x), np.zeros(x.shape[0])

    def points(self, x: Any) -> np.ndarray:
        """Check points and give them two axes.

        Raises
        ------
        ValueError
            x has another number of coordinates, or an entry is NaN or infinite.
        TypeError
            x is complex or no array of numbers.
        """
        name = f"{type(self).__name__}.eval"
        x = _checks.real_dtype(name, "x", _arrays.on_host(name, "x", x)).astype(np.float64, copy=False)
        if x.ndim < 2 and self.dim == 1:
            x = x.reshape(-1, 1)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"{name}: x must have shape (n, {self.dim}); got {x.shape}")
        return _checks.finite(name, "x", x)

    def eval(self, x: Any) -> np.ndarray:
        """Return the values of the functions.

        Parameters
        ----------
        x : array (n, dim), or (n,) where dim is 1
            Points.

        Returns
        -------
        array (n, m)
            Infinite where a value exceeds the range of float64; `unit` is finite there.
        """
        return self.values(self.points(x))

    def unit(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the directions and lengths of the vectors of values.

        Parameters
        ----------
        x : array (n, dim), or (n,) where dim is 1
            Points.

        Returns
        -------
        u : array (n, m)
            phi / ||phi||; zero where phi is.
        log_k : array (n,)
            log ||phi||^2, -inf where phi is zero.
        """
        V, s = self.scaled(self.points(x))
        return directions(V, s)


def directions(V: np.ndarray, s: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit rows and the logarithms of the squared lengths of exp(s_i) V_i."""
    length = np.linalg.norm(V, axis=1)
    safe = np.where(length > 0, length, 1.0)
    return V / safe[:, None], np.where(length > 0, 2 * (np.log(safe) + s), -np.inf)


@dataclass(frozen=True)
class Univariate(Functions):
    """Functions of one variable, the first `size` of a family; x = shift + scale t with t in the family's own domain."""

    size: int

    dim = 1
    family = ""
    shift, scale = 0.0, 1.0

    def __post_init__(self) -> None:
        _checks.integer(type(self).__name__, "size", self.size, 1)

    @property
    def parameters(self) -> tuple[float, ...]:
        """Parameters of the weight in the family's own domain."""
        return ()

    def draw_squares(self, degrees: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw a point from |phi_j|^2 dmu for each entry j of `degrees`."""
        raise NotImplementedError

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, 1) from mu."""
        raise NotImplementedError

    def gram(self) -> np.ndarray:
        """Return the inner products (m, m) in L2(mu) of the functions, by quadrature: the identity but for rounding."""
        raise NotImplementedError

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, 1) from nu = ||phi||^2 / m dmu, an equal mixture of the |phi_j|^2 dmu."""
        return self.draw_squares(generator.integers(0, self.size, n), generator)[:, None]


@dataclass(frozen=True)
class Polynomials(Univariate):
    """Orthonormal polynomials p_0, ..., p_(m-1): t p_k = b_(k+1) p_(k+1) + a_k p_k + b_k p_(k-1)."""

    def recurrence(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a_0, ..., a_(count-1) and b_0, ..., b_(count-1), with b_0 = 0."""
        raise NotImplementedError

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return phi(x_i) (n, m) at checked points (n, 1)."""
        V, steps = self._table((x[:, 0] - self.shift) / self.scale, self.size)
        with np.errstate(over="ignore"):
            return (V * np.exp2(300.0 * steps)).T if steps.any() else V.T

    def scaled(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return V (n, m) and s (n,) with phi(x_i) = exp(s_i) V_i."""
        return self._scaled((x[:, 0] - self.shift) / self.scale, self.size)

    def _scaled(self, t: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Bring all values at a point to the scale of the largest; the others may underflow."""
        V, steps = self._table(t, count)
        if steps.any():
            V *= np.exp2(300.0 * (steps - steps[-1]))
        return V.T, 300.0 * math.log(2.0) * steps[-1]

    def _table(self, t: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Run the recurrence at all points together; values are V 2^(300 steps), rows are degrees."""
        a, b = self.recurrence(count)
        V, steps = np.empty((count, t.size)), np.zeros((count, t.size), dtype=np.int32)
        before, here, step = np.zeros(t.size), np.ones(t.size), np.zeros(t.size, dtype=np.int32)
        V[0] = 1.0
        for k in range(1, count):
            before, here = here, ((t - a[k - 1]) * here - b[k - 1] * before) / b[k]
            before, here, step = _rescaled(before, here, step)
            V[k], steps[k] = here, step
        return V, steps

    def log_squares(self, degrees: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log p_j(t)^2 and its derivative for pairs of a degree j and a point t of the family's own domain."""
        blocks = [slice(first, first + BLOCK) for first in range(0, max(t.size, 1), BLOCK)]
        parts = [self._log_squares(degrees[block], t[block]) for block in blocks]
        return np.concatenate([value for value, _ in parts]), np.concatenate([slope for _, slope in parts])

    def _log_squares(self, degrees: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b = self.recurrence(int(degrees.max(initial=0)) + 1)
        before, here, step = np.zeros((2, t.size)), np.stack([np.ones(t.size), np.zeros(t.size)]), np.zeros(t.size, dtype=np.int32)
        value, slope, steps = here[0].copy(), here[1].copy(), step.copy()
        for k in range(1, a.size):
            after = ((t - a[k - 1]) * here - b[k - 1] * before) / b[k]
            after[1] += here[0] / b[k]
            before, here, step = _rescaled(here, after, step)
            hit = degrees == k
            value[hit], slope[hit], steps[hit] = here[0, hit], here[1, hit], step[hit]
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * (np.log(np.abs(value)) + 300.0 * math.log(2.0) * steps), 2 * slope / value

    def quadrature(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes (count,) and weights (count,) of Gauss's rule for mu, exact up to degree 2 count - 1.

        Parameters
        ----------
        count : int, count >= 1
            Number of nodes.

        Returns
        -------
        nodes, weights : arrays (count,)
            The weights sum to 1.
        """
        count = _checks.integer(f"{type(self).__name__}.quadrature", "count", count, 1)
        nodes = self.nodes(count)
        V, s = self._scaled(nodes, count)
        return self.shift + self.scale * nodes, np.exp(-2 * s) / np.sum(V * V, axis=1)

    def nodes(self, count: int) -> np.ndarray:
        """Return the zeros of p_count in the family's own domain, ascending."""
        from scipy.linalg import eigvalsh_tridiagonal

        a, b = self.recurrence(count)
        return np.asarray(eigvalsh_tridiagonal(a, b[1:])) if count > 1 else a[:1]

    def gram(self) -> np.ndarray:
        """Return the inner products (m, m) in L2(mu) of the functions, by Gauss's rule with 2 m nodes."""
        V, _ = directions(*self._scaled(self.nodes(2 * self.size), 2 * self.size))
        return V[:, : self.size].T @ V[:, : self.size]  # the weights of Gauss's rule are 1 / ||phi||^2 of all 2 m functions


def _rescaled(before: np.ndarray, here: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide two successive terms of a recurrence by BIG where they have grown beyond it, and count that."""
    size = np.abs(here) if here.ndim == 1 else np.abs(here).max(axis=0)
    if not size.max(initial=0.0) > BIG:
        return before, here, step
    large = size > BIG
    factor = np.where(large, 1 / BIG, 1.0)
    return before * factor, here * factor, step + large
