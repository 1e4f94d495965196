"""Sums of Gaussians in Chebyshev-Tucker format, against the sums themselves in long double."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning, chebyshev_tucker
from lowrank_la.functions import GaussianSum
from lowrank_la.functions._family import family, nodes_for


def exact(cloud, x):
    X, q, t, c = (np.asarray(part, dtype=np.longdouble) for part in (cloud.centres, cloud.charges, cloud.rates, cloud.weights))
    squares = np.sum((np.asarray(x, dtype=np.longdouble)[:, None, :] - X) ** 2, axis=2)
    return np.asarray(sum(ck * np.exp(-(tk**2) * squares) for tk, ck in zip(t, c, strict=True)) @ q, dtype=np.float64)


def random_cloud(seed, d=3, n=60, most=6.0, signed=True):
    rng = np.random.default_rng(seed)
    K = int(rng.integers(1, 5))
    charges = rng.standard_normal(n) if signed else rng.random(n)
    return GaussianSum(rng.random((n, d)), charges, rng.random(K) * most, rng.standard_normal(K) if signed else rng.random(K))


def grid_points(box, n=400, seed=0):
    """Points of the Chebyshev measure, corners among them."""
    t = np.cos(np.pi * np.random.default_rng(seed).random((n, len(box))))
    t[0], t[1] = -1, 1
    return box[:, 0] + (box[:, 1] - box[:, 0]) * (1 + t) / 2


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("tol", [1e-4, 1e-10])
def test_errors_and_certificates(d, tol):
    for seed in range(3):
        cloud, box = random_cloud(seed, d, most=3.0 if d > 3 else 6.0), np.array([[0.0, 1.0]] * d)
        f = chebyshev_tucker(cloud, box, tol=tol)
        x = grid_points(box)
        off = f(x if d > 1 else x[:, 0]) - exact(cloud, x)
        size = np.linalg.norm(f.core)
        assert f.resolved
        assert np.sqrt(np.mean(off**2)) <= f.certificate.bound <= 2.1 * tol * size
        assert f.sample_rms <= f.certificate.bound
        assert f.sample_rms <= f.sample_max
        assert np.max(np.abs(off)) <= 100 * tol * size


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_shifts_and_scales_change_nothing(seed, scale, shift):
    cloud, box = random_cloud(seed, 2, 20), np.array([[0.0, 1.0]] * 2)
    moved = GaussianSum(cloud.centres * scale + shift, cloud.charges * 7, cloud.rates / scale, cloud.weights)
    f, g = chebyshev_tucker(cloud, box, tol=1e-8), chebyshev_tucker(moved, box * scale + shift, tol=1e-8)
    x = grid_points(box, 50)
    x = x[1:] * 0.999
    assert np.allclose(7 * f(x), g(x * scale + shift), rtol=0, atol=7e-6 * np.linalg.norm(f.core))
    assert max(abs(a - b) for a, b in zip(f.ranks, g.ranks, strict=True)) <= 1


@settings(max_examples=60)
@given(t=st.floats(0, 30), a=st.floats(-3, 1), length=st.floats(0.1, 3), tol=st.floats(-13, -2).map(lambda e: 10.0**e))
def test_separated_gaussians_are_within_their_bounds(t, a, length, tol):
    """For an interval of centres that holds the other one, or any."""
    made = family(np.array([0.0, t / 2, t]), (a, a + length), (-1.0, 1.0), tol)
    x, y = (np.linspace(-1, 1, 301), np.linspace(-1, 1, 211))
    T, S = (np.polynomial.chebyshev.chebvander(p, len(V) - 1) for p, V in ((x, made.left), (y, made.right)))
    apart = (a + length * (1 + x[:, None]) / 2) - y
    for rate, mixing, bound in zip((0.0, t / 2, t), made.mixing, made.errors, strict=True):
        off = np.exp(-((rate * apart) ** 2)) - (T @ made.left) @ mixing @ (S @ made.right).T
        assert np.max(np.abs(off)) <= bound + 1e-13
        assert bound <= 2 * max(tol, 1e-14 * len(T[0]))


@pytest.mark.parametrize(("rate", "tol", "degree"), [(20, 1e-8, 158), (8, 1e-12, 84)])
def test_degrees_follow_the_sharpest_gaussian(rate, tol, degree):
    """Measured degrees of exp(-t^2 x^2) to that tolerance; the bound is for the worst shift."""
    assert degree <= nodes_for(rate, tol) - 1 <= 1.25 * degree


def test_centres_outside_the_domain():
    cloud = random_cloud(3, 2)
    box = np.array([[0.4, 0.6], [0.9, 1.5]])
    x = grid_points(box)
    assert np.max(np.abs(chebyshev_tucker(cloud, box, tol=1e-9)(x) - exact(cloud, x))) < 1e-7


def test_the_default_domain_holds_the_centres():
    cloud = random_cloud(0)
    f = chebyshev_tucker(cloud, tol=1e-6)
    assert np.array_equal(f.domain[:, 0], cloud.centres.min(axis=0))
    assert np.array_equal(f.domain[:, 1], cloud.centres.max(axis=0))


def test_few_places_give_low_ranks():
    """A lattice of 4 x 3 x 2 places."""
    places = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0), np.arange(2.0), indexing="ij"), axis=-1).reshape(-1, 3)
    cloud = GaussianSum(places, np.random.default_rng(0).standard_normal(24), [2.0], [1.0])
    assert chebyshev_tucker(cloud, [(-1, 4)] * 3, tol=1e-10).ranks == (4, 3, 2)


def test_trivial_sums():
    centres = np.array([[0.0, 0.0], [1.0, 1.0]])
    constant = chebyshev_tucker(GaussianSum(centres, [1.0, 2.0], [0.0], [0.5]))
    assert constant.ranks == (1, 1)
    assert constant(np.array([[0.3, 0.8]])) == pytest.approx(1.5, rel=1e-14)
    nothing = chebyshev_tucker(GaussianSum(centres, [0.0, 0.0], [1.0], [1.0]))
    assert nothing.ranks == (1, 1)
    assert nothing.norm() == 0
    one = chebyshev_tucker(GaussianSum([[0.2, 0.1]], [2], [1], [1]), [(-1, 1)] * 2)
    assert one.ranks == (1, 1)
    assert one(np.array([[0.2, 0.1]])) == pytest.approx(2, rel=1e-6)


def test_given_degrees_and_ranks():
    cloud, box = random_cloud(0, 2), [(0, 1)] * 2
    with pytest.warns(ConvergenceWarning, match=r"chebyshev_tucker: the bound on the error is .* more than tol = 1e-10"):
        f = chebyshev_tucker(cloud, box, tol=1e-10, degree=(8, 6), ranks=3)
    assert f.degrees == (8, 6)
    assert max(f.ranks) <= 3
    assert not f.resolved
    x = grid_points(np.asarray(box, dtype=float))
    assert np.sqrt(np.mean((f(x) - exact(cloud, x)) ** 2)) <= f.certificate.bound


def test_cancelling_charges_are_resolved_relative_to_what_remains():
    rng = np.random.default_rng(0)
    X = rng.random((40, 3))
    cloud = GaussianSum(np.concatenate([X, X + 1e-7]), np.concatenate([np.ones(40), -np.ones(40)]), [1.0], [1.0])
    f = chebyshev_tucker(cloud, [(0, 1.001)] * 3, tol=1e-5)
    x = grid_points(f.domain)
    assert np.sqrt(np.mean((f(x) - exact(cloud, x)) ** 2)) <= f.certificate.bound <= 2e-5 * np.linalg.norm(f.core)


def test_backends(backend):
    cloud = random_cloud(1)
    parts = [backend.array(x) for x in (cloud.centres, cloud.charges, cloud.rates, cloud.weights)]
    f = chebyshev_tucker(GaussianSum(*parts), [(0, 1)] * 3, tol=1e-9)
    x = grid_points(f.domain, 50)
    np.testing.assert_allclose(backend.numpy(f(backend.array(x))), exact(cloud, x), atol=1e-6)
    assert type(f.core) is type(parts[0])
    np.testing.assert_allclose(backend.numpy(GaussianSum(*parts)(backend.array(x))), exact(cloud, x), rtol=1e-12, atol=1e-12)


def test_float32_stays():
    cloud = random_cloud(1, signed=False)
    f = chebyshev_tucker(GaussianSum(cloud.centres.astype(np.float32), cloud.charges, cloud.rates, cloud.weights), [(0, 1)] * 3)
    assert f.core.dtype == np.float32
    assert f.resolved
    x = grid_points(f.domain, 50)
    np.testing.assert_allclose(f(x), exact(cloud, x), rtol=1e-4)


def test_inputs_are_not_modified():
    cloud = random_cloud(2)
    before = [x.copy() for x in (cloud.centres, cloud.charges, cloud.rates, cloud.weights)]
    chebyshev_tucker(cloud, [(0, 1)] * 3, tol=1e-5)
    assert all(np.array_equal(x, y) for x, y in zip(before, (cloud.centres, cloud.charges, cloud.rates, cloud.weights), strict=True))


X, Q, ONE = np.zeros((2, 3)), np.ones(2), [1.0]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((np.zeros((0, 3)), np.zeros(0), ONE, ONE), ValueError, "centres must have at least one entry"),
        ((np.zeros(3), Q, ONE, ONE), ValueError, "centres must be 2-dimensional"),
        ((X * np.nan, Q, ONE, ONE), ValueError, "centres must be finite; got 6 NaN"),
        ((X + 1j, Q, ONE, ONE), TypeError, "centres must be real"),
        ((X, np.ones(3), ONE, ONE), ValueError, "charges must have 2 rows, as many as centres"),
        ((X, [1, np.inf], ONE, ONE), ValueError, "charges must be finite"),
        ((X, Q, [], []), ValueError, "rates must have at least one entry"),
        ((X, Q, [-1.0], ONE), ValueError, "rates must not be negative; got -1"),
        ((X, Q, ONE, [1.0, 2.0]), ValueError, "weights must have 1 rows, as many as rates"),
        ((X, Q, [np.nan], ONE), ValueError, "rates must be finite"),
        (("places", Q, ONE, ONE), TypeError, "centres must be an array of numbers"),
    ],
)
def test_bad_sums(arguments, error, match):
    with pytest.raises(error, match=rf"GaussianSum: {match}"):
        GaussianSum(*arguments)


def test_lists_will_do():
    cloud = GaussianSum([[0, 1], [2, 3]], [1, 2], [1.0], (2.0,))
    assert cloud.dim == 2
    assert cloud(np.zeros((1, 2))) == pytest.approx(2 * np.exp(-1) + 4 * np.exp(-13), rel=1e-14)


def test_bad_uses():
    cloud = random_cloud(0)
    with pytest.raises(ValueError, match="GaussianSum: points must have 3 columns"):
        cloud(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="chebyshev_tucker: domain must have 3 rows"):
        chebyshev_tucker(cloud, [(0, 1)] * 2)
    with pytest.raises(ValueError, match="chebyshev_tucker: domain must have lower ends below upper ends"):
        chebyshev_tucker(GaussianSum([[0.0, 1.0]], [1.0], ONE, ONE))
    with pytest.raises(ValueError, match="chebyshev_tucker: degree must be an integer or 3 of them"):
        chebyshev_tucker(cloud, degree=(3, 4))
    with pytest.raises(ValueError, match="chebyshev_tucker: Gaussians must be so smooth on the domain that a core of 134217728 entries"):
        chebyshev_tucker(GaussianSum(cloud.centres, cloud.charges, [1e4], ONE), [(0, 1)] * 3)
