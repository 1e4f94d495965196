"""A kernel matrix as the algorithms see it: its diagonal, blocks of entries and products, never the whole of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la.kernel_methods._functions import NAMES, KernelFunction, KernelLike, _Banded, check_dense

SAMPLE = 1000  # points that decide a bandwidth
TILE = 1 << 22  # entries at a time of a product with a kernel given as a function or a matrix


class Gram:
    """K with entries k(x_i, x_j), for checked points X inside the door; or a given matrix K.

    Attributes
    ----------
    door : Door
        How the points came in.
    X : array (n, d), or (n, n) if `kernel` is "precomputed"
        Points, or K itself.
    kernel : KernelFunction, callable or "precomputed"
        With every parameter known.
    n : int
        Rows of K.
    diagonal : array (n,), float64
        Diagonal of K.
    """

    def __init__(self, function: str, door: Door, X: Array, kernel: Any) -> None:
        self.function, self.door, self.X, self.kernel = function, door, X, kernel
        self.n = X.shape[0]
        self.diagonal = self._diagonal()

    def block(self, rows: Any, columns: Array) -> Array:
        """Entries K[rows, columns]; `rows` may be slice(None)."""
        xp = self.door.xp
        if isinstance(self.kernel, str):
            if isinstance(rows, slice):
                return _arrays.adjoint_of(xp, xp.take(self.X, columns, axis=0))
            return xp.take(xp.take(self.X, rows, axis=0), columns, axis=1)
        return self.between(self.X if isinstance(rows, slice) else self.points(rows), self.points(columns))

    def points(self, rows: Array) -> Array:
        """Return some of the points."""
        return self.X[_arrays.to_numpy(rows)] if _arrays.is_sparse(self.X) else self.door.xp.take(self.X, rows, axis=0)

    def between(self, X: Array, Y: Array) -> Array:
        """k(x_i, y_j) for points inside the door."""
        if isinstance(self.kernel, KernelFunction):
            return kernels.kernel_entries.apply(X, Y, self.kernel.family, self.kernel.numbers)
        return self._called(X, Y)

    def eliminate(self, F: Array, first: int, rows: Array, L: Array) -> Array:
        """Store columns of K as new ones of a factor F; see `kernels.eliminate`."""
        if isinstance(self.kernel, str):
            return kernels.eliminate.apply(F, first, self.block(slice(None), rows), rows, L)
        return self._columns(F, first, self.X, self.points(rows), rows, L)

    def lift(self, X: Array, Z: Array | None, L: Array) -> tuple[Array, Array]:
        """Return k(X, Z) L^-T and the squared lengths of its rows; X holds these kernel values if K is given as a matrix."""
        if isinstance(self.kernel, KernelFunction) and not _arrays.is_sparse(X):
            return _lifted(L, X.shape[0], lambda F, rows: self._columns(F, 0, X, Z, rows, L))
        return lifted(X if isinstance(self.kernel, str) else self.between(X, Z), L)

    def _columns(self, F: Array, first: int, X: Array, Z: Array, rows: Array, L: Array) -> Array:
        if isinstance(self.kernel, KernelFunction) and not _arrays.is_sparse(X):
            return kernels.eliminate_points.apply(F, first, X, Z, self.kernel.family, self.kernel.numbers, rows, L)
        return kernels.eliminate.apply(F, first, self.between(X, Z), rows, L)

    def apply(self, V: Array) -> Array:
        """K V for V (n, t), in tiles."""
        if isinstance(self.kernel, str):
            return self.X @ V
        return self.product(self.X, self.X, V)

    def product(self, X: Array, Y: Array, V: Array) -> Array:
        """k(X, Y) V for V (n, t), in tiles."""
        if isinstance(self.kernel, KernelFunction):
            return kernels.kernel_product.apply(X, Y, V, self.kernel.family, self.kernel.numbers)
        height = max(1, TILE // max(1, Y.shape[0]))
        return self.door.xp.concat([self._called(tile, Y) @ V for _, tile in _arrays.row_blocks(X, height)], axis=0)

    def _called(self, X: Array, Y: Array) -> Array:
        """Values of the caller's function, checked."""
        X_out, Y_out = (x if _arrays.is_sparse(x) else self.door.leave(x) for x in (X, Y))
        _, [block] = _arrays.enter(self.function, **{"kernel(X, Y)": self.kernel(X_out, Y_out)})
        _checks.shape(self.function, "kernel(X, Y)", block, (X.shape[0], Y.shape[0]))
        _checks.real_dtype(self.function, "kernel(X, Y)", block)
        return _checks.finite(self.function, "kernel(X, Y)", self.door.xp.astype(block, self.door.dtype, copy=False))

    def _diagonal(self) -> Array:
        xp = self.door.xp
        if isinstance(self.kernel, str):
            return xp.astype(xp.linalg.diagonal(self.X), xp.float64)
        return diagonal_of(self, self.X)


