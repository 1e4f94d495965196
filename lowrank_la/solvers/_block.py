"""Preconditioned conjugate gradients for several right-hand sides at once, each of which stops by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array

BRINK = 2.0**-26  # ratio of curvatures from which on rounding errors may outgrow the residual
SINGULAR = 2.0**-51  # times n: ratio of eigenvalues of a matrix that is singular to working precision
ASLANT = 1e-6  # cosine of the angle between a residual and an earlier direction from which on that is of no use
SMALL, LARGE = 1e-280, 1e300  # squares that are exact to rounding
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
    directions : array (n, t)
        The last direction of each column; zero without a step.
    lengths, ratios : NumPy arrays (n_iter, t)
        Lengths of the steps, and what each residual was multiplied by, squared, in the norm of P^-1; zero once a column has ended.
    brink : dict of int to array (n,)
        Columns that stepped along a direction in which the matrix is nearly singular: what they were before the first such step.
    singular : bool
        There was one in which it is singular to working precision.
    lead : NumPy array (t,)
        What an earlier direction adds to the first diagonal entry of the tridiagonal matrix.
    """

    X: Array
    n_iter: int
    curvature: float
    stopped: bool
    directions: Array
    lengths: np.ndarray
    ratios: np.ndarray
    brink: dict[int, Array]
    singular: bool
    lead: np.ndarray

    @property
    def indefinite(self) -> bool:
        """Say whether a direction came up in which the matrix is not positive."""
        return self.curvature < 0

    def ritz_range(self) -> tuple[float, float]:
        """Return the extreme Ritz values of P^-1 A over all columns, which lie inside its spectrum; (inf, 0) without a step."""
        from scipy.linalg import eigvalsh_tridiagonal

        least, most = np.inf, 0.0
        for alpha, beta, lead in zip(self.lengths.T, self.ratios.T, self.lead, strict=True):
            steps = int(np.count_nonzero(alpha))
            if not steps:
                continue
            alpha, beta = alpha[:steps], beta[: steps - 1]
            diagonal = 1 / alpha
            diagonal[0] += lead
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
    directions: Array | None = None,
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
    directions : array (n, t), optional
        Last directions of an iteration that has come to these residuals: the first ones are made conjugate to them.
    watch : callable
        Called with the number of iterations and the norms of all residuals after each; a true answer stops.

    Returns
    -------
    Iterates
        Residuals are not recomputed: that is the caller's part, who knows a more accurate product.
    """
    columns = _Columns(B, goals, precondition)
    if directions is not None:
        columns.resume(apply, directions)
    stopped = False
    n_iter = 0
    while columns.live.size and n_iter < max_iter and not stopped:
        n_iter += 1
        columns.step(apply, precondition)
        stopped = bool(watch(n_iter, columns.norms))
    lengths, ratios = (np.reshape(rows, (n_iter, B.shape[1])) for rows in (columns.lengths, columns.ratios))
    X, used = columns.solution()
    return Iterates(X, n_iter, columns.curvature, stopped, used, lengths, ratios, columns.brink, columns.singular, columns.lead)


class _Columns:
    """Iterates X, residuals R and directions P of the columns that are still going; what the others came to.

    `squares` are those of the norms of P in the preconditioner, by recurrence.
    """

    def __init__(self, B: Array, goals: np.ndarray, precondition: Product) -> None:
        self.xp = _arrays.namespace(B)
        self.goals, self.live, self.norms = goals, np.arange(B.shape[1]), norms(B)
        self.ended: dict[int, tuple[Array, Array]] = {}
        self.lengths: list[np.ndarray] = []
        self.ratios: list[np.ndarray] = []
        self.curvature, self.stiffest, self.singular = 0.0, 0.0, False
        self.brink: dict[int, Array] = {}
        self.X, self.R, self.P, self.used = self.xp.zeros_like(B), B, B, self.xp.zeros_like(B)
        self.rho, self.squares, self.lead = (np.zeros(B.shape[1]) for _ in range(3))
        self._retire(self.norms <= goals)
        if self.live.size:
            self.P = precondition(self.R)
            self.rho = self.squares = dots(self.R, self.P)

    def resume(self, apply: Product, directions: Array) -> None:
        """Make the first directions conjugate to earlier ones, of those columns whose residuals are orthogonal to them."""
        E = self.xp.take(directions, _arrays.from_numpy(self.live, directions), axis=1)
        Q = apply(E)
        curvature, across = dots(E, Q), dots(Q, self.P)
        usable = (curvature > 0) & (np.abs(dots(self.R, E)) <= ASLANT * norms(self.R) * norms(E)) & (self.rho > 0)
        ratio = np.where(usable, across / np.where(usable, curvature, 1.0), 0.0)
        self.P = kernels.krylov.turn(self.P, E, -ratio)
        self.lead[self.live] = ratio**2 * curvature / np.where(self.rho > 0, self.rho, 1.0)

    def step(self, apply: Product, precondition: Product) -> None:
        """Make one iteration; a direction in which A is not positive ends its column."""
        Q = apply(self.P)
        curvature = dots(self.P, Q)
        if np.any(curvature < 0):
            self.curvature = min(self.curvature, float(np.min(curvature / dots(self.P, self.P))))
        positive = (curvature > 0) & (self.rho > 0)
        length = np.where(positive, self.rho / np.where(positive, curvature, 1.0), 0.0)
        self.lengths.append(self._spread(length))
        self._look(curvature, positive)
        self.X, self.R, squares = kernels.krylov.step(self.X, self.R, self.P, Q, length)
        self.norms[self.live], self.used = np.sqrt(squares), self.P
        self._retire(~positive | (self.norms[self.live] <= self.goals[self.live]))
        ratio = np.zeros(0)
        if self.live.size:
            Z = precondition(self.R)
            rho = dots(self.R, Z)
            ratio = rho / self.rho
            self.P, self.rho, self.squares = kernels.krylov.turn(Z, self.P, ratio), rho, rho + ratio**2 * self.squares
        self.ratios.append(self._spread(np.maximum(ratio, 0.0)))

    def _look(self, curvature: np.ndarray, positive: np.ndarray) -> None:
        """Remember columns before their first step along which A is nearly singular, in the norm of P, and say when it is."""
        quotient = curvature / np.where(self.squares > 0, self.squares, 1.0)
        self.stiffest = max(self.stiffest, float(np.max(quotient, initial=0.0)))
        self.singular |= bool(np.any(positive & (quotient < SINGULAR * self.X.shape[0] * self.stiffest)))
        for place in np.flatnonzero(positive & (quotient < BRINK * self.stiffest)):
            self.brink.setdefault(int(self.live[place]), self.X[:, int(place)])

    def solution(self) -> tuple[Array, Array]:
        """Put the columns together: solutions and last directions."""
        self._retire(np.ones(self.live.size, dtype=bool))
        X, used = (self.xp.stack([self.ended[j][place] for j in sorted(self.ended)], axis=1) for place in (0, 1))
        return X, used

    def _retire(self, ready: np.ndarray) -> None:
        if not ready.any():
            return
        for place in np.flatnonzero(ready):
            self.ended[int(self.live[place])] = self.X[:, int(place)], self.used[:, int(place)]
        going = _arrays.from_numpy(np.flatnonzero(~ready), self.X)
        self.X, self.R, self.P, self.used = (self.xp.take(x, going, axis=1) for x in (self.X, self.R, self.P, self.used))
        self.live, self.rho, self.squares = self.live[~ready], self.rho[~ready], self.squares[~ready]

    def _spread(self, numbers: np.ndarray) -> np.ndarray:
        """Put numbers of the live columns in their places."""
        row = np.zeros(self.goals.size)
        row[self.live] = numbers
        return row


def dots(A: Array, B: Array) -> np.ndarray:
    """Return Re a_j^H b_j for each column."""
    return kernels.krylov.dots(A, B)


def norms(A: Array) -> np.ndarray:
    """Return the norm of each column, also where squares leave the range of numbers."""
    squares = dots(A, A)
    if np.all((squares > SMALL) & (squares < LARGE)):
        return np.sqrt(squares)
    largest = _arrays.to_numpy(_arrays.namespace(A).max(abs(A), axis=0))
    usual = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    row = _arrays.from_numpy(usual, A)[None, :]
    return np.where(np.isfinite(largest), usual * np.sqrt(dots(A / row, A / row)), largest)
