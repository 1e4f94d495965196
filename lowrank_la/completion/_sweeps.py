"""Alternating least squares: sweeps over rows and columns until the held-out error stands still."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.completion import _robust
from lowrank_la.completion._observations import Entries
from lowrank_la.completion._problem import Factors, Problem, residuals
from lowrank_la.completion._result import Sweep

FLOAT32_FLOOR = 1e-3  # relative residual below which sums in float32 would be seen
PATIENCE = 5  # sweeps without a better held-out error that end a run
NOISELESS = 1e-30  # relative squared error that is rounding
FLOAT32_TOL = 1e-5  # tolerance below which they could be, too
WIDE = 128  # columns from which conjugate gradients beat Cholesky
REBALANCE = 10  # sweeps from one rebalancing to the next
WELL = 1e-2  # ratio of squared singular values above which a Gram matrix serves as well as the factor
FEW = 20  # held-out entries below which a sample of the training entries decides instead


@dataclass
class Monitor:
    """Keeps the history, shows it, and asks the caller whether to go on."""

    scale: float
    callback: Callable[[Sweep], Any] | None = None
    bar: Any = None
    history: list[Sweep] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def __call__(self, rank: int, train: float, held_out: float) -> bool:
        """Record a sweep; say whether the caller wants to stop."""
        seconds = time.perf_counter() - self.began
        sweep = Sweep(len(self.history) + 1, rank, train * self.scale, held_out * self.scale, seconds)
        self.history.append(sweep)
        if self.bar is not None:
            self.bar.set_postfix_str(f"rank {rank}, train {sweep.train_rmse:.4g}, held out {sweep.held_out_rmse:.4g}")
            self.bar.update()
        return self.callback is not None and bool(self.callback(sweep))


@dataclass(frozen=True)
class Fit:
    """Factors, and how the sweeps that gave them ended: "converged", "stopped", "interrupted" or "max_iter".

    `noise` and `rate` are those of the last sweep; `exact` if the factors are the best there are.
    """

    factors: Factors
    ridge: float
    score: float
    ending: str
    noise: float = 0.0
    rate: float = 1.0
    exact: bool = False


@dataclass
class StopRule:
    """Stops when the sweeps still to come, as a geometric series, would lower the squared error by a share below `tol`.

    The series has the ratio of the last two drops; before there are two, the one given. It
    is trusted once a drop is below the root of `tol`.
    """

    tol: float
    rate: float = 1.0
    scores: list[float] = field(default_factory=list)

    def __call__(self, score: float) -> bool:
        """Say whether to stop after a sweep with this mean squared error."""
        self.scores.append(score)
        if score < 1e-28 or len(self.scores) < 2:
            return score < 1e-28
        if len(self.scores) > PATIENCE and min(self.scores[-PATIENCE:]) >= min(self.scores[:-PATIENCE]):
            return True
        drops = [before - after for before, after in pairwise(self.scores[-3:])]
        if len(drops) == 2:
            self.rate = drops[1] / drops[0] if drops[0] > 0 else 1.0
            if max(map(abs, drops)) < self.tol * score:
                return True
        trusted = 0 <= drops[-1] < math.sqrt(self.tol) * score and 0 <= self.rate < 1
        return trusted and drops[-1] * self.rate < self.tol * score * (1 - self.rate)


def run(problem: Problem, factors: Factors, monitor: Monitor, *, noise: float | None = None, rate: float = 1.0) -> Fit:
    """Sweep from given factors until the stop rule, the caller, Ctrl-C or `max_iter` ends it; return the best factors met.

    The first half sweep finds the left factor. `noise`, that of the first ridge, is measured
    on the factors if not given; `rate` is for the stop rule.
    """
    loop = _Loop(problem, factors, monitor, noise, rate)
    ending = "max_iter"
    try:
        while ending == "max_iter" and loop.count < problem.options.max_iter:
            ending = loop.sweep()
    except KeyboardInterrupt:
        ending = "interrupted"
    return replace(loop.best, ending=ending, noise=loop.error, rate=loop.stop.rate)


def solve_left(problem: Problem, factors: Factors, ridge: float) -> Factors:
    """Return the left factor that goes with a right one."""
    return _Loop(problem, factors, Monitor(problem.scale), 0.0, 1.0).half("left", ridge)


def judges(problem: Problem) -> Entries:
    """Return the entries that decide between models."""
    return problem.tune if len(problem.tune) >= FEW else problem.sample


class _Loop:
    """The state of the sweeps: factors, what they leave over, precision, and the best so far."""

    def __init__(self, problem: Problem, factors: Factors, monitor: Monitor, noise: float | None, rate: float):
        self.problem, self.factors, self.monitor = problem, factors, monitor
        self.judges = judges(problem)
        self.total_weight = total_weight(problem)
        self.fast = problem.options.tol >= FLOAT32_TOL
        self.stop = StopRule(problem.options.tol, rate)
        self.error = _robust.spread(residuals(factors, self.judges), problem.options.loss) if noise is None else noise
        self.best = Fit(factors, 0.0, math.inf, "max_iter")
        self.count = 0

    def sweep(self) -> str:
        """Do one sweep over both sides; return how it ended the run, "max_iter" if it did not."""
        ridge = self._ridge()
        self.count += 1
        self.factors = self.half("left", ridge)
        self.factors = self.half("right", ridge)
        if self.count % REBALANCE == 0:
            self.factors = balance(self.factors, self.problem.options.nonnegative)
        return self._judge(ridge)

    def _ridge(self) -> float:
        """Return the ridge of the most probable factors: the noise over the variance of a factor's entries."""
        given = self.problem.options.ridge
        if given is not None:
            return given / self.problem.scale
        noise = self.error**2 if self.judges is self.problem.tune else self.error**2 / self._degrees_of_freedom()
        noise = min(noise, 0.5 * self.problem.variance)
        if noise < NOISELESS:
            return 0.0
        if self.count == 0:  # no factors yet: terms of equal variance make up the data
            return noise * math.sqrt(self.factors.rank / (self.problem.variance - noise))
        left, right = (root_mean_square(side) ** 2 for side in (self.factors.left, self.factors.right))
        m, n = self.problem.shape
        return noise / math.sqrt((left + self._doubt(noise, m, right)) * (right + self._doubt(noise, n, left)))

    def _doubt(self, noise: float, length: int, other: float) -> float:
        """Return the posterior variance of a factor's entries, by the average degree; without it the ridge would feed on itself."""
        return noise / (len(self.problem.rows) / length * other + self.best.ridge)

    def _degrees_of_freedom(self) -> float:
        """Share of the training entries that the model does not use up."""
        return max(0.1, 1 - self.problem.parameters(self.factors.rank) / len(self.problem.rows))

    def half(self, name: str, ridge: float) -> Factors:
        """Solve one side's regressions on the other."""
        problem, factors = self.problem, self.factors
        side, mine, other = (problem.rows, factors.left, factors.right) if name == "left" else (problem.cols, factors.right, factors.left)
        xp = _arrays.namespace(other)
        F, offset = factors.regressors(other)
        solution = kernels.als_rows.solve(
            side.values,
            side.indices,
            side.indptr,
            F,
            start=mine,
            ridge=xp.full((side.shape[0],), ridge, dtype=xp.float64, device=F.device),
            offset=offset,
            weights=_robust.weights(side, factors, name, problem.options.loss, self.error),
            method=_method(problem, F.shape[1]),
            fast=self.fast,
        )
        return replace(factors, **{name: solution.X})

    def _judge(self, ridge: float) -> str:
        held_out = self.judges is self.problem.tune
        sampled = residuals(self.factors, self.problem.sample)
        left_over = residuals(self.factors, self.judges) if held_out else sampled
        self.error = _robust.spread(left_over, self.problem.options.loss)
        score = _robust.score(left_over, self.judges.weights, self.problem.options.loss)
        if not held_out:
            score += ridge * self._size() / self.total_weight
        if score < self.best.score or not held_out:
            self.best = Fit(self.factors, ridge, score, "max_iter")
        if self.monitor(self.factors.rank, root_mean_square(sampled), root_mean_square(left_over) if held_out else math.nan):
            return "stopped"
        done = self.stop(score)
        if self.fast and score < FLOAT32_FLOOR**2:
            self.fast, self.stop = False, StopRule(self.problem.options.tol, self.stop.rate)
            return "max_iter"
        return "converged" if done else "max_iter"

    def _size(self) -> float:
        """Return the sum of squares of the factors."""
        xp = _arrays.namespace(self.factors.left)
        return sum(float(xp.sum(side * side)) for side in (self.factors.left, self.factors.right))


