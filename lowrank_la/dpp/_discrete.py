"""Rows of a feature matrix as points of a finite set. QR makes the features orthonormal."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import ConvergenceWarning
from lowrank_la.dpp._bases import directions
from lowrank_la.factor import _dense
from lowrank_la.factor._orth import orthonormal


class DiscreteFeatures:
    """Rows of a feature matrix as points of a finite set, with a weight for each.

    Parameters
    ----------
    Phi : array (N, p)
        Features of N items, real or complex, of any backend; N >= the rank of Phi.
    mu : array (N,), default 1/N each
        Weights mu_i >= 0 of the items in ||v||^2 = sum_i mu_i |v_i|^2, not all zero.

    Attributes
    ----------
    Q : array (N, m)
        Orthonormal columns with the span of sqrt(mu) Phi, of the kind of Phi; the functions of the basis are Q / sqrt(mu).
    kept : array (m,)
        Columns of Phi that were kept.
    dropped : array (p - m,)
        Columns that depend on these up to rounding.

    Raises
    ------
    ValueError
        Phi is no finite matrix, is zero or has no rows, or mu does not fit, is negative or zero.
    TypeError
        Phi or mu is no array of numbers, or mu is complex.

    Warns
    -----
    ConvergenceWarning
        Columns depend on others and are dropped.

    Notes
    -----
    Cost: 4 N p^2 flops, see `lowrank_la.factor.orth`; memory three N x p arrays. Rank is decided by pivoted QR of
    columns of length 1, at max(N, p) roundoff units. Items of weight zero, and items at which all features are zero, are never drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import DiscreteFeatures
    >>> basis = DiscreteFeatures(np.vander(np.linspace(0, 1, 500), 6))
    >>> basis
    DiscreteFeatures(500 items, 6 functions)
    >>> bool(np.allclose(basis.gram(), np.eye(6)))
    True
    """

    dim = 1
    discrete = True

    def __init__(self, Phi: Array, mu: Array | None = None) -> None:
        name = "DiscreteFeatures"
        door, [Phi, mu] = _dense.enter(name, Phi=Phi, mu=mu)
        _checks.ndim(name, "Phi", Phi, 2)
        items = Phi.shape[0]
        if items < Phi.shape[1]:
            raise ValueError(f"{name}: Phi must have at least as many rows as columns; got shape {tuple(Phi.shape)}")
        self.leave: Callable[[Array], Array] = lambda x: door.leave(_arrays.from_numpy(x, Phi))
        self.mu = np.full(items, 1 / items) if mu is None else _weights(name, _dense.real(name, "mu", mu), items)
        scale = _arrays.from_numpy(np.sqrt(self.mu), Phi)
        Y = door.xp.astype(scale, door.real_dtype)[:, None] * Phi
        self.inside, self.kept, self.dropped, self._back = _orthonormalised(name, Y)
        self.Q = door.leave(self.inside)

    def __repr__(self) -> str:
        return f"DiscreteFeatures({self.mu.size} items, {self.size} functions)"

    @property
    def size(self) -> int:
        """Number m of functions: the numerical rank of the features."""
        return self.inside.shape[1]

    @property
    def mass(self) -> float:
        """Sum of the weights of the items."""
        return float(self.mu.sum())

    @functools.cached_property
    def _shares(self) -> np.ndarray:
        """Squared lengths of the rows of Q: m times the probabilities of nu."""
        xp = _arrays.namespace(self.inside)
        return _dense.host(xp.sum(xp.abs(_dense.wide(self.inside)) ** 2, axis=1))

    @functools.cached_property
    def _steps(self) -> np.ndarray:
        return np.cumsum(self._shares)

    @functools.cached_property
    def _steps_mu(self) -> np.ndarray:
        return np.cumsum(self.mu)

    @functools.cached_property
    def defect(self) -> float:
        """Bound on ||Q^H Q - I||: how far the functions are from orthonormal."""
        return float(_dense.defect(self.inside))

    def rows(self, x: Any) -> np.ndarray:
        """Return rows of Q (n, m) in double precision, on the host."""
        xp = _arrays.namespace(self.inside)
        rows = xp.take(self.inside, _arrays.from_numpy(self._items(x), self.inside), axis=0)
        return np.asarray(_arrays.to_numpy(_dense.wide(rows)))

    def _items(self, x: Any) -> np.ndarray:
        """Check row indices, and bring them to the host."""
        name = "DiscreteFeatures.eval"
        return _checks.ids(name, "x", _checks.ndim(name, "x", _arrays.on_host(name, "x", x), 1), self.mu.size).astype(np.int64)

    def eval(self, x: Any) -> np.ndarray:
        """Return the values (n, m) of the orthonormal functions at items; zero at items of weight zero.

        Parameters
        ----------
        x : array (n,) of int
            Row indices.

        Returns
        -------
        array (n, m)
            Rows of Q / sqrt(mu), NumPy.
        """
        root = np.sqrt(self.mu[self._items(x)])
        return self.rows(x) / np.where(root > 0, root, 1.0)[:, None]

    def unit(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return phi / ||phi|| (n, m) and log ||phi||^2 (n,) at items.

        Parameters
        ----------
        x : array (n,) of int
            Row indices.

        Returns
        -------
        u : array (n, m)
            Directions, NumPy.
        log_k : array (n,)
            -inf where all features are zero.
        """
        u, log_k = directions(self.rows(x))
        mu = self.mu[self._items(x)]
        return u, log_k - np.log(np.where(mu > 0, mu, 1.0))

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent items (n,) from nu, with probabilities ||Q_i||^2 / m."""
        return _inverted(self._steps, n, generator)

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent items (n,) from mu, scaled to mass 1."""
        return _inverted(self._steps_mu, n, generator)

    def gram(self) -> np.ndarray:
        """Return the inner products (m, m) of the functions: Q^H Q."""
        Q = _dense.wide(self.inside)
        return np.asarray(_arrays.to_numpy(_dense.adjoint(Q) @ Q))

    def coefficients(self, c: np.ndarray) -> np.ndarray:
        """Return x (p, ...) with Phi x = sum_j c_j phi_j; zero for dropped columns.

        Parameters
        ----------
        c : array (m, ...)
            Coefficients of the orthonormal functions.

        Returns
        -------
        array (p, ...)
            Coefficients of the columns of Phi, NumPy.
        """
        x = np.zeros((self.kept.size + self.dropped.size, *c.shape[1:]), dtype=np.result_type(c, self._back))
        x[self.kept] = self._back @ c
        return x


