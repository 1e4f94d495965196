"""Regression in l_p norms: `lp_regression` beside HiGHS, L-BFGS, plain iterative reweighting and scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la.regression import lp_regression


@dataclass
class Problem:
    """Data, a power, and a certified lower bound of the minimum."""

    A: np.ndarray
    b: np.ndarray
    p: float

    @cached_property
    def least(self) -> float:
        """No x has a smaller ||A x - b||_p: from a tighter solution than any contender's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such a tolerance may be out of reach
            return lp_regression(self.A, self.b, self.p, tol=1e-12, rng=1).lower_bound

    def value(self, x: np.ndarray) -> float:
        r = abs(self.A @ x - self.b)
        return float(r.max() * np.linalg.norm(r / r.max(), self.p))


def make(size: str, n: int, d: int, p: float) -> Problem:
    """Draw Gaussian rows, and noise with heavy tails (for p up to 2) or bounded (beyond)."""
    n, d = (n, d) if size == "full" else (600, 5)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    noise = rng.standard_t(2, n) if p <= 2 else rng.uniform(-1, 1, n)
    return Problem(A, A @ rng.standard_normal(d) + noise, p)


def ours(problem: Problem, **options: Any) -> Any:
    return lp_regression(problem.A, problem.b, problem.p, rng=0, **options)


def highs(problem: Problem) -> np.ndarray:
    """Solve the dual program for p = 1, which HiGHS solves much faster than the primal one; for p = inf the primal."""
    from scipy.optimize import linprog

    A, b = problem.A, problem.b
    n, d = A.shape
    if problem.p == 1:
        done = linprog(-b, A_eq=A.T, b_eq=np.zeros(d), bounds=(-1, 1), method="highs")
        return -done.eqlin.marginals
    one = np.ones((n, 1))
    bounds = [(None, None)] * d + [(0, None)]
    return linprog(np.r_[np.zeros(d), 1], A_ub=np.block([[A, -one], [-A, -one]]), b_ub=np.r_[b, -b], bounds=bounds, method="highs").x[:d]


def quantile_regressor(problem: Problem) -> np.ndarray:
    from sklearn.linear_model import QuantileRegressor

    return QuantileRegressor(quantile=0.5, alpha=0, fit_intercept=False, solver="highs").fit(problem.A, problem.b).coef_


def lbfgs(problem: Problem) -> np.ndarray:
    from scipy.optimize import minimize

    A, b, p = problem.A, problem.b, problem.p

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        r = A @ x - b
        size = abs(r)
        return float(np.mean(size**p)), A.T @ (np.sign(r) * size ** (p - 1)) * (p / len(b))

    start = np.linalg.lstsq(A, b)[0]
    return minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}).x


def reweighting(problem: Problem, rounds: int = 200) -> np.ndarray:
    """Iterate reweighted least squares as in textbooks: full steps up to p = 2, of length 1 / (p - 1) beyond."""
    A, b, p = problem.A, problem.b, problem.p
    x = np.linalg.lstsq(A, b)[0]
    for _ in range(rounds):
        r = b - A @ x
        w = np.maximum(abs(r), 1e-10) ** (p - 2)
        step = np.linalg.solve(A.T @ (w[:, None] * A), A.T @ (w * r)) * (1 if p <= 2 else 1 / (p - 1))
        x = x + step
        if np.linalg.norm(step) <= 1e-6 * np.linalg.norm(x):
            break
    return x


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Relative excess over the certified minimum; ours says itself how large it can be."""
    x = answer if isinstance(answer, np.ndarray) else answer.x
    excess = {"excess": max(problem.value(x) / problem.least - 1, 0.0)}
    return excess if isinstance(answer, np.ndarray) else {**excess, "certified": answer.gap}


SAMPLED: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la sample=0.25, polish=1": partial(ours, sample=0.25, polish=1),  # for p = 1 that is exact
}
LINEAR: dict[str, Callable[[Problem], Any]] = {
    **SAMPLED,
    "scipy linprog, HiGHS": highs,
    "scikit-learn QuantileRegressor": quantile_regressor,
}
SMOOTH: dict[str, Callable[[Problem], Any]] = {**SAMPLED, "scipy L-BFGS": lbfgs, "numpy reweighting": reweighting}

TASKS = [
    Task("l_1 regression 20000 x 20", partial(make, n=20_000, d=20, p=1), LINEAR, error),
    Task(
        "l_inf regression 20000 x 20", partial(make, n=20_000, d=20, p=np.inf), {"lowrank_la": ours, "scipy linprog, HiGHS": highs}, error
    ),
    *[Task(f"l_{p} regression 200000 x 30", partial(make, n=200_000, d=30, p=p), SMOOTH, error) for p in (1.2, 1.5, 3, 8)],
    Task("l_1 regression 1000000 x 30", partial(make, n=1_000_000, d=30, p=1), {"lowrank_la": ours}, error),
]
