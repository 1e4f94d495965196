"""k(x_i, y_j) for the rows of two matrices, for the kernels of `kernel_methods`."""

from __future__ import annotations

from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel

FAMILIES = ("rbf", "matern12", "matern32", "matern52", "laplace", "polynomial", "cosine")


def reference(X: Array, Y: Array, family: str, numbers: tuple[float, ...]) -> Array:
    """Return the (m, n) matrix of entries; `numbers` are (bandwidth,), or (degree, scale, offset) for "polynomial", or ()."""
    xp = _arrays.namespace(X, Y)
    if family == "polynomial":
        degree, scale, offset = numbers
        return (scale * (X @ xp.matrix_transpose(Y)) + offset) ** int(degree)
    if family == "cosine":
        return _unit(xp, X) @ xp.matrix_transpose(_unit(xp, Y))
    if family == "laplace":
        columns = (xp.abs(X[:, j][:, None] - Y[:, j][None, :]) for j in range(X.shape[1]))
        return xp.exp(-sum(columns, start=xp.zeros((X.shape[0], Y.shape[0]), dtype=X.dtype, device=X.device)) / numbers[0])
    return _radial(xp, _squared_distances(xp, X, Y) / numbers[0] ** 2, family)


def _radial(xp: Any, square: Array, family: str) -> Array:
    """Profile of a kernel at squared distances in units of the bandwidth."""
    if family == "rbf":
        return xp.exp(-square / 2)
    nu2 = {"matern12": 1, "matern32": 3, "matern52": 5}[family]
    r = xp.sqrt(nu2 * square)
    powers = {1: 1.0, 3: 1.0 + r, 5: 1.0 + r + r * r / 3}[nu2]
    return powers * xp.exp(-r)


def _squared_distances(xp: Any, X: Array, Y: Array) -> Array:
    """Through a product, about a common centre, where rounding errors are smallest."""
    centre = xp.mean(Y, axis=0, keepdims=True)
    X, Y = X - centre, Y - centre
    squares = xp.sum(X * X, axis=1)[:, None] + xp.sum(Y * Y, axis=1)[None, :] - 2 * (X @ xp.matrix_transpose(Y))
    return xp.where(squares > 0, squares, xp.zeros_like(squares))


def _unit(xp: Any, X: Array) -> Array:
    """Rows of length 1; zero rows stay zero."""
    norms = xp.sqrt(xp.sum(X * X, axis=1, keepdims=True))
    return X / xp.where(norms > 0, norms, xp.ones_like(norms))


apply = Kernel(reference)
