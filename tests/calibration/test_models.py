"""`self_calibrate`: exact recovery, elimination against dense oracles, equivariances, backends, bad input."""

import warnings

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import ConvergenceWarning
from lowrank_la.calibration import _models, _polish, self_calibrate
from lowrank_la.calibration._problem import Problem
from lowrank_la.calibration._spectral import Options
from tests.calibration import oracles

SIZES = {"repeated": (24, 8, 4), "diverse": (24, 6, 5), "snapshots": (24, 6, 12)}
MODELS = list(SIZES)


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_noiseless_data_give_gains_and_signals(model, real):
    for seed in range(3):
        t = oracles.draw(np.random.default_rng(seed), model, *SIZES[model], np.inf, real=real)
        result = self_calibrate(t.Y, t.A)
        assert result.model == model
        assert oracles.error(result.d, t.d) < 1e-10
        assert oracles.error(result.x.ravel(), t.X.ravel()) < 1e-10
        assert result.gap_ratio > 1e3
        assert result.identifiable
        assert result.converged
        assert result.d.dtype == t.Y.dtype
        assert result.x.shape == t.X.shape
        assert oracles.sine(result.d, t.d, result.weights) <= result.certificate.bound < 1e-3
        assert np.isclose(np.mean(abs(result.d)), 1)
        assert abs(np.angle(np.sum(result.d))) < 1e-10


