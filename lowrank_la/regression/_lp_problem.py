"""An l_p regression in coordinates in which A is well conditioned: what the solvers and the certificate ask of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._precondition import Preconditioner, precondition
from lowrank_la.regression import _bounds
from lowrank_la.regression._bounds import Gram, Scene
from lowrank_la.regression._problem import BlockRows, Problem, wide_dtype
from lowrank_la.sampling._loss import Loss
from lowrank_la.sketching import SparseSign

GATHERED = 1 << 17  # entries of A up to which it is factored itself
SKETCH_ROWS = 4  # per column
U = 2.0**-53


@dataclass(frozen=True)
class LpProblem:
    """min ||D (b - A x)||_p, D = diag(scale), with a basis P of the row space that makes D A P well conditioned.

    Attributes
    ----------
    A : array or sparse matrix (n, d)
    b : array (n,)
        In float64 or complex128, as all that is computed.
    scale : array (n,) or None
        Diagonal of D, real.
    basis : Preconditioner
    gram : Gram or None
        Of D A P; None if A is 0.
    """

    A: Any
    b: Array
    scale: Array | None
    basis: Preconditioner
    gram: Gram | None

    @property
    def rank(self) -> int:
        return self.basis.rank

    @property
    def full_rank(self) -> bool:
        return self.basis.keep is None

    def scaled(self, v: Array) -> Array:
        """D v."""
        return v if self.scale is None else self.scale * v

    def residual(self, x: Array) -> Array:
        """D (b - A x)."""
        return self.scaled(self.b - self._times(x))

    def change(self, z: Array) -> Array:
        """D A P z: how the residual shrinks for a step z in the good coordinates."""
        return self.scaled(self._times(self.basis.P @ z))

    def gradient(self, y: Array) -> Array:
        """(D A P)^H y."""
        xp, v = _arrays.namespace(y), self.scaled(y)
        total = xp.zeros(self.A.shape[1], dtype=y.dtype, device=y.device)
        for offset, rows in wide_blocks(self.A):
            part = v[offset : offset + rows.shape[0]]
            total = total + (rows.conj().T if _arrays.is_sparse(rows) else _arrays.adjoint_of(xp, rows)) @ part
        return _arrays.adjoint_of(xp, self.basis.P) @ total

    def hessian(self, at: Loss) -> Array:
        """(D A P)^H H (D A P) for the Hessian H of a loss; in real coordinates [Re z, Im z] if the data are complex."""
        if at.phase is not None:
            return self._complex_hessian(at)
        xp = _arrays.namespace(at.along)
        weights = self.scaled(xp.sqrt(at.along))
        G, _ = BlockRows(self.A, self.b[:, None], weights, tuple(self.A.shape)).gram(self.basis.square, False)
        return self.basis.kept_square(G)

    def _complex_hessian(self, at: Loss) -> Array:
        xp, phase = _arrays.namespace(at.along), at.phase
        G: Any = 0.0
        C: Any = 0.0
        for offset, rows in wide_blocks(self.A):
            here = slice(offset, offset + rows.shape[0])
            Q = rows @ self.basis.P
            Q = Q if self.scale is None else self.scale[here][:, None] * Q
            turned = xp.conj(phase[here])[:, None] * Q  # type: ignore[index]
            turned = xp.concat([xp.real(turned), -xp.imag(turned)], axis=1)
            G = G + _arrays.adjoint_of(xp, Q) @ (at.across[here][:, None] * Q)
            C = C + xp.matrix_transpose(turned) @ ((at.along - at.across)[here][:, None] * turned)
        re, im = xp.real(G), xp.imag(G)
        return xp.concat([xp.concat([re, -im], axis=1), xp.concat([im, re], axis=1)]) + C

    def white_rows(self, index: np.ndarray) -> np.ndarray:
        """Rows of D A P on the host."""
        keep = _arrays.from_numpy(index, self.b)
        xp = _arrays.namespace(self.b)
        rows = self.A[index].toarray() if _arrays.is_sparse(self.A) else xp.take(self.A, keep, axis=0)
        Q = _arrays.to_numpy(xp.astype(rows, wide_dtype(xp, rows), copy=False) @ self.basis.P)
        return Q if self.scale is None else _arrays.to_numpy(xp.take(self.scale, keep))[:, None] * Q

    def _times(self, x: Array) -> Array:
        xp = _arrays.namespace(x)
        return xp.concat([rows @ x for _, rows in wide_blocks(self.A)])


def wide_blocks(A: Any) -> Any:
    """Blocks of rows in float64 or complex128."""
    if _arrays.is_sparse(A):
        yield 0, A
        return
    for offset, rows in _arrays.row_blocks(A):
        xp = _arrays.namespace(rows)
        yield offset, xp.astype(rows, wide_dtype(xp, rows), copy=False)


@dataclass(frozen=True)
class Start:
    """A problem for each right-hand side, and least-squares solutions (d, k) of a sketch to start from."""

    problem: LpProblem
    X: Array


def prepare(A: Any, B: Array, scale: Array | None, roundoff: float, seed: int) -> Start:
    """Find the good coordinates, from a sketch if A is large, else from A itself."""
    n, d = A.shape
    problem = Problem(BlockRows(A, B, scale, (n, d)), 0.0)
    height = SKETCH_ROWS * d + 64
    tall = n >= 2 * height and n * d > GATHERED
    Y, Z = problem.sketch(SparseSign(height, n, rng=seed)) if tall else problem.dense()
    basis = precondition(Y, Z, roundoff)
    gram, C = _gram(problem, basis)
    if gram is None and basis.rank:  # the sketch has missed a direction
        basis = precondition(*problem.dense(), roundoff)
        gram, C = _gram(problem, basis)
    X = basis.start if gram is None else basis.P @ gram.solve(C)
    return Start(LpProblem(A, B[:, 0], scale, basis, gram), X)


def _gram(problem: Problem, basis: Preconditioner) -> tuple[Gram | None, Array]:
    xp = _arrays.namespace(problem.like)
    if basis.rank == 0:
        return None, basis.start
    return _bounds.gram(Scene(problem, basis, xp.linalg.vector_norm(problem.like, axis=0), fine=False), fast=False)
