"""Column subsets: rules of choice, their guarantees, and errors that are never understated."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from lowrank_la.factor import _pivoted, column_subset
from lowrank_la.factor._columns import METHODS
from tests.factor import oracles_slices as oracles

RNG = np.random.default_rng(3)
seeds = st.integers(0, 2**32 - 1)


def decaying(n, d, power=1.0, seed=0):
    rng = np.random.default_rng(seed)
    r = min(n, d)
    U, V = (np.linalg.qr(rng.standard_normal((size, r)))[0] for size in (n, d))
    return (U * np.arange(1.0, r + 1) ** -power) @ V.T


@settings(max_examples=60)
@given(seed=seeds)
def test_strong_leaves_no_swap_that_doubles_the_volume(seed):
    rng = np.random.default_rng(seed)
    l, c = rng.integers(1, 9), rng.integers(1, 12)
    Y = rng.standard_normal((l, c)) * 10.0 ** rng.uniform(-2, 2, c)
    k = int(rng.integers(1, min(l, c) + 1))
    chosen = _pivoted.strong(Y, k, start=rng.permutation(c))
    assert len(set(chosen)) == k
    assert oracles.largest_volume_gain(Y, list(chosen)) <= _pivoted.STRONG**2 * (1 + 1e-6)
    assert _pivoted.largest_gain(Y, chosen) == pytest.approx(oracles.largest_volume_gain(Y, list(chosen)), rel=1e-6, abs=1e-12)


def test_strong_mends_what_pivoted_qr_gets_wrong():
    """On Kahan's matrix pivoted QR keeps the order of the columns and leaves far too small a diagonal entry."""
    s, c, n = 0.98**0.5, 0.02**0.5, 60
    kahan = (s ** np.arange(n))[:, None] * (np.eye(n) - c * np.triu(np.ones((n, n)), 1)) * (1 - 1e-10 * np.arange(n))
    pivoted, strong = (np.sort(rule(kahan, n - 1)) for rule in (_pivoted.greedy, _pivoted.strong))
    least = np.linalg.svd(kahan, compute_uv=False)[-1]
    assert oracles.projection_error(kahan, pivoted) > 10 * least
    assert oracles.projection_error(kahan, strong) < 3 * least


@settings(max_examples=60)
@given(seed=seeds)
def test_pivoted_qr_is_that_of_lapack(seed):
    A, k = oracles.problem(seed)
    order, tails = _pivoted.pivoted_qr(A, min(A.shape))
    R, expected = scipy.linalg.qr(A, mode="r", pivoting=True)
    energies = np.append(np.cumsum(np.sum(abs(R) ** 2, axis=1)[::-1])[::-1][: min(A.shape)], 0)
    assert np.array_equal(order[:1], expected[:1])
    np.testing.assert_allclose(tails, energies[: tails.size], rtol=1e-5, atol=1e-27 * energies[0])
    assert len(set(_pivoted.greedy(A, k))) == k
    reached, fewer = _pivoted.pivoted_qr(A, min(A.shape), goal=0.1 * tails[0])
    assert np.array_equal(reached, order[: reached.size])
    assert fewer[-1] <= 0.1 * tails[0] < fewer[-2]


def test_deim_takes_the_largest_entries_of_what_is_new():
    V = np.linalg.qr(RNG.standard_normal((40, 6)))[0]
    expected = [int(np.argmax(abs(V[:, 0])))]
    for j in range(1, 6):
        rest = V[:, j] - V[:, :j] @ np.linalg.solve(V[expected, :j], V[expected, j])
        expected.append(int(np.argmax(abs(rest))))
    assert list(_pivoted.deim(V, 6)) == expected


def test_random_choices_follow_their_law():
    Y = np.diag([3.0, 1.0, 0.0, 2.0])
    for rule in (_pivoted.random_pivots, lambda Y, k, random: _pivoted.leverage(Y.T, k, random)):
        first = np.bincount([rule(Y, 1, np.random.default_rng(seed))[0] for seed in range(2000)], minlength=4)
        assert np.sum((first - 2000 * np.array([9, 1, 0, 4]) / 14) ** 2 / (2000 * np.array([9, 1, 1, 4]) / 14)) < 16
        assert sorted(rule(Y, 4, np.random.default_rng(0))) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", METHODS)
def test_errors_are_never_understated_and_guarantees_hold(method):
    for seed in range(60):
        A, k = oracles.problem(seed)
        result = column_subset(A, k, method=method, rng=seed)
        assert len(set(result.indices.tolist())) == k
        true = oracles.projection_error(A, result.indices)
        assert true <= result.certificate.bound * (1 + 1e-9)
        assert result.certificate.bound <= 1.0001 * true + 1e-11 * np.linalg.norm(A)
        best = np.linalg.norm(np.linalg.svd(A, compute_uv=False)[k:])
        assert true <= result.guarantee * best * (1 + 1e-9) + 1e-11 * np.linalg.norm(A)
        if method == "osinsky":
            assert result.guarantee <= np.sqrt(k + 1)
        estimate = column_subset(A, k, method=method, rng=seed, certificate=False)
        assert np.array_equal(estimate.indices, result.indices)
        assert estimate.error == pytest.approx(true, rel=1e-3, abs=1e-11 * np.linalg.norm(A))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(900, 300), (300, 900)])
