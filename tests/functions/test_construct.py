"""`chebyshev_tucker` on functions that are known everywhere: errors, certificates, ranks, and what it does with odd input."""

import math
from functools import partial

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev

from lowrank_la import ConvergenceWarning
from lowrank_la.functions import FunctionTucker, chebyshev_tucker
from lowrank_la.functions._adaptive import kept, plateau, resolved

CUBE = [(-1, 1)] * 3
SMOOTH = {
    "runge": lambda x, y, z: 1 / (1 + 25 * (x * x + y * y + z * z)),
    "newton": lambda x, y, z: 1 / np.sqrt((x - 1.5) ** 2 + (y - 1.5) ** 2 + (z + 2) ** 2),
    "front": lambda x, y, z: np.tanh(5 * (x + z)) + np.exp(y),
    "waves": lambda x, y, z: np.cos(10 * (x + y + z)),
    "ridge": lambda x, y, z: np.cosh(3 * (x + y + z)) ** -2,
}


def box_points(domain, count=4000, seed=11):
    """Points of the Chebyshev measure."""
    a, b = np.asarray(domain, dtype=float).T
    return (a + b) / 2 + (b - a) / 2 * np.cos(np.pi * np.random.default_rng(seed).random((count, len(a))))


def root_mean_square(f, g, domain, count=4000):
    X = box_points(domain, count)
    return float(np.sqrt(np.mean(abs(f(*X.T) - g(*X.T)) ** 2)))


def polynomial(degrees, ranks, seed, complex_values=False):
    """A random polynomial of given degrees and ranks, as a function and as its coefficients."""
    rng = np.random.default_rng(seed)
    core = rng.standard_normal(ranks) + (1j * rng.standard_normal(ranks) if complex_values else 0)
    C = core
    for n, r in zip(degrees, ranks, strict=True):
        V = np.linalg.qr(rng.standard_normal((n + 1, r)))[0]
        C = np.tensordot(C, V, axes=(0, 1))

    def f(*x):
        x = np.broadcast_arrays(*x)
        tables = [chebyshev.chebvander(t, n) for t, n in zip(x, degrees, strict=True)]
        letters = "abcdefgh"[: len(tables)]
        terms = ",".join(f"...{letter}" for letter in letters)
        return np.einsum(f"{letters},{terms}->...", C, *tables)

    return f, C


@pytest.mark.parametrize("method", ["grid", "cross"])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_to_ten_digits(name, method):
    f = SMOOTH[name]
    g = chebyshev_tucker(f, CUBE, tol=1e-10, method=method, rng=0)
    size = np.sqrt(np.sum(abs(g.core) ** 2))
    assert g.resolved
    assert root_mean_square(f, g, CUBE) <= 2e-10 * size
    assert g.truncation <= 1e-10 * size
    assert max(g.tail) <= 1e-10
    assert all(np.allclose(V.T @ V, np.eye(V.shape[1]), atol=1e-13) for V in g.factors)
    assert g.sample_rms <= g.sample_max
    assert g.sample_rms <= g.certificate.bound


