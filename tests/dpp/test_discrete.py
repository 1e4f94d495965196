"""Samples of items for features: exact laws by enumeration, marginals, backends, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csr_array

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.dpp import DiscreteFeatures, Legendre, _chain, sample_dpp
from tests.dpp import oracles_processes as oracles

SAMPLES = 20_000


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize(("n", "m"), [(6, 3), (7, 1), (5, 5), (8, 2)])
def test_law_by_enumeration(n, m, complex):
    Q = oracles.orthonormal(n, m, n, complex=complex)
    expected = oracles.law(Q @ Q.conj().T, m)
    design = sample_dpp(Q, repeats=SAMPLES, rng=0)
    assert oracles.p_value(expected, design.indices.reshape(SAMPLES, m)) > 1e-4


def test_order_is_uniform():
    """All 6 orders of each set are equally likely, so that any part of a sample has the marginal law."""
    Q = oracles.orthonormal(6, 3, 0)
    x = sample_dpp(Q, repeats=SAMPLES, rng=1).indices.reshape(SAMPLES, 3)
    order = np.argsort(x, axis=1) @ [9, 3, 1]
    counts = np.unique(order, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("complex", [False, True])
def test_one_and_two_point_marginals(complex):
    n, m, samples = 60, 20, 4000
    Q = oracles.orthonormal(n, m, 2, complex=complex)
    K = Q @ Q.conj().T
    x = sample_dpp(Q, repeats=samples, rng=3).indices.reshape(samples, m)
    hit = np.zeros((samples, n))
    np.put_along_axis(hit, x, 1.0, axis=1)
    p = np.diagonal(K).real
    assert np.abs(hit.mean(axis=0) - p).max() < 5.5 * np.sqrt(0.25 / samples)
    pairs = np.outer(p, p) - abs(K) ** 2
    both = hit.T @ hit / samples
    off = ~np.eye(n, dtype=bool)
    z = (both - pairs)[off] / np.sqrt(np.maximum(pairs * (1 - pairs), 1e-4)[off] / samples)
    assert np.abs(z).max() < 6
    assert abs(z.std() - 1) < 0.1


def test_law_does_not_depend_on_the_basis_of_the_span():
    """Only lengths and projections of rows count: the same numbers give the same samples."""
    Q = oracles.orthonormal(50, 8, 0)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    for x, y in zip(_chain.rows(Q, 200, 5), _chain.rows(Q @ turn, 200, 5), strict=True):
        assert np.array_equal(x, y)


@settings(max_examples=40)
@given(m=st.integers(1, 12), extra=st.integers(0, 60), seed=st.integers(0, 2**64 - 1))
def test_items_are_never_repeated_and_weights_fit(m, extra, seed):
    rng = np.random.default_rng(seed)
    Phi, mu = rng.standard_normal((m + extra, m)), rng.uniform(0.1, 1, m + extra)
    design = sample_dpp(Phi, measure=mu, repeats=3, rng=seed)
    x = design.indices.reshape(3, m)
    assert all(len(set(sample)) == m for sample in x.tolist())
    basis = DiscreteFeatures(Phi, mu)
    k = np.sum(basis.eval(design.indices) ** 2, axis=1)
    np.testing.assert_allclose(design.weights * k, m)
    assert design.repeats == 3
    assert design.proposals >= 3 * m


def test_proposals_are_as_many_as_expected():
    for m, repeats in ((1, 50), (10, 400), (40, 100)):
        expected = m * np.sum(1 / np.arange(1, m + 1))
        deviation = np.sqrt(sum(m * (m - j) / j**2 for j in range(1, m + 1)) / repeats)
        tried = sample_dpp(oracles.orthonormal(300, m, 1), repeats=repeats, rng=0).proposals / repeats
        assert abs(tried - expected) <= 5 * deviation


def test_mean_gram_is_the_identity():
    basis = DiscreteFeatures(np.vander(np.linspace(-1, 1, 500), 6))
    u, _ = basis.unit(sample_dpp(basis, repeats=4000, rng=0).indices)
    terms = 6 * u[:, :, None] * u[:, None, :]
    G = terms.mean(axis=0)
    assert (abs(G - np.eye(6)) < 5 * terms.std(axis=0) / np.sqrt(4000) + 1e-12).all()  # points of a sample vary less than independent ones


def test_samples_that_get_stuck_are_completed_exactly():
    """With one proposal per row nearly all samples end by their exact conditional laws."""
    for complex in (False, True):
        Q = oracles.orthonormal(6, 3, 1, complex=complex)
        x, proposals = _chain.rows(Q, SAMPLES, 0, cap=1)
        assert proposals <= 3 * SAMPLES
        assert oracles.p_value(oracles.law(Q @ Q.conj().T, 3), x) > 1e-4


def test_items_of_no_weight_and_duplicates():
    Phi = np.random.default_rng(0).standard_normal((20, 4))
    Phi[5] = 0
    Phi[7] = 3 * Phi[6]
    mu = np.ones(20)
    mu[:3] = 0
    x = sample_dpp(Phi, measure=mu, repeats=500, rng=0).indices.reshape(500, 4)
    assert not np.isin(x, [0, 1, 2, 5]).any()
    assert not ((x == 6).any(axis=1) & (x == 7).any(axis=1)).any()


def test_features_of_low_rank_and_of_bad_condition():
    t = np.linspace(0, 1, 300)
    with pytest.warns(ConvergenceWarning, match="numerical rank 3 of 4"):
        design = sample_dpp(np.stack([t, t**2, 0 * t + 1, t + t**2], axis=1), rng=0)
    assert design.size == 3
    Phi = np.vander(t, 12) * 10.0 ** np.arange(-60, 60, 10)
    x = sample_dpp(Phi, repeats=2000, rng=0).indices
    basis = DiscreteFeatures(np.polynomial.legendre.legvander(2 * t - 1, 11))
    assert stats.ks_2samp(x, basis.draw(20_000, np.random.default_rng(0))).pvalue > 1e-4


def test_backends(backend):
    Phi = np.random.default_rng(0).standard_normal((200, 5))
    expected = sample_dpp(Phi, repeats=4, rng=3)
    Phi32 = backend.array(Phi.astype(np.float32))
    for design in (sample_dpp(backend.array(Phi), repeats=4, rng=3), sample_dpp(Phi32, repeats=4, rng=3)):
        assert np.array_equal(backend.numpy(design.indices), expected.indices)
        assert type(design.indices) is type(Phi32)
    assert design.weights.dtype == Phi32.dtype


def test_seeds_and_threads():
    Phi = np.random.default_rng(0).standard_normal((3000, 30))
    first, again = (sample_dpp(Phi, repeats=20, rng=7).indices for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, sample_dpp(Phi, repeats=20, rng=8).indices)
    with limit_threads(1):
        assert np.array_equal(first, sample_dpp(Phi, repeats=20, rng=7).indices)
    generator = np.random.default_rng(0)
    assert not np.array_equal(sample_dpp(Phi, rng=generator).indices, sample_dpp(Phi, rng=generator).indices)


def test_law_bound_covers_a_basis_that_is_not_orthonormal():
    """The law of the chain rule on such columns, by enumeration of ordered samples, against the law of their span."""
    rng = np.random.default_rng(0)
    for size in (1e-6, 1e-3, 0.03):
        Q = oracles.orthonormal(6, 3, 0) @ (np.eye(3) + size * rng.standard_normal((3, 3)))
        exact = oracles.law(Q @ Q.T, 3)
        actual = dict.fromkeys(exact, 0.0)
        for order in [(i, j, k) for i in range(6) for j in range(6) for k in range(6) if len({i, j, k}) == 3]:
            p, rest = 1.0, Q.copy()
            for item in order:
                squares = np.sum(rest**2, axis=1)
                p *= squares[item] / squares.sum()
                y = rest[item] / np.sqrt(squares[item])
                rest = rest - np.outer(rest @ y, y)
            actual[tuple(sorted(order))] += p
        distance = oracles.distance(actual, exact)
        bound = _chain.law_bound(3, 6, float(np.linalg.norm(Q.T @ Q - np.eye(3), 2)))
        assert distance <= bound <= 100 * distance + 1e-9
    assert _chain.law_bound(100, 100_000, 1e-14) < 1e-6
    assert _chain.law_bound(5, 10, 2.0) == 1.0
    assert _chain.law_bound(0, 10, 0.0) == 0.0


PHI = np.random.default_rng(0).standard_normal((9, 3))
BAD = [
    ("wide", (PHI.T,), {}, ValueError, "Phi must have at least as many rows as columns"),
    ("NaN", (PHI * np.nan,), {}, ValueError, "Phi must be finite; got 27 NaN"),
    ("repeats", (PHI,), {"repeats": 0}, ValueError, "sample_dpp: repeats must be an integer of at least 1; got 0"),
    ("measure", (Legendre(3),), {"measure": np.ones(3)}, ValueError, "sample_dpp: measure must not be given with a basis"),
    ("short", (PHI,), {"measure": np.ones(3)}, ValueError, r"mu must have shape \(9,\)"),
    ("negative", (PHI,), {"measure": -np.ones(9)}, ValueError, "mu must be at least 0"),
    ("rng", (PHI,), {"rng": "x"}, TypeError, "sample_dpp: rng must be None, an int or"),
    ("text", ("x",), {}, TypeError, "must be an array of numbers"),
    ("sparse", (csr_array(PHI),), {}, TypeError, "Phi must be a dense array; got csr_array"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        sample_dpp(*args, **{"rng": 0, **kwargs})
