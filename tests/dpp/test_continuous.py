"""Samples of points: marginals against the Christoffel density, repulsion, reproducibility."""

import numpy as np
import pytest
from scipy import stats

from lowrank_la import limit_threads
from lowrank_la.dpp import Fourier, Hermite, Legendre, TensorBasis, _chain, sample_dpp, total_degree

BASES = [Fourier(1), Fourier(5), Fourier(6), Fourier(7, complex=True), TensorBasis(Legendre(4), total_degree(2, 3))]


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_marginals_and_pairs(basis):
    samples, m = 2000, basis.size
    design = sample_dpp(basis, repeats=samples, rng=0)
    x = np.asarray(design.points).reshape(samples, m, basis.dim)
    for axis in range(basis.dim):
        nu = basis.draw(20_000, np.random.default_rng(1))[:, axis]
        for i in {0, m // 2, m - 1}:
            assert stats.ks_2samp(x[:, i, axis], nu).pvalue > 1e-4
    expected = m * np.sum(1 / np.arange(1, m + 1))
    assert abs(design.proposals / samples / expected - 1) < 0.1
    # Var sum f(x_i) = trace(P f^2) - ||P f P||_F^2, on points that stand for mu
    z = basis.draw_mu(200_000, np.random.default_rng(2))
    V, f = basis.eval(z), np.cos(3 * z[:, 0])
    first, second = (V.conj().T @ (f[:, None] ** power * V) / z.shape[0] for power in (1, 2))
    variance = np.trace(second).real - np.sum(abs(first) ** 2)
    sums = np.cos(3 * x[:, :, 0]).sum(axis=1)
    assert abs(sums.mean() - np.trace(first).real) < 5 * np.sqrt(variance / samples) + 0.03
    assert sums.var() == pytest.approx(variance, rel=0.2)


def test_two_points_of_complex_exponentials_have_the_law_of_their_difference():
    """For exp(0), exp(2 pi i x) the joint density is 1 - cos(2 pi (x - y)) on the unit square."""
    x = np.asarray(sample_dpp(Fourier(2, complex=True), repeats=5000, rng=0).points).reshape(5000, 2)
    gap = (x[:, 0] - x[:, 1]) % 1
    assert stats.kstest(gap, lambda t: t - np.sin(2 * np.pi * t) / (2 * np.pi)).pvalue > 1e-4
    assert stats.kstest(x[:, 0], "uniform").pvalue > 1e-4


def test_values_may_overflow():
    """Functions of degree 400 overflow when squared; directions do not."""
    basis = Hermite(400)
    x, proposals = _chain.rejection(basis, 1, 0)
    assert np.isfinite(x).all()
    assert len(np.unique(x)) == 400
    assert proposals >= 400


def test_seeds_and_threads():
    for basis in (Fourier(9), Legendre(9)):
        first = sample_dpp(basis, repeats=5, rng=3).points
        assert np.array_equal(first, sample_dpp(basis, repeats=5, rng=3).points)
        with limit_threads(1):
            assert np.array_equal(first, sample_dpp(basis, repeats=5, rng=3).points)
        assert not np.array_equal(first, sample_dpp(basis, repeats=5, rng=4).points)


def test_many_samples_go_in_parts(monkeypatch):
    monkeypatch.setattr(_chain, "STATE_BYTES", 32 * 25 * 7)
    x, _ = _chain.rejection(Fourier(5), 20, 0)
    assert x.shape == (20, 5, 1)
    assert len(np.unique(x)) == 100


class _Dependent(Fourier):
    """Functions that are all the same: no second point exists."""

    def unit(self, x):
        u = np.full((x.shape[0], self.size), self.size**-0.5)
        return u, np.zeros(x.shape[0])


def test_dependent_functions_are_an_error():
    with pytest.raises(ValueError, match="sample_dpp: basis must have independent functions; got 4 that leave no point"):
        _chain.rejection(_Dependent(4), 2, 0, cap=20)
