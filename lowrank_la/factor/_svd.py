"""`svd`: the public function."""

from __future__ import annotations

import warnings
from typing import Any

from lowrank_la import _arrays, _checks, _random
from lowrank_la._result import ConvergenceWarning
from lowrank_la.factor import _batch, _krylov, _matrix
from lowrank_la.factor._methods import NAME, Plan, certified
from lowrank_la.factor._result import SVDResult
from lowrank_la.factor._signs import turns

METHODS = ("auto", "exact", "gram", "subspace", "krylov")
NORMS = ("fro", "spectral")
CERTIFICATES = ("error", "spectral", "excess", "values", False)


def svd(
    A: Any,
    rank: int | None = None,
    *,
    tol: float | None = None,
    norm: str = "fro",
    method: str = "auto",
    centre: bool = False,
    n_iter: int | None = None,
    oversample: int = 10,
    certificate: str | bool = "error",
    rng: _random.RNG = None,
) -> SVDResult:
    """Find the leading singular values and vectors of A, with a bound on the error that they leave.

    A random sketch of A gives a first basis on the side of A that is smaller; products with
    A^H A improve it until there is little to gain; one last product with A gives the answer.

    Parameters
    ----------
    A : array (n, d) or (b, n, d), sparse matrix, linear operator, or row blocks
        Real or complex. A linear operator has `matmat` and `rmatmat`. Row blocks are a list
        of arrays or sparse matrices with d columns, or a function that returns an iterable
        of them, which is called for every pass. A leading axis makes a batch.
    rank : int, 1 <= rank <= min(n, d), optional
        Number of singular triplets; with `tol` the largest that may be returned. All by default.
    tol : float, 0 < tol < 1, optional
        Return as few triplets as leave an error of at most tol * ||A||.
    norm : {"fro", "spectral"}
        The norm of `tol`.
    method : {"auto", "exact", "gram", "subspace", "krylov"}
        "exact": LAPACK, for dense A. "gram": eigenvectors of A^H A, for very tall A; singular
        values below 1e-6 of the largest mix. "krylov": block Krylov, which keeps all
        blocks. "subspace": subspace iteration, which keeps one and needs more steps.
        "auto": "krylov", but a direct method where A is small, most of its singular
        values are wanted, or `tol` is too small for energies to show.
    centre : bool
        Subtract the mean of each column, without forming the difference: principal components.
    n_iter : int, n_iter >= 0, optional
        Products with A^H A. By default as many as leave little to gain.
    oversample : int, oversample >= 0
        Columns of the basis beyond `rank`.
    certificate : {"error", "spectral", "excess", "values", False}
        What `certificate` bounds, see Notes; False leaves it out.
    rng : None, int or numpy.random.Generator
        An int gives the same answer on every backend and thread count, to rounding; after
        float32 steps, to what rounding in float32 does to a basis.

    Returns
    -------
    SVDResult
        U (n, k), s (k,), V (d, k), error, residuals, passes, n_iter, method, converged,
        certificate, angles and mean; with a leading axis for a batch.

    Raises
    ------
    ValueError
        A has the wrong number of axes, is empty, has an entry that is not finite or whose
        square overflows or underflows; an argument is out of range; method="exact" for a
        matrix that is not dense, certificate="excess" for a linear operator, or tol or the
        certificates other than "error" for a batch.
    TypeError
        A is no matrix of numbers, or its row blocks can be read only once.

    Warns
    -----
    ConvergenceWarning
        `tol` was not reached with `rank` triplets or for rounding errors, or singular vectors
        still moved after 30 steps. `converged` is then False.

    Notes
    -----
    Cost of "krylov" for l = rank + oversample and q steps, of which 1 to 3 are usual: one read
    of A for the sketch, 4 n d l q flops for the products with A^H A, 2 n d l for the last
    product. Memory: n l + 2 (q + 1) d l numbers. The steps are in float32 for float32 data, and for
    dense float64 data of a million entries or more unless rounding errors could be felt among the
    wanted singular values; the last product, and with it error and certificate, is in float64.

    U diag(s) = A V for orthonormal V, hence ||A - U diag(s) V^H||_F^2 = ||A||_F^2 - ||s||^2.
    Certificates:

    - "error": the error in the Frobenius norm by this identity, or, where the difference drowns in
      rounding errors and A is dense, by forming the residual block by block. Always true. For a linear
      operator 10 Gaussian probes, with probability 0.99.
    - "spectral": the error in the spectral norm by block Lanczos with a Gaussian start; with
      probability 0.99 and 24 more passes over A.
    - "excess": how much larger the error is, relatively, than that of the best approximation
      of the same rank. With H = A^H A, T = V^H H V, H V - V T = P W and the spectral norm C of H
      outside of V, no eigenvalue of H exceeds the one of [[T, W^H], [W, C I]] with the same number, and
      their sum bounds what any V captures. With probability 0.99 and 25 more passes.
    - "values": how far any s_i is from the singular value of A with the same number, by the same
      eigenvalues; probability and passes as before.

    The last two come with `residuals` and `angles`.

    Signs: the largest entry of each left singular vector is real and positive.

    References
    ----------
    .. [1] Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 53, 2011.
    .. [2] Musco and Musco, Randomized block Krylov methods for stronger and faster
       approximate singular value decomposition, NeurIPS 2015.
    .. [3] Kuczynski and Wozniakowski, Estimating the largest eigenvalue by the power and Lanczos
       algorithms with a random start, SIAM J. Matrix Anal. Appl. 13, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.factor import svd
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((3000, 20)) @ rng.standard_normal((20, 500)) + rng.standard_normal((3000, 500))
    >>> result = svd(A, 20, rng=0)
    >>> best = np.sqrt(np.sum(np.linalg.svdvals(A)[20:] ** 2))
    >>> bool(best <= result.error <= result.certificate.bound < 1.01 * best)
    True
    >>> svd(A, tol=0.25, rng=0).rank
    20
    """
    plan = _plan(rank, tol, norm, method, n_iter, oversample, certificate, rng)
    if _arrays.is_array(A) and A.ndim == 3:
        return _batch.batched(A, plan, centre)
    matrix = _matrix.enter(NAME, "A", A)
    _checks.not_empty(NAME, "A", matrix)
    if rank is not None:
        _checks.integer(NAME, "rank", rank, 1, min(matrix.shape))
    if certificate == "excess" and matrix.squared_norm is None:
        raise ValueError(f'{NAME}: A must have entries for certificate="excess"; got a linear operator')
    matrix, mean = _matrix.centred(matrix) if centre else (matrix, None)
    outcome, verdict = certified(matrix, plan)
    if not outcome.converged:
        warnings.warn(f"{NAME}: {_complaint(plan)}", ConvergenceWarning, stacklevel=2)
    leave, factors = matrix.door.leave, outcome.factors
    U, V, back = factors.U, factors.V, turns(factors.U)
    U *= back  # in place: fresh memory for a tall U costs more than the product
    V *= back
    return SVDResult(
        U=leave(U),
        s=leave(factors.s),
        V=leave(V),
        error=verdict.error,
        residuals=verdict.residuals,
        passes=matrix.passes,
        n_iter=outcome.steps,
        method=outcome.method,
        converged=outcome.converged,
        certificate=verdict.certificate,
        angles=verdict.angles,
        mean=None if mean is None else leave(mean),
    )


def _plan(
    rank: int | None,
    tol: float | None,
    norm: str,
    method: str,
    n_iter: int | None,
    oversample: int,
    certificate: str | bool,
    rng: _random.RNG,
) -> Plan:
    return Plan(
        rank,
        None if tol is None else _checks.real(NAME, "tol", tol, 0, 1, open=True),
        _checks.choice(NAME, "norm", norm, NORMS),
        _checks.choice(NAME, "method", method, METHODS),
        None if n_iter is None else _checks.integer(NAME, "n_iter", n_iter, 0),
        _checks.integer(NAME, "oversample", oversample, 0),
        _checks.choice(NAME, "certificate", certificate, CERTIFICATES),
        _random.seed_of(NAME, rng),
    )


def _complaint(plan: Plan) -> str:
    if plan.tol is None:
        return f"singular vectors still moved after {_krylov.MOST_STEPS} steps"
    return f"the error is above tol = {plan.tol:g}" + (f" with rank = {plan.rank}" if plan.rank else " for rounding errors")
