"""Short-range sums over particles: q_n (1 / r - P(r^2)) over all particles nearer than a cut-off, by cell lists.

P is a polynomial, so that a pair costs an inverse root and a few dozen fused products, in vector registers. A particle at the
point itself counts as -q_n P(0). Particles are sorted by cells half as wide as the cut-off; points of one cell share their
neighbours, which are gathered once. Sums are float64. On a GPU the reference runs: tiles of all pairs.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _cells, _tile, _vector
from lowrank_la.kernels._aligned import aligned
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels._vector import LANES, Vector

VECTORS = 4  # independent chains, which hide the latency of products
WIDTH = LANES * VECTORS
GROUP = 64  # points that share their neighbours, at most
TILE_ENTRIES = 1 << 21


def reference(points: Array, X: Array, charges: Array, cutoff: float, P: Array) -> Array:
    """Return a sum for each of the points (M, d), d <= 3; P holds coefficients in u = 2 r^2 / cutoff^2 - 1, the lowest first."""
    xp = _arrays.namespace(points, X, charges, P)
    step, sums = max(1, TILE_ENTRIES // X.shape[0]), []
    for first in range(0, points.shape[0], step):
        tile = points[first : min(first + step, points.shape[0]), :]
        square = sum((tile[:, k][:, None] - X[:, k][None, :]) ** 2 for k in range(X.shape[1]))
        u, smooth = square * (2 / cutoff**2) - 1, xp.zeros_like(square)
        for k in range(P.shape[0] - 1, -1, -1):
            smooth = smooth * u + P[k]
        nothing = xp.zeros_like(square)
        sharp = xp.where(square > 0, 1 / xp.sqrt(xp.where(square > 0, square, nothing + 1)), nothing)
        sums.append(xp.where(square < cutoff**2, sharp - smooth, nothing) @ charges)
    return xp.concat([*sums, charges[:0]])


def cpu(points: np.ndarray, X: np.ndarray, charges: np.ndarray, cutoff: float, P: np.ndarray) -> np.ndarray:
    """Sort particles and points by cells, and add up the neighbours of each group of points."""
    sums = np.empty(points.shape[0])
    if points.shape[0] == 0:
        return sums
    points, X = _in_space(points), _in_space(X)
    grid = _cells.grid(points, X, cutoff)
    particles, places = _cells.by_cells(X, grid), _cells.by_cells(points, grid)
    sources = np.concatenate([particles.coordinates, charges[None, particles.order]])
    starts, groups = _cells.starts(particles.cells, grid), _cells.groups(places.cells, GROUP)
    _sums(places.coordinates, places.cells, groups, sources, starts, grid.shape, grid.reach, cutoff, P, sums)
    out = np.empty_like(sums)
    out[places.order] = sums
    return out


def _in_space(points: np.ndarray) -> np.ndarray:
    return np.pad(points, [(0, 0), (0, 3 - points.shape[1])])


@intrinsic
def _pairs(typingctx, count, sources, stride, x, y, z, square, P, terms):  # type: ignore[no-untyped-def]
    """Sum q (1 / r - P) over `count` sources, a multiple of WIDTH: rows x, y, z, q of a matrix with that row stride."""
    number = types.float64
    signature = number(types.intp, sources, types.intp, number, number, number, number, P, types.intp)

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        count, _, stride, x, y, z, square, _, terms = values
        memory, weights = (_tile.Memory(context, builder, signature.args[k], values[k], LANES) for k in (1, 7))
        place = [_vector._splat(builder, value) for value in (x, y, z)]
        square = _vector._splat(builder, square)
        scale = square.constant(2.0) / square
        last = _tile.integer(1)

        def step(block, totals):  # type: ignore[no-untyped-def]
            at = builder.mul(block, _tile.integer(WIDTH))
            rows = [[builder.add(_tile.strided(builder, stride, row, v * LANES), at) for row in range(4)] for v in range(VECTORS)]
            apart = [[Vector(builder, memory.load(row)) - c for row, c in zip(four[:3], place, strict=True)] for four in rows]
            squares = [dx * dx + dy * dy + dz * dz for dx, dy, dz in apart]
            u = [s.times_plus(scale, -1.0) for s in squares]

            def horner(k, smooth):  # type: ignore[no-untyped-def]
                weight = Vector(builder, weights.broadcast(builder.sub(builder.sub(terms, last), k), weights.vector))
                return [Vector(builder, p).times_plus(x, weight).value for p, x in zip(smooth, u, strict=True)]

            smooth = _tile.loop(builder, terms, [ir.Constant(memory.vector, None)] * VECTORS, horner)
            near = [_near(s, Vector(builder, p), square) for s, p in zip(squares, smooth, strict=True)]
            charges = [Vector(builder, memory.load(four[3])) for four in rows]
            return [q.times_plus(k, Vector(builder, t)).value for q, k, t in zip(charges, near, totals, strict=True)]

        blocks = builder.sdiv(count, _tile.integer(WIDTH))
        totals = _tile.loop(builder, blocks, [ir.Constant(memory.vector, None)] * VECTORS, step)
        total = builder.fadd(builder.fadd(totals[0], totals[1]), builder.fadd(totals[2], totals[3]))
        return _tile._halves(builder, total, LANES)

    return signature, emit


def _near(s: Vector, smooth: Vector, square: Vector) -> Vector:
    """1 / sqrt(s) - smooth below the cut-off, without the root for s = 0."""
    inverse = s.constant(1.0) / s.sqrt()
    apart = s.builder.fcmp_ordered(">", s.value, s.constant(0.0).value)
    value = Vector(s.builder, s.builder.select(apart, inverse.value, s.constant(0.0).value)) - smooth
    inside = s.builder.fcmp_ordered("<", s.value, square.value)
    return Vector(s.builder, s.builder.select(inside, value.value, s.constant(0.0).value))


@njit(parallel=True, cache=True)
def _sums(points, cells, groups, sources, starts, shape, reach, cutoff, P, sums):  # type: ignore[no-untyped-def]
    """Fill the sums of sorted points, group by group; a sum runs over its neighbours in the order of their cells."""
    square = cutoff * cutoff
    for g in prange(groups.size - 1):
        first, last = groups[g], groups[g + 1]
        near, count = _gathered(points, first, last, cells[first], sources, starts, shape, reach, square)
        stride = near.shape[1]
        for i in range(first, last):
            sums[i] = _pairs(count, near, stride, points[0, i], points[1, i], points[2, i], square, P, P.size)


@njit(cache=True)
def _gathered(points, first, last, cell, sources, starts, shape, reach, square):  # type: ignore[no-untyped-def]
    """Copy the sources that are nearer to the box of a group of points than the cut-off, and pad them with zero charges."""
    low, high = np.empty(3), np.empty(3)
    for k in range(3):
        low[k], high[k] = points[k, first:last].min(), points[k, first:last].max()
    x, y, z = cell // (shape[1] * shape[2]), cell // shape[2] % shape[1], cell % shape[2]
    z0, z1 = max(z - reach, 0), min(z + reach, shape[2] - 1)
    rows = (min(x + reach, shape[0] - 1) - max(x - reach, 0) + 1) * (min(y + reach, shape[1] - 1) - max(y - reach, 0) + 1)
    ranges, most, r = np.empty((rows, 2), np.int64), 0, 0
    for i in range(max(x - reach, 0), min(x + reach, shape[0] - 1) + 1):
        for j in range(max(y - reach, 0), min(y + reach, shape[1] - 1) + 1):
            row = (i * shape[1] + j) * shape[2]
            ranges[r, 0], ranges[r, 1] = starts[row + z0], starts[row + z1 + 1]
            most += ranges[r, 1] - ranges[r, 0]
            r += 1
    near = aligned(4, (most + WIDTH - 1) // WIDTH * WIDTH, sources)
    count = 0
    for r in range(rows):
        for n in range(ranges[r, 0], ranges[r, 1]):
            away = 0.0
            for k in range(3):
                away += max(low[k] - sources[k, n], sources[k, n] - high[k], 0.0) ** 2
            if away < square:
                for k in range(4):
                    near[k, count] = sources[k, n]
                count += 1
    return near, (count + WIDTH - 1) // WIDTH * WIDTH


potential = Kernel(reference, cpu)
