"""The product of two functions: bases of products of functions of one variable, and a core that interpolates at chosen nodes."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint
from lowrank_la.functions import _chebyshev, _evaluate
from lowrank_la.functions._focus import sample
from lowrank_la.functions._parts import Parts
from lowrank_la.tensors._modes import unfold
from lowrank_la.tensors._truncate import left_vectors, rank_of

SHARE = 0.01  # of the tolerance, for the bases: interpolation at nodes amplifies what they miss
SAMPLES = 200  # points of the certificate, from each of two laws
MOST_NUMBERS = 1 << 24  # of the core before it is compressed


def product(one: Parts, other: Parts, tol: float) -> Parts | None:
    """Multiply two functions with numbers as values, to within about `tol` times their size; None if that takes too much memory.

    Both have orthonormal factors. In each variable, the columns v_i w_j, weighted by how much each function has of them, span what
    the product needs; on as many nodes, chosen by pivoted QR, both functions are evaluated.
    """
    xp, left, right, bases = _arrays.namespace(one.core, other.core), [], [], []
    for axis in range(one.dim):
        m = one.factors[axis].shape[0] + other.factors[axis].shape[0] - 1
        A, B = (_chebyshev.values(_chebyshev.resized(parts.factors[axis], m)) for parts in (one, other))
        V, W = A @ _weights(one, axis), B @ _weights(other, axis)
        Q, s = left_vectors(xp.reshape(V[:, :, None] * W[:, None, :], (m, -1)))
        floor = 2 * _arrays.unit_roundoff(xp, Q.dtype)
        Q = Q[:, : rank_of(s, max(SHARE * tol, floor) * float(np.linalg.norm(s)) / math.sqrt(one.dim), m)[0]]
        rows = _arrays.from_numpy(_pivots(_arrays.to_numpy(Q)), Q)
        there, A, B = (xp.take(X, rows, axis=0) for X in (Q, A, B))
        transposed = xp.linalg.solve(xp.matrix_transpose(there), xp.matrix_transpose(Q))
        bases.append(_chebyshev.coefficients(xp.matrix_transpose(transposed)))
        left.append(A)
        right.append(B)
    if math.prod(B.shape[1] for B in bases) > MOST_NUMBERS:
        return None
    return Parts(one.contracted(left) * other.contracted(right), tuple(bases), one.domain)


def errors(one: Parts, other: Parts, answer: Parts, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare an answer with the product at random points; weights turn means into those for the Chebyshev measure."""
    drawn = sample(answer, seed, "product of functions", SAMPLES)
    points = [_chebyshev.from_reference(t, interval) for t, interval in zip(drawn.points.T, answer.domain, strict=True)]
    x = [_arrays.from_numpy(np.ascontiguousarray(column), answer.core) for column in points]
    f, g, h = (_arrays.to_numpy(_evaluate.at_points("product", parts, x)) for parts in (one, other, answer))
    return np.abs(h - f * g).astype(np.float64), drawn.weights


def _weights(parts: Parts, axis: int) -> Array:
    """Return the triangle L of the unfolded core = L Z with orthonormal rows of Z."""
    return adjoint(_arrays.triangular_factor(adjoint(unfold(parts.core, axis))))


def _pivots(Q: np.ndarray) -> np.ndarray:
    """Choose as many rows as columns by pivoted QR, ascending."""
    from scipy.linalg import qr

    _, order = qr(Q.conj().T, mode="r", pivoting=True, check_finite=False)  # type: ignore[misc]
    return np.sort(order[: Q.shape[1]])
