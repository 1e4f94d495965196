"""H^-1 b in two or three passes over the gradients, the second of which finds the residual as well."""

from __future__ import annotations

import math
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la._threads import serial_blas
from lowrank_la.curvature._small import Small, finite, products_error
from lowrank_la.factor._dense import gamma, host, wide

if TYPE_CHECKING:
    from lowrank_la.curvature._blocks import Blocks

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
        `error_bound` is at most 2^-12: x has more than three correct digits. For gradients in half
        precision it may be twice the spacing of that dtype, in which x is handed out.
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


def solve(function: str, G: Array, small: Small, door: Door, b: Array, z: np.ndarray | None = None) -> MFACResult:
    """Check b, solve, and hand out the answer with its bounds; z, where it is known, has b = G^T z.

    Raises
    ------
    TypeError
        b is complex or no array of numbers of the library of G.
    ValueError
        b has a wrong shape, is not finite, or has an answer outside the range of the dtype.
    """
    b = check(function, _arrays.beside(function, "b", b, G), G.shape[1])
    B = b if b.ndim == 2 else b[:, None]
    with np.errstate(over="ignore", invalid="ignore"), _alone(G, B):
        norms = host(door.xp.linalg.vector_norm(wide(B), axis=0))
        answer = _solve(G, small, B, norms, z)
        most = small.damp + float(np.linalg.norm(small.K)) / small.n * (1 + 1e-8)  # bounds |H|
    return handed_out(function, answer, door, small.damp, most, b.ndim, norms)


