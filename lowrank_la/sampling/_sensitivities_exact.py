"""Exact sensitivities: 1 / min {||A x||_p^p : a_i^H x = 1}, many rows at once, each between a point and a dual point.

Newton's method on the smoothed loss under the constraint. At a point x the inverse of ||A x||_p^p is a lower bound. A
dual point y with A^H y = a_i gives |a_i^H x| = |y^H A x| <= ||y||_q ||A x||_p, an upper bound; the gradient of the loss,
linearised at the end of a step, is such a point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la.factor._dense import gamma
from lowrank_la.sampling._loss import Loss, conjugate, loss, norms, value

STEPS, STEPS_L1 = 60, 12  # for p = 1 linear programs end what Newton's method has begun
NEAR, PER_COLUMN = 60, 6  # rows of such a program
BATCH = 1 << 22  # numbers in the residuals of a batch
FADE, SLOW_FADE, SETTLED = 0.1, 0.5, 1e-2  # as in Newton's method for regression
STILL = 1e-10  # relative decrease that rounding may hide from the search for a step length
SHARP = 1.2  # below this p the path bends too much for the fast fade
ARMIJO, HALVINGS = 1e-4, 25
ENOUGH, ROUGH = 1e-6, 0.02  # relative widths of brackets at which to stop: for answers, and for estimates from samples
FLOOR = 1e-15
U = 2.0**-53


FIELDS = ("q", "Z", "R", "delta", "low", "high")


@dataclass
class _Batch:
    """State of several rows: the fixed columns q (d, B), points Z, residuals R, smoothing delta, bounds of s^(1/p)."""

    q: np.ndarray
    Z: np.ndarray
    R: np.ndarray
    delta: np.ndarray
    low: np.ndarray
    high: np.ndarray


def brackets(Q: np.ndarray, rows: np.ndarray, p: float, error: float, enough: float = ENOUGH) -> tuple[np.ndarray, np.ndarray]:
    """Bound the sensitivities of `rows` (B, d) with respect to Q (n, d), in coordinates where Q^H Q is near I.

    `error` bounds the relative distance of the eigenvalues of Q^H Q from 1, and the relative errors of the rows of Q. Rows that
    are 0 have sensitivity 0. Steps end where brackets are of relative width `enough`.
    """
    n, d = Q.shape
    pairs = np.triu_indices(d)
    products = np.conj(Q[:, pairs[0]]) * Q[:, pairs[1]]
    low, high = np.zeros(rows.shape[0]), np.zeros(rows.shape[0])
    alive = np.flatnonzero(np.any(rows != 0, axis=1))
    size = max(1, BATCH // n)
    for first in range(0, alive.size, size):
        here = alive[first : first + size]
        low[here], high[here] = _solve(Q, products, rows[here].T, p, error, enough)
    return low, high


def _solve(Q: np.ndarray, products: np.ndarray, q: np.ndarray, p: float, error: float, enough: float) -> tuple[np.ndarray, np.ndarray]:
    """Step all columns until their brackets are narrow, leaving out those that are."""
    Z = np.conj(q) / np.sum(np.abs(q) ** 2, axis=0)
    R = Q @ Z
    batch = _Batch(q, Z, R, (1.0 if p < 2 else 1e-3) * _middle(R), np.zeros(q.shape[1]), np.full(q.shape[1], np.inf))
    low, high = batch.low.copy(), batch.high.copy()
    alive, open_ = np.arange(q.shape[1]), np.ones(q.shape[1], dtype=bool)
    programs = p == 1 and enough < ROUGH and not np.iscomplexobj(Q)
    for _ in range(STEPS_L1 if programs else STEPS):
        _step(Q, products, batch, p, error)
        low[alive], high[alive] = batch.low, batch.high
        open_ = batch.high**p > (1 + enough) * batch.low**p
        if not open_.any():
            break
        alive = alive[open_]
        batch = _Batch(*(getattr(batch, name)[..., open_] for name in FIELDS))
    if programs and open_.any():
        for k, j in enumerate(alive):
            one = _Batch(*(getattr(batch, name)[..., k : k + 1] for name in FIELDS))
            _by_program(Q, one, error, enough)
            low[j], high[j] = one.low[0], one.high[0]
    return low**p, high**p


def _middle(R: np.ndarray) -> np.ndarray:
    largest = np.abs(R).max(axis=0)
    return largest * np.mean(np.sqrt(np.abs(R) / largest), axis=0) ** 2


def _step(Q: np.ndarray, products: np.ndarray, batch: _Batch, p: float, error: float) -> None:
    """Make one Newton step for all columns, after new bounds from its linearised gradient."""
    unit = _middle(batch.R) if p < 2 else np.abs(batch.R).max(axis=0)
    R, delta = batch.R / unit, batch.delta / unit
    at = loss(R, p, delta)
    weights = at.along if at.phase is None else np.maximum(at.across, at.along)  # phases have no cheap second derivatives
    G = _square(products.T @ weights, Q.shape[1])
    g = Q.conj().T @ at.y
    both = np.linalg.solve(G, np.stack([g.T, batch.q.conj().T], axis=-1))
    mu = np.einsum("bd,db->b", both[..., 0], batch.q) / np.einsum("bd,db->b", both[..., 1], batch.q)
    S = (both[..., 0] - mu[:, None] * both[..., 1]).T
    change = Q @ S
    _tighten(Q, batch, (at.y - weights * change) / mu, p, error)
    slope = np.real(np.sum(np.conj(g) * S, axis=0))
    t = _lengths(R, change, at, slope, p, delta)
    batch.Z = batch.Z - t * unit * S
    batch.Z /= np.sum(batch.q * batch.Z, axis=0)
    batch.R = Q @ batch.Z
    settled = p * slope <= SETTLED * at.value
    full = (t == 1) | (t == 0) | (p * slope <= STILL * at.value)
    batch.delta = batch.delta * np.where(full & settled, FADE if p >= SHARP else SLOW_FADE, np.where(t == 1, SLOW_FADE, 1.0))


def _tighten(Q: np.ndarray, batch: _Batch, y: np.ndarray, p: float, error: float) -> None:
    """Take the better bounds; what is left of Q^H y - conj(q) counts with ||z||_2 <= ||Q z||_p n^max(0, 1/2 - 1/p) / sigma."""
    if not error < 1:
        return
    n, d = Q.shape
    length, many = np.linalg.norm(batch.q, axis=0), gamma(n + d + 64, Q)
    slack = n ** max(0.0, 0.5 - 1 / p) / math.sqrt(1 - error)
    rough = error + gamma(d + 8, Q)  # relative errors of the rows of Q and of their products
    spread = rough * float(norms(np.linalg.norm(Q, axis=1), p))
    rest = np.linalg.norm(Q.conj().T @ y - np.conj(batch.q), axis=0) + many * (np.linalg.norm(y, axis=0) * math.sqrt(2 * d) + length)
    with np.errstate(invalid="ignore"):  # a dual point may overflow far from the solution
        high = (norms(y, conjugate(p)) * (1 + many) + (rest + rough * length) * slack) / max(1 - spread * slack, 0.0 + U)
    batch.high = np.fmin(batch.high, high)
    size, z = norms(batch.R, p) * (1 + many), np.linalg.norm(batch.Z, axis=0)
    batch.low = np.fmax(batch.low, (1 - 2 * rough * length * z) / (size + spread * z))


def _square(upper: np.ndarray, d: int) -> np.ndarray:
    """Unfold the upper triangles (d (d + 1) / 2, B) to Hermitian matrices (B, d, d), a little positive definite."""
    G = np.empty((upper.shape[1], d, d), dtype=upper.dtype)
    i, j = np.triu_indices(d)
    G[:, j, i], G[:, i, j] = np.conj(upper.T), upper.T
    shift = FLOOR * np.real(np.trace(G, axis1=1, axis2=2))
    G[:, np.arange(d), np.arange(d)] += shift[:, None]
    return G


def _lengths(R: np.ndarray, change: np.ndarray, at: Loss, slope: np.ndarray, p: float, delta: np.ndarray) -> np.ndarray:
    """Halve steps from 1 until the loss falls enough; 0 where rounding hides the fall."""
    t, waiting = np.ones(R.shape[1]), np.arange(R.shape[1])
    for _ in range(HALVINGS):
        fallen = value(R[:, waiting] - t[waiting] * change[:, waiting], p, delta[waiting])
        waiting = waiting[fallen > at.value[waiting] - ARMIJO * p * t[waiting] * slope[waiting]]
        if waiting.size == 0:
            return t
        t[waiting] /= 2
    t[waiting] = 0.0
    return t


def _by_program(Q: np.ndarray, batch: _Batch, error: float, enough: float) -> None:
    """Close the bracket of one row for p = 1: max t with Q^T y = t q, |y| <= 1, whose multipliers are a point.

    Rows of Q far from 0 at the point keep their signs y; only the others enter the program, and those whose sign has changed the next one.
    """
    near = np.argsort(np.abs(batch.R[:, 0]), kind="stable")[: max(NEAR, PER_COLUMN * Q.shape[1])]
    while batch.high[0] > (1 + enough) * batch.low[0]:
        y = np.sign(batch.R[:, 0])
        y[near] = 0
        done, old = _program(Q[near], batch.q[:, 0], Q.T @ y), batch.R
        if done is not None:
            y[near] = done.x[:-1]
            batch.Z = done.eqlin.marginals[:, None] / (batch.q[:, 0] @ done.eqlin.marginals)
            batch.R = Q @ batch.Z
            _tighten(Q, batch, y[:, None] / done.x[-1], 1.0, error)
        if near.size == Q.shape[0]:
            return
        turned = np.flatnonzero((old * batch.R)[:, 0] < 0) if done is not None else near
        size = np.argsort(np.abs(batch.R[:, 0]), kind="stable")[: 2 * near.size]
        near = np.union1d(np.union1d(near, turned), size)


def _program(Q: np.ndarray, q: np.ndarray, fixed: np.ndarray) -> Any:
    """Maximise t with Q^T y + fixed = t q, |y| <= 1; None where that fails."""
    from scipy.optimize import linprog

    cost, bounds = np.r_[np.zeros(Q.shape[0]), -1.0], [(-1, 1)] * Q.shape[0] + [(0, None)]
    done: Any = linprog(cost, A_eq=np.c_[Q.T, -q], b_eq=-fixed, bounds=bounds, method="highs")
    return done if done.status == 0 and done.x[-1] > 0 and abs(q @ done.eqlin.marginals) > 0 else None
