"""One-pass singular vectors: any division of the matrix gives the same answer, and the certificate holds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.factor import StreamingSVD, _probes, _tall

N, D, K = 150, 40, 3


@pytest.fixture
def one_thread():
    """Many tiny problems in a row are faster without waiting for a second thread."""
    with limit_threads(1):
        yield


def spectrum(seed, s, n=N, d=D, dtype=np.float64):
    """Give a matrix with singular values s and random or coordinate singular vectors."""
    rng = np.random.default_rng(seed)

    def columns(m):
        X = np.zeros((m, len(s)), dtype)
        if seed % 3 == 0:
            X[rng.permutation(m)[: len(s)], np.arange(len(s))] = 1
            return X
        X[:] = rng.standard_normal(X.shape)
        return np.linalg.qr(X + 1j * rng.standard_normal(X.shape) if np.iscomplexobj(X) else X)[0]

    return (columns(n) * s) @ columns(d).conj().T


DECAYS = {
    "slow": 1 / np.arange(1, 31) ** 0.5,
    "fast": 10.0 ** -np.arange(30),
    "step": np.r_[np.ones(K), 1e-3 * np.ones(27)],
    "one left": np.r_[np.ones(K), 0.1, np.zeros(26)],
    "flat": np.ones(30),
}
A = spectrum(1, DECAYS["slow"])


def streamed(pieces, shape=D, rank=K, **options):
    stream = StreamingSVD(shape, rank, rng=0, **options)
    for piece in pieces:
        stream.append(piece)
    return stream


def error_of(A, result):
    return np.linalg.norm(A - (np.asarray(result.U) * np.asarray(result.s)) @ np.asarray(result.V).conj().T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("rank", [1, 4])
def test_a_matrix_of_low_rank_is_found_exactly(dtype, rank):
    exact = spectrum(2, 3.0 ** -np.arange(rank), dtype=np.result_type(dtype, np.float64))
    A = exact.astype(dtype)
    result = streamed(np.split(A, 5), rank=rank).svd()
    eps = np.finfo(dtype).eps
    assert result.U.dtype == result.V.dtype == dtype
    assert result.s.dtype == result.U.real.dtype
    np.testing.assert_allclose(result.s, 3.0 ** -np.arange(rank), atol=40 * eps)
    assert error_of(A, result) <= result.certificate.bound < 1000 * eps
    for Q in (result.U, result.V):
        np.testing.assert_allclose(Q.conj().T @ Q, np.eye(rank), atol=20 * eps)
    assert (result.passes, result.method, result.converged) == (1, "stream", True)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.usefixtures("one_thread")
def test_errors_are_small_multiples_of_the_best(decay):
    A = spectrum(4, DECAYS[decay])
    best = np.linalg.norm(DECAYS[decay][K:])
    errors = [error_of(A, whole(A, seed)) for seed in range(20)]
    assert np.sqrt(np.mean(np.square(errors))) <= 2.2 * best


def whole(A, seed):
    stream = StreamingSVD(A.shape, K, rng=seed)
    stream.append(A)
    return stream.svd()


def test_more_columns_of_the_sketch_make_the_error_smaller():
    true = [error_of(A, streamed([A], range_size=size).svd()) for size in (5, 24, 40)]
    assert true[0] > true[1] > true[2]
    assert true[2] == pytest.approx(np.linalg.norm(DECAYS["slow"][K:]), rel=1e-9)


@pytest.mark.usefixtures("one_thread")
@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, N), max_size=5), seed=st.integers(0, 99), kind=st.sampled_from(["dense", "csr", "blocks", "fortran"]))
def test_any_division_and_order_gives_the_same_answer(cuts, seed, kind):
    edges = [0, *sorted(cuts), N]
    pieces = [(i, A[i:j]) for i, j in itertools.pairwise(edges)]
    np.random.default_rng(seed).shuffle(pieces)
    change = {"dense": np.copy, "csr": sp.csr_array, "blocks": lambda x: iter([x[:1], x[1:]]), "fortran": np.asfortranarray}[kind]
    stream = StreamingSVD(D, K, rng=0)
    for offset, piece in pieces:
        stream.update(change(piece), row_offset=offset)
    assert_same(stream.svd(), streamed([A]).svd())


def assert_same(ours, wanted, atol=1e-10):
    for name in ("U", "s", "V", "error"):
        np.testing.assert_allclose(getattr(ours, name), getattr(wanted, name), atol=atol, rtol=0)


def test_changes_add_up():
    rng = np.random.default_rng(3)
    B, C, H = rng.standard_normal((30, 2)), rng.standard_normal((D, 2)), rng.standard_normal((20, D))
    changed = A.copy()
    changed[50:80] += B @ C.T
    changed[100:120] -= H
    stream = streamed([A])
    stream.update_product(B, C, row_offset=50)
    stream.update(sp.csc_array(-H), row_offset=100)
    assert_same(stream.svd(), streamed([changed]).svd())
    assert stream.n_rows == N


def test_complex_changes_of_low_rank_are_conjugated():
    rng = np.random.default_rng(4)
    B, C = (rng.standard_normal((m, 2)) + 1j * rng.standard_normal((m, 2)) for m in (N, D))
    stream = StreamingSVD(D, 2, rng=0)
    stream.update_product(B, C)
    assert error_of(B @ C.conj().T, stream.svd()) < 1e-11
    mixed = StreamingSVD(D, 2, rng=0)
    mixed.update_product(B.real, C)
    assert error_of(B.real @ C.conj().T, mixed.svd()) < 1e-11


def test_what_cancels_leaves_its_rounding_errors_in_the_bound():
    stream = streamed([1e8 * A])
    stream.update(-1e8 * A)
    stream.update(A)
    result = stream.svd()
    assert error_of(A, result) <= result.certificate.bound < 1e-3 * 1e8


def test_streams_merge():
    wanted = streamed([A]).svd()
    workers = [StreamingSVD(D, K, rng=0) for _ in range(4)]
    for w, worker in enumerate(workers[:3]):
        worker.update(A[50 * w : 50 * w + 50], row_offset=50 * w)
    total = StreamingSVD(D, K, rng=0)
    for worker in workers[::-1]:  # one that has got nothing among them
        before = None if worker.n_rows == 0 else worker.svd()
        total.merge(worker)
        if before is not None:
            assert_same(worker.svd(), before, atol=0)
    assert total.n_rows == N
    assert_same(total.svd(), wanted)


def test_a_stream_that_was_saved_goes_on_bit_for_bit(tmp_path):
    stream = StreamingSVD(D, K, rng=5)
    stream.save(tmp_path / "empty.npz")
    stream.update(A[:60], row_offset=2 * _tall.CHUNK + 11)
    stream.save(tmp_path / "half.npz")
    for path, rest in (("empty.npz", [(A[:60], 2 * _tall.CHUNK + 11), (A[60:], 0)]), ("half.npz", [(A[60:], 0)])):
        again = StreamingSVD.load(tmp_path / path)
        for piece, offset in rest:
            again.update(piece, row_offset=offset)
        if path == "empty.npz":
            stream.update(A[60:])
        assert_same(again.svd(), stream.svd(), atol=0)
        assert again.svd().certificate == stream.svd().certificate
    known = StreamingSVD((N, D), K, rng=5)
    known.append(A[:60].astype(np.float32))
    known.save(tmp_path / "known.npz")
    assert_same(StreamingSVD.load(tmp_path / "known.npz").svd(), known.svd(), atol=0)


def test_backends_agree(backend, tmp_path):
    wanted = streamed(np.split(A, 3)).svd()
    stream = streamed([backend.array(part) for part in np.split(A, 3)])
    result = stream.svd()
    for name in ("U", "s", "V"):
        np.testing.assert_allclose(backend.numpy(getattr(result, name)), getattr(wanted, name), atol=1e-10)
    assert result.certificate.bound == pytest.approx(wanted.certificate.bound, rel=1e-10)
    half = streamed([backend.array(A[:75])])
    half.save(tmp_path / "half.npz")
    again = StreamingSVD.load(tmp_path / "half.npz")
    for stream in (half, again):
        stream.append(backend.array(A[75:]))
    np.testing.assert_array_equal(backend.numpy(again.svd().U), backend.numpy(half.svd().U))
    half.update_product(backend.array(A[:, :2]), backend.array(A[:D, :2]))
    full = streamed([A + A[:, :2] @ A[:D, :2].T])
    np.testing.assert_allclose(backend.numpy(half.svd().s), full.svd().s, atol=1e-10)


@pytest.mark.usefixtures("one_thread")
def test_the_certificate_holds_at_its_rate():
    failures, ratios = 0, []
    for trial in range(320):
        decay = list(DECAYS.values())[trial % 5]
        dtype = np.complex128 if trial % 4 == 1 else np.float64
        A = spectrum(trial, decay, n=60 + trial % 50, dtype=dtype).astype(np.float32 if trial % 8 == 0 else dtype)
        stream = StreamingSVD(D, K, rng=1000 + trial, range_size=(K + 2, 13, 20)[trial % 3])
        stream.append(A)
        result = stream.svd()
        error = error_of(A.astype(np.result_type(A, np.float64)), result)
        assert result.certificate.confidence == 0.99
        failures += error > result.certificate.bound
        if decay is not DECAYS["fast"]:
            ratios.append(result.certificate.bound / error)
    assert failures <= 8  # 3.2 on average if every error had rank one; more than 8 has a chance of 0.5%
    assert max(ratios) < 10
    assert np.median(ratios) < 2.2


@pytest.mark.usefixtures("one_thread")
def test_the_estimate_of_the_squared_error_is_unbiased():
    ratios = []
    for seed in range(60):
        result = whole(A, seed)
        ratios.append(result.error**2 / error_of(A, result) ** 2)
    assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios) / 60**0.5


def test_the_range_error_is_the_mean_of_what_each_column_leaves_out():
    stream = streamed([A], range_size=8)
    Y = A @ _probes.gaussian(A[:0], D, 8, 0, "StreamingSVD range")
    left_out = []
    for j in range(8):
        Q = np.linalg.qr(np.delete(Y, j, axis=1))[0]
        left_out.append(np.linalg.norm(Y[:, j] - Q @ (Q.T @ Y[:, j])))
    assert stream.range_error() == pytest.approx(np.sqrt(np.mean(np.square(left_out))), rel=1e-10)


@pytest.mark.usefixtures("one_thread")
def test_the_range_error_is_within_a_factor_two():
    inside = 0
    for trial in range(200):
        decay = list(DECAYS.values())[(0, 2, 4)[trial % 3]]
        A = spectrum(trial, decay)
        stream = StreamingSVD(D, K, rng=trial)
        stream.append(A)
        Q = np.linalg.qr(A @ _probes.gaussian(A[:0], D, 13, trial, "StreamingSVD range"))[0]
        inside += 0.5 < stream.range_error() / np.linalg.norm(A - Q @ (Q.T @ A)) < 2
    assert inside >= 190


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (3, 30), (30, 3)])
def test_thin_matrices(shape):
    A = np.random.default_rng(1).standard_normal(shape)
    result = streamed([A], shape=shape, rank=min(shape)).svd()
    assert error_of(A, result) <= result.certificate.bound < 1e-12
    assert result.U.shape == (shape[0], min(shape))


def test_lower_rank_than_asked_and_zero():
    result = streamed([np.outer(np.ones(N), np.arange(D))], rank=5).svd()
    assert result.U.shape == (N, 1)
    np.testing.assert_allclose(result.V[:, 0], np.arange(D) / np.linalg.norm(np.arange(D)), atol=1e-14)
    zero = streamed([np.zeros((4, D))], shape=(9, D)).svd()
    assert (zero.U.shape, zero.s.shape, zero.V.shape) == ((9, 0), (0,), (D, 0))
    assert zero.error == zero.certificate.bound == 0
    assert streamed([np.zeros((4, D))]).range_error() == 0


def test_other_numbers_and_memory_maps(tmp_path):
    integers = (100 * A).astype(np.int16)
    np.save(tmp_path / "A.npy", integers)
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    assert_same(streamed([mapped]).svd(), streamed([integers.astype(float)]).svd())
    half = streamed([A.astype(np.float16)]).svd()
    assert half.U.dtype == np.float16
    assert streamed([A.tolist()]).svd().U.dtype == np.float64


def test_blocks_within_a_piece_do_not_change_the_answer(monkeypatch):
    wanted = streamed([A]).svd()
    monkeypatch.setattr("lowrank_la.factor._intake.BLOCK", 700)
    assert_same(streamed([A]).svd(), wanted)
    assert_same(streamed([sp.csr_array(A)]).svd(), wanted)


def test_one_and_two_threads_agree():
    wanted = streamed([A]).svd()
    with limit_threads(1):
        assert_same(streamed([A]).svd(), wanted)


def test_inputs_stay_as_they_are():
    before, view = A.copy(), A.T.copy().T
    stream = streamed([view])
    stream.update_product(view[:, :2], view[:D, :2])
    stream.svd()
    np.testing.assert_array_equal(view, before)


def with_rows(**options):
    return streamed([A], **options)


BAD = [
    ("rank 0", lambda: StreamingSVD(D, 0), ValueError, "rank must be an integer between 1 and 40; got 0"),
    ("rank above columns", lambda: StreamingSVD(D, 41), ValueError, "rank must be an integer between 1 and 40"),
    ("rank above rows", lambda: StreamingSVD((3, D), 4), ValueError, "rank must be an integer between 1 and 3"),
    ("no columns", lambda: StreamingSVD(0, 1), ValueError, "columns in shape must be an integer of at least 1"),
    ("range size", lambda: StreamingSVD(D, 3, range_size=2), ValueError, "range_size must be an integer between 3 and 40"),
    ("rng", lambda: StreamingSVD(D, 3, rng="0"), TypeError, "rng must be None, an int"),
    (
        "columns",
        lambda: with_rows().append(A[:, 1:]),
        ValueError,
        r"append: rows must be 2-dimensional with 40 columns; got shape \(150",
    ),
    ("vector", lambda: with_rows().append(A[0]), ValueError, r"rows must be 2-dimensional with 40 columns; got shape \(40,\)"),
    (
        "NaN",
        lambda: with_rows().append(np.where(A[7, 2] == A, np.nan, A)),
        ValueError,
        "got 1 NaN .* of 6000, the first in row 7",
    ),
    ("sparse inf", lambda: with_rows().update(sp.csr_array([[np.inf] * D])), ValueError, "update: H must be finite; got 40"),
    ("overflow", lambda: with_rows().append(1e170 * A), ValueError, "squares do not overflow"),
    ("text", lambda: with_rows().append("text"), TypeError, "rows must be an array of numbers"),
    ("complex", lambda: with_rows().append(1j * A), TypeError, "rows must be real, as the first update"),
    ("too many rows", lambda: with_rows(shape=(N, D)).append(A[:1]), ValueError, "must end at row 150; got 1 rows from row 150 on"),
    ("offset", lambda: with_rows().update(A, row_offset=-1), ValueError, "row_offset must be an integer of at least 0"),
    ("B and C", lambda: with_rows().update_product(A[:, :2], A[:D, :3]), ValueError, r"C must have shape \(40, 2\); got \(40, 3\)"),
    ("NaN in C", lambda: with_rows().update_product(A[:, :1], np.full((D, 1), np.nan)), ValueError, "C must be finite"),
    ("NaN in B", lambda: with_rows().update_product(np.full((N, 1), np.nan), A[:D, :1]), ValueError, "B must be finite"),
    ("nothing yet", lambda: StreamingSVD(D, 3).svd(), ValueError, "svd: the stream must have got rows before"),
    ("no range yet", lambda: StreamingSVD(D, 3).range_error(), ValueError, "range_error: the stream must have got rows before"),
    ("other seed", lambda: with_rows().merge(StreamingSVD(D, K, rng=1)), ValueError, "other must have the parameters and the seed"),
    ("other dtype", lambda: with_rows().merge(streamed([A.astype(np.float32)])), ValueError, "other must have dtype float64; got float32"),
    ("no stream", lambda: with_rows().merge(A), TypeError, "other must be a StreamingSVD; got ndarray"),
]


@pytest.mark.parametrize(("call", "error", "message"), [pytest.param(*case[1:], id=case[0]) for case in BAD])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_refused_block_leaves_no_trace():
    stream = streamed([A])
    with pytest.raises(ValueError):
        stream.append(np.full((5, D), np.nan))
    assert stream.n_rows == N
    assert_same(stream.svd(), streamed([A]).svd(), atol=0)


def test_two_libraries_do_not_mix():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="rows must be an array of"):
        with_rows().append(strict.asarray(A))
    with pytest.raises(TypeError, match="other must hold arrays of"):
        with_rows().merge(streamed([strict.asarray(A)]))


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file.npz"
    np.savez(path, x=np.ones(3)) if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a file that StreamingSVD\.save wrote"):
        StreamingSVD.load(path)
