"""Kernel ridge regression: the exact answer for every solver, bounds that hold, leave-one-out against fitting again."""

import dataclasses
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.kernel_methods import (
    RBF,
    Cosine,
    Laplace,
    Matern,
    Polynomial,
    _ridge_distance,
    _ridge_problem,
    _ridge_restricted,
    kernel_ridge,
    kernel_ridge_path,
)

KERNELS = [RBF(1.0), Matern(1.5, 2.5), Matern(1.0, 0.5), Laplace(2.0), Polynomial(3, 0.5, 1.0), Polynomial(1, 1.0, 0.0), Cosine()]
SOLVERS = ["direct", "pcg", "nystrom"]


def data(n=200, d=3, t=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, d))
    y = np.sin(X[:, 0]) + X[:, -1] ** 2 if t is None else np.sin(X[:, :1] * np.arange(1, t + 1))
    return X, y + 0.1 * rng.standard_normal(y.shape)


def oracle(X, y, kernel, ridge, weights=None):
    """Coefficients in long double: solved in double, refined with residuals in long double."""
    K = kernel(X, X).astype(np.longdouble)
    w = np.ones(len(X)) if weights is None else weights
    root = np.sqrt(w.astype(np.longdouble)).reshape(-1, *[1] * (y.ndim - 1))
    G = np.sqrt(w.astype(np.longdouble))[:, None] * K * np.sqrt(w.astype(np.longdouble)) + np.longdouble(ridge) * np.eye(len(X))
    B = np.zeros(y.shape, np.longdouble)
    for _ in range(6):
        B = B + np.linalg.solve(G.astype(float), (root * y - G @ B).astype(float))
    return root * B


def objective(X, y, kernel, ridge, a, weights=None):
    K = kernel(X, X).astype(np.longdouble)
    w = np.ones(len(X)) if weights is None else weights
    return float(np.sum(w * (y - K @ a) ** 2) + ridge * (a @ K @ a))


@settings(max_examples=40)
@given(
    n=st.integers(1, 80),
    d=st.integers(1, 4),
    kernel=st.sampled_from(KERNELS),
    ridge=st.floats(1e-6, 1e3),
    weighted=st.booleans(),
    centres=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_every_solver_keeps_its_bounds(n, d, kernel, ridge, weighted, centres, seed):
    X, y = data(n, d, seed=seed)
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 2, n) * (rng.random(n) < 0.9) + 1e-3 if weighted else None
    new = rng.uniform(-3, 3, (20, d))
    a = oracle(X, y, kernel, ridge, weights)
    f, least = (kernel(new, X) @ a).astype(float), objective(X, y, kernel, ridge, a, weights)
    w = np.ones(n) if weights is None else weights
    for solver in SOLVERS:
        rank = max(1, int(centres * n)) if solver == "nystrom" else None
        result = kernel_ridge(X, y, kernel=kernel, ridge=ridge, solver=solver, rank=rank, sample_weight=weights, tol=1e-5, rng=seed)
        g, bound = result.predict(new, return_bound=True)
        assert result.converged
        assert (abs(g - f) <= bound).all()
        rounding = 1e-12 * (least + float(w @ y**2))
        assert -rounding <= result.objective - least <= result.gap + rounding
        inside = kernel(X, X) @ a - result.predict(X)
        assert np.sum(w * inside.astype(float) ** 2) <= result.gap * (1 + 1e-9) + rounding
        assert result.certificate.bound == result.error_bound
        assert result.certificate.confidence == 1


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_conjugate_gradients_equal_the_dense_solution(kernel):
    X, y = data(500, t=3)
    exact = oracle(X, y, kernel, 0.05).astype(float)
    for solver in ("direct", "pcg"):
        result = kernel_ridge(X, y, kernel=kernel, ridge=0.05, solver=solver, tol=1e-11, rng=1)
        np.testing.assert_allclose(result.coefficients, exact, atol=1e-11 / 0.05 * np.linalg.norm(y))
    assert result.n_iter < 40