def test_columns_chosen_from_a_sketch_are_nearly_as_good(method, shape):
    A = decaying(*shape)
    best = np.linalg.norm(np.linalg.svd(A, compute_uv=False)[20:])
    sketched = column_subset(A, 20, method=method, sketch_rows=60, rng=0)
    assert best < sketched.error < 2.5 * best
    assert sketched.guarantee == np.inf
    assert sketched.error <= sketched.certificate.bound


def test_kinds_of_input_agree():
    A = decaying(400, 60) * (RNG.random((400, 60)) < 0.5)
    blocks = [A[:50], A[50:300], A[300:]]
    expected = column_subset(A, 10, sketch_rows=40, rng=1)
    kinds = [sp.csr_array(A), sp.csc_matrix(A), blocks, lambda: iter(blocks), [sp.csr_array(block) for block in blocks]]
    for kind in [*kinds, np.ascontiguousarray(A.T).T]:
        result = column_subset(kind, 10, sketch_rows=40, rng=1)
        assert np.array_equal(result.indices, expected.indices)
        assert result.error == pytest.approx(expected.error, rel=1e-10)
    operator = column_subset(aslinearoperator(A), 10, sketch_rows=40, rng=1)
    assert np.array_equal(operator.indices, expected.indices)
    assert operator.certificate.confidence == 0.99
    assert expected.error <= operator.certificate.bound <= 4 * expected.error


def test_backends(backend):
    A = decaying(300, 50).astype(np.float32)
    for method in METHODS:
        for sketch_rows in (None, 40):
            expected = column_subset(A, 8, method=method, sketch_rows=sketch_rows, rng=7)
            result = column_subset(backend.array(A), 8, method=method, sketch_rows=sketch_rows, rng=7)
            assert np.array_equal(backend.numpy(result.indices), expected.indices)
            assert result.certificate.bound == pytest.approx(expected.certificate.bound, rel=1e-4)


def test_probes_fail_no_more_often_than_stated():
    """Rank-one errors have the longest tail; 600 draws may fail 6 times, and hardly ever more than 14."""
    v = RNG.standard_normal(30)
    A = np.outer(RNG.standard_normal(20), v)
    A[:, 0] = 0.0
    A[0, 0] = 10.0
    fails = 0
    for seed in range(600):
        result = column_subset(aslinearoperator(A), 1, sketch_rows=20, rng=seed)
        fails += oracles.projection_error(A, result.indices) > result.certificate.bound
    assert fails <= 14


def test_large_sparse_errors_by_inner_products(monkeypatch):
    from lowrank_la.factor import _slices

    monkeypatch.setattr(_slices, "SMALL_ENOUGH", 0)
    for seed in range(300):
        A, k = oracles.problem(seed)
        for dtype in (None, np.float32):
            A = A if dtype is None or np.iscomplexobj(A) else (A / abs(A).max()).astype(dtype)
            result = column_subset(sp.csr_array(A), k, rng=seed)
            true = oracles.projection_error(A.astype(np.complex128), result.indices)
            assert true <= result.certificate.bound * (1 + 1e-9)
            assert result.certificate.bound <= 1.01 * true + 1e-3 * np.linalg.norm(A)


@pytest.mark.parametrize("method", METHODS)
def test_degenerate_matrices(method):
    for A in (np.zeros((5, 4)), np.ones((6, 3)), np.ones((1, 4)), np.ones((4, 1)), np.array([[2.0]]), np.eye(5)):
        for k in range(1, min(A.shape) + 1):
            result = column_subset(A, k, method=method, rng=0)
            assert len(set(result.indices.tolist())) == k
            assert result.error == pytest.approx(oracles.projection_error(A, result.indices), abs=1e-14)
    integers = column_subset(np.arange(12).reshape(4, 3), 2, method=method, rng=0)
    assert integers.error < 1e-13


def test_the_input_stays_as_it_is():
    A = np.asfortranarray(decaying(60, 20))
    before = A.copy()
    column_subset(A.T, 5, rng=0)
    assert np.array_equal(A, before)


A = RNG.standard_normal((8, 5))
WITH_NAN = A.copy()
WITH_NAN[3, 1] = np.nan
BAD = [
    ("k too large", (A, 6), {}, ValueError, "column_subset: k must be an integer between 1 and 5; got 6"),
    ("k zero", (A, 0), {}, ValueError, "column_subset: k must be an integer between 1 and 5; got 0"),
    ("k a float", (A, 2.0), {}, TypeError, "column_subset: k must be an integer"),
    ("NaN", (WITH_NAN, 2), {}, ValueError, "column_subset: A must be finite; got 1 NaN or infinite entry out of 40, the first in row 3"),
    ("empty", (A[:0], 1), {}, ValueError, r"column_subset: A must have at least one entry; got shape \(0, 5\)"),
    ("vector", (A[0], 1), {}, ValueError, "column_subset: A must be 2-dimensional"),
    ("method", (A, 1), {"method": "best"}, ValueError, "column_subset: method must be one of 'qr', 'strong'"),
    ("sketch", (A, 3), {"sketch_rows": 2}, ValueError, "column_subset: sketch_rows must be an integer of at least 3; got 2"),
    ("rng", (A, 3), {"rng": "0"}, TypeError, "column_subset: rng must be None, an int"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        column_subset(*args, **kwargs)
