"""The linear system of a kernel ridge regression, its products and residuals, and what a residual says about predictions."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import U, host, wide
from lowrank_la.kernel_methods import _gram
from lowrank_la.kernel_methods._functions import NAMES, KernelFunction, KernelLike, _Banded
from lowrank_la.kernel_methods._gram import SAMPLE, Gram

ENTRY = 32  # roundoff units of sqrt(k(x, x) k(y, y)) that an entry of K may be wrong by, beside one for each coordinate


@dataclass(frozen=True)
class Problem:
    """(D K D + ridge I) B = D Y, in which the coefficients are D B and D^2 holds the weights.

    Attributes
    ----------
    gram : Gram
        K, in the dtype of the points.
    fine : Gram
        The same in double precision.
    root : array (n, 1), float64, or None
        Diagonal of D; None for the identity.
    y : array (n, t), float64
        Targets, over `unit`.
    unit : NumPy array (t,)
        Powers of two that make the largest target about 1.
    vector : bool
        Whether the targets came as a vector.
    ridge : float
        The regulariser.
    """

    gram: Gram
    fine: Gram
    root: Array | None
    y: Array
    unit: np.ndarray
    vector: bool
    ridge: float

    @property
    def xp(self) -> Any:
        """Namespace."""
        return self.gram.door.xp

    @cached_property
    def rhs(self) -> Array:
        """D Y."""
        return self.weigh(self.y)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Norms of the columns of D Y."""
        return norms(self.rhs)

    @cached_property
    def lengths(self) -> Array:
        """Square roots of the diagonal of D K D, shape (n, 1)."""
        return self.weigh(self.xp.sqrt(self.gram.diagonal)[:, None])

    @cached_property
    def trace(self) -> float:
        """Trace of D K D."""
        return float(self.xp.sum(self.lengths * self.lengths))

    def weigh(self, V: Array) -> Array:
        """Multiply by D."""
        return V if self.root is None else self.root * V

    def times(self, V: Array) -> Array:
        """Multiply by D K D + ridge I, with K in the dtype of the points."""
        KV = self.gram.apply(self.xp.astype(self.weigh(V), self.gram.door.dtype, copy=False))
        return self.weigh(wide(KV)) + self.ridge * V

    def residual(self, B: Array) -> Array:
        """Return D Y - (D K D + ridge I) B, in double precision."""
        return self.rhs - self.weigh(self.product(self.weigh(B))) - self.ridge * B

    def product(self, V: Array) -> Array:
        """Return K V in double precision."""
        if isinstance(self.gram.kernel, str):
            return self.xp.concat([wide(tile) @ V for _, tile in _arrays.row_blocks(self.gram.X)], axis=0)
        return self.fine.apply(V)

    def dense(self) -> Array:
        """Return D K D + ridge I in double precision, in memory of its own.

        Raises
        ------
        ValueError
            A caller's matrix or function is not symmetric.
        """
        given = isinstance(self.gram.kernel, str)
        K = self.xp.asarray(self.gram.X, dtype=self.xp.float64, copy=True) if given else wide(self.fine.between(self.fine.X, self.fine.X))
        if not isinstance(self.gram.kernel, KernelFunction):
            _check_symmetric(self, K)
        K = K if self.root is None else self.root * K * self.xp.matrix_transpose(self.root)
        diagonal = self.xp.reshape(_arrays.along_memory(K), (-1,), copy=False)
        diagonal[:: self.gram.n + 1] += self.ridge
        return K

    def coefficients(self, B: Array) -> Array:
        """Return D B in the units of the targets and the dtype of the points."""
        return self.xp.astype(self.weigh(B) * _arrays.from_numpy(self.unit, B)[None, :], self.gram.door.dtype)

    def taken(self, coefficients: Array) -> Array:
        """Return the B that belongs to coefficients (n, t); a point without weight has none."""
        B = wide(coefficients) / _arrays.from_numpy(self.unit, self.y)[None, :]
        if self.root is None:
            return B
        return self.xp.where(self.root > 0, B / self.xp.where(self.root > 0, self.root, self.xp.ones_like(self.root)), 0.0)

    def rounded(self, B: Array) -> Array:
        """Return the B that belongs to the coefficients as they are handed out."""
        return B if self.gram.door.dtype == self.xp.float64 else self.taken(self.coefficients(B))

    def slack(self, B: Array) -> np.ndarray:
        """Bound the rounding errors in the norms of the columns of `residual`, and those of the coefficients."""
        n, width = self.gram.n, self.gram.X.shape[1]
        terms = (n + width + ENTRY) * U * math.sqrt(self.trace)
        spread = host(self.xp.sum(self.lengths * self.xp.abs(B), axis=0))
        return terms * spread + 4 * U * (self.sizes + self.ridge * norms(B))


def norms(V: Array) -> np.ndarray:
    """Return the norms of the columns, on the host."""
    return host(_arrays.namespace(V).linalg.vector_norm(V, axis=0))


def steepness(ridge: float, trace: float) -> float:
    """Bound sqrt(s) / (s + ridge) for 0 <= s <= trace: the norm of an error of f, over that of the residual."""
    s = min(ridge, trace)
    return math.sqrt(s) / (s + ridge)


