"""Fit the potential of a light Schrodinger bridge: mean log c(x) - mean log v(y), by a quasi-Newton method with analytic gradients."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la.transport._discrepancy import bandwidth
from lowrank_la.transport._mixture import Mixture, at, shares

SMALLEST = 1e-4  # of the eigenvalues of S, for data of unit scale
STEEPEST = 2.0  # S over that of the bridge between Gaussians: steeper components fit noise, and take over far from the data
DEAD = 1e-6  # largest share of any point, of a component that is started again
REVIVALS = 3
SAMPLE = 10_000  # points that decide the start
FEW = 4096  # points of each side in the first search


@dataclass(frozen=True)
class Fitted:
    """Parameters, the median distance between points of Y, the loss and how the search ended."""

    mixture: Mixture
    width: float
    loss: float
    n_iter: int
    converged: bool
    message: str


def fit(X: Array, Y: Array, eps: float, count: int, full: bool, seed: int, *, max_iter: int, tol: float, start: Mixture | None) -> Fitted:
    """Minimise the loss over centred points of unit scale, and start components again that no point uses."""
    random = _random.host_generator(seed, "light bridge")
    mixture = start.beside(X) if start is not None else begin(X, Y, eps, count, full, random)
    mixture, spent = _revived(mixture, Y, random), 0
    if max(X.shape[0], Y.shape[0]) > 2 * FEW:  # most of the way on a sample
        found = _search(mixture, _some(X, random), _some(Y, random), max_iter // 2, tol)
        spent, mixture = found.n_iter, _revived(found.mixture, Y, random)
    found = _search(mixture, X, Y, max_iter - spent, tol)
    for _ in range(REVIVALS):
        spent += found.n_iter
        mixture = _revived(found.mixture, Y, random)
        if mixture is found.mixture or spent >= max_iter:
            break
        found = _search(mixture, X, Y, max_iter - spent, tol)
    return dataclasses.replace(found, width=bandwidth(Y, random), n_iter=spent)


def _some(X: Array, random: np.random.Generator) -> Array:
    return _arrays.namespace(X).take(X, _arrays.from_numpy(np.sort(random.permutation(X.shape[0])[:FEW]), X), axis=0)


def loss(mixture: Mixture, X: Array, Y: Array) -> float:
    """Value of the loss: the divergence of the bridge from the model, up to a constant of the data."""
    xp = _arrays.namespace(X)
    return float(xp.mean(shares(xp, mixture.log_c(X))[0])) - float(xp.mean(shares(xp, mixture.log_v(Y))[0]))


def loss_and_gradient(mixture: Mixture, X: Array, Y: Array) -> tuple[float, Array, Array, Array]:
    """Value, and gradients by the loads, r and s.

    The load of a component is l_k + log mean_x exp((x' S_k x + 2 r_k' x) / (2 eps)): held fixed, it lets a component move without
    a change of its part in c, which makes the problem far better conditioned than l does.
    """
    xp, eps = _arrays.namespace(X), mixture.eps
    logits = mixture.log_c(X)
    (log_c, a), (log_v, b) = shares(xp, logits), shares(xp, mixture.log_v(Y))
    value = float(xp.mean(log_c)) - float(xp.mean(log_v))
    a, b = a / X.shape[0], b / Y.shape[0]
    total = xp.sum(b, axis=0)
    by_load = xp.sum(a, axis=0) - total
    a_T, b_T = xp.matrix_transpose(a), xp.matrix_transpose(b)
    a_T = a_T - by_load[:, None] * shares(xp, xp.matrix_transpose(logits))[1]  # l follows r and s
    if mixture.full:
        parts = [_by_component(mixture, X, Y, a_T[k, :], b_T[k, :], k) for k in range(mixture.r.shape[0])]
        return value, by_load, xp.stack([part[0] for part in parts]), xp.stack([part[1] for part in parts])
    s, r, first = mixture.s, mixture.r, b_T @ Y
    away = b_T @ (Y * Y) - 2 * r * first + r * r * total[:, None]  # sums of squared distances from the centres
    by_r = (a_T @ X - (first - r * total[:, None]) / s) / eps
    by_s = (a_T @ (X * X) - away / (s * s)) / (2 * eps) + total[:, None] / (2 * s)
    return value, by_load, by_r, by_s


def loads(mixture: Mixture, X: Array) -> Array:
    """l_k + log mean_x exp((x' S_k x + 2 r_k' x) / (2 eps))."""
    xp = _arrays.namespace(X)
    return shares(xp, xp.matrix_transpose(mixture.log_c(X)))[0] - math.log(X.shape[0])


def _by_component(mixture: Mixture, X: Array, Y: Array, a: Array, b: Array, k: int) -> tuple[Array, Array]:
    """Gradients by the centre and the Cholesky factor of one component."""
    xp, eps, L = _arrays.namespace(X), mixture.eps, mixture.s[k, :, :]
    Z = _arrays.solve_triangular(xp.matrix_transpose(L), xp.matrix_transpose(Y - mixture.r[k, :]), adjoint=True)  # (d, m)
    U = xp.matrix_transpose(_arrays.solve_triangular(xp.matrix_transpose(L), Z))  # rows S^-1 (y - r)
    by_r = (a @ X - b @ U) / eps
    by_S = xp.matrix_transpose(X * a[:, None]) @ X - xp.matrix_transpose(U * b[:, None]) @ U  # over 2 eps; S^-1 comes apart
    by_logdet = xp.eye(L.shape[0], dtype=L.dtype, device=L.device) * (xp.sum(b) / xp.linalg.diagonal(L))
    return by_r, xp.tril(by_S @ L / eps) + by_logdet


def begin(X: Array, Y: Array, eps: float, count: int, full: bool, random: np.random.Generator) -> Mixture:
    """Start from the clusters of Y: each component the bridge of the Gaussian with the moments of all X to one of the cluster's."""
    from scipy.cluster.vq import kmeans2

    few = _arrays.to_numpy(Y)[random.permutation(Y.shape[0])[:SAMPLE], :]
    count = min(count, np.unique(few, axis=0).shape[0])
    centres, labels = kmeans2(few, count, minit="++", rng=random)
    source = np.var(_arrays.to_numpy(X), axis=0)
    spread = np.stack([np.var(few[labels == k], axis=0) if np.any(labels == k) else np.var(few, axis=0) for k in range(count)])
    s = np.maximum(slope(source, spread, eps), 10 * SMALLEST)
    load = np.log(np.maximum(np.bincount(labels, minlength=count), 1) / few.shape[0])
    s = np.stack([np.diag(np.sqrt(row)) for row in s]) if full else s
    mixture = at(np.zeros(count), centres, s, eps, Y)
    return mixture.with_weights(_arrays.from_numpy(load, Y) - loads(mixture, X))


