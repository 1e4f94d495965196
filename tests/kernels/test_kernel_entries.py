"""Values of kernels in tiles, and products with them, against long-double formulas of differences."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from lowrank_la.kernels import _kernel_tiles, _profiles, kernel_entries, kernel_product
from lowrank_la.kernels._engine import use_engine

NUMBERS = {"polynomial": (3.0, 0.5, 1.0), "cosine": ()}
every_family = pytest.mark.parametrize("family", kernel_entries.FAMILIES)
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])
_put = _profiles.profile(_profiles.gauss, products=False)


@njit
def powers(t, out):
    """Store 2^-t."""
    _put(t.size, t, 0, t, 0, t, 0, out, 0)


def numbers_of(family, bandwidth=1.7):
    return NUMBERS.get(family, (bandwidth,))


def exact(X, Y, family, numbers):
    """The definition, in long double."""
    X, Y = X.astype(np.longdouble), Y.astype(np.longdouble)
    if family == "polynomial":
        degree, scale, offset = numbers
        return (scale * (X @ Y.T) + offset) ** int(degree)
    if family == "cosine":
        lengths = [np.sqrt(np.sum(Z**2, axis=1)) for Z in (X, Y)]
        lengths = np.outer(*lengths)
        return (X @ Y.T) / np.where(lengths > 0, lengths, 1)
    differences = X[:, None] - Y
    if family == "laplace":
        return np.exp(-np.sum(np.abs(differences), axis=-1) / numbers[0])
    r = np.sqrt(np.sum(differences**2, axis=-1)) / np.longdouble(numbers[0])
    if family == "rbf":
        return np.exp(-(r**2) / 2)
    r = r * np.sqrt(np.longdouble({"matern12": 1, "matern32": 3, "matern52": 5}[family]))
    return {"matern12": 1, "matern32": 1 + r, "matern52": 1 + r + r**2 / 3}[family] * np.exp(-r)


def size(X, Y, family, numbers):
    """Scale of the rounding errors of every entry."""
    if family == "polynomial":
        degree, scale, offset = numbers
        return degree * (scale * np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Y, axis=1) + offset) ** degree
    spread = max(np.abs(Z - Y.mean(axis=0)).max(initial=0) for Z in (X, Y)) if Y.size else 0.0
    return 1.0 if family == "cosine" else 1.0 + X.shape[1] * (spread / numbers[0]) ** 2


@every_dtype
def test_powers_of_two_over_the_whole_range(dtype):
    least = {np.float64: 1021, np.float32: 125}[dtype]
    inside = np.concatenate([np.linspace(0, least - 0.5, 40_000), np.logspace(-30, 0, 1008), np.arange(least)[: least // 16 * 16]]).astype(
        dtype
    )
    inside = inside[: inside.size // 16 * 16]
    out = np.empty_like(inside)
    powers(inside, out)
    expected = np.exp2(-inside.astype(np.longdouble))
    assert np.all(np.abs(out - expected) <= 2 * np.finfo(dtype).eps * expected)
    for t, value in zip(inside[::501].tolist(), out[::501].tolist(), strict=True):
        assert value == pytest.approx(math.exp(-t * math.log(2)), rel=1e-4 if dtype is np.float32 else 1e-12)
    beyond = np.array([0.0, least, least + 0.7, 2.0 * least, 1e30, math.inf, math.nan, 1.0] * 2, dtype=dtype)
    out = np.empty_like(beyond)
    powers(beyond, out)
    assert out.tolist() == [1, 0, 0, 0, 0, 0, 0, 0.5] * 2


@every_family
@settings(max_examples=25)
@given(
    m=st.integers(0, 300),
    n=st.integers(1, 600),
    d=st.sampled_from([1, 2, 3, 4, 7, 20, 65]),
    dtype=st.sampled_from([np.float64, np.float32]),
    order=st.sampled_from(["C", "F"]),
    shift=st.sampled_from([0.0, 100.0]),
    bandwidth=st.sampled_from([0.05, 1.7, 30.0]),
)
def test_entries_are_right_to_rounding(family, m, n, d, dtype, order, shift, bandwidth):
    rng = np.random.default_rng(m + 1000 * n)
    X, Y = (np.asarray(rng.standard_normal((size, d)) + shift, dtype=dtype, order=order) for size in (m, n))
    X[: min(m, n) // 2] = Y[: min(m, n) // 2]
    numbers = numbers_of(family, bandwidth)
    K = kernel_entries.cpu(X, Y, family, numbers)
    assert K.dtype == dtype
    error = np.abs(K - exact(X, Y, family, numbers))
    near = np.finfo(dtype).eps * (shift / bandwidth) * d if family not in ("cosine", "polynomial") else 0  # centring rounds
    assert np.all(error <= (30 + 2 * d) * np.finfo(dtype).eps * size(X, Y, family, numbers) + 4 * near)
    if family not in ("cosine", "polynomial"):
        assert np.all(np.diagonal(K)[: min(m, n) // 2] == 1)
        assert np.all(K <= 1)


@every_family
@every_dtype
def test_reference_agrees(family, dtype):
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((size, 5)).astype(dtype) for size in (40, 30))
    Y[3] = 0
    numbers = numbers_of(family)
    error = np.abs(kernel_entries.reference(X, Y, family, numbers) - exact(X, Y, family, numbers))
    assert np.all(error <= 60 * np.finfo(dtype).eps * size(X, Y, family, numbers))
    V = rng.standard_normal((30, 2)).astype(dtype)
    expected = exact(X, Y, family, numbers) @ V
    assert np.allclose(kernel_product.reference(X, Y, V, family, numbers), expected, atol=1e4 * np.finfo(dtype).eps * abs(expected).max())


@pytest.mark.parametrize("family", ["rbf", "matern12", "matern32", "matern52", "polynomial", "cosine"])
def test_sparse_points(family):
    X = sp.random_array((70, 90), density=0.1, rng=np.random.default_rng(0), format="csr")
    numbers = numbers_of(family)
    expected = kernel_entries.reference(X.toarray(), X[:20].toarray(), family, numbers)
    atol = 1e-7 if family == "matern12" else 1e-12  # the root of the rounding errors of products
    np.testing.assert_allclose(kernel_entries.apply(X, X[:20], family, numbers), expected, atol=atol)
    V = np.random.default_rng(1).standard_normal((20, 3))
    np.testing.assert_allclose(kernel_product.apply(X, X[:20], V, family, numbers), expected @ V, atol=10 * atol)


@every_family
@settings(max_examples=8)
@given(
    m=st.integers(0, 700),
    n=st.integers(1, 900),
    t=st.sampled_from([0, 1, 3, 40]),
    dtype=st.sampled_from([np.float64, np.float32]),
    same=st.booleans(),
)
def test_products(family, m, n, t, dtype, same):
    rng = np.random.default_rng(m + 1000 * n)
    Y = rng.standard_normal((n, 5)).astype(dtype)
    X = Y if same else rng.standard_normal((m, 5)).astype(dtype)
    V, numbers = rng.standard_normal((n, t)).astype(dtype), numbers_of(family)
    K = exact(X, Y, family, numbers).astype(np.float64)
    result = kernel_product.cpu(X, Y, V, family, numbers)
    assert result.shape == (X.shape[0], t)
    assert result.dtype == dtype
    slack = 100 * np.finfo(dtype).eps * (np.broadcast_to(size(X, Y, family, numbers), K.shape) @ np.abs(V.astype(np.float64)))
    assert np.all(np.abs(result - K @ V.astype(np.float64)) <= slack)


@every_dtype
def test_far_points_keep_their_digits(dtype):
    """Two clusters far apart: distances within them come from differences."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((64, 6)) + 1000 * rng.integers(0, 2, (64, 1))).astype(dtype)
    K = kernel_entries.cpu(X, X, "rbf", (1.0,))
    assert np.abs(K - exact(X, X, "rbf", (1.0,))).max() < {np.float64: 1e-12, np.float32: 1e-3}[dtype]
    assert _kernel_tiles.prepare(X, X, "rbf", (1.0,))[0].sums == _kernel_tiles.SQUARES
    assert _kernel_tiles.prepare(X, X, "rbf", (1000.0,))[0].sums == _kernel_tiles.PRODUCTS


