"""Sums of products of functions of coordinates, against `einsum` in long double."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la.kernels import moments
from lowrank_la.kernels._engine import use_engine


def problem(n, ranks, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n), [rng.standard_normal((n, r)) for r in ranks]


def exact(charges, columns):
    axes = "abcd"[: len(columns)]
    wide = [x.astype(np.longdouble) for x in (charges, *columns)]
    words = ",".join(["n", *("n" + a for a in axes)]) + "->" + axes
    return np.einsum(words, *wide), np.einsum(words, *map(np.abs, wide))


@settings(max_examples=40)
@given(n=st.integers(1, 600), ranks=st.lists(st.integers(1, 20), min_size=1, max_size=4), engine=st.sampled_from(["cpu", "reference"]))
def test_sums_are_right_to_rounding(n, ranks, engine):
    charges, columns = problem(n, ranks[:3] if max(ranks) > 8 else ranks)
    expected, size = exact(charges, columns)
    with use_engine(engine):
        got = moments.sums(charges, columns)
    assert np.all(np.abs(got - expected) <= 4 * (n + 4) * 2.0**-53 * size)


def test_same_bits_for_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    given_problem, threads, answers = problem(1000, (20, 30, 17)), numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            answers.append(moments.sums(*given_problem))
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(*answers)


def test_other_libraries(backend):
    charges, columns = problem(50, (4, 3, 5))
    got = moments.sums(backend.array(charges), [backend.array(B) for B in columns])
    np.testing.assert_allclose(backend.numpy(got), exact(charges, columns)[0].astype(float), rtol=1e-12, atol=1e-13)
