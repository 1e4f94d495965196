"""The E-step without the Kronecker matrix, and the steps of hyper-parameters, against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.sbl import _certificate, _evidence, _loop, _problem, _steps
from tests.sbl import oracles

SHAPES = [((4,), (6,)), ((3, 5), (5, 4)), ((6, 2, 3), (4, 3, 3)), ((2, 2, 2, 2), (2, 3, 1, 2))]


def _evidence_of(shape, seed, complex_, *, zero=True, noise=0.3):
    rows, columns = shape
    rng = np.random.default_rng(seed)
    A = [oracles.draw(rng, m, n, complex_=complex_) for m, n in zip(rows, columns, strict=True)]
    y = oracles.draw(rng, *rows, 2, complex_=complex_)
    problem = _problem.enter("test", y, A).problem
    g = [rng.random(n) + 0.1 for n in columns]
    if zero and columns[0] > 1:
        g[0][1] = 0.0
    A = [a / np.linalg.norm(a, axis=0) for a in A]
    return _evidence.start(problem, g, noise), A, y.reshape(-1, 2)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_posterior_and_cost_are_those_of_dense_matrices(shape, complex_):
    evidence, A, y = _evidence_of(shape, 0, complex_)
    mean, variance, cost, _ = oracles.posterior(y, A, evidence.g, evidence.noise)
    got_mean, got_variance = evidence.posterior()
    assert np.allclose(got_mean.reshape(-1, 2), mean, rtol=0, atol=1e-12)
    assert np.allclose(got_variance.ravel(), variance, rtol=0, atol=1e-12)
    assert abs(evidence.cost() - cost) < 1e-10 * abs(cost)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_residual_and_degrees_of_freedom(shape, complex_):
    evidence, A, y = _evidence_of(shape, 1, complex_)
    mean, variance, _, _ = oracles.posterior(y, A, evidence.g, evidence.noise)
    prior = np.ravel(_evidence.outer(evidence.g))
    assert evidence.residual() == pytest.approx(np.linalg.norm(y - oracles.reduce(np.kron, A) @ mean) ** 2)
    assert evidence.freedom() == pytest.approx(np.sum(1 - variance[prior > 0] / prior[prior > 0]))


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_that_of_finite_differences(shape, complex_):
    evidence, _, _ = _evidence_of(shape, 2, complex_)
    for i, g in enumerate(evidence.g):
        nums, dens = evidence.slices(i)
        for k in np.flatnonzero(g):
            h = 1e-5 * g[k] * np.eye(g.size)[k]
            slope = (evidence.with_mode(i, g + h).cost() - evidence.with_mode(i, g - h).cost()) / (2e-5 * g[k])
            assert slope == pytest.approx(dens[k] - nums[k], rel=1e-5, abs=1e-5)


@given(seed=st.integers(0, 10_000), complex_=st.booleans(), noise=st.floats(1e-6, 10), shape=st.sampled_from(SHAPES))
def test_variances_lie_between_zero_and_the_prior(seed, complex_, noise, shape):
    evidence, _, _ = _evidence_of(shape, seed, complex_, noise=noise)
    _, variance = evidence.posterior()
    assert np.all(variance >= 0)
    assert np.all(variance <= _evidence.outer(evidence.g) * (1 + 1e-12))


@given(seed=st.integers(0, 10_000), complex_=st.booleans(), shape=st.sampled_from(SHAPES))
@pytest.mark.parametrize("step", [_steps.mm, _steps.alternating, _steps.single_sweep, _steps.noise])
def test_steps_never_raise_the_cost(step, seed, complex_, shape):
    evidence, _, _ = _evidence_of(shape, seed, complex_)
    cost = evidence.cost()
    for _ in range(5):
        evidence = step(evidence)
        assert evidence.cost() <= cost + 1e-10 * (1 + abs(cost))
        cost = evidence.cost()


def test_coupled_steps_never_raise_the_cost():
    for seed in range(20):
        evidence, _, _ = _evidence_of(((3, 5), (5, 4)), seed, complex_=True)
        C = [np.eye(n) + 0.5 * (np.eye(n, k=1) + np.eye(n, k=-1)) for n in (5, 4)]
        problem = _problem.Problem(**{**vars(evidence.problem), "couplings": tuple(C)})
        evidence = _evidence.start(problem, evidence.g, evidence.noise)
        before = evidence.cost()
        assert _steps.mm(evidence).cost() <= before + 1e-10 * (1 + abs(before))


def test_balanced_slices_have_mean_one_and_the_sweeps_descend():
    rng = np.random.default_rng(3)
    moment, g = rng.lognormal(sigma=2, size=(4, 5, 6)), [np.ones(4), np.ones(5), np.ones(6)]
    costs = []
    for sweeps in range(1, 8):
        v = _evidence.outer(_steps.balance(moment, g, sweeps))
        costs.append(np.sum(np.log(v) + moment / v))
    assert np.all(np.diff(costs) <= 1e-9)
    balanced = _steps.balance(moment, g, 200)
    assert all(_steps.deviation(_steps.slice_means(moment, balanced, i), balanced[i]) < 1e-5 for i in range(3))


def test_m_steps_recover_an_outer_product():
    rng = np.random.default_rng(4)
    truth = _evidence.outer([rng.random(n) for n in (4, 5, 3)])
    assert np.allclose(_evidence.outer(_steps.leading(truth)), truth, rtol=1e-10)
    assert np.allclose(_evidence.outer(_steps.balance(truth, [np.ones(4), np.ones(5), np.ones(3)], 50)), truth, rtol=1e-6)
    assert _steps.rank_one_error(truth, _steps.leading(truth)) < 1e-10


def test_scales_may_move_between_modes():
    evidence, _, _ = _evidence_of(((3, 5), (5, 4)), 5, complex_=True)
    moved = _evidence.start(evidence.problem, [7 * evidence.g[0], evidence.g[1] / 7], evidence.noise)
    assert moved.cost() == pytest.approx(evidence.cost())
    assert np.allclose(moved.posterior()[0], evidence.posterior()[0])
    assert _steps.even(evidence).cost() == pytest.approx(evidence.cost())


def test_the_gain_of_an_atom_is_exact_for_orthogonal_factors():
    rng = np.random.default_rng(6)
    Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    evidence = _evidence.start(_problem.enter("test", Q[:, 0] * 3 + 0.1, [Q]).problem, [np.zeros(5)], 0.5)
    grid = [evidence.with_mode(0, g * np.eye(5)[0]).cost() for g in np.linspace(0, 20, 20_001)]
    assert _loop.gains(evidence, 0)[0] == pytest.approx(evidence.cost() - min(grid), rel=1e-5)


def test_stationarity_is_that_of_higher_precision():
    evidence, A, y = _evidence_of(((3, 5), (5, 4)), 7, complex_=False, noise=1e-6)
    wide = [a.astype(np.longdouble) for a in A]
    K = np.kron(*wide)
    C = (K * np.kron(*evidence.g)) @ K.T + np.longdouble(1e-6) * np.eye(15)
    S, Q2 = _precisely(C, K, y)
    for i in range(2):
        g = np.multiply.outer(evidence.g[0], evidence.g[1])
        true = np.sum((g * (2 * S - Q2).reshape(5, 4)), axis=1 - i)
        nums, dens = evidence.slices(i)
        error = np.max(np.abs(evidence.g[i] * (dens - nums) - true))
        assert error <= _certificate.rounding(evidence) <= 1e6 * max(error, 1e-16)
    assert _certificate.stationarity(evidence) >= np.max(np.abs(true)) / 30


def _precisely(C, K, y):
    """Return a^T C^-1 a and sum |a^T C^-1 y|^2 for all columns, by refinement in long double."""
    inverse = np.linalg.inv(C.astype(float)).astype(np.longdouble)
    for _ in range(3):
        inverse = inverse + inverse @ (np.eye(C.shape[0]) - C @ inverse)
    return np.sum(K * (inverse @ K), axis=0), np.sum((K.T @ (inverse @ y)) ** 2, axis=1)
