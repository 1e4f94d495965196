"""Singular value decompositions: every method, input and option against LAPACK in higher precision."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import ConvergenceWarning
from lowrank_la.factor import svd

RNG = np.random.default_rng(11)
DECAYS = {
    "slow": lambda m: np.arange(1.0, m + 1) ** -0.5,
    "harmonic": lambda m: np.arange(1.0, m + 1) ** -1,
    "fast": lambda m: np.exp(-np.arange(m) / 4.0),
    "equal": np.ones,
    "planted": lambda m: np.where(np.arange(m) < 12, 1.0, 0.02),
    "one": lambda m: np.where(np.arange(m) < 1, 1.0, 1e-3),
}


def with_values(n, d, s, rng=RNG, complex_=False):
    """A matrix with given singular values, and its best errors in the Frobenius norm by rank."""

    def basis(rows):
        X = rng.standard_normal((rows, s.size))
        return np.linalg.qr(X + 1j * rng.standard_normal(X.shape) if complex_ else X)[0]

    A = (basis(n) * s) @ basis(d).conj().T
    return A, np.sqrt(np.r_[np.cumsum(s[::-1] ** 2)[::-1], 0.0])


def kinds(A):
    cut = A.shape[0] // 3
    return {
        "dense": A,
        "fortran": np.asfortranarray(A),
        "csr": sp.csr_array(A),
        "csc": sp.csc_matrix(A),
        "operator": aslinearoperator(A),
        "blocks": [A[:cut], A[cut:]],
        "blocks again": lambda: iter([A[:cut], sp.csr_array(A[cut:])]),
    }


def check(A, result, k, best, *, within=1.02, digits=1e-12):
    U, s, V = result.U, result.s, result.V
    error = np.linalg.norm(A - (U * s) @ V.conj().T)
    assert U.shape == (A.shape[0], k)
    assert V.shape == (A.shape[1], k)
    assert abs(U.conj().T @ U - np.eye(k)).max() < digits
    assert abs(V.conj().T @ V - np.eye(k)).max() < digits
    assert np.all(np.diff(s) <= 0)
    assert s[-1] >= 0
    assert error <= within * best[k] + digits * best[0]
    return error


@pytest.mark.parametrize("shape", [(700, 260), (260, 700), (300, 300)])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("method", ["auto", "exact", "gram", "subspace", "krylov"])
def test_methods_reach_nearly_the_best_error(shape, decay, method):
    A, best = with_values(*shape, DECAYS[decay](min(shape)))
    before = A.copy()
    result = svd(A, 10, method=method, rng=1)
    error = check(A, result, 10, best)
    assert result.error == pytest.approx(error, rel=1e-8)
    assert error <= result.certificate.bound <= 1.02 * error + 1e-12
    assert result.converged
    assert np.array_equal(A, before)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("kind", kinds(np.zeros((3, 3))))
@pytest.mark.parametrize("centre", [False, True])
def test_kinds_of_input_give_one_answer(kind, complex_, turned, centre):
    A, _ = with_values(*((230, 600) if turned else (600, 230)), DECAYS["harmonic"](230), complex_=complex_)
    A = A + 0.01
    full = A - A.mean(axis=0) if centre else A
    s = np.linalg.svd(full, compute_uv=False)
    best = np.sqrt(np.r_[np.cumsum(s[::-1] ** 2)[::-1], 0.0])
    result = svd(kinds(A)[kind], 12, centre=centre, rng=3)
    error = check(full, result, 12, best)
    np.testing.assert_allclose(result.s, s[:12], rtol=0.01)
    assert error <= result.certificate.bound
    assert result.passes > 0
    if centre:
        np.testing.assert_allclose(result.mean, A.mean(axis=0), atol=1e-14)
    if kind != "operator":
        assert result.certificate.confidence == 1


def test_signs_are_those_of_the_largest_entries():
    A, _ = with_values(400, 300, DECAYS["harmonic"](300))
    for method in ("exact", "krylov"):
        U = svd(A, 5, method=method, rng=0).U
        assert np.all(U[np.argmax(abs(U), axis=0), range(5)] > 0)


def test_float32_stays_float32_and_its_singular_values_are_those_of_float64():
    A, best = with_values(900, 300, DECAYS["slow"](300))
    A = A.astype(np.float32)
    for B in (A, sp.csr_array(A), A.T):
        result = svd(B, 20, rng=0)
        assert result.U.dtype == result.s.dtype == result.V.dtype == np.float32
        check(B.toarray() if sp.issparse(B) else B, result, 20, best, digits=3e-6)
    exact = np.linalg.svd(A.astype(float), compute_uv=False)[:20]
    np.testing.assert_allclose(svd(A, 20, n_iter=8, rng=0).s, exact, rtol=2e-7)


def test_scale_does_not_matter():
    A, _ = with_values(400, 300, DECAYS["slow"](300))
    unit = svd(A, 8, rng=0)
    for exponent in (-400, 400):
        result = svd(A * 2.0**exponent, 8, rng=0)
        np.testing.assert_allclose(result.s, unit.s * 2.0**exponent, rtol=1e-13)
        assert result.n_iter == unit.n_iter
    small = svd((A * 2.0**-55).astype(np.float32), 8, rng=0)
    np.testing.assert_allclose(small.s.astype(float) * 2.0**55, unit.s, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 300), (300, 3)])
def test_small_shapes(shape):
    A = RNG.standard_normal(shape)
    result = svd(A)
    np.testing.assert_allclose(result.s, np.linalg.svd(A, compute_uv=False), rtol=1e-13)
    np.testing.assert_allclose(result.to_dense(), A, atol=1e-13)
    assert result.rank == min(shape)
    assert np.linalg.norm(result.to_dense() - A) <= result.certificate.bound < 1e-11


@pytest.mark.parametrize("method", ["exact", "gram", "subspace", "krylov"])
@pytest.mark.parametrize("A", [np.zeros((30, 20)), np.ones((30, 20)), np.eye(30)[:, :20]], ids=["zero", "constant", "identity"])
def test_degenerate_matrices(A, method):
    for k in (1, 20):
        result = svd(A, k, method=method, rng=0)
        check(A, result, k, np.sqrt(np.r_[np.cumsum(np.linalg.svd(A)[1][::-1] ** 2)[::-1], 0.0]))
        assert result.error <= result.certificate.bound


@pytest.mark.parametrize("kind", ["dense", "csr", "blocks"])
@pytest.mark.parametrize("decay", ["slow", "harmonic", "fast"])
def test_tolerance_in_the_frobenius_norm(kind, decay):
    A, best = with_values(500, 320, DECAYS[decay](320))
    for tol in (0.5, 0.2, 0.03):
        least = int(np.argmax(best <= tol * best[0]))
        result = svd(kinds(A)[kind], tol=tol, rng=0)
        assert result.converged
        assert np.linalg.norm(A - result.to_dense()) <= tol * best[0] * (1 + 1e-10)
        assert least <= result.rank <= 1.1 * least + 1


@pytest.mark.parametrize("kind", ["dense", "operator"])
@pytest.mark.parametrize("norm", ["spectral", "fro"])
def test_tolerance_by_certified_errors(kind, norm):
    A, best = with_values(500, 320, DECAYS["fast"](320))
    result = svd(kinds(A)[kind], tol=0.05, norm=norm, method="krylov", rng=0)
    errors = {"spectral": np.linalg.norm(A - result.to_dense(), 2), "fro": np.linalg.norm(A - result.to_dense()) / best[0]}
    assert errors[norm] <= 0.05
    assert 10 <= result.rank <= 20


def test_a_tolerance_that_the_rank_does_not_allow():
    A, best = with_values(500, 320, DECAYS["slow"](320))
    with pytest.warns(ConvergenceWarning, match="the error is above tol = 0.1 with rank = 20"):
        result = svd(A, 20, tol=0.1, rng=0)
    assert not result.converged
    check(A, result, 20, best)
    assert svd(A, 200, tol=0.7, rng=0).rank == int(np.argmax(best <= 0.7 * best[0]))
    with pytest.warns(ConvergenceWarning, match="for rounding errors"):
        assert not svd(sp.csr_array(A), tol=1e-15, rng=0).converged


def test_batches_are_matrices_side_by_side():
    for n, d, k in ((30, 12, 4), (260, 230, 5), (230, 260, 5)):
        A = np.stack([with_values(n, d, DECAYS[decay](min(n, d)))[0] for decay in ("slow", "fast", "planted")])
        result = svd(A, k, rng=0, centre=True)
        assert result.U.shape == (3, n, k)
        assert result.V.shape == (3, d, k)
        assert result.mean.shape == (3, d)
        for i in range(3):
            error = np.linalg.norm(A[i] - result.mean[i] - result.to_dense()[i])
            s = np.linalg.svd(A[i] - A[i].mean(axis=0), compute_uv=False)
            np.testing.assert_allclose(result.error[i], error, rtol=1e-6)
            assert error <= min(1.02 * np.linalg.norm(s[k:]), result.certificate.bound)


def test_backends(backend):
    A, _ = with_values(300, 240, DECAYS["slow"](240))
    expected = svd(A, 6, rng=5)
    result = svd(backend.array(A), 6, rng=5)
    for name in ("U", "s", "V"):
        np.testing.assert_allclose(backend.numpy(getattr(result, name)), getattr(expected, name), atol=1e-9)
    assert result.error == pytest.approx(expected.error)
    assert result.n_iter == expected.n_iter
    batch = svd(backend.array(A.reshape(10, 30, 240)), 3)
    assert backend.numpy(batch.U).shape == (10, 30, 3)


def test_n_iter_is_obeyed_and_helps():
    A, best = with_values(500, 300, DECAYS["slow"](300))
    errors = [svd(A, 10, method="krylov", n_iter=q, rng=2) for q in range(4)]
    assert [result.n_iter for result in errors] == [0, 1, 2, 3]
    assert all(a.error > b.error for a, b in pairwise(errors))
    assert errors[-1].error < 1.001 * best[10]


def test_integers_lists_and_half_precision():
    A = RNG.integers(-5, 6, (40, 30))
    expected = np.linalg.svd(A, compute_uv=False)[:3]
    np.testing.assert_allclose(svd(A, 3).s, expected)
    np.testing.assert_allclose(svd(A.tolist(), 3).s, expected)
    half = svd(A.astype(np.float16), 3)
    assert half.s.dtype == np.float16
    np.testing.assert_allclose(half.s, expected, rtol=1e-3)


@settings(max_examples=25)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 60),
    share=st.floats(0, 1),
    method=st.sampled_from(["auto", "gram", "subspace", "krylov"]),
    decay=st.sampled_from(list(DECAYS)),
    seed=st.integers(0, 2**32),
)
def test_any_shape_and_rank(n, d, share, method, decay, seed):
    A, best = with_values(n, d, DECAYS[decay](min(n, d)), np.random.default_rng(seed))
    k = 1 + int(share * (min(n, d) - 1))
    result = svd(A, k, method=method, rng=seed)
    error = check(A, result, k, best, within=1.03)
    assert error <= result.certificate.bound


GOOD = RNG.standard_normal((40, 30))
WITH_INF = GOOD.copy()
WITH_INF[2, 3] = np.inf
BAD = [
    ("rank", GOOD, {"rank": 31}, ValueError, "svd: rank must be an integer between 1 and 30; got 31"),
    ("rank zero", GOOD, {"rank": 0}, ValueError, "svd: rank must be an integer between 1 and 30; got 0"),
    ("rank of text", GOOD, {"rank": "3"}, TypeError, "svd: rank must be an integer"),
    ("tol", GOOD, {"tol": 2}, ValueError, "svd: tol must be a number between 0 and 1"),
    ("method", GOOD, {"method": "qr"}, ValueError, "svd: method must be one of 'auto', 'exact'"),
    ("certificate", GOOD, {"certificate": True}, ValueError, "svd: certificate must be one of"),
    ("not finite", WITH_INF, {}, ValueError, "svd: A must be finite; got 1 NaN or infinite entry out of 1200, the first in row 2"),
    ("empty", np.zeros((0, 4)), {}, ValueError, r"svd: A must have at least one entry; got shape \(0, 4\)"),
    ("vector", GOOD[0], {}, ValueError, "svd: A must be 2-dimensional"),
    ("exact sparse", sp.csr_array(GOOD), {"method": "exact"}, ValueError, 'svd: A must be a dense array for method="exact"'),
    ("excess operator", aslinearoperator(GOOD), {"rank": 2, "certificate": "excess"}, ValueError, "svd: A must have entries"),
    ("batch tol", GOOD[None], {"tol": 0.1}, ValueError, "svd: tol and certificate='error' need one matrix"),
    ("n_iter", GOOD, {"n_iter": -1}, ValueError, "svd: n_iter must be an integer of at least 0"),
    ("rng", GOOD, {"rng": "x"}, TypeError, "svd: rng must be None"),
]


@pytest.mark.parametrize(("A", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(A, options, error, message):
    with pytest.raises(error, match=message):
        svd(A, **options)


def test_float32_steps_give_the_singular_values_of_float64_wherever_they_run():
    for decay, ratio in (("slow", 1e-4), ("fast", 1e-5)):
        A, best = with_values(2200, 500, DECAYS[decay](500))
        results = [svd(X, 12, rng=0) for X in (A, A.T.copy(), A.T.copy().T, A + 0j)]
        for result in results:
            np.testing.assert_allclose(result.s, results[0].s, rtol=ratio)
            assert result.error <= 1.02 * best[12]
        centred = svd(A + 3, 12, centre=True, rng=0)
        np.testing.assert_allclose(centred.s, svd(A - A.mean(axis=0), 12, rng=0).s, rtol=ratio)
    far = svd(A + 1e6, 12, centre=True, rng=0)
    np.testing.assert_allclose(far.s, svd(A - A.mean(axis=0), 12, rng=0).s, rtol=1e-4)
    steep, best = with_values(2200, 500, 10.0 ** -np.arange(500))
    for result in (svd(steep, 6, rng=0), svd(steep, 6, rng=0, n_iter=1)):
        assert np.linalg.norm(steep - result.to_dense()) <= 1.01 * best[6]


def test_singular_values_that_hold_little_of_the_norm_are_found_all_the_same():
    rng = np.random.default_rng(3)
    places = rng.integers(0, 20_000, 200_000), rng.integers(0, 2000, 200_000)
    A = sp.csr_array((rng.standard_normal(200_000) + 1, places), shape=(20_000, 2000))
    best = np.linalg.svdvals((A.T @ A).toarray()) ** 0.5
    result = svd(A, 10, rng=0)
    assert (best[:10] ** 2).sum() < 0.02 * (best**2).sum()
    assert result.s[0] > 0.99 * best[0]
    assert (result.s**2).sum() > 0.93 * (best[:10] ** 2).sum()
