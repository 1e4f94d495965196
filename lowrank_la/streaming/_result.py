"""What `TopEigenvector` answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result


@dataclass(frozen=True, repr=False)
class TopEigenvectorResult(Result):
    """A leading eigenvector of A^H A, for the matrix A of all rows that came.

    Attributes
    ----------
    v : array (d,)
        Unit vector; its largest entry is positive.
    value : float
        Estimate of the largest eigenvalue lambda_1; exact but for rounding with method "gram".
    lower, upper : float
        lower <= ||A v||^2 <= lambda_1 <= upper; `lower` with the confidence of the certificate, `upper` always.
    second_value : float
        Estimate of the second eigenvalue.
    sin_angle : float
        Sine of the angle to the leading eigenvector: at most this with methods "gram" and "directions", and where
        the certificate says so; else an estimate. 1.0 where nothing is known.
    trace : float
        ||A||_F^2.
    heavy_rows : array (h,), int64, on the host
        Indices of the rows that are kept apart, ascending.
    n_rows : int
        Rows of A.
    space : int
        Numbers in the state.
    method : str
        "gram", "blocks" or "directions".
    converged : bool
        Whether `sin_angle` is at most 1/2.
    certificate : Certificate
        What is known about v.
    """

    v: Array
    value: float
    lower: float
    upper: float
    second_value: float
    sin_angle: float
    trace: float
    heavy_rows: np.ndarray
    n_rows: int
    space: int
    method: str
    converged: bool
    certificate: Certificate
