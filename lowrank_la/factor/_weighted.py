"""`weighted_svd`: the best approximation of low rank where rows, columns or directions count differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _dense
from lowrank_la.factor._core import core
from lowrank_la.factor._dense import adjoint, gamma, norms, wide
from lowrank_la.factor._partial import leading
from lowrank_la.factor._weights import Weight, weight

NAME = "weighted_svd"
METHODS = ("auto", "exact")
CLAIM = "||H_left^(1/2) (M - U diag(s) V^H) H_right^(1/2)||_F <= bound"


@dataclass(frozen=True, repr=False)
class WeightedSVDResult(Result):
    """M ~ U diag(s) V^H, nearest in a weighted norm.

    Attributes
    ----------
    U, s, V : array (m, r), (r,), (n, r), or with a leading batch axis
        The approximation, as a plain singular value decomposition; s is descending.
    weighted_values : array (k,), real
        Singular values of the weighted matrix H_left^(1/2) M H_right^(1/2): all, or only r where `svd` was used.
    error : float or array (b,)
        Weighted error of U diag(s) V^H, measured on the answer.
    optimum : float or array (b,)
        No matrix of rank r has a smaller weighted error: the tail of `weighted_values`, less rounding errors.
    clipped : float
        Largest share of negative eigenvalues of a Gram matrix, which were set to 0.
    certificate : Certificate
        Bounds the weighted error (the largest of a batch).
    """

    U: Array
    s: Array
    V: Array
    weighted_values: Array
    error: Any
    optimum: Any
    clipped: float
    certificate: Certificate

    @property
    def rank(self) -> int:
        """Number of singular triplets."""
        return self.s.shape[-1]

    def to_dense(self) -> Array:
        """Form U diag(s) V^H."""
        return (self.U * self.s[..., None, :]) @ adjoint(self.V)


def weighted_svd(
    M: Array,
    rank: int,
    *,
    left: Array | None = None,
    right: Array | None = None,
    left_factor: Array | None = None,
    right_factor: Array | None = None,
    damping: float = 0.0,
    method: str = "auto",
    rng: _random.RNG = None,
) -> WeightedSVDResult:
    """Approximate M by rank r, nearest in ||H_left^(1/2) (M - M^) H_right^(1/2)||_F.

    The weighted matrix is truncated by its singular values and mapped back; with weights
    on one side only that is a projection of M, and no inverse is taken.

    Parameters
    ----------
    M : array (m, n) or (b, m, n), real or complex
        A leading axis is a batch, weights then have it too.
    rank : int, 1 <= rank <= min(m, n)
        Rank r.
    left : array (m,) or (m, m), optional
        H_left: a vector of weights of the squared rows, as row sums of Fisher information,
        or a Gram matrix, Hermitian positive semidefinite.
    right : array (n,) or (n, n), optional
        H_right: weights of the squared columns, or a Gram matrix, as X X^H for inputs X of a layer M.
    left_factor : array (m, p), optional
        X with H_left = X X^H, as precise as H would be in twice the digits: the error is then ||X^H (M - M^) ...||_F.
    right_factor : array (n, p), optional
        X with H_right = X X^H: the error is ||... (M - M^) X||_F.
    damping : float, damping >= 0
        Adds damping times the mean of its diagonal to the diagonal of H on each weighted side;
        0.01 is usual where H comes from few samples. Error, optimum and certificate are those of the damped weights.
    method : {"auto", "exact"}
        "exact": LAPACK. "auto": `svd` for large single matrices of which few singular values are wanted.
    rng : None, int or numpy.random.Generator
        For `svd`; an int gives the same answer on every backend.

    Returns
    -------
    WeightedSVDResult
        U, s, V, weighted_values, error, optimum, clipped and certificate.

    Raises
    ------
    ValueError
        Shapes do not fit, rank or damping is out of range, an entry is not finite, H has
        negative weights or eigenvalues, is not Hermitian, or comes twice for one side.
    TypeError
        Weights of a diagonal are complex, or arrays belong to different libraries.

    Notes
    -----
    Cost: one SVD of an m x n matrix, or about 2 m n (rank + 10) flops a pass for some 30 passes of `svd`; for a Gram
    matrix m^3 / 3 flops for its Cholesky factor, or 9 m^3 for its eigenvalues if it is nearly singular; for a
    factor 2 p m^2 for a QR factorization (in float32 p m^2 for a Gram matrix in float64); some 6 products of
    the sizes of M and H. Weights are handled in float64, M in its own dtype. Memory: five arrays like M, three like H.

    Without damping H may be singular: errors in directions of no weight are free, and among all optimal
    answers one-sided weights give a projection of M, weights on both sides that of least norm on one side. Where a slim
    factor has a rank below r, the answer has that rank, and no error.

    Certificate: the error of the returned factors is measured in float64, and all rounding errors are
    added, also those of the root of H; these are up to the square root of roundoff times ||H||^(1/2) ||M - M^||
    if H is given as a Gram matrix or a tall factor. `optimum` is a true lower bound (with probability 0.99 where `svd` was
    used, by its certificate "excess"), so `certificate.bound - optimum` bounds the excess over the best possible answer.

    References
    ----------
    .. [1] Van Loan, Generalizing the singular value decomposition, SIAM J. Numer. Anal. 13, 1976.
       Singular values for two-sided weights.
    .. [2] Liu et al., EoRA: training-free compensation for compressed LLM with eigenspace low-rank
       approximation, arXiv:2410.21271. The right-weighted case with H = X X^T.
    .. [3] Hsu et al., Language model compression with weighted low-rank factorization, ICLR 2022.
       The left-weighted case with row sums of Fisher information.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import weighted_svd
    >>> rng = np.random.default_rng(0)
    >>> M = rng.standard_normal((60, 40))
    >>> X = rng.standard_normal((40, 500)) * np.linspace(0.01, 3, 40)[:, None]
    >>> result = weighted_svd(M, 8, right_factor=X)
    >>> bool(np.isclose(np.linalg.norm((M - result.to_dense()) @ X), result.error))
    True
    >>> excess = result.certificate.bound / result.optimum - 1
    >>> bool(0 <= excess < 1e-5)
    True
    """
    if left is not None and left_factor is not None:
        raise ValueError(f"{NAME}: left and left_factor exclude each other; got both")
    if right is not None and right_factor is not None:
        raise ValueError(f"{NAME}: right and right_factor exclude each other; got both")
    method = _checks.choice(NAME, "method", method, METHODS)
    seed = _random.seed_of(NAME, rng)
    arrays = {"M": M, "left": left, "right": right, "left_factor": left_factor, "right_factor": right_factor}
    door, [M, left, right, left_factor, right_factor] = _dense.enter(NAME, **arrays)
    _checks.ndim(NAME, "M", M, (2, 3))
    rank = _checks.integer(NAME, "rank", rank, 1, min(M.shape[-2:]))
    damping = _checks.real(NAME, "damping", damping, 0)
    L = weight(NAME, "left", left, left_factor, M, -2, damping)
    R = weight(NAME, "right", right, right_factor, M, -1, damping)

    views = _views(wide(M), L, R)
    lead = leading(views[2], M.dtype, rank, method == "exact", seed)
    P, Q = _mapped_back(M, L, R, lead.W, lead.Z)
    one = door.xp.ones((*M.shape[:-2], P.shape[-1]), dtype=door.real_dtype, device=M.device)
    cut = core(P, one, Q).truncate(P.shape[-1])
    error, bound = _error(M, L, R, wide(cut.U) * wide(cut.s)[..., None, :], adjoint(cut.V))
    return WeightedSVDResult(
        U=door.leave(cut.U),
        s=door.leave(cut.s),
        V=door.leave(cut.V),
        weighted_values=door.leave(lead.values),
        error=_dense.number(door, error, M),
        optimum=_dense.number(door, _optimum(views, L, R, lead.tail), M),
        clipped=float(max(np.max(L.clipped), np.max(R.clipped))),
        certificate=_dense.always(CLAIM, bound, "weighted residual"),
    )


def _views(E: Array, L: Weight, R: Weight) -> tuple[Array, Array, Array, Array]:
    """Return E with weights on the left, on the right and on both sides, and as it is."""
    left = L.times(E)
    both = adjoint(R.times(adjoint(left)))
    if L.root is None:
        return left, both, both, E
    return left, adjoint(R.times(adjoint(E))), both, E


def _mapped_back(M: Array, L: Weight, R: Weight, W: Array, Z: Array) -> tuple[Array, Array]:
    """Return P and Q with M^ = P Q^H, which is L^+ W W^H L M = M R^H Z (R^+ Z)^H, by the root that is easier to invert."""
    xp = _arrays.namespace(M)
    if L.root is not None and (R.root is None or (R.diagonal and not L.diagonal)):
        return M @ R.times(Z), xp.astype(R.pinv_times(Z), M.dtype, copy=False)
    return xp.astype(L.pinv_times(W), M.dtype, copy=False), adjoint(adjoint(W) @ L.times(M))


def _error(M: Array, L: Weight, R: Weight, left: Array, right: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted norm of M - left @ right, and a bound on it for the weights as they were given."""
    E = wide(M) - left @ wide(right)
    LE, ER, LER, _ = _views(E, L, R)
    value = norms(LER)
    product = gamma(left.shape[-1] + 4, E) * _dense.product_size(left, right)
    rounding = R.norm * (L.norm * product + L.rounding(E)) + R.rounding(adjoint(LE)) + gamma(E.shape[-1] * E.shape[-2], E) * value
    roots = L.slack * norms(ER) ** 2 + R.slack * (norms(LE) ** 2 + L.slack * norms(E) ** 2)
    return value, np.sqrt((value + rounding) ** 2 + (1 + 1e-6) * roots)


def _optimum(views: tuple[Array, Array, Array, Array], L: Weight, R: Weight, tail: np.ndarray) -> np.ndarray:
    """Bound the weighted error of every matrix of this rank from below (Eckart, Young and Weyl).

    If H and L^H L differ by at most d, their roots differ by at most the root of d.
    """
    LM, MR, _, M = views
    rounding = R.norm * L.rounding(M) + R.rounding(adjoint(LM))
    roots = np.sqrt(L.slack) * norms(MR) + np.sqrt(R.slack) * (norms(LM) + np.sqrt(L.slack) * norms(M))
    return np.maximum(tail - rounding - (1 + 1e-6) * roots, 0.0)
