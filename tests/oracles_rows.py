"""Oracles of the completion kernels: dense, row by row, in long double."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Wide = np.longdouble


@dataclass(frozen=True)
class Rows:
    """Compressed rows, regressors and options of a row solver."""

    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    F: np.ndarray
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> tuple[np.ndarray, ...]:
        return self.values, self.indices, self.indptr, self.F

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Weighted regressors and targets of a row."""
        t = slice(self.indptr[i], self.indptr[i + 1])
        j = self.indices[t]
        y = self.values[t].astype(Wide)
        if self.options.get("offset") is not None:
            y = y - self.options["offset"][j]
        root = np.sqrt(self.options["weights"][t].astype(Wide)) if self.options.get("weights") is not None else np.ones(len(y), Wide)
        return root[:, None] * self.F[j].astype(Wide), root * y

    def penalty(self, i: int) -> np.ndarray:
        k = self.F.shape[1]
        metric = self.options.get("metric", np.ones(k))
        gram = self.options.get("gram", np.zeros((k, k)))
        ridge = self.options["ridge"][i] if "ridge" in self.options else 0.0
        return gram.astype(Wide) + np.diag(ridge * metric)


def problem(rng: np.random.Generator, m: int, n: int, k: int, density: float, dtype: Any = np.float64, index: Any = np.int32) -> Rows:
    """Draw random rows of uneven lengths, some of them empty."""
    chance = density * 2 * rng.uniform(size=(m, 1)) * (rng.uniform(size=(m, 1)) < 0.95)
    rows, cols = np.nonzero(rng.uniform(size=(m, n)) < chance)
    indptr = np.searchsorted(rows, np.arange(m + 1)).astype(np.int64)
    values = rng.standard_normal(len(rows)).astype(dtype)
    return Rows(values, cols.astype(index), indptr, rng.standard_normal((n, k)).astype(dtype))


def solve(problem: Rows) -> np.ndarray:
    """Solve each row that has entries by elimination on its normal equations; the penalties must make it definite."""
    X = np.zeros((len(problem.indptr) - 1, problem.F.shape[1]), Wide)
    for i in range(len(X)):
        A, y = problem.row(i)
        if len(y):
            X[i] = eliminate(A.T @ A + problem.penalty(i), A.T @ y)
    return X


def objective(problem: Rows, X: np.ndarray) -> np.ndarray:
    """Evaluate the objective of each row."""
    out = np.zeros(len(X), Wide)
    for i, x in enumerate(X.astype(Wide)):
        A, y = problem.row(i)
        out[i] = np.sum((y - A @ x) ** 2) + x @ problem.penalty(i) @ x
    return out


def condition(problem: Rows) -> float:
    """Largest condition number of the normal equations of the rows."""
    worst = 1.0
    for i in range(len(problem.indptr) - 1):
        A, y = problem.row(i)
        if len(y):
            worst = max(worst, np.linalg.cond((A.T @ A + problem.penalty(i)).astype(float)))
    return worst


def eliminate(G: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Solve G x = h by Gauss-Jordan elimination with partial pivoting."""
    M = np.column_stack([G, h]).astype(Wide)
    for a in range(len(h)):
        pivot = a + int(np.argmax(abs(M[a:, a])))
        M[[a, pivot]] = M[[pivot, a]]
        M[a] /= M[a, a]
        others = np.arange(len(h)) != a
        M[others] -= np.outer(M[others, a], M[a])
    return M[:, -1]


def products(U: np.ndarray, V: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """U V^T at given places."""
    return np.sum(U.astype(Wide)[rows] * V.astype(Wide)[cols], axis=1)
