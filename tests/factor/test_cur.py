"""CUR: actual rows and columns, a small matrix between them, certified errors."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from lowrank_la.factor import cur
from lowrank_la.factor._cur import METHODS
from tests.factor import oracles_slices as oracles
from tests.factor.test_columns import decaying

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("core", ["projection", "cross"])
@pytest.mark.parametrize("method", METHODS)
def test_certificates_hold(core, method):
    for seed in range(60):
        A, k = oracles.problem(seed)
        result = cur(A, k, core=core, method=method, rng=seed)
        assert np.array_equal(result.C, A[:, result.columns])
        assert np.array_equal(result.R, A[result.rows])
        error = oracles.residual(A, result.C, result.U @ result.R)
        size = np.linalg.norm(result.C) * np.linalg.norm(result.U @ result.R) + np.linalg.norm(A)
        assert error <= result.certificate.bound * (1 + 1e-12)
        assert result.certificate.bound <= 1.000001 * error + 1e-14 * (k + 3) * size


@pytest.mark.parametrize("method", METHODS)
def test_the_projection_is_the_best_core(method):
    for shape in ((300, 200), (200, 300)):
        A = decaying(*shape)
        result = cur(A, 15, method=method, rng=0)
        best = np.linalg.pinv(result.C) @ A @ np.linalg.pinv(result.R)
        np.testing.assert_allclose(result.C @ result.U @ result.R, result.C @ best @ result.R, atol=1e-12)
        columns = oracles.projection_error(A, result.columns)
        rows = oracles.projection_error(A.T, result.rows)
        assert max(columns, rows) <= result.error <= np.hypot(columns, rows) * (1 + 1e-9)
        assert result.error <= 2.7 * np.linalg.norm(np.linalg.svd(A, compute_uv=False)[15:])


def test_the_cross_meets_the_matrix_in_its_rows_and_columns():
    A = decaying(300, 200)
    result = cur(A, 15, core="cross", rng=0)
    np.testing.assert_allclose(result.to_dense()[:, result.columns], result.C, atol=1e-12)
    np.testing.assert_allclose(result.to_dense()[result.rows], result.R, atol=1e-12)
    assert result.passes == cur(A, 15, rng=0).passes - 1


@pytest.mark.parametrize("core", ["projection", "cross"])
def test_kinds_of_input_agree(core):
    A = decaying(300, 80) * (RNG.random((300, 80)) < 0.6)
    blocks = [A[:50], A[50:200], A[200:]]
    expected = cur(A, 12, core=core, sketch_rows=60, rng=1)
    for kind in (sp.csr_array(A), sp.csc_matrix(A), blocks, lambda: iter(blocks), [sp.csr_array(b) for b in blocks], aslinearoperator(A)):
        result = cur(kind, 12, core=core, sketch_rows=60, rng=1)
        assert np.array_equal(result.columns, expected.columns)
        assert np.array_equal(result.rows, expected.rows)
        assert sp.issparse(result.C) == sp.issparse(result.R) == sp.issparse(kind)
        np.testing.assert_allclose(result.to_dense(), expected.to_dense(), atol=1e-10)
        assert expected.error <= result.certificate.bound * (1 + 1e-9)
        estimate = cur(kind, 12, core=core, sketch_rows=60, rng=1, certificate=False)
        assert estimate.certificate is None
        assert estimate.error == pytest.approx(expected.error, rel=0.3)


def test_backends(backend):
    A = decaying(120, 50)
    for method in METHODS:
        for core in ("projection", "cross"):
            expected = cur(A, 8, method=method, core=core, sketch_rows=40, rng=7)
            result = cur(backend.array(A), 8, method=method, core=core, sketch_rows=40, rng=7)
            assert np.array_equal(backend.numpy(result.rows), expected.rows)
            assert np.array_equal(backend.numpy(result.columns), expected.columns)
            np.testing.assert_allclose(backend.numpy(result.to_dense()), expected.to_dense(), atol=1e-10)


@pytest.mark.parametrize("core", ["projection", "cross"])
def test_ranks_above_that_of_the_matrix(core):
    low = RNG.standard_normal((50, 3)) @ RNG.standard_normal((3, 40))
    for A in (low, np.zeros((50, 40)), np.ones((50, 40)), np.ones((1, 3)), np.ones((3, 1)), low.astype(np.float32)):
        for method in METHODS:
            result = cur(A, min(10, *A.shape), core=core, method=method, rng=0)
            assert np.isfinite(result.U).all()
            assert result.error <= (1e-10 if A.dtype == np.float64 else 1e-2)


def test_wide_spectra_lose_digits_but_not_the_certificate():
    U, V = (np.linalg.qr(RNG.standard_normal((60, 60)))[0] for _ in range(2))
    A = (U * 10.0 ** (-np.arange(60) / 2)) @ V.T
    for core in ("projection", "cross"):
        result = cur(A, 22, core=core, rng=0)
        assert oracles.residual(A, result.C, result.U @ result.R) <= result.certificate.bound < 1e-3


A = RNG.standard_normal((8, 5))
BAD = [
    ("rank", {"rank": 6}, ValueError, "cur: rank must be an integer between 1 and 5; got 6"),
    ("core", {"rank": 2, "core": "inverse"}, ValueError, "cur: core must be one of 'projection', 'cross'; got 'inverse'"),
    ("method", {"rank": 2, "method": "osinsky"}, ValueError, "cur: method must be one of 'qr', 'strong', 'rpcholesky'"),
]


@pytest.mark.parametrize(("kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        cur(A, **kwargs)
    with pytest.raises(ValueError, match="cur: A must be finite; got 40 NaN"):
        cur(A * np.nan, 2)
