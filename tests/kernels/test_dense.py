"""Dense random matrices: products and adjoints against the entries, entries against the array API, bits against their law."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from lowrank_la import limit_threads
from lowrank_la.kernels import _dense_signs, _panels, _tile, _tile_signs, dense
from lowrank_la.kernels._engine import use_engine
from tests.kernels.test_sparse_sign import close, data

SEED, LAWS = 2**63 + 5, ["rademacher", "gaussian"]
every_law = pytest.mark.parametrize("law", LAWS)


@every_law
@settings(max_examples=30)
@given(
    n=st.integers(0, 700),
    c=st.sampled_from([0, 1, 3, 8, 13, 40, 130]),
    height=st.integers(1, 300),
    offset=st.sampled_from([0, 3, 2**33]),
    dtype=st.sampled_from([np.float32, np.float64, np.complex64, np.complex128]),
    order=st.sampled_from(["C", "F"]),
    weighted=st.booleans(),
)
def test_versions_agree(law, n, c, height, offset, dtype, order, weighted):
    A, scale = data(n, c, dtype, order), np.linspace(-1, 2, n).astype(np.dtype(dtype).type(0).real.dtype) if weighted else None
    close(dense.cpu(A, law, SEED, 7, height, offset, scale), dense.reference(A, law, SEED, 7, height, offset, scale))
    Y = data(height, c, dtype, order)
    close(dense.adjoint_cpu(Y, law, SEED, 7, offset, offset + n), dense.adjoint_reference(Y, law, SEED, 7, offset, offset + n))


@every_law
@pytest.mark.parametrize(("n", "c", "height"), [(20_000, 37, 24), (3000, 1100, 16), (500, 20, 2000)])
def test_many_parts_panels_and_chunks(law, n, c, height):
    A, Y = data(n, c), data(height, c)
    plan = _panels.layout(n, c, height, A.dtype)
    assert max(plan.parts, plan.panels, plan.chunks) > 1
    close(dense.cpu(A, law, SEED, 7, height, 0, None), dense.reference(A, law, SEED, 7, height, 0, None))
    close(dense.adjoint_cpu(Y, law, SEED, 7, 5, n), dense.adjoint_reference(Y, law, SEED, 7, 5, n))


@every_law
def test_strided_read_only_and_reversed_views(law):
    A = data(300, 60)[::-2, 1::3]
    A.flags.writeable = False
    close(dense.cpu(A, law, SEED, 7, 24, 0, None), dense.reference(A, law, SEED, 7, 24, 0, None))
    close(dense.adjoint_cpu(A, law, SEED, 7, 0, 90), dense.adjoint_reference(A, law, SEED, 7, 0, 90))


@every_law
def test_nan_stays_in_its_column(law):
    A = data(300, 40)
    A[17, 2] = np.nan
    bad = np.isnan(dense.cpu(A, law, SEED, 7, 24, 0, None))
    assert bad[:, 2].all()
    assert bad.sum() == 24


@every_law
def test_threads_do_not_change_a_bit(law):
    A, Y = data(10_000, 23), data(40, 23)
    with limit_threads(1):
        one = dense.cpu(A, law, SEED, 7, 80, 0, None), dense.adjoint_cpu(Y, law, SEED, 7, 0, 5000)
    np.testing.assert_array_equal(dense.cpu(A, law, SEED, 7, 80, 0, None), one[0])
    np.testing.assert_array_equal(dense.adjoint_cpu(Y, law, SEED, 7, 0, 5000), one[1])


@pytest.mark.parametrize("height", [1, 7, 300])
def test_entries(height):
    cols, like = np.array([0, 5, 2**40]), np.empty(0)
    np.testing.assert_array_equal(
        dense.entries_cpu(like, "rademacher", SEED, 7, height, cols), dense.entries_reference(like, "rademacher", SEED, 7, height, cols)
    )
    assert dense.entries_cpu(np.empty(0, np.complex64), "gaussian", SEED, 7, height, cols).dtype == np.float32


def test_gaussian_entries_agree_to_the_last_digits():
    cols = np.arange(20_000)
    got = dense.entries_cpu(np.empty(0), "gaussian", SEED, 7, 40, cols)
    np.testing.assert_allclose(got, dense.normals(np.empty(0), SEED, 7, 40, cols), rtol=2e-15, atol=0)


def test_gaussian_entries_against_exact_arithmetic():
    mp = pytest.importorskip("mpmath")
    words = dense.philox.words(np.empty(0), SEED, 7, np.arange(200), np.zeros(200, np.int64))
    got = dense.entries_cpu(np.empty(0), "gaussian", SEED, 7, 4, np.arange(200))
    with mp.workdps(40):
        for j in range(200):
            radius = mp.sqrt(-2 * mp.log((mp.mpf(int(words[0][j])) + 0.5) / 2**32))
            angle = mp.mpf(2 * math.pi * ((int(words[1][j]) + 0.5) / 2**32))  # rounded, as the contract says
            assert abs(got[0, j] / (radius * mp.cos(angle)) - 1) < 1e-15
            assert abs(got[1, j] / (radius * mp.sin(angle)) - 1) < 1e-15


def test_gaussians_have_the_right_moments():
    g = dense.entries_cpu(np.empty(0), "gaussian", 1, 7, 200, np.arange(1000)).ravel()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((g**power).mean() - moment) < 5 * np.sqrt(variance / g.size)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=32, max_size=32))
def test_bits_are_transposed(rows):
    words = np.array(rows, np.uint32)
    bits = words[:, None] >> np.arange(32, dtype=np.uint32) & 1
    _dense_signs._transpose(words)
    np.testing.assert_array_equal(words[:, None] >> np.arange(32, dtype=np.uint32) & 1, bits.T)


FILL, ADD = _tile_signs.sign_sums(), _tile_signs.lookup()


@njit
def _table_product(codes, b, table, c):
    FILL(8, b, 0, b.shape[1], table, 0, b.shape[1])
    ADD(codes.size, codes, 0, table, 0, c, 0, b.shape[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tables_multiply_by_signs(dtype):
    rng = np.random.default_rng(0)
    width = _tile.VECTORS * _tile.lanes_of(dtype)
    b, c = rng.integers(-99, 99, (32, width)).astype(dtype), rng.integers(-99, 99, (50, width)).astype(dtype)
    codes = rng.integers(0, 2**32, 50, dtype=np.uint32)
    expected = c + (1.0 - 2.0 * (codes[:, None] >> np.arange(32, dtype=np.uint32) & 1)) @ b
    _table_product(codes, b, np.empty((128, width), dtype), c)
    np.testing.assert_array_equal(c, expected.astype(dtype))


@pytest.mark.cudasim
@every_law
def test_cuda(law):
    A, Y, scale = data(37, 3), data(12, 2), np.linspace(-1, 2, 37)
    with use_engine("cuda"):
        close(dense.apply(A, law, SEED, 7, 12, 5, scale), dense.reference(A, law, SEED, 7, 12, 5, scale))
        close(dense.adjoint(Y, law, SEED, 7, 5, 42), dense.adjoint_reference(Y, law, SEED, 7, 5, 42))
