"""The answer of `weighted_lstsq`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lowrank_la import _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.dpp._bases import Basis
from lowrank_la.dpp._design import Design
from lowrank_la.dpp._measure import Values


@dataclass(frozen=True)
class Validation:
    """||f - f^|| estimated at points that the fit has not seen; statistical, not certain.

    Attributes
    ----------
    error : float, or array (q,)
        Root of the mean squared error, in the units of f times the root of the mass of mu.
    low, high : float, or array (q,)
        Interval from the central limit theorem.
    confidence : float
        Its level, asymptotically.
    size : int
        Number of points, independent ones from mu.
    """

    error: Any
    low: Any
    high: Any
    confidence: float
    size: int


@dataclass(frozen=True, repr=False)
class WeightedLstsqResult(Result):
    """Answer of `weighted_lstsq`.

    Attributes
    ----------
    x : array (p,) or (p, q)
        Coefficients of the functions of the basis (of the columns of Phi for `DiscreteFeatures`, of the features for `FeatureBasis`).
    basis : Basis
        The functions.
    design : Design
        Points, weights and spectrum of the Gram matrix G.
    values : array (n,) or (n, q)
        f at the points.
    residual_norm : float, or array (q,)
        ||f - f^||_n, the root of sum_i w_i |f(x_i) - f^(x_i)|^2 / n.
    loo_error : float, or array (q,)
        The same with each value predicted from the others: an estimate of ||f - f^||_L2; inf where a point decides alone.
    validation : Validation or None
        Error at fresh points, if asked for.
    lambda_min, lambda_max : float
        Extreme eigenvalues of G, as computed.
    rounding : float
        What rounding errors add, in the units of residual_norm; see the certificate.
    rank : int
        Numerical rank of the problem.
    converged : bool
        The design passed its test and the rank is full.
    certificate : Certificate
        bound times (||f - v||_n + rounding) is at least ||v - f^||_L2 for every v in the span, of each component
        of f. Always holds; inf if the design does not determine v.
    """

    x: Array
    basis: Basis
    design: Design = field(repr=False)
    values: Array
    residual_norm: Any
    loo_error: Any
    validation: Validation | None
    lambda_min: float
    lambda_max: float
    rounding: float
    rank: int
    converged: bool
    certificate: Certificate
    ridge: float = field(repr=False)
    C: np.ndarray = field(repr=False)
    strata: tuple[tuple[int, Basis], ...] = field(repr=False)
    measured: Values = field(repr=False)

    def predict(self, x: Any) -> Array:
        """Evaluate the approximation.

        Parameters
        ----------
        x : array (k, dim), or (k,) where dim is 1; row indices (k,) for discrete features
            Points.

        Returns
        -------
        array (k,) or (k, q)
            f^ at the points, of the kind of the values.

        Raises
        ------
        ValueError
            x does not fit the basis, or is not finite.
        """
        return self.measured.leave(self.basis.eval(x) @ self.C)

    def enlarge(
        self, f: Callable[[Array], Any], basis: Basis | None = None, *, add: int | None = None, delta: float = 0.9, rng: _random.RNG = None
    ) -> WeightedLstsqResult:
        """Fit in a larger space, with all points that have been measured and some new ones.

        Parameters
        ----------
        f : callable
            As for `weighted_lstsq`; called at the new points only.
        basis : Basis, optional
            A basis of polynomials or a `TensorBasis` of the same families that has all present functions. By default
            the present ones and the margin of their index set.
        add : int, add >= 1, optional
            Keep so many functions of the margin, those with the largest coefficients.
        delta : float, 0 < delta < 1
            Add points until lambda_min(G) >= 1 - delta.
        rng : None, int or numpy.random.Generator
            For the new points.

        Returns
        -------
        WeightedLstsqResult
            In the basis of present and new functions, in this order.

        Raises
        ------
        ValueError
            An argument is out of range, f fails at a point, or the basis does not contain the present functions.
        TypeError
            The present basis is no product of families.

        Warns
        -----
        ConvergenceWarning
            lambda_min(G) stays below 1 - delta.

        Notes
        -----
        New points are determinantal samples for the new functions alone. With m old and k new functions and n m / (m + k) of n
        points old, all points together have the density of the larger space; other shares are corrected by weights, one over the
        density of the mixture [1]_, so that E[G] = I.

        References
        ----------
        .. [1] Arras, Bachmayr and Cohen, Sequential sampling for optimal weighted least squares approximations in
           hierarchical spaces, SIAM J. Math. Data Sci. 1, 2019. The mixture of old and new densities.
        """
        from lowrank_la.dpp._enlarge import enlarge

        return enlarge(self, f, basis, add, delta, _random.seed_of("enlarge", rng))
