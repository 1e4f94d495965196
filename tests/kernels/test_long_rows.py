"""Products with long rows and their Gram matrix: every layout and dtype, against long double; the same bits for any thread count."""

import numpy as np
import pytest

from lowrank_la import limit_threads
from lowrank_la.kernels import long_rows, row_gram
from lowrank_la.kernels._engine import use_engine

RNG = np.random.default_rng(3)
SHAPES = [(1, 300_000), (9, 40_001), (37, 9_003), (64, 8_192), (136, 4_100)]


def draw(m, d, dtype):
    G = RNG.standard_normal((m, d))
    if dtype == np.uint16:
        return (G.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return G.astype(dtype)


def exact(G):
    """The numbers of G in long double."""
    if G.dtype == np.uint16:
        G = (G.astype(np.uint32) << 16).view(np.float32)
    return G.astype(np.longdouble)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_products(shape, dtype):
    G, k, damp = draw(*shape, dtype), 3, 0.7
    m, d = shape
    X, t = RNG.standard_normal((d, k)).astype(np.float32), RNG.standard_normal((m, k))
    wide = exact(G)
    size = np.abs(wide) @ np.abs(X.astype(np.longdouble))
    for engine in ("cpu", "reference"):
        with use_engine(engine):
            error = np.abs(long_rows.times(G, X) - wide @ X.astype(np.longdouble))
            x, v, squares = long_rows.sweep(G, X, t, damp)
        assert np.all(error <= 2.0**-53 * long_rows.terms(G) * size)
        assert x.dtype == (np.float64 if dtype == np.float64 else np.float32)
        unit = np.finfo(x.dtype).eps / 2
        wanted = (X - wide.T @ t.astype(np.longdouble)) / damp
        slack = 2.0**-53 * (m + 4) * (np.abs(X) + np.abs(wide).T @ np.abs(t)) / damp
        assert np.all(np.abs(x - wanted) <= unit * np.abs(wanted) * 1.001 + slack)
        rounded = x.astype(np.longdouble)
        assert np.all(np.abs(v - wide @ rounded) <= 2.0**-53 * long_rows.terms(G) * (np.abs(wide) @ np.abs(rounded)))
        np.testing.assert_allclose(squares, np.sum(rounded**2, axis=0).astype(float), rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_gram(shape, dtype):
    G = draw(*shape, dtype)
    wide = exact(G)
    size, wanted = np.abs(wide) @ np.abs(wide).T, wide @ wide.T
    for engine in ("cpu", "reference"):
        with use_engine(engine):
            K = row_gram.gram(G)
        assert np.all(np.abs(K - wanted) <= 2.0**-53 * row_gram.terms(G) * size)
        np.testing.assert_array_equal(K, K.T)


@pytest.mark.parametrize("layout", ["every second column", "reversed", "columns", "byte order", "every second row", "transposed"])
def test_layouts(layout):
    wide = RNG.standard_normal((40, 20_000)).astype(np.float32)
    G = {
        "every second column": np.repeat(wide, 2, axis=1)[:, ::2],
        "reversed": np.ascontiguousarray(wide[::-1])[::-1],
        "columns": np.asfortranarray(wide),
        "byte order": wide.astype(">f4"),
        "every second row": np.repeat(wide, 2, axis=0)[::2],
        "transposed": np.ascontiguousarray(wide.T).T,
    }[layout]
    X, t = RNG.standard_normal((20_000, 2)), RNG.standard_normal((40, 2))
    np.testing.assert_allclose(long_rows.times(G, X), wide.astype(float) @ X, atol=1e-9)
    np.testing.assert_allclose(row_gram.gram(G), wide.astype(float) @ wide.T.astype(float), atol=1e-8)
    swept, plain = long_rows.sweep(G, X, t, 1.0), long_rows.sweep_reference(wide, X, t, 1.0)
    np.testing.assert_allclose(swept.x, plain.x, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(swept.v, plain.v, atol=1e-2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_threads_do_not_change_a_bit(dtype):
    G = draw(50, 30_000, dtype)
    X, t = RNG.standard_normal((30_000, 2)), RNG.standard_normal((50, 2))
    answers = []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append([long_rows.times(G, X), *long_rows.sweep(G, X, t, 0.3), row_gram.gram(G)])
    for one, two in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, two)


def test_many_columns_and_few_numbers_take_the_reference():
    G = draw(40, 20_000, np.float32)
    X, t = RNG.standard_normal((20_000, 40)), RNG.standard_normal((40, 40))
    np.testing.assert_array_equal(long_rows.times(G, X), long_rows.reference(G, X))
    np.testing.assert_array_equal(long_rows.sweep(G, X, t, 1.0).x, long_rows.sweep_reference(G, X, t, 1.0).x)
    small = G[:3, :100]
    np.testing.assert_array_equal(row_gram.gram(small), row_gram.reference(small))
