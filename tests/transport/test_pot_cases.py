"""The cases that POT checks its own solvers with, through a shim of its signatures, beside POT itself."""

import numpy as np
import pytest

from lowrank_la.transport import sinkhorn, sinkhorn_divergence

ot = pytest.importorskip("ot")


def shim(a, b, M, reg, **options):
    """`ot.sinkhorn` with the same positional arguments."""
    return sinkhorn(M, a if len(a) else None, b if len(b) else None, reg, **options).plan()


def squared(X, Y):
    return ((X[:, None] - Y) ** 2).sum(-1)


@pytest.mark.parametrize("reg", [1.0, 0.1])
def test_uniform_weights_and_a_cloud_with_itself(reg):
    x = np.random.default_rng(0).standard_normal((100, 2))
    M = squared(x, x)
    for weights in ([], ot.unif(100)):
        P = shim(weights, weights, M, reg)
        np.testing.assert_allclose(P.sum(0), 0.01, atol=1e-9)
        np.testing.assert_allclose(P.sum(1), 0.01, atol=1e-9)


def test_the_variants_agree():
    x = np.random.default_rng(1).standard_normal((60, 2))
    u, M = ot.unif(60), squared(x, x) / 10
    for variant in ("sinkhorn", "sinkhorn_log", "sinkhorn_stabilized"):
        expected = ot.sinkhorn(u, u, M, 1.0, method=variant, stopThr=1e-11)
        for method in ("auto", "newton-sparse", "sinkhorn"):
            np.testing.assert_allclose(shim(u, u, M, 1.0, method=method), expected, atol=1e-8)


def test_several_targets_are_a_batch():
    rng = np.random.default_rng(2)
    x, B = rng.standard_normal((30, 2)), rng.random((30, 3))
    B /= B.sum(0)
    M = squared(x, x)
    batch = sinkhorn(np.broadcast_to(M, (3, 30, 30)), ot.unif(30), B.T, 1.0)
    for k in range(3):
        np.testing.assert_allclose(batch.plan()[k], ot.sinkhorn(ot.unif(30), B[:, k], M, 1.0, stopThr=1e-12), atol=1e-8)


def test_weights_that_are_mostly_zero():
    """POT's kernel iteration gives NaN or zeros here at small regularisation."""
    M = np.random.default_rng(3).random((20, 20))
    a, b = np.eye(20)[3], np.eye(20)[7]
    P = shim(a, b, M, 1e-4)
    assert P[3, 7] == pytest.approx(1)
    assert np.isfinite(P).all()
    assert P.sum() == pytest.approx(1)


def test_small_regularisation_is_the_exact_plan():
    rng = np.random.default_rng(4)
    M, a, b = rng.random((40, 30)), rng.random(40), rng.random(30)
    a, b = a / a.sum(), b / b.sum()
    result = sinkhorn(M, a, b, 1e-6)
    exact = ot.emd2(a, b, M)
    assert result.lower_bound <= exact + 1e-14
    assert exact <= result.upper_bound
    np.testing.assert_allclose(result.plan(), ot.emd(a, b, M), atol=1e-6)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
def test_empirical_plans_and_warm_starts(metric):
    rng = np.random.default_rng(5)
    X, Y = rng.standard_normal((40, 2)), rng.standard_normal((30, 2))
    expected = ot.bregman.empirical_sinkhorn(X, Y, 1.0, metric=metric, stopThr=1e-12)
    result = sinkhorn((X, Y), reg=1.0, cost=metric)
    np.testing.assert_allclose(result.plan(), expected, atol=1e-8)
    assert sinkhorn((X, Y), reg=1.0, cost=metric, init=(result.f, result.g)).n_iter == 0


@pytest.mark.parametrize("reg_m", [1.0, (0.5, 2.0)])
def test_unbalanced_plans(reg_m):
    rng = np.random.default_rng(6)
    M, a, b = squared(*rng.standard_normal((2, 30, 2))), ot.unif(30), 1.5 * ot.unif(30)
    expected = ot.unbalanced.sinkhorn_unbalanced(a, b, M, 1.0, reg_m, stopThr=1e-12, numItermax=10_000)
    np.testing.assert_allclose(shim(a, b, M, 1.0, unbalanced=reg_m), expected, atol=1e-8)


def test_a_part_of_the_mass_leaves_outliers_alone():
    rng = np.random.default_rng(7)
    X, Y = np.r_[rng.standard_normal((20, 2)), 50 + np.ones((2, 2))], rng.standard_normal((22, 2))
    M, u = squared(X, Y), ot.unif(22)
    mass = 20 / 22
    P = sinkhorn(M, u, u, 1e-2, mass=mass).plan()
    assert P[-2:].sum() < 1e-6
    assert P.sum() == pytest.approx(mass, abs=1e-8)
    assert np.sum(M * P) == pytest.approx(ot.partial.partial_wasserstein2(u, u, M, m=mass), abs=0.02)


def test_the_divergence_of_a_cloud_from_itself_is_zero():
    x = np.random.default_rng(8).standard_normal((30, 2))
    assert abs(sinkhorn_divergence(x, x, reg=1.0).value) < 1e-9
    assert sinkhorn_divergence(x, x + 1, reg=1.0).value == pytest.approx(2, abs=1e-6)
