"""One block of proposals of the chain rule: matrix products do the tests, reflections the updates.

What the accepted rows leave over is spanned by the columns of C (dim, left), which are orthonormal.
It is stored in panels of WIDTH columns, (panels, dim, WIDTH). A proposal x has the coordinates
y = x C, and ||y||^2 is its squared distance from the span of the accepted rows.

A block is decided in order. An accepted y is reflected onto the last coordinate, the reflection
is applied to the proposals that may still be accepted, and the last coordinate is dropped: what remains of each
is its distance from the span that includes the new row. Each decision thus uses all earlier
ones, exactly as if proposals came one by one; a proposal that is too close already can only come closer, and
needs no more arithmetic. The reflections of a block reach C as I - V T V^T, in two matrix products.

Complex rows of length m are real ones of length 2 m, and each stands for the pair x, i x: `pair` is 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from lowrank_la.kernels import _tile
from lowrank_la.kernels._aligned import aligned

ROWS = _tile.ROWS
WIDTH = _tile.VECTORS * _tile.lanes_of(np.float64)
HALF = WIDTH // 2
DEPTH = 256  # terms of a product between visits of its sums: so much of a panel stays in the first-level cache
WANTED = 24  # rows that a block should accept
MOST = 32  # rows that it may accept
LARGEST = 128  # rows of a block
FAST = {"contract", "reassoc", "nsz"}

_add, _add_half = _tile.outer(), _tile.outer(vectors=1)
_put, _put_half = _tile.outer(add=False), _tile.outer(vectors=1, add=False)


class Space(NamedTuple):
    """Memory of one worker.

    X (LARGEST, dim) proposals, Y their coordinates; R (MOST, columns) reflected vectors and V their transpose, T the
    triangle; W = -T R in panels, Z = C V; index, limit, rest: item of a proposal, its least squared distance for
    acceptance, and its current one; order: proposals that may still be accepted; dots: products of
    a reflected vector with earlier ones.
    """

    X: np.ndarray
    Y: np.ndarray
    R: np.ndarray
    V: np.ndarray
    T: np.ndarray
    W: np.ndarray
    Z: np.ndarray
    index: np.ndarray
    limit: np.ndarray
    rest: np.ndarray
    order: np.ndarray
    dots: np.ndarray


@njit(cache=True)
def make_space(dim, like):
    """Allocate the memory of a worker for rows of length `dim`."""
    rows, columns = -(-dim // ROWS) * ROWS, -(-dim // WIDTH) * WIDTH
    return Space(
        aligned(LARGEST, dim, like),
        aligned(LARGEST, columns, like),
        aligned(MOST, columns, like),
        aligned(columns, MOST, like),
        aligned(MOST, MOST, like),
        aligned(columns // WIDTH * MOST, WIDTH, like),
        aligned(rows, MOST, like),
        np.zeros(LARGEST, np.int64),
        np.zeros(LARGEST),
        np.zeros(LARGEST),
        np.zeros(LARGEST, np.int64),
        np.zeros(MOST),
    )


@njit(cache=True)
def identity(dim, C):
    """Fill C (panels, rows, WIDTH) with the identity: nothing is accepted yet."""
    C[:] = 0.0
    for j in range(dim):
        C[j // WIDTH, j, j % WIDTH] = 1.0


@njit(cache=True)
def proposals(dim, left, pair):
    """Say how many proposals make a block that should accept WANTED rows, and little more than are needed."""
    count = min(-(-WANTED * dim // left), dim // 2, LARGEST)
    return max(-(-count // ROWS) * ROWS, ROWS) // pair


@njit(cache=True)
def decide(space, count, dim, C, left, pair, drawn, known):
    """Decide on the first `count` proposals of a block in order, and shrink C.

    The items that are accepted join drawn[:known]. Returns (proposals that were decided, columns that are left, items drawn).
    """
    _coordinates(space, count * pair, dim, C, left)
    accepted, decided, known = _reflect(space, count, left, pair, drawn, known)
    if 0 < accepted < left:
        _shrink(space, dim, C, left, accepted)
    return decided, left - accepted, known


@njit(cache=True)
def _coordinates(space, rows, dim, C, left):
    """Compute Y = X C."""
    X, Y = space.X, space.Y
    if left == dim:  # C is the identity
        Y[:rows, :dim] = X[:rows]
        return
    columns, height = Y.shape[1], C.shape[1]
    for p in range((left + WIDTH - 1) // WIDTH):
        half = left - p * WIDTH <= HALF
        for k in range(0, dim, DEPTH):
            depth, right = min(DEPTH, dim - k), (p * height + k) * WIDTH
            for t in range(0, rows, ROWS):
                x, y = t * dim + k, t * columns + p * WIDTH
                if half and k == 0:
                    _put_half(depth, X, x, dim, 1, C, right, WIDTH, Y, y, columns)
                elif half:
                    _add_half(depth, X, x, dim, 1, C, right, WIDTH, Y, y, columns)
                elif k == 0:
                    _put(depth, X, x, dim, 1, C, right, WIDTH, Y, y, columns)
                else:
                    _add(depth, X, x, dim, 1, C, right, WIDTH, Y, y, columns)


@njit(cache=True)
def _reflect(space, count, left, pair, drawn, known):
    """Accept proposals in order; returns (coordinates that were dropped, proposals that were decided, items drawn)."""
    Y, limit, rest, order = space.Y, space.limit, space.rest, space.order
    alive = 0
    for t in range(count):
        rest[t] = _dot(Y[pair * t], Y[pair * t], left)
        if rest[t] > limit[t]:
            order[alive] = t
            alive += 1
    dropped = 0
    for q in range(alive):
        t = order[q]
        if not rest[t] > limit[t] or not _dot(Y[pair * t], Y[pair * t], left - dropped) > limit[t]:
            continue
        if np.any(drawn[:known] == space.index[t]):  # its distance is rounding error
            continue
        drawn[known] = space.index[t]
        known += 1
        for part in range(pair):
            _reflection(Y[pair * t + part], left - dropped, dropped, space)
            if part + 1 < pair:
                _apply(Y[pair * t + 1], left - dropped, dropped, space)
            _apply_to_later(space, q + 1, alive, left - dropped, dropped, pair)
            dropped += 1
        if dropped == left or dropped + pair > MOST:
            return dropped, t + 1, known
    return dropped, count, known


@njit(cache=True)
def _reflection(y, n, r, space):
    """Find v, row r of R, with (I - tau v v^T) y = (0, ..., 0, +-||y||), and extend the triangle T by a column."""
    R, T = space.R, space.T
    v, length = R[r], math.sqrt(_dot(y, y, n))
    v[:n] = y[:n] / length
    tau = 1 / (1 + abs(v[n - 1]))
    v[n - 1] += 1.0 if v[n - 1] >= 0 else -1.0
    v[n:] = 0.0
    T[r, r] = tau
    for q in range(r):
        T[r, q] = 0.0
        space.dots[q] = _dot(R[q], v, n)
    for q in range(r):
        total = 0.0
        for s in range(q, r):
            total += T[q, s] * space.dots[s]
        T[q, r] = -tau * total


@njit(cache=True)
def _apply_to_later(space, first, alive, n, r, pair):
    """Reflect the proposals that may still be accepted, and lower their distances by the coordinate that is dropped."""
    rest, limit = space.rest, space.limit
    for s in range(first, alive):
        t = space.order[s]
        if rest[t] > limit[t]:
            for row in range(pair * t, pair * t + pair):
                _apply(space.Y[row], n, r, space)
            rest[t] -= space.Y[pair * t, n - 1] ** 2


@njit(cache=True)
def _apply(y, n, r, space):
    v = space.R[r]
    factor = space.T[r, r] * _dot(v, y, n)
    for j in range(n):
        y[j] -= factor * v[j]


@njit(cache=True, fastmath=FAST)
def _dot(x, y, n):
    total = 0.0
    for j in range(n):
        total += x[j] * y[j]
    return total


@njit(cache=True)
def _shrink(space, dim, C, left, dropped):
    """Apply the reflections to C and drop its last columns."""
    R, V, T, W, Z = space.R, space.V, space.T, space.W, space.Z
    columns, height = R.shape[1], C.shape[1]
    panels, remain = (left + WIDTH - 1) // WIDTH, left - dropped
    for j in range(panels * WIDTH):
        for r in range(dropped):
            V[j, r] = R[r, j]
    _project(space, dim, C, left, dropped)
    for p in range((remain + WIDTH - 1) // WIDTH):
        for r in range(0, dropped, ROWS):
            _put(dropped, T, r * MOST, MOST, 1, R, p * WIDTH, columns, W, (p * MOST + r) * WIDTH, WIDTH)
        for r in range(dropped):
            for j in range(WIDTH):
                W[p * MOST + r, j] = -W[p * MOST + r, j]
        for i in range(0, height, ROWS):
            _add(dropped, Z, i * MOST, MOST, 1, W, p * MOST * WIDTH, WIDTH, C, (p * height + i) * WIDTH, WIDTH)
    if remain % WIDTH:
        C[remain // WIDTH, :, remain % WIDTH :] = 0.0


@njit(cache=True)
def _project(space, dim, C, left, dropped):
    """Compute Z = C V."""
    V, Z, height = space.V, space.Z, C.shape[1]
    if left == dim:  # C is the identity
        Z[:dim, :dropped] = V[:dim, :dropped]
        return
    for i in range(0, height, ROWS):
        for r in range(0, dropped, WIDTH):
            for p in range((left + WIDTH - 1) // WIDTH):
                a, b, z = (p * height + i) * WIDTH, p * WIDTH * MOST + r, i * MOST + r
                if dropped - r <= HALF and p == 0:
                    _put_half(WIDTH, C, a, WIDTH, 1, V, b, MOST, Z, z, MOST)
                elif dropped - r <= HALF:
                    _add_half(WIDTH, C, a, WIDTH, 1, V, b, MOST, Z, z, MOST)
                elif p == 0:
                    _put(WIDTH, C, a, WIDTH, 1, V, b, MOST, Z, z, MOST)
                else:
                    _add(WIDTH, C, a, WIDTH, 1, V, b, MOST, Z, z, MOST)
