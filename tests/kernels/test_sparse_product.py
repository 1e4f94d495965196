"""Sparse times dense: against long double, for every shape, layout and thread count."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import sparse_product
from lowrank_la.kernels._engine import use_engine

WIDE = {np.float32: np.float64, np.float64: np.longdouble}


@pytest.fixture(autouse=True)
def small_matrices_take_the_loops(monkeypatch):
    monkeypatch.setattr(sparse_product, "FEW_PRODUCTS", 0)


def problem(seed, n, d, columns, density=0.2, dtype=np.float64, index=np.int32):
    """Rows of very different lengths, empty ones among them, indices in no order."""
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((n, d)) * (rng.random((n, d)) < density * 2 * rng.random((n, 1)) ** 4)
    A = sp.csr_matrix(dense.astype(dtype))
    for i in range(n):
        A.indices[A.indptr[i] : A.indptr[i + 1]] = A.indices[A.indptr[i] : A.indptr[i + 1]][::-1]
        A.data[A.indptr[i] : A.indptr[i + 1]] = A.data[A.indptr[i] : A.indptr[i + 1]][::-1]
    parts = A.data, A.indices.astype(index), A.indptr.astype(index)
    return dense.astype(dtype), parts, rng.standard_normal((d, columns)).astype(dtype), rng.standard_normal((n, columns)).astype(dtype)


def assert_close(got, wanted, terms, dtype):
    assert got.dtype == dtype
    assert got.flags.c_contiguous
    assert np.all(
        abs(got - wanted) <= np.finfo(dtype).eps * (np.log2(terms + 2) + 8) * abs(terms + 1) ** 0.5 * (1 + abs(wanted).max(initial=0))
    )


@given(
    seed=st.integers(0, 999),
    n=st.integers(0, 60),
    d=st.integers(1, 40),
    columns=st.integers(1, 90),
    dtype=st.sampled_from([np.float32, np.float64]),
    index=st.sampled_from([np.int32, np.int64]),
)
def test_products_match_long_double(seed, n, d, columns, dtype, index):
    dense, parts, X, Y = problem(seed, n, d, columns, dtype=dtype, index=index)
    wide = dense.astype(WIDE[dtype])
    row = X.sum(axis=0)
    W = wide @ X - row
    assert_close(sparse_product.times(*parts, X), wide @ X, d, dtype)
    assert_close(sparse_product.adjoint(*parts, Y, d), wide.T @ Y, n, dtype)
    for got, product in ((sparse_product.gram(*parts, X), wide @ X), (sparse_product.gram(*parts, X, row), W)):
        assert_close(got[0], wide.T @ product, n + d, dtype)
        assert_close(got[1], product.sum(axis=0), n + d, dtype)


def test_float32_entries_meet_float64_columns_without_loss():
    dense, parts, X, Y = problem(1, 70, 30, 9, dtype=np.float32)
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    wide = dense.astype(np.longdouble)
    assert_close(sparse_product.times(*parts, X), wide @ X, 30, np.float64)
    assert_close(sparse_product.adjoint(*parts, Y, 30), wide.T @ Y, 70, np.float64)
    assert_close(sparse_product.gram(*parts, X)[0], wide.T @ (wide @ X), 100, np.float64)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_float64_entries_meet_float32_columns_in_float32(engine):
    dense, parts, X, Y = problem(1, 70, 30, 9)
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    wide = dense.astype(np.float32).astype(np.float64)
    with use_engine(engine):
        assert_close(sparse_product.times(*parts, X), wide @ X, 30, np.float32)
        assert_close(sparse_product.adjoint(*parts, Y, 30), wide.T @ Y, 70, np.float32)
        assert_close(sparse_product.gram(*parts, X)[0], wide.T @ (wide @ X), 100, np.float32)


@pytest.mark.parametrize("layout", ["fortran", "strided", "reversed", "read only", "broadcast"])
def test_any_layout_of_the_dense_matrix(layout):
    dense, parts, X, Y = problem(2, 50, 20, 11)
    change = {
        "fortran": np.asfortranarray,
        "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        "read only": lambda x: np.lib.stride_tricks.as_strided(x, writeable=False),
        "broadcast": lambda x: np.broadcast_to(x[:, :1], x.shape),
    }[layout]
    X, Y = change(X), change(Y)
    np.testing.assert_allclose(sparse_product.times(*parts, X), dense @ X, atol=1e-13)
    np.testing.assert_allclose(sparse_product.adjoint(*parts, Y, 20), dense.T @ Y, atol=1e-13)
    np.testing.assert_allclose(sparse_product.gram(*parts, X)[0], dense.T @ (dense @ X), atol=1e-12)


def test_complex_matrices_and_tiny_ones_take_scipy(monkeypatch):
    dense, (data, indices, indptr), X, Y = problem(3, 40, 15, 4)
    A = sp.csr_matrix((data * (1 + 2j), indices, indptr), shape=dense.shape)
    parts, full = (A.data, indices, indptr), dense * (1 + 2j)
    np.testing.assert_allclose(sparse_product.times(*parts, X), full @ X, atol=1e-13)
    np.testing.assert_allclose(sparse_product.adjoint(*parts, Y, 15), full.conj().T @ Y, atol=1e-13)
    Z, sums = sparse_product.gram(*parts, X, X[0])
    np.testing.assert_allclose(Z, full.conj().T @ (full @ X - X[0]), atol=1e-12)
    np.testing.assert_allclose(sums, (full @ X - X[0]).sum(axis=0), atol=1e-12)
    monkeypatch.setattr(sparse_product, "FEW_PRODUCTS", 1 << 16)
    np.testing.assert_array_equal(
        sparse_product.times(data, indices, indptr, X), sp.csr_matrix((data, indices, indptr), shape=dense.shape) @ X
    )


def test_the_loops_run_by_themselves(monkeypatch):
    _, parts, X, Y = problem(4, 30, 12, 5)
    monkeypatch.setattr(sparse_product, "_matrix", None)
    sparse_product.times(*parts, X), sparse_product.adjoint(*parts, Y, 12), sparse_product.gram(*parts, X)
    with use_engine("reference"), pytest.raises(TypeError):
        sparse_product.times(*parts, X)


def test_one_and_two_threads_give_the_same_bits():
    _, parts, X, Y = problem(5, 3000, 90, 13, density=0.4)
    assert sparse_product._parts(parts[0], 90, X) > 2

    def products():
        return sparse_product.times(*parts, X), sparse_product.adjoint(*parts, Y, 90), *sparse_product.gram(*parts, X, X[0])

    with limit_threads(1):
        one = products()
    for a, b in zip(one, products(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_numbers_that_are_not_finite_show():
    _, parts, X, _ = problem(6, 40, 10, 8)
    X[3, 2] = np.inf
    touched = np.zeros(40, bool)
    A = sp.csr_matrix(parts, shape=(40, 10)).toarray()
    touched = A[:, 3] != 0
    Y = sparse_product.times(*parts, X)
    assert not np.isfinite(Y[touched, 2]).any()
    assert np.isfinite(Y[~touched]).all()


def test_inputs_stay_as_they_are():
    _, parts, X, Y = problem(7, 60, 20, 6)
    before = [x.copy() for x in (*parts, X, Y)]
    sparse_product.times(*parts, X), sparse_product.adjoint(*parts, Y, 20), sparse_product.gram(*parts, X, X[1])
    for old, new in zip(before, (*parts, X, Y), strict=True):
        np.testing.assert_array_equal(old, new)
