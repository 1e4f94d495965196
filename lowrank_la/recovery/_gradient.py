"""Gradient descent for least squares with more columns than the rank: plain, rebalanced once in a while, or scaled."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor._dense import adjoint, eye
from lowrank_la.recovery._problem import Pair, Problem
from lowrank_la.recovery._start import Start
from lowrank_la.recovery._subgradient import HALVINGS, Descent, move

PLAIN_STEP, SCALED_STEP = 0.3, 0.6  # over the largest singular value, and of a Newton step
WINDOW, SLOW, NEAR = 20, 0.9, 0.3  # iterations that keep over 0.9 of the residual, once it is below 0.3 of the first, call for balance
RISES, WAVES = 1.5, 1e-3  # times the least residual so far, and relative rises many times in a window: signs of steps that are too long
PAUSE = 100  # iterations between two rebalancings


def descend(
    problem: Problem, begin: Pair, start: Start, *, scaled: bool, rebalance: bool, step: float | None, max_iter: int, tol: float
) -> Descent:
    """Run the method from a pair of factors, with half the step whenever it diverges; start.gain * A*A is close to the identity."""
    found, length = None, (SCALED_STEP if scaled else PLAIN_STEP) if step is None else step
    for halvings in range(HALVINGS):
        run = _Run(problem, start, length, scaled, rebalance, tol)
        found = replace(run.go(begin, max_iter), halvings=halvings)
        if not run.too_long():
            return found
        length /= 2
    assert found is not None
    return replace(found, factors=begin, converged=False)


class _Run:
    """One run at one step length."""

    def __init__(self, problem: Problem, start: Start, length: float, scaled: bool, rebalance: bool, tol: float) -> None:
        self.problem, self.size, self.gain, self.length = problem, start.size, start.gain, length
        self.scaled, self.rebalance, self.tol = scaled, rebalance, tol
        self.history: list[float] = []
        self.wait = 0  # iterations before the next rebalancing
        self.target = tol * problem.rms(problem.y) / 4  # a quarter: errors exceed residuals when columns abound

    def go(self, factors: Pair, max_iter: int) -> Descent:
        """Descend until the residual is below its target or has stopped to fall."""
        best, least, converged, saved = factors, float("inf"), False, None
        for _ in range(max_iter):
            r = self.problem.residual(factors)
            self.history.append(self.problem.rms(r))
            if saved is not None and self.history[-1] > self.history[-2] * (1 + 1e-6):
                factors, saved = saved, None  # the rebalancing did harm: undo it
                r = self.problem.residual(factors)
                self.history[-1] = self.problem.rms(r)
            if self.history[-1] < least:
                best, least = factors, self.history[-1]
            converged = self._settled()
            if converged or self.too_long():
                break
            saved, factors = (factors, rebalanced(factors, self.size)) if self._out_of_balance() else (None, factors)
            factors = self._step(r, factors)
        return Descent(best, tuple(self.history), converged)

    def too_long(self) -> bool:
        """Say whether the residual has risen as it only does where steps are too long: far above the least, or again and again."""
        recent = self.history[-1 - WINDOW :]
        rises = sum(after > (1 + WAVES) * before for before, after in pairwise(recent))
        return not self.history[-1] <= RISES * min(self.history) or rises > WINDOW // 4

    def _settled(self) -> bool:
        if self.history[-1] <= self.target:
            return True
        still = len(self.history) > WINDOW and self.history[-1] < NEAR * self.history[0]
        return still and abs(self.history[-1 - WINDOW] - self.history[-1]) <= self.tol * self.history[-1]

    def _out_of_balance(self) -> bool:
        """Say whether progress near the optimum has become slow, not too soon after the last time."""
        self.wait = max(0, self.wait - 1)
        if not self.rebalance or self.wait or len(self.history) <= WINDOW or self.history[-1] > NEAR * self.history[0]:
            return False
        slow = self.history[-1] > SLOW * self.history[-1 - WINDOW]
        self.wait = PAUSE if slow else 0
        return slow

    def _step(self, r: Array, factors: Pair) -> Pair:
        xp = _arrays.namespace(r)
        left, right = self.problem.pull(self.gain * r * xp.astype(self.problem.fitted, r.dtype), factors)
        if not self.scaled:
            return move(factors, (left, right), self.length / self.size)
        damping = self.gain**0.5 * float(xp.linalg.vector_norm(r * xp.astype(self.problem.fitted, r.dtype)))
        damping = min(damping, self.size)
        U, V = factors
        left = _divided(left, V, damping)
        return move(factors, (left, left if U is V else _divided(right, U, damping)), self.length)


def _divided(G: Array, V: Array, damping: float) -> Array:
    """Return G (V^H V + damping I)^-1, the damping kept above rounding errors."""
    xp = _arrays.namespace(G, V)
    H = adjoint(V) @ V
    floor = 8 * H.shape[0] * _arrays.unit_roundoff(xp, H.dtype) * float(xp.linalg.matrix_norm(H))
    H = H + max(damping, floor, 1e-300) * eye(xp, H.shape[0], H)
    return adjoint(xp.linalg.solve(H, adjoint(G)))


def rebalanced(factors: Pair, size: float) -> Pair:
    """Return factors with the same product, the first with orthogonal columns of one length, the root of `size`.

    From F = P S C^H to beta P, and from G to G C S / beta.
    """
    F, G = factors
    xp, beta = _arrays.namespace(F, G), size**0.5
    P, S, Ch = xp.linalg.svd(F, full_matrices=False)
    weights: Any = xp.astype(S / beta, G.dtype)
    return beta * P, (G @ adjoint(Ch)) * weights[None, :]
