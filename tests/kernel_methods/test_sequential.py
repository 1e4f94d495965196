"""A dictionary of a stream of points, against eigenvalues of all of K."""

import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.kernel_methods import RBF, Laplace, Matern, Polynomial, SequentialNystrom, _dictionary, nystrom

KERNEL = RBF(1.0)


@pytest.fixture(autouse=True)
def _one_thread():
    """Small matrices only wait for each other's threads."""
    with limit_threads(1):
        yield


def points(n, d=2, seed=0, outliers=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X[rng.permutation(n)[:outliers]] *= 4
    return X


X = points(3000, outliers=20)


def streamed(pieces, kernel=KERNEL, **options):
    stream = SequentialNystrom(kernel, **{"ridge": 1.0, "rng": 0} | options)
    for piece in pieces:
        stream.partial_fit(piece)
    return stream


def spectrum(K, indices):
    """Least and largest eigenvalue of K - K~, with K~ from a truncated pseudo-inverse."""
    values, V = np.linalg.eigh(K[np.ix_(indices, indices)])
    kept = values > 1e-13 * len(values) * values[-1]
    F = K[:, indices] @ (V[:, kept] / np.sqrt(values[kept]))
    error = np.linalg.eigvalsh(K - F @ F.T)
    return error[0], error[-1]


def same(one, other):
    for name in ("indices", "probabilities", "multiplicities"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.error, one.certificate, one.ridge, one.n_rows) == (other.error, other.certificate, other.ridge, other.n_rows)


@pytest.mark.parametrize(("kernel", "ridge"), [(RBF(1.0), 1.0), (Laplace(2.0), 20.0), (Matern(1.0), 2.0), (Polynomial(2), 30.0)])
def test_the_error_stays_within_the_goal_at_every_step(kernel, ridge):
    """2000 points; after each 250 the eigenvalues of K - K~ are in [0, ridge / (1 - eps)]."""
    A = points(2000, 3, outliers=20)
    K, stream = kernel(A, A), SequentialNystrom(kernel, ridge=ridge, rng=0)
    for n in range(250, 2001, 250):
        result = stream.partial_fit(A[n - 250 : n]).result()
        least, most = spectrum(K[:n, :n], result.indices)
        assert least >= -1e-10 * np.trace(K)
        assert most <= ridge / (1 - 0.5)
        assert np.all((result.multiplicities >= 1) & (result.multiplicities <= 10))
        assert np.all((result.probabilities > 0) & (result.probabilities <= 1))
        assert np.all(result.indices < n)


def test_nine_seeds_in_ten_meet_the_goal():
    A = points(600, 3, outliers=10)
    K = KERNEL(A, A)
    errors = [spectrum(K, streamed([A], rng=seed).result().indices)[1] for seed in range(40)]
    assert np.mean(np.array(errors) <= 2.0) >= 0.9


def test_probabilities_only_fall():
    stream, before = SequentialNystrom(KERNEL, ridge=1.0, rng=0), {}
    for part in np.array_split(X, 6):
        result = stream.partial_fit(part).result()
        state = {int(i): (p, q) for i, p, q in zip(result.indices, result.probabilities, result.multiplicities, strict=True)}
        assert all(state[i][0] <= before[i][0] and state[i][1] <= before[i][1] for i in state.keys() & before.keys())
        before = {i: v for i, v in state.items() if i < stream._state.sample.seen}  # those of an unfinished block are scored again


def test_the_dictionary_is_what_it_says():
    result = streamed([X]).result()
    np.testing.assert_array_equal(result.points, X[result.indices])
    K = KERNEL(X, X)
    features = result.features(X)
    assert features.shape == (3000, result.rank)
    exact = nystrom(K, kernel="precomputed", rank=1, rng=0)
    assert exact.rank == 1
    residual = np.trace(K) - np.sum(features**2)
    again = result.certify(X)
    assert again.error == pytest.approx(residual, abs=1e-5)  # of a trace of 3000
    assert again.certificate.bound >= again.error
    assert again.certificate.confidence == 1
    norm = np.linalg.eigvalsh(K - again.F @ again.F.T)[-1]
    spectral = again.spectral_error(rng=0)
    assert spectral.lower * (1 - 1e-6) <= norm <= spectral.upper * (1 + 1e-6)
    tau = np.linalg.eigvalsh(K)
    dimension = np.sum(tau / (tau + 1))
    assert dimension / 2 < result.effective_dimension < 2 * dimension


def test_the_certificate_holds_as_often_as_it_says_and_is_close():
    missed, tight = 0, []
    for seed in range(60):
        A = points(2500, 2, seed, outliers=seed)
        result = streamed([A], RBF(0.7), ridge=10.0, qbar=4, rng=seed).result()
        truth = result.certify(A).error
        assert result.certificate.confidence == 0.99
        missed += result.certificate.bound < truth
        tight.append(result.certificate.bound / truth)
    assert missed <= 3  # of 60; 0.6 are expected at most
    assert np.median(tight) < 2


def test_few_points_are_certified_exactly():
    result = streamed([X[:700]]).result()
    assert result.certificate.confidence == 1
    assert result.error == pytest.approx(result.certify(X[:700]).error, abs=1e-7)
    assert result.certificate.bound >= result.error


@settings(max_examples=12)
@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 3000), max_size=6), st.integers(1, 12))
def test_chunks_do_not_matter(seed, cuts, qbar):
    one = streamed([X], rng=seed, qbar=qbar).result()
    many = SequentialNystrom(KERNEL, ridge=1.0, qbar=qbar, rng=seed)
    for part in np.split(X, sorted(cuts)):
        many.partial_fit(part)
        if part.shape[0] > 1000:
            many.result()  # looking does not disturb
    same(one, many.result())


