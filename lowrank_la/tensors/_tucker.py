"""`tucker`: a tensor as a small core and one basis for each mode, with a bound on the error."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.factor import _dense
from lowrank_la.tensors import _batch, _canonical, _check, _hooi
from lowrank_la.tensors._basis import exact
from lowrank_la.tensors._result import TuckerResult
from lowrank_la.tensors._sequential import compress
from lowrank_la.tensors._truncate import LARGE, MARGIN, Truncation, by_range, by_svd, by_trial, finished, fixed, refined

NAME = "tucker"
CLAIM = "||T - core x_1 factors[0] ... x_d factors[d-1]||_F <= bound"
METHODS = ("auto", "sthosvd", "hosvd", "hooi", "randomized")


def tucker(
    T: Any,
    *,
    ranks: int | Sequence[int] | None = None,
    tol: float | None = None,
    method: str = "auto",
    max_iter: int = 10,
    batched: bool = False,
    rng: _random.RNG = None,
) -> TuckerResult:
    """Compress a tensor to a small core and one orthonormal basis for each mode, to a given error or given ranks.

    Parameters
    ----------
    T : array (n_1, ..., n_d), or tuple (weights, factors)
        Real or complex tensor of any order d >= 1. A tuple is a canonical tensor
        sum_r weights[r] factors[0][:, r] o ... o factors[d - 1][:, r], which is never formed: `weights` is an
        array (R,) of any signs or None for ones, `factors` are d arrays (n_k, R).
    ranks : int or d ints, each at least 1
        Largest ranks. More than the shape allows are clipped; one integer stands for all modes.
    tol : float, 0 < tol < 1
        Error in the Frobenius norm, relative to that of T. With `ranks`, both bind.
    method : {"auto", "sthosvd", "hosvd", "hooi", "randomized"}
        "sthosvd" compresses one mode after the other by singular value decompositions, "hosvd" each mode of T itself. "hooi" improves
        the former by orthogonal iteration. "randomized" takes bases from a few fibres or sketches of all, and measures what
        they leave. "auto" is "randomized" for a tolerance alone, and "sthosvd" where ranks are given. For
        canonical tensors it must be "auto", for stacks "auto" or "sthosvd".
    max_iter : int, max_iter >= 1
        Sweeps of "hooi", which ends earlier where a sweep gains nothing.
    batched : bool
        Whether the first axis of T counts tensors. All get the same ranks, those that suffice for each.
    rng : None, int or numpy.random.Generator
        An int gives the same fibres and sketches on every backend.

    Returns
    -------
    TuckerResult
        core, factors, error, relative_error, tails, history, converged and certificate; `to_dense()`, `entries(indices)`,
        `norm()`, `inner(other)` and `round()`.

    Raises
    ------
    ValueError
        An argument is out of range, T is empty or has an entry that is NaN or infinite, or neither tol nor ranks is given.
    TypeError
        T is no dense array of numbers, or requires gradients.

    Warns
    -----
    ConvergenceWarning
        The certified error exceeds the tolerance: `ranks` are too small for it, or it lies below rounding errors.
    UserWarning
        Ranks are clipped.

    Notes
    -----
    Cost for N numbers and modes of length n: "sthosvd" n N flops for a Gram matrix, and 2 n N more where the error to
    reach is below 3e-7 of the norm, which that does not resolve; "randomized" one read of T and 4 r N flops for rank r,
    as long as a few fibres show the basis of each mode, and where they do not sketches of 16 N flops and another read
    each. HOSVD and every sweep of HOOI take about d times, and twice, a product with T. Memory besides T: what is left
    after one mode and after two, r N / n numbers and less; a copy of T if it does not lie in memory in one piece, and
    two where no mode can be compressed. Unfoldings are copied in blocks of some MiB.

    Certificate: every mode is compressed by a projection, and what each leaves is computed entry by entry and summed in
    double precision, in the same read as the projection. Errors of successive projections are orthogonal, so that
    their squares add up: for all methods the bound is no estimate from singular values but the error itself,
    and above it by rounding errors alone. For a canonical tensor, the first of two projections is bounded by the singular
    values of the scaled columns of its factors; the bound may be several times the error where terms cancel.
    Results in single precision are rounded, to some 1e-7 of the norm: for tolerances below 1e-6 they come back in full
    size or with a warning. ST-HOSVD and HOSVD are within a factor sqrt(d) of the least possible error for their ranks.

    References
    ----------
    .. [1] De Lathauwer, De Moor and Vandewalle, A multilinear singular value decomposition, SIAM J. Matrix Anal.
       Appl. 21, 2000. HOSVD; HOOI in the paper that follows it there.
    .. [2] Vannieuwenhoven, Vandebril and Meerbergen, A new truncation strategy for the higher-order singular value
       decomposition, SIAM J. Sci. Comput. 34, 2012. ST-HOSVD.
    .. [3] Minster, Saibaba and Kilmer, Randomized algorithms for low-rank tensor decompositions in the Tucker format,
       SIAM J. Math. Data Sci. 2, 2020.
    .. [4] Khoromskij and Khoromskaia, Multigrid accelerated tensor approximation of function related multidimensional
       arrays, SIAM J. Sci. Comput. 31, 2009. Canonical to Tucker.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import tucker
    >>> x = np.linspace(0, 1, 60)
    >>> T = 1 / (1 + x[:, None, None] + x[:, None] + x)
    >>> result = tucker(T, tol=1e-5)
    >>> result.ranks
    (4, 4, 4)
    >>> error = np.linalg.norm(T - result.to_dense())
    >>> bool(error <= result.certificate.bound <= 1e-5 * np.linalg.norm(T))
    True
    """
    seed = _random.seed_of(NAME, rng)
    _checks.choice(NAME, "method", method, METHODS)
    most = _checks.integer(NAME, "max_iter", max_iter, 1)
    if isinstance(T, tuple) and len(T) == 2 and isinstance(T[1], list | tuple):
        return _canonical_answer(*T, ranks, tol, method, batched)
    _dense.refuse_sparse(NAME, T=T)
    door, [T] = _arrays.enter(NAME, T=T)
    _checks.not_empty(NAME, "T", T)
    if T.ndim < 1 + batched:
        raise ValueError(f"{NAME}: T must have at least {1 + batched} axes; got shape {tuple(T.shape)}")
    tol, wanted = _check.wanted(NAME, tol, ranks, tuple(T.shape[batched:]))
    if batched:
        return _stack(door, T, tol, wanted, method)
    T, order = _contiguous(T)
    inner = None if wanted is None else tuple(wanted[k] for k in order)
    found, history = _checked(T, inner, tol or 0.0, method, most, seed)
    place = np.argsort(order)
    core = _arrays.namespace(T).permute_dims(found.core, tuple(int(k) for k in place))
    certificate = Certificate(CLAIM, found.bound, 1.0, "measured residuals of projections")
    tails = tuple(found.tails[k] for k in place)
    return _answer(door, core, [found.factors[k] for k in place], tails, found, tol, certificate, history)


def _contiguous(T: Array) -> tuple[Array, list[int]]:
    """Return T with its axes in the order of memory, in one piece, and that order."""
    if not isinstance(T, np.ndarray):
        return T, list(range(T.ndim))
    order = sorted(range(T.ndim), key=lambda k: (-abs(T.strides[k]), k))
    return np.ascontiguousarray(T.transpose(order)), order


def _checked(
    T: Array, ranks: tuple[int, ...] | None, tol: float, method: str, max_iter: int, seed: int
) -> tuple[Truncation, tuple[float, ...]]:
    """Compress, and look for entries that are not finite or too large only where something went wrong.

    Raises
    ------
    LinAlgError
        LAPACK failed on finite entries.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found, history = _compressed(T, ranks, tol, method, max_iter, seed)
    except np.linalg.LinAlgError:
        _dense.enter(NAME, T=T)
        raise
    if not _dense.LEAST[8] < found.size < _dense.MOST[8]:
        _dense.enter(NAME, T=T)
    return found, history