def lifted(block: Array, L: Array) -> tuple[Array, Array]:
    """Return block L^-T and the squared lengths of its rows."""
    return _lifted(L, block.shape[0], lambda F, rows: kernels.eliminate.apply(F, 0, block, rows, L))


def _lifted(L: Array, n: int, store: Callable[[Array, Array], Array]) -> tuple[Array, Array]:
    """Allocate the columns and let them be stored, if there are any."""
    xp, k = _arrays.namespace(L), L.shape[0]
    F = xp.zeros((n, k), dtype=L.dtype, device=L.device)
    return F, store(F, xp.zeros(k, dtype=xp.int64, device=L.device)) if n * k else xp.zeros(n, dtype=xp.float64, device=L.device)


def diagonal_of(gram: Gram, X: Array) -> Array:
    """k(x, x) for each row of X, in double precision."""
    xp = gram.door.xp
    if isinstance(gram.kernel, _Banded) or X.shape[0] == 0:
        return xp.ones(X.shape[0], dtype=xp.float64, device=None if _arrays.is_sparse(X) else X.device)
    few = 256  # rows of a block whose diagonal is kept
    parts = [xp.linalg.diagonal(gram.between(part, part)) for _, part in _arrays.row_blocks(X, few)]
    return xp.astype(xp.concat(parts), xp.float64)


def enter(function: str, X: Array, kernel: KernelLike, seed: int) -> Gram:
    """Check points, or a kernel matrix, and the kernel.

    Raises
    ------
    TypeError
        X is complex or no array of numbers, the kernel is of another type.
    ValueError
        X is not two-dimensional, empty or not finite, the kernel's name is unknown, a precomputed matrix is not
        square or has a negative diagonal entry.
    """
    known = (*NAMES, "precomputed")
    if isinstance(kernel, str):
        _checks.choice(function, "kernel", kernel, known)
    elif not callable(kernel):
        raise TypeError(f"{function}: kernel must be a name, a KernelFunction or a callable; got {type(kernel).__name__}")
    if _arrays.is_sparse(X) and isinstance(kernel, str) and kernel == "precomputed":
        raise TypeError(f"{function}: X must be a dense array if the kernel is precomputed; got {type(X).__name__}")
    door, [X] = _arrays.enter(function, X=X)
    _checks.ndim(function, "X", _checks.real_dtype(function, "X", X), 2)
    _checks.finite(function, "X", _checks.not_empty(function, "X", X))
    if isinstance(kernel, str) and kernel == "precomputed":
        return _precomputed(function, door, X)
    kernel = NAMES[kernel] if isinstance(kernel, str) else kernel
    if _arrays.is_sparse(X):
        X = check_dense(function, "X", kernel, X).tocsr()
    return Gram(function, door, X, settle(kernel, X, seed))


def settle(kernel: KernelFunction | Callable[..., Any], X: Array, seed: int) -> KernelFunction | Callable[..., Any]:
    """Take a bandwidth from the data where it is "median"."""
    if not isinstance(kernel, _Banded) or kernel.bandwidth != "median":
        return kernel
    places = np.sort(_random.host_generator(seed, "kernel bandwidth").permutation(X.shape[0])[:SAMPLE])
    distances = _distances(X, places, "cityblock" if kernel.family == "laplace" else "euclidean")
    positive = distances[distances > 0]
    return dataclasses.replace(kernel, bandwidth=float(np.median(positive)) if positive.size else 1.0)


def _distances(X: Array, places: np.ndarray, metric: Literal["cityblock", "euclidean"]) -> np.ndarray:
    """Distances between some of the points."""
    if _arrays.is_sparse(X):
        products = (X[places] @ X[places].T).toarray()
        squares = np.diagonal(products)[:, None] + np.diagonal(products) - 2 * products
        return np.sqrt(squares[np.triu_indices(places.size, 1)].clip(0))
    from scipy.spatial.distance import pdist

    return pdist(_arrays.to_numpy(_arrays.namespace(X).take(X, _arrays.from_numpy(places, X), axis=0)).astype(np.float64), metric)


def _precomputed(function: str, door: Door, K: Array) -> Gram:
    if K.shape[0] != K.shape[1]:
        raise ValueError(f"{function}: K must be square; got shape {tuple(K.shape)}")
    gram = Gram(function, door, K, "precomputed")
    least = int(door.xp.argmin(gram.diagonal))
    if float(gram.diagonal[least]) < 0:
        raise ValueError(f"{function}: K must be positive semidefinite; got a negative diagonal entry in row {least}")
    return gram
