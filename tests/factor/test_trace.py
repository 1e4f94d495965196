"""Traces: leave-one-out formulas against brute force, error bars against true errors."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.factor import _square, _trace
from lowrank_la.factor._trace import trace

RNG = np.random.default_rng(4)
METHODS = ["xtrace", "xnystrace", "hutch++", "hutchinson"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Many tiny problems: threads would only wait for each other."""
    with limit_threads(1):
        yield


def semidefinite(values, seed, *, is_complex=False):
    random, n = np.random.default_rng(seed), values.size
    X = random.standard_normal((n, n)) + (1j * random.standard_normal((n, n)) if is_complex else 0)
    Q = np.linalg.qr(X)[0]
    A = (Q * values) @ Q.conj().T
    return (A + A.conj().T) / 2


def rest(n, basis, E, x):
    """Energy of E on the part of x outside of a basis, scaled to the trace outside."""
    x = x - basis @ (basis.conj().T @ x)
    return (n - basis.shape[1]) * (x.conj() @ E @ x) / np.linalg.norm(x) ** 2


def without(X, i):
    return np.delete(X, i, axis=1)


@pytest.mark.parametrize("is_complex", [False, True])
def test_xtrace_is_the_mean_over_left_out_vectors(is_complex):
    n, m = 30, 24
    A = RNG.standard_normal((n, n)) + (1j * RNG.standard_normal((n, n)) if is_complex else 0)
    matrix = _square.enter("f", A)
    X = _trace._sphere(matrix, (m - 10) // 2, 5, "trace: xtrace")
    samples = []
    for i in range(X.shape[1]):
        Q = np.linalg.qr(A @ without(X, i))[0]
        samples.append(np.trace(Q.conj().T @ A @ Q) + rest(n, Q, A, X[:, i]))
    np.testing.assert_allclose(_trace._xtrace(matrix, m, 5).left_out, samples, rtol=1e-10)
    Q = np.linalg.qr(A @ X)[0]
    probes = _trace._sphere(matrix, 10, 5, "trace: probes")
    samples += [np.trace(Q.conj().T @ A @ Q) + rest(n, Q, A, probes[:, i]) for i in range(10)]
    result = trace(A, method="xtrace", products=m, rng=5)
    assert result.value == pytest.approx(np.mean(samples))
    assert result.standard_error == pytest.approx(np.std(samples, ddof=1) / len(samples) ** 0.5)


@pytest.mark.parametrize("is_complex", [False, True])
def test_xnystrace_is_the_mean_over_left_out_vectors(is_complex):
    n, m = 30, 18
    A = semidefinite(1 / np.arange(1.0, n + 1), 1, is_complex=is_complex)
    matrix = _square.enter("f", A)
    X = _trace._sphere(matrix, m - 10, 5, "trace: xnystrace")
    samples = []
    for i in range(X.shape[1]):
        Y = A @ without(X, i)
        low = Y @ np.linalg.solve(without(X, i).conj().T @ Y, Y.conj().T)
        samples.append((np.trace(low) + rest(n, np.linalg.qr(without(X, i))[0], A - low, X[:, i])).real)
    np.testing.assert_allclose(_trace._xnystrace(matrix, m, 5).left_out, samples, rtol=1e-9)


SPECTRA = {
    "slow": lambda i: (1.0 + i) ** -0.5,
    "inverse": lambda i: 1 / (1.0 + i),
    "fast": lambda i: 0.6**i,
    "very fast": lambda i: 0.2**i,
    "flat": lambda i: np.ones(i.size),
    "linear": lambda i: i / i.size,
    "one": lambda i: (i == 0) * 1.0,
    "rank 7": lambda i: (i < 7) * 1.0,
    "rank 14": lambda i: (i < 14) * 1.0,
    "outliers 8": lambda i: np.where(i < 8, 100.0, 1.0),
    "giants 7": lambda i: np.where(i < 7, 1e6, 1.0),
    "giants 14": lambda i: np.where(i < 14, 1e6, 1.0),
}


@pytest.mark.parametrize("method", METHODS)
def test_the_bound_holds_at_its_rate(method):
    """Over matrices of many kinds, with as many large eigenvalues as there are test vectors among them."""
    misses = {}
    for name, spectrum in SPECTRA.items():
        values = spectrum(np.arange(50))
        for seed in range(45):
            A = semidefinite(values, seed) if seed % 3 else np.diag(values)
            if method != "xnystrace" and seed % 3 == 1:
                A = A + 0.1 * np.triu(np.random.default_rng(seed).standard_normal((50, 50)), 1)
            result = trace(aslinearoperator(A), method=method, products=24, rng=seed)
            misses[name] = misses.get(name, 0) + (abs(result.value - np.trace(A)) > result.certificate.bound)
            assert result.certificate.confidence == 0.95
    assert max(misses.values()) <= 7, misses  # 45 draws of a chance of 0.05: more than 7 once in 3000 times
    assert sum(misses.values()) <= 0.05 * 45 * len(SPECTRA), misses


def test_the_bound_is_tight_enough_to_use():
    for method in METHODS:
        values = (1.0 + np.arange(80)) ** -1
        ratios = []
        for seed in range(40):
            result = trace(aslinearoperator(np.diag(values)), method=method, products=40, rng=seed)
            ratios.append(result.certificate.bound / result.standard_error)
        assert np.median(ratios) < 16, method


def test_better_methods_have_smaller_errors():
    values, errors = 0.9 ** np.arange(300.0), {}
    for method in METHODS:
        results = [trace(lambda X: values[:, None] * X, like=values, method=method, products=90, rng=seed) for seed in range(20)]
        errors[method] = np.mean([abs(result.value - values.sum()) for result in results])
    assert errors["xnystrace"] < errors["xtrace"] < errors["hutch++"] < errors["hutchinson"], errors


def test_exact_traces():
    A = RNG.standard_normal((20, 20))
    S = sp.random_array((20, 20), density=0.3, rng=RNG)
    for matrix, dense in ((A, A), (sp.csr_array(S), S.toarray()), ([A[:5], A[5:]], A), (A + 2j * A, A + 2j * A)):
        result = trace(matrix)
        assert abs(result.value - np.trace(dense)) <= 1e-14 * np.abs(np.diag(dense)).sum()
        assert result.method == "exact"
        assert result.certificate.confidence == 1
        assert result.products == result.standard_error == 0
    operator = trace(aslinearoperator(A))
    assert operator.method == "exact"
    assert operator.products == 20
    assert abs(operator.value - np.trace(A)) <= operator.certificate.bound < 1e-12
    assert isinstance(trace(A).value, float)
    assert isinstance(trace(A + 0j).value, complex)


def test_a_flat_spectrum_needs_no_luck():
    for method in METHODS:
        result = trace(aslinearoperator(3.0 * np.eye(200)), method=method, products=20, rng=0)
        assert abs(result.value - 600) <= result.certificate.bound <= 1e-10


def test_the_tolerance_is_reached():
    values = 0.9 ** np.arange(400.0)
    result = trace(aslinearoperator(np.diag(values)), tol=1e-3, rng=0)
    assert result.converged
    assert abs(result.value - values.sum()) <= result.certificate.bound <= 1e-3 * values.sum()
    assert 60 < result.products < 400
    flat = trace(aslinearoperator(np.diag(RNG.random(100))), tol=1e-9, rng=0)
    assert flat.method == "exact"
    with pytest.warns(ConvergenceWarning, match="trace: the bound is above tol after 70 products"):
        short = trace(aslinearoperator(np.diag(RNG.random(300))), tol=1e-9, products=70, rng=0)
    assert not short.converged


@pytest.mark.parametrize("method", METHODS)
def test_zero_matrices_and_tiny_ones(method):
    assert trace(aslinearoperator(np.zeros((40, 40))), method=method, products=20, rng=0).value == 0
    assert trace(lambda X: 2 * X, like=np.zeros(1), method=method).value == 2


@pytest.mark.parametrize("method", METHODS)
def test_backends_and_functions_of_products(backend, method):
    A = semidefinite(0.8 ** np.arange(40.0), 2)
    inside = backend.array(A)
    expected = trace(A, method=method, products=20, rng=1)
    for result in (
        trace(inside, method=method, products=20, rng=1),
        trace(lambda X: inside @ X, like=inside[0, :], method=method, products=20, rng=1),
    ):
        assert result.value == pytest.approx(expected.value, rel=1e-10)
        assert result.certificate.bound == pytest.approx(expected.certificate.bound, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_dtypes(method):
    for dtype in (np.float32, np.complex64, np.complex128):
        A = semidefinite(0.8 ** np.arange(60.0), 2, is_complex=np.issubdtype(dtype, np.complexfloating)).astype(dtype)
        result = trace(A, method=method, products=40, rng=3)
        assert abs(result.value - np.trace(A.astype(np.complex128))) <= result.certificate.bound
    assert isinstance(trace(np.eye(30, dtype=int), method=method, products=20).value, float)


A = semidefinite(np.linspace(0, 1, 30), 0)
BAD = [
    ("method", (A,), {"method": "girard"}, ValueError, "method must be one of"),
    ("few products", (A,), {"method": "xtrace", "products": 13}, ValueError, "products must be an integer of at least 14; got 13"),
    ("tol", (A,), {"tol": 0}, ValueError, "tol must be a number above 0"),
    ("delta", (A,), {"delta": 1}, ValueError, "delta must be a number between 0 and 1"),
    ("not square", (A[:3],), {}, ValueError, "A must be square and not empty"),
    ("NaN", (A * np.nan,), {}, ValueError, "A must be finite"),
    ("negative", (A - np.eye(30),), {"method": "xnystrace", "products": 20}, ValueError, "A must be positive semidefinite"),
    ("not symmetric", (np.triu(A),), {"method": "xnystrace", "products": 20}, ValueError, "A must be symmetric"),
    ("text", ("A",), {}, TypeError, "A must be an array of numbers"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=f"trace: {message}"):
        trace(*args, **options)
