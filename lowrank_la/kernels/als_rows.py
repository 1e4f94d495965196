"""Ridge regressions of the rows of a sparse matrix on one shared factor: half a sweep of alternating least squares.

Row i has entries y_t in columns j_t, t from indptr[i] to indptr[i + 1]. Every row solves

    min over x of  sum_t w_t (y_t - offset[j_t] - F[j_t] . x)^2 + ridge_i sum_a metric_a x_a^2 + x^T gram x.

Methods
-------
"chol"
    Normal equations and Cholesky: n_i k^2 + k^3 / 3 flops for a row of n_i entries.
"cg"
    `steps` conjugate-gradient steps from `start` with a diagonal preconditioner:
    4 (steps + 1) n_i k flops and no k x k matrix. Pays for long k and short rows.
"sketch"
    At most `steps` conjugate-gradient steps, preconditioned by the Cholesky factor of a
    sparse-sign sketch of the row's regressors with 4 k rows, from `start` or from the
    sketched solution: the row solver of [1]_. Each step about halves the error. Rows
    below 16 k entries are factored whole, and done after one step.
"nonneg"
    `steps` rounds of coordinate descent on x >= 0 from `start`, on the normal equations.

The reference and the GPU form the Gram matrices for every method, and solve "sketch" directly.

References
----------
.. [1] Gu, Song, Yin and Zhang, Low rank matrix completion via robust alternating
   minimization in nearly linear time, ICLR 2024. The sketched row solver.
.. [2] Hu, Koren and Volinsky, Collaborative filtering for implicit feedback datasets,
   ICDM 2008; Takacs, Pilaszy and Tikk, Applications of the conjugate gradient method
   for implicit feedback collaborative filtering, RecSys 2011. "chol" and "cg".
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel

METHODS = ("chol", "cg", "sketch", "nonneg")


class Rows(NamedTuple):
    """What the rows' regressions gave.

    Attributes
    ----------
    X : array (m, k), dtype of F
        Solutions; 0 for a row without entries, finite whatever the rank.
    loss : float64 array (m,)
        The minimised objective of each row, over the entries used; up to the rounding of
        the row's sum of w y^2 (times 1e-7 if `fast`).
    pivot : float64 array (m,)
        "chol", and "sketch" for its preconditioner: the smallest ratio of a pivot of the Cholesky factorisation to
        the diagonal entry it came from, in [0, 1], the ridge left out: at or below about
        1e-12 (1e-6 if `fast`) the row's entries do not determine x; 0 for a row of fewer than
        k entries. 1 for the other methods.
    residual : float64 array (m,)
        "cg" and "sketch": what is left of the normal equations, relative, in the norm of the
        preconditioner. 0 for the other methods.
    """

    X: Array
    loss: Array
    pivot: Array
    residual: Array


def reference(
    values: Array,
    indices: Array,
    indptr: Array,
    F: Array,
    *,
    start: Array | None = None,
    ridge: Array | None = None,
    metric: Array | None = None,
    gram: Array | None = None,
    offset: Array | None = None,
    weights: Array | None = None,
    method: str = "chol",
    steps: int = 3,
    fast: bool = False,
) -> Rows:
    """Solve every row.

    Parameters
    ----------
    values, indices, indptr : arrays (N,), (N,) and (m + 1,)
        Compressed rows: floats of either precision, int32 or int64 indices.
    F : float array (n, k)
        Regressors; its dtype is the answer's.
    start : array (m, k), optional
        Where the iterations begin; by default 0, for "sketch" the sketched solution.
    ridge : float64 array (m,), optional
        Nonnegative, one per row. A ridge at rounding level is always there, so that no row
        is singular; rows with fewer than k entries get at least the root of the rounding
        error, which is their solution of least norm to about 1e-7 (1e-3 if `fast`).
    metric : float64 array (k,), optional
        Nonnegative weights of the columns inside the ridge; 0 frees a bias column.
    gram : float64 array (k, k), optional
        Fixed positive semidefinite penalty on every row that has entries.
    offset : float array (n,), optional
        Subtracted from the entries of its column: fixed biases of the other side.
    weights : float array (N,), optional
        Nonnegative weights of the entries.
    method : {"chol", "cg", "sketch", "nonneg"}
    steps : int
        Steps of "cg" and "sketch", rounds of "nonneg".
    fast : bool
        Form the sums in float32 (flushed to float64 every 4096 entries); solve in float64.
        Twice the speed, and errors of about 1e-7 times the row's condition number squared.

    Returns
    -------
    Rows

    Notes
    -----
    Memory: a float32 (if `fast`) or float64 copy of F, and per thread the panel of 256
    regressors and a few k x k matrices. Rows do not depend on the thread count or on each other.
    """
    xp = _arrays.namespace(values, F)
    panel, y, w = _padded(xp, values, indices, indptr, F, offset, weights)
    joint = xp.concat([panel, y[..., None]], axis=2)
    G = xp.matrix_transpose(joint * w[..., None]) @ joint
    penalty = (ridge, metric, gram)
    return _solve_normal(xp, G, indptr[1:] - indptr[:-1], start, penalty, method, steps, F.dtype, float(xp.finfo(xp.float64).eps))


def _solve_normal(
    xp: Any, G: Array, degree: Array, start: Array | None, penalty: tuple, method: str, steps: int, dtype: Any, eps: float
) -> Rows:
    """Solve all rows from their Gram matrices (m, k + 1, k + 1) of regressors and targets, formed to relative accuracy eps."""
    k = G.shape[-1] - 1
    normal, rhs, square = G[:, :k, :k], G[:, k, :k], G[:, k, k]
    diagonal = xp.linalg.diagonal(normal)
    scale = xp.sum(diagonal, axis=-1) / k
    normal = _penalised(xp, normal, scale, degree, *penalty, eps)
    x0 = xp.zeros_like(rhs) if start is None else xp.astype(start, xp.float64)
    x, residual = _SOLVERS[method](xp, normal, rhs, xp.where(scale[:, None] > 0, x0, xp.zeros_like(x0)), steps)
    x = xp.where(scale[:, None] > 0, x, xp.zeros_like(x))
    loss = square - 2 * xp.sum(rhs * x, axis=1) + xp.sum(x * _times(normal, x), axis=1)
    pivot = xp.ones_like(loss)
    if method in {"chol", "sketch"}:
        pivot = xp.where(degree < k, xp.zeros_like(loss), _smallest_pivot(xp, normal, diagonal))
    return Rows(xp.astype(x, dtype), xp.maximum(loss, xp.zeros_like(loss)), pivot, residual)


def _padded(xp: Any, values: Array, indices: Array, indptr: Array, F: Array, offset: Any, weights: Any) -> tuple:
    """Gather every row's regressors, targets and weights into arrays (m, longest row, ...), with weight 0 beyond its end."""
    start, degree = indptr[:-1], indptr[1:] - indptr[:-1]
    longest = max(1, int(xp.max(degree))) if degree.shape[0] else 1
    order = xp.arange(longest, dtype=indptr.dtype, device=indptr.device)[None, :]
    inside = order < degree[:, None]
    place = xp.reshape(xp.where(inside, start[:, None] + order, 0), (-1,))
    if values.shape[0] == 0:
        shape = inside.shape
        empty = xp.zeros(shape, dtype=xp.float64, device=F.device)
        return xp.zeros((*shape, F.shape[1]), dtype=xp.float64, device=F.device), empty, empty
    columns = xp.take(indices, place)
    y = xp.astype(xp.take(values, place), xp.float64)
    if offset is not None:
        y = y - xp.astype(xp.take(offset, columns), xp.float64)
    w = xp.astype(inside, xp.float64)
    if weights is not None:
        w = w * xp.reshape(xp.astype(xp.take(weights, place), xp.float64), inside.shape)
    panel = xp.astype(xp.take(F, columns, axis=0), xp.float64)
    return xp.reshape(panel, (*inside.shape, F.shape[1])), xp.reshape(y, inside.shape), w


