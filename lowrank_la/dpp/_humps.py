"""Exact draws from |p_j|^2 dmu: its density is a row of humps between the zeros of p_j, each with a concave logarithm.

Three tangents above the logarithm of each hump give a piecewise exponential envelope, from which points are
proposed. Where the tangents touch affects only the share of proposals that are accepted, never the law of the points.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

TOUCH = 0.28  # of an inner hump, from either side: the outer tangents
DROP = 1.2  # of the logarithm from the top of an outermost hump to its outer tangents
HALVINGS = 24

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Chart:
    """A coordinate y with t = place(y), in which a weight has a concave logarithm and so has |place(y) - zero|.

    Attributes
    ----------
    ends : (float, float)
        Range of y.
    place, speed, inverse : callables
        t, its derivative, and y as a function of t.
    log_weight, slope : callables
        Logarithm of the density of mu in y, but for a constant, and its derivative.
    """

    ends: tuple[float, float]
    place: Function
    speed: Function
    inverse: Function
    log_weight: Function
    slope: Function


class Charted(Protocol):
    """What a family must offer."""

    @property
    def size(self) -> int: ...

    def nodes(self, count: int) -> np.ndarray: ...

    def log_squares(self, degrees: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    def chart(self) -> Chart: ...


@dataclass(frozen=True)
class _Envelope:
    """Pieces exp(height + slope (y - at)) from `low` to `high`; `sums` grow from j to j + 1 over the pieces of degree j."""

    low: np.ndarray
    high: np.ndarray
    at: np.ndarray
    height: np.ndarray
    slope: np.ndarray
    sums: np.ndarray


def log_power(exponent: float, x: np.ndarray) -> np.ndarray:
    """Return the logarithm of x^exponent; 0 for the exponent 0, also where x is 0."""
    with np.errstate(divide="ignore"):
        return exponent * np.log(x) if exponent else np.zeros_like(x)


def draw_humps(family: Charted, degrees: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a point t from |p_j|^2 dmu for each entry j of `degrees`, which are below the size of the family."""
    envelope, chart = _envelope_of(family), family.chart()
    y, wanting = np.empty(degrees.size), np.arange(degrees.size)
    while wanting.size:
        j = degrees[wanting]
        which, place, trial = generator.random((3, wanting.size))
        piece = np.searchsorted(envelope.sums, j + which, side="right").clip(max=envelope.sums.size - 1)
        proposed = _within(envelope, piece, place)
        bound = envelope.height[piece] + envelope.slope[piece] * (proposed - envelope.at[piece])
        with np.errstate(divide="ignore"):
            accepted = np.log(trial) <= _log_density(family, chart, j, proposed)[0] - bound
        y[wanting[accepted]] = proposed[accepted]
        wanting = wanting[~accepted]
    return chart.place(y)


