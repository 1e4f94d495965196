"""Conjugate gradients: textbook iterates, certificates against long double, every kind of matrix, bad input."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.solvers import _block, conjugate_gradients
from tests.solvers.problems import Map, exact_residual, exact_solution, least_of_poisson, poisson, spd, textbook_cg

RNG = np.random.default_rng(5)


def energy_norm(A, e):
    A = A.toarray() if sp.issparse(A) else A
    wide = np.clongdouble if np.iscomplexobj(A) or np.iscomplexobj(e) else np.longdouble
    return float(np.sqrt(abs(e.conj() @ (A.astype(wide) @ e.astype(wide)))))


@settings(max_examples=60)
@given(
    n=st.integers(1, 40), t=st.integers(0, 3), digits=st.floats(0, 7), kind=st.sampled_from(["real", "complex"]), seed=st.integers(0, 10**6)
)
def test_certificates_hold_and_are_tight(n, t, digits, kind, seed):
    A = spd(n, 10.0**digits, seed, kind)
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((n, t) if t else n)
    result = conjugate_gradients(A, b, least_eigenvalue=0.999, tol=1e-9, max_iter=100 * n)
    R = exact_residual(A, result.x, b)
    sizes = np.linalg.norm(R.astype(complex), axis=0)
    assert result.x.shape == b.shape
    assert np.all(sizes <= result.certificate.bound)
    scale = np.linalg.norm(A) * np.linalg.norm(result.x) + np.linalg.norm(b)
    assert result.certificate.bound <= np.max(sizes) + 1e-13 * (n + 4) * scale
    E = (exact_solution(A, b) - result.x).reshape(n, -1)
    assert all(energy_norm(A, e) <= result.error.bound + 1e-18 * scale for e in E.T)
    assert result.error.confidence == 1.0
    if result.converged and digits < 5:
        assert np.all(sizes <= 1.01e-9 * np.linalg.norm(b, axis=0) + 1e-15 * scale)


def test_iterates_are_those_of_the_textbook():
    A, b = spd(40, 100.0, 0), RNG.standard_normal(40)
    for steps, expected in enumerate(textbook_cg(A, b, 12), 1):
        with pytest.warns(ConvergenceWarning, match="after"):
            result = conjugate_gradients(A, b, max_iter=steps)
        np.testing.assert_allclose(result.x, expected, atol=1e-11)
        assert not result.converged
        assert result.n_iter == steps
        assert len(result.history) == steps + 1
        np.testing.assert_allclose(result.history[-1], np.linalg.norm(b - A @ result.x), rtol=1e-8)


def test_exact_solutions_of_the_poisson_problem():
    A = poisson(30)
    x = RNG.integers(-1000, 1000, (900, 3)).astype(float)
    result = conjugate_gradients(A, A @ x, tol=1e-12)
    np.testing.assert_allclose(result.x, x, atol=1e-7)
    assert result.converged
    assert result.n_iter < 130
    assert result.least_eigenvalue == pytest.approx(least_of_poisson(30), rel=1e-3)
    assert result.error.confidence == 0
    assert "estimate" in result.error.method
    errors = [energy_norm(A, e) for e in (x - result.x).T]
    assert max(errors) <= result.error.bound <= 100 * max(errors)


def test_estimates_are_calibrated():
    """On Poisson problems, well and badly started, the estimate is above the error in nearly all cases, and not far."""
    ratios = []
    for n in (5, 10, 20):
        A = poisson(n)
        for seed in range(20):
            x = np.random.default_rng(seed).integers(-1000, 1000, n * n).astype(float)  # so that A @ x is exact
            with_diagonal = {"preconditioner": lambda R: R / 4} if seed % 2 else {}
            result = conjugate_gradients(A, A @ x, tol=10.0 ** -(3 + seed % 6), **with_diagonal)
            ratios.append(result.error.bound / energy_norm(A, x - result.x))
    assert np.mean(np.array(ratios) >= 1) >= 0.95
    assert np.median(ratios) < 20


def test_gershgorin_proves_a_bound_where_diagonals_dominate():
    A = poisson(12) + sp.eye_array(144) * 0.5
    b = RNG.standard_normal(144)
    for kind in (A, A.toarray(), A.tocoo(), A.tocsc()):
        result = conjugate_gradients(kind, b)
        assert result.least_eigenvalue == pytest.approx(0.5)
        assert result.error.confidence == 1
        assert energy_norm(A, exact_solution(A, b) - result.x) <= result.error.bound
    better = conjugate_gradients(A, b, least_eigenvalue=0.5 + 0.99 * least_of_poisson(12))
    assert "given" in better.error.method
    assert better.error.bound < result.error.bound


def test_kinds_of_matrices_agree():
    A = poisson(9)
    b = RNG.standard_normal((81, 2))
    expected = conjugate_gradients(A, b)
    dense = A.toarray()
    for kind in (
        dense,
        A.tocsc(),
        A.tocoo(),
        Map(dense),
        LinearOperator(A.shape, matmat=lambda X: A @ X, matvec=lambda x: A @ x, dtype=float),
    ):
        result = conjugate_gradients(kind, b)
        assert result.n_iter == expected.n_iter
        np.testing.assert_allclose(result.x, expected.x, atol=1e-10)
        assert ("products" in result.certificate.method) == (not hasattr(kind, "toarray") and kind is not dense)
    integers = conjugate_gradients(A.astype(int), b)
    np.testing.assert_array_equal(integers.x, expected.x)
    repeated = sp.csr_array((np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 2, 4])))
    np.testing.assert_allclose(conjugate_gradients(repeated, np.ones(2)).x, 0.5)
    assert repeated.nnz == 4  # the given matrix stays as it is


def test_backends_and_dtypes(backend):
    A, B = spd(30, 50.0, 1), RNG.standard_normal((30, 2))
    for dtype in (np.float64, np.float32, np.complex128, np.complex64):
        a, b = backend.array(A.astype(dtype)), backend.array(B.astype(dtype))
        result = conjugate_gradients(a, b)
        assert result.converged
        x = backend.numpy(result.x)
        assert x.dtype == dtype
        np.testing.assert_allclose(x, np.linalg.solve(A, B), atol=1e-6 if np.finfo(dtype).eps < 1e-10 else 1e-5)
        assert (
            np.max(np.linalg.norm(exact_residual(A.astype(dtype), x, B.astype(dtype)).astype(complex), axis=0)) <= result.certificate.bound
        )
    mapped = conjugate_gradients(Map(backend.array(A)), backend.array(B), preconditioner=lambda R: R * 1.0)
    np.testing.assert_allclose(backend.numpy(mapped.x), np.linalg.solve(A, B), atol=1e-6)
    started = conjugate_gradients(backend.array(A), backend.array(B), x0=mapped.x)
    assert started.n_iter == 0


def test_real_matrices_take_complex_right_hand_sides():
    A, b = spd(20, 30.0, 3), RNG.standard_normal(20) + 1j * RNG.standard_normal(20)
    for kind in (A, sp.csr_array(A), Map(A)):
        result = conjugate_gradients(kind, b)
        assert result.x.dtype == np.complex128
        np.testing.assert_allclose(result.x, np.linalg.solve(A, b), atol=1e-7)


def test_preconditioners_of_every_kind():
    A = spd(60, 1e6, 2)
    b = RNG.standard_normal(60)
    P = np.linalg.inv(A + 0.1 * np.eye(60))
    P = (P + P.T) / 2
    counts = set()
    for kind in (P, sp.csr_array(P), Map(P), lambda R: P @ R):
        result = conjugate_gradients(A, b, preconditioner=kind)
        assert result.converged
        counts.add(result.n_iter)
        assert result.error.bound >= energy_norm(A, exact_solution(A, b) - result.x)
    assert max(counts) <= 10


def test_right_hand_sides_stop_one_by_one():
    A = poisson(20)
    mode = np.sin(np.pi * np.arange(1, 21) / 21)
    v = np.outer(mode, mode).ravel()  # an eigenvector
    B = np.stack([v, np.zeros(400), RNG.standard_normal(400)], axis=1)
    result = conjugate_gradients(A, B)
    assert result.converged
    assert not result.x[:, 1].any()
    np.testing.assert_allclose(result.x[:, 0], v / least_of_poisson(20), atol=1e-7)
    assert result.history.shape == (result.n_iter + 1, 3)
    assert np.all(result.history[-1] <= result.history[0])
    nothing = conjugate_gradients(A, np.zeros(400))
    assert nothing.n_iter == 0
    assert nothing.converged
    assert not nothing.x.any()


def test_threads_change_no_answer():
    A, b = poisson(25), RNG.standard_normal(625)
    answers = []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append(conjugate_gradients(A, b).x)
    np.testing.assert_array_equal(*answers)


def test_ritz_values_are_those_of_the_krylov_space():
    A, b = spd(30, 40.0, 4), RNG.standard_normal((30, 1))
    run = _block.conjugate_gradients(lambda V: A @ V, b, np.array([0.0]), precondition=lambda R: R, max_iter=6)
    K = np.linalg.qr(np.concatenate([np.linalg.matrix_power(A / 40, k) @ b for k in range(6)], axis=1))[0]
    values = np.linalg.eigvalsh(K.T @ A @ K)
    np.testing.assert_allclose(run.ritz_range(), values[[0, -1]], rtol=1e-8)


def test_indefinite_matrices_are_found():
    diagonal = np.ones(200)
    A = np.diag(diagonal) + 0.0
    A[0, 1] = A[1, 0] = 1.5  # a positive diagonal hides it from the entries, and two probes see it hardly ever
    with pytest.raises(ValueError, match=r"conjugate_gradients: A must be positive definite; got a direction d"):
        conjugate_gradients(A, RNG.standard_normal(200))
    with pytest.raises(ValueError, match=r"A must be positive definite; got -1 on the diagonal in row 3"):
        conjugate_gradients(np.diag([1.0, 1, 1, -1]), np.ones(4))
    with pytest.raises(ValueError, match=r"A must be positive definite"):
        conjugate_gradients(Map(-np.eye(4)), np.ones(4))


def test_singular_systems():
    A = poisson(8).toarray()
    A = A - np.diag(A.sum(axis=1))  # Neumann: constants are the null space
    b = RNG.standard_normal(64)
    consistent = conjugate_gradients(A, b - b.mean())
    assert consistent.converged
    assert consistent.least_eigenvalue == pytest.approx(np.linalg.eigvalsh(A)[1], rel=1e-3)  # the least that b contains
    e = np.linalg.lstsq(A, b - b.mean())[0] - consistent.x
    assert energy_norm(A, e) <= consistent.error.bound <= 10 * energy_norm(A, e)
    for seed in range(20):
        b = np.random.default_rng(seed).standard_normal((64, 2))
        b[:, 1] -= b[:, 1].mean()
        with pytest.warns(ConvergenceWarning, match="after .* iterations; A is singular to working precision, and b not in its range"):
            result = conjugate_gradients(A, b)
        assert 8 * abs(b[:, 0].mean()) * 0.999 <= result.residual[0] <= np.linalg.norm(b[:, 0]) * (1 + 1e-12)  # never worse than the start
        assert result.residual[1] <= 1e-7
        assert np.max(np.linalg.norm(b - A @ result.x, axis=0)) <= result.certificate.bound
        assert not result.converged


def test_badly_scaled_matrices_are_not_called_singular():
    D = np.diag([1e-20, 1.0])
    result = conjugate_gradients(D, np.array([1.0, 1]))
    assert result.converged
    np.testing.assert_allclose(result.x, [1e20, 1])


def test_an_interrupted_run_goes_on(backend):
    """From an earlier result it takes the steps of one run; from its solution alone a quarter more."""
    A, B = poisson(30), RNG.standard_normal((900, 2))
    dense, rhs = backend.array(A.toarray()), backend.array(B)
    for matrix, b in ((A, B), (A, B[:, 0])) if backend.name == "numpy" else ((dense, rhs),):
        whole = conjugate_gradients(matrix, b)
        for preconditioner in (None, lambda R: R / 4):
            with pytest.warns(ConvergenceWarning):
                part = conjugate_gradients(matrix, b, max_iter=50, preconditioner=preconditioner)
            rest = conjugate_gradients(matrix, b, x0=part, preconditioner=preconditioner)
            again = conjugate_gradients(matrix, b, x0=part.x, preconditioner=preconditioner)
            assert abs(50 + rest.n_iter - whole.n_iter) <= 2
            assert 50 + again.n_iter >= 1.15 * whole.n_iter
            np.testing.assert_allclose(backend.numpy(rest.x), backend.numpy(whole.x), atol=1e-5)
            assert least_of_poisson(30) * 0.999 <= rest.least_eigenvalue * (4 if preconditioner else 1) <= 1.3 * least_of_poisson(30)
    other = conjugate_gradients(dense, backend.array(B[:, ::-1].copy()), x0=conjugate_gradients(dense, rhs))  # not its system: still right
    np.testing.assert_allclose(backend.numpy(other.x), np.linalg.solve(A.toarray(), B[:, ::-1]), atol=1e-5)
    done = conjugate_gradients(dense, rhs, x0=other.x * 0)
    assert conjugate_gradients(dense, rhs, x0=done).n_iter == 0


def test_callbacks_see_every_iteration_and_may_stop():
    A, b, seen = poisson(10), RNG.standard_normal(100), []
    full = conjugate_gradients(A, b, callback=lambda n_iter, norms: seen.append((n_iter, float(norms[0]))))
    assert [n_iter for n_iter, _ in seen] == list(range(1, full.n_iter + 1))
    np.testing.assert_array_equal([norm for _, norm in seen], full.history[1:])
    with pytest.warns(ConvergenceWarning, match="after 5 iterations"):
        assert conjugate_gradients(A, b, callback=lambda n_iter, norms: n_iter == 5).n_iter == 5


@pytest.mark.parametrize("size", [2.0**-830, 2.0**-530, 2.0**530, 2.0**830])
def test_numbers_whose_squares_leave_the_range(size):
    A, b = spd(30, 50.0, 6), RNG.standard_normal(30)
    result, usual = conjugate_gradients(A, b * size), conjugate_gradients(A, b)
    assert result.converged
    np.testing.assert_allclose(result.x, usual.x * size, rtol=1e-6)
    for mine, theirs in ((result.residual, usual.residual), (result.error.bound, usual.error.bound), (result.history, usual.history)):
        np.testing.assert_allclose(mine, theirs * size, rtol=1e-9)
    assert result.residual <= result.certificate.bound <= 1.1 * result.residual
    np.testing.assert_allclose(conjugate_gradients(A, b * size, x0=usual.x * size).x, usual.x * size, rtol=1e-6)
    np.testing.assert_allclose(_block.norms(b[:, None] * size), np.linalg.norm(b) * size)


def test_inputs_stay_as_they_are():
    A, b, x0 = spd(10, 5.0, 0), RNG.standard_normal(10), RNG.standard_normal(10)
    copies = A.copy(), b.copy(), x0.copy()
    conjugate_gradients(A, b, x0=x0)
    for given_, copy in zip((A, b, x0), copies, strict=True):
        np.testing.assert_array_equal(given_, copy)


class Short:
    """A map that loses a row."""

    shape = (3, 3)

    def __matmul__(self, X):
        return X[:2]


A, B = np.eye(3), np.ones(3)
SKEW = np.array([[1.0, 0.5, 0], [-0.5, 1, 0], [0, 0, 1]])
BAD = [
    ("tall A", (np.ones((4, 3)), B), {}, ValueError, r"conjugate_gradients: A must be square; got shape \(4, 3\)"),
    ("no rows", (np.ones((0, 0)), np.ones(0)), {}, ValueError, "A must have at least one row and column"),
    ("vector A", (B, B), {}, ValueError, r"A must be square; got shape \(3,\)"),
    ("text A", ("A", B), {}, TypeError, "A must be an array of numbers; got str"),
    ("short b", (A, B[:2]), {}, ValueError, "b must have 3 rows, as many as A"),
    ("no b", (A, np.ones((3, 0))), {}, ValueError, "b must have at least one entry"),
    ("NaN in b", (A, B * np.nan), {}, ValueError, "b must be finite; got 3 NaN"),
    ("NaN in A", (A * np.nan, B), {}, ValueError, "A must be finite; got 9 NaN"),
    ("NaN in sparse A", (sp.csr_array(A) * np.inf, B), {}, ValueError, "A must be finite"),
    ("map with NaN", (Map(A * np.nan), B), {}, ValueError, "A @ X must be finite"),
    (
        "map of wrong shape",
        (type("M", (), {"shape": (3, 3), "__matmul__": lambda s, X: X[:2]})(), B),
        {},
        ValueError,
        "A @ X must have shape",
    ),
    ("not symmetric", (SKEW, B), {}, ValueError, "A must be Hermitian"),
    ("complex symmetric", (A * (1 + 1j), B), {}, ValueError, "A must be Hermitian"),
    ("x0 of wrong shape", (A, B), {"x0": np.ones((3, 1))}, ValueError, r"x0 must have shape \(3,\)"),
    ("NaN in x0", (A, B), {"x0": B * np.nan}, ValueError, "x0 must be finite"),
    ("tol", (A, B), {"tol": 0}, ValueError, "tol must be a number above 0; got 0"),
    ("max_iter", (A, B), {"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1; got 0"),
    ("max_iter as float", (A, B), {"max_iter": 2.5}, TypeError, "max_iter must be an integer"),
    ("least_eigenvalue", (A, B), {"least_eigenvalue": -1}, ValueError, "least_eigenvalue must be a number above 0"),
    ("callback", (A, B), {"callback": "c"}, TypeError, "callback must be a function; got str"),
    ("complex x0", (A, B), {"x0": B * 1j}, TypeError, "x0 must be real"),
    ("preconditioner", (A, B), {"preconditioner": 3}, TypeError, "preconditioner must be a function or a linear map; got int"),
    ("its shape", (A, B), {"preconditioner": np.eye(2)}, ValueError, r"preconditioner must have shape \(3, 3\)"),
    ("its symmetry", (A, B), {"preconditioner": SKEW}, ValueError, "preconditioner must be Hermitian"),
    ("its sign", (A, B), {"preconditioner": -A}, ValueError, "preconditioner must be positive definite"),
    ("what it returns", (A, B), {"preconditioner": lambda R: R[:2]}, ValueError, "what the preconditioner returns must have shape"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        conjugate_gradients(*args, **options)
