"""Filter, smoother, insertion and evidence against dense Gaussian-process regression in long double and scikit-learn."""

from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammainc

from lowrank_la.functional_tucker._kernels import KERNELS, Prior, steps, transitions
from lowrank_la.functional_tucker._state_space import fit_lengthscale, interpolate, log_evidence, smooth
from tests.functional_tucker import oracles_gp

EXACT = ("matern12", "matern32", "matern52", "iid", "periodic")


def prior_of(name, lengthscale=0.3, variance=1.7):
    return Prior(name, lengthscale, variance, period=0.9 if name == "periodic" else None)


def observations(rng, n, R, size=10.0, missing=True):
    """Random precisions, every third of them zero and every third singular, and shifts in their range."""
    L = rng.standard_normal((n, R, R)) * np.sqrt(size)
    if missing:
        L[1::3] = 0.0
        L[2::3, :, -1] = 0.0
    z = rng.standard_normal((n, R, 1))
    return L @ L.swapaxes(1, 2), (L @ (L.swapaxes(1, 2) @ z + rng.standard_normal((n, R, 1))))[..., 0]


def dense(prior, t, t_new, precision, shift, name=None):
    points = np.concatenate([t, t_new])
    K = prior.variance * oracles_gp.kernel(name or prior.kernel, points[:, None] - points, prior.lengthscale, prior.period)
    return oracles_gp.posterior(K, precision, shift)


def close(got, wanted, tol=1e-10):
    wanted = np.asarray(wanted, dtype=np.float64)
    np.testing.assert_allclose(got, wanted, rtol=tol, atol=tol * max(1.0, np.max(abs(wanted), initial=0.0)))


