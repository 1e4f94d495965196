"""`sample_rows`: law of the draws, certificates, every scheme, inputs of every kind, refusals."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.kernels import bernoulli
from lowrank_la.kernels._engine import use_engine
from lowrank_la.sampling import leverage_scores, sample_rows
from lowrank_la.sampling._sample_draw import scale_for

SCHEMES = ["leverage", "root_leverage", "lewis", "sensitivity", "sens+lev"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost small problems more than they bring."""
    with limit_threads(1):
        yield


def matrix(n=1500, d=4, seed=0):
    A = np.random.default_rng(seed).standard_normal((n, d))
    A[:3] *= 30
    A[3:4] *= 1e3
    return A


def draw(*args, **kwargs):
    """Sample without a word about a distortion above eps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sample_rows(*args, **kwargs)


def powers(A, X, p):
    return np.sum(abs(A @ X) ** p, axis=0)


@given(
    n=st.integers(1, 300),
    d=st.integers(1, 5),
    size=st.integers(20, 200),
    again=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_the_certificate_bounds_every_direction_for_p_2(n, d, size, again, seed):
    A = matrix(n, d, seed)
    sample = draw(A, size=size, replace=again, rng=seed)
    few = sample.apply(A)
    X = np.random.default_rng(seed).standard_normal((d, 50))
    assert (abs(powers(few, X, 2) / powers(A, X, 2) - 1) <= sample.certificate.bound + 1e-12).all()
    R = np.linalg.qr(A, mode="r")
    if n >= d:
        values = np.linalg.eigvalsh(np.linalg.inv(R).T @ few.T @ few @ np.linalg.inv(R))
        assert sample.certificate.bound == pytest.approx(max(values[-1] - 1, 1 - values[0]), abs=1e-8)
    assert sample.certificate.confidence == 1


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_the_default_size_passes_its_own_test(p):
    A = matrix(30_000)
    sample = sample_rows(A, p, eps=0.5, rng=0)
    assert sample.converged
    assert sample.distortion <= 0.5
    assert len(sample.indices) < 3000
    assert ("NOT A GUARANTEE" in sample.certificate.claim) == (p != 2)
    X = np.random.default_rng(1).standard_normal((4, 200))
    assert (abs(powers(sample.apply(A), X, p) / powers(A, X, p) - 1) < 0.5).all()


@pytest.mark.parametrize("p", [1, 1.5, 3])
def test_the_ascent_finds_more_than_chance(p):
    A = matrix(3000, 6)
    sample = draw(A, p, size=150, rng=0)
    X = np.random.default_rng(0).standard_normal((6, 2000))
    chance = abs(powers(sample.apply(A), X, p) / powers(A, X, p) - 1).max()
    assert sample.distortion > 0.8 * chance
    assert sample.distortion > abs(powers(sample.apply(A), np.eye(6), p) / powers(A, np.eye(6), p) - 1).max() * 0.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("p", [1, 1.5, 3])
def test_schemes_keep_norms_and_rows_that_no_sample_may_miss(p, scheme):
    if scheme == "root_leverage" and p >= 2:
        return
    A = matrix()
    sample = draw(A, p, scores=scheme, size=400, rng=0)
    assert 3 in sample.indices  # its score is nearly 1
    assert sample.weights[list(sample.indices).index(3)] == pytest.approx(1, abs=0.05)
    assert 250 < len(sample.indices) < 550
    assert (sample.probabilities <= 1).all()
    np.testing.assert_allclose(sample.weights * sample.probabilities, 1)
    X = np.random.default_rng(0).standard_normal((4, 50))
    assert (abs(powers(sample.apply(A), X, p) / powers(A, X, p) - 1) < 0.6).all()


@pytest.mark.parametrize("options", [{}, {"replace": True}, {"scores": "root_leverage"}, {"scores": "leverage"}])
def test_weighted_sums_are_unbiased(options):
    A = matrix(200, 2)
    x = np.array([1.0, -2.0])
    scores = {"scores": np.random.default_rng(0).random(200) + 0.1} if not options.get("scores") else {}
    sums = [powers(draw(A, 1, size=40, rng=seed, **{**scores, **options}).apply(A), x, 1) for seed in range(300)]
    mean, spread = np.mean(sums), np.std(sums) / np.sqrt(300)
    assert abs(mean - powers(A, x, 1)) < 5 * spread


def test_rows_are_kept_with_their_probabilities():
    scores = np.random.default_rng(0).random(50) ** 3
    A = np.ones((50, 1))
    factor, expected = scale_for(scores, 20)
    q = np.minimum(1, 1 / 50 + factor * scores)
    assert q.sum() == pytest.approx(20) == pytest.approx(expected)
    counts = np.zeros(50)
    for seed in range(400):
        sample = draw(A, scores=scores, size=20, rng=seed)
        counts[sample.indices] += 1
        np.testing.assert_allclose(sample.probabilities, q[sample.indices])
    open_ = q < 1
    z = (counts - 400 * q)[open_] / np.sqrt(400 * (q * (1 - q)))[open_]
    assert (counts[~open_] == 400).all()
    assert np.sum(z**2) < open_.sum() + 5 * np.sqrt(2 * open_.sum())


@given(n=st.integers(1, 200), size=st.integers(1, 200), power=st.floats(0, 30), seed=st.integers(0, 1000))
@settings(max_examples=60)
def test_the_expected_size_is_met(n, size, power, seed):
    scores = np.random.default_rng(seed).random(n) ** power
    factor, expected = scale_for(scores, size)
    q = np.minimum(1, 1 / n + factor * scores)
    assert expected == pytest.approx(q.sum())
    assert expected == pytest.approx(min(size, n), rel=1e-6)


def test_kernel_engines_agree():
    scores = np.random.default_rng(0).random(40_000) * (np.arange(40_000) % 7 > 0)
    compiled = bernoulli.draw(scores, 0.1, 1e-4, 12345, 678, 2)
    with use_engine("reference"):
        plain = bernoulli.draw(scores, 0.1, 1e-4, 12345, 678, 2)
    for ours, theirs in zip(compiled, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    uniform = bernoulli.uniforms(scores, 1, 2, 40_000, 0)
    assert abs(uniform.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 40_000)
    assert 0 <= uniform.min() < uniform.max() < 1


def test_right_hand_sides_belong_to_what_is_kept():
    A, b = matrix(20_000), np.zeros(20_000)
    b[77] = 1e6  # a row of [A b] that no scores of A would show
    sample = sample_rows(A, 1, b=b, eps=0.5, rng=0)
    assert 77 in sample.indices
    both = np.column_stack([A, b])
    X = np.random.default_rng(0).standard_normal((5, 100))
    assert (abs(powers(sample.apply(both), X, 1) / powers(both, X, 1) - 1) < 0.5).all()
    np.testing.assert_array_equal(sample.indices, sample_rows(both, 1, eps=0.5, rng=0).indices)
    np.testing.assert_array_equal(sample.indices, sample_rows(sp.csr_array(A), 1, b=b, eps=0.5, rng=0).indices)
    complex_b = sample_rows(A, 2, b=1j * b, eps=0.5, rng=0)
    assert 77 in complex_b.indices


def test_all_rows_where_the_size_allows():
    A = matrix(30)
    for p in (1, 2, 3):
        sample = sample_rows(A, p, rng=0)
        np.testing.assert_array_equal(sample.indices, np.arange(30))
        assert sample.distortion == sample.certificate.bound == 0
        np.testing.assert_array_equal(sample.apply(A), A)


def test_edge_cases():
    A = matrix()
    A[10:1000] = 0
    sample = draw(A, 1, size=300, rng=0)
    assert not ((sample.indices >= 10) & (sample.indices < 1000)).any()
    twice = draw(np.hstack([A, A]), 2, size=300, rng=0)
    np.testing.assert_array_equal(twice.indices, draw(A, 2, size=300, rng=0).indices)
    assert len(sample_rows([[2.0]], 3, rng=0).indices) == 1
    identity = sample_rows(np.eye(40), 1, size=40, rng=0)
    assert len(identity.indices) == 40
    tall = np.vstack([np.eye(4), 1e-9 * matrix(2000)])
    assert set(range(4)) <= set(draw(tall, 2, size=100, rng=0).indices.tolist())  # leverage 1
    for scale in (1e-150, 1e150):
        scaled = draw(A * scale, 1.5, size=300, rng=0)
        np.testing.assert_array_equal(scaled.indices, draw(A, 1.5, size=300, rng=0).indices)
    with pytest.raises(ValueError, match="sample_rows: size must be large enough for rank 40; got 5, and 4 draws of lower rank"):
        sample_rows(np.vstack([np.eye(40)] * 9), 2, size=5, rng=0)


def test_a_size_that_is_too_small_is_said():
    with pytest.warns(ConvergenceWarning, match=r"sample_rows: the distortion, .*, is above eps = 0.01"):
        assert not sample_rows(matrix(), size=300, eps=0.01, rng=0).converged
    with pytest.warns(ConvergenceWarning, match=r"the distortion that was found, .*, is above eps = 0.01"):
        sample_rows(matrix(), 1, size=300, eps=0.01, rng=0)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_backends(p, backend):
    A = matrix()
    b = A[:, 0] + 1
    for options in ({}, {"b": b}, {"replace": True}, {"scores": leverage_scores(A).scores}):
        expected = draw(A, p, size=300, rng=0, **options)
        inside = {name: backend.array(x) if isinstance(x, np.ndarray) else x for name, x in options.items()}
        result = draw(backend.array(A), p, size=300, rng=0, **inside)
        np.testing.assert_array_equal(backend.numpy(result.indices), expected.indices)
        np.testing.assert_allclose(backend.numpy(result.weights), expected.weights, rtol=1e-8)
        assert result.distortion == pytest.approx(expected.distortion, rel=1e-4)
        np.testing.assert_allclose(backend.numpy(result.apply(backend.array(A))), expected.apply(A), rtol=1e-8)
        np.testing.assert_allclose(backend.numpy(result.apply(backend.array(b))), expected.apply(b), rtol=1e-8)


def test_kinds_of_matrices_and_dtypes():
    A = matrix()
    expected = draw(A, 1, size=300, rng=0)
    for given_ in (sp.csr_array(A), sp.coo_array(A), np.asfortranarray(A), [A[:400], A[400:]], A.tolist()):
        np.testing.assert_array_equal(draw(given_, 1, size=300, rng=0).indices, expected.indices)
    assert expected.apply(A.astype(np.float32)).dtype == np.float32
    sparse = expected.apply(sp.csr_array(A.astype(np.float32)))
    assert sparse.dtype == np.float32
    np.testing.assert_allclose(sparse.toarray(), expected.apply(A), rtol=1e-6)
    assert expected.apply(np.ones(1500, dtype=int)).dtype == np.float64
    C = A + 1j * A[::-1]
    sample = sample_rows(C, 2, eps=0.5, rng=0)
    X = np.random.default_rng(0).standard_normal((4, 50)) + 1j
    assert (abs(powers(sample.apply(C), X, 2) / powers(C, X, 2) - 1) <= sample.certificate.bound).all()
    assert draw(C, 1, size=300, rng=0).distortion < 1


def test_the_same_seed_gives_the_same_sample_on_one_and_two_threads():
    import numba

    A = matrix(40_000)
    one = sample_rows(A, 1, eps=0.5, rng=3)
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))  # the fixture takes it back
    two = sample_rows(A, 1, eps=0.5, rng=3)
    np.testing.assert_array_equal(one.indices, two.indices)
    assert not np.array_equal(one.indices, sample_rows(A, 1, eps=0.5, rng=4).indices)


A = matrix(200)
BAD = [
    ("p", (A, 0.5), {}, ValueError, "sample_rows: p must be a number of at least 1; got 0.5"),
    ("p inf", (A, np.inf), {}, ValueError, "p must be a number of at least 1; got inf"),
    ("eps", (A,), {"eps": 1.0}, ValueError, "eps must be a number between 0 and 1, ends excluded; got 1.0"),
    ("size", (A,), {"size": 0}, ValueError, "size must be an integer of at least 1; got 0"),
    ("scores", (A,), {"scores": "best"}, ValueError, "scores must be one of 'auto', 'leverage'"),
    ("root", (A, 3), {"scores": "root_leverage"}, ValueError, "scores='root_leverage' must come with p < 2"),
    ("negative", (A,), {"scores": -np.ones(200)}, ValueError, "scores must be at least 0 and not all 0; got a least of -1"),
    ("short scores", (A,), {"scores": np.ones(9)}, ValueError, r"scores must have shape \(200,\); got \(9,\)"),
    ("short b", (A,), {"b": np.ones(9)}, ValueError, "b must have 200 rows, as many as A"),
    ("sparse b", (A,), {"b": sp.csr_array(np.ones((200, 1)))}, TypeError, "b must be a dense array; got csr_array"),
    ("blocks", ([A, A], 1), {"scores": "sensitivity"}, TypeError, "A must be one matrix for scores='sensitivity'; got row blocks"),
    ("NaN", (A * np.nan,), {}, ValueError, "A must be finite; got 800 NaN"),
    ("rng", (A,), {"rng": "x"}, TypeError, "rng must be None, an int or"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        sample_rows(*args, **{"rng": 0, **kwargs})
