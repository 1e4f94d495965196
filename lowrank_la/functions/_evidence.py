"""What is known about the error of a function, and what an operation makes of it.

Errors are measured by one norm, so that those of constructors and operations add up: the root mean square for the Chebyshev
measure, the law of independent cosines of uniform angles, mapped to the box. It is at most the largest absolute value, and at most the
Frobenius norm of the coefficients; for a vector-valued function it is that of the length of the vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lowrank_la import _arrays
from lowrank_la._result import Certificate
from lowrank_la.functions._parts import Parts, frobenius

CLAIM = "root-mean-square error for the Chebyshev measure <= bound"
SAME_DEGREES = ", if the error is a polynomial of the same degrees"
AS_THEY_STAND = ", against the same operation on the functions as they stand"
MODERATE = ", if the error over the root of the density of samples is nowhere more than twice the largest one seen"
OF_SAMPLES = ", against the interpolant of the samples"
CONFIDENCE = 0.99  # of certificates from samples
UNSEEN = 2.0  # times the largest error seen: the largest one at all, by assumption
SUFFIXES = (SAME_DEGREES, AS_THEY_STAND, MODERATE, OF_SAMPLES)


def unknown() -> Certificate:
    """Promise nothing."""
    return Certificate(CLAIM, math.inf, 1.0, "none")


def bound_of(certificate: Certificate) -> float:
    """Return the bound on the error in the common norm, infinite if the certificate speaks of something else."""
    return certificate.bound if certificate.claim.startswith(CLAIM) else math.inf


def follow(operands: Sequence[Certificate], bound: float, method: str, suffix: str = "") -> Certificate:
    """Certify the outcome of an operation; the conditions of the certificates of the operands remain."""
    said = [text for text in SUFFIXES if text == suffix or any(text in given.claim for given in operands)]
    doubt = sum(1 - given.confidence for given in operands)
    return Certificate(CLAIM + "".join(said), bound, max(0.0, 1 - doubt), method)


def from_samples(off: np.ndarray, weights: np.ndarray, extra: float, suffix: str = "") -> Certificate:
    """Certify by errors at random points, with the weights that turn means over them into those for the Chebyshev measure.

    The bound on the mean of the squares is that of Maurer and Pontil for numbers between 0 and UNSEEN^2 times the largest one
    seen; `extra` is added to its root.
    """
    squares, q, log = weights * off**2, len(off), math.log(2 / (1 - CONFIDENCE))
    mean = np.mean(squares) + np.std(squares, ddof=1) * math.sqrt(2 * log / q) + 7 * UNSEEN**2 * np.max(squares) * log / (3 * (q - 1))
    said = CLAIM + "".join(text for text in SUFFIXES if text in (suffix, MODERATE))
    return Certificate(said, math.sqrt(float(mean)) + extra, CONFIDENCE, f"{q} random points")


def roundoff(parts: Parts) -> float:
    """Bound the rounding errors of an operation that takes each coefficient through a few products with a factor."""
    xp = _arrays.namespace(parts.core)
    steps = sum(V.shape[0] + V.shape[1] for V in parts.factors)
    return steps * _arrays.unit_roundoff(xp, parts.core.dtype) * frobenius(parts.core)
