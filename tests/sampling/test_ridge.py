"""Ridge leverage scores: those of a taller matrix, whose sum is the effective dimension."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la.sampling import leverage_scores, ridge_leverage_scores
from tests.sampling import oracles_scores as oracles


def stacked(A, ridge):
    return oracles.leverage(np.concatenate([A, np.sqrt(ridge) * np.eye(A.shape[1])]))[: len(A)]


@settings(max_examples=40)
@given(
    n=st.one_of(st.integers(1, 40), st.integers(3000, 6000)), d=st.integers(1, 12), log_ridge=st.floats(-3, 5), seed=st.integers(0, 10**6)
)
def test_scores_and_effective_dimension(n, d, log_ridge, seed):
    A, ridge = oracles.tall(n, d, seed=seed), 10.0**log_ridge
    result = ridge_leverage_scores(A, ridge, rng=seed)
    np.testing.assert_allclose(result.scores, stacked(A, ridge), rtol=1e-9, atol=1e-13)
    s = np.linalg.svd(A, compute_uv=False)
    assert np.sum(result.scores) == pytest.approx(np.sum(s**2 / (s**2 + ridge)))
    assert np.all(result.lower <= result.scores)
    assert np.all(result.scores <= result.upper)


@pytest.mark.parametrize("ridge", [0.125, 2.0**20])
@pytest.mark.parametrize(("digits", "spike"), [(6, 2.0**17), (11, 1)])
def test_ill_conditioned_matrices(digits, spike, ridge):
    A = oracles.nearly_dependent(60, 4, digits)
    A[0] *= spike
    expected = oracles.exact_leverage(A, ridge)
    result = ridge_leverage_scores(A, ridge, rng=0)
    assert np.all(abs(result.scores - expected) <= 1e-10)
    assert np.all(result.lower <= expected)
    assert np.all(expected <= result.upper)


def test_no_ridge_is_leverage():
    A = oracles.tall(5000, 6)
    assert np.array_equal(ridge_leverage_scores(A, 0, rng=1).scores, leverage_scores(A, rng=1).scores)


def test_scores_fall_as_the_ridge_grows():
    A = oracles.tall(3000, 6, 1e4)
    scores = [ridge_leverage_scores(A, ridge, rng=1).scores for ridge in (0, 1e-4, 1.0, 1e4)]
    assert all(np.all(high >= low) for high, low in itertools.pairwise(scores))


def test_kinds_of_matrices(backend):
    A = oracles.tall(400, 6, 1e3)
    expected = stacked(A, 0.5)
    np.testing.assert_allclose(backend.numpy(ridge_leverage_scores(backend.array(A), 0.5, rng=0).scores), expected, rtol=1e-10)
    for kind in (sp.csr_array(A), [A[:100], A[100:]], A + 0j):
        np.testing.assert_allclose(ridge_leverage_scores(kind, 0.5, rng=0).scores, expected, rtol=1e-10)
    wide = np.random.default_rng(0).standard_normal((5, 60))
    np.testing.assert_allclose(ridge_leverage_scores(wide, 3.0).scores, stacked(wide, 3.0), rtol=1e-11)
    assert ridge_leverage_scores(np.zeros((4, 3)), 1.0).scores.tolist() == [0.0] * 4


def test_sketched_brackets_hold_at_the_stated_rate():
    A = oracles.tall(20_000, 8, 1e3, "spiked")
    expected, failures = stacked(A, 5.0), 0
    for seed in range(60):
        result = ridge_leverage_scores(A, 5.0, method="sketch", eps=0.3, delta=0.1, rng=seed)
        failures += not (np.all(result.lower <= expected) and np.all(expected <= result.upper))
    assert failures <= 13  # three standard deviations above six


BAD = [
    ("negative", -1.0, ValueError, "ridge_leverage_scores: ridge must be a number of at least 0; got -1.0"),
    ("NaN", np.nan, ValueError, "ridge_leverage_scores: ridge must be a number of at least 0; got nan"),
    ("word", "x", TypeError, "ridge_leverage_scores: ridge must be a number of at least 0; got 'x'"),
]


@pytest.mark.parametrize(("ridge", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(ridge, error, message):
    with pytest.raises(error, match=message):
        ridge_leverage_scores(np.ones((4, 2)), ridge)
