"""The compiled filter, smoother and insertion against their references, which dense regression checks elsewhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la.functional_tucker._kernels import KERNELS, Prior, steps, transitions
from lowrank_la.kernels import kalman
from lowrank_la.kernels._engine import use_engine


def problem(name, B, n, R, size=10.0, seed=0):
    """Transitions over random gaps, and observations of which some are missing or singular."""
    rng = np.random.default_rng(seed)
    A, root = steps(Prior(name, 0.2, period=1.0), np.sort(rng.random(n)))
    L = rng.standard_normal((B, n, R, R)) * np.sqrt(size)
    L[:, 1::3], L[:, 2::3, :, -1] = 0.0, 0.0
    return L @ L.swapaxes(-1, -2), (L @ rng.standard_normal((B, n, R, 1)))[..., 0], A, root


def between(prior, n, seed):
    """Transitions around a new time in front of, between and behind n times."""
    A, root = transitions(prior, np.random.default_rng(seed).random(2 * n + 2) / n)
    A, root = (x.reshape(2, n + 1, *x.shape[1:]) for x in (A, root))
    for side, k in ((0, 0), (1, n)):
        A[side, k], root[side, k] = 0.0, np.eye(prior.order)
    return A, root


def run(engine, precision, shift, A, root, gaps):
    with use_engine(engine):
        evidence, mean, S = kalman.filter(precision, shift, A, root)
        states, roots = kalman.smooth(mean, S, A, root)
        new = kalman.between(mean, S, states, roots, np.arange(-1, mean.shape[1]), *gaps)
    return evidence, mean, S @ S.swapaxes(-1, -2), states, roots @ roots.swapaxes(-1, -2), *new, S, roots


@settings(max_examples=25)
@given(
    name=st.sampled_from(KERNELS),
    B=st.integers(1, 3),
    n=st.integers(1, 8),
    R=st.integers(1, 5),
    size=st.floats(-6, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_engines_agree(name, B, n, R, size, seed):
    inputs = problem(name, B, n, R, 10.0**size, seed)
    gaps = between(Prior(name, 0.2, period=1.0), n, seed)
    *got, S, roots = run("cpu", *inputs, gaps)
    *wanted, _, _ = run("reference", *inputs, gaps)
    for x, y in zip(got, wanted, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-10 * max(1.0, abs(y).max()))
    assert np.array_equal(S, np.tril(S))
    assert np.array_equal(roots, np.tril(roots))


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_any_memory_layout_is_read_and_none_is_written(layout):
    inputs = problem("matern32", 2, 7, 3)
    gaps = between(Prior("matern32"), 7, 0)
    wanted = run("cpu", *inputs, gaps)
    laid_out = [np.repeat(x, 2, axis=1)[:, ::2] if layout == "strided" else np.array(x, order=layout) for x in inputs]
    copies = [x.copy() for x in laid_out]
    assert all(np.array_equal(x, y) for x, y in zip(run("cpu", *laid_out, gaps), wanted, strict=True))
    assert all(np.array_equal(x, y) for x, y in zip(laid_out, copies, strict=True))


def test_no_batches_and_tiny_numbers():
    empty = kalman.filter(np.zeros((0, 4, 2, 2)), np.zeros((0, 4, 2)), *steps(Prior("matern52"), np.arange(4.0)))
    assert [x.shape for x in empty] == [(0,), (0, 4, 6), (0, 4, 6, 6)]
    precision, shift, A, root = problem("matern52", 1, 5, 2)
    for size in (1e-200, 1e-300):
        evidence, mean, _ = kalman.filter(size * precision, size * shift, A, root)
        assert abs(evidence[0]) < 1e-190
        assert abs(mean).max() < 1e-190
    A, root = steps(Prior("matern52"), np.arange(5.0) * 1e-150)
    assert all(np.isfinite(x).all() for x in kalman.smooth(*kalman.filter(precision, shift, A, root)[1:], A, root))
