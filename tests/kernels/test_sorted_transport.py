"""Costs and slopes of projected points against SciPy and exact sums, over sizes, weights, dtypes and shapes of data."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.stats import wasserstein_distance

from lowrank_la.kernels import _radix, sorted_transport
from lowrank_la.kernels._engine import use_engine

U = {np.float64: 2.0**-53, np.float32: 2.0**-24}


def _problem(n, m, d, L, dtype, weighted, seed=0):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, d)).astype(dtype), (2 * rng.standard_normal((m, d)) + 0.3).astype(dtype)
    T = rng.standard_normal((L, d))
    T = (T / np.linalg.norm(T, axis=1, keepdims=True)).astype(dtype)
    a, b = (w / w.sum() if weighted else None for w in (rng.random(n) + 0.01, rng.random(m) + 0.01))
    return X, Y, T, rng.standard_normal(L), a, b


def _exact(X, Y, T, shift, a, b, p):
    """Merge the quantiles in long double, one direction at a time."""
    costs = []
    for theta, s in zip(T, shift, strict=True):
        u, v = (x.astype(np.longdouble) @ theta.astype(np.longdouble) for x in (X, Y))
        sides = []
        for x, w in ((u, a), (v, b)):
            order = np.argsort(x)
            tops = np.arange(1, len(x) + 1) / np.longdouble(len(x)) if w is None else np.cumsum(w[order].astype(np.longdouble))
            sides.append((x[order], tops / tops[-1]))
        ends = np.union1d(sides[0][1], sides[1][1])
        middles = ends - np.diff(ends, prepend=0) / 2
        i, j = (np.minimum(np.searchsorted(tops, middles), len(tops) - 1) for _, tops in sides)
        costs.append(np.sum(np.diff(ends, prepend=0) * np.abs(sides[0][0][i] - sides[1][0][j] + s) ** p))
    return np.array(costs, float)


sizes = st.sampled_from([1, 2, 3, 7, 48, 49, 64, 200, 513])


@settings(max_examples=40)
@given(
    n=sizes,
    m=sizes,
    d=st.integers(1, 20),
    L=st.integers(1, 20),
    p=st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    weighted=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    engine=st.sampled_from(["cpu", "reference"]),
)
def test_costs_are_right_to_rounding(n, m, d, L, p, weighted, dtype, engine):
    X, Y, T, shift, a, b = _problem(n, m, d, L, dtype, weighted)
    with use_engine(engine):
        got = sorted_transport.values(X, Y, T, shift, a, b, p)
        again, E, F = sorted_transport.slopes(X, Y, T, shift, a, b, p)
    assert got.dtype == again.dtype == np.float64
    assert E.dtype == F.dtype == dtype
    exact = _exact(X, Y, T, shift, a, b, p) ** (1 / p)
    reach = np.max(np.linalg.norm(X, axis=1)) + np.max(np.linalg.norm(Y, axis=1))
    slack = (d + 4) * U[dtype] * reach + 1e-14 * (reach + np.abs(shift)) * (1 + 1e-16 ** (1 / p - 1) * (np.abs(exact) < 1e-8))
    assert np.all(np.abs(got ** (1 / p) - exact) <= slack)
    np.testing.assert_allclose(again, got, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 45), (1, 30)])
@pytest.mark.parametrize("p", [1.0, 2.0, 2.5])
@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_slopes_against_differences(n, m, p, weighted, engine):
    X, Y, T, shift, a, b = _problem(n, m, 3, 4, np.float64, weighted)
    rng = np.random.default_rng(1)
    h, dX, dY = 1e-6, rng.standard_normal(X.shape), rng.standard_normal(Y.shape)
    up, down = (_exact(X + s * dX, Y + s * dY, T, shift, a, b, p) for s in (h, -h))
    with use_engine(engine):
        _, E, F = sorted_transport.slopes(X, Y, T, shift, a, b, p)
    along = np.sum(E * (T @ dX.T), axis=1) + np.sum(F * (T @ dY.T), axis=1)
    np.testing.assert_allclose(along, (up - down) / (2 * h), rtol=1e-6, atol=1e-8)


def test_one_dimension_against_scipy():
    rng = np.random.default_rng(0)
    x, y, a, b = rng.standard_normal(300), rng.standard_normal(170) + 1, rng.random(300), rng.random(170)
    one = np.ones((1, 1))
    plain = sorted_transport.values(x[:, None], y[:, None], one, np.zeros(1), None, None, 1.0)[0]
    assert plain == pytest.approx(wasserstein_distance(x, y), rel=1e-13)
    weighted = sorted_transport.values(x[:, None], y[:, None], one, np.zeros(1), a / a.sum(), b / b.sum(), 1.0)[0]
    assert weighted == pytest.approx(wasserstein_distance(x, y, a, b), rel=1e-12)


def test_other_libraries(backend):
    X, Y, T, shift, a, b = _problem(30, 20, 3, 5, np.float64, True)
    for weights in ((a, b), (None, None)):
        expected = sorted_transport.slopes(X, Y, T, shift, *weights, 1.5)
        inside = [None if w is None else backend.array(w) for w in weights]
        got = sorted_transport.slopes(*map(backend.array, (X, Y, T, shift)), *inside, 1.5)
        for one, two in zip(got, expected, strict=True):
            np.testing.assert_allclose(backend.numpy(one), two, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_for_any_number_of_threads(dtype):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    X, Y, T, shift, a, b = _problem(3000, 2000, 5, 33, dtype, False)
    threads = numba.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            found.append(
                (sorted_transport.values(X, X[::-1] + 1, T, shift, a, b, 2.0), *sorted_transport.slopes(X, Y, T, shift, a, b, 2.0))
            )
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(*found, strict=True))


@njit
def _sorted(source, source_bits, u, bits, carried, order, spare, spare_bits, spare_order, counts):
    _radix.sort(source, source_bits, u, bits, carried, order, spare, spare_bits, spare_order, counts)


RNG = np.random.default_rng(5)
ROWS = {
    "normal": RNG.standard_normal(20_000),
    "offset": 1e4 + RNG.standard_normal(5000),
    "equal": np.full(1000, 3.0),
    "zero": np.zeros(1000),
    "few values": RNG.integers(-3, 4, 10_000) / 7,
    "both zeros": np.where(RNG.random(999) < 0.5, -0.0, 0.0),
    "heavy tails": RNG.standard_cauchy(20_000),
    "one outlier": np.append(RNG.standard_normal(3000) * 1e-9, 1e9),
    "all magnitudes": np.sign(RNG.standard_normal(5000)) * 10.0 ** RNG.uniform(-30, 30, 5000),
    "subnormal": RNG.standard_normal(500) * 1e-40,
    "ascending": np.linspace(-1, 1, 5000),
    "descending": np.linspace(1, -1, 5000),
    "short": RNG.standard_normal(5),
    "one": np.ones(1),
}


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_sorted_and_numbers_move_along(name, dtype, carried):
    row = ROWS[name].astype(dtype)
    kind = np.uint32 if dtype == np.float32 else np.uint64
    (source, u, spare), (order, spare_order) = np.stack([row] * 3), np.zeros((2, row.size), np.uint32)
    counts = np.empty((2, 1 << _radix.MOST_BITS), np.uint32)
    _sorted(source, source.view(kind), u, u.view(kind), carried, order, spare, spare.view(kind), spare_order, counts)
    assert np.array_equal(source, row)
    assert np.array_equal(u, np.sort(row))
    if carried:
        assert np.array_equal(row[order], u)
        assert np.array_equal(np.sort(order), np.arange(row.size))