def solve_blocks(function: str, G: Array, blocks: Blocks, door: Door, b: Array) -> MFACResult:
    """Do the same for a block-diagonal H.

    Raises
    ------
    TypeError
        b is complex or no array of numbers of the library of G.
    ValueError
        b has a wrong shape, is not finite, or has an answer outside the range of the dtype.
    """
    b = check(function, _arrays.beside(function, "b", b, G), G.shape[1])
    B = b if b.ndim == 2 else b[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        answer = blocks.solve(B, door.dtype)
    norms = host(door.xp.linalg.vector_norm(wide(B), axis=0))
    return handed_out(function, answer, door, blocks.damp, blocks.most, b.ndim, norms)


def handed_out(function: str, answer: Answer, door: Door, damp: float, most: float, ndim: int, norms: np.ndarray) -> MFACResult:
    """Hand out x, whose entries may leave in half precision, with its bounds; `most` bounds ||H||.

    Raises
    ------
    ValueError
        x is outside the range of the dtype.
    """
    with np.errstate(over="ignore"):
        x = door.leave(answer.x if ndim == 2 else answer.x[:, 0])
    answer, unit = _narrowed(answer, door, x, most)
    if not np.all(np.isfinite(answer.size)):
        raise ValueError(f"{function}: b must have an answer within the range of {x.dtype}; scale b down or damp up")
    residual, error = _share(answer.residual, norms), _share(answer.error, answer.size)
    converged = error <= max(ENOUGH, 4 * unit)
    if not converged:
        text = f"{function}: damp = {damp:g} is too small beside the gradients; x has a relative error of up to {error:.2g}"
        warnings.warn(text, ConvergenceWarning, stacklevel=4)
    return MFACResult(x, error, converged, Certificate(CLAIM, residual, 1.0, "residual"))


def _narrowed(answer: Answer, door: Door, x: Array, most: float) -> tuple[Answer, float]:
    """Add what is lost when x leaves in half precision, and return the roundoff of its dtype."""
    xp = _arrays.namespace(x)
    units = xp.finfo(x.dtype)
    unit = float(units.eps) / 2
    if unit <= _arrays.unit_roundoff(door.xp, door.dtype):
        return answer, unit
    lost = unit * answer.size + math.sqrt(x.shape[0]) * float(units.smallest_normal)
    size = answer.size if bool(xp.all(xp.isfinite(x))) else np.full_like(answer.size, math.inf)
    return replace(answer, residual=answer.residual + most * lost, error=answer.error + lost, size=size), unit


def check(function: str, b: Array, d: int) -> Array:
    """Require right-hand sides (d,) or (d, k) with finite entries."""
    _checks.rows_like(function, "b", _checks.ndim(function, "b", b, (1, 2)), d, f"the {d} columns of the gradients")
    return finite(function, "b", _checks.not_empty(function, "b", b))


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """Return the largest share, of which 0 / 0 is none and anything undefined is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(part == 0, 0.0, part / whole)
    return float(np.max(np.where(np.isnan(share), math.inf, share)))


def _alone(G: Array, B: Array) -> AbstractContextManager[None]:
    """Keep BLAS to one thread beside compiled loops: the small algebra gains little from a second one, which then spins in their way."""
    long_rows = kernels.long_rows
    return serial_blas() if _arrays.engine_of(G) == "cpu" and long_rows.takes(G) and B.shape[1] <= long_rows.MOST else nullcontext()


def _solve(G: Array, small: Small, B: Array, norms: np.ndarray, z: np.ndarray | None) -> Answer:
    """Sweep once over G, and again where the rounding errors of G b and K are felt in x: H x - b tells t's error.

    With b = G^T z, x = n G^T K_lam^-1 z needs no difference, and no products with b.
    """
    if z is None:
        step = Start(B, norms, np.zeros((G.shape[0], B.shape[1])), small.inverse(host(kernels.long_rows.times(G, B))))
    else:
        step = Start(_arrays.namespace(B).zeros_like(B), 0 * norms, z, -small.shift * small.inverse(z))
    answer, s = _sweep(G, small, step, norms)
    xp = _arrays.namespace(answer.x)
    felt = small.n * small.image(s, 0.0) > 4 * _arrays.unit_roundoff(xp, answer.x.dtype) * answer.size
    if not np.any(felt):
        return answer
    again, _ = _sweep(G, small, step._replace(t=step.t + small.shift * s), norms)
    return again if np.max(again.error) < np.max(answer.error) else answer


class Start(NamedTuple):
    """x = (b - G^T (z + t)) / damp = (rest - G^T t) / damp, with the norms of the columns of `rest`."""

    rest: Array
    norms: np.ndarray
    z: np.ndarray
    t: np.ndarray


def _sweep(G: Array, small: Small, start: Start, norms: np.ndarray) -> tuple[Answer, np.ndarray]:
    """Return x with its bounds, and K_lam^-1 w for the w of `_bounds`."""
    x, v, squares = kernels.long_rows.sweep(G, start.rest, _arrays.from_numpy(start.t, G), small.damp)
    size, t = np.sqrt(host(squares)), start.z + start.t
    w = host(v) / small.n - t
    s = small.inverse(w)
    units, unit = _arrays.namespace(x).finfo(x.dtype), _arrays.unit_roundoff(_arrays.namespace(x), x.dtype)
    e = unit * size * (1 + 1e-6) + math.sqrt(x.shape[0]) * float(units.smallest_normal)
    e = e + gamma(G.shape[0] + 4, t) * (start.norms + small.spread(start.t)) / small.damp
    residual, error = _bounds(small, products_error(G), t, w, s, size, e)
    exact = norms == 0  # then so is x
    return Answer(x, np.where(exact, 0.0, residual), np.where(exact, 0.0, error), size), s


def _bounds(
    small: Small, slack: float, t: np.ndarray, w: np.ndarray, s: np.ndarray, size: np.ndarray, e: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bound ||H x - b|| and ||x - H^-1 b|| for x = (b - G^T t) / damp + e.

    H x - b = G^T w + damp e with w = G x / n - t: its norm needs K only. And H^-1 G^T w = n G^T s with K_lam s = w.
    """
    n, slack_k = small.n, slack + gamma(len(t) + 8, t)  # of K, and of products with it
    fuzz = slack * small.lengths[:, None] * size / n + gamma(4, t) * (np.abs(t) + np.abs(w))  # rounding errors of w
    residual = small.image(w, slack_k) + small.spread(fuzz) + small.damp * e
    rest = np.abs(w - small.times(s)) + fuzz + slack_k * (np.outer(small.lengths, small.spread(s)) + small.shift * np.abs(s) + np.abs(w))
    error = np.minimum(n * small.image(s, slack_k) + small.reach(rest, slack_k, e), small.reach(np.abs(w) + fuzz, slack_k, e)) + e
    return residual * (1 + 1e-8), error * (1 + 1e-8)