@settings(max_examples=12)
@given(st.integers(0, 3000), st.integers(0, 2**64 - 1), st.booleans(), st.sampled_from([KERNEL, "rbf", Matern(nu=2.5)]))
def test_resumed_streams_go_on_bit_for_bit(tmp_path_factory, cut, seed, normalize, kernel):
    path = tmp_path_factory.mktemp("state") / "stream.npz"
    options = {"kernel": kernel, "rng": seed, "normalize": normalize, "qbar": 60 if normalize else 10}
    streamed([X[:cut]], **options).save(path)
    resumed = SequentialNystrom.load(path)
    assert resumed.n_rows == cut
    same(resumed.partial_fit(X[cut:]).result(), streamed([X[:cut], X[cut:]], **options).result())


def test_files_of_empty_streams_and_of_functions(tmp_path):
    SequentialNystrom("laplace", ridge=2.0, max_size=9, rng=5).save(tmp_path / "empty.npz")
    empty = SequentialNystrom.load(tmp_path / "empty.npz")
    assert (empty.ridge, empty.seed, empty.n_rows, empty.size) == (2.0, 5, 0, 0)
    streamed([X[:900]], kernel=KERNEL.__call__).save(tmp_path / "function.npz")
    with pytest.raises(ValueError, match="kernel must be given again"):
        SequentialNystrom.load(tmp_path / "function.npz")
    resumed = SequentialNystrom.load(tmp_path / "function.npz", kernel=KERNEL.__call__)
    same(resumed.partial_fit(X[900:]).result(), streamed([X[:900], X[900:]], kernel=KERNEL.__call__).result())
    with pytest.raises(ValueError, match="kernel must be given again"):
        SequentialNystrom.load(tmp_path / "empty.npz", kernel=KERNEL)


