"""Kernel ridge regression with functions of a few centres: their features are read two or three times, in tiles if they are large."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import U, adjoint, eye, host, wide
from lowrank_la.kernel_methods._approximation import approximate
from lowrank_la.kernel_methods._gram import Gram
from lowrank_la.kernel_methods._ridge_problem import Problem, norms

FITS = 1 << 27  # entries of F up to which centres are chosen among all points, else among a random part of them
HEIGHT = 2048  # least rows of a tile
COLUMNS = 2000  # centres at most, unless the caller wants more
NORMAL = 1e-4  # relative error of the normal equations from which orthogonal factors are better
ENOUGH = 1e-8  # relative distance of theta from the solution that calls for a correction


@dataclass(frozen=True)
class Model:
    """Functions of the centres: f = sum_j beta_j k(., z_j), or Phi theta with features Phi = K(X, centres) R^-1.

    Attributes
    ----------
    problem : Problem
        The whole problem.
    indices : NumPy array (k,)
        Rows of X that are centres.
    R : array (k, k), float64
        Upper triangular, R^T R is the kernel matrix of the centres.
    Phi : array (n, k), float64, or None
        Features, where the choice of centres has left them in memory.
    """

    problem: Problem
    indices: np.ndarray
    R: Array
    Phi: Array | None = None

    @property
    def rank(self) -> int:
        """Number of centres."""
        return self.indices.size

    def features(self, X: Array) -> Array:
        """Return the features of some points, or of some rows of the kernel matrix, in double precision."""
        fine, places = self.problem.fine, _arrays.from_numpy(self.indices, self.problem.y)
        if isinstance(fine.kernel, str):
            return fine.lift(wide(self.problem.xp.take(X, places, axis=1)), None, adjoint(self.R))[0]
        return fine.lift(X, fine.points(places), adjoint(self.R))[0]

    def tiles(self) -> Iterator[tuple[slice, Array]]:
        """Yield rows and their features."""
        for first, tile in _arrays.row_blocks(self.problem.fine.X if self.Phi is None else self.Phi, max(2 * self.rank, HEIGHT)):
            yield slice(first, first + tile.shape[0]), self.features(tile) if self.Phi is None else tile

    def weighed(self) -> Iterator[tuple[slice, Array]]:
        """Yield rows of D Phi."""
        for rows, Phi in self.tiles():
            yield rows, Phi if self.problem.root is None else self.problem.root[rows, :] * Phi


@dataclass(frozen=True)
class Fit:
    """Coefficients beta and theta, and what a pass over the data said of them.

    Attributes
    ----------
    beta, theta : arrays (k, t)
        Of centres and of features.
    dual : array (n, t)
        (D y - D f) / ridge: coefficients of the whole problem with nearly the same f.
    inner : array (k, t)
        Phi^T D dual, which is theta but for rounding errors.
    size : NumPy array (t,)
        Norms of Phi^T D Y, the right-hand sides of the normal equations.
    """

    beta: Array
    theta: Array
    dual: Array
    inner: Array
    size: np.ndarray


def choose(problem: Problem, rank: int | None, seed: int) -> Model:
    """Choose centres by randomly pivoted Cholesky, among as many points as fit into memory.

    Raises
    ------
    ValueError
        K is not positive semidefinite, as far as its entries are looked at.
    """
    gram, n = problem.gram, int(problem.gram.n)
    if rank is None:
        rank = min(n, math.ceil(10 * math.sqrt(n)), COLUMNS)
    among = max(rank, min(n, FITS // rank))
    rows = np.arange(n)
    if among < n:
        rows = np.sort(_random.host_generator(seed, "kernel ridge: candidates").permutation(n)[:among])
        gram = _part(gram, rows)
    part = approximate(gram, rank=rank, tol=None, method="rpcholesky", seed=seed)
    assert part.indices is not None
    if among == n and gram.door.dtype == problem.xp.float64:
        return Model(problem, part.indices, adjoint(part.L), part.F)
    return at(problem, rows[part.indices])


def at(problem: Problem, indices: np.ndarray) -> Model:
    """Take rows of X as centres; where rounding errors forbid a Cholesky factor, a shift of their size makes one.

    Raises
    ------
    ValueError
        Their kernel matrix is not positive semidefinite.
    """
    xp, places = problem.xp, _arrays.from_numpy(indices, problem.y)
    K = wide(problem.fine.block(places, places))
    shift = 10 * indices.size * _arrays.unit_roundoff(xp, problem.gram.door.dtype) * float(xp.max(problem.gram.diagonal))
    for attempt in (0.0, shift):
        with contextlib.suppress(np.linalg.LinAlgError):
            R = adjoint(xp.linalg.cholesky(K + attempt * eye(xp, indices.size, K)))
            if np.all(np.isfinite(host(xp.linalg.diagonal(R)))):
                return Model(problem, indices, R)
    raise ValueError(f"{problem.gram.function}: K must be positive semidefinite; got centres whose part of it is not")


def _part(gram: Gram, rows: np.ndarray) -> Gram:
    places = _arrays.from_numpy(rows, gram.diagonal)
    X = gram.points(places)
    X = gram.door.xp.take(X, places, axis=1) if isinstance(gram.kernel, str) else X
    return Gram(gram.function, gram.door, X, gram.kernel)


def triangle(model: Model) -> tuple[Array, Array]:
    """Return T, upper triangular with T^T T = Phi^T D^2 Phi + ridge I, and theta.

    The normal equations are several times faster than a QR factorization, which takes over where they would lose digits.
    """
    problem, k = model.problem, model.rank
    if k * U * (1 + problem.trace / problem.ridge) > NORMAL:
        T = _orthogonal(model)
        return T[:k, :k], _arrays.solve_triangular(T[:k, :k], T[:k, k:])
    xp, like = problem.xp, problem.rhs
    M, right = problem.ridge * xp.eye(k, dtype=like.dtype, device=like.device), xp.zeros_like(like[:k, :])
    for rows, Phi in model.weighed():
        M, right = M + adjoint(Phi) @ Phi, right + adjoint(Phi) @ like[rows, :]
    T = adjoint(xp.linalg.cholesky(M))
    return T, _arrays.solve_triangular(T, _arrays.solve_triangular(T, right, adjoint=True))


def _orthogonal(model: Model) -> Array:
    """Return the triangle of the QR factorization of [D Phi, D Y; sqrt(ridge) I, 0], tile after tile."""
    problem, xp, k = model.problem, model.problem.xp, model.rank
    like = problem.rhs
    T = xp.concat([math.sqrt(problem.ridge) * xp.eye(k, dtype=like.dtype, device=like.device), xp.zeros_like(like[:k, :])], axis=1)
    for rows, Phi in model.weighed():
        T = _arrays.triangular_factor(xp.concat([T, xp.concat([Phi, like[rows, :]], axis=1)], axis=0))
    return T


def solve(model: Model) -> Fit:
    """Solve min ||D Y - D Phi theta||^2 + ridge ||theta||^2, see what the answer leaves, and correct it if that is much."""
    T, theta = triangle(model)
    fit = _read(model, theta)
    exact = model.problem.gram.door.dtype == model.problem.xp.float64
    if exact and np.any(norms(fit.theta - fit.inner) > ENOUGH * norms(fit.theta)):
        step = _arrays.solve_triangular(T, _arrays.solve_triangular(T, model.problem.ridge * (fit.inner - fit.theta), adjoint=True))
        again = _read(model, fit.theta + step)
        better = np.sum(norms(again.theta - again.inner)) < np.sum(norms(fit.theta - fit.inner))
        return again if better else fit
    return fit


def _read(model: Model, theta: Array) -> Fit:
    """Return coefficients as they are handed out, and what they leave."""
    problem, xp = model.problem, model.problem.xp
    beta = xp.astype(_arrays.solve_triangular(model.R, theta), problem.gram.door.dtype)
    beta = xp.astype(beta, xp.float64)
    theta = model.R @ beta
    inner, right, dual = xp.zeros_like(theta), xp.zeros_like(theta), []
    for rows, Phi in model.weighed():
        dual.append((problem.rhs[rows, :] - Phi @ theta) / problem.ridge)
        inner, right = inner + adjoint(Phi) @ dual[-1], right + adjoint(Phi) @ problem.rhs[rows, :]
    return Fit(beta, theta, xp.concat(dual, axis=0), inner, norms(right))


def leave_one_out(model: Model) -> Array:
    """Return y - f over what the point itself leaves of it, shape (n, t)."""
    problem, xp = model.problem, model.problem.xp
    T, theta = triangle(model)
    parts = []
    for rows, Phi in model.tiles():
        Q = _arrays.solve_triangular(T, adjoint(Phi), adjoint=True)
        share = xp.sum(Q * Q, axis=0)[:, None]
        left = 1 - (share if problem.root is None else problem.root[rows, :] ** 2 * share)
        parts.append((problem.y[rows, :] - Phi @ theta) / xp.where(left > U, left, xp.full_like(left, U)))
    return xp.concat(parts, axis=0)