def _penalised(xp: Any, normal: Array, scale: Array, degree: Array, ridge: Any, metric: Any, gram: Any, eps: float) -> Array:
    """Add the penalties and the ridge that keeps a row regular: for rows shorter than k the one that balances rounding and bias."""
    k = normal.shape[-1]
    eye = xp.eye(k, dtype=xp.float64, device=normal.device)
    short = eps**0.5 * scale - (0.0 if ridge is None else ridge)
    floor = xp.where(degree < k, xp.maximum(short, 2 * k**0.5 * eps * scale), 2 * k**0.5 * eps * scale)
    floor = xp.where(scale > 0, floor, xp.ones_like(scale))
    normal = normal + floor[:, None, None] * eye
    if ridge is not None:
        weights = xp.ones((k,), dtype=xp.float64, device=normal.device) if metric is None else metric
        normal = normal + ridge[:, None, None] * (weights * eye)
    return normal if gram is None else normal + gram


def _smallest_pivot(xp: Any, normal: Array, diagonal: Array) -> Array:
    factor = xp.linalg.cholesky(normal)
    added = xp.linalg.diagonal(normal) - diagonal
    pivots = _ratio(xp, xp.linalg.diagonal(factor) ** 2 - added, diagonal)
    return xp.clip(xp.min(pivots, axis=-1), 0.0, 1.0)


