"""`sbl`: the classical method against its definition."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.sbl import sbl
from tests.sbl import oracles


def _quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sbl(*args, **options)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("method", ["mm", "em"])
@pytest.mark.parametrize("shape", [(30, 60), (60, 30)])
def test_moments_and_cost_are_those_of_dense_matrices(shape, method, complex_):
    y, [A], X, noise, _ = oracles.problem(0, shape[:1], shape[1:], 3, 30, complex_=complex_)
    result = _quietly(y, A, method=method, noise_var=noise)
    mean, variance, cost, _ = oracles.posterior(y[:, None], [A], [result.gamma], noise)
    assert np.allclose(result.x, mean[:, 0], atol=1e-9)
    assert np.allclose(result.variance, variance, atol=1e-9)
    assert result.cost_trace[-1] == pytest.approx(cost, rel=1e-9)
    assert result.dof == pytest.approx(np.sum(1 - variance[result.support] / result.gamma[result.support]))
    assert oracles.error(result.x, X) < 1e-2


@given(seed=st.integers(0, 1000), complex_=st.booleans(), known=st.booleans(), method=st.sampled_from(["mm", "em"]))
@settings(max_examples=25)
def test_the_cost_never_rises_without_pruning(seed, complex_, known, method):
    y, [A], _, noise, _ = oracles.problem(seed, (12,), (20,), 2, 20, complex_=complex_)
    trace = _quietly(y, A, method=method, noise_var=noise if known else None, prune=0, max_iter=30).cost_trace
    assert np.all(np.diff(trace) <= 1e-9 * np.abs(trace).max())


@pytest.mark.parametrize("method", ["mm", "em"])
def test_noise_is_estimated_and_support_found(method):
    y, [A], X, noise, support = oracles.problem(2, (100,), (200,), 5, 25)
    result = sbl(y, A, method=method)
    assert result.noise_var == pytest.approx(noise, rel=0.4)
    assert set(support[0][np.abs(X[support[0]]) > 0.3]) <= set(result.support)
    assert oracles.error(result.x, X) < 1e-2


def test_the_certificate_bounds_the_gradient():
    y, [A], _, noise, _ = oracles.problem(3, (30,), (60,), 3, 20)
    result = _quietly(y, A, noise_var=noise, tol=1e-2)
    inverse = np.linalg.inv(oracles.posterior(y[:, None], [A], [result.gamma], noise)[3])
    true = np.max(np.abs(result.gamma * (np.sum(A * (inverse @ A), axis=0) - (A.T @ inverse @ y) ** 2))) / y.size
    assert true * (1 - 1e-6) <= result.certificate.bound <= 1.01 * true + 1e-8


@pytest.mark.parametrize("complex_", [False, True])
def test_one_atom_at_a_time_reaches_a_stationary_point(complex_):
    for seed in range(5):
        y, [A], X, noise, _ = oracles.problem(seed, (50,), (120,), 4, 25, complex_=complex_)
        result = sbl(y, A, method="fast", noise_var=noise, tol=1e-10)
        assert np.all(np.diff(result.cost_trace) <= 1e-9 * np.abs(result.cost_trace).max())
        assert result.cost_trace[-2] == pytest.approx(oracles.posterior(y[:, None], [A], [result.gamma], noise)[2], abs=1e-6)
        assert result.certificate.bound < 1e-6
        assert oracles.error(result.x, X) < 2e-2
        assert sbl(y, A, method="fast").noise_var == pytest.approx(noise, rel=0.7)


def test_scaling_columns_scales_the_answer():
    y, [A], _, noise, _ = oracles.problem(4, (30,), (60,), 3, 20)
    scale = np.random.default_rng(0).lognormal(size=60)
    assert np.allclose(sbl(y, A * scale, noise_var=noise).x * scale, sbl(y, A, noise_var=noise).x, atol=1e-8)


def test_snapshots_and_dead_columns():
    rng = np.random.default_rng(5)
    A, X = rng.standard_normal((20, 40)), np.zeros((40, 10))
    A[:, 3], X[[5, 9]] = 0, rng.standard_normal((2, 10))
    result = sbl(A @ X + 0.01 * rng.standard_normal((20, 10)), A)
    assert list(result.support) == [5, 9]
    assert result.x.shape == (40, 10)
    assert not np.any(result.x[3])


@pytest.mark.parametrize("method", ["mm", "em", "fast"])
def test_zero_data_give_zeros(method):
    result = sbl(np.zeros((5, 2)), np.ones((5, 4)), method=method)
    assert result.x.shape == (4, 2)
    assert not np.any(result.x)
    assert result.converged
    assert result.certificate.bound == 0


def test_backends(backend):
    y, [A], _, noise, _ = oracles.problem(6, (20,), (40,), 2, 30, complex_=True)
    result = sbl(backend.array(y), backend.array(A), noise_var=noise)
    assert np.allclose(backend.numpy(result.x), sbl(y, A, noise_var=noise).x, atol=1e-8)
    quick = sbl(backend.array(y), backend.array(A), noise_var=noise, method="fast")
    assert np.allclose(backend.numpy(quick.x), sbl(y, A, noise_var=noise, method="fast").x, atol=1e-8)
    assert backend.numpy(result.gamma).dtype == np.float64


def test_too_few_steps_warn():
    y, [A], _, noise, _ = oracles.problem(7, (20,), (40,), 2, 30)
    with pytest.warns(ConvergenceWarning, match="sbl: 1 steps did not reach"):
        assert not sbl(y, A, noise_var=noise, max_iter=1).converged


BAD = [
    ("short", (np.ones(4), np.ones((5, 6))), {}, ValueError, r"y must have shape \(5,\)"),
    ("vector", (np.ones(4), np.ones(4)), {}, ValueError, r"factors\[0\] must be 2-dimensional"),
    ("method", (np.ones(5), np.ones((5, 6))), {"method": "slow"}, ValueError, "method must be one of 'mm', 'em', 'fast'"),
    ("prune", (np.ones(5), np.ones((5, 6))), {"prune": 1}, ValueError, "prune must be"),
    ("NaN", (np.ones(5) * np.nan, np.ones((5, 6))), {}, ValueError, "y must be finite"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=f"sbl: {message}"):
        sbl(*args, **options)
