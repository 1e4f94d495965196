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
@pytest.mark.parametrize("method", ["auto", "em", "pattern"])
@pytest.mark.parametrize("shape", [(30, 60), (60, 30)])
def test_moments_and_cost_are_those_of_dense_matrices(shape, method, complex_):
    y, [A], X, noise, _ = oracles.problem(0, shape[:1], shape[1:], 3, 30, complex_=complex_)
    result = _quietly(y, A, method=method, noise_var=noise)
    mean, variance, cost, _ = oracles.posterior(y[:, None], [A], [result.gamma], noise)
    assert np.allclose(result.x, mean[:, 0], atol=1e-9)
    assert np.allclose(result.variance, variance, atol=1e-9)
    price = len(result.support) * _price(60 if shape[1] == 60 else 30, complex_) if method == "auto" else 0
    assert result.cost_trace[-1] == pytest.approx(cost + price, rel=1e-9)
    assert result.dof == pytest.approx(np.sum(1 - variance[result.support] / result.gamma[result.support]))
    assert oracles.error(result.x, X) < (5e-2 if method == "pattern" else 1e-2)


def _price(columns, complex_):
    return (1 if complex_ else 2) * np.log(columns + 1)


@given(seed=st.integers(0, 1000), complex_=st.booleans(), known=st.booleans(), method=st.sampled_from(["auto", "fast", "em"]))
@settings(max_examples=25)
def test_the_trace_never_rises_without_pruning(seed, complex_, known, method):
    y, [A], _, noise, _ = oracles.problem(seed, (12,), (20,), 2, 20, complex_=complex_)
    trace = _quietly(y, A, method=method, noise_var=noise if known else None, prune=0, max_iter=30).cost_trace
    assert np.all(np.diff(trace) <= 1e-9 * np.abs(trace).max())


@given(seed=st.integers(0, 1000), complex_=st.booleans(), known=st.booleans())
@settings(max_examples=15)
def test_no_change_of_one_atom_would_lower_the_trace(seed, complex_, known):
    """At the end, for every atom, all variances of a grid are tried, with the best noise for each."""
    y, [A], _, noise, _ = oracles.problem(seed, (15,), (20,), 2, 15, complex_=complex_)
    result = _quietly(y, A, method="fast", noise_var=noise if known else None, tol=1e-9)
    h = result.gamma / result.noise_var

    def score(h):
        C = (A * h) @ A.conj().T + np.eye(15)
        energy = (y.conj() @ np.linalg.solve(C, y)).real
        s2 = noise if known else energy / 15
        return np.linalg.slogdet(C)[1] + 15 * np.log(s2) + energy / s2 + np.count_nonzero(h) * _price(20, complex_)

    least = score(h)
    assert result.cost_trace[-1] == pytest.approx(least, abs=1e-5)
    for k in range(20):
        for value in [0, *np.logspace(-3, 6, 40)]:
            assert score(np.where(np.arange(20) == k, value, h)) >= least - 1e-5


