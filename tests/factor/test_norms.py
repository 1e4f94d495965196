"""Bounds on the largest eigenvalue hold at the rate they claim, also for spectra made to hide it."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.factor import _probes
from lowrank_la.factor._lanczos import block_lanczos
from lowrank_la.factor._norms import beyond_every_spectrum, largest_eigenvalue_bound, least_overlap, norm_estimate


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Many tiny problems: threads would only wait for each other."""
    with limit_threads(1):
        yield


RNG = np.random.default_rng(11)


def spectra(n):
    grid = np.arange(n)
    return {
        "flat": np.linspace(0, 1, n),
        "dense at the end": (1 + np.cos(np.pi * grid / n)) / 2,
        "slow decay": 1 / (1 + grid),
        "fast decay": 0.5**grid,
        "identity": np.ones(n),
        "outlier": np.r_[1.1, np.linspace(0, 1, n - 1)],
        "giant": np.r_[1e4, np.linspace(0, 1, n - 1)],
        "rank one": np.eye(n)[0],
        "clusters": np.repeat([1.0, 1 - 1e-6, 0.3, 0.0], -(-n // 4))[:n],
    }


def enclosure(values, steps, failure, seed, **options):
    return largest_eigenvalue_bound(lambda X: values[:, None] * X, np.zeros(0), values.size, steps, failure, seed=seed, **options)


@pytest.mark.parametrize("block", [1, 4])
def test_the_bound_fails_no_more_often_than_it_says(block):
    failure, seeds = 0.1, 60
    for name, values in spectra(40).items():
        for steps in (1, 4):
            found = np.array([enclosure(values, steps, failure, seed, block=block) for seed in range(seeds)])
            assert (found[:, 0] <= values.max() * (1 + 1e-14)).all()
            misses = int(np.sum(found[:, 1] < values.max()))
            assert misses <= failure * seeds + 3 * np.sqrt(failure * seeds), f"{name}, {steps} steps: {misses} misses"


def test_the_bound_is_tight_where_a_giant_hides():
    values = np.r_[1e9, np.zeros(99)]
    values[1:] = np.linspace(0, 1, 99)
    found = np.array([enclosure(values, 1, 0.1, seed, block=1) for seed in range(600)])
    misses = np.mean(found[:, 1] < values.max())
    assert 0.06 < misses < 0.14  # all of the probability is used


def test_the_bound_closes_in():
    for name, values in spectra(300).items():
        found = [enclosure(values, steps, 1e-6, 0) for steps in (4, 12, 40)]
        widths = [bound - ritz for ritz, bound in found]
        assert widths[0] + 1e-12 >= widths[1] >= widths[2] - 1e-12, name
        assert widths[2] <= 0.02 * values.max(), name
    for name in ("slow decay", "fast decay", "rank one", "identity", "giant"):
        ritz, bound = enclosure(spectra(300)[name], 20, 1e-6, 1)
        assert bound <= ritz * (1 + 1e-9), name


def test_the_whole_space_leaves_no_doubt():
    values = RNG.random(6)
    ritz, bound = enclosure(values, 2, 1e-9, 0, block=6)
    assert ritz == pytest.approx(values.max(), rel=1e-14)
    assert bound == pytest.approx(values.max(), rel=1e-12)
    assert enclosure(np.zeros(5), 3, 1e-6, 0) == (0.0, 0.0)
    assert enclosure(np.array([2.0]), 3, 1e-6, 0) == pytest.approx((2.0, 2.0))


def test_the_quantile_of_the_overlap():
    for n, b, is_complex in ((50, 1, False), (50, 4, False), (50, 3, True)):
        threshold = least_overlap(n, b, is_complex, 0.2)
        X = RNG.standard_normal((4000, n)) + (1j * RNG.standard_normal((4000, n)) if is_complex else 0)
        overlap = np.sum(abs(X[:, :b]) ** 2, axis=1) / np.sum(abs(X) ** 2, axis=1)
        assert np.mean(overlap < threshold) == pytest.approx(0.2, abs=0.03)
    assert least_overlap(4, 4, False, 0.1) == 1.0


def test_one_step_is_the_rayleigh_quotient():
    assert beyond_every_spectrum(2.0, 0.01, 1) == pytest.approx(200.0)


def test_backends_give_the_same_bound(backend):
    if backend.name == "torch":
        return  # tensors become NumPy arrays at the door
    H = RNG.standard_normal((30, 30))
    H = H @ H.T
    inside = backend.array(H)
    found = largest_eigenvalue_bound(lambda X: inside @ X, inside[:0, 0], 30, 5, 1e-3, seed=3)
    assert found == pytest.approx(largest_eigenvalue_bound(lambda X: H @ X, H[:0, 0], 30, 5, 1e-3, seed=3), rel=1e-9)
    assert found[0] <= np.linalg.eigvalsh(H).max() * (1 + 1e-14) <= found[1]


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_dtypes(dtype):
    H = RNG.standard_normal((40, 40)) + (1j * RNG.standard_normal((40, 40)) if np.issubdtype(dtype, np.complexfloating) else 0)
    H = (H @ H.conj().T).astype(dtype)
    ritz, bound = largest_eigenvalue_bound(lambda X: H @ X, H[:0, 0], 40, 8, 1e-3, seed=0)
    largest = np.linalg.eigvalsh(H.astype(np.complex128)).max()
    assert ritz <= largest * (1 + 1e-5) <= bound * (1 + 2e-5)
    assert bound <= 1.1 * largest


def test_block_lanczos_keeps_its_recurrence():
    H = RNG.standard_normal((60, 60)) + 1j * RNG.standard_normal((60, 60))
    H = H + H.conj().T
    start = _probes.gaussian(H[:0, 0], 60, 3, 0, "test")
    krylov = block_lanczos(lambda X: H @ X, start, 6)
    Q = krylov.rows.T
    np.testing.assert_allclose(Q.conj().T @ Q, np.eye(18), atol=1e-14)
    R = H @ Q - Q @ krylov.T
    assert np.linalg.norm(R[:, :-3]) < 1e-12 * np.linalg.norm(H)
    np.testing.assert_allclose(np.linalg.norm(R[:, -3:], axis=0), np.linalg.norm(krylov.C[:, -3:], axis=0), rtol=1e-12)
    assert krylov.skewness < 1e-14


def test_a_restart_keeps_the_recurrence():
    H = RNG.standard_normal((80, 80))
    H = H + H.T
    krylov = block_lanczos(lambda X: H @ X, _probes.gaussian(H[:0, 0], 80, 3, 0, "test"), 6).restarted(5)
    krylov = krylov.grown(lambda X: H @ X, 4)
    Q, P = krylov.rows.T, krylov.P
    np.testing.assert_allclose(Q.T @ Q, np.eye(17), atol=1e-14)
    np.testing.assert_allclose(H @ Q, Q @ krylov.T + P @ krylov.C, atol=1e-12 * np.linalg.norm(H))
    assert krylov.skewness < 1e-13


def test_block_lanczos_stops_where_the_space_is_invariant():
    Q = np.linalg.qr(RNG.standard_normal((50, 5)))[0]
    H = Q @ np.diag([5.0, 4, 3, 2, 1]) @ Q.T
    krylov = block_lanczos(lambda X: H @ X, _probes.gaussian(H[:0, 0], 50, 2, 0, "test"), 20)
    assert krylov.finished
    assert krylov.rows.shape[0] <= 8
    np.testing.assert_allclose(krylov.ritz[0][-5:], [1, 2, 3, 4, 5], rtol=1e-12)


A = RNG.standard_normal((40, 25)) @ np.diag(1 / np.arange(1.0, 26))


def kinds(A):
    return [
        A,
        np.asfortranarray(A),
        sp.csr_array(A),
        sp.csc_matrix(A),
        aslinearoperator(A),
        [A[:7], sp.csr_array(A[7:])],
        lambda: [A[:9], A[9:]],
    ]


@pytest.mark.parametrize("dense", [A, A.T, A + 1j * np.roll(A, 1)], ids=["tall", "wide", "complex"])
def test_norms_of_every_kind_of_matrix(dense):
    for matrix in kinds(dense):
        result = norm_estimate(matrix, rng=1)
        assert result.lower <= np.linalg.norm(dense, 2) * (1 + 1e-14) <= result.upper <= 1.01 * result.lower
        assert result.value == result.lower
        assert result.converged
        for ord in ("fro", 1, np.inf):
            if hasattr(matrix, "matmat") and ord != "fro":
                continue
            result = norm_estimate(matrix, ord, rng=1)
            assert result.lower <= np.linalg.norm(dense, ord) <= result.upper
            if result.method == "exact":
                assert result.value == pytest.approx(np.linalg.norm(dense, ord), rel=1e-13)
                assert result.certificate.confidence == 1


def test_the_enclosure_of_the_spectral_norm_holds_at_its_rate():
    misses, delta = 0, 0.1
    for number in range(320):
        random, n, d = np.random.default_rng(number), 30 + number % 20, 20 + number % 45
        A = random.standard_normal((n, d)) * spectra(d)[list(spectra(4))[number % 9]]
        result = norm_estimate(A, tol=0.3, delta=delta, rng=number)
        exact = np.linalg.norm(A, 2)
        assert result.lower <= exact * (1 + 1e-12)
        misses += exact > result.upper
    assert misses <= 320 * delta + 3 * (320 * delta) ** 0.5


def test_the_bounds_of_probes_hold_at_their_rate():
    misses, delta = 0, 0.2
    for number in range(300):
        values = list(spectra(30).values())[number % 9]
        A = np.diag(values) * (1 + 1j * (number % 2))
        result = norm_estimate(aslinearoperator(A), "fro", delta=delta, rng=number)
        misses += not result.lower <= np.linalg.norm(A) <= result.upper
        assert result.upper <= 1.6 * result.lower
    assert misses <= 300 * delta


def test_stopping_needs_few_steps_for_kind_spectra():
    assert norm_estimate(np.diag(0.5 ** np.arange(200)), tol=1e-6, rng=0).passes <= 32
    assert norm_estimate(np.eye(50), tol=1e-10, rng=0).passes <= 2


def test_bounds_that_stay_apart_are_told():
    with pytest.warns(ConvergenceWarning, match="norm_estimate: upper / lower - 1 = .* is above tol = 1e-16"):
        result = norm_estimate(aslinearoperator(np.diag(np.linspace(1, 2, 600))), tol=1e-16, rng=0)
    assert result.lower <= 2 <= result.upper <= 2.0001
    assert not result.converged


def test_norms_on_every_backend(backend):
    for ord in (2, "fro", 1, np.inf):
        result, expected = norm_estimate(backend.array(A), ord, rng=3), norm_estimate(A, ord, rng=3)
        assert result.value == pytest.approx(expected.value, rel=1e-12)
        assert result.upper == pytest.approx(expected.upper, rel=1e-9)
    H = A.T @ A
    inside = backend.array(H)
    assert norm_estimate(lambda X: inside @ X, like=inside[0, :], rng=0).upper >= np.linalg.norm(H, 2)


def test_norms_of_small_and_zero_matrices():
    for ord in (2, "fro", 1, np.inf):
        assert norm_estimate(np.zeros((3, 5)), ord).upper == 0
        assert norm_estimate(np.array([[-3]]), ord).value == pytest.approx(3)
        assert norm_estimate(np.full((1, 6), 2.0), ord).value == pytest.approx(np.linalg.norm(np.full((1, 6), 2.0), ord))
        single = norm_estimate(A.astype(np.float32), ord, rng=0)
        assert single.lower <= np.linalg.norm(A, ord) * (1 + 1e-5) <= single.upper * (1 + 2e-5)


BAD = [
    ("ord", (A, 3), {}, ValueError, "ord must be one of 2, 'fro', 1, inf; got 3"),
    ("ord of an operator", (aslinearoperator(A), 1), {}, ValueError, "ord must be 2 or 'fro' for an operator"),
    ("tol", (A,), {"tol": 0}, ValueError, "tol must be a number above 0"),
    ("delta", (A,), {"delta": 0}, ValueError, "delta must be a number between 0 and 1"),
    ("empty", (np.zeros((0, 3)),), {}, ValueError, r"A must not be empty; got shape \(0, 3\)"),
    ("NaN", (A * np.nan,), {}, ValueError, "A must be finite"),
    ("text", ("A",), {}, TypeError, "A must be an array of numbers"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=f"norm_estimate: {message}"):
        norm_estimate(*args, **options)
