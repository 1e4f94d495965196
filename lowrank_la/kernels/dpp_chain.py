"""Samples of projection determinantal point processes by the chain rule, many at a time.

Given the rows Q_1, ..., Q_N of a matrix with orthonormal columns, rows are proposed with
probabilities ||Q_j||^2 / m and accepted with probability ||Q_j - P Q_j||^2 / ||Q_j||^2, P the projection onto
the span of those accepted before. Proposals come from alias tables; number t of sample r is a
function of (seed, stream, r, t) alone, through Philox. A sample of m rows takes m H_m proposals on average.
Tests and updates are matrix products, see `_dpp_block`: a sample costs some 4 m^3 flops at their speed. The plain loop, which
projects one proposal at a time by BLAS, takes 2 m^3 log m flops: on one thread 4 times longer for m = 100, 18 times for m = 500.

A sample may also be drawn from some of the columns, others for each sample: then a column is
drawn first, and the table of its squares proposes the row.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _dpp_block, _dpp_cuda, _tile, philox
from lowrank_la.kernels._dpp_block import decide, identity, make_space
from lowrank_la.kernels._engine import Kernel

PARTS = 64  # groups of samples that share memory
WORD = 1 << 32
ROUND = 4  # proposals in a round, per row of a sample, where all samples go in step
LOW = np.uint64(WORD - 1)
HIGH = np.uint64(32)

_fetch = _tile.prefetch()


def reference(
    Q: Array, keep: Array, alias: Array, columns: Array, sizes: Array, seed: int, streams: tuple[int, int], cap: int
) -> tuple[Array, Array]:
    """Draw a sample of sizes[r] rows of Q[:, columns[r, :sizes[r]]] for each r, testing one proposal at a time.

    With one row of `columns` and one table for all samples, these are the columns and squared lengths of all of them; else
    there is a table for each column of Q. A sample ends short after cap * sizes[r] proposals. Returns (rows, r by
    max(sizes), -1 where there is none; numbers of proposals).
    """
    xp = _arrays.namespace(Q)
    wanted = _arrays.to_numpy(sizes)
    drawn, attempts = np.full((wanted.size, wanted.max(initial=0)), -1), np.zeros(wanted.size, np.int64)
    bases, first = [[] for _ in wanted], 0
    while np.any(pending := ((drawn >= 0).sum(axis=1) < wanted) & (first < cap * wanted)):
        count = ROUND * int(wanted.max())
        items, uniforms = (_arrays.to_numpy(part) for part in _proposals(Q, keep, alias, columns, sizes, seed, streams, first, count))
        for r in np.flatnonzero(pending).tolist():
            chosen, found = columns[min(r, columns.shape[0] - 1), : wanted[r]], len(bases[r])
            for item, u in zip(items[r].tolist(), uniforms[r].tolist(), strict=True):
                if found == wanted[r] or attempts[r] == cap * wanted[r]:
                    break
                attempts[r] += 1
                x = xp.take(Q[item, :], chosen)
                f, square = _remainder(x, bases[r])
                if square > u * float(xp.sum(xp.abs(x) ** 2)) and item not in drawn[r]:
                    drawn[r, found] = item
                    bases[r].append(f / square**0.5)
                    found += 1
        first += count
    return _arrays.from_numpy(drawn, Q), _arrays.from_numpy(attempts, Q)


def _remainder(x: Array, B: list[Array]) -> tuple[Array, float]:
    """Return what two projections leave of x beside orthonormal vectors, and its squared length."""
    xp = _arrays.namespace(x)
    for b in [*B, *B]:
        x = x - b * xp.vecdot(b, x)
    return x, float(xp.sum(xp.abs(x) ** 2))


def _proposals(
    Q: Array, keep: Array, alias: Array, columns: Array, sizes: Array, seed: int, streams: tuple[int, int], first: int, count: int
) -> tuple[Array, Array]:
    """Return the items and the uniform numbers, (samples, count) each, of proposals from `first` on."""
    xp, n = _arrays.namespace(Q), keep.shape[1]
    zeros = xp.zeros((sizes.shape[0], count), dtype=xp.int64, device=Q.device)
    major = zeros + xp.arange(sizes.shape[0], dtype=xp.int64, device=Q.device)[:, None]
    minor = zeros + first + xp.arange(count, dtype=xp.int64, device=Q.device)[None, :]
    w = philox.words(Q, seed, streams[0], major, minor)
    low = w[1] * n
    high = w[0] * n + (low >> 32)  # the place is a 64-bit word times n; what is behind the point, to 63 bits, chooses in the table
    place, table = high >> 32, zeros
    if keep.shape[0] > 1:
        v = philox.words(Q, seed, streams[1], major, minor)
        column = (v[0] * sizes[:, None] + ((v[1] * sizes[:, None]) >> 32)) >> 32
        row = major if columns.shape[0] > 1 else zeros
        table = _picked(columns, row, column)
    below = ((high & philox.MASK) << 31) + ((low & philox.MASK) >> 1) < _picked(keep, table, place)
    item = xp.where(below, place, _picked(alias, table, place))
    return item, xp.astype((w[2] << 21) | (w[3] >> 11), xp.float64) * 2.0**-53


def _picked(A: Array, rows: Array, columns: Array) -> Array:
    """Return A[rows, columns] for arrays of indices."""
    xp = _arrays.namespace(A)
    return xp.reshape(xp.take(xp.reshape(A, (-1,)), xp.reshape(rows * A.shape[1] + columns, (-1,))), rows.shape)


def cpu(
    Q: np.ndarray,
    keep: np.ndarray,
    alias: np.ndarray,
    columns: np.ndarray,
    sizes: np.ndarray,
    seed: int,
    streams: tuple[int, int],
    cap: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the samples, on all threads."""
    pair = 2 if np.iscomplexobj(Q) else 1
    Q = np.ascontiguousarray(Q, dtype=np.complex128 if pair == 2 else np.float64).view(np.float64)
    most = int(sizes.max(initial=0))
    drawn, attempts = np.full((sizes.size, most), -1), np.zeros(sizes.size, np.int64)
    if most:
        whole = np.array_equal(columns, np.arange(Q.shape[1] // pair)[None, :])
        first, second = (np.uint64(stream) for stream in streams)
        _draw(Q, pair, keep, alias, columns, sizes, whole, np.uint64(seed), first, second, cap, drawn, attempts)
    return drawn, attempts


@njit(parallel=True, cache=True)
def _draw(Q, pair, keep, alias, columns, sizes, whole, seed, first, second, cap, drawn, attempts):  # type: ignore[no-untyped-def]
    parts, samples = min(PARTS, sizes.size), sizes.size
    for part in prange(parts):
        begin, end = part * samples // parts, (part + 1) * samples // parts
        _draw_part(Q, pair, keep, alias, columns, sizes, whole, seed, first, second, cap, begin, end, drawn, attempts)


@njit(cache=True)
def _draw_part(Q, pair, keep, alias, columns, sizes, whole, seed, first, second, cap, begin, end, drawn, attempts):  # type: ignore[no-untyped-def]
    """Draw samples `begin` to `end` in the same memory, as long as they have the same size."""
    m, C, space = 0, _panels(1), make_space(1, Q)
    for r in range(begin, end):
        if sizes[r] == 0:
            continue
        if sizes[r] != m:
            m = sizes[r]
            C, space = _panels(m * pair), make_space(m * pair, Q)
        chosen = columns[min(r, columns.shape[0] - 1), :m]
        attempts[r] = _sample(Q, pair, keep, alias, chosen, whole, seed, first, second, r, cap * m, C, space, drawn[r])


@njit(cache=True)
def _panels(dim):  # type: ignore[no-untyped-def]
    """Allocate C for one sample."""
    return np.empty((-(-dim // _dpp_block.WIDTH), -(-dim // _dpp_block.ROWS) * _dpp_block.ROWS, _dpp_block.WIDTH))


@njit(cache=True)
def _sample(Q, pair, keep, alias, chosen, whole, seed, first, second, r, most, C, space, drawn):  # type: ignore[no-untyped-def]
    """Draw sample r; returns the number of proposals."""
    dim = chosen.size * pair
    left, known, attempts = dim, 0, 0
    identity(dim, C)
    while left and attempts < most:
        count = min(_dpp_block.proposals(dim, left, pair), most - attempts)
        _propose(Q, keep, alias, chosen, seed, first, second, r, attempts, count, space)
        for t in range(count):
            square = _load(Q, space.index[t], pair, chosen, whole, space.X, pair * t)
            space.limit[t] *= square
        decided, left, known = decide(space, count, dim, C, left, pair, drawn, known)
        attempts += decided
    return attempts


@njit(cache=True)
def _propose(Q, keep, alias, chosen, seed, first, second, r, start, count, space):  # type: ignore[no-untyped-def]
    """Draw items and uniform numbers, and ask for the rows of the items."""
    n = np.uint64(keep.shape[1])
    for t in range(count):
        w = philox.cpu_words(seed, first, np.uint64(r), np.uint64(start + t))
        low = w[1] * n
        high = w[0] * n + (low >> HIGH)  # the place is a 64-bit word times n; what is behind the point, to 63 bits, chooses in the table
        place, table = np.int64(high >> HIGH), 0
        if keep.shape[0] > 1:
            v = philox.cpu_words(seed, second, np.uint64(r), np.uint64(start + t))
            size = np.uint64(chosen.size)
            table = chosen[np.int64((v[0] * size + ((v[1] * size) >> HIGH)) >> HIGH)]
        share = np.int64((high & LOW) << np.uint64(31) | (low & LOW) >> np.uint64(1))
        item = place if share < keep[table, place] else alias[table, place]
        space.index[t] = item
        space.limit[t] = np.float64(w[2] << np.uint64(21) | w[3] >> np.uint64(11)) * 2.0**-53
        _fetch(Q, item * Q.shape[1], Q.shape[1])


@njit(cache=True)
def _load(Q, item, pair, chosen, whole, X, t):  # type: ignore[no-untyped-def]
    """Copy the chosen columns of a row, and i times it if it is complex, to rows t and t + 1 of X; returns its squared length."""
    x = X[t]
    if whole:
        x[:] = Q[item]
    elif pair == 1:
        for j in range(chosen.size):
            x[j] = Q[item, chosen[j]]
    else:
        for j in range(chosen.size):
            x[2 * j], x[2 * j + 1] = Q[item, 2 * chosen[j]], Q[item, 2 * chosen[j] + 1]
    if pair == 2:
        for j in range(chosen.size):
            X[t + 1, 2 * j], X[t + 1, 2 * j + 1] = -x[2 * j + 1], x[2 * j]
    return _dpp_block._dot(x, x, x.size)


@njit(cache=True)
def block_sizes(dim, left, pair):  # type: ignore[no-untyped-def]
    """Say how many proposals each sample takes next; left (samples,) is what its C has left."""
    return np.array([_dpp_block.proposals(dim, c, pair) if c else 0 for c in left])


def states(samples: int, dim: int) -> np.ndarray:
    """Allocate C for so many samples, in panels, with nothing accepted yet."""
    C = _panels(dim)
    identity(dim, C)
    return np.tile(C, (samples, 1, 1, 1))


def advance(X: np.ndarray, uniforms: np.ndarray, starts: np.ndarray, C: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decide on proposals X[starts[r] : starts[r + 1]], rows in any units, for each sample r; C and left are updated.

    For points of a continuous domain, which are proposed and evaluated outside, on the host. Returns
    (True for rows that are accepted, numbers of proposals that were decided); the others were not looked at.
    """
    pair = 2 if np.iscomplexobj(X) else 1
    X = np.ascontiguousarray(X, dtype=np.complex128 if pair == 2 else np.float64).view(np.float64)
    accepted, decided = np.zeros(X.shape[0], np.bool_), np.zeros(left.size, np.int64)
    _advance(X, pair, uniforms, starts, C, left, accepted, decided)
    return accepted, decided


@njit(parallel=True, cache=True)
def _advance(X, pair, uniforms, starts, C, left, accepted, decided):  # type: ignore[no-untyped-def]
    for r in prange(left.size):
        if starts[r + 1] > starts[r]:
            decided[r], left[r] = _advance_one(X, pair, uniforms, starts[r], starts[r + 1], C[r], left[r], accepted)


@njit(cache=True)
def _advance_one(X, pair, uniforms, first, last, C, left, accepted):  # type: ignore[no-untyped-def]
    dim = X.shape[1]
    space, drawn, every = make_space(dim, X), np.empty(_dpp_block.MOST, np.int64), np.arange(dim // pair)
    for t in range(last - first):
        space.index[t] = first + t
        space.limit[t] = uniforms[first + t] * _load(X, first + t, pair, every, True, space.X, pair * t)
    decided, left, known = decide(space, last - first, dim, C, left, pair, drawn, 0)
    for i in range(known):
        accepted[drawn[i]] = True
    return decided, left


def cuda(
    Q: Array, keep: Array, alias: Array, columns: Array, sizes: Array, seed: int, streams: tuple[int, int], cap: int
) -> tuple[Array, Array]:
    """Draw the samples, a block of threads for each; proposals come in rounds."""
    xp, pair, samples, most = _arrays.namespace(Q), 1, sizes.shape[0], int(sizes.max()) if sizes.size else 0
    if xp.isdtype(Q.dtype, "complex floating"):
        Q, pair = xp.stack([xp.real(Q), xp.imag(Q)], axis=2).reshape(Q.shape[0], -1), 2
    drawn, attempts = xp.full((samples, most), -1, dtype=xp.int64), xp.zeros(samples, dtype=xp.int64)
    if not most:
        return drawn, attempts
    B, x = xp.zeros((samples, most * pair, most * pair)), xp.zeros((samples, 2, most * pair))
    first, count = 0, ROUND * most
    while first < cap * most and bool(xp.any(xp.sum(xp.astype(drawn >= 0, xp.int64), axis=1) < sizes)):
        items, uniforms = _proposals(Q, keep, alias, columns, sizes, seed, streams, first, count)
        _dpp_cuda.round_kernel()[samples, _dpp_cuda.THREADS](Q, pair, items, uniforms, columns, sizes, cap, B, x, drawn, attempts)
        first += count
    return drawn, attempts


rows = Kernel(reference, cpu, cuda)
