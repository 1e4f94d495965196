"""`functional_tucker_ls`: a function of several variables from scattered values, by penalized alternating least squares."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.functional_tucker import _data
from lowrank_la.functional_tucker._data import Observations
from lowrank_la.functional_tucker._ls_fit import Run, Task
from lowrank_la.functional_tucker._ls_result import LeastSquaresFit

__all__ = ["LeastSquaresFit", "functional_tucker_ls"]

NAME = "functional_tucker_ls"
LEVEL, CONFIDENCE = 0.9, 0.95
LEAST = 29  # held-out values of which even the largest error says something
CLAIM = f"|y - f(x)| <= bound for at least {LEVEL:.0%} of new values, drawn like the held-out ones"


def functional_tucker_ls(
    coords: Array,
    y: Array,
    *,
    ranks: int | Sequence[int],
    basis: str = "chebyshev",
    degree: int | Sequence[int] = 15,
    penalty: float | None = None,
    weights: Array | None = None,
    domain: Any = None,
    held_out: float = 0.1,
    tol: float = 1e-4,
    max_iter: int = 200,
    rng: _random.RNG = None,
) -> LeastSquaresFit:
    """Fit a function of K variables to scattered values: a Tucker model with polynomials or splines, by penalized least squares.

    f(x) = c + W x_1 u_1(x_1) ... x_K u_K(x_K) minimizes the mean squared residual plus a penalty on its size and roughness. Fast, and
    a function with calculus; `FunctionalTucker` gives uncertainties in its place.

    Parameters
    ----------
    coords : array (N, K), real, N >= 1
        Coordinates, in any order.
    y : array (N,), real
        Values. Those that are NaN are dropped.
    ranks : int or K ints, each >= 1
        Functions of one variable in each mode; an int stands for all. More than the basis or the other ranks allow are cut.
    basis : {"chebyshev", "bspline"}
        Chebyshev polynomials, or cubic splines on equal pieces: for functions with kinks or narrow features.
    degree : int or K ints, each >= 0
        Functions in a basis less one: the degree of the polynomials. At most as many functions as there are distinct coordinates
        are used with polynomials, and at least four with splines.
    penalty : float, > 0, optional
        Weight of the penalty for values standardized to variance 1. By default, that of 1e-2, 1e-3, ..., 1e-12 which predicts a
        tenth of the data best, in fits to the rest.
    weights : array (N,), not negative
        Of the squared residuals.
    domain : array (K, 2), optional
        The box on which f is defined; by default the ranges of the coordinates.
    held_out : float, 0 <= held_out < 1
        Share of the data that has no part in the fit, for the certificate. Fewer than 29 are not held out.
    tol : float, tol >= 0
        Sweeps end when the objective falls by less than this share of it.
    max_iter : int, max_iter >= 1
        Sweeps, at most, apart from those of the search for a penalty.
    rng : None, int or numpy.random.Generator
        Decides which data are held out.

    Returns
    -------
    LeastSquaresFit
        `predict(coords)` evaluates f; `function` is f as a `FunctionTucker`, for "chebyshev". certificate: |y - f(x)| <= bound for
        at least 90% of new values, drawn like the data, with confidence 0.95 over the draw of the data; inf without held-out data.

    Raises
    ------
    ValueError
        Shapes do not fit, a coordinate or weight is not finite, a value is infinite, there are no data with positive weights, the
        domain does not contain the coordinates, or an option is out of range.
    TypeError
        Arrays are complex, sparse or of different libraries, or an option has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The objective still fell by more than `tol` when sweeps ended.

    Notes
    -----
    The objective is sum_n w_n (y_n - f(x_n))^2 / sum_n w_n + penalty sum_i (1 + sum_k p_k(i_k)) c_i^2, with c_i the coefficients of f
    in bases that are orthonormal for a probability measure on the domain, and p_k(i) = i^4 for polynomials, the mean square of the
    second derivative on [-1, 1] for splines. It depends on f alone, so that factors may change to orthonormal ones at any
    time, and every step is the exact minimum over one mode, or over W and c: the objective never rises, but may end in a
    local minimum. The start is a higher-order SVD of the data in bins, and the search for a penalty goes from smooth functions to rough.

    Certificate: with M held-out errors, an order statistic, so chosen that fewer than 90% of all errors are below it with a
    probability of at most 0.05, by the binomial law; no other assumption than that data are independent and alike.

    Cost of a sweep: for each mode N prod_{j != k} R_j (R_j + 1) / 2 and (m_k R_k)^2 / 4 for each distinct coordinate, then
    (m_k R_k)^3; the core P^3 for P = prod R_k entries. Memory: K (4 K + 16) bytes for each datum and m_k numbers for each distinct
    coordinate. Computed in float64; f has the precision of coords.

    References
    ----------
    .. [1] Eilers and Marx, Flexible smoothing with B-splines and penalties, Statistical Science 11(2), 1996. Penalized splines.
    .. [2] Kolda and Bader, Tensor decompositions and applications, SIAM Review 51(3), 2009. Alternating least squares.
    .. [3] Wilks, Determination of sample sizes for setting tolerance limits, Annals of Mathematical Statistics 12(1), 1941. The bound.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.functional_tucker import functional_tucker_ls
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(0, 1, (2000, 2))
    >>> y = np.exp(-x[:, 0]) * np.sin(5 * x[:, 1]) + x[:, 0] + 0.01 * rng.standard_normal(2000)
    >>> fit = functional_tucker_ls(x, y, ranks=2, domain=[(0, 1), (0, 1)], rng=0)
    >>> bool(abs(fit.predict([[0.5, 0.5]])[0] - (np.exp(-0.5) * np.sin(2.5) + 0.5)) < 0.01)
    True
    >>> bool(abs(fit.function.integral() - ((1 - np.exp(-1)) * (1 - np.cos(5)) / 5 + 0.5)) < 0.01)
    True
    """
    data = _data.enter(NAME, coords, y, weights, None)
    K, dropped = data.coords.shape[1], data.n_dropped
    sizes, degrees = _each("ranks", ranks, K, 1), _each("degree", degree, K, 0)
    _checks.choice(NAME, "basis", basis, ("chebyshev", "bspline"))
    penalty = None if penalty is None else _checks.real(NAME, "penalty", penalty, 0.0, open=True)
    held_out = _checks.real(NAME, "held_out", held_out, 0.0, 0.9)
    tol, max_iter = _checks.real(NAME, "tol", tol, 0.0), _checks.integer(NAME, "max_iter", max_iter, 1)
    data = data.rows(data.weights > 0)
    box, seed = _box(domain, data.coords), _random.seed_of(NAME, rng)
    kept, out = _split(len(data), held_out, seed)
    with _threads.serial_blas():
        task = Task.of(data.rows(kept), box, basis, degrees, sizes)
        fit, penalty, tried = (task.start(), penalty, 0) if penalty is not None else task.choose(seed)
        run = task.run(fit, penalty, tol, max_iter)
    if not run.converged:
        warnings.warn(f"{NAME}: the objective still fell after {max_iter} sweeps; raise max_iter or tol", ConvergenceWarning, stacklevel=2)
    door = _arrays.enter(NAME, coords=coords)[0]
    return _answer(door, task, run, penalty, tried, data.rows(out), dropped)


def _answer(door: _arrays.Door, task: Task, run: Run, penalty: float, tried: int, unseen: Observations, dropped: int) -> LeastSquaresFit:
    errors = unseen.y - task.at(run.fit, unseen.coords)
    arrays = (task.scale.size * run.fit.core, *task.plain(run.fit))
    core, *factors = (door.leave(door.xp.astype(_arrays.from_numpy(x, task.data.like), door.dtype)) for x in arrays)
    return LeastSquaresFit(
        core=core,
        factors=tuple(factors),
        domain=task.box,
        basis=task.bases[0].kind,
        offset=task.scale.mean + task.scale.size * run.fit.offset,
        penalty=penalty,
        objective=run.objective,
        residual_rms=_rms(task.data.y - task.at(run.fit, task.data.coords), task.data.weights),
        held_out_rms=_rms(errors, unseen.weights),
        converged=run.converged,
        n_iter=tried + len(run.objective),
        n_dropped=dropped,
        certificate=_certificate(errors),
    )


def _certificate(errors: np.ndarray) -> Certificate:
    """Bound most errors by one of those seen: with fewer than 90% of the law below the r-th, r or more of M would hardly be there."""
    from scipy.stats import binom

    r = int(binom.ppf(CONFIDENCE, errors.size, LEVEL)) + 1 if errors.size else 1
    bound = float(np.sort(np.abs(errors))[r - 1]) if r <= errors.size else math.inf
    return Certificate(CLAIM, bound, CONFIDENCE, f"{errors.size} held-out values")


def _rms(errors: np.ndarray, weights: np.ndarray) -> float:
    return math.sqrt(float(weights @ errors**2) / float(np.sum(weights))) if errors.size else math.nan


def _split(N: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to fit and those to hold out: none if they are too few to say anything."""
    count = round(share * N)
    if count < LEAST:
        return np.arange(N), np.arange(0)
    order = _random.host_generator(seed, f"{NAME} held-out").permutation(N)
    return np.sort(order[count:]), np.sort(order[:count])


