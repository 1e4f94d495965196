"""K ~ F F^T from a few of its columns, for every rule that chooses them; what `nystrom`, leverage scores and ridge regression share."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor._elimination import Elimination, Greedily, Randomly, Rule, State, eliminate, rounding
from lowrank_la.kernel_methods import _centres, _leverage
from lowrank_la.kernel_methods._gram import Gram, diagonal_of, lifted

__all__ = ["METHODS", "ONE_BY_ONE", "Approximation", "approximate", "at_points", "lifted", "resume"]

PURPOSE = "nystrom"
ONE_BY_ONE = ("rpcholesky", "greedy")  # rules that take one pivot after another, and can go on
METHODS = (*ONE_BY_ONE, "uniform", "rls", "bless", "kmeans")


@dataclass(frozen=True)
class Approximation:
    """K ~ F F^T <= K, inside the door.

    Attributes
    ----------
    indices : NumPy array (k,), int64, or None
        Rows of the landmarks; None where they are no points of X.
    F : array (n, k)
        Factor, in the dtype of the door.
    L : array (k, k)
        Lower triangular: the landmarks' own kernel matrix is L L^T, and F = K(X, landmarks) L^-T.
    landmarks : array (k, d) or None
        Points; None if K is given as a matrix.
    residual : array (n,), float64
        Diagonal of K - F F^T, not below zero.
    error, trace : float
        trace(K - F F^T), and trace(K).
    rounding : float
        Bound on what rounding errors add to `error` as a bound on the norms of K - F F^T.
    state : State or None
        From where the choice of pivots can go on.
    """

    indices: np.ndarray | None
    F: Array
    L: Array
    landmarks: Array | None
    residual: Array
    error: float
    trace: float
    rounding: float
    state: State | None

    @property
    def rank(self) -> int:
        """Number of landmarks."""
        return self.F.shape[1]


def approximate(gram: Gram, *, rank: int | None, tol: float | None, method: str, seed: int) -> Approximation:
    """Choose landmarks and factor, until there are `rank` of them or trace(K - F F^T) <= tol trace(K).

    Parameters
    ----------
    gram : Gram
        K.
    rank : int or None
        Landmarks, at most; required by the methods that choose all of them at once.
    tol : float or None
        Share of the trace that may be left.
    method : str
        One of `METHODS`.
    seed : int
        Decides all random draws.

    Returns
    -------
    Approximation
        Fewer landmarks than `rank` where K has lower rank, to working precision.
    """
    if method == "kmeans":
        assert rank is not None
        some = _centres.sample(gram, rank, seed)
        start = approximate(some, rank=rank, tol=None, method="rpcholesky", seed=seed)
        return at_points(gram, _centres.centres(some.X, start.landmarks))
    most = gram.n if rank is None else min(rank, gram.n)
    elimination = _elimination(gram, rank if tol is None else None)
    return _run(gram, elimination, _rule(gram, rank, method, seed), most, tol)


def resume(gram: Gram, indices: np.ndarray, F: Array, state: State, *, rank: int | None, tol: float | None) -> Approximation:
    """Go on choosing pivots; the answer is that of one long run."""
    most = gram.n if rank is None else min(rank, gram.n)
    elimination = _elimination(gram, rank if tol is None else None)
    elimination.resume(indices, F, state)
    return _run(gram, elimination, copy.copy(state.rule), most, tol)


def _elimination(gram: Gram, rank: int | None) -> Elimination:
    """Begin with room for so many columns, or with none: a tolerance may need far fewer than are allowed."""
    expected = 0 if rank is None else min(rank, gram.n)
    return Elimination(gram.function, gram.door, gram.block, gram.diagonal, expected, gram.eliminate)


def _rule(gram: Gram, rank: int | None, method: str, seed: int) -> Rule:
    if method == "rpcholesky":
        return Randomly(seed, PURPOSE)
    if method == "greedy":
        return Greedily()
    assert rank is not None
    if method == "uniform":
        return _set(gram, _random.host_generator(seed, f"{PURPOSE}: uniform").permutation(gram.n)[:rank])
    return _set(gram, _leverage.landmarks(gram, rank, method, seed))


def _set(gram: Gram, rows: np.ndarray) -> Greedily:
    """Take all of a set, but for rows that depend on others to three quarters of the digits."""
    return Greedily(rows, _arrays.unit_roundoff(gram.door.xp, gram.door.dtype) ** 0.75)


def _run(gram: Gram, elimination: Elimination, rule: Rule, most: int, tol: float | None) -> Approximation:
    """Eliminate, and remember the state before the last round."""
    xp = gram.door.xp
    state = eliminate(elimination, rule, most, (tol or 0.0) * elimination.trace)
    indices, F = elimination.pivots, elimination.factor
    F = xp.asarray(F, copy=True) if F.shape[1] < elimination.F.shape[1] else F  # without the room for more
    places = _arrays.from_numpy(indices, F)
    points = None if isinstance(gram.kernel, str) else gram.points(places)
    return _summed(gram, indices, F, xp.take(F, places, axis=0), points, elimination.lengths, state)


def at_points(gram: Gram, Z: Array) -> Approximation:
    """Factor with landmarks that are no points of X, but for those that depend on earlier ones."""
    xp, k = gram.door.xp, Z.shape[0]

    def entries(rows: Array | slice, columns: Array) -> Array:
        return gram.between(Z if isinstance(rows, slice) else xp.take(Z, rows, axis=0), xp.take(Z, columns, axis=0))

    elimination = Elimination(gram.function, gram.door, entries, diagonal_of(gram, Z), k)
    eliminate(elimination, _set(gram, np.arange(k)), k, 0.0)
    places = _arrays.from_numpy(elimination.pivots, Z)
    L, Z = xp.take(elimination.factor, places, axis=0), xp.take(Z, places, axis=0)
    F, lengths = gram.lift(gram.X, Z, L)
    return _summed(gram, None, F, L, Z, lengths, None)


def _summed(
    gram: Gram, indices: np.ndarray | None, F: Array, L: Array, landmarks: Array | None, lengths: Array, state: State | None
) -> Approximation:
    """Sum the trace of what remains from the diagonal of K and the squared lengths of the rows of F, and bound rounding errors."""
    xp = gram.door.xp
    residual, trace = gram.diagonal - lengths, float(xp.sum(gram.diagonal))
    error, residual = max(float(xp.sum(residual)), 0.0), xp.where(residual > 0, residual, xp.zeros_like(residual))
    return Approximation(indices, F, L, landmarks, residual, error, trace, rounding(F, L, trace), state)
