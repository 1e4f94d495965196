"""Least squares over gains and signals by products with the sensing matrices alone.

For data W (p, m), weights g of the channels and coefficients c of theirs, the terms are ||g^1/2 (A_l x_l - W_l c)||^2, and perhaps
mu ||L c||^2 for differences L c of neighbours. The best c are S^-1 sum_l conj(W_l) A_l x_l, S = diag(sum_l |W_l|^2) + mu L^H L, one number
or one tridiagonal system for each channel; what is left is a Hermitian system for the signals,

    N = A^H diag(g) (I - W S^-1 W^H) A,

that conjugate gradients solve. With measurements for W it gives c = 1 / d; with predictions for W, the steps of Gauss and Newton.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.calibration._operators import product
from lowrank_la.calibration._problem import REPEATED, SNAPSHOTS, Problem
from lowrank_la.calibration._spectral import Options
from lowrank_la.factor._dense import host
from lowrank_la.solvers import _block

EXACT, ROUGH = 1e-12, 1e-6  # relative residuals of least-squares problems for signals alone: for an answer, for a start
LONG = 1000  # iterations, at most, of a system that is solved to the end


class Sensing:
    """Products with the sensing matrices, and a preconditioner for A^H A."""

    def __init__(self, problem: Problem, dead: np.ndarray, tol: float) -> None:
        self.problem, self.xp, self.A, self.tol = problem, _arrays.namespace(problem.Y), problem.A, tol
        self.repeated, self.dead = problem.model == REPEATED, dead
        self.live = _arrays.from_numpy(np.where(dead, 0.0, 1.0), problem.Y)
        energy = self.A.energy(self.repeated)
        seen = energy > 0
        self.inverse = self.xp.where(seen, 1 / self.xp.where(seen, energy, 1.0), 0.0)
        self.work = np.empty_like(problem.Y) if isinstance(problem.Y, np.ndarray) else None
        self.diagonal = self.A.orthogonal and not dead.any()
        rank = float(self.xp.sum(self.xp.astype(seen, self.xp.float64))) * (problem.p if problem.model == SNAPSHOTS else 1)
        self.share = problem.p - rank / (problem.m - int(dead.sum()))

    def image(self, x: Array) -> Array:
        """Return A_l x or A_l x_l (p, m)."""
        return self.A.image(x)

    def passing(self, x: Array) -> Array:
        """Return the same in memory that the next call of this kind overwrites."""
        return self.A.image(x, self.work)

    def back(self, F: Array) -> Array:
        """Return A_l^H f_l for each l, or their sum: the shape of the signals. F is used up."""
        return self.A.correlate(F, self.repeated)

    def fitted(self, F: Array) -> Array:
        """Return the signals whose images come next to F on live channels."""
        if self.diagonal:
            return self.inverse * self.back(F)
        free = Channels(F, self.live, self.xp.zeros_like(self.live))  # no gains
        return System(self, free, 1.0).solve(self.back(self.live * F), self.tol, LONG)


@dataclass(frozen=True)
class Channels:
    """The data W, the weights g, and what the best coefficients are made with.

    Attributes
    ----------
    W : array (p, m)
        What coefficients multiply.
    weight : array (m,)
        g; zero on channels without equations.
    scale : array (m,)
        1 / sum_l |W_l|^2, or zero where a coefficient is known, or there is none.
    phase : bool
        Coefficients are imaginary: gains of modulus one turn only.
    rough : Roughness or None
        Penalty of differences.
    """

    W: Array
    weight: Array
    scale: Array
    phase: bool = False
    rough: Roughness | None = None

    def best(self, F: Array) -> Array:
        """Return the best coefficients for images F."""
        return self.solved(kernels.channel_projection.channel_sum(self.W, F))

    def solved(self, f: Array) -> Array:
        """Return S^-1 f."""
        return self.scale * f if self.rough is None else self.rough.solved(f)

    def project(self, F: Array) -> Array:
        """Return g (F - W c); F is used up."""
        if self.rough is None:
            return kernels.channel_projection.apply(F, self.W, self.weight, self.scale, self.phase)
        return self.weight * (F - self.W * self.best(F))


class Roughness:
    """S = diag(q) + mu L^H L among live channels, solved on those that are free; L takes differences of neighbours."""

    def __init__(self, q: Array, mu: float, dead: np.ndarray, free: np.ndarray) -> None:
        self.mu, self.places, self.m = mu, np.flatnonzero(~dead), dead.size
        inner = free[self.places]
        both = inner[1:] & inner[:-1]
        degree = np.r_[0.0, np.ones(both.size)] + np.r_[np.ones(both.size), 0.0] if inner.size > 1 else np.zeros(1)
        self.bands = np.zeros((2, inner.size))
        self.bands[0, 1:] = np.where(both, -mu, 0.0)
        self.bands[1] = np.where(inner, host(q)[self.places] + mu * degree, 1.0)
        self.inner = inner

    def solved(self, f: Array) -> Array:
        """Return S^-1 f on free channels, zero elsewhere."""
        from scipy.linalg import solveh_banded

        right = np.where(self.inner, _arrays.to_numpy(f)[self.places], 0)
        return self._spread(solveh_banded(self.bands, right, check_finite=False), f)

    def applied(self, t: Array) -> Array:
        """Return mu L^H L t."""
        steps = np.diff(_arrays.to_numpy(t)[self.places])
        return self._spread(self.mu * (np.r_[0, steps] - np.r_[steps, 0]), t)

    def _spread(self, values: np.ndarray, like: Array) -> Array:
        out = np.zeros(self.m, dtype=values.dtype)
        out[self.places] = values
        return _arrays.from_numpy(out, like)


class System:
    """N x = b for signals; `size` is about the mean of g."""

    def __init__(self, sensing: Sensing, channels: Channels, size: float) -> None:
        self.sensing, self.channels = sensing, channels
        self.precondition = sensing.inverse / size

    def solve(self, b: Array, tol: float, max_iter: int) -> Array:
        """Reduce the residual by `tol` with preconditioned conjugate gradients."""
        return self.iterate(b, tol, max_iter)[0]

    def iterate(self, b: Array, tol: float, max_iter: int) -> tuple[Array, float]:
        """Return the solution too, and by how much b^H x - x^H N x / 2 has grown, twice."""
        xp, shape = self.sensing.xp, b.shape
        column = xp.reshape(b, (-1, 1))
        found = _block.conjugate_gradients(
            lambda X: xp.reshape(self.times(xp.reshape(X, shape)), (-1, 1)),
            column,
            tol * _block.norms(column),
            precondition=lambda R: xp.reshape(self.precondition * xp.reshape(R, shape), (-1, 1)),
            max_iter=max_iter,
        )
        return xp.reshape(found.X, shape), float(_block.dots(found.X, column)[0])

    def times(self, x: Array) -> Array:
        """Return N x."""
        return self.sensing.back(self.channels.project(self.sensing.passing(x)))


class Elimination:
    """The linear problem for t = 1 / d, without matrices; known gains and dead channels are not among the unknowns."""

    def __init__(self, problem: Problem, dead: np.ndarray, options: Options, tol: float = ROUGH) -> None:
        self.problem, self.Y, self.xp = problem, problem.Y, _arrays.namespace(problem.Y)
        self.sensing, self.live = Sensing(problem, dead, tol), np.flatnonzero(~dead)
        places = self.live[:0] if options.places is None else self.live[options.places]
        self.options = replace(options, places=places if places.size else None)
        self.free = ~dead
        self.free[places] = False
        self.q = self.xp.real(kernels.channel_projection.channel_sum(self.Y, self.Y))
        scale = self.inverted(self.q)
        self.mu = options.smooth * self.sensing.share / problem.p * float(self.xp.sum(self.q)) / self.live.size
        rough = Roughness(self.q, self.mu, dead, self.free) if self.mu else None
        self.channels = Channels(self.Y, self.sensing.live, scale, rough=rough)
        self.root = self.xp.sqrt(scale)

    def inverted(self, q: Array) -> Array:
        """Return 1 / q on free channels, and zero elsewhere and where q is zero."""
        there = _arrays.from_numpy(self.free, q) & (q > 0)
        return self.xp.where(there, 1 / self.xp.where(there, q, 1.0), 0.0)

    def known(self) -> Array:
        """Return t on channels with known gains, and zero elsewhere."""
        t = np.zeros(self.problem.m, dtype=_arrays.to_numpy(self.Y[:0, :]).dtype)
        if self.options.places is not None:
            t[self.options.places] = 1 / _arrays.to_numpy(self.options.values)
        return _arrays.from_numpy(t, self.Y)

    def apply(self, u: Array) -> Array:
        """Return H u."""
        x = self.sensing.fitted(product(self.Y, self.root * u, self.sensing.work))
        return self.root * kernels.channel_projection.channel_sum(self.Y, self.sensing.passing(x))

    def solve(self, f: Array, t: Array | None = None, tol: float = EXACT) -> Array:
        """Return the t that minimises t^H G t - 2 Re f^H t, given some of its entries."""
        coupled = self.channels.solved(f if t is None or self.channels.rough is None else f - self.channels.rough.applied(t))
        ahead = coupled if t is None else coupled + t
        b = self.sensing.back(self.sensing.live * self.Y * ahead)
        x = System(self.sensing, self.channels, 1.0).solve(b, tol, LONG)
        return ahead + self.channels.best(self.sensing.image(x))

    @property
    def freedom(self) -> float:
        held = 1 if self.options.places is None else self.options.places.size
        return (self.sensing.share - 1) * self.live.size + held
