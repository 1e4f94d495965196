"""Partial Cholesky factorization of a positive semidefinite matrix that is seen through its entries, a block of pivots at a time."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lowrank_la import _arrays, _random, _threads, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la.factor._dense import is_complex, wide

PROPOSALS, START = (32, 256), 128  # least and largest number of pivots proposed at once, and the first
EAGER, IDLE = 0.6, 0.2  # shares of accepted proposals above and below which their number changes
PROBES = 4  # for the size of rounding errors
FEW, MANY = 128, 1024  # candidates of greedy rules among all rows, and among some
FLOOR = 30  # roundoff units of the trace, per column: what is left below it is rounding error
U = float(np.finfo(np.float64).eps) / 2

Entries = Callable[[Any, Any], Array]
Columns = Callable[[Array, int, Array, Array], Array]


class Elimination:
    """What has been eliminated of K, and the diagonal of the rest, in double precision.

    `columns` does the work of `kernels.eliminate` for columns of K that need not be formed.

    Attributes
    ----------
    F : array (n, columns)
        Its first `size` columns make the factor: K ~ F F^H.
    pivots : NumPy array (size,), int64
        Rows eliminated, in order.
    diagonal, rest : array (n,), float64
        Diagonal of K, and of K - F F^H with rounding errors set to zero.
    error : float
        Sum of `rest`.
    lengths : array (n,), float64
        Squared lengths of the rows of the factor.
    evaluations : int
        Entries of K that were asked for.
    """

    def __init__(self, function: str, door: Door, entries: Entries, diagonal: Array, expected: int, columns: Columns | None = None) -> None:
        self.function, self.xp, self.door, self.entries = function, door.xp, door, entries
        self.columns = columns or self._columns
        self.diagonal = self.xp.astype(diagonal, self.xp.float64)
        self.roundoff = _arrays.unit_roundoff(self.xp, door.dtype)
        self.F = self.xp.zeros((diagonal.shape[0], expected), dtype=door.dtype, device=diagonal.device)
        self.pivots = np.zeros(0, dtype=np.int64)
        self.trace = float(self.xp.sum(self.diagonal))
        self.evaluations = 0
        self.rest, self.error, self.lengths = self.diagonal, self.trace, self.xp.zeros_like(self.diagonal)

    @property
    def size(self) -> int:
        """Number of pivots."""
        return self.pivots.size

    @property
    def noise(self) -> Array:
        """What rounding errors may leave of an eliminated diagonal entry."""
        return (FLOOR + self.size) * self.roundoff * self.diagonal

    @property
    def factor(self) -> Array:
        """F, without room for more."""
        return self.F[:, : self.size]

    def remainder(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give the block of what remains for a few rows, its weights in `rest` and what of them may be rounding error, on the host."""
        place = _arrays.from_numpy(rows, self.F)
        left = self.xp.take(self.F, place, axis=0)[:, : self.size]  # in this order: a part of the columns would be copied first
        H = _arrays.to_numpy(self.entries(place, place) - left @ _arrays.adjoint_of(self.xp, left))
        self.evaluations += H.size
        parts = (_arrays.to_numpy(self.xp.take(x, place, axis=0)) for x in (self.rest, self.noise, self.diagonal))
        weights, noise, diagonal = parts
        self._check_hermitian(H, math.sqrt(self.roundoff) * float(diagonal.max()))
        self._forget(rows[(np.real(np.diagonal(H)) <= noise) & (weights > 0)])
        return H, weights, noise

    def add(self, pivots: np.ndarray, L: np.ndarray) -> None:
        """Eliminate pivots whose block of what remains is L L^H.

        Raises
        ------
        ValueError
            What remains has a negative diagonal entry.
        """
        xp, first, last = self.xp, self.size, self.size + pivots.size
        places = _arrays.from_numpy(pivots, self.F)
        self._reserve(last)
        taken = self.columns(self.F, first, places, _arrays.from_numpy(L, self.F))
        self.evaluations += self.F.shape[0] * pivots.size
        self.pivots = np.concatenate([self.pivots, pivots])
        rest, self.lengths = self.rest - taken, self.lengths + taken
        if bool(xp.any(rest < -xp.maximum(1e3 * self.noise, math.sqrt(self.roundoff) * self.diagonal))):
            worst = int(xp.argmin(rest))
            left = f"elimination leaves {float(rest[worst]):.3g} on the diagonal, row {worst}"
            raise ValueError(f"{self.function}: K must be positive semidefinite; {left}")
        self.rest = xp.where(rest > self.noise, rest, xp.zeros_like(rest))
        self.error = float(xp.sum(self.rest))

    def state(self, rule: Rule) -> State:
        """Remember all but F."""
        return State(self.size, self.rest, self.lengths, copy.copy(rule))

    def resume(self, pivots: np.ndarray, F: Array, state: State) -> None:
        """Take over what an earlier elimination had done."""
        self._reserve(state.size)
        self.F[:, : state.size] = F[:, : state.size]
        self.pivots, self.rest, self.lengths = pivots[: state.size], state.rest, state.lengths
        self.error = float(self.xp.sum(self.rest))

    def trim(self, goal: float, first: int) -> None:
        """Drop the last pivots, down to a number of them, as long as the trace of what remains stays below the goal."""
        if self.error > goal:
            return
        last = squares(self.xp, self.F[:, first : self.size])
        columns = _arrays.to_numpy(self.xp.sum(last, axis=0))
        errors = self.error + np.cumsum(np.append(columns, 0.0)[::-1])[::-1]  # with the first 0, 1, 2, ... of these pivots
        kept = int(np.argmax(errors <= goal))
        self.lengths = self.lengths - self.xp.sum(last[:, kept:], axis=1)
        self.pivots = self.pivots[: first + kept]

    def _columns(self, F: Array, first: int, pivots: Array, L: Array) -> Array:
        return kernels.eliminate.apply(F, first, self.entries(slice(None), pivots), pivots, L)

    def _forget(self, rows: np.ndarray) -> None:
        """Count nothing as left of rows whose entries turn out to be rounding errors."""
        if rows.size:
            alive = np.ones(self.rest.shape[0], dtype=bool)
            alive[rows] = False
            self.rest = self.xp.where(_arrays.from_numpy(alive, self.rest), self.rest, self.xp.zeros_like(self.rest))
            self.error = float(self.xp.sum(self.rest))

    def _reserve(self, columns: int) -> None:
        """Make room, twice as much as before."""
        if columns > self.F.shape[1]:
            more = min(max(columns, 2 * self.F.shape[1], 2 * PROPOSALS[0]), self.F.shape[0]) - self.F.shape[1]
            self.F = self.xp.concat([self.F, self.xp.zeros((self.F.shape[0], more), dtype=self.F.dtype, device=self.F.device)], axis=1)

    def _check_hermitian(self, H: np.ndarray, tolerance: float) -> None:
        """Compare the entries at hand with those across the diagonal.

        The tolerance is of the scale of K: what is left of K carries the rounding errors of what was subtracted.

        Raises
        ------
        ValueError
            They differ by more than rounding errors of a kernel function.
        """
        difference = float(np.abs(H - H.conj().T).max())
        if difference > tolerance:
            raise ValueError(f"{self.function}: K must be Hermitian; entries differ by {difference:.3g} from those across the diagonal")


