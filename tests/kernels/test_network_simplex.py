"""The network simplex method against HiGHS: costs with ties, forbidden pairs, weights of any size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.kernels import network_simplex
from lowrank_la.kernels._engine import use_engine


def problem(seed, *, forbidden=0.0):
    rng = np.random.default_rng(seed)
    n, m = (int(x) for x in rng.integers(1, 25, 2))
    C = rng.random((n, m)) if seed % 2 else rng.integers(0, 4, (n, m)).astype(float)
    C[rng.random((n, m)) < forbidden] = np.inf
    a, b = (rng.random(k) ** 4 + 1e-12 if seed % 3 else np.ones(k) for k in (n, m))
    return C, a / a.sum(), b / b.sum()


def check(C, a, b, found, rounding=1e-14):
    """The flows make a plan, its cost is the value of the potentials, and those are feasible."""
    P = np.zeros_like(C)
    np.add.at(P, (found.rows, found.columns), found.flows)
    assert P.min() >= 0
    np.testing.assert_allclose(P.sum(1), a, atol=rounding)
    np.testing.assert_allclose(P.sum(0), b, atol=rounding)
    assert (C - found.f[:, None] - found.g).min() >= -rounding * (1 + np.abs(found.f).max())
    assert found.flows @ C[found.rows, found.columns] == pytest.approx(a @ found.f + b @ found.g, abs=10 * rounding)


@given(seed=st.integers(0, 10_000))
def test_plans_are_optimal_from_any_potentials(seed):
    C, a, b = problem(seed)
    rng = np.random.default_rng(seed)
    for f, g in ((np.zeros(len(a)), np.zeros(len(b))), (rng.standard_normal(len(a)), rng.standard_normal(len(b)))):
        found = network_simplex.solve(C, a, b, f, g)
        assert found.missing == 0
        check(C, a, b, found)
        assert np.unique(np.stack([found.rows, found.columns]), axis=1).shape[1] == len(found.rows) < len(a) + len(b)


@given(seed=st.integers(0, 10_000))
def test_engines_agree(seed):
    C, a, b = problem(seed, forbidden=0.6)
    C[0, 0] = 1.0
    f, g = np.zeros(len(a)), np.zeros(len(b))
    found = network_simplex.solve(C, a, b, f, g)
    with use_engine("reference"):
        expected = network_simplex.solve(C, a, b, f, g)
    assert found.missing == pytest.approx(expected.missing, abs=1e-7)  # the tolerance of HiGHS
    if found.missing == 0:
        check(C, a, b, found)
        cost, least = (x.flows @ C[x.rows, x.columns] for x in (found, expected))
        assert cost == pytest.approx(least, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_large_problems_of_any_scale(scale):
    rng = np.random.default_rng(0)
    X, Y = rng.random((300, 2)), rng.random((200, 2))
    C = scale * ((X[:, None] - Y) ** 2).sum(-1)
    a, b = rng.random(300), np.full(200, 1 / 200)
    a /= a.sum()
    found = network_simplex.solve(C, a, b, C.min(1), np.zeros(200))
    P = np.zeros_like(C)
    P[found.rows, found.columns] = found.flows
    np.testing.assert_allclose(P.sum(1), a, atol=1e-15)
    assert (C - found.f[:, None] - found.g).min() >= -1e-12 * scale
    assert np.sum(C * P) == pytest.approx(a @ found.f + b @ found.g, rel=1e-11)


@pytest.mark.parametrize("value", [0.0, 1e-300, 1.0, -1e12])
def test_costs_that_are_all_the_same(value):
    C, a, b = np.full((5, 4), value), np.full(5, 0.2), np.full(4, 0.25)
    found = network_simplex.solve(C, a, b, np.zeros(5), np.zeros(4))
    assert found.missing == 0
    assert found.flows.sum() == 1
    assert a @ found.f + b @ found.g == pytest.approx(value)


def test_chains_of_forced_flows_are_found_beyond_the_first_price():
    """The only plan winds through all points, at costs whose sum is far above their range."""
    n = 40
    C = np.full((n, n), np.inf)
    C[np.arange(n), np.arange(n)] = 1.0
    C[np.arange(1, n), np.arange(n - 1)] = np.linspace(0, 1, n - 1)
    a, b = np.full(n, 1 / n), np.full(n, 1 / n)
    a[0], a[-1] = a[0] / 2, a[-1] * 1.5
    found = network_simplex.solve(C, a, b, np.zeros(n), np.zeros(n))
    assert found.missing == 0
    check(C, a, b, found, 1e-13)
