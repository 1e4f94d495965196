"""`lp_sensitivities`: brackets against linear programs, closed forms and plain optimizers; invariances; refusals."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag
from scipy.optimize import linprog, minimize

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.sampling import leverage_scores, lp_sensitivities

POWERS = [1, 1.3, 2, 3, 6]
METHODS = ["bounds", "approx", "exact"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost small problems more than they bring."""
    with limit_threads(1):
        yield


def matrix(n=80, d=4, seed=0, spiked=True):
    A = np.random.default_rng(seed).standard_normal((n, d))
    if spiked:
        A[:3] *= 30
        A[3:4] *= 1e3
    return A


def graph(v):
    """Incidence matrix of the complete graph, one vertex left out."""
    i, j = np.triu_indices(v, 1)
    A = np.zeros((len(i), v))
    A[np.arange(len(i)), i], A[np.arange(len(i)), j] = 1, -1
    return A[:, 1:]


def by_program(A, i):
    """l_1 sensitivity of row i: 1 / min ||A x||_1 with a_i^T x = 1."""
    n, d = A.shape
    eye = np.eye(n)
    done = linprog(
        np.r_[np.zeros(d), np.ones(n)],
        A_ub=np.block([[A, -eye], [-A, -eye]]),
        b_ub=np.zeros(2 * n),
        A_eq=np.r_[A[i], np.zeros(n)][None],
        b_eq=[1],
        bounds=[(None, None)] * d + [(0, None)] * n,
    )
    return 1 / done.fun


def by_descent(A, i, p):
    """A share |a_i^T x|^p / ||A x||_p^p near the largest, by a plain optimizer on a_i^T x = 1."""
    N = np.linalg.svd(A[i : i + 1])[2][1:].T
    x0 = A[i] / (A[i] @ A[i])

    def value(z):
        r = A @ (x0 + N @ z)
        return np.sum(abs(r) ** p), p * N.T @ (A.T @ (np.sign(r) * abs(r) ** (p - 1)))

    start = np.linalg.lstsq(A @ N, -A @ x0)[0]
    return 1 / minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-10}).fun


def holds(result, exact, slack=1e-9):
    assert (result.lower <= exact * (1 + slack) + 1e-15).all()
    assert (exact <= result.upper * (1 + slack) + 1e-15).all()
    assert (result.lower <= result.scores).all()
    assert (result.scores <= result.upper).all()


@pytest.mark.parametrize("method", METHODS)
def test_l1_brackets_hold_against_linear_programs(method):
    A = matrix()
    A[5] = 0
    exact = np.array([by_program(A, i) if A[i].any() else 0.0 for i in range(len(A))])
    result = lp_sensitivities(A, 1, method=method, rng=0)
    holds(result, exact, 1e-7)
    assert result.scores[5] == result.upper[5] == 0
    assert result.converged
    if method == "exact":
        np.testing.assert_allclose(result.scores, exact, rtol=1e-6)
        assert result.certificate.bound < 1e-5


