"""Dense matrices and batches of them: the checks on the way in, and norms that know their own rounding errors.

Bounds are arrays of float64 on the host, one number for each matrix of a batch. What a working
precision has computed is measured in float64, so that bounds for float32 are hardly above the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array, Door, Namespace, is_complex, wide
from lowrank_la._result import Certificate

U = 2.0**-53
# Largest entries for which the squares of products and of their rounding errors are representable.
LEAST, MOST = {4: 1e-18, 8: 1e-130}, {4: 1e18, 8: 1e140}
SMALL = 1 << 15  # numbers for which a loop on all threads does not pay


def enter(function: str, **arrays: Array) -> tuple[Door, list[Array]]:
    """Take dense arrays inside: finite, not empty, all complex if one of them is; None passes.

    Raises
    ------
    TypeError
        An argument is no array of numbers, or arrays belong to different libraries.
    ValueError
        An entry is not finite, squares overflow or underflow, or an array is empty.
    """
    door, inside = promote(function, **arrays)
    for name, x in zip(arrays, inside, strict=True):
        if x is not None:
            _check(function, name, x)
    return door, inside


def promote(function: str, **arrays: Array) -> tuple[Door, list[Array]]:
    """Take dense arrays inside unchecked, all complex if one of them is.

    Raises
    ------
    TypeError
        An argument is no dense array of numbers, or arrays belong to different libraries.
    """
    refuse_sparse(function, **arrays)
    door, inside = _arrays.enter(function, **arrays)
    if door.xp.isdtype(door.dtype, "complex floating"):
        return door, inside
    for name, x in zip(arrays, inside, strict=True):
        if x is not None and is_complex(x):
            first = {name: arrays[name], **arrays}  # the first array decides the dtype
            door, again = _arrays.enter(function, **first)
            named = dict(zip(first, again, strict=True))
            return door, [named[name] for name in arrays]
    return door, inside


def refuse_sparse(function: str, **arrays: Array) -> None:
    """Require dense arrays.

    Raises
    ------
    TypeError
        An argument is a sparse matrix.
    """
    for name, x in arrays.items():
        if _arrays.is_sparse(x):
            raise TypeError(f"{function}: {name} must be a dense array; got {type(x).__name__}")


def _check(function: str, name: str, x: Array) -> None:
    _checks.not_empty(function, name, x)
    size = 4 if x.dtype in (_arrays.namespace(x).float32, _arrays.namespace(x).complex64) else 8
    largest = 0.0
    for _, block in _arrays.row_blocks(x) if x.ndim else ():
        xp = _arrays.namespace(block)
        here = float(xp.max(xp.abs(block)))
        if not here < MOST[size]:
            _checks.finite(function, name, x)
            raise ValueError(f"{function}: {name} must have entries whose squares do not overflow; scale it down")
        largest = max(largest, here)
    if 0 < largest < LEAST[size]:
        raise ValueError(f"{function}: {name} must have entries whose squares do not underflow; scale it up")


def same_batch(function: str, name: str, x: Array, like: Array, other: str) -> Array:
    """Require the batch axis of another argument.

    Raises
    ------
    ValueError
        x has another number of axes, or another batch length.
    """
    _checks.given(function, name, x)
    if x.ndim != like.ndim or x.shape[:-2] != like.shape[:-2]:
        rule = f"{like.ndim}-dimensional with the batch axis of {other}" if like.ndim > 2 else "2-dimensional"
        raise ValueError(f"{function}: {name} must be {rule}; got shape {tuple(x.shape)}")
    return x


def real(function: str, name: str, x: Array) -> Array:
    """Return real numbers that may have been promoted to complex ones with the rest of the arguments.

    Raises
    ------
    TypeError
        They were complex from the start.
    """
    if not is_complex(x):
        return x
    xp = _arrays.namespace(x)
    if bool(xp.any(xp.imag(x) != 0)):
        _checks.real_dtype(function, name, x)
    return xp.real(x)


def hermitian(function: str, name: str, H: Array) -> Array:
    """Return the Hermitian part of H in float64, which must be H but for rounding errors.

    Raises
    ------
    ValueError
        H differs from its adjoint by more than the square root of roundoff.
    """
    tolerance = math.sqrt(_arrays.unit_roundoff(_arrays.namespace(H), H.dtype))
    H = wide(H)
    if np.any(norms(H - adjoint(H)) > tolerance * norms(H)):
        raise ValueError(f"{function}: {name} must be Hermitian; got entries that differ from their mirror images")
    return (H + adjoint(H)) / 2


@dataclass(frozen=True)
class Eigen:
    """H = V diag(values) V^H up to `slack`, ascending, positive semidefinite but for rounding errors."""

    values: Array
    V: Array
    slack: np.ndarray


def semidefinite(function: str, name: str, H: Array, tolerance: float) -> Eigen:
    """Take a Hermitian matrix in float64 apart, and bound by how much that fails in the Frobenius norm.

    Raises
    ------
    ValueError
        An eigenvalue is negative by more than `tolerance` times the largest.
    """
    values, V = _arrays.namespace(H).linalg.eigh(H)
    least, most = host(values[..., 0]), host(values[..., -1])
    if np.any(least < -tolerance * np.abs(most)):
        raise ValueError(f"{function}: {name} must be positive semidefinite; got an eigenvalue of {np.min(least):.6g}")
    spread, size = defect(V), host(_arrays.namespace(H).linalg.vector_norm(values, axis=-1))
    slack = residual(H, V * values[..., None, :], adjoint(V)) + (2 * (2 * spread + spread**2) + gamma(8, H)) * size
    return Eigen(values, V, slack)


def cholesky(H: Array) -> Array | None:
    """Return the triangle C with C^H C = H, unless H is too near to singular for it."""
    try:
        C = adjoint(_arrays.namespace(H).linalg.cholesky(H))
    except np.linalg.LinAlgError:
        return None
    return C if invertible(C, 10 * math.sqrt(H.shape[-1] * U)) else None


def invertible(R: Array, least: float) -> bool:
    """Say whether the diagonals of triangles are finite and above a share of their largest entries."""
    xp = _arrays.namespace(R)
    size = xp.abs(xp.linalg.diagonal(R))
    return bool(np.all(host(xp.min(size, axis=-1)) > least * host(xp.max(size, axis=-1))))


def solve_triangular(R: Array, B: Array) -> Array:
    """Solve R X = B for upper triangles, one for each matrix of a batch."""
    return _arrays.solve_triangular(R, B) if R.ndim == 2 else _arrays.namespace(R, B).linalg.solve(R, B)


def adjoint(x: Any) -> Any:
    """Return x^H of a dense or sparse matrix."""
    return x.conj(copy=False).T if _arrays.is_sparse(x) else _arrays.adjoint_of(_arrays.namespace(x), x)


def conj(x: Array) -> Array:
    """Return the complex conjugate, or x itself if it is real."""
    return _arrays.namespace(x).conj(x) if is_complex(x) else x


def eye(xp: Namespace, n: int, like: Array) -> Array:
    """Return the identity, one for each matrix of a batch."""
    one = xp.eye(n, dtype=like.dtype, device=like.device)
    return xp.broadcast_to(one, (*like.shape[:-2], n, n)) if like.ndim > 2 else one


def gamma(terms: int, x: Array) -> float:
    """Bound the relative rounding error of a sum of so many products, of the dtype class of x, in float64."""
    u = terms * U * (2 if is_complex(x) else 1)
    return u / (1 - u)


def norms(x: Array) -> np.ndarray:
    """Return ||x||_F of each matrix."""
    return np.sqrt(squares(x))


def squares(x: Array) -> np.ndarray:
    """Return ||x||_F^2 of each matrix, summed in float64.

    BLAS adds up float64: its threads, which spin for a while after each product, would slow down those of a kernel.
    """
    xp, large = _arrays.namespace(x), math.prod(x.shape[-2:]) > SMALL
    if x.ndim == 2 and x.dtype in (xp.float64, xp.complex128):
        return np.asarray(float(xp.linalg.vector_norm(_arrays.along_memory(x))) ** 2)
    if large:
        energy = kernels.energy.squared_norm
        return np.asarray(energy(x) if x.ndim == 2 else [energy(x[i, ...]) for i in range(x.shape[0])])
    x = wide(x)
    terms = xp.real(x) ** 2 + xp.imag(x) ** 2 if is_complex(x) else x * x
    return host(xp.sum(terms, axis=(-2, -1)))


def host(x: Array) -> np.ndarray:
    """Bring numbers that bounds are made of to the host, in float64."""
    return np.asarray(_arrays.to_numpy(x), dtype=np.float64)


def product_size(B: Array, C: Array) -> np.ndarray:
    """Bound || |B| |C| ||_F: the scale of the rounding errors of B C."""
    xp = _arrays.namespace(B, C)
    sizes = xp.linalg.vector_norm(wide(B), axis=-2) * xp.linalg.vector_norm(wide(C), axis=-1)
    return host(xp.sum(sizes, axis=-1))


def residual(A: Array | None, B: Array, C: Array) -> np.ndarray:
    """Bound ||A - B C||_F, rounding errors included; A = None is the identity."""
    xp = _arrays.namespace(B, C)
    E = wide(B) @ wide(C)
    E = (wide(A) if A is not None else eye(xp, E.shape[-1], E)) - E
    count = E.shape[-2] * E.shape[-1]
    return norms(E) * (1 + gamma(count + 4, E)) + gamma(B.shape[-1] + 4, E) * product_size(B, C)


def defect(Q: Array) -> np.ndarray:
    """Bound ||Q^H Q - I||_F: no singular value of Q is further from 1."""
    return residual(None, adjoint(Q), Q)


def always(claim: str, bound: Any, method: str) -> Certificate:
    """Certify an inequality that holds for each matrix of a batch, whatever the draws."""
    return Certificate(claim, float(np.max(bound)), 1.0, method)


def number(door: Door, x: np.ndarray, like: Array) -> Any:
    """Hand out one float, or for a batch an array of the caller's kind."""
    if x.ndim == 0:
        return float(x)
    return door.leave(_arrays.from_numpy(x, like))
