"""Light Schrodinger bridges: closed forms against Gaussians, quadrature and discrete transport; paths against drift."""

import math
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array

from lowrank_la import ConvergenceWarning
from lowrank_la.transport import LightBridge, _bridge_fit, light_bridge
from lowrank_la.transport._discrepancy import discrepancy
from lowrank_la.transport._mixture import Mixture, shares


def ring(n, seed=0, radius=2.0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    X1 = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + 0.1 * rng.standard_normal((n, 2))
    return rng.standard_normal((n, 2)), X1


def some_mixture(full, K=4, d=3, eps=0.3, seed=0):
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.2, 1.0, (K, d))
    if full:
        s = np.stack([np.diag(row) for row in s]) + 0.2 * np.tril(rng.standard_normal((K, d, d)), -1)
    return Mixture(np.log(rng.dirichlet(np.ones(K))), rng.standard_normal((K, d)), s, eps)


def bridge_of(mixture):
    d = mixture.r.shape[1]
    zero = np.zeros(d)
    return LightBridge(mixture.l, mixture.r, mixture.s, zero, zero, mixture.eps, 0.0, 0.0, 0, True, None)


@pytest.mark.parametrize("full", [False, True])
def test_gradients_are_those_of_the_loss(full):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 3)), rng.standard_normal((50, 3)) @ rng.standard_normal((3, 3)) + 1
    chart = _bridge_fit._Chart(some_mixture(full), X, 4.0)
    z, free = chart.start, chart.bounds[:, 0] < chart.bounds[:, 1]
    at = chart.mixture(z)
    gradient = chart.gradient(at, *_bridge_fit.loss_and_gradient(at, X, Y)[1:])
    for i, step in zip(np.flatnonzero(free), 1e-6 * np.eye(z.size)[free], strict=True):
        slope = (_bridge_fit.loss(chart.mixture(z + step), X, Y) - _bridge_fit.loss(chart.mixture(z - step), X, Y)) / 2e-6
        assert abs(slope - gradient[i]) < 1e-7
    assert np.all(gradient[~free] == 0)


def test_normaliser_and_plan_are_integrals():
    mixture = Mixture(np.log([0.3, 0.7]), np.array([[-1.0], [0.5]]), np.array([[0.5], [0.2]]), 0.4)
    bridge, y = bridge_of(mixture), np.linspace(-30, 30, 200_001)[:, None]
    for x in (-1.5, 0.0, 2.0):
        point = np.array([[x]])
        density = np.exp(x * y[:, 0] / 0.4 + bridge.log_potential(y))
        total = np.trapezoid(density, y[:, 0])
        assert math.isclose(math.log(total), bridge.log_normalizer(point)[0], abs_tol=1e-9)
        assert math.isclose(np.trapezoid(density * y[:, 0], y[:, 0]) / total, bridge.mean(point)[0, 0], abs_tol=1e-9)


@pytest.mark.parametrize("full", [False, True])
def test_drift_is_the_gradient_of_the_potential_and_starts_at_the_mean(full):
    """The drift at t is (E[y | x_t] - x_t) / (1 - t), found here by importance sampling of the ends."""
    bridge, rng = bridge_of(some_mixture(full, K=3, d=2, eps=0.5)), np.random.default_rng(1)
    X = rng.standard_normal((4, 2))
    np.testing.assert_allclose(bridge.drift(X, 0.0), bridge.mean(X) - X, atol=1e-12)
    noise = rng.standard_normal((400_000, 2))
    for t in (0.3, 0.7):
        for x in X:
            Y = x + math.sqrt(bridge.eps * (1 - t)) * noise
            log_weight = bridge.log_potential(Y) + np.sum(Y * Y, axis=1) / (2 * bridge.eps)
            weight = np.exp(log_weight - log_weight.max())
            mean = weight @ Y / weight.sum()
            error = np.sqrt((weight**2) @ (Y - mean) ** 2) / weight.sum()
            assert (abs(bridge.drift(x[None], t)[0] - (mean - x) / (1 - t)) < 5 * error / (1 - t) + 1e-6).all()