def test_bounds_are_not_absurd():
    X, y = data(600)
    a = oracle(X, y, RBF(1.0), 1.0)
    f = (RBF(1.0)(X, X) @ a).astype(float)
    pcg = kernel_ridge(X, y, kernel=RBF(1.0), ridge=1.0, solver="pcg", tol=1e-3, rng=0)
    g, bound = pcg.predict(X, return_bound=True)
    assert bound.max() <= 100 * abs(g - f).max()
    restricted = kernel_ridge(X, y, kernel=RBF(1.0), ridge=1.0, solver="nystrom", rank=60, rng=0)
    excess = restricted.objective - objective(X, y, RBF(1.0), 1.0, a)
    assert excess <= restricted.gap <= 3 * excess
    g, bound = restricted.predict(X, return_bound=True)
    assert bound.max() <= 10 * abs(g - f).max()
    better = kernel_ridge(X, y, kernel=RBF(1.0), ridge=100.0, solver="nystrom", rank=200, rng=0)
    g, bound = better.predict(X, return_bound=True)
    f = (RBF(1.0)(X, X) @ oracle(X, y, RBF(1.0), 100.0)).astype(float)
    assert abs(g - f).max() <= bound.max() <= min(50 * abs(g - f).max(), 0.2 * better.error_bound)


@pytest.mark.parametrize("ridge", [0.1, 1.0, 10.0])
def test_iterations_are_few_and_do_not_grow(ridge):
    counts = []
    for n in (200, 400, 800):
        X, y = data(n)
        result = kernel_ridge(X, y, kernel=RBF(1.0), ridge=ridge, solver="pcg", rng=0)
        assert result.condition <= 11.2
        counts.append(result.n_iter)
    assert max(counts) <= 10
    plain = kernel_ridge(X, y, kernel=RBF(1.0), ridge=1e-1, solver="pcg", rank=1, rng=0)
    assert plain.n_iter > 5 * max(counts)


def test_right_hand_sides_stop_by_themselves():
    X, y = data(300, t=4)
    y[:, 1] = 0
    y[:, 2] *= 1e-200
    y[:, 3] *= 1e200
    seen = []
    result = kernel_ridge(
        X, y, kernel=RBF(1.0), ridge=0.1, solver="pcg", tol=1e-9, callback=lambda state: seen.append(state.residual), rng=0
    )
    assert len(seen) == result.n_iter
    assert (seen[-1] <= 1e-9).all()
    assert not result.coefficients[:, 1].any()
    for j in range(4):
        alone = kernel_ridge(X, y[:, j], kernel=RBF(1.0), ridge=0.1, solver="pcg", tol=1e-9, rng=0)
        scale = abs(alone.coefficients).max() or 1.0
        np.testing.assert_allclose(result.coefficients[:, j], alone.coefficients, atol=1e-7 * scale)
        assert alone.error_bound == pytest.approx(result.error_bound[j], rel=1e-3, abs=1e-300)
    assert result.certificate.bound == result.error_bound.max()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out_equals_fitting_again(solver, weighted):
    X, y = data(60, t=2)
    rng = np.random.default_rng(5)
    weights = rng.uniform(0.5, 3, 60) if weighted else None
    if weighted:
        weights[7] = 0
    options = {"kernel": RBF(1.0), "ridge": 0.3, "rng": 0, "solver": solver, "tol": 1e-12}
    result = kernel_ridge(X, y, sample_weight=weights, rank=15 if solver == "nystrom" else None, **options)
    left = result.leave_one_out()
    for i in (0, 7, 31):
        keep = np.arange(60) != i
        w = None if weights is None else weights[keep]
        if solver == "nystrom":  # ridge regression in the features of the same centres
            R = np.linalg.cholesky(RBF(1.0)(result.points, result.points)).T
            Phi = np.linalg.solve(R.T, RBF(1.0)(result.points, X)).T
            D = np.ones(59) if w is None else np.sqrt(w)
            theta = np.linalg.solve(
                (D[:, None] * Phi[keep]).T @ (D[:, None] * Phi[keep]) + 0.3 * np.eye(15), Phi[keep].T @ (D[:, None] ** 2 * y[keep])
            )
            f = Phi[i] @ theta
        else:
            f = kernel_ridge(X[keep], y[keep], sample_weight=w, **options).predict(X[i : i + 1])[0]
        np.testing.assert_allclose(left[i], y[i] - f, atol=1e-8)
    np.testing.assert_allclose(result.leave_one_out(np.array([31, 7])), left[[31, 7]], atol=1e-9)


