"""`sinkhorn`: brackets against linear programs, plans against long iterations in the log domain, every kind of input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from lowrank_la import ConvergenceWarning
from lowrank_la.transport import _problem, sinkhorn
from tests.transport import oracles

seeds = st.integers(0, 10_000)


def spread(C):
    return float(C.max() - C.min()) or 1.0


@settings(max_examples=60)
@given(seed=seeds, sharp=st.sampled_from([1.0, 1e-1, 1e-2, 1e-3, 1e-5]))
def test_the_bracket_holds_the_least_cost(seed, sharp):
    C, a, b = oracles.problem(seed)
    result = sinkhorn(C, a, b, sharp * spread(C))
    least = oracles.exact(C, a, b)
    rounding = 2e-9 * np.abs(C).max()  # of the oracle
    assert result.lower_bound <= least + rounding
    assert least <= result.upper_bound + rounding
    assert result.certificate.bound == pytest.approx(result.upper_bound - result.lower_bound)
    assert result.certificate.bound <= (np.log(len(a) * len(b)) + 1) * 2 * result.reg + 1e-6 * spread(C)


@settings(max_examples=40)
@given(seed=seeds, sharp=st.sampled_from([0.3, 0.05, 0.02]), method=st.sampled_from(["auto", "newton-sparse", "sinkhorn"]))
def test_the_plan_is_that_of_a_long_iteration(seed, sharp, method):
    C, a, b = oracles.problem(seed)
    reg = sharp * spread(C)
    result = sinkhorn(C, a, b, reg, method=method, tol=1e-11)
    P = oracles.plan(C, a, b, reg, *oracles.plain(C, a, b, reg))
    assert result.converged
    assert np.abs(result.plan() - P).sum() <= 1e-8
    assert result.value == pytest.approx(oracles.objective(C, a, b, reg, P), abs=1e-9 * spread(C) + 1e-12 * np.abs(C).max())


@settings(max_examples=40)
@given(seed=seeds)
def test_plans_have_the_sums_that_are_stated(seed):
    C, a, b = oracles.problem(seed)
    result = sinkhorn(C, a, b, 0.01 * spread(C))
    P, feasible = result.plan(), result.plan(feasible=True)
    rounding = 1e-12 + 1e-15 * np.abs(C).max() / result.reg  # of exponents
    assert np.abs(P.sum(1) - a).sum() <= result.row_error + rounding
    assert np.abs(P.sum(0) - b).sum() <= result.column_error + rounding
    assert result.transport_cost == pytest.approx(np.sum(C * P), abs=1e-11 * np.abs(C).max())
    assert feasible.min() >= 0
    assert max(np.abs(feasible.sum(1) - a).sum(), np.abs(feasible.sum(0) - b).sum()) <= rounding
    assert np.sum(C * feasible) <= result.upper_bound
    assert np.sum(C * feasible) == pytest.approx(result.upper_bound, abs=1e-10 * np.abs(C).max())


@settings(max_examples=20)
@given(seed=seeds, scale=st.floats(1e-6, 1e6))
def test_scaling_shifting_and_transposing_costs(seed, scale):
    C, a, b = oracles.problem(seed)
    reg = 0.05 * spread(C)
    u, v = np.random.default_rng(seed).random(len(a)) * spread(C), np.arange(len(b)) * 0.1 * spread(C)
    first = sinkhorn(C, a, b, reg, tol=1e-12)
    for other in (
        sinkhorn(scale * C, a, b, scale * reg, tol=1e-12).plan(),
        sinkhorn(C + u[:, None] + v, a, b, reg, tol=1e-12).plan(),
        sinkhorn(np.ascontiguousarray(C.T), b, a, reg, tol=1e-12).plan().T,
        sinkhorn(np.asfortranarray(C), a, b, reg, tol=1e-12).plan(),
    ):
        assert np.abs(first.plan() - other).sum() <= 1e-9


@pytest.mark.parametrize("n", [1, 2, 7, 200])
def test_an_assignment_is_found_as_the_regularisation_vanishes(n):
    C = np.random.default_rng(n).random((n, n))
    least = C[linear_sum_assignment(C)].mean()
    result = sinkhorn(C, reg=1e-6)
    assert result.lower_bound <= least + 1e-15
    assert least <= result.upper_bound
    assert result.certificate.bound < 1e-6


def test_newton_meets_a_tolerance_that_sweeps_miss():
    rng = np.random.default_rng(0)
    X, Y = rng.random((300, 2)), rng.random((300, 2))
    C = ((X[:, None] - Y) ** 2).sum(-1)
    fast = sinkhorn(C, reg=C.max() / 5000)
    assert fast.converged
    assert fast.n_iter < 200
    with pytest.warns(ConvergenceWarning, match="marginal error"):
        slow = sinkhorn(C, reg=C.max() / 5000, method="sinkhorn", max_iter=300)
    assert not slow.converged
    assert slow.n_iter <= 300
    assert slow.lower_bound <= fast.upper_bound
    assert fast.lower_bound <= slow.upper_bound


def test_the_dual_value_rises_and_is_below_the_objective_of_any_plan():
    C, a, b = oracles.problem(9)
    reg = 0.03 * spread(C)
    best = sinkhorn(C, a, b, reg, tol=1e-12)
    for f in (0.0, 1.0):
        P = best.plan(feasible=True) * (1 - f) + f * np.outer(a, b)
        assert best.value <= oracles.objective(C, a, b, reg, P) + 1e-9 * spread(C)


def test_zero_weights_have_potentials_and_no_mass():
    rng = np.random.default_rng(3)
    C, a, b = rng.random((6, 5)), np.array([0.5, 0, 0.2, 0.3, 0, 0]), np.array([0, 0.25, 0.25, 0.5, 0])
    result = sinkhorn(C, a, b, 0.1, tol=1e-13)
    f, g = oracles.plain(C, a, b, 0.1)
    shift = (a @ f - b @ g) / 2
    np.testing.assert_allclose(result.f, f - shift, atol=1e-10)
    np.testing.assert_allclose(result.g, g + shift, atol=1e-10)
    P = result.plan()
    assert (P[a == 0] == 0).all()
    assert (P[:, b == 0] == 0).all()
    assert result.plan(feasible=True)[a == 0].sum() == 0


def test_masses_other_than_one():
    C, a, b = oracles.problem(5)
    one, seven = sinkhorn(C, a, b, 0.1 * spread(C)), sinkhorn(C, 7 * a, 7 * b, 0.1 * spread(C))
    np.testing.assert_allclose(7 * one.plan(), seven.plan(), atol=1e-12)
    for name in ("value", "lower_bound", "upper_bound", "transport_cost"):
        assert 7 * getattr(one, name) == pytest.approx(getattr(seven, name))


def test_constant_costs_give_the_product():
    a, b = np.array([0.25, 0.75]), np.array([0.5, 0.3, 0.2])
    result = sinkhorn(np.full((2, 3), 4.0), a, b)
    np.testing.assert_allclose(result.plan(), np.outer(a, b), atol=1e-15)
    assert result.value == pytest.approx(4)
    assert result.lower_bound <= 4 <= result.upper_bound


def test_huge_offsets_and_tiny_regularisation():
    rng = np.random.default_rng(1)
    C = rng.random((20, 20))
    least = C[linear_sum_assignment(C)].mean()
    offset = sinkhorn(C + 1e6, reg=1e-3)
    assert offset.lower_bound <= least + 1e6 <= offset.upper_bound
    tiny = sinkhorn(C, reg=1e-300)
    assert tiny.reg > 1e-300
    assert tiny.lower_bound <= least + 1e-15
    assert least <= tiny.upper_bound
    assert np.isfinite(tiny.plan()).all()


def test_a_warm_start_saves_work_and_is_exact():
    rng = np.random.default_rng(2)
    C = rng.random((100, 90))
    cold = sinkhorn(C, reg=0.01)
    warm = sinkhorn(C, reg=0.009, init=(cold.f, cold.g))
    assert warm.n_iter < sinkhorn(C, reg=0.009).n_iter
    assert warm.converged
    again = sinkhorn(C, reg=0.01, init=(cold.f, cold.g))
    assert again.n_iter == 0


def test_stopping_by_callback_is_no_warning():
    steps = []
    result = sinkhorn(np.random.default_rng(0).random((50, 50)), reg=1e-4, callback=lambda step: steps.append(step) or len(steps) == 2)
    assert len(steps) == len(result.history) == 2
    assert steps[0].reg > steps[1].reg
    assert not result.converged
    assert result.lower_bound <= result.upper_bound < np.inf


@pytest.mark.parametrize("penalty", [0.05, 1.0, (0.3, np.inf), (np.inf, 2.0), (0.1, 5.0)])
@pytest.mark.parametrize("seed", [1, 4, 6])
def test_unbalanced_plans(seed, penalty):
    rng = np.random.default_rng(seed)
    C, a, b = rng.random((13, 17)), 2 * rng.random(13), rng.random(17)
    rhos = penalty if isinstance(penalty, tuple) else (penalty, penalty)
    result = sinkhorn(C, a, b, 0.05, unbalanced=penalty, tol=1e-12)
    P = oracles.plan(C, a, b, 0.05, *oracles.plain(C, a, b, 0.05, rhos=rhos))
    assert result.converged
    np.testing.assert_allclose(result.plan(), P, atol=1e-9)
    if np.isfinite(rhos).all():
        value = oracles.objective(C, a, b, 0.05, P, rhos)
        assert result.lower_bound <= value + 1e-12
        assert value <= result.upper_bound + 1e-9
        assert result.certificate.bound < 1e-9


def test_a_high_penalty_is_the_balanced_problem():
    C, a, b = oracles.problem(8)
    reg = 0.1 * spread(C)
    balanced, dear = sinkhorn(C, a, b, reg), sinkhorn(C, a, b, reg, unbalanced=1e7 * spread(C))
    np.testing.assert_allclose(balanced.plan(), dear.plan(), atol=1e-6)


def test_sparse_plans_products_and_partners():
    rng = np.random.default_rng(4)
    X, Y = rng.random((60, 2)), rng.random((50, 2))
    result = sinkhorn((X, Y), reg=1e-3)
    P = result.plan()
    sparse = result.plan("sparse", threshold=1e-9)
    assert sparse.nnz < 0.5 * P.size
    np.testing.assert_allclose(sparse.toarray(), P, atol=1e-9)
    V = rng.random((50, 3))
    np.testing.assert_allclose(result.apply(V), P @ V, atol=1e-14)
    np.testing.assert_allclose(result.apply(X, adjoint=True), P.T @ X, atol=1e-14)
    np.testing.assert_allclose(result.barycentric(), P @ Y / P.sum(1)[:, None], rtol=1e-10)
    np.testing.assert_allclose(result.barycentric(V), P @ V / P.sum(1)[:, None], rtol=1e-10)


COSTS = {
    "sqeuclidean": lambda X, Y: ((X[:, None] - Y) ** 2).sum(-1),
    "euclidean": lambda X, Y: np.sqrt(((X[:, None] - Y) ** 2).sum(-1)),
    "cosine": lambda X, Y: 1 - (X / np.linalg.norm(X, axis=1)[:, None]) @ (Y / np.linalg.norm(Y, axis=1)[:, None]).T,
    "function": lambda X, Y: np.abs(X[:, None] - Y).sum(-1),
}


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("d", [1, 3, 20])
@pytest.mark.parametrize("cost", COSTS)
def test_clouds_are_their_cost_matrix(monkeypatch, cost, d, stored):
    rng = np.random.default_rng(d)
    X, Y = rng.standard_normal((70, d)) + 1, rng.standard_normal((45, d)) + 2
    a, b = rng.random(70), rng.random(45)
    a[3] = 0
    a, b = a / a.sum(), b / b.sum()
    C = COSTS[cost](X, Y)
    reg = 0.02 * spread(C)
    expected = sinkhorn(C, a, b, reg)
    monkeypatch.setattr(_problem, "STORED", 1 << 25 if stored else 0)
    result = sinkhorn((X, Y), a, b, reg, cost=COSTS[cost] if cost == "function" else cost, tol=1e-9)
    assert result.converged
    assert np.abs(result.plan() - expected.plan()).sum() <= 1e-7
    np.testing.assert_allclose(result.f, expected.f, atol=1e-5 * spread(C))
    assert result.lower_bound <= expected.upper_bound
    assert expected.lower_bound <= result.upper_bound
    assert result.upper_bound == pytest.approx(expected.upper_bound, abs=1e-7 * spread(C))


def test_unstored_clouds_by_sweeps_and_unbalanced(monkeypatch):
    rng = np.random.default_rng(0)
    X, Y = rng.random((60, 2)), rng.random((50, 2)) ** 2
    options = [{"method": "sinkhorn"}, {"unbalanced": 0.5}, {"unbalanced": (np.inf, 0.3)}]
    expected = [sinkhorn((X, Y), reg=0.05, tol=1e-8, **option).plan() for option in options]
    monkeypatch.setattr(_problem, "STORED", 0)
    for option, P in zip(options, expected, strict=True):
        np.testing.assert_allclose(sinkhorn((X, Y), reg=0.05, tol=1e-8, **option).plan(), P, atol=1e-7)


def test_every_library_gives_the_same(backend):
    rng = np.random.default_rng(7)
    C, a, b = rng.random((30, 25)), rng.random(30), rng.random(25)
    a, b = a / a.sum(), b / b.sum()
    a[2] = 0
    a = a / a.sum()
    expected = sinkhorn(C, a, b, 0.005)
    result = sinkhorn(backend.array(C), backend.array(a), backend.array(b), 0.005)
    assert result.converged
    np.testing.assert_allclose(backend.numpy(result.plan()), expected.plan(), atol=1e-9)
    np.testing.assert_allclose(backend.numpy(result.f), expected.f, atol=1e-7)
    np.testing.assert_allclose(backend.numpy(result.apply(backend.array(b))), expected.apply(b), atol=1e-9)
    X, Y = rng.random((30, 2)), rng.random((25, 2))
    clouds = sinkhorn((backend.array(X), backend.array(Y)), reg=0.01)
    np.testing.assert_allclose(backend.numpy(clouds.barycentric()), sinkhorn((X, Y), reg=0.01).barycentric(), atol=1e-7)


@pytest.mark.parametrize("method", ["auto", "newton-sparse"])
def test_libraries_that_take_references_find_sharp_plans(backend, method):
    C = np.random.default_rng(1).random((40, 40))
    result = sinkhorn(backend.array(C), reg=1e-4, method=method)
    assert result.converged
    assert result.lower_bound <= C[linear_sum_assignment(C)].mean() <= result.upper_bound


def test_float32_keeps_its_dtype_and_the_bracket_of_its_costs(backend):
    rng = np.random.default_rng(5)
    C = rng.random((40, 40)).astype(np.float32)
    result = sinkhorn(backend.array(C), reg=1e-3)
    assert result.converged
    assert backend.numpy(result.plan()).dtype == np.float32
    assert backend.numpy(result.f).dtype == np.float64
    wide = C.astype(np.float64)
    assert result.lower_bound <= wide[linear_sum_assignment(wide)].mean() <= result.upper_bound


def test_integers_are_costs():
    C = np.random.default_rng(5).integers(0, 9, (12, 12))
    result = sinkhorn(C, reg=0.01)
    assert result.lower_bound <= C[linear_sum_assignment(C)].mean() <= result.upper_bound


def test_inputs_stay_as_they_are():
    C, a, b = oracles.problem(12)
    copies = C.copy(), a.copy(), b.copy()
    sinkhorn(C, a, b, 0.01 * spread(C), init=(np.zeros(len(a)), np.zeros(len(b))))
    assert all(np.array_equal(x, y) for x, y in zip((C, a, b), copies, strict=True))


def test_same_bits_for_any_number_of_threads():
    import numba

    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    C = np.random.default_rng(0).random((400, 400))
    threads, answers = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            answers.append(sinkhorn(C, reg=1e-3))
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(answers[0].f, answers[1].f)
    assert answers[0].upper_bound == answers[1].upper_bound


GOOD = np.random.default_rng(0).random((4, 3))
BAD = [
    ("vector", (np.ones(3),), {}, ValueError, r"sinkhorn: C must be 2-dimensional; got shape \(3,\)"),
    ("empty", (np.ones((0, 3)),), {}, ValueError, "sinkhorn: C must have at least one entry"),
    ("complex", (GOOD + 1j,), {}, TypeError, "sinkhorn: C must be real"),
    ("nan", (GOOD * np.nan,), {}, ValueError, "sinkhorn: C must have no NaN and no -inf entry; got 12 out of 12"),
    ("minus inf", (GOOD - np.inf,), {}, ValueError, "no NaN and no -inf"),
    ("all forbidden", (GOOD + np.inf,), {}, ValueError, "sinkhorn: C must allow some pair"),
    ("a short", (GOOD, np.ones(3)), {}, ValueError, r"sinkhorn: a must have shape \(4,\); got \(3,\)"),
    ("negative", (GOOD, np.array([1, 1, -1, 1.0])), {}, ValueError, "sinkhorn: a must not be negative; got -1 at index 2"),
    ("zero", (GOOD, None, np.zeros(3)), {}, ValueError, "sinkhorn: b must have a positive entry"),
    ("nan weight", (GOOD, None, np.array([1, np.nan, 1])), {}, ValueError, "sinkhorn: b must be finite"),
    ("masses", (GOOD, np.ones(4), np.ones(3)), {}, ValueError, "sinkhorn: a and b must have the same mass unless"),
    ("reg", (GOOD, None, None, 0.0), {}, ValueError, "sinkhorn: reg must be a number above 0"),
    ("method", (GOOD,), {"method": "emd"}, ValueError, "sinkhorn: method must be one of"),
    ("cost", ((GOOD, GOOD),), {"cost": "manhattan"}, ValueError, "sinkhorn: cost must be one of"),
    ("clouds", ((GOOD, GOOD, GOOD),), {}, ValueError, "pair of clouds"),
    ("dimensions", ((GOOD, GOOD[:, :2]),), {}, ValueError, r"sinkhorn: Y must have shape \(4, 3\)"),
    ("zero row", ((GOOD, 0 * GOOD),), {"cost": "cosine"}, ValueError, "sinkhorn: Y must have no zero row"),
    ("init", (GOOD,), {"init": np.zeros(4)}, TypeError, "sinkhorn: init must be a pair"),
    ("init shape", (GOOD,), {"init": (np.zeros(4), np.zeros(4))}, ValueError, r"init\[1\] must have shape \(3,\)"),
    ("tol", (GOOD,), {"tol": -1}, ValueError, "sinkhorn: tol must be"),
    ("max_iter", (GOOD,), {"max_iter": 0}, ValueError, "sinkhorn: max_iter must be"),
    ("unbalanced", (GOOD,), {"unbalanced": 0.0}, ValueError, "sinkhorn: unbalanced must be"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_one_clear_error(args, options, error, message):
    with pytest.raises(error, match=message):
        sinkhorn(*args, **options)


def test_bad_requests_of_a_result():
    result = sinkhorn(GOOD, reg=0.1)
    with pytest.raises(ValueError, match="kind must be one of"):
        result.plan("csc")
    with pytest.raises(ValueError, match="a feasible plan is dense"):
        result.plan("sparse", feasible=True)
    with pytest.raises(ValueError, match="Y must be given"):
        result.barycentric()
    with pytest.raises(ValueError, match="V must have 3 rows"):
        result.apply(np.ones(4))
    with pytest.raises(ValueError, match="balanced"):
        sinkhorn(GOOD, reg=0.1, unbalanced=1.0).plan(feasible=True)


def published(kind):
    """Problems of the paper on sparse Newton iterations; images of digits that scikit-learn bundles, enlarged, stand in for MNIST."""
    if kind == "assignment":
        return np.random.default_rng(0).random((500, 500)), None, None
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    a, b = (np.maximum(zoom(image, 3.5, order=1), 0).ravel() + 0.01 for image in load_digits().images[[3, 8]])
    x = np.stack(np.meshgrid(np.arange(28.0), np.arange(28.0)), -1).reshape(-1, 2)
    apart = np.abs(x[:, None] - x)
    C = (apart**2).sum(-1) if kind == "L2" else apart.sum(-1)
    return C / C.max(), a / a.sum(), b / b.sum()


@pytest.mark.parametrize(("kind", "sweeps", "steps"), [("assignment", 20, 9), ("L2", 20, 33), ("L1", 700, 77)])
def test_newton_steps_are_within_the_published_counts(kind, sweeps, steps):
    """The published counts are sweeps + Newton steps to machine precision at eta = 1200; our sweeps include those of coarser levels."""
    result = sinkhorn(*published(kind), 1 / 1200, tol=1e-12)
    assert result.converged
    assert result.n_newton <= steps
    assert result.n_sweeps <= max(sweeps, 40)
