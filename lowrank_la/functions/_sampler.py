"""The user's function on a box: how it wants its points, what it returns, and how often it was asked."""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array, Door
from lowrank_la.functions import _chebyshev
from lowrank_la.functions._box import box

SLAB = 1 << 16  # points of one call, whose temporaries stay in the cache
SHAPE = (2, 3)  # of the call that finds out how the function wants its points
FLOOR = {4: 1e-6, 8: 1e-14}  # smallest tolerances that mean something, by bytes of a real number
OPEN, FULL, POINTS = "open", "full", "points"


@dataclass
class Sampler:
    """Values of a function of d variables, each in [-1, 1], with an axis for its outputs in front.

    Attributes
    ----------
    name : str
        The public function that asks.
    f : callable
        The user's function, of d coordinates.
    domain : array (d, 2), float64, on the host
    outer : Door
        Makes the caller's arrays of coordinates.
    like : array
        Decides the namespace, device and real dtype of coordinates.
    calling : str
        "open": coordinates that broadcast against each other; "full": arrays of one shape; "points": numbers.
    outputs : int or None
        Length of the vector that the function returns; None for a number.
    door : Door
        Takes values in, and results out.
    evaluations : int
        Points at which the function was asked.
    """

    name: str
    f: Callable[..., Any]
    domain: np.ndarray
    outer: Door
    like: Array
    calling: str
    outputs: int | None
    door: Door
    evaluations: int = 0

    @property
    def dim(self) -> int:
        """Number of variables."""
        return len(self.domain)

    @property
    def width(self) -> int:
        """Number of outputs, one for a function that returns numbers."""
        return self.outputs or 1

    @property
    def itemsize(self) -> int:
        """Bytes of the real numbers of an answer."""
        return 4 if self.door.real_dtype == self.door.xp.float32 else 8

    @property
    def bytes(self) -> int:
        """Bytes that the values at one point take."""
        return self.width * self.itemsize * (2 if self.door.xp.isdtype(self.door.dtype, "complex floating") else 1)

    def nodes(self, m: int) -> Array:
        """Return the nodes as an array of the caller's precision."""
        return self.coordinates(_chebyshev.nodes(m))

    def coordinates(self, t: np.ndarray) -> Array:
        """Bring coordinates in [-1, 1] from the host."""
        return self.door.xp.astype(_arrays.from_numpy(t, self.like), self.like.dtype)

    def grid(self, axes: Sequence[Array]) -> Array:
        """Return the values (width, m_1, ..., m_d) on the product of points in [-1, 1] of each variable."""
        xp, d = self.door.xp, self.dim
        return self.at([xp.reshape(t, (1,) * k + (-1,) + (1,) * (d - k - 1)) for k, t in enumerate(axes)])

    def at(self, coordinates: Sequence[Array]) -> Array:
        """Return the values (width, ...) at points in [-1, 1] whose coordinates broadcast against each other.

        Raises
        ------
        ValueError
            A value is not finite, or the shape of the values is not that of the first ones.
        TypeError
            Values are complex after real ones, or no numbers.
        """
        xp = self.door.xp
        x = [_chebyshev.from_reference(t, interval) for t, interval in zip(coordinates, self.domain, strict=True)]
        shape = np.broadcast_shapes(*(tuple(c.shape) for c in x))
        self.evaluations += math.prod(shape)
        if math.prod(shape) <= SLAB and self.calling == OPEN:
            return self._slab(x, shape)
        out = xp.empty((self.width, *shape), dtype=self.door.dtype, device=self.like.device)
        for place in blocks(shape, SLAB):
            part = [c[tuple(s if n > 1 else slice(None) for s, n in zip(place, c.shape, strict=True))] for c in x]
            out[(slice(None), *place)] = self._slab(part, tuple(len(range(*s.indices(n))) for s, n in zip(place, shape, strict=True)))
        return out

    def _slab(self, x: list[Array], shape: tuple[int, ...]) -> Array:
        values = self._inside(call(self, x, shape))
        xp = self.door.xp
        finite = xp.isfinite(values)
        if not bool(xp.all(finite)):
            self._raise_not_finite(x, shape, values, finite)
        return values

    def _inside(self, values: Array) -> Array:
        """Give values the dtype of the first ones.

        Raises
        ------
        TypeError
            They are complex after real ones.
        """
        if values.dtype == self.door.dtype:
            return values
        xp = self.door.xp
        if xp.isdtype(values.dtype, "complex floating") and not xp.isdtype(self.door.dtype, "complex floating"):
            raise TypeError(f"{self.name}: f must return complex values everywhere or nowhere; got real ones first")
        return xp.astype(values, self.door.dtype)

    def _raise_not_finite(self, x: list[Array], shape: tuple[int, ...], values: Array, finite: Array) -> None:
        xp = self.door.xp
        place = int(np.argmin(_arrays.to_numpy(xp.reshape(finite, (-1,)))))
        value = complex(_arrays.to_numpy(xp.reshape(values, (-1,)))[place])
        point = [float(_arrays.to_numpy(xp.broadcast_to(c, shape)).flat[place % math.prod(shape)]) for c in x]
        words = f"{value.real:g}" if value.imag == 0 else f"{value:g}"
        raise ValueError(f"{self.name}: f must return finite values; got {words} at ({', '.join(f'{c:.17g}' for c in point)})")