@settings(max_examples=25)
@given(
    shape=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)), min_size=1, max_size=4),
    seed=st.integers(0, 10**6),
    method=st.sampled_from(["grid", "cross"]),
    complex_values=st.booleans(),
)
def test_polynomials_are_exact_with_exact_ranks(shape, seed, method, complex_values):
    degrees = tuple(n for n, _ in shape)
    ranks = [min(r, n + 1) for n, r in shape]
    ranks = tuple(min(r, math.prod(ranks) // r) for r in ranks)
    f, C = polynomial(degrees, ranks, seed, complex_values)
    g = chebyshev_tucker(f, [(-1, 1)] * len(degrees), tol=1e-12, method=method, rng=seed)
    exact = [np.linalg.matrix_rank(np.moveaxis(C, k, 0).reshape(n + 1, -1), tol=1e-9) for k, n in enumerate(degrees)]
    assert g.resolved
    assert list(g.ranks) == exact
    X = box_points([(-1, 1)] * len(degrees), 50)
    np.testing.assert_allclose(g(*X.T), f(*X.T), atol=1e-11 * (1 + np.linalg.norm(C)))


def test_certificates_hold_at_the_stated_rate_and_are_not_loose():
    families = [
        (lambda x, y, c: 1 / (1 + 30 * ((x - c) ** 2 + y * y)), 1e-6),
        (lambda x, y, c: np.tanh(6 * (x + y - c)), 1e-4),
        (lambda x, y, c: np.exp(-80 * ((x - c) ** 2 + (y + c) ** 2)) + x, 1e-5),
        (lambda x, y, c: np.cos(9 * x * y + c), 1e-8),
    ]
    square, misses, ratios = [(-1, 1)] * 2, 0, []
    for seed in range(120):
        family, tol = families[seed % 4]
        f = partial(family, c=np.random.default_rng(seed).uniform(-0.5, 0.5))
        g = chebyshev_tucker(f, square, tol=tol, method=("grid", "cross")[seed % 8 // 4], rng=seed)
        assert g.certificate.confidence == 0.99
        error = root_mean_square(f, g, square, 20_000)
        misses += error > g.certificate.bound
        ratios.append(g.certificate.bound / error)
    assert misses <= 4  # 120 trials at a rate of one percent: more than 4 has a probability of less than one percent
    assert np.median(ratios) < 4
    assert np.max(ratios) < 20


def test_errors_above_the_largest_sample_have_small_measure():
    misses = 0
    for seed in range(60):
        g = chebyshev_tucker(lambda x, y: np.tanh(6 * (x + y)), [(-1, 1)] * 2, tol=1e-3, rng=seed)
        X = box_points([(-1, 1)] * 2, 8000, seed)
        off = abs(np.tanh(6 * (X[:, 0] + X[:, 1])) - g(X))
        misses += np.mean(off > g.sample_max) > 0.023
    assert misses <= 3


@pytest.mark.parametrize("method", ["grid", "cross"])
def test_ranks_and_degrees_grow_with_accuracy_and_not_with_scale(method):
    f, before = SMOOTH["ridge"], (0, 0, 0)
    for tol in (1e-2, 1e-4, 1e-6, 1e-8):
        g = chebyshev_tucker(f, CUBE, tol=tol, method=method, rng=0)
        huge = chebyshev_tucker(lambda *x: 2.0**60 * f(*x), CUBE, tol=tol, method=method, rng=0)
        tiny = chebyshev_tucker(lambda *x: 2.0**-60 * f(*x), CUBE, tol=tol, method=method, rng=0)
        assert g.ranks == huge.ranks == tiny.ranks
        assert g.degrees == huge.degrees == tiny.degrees
        assert all(r >= s for r, s in zip(g.ranks, before, strict=True))
        before = g.ranks


def test_permuted_variables_and_moved_boxes():
    def f(x, y, z):
        return np.exp(-x) / (3 + y + z * x)

    g = chebyshev_tucker(f, CUBE, tol=1e-10, rng=0)
    turned = chebyshev_tucker(lambda z, x, y: f(x, y, z), CUBE, tol=1e-10, rng=0)
    moved = chebyshev_tucker(lambda x, y, z: f(x - 5, (y - 1) / 3, -z), [(4, 6), (-2, 4), (-1, 1)], tol=1e-10, rng=0)
    X = box_points(CUBE, 200)
    np.testing.assert_allclose(turned(X[:, [2, 0, 1]]), g(X), atol=1e-9)
    np.testing.assert_allclose(moved(X * [1, 3, -1] + [5, 1, 0]), g(X), atol=1e-9)
    assert turned.ranks == (g.ranks[2], g.ranks[0], g.ranks[1])


@pytest.mark.parametrize("d", range(1, 9))
def test_every_number_of_variables(d):
    domain = [(0, 1 + k / 4) for k in range(d)]
    g = chebyshev_tucker(lambda *x: np.exp(-sum(x)) + np.cos(sum(x)), domain, tol=1e-8, rng=0)
    assert g.dim == d
    assert g.resolved
    X = box_points(domain, 300)
    np.testing.assert_allclose(g(*X.T), np.exp(-X.sum(1)) + np.cos(X.sum(1)), atol=1e-6)
    assert max(g.ranks) <= 3


@pytest.mark.parametrize("method", ["grid", "cross"])
def test_constants_zero_and_small_degrees(method):
    for value in (3.5, 0.0, -2j):
        for f in (lambda x, y, c=value: c + 0 * x, lambda x, y, c=value: c):
            g = chebyshev_tucker(f, [(0, 2), (1, 4)], method=method, rng=0)
            assert g.resolved
            assert g.ranks == (1, 1)
            assert g.degrees == (0, 0)
            np.testing.assert_allclose(g(np.asarray([0.3, 2.0]), np.asarray([1.0, 4.0])), value, atol=1e-13)
            assert not np.isnan([*g.tail, g.truncation, g.sample_max, g.certificate.bound]).any()


@pytest.mark.parametrize("method", ["auto", "grid", "cross"])
@pytest.mark.parametrize("degree", [0, 1, (2, 0)])
def test_fixed_degrees(method, degree):
    def f(x, y):
        return (1 + x) * (2 + y)

    both = (degree, degree) if isinstance(degree, int) else degree
    if degree == 1:  # enough, although no coefficient decays
        g = chebyshev_tucker(f, [(0, 1)] * 2, degree=degree, method=method, rng=0)
        assert g.resolved
        np.testing.assert_allclose(g(0.3, 0.7), f(0.3, 0.7), atol=1e-12)
    else:
        with pytest.warns(ConvergenceWarning, match="have not decayed"):
            g = chebyshev_tucker(f, [(0, 1)] * 2, degree=degree, method=method, rng=0)
    assert g.degrees == both


def test_given_ranks_are_caps():
    f = SMOOTH["front"]
    g = chebyshev_tucker(f, CUBE, tol=1e-9, ranks=(3, 2, 3), rng=0)
    assert g.ranks == (3, 2, 3)
    assert g.truncation > 1e-3
    assert root_mean_square(f, g, CUBE) <= g.certificate.bound


def test_complex_and_vector_valued_functions():
    def f(x, y):
        return np.exp(1j * (x + 2 * y)) / (3 + x)

    def stacked(x, y):
        return np.stack(np.broadcast_arrays(x * y, np.sin(x), 0 * y))

    square, X = [(-1, 1)] * 2, box_points([(-1, 1)] * 2, 100)
    expected = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 0]), 0 * X[:, 0]])
    for method in ("grid", "cross"):
        g = chebyshev_tucker(f, square, tol=1e-10, method=method, rng=0)
        assert g.core.dtype == np.complex128
        assert root_mean_square(f, g, square) < 1e-10
        field = chebyshev_tucker(stacked, square, tol=1e-10, method=method, rng=0)
        pair = chebyshev_tucker(lambda x, y: (x * y, np.sin(x), 0.0), square, tol=1e-10, method=method, rng=0)
        np.testing.assert_allclose(field(X), expected, atol=1e-9)
        np.testing.assert_allclose(pair(X), expected, atol=1e-9)
        assert field.core.shape[0] == 3


