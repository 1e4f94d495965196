"""Numbers on a line, the largest distance over directions, von Mises-Fisher laws, and directions by attention."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ive
from scipy.stats import kstest, wasserstein_distance

from lowrank_la import ConvergenceWarning
from lowrank_la.sliced import linear_attention_direction, max_sliced, sliced_wasserstein, vmf_sliced, wasserstein_1d
from lowrank_la.sliced._vmf import _turned, sample

RNG = np.random.default_rng(0)


@settings(max_examples=40)
@given(n=st.integers(1, 80), m=st.integers(1, 80), weighted=st.booleans(), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 999))
def test_line_against_scipy(n, m, weighted, scale, seed):
    rng = np.random.default_rng(seed)
    x, y = scale * rng.standard_normal(n), scale * rng.standard_normal(m)
    a, b = (w / w.sum() if weighted else None for w in (rng.random(n) + 0.01, rng.random(m) + 0.01))
    result = wasserstein_1d(x, y, p=1, a=a, b=b)
    assert abs(result.value - wasserstein_distance(x, y, a, b)) <= result.certificate.bound + 1e-12 * scale
    assert result.certificate.bound < 1e-11 * scale * (1 + n + m)


def test_line_by_hand():
    assert wasserstein_1d(np.array([0.0, 1]), np.array([1.0, 0])).value == 0
    assert wasserstein_1d([0, 0, 6], [1, 4], p=2).value_p == pytest.approx((1 + 1 + 1 + 16 + 4 + 4) / 6)
    assert wasserstein_1d([0.0], [3.0], p=5).value == pytest.approx(3)
    same = wasserstein_1d([1.5, 2], [1.5, 2])
    assert same.value == same.certificate.bound == 0
    weights = wasserstein_1d([0.0, 5], [0.0], p=3, a=[0.5, 0.5])
    assert weights.value_p == pytest.approx(62.5)


def test_line_backends(backend):
    x, y = RNG.standard_normal(30), RNG.standard_normal(20)
    expected = wasserstein_1d(x, y, p=1.5)
    assert wasserstein_1d(backend.array(x), backend.array(y), p=1.5).value == pytest.approx(expected.value, rel=1e-12)


LINE_BAD = [
    ((np.ones((2, 1)), np.ones(2)), {}, r"wasserstein_1d: x must be 1-dimensional; got shape \(2, 1\)"),
    ((np.ones(2), np.array([1, np.inf])), {}, "wasserstein_1d: y must be finite; got 1 NaN or infinite entry"),
    ((np.ones(2), np.ones(0)), {}, "wasserstein_1d: y must have at least one entry"),
    ((np.ones(2), np.ones(2)), {"p": 0.9}, "wasserstein_1d: p must be a number of at least 1; got 0.9"),
    ((np.ones(2), np.ones(2)), {"a": [1, 1, 1]}, r"wasserstein_1d: a must have 2 rows, as many as x"),
]


@pytest.mark.parametrize(("args", "kwargs", "message"), LINE_BAD)
def test_line_bad_input(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        wasserstein_1d(*args, **kwargs)


def _on_grid(X, Y, p):
    """Largest W_p over many angles in the plane."""
    angles = np.pi * np.arange(3000) / 3000
    return max(wasserstein_1d(X @ theta, Y @ theta, p=p).value for theta in np.stack([np.cos(angles), np.sin(angles)], axis=1))


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25)])
def test_largest_in_the_plane(n, m, p):
    rng = np.random.default_rng(int(10 * p) + m)
    X, Y = rng.standard_normal((n, 2)) * [2, 0.5], rng.uniform(-1, 1, (m, 2)) + 0.3
    result = max_sliced(X, Y, p=p, rng=0)
    grid = _on_grid(X, Y, p)
    assert result.value >= grid * (1 - (1e-5 if p > 1 else 1e-3))  # for p = 1 there are kinks
    assert grid <= result.value + result.certificate.bound
    assert result.upper == pytest.approx(result.value + result.certificate.bound)
    assert wasserstein_1d(X @ result.direction, Y @ result.direction, p=p).value == pytest.approx(result.value, rel=1e-9)
    assert np.linalg.norm(result.direction) == pytest.approx(1)
    if p <= 2:
        assert result.certificate.bound < (0.35 if p == 2 else 0.6) * result.value


def test_largest_is_certified_where_a_direction_dominates():
    X = RNG.standard_normal((300, 10))
    Y = RNG.standard_normal((200, 10)) * np.append(6, np.ones(9))
    result = max_sliced(X, Y, rng=0)
    assert result.converged
    assert abs(result.direction[0]) > 0.99
    assert result.certificate.bound < 0.02 * result.value
    assert sliced_wasserstein(X, Y, rng=0).value < result.value


def test_largest_edge_cases(backend):
    same = np.ones((4, 3))
    result = max_sliced(backend.array(same), backend.array(same), rng=0)
    assert result.value == result.upper == 0
    assert backend.numpy(result.direction).shape == (3,)
    line = max_sliced(backend.array([[0.0], [1]]), backend.array([[3.0]]), p=1, rng=0)
    assert line.value == pytest.approx(2.5)
    X, Y = RNG.standard_normal((20, 4)), RNG.standard_normal((15, 4)) + 1
    expected = max_sliced(X, Y, rng=1)
    assert max_sliced(backend.array(X), backend.array(Y), rng=1).value == pytest.approx(expected.value, rel=1e-9)
    wide = max_sliced(RNG.standard_normal((5, 2100)), RNG.standard_normal((6, 2100)), starts=2, rng=0, tol=1e-3)
    assert 0 < wide.value <= wide.upper
    with pytest.warns(ConvergenceWarning, match="max_sliced: still climbing after 1 steps"):
        max_sliced(X, Y, max_iter=1, rng=0)
    with pytest.raises(ValueError, match="max_sliced: starts must be an integer of at least 1; got 0"):
        max_sliced(X, Y, starts=0)


@pytest.mark.parametrize(("d", "kappa"), [(2, 0.0), (2, 3.0), (3, 5.0), (6, 20.0), (50, 1.0), (4, 1e6)])
def test_law_of_von_mises_and_fisher(d, kappa):
    T = sample(4000, d, kappa, 3, "test")
    np.testing.assert_allclose(np.linalg.norm(T, axis=1), 1, rtol=1e-12)
    mean = ive(d / 2, kappa) / ive(d / 2 - 1, kappa) if 0 < kappa < 1e5 else (0.0 if kappa == 0 else 1 - (d - 1) / (2 * kappa))
    assert np.mean(T[:, 0]) == pytest.approx(mean, abs=4 * np.std(T[:, 0]) / math.sqrt(4000) + 1e-9)
    if d == 3 and kappa:
        assert kstest(T[:, 0], lambda w: (np.exp(kappa * (w - 1)) - np.exp(-2 * kappa)) / (1 - np.exp(-2 * kappa))).pvalue > 1e-3
    centre = np.linspace(1, 2, d) / np.linalg.norm(np.linspace(1, 2, d))
    turned = _turned(T, centre)
    np.testing.assert_allclose(turned @ centre, T[:, 0], atol=1e-12)
    assert np.array_equal(_turned(T, np.eye(1, d)[0]), T)


def test_concentration_leads_from_the_mean_to_the_largest():
    X, Y = RNG.standard_normal((200, 3)), RNG.standard_normal((150, 3)) * [2.5, 1, 0.4]
    mean, largest = sliced_wasserstein(X, Y, rng=0), max_sliced(X, Y, rng=0)
    uniform = vmf_sliced(X, Y, kappa=0, n_projections=2000, rng=0)
    assert abs(uniform.value - mean.value) <= 1.5 * uniform.certificate.bound
    found = [vmf_sliced(X, Y, kappa=kappa, n_projections=500, rng=0).value for kappa in (1, 10, 100, 1e5)]
    assert sorted(found) == found
    assert mean.value < found[1] < found[-1] <= largest.value
    assert found[-1] == pytest.approx(largest.value, rel=1e-3)


def test_intervals_of_a_given_direction_cover():
    X, Y = RNG.standard_normal((60, 4)), RNG.standard_normal((60, 4)) * 2
    theta = np.array([1.0, 1, 0, 0])
    exact = np.mean([vmf_sliced(X, Y, direction=theta, n_projections=2000, rng=10**6 + s).value_p for s in range(10)]) ** 0.5
    found = [vmf_sliced(X, Y, direction=theta, n_projections=40, rng=seed) for seed in range(200)]
    assert np.mean([f.interval[0] <= exact <= f.interval[1] for f in found]) >= 0.9
    assert all(abs(f.value - exact) <= f.certificate.bound for f in found if f.interval[0] <= exact <= f.interval[1])


def test_concentrated_edge_cases(backend):
    X, Y = RNG.standard_normal((20, 3)), RNG.standard_normal((15, 3)) + 1
    expected = vmf_sliced(X, Y, rng=1)
    result = vmf_sliced(backend.array(X), backend.array(Y), rng=1)
    assert result.value == pytest.approx(expected.value, rel=1e-6)
    assert backend.numpy(result.direction).shape == (3,)
    line = vmf_sliced(backend.array([[0.0], [1]]), backend.array([[3.0]]), p=1, rng=0)
    assert line.value == pytest.approx(2.5)
    same = vmf_sliced(backend.array(X), backend.array(X), rng=0)
    assert same.value == same.certificate.bound == 0
    for bad, message in (
        (np.zeros(3), "direction must not be zero"),
        (np.ones(2), r"direction must have shape \(3,\)"),
        (np.ones(3) * np.nan, "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            vmf_sliced(backend.array(X), backend.array(Y), direction=backend.array(bad))
    with pytest.raises(ValueError, match="kappa must be a number of at least 0; got -1"):
        vmf_sliced(X, Y, kappa=-1)
    with pytest.raises(ValueError, match="n_projections must be an integer of at least 2; got 1"):
        vmf_sliced(X, Y, n_projections=1)


def test_attention_gives_directions_that_know_no_order(backend):
    X, Y = RNG.standard_normal((20, 3)), RNG.standard_normal((15, 3)) + 1
    params = [RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4)), RNG.standard_normal((3, 3))]
    inside = [backend.array(w) for w in params]
    theta = backend.numpy(linear_attention_direction(inside, backend.array(X), backend.array(Y)))
    assert np.linalg.norm(theta) == pytest.approx(1)
    np.testing.assert_allclose(linear_attention_direction(params, Y[::-1], X[RNG.permutation(20)]), theta, rtol=1e-10)

    def pooled(Z):
        q, k = np.exp(Z @ params[0]), np.exp(Z @ params[1])
        return (q / q.sum(1, keepdims=True)).mean(0) @ (k / k.sum(0)).T @ Z @ params[2]

    np.testing.assert_allclose(theta, (pooled(X) + pooled(Y)) / np.linalg.norm(pooled(X) + pooled(Y)), rtol=1e-10)
    result = vmf_sliced(X, Y, direction=lambda X, Y: linear_attention_direction(params, X, Y), rng=0)
    np.testing.assert_allclose(result.direction, theta, rtol=1e-10)
    with pytest.raises(ValueError, match=r"linear_attention_direction: W_v must have shape \(3, 3\); got \(3, 4\)"):
        linear_attention_direction((params[0], params[1], params[0]), X, Y)
    with pytest.raises(ValueError, match="the pooled values must be finite and not all zero"):
        linear_attention_direction(tuple(params), 0 * X, 0 * Y)


def test_attention_has_derivatives():
    torch = pytest.importorskip("torch")
    X, Y = torch.randn(6, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    params = tuple(torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (3, 4), (3, 3)))
    linear_attention_direction(params, X, Y)[0].backward()
    assert all(float(w.grad.abs().sum()) > 0 for w in params)
