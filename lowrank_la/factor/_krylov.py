"""Bases of the leading right singular space, grown by products with H = A^H A on the small side of A.

A basis Q is kept together with H Q, so that Rayleigh and Ritz see all of it, and one more product
with H is at hand for whatever they choose. Vectors on the tall side are never stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _probes
from lowrank_la.factor._dense import adjoint, host, is_complex, wide
from lowrank_la.factor._matrix import Matrix
from lowrank_la.factor._orth import orthonormal

MOST_STEPS = 30  # without a number of steps from the caller
EXCESS = 0.02  # of the squared error, or of what is captured, the loss to the optimum at which steps end
LESS_EXCESS: dict[str | bool, float] = {"excess": 0.01, "values": 0.001}  # the same where this loss will be certified
ORDER = 0  # seed of sketches that only condition a block
GROWTH = 0.5  # of the basis, fresh directions in every step towards a tolerance
ROUGHNESS = 4 * 2.0**-24  # of products in float32
NOISE = 20  # roundoff units of the largest value, in residuals
TINY = 1e-300
ROUGH_TOLERANCE = 1e-3  # of ||A||_F^2, above which energies in float32 tell whether it is reached
FIRST_BLOCK = 32  # columns with which the search for a tolerance begins


@dataclass(frozen=True)
class Ritz:
    """Approximate squared singular values, descending, with coordinates and residual norms of their vectors."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


