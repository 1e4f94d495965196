"""The angle bound holds for every draw when the noise is given; the estimate and the error bars are calibrated."""

import warnings

import numpy as np
import pytest

from lowrank_la import ConvergenceWarning
from lowrank_la.calibration import self_calibrate
from tests.calibration import oracles


def random_problem(seed):
    """Sizes, model, field and noise at random: from hopeless to exact."""
    rng = np.random.default_rng(seed)
    model = ("repeated", "diverse", "snapshots")[seed % 3]
    m = int(rng.integers(4, 24))
    n = int(rng.integers(1, max(2, m // 2)))
    p = int(rng.integers(2, 6)) if model != "snapshots" else int(rng.integers(3, 20))
    if not p * m >= m + n or (model != "repeated" and p * (m - n) < m):
        p += 2
    snr = rng.choice([0, 10, 20, 40, 60, np.inf])
    return model, oracles.draw(rng, model, m, n, p, snr, real=bool(rng.integers(2)))


def violations(seeds, **options):
    """Count draws in which the angle exceeds the bound for the true noise, and bounds below one."""
    wrong = useful = 0
    for seed in seeds:
        model, t = random_problem(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            result = self_calibrate(t.Y, t.A, model=model, noise=np.linalg.norm(t.E, axis=0), **options)
        assert result.certificate.confidence == 1.0
        wrong += oracles.sine(result.d, t.d, result.weights) > result.certificate.bound
        useful += result.certificate.bound < 1
    return wrong, useful


def test_the_angle_bound_holds_for_every_draw():
    wrong, useful = violations(range(300), max_iter=20)
    assert wrong == 0
    assert useful > 100


@pytest.mark.parametrize("options", [{"method": "spectral", "reweight": 0}, {"method": "lstsq"}, {"smooth": 0.01}])
def test_the_angle_bound_holds_for_other_methods(options):
    assert violations(range(60), **options)[0] == 0


def test_the_estimate_is_labelled_and_calibrated():
    rng, wrong, loose = np.random.default_rng(0), 0, []
    for _ in range(100):
        t = oracles.draw(rng, "snapshots", 20, 6, 20, 25)
        result = self_calibrate(t.Y, t.A)
        assert result.certificate.method.startswith("ESTIMATE")
        angle = oracles.sine(result.d, t.d, result.weights)
        wrong += angle > result.certificate.bound
        loose.append(result.certificate.bound / angle)
    assert wrong <= 3
    assert np.median(loose) < 10


@pytest.mark.parametrize(("model", "sizes"), [("repeated", (24, 8, 4)), ("diverse", (24, 6, 5)), ("snapshots", (24, 6, 12))])
@pytest.mark.parametrize("real", [True, False])
def test_error_bars_are_those_of_repeated_noise(model, sizes, real):
    rng, squares, noise = np.random.default_rng(1), [], []
    for _ in range(60):
        t = oracles.draw(rng, model, *sizes, 40, real=real)
        result = self_calibrate(t.Y, t.A, model=model)
        scale = np.vdot(result.d, t.d) / np.vdot(result.d, result.d)
        squares.append(abs(result.d - t.d / scale) ** 2 / result.d_error**2)
        noise.append(result.noise_std / np.sqrt(1e-4 * np.mean(abs(t.Y - t.E) ** 2)))
    assert np.mean(squares) == pytest.approx(1, abs=0.15)
    assert np.mean(noise) == pytest.approx(1, abs=0.03)
    worst = np.mean(squares, axis=0)
    assert worst.max() < 3


def test_no_freedom_no_error_bars():
    t = oracles.draw(np.random.default_rng(2), "snapshots", 5, 4, 4, 40)  # 20 equations, 20 unknowns
    with pytest.warns(ConvergenceWarning):
        result = self_calibrate(t.Y, t.A)
    assert np.isinf(result.d_error).all()
    assert result.noise_std == np.inf
    assert result.certificate.bound == 1.0


def test_result_reads_well():
    t = oracles.draw(np.random.default_rng(3), "snapshots", 12, 3, 12, 40)
    result = self_calibrate(t.Y, t.A)
    text = repr(result)
    assert "gap_ratio" in text
    assert "Certificate" in text
    pytest.importorskip("matplotlib").use("Agg")
    assert result.plot().get_xlabel() == "channel"
