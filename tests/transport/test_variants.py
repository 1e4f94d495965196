"""Batches and partial transport."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog

from lowrank_la import ConvergenceWarning
from lowrank_la.transport import sinkhorn
from tests.transport import oracles


def test_a_batch_is_its_problems_one_by_one(backend):
    rng = np.random.default_rng(0)
    C, a, b = rng.random((3, 9, 7)), rng.random((3, 9)), np.full(7, 1 / 7)
    a /= a.sum(1, keepdims=True)
    batch = sinkhorn(backend.array(C), backend.array(a), backend.array(b), 0.02)
    ones = [sinkhorn(C[k], a[k], b, 0.02) for k in range(3)]
    assert batch.converged
    for name in ("value", "lower_bound", "upper_bound", "f", "g"):
        np.testing.assert_allclose(backend.numpy(getattr(batch, name)), [getattr(one, name) for one in ones], atol=1e-8)
    np.testing.assert_allclose(backend.numpy(batch.plan()), [one.plan() for one in ones], atol=1e-9)
    V = rng.random((3, 7, 2))
    np.testing.assert_allclose(
        backend.numpy(batch.apply(backend.array(V))), [one.apply(v) for one, v in zip(ones, V, strict=True)], atol=1e-9
    )
    assert [P.shape for P in batch.plan("sparse")] == [(9, 7)] * 3
    assert batch.certificate.bound == pytest.approx(max(one.certificate.bound for one in ones), rel=1e-6)
    warm = sinkhorn(backend.array(C), backend.array(a), backend.array(b), 0.02, init=(batch.f, batch.g))
    assert warm.n_iter == 0


def test_a_batch_of_clouds():
    rng = np.random.default_rng(1)
    X, Y = rng.random((2, 9, 2)), rng.random((2, 7, 2))
    batch = sinkhorn((X, Y), reg=0.01)
    for k in range(2):
        np.testing.assert_allclose(batch.barycentric()[k], sinkhorn((X[k], Y[k]), reg=0.01).barycentric(), atol=1e-9)


def test_batches_that_do_not_fit():
    with pytest.raises(ValueError, match="sinkhorn: a must have 2 rows, as many as the batch"):
        sinkhorn(np.ones((2, 3, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="sinkhorn: C must have at least one entry"):
        sinkhorn(np.ones((0, 3, 3)))
    with pytest.raises(ValueError, match="sinkhorn: Y must have 2 rows"):
        sinkhorn((np.ones((2, 3, 3)), np.ones((1, 3, 3))))


def partial_cost(C, a, b, mass):
    n, m = C.shape
    sums = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    answer = linprog(C.ravel(), A_ub=sums, b_ub=np.r_[a, b], A_eq=np.ones((1, n * m)), b_eq=[mass], options=oracles.TIGHT)
    return answer.fun


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.1, 0.5, 0.9, 1.0]), sharp=st.sampled_from([0.1, 1e-2, 1e-4]))
def test_partial_transport_brackets_its_linear_program(seed, share, sharp):
    rng = np.random.default_rng(seed)
    n, m = (int(x) for x in rng.integers(1, 12, 2))
    C, a, b = rng.random((n, m)) - (seed % 2) * 0.5, rng.random(n), 2 * rng.random(m)
    mass = share * min(a.sum(), b.sum())
    result = sinkhorn(C, a, b, sharp, mass=mass)
    least = partial_cost(C, a, b, mass)
    assert result.lower_bound <= least + 1e-8
    assert least <= result.upper_bound + 1e-8
    P = result.plan(feasible=True)
    assert P.shape == C.shape
    assert (P.sum(1) <= a + 1e-12).all()
    assert (P.sum(0) <= b + 1e-12).all()
    assert P.sum() >= mass - 1e-12
    if sharp == 1e-4:
        assert P.sum() == pytest.approx(mass, abs=1e-9)
        assert result.upper_bound - least < 0.01


def test_partial_transport_refuses_what_it_cannot_do():
    C = np.ones((3, 3))
    with pytest.raises(ValueError, match="sinkhorn: mass must be a number between 0 and 1"):
        sinkhorn(C, mass=1.5)
    with pytest.raises(ValueError, match="without unbalanced or init"):
        sinkhorn(C, mass=0.5, unbalanced=1.0)


def test_running_out_of_iterations_warns_and_brackets():
    C = np.random.default_rng(3).random((30, 30))
    with pytest.warns(ConvergenceWarning):
        result = sinkhorn(C, reg=1e-3, max_iter=3)
    assert result.lower_bound <= C[linear_sum_assignment(C)].mean() <= result.upper_bound