def blocks(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Cut an array into boxes of at most `most` entries, or of one row of its last axis."""
    axis = next((k for k in range(len(shape)) if math.prod(shape[k + 1 :]) <= most), len(shape) - 1)
    height = max(1, most // max(1, math.prod(shape[axis + 1 :])))
    rest = (slice(None),) * (len(shape) - axis - 1)
    for lead in itertools.product(*(range(n) for n in shape[:axis])):
        for first in range(0, shape[axis], height):
            yield (*(slice(i, i + 1) for i in lead), slice(first, min(first + height, shape[axis])), *rest)


def call(sampler: Sampler, x: list[Array], shape: tuple[int, ...]) -> Array:
    """Ask the function in the way that it wants to be asked; values come as (width, *shape)."""
    f, outer = sampler.f, sampler.outer
    if sampler.calling == POINTS:
        return _one_by_one(sampler, x, shape)
    if sampler.calling == FULL:
        xp = sampler.door.xp
        x = [xp.broadcast_to(c, shape) + xp.zeros_like(c) for c in x]
    with np.errstate(all="ignore"):  # what is not finite is reported with its point
        returned = f(*(outer.leave(c) for c in x))
    return shaped(sampler.name, returned, shape, sampler.outputs, sampler.like)


def shaped(name: str, returned: Any, shape: tuple[int, ...], outputs: int | None, like: Array) -> Array:
    """Take what a function returned inside, as (outputs or 1, *shape).

    Raises
    ------
    ValueError
        It has another shape.
    """
    if isinstance(returned, tuple | list):
        parts = [shaped(name, part, shape, None, like) for part in returned]
        returned = _arrays.namespace(like).concat(parts, axis=0) if parts else np.empty(0)
    if not _arrays.is_array(returned) or isinstance(returned, np.ndarray | np.generic):
        returned = _arrays.from_numpy(np.asarray(returned), like)
    _, [values] = _arrays.enter(name, **{"f(...)": returned})
    xp, lead = _arrays.namespace(values), () if outputs is None else (outputs,)
    try:
        values = values if tuple(values.shape) == (*lead, *shape) else xp.broadcast_to(values, (*lead, *shape))
    except (ValueError, RuntimeError):
        words = f"{name}: f must return one value for each point, or a vector of them along a leading axis"
        raise ValueError(f"{words}; got shape {tuple(values.shape)} at points of shape {shape}") from None
    return values if lead else values[None, ...]


def _one_by_one(sampler: Sampler, x: list[Array], shape: tuple[int, ...]) -> Array:
    xp = sampler.door.xp
    columns = [_arrays.to_numpy(xp.broadcast_to(c, shape)).ravel().tolist() for c in x]
    with np.errstate(all="ignore"):
        values = np.stack([_number(sampler.name, sampler.f(*point)) for point in zip(*columns, strict=True)], axis=-1)
    return _arrays.from_numpy(values.reshape(-1, *shape), sampler.like)


def _number(name: str, returned: Any) -> np.ndarray:
    """Return what a function gives at one point as a vector.

    Raises
    ------
    TypeError
        It gives no numbers, or a matrix of them.
    """
    value = np.asarray(_arrays.to_numpy(returned) if _arrays.is_array(returned) else returned)
    if value.dtype.kind not in "biufc" or value.ndim > 1:
        raise TypeError(f"{name}: f must return a number or a vector of numbers at each point; got {type(returned).__name__}")
    return value.reshape(-1)


def sampler_of(name: str, f: Callable[..., Any], domain: Any, vectorized: bool | None) -> Sampler:
    """Check the box, and ask the function at six points how it wants to be asked and what it returns."""
    outer, like = box(name, f if domain is None else None, domain)
    host = np.asarray(_arrays.to_numpy(like), dtype=np.float64)
    sampler = Sampler(name, f, host, outer, like, OPEN, None, outer)
    for calling in (POINTS,) if vectorized is False else (OPEN, FULL) if vectorized else (OPEN, FULL, POINTS):
        sampler.calling = calling
        if _suits(sampler, last=calling == (FULL if vectorized else POINTS)):
            break
    if sampler.calling == POINTS and vectorized is None:
        words = f"{name}: f does not work on arrays and is called at one point after the other; vectorized=False says so"
        warnings.warn(words, UserWarning, stacklevel=4)
    return sampler


def _suits(sampler: Sampler, *, last: bool) -> bool:
    """Ask at six points in the chosen way; if it works, note what the values look like."""
    d = sampler.dim
    first, rest = np.asarray([[-0.2910], [0.4177]]), np.asarray([[-0.5123, 0.1339, 0.6071]])
    points = [first, *(rest * (1 - 0.07 * k) for k in range(1, d))] if d > 1 else [first + 0.1 * rest]
    x = [_chebyshev.from_reference(sampler.coordinates(t), s) for t, s in zip(points, sampler.domain, strict=True)]
    with contextlib.nullcontext() if last else contextlib.suppress(Exception):
        outputs, door = _look(sampler, x)
        sampler.outputs, sampler.door = outputs, door
        sampler.evaluations += math.prod(SHAPE)
        return True
    return False


def _look(sampler: Sampler, x: list[Array]) -> tuple[int | None, Door]:
    """Return the number of outputs and the door for values.

    Raises
    ------
    ValueError
        The values do not fit the points.
    """
    xp, outer = _arrays.namespace(sampler.like), sampler.outer
    if sampler.calling == POINTS:
        values = _one_by_one(sampler, x, SHAPE)
        scalar = np.ndim(sampler.f(*(float(_arrays.to_numpy(c).flat[0]) for c in x))) == 0
        return (None if scalar else values.shape[0]), _door(sampler, values)
    full = [xp.broadcast_to(c, SHAPE) + xp.zeros_like(c) for c in x] if sampler.calling == FULL else x
    with np.errstate(all="ignore"):
        returned = sampler.f(*(outer.leave(c) for c in full))
    listed = isinstance(returned, tuple | list)
    outputs = len(returned) if listed else returned.shape[0] if getattr(returned, "ndim", 0) == 3 else None
    values = shaped(sampler.name, returned, SHAPE, outputs, sampler.like)
    if not listed and math.prod(getattr(returned, "shape", ())) == 1 and not _constant(sampler, x, values):
        raise ValueError(f"{sampler.name}: f must return one value for each point; got one for {math.prod(SHAPE)} different points")
    return outputs, _door(sampler, values)


def _constant(sampler: Sampler, x: list[Array], values: Array) -> bool:
    """Say whether a function that returned one number for all points does so for each of them."""
    expected = complex(_arrays.to_numpy(values).flat[0])
    corners = ([float(_arrays.to_numpy(c).flat[k]) for c in x] for k in (0, -1))
    return all(complex(_number(sampler.name, sampler.f(*corner))[0]) == expected for corner in corners)


def _door(sampler: Sampler, values: Array) -> Door:
    """Let the coordinates decide the library, and the values the dtype, but for integers."""
    door, _ = _arrays.enter(sampler.name, values=sampler.outer.leave_wide(values))
    return door