def slope(source: np.ndarray, spread: np.ndarray, eps: float) -> np.ndarray:
    """S of the bridge between Gaussians with these variances: S^2 source + eps S = spread."""
    return 2 * spread / (eps + np.sqrt(eps * eps + 4 * source * spread))


def _steepest(X: Array, Y: Array, eps: float) -> float:
    """Largest eigenvalue of S allowed."""
    source, spread = (np.var(_arrays.to_numpy(Z), axis=0) for Z in (X, Y))
    return max(STEEPEST * float(np.max(slope(source, spread, eps))), 100 * SMALLEST)


class _Chart:
    """The parameters as a vector: loads, centres in units of their spread, and s, with logarithms on its diagonal."""

    def __init__(self, mixture: Mixture, X: Array, steepest: float) -> None:
        r, s = (np.array(_arrays.to_numpy(x)) for x in (mixture.r, mixture.s))
        self.X, self.eps, self.full = X, mixture.eps, mixture.full
        self.count, self.d = r.shape
        self.logs = np.broadcast_to(np.eye(self.d, dtype=bool), s.shape) if self.full else np.ones(s.shape, dtype=bool)
        roots = np.diagonal(s, axis1=1, axis2=2) if self.full else np.sqrt(s)
        self.unit = math.sqrt(self.eps) * roots
        self.unit_s = np.where(self.logs, 1.0, roots[:, :, None]) if self.full else np.ones(s.shape)
        free = np.broadcast_to(np.tri(self.d, dtype=bool), s.shape) if self.full else self.logs
        self.start = self._join(_arrays.to_numpy(loads(mixture, X)), r / self.unit, self._log(s) / self.unit_s)
        power = 0.5 if self.full else 1.0  # of S, whose root is the parameter
        side = np.where(free, math.sqrt(steepest) / self.unit_s, 0.0)
        self.bounds = np.full((self.start.size, 2), [-np.inf, np.inf])
        self.bounds[-s.size :, 0] = np.where(self.logs, power * math.log(SMALLEST), -side).ravel()
        self.bounds[-s.size :, 1] = np.where(self.logs, power * math.log(steepest), side).ravel()
        self.start = np.clip(self.start, *self.bounds.T)

    def mixture(self, z: np.ndarray) -> Mixture:
        """Parameters of a vector."""
        load, r, s = np.split(z, [self.count, self.count * (1 + self.d)])
        r, s = r.reshape(self.unit.shape) * self.unit, s.reshape(self.logs.shape) * self.unit_s
        s = np.where(self.logs, np.exp(np.where(self.logs, s, 0.0)), s)
        mixture = at(np.zeros(self.count), r, s, self.eps, self.X)
        return mixture.with_weights(_arrays.from_numpy(load, self.X) - loads(mixture, self.X))

    def gradient(self, mixture: Mixture, by_load: np.ndarray, by_r: np.ndarray, by_s: np.ndarray) -> np.ndarray:
        """Write a gradient as a vector."""
        return self._join(by_load, by_r * self.unit, np.where(self.logs, by_s * _arrays.to_numpy(mixture.s), by_s) * self.unit_s)

    def _log(self, s: np.ndarray) -> np.ndarray:
        return np.where(self.logs, np.log(np.where(self.logs, s, 1.0)), s)

    @staticmethod
    def _join(*parts: np.ndarray) -> np.ndarray:
        return np.concatenate([part.ravel() for part in parts])


