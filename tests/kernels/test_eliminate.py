"""New columns of a partial Cholesky factor against triangular solves in double precision."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_triangular

from lowrank_la.kernels import eliminate, eliminate_points, kernel_entries


def problem(n, first, b, dtype, order="C"):
    rng = np.random.default_rng(n + 100 * first + 10_000 * b)
    F = np.zeros((n, first + b + 2), dtype)
    F[:, :first] = rng.standard_normal((n, first)) / max(first, 1) ** 0.5
    G = np.asarray(rng.standard_normal((n, b)), dtype=dtype, order=order)
    L = np.tril(rng.standard_normal((b, b))) / b**0.5 + 2 * np.eye(b)
    return F, G, rng.integers(0, n, b), L


def solved(F, first, G, pivots, L):
    F_wide = F[:, :first].astype(np.float64)
    return solve_triangular(L, (G - F_wide @ F_wide[pivots].T).T, lower=True).T


@settings(max_examples=40)
@given(
    n=st.integers(1, 150),
    first=st.integers(0, 70),
    b=st.integers(1, 70),
    dtype=st.sampled_from([np.float64, np.float32]),
    order=st.sampled_from(["C", "F"]),
    engine=st.sampled_from([eliminate.cpu, eliminate.reference]),
)
def test_columns_are_right_to_rounding(n, first, b, dtype, order, engine):
    F, G, pivots, L = problem(n, first, b, dtype, order)
    before, expected = F.copy(), solved(F, first, G, pivots, L)
    lengths = engine(F, first, G, pivots, L)
    assert np.array_equal(F[:, :first], before[:, :first])
    assert np.array_equal(F[:, first + b :], before[:, first + b :])
    new = F[:, first : first + b].astype(np.float64)
    np.testing.assert_allclose(new, expected, atol=200 * np.finfo(dtype).eps * max(1.0, np.abs(expected).max()))
    assert lengths.dtype == np.float64
    np.testing.assert_allclose(lengths, np.sum(new**2, axis=1), rtol=1e-12)


def test_complex_numbers():
    rng = np.random.default_rng(0)
    F, G = np.zeros((20, 5), complex), rng.standard_normal((20, 5)) + 1j * rng.standard_normal((20, 5))
    L = np.tril(G[:5]) + 3 * np.eye(5)
    eliminate.apply(F, 0, G, np.arange(5), L)
    np.testing.assert_allclose(F @ L.conj().T, G, atol=1e-13)


def test_same_bits_for_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    threads, answers = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            F, G, pivots, L = problem(3001, 40, 33, np.float64)
            numba.set_num_threads(count)
            answers.append((eliminate.cpu(F, 40, G, pivots, L), F))
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(*answers, strict=True))


def test_other_libraries(backend):
    F, G, pivots, L = problem(30, 4, 6, np.float64)
    expected = solved(F, 4, G, pivots, L)
    F = backend.array(F)
    lengths = eliminate.apply(F, 4, *(backend.array(x) for x in (G, pivots, L)))
    np.testing.assert_allclose(backend.numpy(F)[:, 4:10], expected, atol=1e-12)
    np.testing.assert_allclose(backend.numpy(lengths), np.sum(expected**2, axis=1), rtol=1e-12)


@pytest.mark.parametrize("family", kernel_entries.FAMILIES)
@settings(max_examples=6)
@given(n=st.integers(1, 150), first=st.integers(0, 40), b=st.integers(1, 40), dtype=st.sampled_from([np.float64, np.float32]))
def test_columns_of_points_are_those_of_their_kernel(family, n, first, b, dtype):
    F, _, pivots, L = problem(n, first, b, dtype)
    X = np.random.default_rng(n).standard_normal((n, 5)).astype(dtype)
    numbers = {"polynomial": (3.0, 0.5, 1.0), "cosine": ()}.get(family, (1.5,))
    G, expected = kernel_entries.cpu(X, X[pivots], family, numbers), F.copy()
    lengths = eliminate.cpu(expected, first, G, pivots, L)
    slack = 500 * np.finfo(dtype).eps * max(1.0, np.abs(expected).max())
    for engine in (eliminate_points.cpu, eliminate_points.reference):
        again = F.copy()
        np.testing.assert_allclose(engine(again, first, X, X[pivots], family, numbers, pivots, L), lengths, atol=slack * b, rtol=1e-4)
        np.testing.assert_allclose(again, expected, atol=slack)


def test_columns_of_points_have_the_same_bits_for_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    threads, answers = numba.get_num_threads(), []
    X = np.random.default_rng(0).standard_normal((3001, 6))
    try:
        for count in (1, 2):
            F, _, pivots, L = problem(3001, 40, 33, np.float64)
            numba.set_num_threads(count)
            answers.append((eliminate_points.cpu(F, 40, X, X[pivots], "rbf", (2.0,), pivots, L), F))
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(*answers, strict=True))
