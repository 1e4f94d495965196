"""Sparse recovery: `kronecker_sbl` beside the dense formulation of the same method, matching pursuit and scikit-learn.

Problems are those of the published simulation: 15^3 unknowns, 8 x 12 x 15 measurements, 3 atoms of each factor, 20 dB. Errors are
||x' - x||^2 / ||x||^2 in dB; the best that is possible is that of least squares on the true support.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la import ConvergenceWarning
from lowrank_la.sbl import kronecker_omp, kronecker_sbl, omp, oracle_lstsq, sbl

STEPS = 1  # of the dense formulation, which takes over a hundred to converge


@dataclass(frozen=True)
class Problem:
    """Measurements, factors, the signal and its support, and the variance of the noise."""

    Y: np.ndarray
    A: list[np.ndarray]
    X: np.ndarray
    support: list[np.ndarray]
    noise: float

    @cached_property
    def K(self) -> np.ndarray:
        """The matrix that ours never forms."""
        return reduce(np.kron, self.A)

    @cached_property
    def oracle(self) -> float:
        """The error of least squares on the true support."""
        return decibels(self, oracle_lstsq(self.Y, self.A, self.support).x)


def draw(rows: tuple[int, ...], columns: tuple[int, ...], atoms: int, snr: float = 20, seed: int = 0) -> Problem:
    """Draw Gaussian factors, and a Gaussian signal on a random product of supports."""
    rng = np.random.default_rng(seed)
    A = [rng.standard_normal((m, n)) for m, n in zip(rows, columns, strict=True)]
    support = [rng.permutation(n)[:atoms] for n in columns]
    X = np.zeros(columns)
    X[np.ix_(*support)] = rng.standard_normal((atoms,) * len(columns))
    clean = reduce(lambda T, a: np.tensordot(T, a, (0, 1)), A, X)
    noise = float(np.mean(clean**2) / 10 ** (snr / 10))
    return Problem(clean + np.sqrt(noise) * rng.standard_normal(rows), A, X, support, noise)


def _simulation(size: str) -> Problem:
    return draw((8, 12, 15), (15, 15, 15), 3) if size == "full" else draw((3, 4, 5), (5, 5, 5), 1)


def _plain(size: str) -> Problem:
    return draw((100,), (300,), 10) if size == "full" else draw((20,), (30,), 2)


def noise_level(problem: Problem) -> float:
    """Return the norm of the noise over that of the measurements."""
    return float(np.sqrt(problem.Y.size * problem.noise) / np.linalg.norm(problem.Y))


def ours(problem: Problem, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kronecker_sbl(problem.Y, problem.A, noise_var=problem.noise, **options)


def dense(problem: Problem, steps: int = STEPS) -> np.ndarray:
    """Take steps of alternating maximisation with the posterior covariance of all unknowns, as it is published."""
    K, y, shape = problem.K, problem.Y.ravel(), problem.X.shape
    g = [np.ones(n) for n in shape]
    x = np.zeros(K.shape[1])
    for _ in range(steps):
        prior = reduce(np.multiply.outer, g).ravel()
        gain = np.linalg.solve((K * prior) @ K.T + problem.noise * np.eye(y.size), K * prior).T
        x, covariance = gain @ y, np.diag(prior) - gain @ (K * prior)
        moment = (np.diag(covariance) + x**2).reshape(shape)
        for _ in range(10):
            for i, n in enumerate(shape):
                others = reduce(np.multiply.outer, [1 / v if j != i else np.ones(n) for j, v in enumerate(g)])
                g[i] = np.mean(moment * others, axis=tuple(j for j in range(len(g)) if j != i))
    return x


def sklearn_omp(problem: Problem) -> np.ndarray:
    from sklearn.linear_model import orthogonal_mp

    return orthogonal_mp(problem.K, problem.Y.ravel(), n_nonzero_coefs=count(problem))


def count(problem: Problem) -> int:
    """Return the number of atoms."""
    return int(np.count_nonzero(problem.X))


def sklearn_ard(problem: Problem) -> np.ndarray:
    from sklearn.linear_model import ARDRegression

    return ARDRegression(fit_intercept=False).fit(problem.K, problem.Y.ravel()).coef_


def decibels(problem: Problem, x: np.ndarray) -> float:
    return 10 * float(np.log10(np.linalg.norm(x.ravel() - problem.X.ravel()) ** 2 / np.linalg.norm(problem.X) ** 2 + 1e-30))


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    x = answer if isinstance(answer, np.ndarray) else answer.x
    return {"error, dB": decibels(problem, x), "oracle, dB": problem.oracle}


KRONECKER: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la method='svd+am'": lambda problem: ours(problem, method="svd+am", n_init=1),
    "lowrank_la method='am'": lambda problem: ours(problem, method="am", n_init=1),
    "lowrank_la kronecker_omp, noise level known": lambda problem: kronecker_omp(problem.Y, problem.A, tol=noise_level(problem)),
    "lowrank_la kronecker_omp": lambda problem: kronecker_omp(problem.Y, problem.A),
    "lowrank_la omp, factors, number of atoms known": lambda problem: omp(problem.Y.ravel(), problem.A, n_nonzero=count(problem)),
    "lowrank_la omp, product, number of atoms known": lambda problem: omp(problem.Y.ravel(), problem.K, n_nonzero=count(problem)),
    "scikit-learn orthogonal_mp, number known": sklearn_omp,
    f"dense am, {STEPS} step only": dense,
}
PLAIN: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la sbl": lambda problem: sbl(problem.Y, problem.A[0]),
    "lowrank_la sbl method='fast'": lambda problem: sbl(problem.Y, problem.A[0], method="fast"),
    "lowrank_la sbl method='em'": lambda problem: sbl(problem.Y, problem.A[0], method="em"),
    "lowrank_la kronecker_sbl": lambda problem: kronecker_sbl(problem.Y, problem.A),
    "lowrank_la omp": lambda problem: omp(problem.Y, problem.A[0]),
    "scikit-learn ARDRegression": sklearn_ard,
}
TASKS = [
    Task("sparse recovery, 15^3 unknowns, 8 x 12 x 15 measurements, 20 dB", _simulation, KRONECKER, error),
    Task("sparse recovery, 300 unknowns, 100 measurements, one factor", _plain, PLAIN, error),
]
