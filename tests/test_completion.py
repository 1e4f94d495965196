"""complete: answers, forms of input, options and bad input."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, complete, limit_threads
from tests import oracles_completion as oracles

few_entries = pytest.mark.filterwarnings("ignore:complete. .* entries are fewer")


def test_noiseless_matrix_comes_back():
    X, M = oracles.low_rank(1000, 1000, 10, observed=0.1)
    result = complete(M, 10, rng=0)
    assert oracles.error(result, X) < 1e-10
    assert result.converged
    assert result.residual < 1e-10


@given(
    m=st.integers(30, 80),
    n=st.integers(30, 80),
    k=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    solver=st.sampled_from(["chol", "cg", "sketch"]),
)
@settings(max_examples=15)
def test_exact_recovery_at_four_times_the_parameters(m, n, k, seed, solver):
    observed = min(1.0, 4 * k * (m + n - k) / (m * n) + 0.2)
    X, M = oracles.low_rank(m, n, k, observed=observed, seed=seed)
    if max(np.isnan(M).sum(axis=0).max() - m, np.isnan(M).sum(axis=1).max() - n) > -2 * k:
        return
    assert oracles.error(complete(M, k, solver=solver, rng=seed), X) < 1e-6


def test_noise_is_averaged_out():
    X, M = oracles.low_rank(400, 300, 5, observed=0.3, noise=0.1)
    result = complete(M, 5, rng=0)
    parameters, count = 5 * (400 + 300 - 5), np.isfinite(M).sum()
    floor = 0.1 * np.sqrt(parameters / count)
    assert np.sqrt(np.mean((result.to_dense() - X) ** 2)) < 1.2 * floor


@given(seed=st.integers(0, 2**32), ridge=st.floats(1, 20), weighted=st.booleans())
@settings(max_examples=6)
def test_ridge_solves_the_nuclear_norm_problem(seed, ridge, weighted):
    _, M = oracles.low_rank(20, 15, 2, observed=0.6, noise=0.3, seed=seed)
    weights = np.random.default_rng(seed).uniform(0.5, 2, M.shape) if weighted else None
    X = oracles.nuclear_norm(M, ridge, weights=weights)
    result = complete(M, 15, ridge=ridge, weights=weights, validation=0.0, tol=1e-15, max_iter=20000, rng=seed)
    assert abs(result.to_dense() - X).max() < 1e-4 * max(1, abs(X).max())


test_ridge_solves_the_nuclear_norm_problem = few_entries(test_ridge_solves_the_nuclear_norm_problem)


@pytest.mark.parametrize("ridge", ["auto", 3.0])
def test_a_full_matrix_gives_the_truncated_svd(backend, ridge):
    A = np.random.default_rng(0).standard_normal((30, 20))
    result = complete(backend.array(A), 4, ridge=ridge)
    P, s, Qt = np.linalg.svd(A, full_matrices=False)
    shrunk = s[:4] - (0 if ridge == "auto" else ridge)
    assert abs(backend.numpy(result.to_dense()) - (P[:, :4] * shrunk) @ Qt[:4]).max() < 1e-13
    assert result.certificate.confidence == 1.0


def test_a_full_matrix_with_its_rank_unknown():
    X, _ = oracles.low_rank(60, 50, 3)
    result = complete(X, rng=0)
    assert result.rank == 3
    assert abs(result.to_dense() - X).max() < 1e-12


def _forms(X, seen):
    rows, cols = np.nonzero(seen)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    unsorted = sp.csr_array((X[seen], (rows, cols)), X.shape).tocsc().tocsr()
    unsorted.indices = np.concatenate([part[::-1] for part in np.split(unsorted.indices, unsorted.indptr[1:-1])])
    unsorted.data = np.concatenate([part[::-1] for part in np.split(unsorted.data, unsorted.indptr[1:-1])])
    unsorted.has_sorted_indices = False
    return {
        "nan": (np.where(seen, X, np.nan), {}),
        "fortran": (np.asfortranarray(np.where(seen, X, np.nan)), {}),
        "mask": (X, {"mask": seen}),
        "csr": (sp.csr_array((X[seen], (rows, cols)), X.shape), {}),
        "unsorted csr": (unsorted, {}),
        "csr matrix": (sp.csr_matrix((X[seen], (rows, cols)), X.shape), {}),
        "csc": (sp.csc_array((X[seen], (rows, cols)), X.shape), {}),
        "coo": (sp.coo_array((X[seen], (rows, cols)), X.shape), {}),
        "triples": ((rows[shuffled], cols[shuffled], X[seen][shuffled]), {"shape": X.shape}),
        "lists": (tuple(x.tolist() for x in (rows, cols, X[seen])), {"shape": X.shape}),
    }


def test_all_forms_of_input_give_the_same_answer():
    X, M = oracles.low_rank(60, 40, 3, noise=0.1)
    X[:5] = 0.0  # stored zeros are observations
    answers = {name: complete(form, 3, rng=7, **options) for name, (form, options) in _forms(X, np.isfinite(M)).items()}
    for name, answer in answers.items():
        assert np.array_equal(answer.U, answers["nan"].U), name
        assert answer.certificate == answers["nan"].certificate


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"loss": "huber"}, {"nonnegative": True}, {"solver": "cg"}, {"init": "spectral"}])
def test_backends_agree(backend, options):
    _, M = oracles.low_rank(40, 50, 3, observed=0.7, noise=0.1, nonnegative=True)
    ours = complete(backend.array(M), 3, rng=1, max_iter=300, tol=1e-6, **options)
    numpy = complete(M, 3, rng=1, max_iter=300, tol=1e-6, **options)
    assert type(ours.U) is type(backend.array(M))
    assert abs(backend.numpy(ours.to_dense()) - numpy.to_dense()).max() < 1e-4
    assert np.isclose(ours.certificate.bound, numpy.certificate.bound, rtol=1e-3)
    ids = backend.array(np.array([3, 5])), backend.array(np.array([1, 0]))
    assert abs(backend.numpy(ours.predict(*ids)) - backend.numpy(ours.to_dense())[[3, 5], [1, 0]]).max() < 1e-12


def test_triples_of_every_backend(backend):
    X, M = oracles.low_rank(40, 30, 3)
    rows, cols = np.nonzero(np.isfinite(M))
    result = complete(tuple(map(backend.array, (rows, cols, X[rows, cols]))), 3, shape=X.shape, rng=0)
    assert np.linalg.norm(backend.numpy(result.to_dense()) - X) < 1e-8


def test_float32_stays_float32(backend):
    X, M = oracles.low_rank(60, 50, 3)
    result = complete(backend.array(M.astype(np.float32)), 3, rng=0)
    assert backend.numpy(result.U).dtype == np.float32
    assert np.linalg.norm(backend.numpy(result.to_dense()) - X) < 1e-5 * np.linalg.norm(X)


def test_integers_are_values():
    X = np.outer(np.arange(1, 31), np.arange(1, 21))
    result = complete(X, 1, mask=np.random.default_rng(0).random(X.shape) < 0.5, rng=0)
    assert abs(result.to_dense() - X).max() < 1e-8 * X.max()


def test_threads_do_not_show():
    _, M = oracles.low_rank(300, 200, 5, noise=0.1)
    answers = []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append(complete(M, 5, rng=3))
    assert abs(answers[0].to_dense() - answers[1].to_dense()).max() < 1e-10


def test_a_part_of_the_rows_starts_a_large_problem():
    random = np.random.default_rng(0)
    U, V = random.standard_normal((4000, 4)), random.standard_normal((150, 4))
    rows, cols = np.nonzero(random.random((4000, 150)) < 0.3)
    values = np.sum(U[rows] * V[cols], axis=1) + 0.01 * random.standard_normal(len(rows))
    for triples, shape in (((rows, cols, values), (4000, 150)), ((cols, rows, values), (150, 4000))):
        result = complete(triples, 4, shape=shape, init="random", rng=0)
        assert np.isnan(result.history[0].held_out_rmse)
        X = U @ V.T if shape[0] == 4000 else V @ U.T
        floor = 0.01 * np.sqrt(4 * (4000 + 150) / (0.95 * len(rows)))
        assert np.sqrt(np.mean((result.to_dense() - X) ** 2)) < 1.1 * floor


@few_entries
@given(seed=st.integers(0, 2**32), power=st.integers(-60, 60))
@settings(max_examples=10)
def test_scaling_the_data_scales_the_answer(seed, power):
    _, M = oracles.low_rank(30, 25, 2, noise=0.1, seed=seed)
    plain, scaled = complete(M, 2, rng=0), complete(4.0**power * M, 2, rng=0)
    assert np.array_equal(scaled.U, 2.0**power * plain.U)
    assert scaled.certificate.bound == 4.0**power * plain.certificate.bound
    odd = complete(3e5 * M, 2, rng=0)
    assert np.allclose(odd.to_dense(), 3e5 * plain.to_dense(), rtol=1e-3, atol=3e5 * 1e-3)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=8)
def test_order_and_transposition_do_not_matter(seed):
    random = np.random.default_rng(seed)
    X, M = oracles.low_rank(50, 40, 2, observed=0.6, seed=seed)
    p, q = random.permutation(50), random.permutation(40)
    assert oracles.error(complete(M[p][:, q], 2, validation=0.0, rng=0), X[p][:, q]) < 1e-8
    assert oracles.error(complete(M.T, 2, validation=0.0, rng=0), X.T) < 1e-8


def test_a_constant_goes_into_the_mean():
    _, M = oracles.low_rank(60, 50, 2, noise=0.1)
    plain, shifted = (complete(x, 2, bias=True, rng=0, tol=1e-8, max_iter=500) for x in (M, M + 100))
    assert abs(shifted.to_dense() - plain.to_dense() - 100).max() < 1e-3
    assert abs(float(np.mean(plain.row_bias))) < 1e-12


def test_biases_are_found():
    random = np.random.default_rng(0)
    X = 3 + random.standard_normal((80, 1)) + random.standard_normal(60) + oracles.low_rank(80, 60, 1)[0]
    M = np.where(random.random(X.shape) < 0.5, X, np.nan)
    assert oracles.error(complete(M, 1, bias=True, rng=0, max_iter=500), X) < 1e-6


def test_weights_multiply_the_ridge_away():
    _, M = oracles.low_rank(40, 30, 2, noise=0.1)
    weighted = complete(M, 2, ridge=2.0, weights=np.full(M.shape, 2.0), rng=0, tol=1e-10, max_iter=1000)
    plain = complete(M, 2, ridge=1.0, rng=0, tol=1e-10, max_iter=1000)
    assert abs(weighted.to_dense() - plain.to_dense()).max() < 1e-4


@pytest.mark.parametrize("weighted", [False, True])
def test_repeated_places_count_once_with_their_mean(backend, weighted):
    _, M = oracles.low_rank(40, 30, 2, noise=0.1)
    rows, cols = np.nonzero(np.isfinite(M))
    values = M[rows, cols]
    order = np.random.default_rng(0).permutation(2 * len(values))
    shift = np.random.default_rng(1).standard_normal(len(values))
    weights = np.concatenate([np.full(len(values), w) for w in (3.0, 1.0)])[order] if weighted else None
    twice = [np.tile(x, 2)[order] for x in (rows, cols)] + [
        np.concatenate([values + shift, values - (3 if weighted else 1) * shift])[order]
    ]
    again = None if weights is None else backend.array(weights)
    got = complete(tuple(map(backend.array, twice)), 2, shape=M.shape, weights=again, duplicates="mean", ridge=1.0, rng=0)
    once = complete(M, 2, weights=np.full(M.shape, 4.0) if weighted else None, ridge=1.0, rng=0)
    assert abs(backend.numpy(got.to_dense()) - once.to_dense()).max() < 1e-4  # sums in float32 on some backends


def test_weight_zero_is_missing():
    _, M = oracles.low_rank(40, 30, 2)
    spoilt = np.where(np.isnan(M), 1e6, M)
    result = complete(spoilt, 2, weights=np.isfinite(M).astype(float), rng=0)
    assert np.array_equal(result.U, complete(M, 2, weights=np.ones(M.shape), rng=0).U)


@pytest.mark.parametrize("loss", ["huber", "l1"])
def test_robust_losses_shrug_off_outliers(loss):
    X, M = oracles.low_rank(120, 100, 3, observed=0.6, noise=0.01)
    random = np.random.default_rng(0)
    wrong = (random.random(M.shape) < 0.1) & np.isfinite(M)
    spoilt = M + np.where(wrong, 20 * random.standard_normal(M.shape), 0)
    result = complete(spoilt, 3, loss=loss, rng=0, max_iter=300)
    assert oracles.error(result, X) < 0.02 < oracles.error(complete(spoilt, 3, rng=0), X)
    flagged = np.zeros(M.shape, dtype=bool)
    flagged[result.outliers] = True
    assert np.mean(flagged[wrong]) > 0.85
    assert np.mean(flagged[~wrong & np.isfinite(M)]) < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_absolute_residuals_take_few_sweeps(seed):
    X, M = oracles.low_rank(200, 150, 4, observed=0.4, noise=0.1, seed=seed)
    robust, plain = complete(M, 4, loss="l1", rng=0), complete(M, 4, rng=0)
    assert robust.n_iter <= 25
    assert oracles.error(robust, X) < 1.3 * oracles.error(plain, X)


@pytest.mark.parametrize("shape", [(700, 500), (500, 700)])
def test_a_large_full_matrix_meets_its_truncated_svd(shape):
    X, _ = oracles.low_rank(*shape, 5)
    M = X + np.random.default_rng(0).standard_normal(shape)
    result = complete(M, 5, rng=0)
    U, s, Vt = np.linalg.svd(M, full_matrices=False)
    assert np.linalg.norm(result.to_dense() - (U[:, :5] * s[:5]) @ Vt[:5]) < 1e-8 * np.linalg.norm(M)
    assert np.isclose(result.residual, np.sqrt(np.sum(s[5:] ** 2) / M.size), rtol=1e-10)


@pytest.mark.filterwarnings("ignore:complete. the error still fell")
def test_nonnegative_factors():
    X, M = oracles.low_rank(80, 60, 3, observed=0.6, nonnegative=True)
    result = complete(M, 3, nonnegative=True, rng=1, max_iter=200, tol=0.0)
    assert result.U.min() >= 0
    assert result.V.min() >= 0
    assert oracles.error(result, X) < 1e-2


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_the_rank_is_found(noise):
    X, M = oracles.low_rank(200, 150, 5, observed=0.4, noise=noise)
    result = complete(M, rng=0)
    assert result.rank == 5
    assert oracles.error(result, X) < 1e-6 + 0.2 * noise


def test_rank_from_few_strong_directions():
    random = np.random.default_rng(1)
    X = (random.standard_normal((300, 12)) * 0.6 ** np.arange(12)) @ random.standard_normal((12, 200))
    M = np.where(random.random(X.shape) < 0.4, X + 0.05 * random.standard_normal(X.shape), np.nan)
    chosen = complete(M, rng=0)
    errors = {k: oracles.error(complete(M, k, rng=0), X) for k in range(1, 14)}
    assert errors[chosen.rank] < 1.15 * min(errors.values())


def test_a_warm_start_saves_sweeps():
    _, M = oracles.low_rank(100, 80, 4, noise=0.1)
    cold = complete(M, 4, rng=0, tol=1e-4)
    for init in (cold, (cold.U, cold.V)):
        warm = complete(M, 4, init=init, rng=0, tol=1e-4)
        assert warm.n_iter < cold.n_iter
        assert np.sqrt(np.mean((warm.to_dense() - cold.to_dense()) ** 2)) < 0.02
    assert complete(M, init=cold, rng=0).rank == 4
    with_biases = complete(M, 4, bias=True, rng=0, tol=1e-4)
    assert complete(M, 4, bias=True, init=with_biases, rng=0, tol=1e-4).n_iter < with_biases.n_iter
    assert complete(M, 6, init=cold, rng=0).rank == 6


@pytest.mark.parametrize("m_n_k", [(1, 20, 1), (20, 1, 1), (5, 40, 5)])
@few_entries
def test_thin_matrices(m_n_k):
    m, n, k = m_n_k
    X, M = oracles.low_rank(m, n, k, observed=0.8)
    result = complete(M, k, validation=0.0, rng=0)
    seen = np.isfinite(M)
    assert np.isfinite(result.to_dense()).all()
    assert abs(result.to_dense() - X)[seen].max() < 1e-4 * abs(X).max()


@few_entries
@pytest.mark.parametrize("bias", [False, True])
def test_empty_rows_and_columns_get_the_average(bias):
    _, M = oracles.low_rank(40, 30, 2, nonnegative=True)
    M[7], M[:, 4] = np.nan, np.nan
    result = complete(M, 2, bias=bias, rng=0)
    D = result.to_dense()
    others = np.delete(np.arange(40), 7)
    assert np.isfinite(D).all()
    assert abs(D[7] - D[others].mean(axis=0)).max() < (1e-8 if not bias else 0.5)
    assert 7 in result.weak_rows
    assert 4 in result.weak_cols


@few_entries
def test_short_rows_are_reported():
    X, M = oracles.low_rank(40, 30, 4)
    M[3] = np.nan
    M[3, :2] = X[3, :2]
    result = complete(M, 4, validation=0.0, rng=0)
    assert result.weak_rows.tolist() == [3]
    assert abs(result.to_dense()[3]).max() < 100 * abs(X).max()


def test_disconnected_blocks_are_counted():
    X, M = oracles.low_rank(40, 30, 2, observed=1.0)
    M[:20, 15:] = M[20:, :15] = np.nan
    result = complete(M, 2, rng=0)
    assert result.components == 2
    assert complete(X, 2, mask=np.random.default_rng(0).random(X.shape) < 0.5).components == 1


@few_entries
@pytest.mark.parametrize("value", [0.0, 5.0, 1e-200, 1e150])
def test_a_constant_matrix(value):
    M = np.full((20, 15), value)
    M[np.random.default_rng(0).random(M.shape) < 0.4] = np.nan
    for options in ({}, {"bias": True}, {"rank": "auto"}, {"loss": "huber"}):
        result = complete(M, **({"rank": 1} | options), rng=0)
        assert abs(result.to_dense() - value).max() <= 1e-6 * value


def test_huge_and_tiny_values_are_safe():
    X, M = oracles.low_rank(50, 40, 2)
    for size in (1e140, 1e-140):
        assert oracles.error(complete(size * M, 2, rng=0), size * X) < 1e-8


def test_power_law_degrees():
    random = np.random.default_rng(0)
    X, _ = oracles.low_rank(500, 300, 3)
    chance = np.minimum(1, 40 * np.outer(1 / np.sqrt(np.arange(1, 501)), 1 / np.sqrt(np.arange(1, 301))))
    seen = random.random(X.shape) < chance
    result = complete(np.where(seen, X, np.nan), 3, rng=0)
    assert abs(result.to_dense() - X)[seen].max() < 1e-6
    assert np.isfinite(result.to_dense()).all()


def test_too_few_entries_are_announced():
    _, M = oracles.low_rank(50, 40, 5, observed=0.3)
    with pytest.warns(ConvergenceWarning, match=r"entries are fewer than 2 k \(m \+ n\) = 900"):
        result = complete(M, 5, rng=0, max_iter=500)
    assert np.isfinite(result.to_dense()).all()


M = oracles.low_rank(12, 10, 2)[1]
ROWS, COLS = np.nonzero(np.isfinite(M))
VALUES = M[ROWS, COLS]
TRIPLES = (ROWS, COLS, VALUES)
SHAPE = {"shape": (12, 10)}
BAD = [
    ("nothing", np.full((3, 4), np.nan), {}, ValueError, "M must have at least one observed entry"),
    ("no rows", np.zeros((0, 3)), {"rank": 1}, ValueError, "M must have at least one row and one column; got shape"),
    ("infinite", np.where(np.isnan(M), np.inf, M), {}, ValueError, "the observed entries of M must be finite"),
    ("NaN triple", (ROWS, COLS, VALUES * np.nan), SHAPE, ValueError, "the observed entries of M must be finite"),
    ("complex", M + 1j, {}, TypeError, "M must be real"),
    ("3-D", M[None], {}, ValueError, "M must be 2-dimensional"),
    ("text", "ratings", {}, TypeError, "M must be an array of numbers"),
    ("no shape", TRIPLES, {}, ValueError, "shape must be given"),
    ("pair", (ROWS, COLS), SHAPE, ValueError, "got a tuple of 2"),
    ("bad shape", TRIPLES, {"shape": (12, 10, 1)}, ValueError, "shape must be two integers"),
    ("shape 0", TRIPLES, {"shape": (0, 10)}, ValueError, "shape must be an integer of at least 1"),
    ("shape with dense", M, SHAPE, ValueError, "shape goes only with triples"),
    ("shape with sparse", sp.csr_array(np.nan_to_num(M)), SHAPE, ValueError, "shape goes only with triples"),
    ("mask with triples", TRIPLES, SHAPE | {"mask": np.isfinite(M)}, ValueError, "mask goes only with dense arrays"),
    ("mask shape", M, {"mask": np.ones((3, 3), bool)}, ValueError, r"mask must have shape \(12, 10\)"),
    ("mask dtype", M, {"mask": np.ones((12, 10))}, TypeError, "mask must be boolean"),
    ("id too large", (ROWS + 1, COLS, VALUES), SHAPE, ValueError, "rows must be from 0 to 11; got 1 to 12"),
    ("id negative", (ROWS, COLS - 1, VALUES), SHAPE, ValueError, "cols must be from 0 to 9; got -1 to 8"),
    ("id float", (ROWS + 0.0, COLS, VALUES), SHAPE, TypeError, "rows must be integers"),
    ("lengths", (ROWS[:-1], COLS, VALUES), SHAPE, ValueError, "rows must have shape"),
    ("repeat", tuple(np.append(x, x[:1]) for x in TRIPLES), SHAPE, ValueError, "got 1 repeated places"),
    ("duplicates", M, {"duplicates": "sum"}, ValueError, "duplicates must be one of 'error', 'mean'"),
    ("weights shape", M, {"weights": np.ones(3)}, ValueError, r"weights must have shape \(12, 10\)"),
    ("weights negative", M, {"weights": np.full(M.shape, -1.0)}, ValueError, "weights must not be negative"),
    ("weights NaN", M, {"weights": np.full(M.shape, np.nan)}, ValueError, "weights must be finite"),
    ("weights zero", M, {"weights": np.zeros(M.shape)}, ValueError, "weights must not all be 0"),
    ("weights for dok", sp.dok_array(np.nan_to_num(M)), {"weights": VALUES}, ValueError, "weights goes only with"),
    ("rank 0", M, {"rank": 0}, ValueError, "rank must be an integer between 1 and 10"),
    ("rank 11", M, {"rank": 11}, ValueError, "rank must be an integer between 1 and 10"),
    ("rank 2.5", M, {"rank": 2.5}, TypeError, "rank must be an integer"),
    ("rank text", M, {"rank": "best"}, ValueError, "rank must be an integer or 'auto'"),
    ("ridge", M, {"ridge": -1.0}, ValueError, "ridge must be a number of at least 0"),
    ("ridge text", M, {"ridge": "big"}, ValueError, "ridge must be one of 'auto'"),
    ("loss", M, {"loss": "l3"}, ValueError, "loss must be one of 'l2', 'huber', 'l1'"),
    ("solver", M, {"solver": "qr"}, ValueError, "solver must be one of"),
    ("init", M, {"init": "zeros"}, ValueError, "init must be one of"),
    ("init shape", M, {"init": (np.ones((3, 2)), np.ones((10, 2)))}, ValueError, "init's U must have shape"),
    ("init type", M, {"init": 3}, TypeError, "init must be"),
    ("two signs", M, {"nonnegative": True, "bias": True}, ValueError, "bias and nonnegative exclude each other"),
    ("max_iter", M, {"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
    ("tol", M, {"tol": -1}, ValueError, "tol must be a number of at least 0"),
    ("validation", M, {"validation": 0.9}, ValueError, "validation must be a number between 0 and 0.5"),
    ("rng", M, {"rng": "seed"}, TypeError, "rng must be None, an int or a numpy"),
]


@pytest.mark.parametrize(("data", "options", "error", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(data, options, error, words):
    with pytest.raises(error, match="complete: .*" + words):
        complete(data, **({"rank": 2} | options))
