"""Squared lengths of rows: exact to rounding for every dtype and layout, and infinite or NaN where a row is."""

import numpy as np
import pytest

from lowrank_la import kernels, limit_threads

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(0, 5), (7, 0), (3, 4), (1, 20_000), (200, 57), (30_000, 1), (9000, 241)])
def test_agrees_with_long_double(dtype, shape):
    A = (RNG.standard_normal(shape) + (1j * RNG.standard_normal(shape) if np.dtype(dtype).kind == "c" else 0)).astype(dtype)
    for view in (A, np.asfortranarray(A), np.repeat(A, 2, axis=1)[:, ::2], A[::-1]):
        exact = np.sum(view.real.astype(np.longdouble) ** 2 + view.imag.astype(np.longdouble) ** 2, axis=1)
        got = kernels.row_energy.squares(view)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, exact.astype(np.float64), rtol=1e-14 * max(1, shape[1]) ** 0.5)


def test_backends(backend):
    A = RNG.standard_normal((300, 40))
    got = backend.numpy(kernels.row_energy.reference(backend.array(A)))
    np.testing.assert_allclose(got, kernels.row_energy.squares(A), rtol=1e-14)


def test_does_not_depend_on_threads_or_on_the_cut():
    A = RNG.standard_normal((20_000, 120))
    with limit_threads(1):
        one = kernels.row_energy.squares(A)
    np.testing.assert_array_equal(kernels.row_energy.squares(A), one)
    np.testing.assert_array_equal(kernels.row_energy.squares(A[500:900]), one[500:900])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("rows", [10, 5000, 50_000])
def test_shows_what_is_not_finite(bad, rows):
    A = np.ones((rows, 50))
    A[7, 3] = bad
    finite = np.isfinite(kernels.row_energy.squares(A))
    assert not finite[7]
    assert finite.sum() == rows - 1
