"""Randomly pivoted Cholesky: law of the pivots, exact remainders, certificates, every kind of kernel."""

import numpy as np
import pytest
import scipy.sparse as sp

from lowrank_la import ConvergenceWarning
from lowrank_la.factor import rpcholesky
from tests.factor import oracles_slices as oracles

RNG = np.random.default_rng(2)


def kernel_matrix(n=300, width=1.0, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, 2))
    return np.exp(-np.sum((x[:, None] - x) ** 2, axis=-1) / (2 * width**2))


def random_psd(seed):
    rng = np.random.default_rng(seed)
    n, r = (int(x) for x in rng.integers(1, 40, 2))
    B = rng.standard_normal((n, r)) * 10.0 ** rng.uniform(-4, 4, (n, 1 if seed % 3 else r))
    return (B + 1j * rng.standard_normal((n, r)) * abs(B).max()) if seed % 4 == 0 else B, int(rng.integers(1, n + 1))


def test_certificates_hold_and_the_remainder_is_exact():
    for seed in range(300):
        B, k = random_psd(seed)
        K = B @ B.conj().T
        result = rpcholesky(K, k, rng=seed)
        E = (K - result.F @ result.F.conj().T).astype(np.clongdouble)
        trace = float(np.trace(E).real)
        assert result.rank <= k
        assert len(set(result.indices.tolist())) == result.rank
        bound = result.certificate.bound
        assert max(trace, np.linalg.norm(E.astype(complex))) <= bound * (1 + 1e-12)
        assert bound <= trace + 1e-11 * np.trace(K).real
        np.testing.assert_allclose(result.residual, np.diagonal(E).real, atol=1e-13 * abs(K).max())
        assert (abs(E[:, result.indices]) <= 1e-6 * np.sqrt(np.outer(np.diagonal(K), np.diagonal(K)).real[:, result.indices])).all()
        outer = np.sqrt(np.outer(result.residual, result.residual))
        assert (abs(E) <= outer * (1 + 1e-6) + 1e-10 * abs(K).max()).all()


def test_pivots_in_blocks_follow_the_law_of_one_at_a_time():
    """All ordered pairs of pivots of a 4 x 4 matrix, against their exact probabilities."""
    B = np.array([[2.0, 0, 0], [1.9, 0.5, 0], [0, 1, 0.3], [0.2, 0.1, 1]])
    K = B @ B.T
    expected = np.zeros((4, 4))
    for i in range(4):
        rest = np.diagonal(K - np.outer(K[:, i], K[i]) / K[i, i]).clip(0)
        expected[i] = K[i, i] / np.trace(K) * rest / rest.sum()
    draws, counts = 2000, np.zeros((4, 4))
    for seed in range(draws):
        i, j = rpcholesky(K, 2, rng=seed).indices
        counts[i, j] += 1
    assert np.sum((counts - draws * expected)[expected > 0] ** 2 / (draws * expected[expected > 0])) < 32  # chi-square, 11 degrees


def test_errors_are_those_of_one_pivot_at_a_time():
    K = kernel_matrix()
    ours = [rpcholesky(K, 40, rng=seed).error for seed in range(20)]
    naive = [np.trace(oracles.cholesky_one_by_one(K, 40, np.random.default_rng(seed))[1]) for seed in range(20)]
    assert np.mean(ours) == pytest.approx(np.mean(naive), rel=0.15)


@pytest.mark.parametrize("tol", [0.1, 1e-3, 1e-10])
def test_tolerances_are_kept_and_not_overshot(tol):
    K = kernel_matrix()
    result = rpcholesky(K, tol=tol, rng=0)
    assert result.converged
    assert result.relative_error <= tol
    assert np.trace(K - result.F[:, :-1] @ result.F[:, :-1].T) > tol * np.trace(K)


def test_kinds_of_kernels_agree():
    K = kernel_matrix() * (kernel_matrix(seed=1) > 0)
    expected = rpcholesky(K, 30, rng=3)
    counted = []

    def entries(rows, columns):
        block = K[rows][:, columns]
        counted.append(block.size)
        return block

    called = rpcholesky(entries, 30, diagonal=np.diagonal(K), rng=3)
    assert np.array_equal(called.indices, expected.indices)
    np.testing.assert_allclose(called.F, expected.F, atol=1e-12)
    assert called.evaluations == sum(counted) - 1  # one entry tells the dtype
    assert called.evaluations < 300 * 30 + 10 * 64**2
    sparse = rpcholesky(sp.csc_array(K), 30, rng=3)
    assert np.array_equal(sparse.indices, expected.indices)
    np.testing.assert_allclose(sparse.F, expected.F, atol=1e-12)


