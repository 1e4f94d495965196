"""Densities against the eigenvalues themselves, quadrature error against its bound."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import limit_threads
from lowrank_la.factor._density import _quadrature_error, spectral_density
from lowrank_la.factor._lanczos import lanczos

RNG = np.random.default_rng(9)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Many tiny problems: threads would only wait for each other."""
    with limit_threads(1):
        yield


def smoothed(points, eigenvalues, width):
    return np.mean(np.exp(-0.5 * ((points[:, None] - eigenvalues) / width) ** 2), axis=1) / (width * np.sqrt(2 * np.pi))


def spectrum(kind, n, random):
    return {
        "flat": np.linspace(-1, 1, n),
        "bulk and outliers": np.r_[random.random(n - 3), 5, 6, 20],
        "clusters": np.repeat([0.0, 1.0, 1.5], n)[::3],
        "identity": np.ones(n),
        "decay": 1 / np.arange(1.0, n + 1),
        "semicircle": np.linalg.eigvalsh((lambda X: X + X.T)(random.standard_normal((n, n)))),
    }[kind]


KINDS = ["flat", "bulk and outliers", "clusters", "identity", "decay", "semicircle"]


def test_the_error_bars_hold_at_their_rate():
    misses = {kind: [] for kind in KINDS}
    for number in range(300):
        random, kind = np.random.default_rng(number), KINDS[number % 6]
        eigenvalues = spectrum(kind, 60 + number % 40, random)
        A = np.diag(eigenvalues)
        if number % 2:
            Q = np.linalg.qr(random.standard_normal(A.shape))[0]
            A = (Q * eigenvalues) @ Q.T
            A = (A + A.T) / 2
        result = spectral_density(A, probes=8 + number % 12, degree=10 + number % 30, grid=40, rng=number)
        exact = smoothed(result.grid, eigenvalues, result.width)
        misses[kind].append(np.mean(np.abs(result.density - exact) > result.error))
        assert result.certificate.bound == result.error.max()
        assert result.certificate.confidence == 0.95
    rates = {kind: np.mean(rate) for kind, rate in misses.items()}
    assert max(rates.values()) <= 0.05, rates


def test_the_bound_on_the_quadrature_error_holds_and_is_not_idle():
    """One probe, whose own spectral measure is known exactly."""
    for number in range(60):
        random, n, k = np.random.default_rng(number), 80, 6 + number % 20
        eigenvalues = spectrum(KINDS[number % 6], n, random)
        x = random.standard_normal(n)
        result = lanczos(np.diag(eigenvalues), k, start=x)
        steps, spread = result.values.size, float(result.values[0] - result.values[-1])
        width = (spread or 1.0) / steps
        points = np.linspace(eigenvalues.min() - width, eigenvalues.max() + width, 50)
        kernel = np.exp(-0.5 * ((points[:, None] - eigenvalues) / width) ** 2) @ (x**2 / (x @ x))
        estimate = np.exp(-0.5 * ((points[:, None] - result.values) / width) ** 2) @ result.weights
        error = np.abs(kernel - estimate).max() / (width * np.sqrt(2 * np.pi))
        assert error <= _quadrature_error(spread, width, steps) + 1e-12 / width
    assert _quadrature_error(1.0, 1.5 / 80, 80) < 1e-4 / (1.5 / 80)
    assert _quadrature_error(1.0, 0.1 / 80, 80) == pytest.approx(1 / (0.1 / 80 * np.sqrt(2 * np.pi)))


def test_more_probes_and_products_bring_the_density_closer():
    eigenvalues = spectrum("semicircle", 200, RNG)
    errors = []
    for probes in (4, 64):
        result = spectral_density(np.diag(eigenvalues), probes=probes, width=1.0, rng=0)
        errors.append(np.abs(result.density - smoothed(result.grid, eigenvalues, 1.0)).mean())
        assert result.products == 80 * probes
    assert errors[1] < 0.5 * errors[0]
    assert result.low >= eigenvalues.min() - 1e-9
    assert result.high <= eigenvalues.max() + 1e-9


def test_traces_of_functions():
    misses = 0
    for seed in range(100):
        eigenvalues = np.linspace(0.1, 3, 70) ** (1 + seed % 3)
        result = spectral_density(np.diag(eigenvalues), degree=40, rng=seed)
        for function in (np.log, np.exp, np.sqrt, lambda x: x**3, np.ones_like):
            answer = result.trace(function)
            misses += abs(answer.value - function(eigenvalues).sum()) > answer.certificate.bound + 1e-10
            assert answer.certificate.confidence == 0.95
    assert misses <= 0.05 * 500
    assert result.trace(np.ones_like).value == pytest.approx(70)
    with pytest.raises(ValueError, match=r"spectral_density: trace: function must give finite numbers from .* got .* NaN"):
        spectral_density(np.diag(np.linspace(-1, 1, 50)), degree=10, rng=0).trace(np.log)
    with pytest.raises(ValueError, match="spectral_density: trace: delta must be"):
        result.trace(np.exp, delta=2)