def test_weights_are_repetitions():
    X, y = data(40)
    counts = np.random.default_rng(0).integers(0, 4, 40)
    repeated = np.repeat(X, counts, axis=0), np.repeat(y, counts)
    for kernel in ("rbf", "laplace", RBF(0.7)):
        a = kernel_ridge(X, y, kernel=kernel, ridge=0.2, sample_weight=counts, rng=0)
        b = kernel_ridge(*repeated, kernel=kernel, ridge=0.2, rng=0)
        np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-11)
        assert a.objective == pytest.approx(b.objective)


def test_the_path_is_leave_one_out_at_every_ridge():
    X, y = data(120, t=2)
    weights = np.random.default_rng(0).uniform(0.2, 2, 120)
    for w in (None, weights):
        path = kernel_ridge_path(X, y, kernel=RBF(1.0), sample_weight=w, ridges=[1e-3, 0.1, 2.0], rng=0)
        for ridge, loo, freedom in zip(path.ridges, path.loo, path.degrees_of_freedom, strict=True):
            left = kernel_ridge(X, y, kernel=RBF(1.0), ridge=ridge, sample_weight=w, rng=0).leave_one_out()
            assert np.average(np.mean(left**2, axis=1), weights=w) == pytest.approx(loo, rel=1e-9)
            root = np.ones(120) if w is None else np.sqrt(w)
            K = root[:, None] * RBF(1.0)(X, X) * root
            assert np.trace(np.linalg.solve(K + ridge * np.eye(120), K)) == pytest.approx(freedom, rel=1e-9)
        assert path.ridge == path.ridges[np.argmin(path.loo)]
        default = kernel_ridge_path(X, y, kernel=RBF(1.0), sample_weight=w, rng=0)
        assert kernel_ridge(X, y, kernel=RBF(1.0), ridge="loo", sample_weight=w, rng=0).ridge == default.ridge
        assert default.loo.min() <= path.loo.min() * 1.05


