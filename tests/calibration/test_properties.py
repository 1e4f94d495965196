"""Properties of `self_calibrate` that hold for every draw: equivariance, monotone polish, the bound, the same answer for any threads."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.calibration import _models, self_calibrate
from lowrank_la.calibration._problem import Counts, Problem, enough
from tests.calibration import oracles

MODELS = ("repeated", "diverse", "snapshots")
seeds, quiet = st.integers(0, 2**32 - 1), st.floats(15, 80)


@st.composite
def problems(draw, snrs=quiet, extra=1):
    """Draw sizes with some equations more than unknowns, field, spread of the gains and noise."""
    model, m = draw(st.sampled_from(MODELS)), draw(st.integers(4, 16))
    n = draw(st.integers(1, m - 2 if model != "repeated" else m))
    least = next(p for p in range(2, 99) if enough(Counts(model, p, m, n)))
    p = least + draw(st.integers(extra, 6))
    rng = np.random.default_rng(draw(seeds))
    return model, oracles.draw(rng, model, m, n, p, draw(snrs), real=draw(st.booleans()), spread=draw(st.floats(0, 0.8))), rng


def solve(Y, A, model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return self_calibrate(Y, A, model=model, **options)


def check(result, d, x, base):
    """Compare with what the answer for other data says; eigenvectors and the polish amplify rounding errors if the gap is small."""
    assert result.gap_ratio == pytest.approx(base.gap_ratio, rel=1e-5)
    assert result.certificate.bound == pytest.approx(base.certificate.bound, rel=1e-4)
    np.testing.assert_allclose(result.d, d, atol=1e-5)
    np.testing.assert_allclose(result.x, x, atol=1e-4 * np.max(abs(x)))


def settled(model, t, **options):
    """Return the answer; leave aside draws whose gains are not determined."""
    base = solve(t.Y, t.A, model, **options)
    assume(base.identifiable)
    return base


@given(problems(), st.sampled_from(("polished", "spectral")), st.floats(-3, 3), st.floats(0, 2 * np.pi))
def test_a_factor_of_the_measurements_goes_to_the_signals(problem, method, power, phase):
    model, t, _ = problem
    c = 10**power * (np.exp(1j * phase) if np.iscomplexobj(t.Y) else 1)
    base = settled(model, t, method=method)
    check(solve(c * t.Y, t.A, model, method=method), base.d, c * base.x, base)


@given(problems())
def test_the_order_of_channels_and_snapshots_is_free(problem):
    model, t, rng = problem
    base = settled(model, t)
    channels, shots = rng.permutation(t.Y.shape[1]), rng.permutation(len(t.Y))
    A = t.A[shots] if t.A.ndim == 3 else t.A
    result = solve(t.Y[shots][:, channels], A[..., channels, :], model)
    check(result, base.d[channels], base.x if model == "repeated" else base.x[shots], base)


@given(problems())
def test_other_coordinates_of_the_signals_leave_the_gains(problem):
    model, t, rng = problem
    base = settled(model, t)
    n = t.A.shape[-1]
    R = np.linalg.qr(rng.standard_normal((n, n)))[0] * rng.uniform(0.5, 2, n)
    check(solve(t.Y, t.A @ R, model), base.d, np.linalg.solve(R, base.x.T).T, base)


@given(problems())
def test_phases_of_the_channels_go_to_the_gains(problem):
    model, t, rng = problem
    base = settled(model, t, normalize=0)
    signs = rng.choice([-1.0, 1.0], t.Y.shape[1])
    g = signs * (np.exp(1j * rng.uniform(0, 6, signs.size)) if np.iscomplexobj(t.Y) else 1)
    result = solve(g * t.Y, t.A, model, normalize=0)
    scale = g / g[0]
    check(result, scale * base.d, g[0] * base.x, base)


@given(problems(snrs=st.just(np.inf)))
def test_sizes_of_the_channels_go_to_the_gains_without_noise(problem):
    model, t, rng = problem
    base = settled(model, t, normalize=0)
    assume(base.gap_ratio > 1e5)
    g = 10 ** rng.uniform(-2, 2, t.Y.shape[1])
    result = solve(g * t.Y, t.A, model, normalize=0)
    np.testing.assert_allclose(result.d, g / g[0] * base.d, rtol=1e-5)


@given(problems(), seeds)
def test_elimination_is_the_schur_complement(problem, seed):
    model, t, _ = problem
    v = np.random.default_rng(seed).uniform(0.1, 2, t.Y.shape[1])
    made = _models.eliminate(Problem(model, t.Y, t.A), v)
    expected = oracles.schur(oracles.system(t.Y, t.A, model, v), v.size)
    np.testing.assert_allclose(made.T * np.outer(made.root, made.root), expected, atol=1e-9 * abs(expected).max())
    again = made.damped(1e-12)
    np.testing.assert_allclose(again.T * np.outer(again.root, again.root), expected, atol=1e-9 * abs(expected).max())
    np.testing.assert_allclose(again.w, made.share)


@given(problems(snrs=st.floats(-10, 60), extra=0), st.booleans())
def test_the_polish_is_monotone(problem, unit_modulus):
    model, t, _ = problem
    history = solve(t.Y, t.A, model, unit_modulus=unit_modulus, max_iter=50).history
    assert all(later <= sooner for sooner, later in pairwise(history))


@settings(max_examples=200)
@given(
    problems(snrs=st.floats(-10, 120), extra=0),
    st.sampled_from(({}, {"method": "spectral"}, {"method": "lstsq"}, {"reweight": 0}, {"smooth": 0.1}, {"unit_modulus": True})),
    st.sampled_from(("white", "channels", "outliers", "signal")),
)
def test_the_bound_holds_for_any_noise(problem, options, kind):
    """Noise of any kind, not only white: of different sizes, some of it huge, or such that another signal would explain it."""
    model, t, rng = problem
    clean, E = t.Y - t.E, t.E.copy()
    if kind == "channels":
        E *= 10 ** rng.uniform(-3, 1, E.shape[1])
    elif kind == "outliers":
        E *= np.where(rng.random(E.shape) < 0.1, 100, 1)
    elif kind == "signal":
        E = 0.1 * rng.permutation(clean)
    result = solve(clean + E, t.A, model, noise=np.linalg.norm(E, axis=0), max_iter=20, **options)
    assert result.certificate.confidence == 1.0
    assert oracles.sine(result.d, t.d, result.weights) <= result.certificate.bound


@pytest.mark.parametrize("model", MODELS)
def test_threads_do_not_matter(model):
    m, n, p = {"repeated": (160, 40, 4), "diverse": (96, 40, 6), "snapshots": (160, 60, 200)}[model]
    t = oracles.draw(np.random.default_rng(0), model, m, n, p, 30)
    with limit_threads(1):
        one = self_calibrate(t.Y, t.A, model=model)
    with limit_threads(2):
        two = self_calibrate(t.Y, t.A, model=model)
    np.testing.assert_allclose(one.d, two.d, rtol=1e-8)
    np.testing.assert_allclose(one.d_error, two.d_error, rtol=1e-8)
    assert len(one.history) == len(two.history)


@pytest.mark.parametrize(("model", "sizes"), [("repeated", (64, 16, 4)), ("diverse", (64, 16, 6)), ("snapshots", (64, 24, 20))])
def test_errors_are_the_least_possible(model, sizes):
    """The polish attains the Cramer-Rao bound at 20 dB; the spectral method alone is close."""
    squares = []
    for seed in range(40):
        t = oracles.draw(np.random.default_rng(seed), model, *sizes, 20)
        d = [self_calibrate(t.Y, t.A, model=model, method=method).d for method in ("polished", "spectral")]
        squares.append([*(oracles.error(found, t.d) for found in d), oracles.floor(t, model)])
    polished, spectral, floor = np.sqrt(np.mean(np.square(squares), axis=0))
    assert polished < 1.06 * floor
    assert spectral < 1.15 * floor
    assert polished > 0.94 * floor
