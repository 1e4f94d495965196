"""Spectra of random tridiagonal matrices against rejection, exact moments and exact densities."""

import numpy as np
import pytest
from scipy import stats

from lowrank_la.dpp import Chebyshev, Fourier, Hermite, Jacobi, Laguerre, Legendre, TensorBasis, _chain, _tridiagonal, tensor_product

BASES = [
    Legendre(1),
    Legendre(2, domain=(0, 3)),
    Legendre(8),
    Chebyshev(7),
    Jacobi(6, alpha=1.5, beta=-0.25),
    Hermite(6, mean=1, deviation=2),
    Laguerre(6, alpha=0.5, rate=2),
    Laguerre(5, alpha=-0.7),
]
SAMPLES = 3000


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_agrees_with_rejection(basis):
    x = _tridiagonal.points(basis, SAMPLES, np.random.default_rng(0))[:, :, 0]
    y = _chain.rejection(basis, SAMPLES, 1)[0][:, :, 0]
    nu = basis.draw(SAMPLES, np.random.default_rng(2))[:, 0]
    assert x.shape == y.shape == (SAMPLES, basis.size)
    for i in (0, basis.size - 1):  # any point of a sample has the density ||phi||^2 / m
        assert stats.ks_2samp(x[:, i], nu).pvalue > 1e-4
        assert stats.ks_2samp(y[:, i], nu).pvalue > 1e-4
    for statistic in (lambda z: z.max(axis=1), lambda z: z.min(axis=1), lambda z: z.sum(axis=1), lambda z: z.std(axis=1)):
        assert stats.ks_2samp(statistic(x), statistic(y)).pvalue > 1e-4
    if basis.size > 1:
        nearest = [np.diff(np.sort(z, axis=1), axis=1).min(axis=1) for z in (x, y)]
        assert stats.ks_2samp(*nearest).pvalue > 1e-4


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_mean_and_variance_of_a_sum_are_exact(basis):
    """Var sum f(x_i) = trace(P f^2) - ||P f P||_F^2 for the projection process with span P, here for f(x) = x."""
    nodes, weights = basis.quadrature(2 * basis.size + 2)
    V = np.sqrt(weights)[:, None] * basis.eval(nodes)
    first, second = (V.T @ (nodes[:, None] ** power * V) for power in (1, 2))
    variance = np.trace(second) - np.sum(first**2)
    x = _tridiagonal.points(basis, SAMPLES, np.random.default_rng(3))[:, :, 0].sum(axis=1)
    assert abs(x.mean() - np.trace(first)) < 5 * np.sqrt(variance / SAMPLES)
    assert x.var() == pytest.approx(variance, rel=0.2)


def test_points_stay_in_the_domain():
    for basis in (Legendre(60), Chebyshev(60), Jacobi(40, alpha=-0.5, beta=3)):
        assert abs(_tridiagonal.points(basis, 50, np.random.default_rng(0))).max() <= 1
    assert _tridiagonal.points(Laguerre(50, alpha=-0.9), 50, np.random.default_rng(0)).min() >= 0


def test_where_the_models_apply():
    assert all(_tridiagonal.applies(basis) for basis in BASES)
    assert not _tridiagonal.applies(Fourier(5))
    assert not _tridiagonal.applies(TensorBasis([Legendre(3), Legendre(3)], tensor_product([2, 2])))