@settings(max_examples=60)
@given(
    name=st.sampled_from(EXACT),
    n=st.integers(1, 9),
    R=st.integers(1, 3),
    lengthscale=st.floats(0.05, 5.0),
    size=st.floats(-3, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_all_of_it_is_dense_gaussian_process_regression(name, n, R, lengthscale, size, seed):
    rng = np.random.default_rng(seed)
    prior, t = prior_of(name, lengthscale), np.sort(rng.random(n))
    precision, shift = observations(rng, n, R, 10.0**size)
    t_new = np.concatenate([rng.random(3), t[:1], [-0.2, 1.4]])
    if name == "periodic":  # as the truncated kernel, which is the prior
        K = prior.covariance(np.subtract.outer(np.concatenate([t, t_new]), np.concatenate([t, t_new])))
        mean, cov, evidence = oracles_gp.posterior(K, precision, shift)
    else:
        mean, cov, evidence = dense(prior, t, t_new, precision, shift)
    got = smooth(prior, t, precision, shift)
    tol = 1e-10 if name != "periodic" else 1e-15 * max(1e5, 10.0**size * 1e4)  # its covariance matrix is singular
    close(got.mean, mean[:n], tol)
    close(got.cov, cov[:n], tol)
    close(got.log_evidence, evidence, tol)
    new_mean, new_cov = interpolate(prior, t, got, t_new)
    close(new_mean, mean[n:], tol)
    close(new_cov, cov[n:], tol)
    assert log_evidence(prior, t, precision, shift) == got.log_evidence


def test_the_gaussian_kernel_is_met_to_four_digits():
    gaps = np.linspace(0.0, 30.0, 30_001)
    error = abs(Prior("rbf-approx", 0.5, 2.0).covariance(gaps) - 2.0 * np.exp(-2.0 * gaps**2)) / 2.0
    assert 1e-4 < error.max() < 1.5e-4
    rng = np.random.default_rng(0)
    t, t_new = np.sort(rng.random(12)), np.linspace(-0.5, 1.5, 9)
    precision, shift = observations(rng, 12, 1, 25.0)
    prior = prior_of("rbf-approx")
    mean, cov, _ = dense(prior, t, t_new, precision, shift)
    smoothed = smooth(prior, t, precision, shift)
    close(interpolate(prior, t, smoothed, t_new)[0], mean[12:], 0.05)
    close(interpolate(prior, t, smoothed, t_new)[1], cov[12:], 0.05)


def test_the_periodic_kernel_is_that_of_its_formula():
    gaps = np.linspace(0.0, 3.0, 301)
    for period in np.linspace(0.1, 9.0, 50):  # the shortest lengthscale, whatever the rounding
        assert Prior("periodic", period / 30, period=period).order == 53
    for lengthscale in (0.03, 0.1, 1.0, 20.0):
        prior = prior_of("periodic", lengthscale, 1.0)
        np.testing.assert_allclose(prior.covariance(gaps), oracles_gp.kernel("periodic", gaps, lengthscale, 0.9).astype(float), atol=5e-7)
        np.testing.assert_allclose(prior.covariance(gaps + 0.9), prior.covariance(gaps), atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_transitions_compose_and_keep_the_covariance(name):
    prior, gaps = prior_of(name), 10.0 ** np.linspace(-6, 4, 41)
    A, root = transitions(prior, gaps)
    assert np.array_equal(root, np.tril(root))
    np.testing.assert_allclose(A @ A.swapaxes(1, 2) + root @ root.swapaxes(1, 2), np.broadcast_to(np.eye(prior.order), A.shape), atol=1e-13)
    if name != "iid":
        np.testing.assert_allclose(transitions(prior, 2 * gaps)[0], A @ A, atol=1e-11)
    assert np.array_equal(transitions(prior, np.zeros(1))[0][0].round(14), np.eye(prior.order))
    assert np.array_equal(transitions(prior, np.zeros(1))[1][0], np.zeros((prior.order, prior.order)))


@pytest.mark.parametrize(("name", "order", "rate"), [("matern12", 1, 1.0), ("matern32", 2, 3.0**0.5), ("matern52", 3, 5.0**0.5)])
def test_short_gaps_keep_their_digits(name, order, rate):
    """Of the variance that comes in, s^(2 q - 1) for a gap s, the difference 1 - A A^T would leave no digit."""
    gaps = 10.0 ** np.linspace(-40, 2, 85)
    q = order
    root = transitions(Prior(name), gaps)[1][:, 0, 0]
    factorials = {1: 1.0, 2: 2.0, 3: 24.0}  # (2 q - 2)!
    scale = {1: 2.0, 2: 4.0 * rate**3, 3: 16.0 * rate**5 / 3.0 / 4.0}  # of s^(2 q - 2) exp(-2 rate s)
    wanted = scale[q] * factorials[q] * gammainc(2 * q - 1, 2 * rate * gaps) / (2 * rate) ** (2 * q - 1)
    np.testing.assert_allclose(root**2, wanted, rtol=2e-13)


def test_scikit_learn_gives_the_same():
    gp = pytest.importorskip("sklearn.gaussian_process")
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    rng = np.random.default_rng(1)
    t, t_new = np.sort(rng.random(30)), np.linspace(-0.3, 1.3, 25)
    y, noise = np.sin(9 * t) + 0.1 * rng.standard_normal(30), rng.uniform(0.01, 0.3, 30)
    for name, nu in (("matern12", 0.5), ("matern32", 1.5), ("matern52", 2.5)):
        peer = gp.GaussianProcessRegressor(ConstantKernel(2.0) * Matern(0.2, nu=nu), alpha=noise, optimizer=None).fit(t[:, None], y)
        prior = Prior(name, 0.2, 2.0)
        smoothed = smooth(prior, t, (1 / noise)[:, None, None], (y / noise)[:, None])
        mean, cov = interpolate(prior, t, smoothed, t_new)
        wanted, sd = peer.predict(t_new[:, None], return_std=True)
        np.testing.assert_allclose(mean[:, 0], wanted, atol=1e-9)
        np.testing.assert_allclose(np.sqrt(cov[:, 0, 0]), sd, atol=1e-9)
        constant = -0.5 * np.sum(y**2 / noise + np.log(2 * np.pi * noise))  # of the density of y, which the factors lack
        np.testing.assert_allclose(smoothed.log_evidence + constant, peer.log_marginal_likelihood(), rtol=1e-10)


@pytest.mark.parametrize("name", KERNELS)
def test_insertion_is_a_refit_with_points_of_precision_zero(name):
    rng = np.random.default_rng(2)
    prior, t, t_new = prior_of(name), np.sort(rng.random(10)), rng.uniform(-0.5, 1.5, 8)
    precision, shift = observations(rng, 10, 2)
    mean, cov = interpolate(prior, t, smooth(prior, t, precision, shift), t_new)
    points = np.concatenate([t, t_new])
    order = np.argsort(points, kind="stable")
    padded = (np.concatenate([precision, np.zeros((8, 2, 2))])[order], np.concatenate([shift, np.zeros((8, 2))])[order])
    again = smooth(prior, points[order], *padded)
    back = np.argsort(order)[10:]
    close(mean, again.mean[back], 1e-11)
    close(cov, again.cov[back], 1e-11)


@pytest.mark.parametrize("name", KERNELS)
def test_a_known_point_gives_back_what_is_stored(name):
    rng = np.random.default_rng(3)
    prior, t = prior_of(name), np.sort(rng.random(9))
    smoothed = smooth(prior, t, *observations(rng, 9, 2))
    mean, cov = interpolate(prior, t, smoothed, t)
    close(mean, smoothed.mean, 1e-12)
    close(cov, smoothed.cov, 1e-12)


@pytest.mark.parametrize("name", [name for name in KERNELS if name != "periodic"])
def test_far_away_the_prior_returns(name):
    rng = np.random.default_rng(4)
    prior, t = prior_of(name), np.sort(rng.random(12))
    smoothed = smooth(prior, t, *observations(rng, 12, 2, 100.0))
    for side in (1.0 + np.arange(8.0), -np.arange(8.0)):
        mean, cov = interpolate(prior, t, smoothed, np.append(side, 1e9 * np.sign(side[-1])))
        variance = np.trace(cov, axis1=1, axis2=2)
        assert (np.diff(variance) >= -1e-9).all()  # the approximate Gaussian kernel oscillates far below this
        np.testing.assert_allclose(cov[-1], prior.variance * np.eye(2), atol=1e-14)
        np.testing.assert_allclose(mean[-1], np.zeros(2), atol=1e-14)


@pytest.mark.parametrize("name", KERNELS)
def test_units_direction_and_batches_do_not_matter(name):
    rng = np.random.default_rng(5)
    prior, t = prior_of(name), np.sort(rng.random(15))
    precision, shift = observations(rng, 15, 2)
    one = smooth(prior, t, precision, shift)
    scaled = replace(prior, lengthscale=1e6 * prior.lengthscale, period=prior.period and 1e6 * prior.period)
    other = smooth(scaled, 1e6 * t - 3e5, precision, shift)
    back = smooth(prior, -t[::-1], precision[::-1], shift[::-1])
    many = smooth(prior, t, np.stack([precision, 2 * precision]), np.stack([shift, shift]))
    for mean, cov, evidence in (
        (other.mean, other.cov, other.log_evidence),
        (back.mean[::-1], back.cov[::-1], back.log_evidence),
        (many.mean[0], many.cov[0], many.log_evidence[0]),
    ):
        close(mean, one.mean, 1e-9)
        close(cov, one.cov, 1e-9)
        close(evidence, one.log_evidence, 1e-9)
    mean, cov = interpolate(prior, t, many, t[:4] + 0.01)
    assert mean.shape == (2, 4, 2)
    close(mean[0], interpolate(prior, t, one, t[:4] + 0.01)[0], 1e-13)
    close(cov[0], interpolate(prior, t, one, t[:4] + 0.01)[1], 1e-13)


@pytest.mark.parametrize("name", KERNELS)
def test_equal_points_are_one_point(name):
    rng = np.random.default_rng(6)
    prior, t = prior_of(name), np.array([0.1, 0.4, 0.4, 0.8])
    precision, shift = observations(rng, 4, 2, missing=False)
    apart = smooth(prior, t, precision, shift)
    merged = (np.stack([p, p2, p3]) for p, p2, p3 in ((x[0], x[1] + x[2], x[3]) for x in (precision, shift)))
    together = smooth(prior, t[[0, 1, 3]], *merged)
    close(apart.mean[[0, 1, 2, 3]], together.mean[[0, 1, 1, 2]], 1e-11)
    close(apart.cov[[0, 1, 2, 3]], together.cov[[0, 1, 1, 2]], 1e-11)
    close(apart.log_evidence, together.log_evidence, 1e-11)


@pytest.mark.parametrize("name", KERNELS)
def test_covariances_stay_positive_when_observations_are_almost_exact(name):
    """Precisions up to 1e14 at 300 close points: differences of covariances would be negative by now."""
    rng = np.random.default_rng(7)
    prior, t = prior_of(name), np.sort(rng.random(300))
    precision, shift = observations(rng, 300, 2, 1e14)
    smoothed = smooth(prior, t, precision, shift)
    states = [smoothed.filtered_cov, smoothed.smoothed_cov, smoothed.cov, interpolate(prior, t, smoothed, rng.random(50))[1]]
    for cov in states:
        assert np.isfinite(cov).all()
        largest = np.linalg.eigvalsh(cov)
        assert (largest[:, 0] >= -1e-15 * largest[:, -1]).all()
    assert (np.trace(smoothed.cov, axis1=1, axis2=2) <= 2 * prior.variance * (1 + 1e-12)).all()


def test_nothing_observed_leaves_the_prior():
    prior = prior_of("matern52")
    smoothed = smooth(prior, np.arange(4.0), np.zeros((4, 3, 3)), np.zeros((4, 3)))
    assert smoothed.log_evidence == 0.0
    np.testing.assert_allclose(smoothed.cov, np.broadcast_to(1.7 * np.eye(3), (4, 3, 3)), atol=1e-14)
    nothing = smooth(prior, np.zeros(0), np.zeros((0, 3, 3)), np.zeros((0, 3)))
    assert nothing.mean.shape == (0, 3)
    assert nothing.smoothed_cov.shape == (0, 9, 9)
    assert nothing.log_evidence == log_evidence(prior, np.zeros(0), np.zeros((0, 3, 3)), np.zeros((0, 3))) == 0.0
    mean, cov = interpolate(prior, np.zeros(0), nothing, np.array([1.0, 2.0]))
    assert np.array_equal(mean, np.zeros((2, 3)))
    assert np.array_equal(cov, np.broadcast_to(1.7 * np.eye(3), (2, 3, 3)))


@pytest.mark.parametrize("name", KERNELS)
def test_one_point_and_huge_gaps(name):
    rng = np.random.default_rng(8)
    prior, t = prior_of(name), np.array([0.0, 1e12, 2e12])
    precision, shift = observations(rng, 3, 2, missing=False)
    smoothed = smooth(prior, t, precision, shift)
    if name != "periodic":
        for j in range(3):
            alone = smooth(prior, t[j : j + 1], precision[j : j + 1], shift[j : j + 1])
            close(smoothed.mean[j], alone.mean[0], 1e-13)
            close(smoothed.cov[j], alone.cov[0], 1e-13)
    assert np.isfinite(smoothed.mean).all()


@pytest.mark.parametrize("name", ["matern52", "periodic"])
def test_backends_agree(backend, name):
    rng = np.random.default_rng(9)
    prior, t = prior_of(name), np.sort(rng.random(6))
    precision, shift = observations(rng, 6, 2)
    wanted = smooth(prior, t, precision, shift)
    wanted_mean, wanted_cov = interpolate(prior, t, wanted, t - 0.05)
    got = smooth(prior, backend.array(t), backend.array(precision.astype(np.float32).astype(np.float64)), backend.array(shift))
    close(backend.numpy(got.mean), wanted.mean, 1e-5)
    got = smooth(prior, backend.array(t), backend.array(precision), backend.array(shift))
    mean, cov = interpolate(prior, backend.array(t), got, backend.array(t - 0.05))
    for x, y in ((got.mean, wanted.mean), (got.cov, wanted.cov), (got.log_evidence, wanted.log_evidence), (mean, wanted_mean)):
        close(backend.numpy(x), y, 1e-12)
    close(backend.numpy(cov), wanted_cov, 1e-12)
    assert fit_lengthscale(prior, t, backend.array(precision), backend.array(shift)).lengthscale > 0


def test_the_lengthscale_of_the_largest_evidence_is_found():
    rng = np.random.default_rng(10)
    t = np.sort(rng.random(200))
    K = oracles_gp.kernel("matern52", t[:, None] - t, 0.12).astype(float)
    y = np.linalg.cholesky(K + 1e-10 * np.eye(200)) @ rng.standard_normal((200, 4))
    y += 0.1 * rng.standard_normal(y.shape)
    precision, shift = np.broadcast_to(100.0 * np.eye(4), (200, 4, 4)), 100.0 * y
    start = Prior("matern52", 0.5)
    found = fit_lengthscale(start, t, precision, shift)
    assert 0.08 < found.lengthscale < 0.18
    grid = [log_evidence(replace(start, lengthscale=0.5 * 10.0**x), t, precision, shift) for x in np.linspace(-1, 1, 41)]
    assert log_evidence(found, t, precision, shift) >= max(grid) - 1e-3
    again = fit_lengthscale(found, t, precision, shift)
    assert log_evidence(again, t, precision, shift) >= log_evidence(found, t, precision, shift)
    assert fit_lengthscale(Prior("iid"), t, precision, shift) == Prior("iid")
    assert fit_lengthscale(start, t[:1], precision[:1], shift[:1]) == start
    cyclic = fit_lengthscale(Prior("periodic", 0.05, period=1.0), t[::4], precision[::4, :1, :1], shift[::4, :1])
    assert 1 / 30 <= cyclic.lengthscale <= 0.5


def test_threads_change_no_bit_and_inputs_are_left_alone():
    rng = np.random.default_rng(11)
    prior, t = prior_of("matern32"), np.sort(rng.random(50))
    pairs = [observations(rng, 50, 3) for _ in range(4)]
    precision, shift = (np.stack(x) for x in zip(*pairs, strict=True))
    copies = precision.copy(), shift.copy(), t.copy()
    answers = []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        smoothed = smooth(prior, t, precision, shift)
        answers.append((smoothed.mean, smoothed.cov, smoothed.log_evidence, *interpolate(prior, t, smoothed, t + 0.001)))
        numba.set_num_threads(before)
    assert all(np.array_equal(x, y) for x, y in zip(*answers, strict=True))
    assert all(np.array_equal(x, y) for x, y in zip(copies, (precision, shift, t), strict=True))


def test_the_first_step_comes_from_nowhere():
    A, root = steps(prior_of("matern32"), np.array([2.0, 3.0]))
    assert np.array_equal(A[0], np.zeros((2, 2)))
    assert np.array_equal(root[0], np.eye(2))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"kernel": "matern72"}, ValueError, "Prior: kernel must be one of 'matern12'"),
        ({"kernel": "matern12", "lengthscale": 0.0}, ValueError, "Prior: lengthscale must be a number above 0; got 0.0"),
        ({"kernel": "matern12", "variance": -1.0}, ValueError, "Prior: variance must be a number above 0; got -1.0"),
        ({"kernel": "periodic"}, TypeError, "Prior: period must be a number above 0; got None"),
        ({"kernel": "periodic", "period": 1.0, "lengthscale": 0.01}, ValueError, "Prior: lengthscale / period must be"),
    ],
)
def test_bad_priors_are_refused_in_words(arguments, error, words):
    with pytest.raises(error, match=words):
        Prior(**arguments)
