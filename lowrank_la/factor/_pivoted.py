"""Choosing columns of a short matrix Y (l, c), on the host in double precision.

Every rule returns k distinct indices in the order of choice. What it does is invariant under
Y -> Q Y for orthonormal Q, so that Y may be the triangular factor of a tall matrix, or a sketch of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STRONG = 2.0  # bound on the coefficients of a strong rank-revealing QR
MAX_SWAPS = 10  # times the columns to choose
FADED = 1e-8  # share of squared norms below which they are computed again
EXHAUSTED = 1e-28  # share of its first energy below which what is left of a column is rounding error


def pivoted_qr(Y: np.ndarray, k: int, goal: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Take the column with the largest remainder, up to k times, or until ||remainder||_F^2 <= goal.

    Returns
    -------
    tuple of array (j,) and array (j + 1,)
        The columns, and the squared norm that is left with the first 0, 1, 2, ..., j of them.
    """
    return _eliminate(Y, k, lambda rest: int(np.argmax(rest)), goal)


def greedy(Y: np.ndarray, k: int) -> np.ndarray:
    """Take k columns by pivoted QR, any others where fewer span them all."""
    return _filled(pivoted_qr(Y, k)[0], k, Y.shape[1])


def random_pivots(Y: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Draw columns one by one, each with probability proportional to its squared remainder: RPCholesky on Y^H Y."""
    return _filled(_eliminate(Y, k, lambda rest: int(random.choice(rest.size, p=rest / rest.sum())))[0], k, Y.shape[1])


def _eliminate(Y: np.ndarray, k: int, pick: Callable[[np.ndarray], int], goal: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Pick columns by the squared norms of their remainders, and project on what is orthogonal to them.

    Norms are updated by subtraction, and Y itself is projected only when they have lost half of their
    digits: a product with one vector for each column, where QR needs one for each row, twice.
    """
    first = rest = np.sum(np.abs(Y) ** 2, axis=0)
    Q, tails, fresh = np.empty((Y.shape[0], k), dtype=Y.dtype), [float(rest.sum())], rest.max()
    chosen, spent = [], []
    while len(chosen) < k and tails[-1] > goal:
        done, j = Q[:, : len(chosen)], pick(rest)
        q = _orthogonal(Y[:, j], done)
        spent.append(j)
        if np.vdot(q, q).real > EXHAUSTED * first[j]:
            Q[:, len(chosen)] = q = q / np.linalg.norm(q)
            chosen.append(j)
            rest = np.maximum(rest - np.abs(q.conj() @ Y) ** 2, 0.0)
            tails.append(0.0)
        if rest.max() < FADED * fresh:
            Y = _orthogonal(Y, Q[:, : len(chosen)])
            rest = np.sum(np.abs(Y) ** 2, axis=0)
            rest[rest <= EXHAUSTED * first] = 0.0
            fresh = rest.max()
        rest[spent] = 0.0
        tails[-1] = float(rest.sum())
    return np.array(chosen, dtype=np.int64), np.array(tails)


def _orthogonal(y: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Remove what lies in the span of Q, twice, because the first time leaves rounding errors of the size of y."""
    for _ in range(2):
        y = y - Q @ (Q.conj().T @ y)
    return y


def strong(Y: np.ndarray, k: int, start: np.ndarray | None = None) -> np.ndarray:
    """Swap columns of a pivoted QR until none of the coefficients Y_J^+ Y is above 2 (Gu and Eisenstat, 1996).

    A swap multiplies the volume of the chosen columns by sqrt(|X_ij|^2 + |E_j|^2 |row i of Y_J^+|^2), where
    X are the coefficients and E is the remainder; they end when no swap gains a factor of 2.
    """
    state = _Basis(Y, greedy(Y, k) if start is None else start[:k])
    for _ in range(MAX_SWAPS * k):
        gain = state.gains()
        i, j = np.unravel_index(np.argmax(gain), gain.shape)
        if gain[i, j] <= STRONG**2:
            break
        state.swap(int(i), int(j))
    return state.chosen


def largest_gain(Y: np.ndarray, chosen: np.ndarray) -> float:
    """Largest squared growth of the volume of the chosen columns by one swap; inf if they depend on each other."""
    state = _Basis(Y, chosen)
    return float(state.gains().max()) if state.rank == chosen.size else np.inf


class _Basis:
    """Chosen columns C = Y_J with X = C^+ Y, E = Y - C X and G = (C^H C)^-1, kept current at O((k + l) c) per swap."""

    def __init__(self, Y: np.ndarray, chosen: np.ndarray) -> None:
        self.Y, self.chosen = Y, chosen.copy()
        Q, R = np.linalg.qr(Y[:, chosen])
        size = np.abs(np.diagonal(R))
        self.rank = int(np.sum(np.cumprod(size > max(Y.shape) * np.finfo(float).eps * size.max(initial=0.0))))
        Q, inverse = Q[:, : self.rank], np.linalg.inv(R[: self.rank, : self.rank])
        B = Q.conj().T @ Y
        self.X, self.E, self.G = inverse @ B, Y - Q @ B, inverse @ inverse.conj().T

    def gains(self) -> np.ndarray:
        """Squared growth of the volume, for the swap of each chosen column (row) for each column; nothing to gain for chosen ones."""
        if not self.rank:
            return np.zeros((1, 1))
        remainder = np.sum(np.abs(self.E) ** 2, axis=0)
        gain = np.abs(self.X) ** 2 + np.diagonal(self.G).real[:, None] * remainder
        gain[:, self.chosen] = 0.0
        return gain

    def swap(self, i: int, j: int) -> None:
        """Replace the i-th chosen column by column j of Y, by updates of rank two."""
        X, E, G = self.X, self.E, self.G
        width = np.sqrt(G[i, i].real)  # 1 / distance of column i from the span of the other chosen ones
        direction = self.Y[:, self.chosen[: self.rank]] @ (G[:, i] / width)
        along = X[i] / width  # what each column has in that direction, which becomes free
        new = direction * along[j] + E[:, j]
        size = float(np.vdot(new, new).real)
        share = (np.conj(along[j]) * along + E[:, j].conj() @ E) / size
        self.E = E + np.outer(direction, along) - np.outer(new, share)
        loss = G[:, i] / G[i, i]
        cover = X[:, j] - X[i, j] * loss  # coefficients of the new column on the ones that stay
        self.X = X - np.outer(loss, X[i]) - np.outer(cover, share)
        self.X[i] = share
        cover[i] = -1.0
        self.G = G - np.outer(loss, G[i])
        self.G[i, :] = self.G[:, i] = 0.0
        self.G += np.outer(cover, cover.conj()) / size
        self.chosen[i] = j


def deim(V: np.ndarray, k: int) -> np.ndarray:
    """Take the largest entry of what each column of V (c, k) adds to the ones before: partial pivoting."""
    from scipy.linalg import lu_factor

    order = np.arange(V.shape[0])
    for i, pivot in enumerate(lu_factor(V, check_finite=False)[1]):
        order[[i, pivot]] = order[[pivot, i]]
    return order[:k]


def leverage(V: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Draw k rows of V (c, k) without replacement, with probabilities proportional to their squared norms."""
    scores = np.sum(np.abs(V) ** 2, axis=1)
    possible = int(np.count_nonzero(scores))
    chosen = random.choice(scores.size, size=min(k, possible), replace=False, p=scores / scores.sum()) if possible else []
    return _filled(np.asarray(chosen, dtype=np.int64), k, scores.size)


def osinsky(V: np.ndarray, Z: np.ndarray, k: int) -> np.ndarray:
    """Choose columns of A = W V^H + Z, where Z V = 0, so that W V^H + Z is met up to sqrt(k + 1) ||Z||_F.

    Each step takes the column whose remainder is smallest beside its share of the basis, and
    clears the basis and the remainder of it; Z (m, c) may be any matrix with the Gram matrix of the remainder.
    """
    basis, rest, chosen = V.conj().T.copy(), Z.astype(np.result_type(Z.dtype, np.float64)), []
    for _ in range(k):
        share = np.sum(np.abs(basis) ** 2, axis=0)
        share[chosen] = 0.0
        cost = np.sum(np.abs(rest) ** 2, axis=0)
        ratio = np.divide(cost, share, out=np.full(cost.size, np.inf), where=share > EXHAUSTED)
        least = ratio.min()  # among equals, as where nothing remains at all, the largest share
        j = int(np.argmax(np.where(ratio <= least, share, -1.0)))
        chosen.append(j)
        unit = basis[:, j] / np.sqrt(share[j])
        row = unit.conj() @ basis
        rest = rest - np.outer(rest[:, j], row / row[j])
        basis = basis - np.outer(unit, row)
    return np.array(chosen, dtype=np.int64)


def _filled(chosen: np.ndarray, k: int, c: int) -> np.ndarray:
    """Append columns that were not chosen, where fewer than k are needed to span all of them."""
    if chosen.size == k:
        return chosen
    others = np.setdiff1d(np.arange(c), chosen)
    return np.concatenate([chosen, others[: k - chosen.size]])
