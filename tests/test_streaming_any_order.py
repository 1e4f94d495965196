"""Streams in any order: Oja's iteration, drawn rows and Frequent Directions, also where an order misleads every learning rate."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.streaming import TopEigenvector, top_eigenvector
from lowrank_la.streaming._oja import LEAST, Oja
from lowrank_la.streaming._sample import Sample

pytestmark = pytest.mark.filterwarnings("ignore::lowrank_la.ConvergenceWarning")


def spiked(seed, n, d, ratio):
    return np.random.default_rng(seed).standard_normal((n, d)) * np.array([ratio**0.5] + [1.0] * (d - 1))


ORDERS = {
    "as drawn": lambda A: A,
    "sorted by v1": lambda A: A[np.argsort(A[:, 0])],
    "large ones first": lambda A: A[np.argsort(-np.abs(A[:, 0]))],
    "large ones last": lambda A: A[np.argsort(np.sum(A**2, axis=1))],
}


def late_kicks(d, ratio, light=40):
    """Rows that tie v1 to all others with one sign before v1 is learned, and with the other one afterwards: A^T A does not notice."""
    e, a, b = np.eye(d), (ratio / (4 * (d - 1))) ** 0.5, 0.5**0.5
    middle = np.repeat((ratio / 2 / light) ** 0.5 * e[:1], light, axis=0)
    return np.concatenate([b * e[1:] - a * e[0], middle, b * e[1:] + a * e[0]])


def one_row_against_many(d, ratio):
    """One row carries v1, each other direction comes in 50 rows."""
    e = np.eye(d)
    return np.concatenate([ratio**0.5 * e[:1], np.repeat(e[1:], 50, axis=0) / 50**0.5])


def streamed(A, pieces=5, **options):
    stream = TopEigenvector(A.shape[1], **{"order": "arbitrary", "method": "oja", "rng": 0} | options)
    for piece in np.array_split(A, pieces) if isinstance(A, np.ndarray) else [A]:
        stream.partial_fit(piece)
    return stream


@pytest.mark.parametrize("order", ORDERS)
def test_it_finds_what_a_sketch_may_not(order):
    A = ORDERS[order](spiked(0, 4000, 200, 4.0))
    result, sketch = streamed(A).result(), streamed(A, method="directions").result()
    assert result.v[0] ** 2 > 0.6
    assert result.v[0] ** 2 > sketch.v[0] ** 2 - 0.05
    assert order != "large ones first" or sketch.v[0] ** 2 < 0.01
    chosen = np.argmax(result.candidates.energies)
    assert result.candidates.growth[chosen] > 0.5 * np.log(200)
    np.testing.assert_array_equal(result.candidates.learned, result.candidates.growth >= 1.5 * np.log(200))
    assert np.all(np.diff(result.candidates.rates) < 0)
    assert np.all(np.diff(result.candidates.growth) < 0)


@pytest.mark.parametrize(("A", "sine"), [(late_kicks(200, 2), 0.5), (late_kicks(200, 4), 0.4), (one_row_against_many(200, 8), 0.9)])
def test_orders_that_mislead_every_rate_are_not_taken_for_success(A, sine):
    stream = streamed(A)
    result, V = stream.result(), stream._state.oja.V
    assert np.all(np.sqrt(np.maximum(1 - V[0] ** 2, 0)) > sine)
    assert np.any(result.candidates.learned) or np.max(result.candidates.energies) < 0.5 * np.linalg.norm(A, 2) ** 2
    assert not result.converged
    assert result.lower <= np.linalg.norm(A @ result.v) ** 2
    assert np.linalg.norm(A, 2) ** 2 <= result.upper


def test_one_heavy_row_is_the_business_of_the_sketch():
    A = one_row_against_many(200, 8)
    assert streamed(A).result().v[0] ** 2 > 0.99


KINDS = {
    "spike": lambda rng, n, d: spiked(rng, n, d, 4.0),
    "flat": lambda rng, n, d: rng.standard_normal((n, d)),
    "heavy tails": lambda rng, n, d: rng.standard_t(1.5, (n, d)),
    "one entry each": lambda rng, n, d: np.eye(d)[rng.integers(0, d, n)],
    "large and tiny": lambda rng, n, d: rng.standard_normal((n, d)) * 10.0 ** rng.integers(-12, 12, d),
}


def test_drawn_rows_give_the_stated_confidence_in_every_order():
    missed, tight, count = 0, [], 0
    with limit_threads(1):
        for trial in range(15):
            for draw in KINDS.values():
                A = draw(np.random.default_rng(trial), 600, 40)
                for order in ORDERS.values():
                    result, count = streamed(order(A), 2, rng=trial).result(), count + 1
                    energy = np.linalg.norm(A @ result.v) ** 2
                    missed += result.certificate.bound > energy * (1 + 1e-12)
                    tight.append(result.certificate.bound / energy)
                    assert np.linalg.norm(A, 2) ** 2 <= result.upper * (1 + 1e-12)
    assert count == 300
    assert missed <= 9
    assert np.median(tight) > 0.6


def test_the_angle_holds_where_the_sketch_gives_one():
    for trial in range(8):
        rng = np.random.default_rng(trial)
        A = rng.standard_normal((300, 60)) * 0.7 ** np.arange(60) @ np.linalg.qr(rng.standard_normal((60, 60)))[0]
        result = streamed(A, rng=trial).result()
        assert result.converged
        v1 = np.linalg.svd(A)[2][0]
        assert np.linalg.norm(v1 - result.v * (result.v @ v1)) <= result.sin_angle < 0.1


def test_rates_agree_with_iterations_that_began_early():
    A = spiked(1, 3000, 30, 6.0)
    oja = Oja(A, 30, 0)
    for piece in np.array_split(A, 7):
        oja.take(piece, np.sum(piece**2, axis=1))
    assert oja.rates.min() * oja.energy > LEAST
    assert oja.rates.min() * oja.energy < 2 * LEAST
    for j in np.flatnonzero(oja.rates * oja.energy > 8):
        v = oja.v0[:, oja.power[j] % 2].copy()
        for a in A:
            v += oja.rates[j] * (a @ v) * a
        growth = np.log(np.linalg.norm(v))
        assert abs(v @ oja.V[:, j]) / np.linalg.norm(v) > 0.99
        assert oja.growth[j] == pytest.approx(growth, abs=0.3)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 900), max_size=5), st.booleans())
def test_chunks_and_layout_do_not_matter(seed, cuts, sparse):
    A = spiked(2, 900, 25, 5.0)
    A[np.random.default_rng(seed).integers(0, 900, 9)] = 0
    A[77] *= 30
    one = streamed(A, 1, rng=seed).result()
    many = TopEigenvector(25, order="arbitrary", method="oja", rng=seed)
    for part in np.split(A, sorted(cuts)):
        many.partial_fit(sp.csr_array(part) if sparse else part)
    many = many.result()
    np.testing.assert_allclose(one.v, many.v, atol=1e-9)
    np.testing.assert_allclose(one.candidates.growth, many.candidates.growth, atol=1e-9)
    assert one.certificate.bound == pytest.approx(many.certificate.bound, rel=1e-9)


def test_rows_are_drawn_in_proportion_to_their_energy():
    A = np.diag(np.sqrt([1.0, 2.0, 3.0, 0.0, 4.0, 10.0]))
    counts = np.zeros(6)
    for seed in range(20):
        whole, first, second = (Sample(A, 6, seed) for _ in range(3))
        for row in A:
            whole.take(row[None, :], np.sum(row[None, :] ** 2, axis=1))
        for part, half in ((first, A[:4]), (second, A[4:])):
            part.take(half, np.sum(half**2, axis=1))
        first.merge(second)
        for sample in (whole, first):
            assert sample.total == pytest.approx(20)
            np.testing.assert_allclose(np.sum(sample.rows**2, axis=1), sample.energy)
            counts += np.bincount(np.argmax(sample.rows, axis=1), minlength=6)
    expected = np.array([1, 2, 3, 0, 4, 10]) / 20 * counts.sum()
    assert np.sum((counts - expected)[expected > 0] ** 2 / expected[expected > 0]) < 20  # 4 degrees of freedom
    assert counts[3] == 0


@pytest.mark.parametrize("cut", [0, 500, 2000, 3900])
def test_merged_streams_keep_what_both_know(cut):
    A = spiked(3, 4000, 60, 8.0)
    first, second = streamed(A[:cut]), streamed(A[cut:])
    first.merge(second)
    result = first.result()
    assert result.v[0] ** 2 > 0.85
    assert result.lower <= np.linalg.norm(A @ result.v) ** 2
    assert np.linalg.norm(A, 2) ** 2 <= result.upper
    first.partial_fit(A)
    assert first.result().v[0] ** 2 > 0.9


def test_merges_hold_at_the_stated_confidence():
    missed = 0
    with limit_threads(1):
        for trial in range(60):
            A = KINDS["heavy tails"](np.random.default_rng(trial), 300, 40)
            first, second = streamed(A[:100], 1, rng=trial), streamed(A[100:], 1, rng=trial)
            first.merge(second)
            result = first.result()
            missed += result.certificate.bound > np.linalg.norm(A @ result.v) ** 2 * (1 + 1e-12)
    assert missed <= 3


@pytest.mark.parametrize("method", ["oja", "directions"])
def test_a_second_pass_measures_what_a_sketch_cannot(method):
    A = ORDERS["large ones last"](spiked(4, 3000, 60, 6.0))
    once, twice = streamed(A, method=method).result(), top_eigenvector(A, order="arbitrary", method=method, rng=0)
    assert "second pass" in twice.certificate.method
    assert np.linalg.norm(A @ twice.v) >= np.linalg.norm(A @ once.v) * (1 - 1e-9)
    assert twice.lower <= np.linalg.norm(A @ twice.v) ** 2 * (1 + 1e-12)


def test_space_is_bounded():
    d = 30
    stream = TopEigenvector(d, order="arbitrary", method="oja", rng=0)
    for trial in range(30):
        stream.partial_fit(np.random.default_rng(trial).standard_t(2, (500, d)) * 4.0**trial)
        rates = np.log2(14 * d * np.log(d))
        assert stream.space <= (64 + rates + 4 + 1024) * d + 2 * rates + 3 * 1024


@pytest.mark.parametrize("scale", [1e-140, 1e140])
def test_extreme_scales(scale):
    A = spiked(5, 500, 12, 9.0)
    np.testing.assert_allclose(streamed(scale * A).result().v, streamed(A).result().v, atol=1e-9)
