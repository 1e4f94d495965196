"""`psd_power`: real powers of positive semidefinite matrices, with a floor under their eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, defect, gamma, host, norms, residual

NAME = "psd_power"
CLAIM = "X = (H + E)^p + F with ||E||_F <= bound ||H||_F and ||F||_F <= bound ||X||_F"


@dataclass(frozen=True, repr=False)
class PowerResult(Result):
    """X = H^p, eigenvalues below the floor being raised or dropped.

    Attributes
    ----------
    X : array (n, n) or (b, n, n)
        Hermitian.
    rank : int or array (b,)
        Eigenvalues above the floor.
    clipped : float or array (b,)
        Sum of the absolute changes of the eigenvalues below the floor: their nuclear norm, in the units of H.
    backward_error : float or array (b,)
        Bound on ||E||_F / ||H||_F, for an E that makes X the power of H + E but for its rounding errors F.
    certificate : Certificate
        Bounds E and F (the larger one, and the largest of a batch).
    """

    X: Array
    rank: Any
    clipped: Any
    backward_error: Any
    certificate: Certificate


def psd_power(H: Array, p: float, *, floor: float | None = None, below: str = "drop") -> PowerResult:
    """Raise a positive semidefinite matrix to a real power: roots, inverses, inverse roots.

    Parameters
    ----------
    H : array (n, n) or (b, n, n)
        Symmetric or Hermitian positive semidefinite; a leading axis is a batch.
    p : float
        1/2, -1/2 and -1 are the root, the inverse root and the inverse; 0 projects on the range.
    floor : float, 0 <= floor < 1, optional
        Eigenvalues of at most floor times the largest count as small; 4 n roundoff units by default, 0 for p > 0.
    below : {"drop", "raise"}
        What becomes of small eigenvalues: "drop" makes them, and their powers, zero, as in a
        pseudo-inverse; "raise" lifts them to the floor, which damps an inverse.

    Returns
    -------
    PowerResult
        X, rank, clipped, backward_error and certificate.

    Raises
    ------
    ValueError
        H is empty, not square, not Hermitian, not finite, has a negative eigenvalue beyond rounding errors,
        or an argument is out of range.
    TypeError
        H is no array of numbers, or p is no number.

    Notes
    -----
    Cost: an eigenvalue decomposition, about 9 n^3 flops, and four products, in float64 for every dtype, since
    inverse powers magnify what a short dtype would lose; memory some six n x n arrays in float64.
    Eigenvalues that are negative by rounding errors count as small.

    Certificate: H = V diag(h) V^H is checked in float64, and so is X = V diag(c^p) V^H for the clipped
    eigenvalues c. E holds the residual of the first, what V lacks to be unitary, and the clipping; F
    the residual of the second, so that E tells what the power is a power of. With ``below="drop"`` and
    p <= 0 the power of a singular matrix is that of its pseudo-inverse. An error of X itself, for an
    exact H, is E magnified by the condition of the power [1]_, which no algorithm can avoid.

    References
    ----------
    .. [1] Higham, Functions of Matrices, SIAM 2008, chapters 3 and 7.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import psd_power
    >>> A = np.random.default_rng(0).standard_normal((50, 20))
    >>> whitened = A @ psd_power(A.T @ A, -0.5).X
    >>> bool(np.allclose(whitened.T @ whitened, np.eye(20)))
    True
    """
    door, [H] = _dense.enter(NAME, H=H)
    _checks.ndim(NAME, "H", H, (2, 3))
    if H.shape[-1] != H.shape[-2]:
        raise ValueError(f"{NAME}: H must be square; got shape {tuple(H.shape)}")
    p, u = _checks.real(NAME, "p", p), _arrays.unit_roundoff(door.xp, H.dtype)
    level = 0.0 if p > 0 else 4 * H.shape[-1] * u
    if floor is not None:
        level = _checks.real(NAME, "floor", floor, 0, 1)
    below = _checks.choice(NAME, "below", below, ("drop", "raise"))

    eigen = _dense.semidefinite(NAME, "H", _dense.hermitian(NAME, "H", H), u**0.5)
    clipped, powers, small = _clip(eigen.values, p, level, below)
    factor = eigen.V * powers[..., None, :]
    X = factor @ adjoint(eigen.V)
    X = door.xp.astype((X + adjoint(X)) / 2, H.dtype)

    change = eigen.values - clipped
    backward = (eigen.slack + _length(change)) / _or_one(norms(H))
    spread = defect(eigen.V)
    forward = residual(X, factor, adjoint(eigen.V)) + (2 * (2 * spread + spread**2) + gamma(8, X)) * _length(powers)
    return PowerResult(
        X=door.leave(X),
        rank=_count(door, ~small, H),
        clipped=_dense.number(door, host(door.xp.sum(door.xp.abs(change), axis=-1)), H),
        backward_error=_dense.number(door, backward, H),
        certificate=_dense.always(CLAIM, np.maximum(backward, forward / _or_one(norms(X))), "residual"),
    )


def _clip(values: Array, p: float, level: float, below: str) -> tuple[Array, Array, Array]:
    """Return the eigenvalues that count, their powers, and which of them were small."""
    xp = _arrays.namespace(values)
    least = level * values[..., -1:]
    small = (values <= least) | (values <= 0)
    zero = xp.zeros_like(values)
    clipped = xp.where(small, xp.broadcast_to(least, values.shape) if below == "raise" else zero, values)
    positive = clipped > 0
    powers = xp.where(positive, xp.where(positive, clipped, xp.ones_like(values)) ** p, zero)
    return clipped, powers, small


def _length(x: Array) -> np.ndarray:
    return host(_arrays.namespace(x).linalg.vector_norm(x, axis=-1))


def _or_one(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 1.0)


def _count(door: _arrays.Door, kept: Array, like: Array) -> Any:
    counts = door.xp.sum(door.xp.astype(kept, door.xp.int64), axis=-1)
    return int(counts) if like.ndim == 2 else door.leave(counts)
