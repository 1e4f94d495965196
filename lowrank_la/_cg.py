"""Preconditioned conjugate gradients for several right-hand sides at once, each of which stops by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array

Product = Callable[[Array], Array]


@dataclass(frozen=True)
class Iterates:
    """Where the iteration ended.

    Attributes
    ----------
    X : array (n, t)
        Solutions.
    n_iter : int
        Iterations of the column that took most.
    indefinite : bool
        A direction came up in which the matrix is not positive.
    stopped : bool
        `watch` asked to stop.
    """

    X: Array
    n_iter: int
    indefinite: bool
    stopped: bool


def conjugate_gradients(
    apply: Product,
    B: Array,
    goals: np.ndarray,
    *,
    precondition: Product,
    max_iter: int,
    watch: Callable[[int, np.ndarray], Any] = lambda n_iter, norms: False,
) -> Iterates:
    """Solve A X = B for a symmetric positive definite A, from X = 0.

    Parameters
    ----------
    apply : callable
        V (n, s) -> A V; called with the columns that are still going.
    B : array (n, t), float64
        Right-hand sides.
    goals : NumPy array (t,)
        A column stops when the norm of its residual, as the recurrence knows it, is no larger.
    precondition : callable
        R (n, s) -> P^-1 R, symmetric positive definite.
    max_iter : int
        Products with A, at most.
    watch : callable
        Called with the number of iterations and the norms of all residuals after each; a true answer stops.

    Returns
    -------
    Iterates
        Residuals are not recomputed: that is the caller's part, who knows a more accurate product.
    """
    columns = _Columns(B, goals, precondition)
    indefinite = stopped = False
    n_iter = 0
    while columns.live.size and n_iter < max_iter and not stopped:
        n_iter += 1
        indefinite |= columns.step(apply, precondition)
        stopped = bool(watch(n_iter, columns.norms))
    return Iterates(columns.solution(), n_iter, indefinite, stopped)


class _Columns:
    """Iterates X, residuals R and directions P of the columns that are still going; what the others came to."""

    def __init__(self, B: Array, goals: np.ndarray, precondition: Product) -> None:
        self.xp = _arrays.namespace(B)
        self.goals, self.live, self.norms = goals, np.arange(B.shape[1]), self._norms(B)
        self.ended: dict[int, Array] = {}
        self.X, self.R, self.P = self.xp.zeros_like(B), B, B
        self.rho = np.zeros(B.shape[1])
        self._retire(self.norms <= goals)
        if self.live.size:
            self.P = precondition(self.R)
            self.rho = self._dots(self.R, self.P)

    def step(self, apply: Product, precondition: Product) -> bool:
        """Make one iteration; say whether A was found not to be positive definite, which ends the column."""
        Q = apply(self.P)
        curvature = self._dots(self.P, Q)
        positive = (curvature > 0) & (self.rho > 0)
        length = self._row(np.where(positive, self.rho / np.where(positive, curvature, 1.0), 0.0))
        self.X, self.R = self.X + self.P * length, self.R - Q * length
        self.norms[self.live] = self._norms(self.R)
        self._retire(~positive | (self.norms[self.live] <= self.goals[self.live]))
        if self.live.size:
            Z = precondition(self.R)
            rho = self._dots(self.R, Z)
            self.P, self.rho = Z + self.P * self._row(rho / self.rho), rho
        return bool(np.any(curvature < 0))

    def solution(self) -> Array:
        """Put the columns together."""
        self._retire(np.ones(self.live.size, dtype=bool))
        return self.xp.stack([self.ended[j] for j in sorted(self.ended)], axis=1)

    def _retire(self, ready: np.ndarray) -> None:
        if not ready.any():
            return
        for place in np.flatnonzero(ready):
            self.ended[int(self.live[place])] = self.X[:, int(place)]
        going = _arrays.from_numpy(np.flatnonzero(~ready), self.X)
        self.X, self.R, self.P = (self.xp.take(x, going, axis=1) for x in (self.X, self.R, self.P))
        self.live, self.rho = self.live[~ready], self.rho[~ready]

    def _row(self, numbers: np.ndarray) -> Array:
        return _arrays.from_numpy(numbers, self.X)[None, :]

    def _dots(self, A: Array, B: Array) -> np.ndarray:
        return _arrays.to_numpy(self.xp.sum(A * B, axis=0))

    def _norms(self, A: Array) -> np.ndarray:
        return np.sqrt(self._dots(A, A))
