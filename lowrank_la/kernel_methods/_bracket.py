"""Bounds on every ridge leverage score of K from the columns of some landmarks S, rounding errors included.

Write psi_i for the feature of row i. Each score is a minimum over coefficients a of all rows,

    ridge tau_i = min_a ||psi_i - sum_j a_j psi_j||^2 + ridge |a|^2,

so that every a gives an upper bound, and scores grow with K (operator monotonicity), so that F F^T <= K gives a lower one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import U, adjoint, defect, eye, gamma, host, residual, wide
from lowrank_la.factor._held import mean_at_most
from lowrank_la.kernel_methods._functions import KernelFunction
from lowrank_la.kernel_methods._gram import Gram

TILE = 1 << 22  # entries of K at a time
NEGLIGIBLE = 1e-3  # share of the ridge below which directions of the landmarks are left out
SPLITS = np.geomspace(1 / 8, 64, 10)  # between what the landmarks miss of a row, and of all rows
PAIRS, SQUARE = (4096, 1 << 15), 64  # entries of what the landmarks miss, drawn for its Frobenius norm; at a time
FAILURE = 0.01
NOISY = 1e-2  # error of 1 - score, relative, from which rounding errors count
ROUGH = 1e3  # roundoff units per row of a negative eigenvalue that passes for zero


@dataclass(frozen=True)
class Bracket:
    """Scores, bounds on them and on their sum, on the host; `failure` is the chance that one of the bounds fails."""

    scores: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    least: float
    most: float
    failure: float


@dataclass(frozen=True)
class _Basis:
    """K_SS ~ V diag(values) V^T, and F = K_S V (values + shift)^(-1/2) with the columns of V from `first` on.

    The shift absorbs rounding errors: it makes F F^T <= K. `distance` bounds how far V diag(values) V^T is from
    K_SS, `entry` the error of an entry.
    """

    V: Array
    values: np.ndarray
    first: int
    shift: float
    distance: float
    entry: float

    @property
    def scales(self) -> np.ndarray:
        """Squares of what the columns of K_S V are divided by."""
        return self.values[self.first :] + self.shift


@dataclass(frozen=True)
class _Pass:
    """What one pass over the rows of K_S gives: F, F^T F, and for each row |f|^2 and the errors of f, and a bound by coefficients on S."""

    F: Array
    G: Array
    squares: np.ndarray
    error: np.ndarray
    through_S: np.ndarray


def widened(gram: Gram) -> Gram:
    """Compute entries in double precision, from points of any."""
    if isinstance(gram.kernel, str) or gram.door.dtype == gram.door.xp.float64:
        return gram
    X = gram.X.astype(np.float64) if _arrays.is_sparse(gram.X) else wide(gram.X)
    return Gram(gram.function, dataclasses.replace(gram.door, dtype=gram.door.xp.float64), X, gram.kernel)


def exact(gram: Gram, ridge: float, random: np.random.Generator) -> Bracket:
    """Bound all scores by a Cholesky factorization of K + ridge I, whose inverse has the diagonal (1 - score_i) / ridge.

    Where rounding errors might hide a hundredth of a score, all rows serve as landmarks instead.

    Raises
    ------
    ValueError
        K + ridge I is not positive definite.
    """
    gram, everything = widened(gram), np.arange(gram.n)
    n, xp, diagonal = gram.n, gram.door.xp, host(gram.diagonal)
    error = (4 * gamma(n + 1, gram.diagonal) * float(np.sum(diagonal + ridge)) + n * _entry(gram)) / ridge
    if error > NOISY:
        return bracket(gram, everything, ridge, random)
    K = wide(gram.block(slice(None), _arrays.from_numpy(everything, gram.diagonal)))
    try:
        R = adjoint(xp.linalg.cholesky((K + adjoint(K)) / 2 + ridge * eye(xp, n, K)))
    except np.linalg.LinAlgError:
        raise ValueError(f"{gram.function}: K must be positive semidefinite; K + {ridge:.6g} I is not") from None
    R_inv = _arrays.solve_triangular(R, eye(xp, n, K))
    rest = ridge * host(xp.sum(R_inv * R_inv, axis=1))
    lower, upper = np.maximum(1 - rest * (1 + error), 0.0), np.maximum(1 - rest * (1 - error), 0.0)
    lower = np.where(diagonal > 0, np.maximum(lower, _least(diagonal, ridge)), 0.0)
    upper = np.maximum(np.minimum(upper, diagonal / (diagonal + ridge) * (1 + 8 * U)), lower)
    return Bracket(np.clip(1 - rest, lower, upper), lower, upper, float(np.sum(lower)), float(np.sum(upper)), 0.0)


def _least(diagonal: np.ndarray, ridge: float) -> np.ndarray:
    """Bound scores from below by K / (||K||_2 + ridge) <= K (K + ridge I)^-1."""
    return diagonal / (np.sum(diagonal) + ridge) * (1 - (diagonal.size + 8) * U)


def bracket(gram: Gram, S: np.ndarray, ridge: float, random: np.random.Generator) -> Bracket:
    """Bound all scores from the columns S of K, in n k numbers and about 5 n k^2 flops."""
    gram = widened(gram)
    columns = _arrays.from_numpy(S, gram.diagonal)
    basis = _decompose(gram, columns, ridge)
    seen = _read(gram, basis, columns, ridge)
    diagonal, lengths = host(gram.diagonal), np.sqrt(seen.squares)
    slack = (8 + basis.values.size) * U * diagonal
    missing = np.maximum(diagonal - np.maximum(lengths - seen.error, 0.0) ** 2 + slack, 0.0)
    surely = np.maximum(diagonal - (lengths + seen.error) ** 2 - slack, 0.0)
    sums = 1 + gamma(gram.n, gram.diagonal)
    trace = float(np.sum(missing)) * sums
    norm, typical, failure = _norm(gram, basis, seen, missing, trace, random)
    ridges = ridge + np.concatenate([[0.0], (1 + 1 / SPLITS) * norm])
    low, high = _scores(gram, seen, ridges, ridge)
    lower = np.max(low[:, :1] / (1 + SPLITS) + surely[:, None] / ridges[1:], axis=1, initial=0.0)
    lower = np.maximum(np.maximum(lower, low[:, 0]), _least(diagonal, ridge))
    upper = np.min((high[:, 1:] * ridges[1:] + (1 + SPLITS) * missing[:, None]) / ridge, axis=1)
    upper = np.minimum(upper, _through(seen, S, diagonal, ridge))
    most = min(float(np.sum(upper)), float(np.sum(high[:, 0])) + trace / (ridge + trace / gram.n)) * sums
    lower = np.minimum(lower, upper)
    scores = np.clip(low[:, 0] + surely / (ridge + typical), lower, upper)  # as if E and F had nothing in common
    return Bracket(scores, lower, upper, float(np.sum(lower)) / sums, most, failure)


def _through(seen: _Pass, S: np.ndarray, diagonal: np.ndarray, ridge: float) -> np.ndarray:
    """Bound each score by that of row i among the rows S and i, and among row i alone."""
    r = seen.through_S
    upper = r / (r + ridge)
    upper[S] = r[S] / ridge
    return np.minimum(upper, diagonal / (diagonal + ridge)) * (1 + 8 * U)


def _decompose(gram: Gram, S: Array, ridge: float) -> _Basis:
    """Leave out directions of K_SS that are negligible beside the ridge, or beside rounding errors.

    Raises
    ------
    ValueError
        K_SS has a negative eigenvalue.
    """
    k = S.shape[0]
    block = wide(gram.block(S, S))
    values, V = gram.door.xp.linalg.eigh((block + adjoint(block)) / 2)
    values, entry = host(values), _entry(gram)
    if values[0] < -(ROUGH * k * _arrays.unit_roundoff(gram.door.xp, gram.door.dtype) * values[-1] + k * entry):
        raise ValueError(f"{gram.function}: K must be positive semidefinite; got an eigenvalue of {values[0]:.6g} of a submatrix")
    values = np.maximum(values, 0.0)
    distance = float(residual(block, V * _arrays.from_numpy(values, block), adjoint(V))) + k * entry
    crooked = float(defect(V))
    shift = (1 + crooked) * distance + (2 + crooked) * crooked * float(values[-1])
    wanted = values > max(NEGLIGIBLE * ridge * k / gram.n, shift)
    return _Basis(V, values, k - int(np.sum(wanted)), shift, distance, entry)


def _entry(gram: Gram) -> float:
    """Bound the rounding error of an entry; those of a caller's matrix or function are what they are."""
    terms = gram.X.shape[1] + 16 if isinstance(gram.kernel, KernelFunction) else 0
    return terms * U * float(gram.door.xp.max(gram.diagonal))


