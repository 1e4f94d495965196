"""Tiles of kernel values: a few points against panels of others, in registers and then in the first-level cache.

Points are centred and scaled once, so that exponents are powers of two, and packed: rows for one side, panels of columns for the
other. Squared distances come from inner products where that is accurate, summed in the same order as the squared norms, so that
the distance of a point from itself is exactly zero; else, and where it is as fast, from differences.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from lowrank_la.kernels import _profiles, _rows, _tile
from lowrank_la.kernels._aligned import aligned

ROWS = _tile.ROWS
CHUNK = 256  # columns of a tile: its rows stay in the first-level cache
FEW = 3  # coordinates up to which differences cost no more than products
FARTHEST = {4: 2.0**6, 8: 2.0**14}  # squared norms, as exponents of two, beyond which products would lose too many digits
PROFILE_FLOPS = 20  # of an exponential, as if it were coordinates
LOG2E = math.log2(math.e)

_dot, _one = _tile.outer(add=False), _tile.outer(rows=1, vectors=1, lanes=1, add=False)
_squares, _absolutes = _profiles.differences(_profiles.square), _profiles.differences(_profiles.absolute)
_gauss, _gauss_products = (_profiles.profile(_profiles.gauss, products=flag) for flag in (False, True))
_matern12 = _profiles.profile(_profiles.matern12, products=False)
_matern32, _matern32_products = (_profiles.profile(_profiles.matern32, products=flag) for flag in (False, True))
_matern52, _matern52_products = (_profiles.profile(_profiles.matern52, products=flag) for flag in (False, True))

PRODUCTS, SQUARES, ABSOLUTES = range(3)
GAUSS, MATERN12, MATERN32, MATERN52, POWER = range(5)
_PROFILE = {"rbf": GAUSS, "laplace": GAUSS, "matern12": MATERN12, "matern32": MATERN32, "matern52": MATERN52}
_ORDER = {"matern12": 1, "matern32": 3, "matern52": 5}


class Plan(NamedTuple):
    """What a tile computes: how sums run over coordinates, and what becomes of them."""

    sums: int
    profile: int
    degree: int
    offset: float


class Points(NamedTuple):
    """Points, prepared: `rows` (m, d) and their squared norms, padded with zeros to whole tiles."""

    rows: np.ndarray
    norms: np.ndarray


def prepare(X: np.ndarray, Y: np.ndarray, family: str, numbers: tuple[float, ...]) -> tuple[Plan, Points, Points]:
    """Centre, scale and pad the points of both sides, which may be one, and plan the tiles."""
    d = Y.shape[1]
    centre, factor = np.zeros(d, Y.dtype), 1.0
    if family == "polynomial":
        factor = math.sqrt(numbers[1])
    elif family != "cosine":
        centre = Y.mean(axis=0) if Y.shape[0] else centre
        factor = _factor(family, numbers[0])
    P = _points(Y, centre, factor, family == "cosine")
    Q = P if X is Y else _points(X, centre, factor, family == "cosine")
    if family == "polynomial":
        return Plan(PRODUCTS, POWER, int(numbers[0]), numbers[2]), Q, P
    if family == "cosine":
        return Plan(PRODUCTS, POWER, 1, 0.0), Q, P
    near = max(float(Q.norms.max(initial=0)), float(P.norms.max(initial=0))) <= FARTHEST[Y.itemsize]
    sums = ABSOLUTES if family == "laplace" else PRODUCTS if near and d > FEW and family != "matern12" else SQUARES
    return Plan(sums, _PROFILE[family], 0, 0.0), Q, P


def _factor(family: str, bandwidth: float) -> float:
    """Scale points so that 2 to the power of minus the sum, or of minus its root, is the exponential in the kernel."""
    if family == "rbf":
        return math.sqrt(LOG2E / 2) / bandwidth
    return LOG2E * math.sqrt(_ORDER.get(family, 1)) / bandwidth


def _points(X: np.ndarray, centre: np.ndarray, factor: float, unit: bool) -> Points:
    m, d = X.shape
    rows = np.zeros((-(-m // CHUNK) * CHUNK, d), X.dtype)
    norms = np.zeros(rows.shape[0], X.dtype)
    _scale(*_rows.flat(X), m, centre, X.dtype.type(factor), unit, rows, norms)
    return Points(rows, norms)


def panels(points: Points) -> np.ndarray:
    """Pack points as panels of columns, (panels, d, width), each contiguous."""
    rows, width = points.rows, _tile.VECTORS * _tile.lanes_of(points.rows.dtype)
    return np.ascontiguousarray(rows.reshape(-1, width, rows.shape[1]).transpose(0, 2, 1))


@njit(parallel=True, cache=True)
def _scale(X, x0, xi, xj, m, centre, factor, unit, rows, norms):  # type: ignore[no-untyped-def]
    """Fill rows with (X - centre) times a factor, or with X over its lengths, and the squared norms, summed as tiles sum products."""
    d = centre.size
    for part in prange((m + CHUNK - 1) // CHUNK):
        for i in range(part * CHUNK, min(m, part * CHUNK + CHUNK)):
            for j in range(d):
                rows[i, j] = (X[x0 + i * xi + j * xj] - centre[j]) * factor
            _one(d, rows, i * d, 0, 1, rows, i * d, 1, norms, i, 0)
            if unit and norms[i] > 0:
                length = np.sqrt(norms[i])
                for j in range(d):
                    rows[i, j] /= length


@njit(cache=True)
def fill(plan, rows, row, norms_rows, packed, first, count, norms, c, out, o, so):  # type: ignore[no-untyped-def]
    """Fill ROWS x count values of the kernel, of points from `row` on with those of the other side from `first` on.

    `count` is a multiple of the width of a panel, at most CHUNK; c (ROWS, CHUNK) is scratch. Value (r, j) goes to out[o + r * so + j].
    """
    sums, profile, degree, offset = plan
    _, d, width = packed.shape
    for j in range(0, count, width):
        p = (first + j) // width * d * width
        if sums == PRODUCTS:
            _dot(d, rows, row * d, d, 1, packed, p, width, c, j, CHUNK)
        elif sums == SQUARES:
            _squares(d, rows, row * d, d, packed, p, width, c, j, CHUNK)
        else:
            _absolutes(d, rows, row * d, d, packed, p, width, c, j, CHUNK)
    for r in range(ROWS):
        at, to = r * CHUNK, o + r * so
        if profile == POWER:
            _power(c[r], count, degree, c.dtype.type(offset), out, to)
        elif sums == PRODUCTS:
            if profile == GAUSS:
                _gauss_products(count, c, at, norms, first, norms_rows, row + r, out, to)
            elif profile == MATERN32:
                _matern32_products(count, c, at, norms, first, norms_rows, row + r, out, to)
            else:
                _matern52_products(count, c, at, norms, first, norms_rows, row + r, out, to)
        elif profile == GAUSS:
            _gauss(count, c, at, norms, first, norms_rows, row + r, out, to)
        elif profile == MATERN12:
            _matern12(count, c, at, norms, first, norms_rows, row + r, out, to)
        elif profile == MATERN32:
            _matern32(count, c, at, norms, first, norms_rows, row + r, out, to)
        else:
            _matern52(count, c, at, norms, first, norms_rows, row + r, out, to)


@njit(cache=True)
def _power(sums, count, degree, offset, out, o):  # type: ignore[no-untyped-def]
    """Store (sums + offset)^degree."""
    to = out.reshape(-1)[o : o + count]
    for j in range(count):
        sums[j] += offset
        to[j] = sums[j]
    for _ in range(degree - 1):
        for j in range(count):
            to[j] *= sums[j]


@njit(parallel=True, cache=True)
def entries(plan, rows, norms_rows, packed, norms, out):  # type: ignore[no-untyped-def]
    """Fill out (m, n) with the values of the kernel."""
    m, n = out.shape
    width = packed.shape[2]
    for tile in prange((m + CHUNK - 1) // CHUNK):
        c, edge = aligned(ROWS, CHUNK, rows), aligned(ROWS, CHUNK, rows)
        last = min(m, tile * CHUNK + CHUNK)
        for first in range(0, n, CHUNK):
            count = min(CHUNK, (n - first + width - 1) // width * width)
            for row in range(tile * CHUNK, last, ROWS):
                if row + ROWS <= m and first + count <= n:
                    fill(plan, rows, row, norms_rows, packed, first, count, norms, c, out, row * n + first, n)
                else:
                    fill(plan, rows, row, norms_rows, packed, first, count, norms, c, edge, 0, CHUNK)
                    for i in range(min(ROWS, m - row)):
                        for j in range(min(count, n - first)):
                            out[row + i, first + j] = edge[i, j]