def _search(mixture: Mixture, X: Array, Y: Array, max_iter: int, tol: float) -> Fitted:
    from scipy.optimize import minimize

    chart = _Chart(mixture, X, _steepest(X, Y, mixture.eps))

    def target(z: np.ndarray) -> tuple[float, np.ndarray]:
        mixture = chart.mixture(z)
        value, *gradients = loss_and_gradient(mixture, X, Y)
        return value, chart.gradient(mixture, *map(_arrays.to_numpy, gradients))

    options = {"maxiter": max(max_iter, 1), "maxfun": 20 * max(max_iter, 1), "gtol": tol, "ftol": 0.0, "maxcor": 20}
    found = minimize(target, chart.start, jac=True, method="L-BFGS-B", bounds=chart.bounds, options=options)
    return Fitted(chart.mixture(found.x), 1.0, float(found.fun), int(found.nit), bool(found.success), str(found.message))


def _revived(mixture: Mixture, Y: Array, random: np.random.Generator) -> Mixture:
    """Move components that no point uses to the points that are explained worst, with the shape of their explanation."""
    xp = _arrays.namespace(Y)
    total, b = shares(xp, mixture.log_v(Y))
    dead = np.flatnonzero(_arrays.to_numpy(xp.max(b, axis=0)) < DEAD)
    if dead.size == 0:
        return mixture
    worst = np.argsort(_arrays.to_numpy(total))[: max(10 * dead.size, Y.shape[0] // 50)]
    chosen = _arrays.from_numpy(random.choice(worst, size=dead.size, replace=dead.size > worst.size), Y)
    nearest = _arrays.to_numpy(xp.argmax(xp.take(b, chosen, axis=0), axis=1))
    l, r, s = (np.array(_arrays.to_numpy(x)) for x in (mixture.l, mixture.r, mixture.s))
    l[dead], r[dead], s[dead] = l[nearest] - np.log(2), _arrays.to_numpy(xp.take(Y, chosen, axis=0)), s[nearest]
    return at(l, r, s, mixture.eps, Y)
