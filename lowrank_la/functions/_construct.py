"""`chebyshev_tucker`: the one door for functions, samples, canonical and Tucker tensors, and sums of Gaussians."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lowrank_la import _checks, _random
from lowrank_la._arrays import Door
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.functions import _evidence, _given
from lowrank_la.functions._focus import sample
from lowrank_la.functions._function import FunctionTucker, function_of
from lowrank_la.functions._gaussians import GaussianSum, gaussian_sum
from lowrank_la.functions._goal import Built, Goal, errors, finish
from lowrank_la.functions._method import build
from lowrank_la.functions._sampler import FLOOR, Sampler, sampler_of

NAME = "chebyshev_tucker"
SAMPLES = 200  # points of the certificate, from each of two laws
CONFIDENCE = 0.99
UNSEEN = 2.0  # times the largest error seen: the largest one at all, by assumption


def chebyshev_tucker(
    f: Any,
    domain: Any = None,
    *,
    tol: float = 1e-7,
    degree: int | Sequence[int] | None = None,
    ranks: int | Sequence[int] | None = None,
    method: str = "auto",
    max_degree: int = 4096,
    max_bytes: int = 1 << 28,
    vectorized: bool | None = None,
    rng: _random.RNG = None,
) -> FunctionTucker:
    """Approximate a function of d variables on a box by a small core and polynomials of one variable each.

    The degrees follow the function: lines through the box are sampled on nested grids until their Chebyshev coefficients decay. A full
    grid of those degrees is filled if it is small, else bases and core come from a few more lines and r^d points. The
    answer is compared with the function at random points, and refined while they disagree.

    Parameters
    ----------
    f : callable, array, pair, TuckerResult or GaussianSum
        A function of d coordinates, real or complex: it is called with d arrays that broadcast against each other, like those of
        `numpy.ix_`, or with d arrays of one shape if it wants these, and returns one value for each point, or p of them
        along a leading axis. A function that only takes numbers is called point by point, with a warning.
        Or samples at the nodes x_i = cos(pi i / (m_k - 1)), mapped to the box: an array (m_1, ..., m_d) or
        (p, m_1, ..., m_d), or a TuckerResult of such an array. Or a canonical tensor, a pair of weights (R,) and a list
        of d matrices (n_k, R), of values at the centres of n_k equal cells: its columns become cubic splines. Or particles, as a
        `GaussianSum`.
    domain : array (d, 2), d from 1 to 8
        Lower and upper ends. Its library, device and precision are those of the coordinates that f gets. The
        default is [-1, 1] for each argument of f or axis of the samples.
    tol : float, 0 < tol < 1
        Relative error of the coefficients in the Frobenius norm, from 1e-14 on, or 1e-6 in single precision.
    degree : int or d of them
        Fixes the degrees.
    ranks : int or d of them
        Most ranks; what they leave out is in `truncation`.
    method : {"auto", "grid", "cross"}
        "grid" fills a grid; "cross" samples lines; "auto" fills grids of up to 4 million values, a quarter of a million for more than
        3 variables, 16 thousand for a function that is called point by point.
    max_degree : int
        Degree at which a function counts as unresolved.
    max_bytes : int
        Most memory for samples, or for a core.
    vectorized : bool
        Whether f takes arrays; the default finds out.
    rng : None, int or numpy.random.Generator
        An int gives the same points on every backend.

    Returns
    -------
    FunctionTucker
        The function, with certificate, tail, truncation, sample_max, sample_rms, stability and n_evaluations as evidence.

    Raises
    ------
    ValueError
        f returns a value that is NaN or infinite, at a point that is named, or values of a shape that does not fit; an interval of
        the domain is empty, a point or infinite; an argument is out of range.
    TypeError
        An argument is no number, or f returns none.

    Warns
    -----
    ConvergenceWarning
        The tolerance was not reached: coefficients have not decayed at the largest degree or memory, random points are off,
        or the values are noisy. `resolved` is False.
    UserWarning
        f does not take arrays.

    Notes
    -----
    Cost, for degrees m and ranks r: the grid takes m^d evaluations, in slabs, and some 6 m^d r flops; memory the grid and no copy of
    it, since transforms act on bases. Lines take 2 d m r + r^d evaluations and d m r^2 flops; memory r^d numbers. Both are times
    p outputs. Degrees grow from m to 2 m - 1, with all samples used again. A canonical tensor takes d n R operations
    for splines and the reduced higher-order SVD of [3]_, its thresholds relative to the norm of the sum.

    Certificate: the error at 400 random points that had no part in the construction, half of them from the Chebyshev
    measure and half from a law that follows the peaks of the function, with weights of at most 2. The bound of
    Maurer and Pontil [4]_ on the mean of bounded numbers makes it one on the root mean square, with
    probability 0.99, if the error nowhere exceeds twice what the points have seen, over the root of their density; without any condition,
    errors above `sample_max` have a Chebyshev measure of at most 2.3 percent, with the same probability. Given samples are their own
    truth: there the bound is the norm of the coefficients that were discarded. `stability` multiplies the norms of the projections
    that interpolate at chosen nodes.

    Where this differs from [1]_: degrees adapt, ranks come from errors relative to the function and not from absolute ones, and bases are
    found on samples before any transform. Where it differs from [2]_: lines go through single points, not through a grid of pivots,
    which saves a factor r^(d - 2).

    References
    ----------
    .. [1] Benner, Khoromskij, Khoromskaia and Sun, A mesh-free hybrid Chebyshev-Tucker tensor format with applications to
       multi-particle modelling, arXiv:2503.01696. The format, and canonical input.
    .. [2] Dolgov, Kressner and Stroessner, Functional Tucker approximation using Chebyshev interpolation,
       SIAM J. Sci. Comput. 43(3), 2021. Lines, and a core that interpolates at chosen nodes.
    .. [3] Khoromskij and Khoromskaia, Multigrid accelerated tensor approximation of function related multidimensional
       arrays, SIAM J. Sci. Comput. 31(4), 2009.
    .. [4] Maurer and Pontil, Empirical Bernstein bounds and sample variance penalization, COLT 2009.
    .. [5] Aurentz and Trefethen, Chopping a Chebyshev series, ACM Trans. Math. Softw. 43(4), 2017. The rule for plateaus.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import chebyshev_tucker
    >>> def f(x, y, z):
    ...     return 1 / np.sqrt((x - 2) ** 2 + y**2 + z**2)
    >>> g = chebyshev_tucker(f, tol=1e-9, rng=0)
    >>> g.resolved, max(g.ranks) < 12
    (True, True)
    >>> bool(abs(g(0.2, 0.3, -0.7) - f(0.2, 0.3, -0.7)) < 1e-8)
    True
    >>> corner = [(0, 1)] * 6
    >>> h = chebyshev_tucker(lambda *x: np.exp(-sum(x)), corner, rng=0)
    >>> h.ranks, h.n_evaluations < 20_000
    ((1, 1, 1, 1, 1, 1), True)
    >>> bool(abs(h.integral() - (1 - np.exp(-1)) ** 6) < 1e-6)
    True
    """
    seed = _random.seed_of(NAME, rng)
    _checks.choice(NAME, "method", method, ("auto", "grid", "cross"))
    tol = _checks.real(NAME, "tol", tol, 0, 1, open=True)
    most = _checks.integer(NAME, "max_degree", max_degree, 1) + 1
    goal = Goal(tol, None, None, most, _checks.integer(NAME, "max_bytes", max_bytes, 1), seed)
    if isinstance(f, GaussianSum):
        most_ranks = None if ranks is None else _per_variable("ranks", ranks, f.centres.shape[1], 1)
        return gaussian_sum(f, domain, tol=tol, degree=degree, ranks=most_ranks, rng=seed)
    if isinstance(f, FunctionTucker) and domain is None:
        domain = f.domain
    if callable(f):
        return _of_function(f, domain, goal, degree, ranks, method, vectorized)
    return _of_numbers(f, domain, goal, degree, ranks)


def _of_function(
    f: Callable[..., Any], domain: Any, goal: Goal, degree: Any, ranks: Any, method: str, vectorized: bool | None
) -> FunctionTucker:
    sampler = sampler_of(NAME, f, domain, vectorized)
    goal = _fitted(goal, sampler.door, sampler.dim, degree, ranks)
    built, noise = build(sampler, goal, method)
    built = replace(built, passed=built.passed and not noise)
    answer = _answer(sampler.door, built, _sampled(sampler, built, goal), scalar=sampler.outputs is None)
    _warn(answer, built, goal, noise)
    return answer


def _fitted(goal: Goal, door: Door, dim: int, degree: Any, ranks: Any) -> Goal:
    """Complete a goal by what depends on the number of variables and the precision."""
    degrees = None if degree is None else _per_variable("degree", degree, dim, 0)
    size = 4 if door.real_dtype == door.xp.float32 else 8
    return replace(
        goal,
        tol=max(goal.tol, FLOOR[size]),
        sizes=None if degrees is None else tuple(n + 1 for n in degrees),
        ranks=None if ranks is None else _per_variable("ranks", ranks, dim, 1),
    )


def _per_variable(name: str, value: Any, dim: int, low: int) -> tuple[int, ...]:
    """Take one integer for all variables, or one for each.

    Raises
    ------
    ValueError
        There are more or fewer of them, or one is too small.
    """
    if not isinstance(value, tuple | list | np.ndarray):
        return (_checks.integer(NAME, name, value, low),) * dim
    if len(value) != dim:
        raise ValueError(f"{NAME}: {name} must be an integer or {dim} of them, one for each variable; got {len(value)}")
    return tuple(_checks.integer(NAME, f"{name}[{k}]", n, low) for k, n in enumerate(value))


def _of_numbers(f: Any, domain: Any, goal: Goal, degree: Any, ranks: Any) -> FunctionTucker:
    """Build from samples, a Tucker tensor of samples, or a canonical tensor.

    Raises
    ------
    ValueError
        Samples come with a degree.
    """
    if isinstance(f, tuple) and len(f) == 2:
        tensor = _given.splines(*f, domain)
        sampler = tensor.sampler
        goal = _fitted(goal, sampler.door, sampler.dim, degree, ranks)
        built = _given.from_splines(tensor, goal)
        answer = _answer(sampler.door, built, _sampled(sampler, built, goal), scalar=True)
    else:
        if degree is not None:
            raise ValueError(f"{NAME}: degree must not be given with samples, whose number tells it; got {degree}")
        door, scalar, parts, lost = _given.samples(f, domain, goal)
        goal = _fitted(goal, door, parts.dim, None, ranks)
        built = finish(parts, lost, goal)
        answer = _answer(door, built, _against_samples(built), scalar=scalar)
    _warn(answer, built, goal, 0.0)
    return answer


def _sampled(sampler: Sampler, built: Built, goal: Goal) -> dict[str, Any]:
    """Compare with the original function at points that had no part in the construction.

    The bound on the mean of the squares is that of Maurer and Pontil for numbers between 0 and 4 times the largest one seen.
    """
    drawn = sample(built.parts, goal.seed, "chebyshev_tucker certificate", SAMPLES)
    _, off = errors(sampler, built.parts, drawn.points)
    squares, q, log = drawn.weights * off**2, len(off), math.log(2 / (1 - CONFIDENCE))
    mean = np.mean(squares) + np.std(squares, ddof=1) * math.sqrt(2 * log / q) + 7 * UNSEEN**2 * np.max(squares) * log / (3 * (q - 1))
    bound = math.sqrt(float(mean)) + _evidence.roundoff(built.parts)
    return {
        "certificate": Certificate(_evidence.CLAIM + _evidence.MODERATE, bound, CONFIDENCE, f"{q} random points"),
        "sample_max": float(np.max(off[:SAMPLES])),
        "sample_rms": float(np.sqrt(np.mean(off[:SAMPLES] ** 2))),
        "n_evaluations": sampler.evaluations,
    }


def _against_samples(built: Built) -> dict[str, Any]:
    claim = _evidence.CLAIM + _evidence.OF_SAMPLES
    return {"certificate": Certificate(claim, built.truncation + _evidence.roundoff(built.parts), 1.0, "discarded coefficients")}


def _answer(door: Door, built: Built, evidence: dict[str, Any], *, scalar: bool) -> FunctionTucker:
    parts = built.parts
    return function_of(
        parts.core[0, ...] if scalar else parts.core,
        parts.factors,
        parts.domain,
        door=door,
        resolved=built.resolved,
        tail=built.tail,
        truncation=built.truncation,
        stability=built.stability,
        **evidence,
    )


def _warn(answer: FunctionTucker, built: Built, goal: Goal, noise: float) -> None:
    """Say what is missing where the tolerance has not been reached."""
    if built.short:
        axes = f"{'axis' if len(built.short) == 1 else 'axes'} {', '.join(map(str, built.short))}"
        worst = max(built.tail[k] for k in built.short)
        words = f"coefficients have not decayed to tol along {axes}: {worst:.2g} of the norm is in the last ones, at degrees"
        words = f"{words} {answer.degrees}"
    elif noise:
        words = f"the values of f have noise of about {noise:.2g} of their size, above tol"
    elif not built.passed:
        words = f"random points are off by {answer.sample_max:.2g}; more memory (max_bytes) may help, or a smaller box"
    else:
        return
    warnings.warn(f"{NAME}: {words}", ConvergenceWarning, stacklevel=4)
