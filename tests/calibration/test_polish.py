"""The polish finds the likeliest gains in a few steps, whatever metric it is given."""

import numpy as np
import pytest

from lowrank_la.calibration import _certificate, _models, _polish, self_calibrate
from lowrank_la.calibration._problem import Problem
from lowrank_la.calibration._spectral import Options
from tests.calibration import oracles

SIZES = {"repeated": (24, 8, 4), "diverse": (24, 6, 5), "snapshots": (24, 6, 12)}
OPTIONS = Options("polished", 0)


def moved(problem, d):
    """Relative change of the gains in one plain step of alternating least squares."""
    new = _polish.update(problem.Y, _polish.signals(problem, d)[1], d, OPTIONS)
    return np.linalg.norm(new - d) / np.linalg.norm(d)


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("model", SIZES)
def test_a_few_steps_reach_the_likeliest_gains(model, real):
    for seed in range(5):
        t = oracles.draw(np.random.default_rng(seed), model, *SIZES[model], 30, real=real)
        result = self_calibrate(t.Y, t.A, model=model)
        assert result.converged
        assert 2 <= len(result.history) <= 6
        assert moved(Problem(model, t.Y, t.A), result.d) < 1e-3 * oracles.error(result.d, t.d)


@pytest.mark.parametrize("model", SIZES)
def test_the_root_is_that_of_the_inverse_information(model):
    t = oracles.draw(np.random.default_rng(1), model, *SIZES[model], 60)
    F = _certificate.fisher_root(_models.eliminate(Problem(model, t.Y, t.A), abs(t.d)), t.d)
    C = oracles.projected(t.Y - t.E, t.d[:, None] * t.A, model)
    assert np.linalg.norm(C @ F @ F.conj().T @ C - C) < 0.02 * np.linalg.norm(C)  # a generalised inverse, for some choice of the scale


@pytest.mark.parametrize("share", [0.5, 1.7, 1e3, np.nan])
@pytest.mark.parametrize("model", SIZES)
def test_a_bad_metric_costs_steps_only(model, share):
    t = oracles.draw(np.random.default_rng(2), model, *SIZES[model], 20)
    problem = Problem(model, t.Y, t.A)
    start = t.d * (1 + 0.1 * np.random.default_rng(3).standard_normal(t.d.size))
    root = share * _certificate.fisher_root(_models.eliminate(problem, abs(start)), start)
    fit, plain = _polish.polish(problem, start, OPTIONS, 200, root), _polish.polish(problem, start, OPTIONS, 200)
    assert (np.diff(fit.history) <= 0).all()
    assert fit.settled
    assert fit.history[-1] == pytest.approx(plain.history[-1], rel=1e-5)


def test_gains_of_modulus_one_keep_it():
    t = oracles.draw(np.random.default_rng(4), "snapshots", *SIZES["snapshots"], 10, spread=0.0)
    fit = _polish.polish(Problem("snapshots", t.Y, t.A), t.d, Options("polished", 0, unit_modulus=True), 50)
    np.testing.assert_allclose(abs(fit.d), 1, rtol=1e-12)
    assert fit.settled
