"""The row solvers: against long double, against each other, on every backend and thread count, and on awkward rows."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import _als_gram, als_rows, compress
from lowrank_la.kernels._engine import use_engine
from tests import oracles_rows as oracles

EPS = float(np.finfo(float).eps)
ENOUGH = {"chol": 1, "cg": 60, "sketch": 80, "nonneg": 400}  # steps that bring a well conditioned row to rounding


def solve(rows, **more):
    return als_rows.solve(*rows.data, **{**rows.options, **more})


def case(seed, m=25, n=30, k=4, dtype=np.float64, index=np.int32, density=0.5):
    """Rows with every option, ridges of at least 0.1."""
    rng = np.random.default_rng(seed)
    rows = oracles.problem(rng, m, n, k, density, dtype, index)
    root = rng.standard_normal((k, k))
    options = {
        "ridge": rng.uniform(0.1, 2, m),
        "metric": rng.uniform(0.5, 2, k),
        "gram": root @ root.T / k,
        "offset": rng.standard_normal(n),
        "weights": rng.uniform(0, 2, len(rows.values)),
    }
    return replace(rows, options=options)


def dense_rows(seed, m, n, k, noise=0.1, **options):
    """Rows with all n entries, close to a product."""
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((n, k))
    values = (rng.standard_normal((m, k)) @ F.T + noise * rng.standard_normal((m, n))).ravel()
    return oracles.Rows(values, np.tile(np.arange(n, dtype=np.int32), m), n * np.arange(m + 1), F, options)


@given(st.integers(0, 9999), st.integers(1, 40), st.sampled_from([np.float32, np.float64]), st.sampled_from([np.int32, np.int64]))
def test_cholesky_matches_long_double(seed, k, dtype, index):
    rows = case(seed, k=k, dtype=dtype, index=index)
    answer = solve(rows)
    wanted = oracles.solve(rows)
    error = abs(answer.X - wanted).max()
    assert answer.X.dtype == dtype
    assert error <= 20 * k * EPS * oracles.condition(rows) * (1 + abs(wanted).max()) + np.finfo(dtype).eps * abs(wanted).max()
    squares = oracles.objective(rows, np.zeros_like(wanted)).max()
    np.testing.assert_allclose(answer.loss, oracles.objective(rows, wanted).astype(float), rtol=0, atol=1e-12 * (1 + squares))


@pytest.mark.parametrize("k", [1, 3, 7, 8, 15, 16, 23, 24, 31, 32, 47, 63, 95, 96, 200])
@pytest.mark.parametrize("fast", [False, True])
def test_every_width_of_the_tiles(k, fast):
    rows = dense_rows(k, m=11, n=2 * k + 300, k=k, ridge=np.full(11, 1e-3))
    wanted = oracles.solve(rows).astype(float) if k < 100 else np.linalg.lstsq(rows.F, rows.values.reshape(11, -1).T)[0].T
    got = solve(rows, fast=fast).X
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5 * k**0.5 if fast else 1e-10 if k < 100 else 1e-4)


@pytest.mark.parametrize("method", ["cg", "sketch"])
@pytest.mark.parametrize("k", [1, 5, 20, 33, 70])
@pytest.mark.parametrize("fast", [False, True])
def test_iterations_converge_to_cholesky(method, k, fast):
    rows = dense_rows(k, m=6, n=20 * k + 50, k=k, ridge=np.full(6, 0.1))
    direct, iterated = solve(rows), solve(rows, method=method, steps=100, fast=fast)
    np.testing.assert_allclose(iterated.X, direct.X, rtol=0, atol=3e-5 if fast else 1e-11)
    np.testing.assert_allclose(iterated.loss, direct.loss, rtol=1e-10, atol=3e-6 * np.sum(rows.values**2) / 6 if fast else 0)
    assert iterated.residual.max() < (1e-5 if fast else 1e-12)


def test_k_steps_of_conjugate_gradients_are_exact():
    rows = dense_rows(1, m=9, n=60, k=6)
    np.testing.assert_allclose(solve(rows, method="cg", steps=6).X, solve(rows).X, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ["cg", "sketch"])
def test_each_step_lowers_the_objective(method):
    rows = dense_rows(2, m=8, n=900, k=30)
    start = np.random.default_rng(0).standard_normal((8, 30))
    losses = [solve(rows, method=method, steps=steps, start=start).loss for steps in range(6)]
    np.testing.assert_allclose(losses[0], oracles.objective(rows, start).astype(float), rtol=1e-11)
    for before, after in itertools.pairwise(losses):
        assert np.all(after < before)
    best = solve(rows).loss
    if method == "sketch":
        assert np.all(losses[4] - best < (losses[0] - best) / 4**4)


@pytest.mark.parametrize("method", ["cg", "sketch", "nonneg"])
def test_a_solution_stays(method):
    rows = dense_rows(3, m=8, n=700, k=10)
    solution = solve(rows, method=method, steps=ENOUGH[method]).X
    again = solve(rows, method=method, steps=2, start=solution)
    np.testing.assert_allclose(again.X, solution, rtol=0, atol=1e-10)


def test_no_residual_is_no_division_by_zero():
    rows = dense_rows(4, m=3, n=40, k=5)
    nothing = replace(rows, values=0 * rows.values)
    for method in als_rows.METHODS:
        answer = solve(nothing, method=method, steps=5)
        assert not answer.X.any()
        assert not answer.loss.any()


@given(st.integers(0, 9999), st.integers(1, 12))
def test_nonnegative_solutions_meet_the_optimality_conditions(seed, k):
    rows = case(seed, m=10, k=k)
    answer = solve(rows, method="nonneg", steps=3000)
    assert np.all(answer.X >= 0)
    for i, x in enumerate(answer.X):
        A, y = rows.row(i)
        if len(y):
            gradient = A.T @ (A @ x - y) + rows.penalty(i) @ x
            tolerance = 1e-8 * (1 + float(abs(A.T @ y).max()))
            assert np.all(gradient >= -tolerance)
            assert abs(x @ gradient) <= tolerance * (1 + x.sum())
    np.testing.assert_allclose(answer.loss, oracles.objective(rows, answer.X).astype(float), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("method", als_rows.METHODS)
@pytest.mark.parametrize("fast", [False, True])
def test_weight_two_is_two_equal_entries(method, fast):
    rows = case(5, k=5)
    heavy = np.where(np.arange(len(rows.values)) % 3 == 0, 2.0, 1.0)
    copies = heavy.astype(int)
    row = np.repeat(np.arange(25), np.diff(rows.indptr))
    indptr = np.searchsorted(np.repeat(row, copies), np.arange(26))
    options = {**rows.options, "weights": None}
    twice = oracles.Rows(np.repeat(rows.values, copies), np.repeat(rows.indices, copies), indptr, rows.F, options)
    weighted = replace(rows, options={**options, "weights": heavy})
    a, b = (solve(x, method=method, steps=4, fast=fast) for x in (weighted, twice))
    np.testing.assert_allclose(a.X, b.X, rtol=0, atol=1e-5 if fast else 1e-12)
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-4 if fast else 1e-12)


@pytest.mark.parametrize("method", als_rows.METHODS)
def test_an_offset_is_a_change_of_the_targets(method):
    rows = case(6)
    shifted = replace(rows, values=rows.values - rows.options["offset"][rows.indices], options={**rows.options, "offset": None})
    np.testing.assert_allclose(solve(rows, method=method).X, solve(shifted, method=method).X, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", als_rows.METHODS)
@pytest.mark.parametrize("fast", [False, True])
def test_awkward_rows_give_finite_answers(method, fast):
    k = 6
    lengths = [0, 1, 2, k - 1, k, 40, 0]
    rng = np.random.default_rng(7)
    indptr = np.append(0, np.cumsum(lengths))
    indices = np.concatenate([rng.choice(50, length, replace=False) for length in lengths]).astype(np.int32)
    F = rng.standard_normal((50, k))
    F[:, 3] = F[:, 0]  # twins
    F[10] = 0
    rows = oracles.Rows(rng.standard_normal(indptr[-1]), indices, indptr, F)
    answer = solve(rows, method=method, steps=ENOUGH[method], fast=fast)
    assert all(np.all(np.isfinite(part)) for part in answer)
    assert not answer.X[[0, 6]].any()
    assert abs(answer.X).max() < 1e4
    if method == "chol":
        assert np.all(answer.pivot < (1e-5 if fast else 1e-11))


def test_short_rows_get_the_shortest_solution():
    rng = np.random.default_rng(8)
    k, lengths = 6, [1, 2, 4, 5]
    indptr = np.append(0, np.cumsum(lengths))
    rows = oracles.Rows(rng.standard_normal(12), rng.permutation(12).astype(np.int32), indptr, rng.standard_normal((12, k)))
    for i in range(4):
        A, y = rows.row(i)
        shortest = np.linalg.lstsq(A.astype(float), y.astype(float))[0]
        np.testing.assert_allclose(solve(rows).X[i], shortest, rtol=0, atol=1e-5)
        np.testing.assert_allclose(solve(rows, fast=True).X[i], shortest, rtol=0, atol=0.1)


def test_the_pivot_tells_determined_rows_from_others():
    rng = np.random.default_rng(9)
    good, bad = rng.standard_normal((40, 5)), rng.standard_normal((40, 5))
    bad[:, 4] = bad[:, 0] + bad[:, 1]
    rows = oracles.Rows(
        rng.standard_normal(80), np.arange(80, dtype=np.int32), np.array([0, 40, 80]), np.vstack([good, bad]), {"ridge": np.full(2, 1e-9)}
    )
    for method in ("chol", "sketch"):
        pivot = solve(rows, method=method).pivot
        assert pivot[0] > 0.1
        assert pivot[1] < 1e-9


def test_a_constant_row_with_a_free_bias_is_fitted_exactly():
    F = np.column_stack([np.random.default_rng(10).standard_normal((30, 3)), np.ones(30)])
    options = {"ridge": np.full(2, 1e3), "metric": np.array([1.0, 1.0, 1.0, 0.0])}
    rows = oracles.Rows(np.full(60, 7.0), np.tile(np.arange(30, dtype=np.int32), 2), np.array([0, 30, 60]), F, options)
    np.testing.assert_allclose(solve(rows).X, [[0, 0, 0, 7]] * 2, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("fast", [False, True])
def test_answers_scale_with_the_data(scale, fast):
    rows = dense_rows(11, m=5, n=80, k=4)
    wanted = solve(rows, fast=fast).X
    np.testing.assert_allclose(solve(replace(rows, values=scale * rows.values), fast=fast).X, scale * wanted, rtol=1e-4 if fast else 1e-11)
    np.testing.assert_allclose(solve(replace(rows, F=scale * rows.F), fast=fast).X, wanted / scale, rtol=1e-4 if fast else 1e-11)


def test_heavy_rows_are_summed_in_chunks(monkeypatch):
    n = 3000
    rng = np.random.default_rng(12)
    lengths = [n, 5, n - 7, 0, 300]
    indptr = np.append(0, np.cumsum(lengths))
    indices = np.concatenate([np.sort(rng.choice(n, length, replace=False)) for length in lengths]).astype(np.int32)
    F = rng.standard_normal((n, 6))
    rows = oracles.Rows(rng.standard_normal(indptr[-1]), indices, indptr, F, {"ridge": np.ones(5)})
    repeated = replace(rows, indptr=indptr * 100, values=np.repeat(rows.values, 100), indices=np.repeat(indices, 100))
    assert np.diff(repeated.indptr).max() > _als_gram.HEAVY
    weighted = replace(rows, options={"ridge": np.ones(5), "weights": np.full(indptr[-1], 100.0)})
    for method in ("chol", "nonneg", "sketch", "cg"):
        a, b = (solve(x, method=method, steps=30) for x in (repeated, weighted))
        np.testing.assert_allclose(a.X, b.X, rtol=0, atol=1e-12)
        np.testing.assert_allclose(a.loss, b.loss, rtol=1e-10)


def test_float32_sums_stay_accurate_over_many_entries():
    rows = dense_rows(13, m=2, n=60000, k=3, noise=0.01)
    np.testing.assert_allclose(solve(rows, fast=True).X, solve(rows).X, rtol=0, atol=2e-6)


@pytest.mark.parametrize("method", als_rows.METHODS)
@pytest.mark.parametrize("fast", [False, True])
def test_rows_do_not_depend_on_threads_or_on_each_other(method, fast):
    rows = case(15, m=130, n=60, k=9)
    both = solve(rows, method=method, fast=fast)
    with limit_threads(1):
        alone = solve(rows, method=method, fast=fast)
    for a, b in zip(both, alone, strict=True):
        np.testing.assert_array_equal(a, b)
    first, last = rows.indptr[57], rows.indptr[73]
    options = {**rows.options, "ridge": rows.options["ridge"][57:73], "weights": rows.options["weights"][first:last]}
    part = oracles.Rows(rows.values[first:last], rows.indices[first:last], rows.indptr[57:74] - first, rows.F, options)
    np.testing.assert_array_equal(solve(part, method=method, fast=fast).X, both.X[57:73])


def test_the_transposed_problem_is_the_same_with_sides_swapped():
    rng = np.random.default_rng(16)
    rows = oracles.problem(rng, 40, 30, 3, 0.6)
    indptr, indices, values = compress.transpose(rows.values, rows.indices, rows.indptr, 30)
    back = compress.transpose(values, indices, indptr, 40)
    again = oracles.Rows(back[2], back[1], back[0], rows.F)
    np.testing.assert_array_equal(solve(rows).X, solve(again).X)


@pytest.mark.parametrize("method", als_rows.METHODS)
def test_backends_agree(backend, method):
    rows = case(17)
    options = {name: backend.array(x) for name, x in rows.options.items()}
    steps = 80 if method == "sketch" else 3
    got = als_rows.solve(*map(backend.array, rows.data), **options, method=method, steps=steps)
    wanted = solve(rows, method=method, steps=steps)
    for name, ours, theirs in zip(als_rows.Rows._fields, got, wanted, strict=True):
        if not (name == "residual" and method == "sketch"):
            np.testing.assert_allclose(backend.numpy(ours), theirs, rtol=1e-10, atol=1e-10, err_msg=name)


def test_no_rows_and_no_entries():
    F, empty, none = np.ones((3, 2)), np.empty(0), np.empty(0, np.int32)
    for engine in ("reference", "cpu"):
        with use_engine(engine):
            for method in als_rows.METHODS:
                assert als_rows.solve(empty, none, np.zeros(1, np.int64), F, method=method).X.shape == (0, 2)
                assert not als_rows.solve(empty, none, np.zeros(5, np.int64), F, method=method).X.any()


@pytest.mark.cudasim
@pytest.mark.parametrize("method", als_rows.METHODS)
@pytest.mark.parametrize("fast", [False, True])
def test_cuda_agrees_in_the_simulator(method, fast):
    rows = case(18, m=4, n=9, k=3)
    answers = []
    for engine in ("reference", "cuda"):
        with use_engine(engine):
            answers.append(solve(rows, method=method, steps=20 if method == "sketch" else 3, fast=fast))
    for name, ours, theirs in zip(als_rows.Rows._fields, *answers, strict=True):
        if not (name == "residual" and method == "sketch"):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4 if fast else 1e-10, atol=1e-4 if fast else 1e-10, err_msg=name)
