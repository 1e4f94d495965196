"""Sums, products and rounding, against dense coefficients in NumPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.functions import _product, chebyshev_tucker
from lowrank_la.functions._function import function_of
from tests.functions.oracles import BOXES, dense, multiplied, padded, points, random_function

SIZES, RANKS = (9, 6, 12), (3, 4, 2)
seeds = st.integers(0, 2**32)


def distance(C, D):
    shape = np.maximum(C.shape, D.shape)
    return np.linalg.norm(padded(C, shape) - padded(D, shape)) / (1 + np.linalg.norm(C))


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("outputs", [None, 2])
def test_sums_agree_with_dense_coefficients(dim, outputs):
    sizes, ranks = (9, 6, 12, 2, 3)[:dim], (3, 4, 2, 2, 1)[:dim]
    f, C = random_function(sizes, ranks, outputs=outputs)
    g, D = random_function(sizes[::-1], ranks[::-1], outputs=outputs, seed=1)
    shape = np.maximum(C.shape, D.shape)
    assert distance(padded(C, shape) + padded(D, shape), dense(f + g)) < 1e-14
    assert distance(padded(C, shape) - padded(D, shape), dense(f - g)) < 1e-14
    for V in (f + g).factors:
        assert abs(V.T @ V - np.eye(V.shape[1])).max() < 1e-14


def test_numbers_join_in():
    f, _ = random_function(SIZES, RANKS)
    X = points(f, 20)
    for number in (2, 2.5, np.float64(0.5), np.float32(3), np.asarray(1.5)):
        assert abs((f + number)(X) - (f(X) + float(number))).max() < 1e-12
        assert abs((number - f)(X) - (float(number) - f(X))).max() < 1e-12
        assert abs((number * f)(X) - float(number) * f(X)).max() < 1e-12
        assert abs((f / number)(X) - f(X) / float(number)).max() < 1e-12
    assert (f * 2).core.dtype == np.float64
    assert abs((f * 1j + 2j)(X) - (1j * f(X) + 2j)).max() < 1e-12
    assert abs((-f)(X) + f(X)).max() == 0


def test_precisions_are_promoted():
    single, _ = random_function(SIZES, RANKS, dtype=np.float32)
    double, _ = random_function(SIZES, RANKS)
    complex_one, _ = random_function(SIZES, RANKS, dtype=np.complex64)
    assert (single + double).core.dtype == (double + single).core.dtype == np.float64
    assert (single + complex_one).core.dtype == np.complex64
    assert (double * complex_one).core.dtype == np.complex128
    assert (single * 1j).core.dtype == np.complex64


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("outputs", [None, 2])
def test_a_function_minus_itself_is_the_zero_function(dtype, outputs):
    f, _ = random_function((40, 30, 20), (12, 10, 8), dtype=dtype, outputs=outputs)
    zero = f - f
    assert zero.ranks == (1, 1, 1)
    assert zero.degrees == (0, 0, 0)
    assert abs(zero.core).max() == 0
    assert zero.outputs == outputs
    assert (zero + f).ranks == f.ranks
    assert np.isfinite(zero.certificate.bound) or math.isinf(f.certificate.bound)


@given(seeds, st.floats(1e-6, 1e6))
def test_ranks_of_sums_do_not_grow_by_noise(seed, scale):
    f, C = random_function((20, 15, 25), (4, 5, 3), seed=seed)
    g, _ = random_function((12, 30, 9), (2, 3, 4), seed=seed + 1)
    assert (f + f * scale).ranks == f.ranks
    back = ((f + g) - g).round(1e-12)
    assert back.ranks == f.ranks
    assert distance(C, dense(back)) < 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_products_agree_with_dense_coefficients(dim, dtype):
    f, C = random_function((7, 6, 9)[:dim], (3, 2, 4)[:dim], dtype=dtype)
    g, D = random_function((5, 8, 4)[:dim], (2, 3, 2)[:dim], dtype=dtype, seed=1)
    expected = multiplied(C, D)
    assert distance(expected, dense(f * g)) < 1e-11
    assert all(m <= n for m, n in zip(dense(f * g).shape, expected.shape, strict=True))
    assert (f * g).certificate.bound < 1e-8


@given(seeds)
def test_products_are_values_times_values(seed):
    f, _ = random_function(SIZES, RANKS, seed=seed)
    g, _ = random_function((4, 9, 3), (2, 3, 2), seed=seed + 1)
    X = points(f, 10, seed)
    assert abs((f * g)(X) - f(X) * g(X)).max() < 1e-9 * (1 + f.norm() * g.norm())
    assert abs((f * g).integral() - f.inner(g)) < 1e-9 * (1 + f.norm() * g.norm())


@given(seeds, st.floats(1e-12, 0.5))
def test_rounding_stays_within_its_tolerance(seed, tol):
    f, C = random_function((20, 15, 25), (8, 9, 7), seed=seed)
    g = f.round(tol)
    error = np.linalg.norm(padded(dense(g), C.shape) - C)
    assert error <= tol * np.linalg.norm(C) + 1e-13
    assert math.isclose(g.truncation, error, rel_tol=1e-6, abs_tol=1e-13 * np.linalg.norm(C))
    assert all(r <= s for r, s in zip(g.ranks, f.ranks, strict=True))
    assert (1e6 * f).round(tol).ranks == g.ranks
    for V in g.factors:
        assert abs(V.T @ V - np.eye(V.shape[1])).max() < 1e-13


def test_rounding_to_given_ranks():
    f, C = random_function((20, 15, 25), (8, 9, 7))
    g = f.round(ranks=(2, 3, 2))
    assert g.ranks == (2, 3, 2)
    assert math.isclose(g.truncation, np.linalg.norm(padded(dense(g), C.shape) - C), rel_tol=1e-10)


def test_functions_of_any_scale_are_compressed_alike():
    f, _ = random_function((20, 15, 25), (8, 9, 7))
    g = f.round(0.01)
    for scale in (1e-180, 1e160):
        h = (f * scale).round(0.01)
        assert (h.ranks, h.degrees) == (g.ranks, g.degrees)
        assert math.isclose(h.truncation, scale * g.truncation, rel_tol=1e-9)
        assert (f * scale + f * scale).ranks == f.ranks


def test_rounding_lowers_degrees():
    f = function_of(np.ones((1, 1)), [10.0 ** -np.arange(12)[:, None], np.ones((3, 1))], BOXES[:2])
    assert f.round(1e-4).degrees == (4, 2)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_compositions_are_functions_of_values(dim):
    f = chebyshev_tucker(lambda *x: 2 + np.cos(sum(x)), [(0, 1)] * dim, tol=1e-12, rng=0)
    g = f.compose(np.log, tol=1e-9)
    X = points(f, 500).T
    error = g(*X) - np.log(f(*X))
    assert abs(error).max() < 1e-7
    assert np.sqrt(np.mean(error**2)) < 10 * g.certificate.bound
    assert "as they stand" in g.certificate.claim
    assert f.compose(np.square).ranks == (f * f).round(1e-7).ranks


def test_products_to_a_tolerance():
    f = chebyshev_tucker(lambda x, y: 1 / (1 + 9 * (x * x + y * y)), [(-1, 1)] * 2, tol=1e-12, rng=0)
    X = points(f, 500)
    size = np.linalg.norm((f * f).core)
    for tol in (1e-3, 1e-6, 1e-10):
        g = f.product(f, tol=tol)
        error = abs(g(X) - f(X) ** 2)
        assert np.sqrt(np.mean(error**2)) < 3 * tol * size
        assert error.max() < 20 * tol * size
        assert g.certificate.bound < 10 * tol * size
    assert f.product(f, tol=1e-3).ranks < (f * f).ranks
    assert np.array_equal(f.product(f, rng=3).core, f.product(f, rng=3).core)


def test_products_that_do_not_fit_are_sampled(monkeypatch):
    monkeypatch.setattr(_product, "MOST_NUMBERS", 10)
    f = chebyshev_tucker(lambda x, y: np.exp(x * y), [(-1, 1)] * 2, tol=1e-12, rng=0)
    X = points(f, 100)
    assert abs((f * f)(X) - f(X) ** 2).max() < 1e-9


def test_operands_stay_as_they_were():
    f, _ = random_function(SIZES, RANKS)
    copies = [f.core.copy(), *(V.copy() for V in f.factors)]
    for array in (f.core, *f.factors):
        array.setflags(write=False)
    _ = f + f, f * f, f.round(0.1), f.derivative(0), f.laplacian(), f.integral()
    assert all(np.array_equal(a, b) for a, b in zip(copies, (f.core, *f.factors), strict=True))


def test_backends(backend):
    f, _ = random_function(SIZES, RANKS)
    arrays = [backend.array(x) for x in (f.core, *f.factors)]
    g = replace(f, core=arrays[0], factors=tuple(arrays[1:]))
    X = points(f, 10)
    here = backend.array(X)
    for operation in (
        lambda h: h + 2 * h,
        lambda h: h * h,
        lambda h: h.round(0.1),
        lambda h: h.derivative(1),
        lambda h: h.laplacian(),
        lambda h: h.antiderivative(0),
        lambda h: h - h,
    ):
        expected, got = operation(f), operation(g)
        assert type(got.core) is type(arrays[0])
        assert abs(backend.numpy(got(here)) - expected(X)).max() < 1e-9 * (1 + abs(expected(X)).max())
    assert abs(backend.numpy(g.slice({0: 0.5})(here[:, 1:])) - f.slice({0: 0.5})(X[:, 1:])).max() < 1e-12
    assert math.isclose(g.integral(), f.integral(), rel_tol=1e-12)
    assert math.isclose(g.norm(), f.norm(), rel_tol=1e-12)
    assert math.isclose(g.inner(g), f.norm() ** 2, rel_tol=1e-12)


def test_libraries_do_not_mix():
    torch = pytest.importorskip("torch")
    strict = pytest.importorskip("array_api_strict")
    f, _ = random_function(SIZES, RANKS)
    g = replace(f, core=strict.asarray(f.core), factors=tuple(map(strict.asarray, f.factors)))
    with pytest.raises(TypeError, match="arrays of one library"):
        _ = f + g
    h = replace(f, core=torch.tensor(f.core), factors=tuple(map(torch.tensor, f.factors)))
    assert isinstance((h + f).core, torch.Tensor)


def test_other_functions_are_refused():
    f, _ = random_function(SIZES, RANKS)
    moved = function_of(f.core, f.factors, f.domain + 1)
    flat, _ = random_function(SIZES[:2], RANKS[:2])
    vector, _ = random_function(SIZES, RANKS, outputs=2)
    with pytest.raises(ValueError, match=r"same domain; got \[0, 1\] and \[1, 2\] along axis 0"):
        _ = f + moved
    with pytest.raises(ValueError, match="same number of variables; got 3 and 2"):
        _ = f * flat
    with pytest.raises(ValueError, match="same outputs; got none and 2"):
        _ = f + vector
    with pytest.raises(ValueError, match="product: values must be numbers; got a function with 2 outputs"):
        _ = vector * vector
    with pytest.raises(ValueError, match="compose: values must be numbers"):
        vector.compose(np.exp)
    with pytest.raises(TypeError, match="compose: function must be callable; got int"):
        f.compose(3)
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = f + "a"
    with pytest.raises(ValueError, match="round: tol must be a number between 0 and 1"):
        f.round(2.0)
    with pytest.raises(ValueError, match="round: ranks must be 3 integers"):
        f.round(ranks=(2, 2))
    with pytest.raises(ValueError, match="a number beside a function must be finite; got nan"):
        _ = f * np.nan
    with pytest.raises(ZeroDivisionError):
        _ = f / 0
