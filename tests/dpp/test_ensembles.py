"""L-ensembles and samples of fixed size: exact laws by enumeration, ill-conditioned kernels, certificates, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.dpp import _ensembles, sample_l_ensemble
from lowrank_la.dpp._sizes import fixed_size
from tests.dpp import oracles_processes as oracles

SAMPLES = 20_000


def factor_of(n, r, seed, *, complex=False, decay=0.0):
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, r)) * 10.0 ** (-decay * np.arange(r))
    return B + 1j * rng.standard_normal((n, r)) * 10.0 ** (-decay * np.arange(r)) if complex else B


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("size", [None, 0, 1, 3])
@pytest.mark.parametrize("dual", [False, True])
def test_law_by_enumeration(complex, size, dual):
    B = factor_of(6, 4, 0, complex=complex)
    L = B @ B.conj().T
    given = {"factor": B} if dual else {"L": L}
    result = sample_l_ensemble(**given, size=size, repeats=SAMPLES, rng=1)
    assert oracles.p_value(oracles.law(L, size), result.sets) > 1e-4
    assert result.converged
    assert result.certificate.bound < 1e-9
    assert result.expected_size == pytest.approx(np.mean(result.sizes), abs=0.05)
    assert (result.indices[np.arange(result.indices.shape[1])[None, :] >= result.sizes[:, None]] == -1).all()


def test_marginals_of_a_large_kernel():
    x = np.sort(np.random.default_rng(0).random(120))
    L = 30 * np.exp(-300 * (x[:, None] - x) ** 2)
    K = np.linalg.solve(np.eye(120) + L, L)
    result = sample_l_ensemble(L, repeats=3000, rng=0)
    hit = np.zeros((3000, 121))
    np.put_along_axis(hit, result.indices, 1.0, axis=1)  # -1 is the extra column
    hit = hit[:, :120]
    p = np.diagonal(K)
    assert np.abs((hit.mean(axis=0) - p) / np.sqrt(p * (1 - p) / 3000)).max() < 5
    pairs = np.outer(p, p) - K**2
    z = (hit.T @ hit / 3000 - pairs) / np.sqrt(np.maximum(pairs * (1 - pairs), 1e-3) / 3000)
    assert np.abs(z[~np.eye(120, dtype=bool)]).max() < 6
    assert result.expected_size == pytest.approx(p.sum())


def test_kernels_of_any_condition():
    """Gaussian kernels of a wide bell have eigenvalues down to rounding; the law on 7 items, and samples of 300."""
    x = np.linspace(0, 1, 7)
    for width in (1.0, 0.3):
        L = 1e4 * np.exp(-((x[:, None] - x) ** 2) / width)
        for size in (None, 2):
            result = sample_l_ensemble(L, size=size, repeats=SAMPLES, rng=0)
            assert result.converged
            assert oracles.p_value(oracles.law(L, size), result.sets) > 1e-4
    x = np.linspace(0, 1, 300)
    L = np.exp(-5 * (x[:, None] - x) ** 2)
    for size in (None, 1, 5, 8):
        result = sample_l_ensemble(L, size=size, repeats=20, rng=0)
        assert all(len(set(sample.tolist())) == sample.size for sample in result.sets)
        assert result.converged


def test_sizes_beyond_the_numerical_rank_are_said_to_be_uncertain():
    x = np.linspace(0, 1, 100)
    with pytest.warns(ConvergenceWarning, match="the law may be off by 1 in total variation"):
        result = sample_l_ensemble(np.exp(-5 * (x[:, None] - x) ** 2), size=30, rng=0)
    assert not result.converged
    assert result.indices.shape == (1, 30)
    assert len(np.unique(result.indices)) == 30


def test_a_factor_keeps_small_eigenvalues():
    """Eigenvalues from 1e14 to 1: L itself is uncertain, its factor is not."""
    B = factor_of(6, 3, 3) @ np.diag([1e7, 1e3, 1.0])
    by_factor = sample_l_ensemble(factor=B, repeats=SAMPLES, rng=0)
    assert by_factor.converged
    exact = oracles.law(np.linalg.qr(B)[0] @ np.diag([1e14, 1e6, 1.0]) @ np.linalg.qr(B)[0].T)
    assert set(map(len, exact)) == set(range(7))
    s = np.linalg.svd(B, compute_uv=False) ** 2
    assert by_factor.expected_size == pytest.approx(np.sum(s / (1 + s)), rel=1e-9)
    assert np.mean(by_factor.sizes) == pytest.approx(by_factor.expected_size, abs=0.03)
    with pytest.warns(ConvergenceWarning, match="pass factor=B"):
        assert not sample_l_ensemble(B @ B.T, rng=0).converged


@settings(max_examples=60)
@given(
    n=st.integers(2, 6),
    log_size=st.floats(-4, 4),
    log_error=st.floats(-8, -1),
    dual=st.booleans(),
    fixed=st.booleans(),
    seed=st.integers(0, 999),
)
def test_distance_of_two_kernels_is_bounded(n, log_size, log_error, dual, fixed, seed):
    """Perturb a kernel or its factor and enumerate both laws."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, n + 1)) if fixed else None
    B = 10.0 ** (log_size / 2) * rng.standard_normal((n, n)) * 10.0 ** rng.uniform(-2, 0, n)
    F = 10.0**log_error * rng.standard_normal((n, n)) * np.linalg.norm(B)
    if dual:
        first, second, slack = B @ B.T, (B + F) @ (B + F).T, float(np.linalg.norm(F))
    else:
        first = B @ B.T
        second = first + F @ F.T - 0.5 * F @ np.diag(rng.random(n)) @ F.T
        slack = float(np.linalg.norm(second - first, "nuc"))
    bound = _ensembles.kernel_distance(np.linalg.eigvalsh(second).clip(1e-300), slack, dual, size)
    assert oracles.distance(oracles.law(first, size), oracles.law(second, size)) <= bound + 1e-10