def test_the_path_of_an_approximation():
    X, y = data(300)
    whole = kernel_ridge_path(X, y, kernel=RBF(1.0), rng=0)
    part = kernel_ridge_path(X, y, kernel=RBF(1.0), rank=100, rng=0)
    assert part.rank == 100
    np.testing.assert_allclose(part.loo[:12], whole.loo[:12], rtol=1e-2)
    place = int(np.argmin(part.loo))
    less = whole.degrees_of_freedom[place] - part.degrees_of_freedom[place]
    assert -1e-9 <= less <= part.certificate.bound
    smooth = kernel_ridge_path(X, y, kernel=RBF(1.0), rank=100, ridges=[10.0], rng=0)
    assert smooth.certificate.bound <= 0.05 * smooth.degrees_of_freedom[0]
    left = kernel_ridge(X, y, kernel=RBF(1.0), ridge=part.ridge, solver="nystrom", rank=100, rng=0).leave_one_out()
    assert np.mean(left**2) == pytest.approx(part.loo[place], rel=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_backends(backend, solver):
    X, y = data(120, t=2)
    new = X[:7] + 0.1
    options = {"kernel": RBF(1.0), "ridge": 0.1, "solver": solver, "rank": 40, "tol": 1e-9, "rng": 3}
    expected = kernel_ridge(X, y, sample_weight=np.arange(120.0), **options)
    result = kernel_ridge(backend.array(X), backend.array(y), sample_weight=backend.array(np.arange(120.0)), **options)
    np.testing.assert_allclose(backend.numpy(result.coefficients), expected.coefficients, atol=1e-5)
    f, bound = result.predict(backend.array(new), return_bound=True)
    for ours, theirs, rtol in zip((f, bound), expected.predict(new, return_bound=True), (1e-6, 0.5), strict=True):
        np.testing.assert_allclose(backend.numpy(ours), theirs, rtol=rtol)
    np.testing.assert_allclose(backend.numpy(result.leave_one_out()), expected.leave_one_out(), atol=1e-5)
    np.testing.assert_allclose(backend.numpy(result.gap), expected.gap, rtol=1e-2, atol=1e-9)
    if solver == "nystrom":
        assert np.array_equal(backend.numpy(result.indices), expected.indices)
    path = kernel_ridge_path(backend.array(X), backend.array(y), kernel=RBF(1.0), rng=0)
    np.testing.assert_allclose(backend.numpy(path.loo), kernel_ridge_path(X, y, kernel=RBF(1.0), rng=0).loo, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_float32_stays_and_is_certified(solver):
    X, y = (x.astype(np.float32) for x in data(400))
    result = kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.5, solver=solver, rng=0)
    assert result.coefficients.dtype == np.float32
    assert result.converged
    exact = oracle(X.astype(float), y.astype(float), RBF(1.0), 0.5)
    f, bound = result.predict(X, return_bound=True)
    assert f.dtype == bound.dtype == np.float32
    assert (abs(f - RBF(1.0)(X.astype(float), X.astype(float)) @ exact) <= bound).all()
    assert result.predict(X).dtype == np.float32
    np.testing.assert_allclose(result.predict(X), f, atol=1e-4)
    assert result.leave_one_out().dtype == np.float32


@pytest.mark.parametrize("solver", SOLVERS)
def test_matrices_and_callables_are_kernels(solver):
    X, y = data(150)
    new = X[:9] - 0.2
    expected = kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.1, solver=solver, rank=50, rng=0)
    called = kernel_ridge(X, y, kernel=lambda A, B: RBF(1.0)(A, B), ridge=0.1, solver=solver, rank=50, rng=0)
    given = kernel_ridge(RBF(1.0)(X, X), y, kernel="precomputed", ridge=0.1, solver=solver, rank=50, rng=0)
    for result, points in ((called, new), (given, RBF(1.0)(new, X))):
        np.testing.assert_allclose(result.predict(points), expected.predict(new), atol=1e-6)
        np.testing.assert_allclose(result.leave_one_out(), expected.leave_one_out(), atol=1e-6)
        assert result.gap == pytest.approx(expected.gap, rel=1e-3, abs=1e-12)
    np.testing.assert_allclose(called.predict(new, return_bound=True)[1], expected.predict(new, return_bound=True)[1], rtol=1e-3, atol=1e-9)
    with pytest.raises(ValueError, match="return_bound must be False for a precomputed kernel"):
        given.predict(RBF(1.0)(new, X), return_bound=True)
    single = kernel_ridge(RBF(1.0)(X, X).astype(np.float32), y, kernel="precomputed", ridge=0.1, solver=solver, rank=50, rng=0)
    assert single.coefficients.dtype == np.float32
    np.testing.assert_allclose(single.predict(RBF(1.0)(new, X)), expected.predict(new), atol=1e-2)


