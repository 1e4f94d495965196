"""Conjugate gradients row by row, without the Gram matrix: plain, or preconditioned by a sketch of the row's regressors."""

from __future__ import annotations

import zlib

import numpy as np
from numba import njit, prange

from lowrank_la.kernels import _tile
from lowrank_la.kernels._als_gram import _SHORT, _VECTOR_BYTES, add_gram, floor_of, gather, scratch_for, syrk
from lowrank_la.kernels.philox import cpu_words

KEPT_BYTES = 1 << 18  # regressors of a row up to this size stay gathered for all its steps
ZETA = 8
HEIGHT = 4  # rows of a sketch, in units of k
SKETCHED = 16  # entries from which a row is sketched, in units of k
STREAM = np.uint64(zlib.crc32(b"als_rows"))

_dots, _short_dots = _tile.inner(_tile.ROWS), _tile.inner(_tile.ROWS, _SHORT)
_sum, _short_sum = _tile.outer(1, 1), _tile.outer(1, 1, _SHORT)
_sum4 = _tile.outer(1, 4)
_add = _tile.outer(1, 1, _SHORT)
_ROWS = _tile.ROWS


def kept_height(F: np.ndarray) -> int:
    """Rows of the panel that is kept for all steps."""
    return max(64, KEPT_BYTES // (F.shape[1] * F.itemsize)) // _ROWS * _ROWS


@njit(cache=True)
def _apply(entries, F, span, k, kept, v, target, out):
    """Add A^T s to out (float64), where s = target y - A v; give the square of s.

    A and y are the weighted regressors and targets of the row. `kept` is (panel, one, s, v
    in the panel's dtype, sums); `span` is (begin, end, ready), ready if the panel
    holds the whole row.
    """
    panel, one, s, negative, sums = kept
    begin, end, ready = span
    for a in range(k):
        negative[a] = -v[a]
    negative[k] = target
    square = 0.0
    for first in range(begin, end, len(panel)):
        last = min(first + len(panel), end)
        count = last - first if ready else gather(entries, F, first, last, k, panel, one)
        _products(panel, count, negative, s)
        sums[:] = 0
        _combine(panel, count, s, sums)
        for t in range(count):
            square += np.float64(s[t]) * s[t]
        for a in range(k):
            out[a] += sums[a]
    return square


@njit(cache=True)
def _products(panel, count, v, s):
    """Put panel v into s; rows up to a multiple of _ROWS are read."""
    width = panel.shape[1]
    s[:] = 0
    for t in range(0, count, _ROWS):
        if width % (_VECTOR_BYTES // panel.itemsize):
            _short_dots(width, panel, t * width, width, v, 0, s, t)
        else:
            _dots(width, panel, t * width, width, v, 0, s, t)


@njit(cache=True)
def _combine(panel, count, s, sums):
    """Add panel^T s to sums."""
    width = panel.shape[1]
    native = _VECTOR_BYTES // panel.itemsize
    a = 0
    if width % native:
        for a in range(0, width, _SHORT):
            _short_sum(count, s, 0, 0, 1, panel, a, width, sums, a, 0)
        return
    while width - a >= 4 * native:
        _sum4(count, s, 0, 0, 1, panel, a, width, sums, a, 0)
        a += 4 * native
    while a < width:
        _sum(count, s, 0, 0, 1, panel, a, width, sums, a, 0)
        a += native


@njit(cache=True)
def _kept_scratch(F, height):
    width = F.shape[1]
    return (
        np.zeros((height, width), F.dtype),
        np.ones(1, F.dtype),
        np.zeros(height, F.dtype),
        np.zeros(width, F.dtype),
        np.zeros(width, F.dtype),
    )


@njit(cache=True)
def _start_row(entries, F, i, k, kept):
    """Gather the row if its panel can be kept; give (begin, end, ready)."""
    begin, end = entries.indptr[i], entries.indptr[i + 1]
    ready = end - begin <= len(kept[0])
    if ready:
        gather(entries, F, begin, end, k, kept[0], kept[1])
    return begin, end, ready


@njit(cache=True)
def _diagonal(entries, F, span, k, kept, out):
    """Put the squared lengths of the columns of A into out; give their mean."""
    panel = kept[0]
    begin, end, ready = span
    for a in range(k):
        out[a] = 0.0
    for first in range(begin, end, len(panel)):
        last = min(first + len(panel), end)
        count = last - first if ready else gather(entries, F, first, last, k, panel, kept[1])
        for t in range(count):
            for a in range(k):
                out[a] += np.float64(panel[t, a]) * panel[t, a]
    mean = 0.0
    for a in range(k):
        mean += out[a] / k
    return mean


@njit(cache=True)
def _precondition(L, exact, r, z):
    """Solve L L^T z = r, L lower triangular with 1 / L_aa on its diagonal, or diagonal."""
    k = len(r)
    for a in range(k):
        z[a] = r[a]
        if exact:
            for b in range(a):
                z[a] -= L[a, b] * z[b]
        z[a] *= L[a, a]
    for a in range(k - 1, -1, -1):
        z[a] *= L[a, a]
        if exact:
            for b in range(a):
                z[b] -= L[a, b] * z[a]


@njit(cache=True)
def _conjugate_gradients(entries, F, span, k, kept, fixed, L, exact, steps, tolerance, x, work):
    """Take conjugate-gradient steps from x; give (relative residual left, objective)."""
    r, z, p, q = work
    for a in range(k):
        z[a] = q[a] = 0.0
    _apply(entries, F, span, k, kept, z, 1.0, q)
    _precondition(L, exact, q, z)
    whole = _dot(q, z)
    _penalty_times(fixed, x, r)
    _apply(entries, F, span, k, kept, x, 1.0, r)
    _precondition(L, exact, r, z)
    rz = _dot(r, z)
    for a in range(k):
        p[a] = z[a]
    for _ in range(steps):
        if not rz > tolerance * whole:
            break
        _penalty_times(fixed, p, q)
        _apply(entries, F, span, k, kept, p, 0.0, q)
        curvature = -_dot(p, q)
        if not curvature > 0:
            break
        for a in range(k):
            x[a] += rz / curvature * p[a]
            r[a] += rz / curvature * q[a]
        _precondition(L, exact, r, z)
        previous, rz = rz, _dot(r, z)
        for a in range(k):
            p[a] = z[a] + rz / previous * p[a]
    _penalty_times(fixed, x, q)
    fit = -_dot(x, q)
    return (np.sqrt(rz / whole) if whole > 0 else 0.0), fit + _apply(entries, F, span, k, kept, x, 1.0, q)


@njit(cache=True)
def _dot(x, y):
    total = 0.0
    for a in range(len(x)):
        total += x[a] * y[a]
    return total


@njit(cache=True)
def _penalty_times(fixed, x, out):
    """Put -(penalty x) into out."""
    for a in range(len(x)):
        out[a] = 0.0
        for b in range(len(x)):
            out[a] -= fixed[a, b] * x[b]


@njit(cache=True)
def _write_penalty(i, k, penalty, floor, out):
    """Write out the penalty of a row as a matrix."""
    for a in range(k):
        for b in range(k):
            out[a, b] = penalty.gram[a, b]
        out[a, a] += penalty.ridge[i] * penalty.metric[a] + floor


@njit(cache=True)
def _vectors(k):
    """Allocate the vectors of the iteration."""
    return np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k)


@njit(parallel=True, cache=True)
def plain(entries, penalty, F, height, parts, steps, X, loss, residual):
    """Improve all rows by `steps` steps with a diagonal preconditioner."""
    for p in prange(len(parts) - 1):
        _plain_rows(entries, penalty, F, height, parts[p], parts[p + 1], steps, X, loss, residual)


@njit(cache=True)
def _plain_rows(entries, penalty, F, height, first, last, steps, X, loss, residual):
    k = X.shape[1]
    kept, work = _kept_scratch(F, height), _vectors(k)
    diagonal, L, fixed = np.zeros(k), np.zeros((k, k)), np.zeros((k, k))
    for i in range(first, last):
        span = _start_row(entries, F, i, k, kept)
        mean = _diagonal(entries, F, span, k, kept, diagonal)
        if not mean > 0:
            for a in range(k):
                X[i, a] = 0.0
            continue
        _write_penalty(i, k, penalty, floor_of(span[1] - span[0], k, mean, penalty.ridge[i], penalty), fixed)
        for a in range(k):
            L[a, a] = 1 / np.sqrt(diagonal[a] + fixed[a, a])
        residual[i], loss[i] = _conjugate_gradients(entries, F, span, k, kept, fixed, L, False, steps, 0.0, X[i], work)


@njit(parallel=True, cache=True)
def sketched(entries, penalty, F, height, small, parts, steps, warm, X, loss, pivot, residual):
    """Improve all rows by at most `steps` steps, preconditioned by a sketch of their regressors."""
    places = _sketch_places(len(F), HEIGHT * X.shape[1])
    for p in prange(len(parts) - 1):
        _sketched_rows(entries, penalty, F, height, small, places, parts[p], parts[p + 1], steps, warm, X, loss, pivot, residual)


@njit(cache=True)
def _sketched_rows(entries, penalty, F, height, small, places, first, last, steps, warm, X, loss, pivot, residual):
    k = X.shape[1]
    kept, scratch, work = _kept_scratch(F, height), scratch_for(F, small), _vectors(k)
    sketch = np.zeros((-(-HEIGHT * k // ZETA) * ZETA, F.shape[1]), F.dtype)
    G, L, fixed = np.zeros((k + 1, k + 1)), np.zeros((k, k)), np.zeros((k, k))
    for i in range(first, last):
        span = _start_row(entries, F, i, k, kept)
        if span[1] - span[0] >= SKETCHED * k:
            _sketch_gram(entries, F, span, k, kept, places, sketch, scratch[2], G)
        else:
            G[:] = 0
            add_gram(entries, F, span[0], span[1], k, scratch, G)
        mean = 0.0
        for a in range(k):
            mean += G[a, a] / k
        if not mean > 0:
            pivot[i] = 0.0
            for a in range(k):
                X[i, a] = 0.0
            continue
        floor = floor_of(span[1] - span[0], k, mean, penalty.ridge[i], penalty)
        _write_penalty(i, k, penalty, floor, fixed)
        pivot[i] = _factor(G, k, fixed, floor, L)
        if span[1] - span[0] < k:
            pivot[i] = 0.0
        if not warm:
            for a in range(k):
                work[0][a] = G[k, a]
            _precondition(L, True, work[0], X[i])
        residual[i], loss[i] = _conjugate_gradients(entries, F, span, k, kept, fixed, L, True, steps, penalty.tiny**2, X[i], work)


@njit(cache=True)
def _sketch_places(n, height):
    """Draw for each row of F its ZETA rows of the sketch, times two, plus the sign bit."""
    block = np.uint64(-(-height // ZETA))
    out = np.empty((n, ZETA), np.int32)
    for j in range(n):
        for half in range(ZETA // 4):
            words = cpu_words(np.uint64(0), STREAM, np.uint64(j), np.uint64(half))
            for c in range(4):
                row = np.uint64(4 * half + c) * block + (((words[c] >> np.uint64(1)) * block) >> np.uint64(31))
                out[j, 4 * half + c] = np.int32(2 * row + (words[c] & np.uint64(1)))
    return out


@njit(cache=True)
def _sketch_gram(entries, F, span, k, kept, places, sketch, sums, G):
    """Form the Gram matrix of the sketched regressors and targets, lower triangle."""
    panel, width = kept[0], F.shape[1]
    begin, end, ready = span
    signs = np.array([1.0, -1.0]).astype(F.dtype)
    sketch[:] = 0
    for first in range(begin, end, len(panel)):
        last = min(first + len(panel), end)
        count = last - first if ready else gather(entries, F, first, last, k, panel, kept[1])
        for t in range(count):
            for place in places[entries.indices[first + t]]:
                for a in range(0, width, _SHORT):
                    _add(1, signs, place & 1, 0, 0, panel, t * width + a, 0, sketch, (place >> 1) * width + a, 0)
    sums[:] = 0
    syrk(sketch, len(sketch), k, sums)
    for a in range(k + 1):
        for b in range(a + 1):
            G[a, b] = np.float64(sums[a, b]) / ZETA


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _factor(G, k, fixed, floor, L):
    """Factor G + fixed = L L^T, with 1 / L_aa on the diagonal; give the smallest relative pivot without `fixed`."""
    worst = 1.0
    for a in range(k):
        for b in range(a + 1):
            total = G[a, b] + fixed[a, b]
            for c in range(b):
                total -= L[a, c] * L[b, c]
            if b < a:
                L[a, b] = total * L[b, b]
            else:
                worst = min(worst, (total - fixed[a, a]) / G[a, a] if G[a, a] > 0 else 0.0)
                L[a, a] = 1 / np.sqrt(max(total, floor))
    return max(worst, 0.0)
