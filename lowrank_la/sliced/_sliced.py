"""`sliced_wasserstein`: the mean of one-dimensional transport costs over all directions, with an interval."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

from lowrank_la import _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.sliced import _harmonics, _modes
from lowrank_la.sliced._bracket import bracket
from lowrank_la.sliced._gradient import gradient, with_gradients
from lowrank_la.sliced._modes import Estimate, Sample
from lowrank_la.sliced._problem import Problem, enter
from lowrank_la.sliced._regression import half_width

NAME = "sliced_wasserstein"
CLAIM = "|value - SW_p(X, Y)| <= bound"


@dataclass(frozen=True, repr=False)
class SlicedResult(Result):
    """An estimate of the sliced Wasserstein distance of two clouds.

    Attributes
    ----------
    value : float
        SW_p, the p-th root of the mean of W_p^p over all directions. Where X or Y require gradients it is a tensor that gives them.
    value_p : float
        SW_p^p, likewise: the better loss, because the root has no derivative at zero.
    standard_error : float
        Of `value`, over the draws of directions; inf where there are too few to tell.
    interval : tuple of float
        Holds SW_p with the confidence of the certificate.
    bracket : tuple of float
        Holds SW_p always.
    n_projections : int
        Directions that were used.
    gain : float
        Estimated variance of a plain mean over as many independent directions, over that of this estimate.
    converged : bool
        Whether the tolerance was reached; True if none was given.
    certificate : Certificate
        Bounds the distance of `value` from SW_p of these points.
    """

    value: Any
    value_p: Any
    standard_error: float
    interval: tuple[float, float]
    bracket: tuple[float, float]
    n_projections: int
    gain: float
    converged: bool
    certificate: Certificate


def sliced_wasserstein(
    X: Array,
    Y: Array,
    *,
    p: float = 2,
    a: Array | None = None,
    b: Array | None = None,
    n_projections: int = 128,
    variance_reduction: str = "auto",
    tol: float | None = None,
    max_projections: int = 65536,
    confidence: float = 0.95,
    rng: _random.RNG = None,
) -> SlicedResult:
    """Estimate the sliced Wasserstein distance of two clouds of points, and say how far off the estimate may be.

    SW_p^p is the mean over all directions theta of W_p^p between the projected clouds. It is estimated from some directions;
    functions of the direction with known means, which resemble W_p^p, take away most of the variance.

    Parameters
    ----------
    X : array (n, d), real
        Points. Torch tensors may require gradients.
    Y : array (m, d), real
        Points to compare with.
    p : float, p >= 1
        Exponent of the cost |u - v|^p.
    a : array (n,), non-negative
        Weights of the rows of X; uniform by default. Weights that do not sum to 1 are divided by their sum, with a warning.
    b : array (m,), non-negative
        Weights of the rows of Y, of the mass of `a`.
    n_projections : int, n_projections >= 1
        Directions; "auto", "orthogonal" and "qmc" round up to whole blocks. The first round, if `tol` is given.
    variance_reduction : {"auto", "none", "lower", "upper", "spherical", "orthogonal", "qmc"}
        "auto": orthonormal blocks, regression on functions of the moments of the clouds. "none": plain mean over independent
        directions. "lower", "upper": the control variates of [1]_ as published. "spherical": all even spherical harmonics
        that n_projections / 2 allows [2]_. "orthogonal": orthonormal blocks alone. "qmc": 8 random turns of a
        low-discrepancy set: equal angles (d = 2), a spiral (d = 3), a Sobol' sequence.
    tol : float, 0 < tol < 1
        Add directions until the bound of the certificate is at most tol * value.
    max_projections : int
        Give up there.
    confidence : float, 0 < confidence < 1
        Of the interval.
    rng : None, int or numpy.random.Generator
        An int gives the same directions on every backend and for any number of threads.

    Returns
    -------
    SlicedResult
        value, value_p, standard_error, interval, bracket, n_projections, gain, converged and certificate.

    Raises
    ------
    ValueError
        X or Y is no matrix, is empty or not finite, their dimensions or masses differ, weights do not fit or are
        negative, or an argument is out of range.
    TypeError
        An argument is complex or no array of numbers.

    Warns
    -----
    ConvergenceWarning
        `max_projections` directions do not reach the tolerance.
    UserWarning
        Weights do not sum to 1.

    Notes
    -----
    Cost: for each direction 2 (n + m) d flops and two sorts. Memory: a centred and a packed copy of the clouds, the directions and, for
    each thread, 8 projections of each cloud and three sorted rows. Nothing of size n_projections x n is stored, except for
    gradients: 64 MiB.

    In orthonormal blocks every quadratic form of theta has an exact mean. For p = 2 the part of W_2^2 that stems from the
    means of the clouds, (theta . mu)^2, is known and only the rest is estimated. "auto" regresses on the projected
    variances q1 and q2, their products, and the cost sqrt(q1 q2) of Gaussians with these variances, whose mean is
    averaged over thousands of directions without sorting; its error is in the interval. With fewer than 30 directions only
    quadratic forms serve, with fewer than 12 none.

    Certificate: Student's interval with the jackknife error of the regression (HC3; blocks are left out if there are
    many, else directions, times the largest factor by which orthogonality can hurt), intersected with `bracket`,
    plus rounding errors. Its confidence is over the draws of directions; rounds for `tol` share it, the j-th gets 2^-j. In one dimension
    there is one direction and the bound is that of rounding errors. `bracket` follows from moments and the coupling of x_i
    with y_i.

    Gradients treat the coefficients of the regression as constants. Where projections tie, the order of the sort decides which
    subgradient is taken.

    References
    ----------
    .. [1] Nguyen and Ho, Sliced Wasserstein estimation with control variates, ICLR 2024.
    .. [2] Leluc, Dieuleveut, Portier, Segers and Zhuman, Sliced-Wasserstein estimation with spherical harmonics as control
       variates, ICML 2024.
    .. [3] Nguyen, Bariletto and Ho, Quasi-Monte Carlo for 3D sliced Wasserstein, ICLR 2024. The spiral.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sliced import sliced_wasserstein
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((1000, 3)), 2 * rng.standard_normal((800, 3)) + 1
    >>> result = sliced_wasserstein(X, Y, rng=0)
    >>> bool(abs(result.value - np.sqrt(2)) < 0.1), bool(result.certificate.bound < 0.01)
    (True, True)
    >>> result.interval[0] <= result.value <= result.interval[1]
    True
    """
    mode = _checks.choice(NAME, "variance_reduction", variance_reduction, _modes.MODES)
    L = _checks.integer(NAME, "n_projections", n_projections, 1)
    most = _checks.integer(NAME, "max_projections", max_projections, 1)
    tol = None if tol is None else _checks.real(NAME, "tol", tol, 0, 1, open=True)
    confidence = _checks.real(NAME, "confidence", confidence, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    problem = enter(NAME, X, Y, a, b, p)
    _enough(problem, mode, L)
    with problem.threads(L):
        answer, sample, estimate = _rounds(problem, mode, L, most, tol, confidence, seed)
    if not answer.converged:
        words = f"{NAME}: {answer.n_projections} directions leave a bound of {answer.certificate.bound:.2g}, more than tol * value"
        warnings.warn(words, ConvergenceWarning, stacklevel=2)
    return with_gradients(X, Y, p, answer, lambda: gradient(problem, sample, estimate))


def _enough(problem: Problem, mode: str, L: int) -> None:
    """Require as many directions as spherical harmonics need.

    Raises
    ------
    ValueError
        There are fewer.
    """
    if mode == "spherical" and problem.d > 1 and _harmonics.degree_for(L // 2, problem.d) == 0:
        least = 2 * _harmonics.count(problem.d, 2)
        raise ValueError(f"{NAME}: n_projections must be at least {least} for 'spherical' in dimension {problem.d}; got {L}")


def _rounds(
    problem: Problem, mode: str, L: int, most: int, tol: float | None, confidence: float, seed: int
) -> tuple[SlicedResult, Sample, Estimate]:
    """Double the number of directions until the tolerance is reached."""
    block = _modes.block_of(mode, L, problem.d)
    sample, turn = _modes.draw(problem, mode, L, block, seed), 1
    while True:
        estimate = _modes.estimate(problem, mode, sample, seed)
        level = confidence if tol is None else 1 - (1 - confidence) / 2**turn
        answer = _answer(problem, sample, estimate, level, confidence)
        size = len(sample.costs)
        reached = tol is None or answer.certificate.bound <= tol * answer.value
        if reached or problem.d == 1 or 2 * size > most:
            return replace(answer, converged=reached), sample, estimate
        sample = _modes.joined(sample, _modes.draw(problem, mode, size, block, seed, size))
        turn += 1


def _answer(problem: Problem, sample: Sample, estimate: Estimate, level: float, confidence: float) -> SlicedResult:
    """Intersect the interval with the bracket, and take roots."""
    p, slack = problem.p, problem.rounding
    low, high = bracket(problem)
    mean = 0.0 if problem.same else min(max(estimate.mean, low), high)
    value = mean ** (1 / p)
    if problem.same:
        width = slack = 0.0
    else:
        width = half_width(estimate.error, estimate.freedom, estimate.skewness, level)
    ends = max(low, mean - width), min(high, mean + width)
    interval = max(0.0, ends[0] ** (1 / p) - slack), ends[1] ** (1 / p) + slack
    bound = max(value - interval[0], interval[1] - value)
    error = estimate.error / (p * value ** (p - 1)) if value > 0 else (0.0 if estimate.error == 0 else math.inf)
    sure = width == 0 or not math.isfinite(width)
    method = "rounding" if width == 0 else "bracket" if sure else "jackknife over directions"
    certificate = Certificate(CLAIM, bound, 1.0 if sure else confidence, method)
    outer = interval if sure else (max(0.0, low ** (1 / p) - slack), high ** (1 / p) + slack)
    return SlicedResult(value, mean, error, interval, outer, len(sample.costs), estimate.gain, True, certificate)
