"""Tall problems in every memory layout, and long-double answers with the absolute sums that bound rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

LAYOUTS = ("C", "F", "spread rows", "spread columns", "spread both", "reversed", "read-only")
LONG = np.longdouble
U = 2.0**-53


@dataclass(frozen=True)
class Tall:
    """A, X (d, k), B (n, k), R_inv (d, d) upper triangular, and row weights or None."""

    A: np.ndarray
    X: np.ndarray
    B: np.ndarray
    R_inv: np.ndarray
    scale: np.ndarray | None


def laid_out(A: np.ndarray, layout: str) -> np.ndarray:
    """Give the same matrix in another memory layout."""
    if layout in {"C", "F"}:
        return np.array(A, order=layout)
    if layout == "read-only":
        A = A.copy()
        A.flags.writeable = False
        return A
    if layout == "reversed":
        return A[::-1, ::-1].copy()[::-1, ::-1]
    rows, columns = (2 if layout in {"spread rows", "spread both"} else 1), (3 if layout in {"spread columns", "spread both"} else 1)
    wide = np.full((A.shape[0] * rows, A.shape[1] * columns), np.nan, dtype=A.dtype)
    wide[::rows, ::columns] = A
    return wide[::rows, ::columns]


def tall(n: int, d: int, k: int, *, layout: str = "C", dtype: object = np.float64, weighted: bool = False, seed: int = 0) -> Tall:
    """Draw a problem with entries of many sizes."""
    rng = np.random.default_rng(seed)
    A = (rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-3, 3, d)).astype(dtype)
    scale = rng.choice([0.0, 1.0, 0.3, 1e3], n) * rng.uniform(0.5, 1, n) if weighted else None
    X, B, R_inv = rng.standard_normal((d, k)), rng.standard_normal((n, k)).astype(dtype), np.triu(rng.standard_normal((d, d)))
    return Tall(laid_out(A, layout), X, B, R_inv, scale)


problems = st.builds(
    tall,
    n=st.one_of(st.integers(1, 20), st.integers(200, 700)),
    d=st.one_of(st.integers(1, 20), st.sampled_from([31, 64, 100, 129])),
    k=st.sampled_from([1, 1, 2, 9]),
    layout=st.sampled_from(LAYOUTS),
    dtype=st.sampled_from([np.float64, np.float32]),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)


def gamma(m: int) -> float:
    """Bound the relative error of m roundings."""
    return m * U / (1 - m * U)


def weights(problem: Tall) -> np.ndarray:
    """Give D as a long-double column."""
    ones = np.ones(problem.A.shape[0]) if problem.scale is None else problem.scale
    return ones.astype(LONG)[:, None]


def whitened(problem: Tall, extra: int, u: float = U) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return Q^T Q, Q^T D B and bounds of their rounding errors, for sums of n + extra roundings of size u."""
    D = weights(problem)
    DA, DB, R = D * problem.A.astype(LONG), D * problem.B.astype(LONG), problem.R_inv.astype(LONG)
    Q, size = DA @ R, np.abs(DA) @ np.abs(R)
    n, d = DA.shape
    slack = 1.01 * (u * (n + extra) + U * (n + 2 * d + 10))
    return Q.T @ Q, Q.T @ DB, slack * (size.T @ size), 1.01 * U * (n + d + 10) * (size.T @ np.abs(DB))


def gradient(problem: Tall, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return g, r2 and the bounds of their errors that the kernel's rounding model states for sums of `length`."""
    D, A, X, B = weights(problem), problem.A.astype(LONG), problem.X.astype(LONG), problem.B.astype(LONG)
    R = D * (B - A @ X)
    wrong = gamma(A.shape[1] + 2) * D * (np.abs(B) + np.abs(A) @ np.abs(X))
    far = np.abs(R) + wrong
    g_slack = np.abs(A).T @ (D * (wrong + gamma(length) * far))
    r2_slack = np.sum(2 * np.abs(R) * wrong + wrong**2 + gamma(length) * far**2, axis=0)
    return A.T @ (D * R), np.sum(R**2, axis=0), g_slack, r2_slack
