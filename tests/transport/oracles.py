"""Slow, obvious and exact: transport by linear programming, Sinkhorn in the log domain, problems of every kind."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, kron
from scipy.special import logsumexp

TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}  # the least that HiGHS takes


def exact(C, a, b):
    """Least cost over plans with these sums, by HiGHS; inf costs are forbidden."""
    n, m = C.shape
    rows = kron(eye_array(n), np.ones((1, m)))
    columns = kron(np.ones((1, n)), eye_array(m))
    allowed = np.isfinite(C).ravel()
    A = csr_array(np.vstack([rows.toarray(), columns.toarray()]))[:, allowed]
    answer = linprog(C.ravel()[allowed], A_eq=A[:-1], b_eq=np.concatenate([a, b])[:-1], method="highs", options=TIGHT)
    return answer.fun if answer.status == 0 else np.inf


def plain(C, a, b, reg, sweeps=20_000, rhos=(np.inf, np.inf)):
    """Potentials by Sinkhorn's iteration in the log domain until they stand still; zero weights are allowed."""
    f, g = np.zeros(len(a)), np.zeros(len(b))
    damp = [1.0 if np.isinf(rho) else rho / (rho + reg) for rho in rhos]
    with np.errstate(divide="ignore"):
        log_a, log_b = np.log(a), np.log(b)
    for _ in range(sweeps):
        old = f
        f = -damp[0] * reg * logsumexp(log_b + (g - C) / reg, axis=1)
        g = -damp[1] * reg * logsumexp(log_a[:, None] + (f[:, None] - C) / reg, axis=0)
        if np.abs(f - old).max() < 1e-15 * (np.abs(C[np.isfinite(C)]).max() + 1):
            break
    return f, g


def plan(C, a, b, reg, f, g):
    return a[:, None] * b * np.exp((f[:, None] + g - C) / reg)


def objective(C, a, b, reg, P, rhos=(np.inf, np.inf)):
    """<C, P> + reg KL(P | a b^T) + rho KL(sums | a, b)."""
    value = np.sum(C * P) + reg * divergence(P, np.outer(a, b))
    return value + sum(rho * divergence(P.sum(1 - k), w) for k, (rho, w) in enumerate(zip(rhos, (a, b), strict=True)) if np.isfinite(rho))


def divergence(x, y):
    positive = x > 0
    return float(np.sum(x[positive] * np.log(x[positive] / y[positive]))) - x.sum() + y.sum()


def problem(seed, most=30):
    """Random costs, clouds or integers, weights with zeros, any scale."""
    rng = np.random.default_rng(seed)
    n, m = (int(x) for x in rng.integers(1, most, 2))
    kind = seed % 4
    C = rng.random((n, m))
    if kind == 1:
        X, Y = rng.standard_normal((n, 2)), rng.standard_normal((m, 2))
        C = ((X[:, None] - Y) ** 2).sum(-1)
    if kind == 2:
        C = rng.integers(0, 5, (n, m)).astype(float)
    C = C * 10.0 ** rng.uniform(-3, 3) - (rng.random() if kind == 3 else 0.0)
    a, b = rng.random(n) ** 3, rng.random(m)
    if seed % 3 == 0:
        a[rng.random(n) < 0.3] = 0.0
    a[0] += 0.1
    return C, a / a.sum(), b / b.sum()
