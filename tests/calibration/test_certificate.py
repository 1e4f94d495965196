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


@pytest.mark.parametrize(("model", "sizes"), [("repeated", (24, 8, 4)), ("diverse", (24, 6, 5)), ("snapshots", (24, 6, 12))])
@pytest.mark.parametrize("known", [False, True])
def test_error_bars_of_the_signals_are_those_of_repeated_noise(model, sizes, known):
    rng, squares = np.random.default_rng(4), []
    for _ in range(80):
        t = oracles.draw(rng, model, *sizes, 40)
        places = (np.arange(3), t.d[:3]) if known else None
        result = self_calibrate(t.Y, t.A, model=model, known=places, x_error=True)
        scale = 1 if known else np.average(t.d / result.d, weights=result.weights / abs(result.d) ** 2)
        squares.append(abs(result.x - scale * t.X) ** 2 / result.x_error**2)
    assert result.x_error.shape == t.X.shape
    assert np.mean(squares) == pytest.approx(1, abs=0.1)
    assert np.mean(squares, axis=0).max() < 2


def test_error_bars_of_sparse_signals_and_of_known_channels():
    t = oracles.draw(np.random.default_rng(5), "snapshots", 24, 10, 12, 40, sparsity=3)
    result = self_calibrate(t.Y, t.A, sparsity=3, x_error=True, normalize="unit_norm")
    assert np.array_equal(np.flatnonzero(result.x_error[0]), result.support)
    assert self_calibrate(t.Y, t.A).x_error is None
    everything = self_calibrate(t.Y, t.A, known=(np.arange(24), t.d), x_error=True)
    N = np.linalg.inv((t.d[:, None] * t.A).conj().T @ (t.d[:, None] * t.A))
    np.testing.assert_allclose(everything.x_error, everything.noise_std * np.tile(np.sqrt(np.diag(N).real), (12, 1)), rtol=1e-6)


@pytest.mark.parametrize("model", ["repeated", "diverse", "snapshots"])
def test_channels_count_by_their_noise(model):
    """Noise of a decade of sizes: errors fall if it is known, error bars are right, and the bound is tighter than for the largest noise."""
    rng, rows = np.random.default_rng(7), []
    for _ in range(40):
        t = oracles.draw(rng, model, *{"repeated": (24, 8, 4), "diverse": (24, 6, 5), "snapshots": (24, 6, 12)}[model], 30)
        sizes = 10 ** -rng.random(24)
        Y, noise = t.Y - t.E + sizes * t.E, sizes * np.linalg.norm(t.E) / np.sqrt(24)
        plain, known = self_calibrate(Y, t.A, model=model), self_calibrate(Y, t.A, model=model, noise=noise)
        exact = np.linalg.norm(sizes * t.E, axis=0)
        bound = self_calibrate(Y, t.A, model=model, noise=exact)
        assert oracles.sine(bound.d, t.d, bound.weights) <= bound.certificate.bound
        scale = np.vdot(known.d, t.d) / np.vdot(known.d, known.d)
        square = np.mean(abs(known.d - t.d / scale) ** 2 / known.d_error**2)
        loose = self_calibrate(Y, t.A, model=model, noise=exact.max()).certificate.bound
        level = known.noise_std * np.sqrt(len(Y)) / np.sqrt(np.mean(noise**2))
        rows.append([oracles.error(plain.d, t.d), oracles.error(known.d, t.d), square, bound.certificate.bound, loose, level])
    plain, known, square, bound, loose, level = np.mean(rows, axis=0)
    assert known < plain
    assert square == pytest.approx(1, abs=0.2)
    assert bound < 0.8 * loose
    assert level == pytest.approx(1, abs=0.05)


def test_no_gap_no_error_bars():
    t = oracles.draw(np.random.default_rng(6), "snapshots", 12, 4, 3, np.inf)
    with pytest.warns(ConvergenceWarning, match="ratio of 1"):
        result = self_calibrate(np.repeat(t.Y[:1], 9, axis=0), t.A, x_error=True)  # one snapshot, nine times
    assert np.isinf(result.d_error).all()
    assert np.isinf(result.x_error).all()


def test_no_freedom_no_error_bars():
    t = oracles.draw(np.random.default_rng(2), "snapshots", 5, 4, 4, 40)  # 20 equations, 20 unknowns
    with pytest.warns(ConvergenceWarning, match="as many unknowns as equations"):
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
