"""Range-separated electrostatics: the potential of a cloud of charges, its smooth part as a `FunctionTucker`, the rest by neighbours."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass, field

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor._intake import reading
from lowrank_la.functions import _evaluate, _gaussians, _sampler, _saved, _split
from lowrank_la.functions._function import FunctionTucker
from lowrank_la.functions._newton import newton_quadrature
from lowrank_la.functions._separated import Terms, hull

NAME = "ParticlePotential"
CLAIM = "|V(x) - sum_n q_n / r_n| <= bound * sum_n |q_n| / r_n in the domain; r_n = |x - x_n|, for a particle at x the diagonal"
METHOD = "quadrature, separation, discarded coefficients and rounding"
LEAST_TOL = 1e-12
MARGIN = 0.05  # around the particles, over their extent
QUADRATURE = 0.5  # share of the tolerance
ARRAYS = ("centres", "charges", "smooth")


@dataclass(frozen=True, repr=False)
class ParticlePotential(Result):
    """The potential V(x) = sum_n q_n / |x - x_n|, made by `particle_potential`.

    Attributes
    ----------
    long : FunctionTucker
        The smooth part sum_n q_n L(|x - x_n|), where L is a sum of Gaussians that is 1 / r but for a relative error beyond the cut-off.
        It can be differentiated, integrated and drawn.
    centres, charges : arrays (N, d) and (N,)
        The particles.
    cutoff : float
        Distance below which 1 / r - L(r) is added, exactly, particle by particle.
    smooth : numpy array (p,)
        L below the cut-off, as coefficients of a polynomial in 2 r^2 / cutoff^2 - 1.
    tol : float
        The tolerance asked for.
    converged : bool
        The certificate is within the tolerance.
    certificate : Certificate
        Bounds the error everywhere in the domain, relative to the potential that the charges would have if all were positive, which is
        what rounding errors are relative to, too. It holds always.

    Notes
    -----
    At a particle's place, its own potential is left out, as that of others at the same place is: `potential(centres)` are the potentials
    that the particles feel. Points outside the domain are an error.
    """

    long: FunctionTucker = field(repr=False)
    centres: Array
    charges: Array
    cutoff: float
    smooth: np.ndarray = field(repr=False)
    tol: float
    converged: bool
    certificate: Certificate

    @property
    def domain(self) -> np.ndarray:
        """The box in which the potential is known, (d, 2)."""
        return self.long.domain

    def __call__(self, points: Array) -> Array:
        """Evaluate the potential at points (..., d), in their library and precision.

        Raises
        ------
        ValueError
            A point is outside the domain, or has another number of coordinates.
        TypeError
            Points are complex or no array of numbers.
        """
        door, X, shape = self._points(points)
        return door.leave(door.xp.reshape(self._long(X) + self._short(X), shape))

    def short(self, points: Array) -> Array:
        """Evaluate the part that `long` does not contain, which is zero unless a particle is within the cut-off.

        Raises
        ------
        ValueError
            Points have another number of coordinates, or a coordinate is not finite.
        TypeError
            Points are complex or no array of numbers.
        """
        door, X, shape = self._points(points)
        return door.leave(door.xp.reshape(self._short(X), shape))

    def energy(self) -> float:
        """Return the energy of the system, the sum of q_m q_n / |x_m - x_n| over all pairs.

        The error is at most the bound of the certificate times the energy that the charges would have if all were positive, a particle
        and itself included as a pair at the distance of the diagonal.

        Raises
        ------
        ValueError
            Two charged particles are at the same place, so that the energy is infinite.
        """
        X, q = (np.asarray(_arrays.to_numpy(x), dtype=np.float64) for x in (self.centres, self.charges))
        charged = X[q != 0]
        shared = len(charged) - len(np.unique(charged, axis=0))
        if shared:
            raise ValueError(f"{NAME}.energy: charged particles must be at different places; got {shared} at the place of another")
        _, Y, _ = self._points(self.centres)
        values = np.asarray(_arrays.to_numpy(self._long(Y) + self._short(Y)))
        return 0.5 * math.fsum(q * values)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to an npz file."""
        known = self.certificate
        arrays = {name: _arrays.to_numpy(getattr(self, name)) for name in ARRAYS}
        numbers = np.array([self.cutoff, self.tol, self.converged, known.bound])
        with open(path, "wb") as file:
            np.savez(file, numbers=numbers, **arrays, **{f"long_{name}": x for name, x in _saved.arrays_of(self.long).items()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ParticlePotential:
        """Read what `save` wrote, as NumPy arrays; values still follow the points.

        Raises
        ------
        ValueError
            It is not such a file.
        """
        with reading(NAME, path) as file:
            long = FunctionTucker(**_saved.fields_of({name[5:]: file[name] for name in file.files if name.startswith("long_")}))
            centres, charges, smooth = (file[name] for name in ARRAYS)
            cutoff, tol, converged, bound = map(float, file["numbers"])
            if centres.shape != (len(charges), long.dim):
                raise ValueError("its arrays do not fit together")
        return cls(long, centres, charges, cutoff, smooth, tol, bool(converged), Certificate(CLAIM, bound, 1.0, METHOD))

    def _points(self, points: Array) -> tuple[Door, Array, tuple[int, ...]]:
        """Take points inside, as rows.

        Raises
        ------
        ValueError
            They have another number of coordinates.
        """
        door, [X] = _arrays.enter(NAME, points=points)
        _checks.finite(NAME, "points", _checks.real_dtype(NAME, "points", X))
        d = self.long.dim
        if X.ndim == 0 or X.shape[-1] != d:
            raise ValueError(f"{NAME}: points must have a last axis of length {d}, the coordinates; got shape {tuple(X.shape)}")
        return door, door.xp.reshape(X, (-1, d)), tuple(X.shape[:-1])

    def _long(self, X: Array) -> Array:
        """Evaluate the smooth part in float64; points may miss the domain by rounding errors of their own precision."""
        xp, columns = _arrays.namespace(X), []
        for axis, interval in enumerate(self.domain):
            _evaluate.check_inside(NAME, X[:, axis], interval, axis)
            columns.append(xp.clip(xp.astype(X[:, axis], xp.float64, copy=False), *map(float, interval)))
        return _evaluate.at_points(NAME, self.long._beside(X), columns)

    def _short(self, X: Array) -> Array:
        X, Y, q = (_wide_beside(x, X) for x in (X, self.centres, self.charges))
        return kernels.near_field.potential(X, Y, q, self.cutoff, _arrays.from_numpy(self.smooth, X))


def particle_potential(
    X: Array, charges: Array, *, tol: float = 1e-7, domain: Array | None = None, cutoff: float | None = None
) -> ParticlePotential:
    """Prepare the electrostatic potential of point charges, sum_n q_n / |x - x_n|, for evaluation anywhere in a box.

    The kernel 1 / r is split at a cut-off: a sum of Gaussians L(r) is added up over all particles into one `FunctionTucker`, and
    1 / r - L(r), which is negligible beyond the cut-off, is added for near particles when the potential is evaluated.

    Parameters
    ----------
    X : array (N, d), d = 1, 2 or 3
        Places of the particles.
    charges : array (N,)
        Of any sign. The answer is in units of charge over length: multiply by your constant.
    tol : float, 1e-12 <= tol <= 0.1
        Largest error relative to sum_n |q_n| / |x - x_n|. For float32 it is at least 1e-6.
    domain : array (d, 2), optional
        Box that holds all particles and all points to come. Default: the box of the particles, wider by a twentieth of its longest side at
        each end.
    cutoff : float, optional
        Distance that separates short from long range, from the diagonal of the domain down to 1/50 of it in space, 1/250 in
        the plane and 1/10000 on a line. A short one makes evaluation of the neighbours cheap and the smooth part sharp, with ranks in
        proportion to the ratio of domain and cut-off. Default: what costs least for building and a few evaluations at all particles, judged
        by their distances.

    Returns
    -------
    ParticlePotential
        Call it at points; `energy()` is that of the system, `long` the smooth part. `certificate` bounds the error everywhere.

    Raises
    ------
    ValueError
        There is no particle, a number is NaN or infinite, shapes do not fit, d is above 3, a particle is outside the domain, or an
        option is out of range.
    TypeError
        X or charges are complex or no arrays of numbers, or belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        Rounding errors keep the bound above the tolerance; `converged` says so.

    Notes
    -----
    Cost: with ranks R of the smooth part, some 4 N R^3 flops to build, linear in N for one domain and cut-off, then 2 R^3 flops
    and a look at the neighbours for each point. R is about 10 times the ratio of a side of the domain and the cut-off for tol = 1e-7. With
    the default cut-off both parts grow in balance, and building and evaluating at all particles costs about N^1.5. Memory: the core,
    some R^3 numbers, and blocks of particles.

    Unlike [1]_, which drops the short range of a given number of terms and samples on a grid, the short range here is the exact
    kernel less the smooth one, so that the quadrature needs to be accurate beyond the cut-off only, and Gaussians are separated
    analytically. The certificate adds up the relative error of the quadrature, a bound on the separated Gaussians in absolute value,
    the discarded coefficients times the largest value of the functions they belong to, and rounding errors.

    References
    ----------
    .. [1] Benner, Khoromskij, Khoromskaia and Sun, A mesh-free hybrid Chebyshev-Tucker tensor format with applications to
       multi-particle modelling, arXiv:2503.01696. The long range of many particles in Chebyshev-Tucker format.
    .. [2] Benner, Khoromskaia and Khoromskij, Range-separated tensor format for many-particle modeling, SIAM J. Sci. Comput. 40(2), 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.functions import particle_potential
    >>> rng = np.random.default_rng(0)
    >>> X, q = rng.random((300, 3)), rng.choice([-1.0, 1.0], 300)
    >>> potential = particle_potential(X, q, tol=1e-8)
    >>> x = rng.random((5, 3))
    >>> r = np.linalg.norm(x[:, None] - X, axis=2)
    >>> bool(np.all(abs(potential(x) - (q / r).sum(1)) <= potential.certificate.bound * (abs(q) / r).sum(1)))
    True
    >>> bool(potential.certificate.bound <= 1e-8)
    True
    """
    name = "particle_potential"
    door, terms, box, tol = _entered(name, X, charges, tol, domain)
    host, diagonal = _arrays.to_numpy(terms.centres), float(np.linalg.norm(box[:, 1] - box[:, 0]))
    accuracy = QUADRATURE * tol
    if cutoff is None:
        cutoff = _split.cutoff_of(host, box, accuracy)
    else:
        cutoff = _checks.real(name, "cutoff", cutoff, diagonal / _split.MOST_RATIO[len(box)], diagonal)
    rates, weights = (x / diagonal for x in newton_quadrature(diagonal / cutoff, accuracy))
    smooth, slip = _split.smooth_part(rates, weights, cutoff, 1e-3 * tol / diagonal)
    least = _split.least_potential(host, _arrays.to_numpy(terms.charges), box)
    long, error = _split.long_range(name, door, Terms(terms.centres, terms.charges, rates, weights), box, tol * least)
    relative = accuracy + diagonal * slip + (error / least if least else 0.0) + _rounding(door, len(host))
    if relative > tol:
        words = f"{name}: the relative error is bounded by {relative:.3g}, more than tol = {tol:g}, because of rounding errors"
        warnings.warn(words, ConvergenceWarning, stacklevel=2)
    centres, charges = (door.leave(x) for x in (terms.centres, terms.charges))
    return ParticlePotential(long, centres, charges, cutoff, smooth, tol, relative <= tol, Certificate(CLAIM, relative, 1.0, METHOD))


def _entered(name: str, X: Array, charges: Array, tol: float, domain: Array | None) -> tuple[Door, Terms, np.ndarray, float]:
    """Check the arguments of `particle_potential`, and take particles inside in float64 and the domain to the host.

    Raises
    ------
    ValueError
        X has more than three columns or none, or the domain is too large.
    """
    tol = _checks.real(name, "tol", tol, LEAST_TOL, 0.1)
    door, [X, q] = _arrays.enter(name, X=X, charges=charges)
    _gaussians.check_particles(name, "X", X, q)
    if not 1 <= X.shape[1] <= 3:
        raise ValueError(f"{name}: X must have 1 to 3 columns, the coordinates; got shape {tuple(X.shape)}")
    wide = door.xp.float64
    terms = Terms(door.xp.astype(X, wide, copy=False), door.xp.astype(q, wide, copy=False), np.zeros(0), np.zeros(0))
    box = hull(terms.centres)
    if domain is None:
        margin = MARGIN * float(np.max(box[:, 1] - box[:, 0])) or max(1.0, float(np.max(np.abs(box))))
        box = box + np.array([-margin, margin])
    else:
        box = _holding(name, X, box, domain)
    if not np.isfinite(np.sum((box[:, 1] - box[:, 0]) ** 2)):
        raise ValueError(f"{name}: X must lie in a domain with sides whose squares do not overflow; scale it down")
    return door, terms, box, max(tol, _sampler.FLOOR[4]) if door.dtype == door.xp.float32 else tol


def _holding(name: str, X: Array, around: np.ndarray, domain: Array) -> np.ndarray:
    """Take a domain to the host, which must hold all particles.

    Raises
    ------
    ValueError
        It does not.
    """
    _, given = _sampler.box(name, None, domain, X.shape[1])
    box = np.asarray(_arrays.to_numpy(given), dtype=np.float64)
    if np.any(around[:, 0] < box[:, 0]) or np.any(around[:, 1] > box[:, 1]):
        host = _arrays.to_numpy(X)
        first = int(np.argmax(np.any((host < box[:, 0]) | (host > box[:, 1]), axis=1)))
        place = ", ".join(f"{x:g}" for x in host[first])
        raise ValueError(f"{name}: domain must hold all particles; got particle {first} at ({place}) outside")
    return box


def _rounding(door: Door, count: int) -> float:
    """Bound the rounding errors of sums over near particles and of the answer's precision, relative to the sum of absolute values."""
    return (count + 16) * 2.0**-53 + _arrays.unit_roundoff(door.xp, door.dtype)


def _wide_beside(x: Array, like: Array) -> Array:
    """Bring an array, in float64, to the library and device of one inside."""
    _, [x] = _arrays.enter(NAME, x=x)
    if _arrays.namespace(x) is not _arrays.namespace(like) or x.device != like.device:
        x = _arrays.from_numpy(_arrays.to_numpy(x), like)
    return _arrays.namespace(x).astype(x, _arrays.namespace(x).float64, copy=False)
