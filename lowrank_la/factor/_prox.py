"""`prox`: proximal maps of matrix norms, the steps of convex and sparse optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _dense, _partial
from lowrank_la.factor._dense import adjoint, defect, gamma, norms, residual, wide
from lowrank_la.factor._signs import signed
from lowrank_la.factor._thresholds import Power

NAME = "prox"
KINDS = ("nuclear", "schatten", "l1", "group", "frobenius")
METHODS = ("auto", "full", "partial")
DISTANCE = "||X - prox(M)||_F <= bound"
OBJECTIVE = "lam f(X) + ||X - M||_F^2 / 2 - minimum <= bound, for X = U diag(s) V^H"
LARGE = 600  # rows and columns from which a partial decomposition is tried


@dataclass(frozen=True, repr=False)
class ProxResult(Result):
    """The minimiser X of lam f(X) + ||X - M||_F^2 / 2.

    Attributes
    ----------
    X : array, shape of M
        The minimiser.
    U, s, V : array (m, k), (k,), (n, k), or None
        X = U diag(s) V^H for "nuclear" and "schatten", with the singular values that survive; in a
        batch, k is the largest number, and others are followed by 0.
    value : float or array (b,)
        The objective at X.
    method : str
        "full" or "partial" decomposition, "entries" or "groups".
    certificate : Certificate
        Bounds the distance to the exact minimiser or, for "schatten" with p < 1, the objective
        above its minimum (the largest of a batch).
    """

    X: Array
    U: Array | None
    s: Array | None
    V: Array | None
    value: Any
    method: str
    certificate: Certificate

    @property
    def rank(self) -> int | None:
        """Number of singular values that survive; None where there are none."""
        return None if self.s is None else self.s.shape[-1]


def prox(
    M: Array,
    lam: float,
    *,
    kind: str = "nuclear",
    p: float | None = None,
    axis: int | None = None,
    method: str = "auto",
    tol: float = 1e-8,
    rng: _random.RNG = None,
) -> ProxResult:
    """Minimise lam f(X) + ||X - M||_F^2 / 2 over X: the proximal map of lam f at M.

    Parameters
    ----------
    M : array (m, n) or (b, m, n), real or complex
        A leading axis is a batch.
    lam : float, lam >= 0
        Weight of the penalty.
    kind : {"nuclear", "schatten", "l1", "group", "frobenius"}
        f(X) is the sum of the singular values; of their p-th powers; of |x_ij|; of the lengths of
        rows or columns; or ||X||_F.
    p : float, 0 <= p <= 1, with "schatten" only
        1 is the nuclear norm, 0 the rank; below 1 large singular values are hardly shrunk.
    axis : {-1, -2}, with "group" only
        -1: the groups are rows (the axis that is summed over); -2: columns.
    method : {"auto", "full", "partial"}
        "partial" finds only the singular values that survive, by `svd`, until `tol` is met; if that fails, or for
        a batch, the full decomposition takes over. "auto": "partial" for large matrices.
    tol : float, 0 < tol < 1
        Error that "partial" may leave, as a share of ||M||_F.
    rng : None, int or numpy.random.Generator
        For "partial".

    Returns
    -------
    ProxResult
        X, U, s, V, value, method and certificate.

    Raises
    ------
    ValueError
        M is empty or has an entry that is not finite, an argument is out of range, or p or axis
        is missing or does not go with the kind.
    TypeError
        M is no array of numbers.

    Notes
    -----
    Cost: one SVD of m x n for "nuclear" and "schatten", or that of `svd` for some more singular values than
    survive; else a few passes over M. Memory: three arrays like M.

    For 0 < p < 1 each singular value y solves x + lam p x^(p-1) = y by Newton's method from above, or becomes 0
    where that is cheaper, below a threshold that has a closed form [3]_.

    Certificate: a proximal map of a convex f moves no two points apart, so X, which is exact for a matrix near
    M, is as near to prox(M) as that matrix is to M; how near the computed decomposition is gets measured,
    with all rounding errors. For "partial": X is exact for a matrix that differs from M by the residuals of the
    computed triplets, if nothing else in M exceeds the threshold, which block Lanczos bounds with probability 0.99. For p < 1
    the least objective is a sum over singular values, and changes by at most ||M||_F + eta / 2 times a change eta of M.

    References
    ----------
    .. [1] Cai, Candes and Shen, A singular value thresholding algorithm for matrix completion,
       SIAM J. Optim. 20, 2010.
    .. [2] Parikh and Boyd, Proximal algorithms, Found. Trends Optim. 1, 2014.
    .. [3] Zuo, Meng, Zhang, Feng and Zhang, A generalized iterated shrinkage algorithm for non-convex sparse coding, ICCV 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import prox
    >>> rng = np.random.default_rng(0)
    >>> M = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 40)) + 0.1 * rng.standard_normal((60, 40))
    >>> result = prox(M, 2.0)
    >>> result.rank, result.certificate.bound < 1e-10
    (3, True)
    >>> prox(M, 2.0, kind="schatten", p=0.5).rank
    3
    """
    kind = _checks.choice(NAME, "kind", kind, KINDS)
    method = _checks.choice(NAME, "method", method, METHODS)
    lam = _checks.real(NAME, "lam", lam, 0)
    tol = _checks.real(NAME, "tol", tol, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    power = Power(lam, _power(kind, p))
    axes = _axes(kind, axis)
    door, [M] = _dense.enter(NAME, M=M)
    _checks.ndim(NAME, "M", M, (2, 3))
    if kind in {"nuclear", "schatten"}:
        return _of_singular_values(door, M, power, method, tol, seed)
    return _of_groups(door, M, lam, axes)


def _power(kind: str, p: float | None) -> float:
    """Read p.

    Raises
    ------
    ValueError
        It is missing, out of range or out of place.
    """
    if kind == "schatten":
        if p is None:
            raise ValueError(f'{NAME}: p must be given for kind="schatten"; got None')
        return _checks.real(NAME, "p", p, 0, 1)
    if p is not None:
        raise ValueError(f'{NAME}: p must be left out for kind="{kind}"; got {p!r}')
    return 1.0


def _axes(kind: str, axis: int | None) -> tuple[int, ...]:
    """Return the axes that a group extends over.

    Raises
    ------
    ValueError
        The axis is missing, out of range or out of place.
    """
    if kind == "group":
        if axis is None:
            raise ValueError(f'{NAME}: axis must be given for kind="group"; got None')
        return (_checks.integer(NAME, "axis", axis, -2, -1),)
    if axis is not None:
        raise ValueError(f'{NAME}: axis must be left out for kind="{kind}"; got {axis!r}')
    return (-2, -1) if kind == "frobenius" else ()


def _of_groups(door: Door, M: Array, lam: float, axes: tuple[int, ...]) -> ProxResult:
    """Shorten each group by lam, or to 0; groups without axes are single entries."""
    xp, long = door.xp, wide(M)
    size = xp.linalg.vector_norm(long, axis=axes, keepdims=True) if axes else xp.abs(long)
    kept = size > lam
    share = xp.where(kept, 1 - lam / xp.where(kept, size, xp.ones_like(size)), xp.zeros_like(size))
    X = xp.astype(long * share, M.dtype, copy=False)
    value = 0.5 * norms(wide(X) - long) ** 2 + lam * _dense.host(xp.sum(size * share, axis=(-2, -1)))
    rounding = gamma(sum(M.shape[axis] for axis in axes) * (M.shape[-2] if len(axes) == 2 else 1) + 8, M)
    bound = (rounding + 2 * _arrays.unit_roundoff(xp, M.dtype)) * norms(M)
    return ProxResult(
        X=door.leave(X),
        U=None,
        s=None,
        V=None,
        value=_dense.number(door, value, M),
        method="groups" if axes else "entries",
        certificate=_dense.always(DISTANCE, bound, "rounding"),
    )


def _of_singular_values(door: Door, M: Array, power: Power, method: str, tol: float, seed: int) -> ProxResult:
    """Map the singular values, of which those that survive may be enough."""
    large = M.ndim == 2 and min(M.shape) >= LARGE
    found = (
        _partial.surviving(M, power.threshold, tol, seed) if M.ndim == 2 and (method == "partial" or (method == "auto" and large)) else None
    )
    triplets = _partial.everything(M) if found is None else found
    xp, y = door.xp, _dense.host(triplets.s)
    x = power.map(y)
    k = int(np.max((x > 0).sum(axis=-1)))
    s = xp.astype(_arrays.from_numpy(x[..., :k], M), door.real_dtype, copy=False)
    U, V = signed(triplets.U[..., :, :k], triplets.V[..., :, :k])
    X = (U * s[..., None, :]) @ adjoint(V)
    x = np.concatenate([_dense.host(s), 0 * x[..., k:]], axis=-1)
    spread = defect(triplets.U) + defect(triplets.V)
    spread = spread + spread**2
    away = triplets.away + spread * np.linalg.norm(y, axis=-1)
    if power.p == 1:
        rounding = np.linalg.norm(x - power.map(y), axis=-1) + spread * np.linalg.norm(x, axis=-1)
        claim, bound = DISTANCE, away + rounding + residual(X, wide(U) * wide(s)[..., None, :], adjoint(V))
    else:
        claim, bound = OBJECTIVE, _above_minimum(power, x, y, away, spread, norms(M))
    return ProxResult(
        X=door.leave(X),
        U=door.leave(U),
        s=door.leave(s),
        V=door.leave(V),
        value=_dense.number(door, 0.5 * norms(wide(X) - wide(M)) ** 2 + power.penalty(x).sum(axis=-1), M),
        method="full" if found is None else "partial",
        certificate=Certificate(claim, float(np.max(bound)), triplets.confidence, triplets.method),
    )


def _above_minimum(power: Power, x: np.ndarray, y: np.ndarray, away: np.ndarray, spread: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Bound the objective of U diag(x) V^H above the minimum, for M at most `away` from an exact U diag(y) V^H and what is below."""
    beyond = np.linalg.norm(x - y, axis=-1)
    far = np.maximum(size, beyond) + spread * np.linalg.norm(x, axis=-1) + away
    lost = power.value(x, y) - power.value(power.map(y), y)
    return lost + 2 * far * (away + spread * np.linalg.norm(x, axis=-1)) + 3 * spread * power.penalty(x).sum(axis=-1) + 1e-14 * size**2
