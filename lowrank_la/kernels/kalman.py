"""Square-root Kalman filter and smoother of several Gaussian processes in state-space form, observed together.

R independent processes with q states each have the joint state z = (f_1..f_R, f'_1..f'_R, ...) of m = q R entries, whose prior
covariance is the identity at every time, and whose first R entries are observed. Covariances are kept as roots, S S^T, so that
they are positive semidefinite whatever the rounding: an observation multiplies the first R columns of a lower triangular root by a
small triangular matrix, and a step in time is one orthogonal reduction, of [A S, Q^(1/2)] to [S', 0].
"""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import _kalman_loops
from lowrank_la.kernels._engine import Kernel


def filter_reference(precision: Array, shift: Array, A: Array, root: Array) -> tuple[Array, Array, Array]:
    """Filter forward in time; batches are independent, and run in parallel on the CPU.

    Parameters
    ----------
    precision : array (B, n, R, R), float64
        Symmetric, positive semidefinite: exp(shift^T f - f^T precision f / 2) is the observation at each of the n times.
    shift : array (B, n, R), float64
        See above.
    A : array (n, q, q), float64
        Transitions to each time from the one before, for each process; 0 for the first time.
    root : array (n, q, q), float64
        Lower triangular roots of the covariance that comes in: A A^T + root root^T = I.

    Returns
    -------
    evidence : array (B,)
        Logarithm of the integral of prior times observations.
    mean : array (B, n, m)
        Means of the state given the observations up to each time.
    S : array (B, n, m, m)
        Lower triangular roots of its covariance.
    """
    xp = _arrays.namespace(precision)
    n, R = shift.shape[1:]
    A, root = _lift(A, R), _lift(root, R)
    S, mean, evidence = xp.zeros_like(root[:1, ...]), xp.zeros_like(A[:1, :, 0]), xp.zeros_like(shift[:, 0, 0])
    means, roots = [], []
    for j in range(n):
        S, mean = _triangle(A[j, ...] @ S, root[j, ...]), _apply(A[j, ...], mean)
        S, mean, gain = _observe(S, mean, precision[:, j, ...], shift[:, j, :])
        evidence = evidence + gain
        means.append(mean)
        roots.append(S)
    return evidence, xp.stack(means, axis=1), xp.stack(roots, axis=1)


def smooth_reference(mean: Array, S: Array, A: Array, root: Array) -> tuple[Array, Array]:
    """Smooth backward in time: means (B, n, m) and roots (B, n, m, m) given all observations, from those that the filter gave."""
    xp = _arrays.namespace(mean)
    R = mean.shape[2] // A.shape[1]
    A, root = _lift(A, R), _lift(root, R)
    means, roots = [mean[:, -1, :]], [S[:, -1, ...]]
    for j in range(mean.shape[1] - 2, -1, -1):
        G, Z = _gain(S[:, j, ...], A[j + 1, ...], root[j + 1, ...])
        means.append(mean[:, j, :] + _apply(G, means[-1] - _apply(A[j + 1, ...], mean[:, j, :])))
        roots.append(_triangle(Z, G @ roots[-1]))
    return xp.flip(xp.stack(means, axis=1), axis=1), xp.flip(xp.stack(roots, axis=1), axis=1)


def between_reference(mean: Array, S: Array, states: Array, roots: Array, before: Array, A: Array, root: Array) -> tuple[Array, Array]:
    """Insert times without observations.

    Parameters
    ----------
    mean, S : array (B, n, m) and (B, n, m, m), float64
        Filtered means and roots at the n times, n at least 1.
    states, roots : array (B, n, m) and (B, n, m, m), float64
        Smoothed ones.
    before : array (Q,), integers
        The last time that is not after each of the Q new ones; -1 where there is none.
    A, root : array (2, Q, q, q), float64
        Transitions from the time before, and to the time after; 0 and I where there is none.

    Returns
    -------
    mean : array (B, Q, R)
        Smoothed means of the processes.
    covariance : array (B, Q, R, R)
        Covariances between them.
    """
    xp, n = _arrays.namespace(mean), mean.shape[1]
    mean, S = (xp.take(x, xp.clip(before, 0, n - 1), axis=1) for x in (mean, S))
    later_mean, later_S = (xp.take(x, xp.clip(before + 1, 0, n - 1), axis=1) for x in (states, roots))
    R = mean.shape[2] // A.shape[2]
    lifted, roots = _lift(A, R), _lift(root, R)
    S = _triangle(lifted[0, ...] @ S, roots[0, ...])
    mean = _apply(lifted[0, ...], mean)
    G, Z = _gain(S, lifted[1, ...], roots[1, ...])
    G, Z = G[..., :R, :], Z[..., :R, :]
    new = mean[..., :R] + _apply(G, later_mean - _apply(lifted[1, ...], mean))
    G = G @ later_S
    return new, G @ _transpose(G) + Z @ _transpose(Z)


