"""What every kind of score looks like."""

from __future__ import annotations

from dataclasses import dataclass

from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result


@dataclass(frozen=True, repr=False)
class ScoreResult(Result):
    """A score for each row of a matrix, between two bounds.

    Attributes
    ----------
    scores : array (n,), float64
        In the namespace and on the device of A.
    lower, upper : array (n,), float64
        lower_i <= exact score of row i <= upper_i, with the confidence of the certificate.
    rank : int
        Numerical rank of A; with a ridge, that of A and the rows of the ridge.
    converged : bool
        Whether the bounds say anything and the tolerance, if there is one, was reached.
    certificate : Certificate
        Its bound is the largest relative width of the brackets.
    """

    scores: Array
    lower: Array
    upper: Array
    rank: int
    converged: bool
    certificate: Certificate
