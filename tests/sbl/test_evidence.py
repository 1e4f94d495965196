"""The E-step without the Kronecker matrix, and the steps of hyper-parameters, against their definitions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.sbl import _atoms, _certificate, _evidence, _problem, _stack, _steps, _view
from tests.sbl import oracles

SHAPES = [((4,), (6,)), ((3, 5), (5, 4)), ((6, 2, 3), (4, 3, 3)), ((2, 2, 2, 2), (2, 3, 1, 2))]


def _started(problem, g, noise):
    """One problem of a stack."""
    return _evidence.start(problem, [x[None, :] for x in g], np.array([noise]))


def _entered(y, A):
    return _stack.stacked(_problem.enter("test", y, A))


def _evidence_of(shape, seed, complex_, *, zero=True, noise=0.3):
    rows, columns = shape
    rng = np.random.default_rng(seed)
    A = [oracles.draw(rng, m, n, complex_=complex_) for m, n in zip(rows, columns, strict=True)]
    y = oracles.draw(rng, *rows, 2, complex_=complex_)
    problem = _entered(y, A)
    g = [rng.random(n) + 0.1 for n in columns]
    if zero and columns[0] > 1:
        g[0][1] = 0.0
    A = [a / np.linalg.norm(a, axis=0) for a in A]
    return _started(problem, g, noise), A, y.reshape(-1, 2)


def _only(g):
    return [x[0] for x in g]


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_posterior_and_cost_are_those_of_dense_matrices(shape, complex_):
    evidence, A, y = _evidence_of(shape, 0, complex_)
    mean, variance, cost, _ = oracles.posterior(y, A, _only(evidence.g), evidence.noise[0])
    got_mean, got_variance = evidence.posterior()
    assert np.allclose(got_mean.reshape(-1, 2), mean, rtol=0, atol=1e-12)
    assert np.allclose(got_variance.ravel(), variance, rtol=0, atol=1e-12)
    assert abs(evidence.cost[0] - cost) < 1e-10 * abs(cost)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_residual_and_degrees_of_freedom(shape, complex_):
    evidence, A, y = _evidence_of(shape, 1, complex_)
    mean, variance, _, _ = oracles.posterior(y, A, _only(evidence.g), evidence.noise[0])
    prior = np.ravel(_evidence.outer(_only(evidence.g)))
    assert evidence.residual()[0] == pytest.approx(np.linalg.norm(y - oracles.reduce(np.kron, A) @ mean) ** 2)
    assert evidence.freedom()[0] == pytest.approx(np.sum(1 - variance[prior > 0] / prior[prior > 0]))


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_that_of_finite_differences(shape, complex_):
    evidence, _, _ = _evidence_of(shape, 2, complex_)
    for i, g in enumerate(evidence.g):
        nums, dens = evidence.slices(i)
        for k in np.flatnonzero(g):
            h = 1e-5 * g[0, k] * np.eye(g.size)[k]
            slope = (evidence.with_mode(i, g + h).cost - evidence.with_mode(i, g - h).cost) / (2e-5 * g[0, k])
            assert slope[0] == pytest.approx((dens - nums)[0, k], rel=1e-5, abs=1e-5)


@given(seed=st.integers(0, 10_000), complex_=st.booleans(), noise=st.floats(1e-6, 10), shape=st.sampled_from(SHAPES))
def test_variances_lie_between_zero_and_the_prior(seed, complex_, noise, shape):
    evidence, _, _ = _evidence_of(shape, seed, complex_, noise=noise)
    _, variance = evidence.posterior()
    assert np.all(variance >= 0)
    assert np.all(variance[0] <= _evidence.outer(_only(evidence.g)) * (1 + 1e-12))


@given(seed=st.integers(0, 10_000), complex_=st.booleans(), shape=st.sampled_from(SHAPES))
@pytest.mark.parametrize("step", [_steps.mm, _steps.alternating, _steps.single_sweep, _steps.noise])
def test_steps_never_raise_the_cost(step, seed, complex_, shape):
    evidence, _, _ = _evidence_of(shape, seed, complex_)
    cost = evidence.cost
    for _ in range(5):
        evidence = step(evidence)
        assert evidence.cost <= cost + 1e-10 * (1 + abs(cost))
        cost = evidence.cost


def test_coupled_steps_never_raise_the_cost():
    for seed in range(20):
        evidence, _, _ = _evidence_of(((3, 5), (5, 4)), seed, complex_=True)
        C = [np.eye(n) + 0.5 * (np.eye(n, k=1) + np.eye(n, k=-1)) for n in (5, 4)]
        evidence = _evidence.start(replace(evidence.problem, couplings=tuple(C)), evidence.g, evidence.noise)
        before = evidence.cost
        assert _steps.mm(evidence).cost <= before + 1e-10 * (1 + abs(before))


def test_balanced_slices_have_mean_one_and_the_sweeps_descend():
    rng = np.random.default_rng(3)
    moment, g = rng.lognormal(sigma=2, size=(1, 4, 5, 6)), [np.ones((1, n)) for n in (4, 5, 6)]
    costs = []
    for sweeps in range(1, 8):
        v = _stack.products(_steps.balance(moment, g, sweeps))
        costs.append(np.sum(np.log(v) + moment / v))
    assert np.all(np.diff(costs) <= 1e-9)
    balanced = _steps.balance(moment, g, 200)
    assert all(_steps.deviation(_steps.slice_means(moment, balanced, i), balanced[i]) < 1e-5 for i in range(3))


def test_m_steps_recover_an_outer_product():
    rng = np.random.default_rng(4)
    truth = _stack.products([rng.random((1, n)) for n in (4, 5, 3)])
    assert np.allclose(_stack.products(_steps.leading(truth)), truth, rtol=1e-10)
    assert np.allclose(_stack.products(_steps.balance(truth, [np.ones((1, n)) for n in (4, 5, 3)], 50)), truth, rtol=1e-6)
    assert _steps.rank_one_error(truth, _steps.leading(truth)) < 1e-10


def test_scales_may_move_between_modes():
    evidence, _, _ = _evidence_of(((3, 5), (5, 4)), 5, complex_=True)
    moved = _evidence.start(evidence.problem, [7 * evidence.g[0], evidence.g[1] / 7], evidence.noise)
    assert moved.cost == pytest.approx(evidence.cost)
    assert np.allclose(moved.posterior()[0], evidence.posterior()[0])
    assert _steps.even(evidence).cost == pytest.approx(evidence.cost)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_the_fall_of_the_cost_by_one_atom_is_that_of_a_search(shape, complex_):
    found = 0
    for seed in range(6):
        evidence, _, _ = _evidence_of(shape, seed, complex_, noise=0.05)
        rng = np.random.default_rng(seed)
        g = [np.where(rng.random(x.shape) < 0.5, x, 0.0) if x.shape[1] > 1 else x for x in evidence.g]
        evidence = _evidence.start(evidence.problem, g, evidence.noise)
        for i, g in enumerate(evidence.g):
            best, fall = _atoms.falls(evidence, i)
            for k in np.flatnonzero(g[0] == 0):
                atom = np.eye(g.shape[1])[k]
                lowest = min(evidence.with_mode(i, g + x * atom).cost[0] for x in np.geomspace(1e-4, 1e4, 161))
                assert evidence.with_mode(i, g + best * atom).cost[0] == pytest.approx(evidence.cost[0] - fall[0, k], abs=1e-8)
                assert lowest >= evidence.cost[0] - fall[0, k] - 0.02 * abs(fall[0, k]) - 1e-6
                found += fall[0, k] > 0
            assert not np.any(fall[g > 0])
    assert found > 3


def test_views_of_few_atoms_see_the_same():
    evidence, _, _ = _evidence_of(((6, 7), (9, 12)), 8, complex_=True)
    keep = [np.arange(9) % 3 == 0, np.arange(12) % 4 == 1]
    g = [np.where(k, 1.0 + np.arange(k.size), 0.0)[None, :] for k in keep]
    whole = _evidence.start(evidence.problem, g, evidence.noise)
    few = _evidence.start(
        evidence.problem.restricted([k[None, :] for k in keep]), [x[:, k] for x, k in zip(g, keep, strict=True)], evidence.noise
    )
    assert few.Y.shape == (1, 3, 3, 2)
    for figure in ("residual", "freedom"):
        assert getattr(few, figure)() == pytest.approx(getattr(whole, figure)(), rel=1e-10)
    assert few.cost == pytest.approx(whole.cost, rel=1e-12)
    view = _view.View(evidence.problem, few, tuple(k[None, :] for k in keep), ())
    assert np.allclose(view.whole()[1], g[1])
    assert np.allclose(view.widened(view.widened(few.posterior()[0], 0, 1), 1, 2), whole.posterior()[0], atol=1e-12)
    for few_terms, terms, k in zip(few.slices(1), whole.slices(1), [keep[1]] * 2, strict=True):
        assert np.allclose(few_terms, terms[:, k])


def test_stationarity_is_that_of_higher_precision():
    evidence, A, y = _evidence_of(((3, 5), (5, 4)), 7, complex_=False, noise=1e-6)
    wide = [a.astype(np.longdouble) for a in A]
    K = np.kron(*wide)
    C = (K * np.kron(*_only(evidence.g))) @ K.T + np.longdouble(1e-6) * np.eye(15)
    S, Q2 = _precisely(C, K, y)
    for i in range(2):
        g = np.multiply.outer(*_only(evidence.g))
        true = np.sum((g * (2 * S - Q2).reshape(5, 4)), axis=1 - i)
        nums, dens = evidence.slices(i)
        error = np.max(np.abs((evidence.g[i] * (dens - nums))[0] - true))
        assert error <= _certificate.rounding(evidence)[0] <= 1e6 * max(error, 1e-16)
    assert _certificate.stationarity(evidence)[0] >= np.max(np.abs(true)) / 30


def _precisely(C, K, y):
    """Return a^T C^-1 a and sum |a^T C^-1 y|^2 for all columns, by refinement in long double."""
    inverse = np.linalg.inv(C.astype(float)).astype(np.longdouble)
    for _ in range(3):
        inverse = inverse + inverse @ (np.eye(C.shape[0]) - C @ inverse)
    return np.sum(K * (inverse @ K), axis=0), np.sum((K.T @ (inverse @ y)) ** 2, axis=1)
