"""`FunctionalTucker`: a function of several continuous variables from scattered noisy values, with its uncertainty."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.functional_tucker import _data, _fit, _options, _predict, _saved, _spectrum, _stream
from lowrank_la.functional_tucker._ascent import Rules
from lowrank_la.functional_tucker._calibration import Calibration, certificate
from lowrank_la.functional_tucker._fit import Fitted
from lowrank_la.functional_tucker._options import NAME, Options
from lowrank_la.functional_tucker._published import predict as predict_as_published


class FactorValues(NamedTuple):
    """Posterior of the functions of one mode at some points: means (n, R) and covariances (n, R, R) across the functions."""

    mean: Array
    covariance: Array


class FunctionalTucker:
    """Learn a function of K continuous variables from scattered noisy values: a Tucker model with Gaussian processes as factors.

    f(x) = W x_1 u_1(x_1) ... x_K u_K(x_K), where the R_k functions u_k of each coordinate are Gaussian processes, the core W is normal
    and the precision of the noise has a Gamma prior. Their posterior is approximated by independent ones for u_1 .. u_K, W and noise.

    Parameters
    ----------
    ranks : int or sequence of K ints, each >= 1
        R_k; an int stands for all modes.
    kernel : str or sequence of K of them
        "matern12", "matern32", "matern52", "rbf-approx", "iid" (values at different coordinates have nothing to do with each other: for
        categories), or "periodic".
    lengthscale : float or sequence of K floats, > 0
        Of the processes, in units of the range of a coordinate; where learning starts. For periodic modes it is moved into
        period / 30 to period / 3.
    period : float or sequence of K floats or None
        Of periodic modes, in the units of the coordinate.
    format : {"tucker", "cp"}
        "cp": W has ones on the superdiagonal, and all ranks are equal.
    variance : float, > 0
        Of the processes under the prior, for values of variance 1; where learning starts.
    core_posterior : {"auto", "full", "independent"}
        Covariance of the core: all of it, or variances of independent entries. "auto": all up to 2000 entries.
    learn : bool
        Choose lengthscales, variances, and the variance of the core's entries by the evidence bound, up to sweep 30; up to 10,000 data, a
        few sweeps first try others: all ten times as long, or one a fifth.
    noise_prior : pair of floats, > 0
        Shape and rate of the Gamma prior of the noise's precision, in units where the values have variance 1.
    n_init : int, n_init >= 1
        Starts: one from the data in bins, the others random. The largest evidence bound wins.
    max_iter : int, max_iter >= 1
        Sweeps over all modes, at most.
    tol : float, tol >= 0
        Sweeps end when the evidence bound grows by less than this share of its size, or of the number of data if that is larger.
    held_out : float, 0 <= held_out < 1
        Share of the data that is kept out of a first fit, to check its intervals; a second fit, which starts from the first, takes all.
    as_published : bool
        Run the algorithm of the authors' code with its defects, which the Notes list, for comparison: damped updates, no
        learning, no evidence bound. All ranks must be equal.
    rng : None, int or numpy.random.Generator
        Decides which data are held out, and random starts.

    Attributes
    ----------
    elbo_ : float
        Evidence bound: a lower bound of the logarithm of the density of the values. After `partial_fit` it lacks a constant.
    elbo_trace_ : list of float
        After each sweep of the last run, ascending.
    n_iter_, converged_ : int, bool
        Sweeps in all, and whether the last run met `tol`.
    noise_std_ : float
        Root of the expected variance of the noise of a datum of weight 1, in the units of the values.
    lengthscales_ : tuple of K floats
        In the units of the coordinates.
    ranks_, effective_ranks_ : tuples of K ints
        Of the model; and how many singular values of the posterior mean are at least a thousandth of the largest, in each mode.
    core_ : NumPy array (R_1, ..., R_K)
        Mean of the core, for standardized values.
    n_dropped_ : int
        Values that were NaN.
    calibration_ : Calibration or None
        How the intervals did on held-out values.
    certificate_ : Certificate
        Bounds the probability that a 90% interval misses a new value, with confidence 0.95, if it is drawn like those held out.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.

    See Also
    --------
    functional_tucker_ls : The same kind of function by penalized least squares, as polynomials that can be integrated and so on.

    Notes
    -----
    Coordinate ascent: each mode in turn by a Kalman filter and smoother over its distinct coordinates, then the core, then the noise,
    each the exact optimum given the others, so that the evidence bound never falls. After a sweep, the factors of each mode change
    to the coordinates that are best for the bound, which saves most of the sweeps that coordinate ascent needs.

    Cost of a sweep: N prod_{j != k} R_j (R_j + 1) / 2 for each mode k, plus prod_j R_j (R_j + 1) / 2 for each distinct coordinate,
    plus 15 (q R_k)^3 for it, q states a process; the core P^3 for P = prod R_k entries. Memory: K (4 K + 16) bytes for each
    datum, (P^2) / 2^(K - 2) numbers, and 4 (q R_k)^2 numbers for each distinct coordinate. All is computed in float64.

    Certificate: Clopper and Pearson's limit for the number of held-out values that miss their intervals. It speaks of the fit without
    them; the fit to all data starts from there. After `partial_fit` it speaks of the new data, as predicted before they came.

    What differs from the authors' code [1]_ : that contracts the core along the wrong axes in some modes, adds a spurious prior at
    each coordinate, starts the filter from a random mean, interpolates as if the values on both sides were independent, extrapolates
    with a negative variance, leaves out the core's prior and its variance, and damps parallel updates. `as_published` does the
    same, but for the negative variance, where it does what is right.

    References
    ----------
    .. [1] Fang, Yu, Wang, Li, Kirby and Zhe, Functional Bayesian Tucker decomposition for continuous-indexed tensor data,
       ICLR 2024. The model; its conditional expectation propagation is coordinate ascent here.
    .. [2] Hartikainen and Sarkka, Kalman filtering and smoothing solutions to temporal Gaussian process regression models, MLSP 2010.
    .. [3] Broderick, Boyd, Wibisono, Wilson and Jordan, Streaming variational Bayes, NeurIPS 2013. `partial_fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import FunctionalTucker
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(0, 1, (1000, 2))
    >>> y = np.sin(6 * x[:, 0]) * np.exp(-x[:, 1]) + x[:, 0] + 0.1 * rng.standard_normal(1000)
    >>> model = FunctionalTucker(2, rng=0).fit(x, y)
    >>> mean, std = model.predict([[0.5, 0.5]], return_std=True)
    >>> bool(abs(mean[0] - (np.sin(3) * np.exp(-0.5) + 0.5)) < 0.1), bool(0.08 < model.noise_std_ < 0.12)
    (True, True)
    """

    seed: int

    def __init__(
        self,
        ranks: int | Sequence[int],
        *,
        kernel: str | Sequence[str] = "matern32",
        lengthscale: float | Sequence[float] = 0.1,
        period: float | Sequence[float | None] | None = None,
        format: str = "tucker",
        variance: float = 1.0,
        core_posterior: str = "auto",
        learn: bool = True,
        noise_prior: tuple[float, float] = (1.0, 1e-6),
        n_init: int = 1,
        max_iter: int = 200,
        tol: float = 1e-4,
        held_out: float = 0.1,
        as_published: bool = False,
        rng: _random.RNG = None,
    ) -> None:
        modes = {"ranks": ranks, "kernel": kernel, "lengthscale": lengthscale, "period": period}
        model = {"format": format, "variance": variance, "core_posterior": core_posterior, "noise_prior": noise_prior}
        ascent = {"learn": learn, "n_init": n_init, "max_iter": max_iter, "tol": tol, "held_out": held_out, "as_published": as_published}
        self._options = _options.checked(Options(**modes, **model, **ascent))
        self.seed = _random.seed_of(NAME, rng)
        self._fitted: Fitted | None = None

    def __repr__(self) -> str:
        if self._fitted is None:
            return f"{NAME}, ranks {self._options.ranks}, not fitted"
        return f"{NAME}, ranks {self.ranks_}, {self.n_iter_} sweeps, evidence bound {self.elbo_:.6g}, noise {self.noise_std_:.4g}"

    def fit(
        self,
        coords: Array,
        y: Array,
        *,
        weights: Array | None = None,
        resume: bool = False,
        callback: Callable[[int, float], Any] | None = None,
    ) -> FunctionalTucker:
        """Fit to data.

        Parameters
        ----------
        coords : array (N, K), real, N >= 1
            In any order; equal coordinates, and those that differ by less than 1e-12 of their range, are the same.
        y : array (N,), real
            Values. Those that are NaN are dropped.
        weights : array (N,), not negative
            A datum of weight w counts as w equal data; next to the mean of the weights, its noise has the variance over w.
        resume : bool
            Go on from the present posterior, for at most `max_iter` sweeps, with these data. The certificate stays. With the same
            data the answer is that of one longer run.
        callback : callable
            Called with the number of sweeps and the evidence bound after each; a true answer stops.

        Returns
        -------
        FunctionalTucker
            This model.

        Raises
        ------
        ValueError
            Shapes do not fit, a coordinate or weight is not finite, a value is infinite, or there are no data with positive weights.
        TypeError
            Arrays are complex, sparse, or of different libraries.

        Warns
        -----
        ConvergenceWarning
            The bound still grew by more than `tol` when sweeps ended.
        """
        where = f"{NAME}.fit"
        earlier = self._fitted if resume else None
        data = _data.enter(where, coords, y, weights, self._options.modes if earlier is None else len(earlier.axes))
        options = self._options.spread(where, data.coords.shape[1])
        with _fit.quiet():
            self._fitted = _fit.fit(data, options, self.seed, earlier, callback)
        self._warn()
        return self

    def partial_fit(self, coords: Array, y: Array, *, weights: Array | None = None) -> FunctionalTucker:
        """Take in more data, without those that came before: for streams along the last mode, or any new data.

        What the model knows becomes the prior: the filter goes on. Coordinates may be new in any mode. The first call is `fit`.

        Parameters
        ----------
        coords, y, weights : arrays
            As for `fit`.

        Returns
        -------
        FunctionalTucker
            This model. Its calibration is that of the new values, predicted before they were taken in.

        Raises
        ------
        ValueError
            As for `fit`; or the model is `as_published`.
        TypeError
            As for `fit`.

        Warns
        -----
        ConvergenceWarning
            The bound still grew by more than `tol` when sweeps ended.

        Notes
        -----
        Cost: as for `fit` with the new data only, but the smoothers run over all distinct coordinates. Lengthscales stay. What old
        data said about a mode stays as it was said, whatever new data tell about the other modes: errors can be several times those
        of a fit to all data if batches differ much, as along the last mode, and hardly larger if they are alike.
        """
        where = f"{NAME}.partial_fit"
        if self._fitted is None:
            return self.fit(coords, y, weights=weights)
        if self._options.as_published:
            raise ValueError(f"{where}: as_published must be False; got True")
        data = _data.enter(where, coords, y, weights, len(self._fitted.axes))
        with _fit.quiet():
            self._fitted = _stream.advance(self._fitted, data, self._rules())
        self._warn()
        return self

    def predict(self, coords: Array, *, return_std: bool = False) -> Any:
        """Return predictions at any coordinates.

        Parameters
        ----------
        coords : array (Q, K), real
            Outside the range of the data, predictions return to the mean of the values.
        return_std : bool
            Return also the standard deviations of new values of weight 1: those of f(x) and of the noise together.

        Returns
        -------
        mean : array (Q,)
            Of the library, device and dtype of coords.
        std : array (Q,)
            Only with `return_std`.

        Raises
        ------
        ValueError
            Nothing was fitted, or coords have another number of columns than before or an entry that is not finite.
        TypeError
            coords are complex or sparse.
        """
        where = f"{NAME}.predict"
        fitted = self._known(where)
        door, [points] = _data.dense(where, coords=coords)
        points = _data.points(where, points, len(fitted.axes))
        how = predict_as_published if self._options.as_published else _predict.predict
        with _fit.quiet():
            f, variance = how(fitted.state, fitted.axes, _data.host(points), points[:0, 0])
        mean = door.leave(_arrays.from_numpy(fitted.scale.mean + fitted.scale.size * f, points))
        if not return_std:
            return mean
        std = fitted.scale.size * np.sqrt(variance + fitted.state.noise.variance)
        return mean, door.leave(_arrays.from_numpy(std, points))

    def factors(self, k: int, t: Array | None = None) -> FactorValues:
        """Return the posterior of the functions u_k of a mode.

        Parameters
        ----------
        k : int, 0 <= k < K
            Which mode.
        t : array (n,), optional
            Where; by default at the distinct coordinates of the data.

        Returns
        -------
        FactorValues
            mean (n, R_k) and covariance (n, R_k, R_k), of the library of t. They are determined up to an invertible matrix, which
            the core undoes.

        Raises
        ------
        ValueError
            Nothing was fitted, k is out of range, or t is not one-dimensional and finite.
        TypeError
            k is no integer, or t is complex or sparse.
        """
        where = f"{NAME}.factors"
        fitted = self._known(where)
        k = _checks.integer(where, "k", k, 0, len(fitted.axes) - 1)
        factor = fitted.state.factors[k]
        if t is None:
            return FactorValues(factor.mean.copy(), factor.cov.copy())
        door, [t] = _data.dense(where, t=t)
        _checks.finite(where, "t", _checks.ndim(where, "t", t, 1))
        values = _predict.moments_at(factor, fitted.axes[k].scaled(_data.host(t)))
        return FactorValues(*[door.leave(_arrays.from_numpy(x, t)) for x in values])

    def abscissae(self, k: int) -> np.ndarray:
        """Return the distinct coordinates (n_k,) of a mode, ascending.

        Raises
        ------
        ValueError
            Nothing was fitted, or k is out of range.
        TypeError
            k is no integer.
        """
        fitted = self._known(f"{NAME}.abscissae")
        axis = fitted.axes[_checks.integer(f"{NAME}.abscissae", "k", k, 0, len(fitted.axes) - 1)]
        return axis.start + axis.length * axis.t

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to an .npz file of plain arrays; one that is loaded from it goes on bit for bit."""
        _saved.write(path, self._options, self.seed, self._fitted)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FunctionalTucker:
        """Read a model that `save` wrote.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        options, seed, fitted = _saved.read(path)
        model = cls(**options, rng=seed)
        model._fitted = fitted
        return model

    @property
    def elbo_(self) -> float:
        """Evidence bound."""
        return self._known(NAME).trace[-1]

    @property
    def elbo_trace_(self) -> list[float]:
        """Evidence bound after each sweep of the last run."""
        return list(self._known(NAME).trace)

    @property
    def n_iter_(self) -> int:
        """Sweeps in all."""
        return self._known(NAME).n_iter

    @property
    def converged_(self) -> bool:
        """Whether the last run met the tolerance."""
        return self._known(NAME).converged

    @property
    def noise_std_(self) -> float:
        """Root of the expected variance of the noise."""
        fitted = self._known(NAME)
        return fitted.scale.size * fitted.state.noise.variance**0.5

    @property
    def lengthscales_(self) -> tuple[float, ...]:
        """Lengthscales in the units of the coordinates."""
        fitted = self._known(NAME)
        return tuple(f.prior.lengthscale * axis.length for f, axis in zip(fitted.state.factors, fitted.axes, strict=True))

    @property
    def ranks_(self) -> tuple[int, ...]:
        """Ranks of all modes."""
        return tuple(factor.mean.shape[1] for factor in self._known(NAME).state.factors)

    @property
    def effective_ranks_(self) -> tuple[int, ...]:
        """Singular values of the posterior mean, in each mode, that are at least a thousandth of the largest."""
        return _spectrum.effective_ranks(self._known(NAME).state)

    @property
    def core_(self) -> np.ndarray:
        """Mean of the core, for standardized values."""
        return _spectrum.core(self._known(NAME).state)

    @property
    def n_dropped_(self) -> int:
        """Values that were NaN."""
        return self._known(NAME).n_dropped

    @property
    def calibration_(self) -> Calibration | None:
        """How the intervals did on held-out values."""
        return self._known(NAME).calibration

    @property
    def certificate_(self) -> Certificate:
        """Bound on the probability that a 90% interval misses a new value."""
        return certificate(self._known(NAME).calibration)

    def _known(self, where: str) -> Fitted:
        if self._fitted is None:
            raise ValueError(f"{where}: the model must be fitted before; got none")
        return self._fitted

    def _rules(self) -> Rules:
        return Rules(self._options.max_iter, self._options.tol, learn=False)

    def _warn(self) -> None:
        fitted = self._known(NAME)
        if fitted.converged:
            return
        grown = fitted.trace[-1] - fitted.trace[-2] if len(fitted.trace) > 1 else float("inf")
        words = f"{NAME}: the evidence bound still grew by {grown:.3g} in the last of {len(fitted.trace)} sweeps"
        warnings.warn(words, ConvergenceWarning, stacklevel=3)
