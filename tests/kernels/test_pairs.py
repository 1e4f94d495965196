"""Predictions, residuals and gradients at pairs: against long double, on every backend and thread count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import pairs
from lowrank_la.kernels._engine import use_engine
from tests import oracles_rows as oracles


def case(seed, m=30, n=20, k=4, dtype=np.float64, index=np.int32):
    rng = np.random.default_rng(seed)
    rows = oracles.problem(rng, m, n, k, 0.4, dtype, index)
    entries = len(rows.values)
    return rows, rng.standard_normal((m, k)).astype(dtype), rng.standard_normal(n), rng.uniform(0, 2, entries)


def row_numbers(rows):
    return np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))


@given(st.integers(0, 999), st.integers(1, 40), st.sampled_from([np.float32, np.float64]), st.sampled_from([np.int32, np.int64]))
def test_all_four_match_long_double(seed, k, dtype, index):
    rows, U, offset, weights = case(seed, k=k, dtype=dtype, index=index)
    i, j, V = row_numbers(rows), rows.indices, rows.F
    product = oracles.products(U, V, i, j)
    eps = np.finfo(dtype).eps + (k + 2) * np.finfo(float).eps
    size = oracles.products(abs(U), abs(V), i, j) + abs(offset[j]) + abs(rows.values)
    predicted = pairs.predict(U, V, i.astype(index), j)
    assert predicted.dtype == dtype
    assert np.all(abs(predicted - product) <= eps * size)
    wanted = rows.values - offset[j] - product
    residual = pairs.residual(rows.values, j, rows.indptr, U, V, offset)
    assert residual.dtype == dtype
    assert np.all(abs(residual - wanted) <= eps * size)
    gradient, squares = pairs.gradient(rows.values, j, rows.indptr, U, V, offset, weights)
    scale = 1 + np.max(size, initial=0) ** 2
    for row in range(len(rows.indptr) - 1):
        t = slice(rows.indptr[row], rows.indptr[row + 1])
        r = wanted[t] * weights[t]
        np.testing.assert_allclose(gradient[row], (r @ V[j[t]]).astype(float), rtol=0, atol=1e-13 * scale)
        np.testing.assert_allclose(squares[row], float(r @ wanted[t]), rtol=0, atol=1e-13 * scale)
    squares, largest = pairs.sizes(rows.values, j, rows.indptr, U, V)
    wanted = abs(rows.values - product)
    for row in range(len(rows.indptr) - 1):
        r = wanted[rows.indptr[row] : rows.indptr[row + 1]]
        np.testing.assert_allclose(squares[row], float(r @ r), rtol=0, atol=1e-13 * scale)
        np.testing.assert_allclose(largest[row], float(max(r, default=0)), rtol=0, atol=1e-13 * scale)


def test_float32_factors_are_summed_in_float64():
    U = np.array([[2.0**24, 1.0, -(2.0**24)]], np.float32)
    V = np.ones((1, 3), np.float32)
    assert pairs.predict(U, V, np.array([0]), np.array([0]))[0] == 1.0


def test_unit_weights_and_no_offset_are_the_defaults():
    rows, U, offset, weights = case(1)
    plain = pairs.gradient(rows.values, rows.indices, rows.indptr, U, rows.F)
    full = pairs.gradient(rows.values, rows.indices, rows.indptr, U, rows.F, 0 * offset, np.ones_like(weights))
    for a, b in zip(plain, full, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(pairs.sizes(rows.values, rows.indices, rows.indptr, U, rows.F)[0], plain[1], rtol=1e-13)


def test_no_entries_at_all():
    empty, indptr = np.empty(0), np.zeros(4, np.int64)
    indices = np.empty(0, np.int32)
    U, V = np.ones((3, 2)), np.ones((5, 2))
    for engine in ("reference", "cpu"):
        with use_engine(engine):
            assert pairs.predict(U, V, indices, indices).shape == (0,)
            assert pairs.residual(empty, indices, indptr, U, V).shape == (0,)
            gradient, squares = pairs.gradient(empty, indices, indptr, U, V)
            assert not gradient.any()
            assert not squares.any()
            for size in pairs.sizes(empty, indices, indptr, U, V):
                assert size.shape == (3,)
                assert not size.any()


def test_infinite_and_missing_numbers_show():
    U, V = np.array([[np.inf], [np.nan]]), np.ones((1, 1))
    got = pairs.predict(U, V, np.array([0, 1]), np.array([0, 0]))
    assert got[0] == np.inf
    assert np.isnan(got[1])


def test_one_and_two_threads_agree():
    rows, U, offset, weights = case(2, m=300, n=80, k=7)
    args = (rows.values, rows.indices, rows.indptr, U, rows.F, offset)
    with limit_threads(1):
        one = (pairs.residual(*args), *pairs.gradient(*args, weights), *pairs.sizes(*args[:5]))
    two = (pairs.residual(*args), *pairs.gradient(*args, weights), *pairs.sizes(*args[:5]))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_backends_agree(backend):
    rows, U, offset, weights = case(3)
    args = [rows.values, rows.indices, rows.indptr, U, rows.F, offset]
    theirs = [backend.array(x) for x in args]
    wanted = (pairs.residual(*args), *pairs.gradient(*args, weights), *pairs.sizes(*args[:5]))
    got = (pairs.residual(*theirs), *pairs.gradient(*theirs, backend.array(weights)), *pairs.sizes(*theirs[:5]))
    for ours, reference in zip(got, wanted, strict=True):
        np.testing.assert_allclose(backend.numpy(ours), reference, rtol=1e-12, atol=1e-12)


@pytest.mark.cudasim
def test_cuda_agrees_in_the_simulator():
    rows, U, offset, weights = case(4, m=6, n=5, k=3)
    args = (rows.values, rows.indices, rows.indptr, U, rows.F, offset)
    answers = []
    for engine in ("reference", "cuda"):
        with use_engine(engine):
            places = row_numbers(rows), rows.indices
            answers.append(
                (pairs.predict(U, rows.F, *places), pairs.residual(*args), *pairs.gradient(*args, weights), *pairs.sizes(*args[:5]))
            )
    for ours, reference in zip(*answers, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-12)
