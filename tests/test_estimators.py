"""scikit-learn estimators: scikit-learn's own checks, agreement with the functions, and what they add."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_diabetes, load_digits  # noqa: E402
from sklearn.kernel_ridge import KernelRidge as PeerKernelRidge  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from lowrank_la import FunctionalTucker  # noqa: E402
from lowrank_la.estimators import FunctionalTuckerRegressor, KernelRidge, Nystrom  # noqa: E402
from lowrank_la.kernel_methods import RBF, kernel_ridge, nystrom  # noqa: E402

X, Y = load_diabetes(return_X_y=True)


INDEFINITE = {  # what these checks hand over as a kernel matrix is none
    "check_positive_only_tag_during_fit": "a product less its mean entry is not positive semidefinite",
    "check_estimators_dtypes": "a float32 product, cast to float64, is positive semidefinite to single precision only",
}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [
        KernelRidge(),
        KernelRidge(solver="pcg", tol=1e-10),
        KernelRidge(solver="nystrom"),
        KernelRidge(kernel="precomputed"),
        Nystrom(),
        Nystrom(kernel="precomputed"),
        FunctionalTuckerRegressor(ranks=1, max_iter=20),
        FunctionalTuckerRegressor(format="cp", max_iter=20),
    ],
    expected_failed_checks=lambda estimator: INDEFINITE if estimator.kernel == "precomputed" else {},
)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def test_predictions_are_those_of_the_function_and_of_scikit_learn():
    model = KernelRidge(kernel=RBF(0.1), ridge=0.5, random_state=0).fit(X[:300], Y[:300])
    result = kernel_ridge(X[:300], Y[:300], kernel=RBF(0.1), ridge=0.5, rng=0)
    assert np.array_equal(model.dual_coef_, result.coefficients)
    peer = PeerKernelRidge(alpha=0.5, kernel="rbf", gamma=50).fit(X[:300], Y[:300])
    np.testing.assert_allclose(model.predict(X), peer.predict(X), rtol=1e-9)
    f, bound = model.predict(X[300:], return_bound=True)
    assert (abs(f - peer.predict(X[300:])) <= bound + 1e-9).all()
    assert model.X_fit_.shape == (300, 10)
    assert model.ridge_ == 0.5


def test_weights_and_many_targets():
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    Z = np.stack([Y, X[:, 0]], axis=1)
    model = KernelRidge(kernel=RBF(0.1), ridge=0.5).fit(X, Z, sample_weight=weights)
    peer = PeerKernelRidge(alpha=0.5, kernel="rbf", gamma=50).fit(X, Z, sample_weight=np.maximum(weights, 1e-12))
    np.testing.assert_allclose(model.predict(X), peer.predict(X), rtol=1e-5, atol=1e-6)


def test_precomputed_kernels():
    K = RBF(0.1)(X, X)
    model = KernelRidge(kernel="precomputed", ridge=0.5, solver="nystrom", rank=50, random_state=0).fit(K[:300, :300], Y[:300])
    other = KernelRidge(kernel=RBF(0.1), ridge=0.5, solver="nystrom", rank=50, random_state=0).fit(X[:300], Y[:300])
    np.testing.assert_allclose(model.predict(K[:, :300]), other.predict(X), rtol=1e-6)
    features = Nystrom(kernel="precomputed", rank=50, random_state=0).fit(K[:300, :300])
    same = Nystrom(kernel=RBF(0.1), rank=50, random_state=0).fit(X[:300])
    np.testing.assert_allclose(features.transform(K[:, :300]), same.transform(X), atol=1e-8)
    assert cross_val_score(KernelRidge(kernel="precomputed", ridge=1.0), K, Y - Y.mean()).mean() > 0.4


def test_ridges_by_leave_one_out_and_by_grids():
    model = KernelRidge(ridge="loo", random_state=0).fit(X, Y - Y.mean())
    assert model.ridge_ > 0
    search = GridSearchCV(KernelRidge(random_state=0), {"ridge": [model.ridge_ / 30, model.ridge_, model.ridge_ * 30]}, cv=5)
    assert search.fit(X, Y - Y.mean()).best_params_ == {"ridge": model.ridge_}
    assert model.result_.leave_one_out().shape == Y.shape


def test_features_in_a_pipeline():
    digits, labels = load_digits(return_X_y=True)
    transformer = Nystrom(rank=100, random_state=0)
    F = transformer.fit_transform(digits)
    expected = nystrom(digits, rank=100, rng=_seed(0))
    assert np.array_equal(F, expected.F)
    np.testing.assert_allclose(transformer.transform(digits[:9]), expected.features(digits[:9]), atol=1e-10)
    assert list(transformer.get_feature_names_out()[:2]) == ["nystrom0", "nystrom1"]
    assert transformer.relative_error_ == expected.relative_error
    assert transformer.certificate_ == expected.certificate
    assert transformer.transform(digits.astype(np.float32)).dtype == np.float64
    assert Nystrom(rank=9, random_state=0).fit_transform(digits.astype(np.float32)).dtype == np.float32
    assert Nystrom(rank=5000, random_state=0, method="greedy").fit(X).transform(X).shape[1] <= len(X)
    assert cross_val_score(make_pipeline(Nystrom(rank=100, random_state=0), Ridge(1e-3)), digits, labels).mean() > 0.7


def test_a_functional_tucker_model_is_that_of_the_class():
    rng = np.random.default_rng(0)
    points = rng.random((400, 2))
    values = np.sin(6 * points[:, 0]) * np.exp(-points[:, 1]) + 0.05 * rng.standard_normal(400)
    model = FunctionalTuckerRegressor(ranks=(2, 2), random_state=0).fit(points[:300], values[:300])
    wanted = FunctionalTucker((2, 2), held_out=0.0, rng=_seed(0)).fit(points[:300], values[:300])
    mean, std = model.predict(points[300:], return_std=True)
    assert all(np.array_equal(x, y) for x, y in zip((mean, std), wanted.predict(points[300:], return_std=True), strict=True))
    assert model.score(points[300:], values[300:]) > 0.95
    assert 0.04 < model.noise_std_ < 0.06
    assert model.certificate_.bound == 1.0
    assert FunctionalTuckerRegressor(held_out=0.2, random_state=0).fit(points, values).certificate_.bound < 0.3
    grid = np.round(10 * points) / 10
    values = np.sin(6 * grid[:, 0]) * np.exp(-grid[:, 1]) + 0.05 * rng.standard_normal(400)
    heavy = model.fit(grid, values, sample_weight=np.full(400, 4.0)).noise_std_
    assert 0.04 < heavy < 0.06  # a point of weight 4 is four points
    search = GridSearchCV(FunctionalTuckerRegressor(random_state=0), {"ranks": [1, 3]}, cv=3)
    assert search.fit(grid, values + grid[:, 1] ** 2).best_params_ == {"ranks": 3}


def _seed(random_state):
    return int(np.random.RandomState(random_state).randint(2**31 - 1))


def test_estimators_can_be_cloned_and_stored():
    model = KernelRidge(kernel="matern", ridge=0.1, random_state=3)
    assert clone(model).get_params() == model.get_params()
    model.fit(X, Y)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X), rtol=1e-10)
    regressor = FunctionalTuckerRegressor(ranks=1, random_state=3, max_iter=10, tol=1.0).fit(X[:, :3], Y)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(regressor)).predict(X[:, :3]), regressor.predict(X[:, :3]), rtol=1e-10)
    features = Nystrom(kernel="laplace", rank=20, random_state=3).fit(X)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(features)).transform(X), features.transform(X), rtol=1e-10)
    assert len(pickle.dumps(features)) < 40_000
    old = pickle.dumps(model, protocol=0).replace(b"lowrank_la.estimators._kernels", b"lowrank_la.estimators")
    np.testing.assert_allclose(pickle.loads(old).predict(X), model.predict(X), rtol=1e-10)


@pytest.mark.parametrize(
    ("estimator", "error", "text"),
    [
        (KernelRidge(ridge=-1), ValueError, "kernel_ridge: ridge must be a number above 0; got -1"),
        (KernelRidge(kernel="gauss"), ValueError, "kernel_ridge: kernel must be one of"),
        (Nystrom(method="best"), ValueError, "nystrom: method must be one of"),
        (FunctionalTuckerRegressor(ranks=0), ValueError, "FunctionalTucker: ranks must be an integer of at least 1; got 0"),
        (Nystrom(rank=0), ValueError, "nystrom: rank must be an integer between 1 and 442; got 0"),
    ],
    ids=str,
)
def test_bad_parameters(estimator, error, text):
    with pytest.raises(error, match=text):
        estimator.fit(X, Y)


def test_without_scikit_learn_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['sklearn.base'] = None\n"
        "import lowrank_la\n"
        "try:\n    import lowrank_la.estimators\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'lowrank_la.estimators needs scikit-learn: pip install "lowrank_la[sklearn]"'
