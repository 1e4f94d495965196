"""Kernel ridge regression and Nystrom features."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, MultiOutputMixin, RegressorMixin, TransformerMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from lowrank_la import _arrays
from lowrank_la.estimators._conventions import REAL, seed_of
from lowrank_la.kernel_methods import KernelRidgeResult, kernel_ridge, nystrom
from lowrank_la.kernel_methods._functions import KernelLike
from lowrank_la.kernel_methods._gram import Gram


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
            rng=seed_of(self.random_state),
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
        result = nystrom(X, kernel=self.kernel, rank=rank, tol=self.tol, method=self.method, rng=seed_of(self.random_state))
        self.landmarks_, self.landmark_indices_, self.triangle_ = result.landmarks, result.indices, result.triangle
        self.kernel_, self.relative_error_, self.certificate_ = result.kernel, result.relative_error, result.certificate
        self._n_features_out = result.rank
        return result.F

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
