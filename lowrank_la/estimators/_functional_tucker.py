"""Regression on a few continuous variables by `FunctionalTucker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from lowrank_la.estimators._conventions import REAL, seed_of
from lowrank_la.functional_tucker import FunctionalTucker


class FunctionalTuckerRegressor(RegressorMixin, BaseEstimator):
    """Regression on a few continuous variables by a Tucker or CP model with Gaussian processes as factors, with standard deviations.

    Parameters
    ----------
    ranks : int or sequence of int
        Functions of each column of X; as for `lowrank_la.FunctionalTucker`, like all parameters but the last. A Tucker model has
        their product of coefficients: for more than four or five columns take `format="cp"`.
    kernel : str or sequence of str
        "matern12", "matern32", "matern52", "rbf-approx", "iid" or "periodic".
    lengthscale : float or sequence of float
        In units of the range of a column; where learning starts.
    period : float or sequence of float, optional
        For "periodic" columns.
    format : {"tucker", "cp"}
        The model.
    learn : bool
        Choose lengthscales by the evidence bound.
    n_init : int
        Starts; the largest evidence bound wins.
    max_iter : int
        Sweeps, at most.
    tol : float
        Relative growth of the evidence bound at which sweeps end.
    held_out : float
        Share of the data that checks the intervals of a first fit; none by default, as `cross_val_score` and the like do so.
    random_state : int, RandomState instance or None
        Decides random starts, and which data are held out.

    Attributes
    ----------
    model_ : FunctionalTucker
        The fitted model, with `factors`, `partial_fit`, `save` and more.
    noise_std_ : float
        Standard deviation of the noise.
    certificate_ : Certificate
        Bounds the probability that a 90% interval misses a new value; 1 without held-out data.
    n_iter_ : int
        Sweeps.
    n_features_in_ : int
        Columns of X.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.estimators import FunctionalTuckerRegressor
    >>> X = np.random.default_rng(0).uniform(0, 1, (300, 2))
    >>> y = np.sin(6 * X[:, 0]) * np.exp(-X[:, 1])
    >>> bool(FunctionalTuckerRegressor(random_state=0).fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.99)
    True
    """

    def __init__(
        self,
        *,
        ranks: int | Sequence[int] = 2,
        kernel: str | Sequence[str] = "matern32",
        lengthscale: float | Sequence[float] = 0.1,
        period: float | Sequence[float | None] | None = None,
        format: str = "tucker",
        learn: bool = True,
        n_init: int = 1,
        max_iter: int = 200,
        tol: float = 1e-4,
        held_out: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.ranks = ranks
        self.kernel = kernel
        self.lengthscale = lengthscale
        self.period = period
        self.format = format
        self.learn = learn
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.held_out = held_out
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> FunctionalTuckerRegressor:
        """Fit the model.

        Parameters
        ----------
        X : array (n, d)
            Points.
        y : array (n,)
            Targets.
        sample_weight : array (n,), optional
            A point of weight w counts as w points.

        Returns
        -------
        FunctionalTuckerRegressor
            The estimator itself.
        """
        X, y = validate_data(self, X, y, dtype=REAL, y_numeric=True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        options = self.get_params(deep=False)
        seed = seed_of(options.pop("random_state"))
        self.model_ = FunctionalTucker(**options, rng=seed).fit(X, y, weights=sample_weight)
        self.noise_std_, self.certificate_, self.n_iter_ = self.model_.noise_std_, self.model_.certificate_, self.model_.n_iter_
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict targets.

        Parameters
        ----------
        X : array (m, d)
            Points. Outside the range of the training points, predictions return to their mean.
        return_std : bool
            Also return standard deviations of new targets.

        Returns
        -------
        y : array (m,)
        std : array (m,)
            Only with `return_std`.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=REAL, reset=False)
        return self.model_.predict(X, return_std=return_std)
