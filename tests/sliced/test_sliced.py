"""`sliced_wasserstein` against quadrature, closed forms and SciPy; its properties, intervals and edge cases."""

from __future__ import annotations

import functools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from benchmarks.compare import sliced as clouds
from lowrank_la import ConvergenceWarning, limit_threads
from lowrank_la.sliced import _modes, sliced_wasserstein, wasserstein_1d
from lowrank_la.sliced._bracket import bracket
from lowrank_la.sliced._problem import enter
from lowrank_la.sliced._regression import half_width

RNG = np.random.default_rng(0)
MODES = _modes.MODES


def quadrature(X, Y, p=2.0, a=None, b=None, angles=2000):
    """SW_p^p in the plane by equal angles; each W_p^p by the quantile functions in long double."""
    total = 0.0
    for angle in np.pi * (np.arange(angles) + 0.5) / angles:
        theta = np.array([np.cos(angle), np.sin(angle)])
        sides = []
        for Z, w in ((X, a), (Y, b)):
            z = (Z @ theta).astype(np.longdouble)
            order = np.argsort(z)
            tops = np.cumsum((np.full(len(z), 1 / len(z)) if w is None else w / w.sum())[order].astype(np.longdouble))
            sides.append((z[order], tops / tops[-1]))
        ends = np.union1d(sides[0][1], sides[1][1])
        mass = np.diff(ends, prepend=0)
        u, v = (z[np.minimum(np.searchsorted(tops, ends - mass / 2), len(z) - 1)] for z, tops in sides)
        total += float(np.sum(mass * np.abs(u - v) ** p))
    return total / angles


def flat(n=60, m=45):
    return RNG.standard_normal((n, 2)) * [1.5, 0.4] + 0.5, RNG.uniform(-1, 1, (m, 2))


@functools.cache
def in_the_plane(p):
    """SW_p of two clouds, without and with weights."""
    X, Y = flat()
    a, b = RNG.random(60) + 0.1, RNG.random(45) + 0.1
    both = {}, {"a": a / a.sum(), "b": b / b.sum()}
    return [(quadrature(X, Y, p, **weights) ** (1 / p), (X, Y), weights) for weights in both]


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("mode", MODES)
def test_plane_against_quadrature(mode, p):
    for exact, (X, Y), weights in in_the_plane(p):
        result = sliced_wasserstein(X, Y, p=p, n_projections=400, variance_reduction=mode, confidence=0.999, rng=3, **weights)
        assert abs(result.value - exact) <= result.certificate.bound + 1e-5 * exact
        assert result.certificate.bound < 0.4 * exact
        assert result.interval[0] <= exact * (1 + 1e-5)
        assert exact * (1 - 1e-5) <= result.interval[1]
        assert result.bracket[0] <= exact <= result.bracket[1]
        assert result.value_p == pytest.approx(result.value**p)
        assert result.n_projections >= 400


@pytest.mark.parametrize("d", [2, 3, 8])
@pytest.mark.parametrize("mode", ["auto", "orthogonal"])
def test_quadratic_costs_are_exact(mode, d):
    """Translations and dilations have costs that are quadratic forms of the direction."""
    X = RNG.standard_normal((70, d)) * np.linspace(0.3, 2, d)
    move = RNG.standard_normal(d)
    moved = sliced_wasserstein(X, X + move, variance_reduction=mode, n_projections=32, rng=0)
    assert moved.value == pytest.approx(np.linalg.norm(move) / math.sqrt(d), rel=1e-12)
    assert moved.certificate.bound < 1e-7
    S = (X - X.mean(0)).T @ (X - X.mean(0)) / 70
    scaled = sliced_wasserstein(X, 3 * X + move, variance_reduction=mode, n_projections=32, rng=0)
    exact = math.sqrt((np.sum((2 * X.mean(0) + move) ** 2) + 4 * np.trace(S)) / d)
    assert scaled.value == pytest.approx(exact, rel=1e-12)
    assert scaled.certificate.bound < 1e-6


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_translations_for_other_exponents_are_caught_by_the_bracket(p):
    X, move = RNG.standard_normal((50, 4)), np.array([1.0, -2, 0, 0.5])
    moment = math.gamma(2) * math.gamma((p + 1) / 2) / math.gamma(2 + p / 2) / math.sqrt(math.pi)
    result = sliced_wasserstein(X, X + move, p=p, n_projections=8, variance_reduction="none", rng=0)
    assert result.value_p == pytest.approx(moment * np.linalg.norm(move) ** p, rel=1e-12)
    assert result.certificate.bound < 1e-12


