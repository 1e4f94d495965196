"""The register tiles of the fine gradient against exact rational arithmetic, over shapes, layouts, dtypes and threads."""

from __future__ import annotations

from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la.kernels import _tile, fine_gradient
from lowrank_la.kernels._engine import use_engine
from tests.oracles_tall import LAYOUTS, Tall, tall

exact = np.vectorize(Fraction, otypes=[object])


def _near_solution(n, d, k, layout, dtype, weighted, seed):
    """Draw a problem whose residual is far below the rounding level of A X."""
    problem = tall(n, d, k, layout=layout, dtype=dtype, weighted=weighted, seed=seed)
    return Tall(problem.A, problem.X, (problem.A.astype(np.float64) @ problem.X).astype(dtype), problem.R_inv, problem.scale)


def _assert_fine(problem, high, low):
    """The sum of both parts errs by (a number of roundings * u)^2 times the absolute terms."""
    A, X, B = exact(problem.A.astype(np.float64)), exact(problem.X), exact(problem.B.astype(np.float64))
    n, d = A.shape
    D2 = exact(np.ones(n) if problem.scale is None else problem.scale)[:, None] ** 2
    g = A.T @ (D2 * (B - A @ X))
    size = abs(A).T @ (D2 * (abs(B) + abs(A) @ abs(X)))
    slack = (Fraction(3 * (n + d) + 40) * Fraction(2) ** -53) ** 2 * size
    assert np.all(abs(exact(high) + exact(low) - g) <= slack)


@settings(max_examples=40)
@given(
    n=st.integers(1, 40),
    d=st.integers(1, 40),
    k=st.sampled_from([1, 2]),
    layout=st.sampled_from(LAYOUTS),
    dtype=st.sampled_from([np.float64, np.float32]),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_twice_the_working_precision(engine, n, d, k, layout, dtype, weighted, seed):
    problem = _near_solution(n, d, k, layout, dtype, weighted, seed)
    with use_engine(engine):
        high, low, _ = fine_gradient.gradient(problem.A, problem.X, problem.B, problem.scale)
    _assert_fine(problem, high, low)


@pytest.mark.parametrize("layout", ["C", "F", "spread both"])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_tiles_and_parts(layout, weighted):
    """Sums over many tiles against the reference, which adds in another order."""
    problem = _near_solution(5_000, 110, 1, layout, np.float64, weighted, 0)
    high, low, r2 = fine_gradient.gradient(problem.A, problem.X, problem.B, problem.scale)
    with use_engine("reference"):
        wide = fine_gradient.gradient(problem.A, problem.X, problem.B, problem.scale)
    D = np.ones(5_000) if problem.scale is None else problem.scale
    size = np.abs(problem.A).T @ (D[:, None] ** 2 * (np.abs(problem.B) + np.abs(problem.A) @ np.abs(problem.X)))
    assert np.all(np.abs((high - wide[0]) + (low - wide[1])) <= 1e-27 * size)
    assert np.allclose(r2, wide[2], rtol=1e-12)


@pytest.mark.parametrize("layout", ["C", "F"])
def test_same_bits_for_any_number_of_threads(layout):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    problem = tall(20_001, 23, 1, layout=layout, weighted=True)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = fine_gradient.gradient(problem.A, problem.X, problem.B, problem.scale)
        numba.set_num_threads(2)
        two = fine_gradient.gradient(problem.A, problem.X, problem.B, problem.scale)
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("d", [3, 11, 45])
def test_nan_is_never_lost_and_never_invented(layout, d):
    """Vectors that overlap the end of a row must not read what lies behind it."""
    problem = tall(70, d, 1, layout=layout)
    assert all(np.isfinite(x).all() for x in fine_gradient.gradient(problem.A, problem.X, problem.B, None))
    B = problem.B.copy()
    B[69] = np.nan
    high, low, r2 = fine_gradient.gradient(problem.A, problem.X, B, None)
    assert np.isnan(high + low).all()
    assert np.isnan(r2).all()


def test_fused_multiply_add_rounds_once():
    @numba.njit
    def error_of_product(x, y):
        return _tile.fma(x, y, -(x * y))

    x, y = 1 + 2.0**-30, 1 - 2.0**-30
    assert Fraction(x * y) + Fraction(error_of_product(x, y)) == Fraction(x) * Fraction(y)