@pytest.mark.parametrize("kernel", ["rbf", "linear", RBF(1.0)], ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
def test_sparse_points(solver, kernel):
    X, y = data(80, 5)
    X[np.random.default_rng(0).random(X.shape) < 0.7] = 0
    options = {"kernel": kernel, "ridge": 0.5, "solver": solver, "rank": 30, "tol": 1e-12, "sample_weight": 1 + np.arange(80.0), "rng": 0}
    expected = kernel_ridge(X, y, **options)
    result = kernel_ridge(sp.csr_array(X), y, **options)
    np.testing.assert_allclose(result.predict(sp.csr_array(X)), expected.predict(X), atol=1e-10)
    np.testing.assert_allclose(result.leave_one_out(), expected.leave_one_out(), atol=1e-9)
    single = kernel_ridge(sp.csr_array(X.astype(np.float32)), y, **{**options, "tol": 1e-4})
    assert single.coefficients.dtype == np.float32
    np.testing.assert_allclose(single.predict(sp.csr_array(X)), expected.predict(X), atol=1e-2)


def test_sampled_certificates_hold_with_their_confidence(monkeypatch):
    X, y = data(1000, t=2)
    problem = dataclasses.replace(_ridge_problem.enter("test", X, y, RBF(0.7), None, 0), ridge=0.1)
    model = _ridge_restricted.choose(problem, 80, 0)
    fit = _ridge_restricted.solve(model)
    exact = _ridge_distance.distance(model, fit, 0)
    monkeypatch.setattr(_ridge_distance, "EXACT", 100)
    sampled = [_ridge_distance.distance(model, fit, seed) for seed in range(50)]
    assert exact.confidence == 1
    assert {bounds.confidence for bounds in sampled} == {0.99}
    for part in ("whole", "along", "across"):
        ratios = np.array([getattr(bounds, part) / getattr(exact, part) for bounds in sampled])
        assert np.mean(ratios >= 1 - 1e-6) >= 0.99
        assert np.median(ratios) < 3
    assert kernel_ridge(X, y, kernel=RBF(0.7), ridge=0.1, solver="nystrom", rank=80, rng=0).certificate.confidence == 0.99


def test_bounds_can_be_left_out():
    X, y = data(300)
    with_bounds = kernel_ridge(X, y, solver="nystrom", rank=40, rng=0)
    without = kernel_ridge(X, y, solver="nystrom", rank=40, certificate=False, rng=0)
    assert np.array_equal(without.coefficients, with_bounds.coefficients)
    assert without.certificate.bound == without.gap == np.inf
    assert np.isinf(without.predict(X, return_bound=True)[1]).all()


def test_orthogonal_factors_take_over_for_small_ridges(monkeypatch):
    X, y = data(300)
    normal = kernel_ridge(X, y, kernel=RBF(1.0), ridge=1e-3, solver="nystrom", rank=60, rng=0)
    monkeypatch.setattr(_ridge_restricted, "NORMAL", 0.0)
    orthogonal = kernel_ridge(X, y, kernel=RBF(1.0), ridge=1e-3, solver="nystrom", rank=60, rng=0)
    np.testing.assert_allclose(orthogonal.predict(X), normal.predict(X), atol=1e-9)
    tiny = kernel_ridge(X, y, kernel=RBF(1.0), ridge=1e-12, solver="nystrom", rank=60, rng=0)
    least = np.linalg.lstsq(RBF(1.0)(X, tiny.points), y)[0]
    np.testing.assert_allclose(tiny.predict(X), RBF(1.0)(X, tiny.points) @ least, atol=1e-6)


def test_warm_starts_and_callbacks():
    X, y = data(400)
    cold = kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.1, solver="pcg", rank=10, rng=0)
    warm = kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.1, solver="pcg", rank=10, start=cold, rng=0)
    assert warm.n_iter == 0
    assert np.array_equal(warm.coefficients, cold.coefficients)
    near = kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.11, solver="pcg", rank=10, start=cold, rng=0)
    assert near.n_iter < cold.n_iter
    with pytest.warns(ConvergenceWarning, match=r"kernel_ridge: the relative residual is .* after 3 iterations, above tol = 1e-06"):
        stopped = kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.1, solver="pcg", rank=10, callback=lambda state: state.n_iter == 3, rng=0)
    assert not stopped.converged
    a = oracle(X, y, RBF(1.0), 0.1)
    f, bound = stopped.predict(X, return_bound=True)
    assert (abs(f - RBF(1.0)(X, X) @ a) <= bound).all()
    with pytest.warns(ConvergenceWarning):
        assert kernel_ridge(X, y, kernel=RBF(1.0), ridge=0.1, solver="pcg", rank=10, max_iter=2, rng=0).n_iter == 2