def test_functions_that_want_numbers_or_whole_arrays():
    def on_numbers(x, y):
        return math.exp(-x)

    with pytest.warns(UserWarning, match="does not work on arrays"):
        g = chebyshev_tucker(on_numbers, [(0, 1)] * 2, rng=0)
    silent = chebyshev_tucker(on_numbers, [(0, 1)] * 2, vectorized=False, rng=0)
    vector = chebyshev_tucker(lambda x, y: [x, math.sin(y)], [(0, 1)] * 2, vectorized=False, rng=0)
    whole = chebyshev_tucker(lambda x, y: np.linalg.norm(np.stack([x, y + 2]), axis=0), [(0, 1)] * 2, rng=0)
    assert abs(g(0.3, 0.2) - math.exp(-0.3)) < 1e-6
    assert np.array_equal(g.core, silent.core)
    np.testing.assert_allclose(vector(0.3, 0.2), [0.3, math.sin(0.2)], atol=1e-6)
    assert abs(whole(0.3, 0.4) - math.hypot(0.3, 2.4)) < 1e-6


def test_the_point_of_a_bad_value_is_named():
    with pytest.raises(ValueError, match=r"f must return finite values; got inf at \(0, "):
        chebyshev_tucker(lambda x, y: 1 / x + y, [(0, 1), (2, 3)], rng=0)
    with pytest.raises(ValueError, match=r"got nan at \(.*, 1\)"):
        chebyshev_tucker(lambda x, y: np.where(y < 1, x, np.nan), [(0, 1)] * 2, rng=0)
    with pytest.raises(ValueError, match=r"got nan at \(.*\)"):
        chebyshev_tucker(lambda x, y: math.nan if y > 0.9 else x, [(0, 1)] * 2, vectorized=False, rng=0)


