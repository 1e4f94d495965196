"""`sylvester_spd`: P X + X Q = R for positive semidefinite P and Q."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import Eigen, adjoint, gamma, norms, wide

NAME = "sylvester_spd"
CLAIM = "||X - X*||_F <= bound"


@dataclass(frozen=True, repr=False)
class SylvesterResult(Result):
    """Solution of P X + X Q = R.

    Attributes
    ----------
    X : array (n, m), or with a leading batch axis
        The solution.
    residual_norm : float or array (b,)
        ||P X + X Q - R||_F.
    condition : float or array (b,)
        Largest over smallest sum of an eigenvalue of P and one of Q.
    converged : bool
        P X + X Q determines X to working precision.
    certificate : Certificate
        Bounds ||X - X*||_F (the largest of a batch).
    """

    X: Array
    residual_norm: Any
    condition: Any
    converged: bool
    certificate: Certificate


def sylvester_spd(P: Array, Q: Array, R: Array) -> SylvesterResult:
    """Solve P X + X Q = R for Hermitian positive semidefinite P and Q that have no common null direction.

    In the eigenvectors of P and Q the equation is diagonal: x_ij = r_ij / (p_i + q_j).

    Parameters
    ----------
    P : array (n, n) or (b, n, n), Hermitian positive semidefinite
    Q : array (m, m) or (b, m, m), Hermitian positive semidefinite
        The sums of an eigenvalue of P and one of Q must be positive.
    R : array (n, m) or (b, n, m)
        Right-hand side.

    Returns
    -------
    SylvesterResult
        X, residual_norm, condition, converged and certificate.

    Raises
    ------
    ValueError
        Shapes do not fit, P or Q is not Hermitian or has a negative eigenvalue (both up to the
        square root of roundoff), an array is empty, or an entry is not finite.
    TypeError
        An argument is no array of numbers, or arrays belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        Both P and Q are singular to working precision: X is then the least-squares solution of least norm.

    Notes
    -----
    Cost: 9 (n^3 + m^3) flops for the eigenvalues, and 8 products n m (n + m), of which half correct the solution once.
    All in float64. Hermitian parts of P and Q are taken.

    Certificate: the operator X -> P X + X Q is Hermitian with least eigenvalue min p + min q, so
    ||X - X*||_F <= ||P X + X Q - R||_F / (min p + min q), with the residual measured on the answer,
    and with the errors of the eigenvalues and all rounding errors included.

    References
    ----------
    .. [1] Bhatia and Rosenthal, How and why to solve the operator equation AX - XB = Y,
       Bull. London Math. Soc. 29, 1997. The diagonal form and the bound.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import sylvester_spd
    >>> rng = np.random.default_rng(0)
    >>> B, A = rng.standard_normal((50, 4)), rng.standard_normal((3, 60))
    >>> P, Q, R = B.T @ B, A @ A.T, rng.standard_normal((4, 3))
    >>> result = sylvester_spd(P, Q, R)
    >>> bool(np.allclose(P @ result.X + result.X @ Q, R))
    True
    >>> result.certificate.bound < 1e-14
    True
    """
    door, [P, Q, R] = _dense.enter(NAME, P=P, Q=Q, R=R)
    _checks.ndim(NAME, "P", P, (2, 3))
    _dense.same_batch(NAME, "R", R, P, "P")
    _checks.shape(NAME, "P", P, (*P.shape[:-2], R.shape[-2], R.shape[-2]))
    _checks.shape(NAME, "Q", Q, (*P.shape[:-2], R.shape[-1], R.shape[-1]))
    tolerance = math.sqrt(_arrays.unit_roundoff(door.xp, door.dtype))
    P, Q, right = _dense.hermitian(NAME, "P", P), _dense.hermitian(NAME, "Q", Q), wide(R)
    p, q = _dense.semidefinite(NAME, "P", P, tolerance), _dense.semidefinite(NAME, "Q", Q, tolerance)

    sums = p.values[..., :, None] + q.values[..., None, :]
    X = _solve(p, q, sums, right)
    X = X + _solve(p, q, sums, right - P @ X - X @ Q)
    X = door.xp.astype(X, R.dtype, copy=False)

    found, bound = _residual(P, Q, wide(X), right)
    least, most = _dense.host(sums[..., 0, 0]), _dense.host(sums[..., -1, -1])
    sure = least - p.slack - q.slack
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(bound == 0, 0.0, np.where(sure > 0, bound / np.where(sure > 0, sure, 1), np.inf))
        condition = np.where(least > 0, most / np.where(least > 0, least, 1), np.inf)
    converged = bool(np.all(least > _cutoff(R, most)))
    if not converged:
        message = f"{NAME}: P and Q are both singular to working precision; X is the solution of least norm"
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    return SylvesterResult(
        X=door.leave(X),
        residual_norm=_dense.number(door, found, R),
        condition=_dense.number(door, condition, R),
        converged=converged,
        certificate=_dense.always(CLAIM, distance if converged else np.inf, "residual"),
    )


def _cutoff(R: Array, most: Any) -> Any:
    return max(R.shape[-2:]) * 4 * _dense.U * most


def _solve(p: Eigen, q: Eigen, sums: Array, R: Array) -> Array:
    """Divide in the eigenvectors; by sums that are 0 to working precision, divide to 0."""
    xp = _arrays.namespace(R)
    good = sums > _cutoff(R, sums[..., -1:, -1:])
    rotated = adjoint(p.V) @ R @ q.V
    quotient = xp.where(good, rotated / xp.where(good, sums, xp.ones_like(sums)), xp.zeros_like(rotated))
    return p.V @ quotient @ adjoint(q.V)


def _residual(P: Array, Q: Array, X: Array, R: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return ||P X + X Q - R||_F and a bound on it."""
    E = (P @ X + X @ Q) - R
    found = norms(E)
    products = _dense.product_size(P, X) + _dense.product_size(X, Q)
    rounding = gamma(max(R.shape[-2:]) + 6, R) * products + gamma(6, R) * norms(R)
    return found, found * (1 + gamma(R.shape[-2] * R.shape[-1] + 4, R)) + rounding
