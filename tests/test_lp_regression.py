"""`lp_regression`: minima against linear programs and plain optimizers, certificates, inputs of every kind, refusals."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from lowrank_la import ConvergenceWarning, limit_threads, sketch_lstsq
from lowrank_la.regression import lp_regression
from lowrank_la.sampling import sample_rows

POWERS = [1, 1.05, 1.2, 1.5, 2, 2.5, 3, 4, 8, 20, np.inf]
KINDS = ["gauss", "heavy", "outliers", "spiked", "vandermonde", "interpolated"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost small problems more than they bring."""
    with limit_threads(1):
        yield


def problem(n=400, d=5, kind="heavy", seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    if kind == "vandermonde":
        A = np.vander(np.linspace(-1, 1, n), d)
    if kind == "spiked":
        A[: n // 50 + 1] *= 30
        A[-1] *= 1e3
    noise = {"gauss": rng.standard_normal(n), "outliers": np.where(rng.random(n) < 0.1, 1e3, 0.1) * rng.standard_normal(n)}
    b = A @ rng.standard_normal(d) + noise.get(kind, rng.standard_t(2, n))
    if kind == "interpolated":
        b[n // 4 :] = A[n // 4 :] @ np.ones(d)
    return A, b


def objective(A, b, x, p, weights=None):
    """||A x - b||_p in long double."""
    r = abs(A.astype(np.longdouble) @ x.astype(np.longdouble) - b)
    w = np.ones(len(r)) if weights is None else weights
    if np.isinf(p):
        return float((w * r).max())
    top = r.max() or np.longdouble(1)
    return float(top * ((w * (r / top) ** np.longdouble(p)).sum()) ** (1 / np.longdouble(p)))


def by_program(A, b, p):
    """The minimum for p = 1 and inf, by HiGHS on all rows."""
    n, d = A.shape
    slack = np.eye(n) if p == 1 else np.ones((n, 1))
    cost = np.r_[np.zeros(d), np.ones(slack.shape[1])]
    bounds = [(None, None)] * d + [(0, None)] * slack.shape[1]
    return linprog(cost, A_ub=np.block([[A, -slack], [-A, -slack]]), b_ub=np.r_[b, -b], bounds=bounds).fun


def by_descent(A, b, p, x):
    """A value near the minimum for 1 < p < inf, from x on and from least squares."""

    def value(x):
        r = A @ x - b
        return np.sum(abs(r) ** p), p * A.T @ (np.sign(r) * abs(r) ** (p - 1))

    starts = (x, np.linalg.lstsq(A, b)[0])
    with np.errstate(over="ignore", invalid="ignore"):  # far steps of its line search
        ends = [minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-12}).x for start in starts]
    return min(objective(A, b, end, p) for end in ends)


def check(A, b, p, result, weights=None):
    """The bracket holds in long double."""
    value = objective(A, b, np.asarray(result.x), p, weights)
    u = 2.0**-50
    assert result.lower_bound <= value * (1 + u)
    assert abs(result.objective - value) <= result.certificate.bound + u * value
    assert result.gap >= 0
    return value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [1, np.inf])
def test_linear_programs_agree(p, kind):
    A, b = problem(kind=kind)
    result = lp_regression(A, b, p, rng=0)
    least = by_program(A, b, p)
    value = check(A, b, p, result)
    assert value == pytest.approx(least, rel=1e-7)
    assert result.lower_bound <= least * (1 + 1e-9)
    assert result.converged
    assert result.gap <= 1e-8
    if p == 1:
        assert np.sum(abs(A @ result.x - b) < 1e-10 * abs(b).max()) >= 5  # as many as columns are interpolated


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", POWERS[1:-1])
def test_no_optimizer_finds_less(p, kind):
    A, b = problem(kind=kind)
    result = lp_regression(A, b, p, rng=0)
    value = check(A, b, p, result)
    assert result.converged
    assert result.gap <= 1e-8
    assert value <= by_descent(A, b, p, result.x) * (1 + 1e-8)
    assert result.lower_bound <= by_descent(A, b, p, result.x)


