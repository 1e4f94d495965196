"""Gradients of residuals against long-double sums, within the rounding that the kernel states."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings

from lowrank_la.kernels import residual
from lowrank_la.kernels._engine import use_engine
from tests import oracles_tall
from tests.oracles_tall import LAYOUTS, problems, tall


def _run(problem, engine="cpu"):
    with use_engine(engine):
        return residual.gradient(problem.A, problem.X, problem.B, problem.scale)


def _assert_within(problem, got, length):
    g, r2, slack_g, slack_r2 = oracles_tall.gradient(problem, length)
    assert got[0].dtype == got[1].dtype == np.float64
    assert np.all(np.abs(got[0] - g) <= slack_g)
    assert np.all(np.abs(got[1] - r2) <= slack_r2)


@settings(max_examples=100)
@given(problem=problems)
def test_rounding_stays_within_the_stated_model(problem):
    _assert_within(problem, _run(problem), residual.sum_length(problem.A, problem.X.shape[1]))


@settings(max_examples=20)
@given(problem=problems)
def test_reference_stays_within_the_plain_model(problem):
    _assert_within(problem, _run(problem, "reference"), problem.A.shape[0] + 4)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_tiles_and_parts(layout, k):
    problem = tall(9_000, 130, k, layout=layout, weighted=True)
    length = residual.sum_length(problem.A, k)
    assert length < 1000
    _assert_within(problem, _run(problem), length)


def test_sums_of_equal_terms_are_counted_by_sum_length():
    """Equal terms make the plain sum of n terms err far more than the stated chain allows."""
    A, B = np.full((1 << 18, 1), 0.1), np.full((1 << 18, 1), 0.1)
    g, _ = residual.gradient(A, np.zeros((1, 1)), B, None)
    exact = (np.longdouble(0.1) ** 2 * (1 << 18)).astype(np.longdouble)
    assert abs(g[0, 0] - exact) <= oracles_tall.gamma(residual.sum_length(A, 1)) * exact


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_same_bits_for_any_number_of_threads(layout, k):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    problem = tall(30_001, 23, k, layout=layout, weighted=True)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = _run(problem)
        numba.set_num_threads(2)
        two = _run(problem)
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nan_is_never_lost_and_never_invented(layout, k):
    """Memory between the entries of a spread matrix holds NaN, and must not leak into the answer."""
    problem = tall(300, 11, k, layout=layout)
    assert all(np.isfinite(x).all() for x in _run(problem))
    A = np.array(problem.A)
    A[299, 10] = np.nan
    g, r2 = _run(oracles_tall.Tall(oracles_tall.laid_out(A, layout), *(getattr(problem, f) for f in ("X", "B", "R_inv", "scale"))))
    assert np.isnan(g).all()
    assert np.isnan(r2).all()


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_complex(dtype):
    rng = np.random.default_rng(0)
    A, X, B = ((rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype) for s in ((50, 4), (4, 2), (50, 2)))
    scale = rng.uniform(size=50)
    R = scale[:, None] * (B - A.astype(np.clongdouble) @ X)
    g, r2 = residual.gradient(A, X, B, scale)
    assert g.dtype == np.complex128
    assert r2.dtype == np.float64
    assert np.allclose(g, A.conj().T @ (scale[:, None] * R), rtol=1e-12)
    assert np.allclose(r2, np.sum(np.abs(R) ** 2, axis=0), rtol=1e-13)


def test_other_libraries(backend):
    problem = tall(90, 5, 2, weighted=True)
    got = residual.gradient(*(backend.array(x) for x in (problem.A, problem.X, problem.B, problem.scale)))
    _assert_within(problem, [backend.numpy(x) for x in got], 94)


@pytest.mark.cudasim
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "d", "weighted"), [(1, 1, False), (17, 40, True), (70, 3, False), (33, 600, True)])
def test_cuda_loop(n, d, weighted, dtype):
    problem = tall(n, d, 1, dtype=dtype, weighted=weighted)
    _assert_within(problem, _run(problem, "cuda"), n + 4)


@pytest.mark.cudasim
@pytest.mark.parametrize(("layout", "k"), [("F", 1), ("C", 2)])
def test_cuda_leaves_other_problems_to_blas(layout, k):
    problem = tall(20, 3, k, layout=layout)
    _assert_within(problem, _run(problem, "cuda"), 24)


@pytest.mark.cudasim
def test_cuda_keeps_nan():
    problem = tall(40, 5, 1)
    problem.A[39, 4] = np.nan
    assert all(np.isnan(x).all() for x in _run(problem, "cuda"))
