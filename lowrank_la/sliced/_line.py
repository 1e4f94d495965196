"""`wasserstein_1d`: the transport distance of numbers on a line, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.sliced._gradient import by_points, with_gradients
from lowrank_la.sliced._problem import enter

NAME = "wasserstein_1d"


@dataclass(frozen=True, repr=False)
class LineResult(Result):
    """The distance of two weighted samples on a line.

    Attributes
    ----------
    value : float
        W_p. Where x or y require gradients it is a tensor that gives them.
    value_p : float
        W_p^p, likewise.
    certificate : Certificate
        Bounds the rounding errors of `value`.
    """

    value: Any
    value_p: Any
    certificate: Certificate


def wasserstein_1d(x: Array, y: Array, *, p: float = 2, a: Array | None = None, b: Array | None = None) -> LineResult:
    """Compute the Wasserstein distance of two samples on a line, of any sizes and weights.

    The best plan matches quantiles: W_p^p is the integral of |F^-1(q) - G^-1(q)|^p over q from 0 to 1.

    Parameters
    ----------
    x : array (n,), real
        Numbers. Torch tensors may require gradients.
    y : array (m,), real
        Numbers to compare with.
    p : float, p >= 1
        Exponent of the cost.
    a : array (n,), non-negative
        Weights of x; uniform by default. Weights that do not sum to 1 are divided by their sum, with a warning.
    b : array (m,), non-negative
        Weights of y, of the mass of `a`.

    Returns
    -------
    LineResult
        value, value_p and certificate.

    Raises
    ------
    ValueError
        x or y is empty, not 1-dimensional or not finite, weights do not fit or are negative, masses differ, or p is below 1.
    TypeError
        An argument is complex or no array of numbers.

    Warns
    -----
    UserWarning
        Weights do not sum to 1.

    Notes
    -----
    Cost: two sorts. Without weights, masses are counted in integers, exactly for n m < 2^53. Certificate: rounding moves no number by
    more than a known distance, and W_p by no more than twice that, by the triangle inequality; holds always.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sliced import wasserstein_1d
    >>> result = wasserstein_1d(np.array([0.0, 1.0]), np.array([3.0]), p=1)
    >>> result.value
    2.5
    >>> result.certificate.bound < 1e-13
    True
    """
    problem = enter(NAME, x, y, a, b, p, line=True)
    one = np.ones((1, 1))
    with problem.threads(1):
        value_p = 0.0 if problem.same else float(problem.costs(one, problem.mu)[0])
    bound = 0.0 if problem.same else problem.rounding
    value = value_p ** (1 / p)
    certificate = Certificate("|value - W_p(x, y)| <= bound", bound, 1.0, "rounding")
    answer = LineResult(value, value_p, certificate)
    return with_gradients(x, y, p, answer, lambda: tuple(slopes[:, 0] for slopes in by_points(problem, one, np.ones(1))))