@every_dtype
def test_same_bits_for_any_number_of_threads(dtype):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    rng = np.random.default_rng(0)
    X, V = rng.standard_normal((5000, 6)).astype(dtype), rng.standard_normal((5000, 3)).astype(dtype)
    threads, answers = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            answers.append(
                [kernel_entries.cpu(X[:999], X, "rbf", (2.0,))] + [kernel_product.cpu(X, Y, V, "rbf", (2.0,)) for Y in (X, X.copy())]
            )
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(*answers, strict=True))


def test_symmetric_products_agree_with_plain_ones():
    rng = np.random.default_rng(0)
    X, V = rng.standard_normal((3001, 4)), rng.standard_normal((3001, 35))
    one, two = (kernel_product.cpu(X, Y, V, "matern32", (2.0,)) for Y in (X, X.copy()))
    np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-10)


def test_points_without_coordinates():
    X, V = np.empty((4, 0)), np.ones((4, 1))
    assert np.array_equal(kernel_entries.cpu(X, X, "rbf", (1.0,)), np.ones((4, 4)))
    assert np.array_equal(kernel_product.cpu(X, X, V, "rbf", (1.0,)), np.full((4, 1), 4.0))


def test_other_libraries(backend):
    rng = np.random.default_rng(0)
    X, Y, V = (rng.standard_normal(shape) for shape in ((9, 3), (7, 3), (7, 2)))
    arrays = [backend.array(x) for x in (X, Y, V)]
    for family in kernel_entries.FAMILIES:
        numbers = numbers_of(family)
        expected = exact(X, Y, family, numbers).astype(float)
        with use_engine("reference"):
            np.testing.assert_allclose(backend.numpy(kernel_entries.apply(*arrays[:2], family, numbers)), expected, rtol=1e-12)
            np.testing.assert_allclose(backend.numpy(kernel_product.apply(*arrays, family, numbers)), expected @ V, rtol=1e-11, atol=1e-11)
