"""Certificates of singular value decompositions hold as often as they say, and are sharp; estimates are close."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from lowrank_la.factor import rangefinder, svd

RNG = np.random.default_rng(29)
PROBLEMS = 320


def basis(rng, n, k):
    return np.linalg.qr(rng.standard_normal((n, k)))[0]


def problem(i):
    """A matrix of a kind that changes with i, a rank, and its singular values."""
    rng = np.random.default_rng(i)
    n, d = rng.integers(20, 90, 2)
    m = min(n, d)
    j = np.arange(1.0, m + 1)
    s = [
        j**-0.25,
        j**-0.5,
        j**-1.0,
        j**-3.0,
        np.exp(-j / rng.uniform(1, 10)),
        np.ones(m),
        np.where(j <= m // 3, 1, 0.05),
        np.where(j <= 4, 1, 1e-6) * (1 + 0.01 * rng.random(m)),
        np.where(j <= 5, 1, 0.0),
        np.sort(rng.random(m))[::-1],
    ][i % 10]
    s = np.sort(s)[::-1] * 10.0 ** rng.integers(-8, 9)
    return (basis(rng, n, m) * s) @ basis(rng, d, m).T, int(rng.integers(1, max(2, m // 2))), s


def rms(s):
    return float(np.linalg.norm(s))


def test_errors_are_bounded_always_and_sharply():
    for i in range(PROBLEMS):
        A, k, s = problem(i)
        method = ("auto", "krylov", "subspace", "gram")[i % 4]
        A = A.astype(np.float32) if i % 3 == 0 else A
        result = svd(A, k, method=method, rng=i)
        wide = [x.astype(float) for x in (A, result.U, result.s, result.V)]
        error = rms(wide[0] - (wide[1] * wide[2]) @ wide[3].T)
        assert result.certificate.confidence == 1
        assert error <= result.certificate.bound
        assert result.certificate.bound <= 1.02 * error + 50 * np.finfo(A.dtype).eps * s[0] * np.sqrt(k)


def test_spectral_errors_are_bounded_as_often_as_stated():
    misses, loose = 0, []
    for i in range(PROBLEMS):
        A, k, s = problem(i)
        result = svd(sp.csr_array(A) if i % 8 == 0 else A, k, method="krylov", n_iter=i % 3, certificate="spectral", rng=i)
        error = np.linalg.norm(A - result.to_dense(), 2)
        misses += error > result.certificate.bound
        loose.append(result.certificate.bound / (error + 1e-12 * s[0]))
    assert misses <= 0.01 * PROBLEMS + 3 * np.sqrt(0.01 * PROBLEMS)
    assert np.median(loose) < 1.05


@pytest.mark.parametrize(
    ("tail", "dtype", "passes"), [(0.1, np.float64, 12), (1e-9, np.float64, 24), (0.1, np.float32, 12), (1e-3, np.float32, 24)]
)
def test_spectral_errors_take_one_pass_a_step_unless_they_drown_in_the_square_of_the_matrix(tail, dtype, passes):
    s = np.r_[np.ones(5), tail * np.arange(1.0, 296) ** -0.3]
    A = ((basis(RNG, 400, 300) * s) @ basis(RNG, 300, 300).T).astype(dtype)
    options = {"method": "krylov", "n_iter": 1, "rng": 0}
    result = svd(A, 5, certificate="spectral", **options)
    U, s, V = (x.astype(float) for x in (result.U, result.s, result.V))
    error = np.linalg.norm(A - (U * s) @ V.T, 2)
    assert result.passes == svd(A, 5, **options).passes + passes
    assert error <= result.certificate.bound <= 1.1 * error


def test_probed_errors_of_operators_are_bounded_as_often_as_stated():
    misses = 0
    for i in range(PROBLEMS):
        A, k, _ = problem(i)
        if i % 2:  # the worst case: an error of rank one
            rng = np.random.default_rng(i)
            A, k = np.outer(rng.standard_normal(A.shape[0]), rng.standard_normal(A.shape[1])), 1
            A = A + 1e6 * np.outer(basis(rng, A.shape[0], 1), basis(rng, A.shape[1], 1))
        result = svd(aslinearoperator(A), k, rng=i)
        misses += rms(A - result.to_dense()) > result.certificate.bound
    assert misses <= 0.01 * PROBLEMS + 3 * np.sqrt(0.01 * PROBLEMS)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_excess_over_the_optimum_is_bounded_as_often_as_stated(steps):
    misses = 0
    for i in range(PROBLEMS):
        A, k, _ = problem(i)
        A = A.astype(np.float32) if i % 4 == 0 else A
        result = svd(A, k, method="krylov", n_iter=steps, certificate="excess", rng=i)
        best = rms(np.linalg.svd(A.astype(float), compute_uv=False)[k:])
        error = rms(A.astype(float) - (result.U.astype(float) * result.s.astype(float)) @ result.V.astype(float).T)
        misses += error > (1 + result.certificate.bound) * best
        assert result.certificate.bound >= 0
    assert misses <= 0.02 * PROBLEMS + 3 * np.sqrt(0.02 * PROBLEMS)


def test_the_excess_bound_is_sharp_where_steps_have_converged():
    for decay in (0.5, 1.0):
        j = np.arange(1, 301.0)
        A = (basis(RNG, 400, 300) * j**-decay) @ basis(RNG, 300, 300).T
        result = svd(A, 30, n_iter=4, method="krylov", certificate="excess", rng=1)
        assert 0 <= result.certificate.bound < 0.01


def test_singular_values_and_angles_are_bounded_as_often_as_stated():
    misses, angles_known = 0, 0
    for i in range(PROBLEMS):
        A, k, _ = problem(i)
        result = svd(A, k, method="krylov", n_iter=1 + i % 3, certificate="values", rng=i)
        U, s, Vh = np.linalg.svd(A)
        wrong = abs(result.s - s[:k]).max() > result.certificate.bound
        exact, found = (Vh.T, result.V) if A.shape[0] >= A.shape[1] else (U, result.U)
        for j in range(1, k + 1):
            sine = np.linalg.norm(found[:, :j] - exact[:, :j] @ (exact[:, :j].T @ found[:, :j]), 2)
            wrong |= sine > result.angles[j - 1] + 1e-12
        misses += wrong
        angles_known += result.angles.min() < 1
        closest = abs(s[:, None] - result.s).min(axis=0)
        assert np.all(closest <= result.residuals + 1e-12 * s[0])
    assert misses <= 0.01 * PROBLEMS + 3 * np.sqrt(0.01 * PROBLEMS)
    assert angles_known > PROBLEMS / 3


def test_leave_one_out_estimates_are_close_to_the_error():
    within = 0
    for i in range(1000):
        A, k, s = problem(i)
        result = rangefinder(A, k, rng=i)
        error = rms(A - result.Q @ (result.Q.T @ A))
        within += error / 2 <= result.error <= 2 * error or max(error, result.error) < 1e-13 * s[0] * len(s)
    assert within >= 950


def test_ranges_are_bounded_as_often_as_stated():
    misses = 0
    for i in range(PROBLEMS):
        A, k, _ = problem(i)
        result = rangefinder(A, k, n_iter=i % 2, rng=i)
        Q = result.Q
        assert abs(Q.T @ Q - np.eye(k)).max() < 1e-13
        misses += rms(A - Q @ (Q.T @ A)) > result.certificate.bound
    assert misses <= 0.01 * PROBLEMS + 3 * np.sqrt(0.01 * PROBLEMS)


def test_leave_one_out_is_what_leaving_out_gives():
    from lowrank_la.factor._range import _left_out

    Y = RNG.standard_normal((30, 6)) + 1j * RNG.standard_normal((30, 6))
    others = [np.linalg.qr(np.delete(Y, j, axis=1))[0] for j in range(6)]
    left = [rms(Y[:, j] - Q @ (Q.conj().T @ Y[:, j])) ** 2 for j, Q in enumerate(others)]
    Q, R = np.linalg.qr(Y[:, :5])
    inside = Q.conj().T @ Y[:, 5:]
    assert _left_out(R, inside, Y[:, 5:] - Q @ inside) == pytest.approx(np.mean(left))
    assert _left_out(np.zeros((3, 3)), np.zeros((3, 1)), np.zeros((4, 1))) == 0
    assert _left_out(np.ones((3, 3)), np.ones((3, 1)), np.zeros((4, 1))) < 1e-25


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, aslinearoperator, lambda A: [A[:30], A[30:]]])
def test_ranges_of_every_kind(kind):
    A = (basis(RNG, 90, 70) * np.exp(-np.arange(70) / 3.0)) @ basis(RNG, 70, 70).T
    plain, power = (rangefinder(kind(A), 10, n_iter=q, rng=4) for q in (0, 2))
    best = rms(np.exp(-np.arange(10, 70) / 3.0))
    assert best <= rms(A - power.Q @ (power.Q.T @ A)) < 1.3 * best
    assert power.passes == plain.passes + 4
    assert rangefinder(np.zeros((5, 4)), 2).error == 0


def test_ranges_on_backends(backend):
    A = (basis(RNG, 90, 70) * np.exp(-np.arange(70) / 3.0)) @ basis(RNG, 70, 70).T
    expected, result = rangefinder(A, 6, rng=1), rangefinder(backend.array(A), 6, rng=1)
    Q = backend.numpy(result.Q)
    np.testing.assert_allclose(Q @ Q.T, expected.Q @ expected.Q.T, atol=1e-10)
    assert result.error == pytest.approx(expected.error)


BAD = [
    (np.ones((5, 4)), 5, ValueError, "rangefinder: k must be an integer between 1 and 4; got 5"),
    (np.full((5, 4), np.nan), 2, ValueError, "rangefinder: A must be finite; got 20"),
    (np.zeros((0, 4)), 1, ValueError, "rangefinder: A must have at least one entry"),
]


@pytest.mark.parametrize(("A", "k", "error", "message"), BAD)
def test_bad_input(A, k, error, message):
    with pytest.raises(error, match=message):
        rangefinder(A, k)