def _lift(A: Array, R: int) -> Array:
    """Return kron(A, I_R)."""
    xp = _arrays.namespace(A)
    lead, q = A.shape[:-2], A.shape[-1]
    eye = xp.eye(R, dtype=A.dtype, device=A.device)
    return xp.reshape(A[..., :, None, :, None] * eye[:, None, :], (*lead, q * R, q * R))


def _transpose(A: Array) -> Array:
    return _arrays.namespace(A).matrix_transpose(A)


def _apply(A: Array, x: Array) -> Array:
    return (A @ x[..., None])[..., 0]


def _triangle(left: Array, right: Array) -> Array:
    """Return a lower triangular root of left left^T + right right^T."""
    xp = _arrays.namespace(left)
    left, right = xp.broadcast_arrays(left, right)
    return _transpose(xp.linalg.qr(_transpose(xp.concat([left, right], axis=-1)), mode="reduced")[1])


def _gain(S: Array, A: Array, root: Array) -> tuple[Array, Array]:
    """Reduce [A S, root; S, 0] to [S', 0; Y, Z]; return Y S'^-1 and Z: z = G z' + Z e for the states before and after a step."""
    xp = _arrays.namespace(S)
    m = S.shape[-1]
    block = _triangle(xp.concat([A @ S, S], axis=-2), xp.concat([root, xp.zeros_like(root)], axis=-2))
    return _divide(block[..., m:, :m], block[..., :m, :m]), block[..., m:, m:]


def _divide(Y: Array, S: Array) -> Array:
    """Return Y S^-1."""
    return _transpose(_arrays.namespace(Y).linalg.solve(_transpose(S), _transpose(Y)))


def _observe(S: Array, mean: Array, precision: Array, shift: Array) -> tuple[Array, Array, Array]:
    """Condition on one observation; also return what it adds to the evidence.

    With C the leading block of S and I + C^T precision C = U U^T, U upper triangular, the first columns of the new root are those
    of S times U^-T: no difference is formed, and the root stays lower triangular.
    """
    xp = _arrays.namespace(S)
    R = shift.shape[-1]
    C = S[..., :R, :R]
    M = xp.eye(R, dtype=S.dtype, device=S.device) + _transpose(C) @ precision @ C
    U = xp.flip(xp.linalg.cholesky(xp.flip(M, axis=(-2, -1))), axis=(-2, -1))
    left = _divide(S[..., :, :R], _transpose(U))
    g = _apply(_transpose(left[..., :R, :]), shift - _apply(precision, mean[..., :R]))
    gain = xp.sum(mean[..., :R] * (shift - 0.5 * _apply(precision, mean[..., :R])), axis=-1)
    gain = gain + 0.5 * xp.sum(g * g, axis=-1) - xp.sum(xp.log(xp.linalg.diagonal(U)), axis=-1)
    rest = xp.broadcast_to(S[..., :, R:], (*left.shape[:-1], S.shape[-1] - R))
    return xp.concat([left, rest], axis=-1), mean + _apply(left, g), gain


def filter_cpu(precision: np.ndarray, shift: np.ndarray, A: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run one batch on each thread; a single one needs no others, which may be long in waking."""
    B, n, R = shift.shape
    m = R * A.shape[1]
    precision, shift, A, root = (np.ascontiguousarray(x) for x in (precision, shift, A, root))
    evidence, mean, S = np.empty(B), np.empty((B, n, m)), np.zeros((B, n, m, m))
    if B == 1:
        evidence[0] = _kalman_loops.forward_one(precision[0], shift[0], A, root, mean[0], S[0])
    else:
        _kalman_loops.forward(precision, shift, A, root, evidence, mean, S)
    return evidence, mean, S


def smooth_cpu(mean: np.ndarray, S: np.ndarray, A: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run one batch on each thread, or a single one here."""
    states, roots = mean.copy(), np.zeros_like(S)
    mean, S, A, root = (np.ascontiguousarray(x) for x in (mean, S, A, root))
    if mean.shape[0] == 1:
        _kalman_loops.backward_one(mean[0], S[0], A, root, states[0], roots[0])
    else:
        _kalman_loops.backward(mean, S, A, root, states, roots)
    return states, roots


def between_cpu(
    mean: np.ndarray, S: np.ndarray, states: np.ndarray, roots: np.ndarray, before: np.ndarray, A: np.ndarray, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Share the new times among threads."""
    (B, _, m), Q = mean.shape, before.size
    R = m // A.shape[2]
    new, cov = np.empty((B, Q, R)), np.empty((B, Q, R, R))
    _kalman_loops.insert(*(np.ascontiguousarray(x) for x in (mean, S, states, roots, before, A, root)), new, cov)
    return new, cov


filter = Kernel(filter_reference, filter_cpu)
smooth = Kernel(smooth_reference, smooth_cpu)
between = Kernel(between_reference, between_cpu)
