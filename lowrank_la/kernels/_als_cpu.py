"""The Numba side of `als_rows`: gather a panel of regressors, form its Gram matrix, factor it."""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

PANEL = 256  # regressors gathered at once: a panel of rank 20 lies in the first-level cache
FLUSH = 16  # panels summed in float32 before they go to float64
PARTS_PER_THREAD = 8


def solve(
    values,
    indices,
    indptr,
    F,
    *,
    start=None,
    ridge=None,
    metric=None,
    gram=None,
    offset=None,
    weights=None,
    method="chol",
    steps=3,
    stride=1,
    fast=False,
):
    """See `als_rows.reference`."""
    (n, k), m = F.shape, len(indptr) - 1
    work = np.float32 if fast else np.float64
    panel = _widened(F, work)
    tiny = 2 * np.sqrt(k) * np.finfo(work).eps
    data = (values, indices, indptr, _or_empty(offset), _or_empty(weights), stride)
    penalty = (
        np.zeros(m) if ridge is None else ridge,
        np.ones(k) if metric is None else metric,
        np.zeros((k, k)) if gram is None else gram,
        tiny,
    )
    X = np.zeros((m, k), F.dtype) if start is None else start.astype(F.dtype, order="C")
    parts = _even_parts(indptr, k)
    loss, pivot, residual = np.zeros(m), np.ones(m), np.zeros(m)
    if method == "cg":
        _cg(*data, panel, *penalty, parts, steps, X, loss, residual)
    elif method == "nonneg":
        _nonneg(*data, panel, *penalty, parts, steps, X, loss)
    else:
        _chol(*data, panel, *penalty, parts, X, loss, pivot)
    return X, loss, pivot, residual


def _or_empty(x):
    return np.empty(0) if x is None else x