def _compressed(
    T: Array, ranks: tuple[int, ...] | None, tol: float, method: str, max_iter: int, seed: int
) -> tuple[Truncation, tuple[float, ...]]:
    goal = _goal(T, tol)
    if method == "hosvd":
        most = T.shape if ranks is None else ranks
        bases = [_dense.conj(exact(T, k, goal / math.sqrt(T.ndim), most[k]).X) for k in range(T.ndim)]
        return finished(*compress(T, tol, fixed(bases))), ()
    if method == "hooi":
        start = finished(*compress(T, goal, by_svd(ranks)))
        factors, history = _hooi.sweeps(T, start.factors, max_iter)
        return finished(*compress(T, tol, fixed(factors))), history
    if method == "randomized" and ranks is not None:
        return refined(*compress(T, 0.0, by_range(ranks, seed)), tol, ranks), ()
    if method == "randomized" or (method == "auto" and ranks is None and math.prod(T.shape) >= LARGE):
        return refined(*compress(T, tol, by_trial(seed)), tol, ranks), ()
    return finished(*compress(T, goal, by_svd(ranks))), ()


def _goal(T: Array, tol: float) -> float:
    """Return the tolerance less what rounding errors may add to the error, at most half of it."""
    rounding = 4 * (_arrays.unit_roundoff(_arrays.namespace(T), T.dtype) + max(T.shape) * _dense.U)
    return max(MARGIN * tol - rounding, tol / 2)