def test_pure_noise_is_explained_by_nothing():
    """The price is what the best of N atoms gains; expectation-maximisation keeps many of them."""
    counts = {"fast": 0, "em": 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        A, y = rng.standard_normal((40, 80)), rng.standard_normal(40)
        for method in counts:
            counts[method] += len(_quietly(y, A, method=method, noise_var=1.0).support)
    assert counts["fast"] <= 5
    assert counts["em"] > 100


def test_columns_that_are_alike_need_both_starts():
    """A dictionary with decaying singular values: the best of both starts is never worse than the first, and at times much better."""
    gains = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((40, 40)) * np.exp(-np.arange(40) / 10) @ rng.standard_normal((40, 80))
        x = np.zeros(80)
        x[rng.permutation(80)[:5]] = rng.standard_normal(5)
        y = A @ x + 0.1 * np.std(A @ x) * rng.standard_normal(40)
        gains.append(sbl(y, A, method="fast").cost_trace[-1] - sbl(y, A).cost_trace[-1])
    assert min(gains) >= -1e-6
    assert max(gains) > 1


def test_coupled_neighbours_find_blocks():
    """A block of eight atoms at 5 dB: the average error over draws is smaller with coupling."""
    errors = {"em": 0.0, "pattern": 0.0}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        A, x = rng.standard_normal((40, 80)), np.zeros(80)
        x[rng.integers(72) + np.arange(8)] = rng.standard_normal(8)
        clean = A @ x
        noise = np.mean(clean**2) / 10**0.5
        y = clean + np.sqrt(noise) * rng.standard_normal(40)
        for method in errors:
            errors[method] += oracles.error(_quietly(y, A, method=method, noise_var=noise).x, x)
    assert errors["pattern"] < 0.8 * errors["em"]


@pytest.mark.parametrize("method", ["auto", "em"])
def test_noise_is_estimated_and_support_found(method):
    y, [A], X, noise, support = oracles.problem(2, (100,), (200,), 5, 25)
    result = sbl(y, A, method=method)
    assert result.noise_var == pytest.approx(noise, rel=0.4)
    assert set(support[0][np.abs(X[support[0]]) > 0.3]) <= set(result.support)
    assert oracles.error(result.x, X) < 1e-2


def test_the_certificate_bounds_the_gradient():
    y, [A], _, noise, _ = oracles.problem(3, (30,), (60,), 3, 20)
    result = _quietly(y, A, method="em", noise_var=noise, tol=1e-2)
    inverse = np.linalg.inv(oracles.posterior(y[:, None], [A], [result.gamma], noise)[3])
    true = np.max(np.abs(result.gamma * (np.sum(A * (inverse @ A), axis=0) - (A.T @ inverse @ y) ** 2))) / y.size
    assert true * (1 - 1e-6) <= result.certificate.bound <= 1.01 * true + 1e-8


@pytest.mark.parametrize("complex_", [False, True])
def test_one_atom_at_a_time_reaches_a_stationary_point(complex_):
    for seed in range(5):
        y, [A], X, noise, _ = oracles.problem(seed, (50,), (120,), 4, 25, complex_=complex_)
        result = sbl(y, A, method="fast", noise_var=noise, tol=1e-10)
        assert np.all(np.diff(result.cost_trace) <= 1e-9 * np.abs(result.cost_trace).max())
        price = len(result.support) * _price(120, complex_)
        assert result.cost_trace[-1] == pytest.approx(oracles.posterior(y[:, None], [A], [result.gamma], noise)[2] + price, abs=1e-6)
        assert result.certificate.bound < 1e-6
        assert oracles.error(result.x, X) < 2e-2
        assert sbl(y, A, method="fast").noise_var == pytest.approx(noise, rel=0.6)


def test_scaling_columns_scales_the_answer():
    y, [A], _, noise, _ = oracles.problem(4, (30,), (60,), 3, 20)
    scale = np.random.default_rng(0).lognormal(size=60)
    for method in ("auto", "em"):
        one, other = (sbl(y, B, noise_var=noise, method=method).x for B in (A, A * scale))
        assert np.allclose(other * scale, one, atol=1e-7)


def test_snapshots_and_dead_columns():
    rng = np.random.default_rng(5)
    A, X = rng.standard_normal((20, 40)), np.zeros((40, 10))
    A[:, 3], X[[5, 9]] = 0, rng.standard_normal((2, 10))
    result = sbl(A @ X + 0.01 * rng.standard_normal((20, 10)), A)
    assert set(np.argsort(result.gamma)[-2:]) == {5, 9}
    assert oracles.error(result.x, X) < 1e-3
    assert result.x.shape == (40, 10)
    assert not np.any(result.x[3])


@pytest.mark.parametrize("method", ["auto", "em", "fast", "pattern"])
def test_zero_data_give_zeros(method):
    result = sbl(np.zeros((5, 2)), np.ones((5, 4)), method=method)
    assert result.x.shape == (4, 2)
    assert not np.any(result.x)
    assert result.converged
    assert result.certificate.bound == 0


@pytest.mark.parametrize("method", ["auto", "em", "fast", "pattern"])
def test_a_dictionary_of_zeros_explains_nothing(method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sbl(np.arange(6.0), np.zeros((6, 4)), method=method)
    assert not np.any(result.x)
    assert len(result.support) == 0
    assert result.noise_var == pytest.approx(np.mean(np.arange(6.0) ** 2))


def test_duplicates_share_and_exact_data_are_fitted():
    rng = np.random.default_rng(8)
    A, x = rng.standard_normal((30, 50)), np.zeros(50)
    A[:, 20], x[[4, 11]] = A[:, 4], [2, -1]
    for method in ("auto", "fast", "em"):
        result = _quietly(A @ x, A, method=method)
        assert np.allclose(A @ result.x, A @ x, atol=1e-3)
        assert np.allclose(result.x[4] + result.x[20], 2, atol=1e-3)


@pytest.mark.parametrize("method", ["auto", "em", "pattern"])
def test_backends(backend, method):
    y, [A], _, noise, _ = oracles.problem(6, (20,), (40,), 2, 30, complex_=True)
    result, expected = sbl(backend.array(y), backend.array(A), noise_var=noise, method=method), sbl(y, A, noise_var=noise, method=method)
    assert np.allclose(backend.numpy(result.x), expected.x, atol=1e-8)
    assert np.array_equal(backend.numpy(result.support), expected.support)
    assert backend.numpy(result.gamma).dtype == np.float64


@pytest.mark.parametrize("method", ["em", "fast"])
def test_too_few_steps_warn(method):
    y, [A], _, _, _ = oracles.problem(7, (40,), (60,), 8, 15)
    with pytest.warns(ConvergenceWarning, match="sbl: 1 steps did not converge to tol"):
        assert not sbl(y, A, method=method, max_iter=1, tol=1e-12).converged


BAD = [
    ("short", (np.ones(4), np.ones((5, 6))), {}, ValueError, r"y must have shape \(5,\) or \(5, L\) for"),
    ("vector", (np.ones(4), np.ones(4)), {}, ValueError, "A must be 2-dimensional"),
    ("method", (np.ones(5), np.ones((5, 6))), {"method": "slow"}, ValueError, "method must be one of 'auto', 'fast', 'em', 'pattern'"),
    ("coupling", (np.ones(5), np.ones((5, 6))), {"coupling": 2}, ValueError, "coupling must be"),
    ("prune", (np.ones(5), np.ones((5, 6))), {"prune": 1}, ValueError, "prune must be"),
    ("NaN", (np.ones(5) * np.nan, np.ones((5, 6))), {}, ValueError, "y must be finite"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=f"sbl: {message}"):
        sbl(*args, **options)
