"""Potentials and energies of point charges against direct sums in long double: the certificate holds, and is not absurd."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.functions import ParticlePotential, particle_potential


def direct(points, X, charges, diagonal):
    """The potential, and the one that the certificate refers to."""
    r = np.sqrt(np.sum((points.astype(np.longdouble)[:, None, :] - X.astype(np.longdouble)) ** 2, axis=2))
    apart = r > 0
    inverse = np.where(apart, 1 / np.where(apart, r, 1), 0)
    return inverse @ charges, np.where(apart, inverse, 1 / np.longdouble(diagonal)) @ np.abs(charges)


def cloud(n, d=3, seed=0, signed=True):
    rng = np.random.default_rng(seed)
    return rng.random((n, d)), rng.standard_normal(n) if signed else rng.random(n)


def places(potential, n=60, seed=1):
    """Points of the domain, its corners, particles, and points close to particles."""
    low, high = potential.domain.T
    rng, X = np.random.default_rng(seed), np.asarray(potential.centres, dtype=np.float64)
    inside = low + (high - low) * rng.random((n, len(low)))
    near = np.clip(X[:20] + 1e-6 * rng.standard_normal(X[:20].shape), low, high)
    return np.concatenate([inside, low[None], high[None], X[:20], near])


def relative_error(potential, X, charges, points=None):
    points = places(potential) if points is None else points
    V, size = direct(points, X, charges, np.linalg.norm(potential.domain[:, 1] - potential.domain[:, 0]))
    return float(np.max(np.abs(potential(points) - V) / size))


@settings(max_examples=120)
@given(
    n=st.integers(1, 80),
    d=st.integers(1, 3),
    digits=st.floats(1, 9),
    span=st.one_of(st.none(), st.floats(0.05, 1)),
    scale=st.floats(-6, 6),
    seed=st.integers(0, 10**6),
)
def test_errors_are_within_the_certificate(n, d, digits, span, scale, seed):
    X, charges = cloud(n, d, seed, signed=seed % 3 > 0)
    X, tol = X * 10.0**scale, 10.0**-digits
    domain = np.stack([X.min(axis=0) - 10.0**scale * 0.1, X.max(axis=0) + 10.0**scale * 0.2], axis=1)
    cutoff = None if span is None else span * float(np.linalg.norm(domain[:, 1] - domain[:, 0]))
    potential = particle_potential(X, charges, tol=tol, domain=domain, cutoff=cutoff)
    assert potential.converged
    assert relative_error(potential, X, charges) <= potential.certificate.bound <= tol


@pytest.mark.parametrize("signed", [True, False])
def test_the_certificate_is_not_absurdly_loose(signed):
    X, charges = cloud(400, seed=2, signed=signed)
    for tol in (1e-4, 1e-7, 1e-10):
        potential = particle_potential(X, charges, tol=tol, cutoff=0.4)
        assert potential.certificate.bound / 1000 <= relative_error(potential, X, charges) <= potential.certificate.bound


def test_a_lone_pair_is_bounded_tightly():
    """Where one particle dominates, the error of the quadrature shows."""
    X, charges = np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([1.0, 0.0])
    potential = particle_potential(X, charges, tol=1e-5, cutoff=0.1)
    line = np.stack([np.linspace(0.1, 1, 500), np.zeros(500), np.zeros(500)], axis=1)
    assert 0.1 * potential.certificate.bound <= relative_error(potential, X, charges, line) <= potential.certificate.bound


@pytest.mark.parametrize("cutoff", [None, 0.3, 0.8])
@pytest.mark.parametrize("tol", [1e-5, 1e-9])
def test_energy(cutoff, tol):
    X, charges = cloud(150, seed=3)
    potential = particle_potential(X, charges, tol=tol, cutoff=cutoff)
    V, size = direct(X, X, charges, np.linalg.norm(potential.domain[:, 1] - potential.domain[:, 0]))
    assert abs(potential.energy() - 0.5 * (charges @ V)) <= potential.certificate.bound * 0.5 * (np.abs(charges) @ size)


def test_long_and_short_range_add_up():
    X, charges = cloud(200)
    potential = particle_potential(X, charges, cutoff=0.2)
    x = places(potential)
    np.testing.assert_allclose(potential.long(x) + potential.short(x), potential(x), rtol=1e-12)
    far = np.array([[0.5, 0.5, 0.5]])
    hollow = X[np.linalg.norm(X - far, axis=1) > 0.21], charges[np.linalg.norm(X - far, axis=1) > 0.21]
    assert particle_potential(*hollow, cutoff=0.2).short(far) == 0


def test_field_of_the_long_range_part():
    """Beyond the cut-off, derivatives of the smooth part are those of the potential."""
    X, charges = np.array([[0.0, 0, 0], [1, 1, 1]]), np.array([1.0, 0.0])
    potential = particle_potential(X, charges, tol=1e-9, cutoff=0.2)
    x = np.array([[0.5, 0.3, 0.4]])
    assert potential.long.derivative(0)(x) == pytest.approx(-0.5 / np.linalg.norm(x) ** 3, rel=1e-4)


def test_madelung_constant_of_rock_salt():
    """The potential at the centre of a neutral cube of ions, whose face charges count half, tends to 1.747564594633."""
    n = 8
    axis = np.arange(-n, n + 1)
    X = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    charges = (-1.0) ** X.sum(axis=1) * np.prod(np.where(np.abs(X) == n, 0.5, 1.0), axis=1)
    potential = particle_potential(X.astype(float), charges, tol=1e-9)
    V, _ = direct(np.zeros((1, 3)), X, charges, 1.0)
    assert potential(np.zeros(3)) == pytest.approx(float(V[0]), abs=1e-5)
    assert -potential(np.zeros(3)) == pytest.approx(1.7475645946, abs=1e-4)


def test_particles_at_one_place():
    X, charges = np.array([[0.0, 0, 0], [0, 0, 0], [1, 0, 0]]), np.array([1.0, 2.0, 4.0])
    potential = particle_potential(X, charges, tol=1e-9)
    assert potential(np.array([1.0, 0, 0])) == pytest.approx(3, rel=1e-8)
    assert potential(np.array([0.0, 0, 0])) == pytest.approx(4, rel=1e-8)
    with pytest.raises(ValueError, match=r"ParticlePotential.energy: charged particles must be at different places; got 1 at"):
        potential.energy()
    neutral = particle_potential(X, np.array([0.0, 2.0, 4.0]), tol=1e-9)
    assert neutral.energy() == pytest.approx(8, rel=1e-8)


def test_few_particles():
    one = particle_potential(np.array([[2.0, 3.0, 4.0]]), np.array([-2.0]))
    assert one(np.array([2.0, 3.0, 5.0])) == pytest.approx(-2, rel=1e-6)
    assert abs(one(np.array([2.0, 3.0, 4.0]))) < 1e-7
    assert abs(one.energy()) < 1e-7
    nothing = particle_potential(np.zeros((3, 2)), np.zeros(3))
    assert nothing.energy() == 0
    assert nothing(np.array([[0.5, 0.5]])) == 0
    flat = particle_potential(np.array([[0.0, 0, 5], [1, 0, 5]]), np.ones(2))
    assert flat.energy() == pytest.approx(1, rel=1e-6)


def test_backends(backend):
    X, charges = cloud(100)
    potential = particle_potential(backend.array(X), backend.array(charges), cutoff=0.5)
    expected = particle_potential(X, charges, cutoff=0.5)
    x = places(expected)
    np.testing.assert_allclose(backend.numpy(potential(backend.array(x))), expected(x), rtol=1e-9, atol=1e-9)
    assert potential.energy() == pytest.approx(expected.energy(), rel=1e-9)
    assert potential.certificate.bound == pytest.approx(expected.certificate.bound, rel=1e-3)
    assert type(potential.long.core) is type(potential.charges) is type(backend.array(x))


def test_shapes_and_float32():
    X, charges = (x.astype(np.float32) for x in cloud(100, signed=False))
    potential = particle_potential(X, charges)
    assert potential.converged
    assert 1e-7 < potential.certificate.bound < 1e-6
    x = places(potential).astype(np.float32)[:60].reshape(4, 15, 3)
    V = potential(x)
    assert V.shape == (4, 15)
    assert V.dtype == np.float32
    expected, size = direct(x.reshape(-1, 3), X, charges, 1.0)
    assert np.all(np.abs(V.ravel() - expected) <= potential.certificate.bound * size)
    assert potential(x[0, 0].astype(np.float64)).dtype == np.float64
    assert potential(x[:0]).shape == (0, 15)
    corner = potential.domain[:, 1].astype(np.float32)
    assert np.any(corner > potential.domain[:, 1])
    assert np.isfinite(potential(corner))


def test_saved_potentials_are_the_same(tmp_path):
    X, charges = cloud(80)
    potential = particle_potential(X, charges, cutoff=0.4)
    potential.save(tmp_path / "potential.npz")
    again = ParticlePotential.load(tmp_path / "potential.npz")
    x = places(potential)
    assert np.array_equal(again(x), potential(x))
    assert again.certificate == potential.certificate
    assert repr(again) == repr(potential)
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(ValueError, match=r"ParticlePotential.load: .*other.npz must be a file that ParticlePotential.save wrote"):
        ParticlePotential.load(tmp_path / "other.npz")


def test_same_answer_for_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    X, charges = cloud(300)
    threads, answers = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            potential = particle_potential(X, charges, cutoff=0.4)
            answers.append(potential(places(potential)))
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_allclose(*answers, rtol=1e-12, atol=1e-11)


def test_inputs_are_not_modified():
    X, charges = cloud(50)
    before = X.copy(), charges.copy()
    potential = particle_potential(X[::-1], charges[::-1])
    potential(X)
    assert np.array_equal(X, before[0])
    assert np.array_equal(charges, before[1])


def test_tolerances_out_of_reach_are_said():
    X, charges = cloud(100)
    with pytest.warns(ConvergenceWarning, match=r"particle_potential: the relative error is bounded by .*, more than tol = 1e-12"):
        potential = particle_potential(X, charges, tol=1e-12, cutoff=0.4)
    assert not potential.converged
    assert relative_error(potential, X, charges) <= potential.certificate.bound < 1e-9


GOOD, ONES = np.random.default_rng(0).random((5, 3)), np.ones(5)
BAD = [
    ("none", (np.zeros((0, 3)), np.zeros(0)), {}, ValueError, "X must have at least one entry"),
    ("vector", (np.zeros(3), ONES), {}, ValueError, "X must be 2-dimensional"),
    ("four columns", (np.zeros((5, 4)), ONES), {}, ValueError, r"X must have 1 to 3 columns, the coordinates; got shape \(5, 4\)"),
    ("short charges", (GOOD, np.ones(4)), {}, ValueError, "charges must have 5 rows, as many as X"),
    ("NaN place", (GOOD * np.nan, ONES), {}, ValueError, "X must be finite; got 15 NaN"),
    ("NaN charge", (GOOD, ONES * np.inf), {}, ValueError, "charges must be finite; got 5 NaN"),
    ("complex", (GOOD, ONES + 1j), {}, TypeError, "charges must be real"),
    ("words", ("places", ONES), {}, TypeError, "X must be an array of numbers"),
    ("tol", (GOOD, ONES), {"tol": 0}, ValueError, "tol must be a number between 1e-12 and 0.1"),
    ("outside", (GOOD, ONES), {"domain": [(0, 1), (0, 1), (0, 0.5)]}, ValueError, "domain must hold all particles; got particle 1 at"),
    ("empty domain", (GOOD, ONES), {"domain": [(0, 0)] * 3}, ValueError, "domain must have lower ends below upper ends"),
    ("domain", (GOOD, ONES), {"domain": [(0, 1)] * 2}, ValueError, "domain must have 3 rows"),
    ("zero cutoff", (GOOD, ONES), {"cutoff": 0.0}, ValueError, "cutoff must be a number between"),
    ("long cutoff", (GOOD, ONES), {"cutoff": 10.0}, ValueError, "cutoff must be a number between"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "match"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_particles(arguments, options, error, match):
    with pytest.raises(error, match=rf"particle_potential: {match}"):
        particle_potential(*arguments, **options)


def test_bad_points():
    potential = particle_potential(GOOD, ONES)
    with pytest.raises(ValueError, match=r"ParticlePotential: points must lie in the domain, .* along axis 0; got 7 at point 0"):
        potential(np.array([7.0, 0.5, 0.5]))
    with pytest.raises(ValueError, match="ParticlePotential: points must have a last axis of length 3"):
        potential(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="ParticlePotential: points must be finite"):
        potential(np.array([np.nan, 0.5, 0.5]))
    with pytest.raises(TypeError, match="ParticlePotential: points must be real"):
        potential(np.zeros((4, 3)) + 1j)
