"""Register tiles against long-double products, for every pair of dtypes, odd sizes and odd strides."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from lowrank_la.kernels import _tile

ADD, PUT, GATHERED, DOTS = _tile.outer(), _tile.outer(add=False), _tile.outer(8, 3, 8), _tile.inner()
DTYPES = [(np.float64, np.float64), (np.float32, np.float64), (np.float32, np.float32)]


@njit
def _add(K, a, ia, sai, sak, b, ib, sbk, c, ic, sc):
    ADD(K, a, ia, sai, sak, b, ib, sbk, c, ic, sc)


@njit
def _put(K, a, ia, sai, sak, b, ib, sbk, c, ic, sc):
    PUT(K, a, ia, sai, sak, b, ib, sbk, c, ic, sc)


@njit
def _gram24(panel, C):
    for i in range(0, 24, 8):
        GATHERED(panel.shape[0], panel, i, 1, 24, panel, 0, 24, C, 24 * i, 24)


@njit
def _dots(K, a, ia, sa, x, ix, c, ic):
    DOTS(K, a, ia, sa, x, ix, c, ic)


def _close(got, expected, size, K):
    """Compare with a long-double sum of K terms whose absolute values sum to `size`."""
    slack = (K + 4) * np.finfo(got.dtype).eps * (size + 1)
    assert np.all(np.abs(got - expected) <= slack)


@pytest.mark.parametrize(("narrow", "wide"), DTYPES)
@pytest.mark.parametrize("K", [0, 1, 5, 64, 1000])
@pytest.mark.parametrize(("tile", "adds"), [(_add, True), (_put, False)])
@pytest.mark.parametrize("transposed", [False, True])
def test_outer_is_a_block_of_the_product(narrow, wide, K, tile, adds, transposed):
    rng = np.random.default_rng(K)
    rows, width = _tile.ROWS, _tile.VECTORS * _tile.lanes_of(wide)
    a = rng.standard_normal((rows + 1, K + 3)).astype(narrow)
    b = rng.standard_normal((K + 1, width + 2)).astype(narrow)
    c = rng.standard_normal((rows + 1, width + 5)).astype(wide)
    expected, before = c.astype(np.longdouble), c.copy()
    left, right = a[1:, 2 : 2 + K].astype(np.longdouble), b[:K, 1 : 1 + width].astype(np.longdouble)
    expected[1:, 3 : 3 + width] = (expected[1:, 3 : 3 + width] if adds else 0) + left @ right
    flat, sai, sak, ia = (a.T.copy(), 1, rows + 1, 2 * (rows + 1) + 1) if transposed else (a, K + 3, 1, K + 5)
    tile(K, flat, ia, sai, sak, b, 1, width + 2, c, width + 8, width + 5)
    _close(c[1:, 3 : 3 + width], expected[1:, 3 : 3 + width], np.abs(left) @ np.abs(right) + np.abs(before[1:, 3 : 3 + width]), K)
    c[1:, 3 : 3 + width] = before[1:, 3 : 3 + width]
    assert np.array_equal(c, before), "wrote outside its block"


@pytest.mark.parametrize(("narrow", "wide"), DTYPES)
@pytest.mark.parametrize("K", [0, 1, 7, 8, 33, 1000])
def test_inner_products(narrow, wide, K):
    rng = np.random.default_rng(K)
    rows = _tile.ROWS
    a, x = rng.standard_normal((rows, K + 2)).astype(narrow), rng.standard_normal(K + 1).astype(wide)
    c = rng.standard_normal(rows + 2).astype(wide)
    left, right, before = a[:, 1 : 1 + K].astype(np.longdouble), x[1:].astype(np.longdouble), c.copy()
    _dots(K, a, 1, K + 2, x, 1, c, 1)
    _close(c[1:-1], before[1:-1] + left @ right, np.abs(left) @ np.abs(right) + np.abs(before[1:-1]), K)
    assert np.array_equal(c[[0, -1]], before[[0, -1]])


def test_gathered_panel_gram():
    panel = np.random.default_rng(0).standard_normal((300, 24)).astype(np.float32)
    C = np.zeros((24, 24), dtype=np.float32)
    _gram24(panel, C)
    wide = panel.astype(np.longdouble)
    _close(C, wide.T @ wide, np.abs(wide).T @ np.abs(wide), 300)


def test_read_only_operands_and_nan():
    rows, width = _tile.ROWS, _tile.VECTORS * _tile.lanes_of(np.float64)
    a, b, c = np.ones((rows, 4)), np.ones((4, width)), np.zeros((rows, width))
    a[1, 2] = np.nan
    a.flags.writeable = b.flags.writeable = False
    _add(4, a, 0, 4, 1, b, 0, width, c, 0, width)
    assert np.isnan(c[1]).all()
    assert np.all(np.delete(c, 1, axis=0) == 4)


def test_plain_tile_on_short_vectors_gives_the_same_sums():
    """The order of a sum does not depend on the vector length, so other hosts agree to fused rounding."""
    short = _tile.outer(2, 1, 2)

    @njit
    def run(K, a, b, c):
        for i in range(0, 4, 2):
            for v in range(0, 4, 2):
                short(K, a, i * K, K, 1, b, v, 4, c, i * 4 + v, 4)

    rng = np.random.default_rng(1)
    a, b, c = rng.standard_normal((4, 50)), rng.standard_normal((50, 4)), np.zeros((4, 4))
    run(50, a, b, c)
    wide = a.astype(np.longdouble) @ b.astype(np.longdouble)
    _close(c, wide, np.abs(a) @ np.abs(b), 50)
