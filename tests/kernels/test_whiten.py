"""Whitened Gram matrices against long-double products, over shapes, layouts, dtypes and engines."""

from __future__ import annotations

import gc

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la.kernels import _rows, whiten
from lowrank_la.kernels._engine import use_engine
from tests import oracles_tall
from tests.oracles_tall import LAYOUTS, problems, tall


def _run(problem, fast=False, engine="cpu"):
    with use_engine(engine):
        return whiten.gram(problem.A, problem.R_inv, problem.B, problem.scale, fast)


def _assert_within(problem, got, extra=0, u=oracles_tall.U):
    G, C, slack_G, slack_C = oracles_tall.whitened(problem, extra, u)
    assert got[0].dtype == got[1].dtype == np.float64
    assert np.all(np.abs(got[0] - G) <= slack_G)
    assert np.all(np.abs(got[1] - C) <= slack_C)
    assert np.array_equal(got[0], got[0].T)


@settings(max_examples=60)
@given(problem=problems)
def test_products_are_right_to_rounding(problem):
    _assert_within(problem, _run(problem), extra=_rows.MOST_PARTS)


@settings(max_examples=30)
@given(problem=problems)
def test_fast_gram_is_right_to_single_precision_and_leaves_the_rest_exact(problem):
    """Sums of float32 numbers run over FLUSH tiles at most before float64 takes over."""
    problem = oracles_tall.Tall(problem.A, problem.X, problem.B, problem.R_inv, None if problem.scale is None else np.sqrt(problem.scale))
    _assert_within(problem, _run(problem, fast=True), extra=4, u=2.0**-24)


@settings(max_examples=20)
@given(problem=problems)
def test_reference_is_right_to_rounding(problem):
    _assert_within(problem, _run(problem, engine="reference"), extra=_rows.MOST_PARTS)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_tiles_and_parts(layout, fast):
    """More rows than one flush of float32 sums covers, in several parts."""
    problem = tall(20_000, 37, 2, layout=layout, weighted=True)
    G, C = _run(problem, fast)
    G_wide, C_wide = _run(problem, engine="reference")
    size = np.sqrt(np.outer(np.diag(G_wide), np.diag(G_wide)))
    assert np.all(np.abs(G - G_wide) <= (1e-5 if fast else 1e-12) * size)
    assert np.allclose(C, C_wide, rtol=1e-9, atol=1e-12 * np.abs(C_wide).max())


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_same_bits_for_any_number_of_threads(layout, fast):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    problem = tall(30_001, 60, 1, layout=layout, weighted=True)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = _run(problem, fast)
        numba.set_num_threads(2)
        two = _run(problem, fast)
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (299, 40), (256, 17)])
def test_nan_is_never_lost(row, column, fast):
    problem = tall(300, 41, 1)
    problem.A[row, column] = np.nan
    G, C = _run(problem, fast)
    assert np.isnan(np.diag(G)[column:]).all()
    assert np.isnan(C[column:]).all()
    problem = tall(300, 41, 1)
    problem.B[row] = np.nan
    G, C = _run(problem, fast)
    assert np.isfinite(G).all()
    assert np.isnan(C).all()


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_complex(dtype):
    rng = np.random.default_rng(0)
    A, B = ((rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype) for s in ((50, 4), (50, 2)))
    R_inv, scale = np.triu(rng.standard_normal((4, 4)) + 1j), rng.uniform(size=50)
    Q = (scale[:, None] * A.astype(np.clongdouble)) @ R_inv
    G, C = whiten.gram(A, R_inv, B, scale, False)
    assert G.dtype == np.complex128
    assert np.allclose(G, Q.conj().T @ Q, rtol=1e-13)
    assert np.allclose(C, Q.conj().T @ (scale[:, None] * B), rtol=1e-13)


def test_other_libraries(backend):
    problem = tall(90, 5, 2, weighted=True)
    G, C = whiten.gram(*(backend.array(x) for x in (problem.A, problem.R_inv, problem.B, problem.scale)), False)
    _assert_within(problem, (backend.numpy(G), backend.numpy(C)))


@settings(max_examples=20)
@given(layout=st.sampled_from(LAYOUTS), n=st.integers(1, 9), d=st.integers(1, 9))
def test_flat_view_reads_the_matrix_and_keeps_it_alive(layout, n, d):
    A = np.arange(float(n * d)).reshape(n, d)
    memory, at, si, sj = _rows.flat(oracles_tall.laid_out(A, layout))
    gc.collect()
    np.full((n * 6, d * 6), -1.0)  # would overwrite memory that was given back
    assert not memory.flags.writeable
    assert np.array_equal([[memory[at + i * si + j * sj] for j in range(d)] for i in range(n)], A)


def test_flat_view_copies_only_what_cannot_be_read_in_place():
    A = np.zeros((40, 3))
    assert np.shares_memory(_rows.flat(A[::-2, 1:])[0], A)
    assert _rows.flat(np.broadcast_to(np.zeros(()), (40, 3)))[0].size == 1
    fields = np.zeros(40, dtype=[("a", "f8"), ("b", "i2")])["a"][:, None]
    fields[:, 0] = np.arange(40)
    memory, at, si, _ = _rows.flat(fields)
    assert not np.shares_memory(memory, fields)
    assert np.array_equal(memory[at::si], np.arange(40))
