"""`leverage_scores`: how much each row matters to the column space."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.factor._dense import U, adjoint, wide
from lowrank_la.sampling import _basis, _rows
from lowrank_la.sampling._result import ScoreResult
from lowrank_la.sampling._rows import Rows

METHODS = ("auto", "exact", "sketch")
ACCURACY = 1e-10  # of every score
GOOD = 2e6  # condition up to which that is relative
CLAIM = "max_i |scores_i - exact score of row i| / scores_i <= bound"


def leverage_scores(A: Any, *, method: str = "auto", eps: float = 0.25, delta: float = 0.01, rng: _random.RNG = None) -> ScoreResult:
    """Find the leverage score of every row of a matrix, between two bounds.

    The score of row a_i is a_i^H (A^H A)^+ a_i = max |a_i^H x|^2 / ||A x||^2, the squared norm of
    row i of an orthonormal basis of the columns. A sketch of A gives a triangle R that makes A R^-1 well
    conditioned, the Gram matrix of A R^-1 makes it orthonormal; the basis is never stored.

    Parameters
    ----------
    A : array (n, d), sparse matrix, or row blocks
        Real or complex, of any shape and rank, possibly mapped from a file. Row blocks are a list of arrays
        or sparse matrices with d columns, or a function that returns an iterable of them.
    method : {"auto", "exact", "sketch"}
        "exact": right to rounding errors. "sketch": the triangle of the sketch serves as it is, which saves
        one of three passes over A. "auto" is "exact".
    eps : float, 0 < eps < 1
        For "sketch": the square roots of the scores are right within a factor 1 -+ eps.
    delta : float, 0 < delta < 1
        For "sketch": chance that this fails.
    rng : None, int or numpy.random.Generator
        An int gives the same scores on every backend, to rounding, and the same bits for any number of threads.

    Returns
    -------
    ScoreResult
        scores, lower, upper : arrays (n,), float64.  rank : int, the sum of exact scores.
        converged, and certificate: its bound is relative to the scores.

    Raises
    ------
    ValueError
        A is not 2-dimensional, is empty, has an entry that is not finite, or an argument is out of range.
    TypeError
        A is no matrix of numbers, or row blocks that can be read only once.

    Warns
    -----
    ConvergenceWarning
        A is so ill conditioned that rounding errors hide everything: the bounds are 0 and 1.

    Notes
    -----
    Cost: 8 n d flops for the sketch, 2 n d^2 for the Gram matrix and n d^2 for the norms of rows. Memory: some
    d x d matrices, the scores and bounds, and at most a quarter of A. Small matrices skip the sketch. Matrices with n < d
    are first reduced to n columns. Sparse matrices are made dense 32 MiB at a time, and only where they are ill conditioned.

    Columns of A that others span, up to singular values of 30 roundoff units of the dtype of A (columns scaled to equal length), are
    dropped; rows that are zero have score 0.

    Rounding errors of a score grow with the condition of A, in a QR factorization too. Where they might exceed a relative
    1e-10, or 1e-10 absolutely for conditions above 1e6, one more pass estimates them row by row; if they still might, products are
    formed again in more than working precision, at four times the cost. In trials with condition numbers up to 1e12 all scores were
    right to 1e-10; the certificate bounds the worst case and is much larger.

    Certificate: "rounding" holds always. "embedding" (sketch) rests on the distortion
    sqrt(d / m) + sqrt(2 log(2 / delta) / m) of a Gaussian sketch with m rows, which m is chosen for; that sparse
    sketches behave alike is an observation, tested, not a theorem. Then

        (1 - eps)^2 h_i <= score_i <= (1 + eps)^2 h_i,    h_i = ||a_i^H R^-1||^2.

    References
    ----------
    .. [1] Drineas, Magdon-Ismail, Mahoney and Woodruff, Fast approximation of matrix coherence and statistical leverage,
       JMLR 13, 2012. Scores from the triangle of a sketch.
    .. [2] Fan, Guo and Lin, A novel randomized XR-based preconditioned CholeskyQR algorithm, arXiv:2111.11148.
       Sketched QR before CholeskyQR.
    .. [3] Ozaki, Ogita, Oishi and Rump, Error-free transformations of matrix multiplication, Numer. Algorithms 59, 2012.
       Products of leading bits that are exact.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import leverage_scores
    >>> A = np.random.default_rng(0).standard_normal((5000, 8))
    >>> A[3] *= 100
    >>> result = leverage_scores(A, rng=0)
    >>> result.rank, bool(abs(result.scores.sum() - 8) < 1e-12)
    (8, True)
    >>> int(result.scores.argmax()), bool(result.lower[3] > 0.5)
    (3, True)
    """
    return score("leverage_scores", A, 0.0, method, eps, delta, rng)


def score(function: str, A: Any, ridge: float, method: str, eps: float, delta: float, rng: _random.RNG) -> ScoreResult:
    """Check the arguments, choose the method and put its answer into the caller's arrays."""
    method = _checks.choice(function, "method", method, METHODS)
    eps = _checks.real(function, "eps", eps, 0, 1, open=True)
    delta = _checks.real(function, "delta", delta, 0, 1, open=True)
    seed = _random.seed_of(function, rng)
    rows = _rows.enter(function, A)
    with _rows.threads_for(rows):
        rows = rows if ridge else narrowed(rows)
        found = _sketched(rows, ridge, eps, delta, seed) if method == "sketch" else None
        return found or _exact(rows, ridge, seed)


