"""Compress the modes of a tensor one after the other, each time what is left of it.

The last mode is compressed and becomes the first one, so that every step reads rows of contiguous memory and, after
as many steps as there are modes, all are in their old places. What a step leaves is measured, not inferred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from lowrank_la import _arrays, _threads, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import defect, gamma, squares

Choose: TypeAlias = Callable[
    [Array, int, float], Iterable[Array]
]  # (matrix of fibres, mode, relative tolerance) to bases, the last one final


@dataclass(frozen=True)
class Step:
    """One mode compressed: A ~ (A X) X^H for the matrix A of its fibres.

    Attributes
    ----------
    X : array (n, l)
    size : float
        ||A||_F.
    left : float
        ||A - A X X^H||_F, for A X as it was rounded.
    loss : float
        Bound on what rounding adds to that.
    skew : float
        Bound on the inner product of what was left with a tensor of unit norm in the range of X.
    defect : float
        Bound on ||X^H X - I||.
    """

    X: Array
    size: float
    left: float
    loss: float
    skew: float
    defect: float

    def before(self, later: float) -> float:
        """Bound the error of this step and the later ones, given theirs; but for rounding, squares add up."""
        return math.sqrt((self.left + self.loss) ** 2 + 2 * self.skew * later + (1 + self.defect) * later**2)


def compress(T: Array, tol: float, choose: Choose) -> tuple[Array, list[Step]]:
    """Compress every mode by the first basis offered that leaves no more than its share of `tol`, relative to the norm of T."""
    xp, d = _arrays.namespace(T), T.ndim
    steps: list[Step] = []
    budget = size = 0.0
    for k in reversed(range(d)):
        others, A = T.shape[:-1], xp.reshape(T, (-1, T.shape[-1]))
        share = tol / math.sqrt(d) if not steps else math.sqrt(budget / (k + 1)) / size if size else 0.0
        Y, step = _step(A, choose(A, k, share), share)
        budget = max((budget if steps else (tol * step.size) ** 2) - step.left**2, 0.0)
        size = math.sqrt(max(step.size**2 - step.left**2, 0.0))
        T = xp.reshape(Y, (-1, *others))
        steps.append(step)
    return T, steps[::-1]


def _step(A: Array, bases: Iterable[Array], share: float) -> tuple[Array, Step]:
    """Project on the first basis that leaves little enough, or the last one."""
    offers = iter(bases)
    Y, step = _projected(A, next(offers))
    while step.left > share * step.size and (X := next(offers, None)) is not None:
        Y, step = _projected(A, X)
    return Y, step


def _projected(A: Array, X: Array) -> tuple[Array, Step]:
    """Return (A X)^T and what is to be known about it."""
    xp, (rows, n) = _arrays.namespace(A), A.shape
    if X.shape[1] == n:
        return _turned(A)
    X = xp.astype(X, A.dtype, copy=False)
    Y, kept, left = kernels.project.project(A, X)
    with _threads.serial_blas():
        skewed = float(defect(X))
    size, factor = math.sqrt(kept + left), 1 + math.sqrt(X.shape[1])
    lost = gamma(X.shape[1] + 4, A) * factor * size + gamma(rows, A) * math.sqrt(left)
    rounded = gamma(n + 2, A) * factor * size + _arrays.unit_roundoff(xp, A.dtype) * size
    return Y, Step(X, size, math.sqrt(left), lost, rounded + skewed * size, skewed)


def _turned(A: Array) -> tuple[Array, Step]:
    """Keep a mode as it is; its fibres still have to lie across memory."""
    xp, n = _arrays.namespace(A), A.shape[1]
    Y = xp.empty((n, A.shape[0]), dtype=A.dtype, device=A.device)
    Y[...] = xp.matrix_transpose(A)
    return Y, Step(xp.eye(n, dtype=A.dtype, device=A.device), math.sqrt(float(squares(A))), 0.0, 0.0, 0.0, 0.0)
