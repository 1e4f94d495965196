"""The sum of squares: exact to rounding for every layout, and a witness of bad entries."""

import math

import numpy as np
import pytest

from lowrank_la import kernels, limit_threads

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(0,), (1,), (70001,), (300, 257), (257, 3, 50)])
def test_agrees_with_an_exact_sum(dtype, shape):
    x = (RNG.standard_normal(shape) + (1j * RNG.standard_normal(shape) if np.dtype(dtype).kind == "c" else 0)).astype(dtype)
    squares = np.concatenate([x.real.ravel().astype(np.float64) ** 2, x.imag.ravel().astype(np.float64) ** 2])
    exact = math.fsum(squares)
    for view in (x, x.T, np.repeat(x, 2, axis=0)[::2]):
        assert kernels.energy.squared_norm(view) == pytest.approx(exact, rel=1e-13)
        assert kernels.energy.reference(view) == pytest.approx(exact, rel=1e-13)


def test_backends(backend):
    x = RNG.standard_normal((100, 7))
    inside = backend.array(x) if backend.name == "strict" else x
    assert kernels.energy.squared_norm(inside) == pytest.approx(np.sum(x**2), rel=1e-13)


def test_does_not_depend_on_threads():
    x = RNG.standard_normal(400_000)
    with limit_threads(1):
        one = kernels.energy.squared_norm(x)
    assert kernels.energy.squared_norm(x) == one


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_shows_what_is_not_finite(bad):
    x = np.ones(50_000)
    x[41_234] = bad
    assert not np.isfinite(kernels.energy.squared_norm(x))
