"""Gradients of the sliced distances for tensors, against differences and against many directions."""

from __future__ import annotations

import numpy as np
import pytest

from lowrank_la.sliced import _controls, _gradient, _modes, max_sliced, sliced_wasserstein, vmf_sliced, wasserstein_1d
from lowrank_la.sliced._problem import enter

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
FIXED = ("none", "orthogonal", "spherical", "qmc")  # modes whose weights do not depend on the points


def clouds(d, n=40, m=30):
    rng = np.random.default_rng(100 + d)  # no two projections so close that the differences below make them change places
    return rng.standard_normal((n, d)), 1.3 * rng.standard_normal((m, d)) + 0.4


def weights(n=40):
    a = np.random.default_rng(3).random(n)
    a[3] = 0
    return a / a.sum()


def _gradients(function, X, Y, field="value_p"):
    X, Y = (torch.tensor(x, requires_grad=True) for x in (X, Y))
    getattr(function(X, Y), field).backward()
    return X.grad.numpy(), Y.grad.numpy()


def _assert_slopes(function, X, Y, field="value_p", rel=1e-5):
    rng, h = np.random.default_rng(1), 1e-7
    dX, dY = rng.standard_normal(X.shape), rng.standard_normal(Y.shape)
    up, down = (getattr(function(X + s * dX, Y + s * dY), field) for s in (h, -h))
    gX, gY = _gradients(function, X, Y, field)
    assert np.sum(gX * dX) + np.sum(gY * dY) == pytest.approx((up - down) / (2 * h), rel=rel)


@pytest.mark.parametrize("field", ["value", "value_p"])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("mode", "d"), [*((mode, d) for mode in FIXED for d in (1, 2, 3)), ("orthogonal", 7), ("none", 7)])
def test_weights_that_do_not_depend_on_the_points(mode, d, weighted, p, field):
    a = weights() if weighted else None

    def distance(X, Y):
        return sliced_wasserstein(
            X, Y, p=p, a=a, variance_reduction=mode, n_projections=24 if d < 7 else 200, rng=5
        )  # few would be clipped into the bracket

    _assert_slopes(distance, *clouds(d), field)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
@pytest.mark.parametrize(
    ("mode", "d", "L"), [("auto", 3, 60), ("auto", 6, 60), ("auto", 6, 20), ("auto", 200, 100), ("upper", 4, 30), ("lower", 4, 30)]
)
def test_controls_with_fixed_coefficients(mode, d, L, p, weighted):
    """The estimate as a function of the points alone: coefficients and directions stay what they were."""
    X, Y = clouds(d)
    a = weights() if weighted else None
    problem = enter("t", X, Y, a, None, p)
    sample = _modes.draw(problem, mode, L, _modes.block_of(mode, L, d), 0)
    estimate = _modes.estimate(problem, mode, sample, 0)
    assert estimate.coefficients.any() or d == 200

    def value(X, Y):
        here = enter("t", X, Y, a, None, p)
        again = _modes.draw(here, mode, L, sample.block, 0)
        controls = _controls.Controls(here, estimate.controls.singles, estimate.controls.pairs, 0)
        C = controls.values(again.T)[0] if mode == "auto" else controls.polynomials(controls.forms(again.T))
        return estimate.weights @ (again.costs - C @ estimate.coefficients) + again.exact

    assert value(X, Y) == pytest.approx(estimate.mean, rel=1e-9)
    rng, h = np.random.default_rng(1), 1e-7
    dX, dY = rng.standard_normal(X.shape), rng.standard_normal(Y.shape)
    slope = (value(X + h * dX, Y + h * dY) - value(X - h * dX, Y - h * dY)) / (2 * h)
    gX, gY = _gradient.gradient(problem, sample, estimate)
    size = np.linalg.norm(gX) * np.linalg.norm(dX) + np.linalg.norm(gY) * np.linalg.norm(dY)
    assert np.sum(gX * dX) + np.sum(gY * dY) == pytest.approx(slope, abs=size * (3e-3 if mode == "auto" else 1e-6))


