"""Generalized volume-rescaled sampling: its law, unbiased coefficients."""

from collections import Counter

import numpy as np
import pytest

from lowrank_la import ConvergenceWarning
from lowrank_la.dpp import DiscreteFeatures, Legendre, volume_sample, weighted_lstsq
from tests.dpp import oracles_designs as oracles


def small(n=5, m=2):
    return DiscreteFeatures(np.random.default_rng(4).standard_normal((n, m)), np.arange(1.0, n + 1))


def test_designs_follow_the_law_of_determinants():
    """All 125 ordered designs of three of five items, with probabilities proportional to det G under nu."""
    basis, draws = small(), 2500
    law = oracles.volume_law(basis.Q, 3)
    counts = Counter(tuple(volume_sample(basis, 3, delta=None, rng=seed).indices.tolist()) for seed in range(draws))
    assert oracles.chi_square(counts, law, draws) > 1e-4


@pytest.mark.parametrize("n", [4, 6])
def test_coefficients_are_unbiased(n):
    """Their mean is the best approximation of a function far from the span, with few points; independent points are off."""
    basis, f, count = Legendre(4), lambda x: np.sign(x - 0.3), 1500
    nodes, w = basis.quadrature(4000)
    exact = basis.eval(nodes).T @ (w * f(nodes))
    coefficients = []
    for seed in range(count):
        design = volume_sample(basis, n, delta=None, rng=seed)
        coefficients.append(weighted_lstsq(f(design.points), basis, design=design).x)
    error = np.std(coefficients, axis=0) / count**0.5
    assert (abs(np.mean(coefficients, axis=0) - exact) <= 5 * error + 1e-3).all()


def test_designs_can_be_conditioned():
    design = volume_sample(Legendre(8), 60, best_of=3, rng=0)
    assert design.converged
    assert design.certificate.bound <= 0.9
    assert design.repeats == 1
    assert design.kind == "volume"
    assert volume_sample(Legendre(8), rng=0).size == 185  # 8 log(1600) / 0.31948
    thin = volume_sample(Legendre(8), 60, best_of=3, subsample=True, rng=0)
    assert set(thin.points) <= set(design.points)
    with pytest.warns(ConvergenceWarning, match="volume_sample: 8 points have"):
        assert not volume_sample(Legendre(8), 8, delta=0.1, max_trials=2, rng=0).converged


def test_discrete_designs_come_in_the_kind_of_the_features(backend):
    Phi = np.random.default_rng(0).standard_normal((60, 3))
    expected = volume_sample(DiscreteFeatures(Phi), 12, rng=3)
    design = volume_sample(DiscreteFeatures(backend.array(Phi)), 12, rng=3)
    assert np.array_equal(backend.numpy(design.indices), expected.indices)


BAD = [
    ("few", {"n": 4}, "volume_sample: n must be an integer of at least 5; got 4"),
    ("delta", {"delta": 0}, "volume_sample: delta must be a number between 0 and 1, ends excluded"),
    ("eta", {"eta": 2}, "volume_sample: eta must be a number between 0 and 1, ends excluded"),
]


@pytest.mark.parametrize(("kwargs", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(kwargs, message):
    with pytest.raises(ValueError, match=message):
        volume_sample(Legendre(5), **kwargs)
