"""Interpolative decompositions: the identity inside, coefficients, tolerances, and certificates."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import ConvergenceWarning
from lowrank_la.factor import interpolative
from tests.factor import oracles_slices as oracles
from tests.factor.test_columns import decaying

RNG = np.random.default_rng(4)


def check(A, result):
    """Indices, skeleton and identity are exact; the certificate holds."""
    indices = np.asarray(result.indices)
    k = result.rank
    if result.axis == "columns":
        assert np.array_equal(result.skeleton, A[:, indices])
        assert np.array_equal(result.X[:, indices], np.eye(k))
        error = oracles.residual(A, result.skeleton, result.X)
    else:
        assert np.array_equal(result.skeleton, A[indices])
        assert np.array_equal(result.X[indices], np.eye(k))
        error = oracles.residual(A, result.X, result.skeleton)
    assert error <= result.certificate.bound * (1 + 1e-12)
    assert result.error == pytest.approx(error, rel=1e-9, abs=1e-14 * k * np.linalg.norm(A))
    return error


@pytest.mark.parametrize("axis", ["columns", "rows"])
def test_certificates_hold_and_are_tight(axis):
    for seed in range(200):
        A, k = oracles.problem(seed)
        result = interpolative(A, k, axis=axis, method=["qr", "strong"][seed % 2], rng=seed)
        error = check(A, result)
        true = oracles.projection_error(A if axis == "columns" else A.conj().T, result.indices)
        assert error <= true * (1 + 1e-9) + 1e-13 * k * np.linalg.norm(A)
        assert result.certificate.bound <= 1.000001 * true + 1e-12 * k * np.linalg.norm(A)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_strong_keeps_coefficients_small(seed):
    A, k = oracles.problem(seed)
    if np.linalg.matrix_rank(A) >= k:
        assert abs(interpolative(A, k, method="strong").X).max() <= 2 + 1e-6


@pytest.mark.parametrize("sketch_rows", [None, 60])
def test_kinds_of_input_agree(sketch_rows):
    A = decaying(300, 80) * (RNG.random((300, 80)) < 0.6)
    blocks = [A[:50], A[50:200], A[200:]]
    for axis in ("columns", "rows"):
        expected = interpolative(A, 12, axis=axis, sketch_rows=sketch_rows, rng=1)
        check(A, expected)
        sparse_blocks = [sp.csr_array(block) for block in blocks]
        for kind in (sp.csr_array(A), sp.csc_matrix(A), blocks, lambda: iter(blocks), sparse_blocks, aslinearoperator(A)):
            result = interpolative(kind, 12, axis=axis, sketch_rows=sketch_rows, rng=1)
            assert np.array_equal(result.indices, expected.indices)
            np.testing.assert_allclose(result.X, expected.X, atol=1e-11)
            assert sp.issparse(result.skeleton) == sp.issparse(kind)
            np.testing.assert_allclose(result.to_dense(), expected.to_dense(), atol=1e-11)
            assert expected.error <= result.certificate.bound * (1 + 1e-9)


def test_passes_are_counted():
    A = decaying(300, 80)
    reads = 0

    def blocks():
        nonlocal reads
        reads += 1
        return iter([A[:100], A[100:]])

    for axis in ("columns", "rows"):
        reads = 0
        assert interpolative(blocks, 5, axis=axis, sketch_rows=30, rng=0).passes == reads == 5  # norm, sketch, columns, coefficients, error
        reads = 0
        assert interpolative(blocks, 5, axis=axis, sketch_rows=30, rng=0, certificate=False).passes == reads == 4


@pytest.mark.parametrize("tol", [0.3, 1e-2, 1e-5, 1e-11])
@pytest.mark.parametrize("method", ["qr", "strong"])
def test_tolerances_are_kept_with_few_columns(tol, method):
    rng = np.random.default_rng(0)
    for n, d in ((900, 250), (250, 900), (60, 40)):
        U, V = (np.linalg.qr(rng.standard_normal((size, min(n, d))))[0] for size in (n, d))
        s = 10.0 ** (-np.arange(min(n, d)) / 4)
        A = (U * s) @ V.T
        tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1])
        needed = int(np.argmax(np.append(tails, 0) <= tol * tails[0]))
        for axis in ("columns", "rows"):
            result = interpolative(A, tol=tol, axis=axis, method=method, rng=0)
            assert result.converged
            assert np.linalg.norm(A - result.to_dense()) <= tol * tails[0] * (1 + 1e-9)
            assert needed <= result.rank <= needed + 3
            cheap = interpolative(A, tol=tol, axis=axis, method=method, rng=0, certificate=False)
            assert abs(cheap.rank - result.rank) <= 1
            assert cheap.certificate is None


def test_a_slow_decay_needs_larger_sketches():
    A = decaying(2000, 300, power=0.5)
    result = interpolative(A, tol=0.5, rng=0)
    assert result.converged
    assert result.error <= 0.5 * np.linalg.norm(A)
    smaller = interpolative(A, result.rank - 20, rng=0)
    assert smaller.error > 0.5 * np.linalg.norm(A)


def test_an_operator_stops_by_its_sketch_and_is_certified_by_probes():
    A = decaying(600, 500, power=2.0)
    result = interpolative(aslinearoperator(A), tol=0.01, rng=0)
    assert result.converged
    error = np.linalg.norm(A - result.to_dense())
    assert error <= 0.0115 * np.linalg.norm(A)
    assert error <= result.certificate.bound <= 4 * error


def test_a_tolerance_out_of_reach_is_said():
    A = decaying(400, 100)
    with pytest.warns(ConvergenceWarning, match=r"interpolative: 5 columns leave an error of .*, more than tol = 0.01 allows"):
        result = interpolative(A, 5, tol=0.01, rng=0)
    assert not result.converged
    assert result.rank == 5


def test_backends(backend):
    A = decaying(300, 50)
    for options in ({"rank": 8}, {"rank": 8, "sketch_rows": 40}, {"tol": 0.05}, {"rank": 6, "axis": "rows", "method": "strong"}):
        expected = interpolative(A, rng=7, **options)
        result = interpolative(backend.array(A), rng=7, **options)
        assert np.array_equal(backend.numpy(result.indices), expected.indices)
        np.testing.assert_allclose(backend.numpy(result.X), expected.X, atol=1e-11)
        np.testing.assert_allclose(backend.numpy(result.to_dense()), expected.to_dense(), atol=1e-12)


def test_dtypes_stay():
    for dtype, working in ((np.float32, np.float32), (np.float16, np.float16), (np.complex64, np.complex64), (np.int32, np.float64)):
        A = (8 * decaying(60, 30)).astype(dtype)
        result = interpolative(A, 6, rng=0)
        assert result.X.dtype == result.skeleton.dtype == working
        exact = np.linalg.norm(A.astype(complex) - result.skeleton.astype(complex) @ result.X.astype(complex))
        slack = 1e-3 * np.linalg.norm(A.astype(complex)) if dtype == np.float16 else 0  # X itself is rounded at the door
        assert exact <= result.certificate.bound + slack


def test_ranks_above_that_of_the_matrix():
    A = RNG.standard_normal((50, 3)) @ RNG.standard_normal((3, 40))
    for matrix in (A, np.zeros((50, 40)), np.ones((50, 40)), sp.csr_array((50, 40))):
        for axis in ("columns", "rows"):
            result = interpolative(matrix, 10, axis=axis, rng=0)
            assert result.rank == 10
            assert result.error <= 1e-12
            assert abs(result.X).max() < 100
    assert interpolative(A, tol=1e-9, rng=0).rank == 3
    assert interpolative(np.zeros((5, 4)), tol=0.1).rank == 1


A = RNG.standard_normal((8, 5))
BAD = [
    ("neither", {}, ValueError, "interpolative: rank or tol must be given; got neither"),
    ("rank", {"rank": 6}, ValueError, "interpolative: rank must be an integer between 1 and 5; got 6"),
    ("tol", {"tol": 0}, ValueError, "interpolative: tol must be a number between 0 and 1, ends excluded; got 0"),
    ("axis", {"rank": 1, "axis": 0}, ValueError, "interpolative: axis must be one of 'columns', 'rows'; got 0"),
    (
        "method",
        {"tol": 0.1, "method": "deim"},
        ValueError,
        "interpolative: method must be one of 'qr', 'strong' if tol is given",
    ),
    ("sketch", {"tol": 0.1, "sketch_rows": 5}, ValueError, "interpolative: sketch_rows must not be given with tol"),
]


@pytest.mark.parametrize(("kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        interpolative(A, **kwargs)
    with pytest.raises(ValueError, match="interpolative: A must be finite; got 40 NaN"):
        interpolative(A * np.nan, 2)
