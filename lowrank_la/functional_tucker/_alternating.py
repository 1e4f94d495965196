"""Alternating least squares for the coefficients of a Tucker function: one mode after the other, then the core, each exactly.

The objective is the weighted mean square of the residuals plus `penalty` times (mean square of f + roughness of f), sums over the
coefficient tensor of f. It depends on f alone and not on how f is written, so that factors may be orthonormal at any time.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la.functional_tucker import _core, _moments
from lowrank_la.functional_tucker._basis import Basis
from lowrank_la.functional_tucker._data import Sorted
from lowrank_la.functional_tucker._statistics import contracted, summed
from lowrank_la.functional_tucker._sweeps import along
from lowrank_la.tensors._modes import multiply, unfold

SMOOTH = 1e-6  # penalty of functions that are fitted to a start
FULL = 2000  # entries of a core that are found by a dense factorization
CHUNK = 1 << 22  # numbers in a block of points
FLOOR = 1e-14  # of a mean square of standardized values: below it are rounding errors


@dataclass(frozen=True)
class Problem:
    """Standardized data in the order of each mode, and the basis functions of each mode at its abscissae (n_k, m_k).

    `total` is the sum of the weights, `mean` and `energy` are the weighted means of the values and of their squares.
    """

    groups: tuple[Sorted, ...]
    designs: tuple[np.ndarray, ...]
    bases: tuple[Basis, ...]
    total: float
    mean: float
    energy: float

    @property
    def shortest(self) -> int:
        """The mode with the fewest groups of data."""
        return min(range(len(self.groups)), key=lambda k: self.groups[k].starts.size)


@dataclass(frozen=True)
class Fit:
    """f = offset + core x_1 U_1 ... in orthonormal bases: core (R_1, ..., R_K) and orthonormal columns U_k (m_k, R_k)."""

    core: np.ndarray
    factors: tuple[np.ndarray, ...]
    offset: float = 0.0
    objective: float = np.inf

    def values(self, problem: Problem) -> list[np.ndarray]:
        """Return the functions of each mode at its abscissae."""
        return [design @ U for design, U in zip(problem.designs, self.factors, strict=True)]


def start(
    values: Sequence[np.ndarray], core: np.ndarray, designs: Sequence[np.ndarray], bases: Sequence[Basis], ranks: Sequence[int]
) -> Fit:
    """Fit the functions of each mode to values at some abscissae, smoothly, and add smooth functions up to the ranks."""
    factors = []
    for k, (F, design, basis) in enumerate(zip(values, designs, bases, strict=True)):
        normal = design.T @ design + SMOOTH * design.shape[0] * np.diag(1.0 + basis.roughness)
        found = np.linalg.solve(normal, design.T @ F)
        smoothest = np.eye(basis.size)[:, np.argsort(basis.roughness)[: ranks[k]]]
        U, S = np.linalg.qr(np.concatenate([found, smoothest], axis=1)[:, : max(ranks[k], found.shape[1])])
        core = multiply(core, S[:, : found.shape[1]], k)
        factors.append(U)
    return Fit(core, tuple(factors))


def sweep(problem: Problem, fit: Fit, penalty: float) -> Fit:
    """Update every mode, and then the core and the offset."""
    for k in range(len(fit.factors)):
        fit = with_mode(problem, fit, k, penalty)
    return with_core(problem, fit, penalty)


def with_mode(problem: Problem, fit: Fit, k: int, penalty: float) -> Fit:
    """Minimize over the functions of one mode and the offset, the core's rows along the mode being orthonormal."""
    R, m = fit.core.shape[k], problem.bases[k].size
    Q, _ = np.linalg.qr(unfold(fit.core, k).T)
    core = np.moveaxis(Q.T.reshape(R, *fit.core.shape[:k], *fit.core.shape[k + 1 :]), 0, k)
    tables, group, design = fit.values(problem), problem.groups[k], problem.designs[k]
    sums = [contracted(group, w, k, tables, along(core, k)) for w in (group.weighted, group.weights)]
    right, ones = ((design.T @ x / problem.total).ravel() for x in sums)
    packed = contracted(group, group.weights, k, _squares(tables), along(_square(core), k))
    others = [multiply(core, D, j) for j, D in enumerate(_roughness(problem, fit)) if j != k]
    H = sum((unfold(T, k) @ unfold(core, k).T for T in others), np.eye(R))
    normal = _gram(design, packed, R) / problem.total
    normal += penalty * (np.kron(np.diag(problem.bases[k].roughness), np.eye(R)) + np.kron(np.eye(m), H))
    C, offset = _with_offset(normal, right, ones, problem.mean)
    U, S = np.linalg.qr(C.reshape(m, R))
    return Fit(multiply(core, S, k), (*fit.factors[:k], U, *fit.factors[k + 1 :]), offset)


