"""H^-1 b in two or three passes over the gradients, the second of which finds the residual as well."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.curvature._small import NARROW, Small, finite, products, products_error, tiles
from lowrank_la.factor._dense import gamma, host, wide

CLAIM = "||H x - b||_2 <= bound ||b||_2, for every b"
ENOUGH = 2.0**-12


@dataclass(frozen=True, repr=False)
class MFACResult(Result):
    """Answer of `MFAC.solve` and `SlidingMFAC.solve`.

    Attributes
    ----------
    x : array (d,) or (d, k)
        H^-1 b.
    error_bound : float
        max ||x - H^-1 b||_2 / ||x||_2 over the right-hand sides b is at most this, always, rounding of x included.
    converged : bool
        `error_bound` is at most 2^-12: x has more than three correct digits.
    certificate : Certificate
        Bounds the relative residual, always. In float32 the rounding of x alone makes a
        residual of about 1e-7 ||H|| ||x||, which is large for a small `damp`; `error_bound`
        is then the better measure.
    """

    x: Array
    error_bound: float
    converged: bool
    certificate: Certificate


@dataclass(frozen=True)
class Answer:
    """x inside the door, and bounds for each right-hand side."""

    x: Array
    residual: np.ndarray
    error: np.ndarray
    size: np.ndarray


def solve(function: str, G: Array, small: Small, door: Door, b: Array) -> MFACResult:
    """Check b, solve, and hand out the answer with its bounds.

    Raises
    ------
    TypeError
        b is complex or no array of numbers of the library of G.
    ValueError
        b has a wrong shape, is not finite, or has an answer outside the range of the dtype.
    """
    b = check(function, _arrays.beside(function, "b", b, G), G.shape[1])
    B = b if b.ndim == 2 else b[:, None]
    norms = host(door.xp.linalg.vector_norm(wide(B), axis=0))
    answer = _solve(G, small, B, norms)
    if not np.all(np.isfinite(answer.size)):
        raise ValueError(f"{function}: b must have an answer within the range of {G.dtype}; scale b down or damp up")
    residual, error = _share(answer.residual, norms), _share(answer.error, answer.size)
    converged = error <= ENOUGH
    if not converged:
        text = f"{function}: damp = {small.damp:g} is too small beside the gradients; x has a relative error of up to {error:.2g}"
        warnings.warn(text, ConvergenceWarning, stacklevel=3)
    x = door.leave(answer.x if b.ndim == 2 else answer.x[:, 0])
    return MFACResult(x, error, converged, Certificate(CLAIM, residual, 1.0, "residual"))


def check(function: str, b: Array, d: int) -> Array:
    """Require right-hand sides (d,) or (d, k) with finite entries."""
    _checks.rows_like(function, "b", _checks.ndim(function, "b", b, (1, 2)), d, f"the {d} columns of the gradients")
    return finite(function, "b", _checks.not_empty(function, "b", b))


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """Return the largest share, of which 0 / 0 is none and anything undefined is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(part == 0, 0.0, part / whole)
    return float(np.max(np.where(np.isnan(share), math.inf, share)))


def _solve(G: Array, small: Small, B: Array, norms: np.ndarray) -> Answer:
    """Sweep once over G, and again where the rounding errors of G b and K are felt in x: H x - b tells t's error."""
    t = small.inverse(products(G, B))
    with np.errstate(over="ignore", invalid="ignore"):
        answer, s = _sweep(G, small, B, t, norms)
        felt = small.n * small.image(s, 0.0) > 4 * _arrays.unit_roundoff(_arrays.namespace(G), G.dtype) * answer.size
        if not np.any(felt):
            return answer
        again, _ = _sweep(G, small, B, t + small.shift * s, norms)
    return again if np.max(again.error) < np.max(answer.error) else answer


def _sweep(G: Array, small: Small, B: Array, t: np.ndarray, norms: np.ndarray) -> tuple[Answer, np.ndarray]:
    """Return x = (b - G^T t) / damp with its bounds, and K_lam^-1 w for the w of `_bounds`."""
    xp, k = _arrays.namespace(G), B.shape[1]
    inside = _arrays.from_numpy(t, G)
    x, v = xp.empty((G.shape[1], k), dtype=G.dtype, device=G.device), xp.zeros_like(inside)
    squares = xp.zeros(k, dtype=xp.float64, device=G.device)
    for columns in tiles(G, NARROW):
        tile = wide(G[:, columns])
        x[columns, :] = xp.astype((wide(B[columns, :]) - tile.T @ inside) / small.damp, G.dtype)
        rounded = wide(x[columns, :])
        v += tile @ rounded
        squares += xp.sum(rounded * rounded, axis=0)
    size, w = np.sqrt(host(squares)), host(v) / small.n - t
    s = small.inverse(w)
    return Answer(x, *_bounds(G, small, t, w, s, norms, size), size), s


def _lengths(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=0)


def _bounds(
    G: Array, small: Small, t: np.ndarray, w: np.ndarray, s: np.ndarray, norms: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bound ||H x - b|| and ||x - H^-1 b|| for x = (b - G^T t) / damp + e.

    H x - b = G^T w + damp e with w = G x / n - t: its norm needs K only. And H^-1 G^T w = n G^T s with K_lam s = w.
    """
    (m, d), n, slack = G.shape, small.n, products_error(G)
    slack_k = slack + gamma(m + 8, t)  # of K, and of products with it
    xp = _arrays.namespace(G)
    units = xp.finfo(G.dtype)
    e = _arrays.unit_roundoff(xp, G.dtype) * size * (1 + 1e-6) + math.sqrt(d) * float(units.smallest_normal)
    e = e + gamma(m + 4, t) * (norms + small.spread(t)) / small.damp
    fuzz = slack * small.lengths[:, None] * size / n + gamma(4, t) * (np.abs(t) + np.abs(w))  # rounding errors of w
    residual = small.image(w, slack_k) + small.spread(fuzz) + small.damp * e
    rest = np.abs(w - small.times(s)) + fuzz + slack_k * (np.outer(small.lengths, small.spread(s)) + small.shift * np.abs(s) + np.abs(w))
    most = math.sqrt(n / small.damp) / 2  # the norm of n G^T K_lam^-1
    error = np.minimum(n * small.image(s, slack_k) + most * _lengths(rest), most * _lengths(np.abs(w) + fuzz)) + e
    exact = norms == 0  # then so is x
    return np.where(exact, 0.0, residual * (1 + 1e-8)), np.where(exact, 0.0, error * (1 + 1e-8))
