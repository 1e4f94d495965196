"""`lp_sensitivities`: the largest share that a row can take of ||A x||_p^p."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.sampling import _basis, _rows
from lowrank_la.sampling._leverage import narrowed
from lowrank_la.sampling._lewis import lewis_weights
from lowrank_la.sampling._rows import Rows
from lowrank_la.sampling._sensitivities_exact import ROUGH, brackets

NAME = "lp_sensitivities"
CLAIM = "upper_i / lower_i - 1 <= bound for every row, lower_i <= s_i <= upper_i"
LEWIS_TOL = 0.05  # any weights give bounds; weights nearer to Lewis's hardly give better ones
LEAST = 1e-14  # of the mean weight: smaller ones are raised to it
PROBLEMS = 2048  # convex programs that "approx" solves at most
SAMPLE = 20  # rows of its sample over d^max(1, p/2) log(2 d)
WIDE = 1e-3  # relative width of a bracket that "exact" must reach


@dataclass(frozen=True, repr=False)
class SensitivityResult(Result):
    """Sensitivities s_i = max_x |a_i^H x|^p / ||A x||_p^p.

    Attributes
    ----------
    scores : array (m,), float64
        Estimates of s_i, between the bounds, for all rows or those asked for.
    lower, upper : array (m,), float64
        lower_i <= s_i <= upper_i.
    total : float
        Estimate of the sum of s_i over all rows of A.
    total_standard_error : float
        Its standard error over the draw of rows; 0 if every row was used.
    rank : int
        Numerical rank of A.
    converged : bool
        The brackets are as narrow as the method promises.
    certificate : Certificate
        Its bound is the largest relative width of a bracket.
    """

    scores: Array
    lower: Array
    upper: Array
    total: float
    total_standard_error: float
    rank: int
    converged: bool
    certificate: Certificate


def lp_sensitivities(A: Any, p: float, *, method: str = "bounds", rows: Array | None = None, rng: _random.RNG = None) -> SensitivityResult:
    """Bracket the l_p sensitivity of each row of a matrix, and estimate their sum.

    The sensitivity of row i is the largest share |a_i^H x|^p / ||A x||_p^p that it can have; rows
    that no sample may miss have sensitivities near 1.

    Parameters
    ----------
    A : array (n, d), sparse matrix or row blocks
        Real or complex.
    p : float, 1 <= p < inf
        Power of the norm.
    method : {"bounds", "approx", "exact"}
        "bounds": brackets from leverage scores and Lewis weights, some passes over A. "exact": a convex program for each row,
        its value between a point and a dual point. "approx": the brackets of "bounds", and estimates from programs on a
        sample of rows; for more than 2048 rows, groups of rows with similar weights share a program.
    rows : integer array (m,), optional
        Only these rows; all by default.
    rng : None, int or numpy.random.Generator
        For sketches and samples; an int gives the same answer on every backend, to rounding.

    Returns
    -------
    SensitivityResult
        scores, lower, upper, total, total_standard_error, rank, converged and certificate.

    Raises
    ------
    ValueError
        p or rows are out of range, A is not 2-dimensional, is empty or not finite.
    TypeError
        A is no matrix of numbers, rows are not integers, or A is a list of row blocks and method is not "bounds".

    Warns
    -----
    ConvergenceWarning
        A is too ill conditioned for any bound, or a program of "exact" left a bracket wider than 0.1%.

    Notes
    -----
    Cost of "bounds": leverage scores and Lewis weights, some 10 passes with 4 n d^2 flops each, and a few programs on a sample
    for the total. Of "exact": 10 to 40 steps of n d^2 flops for each row asked for, matrix products for many rows
    at a time; with p = 1, small linear programs (HiGHS) too. Of "approx": the same with n replaced by a sample of some
    20 d^max(1, p/2) log(2 d) rows, for at most 2048 programs. Memory: "exact" copies A, and needs n d^2 / 2 numbers.

    Certificate (always true): with leverage scores tau and any positive weights w, u_i = |a_i^H (A^H W^(1-2/p) A)^-1 a_i|^(p/2),

    - p <= 2: tau_i^(p/2) n^(p/2-1) <= s_i <= tau_i^(p/2), and s_i <= u_i max_j (u_j / w_j)^(2/p-1);
    - p >= 2: tau_i^(p/2) <= s_i <= tau_i^(p/2) n^(p/2-1), and s_i <= u_i (sum_j w_j)^(p/2-1),

    where Lewis weights have u = w. "exact" replaces them by |a_i^H x|^p / ||A x||_p^p <= s_i <= ||y||_q^p for any x and any y
    with A^H y = a_i. Rounding errors are included. The estimates of "approx" are not certified beyond the brackets.

    References
    ----------
    .. [1] Padmanabhan, Woodruff and Zhang, Computing approximate l_p sensitivities, NeurIPS 2023. Shared programs for groups of
       rows, and the estimate of the total by a draw according to Lewis weights.
    .. [2] Cohen and Peng, l_p row sampling by Lewis weights, STOC 2015. The bounds by Lewis weights.
    .. [3] Woodruff and Yasuda, Sharper bounds for l_p sensitivity sampling, ICML 2023, arXiv:2306.00732. What they are for.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import lp_sensitivities
    >>> A = np.random.default_rng(0).standard_normal((500, 4))
    >>> A[7] *= 1e6
    >>> result = lp_sensitivities(A, 1, method="exact", rows=[0, 7], rng=0)
    >>> bool(result.scores[1] > 0.99) and result.certificate.bound < 1e-3
    True
    """
    p = _checks.real(NAME, "p", p, 1)
    method = _checks.choice(NAME, "method", method, ["bounds", "approx", "exact"])
    seed = _random.seed_of(NAME, rng)
    matrix = _rows.enter(NAME, A)
    if matrix.blocked and method != "bounds":
        raise TypeError(f"{NAME}: A must be one matrix for method={method!r}; got row blocks")
    matrix, basis, _ = _basis.begin(narrowed(matrix), seed)
    basis = _basis.exact(matrix, basis)
    chosen = _chosen(matrix, rows)
    w = _weights(matrix, p, seed)
    lower, upper = _bounds(matrix, basis, w, p, seed)
    if chosen is not None:
        lower, upper = (matrix.door.xp.take(bound, chosen) for bound in (lower, upper))

    small, total, spread = _Small(matrix, basis, w, p, seed), math.nan, 0.0
    scores = (lower * upper) ** 0.5
    if method == "exact" and basis.rank:
        lower, upper, scores = _narrowed(lower, upper, *brackets(small.Q, small.rows(chosen), p, basis.error))
    elif method == "approx" and basis.rank:
        scores = small.approximate(chosen, lower, upper)
    if method == "exact" and chosen is None:
        total = float(matrix.door.xp.sum(scores))
    else:
        total, spread = small.total()
    return _answer(matrix, basis, (scores, lower, upper), total, spread, method)


def _chosen(matrix: Rows, rows: Any) -> Array | None:
    if rows is None:
        return None
    return _checks.ids(NAME, "rows", _checks.ndim(NAME, "rows", _arrays.beside(NAME, "rows", rows, matrix.like), 1), matrix.n)


def _weights(matrix: Rows, p: float, seed: int) -> Array:
    """Approximate Lewis weights, none of them 0."""
    xp = matrix.door.xp
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the bounds hold for any weights
        w = _arrays.beside(NAME, "weights", lewis_weights(matrix.A, p, tol=LEWIS_TOL, rng=seed).scores, matrix.like)
    w = xp.where(xp.isfinite(w), w, xp.ones_like(w))
    return xp.clip(w, min=LEAST * float(xp.mean(w)) + float(np.finfo(float).tiny))


def _bounds(matrix: Rows, basis: _basis.Basis, w: Array, p: float, seed: int) -> tuple[Array, Array]:
    """Bracket all rows by leverage scores and weighted leverage scores."""
    xp, n = matrix.door.xp, matrix.n
    tau, error = matrix.norms(basis.square), basis.error
    heavy = matrix.weighted(w ** (0.5 - 1 / p))
    _, other, _ = _basis.begin(heavy, seed)
    other = _basis.exact(heavy, other)
    if not (error < 1 and other.error < 1):
        return xp.zeros_like(tau), xp.astype(tau >= 0, xp.float64)
    least, most = (tau / (1 + error)) ** (p / 2), (tau / (1 - error)) ** (p / 2)
    u = (heavy.norms(other.square) / (1 - other.error) * w ** (2 / p - 1)) ** (p / 2)
    factor = float(xp.max(u / w)) ** (2 / p - 1) if p <= 2 else float(xp.sum(w)) ** (p / 2 - 1)
    norm = float(n) ** (p / 2 - 1)
    lower, upper = (least * norm, most) if p <= 2 else (least, most * norm)
    by_weights = u * factor * (1 + 1e-12)
    upper = xp.where(by_weights < upper, by_weights, upper)
    return lower, xp.where(upper < 1, upper, xp.ones_like(upper)) * xp.astype(tau > 0, xp.float64)


class _Small:
    """Programs on the host, on A itself or on a sample of its rows, in good coordinates."""

    def __init__(self, matrix: Rows, basis: _basis.Basis, w: Array, p: float, seed: int) -> None:
        self.matrix, self.basis, self.p, self.seed = matrix, basis, p, seed
        self.w = _arrays.to_numpy(w)

    @property
    def Q(self) -> np.ndarray:
        """All rows of A P."""
        return self.rows(None)

    def rows(self, chosen: Array | None) -> np.ndarray:
        """Rows of A P."""
        xp, parts, offset = self.matrix.door.xp, [], 0
        index = None if chosen is None else _arrays.to_numpy(chosen)
        for offset, block, _ in self.matrix.blocks():
            end = offset + block.shape[0]
            here = None if index is None else np.flatnonzero((index >= offset) & (index < end))
            if here is not None:
                local = index[here] - offset  # type: ignore[index]
                block = block[local] if self.matrix.sparse else xp.take(block, _arrays.from_numpy(local, block), axis=0)
            P = self.basis.P
            part = _arrays.to_numpy(block @ P if self.matrix.sparse else xp.astype(block, P.dtype, copy=False) @ P)
            parts.append((here, part))
        if index is None:
            return np.concatenate([part for _, part in parts])
        out = np.empty((index.size, self.basis.rank), dtype=parts[0][1].dtype)
        for here, part in parts:
            out[here] = part
        return out

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a Lewis sample of rows of A P, scaled, in coordinates of its own, and the matrix to these coordinates."""
        d = self.basis.rank
        wanted = SAMPLE * d ** max(1.0, self.p / 2) * math.log(2 * d + 1)
        stream = _random.stream("lp_sensitivities sample")
        index, q = kernels.bernoulli.draw(self.w, wanted / self.w.sum(), 1 / self.w.size, self.seed, stream, 0)
        X = self.rows(_arrays.from_numpy(index, self.matrix.like)) * (q ** (-1 / self.p))[:, None]
        if X.shape[0] < d or np.linalg.matrix_rank(X) < d:
            return self.Q, np.eye(d)
        turn = np.linalg.inv(np.asarray(np.linalg.qr(X, mode="r")))
        return X @ turn, turn

    def approximate(self, chosen: Array | None, lower: Array, upper: Array) -> Array:
        """Estimate sensitivities from a sample, by one program for each group of rows with similar weights."""
        X, turn = self.sample()
        rows = self.rows(chosen) @ turn
        m = rows.shape[0]
        width = -(-m // PROBLEMS)
        w = self.w if chosen is None else self.w[_arrays.to_numpy(chosen)]
        order = np.argsort(w, kind="stable")
        group = np.empty(m, dtype=np.int64)
        group[order] = np.arange(m) // width
        signs = _random.host_generator(self.seed, "lp_sensitivities signs").choice([-1.0, 1.0], m) if width > 1 else np.ones(m)
        mixed = np.zeros((int(group[order[-1]]) + 1, rows.shape[1]), dtype=rows.dtype)
        np.add.at(mixed, group, signs[:, None] * rows)
        low, high = brackets(X, mixed, self.p, 1e-10, ROUGH)
        middle = _arrays.from_numpy(np.sqrt(low * high)[group], self.matrix.like)
        return self.matrix.door.xp.clip(middle, lower, upper)

    def total(self) -> tuple[float, float]:
        """Estimate the sum of all sensitivities by rows drawn according to Lewis weights."""
        d, n = self.basis.rank, self.w.size
        if d == 0:
            return 0.0, 0.0
        count = 4 * math.ceil(math.sqrt(d))
        X, turn = self.sample()
        if n <= 4 * count:
            low, high = brackets(X, self.rows(None) @ turn, self.p, 1e-10, ROUGH)
            return float(np.sum(np.sqrt(low * high))), 0.0
        chance = self.w / self.w.sum()
        drawn = _random.host_generator(self.seed, "lp_sensitivities total").choice(n, count, p=chance)
        low, high = brackets(X, self.rows(_arrays.from_numpy(drawn, self.matrix.like)) @ turn, self.p, 1e-10, ROUGH)
        terms = np.minimum(np.sqrt(low * high), 1.0) / chance[drawn]
        return float(terms.mean()), float(terms.std(ddof=1) / math.sqrt(count))


def _narrowed(lower: Array, upper: Array, low: np.ndarray, high: np.ndarray) -> tuple[Array, Array, Array]:
    """Intersect two brackets; return their middle too."""
    xp = _arrays.namespace(lower)
    low, high = _arrays.from_numpy(low, lower), _arrays.from_numpy(high, lower)
    lower, upper = xp.where(low > lower, low, lower), xp.where(high < upper, high, upper)
    upper = xp.where(upper < lower, lower, upper)
    return lower, upper, (lower * upper) ** 0.5


def _answer(
    matrix: Rows, basis: _basis.Basis, found: tuple[Array, Array, Array], total: float, spread: float, method: str
) -> SensitivityResult:
    xp = matrix.door.xp
    _, lower, upper = found
    safe = xp.where(lower > 0, lower, xp.ones_like(lower))
    width = xp.where(upper > 0, xp.where(lower > 0, upper / safe - 1, xp.full_like(upper, math.inf)), xp.zeros_like(upper))
    bound = float(xp.max(width)) if width.shape[0] else 0.0
    converged = basis.error < 1 and (method != "exact" or bound <= WIDE)
    if not converged:
        what = f"the widest bracket has a relative width of {bound:.2g}" if basis.error < 1 else "A is too ill conditioned for any bound"
        warnings.warn(f"{NAME}: {what}", ConvergenceWarning, stacklevel=3)
    certificate = Certificate(CLAIM, bound, 1.0, "dual points" if method == "exact" else "norm inequalities")
    scores, lower, upper = map(matrix.door.leave_wide, found)
    return SensitivityResult(scores, lower, upper, total, spread, basis.rank, converged, certificate)
