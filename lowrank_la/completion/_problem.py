"""The fitting problem in its own units, and the factors that solve it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lowrank_la import _arrays, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.completion._observations import Compressed, Entries, Parts

SAMPLE = 1 << 15  # training entries that stand for all of them in the history
BLOCKS = 64  # pieces of a part of the rows
ROUGH_SWEEPS, ROUGH_TOL = 7, 0.1  # the sweeps over a part


@dataclass(frozen=True)
class Options:
    """What the caller asked for, checked."""

    rank: int | None
    ridge: float | None
    bias: bool
    loss: str
    nonnegative: bool
    solver: str
    init: Any
    max_iter: int
    tol: float


@dataclass(frozen=True)
class Problem:
    """Entries divided by `scale`, a power of two near their root mean square, so that float32 and huge units are safe.

    With biases, entry (i, j) is modelled as mean + b_i + d_j + u_i . v_j. A factor matrix then has
    one more column, b / unit or d / unit, whose partner on the other side is the constant `unit`:
    about the size of the other columns, so that one ridge suits them all.
    """

    rows: Compressed
    cols: Compressed
    sample: Entries
    tune: Entries
    scale: float
    mean: float
    variance: float
    bias: bool
    seed: int
    options: Options

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.shape

    def unit(self, rank: int) -> float:
        """Size of the entries of balanced factors: k terms of that size squared make the variance of the data."""
        return (self.variance / rank) ** 0.25

    def parameters(self, rank: int) -> int:
        """Free numbers in a model of some rank."""
        m, n = self.shape
        return rank * (m + n - rank) + (m + n - 1 if self.bias else 0)

    def transpose(self) -> Problem:
        """Return the problem of the transposed matrix."""
        init = self.options.init
        options = replace(self.options, init=init.transpose() if isinstance(init, Factors) else init)
        sample, tune = self.sample.transpose(), self.tune.transpose()
        return replace(self, rows=self.cols, cols=self.rows, sample=sample, tune=tune, options=options)

    def part(self, share: float) -> Problem:
        """Return the problem of a share of the rows, taken in blocks spread over all of them, to be solved roughly."""
        rows = self.rows.blocks(share, BLOCKS)
        random = _random.host_generator(self.seed, "complete: part")
        sample = rows.at(np.sort(random.integers(0, len(rows), min(len(rows), SAMPLE))))
        nothing = np.empty(0, dtype=np.int64)
        options = replace(self.options, max_iter=min(self.options.max_iter, ROUGH_SWEEPS), tol=ROUGH_TOL)
        return replace(self, rows=rows, cols=rows.transpose(), sample=sample, tune=self.rows.at(nothing), options=options)


def pose(parts: Parts, options: Options, seed: int) -> Problem:
    """Scale the training entries and sort them both ways."""
    train = parts.train
    xp = _arrays.namespace(train.values)
    scale = _power_of_four(_size(xp, train.values))
    rows = train if scale == 1.0 else replace(train, values=train.values / scale)
    mean = _mean(xp, rows.values, rows.weights) if options.bias else 0.0
    random = _random.host_generator(seed, "complete: sampled entries")
    count = len(rows)
    places = np.arange(count) if count <= SAMPLE else np.sort(random.integers(0, count, SAMPLE))
    sample = rows.at(places)
    variance = float(xp.mean((sample.values - mean) ** 2)) or 1.0
    tune = replace(parts.tune, values=parts.tune.values / scale)
    return Problem(rows, rows.transpose(), sample, tune, scale, mean, variance, options.bias, seed, options)


def _size(xp: Any, values: Array) -> float:
    """Return the root mean square, or the largest size if squares leave the range of the dtype."""
    square = float(xp.vecdot(values, values)) / values.shape[0]
    return math.sqrt(square) if 1e-30 < square < 1e30 else max(float(xp.max(values)), -float(xp.min(values)))


def _mean(xp: Any, values: Array, weights: Array | None) -> float:
    if weights is None:
        return float(xp.sum(values, dtype=xp.float64)) / values.shape[0]
    return float(xp.sum(values * weights, dtype=xp.float64)) / float(xp.sum(weights, dtype=xp.float64))


def _power_of_four(x: float) -> float:
    """Round to a power of four: dividing by it, or by its root, costs no accuracy."""
    return math.ldexp(1.0, 2 * round(math.log2(x) / 2)) if x > 0 else 1.0


@dataclass(frozen=True)
class Factors:
    """A model in the units of a problem: left (m, k) and right (n, k), with one more column each for biases."""

    left: Array
    right: Array
    mean: float = 0.0
    unit: float = 0.0

    @property
    def rank(self) -> int:
        """Columns that are no biases."""
        return self.left.shape[1] - (self.unit > 0)

    @property
    def U(self) -> Array:
        """Row factors (m, k)."""
        return self.left[:, : self.rank]

    @property
    def V(self) -> Array:
        """Column factors (n, k)."""
        return self.right[:, : self.rank]

    @property
    def plain(self) -> tuple[Array, Array]:
        """Two matrices whose product has the mean and the biases in it."""
        if not self.unit:
            return self.left, self.right
        xp = _arrays.namespace(self.left)
        left_bias, right_bias = self.biases
        U = xp.concat([self.U, left_bias[:, None], xp.ones_like(left_bias)[:, None]], axis=1)
        V = xp.concat([self.V, xp.ones_like(right_bias)[:, None], right_bias[:, None] + self.mean], axis=1)
        return U, V

    @property
    def biases(self) -> tuple[Array, Array]:
        """Row and column biases (m,) and (n,), 0 where the model has none."""
        if self.unit:
            return self.left[:, self.rank] * self.unit, self.right[:, self.rank] * self.unit
        xp = _arrays.namespace(self.left)
        return xp.zeros_like(self.left[:, 0]), xp.zeros_like(self.right[:, 0])

    def transpose(self) -> Factors:
        """Return the model of the transposed matrix."""
        return Factors(self.right, self.left, self.mean, self.unit)

    def scaled(self, by: float) -> Factors:
        """Return the model of a matrix so many times as large."""
        root = math.sqrt(by)
        return Factors(self.left * root, self.right * root, self.mean * by, self.unit * root)

    def centred(self) -> Factors:
        """Move the averages of the biases into the mean."""
        if not self.unit:
            return self
        xp, k = _arrays.namespace(self.left), self.rank
        shifts = [float(xp.mean(side[:, k])) for side in (self.left, self.right)]
        sides = [xp.concat([side[:, :k], side[:, k:] - shift], axis=1) for side, shift in zip((self.left, self.right), shifts, strict=True)]
        return replace(self, left=sides[0], right=sides[1], mean=self.mean + self.unit * sum(shifts))

    def regressors(self, side: Array) -> tuple[Array, Array | None]:
        """Return the regressors that one side's factors are for the other, and what they take off the entries."""
        if not self.unit:
            return side, None
        xp = _arrays.namespace(side)
        k = self.rank
        ones = xp.full((side.shape[0], 1), self.unit, dtype=side.dtype, device=side.device)
        return xp.concat([side[:, :k], ones], axis=1), self.mean + self.unit * side[:, k]


def residuals(factors: Factors, entries: Entries) -> Array:
    """Return what the model leaves of some entries, in float64."""
    xp = _arrays.namespace(entries.values)
    left, right = factors.plain
    predicted = kernels.pairs.predict(left, right, entries.rows, entries.cols)
    return xp.astype(entries.values, xp.float64) - xp.astype(predicted, xp.float64)