def test_one_dimension_is_exact():
    x, y = RNG.standard_normal((40, 1)), RNG.standard_normal((25, 1)) + 2
    for mode in MODES:
        result = sliced_wasserstein(x, y, p=1, variance_reduction=mode, n_projections=5, tol=1e-9, rng=0)
        assert abs(result.value - wasserstein_distance(x[:, 0], y[:, 0])) <= result.certificate.bound < 1e-12
        assert result.n_projections == 1
        assert result.certificate.confidence == 1
        assert result.certificate.method == "rounding"


points = st.builds(
    lambda n, d, scale, seed: np.random.default_rng(seed).standard_normal((n, d)) * scale,
    st.integers(1, 30),
    st.shared(st.integers(1, 6), key="d"),
    st.floats(1e-3, 1e3),
    st.integers(0, 10**6),
)


@settings(max_examples=40)
@given(
    X=points,
    Y=points,
    p=st.sampled_from([1.0, 1.7, 2.0, 4.0]),
    mode=st.sampled_from(["auto", "none", "orthogonal", "qmc"]),
    seed=st.integers(0, 99),
)
def test_symmetries(X, Y, p, mode, seed):
    """Order of the clouds and of the points, common translations and scale make no difference but for rounding."""
    options = {"p": p, "variance_reduction": mode, "n_projections": 24, "rng": seed}
    value = sliced_wasserstein(X, Y, **options).value
    size = np.abs(X).max() + np.abs(Y).max()
    tight = {"rel": 1e-9, "abs": 1e-7 * size}
    assert sliced_wasserstein(Y, X, **options).value == pytest.approx(value, **tight)
    turned = Y[::-1] if X.shape == Y.shape else np.roll(Y, 1, axis=0)  # pairs of clouds of one size enter the bracket
    assert sliced_wasserstein(X[::-1], turned, **options).value == pytest.approx(value, **tight)
    assert sliced_wasserstein(X + size, Y + size, **options).value == pytest.approx(value, **tight)
    assert sliced_wasserstein(4 * X, 4 * Y, **options).value == pytest.approx(4 * value, rel=1e-9, abs=4e-7 * size)
    assert sliced_wasserstein(X, X.copy(), **options).value == 0


@settings(max_examples=30)
@given(X=points, Y=points, Z=points, p=st.sampled_from([1.0, 2.0, 3.0]), seed=st.integers(0, 99))
def test_triangle_inequality_with_the_same_directions(X, Y, Z, p, seed):
    def distance(A, B):
        problem = enter("t", A, B, None, None, p)
        sample = _modes.draw(problem, "none", 16, 1, seed)
        return np.mean(sample.costs) ** (1 / p)

    assert distance(X, Z) <= (distance(X, Y) + distance(Y, Z)) * (1 + 1e-12)


@settings(max_examples=30)
@given(n=st.integers(1, 12), m=st.integers(1, 12), p=st.sampled_from([1.0, 1.5, 2.0, 3.0]), offset=st.floats(0, 3), seed=st.integers(0, 99))
def test_the_bracket_always_holds(n, m, p, offset, seed):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, 2)), rng.standard_normal((m, 2)) * [2, 0.1] + offset
    low, high = bracket(enter("t", X, Y, None, None, p))
    exact = quadrature(X, Y, p, angles=300)
    assert low <= exact * (1 + 1e-3)
    assert exact * (1 - 1e-3) <= high


def test_a_weight_of_two_is_the_point_twice():
    X, Y = RNG.standard_normal((20, 3)), RNG.standard_normal((15, 3))
    a = np.where(np.arange(20) < 5, 2.0, 1.0)
    twice = sliced_wasserstein(np.concatenate([X, X[:5]]), Y, rng=0)
    assert sliced_wasserstein(X, Y, a=a / 25, rng=0).value == pytest.approx(twice.value, rel=1e-10)
    padded = np.concatenate([X, 1e6 * np.ones((3, 3))])
    zeros = np.append(a, np.zeros(3)) / 25
    assert sliced_wasserstein(padded, Y, a=zeros, rng=0).value == pytest.approx(twice.value, rel=1e-10)


