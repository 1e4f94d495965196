"""The evidence of a set of hyper-parameters, in the singular vectors of the scaled factors: the Kronecker matrix is never formed.

With A_i diag(v_i)^(1/2) = U_i S_i V_i^H the covariance of the data is noise I + (x) U_i S_i^2 U_i^H: in the bases U_i it is the
diagonal tensor noise + outer(S_1^2, ..., S_I^2). Everything below is a handful of mode products with small matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.sbl._problem import Problem, square
from lowrank_la.tensors import _modes


@dataclass(frozen=True)
class Evidence:
    """A problem and hyper-parameters.

    Attributes
    ----------
    g : tuple of arrays (N_i,)
        Hyper-parameters of each mode, at least 0.
    noise : float
        Variance of the noise.
    U : tuple of arrays (m_i, m_i)
        Left singular vectors of A_i diag(v_i)^(1/2); v_i is g_i, or the coupling times g_i.
    s2 : tuple of arrays (m_i,)
        Squared singular values.
    Y : array (m_1, ..., m_I, L)
        The measurements in the bases U_i.
    """

    problem: Problem
    g: tuple[Array, ...]
    noise: float
    U: tuple[Array, ...]
    s2: tuple[Array, ...]
    Y: Array

    def with_mode(self, i: int, g: Array) -> Evidence:
        """Replace the hyper-parameters of one mode."""
        U, s2 = _bases(self.problem, i, g)
        Y = _modes.multiply(self.Y, _dense.adjoint(U) @ self.U[i], i)
        return replace(self, g=_put(self.g, i, g), U=_put(self.U, i, U), s2=_put(self.s2, i, s2), Y=Y)

    def with_noise(self, noise: float) -> Evidence:
        """Replace the variance of the noise."""
        return replace(self, noise=noise)

    def precision(self) -> Array:
        """Return the inverse of the covariance of the data, diagonal in these bases, (m_1, ..., m_I, 1)."""
        return 1 / (self.noise + outer(self.s2)[..., None])

    def cost(self) -> float:
        """Return log det + trace of (covariance of the data)^-1 Y Y^H: -2 log evidence up to a constant (-log for complex data)."""
        xp, D, problem = _arrays.namespace(self.Y), self.precision(), self.problem
        logs = problem.unseen * math.log(self.noise) - float(xp.sum(xp.log(D)))
        return problem.snapshots * logs + self.quadratic(D)

    def quadratic(self, D: Array) -> float:
        """Return the trace of (covariance of the data)^-1 Y Y^H, where D is `precision()`."""
        xp = _arrays.namespace(D)
        return float(xp.sum(D * xp.abs(self.Y) ** 2)) + self.problem.spare / self.noise

    def residual(self) -> float:
        """Return the squared norm of what the posterior mean leaves of the measurements."""
        return square(self.noise * self.precision() * self.Y) + self.problem.spare

    def freedom(self) -> float:
        """Return the effective number of parameters: sum(1 - posterior / prior variance), without that cancellation."""
        P = outer(self.s2)
        return float(_arrays.namespace(P).sum(P / (self.noise + P)))

    def slices(self, i: int) -> tuple[Array, Array]:
        """Return the two parts of the gradient with respect to the hyper-parameters of a mode: d cost / d g_i = dens - nums.

        Both are sums over the slices of a mode of non-negative terms: of |a^H C^-1 y|^2 and of a^H C^-1 a, times the variances of the
        other modes. These variances turn into singular values of the other modes, so that only tensors of the size of Y are touched.
        """
        xp, problem = _arrays.namespace(self.Y), self.problem
        D = self.precision()
        weight = outer([xp.ones_like(s) if j == i else s for j, s in enumerate(self.s2)])[..., None]
        t = problem.snapshots * xp.sum(_modes.three_way(D * weight, i), axis=(0, 2))
        Z = _modes.unfold(D * xp.sqrt(weight) * self.Y, i)
        R = _dense.adjoint(problem.A[i]) @ self.U[i]
        nums = xp.sum(xp.abs(R @ Z) ** 2, axis=1) if R.shape[0] <= Z.shape[0] else _quadratic(R, Z @ _dense.adjoint(Z))
        dens = xp.abs(R) ** 2 @ t
        C = problem.couplings[i]
        return (nums, dens) if C is None else (C.T @ nums, C.T @ dens)

    def posterior(self) -> tuple[Array, Array]:
        """Return the posterior mean (N_1, ..., N_I, L) and variances (N_1, ..., N_I), for columns of length one."""
        D, problem = self.precision(), self.problem
        v = variances(problem, self.g)
        W = [g[:, None] * (_dense.adjoint(a) @ U) for g, a, U in zip(v, problem.A, self.U, strict=True)]
        xp = _arrays.namespace(D)
        mean = _modes.multiply_all(D * self.Y, W)
        known = _modes.multiply_all(D, [xp.abs(w) ** 2 for w in W])[..., 0]
        return mean, xp.clip(outer(v) - known, 0)


def start(problem: Problem, g: Sequence[Array], noise: float) -> Evidence:
    """Return the evidence of hyper-parameters."""
    bases = [_bases(problem, i, x) for i, x in enumerate(g)]
    Y = _modes.multiply_all(problem.Y, [_dense.adjoint(U) for U, _ in bases])
    return Evidence(problem, tuple(g), noise, tuple(U for U, _ in bases), tuple(s2 for _, s2 in bases), Y)


def variances(problem: Problem, g: Sequence[Array]) -> list[Array]:
    """Return the prior variances of each mode: the hyper-parameters themselves, or coupled with their neighbours."""
    return [x if C is None else C @ x for x, C in zip(g, problem.couplings, strict=True)]


def outer(vectors: Sequence[Array]) -> Array:
    """Return the tensor of all products of entries, one from each vector."""
    product = vectors[0]
    for v in vectors[1:]:
        product = product[..., None] * v
    return product


def _bases(problem: Problem, i: int, g: Array) -> tuple[Array, Array]:
    xp = _arrays.namespace(g)
    v = g if problem.couplings[i] is None else problem.couplings[i] @ g
    U, s, _ = xp.linalg.svd(problem.A[i] * xp.sqrt(v), full_matrices=False)
    return U, s * s


def _put(items: tuple[Array, ...], i: int, x: Array) -> tuple[Array, ...]:
    return (*items[:i], x, *items[i + 1 :])


def _quadratic(R: Array, H: Array) -> Array:
    """Return the diagonal of R H R^H for a Hermitian positive semidefinite H."""
    xp = _arrays.namespace(R)
    return xp.clip(xp.sum(xp.real((R @ H) * xp.conj(R) if _dense.is_complex(R) else (R @ H) * R), axis=1), 0)
