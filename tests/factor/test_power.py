"""Powers of semidefinite matrices against extended precision, and their error bounds."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.factor._power import psd_power

RNG = np.random.default_rng(8)
POWERS = [0.5, -0.5, -1.0, 0.25, 2.0, 0.0, 1.7, -0.3]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Many tiny problems: threads would only wait for each other."""
    with limit_threads(1):
        yield


def semidefinite(values, seed, *, is_complex=False):
    random, n = np.random.default_rng(seed), len(values)
    X = random.standard_normal((n, n)) + (1j * random.standard_normal((n, n)) if is_complex else 0)
    Q = np.linalg.qr(X)[0]
    A = (Q * np.asarray(values)) @ Q.conj().T
    return (A + A.conj().T) / 2


def exact_power(H, p):
    """H^p of a definite matrix with forty digits."""
    with mpmath.workdps(40):
        M = mpmath.matrix(H.tolist())
        values, V = mpmath.eigh(M) if np.isrealobj(H) else mpmath.eighe(M)
        X = V * mpmath.diag([mpmath.mpf(value) ** p for value in values]) * V.transpose_conj()
        return np.array(X.tolist(), dtype=complex if np.iscomplexobj(H) else float)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("p", POWERS)
def test_powers_agree_with_extended_precision(p, is_complex):
    H = semidefinite([1e-3, 0.02, 0.5, 1, 1, 30], 1, is_complex=is_complex)
    exact = exact_power(H, p)
    condition = 100 if p >= 0 else 1e5
    np.testing.assert_allclose(psd_power(H, p).X, exact, atol=1e-14 * condition * np.linalg.norm(exact))


def test_the_bounds_hold_for_problems_of_many_kinds():
    """X is the power of H + E to within F: measured by taking the power back in extended precision."""
    for number in range(300):
        random = np.random.default_rng(number)
        n, p = 1 + number % 5, POWERS[number % 5]
        values = 10.0 ** random.uniform(-3, 0, n) * 10.0 ** (number % 7 - 3)
        H = semidefinite(values, number)
        if number % 2:
            H = H.astype(np.float32)
        result = psd_power(H, p)
        assert result.rank == n
        assert result.clipped == 0
        exact, X = exact_power(H.astype(float), p), result.X.astype(float)
        back = exact_power((X + X.T) / 2, 1 / p)
        sensitivity = max(1, 1 / abs(p)) * (values.max() / values.min()) ** max(0, abs(p), -p + 1)
        bound = result.certificate.bound
        assert np.linalg.norm(back - H) <= 4 * sensitivity * bound * np.linalg.norm(H)
        assert np.linalg.norm(X - exact) <= 4 * sensitivity * bound * np.linalg.norm(exact)
        assert bound <= (1e-12 if H.dtype == float else 1e-5)


@given(
    n=st.integers(1, 12),
    rank=st.integers(0, 12),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1, 1e-12, 1e9]),
    is_complex=st.booleans(),
)
def test_identities(n, rank, seed, scale, is_complex):
    values = np.where(np.arange(n) < min(rank, n), 1 + np.arange(n) / n, 0) * scale
    H = semidefinite(values, seed, is_complex=is_complex)
    root, inverse, inverse_root = (psd_power(H, p).X for p in (0.5, -1, -0.5))
    projection = psd_power(H, 0).X
    size = scale * n
    np.testing.assert_allclose(root @ root, H, atol=1e-13 * size)
    np.testing.assert_allclose(H @ inverse, projection, atol=1e-12 * n)
    np.testing.assert_allclose(inverse_root @ inverse_root, inverse, atol=1e-12 * n / scale)
    np.testing.assert_allclose(inverse, np.linalg.pinv(H, hermitian=True, rcond=1e-10), atol=1e-12 * n / scale)
    assert np.trace(projection).real == pytest.approx(min(rank, n), abs=1e-10)
    assert psd_power(H, -1).rank == min(rank, n)


