"""What `TopEigenvector` answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result


@dataclass(frozen=True, repr=False)
class Candidates(Result):
    """Vectors of Oja's iteration, one for each learning rate, in the order of falling rates.

    Attributes
    ----------
    rates : array (J,), float64, on the host
        Learning rates.
    growth : array (J,), float64
        Logarithm of the growth of each vector; one that has not grown by 1.5 ln d has learned nothing.
    learned : array (J,), bool
        Which have.
    energies : array (J,), float64
        What is certified of ||A v||^2: always by the sketch, or with probability 0.99 by rows drawn for the choice, whichever
        is more. The largest decides.
    """

    rates: np.ndarray
    growth: np.ndarray
    learned: np.ndarray
    energies: np.ndarray


@dataclass(frozen=True, repr=False)
class TopEigenvectorResult(Result):
    """Leading eigenvectors of A^H A, for the matrix A of all rows that came.

    Attributes
    ----------
    V : array (d, r)
        Unit vectors, orthogonal to rounding, leading first; the largest entry of each is positive.
    values : array (r,), float64, on the host
        Estimates of the eigenvalues; exact but for rounding with method "gram".
    lower, upper : float
        lower <= ||A V||_F^2 <= lambda_1 + ... + lambda_r <= upper; `lower` with the confidence of the certificate, `upper` always.
    next_value : float
        Estimate of the next eigenvalue.
    sin_angle : float
        Sine of the largest angle to the r leading eigenvectors: at most this with methods "gram" and "directions", with "oja" at
        the confidence of the certificate, and where the certificate says so; else an estimate. 1.0 where nothing is known.
    trace : float
        ||A||_F^2.
    heavy_rows : array (h,), int64, on the host
        Indices of the rows that are kept apart, ascending.
    n_rows : int
        Rows of A.
    space : int
        Numbers in the state.
    method : str
        "gram", "blocks", "oja" or "directions".
    converged : bool
        Whether `sin_angle` is at most 1/2.
    candidates : Candidates or None
        What "oja" has to choose from, besides the vector of its sketch.
    certificate : Certificate
        What is known about V.
    """

    V: Array
    values: np.ndarray
    lower: float
    upper: float
    next_value: float
    sin_angle: float
    trace: float
    heavy_rows: np.ndarray
    n_rows: int
    space: int
    method: str
    converged: bool
    candidates: Candidates | None
    certificate: Certificate

    @property
    def v(self) -> Array:
        """The leading eigenvector, (d,)."""
        return self.V[:, 0]

    @property
    def value(self) -> float:
        """Estimate of the largest eigenvalue lambda_1."""
        return float(self.values[0])