@pytest.mark.parametrize("method", ["auto", "grid", "cross"])
def test_kinks_stop_at_the_largest_degree(method):
    with pytest.warns(ConvergenceWarning, match="have not decayed to tol along axis 0"):
        g = chebyshev_tucker(lambda x, y: abs(x - 0.3) * (1 + y), [(-1, 1)] * 2, tol=1e-10, max_degree=256, method=method, rng=0)
    assert not g.resolved
    assert g.degrees == (256, 1)
    assert g.n_evaluations < 20_000
    assert root_mean_square(lambda x, y: abs(x - 0.3) * (1 + y), g, [(-1, 1)] * 2) <= g.certificate.bound < 1e-2


def test_noise_is_recognised_and_not_resolved():
    rng = np.random.default_rng(0)
    with pytest.warns(ConvergenceWarning, match="noise of about"):
        g = chebyshev_tucker(lambda x, y: np.exp(x * y) + 1e-8 * rng.standard_normal(np.broadcast(x, y).shape), tol=1e-11, rng=0)
    assert not g.resolved
    assert max(g.degrees) < 60
    assert root_mean_square(lambda x, y: np.exp(x * y), g, [(-1, 1)] * 2) < 1e-6


def test_tolerances_below_roundoff_end():
    g = chebyshev_tucker(lambda x, y: np.exp(x * y), tol=1e-16, rng=0)
    assert root_mean_square(lambda x, y: np.exp(x * y), g, [(-1, 1)] * 2) < 1e-14


def test_aliases_are_found_out():
    """On the 17 nodes of the coarsest grid T_32 is 1, and the factor of an even function has no odd coefficients."""

    def f(x, y):
        return np.cos(32 * np.arccos(x)) * np.cos(3 * y) ** 2

    g = chebyshev_tucker(f, [(-1, 1)] * 2, tol=1e-9, rng=0)
    assert g.degrees[0] == 32
    assert root_mean_square(f, g, [(-1, 1)] * 2) < 1e-8


def test_single_precision():
    def f(x, y):
        return np.exp(-x) * np.sin(y)

    g = chebyshev_tucker(f, np.asarray([(0, 1), (0, 2)], dtype=np.float32), tol=1e-12, rng=0)
    assert g.core.dtype == np.float32
    assert all(V.dtype == np.float32 for V in g.factors)
    assert root_mean_square(f, g, [(0, 1), (0, 2)]) < 1e-6
    assert g.resolved
    values = chebyshev_tucker(lambda x, y: f(x, y).astype(np.float32), [(0, 1), (0, 2)], method="cross", rng=0)
    assert values.core.dtype == np.float32


def test_a_function_in_the_format_is_a_function():
    g = chebyshev_tucker(SMOOTH["newton"], CUBE, tol=1e-10, rng=0)
    coarse = chebyshev_tucker(g, tol=1e-3, rng=0)
    assert isinstance(coarse, FunctionTucker)
    assert max(coarse.ranks) < max(g.ranks)
    assert root_mean_square(g, coarse, CUBE) < 1e-2


def test_backends(backend):
    expected = chebyshev_tucker(lambda x, y: 1 / (2 + x * y), [(-1, 1), (0, 1)], tol=1e-9, rng=3)
    domain = backend.array(np.asarray([(-1.0, 1.0), (0.0, 1.0)]))
    for method in ("grid", "cross"):
        g = chebyshev_tucker(lambda x, y: 1 / (2 + x * y), domain, tol=1e-9, method=method, rng=3)
        x, y = np.asarray([-0.9, 0.1]), np.asarray([0.2, 1.0])
        np.testing.assert_allclose(backend.numpy(g(backend.array(x), backend.array(y))), 1 / (2 + x * y), atol=1e-8)
        assert backend.numpy(g.core).shape == expected.core.shape
    field = chebyshev_tucker(lambda x, y: (x + y, x * y), backend.array(np.asarray([(0, 1), (0, 1)], dtype=np.float32)), rng=0)
    assert str(field.core.dtype).endswith("float32")


def test_seeds_and_threads():
    def build(threads, seed, method):
        numba.set_num_threads(threads)
        try:
            return chebyshev_tucker(SMOOTH["front"], CUBE, tol=1e-6, method=method, rng=seed)
        finally:
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)

    for method in ("grid", "cross"):
        one, two, other = build(1, 7, method), build(min(2, numba.config.NUMBA_NUM_THREADS), 7, method), build(1, 8, method)
        assert one.n_evaluations == two.n_evaluations
        np.testing.assert_allclose(one.sample_max, two.sample_max, rtol=1e-6)
        assert one.sample_max != other.sample_max


