"""The Numba side of `als_rows`: lay the arguments out for the loops, and choose the loop."""

from __future__ import annotations

import numpy as np

from lowrank_la.kernels import _als_cg, _als_chol
from lowrank_la.kernels import _als_gram as common


def solve(
    values: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    F: np.ndarray,
    *,
    start: np.ndarray | None,
    ridge: np.ndarray | None,
    metric: np.ndarray | None,
    gram: np.ndarray | None,
    offset: np.ndarray | None,
    weights: np.ndarray | None,
    method: str,
    steps: int,
    fast: bool,
) -> tuple[np.ndarray, ...]:
    """See `als_rows.reference`."""
    k, m = F.shape[1], len(indptr) - 1
    dtype = np.dtype(np.float32 if fast else np.float64)
    wide = common.widened(F, dtype)
    height = common.panel_height(wide)
    narrow = np.int32 if len(F) < 2**31 else np.int64  # one type of index is one compilation
    entries = common.Entries(values, np.asarray(indices, narrow), np.asarray(indptr, np.int64), _vector(offset), _vector(weights))
    penalty = common.Penalty(
        np.zeros(m) if ridge is None else np.asarray(ridge, np.float64),
        np.ones(k) if metric is None else np.asarray(metric, np.float64),
        np.zeros((k, k)) if gram is None else np.ascontiguousarray(gram, np.float64),
        2 * k**0.5 * float(np.finfo(dtype).eps),
        float(np.finfo(dtype).eps) ** 0.5,
    )
    X = np.zeros((m, k)) if start is None else np.array(start, np.float64, order="C")
    loss, pivot, residual = np.zeros(m), np.ones(m), np.zeros(m)
    parts = common.even_parts(indptr, k)
    if method == "cg":
        _als_cg.plain(entries, penalty, wide, _als_cg.kept_height(wide), parts, steps, X, loss, residual)
    elif method == "sketch":
        kept = _als_cg.kept_height(wide)
        _als_cg.sketched(entries, penalty, wide, kept, height, parts, steps, start is not None, X, loss, pivot, residual)
    else:
        heavy, order = common.heavy_rows(entries, wide, k, height), _als_chol.order_of(k)
        shared = (entries, penalty, wide, heavy, height, parts, order)
        if method == "chol":
            _als_chol.cholesky(*shared, X, loss, pivot)
        else:
            _als_chol.nonnegative(*shared, steps, X, loss)
    return X.astype(F.dtype, copy=False), loss, pivot, residual


def _vector(x: np.ndarray | None) -> np.ndarray:
    return np.empty(0) if x is None else np.ascontiguousarray(x, np.float64)
