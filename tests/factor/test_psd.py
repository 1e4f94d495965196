"""Eigenpairs lie within their residuals, Nystrom approximations within their bounds."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.factor._psd import eigsh_psd, nystrom_psd


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Many tiny problems: threads would only wait for each other."""
    with limit_threads(1):
        yield


RNG = np.random.default_rng(2)
SPECTRA = {
    "slow": lambda i: (1.0 + i) ** -0.5,
    "medium": lambda i: 1 / (1.0 + i),
    "fast": lambda i: 0.5**i,
    "flat": lambda i: np.linspace(1, 2, i.size),
    "identity": lambda i: np.ones(i.size),
    "low rank": lambda i: (i < 4) * (4.0 - i),
    "step": lambda i: np.where(i < 6, 1.0, 1e-3),
    "one": lambda i: (i == 0) * 3.0,
}


def problem(n, kind, seed, *, scale=1.0, is_complex=False):
    """A positive semidefinite matrix and its eigenvalues, descending."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, n)) + (1j * random.standard_normal((n, n)) if is_complex else 0)
    Q = np.linalg.qr(X)[0]
    values = scale * np.sort(SPECTRA[kind](np.arange(n)))[::-1]
    A = (Q * values) @ Q.conj().T
    return (A + A.conj().T) / 2, values


problems = {
    "n": st.integers(1, 40),
    "kind": st.sampled_from(sorted(SPECTRA)),
    "seed": st.integers(0, 2**31),
    "scale": st.sampled_from([1.0, 1e-30, 1e20]),
    "is_complex": st.booleans(),
}


def distance(s, values):
    return np.min(np.abs(s[:, None] - values[None, :]), axis=1)


@pytest.mark.parametrize("method", ["krylov", "exact"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_eigenvalues_lie_within_their_residuals_and_are_the_largest(method, dtype):
    for number in range(160):
        kind = sorted(SPECTRA)[number % len(SPECTRA)]
        n = 5 + number % 60
        A, _ = problem(n, kind, number, is_complex=number % 3 == 0)
        A = A.astype(np.result_type(dtype, A.dtype) if dtype == np.float64 else (np.complex64 if number % 3 == 0 else np.float32))
        wide = np.linalg.eigvalsh(A.astype(np.complex128))[::-1]
        rank = 1 + number % min(n, 7)
        result = eigsh_psd(A, rank, method=method, rng=number)
        s = result.s.astype(float)
        assert result.converged
        assert (distance(s, wide) <= result.residuals).all(), (kind, n)
        tolerance = 1e-9 if dtype == np.float64 else 2e-4
        np.testing.assert_allclose(s, wide[:rank], atol=tolerance * wide[0])
        assert result.tail == pytest.approx(wide.sum() - s.sum(), abs=1e-5 * wide.sum())
        assert result.certificate.bound == pytest.approx(result.residuals.max())
        assert result.certificate.confidence == 1


@given(**problems, rank=st.integers(1, 40))
def test_vectors_are_orthonormal_and_residuals_true(n, kind, seed, scale, is_complex, rank):
    A, _ = problem(n, kind, seed, scale=scale, is_complex=is_complex)
    rank = min(rank, n)
    result = eigsh_psd(A, rank, method="krylov", rng=0)
    U, s = result.U, result.s
    np.testing.assert_allclose(U.conj().T @ U, np.eye(rank), atol=1e-12)
    assert (np.linalg.norm(A @ U - U * s, axis=0) <= result.residuals * (1 + 1e-12)).all()
    assert (np.diff(s) <= 1e-12 * scale).all()


def test_the_bound_of_nystrom_holds_always_with_the_trace():
    for number in range(300):
        kind = sorted(SPECTRA)[number % len(SPECTRA)]
        n = 3 + number % 50
        A, values = problem(n, kind, number, is_complex=number % 3 == 0)
        if number % 2:
            A = A.astype(np.complex64 if number % 3 == 0 else np.float32)
        result = nystrom_psd(A, 1 + number % n, oversample=number % 5, n_iter=number % 2, rng=number)
        wide = A.astype(np.complex128)
        error = np.linalg.eigvalsh(wide - result.to_dense().astype(np.complex128))
        assert np.abs(error).sum() <= result.certificate.bound, (kind, n)
        assert result.certificate.confidence == 1
        small = 1e-12 if A.dtype in {np.dtype(np.float64), np.dtype(np.complex128)} else 3e-5 * n
        assert result.certificate.bound <= np.abs(error).sum() + 30 * small * values[0] * n**0.5


def test_the_bound_of_nystrom_for_operators_holds_at_its_rate():
    misses, delta = 0, 0.1
    for number in range(300):
        kind = ["one", "low rank", "medium", "fast"][number % 4]
        A, _ = problem(25, kind, number, is_complex=number % 3 == 0)
        A[0, 0] += 1e-6
        result = nystrom_psd(aslinearoperator(A), 1 if kind == "one" else 3, oversample=0, delta=delta, rng=number)
        error = np.linalg.norm(A - result.to_dense(), "nuc")
        misses += error > result.certificate.bound
        assert result.certificate.confidence == 0.9
    assert misses <= 300 * delta + 3 * (300 * delta) ** 0.5


def test_the_estimate_for_operators_is_unbiased():
    A, _ = problem(30, "medium", 0)
    results = [nystrom_psd(aslinearoperator(A), 4, rng=seed) for seed in range(200)]
    errors = np.array([np.trace(A - result.to_dense()) for result in results])
    tails = np.array([result.tail for result in results])
    assert abs((tails - errors).mean()) <= 4 * (tails - errors).std() / 200**0.5


@given(**problems, rank=st.integers(1, 40))
def test_nystrom_is_between_zero_and_A(n, kind, seed, scale, is_complex, rank):
    A, values = problem(n, kind, seed, scale=scale, is_complex=is_complex)
    result = nystrom_psd(A, min(rank, n), rng=1)
    assert (result.s >= 0).all()
    assert np.linalg.eigvalsh(A - result.to_dense())[0] >= -1e-12 * n * values[0]
    np.testing.assert_allclose(result.U.conj().T @ result.U, np.eye(result.rank), atol=1e-12)


def test_low_rank_is_found_exactly():
    A, values = problem(60, "low rank", 1)
    for result in (nystrom_psd(A, 4, rng=0), eigsh_psd(A, 4, method="krylov", rng=0)):
        np.testing.assert_allclose(result.to_dense(), A, atol=1e-12)
        np.testing.assert_allclose(result.s, values[:4], rtol=1e-12)


def test_repeated_eigenvalues_are_all_found():
    A = np.diag(np.r_[np.full(12, 2.0), np.linspace(0, 1, 400)])
    np.testing.assert_allclose(eigsh_psd(A, 14, method="krylov", rng=0).s, np.r_[np.full(12, 2.0), 1, 1 - 1 / 399], rtol=1e-13)
    np.testing.assert_allclose(eigsh_psd(np.eye(90), 50, method="krylov", rng=0).s, np.ones(50), rtol=1e-13)


def test_power_steps_help():
    A, _ = problem(200, "slow", 5)
    tails = [nystrom_psd(A, 10, n_iter=steps, rng=0).tail for steps in (0, 2)]
    assert tails[1] < tails[0]
    assert nystrom_psd(A, 10, n_iter=2, rng=0).passes == 3


@pytest.mark.parametrize("function", [eigsh_psd, nystrom_psd])
def test_every_kind_of_input_gives_the_same_answer(function):
    A, _ = problem(320, "fast", 3)
    A[abs(A) < 1e-4] = 0
    A = A @ A
    before = A.copy()
    first = function(A, 3, rng=5)
    kinds = [sp.csr_array(A), sp.csc_matrix(A), aslinearoperator(A), [A[:100], A[100:]], lambda: [A[:100], sp.csr_array(A[100:])]]
    for other in [function(kind, 3, rng=5) for kind in kinds] + [function(lambda X: A @ X, 3, like=A[0], rng=5)]:
        np.testing.assert_allclose(other.s, first.s, rtol=1e-12)
        np.testing.assert_allclose(other.U, first.U, atol=1e-7)
    assert np.array_equal(A, before)
    assert function(A.astype(np.float32), 3, rng=5).U.dtype == np.float32
    assert function(A.astype(np.float16), 3, rng=5).U.dtype == np.float16
    assert function(np.diag([3, 2, 1]), 2, rng=5).s.dtype == np.float64


@pytest.mark.parametrize("function", [eigsh_psd, partial(eigsh_psd, method="krylov"), nystrom_psd], ids=["exact", "krylov", "nystrom"])
def test_backends(backend, function):
    A, _ = problem(40, "medium", 3)
    result, expected = function(backend.array(A), 5, rng=2), function(A, 5, rng=2)
    np.testing.assert_allclose(backend.numpy(result.s), expected.s, rtol=1e-11)
    np.testing.assert_allclose(backend.numpy(result.U), expected.U, atol=1e-6)
    assert result.certificate.bound == pytest.approx(expected.certificate.bound, rel=1e-3)
    inside = backend.array(A)
    products = function(lambda X: inside @ X, 5, rng=2, like=backend.array(A[0]))
    np.testing.assert_allclose(backend.numpy(products.s), expected.s, rtol=1e-11)
    H, _ = problem(20, "medium", 3, is_complex=True)
    np.testing.assert_allclose(backend.numpy(function(backend.array(H), 2, rng=2).s), function(H, 2, rng=2).s, rtol=1e-11)


@pytest.mark.parametrize("function", [eigsh_psd, nystrom_psd])
def test_defined_answers(function):
    zero = function(np.zeros((7, 7)), 2, rng=0)
    assert np.array_equal(zero.s, [0, 0])
    assert zero.certificate.bound == 0
    np.testing.assert_allclose(zero.U.T @ zero.U, np.eye(2), atol=1e-14)
    single = function(np.array([[4.0]]), 1, rng=0)
    assert single.s == pytest.approx([4.0])
    constant = function(np.full((9, 9), 2.0), 2, rng=0)
    np.testing.assert_allclose(constant.s, [18, 0], atol=1e-12)


def test_a_lack_of_steps_is_told():
    A, values = problem(400, "slow", 0)
    with pytest.warns(ConvergenceWarning, match="eigsh_psd: residuals up to .* of the largest eigenvalue are above tol after 3 steps"):
        result = eigsh_psd(A, 5, tol=1e-13, max_iter=3, rng=0)
    assert not result.converged
    assert (distance(result.s, values) <= result.residuals).all()


A, _ = problem(12, "medium", 0)
NEGATIVE = A - 0.5 * np.eye(12)
BAD = [
    ("rank 0", (A, 0), {}, ValueError, "rank must be an integer between 1 and 12; got 0"),
    ("rank above n", (A, 13), {}, ValueError, "rank must be an integer between 1 and 12; got 13"),
    ("not square", (A[:4], 1), {}, ValueError, "A must be square and not empty"),
    ("vector", (A[0], 1), {}, ValueError, "A must be 2-dimensional"),
    ("negative", (NEGATIVE, 3), {}, ValueError, "A must be positive semidefinite; got a Rayleigh quotient of -"),
    ("negative operator", (aslinearoperator(NEGATIVE), 3), {}, ValueError, "A must be positive semidefinite"),
    ("not symmetric", (A + np.triu(A), 3), {}, ValueError, "A must be symmetric; got"),
    ("not Hermitian", (A + 1j * A, 3), {}, ValueError, "A must be Hermitian; got"),
    ("NaN", (A * np.nan, 3), {}, ValueError, "A must be finite; got 144 NaN"),
    ("text", ("A", 3), {}, TypeError, "A must be an array of numbers; got str"),
    ("rng", (A, 3), {"rng": -1}, ValueError, "rng must be an int from 0"),
]


@pytest.mark.parametrize("function", [eigsh_psd, nystrom_psd])
@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(function, args, options, error, message):
    with pytest.raises(error, match=f"{function.__name__}: {message}"):
        function(*args, **options)


def test_bad_options():
    for function, options, message in (
        (eigsh_psd, {"tol": 0}, "eigsh_psd: tol must be a number above 0"),
        (eigsh_psd, {"method": "lobpcg"}, "eigsh_psd: method must be one of"),
        (eigsh_psd, {"max_iter": 0}, "eigsh_psd: max_iter must be an integer of at least 1"),
        (nystrom_psd, {"oversample": -1}, "nystrom_psd: oversample must be an integer of at least 0"),
        (nystrom_psd, {"n_iter": -1}, "nystrom_psd: n_iter must be"),
        (nystrom_psd, {"delta": 1.0}, "nystrom_psd: delta must be a number between 0 and 1, ends excluded"),
    ):
        with pytest.raises(ValueError, match=message):
            function(A, 2, **options)


def test_more_pairs_than_a_block_has_columns():
    for values in (np.linspace(0, 1, 500), 0.9 ** np.arange(500.0), np.where(np.arange(500) < 130, 1.0, 0.0)):
        result = eigsh_psd(np.diag(values), 120, method="krylov", rng=0)
        np.testing.assert_allclose(result.s, np.sort(values)[::-1][:120], atol=1e-12)
        assert result.converged
    with pytest.warns(ConvergenceWarning, match="eigsh_psd"):
        short = eigsh_psd(np.diag(np.linspace(0, 1, 500)), 120, method="krylov", max_iter=1, rng=0)
    assert short.rank == 120


def test_a_space_that_becomes_invariant_late():
    values = np.r_[np.linspace(1, 2, 70), np.zeros(430)]
    result = eigsh_psd(np.diag(values), 5, method="krylov", tol=1e-14, rng=0)
    np.testing.assert_allclose(result.s, np.sort(values)[:-6:-1], rtol=1e-13)
    assert result.converged