@given(
    n=st.integers(1, 60),
    d=st.integers(1, 6),
    p=st.sampled_from(POWERS),
    kind=st.sampled_from(KINDS),
    log_scale=st.integers(-6, 6),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_the_bracket_holds_for_any_shape_and_scale(n, d, p, kind, log_scale, seed):
    A, b = problem(n, d, kind, seed)
    b = b * 10.0**log_scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        result = lp_regression(A, b, p, rng=seed)
    value = check(A, b, p, result)
    others = [result.x + 10.0**-k * np.random.default_rng(k).standard_normal(d) * (abs(result.x) + 1e-3) for k in range(8)]
    assert all(result.lower_bound <= objective(A, b, x, p) * (1 + 2.0**-50) for x in others)
    if p == 1 and n > d:
        assert value - result.certificate.bound <= by_program(A, b, 1) * (1 + 1e-9) + 1e-9 * abs(b).max()


@pytest.mark.parametrize("p", [1, 1.5, 3, np.inf])
def test_large_problems_go_through_a_sketch(p):
    A, b = problem(30_000, 8, "spiked")
    result = lp_regression(A, b, p, rng=0)
    check(A, b, p, result)
    assert result.converged
    assert result.gap <= 1e-8
    assert result.sample is None


def test_p_2_is_least_squares():
    A, b = problem(5000, 6)
    result = lp_regression(A, b, 2, rng=0)
    np.testing.assert_allclose(result.x, sketch_lstsq(A, b, rng=0).x, rtol=1e-12)
    assert result.gap < 1e-10


def test_one_column_of_ones_gives_median_mean_and_middle():
    b = np.random.default_rng(0).exponential(size=101)
    ones = np.ones((101, 1))
    assert lp_regression(ones, b, 1, rng=0).x[0] == pytest.approx(np.median(b), abs=1e-12)
    assert lp_regression(ones, b, 2, rng=0).x[0] == pytest.approx(b.mean(), abs=1e-12)
    assert lp_regression(ones, b, np.inf, rng=0).x[0] == pytest.approx((b.min() + b.max()) / 2, abs=1e-9)


@pytest.mark.parametrize("p", [1, 1.2, 3, np.inf])
def test_weights_count_rows(p):
    A, b = problem(300, 4)
    weights = np.random.default_rng(1).integers(0, 4, 300)
    result = lp_regression(A, b, p, weights=weights, rng=0)
    check(A, b, p, result, weights)
    factor = weights if np.isinf(p) else weights ** (1 / p)
    plain = lp_regression(factor[:, None] * A, factor * b, p, rng=0)
    assert result.objective == pytest.approx(plain.objective, rel=1e-8)
    if p < np.inf:
        copied = lp_regression(np.repeat(A, weights, axis=0), np.repeat(b, weights), p, rng=0)
        assert result.objective == pytest.approx(copied.objective, rel=1e-8)


@pytest.mark.parametrize("p", [1, 1.5, 3, 8])
def test_complex_data(p):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((300, 4)) + 1j * rng.standard_normal((300, 4))
    b = A @ np.arange(4) + rng.standard_t(2, 300) + 1j * rng.standard_t(2, 300)
    result = lp_regression(A, b, p, tol=1e-6, rng=0)
    assert result.x.dtype == np.complex128
    assert result.converged
    value = np.linalg.norm(A @ result.x - b, p)

    def split(x):
        return np.sum(abs(A @ (x[:4] + 1j * x[4:]) - b) ** p)

    found = minimize(split, np.r_[result.x.real, result.x.imag], method="Powell").fun ** (1 / p)
    assert value <= found * (1 + 1e-6)
    assert result.lower_bound <= found * (1 + 1e-12)
    mixed = lp_regression(A.real, b, p, tol=1e-6, rng=0)
    assert mixed.x.dtype == np.complex128
    assert mixed.converged


@pytest.mark.parametrize("p", [1, 1.5, 4, np.inf])
def test_several_right_hand_sides_are_problems_of_their_own(p):
    A, b = problem(300, 4)
    B = np.stack([b, A[:, 0], 0 * b], axis=1)
    result = lp_regression(A, B, p, rng=0)
    assert result.x.shape == (4, 3)
    assert result.gap.shape == result.objective.shape == result.lower_bound.shape == (3,)
    np.testing.assert_allclose(result.x[:, 0], lp_regression(A, b, p, rng=0).x, rtol=1e-6)
    np.testing.assert_allclose(result.x[:, 1], [1, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(result.x[:, 2], 0, atol=1e-12)
    assert result.converged


@pytest.mark.parametrize("p", [1, 1.5, 3, np.inf])
def test_backends(p, backend):
    A, b = problem(300, 4)
    expected = lp_regression(A, b, p, rng=0)
    result = lp_regression(backend.array(A), backend.array(b), p, rng=0)
    np.testing.assert_allclose(backend.numpy(result.x), expected.x, rtol=1e-6)
    assert result.converged
    if p < np.inf:
        drawn = lp_regression(backend.array(A), backend.array(b), p, sample=0.5, rng=0)
        assert drawn.objective == pytest.approx(expected.objective, rel=1e-7)


@pytest.mark.parametrize("p", [1, 1.5, 3, np.inf])
def test_sparse_is_dense(p):
    A = sp.random_array((3000, 10), density=0.2, rng=np.random.default_rng(0), format="coo")
    b = np.random.default_rng(1).standard_t(2, 3000)
    expected = lp_regression(A.toarray(), b, p, rng=0)
    result = lp_regression(A, b, p, rng=0)
    assert result.objective == pytest.approx(expected.objective, rel=1e-8)
    assert result.gap <= 1e-8
    assert lp_regression(A.astype(np.float32), b, p, rng=0).x.dtype == np.float32


@pytest.mark.parametrize("p", [1, 1.5, 3, np.inf])
def test_float32_and_integers(p):
    A, b = problem(300, 4)
    A, b = A.astype(np.float32), b.astype(np.float32)
    result = lp_regression(A, b, p, rng=0)
    assert result.x.dtype == np.float32
    check(A, b, p, result)
    assert result.converged
    counts = np.random.default_rng(0).integers(0, 9, (100, 3))
    assert lp_regression(counts, counts[:, 0] * 2, p, rng=0).x.dtype == np.float64


@pytest.mark.parametrize("p", [1, 1.5, 3, np.inf])
def test_rank_deficient_data_give_the_shortest_solution(p):
    A, b = problem(300, 4)
    twice = np.hstack([A, A[:, :2], np.zeros((300, 1))])
    with pytest.warns(ConvergenceWarning, match="lp_regression: A has numerical rank 4 of 7; x is the solution of least norm"):
        result = lp_regression(twice, b, p, rng=0)
    assert result.rank == 4
    assert not result.converged
    assert "numerical range" in result.certificate.claim
    assert result.objective == pytest.approx(lp_regression(A, b, p, rng=0).objective, rel=1e-7)
    np.testing.assert_allclose(result.x[:2], result.x[4:6], atol=1e-9)
    assert result.x[6] == 0


@pytest.mark.parametrize("p", [1, 1.5, 3, np.inf])
def test_wide_zero_single_and_consistent(p):
    A, b = problem(3, 7)
    exact = lp_regression(A, b, p, rng=0)
    np.testing.assert_allclose(A @ exact.x, b, atol=1e-12)
    with pytest.warns(ConvergenceWarning, match="rank 0 of 2"):
        nothing = lp_regression(np.zeros((5, 2)), np.arange(5), p, rng=0)
    assert nothing.gap < 1e-12
    assert nothing.objective == pytest.approx(np.linalg.norm(np.arange(5), p))
    assert not nothing.x.any()
    assert lp_regression([[2.0]], [3.0], p, rng=0).x[0] == pytest.approx(1.5)
    A, _ = problem(300, 4)
    fitted = lp_regression(A, A @ np.ones(4), p, rng=0)
    np.testing.assert_allclose(fitted.x, 1, rtol=1e-10)
    assert fitted.converged


@pytest.mark.parametrize("power", [-150, 150])
@pytest.mark.parametrize("p", [1, 1.5, 3, np.inf])
def test_extreme_units(p, power):
    A, b = problem(300, 4)
    expected = lp_regression(A, b, p, rng=0)
    scale = 10.0**power
    result = lp_regression(A * scale, b, p, rng=0)
    np.testing.assert_allclose(result.x * scale, expected.x, rtol=1e-6)
    result = lp_regression(A, b * scale, p, rng=0)
    assert result.objective / scale == pytest.approx(expected.objective, rel=1e-8)
    assert result.converged


@pytest.mark.parametrize("p", [1, 1.2, 1.5, 2.5, 4])
def test_a_sample_is_polished_to_the_minimum(p):
    A, b = problem(20_000, 6)
    expected = lp_regression(A, b, p, rng=0)
    rows = sample_rows(A, p, b=b, size=600, eps=0.9, rng=0)
    with pytest.warns(ConvergenceWarning, match="the gap .* is above tol = 1e-08"):
        rough = lp_regression(A, b, p, sample=rows, polish=0, rng=0)
    suboptimal = rough.objective / expected.objective - 1
    assert 0 < suboptimal < 0.1
    assert suboptimal <= rough.gap / (1 - rough.gap)
    assert p == 1 or rough.gap < 20 * suboptimal
    fine = lp_regression(A, b, p, sample=rows, rng=0)
    assert fine.sample is rows
    assert fine.converged
    assert fine.objective == pytest.approx(expected.objective, rel=1e-7)
    assert fine.n_iter <= 12


def test_sample_by_distortion_and_one_step():
    A, b = problem(20_000, 6)
    steps = [lp_regression(A, b, 1.5, sample=0.3, polish=polish, rng=0) for polish in (0, 1, 2)]
    assert all(result.converged for result in steps)  # to the distortion that was asked for
    assert steps[0].gap > steps[1].gap > steps[2].gap
    assert [result.n_iter for result in steps] == [0, 1, 2]


def test_an_unreachable_tolerance_is_said():
    A, b = problem(300, 4)
    with pytest.warns(ConvergenceWarning, match="lp_regression: the gap .* is above tol = 1e-08"):
        result = lp_regression(A, b, 1.05, max_iter=1, rng=0)
    assert not result.converged
    check(A, b, 1.05, result)


def test_the_same_seed_gives_the_same_answer_on_one_and_two_threads():
    import numba

    A, b = problem(30_000, 8)
    one = lp_regression(A, b, 1.5, rng=3)
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))  # the fixture takes it back
    two, again = (lp_regression(A, b, 1.5, rng=3) for _ in range(2))
    np.testing.assert_allclose(one.x, two.x, rtol=1e-12)
    np.testing.assert_array_equal(two.x, again.x)


def test_inputs_stay_as_they_are():
    A, b = problem(300, 4)
    before = A.copy(), b.copy()
    for p in (1, 1.5, np.inf):
        lp_regression(A, b, p, weights=np.ones(300), rng=0)
    np.testing.assert_array_equal(A, before[0])
    np.testing.assert_array_equal(b, before[1])


A, B = problem(30, 3)
ROWS = sample_rows(problem(400, 3)[0], 1, size=200, eps=0.99, rng=0)
BAD = [
    ("p", (A, B, 0.5), {}, ValueError, "lp_regression: p must be a number of at least 1; got 0.5"),
    ("p word", (A, B, "one"), {}, TypeError, "p must be a number"),
    ("short b", (A, B[:-1], 1), {}, ValueError, r"b must have 30 rows, as many as A; got shape \(29,\)"),
    ("A", (B, B, 1), {}, ValueError, r"A must be 2-dimensional; got shape \(30,\)"),
    ("NaN", (A * np.nan, B, 1), {}, ValueError, "A must be finite; got 90 NaN"),
    ("inf b", (A, np.full(30, np.inf), 1), {}, ValueError, "b must be finite; got 30"),
    ("empty", (A[:0], B[:0], 1), {}, ValueError, "A must have at least one entry"),
    ("sparse b", (A, sp.csr_array(B[:, None]), 1), {}, TypeError, "b must be a dense array; got csr_array"),
    ("complex inf", (A * 1j, B, np.inf), {}, TypeError, "A and b must be real for p = inf"),
    ("tol", (A, B, 1), {"tol": 0}, ValueError, "tol must be a number above 0"),
    ("polish", (A, B, 1), {"polish": "well"}, ValueError, "polish must be one of 'auto'; got 'well'"),
    ("negative polish", (A, B, 1), {"polish": -1, "sample": 0.5}, ValueError, "polish must be an integer of at least 0; got -1"),
    ("max_iter", (A, B, 1), {"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
    ("weights", (A, B, 1), {"weights": -(B**2)}, ValueError, "weights must be at least 0"),
    ("weights shape", (A, B, 1), {"weights": B[:3]}, ValueError, r"weights must have shape \(30,\)"),
    ("sample inf", (A, B, np.inf), {"sample": 0.5}, ValueError, "sample must be None for p = inf"),
    ("sample eps", (A, B, 1), {"sample": 2}, ValueError, "sample must be a number between 0 and 1, ends excluded; got 2"),
    ("sample rows", (A, B, 1), {"sample": ROWS}, ValueError, "sample.indices must be from 0 to 29"),
    ("sample weights", (A, B, 1), {"sample": 0.5, "weights": B**2}, ValueError, "sample must be rows of the weighted problem"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        lp_regression(*args, **{"rng": 0, **kwargs})
