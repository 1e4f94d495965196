"""Derivatives of values, potentials and plans against finite differences, and the divergence."""

import numpy as np
import pytest

from lowrank_la.transport import _torch, sinkhorn, sinkhorn_divergence
from tests.transport import oracles

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
N, M = 7, 6
X, Y = RNG.random((N, 2)), RNG.random((M, 2))
A, B = RNG.random(N) + 0.2, RNG.random(M) + 0.2
A, B = A / A.sum(), B / B.sum()
COST = RNG.random((N, M))
W_PLAN, W_F, W_G = RNG.standard_normal((N, M)), RNG.standard_normal(N), RNG.standard_normal(M)


def tensors(*arrays):
    return [torch.tensor(x, requires_grad=True) for x in arrays]


def slope(function, x, direction, h=1e-5):
    return (function(x + h * direction) - function(x - h * direction)) / (2 * h)


def flat(length):
    """A direction that keeps the mass."""
    d = np.random.default_rng(length).standard_normal(length)
    return d - d.mean()


def everything(C, a, b, cost="sqeuclidean"):
    """A loss of value, plan and potentials; of these only what does not depend on their common constant."""
    result = sinkhorn(C, a, b, 0.1, tol=1e-13, cost=cost)
    plan = result.plan()
    f, g = result.f, result.g
    return (
        result.value
        + (plan * (W_PLAN if isinstance(plan, np.ndarray) else torch.tensor(W_PLAN))).sum()
        + (f[1] * f[2] + g[0] + f[0] * g[3])
    )


@pytest.mark.parametrize("which", ["C", "a", "b"])
def test_derivatives_of_a_loss_of_everything(which):
    args = dict(zip("Cab", (COST, A, B), strict=True))
    leaves = dict(zip("Cab", tensors(COST, A, B), strict=True))
    everything(*leaves.values()).backward()
    direction = RNG.standard_normal((N, M)) if which == "C" else flat(len(args[which]))
    expected = slope(lambda x: everything(*{**args, which: x}.values()), args[which], direction)
    assert float((leaves[which].grad.numpy() * direction).sum()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cosine"])
def test_derivatives_by_points(cost):
    x, y = tensors(X, Y)
    everything((x, y), None, None, cost).backward()
    for leaf, point, swap in ((x, X, False), (y, Y, True)):
        direction = RNG.standard_normal(point.shape)
        expected = slope(lambda p, s=swap: everything((X, p) if s else (p, Y), None, None, cost), point, direction)
        assert float((leaf.grad.numpy() * direction).sum()) == pytest.approx(expected, rel=1e-5)


def test_derivatives_by_points_whose_costs_are_not_stored(monkeypatch):
    x, y = tensors(X, Y)
    sinkhorn((x, y), None, None, 0.1).value.backward()
    monkeypatch.setattr(_torch, "STORED", 0)
    u, v = tensors(X, Y)
    sinkhorn((u, v), None, None, 0.1).value.backward()
    torch.testing.assert_close(u.grad, x.grad, atol=1e-9, rtol=0)
    torch.testing.assert_close(v.grad, y.grad, atol=1e-9, rtol=0)
    with pytest.raises(ValueError, match="cost must be 'sqeuclidean' for gradients"):
        sinkhorn((u, v), None, None, 0.1, cost="euclidean")


@pytest.mark.parametrize("penalty", [0.5, (0.3, np.inf), (np.inf, 2.0)])
def test_derivatives_of_unbalanced_values(penalty):
    C, a, b = tensors(COST, A, 2 * B)
    sinkhorn(C, a, b, 0.1, unbalanced=penalty, tol=1e-13).value.backward()
    for leaf, args in ((C, (COST, A, 2 * B)), (a, (A, COST, 2 * B)), (b, (2 * B, COST, A))):
        direction = np.random.default_rng(1).standard_normal(args[0].shape)

        def value(x, leaf=leaf, args=args):
            order = {id(C): (x, *args[1:]), id(a): (args[1], x, args[2]), id(b): (*args[1:], x)}[id(leaf)]
            return sinkhorn(*order, 0.1, unbalanced=penalty, tol=1e-13).value

        assert float((leaf.grad.numpy() * direction).sum()) == pytest.approx(slope(value, args[0], direction), rel=1e-5)


def test_products_and_partners_have_derivatives():
    (C,) = tensors(COST)
    result = sinkhorn(C, reg=0.1)
    V = torch.tensor(Y)
    torch.testing.assert_close(result.apply(V), result.plan() @ V)
    torch.testing.assert_close(result.barycentric(V), result.plan() @ V * N)
    result.barycentric(V).sum().backward()
    assert torch.isfinite(C.grad).all()
    assert result.plan("sparse").shape == (N, M)


def test_what_has_no_derivative_says_so():
    (C,) = tensors(COST)
    with pytest.raises(ValueError, match="a and b must be positive where gradients are wanted"):
        sinkhorn(C, torch.tensor([0.0, *[1 / 6] * 6], dtype=torch.float64))
    with pytest.raises(TypeError, match="mass excludes tensors that require gradients"):
        sinkhorn(C, mass=0.5)


def test_float32_tensors_have_float32_derivatives():
    C = torch.tensor(COST, dtype=torch.float32, requires_grad=True)
    result = sinkhorn(C, reg=0.1)
    (result.value + result.plan()[0, 0]).backward()
    assert result.plan().dtype == C.grad.dtype == torch.float32


def test_the_divergence_is_no_bias():
    same = sinkhorn_divergence(X, X, reg=0.1)
    apart = sinkhorn_divergence(X, Y, reg=0.1)
    assert abs(same.value) <= same.certificate.bound
    assert same.certificate.bound < 1e-7
    assert apart.value > 1e-4
    assert apart.converged


@pytest.mark.parametrize("seed", range(5))
def test_the_certificate_of_a_divergence_holds(seed):
    rng = np.random.default_rng(seed)
    P, Q, a = rng.random((12, 2)), rng.random((9, 2)), rng.random(12)
    a /= a.sum()
    b = np.full(9, 1 / 9)

    def value(p, q, u, v):
        C = ((p[:, None] - q) ** 2).sum(-1)
        f, g = oracles.plain(C, u, v, 0.1)
        return u @ f + v @ g

    exact = value(P, Q, a, b) - (value(P, P, a, a) + value(Q, Q, b, b)) / 2
    for tol in (1e-2, 1e-5, 1e-10):
        result = sinkhorn_divergence(P, Q, a=a, reg=0.1, tol=tol)
        assert abs(result.value - exact) <= result.certificate.bound + 1e-13
        assert result.certificate.bound <= 3 * tol + 1e-9


def test_the_divergence_has_a_gradient_that_points_to_the_other_cloud():
    (x,) = tensors(X)
    result = sinkhorn_divergence(x, torch.tensor(Y), reg=0.02)
    result.value.backward()
    direction = RNG.standard_normal(X.shape)
    expected = slope(lambda p: sinkhorn_divergence(p, Y, reg=0.02, tol=1e-12).value, X, direction)
    assert float((x.grad.numpy() * direction).sum()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_value_gap_holds(seed):
    C, a, b = oracles.problem(seed)
    reg = 0.05 * (C.max() - C.min())
    f, g = oracles.plain(C, a, b, reg)
    for tol in (1e-1, 1e-3, 1e-9):
        result = sinkhorn(C, a, b, reg, tol=tol)
        assert -result.value_gap <= a @ f + b @ g - result.value <= result.value_gap
        assert result.value_gap <= 10 * tol * (C.max() - C.min()) + 1e-10