KILLED = """
import os, signal, sys
import numpy as np
from lowrank_la import limit_threads
from lowrank_la.kernel_methods import RBF, SequentialNystrom
X, stream = np.load(sys.argv[1]), SequentialNystrom(RBF(1.0), ridge=1.0, rng=0)
with limit_threads(1):
    for number, chunk in enumerate(np.array_split(X, 6)):
        stream.partial_fit(chunk)
        if number == 3:
            stream.save(sys.argv[2])
        if number == 4:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_process_is_taken_up_again(tmp_path):
    np.save(tmp_path / "X.npy", X)
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "X.npy", tmp_path / "state.npz"], check=False)
    assert done.returncode == -signal.SIGKILL
    stream, chunks = SequentialNystrom.load(tmp_path / "state.npz"), np.array_split(X, 6)
    for chunk in chunks[4:]:
        stream.partial_fit(chunk)
    same(stream.result(), streamed(chunks).result())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backends(backend, dtype):
    A = X[:1300].astype(dtype)
    chunks = [backend.array(part) for part in np.array_split(A, 3)]
    before = [backend.numpy(part).copy() for part in chunks]
    result, expected = streamed(chunks).result(), streamed([A]).result()
    np.testing.assert_array_equal(backend.numpy(result.indices), expected.indices)
    np.testing.assert_allclose(backend.numpy(result.probabilities), expected.probabilities, rtol=1e-6)
    features = backend.numpy(result.features(chunks[0]))
    assert features.dtype == dtype
    assert backend.numpy(result.points).dtype == dtype
    Z = backend.numpy(result.points)
    K = KERNEL(A[:434], A[:434])
    np.testing.assert_allclose(features @ features.T, K, atol=0.5)
    assert Z.shape == (len(expected.indices), 2)
    np.testing.assert_allclose(result.error, expected.error, atol=1e-5)
    again = result.certify(backend.array(A))
    assert backend.numpy(again.F).dtype == np.float64
    np.testing.assert_allclose(again.error, expected.certify(A).error, atol=1e-5)
    assert all(np.array_equal(a, backend.numpy(b)) for a, b in zip(before, chunks, strict=True))


def test_a_file_goes_on_in_its_library(tmp_path, backend):
    chunks = [backend.array(part.astype(np.float32)) for part in np.array_split(X[:1500], 3)]
    whole = streamed(chunks).result()
    streamed(chunks[:2]).save(tmp_path / "stream.npz")
    resumed = SequentialNystrom.load(tmp_path / "stream.npz").partial_fit(chunks[2]).result()
    np.testing.assert_array_equal(backend.numpy(resumed.indices), backend.numpy(whole.indices))
    assert backend.numpy(resumed.points).dtype == np.float32


@pytest.mark.parametrize("cut", [0, 100, 1500, 3000])
def test_merged_streams(cut):
    first, second = streamed([X[:cut]]), streamed([X[cut:]], rng=1)
    before = second.result() if cut < 3000 else None
    first.merge(second)
    result = first.result()
    assert result.n_rows == 3000
    np.testing.assert_array_equal(result.points, X[result.indices])
    K = KERNEL(X, X)
    least, most = spectrum(K, result.indices)
    assert least > -1e-9
    assert most <= 2.0
    assert result.certificate.bound >= result.certify(X).error
    if before is not None:
        same(second.result(), before)
    more = first.partial_fit(X[:300]).result()
    assert more.n_rows == 3300


def test_a_tree_of_merges_is_as_good_as_one_stream():
    streams = [streamed([part], rng=seed) for seed, part in enumerate(np.array_split(X, 8))]
    while len(streams) > 1:
        for one, other in zip(streams[::2], streams[1::2], strict=True):
            one.merge(other)
        streams = streams[::2]
    result = streams[0].result()
    assert spectrum(KERNEL(X, X), result.indices)[1] <= 2.0
    assert result.rank < 2 * streamed([X]).result().rank


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_chunk_changes_nothing(bad):
    stream, chunk = streamed([X[:1700]]), X[1700:2700].copy()
    expected = stream.result()
    chunk[777, 1] = bad
    with pytest.raises(ValueError, match=r"partial_fit: X must be finite; got 1 NaN or infinite entry .* in row 777"):
        stream.partial_fit(chunk)
    same(stream.result(), expected)
    same(stream.partial_fit(X[1700:]).result(), streamed([X]).result())


def test_a_kernel_that_fails_changes_nothing():
    def kernel(A, B):
        if np.any(A > 100) or np.any(B > 100):
            raise RuntimeError("no")
        return KERNEL(A, B)

    stream, chunk = streamed([X[:1700]], kernel=kernel), X[1700:2900].copy()
    chunk[500] = 200.0
    with pytest.raises(RuntimeError, match="no"):
        stream.partial_fit(chunk)
    same(stream.partial_fit(X[1700:]).result(), streamed([X], kernel=kernel).result())


def test_the_caller_may_change_the_points_afterwards():
    buffer, stream = X[:100].copy(), SequentialNystrom(KERNEL, ridge=1.0, rng=0)
    for first in range(0, 1000, 100):
        buffer[:] = X[first : first + 100]
        stream.partial_fit(buffer)
    same(stream.result(), streamed([X[:1000]]).result())


def test_a_small_dictionary_raises_the_ridge():
    stream = streamed(np.array_split(X, 5), ridge=0.01, max_size=60)
    assert stream.size <= 60
    with pytest.warns(ConvergenceWarning, match="60 points do not suffice for ridge = 0.01"):
        result = stream.result()
    assert not result.converged
    assert result.rank <= 60
    assert result.ridge == stream.ridge > 0.01
    assert np.log2(result.ridge / 0.01) == pytest.approx(round(np.log2(result.ridge / 0.01)))
    assert spectrum(KERNEL(X, X), result.indices)[1] <= 2 * result.ridge
    assert stream.space <= 60 * (120 + 2 + 12) + 4 * (512 + 1024)


def test_compression_keeps_what_says_most():
    result = streamed([X]).result()
    small = result.compress(40, rng=0)
    assert small.rank == 40
    assert set(small.indices) <= set(result.indices)
    truth = small.certify(X).error
    assert truth <= small.certificate.bound
    best = np.sum(np.linalg.eigvalsh(KERNEL(X, X))[:-40])
    assert best <= truth <= 3 * best
    assert result.compress(10**6) is result


def test_ink_estimate_keeps_its_budget():
    sizes = [len(streamed([X], normalize=True, qbar=80, rng=seed).result().indices) for seed in range(5)]
    assert all(20 <= size <= 160 for size in sizes)
    stream = streamed([X], normalize=True, qbar=80)
    values = np.linalg.eigvalsh(KERNEL(X, X))
    dimension = np.sum(values / (values + 1))
    assert dimension / 3 < stream._state.dictionary.dimension < 3 * dimension


def test_the_median_comes_from_the_first_points():
    one = streamed([X[:512], X[512:] * 10], kernel="rbf").result()
    other = streamed([X[:512], X[512:]], kernel="rbf").result()
    assert one.gram.kernel == other.gram.kernel
    assert isinstance(one.gram.kernel, RBF)


@pytest.mark.parametrize("n", [1, 2, 511, 512, 513])
def test_short_streams(n):
    result = streamed([X[:n]]).result()
    assert 1 <= len(result.indices) <= n
    assert result.n_rows == n
    assert spectrum(KERNEL(X[:n], X[:n]), result.indices)[1] <= 2.0


def test_duplicates_and_zeros():
    same_points = streamed([np.ones((2000, 2))], ridge=0.1).result()
    assert same_points.rank == 1
    assert same_points.error < 1e-9
    assert same_points.certify(np.ones((10, 2))).error < 1e-9
    zero = streamed([np.zeros((600, 2))], kernel="linear").result()
    assert zero.rank == 0
    assert zero.error == zero.relative_error == 0
    assert zero.features(X[:3]).shape == (3, 0)
    few = streamed([X[:5]], ridge=1e9).result()
    assert few.rank == 0
    assert few.relative_error == 1


def test_uniform_numbers_are_uniform_and_belong_to_rows():
    U = _dictionary.uniforms(3, np.arange(20_000), 7)
    assert U.shape == (20_000, 7)
    assert np.all((U > 0) & (U < 1))
    np.testing.assert_allclose(np.mean(U, axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(np.cov(U.T), np.eye(7) / 12, atol=0.003)
    np.testing.assert_array_equal(_dictionary.uniforms(3, np.arange(5, 9), 7), U[5:9])
    np.testing.assert_array_equal(_dictionary.uniforms(3, np.arange(9), 4), U[:9, :4])


def test_incremental_factors_are_those_from_scratch():
    D = streamed([X])._state.dictionary
    M = D.weights[:, None] * KERNEL(D.points, D.points) * D.weights + np.eye(len(D))
    np.testing.assert_allclose(D.L @ D.L.T, M, atol=1e-10)
    np.testing.assert_allclose(D.K, KERNEL(D.points, D.points), atol=1e-12)


def test_threads_do_not_matter():
    answers = []
    for threads in (1, 2):
        with limit_threads(threads), warnings.catch_warnings():
            answers.append(streamed([X[:1500]]).result())
    np.testing.assert_array_equal(answers[0].indices, answers[1].indices)
    np.testing.assert_allclose(answers[0].probabilities, answers[1].probabilities, rtol=1e-9)


BAD = [
    (lambda: SequentialNystrom(ridge=0), ValueError, "ridge must"),
    (lambda: SequentialNystrom(ridge=1, eps=1), ValueError, "eps must"),
    (lambda: SequentialNystrom(ridge=1, qbar=0), ValueError, "qbar must"),
    (lambda: SequentialNystrom(ridge=1, max_size=0), ValueError, "max_size must"),
    (lambda: SequentialNystrom(ridge=1, normalize=2), ValueError, "normalize must"),
    (lambda: SequentialNystrom("precomputed", ridge=1), ValueError, "kernel must be one of"),
    (lambda: SequentialNystrom(3, ridge=1), TypeError, "kernel must be a name"),
    (lambda: SequentialNystrom(ridge=1, rng="x"), TypeError, "rng must"),
    (lambda: SequentialNystrom(ridge=1).result(), ValueError, "must have got points"),
    (lambda: SequentialNystrom(ridge=1).partial_fit(np.ones(3)), ValueError, "X must be 2-dimensional"),
    (lambda: SequentialNystrom(ridge=1).partial_fit("points"), TypeError, "array of numbers"),
    (lambda: SequentialNystrom(ridge=1).partial_fit(np.ones((2, 2)) * 1j), TypeError, "X must be real"),
    (lambda: streamed([X[:9], np.ones((4, 3))]), ValueError, r"X must have shape \(4, 2\); got \(4, 3\)"),
    (lambda: streamed([X[:9]]).merge(3), TypeError, "other must be a SequentialNystrom"),
    (lambda: streamed([X[:9]]).merge(streamed([X[:9]])), ValueError, "other must have another seed"),
    (lambda: streamed([X[:9]]).merge(streamed([X[:9]], qbar=3, rng=1)), ValueError, "other must have qbar = 10; got 3"),
    (lambda: streamed([X[:9]]).merge(streamed([X[:9]], kernel=RBF(2.0), rng=1)), ValueError, "other must have the kernel"),
    (lambda: streamed([X[:9]]).merge(streamed([X[:9].astype(np.float32)], rng=1)), ValueError, "other must have dtype"),
    (lambda: streamed([X[:9]]).merge(streamed([np.ones((9, 3))], rng=1)), ValueError, "points of other must have shape"),
    (lambda: streamed([X[:9]]).result().features(np.ones((4, 3))), ValueError, "features: X must have shape"),
    (lambda: streamed([X[:9]]).result().certify(np.ones((0, 2))), ValueError, "certify: X must have at least one"),
    (lambda: streamed([X[:9]]).result().compress(0), ValueError, "compress: k must"),
    (lambda: streamed([X], kernel=lambda A, B: -KERNEL(A, B)), ValueError, "kernel must be positive semidefinite"),
    (lambda: SequentialNystrom.load(__file__), ValueError, "must be a file"),
]


@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_bad_input(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
