"""Gains from the whitened matrix: its smallest eigenvector, or a linear least-squares problem."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._threads import serial_blas
from lowrank_la.calibration._models import Elimination
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, host

SPREAD = 1e-6  # smallest trial size of a gain, over the largest
NOISY = 3.0  # energy of a channel per degree of freedom, over the variance of the noise, below which its weight falls
SERIAL = 600  # channels below which threads of SciPy's BLAS, next to those of NumPy's that still spin, make everything slower
Eliminate = Callable[[np.ndarray], Elimination]


@dataclass(frozen=True)
class Options:
    """How gains are found.

    Attributes
    ----------
    method : str
        "polished", "spectral" or "lstsq".
    reweight : int
        Passes with new trial sizes after the first.
    smooth : float
        Weight of the differences of neighbouring gains.
    unit_modulus : bool
        Gains have modulus one.
    places, values : arrays or None
        Known gains, among live channels.
    """

    method: str
    reweight: int
    smooth: float = 0.0
    unit_modulus: bool = False
    places: np.ndarray | None = None
    values: Array | None = None


def first_sizes(q: np.ndarray) -> np.ndarray:
    """Take the energies of the channels for the sizes of their gains."""
    return sizes(np.sqrt(q))


def sizes(v: np.ndarray) -> np.ndarray:
    """Scale trial sizes to a mean of one; none is far below the largest."""
    v = np.maximum(v, SPREAD * np.max(v))
    return v / np.mean(v)


def gains(form: Eliminate, v: np.ndarray, options: Options) -> tuple[Array, Elimination]:
    """Alternate between an eigenvector and new trial sizes; return gains and the last matrix.

    Weights that are too small for the noise of faint channels bias their gains; so once the noise is known, only channels that drown in
    it are left with such weights.
    """
    if options.smooth or options.unit_modulus:
        v = np.ones_like(v)
    made = form(v)
    u = _vector(made, options, last=options.unit_modulus or not options.reweight)
    if options.unit_modulus:
        d = _scaled(made, u)
        return d / _arrays.namespace(d).abs(d), made
    d, variance = _scaled(made, u), quotient(made, u)
    for left in reversed(range(options.reweight)):
        made = form(sizes(host(_arrays.namespace(d).abs(d))))
        sharp = made.damped(NOISY * max(variance, made.slack))
        u = _vector(sharp, options, last=sharp is made and not left)
        d, variance = _scaled(sharp, u), quotient(sharp, u)
    return d, made


def quotient(made: Elimination, u: Array) -> float:
    """Return the Rayleigh quotient of u, which is the variance of the noise for the true gains."""
    xp = _arrays.namespace(u)
    return max(float(xp.real(xp.vecdot(u, made.T @ u))), 0.0) / float(xp.linalg.vector_norm(u)) ** 2


def _scaled(made: Elimination, u: Array) -> Array:
    """Return the gains d = v / t that belong to u = diag(root) t; none is beyond all bounds."""
    xp = _arrays.namespace(u)
    size = xp.abs(u)
    floor = 1e-12 * xp.max(size)
    u = xp.where(size > floor, u, xp.astype(floor, u.dtype))
    return _arrays.from_numpy(made.v * made.root, u) / u


def _vector(made: Elimination, options: Options, last: bool = False) -> Array:
    """Return u for the gains; the certificate and the polish want the whole spectrum of the last matrix."""
    T, xp = made.T, _arrays.namespace(made.T)
    if options.smooth:
        T = T + _roughness(made, options.smooth)
    if options.places is not None and options.values is not None:
        return _completed(made, T, options.places, options.values)
    if options.method == "lstsq":
        return _lstsq(made, T)
    if last and not options.smooth:
        return made.spectrum[1][:, 0]
    return smallest(xp, T)


def smallest(xp: _arrays.Namespace, T: Array) -> Array:
    """Return the eigenvector of the smallest eigenvalue."""
    if isinstance(T, np.ndarray):
        import scipy.linalg

        with serial_blas() if T.shape[0] < SERIAL else nullcontext():
            return scipy.linalg.eigh(T, subset_by_index=[0, 0], check_finite=False)[1][:, 0]
    return xp.linalg.eigh(T)[1][:, 0]


def _lstsq(made: Elimination, T: Array) -> Array:
    """Minimise u^H T u + |c^H u - 1|^2 for the constant vector c of t: a multiple of T^-1 c, whatever the weight of the second term."""
    xp = _arrays.namespace(T)
    c = xp.astype(_arrays.from_numpy(made.root / np.linalg.norm(made.root), T), T.dtype)
    eye = _dense.eye(xp, T.shape[0], T)
    return xp.linalg.solve(T + 2 * made.slack * eye, c[:, None])[:, 0]


def _roughness(made: Elimination, smooth: float) -> Array:
    """Return the penalty of differences of neighbours in t, in the units of the mean diagonal of T."""
    m = made.w.size
    D = np.diff(np.eye(m), axis=0) / made.root
    L = _arrays.from_numpy(D.T @ D, made.T)
    xp = _arrays.namespace(made.T)
    unit = float(xp.real(xp.linalg.trace(made.T))) / m * float(np.mean(made.w))
    return xp.astype(smooth * unit * L, made.T.dtype)


def _completed(made: Elimination, T: Array, places: np.ndarray, values: Array) -> Array:
    """Solve for the rest of u, given the entries of known gains."""
    xp = _arrays.namespace(T)
    unknown = np.setdiff1d(np.arange(made.w.size), places)
    K, U = _arrays.from_numpy(places, T), _arrays.from_numpy(unknown, T)
    fixed = _arrays.from_numpy(made.v[places] * made.root[places], T) / xp.astype(values, T.dtype)
    if unknown.size == 0:
        return xp.take(fixed, _arrays.from_numpy(np.argsort(places), T))
    rows = xp.take(T, U, axis=0)
    free = -xp.linalg.solve(xp.take(rows, U, axis=1), (xp.take(rows, K, axis=1) @ fixed[:, None]))[:, 0]
    back = _arrays.from_numpy(np.argsort(np.concatenate([places, unknown])), T)
    return xp.take(xp.concat([fixed, free]), back)


def restricted(made: Elimination, places: np.ndarray) -> Array:
    """Return the block of T that belongs to unknown gains."""
    xp = _arrays.namespace(made.T)
    U = _arrays.from_numpy(np.setdiff1d(np.arange(made.w.size), places), made.T)
    return xp.take(xp.take(made.T, U, axis=0), U, axis=1)


def coordinates(made: Elimination, d: Array) -> Array:
    """Return u = diag(root) v / d as a unit vector."""
    xp = _arrays.namespace(d)
    u = _arrays.from_numpy(made.root * made.v, d) / d
    return u / xp.linalg.vector_norm(u)


def sine(u: Array, v: Array) -> float:
    """Return the sine of the angle between unit vectors."""
    xp = _arrays.namespace(u)
    inner = (adjoint(u[:, None]) @ v[:, None])[0, 0]
    return min(1.0, float(xp.linalg.vector_norm(v - inner * u)))