def with_core(problem: Problem, fit: Fit, penalty: float) -> Fit:
    """Minimize over the core and the offset; if the core is large, over one after the other."""
    k, tables = problem.shortest, fit.values(problem)
    group = problem.groups[k]
    gram = summed(group, group.weights, k, _squares(tables)) / problem.total
    right, ones = (summed(group, w, k, tables) / problem.total for w in (group.weighted, group.weights))
    rough = _roughness(problem, fit)
    precision = gram + penalty * sum(_alone(fit.core.shape, j, D) for j, D in enumerate(rough))
    if fit.core.size <= FULL:
        A = _moments.unfold(precision[None], fit.core.shape)[0] + penalty * np.eye(fit.core.size)
        core, offset = _with_offset(A, right.ravel(), ones.ravel(), problem.mean)
        core = core.reshape(fit.core.shape)
    else:
        before = replace(_core.start(fit.core, full=False), variance=1.0 / penalty)
        core = _core.posterior(precision, right - fit.offset * ones, before).mean
        offset = problem.mean - float(np.sum(ones * core))
    fine = np.sum(core**2) + sum(np.sum(multiply(core, D, j) * core) for j, D in enumerate(rough))
    misfit = problem.energy - 2.0 * float(np.sum(right * core)) + float(np.sum(gram * _square(core))) - offset**2
    return Fit(core, fit.factors, offset, max(misfit, 0.0) + penalty * float(fine))


def _squares(tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pack the outer products of rows with themselves."""
    return [_moments.pack(F[:, :, None] * F[:, None, :]) for F in tables]


def _square(core: np.ndarray) -> np.ndarray:
    """Pack vec(W) vec(W)^T."""
    return _moments.core_moments(core, np.zeros(core.size))


def _with_offset(A: np.ndarray, right: np.ndarray, ones: np.ndarray, mean: float) -> tuple[np.ndarray, float]:
    """Minimize x^T A x - 2 right^T x + c^2 - 2 c mean + 2 c ones^T x over x and c."""
    x = _solved(A - np.outer(ones, ones), right - mean * ones)
    return x, mean - float(ones @ x)


def _roughness(problem: Problem, fit: Fit) -> list[np.ndarray]:
    """Return the roughness of each mode as matrices (R_k, R_k)."""
    return [U.T @ (basis.roughness[:, None] * U) for basis, U in zip(problem.bases, fit.factors, strict=True)]


def _alone(shape: tuple[int, ...], k: int, D: np.ndarray) -> np.ndarray:
    """Pack I x ... x D x ... x I, with D in mode k."""
    parts = [_moments.pack(D if j == k else np.eye(R)) for j, R in enumerate(shape)]
    return functools.reduce(np.multiply.outer, parts)


def _gram(design: np.ndarray, packed: np.ndarray, R: int) -> np.ndarray:
    """Return sum_j kron(p_j p_j^T, B_j) for the rows p_j of a design and packed matrices B_j whose mirror images are added up."""
    m = design.shape[1]
    sums = np.stack([design.T @ (b[:, None] * design) for b in packed.T], axis=-1)
    return _moments.unpack(sums, R, twice=True).transpose(0, 2, 1, 3).reshape(m * R, m * R)


def _solved(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Solve a positive definite system; rounding errors may call for a little more on the diagonal."""
    from scipy.linalg import cho_factor, cho_solve

    shift = 0.0
    while True:
        try:
            return cho_solve(cho_factor(A + shift * np.eye(b.size), lower=True), b)
        except np.linalg.LinAlgError:
            shift = max(10.0 * shift, b.size * np.finfo(float).eps * float(np.trace(A)) / b.size)


def at_points(tables: Sequence[np.ndarray], core: np.ndarray) -> np.ndarray:
    """Contract the core with rows (Q, R_k) of all modes."""
    Q = tables[0].shape[0]
    values, height = np.empty(Q), max(1, CHUNK // core.size)
    for first in range(0, Q, height):
        rows = [table[first : first + height] for table in tables]
        part = rows[0] @ core.reshape(core.shape[0], -1)
        for row in rows[1:]:
            part = np.einsum("qi,qij->qj", row, part.reshape(row.shape[0], row.shape[1], -1))
        values[first : first + height] = part[:, 0]
    return values