def _weights(function: str, mu: Array, items: int) -> np.ndarray:
    """Bring the weights of items to the host.

    Raises
    ------
    ValueError
        There is not one for each item, one is negative, or all are zero.
    """
    weights = _dense.host(_checks.shape(function, "mu", mu, (items,)))
    if weights.min() < 0 or not weights.max() > 0:
        raise ValueError(f"{function}: mu must be at least 0, and above 0 somewhere; got {weights.min():g} to {weights.max():g}")
    return weights


def _orthonormalised(function: str, Y: Array) -> tuple[Array, np.ndarray, np.ndarray, np.ndarray]:
    """Return Q with the span of Y, the columns kept and dropped, and B with Y[:, kept] B = Q.

    Raises
    ------
    ValueError
        All of Y is zero.
    """
    from scipy.linalg import qr, solve_triangular

    xp = _arrays.namespace(Y)
    length = np.sqrt(_dense.host(xp.sum(xp.abs(_dense.wide(Y)) ** 2, axis=0)))
    if not length.max() > 0:
        raise ValueError(f"{function}: Phi must have an entry other than 0 at an item of positive weight; got none")
    length[length == 0] = 1.0
    Q, R = orthonormal(Y / xp.astype(_arrays.from_numpy(length, Y), _arrays.real_dtype(xp, Y.dtype)), 0)
    turn, triangle, order = (np.asarray(part) for part in qr(_arrays.to_numpy(_dense.wide(R)), pivoting=True, mode="economic"))
    size = np.abs(np.diagonal(triangle))
    rank = int(np.sum(size > max(Y.shape) * _arrays.unit_roundoff(xp, Y.dtype) * size[0]))
    kept, dropped = order[:rank], np.sort(order[rank:])
    if dropped.size:
        words = f"{function}: Phi has numerical rank {rank} of {order.size}; columns {dropped.tolist()} are dropped"
        warnings.warn(words, ConvergenceWarning, stacklevel=4)
    Q = Q @ xp.astype(_arrays.from_numpy(np.ascontiguousarray(turn[:, :rank]), Y), Y.dtype)
    Q = xp.where(xp.any(Y != 0, axis=1)[:, None], Q, xp.zeros_like(Q))  # rounding must not make such items possible
    back = solve_triangular(triangle[:rank, :rank], np.eye(rank)) / length[kept][:, None]
    return Q, kept, dropped, back


def _inverted(steps: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Draw indices with probabilities proportional to the steps of an increasing sequence; never one without a step."""
    found = np.searchsorted(steps, generator.random(n) * steps[-1], side="right")
    return np.minimum(found, np.searchsorted(steps, steps[-1], side="left")).astype(np.int64)