def total_weight(problem: Problem) -> float:
    """Return the sum of the weights of the training entries, by those of the sample."""
    weights = problem.sample.weights
    return len(problem.rows) * (1.0 if weights is None else float(_arrays.namespace(weights).mean(weights)))


def root_mean_square(x: Array) -> float:
    """Return the root of the mean square."""
    return math.sqrt(float(_arrays.namespace(x).mean(x * x)))


def _method(problem: Problem, width: int) -> str:
    """Choose the row solver: Cholesky, whose sums run in register tiles, until the factors are very wide."""
    if problem.options.nonnegative:
        return "nonneg"
    if problem.options.solver != "auto":
        return problem.options.solver
    return "chol" if width <= WIDE else "cg"


def balance(factors: Factors, nonnegative: bool = False) -> Factors:
    """Rescale the factors so that U^T U = V^T V is diagonal, or only its diagonals agree if they must stay nonnegative."""
    xp = _arrays.namespace(factors.left)
    U, V = (xp.astype(X, xp.float64) for X in (factors.U, factors.V))
    if nonnegative:
        heights = xp.sqrt(xp.linalg.vector_norm(V, axis=0) / _positive(xp, xp.linalg.vector_norm(U, axis=0)))
        U, V = U * heights, V / _positive(xp, heights)
    else:
        (Q_left, R_left), (Q_right, R_right) = _orthogonal(xp, U), _orthogonal(xp, V)
        P, s, Wt = xp.linalg.svd(R_left @ xp.matrix_transpose(R_right), full_matrices=False)
        U, V = Q_left @ (P * xp.sqrt(s)), Q_right @ (xp.matrix_transpose(Wt) * xp.sqrt(s))
    k, dtype = factors.rank, factors.left.dtype
    left = xp.concat([xp.astype(U, dtype), factors.left[:, k:]], axis=1)
    right = xp.concat([xp.astype(V, dtype), factors.right[:, k:]], axis=1)
    return replace(factors, left=left, right=right)


def _orthogonal(xp: Any, X: Array) -> tuple[Array, Array]:
    """Factor X = Q R, by the eigenvectors of X^T X if they lose no more than two digits."""
    lengths, W = xp.linalg.eigh(xp.matrix_transpose(X) @ X)
    if X.shape[0] < X.shape[1] or not float(lengths[0]) > WELL * float(lengths[-1]):
        return xp.linalg.qr(X)
    root = xp.sqrt(lengths)
    return X @ (W / root), xp.matrix_transpose(W) * root[:, None]


def _positive(xp: Any, x: Array) -> Array:
    return xp.where(x > 0, x, xp.ones_like(x))
