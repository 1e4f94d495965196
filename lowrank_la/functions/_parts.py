"""A function in Chebyshev-Tucker format, inside: a core, coefficients of its one-dimensional functions, and a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint
from lowrank_la.tensors._modes import multiply_all

ROUNDINGS = 8  # roundoff units, for each column, that inner products of orthonormal columns may be in error


@dataclass(frozen=True)
class Parts:
    """sum_j core[j] prod_k sum_i factors[k][i, j_k] T_i(x_k), for x_k mapped from the box to [-1, 1].

    Attributes
    ----------
    core : array (r_1, ..., r_d) or (p, r_1, ..., r_d)
    factors : tuple of arrays (m_k, r_k)
    domain : array (d, 2), float64, on the host
    """

    core: Array
    factors: tuple[Array, ...]
    domain: np.ndarray

    @property
    def dim(self) -> int:
        """Number of variables."""
        return len(self.factors)

    @property
    def lead(self) -> int:
        """Axes of the core before those of the variables: one if the function is vector-valued."""
        return self.core.ndim - len(self.factors)

    def contracted(self, matrices: Sequence[Array | None]) -> Array:
        """Multiply the core by a matrix for each variable, None for those left alone."""
        return multiply_all(self.core, [None] * self.lead + list(matrices))

    def replaced(self, axis: int, V: Array) -> Parts:
        """Exchange the coefficients of one variable."""
        return Parts(self.core, (*self.factors[:axis], V, *self.factors[axis + 1 :]), self.domain)


def orthonormal(parts: Parts) -> Parts:
    """Make the columns of all factors orthonormal, and leave the scale to the core; factors that are orthonormal stay as they are."""
    xp = _arrays.namespace(parts.core)
    pairs = [(V, None) if _is_orthonormal(V) else xp.linalg.qr(V, mode="reduced") for V in parts.factors]
    return Parts(parts.contracted([R for _, R in pairs]), tuple(Q for Q, _ in pairs), parts.domain)


def _is_orthonormal(V: Array) -> bool:
    xp, r = _arrays.namespace(V), V.shape[1]
    defect = adjoint(V) @ V - xp.eye(r, dtype=V.dtype, device=V.device)
    return float(xp.max(xp.abs(defect))) <= ROUNDINGS * r * _arrays.unit_roundoff(xp, V.dtype)


def frobenius(core: Array) -> float:
    """Return the Frobenius norm of a core, for orthonormal factors that of all coefficients, also where its square underflows."""
    xp = _arrays.namespace(core)
    largest = float(xp.max(xp.abs(core)))
    return largest * float(xp.linalg.vector_norm(core / largest)) if largest else 0.0


def tails(parts: Parts, last: int = 2) -> tuple[float, ...]:
    """Return, for each variable, the norm of the last few slices of coefficients over that of all; two slices, because of parity."""
    size = frobenius(parts.core)
    if size == 0:
        return (0.0,) * parts.dim
    ends = [V[max(V.shape[0] - last, 0) :, :] for V in parts.factors]
    chosen = [[E if k == j else None for j in range(parts.dim)] for k, E in enumerate(ends)]
    return tuple(frobenius(parts.contracted(matrices)) / size for matrices in chosen)
