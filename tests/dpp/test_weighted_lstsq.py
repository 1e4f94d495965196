"""Weighted least squares: exact recovery, stability certificates, errors estimated, enlargement, functions that fail."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.dpp import (
    Chebyshev,
    DiscreteFeatures,
    FeatureBasis,
    Fourier,
    Hermite,
    Jacobi,
    Laguerre,
    Legendre,
    TensorBasis,
    christoffel_sample,
    design_at,
    hyperbolic_cross,
    repeated_dpp,
    total_degree,
    weighted_lstsq,
)
from tests import oracles_regression
from tests.dpp import oracles_designs as oracles

BASES = [
    Legendre(10),
    Chebyshev(8, domain=(0, 3)),
    Jacobi(7, alpha=1, beta=0.5),
    Hermite(8, mean=1, deviation=2),
    Laguerre(6, alpha=0.5),
    Fourier(6),
    Fourier(5, complex=True),
    TensorBasis((Legendre(4), Hermite(4)), total_degree(2, 3)),
    TensorBasis(Legendre(8), hyperbolic_cross(3, 7)),
]
DESIGNS = ["repeated_dpp", "christoffel", "volume", "greedy"]
bump = lambda x: np.exp(-((x - 1) ** 2) / 4)  # noqa: E731
witch = lambda x: 1 / (1 + 5 * x**2)  # noqa: E731


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_functions_of_the_span_are_recovered(basis, design):
    if design == "greedy" and basis.size > 12:
        pytest.skip("the same for a small basis")
    c = np.random.default_rng(1).standard_normal(basis.size) + (
        1j if basis.eval(basis.draw_mu(1, np.random.default_rng(0))).dtype.kind == "c" else 0
    )
    result = weighted_lstsq(lambda x: basis.eval(x) @ c, basis, design=design, rng=0)
    assert abs(result.x - c).max() <= 1e-10
    assert result.residual_norm <= 1e-10
    assert result.converged
    assert np.linalg.norm(result.x - c) <= result.certificate.bound * (result.residual_norm + result.rounding)
    x = basis.draw_mu(5, np.random.default_rng(2))
    np.testing.assert_allclose(result.predict(x), basis.eval(x) @ c, atol=1e-9)


def test_coefficients_are_the_exact_solution():
    basis = Legendre(9)
    design = repeated_dpp(basis, rng=0)
    f = np.random.default_rng(0).standard_normal((design.size, 2))
    for ridge in (0.0, 0.3):
        result = weighted_lstsq(f, basis, design=design, ridge=ridge)
        A = basis.eval(design.points)
        exact = oracles_regression.solve(A, f, weights=design.weights / design.size, ridge=ridge)
        gap = np.linalg.norm(result.x - exact, axis=0).max()
        assert gap <= result.certificate.bound * result.rounding
        assert result.certificate.bound * result.rounding < 1e-10
        R = np.sqrt(design.weights / design.size)[:, None] * (f - A @ result.x)
        np.testing.assert_allclose(result.residual_norm, np.linalg.norm(R, axis=0))


@settings(max_examples=60)
@given(m=st.integers(1, 10), extra=st.integers(0, 30), ridge=st.sampled_from([0.0, 1e-3, 1.0]), seed=st.integers(0, 2**32 - 1))
def test_certificates_hold_for_every_function_of_the_span(m, extra, ridge, seed):
    """Random values and random v, and the worst ones: along the singular vector that G determines least."""
    basis, generator = Legendre(m), np.random.default_rng(seed)
    design = christoffel_sample(basis, m + extra, delta=None, rng=seed)
    f = generator.standard_normal(design.size) * 10.0 ** generator.uniform(-3, 3)
    root = np.sqrt(design.weights / design.size)
    A = root[:, None] * basis.eval(design.points)
    U, s, _ = np.linalg.svd(np.concatenate([A, math.sqrt(ridge) * np.eye(m)]), full_matrices=False)
    f = U[: design.size, -1] / root if seed % 2 and not ridge else f
    try:
        result = weighted_lstsq(f, basis, design=design, ridge=ridge)
    except ConvergenceWarning:
        assert s[-1] < 1e-7
        return
    for v in (generator.standard_normal(m), np.zeros(m)):
        apart = math.sqrt(np.sum((root * f - A @ v) ** 2) + ridge * np.sum(v**2))
        assert np.linalg.norm(v - result.x) <= result.certificate.bound * (apart + result.rounding) * (1 + 1e-12)
    if seed % 2 and not ridge and s[-1] > 1e-4:  # v = 0 attains the bound
        assert result.certificate.bound * 1.0 <= np.linalg.norm(result.x) * (1 + 1e-5)
        assert result.certificate.bound == pytest.approx(1 / s[-1], rel=1e-4)


def test_the_default_is_stable_with_few_points():
    for seed in range(20):
        result = weighted_lstsq(witch, Legendre(16), rng=seed)
        assert result.design.kind == "repeated_dpp"
        assert 32 <= result.design.size <= 48
        assert result.certificate.bound <= 0.1**-0.5 + 1e-9
        assert result.certificate.claim.startswith("||v - f^||_L2 <= bound (||f - v||_n + rounding)")


def test_errors_are_close_to_the_best():
    nodes, w = Legendre(16).quadrature(400)
    V = Legendre(16).eval(nodes)
    best = np.sqrt(np.sum(w * (witch(nodes) - V @ (V.T @ (w * witch(nodes)))) ** 2))
    for seed in range(20):
        result = weighted_lstsq(witch, Legendre(16), validate=400, rng=seed)
        error = np.sqrt(np.sum(w * (witch(nodes) - result.predict(nodes)) ** 2))
        assert best <= error <= 3 * best
        assert error / 3 <= result.loo_error <= 6 * error
        assert result.validation.low <= result.validation.error <= result.validation.high


def test_validation_intervals_cover_the_error_at_their_level():
    nodes, w = Legendre(6).quadrature(400)
    hits = 0
    for seed in range(200):
        result = weighted_lstsq(witch, Legendre(6), validate=200, rng=seed)
        error = np.sqrt(np.sum(w * (witch(nodes) - result.predict(nodes)) ** 2))
        hits += result.validation.low <= error <= result.validation.high
        assert result.validation.confidence == 0.95
        assert result.validation.size == 200
    assert hits >= 175  # 190 expected
    assert hits <= 199


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_leave_one_out_errors_are_those_of_leaving_one_out(ridge):
    basis = Legendre(5)
    design = repeated_dpp(basis, 15, rng=1)
    f = np.random.default_rng(2).standard_normal((15, 2))
    root = np.sqrt(design.weights / 15)[:, None]
    errors = oracles.leave_one_out(root * basis.eval(design.points), root * f, ridge)
    result = weighted_lstsq(f, basis, design=design, ridge=ridge)
    np.testing.assert_allclose(result.loo_error, np.linalg.norm(errors, axis=0))


def test_interpolation_on_one_sample_is_checked():
    with pytest.warns(ConvergenceWarning, match=r"one determinantal sample has lambda_min\(G\) = .* less than 1 - delta = 0.5; \"repeated"):
        result = weighted_lstsq(witch, Legendre(15), design="dpp", delta=0.5, rng=0)
    assert result.design.size == 15
    assert not result.converged
    assert result.loo_error == np.inf
    assert result.certificate.bound == pytest.approx(result.lambda_min**-0.5)
    assert weighted_lstsq(witch, Legendre(2), design="dpp", delta=0.99, rng=1).converged


def test_points_that_do_not_determine_the_function_are_said():
    design = design_at(Legendre(5), [0.1, 0.2, 0.3])
    with pytest.warns(
        ConvergenceWarning, match="weighted_lstsq: 3 points determine only 3 of 5 coefficients; x is the solution of least norm"
    ):
        result = weighted_lstsq([1.0, 2, 3], Legendre(5), design=design)
    assert not result.converged
    assert result.rank == 3
    assert result.certificate.bound == result.rounding == np.inf
    np.testing.assert_allclose(result.predict([0.1, 0.2, 0.3]), [1, 2, 3])
    root = np.sqrt(design.weights)
    expected = np.linalg.pinv(root[:, None] * Legendre(5).eval(design.points)) @ (root * [1, 2, 3])
    np.testing.assert_allclose(result.x, expected, atol=1e-10)


def test_a_ridge_bounds_the_answer_where_points_do_not():
    design = design_at(Legendre(5), [0.1, 0.2, 0.3])
    result = weighted_lstsq([1.0, 2, 3], Legendre(5), design=design, ridge=0.01)
    assert result.rank == 5
    assert result.certificate.bound == pytest.approx(10)
    assert "ridge ||v||^2" in result.certificate.claim


@pytest.mark.parametrize("m", [1, 2])
def test_smallest_bases(m):
    result = weighted_lstsq(lambda x: 3 + 0 * x, Legendre(m), rng=0)
    assert result.x[0] == pytest.approx(3)


@pytest.mark.parametrize("basis", [Hermite(400), Laguerre(150)], ids=repr)
def test_high_degrees_do_not_overflow(basis):
    design = christoffel_sample(basis, 3 * basis.size, delta=None, rng=0)
    result = weighted_lstsq(bump(design.points), basis, design=design)
    assert np.isfinite(result.x).all()
    assert result.residual_norm < 1e-8
    x = np.linspace(0, 3, 7)
    np.testing.assert_allclose(result.predict(x), bump(x), atol=1e-7)


def test_vector_valued_functions_share_the_points():
    def both(x):
        return np.stack([bump(x), witch(x)], axis=1)

    result = weighted_lstsq(both, Legendre(12), validate=100, rng=3)
    single = weighted_lstsq(witch, Legendre(12), validate=100, rng=3)
    assert result.x.shape == (12, 2)
    assert result.values.shape == (result.design.size, 2)
    np.testing.assert_allclose(result.x[:, 1], single.x, atol=1e-13)
    assert result.loo_error[1] == pytest.approx(single.loo_error)
    assert result.validation.error[1] == pytest.approx(single.validation.error)
    assert result.predict([0.1, 0.2]).shape == (2, 2)


def test_complex_values():
    result = weighted_lstsq(lambda x: np.exp(2j * x), Legendre(20), rng=0)
    assert result.x.dtype == np.complex128
    assert abs(result.predict(0.3 * np.ones(1)) - np.exp(0.6j)) < 1e-10
    real = weighted_lstsq(lambda x: np.cos(2 * np.pi * x), Fourier(5, complex=True), rng=0)
    np.testing.assert_allclose(real.x, [0, 0.5, 0.5, 0, 0], atol=1e-12)


def features(n=80, p=4, seed=0):
    return np.random.default_rng(seed).standard_normal((n, p))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_discrete_features_give_answers_of_their_kind(backend, dtype):
    Phi, c = features().astype(dtype), np.array([1.0, -2.0, 3.0, 0.5])
    b = (Phi @ c + 0.1 * np.random.default_rng(5).standard_normal(80)).astype(dtype)
    expected = weighted_lstsq(b, DiscreteFeatures(Phi), rng=2)
    result = weighted_lstsq(backend.array(b), DiscreteFeatures(backend.array(Phi)), rng=2)
    for name in ("x", "values"):
        assert backend.numpy(getattr(result, name)).dtype == dtype
    tol = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(backend.numpy(result.x), expected.x, atol=tol)
    assert result.lambda_min == pytest.approx(expected.lambda_min, rel=1e-4)
    chosen = backend.numpy(result.design.indices)
    np.testing.assert_allclose(backend.numpy(result.values), b[chosen])
    np.testing.assert_allclose(backend.numpy(result.predict(np.arange(80))), Phi @ expected.x, atol=10 * tol)
    values = backend.array(b[chosen])
    again = weighted_lstsq(values, DiscreteFeatures(backend.array(Phi)), design=result.design)
    np.testing.assert_allclose(backend.numpy(again.x), expected.x, atol=tol)


def test_functions_of_items_get_indices(backend):
    Phi, seen = features(), []
    b = backend.array(Phi @ np.ones(4))

    def f(indices):
        seen.append(backend.numpy(indices))
        return backend.array(backend.numpy(b)[seen[-1]])

    result = weighted_lstsq(f, DiscreteFeatures(backend.array(Phi)), validate=10, rng=0)
    np.testing.assert_allclose(backend.numpy(result.x), np.ones(4))
    assert len(seen) == 2
    assert seen[0].dtype == np.int64


def test_certificates_of_discrete_features_hold_on_the_items():
    for seed in range(40):
        Phi, mu = features(seed=seed), np.random.default_rng(seed).uniform(0, 1, 80)
        b = np.random.default_rng(seed + 1).standard_normal(80)
        basis = DiscreteFeatures(Phi, mu)
        result = weighted_lstsq(b, basis, rng=seed)
        v = Phi @ np.linalg.lstsq(np.sqrt(mu)[:, None] * Phi, np.sqrt(mu) * b)[0]
        apart = np.sqrt(np.sum(mu * (v - Phi @ result.x) ** 2))
        chosen = result.design.indices
        distance = np.sqrt(np.mean(result.design.weights * (b - v)[chosen] ** 2))
        assert apart <= result.certificate.bound * (distance + result.rounding)


def test_dependent_features_get_zero_coefficients():
    Phi = features()
    with pytest.warns(ConvergenceWarning, match="rank 4 of 5"):
        basis = DiscreteFeatures(np.concatenate([Phi, Phi[:, :1] + Phi[:, 1:2]], axis=1))
    result = weighted_lstsq(Phi @ np.ones(4), basis, rng=0)
    assert result.x.shape == (5,)
    assert np.sum(result.x == 0) >= 1
    np.testing.assert_allclose(np.concatenate([Phi, Phi[:, :1] + Phi[:, 1:2]], axis=1) @ result.x, Phi @ np.ones(4), atol=1e-10)


def test_user_features():
    points = np.random.default_rng(0).standard_normal((2000, 2))
    basis = FeatureBasis(lambda x: np.stack([np.ones(len(x)), np.sin(x[:, 0]), np.cos(x[:, 1])], axis=1), points)
    result = weighted_lstsq(lambda x: 2 + np.sin(x[:, 0]) - 3 * np.cos(x[:, 1]), basis, validate=50, rng=0)
    np.testing.assert_allclose(result.x, [2, 1, -3], atol=1e-10)
    assert result.validation.error < 1e-10


def test_enlargement_recycles_all_points():
    first = weighted_lstsq(witch, Legendre(8), rng=0)
    called = []

    def f(x):
        called.append(x.size)
        return witch(x)

    result = first.enlarge(f, Legendre(20), rng=1)
    n = first.design.size
    assert np.array_equal(result.design.points[:n], first.design.points)
    assert called == [result.design.size - n]
    assert result.design.size <= 4 * 20
    assert result.converged
    assert result.lambda_min >= 0.1
    assert result.loo_error < first.loo_error / 30
    assert result.basis.indices == tuple((j,) for j in range(20))
    V, w = result.basis.eval(result.design.points), result.design.weights
    G = (V * w[:, None]).T @ V / result.design.size
    np.testing.assert_allclose(result.design.gram_eigs, np.linalg.eigvalsh(G), atol=1e-10)
    again = result.enlarge(witch, Legendre(30), rng=2)
    assert again.loo_error < result.loo_error / 10


def test_weights_of_enlarged_designs_keep_the_gram_matrix_unbiased():
    """With and without a share of old points that matches their functions."""
    G = []
    for seed in range(150):
        first = weighted_lstsq(lambda x: 0 * x, Legendre(3), 7, delta=0.99, rng=seed)
        result = first.enlarge(lambda x: 0 * x, Legendre(5), delta=0.999999, rng=seed + 1000)
        V = result.basis.eval(result.design.points)
        G.append((V * result.design.weights[:, None]).T @ V / result.design.size)
    G = np.array(G)
    assert (abs(G.mean(axis=0) - np.eye(5)) <= 5 * G.std(axis=0) / 150**0.5 + 0.03).all()  # conditioning leaves a small bias


def test_functions_with_large_coefficients_join():
    f = lambda x: np.exp(2 * x[:, 0]) + 0.01 * x[:, 1]  # noqa: E731
    result = weighted_lstsq(f, TensorBasis(Legendre(2), total_degree(2, 1)), rng=0)
    for step in range(4):
        result = result.enlarge(f, add=1, rng=step)
    assert set(result.basis.indices) == {(0, 0), (1, 0), (0, 1), (2, 0), (3, 0), (4, 0), (5, 0)}
    assert result.loo_error < 0.05


def test_missing_values_name_the_point():
    with pytest.raises(
        ValueError,
        match=r"weighted_lstsq: f must be finite; got NaN or infinite values at \d+ of 20 points, the first is point \d+, at 0\.",
    ) as caught:
        weighted_lstsq(lambda x: np.sqrt(np.where(x > 0, np.nan, 1)), Legendre(10), rng=0)
    place = int(str(caught.value).split("point ")[-1].split(",")[0])
    points = repeated_dpp(Legendre(10), rng=0).points
    assert points[place] > 0
    assert (points[:place] <= 0).all()


def test_functions_that_raise_name_the_point():
    def f(x):
        if (x > 0.5).any():
            raise ZeroDivisionError("no")
        return x

    with pytest.raises(
        ValueError, match=r"f must return values at the points; it raised ZeroDivisionError, the first is point \d+, at 0\."
    ) as caught:
        weighted_lstsq(f, Legendre(10), rng=0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def together(x):
        raise RuntimeError if x.size > 1 else OSError

    with pytest.raises(ValueError, match="it raised RuntimeError, the first is point 0"):
        weighted_lstsq(together, Legendre(3), rng=0)
    with pytest.raises(ValueError, match="on all points together, though on none alone"):
        weighted_lstsq(lambda x: x / (1 if x.size == 1 else {}), Legendre(3), rng=0)


def test_points_without_values_are_redrawn_only_if_independent():
    f = lambda x: np.where(x > 0.5, np.nan, x**2)  # noqa: E731
    result = weighted_lstsq(f, Legendre(4), design="christoffel", missing="redraw", rng=0)
    assert (result.design.points <= 0.5).all()
    assert result.design.size == christoffel_sample(Legendre(4), rng=0).size
    np.testing.assert_allclose(result.predict([0.9]), [0.81])
    same = weighted_lstsq(lambda x: x, Legendre(4), design="christoffel", missing="redraw", rng=0)
    assert np.array_equal(same.design.points, weighted_lstsq(lambda x: x, Legendre(4), design="christoffel", rng=0).design.points)
    with pytest.raises(ValueError, match="f must be finite somewhere; got no value at point 0 in 100 draws"):
        weighted_lstsq(lambda x: x * np.nan, Legendre(4), design="christoffel", missing="redraw", rng=0)


def test_same_seeds_give_the_same_answer():
    first, again = (weighted_lstsq(witch, Legendre(9), validate=5, rng=4) for _ in range(2))
    assert np.array_equal(first.x, again.x)
    assert first.validation == again.validation
    text = repr(first)
    assert text.startswith("WeightedLstsqResult\n  x = float64 array (9,)\n  basis = Legendre(size=9")
    assert len(text.splitlines()) < 20


STRICT = pytest.importorskip("array_api_strict")
DESIGN = design_at(Legendre(3), [0.1, 0.2, 0.4, 0.6])
RESULT = weighted_lstsq([1.0, 2, 3, 4], Legendre(3), design=DESIGN)
DISCRETE = DiscreteFeatures(features())
BAD = [
    ("basis", lambda: weighted_lstsq(witch, np.ones((3, 2))), TypeError, "weighted_lstsq: basis must be a basis such as Legendre"),
    (
        "design",
        lambda: weighted_lstsq(witch, Legendre(3), design="sobol"),
        ValueError,
        "weighted_lstsq: design must be one of 'repeated_dpp'",
    ),
    ("few", lambda: weighted_lstsq(witch, Legendre(3), 2), ValueError, "repeated_dpp: n must be an integer of at least 3; got 2"),
    (
        "n of dpp",
        lambda: weighted_lstsq(witch, Legendre(3), 4, design="dpp"),
        ValueError,
        "weighted_lstsq: n must be an integer between 3 and 3",
    ),
    (
        "n of design",
        lambda: weighted_lstsq(witch, Legendre(3), 5, design=DESIGN),
        ValueError,
        "n must be an integer between 4 and 4; got 5",
    ),
    ("delta", lambda: weighted_lstsq(witch, Legendre(3), delta=1), ValueError, "weighted_lstsq: delta must be a number between 0 and 1"),
    ("ridge", lambda: weighted_lstsq(witch, Legendre(3), ridge=-1), ValueError, "weighted_lstsq: ridge must be a number of at least 0"),
    ("validate", lambda: weighted_lstsq(witch, Legendre(3), validate=-1), ValueError, "weighted_lstsq: validate must be an integer of at"),
    ("no design", lambda: weighted_lstsq([1.0], Legendre(3)), ValueError, "weighted_lstsq: f must be callable, or a Design must say where"),
    (
        "values",
        lambda: weighted_lstsq([1.0], Legendre(3), design=DESIGN),
        ValueError,
        "weighted_lstsq: f must have 4 rows, as many as there are",
    ),
    (
        "NaN",
        lambda: weighted_lstsq([1, 2, np.nan, 4], Legendre(3), design=DESIGN),
        ValueError,
        "weighted_lstsq: f must be finite; got 1 NaN",
    ),
    (
        "validated values",
        lambda: weighted_lstsq([1, 2, 3, 4], Legendre(3), design=DESIGN, validate=3),
        ValueError,
        "f must be callable for validate",
    ),
    (
        "shape",
        lambda: weighted_lstsq(lambda x: x[0], Legendre(3), rng=0),
        ValueError,
        "weighted_lstsq: f must be 1-dimensional or 2-dimensional",
    ),
    ("length", lambda: weighted_lstsq(lambda x: x[:2], Legendre(3), rng=0), ValueError, "weighted_lstsq: f must have 6 rows"),
    ("words", lambda: weighted_lstsq(lambda x: ["a"] * 6, Legendre(3), rng=0), TypeError, "weighted_lstsq: f must be an array of numbers"),
    (
        "redraw",
        lambda: weighted_lstsq(witch, Legendre(3), missing="redraw"),
        ValueError,
        'missing must be "raise" unless design is "christoffel"',
    ),
    ("items", lambda: weighted_lstsq(np.ones(3), DISCRETE), ValueError, "weighted_lstsq: f must have 80 rows"),
    ("library", lambda: weighted_lstsq(STRICT.ones(80), DISCRETE), TypeError, "weighted_lstsq: arrays must belong to one library"),
    (
        "smaller",
        lambda: RESULT.enlarge(witch, Legendre(2)),
        ValueError,
        r"enlarge: basis must have all present functions and new ones; it lacks \(2,\)",
    ),
    (
        "same",
        lambda: RESULT.enlarge(witch, Legendre(3)),
        ValueError,
        "enlarge: basis must have all present functions and new ones; it has no other",
    ),
    ("other", lambda: RESULT.enlarge(witch, Hermite(4)), ValueError, "enlarge: basis must have the families of"),
    ("both", lambda: RESULT.enlarge(witch, Legendre(4), add=1), ValueError, "enlarge: add must not be given with a basis; got 1"),
    ("too many", lambda: RESULT.enlarge(witch, add=2), ValueError, "enlarge: add must be an integer between 1 and 1; got 2"),
    (
        "discrete",
        lambda: weighted_lstsq(np.ones(80), DISCRETE, rng=0).enlarge(witch),
        TypeError,
        "enlarge: basis must be a family or a TensorBasis",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
