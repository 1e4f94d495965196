"""Independent optimal points: sizes from theory, conditioning, the best of several draws, greedy removal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.dpp import (
    DiscreteFeatures,
    Fourier,
    Hermite,
    Laguerre,
    Legendre,
    TensorBasis,
    christoffel_sample,
    design_at,
    hyperbolic_cross,
    weighted_lstsq,
)
from lowrank_la.dpp._design import sites_at, sites_of, slack
from lowrank_la.dpp._greedy import downdated, thinned
from tests.dpp import oracles_designs as oracles

BASES = [Legendre(8), Hermite(6), Laguerre(5), Fourier(5, complex=True), TensorBasis(Legendre(5), hyperbolic_cross(2, 4))]


def gram_of(basis, design):
    V = basis.eval(design.points)
    return (V.conj() * design.weights[:, None]).T @ V / design.size


def test_default_sizes_are_those_of_the_theory():
    assert christoffel_sample(Legendre(11), rng=0).size == 265
    assert christoffel_sample(Legendre(11), best_of=100, rng=0).size == 108
    assert christoffel_sample(Legendre(11), delta=0.5, eta=0.1, rng=0).size == 549  # 11 log(220) / 0.10820


def test_the_promised_stability_is_reached():
    """At most 1 of 100 draws may fail at the default size; theory is pessimistic, so that none does."""
    bounds = [christoffel_sample(Legendre(11), 265, delta=None, rng=seed).certificate.bound for seed in range(300)]
    assert max(bounds) <= 0.9


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_weights_make_the_gram_matrix_unbiased(basis):
    design = christoffel_sample(basis, 40_000, delta=None, rng=1)
    u, _ = basis.unit(design.points)
    terms = basis.size * u.conj()[:, :, None] * u[:, None, :]
    assert (abs(terms.mean(axis=0) - np.eye(basis.size)) <= 5 * terms.std(axis=0) / 200 + 1e-12).all()
    np.testing.assert_allclose(gram_of(basis, design), terms.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(design.weights, basis.size / np.sum(abs(basis.eval(design.points)) ** 2, axis=1))


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_certificates_are_distances_by_brute_force(basis):
    design = christoffel_sample(basis, 60, delta=None, rng=2)
    apart = np.linalg.norm(gram_of(basis, design) - np.eye(basis.size), 2)
    assert apart <= design.certificate.bound <= apart + 1e-11
    assert design.lambda_min == pytest.approx(np.linalg.eigvalsh(gram_of(basis, design))[0])


@pytest.mark.parametrize("m", [5, 60, 150])
def test_certificates_include_rounding(m):
    """G in long double, at points up to the ends of the interval, where the recurrence loses most."""
    basis = Legendre(m)
    x = basis.quadrature(2 * m)[0]
    V = oracles.monic(*oracles.jacobi(m, 0, 0), x)
    V = V / np.sqrt((V**2).sum(axis=1))[:, None]
    sites = sites_at(basis, x[:, None])
    G = V.T @ V * m / x.size
    gap = float(np.sqrt(((sites.gram - G) ** 2).sum()))
    assert gap <= slack(basis, x.size, design_at(basis, x).lambda_max) <= 1e-10


def test_conditioning_draws_until_the_test_is_passed():
    trials = []
    for seed in range(40):
        design = christoffel_sample(Legendre(10), 40, rng=seed)
        assert design.converged
        assert design.certificate.bound <= 0.9
        trials.append(design.trials)
    assert 1.1 < np.mean(trials) < 2.2  # two thirds of the draws pass


def test_what_cannot_pass_is_said():
    with pytest.warns(ConvergenceWarning, match=r"christoffel_sample: 9 points have .* more than delta = 0.9, after 3 draws"):
        design = christoffel_sample(Legendre(10), 9, max_trials=3, rng=0)
    assert not design.converged
    assert design.lambda_min < 1e-12
    assert design.certificate.bound >= 1


def test_the_best_of_many_is_better():
    one = [christoffel_sample(Legendre(10), 40, delta=None, rng=seed).certificate.bound for seed in range(20)]
    best = [christoffel_sample(Legendre(10), 40, delta=None, best_of=30, rng=seed).certificate.bound for seed in range(20)]
    assert max(best) < np.median(one)


def test_points_are_left_out_only_while_the_test_is_passed():
    for seed, basis in enumerate(BASES):
        full = christoffel_sample(basis, 20 * basis.size, best_of=5, rng=seed)
        thin = christoffel_sample(basis, 20 * basis.size, best_of=5, subsample=True, rng=seed)
        some = christoffel_sample(basis, 20 * basis.size, best_of=5, subsample=4 * basis.size, rng=seed)
        assert basis.size <= thin.size <= 2 * basis.size
        assert some.size == 4 * basis.size
        assert set(map(tuple, np.reshape(thin.points, (thin.size, -1)))) <= set(map(tuple, np.reshape(full.points, (full.size, -1))))
        for design in (full, some, thin):
            assert np.linalg.norm(gram_of(basis, design) - np.eye(basis.size), 2) <= design.certificate.bound <= 0.9


@given(m=st.integers(1, 8), count=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_downdated_eigenvalues_are_those_of_lapack(m, count, seed):
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((count + m, m)) * 10.0 ** generator.uniform(-3, 3, m)
    rows[0, generator.random(m) < 0.5] = 0
    S = rows.T @ rows
    d, V = np.linalg.eigh(S)
    least, largest = downdated(d, (rows @ V) ** 2)
    for i, row in enumerate(rows):
        values = np.linalg.eigvalsh(S - np.outer(row, row))
        assert abs(least[i] - values[0]) <= 1e-12 * d[-1]
        assert abs(largest[i] - values[-1]) <= 1e-12 * d[-1]


def test_the_best_point_is_removed_first():
    basis = Legendre(6)
    sites = sites_of(basis, christoffel_sample(basis, 30, delta=None, rng=5))
    left = thinned(sites, 29, 0.9)
    apart = []
    for i in range(30):
        rows = np.delete(sites.rows, i, axis=0)
        apart.append(np.linalg.norm(rows.T @ rows / 29 - np.eye(6), 2))
    assert np.linalg.norm(left.gram - np.eye(6), 2) == pytest.approx(min(apart))


def test_expected_errors_of_conditioned_designs_obey_their_bound():
    """E ||f - f^||^2 <= (1 + m / (n (1 - delta)^2 P)) e^2, with the square of the best error e."""
    m, n, delta = 6, 40, 0.5
    f = lambda x: np.abs(x - 0.2)  # noqa: E731
    nodes, w = Legendre(m).quadrature(2000)
    V = Legendre(m).eval(nodes)
    best = np.sum(w * (f(nodes) - V @ (V.T @ (w * f(nodes)))) ** 2)
    errors, draws = [], 0
    for seed in range(300):
        design = christoffel_sample(Legendre(m), n, delta=delta, max_trials=1000, rng=seed)
        result = weighted_lstsq(f(design.points), Legendre(m), design=design)
        errors.append(np.sum(w * (f(nodes) - result.predict(nodes)) ** 2))
        draws += design.trials
    assert best <= np.mean(errors) <= (1 + m / (n * (1 - delta) ** 2 * 300 / draws)) * best


def test_discrete_designs_come_in_the_kind_of_the_features(backend):
    Phi = np.random.default_rng(0).standard_normal((300, 4))
    expected = christoffel_sample(DiscreteFeatures(Phi), 100, rng=3)
    design = christoffel_sample(DiscreteFeatures(backend.array(Phi)), 100, rng=3)
    assert design.points is None
    assert np.array_equal(backend.numpy(design.indices), expected.indices)
    np.testing.assert_allclose(backend.numpy(design.weights), expected.weights)
    assert design.certificate.bound == pytest.approx(expected.certificate.bound)
    Q = np.linalg.qr(Phi)[0]
    np.testing.assert_allclose(expected.weights, 4 / 300 / np.sum(Q[expected.indices] ** 2, axis=1))


def test_a_seed_gives_the_same_points():
    first, again, other = (christoffel_sample(Hermite(9), rng=seed) for seed in (7, 7, 8))
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)


def test_one_constant_function():
    design = christoffel_sample(Legendre(1), 1, rng=0)
    assert design.weights == 1
    assert design.certificate.bound < 1e-14


BAD = [
    ("n", {"n": 0}, ValueError, "christoffel_sample: n must be an integer of at least 1; got 0"),
    ("delta", {"delta": 1.0}, ValueError, "christoffel_sample: delta must be a number between 0 and 1, ends excluded"),
    ("eta", {"eta": 0}, ValueError, "christoffel_sample: eta must be a number between 0 and 1, ends excluded; got 0"),
    ("trials", {"max_trials": 0}, ValueError, "christoffel_sample: max_trials must be an integer of at least 1"),
    ("best", {"best_of": 1.5}, TypeError, "christoffel_sample: best_of must be an integer"),
    ("subsample", {"subsample": 0}, ValueError, "christoffel_sample: subsample must be an integer of at least 1"),
    ("untested", {"subsample": True, "delta": None}, ValueError, "christoffel_sample: delta must be a number if points are to be left out"),
    ("rng", {"rng": "x"}, TypeError, "christoffel_sample: rng must be None, an int or"),
]


@pytest.mark.parametrize(("kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        christoffel_sample(Legendre(5), **kwargs)
