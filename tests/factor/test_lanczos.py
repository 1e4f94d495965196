"""Lanczos against the definition of its matrices, quadrature against exact functions of matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import limit_threads
from lowrank_la.factor._lanczos import lanczos

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Many tiny problems: threads would only wait for each other."""
    with limit_threads(1):
        yield


def hermitian(n, seed, *, is_complex=False):
    random = np.random.default_rng(seed)
    A = random.standard_normal((n, n)) + (1j * random.standard_normal((n, n)) if is_complex else 0)
    return A + A.conj().T


def tridiagonal(result):
    alpha, beta = np.asarray(result.alpha), np.asarray(result.beta)[:-1]
    return np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1)


@given(n=st.integers(1, 40), k=st.integers(1, 40), seed=st.integers(0, 2**31), is_complex=st.booleans())
def test_the_recurrence_holds(n, k, seed, is_complex):
    A, k = hermitian(n, seed, is_complex=is_complex), min(n, k)
    start = np.random.default_rng(seed).standard_normal(n) + 0 * A[0]
    result = lanczos(A, k, start=start)
    Q, T = result.Q, tridiagonal(result)
    size = np.linalg.norm(A)
    np.testing.assert_allclose(Q[:, 0], start / np.linalg.norm(start), atol=1e-14)
    np.testing.assert_allclose(Q.conj().T @ Q, np.eye(Q.shape[1]), atol=1e-13)
    R = A @ Q - Q @ T
    assert np.linalg.norm(R[:, :-1]) <= 1e-13 * size
    assert np.linalg.norm(R[:, -1]) == pytest.approx(result.beta[-1], abs=1e-12 * size)
    assert (result.beta >= 0).all()
    np.testing.assert_allclose(result.values, np.linalg.eigvalsh(T)[::-1], atol=1e-12 * size)
    assert result.weights.sum() == pytest.approx(1)


def test_every_ritz_value_is_within_its_residual_of_an_eigenvalue():
    for number in range(300):
        n = 2 + number % 40
        A = hermitian(n, number, is_complex=number % 3 == 0)
        if number % 4 == 0:
            A = A.astype(np.complex64 if number % 3 == 0 else np.float32)
        eigenvalues = np.linalg.eigvalsh(A.astype(np.complex128))
        result = lanczos(A, 1 + number % n, rng=number)
        gaps = np.abs(result.values[:, None].astype(float) - eigenvalues).min(axis=1)
        rounding = 100 * np.finfo(A.dtype).eps * np.abs(eigenvalues).max()
        assert (gaps <= result.residuals + rounding).all()
        assert gaps.max() <= result.certificate.bound
        assert result.certificate.bound <= result.residuals.max() + n**0.5 * rounding


def test_an_invariant_space_ends_the_basis():
    A = np.diag(np.arange(1.0, 31))
    for keep in (True, False):
        result = lanczos(A, 12, start=np.eye(30)[4] + np.eye(30)[7], reorthogonalize=keep)
        assert result.invariant
        np.testing.assert_allclose(result.values, [8, 5], rtol=1e-14)
        np.testing.assert_allclose(result.weights, [0.5, 0.5], rtol=1e-13)
        np.testing.assert_allclose(result.residuals, 0, atol=1e-13)
    zero = lanczos(np.zeros((4, 4)), 3, rng=0)
    assert zero.invariant
    assert np.array_equal(zero.values, [0.0])
    assert zero.certificate.bound == 0


def test_the_quadrature_is_exact_for_polynomials():
    A, x = hermitian(50, 3) / 20, RNG.standard_normal(50)
    for keep in (True, False):
        result = lanczos(A, 6, start=x, reorthogonalize=keep)
        for degree in range(12):
            exact = x @ np.linalg.matrix_power(A, degree) @ x / (x @ x)
            assert result.weights @ result.values**degree == pytest.approx(exact, abs=1e-12)


def test_without_reorthogonalization_the_matrix_is_the_same_at_first():
    A = hermitian(60, 4)
    full, short = lanczos(A, 12, rng=1), lanczos(A, 12, rng=1, reorthogonalize=False)
    np.testing.assert_allclose(short.alpha, full.alpha, atol=1e-9)
    np.testing.assert_allclose(short.beta, full.beta, atol=1e-9)
    assert short.Q is None
    assert short.certificate.bound == np.inf
    assert short.certificate.method == "none"


def test_every_kind_of_input_gives_the_same_answer():
    A = hermitian(30, 5)
    first = lanczos(A, 8, rng=3)
    for other in (sp.csr_array(A), aslinearoperator(A), [A[:10], A[10:]]):
        np.testing.assert_allclose(lanczos(other, 8, rng=3).Q, first.Q, atol=1e-10)
    np.testing.assert_allclose(lanczos(lambda X: A @ X, 8, like=A[0], rng=3).Q, first.Q, atol=1e-10)
    assert lanczos(A.astype(np.float32), 4).alpha.dtype == np.float32
    assert lanczos(np.eye(4, dtype=int), 2).alpha.dtype == np.float64


@pytest.mark.parametrize("keep", [True, False])
def test_backends(backend, keep):
    for is_complex in (False, True):
        A = hermitian(20, 6, is_complex=is_complex)
        start = RNG.standard_normal(20)
        expected = lanczos(A, 5, start=start, reorthogonalize=keep)
        result = lanczos(backend.array(A), 5, start=backend.array(start), reorthogonalize=keep)
        for field in ("alpha", "beta", "values", "weights", "residuals"):
            np.testing.assert_allclose(backend.numpy(getattr(result, field)), getattr(expected, field), atol=1e-11)
        if keep:
            np.testing.assert_allclose(backend.numpy(result.Q), expected.Q, atol=1e-11)


A = hermitian(9, 0)
BAD = [
    ("k 0", (A, 0), {}, ValueError, "k must be an integer between 1 and 9; got 0"),
    ("k above n", (A, 10), {}, ValueError, "k must be an integer between 1 and 9; got 10"),
    ("zero start", (A, 3), {"start": np.zeros(9)}, ValueError, "start must not be zero; got 9 zeros"),
    ("short start", (A, 3), {"start": np.ones(8)}, ValueError, r"start must have shape \(9,\); got \(8,\)"),
    ("NaN start", (A, 3), {"start": np.full(9, np.nan)}, ValueError, "start must be finite"),
    ("not symmetric", (np.triu(A), 5), {}, ValueError, "A must be symmetric"),
    ("not symmetric, short", (np.triu(A), 5), {"reorthogonalize": False}, ValueError, "A must be symmetric"),
    ("not Hermitian", (1j * A, 5), {}, ValueError, "A must be Hermitian"),
    ("not square", (A[:4], 2), {}, ValueError, "A must be square"),
    ("rng", (A, 2), {"rng": "seed"}, TypeError, "rng must be None"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=f"lanczos: {message}"):
        lanczos(*args, **options)
