"""Products with few columns: every layout and pair of dtypes, against plain ones; the same bits for any thread count."""

import numpy as np
import pytest

from lowrank_la import limit_threads
from lowrank_la.kernels import skinny
from lowrank_la.kernels._engine import use_engine

RNG = np.random.default_rng(2)
LAYOUTS = {"rows": np.ascontiguousarray, "columns": np.asfortranarray, "every second": lambda A: np.repeat(A, 2, axis=1)[:, ::2]}
DTYPES = [(np.float64, np.float64), (np.float32, np.float32), (np.float32, np.float64), (np.float64, np.float32)]
TOLERANCE = {np.float64: 1e-14, np.float32: 3e-6}


def close(x, y, tolerance):
    return np.linalg.norm(x - y) <= tolerance * np.linalg.norm(y)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize(("n", "d", "c"), [(1003, 517, 13), (4000, 333, 24), (700, 409, 50), (3001, 1700, 7)])
def test_products(n, d, c, dtypes, layout):
    A = LAYOUTS[layout](RNG.standard_normal((n, d)).astype(dtypes[0]))
    X, row = RNG.standard_normal((d, c)).astype(dtypes[1]), RNG.standard_normal(c).astype(dtypes[1])
    exact = A.astype(float) @ X.astype(float)
    Y = skinny.times(A, X)
    assert Y.dtype == dtypes[1]
    assert close(Y, exact, TOLERANCE[dtypes[1]])
    for shift in (None, row):
        W = exact if shift is None else exact - shift
        Z, sums = skinny.gram(A, X, shift)
        assert Z.dtype == sums.dtype == dtypes[1]
        assert close(Z, A.T.astype(float) @ W, TOLERANCE[dtypes[1]])
        assert np.linalg.norm(sums - W.sum(axis=0)) <= TOLERANCE[dtypes[1]] * np.abs(W).sum()


def test_threads_do_not_change_a_bit():
    A, X = RNG.standard_normal((5000, 300)), RNG.standard_normal((300, 20))
    with limit_threads(1):
        alone = skinny.times(A, X), skinny.gram(A, X)[0]
    assert np.array_equal(skinny.times(A, X), alone[0])
    assert np.array_equal(skinny.gram(A, X)[0], alone[1])


def test_what_the_tile_does_not_take():
    A = RNG.standard_normal((40, 9)) + 1j * RNG.standard_normal((40, 9))
    X, row = RNG.standard_normal((9, 3)) + 0j, np.ones(3)
    for engine in ("cpu", "reference"):
        with use_engine(engine):
            np.testing.assert_allclose(skinny.times(A, X), A @ X)
            np.testing.assert_allclose(skinny.gram(A, X, row)[0], A.conj().T @ (A @ X - row))
    wide = RNG.standard_normal((30, 9000))
    X = RNG.standard_normal((9000, 40))
    np.testing.assert_allclose(skinny.gram(wide, X)[0], wide.T @ (wide @ X), rtol=1e-9)
