"""What is known about gains: some of them, smoothness, modulus one."""

from itertools import pairwise

import numpy as np
import pytest

from lowrank_la.calibration import self_calibrate
from tests.calibration import oracles

IGNORE = "ignore::lowrank_la.ConvergenceWarning"


@pytest.mark.parametrize(("model", "sizes"), [("repeated", (24, 8, 4)), ("diverse", (24, 6, 5)), ("snapshots", (24, 6, 12))])
def test_known_gains_fix_the_scale(model, sizes):
    t = oracles.draw(np.random.default_rng(0), model, *sizes, 40)
    places = np.array([5, 0, 17])
    noise = np.linalg.norm(t.E, axis=0)
    result = self_calibrate(t.Y, t.A, model=model, known=(places, t.d[places]), noise=noise)
    np.testing.assert_allclose(result.d[places], t.d[places], rtol=1e-14)
    assert np.linalg.norm(result.d - t.d) < 0.1 * np.linalg.norm(t.d)
    assert (result.d_error[places] == 0).all()
    root = np.sqrt(result.weights)
    error = np.linalg.norm(root * (1 / result.d - 1 / t.d)) / np.linalg.norm(root / t.d)
    assert error <= result.certificate.bound < 1
    exact = self_calibrate(t.Y - t.E, t.A, model=model, known=(places, t.d[places]))
    np.testing.assert_allclose(exact.d, t.d, rtol=1e-8)
    np.testing.assert_allclose(exact.x, t.X, rtol=1e-6)


@pytest.mark.filterwarnings(IGNORE)
def test_bounds_with_known_gains_hold_always():
    rng = np.random.default_rng(1)
    for _ in range(100):
        t = oracles.draw(rng, "snapshots", 16, 4, int(rng.integers(4, 12)), rng.choice([10, 20, 40]))
        count = int(rng.integers(1, 16))
        places = rng.permutation(16)[:count]
        result = self_calibrate(t.Y, t.A, known=(places, t.d[places]), noise=np.linalg.norm(t.E, axis=0), max_iter=500)
        root = np.sqrt(result.weights)
        error = np.linalg.norm(root * (1 / result.d - 1 / t.d)) / np.linalg.norm(root / t.d)
        assert error <= result.certificate.bound


@pytest.mark.filterwarnings(IGNORE)
def test_error_bars_with_known_gains():
    rng, squares = np.random.default_rng(2), []
    for _ in range(60):
        t = oracles.draw(rng, "snapshots", 24, 6, 12, 40)
        result = self_calibrate(t.Y, t.A, known=([0, 1, 2], t.d[:3]))
        squares.append(abs(result.d - t.d)[3:] ** 2 / result.d_error[3:] ** 2)
    assert np.mean(squares) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("model", ["repeated", "diverse", "snapshots"])
@pytest.mark.parametrize("options", [{}, {"unit_modulus": True}])
def test_the_polish_with_known_gains_is_fast_and_monotone(model, options):
    rng = np.random.default_rng(7)
    for _ in range(5):
        sizes = {"repeated": (24, 8, 4), "diverse": (24, 6, 5), "snapshots": (24, 6, 12)}[model]
        t = oracles.draw(rng, model, *sizes, 25, spread=0 if options else 0.5)
        result = self_calibrate(t.Y, t.A, model=model, known=([0, 1], t.d[:2]), **options)
        np.testing.assert_allclose(result.d[:2], t.d[:2], rtol=1e-12)
        assert 1 < len(result.history) < 40  # over a hundred steps where the scale moves by alternation alone
        assert all(later <= sooner for sooner, later in pairwise(result.history))
        if options:
            np.testing.assert_allclose(abs(result.d), 1, rtol=1e-12)


def test_all_gains_known_leave_a_least_squares_problem():
    t = oracles.draw(np.random.default_rng(3), "snapshots", 12, 4, 6, 30)
    result = self_calibrate(t.Y, t.A, known=(np.arange(12)[::-1], t.d[::-1]))
    np.testing.assert_allclose(result.d, t.d, rtol=1e-14)
    expected = np.linalg.lstsq(t.d[:, None] * t.A, t.Y.T, rcond=None)[0].T
    np.testing.assert_allclose(result.x, expected, rtol=1e-7)
    assert result.certificate.bound == 0


@pytest.mark.filterwarnings(IGNORE)
def test_smooth_gains_gain_from_smoothness():
    rng, ratios = np.random.default_rng(4), []
    for _ in range(10):
        t = oracles.draw(rng, "snapshots", 40, 20, 6, 15, spread=0)
        grid = np.linspace(0, 1, 40)
        d = (1 + 0.4 * np.sin(4 * grid)) * np.exp(2j * grid)
        Y = (t.Y - t.E) / t.d * d + t.E
        plain = oracles.error(self_calibrate(Y, t.A, method="spectral").d, d)
        ratios.append(oracles.error(self_calibrate(Y, t.A, smooth=1.0).d, d) / plain)
    assert np.mean(ratios) < 0.7


@pytest.mark.filterwarnings(IGNORE)
def test_phases_alone():
    rng, ratios = np.random.default_rng(5), []
    for _ in range(6):
        t = oracles.draw(rng, "diverse", 30, 8, 4, 12, spread=0)
        result = self_calibrate(t.Y, t.A, model="diverse", unit_modulus=True, max_iter=60)
        np.testing.assert_allclose(abs(result.d), 1, rtol=1e-12)
        assert all(later <= sooner for sooner, later in zip(result.history, result.history[1:], strict=False))
        free = self_calibrate(t.Y, t.A, model="diverse", max_iter=60)
        ratios.append(oracles.error(result.d, t.d) / oracles.error(free.d, t.d))
    assert np.mean(ratios) < 0.9


@pytest.mark.filterwarnings(IGNORE)
@pytest.mark.parametrize("model", ["repeated", "diverse", "snapshots"])
@pytest.mark.parametrize("known", [False, True])
def test_error_bars_of_phases(model, known):
    rng, rows = np.random.default_rng(8), []
    sizes = {"repeated": (24, 8, 4), "diverse": (24, 6, 5), "snapshots": (24, 6, 12)}[model]
    for _ in range(60):
        t = oracles.draw(rng, model, *sizes, 30, spread=0)
        places = ([0, 1], t.d[:2]) if known else None
        result = self_calibrate(t.Y, t.A, model=model, unit_modulus=True, known=places, x_error=True)
        scale = 1 if known else np.average(t.d / result.d, weights=result.weights)
        free = slice(2 if known else 0, None)
        square = abs(result.d * scale - t.d)[free] ** 2 / result.d_error[free] ** 2
        rows.append([np.mean(square), np.mean(abs(result.x / scale - t.X) ** 2 / result.x_error**2)])
    np.testing.assert_allclose(np.mean(rows, axis=0), 1, atol=0.15)


def test_signs_of_real_gains():
    t = oracles.draw(np.random.default_rng(6), "repeated", 30, 8, 4, 20, spread=0, real=True)
    result = self_calibrate(t.Y, t.A, model="repeated", unit_modulus=True)
    assert abs(np.sum(result.d * t.d)) == 30
