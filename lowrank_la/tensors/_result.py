"""The answer of `tucker`: a core and one basis for each mode, and what can be done with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor._dense import adjoint, conj, norms
from lowrank_la.tensors import _batch, _check
from lowrank_la.tensors._modes import multiply_all
from lowrank_la.tensors._truncate import truncate

ENTRIES = 1 << 22  # numbers that are held at a time while entries are computed


@dataclass(frozen=True, repr=False)
class TuckerResult(Result):
    """T ~ core x_1 factors[0] x_2 factors[1] ... x_d factors[d - 1], with orthonormal columns of every factor.

    A stack of B tensors has a leading axis of that length in every array, and arrays (B,) in place of numbers;
    `result[b]` is the answer for one of them.

    Attributes
    ----------
    core : array (r_1, ..., r_d)
        Coefficients.
    factors : tuple of arrays (n_k, r_k)
        Bases, one for each mode.
    error : float
        ||T - to_dense()||_F as it was measured; for canonical input, a bound.
    relative_error : float
        The same over ||T||_F, zero for T = 0.
    tails : tuple of floats
        What was left out in each mode; the squared error is the sum of their squares.
    history : tuple of floats
        ||core||_F after each sweep of "hooi", which never falls; empty for the other methods.
    converged : bool
        Whether the certified error is within the tolerance; True if none was given.
    certificate : Certificate
        Bounds the error, rounding included.
    """

    core: Array
    factors: tuple[Array, ...] = field(repr=False)
    error: Any
    relative_error: Any
    tails: tuple[Any, ...] = field(repr=False)
    history: tuple[float, ...] = field(repr=False)
    converged: bool
    certificate: Certificate

    @property
    def batched(self) -> bool:
        """Whether this is a stack of tensors."""
        return self.factors[0].ndim == 3

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, or of each in a stack."""
        return tuple(V.shape[-2] for V in self.factors)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Multilinear ranks."""
        return tuple(V.shape[-1] for V in self.factors)

    @property
    def saving(self) -> float:
        """Numbers in the tensor over numbers in core and factors."""
        stored = math.prod(self.ranks) + sum(n * r for n, r in zip(self.shape, self.ranks, strict=True))
        return math.prod(self.shape) / stored

    def __repr__(self) -> str:
        shape, ranks = ("x".join(map(str, x)) for x in (self.shape, self.ranks))
        stack = f"{self.core.shape[0]} tensors of " if self.batched else ""
        return f"{super().__repr__()}\n  {stack}shape {shape}, ranks {ranks}: {self.saving:.3g} times fewer numbers"

    def __getitem__(self, b: int) -> TuckerResult:
        """Take one tensor out of a stack.

        Raises
        ------
        TypeError
            This is no stack.
        """
        if not self.batched:
            raise TypeError("TuckerResult: only a stack of tensors has an index; got one tensor")
        numbers = {"error": float(self.error[b]), "relative_error": float(self.relative_error[b])}
        tails = tuple(float(tail[b]) for tail in self.tails)
        return replace(self, core=self.core[b, ...], factors=tuple(V[b, ...] for V in self.factors), tails=tails, **numbers)

    def to_dense(self) -> Array:
        """Return the tensor that core and factors stand for.

        Returns
        -------
        array (n_1, ..., n_d), or a stack of them
            Entries.
        """
        if self.batched:
            return _batch.multiply_all(self.core, self.factors)
        return multiply_all(self.core, self.factors)

    def norm(self) -> Any:
        """Return the Frobenius norm, that of the core.

        Returns
        -------
        float, or array (B,) for a stack
            Norm.
        """
        rows = self.core.shape[0]
        if self.batched:
            return _arrays.namespace(self.core).linalg.vector_norm(self.core.reshape(rows, -1), axis=1)
        return float(norms(_arrays.namespace(self.core).reshape(self.core, (rows, -1))))

    def entries(self, indices: Array) -> Array:
        """Return some entries without the others.

        Parameters
        ----------
        indices : array (Q, d), integers
            Index of each entry.

        Returns
        -------
        array (Q,)
            Entries, at a cost of prod(ranks) each.

        Raises
        ------
        ValueError
            indices has another shape, or an index is out of range.
        TypeError
            indices are no integers, or this is a stack of tensors.
        """
        self._one("entries")
        core, factors = _check.inside(self.core), [_check.inside(V) for V in self.factors]
        indices = _check.indices("TuckerResult.entries", indices, core, self.shape)
        xp, step = _arrays.namespace(core), max(1, ENTRIES // math.prod(self.ranks))
        parts = [_entries(core, factors, indices[i : min(i + step, indices.shape[0]), :]) for i in range(0, indices.shape[0], step)]
        return _check.outside(xp.concat(parts) if parts else core.reshape(-1)[:0], self.core)

    def inner(self, other: TuckerResult) -> Any:
        """Return sum conj(a) b over the entries a of this tensor and b of the other one.

        Parameters
        ----------
        other : TuckerResult
            A tensor of the same shape.

        Returns
        -------
        float or complex
            Inner product.

        Raises
        ------
        ValueError
            The shapes differ.
        TypeError
            One of the two is a stack of tensors.
        """
        self._one("inner")
        other._one("inner")
        if other.shape != self.shape:
            raise ValueError(f"TuckerResult.inner: other must have shape {self.shape}; got {other.shape}")
        xp = _arrays.namespace(self.core, other.core)
        moved = multiply_all(other.core, [adjoint(V) @ W for V, W in zip(self.factors, other.factors, strict=True)])
        product = xp.sum(conj(self.core) * moved)
        return complex(product) if xp.isdtype(product.dtype, "complex floating") else float(product)

    def round(self, *, tol: float | None = None, ranks: int | Sequence[int] | None = None) -> TuckerResult:
        """Compress further, at the cost of the core alone.

        Parameters
        ----------
        tol : float, 0 < tol < 1
            Error that may be added, relative to the norm of this tensor.
        ranks : int or tuple of ints
            Largest ranks.

        Returns
        -------
        TuckerResult
            Its certificate bounds the distance from the tensor that was compressed first.

        Raises
        ------
        ValueError
            Neither tol nor ranks is given, or one is out of range.
        TypeError
            This is a stack of tensors.
        """
        self._one("round")
        tol, most = _check.wanted("TuckerResult.round", tol, ranks, self.ranks)
        core = _check.inside(self.core)
        found = truncate(core, tol=(tol or 0.0) * self.norm(), ranks=most)
        factors = tuple(_check.outside(_check.inside(V) @ W, self.core) for V, W in zip(self.factors, found.factors, strict=True))
        size = self.error / self.relative_error if self.relative_error else self.norm()
        error = math.hypot(self.error, found.error)
        return replace(
            self,
            core=_check.outside(found.core, self.core),
            factors=factors,
            error=error,
            relative_error=error / size if size else 0.0,
            tails=tuple(math.hypot(*pair) for pair in zip(self.tails, found.tails, strict=True)),
            converged=tol is None or found.bound <= tol * self.norm(),
            certificate=replace(self.certificate, bound=self.certificate.bound + found.bound),
        )

    def _one(self, what: str) -> None:
        if self.batched:
            raise TypeError(f"TuckerResult.{what}: must be asked of one tensor, result[b]; got a stack of {self.core.shape[0]}")


def _entries(core: Array, factors: Sequence[Array], indices: Array) -> Array:
    xp = _arrays.namespace(core)
    rows = [xp.take(V, indices[:, k], axis=0) for k, V in enumerate(factors)]
    values = rows[0] @ xp.reshape(core, (core.shape[0], -1))
    for row in rows[1:]:
        values = xp.sum(row[:, :, None] * xp.reshape(values, (row.shape[0], row.shape[1], -1)), axis=1)
    return xp.reshape(values, (-1,))
