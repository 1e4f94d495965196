"""A basis P in which the columns of D A are orthonormal: scores are squared norms of the rows of D A P."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, cholesky, gamma
from lowrank_la.factor._precondition import Preconditioner, precondition
from lowrank_la.sampling._rows import Rows

SMALL = 1 << 15  # entries up to which a QR factorization is as fast as a sketch and a product
SMALL_SPARSE = 1 << 18
FITS = 1 << 27  # entries that may be made dense
SKETCH_ROWS = 4  # per column
INDEPENDENT = 2.0  # times this estimate; the largest errors were 0.2 to 0.9 times the estimate in trials with 8 to 200 columns
LEAST_EIGENVALUE = 1e-6  # over the trace of the whitened Gram matrix: below, the sketch has failed


@dataclass(frozen=True)
class Basis:
    """Columns P with P^H (A^H D^2 A + ridge I) P close to the identity.

    Attributes
    ----------
    P : array (d, rank)
        float64 or complex128.
    start : Preconditioner
        Where it comes from: column scales, and the columns that are kept.
    error : float
        Bound on |h_i / tau_i - 1|, rounding errors included, where h_i is the computed squared norm of row i of D A P and
        tau_i its score; inf where nothing can be said.
    """

    P: Array
    start: Preconditioner
    error: float

    @property
    def square(self) -> Array:
        """P as columns of an upper triangular matrix, with zeros for columns of A that are dropped."""
        return self.start.spread(self.P)

    @property
    def rank(self) -> int:
        return self.start.rank


def begin(rows: Rows, seed: int, ridge: float = 0.0, height: int | None = None) -> tuple[Rows, Basis, int]:
    """Sketch D A, or take it whole where it is small; return the rows, counted, the basis for the sketch, and its height or 0.

    Raises
    ------
    ValueError
        A is not finite.
    """
    height = SKETCH_ROWS * rows.d + 64 if height is None else height
    small = SMALL_SPARSE if rows.sparse else SMALL
    if not rows.blocked and (rows.n * rows.d <= small or (rows.n <= height and rows.n * rows.d <= FITS)):
        Y, height = rows.dense(), 0
    else:
        rows, Y = rows.sketch(height, seed)
    start = _from(Y, ridge, rows.roundoff)
    return rows, Basis(start.P, start, math.inf), height


def exact(rows: Rows, basis: Basis, ridge: float = 0.0) -> Basis:
    """Make a basis for a sketch one for D A itself, by the Gram matrix of D A P: one pass.

    Where a sketch has failed, a factorization by reflections takes its place: two passes more.
    """
    better = _corrected(rows, basis, ridge)
    if better is None:
        start = _from(rows.triangle(), ridge, rows.roundoff)
        better = _corrected(rows, Basis(start.P, start, math.inf), ridge)
    return Basis(basis.P, basis.start, math.inf) if better is None else better


def _from(Y: Array, ridge: float, roundoff: float) -> Preconditioner:
    xp = _arrays.namespace(Y)
    if ridge:
        Y = xp.concat([Y, math.sqrt(ridge) * xp.eye(Y.shape[1], dtype=Y.dtype, device=Y.device)])
    return precondition(Y, Y[:, :0], roundoff)


def fine(rows: Rows, start: Preconditioner, ridge: float) -> tuple[Array, float]:
    """Return the scores, and a bound like `Basis.error`, from a product with P in more than working precision: two passes."""
    d = rows.d
    P = start.spread(start.P) / start.scales[:, None]
    penalty = ridge * (adjoint(start.P) @ start.P) if ridge else 0.0
    _, G = rows.fine(P, start.scales, _eye(P))
    T = cholesky(start.kept_square(G) + penalty)
    if T is None:
        return rows.norms(start.square), math.inf
    C = _arrays.solve_triangular(T, _eye(T))
    h, G = rows.fine(P, start.scales, adjoint(start.spread(adjoint(start.spread(C)))))
    G = start.kept_square(G) + (adjoint(C) @ penalty @ C if ridge else 0.0)
    small = gamma(2 * d + 8, P)
    norm = rows.door.xp.linalg.matrix_norm
    row = small * (2.0 ** (1 - kernels.fine_scores.bits(d)) * d * float(norm(T @ start.R) * norm(P) * norm(C)) + float(norm(C) * norm(T)))
    defect = float(norm(G - _eye(G))) + gamma(rows.sum_length, P) * 2 * start.rank
    defect += 3 * row * math.sqrt(start.rank)
    return h, (1 + row) ** 2 * (1 + defect) * (1 + small) - 1 if max(row, defect) < 0.5 else math.inf


def amplification(start: Preconditioner) -> float:
    """Factor by which rounding errors of a row of A grow in a row of A P, relative to its length, at most: about the condition of A."""
    xp = _arrays.namespace(start.P)
    return _norm(start.R) * _norm(xp.abs(start.kept(start.P) / start.kept(start.scales)[:, None])) if start.rank else 1.0


def growth(rows: Rows, start: Preconditioner, h: Array) -> float:
    """Estimate the same factor for the rows at hand, whose squared norms in A P are h, from rounding errors that are independent: one pass.

    In row i of A P they have the variance sum_k |a_ik|^2 ||P_k||^2, up to a constant.
    """
    xp = rows.door.xp
    lengths = xp.linalg.vector_norm(start.square, axis=1)
    variances = rows.norms(_eye(start.square) * lengths[:, None])
    return INDEPENDENT * math.sqrt(float(xp.max(xp.where(h > 0, variances / xp.where(h > 0, h, xp.ones_like(h)), xp.zeros_like(h)))))


def moved(basis: Basis, G: Array) -> Basis | None:
    """Give the basis for other weights, for which the Gram matrix in this basis is G; None if G is nearly singular."""
    T = cholesky(basis.start.kept_square(G))
    return None if T is None else replace(basis, P=basis.P @ _arrays.solve_triangular(T, _eye(T)))


def _eye(like: Array) -> Array:
    return _arrays.namespace(like).eye(like.shape[1], dtype=like.dtype, device=like.device)


def _corrected(rows: Rows, basis: Basis, ridge: float) -> Basis | None:
    """Multiply P by the inverse Cholesky factor of its Gram matrix; None if that is not safely positive definite."""
    xp, start = rows.door.xp, basis.start
    if start.rank == 0:
        return Basis(basis.P, start, 0.0)
    G = rows.gram(basis.square)
    if ridge:
        G = G + ridge * (adjoint(basis.square) @ basis.square)
    G = start.kept_square(G)
    if not _arrays.to_numpy(xp.linalg.eigvalsh(G))[0] > LEAST_EIGENVALUE * float(xp.linalg.matrix_norm(G)):
        return None
    Lh = adjoint(xp.linalg.cholesky(G))
    C = _arrays.solve_triangular(Lh, _eye(Lh))
    return Basis(basis.P @ C, start, _rounding(rows, basis, G, Lh, C))


def _rounding(rows: Rows, basis: Basis, G: Array, Lh: Array, C: Array) -> float:
    """Bound `Basis.error`: rows a P have errors up to gamma |a| |P|, and so has what G and P C are made of."""
    xp, start = rows.door.xp, basis.start
    scales = start.kept(start.scales)[:, None]
    P = start.kept(basis.P) / scales
    R = Lh @ _arrays.solve_triangular(P, _eye(P))  # R^H R is the Gram matrix of scaled columns
    P = xp.abs(P)
    values = _arrays.to_numpy(xp.linalg.eigvalsh(G))
    least, most, trace, top = float(values[0]), float(values[-1]), float(values.sum()), _norm(R)
    small = gamma(start.rank + 8, P)
    tile = small * float(xp.linalg.vector_norm(xp.linalg.vector_norm(R, axis=0) @ P))
    sums = gamma(rows.sum_length, P) * trace
    slack = sums + (2 * math.sqrt(most + sums) + tile) * tile
    product = small * top * float(xp.linalg.matrix_norm(P @ xp.abs(C)))
    defect = slack / least + gamma(8 * start.rank + 8, P) * trace / least + (2 + product) * product
    row = small * top * _norm(xp.abs(start.kept(basis.P @ C) / scales))
    return (1 + row) ** 2 * (1 + defect) * (1 + small) - 1 if max(row, defect) < 0.5 else math.inf


def error_of(rows: Rows, basis: Basis) -> float:
    """Bound `Basis.error` for rows with other weights, in which P was found by a few corrections close to the identity."""
    if basis.rank == 0:
        return 0.0
    eye = _eye(basis.P)
    return 2 * _rounding(rows, basis, eye, eye, eye)


def _norm(X: Array) -> float:
    """Spectral norm."""
    return float(_arrays.namespace(X).max(_arrays.namespace(X).linalg.svdvals(X)))
