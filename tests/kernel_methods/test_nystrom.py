"""Nystrom approximations: what remains is semidefinite, certificates hold, every rule, kernel and library, and a run that goes on."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, _random
from lowrank_la.factor import rpcholesky
from lowrank_la.kernel_methods import RBF, Laplace, Matern, Polynomial, nystrom
from lowrank_la.kernel_methods._approximation import METHODS, ONE_BY_ONE, approximate
from lowrank_la.kernel_methods._gram import enter
from tests.factor import oracles_slices as oracles

KERNELS = [RBF(1.3), Laplace(2.0), Matern(1.5, 0.5), Matern(1.5, 1.5), Matern(1.5, 2.5), Polynomial(3, 0.5, 1.0), "linear", "cosine"]
every_method = pytest.mark.parametrize("method", METHODS)


def points(n=300, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) + 2 * rng.integers(-1, 2, (n, 1))


def matrix_of(result, X):
    """K, in double precision."""
    X = np.asarray(X, dtype=np.float64)
    return X if isinstance(result.kernel, str) else np.asarray(result.kernel(X, X))


@every_method
@settings(max_examples=15)
@given(
    n=st.integers(1, 120),
    d=st.integers(1, 6),
    seed=st.integers(0, 2**32),
    kernel=st.sampled_from(KERNELS),
    share=st.floats(0, 1),
    copies=st.integers(1, 3),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_what_remains_is_semidefinite_and_within_its_bounds(method, n, d, seed, kernel, share, copies, dtype):
    X = np.tile(np.random.default_rng(seed).standard_normal((n, d)), (copies, 1)).astype(dtype)
    rank = max(1, round(share * X.shape[0]))
    result = nystrom(X, kernel=kernel, rank=rank, method=method, rng=seed)
    K = matrix_of(result, X)
    F, trace, u = result.F.astype(np.float64), np.trace(K), np.finfo(dtype).eps
    E = K - F @ F.T
    slack = result.certificate.bound - result.error + 1e3 * u * trace  # of K itself, in its dtype
    values = np.linalg.eigvalsh(E)
    assert result.rank <= rank
    assert result.F.dtype == result.residual.dtype == dtype
    assert values[0] >= -slack
    assert abs(np.trace(E) - result.error) <= slack
    assert max(np.linalg.norm(E), values[-1]) <= result.error + slack
    assert np.all(np.abs(E) <= np.sqrt(np.outer(result.residual, result.residual)) + slack)
    if result.indices is not None:
        assert len(set(result.indices.tolist())) == result.rank
        assert np.array_equal(result.landmarks, X[result.indices])
    assert np.allclose(result.features(X), F, atol=1e-2 if dtype is np.float32 else 1e-6)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "kmeans"])
def test_columns_of_landmarks_are_exact(method):
    X = points()
    result = nystrom(X, kernel=RBF(1.0), rank=40, method=method, rng=0)
    E = matrix_of(result, X) - result.F @ result.F.T
    assert np.abs(E[:, result.indices]).max() < 1e-7
    assert np.allclose(np.triu(result.F[result.indices], 1), 0, atol=1e-14)


@every_method
def test_certificates_of_matrices_that_barely_have_the_rank(method):
    """A kernel of rank 4: four landmarks leave nothing, and no more are taken."""
    X = points(200, 4)
    result = nystrom(X, kernel="linear", rank=30, method=method, rng=0)
    assert result.rank == 4
    assert result.certificate.bound < 1e-11 * np.sum(X * X)
    assert result.relative_error < 1e-13


@pytest.mark.parametrize("method", ONE_BY_ONE)
@pytest.mark.parametrize(("first", "last"), [({"rank": 7}, {"rank": 90}), ({"tol": 0.3}, {"tol": 0.01}), ({"rank": 50}, {"rank": 50})])
def test_refine_equals_one_long_run(method, first, last):
    X = points(500)
    short, whole = (nystrom(X, kernel=RBF(1.0), method=method, rng=5, **goal) for goal in (first, last))
    before = copy.deepcopy(short)
    for result in (short.refine(**last), pickle.loads(pickle.dumps(short)).refine(**last)):
        assert np.array_equal(result.indices, whole.indices)
        np.testing.assert_allclose(result.F, whole.F, atol=1e-9)
        assert result.error == pytest.approx(whole.error, rel=1e-9)
    assert np.array_equal(short.F, before.F)
    assert np.array_equal(short.residual, before.residual)


def test_refine_after_a_tolerance_that_one_pivot_reaches():
    X = np.ones((40, 2))
    X[0] = 5
    result = nystrom(X, kernel=RBF(1.0), tol=0.5, rng=0)
    assert result.rank == 1
    assert result.refine(rank=40).rank == 2


def test_greedy_takes_the_largest_remainder_each_time():
    X = points(400, seed=3)
    result = nystrom(X, kernel=Polynomial(4), rank=25, method="greedy", rng=0)
    rest = matrix_of(result, X)
    for j in result.indices:
        assert rest[j, j] >= np.diagonal(rest).max() * (1 - 1e-9)
        rest = rest - np.outer(rest[:, j], rest[j]) / rest[j, j]


def test_uniform_takes_every_pair_of_rows_as_often():
    X, counts = np.eye(4) * np.array([1, 2, 3, 10]), np.zeros((4, 4))
    for seed in range(1200):
        i, j = sorted(nystrom(X, kernel="linear", rank=2, method="uniform", rng=seed).indices)
        counts[i, j] += 1
    assert np.sum((counts[np.triu_indices(4, 1)] - 200) ** 2 / 200) < 20  # chi-square, 5 degrees


def test_crowded_points_do_not_upset_the_elimination():
    """Uniform landmarks on a curve, far more than the rank that is left in double precision."""
    turn = np.linspace(0, 2 * np.pi, 1000)
    X = 10 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for method in METHODS:
        result = nystrom(X, kernel=RBF(2.0), rank=150, method=method, rng=0)
        E = matrix_of(result, X) - result.F @ result.F.T
        assert result.relative_error < 1e-6
        assert np.linalg.eigvalsh(E)[0] >= result.error - result.certificate.bound


def test_pivots_follow_the_law_of_one_at_a_time():
    """All ordered pairs of pivots of a 4 x 4 kernel, against their exact probabilities."""
    X = np.array([[0.0, 0], [0.3, 0.1], [1.5, 0.2], [0.2, 2.0]])
    draws, counts, expected = 2000, np.zeros((4, 4)), np.zeros((4, 4))
    K = RBF(1.0)(X, X)
    for i in range(4):
        rest = np.diagonal(K - np.outer(K[:, i], K[i]) / K[i, i]).clip(0)
        expected[i] = K[i, i] / np.trace(K) * rest / rest.sum()
    for seed in range(draws):
        i, j = nystrom(X, kernel=RBF(1.0), rank=2, rng=seed).indices
        counts[i, j] += 1
    likely = expected > 1e-12
    assert np.sum((counts - draws * expected)[likely] ** 2 / (draws * expected[likely])) < 32
    assert counts[~likely].sum() == 0


def test_errors_are_those_of_one_pivot_at_a_time():
    X = points(300)
    K = RBF(1.0)(X, X)
    ours = [nystrom(X, kernel=RBF(1.0), rank=40, rng=seed).error for seed in range(20)]
    naive = [np.trace(oracles.cholesky_one_by_one(K, 40, np.random.default_rng(seed))[1]) for seed in range(20)]
    assert np.mean(ours) == pytest.approx(np.mean(naive), rel=0.15)


def test_rules_find_what_uniform_landmarks_miss():
    """Clusters of very different sizes."""
    rng = np.random.default_rng(0)
    centres = 30 * rng.standard_normal((12, 3))
    X = np.concatenate([centre + rng.standard_normal((count, 3)) for centre, count in zip(centres, [5] * 10 + [800, 1200], strict=True)])
    errors = {method: nystrom(X, kernel=RBF(6.0), rank=60, method=method, rng=0).relative_error for method in METHODS}
    assert errors["uniform"] > 0.01
    assert all(error < errors["uniform"] / 2 for method, error in errors.items() if method != "uniform"), errors


def test_centres_are_best_where_there_are_clusters():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 5))[rng.integers(0, 40, 4000)] * 3 + 0.3 * rng.standard_normal((4000, 5))
    errors = {method: nystrom(X, kernel=RBF(2.0), rank=40, method=method, rng=0).relative_error for method in ("rpcholesky", "kmeans")}
    assert errors["kmeans"] < errors["rpcholesky"]


@pytest.mark.parametrize("tol", [0.3, 0.01, 1e-8])
@pytest.mark.parametrize("method", ONE_BY_ONE)
def test_tolerances_are_kept_and_not_overshot(tol, method):
    X = points(400)
    result = nystrom(X, kernel=RBF(1.5), tol=tol, method=method, rng=0)
    assert result.converged
    assert result.relative_error <= tol
    K = matrix_of(result, X)
    assert np.trace(K - result.F[:, :-1] @ result.F[:, :-1].T) > tol * np.trace(K)
    more = nystrom(X, kernel=RBF(1.5), tol=tol, rank=400, method=method, rng=0)
    assert np.array_equal(more.indices, result.indices)


def test_defaults_ask_for_a_hundredth_of_the_trace():
    X = points(1000, 2)
    assert nystrom(X, rng=0).relative_error <= 0.01
    hard = np.random.default_rng(0).standard_normal((400, 30))
    with pytest.warns(ConvergenceWarning, match="nystrom: 200 landmarks leave 0.5 of the trace, more than tol = 0.01"):
        result = nystrom(hard, kernel=RBF(0.1), rng=0)
    assert not result.converged


def test_error_falls_with_the_rank():
    X = points(500)
    result, errors = nystrom(X, kernel=Laplace(1.0), rank=1, rng=0), []
    for rank in (5, 20, 60, 150):
        result = result.refine(rank=rank)
        errors.append(result.error)
    assert errors == sorted(errors, reverse=True)


@given(seed=st.integers(0, 2**32), factor=st.floats(1e-6, 1e6))
@settings(max_examples=20)
def test_scaling_the_matrix_scales_the_answer(seed, factor):
    K = RBF(1.0)(points(60), points(60))
    one, other = (nystrom(c * K, kernel="precomputed", rank=15, rng=seed) for c in (1.0, factor))
    assert np.array_equal(one.indices, other.indices)
    np.testing.assert_allclose(other.F, factor**0.5 * one.F, rtol=1e-9, atol=1e-9 * factor**0.5)
    assert other.certificate.bound == pytest.approx(factor * one.certificate.bound)


def test_permuted_points_give_permuted_answers():
    """Greedy pivots do not depend on the order."""
    X, order = points(150, seed=5), np.random.default_rng(0).permutation(150)
    one, other = (nystrom(Z, kernel=Polynomial(4), rank=20, method="greedy", rng=0) for Z in (X, X[order]))
    assert np.array_equal(order[other.indices], one.indices)
    np.testing.assert_allclose(other.F, one.F[order], atol=1e-9 * np.abs(one.F).max())


@pytest.mark.parametrize("method", ["rpcholesky", "greedy", "uniform", "rls", "bless"])
def test_points_callables_and_matrices_agree(method):
    X, kernel = points(), RBF(1.5)
    options = {"rank": 30, "method": method, "rng": 3}
    by_points = nystrom(X, kernel=kernel, **options)
    by_callable = nystrom(X, kernel=lambda A, B: kernel(A, B), **options)
    by_matrix = nystrom(kernel(X, X), kernel="precomputed", **options)
    for other in (by_callable, by_matrix):
        assert np.array_equal(other.indices, by_points.indices)
        np.testing.assert_allclose(other.F, by_points.F, atol=1e-7)
    assert by_matrix.landmarks is None
    np.testing.assert_allclose(by_matrix.features(kernel(X[:9], by_points.landmarks)), by_points.F[:9], atol=1e-7)


def test_entries_are_asked_for_in_blocks_and_not_all_of_them():
    X, kernel, counted = points(2000), RBF(1.0), []

    def values(A, B):
        counted.append(A.shape[0] * B.shape[0])
        return kernel(A, B)

    nystrom(X, kernel=values, rank=100, rng=0)
    assert sum(counted) < 2000 * 101 + 256 * 2000 + 20 * 128**2  # columns, the diagonal in blocks, proposals


def test_it_is_the_factorization_of_rpcholesky():
    X = points()
    K = RBF(1.0)(X, X)
    result = nystrom(K, kernel="precomputed", rank=40, rng=0)
    other = rpcholesky(K, 40, rng=0)
    assert result.error == pytest.approx(other.error, rel=0.3)
    assert result.certificate.bound - result.error == pytest.approx(other.certificate.bound - other.error)


@pytest.mark.parametrize("kernel", ["rbf", "matern", "polynomial", "linear", "cosine", Matern(2.0, 0.5)])
def test_sparse_points(kernel):
    S = sp.random_array((300, 80), density=0.05, rng=np.random.default_rng(0), format="csc")
    result = nystrom(S, kernel=kernel, rank=30, rng=0)
    expected = nystrom(S.toarray(), kernel=result.kernel, rank=30, rng=0)
    assert np.array_equal(result.indices, expected.indices)
    np.testing.assert_allclose(result.F, expected.F, atol=1e-5)
    assert sp.issparse(result.landmarks)
    np.testing.assert_allclose(result.features(S.tocsr()[:7]), result.F[:7], atol=1e-5)
    assert result.spectral_error(rng=0).upper <= result.certificate.bound
    assert nystrom(S.tocsr(), kernel=lambda A, B: (A @ B.T).toarray(), rank=5, rng=0).rank == 5


@every_method
def test_backends(method, backend):
    X = points(200)
    expected = nystrom(X, kernel=RBF(1.2), rank=20, method=method, rng=1)
    result = nystrom(backend.array(X), kernel=RBF(1.2), rank=20, method=method, rng=1)
    np.testing.assert_allclose(backend.numpy(result.F), expected.F, atol=1e-7)
    np.testing.assert_allclose(backend.numpy(result.landmarks), expected.landmarks, atol=1e-12)
    np.testing.assert_allclose(backend.numpy(result.residual), expected.residual, atol=1e-7)
    assert result.certificate.bound == pytest.approx(expected.certificate.bound)
    b = np.random.default_rng(0).standard_normal((200, 2))
    np.testing.assert_allclose(backend.numpy(result.solve(backend.array(b), shift=0.1)), expected.solve(b, shift=0.1), atol=1e-5)
    np.testing.assert_allclose(backend.numpy(result.apply(backend.array(b[:, 0]))), expected.apply(b[:, 0]), atol=1e-6)
    np.testing.assert_allclose(backend.numpy(result.features(backend.array(X[:5]))), expected.F[:5], atol=1e-7)
    np.testing.assert_allclose(backend.numpy(result.eigh()[0]), expected.eigh()[0], atol=1e-6)
    assert result.logdet(shift=0.1) == pytest.approx(expected.logdet(shift=0.1))
    assert result.spectral_error(rng=0).upper == pytest.approx(expected.spectral_error(rng=0).upper, rel=1e-4)
    if method in ONE_BY_ONE:
        refined = result.refine(rank=30)
        assert np.array_equal(backend.numpy(refined.indices)[:20], expected.indices)


@given(n=st.integers(2, 80), seed=st.integers(0, 2**32), log_shift=st.floats(-9, 3), dtype=st.sampled_from([np.float64, np.float32]))
@settings(max_examples=40)
def test_solve_logdet_and_eigenpairs(n, seed, log_shift, dtype):
    rng = np.random.default_rng(seed)
    X, b, shift = rng.standard_normal((n, 3)).astype(dtype), rng.standard_normal((n, 2)).astype(dtype), 10.0**log_shift
    if dtype is np.float32:
        shift = max(shift, 1e-3)
    result = nystrom(X, kernel=RBF(1.0), rank=max(1, n // 3), rng=seed)
    M, u = result.F.astype(np.float64) @ result.F.T.astype(np.float64) + shift * np.eye(n), np.finfo(dtype).eps
    x = result.solve(b, shift=shift)
    assert x.dtype == dtype
    assert np.linalg.norm(M @ x - b) <= 300 * u * (np.linalg.norm(M, 2) * np.linalg.norm(x) + np.linalg.norm(b))
    assert np.allclose(result.solve(b[:, 0], shift=shift), x[:, 0], atol=300 * u * np.abs(x).max())
    assert np.allclose(result.apply(x), (M - shift * np.eye(n)) @ x, atol=1e3 * u * np.abs(x).max() * n)
    scale = abs(np.linalg.slogdet(M)[1]) + n * abs(np.log(shift)) + 1
    assert abs(result.logdet(shift=shift) - np.linalg.slogdet(M)[1]) <= 100 * n * u / min(shift, 1) + 1e-9 * scale
    values, U = result.eigh()
    assert np.allclose(U.T @ U, np.eye(result.rank), atol=200 * u)
    assert np.allclose((U * values) @ U.T, M - shift * np.eye(n), atol=200 * u * n)
    assert np.all(np.diff(values) <= 0)


def test_solve_without_a_shift_where_the_factor_is_square():
    X = points(30)
    result = nystrom(X, kernel=Laplace(1.0), rank=30, rng=0)
    b = np.random.default_rng(0).standard_normal(30)
    np.testing.assert_allclose(result.F @ (result.F.T @ result.solve(b, shift=0)), b, atol=1e-9)


def test_spectral_error_is_enclosed_and_tight():
    X, outside = points(300), 0
    for seed in range(30):
        result = nystrom(X, kernel=RBF(0.7), rank=60, rng=seed)
        exact = np.linalg.norm(matrix_of(result, X) - result.F @ result.F.T, 2)
        bounds = result.spectral_error(steps=5, delta=0.05, rng=seed)
        assert bounds.lower <= exact * (1 + 1e-9)
        assert bounds.certificate.bound == bounds.upper <= min(1.5 * exact, result.certificate.bound)
        outside += exact > bounds.upper
    assert outside <= 4  # 30 times 0.05 on average, at most


@pytest.mark.parametrize("steps", [1, 2])
def test_few_steps_give_bounds_that_hold_for_every_spectrum(steps):
    """A flat remainder with one direction that a random start hardly sees."""
    n, outside = 200, 0
    K = np.eye(n)
    K[0, 0] = 1.3
    for seed in range(60):
        result = nystrom(K, kernel="precomputed", rank=1, method="uniform", rng=seed)
        exact = np.linalg.norm(K - result.F @ result.F.T, 2)
        outside += exact > result.spectral_error(steps=steps, delta=0.1, rng=seed).upper
    assert outside <= 15


def test_float32_stops_at_its_precision():
    X = points(500, 2).astype(np.float32)
    result = nystrom(X, kernel=RBF(1.0), rank=500, rng=0)
    assert result.F.dtype == np.float32
    assert result.rank < 300
    E = matrix_of(result, X) - result.F.astype(float) @ result.F.astype(float).T
    assert max(np.trace(E), np.linalg.norm(E, 2)) <= result.certificate.bound < 0.1 * 500


def test_duplicated_points_are_chosen_once():
    X = np.repeat(points(20, 2), 15, axis=0)
    for method in METHODS:
        result = nystrom(X, kernel=RBF(0.3), rank=300, method=method, rng=0)
        assert result.rank == 20
        assert result.relative_error < 1e-10


def test_degenerate_kernels():
    for method in METHODS:
        nothing = nystrom(np.zeros((6, 2)), kernel="linear", rank=3, method=method, rng=0)
        assert nothing.rank == 0
        assert nothing.error == nothing.certificate.bound == nothing.relative_error == 0
        assert nothing.features(np.ones((2, 2))).shape == (2, 0)
        np.testing.assert_allclose(nothing.solve(np.ones(6), shift=2.0), 0.5)
        one = nystrom([[3.0]], kernel=RBF(1.0), rank=1, method=method, rng=0)
        assert one.F == 1.0
    spiked = np.diag([1e12, 1.0, 0.0, 1.0])
    assert sorted(nystrom(spiked, kernel="precomputed", rank=4, rng=0).indices) == [0, 1, 3]


def test_inputs_stay_as_they_are():
    X = points(50)
    before = X.copy()
    for method in METHODS:
        nystrom(X, rank=10, method=method, rng=0).features(X)
    assert np.array_equal(X, before)


def test_seeds_decide():
    X = points()
    for method in METHODS:
        one, two, other = (nystrom(X, kernel=RBF(1.0), rank=20, method=method, rng=seed) for seed in (0, 0, 1))
        assert np.array_equal(one.F, two.F)
        assert method == "greedy" or not np.array_equal(one.landmarks, other.landmarks)
    generator = nystrom(X, rank=5, rng=np.random.default_rng(0))
    assert np.array_equal(generator.indices, nystrom(X, rank=5, rng=np.random.default_rng(0)).indices)


def test_approximate_stops_at_whichever_comes_first():
    gram = enter("test", points(), RBF(1.0), _random.seed_of("test", 0))
    few = approximate(gram, rank=10, tol=1e-9, method="rpcholesky", seed=0)
    assert few.rank == 10
    loose = approximate(gram, rank=200, tol=0.5, method="rpcholesky", seed=0)
    assert loose.rank < 200
    assert loose.error <= 0.5 * loose.trace
    np.testing.assert_allclose(few.L, few.F[few.indices])


INDEFINITE = np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])
X = points(40)
BAD = [
    ("kernel", X, {"kernel": "gauss"}, ValueError, "nystrom: kernel must be one of 'rbf'"),
    ("kernel type", X, {"kernel": 3}, TypeError, "nystrom: kernel must be a name, a KernelFunction or a callable; got int"),
    ("method", X, {"method": "best", "rank": 3}, ValueError, "nystrom: method must be one of 'rpcholesky'"),
    ("rank", X, {"rank": 41}, ValueError, "nystrom: rank must be an integer between 1 and 40; got 41"),
    ("rank 0", X, {"rank": 0}, ValueError, "nystrom: rank must be an integer between 1 and 40; got 0"),
    ("tol", X, {"tol": 1.5}, ValueError, "nystrom: tol must be a number between 0 and 1, ends excluded; got 1.5"),
    ("no rank", X, {"method": "uniform"}, ValueError, "nystrom: rank must be given with method='uniform'; got None"),
    ("vector", X[0], {"rank": 1}, ValueError, r"nystrom: X must be 2-dimensional; got shape \(3,\)"),
    ("empty", X[:0], {"rank": 1}, ValueError, "nystrom: X must have at least one entry"),
    ("NaN", X * np.nan, {"rank": 1}, ValueError, "nystrom: X must be finite; got 120 NaN"),
    ("complex", X * 1j, {"rank": 1}, TypeError, "nystrom: X must be real"),
    ("rng", X, {"rank": 1, "rng": "x"}, TypeError, "nystrom: rng must be None, an int"),
    ("wide", X, {"kernel": "precomputed", "rank": 1}, ValueError, r"nystrom: K must be square; got shape \(40, 3\)"),
    ("negative", -np.eye(3), {"kernel": "precomputed", "rank": 1}, ValueError, "K must be positive semidefinite; got a negative diagonal"),
    ("indefinite", INDEFINITE, {"kernel": "precomputed", "rank": 3}, ValueError, "elimination leaves -3 on the diagonal, row [01]"),
    ("skew", np.triu(np.ones((9, 9))), {"kernel": "precomputed", "rank": 9}, ValueError, "nystrom: K must be Hermitian; entries differ"),
    (
        "centres of K",
        np.eye(4),
        {"kernel": "precomputed", "rank": 2, "method": "kmeans"},
        ValueError,
        "kernel must be a function of points",
    ),
    ("sparse Laplace", sp.csr_array(X), {"kernel": "laplace", "rank": 1}, TypeError, "X must be a dense array for the Laplace kernel"),
    ("sparse K", sp.eye_array(4), {"kernel": "precomputed", "rank": 1}, TypeError, "X must be a dense array if the kernel is precomputed"),
    ("sparse centres", sp.csr_array(X), {"rank": 2, "method": "kmeans"}, TypeError, "X must be a dense array with method='kmeans'"),
    ("callable shape", X, {"kernel": lambda A, B: A, "rank": 1}, ValueError, r"nystrom: kernel\(X, Y\) must have shape \(40, 40\)"),
    ("callable NaN", X, {"kernel": lambda A, B: A @ B.T * np.nan, "rank": 1}, ValueError, r"nystrom: kernel\(X, Y\) must be finite"),
]


@pytest.mark.parametrize(("X", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(X, options, error, message):
    with pytest.raises(error, match=message):
        nystrom(X, **{"rng": 0, **options})


RESULT = nystrom(X, kernel=RBF(1.0), rank=10, rng=0)
MISUSED = [
    ("rows", lambda: RESULT.solve(np.ones(39), shift=1), ValueError, r"nystrom.solve: b must have shape \(40,\); got \(39,\)"),
    ("shift", lambda: RESULT.solve(np.ones(40), shift=0), ValueError, "nystrom.solve: shift must be a number above 0; got 0"),
    ("complex b", lambda: RESULT.solve(np.ones(40) * 1j, shift=1), TypeError, "nystrom.solve: b must be real"),
    ("NaN", lambda: RESULT.apply(np.full(40, np.nan)), ValueError, "nystrom.apply: V must be finite"),
    ("logdet", lambda: RESULT.logdet(shift=-1), ValueError, "nystrom.logdet: shift must be a number above 0; got -1"),
    ("width", lambda: RESULT.features(np.ones((2, 4))), ValueError, r"nystrom.features: X_new must have shape \(2, 3\); got \(2, 4\)"),
    ("fewer", lambda: RESULT.refine(rank=9), ValueError, "nystrom.refine: rank must be an integer between 10 and 40; got 9"),
    ("neither", lambda: RESULT.refine(), ValueError, "nystrom.refine: rank or tol must be given; got neither"),
    ("at once", lambda: nystrom(X, rank=3, method="kmeans", rng=0).refine(rank=4), ValueError, "nystrom.refine: method must be one of"),
    ("steps", lambda: RESULT.spectral_error(steps=0), ValueError, "nystrom.spectral_error: steps must be an integer of at least 1; got 0"),
    ("delta", lambda: RESULT.spectral_error(delta=1), ValueError, "nystrom.spectral_error: delta must be a number between 0 and 1"),
]


@pytest.mark.parametrize(("call", "error", "message"), [case[1:] for case in MISUSED], ids=[case[0] for case in MISUSED])
def test_misused_results(call, error, message):
    with pytest.raises(error, match=message):
        call()
