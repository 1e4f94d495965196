"""Sparse signals: the support is found, also where dense signals would leave nothing to calibrate by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.calibration import _search, self_calibrate
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


@pytest.mark.parametrize(
    ("model", "m", "n", "p", "k"), [("repeated", 40, 60, 2, 3), ("repeated", 40, 60, 2, 5), ("snapshots", 30, 60, 20, 3)]
)
def test_supports_are_found_where_dense_signals_would_explain_everything(model, m, n, p, k):
    hits = 0
    for seed in range(100, 110):
        t = oracles.draw(np.random.default_rng(seed), model, m, n, p, 40, sparsity=k)
        hits += bool(
            np.array_equal(self_calibrate(t.Y, t.A, model=model, sparsity=k).support, np.flatnonzero(np.any(np.atleast_2d(t.X), axis=0)))
        )
    assert hits >= 9


@given(seed=st.integers(0, 1000), k=st.integers(1, 4), many=st.booleans(), real=st.booleans())
def test_the_search_judges_sets_as_matrices_do(seed, k, many, real):
    """Energies that sets explain, and lower bounds with one column more."""
    rng = np.random.default_rng(seed)
    t = oracles.draw(rng, "snapshots" if many else "repeated", 12, 6, 5, 20, real=real)
    q = np.sum(abs(t.Y) ** 2, axis=0)
    if many:
        family = _search.ManySignals(t.A, t.Y, q)
    else:
        B = np.sum(t.Y.conj()[:, :, None] * t.A, axis=0) / np.sqrt(q)[:, None]
        family = _search.OneSignal(sum(a.conj().T @ a for a in t.A), B.conj().T @ B)

    def explained(chosen):
        G = oracles.schur(oracles.system(t.Y, t.A[..., chosen], "snapshots" if many else "repeated", 1.0 * np.ones(12)), 12)
        return 1 - np.linalg.eigvalsh(G / np.sqrt(np.outer(q, q)))[0]

    chosen = np.sort(rng.permutation(6)[:k])
    assert family.explained(chosen[None])[0] == pytest.approx(explained(chosen), abs=1e-8)
    outlook = family.outlook(chosen)
    for j in np.setdiff1d(np.arange(6), chosen):
        assert outlook[j] <= explained(np.append(chosen, j)) + 1e-8


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
