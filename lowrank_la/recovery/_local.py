"""What the inliers say about matrices next to the answer: whether they determine it, how closely, and which of them nothing else checks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.factor._lanczos import block_lanczos
from lowrank_la.recovery import _certificate, _refine
from lowrank_la.recovery._problem import Problem, Terms, absolute
from lowrank_la.recovery._start import sign
from lowrank_la.recovery._tangent import Tangent

NEARBY = "||U V^H - M||_F <= bound for a nearby M of this rank, if the errors of the inliers are independent and Gaussian"
OPTIMAL = "the l1 loss falls by <= bound, relatively, for any tangent step up to ||U V^H||_F: other U for this V, other V for this U"
PROBES = 6  # random errors that tangents are fitted to
DROP, ITERATIONS = 1e-6, 200  # of the gradient of those fits
BLOCK, STEPS = 10, 200  # Lanczos steps at a time, and at most
SURE = 0.1  # relative error of the least eigenvalue at which they end
UNCHECKED = 1e-3  # redundancy that is called none


@dataclass(frozen=True)
class Local:
    """Findings at the answer: see `RecoverResult`."""

    certificate: Certificate
    dual_gap: Certificate
    redundancy: float
    unchecked: int = 0  # inliers without redundancy
    size: float = 0.0  # of the model

    def doubts(self, *, robust: bool) -> list[str]:
        """Say in words why the answer may be wrong although it fits."""
        words = []
        if self.certificate.bound > self.size:
            words.append(f"the inliers determine the matrix to {self.certificate.bound:.3g} only, and its norm is {self.size:.3g}")
        if robust and self.unchecked:
            words.append(f"{self.unchecked} inliers are not checked by others: gross errors in them would not show")
        return words


UNKNOWN = Local(
    Certificate(NEARBY, math.inf, _certificate.CONFIDENCE, "local: too few inliers"), Certificate(OPTIMAL, 1.0, 1.0, "dual vector"), 0.0
)


def examine(problem: Problem, terms: Terms, r: Array) -> Local:
    """Look at the tangents of the model's rank, given the residuals of all measurements."""
    P, s, Q = terms
    xp, among = _arrays.namespace(P), _refine.inliers(problem, r)[problem.fit]
    good = np.zeros(problem.y.shape[0], dtype=bool)
    good[problem.fit[among]] = True
    fitted = Tangent(problem, P, Q, problem.fitted)
    tangent = fitted.weighed(xp.astype(_arrays.from_numpy(good.astype(float), problem.y), problem.door.real_dtype))
    free = len(good[good]) * (2 if tangent.complex else 1) - tangent.dimension
    size = float(xp.linalg.vector_norm(s))
    if free <= 0:
        return replace(UNKNOWN, size=size)
    checks = _redundancies(problem, tangent, good)
    z = _score(problem, r)
    gradients = xp.concat([tangent.adjoint(r[:, None]), -fitted.adjoint(z[:, None])], axis=1)
    X = tangent.solve(gradients, DROP, ITERATIONS)
    least = _least_eigenvalue(tangent, problem.seed)
    bound = math.inf
    if least > 0.0:
        shift = float(xp.linalg.vector_norm(X[:, 0]))
        bound = shift + _spread(problem, r, good, tangent.dimension, free) / math.sqrt(least)
    certificate = Certificate(NEARBY, bound, _certificate.CONFIDENCE, f"local: least singular value {math.sqrt(least):.3g} over tangents")
    gap = _gap(problem, fitted, r, z + tangent.image(X[:, 1:])[:, 0], size)
    return Local(certificate, Certificate(OPTIMAL, gap, 1.0, "dual vector"), float(np.min(checks)), int(np.sum(checks < UNCHECKED)), size)


def _spread(problem: Problem, r: Array, good: np.ndarray, dimension: int, free: int) -> float:
    """Bound the length of the errors' part among the measurements of tangents, by the rest of them and an F-law."""
    from scipy.special import fdtri

    rounding = _refine.rounding(problem) * math.sqrt(len(good[good]))
    length = float(np.linalg.norm(absolute(r)[good]))
    return math.sqrt(dimension / free * float(fdtri(dimension, free, _certificate.CONFIDENCE))) * length + rounding