def _stack(door: Door, T: Array, tol: float | None, ranks: tuple[int, ...] | None, method: str) -> TuckerResult:
    """Answer for a stack of tensors.

    Raises
    ------
    ValueError
        The method is not for stacks.
    """
    if method not in ("auto", "sthosvd"):
        raise ValueError(f"{NAME}: method must be 'auto' or 'sthosvd' for a stack of tensors; got {method!r}")
    _dense.enter(NAME, T=T)
    core, factors, tails, bounds, size = _batch.truncate(T, _goal(T, tol or 0.0), ranks)
    error = np.sqrt(np.sum(np.stack(tails) ** 2, axis=0))
    certificate = Certificate(f"for each tensor of the stack, {CLAIM}", float(bounds.max()), 1.0, "measured residuals")
    relative = error / np.where(size > 0, size, 1.0)
    converged = tol is None or bool(np.all(bounds <= tol * size))
    numbers = [_dense.number(door, x, T) for x in (error, relative, *tails)]
    result = TuckerResult(
        core=door.leave(core),
        factors=tuple(door.leave(V) for V in factors),
        error=numbers[0],
        relative_error=numbers[1],
        tails=tuple(numbers[2:]),
        history=(),
        converged=converged,
        certificate=certificate,
    )
    return _said(result, tol, float(np.max(relative)))


def _canonical_answer(weights: Any, factors: Any, ranks: Any, tol: float | None, method: str, batched: bool) -> TuckerResult:
    """Answer for a sum of rank-one tensors.

    Raises
    ------
    ValueError
        The method is not for canonical tensors, or shapes do not fit.
    """
    if method != "auto" or batched:
        raise ValueError(f"{NAME}: method must be 'auto', and batched False, for a canonical tensor")
    door, weights, factors = _canonical.enter(NAME, weights, factors)
    tol, wanted = _check.wanted(NAME, tol, ranks, tuple(U.shape[0] for U in factors))
    size = _canonical.canonical_norm(weights, factors)
    floor = _canonical.floor(weights, factors)
    found = _canonical.canonical(weights, factors, tol=max((tol or 0.0) * size * MARGIN - 4 * floor, floor), ranks=wanted)
    certificate = Certificate(CLAIM, found.bound, 1.0, "singular values of scaled columns, and the measured residual of the core")
    return _answer(door, found.core, found.factors, found.tails, found, tol, certificate, ())


def _answer(
    door: Door,
    core: Array,
    factors: Sequence[Array],
    tails: tuple[float, ...],
    found: Truncation,
    tol: float | None,
    certificate: Certificate,
    history: tuple[float, ...],
) -> TuckerResult:
    result = TuckerResult(
        core=door.leave(core),
        factors=tuple(door.leave(V) for V in factors),
        error=found.error,
        relative_error=found.error / found.size if found.size else 0.0,
        tails=tails,
        history=history,
        converged=tol is None or certificate.bound <= tol * found.size,
        certificate=certificate,
    )
    return _said(result, tol, certificate.bound / found.size if found.size else 0.0)


def _said(result: TuckerResult, tol: float | None, relative: float) -> TuckerResult:
    if not result.converged:
        words = f"{NAME}: ranks {result.ranks} leave a relative error of up to {relative:.2g}, more than tol = {tol:.2g}"
        warnings.warn(words, ConvergenceWarning, stacklevel=4)
    return result
