"""A factored matrix behaves as the dense one that it stands for."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.factor import Factored


def pair(seed, m, n, r, *, complex=False, batch=()):
    """A factored matrix and the dense one, in long double."""
    rng = np.random.default_rng(seed)
    U, V = (rng.standard_normal((*batch, k, r)) + (1j * rng.standard_normal((*batch, k, r)) if complex else 0) for k in (m, n))
    s = rng.standard_normal((*batch, r))
    return (U, s, V), dense(U, s, V)


def dense(U, s, V):
    U, s, V = (np.asarray(x).astype(np.clongdouble if np.iscomplexobj(x) else np.longdouble) for x in (U, s, V))
    return (U * s[..., None, :]) @ np.conj(np.swapaxes(V, -1, -2))


def norm(E):
    return np.sqrt((np.abs(E) ** 2).sum(axis=(-2, -1)))


CASES = [
    pytest.param(parts, id=name)
    for name, parts in {
        "real": (1, 12, 9, 3),
        "wide": (2, 4, 30, 4),
        "a column": (3, 20, 1, 1),
        "a row": (4, 1, 7, 1),
        "more columns held than rows": (5, 3, 4, 8),
    }.items()
]


@pytest.mark.parametrize("batch", [(), (3,)], ids=["", "batch"])
@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("parts", CASES)
def test_arithmetic_is_that_of_the_dense_matrix(parts, complex, batch):
    seed, m, n, r = parts
    f, F = pair(seed, m, n, r, complex=complex, batch=batch)
    g, G = pair(seed + 50, m, n, r + 1, complex=complex, batch=batch)
    f, g = Factored(*f), Factored(*g)
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((*batch, n, 2)), rng.standard_normal((*batch, 2, m))
    checks = [
        (f.to_dense(), F),
        ((f + g).to_dense(), F + G),
        ((f - g).to_dense(), F - G),
        ((2 * f / 3).to_dense(), 2 * F / 3),
        ((f * 1j).to_dense(), F * 1j),
        ((-f).to_dense(), -F),
        (f.T.to_dense(), np.swapaxes(F, -1, -2)),
        (f.H.to_dense(), np.conj(np.swapaxes(F, -1, -2))),
        (f.conj().to_dense(), np.conj(F)),
        (f @ X, F @ X),
        (Y @ f, Y @ F),
        ((f @ g.H).to_dense(), F @ np.conj(np.swapaxes(G, -1, -2))),
        ((f.H @ g).to_dense(), np.conj(np.swapaxes(F, -1, -2)) @ G),
        (Factored.sum([f, g, f]).to_dense(), 2 * F + G),
        (f.rows(np.array([m - 1, 0])), F[..., [m - 1, 0], :]),
        (f.entries([0, m - 1], [n - 1, 0]), F[..., [0, m - 1], [n - 1, 0]]),
        (f.inner(g), (np.conj(F) * G).sum(axis=(-2, -1))),
        (f.norm(), norm(F)),
        (f.norm(2), np.linalg.norm(F.astype(f.dtype), 2, axis=(-2, -1))),
        (f.norm("nuc"), np.linalg.norm(F.astype(f.dtype), "nuc", axis=(-2, -1))),
        (f.singular_values(), np.linalg.svd(F.astype(f.dtype), compute_uv=False)[..., : min(r, m, n)]),
    ]
    for i, (got, wanted) in enumerate(checks):
        np.testing.assert_allclose(got, wanted.astype(np.asarray(got).dtype), atol=1e-11, rtol=1e-11, err_msg=str(i))
    assert f.shape == F.shape
    assert len(f) == F.shape[0]
    if not batch:
        np.testing.assert_allclose(f @ X[:, 0], (F @ X[:, 0]).astype(f.dtype), atol=1e-12)
        np.testing.assert_allclose(Y[0] @ f, (Y[0] @ F).astype(f.dtype), atol=1e-12)


def test_the_product_keeps_the_smaller_rank():
    f, g = Factored(*pair(0, 30, 20, 2)[0]), Factored(*pair(1, 20, 40, 7)[0])
    assert (f @ g).rank == (g.T @ f.T).rank == 2


@given(
    seed=st.integers(0, 2**32),
    m=st.integers(1, 30),
    n=st.integers(1, 30),
    r=st.integers(1, 12),
    decay=st.floats(0, 8),
    batch=st.sampled_from([(), (2,)]),
    dtype=st.sampled_from([np.float64, np.float32, np.complex128, np.complex64]),
)
def test_recompression_is_optimal_and_its_certificate_holds(seed, m, n, r, decay, batch, dtype):
    complex = np.issubdtype(dtype, np.complexfloating)
    (U, s, V), _ = pair(seed, m, n, r, complex=complex, batch=batch)
    s = 10.0 ** (-decay * np.arange(r)) * np.ones((*batch, r))
    U, V = U.astype(dtype), V.astype(dtype)
    f = Factored(U, s, V)
    truth = dense(U, s.astype(np.float32 if f.s.dtype == np.float32 else float), V)
    rank = 1 + seed % min(m, n, r)
    result = f.recompress(rank)
    error = norm(truth - dense(result.U, result.s, result.V)).max()
    assert result.dtype == dtype
    assert result.certificate.confidence == 1
    assert error <= result.certificate.bound
    eps = np.finfo(dtype).eps
    optimum = np.sqrt((np.linalg.svd(truth.astype(np.result_type(dtype, float)), compute_uv=False)[..., rank:] ** 2).sum(-1)).max()
    assert result.certificate.bound <= optimum * (1 + 100 * eps) + 100 * eps * (m + n) * norm(truth).max()
    for Q in (result.U, result.V):
        np.testing.assert_allclose(np.conj(np.swapaxes(Q, -1, -2)) @ Q, np.eye(rank) * np.ones((*batch, 1, 1)), atol=50 * eps)


def test_certificates_hold_for_many_sums():
    rng = np.random.default_rng(11)
    for seed in range(300):
        dtype = [np.float64, np.float32][seed % 2]
        m, n, r = rng.integers(1, 20, 3)
        parts = [pair(1000 * seed + i, m, n, r)[0] for i in range(2)]
        terms = [Factored(*(x.astype(dtype) for x in part)) for part in parts]
        total = terms[0] - terms[1] * float(rng.choice([1.0, 1e-6])) if seed % 3 else terms[0] - terms[0] * (1 + 1e-5)
        result = total.recompress(int(rng.integers(1, min(m, n, r) + 1)))
        error = norm(dense(total.U, total.s, total.V) - dense(result.U, result.s, result.V))
        assert error <= result.certificate.bound * (1 + 1e-15), seed


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_recompression_by_tolerance_takes_the_smallest_rank(dtype):
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 10)))[0]
    f = Factored(Q.astype(dtype), 10.0 ** -np.arange(10), Q[::-1].astype(dtype))
    assert [f.recompress(tol=tol).rank for tol in (0.0999, 0.2, 0.00999, 0.9)] == [2, 1, 3, 1]
    assert f.recompress(tol=0).rank == 10
    assert f.recompress(tol=1e-3, certificate=False).certificate is None


def test_a_difference_has_a_norm_at_roundoff():
    (U, s, V), F = pair(3, 200, 100, 5)
    f = Factored(U, s, V)
    assert (f - f).norm() < 1e-14 * norm(F) * 10
    assert Factored.sum([f, -0.5 * f, -0.5 * f]).recompress(tol=0.5).certificate.bound < 1e-12 * norm(F)


def test_zero():
    zero = Factored(np.zeros((5, 2)), np.ones(2), np.ones((4, 2)))
    assert zero.norm() == zero.norm(2) == 0
    small = zero.recompress(tol=1e-3)
    assert small.rank == 1
    assert small.certificate.bound < 1e-14
    assert not small.to_dense().any()


def test_works_on_every_backend(backend):
    (U, s, V), F = pair(7, 20, 15, 4)
    f = Factored(*(backend.array(x) for x in (U, s, V)))
    small = (f + f).recompress(3)
    reference = (Factored(U, s, V) * 2).recompress(3)
    for name in ("U", "s", "V"):
        np.testing.assert_allclose(backend.numpy(getattr(small, name)), getattr(reference, name), atol=1e-12)
    X = np.random.default_rng(1).standard_normal((15, 3))
    np.testing.assert_allclose(backend.numpy(f @ backend.array(X)), (F @ X).astype(float), atol=1e-12)
    np.testing.assert_allclose(backend.numpy((1j * f).to_dense()), (1j * F).astype(complex), atol=1e-12)
    index = backend.array(np.array([3, 0]))
    np.testing.assert_allclose(backend.numpy(f.entries(index, index)), F[[3, 0], [3, 0]].astype(float), atol=1e-12)
    np.testing.assert_allclose(backend.numpy(Factored.from_factors(backend.array(U), backend.array(V.T)).to_dense()), U @ V.T, atol=1e-12)
    assert f.inner(f) == pytest.approx(float(norm(F) ** 2))


def test_arrays_of_numpy_and_torch_may_stand_on_the_left():
    import torch

    (U, s, V), F = pair(7, 20, 15, 4)
    X = np.random.default_rng(1).standard_normal((3, 20))
    np.testing.assert_allclose(X @ Factored(U, s, V), (X @ F).astype(float), atol=1e-12)
    product = torch.asarray(X) @ Factored(*(torch.asarray(x) for x in (U, s, V)))
    np.testing.assert_allclose(product.numpy(), (X @ F).astype(float), atol=1e-12)


def test_half_precision_and_pickles_and_views():
    import torch

    (U, s, V), _ = pair(9, 6, 5, 2)
    half = Factored(*(torch.asarray(x).half() for x in (U, s, V)))
    assert (half + half).recompress(1).U.dtype == torch.float16
    before = U.copy()
    f = Factored(np.asfortranarray(U)[:, ::1], s, V)
    again = pickle.loads(pickle.dumps(f.recompress(1)))
    assert np.array_equal(U, before)
    assert again.rank == 1
    assert "rank 1, float64" in repr(again)
    assert "Certificate" in repr(again)


U, s, V = pair(0, 6, 5, 2)[0]
F = Factored(U, s, V)
BAD = [
    ("V misfits", lambda: Factored(U, s, V[:, :1]), ValueError, r"Factored: V must have shape \(5, 2\); got \(5, 1\)"),
    ("s misfits", lambda: Factored(U, s[:1], V), ValueError, r"Factored: s must have shape \(2,\); got \(1,\)"),
    ("complex s", lambda: Factored(U, s + 1j, V), TypeError, "Factored: s must be real"),
    ("NaN", lambda: Factored(U * np.nan, s, V), ValueError, "Factored: U must be finite; got 12"),
    ("inf in s", lambda: Factored(U, s * np.inf, V), ValueError, "Factored: s must be finite; got 2"),
    ("vector", lambda: Factored(s, s, V), ValueError, "Factored: U must be 2-dimensional or 3-dimensional"),
    ("empty", lambda: Factored(U[:0], s, V), ValueError, r"Factored: U must have at least one entry; got shape \(0, 2\)"),
    ("no terms", lambda: Factored.sum([]), ValueError, "Factored.sum: terms must be at least one matrix"),
    ("a number", lambda: Factored.sum([F, 3]), TypeError, "Factored.sum: terms must be Factored; got int"),
    ("shapes differ", lambda: F + F.T, ValueError, r"terms must have one shape; got \(6, 5\) and \(5, 6\)"),
    ("A misfits", lambda: Factored.from_factors(U, V), ValueError, r"Factored: A must have shape \(2, 2\)"),
    ("product", lambda: F @ F, ValueError, "the product needs shapes that fit"),
    ("array", lambda: F @ U, ValueError, r"Factored: X must fit a matrix of shape \(6, 5\); got shape \(6, 2\)"),
    ("rank", lambda: F.recompress(3), ValueError, "Factored.recompress: rank must be an integer between 1 and 2; got 3"),
    ("both", lambda: F.recompress(1, tol=0.1), ValueError, "rank and tol exclude each other"),
    ("tol", lambda: F.recompress(tol=-1), ValueError, "Factored.recompress: tol must be"),
    ("ord", lambda: F.norm("max"), ValueError, "Factored.norm: ord must be one of 'fro', 2, 'nuc'"),
    ("no ord", lambda: F.norm(None), ValueError, "Factored.norm: ord must be one of"),
    ("inner", lambda: F.inner(F.T), ValueError, r"other must have shape \(6, 5\)"),
    ("rows", lambda: F.rows([6]), ValueError, "Factored.rows: index must be from 0 to 5; got 6 to 6"),
    ("float rows", lambda: F.rows([0.5]), TypeError, "Factored.rows: index must be integers"),
    ("nan factor", lambda: F * float("nan"), ValueError, "a scalar factor must be finite"),
    ("by zero", lambda: F / 0, ZeroDivisionError, "must not be 0"),
    ("a matrix factor", lambda: F * U, TypeError, "Factored"),
    ("plus array", lambda: F + U, TypeError, "Factored"),
]


@pytest.mark.parametrize(("call", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