def _redundancies(problem: Problem, tangent: Tangent, good: np.ndarray) -> np.ndarray:
    """Return, for each inlier, the share of its own error that a fit leaves in its residual: none if no other checks it.

    Without eigenvectors, fits to random errors tell roughly, and fits to single errors exactly for those that are checked least.
    """
    xp, parts = tangent.xp, 2 if tangent.complex else 1
    if tangent.eigen is not None:
        return 1 - _row_means(tangent.image(tangent.basis), parts)[good]
    Z = tangent.w[:, None] * _random_errors(problem, len(good), tangent.complex)
    rough = _row_means(Z - _fits(tangent, Z), PROBES)
    at = np.flatnonzero(good)[np.argsort(rough[good], kind="stable")[:PROBES]]
    E = np.zeros((len(good), len(at)))
    E[at, np.arange(len(at))] = 1.0
    E = xp.astype(_arrays.from_numpy(E, tangent.w), tangent.w.dtype)
    taken = np.zeros(len(at))
    for part in (1.0, 1j)[:parts]:
        fits = _arrays.to_numpy(_fits(tangent, part * E)) / part
        taken += fits[at, np.arange(len(at))].real / parts
    rough = np.maximum(rough, np.min(1 - taken))
    rough[at] = 1 - taken
    return rough[good]


def _fits(tangent: Tangent, Z: Array) -> Array:
    return tangent.image(tangent.solve(tangent.adjoint(Z), DROP, ITERATIONS))


def _row_means(X: Array, count: int) -> np.ndarray:
    """Return sums of squares along rows, over a count, on the host."""
    xp = _arrays.namespace(X)
    return _arrays.to_numpy(xp.sum(xp.abs(X) ** 2, axis=1)).astype(float) / count


def _random_errors(problem: Problem, count: int, is_complex: bool) -> Array:
    """Draw errors of unit variance."""
    generator = _random.host_generator(problem.seed, "recover: redundancy")
    Z = generator.standard_normal((count, PROBES))
    if is_complex:
        Z = (Z + 1j * generator.standard_normal(Z.shape)) / math.sqrt(2)
    return problem.door.xp.astype(_arrays.from_numpy(Z, problem.y), problem.y.dtype)


def _least_eigenvalue(tangent: Tangent, seed: int) -> float:
    """Return the least eigenvalue of the Gram matrix over tangents, less the residual of its Ritz vector; 0 if it cannot be told from 0."""
    if tangent.eigen is not None:
        values = tangent.eigen[0]
        least = float(values[tangent.size - tangent.dimension])
        return least if least > tangent.negligible * float(values[-1]) else 0.0
    start = _random.host_generator(seed, "recover: tangents").standard_normal((tangent.size, 1))
    x = tangent.project(tangent.xp.astype(_arrays.from_numpy(start, tangent.problem.y), tangent.xp.float64))
    x = x / tangent.xp.linalg.vector_norm(x)
    middle = float(tangent.xp.linalg.vector_norm(tangent.image(x))) ** 2 or 1.0  # an eigenvalue for what is no tangent

    def product(X: Array) -> Array:
        return tangent.gram(X) + middle * (X - tangent.project(X))

    krylov = block_lanczos(product, x, BLOCK)
    while True:
        values, residuals = krylov.ritz[0], krylov.residuals
        theta, error = float(values[0]), float(residuals[0])
        none = theta <= tangent.negligible * float(values[-1])
        if none or krylov.finished or error <= SURE * theta or len(values) >= min(STEPS, tangent.dimension):
            return 0.0 if none else max(theta - error, 0.0)
        krylov = krylov.grown(product, BLOCK)


def _score(problem: Problem, r: Array) -> Array:
    """Return the signs of outliers, and residuals in units of the cut for the others; 0 for what is not fitted."""
    xp, size, cut = problem.door.xp, _arrays.namespace(r).abs(r), _refine.cut(problem, r)
    z = xp.where(size > cut, sign(r), r / cut)
    return z * xp.astype(problem.fitted, r.dtype)


def _gap(problem: Problem, fitted: Tangent, r: Array, z: Array, size: float) -> float:
    """Return 1 - Re<z, r> / ||r||_1 for z / max |z|, which no tangent changes: the l1 loss of r + <A, H> is at least Re<z, r>."""
    xp = _arrays.namespace(r)
    loss = float(np.sum(absolute(r)[problem.fit]))
    if loss <= len(problem.fit) * _refine.rounding(problem):
        return 0.0
    largest = max(1.0, float(xp.max(xp.abs(z))))
    value = float(xp.sum(xp.real(xp.conj(z) * r) if fitted.complex else z * r))
    slope = float(xp.linalg.vector_norm(fitted.adjoint(z[:, None])))
    return min(max(1 - (value - slope * size) / largest / loss, 0.0), 1.0)
