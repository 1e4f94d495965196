"""`rangefinder`: a basis from one pass over A, and what it leaves, without a second look."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result
from lowrank_la.factor import _krylov, _matrix, _orth, _probes
from lowrank_la.factor._certificate import FAILURE, PROBES, least_share
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.factor._matrix import Matrix

NAME = "rangefinder"


@dataclass(frozen=True, repr=False)
class RangeResult(Result):
    """An orthonormal basis Q of most of the range of A.

    Attributes
    ----------
    Q : array (n, k)
        Orthonormal columns.
    error : float
        Estimate of ||A - Q Q^H A||_F.
    passes : int
        How often A was read.
    certificate : Certificate
        Bounds that norm, with its confidence.
    """

    Q: Array
    error: float
    passes: int
    certificate: Certificate


def rangefinder(A: Any, k: int, *, n_iter: int = 0, rng: _random.RNG = None) -> RangeResult:
    """Find k orthonormal columns whose span holds most of A, and estimate what they leave.

    Parameters
    ----------
    A : array (n, d), sparse matrix, linear operator, or row blocks
        Real or complex, as in `svd`.
    k : int, 1 <= k <= min(n, d)
        Columns of the basis.
    n_iter : int, n_iter >= 0
        Power steps, two more passes each, which bring the span closer to the leading singular vectors.
    rng : None, int or numpy.random.Generator
        An int gives the same basis on every backend, to rounding.

    Returns
    -------
    RangeResult
        Q (n, k), error, passes and certificate.

    Raises
    ------
    ValueError
        A is not 2-dimensional, is empty or has an entry that is not finite, or an argument is out of range.
    TypeError
        A is no matrix of numbers, or k is no integer.

    Notes
    -----
    Cost: 2 n d (k + 10) flops in one pass, 4 n d k for each power step, and the
    orthonormalization. Without power steps the error comes from leaving out each column of
    [A G, A g] = Q R in turn, g one more Gaussian vector: the mean of 1 / ||R^-H e_j||^2 over the k + 1
    columns is an unbiased estimate of the squared error of k columns [1]_. After power steps the mean
    is over 10 fresh Gaussian columns, which meet A beside the others. The certificate rests on
    these columns and chi-square: it holds with probability 0.99 also for an error of rank one, whose norm probes
    misjudge most, and is about twice the error.

    References
    ----------
    .. [1] Epperly and Tropp, Efficient error and variance estimation for randomized matrix
       computations, SIAM J. Sci. Comput. 46, 2024. Leave-one-out estimates.
    .. [2] Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 53, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import rangefinder
    >>> A = 1 / (1.0 + np.arange(300)[:, None] + np.arange(200))
    >>> result = rangefinder(A, 12, rng=0)
    >>> error = np.linalg.norm(A - result.Q @ (result.Q.T @ A))
    >>> bool(error <= result.certificate.bound), bool(error / 2 < result.error < 2 * error)
    (True, True)
    """
    _checks.integer(NAME, "n_iter", n_iter)
    seed = _random.seed_of(NAME, rng)
    matrix = _matrix.enter(NAME, "A", A)
    _checks.not_empty(NAME, "A", matrix)
    _checks.integer(NAME, "k", k, 1, min(matrix.shape))
    scale = _krylov.power_of_two(matrix)
    Y, fresh = _sketches(matrix, k, n_iter, seed)
    Q, R = _orth.orthonormal(wide(Y) * scale, seed)
    fresh = wide(fresh) * scale
    inside = adjoint(Q) @ fresh
    outside = fresh - Q @ inside
    left = kernels.energy.squared_norm(outside) / PROBES
    error = left if n_iter else _left_out(*(_arrays.to_numpy(x) for x in (R, inside[:, :1], outside[:, :1])))
    error = math.sqrt(error) / scale
    bound = math.sqrt(left / least_share(matrix)) / scale + _rounding(matrix, fresh, scale)
    certificate = Certificate("||A - Q Q^H A||_F <= bound", bound, 1 - FAILURE, f"{PROBES} Gaussian probes")
    return RangeResult(matrix.door.leave(Q), error, matrix.passes, certificate)


def _sketches(matrix: Matrix, k: int, n_iter: int, seed: int) -> tuple[Array, Array]:
    """Return A G after power steps, and A times fresh columns, which share its first pass."""
    xp, d = matrix.xp, matrix.shape[1]
    G = xp.concat([_probes.gaussian(matrix.like, d, count, seed, use) for count, use in ((k, "range"), (PROBES, "fresh"))], axis=1)
    both = matrix.times(G)
    Y, fresh = both[:, :k], both[:, k:]
    for _ in range(n_iter):
        basis = _orth.orthonormal(Y, seed)[0]
        Y = matrix.times(_orth.orthonormal(matrix.adjoint_times(basis), seed)[0])
    return Y, fresh


def _left_out(R: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> float:
    """Mean squared distance of each column of [Q R, Q inside + outside] from the span of the others; zero for dependent columns."""
    below = np.r_[np.zeros(R.shape[1]), np.linalg.norm(outside)]
    _, s, Vh = np.linalg.svd(np.r_[np.c_[R, inside], below[None, :]])
    if s[0] == 0:
        return 0.0
    inverse = Vh / np.maximum(s, s[0] * np.finfo(np.float64).eps)[:, None]
    return float(np.mean(1 / np.sum(np.abs(inverse) ** 2, axis=0)))


def _rounding(matrix: Matrix, fresh: Array, scale: float) -> float:
    """Bound the rounding errors of the probes."""
    size = math.sqrt(kernels.energy.squared_norm(fresh)) / scale
    return 10 * math.sqrt(max(matrix.shape)) * matrix.roundoff * size
