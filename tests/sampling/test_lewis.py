"""Lewis weights: fixed points for every p, rounds as predicted, certificates, the safeguard and the convex descent."""

import math

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.kernels._engine import use_engine
from lowrank_la.sampling import _lewis, _lewis_convex, leverage_scores, lewis_weights
from tests.sampling import oracles_scores as oracles

EXPONENTS = [1, 1.3, 1.5, 2.5, 3, 3.8, 4, 6, 10]
# Rounds to a residual of 1e-10 on Gaussian data in prototypes of this iteration.
ROUNDS = {1: 23, 1.5: 14, 3: 17, 3.8: 23, 4: 24, 6: 38, 10: 65, 20: 135}


def error(result, expected):
    positive = expected > 0
    return float(np.max(abs(np.log(result.scores[positive] / expected[positive]))))


@pytest.mark.parametrize("kind", ["plain", "spiked"])
@pytest.mark.parametrize("p", EXPONENTS)
def test_weights_are_those_of_slow_certain_steps(p, kind):
    A = oracles.tall(200, 4, kind=kind)
    expected = oracles.lewis(A, p)
    result = lewis_weights(A, p, tol=1e-10, rng=0)
    assert result.converged
    assert error(result, expected) <= result.certificate.bound < 1e-7
    assert np.all(result.lower <= expected * (1 + 1e-11))
    assert np.all(expected <= result.upper * (1 + 1e-11))
    assert np.sum(result.scores) == pytest.approx(4, abs=1e-8)


@pytest.mark.parametrize("p", [*EXPONENTS, 20])
def test_residuals_are_reached_and_true(p):
    A = oracles.tall(6000, 8, 1e4)
    result = lewis_weights(A, p, rng=0)
    assert result.residual <= 1e-8
    log = abs(np.log(oracles.lewis_map(A, result.scores, p) / result.scores))
    assert abs(np.max(log) - result.residual) <= 1e-10 * p


@pytest.mark.parametrize("p", list(ROUNDS))
def test_rounds_are_few(p):
    A = np.random.default_rng(0).standard_normal((1500, 8))
    assert lewis_weights(A, p, tol=1e-10, rng=0).n_iter <= ROUNDS[p] + 1


