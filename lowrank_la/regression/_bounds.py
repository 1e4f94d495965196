"""How wrong an answer can be: backward error and error bounds, from the answer and the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.regression._precondition import Preconditioner
from lowrank_la.regression._problem import Problem

U = 2.0**-53  # sums over rows and everything d x d is in float64


@dataclass(frozen=True)
class Iterate:
    """An approximate solution, its gradient g, squared residual norms r2 and backward errors, one per right-hand side."""

    X: Array
    g: Array
    r2: Array
    error: Array

    @property
    def worst(self) -> float:
        return float(_arrays.namespace(self.error).max(self.error))

    def better(self, other: Iterate) -> Iterate:
        """Take from each of two iterates the columns with the smaller backward error."""
        xp = _arrays.namespace(self.error)
        new = other.error < self.error
        return Iterate(
            *(
                xp.where(new, b, a)
                for a, b in zip((self.X, self.g, self.r2, self.error), (other.X, other.g, other.r2, other.error), strict=True)
            )
        )


@dataclass(frozen=True)
class Scene:
    """What stays the same while a problem is being solved."""

    problem: Problem
    basis: Preconditioner
    norms_b: Array

    @property
    def full_rank(self) -> bool:
        return self.basis.keep is None

    def look(self, X: Array, R: Array | None = None) -> Iterate:
        """Evaluate X in one pass over A; R^H R is (close to) the Gram matrix of the scaled columns."""
        return self.at(X, *self.problem.gradient(X), self.basis.R if R is None else R)

    def at(self, X: Array, g: Array, r2: Array, R: Array) -> Iterate:
        """Judge X by its gradient and residual."""
        return Iterate(X, g, r2, backward_error(self.basis, R, X, g, r2, self.norms_b))

    def slope(self, g: Array) -> Array:
        """P^H g: the gradient in the coordinates in which the problem is well conditioned."""
        return _arrays.adjoint_of(_arrays.namespace(g), self.basis.P) @ g


def backward_error(basis: Preconditioner, R: Array, X: Array, g: Array, r2: Array, norms_b: Array) -> Array:
    """Karlson and Walden's estimate for each column of X, relative to the norm of A with scaled columns.

    With A^H A = R^H R it lies between 1/sqrt(2) and 1 times the least ||[E, t f]||_F /
    ||A||_F, t = ||A||_F / ||b||, for which X solves the problem with A + E and b + f.
    """
    xp = _arrays.namespace(X)
    c = basis.kept(basis.scales)[:, None]
    norm_A = float(xp.linalg.matrix_norm(R)) if R.shape[0] else 0.0
    x2 = xp.sum(xp.abs(basis.kept(X) / c) ** 2, axis=0)
    size2 = norms_b**2 + norm_A**2 * x2
    size2 = xp.where(size2 > 0, size2, xp.ones_like(size2))
    h = c * basis.kept(g)
    shifts = _arrays.to_numpy(norm_A * xp.sqrt(r2 / size2))
    columns = [_shrunk_norm(R, float(shifts[j]), h[:, j : j + 1]) for j in range(X.shape[1])]
    return xp.stack(columns) / xp.sqrt(size2)


def _shrunk_norm(R: Array, shift: float, h: Array) -> Array:
    """||(R^H R + shift^2 I)^(-1/2) h||, by a QR that does not square R."""
    xp = _arrays.namespace(R)
    T = _arrays.triangular_factor(xp.concat([R, shift * xp.eye(R.shape[0], dtype=R.dtype, device=R.device)]))
    return xp.linalg.vector_norm(_arrays.solve_triangular(T, h, adjoint=True))


def gamma(k: float) -> float:
    """Bound k u / (1 - k u) on the relative error of k roundings."""
    return k * U / (1 - k * U) if k * U < 0.5 else math.inf


def lengths(R: Array) -> Array:
    """Column norms of the scaled A, from R^H R = its Gram matrix."""
    xp = _arrays.namespace(R)
    return xp.sqrt(xp.sum(xp.abs(R) ** 2, axis=0))


def gradient_rounding(scene: Scene, at: Iterate, column_norms: Array) -> Array:
    """Bound |computed - exact| for the scaled gradient c g: residuals lose d roundings of their terms, sums n of theirs."""
    xp = _arrays.namespace(at.X)
    n, d = scene.problem.rows.shape
    basis = scene.basis
    x = xp.abs(basis.kept(at.X) / basis.kept(basis.scales)[:, None])
    terms = scene.norms_b + xp.sum(column_norms[:, None] * x, axis=0)
    return column_norms[:, None] * (gamma(d + 5) * terms + gamma(n + d + 5) * (xp.sqrt(at.r2) + gamma(d + 5) * terms))


def deterministic(scene: Scene, at: Iterate, G: Array, R: Array) -> Array:
    """Bound |X - X*| entry by entry (certificate L2); inf where rounding hides the answer.

    X* - X = P M^-1 P^H g with M = (A P)^H (A P), and G is M up to rounding.
    """
    xp = _arrays.namespace(at.X)
    n, d = scene.problem.rows.shape
    basis = scene.basis
    P = basis.kept(basis.P) / basis.kept(basis.scales)[:, None]
    trace = float(xp.sum(xp.real(xp.linalg.diagonal(G)) if _is_complex(xp, G) else xp.linalg.diagonal(G)))
    column_norms = 1.01 * lengths(R)
    tile = gamma(d + 4) * float(xp.linalg.vector_norm(column_norms @ xp.abs(P)))
    slack = 2 * math.sqrt(trace) * tile + tile**2 + gamma(n + 4 * d + 4) * trace
    least = float(xp.min(xp.linalg.eigvalsh(G))) - slack
    inf = xp.full(at.X.shape, math.inf, dtype=xp.float64, device=at.X.device)
    if not least > 0:
        return inf
    g_error = gradient_rounding(scene, at, column_norms) + gamma(4 * d + 8) * xp.abs(basis.kept(basis.scales[:, None] * at.g))
    h_error = xp.linalg.vector_norm(xp.matrix_transpose(xp.abs(P)) @ g_error, axis=0)
    y = xp.linalg.solve(G, scene.slope(at.g))
    spread = (slack * xp.linalg.vector_norm(y, axis=0) + h_error) / least
    rows = xp.linalg.vector_norm(P, axis=1)[:, None]
    bound = xp.abs(P @ y) + rows * (spread + gamma(4 * d + 8) * xp.linalg.vector_norm(y, axis=0))
    return basis.kept(basis.scales)[:, None] * bound


def embedding(scene: Scene, at: Iterate, height: int, delta: float) -> Array:
    """Bound |X - X*| entry by entry (certificate L1), if the sketch keeps the lengths of the column space within eta."""
    xp = _arrays.namespace(at.X)
    basis = scene.basis
    P = basis.kept(basis.P) / basis.kept(basis.scales)[:, None]
    eta = distortion(basis.rank, height, delta)
    least, most = (1 + eta) ** -2, (1 - eta) ** -2 if eta < 1 else math.inf
    column_norms = (1 + eta) * lengths(basis.R)
    g_error = gradient_rounding(scene, at, column_norms)
    h_error = xp.linalg.vector_norm(xp.matrix_transpose(xp.abs(P)) @ g_error, axis=0)
    h = scene.slope(at.g)
    size = xp.linalg.vector_norm(h, axis=0)
    rows = xp.linalg.vector_norm(P, axis=1)[:, None]
    one_sided = rows * size / least
    two_sided = xp.abs(P @ h) + rows * size * max(1 / least - 1, 1 - 1 / most)
    bound = xp.where(one_sided < two_sided, one_sided, two_sided) + rows * h_error / least
    return basis.kept(basis.scales)[:, None] * bound


def distortion(rank: int, height: int, delta: float) -> float:
    """Distortion of a sketch with probability 1 - delta, after the law for Gaussian sketches."""
    return math.sqrt(rank / height) + math.sqrt(2 * math.log(2 / delta) / height)


def statistical(scene: Scene, X: Array, Y: Array, Z: Array, delta: float) -> Array:
    """Bound |X - X*| entry by entry (certificate L0): given S A, the errors are t-distributed if S is Gaussian."""
    from scipy.special import stdtrit

    xp = _arrays.namespace(X)
    basis = scene.basis
    freedom = Y.shape[0] - basis.rank
    rss = xp.linalg.vector_norm(Z - Y @ X, axis=0)
    quantile = float(stdtrit(freedom, 1 - delta / (2 * X.shape[0] * X.shape[1])))
    c = basis.kept(basis.scales)[:, None]
    terms = xp.linalg.vector_norm(Z, axis=0) + xp.sum(lengths(basis.R)[:, None] * xp.abs(basis.kept(X) / c), axis=0)
    rounding = gamma(10 * (X.shape[0] + 10)) * terms
    return xp.linalg.vector_norm(basis.P, axis=1)[:, None] * (quantile * rss / math.sqrt(freedom) + rounding)


def _is_complex(xp: Any, x: Array) -> bool:
    return xp.isdtype(x.dtype, "complex floating")