def narrowed(rows: Rows) -> Rows:
    """Replace a matrix with fewer rows than columns by a square one with the same inner products of rows."""
    if rows.blocked or rows.n >= rows.d:
        return rows
    xp, R, width = rows.door.xp, None, max(1024, 4 * rows.n)
    for first in range(0, rows.d, width):
        part = rows.A[:, first : min(first + width, rows.d)]
        part = adjoint(wide(part.toarray() if rows.sparse else part))
        R = _arrays.triangular_factor(part if R is None else xp.concat([R, part]))
    assert R is not None
    rows.check_finite(R)
    return replace(rows, A=adjoint(R)[:, : rows.n], d=min(rows.n, R.shape[0]))


def _exact(rows: Rows, ridge: float, seed: int) -> ScoreResult:
    rows, basis, _ = _basis.begin(rows, seed, ridge)
    basis = _basis.exact(rows, basis, ridge)
    h, error, start = rows.norms(basis.square), basis.error, basis.start
    most, largest = _basis.amplification(start), float(rows.door.xp.max(h))
    if _rounded(most, most, largest) and _rounded(_basis.growth(rows, start, h), most, largest):
        h, error = _basis.fine(rows, start, ridge)
    known = error < 1
    if not known:
        words = f"{rows.function}: A is too ill conditioned, or its sketch failed: nothing is known about the scores"
        warnings.warn(words, ConvergenceWarning, stacklevel=4)
    return _answer(rows, h, 1 / (1 + error), 1 / (1 - error) if known else math.inf, basis.rank, 1.0)


def _rounded(spread: float, condition: float, largest: float) -> bool:
    """Say whether rounding may have cost a relative ACCURACY, and for conditions above GOOD an absolute one."""
    relative = 2 * spread * U
    return relative > ACCURACY and (condition < GOOD or relative * largest > ACCURACY)


def _sketched(rows: Rows, ridge: float, eps: float, delta: float, seed: int) -> ScoreResult | None:
    """Take the triangle of a sketch for that of A; None if A is as small as its sketch."""
    rank = min(rows.n, rows.d)
    rows, basis, height = _basis.begin(rows, seed, ridge, _height(rank, eps, delta))
    if height == 0:
        return None
    h = rows.norms(basis.square) * (1 + eps**2)
    return _answer(rows, h, (1 - eps) ** 2 / (1 + eps**2), (1 + eps) ** 2 / (1 + eps**2), basis.rank, 1 - delta)


def _height(rank: int, eps: float, delta: float) -> int:
    """Rows of a sketch with distortion eps: sqrt(rank / rows) + sqrt(2 log(2 / delta) / rows), the law of Gaussian sketches."""
    return math.ceil(((math.sqrt(rank) + math.sqrt(2 * math.log(2 / delta))) / eps) ** 2)


def _answer(rows: Rows, scores: Array, low: float, high: float, rank: int, confidence: float) -> ScoreResult:
    """Bracket scores by factors; no score is above 1."""
    xp = rows.door.xp
    upper = xp.clip(scores * high, None, 1.0) if math.isfinite(high) else xp.ones_like(scores)
    width = max(high - 1, 1 - low)
    certificate = Certificate(CLAIM, width, confidence, "rounding" if confidence == 1 else "embedding")
    scores = xp.clip(scores, None, 1.0)
    leave = rows.door.leave_wide
    return ScoreResult(leave(scores), leave(scores * low), leave(upper), rank, math.isfinite(high), certificate)