def test_invariant_spaces_and_defined_answers():
    for scale in (0.0, 3.0):
        result = spectral_density(scale * np.eye(30), rng=0)
        assert (result.low, result.high, result.width) == pytest.approx((scale, scale, 0.01 * scale or 1.0))
        np.testing.assert_allclose(result.standard_error, 0, atol=1e-10 / result.width)
        np.testing.assert_allclose(result.density, smoothed(result.grid, np.array([scale]), result.width), atol=1e-10 / result.width)
    assert spectral_density(np.array([[2.0]]), rng=0).high == pytest.approx(2)
    three = spectral_density(np.diag(np.repeat([1.0, 2, 3], 20)), rng=0)
    assert (three.low, three.high) == pytest.approx((1, 3))
    assert three.trace(np.log).value == pytest.approx(20 * np.log(6), rel=0.2)


@pytest.mark.parametrize(("n", "rank"), [(12, 3), (300, 2), (300, 6), (300, 40)])
def test_symmetric_matrices_of_low_rank_are_not_taken_for_asymmetric_ones(n, rank):
    B = np.random.default_rng(rank).standard_normal((n, rank))
    A = B @ B.T
    result = spectral_density(A, probes=30, delta=0.01, rng=0)
    truth = smoothed(result.grid, np.linalg.eigvalsh(A), result.width)
    assert np.mean(abs(result.density - truth) <= result.error) > 0.9
    assert lanczos(A, min(n, 20), reorthogonalize=False).values[0] == pytest.approx(np.linalg.norm(A, 2), rel=1e-3)


def test_every_kind_of_input_gives_the_same_answer():
    A = RNG.standard_normal((40, 40))
    A = A + A.T
    grid = np.linspace(-10, 10, 30)
    first = spectral_density(A, grid=grid, degree=20, rng=2)
    for other in (sp.csr_array(A), aslinearoperator(A), [A[:11], A[11:]]):
        np.testing.assert_allclose(spectral_density(other, grid=grid, degree=20, rng=2).density, first.density, atol=1e-10)
    assert np.array_equal(first.grid, grid)
    assert spectral_density(A.astype(np.float32), rng=0).density.dtype == np.float32


@pytest.mark.parametrize("is_complex", [False, True])
def test_backends(backend, is_complex):
    A = np.diag(np.linspace(0, 1, 25)) + (0.1j * (np.eye(25, k=1) - np.eye(25, k=-1)) if is_complex else 0)
    inside, grid = backend.array(A), np.linspace(-0.5, 1.5, 20)
    expected = spectral_density(A, grid=grid, degree=8, rng=1)
    for result in (
        spectral_density(inside, grid=backend.array(grid), degree=8, rng=1),
        spectral_density(lambda X: inside @ X, like=inside[0, :], grid=grid, degree=8, rng=1),
    ):
        np.testing.assert_allclose(backend.numpy(result.density), expected.density, atol=1e-9)
        np.testing.assert_allclose(backend.numpy(result.error), expected.error, atol=1e-9)


A = np.diag(np.linspace(0, 1, 20))
BAD = [
    ("probes", (A,), {"probes": 1}, ValueError, "probes must be an integer of at least 2; got 1"),
    ("degree", (A,), {"degree": 1}, ValueError, "degree must be an integer of at least 2; got 1"),
    ("width", (A,), {"width": 0}, ValueError, "width must be a number above 0"),
    ("delta", (A,), {"delta": 0}, ValueError, "delta must be a number between 0 and 1"),
    ("one point", (A,), {"grid": 1}, ValueError, "grid must be an integer of at least 2"),
    ("grid of two dimensions", (A,), {"grid": A}, ValueError, "grid must be 1-dimensional"),
    ("NaN in the grid", (A,), {"grid": [0.0, np.nan]}, ValueError, "grid must be finite"),
    ("not symmetric", (A + np.eye(20, k=1),), {}, ValueError, "A must be symmetric"),
    ("not square", (A[:3],), {}, ValueError, "A must be square"),
    ("text", ("A",), {}, TypeError, "A must be an array of numbers"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=f"spectral_density: {message}"):
        spectral_density(*args, **options)