def test_gaussian_to_gaussian_is_the_closed_form():
    """For Gaussians, the plan's S solves S A S + eps S = B with the covariances A and B."""
    rng = np.random.default_rng(3)
    X0, X1 = rng.standard_normal((3000, 3)) @ rng.standard_normal((3, 3)) + 5, rng.standard_normal((2500, 3)) @ rng.standard_normal((3, 3))
    bridge = light_bridge(X0, X1, eps=0.7, n_components=1, covariance="full", held_out=0, tol=1e-9, rng=0)
    S = bridge.scales[0] @ bridge.scales[0].T
    A, B = np.cov(X0.T, bias=True), np.cov(X1.T, bias=True)
    np.testing.assert_allclose(S @ A @ S + 0.7 * S, B, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(bridge.mean(X0), X1.mean(axis=0) + (X0 - X0.mean(axis=0)) @ S, atol=1e-6)
    assert bridge.certificate.bound == math.inf
    assert math.isnan(bridge.held_out_loss)


def test_bridge_agrees_with_discrete_entropic_transport():
    """Conditional means against long Sinkhorn iterations for the cost |x - y|^2 / 2 on the same points."""
    X0, X1 = ring(1500)
    bridge = light_bridge(X0, X1, eps=1.0, n_components=30, held_out=0, tol=1e-4, rng=0)
    K = np.exp(-np.sum((X0[:, None] - X1) ** 2, axis=-1) / 2)
    u, v = np.ones(1500), np.ones(1500)
    for _ in range(500):
        v = 1 / (K.T @ u)
        u = 1 / (K @ v)
    plan = u[:, None] * K * v
    means = plan @ X1 / plan.sum(axis=1, keepdims=True)
    error = np.sqrt(np.mean((bridge.mean(X0) - means) ** 2))
    assert error < 0.1 * np.sqrt(np.mean((means - X1.mean(axis=0)) ** 2))


def test_paths_have_the_law_of_the_diffusion():
    """Euler steps along the drift end, and pass half time, like exact paths."""
    X0, X1 = ring(4000)
    bridge = light_bridge(X0, X1, eps=0.5, n_components=12, rng=0)
    half, end = bridge.path(X0, [0.5, 0.999], rng=1)
    x, rng, steps = X0.copy(), np.random.default_rng(2), 300
    width = 1.5
    middle = None
    for i in range(steps):
        middle = x if i == steps // 2 else middle
        x = x + bridge.drift(x, i / steps) / steps + math.sqrt(bridge.eps / steps) * rng.standard_normal(x.shape)
    for ours, theirs in ((half, middle), (end, x)):
        assert discrepancy(ours, theirs, width) < 0.05 + discrepancy(ours, ours, width)  # what two samples of one law have


def test_certificate_holds_and_is_not_loose():
    """Against the discrepancy of fresh large samples."""
    for seed in range(6):
        X0, X1 = ring(1000, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            bridge = light_bridge(X0, X1, eps=0.2, n_components=1 if seed % 2 else 12, max_iter=50, rng=seed)
        fresh0, fresh1 = ring(3000, seed + 100)
        ends = bridge.sample(fresh0, rng=seed)
        width = 2.0
        square = sum(
            sign * np.mean(np.exp(-((a[:, None, :] - b[:2000]) ** 2).sum(-1) / (2 * width**2)))
            for sign, a, b in ((1, ends[:2000], ends), (1, fresh1[:2000], fresh1), (-2, ends[:2000], fresh1))
        )
        truth = math.sqrt(max(square, 0))
        assert truth <= bridge.certificate.bound <= truth + 0.4


def test_discrepancy_bound_holds_at_its_rate():
    """Both samples of one law: the truth is zero, and the bound above it is not absurd."""
    rng = np.random.default_rng(0)
    bounds = [discrepancy(rng.standard_normal((200, 1)), rng.standard_normal((300, 1)) + 1, 1.0) for _ in range(200)]
    truth = math.sqrt(2 * (3**-0.5) * (1 - math.exp(-1 / 6)))  # N(0, 1) and N(1, 1), bandwidth 1
    assert np.mean(np.array(bounds) >= truth) >= 0.99
    assert np.median(bounds) < truth + 0.35


def test_shifts_and_scales_change_nothing_else():
    X0, X1 = ring(800)
    plain = light_bridge(X0, X1, eps=0.5, n_components=5, rng=0)
    moved = light_bridge(3 * X0 + [1000, -2000], 3 * X1 + [500, 0], eps=4.5, n_components=5, rng=0)
    np.testing.assert_allclose((moved.mean(3 * X0 + [1000, -2000]) - [500, 0]) / 3, plain.mean(X0), atol=1e-4)
    assert math.isclose(moved.certificate.bound, plain.certificate.bound, abs_tol=0.02)
    assert math.isclose(moved.loss, plain.loss + 2 * math.log(3), abs_tol=1e-4)


def test_components_that_nobody_uses_start_again():
    X0, X1 = ring(600)
    lost = light_bridge(X0, X1, eps=0.5, n_components=6, rng=0)
    centres = lost.centres.copy()
    centres[0] = 1e3
    zero = np.zeros(2)
    start = LightBridge(lost.log_weights, centres, lost.scales, zero, zero, 0.5, 0, 0, 0, True, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        again = light_bridge(X0, X1, eps=0.5, init=start, rng=0)
    use = shares(np, Mixture(again.log_weights, again.centres, again.scales, 0.5).log_v(X1 - again.origin1))[1].max(axis=0)
    assert use.min() > 1e-6


def test_warm_start_goes_on():
    X0, X1 = ring(1000)
    with pytest.warns(ConvergenceWarning, match="light_bridge: no convergence in"):
        first = light_bridge(X0, X1, eps=0.2, max_iter=5, tol=1e-9, rng=0)
    with pytest.warns(ConvergenceWarning):
        second = light_bridge(X0, X1, eps=0.2, max_iter=20, tol=1e-9, init=first, rng=0)
    assert not first.converged
    assert second.loss < first.loss


def test_backends_agree(backend):
    X0, X1 = ring(300)
    oracle = light_bridge(X0, X1, eps=1.0, n_components=3, rng=0)
    result = light_bridge(backend.array(X0), backend.array(X1), eps=1.0, n_components=3, rng=0)
    assert type(result.centres) is type(backend.array(X0))
    X = backend.array(X0)
    np.testing.assert_allclose(backend.numpy(result.sample(X, rng=5)), oracle.sample(X0, rng=5), atol=1e-5)
    np.testing.assert_allclose(backend.numpy(result.drift(X, 0.5)), oracle.drift(X0, 0.5), atol=1e-5)
    np.testing.assert_allclose(backend.numpy(result.mean(X)), oracle.mean(X0), atol=1e-5)
    full = light_bridge(backend.array(X0), backend.array(X1), eps=1.0, n_components=2, covariance="full", rng=0)
    assert full.path(X, [0, 0.5, 1], rng=1).shape == (3, 300, 2)
    assert full.drift(X, 0.2).shape == (300, 2)


def test_single_precision_stays_and_inputs_are_not_modified():
    X0, X1 = (x.astype(np.float32) for x in ring(300))
    copies = X0.copy(), X1.copy()
    bridge = light_bridge(X0, X1, eps=1.0, n_components=2, rng=0)
    assert bridge.sample(X0, rng=0).dtype == bridge.mean(X0).dtype == bridge.drift(X0, 0.1).dtype == np.float32
    np.testing.assert_array_equal(X0, copies[0])
    np.testing.assert_array_equal(X1, copies[1])


def test_saved_bridges_draw_the_same(tmp_path):
    X0, X1 = ring(300)
    bridge = light_bridge(X0, X1, eps=1.0, n_components=3, rng=0)
    bridge.save(tmp_path / "bridge.npz")
    loaded = LightBridge.load(tmp_path / "bridge.npz")
    assert np.array_equal(loaded.path(X0, [0.1, 1], rng=3), bridge.path(X0, [0.1, 1], rng=3))
    assert loaded.certificate == bridge.certificate
    (tmp_path / "other.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"LightBridge\.load: .* must be a file that LightBridge.save wrote"):
        LightBridge.load(tmp_path / "other.npz")


def test_hard_but_legal():
    """Tiny noise, far apart clouds, equal points, more components than points, one column."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for X0, X1, eps in [
            (rng.standard_normal((200, 2)), rng.standard_normal((200, 2)) + 1e6, 1e-3),
            (np.ones((20, 2)), np.ones((20, 2)), 0.1),
            (rng.standard_normal((50, 2)), np.repeat(rng.standard_normal((3, 2)), 20, axis=0), 0.5),
            (rng.standard_normal((100, 1)), rng.standard_normal((100, 1)) * 1e-8, 1e-4),
            (rng.standard_normal((2, 3)), rng.standard_normal((2, 3)), 1.0),
        ]:
            bridge = light_bridge(X0, X1, eps=eps, max_iter=30, rng=0)
            for answer in (bridge.sample(X0, rng=0), bridge.mean(X0), bridge.drift(X0, 0.9), bridge.log_normalizer(X0)):
                assert np.isfinite(answer).all()
            assert not math.isnan(bridge.certificate.bound)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"X0": np.ones(3)}, ValueError, "X0 must be 2-dimensional"),
        ({"X0": np.ones((1, 2))}, ValueError, "X0 must have at least two rows"),
        ({"X1": np.ones((5, 3))}, ValueError, "X1 must have shape"),
        ({"X1": np.full((5, 2), np.nan)}, ValueError, "X1 must be finite"),
        ({"X0": np.ones((5, 2)) * 1j}, TypeError, "X0 must be real"),
        ({"X1": csr_array(np.eye(5)[:, :2])}, TypeError, "X1 must be a dense array"),
        ({"X0": "points"}, TypeError, "X0 must be an array of numbers"),
        ({"eps": 0.0}, ValueError, "eps must be a number above 0"),
        ({"n_components": 0}, ValueError, "n_components must be"),
        ({"covariance": "sphere"}, ValueError, "covariance must be one of"),
        ({"held_out": 1.0}, ValueError, "held_out must be"),
        ({"max_iter": 0}, ValueError, "max_iter must be"),
        ({"tol": -1.0}, ValueError, "tol must be"),
        ({"init": 3}, TypeError, "init must be a LightBridge"),
    ],
)
def test_bad_input(change, error, words):
    arguments = {"X0": np.eye(4)[:, :2], "X1": np.eye(5)[:, :2], "eps": 1.0, **change}
    X0, X1 = arguments.pop("X0"), arguments.pop("X1")
    with pytest.raises(error, match=f"light_bridge: {words}"):
        light_bridge(X0, X1, **arguments)


def test_bad_input_of_methods():
    bridge = bridge_of(some_mixture(False, d=2))
    for call, words in [
        (lambda: bridge.sample(np.ones((3, 4))), "X must have shape"),
        (lambda: bridge.mean(np.full((3, 2), np.inf)), "X must be finite"),
        (lambda: bridge.drift(np.ones((3, 2)), 1.0), "t must be"),
        (lambda: bridge.path(np.ones((3, 2)), [0.5, 0.1]), "times must be ascending"),
        (lambda: bridge.path(np.ones((3, 2)), []), "times must be ascending"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
