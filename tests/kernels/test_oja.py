"""Oja's iteration: against the plain loop in long double, for dense and sparse rows, light and heavy ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import oja
from lowrank_la.kernels._engine import use_engine


def oracle(V, X, rates):
    """Take one row after the other, in long double, and scale the vectors after each."""
    V = V.astype(np.clongdouble if np.iscomplexobj(V) else np.longdouble)
    growth = np.zeros(V.shape[1], np.longdouble)
    for a in X.astype(V.dtype):
        V = V + np.conj(a)[:, None] * (rates * (a @ V))
        size = np.sqrt(np.sum(np.abs(V) ** 2, axis=0))
        V, growth = V / size, growth + np.log(size)
    return V, growth


def problem(seed, n, d, vectors, *, scale=1.0, complex_numbers=False, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X, V = rng.standard_normal((n, d)), rng.standard_normal((d, vectors))
    if complex_numbers:
        X, V = X + 1j * rng.standard_normal((n, d)), V + 1j * rng.standard_normal((d, vectors))
    X = X * (rng.random((n, d)) < 0.5) * np.exp(scale * rng.standard_normal((n, 1)))
    X = X.astype(np.result_type(dtype, np.complex64) if complex_numbers else dtype)
    return V / np.linalg.norm(V, axis=0), X, 10.0 ** rng.uniform(-4, 1, vectors)


def assert_agrees(got, wanted):
    np.testing.assert_allclose(got[0], wanted[0].astype(got[0].dtype), atol=1e-10)
    np.testing.assert_allclose(got[1], wanted[1].astype(np.float64), rtol=1e-10, atol=1e-10)


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.integers(0, 150),
    st.integers(1, 20),
    st.integers(0, 20),
    st.floats(0, 3),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
)
def test_agrees_with_the_plain_loop(seed, n, d, vectors, scale, complex_numbers, dtype):
    V, X, rates = problem(seed, n, d, vectors, scale=scale, complex_numbers=complex_numbers, dtype=dtype)
    before, wanted = V.copy(), oracle(V, X, rates)
    for rows in (X, sp.csr_array(X)):
        for engine in ("reference", "cpu"):
            with use_engine(engine):
                assert_agrees(oja.advance(V, rows, rates), wanted)
    np.testing.assert_array_equal(V, before)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_vectors_that_grow_beyond_all_numbers(sparse, engine):
    V, X, _ = problem(0, 200, 6, 3)
    X = X * 1e40
    rates = np.array([1.0, 1e-40, 1e-80])
    with use_engine(engine):
        got = oja.advance(V, sp.csr_array(X) if sparse else X, rates)
    assert_agrees(got, oracle(V, X, rates))
    assert got[1][0] > 1e4


def test_backends(backend):
    V, X, rates = problem(1, 90, 7, 3)
    got = (
        oja.advance(backend.array(V), backend.array(X), rates)
        if backend.name != "torch"
        else oja.reference(*map(backend.array, (V, X)), rates)
    )
    assert_agrees([backend.numpy(x) for x in got], oracle(V, X, rates))


def test_layouts():
    V, X, rates = problem(2, 100, 9, 4)
    wanted = oracle(V, X, rates)
    for rows in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], sp.csr_array(X, copy=True).astype(np.float64)):
        assert_agrees(oja.advance(np.asfortranarray(V), rows, rates), wanted)
    long = sp.csr_array(X)
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    assert_agrees(oja.advance(V, long, rates), wanted)


def test_threads_do_not_matter():
    V, X, rates = problem(3, 300, 40, 20)
    answers = []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append(oja.advance(V, sp.csr_array(X), rates))
    for one, two in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, two)