class Space:
    """An orthonormal basis Q of a space on the small side, and Z = H Q."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.scale = power_of_two(matrix)
        self.Q = self.Z = matrix.xp.zeros((matrix.shape[1], 0), dtype=matrix.dtype, device=matrix.like.device)
        self.rough = matrix.rough
        self.steps = 0

    @property
    def room(self) -> int:
        """How many more directions there are."""
        return self.matrix.shape[1] - self.Q.shape[1]

    def grow(self, block: Array) -> Array:
        """Add the directions of a block; return those, orthonormal, times H."""
        xp = self.matrix.xp
        fresh = self._against(block[:, : min(block.shape[1], self.room)])
        Z = self.matrix.gram_times(xp.astype(fresh * self.scale, self.rough or fresh.dtype, copy=False))
        Z = xp.astype(Z, fresh.dtype, copy=False)
        self.Q, self.Z = xp.concat([self.Q, fresh], axis=1), xp.concat([self.Z, Z], axis=1)
        self.steps += 1
        return Z

    def forget(self) -> None:
        """Empty the basis, to go on with what it has led to."""
        self.Q, self.Z = self.Q[:, :0], self.Z[:, :0]

    def _against(self, block: Array) -> Array:
        """Orthonormalize a block against the basis, twice."""
        for _ in range(2):
            block = block - self.Q @ (adjoint(self.Q) @ block)
            block = orthonormal(block, ORDER)[0]
        return block

    def ritz(self, wanted: int) -> Ritz:
        """Rayleigh and Ritz on the whole basis, in units of A^H A times `scale`; residuals of as many vectors as wanted."""
        T = _host(adjoint(self.Q) @ self.Z)
        values, W = np.linalg.eigh((T + T.conj().T) / 2)
        values, W = values[::-1], W[:, ::-1]
        inner = self.lift(self.Q, W[:, :wanted] * values[:wanted])
        residuals = host(self.matrix.xp.linalg.vector_norm(self.lift(self.Z, W[:, :wanted]) - inner, axis=0))
        return Ritz(np.maximum(values, 0.0), W, residuals)

    def lift(self, X: Array, W: np.ndarray) -> Array:
        """Return X W for coordinates W from the host."""
        return X @ self.matrix.xp.astype(_arrays.from_numpy(W, X), X.dtype, copy=False)

    def advanced(self, W: np.ndarray) -> Array:
        """Orthonormal basis, in double precision, of H Q W: a power step that costs no product with A."""
        return orthonormal(wide(self.lift(self.Z, W)), ORDER)[0]


def leading(
    matrix: Matrix, rank: int, width: int, n_iter: int | None, *, krylov: bool, seed: int, target: float = EXCESS
) -> tuple[Array, int, bool]:
    """Find a basis of `width` columns that holds the leading `rank` right singular vectors.

    Block Krylov keeps every block, subspace iteration the last one. Without `n_iter`, steps end
    when the residuals leave at most `target` of the squared error to gain, see `_excess`.
    Returns the basis, the steps, and whether they sufficed.
    """
    space = Space(matrix)
    block = start(matrix, width, seed)
    settled, ritz = False, None
    while space.room and not settled and space.steps < (MOST_STEPS if n_iter is None else n_iter):
        if not krylov:
            space.forget()
        block = space.grow(block)
        ritz = space.ritz(rank)
        if space.rough and _rounding(matrix, space, ritz, rank) > target / 10:
            space.rough, space.steps = None, 0
            space.forget()
            continue
        settled = n_iter is None and _excess(matrix, space, ritz, rank) <= target
    if ritz is None:
        return orthonormal(wide(block), ORDER)[0], 0, True
    return space.advanced(ritz.vectors[:, :width]), space.steps, settled or n_iter is not None or not space.room


def within(matrix: Matrix, tol: float, seed: int) -> tuple[Array, int, bool]:
    """Grow a Krylov basis until it leaves at most `tol` of ||A||_F^2.

    Each block holds the last one times H and fresh directions, more and more of them.
    Returns the basis, the steps, and whether the tolerance was reached.
    """
    space = Space(matrix)
    space.rough = space.rough if tol > ROUGH_TOLERANCE else None
    block = start(matrix, min(FIRST_BLOCK, matrix.shape[1]), seed)
    total = (matrix.squared_norm or 0.0) * space.scale
    while True:
        block = space.grow(block)
        ritz = space.ritz(0)
        reached = total - ritz.values.sum() <= tol * total
        if reached or not space.room:
            break
        fresh = start(matrix, max(FIRST_BLOCK, int(GROWTH * space.Q.shape[1])), seed + space.steps)
        block = matrix.xp.concat([fresh, block], axis=1)
    tail = total - np.cumsum(ritz.values)
    needed = int(np.argmax(tail <= tol * total)) + 1 if reached else space.Q.shape[1]
    return space.advanced(ritz.vectors[:, :needed]), space.steps, reached


def start(matrix: Matrix, width: int, seed: int) -> Array:
    """Random directions that have met A once."""
    seed %= 2**64
    if matrix.squared_norm is None:
        return matrix.adjoint_times(_probes.gaussian(matrix.like, matrix.shape[0], width, seed, "range"))
    return adjoint(matrix.sketch(width, seed))


def power_of_two(matrix: Matrix) -> float:
    """Return a power of two near 1 / ||A||_F, which keeps products with A^H A within the range of their dtype."""
    return 2.0 ** -round(math.log2(matrix.squared_norm) / 2) if matrix.squared_norm else 1.0


def _rounding(matrix: Matrix, space: Space, ritz: Ritz, rank: int) -> float:
    """Estimate what rough products cost: they turn vector i by some roundoff units times value 0 over value i."""
    values = ritz.values[:rank]
    turns = np.minimum(1.0, ROUGHNESS * values[0] / np.maximum(values, TINY))
    return float((turns**2 * values).sum()) / _error(matrix, space, ritz, rank)


def _error(matrix: Matrix, space: Space, ritz: Ritz, rank: int) -> float:
    """Squared error of the leading Ritz vectors, in units of the space, but not below its rounding errors."""
    total = ritz.values.sum() if matrix.squared_norm is None else matrix.squared_norm * space.scale
    return max(total - ritz.values[:rank].sum(), 100 * matrix.roundoff * total, TINY)


def _excess(matrix: Matrix, space: Space, ritz: Ritz, rank: int) -> float:
    """Estimate what the leading Ritz values still lack of their limits, over the squared error or over themselves, if less.

    Where they hold little of ||A||, any basis leaves about the same error. To first order a Ritz value grows
    by its squared residual norm over its distance from the rest.
    Residuals that are rounding errors say nothing.
    """
    values, residuals = ritz.values[:rank], ritz.residuals[:rank]
    noise = NOISE * (ROUGHNESS if space.rough else matrix.roundoff) * _cancellation(matrix) * values[0]
    gains = np.where(residuals > noise, residuals**2 / np.maximum(values, TINY), 0.0)
    return float(gains.sum()) / min(_error(matrix, space, ritz, rank), max(float(values.sum()), TINY))


def _cancellation(matrix: Matrix) -> float:
    """Norm of what rounding errors come from over the norm of A: above 1 after centring."""
    return math.sqrt(matrix.squared_scale / matrix.squared_norm) if matrix.squared_norm and matrix.squared_scale else 1.0


def _host(T: Array) -> np.ndarray:
    return np.asarray(_arrays.to_numpy(T), dtype=np.complex128 if is_complex(T) else np.float64)