def test_weights_that_do_not_sum_to_one():
    X, Y = RNG.standard_normal((6, 3)), RNG.standard_normal((4, 3))
    a = np.arange(1.0, 7)
    expected = sliced_wasserstein(X, Y, a=a / 21, rng=0)
    with pytest.warns(UserWarning, match="sliced_wasserstein: weights sum to 21; they were divided by it"):
        result = sliced_wasserstein(X, Y, a=a, rng=0)
    assert result.value == pytest.approx(expected.value, rel=1e-12)
    with pytest.warns(UserWarning, match="weights sum to 21"):
        sliced_wasserstein(X, Y, a=a, b=np.full(4, 21 / 4), rng=0)


def _coverage(X, Y, mode, L, seeds, p=2.0, level=0.95):
    """Share of the intervals that hold the mean, and their width over twice the root mean square error, in units of the quantile."""
    problem = enter("t", X, Y, None, None, p)
    reference = [_modes.estimate(problem, "auto", _modes.draw(problem, "auto", 3000, problem.d, 10**6 + s), 10**6 + s) for s in range(4)]
    truth = np.mean([found.mean for found in reference])
    block = _modes.block_of(mode, L, problem.d)
    with problem.threads(L):
        found = [_modes.estimate(problem, mode, _modes.draw(problem, mode, L, block, seed), seed) for seed in range(seeds)]
    errors = np.array([f.mean for f in found]) - truth
    widths = np.array([half_width(f.error, f.freedom, f.skewness, level) for f in found])
    return np.mean(np.abs(errors) <= widths), np.mean(widths) / np.sqrt(np.mean(errors**2))


COVERED = [("auto", 60), ("auto", 100), ("none", 40), ("upper", 60), ("spherical", 60), ("orthogonal", 60), ("qmc", 64)]


@pytest.mark.parametrize(("mode", "L"), COVERED)
def test_intervals_cover(mode, L):
    """95 of 100, less what chance explains among 150 draws."""
    X, Y = clouds.chair(np.random.default_rng(1), 200), clouds.plane(np.random.default_rng(2), 150)
    covered, width = _coverage(X, Y, mode, L, 150)
    assert covered >= 0.9
    assert width < 6


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "L"), [*COVERED, ("auto", 20), ("auto", 300), ("none", 100)])
@pytest.mark.parametrize("case", ["chair, plane", "mixtures, d = 10", "heavy tails, d = 20", "Gaussians, d = 50"])
def test_intervals_cover_at_their_rate(case, mode, L):
    X, Y = clouds.cases()[case]
    if mode == "spherical" and X.shape[1] > 3:
        pytest.skip("too few directions")
    covered, width = _coverage(X[:500], Y[:500], mode, L, 1000)
    assert covered >= (0.93 if L > 40 else 0.915)  # few costs do not show how skewed they are
    assert width < 8


def _gain(X, Y, L, repeats):
    problem = enter("t", X, Y, None, None, 2.0)

    def errors(mode):
        block = _modes.block_of(mode, L, problem.d)
        return np.array([_modes.estimate(problem, mode, _modes.draw(problem, mode, L, block, seed), seed).mean for seed in range(repeats)])

    with problem.threads(L):
        truth = np.mean(
            [_modes.estimate(problem, "auto", _modes.draw(problem, "auto", 3000, problem.d, s), s).mean for s in (10**6, 10**7)]
        )
        return np.mean((errors("none") - truth) ** 2) / np.mean((errors("auto") - truth) ** 2)


def test_the_default_has_a_fiftieth_of_the_variance_of_plain_sampling():
    pairs = clouds.cases()
    gains = [_gain(*(cloud[:300] for cloud in pairs[name]), 100, 40) for name in ("chair, torus", "Gaussians, d = 10", "mixtures, d = 10")]
    assert np.median(gains) > 50


@pytest.mark.slow
def test_the_default_has_a_fiftieth_of_the_variance_in_the_median_over_all_cases():
    assert np.median([_gain(X, Y, 100, 200) for X, Y in clouds.cases().values()]) > 50


@pytest.mark.parametrize("mode", ["auto", "none", "qmc", "orthogonal"])
def test_rounds_reach_a_tolerance(mode):
    X, Y = clouds.chair(np.random.default_rng(1), 200), clouds.torus(np.random.default_rng(2), 200)
    tol = {"auto": 1e-4}.get(mode, 0.01)
    result = sliced_wasserstein(X, Y, tol=tol, n_projections=32, variance_reduction=mode, rng=0)
    assert result.converged
    assert result.certificate.bound <= tol * result.value
    exact = sliced_wasserstein(X, Y, n_projections=4000, rng=9)
    assert abs(result.value - exact.value) <= result.certificate.bound + exact.certificate.bound
    assert result.n_projections >= 64


