"""`refine="exact"` and forbidden pairs: linear programs by HiGHS are the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from lowrank_la import ConvergenceWarning
from lowrank_la.transport import sinkhorn
from tests.transport import oracles


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), sharp=st.sampled_from([0.3, 1e-2, 1e-4]))
def test_the_bracket_closes_on_the_least_cost(seed, sharp):
    C, a, b = oracles.problem(seed)
    size = np.abs(C).max()
    result = sinkhorn(C, a, b, sharp * ((C.max() - C.min()) or 1.0), tol=1e-9, refine="exact")
    assert result.lower_bound <= oracles.exact(C, a, b) + 2e-9 * size
    assert 0 <= result.certificate.bound <= 1e-12 * size
    P, plan = result.plan("sparse", feasible=True), result.plan(feasible=True)
    assert P.nnz < len(a) + len(b)
    assert P.data.min() > 0
    np.testing.assert_array_equal(P.toarray(), plan)
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-14)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-14)
    assert np.sum(C * plan) == pytest.approx(result.upper_bound, abs=1e-12 * size)
    entropic = oracles.objective(C, a, b, result.reg, plan)
    assert result.value <= entropic + 1e-9 * size
    assert result.value_gap <= sinkhorn(C, a, b, result.reg).value_gap + 1e-12 * size


@pytest.mark.parametrize("n", [1, 2, 50, 400])
def test_assignments_are_exact(n):
    C = np.random.default_rng(n).random((n, n))
    rows, columns = linear_sum_assignment(C)
    result = sinkhorn(C, refine="exact")
    P = result.plan("sparse", feasible=True)
    np.testing.assert_array_equal(P.nonzero()[1], columns[rows])
    assert result.upper_bound - C[rows, columns].mean() <= 1e-11


def test_exact_plans_of_other_masses_parts_and_batches():
    rng = np.random.default_rng(0)
    C, a, b = rng.random((2, 8, 6)), rng.random(8), rng.random(6)
    a, b = 3 * a / a.sum(), 3 * b / b.sum()
    batch = sinkhorn(C, a, b, refine="exact")
    for k in range(2):
        one = sinkhorn(C[k], a, b, refine="exact")
        np.testing.assert_allclose(batch.plan(feasible=True)[k], one.plan(feasible=True))
        assert one.upper_bound == pytest.approx(3 * oracles.exact(C[k], a / 3, b / 3))
        np.testing.assert_allclose(one.plan(feasible=True).sum(1), a)
    assert [P.shape for P in batch.plan("sparse", feasible=True)] == [(8, 6)] * 2
    part = sinkhorn(C[0], a, b, mass=1.0, refine="exact")
    P = part.plan(feasible=True)
    assert P.sum() == pytest.approx(1)
    assert np.sum(C[0] * P) == pytest.approx(part.upper_bound)
    assert part.certificate.bound < 1e-12


def test_every_library_gets_exact_plans(backend):
    rng = np.random.default_rng(1)
    X, Y, b = rng.random((20, 2)), rng.random((15, 2)), np.r_[np.zeros(3), np.full(12, 1 / 12)]
    C = ((X[:, None] - Y) ** 2).sum(-1)
    result = sinkhorn((backend.array(X), backend.array(Y)), None, backend.array(b), refine="exact")
    assert result.upper_bound == pytest.approx(oracles.exact(C, np.full(20, 1 / 20), b), abs=1e-9)
    assert result.certificate.bound < 1e-12
    np.testing.assert_allclose(backend.numpy(result.plan(feasible=True)).sum(0), b, atol=1e-15)


def test_unfinished_work_is_refined_all_the_same():
    C = np.random.default_rng(3).random((30, 30))
    with pytest.warns(ConvergenceWarning):
        result = sinkhorn(C, reg=1e-4, max_iter=1, refine="exact")
    assert result.upper_bound == pytest.approx(C[linear_sum_assignment(C)].mean(), abs=1e-12)


def test_same_bits_for_any_number_of_threads():
    import numba

    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    rng = np.random.default_rng(0)
    C = ((rng.random((400, 1, 8)) - rng.random((400, 8))) ** 2).sum(-1)
    threads, answers = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            answers.append(sinkhorn(C, reg=C.max() / 2000, tol=1e-9, refine="exact"))
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(answers[0].f, answers[1].f)
    assert answers[0].lower_bound == answers[1].lower_bound
    first, second = (answer.plan("sparse", feasible=True) for answer in answers)
    assert np.array_equal(first.indices, second.indices)


def test_refusals():
    C = np.random.default_rng(0).random((4, 3))
    with pytest.raises(ValueError, match="sinkhorn: refine must be one of"):
        sinkhorn(C, refine="more")
    with pytest.raises(ValueError, match="refine='exact' needs a balanced problem"):
        sinkhorn(C, refine="exact", unbalanced=1.0)


def forbidden(seed, share, n=15):
    """Costs that allow at least the diagonal."""
    rng = np.random.default_rng(seed)
    C = np.where(rng.random((n, n)) < share, np.inf, rng.random((n, n)))
    np.fill_diagonal(C, rng.random(n))
    return C


def supported(C):
    """Pairs that some plan with equal weights uses: all others vanish from the entropic plan, too."""
    n, kept = len(C), np.zeros(C.shape, dtype=bool)
    for i, j in zip(*np.nonzero(np.isfinite(C)), strict=True):
        rows, columns = np.delete(np.arange(n), i), np.delete(np.arange(n), j)
        allowed = np.isfinite(C[np.ix_(rows, columns)])
        pairs = linear_sum_assignment(~allowed)
        kept[i, j] = allowed[pairs].all()
    return kept


@pytest.mark.parametrize(("share", "reg"), [(0.3, 0.05), (0.3, 0.01), (0.8, 0.1)])
@pytest.mark.parametrize("seed", range(6))
def test_forbidden_pairs_stay_empty(seed, share, reg):
    C, u = forbidden(seed, share), np.full(15, 1 / 15)
    least = C[linear_sum_assignment(C)].mean()
    tight = supported(C)
    result = sinkhorn(C, reg=reg, callback=lambda step: step.n_iter > 500)
    P = result.plan()
    assert (P[~np.isfinite(C)] == 0).all()
    assert result.lower_bound <= least + 1e-14
    assert least <= result.upper_bound <= least + 1e-12
    assert np.isfinite(result.value_gap)
    if (tight == np.isfinite(C)).all():  # others vanish slowly
        assert result.converged
    if reg >= 0.05:
        only = np.where(tight, C, np.inf).astype(np.longdouble)
        expected = oracles.plan(only, u, u, reg, *oracles.plain(only, u, u, reg))
        assert np.abs(expected.sum(1) - u).sum() < 1e-12
        assert np.abs(P - expected).sum() < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_sparse_feasible_problems_are_bracketed_whether_converged_or_not(seed):
    """Plans fall apart into pieces, and many pairs that are allowed carry nothing."""
    C = forbidden(seed, 0.9, 40)
    least = oracles.exact(C, np.full(40, 1 / 40), np.full(40, 1 / 40))
    result = sinkhorn(C, reg=1e-3, callback=lambda step: step.n_iter > 60)
    assert result.lower_bound <= least + 1e-9
    assert least - 1e-9 <= result.upper_bound
    assert result.certificate.bound <= 1e-12
    P = result.plan(feasible=True)
    np.testing.assert_allclose(P.sum(0), 1 / 40)
    assert (P[~np.isfinite(C)] == 0).all()


def test_blocks_that_no_pair_joins():
    rng = np.random.default_rng(0)
    C = np.full((9, 9), np.inf)
    for block in (slice(0, 4), slice(4, 7), slice(7, 9)):
        C[block, block] = rng.random(C[block, block].shape)
    result = sinkhorn(C, reg=0.01)
    assert result.converged
    assert result.upper_bound == pytest.approx(C[linear_sum_assignment(C)].mean())
    a = np.full(9, 1 / 9)
    a[0], a[8] = a[0] + 1e-9, a[8] - 1e-9  # blocks whose masses differ
    with pytest.raises(ValueError, match="every plan meets"):
        sinkhorn(C, a, np.full(9, 1 / 9), 0.01, max_iter=300)


def test_a_point_without_partner_is_an_error():
    C = np.random.default_rng(0).random((4, 3))
    C[2] = np.inf
    with pytest.raises(ValueError, match="only inf in row 2"):
        sinkhorn(C)
    assert sinkhorn(C, np.array([0.5, 0.25, 0, 0.25])).converged
    with pytest.raises(ValueError, match="only inf in column 2"):
        sinkhorn(C.T)


def test_masses_that_no_plan_can_move_are_found_out():
    """Two rows of mass 2/3 may only go to a column of mass 1/3."""
    C = np.random.default_rng(0).random((3, 3))
    C[:2, :2] = np.inf
    with pytest.raises(ValueError, match="every plan meets"):
        sinkhorn(C, max_iter=200)


def test_barely_feasible_masses_are_feasible():
    """A triangle of allowed pairs leaves one plan alone, at the end of an infinite ray of potentials."""
    C = np.where(np.tril(np.ones((5, 5))) > 0, 1.0, np.inf)
    result = sinkhorn(C, reg=0.1, tol=1e-6)
    assert result.lower_bound <= 1 <= result.upper_bound < 1 + 1e-12


def test_a_callback_that_stops_forbidden_work_gives_bounds():
    C = np.random.default_rng(0).random((20, 20))
    C[C > 0.8] = np.inf
    result = sinkhorn(C, reg=1e-3, callback=lambda step: True)
    assert result.upper_bound == pytest.approx(C[linear_sum_assignment(C)].mean(), abs=1e-12)
    assert not result.converged
