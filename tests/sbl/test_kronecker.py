"""`kronecker_sbl`: recovery, invariances, certificates, backends, edge cases."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.sbl import kronecker_sbl, kronecker_sbl_batch, oracle_lstsq, sbl
from tests.sbl import oracles

METHODS = ["mm", "am", "svd", "ksbl", "svd+am", "svd+mm", "pattern"]
EASY = {"rows": (6, 8), "columns": (9, 10), "atoms": 2, "snr": 30}


def _quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kronecker_sbl(*args, **options)


def _same(support, other):
    return all(list(a) == list(b) for a, b in zip(support, other, strict=True))


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("method", METHODS[:-1])
def test_every_method_finds_an_easy_signal(method, complex_):
    Y, A, X, noise, _ = oracles.problem(1, (8, 10, 4), (9, 12, 5), 2, 40, complex_=complex_)
    result = _quietly(Y, A, method=method, noise_var=noise)
    assert oracles.error(result.x, X) < 1e-3
    assert result.method == method
    assert result.x.shape == X.shape == result.variance.shape


@pytest.mark.parametrize("snr", [10, 20, 30])
@pytest.mark.parametrize("known", [True, False])
def test_errors_are_near_those_of_the_oracle(snr, known):
    ratios = []
    for seed in range(8):
        Y, A, X, noise, support = oracles.problem(seed, (8, 12, 15), (15, 15, 15), 3, snr)
        result = kronecker_sbl(Y, A, noise_var=noise if known else None)
        assert 0.9 < result.noise_var / noise < 1.1
        assert result.converged
        ratios.append(oracles.error(result.x, X) / oracles.error(oracle_lstsq(Y, A, support).x, X))
    assert np.median(ratios) < 1.3
    assert max(ratios) < 4


@given(seed=st.integers(0, 1000), complex_=st.booleans(), scale=st.sampled_from([1e-6, 3.0, 1e8]))
@settings(max_examples=15)
def test_scaling_permuting_and_rotating(seed, complex_, scale):
    Y, A, _, noise, _ = oracles.problem(seed, **EASY, complex_=complex_)
    rng = np.random.default_rng(seed)
    x = _quietly(Y, A, noise_var=noise).x
    near = {"rtol": 0, "atol": 1e-6 * np.max(np.abs(x))}
    assert np.allclose(_quietly(scale * Y, A, noise_var=scale**2 * noise).x / scale, x, **near)
    order = rng.permutation(9)
    assert np.allclose(_quietly(Y, [A[0][:, order], A[1]], noise_var=noise).x, x[order], **near)
    Q = np.linalg.qr(oracles.draw(rng, 6, 6, complex_=complex_))[0]
    assert np.allclose(_quietly(Q @ Y, [Q @ A[0], A[1]], noise_var=noise).x, x, **near)
    lengths = rng.lognormal(size=9)
    assert np.allclose(_quietly(Y, [A[0] * lengths, A[1]], noise_var=noise).x * lengths[:, None], x, **near)


@given(seed=st.integers(0, 1000), complex_=st.booleans(), known=st.booleans())
@settings(max_examples=15)
def test_modes_may_change_places(seed, complex_, known):
    Y, A, X, noise, _ = oracles.problem(seed, (8, 9), (9, 10), 2, 30, complex_=complex_)
    options = {"noise_var": noise if known else None, "tol": 1e-7, "max_iter": 5000}
    assert np.allclose(kronecker_sbl(Y.T, A[::-1], **options).x.T, kronecker_sbl(Y, A, **options).x, atol=1e-4 * np.abs(X).max())


@pytest.mark.parametrize("method", ["mm", "am", "ksbl", "svd+am", "svd+mm", "pattern"])
@pytest.mark.parametrize("known", [True, False])
def test_the_trace_falls_but_for_cuts(method, known):
    for seed in range(5):
        Y, A, _, noise, _ = oracles.problem(seed, **EASY)
        result = _quietly(Y, A, method=method, noise_var=noise if known else None, prune=1e-2 * (seed % 2))
        assert len(result.cost_trace) == result.n_iter + 1
        rises = np.flatnonzero(np.diff(result.cost_trace) > 1e-9 * np.abs(result.cost_trace).max()) + 1
        assert set(rises[rises > result.monotone_from]) <= set(result.cuts)
        assert seed % 2 or result.n_iter > 1


def test_the_cost_is_that_of_dense_matrices():
    Y, A, _, noise, _ = oracles.problem(6, **EASY, complex_=True)
    result = kronecker_sbl(Y, A, noise_var=noise)
    mean, variance, cost, _ = oracles.posterior(Y.reshape(-1, 1), A, result.gammas, noise)
    assert result.cost_trace[-1] == pytest.approx(cost, rel=1e-9)
    assert np.allclose(result.x.ravel(), mean[:, 0], atol=1e-9)
    assert np.allclose(result.variance.ravel(), variance, atol=1e-9)


def test_the_certificate_bounds_the_gradient():
    for seed in range(10):
        Y, A, _, noise, _ = oracles.problem(seed, **EASY)
        result = _quietly(Y, A, noise_var=noise, tol=1e-3)
        K, C = np.kron(*A), oracles.posterior(Y.reshape(-1, 1), A, result.gammas, noise)[3]
        inverse = np.linalg.inv(C)
        terms = np.einsum("mp,mn,np->p", K, inverse, K) - (K.T @ inverse @ Y.ravel()) ** 2
        terms = terms.reshape(9, 10) * np.multiply.outer(*result.gammas)
        true = max(np.abs(terms.sum(axis=1)).max(), np.abs(terms.sum(axis=0)).max()) / Y.size
        assert true * (1 - 1e-6) <= result.certificate.bound <= true * 1.01 + 1e-9
    assert result.certificate.confidence == 1


def test_smaller_tolerances_give_smaller_gradients():
    Y, A, _, noise, _ = oracles.problem(7, **EASY)
    bounds = [kronecker_sbl(Y, A, noise_var=noise, tol=tol, max_iter=5000).certificate.bound for tol in (1e-2, 1e-4, 1e-8)]
    assert bounds[0] > bounds[1] > bounds[2]
    assert bounds[2] < 1e-8


def test_chi_square_tells_a_wrong_model():
    rng = np.random.default_rng(8)
    Y, A, _, noise, _ = oracles.problem(8, **EASY)
    assert abs(kronecker_sbl(Y, A, noise_var=noise).chi2 - 1) < 0.7
    wrong = _quietly(rng.standard_normal((30, 4)), [rng.standard_normal((30, 5)), rng.standard_normal((4, 6))], noise_var=1e-4, rng=3)
    assert wrong.chi2 > 100
    assert len(wrong.start_costs) == 5
    assert wrong.cost_trace[-1] == min(wrong.start_costs)


def test_chi_square_is_that_of_noise_if_the_model_holds():
    outside = 0
    for seed in range(30):
        Y, A, _, noise, _ = oracles.problem(seed, (8, 10), (12, 12), 2, 20)
        result = _quietly(Y, A, noise_var=noise, n_init=1)
        outside += abs(result.chi2 - 1) > 3 * np.sqrt(2 / (Y.size - result.dof))
    assert outside <= 1


def test_little_is_read_into_noise():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        A, Y = [rng.standard_normal((8, 15)), rng.standard_normal((10, 15))], rng.standard_normal((8, 10))
        result = _quietly(Y, A, noise_var=4.0)
        assert result.dof < 1
        assert np.linalg.norm(A[0] @ result.x @ A[1].T) < 0.3 * np.linalg.norm(Y)


def test_starts_are_ranked_by_evidence_and_reproducible():
    Y, A, _, noise, _ = oracles.problem(9, **EASY)
    several = kronecker_sbl(Y, A, noise_var=noise, n_init=4, rng=5)
    assert len(several.start_costs) == 4
    assert several.cost_trace[-1] == min(several.start_costs)
    with limit_threads(1):
        again = kronecker_sbl(Y, A, noise_var=noise, n_init=4, rng=5)
    assert np.array_equal(again.x, several.x)


def test_snapshots_share_their_support():
    rng = np.random.default_rng(10)
    A = [rng.standard_normal((5, 12)), rng.standard_normal((6, 12))]
    X = np.zeros((12, 12, 20))
    X[np.ix_([1, 7], [3, 4])] = rng.standard_normal((2, 2, 20))
    Y = np.einsum("ai,bj,ijl->abl", *A, X) + 0.3 * rng.standard_normal((5, 6, 20))
    result = kronecker_sbl(Y, A)
    assert _same(result.support, [[1, 7], [3, 4]])
    assert result.noise_var == pytest.approx(0.09, rel=0.2)
    flat = kronecker_sbl(Y.reshape(30, 20), A)
    assert np.allclose(flat.x, result.x.reshape(144, 20), atol=1e-8)
    assert flat.variance.shape == (144,)


def _alike(ours, theirs):
    """Compare all that two results say."""
    for name in ("x", "variance", "noise_var", "chi2", "dof", "start_costs"):
        assert np.allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-8, equal_nan=True), name
    assert all(np.allclose(a, b, rtol=1e-6, atol=1e-8 * b.max()) for a, b in zip(ours.gammas, theirs.gammas, strict=True))
    assert _same(ours.support, theirs.support)
    assert (ours.cuts, ours.n_iter, ours.converged, ours.method) == (theirs.cuts, theirs.n_iter, theirs.converged, theirs.method)
    assert np.allclose(ours.cost_trace, theirs.cost_trace, rtol=1e-9)
    assert ours.certificate.bound == pytest.approx(theirs.certificate.bound, rel=1e-3, abs=1e-7)
    assert ours.missed == pytest.approx(theirs.missed, abs=1e-6)


def _batch(count, complex_):
    """Problems with the same factors, of several difficulties, one of them without data."""
    rng = np.random.default_rng(30)
    A = [oracles.draw(rng, m, n, complex_=complex_) for m, n in ((6, 9), (12, 10))]
    X = np.zeros((count, 9, 10), dtype=A[0].dtype)
    for k in range(count):
        X[(k, *np.ix_(rng.permutation(9)[: 1 + k % 3], rng.permutation(10)[:2]))] = 1 + k % 4
    noise = 0.3 ** np.arange(count)[:, None, None] * oracles.draw(rng, count, 6, 12, complex_=complex_)
    return np.einsum("ai,bj,kij->kab", *A, X) * (np.arange(count) != 2)[:, None, None] + noise * (np.arange(count) != 2)[:, None, None], A


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("options", [{}, {"method": "svd+am"}, {"method": "pattern"}, {"max_iter": 5}, {"noise_var": 0.1}])
def test_a_batch_is_solved_as_one_by_one(options, complex_):
    Y, A = _batch(7, complex_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = kronecker_sbl_batch(Y, A, rng=1, n_init=1, **options)
    assert len(results) == 7
    assert not np.any(results[2].x)
    for y, result in zip(Y, results, strict=True):
        _alike(result, _quietly(y, A, rng=1, n_init=1, **options))


def test_problems_of_a_batch_have_their_own_starts():
    Y, A = _batch(7, complex_=True)
    for options in ({}, {"noise_var": 1e-3}):
        for y, result in zip(Y, kronecker_sbl_batch(Y, A, rng=1, **options), strict=True):
            assert np.allclose(result.start_costs, kronecker_sbl(y, A, rng=1, **options).start_costs, rtol=1e-6)


def test_batches_may_be_sequences_flat_and_have_snapshots():
    Y, A = _batch(4, complex_=False)
    tensors = kronecker_sbl_batch(Y, A)
    for results in (
        kronecker_sbl_batch(list(Y), A),
        kronecker_sbl_batch(tuple(y.ravel() for y in Y), A),
        kronecker_sbl_batch(Y[..., None], A),
    ):
        for result, tensor in zip(results, tensors, strict=True):
            assert np.allclose(result.x.ravel(), tensor.x.ravel(), atol=1e-8)
    assert results[0].x.shape == (9, 10, 1)


def test_batches_on_backends(backend):
    Y, A = _batch(4, complex_=True)
    for result, expected in zip(
        kronecker_sbl_batch(backend.array(Y), [backend.array(a) for a in A]), kronecker_sbl_batch(Y, A), strict=True
    ):
        assert np.allclose(backend.numpy(result.x), expected.x, atol=1e-8)
        assert _same([backend.numpy(s) for s in result.support], expected.support)


def test_a_batch_warns_once():
    Y, A = _batch(4, complex_=False)
    with pytest.warns(ConvergenceWarning, match="problem 0, the first of 3 of 4, step 1, the last, moved") as caught:
        kronecker_sbl_batch(Y, A, max_iter=1)
    assert len(caught) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("known", [True, False])
def test_a_resumed_run_ends_like_one_without_a_stop(method, known):
    Y, A, _, noise, _ = oracles.problem(31, **EASY)
    options = {"method": method, "noise_var": noise if known else None, "n_init": 1}
    whole = _quietly(Y, A, **options, max_iter=60)
    for first in (1, 3, 25):
        part = _quietly(Y, A, **options, max_iter=first)
        rest = _quietly(Y, A, **options | {"n_init": None}, max_iter=60 - part.n_iter, init=part)
        assert part.n_iter + rest.n_iter in (whole.n_iter, whole.n_iter + 1)  # a finished run makes one more step
        assert np.allclose(rest.x, whole.x, atol=1e-10 if part.n_iter < whole.n_iter else 1e-3)
        assert rest.cost_trace[0] == pytest.approx(part.cost_trace[-1], rel=1e-12)
        assert rest.noise_var == pytest.approx(whole.noise_var, rel=1e-3)


def test_batches_are_resumed(backend):
    Y, A = _batch(4, complex_=False)
    y, factors = backend.array(Y), [backend.array(a) for a in A]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        part = kronecker_sbl_batch(y[3:, ...], factors, max_iter=4, n_init=1)
    rest, whole = kronecker_sbl_batch(y[3:, ...], factors, init=part), kronecker_sbl_batch(y[3:, ...], factors, n_init=1)
    assert np.allclose(backend.numpy(rest[0].x), backend.numpy(whole[0].x), atol=1e-9)


def test_another_method_goes_on():
    Y, A, X, noise, _ = oracles.problem(32, **EASY)
    start = _quietly(Y, A, noise_var=noise, method="svd", max_iter=5)
    assert oracles.error(kronecker_sbl(Y, A, noise_var=noise, init=start).x, X) < 1e-2


def test_no_single_pruned_atom_lowers_the_cost_by_more():
    offers = []
    for seed in range(12):
        Y, A, _, noise, _ = oracles.problem(seed, **EASY, complex_=bool(seed % 2))
        result = _quietly(Y, A, noise_var=noise, prune=0.3 if seed % 3 else 1e-2)
        cost, lowest = result.cost_trace[-1], math.inf
        for i, g in enumerate(result.gammas):
            for k in np.flatnonzero(g == 0):
                for x in np.geomspace(1e-6, 1, 49) * g.max():
                    more = [h + x * np.eye(g.size)[k] if j == i else h for j, h in enumerate(result.gammas)]
                    lowest = min(lowest, oracles.posterior(Y.reshape(-1, 1), A, more, noise)[2])
        assert lowest >= cost - 1.05 * result.missed - 1e-6
        assert lowest <= cost - 0.5 * result.missed + 1e-6
        offers.append(result.missed)
    assert max(offers) > 1
    assert min(offers) < 0.5


def test_atoms_that_the_evidence_hardly_needs_go():
    counts, errors = [], []
    for seed in range(12):
        Y, A, X, noise, support = oracles.problem(seed, (8, 12, 15), (15, 15, 15), 3, 5)
        result = kronecker_sbl(Y, A, noise_var=noise)
        counts.append(sum(s.size for s in result.support))
        errors.append(oracles.error(result.x, X) / oracles.error(oracle_lstsq(Y, A, support).x, X))
    assert np.mean(counts) <= 9.5
    assert np.median(errors) < 1.15


def test_flat_measurements_are_in_the_order_of_kron():
    _, A, X, noise, _ = oracles.problem(11, **EASY)
    result = kronecker_sbl(np.kron(*A) @ X.ravel(), A, noise_var=noise)
    assert result.x.shape == (90,)
    assert oracles.error(result.x, X) < 1e-2


def test_one_factor_is_the_classical_method():
    for seed in range(5):
        Y, A, X, noise, support = oracles.problem(seed, (40,), (60,), 3, 25)
        ours, theirs = kronecker_sbl(Y, A, noise_var=noise), sbl(Y, A[0], noise_var=noise)
        assert set(support[0]) >= set(ours.support[0])
        assert np.allclose(ours.x, theirs.x, atol=2e-2 * np.abs(X).max())


def test_pruned_atoms_come_back_if_the_evidence_asks_for_them():
    rng = np.random.default_rng(13)
    A = [np.linalg.qr(rng.standard_normal((8, 8)))[0], np.linalg.qr(rng.standard_normal((9, 9)))[0]]
    X = np.zeros((8, 9))
    X[2], X[5] = 10.0, 0.3
    Y = A[0] @ X @ A[1].T + 1e-3 * rng.standard_normal((8, 9))
    result = kronecker_sbl(Y, A, noise_var=1e-6)
    assert list(result.support[0]) == [2, 5]
    assert result.margin < 1e-2


def test_coupling_finds_blocks():
    errors = {"mm": [], "pattern": []}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        A = [oracles.draw(rng, 4, 20, complex_=True), oracles.draw(rng, 5, 20, complex_=True)]
        X = np.zeros((20, 20), dtype=complex)
        X[4:8, 10:14] = oracles.draw(rng, 4, 4, complex_=True)
        Y = A[0] @ X @ A[1].T + 0.1 * oracles.draw(rng, 4, 5, complex_=True)
        for method, found in errors.items():
            found.append(oracles.error(_quietly(Y, A, method=method, noise_var=0.01).x, X))
    assert np.median(errors["pattern"]) < 0.6 * np.median(errors["mm"])


def test_coupling_of_zero_is_no_coupling():
    Y, A, _, noise, _ = oracles.problem(14, **EASY)
    plain = kronecker_sbl(Y, A, noise_var=noise)
    assert np.allclose(kronecker_sbl(Y, A, noise_var=noise, method="pattern", coupling=0).x, plain.x, atol=1e-10)
    assert np.allclose(kronecker_sbl(Y, A, noise_var=noise, method="pattern", coupled_modes=[]).x, plain.x, atol=1e-10)


def test_backends(backend):
    Y, A, _, noise, _ = oracles.problem(15, **EASY, complex_=True)
    result = kronecker_sbl(backend.array(Y), [backend.array(a) for a in A], noise_var=noise)
    expected = kronecker_sbl(Y, A, noise_var=noise)
    assert np.allclose(backend.numpy(result.x), expected.x, atol=1e-8)
    assert np.allclose(backend.numpy(result.variance), expected.variance, atol=1e-8)
    assert _same([backend.numpy(s) for s in result.support], expected.support)


def test_single_precision_and_integers():
    Y, A, X, noise, _ = oracles.problem(16, **EASY)
    result = kronecker_sbl(Y.astype(np.float32), [a.astype(np.float32) for a in A], noise_var=noise)
    assert result.x.dtype == result.variance.dtype == result.gammas[0].dtype == np.float32
    assert oracles.error(result.x, X) < 1e-2
    assert kronecker_sbl(np.array([[3, 0], [0, 0]]), [np.eye(2, dtype=int), np.eye(2, dtype=int)], noise_var=0.01).x.dtype == np.float64


def test_operators_are_factors():
    from scipy.sparse.linalg import aslinearoperator

    Y, A, _, noise, _ = oracles.problem(17, **EASY)
    result = kronecker_sbl(Y, [aslinearoperator(A[0]), A[1]], noise_var=noise)
    assert np.allclose(result.x, kronecker_sbl(Y, A, noise_var=noise).x)
    huge = aslinearoperator(A[0])
    huge.shape = (6, 1 << 28)
    with pytest.raises(
        ValueError, match=r"factors\[0\] must have at most 134217728 entries, since it is made dense; got shape \(6, 268435456\)"
    ):
        kronecker_sbl(Y, [huge, A[1]])


def test_inputs_are_not_changed():
    Y, A, _, noise, _ = oracles.problem(18, (12, 8), (9, 10), 2, 30)
    copies = Y.copy(), [a.copy() for a in A]
    kronecker_sbl(Y, A, noise_var=noise)
    assert np.array_equal(Y, copies[0])
    assert all(np.array_equal(a, b) for a, b in zip(A, copies[1], strict=True))


@pytest.mark.parametrize("noise", [None, 0.0, 0.1])
@pytest.mark.parametrize("tail", [(), (3,)])
def test_zero_data_give_zeros(noise, tail):
    rng = np.random.default_rng(19)
    result = kronecker_sbl(np.zeros((4, 5, *tail)), [rng.standard_normal((4, 6)), rng.standard_normal((5, 7))], noise_var=noise)
    assert result.x.shape == (6, 7, *tail)
    assert not np.any(result.x)
    assert not np.any(result.variance)
    assert all(len(s) == 0 for s in result.support)
    assert result.converged
    assert result.certificate.bound == 0


def test_noise_of_zero_recovers_exactly():
    Y, A, X, _, support = oracles.problem(20, (9, 10), (12, 14), 2, 300)
    result = _quietly(Y, A, noise_var=0)
    assert _same(result.support, support)
    assert oracles.error(result.x, X) < 1e-8
    assert result.noise_var > 0


@pytest.mark.parametrize("rows", [(12, 5), (12, 20), (4, 20)])
@pytest.mark.parametrize("known", [True, False])
def test_factors_may_be_tall(rows, known):
    Y, A, X, noise, _ = oracles.problem(21, rows, (6, 7), 2, 30)
    result = kronecker_sbl(Y, A, noise_var=noise if known else None)
    assert oracles.error(result.x, X) < 1e-2
    assert result.noise_var == pytest.approx(noise, rel=0.8)
    assert result.chi2 == pytest.approx(1, abs=0.7)


def test_dead_columns_are_left_out():
    Y, A, _, noise, _ = oracles.problem(22, **EASY)
    dead = np.insert(A[0], 3, 0.0, axis=1)
    result = kronecker_sbl(Y, [dead, A[1]], noise_var=noise)
    assert 3 not in result.support[0]
    assert not np.any(result.x[3])
    assert not np.any(result.variance[3])
    assert np.allclose(np.delete(result.x, 3, axis=0), kronecker_sbl(Y, A, noise_var=noise).x, atol=1e-8)
    nothing = _quietly(Y, [0 * A[0], A[1]], noise_var=noise)
    assert not np.any(nothing.x)
    assert np.isfinite(nothing.certificate.bound)


def test_columns_that_are_twice_there_share_their_weight():
    Y, A, X, noise, support = oracles.problem(1, **EASY)
    k = support[0][0]
    result = _quietly(Y, [np.insert(A[0], k, A[0][:, k], axis=1), A[1]], noise_var=noise)
    merged = np.add.reduceat(result.x, [j for j in range(10) if j != k + 1], axis=0)
    assert oracles.error(merged, X) < 1e-2


@pytest.mark.parametrize("columns", [(1, 5), (1, 1), (8, 1, 6)])
def test_modes_of_length_one(columns):
    Y, A, X, noise, _ = oracles.problem(24, tuple(n + 3 for n in columns), columns, 1, 30)
    assert oracles.error(_quietly(Y, A, noise_var=noise).x, X) < 1e-2


def test_many_small_modes():
    Y, A, X, noise, support = oracles.problem(25, (2,) * 8, (3,) * 8, 1, 30)
    result = _quietly(Y, A, noise_var=noise, n_init=5)
    assert oracles.error(result.x, X) < 1e-2
    assert _same(result.support, support)


def test_a_single_measurement():
    result = _quietly(np.array([2.0]), [np.ones((1, 3))])
    assert np.all(np.isfinite(result.x))
    assert np.isfinite(result.certificate.bound)


def test_too_few_steps_warn():
    Y, A, _, noise, _ = oracles.problem(26, **EASY)
    with pytest.warns(ConvergenceWarning, match="step 2, the last, moved"):
        result = kronecker_sbl(Y, A, noise_var=noise, max_iter=2)
    assert not result.converged
    assert result.n_iter == 2


Y0, A0 = np.ones((3, 4)), [np.ones((3, 5)), np.ones((4, 6))]
BAD = [
    ("transposed", (Y0.T, A0), {}, ValueError, r"y must have shape \(12,\), \(12, L\), \(3, 4\) or \(3, 4, L\).*another order: permute"),
    ("short", (np.ones(11), A0), {}, ValueError, r"y must have shape .* for factors with \(3, 4\) rows; got \(11,\)$"),
    ("four axes", (np.ones((3, 4, 2, 2)), A0), {}, ValueError, "y must have shape"),
    ("no factors", (Y0, []), {}, TypeError, "factors must be a sequence of at least one matrix; got list of 0"),
    ("one array", (Y0, A0[0]), {}, TypeError, "factors must be a sequence"),
    ("vector", (Y0, [A0[0], np.ones(4)]), {}, ValueError, r"factors\[1\] must be 2-dimensional"),
    ("NaN in y", (Y0 * np.nan, A0), {}, ValueError, "y must be finite; got 12"),
    ("infinite factor", (Y0, [A0[0] * np.inf, A0[1]]), {}, ValueError, r"factors\[0\] must be finite"),
    ("empty", (np.ones((3, 0)), [A0[0], np.ones((0, 2))]), {}, ValueError, "y must have at least one entry"),
    ("method", (Y0, A0), {"method": "newton"}, ValueError, "method must be one of 'auto', 'am'"),
    ("noise", (Y0, A0), {"noise_var": -1}, ValueError, "noise_var must be a number of at least 0"),
    ("prune", (Y0, A0), {"prune": 0.9}, ValueError, "prune must be a number between 0 and 0.5"),
    ("tol", (Y0, A0), {"tol": 0}, ValueError, "tol must be a number above 0"),
    ("steps", (Y0, A0), {"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
    ("starts", (Y0, A0), {"n_init": 0}, ValueError, "n_init must be an integer of at least 1"),
    ("coupling", (Y0, A0), {"method": "pattern", "coupling": 2}, ValueError, "coupling must be a number between 0 and 1"),
    ("coupled mode", (Y0, A0), {"method": "pattern", "coupled_modes": [2]}, ValueError, "coupled_modes must be an integer between 0 and 1"),
    ("rng", (Y0, A0), {"rng": "seed"}, TypeError, "rng must be None"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=f"kronecker_sbl: {message}"):
        kronecker_sbl(*args, **options)


FINE = kronecker_sbl(Y0, A0, noise_var=1.0)
BAD_BATCH = [
    (
        "no batch axis",
        (Y0, A0),
        {},
        ValueError,
        r"Y must have shape .* behind the axis of problems for factors with \(3, 4\) rows; got \(4,\)",
    ),
    ("shapes", ([Y0, Y0[:2]], A0), {}, ValueError, r"Y must be arrays of one shape; got \(2, 4\), \(3, 4\)"),
    ("nothing", ([], A0), {}, ValueError, "Y must be arrays of one shape; got none"),
    ("words", ("measurements", A0), {}, TypeError, "Y must be an array or a sequence of arrays; got str"),
    ("no problem", (np.ones((0, 3, 4)), A0), {}, ValueError, "Y must have at least one entry"),
    (
        "one result",
        (Y0[None], A0),
        {"init": FINE},
        TypeError,
        "init must be an earlier result for each problem, of which there are 1; got KroneckerSBLResult",
    ),
    (
        "two results",
        (Y0[None], A0),
        {"init": [FINE, FINE]},
        TypeError,
        "init must be an earlier result for each problem, of which there are 1; got 2: KroneckerSBLResult, KroneckerSBLResult",
    ),
    ("starts", (Y0[None], A0), {"init": [FINE], "n_init": 2}, ValueError, "n_init must be None or 1 beside init; got 2"),
    ("columns", (Y0[None], [A0[0], np.ones((4, 7))]), {"init": [FINE]}, ValueError, r"init must be .* with \(5, 7\) columns; got \(5, 6\)"),
    ("zeros", (Y0[None], A0), {"init": [kronecker_sbl(0 * Y0, A0)]}, ValueError, "init must not be a result for data that are zero"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD_BATCH], ids=[case[0] for case in BAD_BATCH])
def test_bad_batch(args, options, error, message):
    with pytest.raises(error, match=f"kronecker_sbl_batch: {message}"):
        kronecker_sbl_batch(*args, **options)
