"""The three models, with the signals eliminated: what remains is one small Hermitian matrix for the gains.

With t = v / d for trial sizes v of the gains, y_l = diag(d) A_l x_l + e_l says diag(y_l) t - diag(v) A_l x_l = diag(t) e_l: the sensing
matrices take over what is known of the gains, and t has entries of about the same size. Least squares over the signals leaves

    t^H G t,   G = diag(q) - B B^H,   q_i = sum_l |y_li|^2,

where B collects diag(conj y_l) Q_l for orthonormal bases Q_l of the ranges: added up over l if the signal is one and the same
(Q is then a basis of the stacked matrices), side by side if there is one for each snapshot. For one matrix and many snapshots, G is
the entrywise product of the projector I - Q Q^H and the Gram matrix of the snapshots. White noise of variance sigma^2 adds
sigma^2 sum_i w_i |t_i|^2 on average, so that G t = lambda diag(w) t is the eigenproblem to solve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.calibration._problem import REPEATED, SNAPSHOTS, Problem
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, conj, host

FAINT = 0.3  # energy of a channel per share of the noise, over the median, below which its weight falls


@dataclass(frozen=True)
class Elimination:
    """The whitened matrix T = diag(w)^-1/2 G diag(w)^-1/2.

    Attributes
    ----------
    T : array (m, m)
        Hermitian, positive semidefinite but for rounding errors.
    w : NumPy array (m,)
        Weights of the channels: their share in the noise, but less for faint ones.
    v : NumPy array (m,)
        Trial sizes of the gains.
    slack : float
        Bounds the rounding errors of the eigenvalues of T.
    freedom : float
        Equations less unknowns.
    q, share : NumPy arrays (m,)
        Energy of each channel, and its share in the noise, in degrees of freedom.
    """

    T: Array
    w: np.ndarray
    v: np.ndarray
    slack: float
    freedom: float
    q: np.ndarray
    share: np.ndarray

    @property
    def root(self) -> np.ndarray:
        """Square roots of w: diag(root) t is what T acts on."""
        return np.sqrt(self.w)

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """All eigenvalues of T, in increasing order, and eigenvectors."""
        values, V = _arrays.namespace(self.T).linalg.eigh(self.T)
        return values, V

    def damped(self, limit: float) -> Elimination:
        """Whiten anew: channels of less energy than `limit` per degree of freedom get smaller weights."""
        w = damped(self.q, self.share, limit)
        if np.array_equal(w, self.w):
            return self
        change = self.w / w
        scale = _arrays.from_numpy(np.sqrt(change), self.T)
        return replace(self, T=scale[:, None] * self.T * scale, w=w, slack=self.slack * max(1.0, float(np.max(change))))


def eliminate(problem: Problem, v: np.ndarray) -> Elimination:
    """Eliminate the signals."""
    Y, xp = problem.Y, _arrays.namespace(problem.Y)
    scaled = _arrays.from_numpy(v, Y)[:, None] * problem.A
    if problem.model == SNAPSHOTS:
        return from_gram(conj(xp.matrix_transpose(Y)) @ Y, problem.p, basis(scaled), v)
    q = xp.sum(xp.abs(Y) ** 2, axis=0)
    if problem.model == REPEATED:
        Q = xp.reshape(basis(xp.reshape(scaled, (-1, problem.n))), scaled.shape)
        B = xp.sum(conj(Y)[:, :, None] * Q, axis=0)
    else:
        Q = basis(scaled)
        B = xp.reshape(xp.permute_dims(conj(Y)[:, :, None] * Q, (1, 0, 2)), (problem.m, -1))
    w = problem.p - host(xp.sum(xp.abs(Q) ** 2, axis=(0, 2)))
    return whiten(diagonal(q) - B @ adjoint(B), host(q), w, v, B.shape[1])


def from_gram(gram: Array, p: int, Q: Array, v: np.ndarray) -> Elimination:
    """Eliminate the signals of p snapshots through one matrix, given the Gram matrix sum_l conj(y_l) y_l^T."""
    xp = _arrays.namespace(gram)
    P = _dense.eye(xp, Q.shape[0], Q) - Q @ adjoint(Q)
    w = p * (1 - host(xp.sum(xp.abs(Q) ** 2, axis=1)))
    return whiten(P * gram, host(xp.real(xp.linalg.diagonal(gram))), w, v, p + Q.shape[1])


def whiten(G: Array, q: np.ndarray, w: np.ndarray, v: np.ndarray, terms: int) -> Elimination:
    """Scale by the noise; channels that the signals could fit alone, w = 0, keep a little weight."""
    freedom = float(np.sum(w)) - w.size + 1
    share = np.maximum(w, 1e-8 * np.max(w, initial=1e-8))
    w = damped(q, share, FAINT * float(np.median(q / share)))
    scale = _arrays.from_numpy(1 / np.sqrt(w), G)
    T = scale[:, None] * G * scale
    T = (T + adjoint(T)) / 2
    slack = 4 * _dense.U * (w.size + terms) * float(np.max(q / w))
    return Elimination(T, w, v, slack, freedom, q, share)


def damped(q: np.ndarray, share: np.ndarray, limit: float) -> np.ndarray:
    """Return the shares, less where the energy of a channel is below `limit` for each degree of freedom.

    The diagonal of T is at most q / w. Where it is near the variance of the noise, a channel may be an eigenvector of its own.
    """
    return share * np.minimum(1.0, q / (share * limit))


def diagonal(q: Array) -> Array:
    """Return diag(q)."""
    xp = _arrays.namespace(q)
    return _dense.eye(xp, q.shape[0], q[:, None]) * q


def basis(A: Array) -> Array:
    """Return an orthonormal basis of the range of each matrix of a batch, with columns of zeros where the rank is lower."""
    xp = _arrays.namespace(A)
    rows, columns = A.shape[-2:]
    if rows >= columns:
        Q, R = xp.linalg.qr(A, mode="reduced")
        if _dense.invertible(R, 1e-12):
            return Q
    U, s, _ = xp.linalg.svd(A, full_matrices=False)
    keep = s > max(rows, columns) * 2 * _dense.U * xp.max(s, axis=-1, keepdims=True)
    return U * xp.astype(keep, U.dtype)[..., None, :]
