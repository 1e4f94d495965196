"""Frequent Directions: the bound holds always, on streams of every kind and division."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.factor import FrequentDirections

D, L = 30, 8
RNG = np.random.default_rng(0)
A = RNG.standard_normal((200, D)) * 0.8 ** np.arange(D)


@pytest.fixture
def one_thread():
    """Many tiny problems in a row are faster without waiting for a second thread."""
    with limit_threads(1):
        yield


def streamed(pieces, d=D, size=L):
    stream = FrequentDirections(d, size)
    for piece in pieces:
        stream.update(piece)
    return stream


def gram(A):
    A = np.asarray(A).astype(np.clongdouble if np.iscomplexobj(A) else np.longdouble)
    return A.conj().T @ A


def covariance_error(A, B):
    difference = gram(A) - gram(B)
    return np.linalg.eigvalsh(difference.astype(np.complex128 if np.iscomplexobj(difference) else np.float64))


KINDS = {
    "decay": lambda rng, n, d: rng.standard_normal((n, d)) * 0.7 ** np.arange(d),
    "flat": lambda rng, n, d: rng.standard_normal((n, d)),
    "low rank": lambda rng, n, d: rng.standard_normal((n, 3)) @ rng.standard_normal((3, d)),
    "drifting": lambda rng, n, d: np.eye(d)[np.arange(n) * d // n] * rng.uniform(1, 2, (n, 1)),
    "heavy tails": lambda rng, n, d: rng.standard_t(1.5, (n, d)),
    "growing": lambda rng, n, d: rng.standard_normal((n, d)) * 1.1 ** np.arange(n)[:, None],
    "complex": lambda rng, n, d: rng.standard_normal((n, d)) + 1j * rng.standard_normal((n, d)) * 0.5 ** np.arange(d),
    "large and tiny": lambda rng, n, d: rng.standard_normal((n, d)) * 10.0 ** rng.integers(-12, 12, d),
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_never_exceeded(kind):
    for trial in range(45):
        rng = np.random.default_rng(trial)
        n, d = int(rng.integers(1, 150)), int(rng.integers(2, 30))
        size = int(rng.integers(1, d + 1))
        A = KINDS[kind](rng, n, d)
        A = A.astype(np.float32) if trial % 5 == 0 and kind != "complex" else A
        result = streamed(np.array_split(A, 3), d, size).result()
        values = covariance_error(A, result.B)
        rounding = 1e-6 if A.dtype == np.float32 else 1e-13 * n
        energy = float(np.sum(np.abs(A.astype(np.clongdouble)) ** 2))
        assert abs(values).max() <= result.certificate.bound
        assert values[0] >= -rounding * energy
        assert result.squared_norm == pytest.approx(energy, rel=1e-13)
        s = np.linalg.svd(A.astype(np.complex128), compute_uv=False)
        tails = [np.sum(s[k:] ** 2) / (size + 1 - k) for k in range(size + 1)]
        assert result.certificate.bound <= min(tails) * (1 + 1e-9) + 10 * rounding * energy
        for k in range(size + 1):
            V = np.asarray(result.V)[:, :k].astype(np.complex128)
            assert np.linalg.norm(A - A @ V @ V.conj().T) <= result.projection_error(k)
    assert result.certificate.confidence == 1


def test_the_bound_is_tight_where_it_matters():
    result = streamed([A]).result()
    assert result.certificate.bound <= 4 * abs(covariance_error(A, result.B)).max()
    best = np.linalg.norm(np.linalg.svd(A, compute_uv=False)[3:])
    assert result.projection_error(3) <= 1.3 * best


def test_few_rows_are_kept_as_they_are():
    result = streamed([A[:5]]).result()
    assert result.s.shape == (L,)
    assert result.V.shape == (D, L)
    np.testing.assert_allclose(result.B.T @ result.B, A[:5].T @ A[:5], atol=1e-13)
    assert result.certificate.bound < 1e-10


def test_vectors_are_orthonormal_also_of_zeros():
    for rows in (A, A[:2], np.zeros((3, D)), np.ones((50, D))):
        result = streamed([rows]).result()
        np.testing.assert_allclose(result.V.T @ result.V, np.eye(L), atol=1e-13)
        assert np.all(np.diff(result.s) <= 0)
    assert streamed([np.zeros((40, D))]).result().certificate.bound == 0


def assert_same(ours, wanted, atol=1e-9):
    np.testing.assert_allclose(ours.s, wanted.s, atol=atol, rtol=0)
    np.testing.assert_allclose(np.asarray(ours.V).conj().T @ wanted.V, np.eye(L), atol=max(atol, 1e-14))
    assert ours.certificate.bound == pytest.approx(wanted.certificate.bound, rel=1e-9)
    assert (ours.n_rows, ours.squared_norm) == (wanted.n_rows, pytest.approx(wanted.squared_norm))


@pytest.mark.usefixtures("one_thread")
@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 200), max_size=6), kind=st.sampled_from(["dense", "csr", "blocks", "fortran", "list"]))
def test_any_division_gives_the_same_answer(cuts, kind):
    change = {
        "dense": np.copy,
        "csr": sp.csr_array,
        "blocks": lambda x: iter([x[:1], x[1:]]),
        "fortran": np.asfortranarray,
        "list": np.ndarray.tolist,
    }
    pieces = [piece for piece in np.split(A, sorted(cuts)) if len(piece) or kind != "list"]
    assert_same(streamed(map(change[kind], pieces)).result(), streamed([A]).result())


def test_merged_streams_keep_the_bound():
    workers = [streamed([A[50 * w : 50 * w + 50]]) for w in range(4)]
    total = FrequentDirections(D, L)
    before = workers[2].result()
    total.merge(FrequentDirections(D, L))
    for worker in workers:
        total.merge(worker)
    result = total.result()
    assert abs(covariance_error(A, result.B)).max() <= result.certificate.bound
    s = np.linalg.svd(A, compute_uv=False)
    assert result.certificate.bound <= 1.0001 * min(np.sum(s[k:] ** 2) / (L + 1 - k) for k in range(L + 1))
    assert result.n_rows == 200
    assert_same(workers[2].result(), before, atol=0)


def test_a_stream_that_was_saved_goes_on_bit_for_bit(tmp_path):
    for cut in (0, 3, 91):
        stream = streamed([A[:cut]] if cut else [])
        stream.save(tmp_path / "stream.npz")
        again = FrequentDirections.load(tmp_path / "stream.npz")
        for each in (stream, again):
            each.update(A[cut:])
        assert_same(again.result(), stream.result(), atol=0)
        np.testing.assert_array_equal(again.result().V, stream.result().V)
        assert again.result().certificate == stream.result().certificate


def test_backends_agree(backend, tmp_path):
    wanted = streamed([A]).result()
    stream = streamed([backend.array(part) for part in np.split(A, 4)])
    result = stream.result()
    np.testing.assert_allclose(backend.numpy(result.s), wanted.s, atol=1e-10)
    np.testing.assert_allclose(backend.numpy(result.V), wanted.V, atol=1e-7)
    np.testing.assert_allclose(backend.numpy(result.B), wanted.B, atol=1e-7)
    assert result.projection_error(2) == pytest.approx(wanted.projection_error(2))
    stream.save(tmp_path / "stream.npz")
    again = FrequentDirections.load(tmp_path / "stream.npz")
    again.update(backend.array(A))
    stream.update(backend.array(A))
    np.testing.assert_array_equal(backend.numpy(again.result().s), backend.numpy(stream.result().s))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64, np.int32])
def test_answers_have_the_dtype_of_the_rows(dtype):
    rows = (10 * A).astype(dtype)
    result = streamed([rows]).result()
    wanted = np.float64 if dtype == np.int32 else dtype
    assert result.V.dtype == wanted
    assert result.s.dtype == np.zeros(0, wanted).real.dtype


def test_thin_streams():
    for n, d, size in ((1, 5, 1), (9, 1, 1), (40, 2, 2)):
        rows = RNG.standard_normal((n, d))
        result = streamed([rows], d, size).result()
        assert abs(covariance_error(rows, result.B)).max() <= result.certificate.bound


def test_inputs_stay_as_they_are():
    rows = A.copy().T.copy().T
    stream = streamed([rows])
    stream.result()
    np.testing.assert_array_equal(rows, A)


BAD = [
    ("no columns", lambda: FrequentDirections(0, 1), ValueError, "d must be an integer of at least 1"),
    ("no rows", lambda: FrequentDirections(5, 0), ValueError, "sketch_size must be an integer between 1 and 5; got 0"),
    ("too many rows", lambda: FrequentDirections(5, 6), ValueError, "sketch_size must be an integer between 1 and 5; got 6"),
    ("columns", lambda: streamed([A[:, 1:]]), ValueError, r"rows must be 2-dimensional with 30 columns; got shape \(200, 29\)"),
    ("NaN", lambda: streamed([A, A * np.nan]), ValueError, "update: rows must be finite; got 6000"),
    ("overflow", lambda: streamed([A * 1e200]), ValueError, "squares do not overflow"),
    ("complex", lambda: streamed([A, 1j * A]), TypeError, "rows must be real, as the first update"),
    ("text", lambda: streamed(["text"]), TypeError, "rows must be an array of numbers"),
    ("nothing yet", lambda: FrequentDirections(5, 1).result(), ValueError, "the stream must have got rows before"),
    ("other size", lambda: streamed([A]).merge(FrequentDirections(D, 3)), ValueError, "other must have d = 30 and sketch_size = 8"),
    ("other dtype", lambda: streamed([A]).merge(streamed([A.astype("f")])), ValueError, "other must have dtype float64; got float32"),
    ("no stream", lambda: streamed([A]).merge(A), TypeError, "other must be a FrequentDirections"),
    ("k", lambda: streamed([A]).result().projection_error(9), ValueError, "k must be an integer between 0 and 8"),
]


@pytest.mark.parametrize(("call", "error", "message"), [pytest.param(*case[1:], id=case[0]) for case in BAD])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("content", [b"no archive", None])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file.npz"
    np.savez(path, x=np.ones(3)) if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a file that FrequentDirections\.save wrote"):
        FrequentDirections.load(path)