def test_a_tolerance_out_of_reach_is_said():
    X, Y = flat()
    with pytest.warns(ConvergenceWarning, match=r"sliced_wasserstein: 128 directions leave a bound of .*, more than tol \* value"):
        result = sliced_wasserstein(X, Y, tol=1e-9, n_projections=32, max_projections=200, variance_reduction="none", rng=0)
    assert not result.converged
    assert result.n_projections == 128


def test_few_directions_fall_back_to_the_bracket():
    X, Y = RNG.standard_normal((30, 3)), RNG.standard_normal((30, 3)) + 1
    result = sliced_wasserstein(X, Y, n_projections=1, variance_reduction="none", rng=0)
    assert result.interval == result.bracket
    assert result.standard_error == math.inf
    assert result.certificate.confidence == 1
    assert result.certificate.method == "bracket"
    exact = sliced_wasserstein(X, Y, n_projections=2000, rng=0)
    assert abs(result.value - exact.value) <= result.certificate.bound
    for L in (2, 5, 12, 29, 30):
        assert math.isfinite(sliced_wasserstein(X, Y, n_projections=L, rng=0).certificate.bound)


@pytest.mark.parametrize("mode", MODES)
def test_degenerate_clouds(mode):
    one, same = np.ones((1, 3)), np.ones((5, 3))
    assert sliced_wasserstein(one, same, variance_reduction=mode, n_projections=64, rng=0).value == 0
    apart = sliced_wasserstein(one, same - 1, variance_reduction=mode, n_projections=64, rng=0)
    assert abs(apart.value - 1) <= apart.certificate.bound
    X = RNG.standard_normal((9, 3))
    equal = sliced_wasserstein(X, X.copy(), variance_reduction=mode, n_projections=64, rng=0)
    assert equal.value == equal.certificate.bound == equal.standard_error == 0
    assert equal.interval == (0, 0)
    line = np.outer(np.arange(5.0), np.ones(3))
    assert math.isfinite(sliced_wasserstein(line, 2 * line, variance_reduction=mode, n_projections=64, rng=0).certificate.bound)


def test_far_from_zero():
    X, Y = RNG.standard_normal((200, 3)), RNG.standard_normal((200, 3)) * 2
    near = sliced_wasserstein(X, Y, rng=0).value
    assert sliced_wasserstein(X + 1e9, Y + 1e9, rng=0).value == pytest.approx(near, rel=1e-6)
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    moved = sliced_wasserstein(X + np.float32(1024), Y + np.float32(1024), rng=0).value
    assert moved == pytest.approx(near, rel=1e-3)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_single_precision(p):
    X, Y = RNG.standard_normal((300, 5)), RNG.standard_normal((200, 5)) * 2 + 1
    wide = sliced_wasserstein(X.astype(np.float32).astype(float), Y.astype(np.float32).astype(float), p=p, rng=0)
    narrow = sliced_wasserstein(X.astype(np.float32), Y.astype(np.float32), p=p, rng=0)
    assert narrow.value == pytest.approx(wide.value, rel=1e-6)
    integers = sliced_wasserstein(np.arange(6).reshape(3, 2), [[1, 2]], p=p, rng=0)
    assert integers.value > 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_backends(backend, mode, p):
    X, Y, a = RNG.standard_normal((40, 3)), RNG.standard_normal((30, 3)) + 1, RNG.random(40)
    a[3] = 0
    a /= a.sum()
    for weights in ({}, {"a": a}):
        options = {"p": p, "variance_reduction": mode, "n_projections": 40, "rng": 1}
        expected = sliced_wasserstein(X, Y, **options, **weights)
        inside = {name: backend.array(w) for name, w in weights.items()}
        result = sliced_wasserstein(backend.array(X), backend.array(Y), **options, **inside)
        assert isinstance(result.value, float)
        assert result.value == pytest.approx(expected.value, rel=1e-10)
        assert result.certificate.bound == pytest.approx(expected.certificate.bound, rel=1e-6)