def _times(normal: Array, x: Array) -> Array:
    return (normal @ x[..., None])[..., 0]


def _direct(xp: Any, normal: Array, rhs: Array, x: Array, steps: int) -> tuple[Array, Array]:
    del steps
    return xp.linalg.solve(normal, rhs[..., None])[..., 0], xp.zeros_like(x[:, 0])


def _conjugate_gradients(xp: Any, normal: Array, rhs: Array, x: Array, steps: int) -> tuple[Array, Array]:
    inverse = 1 / xp.linalg.diagonal(normal)
    r = rhs - _times(normal, x)
    z = inverse * r
    p, rz = z, xp.sum(r * z, axis=1)
    for _ in range(steps):
        q = _times(normal, p)
        alpha = _ratio(xp, rz, xp.sum(p * q, axis=1))[:, None]
        x, r = x + alpha * p, r - alpha * q
        z = inverse * r
        previous, rz = rz, xp.sum(r * z, axis=1)
        p = z + _ratio(xp, rz, previous)[:, None] * p
    return x, xp.sqrt(_ratio(xp, rz, xp.sum(rhs * inverse * rhs, axis=1)))


def _ratio(xp: Any, a: Array, b: Array) -> Array:
    """Return a / b, 0 where b is 0."""
    return xp.where(b > 0, a / xp.where(b > 0, b, xp.ones_like(b)), xp.zeros_like(a))


def _coordinate_descent(xp: Any, normal: Array, rhs: Array, x: Array, steps: int) -> tuple[Array, Array]:
    columns = [xp.maximum(x[:, a], xp.zeros_like(x[:, a])) for a in range(x.shape[1])]
    for _ in range(steps):
        for a in range(len(columns)):
            gradient = rhs[:, a] - sum(normal[:, a, b] * column for b, column in enumerate(columns))
            columns[a] = xp.maximum(columns[a] + gradient / normal[:, a, a], xp.zeros_like(gradient))
    return xp.stack(columns, axis=1), xp.zeros_like(rhs[:, 0])


_SOLVERS = {
    "chol": _direct,
    "sketch": _direct,  # what its steps converge to
    "cg": _conjugate_gradients,
    "nonneg": _coordinate_descent,
}


def cpu(
    values: Array,
    indices: Array,
    indptr: Array,
    F: Array,
    *,
    start: Array | None = None,
    ridge: Array | None = None,
    metric: Array | None = None,
    gram: Array | None = None,
    offset: Array | None = None,
    weights: Array | None = None,
    method: str = "chol",
    steps: int = 3,
    fast: bool = False,
) -> Rows:
    """Solve every row with Numba; see `reference`."""
    from lowrank_la.kernels import _als_cpu

    options = {"start": start, "ridge": ridge, "metric": metric, "gram": gram, "offset": offset, "weights": weights}
    return Rows(*_als_cpu.solve(values, indices, indptr, F, **options, method=method, steps=steps, fast=fast))


