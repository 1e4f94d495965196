"""Derivatives, integrals, slices and inner products, against dense coefficients in NumPy; how certificates go through them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import chebyshev

from lowrank_la._result import Certificate
from lowrank_la.functions._calculus import derivative_growth
from lowrank_la.functions._evidence import CLAIM
from lowrank_la.functions._function import function_of
from tests.functions.oracles import dense, differentiated, integrated, padded, points, random_function, values

SIZES, RANKS = (9, 6, 12), (3, 4, 2)
seeds = st.integers(0, 2**32)


def close(got, C, tol=1e-11):
    """Say whether a function has these coefficients."""
    mine = dense(got)
    shape = np.maximum(mine.shape, C.shape)
    return abs(padded(mine, shape) - padded(C, shape)).max() <= tol * (1 + abs(C).max())


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_derivatives_agree_with_numpy(dtype, outputs, order):
    f, C = random_function(SIZES, RANKS, dtype=dtype, outputs=outputs)
    for axis in range(3):
        assert close(f.derivative(axis, order), differentiated(C, f.domain, axis, order))


def test_derivative_of_a_high_order_is_zero():
    f, _ = random_function((3, 4), (2, 2))
    g = f.derivative(0, 5)
    assert g.degrees[0] == 0
    assert abs(g(points(f, 5))).max() == 0


@pytest.mark.parametrize("outputs", [None, 2])
def test_laplacian_agrees_with_numpy(outputs):
    f, C = random_function(SIZES, RANKS, outputs=outputs)
    expected = sum(padded(differentiated(C, f.domain, axis, 2), C.shape) for axis in range(3))
    assert close(f.laplacian(), expected)
    assert all(r <= 2 * s for r, s in zip(f.laplacian().ranks, f.ranks, strict=True))


def test_laplacian_of_a_harmonic_function_cancels():
    f = function_of(np.diag([0.5, -0.5]), [np.array([[1.0, 1], [0, 0], [1, -1]])] * 2, np.array([[-1.0, 1], [-1, 1]]))
    g = function_of(np.eye(2), [np.array([[0.5, 1], [0, 0], [0.5, 0]]), np.array([[1.0, -0.5], [0, 0], [0, -0.5]])], f.domain)
    assert abs(f(0.5, 0.25) - g(0.5, 0.25)) > 0
    assert abs(g(0.5, 0.25) - (0.5**2 - 0.25**2)) < 1e-15
    assert g.laplacian().ranks == (1, 1)
    assert g.laplacian().norm() == 0


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_integrals_agree_with_numpy(dtype):
    f, C = random_function(SIZES, RANKS, dtype=dtype)
    expected = integrated(C, f.domain)
    assert abs(f.integral() - expected) < 1e-12
    assert isinstance(f.integral(), complex if dtype == np.complex128 else float)
    assert abs(f.integral([0, 2]).integral() - expected) < 1e-12
    assert abs(f.integral(1).marginal(1).integral() - expected) < 1e-12
    assert f.marginal([0, 1, 2]).ranks == f.ranks


def test_integrals_keep_outputs():
    f, C = random_function(SIZES, RANKS, outputs=3)
    assert abs(f.integral() - [integrated(part, f.domain) for part in C]).max() < 1e-12
    assert f.integral([0, 1]).outputs == 3
    assert f.slice({0: 0.5, 2: 5.1}).outputs == 3


def test_marginals_are_integrals_over_the_others():
    f, _ = random_function(SIZES, RANKS)
    y = np.linspace(-2, 3, 7)
    expected = [f.slice({1: v}).integral() for v in y]
    assert abs(f.marginal(1)(y) - expected).max() < 1e-12
    assert np.array_equal(f.marginal(1).domain, f.domain[1:2])


@given(seeds, st.integers(0, 2))
def test_derivative_undoes_the_antiderivative(seed, axis):
    f, C = random_function(SIZES, RANKS, seed=seed)
    F = f.antiderivative(axis)
    assert close(F.derivative(axis), C)
    lower = F.slice({axis: float(f.domain[axis, 0])})
    assert abs(lower.norm()) < 1e-12 * (1 + f.norm())
    assert close(F.slice({axis: float(f.domain[axis, 1])}) - f.integral(axis), np.zeros((1, 1)))


def test_slices_agree_with_values():
    f, _ = random_function(SIZES, RANKS)
    X = points(f, 9)
    for x in X:
        assert abs(f.slice({0: x[0], 2: x[2]})(x[1]) - f(x)) < 1e-12
    assert f.slice({}).ranks == f.ranks


@given(seeds, st.sampled_from([None, 2]), st.booleans())
def test_inner_products_are_integrals(seed, outputs, complex_values):
    dtype = np.complex128 if complex_values else np.float64
    f, _ = random_function(SIZES[:2], RANKS[:2], seed=seed, dtype=dtype, outputs=outputs)
    g, _ = random_function((4, 8), (2, 3), seed=seed + 1, dtype=dtype, outputs=outputs)
    x, w = np.polynomial.legendre.leggauss(12)
    axes = [(a + b + (b - a) * x) / 2 for a, b in f.domain]
    W = np.multiply.outer(*(w * (b - a) / 2 for a, b in f.domain))
    expected = np.sum(np.conj(f.grid(*axes)) * g.grid(*axes) * W)
    assert abs(f.inner(g) - expected) < 1e-11 * (1 + abs(expected))
    assert math.isclose(f.norm() ** 2, np.sum(abs(f.grid(*axes)) ** 2 * W), rel_tol=1e-11)
    assert abs(f.inner(g) - np.conj(g.inner(f))) < 1e-12 * (1 + abs(expected))
    assert f.inner(f).real > 0
    angles = np.pi * (np.arange(16) + 0.5) / 16
    axes = [(a + b + (b - a) * np.cos(angles)) / 2 for a, b in f.domain]
    products = np.conj(f.grid(*axes)) * g.grid(*axes)
    expected = np.sum(np.mean(products, axis=(-2, -1)))
    assert abs(f.inner(g, "chebyshev") - expected) < 1e-11 * (1 + abs(expected))
    assert math.isclose(f.norm("chebyshev") ** 2, abs(f.inner(f, "chebyshev")), rel_tol=1e-11)


def test_norms_of_small_functions_keep_their_digits():
    f, _ = random_function(SIZES, RANKS)
    assert math.isclose((f * 1e-180).norm(), 1e-180 * f.norm(), rel_tol=1e-12)
    shifted = f + 1e-9 - f
    assert math.isclose(shifted.norm("chebyshev"), 1e-9, rel_tol=1e-4)


@given(seeds, st.integers(0, 2))
def test_integration_by_parts(seed, axis):
    f, _ = random_function(SIZES, RANKS, seed=seed)
    g, _ = random_function((5, 7, 4), (2, 2, 3), seed=seed + 1)
    ends = [f.slice({axis: float(x)}).inner(g.slice({axis: float(x)})) for x in f.domain[axis]]
    left = f.derivative(axis).inner(g) + f.inner(g.derivative(axis))
    assert abs(left - (ends[1] - ends[0])) < 1e-9 * (1 + f.derivative(axis).norm() * g.norm() + abs(ends[0]) + abs(ends[1]))


@given(seeds)
def test_derivatives_and_integrals_are_linear(seed):
    f, C = random_function(SIZES, RANKS, seed=seed)
    g, D = random_function(SIZES, (2, 2, 2), seed=seed + 1)
    h = 2.0 * f - g / 3
    assert abs(h.integral() - (2 * f.integral() - g.integral() / 3)) < 1e-11
    assert close(h.derivative(1), differentiated(2 * C - D / 3, f.domain, 1))


def test_derivative_keeps_its_digits_where_the_scale_is_in_the_core():
    x = np.cos(np.pi * np.arange(65) / 64)
    from lowrank_la.functions._chebyshev import coefficients

    columns = np.stack([coefficients(np.sin(3 * x)), coefficients(np.sin(3 * x) + 1e-12 * np.cos(2 * x))], axis=1)
    f = function_of(np.array([[-1.0], [1.0]]) * 1e12, [columns, np.ones((1, 1))], np.array([[-1.0, 1.0], [0.0, 1.0]]))
    t = np.linspace(-1, 1, 9)
    direct = f(t, 0.5)
    slope = f.derivative(0)(t, 0.5)
    assert abs(direct - np.cos(2 * t)).max() < 1e-2
    assert abs(slope + 2 * np.sin(2 * t)).max() < 1e-1 * 65


def certified(seed=0, bound=1e-6, **more):
    f, C = random_function(SIZES, RANKS, seed=seed, certificate=Certificate(CLAIM, bound, 0.99, "test"), **more)
    return f, C


def rms(C, D):
    shape = np.maximum(C.shape, D.shape)
    E = padded(C, shape) - padded(D, shape)
    for k, m in enumerate(E.shape):
        E = E * np.where(np.arange(m) == 0, 1.0, math.sqrt(0.5)).reshape([-1 if a == k else 1 for a in range(E.ndim)])
    return np.linalg.norm(E)


OPERATIONS = [
    ("derivative", lambda f: f.derivative(1)),
    ("second derivative", lambda f: f.derivative(0, 2)),
    ("laplacian", lambda f: f.laplacian()),
    ("integral", lambda f: f.integral(1)),
    ("antiderivative", lambda f: f.antiderivative(0)),
    ("slice at an end", lambda f: f.slice({0: 0.0})),
    ("slices", lambda f: f.slice({0: 0.3, 2: 5.25})),
    ("multiple", lambda f: -3.5 * f),
    ("sum", lambda f: f + 2.0),
]


@pytest.mark.parametrize("operation", [case[1] for case in OPERATIONS], ids=[case[0] for case in OPERATIONS])
@pytest.mark.parametrize("seed", range(4))
def test_bounds_pass_through_operations(operation, seed):
    f, _ = certified(seed)
    error, _ = random_function(SIZES, (2, 2, 2), seed=seed + 10)
    error = error * (0.999e-6 / error.norm("chebyshev"))
    truth, answer = operation(f + error), operation(f)
    actual = rms(dense(truth), dense(answer))
    assert actual <= answer.certificate.bound
    assert answer.certificate.bound <= 3e4 * max(actual, 1e-6)
    assert answer.certificate.confidence == pytest.approx(0.99)
    assert answer.certificate.claim.startswith(CLAIM)


def test_rounding_adds_to_the_bound():
    f, C = certified()
    g = f.round(0.05)
    assert g.truncation + 1e-6 <= g.certificate.bound <= g.truncation + 1.01e-6
    assert rms(C, dense(g)) <= g.certificate.bound


@pytest.mark.parametrize("m", [1, 2, 3, 4, 9, 30])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_growth_bounds_the_norm_of_a_derivative_and_is_near_it(m, order):
    D = np.eye(m) * np.where(np.arange(m) == 0, 1, math.sqrt(2))  # orthonormal polynomials
    for _ in range(order):
        D = chebyshev.chebder(D, scl=2 / 5.0) if len(D) > 1 else D * 0
    D = D * np.where(np.arange(len(D)) == 0, 1, math.sqrt(0.5))[:, None]
    norm, bound = np.linalg.norm(D, 2), derivative_growth(m, 5.0, order)
    assert norm * (1 - 1e-12) <= bound <= 3**order * norm + 1e-15


def test_claims_name_their_conditions():
    f, _ = certified()
    assert "same degrees" in f.derivative(0).certificate.claim
    assert "same degrees" in (f.derivative(0) + f).certificate.claim
    assert "same degrees" not in f.integral(0).certificate.claim
    assert "as they stand" in (f * f).certificate.claim
    assert (f + f).certificate.confidence == pytest.approx(0.98)
    assert math.isinf(random_function(SIZES, RANKS)[0].derivative(0).certificate.bound)
    assert (f * 0.0).certificate.bound == 0


@given(seeds)
def test_the_integral_over_the_box_is_within_its_bound(seed):
    f, _ = certified(seed)
    error, _ = random_function(SIZES, (2, 2, 2), seed=seed + 10)
    error = error * (1e-6 / error.norm("chebyshev"))
    volume = np.prod(np.diff(f.domain, axis=1))
    assert abs((f + error).integral() - f.integral()) <= 1.111**3 * volume * 1e-6 * (1 + 1e-6)


def test_growth_of_a_derivative_shows_in_the_tail():
    f, _ = random_function((40, 5), (2, 2))
    assert f.derivative(0).tail[0] > f.tail[0]
    assert f.derivative(1, 0).tail == pytest.approx(f.tail)


BAD = [
    ("axis", lambda f: f.derivative(3), r"derivative: axis must be an integer between 0 and 2; got 3"),
    ("order", lambda f: f.derivative(0, -1), r"order must be an integer of at least 0"),
    ("axes twice", lambda f: f.integral([0, 0]), r"integral: axes must be different; got \(0, 0\)"),
    ("marginal", lambda f: f.marginal(5), r"marginal: axes must be an integer between 0 and 2; got 5"),
    ("slice outside", lambda f: f.slice({1: 9.0}), r"slice: values\[1\] must be a number between -2 and 3; got 9.0"),
    ("slice of all", lambda f: f.slice({0: 0.0, 1: 0.0, 2: 5.0}), r"slice: values must leave a variable"),
    ("weight", lambda f: f.inner(f, "gauss"), r"inner: weight must be one of 'lebesgue', 'chebyshev'"),
    ("norm", lambda f: f.norm("gauss"), r"norm: weight must be one of"),
    ("antiderivative", lambda f: f.antiderivative(-1), r"axis must be an integer between 0 and 2"),
]


@pytest.mark.parametrize(("call", "text"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_arguments_are_refused(call, text):
    f, _ = random_function(SIZES, RANKS)
    with pytest.raises(ValueError, match=text):
        call(f)


def test_other_types_are_refused():
    f, _ = random_function(SIZES, RANKS)
    with pytest.raises(TypeError, match="other must be a FunctionTucker; got float"):
        f.inner(1.0)
    with pytest.raises(TypeError, match="values must be a mapping"):
        f.slice([0.5])


def test_values_of_derivatives_match_differences():
    f, C = random_function(SIZES, RANKS)
    x, step = np.array([0.4, 0.3, 5.2]), np.array([0, 1e-6, 0])
    difference = (f(x + step) - f(x - step)) / 2e-6
    assert math.isclose(difference, f.derivative(1)(x), rel_tol=1e-6)
    assert math.isclose(f.derivative(1)(x), values(differentiated(C, f.domain, 1), f.domain, x[None])[0], rel_tol=1e-11)