@pytest.mark.parametrize("p", POWERS[1:])
def test_exact_brackets_are_narrow_and_no_optimizer_finds_more(p):
    A = matrix(60, 3)
    result = lp_sensitivities(A, p, method="exact", rng=0)
    exact = np.array([by_descent(A, i, p) for i in range(60)])
    np.testing.assert_allclose(result.scores, exact, rtol=1e-4)
    assert (exact <= result.upper * (1 + 1e-9)).all()
    assert result.certificate.bound <= 2e-6
    for method in ("bounds", "approx"):
        holds(lp_sensitivities(A, p, method=method, rng=0), result.scores, 1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", POWERS)
def test_one_column_has_a_closed_form(p, method):
    a = np.random.default_rng(0).standard_normal((50, 1))
    exact = abs(a[:, 0]) ** p / np.sum(abs(a) ** p)
    result = lp_sensitivities(a, p, method=method, rng=0)
    holds(result, exact)
    if method == "exact":
        np.testing.assert_allclose(result.scores, exact, rtol=1e-6)
        assert result.total == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_p_2_gives_leverage_scores(method):
    A = matrix()
    result = lp_sensitivities(A, 2, method=method, rng=0)
    np.testing.assert_allclose(result.scores, leverage_scores(A).scores, rtol=1e-9 if method != "approx" else 0.5)
    holds(result, leverage_scores(A).scores)


@pytest.mark.parametrize("p", [1, 1.5, 3])
def test_complete_graph(p):
    v = 10
    expected = 1 / (1 + (v - 2) * 2 ** (1 - p))
    result = lp_sensitivities(graph(v), p, method="exact", rng=0)
    np.testing.assert_allclose(result.scores, expected, rtol=1e-5)
    assert result.total == pytest.approx(45 * expected, rel=1e-5)
    holds(lp_sensitivities(graph(v), p, rng=0), np.full(45, expected))


@given(n=st.integers(1, 25), d=st.integers(1, 4), p=st.sampled_from(POWERS), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_brackets_hold_after_a_change_of_basis_and_of_order(n, d, p, seed):
    rng = np.random.default_rng(seed)
    A = matrix(n, d, seed, spiked=n > 4)
    exact = lp_sensitivities(A, p, method="exact", rng=seed)
    assert exact.upper.max() <= 1
    order = rng.permutation(n)
    C = rng.standard_normal((d, d)) + 3 * np.eye(d)
    again = lp_sensitivities(A[order] @ C, p, method="exact", rng=seed)
    np.testing.assert_allclose(again.scores, exact.scores[order], rtol=1e-4)
    holds(lp_sensitivities(A, p, rng=seed), exact.scores, 1e-5)
    more = lp_sensitivities(np.vstack([A, rng.standard_normal((3, d))]), p, method="exact", rng=seed)
    assert (more.lower[:n] <= exact.upper * (1 + 1e-9)).all()  # further rows never increase a sensitivity


@pytest.mark.parametrize("p", [1, 3])
def test_orthogonal_blocks_stay_apart(p):
    A, B = matrix(30, 2), matrix(40, 3, 1)
    both = lp_sensitivities(block_diag(A, B), p, method="exact", rng=0)
    parts = [lp_sensitivities(X, p, method="exact", rng=0).scores for X in (A, B)]
    np.testing.assert_allclose(both.scores, np.concatenate(parts), rtol=1e-5)


@pytest.mark.parametrize("p", [1, 1.5, 3])
def test_chosen_rows_and_the_total(p):
    A = matrix(400, 4, spiked=False)
    whole = lp_sensitivities(A, p, method="exact", rng=0)
    assert whole.total == pytest.approx(whole.scores.sum())
    assert whole.total <= 4 ** max(1, p / 2) * (1 + 1e-6)
    rows = np.array([7, 3, 399])
    some = lp_sensitivities(A, p, method="exact", rows=rows, rng=0)
    np.testing.assert_allclose(some.scores, whole.scores[rows], rtol=1e-5)
    assert some.total_standard_error > 0
    estimates = [lp_sensitivities(A, p, rng=seed) for seed in range(6)]
    assert np.mean([e.total for e in estimates]) == pytest.approx(whole.total, rel=0.3)  # a sample of rows stands for all


def test_approximate_scores_of_many_rows_share_programs():
    A = matrix(5000, 3)
    result = lp_sensitivities(A, 1.5, method="approx", rng=0)
    exact = lp_sensitivities(A, 1.5, method="exact", rows=np.arange(0, 5000, 50), rng=0)
    ratio = result.scores[::50] / exact.scores
    assert ratio.min() > 0.1
    assert ratio.max() < 10
    assert result.scores[3] == pytest.approx(lp_sensitivities(A, 1.5, method="exact", rows=[3], rng=0).scores[0], rel=0.3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [1, 3])
def test_complex_rows(p, method):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 3)) + 1j * rng.standard_normal((40, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # no linear program has complex data
        result = lp_sensitivities(A, p, method=method, rng=0)
    assert method != "exact" or result.certificate.bound < 0.05
    X = rng.standard_normal((3, 500)) + 1j * rng.standard_normal((3, 500))
    shares = abs(A @ X) ** p / np.sum(abs(A @ X) ** p, axis=0)
    assert (shares.max(axis=1) <= result.upper).all()


@pytest.mark.parametrize("method", METHODS)
def test_backends(method, backend):
    A = matrix()
    expected = lp_sensitivities(A, 1.5, method=method, rng=0)
    result = lp_sensitivities(backend.array(A), 1.5, method=method, rng=0)
    np.testing.assert_allclose(backend.numpy(result.scores), expected.scores, rtol=1e-5)
    assert result.total == pytest.approx(expected.total, rel=1e-5)
    rows = backend.array(np.array([1, 2]))
    some = lp_sensitivities(backend.array(A), 1.5, method=method, rows=rows, rng=0)
    assert (backend.numpy(some.lower) <= expected.upper[[1, 2]]).all()


@pytest.mark.parametrize("method", METHODS)
def test_kinds_of_matrices(method):
    A = matrix(300, 4)
    expected = lp_sensitivities(A, 3, method=method, rng=0)
    ways = [sp.csr_array(A), np.asfortranarray(A), A.astype(np.float32)] + [[A[:100], A[100:]]] * (method == "bounds")
    for given_ in ways:
        result = lp_sensitivities(given_, 3, method=method, rng=0)
        assert result.scores.dtype == np.float64
        assert (result.lower <= expected.upper * (1 + 1e-5)).all()
        assert (expected.lower <= result.upper * (1 + 1e-5)).all()


def test_rank_deficient_wide_single_and_scaled():
    A = matrix()
    expected = lp_sensitivities(A, 1.5, method="exact", rng=0).scores
    twice = lp_sensitivities(np.hstack([A, A[:, :2]]), 1.5, method="exact", rng=0)
    assert twice.rank == 4
    np.testing.assert_allclose(twice.scores, expected, rtol=1e-4)
    np.testing.assert_allclose(lp_sensitivities(A[:3], 1, method="exact", rng=0).scores, 1, rtol=1e-4)
    np.testing.assert_allclose(lp_sensitivities([[2.0]], 3, method="exact", rng=0).scores, 1, rtol=1e-5)
    zero = lp_sensitivities(np.zeros((5, 2)), 1, method="exact", rng=0)
    assert zero.rank == zero.total == 0
    assert not zero.upper.any()
    for scale in (1e-150, 1e150):
        np.testing.assert_allclose(lp_sensitivities(scale * A, 1.5, method="exact", rng=0).scores, expected, rtol=1e-4)


A = matrix()
BAD = [
    ("p", (A, 0.9), {}, ValueError, "lp_sensitivities: p must be a number of at least 1; got 0.9"),
    ("inf", (A, np.inf), {}, ValueError, "p must be a number of at least 1; got inf"),
    ("method", (A, 1), {"method": "best"}, ValueError, "method must be one of 'bounds', 'approx', 'exact'; got 'best'"),
    ("rows", (A, 1), {"rows": [80]}, ValueError, "rows must be from 0 to 79; got 80 to 80"),
    ("float rows", (A, 1), {"rows": [0.5]}, TypeError, "rows must be integers; got dtype float64"),
    ("blocks", ([A, A], 1), {"method": "exact"}, TypeError, "A must be one matrix for method='exact'; got row blocks"),
    ("NaN", (A * np.nan, 1), {}, ValueError, "A must be finite; got 320 NaN"),
    ("vector", (A[0], 1), {}, ValueError, "A must be 2-dimensional"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        lp_sensitivities(*args, **{"rng": 0, **kwargs})
