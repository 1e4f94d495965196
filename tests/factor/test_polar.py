"""Polar decompositions by all methods, against Newton-Schulz in long double."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.factor import polar

METHODS = ["svd", "qdwh", "newton-schulz"]


def matrix(seed, m, n, *, cond=10.0, complex=False, dtype=np.float64):
    rng = np.random.default_rng(seed)
    k = min(m, n)

    def basis(rows):
        return np.linalg.qr(rng.standard_normal((rows, k)) + (1j * rng.standard_normal((rows, k)) if complex else 0))[0]

    A = (basis(m) * np.geomspace(cond, 1, k)) @ basis(n).conj().T
    return A.astype(np.result_type(dtype, np.complex64) if complex else dtype)


def oracle(A):
    """U of A = U H, in long double; for condition numbers up to a million."""
    X = A.astype(np.clongdouble if np.iscomplexobj(A) else np.longdouble)
    X = X / np.sqrt((np.abs(X) ** 2).sum())
    for _ in range(80):
        gram = X.conj().T @ X if X.shape[0] >= X.shape[1] else X @ X.conj().T
        X = 1.5 * X - 0.5 * (X @ gram if X.shape[0] >= X.shape[1] else gram @ X)
    return X


def norm(E):
    return float(np.sqrt((np.abs(E.astype(np.clongdouble)) ** 2).sum()))


@pytest.mark.parametrize("method", METHODS)
@given(
    seed=st.integers(0, 2**32),
    m=st.integers(1, 12),
    n=st.integers(1, 12),
    log_cond=st.floats(0, 4),
    scale=st.sampled_from([1e-10, 1.0, 1e10]),
    complex=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_factors_are_right_and_bounds_hold(method, seed, m, n, log_cond, scale, complex, dtype):
    A = scale * matrix(seed, m, n, cond=10 ** (log_cond if dtype == np.float64 else log_cond / 4), complex=complex, dtype=dtype)
    A = A.astype(matrix(0, 1, 1, complex=complex, dtype=dtype).dtype)
    result = polar(A, method=method)
    U, H = (x.astype(np.clongdouble if complex else np.longdouble) for x in (result.U, result.H))
    eps = np.finfo(dtype).eps
    gram = U.conj().T @ U if m >= n else U @ U.conj().T
    worst = max(norm(gram - np.eye(min(m, n))), norm(A - U @ H) / norm(A))
    assert result.U.dtype == result.H.dtype == A.dtype
    assert result.method == method
    assert worst <= result.certificate.bound <= worst + 100 * (m + n) * eps
    assert worst <= 200 * eps
    assert norm(U - oracle(A)) <= result.U_bound
    assert result.U_bound <= 1e4 * eps * 10**log_cond
    assert np.array_equal(result.H, result.H.conj().T)
    assert np.linalg.eigvalsh(result.H).min() >= -30 * eps * norm(A)


def test_bounds_hold_for_many_problems():
    rng = np.random.default_rng(0)
    for seed in range(300):
        m, n = rng.integers(1, 9, 2)
        A = matrix(seed, m, n, cond=10 ** rng.uniform(0, 6), complex=bool(rng.integers(2)))
        result = polar(A, method=METHODS[seed % 3])
        assert norm(result.U - oracle(A)) <= result.U_bound < 1e-4


@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_singular_matrices_have_an_answer(method, rank):
    rng = np.random.default_rng(1)
    A = rng.standard_normal((7, rank)) @ rng.standard_normal((rank, 5))
    result = polar(A, method=method)
    np.testing.assert_allclose(result.U.T @ result.U, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(result.U @ result.H, A, atol=1e-12)
    assert result.U_bound == np.inf
    assert result.certificate.bound < 1e-11


def test_iterations_take_as_many_steps_as_their_theory_says():
    A = matrix(2, 60, 60, cond=1e12)
    assert polar(A, method="qdwh").n_iter <= 6
    assert polar(A, method="newton-schulz").n_iter <= 40
    assert polar(matrix(3, 40, 20, cond=2), method="newton-schulz").n_iter <= 10
    assert polar(A).n_iter == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(3, 6, 4), (3, 4, 4), (2, 3, 5)])
def test_batches_are_single_answers(method, shape):
    A = np.random.default_rng(4).standard_normal(shape)
    together = polar(A, method=method)
    for i in range(shape[0]):
        one = polar(A[i])
        np.testing.assert_allclose(together.U[i], one.U, atol=1e-12)
        np.testing.assert_allclose(together.H[i], one.H, atol=1e-12)
        assert norm(together.U[i] - oracle(A[i])) <= together.U_bound[i]


@pytest.mark.parametrize("method", METHODS)
def test_works_on_every_backend(backend, method):
    A = matrix(5, 9, 6)
    result = polar(backend.array(A), method=method)
    np.testing.assert_allclose(backend.numpy(result.U), oracle(A).astype(float), atol=1e-13)
    np.testing.assert_allclose(backend.numpy(result.U) @ backend.numpy(result.H), A, atol=1e-13)


def test_half_precision_lists_and_views():
    import torch

    A = matrix(6, 5, 4)
    assert polar(torch.asarray(A).half()).U.dtype == torch.float16
    assert polar([[3, 0], [0, 4]]).H[1, 1] == pytest.approx(4)
    before = A.copy()
    polar(A.T, method="qdwh")
    assert np.array_equal(A, before)


BAD = [
    ("vector", np.ones(3), {}, ValueError, r"polar: A must be 2-dimensional or 3-dimensional; got shape \(3,\)"),
    ("NaN", np.full((2, 2), np.nan), {}, ValueError, "polar: A must be finite; got 4"),
    ("empty", np.ones((0, 2)), {}, ValueError, "polar: A must have at least one entry"),
    ("method", np.eye(2), {"method": "newton"}, ValueError, "polar: method must be one of 'auto', 'svd', 'qdwh', 'newton-schulz'"),
]


@pytest.mark.parametrize(("A", "options", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(A, options, error, message):
    with pytest.raises(error, match=message):
        polar(A, **options)