def _each(name: str, value: Any, K: int, low: int) -> tuple[int, ...]:
    """Give each mode an integer.

    Raises
    ------
    ValueError
        There are more or fewer than modes, or one is too small.
    TypeError
        One is no integer.
    """
    if not isinstance(value, Sequence):
        return (_checks.integer(NAME, name, value, low),) * K
    if len(value) != K:
        raise ValueError(f"{NAME}: {name} must be one integer, or one for each of {K} modes; got {len(value)}")
    return tuple(_checks.integer(NAME, name, x, low) for x in value)


def _box(domain: Any, coords: np.ndarray) -> np.ndarray:
    """Return the box: the one that is given, or the ranges of the coordinates; a range without length is widened.

    Raises
    ------
    ValueError
        The domain is no box, or does not contain the coordinates.
    """
    low, high = np.min(coords, axis=0), np.max(coords, axis=0)
    if domain is None:
        width = np.where(high > low, 0.0, 0.5 * np.maximum(1.0, np.abs(low)))
        return np.stack([low - width, high + width], axis=1)
    _, [given] = _data.dense(NAME, domain=domain)
    box = _data.host(_checks.finite(NAME, "domain", _checks.shape(NAME, "domain", given, (coords.shape[1], 2))))
    wrong = np.flatnonzero((box[:, 0] >= box[:, 1]) | (box[:, 0] > low) | (box[:, 1] < high))
    if wrong.size:
        k = wrong[0]
        rule = f"an interval that contains all coordinates, for each column; those of column {k} are {low[k]:.6g} to {high[k]:.6g}"
        raise ValueError(f"{NAME}: domain must be {rule}; got {box[k, 0]:.6g} to {box[k, 1]:.6g}")
    return box
