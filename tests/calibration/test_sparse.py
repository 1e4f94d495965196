"""Sparse signals: the support is found, also where dense signals would leave nothing to calibrate by."""

import numpy as np
import pytest

from lowrank_la.calibration import self_calibrate
from tests.calibration import oracles


@pytest.mark.parametrize(
    ("model", "m", "n", "p", "k"),
    [("repeated", 40, 60, 4, 5), ("repeated", 40, 60, 3, 3), ("diverse", 40, 20, 6, 3), ("snapshots", 40, 30, 20, 4)],
)
def test_supports_are_found(model, m, n, p, k):
    hits = 0
    for seed in range(5):
        t = oracles.draw(np.random.default_rng(seed), model, m, n, p, 40, sparsity=k)
        result = self_calibrate(t.Y, t.A, model=model, sparsity=k)
        truth = np.flatnonzero(np.any(np.atleast_2d(t.X) != 0, axis=0))
        found = result.support if result.support.ndim == 1 else result.support[0]
        hits += bool(np.array_equal(found, truth) and oracles.error(result.d, t.d) < 0.1)
        assert result.x.shape == t.X.shape
        assert np.count_nonzero(result.x) <= k * (1 if model == "repeated" else p)
        assert "given the support" in result.certificate.claim
    assert hits >= 4


def test_more_unknowns_than_channels_in_each_snapshot():
    """Jointly sparse signals with n > m: dense signals would explain every snapshot."""
    hits = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        t = oracles.draw(rng, "snapshots", 30, 60, 20, 40, sparsity=3)
        d = (1 + 0.2 * rng.uniform(-1, 1, 30)) * np.exp(0.5j * rng.standard_normal(30))
        result = self_calibrate((t.Y - t.E) / t.d * d + t.E, t.A, sparsity=3)
        hits += oracles.error(result.d, d) < 0.05
    assert hits >= 4


def test_backends(backend):
    t = oracles.draw(np.random.default_rng(1), "diverse", 30, 12, 5, 40, sparsity=3)
    expected = self_calibrate(t.Y, t.A, model="diverse", sparsity=3)
    result = self_calibrate(backend.array(t.Y), backend.array(t.A), model="diverse", sparsity=3)
    assert np.array_equal(backend.numpy(result.support), expected.support)
    np.testing.assert_allclose(backend.numpy(result.x), expected.x, atol=1e-6)
