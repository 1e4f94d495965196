"""Sums of products of table rows against sums in long double, on every engine and in every shape."""

import itertools
import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import _arrays
from lowrank_la.kernels import tucker_statistics
from lowrank_la.kernels._engine import use_engine


def problem(N, sizes, widths, seed=0, integers=False):
    rng = np.random.default_rng(seed)
    draw = (lambda shape: rng.integers(-3, 4, shape).astype(float)) if integers else rng.standard_normal
    places = np.stack([rng.integers(0, n, N) for n in sizes], axis=1).astype(np.int32)
    starts = np.concatenate([[0], np.sort(rng.integers(0, N + 1, 4)), [N]])
    return places, draw(N), starts, [draw((n, s)) for n, s in zip(sizes, widths, strict=True)]


def oracle(places, weights, starts, mode, tables, entrywise):
    sums = []
    width = tables[0].shape[1] if entrywise else math.prod(t.shape[1] for k, t in enumerate(tables) if k != mode)
    for first, last in itertools.pairwise(starts):
        total = np.zeros(width, np.longdouble)
        for n in range(first, last):
            product = np.array([weights[n]], np.longdouble)
            for k, table in enumerate(tables):
                if k != mode:
                    row = table[places[n, k]].astype(np.longdouble)
                    product = product * row if entrywise else np.outer(product, row).ravel()
            total += product
        sums.append(total)
    return np.array(sums)


@settings(max_examples=60)
@given(
    N=st.integers(0, 60),
    modes=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 5)), min_size=1, max_size=4),
    data=st.data(),
    entrywise=st.booleans(),
    engine=st.sampled_from(["cpu", "reference"]),
    seed=st.integers(0, 99),
)
def test_sums_are_right_to_rounding(N, modes, data, entrywise, engine, seed):
    mode = data.draw(st.integers(0, len(modes) - 1))
    entrywise = entrywise and len(modes) > 1
    widths = [modes[0][1] if entrywise else s for _, s in modes]
    places, weights, starts, tables = problem(N, [n for n, _ in modes], widths, seed)
    with use_engine(engine):
        sums = tucker_statistics.sums(places, weights, starts, tucker_statistics.tables_of(tables, mode, entrywise))
    expected = oracle(places, weights, starts, mode, tables, entrywise)
    size = oracle(places, abs(weights), starts, mode, [abs(t) for t in tables], entrywise)
    assert sums.dtype == np.float64
    assert sums.shape == expected.shape
    assert np.all(abs(sums - expected) <= (N + len(modes) + 2) * 2.0**-53 * size)


def test_backends(backend):
    places, weights, starts, tables = problem(50, (4, 5, 3), (2, 3, 4))
    laid = tucker_statistics.tables_of(tables, 1, False)
    sums = tucker_statistics.sums(backend.array(places), backend.array(weights), starts, laid)
    np.testing.assert_allclose(backend.numpy(sums), oracle(places, weights, starts, 1, tables, False).astype(float), atol=1e-12)


def test_same_bits_for_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    places, weights, _, tables = problem(60_000, (40, 50, 30), (6, 6, 6))
    starts, laid = np.linspace(0, 60_000, 30).astype(np.int64), tucker_statistics.tables_of(tables, 0, False)
    threads, answers = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            answers.append(tucker_statistics.sums(places, weights, starts, laid))
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(*answers)


@pytest.mark.cudasim
@pytest.mark.parametrize("entrywise", [False, True])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_cuda(mode, entrywise):
    places, weights, starts, tables = problem(40, (4, 5, 3), (3, 3, 3) if entrywise else (2, 3, 4), integers=True)
    laid = tucker_statistics.tables_of(tables, mode, entrywise)
    with use_engine("cuda"):
        sums = tucker_statistics.sums(places, weights, starts, laid)
    np.testing.assert_array_equal(sums, oracle(places, weights, starts, mode, tables, entrywise).astype(float))
    assert _arrays.engine_of(sums) == "cpu"  # the simulator's arrays


@pytest.mark.gpu
def test_gpu():
    import cupy

    places, weights, starts, tables = problem(5000, (40, 50, 30), (6, 10, 3))
    laid = tucker_statistics.tables_of(tables, 2, False)
    sums = tucker_statistics.sums(cupy.asarray(places), cupy.asarray(weights), starts, laid)
    np.testing.assert_allclose(cupy.asnumpy(sums), tucker_statistics.cpu(places, weights, starts, laid), rtol=1e-12, atol=1e-11)