CUDA_THREADS = 128
CUDA_TILE = 16  # entries whose regressors lie in shared memory
CUDA_WIDTH = 256  # longest row of regressors and target there: 32 KiB in float64
CUDA_BYTES = 1 << 28  # Gram matrices held at once


def cuda(
    values: Array,
    indices: Array,
    indptr: Array,
    F: Array,
    *,
    start: Array | None = None,
    ridge: Array | None = None,
    metric: Array | None = None,
    gram: Array | None = None,
    offset: Array | None = None,
    weights: Array | None = None,
    method: str = "chol",
    steps: int = 3,
    fast: bool = False,
) -> Rows:
    """Form the Gram matrices, a block of threads each, and solve them with the batched routines of the library; see `reference`."""
    xp = _arrays.namespace(values, F)
    k, m = F.shape[1], indptr.shape[0] - 1
    if k >= CUDA_WIDTH:
        options = {"start": start, "ridge": ridge, "metric": metric, "gram": gram, "offset": offset, "weights": weights}
        return reference(values, indices, indptr, F, **options, method=method, steps=steps, fast=fast)
    dtype = xp.float32 if fast else xp.float64
    none = xp.empty(0)
    offset, weights = (none if x is None else x for x in (offset, weights))
    height = max(1, CUDA_BYTES // (8 * (k + 1) ** 2))
    runs = []
    for first in range(0, max(m, 1), height):
        rows = slice(first, min(first + height, m))
        G = xp.zeros((rows.stop - first, k + 1, k + 1))
        if G.shape[0] and values.shape[0]:
            _cuda_gram(str(dtype.__name__))[G.shape[0], CUDA_THREADS](values, indices, indptr[first:], F, offset, weights, G)
        degree = indptr[first + 1 : rows.stop + 1] - indptr[first : rows.stop]
        penalty = (None if ridge is None else ridge[rows], metric, gram)
        warm = None if start is None else start[rows]
        runs.append(_solve_normal(xp, G, degree, warm, penalty, method, steps, F.dtype, float(xp.finfo(dtype).eps)))
    return Rows(*(xp.concat(parts) for parts in zip(*runs, strict=True)))


@functools.cache
def _cuda_gram(name: str):  # type: ignore[no-untyped-def]
    global gpu  # a global, because the simulator swaps the globals of a kernel
    from numba import cuda as gpu

    tile, width, kind = CUDA_TILE, CUDA_WIDTH, getattr(np, name)

    @gpu.jit
    def gram(values, indices, indptr, F, offset, weights, G):  # type: ignore[no-untyped-def]
        """Put the Gram matrix of a row's regressors and targets into G[block]: products in the shared tile's dtype, sums in float64."""
        shared = gpu.shared.array((tile, width), kind)
        i, lane, k = gpu.blockIdx.x, gpu.threadIdx.x, F.shape[1]
        begin, end = indptr[i], indptr[i + 1]
        for first in range(begin, end, tile):
            inside = min(tile, end - first)
            for e in range(lane, inside * (k + 1), gpu.blockDim.x):
                t = first + e // (k + 1)
                a, j = e % (k + 1), indices[t]
                x = F[j, a] if a < k else values[t] - (offset[j] if offset.size else 0.0)
                shared[e // (k + 1), a] = x * math.sqrt(weights[t]) if weights.size else x
            gpu.syncthreads()
            for e in range(lane, (k + 1) ** 2, gpu.blockDim.x):
                a, b = e // (k + 1), e % (k + 1)
                part = kind(0)
                for s in range(inside):
                    part += shared[s, a] * shared[s, b]
                G[i, a, b] += part
            gpu.syncthreads()

    return gram


solve = Kernel(reference, cpu, cuda)
