"""Short-range sums by cell lists against all pairs in long double."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la.kernels import near_field
from lowrank_la.kernels._engine import use_engine


def exact(points, X, charges, cutoff, P):
    points, X = points.astype(np.longdouble), X.astype(np.longdouble)
    square = np.sum((points[:, None, :] - X) ** 2, axis=2)
    smooth = np.polynomial.polynomial.polyval(2 * square / np.longdouble(cutoff) ** 2 - 1, P.astype(np.longdouble))
    sharp = np.where(square > 0, 1 / np.sqrt(np.where(square > 0, square, 1)), 0)
    kernel = np.where(square < np.longdouble(cutoff) ** 2, sharp - smooth, 0)
    return kernel @ charges, np.abs(kernel) @ np.abs(charges)


@settings(max_examples=60)
@given(
    n=st.integers(1, 300),
    m=st.integers(0, 150),
    d=st.integers(1, 3),
    terms=st.integers(1, 30),
    digits=st.floats(-3, 0.5),
    seed=st.integers(0, 10**6),
    clustered=st.booleans(),
)
def test_all_pairs_within_the_cutoff_count(n, m, d, terms, digits, seed, clustered):
    rng = np.random.default_rng(seed)
    X = rng.random((n, d)) ** (8 if clustered else 1)
    points = np.concatenate([X[: m // 2], rng.random((m - min(m // 2, n), d)) * 1.5 - 0.2])
    charges, P, cutoff = rng.standard_normal(n), rng.standard_normal(terms) * 0.5 ** np.arange(terms), 10.0**digits
    expected, size = exact(points, X, charges, cutoff, P)
    got = near_field.potential(points, X, charges, cutoff, P)
    assert got.shape == (points.shape[0],)
    assert np.all(np.abs(got - expected) <= 1e-13 * (size + np.abs(charges).sum() * np.abs(P).sum()))


@pytest.mark.parametrize("cutoff", [1e-9, 1e-3])
def test_small_cutoffs_keep_the_grid_small(cutoff):
    rng = np.random.default_rng(0)
    X, charges = rng.random((500, 3)), np.ones(500)
    got = near_field.potential(np.concatenate([X, X + cutoff / 4]), X, charges, cutoff, np.zeros(1))
    distance = np.linalg.norm((X + cutoff / 4) - X, axis=1)
    np.testing.assert_allclose(got, np.concatenate([np.zeros(500), 1 / distance]), rtol=1e-14)


def test_same_bits_for_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    rng = np.random.default_rng(0)
    problem = rng.random((700, 3)), rng.random((900, 3)), rng.standard_normal(900), 0.3, rng.standard_normal(9)
    threads, answers = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            answers.append(near_field.potential(*problem))
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(*answers)


def test_other_libraries(backend):
    rng = np.random.default_rng(0)
    points, X, charges, P = rng.random((40, 3)), rng.random((50, 3)), rng.standard_normal(50), rng.standard_normal(5)
    points[:5] = X[:5]
    expected, size = exact(points, X, charges, 0.4, P)
    with use_engine("reference"):
        got = near_field.potential(*(backend.array(x) for x in (points, X, charges)), 0.4, backend.array(P))
    assert np.all(np.abs(backend.numpy(got) - expected) <= 1e-13 * (size + np.abs(charges).sum() * np.abs(P).sum()))
