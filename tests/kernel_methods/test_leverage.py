"""Ridge leverage scores of kernel matrices, against an eigendecomposition of all of K."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.kernel_methods import RBF, Laplace, Matern, Polynomial, _gram, kernel_leverage_scores, nystrom
from lowrank_la.kernel_methods._leverage import landmarks

METHODS = ("exact", "recursive", "bless")


@pytest.fixture(autouse=True)
def _one_thread():
    """Small matrices only wait for each other's threads."""
    with limit_threads(1):
        yield


def points(n, d=3, seed=0, outliers=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X[rng.permutation(n)[:outliers]] *= 5
    return X


def truth(K, ridge):
    """Diagonal of K (K + ridge I)^-1, without the cancellation of 1 - ridge (K + ridge I)^-1."""
    values, V = np.linalg.eigh((K + K.T) / 2)
    values = np.maximum(values, 0)
    return (V * V) @ (values / (values + ridge))


def inside(result, scores, slack=1e-9):
    """Bounds hold up to the errors of the eigendecomposition."""
    low = np.all(result.lower <= scores * (1 + slack) + 1e-12)
    high = np.all(scores <= result.upper * (1 + slack) + 1e-12)
    return low and high and result.dimension_lower <= scores.sum() * (1 + slack) and scores.sum() <= result.dimension_upper * (1 + slack)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ridge", [1e-3, 0.1, 3.0, 1e3])
@pytest.mark.parametrize("kernel", [RBF(1.0), Laplace(2.0), Matern(1.5, nu=2.5), Polynomial(2)])
def test_bounds_hold(method, ridge, kernel):
    X = points(500, 3, outliers=15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = kernel_leverage_scores(X, kernel=kernel, ridge=ridge, method=method, rng=0)
    scores = truth(kernel(X, X), ridge)
    assert inside(result, scores)
    assert np.all((result.lower <= result.scores) & (result.scores <= result.upper))
    assert np.all(result.upper <= 1 + 1e-12)


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(1, 4), st.floats(-4, 3), st.floats(-1, 1), st.integers(0, 10**6), st.sampled_from(METHODS))
def test_bounds_hold_for_any_points(n, d, log_ridge, log_bandwidth, seed, method):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-1, 2, n)[:, None]
    X[rng.integers(0, n, n // 4)] = X[0]  # duplicates
    kernel = RBF(10.0**log_bandwidth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = kernel_leverage_scores(X, kernel=kernel, ridge=10.0**log_ridge, method=method, rng=seed)
    assert inside(result, truth(kernel(X, X), 10.0**log_ridge), 1e-8)


def test_the_sampled_norm_holds_as_often_as_it_says():
    X = points(400, 3, outliers=10)
    scores = truth(RBF(1.0)(X, X), 0.5)
    held = [inside(kernel_leverage_scores(X, kernel=RBF(1.0), ridge=0.5, method="bless", rng=seed), scores) for seed in range(60)]
    assert sum(held) >= 57


@pytest.mark.parametrize("method", ["recursive", "bless"])
def test_bounds_are_close(method):
    X = points(3000, 2, outliers=30)
    result = kernel_leverage_scores(X, kernel=RBF(1.0), ridge=1.0, method=method, rng=0)
    assert result.converged
    assert len(result.landmarks) < 500
    assert result.certificate.bound < 1
    assert np.median(result.upper / result.lower) < 1.3
    assert result.dimension_upper / result.dimension_lower < 1.02
    assert result.certificate.confidence == 0.99
    closer = kernel_leverage_scores(X, kernel=RBF(1.0), ridge=1.0, method=method, oversample=12, rng=0)
    assert closer.certificate.bound < result.certificate.bound


def test_exact_scores_are_exact():
    X = points(700, 3)
    result = kernel_leverage_scores(X, kernel=RBF(1.0), ridge=0.3)
    np.testing.assert_allclose(result.scores, truth(RBF(1.0)(X, X), 0.3), rtol=1e-7)
    assert result.method == "exact"
    assert result.certificate.confidence == 1
    assert result.certificate.bound < 1e-4
    assert len(result.landmarks) == 700


def test_automatic_choice():
    assert kernel_leverage_scores(points(2100, 2), kernel=RBF(2.0), ridge=5.0, rng=0).method == "bless"


@pytest.mark.parametrize("method", METHODS)
def test_a_ridge_below_rounding_errors_is_no_lie(method):
    X = points(300, 2)
    with pytest.warns(ConvergenceWarning, match="kernel_leverage_scores: bounds"):
        result = kernel_leverage_scores(X, kernel=RBF(3.0), ridge=1e-14, method=method, rng=0)
    assert not result.converged
    assert np.all(result.lower <= result.upper)
    assert result.dimension_lower <= 300


@pytest.mark.parametrize("method", METHODS)
def test_backends(backend, method):
    X = points(250, 3, outliers=5)
    expected = kernel_leverage_scores(X, kernel=RBF(1.0), ridge=0.5, method=method, rng=0)
    result = kernel_leverage_scores(backend.array(X), kernel=RBF(1.0), ridge=0.5, method=method, rng=0)
    for name in ("scores", "lower", "upper"):
        np.testing.assert_allclose(backend.numpy(getattr(result, name)), getattr(expected, name), rtol=1e-6)
    np.testing.assert_array_equal(backend.numpy(result.landmarks), expected.landmarks)


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_points(method):
    X = points(300, 3).astype(np.float32)
    before = X.copy()
    result = kernel_leverage_scores(X, kernel=RBF(1.0), ridge=0.1, method=method, rng=0)
    assert result.scores.dtype == np.float64
    X64 = X.astype(np.float64)
    assert inside(result, truth(RBF(1.0)(X64, X64), 0.1))
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("method", METHODS)
def test_matrices_and_functions(method):
    X = points(300, 3)
    K = RBF(1.0)(X, X)
    by_points = kernel_leverage_scores(X, kernel=RBF(1.0), ridge=0.5, method=method, rng=0)
    by_matrix = kernel_leverage_scores(K, kernel="precomputed", ridge=0.5, method=method, rng=0)
    by_function = kernel_leverage_scores(X, kernel=lambda A, B: RBF(1.0)(A, B), ridge=0.5, method=method, rng=0)
    for result in (by_matrix, by_function):
        np.testing.assert_allclose(result.scores, by_points.scores, rtol=1e-6)
        assert inside(result, truth(K, 0.5))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_points(method, dtype):
    A = (points(200, 6) * (np.random.default_rng(0).random((200, 6)) < 0.4)).astype(dtype)
    result = kernel_leverage_scores(sp.csr_array(A), kernel=RBF(1.0), ridge=0.5, method=method, rng=0)
    A = A.astype(np.float64)
    assert inside(result, truth(RBF(1.0)(A, A), 0.5), 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_edges(method):
    one = kernel_leverage_scores(np.ones((1, 2)), kernel=RBF(1.0), ridge=3.0, method=method, rng=0)
    np.testing.assert_allclose(one.scores, [0.25])
    same = kernel_leverage_scores(np.ones((50, 2)), kernel=RBF(1.0), ridge=1.0, method=method, rng=0)
    np.testing.assert_allclose(same.scores, 1 / 51, rtol=1e-6)
    zero = kernel_leverage_scores(np.zeros((9, 2)), kernel="linear", ridge=1.0, method=method, rng=0)
    assert np.all(zero.upper == 0)
    assert zero.effective_dimension == 0
    some = np.concatenate([np.zeros((5, 2)), points(60, 2)])
    some = kernel_leverage_scores(some, kernel="linear", ridge=1.0, method=method, rng=0)
    assert np.all(some.upper[:5] == 0)
    assert some.dimension_upper <= 2 + 1e-9
    large = kernel_leverage_scores(points(80, 2), kernel=RBF(1.0), ridge=1e12, method=method, rng=0)
    np.testing.assert_allclose(large.scores, 1e-12, rtol=1e-3)


def test_scores_fall_as_the_ridge_grows_and_follow_the_points():
    X = points(300, 3)
    scores = [kernel_leverage_scores(X, kernel=RBF(1.0), ridge=ridge).scores for ridge in (1e-2, 1.0, 1e2)]
    assert np.all(scores[0] >= scores[1])
    assert np.all(scores[1] >= scores[2])
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_allclose(kernel_leverage_scores(X[order], kernel=RBF(1.0), ridge=1.0).scores, scores[1][order], rtol=1e-9)
    scaled = kernel_leverage_scores(7 * RBF(1.0)(X, X), kernel="precomputed", ridge=7.0).scores
    np.testing.assert_allclose(scaled, scores[1], rtol=1e-9)


def test_threads_do_not_matter():
    X = points(2500, 3)
    answers = []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append(kernel_leverage_scores(X, kernel=RBF(1.0), ridge=5.0, method="bless", rng=3))
    np.testing.assert_array_equal(answers[0].landmarks, answers[1].landmarks)
    np.testing.assert_allclose(answers[0].scores, answers[1].scores, rtol=1e-9)


@pytest.mark.parametrize("method", ["rls", "bless"])
def test_landmarks_are_distinct_and_find_outliers(method):
    X = points(2000, 2)
    X[:6] = 30 * np.eye(6, 2) + 60 * np.eye(6, 2, -2) + 90 * np.eye(6, 2, -4)  # six points far from all and from each other
    gram = _gram.enter("test", X, RBF(1.0), 0)
    chosen = landmarks(gram, 200, method, 0)
    assert len(set(chosen)) == 200
    assert np.all((chosen >= 0) & (chosen < 2000))
    found = [np.sum(landmarks(gram, 200, method, seed) < 6) for seed in range(10)]
    assert np.mean(found) > 3 * 0.6  # uniform draws find 0.6 of the six
    np.testing.assert_array_equal(landmarks(gram, 200, method, 0), chosen)
    assert 100 < nystrom(X, kernel=RBF(1.0), rank=200, method=method, rng=0).rank <= 200  # but for those that depend on others


@pytest.mark.parametrize("method", ["rls", "bless"])
def test_landmarks_of_small_and_degenerate_kernels(method):
    gram = _gram.enter("test", points(40), RBF(1.0), 0)
    np.testing.assert_array_equal(np.sort(landmarks(gram, 40, method, 0)), np.arange(40))
    flat = _gram.enter("test", points(500, 2), "linear", 0)  # rank 2
    assert len(set(landmarks(flat, 30, method, 0))) == 30
    mostly_zero = _gram.enter("test", np.eye(100, 3), "linear", 0)
    np.testing.assert_array_equal(np.sort(landmarks(mostly_zero, 10, method, 0)), np.arange(3))


BAD = [
    (lambda: kernel_leverage_scores(points(9), ridge=0.0), ValueError, "ridge must be a number above 0"),
    (lambda: kernel_leverage_scores(points(9), ridge=1.0, method="rls"), ValueError, "method must be one of"),
    (lambda: kernel_leverage_scores(points(9), ridge=1.0, oversample=0.5), ValueError, "oversample must"),
    (lambda: kernel_leverage_scores(points(9), ridge=1.0, kernel="rfb"), ValueError, "kernel must be one of"),
    (lambda: kernel_leverage_scores(points(9), ridge=1.0, kernel=3), TypeError, "kernel must be a name"),
    (lambda: kernel_leverage_scores(points(9) * np.nan, ridge=1.0), ValueError, "X must be finite"),
    (lambda: kernel_leverage_scores(points(9) * 1j, ridge=1.0), TypeError, "X must be real"),
    (lambda: kernel_leverage_scores(np.ones(3), ridge=1.0), ValueError, "X must be 2-dimensional"),
    (lambda: kernel_leverage_scores(np.ones((0, 3)), ridge=1.0), ValueError, "X must have at least one entry"),
    (lambda: kernel_leverage_scores(points(9), ridge=1.0, rng="x"), TypeError, "rng must"),
    (lambda: kernel_leverage_scores(np.ones((3, 2)), ridge=1.0, kernel="precomputed"), ValueError, "must be square"),
]


@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_bad_input(call, kind, words):
    with pytest.raises(kind, match=f"kernel_leverage_scores: .*{words}|kernel_leverage_scores: {words}"):
        call()


@pytest.mark.parametrize("method", METHODS)
def test_indefinite_matrices_are_refused(method):
    K = np.full((60, 60), -0.5) + 1.5 * np.eye(60)
    with pytest.raises(ValueError, match="K must be positive semidefinite"):
        kernel_leverage_scores(K, kernel="precomputed", ridge=1e-3, method=method, rng=0)