def _read(gram: Gram, basis: _Basis, S: Array, ridge: float) -> _Pass:
    """Compute F and its Gram matrix tile by tile, and k_ii - k_iS (K_SS + ridge I)^-1 k_Si, which coefficients on S alone reach."""
    xp, k, first = gram.door.xp, basis.values.size, basis.first
    V, scale = basis.V, _arrays.from_numpy(np.sqrt(basis.scales), basis.V)
    weights = np.stack([1 / (basis.values + ridge), 1 / (basis.values + ridge) ** 2, np.ones(k), np.zeros(k)], axis=1)
    weights[first:, 3] = 1 / basis.scales
    weights = _arrays.from_numpy(weights, V)
    parts, sums = [], []
    G = xp.zeros((k - first, k - first), dtype=V.dtype, device=V.device)
    for _, tile in _arrays.row_blocks(np.arange(gram.n), max(1, TILE // k)):
        Z = wide(gram.block(_arrays.from_numpy(tile, V), S)) @ V
        sums.append(host((Z * Z) @ weights))
        part = Z[:, first:] / scale
        parts.append(part)
        G = G + adjoint(part) @ part
    reached, coefficients, columns, squares = np.concatenate(sums).T
    diagonal, slip = host(gram.diagonal), gamma(k + 8, V) * np.sqrt(columns) + k**0.5 * basis.entry
    through = diagonal - reached + basis.distance * coefficients + 4 * slip * np.sqrt(coefficients) + gamma(k + 8, V) * diagonal
    error = slip * float(np.sqrt(np.sum(1 / basis.scales))) + gamma(k + 8, V) * np.sqrt(squares)
    return _Pass(xp.concat(parts), G, squares, error, np.maximum(through, 0.0))


def _norm(
    gram: Gram, basis: _Basis, seen: _Pass, missing: np.ndarray, trace: float, random: np.random.Generator
) -> tuple[float, float, float]:
    """Bound the norm of E = K - F F^T by its Frobenius norm, from entries drawn in proportion to E_ii E_jj.

    Return also an estimate of trace(E^2) / trace(E), a typical eigenvalue of E, and the chance to fail. E_ij^2 <= E_ii E_jj, so
    that E_ij^2 / (E_ii E_jj) is in [0, 1] and has the mean ||E||_F^2 / trace(E)^2.
    """
    count = min(max(PAIRS[0], gram.n), PAIRS[1])
    if gram.n**2 <= count or trace <= 0:
        return trace, trace, 0.0
    rows = random.choice(gram.n, (2, count), p=missing / np.sum(missing))
    lengths = np.sqrt(seen.squares)
    entries = np.concatenate([_entries(gram, seen.F, *part) for part in np.split(rows, range(SQUARE, count, SQUARE), axis=1)])
    i, j = rows
    error = seen.error[i] * lengths[j] + seen.error[j] * (lengths[i] + seen.error[i]) + basis.entry
    error = error + gamma(basis.values.size + 8, gram.diagonal) * lengths[i] * lengths[j]
    shares = np.minimum((np.abs(entries) + error) ** 2 / (missing[i] * missing[j]), 1.0)
    return trace * min(1.0, mean_at_most(shares, 1.0, FAILURE) ** 0.5), trace * float(np.mean(shares)), FAILURE


def _entries(gram: Gram, F: Array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Entries of K - F F^T at pairs of rows."""
    xp = gram.door.xp
    i, j = (_arrays.from_numpy(index, F) for index in (rows, columns))
    K = wide(xp.linalg.diagonal(gram.block(i, j)))
    return host(K - xp.sum(xp.take(F, i, axis=0) * xp.take(F, j, axis=0), axis=1))


def _scores(gram: Gram, seen: _Pass, ridges: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Bound the leverage scores f_i^T (F^T F + r I)^-1 f_i of the exact rows of F for several r, the smallest of which is `least`."""
    xp, (n, k) = gram.door.xp, seen.F.shape
    if k == 0:
        return np.zeros((n, ridges.size)), np.zeros((n, ridges.size))
    values, W = xp.linalg.eigh(seen.G)
    values = np.maximum(host(values), 0.0)
    weights, height = _arrays.from_numpy(1 / (values[:, None] + ridges), W), max(1, TILE // k)
    roots = np.sqrt(np.concatenate([host((tile @ W) ** 2 @ weights) for _, tile in _arrays.row_blocks(seen.F, height)]))
    distance = float(residual(seen.G, W * _arrays.from_numpy(values, W), adjoint(W)))
    growth = (distance + gamma(min(n, height) + n // height + 8, W) * float(np.sum(seen.squares))) / least + gamma(16 * k, W)
    shift = float(np.sqrt(np.sum(seen.error**2) / least))
    if max(growth, shift) >= 0.5:  # rounding errors hide everything
        return np.zeros_like(roots), np.full_like(roots, np.inf)
    error = ((seen.error + gamma(k + 8, W) * k**0.5 * np.sqrt(seen.squares)) / least**0.5)[:, None]
    return (np.maximum(roots - error, 0.0) * (1 - shift)) ** 2 / (1 + growth), ((roots + error) / (1 - shift)) ** 2 * (1 + growth)
