"""Sums and products of functions, and their compression."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint
from lowrank_la.functions import _chebyshev
from lowrank_la.functions._parts import Parts, frobenius
from lowrank_la.tensors._modes import multiply, unfold
from lowrank_la.tensors._truncate import truncate

EPS_OF_SUM = 4  # roundoff of a sum, over the norms of its terms: what is smaller is noise


def constant(value: complex, like: Parts) -> tuple[Array, tuple[Array, ...], np.ndarray]:
    """Return core, factors and domain of a constant function of the same variables and outputs."""
    xp = _arrays.namespace(like.core)
    dtype = xp.result_type(like.core.dtype, xp.complex64) if isinstance(value, complex) else like.core.dtype
    core = xp.full((*like.core.shape[: like.lead], *(1,) * like.dim), value, dtype=dtype, device=like.core.device)
    return core, (xp.ones((1, 1), dtype=dtype, device=core.device),) * like.dim, like.domain


def noise(parts: Parts, size: float) -> float:
    """Return what is lost in the rounding errors of a sum of terms with norms that add up to `size`."""
    return EPS_OF_SUM * float(_arrays.namespace(parts.core).finfo(parts.core.dtype).eps) * size


def add(one: Parts, other: Parts) -> Parts:
    """Add two functions: both cores are written in joint orthonormal bases, where they are added."""
    xp, bases = _arrays.namespace(one.core, other.core), []
    for V, W in zip(one.factors, other.factors, strict=True):
        m = max(V.shape[0], W.shape[0])
        Q, R = xp.linalg.qr(xp.concat([_chebyshev.resized(V, m), _chebyshev.resized(W, m)], axis=1), mode="reduced")
        bases.append((Q, R[:, : V.shape[1]], R[:, V.shape[1] :]))
    core = one.contracted([R for _, R, _ in bases]) + other.contracted([R for _, _, R in bases])
    return Parts(core, tuple(Q for Q, _, _ in bases), one.domain)


def compressed(parts: Parts, tol: float, ranks: Sequence[int] | None = None) -> tuple[Parts, float]:
    """Lower degrees and ranks for orthonormal factors, and return the norm of the change: at most `tol`, but for given ranks."""
    size = frobenius(parts.core)
    if size <= tol:
        return Parts(*constant(0.0, parts)), size
    unit = 2.0 ** math.frexp(size)[1]  # squares of norms must neither overflow nor underflow
    kept, dropped = chopped(Parts(parts.core / unit, parts.factors, parts.domain), tol / unit / math.sqrt(2))
    wanted = None if ranks is None else [*kept.core.shape[: kept.lead], *ranks]
    cut = truncate(kept.core, tol=math.sqrt((tol / unit) ** 2 - dropped**2), ranks=wanted)
    core = multiply(cut.core, cut.factors[0], 0) if parts.lead else cut.core
    factors = tuple(V @ W for V, W in zip(kept.factors, cut.factors[parts.lead :], strict=True))
    return Parts(core * unit, factors, parts.domain), unit * math.hypot(dropped, cut.error)


def chopped(parts: Parts, tol: float) -> tuple[Parts, float]:
    """Drop trailing coefficients of each variable, up to a norm of `tol` in all, and return the norm of what was dropped."""
    xp, dropped, share = _arrays.namespace(parts.core), 0.0, tol / math.sqrt(parts.dim)
    for axis, V in enumerate(parts.factors):
        slices = xp.linalg.vector_norm(V @ adjoint(_arrays.triangular_factor(adjoint(unfold(parts.core, axis + parts.lead)))), axis=1)
        below = np.sqrt(np.cumsum(_arrays.to_numpy(slices).astype(np.float64)[::-1] ** 2))
        count = min(int(np.searchsorted(below, share, side="right")), V.shape[0] - 1)
        if not count:
            continue
        dropped = math.hypot(dropped, float(below[count - 1]))
        Q, R = xp.linalg.qr(V[: V.shape[0] - count, :], mode="reduced")
        short = parts.replaced(axis, Q)
        parts = Parts(multiply(parts.core, R, axis + parts.lead), short.factors, short.domain)
    return parts, dropped
