"""k(x_i, y_j) for the rows of two matrices, for the kernels of `kernel_methods`.

The compiled version keeps a tile in registers and the first-level cache from the coordinates to the exponential. On a GPU the
reference runs: a matrix product and a few elementwise operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lowrank_la import _arrays, _threads
from lowrank_la._arrays import Array
from lowrank_la.kernels import _kernel_tiles, _rows
from lowrank_la.kernels._engine import Kernel

FAMILIES = ("rbf", "matern12", "matern32", "matern52", "laplace", "polynomial", "cosine")


def reference(X: Array, Y: Array, family: str, numbers: tuple[float, ...]) -> Array:
    """Return the (m, n) matrix of entries; `numbers` are (bandwidth,), or (degree, scale, offset) for "polynomial", or ().

    Sparse points keep their place: centring would fill them.
    """
    if family == "polynomial":
        degree, scale, offset = numbers
        return (scale * _products(X, Y) + offset) ** int(degree)
    if family == "cosine":
        return _products(X, Y) / (_lengths(X)[:, None] * _lengths(Y)[None, :])
    if family == "laplace":
        xp = _arrays.namespace(X, Y)
        return xp.exp(-_summed(X, Y, xp.abs) / numbers[0])
    return _radial((_squared_distances if family != "matern12" else _fine_distances)(X, Y) / numbers[0] ** 2, family)


def cpu(X: np.ndarray, Y: np.ndarray, family: str, numbers: tuple[float, ...]) -> np.ndarray:
    """Fill tiles; the same bits for any number of threads."""
    if not _rows.is_plain(X, Y) or X.dtype != Y.dtype or X.shape[1] == 0:
        return reference(X, Y, family, numbers)
    out = np.empty((X.shape[0], Y.shape[0]), X.dtype)
    with _threads.kernels_for(2.0 * out.size * (X.shape[1] + _kernel_tiles.PROFILE_FLOPS)):
        plan, rows, columns = _kernel_tiles.prepare(X, Y, family, numbers)
        _kernel_tiles.entries(plan, *rows, _kernel_tiles.panels(columns), columns.norms, out)
    return out


def _radial(square: Array, family: str) -> Array:
    """Profile of a kernel at squared distances in units of the bandwidth."""
    xp = _arrays.namespace(square)
    if family == "rbf":
        return xp.exp(-square / 2)
    nu2 = {"matern12": 1, "matern32": 3, "matern52": 5}[family]
    r = xp.sqrt(nu2 * square)
    powers = {1: 1.0, 3: 1.0 + r, 5: 1.0 + r + r * r / 3}[nu2]
    return powers * xp.exp(-r)


def _squared_distances(X: Array, Y: Array) -> Array:
    """Through a product, about a common centre, where rounding errors are smallest."""
    if not (_arrays.is_sparse(X) or _arrays.is_sparse(Y)):
        centre = _arrays.namespace(Y).mean(Y, axis=0, keepdims=True)
        X, Y = X - centre, Y - centre
    squares = _squares(X)[:, None] + _squares(Y)[None, :] - 2 * _products(X, Y)
    return _arrays.namespace(squares).where(squares > 0, squares, squares * 0)


def _fine_distances(X: Array, Y: Array) -> Array:
    """Squared distances for a kernel that takes their roots, which would magnify the rounding errors of products."""
    if _arrays.is_sparse(X) or _arrays.is_sparse(Y):
        return _squared_distances(X, Y)
    return _summed(X, Y, _arrays.namespace(X).square)


def _summed(X: Array, Y: Array, term: Any) -> Array:
    """Sum a term of the differences, one coordinate at a time."""
    xp = _arrays.namespace(X, Y)
    columns = (term(X[:, j][:, None] - Y[:, j][None, :]) for j in range(X.shape[1]))
    return sum(columns, start=xp.zeros((X.shape[0], Y.shape[0]), dtype=X.dtype, device=X.device))


def _products(X: Array, Y: Array) -> Array:
    products = X @ Y.T
    return products.toarray() if _arrays.is_sparse(products) else products


def _squares(X: Array) -> Array:
    if _arrays.is_sparse(X):
        return np.asarray(X.multiply(X).sum(axis=1)).reshape(-1)
    return _arrays.namespace(X).sum(X * X, axis=1)


def _lengths(X: Array) -> Array:
    """Lengths of the rows, 1 for rows of zeros."""
    squares = _squares(X)
    xp = _arrays.namespace(squares)
    return xp.sqrt(xp.where(squares > 0, squares, xp.ones_like(squares)))


apply = Kernel(reference, cpu)
