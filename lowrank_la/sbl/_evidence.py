"""The evidence of sets of hyper-parameters, in the singular vectors of the scaled factors: the Kronecker matrix is never formed.

With A_i diag(v_i)^(1/2) = U_i S_i V_i^H the covariance of the data is noise I + (x) U_i S_i^2 U_i^H: in the bases U_i it is the
diagonal tensor noise + outer(S_1^2, ..., S_I^2). Everything below is a handful of mode products with small matrices, for
all problems of a stack at once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sbl import _stack
from lowrank_la.sbl._stack import Stack, adjoint, multiply, multiply_all, products, total

WIDE = 64  # columns


@dataclass(frozen=True)
class Evidence:
    """B problems and their hyper-parameters.

    Attributes
    ----------
    g : tuple of arrays (B, n_i)
        Hyper-parameters of each mode, at least 0.
    noise : array (B,)
        Variance of the noise.
    U : tuple of arrays (B, m_i, m_i)
        Left singular vectors of A_i diag(v_i)^(1/2); v_i is g_i, or the coupling times g_i.
    s2 : tuple of arrays (B, m_i)
        Squared singular values.
    Y : array (B, m_1, ..., m_I, L)
        The measurements in the bases U_i.
    """

    problem: Stack
    g: tuple[Array, ...]
    noise: Array
    U: tuple[Array, ...]
    s2: tuple[Array, ...]
    Y: Array

    def with_mode(self, i: int, g: Array) -> Evidence:
        """Replace the hyper-parameters of one mode."""
        U, s2 = _bases(self.problem, i, g)
        Y = multiply(self.Y, adjoint(U) @ self.U[i], i)
        return Evidence(self.problem, _put(self.g, i, g), self.noise, _put(self.U, i, U), _put(self.s2, i, s2), Y)

    def with_noise(self, noise: Array) -> Evidence:
        """Replace the variance of the noise."""
        return replace(self, noise=noise)

    def take(self, ids: np.ndarray) -> Evidence:
        """Return some of the problems."""
        return Evidence(self.problem.take(ids), *self._arrays(lambda x: _stack.take(x, ids)))

    def replaced(self, ids: np.ndarray, others: Evidence) -> Evidence:
        """Replace some of the problems."""
        theirs = iter([*others.g, others.noise, *others.U, *others.s2, others.Y])
        return Evidence(self.problem, *self._arrays(lambda x: _stack.put(x, ids, next(theirs))))

    def _arrays(self, change: Callable[[Array], Array]) -> tuple[tuple[Array, ...], Array, tuple[Array, ...], tuple[Array, ...], Array]:
        g, noise = tuple(map(change, self.g)), change(self.noise)
        return g, noise, tuple(map(change, self.U)), tuple(map(change, self.s2)), change(self.Y)

    @functools.cached_property
    def precision(self) -> Array:
        """Inverse of the covariance of the data, diagonal in these bases, (B, m_1, ..., m_I)."""
        P = products(self.s2)
        return 1 / (beside(self.noise, P) + P)

    @functools.cached_property
    def energies(self) -> Array:
        """Sums of |Y|^2 over snapshots, (B, m_1, ..., m_I)."""
        return power(self.Y)

    @functools.cached_property
    def cost(self) -> Array:
        """Twice the negative log evidence, once for complex data, up to a constant: log det C + trace(C^-1 Y Y^H), (B,)."""
        xp, problem = self.problem.xp, self.problem
        logs = problem.unseen * xp.log(self.noise) - total(xp.log(self.precision))
        return problem.snapshots * logs + total(self.precision * self.energies) + problem.spare / self.noise

    def residual(self) -> Array:
        """Return the squared norm of what the posterior mean leaves of the measurements, (B,)."""
        return self.noise**2 * total(self.precision**2 * self.energies) + self.problem.spare

    def freedom(self) -> Array:
        """Return the effective number of parameters, (B,): sum(1 - posterior / prior variance), without that cancellation."""
        return total(products(self.s2) * self.precision)

    def slices(self, i: int) -> tuple[Array, Array]:
        """Return the two parts (B, n_i) of the gradient with respect to the hyper-parameters of a mode: d cost / d g_i = dens - nums.

        Both are sums over the slices of a mode of non-negative terms: of |a^H C^-1 y|^2 and of a^H C^-1 a, times the variances of the
        other modes. These variances turn into singular values of the other modes, so that only tensors of the size of Y are touched.
        """
        xp, R, C = self.problem.xp, self.reach(i), self.problem.couplings[i]
        D, weight = self.precision, self.weight(i)
        t = self.problem.snapshots * xp.sum(unfold(D * weight, i), axis=2)
        Z = unfold((D * xp.sqrt(weight))[..., None] * self.Y, i)
        nums = xp.sum(power(R @ Z, snapshots=False), axis=2) if R.shape[1] <= Z.shape[2] else _quadratic(R, Z @ adjoint(Z))
        dens = (power(R, snapshots=False) @ t[..., None])[..., 0]
        return (nums, dens) if C is None else (nums @ C, dens @ C)

    def reach(self, i: int) -> Array:
        """Return the atoms of a mode in its basis, conjugate: A_i^H U_i, (B, n_i, m_i)."""
        return self.problem.adjoints[i] @ self.U[i]

    def weight(self, i: int) -> Array:
        """Return the products of the squared singular values of all modes but one, constant along that one."""
        return products([self.problem.xp.ones_like(s) if j == i else s for j, s in enumerate(self.s2)])

    def posterior(self) -> tuple[Array, Array]:
        """Return the posterior mean (B, n_1, ..., n_I, L) and variances (B, n_1, ..., n_I), for columns of length one."""
        v = variances(self.problem, self.g)
        W = [g[..., None] * self.reach(i) for i, g in enumerate(v)]
        mean = multiply_all(self.precision[..., None] * self.Y, W)
        known = multiply_all(self.precision[..., None], [power(w, snapshots=False) for w in W])[..., 0]
        return mean, self.problem.xp.clip(products(v) - known, min=0)


def start(problem: Stack, g: Sequence[Array], noise: Array) -> Evidence:
    """Return the evidence of hyper-parameters."""
    bases = [_bases(problem, i, x) for i, x in enumerate(g)]
    Y = multiply_all(problem.Y, [adjoint(U) for U, _ in bases])
    return Evidence(problem, tuple(g), noise, tuple(U for U, _ in bases), tuple(s2 for _, s2 in bases), Y)


def variances(problem: Stack, g: Sequence[Array]) -> list[Array]:
    """Return the prior variances of each mode: the hyper-parameters themselves, or coupled with their neighbours."""
    return [x if C is None else x @ problem.xp.matrix_transpose(C) for x, C in zip(g, problem.couplings, strict=True)]


def outer(vectors: Sequence[Array]) -> Array:
    """Return the tensor of all products of entries, one from each vector."""
    return products([v[None, :] for v in vectors])[0, ...]


def beside(x: Array, T: Array) -> Array:
    """Give numbers (B,) the axes of a tensor."""
    return _arrays.namespace(x).reshape(x, (-1, *(1,) * (T.ndim - 1)))


def power(x: Array, *, snapshots: bool = True) -> Array:
    """Return |x|^2, summed over the last axis unless there are no snapshots."""
    xp = _arrays.namespace(x)
    p = xp.real(x) ** 2 + xp.imag(x) ** 2 if _arrays.is_complex(x) else x * x
    if not snapshots:
        return p
    return p[..., 0] if p.shape[-1] == 1 else xp.sum(p, axis=-1)


def _bases(problem: Stack, i: int, g: Array) -> tuple[Array, Array]:
    C = problem.couplings[i]
    v = g if C is None else g @ problem.xp.matrix_transpose(C)
    M = problem.A[i] * problem.xp.sqrt(v)[:, None, :]
    if M.shape[2] > max(WIDE, 2 * M.shape[1]):  # right singular vectors are not needed: a third of the time
        M = adjoint(_arrays.triangular_factor(adjoint(M)))
    U, s, _ = problem.xp.linalg.svd(M, full_matrices=False)
    return U, s * s


def _put(items: tuple[Array, ...], i: int, x: Array) -> tuple[Array, ...]:
    return (*items[:i], x, *items[i + 1 :])


def unfold(T: Array, mode: int) -> Array:
    """Return the matrices (B, n_mode, rest) whose columns are the fibres of a mode."""
    xp, shape = _arrays.namespace(T), T.shape
    if mode == 0:
        return xp.reshape(T, (shape[0], shape[1], -1))
    blocks = xp.reshape(T, (shape[0], math.prod(shape[1 : mode + 1]), shape[mode + 1], -1))
    return xp.reshape(xp.permute_dims(blocks, (0, 2, 1, 3)), (shape[0], shape[mode + 1], -1))


def _quadratic(R: Array, H: Array) -> Array:
    """Return the diagonals of R H R^H for Hermitian positive semidefinite H."""
    xp = _arrays.namespace(R)
    return xp.clip(xp.sum(xp.real((R @ H) * xp.conj(R)) if _arrays.is_complex(R) else (R @ H) * R, axis=2), min=0)
