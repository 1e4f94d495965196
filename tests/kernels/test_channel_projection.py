"""What is left when the best gains are taken out, and sums over snapshots: engines against long double, over shapes and dtypes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import channel_projection
from lowrank_la.kernels._engine import use_engine


def draw(rng, complex_, *shape):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if complex_ else x


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@given(
    p=st.integers(1, 5),
    m=st.sampled_from([1, 7, 2048, 5000]),
    seed=st.integers(0, 100),
    phase=st.booleans(),
    complex_=st.booleans(),
    turned=st.booleans(),
)
def test_projections(engine, p, m, seed, phase, complex_, turned):
    rng = np.random.default_rng(seed)
    F, W = draw(rng, complex_, p, m), draw(rng, complex_, p, m)
    F, W = (np.asfortranarray(x) if turned else x for x in (F, W))
    weight, scale = rng.random(m), rng.random(m) * (rng.random(m) < 0.8)
    wide = [x.astype(np.clongdouble) for x in (F, W)]
    c = scale * np.sum(wide[1].conj() * wide[0], axis=0)
    c = 1j * c.imag if phase else c
    expected = weight * (wide[0] - wide[1] * c)
    before = W.copy()
    with use_engine(engine):
        left = channel_projection.apply(F.copy(order="K"), W, weight, scale, phase)
        total = channel_projection.channel_sum(W, F)
    assert left.dtype == F.dtype
    np.testing.assert_allclose(left, expected.astype(complex), atol=1e-13 * p * np.abs(wide[1]).max() ** 2)
    np.testing.assert_allclose(total, np.sum(wide[1].conj() * wide[0], axis=0).astype(complex), atol=1e-13 * p)
    assert np.array_equal(W, before)


def test_what_is_left_is_orthogonal():
    rng = np.random.default_rng(0)
    F, W = draw(rng, True, 3, 100), draw(rng, True, 3, 100)
    left = channel_projection.apply(F, W, np.ones(100), 1 / np.sum(abs(W) ** 2, axis=0), False)
    np.testing.assert_allclose(channel_projection.channel_sum(W, left), 0, atol=1e-13)


def test_real_masks_and_threads():
    rng = np.random.default_rng(1)
    masks, F = rng.choice([-1.0, 1.0], (4, 10_000)), draw(rng, True, 4, 10_000)
    total = channel_projection.channel_sum(masks, F)
    np.testing.assert_allclose(total, np.sum(masks * F, axis=0), atol=1e-14)
    with limit_threads(1):
        assert np.array_equal(channel_projection.channel_sum(masks, F), total)
