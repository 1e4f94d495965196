"""Moves of one atom each, which lower the evidence's cost plus a price for each atom in use; the noise is minimised over exactly.

Variances h are relative to that of the noise: C = noise (I + A diag(h) A^H). With E = trace of (I + A diag(h) A^H)^-1 Y Y^H the cost
is L log det(I + A diag(h) A^H) + M L log noise + E / noise, which is least at noise = E / (M L).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.sbl._columns import columns, rows, scattered, used
from lowrank_la.sbl._em import Prior
from lowrank_la.sbl._problem import Problem

FEW = 4  # atoms that do not pay are dropped one by one if there are no more
MOST = 1 - 1e-12  # share of an atom's direction that its prior explains, at most


@dataclass(frozen=True)
class State:
    """Atoms in use, and what their prior variances lead to.

    Attributes
    ----------
    atoms : tuple of int
        Indices of the k atoms in use.
    h : array (k,)
        Prior variances over that of the noise.
    B : array (N, k)
        Products of all columns with those in use.
    inverse : array (k, k)
        Posterior covariance over the variance of the noise.
    mean : array (k, L)
        Posterior means.
    left : float
        E, see above.
    noise : float
        Variance of the noise, given or the best one.
    score : float
        Cost plus the price of the atoms.
    """

    atoms: tuple[int, ...]
    h: Array
    B: Array
    inverse: Array
    mean: Array
    left: float
    noise: float
    score: float


@dataclass(frozen=True)
class End:
    """Where moves ended, the scores before each and after the last, and by how much the best of the next would lower it."""

    state: State
    scores: tuple[float, ...]
    fall: float


class Search:
    """Moves for a problem; `noise` is None if it is to be learnt.

    The price of an atom is what the best of N atoms lowers the cost by explaining pure noise: 2 log(N + 1), half of it for complex
    data, whose cost is half as large.
    """

    def __init__(self, problem: Problem, noise: float | None) -> None:
        self.A, self.L, self.M = problem.A[0], problem.snapshots, problem.size
        self.b = _dense.adjoint(self.A) @ problem.Y
        self.alive = problem.alive[0]
        self.known = None if noise is None else max(noise, problem.floor)
        spared = 0.0 if noise is not None else self.M * self.L * problem.floor  # keeps the best noise above its floor
        self.energy = problem.energy + spared
        self.price = (1 if _dense.is_complex(self.A) else 2) * math.log(self.A.shape[1] + 1)

    def start(self, prior: Prior) -> State:
        """Return the state of prior variances, without most of the atoms that do not pay, of which half are dropped at a time."""
        atoms = used(prior.g)
        state = self._state(tuple(atoms), rows(prior.g, atoms) / prior.noise, _dense.adjoint(self.A) @ columns(self.A, atoms))
        while state.atoms:
            change, h = (_arrays.to_numpy(x) for x in self._revised(state))
            poor = np.flatnonzero(h == 0)
            if len(poor) <= FEW:
                break
            worst = set(poor[np.argsort(-change[poor])][: len(poor) // 2].tolist())
            state = self._kept(state, [i for i in range(len(state.atoms)) if i not in worst])
        return state

    def path(self) -> State:
        """Take up atoms one after the other, whether they pay or not, and return the state with the best score."""
        xp = _arrays.namespace(self.A)
        state = best = self._state((), xp.zeros_like(xp.abs(self.b[:0, 0])), self.b[:, :0])
        while len(state.atoms) < min(self.A.shape[1], self.M // 2):
            k, u, h = self._strongest(state)
            if u <= 0:
                break
            grown = xp.concat([self._second_moments(state), h])
            state = self._state((*state.atoms, k), grown, xp.concat([state.B, self._products(k)], axis=1))
            best = min(best, state, key=_score)
        return best

    def improve(self, state: State, *, tol: float, max_iter: int) -> End:
        """Make the move that lowers the score most until none does by more than `tol`."""
        scores = [state.score]
        fall, move = self._best_move(state)
        while fall > tol and len(scores) <= max_iter:
            state = move()
            scores.append(state.score)
            fall, move = self._best_move(state)
        return End(state, tuple(scores), fall)

    def prior(self, state: State) -> Prior:
        """Return the prior variances of a state."""
        return Prior(scattered(state.h * state.noise, state.atoms, self.A.shape[1]), state.noise)

    def _state(self, atoms: tuple[int, ...], h: Array, B: Array) -> State:
        xp, k = _arrays.namespace(h), len(atoms)
        b = rows(self.b, atoms)
        inverse = xp.linalg.inv(rows(B, atoms) + _dense.eye(xp, k, self.A) / h)
        mean = inverse @ b
        left = max(self.energy - float(xp.sum(xp.real(_dense.conj(b) * mean))), 1e-15 * self.energy)
        noise = left / (self.M * self.L) if self.known is None else self.known
        logs = float(xp.sum(xp.log(h))) - float(xp.linalg.slogdet(inverse)[1]) if k else 0.0
        return State(atoms, h, B, inverse, mean, left, noise, self.L * (logs + self.M * math.log(noise)) + left / noise + self.price * k)

    def _products(self, k: int) -> Array:
        return _dense.adjoint(self.A) @ self.A[:, k : k + 1]

    def _second_moments(self, state: State) -> Array:
        """Return the posterior second moments of the atoms in use: a step of expectation-maximisation."""
        xp = _arrays.namespace(state.h)
        return self._variances(state) + xp.mean(xp.abs(state.mean) ** 2, axis=1) / state.noise

    def _variances(self, state: State) -> Array:
        xp = _arrays.namespace(state.h)
        return xp.real(xp.linalg.diagonal(state.inverse))

    def _unused(self, state: State) -> tuple[Array, Array]:
        """Return s = a^H C^-1 a and p = |a^H C^-1 Y|^2 of all atoms, with noise 1; s = 0 for those in use, or zero."""
        xp = _arrays.namespace(self.A)
        s = 1 - xp.sum(xp.real(state.B @ state.inverse * _dense.conj(state.B)), axis=1)
        taken = scattered(xp.ones_like(state.h), state.atoms, self.A.shape[1]) > 0
        s = xp.where(self.alive & ~taken & (s > 1e-10), s, xp.zeros_like(s))
        return s, xp.sum(xp.abs(self.b - state.B @ state.mean) ** 2, axis=1)

    def _strongest(self, state: State) -> tuple[int, float, Array]:
        """Return the atom with the largest correlation, and what it would explain: as u and as h."""
        s, p = self._unused(state)
        xp = _arrays.namespace(s)
        k = int(xp.argmax(xp.where(s > 0, p / xp.where(s > 0, s, xp.ones_like(s)), -xp.ones_like(p))))
        u, _ = self._best(s[k : k + 1], p[k : k + 1], state.left)
        return k, float(u[0]), self._h(u, s[k : k + 1])

    def _best_move(self, state: State) -> tuple[float, Callable[[], State]]:
        """Return by how much the best move lowers the score, and the move."""
        xp = _arrays.namespace(self.A)
        s, p = self._unused(state)
        u, fall = self._best(s, p, state.left)
        k = int(xp.argmax(fall))
        gain = float(fall[k]) - self.price
        if state.atoms:
            change, h = self._revised(state)
            j = int(xp.argmax(change))
            if float(change[j]) >= gain:
                return float(change[j]), lambda: self._replaced(state, j, h[j : j + 1])
        return gain, lambda: self._with(state, k, self._h(u[k : k + 1], s[k : k + 1]))

    def _revised(self, state: State) -> tuple[Array, Array]:
        """Return by how much the best variance of each atom in use lowers the score, and this variance, which may be zero."""
        xp, v = _arrays.namespace(state.h), self._variances(state)
        power = xp.sum(xp.abs(state.mean) ** 2, axis=1)
        s, p, left = 1 / v - 1 / state.h, power / v**2, state.left + power / v  # as if the atom were not in use
        s = xp.where(s > 0, s, xp.full_like(s, 1e-300))
        u, fall = self._best(s, p, left)
        now = self._fall(state.h * s / (1 + state.h * s), s, p, left)
        keep = fall > self.price
        return xp.where(keep, fall, xp.full_like(fall, self.price)) - now, xp.where(keep, self._h(u, s), xp.zeros_like(u))

    def _best(self, s: Array, p: Array, left: Any) -> tuple[Array, Array]:
        """Return the best u = h s / (1 + h s) of an atom that is not in use, and by how much it lowers the cost."""
        xp = _arrays.namespace(s)
        ratio = self._ratio(s, p, left)
        least, one = (1.0, 1.0) if self.known is not None else (1 / self.M, max(self.M - 1, 1) / self.M)
        u = xp.clip((1 - least / xp.where(ratio > least, ratio, xp.full_like(ratio, least))) / one, 0, MOST)
        return u, self._fall(u, s, p, left)

    def _fall(self, u: Array, s: Array, p: Array, left: Any) -> Array:
        """Return by how much an atom that explains the share u lowers the cost."""
        xp, ratio = _arrays.namespace(u), self._ratio(s, p, left)
        explained = ratio * u if self.known is not None else -self.M * xp.log1p(-xp.clip(ratio * u, 0, MOST))
        return self.L * (xp.log1p(-u) + explained)

    def _ratio(self, s: Array, p: Array, left: Any) -> Array:
        """Return |a^H C^-1 Y|^2 over its expectation without the atom, or, where the noise is not known, over its largest value."""
        xp = _arrays.namespace(s)
        scale = self.known * self.L if self.known is not None else left
        return xp.where(s > 0, p / xp.where(s > 0, s, xp.ones_like(s)) / scale, xp.zeros_like(s))

    def _h(self, u: Array, s: Array) -> Array:
        xp = _arrays.namespace(u)
        return u / ((1 - u) * xp.where(s > 0, s, xp.ones_like(s)))

    def _with(self, state: State, k: int, h: Array) -> State:
        xp = _arrays.namespace(h)
        return self._state((*state.atoms, k), xp.concat([state.h, h]), xp.concat([state.B, self._products(k)], axis=1))

    def _replaced(self, state: State, j: int, h: Array) -> State:
        """Give the atom j of those in use another variance, or drop it."""
        xp = _arrays.namespace(h)
        if float(h[0]) > 0:
            return self._state(state.atoms, xp.concat([state.h[:j], h, state.h[j + 1 :]]), state.B)
        return self._kept(state, [i for i in range(len(state.atoms)) if i != j])

    def _kept(self, state: State, chosen: list[int]) -> State:
        return self._state(tuple(state.atoms[i] for i in chosen), rows(state.h, chosen), columns(state.B, chosen))


def _score(state: State) -> float:
    return state.score