def _widened(F, dtype):
    """Copy F with one more column for the targets, padded to full vectors."""
    n, k = F.shape
    lanes = 32 // np.dtype(dtype).itemsize
    out = np.zeros((n, -(-(k + 1) // lanes) * lanes), dtype)
    out[:, :k] = F
    return out


def _even_parts(indptr, k):
    """Cut the rows into runs of about equal work; which run a row falls into does not change its answer."""
    work = indptr + np.arange(len(indptr)) * (k // 3 + 8)
    targets = np.linspace(0, work[-1], PARTS_PER_THREAD * get_num_threads() + 1)
    return np.searchsorted(work, targets[:-1]).tolist() + [len(indptr) - 1]


@njit(cache=True)
def _step_of(degree, stride, k):
    return stride if degree >= 2 * k * stride else 1


@njit(cache=True)
def _gather(values, indices, offset, weights, F, begin, end, step, k, panel):
    """Fill the panel with the regressors from begin to end, the target as column k, each times the root of its weight."""
    count = 0
    for t in range(begin, end, step):
        j = indices[t]
        y = values[t] - offset[j] if len(offset) else values[t]
        root = np.sqrt(weights[t]) if len(weights) else 1.0
        if len(weights):
            for a in range(k):
                panel[count, a] = root * F[j, a]
        else:
            for a in range(F.shape[1]):
                panel[count, a] = F[j, a]
        panel[count, k] = root * y
        count += 1
    return count


@njit(cache=True)
def _syrk(panel, count, sums):
    """Add the lower triangle of panel^T panel."""
    for t in range(count):
        for a in range(panel.shape[1]):
            for b in range(a + 1):
                sums[a, b] += panel[t, a] * panel[t, b]


@njit(cache=True)
def _gram(values, indices, offset, weights, F, begin, end, step, k, panel, sums, G):
    """Form the Gram matrix of a row's regressors and targets, lower triangle, in float64."""
    G[:] = 0
    flush = PANEL * FLUSH * step
    for first in range(begin, end, flush):
        sums[:] = 0
        last = min(first + flush, end)
        for t in range(first, last, PANEL * step):
            count = _gather(values, indices, offset, weights, F, t, min(t + PANEL * step, last), step, k, panel)
            _syrk(panel, count, sums)
        for a in range(k + 1):
            for b in range(a + 1):
                G[a, b] += sums[a, b]


@njit(cache=True)
def _penalise(G, k, ridge, metric, gram, tiny, added):
    """Add the penalties to G and note what went to the diagonal; give the mean diagonal entry of the data."""
    scale = 0.0
    for a in range(k):
        scale += G[a, a] / k
    for a in range(k):
        added[a] = ridge * metric[a] + gram[a, a] + (tiny * scale if scale > 0 else 1.0)
        for b in range(a):
            G[a, b] += gram[a, b]
        G[a, a] += added[a]
    return scale


@njit(cache=True)
def _factor(G, k, added, scale, tiny):
    """Cholesky in place, the targets as row k; give the smallest relative pivot without the penalties."""
    worst = 1.0
    for a in range(k):
        own = G[a, a] - added[a]
        for b in range(a):
            for c in range(b):
                G[a, b] -= G[a, c] * G[b, c]
            G[a, b] /= G[b, b]
            G[a, a] -= G[a, b] * G[a, b]
        worst = min(worst, (G[a, a] - added[a]) / own if own > 0 else 0.0)
        G[a, a] = np.sqrt(max(G[a, a], tiny * scale if scale > 0 else 1.0))
    for b in range(k):
        for c in range(b):
            G[k, b] -= G[k, c] * G[b, c]
        G[k, b] /= G[b, b]
        G[k, k] -= G[k, b] * G[k, b]
    return max(worst, 0.0)


@njit(parallel=True, cache=True)
def _chol(values, indices, indptr, offset, weights, stride, F, ridge, metric, gram, tiny, parts, X, loss, pivot):
    k, width = X.shape[1], F.shape[1]
    for p in prange(len(parts) - 1):
        panel = np.zeros((PANEL, width), F.dtype)
        sums = np.zeros((width, width), F.dtype)
        G = np.zeros((k + 1, k + 1))
        x, added = np.zeros(k), np.zeros(k)
        for i in range(parts[p], parts[p + 1]):
            step = _step_of(indptr[i + 1] - indptr[i], stride, k)
            _gram(values, indices, offset, weights, F, indptr[i], indptr[i + 1], step, k, panel, sums, G)
            scale = _penalise(G, k, ridge[i], metric, gram, tiny, added)
            pivot[i] = _factor(G, k, added, scale, tiny)
            loss[i] = max(G[k, k], 0.0)
            for a in range(k - 1, -1, -1):
                x[a] = G[k, a]
                for b in range(a + 1, k):
                    x[a] -= G[b, a] * x[b]
                x[a] /= G[a, a]
            X[i] = x


@njit(parallel=True, cache=True)
def _nonneg(values, indices, indptr, offset, weights, stride, F, ridge, metric, gram, tiny, parts, steps, X, loss):
    k, width = X.shape[1], F.shape[1]
    for p in prange(len(parts) - 1):
        panel = np.zeros((PANEL, width), F.dtype)
        sums = np.zeros((width, width), F.dtype)
        G = np.zeros((k + 1, k + 1))
        x, added = np.zeros(k), np.zeros(k)
        for i in range(parts[p], parts[p + 1]):
            step = _step_of(indptr[i + 1] - indptr[i], stride, k)
            _gram(values, indices, offset, weights, F, indptr[i], indptr[i + 1], step, k, panel, sums, G)
            scale = _penalise(G, k, ridge[i], metric, gram, tiny, added)
            for a in range(k):
                x[a] = max(X[i, a], 0.0) if scale > 0 else 0.0
                for b in range(a):
                    G[b, a] = G[a, b]
            for _ in range(steps):
                for a in range(k):
                    gradient = G[k, a]
                    for b in range(k):
                        gradient -= G[a, b] * x[b]
                    x[a] = max(x[a] + gradient / G[a, a], 0.0)
            total = G[k, k]
            for a in range(k):
                total -= 2 * G[k, a] * x[a]
                for b in range(k):
                    total += x[a] * G[a, b] * x[b]
            loss[i] = max(total, 0.0)
            X[i] = x


@njit(cache=True)
def _normal_times(values, indices, offset, weights, F, begin, end, step, k, panel, v, target, penalty, out):
    """Put A^T (target A_k - A v) - penalty v into out, A the weighted regressors with the targets as column k; give the squared length."""
    square = 0.0
    for a in range(k):
        out[a] = 0.0
        for b in range(k):
            out[a] -= penalty[a, b] * v[b]
    for first in range(begin, end, PANEL * step):
        last = min(first + PANEL * step, end)
        count = _gather(values, indices, offset, weights, F, first, last, step, k, panel)
        for t in range(count):
            s = target * panel[t, k]
            for a in range(k):
                s -= panel[t, a] * v[a]
            square += s * s
            for a in range(k):
                out[a] += s * panel[t, a]
    return square


@njit(cache=True)
def _diagonal(values, indices, offset, weights, F, begin, end, step, k, panel, out, rhs):
    out[:] = 0
    rhs[:] = 0
    for first in range(begin, end, PANEL * step):
        last = min(first + PANEL * step, end)
        count = _gather(values, indices, offset, weights, F, first, last, step, k, panel)
        for t in range(count):
            for a in range(k):
                out[a] += panel[t, a] * panel[t, a]
                rhs[a] += panel[t, a] * panel[t, k]


@njit(parallel=True, cache=True)
def _cg(values, indices, indptr, offset, weights, stride, F, ridge, metric, gram, tiny, parts, steps, X, loss, residual):
    k, width = X.shape[1], F.shape[1]
    for part in prange(len(parts) - 1):
        panel = np.zeros((PANEL, width), F.dtype)
        x, r, z, p, q, diagonal, rhs = np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k)
        for i in range(parts[part], parts[part + 1]):
            begin, end = indptr[i], indptr[i + 1]
            step = _step_of(end - begin, stride, k)
            _diagonal(values, indices, offset, weights, F, begin, end, step, k, panel, diagonal, rhs)
            scale = diagonal.mean()
            if not scale > 0:
                X[i] = 0
                continue
            penalty = gram.copy()
            for a in range(k):
                penalty[a, a] += ridge[i] * metric[a] + tiny * scale
                diagonal[a] += penalty[a, a]
                x[a] = X[i, a]
            _normal_times(values, indices, offset, weights, F, begin, end, step, k, panel, x, 1.0, penalty, r)
            z[:] = r / diagonal
            p[:] = z
            rz = np.sum(r * z)
            for _ in range(steps):
                _normal_times(values, indices, offset, weights, F, begin, end, step, k, panel, p, 0.0, penalty, q)
                pq = -np.sum(p * q)
                if not (pq > 0 and rz > 0):
                    break
                alpha = rz / pq
                x += alpha * p
                r += alpha * q
                z[:] = r / diagonal
                previous = rz
                rz = np.sum(r * z)
                p[:] = z + (rz / previous) * p
            whole = np.sum(rhs * rhs / diagonal)
            residual[i] = np.sqrt(rz / whole) if whole > 0 else 0.0
            square = _normal_times(values, indices, offset, weights, F, begin, end, step, k, panel, x, 1.0, penalty, r)
            loss[i] = square + np.sum(x * (penalty @ x))
            X[i] = x
