"""LSMR: SciPy's iterates, certificates against long double, every kind and shape of matrix, damping, preconditioners, bad input."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator
from scipy.sparse.linalg import lsmr as scipys

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.solvers import lsmr
from tests.solvers.problems import Map

RNG = np.random.default_rng(8)


def draw(m, n, cond, seed, kind="real"):
    """A matrix with singular values from 1 to cond."""
    rng = np.random.default_rng(seed)

    def orthogonal(rows, columns):
        return np.linalg.qr(rng.standard_normal((rows, columns)) + (1j * rng.standard_normal((rows, columns)) if kind == "complex" else 0))[
            0
        ]

    k = min(m, n)
    return (orthogonal(m, k) * np.geomspace(1, cond, k)) @ orthogonal(n, k).conj().T


def damped(A, b, damp):
    """The problem with the damping as rows below, in the best precision at hand."""
    wide = np.clongdouble if np.iscomplexobj(A) or np.iscomplexobj(b) else np.longdouble
    A = A.toarray() if sp.issparse(A) else A
    below = np.zeros((A.shape[1], *b.shape[1:]))
    return np.concatenate([A, damp * np.eye(A.shape[1])]).astype(wide), np.concatenate([b, below]).astype(wide)


def exact(A, b, damp=0.0):
    """The minimiser of least norm, refined with residuals in long double."""
    tall, rhs = damped(A, b, damp)
    near = tall.astype(complex if np.iscomplexobj(tall) else float)
    x = np.linalg.lstsq(near, rhs.astype(near.dtype))[0].astype(tall.dtype)
    for _ in range(3):
        x = x + np.linalg.lstsq(near, (rhs - tall @ x).astype(near.dtype))[0]
    return x


def columns(x):
    return x.astype(complex).reshape(x.shape[0], -1)


@settings(max_examples=60)
@given(
    m=st.integers(1, 30),
    n=st.integers(1, 20),
    t=st.integers(0, 3),
    digits=st.floats(0, 4),
    damp=st.sampled_from([0.0, 0.5]),
    consistent=st.booleans(),
    kind=st.sampled_from(["real", "complex"]),
    seed=st.integers(0, 10**6),
)
def test_certificates_hold(m, n, t, digits, damp, consistent, kind, seed):
    A, rng = draw(m, n, 10.0**digits, seed, kind), np.random.default_rng(seed)
    b = rng.standard_normal((m, t) if t else m)
    b = A @ rng.standard_normal((n, t) if t else n) if consistent else b
    full = m >= n
    result = lsmr(A, b, damp=damp, tol=1e-9, max_iter=200 * n, least_singular_value=0.999 if full else None)
    assert result.x.shape == (n, t) if t else (n,)
    tall, rhs = damped(A, b, damp)
    r = rhs - tall @ result.x
    g = columns(tall.conj().T @ r)
    r, x = columns(r), columns(result.x)
    with np.errstate(divide="ignore", invalid="ignore"):
        backward = np.fmin(np.linalg.norm(g, axis=0) / np.linalg.norm(r, axis=0), np.linalg.norm(r, axis=0) / np.linalg.norm(x, axis=0))
    assert np.all(backward <= result.certificate.bound)
    np.testing.assert_allclose(
        result.residual, np.linalg.norm(r[:m], axis=0).reshape(np.shape(result.residual)), rtol=1e-6, atol=1e-12 * 10**digits
    )
    if result.error is not None and result.error.confidence == 1:
        e = columns(tall @ (exact(A, b, damp) - result.x))
        assert np.all(np.linalg.norm(e, axis=0) <= result.error.bound + 1e-15 * 10.0**digits * np.linalg.norm(x))
    assert (result.error is not None and result.error.confidence == 1) == (full or damp > 0)
    if result.converged:
        assert (
            result.certificate.bound
            <= 1.1e-9 * 10.0**digits * max(1, np.linalg.norm(b) / max(np.linalg.norm(x, axis=0).min(), 1e-300)) + 1e-9
        )


@pytest.mark.parametrize("damp", [0.0, 2.0])
@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_iterates_are_those_of_scipy(shape, damp):
    A, b = draw(*shape, 30.0, 1), RNG.standard_normal(shape[0])
    for steps in range(1, 8):
        expected = scipys(A, b, damp=damp, atol=0, btol=0, conlim=0, maxiter=steps)[0]
        with pytest.warns(ConvergenceWarning, match="relative gradient"):
            result = lsmr(A, b, damp=damp, max_iter=steps)
        np.testing.assert_allclose(result.x, expected, atol=1e-10)
        np.testing.assert_allclose(result.history[-1], result.gradient, rtol=1e-8)
        assert result.n_iter == steps


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), digits=st.floats(0, 3))
def test_the_gradient_never_grows(seed, digits):
    A, b = draw(40, 15, 10.0**digits, seed), np.random.default_rng(seed).standard_normal(40)
    history = lsmr(A, b, tol=1e-7).history
    assert np.all(np.diff(history) <= 1e-12 * history[0])


def test_a_bound_is_tight():
    A, b = draw(300, 40, 50.0, 2), RNG.standard_normal(300)
    result = lsmr(A, b, tol=1e-6)
    r = b - A @ result.x
    assert result.certificate.bound <= 1.01 * np.linalg.norm(A.T @ r) / np.linalg.norm(r)
    estimated, certain = result.error, lsmr(A, b, tol=1e-6, least_singular_value=1.0).error
    assert result.least_singular_value == pytest.approx(1.0, rel=0.1)
    error = np.linalg.norm(A @ (exact(A, b).astype(float) - result.x))
    assert error <= estimated.bound <= 60 * error
    assert (estimated.confidence, certain.confidence) == (0.0, 1.0)
    assert "estimate" in estimated.method


def test_estimates_are_calibrated():
    """The estimate is above the error in nearly all cases, and not far; where the iteration stops early, it may be somewhat below."""
    early, late = [], []
    for seed in range(90):
        A, digits = draw(80, 30, 10.0 ** (seed % 3 + 1), seed), 3 + seed // 3 % 6
        b = np.random.default_rng(seed).standard_normal(80)
        result = lsmr(A, b, tol=10.0**-digits)
        (early if digits < 6 else late).append(result.error.bound / np.linalg.norm(A @ (exact(A, b).astype(float) - result.x)))
    assert np.mean(np.array(late) >= 1) >= 0.95
    assert np.median(early + late) < 20
    assert min(early) > 0.2


def test_every_kind_of_matrix_gives_the_same_answer():
    A, B = sp.random_array((400, 120), density=0.1, rng=RNG, format="csr"), RNG.standard_normal((400, 3))
    dense = A.toarray()
    expected = np.linalg.lstsq(dense, B)[0]
    operator = LinearOperator(A.shape, matvec=lambda x: A @ x, rmatvec=lambda y: A.T @ y, matmat=lambda X: A @ X, rmatmat=lambda Y: A.T @ Y)
    for kind in (dense, np.asfortranarray(dense), A, A.tocsc(), A.tocoo(), A.tobsr(), A.tolil(), Map(A), operator, dense.tolist()):
        result = lsmr(kind, B, tol=1e-11)
        np.testing.assert_allclose(result.x, expected, atol=1e-8)
        assert ("taken as they come" in result.certificate.method) == isinstance(kind, Map | LinearOperator)
    single = lsmr(A.astype(np.float32), B.astype(np.float32))
    assert single.x.dtype == np.float32
    assert single.converged
    np.testing.assert_allclose(single.x, expected, atol=1e-4)


def test_backends_and_dtypes(backend):
    A, B = draw(50, 20, 30.0, 3), RNG.standard_normal((50, 2))
    for dtype in (np.float64, np.float32, np.complex128, np.complex64):
        a, b = backend.array(A.astype(dtype)), backend.array(B.astype(dtype))
        for damp in (0.0, 0.3):
            result = lsmr(a, b, damp=damp)
            x = backend.numpy(result.x)
            assert result.converged
            assert x.dtype == dtype
            np.testing.assert_allclose(x, exact(A, B, damp).astype(float), atol=1e-6 if np.finfo(dtype).eps < 1e-10 else 1e-4)
            tall, rhs = damped(A.astype(dtype), B.astype(dtype), damp)
            r = rhs - tall @ x
            assert (
                np.max(np.linalg.norm((tall.conj().T @ r).astype(complex), axis=0) / np.linalg.norm(r.astype(complex), axis=0))
                <= result.certificate.bound * 1.01
            )
    if backend.name != "strict":
        mapped = lsmr(Map(backend.array(A)), backend.array(B), preconditioner=lambda G: G * 1.0)
        np.testing.assert_allclose(backend.numpy(mapped.x), np.linalg.lstsq(A, B)[0], atol=1e-6)
    again = lsmr(backend.array(A), backend.array(B), x0=backend.array(np.linalg.lstsq(A, B)[0]), tol=1e-6)
    assert again.n_iter <= 1


def test_complex_parts_meet_real_ones():
    A, b = draw(30, 12, 5.0, 4), RNG.standard_normal(30)
    Z = A + 1j * draw(30, 12, 5.0, 5)
    for matrix, rhs in (
        (A, b + 2j * b[::-1]),
        (Z, b),
        (sp.csr_array(A), b + 2j * b[::-1]),
        (sp.csr_array(Z), b),
        (Map(A), b + 1j * b[::-1]),
    ):
        dense = matrix.A if isinstance(matrix, Map) else matrix.toarray() if sp.issparse(matrix) else matrix
        result = lsmr(matrix, rhs, tol=1e-10)
        assert result.x.dtype == np.complex128
        np.testing.assert_allclose(result.x, np.linalg.lstsq(dense, rhs.astype(complex))[0], atol=1e-8)


def test_preconditioners_of_every_kind():
    A, b = draw(200, 50, 1e5, 6), RNG.standard_normal(200)
    P = np.linalg.inv(A.T @ A + 1e-1 * np.eye(50))
    P = (P + P.T) / 2
    expected = exact(A, b).astype(float)
    for kind in (P, sp.csr_array(P), Map(P), lambda G: P @ G):
        result = lsmr(A, b, preconditioner=kind, tol=1e-10)
        assert result.converged
        assert result.n_iter <= 20
        error = np.linalg.norm(A @ (expected - result.x))
        assert error <= result.error.bound + 1e-12


def test_least_norm_without_full_rank():
    A = draw(40, 10, 10.0, 7) @ draw(10, 25, 10.0, 8)
    b = RNG.standard_normal(40)
    np.testing.assert_allclose(lsmr(A, b, tol=1e-12).x, np.linalg.lstsq(A, b, rcond=1e-10)[0], atol=1e-8)
    wide = draw(10, 30, 10.0, 9)
    result = lsmr(wide, b[:10], tol=1e-12)
    np.testing.assert_allclose(result.x, np.linalg.pinv(wide) @ b[:10], atol=1e-9)
    assert result.residual < 1e-10


def test_right_hand_sides_stop_one_by_one():
    A = draw(60, 30, 100.0, 10)
    B = np.stack([np.zeros(60), A @ np.ones(30), RNG.standard_normal(60)], axis=1)
    result = lsmr(A, B)
    assert result.converged
    assert not result.x[:, 0].any()
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A, B)[0], atol=1e-4)
    assert result.history.shape == (result.n_iter + 1, 3)
    for b in (np.zeros(60), RNG.standard_normal(60) * 1e-200, RNG.standard_normal(60) * 1e150):
        alone = lsmr(A, b)
        assert alone.converged
        np.testing.assert_allclose(alone.x, np.linalg.lstsq(A, b)[0], atol=1e-6 * np.abs(b).max())
    nothing = lsmr(np.zeros((4, 2)), np.ones(4))
    assert nothing.converged
    assert not nothing.x.any()
    assert nothing.certificate.bound == 0


def test_callbacks_see_every_iteration_and_may_stop():
    A, b, seen = draw(60, 30, 100.0, 11), RNG.standard_normal(60), []
    full = lsmr(A, b, callback=lambda n_iter, gradients: seen.append((n_iter, float(gradients[0]))))
    assert [n_iter for n_iter, _ in seen] == list(range(1, full.n_iter + 1))
    np.testing.assert_array_equal([g for _, g in seen], full.history[1:])
    with pytest.warns(ConvergenceWarning, match="after 5 iterations"):
        short = lsmr(A, b, callback=lambda n_iter, gradients: n_iter == 5)
    assert short.n_iter == 5


def test_threads_change_no_answer():
    A, b = sp.random_array((4000, 3000), density=0.01, rng=RNG, format="csr"), RNG.standard_normal(4000)
    answers = []
    for threads in (1, 2):
        with limit_threads(threads), pytest.warns(ConvergenceWarning):
            answers.append(lsmr(A, b, max_iter=20).x)
    np.testing.assert_array_equal(*answers)


def test_inputs_stay_as_they_are():
    A, b, x0 = draw(10, 5, 5.0, 0), RNG.standard_normal(10), RNG.standard_normal(5)
    copies = A.copy(), b.copy(), x0.copy()
    lsmr(A, b, x0=x0)
    for given_, copy in zip((A, b, x0), copies, strict=True):
        np.testing.assert_array_equal(given_, copy)


class Forth:
    """A map without a way back."""

    shape = (4, 3)

    def __matmul__(self, X):
        return np.ones((4, 3)) @ X


class Crooked(Map):
    """A map whose adjoint is another's."""

    @property
    def T(self):
        return Map(2 * self.A.T)


