"""The quadrature for 1 / r: its error for every ratio and tolerance, in long double."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la.functions import newton_quadrature


def largest_error(ratio, tol, count=2000):
    rates, weights = (x.astype(np.longdouble) for x in newton_quadrature(ratio, tol))
    r = np.exp(np.linspace(-np.log(np.longdouble(ratio)), 0, count))
    return float(np.max(np.abs(r * (weights @ np.exp(-((rates[:, None] * r) ** 2))) - 1)))


@settings(max_examples=300)
@given(digits=st.floats(0, 6), accuracy=st.floats(0.302, 14))
def test_error_is_within_the_tolerance(digits, accuracy):
    assert largest_error(10.0**digits, 10.0**-accuracy) <= 10.0**-accuracy


@pytest.mark.parametrize("accuracy", [2, 7, 13])
@pytest.mark.parametrize("ratio", [1, 40, 1e5])
def test_the_tolerance_is_not_overshot(ratio, accuracy):
    assert largest_error(ratio, 10.0**-accuracy) > 0.05 * 10.0**-accuracy


@pytest.mark.parametrize(("ratio", "terms"), [(2048, (23, 37, 51, 66)), (8192, (26, 42, 58, 75))])
def test_no_more_terms_than_the_rule_with_fixed_step(ratio, terms):
    assert all(len(newton_quadrature(ratio, 10.0**-e)[0]) <= n for e, n in zip((4, 7, 10, 13), terms, strict=True))


def test_rates_ascend_from_zero_and_weights_are_positive():
    rates, weights = newton_quadrature(1000, 1e-9)
    assert rates[0] == 0
    assert np.all(np.diff(rates) > 0)
    assert np.all(weights > 0)


@pytest.mark.parametrize(
    ("ratio", "tol", "error", "match"),
    [
        (0.5, 1e-7, ValueError, "ratio must be a number between 1 and 1e"),
        (np.nan, 1e-7, ValueError, "ratio must be"),
        ("far", 1e-7, TypeError, "ratio must be"),
        (10, 0, ValueError, "tol must be a number between 1e-14 and 0.5; got 0"),
        (10, 0.7, ValueError, "tol must be"),
        (10, None, TypeError, "tol must be"),
    ],
)
def test_bad_arguments(ratio, tol, error, match):
    with pytest.raises(error, match=rf"newton_quadrature: {match}"):
        newton_quadrature(ratio, tol)
