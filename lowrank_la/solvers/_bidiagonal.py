"""LSMR for several right-hand sides at once: Golub and Kahan's bidiagonalization, and the rotations that follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.solvers._block import dots, norms

Product = Callable[[Array], Array]


@dataclass(frozen=True)
class Iterates:
    """Where the iteration ended.

    Attributes
    ----------
    X : array (d, t)
        Solutions.
    n_iter : int
        Iterations of the column that took most.
    size : float
        The largest ||A v|| for unit vectors v that came up: at most ||A||_2, and seldom below half of it.
    stopped : bool
        `watch` asked to stop.
    alphas, betas : NumPy arrays (n_iter, t)
        Columns of the bidiagonal matrices; zero once a column has ended.
    """

    X: Array
    n_iter: int
    size: float
    stopped: bool
    alphas: np.ndarray
    betas: np.ndarray

    def least_square(self) -> float:
        """Return the square of the least singular value of A P^(-1/2) that the iteration has seen; inf without a step."""
        from scipy.linalg import eigvalsh_tridiagonal

        least = np.inf
        for alpha, beta in zip(self.alphas.T, self.betas.T, strict=True):
            steps = int(np.count_nonzero(alpha))
            if steps:
                alpha, beta = alpha[:steps], beta[:steps]
                least = min(
                    least, float(eigvalsh_tridiagonal(alpha**2 + beta**2, alpha[1:] * beta[:-1], select="i", select_range=(0, 0))[0])
                )
        return least


@dataclass(frozen=True)
class Rule:
    """When a column ends: its gradient is below `tol` ||A|| ||r|| times `ratio`, or below `floor`, or its residual below `goal`."""

    tol: float
    ratio: np.ndarray
    floor: np.ndarray
    goal: np.ndarray

    def met(self, live: np.ndarray, gradient: np.ndarray, residual: np.ndarray, size: float) -> np.ndarray:
        aim = np.maximum(self.tol * size * residual * self.ratio[live], self.floor[live])
        return (gradient <= aim) | (residual <= self.goal[live])


def lsmr(
    times: Product,
    adjoint: Product,
    B: Array,
    rule: Rule,
    *,
    precondition: Product | None,
    max_iter: int,
    watch: Callable[[int, np.ndarray], Any] = lambda n_iter, gradients: False,
) -> Iterates:
    """Minimise ||B - A X|| for each column, from X = 0; the gradient falls in the norm of P^-1.

    Parameters
    ----------
    times, adjoint : callables
        V (d, s) -> A V and U (m, s) -> A^H U; called with the columns that are still going.
    B : array (m, t), float64 or complex128
        Right-hand sides.
    rule : Rule
        When a column ends, judged by gradients and residuals as the recurrence knows them.
    precondition : callable, optional
        G (d, s) -> P^-1 G, Hermitian positive definite.
    max_iter : int
        Iterations at most.
    watch : callable
        Called with the number of iterations and the gradients of all columns after each; a true answer stops.

    Returns
    -------
    Iterates
        Residuals and gradients are not computed anew: that is the caller's part.
    """
    columns = _Columns(adjoint, B, rule, precondition)
    stopped, n_iter = False, 0
    while columns.live.size and n_iter < max_iter and not stopped:
        n_iter += 1
        columns.step(times, adjoint)
        stopped = bool(watch(n_iter, columns.gradients))
    alphas, betas = (np.reshape(rows, (n_iter, B.shape[1])) for rows in (columns.alphas, columns.betas))
    return Iterates(columns.solution(), n_iter, columns.size, stopped, alphas, betas)


class _Columns:
    """The columns that are still going: U, V with W = P V, and the directions H and H_bar of the solutions X; what the others came to."""

    def __init__(self, adjoint: Product, B: Array, rule: Rule, precondition: Product | None) -> None:
        self.xp, self.rule, self.precondition = _arrays.namespace(B), rule, precondition
        self.live, self.size = np.arange(B.shape[1]), 0.0
        self.ended: dict[int, Array] = {}
        self.alphas: list[np.ndarray] = []
        self.betas: list[np.ndarray] = []
        beta = norms(B)
        self.U = scaled(B, beta)
        self._turn(adjoint(self.U))
        self.X, self.H, self.H_bar = self.xp.zeros_like(self.V), self.V, self.xp.zeros_like(self.V)
        self.rotations = _Rotations(self.alpha, beta)
        self.gradients = self.rotations.gradient.copy()
        self._retire(rule.met(self.live, self.gradients, beta, 0.0) | (self.gradients == 0))

    def _turn(self, G: Array) -> None:
        """Set W to G and V to P^-1 G, at unit length in the norm of P."""
        V = G if self.precondition is None else self.precondition(G)
        self.alpha = np.sqrt(np.maximum(dots(V, G), 0.0))
        self.V = scaled(V, self.alpha)
        self.W = self.V if V is G else scaled(G, self.alpha)

    def step(self, times: Product, adjoint: Product) -> None:
        """Make one iteration."""
        lengths = 1.0 if self.precondition is None else norms(self.V)
        U = kernels.krylov.turn(times(self.V), self.U, -self.alpha)
        beta = norms(U)
        self.size = max(self.size, float(np.max(np.hypot(self.alpha, beta) / lengths)))
        self.alphas.append(self._spread(self.alpha))
        self.betas.append(self._spread(beta))
        self.U = scaled(U, beta)
        self._turn(kernels.krylov.turn(adjoint(self.U), self.W, -beta))
        bar, along, next_ = self.rotations.turn(self.alpha, beta)
        self.H_bar = kernels.krylov.turn(self.H, self.H_bar, -bar)
        self.X = kernels.krylov.turn(self.X, self.H_bar, along)
        self.H = kernels.krylov.turn(self.V, self.H, -next_)
        gradient = self.rotations.gradient
        self.gradients[self.live] = gradient
        self._retire(self.rule.met(self.live, gradient, self.rotations.residual(), self.size) | (self.alpha == 0))

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
        arrays = (self.U, self.V, self.W, self.X, self.H, self.H_bar)
        self.U, self.V, self.W, self.X, self.H, self.H_bar = (self.xp.take(x, going, axis=1) for x in arrays)
        self.live, self.alpha = self.live[~ready], self.alpha[~ready]
        self.rotations.keep(~ready)

    def _spread(self, numbers: np.ndarray) -> np.ndarray:
        """Put numbers of the live columns in their places."""
        row = np.zeros(self.gradients.size)
        row[self.live] = numbers
        return row


class _Rotations:
    """Two QR factorizations that follow the bidiagonal matrix, in the letters of the paper; an array has a number for each column."""

    def __init__(self, alpha: np.ndarray, beta: np.ndarray) -> None:
        one, zero = np.ones_like(alpha), np.zeros_like(alpha)
        self.alpha_bar, self.zeta_bar, self.zeta = alpha, alpha * beta, zero
        self.rho, self.rho_bar, self.c_bar, self.s_bar = one, one, one, zero
        self.beta_ddot, self.beta_dot, self.rho_dot, self.tau, self.theta_tilde = beta, zero, one, zero, zero

    @property
    def gradient(self) -> np.ndarray:
        """Norms ||A^H r|| in P^-1."""
        return np.abs(self.zeta_bar)

    def turn(self, alpha: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take in a column; return the factors of H_bar in H_bar, of H_bar in X, and of H in H."""
        rho_old, rho_bar_old, self.zeta_old = self.rho, self.rho_bar, self.zeta
        c, s, self.rho = _givens(self.alpha_bar, beta)
        theta, self.alpha_bar = s * alpha, c * alpha
        self.theta_bar = self.s_bar * self.rho
        self.c_bar, self.s_bar, self.rho_bar = _givens(self.c_bar * self.rho, theta)
        self.zeta, self.zeta_bar = self.c_bar * self.zeta_bar, -self.s_bar * self.zeta_bar
        self.beta_hat, self.beta_ddot = c * self.beta_ddot, -s * self.beta_ddot
        bar = self.theta_bar * self.rho / (rho_old * rho_bar_old)
        return bar, self.zeta / (self.rho * self.rho_bar), theta / self.rho

    def residual(self) -> np.ndarray:
        """Return norms ||r||; called once after each column."""
        theta_old = self.theta_tilde
        c, s, rho_tilde = _givens(self.rho_dot, self.theta_bar)
        self.theta_tilde, self.rho_dot = s * self.rho_bar, c * self.rho_bar
        self.beta_dot = c * self.beta_hat - s * self.beta_dot
        self.tau = (self.zeta_old - theta_old * self.tau) / rho_tilde
        tau_dot = (self.zeta - self.theta_tilde * self.tau) / self.rho_dot
        return np.hypot(self.beta_dot - tau_dot, self.beta_ddot)

    def keep(self, going: np.ndarray) -> None:
        """Forget the columns that have ended."""
        for name, numbers in vars(self).items():
            setattr(self, name, numbers[going])


def _givens(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return c, s and r with c a + s b = r and c b = s a."""
    r = np.hypot(a, b)
    safe = np.where(r > 0, r, 1.0)
    return np.where(r > 0, a / safe, 1.0), b / safe, safe


def scaled(X: Array, lengths: np.ndarray) -> Array:
    """Divide each column by its length; zero columns stay."""
    return kernels.krylov.scale(X, 1 / np.where(lengths > 0, lengths, 1.0))