@pytest.mark.parametrize("model", MODELS)
def test_elimination_is_the_schur_complement(model):
    t = oracles.draw(np.random.default_rng(1), model, *SIZES[model], 20)
    v = np.random.default_rng(2).uniform(0.5, 2, 24)
    made = _models.eliminate(Problem(model, t.Y, t.A), v)
    expected = oracles.schur(oracles.system(t.Y, t.A, model, v), 24)
    G = made.T * np.outer(made.root, made.root)
    np.testing.assert_allclose(G, expected, atol=1e-11 * abs(expected).max())
    ranges = oracles.system(t.Y, t.A, model, v)[:, 24:]
    left = 1 - np.sum(abs(np.linalg.qr(ranges)[0]) ** 2, axis=1)
    np.testing.assert_allclose(made.share, left.reshape(-1, 24).sum(axis=0), rtol=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_weights_count_the_noise(model):
    """For white noise the quotient of the truth averages to the variance."""
    rng, quotients = np.random.default_rng(0), []
    for _ in range(200):
        t = oracles.draw(rng, model, *SIZES[model], 30)
        made = _models.eliminate(Problem(model, t.Y, t.A), abs(t.d)).damped(1e-12)
        u = made.root * abs(t.d) / t.d
        variance = 1e-3 * np.mean(abs(t.Y - t.E) ** 2)
        quotients.append(np.vdot(u, made.T @ u).real / np.vdot(u, u).real / variance)
    assert np.mean(quotients) == pytest.approx(1, abs=5 * np.std(quotients) / 200**0.5)


@pytest.mark.parametrize("model", MODELS)
def test_equivariances(model):
    rng = np.random.default_rng(3)
    m, n, p = SIZES[model]
    t = oracles.draw(rng, model, m, n, p, 30)
    base = self_calibrate(t.Y, t.A, model=model)
    scaled = self_calibrate((3 - 4j) * t.Y, t.A, model=model)
    np.testing.assert_allclose(scaled.d, base.d, atol=1e-6)
    order = rng.permutation(m)
    shuffled = self_calibrate(t.Y[:, order], t.A[..., order, :], model=model)
    np.testing.assert_allclose(shuffled.d, base.d[order], atol=1e-6)
    R = rng.standard_normal((n, n)) + 3 * np.eye(n)
    turned = self_calibrate(t.Y, t.A @ R, model=model)
    np.testing.assert_allclose(turned.d, base.d, atol=1e-6)
    np.testing.assert_allclose(turned.x @ R.T, base.x, atol=1e-5)
    back = slice(None, None, -1)
    reverse = self_calibrate(t.Y[back], t.A[back] if t.A.ndim == 3 else t.A, model=model)
    np.testing.assert_allclose(reverse.d, base.d, atol=1e-6)
    g = rng.uniform(0.1, 10, m) * np.exp(2j * np.pi * rng.random(m))
    rescaled = self_calibrate((t.Y - t.E) * g, t.A, model=model, method="spectral", normalize=0)
    np.testing.assert_allclose(rescaled.d, t.d / t.d[0] * g / g[0], rtol=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_the_polish_never_makes_the_fit_worse_and_helps(model):
    rng, gain = np.random.default_rng(4), []
    for _ in range(10):
        t = oracles.draw(rng, model, *SIZES[model], 20)
        start = self_calibrate(t.Y, t.A, model=model, method="spectral")
        assert start.history[0] >= 0
        result = self_calibrate(t.Y, t.A, model=model)
        assert all(later <= sooner for sooner, later in zip(result.history, result.history[1:], strict=False))
        fit = result.d * (
            result.x @ t.A.T if t.A.ndim == 2 else (t.A @ np.broadcast_to(result.x, (len(t.Y), t.A.shape[2]))[:, :, None])[..., 0]
        )
        assert np.linalg.norm(t.Y - fit) ** 2 == pytest.approx(result.history[-1])
        gain.append(oracles.error(result.d, t.d) / oracles.error(start.d, t.d))
    assert np.mean(gain) <= 1.02


def test_errors_fall_with_the_noise_at_slope_one():
    errors = []
    for snr in (20, 40, 60):
        t = oracles.draw(np.random.default_rng(5), "snapshots", *SIZES["snapshots"], snr)
        errors.append(oracles.error(self_calibrate(t.Y, t.A).d, t.d))
    np.testing.assert_allclose(np.diff(np.log10(errors)), -1, atol=0.15)


def test_least_squares_needs_phases_that_do_not_average_out():
    rng = np.random.default_rng(6)
    t = oracles.draw(rng, "diverse", *SIZES["diverse"], 40)
    Y, d = t.Y / t.d * abs(t.d), abs(t.d)
    assert oracles.error(self_calibrate(Y, t.A, method="lstsq").d, d) < 0.05


@pytest.mark.parametrize("model", MODELS)
def test_backends(backend, model):
    t = oracles.draw(np.random.default_rng(7), model, *SIZES[model], 30)
    expected = self_calibrate(t.Y, t.A, x_error=True)
    result = self_calibrate(backend.array(t.Y), backend.array(t.A), x_error=True)
    assert result.model == model
    for name in ("d", "x", "d_error", "x_error", "weights", "dead"):
        np.testing.assert_allclose(backend.numpy(getattr(result, name)), getattr(expected, name), atol=1e-7)
    assert result.certificate.bound == pytest.approx(expected.certificate.bound, rel=1e-6)
    known = np.array([3, 1]), t.d[[3, 1]]
    expected = self_calibrate(t.Y, t.A, model=model, known=known)
    result = self_calibrate(backend.array(t.Y), backend.array(t.A), model=model, known=tuple(map(backend.array, known)))
    np.testing.assert_allclose(backend.numpy(result.d), expected.d, atol=1e-6)
    np.testing.assert_allclose(backend.numpy(result.d_error), expected.d_error, atol=1e-6)


def test_float32_and_integers():
    t = oracles.draw(np.random.default_rng(8), "snapshots", *SIZES["snapshots"], 40, real=True)
    result = self_calibrate(t.Y.astype(np.float32), t.A.astype(np.float32))
    assert result.d.dtype == result.x.dtype == result.d_error.dtype == np.float32
    assert oracles.error(result.d, t.d) < 0.05
    mixed = self_calibrate(t.Y, t.A + 0j)
    assert mixed.d.dtype == np.complex128
    counts = np.round(100 * t.Y).astype(int)
    assert oracles.error(self_calibrate(counts, t.A).d, t.d) < 0.05


@pytest.mark.parametrize("model", MODELS)
def test_dead_channels_are_flagged(model):
    t = oracles.draw(np.random.default_rng(9), model, *SIZES[model], 40)
    Y = t.Y.copy()
    Y[:, [0, 7]] = 0
    before = Y.copy()
    result = self_calibrate(Y, t.A, model=model, noise=np.linspace(1, 2, 24))
    assert np.array_equal(np.flatnonzero(result.dead), [0, 7])
    assert np.isnan(result.d[[0, 7]]).all()
    assert np.isnan(result.d_error[[0, 7]]).all()
    assert (result.weights[[0, 7]] == 0).all()
    live = ~result.dead
    assert oracles.error(result.d[live], t.d[live]) < 0.05
    assert np.array_equal(Y, before)
    with pytest.raises(ValueError, match="normalize must name a live channel"):
        self_calibrate(Y, t.A, model=model, normalize="first")


def test_channels_that_no_signal_reaches_are_dead():
    t = oracles.draw(np.random.default_rng(9), "repeated", *SIZES["repeated"], 40)
    A = t.A.copy()
    A[:, 3, :] = 0
    result = self_calibrate(t.Y, A, model="repeated")
    assert np.array_equal(np.flatnonzero(result.dead), [3])
    live = ~result.dead
    assert oracles.error(result.d[live], t.d[live]) < 0.05


def test_odd_but_legal_input():
    t = oracles.draw(np.random.default_rng(18), "snapshots", *SIZES["snapshots"], 40)
    base = self_calibrate(t.Y, t.A)
    np.testing.assert_allclose(self_calibrate(t.Y.tolist(), t.A.tolist()).d, base.d)
    twice = self_calibrate(np.concatenate([t.Y, t.Y, 0 * t.Y[:3]]), t.A)  # duplicates and zeros say nothing new
    np.testing.assert_allclose(twice.d, base.d, atol=1e-5)
    muted = t.d * (np.arange(24) != 4)  # a gain of zero, which noise hides
    result = self_calibrate((t.Y - t.E) / t.d * muted + t.E, t.A)
    assert abs(result.d[4]) < 0.1
    assert oracles.error(np.delete(result.d, 4), np.delete(t.d, 4)) < 0.05
    small = oracles.draw(np.random.default_rng(19), "repeated", 10, 1, 1, np.inf)
    with pytest.warns(ConvergenceWarning, match="as many unknowns as equations"):
        result = self_calibrate(small.Y, small.A, model="repeated")
    assert oracles.error(result.d, small.d) < 1e-10


def test_weak_channels_do_no_harm():
    t = oracles.draw(np.random.default_rng(10), "snapshots", *SIZES["snapshots"], 40)
    g = np.ones(24)
    g[:3] = 1e-4
    result = self_calibrate(t.Y * g, t.A)
    assert oracles.error(result.d / g, t.d) < 0.05


def test_matrices_of_low_rank():
    rng = np.random.default_rng(11)
    for model in MODELS:
        m, n, p = SIZES[model]
        t = oracles.draw(rng, model, m, n, p, np.inf)
        A = np.concatenate([t.A, t.A[..., :2]], axis=-1)
        result = self_calibrate(t.Y, A, model=model)
        assert oracles.error(result.d, t.d) < 1e-6


def test_hidden_symmetries_show_in_the_gap():
    rng = np.random.default_rng(12)
    m, p = 24, 30
    F = np.fft.fft(np.eye(m))[:, :8]
    rows = np.fft.fft(np.eye(8))
    A = np.concatenate([rows, rows, rows])  # modulation of the rows of a Fourier matrix shifts the signal
    X = rng.standard_normal((p, 8)) + 1j * rng.standard_normal((p, 8))
    E = 1e-3 * rng.standard_normal((p, m))
    with pytest.warns(ConvergenceWarning, match="self_calibrate: the gains are not identifiable at this noise level"):
        result = self_calibrate(X @ A.T + E, A)
    assert result.gap_ratio < 2
    assert not result.identifiable
    assert not result.converged
    assert result.verdict == "not identifiable at this noise level"
    assert self_calibrate(X @ F.T + E * 0, F).gap_ratio > 0


def test_the_same_matrix_again_and_again_brings_nothing():
    rng = np.random.default_rng(13)
    t = oracles.draw(rng, "repeated", 24, 8, 1 + 3, 40)
    A = np.broadcast_to(t.A[0], t.A.shape)
    Y = t.d * (t.A[0] @ t.X) + 1e-3 * rng.standard_normal((4, 24))
    with pytest.warns(ConvergenceWarning, match="not identifiable"):
        assert not self_calibrate(Y, A, model="repeated").identifiable


def test_too_much_noise_is_said():
    t = oracles.draw(np.random.default_rng(14), "repeated", 24, 8, 3, -10)
    with pytest.warns(ConvergenceWarning, match="not identifiable at this noise level"):
        result = self_calibrate(t.Y, t.A, model="repeated")
    assert np.isfinite(result.d).all()


def test_conventions_of_the_scale():
    t = oracles.draw(np.random.default_rng(15), "snapshots", *SIZES["snapshots"], 40)
    base = self_calibrate(t.Y, t.A)
    for normalize in ("unit_norm", "first", 5):
        result = self_calibrate(t.Y, t.A, normalize=normalize)
        np.testing.assert_allclose(result.d * result.x[:, :1], base.d * base.x[:, :1], rtol=1e-6)
    assert self_calibrate(t.Y, t.A, normalize="first").d[0] == pytest.approx(1)
    assert self_calibrate(t.Y, t.A, normalize=5).d[5] == pytest.approx(1)
    assert np.linalg.norm(self_calibrate(t.Y, t.A, normalize="unit_norm").d) == pytest.approx(1)


def test_linear_operators_become_matrices():
    t = oracles.draw(np.random.default_rng(16), "diverse", *SIZES["diverse"], 40)
    result = self_calibrate(t.Y, [aslinearoperator(a) for a in t.A], model="diverse")
    np.testing.assert_allclose(result.d, self_calibrate(t.Y, t.A, model="diverse").d)


GOOD = oracles.draw(np.random.default_rng(0), "snapshots", 10, 3, 8, 40)
Y, A = GOOD.Y, GOOD.A
BAD = [
    ((Y[:1], A), {}, ValueError, r"1 snapshots x 10 channels = 10 equations for 10 gains - 1 for the scale \+ 3 signal entries"),
    ((Y[:, :3], A[:3]), {}, ValueError, "more channels than unknowns in a signal"),
    ((Y[:1], A[None]), {"model": "repeated"}, ValueError, r"10 equations for 10 gains - 1 for the scale \+ 3 signal entries"),
    ((np.where(Y[0, 0] == Y, np.nan, Y), A), {}, ValueError, "Y must be finite; got 1 NaN"),
    ((Y, np.inf * A), {}, ValueError, "A must be finite"),
    ((0 * Y, A), {}, ValueError, "zeros in all 10"),
    ((Y[0], A), {}, ValueError, "Y must be 2-dimensional"),
    ((Y, A[:, 0]), {}, ValueError, "A must be 2-dimensional or 3-dimensional"),
    ((Y, A[:9]), {}, ValueError, "A must have 10 rows in each matrix"),
    ((Y, np.stack([A, A])), {}, ValueError, "A must have 8 matrices"),
    ((Y, np.stack([A] * 8)), {"model": "snapshots"}, ValueError, "A must be one matrix"),
    ((Y, "no"), {}, TypeError, "A must be an array of numbers"),
    ((Y, A), {"model": "other"}, ValueError, "model must be one of"),
    ((Y, A), {"method": "best"}, ValueError, "method must be one of"),
    ((Y, A), {"noise": -1.0}, ValueError, "noise must be a number of at least 0"),
    ((Y, A), {"noise": np.ones(3)}, ValueError, "noise must have shape"),
    ((Y, A), {"noise": "loud"}, TypeError, "noise must be an array of numbers"),
    ((Y, A), {"noise": 1j}, TypeError, "noise must be real"),
    ((Y, None), {}, TypeError, "A must be an array of numbers; got NoneType"),
    ((Y, 0 * A), {}, ValueError, "A must have a row that is not zero"),
    ((Y.real, A.real), {"known": ([0], [1j])}, TypeError, "values in known must be real"),
    ((Y, A), {"known": ([0, 1], [1.0, 2.0]), "unit_modulus": True}, ValueError, "modulus one with unit_modulus; got 1 others"),
    ((Y, A), {"x_error": "yes"}, ValueError, "x_error must be one of"),
    ((Y, A), {"known": 3}, TypeError, "known must be a tuple"),
    ((Y, A), {"known": ([0, 0], [1.0, 1.0])}, ValueError, "distinct live channels"),
    ((Y, A), {"known": ([0], [0.0])}, ValueError, "must not be zero"),
    ((Y, A), {"known": ([11], [1.0])}, ValueError, "indices in known must be from 0 to 9"),
    ((Y, A), {"sparsity": 0}, ValueError, "sparsity must be an integer between 1 and 3"),
    ((Y, A), {"smooth": -1}, ValueError, "smooth must be a number of at least 0"),
    ((Y, A), {"unit_modulus": 2}, ValueError, "unit_modulus must be one of"),
    ((Y, A), {"reweight": 1.5}, TypeError, "reweight must be an integer"),
    ((Y, A), {"max_iter": -1}, ValueError, "max_iter must be an integer"),
    ((Y, A), {"normalize": "largest"}, ValueError, "normalize must be one of"),
    ((Y, A), {"normalize": 10}, ValueError, "normalize must be an integer between 0 and 9"),
]


@pytest.mark.parametrize(("data", "options", "error", "match"), BAD)
def test_bad_input(data, options, error, match):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match="self_calibrate: .*" + match):
            self_calibrate(*data, **options)


def test_objective_is_the_residual():
    t = oracles.draw(np.random.default_rng(17), "repeated", *SIZES["repeated"], 20)
    fit = _polish.polish(Problem("repeated", t.Y, t.A), t.d, Options("polished", 0), 0)
    expected = np.linalg.lstsq((t.d[:, None] * t.A).reshape(-1, 8), t.Y.ravel(), rcond=None)
    assert fit.history[0] == pytest.approx(float(expected[1][0]))
    np.testing.assert_allclose(fit.x, expected[0], rtol=1e-8)