def test_the_default_gradient_has_less_noise():
    X, Y = clouds(6, 100, 100)
    exact = _gradients(lambda X, Y: sliced_wasserstein(X, Y, variance_reduction="orthogonal", n_projections=6000, rng=9), X, Y)[0]

    def noise(mode):
        found = [
            _gradients(lambda X, Y, s=s: sliced_wasserstein(X, Y, variance_reduction=mode, n_projections=60, rng=s), X, Y) for s in range(5)
        ]
        return np.mean([np.linalg.norm(g - exact) ** 2 for g, _ in found])

    assert noise("auto") < noise("none") / 2


def test_equal_clouds_have_no_gradient():
    X = clouds(3)[0]
    for field in ("value", "value_p"):
        for gradient in _gradients(lambda X, Y: sliced_wasserstein(X, Y, rng=0), X, X.copy(), field):
            assert np.array_equal(gradient, np.zeros_like(X))


def test_dtype_and_one_side():
    X, Y = (torch.tensor(x, dtype=torch.float32) for x in clouds(3))
    X.requires_grad_()
    result = sliced_wasserstein(X, Y, rng=0)
    assert result.value.dtype == torch.float32
    result.value.backward()
    assert X.grad.dtype == torch.float32
    assert Y.grad is None
    assert torch.equal(sliced_wasserstein(X.detach(), Y, rng=0).value * torch.ones(()), result.value.detach())


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_a_line(p):
    x, y = RNG.standard_normal(20), RNG.standard_normal(15)
    _assert_slopes(lambda x, y: wasserstein_1d(x, y, p=p), x, y)
    _assert_slopes(lambda x, y: wasserstein_1d(x, y, p=p, a=np.arange(20) / 190), x, y, "value")


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_largest_and_concentrated(p):
    X, Y = clouds(3, 5, 4)
    Y += 5  # far apart, the best matching does not change at the best direction
    _assert_slopes(lambda X, Y: max_sliced(X, Y, p=p, tol=1e-14, max_iter=500, rng=0), X, Y, rel=1e-3)
    theta = np.array([1.0, 2, 3])
    _assert_slopes(lambda X, Y: vmf_sliced(X, Y, p=p, direction=theta, n_projections=20, rng=0), X, Y)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
@pytest.mark.parametrize(
    "function", [max_sliced, sliced_wasserstein, lambda X, Y, **options: sliced_wasserstein(X, Y, variance_reduction="none", **options)]
)
def test_kinks_have_a_defined_slope(function, p):
    """Points tie, or meet those that they are matched with: slopes are finite, and those of both clouds cancel as for any translation."""
    X = np.repeat(np.random.default_rng(4).integers(0, 3, (6, 3)).astype(float), 2, axis=0)
    Y = X.copy()
    Y[0] += 1
    for field in ("value", "value_p"):
        gX, gY = _gradients(lambda X, Y: function(X, Y, p=p, rng=0), X, Y, field)
        assert np.isfinite(gX).all()
        assert np.isfinite(gY).all()
        assert gY.any()
        np.testing.assert_allclose(gX.sum(axis=0), -gY.sum(axis=0), atol=1e-9 * np.abs(gY).sum())
    again = _gradients(lambda X, Y: function(X, Y, p=p, rng=0), X, Y)
    assert np.array_equal(again[1], gY)
    nothing = _gradients(lambda X, Y: function(X, Y, p=p, rng=0), X, X.copy())
    assert not np.any(nothing)


def test_at_a_kink_the_slope_of_the_largest_lies_between_those_on_both_sides():
    """|x - y| on a line, moved through zero: from -1 over 0 to 1."""
    Y = np.zeros((1, 1))
    slopes = [float(_gradients(lambda X, Y: max_sliced(X, Y, p=1, rng=0), np.array([[x]]), Y)[0][0, 0]) for x in (-1.0, 0.0, 1.0)]
    assert slopes == [-1, 0, 1]
