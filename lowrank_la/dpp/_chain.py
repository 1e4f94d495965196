"""Projection determinantal point processes by the chain rule: rows of a matrix, or points of a continuous domain.

Law. Let rows q_j of Q (N, m) be proposed with probabilities proportional to k_j = ||q_j||^2 and accepted with probability
||q_j - P q_j||^2 / k_j, P the projection onto the rows that are accepted already. Whatever came before, the next
accepted row is then j with probability ||q_j - P q_j||^2 / sum_l ||q_l - P q_l||^2, and the product of these over a sample S is
|det Q_S|^2 over a constant: the projection process, in an order that is uniform among all orders of S. Proposals do not depend on
earlier decisions, so that they may be drawn and multiplied in blocks, as long as each decision uses all earlier ones.
"""

from __future__ import annotations

import math

import numpy as np

from lowrank_la import _arrays, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.dpp import _tridiagonal
from lowrank_la.dpp._bases import Basis
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import U

STREAMS = _random.stream("dpp items"), _random.stream("dpp columns")
CAP = 150  # proposals per row of a sample; one that needs more has a chance of exp(-CAP) at its last step
STATE_BYTES = 1 << 26  # samples of points that are drawn together


def rows(Q: Array, repeats: int, seed: int, cap: int = CAP) -> tuple[np.ndarray, int]:
    """Draw samples of m rows of Q (N, m), whose columns are orthonormal; returns (indices (repeats, m), number of proposals)."""
    Q = _on_engine(Q)
    xp, m = _arrays.namespace(Q), Q.shape[1]
    squares = xp.vecdot(Q, Q)
    shares = _dense.host(xp.real(squares) if _dense.is_complex(Q) else squares)
    return _drawn(Q, shares[None, :], np.arange(m)[None, :], np.full(repeats, m), seed, cap)


def selected(V: Array, columns: np.ndarray, sizes: np.ndarray, seed: int, cap: int = CAP) -> tuple[np.ndarray, int]:
    """Draw for each r a sample of sizes[r] rows of V[:, columns[r, :sizes[r]]]; returns (indices, -1 beyond sizes; proposals)."""
    V = _on_engine(V)
    return _drawn(V, _dense.host(_arrays.namespace(V).abs(V) ** 2).T, columns, sizes, seed, cap)


def _on_engine(Q: Array) -> Array:
    """Bring a matrix in double precision to where a compiled kernel reads it."""
    Q = _dense.wide(Q)
    return _arrays.to_numpy(Q) if _arrays.engine_of(Q) == "reference" else Q


def _drawn(Q: Array, weights: np.ndarray, columns: np.ndarray, sizes: np.ndarray, seed: int, cap: int) -> tuple[np.ndarray, int]:
    host = (*kernels._alias.tables(weights), columns, sizes)
    drawn, attempts = kernels.dpp_chain.rows(Q, *(_arrays.from_numpy(part, Q) for part in host), seed, STREAMS, cap)
    drawn, attempts = _arrays.to_numpy(drawn), int(_arrays.to_numpy(attempts).sum())
    generator = _random.host_generator(seed, "dpp rest")
    for r in np.flatnonzero((drawn >= 0).sum(axis=1) < sizes):
        _complete(_arrays.to_numpy(Q)[:, columns[min(r, columns.shape[0] - 1), : sizes[r]]], drawn[r], generator)
    return drawn, attempts


def _complete(Q: np.ndarray, drawn: np.ndarray, generator: np.random.Generator) -> None:
    """Draw the missing rows of a sample from their exact conditional laws, N m flops each after N m^2."""
    m = Q.shape[1]
    known = int((drawn >= 0).sum())
    C = np.linalg.qr(Q[drawn[:known]].conj().T, mode="complete")[0][:, known:]
    Y = Q @ C
    for i in range(known, m):
        shares = np.sum(np.abs(Y) ** 2, axis=1)
        shares[drawn[:i]] = 0.0
        steps = np.cumsum(shares)
        drawn[i] = np.searchsorted(steps, generator.random() * steps[-1], side="right")
        y = Y[drawn[i]] / np.linalg.norm(Y[drawn[i]])
        Y -= np.outer(Y @ y.conj(), y)