A, B = np.eye(4, 3), np.ones(4)
BAD = [
    ("vector A", (B, B), {}, ValueError, r"lsmr: A must be 2-dimensional; got shape \(4,\)"),
    ("no columns", (np.ones((4, 0)), B), {}, ValueError, "A must have at least one row and column"),
    ("text A", ("A", B), {}, TypeError, "A must be an array of numbers; got str"),
    ("short b", (A, B[:2]), {}, ValueError, "b must have 4 rows, as many as A"),
    ("scalar b", (A, 3.0), {}, ValueError, "b must be 1-dimensional or 2-dimensional"),
    ("NaN in b", (A, B * np.nan), {}, ValueError, "b must be finite; got 4 NaN"),
    ("NaN in A", (A * np.nan, B), {}, ValueError, "A must be finite"),
    ("NaN in sparse A", (sp.csr_array(A) * np.inf, B), {}, ValueError, "A must be finite"),
    ("map with NaN", (Map(A * np.nan), B), {}, ValueError, "A @ X must be finite"),
    ("no adjoint", (Forth(), B), {}, TypeError, "A must have .H or .T with @, besides shape and @; got Forth"),
    ("wrong adjoint", (Crooked(A), B), {}, ValueError, "A must have its adjoint in .H or .T"),
    ("damp", (A, B), {"damp": -1}, ValueError, "damp must be a number of at least 0"),
    ("tol", (A, B), {"tol": 0}, ValueError, "tol must be a number above 0"),
    ("max_iter", (A, B), {"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
    ("least_singular_value", (A, B), {"least_singular_value": 0}, ValueError, "least_singular_value must be a number above 0"),
    ("x0", (A, B), {"x0": B}, ValueError, r"x0 must have shape \(3,\)"),
    ("complex x0", (A, B), {"x0": B[:3] * 1j}, TypeError, "x0 must be real"),
    ("callback", (A, B), {"callback": 3}, TypeError, "callback must be a function; got int"),
    ("preconditioner", (A, B), {"preconditioner": np.eye(4)}, ValueError, r"preconditioner must have shape \(3, 3\)"),
    ("its sign", (A, B), {"preconditioner": -np.eye(3)}, ValueError, "preconditioner must be positive definite"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        lsmr(*args, **options)