def test_same_answer_for_any_number_of_threads_and_the_inputs_stay():
    X, Y = RNG.standard_normal((500, 7)), RNG.standard_normal((400, 7))
    before = X.copy(), Y.copy()
    found = []
    for threads in (1, 2):
        with limit_threads(threads):
            found.append(sliced_wasserstein(X, Y, rng=4).value)
    assert found[0] == pytest.approx(found[1], rel=1e-13)
    assert np.array_equal(X, before[0])
    assert np.array_equal(Y, before[1])
    assert sliced_wasserstein(X[::-1], np.asfortranarray(Y), rng=4).value == pytest.approx(found[0], rel=1e-12)
    assert sliced_wasserstein(X, Y, rng=5).value != found[0]


def test_high_dimension():
    X, Y = RNG.standard_normal((60, 3000)), RNG.standard_normal((50, 3000)) * 1.5 + 0.05
    result = sliced_wasserstein(X, Y, n_projections=64, rng=0)
    more = sliced_wasserstein(X, Y, n_projections=1000, rng=1)
    assert abs(result.value - more.value) <= result.certificate.bound + more.certificate.bound
    assert result.certificate.bound < 0.05 * result.value


def test_ten_thousand_dimensions_in_bounded_memory():
    """The plain mean is that of the costs on the same directions, one by one; nothing of size d x d is ever made."""
    rng = np.random.default_rng(8)
    X, Y = rng.standard_normal((80, 10_000)), rng.standard_normal((60, 10_000)) * np.linspace(0.5, 2, 10_000) + 0.02
    plain = sliced_wasserstein(X, Y, n_projections=64, variance_reduction="none", rng=0)
    T = _modes.draw(enter("t", X, Y, None, None, 2.0), "none", 64, 1, 0).T
    costs = [wasserstein_1d(X @ theta, Y @ theta).value_p for theta in T]
    assert plain.value_p == pytest.approx(np.mean(costs), rel=1e-12)
    tracemalloc.start()
    result = sliced_wasserstein(X, Y, n_projections=64, rng=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * (X.nbytes + Y.nbytes)
    assert abs(result.value - plain.value) <= 1.5 * (result.certificate.bound + plain.certificate.bound)
    assert result.certificate.bound < plain.certificate.bound
    assert result.bracket[0] <= result.value <= result.bracket[1]


X, Y = RNG.standard_normal((6, 3)), RNG.standard_normal((5, 3))
BAD = [
    ("vector", (X[0], Y), {}, ValueError, r"sliced_wasserstein: X must be 2-dimensional; got shape \(3,\)"),
    ("empty", (X[:0], Y), {}, ValueError, r"X must have at least one entry; got shape \(0, 3\)"),
    ("columns", (X, Y[:, :2]), {}, ValueError, r"sliced_wasserstein: Y must have 3 columns, as many as X; got shape \(5, 2\)"),
    ("NaN", (X, Y * np.nan), {}, ValueError, "Y must be finite; got 15 NaN"),
    ("complex", (X + 1j, Y), {}, TypeError, "X must be real; got dtype complex128"),
    ("p", (X, Y), {"p": 0.5}, ValueError, "p must be a number of at least 1; got 0.5"),
    ("mode", (X, Y), {"variance_reduction": "best"}, ValueError, "variance_reduction must be one of 'auto', 'none'"),
    ("count", (X, Y), {"n_projections": 0}, ValueError, "n_projections must be an integer of at least 1; got 0"),
    (
        "harmonics",
        (X, Y),
        {"n_projections": 9, "variance_reduction": "spherical"},
        ValueError,
        "n_projections must be at least 10 for 'spherical' in dim",
    ),
    ("tol", (X, Y), {"tol": 0}, ValueError, "tol must be a number between 0 and 1, ends excluded"),
    ("confidence", (X, Y), {"confidence": 1}, ValueError, "confidence must be a number between 0 and 1, ends excluded"),
    ("short weights", (X, Y), {"a": np.ones(5)}, ValueError, r"a must have 6 rows, as many as X; got shape \(5,\)"),
    ("negative weight", (X, Y), {"b": [1, 1, -1, 1, 1]}, ValueError, "b must not be negative; got a negative weight at index 2"),
    ("no mass", (X, Y), {"b": np.zeros(5)}, ValueError, "b must have a positive weight; got none"),
    ("masses", (X, Y), {"a": np.ones(6), "b": np.ones(5)}, ValueError, "b must have the mass of a, 6; got 5. Unbalanced"),
    ("infinite weight", (X, Y), {"a": np.full(6, np.inf)}, ValueError, "a must be finite"),
    ("rng", (X, Y), {"rng": "x"}, TypeError, "rng must be None, an int"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        sliced_wasserstein(*args, **{"rng": 0, **kwargs})