def points(basis: Basis, repeats: int, seed: int, cap: int = CAP) -> tuple[np.ndarray, int]:
    """Draw samples of m points (repeats, m, dim), or of m indices (repeats, m) where the basis is discrete.

    Returns (points, number of proposals); classical polynomials of one variable need no proposals.

    Raises
    ------
    ValueError
        A sample got stuck: the functions depend on each other.
    """
    if _tridiagonal.applies(basis):
        return _tridiagonal.points(basis, repeats, _random.host_generator(seed, "dpp tridiagonal")), 0
    return rejection(basis, repeats, seed, cap)


def rejection(basis: Basis, repeats: int, seed: int, cap: int = CAP) -> tuple[np.ndarray, int]:
    """Draw samples by proposals from nu, those of some samples at a time.

    Raises
    ------
    ValueError
        A sample got stuck.
    """
    together = max(1, STATE_BYTES // (32 * basis.size**2))
    parts, proposals = [], 0
    for first in range(0, repeats, together):
        generator = _random.host_generator(seed, f"dpp points {first}")
        part, tried = _points(basis, min(together, repeats - first), generator, cap)
        parts.append(part)
        proposals += tried
    return np.concatenate(parts), proposals


def _points(basis: Basis, samples: int, generator: np.random.Generator, cap: int) -> tuple[np.ndarray, int]:
    m, chain = basis.size, kernels.dpp_chain
    pair = 2 if np.iscomplexobj(basis.unit(basis.draw(1, generator))[0]) else 1
    C, left = chain.states(samples, pair * m), np.full(samples, pair * m)
    kept, owners, tried = [], [], np.zeros(samples, np.int64)
    while left.any():
        stuck = (left > 0) & (tried >= cap * m)
        if stuck.any():
            raise ValueError(
                f"sample_dpp: basis must have independent functions; got {m} that leave no point after {tried.max()} proposals"
            )
        starts = np.concatenate([[0], np.cumsum(chain.block_sizes(pair * m, left, pair))])
        x = basis.draw(int(starts[-1]), generator)
        accepted, decided = chain.advance(basis.unit(x)[0], generator.random(x.shape[0]), starts, C, left)
        kept.append(x[accepted])
        owners.append(np.searchsorted(starts, np.flatnonzero(accepted), side="right") - 1)
        tried += decided
    order = np.argsort(np.concatenate(owners), kind="stable")
    x = np.concatenate(kept)[order]
    return x.reshape(samples, m, *x.shape[1:]), int(tried.sum())


def law_bound(m: int, items: int, defect: float) -> float:
    """Bound the total variation distance between the law of a sample of `rows` and the process of the span of Q.

    With ||Q^H Q - I|| <= defect < 1, the probabilities of an ordered sample under both laws differ by a factor
    between r and 1 / r, r = ((1 + defect) / (1 - defect))^m. Rounding perturbs accepted rows, of length 1, by 8 m units each; the
    projection moves by that times ||X^+||, X the i rows so far, whose mean square is at most m i / (m - i + 1), and an error e in
    each probability of acceptance at step i + 1 moves the law by at most e m / (m - i). Tables round N probabilities.
    """
    if m == 0:
        return 0.0
    if not defect < 1:
        return 1.0
    i = np.arange(m)
    share = m / (m - i)
    steps = 2 * 8 * m**1.5 * np.sqrt(m * i / (m - i + 1)) + 4 * (m + 8) + 2 * items
    ratio = m * (math.log1p(defect) - math.log1p(-defect))
    return min(1.0, math.expm1(min(ratio, 1.0)) / 2 + float(share @ steps) * U)
