"""How wrong an answer can be: backward error and error bounds, from the answer and the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._precondition import Preconditioner
from lowrank_la.regression._problem import Problem, U, gamma


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
    fine: bool

    @cached_property
    def P(self) -> Array:
        """P for the scaled columns: an inverse of R."""
        return self.basis.kept(self.basis.P) / self.basis.kept(self.basis.scales)[:, None]

    @cached_property
    def rows(self) -> Array:
        """Row norms (rank, 1) of P."""
        return _arrays.namespace(self.P).linalg.vector_norm(self.P, axis=1)[:, None]

    @property
    def full_rank(self) -> bool:
        return self.basis.keep is None

    def look(self, X: Array, R: Array | None = None) -> Iterate:
        """Evaluate X in one pass over A; R^H R is (close to) the Gram matrix of the scaled columns."""
        g, r2 = self.problem.gradient(X, self.fine)
        return Iterate(X, g, r2, self.backward_error(X, g, r2, self.basis.R if R is None else R))

    def size(self, X: Array, R: Array) -> Array:
        """sqrt(||b||^2 + ||A||_F^2 ||x||^2) with scaled columns; 1 if that is 0."""
        xp = _arrays.namespace(X)
        x = self.basis.kept(X) / self.basis.kept(self.basis.scales)[:, None]
        size2 = self.norms_b**2 + float(xp.linalg.matrix_norm(R)) ** 2 * xp.sum(xp.abs(x) ** 2, axis=0)
        return xp.sqrt(xp.where(size2 > 0, size2, xp.ones_like(size2)))

    def backward_error(self, X: Array, g: Array, r2: Array, R: Array) -> Array:
        """Karlson and Walden's estimate for each column of X, relative to the norm of A with scaled columns.

        With A^H A = R^H R it lies between 1/sqrt(2) and 1 times the least ||[E, t f]||_F /
        ||A||_F, t = ||A||_F / ||b||, for which X solves the problem with A + E and b + f.
        """
        xp = _arrays.namespace(X)
        size = self.size(X, R)
        h = self.basis.kept(self.basis.scales)[:, None] * self.basis.kept(g)
        shifts = _arrays.to_numpy(float(xp.linalg.matrix_norm(R)) * xp.sqrt(r2) / size)
        return xp.stack([_shrunk_norm(R, float(shifts[j]), h[:, j : j + 1]) for j in range(X.shape[1])]) / size

    def slope(self, g: Array) -> Array:
        """P^H g: the gradient in the coordinates in which the problem is well conditioned."""
        return _arrays.adjoint_of(_arrays.namespace(g), self.basis.P) @ g


def _shrunk_norm(R: Array, shift: float, h: Array) -> Array:
    """||(R^H R + shift^2 I)^(-1/2) h||, by a QR that does not square R unless the shift is large enough to allow it."""
    xp = _arrays.namespace(R)
    eye = xp.eye(R.shape[0], dtype=R.dtype, device=R.device)
    if shift > 1e-5 * float(xp.linalg.matrix_norm(R)):
        T = _arrays.adjoint_of(xp, xp.linalg.cholesky(_arrays.adjoint_of(xp, R) @ R + shift**2 * eye))
    else:
        T = _arrays.triangular_factor(xp.concat([R, shift * eye]))
    return xp.linalg.vector_norm(_arrays.solve_triangular(T, h, adjoint=True))


def lengths(R: Array) -> Array:
    """Column norms of the scaled A, from R^H R = its Gram matrix."""
    xp = _arrays.namespace(R)
    return xp.sqrt(xp.sum(xp.abs(R) ** 2, axis=0))


def gradient_rounding(scene: Scene, at: Iterate, column_norms: Array) -> Array:
    """Bound |computed - exact| for the scaled gradient c g."""
    xp = _arrays.namespace(at.X)
    problem, c = scene.problem, scene.basis.kept(scene.basis.scales)[:, None]
    terms = scene.norms_b + xp.sum(column_norms[:, None] * xp.abs(scene.basis.kept(at.X) / c), axis=0)
    residual, summed = problem.rows.gradient_rounding(scene.fine)
    own = 3 * U * (xp.abs(scene.basis.kept(at.g)) + problem.ridge * xp.abs(scene.basis.kept(at.X)))
    return column_norms[:, None] * (residual * terms + summed * (xp.sqrt(at.r2) + residual * terms)) + c * own


def rounding_is_small(scene: Scene, at: Iterate) -> bool:
    """Say whether rounding adds less than a tenth to a bound that rests on the length of P^H g."""
    xp = _arrays.namespace(at.X)
    g_error = gradient_rounding(scene, at, lengths(scene.basis.R))
    return bool(xp.all(10 * _slope_error(scene, g_error) <= xp.linalg.vector_norm(scene.slope(at.g), axis=0)))


def _slope_error(scene: Scene, g_error: Array) -> Array:
    """Bound the error (k,) of ||P^H g|| that comes from errors of the scaled g."""
    xp = _arrays.namespace(g_error)
    return xp.linalg.vector_norm(xp.matrix_transpose(xp.abs(scene.P)) @ g_error, axis=0)


@dataclass(frozen=True)
class Gram:
    """The normal matrix M = P^H (A^H D^2 A + ridge I) P of the whitened columns, up to rounding.

    Attributes
    ----------
    Lh : array (rank, rank), upper triangular
        Lh^H Lh = G, the computed M.
    R : array (rank, rank), upper triangular
        R^H R is the Gram matrix of the scaled columns of A.
    least, most : float
        Bounds on the eigenvalues of M, by way of the singular values of A P, which rounding of A P moves by at
        most the norm of its error; least is 0 where rounding hides M.
    slack : float
        Bound on ||G - M||_2.
    """

    Lh: Array
    R: Array
    least: float
    most: float
    slack: float

    def solve(self, h: Array) -> Array:
        return _arrays.solve_triangular(self.Lh, _arrays.solve_triangular(self.Lh, h, adjoint=True))


def gram(scene: Scene, fast: bool) -> tuple[Gram | None, Array]:
    """Form M and P^H D B in one pass over A; None if G is not safely positive definite, for then the sketch has failed."""
    xp = _arrays.namespace(scene.norms_b)
    n, d = scene.problem.rows.shape
    basis = scene.basis
    G, C = scene.problem.gram(basis.square, fast)
    G, C = basis.kept_square(G), basis.kept(C)
    eigenvalues = _arrays.to_numpy(xp.linalg.eigvalsh(G))
    trace = float(eigenvalues.sum())
    if not eigenvalues[0] > 1e-6 * trace:
        return None, C
    Lh = _arrays.adjoint_of(xp, xp.linalg.cholesky(G))
    R = Lh @ basis.R
    tile = gamma(d + 4) * float(xp.linalg.vector_norm(1.01 * lengths(R) @ xp.abs(scene.P)))
    sums = scene.problem.rows.fast_rounding() if fast else gamma(n + 4 * d + 8)
    low, high = math.sqrt(max(0.0, float(eigenvalues[0]) - sums * trace)), math.sqrt(float(eigenvalues[-1]) + sums * trace)
    return Gram(Lh, R, max(0.0, low - tile) ** 2, (high + tile) ** 2, sums * trace + (2 * high + tile) * tile), C


@dataclass(frozen=True)
class Step:
    """Where the equation X* - X = P M^-1 P^H g leads from X, and how far from it the truth can be (certificate L2).

    Attributes
    ----------
    X : array (d, k)
        X + P y for the computed solution y of M y = P^H g.
    here, there : array (d, k)
        Bounds on the errors of the old and the new X.
    error : array (k,)
        Bound on the backward error of the new X.
    """

    X: Array
    here: Array
    there: Array
    error: Array


def step(scene: Scene, gram: Gram, at: Iterate) -> Step:
    """Solve for the error of X, and bound the error of that."""
    xp = _arrays.namespace(at.X)
    d = scene.basis.rank
    c = scene.basis.kept(scene.basis.scales)[:, None]
    column_norms = 1.01 * lengths(gram.R)
    g_error = gradient_rounding(scene, at, column_norms) + gamma(4 * d + 8) * c * xp.abs(scene.basis.kept(at.g))
    h_error = _slope_error(scene, g_error)
    y = gram.solve(scene.slope(at.g))
    size = xp.linalg.vector_norm(y, axis=0)
    spread = (gram.slack * size + h_error) / gram.least if gram.least > 0 else xp.full_like(size, math.inf)
    spread = spread + gamma(6 * d + 8) * size
    X = at.X + scene.basis.P @ y
    x = xp.abs(scene.basis.kept(X)) / c
    doubt = scene.rows * spread
    there = doubt + U * x
    error = math.sqrt(gram.most) * spread + U * xp.sum(column_norms[:, None] * x, axis=0)
    return Step(X, c * (xp.abs(scene.P @ y) + doubt), c * there, error / scene.size(X, gram.R))


def embedding(scene: Scene, at: Iterate, height: int, delta: float) -> Array:
    """Bound |X - X*| entry by entry (certificate L1), if the sketch keeps the lengths of the column space within eta."""
    xp = _arrays.namespace(at.X)
    eta = distortion(scene.basis.rank, height, delta)
    least, most = (1 + eta) ** -2, (1 - eta) ** -2 if eta < 1 else math.inf
    column_norms = (1 + eta) * lengths(scene.basis.R)
    g_error = gradient_rounding(scene, at, column_norms)
    h_error = _slope_error(scene, g_error)
    h = scene.slope(at.g)
    size = xp.linalg.vector_norm(h, axis=0)
    one_sided = scene.rows * size / least
    two_sided = xp.abs(scene.P @ h) + scene.rows * size * max(1 / least - 1, 1 - 1 / most)
    bound = xp.where(one_sided < two_sided, one_sided, two_sided) + scene.rows * h_error / least
    return scene.basis.kept(scene.basis.scales)[:, None] * bound


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
