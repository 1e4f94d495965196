"""Bases: values, orthonormality, draws from squares, index sets, discrete and user features."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from lowrank_la import ConvergenceWarning
from lowrank_la.dpp import (
    Basis,
    Chebyshev,
    DiscreteFeatures,
    FeatureBasis,
    Fourier,
    Hermite,
    Jacobi,
    Laguerre,
    Legendre,
    TensorBasis,
    _humps,
    christoffel_sample,
    hyperbolic_cross,
    lower_set,
    margin,
    tensor_product,
    total_degree,
)
from tests.dpp import oracles_designs as oracles

FAMILIES = [
    Legendre(12),
    Legendre(7, domain=(2.0, 5.0)),
    Chebyshev(12),
    Jacobi(12, alpha=0.3, beta=2.0),
    Jacobi(9, alpha=-0.5, beta=-0.5),
    Hermite(12),
    Hermite(9, mean=3.0, deviation=0.2),
    Laguerre(12),
    Laguerre(9, alpha=-0.7),
    Laguerre(9, alpha=3.2, rate=2.0),
    Fourier(7),
    Fourier(6, domain=(-1.0, 2.0)),
    Fourier(6, complex=True),
]
POLYNOMIALS = [family for family in FAMILIES if not isinstance(family, Fourier)]
names = pytest.mark.parametrize("family", FAMILIES, ids=repr)


def recurrence(family):
    if family.family == "jacobi":
        return oracles.jacobi(family.size, *family.parameters)
    return oracles.hermite(family.size) if family.family == "hermite" else oracles.laguerre(family.size, *family.parameters)


@names
def test_functions_are_orthonormal_by_an_independent_rule(family):
    x, w = oracles.rule(family)
    V = family.eval(x)
    np.testing.assert_allclose(V.conj().T @ (w[:, None] * V), np.eye(family.size), atol=1e-11)
    np.testing.assert_allclose(family.gram(), np.eye(family.size), atol=1e-13)


@pytest.mark.parametrize("family", POLYNOMIALS, ids=repr)
def test_values_are_those_of_long_double(family):
    x = family.draw_mu(50, np.random.default_rng(0))[:, 0]
    expected = oracles.monic(*recurrence(family), (x.astype(np.longdouble) - family.shift) / family.scale)
    signs = (-1.0) ** np.arange(family.size) if family.family == "laguerre" else 1.0
    size = np.linalg.norm(expected, axis=1)[:, None]
    assert (abs(family.eval(x) - signs * expected) <= 1e-13 * size).all()


def test_families_are_the_usual_ones():
    x = np.linspace(-0.9, 0.9, 5)
    j = np.arange(6)
    np.testing.assert_allclose(Legendre(6).eval(x), special.eval_legendre(j, x[:, None]) * np.sqrt(2 * j + 1))
    np.testing.assert_allclose(Chebyshev(6).eval(x), special.eval_chebyt(j, x[:, None]) * np.where(j, 2**0.5, 1), atol=1e-14)
    np.testing.assert_allclose(
        Hermite(6).eval(3 * x), special.eval_hermitenorm(j, 3 * x[:, None]) / np.sqrt(special.factorial(j)), atol=1e-14
    )
    np.testing.assert_allclose(Laguerre(6).eval(x + 1), special.eval_laguerre(j, x[:, None] + 1), atol=1e-14)
    assert np.allclose(Jacobi(6).eval(x), Legendre(6).eval(x))
    assert np.allclose(Fourier(3, complex=True).eval([0.1]), np.exp(2j * np.pi * 0.1 * np.array([0, 1, -1])))


@pytest.mark.parametrize("size", [400, 1000])
def test_hermite_of_any_degree_is_evaluated_without_overflow(size):
    t = np.array([0.0, 1.3, -20.0, 35.0, 2 * size**0.5 - 1])
    u, log_k = Hermite(size).unit(t)
    V = oracles.monic(*oracles.hermite(size), t)
    length = np.sqrt((V**2).sum(axis=1))
    assert np.isfinite(u).all()
    np.testing.assert_allclose(u, (V / length[:, None]).astype(float), atol=1e-12)
    np.testing.assert_allclose(log_k, (2 * np.log(length)).astype(float), rtol=1e-13)
    far = Hermite(2000).eval([85.0])[0]
    assert far[0] == 1
    assert np.isinf(far[-1])
    np.testing.assert_allclose(Hermite(400).gram(), np.eye(400), atol=1e-12)


@names
def test_draws_of_squares_follow_their_law(family):
    """Means of waves under |phi_j|^2 dmu, degree by degree, against quadrature: five standard errors."""
    degrees = np.random.default_rng(1).integers(0, family.size, 40_000)
    x = family.draw_squares(degrees, np.random.default_rng(2))
    nodes, w = oracles.rule(family)
    P2 = abs(family.eval(nodes)) ** 2
    for j, rate in itertools.product(range(family.size), (0.5, 1.0, 2.5)):
        here = np.exp(1j * rate * (x[degrees == j] - family.shift) / family.scale)
        wave = np.exp(1j * rate * (nodes - family.shift) / family.scale)
        exact = np.sum(w * P2[:, j] * wave)
        for part in (np.real, np.imag):
            assert abs(part(here).mean() - part(exact)) <= 5 * part(here).std() / here.size**0.5 + 1e-9


@pytest.mark.parametrize("family", [Legendre(15), Hermite(15), Laguerre(15, alpha=0.5), Fourier(4)], ids=repr)
def test_points_of_nu_have_its_distribution(family):
    x = family.draw(20_000, np.random.default_rng(3))
    assert x.shape == (20_000, 1)
    if family.family in ("jacobi", "fourier"):
        grid = np.linspace(*(family.shift + family.scale * np.array([-1 if family.family == "jacobi" else 0, 1])), 20_001)
        grid = (grid[1:] + grid[:-1]) / 2
        cdf = np.cumsum(np.exp(family.unit(grid)[1]))
    else:
        grid = np.linspace(-12 if family.family == "hermite" else 1e-9, 12 if family.family == "hermite" else 90, 200_001)
        weight = stats.norm.pdf(grid) if family.family == "hermite" else stats.gamma.pdf(grid, 1.5)
        cdf = np.cumsum(np.exp(family.unit(grid)[1]) * weight)
    assert stats.kstest(x[:, 0], lambda t: np.interp(t, grid, cdf / cdf[-1])).pvalue > 1e-4


@names
def test_points_of_mu_have_its_distribution(family):
    x = (family.draw_mu(5000, np.random.default_rng(5))[:, 0] - family.shift) / family.scale
    law = {
        "jacobi": lambda: stats.beta(1 + family.parameters[1], 1 + family.parameters[0], loc=-1, scale=2),
        "hermite": stats.norm,
        "laguerre": lambda: stats.gamma(1 + family.parameters[0]),
        "fourier": stats.uniform,
    }[family.family]()
    assert stats.kstest(x, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    "family", [Jacobi(30, alpha=0.3, beta=2.0), Jacobi(20, alpha=-0.5), Hermite(40), Laguerre(25), Laguerre(9, alpha=-0.7)], ids=repr
)
def test_envelopes_lie_above_the_density_and_close_to_it(family):
    chart, envelope = family.chart(), _humps._envelope_of(family)
    generator = np.random.default_rng(6)
    piece = generator.integers(0, envelope.low.size, 50_000)
    y = _humps._within(envelope, piece, generator.random(piece.size))
    degree = np.repeat(np.arange(family.size), 3 * np.arange(1, family.size + 1))[piece]
    value = _humps._log_density(family, chart, degree, y)[0]
    bound = envelope.height[piece] + envelope.slope[piece] * (y - envelope.at[piece])
    assert (value <= bound + 1e-9).all()
    assert np.exp(value - bound).mean() > 0.6


def test_the_bound_of_bernstein_holds():
    t = np.cos(np.linspace(1e-4, np.pi - 1e-4, 4001))
    squares = Legendre(200).eval(t) ** 2 * np.sqrt(1 - t * t)[:, None]
    assert 0.9 < (np.pi * squares / 4).max() <= 1


def test_derivatives_of_logarithms_of_squares():
    family = Hermite(30)
    j, t = np.array([0, 1, 7, 29]), np.array([0.3, 0.4, -1.1, 2.7])
    value, slope = family.log_squares(j, t)
    np.testing.assert_allclose(value, np.log(family.eval(t)[np.arange(4), j] ** 2), atol=1e-12)
    ahead, behind = (family.log_squares(j, t + h)[0] for h in (1e-6, -1e-6))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, atol=1e-6)


def test_tensor_bases_are_products():
    basis = TensorBasis((Legendre(4), Hermite(3), Fourier(5)), [(0, 0, 0), (3, 1, 4), (2, 2, 0)])
    x = np.random.default_rng(0).uniform(-1, 1, (10, 3))
    a, b, c = Legendre(4).eval(x[:, 0]), Hermite(3).eval(x[:, 1]), Fourier(5).eval(x[:, 2])
    np.testing.assert_allclose(basis.eval(x), np.stack([a[:, 0], a[:, 3] * b[:, 1] * c[:, 4], a[:, 2] * b[:, 2]], axis=1), atol=1e-13)
    np.testing.assert_allclose(basis.gram(), np.eye(3), atol=1e-14)
    assert repr(basis) == "TensorBasis(Legendre x Hermite x Fourier, 3 functions)"
    assert basis == TensorBasis((Legendre(4), Hermite(3), Fourier(5)), np.array([(0, 0, 0), (3, 1, 4), (2, 2, 0)]))
    assert len({basis, basis, TensorBasis(Legendre(2), [(0, 1)])}) == 2
    G = np.zeros((3, 3))
    draws = basis.draw(40_000, np.random.default_rng(1))
    u, _ = basis.unit(draws)
    samples = 3 * u[:, :, None] * u[:, None, :]
    G, error = samples.mean(axis=0), samples.std(axis=0) / 200
    assert (abs(G - np.eye(3)) <= 5 * error + 1e-12).all()


@names
def test_bases_are_hashable_frozen_and_printed_on_a_line(family):
    assert hash(family) == hash(type(family)(**{f: getattr(family, f) for f in family.__dataclass_fields__}))
    assert isinstance(family, Basis)
    assert "\n" not in repr(family)
    with pytest.raises(AttributeError):
        family.size = 3


@given(dim=st.integers(1, 4), level=st.integers(0, 6))
def test_index_sets_are_those_of_their_definition(dim, level):
    box = list(itertools.product(range(level + 1), repeat=dim))
    assert set(total_degree(dim, level)) == {i for i in box if sum(i) <= level}
    assert set(hyperbolic_cross(dim, level)) == {i for i in box if np.prod([k + 1 for k in i]) <= level + 1}
    assert set(tensor_product((level,) * dim)) == set(box)
    for chosen in (total_degree(dim, level), hyperbolic_cross(dim, level)):
        assert lower_set(chosen) == chosen
        for index in margin(chosen):
            assert index not in chosen
            lower_set((*chosen, index))


def features(n=40, p=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_discrete_features_become_orthonormal(backend, dtype):
    Phi = features() + (1j * features(seed=1) if dtype is np.complex128 else 0)
    mu = np.random.default_rng(2).uniform(0, 3, 40)
    basis = DiscreteFeatures(backend.array(Phi.astype(dtype)), backend.array(mu))
    tol = 1e-5 if dtype is np.float32 else 1e-12
    Q = backend.numpy(basis.Q)
    assert Q.dtype == dtype
    assert type(basis.Q) is type(backend.array(Phi))
    np.testing.assert_allclose(Q.conj().T @ Q, np.eye(5), atol=tol)
    np.testing.assert_allclose(basis.gram(), np.eye(5), atol=tol)
    assert np.linalg.norm(basis.gram() - np.eye(5)) <= basis.defect <= 100 * tol
    c = np.arange(1.0, 6.0)
    np.testing.assert_allclose(Phi @ basis.coefficients(c), basis.eval(np.arange(40)) @ c, atol=20 * tol)
    u, log_k = basis.unit(np.arange(40))
    np.testing.assert_allclose(np.exp(log_k / 2)[:, None] * u, basis.eval(np.arange(40)), rtol=1e-9)
    assert repr(basis) == "DiscreteFeatures(40 items, 5 functions)"


def test_items_without_weight_or_features_are_never_drawn():
    Phi, mu = features(10, 3), np.ones(10)
    Phi[[0, 4, 9]], mu[[2, 8]] = 0, 0
    basis = DiscreteFeatures(Phi, mu)
    drawn = basis.draw(20_000, np.random.default_rng(0))
    assert set(drawn) == {1, 3, 5, 6, 7}
    nu = np.sum(basis.Q**2, axis=1) / 3
    assert stats.chisquare(np.bincount(drawn, minlength=10)[nu > 0], 20_000 * nu[nu > 0]).pvalue > 1e-4
    assert set(basis.draw_mu(2000, np.random.default_rng(0))) == set(range(10)) - {2, 8}
    assert np.isinf(basis.unit([0])[1]).all()


def test_dependent_features_are_dropped_and_said():
    Phi = features(30, 3)
    Phi = np.concatenate([Phi, np.zeros((30, 1)), 1e8 * Phi[:, :1] - Phi[:, 1:2]], axis=1)
    with pytest.warns(ConvergenceWarning, match=r"DiscreteFeatures: Phi has numerical rank 3 of 5; columns \[.*3.*\] are dropped"):
        basis = DiscreteFeatures(Phi)
    assert basis.size == 3
    assert 3 in basis.dropped
    assert sorted([*basis.kept, *basis.dropped]) == [0, 1, 2, 3, 4]
    c = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(Phi @ basis.coefficients(c), basis.eval(np.arange(30)) @ c, atol=1e-6)


def test_user_features_are_made_orthonormal_on_points():
    points = np.random.default_rng(0).standard_normal(3000)
    raw = lambda x: np.exp(-np.outer(x[:, 0] ** 2, [0.1, 0.5, 1.0]))  # noqa: E731
    basis = FeatureBasis(raw, points)
    np.testing.assert_allclose(basis.gram(), np.eye(3), atol=1e-12)
    x = np.array([0.3, -2.0])
    np.testing.assert_allclose(raw(x[:, None]) @ basis.coefficients(np.eye(3)), basis.eval(x), atol=1e-12)
    design = christoffel_sample(basis, 60, rng=0)
    assert design.points.shape == (60,)
    assert np.isin(design.points, points).all()
    assert design.certificate.method == "eigenvalues of G for the discretised measure"


def test_user_features_that_claim_to_be_orthonormal_are_tested():
    nodes, weights = Legendre(5).quadrature(10)
    basis = FeatureBasis(lambda x: Legendre(5).eval(x), nodes, weights, orthonormalise=False)
    np.testing.assert_allclose(basis.eval(nodes), Legendre(5).eval(nodes))
    with pytest.raises(ValueError, match=r"FeatureBasis: features must be orthonormal within tol = 1e-08; got \|\|Gram - I\|\| = 0.667"):
        FeatureBasis(lambda x: x ** np.arange(2), nodes, weights, orthonormalise=False, tol=1e-8)


WIDE = np.ones((2, 3))
BAD = [
    ("no function", lambda: Legendre(0), ValueError, "Legendre: size must be an integer of at least 1; got 0"),
    ("half a function", lambda: Hermite(2.5), TypeError, "Hermite: size must be an integer"),
    ("domain", lambda: Chebyshev(3, domain=(1, 1)), ValueError, r"Chebyshev: domain must be \(low, high\) with low < high"),
    ("infinite domain", lambda: Fourier(3, domain=(0, np.inf)), ValueError, "Fourier: domain must be"),
    ("alpha", lambda: Jacobi(3, alpha=-0.6), ValueError, "Jacobi: alpha must be a number of at least -0.5; got -0.6"),
    ("Laguerre", lambda: Laguerre(3, alpha=-1), ValueError, "Laguerre: alpha must be a number above -1"),
    ("deviation", lambda: Hermite(3, deviation=0), ValueError, "Hermite: deviation must be a number above 0"),
    ("points", lambda: Legendre(3).eval(np.ones((4, 2))), ValueError, r"Legendre.eval: x must have shape \(n, 1\); got \(4, 2\)"),
    ("NaN", lambda: Legendre(3).eval([np.nan]), ValueError, "Legendre.eval: x must be finite; got 1 NaN"),
    ("index", lambda: TensorBasis(Legendre(3), [(0, 3)]), ValueError, "TensorBasis: indices must be below 3 in coordinate 1"),
    ("families", lambda: TensorBasis([Legendre(3)] * 2, [(0, 1, 2)]), ValueError, "TensorBasis: families must be 3, one for each"),
    ("no family", lambda: TensorBasis([np.cos], [(0,)]), TypeError, "TensorBasis: families must be bases of one variable"),
    ("twice", lambda: TensorBasis(Legendre(3), [(0,), (0,)]), ValueError, r"TensorBasis: indices must be different; got \(0,\) twice"),
    ("lengths", lambda: lower_set([(0,), (0, 1)]), ValueError, "lower_set: indices must be multi-indices of one length"),
    ("hole", lambda: lower_set([(0, 0), (1, 1)]), ValueError, r"lower_set: indices must hold \(0, 1\), which is below \(1, 1\)"),
    ("negative", lambda: lower_set([(-1,)]), ValueError, "lower_set: indices must be an integer of at least 0"),
    ("no degrees", lambda: tensor_product(()), ValueError, "tensor_product: degrees must have at least one entry"),
    (
        "wide",
        lambda: DiscreteFeatures(WIDE),
        ValueError,
        r"DiscreteFeatures: Phi must have at least as many rows as columns; got shape \(2, 3\)",
    ),
    ("zero", lambda: DiscreteFeatures(0 * WIDE.T), ValueError, "DiscreteFeatures: Phi must have an entry other than 0"),
    (
        "mu",
        lambda: DiscreteFeatures(WIDE.T, [1, -1, 1]),
        ValueError,
        "DiscreteFeatures: mu must be at least 0, and above 0 somewhere; got -1 to 1",
    ),
    ("short mu", lambda: DiscreteFeatures(WIDE.T, [1.0]), ValueError, r"DiscreteFeatures: mu must have shape \(3,\)"),
    ("NaN features", lambda: DiscreteFeatures(WIDE.T * np.nan), ValueError, "DiscreteFeatures: Phi must be finite"),
    ("not callable", lambda: FeatureBasis(WIDE, WIDE), TypeError, "FeatureBasis: features must be callable; got ndarray"),
    (
        "values",
        lambda: FeatureBasis(lambda x: x[0], WIDE),
        ValueError,
        r"FeatureBasis: features must return an array \(2, p\); got shape \(3,\)",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
