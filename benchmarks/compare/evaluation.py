"""Values of functions in Chebyshev-Tucker format: `FunctionTucker` at scattered points beside dense products, SciPy and NumPy.

The dense products are given their tables of polynomials, which the others compute. Errors are relative to the largest value, against
polynomials and sums in long double at some of the points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la import FunctionTucker
from lowrank_la.functions._function import function_of

TESTED = 200
BLOCK = 4096  # points that the dense products take at a time where the result of one is large


@dataclass(frozen=True)
class Problem:
    """A function, points (n, d) of [-1, 1]^d, and the tables (n, m) of Chebyshev polynomials there, for the products only."""

    f: FunctionTucker
    X: np.ndarray
    tables: list[np.ndarray]


def decaying(dim: int, size: int, rank: int, dtype: Any = np.float64) -> FunctionTucker:
    """Draw a function on [-1, 1]^d with coefficients that decay."""
    rng = np.random.default_rng(0)
    factors = [(rng.standard_normal((size, rank)) * 0.9 ** np.arange(size)[:, None]).astype(dtype) for _ in range(dim)]
    core = rng.standard_normal((rank,) * dim).astype(dtype)
    return function_of(core, factors, np.array([[-1.0, 1.0]] * dim))


def _problem(size: str, dim: int, degree: int, rank: int, count: int, dtype: Any) -> Problem:
    f = decaying(dim, degree + 1, rank, dtype) if size == "full" else decaying(dim, 9, 3, dtype)
    X = np.random.default_rng(1).uniform(-1, 1, (count if size == "full" else 500, dim)).astype(dtype)
    return Problem(f, X, [polynomials(x, f.degrees[0]) for x in X.T])


def polynomials(x: np.ndarray, degree: int) -> np.ndarray:
    """Tabulate T_0, ..., T_degree."""
    table = np.ones((degree + 1, len(x)), x.dtype)
    table[1] = x
    for j in range(2, degree + 1):
        table[j] = 2 * x * table[j - 1] - table[j - 2]
    return np.ascontiguousarray(table.T)


def ours(problem: Problem) -> np.ndarray:
    return problem.f(*problem.X.T)


def products(problem: Problem) -> np.ndarray:
    """Multiply the tables by the coefficients, and the core by the values, block by block."""
    values = [table @ V for table, V in zip(problem.tables, problem.f.factors, strict=True)]
    return contracted(problem.f.core, values)


def contracted(core: np.ndarray, values: list[np.ndarray]) -> np.ndarray:
    """Sum over the core for each row of the values (n, r) of all variables: one product, then sums."""
    out = np.empty(len(values[0]), core.dtype)
    for first in range(0, len(out), BLOCK):
        rows = [P[first : first + BLOCK] for P in values]
        W = (rows[0] @ core.reshape(core.shape[0], -1)).reshape(-1, *core.shape[1:])
        for P in rows[:0:-1]:
            W = (W.reshape(len(P), -1, P.shape[1]) @ P[:, :, None]).reshape(W.shape[:-1])
        out[first : first + BLOCK] = W
    return out


def cosines(problem: Problem) -> np.ndarray:
    """Take T_j(x) as cos(j arccos(x))."""
    out = []
    for first in range(0, len(problem.X), BLOCK):
        angles = np.arccos(problem.X[first : first + BLOCK].T)
        values = [np.cos(t[:, None] * np.arange(len(V), dtype=V.dtype)) @ V for t, V in zip(angles, problem.f.factors, strict=True)]
        out.append(contracted(problem.f.core, values))
    return np.concatenate(out)


def teneva_get(problem: Problem) -> np.ndarray:
    """Evaluate the same function as a tensor train."""
    import teneva

    f = problem.f
    middle = np.einsum("abc,jb->ajc", f.core, f.factors[1])
    return teneva.func_get(problem.X, [f.factors[0][None], middle, f.factors[2].T[:, :, None]], -1.0, 1.0)


def error(problem: Problem, answer: np.ndarray) -> Mapping[str, float]:
    chosen = np.random.default_rng(2).choice(len(problem.X), TESTED, replace=False)
    x = problem.X[chosen].astype(np.longdouble)
    W = problem.f.core.astype(np.longdouble)[None]
    for column, V in zip(x.T, problem.f.factors, strict=True):
        P = polynomials(column, len(V) - 1) @ V
        W = np.einsum("qi,qi...->q...", P, np.broadcast_to(W, (len(P), *W.shape[1:])))
    return {"largest error": float(abs(answer[chosen] - W).max() / abs(W).max())}


def _task(name: str, dim: int, degree: int, rank: int, count: int, dtype: Any = np.float64, **more: Any) -> Task:
    contenders = {"lowrank_la": ours, "matrix products, told the tables of polynomials": products, "cosines and products": cosines, **more}
    return Task(name, partial(_problem, dim=dim, degree=degree, rank=rank, count=count, dtype=dtype), contenders, error)


TASKS = [
    _task("1e6 values, 3 variables, degree 128, ranks 20", 3, 128, 20, 10**6, **{"teneva func_get": teneva_get}),
    _task("1e6 values, 3 variables, degree 128, ranks 20, float32", 3, 128, 20, 10**6, np.float32),
    _task("1e5 values, 3 variables, degree 1024, ranks 40", 3, 1024, 40, 10**5),
    _task("1e5 values, 6 variables, degree 32, ranks 6", 6, 32, 6, 10**5),
    _task("1e6 values, 1 variable, degree 64, rank 1", 1, 64, 1, 10**6),
]
