"""What `functional_tucker_ls` returns: a function that can be evaluated, and for polynomials a `FunctionTucker`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.functional_tucker import _basis, _data
from lowrank_la.functional_tucker._alternating import at_points
from lowrank_la.functions import FunctionTucker
from lowrank_la.functions._function import function_of

SLACK = 1e-9  # of an interval, by which a point may be outside


@dataclass(frozen=True, repr=False)
class LeastSquaresFit(Result):
    """A function f in Tucker format with factors in one basis for each variable, made by `functional_tucker_ls`.

    Attributes
    ----------
    core : array (R_1, ..., R_K)
        In the units of y.
    factors : tuple of arrays (m_k, R_k)
        Coefficients of Chebyshev polynomials, or of cubic B-splines on equal pieces.
    domain : NumPy array (K, 2)
        The box on which f is defined.
    basis : {"chebyshev", "bspline"}
    offset : float
        What is added to the Tucker function.
    penalty : float
        The weight of the penalty.
    objective : tuple of floats
        After each sweep, descending: mean squared residual plus penalty, for values standardized to variance 1.
    residual_rms, held_out_rms : float
        Root mean square of y - f(x), weighted, over the data of the fit and over those held out (NaN where there are none).
    converged : bool
        The objective had settled to `tol`.
    n_iter : int
        Sweeps, those of the search for a penalty included.
    n_dropped : int
        Values that were NaN.
    certificate : Certificate
        Bounds |y - f(x)| for 90% of new data.
    """

    core: Array
    factors: tuple[Array, ...] = field(repr=False)
    domain: np.ndarray
    basis: str
    offset: float
    penalty: float
    objective: tuple[float, ...]
    residual_rms: float
    held_out_rms: float
    converged: bool
    n_iter: int
    n_dropped: int
    certificate: Certificate

    @property
    def ranks(self) -> tuple[int, ...]:
        """Functions of one variable in each factor."""
        return tuple(V.shape[1] for V in self.factors)

    @property
    def function(self) -> FunctionTucker:
        """The function with its calculus: derivatives, integrals, products.

        Raises
        ------
        ValueError
            The basis is "bspline".
        """
        if self.basis != "chebyshev":
            raise ValueError(f"{type(self).__name__}.function: basis must be 'chebyshev' for a FunctionTucker; got {self.basis!r}")
        arrays = {"core": self.core, **{f"factor {k}": V for k, V in enumerate(self.factors)}}
        door, [core, *factors] = _arrays.enter(f"{type(self).__name__}.function", **arrays)
        f = function_of(core, factors, self.domain, door=door) + self.offset
        return replace(f, certificate=self.certificate, sample_rms=self.held_out_rms if self.held_out_rms > 0 else math.inf)

    def predict(self, coords: Array) -> Array:
        """Return f at points (Q, K), shape (Q,).

        Raises
        ------
        ValueError
            A point is NaN, infinite or outside the domain, or the number of columns is not K.
        """
        where = f"{type(self).__name__}.predict"
        door, [coords] = _data.dense(where, coords=coords)
        coords = _data.points(where, coords, len(self.factors))
        x = _data.host(coords)
        _inside(where, x, self.domain)
        size = [V.shape[0] for V in self.factors]
        tables = [
            _basis.plain(self.basis, (low, high), m, column) @ _data.host(V)
            for (low, high), m, column, V in zip(self.domain, size, x.T, self.factors, strict=True)
        ]
        f = self.offset + at_points(tables, _data.host(self.core))
        return door.leave(_arrays.from_numpy(f, coords))


def _inside(where: str, x: np.ndarray, domain: np.ndarray) -> None:
    """Refuse points outside the domain.

    Raises
    ------
    ValueError
        There is one.
    """
    slack = SLACK * (domain[:, 1] - domain[:, 0])
    bad = np.argwhere((x < domain[:, 0] - slack) | (x > domain[:, 1] + slack))
    if bad.size:
        n, k = bad[0]
        low, high = domain[k]
        rule = f"inside the domain, {low:.6g} to {high:.6g} in column {k}"
        raise ValueError(f"{where}: coords must be {rule}; got {x[n, k]:.6g} in row {n}")
