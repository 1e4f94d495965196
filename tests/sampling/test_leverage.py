"""Leverage scores: exact to the last digits the condition allows, bracketed, of every kind of matrix."""

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.kernels._engine import use_engine
from lowrank_la.sampling import leverage_scores
from tests.oracles_tall import LAYOUTS, laid_out
from tests.sampling import oracles_scores as oracles


def bracketed(result, scores):
    return bool(np.all(result.lower <= scores) and np.all(scores <= result.upper) and np.all(result.lower <= result.scores))


@pytest.mark.parametrize("kind", ["plain", "spiked"])
@pytest.mark.parametrize("cond", [1e2, 1e4, 1e6])
def test_every_score_has_ten_relative_digits(cond, kind):
    A = oracles.tall(6000, 12, cond, kind)
    expected = oracles.long_leverage(A)
    result = leverage_scores(A, rng=0)
    assert np.all(abs(result.scores - expected) <= 1e-10 * expected)
    assert bracketed(result, expected)
    assert result.certificate.bound < 1e-7


@pytest.mark.parametrize(("digits", "spike"), [(4, 1), (8, 1), (10, 1), (12, 1), (4, 2.0**20), (6, 2.0**20), (8, 2.0**17)])
def test_scores_are_right_whatever_the_condition(digits, spike):
    """Against fractions; heavy rows have scores near 1, where rounding is worst."""
    A = oracles.nearly_dependent(60, 4, digits)
    A[:2] *= spike
    expected = oracles.exact_leverage(A)
    result = leverage_scores(A, rng=0)
    assert result.rank == 4
    assert np.all(abs(result.scores - expected) <= 1e-10)
    assert bracketed(result, expected)


@settings(max_examples=60)
@given(n=st.integers(1, 60), d=st.integers(1, 12), rank=st.integers(0, 12), seed=st.integers(0, 10**6))
def test_scores_of_small_matrices_of_any_rank(n, d, rank, seed):
    rng = np.random.default_rng(seed)
    A = rng.integers(-3, 4, (n, min(rank, d))) @ rng.integers(-3, 4, (min(rank, d), d)).astype(float)
    result = leverage_scores(A, rng=seed)
    assert result.rank == np.linalg.matrix_rank(A)
    if result.rank:
        np.testing.assert_allclose(result.scores, oracles.leverage(A), atol=1e-10)
    assert np.sum(result.scores) == pytest.approx(result.rank, abs=1e-9)
    assert np.all((result.lower >= 0) & (result.upper <= 1))


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(20, 4000), d=st.integers(1, 8))
def test_invariance_and_monotonicity(seed, n, d):
    rng = np.random.default_rng(seed)
    A, C, order = rng.standard_normal((n, d)), rng.standard_normal((d, d)) + 3 * np.eye(d), rng.permutation(n)
    scores = leverage_scores(A, rng=seed).scores
    np.testing.assert_allclose(leverage_scores(A @ C, rng=seed).scores, scores, atol=1e-9)
    np.testing.assert_allclose(leverage_scores(A[order], rng=seed).scores, scores[order], atol=1e-12)
    more = leverage_scores(np.concatenate([A, rng.standard_normal((5, d))]), rng=seed).scores
    assert np.all(more[:n] <= scores + 1e-12)


def test_blocks_on_the_diagonal_concatenate():
    A, B = oracles.tall(2000, 5), oracles.tall(3000, 7, seed=1)
    both = leverage_scores(sp.block_diag([A, B], format="csr"), rng=0).scores
    np.testing.assert_allclose(both, np.concatenate([leverage_scores(X, rng=0).scores for X in (A, B)]), rtol=1e-12)