@settings(max_examples=60)
@given(p=st.floats(1, 12), tol=st.floats(-6, -1), n=st.integers(6, 60), d=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_certificates_hold_for_rough_weights(p, tol, n, d, seed):
    A = oracles.tall(n, min(d, n), kind="spiked" if seed % 2 else "plain", seed=seed)
    fine = lewis_weights(A, p, tol=1e-11, max_iter=3000, rng=0)
    result = lewis_weights(A, p, tol=10.0**tol, max_iter=3000, rng=0)
    slack = fine.certificate.bound
    assert error(result, fine.scores) <= result.certificate.bound + slack
    assert np.all(result.lower <= fine.scores * (1 + 2 * slack))
    assert np.all(fine.scores <= result.upper * (1 + 2 * slack))


def test_certificates_are_not_absurdly_loose():
    A = oracles.tall(2000, 6)
    for p in (1, 1.5, 3, 3.9, 4, 6, 10):
        expected = lewis_weights(A, p, tol=1e-12, rng=0).scores
        result = lewis_weights(A, p, tol=1e-4, rng=0)
        assert result.certificate.bound <= (2 * p * 6) * error(result, expected)


def test_two_is_leverage():
    A = oracles.tall(5000, 7, 1e3)
    np.testing.assert_allclose(lewis_weights(A, 2, rng=0).scores, leverage_scores(A, rng=0).scores, rtol=1e-11)


@pytest.mark.parametrize("p", [1, 1.7, 3, 6, 40])
def test_one_column_has_a_closed_form(p):
    a = np.random.default_rng(0).standard_normal((300, 1))
    expected = (abs(a) ** p / np.sum(abs(a) ** p))[:, 0]
    result = lewis_weights(a, p, tol=1e-9, rng=0)
    assert error(result, expected) <= result.certificate.bound < 1e-6
    doubled = lewis_weights(np.hstack([a, 2 * a]), p, tol=1e-9, rng=0)
    assert doubled.rank == 1
    np.testing.assert_allclose(doubled.scores, expected, rtol=1e-6)


@settings(max_examples=20)
@given(p=st.sampled_from([1, 1.5, 3, 6]), seed=st.integers(0, 10**6))
def test_invariance(p, seed):
    rng = np.random.default_rng(seed)
    A, C, order = oracles.tall(200, 4, seed=seed), rng.standard_normal((4, 4)) + 3 * np.eye(4), rng.permutation(200)
    w = lewis_weights(A, p, tol=1e-11, rng=seed).scores
    np.testing.assert_allclose(lewis_weights(A @ C * 1e30, p, tol=1e-11, rng=seed).scores, w, rtol=1e-7)
    np.testing.assert_allclose(lewis_weights(A[order], p, tol=1e-11, rng=seed).scores, w[order], rtol=1e-7)
    halves = np.concatenate([A, A]) * 2 ** (-1 / p)  # every row in two equal parts
    np.testing.assert_allclose(lewis_weights(halves, p, tol=1e-11, rng=seed).scores, np.concatenate([w, w]) / 2, rtol=1e-7)


@pytest.mark.parametrize("p", [1, 3, 6])
def test_zero_rows_rank_and_blocks_on_the_diagonal(p):
    A, B = oracles.tall(100, 3), oracles.tall(150, 4, seed=1)
    w = [lewis_weights(X, p, tol=1e-11, rng=0).scores for X in (A, B)]
    both = np.zeros((300, 10))  # with zero rows, and three columns that repeat
    both[:100, :3], both[150:, 3:7] = A, B
    both[:, 7:] = both[:, :3] * 7
    result = lewis_weights(both, p, tol=1e-11, rng=0)
    assert result.rank == 7
    assert not np.any(result.scores[100:150])
    assert not np.any(result.lower[100:150])
    np.testing.assert_allclose(result.scores, np.concatenate([w[0], np.zeros(50), w[1]]), rtol=1e-8)


@pytest.mark.parametrize("p", [1, 3, 6])
def test_kinds_of_matrices_agree(p, backend):
    A = oracles.tall(400, 5)
    expected = lewis_weights(A, p, tol=1e-10, rng=0)
    result = lewis_weights(backend.array(A), p, tol=1e-10, rng=0)
    np.testing.assert_allclose(backend.numpy(result.scores), expected.scores, rtol=1e-8)
    assert str(lewis_weights(backend.array(A.astype(np.float32)), p, rng=0).scores.dtype).endswith("float64")
    for kind in (sp.csr_array(A), sp.csc_array(A), [A[:150], sp.csr_array(A[150:])], A * np.exp(1j * np.arange(400))[:, None]):
        np.testing.assert_allclose(lewis_weights(kind, p, tol=1e-10, rng=0).scores, expected.scores, rtol=1e-8)
    wide = lewis_weights(A.T[:, :50], p, rng=0)
    np.testing.assert_allclose(wide.scores, 1, rtol=1e-7)


@pytest.mark.parametrize("p", [4, 6, 10])
@pytest.mark.parametrize("halvings", [4, -1])
def test_steps_that_are_too_long_are_halved_or_replaced_by_descent(monkeypatch, p, halvings):
    """Steps beyond 4 / p diverge; without halvings the convex descent must take over."""
    A = oracles.tall(500, 6, kind="spiked")
    expected = lewis_weights(A, p, tol=1e-10, rng=0).scores
    monkeypatch.setattr(_lewis, "step_length", lambda p: 5 / p)
    monkeypatch.setattr(_lewis, "HALVINGS", halvings)
    result = lewis_weights(A, p, tol=1e-10, max_iter=2000, rng=0)
    assert result.converged
    assert error(result, expected) <= result.certificate.bound + 1e-9


@pytest.mark.parametrize("p", [2.5, 4, 8])
def test_descent_alone_reaches_the_weights_from_anywhere(p):
    from lowrank_la.sampling import _basis, _rows

    A = oracles.tall(300, 4)
    rows, basis, _ = _basis.begin(_rows.enter("test", A), 0)
    x = np.random.default_rng(0).uniform(-12, 2, 300)
    basis = _basis.begin(rows.weighted(_lewis_convex.density(x, p)), 0)[1]
    merits = []
    for _ in range(100):
        v = np.exp((1 - 2 / p) * x)
        merits.append(-np.linalg.slogdet(A.T @ (v[:, None] * A))[1] + (1 - 2 / p) * np.sum(np.exp(x)))
        x, basis = _lewis_convex.descend(rows, x, basis, p, 0)
    assert np.all(np.diff(merits) <= 1e-9)
    np.testing.assert_allclose(np.exp(x), lewis_weights(A, p, tol=1e-11, rng=0).scores, rtol=1e-7)


@pytest.mark.parametrize("p", [1, 3, 6])
def test_same_bits_for_any_number_of_threads(p):
    A = oracles.tall(20_000, 17)
    expected = lewis_weights(A, p, rng=3).scores
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert np.array_equal(lewis_weights(A, p, rng=3).scores, expected)
    finally:
        numba.set_num_threads(threads)
    with use_engine("reference"):
        np.testing.assert_allclose(lewis_weights(A, p, rng=3).scores, expected, rtol=1e-7)


def test_too_few_rounds_are_said():
    A = oracles.tall(500, 5)
    with pytest.warns(ConvergenceWarning, match=r"lewis_weights: the residual is .* after 3 rounds, above tol = 1e-08"):
        result = lewis_weights(A, 6, max_iter=3, rng=0)
    assert not result.converged
    assert result.n_iter == 3
    expected = lewis_weights(A, 6, rng=0).scores
    assert np.all(result.lower <= expected)
    assert np.all(expected <= result.upper)


def test_degenerate_matrices():
    assert lewis_weights(np.zeros((4, 2)), 1).scores.tolist() == [0.0] * 4
    assert lewis_weights([[3.0]], 1.5).scores == pytest.approx(1)
    spread = oracles.tall(300, 3) * np.logspace(-60, 60, 300)[:, None]
    result = lewis_weights(spread, 1, rng=0)
    assert result.residual <= 1e-8
    assert np.sum(result.scores) == pytest.approx(3, abs=1e-6)


def test_large_p_comes_near_to_the_round_ellipsoid():
    """For p to infinity the weights become those of the D-optimal design, whose leverage scores are at most 1."""
    A = oracles.tall(200, 3)
    result = lewis_weights(A, 200, tol=1e-5, rng=0)
    assert result.converged
    v = result.scores ** (1 - 2 / 200)
    scores = np.einsum("ij,jk,ik->i", A, np.linalg.inv(A.T @ (v[:, None] * A)), A)
    assert math.isclose(np.max(scores), 1, rel_tol=0.05)


A = np.ones((40, 3)) + np.eye(40, 3)
BAD = [
    ("p", (A, 0.5), {}, ValueError, "lewis_weights: p must be a number of at least 1; got 0.5"),
    ("infinite p", (A, np.inf), {}, ValueError, "lewis_weights: p must be a number of at least 1; got inf"),
    ("tol", (A, 1), {"tol": 0}, ValueError, "lewis_weights: tol must be a number above 0; got 0"),
    ("max_iter", (A, 1), {"max_iter": 0}, ValueError, "lewis_weights: max_iter must be an integer of at least 1; got 0"),
    ("NaN", (A * np.nan, 1), {}, ValueError, "lewis_weights: A must be finite; got 120 NaN"),
    ("vector", (A[0], 1), {}, ValueError, "lewis_weights: A must be 2-dimensional"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        lewis_weights(*args, **{"rng": 0, **kwargs})
