"""Loops that compute costs of clouds on the way against those on stored costs."""

import numba
import numpy as np
import pytest

from lowrank_la.kernels import cloud, gibbs, scaling
from lowrank_la.kernels._engine import use_engine

COSTS = {
    "sqeuclidean": lambda X, Y: ((X[:, None] - Y) ** 2).sum(-1),
    "euclidean": lambda X, Y: np.sqrt(((X[:, None] - Y) ** 2).sum(-1)),
    "function": lambda X, Y: np.abs(X[:, None] - Y).sum(-1),
}
SHAPES = [(1, 1, 1), (37, 45, 2), (70, 130, 3), (5, 64, 16), (30, 20, 40)]


def problem(n, m, d, cost):
    rng = np.random.default_rng(n)
    X, Y = rng.random((n, d)), rng.random((m, d)) + 0.2
    f, g, a, b = rng.random(n) * 0.1, rng.random(m) * 0.1, rng.random(n) + 0.1, rng.random(m) + 0.1
    function = COSTS[cost]
    return X, Y, function if cost == "function" else cost, function(X, Y), f, g, a / a.sum(), b / b.sum()


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_everything_agrees_with_stored_costs(shape, cost, engine, monkeypatch):
    monkeypatch.setattr(cloud, "TILE", 500)
    X, Y, cost, C, f, g, a, b = problem(*shape, cost)
    eps = 0.1 * C.max()
    stored = gibbs.plan(C, f, g, a, eps)
    with use_engine(engine):
        np.testing.assert_allclose(cloud.costs(X, Y, cost), C, atol=1e-13 * C.max())
        plan = cloud.plan(X, Y, cost, f, g, a, eps)
        swept = cloud.sweeps(X, Y, cost, plan.f, g, a, b, b / plan.columns, eps, 4, (0.0, 0.2))
        products = [cloud.gram(X, Y, cost, plan.f, g, eps, b, w) for w in (None, a)]
        transforms = cloud.transforms(X, Y, cost, f, g)
    for name in ("f", "rows", "columns", "costs"):
        np.testing.assert_allclose(getattr(plan, name), getattr(stored, name), rtol=1e-11)
    np.testing.assert_allclose(plan.diagonal, stored.diagonal, atol=1e-13)
    expected = scaling.sweeps(stored.P, a, b, b / stored.columns, 4, (0.0, 0.2))
    np.testing.assert_allclose(swept.u, expected.u, rtol=1e-5)
    np.testing.assert_allclose(swept.v, expected.v, rtol=1e-5)
    P = np.exp((stored.f[:, None] + g - C) / eps)
    for (t, z), w in zip(products, (None, a), strict=True):
        np.testing.assert_allclose(t, P @ b, rtol=1e-5)
        np.testing.assert_allclose(z, P.sum(0) if w is None else P.T @ (w * (P @ b)), rtol=1e-5)
    for got, wanted in zip(transforms, gibbs.transforms(C, f, g), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-13)


def test_points_far_from_the_origin_keep_their_distances():
    X, Y, cost, C, *_ = problem(20, 30, 3, "sqeuclidean")
    np.testing.assert_allclose(cloud.costs(X + 1e6, Y + 1e6, cost), C, atol=1e-8)


def test_other_libraries(backend):
    X, Y, cost, C, f, g, a, _ = problem(12, 9, 2, "euclidean")
    plan = cloud.plan(backend.array(X), backend.array(Y), cost, f, g, a, 0.1)
    np.testing.assert_allclose(plan.columns, gibbs.plan(C, f, g, a, 0.1).columns, rtol=1e-10)


def test_same_bits_for_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    X, Y, cost, _, f, g, a, b = problem(150, 170, 3, "sqeuclidean")
    answers, threads = [], numba.get_num_threads()
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            plan = cloud.plan(X, Y, cost, f, g, a, 0.05)
            swept = cloud.sweeps(X, Y, cost, plan.f, g, a, b, b / plan.columns, 0.05, 3, (0.0, 0.0))
            answers.append((plan.columns, swept.v, *cloud.gram(X, Y, cost, plan.f, g, 0.05, b, a), cloud.costs(X, Y, cost)))
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(*answers, strict=True))
