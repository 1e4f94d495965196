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
    curvature : float
        The least value of d^H A d / ||d||^2 over directions d in which it is negative; 0 without one.
    stopped : bool
        `watch` asked to stop.
    lengths, ratios : NumPy arrays (n_iter, t)
        Lengths of the steps, and what each residual was multiplied by, squared, in the norm of P^-1; zero once a column has ended.
    """

    X: Array
    n_iter: int
    curvature: float
    stopped: bool
    lengths: np.ndarray
    ratios: np.ndarray

    @property
    def indefinite(self) -> bool:
        """Say whether a direction came up in which the matrix is not positive."""
        return self.curvature < 0

    def ritz_range(self) -> tuple[float, float]:
        """Return the extreme Ritz values of P^-1 A over all columns, which lie inside its spectrum; (inf, 0) without a step."""
        from scipy.linalg import eigvalsh_tridiagonal

        least, most = np.inf, 0.0
        for alpha, beta in zip(self.lengths.T, self.ratios.T, strict=True):
            steps = int(np.count_nonzero(alpha))
            if not steps:
                continue
            alpha, beta = alpha[:steps], beta[: steps - 1]
            diagonal = 1 / alpha
            diagonal[1:] += beta / alpha[:-1]
            values = eigvalsh_tridiagonal(diagonal, np.sqrt(beta) / alpha[:-1])
            least, most = min(least, float(values[0])), max(most, float(values[-1]))
        return least, most


def conjugate_gradients(
    apply: Product,
    B: Array,
    goals: np.ndarray,
    *,
    precondition: Product,
    max_iter: int,
    watch: Callable[[int, np.ndarray], Any] = lambda n_iter, norms: False,
) -> Iterates:
    """Solve A X = B for a Hermitian positive definite A, from X = 0.

    Parameters
    ----------
    apply : callable
        V (n, s) -> A V; called with the columns that are still going.
    B : array (n, t), float64 or complex128
        Right-hand sides.
    goals : NumPy array (t,)
        A column stops when the norm of its residual, as the recurrence knows it, is no larger.
    precondition : callable
        R (n, s) -> P^-1 R, Hermitian positive definite.
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
    stopped = False
    n_iter = 0
    while columns.live.size and n_iter < max_iter and not stopped:
        n_iter += 1
        columns.step(apply, precondition)
        stopped = bool(watch(n_iter, columns.norms))
    lengths, ratios = (np.reshape(rows, (n_iter, B.shape[1])) for rows in (columns.lengths, columns.ratios))
    return Iterates(columns.solution(), n_iter, columns.curvature, stopped, lengths, ratios)


class _Columns:
    """Iterates X, residuals R and directions P of the columns that are still going; what the others came to."""

    def __init__(self, B: Array, goals: np.ndarray, precondition: Product) -> None:
        self.xp = _arrays.namespace(B)
        self.goals, self.live, self.norms = goals, np.arange(B.shape[1]), norms(B)
        self.ended: dict[int, Array] = {}
        self.lengths: list[np.ndarray] = []
        self.ratios: list[np.ndarray] = []
        self.curvature = 0.0
        self.X, self.R, self.P = self.xp.zeros_like(B), B, B
        self.rho = np.zeros(B.shape[1])
        self._retire(self.norms <= goals)
        if self.live.size:
            self.P = precondition(self.R)
            self.rho = dots(self.R, self.P)

    def step(self, apply: Product, precondition: Product) -> None:
        """Make one iteration; a direction in which A is not positive ends its column."""
        Q = apply(self.P)
        curvature = dots(self.P, Q)
        if np.any(curvature < 0):
            self.curvature = min(self.curvature, float(np.min(curvature / dots(self.P, self.P))))
        positive = (curvature > 0) & (self.rho > 0)
        length = np.where(positive, self.rho / np.where(positive, curvature, 1.0), 0.0)
        self.lengths.append(self._spread(length))
        self.X, self.R = self.X + self.P * self._row(length), self.R - Q * self._row(length)
        self.norms[self.live] = norms(self.R)
        self._retire(~positive | (self.norms[self.live] <= self.goals[self.live]))
        ratio = np.zeros(0)
        if self.live.size:
            Z = precondition(self.R)
            rho = dots(self.R, Z)
            ratio = rho / self.rho
            self.P, self.rho = Z + self.P * self._row(ratio), rho
        self.ratios.append(self._spread(np.maximum(ratio, 0.0)))

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

    def _spread(self, numbers: np.ndarray) -> np.ndarray:
        """Put numbers of the live columns in their places."""
        row = np.zeros(self.goals.size)
        row[self.live] = numbers
        return row

    def _row(self, numbers: np.ndarray) -> Array:
        return _arrays.from_numpy(numbers, self.X)[None, :]


def dots(A: Array, B: Array) -> np.ndarray:
    """Return Re a_j^H b_j for each column."""
    xp = _arrays.namespace(A, B)
    if xp.isdtype(A.dtype, "complex floating"):
        return dots(xp.real(A), xp.real(B)) + dots(xp.imag(A), xp.imag(B))
    return _arrays.to_numpy(xp.sum(A * B, axis=0))


def norms(A: Array) -> np.ndarray:
    """Return the norm of each column."""
    return np.sqrt(dots(A, A))
