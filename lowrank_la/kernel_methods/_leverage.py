"""`kernel_leverage_scores`: ridge leverage scores of a kernel matrix, between two bounds; and landmarks that are drawn by them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor._dense import host
from lowrank_la.kernel_methods import _bracket, _choice, _gram
from lowrank_la.kernel_methods._bracket import Bracket
from lowrank_la.kernel_methods._choice import Subset
from lowrank_la.kernel_methods._functions import KernelLike
from lowrank_la.kernel_methods._gram import Gram

NAME = "kernel_leverage_scores"
METHODS = ("auto", "exact", "recursive", "bless")
CLAIM = "lower_i <= score of row i <= upper_i <= (1 + bound) lower_i for all i, and the effective dimension is between its bounds"
SMALL = 2000  # rows up to which all of K is factored
WIDEST = 10.0  # ratio of bounds of a result that counts as converged
OVERSAMPLE = 4.0  # chance of a landmark over its score


@dataclass(frozen=True, repr=False)
class KernelScoreResult(Result):
    """A ridge leverage score for each row of a kernel matrix, between two bounds.

    Attributes
    ----------
    scores : array (n,), float64
        Estimates between the bounds, or the scores themselves, but for rounding, with method "exact".
    lower, upper : array (n,), float64
        lower_i <= exact score of row i <= upper_i, with the confidence of the certificate.
    effective_dimension : float
        Sum of the scores, which estimates trace(K (K + ridge I)^-1).
    dimension_lower, dimension_upper : float
        Bounds on it; closer than the sums of the bounds.
    landmarks : array (k,), int64
        Rows whose columns of K were used; all of them with method "exact".
    method : str
        "exact", "recursive" or "bless".
    converged : bool
        Whether no score has bounds more than a factor of 10 apart.
    certificate : Certificate
        Its bound is the largest upper_i / lower_i - 1.
    """

    scores: Array
    lower: Array
    upper: Array
    effective_dimension: float
    dimension_lower: float
    dimension_upper: float
    landmarks: Array
    method: str
    converged: bool
    certificate: Certificate


def kernel_leverage_scores(
    X: Array, *, kernel: KernelLike = "rbf", ridge: float, method: str = "auto", oversample: float = OVERSAMPLE, rng: _random.RNG = None
) -> KernelScoreResult:
    """Find the ridge leverage score of every row of a kernel matrix, between two bounds.

    The score of row i is the diagonal entry of K (K + ridge I)^-1: how much the fit of a kernel ridge regression at point i
    depends on the label of that point. Outliers have scores near 1, points with many like them small ones.

    Parameters
    ----------
    X : array (n, d), or the kernel matrix (n, n) if kernel is "precomputed"
        Points; real.
    kernel : {"rbf", "laplace", "matern", "polynomial", "linear", "cosine", "precomputed"}, KernelFunction or callable
        As for `nystrom`.
    ridge : float, ridge > 0
        In the units of K; n lambda of some papers.
    method : {"auto", "exact", "recursive", "bless"}
        "exact": from all of K. "recursive": from landmarks drawn by recursive halving. "bless": along a path of
        ridges. "auto": "exact" up to 2000 rows, then "bless".
    oversample : float, oversample >= 1
        Landmarks per unit of the effective dimension, about. More of them: closer bounds.
    rng : None, int or numpy.random.Generator
        An int gives the same landmarks on every backend, to rounding.

    Returns
    -------
    KernelScoreResult
        scores, lower, upper, effective_dimension, dimension_lower, dimension_upper, landmarks, method, converged and certificate.

    Raises
    ------
    ValueError
        X is empty or not finite, K is not positive semidefinite (as far as it was looked at), or an argument is out of range.
    TypeError
        X is complex or no array of numbers, or an argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The bounds of some score are more than a factor of 10 apart.

    See Also
    --------
    lowrank_la.ridge_leverage_scores : The same for the rows of a matrix A, with K = A A^H.

    Notes
    -----
    Cost, with k landmarks: n k kernel entries and about 5 n k^2 flops for the bounds, and n k^2 to choose the landmarks
    ("bless"; 2 n k^2 "recursive"). Memory: n k numbers. "exact": n^2 numbers and 4 n^3 / 3 flops.

    Certificate. The columns of the landmarks S give F with F F^T <= K, and E = K - F F^T is known on its diagonal. Let
    t_i(r) = f_i^T (F^T F + r I)^-1 f_i and e >= ||E||_2. Then for all s > 0

        t_i(ridge) / (1 + s) + E_ii / r  <=  score_i  <=  (r t_i(r) + (1 + s) E_ii) / ridge,   r = ridge + (1 + 1/s) e:

    ridge score_i is the least ||psi_i - sum_j a_j psi_j||^2 + ridge |a|^2 over coefficients of the features psi, and score_i
    the largest <psi_i, v>^2 / (sum_j <psi_j, v>^2 + ridge |v|^2); put in the coefficients of F for the first, and for the
    second the sum of a vector in the span of S and one outside it. Besides, t_i(ridge) <= score_i, and score_i is at most that
    of row i among S and i alone. The best of these bounds counts. For e serves the Frobenius norm of E, bounded with
    probability 0.99 from up to 32768 of its entries, drawn in proportion to E_ii E_jj. Rounding errors of all steps are
    bounded and included; entries of K are taken to be right to d + 16 roundoff units of its largest one. "exact" always holds.

    The estimate of a score is t_i(ridge) + E_ii / (ridge + m), with trace(E^2) / trace(E) for m, as if E and F had nothing in
    common.

    References
    ----------
    .. [1] Musco and Musco, Recursive sampling for the Nystrom method, NeurIPS 2017. Method "recursive".
    .. [2] Rudi, Calandriello, Carratino and Rosasco, On fast leverage score sampling and optimal learning,
       NeurIPS 2018. Method "bless".
    .. [3] Alaoui and Mahoney, Fast randomized kernel ridge regression with statistical guarantees, NeurIPS 2015.
       Ridge leverage scores and the effective dimension.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.kernel_methods import RBF, kernel_leverage_scores
    >>> X = np.random.default_rng(0).standard_normal((3000, 2))
    >>> X[7] = 9.0
    >>> result = kernel_leverage_scores(X, kernel=RBF(1.0), ridge=1.0, rng=0)
    >>> int(np.argmax(result.scores)), bool(result.lower[7] > 0.4)
    (7, True)
    >>> len(result.landmarks) < 400, bool(result.certificate.bound < 1)
    (True, True)
    """
    seed = _random.seed_of(NAME, rng)
    ridge = _checks.real(NAME, "ridge", ridge, 0, open=True)
    method = _checks.choice(NAME, "method", method, METHODS)
    oversample = _checks.real(NAME, "oversample", oversample, 1)
    gram = _gram.enter(NAME, X, kernel, seed)
    if method == "auto":
        method = "exact" if gram.n <= SMALL else "bless"
    random = _random.host_generator(seed, f"{NAME}: {method}")
    if method == "exact":
        return _answer(gram, np.arange(gram.n), _bracket.exact(gram, ridge, random), method)
    S = np.sort(_drawn(gram, ridge, method, oversample, random))
    return _answer(gram, S, _bracket.bracket(gram, S, ridge, random), method)


def _drawn(gram: Gram, ridge: float, method: str, oversample: float, random: np.random.Generator) -> np.ndarray:
    """Draw landmarks with about `oversample` times their score for a chance; at least one."""
    alive = np.flatnonzero(host(gram.diagonal) > 0)
    if alive.size == 0:
        return np.zeros(1, np.int64)
    with _choice.undisturbed(gram):
        if method == "bless":
            return _choice.path(gram, random, oversample, ridge=ridge)[0].rows
        subset, _ = _choice.halving(gram, random, oversample, ridge=ridge)
        chance = oversample * _choice.residuals(gram, alive, subset, ridge) / ridge
    chosen = alive[random.random(alive.size) < chance]
    return chosen if chosen.size else alive[np.argmax(chance)][None]


def _answer(gram: Gram, S: np.ndarray, found: Bracket, method: str) -> KernelScoreResult:
    with np.errstate(divide="ignore", invalid="ignore"):
        width = float(np.max(np.where(found.upper > 0, found.upper / found.lower - 1, 0.0)))
    certificate = Certificate(CLAIM, width, 1 - found.failure, "rounding" if method == "exact" else f"{S.size} landmarks")
    dimension = min(max(float(np.sum(found.scores)), found.least), found.most)

    def leave(x: np.ndarray) -> Array:
        return gram.door.leave_wide(_arrays.from_numpy(x, gram.diagonal))

    bounds = leave(found.scores), leave(found.lower), leave(found.upper)
    converged = width <= WIDEST - 1
    if not converged:
        words = f"{NAME}: bounds of a score are a factor of {width + 1:.2g} apart; raise ridge or oversample, or use method='exact'"
        warnings.warn(words, ConvergenceWarning, stacklevel=3)
    return KernelScoreResult(*bounds, dimension, found.least, found.most, leave(S), method, converged, certificate)


def landmarks(gram: Gram, rank: int, method: str, seed: int) -> np.ndarray:
    """Draw `rank` rows, or all with a positive diagonal entry if there are fewer, by estimated ridge leverage scores.

    "rls": recursive halving, 2 n rank^2 flops. "bless": a path of ridges, whose last candidates need not be all rows.
    """
    random = _random.host_generator(seed, f"landmarks: {method}")
    alive = np.flatnonzero(host(gram.diagonal) > 0)
    if alive.size <= rank:
        return alive
    with _choice.undisturbed(gram):
        if method == "rls":
            subset, ridge = _choice.halving(gram, random, OVERSAMPLE, size=rank)
            candidates = Subset(alive, np.minimum(_choice.residuals(gram, alive, subset, ridge), ridge))
        else:
            candidates = _choice.path(gram, random, OVERSAMPLE, size=rank)[1]
    chosen = _choice.without_replacement(candidates.rows, candidates.p, rank, random)
    if chosen.size < rank:  # the path ended first: K has about this rank
        others = np.setdiff1d(alive, chosen)
        chosen = np.concatenate([chosen, random.permutation(others)[: rank - chosen.size]])
    return chosen
