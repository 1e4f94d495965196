"""Polynomials in one variable, against numpy.polynomial.chebyshev and exact integrals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import chebyshev as oracle

from lowrank_la.functions import _chebyshev as ours
from tests.conftest import Backend

SIZES = [1, 2, 3, 4, 5, 8, 9, 33, 130]


def coefficients(m, columns=3, seed=0):
    return np.random.default_rng(seed).standard_normal((m, columns))


@pytest.mark.parametrize("m", SIZES)
def test_nodes_are_extrema_descending_antisymmetric_and_nested(m):
    x = ours.nodes(m)
    assert abs(x - np.cos(np.pi * np.arange(m) / max(m - 1, 1)) * (m > 1)).max() < 1e-15
    assert np.array_equal(x, -x[::-1])
    assert np.all(np.diff(x) < 0)
    assert abs(ours.nodes(2 * m - 1)[::2] - x).max() < 1e-15 or m == 1


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("m", SIZES)
def test_transforms_agree_with_numpy_and_invert_each_other(m, strict):
    array, numpy = (Backend("strict").array, Backend("strict").numpy) if strict else (np.asarray, np.asarray)
    c = coefficients(m)
    values = ours.values(array(c))
    assert abs(numpy(values) - oracle.chebval(ours.nodes(m), c).T).max() < 1e-13 * m
    assert abs(numpy(ours.coefficients(values)) - c).max() < 1e-14 * m
    assert abs(numpy(ours.integrate(ours.differentiate(array(c))))[1:m] - c[1:]).max(initial=0) < 1e-14 * m


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_transforms_work_along_any_axis_and_for_complex_values(axis):
    c = coefficients(60).reshape(4, 5, 9) + 1j * coefficients(60, seed=1).reshape(4, 5, 9)
    expected = np.moveaxis(oracle.chebval(ours.nodes(c.shape[axis]), np.moveaxis(c, axis, 0)), -1, axis)
    assert abs(ours.values(c, axis) - expected).max() < 1e-13
    assert abs(ours.coefficients(expected, axis) - c).max() < 1e-14


def test_transforms_keep_single_precision():
    c = coefficients(17).astype(np.float32)
    assert ours.values(c).dtype == ours.coefficients(c).dtype == np.float32


@pytest.mark.parametrize("m", SIZES)
def test_calculus_on_coefficients_agrees_with_numpy(m):
    c, scale = coefficients(m), 1e-14 * m**2
    assert abs(ours.differentiate(c) - (oracle.chebder(c) if m > 1 else 0)).max() <= scale * m
    assert abs(ours.integrate(c) - oracle.chebint(c, lbnd=-1)).max() <= scale
    assert abs(ours.vandermonde(ours.nodes(7), m) - oracle.chebvander(ours.nodes(7), m - 1)).max() <= scale


@pytest.mark.parametrize("m", SIZES)
def test_weights_are_exact_integrals(m):
    moments = [float(Fraction(2, 1 - i * i)) if i % 2 == 0 else 0.0 for i in range(2 * m)]
    assert abs(ours.integral_weights(m) - moments[:m]).max() < 1e-15
    T = ours.values(np.eye(m))
    assert abs(ours.node_weights(m) @ T - moments[:m]).max() < 1e-14
    assert ours.node_weights(m).min() > 0


def test_probability_scales_are_root_mean_squares():
    angles = np.pi * (np.arange(1000) + 0.5) / 1000
    T = oracle.chebvander(np.cos(angles), 5)
    assert abs(ours.probability_scale(6) - np.sqrt(np.mean(T**2, axis=0))).max() < 1e-14


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(0, 1))
def test_intervals_are_mapped_and_back(a, length, t):
    interval = (a, a + length)
    x = np.asarray([interval[0], interval[0] + t * (interval[1] - interval[0]), interval[1]])
    inner = ours.to_reference(x, interval)
    assert inner[0] == -1
    assert inner[2] == 1
    slack = 1e-15 * max(map(abs, interval)) / length
    assert abs(inner[1] - (2 * t - 1)) <= 8 * slack + 1e-14
    assert abs(ours.from_reference(inner, interval) - x).max() <= 4e-16 * max(map(abs, interval)) + 1e-15 * length


def test_derivative_of_a_fast_function_is_accurate():
    m, k = 130, 40.0
    x = ours.nodes(m)
    c = ours.coefficients(np.sin(k * x))
    error = abs(ours.values(ours.differentiate(c)) - k * np.cos(k * ours.nodes(m - 1))).max()
    assert error < 1e-10


def test_integral_vanishes_at_the_lower_end():
    assert abs(oracle.chebval(-1.0, ours.integrate(coefficients(40)))).max() < 1e-14
    assert math.isclose(ours.integrate(np.asarray([[3.0]]))[0, 0], 3.0)