class Rule(Protocol):
    """A rule that chooses pivots."""

    def choose(self, elimination: Elimination, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose at most so many pivots; return them and the Cholesky factor of their block of what remains."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether there are no more."""
        ...


@dataclass
class Randomly:
    """Draw pivots one by one with probabilities proportional to the diagonal of what remains.

    They are proposed in blocks with replacement, and one is accepted with the share of its diagonal entry
    that the accepted ones before it have left: the law is that of drawing one at a time. Every round
    has its own random numbers, so that a run can be resumed at any round.
    """

    seed: int
    purpose: str
    count: int = START
    round: int = 0
    exhausted: bool = False

    def choose(self, elimination: Elimination, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Propose a block of pivots and accept some of them."""
        random = _random.host_generator(self.seed, f"{self.purpose}: round {self.round}")
        proposals = _draw(elimination, random, self.count)
        H, weights, noise = elimination.remainder(proposals)
        accepted, L = accept(H, np.maximum(random.random(self.count) * weights, noise), most)
        share, self.round = accepted.size / self.count, self.round + 1
        count = self.count * 2 if share > EAGER else self.count // 2 if share < IDLE else self.count
        self.count = min(max(count, PROPOSALS[0]), PROPOSALS[1])
        return proposals[accepted], L


@dataclass
class Greedily:
    """Take the row with the largest diagonal entry of what remains, again and again.

    Candidates are the rows with the largest entries. Since entries only shrink, one of them is the next pivot for sure as
    long as it keeps more than any row outside had.

    Attributes
    ----------
    rows : NumPy array or None
        Rows to choose from; all by default. In this order rounding errors stay small, however the rows depend on each other.
    least : float
        Share of a diagonal entry below which a row counts as dependent on those before it.
    """

    rows: np.ndarray | None = None
    least: float = 0.0
    exhausted: bool = False

    def choose(self, elimination: Elimination, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Eliminate among the candidates until a row outside might be better."""
        rest = _arrays.to_numpy(elimination.rest)
        rows, count = (np.arange(rest.size), FEW) if self.rows is None else (self.rows, MANY)
        order = rows[np.argsort(-rest[rows], kind="stable")[: count + 1]]
        outside = float(rest[order[count]]) if order.size > count else 0.0
        H, weights, noise = elimination.remainder(order[:count])
        floor = np.maximum(noise, self.least * _arrays.to_numpy(elimination.diagonal)[order[:count]])
        taken, L = _greedy(H, np.where(np.real(np.diagonal(H)) > noise, weights, -math.inf), floor, outside, most)
        self.exhausted = self.rows is not None and not taken
        return order[taken], L


def _greedy(H: np.ndarray, left: np.ndarray, floor: np.ndarray, outside: float, most: int) -> tuple[list[int], np.ndarray]:
    """Eliminate the largest of the diagonal entries `left` as long as it is above its floor and what is outside."""
    L, taken = np.zeros((H.shape[0], min(H.shape[0], most)), H.dtype, order="F"), []
    while len(taken) < L.shape[1]:
        left[left <= floor] = -math.inf
        j, m = int(np.argmax(left)), len(taken)
        if left[j] < (outside if taken else 0):
            break
        L[:, m] = (H[:, j] - L[:, :m] @ L[j, :m].conj()) / math.sqrt(left[j])
        left = left - np.abs(L[:, m]) ** 2
        left[j] = -math.inf
        taken.append(j)
    return taken, np.tril(L[taken, : len(taken)])


@dataclass(frozen=True)
class State:
    """An elimination before its last round, which may have been cut short: from there the same rounds lead on to more pivots."""

    size: int
    rest: Array
    lengths: Array
    rule: Rule


def eliminate(elimination: Elimination, rule: Rule, most: int, goal: float) -> State:
    """Choose and eliminate pivots until there are enough of them, or the trace of what remains is small."""
    state = elimination.state(rule)
    with _threads.serial_blas() if _arrays.engine_of(elimination.F) == "cpu" else nullcontext():
        while elimination.size < most and elimination.error > goal and not rule.exhausted:
            state = elimination.state(rule)
            pivots, L = rule.choose(elimination, most - elimination.size)
            if pivots.size:
                elimination.add(pivots, L)
    if goal:
        elimination.trim(goal, state.size)
    return state


def _draw(elimination: Elimination, random: np.random.Generator, count: int) -> np.ndarray:
    """Draw rows with probabilities proportional to the diagonal of what remains, with replacement."""
    xp = elimination.xp
    sums = xp.cumulative_sum(elimination.rest)
    targets = xp.asarray(random.random(count) * float(sums[-1]), dtype=sums.dtype, device=sums.device)
    places = _arrays.to_numpy(xp.searchsorted(sums, targets, side="right"))
    return np.minimum(places, sums.shape[0] - 1).astype(np.int64)


def accept(H: np.ndarray, hurdles: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Eliminate rows of H one by one, those whose diagonal entry is still above its hurdle; return them and their Cholesky factor."""
    H = H.astype(np.result_type(H.dtype, np.float64), copy=False)
    left, L, accepted = np.real(np.diagonal(H)).copy(), np.zeros((H.shape[0], min(H.shape[0], most)), H.dtype, order="F"), []
    for j in range(H.shape[0]):
        m = len(accepted)
        if m == L.shape[1]:
            break
        if left[j] <= hurdles[j]:
            continue
        L[j:, m] = (H[j:, j] - L[j:, :m] @ L[j, :m].conj()) / math.sqrt(left[j])
        left[j:] -= np.abs(L[j:, m]) ** 2
        accepted.append(j)
    chosen = np.array(accepted, dtype=np.int64)
    return chosen, np.tril(L[chosen, : chosen.size])


def rounding(F: Array, L: Array, trace: float) -> float:
    """Bound what rounding errors add to the trace of what remains as a bound on its norms.

    With K[:, pivots] = W L L^H, rounding errors of the pivots' own block pass through W; ||W D||_F^2, where D^2 is the diagonal of
    that block, is measured on a few vectors of signs.
    """
    xp, (n, k) = _arrays.namespace(F, L), F.shape
    if k == 0:
        return 4 * n * U * trace
    signs = np.random.Generator(np.random.Philox(0)).choice([-1.0, 1.0], (k, PROBES))
    lengths = xp.linalg.vector_norm(L, axis=1)
    Z = xp.astype(_arrays.from_numpy(signs, L) * xp.astype(lengths, xp.float64)[:, None], L.dtype)
    spread = kernels.skinny.times(F, xp.flip(_arrays.solve_triangular(xp.flip(L), xp.flip(Z, axis=0)), axis=0))
    terms = 4 if is_complex(F) else 1
    u = _arrays.unit_roundoff(xp, F.dtype)
    return 4 * terms * (k + 4) * u * (trace + float(xp.sum(squares(xp, spread))) / PROBES) + 4 * (k + n) * U * trace


def squares(xp: Any, F: Array) -> Array:
    """Return |F_ij|^2 in double precision."""
    F = wide(F)
    return xp.abs(F) ** 2 if is_complex(F) else F * F
