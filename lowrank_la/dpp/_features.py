"""Functions given by the user, made orthonormal on points that stand for the measure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.dpp._bases import Functions
from lowrank_la.dpp._discrete import DiscreteFeatures


class FeatureBasis(Functions):
    """Functions given by the user, made orthonormal on points that stand for mu: a sample of it, or a quadrature rule.

    Parameters
    ----------
    features : callable
        features(x) returns the values (n, p), real or complex, at points x (n, dim).
    points : array (N, dim), or (N,)
        Points that stand for mu, N >= 20 p log p for a sample of it. Designs consist of such points.
    mu : array (N,), default 1/N each
        Their weights.
    orthonormalise : bool, default True
        If False, the functions must be orthonormal already, and are used as they are.
    tol : float, default 1e-8
        Largest ||Gram - I|| that passes for orthonormal, if `orthonormalise` is False.

    Raises
    ------
    ValueError
        The points or values are no finite matrices, they do not fit, or the functions are not orthonormal.
    TypeError
        features is not callable, or an argument is no array of numbers.

    Warns
    -----
    ConvergenceWarning
        Functions depend on others and are dropped.

    Notes
    -----
    Certificates hold for the measure that the points carry; their method says "discretised".

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import FeatureBasis
    >>> x = np.random.default_rng(0).standard_normal((2000, 2))
    >>> basis = FeatureBasis(lambda x: np.cos(np.outer(x[:, 0], np.arange(4)) + x[:, 1:]), x)
    >>> basis
    FeatureBasis(4 functions on 2000 points)
    >>> bool(np.allclose(basis.gram(), np.eye(4)))
    True
    """

    discretised = True

    def __init__(
        self,
        features: Callable[[np.ndarray], Array],
        points: Array,
        mu: Array | None = None,
        *,
        orthonormalise: bool = True,
        tol: float = 1e-8,
    ) -> None:
        name = type(self).__name__
        if not callable(features):
            raise TypeError(f"{name}: features must be callable; got {type(features).__name__}")
        grid = _checks.real_dtype(name, "points", _arrays.on_host(name, "points", points)).astype(np.float64, copy=False)
        grid = _checks.ndim(name, "points", grid[:, None] if grid.ndim == 1 else grid, 2)
        self._grid = _checks.finite(name, "points", _checks.not_empty(name, "points", grid))
        self.dim, self._features = self._grid.shape[1], features
        values = self._raw(self._grid)
        self._on_grid = DiscreteFeatures(values, mu)
        self.size, self.defect = self._on_grid.size, self._on_grid.defect
        self._back = self._on_grid.coefficients(np.eye(self.size))
        if not orthonormalise:
            V = np.sqrt(self._on_grid.mu)[:, None] * values
            apart = float(np.linalg.norm(V.conj().T @ V - np.eye(V.shape[1]), 2))
            if not apart <= _checks.real(name, "tol", tol, 0):
                raise ValueError(f"{name}: features must be orthonormal within tol = {tol:.3g}; got ||Gram - I|| = {apart:.3g}")
            self._back, self.defect = np.eye(self.size), self.defect + apart

    def __repr__(self) -> str:
        return f"FeatureBasis({self.size} functions on {self._grid.shape[0]} points)"

    def _raw(self, x: np.ndarray) -> np.ndarray:
        """Evaluate the features on the host.

        Raises
        ------
        ValueError
            They are no matrix with a row for each point.
        """
        name = type(self).__name__
        values = _arrays.on_host(name, "features(x)", self._features(x))
        if values.ndim != 2 or values.shape[0] != x.shape[0]:
            raise ValueError(f"{name}: features must return an array ({x.shape[0]}, p); got shape {values.shape}")
        return _checks.finite(name, "features(x)", values)

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return phi(x_i) (n, m) at checked points (n, dim)."""
        return self._raw(x) @ self._back

    @property
    def mass(self) -> float:
        """Sum of the weights of the points."""
        return self._on_grid.mass

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, dim) from nu on the grid."""
        return self._grid[self._on_grid.draw(n, generator)]

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, dim) from mu on the grid."""
        return self._grid[self._on_grid.draw_mu(n, generator)]

    def gram(self) -> np.ndarray:
        """Return the inner products (m, m) of the functions on the grid."""
        V = np.sqrt(self._on_grid.mu)[:, None] * self.eval(self._grid)
        return V.conj().T @ V

    def coefficients(self, c: np.ndarray) -> np.ndarray:
        """Return x (p, ...) with features(.) x = sum_j c_j phi_j; zero for dropped functions.

        Parameters
        ----------
        c : array (m, ...)
            Coefficients of the orthonormal functions.

        Returns
        -------
        array (p, ...)
            Coefficients of the features.
        """
        return self._back @ c
