"""How large a matrix is: bounds on its largest eigenvalue and its norms, from products with it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _probes
from lowrank_la.factor._lanczos import Krylov, block_lanczos

BLOCK = 4  # vectors of a start: with b of them the chance that all miss an eigenvector falls with power b
GRID, ROUNDS = 64, 4  # points of a logarithmic grid and refinements, in the search for the largest eigenvalue
NEAREST = 1e-13  # relative distance from a Ritz value below which rounding errors hide the eigenvalue
ROUNDING = 10  # roundoff units times sqrt(n): errors of products, relative to the largest eigenvalue


def largest_eigenvalue_bound(
    product: Callable[[Array], Array],
    like: Array,
    n: int,
    steps: int,
    failure: float,
    *,
    seed: int,
    purpose: str = "largest eigenvalue",
    block: int = BLOCK,
) -> tuple[float, float]:
    """Enclose the largest eigenvalue of a positive semidefinite operator by block Lanczos from a Gaussian start.

    Parameters
    ----------
    product : callable
        Maps an (n, b) array X to H X.
    like : array
        Gives namespace, device and dtype of X.
    n, steps : int
        Order of H, and products with blocks to make. Memory: `block` * `steps` vectors.
    failure : float
        Probability that the largest eigenvalue may be above the bound.
    seed, purpose : int, str
        Name the random start.
    block : int
        Columns of the start.

    Returns
    -------
    tuple of float
        The largest Ritz value, never above the largest eigenvalue but for rounding errors, and the bound.

    Notes
    -----
    Let v be a unit eigenvector for the largest eigenvalue. For an orthonormal basis Q1 of the start,
    ||v^H Q1||^2 has a Beta distribution, whose quantile c^2 it exceeds with probability 1 - failure.
    Two consequences hold then, see `beyond` and `beyond_every_spectrum`; the smaller bound counts.
    """
    krylov = block_lanczos(product, _probes.gaussian(like, n, min(block, n), seed, purpose), steps)
    return enclose_largest(krylov, n, steps, failure, _arrays.unit_roundoff(_arrays.namespace(like), like.dtype))


def enclose_largest(krylov: Krylov, n: int, steps: int, failure: float, roundoff: float) -> tuple[float, float]:
    """Give the largest Ritz value of a positive semidefinite matrix and a bound on its largest eigenvalue."""
    ritz = float(krylov.ritz[0][-1])
    if ritz <= 0:
        return 0.0, 0.0
    overlap = least_overlap(n, krylov.first, np.iscomplexobj(krylov.T), failure)
    bound = beyond(krylov, overlap, ritz, beyond_every_spectrum(ritz, overlap, steps))
    return ritz, bound * (1 + ROUNDING * math.sqrt(n) * roundoff)


def least_overlap(n: int, b: int, is_complex: bool, failure: float) -> float:
    """Quantile of ||v^H Q||^2 for a fixed unit v and the basis Q of a uniformly random subspace of dimension b."""
    from scipy.special import betaincinv

    parts = 1.0 if is_complex else 0.5  # squared normals in a component, halved
    return float(betaincinv(parts * b, parts * (n - b), failure)) if b < n else 1.0


def beyond_every_spectrum(ritz: float, overlap: float, steps: int) -> float:
    """Bound the largest eigenvalue of H >= 0 by its largest Ritz value t alone.

    Some vector x of the start has |v^H x|^2 = overlap. For p of degree steps - 1 the vector p(H) x lies in
    the Krylov space, so that sum_i (h_i - t) p(h_i)^2 |x_i|^2 <= 0. With s = asinh(sqrt(h / t - 1)) and
    (t - h) p(h)^2 = t T(sqrt(1 - h / t))^2 for Chebyshev's T of degree 2 steps - 1, which is at most t on
    [0, t] and -t sinh((2 steps - 1) s)^2 beyond, this says sinh((2 steps - 1) s)^2 overlap <= 1 - overlap.
    The estimate of Kuczynski and Wozniakowski (SIAM J. Matrix Anal. Appl. 13, 1992), without its last steps.
    """
    return ritz * (1 + math.sinh(math.acosh(1 / math.sqrt(overlap)) / (2 * steps - 1)) ** 2)


def beyond(krylov: Krylov, overlap: float, low: float, high: float) -> float:
    """Bound the largest eigenvalue h of a Hermitian A from the Ritz value `low`, a bound `high` and all of T.

    For y = v^H Q and w = v^H P, A v = h v gives y (h - T) = w C, so that y = w K with K = C (h - T)^-1,
    while |y|^2 + |w|^2 <= 1. Hence h is possible only if some w makes |w K_1|^2, the part of y in
    the start, at least overlap * (|w K|^2 + |w|^2).
    """
    values, vectors = krylov.ritz
    K = krylov.C @ vectors, vectors.conj().T
    near, far = NEAREST * high, high - low
    if krylov.finished:
        return low + near
    for _ in range(ROUNDS):
        gaps = np.geomspace(near, max(near, far), GRID)
        possible = np.flatnonzero(_largest_overlap(low + gaps - values[:, None], *K, krylov.first) >= overlap)
        if possible.size == 0:
            return low + near
        top = int(possible[-1])
        near, far = gaps[top], gaps[min(top + 1, GRID - 1)]
    return low + far


def _largest_overlap(distances: np.ndarray, left: np.ndarray, right: np.ndarray, first: int) -> np.ndarray:
    """Maximize |w K_1|^2 / (|w K|^2 + |w|^2), K = left distances^-1 right, for each column of distances h - theta."""
    K = (left / distances.T[:, None, :]) @ right
    eye = np.broadcast_to(np.eye(left.shape[0]), (K.shape[0], left.shape[0], left.shape[0]))
    Q = np.linalg.qr(np.concatenate([K, eye], axis=-1).conj().swapaxes(-1, -2))[0]
    return np.linalg.norm(Q[:, :first, :], ord=2, axis=(-2, -1)) ** 2
