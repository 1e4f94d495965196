"""Triples to compressed rows and back: against SciPy and a stable sort, on every backend and thread count."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import compress
from lowrank_la.kernels._engine import use_engine


def triples(seed, m, n, entries, index=np.int64):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(entries), rng.integers(0, m, entries).astype(index), rng.integers(0, n, entries).astype(index)


def stable(values, rows, cols, shape):
    order = np.lexsort((np.arange(len(rows)), cols, rows))
    return np.searchsorted(rows[order], np.arange(shape[0] + 1)), cols[order], values[order]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 300), st.integers(0, 99), st.sampled_from([np.int32, np.int64]))
def test_rows_are_sorted_stably(m, n, entries, seed, index):
    values, rows, cols = triples(seed, m, n, entries, index)
    got = compress.csr(values, rows, cols, (m, n))
    for ours, wanted in zip(got, stable(values, rows, cols, (m, n)), strict=True):
        np.testing.assert_array_equal(ours, wanted)
    back = compress.transpose(got[2], got[1], got[0], n)
    for ours, wanted in zip(back, stable(values, cols, rows, (n, m)), strict=True):
        np.testing.assert_array_equal(np.sort(ours), np.sort(wanted))
    again = compress.transpose(back[2], back[1], back[0], m)
    for ours, wanted in zip(again, got, strict=True):
        np.testing.assert_array_equal(ours, wanted)


def test_agrees_with_scipy_at_a_size_that_threads_share():
    m, n = 700, 300
    values, rows, cols = triples(0, m, n, 20000)
    values, rows, cols = (x[np.unique(rows * n + cols, return_index=True)[1]] for x in (values, rows, cols))
    order = np.random.default_rng(1).permutation(len(values))
    indptr, indices, data = compress.csr(values[order], rows[order], cols[order], (m, n))
    wanted = sp.csr_array((values, (rows, cols)), shape=(m, n))
    np.testing.assert_array_equal(indptr, wanted.indptr)
    np.testing.assert_array_equal(indices, wanted.indices)
    np.testing.assert_array_equal(data, wanted.data)
    indptr, indices, data = compress.transpose(data, indices, indptr, n)
    columns = wanted.tocsc()
    np.testing.assert_array_equal(indptr, columns.indptr)
    np.testing.assert_array_equal(indices, columns.indices)
    np.testing.assert_array_equal(data, columns.data)
    assert indptr.dtype == np.int64
    assert indices.dtype == np.int32


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_any_payload_follows_the_order(dtype):
    values, rows, cols = triples(3, 9, 7, 100)
    values = np.arange(100).astype(dtype)
    got = compress.csr(values, rows, cols, (9, 7))[2]
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, stable(values, rows, cols, (9, 7))[2])


@given(st.integers(1, 30), st.integers(0, 200), st.integers(0, 99), st.floats(0, 1))
def test_entries_are_dropped_in_place(m, entries, seed, chance):
    indptr, indices, values = compress.csr(*triples(seed, m, 20, entries), (m, 20))
    drop = np.random.default_rng(seed).random(entries) < chance
    row = np.repeat(np.arange(m), np.diff(indptr))[~drop]
    wanted = np.searchsorted(row, np.arange(m + 1)), indices[~drop], values[~drop]
    for engine in ("reference", "cpu"):
        with use_engine(engine):
            got = compress.without(values, indices, indptr, np.flatnonzero(drop))
        for ours, theirs in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert got[0].dtype == indptr.dtype


@pytest.mark.parametrize("count", [1, 100, 50_000])
@pytest.mark.parametrize("index", [np.int16, np.int32, np.int64])
def test_the_extent_is_the_least_and_the_largest(count, index):
    ids = np.random.default_rng(count).integers(-9000, 9000, count).astype(index)
    assert compress.extent(ids) == (ids.min(), ids.max())
    with use_engine("reference"):
        assert compress.extent(ids) == (ids.min(), ids.max())


def test_one_and_two_threads_agree():
    values, rows, cols = triples(4, 50, 40, 5000)
    with limit_threads(1):
        one = compress.csr(values, rows, cols, (50, 40))
        one += compress.transpose(one[2], one[1], one[0], 40)
    two = compress.csr(values, rows, cols, (50, 40))
    two += compress.transpose(two[2], two[1], two[0], 40)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_backends_agree(backend):
    values, rows, cols = triples(5, 20, 15, 200)
    got = compress.csr(*map(backend.array, (values, rows, cols)), (20, 15))
    got += compress.transpose(got[2], got[1], got[0], 15)
    places = np.array([0, 7, 8, 199])
    got += compress.without(got[2], got[1], got[0], backend.array(places))
    wanted = compress.csr(values, rows, cols, (20, 15))
    wanted += compress.transpose(wanted[2], wanted[1], wanted[0], 15)
    wanted += compress.without(wanted[2], wanted[1], wanted[0], places)
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(backend.numpy(ours), theirs)


def test_reference_keeps_the_dtypes():
    values, rows, cols = triples(6, 20, 15, 200)
    with use_engine("reference"):
        reference = compress.csr(values, rows, cols, (20, 15))
    for ours, theirs in zip(compress.csr(values, rows, cols, (20, 15)), reference, strict=True):
        assert ours.dtype == theirs.dtype
