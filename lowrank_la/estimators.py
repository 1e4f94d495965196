"""scikit-learn estimators over the functions of this library; they need the extra `sklearn`.

They follow scikit-learn's conventions where those differ: NumPy arrays, `random_state`, fitted attributes with an underscore.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la.functional_tucker import FunctionalTucker
from lowrank_la.kernel_methods import KernelRidgeResult, kernel_ridge, nystrom
from lowrank_la.kernel_methods._functions import KernelLike
from lowrank_la.kernel_methods._gram import Gram

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, MultiOutputMixin, RegressorMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError('lowrank_la.estimators needs scikit-learn: pip install "lowrank_la[sklearn]"') from error

__all__ = ["FunctionalTuckerRegressor", "KernelRidge", "Nystrom"]

REAL = [np.float64, np.float32]


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
        seed = _seed(options.pop("random_state"))
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


class KernelRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Kernel ridge regression for small and large data, with a bound on the error of every prediction.

    Parameters
    ----------
    kernel : name, KernelFunction, callable or "precomputed"
        As for `lowrank_la.kernel_methods.kernel_ridge`, like all parameters but the last.
    ridge : float or "loo"
        The regulariser, `alpha` of `sklearn.kernel_ridge.KernelRidge`; "loo" chooses it by leave-one-out errors.
    solver : {"auto", "direct", "pcg", "nystrom"}
        How to solve.
    rank : int, optional
        Columns of the preconditioner, or centres.
    tol : float, optional
        Relative residual to reach.
    max_iter : int
        Products with the kernel matrix, at most.
    random_state : int, RandomState instance or None
        Decides the centres, and the sample for a bandwidth "median".

    Attributes
    ----------
    result_ : KernelRidgeResult
        Coefficients, bounds, certificate, `leave_one_out`.
    dual_coef_ : array (m,) or (m, t)
        Its coefficients.
    X_fit_ : array (m, d)
        The points they belong to: all of X, or the centres; X itself for a precomputed kernel.
    ridge_ : float
        The ridge that was used.
    n_iter_ : int
        Iterations; 1 for solvers without any.
    n_features_in_ : int
        Columns of X.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from lowrank_la.estimators import KernelRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = KernelRidge(ridge="loo", random_state=0)
    >>> bool(cross_val_score(model, X, y - y.mean()).mean() > 0.45)
    True
    """

    def __init__(
        self,
        *,
        kernel: KernelLike = "rbf",
        ridge: float | str = 1.0,
        solver: str = "auto",
        rank: int | None = None,
        tol: float | None = None,
        max_iter: int = 500,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.ridge = ridge
        self.solver = solver
        self.rank = rank
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> KernelRidge:
        """Fit the function.

        Parameters
        ----------
        X : array (n, d), or (n, n) if the kernel is "precomputed"
            Points.
        y : array (n,) or (n, t)
            Targets.
        sample_weight : array (n,), optional
            Weights of the squared residuals.

        Returns
        -------
        KernelRidge
            The estimator itself.
        """
        X, y = validate_data(self, X, y, dtype=REAL, multi_output=True, y_numeric=True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        self.result_: KernelRidgeResult = kernel_ridge(
            X,
            y,
            kernel=self.kernel,
            ridge=self.ridge,
            solver=self.solver,
            rank=None if self.rank is None else min(self.rank, X.shape[0]),
            tol=self.tol,
            max_iter=self.max_iter,
            sample_weight=sample_weight,
            rng=_seed(self.random_state),
        )
        self.dual_coef_ = self.result_.coefficients
        self.X_fit_ = X if self.result_.points is None else self.result_.points
        self.ridge_, self.n_iter_ = self.result_.ridge, max(self.result_.n_iter, 1)
        return self

    def predict(self, X: Any, return_bound: bool = False) -> Any:
        """Predict targets.

        Parameters
        ----------
        X : array (m, d), or (m, n) for a precomputed kernel
            Points.
        return_bound : bool
            Also bound how far each prediction is from that of the exact minimiser.

        Returns
        -------
        y : array (m,) or (m, t)
        bound : array like y
            Only with `return_bound`.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=REAL, reset=False)
        return self.result_.predict(X, return_bound=return_bound)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags


class Nystrom(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features whose inner products approximate a kernel, from landmarks chosen where the approximation is worst.

    Parameters
    ----------
    kernel : name, KernelFunction, callable or "precomputed"
        As for `lowrank_la.nystrom`, like all parameters but the last.
    rank : int, optional
        Landmarks, at most; n if X has fewer points.
    tol : float, optional
        Share of the trace of the kernel matrix that may be left.
    method : {"rpcholesky", "greedy", "uniform", "rls", "bless", "kmeans"}
        How landmarks are chosen.
    random_state : int, RandomState instance or None
        Decides all draws.

    Attributes
    ----------
    landmarks_ : array (k, d), or None for a precomputed kernel
        Points.
    landmark_indices_ : array (k,) or None
        Rows of X that are landmarks; None where they are no points of X.
    triangle_ : array (k, k)
        L, lower triangular; features are K(X, landmarks) L^-T.
    kernel_ : KernelFunction, callable or "precomputed"
        With every parameter known.
    relative_error_ : float
        Share of the trace that is left.
    certificate_ : Certificate
        Bounds trace, Frobenius and spectral norm of the error on the training points.
    n_features_in_ : int
        Columns of X.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from lowrank_la.estimators import Nystrom
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(Nystrom(rank=200, random_state=0), RidgeClassifier())
    >>> model.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.9
    True
    """

    def __init__(
        self,
        *,
        kernel: KernelLike = "rbf",
        rank: int | None = None,
        tol: float | None = None,
        method: str = "rpcholesky",
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.rank = rank
        self.tol = tol
        self.method = method
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Nystrom:
        """Choose landmarks.

        Parameters
        ----------
        X : array (n, d), or (n, n) if the kernel is "precomputed"
            Points.
        y : None
            Not used.

        Returns
        -------
        Nystrom
            The estimator itself.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Choose landmarks, and return the features of the same points, (n, k)."""
        return self._fit(X)

    def transform(self, X: Any) -> np.ndarray:
        """Map points to their features.

        Parameters
        ----------
        X : array (m, d), or (m, n) for a precomputed kernel
            Points, or kernel values between them and the n training points.

        Returns
        -------
        array (m, k)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=REAL, reset=False)
        Z = self.triangle_ if self.landmarks_ is None else self.landmarks_
        X = X[:, self.landmark_indices_] if self.landmarks_ is None else X
        door, [Z, L, X] = _arrays.enter("Nystrom.transform", Z=Z, L=self.triangle_, X=X)
        return Gram("Nystrom.transform", door, Z, self.kernel_).lift(X, Z, L)[0]

    def _fit(self, X: Any) -> np.ndarray:
        X = validate_data(self, X, dtype=REAL)
        rank = None if self.rank is None else min(self.rank, X.shape[0])
        result = nystrom(X, kernel=self.kernel, rank=rank, tol=self.tol, method=self.method, rng=_seed(self.random_state))
        self.landmarks_, self.landmark_indices_, self.triangle_ = result.landmarks, result.indices, result.triangle
        self.kernel_, self.relative_error_, self.certificate_ = result.kernel, result.relative_error, result.certificate
        self._n_features_out = result.rank
        return result.F

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _seed(random_state: Any) -> int | None:
    """Turn scikit-learn's `random_state` into `rng`."""
    return None if random_state is None else int(check_random_state(random_state).randint(2**31 - 1))
