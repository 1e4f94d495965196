"""`self_calibrate`: gains and signals from their products, with an angle bound, a verdict and error bars."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la._result import ConvergenceWarning
from lowrank_la._threads import serial_blas
from lowrank_la.calibration import _certificate, _given, _matrix_free, _models, _polish, _pursuit, _sparse, _spectral
from lowrank_la.calibration._certificate import Evidence, warn_unidentifiable
from lowrank_la.calibration._errors import signal_errors
from lowrank_la.calibration._operators import MatrixFree
from lowrank_la.calibration._polish import Fit
from lowrank_la.calibration._problem import DIVERSE, NAME, REPEATED, Problem, check_counts, counts, enough, enter
from lowrank_la.calibration._result import CalibrationResult
from lowrank_la.calibration._scale import filled, normalized, rule, spread_out
from lowrank_la.calibration._spectral import Options
from lowrank_la.factor._dense import host

METHODS = ("polished", "spectral", "lstsq")
SURE = 5.0  # standard deviations by which the noise of two models may differ
TRIAL = 10  # steps of the polish before two models are compared
SERIAL = 1 << 18  # entries of the sensing matrices below which a second thread gains little, and loses all on a busy machine
Solution: TypeAlias = tuple[Fit, Evidence, np.ndarray, np.ndarray | None]  # with weights of the channels, and a support
ON_SUPPORT = "; given the support of the signals"


def self_calibrate(
    Y: Any,
    A: Any,
    *,
    model: str = "auto",
    method: str = "polished",
    noise: Any = None,
    known: tuple[Any, Any] | None = None,
    sparsity: int | None = None,
    smooth: float = 0.0,
    unit_modulus: bool = False,
    reweight: int = 2,
    max_iter: int = 200,
    normalize: str | int = "mean_gain",
    x_error: bool = False,
) -> CalibrationResult:
    """Find unknown gains of channels together with the unknown signals that the channels measure.

    The measurements are y_l = diag(d) A_l x_l + e_l for l < p. With 1 / d for the unknown they are linear; the signals are eliminated,
    and the gains are the smallest eigenvector of a Hermitian m x m matrix, which also gives the metric for a polish on the likelihood.

    Parameters
    ----------
    Y : array (p, m)
        Measurements, real or complex: a row for each snapshot, a column for each channel.
    A : array (p, m, n) or (m, n), CodedFourier, or p linear operators (m, n)
        Sensing matrices. One matrix serves all snapshots. The CodedFourier serves up to a million channels and more.
    model : {"auto", "repeated", "diverse", "snapshots"}
        "repeated": one signal seen through p matrices. "diverse": a signal for each matrix, as in blind deconvolution. "snapshots": a
        signal for each snapshot through one matrix. "auto" is the last for one matrix; else "repeated" if that explains Y as well as
        "diverse" does.
    method : {"polished", "spectral", "lstsq"}
        "spectral" is the eigenvector alone, "lstsq" a linear least-squares problem with the average of 1 / d for the scale, which fails
        where phases of d average to zero.
    noise : float or array (m,), optional
        Upper bounds of ||e[:, i]||_2, the noise of each channel in all snapshots. With them the certificate is deterministic. Channels
        count by their noise if there is one for each, unless `smooth` or `unit_modulus` speak of the gains themselves.
    known : tuple (indices, values), optional
        Gains that are known. They fix the scale; `normalize` is not used.
    sparsity : int, optional
        Number of entries of each signal that differ from zero: the same ones in all snapshots for the model "snapshots".
    smooth : float, smooth >= 0
        Penalty of differences of neighbouring gains, over the mean diagonal of the matrix. Positive: no polish.
    unit_modulus : bool
        Whether all gains have modulus one.
    reweight : int, reweight >= 0
        Times that the sizes of the gains that were found balance the channels for a new eigenproblem.
    max_iter : int, max_iter >= 0
        Steps of the polish, at most.
    normalize : {"mean_gain", "unit_norm", "first"} or int
        Scale of the gains: mean modulus one, or norm one, both with a sum of phase zero; first gain, or the one with this index, equal to
        one.
    x_error : bool
        Whether to give error bars of the signals, too, for p n m^2 flops more, n m^2 for the model "repeated".

    Returns
    -------
    CalibrationResult
        d, x, d_error, noise_std, singular_values, gap_ratio, identifiable, weights, dead, support, history, converged, certificate and
        x_error.

    Raises
    ------
    ValueError
        Shapes do not fit; there are fewer equations than unknowns, with the counts; all channels are dead; an entry is not finite; an
        option is out of range, or does not go with a large CodedFourier.
    TypeError
        An argument is of the wrong type, or arrays belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        The gains are not identifiable at this noise level; or the polish has not settled after `max_iter` steps.

    Notes
    -----
    Cost: p m n^2 flops and more for bases of the ranges, p n m^2 for the matrix ("snapshots": p m^2), m^3 for its eigenvectors; memory p
    m n + m^2 numbers. A CodedFourier of more than 1024 channels: some dozens of 2 p transforms, memory about 30 m + 8 p m numbers.

    Eigenproblem [1]_: with t = v / d for trial sizes v, G t = lambda diag(w) t, where w_i is the share of channel i in the noise; lambda
    estimates its variance. Dividing out trial sizes makes all entries of t alike, so that noise counts equally everywhere. Channels that
    drown in noise get smaller weights, or each of them might be an eigenvector alone. G is in double precision whatever that of Y.

    Certificate: for the two smallest eigenvalues and the quotient rho of the truth, sin^2 of the angle is at most (rho - lambda_1) /
    (lambda_2 - lambda_1); the angle of the final gains to the eigenvector is added. rho <= max_i noise_i^2 / w_i for given noise, and
    then the bound always holds. Else rho is estimated from the residual, for white noise: the certificate says ESTIMATE. With `known`
    gains it bounds the relative error of 1 / d. Large CodedFourier: Ritz values stand for eigenvalues, and the bound remains an
    estimate.

    A small gap lambda_2 / lambda_1 tells that other gains would do as well: too much noise, or a hidden symmetry of A, such as that of
    Fourier matrices under shifts. The verdict is negative if sigma_2 / sigma_1 < 2 and the estimated sine exceeds 1/2: many snapshots
    locate an eigenvector well even where the ratio is below 2. It is negative, too, where no equation is left over to tell the noise
    by. Error bars follow from the pseudo-inverse of G, that is, from the Cramer-Rao bound, which the polish attains unless noise is
    large; `smooth` does not enter them. In the iterative path they take the signals for given and are a little too small.

    References
    ----------
    .. [1] Ling and Strohmer, Self-calibration and bilinear inverse problems via linear least squares, SIAM J. Imaging Sci. 11, 2018.
       The three models, and the linear and the spectral method. Elimination, weights, polish and certificate are ours.
    .. [2] Li, Lee and Bresler, Blind gain and phase calibration via sparse spectral methods, IEEE Trans. Inf. Theory 65, 2019.
       Truncated power iteration.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import self_calibrate
    >>> rng = np.random.default_rng(0)
    >>> A, X = rng.standard_normal((40, 10)), rng.standard_normal((30, 10))
    >>> d = rng.uniform(0.5, 1.5, 40)
    >>> Y = d * (X @ A.T) + 1e-3 * rng.standard_normal((30, 40))
    >>> result = self_calibrate(Y, A)
    >>> result.verdict, bool(abs(result.d - d / d.mean()).max() < 0.01)
    ('identifiable', True)
    """
    _checks.choice(NAME, "method", method, METHODS)
    options = Options(
        method,
        _checks.integer(NAME, "reweight", reweight),
        _checks.real(NAME, "smooth", smooth, 0.0),
        _checks.choice(NAME, "unit_modulus", unit_modulus, (False, True)),
    )
    _checks.choice(NAME, "x_error", x_error, (False, True))
    steps = _checks.integer(NAME, "max_iter", max_iter)
    most = steps if method == "polished" and not options.smooth else 0
    door, problem, dead = enter(Y, A, model)
    bounds = _given.noise_bounds(noise, dead)
    convention = rule(NAME, normalize, dead)
    options = _given.with_known(problem, options, known, dead)
    sizes = _given.levels(bounds, options)
    problem, options = _given.whitened(problem, options, sizes, dead)
    bounds = None if bounds is None else bounds / sizes
    if x_error and isinstance(problem.A, MatrixFree):
        raise ValueError(f"{NAME}: x_error needs matrices; got operators of {problem.m} channels")
    with serial_blas() if problem.p * problem.m * problem.n < SERIAL else nullcontext():
        problem = _chosen(problem, options, sparsity)
        if isinstance(problem.A, MatrixFree):
            fit, evidence, weights, found = _by_products(problem, dead, options, most, bounds, sparsity)
        else:
            fit, evidence, weights, found = _by_matrices(problem, options, most, bounds, sparsity)
            if x_error and evidence.factor is not None:
                kept = problem if found is None else problem.columns(found)
                fit = replace(fit, x_error=signal_errors(kept, fit, evidence.factor))
    about = weights * sizes**2, dead, found
    return _answer(door, problem, _given.coloured(fit, sizes), evidence, about, convention if known is None else None)


def _chosen(problem: Problem, options: Options, sparsity: int | None) -> Problem:
    """Count equations, and choose between the models with several matrices."""
    n = None if sparsity is None else _checks.integer(NAME, "sparsity", sparsity, 1, problem.n)
    known = 0 if options.places is None else options.places.size
    if problem.model != "auto":
        check_counts(counts(problem, n), known)
        return problem
    repeated, diverse = replace(problem, model=REPEATED), replace(problem, model=DIVERSE)
    check_counts(counts(repeated, n), known)
    if n is not None or isinstance(problem.A, MatrixFree) or not enough(counts(diverse, n), known):
        return repeated
    return repeated if _explains(repeated, diverse, options) else diverse


def _explains(repeated: Problem, diverse: Problem, options: Options) -> bool:
    """Say whether one signal leaves no more noise than many, after a few steps of the polish."""
    (first, free), (second, also_free) = _variance(repeated, options), _variance(diverse, options)
    if also_free < 0.5:
        return False
    margin = 1 + SURE * math.sqrt(2 / max(free, 0.5) + 2 / also_free)
    return first <= margin * second + 1e-12 * float(np.mean(np.abs(_arrays.to_numpy(repeated.Y)) ** 2))


def _variance(problem: Problem, options: Options) -> tuple[float, float]:
    """Estimate the variance of the noise, and its degrees of freedom, under a model."""
    d, made = _start(problem, options)
    return _polish.polish(problem, d, options, TRIAL).history[-1] / max(made.freedom, 0.5), made.freedom


def _by_products(
    problem: Problem, dead: np.ndarray, options: Options, most: int, noise: np.ndarray | None, sparsity: int | None
) -> Solution:
    """Find gains and signals by products with operators, and judge them."""
    found = None if sparsity is None else _pursuit.support(problem, dead, sparsity, options)
    small = problem if found is None else _pursuit.kept(problem, found)
    answer = _matrix_free.solve(small, dead, options, most, noise, "" if found is None else ON_SUPPORT)
    return answer.fit, answer.evidence, answer.weights, found


def _by_matrices(problem: Problem, options: Options, most: int, noise: np.ndarray | None, sparsity: int | None) -> Solution:
    """Find gains and signals by matrices, and judge them."""
    found = None if sparsity is None else _sparse.support(problem, sparsity, replace(options, places=None, values=None))
    small = problem if found is None else problem.columns(found)
    d, made = _start(small, options)
    root = None if options.unit_modulus or options.places is not None or not most else _certificate.fisher_root(made, d)
    fit = _polish.polish(small, d, options, most, root)
    given = "" if found is None else ON_SUPPORT
    evidence = _certificate.certify(made, fit.d, noise, options.places, given, options.unit_modulus)
    return fit, evidence, made.w * made.v**2, found


def _start(problem: Problem, options: Options) -> tuple[Array, _models.Elimination]:
    """Find gains before the polish, and the last eigenproblem."""
    xp = _arrays.namespace(problem.Y)
    v = _spectral.first_sizes(host(xp.sum(xp.abs(problem.Y) ** 2, axis=0)))
    return _spectral.gains(lambda v: _models.eliminate(problem, v), v, options)


def _answer(
    door: Door, problem: Problem, fit: Fit, evidence: Evidence, about: tuple[np.ndarray, np.ndarray, np.ndarray | None], convention: Any
) -> CalibrationResult:
    """Scale, put dead channels and entries off the support back, and warn."""
    weights, dead, found = about
    d, x = (fit.d, fit.x) if convention is None else normalized(fit.d, fit.x, convention)
    noise_std = math.sqrt(fit.history[-1] / evidence.freedom) if evidence.freedom >= 0.5 else math.inf
    noise = math.inf if np.isinf(evidence.spread).any() else noise_std
    error = _bars(noise, evidence.spread * host(_arrays.namespace(d).abs(d)))
    size = 1.0 if x is None else float(_arrays.namespace(d).linalg.vector_norm(fit.d) / _arrays.namespace(d).linalg.vector_norm(d))
    x_error = None if fit.x_error is None else spread_out(_arrays.from_numpy(_bars(noise, size * host(fit.x_error)), d), found, problem.n)
    _warn(evidence, fit)
    return CalibrationResult(
        d=door.leave(filled(d, dead, math.nan)),
        x=door.leave(x if isinstance(problem.A, MatrixFree) else spread_out(x, found, problem.n)),
        d_error=door.leave(filled(_arrays.from_numpy(error, d), dead, math.nan)),
        noise_std=noise_std,
        singular_values=evidence.singular_values,
        gap_ratio=evidence.gap_ratio,
        identifiable=evidence.identifiable,
        weights=door.leave(filled(_arrays.from_numpy(weights, d), dead, 0.0)),
        dead=door.leave_wide(_arrays.from_numpy(dead, d)),
        support=None if found is None else door.leave_wide(_arrays.from_numpy(found, d)),
        model=problem.model,
        history=fit.history,
        converged=evidence.identifiable and fit.settled,
        certificate=evidence.certificate,
        x_error=None if x_error is None else door.leave(x_error),
    )


def _bars(noise: float, size: np.ndarray) -> np.ndarray:
    """Return error bars for noise of this size; inf where it is not known, but for what is exact."""
    return noise * size if noise < math.inf else np.where(size == 0, 0.0, math.inf)


def _warn(evidence: Evidence, fit: Fit) -> None:
    if not evidence.identifiable:
        warn_unidentifiable(NAME, evidence)
    elif not fit.settled:
        text = f"{NAME}: the polish has not settled after {len(fit.history) - 1} steps; more of them need a larger max_iter"
        warnings.warn(text, ConvergenceWarning, stacklevel=4)
