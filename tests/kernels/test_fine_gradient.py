"""The double-length gradient is correct to the last digit where plain arithmetic has none left."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from lowrank_la import limit_threads
from lowrank_la.kernels import fine_gradient
from lowrank_la.kernels._engine import use_engine

exact_number = np.vectorize(Fraction, otypes=[object])


def exact(A, X, B, scale):
    """Gradient and squared norms in rational arithmetic."""
    A, X, B = (exact_number(x) for x in (A, X, B))
    w = exact_number(np.ones(A.shape[0]) if scale is None else scale)
    R = (B - A.dot(X)) * w[:, None]
    return A.T.dot(R * w[:, None]).astype(float), (R * R).sum(axis=0).astype(float)


def problem(n=150, d=7, k=2, seed=0):
    """A residual that is all rounding: the plain gradient has no correct digit."""
    rng = np.random.default_rng(seed)
    A, X = rng.standard_normal((n, d)), rng.standard_normal((d, k))
    return A, X, A @ X, rng.random(n)


WAYS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": lambda A: np.repeat(A, 2, axis=1)[:, ::2],
    "reversed": lambda A: A[::-1].copy()[::-1],
    "csr": sp.csr_array,
    "csc": sp.csc_array,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_correct_to_the_last_digit(engine, weighted, way):
    A, X, B, scale = problem()
    scale = scale if weighted else None
    g, r2 = exact(A, X, B, scale)
    run = fine_gradient.csr if way in {"csr", "csc"} else fine_gradient.gradient
    with use_engine(engine):
        high, low, norms = run(WAYS[way](A), X, B, scale)
    np.testing.assert_allclose(high + low, g, rtol=1e-15, atol=2.0**-100)
    np.testing.assert_allclose(norms, r2, rtol=1e-12)


def test_stays_within_its_rounding_model():
    A, X, B, _ = problem(5000, 11, 1)
    g, _ = exact(A, X, B, None)
    high, low, _ = fine_gradient.gradient(A, X, B, None)
    u = 2.0**-53
    R = abs(B - A @ X) + 40 * u * (abs(B) + abs(A) @ abs(X))
    allowed = (3 * 11 + 10) ** 2 * u**2 * (abs(A).T @ (abs(B) + abs(A) @ abs(X)))
    allowed += (fine_gradient.sum_length(A, 1) * u) ** 2 * (abs(A).T @ R) + u * abs(g)
    assert (abs(high + low - g) <= allowed).all()


def test_parts_of_blocks_add_up():
    A, X, B, scale = problem(400)
    *top, first = fine_gradient.gradient(A[:170], X, B[:170], scale[:170])
    *rest, second = fine_gradient.gradient(A[170:], X, B[170:], scale[170:])
    high, low = fine_gradient.add(top, rest)
    g, r2 = exact(A, X, B, scale)
    np.testing.assert_allclose(high + low, g, rtol=1e-15, atol=2.0**-95)
    np.testing.assert_allclose(first + second, r2, rtol=1e-12)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_complex(engine, make):
    A, X, B, scale = problem(90)
    A, X = A + 1j * A[::-1], X - 2j * X
    B = A @ X
    run = fine_gradient.csr if make is sp.csr_array else fine_gradient.gradient
    with use_engine(engine):
        high, low, _ = run(make(A), X, B, scale)
    real = np.hstack([A.real, A.imag])
    wide = np.block([[X.real, X.imag], [-X.imag, X.real]])
    h, _ = exact(real, wide, np.hstack([B.real, B.imag]), scale)
    d, k = X.shape
    expected = h[:d, :k] + h[d:, k:] + 1j * (h[:d, k:] - h[d:, :k])
    np.testing.assert_allclose(high + low, expected, rtol=1e-12, atol=1e-14 * abs(expected).max())


def test_float32_data_are_widened_exactly():
    A, X, B, _ = problem()
    A, B = A.astype(np.float32), B.astype(np.float32)
    g, _ = exact(A.astype(float), X, B.astype(float), None)
    high, low, _ = fine_gradient.gradient(A, X, B, None)
    assert high.dtype == np.float64
    np.testing.assert_allclose(high + low, g, rtol=1e-15)


def test_the_number_of_threads_changes_no_bit():
    A, X, B, scale = problem(20000, 9)
    two = fine_gradient.gradient(A, X, B, scale)
    with limit_threads(1):
        one = fine_gradient.gradient(A, X, B, scale)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (3, 1, 2), (257, 40, 1), (5, 3, 0)])
def test_small_shapes(n, d, k):
    A, X, B, scale = problem(n, d, k)
    g, _ = exact(A, X, B, scale) if k else (np.zeros((d, 0)), None)
    high, low, r2 = fine_gradient.gradient(A, X, B, scale)
    np.testing.assert_allclose(high + low, g, rtol=1e-14, atol=1e-60)
    assert r2.shape == (k,)
