"""Plans, sweeps and Newton systems on stored costs against long double and dense algebra, for every engine."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la.kernels import gibbs, plan_newton, scaling, sparse_plan
from lowrank_la.kernels._engine import use_engine

LAYOUTS = ["C", "F", "strided", "float32"]


def problem(n, m, seed, layout="C", forbidden=False):
    rng = np.random.default_rng(seed)
    C = rng.random((n, m))
    if forbidden:
        C[rng.random((n, m)) < 0.3] = np.inf
        C[:, 0] = 0.5
        C[0] = 0.5
    f, g, a, b = rng.random(n), rng.standard_normal(m), rng.random(n) + 0.1, rng.random(m) + 0.1
    return laid_out(C, layout), f, g, a / a.sum(), b / b.sum()


def laid_out(C, layout):
    if layout == "float32":
        return C.astype(np.float32)
    if layout == "strided":
        wide = np.zeros((2 * C.shape[0], C.shape[1] + 3))
        wide[::2, 2:-1] = C
        return wide[::2, 2:-1]
    return np.array(C, order=layout)


def exact(C, g, a, eps, kappa=0.0):
    """Plan in long double: row sums a e^(-kappa h / eps) for f = h + eps log a."""
    z = (g.astype(np.longdouble) - C.astype(np.longdouble)) / eps
    top = z.max(1, keepdims=True)
    total = np.log(np.exp(z - top).sum(1)) + top[:, 0]
    f = eps * (np.log(a.astype(np.longdouble)) - total / (1 + np.longdouble(kappa)))
    return f, np.exp(z + f[:, None] / eps)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@settings(max_examples=30)
@given(
    n=st.integers(1, 40),
    m=st.integers(1, 70),
    seed=st.integers(0, 99),
    eps=st.sampled_from([1.0, 0.05, 1e-3]),
    kappa=st.sampled_from([0.0, 0.3]),
)
def test_plans_are_right_to_rounding(engine, n, m, seed, eps, kappa):
    C, f, g, a, _ = problem(n, m, seed, LAYOUTS[seed % 4], forbidden=seed % 2 == 1)
    with use_engine(engine):
        plan = gibbs.plan(C, f, g, a, eps, kappa)
    h, P = exact(C, g, a, eps, kappa)
    slack = 1e-14 * (1 + (np.abs(g).max() + 1) / eps)
    assert np.abs(plan.f - h).max() <= slack * (eps + 1)
    for got, wanted in (
        (plan.rows, P.sum(1)),
        (plan.columns, P.sum(0)),
        (plan.costs, np.where(P > 0, C, 0).astype(float) * P @ np.ones(m)),
    ):
        np.testing.assert_allclose(got, wanted.astype(float), rtol=20 * slack, atol=1e-250 * float(P.max()))
    diagonal = (P * (1 - P / P.sum(1)[:, None])).sum(0)
    assert (np.abs(plan.diagonal - diagonal) <= 20 * slack * P.sum(0) + 1e-250 * P.max()).all()
    np.testing.assert_allclose(np.minimum(plan.P[:n, :m], 1e30), np.minimum(P.astype(float), 1e30), rtol=1e-6 + 20 * slack, atol=1e-37)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_a_fixed_plan_keeps_its_potentials(engine):
    C, f, g, a, _ = problem(9, 13, 0)
    with use_engine(engine):
        plan = gibbs.plan(C, f, g, a, 0.5, 0.0, False, True)
    assert plan.P is None
    P = np.exp((f[:, None] + g - C) / 0.5)
    np.testing.assert_allclose(plan.f, f, rtol=1e-14)
    np.testing.assert_allclose(plan.rows, P.sum(1), rtol=1e-12)
    np.testing.assert_allclose(plan.columns, P.sum(0), rtol=1e-12)


def test_a_bad_guess_of_the_potentials_does_not_matter():
    C, f, g, a, _ = problem(5, 9, 1)
    good = gibbs.plan(C, f, g, a, 1e-3)
    for guess in (1e6, -1e6):
        np.testing.assert_allclose(gibbs.plan(C, f + guess, g, a, 1e-3).f, good.f, atol=1e-9)


def test_memory_of_an_earlier_plan_is_used_again():
    C, f, g, a, _ = problem(20, 30, 2)
    first = gibbs.plan(C, f, g, a, 0.1)
    second = gibbs.plan(C, f, g + 1e-3 * np.arange(30), a, 0.1, 0.0, first.P)
    assert second.P is first.P
    np.testing.assert_array_equal(second.P, gibbs.plan(C, f, g + 1e-3 * np.arange(30), a, 0.1).P)


@pytest.mark.parametrize("kappas", [(0.0, 0.0), (0.5, 0.0), (0.2, 1.5)])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_sweeps_scale_rows_and_columns(engine, kappas):
    C, f, g, a, b = problem(37, 45, 3)
    plan = gibbs.plan(C, f, g, a, 0.2)
    P, v, u, errors = plan.P[:37, :45].astype(np.float64), b / plan.columns, None, []
    with use_engine(engine):
        swept = scaling.sweeps(plan.P if engine == "cpu" else P, a, b, v, 6, kappas)
    for _ in range(6):
        t = P @ v
        errors += [] if u is None else [np.abs(u * t - a * u ** -kappas[0]).sum()]
        u = (a / t) ** (1 / (1 + kappas[0]))
        v = (b / (u @ P)) ** (1 / (1 + kappas[1]))
    np.testing.assert_allclose(swept.u, u, rtol=1e-12)
    np.testing.assert_allclose(swept.v, v, rtol=1e-12)
    np.testing.assert_allclose(swept.errors, errors, rtol=1e-6, atol=1e-14)


def schur(P, shift, kappa):
    r, c = P.sum(1), P.sum(0)
    return np.diag(c + shift) - P.T @ (P / ((1 + kappa) * r[:, None]))


@pytest.mark.parametrize("kappa", [0.0, 0.4])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_newton_systems_are_solved(engine, kappa):
    C, f, g, a, b = problem(30, 25, 4)
    plan = gibbs.plan(C, f, g, a, 0.05)
    P = plan.P[:30, :25].astype(np.float64)
    rhs, shift = b - plan.columns, 0.1 * b
    S = schur(P, shift, kappa)
    with use_engine(engine):
        y, n_iter = plan_newton.newton(plan.P if engine == "cpu" else P, rhs, np.diag(S) - shift, shift, kappa, 1e-12, 200, 30)
    assert 0 < n_iter <= 60
    np.testing.assert_allclose(S @ y, rhs, atol=1e-13)


@pytest.mark.parametrize("delta", [0.0, 1e-3, 0.1])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_sparse_newton_systems_leave_out_no_more_than_delta(engine, delta):
    C, f, g, a, b = problem(30, 25, 5)
    plan = gibbs.plan(C, f, g, a, 0.02)
    P = plan.P[:30, :25].astype(np.float64)
    kept = np.where((delta * plan.rows[:, None] / 25 < P) | (delta * plan.columns / 30 < P), P, 0)
    assert ((P - kept).sum(1) <= delta * plan.rows + 1e-15).all()
    assert ((P - kept).sum(0) <= delta * plan.columns + 1e-15).all()
    S = np.diag(plan.columns + 0.1 * b) - kept.T @ (kept / plan.rows[:, None])
    assert np.linalg.eigvalsh(S)[0] > 0
    rhs = b - plan.columns
    with use_engine(engine):
        given = plan.P if engine == "cpu" else P
        L = sparse_plan.compress(given, plan.rows, plan.columns, delta, kept.size)
        assert sparse_plan.compress(given, plan.rows, plan.columns, delta, L.nnz - 1) is None
        y, _ = sparse_plan.newton(L.data, L.indices, L.indptr, rhs, np.diag(S), plan.columns + 0.1 * b, 1 / plan.rows, 1e-12, 200)
    np.testing.assert_array_equal(L.toarray(), kept)
    np.testing.assert_allclose(S @ y, rhs, atol=1e-12)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("plain", [True, False])
def test_products_with_the_plan_and_its_transpose(engine, plain):
    C, f, g, a, b = problem(33, 70, 6)
    plan = gibbs.plan(C, f, g, a, 0.3)
    P = plan.P[:33, :70].astype(np.float64)
    with use_engine(engine):
        t, z = plan_newton.product(plan.P if engine == "cpu" else P, b, a, plain)
    np.testing.assert_allclose(t, P @ b, rtol=1e-12)
    np.testing.assert_allclose(z, P.T @ (a if plain else a * (P @ b)), rtol=1e-12)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_transforms_are_exact_minima(engine, layout):
    C, f, g, _, _ = problem(21, 34, 7, layout, forbidden=True)
    with use_engine(engine):
        rows, columns = gibbs.transforms(C, f, g)
    wide = C.astype(np.float64)
    assert np.array_equal(rows, (wide - g).min(1))
    assert np.array_equal(columns, (wide - f[:, None]).min(0))


def test_other_libraries(backend):
    C, f, g, a, b = problem(12, 9, 8)
    plan = gibbs.plan(backend.array(C), f, g, a, 0.1)
    expected = gibbs.plan(C, f, g, a, 0.1)
    np.testing.assert_allclose(plan.columns, expected.columns, rtol=1e-12)
    swept, plain = scaling.sweeps(plan.P, a, b, b / plan.columns, 3), scaling.sweeps(expected.P, a, b, b / plan.columns, 3)
    np.testing.assert_allclose(swept.v, plain.v, rtol=1e-5)


def test_same_bits_for_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    C, f, g, a, b = problem(300, 200, 9)
    answers, threads = [], numba.get_num_threads()
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            plan = gibbs.plan(C, f, g, a, 0.05)
            swept = scaling.sweeps(plan.P, a, b, b / plan.columns, 3)
            step = plan_newton.newton(plan.P, b - plan.columns, plan.diagonal, 0.1 * b, 0.0, 1e-6, 50, 300)[0]
            answers.append((plan.columns, plan.P, swept.v, step, *gibbs.transforms(C, f, g)))
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(x, y) for x, y in zip(*answers, strict=True))
