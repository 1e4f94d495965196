"""`procrustes`: the rotation, scale and shift that bring one set of points nearest to another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, defect, gamma, norms, residual, squares, wide

NAME = "procrustes"
BLOCK = 2048  # rows of P and Q at a time, for the error
CLAIM = "sum_i w_i |scale p_i R + shift - q_i|^2 - minimum <= bound"


@dataclass(frozen=True, repr=False)
class ProcrustesResult(Result):
    """Q ~ scale P R + shift.

    Attributes
    ----------
    R : array (d, d), or with a leading batch axis
        Orthogonal (unitary) matrix.
    scale : float or array (b,)
        1 unless it was asked for.
    shift : array (d,) or (b, d)
        0 unless it was asked for.
    error : float or array (b,)
        sqrt(sum_i w_i |scale p_i R + shift - q_i|^2), measured on the answer.
    minimum : float or array (b,)
        No admissible R, scale and shift give less, rounding errors taken off: ||P||^2 + ||Q||^2 - 2 sum of singular
        values of P^H Q, for centred and weighted points, or what a free scale makes of it.
    gap : float or array (b,)
        R is unique if this is positive: the smallest singular value of P^H Q or, with
        ``reflection=False``, the sum of the two smallest, the last with the sign of the determinant.
    certificate : Certificate
        Bounds error^2 - minimum^2 (the largest of a batch).
    """

    R: Array
    scale: Any
    shift: Array
    error: Any
    minimum: Any
    gap: Any
    certificate: Certificate

    def transform(self, points: Array) -> Array:
        """Return scale points R + shift.

        Parameters
        ----------
        points : array (k, d) or (b, k, d)

        Returns
        -------
        array of the same shape
        """
        xp = _arrays.namespace(self.R)
        scale = self.scale if isinstance(self.scale, float) else xp.reshape(self.scale, (-1, 1, 1))
        return scale * (points @ self.R) + self.shift[..., None, :]


def procrustes(
    P: Array,
    Q: Array,
    *,
    weights: Array | None = None,
    scale: bool = False,
    translation: bool = False,
    reflection: bool = True,
) -> ProcrustesResult:
    """Minimise sum_i w_i |s p_i R + t - q_i|^2 over orthogonal R and, if wanted, s >= 0 and t.

    R is the polar factor of the matrix P^H Q of the centred points; without reflections its
    last singular direction is turned if need be (Kabsch, Umeyama).

    Parameters
    ----------
    P : array (n, d) or (b, n, d), real or complex
        Points to be moved, one a row; a leading axis is a batch.
    Q : array (n, d) or (b, n, d)
        Where they should come to lie.
    weights : array (n,) or (b, n), real, weights >= 0, optional
        Weights of the squared distances.
    scale : bool
        Fit a scale s >= 0; otherwise s = 1.
    translation : bool
        Fit a shift t; otherwise t = 0.
    reflection : bool
        False: R is a rotation, det R = 1; for real points only.

    Returns
    -------
    ProcrustesResult
        R, scale, shift, error, minimum, gap and certificate, with `transform` for other points.

    Raises
    ------
    ValueError
        Shapes do not fit, weights are negative or all 0, an array is empty, or an entry is not finite.
    TypeError
        Points are complex and reflection is False, weights are complex, or arrays belong to different libraries.

    Notes
    -----
    Cost: 2 n d^2 flops for P^H Q, an SVD of d x d, 2 n d^2 for the error; all in float64. Memory: some 4 arrays
    like P. If all moved points coincide, R is the identity and the scale 1.

    Certificate: Re tr(R^H C) <= sum_i sigma_i(C) for C = P^H Q and every orthogonal R (less twice the
    last one for rotations, if det C < 0), with equality for the answer; the minimum follows from this inequality. The error
    is measured on the answer, and all rounding errors are added, so the bound is some n roundoff units of ||P||^2 + ||Q||^2.

    References
    ----------
    .. [1] Schoenemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31, 1966.
    .. [2] Kabsch, A solution for the best rotation to relate two sets of vectors, Acta Cryst. A32, 1976.
    .. [3] Umeyama, Least-squares estimation of transformation parameters between two point patterns,
       IEEE Trans. Pattern Anal. Mach. Intell. 13, 1991. Scale, shift and the determinant.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import procrustes
    >>> rng = np.random.default_rng(0)
    >>> P = rng.standard_normal((100, 3))
    >>> R = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    >>> Q = 2.5 * P @ R + [1, 2, 3]
    >>> result = procrustes(P, Q, scale=True, translation=True)
    >>> bool(np.allclose(result.R, R)), round(result.scale, 9), np.round(result.shift, 9)
    (True, 2.5, array([1., 2., 3.]))
    >>> result.certificate.bound < 1e-9
    True
    """
    door, [P, Q, weights] = _dense.enter(NAME, P=P, Q=Q, weights=weights)
    _checks.ndim(NAME, "P", P, (2, 3))
    _checks.shape(NAME, "Q", Q, tuple(P.shape))
    if not reflection and _dense.is_complex(P):
        raise TypeError(f"{NAME}: P and Q must be real for reflection=False; got dtype {P.dtype}")
    w = _weights(P, weights)
    root = None if weights is None else door.xp.sqrt(w)[..., :, None]
    centre_P, centre_Q = (_centre(x, w) if translation else door.xp.zeros_like(wide(x[..., :1, :])) for x in (P, Q))
    p, q = (_times(root, wide(x) - centre if translation else wide(x)) for x, centre in ((P, centre_P), (Q, centre_Q)))

    C = adjoint(p) @ q
    W, sigma, Zh = door.xp.linalg.svd(C, full_matrices=False)
    last = _dense.host(door.xp.linalg.det(W @ Zh)) if not reflection else np.ones(sigma.shape[:-1])
    signs = np.ones(sigma.shape)
    signs[..., -1] = np.where(last < 0, -1.0, 1.0)
    R = door.xp.astype((W * _arrays.from_numpy(signs, sigma)[..., None, :]) @ Zh, P.dtype, copy=False)
    trace = np.maximum((_dense.host(sigma) * signs).sum(axis=-1), 0.0)
    size_P, size_Q = norms(p), norms(q)
    factor = np.where(size_P > 0, trace / np.where(size_P > 0, size_P**2, 1), 1.0) if scale else np.ones(trace.shape)
    s = door.xp.astype(_arrays.from_numpy(factor, R), door.real_dtype, copy=False)
    shift = door.xp.astype(centre_Q - wide(s)[..., None, None] * (centre_P @ wide(R)), P.dtype, copy=False)

    error, bound = _error(P, Q, root, R, s, shift)
    wrong = np.sqrt(P.shape[-1]) * (residual(C, W * sigma[..., None, :], Zh) + gamma(P.shape[-2] + 8, p) * size_P * size_Q)
    most = (trace + wrong) * (1 + defect(W)) * (1 + defect(adjoint(Zh)))
    least = _minimum(size_P, size_Q, most, gamma(P.shape[-2] * P.shape[-1] + 16, p), scale)
    return ProcrustesResult(
        R=door.leave(R),
        scale=_dense.number(door, _dense.host(s), P),
        shift=door.leave(shift[..., 0, :]),
        error=_dense.number(door, error, P),
        minimum=_dense.number(door, np.sqrt(least), P),
        gap=_dense.number(door, _gap(_dense.host(sigma), signs, reflection), P),
        certificate=_dense.always(CLAIM, bound - least, "trace inequality"),
    )


def _weights(P: Array, weights: Array | None) -> Array:
    """Return the weights in float64, 1 if there are none.

    Raises
    ------
    ValueError
        A weight is negative, or all are 0.
    """
    xp = _arrays.namespace(P)
    if weights is None:
        return xp.ones(P.shape[:-1], dtype=xp.float64, device=P.device)
    w = _dense.real(NAME, "weights", _checks.shape(NAME, "weights", weights, tuple(P.shape[:-1])))
    if bool(xp.any(w < 0)) or not bool(xp.all(xp.any(w > 0, axis=-1))):
        raise ValueError(f"{NAME}: weights must be nonnegative and not all 0; got {float(xp.min(w)):.6g} as the smallest")
    return wide(w)


def _centre(x: Array, w: Array) -> Array:
    """Return the weighted mean as a row, in float64; a second time what the first left."""
    xp = _arrays.namespace(x)
    w = (w / xp.sum(w, axis=-1, keepdims=True))[..., :, None]
    first = xp.sum(w * wide(x), axis=-2, keepdims=True)
    return first + xp.sum(w * (wide(x) - first), axis=-2, keepdims=True)


def _times(root: Array | None, x: Array) -> Array:
    return x if root is None else root * x


def _error(P: Array, Q: Array, root: Array | None, R: Array, s: Array, shift: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the error of the answer, and a bound on its square; blocks of rows stay in the cache."""
    sR, t = wide(s)[..., None, None] * wide(R), wide(shift)
    sums = np.zeros((3, *P.shape[:-2]))
    for first in range(0, P.shape[-2], BLOCK):
        rows = slice(first, min(first + BLOCK, P.shape[-2]))
        p, q = wide(P[..., rows, :]), wide(Q[..., rows, :])
        E = _times(None if root is None else root[..., rows, :], p @ sR + t - q)
        sums += [squares(E), squares(p), squares(q)]
    found, size_P, size_Q = np.sqrt(sums)
    heaviest = 1.0 if root is None else _dense.host(_arrays.namespace(root).max(root, axis=(-2, -1)))
    terms = heaviest * (size_P * norms(sR) + math.sqrt(P.shape[-2]) * norms(t) + size_Q)
    count = P.shape[-2] * P.shape[-1] + 8
    return found, (found * (1 + gamma(count, sR)) + gamma(P.shape[-1] + 10, sR) * terms) ** 2


def _minimum(size_P: np.ndarray, size_Q: np.ndarray, most: np.ndarray, rounding: float, scale: bool) -> np.ndarray:
    """Bound the objective from below, where `most` bounds Re tr(R^H C) from above."""
    if scale:
        gain = np.where(size_P > 0, (most / np.where(size_P > 0, size_P, 1)) ** 2, 0.0)
        return np.maximum(size_Q**2 * (1 - rounding) - gain * (1 + 2 * rounding), 0.0)
    return np.maximum((size_P**2 + size_Q**2) * (1 - rounding) - 2 * most, 0.0)


def _gap(sigma: np.ndarray, signs: np.ndarray, reflection: bool) -> np.ndarray:
    if reflection:
        return sigma[..., -1]
    if sigma.shape[-1] == 1:
        return np.full(sigma.shape[:-1], np.inf)
    return sigma[..., -2] + sigma[..., -1] * signs[..., -1]
