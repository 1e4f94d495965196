"""A whole least-squares fit: the problem, where it starts, the search for a penalty, and sweeps until they no longer help."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _random
from lowrank_la.functional_tucker import _alternating, _basis, _initial
from lowrank_la.functional_tucker._alternating import FLOOR, Fit, Problem, at_points
from lowrank_la.functional_tucker._basis import Basis
from lowrank_la.functional_tucker._data import Axis, Observations, Scale, Sorted
from lowrank_la.tensors._truncate import truncate

PENALTIES = tuple(10.0**-k for k in range(2, 13))
USUAL = 1e-4  # penalty where data are too few to choose one
FEW = 20
PATIENCE = 2  # penalties without a smaller error until the search ends
BRIEF, LOOSE = 20, 1e-3  # sweeps, and their tolerance, for a penalty that is tried


@dataclass(frozen=True)
class Run:
    """Where sweeps ended."""

    fit: Fit
    objective: tuple[float, ...]
    converged: bool


@dataclass(frozen=True)
class Task:
    """Data to fit, with their places among the abscissae of each mode, their units, and the form of the function."""

    data: Observations
    axes: tuple[Axis, ...]
    places: np.ndarray
    scale: Scale
    box: np.ndarray
    bases: tuple[Basis, ...]
    designs: tuple[np.ndarray, ...]
    ranks: tuple[int, ...]

    @classmethod
    def of(cls, data: Observations, box: np.ndarray, kind: str, degree: tuple[int, ...], ranks: tuple[int, ...]) -> Task:
        """Sort out the abscissae, and cut ranks to what can be reached."""
        axes = tuple(Axis.of(x) for x in data.coords.T)
        places = np.stack([axis.joined(x)[2] for axis, x in zip(axes, data.coords.T, strict=True)], axis=1)
        sizes = [p + 1 if kind == "bspline" else min(p + 1, axis.t.size) for p, axis in zip(degree, axes, strict=True)]
        bases = tuple(_basis.make(kind, (low, high), m) for (low, high), m in zip(box.tolist(), sizes, strict=True))
        designs = tuple(basis(axis.start + axis.length * axis.t) for basis, axis in zip(bases, axes, strict=True))
        most = tuple(min(R, basis.size) for R, basis in zip(ranks, bases, strict=True))
        return cls(data, axes, places, Scale.of(data), box, bases, designs, _within(most))

    def problem(self, rows: slice | np.ndarray = slice(None)) -> Problem:
        """Return the problem for some of the data."""
        w, z = self.data.weights[rows], self.z[rows]
        shapes = enumerate(axis.t.size for axis in self.axes)
        groups = tuple(Sorted.of(self.places[rows], k, n, w, z, self.data.like) for k, n in shapes)
        total = float(np.sum(w))
        return Problem(groups, self.designs, self.bases, total, float(w @ z) / total, float(w @ z**2) / total)

    @property
    def z(self) -> np.ndarray:
        """Standardized values."""
        return (self.data.y - self.scale.mean) / self.scale.size

    def start(self, rows: slice | np.ndarray = slice(None)) -> Fit:
        """Compress the data in bins."""
        t = [axis.t for axis in self.axes]
        T, bins = _initial.binned(t, self.places[rows], self.z[rows], self.data.weights[rows], max(self.ranks))
        found = truncate(T, ranks=self.ranks)
        designs = [basis(axis.start + axis.length * x) for basis, axis, x in zip(self.bases, self.axes, bins, strict=True)]
        return _alternating.start(found.factors, found.core, designs, self.bases, self.ranks)

    def choose(self, seed: int) -> tuple[Fit, float, int]:
        """Return the fit, the penalty and the number of sweeps, that predict a tenth of the data best, from smooth functions to rough."""
        N = len(self.data)
        if N < FEW:
            return self.start(), USUAL, 0
        order = _random.host_generator(seed, "functional_tucker_ls penalty").permutation(N)
        seen, unseen = np.sort(order[N // 10 :]), np.sort(order[: N // 10])
        problem, fit = self.problem(seen), self.start(seen)
        best, found, misses, sweeps = math.inf, (fit, USUAL), 0, 0
        for penalty in PENALTIES:
            run = _run(problem, fit, penalty, LOOSE, BRIEF)
            fit, sweeps = run.fit, sweeps + len(run.objective)
            error = float(self.data.weights[unseen] @ self._errors(fit, unseen) ** 2)
            misses = 0 if error < best else misses + 1
            if error < best:
                best, found = error, (fit, penalty)
            if misses == PATIENCE:
                break
        return *found, sweeps

    def run(self, fit: Fit, penalty: float, tol: float, max_iter: int) -> Run:
        """Sweep over all data until the objective settles."""
        return _run(self.problem(), fit, penalty, tol, max_iter)

    def at(self, fit: Fit, coords: np.ndarray) -> np.ndarray:
        """Return the function at points (Q, K), in the units of y."""
        tables = [basis(x) @ U for basis, x, U in zip(self.bases, coords.T, fit.factors, strict=True)]
        return self.scale.mean + self.scale.size * (fit.offset + at_points(tables, fit.core))

    def plain(self, fit: Fit) -> list[np.ndarray]:
        """Return coefficients of plain Chebyshev polynomials or B-splines."""
        return [basis.transform @ U for basis, U in zip(self.bases, fit.factors, strict=True)]

    def _errors(self, fit: Fit, rows: np.ndarray) -> np.ndarray:
        tables = [(D @ U)[i] for D, U, i in zip(self.designs, fit.factors, self.places[rows].T, strict=True)]
        return self.z[rows] - fit.offset - at_points(tables, fit.core)


def _run(problem: Problem, fit: Fit, penalty: float, tol: float, max_iter: int) -> Run:
    objective: list[float] = []
    for _ in range(max_iter):
        fit = _alternating.sweep(problem, fit, penalty)
        objective.append(fit.objective)
        if len(objective) > 1 and objective[-2] - objective[-1] <= tol * objective[-1] + FLOOR:
            return Run(fit, tuple(objective), True)
    return Run(fit, tuple(objective), False)


def _within(ranks: tuple[int, ...]) -> tuple[int, ...]:
    """Cut ranks to the product of the others, from the largest down."""
    ranks_ = list(ranks)
    for k in sorted(range(len(ranks)), key=lambda k: -ranks[k]):
        ranks_[k] = min(ranks_[k], math.prod(ranks_[:k] + ranks_[k + 1 :]))
    return tuple(ranks_)
