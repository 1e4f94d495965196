"""`sketch_lstsq`: accuracy, inputs of every kind, edge cases, and refusals."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from lowrank_la import ConvergenceWarning, limit_threads, sketch_lstsq
from tests import oracles_regression as oracles

METHODS = ["direct", "cholqr", "spir", "fossils", "ihs", "solve"]
STABLE = ["direct", "cholqr", "spir", "fossils"]
SKETCHES = ["sparse_sign", "srht", "srdct", "rademacher", "gaussian", "bgp", "countsketch"]
KINDS = ["incoherent", "coherent", "heavy", "scaled", "fortran"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost small problems more than they bring."""
    with limit_threads(1):
        yield


def normal_residual(A, b, x):
    return np.linalg.norm(A.T @ (b - A @ x))


def close(x, expected, tolerance=1e-12):
    np.testing.assert_allclose(x, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@given(
    d=st.integers(1, 12),
    extra=st.integers(0, 400),
    log_cond=st.floats(0, 10),
    log_noise=st.floats(-14, 1),
    method=st.sampled_from(["auto", *STABLE]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_as_small_a_gradient_as_qr(d, extra, log_cond, log_noise, method, seed):
    A, b = oracles.problem(d + extra, d, cond=10**log_cond, noise=10**log_noise, seed=seed)
    result = sketch_lstsq(A, b, method=method, rng=seed)
    reference = np.linalg.lstsq(A, b, rcond=0)[0]
    rounding = 2.0**-52 * np.linalg.norm(b - A @ reference) * np.sqrt(d)
    assert normal_residual(A, b, result.x) <= 50 * normal_residual(A, b, reference) + 10 * rounding
    assert result.converged
    assert result.rank == d


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cond", [1e2, 1e8, 1e12])
@pytest.mark.parametrize("method", STABLE)
def test_backward_error_within_ten_times_that_of_qr(method, cond, kind):
    A, b = oracles.problem(3000, 20, cond=cond, kind=kind)
    result = sketch_lstsq(A, b, method=method, rng=1)
    Q, R = np.linalg.qr(A)
    lengths = np.linalg.norm(A, axis=0)
    ours, theirs = (oracles.backward_error(A / lengths, b, x * lengths) for x in (result.x, np.linalg.solve(R, Q.T @ b)))
    assert ours <= 10 * max(theirs, 2.0**-54)
    assert result.converged
    assert result.backward_error < 1e-15


@pytest.mark.parametrize("method", METHODS)
def test_reproduces_a_consistent_solution(method):
    A, _ = oracles.problem(3000, 10, cond=1e3)
    x = np.arange(1.0, 11.0)
    result = sketch_lstsq(A, A @ x, method=method, rng=0)
    close(result.x, x, 1e-10)
    assert result.certificate.bound < 1e-9
    assert result.residual_norm < 1e-13 * np.linalg.norm(x)


@pytest.mark.parametrize("cond", [1e4, 1e8])
@pytest.mark.parametrize("method", ["direct", "cholqr"])
def test_correct_to_the_last_digit_where_it_says_so(method, cond):
    A, b = oracles.problem(2500, 12, cond=cond)
    result = sketch_lstsq(A, b, method=method, rng=0)
    error = abs(result.x - oracles.solve(A, b))
    assert (error <= result.x_bound).all()
    assert error.max() <= 1e-15 * abs(result.x).max()


def test_a_smaller_tolerance_brings_more_digits():
    A, b = oracles.problem(20000, 30, cond=1e12)
    exact = oracles.solve(A, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain, fine = (sketch_lstsq(A, b, method="cholqr", tol=tol, rng=0).x for tol in (None, 1e-22))
    assert abs(fine - exact).max() < 1e-3 * abs(plain - exact).max()


@pytest.mark.parametrize("method", METHODS)
def test_every_backend_gives_the_same_answer(method, backend):
    A, b = oracles.problem(1500, 8, cond=1e3)
    expected = sketch_lstsq(A, b, method=method, rng=5)
    result = sketch_lstsq(backend.array(A), backend.array(b), method=method, rng=5)
    close(backend.numpy(result.x), expected.x, 1e-11)
    assert (abs(backend.numpy(result.x) - expected.x) <= backend.numpy(result.x_bound) + expected.x_bound).all()
    assert isinstance(result.residual_norm, float)


@pytest.mark.parametrize("sketch", SKETCHES)
def test_every_sketch_serves(sketch, backend):
    A, b = oracles.problem(1200, 6, cond=1e3)
    expected = sketch_lstsq(A, b, method="solve", sketch=sketch, rng=3)
    result = sketch_lstsq(backend.array(A), backend.array(b), method="solve", sketch=sketch, rng=3)
    close(backend.numpy(result.x), expected.x, 1e-10)
    assert result.certificate.method == ("L0" if sketch in {"srht", "srdct", "gaussian", "bgp"} else "L1")
    assert sketch_lstsq(backend.array(A), backend.array(b), method="spir", sketch=sketch, rng=3).converged


@pytest.mark.parametrize("method", METHODS)
def test_one_and_two_threads_and_runs_agree(method):
    import numba

    A, b = oracles.problem(4000, 20, cond=1e4)
    one = sketch_lstsq(A, b, method=method, rng=7)
    numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))  # the fixture takes it back
    two, again = (sketch_lstsq(A, b, method=method, rng=7) for _ in range(2))
    close(one.x, two.x, 1e-10)
    np.testing.assert_array_equal(two.x, again.x)


def _operator(A):
    class Plain(LinearOperator):
        def _matmat(self, X):
            return A @ X

        def _rmatmat(self, X):
            return A.conj().T @ X

    return Plain(A.dtype, A.shape)


def _on_disk(A, folder):
    path = folder / "A.npy"
    np.save(path, A)
    return np.load(path, mmap_mode="r")


WAYS = {
    "fortran": lambda A, folder: np.asfortranarray(A),
    "strided": lambda A, folder: np.repeat(np.repeat(A, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda A, folder: A[::-1, ::-1].copy()[::-1, ::-1],
    "read only": lambda A, folder: np.frombuffer(A.tobytes()).reshape(A.shape),
    "on disk": _on_disk,
    "csr": lambda A, folder: sp.csr_array(A),
    "csc": lambda A, folder: sp.csc_array(A),
    "coo matrix": lambda A, folder: sp.coo_matrix(A),
    "operator": lambda A, folder: aslinearoperator(A),
    "own operator": lambda A, folder: _operator(A),
    "list of blocks": lambda A, folder: [A[:700], A[700:701], A[701:]],
    "sparse blocks": lambda A, folder: [sp.csr_array(A[:700]), sp.csr_array(A[700:])],
    "function": lambda A, folder: lambda: (A[i : i + 300] for i in range(0, A.shape[0], 300)),
    "list of lists": lambda A, folder: A.tolist(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_matrix_gives_the_same_answer(method, way, tmp_path):
    A, b = oracles.problem(1500, 7, cond=1e3)
    weights = np.random.default_rng(0).random(1500)
    for options in ({}, {"weights": weights}, {"ridge": 0.1}):
        expected = sketch_lstsq(A, b, method=method, rng=5, **options)
        result = sketch_lstsq(WAYS[way](A, tmp_path), b, method=method, rng=5, **options)
        close(result.x, expected.x, 1e-11)
        assert (abs(result.x - expected.x) <= result.x_bound + expected.x_bound).all()


def test_blocks_that_come_once():
    A, b = oracles.problem(2000, 5, cond=10)
    blocks = [A[:900], A[900:]]
    result = sketch_lstsq(iter(blocks), b, rng=0)
    assert result.method == "solve"
    assert result.certificate.method == "L0"
    close(result.x, sketch_lstsq(A, b, method="solve", sketch="gaussian", sketch_rows=result.sketch_rows, rng=0).x, 1e-11)
    halves = sketch_lstsq(blocks, [b[:900], b[900:]], rng=0)
    close(halves.x, sketch_lstsq(A, b).x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_complex_data(method, ridge):
    A, b = oracles.problem(1200, 6, k=2)
    rng = np.random.default_rng(1)
    C = A + 1j * rng.standard_normal(A.shape)
    c = b + 1j * rng.standard_normal(b.shape)
    for left, right in ((C, c), (C, b), (A, c), (np.asfortranarray(C), c)):
        result = sketch_lstsq(left, right, method=method, ridge=ridge, rng=0)
        exact = oracles.solve(left, right, ridge=ridge)
        assert result.x.dtype == np.complex128
        assert result.x_bound.dtype == np.float64
        assert (abs(result.x - exact) <= result.x_bound).all()


@pytest.mark.parametrize("name", ["float32", "complex64", "float16"])
@pytest.mark.parametrize("method", METHODS)
def test_low_precision(method, name):
    A, b = oracles.problem(1500, 6, cond=30)
    A, b = A.astype(name), b.astype(name)
    result = sketch_lstsq(A, b, method=method, rng=0)
    exact = oracles.solve(A.astype(np.complex128 if name == "complex64" else float), b.astype(float if name != "complex64" else complex))
    assert result.x.dtype == A.dtype
    assert (abs(result.x - exact) <= result.x_bound.astype(float)).all()
    assert method == "solve" or abs(result.x - exact).max() <= 2 * np.finfo(A.dtype).eps * abs(exact).max()


def test_integers_and_booleans_become_floats(backend):
    A = np.arange(40).reshape(20, 2) % 7
    result = sketch_lstsq(backend.array(A), backend.array(A[:, 0] > 2))
    assert "float" in str(result.x.dtype)
    close(backend.numpy(result.x), np.linalg.lstsq(A, (A[:, 0] > 2) * 1.0)[0], 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_several_right_hand_sides_are_as_good_as_one(method):
    A, B = oracles.problem(2000, 9, k=3, cond=1e5)
    result = sketch_lstsq(A, B, method=method, rng=0)
    assert result.x.shape == result.x_bound.shape == (9, 3)
    np.testing.assert_allclose(result.residual_norm, [np.linalg.norm(B[:, j] - A @ result.x[:, j]) for j in range(3)], rtol=0.3)
    assert (abs(result.x - oracles.solve(A, B)) <= result.x_bound).all()


@pytest.mark.parametrize("method", METHODS)
def test_weights_and_ridge_against_the_oracle(method):
    A, b = oracles.problem(2000, 9, cond=1e4)
    weights = np.random.default_rng(0).exponential(size=2000)
    weights[::5] = 0
    result = sketch_lstsq(A, b, method=method, weights=weights, ridge=1e-6, rng=0)
    exact = oracles.solve(A, b, weights=np.sqrt(weights) ** 2, ridge=1e-6)
    assert (abs(result.x - exact) <= result.x_bound + 1e-15 * abs(exact)).all()
    residual = np.sqrt(weights) * (b - A @ result.x)
    np.testing.assert_allclose(result.residual_norm, np.linalg.norm(residual), rtol=0.2 if method == "solve" else 1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, aslinearoperator, lambda A: [A[:500], A[500:]]])
def test_rank_deficient_gives_the_least_norm_and_a_warning(method, make):
    A, b = oracles.problem(1500, 8, cond=1e2)
    A[:, 5] = A[:, 0] - A[:, 1]
    A[:, 3] = 0
    with pytest.warns(ConvergenceWarning, match="rank 6 of 8"):
        result = sketch_lstsq(make(A), b, method=method, rng=0)
    expected = np.linalg.lstsq(A, b, rcond=1e-12)[0]
    assert result.rank == 6
    assert not result.converged
    assert result.certificate.bound == np.inf
    if method == "solve":
        null = np.eye(8)[:, [3]], np.eye(8)[:, [0]] - np.eye(8)[:, [1]] - np.eye(8)[:, [5]]
        assert all(abs(v.T @ result.x).max() < 1e-12 for v in null)
    else:
        close(result.x, expected, 1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_all_zero(method):
    with pytest.warns(ConvergenceWarning, match="rank 0 of 3"):
        result = sketch_lstsq(np.zeros((800, 3)), np.ones(800), method=method, rng=0)
    assert not result.x.any()
    assert not result.converged


def test_ridge_cures_rank_deficiency():
    A, b = oracles.problem(1500, 8, cond=1e2, kind="deficient")
    result = sketch_lstsq(A, b, method="cholqr", ridge=1e-3, rng=0)
    assert result.converged
    assert (abs(result.x - oracles.solve(A, b, ridge=1e-3)) <= result.x_bound).all()


@pytest.mark.parametrize("method", ["auto", "direct", "cholqr", "spir"])
@pytest.mark.parametrize("n", [5, 30])
def test_wide_gives_the_least_norm(method, n, backend):
    rng = np.random.default_rng(n)
    A, B = rng.standard_normal((n, 700)), rng.standard_normal((n, 2))
    expected = np.linalg.lstsq(A, B)[0]
    result = sketch_lstsq(backend.array(A), backend.array(B), method=method, rng=0)
    assert (abs(backend.numpy(result.x) - expected) <= backend.numpy(result.x_bound) + 1e-14).all()
    assert backend.numpy(result.x_bound).max() < 1e-10
    assert result.converged
    assert result.rank == n


@pytest.mark.parametrize(
    "make", [np.asfortranarray, sp.csr_array, aslinearoperator, lambda A: [A[:2], A[2:]], lambda A: A + 1j * A[::-1, ::-1]]
)
@pytest.mark.parametrize("method", ["direct", "cholqr"])
def test_wide_of_every_kind(make, method):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((6, 400)), rng.standard_normal(6)
    given_A = make(A)
    full = given_A if isinstance(given_A, np.ndarray) else A
    expected = np.linalg.lstsq(full, b)[0]
    close(sketch_lstsq(given_A, b, method=method, rng=0).x, expected, 1e-13)
    close(sketch_lstsq(given_A, b, method=method, weights=np.arange(1.0, 7.0), rng=0).x, expected, 1e-13)
    ridge = sketch_lstsq(given_A, b, method="direct", ridge=2.0, rng=0).x
    close(ridge, full.conj().T @ np.linalg.solve(full @ full.conj().T + 2 * np.eye(6), b), 1e-12)


def test_wide_and_rank_deficient():
    A = np.random.default_rng(0).standard_normal((6, 50))
    A[4] = A[1]
    b = np.arange(6.0)
    with pytest.warns(ConvergenceWarning, match="rank 5 of 6"):
        result = sketch_lstsq(A, b)
    close(result.x, np.linalg.lstsq(A, b, rcond=1e-12)[0], 1e-12)
    assert result.certificate.bound == np.inf


@pytest.mark.parametrize(("n", "d", "k"), [(5, 0, 1), (0, 3, 2), (4, 2, 0), (0, 0, 1)])
def test_empty_problems(n, d, k, backend):
    result = sketch_lstsq(backend.array(np.ones((n, d))), backend.array(np.ones((n, k))))
    assert backend.numpy(result.x).shape == (d, k)
    assert not backend.numpy(result.x).any()
    assert result.converged


def test_zero_right_hand_side_square_and_single_column():
    A, _ = oracles.problem(500, 4)
    for method in METHODS:
        result = sketch_lstsq(A, np.zeros(500), method=method, rng=0)
        assert not result.x.any()
        assert result.certificate.bound <= 1e-300
        assert result.converged
    square = np.random.default_rng(0).standard_normal((6, 6))
    close(sketch_lstsq(square, square @ np.ones(6)).x, np.ones(6), 1e-12)
    close(sketch_lstsq(A[:, :1], A[:, 0], method="cholqr", rng=0).x, np.ones(1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size_A", "size_b"), [(1e150, 1e-150), (1e-150, 1e150), (1e-200, 1e-200), (1e306, 1e306), (1e300, 1.0)])
def test_extreme_units(method, size_A, size_b):
    A, b = oracles.problem(1500, 6, cond=10)
    A, b = A / abs(A).max(), b / abs(b).max()
    expected = sketch_lstsq(A, b, method=method, rng=0)
    result = sketch_lstsq(size_A * A, size_b * b, method=method, rng=0)
    unit = size_b / size_A
    close(result.x / unit, expected.x, 1e-10)
    np.testing.assert_allclose(result.residual_norm / size_b, expected.residual_norm, rtol=1e-6)
    assert 0 < result.certificate.bound < np.inf


def test_a_huge_row_and_tiny_columns():
    A, b = oracles.problem(1500, 6, cond=10)
    A[3] *= 1e6
    b[3] *= 1e6
    expected = oracles.solve(A, b)
    A[:, 2] *= 2.0**-460
    expected[2] *= 2.0**460
    for method in STABLE:
        result = sketch_lstsq(A, b, method=method, rng=0)
        np.testing.assert_allclose(result.x, expected, rtol=1e-6)
        assert (abs(result.x - expected) <= result.x_bound).all()


def test_rows_beyond_the_range_of_squares():
    A, b = oracles.problem(1500, 6, cond=10)
    A[3] *= 1e200
    b[3] *= 1e200
    for method in STABLE:
        with pytest.warns(ConvergenceWarning, match="rank 1 of 6"):
            result = sketch_lstsq(A, b, method=method, rng=0)
        assert np.isfinite(result.x).all()
        np.testing.assert_allclose(A[3] @ result.x, b[3], rtol=1e-12)


@given(seed=st.integers(0, 100), log_c=st.integers(-30, 30), log_d=st.integers(-30, 30))
@settings(max_examples=15)
def test_equivariance(seed, log_c, log_d):
    A, b = oracles.problem(1000, 6, cond=1e4, seed=seed)
    C = np.triu(np.random.default_rng(seed).standard_normal((6, 6))) + 5 * np.eye(6)
    for method in ("solve", "cholqr"):
        x = sketch_lstsq(A, b, method=method, rng=seed).x
        close(sketch_lstsq(A @ C, b, method=method, rng=seed).x, np.linalg.solve(C, x), 1e-8)
        close(sketch_lstsq(2.0**log_c * A, 2.0**log_d * b, method=method, rng=seed).x, 2.0 ** (log_d - log_c) * x, 1e-9)
    solve = {"method": "solve", "rng": seed}
    other = np.cos(np.arange(1000.0))
    sums = sketch_lstsq(A, b, **solve).x + 3 * sketch_lstsq(A, other, **solve).x
    close(sketch_lstsq(A, b + 3 * other, **solve).x, sums, 1e-8)


@pytest.mark.parametrize("method", STABLE)
def test_zero_rows_and_row_order_change_nothing(method):
    A, b = oracles.problem(1500, 6, cond=1e4)
    expected = sketch_lstsq(A, b, method=method, rng=0).x
    longer = np.vstack([A, np.zeros((300, 6))]), np.concatenate([b, np.zeros(300)])
    close(sketch_lstsq(*longer, method=method, rng=0).x, expected, 1e-9)
    order = np.random.default_rng(0).permutation(1500)
    close(sketch_lstsq(A[order], b[order], method=method, rng=0).x, expected, 1e-9)


def test_inputs_stay_intact_and_results_repeat():
    A, b = oracles.problem(1500, 6)
    before = A.copy(), b.copy()
    first = sketch_lstsq(A, b, method="cholqr", rng=np.random.default_rng(4), certificate=False)
    second = sketch_lstsq(A, b, method="cholqr", rng=np.random.default_rng(4), certificate=False)
    assert (first.x == second.x).all()
    assert first.certificate.method == "none"
    assert (first.x_bound == np.inf).all()
    np.testing.assert_array_equal(A, before[0])
    np.testing.assert_array_equal(b, before[1])
    assert "certificate" in repr(first)


def test_auto_chooses():
    A, b = oracles.problem(30000, 10)
    assert sketch_lstsq(A[:500], b[:500]).method == "direct"
    assert sketch_lstsq(A, b, rng=0).method == "cholqr"
    assert sketch_lstsq(sp.csr_array(A), b, rng=0).method == "spir"
    assert sketch_lstsq([A], b, rng=0).method == "cholqr"
    assert sketch_lstsq(A, b, eps=0.5, rng=0).method == "solve"
    assert sketch_lstsq(A, b, eps=0.05, rng=0).method == "direct"


def _bad(A, b, **options):
    return lambda: sketch_lstsq(A, b, rng=0, **options)


A0, B0 = np.random.default_rng(0).standard_normal((400, 3)), np.ones(400)
NAN = np.where(np.arange(1200).reshape(400, 3) == 700, np.nan, A0)
BAD = [
    ("1-d A", _bad(B0, B0), ValueError, "sketch_lstsq: A must be 2-dimensional"),
    ("short b", _bad(A0, B0[:-1]), ValueError, r"sketch_lstsq: b must have 400 rows, as many as A; got shape \(399,\)"),
    ("3-d b", _bad(A0, np.ones((400, 1, 1))), ValueError, "b must be 1-dimensional or 2-dimensional"),
    ("NaN in A", _bad(NAN, B0), ValueError, "sketch_lstsq: A must be finite; got 1 NaN .* the first in row 233"),
    ("NaN in A, sketched", _bad(NAN, B0, method="cholqr"), ValueError, "A must be finite; got 1 .* row 233"),
    ("inf in A, sketched", _bad(np.where(np.isnan(NAN), np.inf, A0), B0, method="spir"), ValueError, "row 233"),
    ("NaN in sparse A", _bad(sp.csr_array(NAN), B0, method="spir"), ValueError, "A must be finite"),
    ("NaN in a block", _bad([A0[:200], NAN[200:]], B0[:400], method="cholqr"), ValueError, "block of A from row 200"),
    ("NaN in a stream", _bad(iter([NAN]), B0), ValueError, "A must be finite"),
    ("NaN in an operator", _bad(aslinearoperator(NAN), B0, method="spir"), ValueError, "A must be finite"),
    ("NaN in wide A", _bad(NAN.T, np.ones(3)), ValueError, "A must be finite"),
    ("inf in b", _bad(A0, np.where(np.arange(400) == 5, np.inf, B0)), ValueError, "b must be finite; got 1 .* index 5"),
    ("text", _bad("A", B0), TypeError, "A must be an array of numbers"),
    ("sparse b", _bad(A0, sp.csr_array(B0[:, None])), TypeError, "b must be a dense array"),
    ("negative weight", _bad(A0, B0, weights=-B0), ValueError, "weights must be at least 0; got -1"),
    ("short weights", _bad(A0, B0, weights=B0[:3]), ValueError, r"weights must have shape \(400,\)"),
    ("complex weights", _bad(A0, B0, weights=1j * B0), TypeError, "weights must be real"),
    ("NaN weight", _bad(A0, B0, weights=np.nan * B0), ValueError, "weights must be finite"),
    ("negative ridge", _bad(A0, B0, ridge=-1), ValueError, "ridge must be a number of at least 0"),
    ("method", _bad(A0, B0, method="qr"), ValueError, "method must be one of 'auto', "),
    ("sketch", _bad(A0, B0, sketch="dense"), ValueError, "sketch must be one of 'auto', "),
    ("few rows", _bad(A0, B0, sketch_rows=3), ValueError, "sketch_rows must be an integer between 4 and 400; got 3"),
    ("many rows", _bad(A0, B0, sketch_rows=401), ValueError, "sketch_rows must be"),
    ("fractional rows", _bad(A0, B0, sketch_rows=7.5), TypeError, "sketch_rows must be an integer"),
    ("delta", _bad(A0, B0, delta=1), ValueError, "delta must be a number between 0 and 1"),
    ("tol", _bad(A0, B0, tol=0), ValueError, "tol must be a number above 0"),
    ("eps", _bad(A0, B0, eps=0), ValueError, "eps must be a number above 0"),
    ("eps and spir", _bad(A0, B0, eps=0.5, method="spir"), ValueError, "eps needs method='solve'; got method='spir'"),
    ("eps and countsketch", _bad(A0, B0, eps=0.5, sketch="countsketch"), ValueError, "eps needs a sketch other than 'countsketch'"),
    ("eps and rows", _bad(A0, B0, eps=0.5, sketch_rows=100), ValueError, "eps and sketch_rows exclude each other"),
    ("eps and wide", _bad(A0.T, np.ones(3), eps=0.5), ValueError, "must have as many rows as columns"),
    ("rng", _bad(A0, B0, method=None), ValueError, "method must be one of"),
    ("stream twice", _bad(iter([A0]), B0, method="cholqr"), ValueError, "A comes once, but method='cholqr' reads it again"),
    ("no blocks", _bad(iter([]), B0), ValueError, "A must have at least one block"),
    ("no function of blocks", _bad(lambda: None, B0), TypeError, "A must return row blocks when called; got NoneType"),
    ("narrow block", _bad([A0[:100], A0[100:, :2]], B0), ValueError, "blocks of A must have 3 columns"),
    ("missing rows", _bad([A0[:100]], B0), ValueError, "A must have 400 rows in all blocks together, as many as b; got 100"),
    ("surplus rows", _bad([A0, A0], B0), ValueError, "A must have 400 rows in all blocks"),
]


@pytest.mark.parametrize(("call", "kind", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_arrays_of_two_libraries_and_gradients_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="arrays must belong to one library"):
        sketch_lstsq(torch.ones(5, 2), np.ones(5))
    with pytest.raises(TypeError, match="must not require gradients"):
        sketch_lstsq(torch.ones(5, 2, requires_grad=True), torch.ones(5))