def test_ridges_below_rounding_errors_are_answered():
    X, y = data(150, d=1)
    with pytest.warns(ConvergenceWarning):
        direct = kernel_ridge(X, y, kernel=RBF(3.0), ridge=1e-18, rng=0)
    assert np.isfinite(direct.coefficients).all()
    assert direct.certificate.bound > 0.1
    with pytest.warns(ConvergenceWarning):
        iterated = kernel_ridge(X, y, kernel=RBF(3.0), ridge=1e-18, solver="pcg", rng=0)
    assert np.isfinite(iterated.coefficients).all()
    with pytest.warns(ConvergenceWarning):
        restricted = kernel_ridge(X, y, kernel=RBF(3.0), ridge=1e-18, solver="nystrom", rng=0)
    assert np.isfinite(restricted.predict(X)).all()


@pytest.mark.filterwarnings("ignore::lowrank_la.ConvergenceWarning")
@pytest.mark.parametrize("solver", SOLVERS)
def test_degenerate_problems(solver):
    one = kernel_ridge([[1.0]], [3.0], kernel=RBF(1.0), ridge=0.5, solver=solver, rng=0)
    np.testing.assert_allclose(one.predict([[1.0]]), 2.0)
    zero = kernel_ridge(np.zeros((4, 2)), np.ones(4), kernel="linear", ridge=1.0, solver=solver, rng=0)
    assert not zero.predict(np.ones((2, 2))).any()
    twice = kernel_ridge(np.ones((5, 2)), np.arange(5.0), kernel=RBF(1.0), ridge=1.0, solver=solver, rng=0)
    np.testing.assert_allclose(twice.predict(np.ones((1, 2))), 10 / 6)
    integers = kernel_ridge(np.arange(6).reshape(6, 1), np.arange(6), kernel="rbf", ridge=0.1, solver=solver, rng=0)
    assert integers.coefficients.dtype == np.float64
    X, y = data(30)
    before = X.copy(), y.copy()
    kernel_ridge(X, y, solver=solver, rng=0)
    assert np.array_equal(X, before[0])
    assert np.array_equal(y, before[1])


def test_answers_are_reproducible_and_can_be_stored():
    X, y = data(300)
    options = {"kernel": RBF(1.0), "ridge": 0.1, "solver": "pcg"}
    first = kernel_ridge(X, y, rng=7, **options)
    with limit_threads(1):
        second = kernel_ridge(X, y, rng=7, **options)
    np.testing.assert_allclose(first.coefficients, second.coefficients, atol=1e-10)
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_allclose(again.predict(X), first.predict(X), atol=1e-12)
    assert "training" not in repr(first)
    assert len(repr(first).splitlines()) < 20


def indefinite(n=40):
    values = np.linspace(-1, 3, n)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
    K = (Q * values) @ Q.T
    return K - np.diag(np.minimum(np.diagonal(K), 0))


