"""`nystrom`: a kernel matrix from a few of its columns, with the exact trace of what is missing."""

from __future__ import annotations

import math

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la.kernel_methods import _gram
from lowrank_la.kernel_methods._approximation import METHODS, ONE_BY_ONE, approximate
from lowrank_la.kernel_methods._functions import KernelLike
from lowrank_la.kernel_methods._gram import Gram
from lowrank_la.kernel_methods._nystrom_result import NAME, NystromResult, answer

DEFAULT_TOL = 0.01


def nystrom(
    X: Array,
    *,
    kernel: KernelLike = "rbf",
    rank: int | None = None,
    tol: float | None = None,
    method: str = "rpcholesky",
    rng: _random.RNG = None,
) -> NystromResult:
    """Approximate a kernel matrix by F F^T from the columns of a few landmarks.

    Only the columns of the landmarks are computed, in blocks, and the diagonal, which tells exactly
    how much of the trace is missing.

    Parameters
    ----------
    X : array (n, d), or the kernel matrix (n, n) if kernel is "precomputed"
        Points, n >= 1; real. The answer keeps its namespace, device and dtype.
    kernel : {"rbf", "laplace", "matern", "polynomial", "linear", "cosine", "precomputed"}, KernelFunction or callable
        A name stands for the kernel with its default parameters; the bandwidth is the median distance of a sample. A callable
        kernel(X, Y) returns the block of its values; it must be positive semidefinite.
    rank : int, 1 <= rank <= n
        Landmarks; at most, if `tol` is given too. Required but for the methods "rpcholesky" and "greedy".
    tol : float, 0 < tol < 1
        Stop when trace(K - F F^T) <= tol trace(K). Without rank and tol: 0.01, with at most 10 sqrt(n) landmarks.
    method : {"rpcholesky", "greedy", "uniform", "rls", "bless", "kmeans"}
        "rpcholesky": drawn where the approximation is worst, the best choice in general. "greedy": where it is worst;
        outliers attract it. "uniform": at random. "rls", "bless": by estimates of ridge leverage scores.
        "kmeans": the centres of clusters, which are no points of X; most accurate at equal rank if X has clusters.
    rng : None, int or numpy.random.Generator
        An int gives the same landmarks on every backend, to rounding.

    Returns
    -------
    NystromResult
        indices, F, residual, error, relative_error, landmarks, kernel, method, converged and certificate.

    Raises
    ------
    ValueError
        X is empty or not finite, K is not symmetric or not positive semidefinite (as far as its entries were
        looked at), or an argument is out of range or missing.
    TypeError
        X is complex or no array of numbers, or an argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The tolerance is not reached by the landmarks allowed, or lies below rounding errors.

    Notes
    -----
    Cost: n (k + 1) kernel entries, some (b k)^2 / k more for pivots proposed in blocks of b = 32 to 256, and n k^2
    flops. Memory: F, and the landmarks' triangle. K is never formed.

    Certificate: trace(K - F F^T) is summed from the diagonal of K and the rows of F in double precision. What remains
    of a positive semidefinite matrix is one, so its trace bounds its norms, and
    |K_ij - (F F^T)_ij|^2 <= residual_i residual_j; rounding errors, of the order k u trace(K), are bounded and added.
    Confidence 1.

    References
    ----------
    .. [1] Chen, Epperly, Tropp and Webber, Randomly pivoted Cholesky: practical approximation of a kernel
       matrix with few entry evaluations, Comm. Pure Appl. Math. 78, 2025. Method "rpcholesky".
    .. [2] Epperly, Tropp and Webber, Embrace rejection: kernel matrix approximation by accelerated randomly
       pivoted Cholesky, arXiv:2410.03969. Its proposals in blocks.
    .. [3] Musco and Musco, Recursive sampling for the Nystrom method, NeurIPS 2017. Method "rls".
    .. [4] Rudi, Calandriello, Carratino and Rosasco, On fast leverage score sampling and optimal learning,
       NeurIPS 2018. Method "bless".
    .. [5] Zhang, Tsang and Kwok, Improved Nystrom low-rank approximation and error analysis, ICML 2008. Method "kmeans".

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import nystrom
    >>> X = np.random.default_rng(0).standard_normal((2000, 2))
    >>> result = nystrom(X, tol=1e-3, rng=0)
    >>> K = result.kernel(X, X)
    >>> bool(np.linalg.norm(K - result.F @ result.F.T, 2) <= result.certificate.bound <= 2.1)
    True
    >>> bool(np.allclose(result.features(X[:5]), result.F[:5]))
    True
    """
    seed = _random.seed_of(NAME, rng)
    method = _checks.choice(NAME, "method", method, METHODS)
    gram = _gram.enter(NAME, X, kernel, seed)
    rank, tol = _goal(gram, rank, tol, method)
    return answer(gram, approximate(gram, rank=rank, tol=tol, method=method, seed=seed), tol, method)


def _goal(gram: Gram, rank: int | None, tol: float | None, method: str) -> tuple[int | None, float | None]:
    """Check when to stop.

    Raises
    ------
    ValueError
        Out of range, or the method needs the rank; or it needs points and has none.
    TypeError
        Clusters of sparse points are wanted.
    """
    if method == "kmeans" and isinstance(gram.kernel, str):
        raise ValueError(f"{NAME}: kernel must be a function of points with method='kmeans'; got 'precomputed'")
    if method == "kmeans" and _arrays.is_sparse(gram.X):
        raise TypeError(f"{NAME}: X must be a dense array with method='kmeans'; got {type(gram.X).__name__}")
    if rank is None and method not in ONE_BY_ONE:
        raise ValueError(f"{NAME}: rank must be given with method={method!r}; got None")
    if rank is None and tol is None:
        return min(gram.n, math.ceil(10 * gram.n**0.5)), DEFAULT_TOL
    tol = None if tol is None else _checks.real(NAME, "tol", tol, 0, 1, open=True)
    return None if rank is None else _checks.integer(NAME, "rank", rank, 1, gram.n), tol
