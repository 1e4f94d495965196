"""Sums of Kronecker products, against the dense rearrangement."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from lowrank_la.factor import Factored, kron_svd


def rearranged(M, shapes):
    """One row for each block of M, by loops."""
    (m1, n1), (m2, n2) = shapes
    rows = [M[i * m2 : (i + 1) * m2, j * n2 : (j + 1) * n2].ravel() for i in range(m1) for j in range(n1)]
    return np.array(rows)


def summed(result):
    return sum(s * np.kron(A, B) for A, s, B in zip(result.A, result.s, result.B, strict=True))


def draw(rng, *shape, complex=False):
    return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex else 0)


KINDS = ["dense", "csr", "coo", "factored"]


def given_as(kind, M, rank=None):
    if kind == "dense":
        return M
    if kind == "factored":
        U, s, Vh = np.linalg.svd(M, full_matrices=False)
        return Factored(U, s, Vh.conj().T)
    return sp.csr_array(M) if kind == "csr" else sp.coo_matrix(M)


@given(
    seed=st.integers(0, 2**32),
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
    kind=st.sampled_from(KINDS),
    complex=st.booleans(),
    decay=st.floats(0, 3),
)
def test_no_sum_of_so_many_products_is_nearer(seed, sizes, kind, complex, decay):
    m1, n1, m2, n2 = sizes
    shapes = ((m1, n1), (m2, n2))
    rng = np.random.default_rng(seed)
    M = sum(10 ** (-decay * i) * np.kron(draw(rng, m1, n1, complex=complex), draw(rng, m2, n2, complex=complex)) for i in range(5))
    rank = 1 + seed % min(m1 * n1, m2 * n2)
    result = kron_svd(given_as(kind, M), shapes, rank, rng=0)
    values = np.linalg.svd(rearranged(M, shapes), compute_uv=False)
    best, true, size = np.sqrt((values[rank:] ** 2).sum()), np.linalg.norm(M - summed(result)), np.linalg.norm(M)
    assert result.A.shape == (rank, m1, n1)
    assert result.B.shape == (rank, m2, n2)
    assert result.certificate.confidence == 1
    assert true <= result.certificate.bound + 1e-14 * size
    assert true <= best + 1e-7 * size
    assert result.certificate.bound <= best + (1e-5 if kind in {"factored", "csr", "coo"} else 1e-9) * size
    np.testing.assert_allclose(result.s, values[:rank], atol=1e-7 * size)
    np.testing.assert_allclose(result.to_dense(), summed(result), atol=1e-12 * size)
    X = draw(rng, n1 * n2, 3, complex=complex)
    np.testing.assert_allclose(result @ X, summed(result) @ X, atol=1e-11 * size)
    np.testing.assert_allclose(result @ X[:, 0], summed(result) @ X[:, 0], atol=1e-11 * size)
    gram = np.einsum("kij,lij->kl", result.A.conj(), result.A)
    np.testing.assert_allclose(gram, np.eye(rank), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_hold_for_many_problems(kind):
    rng = np.random.default_rng(3)
    for _ in range(100):
        m1, n1, m2, n2 = rng.integers(1, 5, 4)
        M = draw(rng, m1 * m2, n1 * n2) @ np.diag(10.0 ** -rng.uniform(0, 6, n1 * n2))
        M = M.astype(np.float32) if kind == "dense" and rng.random() < 0.5 else M
        rank = int(rng.integers(1, min(m1 * n1, m2 * n2) + 1))
        result = kron_svd(given_as(kind, M), ((m1, n1), (m2, n2)), rank)
        E = M - sum(s * np.kron(A, B) for A, s, B in zip(*(x.astype(np.longdouble) for x in (result.A, result.s, result.B)), strict=True))
        rounding = 1e-14 * np.linalg.norm(M) if kind == "factored" else 0
        assert float(np.sqrt((E**2).sum())) <= result.certificate.bound + rounding


@pytest.mark.parametrize("kind", KINDS)
def test_a_tolerance_takes_as_few_terms_as_it_can(kind):
    rng = np.random.default_rng(4)
    M = sum(10.0**-i * np.kron(draw(rng, 6, 5), draw(rng, 4, 7)) for i in range(4))
    assert kron_svd(given_as(kind, M), ((6, 5), (4, 7)), tol=0.05).rank == 2
    assert kron_svd(given_as(kind, M), ((6, 5), (4, 7)), tol=0.5).rank == 1


def test_a_large_factored_matrix_is_never_formed():
    rng = np.random.default_rng(5)
    A, B = draw(rng, 60, 50), draw(rng, 200, 300)
    (Ua, sa, Va), (Ub, sb, Vb) = (np.linalg.svd(X, full_matrices=False) for X in (A, B))
    M = Factored(np.kron(Ua[:, :4], Ub[:, :3]), np.kron(sa[:4], sb[:3]), np.kron(Va[:4], Vb[:3]).T)
    result = kron_svd(M, ((60, 50), (200, 300)), 1, rng=0)
    assert result.error < 1e-6 * M.norm()
    assert result.s[0] == pytest.approx(M.norm())
    np.testing.assert_allclose(result.A[0], (Ua[:, :4] * sa[:4]) @ Va[:4] / np.linalg.norm(sa[:4]), atol=1e-8)


def test_works_on_every_backend(backend):
    rng = np.random.default_rng(6)
    M = draw(rng, 12, 10)
    reference = kron_svd(M, ((3, 5), (4, 2)), 3)
    U, s, Vh = np.linalg.svd(M, full_matrices=False)
    for matrix in (backend.array(M), Factored(backend.array(U), backend.array(s), backend.array(Vh.T))):
        result = kron_svd(matrix, ((3, 5), (4, 2)), 3)
        np.testing.assert_allclose(backend.numpy(result.A), reference.A, atol=1e-10)
        np.testing.assert_allclose(backend.numpy(result.B), reference.B, atol=1e-10)
        np.testing.assert_allclose(backend.numpy(result.to_dense()), reference.to_dense(), atol=1e-10)
        X = draw(rng, 10, 2)
        np.testing.assert_allclose(backend.numpy(result @ backend.array(X)), reference @ X, atol=1e-10)


def test_zero_integers_and_inputs_left_alone():
    zero = kron_svd(np.zeros((4, 6)), ((2, 3), (2, 2)), 2)
    assert not zero.to_dense().any()
    assert zero.certificate.bound < 1e-12
    M = np.arange(24).reshape(4, 6)
    before = M.copy()
    assert kron_svd(M, ((2, 3), (2, 2))).to_dense() == pytest.approx(M)
    assert np.array_equal(M, before)
    S = sp.csc_array(M.astype(float))
    kron_svd(S, ((2, 3), (2, 2)), 1)
    assert np.array_equal(S.toarray(), before)


M = np.arange(24.0).reshape(4, 6)
SHAPES = ((2, 3), (2, 2))
BAD = [
    ("shape", (M, ((2, 2), (2, 2)), 1), ValueError, r"kron_svd: M must have shape \(4, 4\) for these factors; got \(4, 6\)"),
    ("factored", (Factored(M, np.ones(6), np.eye(6)), ((2, 2), (2, 2)), 1), ValueError, "M must have shape"),
    ("rank", (M, SHAPES, 5), ValueError, "kron_svd: rank must be an integer between 1 and 4; got 5"),
    ("shapes", (M, (2, 3), 1), TypeError, "shapes must be two pairs of integers"),
    ("negative", (M, ((-2, 3), (2, 2)), 1), ValueError, "shapes must be an integer of at least 1; got -2"),
    ("NaN", (M * np.nan, SHAPES, 1), ValueError, "kron_svd: M must be finite; got 24"),
    ("operator", (aslinearoperator(M), SHAPES, 1), TypeError, "M must be an array, a sparse matrix or Factored"),
    ("batch", (M[None], SHAPES, 1), ValueError, "M must be 2-dimensional"),
]


@pytest.mark.parametrize(("args", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(args, error, message):
    with pytest.raises(error, match=message):
        kron_svd(*args)


def test_bad_tolerance():
    with pytest.raises(ValueError, match="kron_svd: tol must be a number between 0 and 1"):
        kron_svd(M, SHAPES, tol=2)
