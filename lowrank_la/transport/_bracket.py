"""Bounds on the least cost from any potentials, rounding errors included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

U = 2.0**-53


@dataclass(frozen=True)
class Rounded:
    """A feasible plan Q near the one of the potentials: shrink * P diag(columns) + left_rows left_columns^T / left.

    `cost` is <C, Q> up to `slack`, and `entropy` an upper bound of KL(Q | a b^T).
    """

    shrink: float
    columns: np.ndarray
    left_rows: np.ndarray
    left_columns: np.ndarray
    left: float
    cost: float
    slack: float
    entropy: float


def rounded(costs: Any, a: np.ndarray, b: np.ndarray, point: Any, largest: float) -> Rounded:
    """Cut columns that are too heavy, and spread what rows and columns lack over all pairs [Altschuler et al.].

    Sums over n or m positive numbers are wrong by at most n U or m U of themselves, hence `shrink`. `largest` bounds |C_ij|.
    """
    n, m = costs.shape
    shrink = 1 - 4 * (n + m) * U
    columns = np.minimum(1.0, point.due / point.plan.columns)
    f, g = point.f + point.eps * np.log(a), point.g + point.eps * (np.log(b) + np.log(columns))
    sums = costs.sums(f, g, point.eps)
    left_rows, left_columns = (np.maximum(due - shrink * some, 0.0) for due, some in ((a, sums.rows), (b, sums.columns)))
    left = max(float(left_rows.sum()), float(np.finfo(float).tiny))
    cost = shrink * float(sums.costs.sum()) + costs.between(left_rows, left_columns) / left
    kept = shrink * float(sums.rows.sum())
    energy = float(sums.rows @ point.f + sums.columns @ (point.g + point.eps * np.log(columns)) - sums.costs.sum())
    entropy = shrink * energy / point.eps - _x_log_x(kept) - 2 * _x_log_x(left)  # by the log-sum inequality for the two parts
    entropy += sum(float(np.sum(_x_log_x(x) - x * np.log(w))) for x, w in ((left_rows, a), (left_columns, b)))
    return Rounded(shrink, columns, left_rows, left_columns, left, cost, 8 * (n + m + 10) * U * largest, entropy)


def _x_log_x(x: Any) -> Any:
    """Return x log x, zero at zero."""
    return x * np.log(np.maximum(x, np.finfo(float).tiny))


def lower_bound(costs: Any, a: np.ndarray, b: np.ndarray, f: np.ndarray, g: np.ndarray, largest: float) -> float:
    """Return the value of the best pair of potentials with f_i + g_j <= C_ij that two rounds of transforms find."""
    f1, g1 = costs.transforms(f, g)
    f2, g2 = costs.transforms(f1, g1)
    best = -np.inf
    for x, y in ((f1, g), (f, g1), (f1, g2), (f2, g1)):
        size = float(a @ np.abs(x)) + float(b @ np.abs(y)) + largest
        best = max(best, float(a @ x) + float(b @ y) - (a.size + b.size + 8) * U * size)
    return best
