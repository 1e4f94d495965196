"""Sinkhorn sweeps on a stored plan, with one read of it for both half steps.

A group of rows meets the column scaling, gets its own, and joins the sums over rows while it is in the cache: 0.05 ns a pair on two cores
while the plan, in float32, fits the cache; a fifth of two matrix-vector products in float64. On a GPU the reference runs, on cuBLAS.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _tile
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels.gibbs import BLOCK, GROUP, VECTORS, parts_of

_dots = _tile.inner(rows=GROUP)
_combine = _tile.outer(rows=1, vectors=VECTORS)


class Sweeps(NamedTuple):
    """Row scaling u, column scaling v, and the row errors sum_i |u_i (P v)_i - target_i| before each sweep but the first."""

    u: np.ndarray
    v: np.ndarray
    errors: np.ndarray


def sweeps_reference(P: Array, a: np.ndarray, b: np.ndarray, v: np.ndarray, count: int, kappas: tuple[float, float] = (0.0, 0.0)) -> Sweeps:
    """Scale rows, then columns, `count` times, from the column scaling v.

    a and b are the sums that are due at the potentials of P; they fall with the scaling as u^-kappa and v^-kappa.
    """
    a_, b_, v_ = (_arrays.from_numpy(x, P) for x in (a, b, v))
    xp, errors, u_ = _arrays.namespace(P), [], a_
    for k in range(count):
        t = P @ v_
        if k:
            errors.append(float(xp.sum(xp.abs(u_ * t - a_ * u_ ** -kappas[0]))))
        u_ = (a_ / t) ** (1 / (1 + kappas[0]))
        v_ = (b_ / (P.T @ u_)) ** (1 / (1 + kappas[1]))
    return Sweeps(_arrays.to_numpy(u_), _arrays.to_numpy(v_), np.array(errors))


def sweeps_cpu(P: np.ndarray, a: np.ndarray, b: np.ndarray, v: np.ndarray, count: int, kappas: tuple[float, float] = (0.0, 0.0)) -> Sweeps:
    """Read P once a sweep."""
    n, m = a.size, b.size
    weights, u, wide, errors = np.zeros(P.shape[0]), np.ones(P.shape[0]), np.zeros(P.shape[1]), np.zeros(count)
    weights[:n], wide[:m] = a, v
    _sweeps(P, weights, b, u, wide, *kappas, errors, np.empty((parts_of(n), P.shape[1])))
    return Sweeps(u[:n], wide[:m], errors[1:])


@njit(parallel=True, cache=True)
def _sweeps(P, a, b, u, v, kappa, kappa_columns, errors, sums):  # type: ignore[no-untyped-def]
    parts, wide, groups = sums.shape[0], P.shape[1], P.shape[0] // GROUP
    away = np.empty(parts)
    for k in range(errors.size):
        for part in prange(parts):
            total = sums[part]
            total[:] = 0.0
            dots = np.empty(GROUP)
            off = 0.0
            for group in range(groups * part // parts, groups * (part + 1) // parts):
                first = group * GROUP
                dots[:] = 0.0
                _dots(wide, P, first * wide, wide, v, 0, dots, 0)
                off += scale_rows(a, dots, first, kappa, u)
                for j in range(0, wide, BLOCK):
                    _combine(GROUP, u, first, 0, 1, P, first * wide + j, wide, total, j, 0)
            away[part] = off
        errors[k] = away.sum()
        scale_columns(b, sums, kappa_columns, v)


@njit(cache=True)
def scale_rows(a, t, first, kappa, u):  # type: ignore[no-untyped-def]
    """Set u for a group of rows from their products t with v; return how far the sums were off."""
    off = 0.0
    for i in range(t.size):
        k = first + i
        if a[k] > 0.0:
            due = a[k] if kappa == 0.0 else a[k] * u[k] ** -kappa
            off += abs(u[k] * t[i] - due)
            u[k] = a[k] / t[i] if kappa == 0.0 else (a[k] / t[i]) ** (1.0 / (1.0 + kappa))
        else:
            u[k] = 0.0
    return off


@njit(cache=True)
def scale_columns(b, sums, kappa, v):  # type: ignore[no-untyped-def]
    """Set v from the parts of P^T u."""
    for j in range(b.size):
        column = 0.0
        for part in range(sums.shape[0]):
            column += sums[part, j]
        v[j] = b[j] / column if kappa == 0.0 else (b[j] / column) ** (1.0 / (1.0 + kappa))


sweeps = Kernel(sweeps_reference, sweeps_cpu)