def test_floors_drop_or_raise_and_tell_the_mass():
    values = np.array([1e-6, 1e-4, 0.5, 2.0])
    H = semidefinite(values, 3)
    dropped, raised = psd_power(H, -0.5, floor=1e-3), psd_power(H, -0.5, floor=1e-3, below="raise")
    assert dropped.rank == raised.rank == 2
    assert dropped.clipped == pytest.approx(1.01e-4)
    assert raised.clipped == pytest.approx(4e-3 - 1.01e-4)
    np.testing.assert_allclose(np.linalg.eigvalsh(dropped.X), [0, 0, 2**-0.5, 2**0.5], atol=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(raised.X), [2**-0.5, 2**0.5, 2e-3**-0.5, 2e-3**-0.5], rtol=1e-10)
    clipping = np.linalg.norm([1e-6, 1e-4]) / np.linalg.norm(values)
    assert dropped.backward_error == pytest.approx(clipping, rel=1e-6)


def test_batches_are_loops():
    batch = np.stack([semidefinite(np.linspace(0, 1, 6) ** k, k) for k in (1, 2, 3)] + [np.zeros((6, 6))])
    whole = psd_power(batch, -0.5)
    for k in range(4):
        one = psd_power(batch[k], -0.5)
        np.testing.assert_allclose(whole.X[k], one.X, atol=1e-8 * np.abs(one.X).max())
        assert whole.rank[k] == one.rank
    assert whole.certificate.bound == pytest.approx(max(psd_power(H, -0.5).certificate.bound for H in batch), rel=0.5)
    assert np.array_equal(whole.X[3], np.zeros((6, 6)))


@pytest.mark.parametrize("is_complex", [False, True])
def test_backends(backend, is_complex):
    H = semidefinite(np.linspace(0.1, 1, 7), 1, is_complex=is_complex)
    for given_H in (H, np.stack([H, 2 * H])):
        result, expected = psd_power(backend.array(given_H), -0.5, floor=0.2), psd_power(given_H, -0.5, floor=0.2)
        np.testing.assert_allclose(backend.numpy(result.X), expected.X, atol=1e-12)
    assert np.array_equal(backend.numpy(result.rank), [6, 6])


def test_dtypes_and_inputs_left_alone():
    H = semidefinite(np.linspace(0.1, 1, 7), 1)
    for dtype in (np.float32, np.float16, np.complex64):
        given_H = np.ascontiguousarray(H.astype(dtype).T).T
        before = given_H.copy()
        assert psd_power(given_H, 0.5).X.dtype == dtype
        assert np.array_equal(given_H, before)
    np.testing.assert_allclose(psd_power(np.diag([4, 9]), 0.5).X, np.diag([2.0, 3.0]))


def test_defined_answers():
    for below in ("drop", "raise"):
        zero = psd_power(np.zeros((3, 3)), -1, below=below)
        assert np.array_equal(zero.X, np.zeros((3, 3)))
        assert zero.rank == zero.clipped == zero.certificate.bound == 0
    assert pytest.approx(np.array([[0.5]])) == psd_power([[4.0]], -0.5).X
    constant = psd_power(np.ones((4, 4)), 0.5)
    np.testing.assert_allclose(constant.X, np.full((4, 4), 0.5), atol=1e-7)


H = semidefinite([1.0, 2, 3], 0)
BAD = [
    ("not square", (H[:2], 1), {}, ValueError, "H must be square; got shape"),
    ("vector", (H[0], 1), {}, ValueError, "H must be 2-dimensional or 3-dimensional"),
    ("empty", (np.zeros((0, 0)), 1), {}, ValueError, "H must"),
    ("not Hermitian", (np.triu(H), 1), {}, ValueError, "H must be Hermitian"),
    ("negative", (H - 1.5 * np.eye(3), 1), {}, ValueError, "H must be positive semidefinite; got an eigenvalue of -0.5"),
    ("NaN", (H * np.nan, 1), {}, ValueError, "H must be finite; got 9 NaN"),
    ("p", (H, "half"), {}, TypeError, "p must be a number"),
    ("infinite p", (H, np.inf), {}, ValueError, "p must be a number"),
    ("floor", (H, 1), {"floor": -1}, ValueError, "floor must be a number between 0 and 1"),
    ("below", (H, 1), {"below": "keep"}, ValueError, "below must be one of"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=f"psd_power: {message}"):
        psd_power(*args, **options)
