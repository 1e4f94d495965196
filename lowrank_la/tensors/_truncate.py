"""The sequentially truncated higher-order SVD, with an error that is measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _threads
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, conj, gamma, host, norms, wide
from lowrank_la.tensors._basis import by_svd as leading_bases
from lowrank_la.tensors._basis import exact, ranged, rank_of, trials
from lowrank_la.tensors._modes import multiply, multiply_all, unfold
from lowrank_la.tensors._sequential import Choose, Step, compress

MARGIN = 1 - 1e-4  # of a tolerance, that rounding errors may not exceed it
LARGE = 1 << 17  # numbers from which a few fibres are tried before all of them


@dataclass(frozen=True)
class Truncation:
    """T ~ core x_1 factors[0] x_2 factors[1] ..., with orthonormal columns.

    Attributes
    ----------
    core : array (r_1, ..., r_d)
    factors : tuple of arrays (n_k, r_k)
    tails : tuple of floats
        tails[k]^2 is the energy left out in mode k; the squared error is their sum.
    bound : float
        Bound on the error, rounding included.
    size : float
        Norm of T.
    """

    core: Array
    factors: tuple[Array, ...]
    tails: tuple[float, ...]
    bound: float
    size: float

    @property
    def error(self) -> float:
        """Frobenius norm of what was left out."""
        return math.hypot(*self.tails)


def truncate(T: Array, *, tol: float = 0.0, ranks: Sequence[int] | None = None) -> Truncation:
    """Compress a tensor to within `tol` in the Frobenius norm and to at most `ranks`; both may bind, and T is left alone."""
    if math.prod(T.shape) < LARGE:
        return small(T, tol, ranks)
    if tol == 0:
        return finished(*compress(T, 0.0, by_svd(ranks)))
    size = float(norms(_arrays.namespace(T).reshape(T, (T.shape[0], -1))))
    relative = tol / size if size else 1.0
    return refined(*compress(T, relative, by_trial(0)), relative, ranks)


def by_svd(ranks: Sequence[int] | None) -> Choose:
    """Choose leading singular vectors, for the tolerance and at most `ranks`."""
    return lambda A, mode, tol: leading_bases(A, tol, A.shape[1] if ranks is None else ranks[mode])


def by_trial(seed: int) -> Choose:
    """Choose from cheap bases first."""
    return lambda A, mode, tol: trials(A, tol, seed, f"tucker mode {mode}")


def by_range(ranks: Sequence[int], seed: int) -> Choose:
    """Choose a few more vectors than `ranks` from a sketch and a power step."""

    def choose(A: Array, mode: int, tol: float) -> Iterable[Array]:
        X = ranged(A, ranks[mode], seed)
        yield exact(A, 1, 0.0, ranks[mode]).X if X is None else X

    return choose


def fixed(factors: Sequence[Array]) -> Choose:
    """Choose bases that are known."""
    return lambda A, mode, tol: iter([conj(factors[mode])])


def refined(core: Array, steps: list[Step], tol: float, ranks: Sequence[int] | None) -> Truncation:
    """Truncate what was compressed with bases that may have been too wide; `tol` is relative to the norm of T."""
    if ranks is None and all(step.X.shape[0] == step.X.shape[1] for step in steps):
        return finished(core, steps)
    d, size, u = len(steps), steps[-1].size, _arrays.unit_roundoff(_arrays.namespace(core), core.dtype)
    widths = [step.X.shape[1] for step in steps]
    rounding = size * (u + sum(gamma(w + 1, core) * w + u * math.sqrt(w) for w in widths))
    spare = gamma(sum(widths) + d, core) * math.sqrt(math.prod(widths)) * size  # what the error of the core is known up to
    later = _what_remains(steps, tol * size - rounding - spare)
    if math.prod(core.shape) >= LARGE:
        inner = finished(*compress(core, MARGIN * later / size if size else 1.0, by_svd(ranks)))
    else:
        with _threads.serial_blas():
            inner = small(wide(core), later, ranks)
    with _threads.serial_blas():
        factors = [wide(conj(step.X)) @ W for step, W in zip(steps, inner.factors, strict=True)]
    tails = tuple(math.hypot(steps[k].left, inner.tails[k]) for k in range(d))
    core, *rest = (_arrays.namespace(x).astype(x, core.dtype, copy=False) for x in (inner.core, *factors))
    return Truncation(core, tuple(rest), tails, _bound(steps, inner.bound) + rounding, size)


def _what_remains(steps: list[Step], tol: float) -> float:
    """Return the error that is still allowed, rounding included."""
    later = math.sqrt(max(tol**2 - sum(step.left**2 for step in steps), 0.0)) if tol > 0 else 0.0
    while later > 0 and _bound(steps, later) > tol:
        later = 0.99 * later if later > 1e-3 * tol else 0.0
    return later


def _bound(steps: list[Step], later: float) -> float:
    for step in steps:
        later = step.before(later)
    return later


def finished(core: Array, steps: list[Step]) -> Truncation:
    """Take the compressed tensor for the core, but for columns that later modes have made superfluous."""
    core, factors = _squeezed(core, [conj(step.X) for step in steps])
    tails = tuple(step.left for step in steps)
    return Truncation(core, factors, tails, _bound(steps, 0.0), steps[-1].size)


def small(T: Array, tol: float, ranks: Sequence[int] | None) -> Truncation:
    """Truncate a tensor of which copies do no harm, in double precision, by SVDs of its unfoldings."""
    core, d = wide(T), T.ndim
    factors: list[Any] = [None] * d
    tails, left = [0.0] * d, tol**2
    for position, k in enumerate(sorted(range(d), key=lambda k: T.shape[k])):
        V, s = left_vectors(unfold(core, k))
        r, tails[k] = rank_of(s, math.sqrt(left / (d - position)), T.shape[k] if ranks is None else ranks[k])
        left = max(left - tails[k] ** 2, 0.0)
        factors[k] = V[:, :r]
        core = multiply(core, adjoint(factors[k]), k)
    core, bases = _squeezed(core, factors)
    core, *factors = (_arrays.namespace(T).astype(x, T.dtype, copy=False) for x in (core, *bases))
    return Truncation(core, tuple(factors), tuple(tails), *distance(T, core, factors))


def distance(T: Array, core: Array, factors: Sequence[Array]) -> tuple[float, float]:
    """Bound the distance of a Tucker tensor from T, rounding included, and return it with the norm of T."""
    T = wide(T)
    size = float(_length(T))
    E = T - multiply_all(wide(core), [wide(V) for V in factors])
    lost = gamma(sum(V.shape[1] + 1 for V in factors), T) * math.prod(float(_length(V)) for V in factors) * float(_length(core))
    return float(_length(E)) * (1 + gamma(math.prod(T.shape), T)) + min(lost, 2 * size) + gamma(4, T) * size, size


def _length(x: Array) -> float:
    return float(_arrays.namespace(x).linalg.vector_norm(wide(x)))


def left_vectors(A: Array) -> tuple[Array, np.ndarray]:
    """Return the left singular vectors of a matrix and, on the host, its singular values."""
    xp = _arrays.namespace(A)
    if A.shape[1] > A.shape[0]:
        A = adjoint(_arrays.triangular_factor(adjoint(A)))
    V, s, _ = xp.linalg.svd(A, full_matrices=False)
    return V, host(s)


def _squeezed(core: Array, factors: Sequence[Array]) -> tuple[Array, tuple[Array, ...]]:
    """Drop the columns of a factor that later modes have made superfluous: no rank exceeds the product of the others."""
    factors = list(factors)
    for k in range(core.ndim):
        if core.shape[k] > math.prod(core.shape) // core.shape[k]:
            V, _ = left_vectors(unfold(core, k))
            core = multiply(core, adjoint(V), k)
            factors[k] = factors[k] @ V
    return core, tuple(factors)