def test_complex_callables():
    B = RNG.standard_normal((50, 8)) + 1j * RNG.standard_normal((50, 8))
    K = B @ B.conj().T
    result = rpcholesky(lambda i, j: K[i][:, j], 8, diagonal=np.diagonal(K).real, rng=0)
    assert result.F.dtype == np.complex128
    np.testing.assert_allclose(result.F @ result.F.conj().T, K, atol=1e-11)


def test_backends(backend):
    K = kernel_matrix(200)
    expected = rpcholesky(K, 50, rng=1)
    result = rpcholesky(backend.array(K), 50, rng=1)
    assert np.array_equal(backend.numpy(result.indices), expected.indices)
    np.testing.assert_allclose(backend.numpy(result.F), expected.F, atol=1e-8)
    assert result.certificate.bound == pytest.approx(expected.certificate.bound)
    X = backend.array(np.random.default_rng(0).standard_normal((200, 2)))
    if backend.name != "strict":  # whose arrays take no index arrays beside other axes

        def kernel(i, j):
            difference = X[i][:, None, :] - X[j][None, :, :]
            squares = (difference * difference).sum(-1)
            return 1 / (1 + squares)

        ones = backend.array(np.ones(200))
        called = rpcholesky(kernel, 20, diagonal=ones, rng=1)
        assert type(called.F) is type(ones)


def test_float32_stays_and_stops_at_its_precision():
    K = kernel_matrix(400).astype(np.float32)
    result = rpcholesky(K, 400, rng=0)
    assert result.F.dtype == np.float32
    assert result.rank < 200
    E = K.astype(float) - result.F.astype(float) @ result.F.astype(float).T
    assert max(np.trace(E), np.linalg.norm(E)) <= result.certificate.bound < 1e-2 * np.trace(K)


def test_degenerate_kernels():
    nothing = rpcholesky(np.zeros((4, 4)), 2, rng=0)
    assert nothing.rank == 0
    assert nothing.error == nothing.certificate.bound == nothing.relative_error == 0
    assert rpcholesky(np.ones((5, 5)), 5, rng=0).rank == 1
    assert rpcholesky([[4]], 1, rng=0).F == 2.0
    spiked = np.diag([1e12, 1.0, 1.0])
    assert sorted(rpcholesky(spiked, 3, rng=0).indices) == [0, 1, 2]
    K = kernel_matrix(30)
    before = K.copy()
    rpcholesky(K.T, 5, rng=0)
    assert np.array_equal(K, before)


def test_a_tolerance_out_of_reach_is_said():
    with pytest.warns(ConvergenceWarning, match=r"rpcholesky: 5 columns leave .* of the trace, more than tol = 1e-06"):
        assert not rpcholesky(kernel_matrix(), 5, tol=1e-6, rng=0).converged


K = kernel_matrix(40)
INDEFINITE = np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])
BAD = [
    ("neither", (K,), {}, ValueError, "rpcholesky: rank or tol must be given; got neither"),
    ("rank", (K, 41), {}, ValueError, "rpcholesky: rank must be an integer between 1 and 40; got 41"),
    ("tol", (K,), {"tol": 1.0}, ValueError, "rpcholesky: tol must be a number between 0 and 1, ends excluded"),
    ("wide", (K[:3], 2), {}, ValueError, r"rpcholesky: K must be square; got shape \(3, 40\)"),
    ("empty", (K[:0, :0], 1), {}, ValueError, "rpcholesky: K must have at least one row; got none"),
    ("NaN", (K * np.nan, 1), {}, ValueError, "rpcholesky: K must be finite; got 1600 NaN"),
    ("negative", (-K, 1), {}, ValueError, "rpcholesky: K must be positive semidefinite; got a negative diagonal entry in row 0"),
    ("indefinite", (INDEFINITE, 3), {}, ValueError, "rpcholesky: K must be positive semidefinite; elimination leaves -3 on the"),
    ("skew", (np.triu(K), 9), {}, ValueError, "rpcholesky: K must be Hermitian; entries differ by"),
    ("no diagonal", (lambda i, j: K[i][:, j], 1), {}, ValueError, "rpcholesky: diagonal must be given with a callable K"),
    ("diagonal", (K, 1), {"diagonal": K[0]}, ValueError, "rpcholesky: diagonal must not be given with a matrix K"),
    ("shape", (lambda i, j: K[i], 1), {"diagonal": K[0]}, ValueError, r"rpcholesky: K\(rows, columns\) must have shape \(1, 1\)"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        rpcholesky(*args, **{"rng": 0, **kwargs})