def test_bounds_are_not_absurdly_loose():
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        B = rng.standard_normal((5, 5))
        F = 1e-4 * rng.standard_normal((5, 5))
        first, second = B @ B.T, (B + F) @ (B + F).T
        distance = oracles.distance(oracles.law(first), oracles.law(second))
        values = np.linalg.eigvalsh(second)
        ratios += [_ensembles.kernel_distance(values, float(np.linalg.norm(F)), True, None) / distance]
        ratios += [_ensembles.kernel_distance(values, float(np.linalg.norm(second - first, "nuc")), False, None) / distance]
    assert np.median(ratios) < 100


@settings(max_examples=30)
@given(n=st.integers(1, 8), spread=st.floats(0, 12), seed=st.integers(0, 999))
def test_sets_of_eigenvalues_of_fixed_size(n, spread, seed):
    """The law of the choice is prop. to products of eigenvalues, over many orders of magnitude."""
    rng = np.random.default_rng(seed)
    values, size = np.sort(10.0 ** rng.uniform(-spread, spread, n)), int(rng.integers(0, n + 1))
    choice = fixed_size(values, size, 2000, rng)
    assert (choice.sizes == size).all()
    assert choice.columns.shape == (2000, size)
    expected = oracles.law(np.diag(np.maximum(values, 0)), size) if spread < 3 else None
    if expected is not None:
        assert oracles.p_value(expected, list(choice.columns)) > 1e-5


def test_fixed_sizes_of_huge_and_many_eigenvalues():
    values = np.geomspace(1e-200, 1e200, 3000)
    choice = fixed_size(values, 50, 20, np.random.default_rng(0))
    assert (choice.columns[:, :].min(axis=1) > 2930).all()
    assert fixed_size(np.ones(4000), 1000, 5, np.random.default_rng(0)).columns.shape == (5, 1000)


def test_trivial_kernels():
    nothing = sample_l_ensemble(np.zeros((4, 4)), repeats=3, rng=0)
    assert nothing.indices.shape == (3, 0)
    assert nothing.certificate.bound < 1e-13
    assert sample_l_ensemble(np.eye(4) * 1e30, rng=0, size=4).indices.shape == (1, 4)
    one = sample_l_ensemble([[3.0]], repeats=2000, rng=0)
    assert np.mean(one.sizes) == pytest.approx(0.75, abs=0.05)
    wide = sample_l_ensemble(factor=factor_of(3, 8, 0), size=2, repeats=10, rng=0)
    assert wide.indices.shape == (10, 2)


def test_backends(backend):
    B = factor_of(60, 5, 0)
    for name, A in (("L", B @ B.T), ("factor", B)):
        for size in (None, 3):
            expected = sample_l_ensemble(**{name: A}, size=size, repeats=5, rng=2)
            result = sample_l_ensemble(**{name: backend.array(A)}, size=size, repeats=5, rng=2)
            assert np.array_equal(backend.numpy(result.sizes), expected.sizes)
            assert result.certificate.bound == pytest.approx(expected.certificate.bound, rel=0.5)
            assert all(len(set(backend.numpy(sample).tolist())) == sample.shape[0] for sample in result.sets)


def test_float32_kernels():
    B = factor_of(50, 6, 1).astype(np.float32)
    assert sample_l_ensemble(factor=B, rng=0).converged
    assert sample_l_ensemble(B @ B.T, size=4, rng=0).indices.shape == (1, 4)


def test_seeds_and_threads():
    B = factor_of(300, 30, 0)
    first = sample_l_ensemble(factor=B, repeats=10, rng=1).indices
    with limit_threads(1):
        assert np.array_equal(first, sample_l_ensemble(factor=B, repeats=10, rng=1).indices)
    assert not np.array_equal(first[:1], sample_l_ensemble(factor=B, rng=2).indices)


L = factor_of(5, 5, 0) @ factor_of(5, 5, 0).T
BAD = [
    ("neither", {}, ValueError, "sample_l_ensemble: L or factor must be given; got neither"),
    ("both", {"L": L, "factor": L}, ValueError, "sample_l_ensemble: L or factor must be given; got both"),
    ("square", {"L": L[:3]}, ValueError, r"sample_l_ensemble: L must be square; got shape \(3, 5\)"),
    ("vector", {"factor": L[0]}, ValueError, "sample_l_ensemble: factor must be 2-dimensional"),
    ("NaN", {"L": L * np.nan}, ValueError, "sample_l_ensemble: L must be finite; got 25 NaN"),
    ("skew", {"L": np.triu(L)}, ValueError, "sample_l_ensemble: L must be Hermitian"),
    ("negative", {"L": -L}, ValueError, "sample_l_ensemble: L must be positive semidefinite"),
    ("size", {"L": L, "size": 6}, ValueError, "sample_l_ensemble: size must be an integer between 0 and 5; got 6"),
    ("rank", {"L": np.zeros((3, 3)), "size": 1}, ValueError, "sample_l_ensemble: size must be at most the rank of L, 0; got 1"),
    ("repeats", {"L": L, "repeats": 0}, ValueError, "sample_l_ensemble: repeats must be an integer of at least 1; got 0"),
    ("text", {"L": "x"}, TypeError, "sample_l_ensemble: L must be an array of numbers"),
]


@pytest.mark.parametrize(("kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        sample_l_ensemble(**{"rng": 0, **kwargs})