X_OK, Y_OK = data(20)
BAD = [
    ("y too short", (X_OK, Y_OK[:-1]), {}, ValueError, r"kernel_ridge: y must have 20 rows, as many as X; got shape \(19,\)"),
    ("NaN in y", (X_OK, Y_OK * np.nan), {}, ValueError, "kernel_ridge: y must be finite; got 20 NaN"),
    ("NaN in X", (X_OK * np.nan, Y_OK), {}, ValueError, "kernel_ridge: X must be finite"),
    ("complex y", (X_OK, Y_OK + 0j), {}, TypeError, "kernel_ridge: y must be real"),
    ("3-d y", (X_OK, np.ones((20, 1, 1))), {}, ValueError, "y must be 1-dimensional or 2-dimensional"),
    ("no targets", (X_OK, np.ones((20, 0))), {}, ValueError, "y must have at least one entry"),
    ("ridge 0", (X_OK, Y_OK), {"ridge": 0.0}, ValueError, "ridge must be a number above 0; got 0.0"),
    ("ridge word", (X_OK, Y_OK), {"ridge": "gcv"}, ValueError, "ridge must be one of 'loo'; got 'gcv'"),
    ("kernel name", (X_OK, Y_OK), {"kernel": "gauss"}, ValueError, "kernel must be one of"),
    ("solver", (X_OK, Y_OK), {"solver": "cg"}, ValueError, "solver must be one of 'auto', 'direct', 'pcg', 'nystrom'; got 'cg'"),
    ("rank", (X_OK, Y_OK), {"rank": 21}, ValueError, "rank must be an integer between 1 and 20; got 21"),
    ("tol", (X_OK, Y_OK), {"tol": 1.5}, ValueError, "tol must be a number between 0 and 1"),
    ("max_iter", (X_OK, Y_OK), {"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
    (
        "negative weight",
        (X_OK, Y_OK),
        {"sample_weight": -np.ones(20)},
        ValueError,
        "sample_weight must not be negative, nor zero everywhere; got -1",
    ),
    ("no weight", (X_OK, Y_OK), {"sample_weight": np.zeros(20)}, ValueError, "nor zero everywhere; got 0 as the least"),
    ("weights' shape", (X_OK, Y_OK), {"sample_weight": np.ones((20, 1))}, ValueError, "sample_weight must be 1-dimensional"),
    ("rng", (X_OK, Y_OK), {"rng": "x"}, TypeError, "rng must be"),
    ("wide K", (X_OK, Y_OK), {"kernel": "precomputed"}, ValueError, "K must be square"),
    ("indefinite, direct", (indefinite(), np.ones(40)), {"kernel": "precomputed", "ridge": 0.1}, ValueError, "positive semidefinite"),
    (
        "indefinite, pcg",
        (indefinite(), np.ones(40)),
        {"kernel": "precomputed", "ridge": 0.1, "solver": "pcg", "rank": 2, "tol": 1e-9},
        ValueError,
        "positive semidefinite",
    ),
    (
        "not symmetric",
        (np.eye(20) + np.eye(20, k=1), Y_OK),
        {"kernel": "precomputed"},
        ValueError,
        "K must be symmetric; entries differ by 1",
    ),
]


@pytest.mark.parametrize(("arguments", "options", "error", "text"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(arguments, options, error, text):
    with pytest.raises(error, match=text):
        kernel_ridge(*arguments, **{"rng": 0, **options})


def test_bad_input_of_methods():
    result = kernel_ridge(X_OK, Y_OK, solver="pcg", rng=0)
    with pytest.raises(ValueError, match=r"kernel_ridge.predict: X_new must have shape \(4, 3\); got \(4, 2\)"):
        result.predict(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"kernel_ridge.leave_one_out: rows must be from 0 to 19; got 3 to 20"):
        result.leave_one_out(np.array([3, 20]))
    with pytest.raises(TypeError, match="rows must be integers"):
        result.leave_one_out(np.array([3.0]))
    with pytest.raises(ValueError, match=r"start.coefficients must have shape \(20, 2\); got \(20, 1\)"):
        kernel_ridge(X_OK, np.ones((20, 2)), solver="pcg", start=result, rng=0)
    with pytest.raises(ValueError, match="kernel_ridge_path: ridges must be positive; got -1 as the least"):
        kernel_ridge_path(X_OK, Y_OK, ridges=[1.0, -1.0])
    with pytest.raises(ValueError, match="rank must be an integer between 1 and 20"):
        kernel_ridge_path(X_OK, Y_OK, rank=0)
    with pytest.raises(ValueError, match="K must be positive semidefinite; got an eigenvalue of"):
        kernel_ridge_path(indefinite(), np.ones(40), kernel="precomputed")