def test_evaluations_are_counted():
    asked = 0

    def f(x, y, z):
        nonlocal asked
        asked += np.broadcast(x, y, z).size
        return np.exp(x * y) + z

    for method in ("grid", "cross"):
        asked = 0
        g = chebyshev_tucker(f, CUBE, method=method, rng=0)
        assert g.n_evaluations == asked


BAD = [
    ("point", {"domain": [(0, 0), (0, 1)]}, ValueError, r"lower ends below upper ends; got \[0, 0\] in row 0"),
    ("reversed", {"domain": [(0, 1), (1, 0)]}, ValueError, r"got \[1, 0\] in row 1"),
    ("infinite", {"domain": [(0, 1), (0, np.inf)]}, ValueError, "domain must be finite"),
    ("nan", {"domain": [(0, np.nan), (0, 1)]}, ValueError, "domain must be finite"),
    ("shape", {"domain": [0, 1]}, ValueError, r"shape \(d, 2\) with d from 1 to 8; got shape \(2,\)"),
    ("nine", {"domain": [(0, 1)] * 9}, ValueError, "d from 1 to 8"),
    ("complex", {"domain": [(0, 1j), (0, 1)]}, TypeError, "domain must be real"),
    ("tol", {"tol": 0}, ValueError, "tol must be a number between 0 and 1, ends excluded; got 0"),
    ("degree", {"degree": -1}, ValueError, "degree must be an integer of at least 0; got -1"),
    ("degrees", {"degree": (3, 3, 3)}, ValueError, "degree must be an integer or 2 of them, one for each variable; got 3"),
    ("ranks", {"ranks": 0}, ValueError, "ranks must be an integer of at least 1; got 0"),
    ("method", {"method": "tt"}, ValueError, "method must be one of 'auto', 'grid', 'cross'; got 'tt'"),
    ("rng", {"rng": -1}, ValueError, "rng must be an int from 0"),
    ("bytes", {"max_bytes": 0}, ValueError, "max_bytes must be an integer of at least 1; got 0"),
    (
        "too large",
        {"degree": 500, "method": "grid", "max_bytes": 1000},
        ValueError,
        "an integer of at least 2008008; got 1000",
    ),
]


@pytest.mark.parametrize(("options", "error", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_arguments(options, error, words):
    with pytest.raises(error, match=words):
        chebyshev_tucker(lambda x, y: x + y, **{"domain": [(0, 1)] * 2, **options})


def test_bad_functions():
    with pytest.raises(ValueError, match="domain must be given"):
        chebyshev_tucker(lambda *x: x[0])
    with pytest.raises(TypeError, match="must return a number or a vector of numbers at each point; got str"):
        chebyshev_tucker(lambda x, y: "one", [(0, 1)] * 2)
    with pytest.raises(ValueError, match="f must return one value for each point"):
        chebyshev_tucker(lambda x, y: np.zeros((7, 5)), [(0, 1)] * 2, vectorized=True)
    with pytest.raises(TypeError, match="complex values everywhere or nowhere"):
        chebyshev_tucker(lambda x, y: np.emath.sqrt(x) + y, [(-0.1, 1), (0, 1)], vectorized=True)
    with pytest.raises(ZeroDivisionError):
        chebyshev_tucker(lambda x, y: 1 / (x - 1 if x > 0.9 else x), [(0.5, 1), (0, 1)], vectorized=False)


def test_chopping_looks_at_two_slices_and_at_plateaus():
    even = np.where(np.arange(21) % 2 == 0, 0.1 ** np.arange(21.0), 0.0)
    assert kept(even, 1e-6) == 7
    assert resolved(even, 1e-6)
    assert not resolved(even[:8], 1e-9)
    assert not resolved(even[:9], 1e-9)
    assert kept(np.zeros(5), 0.0) == 1
    noisy = np.maximum(0.3 ** np.arange(65.0), 1e-9)
    assert plateau(noisy, 1e-12) == pytest.approx(1e-9 * math.sqrt(65), rel=0.5)
    assert plateau(0.3 ** np.arange(65.0), 1e-12) is None
    assert plateau(1 / np.arange(1, 65.0) ** 2, 1e-12) is None
    assert plateau(np.zeros(65), 1e-12) is None
