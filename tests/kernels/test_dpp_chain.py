"""The chain rule in blocks against one proposal at a time, with the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import _alias, _dpp_block, dpp_chain
from lowrank_la.kernels._engine import use_engine
from tests.dpp.oracles_processes import orthonormal

SEED, STREAMS, CAP = 2**63 + 5, (1, 2), 150


def shared(Q, samples):
    """Arguments for samples of all columns."""
    m = Q.shape[1]
    return Q, *_alias.tables(np.sum(abs(Q) ** 2, axis=1)[None, :]), np.arange(m)[None, :], np.full(samples, m)


def chosen(Q, samples, seed):
    """Arguments for samples of some columns each."""
    rng = np.random.default_rng(seed)
    columns = np.argsort(rng.random((samples, Q.shape[1])), axis=1)
    return Q, *_alias.tables(abs(Q.T) ** 2), columns, rng.integers(0, Q.shape[1] + 1, samples)


def same(arguments, cap=CAP):
    got, wanted = (version(*arguments, SEED, STREAMS, cap) for version in (dpp_chain.cpu, dpp_chain.reference))
    for x, y in zip(got, wanted, strict=True):
        assert x.dtype == y.dtype == np.int64
        np.testing.assert_array_equal(x, y)
    return got


@settings(max_examples=40)
@given(m=st.integers(1, 45), extra=st.integers(0, 60), complex=st.booleans(), seed=st.integers(0, 999))
def test_blocks_decide_as_single_proposals_do(m, extra, complex, seed):
    Q = orthonormal(m + extra, m, seed, complex=complex)
    same(shared(Q, 2))
    same(chosen(Q, 3, seed))


@pytest.mark.parametrize("complex", [False, True])
def test_large_samples(complex):
    drawn, attempts = same(shared(orthonormal(300, 90, 0, complex=complex), 1))
    assert all(len(set(sample)) == 90 for sample in drawn.tolist())
    assert (attempts > 200).all()


def test_a_cap_leaves_samples_short():
    drawn, attempts = same(shared(orthonormal(30, 20, 0), 5), cap=2)
    assert (attempts <= 40).all()
    assert (drawn[:, -1] == -1).any()


def test_parallel_rows_are_never_drawn_together_and_zero_rows_never():
    Q = np.zeros((9, 3))
    Q[[0, 3, 6], [0, 1, 2]] = Q[[1, 4, 7], [0, 1, 2]] = 0.5**0.5
    drawn, _ = same(shared(Q, 50))
    assert np.array_equal(np.sort(drawn // 3, axis=1), np.tile([0, 1, 2], (50, 1)))
    assert (drawn % 3 < 2).all()


def test_rows_of_tiny_length_are_no_trouble():
    Q = orthonormal(40, 5, 0)
    Q[:10] *= 1e-150
    Q = np.linalg.qr(Q)[0]
    Q[0] = 1e-160
    assert same(shared(Q, 10))[0].min() >= 10


def test_alias_tables_give_the_law():
    """The shares of each item, added up over the table, are its probability."""
    rng = np.random.default_rng(0)
    for weights in (rng.random((3, 50)), rng.random((2, 400)) ** 30, np.eye(5)[:2], np.ones((1, 1)), rng.random((1, 7)) * 1e-300):
        keep, alias = _alias.tables(weights)
        n = weights.shape[1]
        for t, w in enumerate(weights):
            share = keep[t].astype(np.longdouble) / 2**63
            p = share + np.bincount(alias[t], np.asarray(1 - share, float), n)
            np.testing.assert_allclose(p / n, w / w.sum(), atol=1e-15 * n)
            assert (keep[t][w == 0] == 0).all()
            assert (w[alias[t]] > 0).all()


def test_threads_do_not_change_a_sample():
    arguments = (*shared(orthonormal(300, 20, 0), 40), SEED, STREAMS, CAP)
    with limit_threads(1):
        one = dpp_chain.cpu(*arguments)
    for x, y in zip(one, dpp_chain.cpu(*arguments), strict=True):
        np.testing.assert_array_equal(x, y)
    first = dpp_chain.cpu(*shared(arguments[0], 3), SEED, STREAMS, CAP)[0]
    np.testing.assert_array_equal(first, one[0][:3])  # a sample does not depend on how many there are


def test_other_libraries(backend):
    for arguments in (shared(orthonormal(30, 6, 0), 3), chosen(orthonormal(30, 6, 1, complex=True), 3, 0)):
        wanted = dpp_chain.rows(*arguments, SEED, STREAMS, CAP)
        got = dpp_chain.rows(*(backend.array(x) for x in arguments), SEED, STREAMS, CAP)
        for x, y in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(backend.numpy(x), y)


@settings(max_examples=20)
@given(m=st.integers(1, 40), samples=st.integers(1, 4), complex=st.booleans(), seed=st.integers(0, 999))
def test_points_are_decided_in_order(m, samples, complex, seed):
    """Against Gram and Schmidt with the same proposals; as many as a block takes, until all is drawn."""
    rng, pair = np.random.default_rng(seed), 2 if complex else 1
    C, left = dpp_chain.states(samples, pair * m), np.full(samples, pair * m)
    bases = [np.zeros((0, m)) for _ in range(samples)]
    while left.any():
        counts = dpp_chain.block_sizes(pair * m, left, pair)
        starts = np.concatenate([[0], np.cumsum(counts)])
        X = rng.standard_normal((starts[-1], m)) + (1j * rng.standard_normal((starts[-1], m)) if complex else 0)
        u = rng.random(starts[-1])
        accepted, decided = dpp_chain.advance(X, u, starts, C, left)
        for r in range(samples):
            for t in range(starts[r], starts[r + 1]):
                f = X[t] - bases[r].T @ (bases[r].conj() @ X[t])
                f = f - bases[r].T @ (bases[r].conj() @ f)
                wanted = np.vdot(f, f).real > u[t] * np.vdot(X[t], X[t]).real and t < starts[r] + decided[r]
                assert accepted[t] == wanted
                if wanted:
                    bases[r] = np.vstack([bases[r], f / np.linalg.norm(f)])
            assert left[r] == pair * (m - len(bases[r]))
            full = pair * accepted[starts[r] : starts[r + 1]].sum() + pair > _dpp_block.MOST
            assert decided[r] == counts[r] or left[r] == 0 or full


@pytest.mark.cudasim
@pytest.mark.parametrize("complex", [False, True])
def test_cuda_agrees_in_the_simulator(complex):
    Q = orthonormal(12, 4, 0, complex=complex)
    for arguments in (shared(Q, 2), chosen(Q, 2, 1)):
        wanted = dpp_chain.reference(*arguments, SEED, STREAMS, CAP)
        with use_engine("cuda"):
            got = dpp_chain.rows(*arguments, SEED, STREAMS, CAP)
        for x, y in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(x, y)
