"""`sample_rows`: a few weighted rows that stand for a tall matrix in the l_p norm."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _checks, _random, _threads
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.sampling import _basis, _rows
from lowrank_la.sampling._leverage import narrowed
from lowrank_la.sampling._rows import Rows
from lowrank_la.sampling._sample_distortion import exact_distortion, found_distortion
from lowrank_la.sampling._sample_draw import Draw, bernoulli_draw, everything, recursive_draw, replacement_draw
from lowrank_la.sampling._sample_scores import SCHEMES, Scores, default_size, find_scores

NAME = "sample_rows"
CERTAIN = "| ||S A x||_2^2 / ||A x||_2^2 - 1 | <= bound for all x"
FOUND = "NOT A GUARANTEE: some x has | ||S A x||_p^p / ||A x||_p^p - 1 | >= bound, the largest that was found"
DOUBLINGS, DRAWS = 6, 4


@dataclass(frozen=True, repr=False)
class RowSample(Result):
    """Rows of a matrix (or of [A b]) that keep ||A x||_p^p = sum_i |a_i^H x|^p up to a distortion.

    Attributes
    ----------
    indices : array (m,), int64
        Rows that were kept, ascending, each once.
    weights : array (m,), float64
        Weights of |a_i^H x|^p, so that the weighted sum has the right expectation; rows are scaled by weights^(1/p).
    probabilities : array (m,), float64
        Chance with which each kept row was kept; with replacement, expected number of its draws. 1 / weights but for repeated draws.
    p : float
        Power of the norm.
    expected_size : float
        Expected number of rows (of draws, with replacement) of the last draw.
    distortion : float
        p = 2: the certified distortion of squared norms. Other p: the largest distortion that was found, a lower bound.
    converged : bool
        The distortion is at most eps.
    certificate : Certificate
        Says which of the two it is.
    """

    indices: Array
    weights: Array
    probabilities: Array
    p: float
    expected_size: float
    distortion: float
    converged: bool
    certificate: Certificate

    def apply(self, A: Any) -> Any:
        """Return the kept rows of a matrix, or entries of a vector, scaled by weights^(1/p).

        Parameters
        ----------
        A : array (n, ...) or sparse matrix (n, d)
            Of the library of the matrix that was sampled.

        Returns
        -------
        array (m, ...) or sparse matrix (m, d)
            In the dtype of A.
        """
        factor = self.weights ** (1 / self.p)
        if _arrays.is_sparse(A):
            rows = A.tocsr()[_arrays.to_numpy(self.indices)]
            return rows.multiply(_arrays.to_numpy(factor)[:, None]).tocsr().astype(rows.dtype)
        xp = _arrays.namespace(A)
        rows = xp.take(A, self.indices, axis=0)
        factor = xp.reshape(factor, (-1, *(1 for _ in A.shape[1:])))
        return xp.astype(factor, rows.dtype) * rows if xp.isdtype(rows.dtype, ("real floating", "complex floating")) else factor * rows


def sample_rows(
    A: Any,
    p: float = 2,
    *,
    b: Array | None = None,
    scores: str | Array = "auto",
    eps: float = 0.25,
    size: int | None = None,
    replace: bool = False,
    rng: _random.RNG = None,
) -> RowSample:
    """Draw rows of a tall matrix, and weights for them, that keep ||A x||_p for all x.

    Rows are kept with chances proportional to scores that say how much they matter; the sample
    is tested afterwards, and drawn anew with twice as many rows until it passes.

    Parameters
    ----------
    A : array (n, d), sparse matrix or row blocks
        Real or complex. Blocks only for the scores "leverage" and "lewis", without b.
    p : float, 1 <= p < inf
        Power of the norm.
    b : array (n,) or (n, k), optional
        Right-hand sides of a regression: the rows of [A b] are sampled, so that ||A x - b||_p is kept too. Scores of A
        alone are not enough for that.
    scores : {"auto", "leverage", "root_leverage", "lewis", "sensitivity", "sens+lev"} or array (n,)
        "auto": "leverage" for p = 2, else "lewis". "root_leverage": leverage^(p/2), in rounds, p < 2. "sensitivity":
        estimates by `lp_sensitivities`. "sens+lev": their sum with leverage scores. An array: nonnegative scores of your own.
    eps : float, 0 < eps < 1
        Distortion of ||A x||_p^p to aim at.
    size : int, 1 <= size, optional
        Expected number of rows, for one draw. By default it follows from eps, and doubles until the test passes.
    replace : bool
        Draw `size` times with replacement instead of keeping each row independently of the others.
    rng : None, int or numpy.random.Generator
        An int gives the same sample on every backend and thread count, unless rounding of a score decides.

    Returns
    -------
    RowSample
        indices, weights, probabilities, p, expected_size, distortion, converged and certificate; `apply` scales rows.

    Raises
    ------
    ValueError
        p, eps or size is out of range, A is empty or not finite, b or scores do not fit A or are negative, "root_leverage"
        comes with p >= 2 or with `replace`, or no draw of the given size had the rank of A.
    TypeError
        A is no matrix of numbers, or row blocks come with b or with scores that need the whole matrix.

    Warns
    -----
    ConvergenceWarning
        The distortion (for p other than 2: what was found of it) is above eps.

    Notes
    -----
    Row i is kept with q_i = min(1, 1/n + score_i / alpha), alpha such that the sum of the q_i is the size. Rows with q_i = 1 are
    always kept; zero rows never. If the size reaches n, all rows are kept and the sample is exact.

    What is guaranteed. For p = 2 the certificate is computed from the sample and always true. For every other p there is no
    efficient test: what you get is a diagnostic, the largest distortion over directions that an ascent has found. It
    catches samples that are too small; it proves nothing. In theory, with a constant chance, these sizes suffice up to
    constants and logarithms: Lewis weights d / eps^2 for p <= 2 and d^(p/2) / eps^2 beyond [1]_; sensitivities of total S
    min(S^(2/p), d^(1-p/2) S) / eps^2 for p < 2 and S^(2-2/p) / eps^2 for p > 2 [2]_ [3]_; leverage scores plus sensitivities
    (S + d) / eps^2 for p <= 2, which is optimal while sensitivities alone are not [4]_, and d^(2/p) S^(2-4/p) / eps^2 for
    p > 2 [2]_. For p > 2 do not count on (S + d) / eps^2, which [2]_ had left open: a counterexample is claimed.

    Cost: the scores (see their functions; "sensitivity" is by far the dearest), one pass for the draw, and a test with some 16
    directions on all rows (p = 2: one Gram matrix of the sample). Memory: vectors (n,), the sample, and with b a copy of [A b].

    References
    ----------
    .. [1] Cohen and Peng, l_p row sampling by Lewis weights, STOC 2015.
    .. [2] Woodruff and Yasuda, Sharper bounds for l_p sensitivity sampling, ICML 2023, arXiv:2306.00732v2. Its result for p < 2
       is subsumed by [3]_, as its second version says.
    .. [3] Chen and Derezinski, Query complexity of least absolute deviation regression via robust uniform convergence, COLT 2021.
    .. [4] Munteanu and Omlor, Optimal bounds for l_p sensitivity sampling via l_2 augmentation, ICML 2024, arXiv:2406.00328.
    .. [5] Drineas, Magdon-Ismail, Mahoney and Woodruff, Fast approximation of matrix coherence and statistical leverage, JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import sample_rows
    >>> A = np.random.default_rng(0).standard_normal((20000, 5))
    >>> sample = sample_rows(A, eps=0.5, rng=0)
    >>> few, x = sample.apply(A), np.ones(5)
    >>> bool(abs(np.sum((few @ x) ** 2) / np.sum((A @ x) ** 2) - 1) <= sample.certificate.bound <= 0.5)
    True
    >>> len(few) < 2000
    True
    """
    p = _checks.real(NAME, "p", p, 1)
    eps = _checks.real(NAME, "eps", eps, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    scheme = _scheme(scores, p, replace)
    matrix = _enter(A, b)
    if matrix.blocked and scheme not in {"leverage", "lewis", "given"}:
        raise TypeError(f"{NAME}: A must be one matrix for scores={scheme!r}; got row blocks")
    with _threads.serial_blas():
        matrix, basis, _ = _basis.begin(narrowed(matrix), seed)
        basis = _basis.exact(matrix, basis)
        found = find_scores(matrix, basis, scheme, scores, p, seed)
        wanted = default_size(found, basis.rank, matrix.n, p, eps) if size is None else _checks.integer(NAME, "size", size, 1)
        doublings = DOUBLINGS if size is None else 0
        turn = -1
        while True:
            turn += 1
            draw = _draw(matrix, basis, found, wanted << turn, p, replace, seed, turn)
            distortion, certificate = _distortion(matrix, basis, draw, p, seed)
            if distortion <= eps or draw.complete or turn == doublings:
                break
    return _answer(matrix, draw, p, eps, distortion, certificate)


def _scheme(scores: Any, p: float, replace: bool) -> str:
    """Settle the kind of scores.

    Raises
    ------
    ValueError
        It is unknown, or does not go with p or `replace`.
    """
    if not isinstance(scores, str):
        return "given"
    scheme = _checks.choice(NAME, "scores", scores, SCHEMES)
    if scheme == "auto":
        return "leverage" if p == 2 else "lewis"
    if scheme == "root_leverage" and (p >= 2 or replace):
        raise ValueError(f"{NAME}: scores='root_leverage' must come with p < 2 and replace=False; got p={p:g}, replace={replace}")
    return scheme


def _enter(A: Any, b: Any) -> Rows:
    """Take A or [A b] inside.

    Raises
    ------
    TypeError
        b is sparse, or A comes in blocks.
    """
    if b is None:
        return _rows.enter(NAME, A)
    if _arrays.is_row_blocks(A) and not _arrays.is_table(A):
        raise TypeError(f"{NAME}: A must be one matrix where b is given; got row blocks")
    door, [inner, c] = _arrays.enter(NAME, A=A, b=b)
    if _arrays.is_sparse(c):
        raise TypeError(f"{NAME}: b must be a dense array; got {type(c).__name__}")
    if "complex" in str(c.dtype) and "complex" not in str(inner.dtype):
        door, [c, inner] = _arrays.enter(NAME, b=b, A=A)
    _checks.not_empty(NAME, "A", _checks.ndim(NAME, "A", inner, 2))
    _checks.rows_like(NAME, "b", _checks.ndim(NAME, "b", c, (1, 2)), inner.shape[0], "A")
    _checks.finite(NAME, "b", c)
    xp = door.xp
    c = xp.reshape(c, (c.shape[0], -1))
    if _arrays.is_sparse(inner):
        from scipy.sparse import csr_array, hstack

        joined = hstack([inner, csr_array(c)], format="csr")
    else:
        joined = xp.concat([inner, c], axis=1)
    return dataclasses.replace(_rows.enter(NAME, joined), door=door)


def _draw(matrix: Rows, basis: _basis.Basis, found: Scores, size: int, p: float, again: bool, seed: int, turn: int) -> Draw:
    """Draw until the sample has the rank of A.

    Raises
    ------
    ValueError
        It never had.
    """
    if size >= matrix.n and not again:
        return everything(matrix)
    for attempt in range(DRAWS):
        if again:
            draw = replacement_draw(found.scores, size, seed, turn * DRAWS + attempt)
        elif found.scheme == "root_leverage":
            draw = recursive_draw(matrix, found.scores, size, p, seed, turn * DRAWS + attempt)
        else:
            draw = bernoulli_draw(found.scores, size, seed, turn * DRAWS + attempt)
        if draw.has_rank(matrix, basis):
            return draw
    raise ValueError(f"{NAME}: size must be large enough for rank {basis.rank}; got {size}, and {DRAWS} draws of lower rank")


def _distortion(matrix: Rows, basis: _basis.Basis, draw: Draw, p: float, seed: int) -> tuple[float, Certificate]:
    if draw.complete:
        return 0.0, Certificate(CERTAIN.replace("_2", f"_{p:g}").replace("^2", f"^{p:g}"), 0.0, 1.0, "all rows")
    if p == 2:
        bound = exact_distortion(matrix, basis, draw)
        return bound, Certificate(CERTAIN, bound, 1.0, "eigenvalues")
    bound = found_distortion(matrix, basis, draw, p, seed)
    return bound, Certificate(FOUND, bound, 1.0, "ascent")


def _answer(matrix: Rows, draw: Draw, p: float, eps: float, distortion: float, certificate: Certificate) -> RowSample:
    leave = matrix.door.leave_wide
    if not distortion <= eps:
        kind = "distortion" if p == 2 else "distortion that was found"
        warnings.warn(f"{NAME}: the {kind}, {distortion:.3g}, is above eps = {eps:g}", ConvergenceWarning, stacklevel=3)
    return RowSample(
        indices=leave(draw.indices),
        weights=leave(draw.weights),
        probabilities=leave(draw.q),
        p=p,
        expected_size=draw.expected,
        distortion=distortion,
        converged=distortion <= eps,
        certificate=certificate,
    )
