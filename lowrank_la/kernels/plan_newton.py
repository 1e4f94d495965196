"""Newton systems of entropic transport on a stored plan: conjugate gradients with the Schur complement, and its products.

Both products of an iteration share one read of the plan, as in `scaling`, and the iteration does not leave compiled code. Diagonals
are the sums of the plan as it is kept, so that the matrix is the exact Laplacian of a graph whose weights are right to
float32: its small eigenvalues are right to as many digits as the large ones. On a GPU the references run, on cuBLAS.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _tile
from lowrank_la.kernels._engine import Kernel
from lowrank_la.kernels.gibbs import BLOCK, GROUP, VECTORS, parts_of

_dots = _tile.inner(rows=GROUP)
_combine = _tile.outer(rows=1, vectors=VECTORS)


def newton_reference(
    P: Array, b: np.ndarray, diagonal: np.ndarray, shift: np.ndarray, kappa: float, rtol: float, most: int, n: int
) -> tuple[np.ndarray, int]:
    """Solve (diag(c + shift) - P^T diag(1/r) P / (1 + kappa)) y = b by conjugate gradients, r and c being the row and column sums of P.

    `diagonal` is that of the matrix, without shift, and preconditions.
    """
    del n
    xp = _arrays.namespace(P)
    r, c = xp.sum(P, axis=1), xp.sum(P, axis=0)
    more = _arrays.from_numpy(shift, P)
    y, n_iter = conjugate_gradients(
        lambda x: (c + more) * x - P.T @ ((P @ x) / ((1 + kappa) * r)),
        _arrays.from_numpy(b, P),
        _arrays.from_numpy(diagonal, P) + more,
        rtol,
        most,
    )
    return _arrays.to_numpy(y), n_iter


def conjugate_gradients(apply: Callable[[Array], Array], b: Array, diagonal: Array, rtol: float, most: int) -> tuple[Array, int]:
    """Solve with a positive definite operator; of the references."""
    xp = _arrays.namespace(b)
    residual = b
    goal = rtol * float(xp.linalg.vector_norm(residual))
    y, z = xp.zeros_like(b), residual / diagonal
    p, rho, n_iter = z, float(xp.sum(residual * z)), 0
    while n_iter < most and float(xp.linalg.vector_norm(residual)) > goal:
        q = apply(p)
        curvature = float(xp.sum(p * q))
        if curvature <= 0:
            break
        n_iter += 1
        y, residual = y + (rho / curvature) * p, residual - (rho / curvature) * q
        z = residual / diagonal
        rho, last = float(xp.sum(residual * z)), rho
        p = z + (rho / last) * p
    return y, n_iter


def newton_cpu(
    P: np.ndarray, b: np.ndarray, diagonal: np.ndarray, shift: np.ndarray, kappa: float, rtol: float, most: int, n: int
) -> tuple[np.ndarray, int]:
    """Run conjugate gradients without leaving compiled code."""
    return _newton(P, b, diagonal, shift, kappa, rtol, most, n, np.empty((parts_of(n), P.shape[1])))


@njit(cache=True)
def _newton(P, b, diagonal, shift, kappa, rtol, most, n, sums):  # type: ignore[no-untyped-def]
    m = b.size
    ones, c, q, t = np.zeros(P.shape[1]), np.zeros(P.shape[1]), np.zeros(P.shape[1]), np.empty(P.shape[0])
    ones[:m] = 1.0
    _pair(P, ones, np.ones(P.shape[0]), t, c, sums, True)
    w = np.zeros(P.shape[0])
    for i in range(n):
        w[i] = 1.0 / ((1.0 + kappa) * t[i]) if t[i] > 0.0 else 0.0
    c[:m] += shift
    diagonal = diagonal + shift
    y, residual, p = np.zeros(m), b.copy(), np.zeros(P.shape[1])
    goal = rtol * math.sqrt(np.dot(residual, residual))
    p[:m] = residual / diagonal
    rho, n_iter = np.dot(residual, p[:m]), 0
    while n_iter < most and math.sqrt(np.dot(residual, residual)) > goal:
        _pair(P, p, w, t, q, sums, False)
        curvature = 0.0
        for j in range(m):
            q[j] = c[j] * p[j] - q[j]
            curvature += p[j] * q[j]
        if not curvature > 0.0:
            break
        n_iter += 1
        length = rho / curvature
        last, rho = rho, 0.0
        for j in range(m):
            y[j] += length * p[j]
            residual[j] -= length * q[j]
            rho += residual[j] * residual[j] / diagonal[j]
        for j in range(m):
            p[j] = residual[j] / diagonal[j] + rho / last * p[j]
    return y, n_iter


@njit(parallel=True, cache=True)
def _pair(P, y, w, t, z, sums, plain):  # type: ignore[no-untyped-def]
    """Set t = P y and z = P^T diag(w) t, or P^T w if `plain`."""
    parts, wide, groups = sums.shape[0], P.shape[1], P.shape[0] // GROUP
    for part in prange(parts):
        total = sums[part]
        total[:] = 0.0
        dots = np.empty(GROUP)
        for group in range(groups * part // parts, groups * (part + 1) // parts):
            first = group * GROUP
            dots[:] = 0.0
            _dots(wide, P, first * wide, wide, y, 0, dots, 0)
            for i in range(GROUP):
                t[first + i] = dots[i]
                dots[i] = w[first + i] * (1.0 if plain else dots[i])
            for j in range(0, wide, BLOCK):
                _combine(GROUP, dots, 0, 0, 1, P, first * wide + j, wide, total, j, 0)
    z[:] = 0.0
    for part in range(parts):
        for j in range(wide):
            z[j] += sums[part, j]


def product_reference(P: Array, y: np.ndarray, w: np.ndarray, plain: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return t = P y and P^T diag(w) t, or P^T w if `plain`."""
    t, w_ = P @ _arrays.from_numpy(y, P), _arrays.from_numpy(w, P)
    return _arrays.to_numpy(t), _arrays.to_numpy(P.T @ (w_ if plain else w_ * t))


def product_cpu(P: np.ndarray, y: np.ndarray, w: np.ndarray, plain: bool) -> tuple[np.ndarray, np.ndarray]:
    """Read P once."""
    wide, weights, t, z = np.zeros(P.shape[1]), np.zeros(P.shape[0]), np.empty(P.shape[0]), np.empty(P.shape[1])
    wide[: y.size], weights[: w.size] = y, w
    _pair(P, wide, weights, t, z, np.empty((parts_of(w.size), P.shape[1])), plain)
    return t[: w.size], z[: y.size]


newton = Kernel(newton_reference, newton_cpu)
product = Kernel(product_reference, product_cpu)
