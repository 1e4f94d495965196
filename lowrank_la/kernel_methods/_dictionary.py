"""The dictionary of a stream of points: which of them stand for all, and with which weights (SQUEAK, INK-Estimate)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from lowrank_la import _arrays, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, eye, host, wide
from lowrank_la.kernel_methods._gram import Gram

STREAM = _random.stream("SequentialNystrom: draws")
GROWTH, LEAST_GROWTH = 8, 32  # a dictionary is thinned when it has grown by an eighth, and at least by so many points
ON_HOST = ("index", "p", "uniform")
ON_DEVICE = ("points", "K", "L")
NUMBERS = ("ridge", "dimension", "settled")


@dataclass(frozen=True)
class Rules:
    """What decides how points are kept.

    Attributes
    ----------
    gram : Gram
        The kernel, in double precision.
    eps, qbar, most, normalize, seed
        As for `SequentialNystrom`; `most` is its max_size.
    """

    gram: Gram
    eps: float
    qbar: int
    most: float
    normalize: bool
    seed: int


@dataclass(frozen=True)
class Dictionary:
    """Points with probabilities p that never rise; copy j of a point is there while uniform_j < p.

    Attributes
    ----------
    points : array (m, d)
        In the dtype of the stream.
    K, L : array (m, m), float64
        Kernel matrix of the points, and the Cholesky factor of W K W + ridge I with the weights W.
    index, p, uniform : NumPy arrays (m,), (m,), (m, qbar)
        Rows of the stream, probabilities, and the uniform numbers of their copies.
    ridge : float
        The one in force.
    dimension : float
        Estimate of the effective dimension of all that came, which only `normalize` keeps.
    settled : int
        Size after the last thinning.
    """

    points: Array
    K: Array
    L: Array
    index: np.ndarray
    p: np.ndarray
    uniform: np.ndarray
    ridge: float
    dimension: float = 0.0
    settled: int = 0
    q: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", np.sum(self.uniform < self.p[:, None], axis=1))

    def __len__(self) -> int:
        return self.index.size

    @property
    def weights(self) -> np.ndarray:
        """Diagonal of W: how many rows a point stands for, on average, under the root."""
        return np.sqrt(self.q / (self.uniform.shape[1] * self.p))

    def later(self, rows: int) -> Dictionary:
        """Count the rows on from a number of earlier ones."""
        return dataclasses.replace(self, index=self.index + rows)

    @classmethod
    def empty(cls, points: Array, qbar: int, ridge: float) -> Dictionary:
        """Begin with no points, of the kind of an array (0, d)."""
        nothing = _arrays.namespace(points).zeros((0, 0), dtype=wide(points).dtype, device=points.device)
        return cls(points, nothing, nothing, np.zeros(0, np.int64), np.zeros(0), np.zeros((0, qbar)), ridge)


def advance(D: Dictionary, X: Array, diagonal: Array, first: int, rules: Rules) -> Dictionary:
    """Take a block of rows, with numbers from `first` on in the stream, and their k(x, x).

    Each row is scored against the dictionary and itself, and what survives its draws is put behind the other points,
    which only extends the Cholesky factor. Once the dictionary has grown, all of it is scored anew and thinned.

    Raises
    ------
    ValueError
        The kernel is not positive semidefinite.
    """
    if bool(_arrays.namespace(X).any(diagonal < 0)):
        raise ValueError(f"{rules.gram.function}: kernel must be positive semidefinite; got a negative k(x, x)")
    xp, gram = _arrays.namespace(X), rules.gram
    points, weights = wide(X), _arrays.from_numpy(D.weights, D.K)
    cross = gram.between(wide(D.points), points)
    T = forward(D.L, weights[:, None] * cross)
    residual = np.maximum(host(diagonal - xp.sum(T * T, axis=0)), 0.0)
    dimension = D.dimension + (_growth(D, points, T, gram) if rules.normalize else 0.0)
    p = _share((1 - rules.eps) * residual / (residual + D.ridge), dimension, rules)
    uniform = uniforms(rules.seed, np.arange(first, first + X.shape[0]), rules.qbar)
    chosen = np.flatnonzero(np.any(uniform < p[:, None], axis=1))
    D = dataclasses.replace(D, dimension=dimension)
    if chosen.size == 0:
        return D
    places = _arrays.from_numpy(chosen, X)
    new = Dictionary.empty(xp.take(X, places, axis=0), rules.qbar, D.ridge)
    new = dataclasses.replace(new, index=first + chosen, p=p[chosen], uniform=uniform[chosen])
    D = _extended(D, new, xp.take(cross, places, axis=1), xp.take(T, places, axis=1), gram)
    grown = len(D) - D.settled >= max(LEAST_GROWTH, D.settled // GROWTH)
    return within(thinned(D, rules), rules) if grown or len(D) > rules.most else D


def thinned(D: Dictionary, rules: Rules, shift: float | None = None) -> Dictionary:
    """Score all points by the weighted dictionary, lower their probabilities and drop the points without copies.

    With M = W K W + shift I the estimate (1 - eps) / ridge (k_ii - k_iD W M^-1 W k_Di) is
    (1 - eps) (shift / ridge) (1 - shift (M^-1)_ii) / w_i^2.
    """
    shift = D.ridge if shift is None else shift
    inverse = forward(D.L, eye(_arrays.namespace(D.L), len(D), D.L))
    left = np.maximum(1 - shift * host(_arrays.namespace(D.L).sum(inverse * inverse, axis=0)), 0.0)
    scores = (1 - rules.eps) * (shift / D.ridge) * left / D.weights**2
    p = np.minimum(D.p, _share(scores, D.dimension, rules))
    kept = np.any(D.uniform < p[:, None], axis=1)
    return rebuilt(dataclasses.replace(some(D, kept), p=p[kept], settled=int(np.sum(kept))), rules)


def within(D: Dictionary, rules: Rules) -> Dictionary:
    """Double the ridge until there is room for all points."""
    while len(D) > rules.most:
        D = thinned(rebuilt(dataclasses.replace(D, ridge=2 * D.ridge), rules), rules)
    return D


def joined(D: Dictionary, other: Dictionary, rules: Rules) -> Dictionary:
    """Put two dictionaries together and thin them (DISQUEAK), with the larger ridge of both."""
    both = _stacked(D, other, rules.gram.between(wide(D.points), wide(other.points)), other.K)
    both = dataclasses.replace(both, ridge=max(D.ridge, other.ridge), dimension=D.dimension + other.dimension)
    shift = (1 + rules.eps) * both.ridge
    return within(thinned(rebuilt(both, rules, shift), rules, shift), rules)


def some(D: Dictionary, kept: np.ndarray) -> Dictionary:
    """Keep the points that a mask chooses; L is left to `rebuilt`."""
    xp, places = _arrays.namespace(D.K), _arrays.from_numpy(np.flatnonzero(kept), D.K)
    K = xp.take(xp.take(D.K, places, axis=0), places, axis=1)
    hosts = {name: getattr(D, name)[kept] for name in ON_HOST}
    return dataclasses.replace(D, points=xp.take(D.points, places, axis=0), K=K, L=K, **hosts)


def rebuilt(D: Dictionary, rules: Rules, shift: float | None = None) -> Dictionary:
    """Factor W K W + shift I afresh; by default with the ridge."""
    weights = _arrays.from_numpy(D.weights, D.K)
    M = weights[:, None] * D.K * weights + (D.ridge if shift is None else shift) * eye(_arrays.namespace(D.K), len(D), D.K)
    return dataclasses.replace(D, L=_cholesky(M, rules.gram))


def uniforms(seed: int, rows: np.ndarray, qbar: int) -> np.ndarray:
    """Draw a number in (0, 1) for each copy of each row, of 53 bits."""
    counters = np.arange((qbar + 1) // 2, dtype=np.int64)[None, :]
    words = kernels.philox.words(rows, seed, STREAM, rows[:, None], counters)
    pairs = [(words[i] << 21) + (words[i + 1] >> 11) for i in (0, 2)]
    return ((np.stack(pairs, axis=2).reshape(rows.size, -1) + 0.5) * 2.0**-53)[:, :qbar]


def _share(scores: np.ndarray, dimension: float, rules: Rules) -> np.ndarray:
    """Turn scores into probabilities: themselves, or their shares of the effective dimension."""
    return np.minimum(scores / dimension if rules.normalize and dimension > 0 else scores, 1.0)


def _growth(D: Dictionary, X: Array, T: Array, gram: Gram) -> float:
    """Find by how much rows X of weight 1 raise the effective dimension of the dictionary, m - ridge tr M^-1."""
    xp = _arrays.namespace(X)
    L = _cholesky(gram.between(X, X) + D.ridge * eye(xp, X.shape[0], D.K) - adjoint(T) @ T, gram)
    both = xp.concat([eye(xp, X.shape[0], D.K), _arrays.solve_triangular(adjoint(D.L), T) if len(D) else T], axis=0)
    inverse = forward(L, adjoint(both))
    return X.shape[0] - D.ridge * float(xp.sum(inverse * inverse))


def _extended(D: Dictionary, new: Dictionary, cross: Array, T: Array, gram: Gram) -> Dictionary:
    """Put points behind the others: L gets rows W T^T and the Cholesky factor of what remains."""
    xp, weights = _arrays.namespace(D.K), _arrays.from_numpy(new.weights, D.K)
    block, below = gram.between(wide(new.points), wide(new.points)), adjoint(T) * weights[:, None]
    M = weights[:, None] * block * weights + D.ridge * eye(xp, len(new), D.K) - below @ adjoint(below)
    nothing = xp.zeros((len(D), len(new)), dtype=D.K.dtype, device=D.K.device)
    L = xp.concat([xp.concat([D.L, nothing], axis=1), xp.concat([below, _cholesky(M, gram)], axis=1)], axis=0)
    return dataclasses.replace(_stacked(D, new, cross, block), L=L)


def _stacked(D: Dictionary, other: Dictionary, cross: Array, block: Array) -> Dictionary:
    """Put the points of two dictionaries together; L is left to others."""
    xp = _arrays.namespace(D.K)
    K = xp.concat([xp.concat([D.K, cross], axis=1), xp.concat([adjoint(cross), block], axis=1)], axis=0)
    hosts = {name: np.concatenate([getattr(D, name), getattr(other, name)]) for name in ON_HOST}
    return dataclasses.replace(D, points=xp.concat([D.points, other.points], axis=0), K=K, L=K, **hosts)


def forward(L: Array, B: Array) -> Array:
    """Return L^-1 B."""
    return _arrays.solve_triangular(adjoint(L), B, adjoint=True) if L.shape[0] else B


def _cholesky(M: Array, gram: Gram) -> Array:
    """Factor a matrix that is at least the ridge, but for rounding errors.

    Raises
    ------
    ValueError
        It is not: the kernel is not positive semidefinite, or the ridge lost in rounding errors.
    """
    try:
        return _arrays.namespace(M).linalg.cholesky((M + adjoint(M)) / 2)
    except np.linalg.LinAlgError:
        raise ValueError(f"{gram.function}: kernel must be positive semidefinite, and ridge above its rounding errors") from None