def _within(envelope: _Envelope, piece: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the point below which a share of an exponential piece lies, measured from its higher end."""
    low, high, slope = envelope.low[piece], envelope.high[piece], envelope.slope[piece]
    rate = np.abs(slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = high - low
        step = np.where(rate * length > 1e-9, -np.log1p(share * np.expm1(-rate * length)) / rate, share * length)
    return np.where(slope < 0, low + step, high - step)


def _log_density(family: Charted, chart: Chart, j: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of |p_j|^2 times the density of mu in y, and its derivative."""
    value, slope = family.log_squares(j, chart.place(y))
    with np.errstate(divide="ignore", invalid="ignore"):
        return value + chart.log_weight(y), slope * chart.speed(y) + chart.slope(y)


@functools.lru_cache(maxsize=64)
def _envelope_of(family: Charted) -> _Envelope:
    """Build the envelopes of all degrees of a family."""
    chart = family.chart()
    zeros = [np.sort(chart.inverse(family.nodes(j))) if j else np.empty(0) for j in range(family.size)]
    low = np.concatenate([np.concatenate([[chart.ends[0]], z]) for z in zeros])
    high = np.concatenate([np.concatenate([z, [chart.ends[1]]]) for z in zeros])
    j = np.repeat(np.arange(family.size), np.arange(1, family.size + 1))
    touch = _touching_points(lambda j, y: _log_density(family, chart, j, y), j, low, high, chart.ends)
    return _tangents(lambda j, y: _log_density(family, chart, j, y), j, low, high, touch)


def _touching_points(
    density: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    j: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    ends: tuple[float, float],
) -> np.ndarray:
    """Choose three points (3, humps): fixed shares of inner humps; the top of outermost ones, and where these have dropped."""
    with np.errstate(invalid="ignore"):
        touch = low + np.array([[TOUCH], [0.5], [1 - TOUCH]]) * (high - low)
    outer = np.flatnonzero((low == ends[0]) | (high == ends[1]))
    jo, left, right = j[outer], low[outer], high[outer]
    if np.isinf(ends[1]):
        right = np.where(np.isinf(right), _far(density, jo, np.where(np.isinf(left), 0.0, left), 1.0), right)
    if np.isinf(ends[0]):
        left = np.where(np.isinf(left), _far(density, jo, np.where(np.isinf(high[outer]), 0.0, right), -1.0), left)
    top = _halved(lambda y: density(jo, y)[1] > 0, left, right)
    floor = density(jo, top)[0] - DROP
    touch[0, outer] = _halved(lambda y: ~(density(jo, y)[0] > floor), left, top)
    touch[1, outer] = top
    touch[2, outer] = _halved(lambda y: density(jo, y)[0] > floor, top, right)
    return touch


def _far(density: Callable[..., tuple[np.ndarray, np.ndarray]], j: np.ndarray, start: np.ndarray, sign: float) -> np.ndarray:
    """Walk from `start` in the direction of `sign` until the density has fallen well below its top."""
    step = np.ones(start.size)
    for _ in range(60):
        slope = sign * density(j, start + sign * step)[1]
        on = ~(slope * step < -4 * DROP)
        if not on.any():
            break
        step[on] *= 1.5
    return start + sign * step


def _halved(beyond: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Find where a condition that holds at the lower ends ceases to hold, by bisection."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        on = beyond(middle)
        low, high = np.where(on, middle, low), np.where(on, high, middle)
    return (low + high) / 2


def _tangents(
    density: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    j: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    touch: np.ndarray,
) -> _Envelope:
    """Cut each hump where neighbouring tangents meet, and sum up the areas below them."""
    height, slope = (part.reshape(touch.shape) for part in density(np.tile(j, 3), touch.ravel()))
    with np.errstate(divide="ignore", invalid="ignore"):
        meet = (height[1:] - height[:-1] + slope[:-1] * touch[:-1] - slope[1:] * touch[1:]) / (slope[:-1] - slope[1:])
    meet = np.where(np.isfinite(meet), np.clip(meet, touch[:-1], touch[1:]), (touch[:-1] + touch[1:]) / 2)
    pieces = (np.stack([low, *meet]), np.stack([*meet, high]), touch, height, slope)
    start, end, at, height, slope = (part.T.ravel() for part in pieces)  # hump by hump
    return _Envelope(start, end, at, height, slope, _sums(start, end, at, height, slope, np.repeat(j, 3)))


def _sums(low: np.ndarray, high: np.ndarray, at: np.ndarray, height: np.ndarray, slope: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return cumulative areas of the pieces, scaled so that the pieces of each degree have area 1."""
    rate = np.abs(slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = high - low
        width = np.where(rate * length > 1e-9, -np.expm1(-rate * length) / rate, length)
        top = height + slope * (np.where(slope < 0, low, high) - at)
        area = np.where(width > 0, np.log(width) + top, -np.inf)
    first = np.flatnonzero(np.diff(j, prepend=-1))
    area = np.exp(area - np.maximum.reduceat(area, first)[j])
    shares = area / np.add.reduceat(area, first)[j]
    sums = np.cumsum(shares) - np.repeat(
        np.cumsum(np.add.reduceat(shares, first)) - np.add.reduceat(shares, first), np.diff(first, append=j.size)
    )
    return j + np.minimum(sums, 1.0)