@pytest.mark.parametrize("shape", [(50, 7), (20_000, 9), (6, 30), (30, 30), (5000, 37)])
def test_kinds_of_matrices_agree(shape):
    A = np.random.default_rng(0).standard_normal(shape)
    A[np.random.default_rng(1).random(shape) < 0.5] = 0
    expected = oracles.leverage(A)
    third = -(-shape[0] // 3)
    blocks = [A[:third], sp.csr_array(A[third : 2 * third]), A[2 * third :]]
    kinds = [A, A.astype(np.float32), sp.csr_array(A), sp.csc_array(A), sp.coo_array(A), blocks, lambda: iter(blocks), A.tolist()]
    for kind in kinds:
        result = leverage_scores(kind, rng=0)
        assert result.scores.dtype == np.float64
        np.testing.assert_allclose(result.scores, expected, atol=1e-5 if kind is kinds[1] else 1e-11)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    A = oracles.tall(9000, 11)
    np.testing.assert_allclose(leverage_scores(laid_out(A, layout), rng=0).scores, oracles.leverage(A), atol=1e-13)


def test_memory_maps(tmp_path):
    A = oracles.tall(5000, 6)
    np.save(tmp_path / "A.npy", A)
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    assert np.array_equal(leverage_scores(mapped, rng=0).scores, leverage_scores(A, rng=0).scores)


def test_backends(backend):
    for A in (oracles.tall(300, 6), oracles.tall(8000, 6), oracles.tall(500, 4, 1e10, "spiked")):
        expected = leverage_scores(A, rng=1)
        for method in ("exact", "sketch"):
            result = leverage_scores(backend.array(A), method=method, rng=1)
            assert result.rank == 4 if A.shape[1] == 4 else 6
            for name in ("scores", "lower", "upper"):
                assert str(getattr(result, name).dtype).endswith("float64")
            scores = backend.numpy(result.scores)
            assert np.all(backend.numpy(result.lower) <= scores)
            if method == "exact":
                np.testing.assert_allclose(scores, expected.scores, rtol=1e-9)
    single = leverage_scores(backend.array(oracles.tall(8000, 6).astype(np.float32)), rng=1)
    assert str(single.scores.dtype).endswith("float64")


@pytest.mark.parametrize("cond", [10.0, 1e9])
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_complex(dtype, cond):
    A = (oracles.tall(3000, 5, cond) + 1j * oracles.tall(3000, 5, cond, seed=1)).astype(dtype)
    if dtype == np.complex64 and cond > 1e6:
        pytest.skip("beyond the precision of the data")
    result = leverage_scores(A, rng=0)
    np.testing.assert_allclose(result.scores, oracles.leverage(A.astype(complex)), rtol=1e-6, atol=1e-8)
    assert np.sum(result.scores) == pytest.approx(5)
    assert leverage_scores(sp.csr_array(A), rng=0).scores.dtype == np.float64


@pytest.mark.parametrize("kind", ["plain", "spiked"])
def test_sketched_brackets_hold_at_the_stated_rate_and_are_used(kind):
    A = oracles.tall(20_000, 8, 1e6, kind)
    expected = leverage_scores(A, rng=0).scores
    failures, worst = 0, 0.0
    for seed in range(100):
        result = leverage_scores(A, method="sketch", eps=0.3, delta=0.1, rng=seed)
        assert result.certificate.confidence == pytest.approx(0.9)
        failures += not bracketed(result, expected)
        worst = max(worst, float(np.max(abs(result.scores / expected - 1))))
    assert failures <= 18  # three standard deviations above ten
    assert worst > result.certificate.bound / 4
    assert np.all(result.upper <= 1)


def test_sketch_of_what_is_small_is_exact():
    A = oracles.tall(200, 8)
    result = leverage_scores(A, method="sketch", rng=0)
    assert result.certificate.confidence == 1
    np.testing.assert_allclose(result.scores, oracles.leverage(A), rtol=1e-12)


def test_a_row_alone_in_its_direction_has_score_one():
    A = oracles.tall(4000, 5)
    A = np.hstack([A, np.zeros((4000, 1))])
    A[17, 5] = 1e-3
    result = leverage_scores(A, rng=0)
    assert result.scores[17] == pytest.approx(1, abs=1e-13)
    assert result.upper[17] == 1


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scales_far_from_one(scale):
    A = oracles.tall(3000, 6)
    np.testing.assert_allclose(leverage_scores(A * scale, rng=0).scores, oracles.leverage(A), rtol=1e-11)
    uneven = A * np.logspace(-150, 150, 6)
    np.testing.assert_allclose(leverage_scores(uneven, rng=0).scores, oracles.leverage(A), rtol=1e-11)


def test_degenerate_matrices():
    zero = leverage_scores(np.zeros((4, 3)))
    assert zero.rank == 0
    assert not np.any(zero.scores)
    assert not np.any(zero.lower)
    assert leverage_scores([[2.0]]).scores == pytest.approx(1)
    a = np.array([[3.0], [0.0], [4.0]])
    np.testing.assert_allclose(leverage_scores(a).scores, [9 / 25, 0, 16 / 25])
    wide = leverage_scores(np.random.default_rng(0).standard_normal((5, 4000)))
    np.testing.assert_allclose(wide.scores, 1)
    doubled = np.repeat(oracles.tall(1000, 4), 2, axis=1)
    assert leverage_scores(doubled, rng=0).rank == 4
    before = doubled.copy()
    leverage_scores(doubled, rng=0)
    assert np.array_equal(before, doubled)


def test_a_sketch_that_fails_is_replaced(monkeypatch):
    """A sketch that sees only half of A would whiten it badly."""
    from lowrank_la.sampling import _rows

    A = oracles.tall(9000, 6)
    A[4500:] *= 1e5
    monkeypatch.setattr(_rows.Rows, "sketch", lambda rows, height, seed: (rows, np.linalg.qr(A[:4500])[1] * [1, 1, 1, 1, 1, 1e-5]))
    result = leverage_scores(A, rng=0)
    np.testing.assert_allclose(result.scores, oracles.long_leverage(A).astype(float), rtol=1e-10)
    assert result.converged


def test_reproducible_for_seeds_threads_and_blocks():
    A = oracles.tall(30_000, 20, 1e8, "spiked")
    expected = leverage_scores(A, rng=7).scores
    assert np.array_equal(leverage_scores(A, rng=7).scores, expected)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert np.array_equal(leverage_scores(A, rng=7).scores, expected)
    finally:
        numba.set_num_threads(threads)
    with use_engine("reference"):
        np.testing.assert_allclose(leverage_scores(A, rng=7).scores, expected, atol=1e-10)
    np.testing.assert_allclose(leverage_scores([A[:11_111], A[11_111:]], rng=7).scores, expected, atol=1e-10)


def test_hopeless_conditions_are_said(monkeypatch):
    from lowrank_la.sampling import _basis

    monkeypatch.setattr(_basis, "cholesky", lambda G: None)
    with pytest.warns(ConvergenceWarning, match="leverage_scores: A is too ill conditioned"):
        result = leverage_scores(oracles.tall(3000, 4, 1e12), rng=0)
    assert not result.converged
    assert not np.any(result.lower)
    assert np.all(result.upper == 1)


A = np.ones((40, 3)) + np.eye(40, 3)
BAD = [
    ("method", (A,), {"method": "fast"}, ValueError, "leverage_scores: method must be one of 'auto', 'exact', 'sketch'; got 'fast'"),
    ("eps", (A,), {"eps": 1.0}, ValueError, "leverage_scores: eps must be a number between 0 and 1, ends excluded; got 1.0"),
    ("delta", (A,), {"delta": 0}, ValueError, "leverage_scores: delta must be a number between 0 and 1, ends excluded; got 0"),
    ("rng", (A,), {"rng": "x"}, TypeError, "leverage_scores: rng must be"),
    ("vector", (A[0],), {}, ValueError, r"leverage_scores: A must be 2-dimensional; got shape \(3,\)"),
    ("empty", (A[:0],), {}, ValueError, r"leverage_scores: A must have at least one entry; got shape \(0, 3\)"),
    ("NaN", (A * np.nan,), {}, ValueError, "leverage_scores: A must be finite; got 120 NaN or infinite entries"),
    ("NaN, large", (np.full((20_000, 3), np.inf),), {}, ValueError, "leverage_scores: A must be finite; got 60000 NaN"),
    ("NaN, wide", (np.full((2, 30), np.nan),), {}, ValueError, "leverage_scores: A must be finite; got 60 NaN"),
    ("NaN, block", ([A, A * np.inf],), {}, ValueError, "leverage_scores: the block of A from row 40 must be finite"),
    ("overflow", (np.full((20_000, 2), 1.7e308),), {}, ValueError, "leverage_scores: A must have entries whose sums stay finite"),
    ("words", (np.array([["a"]]),), {}, TypeError, "leverage_scores: A must be an array of numbers"),
    ("stream", (iter([A]),), {}, TypeError, "leverage_scores: A must be a list of row blocks or a function"),
    ("columns", ([A, A[:, :2]],), {}, ValueError, "leverage_scores: blocks of A must have 3 columns, as many as the first"),
    ("no blocks", (lambda: iter([]),), {}, ValueError, "leverage_scores: A must have at least one block of rows; got none"),
    ("no iterable", (lambda: 3,), {}, TypeError, "leverage_scores: A must return row blocks when called; got int"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message), np.errstate(all="ignore"):
        leverage_scores(*args, **{"rng": 0, **kwargs})
