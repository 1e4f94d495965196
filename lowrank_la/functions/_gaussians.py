"""Sums of Gaussians about many centres, and their Chebyshev-Tucker format in one pass over the centres."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.functions import _algebra, _chebyshev, _evaluate, _evidence, _focus, _parts, _sampler, _separated
from lowrank_la.functions._function import FunctionTucker, function_of
from lowrank_la.functions._parts import Parts
from lowrank_la.functions._separated import Terms

SAMPLES = 256  # points at which the answer is compared with the sum
SHARE = 0.25  # of the tolerance for the separation of the Gaussians; lower ranks and degrees have the rest
METHOD = "separation of the Gaussians, discarded coefficients and rounding"


@dataclass(frozen=True)
class GaussianSum:
    """The function sum_n charges[n] sum_k weights[k] exp(-rates[k]^2 |x - centres[n]|^2).

    `chebyshev_tucker` takes it, and turns it into a `FunctionTucker` without evaluating it on a grid.

    Parameters
    ----------
    centres : array (N, d)
        Places of the particles.
    charges : array (N,)
        Their charges, of any sign.
    rates : array (K,)
        Inverse widths, in units of inverse length; zero gives a constant.
    weights : array (K,)
        Of any sign.

    Raises
    ------
    ValueError
        Shapes do not fit, there is no particle or no Gaussian, a rate is negative, or a number is NaN or infinite.
    TypeError
        An argument is complex or no array of numbers, or they belong to different libraries.

    Notes
    -----
    The conversion costs about 2 N R (d m + R^(d-1)) + 2 d K R^(d+1) flops for K Gaussians whose functions of one variable span R
    dimensions with m coefficients, linear in N, and memory for some cores and a block of particles. R and m follow from
    the sharpest Gaussian, by a bound on errors of interpolation, whatever the centres; the ranks of the answer are those that they need.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import chebyshev_tucker
    >>> from lowrank_la.functions import GaussianSum
    >>> rng = np.random.default_rng(0)
    >>> cloud = GaussianSum(rng.random((500, 3)), rng.standard_normal(500), rates=[1.0, 4.0], weights=[1.0, 2.0])
    >>> f = chebyshev_tucker(cloud, [(0, 1)] * 3, tol=1e-8)
    >>> x = rng.random((10, 3))
    >>> bool(abs(f(x) - cloud(x)).max() < 1e-6)
    True
    """

    centres: Array
    charges: Array
    rates: Array
    weights: Array

    def __post_init__(self) -> None:
        self.entered("GaussianSum")
        for name in ("centres", "charges"):
            if not _arrays.is_array(getattr(self, name)):  # a list of numbers
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))

    @property
    def dim(self) -> int:
        """Number of variables."""
        return self.centres.shape[1]

    def __call__(self, points: Array) -> Array:
        """Evaluate at points (M, d), at a cost of M N K exponentials.

        Raises
        ------
        ValueError
            Points have another number of coordinates.
        """
        outside, [X] = _arrays.enter("GaussianSum", points=points)
        _checks.ndim("GaussianSum", "points", _checks.real_dtype("GaussianSum", "points", X), 2)
        if X.shape[1] != self.dim:
            raise ValueError(f"GaussianSum: points must have {self.dim} columns, as many as centres; got shape {tuple(X.shape)}")
        _, terms = self.entered("GaussianSum")
        return outside.leave(_separated.evaluated(terms, X))

    def entered(self, function: str) -> tuple[Door, Terms]:
        """Check all parts, and take them inside in float64.

        Raises
        ------
        ValueError
            A rate is negative.
        """
        door, [X, q] = _arrays.enter(function, centres=self.centres, charges=self.charges)
        check_particles(function, "centres", X, q)
        rates, weights = (_on_host(function, name, x) for name, x in (("rates", self.rates), ("weights", self.weights)))
        _checks.rows_like(function, "weights", weights, len(rates), "rates")
        if rates.min() < 0:
            raise ValueError(f"{function}: rates must not be negative; got {rates.min():g}")
        wide = door.xp.float64
        return door, Terms(door.xp.astype(X, wide, copy=False), door.xp.astype(q, wide, copy=False), rates, weights)


def check_particles(function: str, name: str, X: Array, q: Array) -> None:
    """Require at least one place (N, d), and a charge for each, all real and finite."""
    _checks.not_empty(function, name, _checks.ndim(function, name, X, 2))
    _checks.rows_like(function, "charges", _checks.ndim(function, "charges", q, 1), X.shape[0], name)
    for argument, x in ((name, X), ("charges", q)):
        _checks.finite(function, argument, _checks.real_dtype(function, argument, x))


def _on_host(function: str, name: str, x: Array) -> np.ndarray:
    _, [inside] = _arrays.enter(function, **{name: x})
    _checks.not_empty(function, name, _checks.ndim(function, name, inside, 1))
    _checks.finite(function, name, _checks.real_dtype(function, name, inside))
    return np.asarray(_arrays.to_numpy(inside), dtype=np.float64)


def gaussian_sum(
    function: GaussianSum,
    domain: Array | None = None,
    *,
    tol: float = 1e-7,
    degree: Sequence[int] | int | None = None,
    ranks: Sequence[int] | None = None,
    rng: _random.RNG = 0,
) -> FunctionTucker:
    """Convert a sum of Gaussians to Chebyshev-Tucker format, to `tol` times the Frobenius norm of its coefficients.

    The domain is the box of the centres by default. Given degrees and ranks are kept, and the certificate says what they cost.

    Raises
    ------
    ValueError
        The domain is empty, or of another dimension than the centres.

    Warns
    -----
    ConvergenceWarning
        Cancellation of charges, or given degrees or ranks, keep the answer from its tolerance.
    """
    name = "chebyshev_tucker"
    door, terms = function.entered(name)
    box = _box(name, terms, domain)
    tol = max(tol, _sampler.FLOOR[4 if door.dtype == door.xp.float32 else 8])
    points = _points(terms, box, _random.seed_of(name, rng))
    exact = _separated.evaluated(terms, points)
    size = float(door.xp.sqrt(door.xp.mean(exact**2)))
    parts, separation = _separated.separated(name, terms, box, SHARE * tol * size, _sizes(name, degree, len(box)))
    parts, dropped = _algebra.compressed(parts, (1 - SHARE) * tol * _parts.frobenius(parts.core), ranks)
    error = separation + dropped + _evidence.roundoff(parts)
    parts = Parts(_cast(door, parts.core), tuple(_cast(door, V) for V in parts.factors), box)
    off = _evaluate.at_points(name, parts, [points[:, k] for k in range(len(box))]) - exact
    norm = _parts.frobenius(parts.core)
    bound = error + norm * _arrays.unit_roundoff(door.xp, door.dtype) * (1 + sum(r**0.5 for r in parts.core.shape))
    resolved = error <= 2 * tol * norm
    if not resolved:
        words = f"{name}: the bound on the error is {error:.3g}, more than tol = {tol:g} times the norm {norm:.3g}"
        warnings.warn(words, ConvergenceWarning, stacklevel=3)
    return function_of(
        parts.core,
        parts.factors,
        box,
        door=door,
        certificate=Certificate(_evidence.CLAIM, bound, 1.0, METHOD),
        resolved=resolved,
        truncation=dropped,
        sample_max=float(door.xp.max(door.xp.abs(off))),
        sample_rms=float(door.xp.sqrt(door.xp.mean(off**2))),
        n_evaluations=SAMPLES,
    )


def _cast(door: Door, x: Array) -> Array:
    return door.xp.astype(x, door.dtype, copy=False)


def _box(name: str, terms: Terms, domain: Array | None) -> np.ndarray:
    if domain is None:
        domain = _separated.hull(terms.centres)
    _, box = _sampler.box(name, None, domain, terms.centres.shape[1])
    return np.asarray(_arrays.to_numpy(box), dtype=np.float64)


def _sizes(name: str, degree: Sequence[int] | int | None, d: int) -> list[int] | None:
    """Turn degrees, one for all variables or one for each, into numbers of nodes.

    Raises
    ------
    ValueError
        There are more or fewer of them, or one is negative.
    """
    if degree is None:
        return None
    degrees = degree if isinstance(degree, tuple | list | np.ndarray) else [degree] * d
    if len(degrees) != d:
        raise ValueError(f"{name}: degree must be an integer or {d} of them, one for each variable; got {len(degrees)}")
    return [_checks.integer(name, "degree", n) + 1 for n in degrees]


def _points(terms: Terms, box: np.ndarray, seed: int) -> Array:
    t = _focus.random_points(seed, "chebyshev_tucker Gaussians", SAMPLES, len(box))
    x = np.stack([_chebyshev.from_reference(column, interval) for column, interval in zip(t.T, box, strict=True)], axis=1)
    return _arrays.from_numpy(x, terms.centres)
