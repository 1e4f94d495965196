"""Construction from lines, its laws of random points, and numbers as input: samples, Tucker and canonical tensors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from lowrank_la import ConvergenceWarning
from lowrank_la.functions import chebyshev_tucker
from lowrank_la.functions._adaptive import interleaved
from lowrank_la.functions._chebyshev import nodes
from lowrank_la.functions._focus import law_of, sample
from lowrank_la.functions._gaussians import GaussianSum
from lowrank_la.functions._grid import compress
from lowrank_la.functions._parts import Parts
from tests.functions.test_construct import CUBE, SMOOTH, box_points, root_mean_square


@settings(max_examples=15)
@given(
    a=st.floats(0.5, 6),
    shift=st.floats(-0.5, 0.5),
    family=st.sampled_from(["separable", "sum", "distance"]),
    seed=st.integers(0, 10**6),
)
def test_lines_agree_with_the_grid(a, shift, family, seed):
    f = {
        "separable": lambda x, y, z: np.exp(-a * x) * np.cos(a * (y - shift)) / (2 + z),
        "sum": lambda x, y, z: np.sin(a * (x + y - z)) + shift * x,
        "distance": lambda x, y, z: 1 / np.sqrt(0.2 + (x - shift) ** 2 + y * y + z * z),
    }[family]
    grid = chebyshev_tucker(f, CUBE, tol=1e-8, method="grid", rng=seed)
    lines = chebyshev_tucker(f, CUBE, tol=1e-8, method="cross", rng=seed)
    size = math.sqrt(float(np.sum(grid.core**2)))
    X = box_points(CUBE, 1000)
    assert lines.resolved
    assert np.sqrt(np.mean((grid(X) - lines(X)) ** 2)) <= 1e-7 * size
    assert lines.stability >= 1 - 1e-12
    if max(grid.degrees) > 40:
        assert lines.n_evaluations < math.prod(m + 1 for m in grid.degrees)


def test_lines_find_narrow_peaks_that_no_grid_would_hold():
    def f(x, y, z):
        return 1 / (1 + 1000 * ((x - 0.1) ** 2 + y * y + z * z))

    g = chebyshev_tucker(f, CUBE, tol=1e-8, rng=0)
    assert g.resolved
    assert min(g.degrees) > 400
    assert g.n_evaluations < 1_000_000
    peak = np.asarray([[0.1, 0, 0], [0.12, 0.01, -0.01], [0.0, 0.0, 0.05]])
    np.testing.assert_allclose(g(peak), f(*peak.T), atol=1e-6)


def test_six_variables():
    box = [(-1, 1)] * 6

    def f(*x):
        return 1 / np.sqrt(sum((t - 2) ** 2 for t in x))

    g = chebyshev_tucker(f, box, tol=1e-8, method="cross", rng=0)
    assert g.resolved
    assert root_mean_square(f, g, box) < 1e-8
    assert g.n_evaluations < 10**6


def test_a_core_that_does_not_fit_is_an_honest_failure():
    def f(x, y, z):
        return np.tanh(40 * (x + y + z))

    with pytest.warns(ConvergenceWarning):
        g = chebyshev_tucker(f, CUBE, tol=1e-8, method="cross", max_degree=128, max_bytes=1 << 16, rng=0)
    assert not g.resolved
    assert math.prod(g.ranks) * 8 <= 1 << 16
    assert root_mean_square(f, g, CUBE) <= g.certificate.bound < 100


def test_small_memory_limits_the_grid():
    with pytest.warns(ConvergenceWarning, match="have not decayed"):
        g = chebyshev_tucker(SMOOTH["runge"], CUBE, tol=1e-8, method="grid", max_bytes=40**3 * 8, rng=0)
    assert math.prod(m + 1 for m in g.degrees) <= 40**3


def test_fixed_degrees_and_ranks_on_lines():
    g = chebyshev_tucker(SMOOTH["newton"], CUBE, degree=(24, 20, 16), ranks=5, method="cross", rng=0)
    assert g.degrees == (24, 20, 16)
    assert g.ranks == (5, 5, 5)
    assert root_mean_square(SMOOTH["newton"], g, CUBE) < 1e-4


def test_laws_of_random_points():
    g = chebyshev_tucker(lambda x, y: 1 / (1 + 400 * (x - 0.3) ** 2) * (1 + y), tol=1e-6, rng=0)
    parts = Parts(g.core, g.factors, g.domain)
    law = law_of(parts)
    uniform = np.cos(np.pi * np.random.default_rng(0).random((200_000, 2)))
    assert np.mean(law.density(uniform)) == pytest.approx(1, abs=0.05)
    drawn = sample(parts, 0, "test", 20_000)
    assert drawn.weights.max() <= 2
    assert np.mean(drawn.weights) == pytest.approx(1, abs=0.03)
    for h in (lambda X: X[:, 0] ** 2, lambda X: X[:, 1] > 0.9):
        assert np.mean(drawn.weights * h(drawn.points)) == pytest.approx(np.mean(h(uniform)), abs=0.03)
    near = abs(drawn.points[20_000:, 0] - 0.3) < 0.2
    assert np.mean(near) > 2 * np.mean(abs(drawn.points[:20_000, 0] - 0.3) < 0.2)


@settings(max_examples=20)
@given(tol=st.floats(1e-12, 1e-2), rank=st.integers(1, 12), seed=st.integers(0, 10**6), complex_values=st.booleans())
def test_compressed_samples_lose_what_they_say(tol, rank, seed, complex_values):
    rng = np.random.default_rng(seed)
    factors = [rng.standard_normal((n, rank)) + (1j * rng.standard_normal((n, rank)) if complex_values else 0) for n in (60, 50, 70)]
    T = np.einsum("r,ir,jr,kr->ijk", 0.1 ** np.arange(rank), *factors)[None]
    before = T.copy()
    core, bases, lost = compress(T, tol, seed)
    assert np.array_equal(T, before)
    again = core
    for k, Q in enumerate(bases):
        if Q is not None:
            np.testing.assert_allclose(Q.conj().T @ Q, np.eye(Q.shape[1]), atol=1e-12)
            again = np.moveaxis(np.tensordot(Q, again, axes=(1, k + 1)), 0, k + 1)
    error, size = np.linalg.norm(T - again), np.linalg.norm(T)
    assert error <= max(1.001 * lost, 1e-14 * size)
    assert lost <= max(0.05 * tol, 1e-15) * size


def test_nested_samples_meet_in_order():
    x = nodes(9)
    assert np.array_equal(interleaved(x[::2], x[1::2], 0), x)
    np.testing.assert_allclose(nodes(17)[::2], x, atol=1e-16)


def values_on_nodes(f, shape, domain):
    axes = [a + (b - a) * (nodes(m) + 1) / 2 for m, (a, b) in zip(shape, domain, strict=True)]
    return f(*np.meshgrid(*axes, indexing="ij"))


def values_at(backend, g, X):
    return backend.numpy(g(*(backend.array(np.ascontiguousarray(x)) for x in X.T)))


def test_samples(backend):
    domain, shape = [(0, 1), (-2, 1), (1, 3)], (15, 18, 22)
    T = values_on_nodes(lambda x, y, z: np.exp(-x * y) / z, shape, domain)
    held = backend.array(T)
    g = chebyshev_tucker(held, domain, tol=1e-9, rng=0)
    assert np.array_equal(backend.numpy(held), T)
    assert g.resolved
    X = box_points(domain, 200)
    error = np.sqrt(np.mean((values_at(backend, g, X) - np.exp(-X[:, 0] * X[:, 1]) / X[:, 2]) ** 2))
    assert error <= g.certificate.bound + 1e-9
    assert g.certificate.confidence == 1
    assert g.certificate.bound == pytest.approx(g.truncation, abs=1e-10)
    assert g.n_evaluations == 0
    assert str(chebyshev_tucker(backend.array(T.astype(np.float32)), domain).core.dtype).endswith("float32")


def test_samples_of_vectors_and_samples_in_the_format():
    domain = [(0, 1), (0, 1)]
    T = values_on_nodes(lambda x, y: np.stack([np.exp(x * y), x - y]), (20, 22), domain)
    field = chebyshev_tucker(T, domain, tol=1e-10)
    np.testing.assert_allclose(field(np.asarray([0.2, 1.0]), np.asarray([0.7, 0.1])), [np.exp([0.14, 0.1]), [-0.5, 0.9]], atol=1e-9)
    from lowrank_la.tensors import tucker

    g = chebyshev_tucker(tucker(T[0], tol=1e-12), domain, tol=1e-10)
    h = chebyshev_tucker(T[0], domain, tol=1e-10)
    assert g.ranks == h.ranks
    np.testing.assert_allclose(g(0.3, 0.4), h(0.3, 0.4), atol=1e-9)
    with pytest.raises(ValueError, match="one axis for each of 2 variables, or one more in front for outputs; got shape"):
        chebyshev_tucker(T[None], domain)
    with pytest.raises(ValueError, match="degree must not be given with samples"):
        chebyshev_tucker(T[0], domain, degree=3)
    with pytest.raises(ValueError, match="f must be finite"):
        chebyshev_tucker(T[0] * np.nan, domain)


def canonical(seed, n=(64, 70, 81), R=6):
    """Smooth columns on cells of [0, 1], one of them twice, with weights of both signs and a zero."""
    rng = np.random.default_rng(seed)
    rates = rng.uniform(1, 9, (3, R))
    rates[:, 1] = rates[:, 0]
    factors = [np.exp(-r * ((np.arange(m)[:, None] + 0.5) / m - rng.random(R)) ** 2) for m, r in zip(n, rates, strict=True)]
    for U in factors:
        U[:, 1] = U[:, 0]
    return np.asarray([1.0, -0.5, 2.0, 0.0, -1.0, 0.3]), factors


def test_canonical_tensors(backend):
    weights, factors = canonical(0)
    domain = [(0, 1)] * 3
    held = backend.array(weights), [backend.array(U) for U in factors]
    g = chebyshev_tucker(held, domain, tol=1e-6, rng=0)
    centres = [(np.arange(U.shape[0]) + 0.5) / U.shape[0] for U in factors]
    values = backend.numpy(g.grid(*(backend.array(x) for x in centres)))
    dense = np.einsum("r,ir,jr,kr->ijk", weights, *factors)
    assert g.resolved
    assert np.abs(values - dense).max() < 1e-5
    lines = [CubicSpline(x, U) for x, U in zip(centres, factors, strict=True)]  # not-a-knot as well
    X = box_points(domain, 3000)
    splines = np.sum(weights * lines[0](X[:, 0]) * lines[1](X[:, 1]) * lines[2](X[:, 2]), axis=1)
    off = values_at(backend, g, X) - splines
    assert np.sqrt(np.mean(off**2)) <= g.certificate.bound < 1e-5


def test_canonical_tensors_of_any_scale_have_the_same_ranks():
    weights, factors = canonical(1)
    g = chebyshev_tucker((weights, factors), [(0, 1)] * 3, tol=1e-5, rng=0)
    for scale in (2.0**40, 2.0**-40):
        one = chebyshev_tucker((weights * scale, factors), [(0, 1)] * 3, tol=1e-5, rng=0)
        other = chebyshev_tucker((weights, [factors[0], factors[1] * scale, factors[2]]), [(0, 1)] * 3, tol=1e-5, rng=0)
        assert one.ranks == other.ranks == g.ranks
        np.testing.assert_allclose(one.core / scale, g.core, rtol=1e-9, atol=1e-12)


def test_small_canonical_tensors():
    for n in (1, 2, 3, 5):
        U = np.linspace(1, 2, n)[:, None] if n > 1 else np.ones((1, 1))
        g = chebyshev_tucker((np.asarray([2.0]), [U, np.ones((4, 1))]), [(0, 1)] * 2, rng=0)
        centre = 0.5 / n
        assert abs(g(centre, 0.3) - 2 * U[0, 0]) < 1e-6
    with pytest.raises(TypeError, match="a pair of weights and a list of factors"):
        chebyshev_tucker((np.ones(2), np.ones((3, 2))))
    with pytest.raises(ValueError, match=r"factors\[1\] must have shape \(4, 2\)"):
        chebyshev_tucker((np.ones(2), [np.ones((3, 2)), np.ones((4, 3))]))


def test_complex_canonical_tensors():
    weights, factors = canonical(2)
    g = chebyshev_tucker((weights * 1j, factors), [(0, 1)] * 3, tol=1e-6, rng=0)
    h = chebyshev_tucker((weights, factors), [(0, 1)] * 3, tol=1e-6, rng=0)
    assert g.core.dtype == np.complex128
    np.testing.assert_allclose(g(0.2, 0.3, 0.4), 1j * h(0.2, 0.3, 0.4), atol=1e-6)


def test_sums_of_gaussians_go_their_own_way():
    rng = np.random.default_rng(0)
    centres, charges, rates, weights = rng.uniform(0.2, 0.8, (5, 3)), rng.standard_normal(5), np.asarray([0.5, 2.0]), np.asarray([1.0, 0.3])

    def f(x, y, z):
        square = sum((t[..., None] - c) ** 2 for t, c in zip((x, y, z), centres.T, strict=True))
        return sum(w * np.exp(-(t**2) * square) @ charges for t, w in zip(rates, weights, strict=True))

    g = chebyshev_tucker(GaussianSum(centres, charges, rates, weights), [(0, 1)] * 3, tol=1e-8, ranks=8)
    assert root_mean_square(f, g, [(0, 1)] * 3) < 1e-7
    with pytest.raises(ValueError, match="ranks must be an integer or 3 of them"):
        chebyshev_tucker(GaussianSum(centres, charges, rates, weights), ranks=(2, 2))
