"""Regression of low rank: no matrix of the rank fits better, and by how little the answer may is said truly."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.factor import _partial, _regression, reduced_rank_regression


def problem(seed, n, d, q, *, cond=1.0, noise=1.0, complex=False):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex else 0)

    X = draw(n, d) @ np.linalg.qr(draw(d, d))[0] * np.geomspace(1, 1 / cond, d)
    X = X @ np.linalg.qr(draw(d, d))[0]
    return X, X @ draw(d, q) + noise * draw(n, q)


def oracle(X, Y, rank, ridge):
    """The minimum by Gram-Schmidt in long double and an SVD of the coordinates."""
    long = np.clongdouble if np.iscomplexobj(X) else np.longdouble
    d = X.shape[1]
    X = np.concatenate([X.astype(long), np.sqrt(np.longdouble(ridge)) * np.eye(d)]) if ridge else X.astype(long)
    Y = np.concatenate([Y.astype(long), np.zeros((len(X) - len(Y), Y.shape[1]))])
    Q = []
    for j in range(min(X.shape)):
        v = X[:, j].copy()
        for _ in range(3):
            for u in Q:
                v -= u * (u.conj() @ v)
        Q.append(v / np.sqrt((np.abs(v) ** 2).sum()))
    Q = np.stack(Q, axis=1)
    F = Q.conj().T @ Y
    outside = (np.abs(Y - Q @ F) ** 2).sum()
    sigma = np.linalg.svd(F.astype(np.complex128 if np.iscomplexobj(F) else float), compute_uv=False)
    return float(outside + (sigma[rank:].astype(np.longdouble) ** 2).sum())


def objective(X, Y, result, ridge):
    long = np.clongdouble if np.iscomplexobj(Y) else np.longdouble
    U, s, V = result.U.astype(long), result.s.astype(np.longdouble), result.V.astype(long)
    W = (U * s) @ V.conj().T
    return float((np.abs(Y - X.astype(long) @ W) ** 2).sum() + ridge * (np.abs(W) ** 2).sum())


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 30),
    d=st.integers(1, 8),
    q=st.integers(1, 8),
    log_cond=st.floats(0, 6),
    noise=st.sampled_from([0.0, 1e-6, 1.0]),
    ridge=st.sampled_from([0.0, 1e-3, 5.0]),
    complex=st.booleans(),
)
def test_no_coefficients_of_the_rank_fit_better(seed, n, d, q, log_cond, noise, ridge, complex):
    X, Y = problem(seed, n, d, q, cond=10**log_cond, noise=noise, complex=complex)
    rank = 1 + seed % min(d, q)
    result = reduced_rank_regression(X, Y, rank, ridge=ridge, rng=seed)
    true, best = objective(X, Y, result, ridge), oracle(X, Y, rank, ridge)
    size = (np.abs(Y) ** 2).sum()
    assert result.certificate.confidence == 1
    assert true - best <= result.certificate.bound * (1 + 1e-12) + 1e-15 * size
    assert result.minimum <= best + 1e-15 * size
    assert true - best <= 1e-12 * size
    assert result.certificate.bound <= 1e-10 * 10**log_cond * size
    assert result.objective == pytest.approx(true, rel=1e-9, abs=1e-13 * size)
    assert result.normal_residual <= 1e-11 * np.linalg.norm(X) * (np.linalg.norm(Y) + np.linalg.norm(X) * np.linalg.norm(result.s))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_certificates_hold_for_many_problems(dtype):
    rng = np.random.default_rng(1)
    for seed in range(300):
        d, q = rng.integers(1, 7, 2)
        X, Y = problem(seed, int(d + rng.integers(0, 25)), d, q, cond=10 ** rng.uniform(0, 3), noise=10 ** rng.uniform(-6, 1))
        X, Y = X.astype(dtype), Y.astype(dtype)
        rank, ridge = int(rng.integers(1, min(d, q) + 1)), float(rng.choice([0, 0.1]))
        result = reduced_rank_regression(X, Y, rank, ridge=ridge, rng=seed)
        true, best = objective(X, Y, result, ridge), oracle(X, Y, rank, ridge)
        assert true - best <= result.certificate.bound * (1 + 1e-12) + 1e-18 * (Y**2).sum(), seed
        assert result.minimum <= best * (1 + 1e-12), seed


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_many_responses_go_through_svd(dtype, monkeypatch):
    monkeypatch.setattr(_partial, "LARGE", 80)
    rng = np.random.default_rng(12)
    X = rng.standard_normal((200, 90)).astype(dtype)
    W = (rng.standard_normal((90, 30)) * np.geomspace(1, 0.1, 30)) @ rng.standard_normal((30, 85))
    Y = (X @ W + rng.standard_normal((200, 85))).astype(dtype)
    fast, exact = reduced_rank_regression(X, Y, 10, rng=0), reduced_rank_regression(X, Y, 10, method="exact")
    assert fast.fitted_values.shape == (10,)
    assert fast.certificate.confidence == 0.99
    assert exact.objective * (1 - 1e-5) <= fast.objective <= exact.objective * 1.02
    assert fast.minimum <= exact.objective
    assert 0 <= fast.certificate.bound <= 0.1 * fast.objective
    assert 0 <= exact.certificate.bound <= 1e-3 * exact.objective


def test_full_rank_is_least_squares_whatever_the_scales():
    X, Y = problem(3, 200, 10, 6)
    X = X * np.geomspace(1e-8, 1e8, 10)
    result = reduced_rank_regression(X, Y, 6)
    expected = np.linalg.lstsq(X / np.linalg.norm(X, axis=0), Y)[0] / np.linalg.norm(X, axis=0)[:, None]
    np.testing.assert_allclose(result.to_dense(), expected, rtol=1e-7, atol=1e-9 * abs(expected).max())
    assert result.numerical_rank == 10


def test_ill_conditioned_problems_are_solved_to_backward_error():
    X, Y = problem(4, 300, 12, 5, cond=1e10, noise=0.1)
    result = reduced_rank_regression(X, Y, 5)
    best = np.linalg.norm(Y - X @ np.linalg.lstsq(X, Y)[0]) ** 2
    assert result.objective <= best * (1 + 1e-8)


def test_the_loss_of_a_smaller_rank_is_the_tail_of_the_fitted_values():
    X, Y = problem(5, 60, 8, 7)
    full, small = reduced_rank_regression(X, Y, 7), reduced_rank_regression(X, Y, 3)
    assert small.objective - full.objective == pytest.approx((small.fitted_values[3:] ** 2).sum(), rel=1e-9)
    np.testing.assert_allclose(small.to_dense(), full.to_dense() @ projector(X @ full.to_dense(), 3), atol=1e-11)


def projector(F, rank):
    Vh = np.linalg.svd(F)[2][:rank]
    return Vh.T @ Vh


def test_rank_deficient_predictors_warn_and_give_a_finite_answer():
    X, Y = problem(6, 40, 4, 5)
    X = np.concatenate([X, X[:, :2]], axis=1)
    with pytest.warns(ConvergenceWarning, match="X has numerical rank 4 of 6"):
        result = reduced_rank_regression(X, Y, 2)
    assert result.objective == pytest.approx(reduced_rank_regression(X[:, :4], Y, 2).objective, rel=1e-12)
    assert "numerical range" in result.certificate.claim
    assert result.certificate.bound < 1e-10 * (Y**2).sum()
    with pytest.warns(ConvergenceWarning, match="rank 0 of 3"):
        zero = reduced_rank_regression(np.zeros((5, 3)), np.ones((5, 2)), 1)
    assert zero.objective == pytest.approx(10)
    assert not zero.to_dense().any()


def test_wide_predictors_and_single_rows():
    X, Y = problem(7, 5, 12, 3)
    result = reduced_rank_regression(X, Y, 3)
    assert result.objective < 1e-20 * (Y**2).sum()
    assert result.certificate.bound < 1e-11 * (Y**2).sum()
    one = reduced_rank_regression([[2.0]], [[6.0]], 1)
    assert one.to_dense()[0, 0] == pytest.approx(3)
    assert reduced_rank_regression(X[:1], 0 * Y[:1], 2).objective == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_batches_are_single_answers(dtype):
    X, Y = (np.stack(parts).astype(dtype) for parts in zip(*(problem(seed, 30, 5, 4) for seed in range(3)), strict=True))
    together = reduced_rank_regression(X, Y, 2, ridge=0.5)
    assert together.U.dtype == dtype
    tolerance = float(200 * np.finfo(dtype).eps)
    for i in range(3):
        one = reduced_rank_regression(X[i], Y[i], 2, ridge=0.5)
        np.testing.assert_allclose(together.to_dense()[i], one.to_dense(), atol=tolerance)
        assert float(together.objective[i]) == pytest.approx(one.objective, rel=tolerance)


def test_blocks_of_rows_change_nothing(monkeypatch):
    X, Y = problem(8, 100, 6, 5)
    whole = reduced_rank_regression(X, Y, 2, rng=0)
    monkeypatch.setattr(_regression, "BLOCK", 100)
    np.testing.assert_allclose(reduced_rank_regression(X, Y, 2).to_dense(), whole.to_dense(), atol=1e-12)


@pytest.mark.parametrize("n", [40, 100])
def test_works_on_every_backend(backend, n):
    X, Y = problem(9, n, 6, 5)
    result = reduced_rank_regression(backend.array(X), backend.array(Y), 2, ridge=0.1, rng=3)
    reference = reduced_rank_regression(X, Y, 2, ridge=0.1, rng=3)
    np.testing.assert_allclose(backend.numpy(result.U), reference.U, atol=1e-11)
    np.testing.assert_allclose(backend.numpy(result.to_dense()), reference.to_dense(), atol=1e-11)
    assert result.objective == pytest.approx(reference.objective, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e8])
def test_sketches_of_tall_predictors_do_not_change_the_answer(scale):
    X, Y = problem(13, 900, 20, 6, cond=1e5)
    X = X * np.geomspace(1, scale, 20)
    W = [reduced_rank_regression(X, Y, 3, rng=seed).to_dense() * np.geomspace(1, scale, 20)[:, None] for seed in range(3)]
    for other in W[1:]:
        np.testing.assert_allclose(other, W[0], atol=1e-9 * abs(W[0]).max())
    X[:, 3] = X[:, 7] * 2
    with pytest.warns(ConvergenceWarning, match="numerical rank 19 of 20"):
        reduced_rank_regression(X, Y, 3, rng=0)


def test_inputs_are_left_alone():
    X, Y = problem(10, 20, 4, 3)
    before = X.copy(), Y.copy()
    reduced_rank_regression(X[::-1], Y[::-1], 2, ridge=1.0)
    assert np.array_equal(X, before[0])
    assert np.array_equal(Y, before[1])


X, Y = problem(0, 10, 4, 3)
BAD = [
    ("rank", (X, Y, 4), {}, ValueError, "reduced_rank_regression: rank must be an integer between 1 and 3; got 4"),
    ("rows", (X, Y[:9], 1), {}, ValueError, r"Y must have 10 rows, as many as X; got shape \(9, 3\)"),
    ("vector", (X, Y[:, 0], 1), {}, ValueError, r"Y must be 2-dimensional; got shape \(10,\)"),
    ("NaN", (X * np.nan, Y, 1), {}, ValueError, "X must be finite; got 40"),
    ("empty", (X[:, :0], Y, 1), {}, ValueError, "X must have at least one entry"),
    ("method", (X, Y, 1), {"method": "svd"}, ValueError, "method must be one of 'auto', 'exact'"),
    ("ridge", (X, Y, 1), {"ridge": -1}, ValueError, "ridge must be a number of at least 0; got -1"),
    ("text", ("X", Y, 1), {}, TypeError, "X must be an array of numbers"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message), warnings.catch_warnings():
        reduced_rank_regression(*args, **options)
