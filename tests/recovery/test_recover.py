"""`recover`: gross errors, ranks that are too large, edge cases, bad input, seeds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.recovery import _operators, _recover, _subgradient, dense_gaussian, recover
from tests.recovery.problems import KINDS, error, factors, matrix, operator, spoiled

SHAPE, RANK = (16, 14), 2
COUNT = {"mask": 200, "fourier": 200}


def measured(kind, *, seed=0, share=0.2, symmetric=False, condition=2.0, shape=None, count=None):
    shape = shape or ((16, 16) if symmetric else SHAPE)
    is_complex = kind in ("complex", "fourier")
    op, _ = operator(kind, count or COUNT.get(kind, 600), shape, seed)
    M = matrix(shape, RANK, seed, symmetric=symmetric, is_complex=is_complex, condition=condition)
    y = op.apply(*factors(M, RANK))
    return op, spoiled(y, share, seed)[0], M


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gross_errors_and_a_large_rank_do_no_harm(kind, symmetric):
    op, y, M = measured(kind, symmetric=symmetric)
    result = recover(op, y, 5 * RANK, symmetric=symmetric, rng=0)
    assert error(result, M) < 1e-8
    assert result.converged
    assert (result.V is result.U) == symmetric


@pytest.mark.parametrize(("loss", "kind", "most"), [("l1", "dense", 1e-3), ("l1", "rank_one", 1e-3), ("huber", "dense", 1e-2)])
def test_the_target_holds_before_debiasing_finds_the_rank(loss, kind, most):
    op, y, M = measured(kind, count=1200, share=0.2)
    result = recover(op, y, 5 * RANK, loss=loss, debias=False, tol=1e-4, rng=0)
    assert error(result, M) < most
    assert result.rank == 5 * RANK


def test_the_published_check_of_the_symmetric_method():
    """20 x 20 of rank 2, guessed as 10, a fifth grossly wrong: squares from the same start are useless."""
    op, y, M = measured("dense", symmetric=True, shape=(20, 20))
    options = {"symmetric": True, "debias": False, "init_scale": 1e-6, "rng": 0}
    assert error(recover(op, y, 10, **options), M) < 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert error(recover(op, y, 10, loss="l2", method="gd", **options), M) > 0.4


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_smaller_start_leaves_a_purer_column_space(symmetric):
    """The leading columns turn into those of the matrix as the start shrinks, and what is left of the others vanishes."""
    op, y, M = measured("dense", symmetric=symmetric, count=900)
    P = np.linalg.svd(M)[0][:, :RANK]
    tilts, rests = [], []
    for scale in (1e-1, 1e-3, 1e-6):
        result = recover(op, y, 8, symmetric=symmetric, init_scale=scale, debias=False, tol=1e-4, rng=0)
        W, s, _ = np.linalg.svd(result.to_dense())
        tilts.append(np.linalg.norm(W[:, :RANK] - P @ (P.T @ W[:, :RANK])))
        rests.append(s[RANK])
    assert tilts[2] < tilts[1] < tilts[0] < 0.1
    assert rests[2] < rests[1] < rests[0]
    assert tilts[2] < 1e-3


@pytest.mark.parametrize("is_complex", [False, True])
def test_scores_are_derivatives_of_the_losses(is_complex):
    op, y, _ = measured("complex" if is_complex else "rank_one")
    problem = _recover._pose(op, y, 2, False, 0.1, 0)
    corner = _subgradient.CORNER * _subgradient.GAUSSIAN * problem.typical(y)
    for loss, inside in (("l1", y / abs(y)), ("huber", np.where(abs(y) < corner, y / corner, y / abs(y)))):
        z = _subgradient.score(problem, y, loss)
        np.testing.assert_allclose(z[problem.fit], inside[problem.fit], atol=1e-14)
        assert not np.any(z[problem.test])
        assert not np.any(z[problem.tune])
    assert not np.any(_subgradient.score(problem, np.zeros_like(y), "huber"))


@pytest.mark.parametrize("kind", KINDS[:4])
def test_huber_and_l1_agree_where_errors_are_gross_or_nil(kind):
    op, y, M = measured(kind, share=0.1)
    huber, l1 = (recover(op, y, 6, loss=loss, rng=0) for loss in ("huber", "l1"))
    assert error(huber, M) < 1e-8
    np.testing.assert_allclose(huber.to_dense(), l1.to_dense(), atol=1e-8)


def test_least_squares_is_useless_where_the_robust_loss_is_not():
    op, y, M = measured("dense")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert error(recover(op, y, 10, loss="l2", rng=0), M) > 0.1


@pytest.mark.parametrize("scale", [1e-1, 1e-2, 1e-3])
def test_rebalancing_makes_the_initial_scale_irrelevant(scale):
    op, y, M = measured("dense", share=0.0, shape=(20, 18), count=900)
    options = {"loss": "l2", "debias": False, "init_scale": scale, "rng": 0}
    result = recover(op, y, 6, **options)
    assert error(result, M) < 1e-6
    assert result.n_iter < 500
    with pytest.warns(ConvergenceWarning):
        assert error(recover(op, y, 6, rebalance=False, **options), M) > 1e-5


@pytest.mark.parametrize("symmetric", [False, True])
def test_scaled_gradients_bear_a_large_rank(symmetric):
    op, y, M = measured("dense", share=0.0, symmetric=symmetric, shape=(16, 16), count=900)
    result = recover(op, y, 4, loss="l2", method="scaled", symmetric=symmetric, debias=False, rng=0)
    assert error(result, M) < 1e-4


def test_plain_symmetric_descent_is_slow_and_debiasing_mends_it():
    op, y, M = measured("dense", share=0.0, symmetric=True)
    options = {"loss": "l2", "method": "gd", "symmetric": True, "max_iter": 300, "rng": 0}
    with pytest.warns(ConvergenceWarning):
        assert error(recover(op, y, 4, debias=False, **options), M) > 1e-5
    with pytest.warns(ConvergenceWarning):
        assert error(recover(op, y, 4, **options), M) < 1e-10


def test_small_singular_values_are_found_in_what_is_left():
    op, y, M = measured("dense", condition=50.0)
    result = recover(op, y, 8, rng=0)
    assert error(result, M) < 1e-8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_backend_gives_its_own_arrays(backend, dtype):
    op, _ = operator("rank_one", 600, SHAPE, convert=lambda x: backend.array(np.asarray(x, dtype)))
    _, y, M = measured("rank_one")
    result = recover(op, backend.array(y.astype(dtype)), 6, rng=0)
    assert str(result.U.dtype).endswith(np.dtype(dtype).name)
    U, V = backend.numpy(result.U), backend.numpy(result.V)
    assert np.linalg.norm(U @ V.T - M) < (1e-4 if dtype == np.float32 else 1e-8)
    assert backend.numpy(result.inliers).shape == y.shape
    np.testing.assert_allclose(backend.numpy(result.to_dense()), U @ V.T, atol=1e-6)


def test_arrays_of_matrices_and_foreign_objects_are_operators():
    op, A = operator("dense", 500, SHAPE)
    M = matrix(SHAPE, RANK)
    y = spoiled(np.einsum("lij,ij->l", A, M), 0.2)[0]

    class Foreign:
        shape = A.shape
        apply = staticmethod(lambda U, V: np.einsum("lij,ij->l", A, U @ V.T))
        adjoint_matmat = staticmethod(lambda z, V: np.tensordot(z, A, 1) @ V)
        adjoint_rmatmat = staticmethod(lambda z, U: np.tensordot(z, A, 1).T @ U)

    for form in (op, A, Foreign()):
        assert error(recover(form, y, 6, rng=0), M) < 1e-8


@given(st.integers(0, 2**32), st.floats(1e-6, 1e6))
@settings(max_examples=6)
def test_scaling_the_measurements_scales_the_matrix(seed, scale):
    op, y, M = measured("rank_one", seed=seed % 1000)
    result = recover(op, scale * y, 6, rng=seed)
    assert error(result, scale * M) < 1e-7


@given(st.integers(0, 1000))
@settings(max_examples=4)
def test_guesses_of_the_rank_agree(seed):
    op, y, M = measured("rank_one", seed=seed)
    answers = [recover(op, y, k, rng=0).to_dense() for k in (RANK, 2 * RANK, 5 * RANK)]
    for answer in answers[1:]:
        assert np.linalg.norm(answer - answers[0]) < 1e-2 * np.linalg.norm(M)


@given(st.integers(0, 1000))
@settings(max_examples=3)
def test_an_orthogonal_change_of_basis_changes_nothing_else(seed):
    _, A = operator("dense", 500, SHAPE, seed)
    M = matrix(SHAPE, RANK, seed)
    y = spoiled(np.einsum("lij,ij->l", A, M), 0.2, seed)[0]
    W = np.linalg.qr(np.random.default_rng(seed).standard_normal((16, 16)))[0]
    turned = recover(W @ A, y, 6, rng=0).to_dense()
    np.testing.assert_allclose(turned, W @ recover(A, y, 6, rng=0).to_dense(), atol=1e-8)


def test_how_wrong_outliers_are_does_not_matter():
    op, _, M = measured("dense", share=0.0)
    y = op.apply(*factors(M, RANK))
    wrong = np.random.default_rng(5).random(y.shape) < 0.2
    far, farther = (np.where(wrong, y + size * np.median(abs(y)), y) for size in (1e3, 1e6))
    one, other = (recover(op, data, 6, debias=False, rng=0) for data in (far, farther))
    np.testing.assert_array_equal(one.U, other.U)
    assert one.history == other.history


def test_seeds_reproduce_and_threads_do_not_matter():
    op, y, _ = measured("mask")
    first, again = (recover(op, y, 6, rng=3) for _ in range(2))
    np.testing.assert_array_equal(first.U, again.U)
    with limit_threads(1):
        np.testing.assert_allclose(recover(op, y, 6, rng=3).to_dense(), first.to_dense(), atol=1e-9)
    generator = recover(op, y, 6, rng=np.random.default_rng(0))
    assert not np.array_equal(generator.held_out, first.held_out)


def test_inputs_are_not_modified():
    op, y, _ = measured("dense")
    before, A = y.copy(), op.A.copy()
    recover(op, y, 6, rng=0)
    np.testing.assert_array_equal(before, y)
    np.testing.assert_array_equal(A, op.A)


@pytest.mark.parametrize("loss", ["l1", "l2", "huber"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_zero_measurements_mean_a_zero_matrix(loss, symmetric):
    op = dense_gaussian(300, (6, 6), rng=0)
    result = recover(op, np.zeros(300), 2, loss=loss, symmetric=symmetric, rng=0)
    assert result.converged
    assert not np.any(result.to_dense())
    assert result.certificate.bound == 0.0


def test_nothing_but_outliers_is_not_called_a_recovery():
    op = dense_gaussian(600, SHAPE, rng=0)
    with pytest.warns(ConvergenceWarning, match="less than half"):
        result = recover(op, np.random.default_rng(0).standard_cauchy(600), 6, rng=0)
    assert not result.converged
    assert np.isfinite(result.certificate.bound)


def test_too_few_measurements_are_told():
    op = dense_gaussian(40, SHAPE, rng=0)
    y = op.apply(*factors(matrix(SHAPE, RANK), RANK))
    with pytest.warns(ConvergenceWarning, match="do not determine the"):
        recover(op, y, 6, debias=False, rng=0)


def test_an_indefinite_matrix_is_hinted_at():
    op = dense_gaussian(800, (16, 16), rng=0)
    M = -matrix((16, 16), RANK, symmetric=True)
    with pytest.warns(ConvergenceWarning, match="symmetric=False"):
        assert not recover(op, op.apply(*factors(M, RANK)), 4, symmetric=True, rng=0).converged


@pytest.mark.parametrize("step", [1.2, 2.4, 30.0])
@pytest.mark.parametrize("method", ["subgradient", "gd", "scaled"])
def test_steps_that_are_too_long_are_halved(method, step):
    op, y, M = measured("dense", share=0.0, count=900)
    loss = "l1" if method == "subgradient" else "l2"
    assert error(recover(op, y, 6, loss=loss, method=method, step=step, debias=loss == "l1", rng=0), M) < 1e-6


def test_matrices_in_single_precision_serve_measurements_in_double(monkeypatch):
    monkeypatch.setattr(_operators, "TILE", 50 * SHAPE[0] * SHAPE[1])
    op, _, M = measured("dense", count=500)
    small = dense_gaussian(500, SHAPE, like=np.zeros(1, np.float32), rng=0)
    U, V = factors(M, RANK)
    np.testing.assert_allclose(small.apply(U, V), op.apply(U, V), atol=1e-6)
    result = recover(small, spoiled(small.apply(U, V), 0.2)[0], 6, rng=0)
    assert result.U.dtype == np.float64
    assert error(result, M) < 1e-12


def test_full_rank_guess_and_one_column():
    op, y, M = measured("dense", count=900)
    assert error(recover(op, y, 14, rng=0), M) < 1e-8
    column = dense_gaussian(200, (8, 1), rng=0)
    u = np.arange(1.0, 9.0)[:, None]
    np.testing.assert_allclose(recover(column, column.apply(u, np.ones((1, 1))), 1, rng=0).to_dense(), u, atol=1e-8)


def test_a_large_spectral_start_also_works_without_outliers():
    op, y, M = measured("dense", share=0.0)
    for loss in ("l1", "l2"):
        assert error(recover(op, y, RANK, loss=loss, init="spectral", rng=0), M) < 1e-8


def test_gaussian_noise_costs_what_it_must():
    op, y, M = measured("dense", share=0.2, count=1200)
    y = y + 0.01 * np.random.default_rng(9).standard_normal(1200)
    result = recover(op, y, 8, rng=0)
    oracle = 0.01 * np.sqrt(RANK * (sum(SHAPE) - RANK) / 900)
    assert result.rank == RANK
    assert error(result, M) * np.linalg.norm(M) < 2.5 * oracle


OP = dense_gaussian(50, (5, 4), rng=0)
Y = np.ones(50)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: recover(OP, Y[:-1], 2), ValueError, r"recover: y must have shape \(50,\); got \(49,\)"),
        (lambda: recover(OP, Y[:, None], 2), ValueError, "recover: y must be 1-dimensional"),
        (lambda: recover(OP, np.where(Y > 0, np.nan, Y), 2), ValueError, "recover: y must be finite"),
        (lambda: recover(OP, "no", 2), TypeError, "recover: y must be an array of numbers"),
        (lambda: recover(object(), Y, 2), TypeError, "recover: op must be an array or have apply"),
        (lambda: recover(np.ones((50, 5)), Y, 2), ValueError, "recover: op must be 3-dimensional"),
        (lambda: recover(np.full((50, 5, 4), np.inf), Y, 2), ValueError, "recover: op must be finite"),
        (lambda: recover(OP, Y, 0), ValueError, "recover: rank must be an integer between 1 and 4; got 0"),
        (lambda: recover(OP, Y, 5), ValueError, "recover: rank must be an integer between 1 and 4; got 5"),
        (lambda: recover(OP, Y, 2.5), TypeError, "recover: rank must be an integer"),
        (lambda: recover(OP, Y, 2, loss="l3"), ValueError, "recover: loss must be one of 'l1', 'l2', 'huber'"),
        (lambda: recover(OP, Y, 2, method="gd"), ValueError, "recover: method must be 'subgradient' for loss"),
        (lambda: recover(OP, Y, 2, loss="l2", method="subgradient"), ValueError, "recover: method must be 'subgradient' for loss"),
        (lambda: recover(OP, Y, 2, rebalance=True), ValueError, "recover: rebalance must be 'auto' or False"),
        (lambda: recover(OP, Y, 2, symmetric=True), ValueError, "recover: op must measure square matrices"),
        (lambda: recover(OP, Y, 2, init="zero"), ValueError, "recover: init must be one of"),
        (lambda: recover(OP, Y, 2, init_scale=0.0), ValueError, "recover: init_scale must be a number above 0"),
        (lambda: recover(OP, Y, 2, step=-1.0), ValueError, "recover: step must be a number above 0"),
        (lambda: recover(OP, Y, 2, max_iter=0), ValueError, "recover: max_iter must be an integer of at least 1"),
        (lambda: recover(OP, Y, 2, tol=0.0), ValueError, "recover: tol must be a number above 0"),
        (lambda: recover(OP, Y, 2, validation=0.7), ValueError, "recover: validation must be a number between 0 and 0.5"),
        (lambda: recover(OP, Y, 2, rng="no"), TypeError, "recover: rng must be None, an int"),
        (lambda: recover(operator("complex", 50, (5, 4))[0], Y, 2), TypeError, "recover: y must be complex if op is"),
    ],
)
def test_bad_input_is_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