def enter(function: str, X: Array, y: Array, kernel: KernelLike, weights: Array | None, seed: int) -> Problem:
    """Check the data; the ridge is still to be set.

    Raises
    ------
    TypeError
        An argument is complex, no array of numbers, or of another library than X.
    ValueError
        Shapes do not fit, an entry is not finite, a weight is negative or all are zero.
    """
    if weights is not None:
        kernel = _weighted_bandwidth(function, X, kernel, weights, seed)
    gram = _gram.enter(function, X, kernel, seed)
    y = _numbers(function, "y", y, gram, (1, 2))
    columns = y if y.ndim == 2 else y[:, None]
    largest = host(gram.door.xp.max(gram.door.xp.abs(columns), axis=0))
    unit = np.exp2(np.clip(np.frexp(largest)[1], -1000, 1000).astype(float))
    scaled = columns / _arrays.from_numpy(unit, columns)[None, :]
    root = None if weights is None else gram.door.xp.sqrt(_weights(function, weights, gram))[:, None]
    return Problem(gram, _fine(gram), root, scaled, unit, y.ndim == 1, math.nan)


def _numbers(function: str, name: str, x: Array, gram: Gram, dims: int | tuple[int, ...]) -> Array:
    """Take an array with as many rows as X inside, in double precision."""
    x = _arrays.beside(function, name, x, gram.diagonal)
    _checks.ndim(function, name, _checks.real_dtype(function, name, x), dims)
    _checks.rows_like(function, name, x, gram.n, "X")
    return gram.door.xp.astype(_checks.finite(function, name, _checks.not_empty(function, name, x)), gram.door.xp.float64)


def _weights(function: str, weights: Array, gram: Gram) -> Array:
    xp, weights = gram.door.xp, _numbers(function, "sample_weight", weights, gram, 1)
    if bool(xp.any(weights < 0)) or not bool(xp.any(weights > 0)):
        least = float(xp.min(weights))
        raise ValueError(f"{function}: sample_weight must not be negative, nor zero everywhere; got {least:.6g} as the least")
    return weights


def _weighted_bandwidth(function: str, X: Array, kernel: KernelLike, weights: Array, seed: int) -> KernelLike:
    """Settle a bandwidth "median" so that a weight of 2 is a point that comes twice, and a weight of 0 none."""
    kernel = NAMES.get(kernel, kernel) if isinstance(kernel, str) else kernel
    if not isinstance(kernel, _Banded) or kernel.bandwidth != "median":
        return kernel
    plain = _gram.enter(function, X, dataclasses.replace(kernel, bandwidth=1.0), seed)
    chances = host(_weights(function, weights, plain))
    order = _random.host_generator(seed, "kernel bandwidth").permutation(np.flatnonzero(chances > 0))[:SAMPLE]
    rows = np.sort(order)
    few = plain.points(_arrays.from_numpy(rows, plain.diagonal))
    few = few.toarray() if _arrays.is_sparse(few) else host(few)
    from scipy.spatial.distance import pdist

    distances = pdist(few, "cityblock" if kernel.family == "laplace" else "euclidean")
    i, j = np.triu_indices(rows.size, 1)
    pairs, distances = (chances[rows][i] * chances[rows][j])[distances > 0], distances[distances > 0]
    return dataclasses.replace(kernel, bandwidth=_median(distances, pairs) if distances.size else 1.0)


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean of the lower and the upper weighted median."""
    order = np.argsort(values)
    values, sums = values[order], np.cumsum(weights[order])
    half = sums[-1] / 2
    lower, upper = np.searchsorted(sums, half * (1 - 1e-12)), np.searchsorted(sums, half * (1 + 1e-12))
    return float(values[lower] + values[min(upper, values.size - 1)]) / 2


def _fine(gram: Gram) -> Gram:
    """Evaluate the same kernel in double precision; a caller's function or matrix stays what it is."""
    xp = gram.door.xp
    if gram.door.dtype == xp.float64:
        return gram
    X = double(gram.X) if isinstance(gram.kernel, KernelFunction) else gram.X
    return Gram(gram.function, dataclasses.replace(gram.door, dtype=xp.float64), X, gram.kernel)


def double(X: Array) -> Array:
    """Return dense or sparse points in double precision."""
    return X.astype(np.float64) if _arrays.is_sparse(X) else wide(X)


def _check_symmetric(problem: Problem, K: Array) -> None:
    """Look at a caller's matrix or function.

    Raises
    ------
    ValueError
        Entries differ from those across the diagonal by more than rounding errors of a kernel function.
    """
    xp = problem.xp
    difference = float(xp.max(xp.abs(K - xp.matrix_transpose(K))))
    if difference > math.sqrt(_arrays.unit_roundoff(xp, problem.gram.door.dtype)) * float(xp.max(xp.abs(problem.gram.diagonal))):
        raise ValueError(f"{problem.gram.function}: K must be symmetric; entries differ by {difference:.3g} from those across the diagonal")
