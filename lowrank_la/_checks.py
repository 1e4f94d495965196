"""Argument checks: the only place that words errors. Code below a check may trust what it gets.

Every check takes the public function's name and the argument's name first, and returns
the checked value. Messages say: function, argument, rule, and what came instead.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array


def integer(function: str, name: str, value: Any, low: int = 0, high: float = math.inf) -> int:
    """Require an integer from low to high."""
    rule = f"an integer of at least {low}" if math.isinf(high) else f"an integer between {low} and {int(high)}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise (TypeError if number is None else ValueError)(f"{function}: {name} must be {rule}; got {value!r}")
    return number


def real(function: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, open: bool = False) -> float:
    """Require a finite real number from low to high, ends excluded if `open`."""
    if math.isinf(high):
        rule = f"a number {'above' if open else 'of at least'} {low:g}"
    else:
        rule = f"a number between {low:g} and {high:g}{', ends excluded' if open else ''}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{function}: {name} must be {rule}; got {value!r}") from None
    inside = low < number < high if open else low <= number <= high
    if not (inside and math.isfinite(number)):
        raise ValueError(f"{function}: {name} must be {rule}; got {value!r}")
    return number


def choice(function: str, name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Require one of a few values."""
    choices = tuple(choices)
    if not any(value is option or (isinstance(value, str) and value == option) for option in choices):
        raise ValueError(f"{function}: {name} must be one of {', '.join(map(repr, choices))}; got {value!r}")
    return value


def given(function: str, name: str, x: Any) -> Any:
    """Require an array, where the door lets None pass for one that is left out."""
    if x is None:
        raise TypeError(f"{function}: {name} must be an array of numbers; got NoneType")
    return x


def several(function: str, name: str, value: Any) -> tuple[Any, ...]:
    """Require something to iterate over that is no text, and read it once."""
    try:
        values = None if isinstance(value, str | bytes) else tuple(value)
    except TypeError:
        values = None
    if values is None:
        raise TypeError(f"{function}: {name} must be a sequence; got {type(value).__name__}")
    return values


def row_blocks(function: str, name: str, x: Any) -> Iterator[tuple[int, Any]]:
    """Yield (first row, block) over blocks of rows, which a function may return; the blocks are still to be checked."""
    given = x() if callable(x) else x
    if not isinstance(given, Iterable):
        raise TypeError(f"{function}: {name} must return row blocks when called; got {type(given).__name__}")
    offset = 0
    for block in given:
        yield offset, block
        offset += (block.shape if hasattr(block, "shape") else np.shape(block))[0]


def ndim(function: str, name: str, x: Array, dims: int | tuple[int, ...]) -> Array:
    """Require an array with so many axes."""
    given(function, name, x)
    dims = (dims,) if isinstance(dims, int) else dims
    if x.ndim not in dims:
        words = " or ".join(f"{d}-dimensional" for d in dims)
        raise ValueError(f"{function}: {name} must be {words}; got shape {tuple(x.shape)}")
    return x


def shape(function: str, name: str, x: Array, expected: tuple[int, ...]) -> Array:
    """Require an exact shape."""
    given(function, name, x)
    if tuple(x.shape) != tuple(expected):
        raise ValueError(f"{function}: {name} must have shape {tuple(expected)}; got {tuple(x.shape)}")
    return x


def not_empty(function: str, name: str, x: Array) -> Array:
    """Require at least one entry."""
    given(function, name, x)
    if 0 in x.shape:
        raise ValueError(f"{function}: {name} must have at least one entry; got shape {tuple(x.shape)}")
    return x


def rows_like(function: str, name: str, x: Array, rows: int, other: str) -> Array:
    """Require as many rows as another argument has."""
    given(function, name, x)
    if x.shape[0] != rows:
        raise ValueError(f"{function}: {name} must have {rows} rows, as many as {other}; got shape {tuple(x.shape)}")
    return x


def real_dtype(function: str, name: str, x: Array) -> Array:
    """Require a real array."""
    given(function, name, x)
    if str(x.dtype).split(".")[-1].startswith("complex"):
        raise TypeError(f"{function}: {name} must be real; got dtype {x.dtype}")
    return x


def finite(function: str, name: str, x: Array) -> Array:
    """Require finite entries (stored entries, for a sparse matrix), in one pass without a temporary of the size of x."""
    data = x.data if _arrays.is_sparse(x) else x
    if data.ndim == 0:
        data = _arrays.namespace(data).reshape(data, (1,))
    for offset, block in _arrays.row_blocks(data):
        xp = _arrays.namespace(block)
        if bool(xp.all(xp.isfinite(block))):
            continue
        _raise_not_finite(function, name, data, offset, block)
    return x


def _raise_not_finite(function: str, name: str, data: Array, offset: int, block: Array) -> None:
    xp = _arrays.namespace(block)
    bad = xp.reshape(~xp.isfinite(block), (-1,))
    per_row = math.prod(block.shape[1:])
    first = offset * per_row + int(xp.argmax(xp.astype(bad, xp.int8)))
    where = f"in row {first // per_row}" if data.ndim > 1 else f"at index {first}"
    count = sum(int(xp.sum(xp.astype(~xp.isfinite(part), xp.int64))) for _, part in _arrays.row_blocks(data))
    what = "NaN or infinite entry" if count == 1 else "NaN or infinite entries"
    raise ValueError(f"{function}: {name} must be finite; got {count} {what} out of {math.prod(data.shape)}, the first {where}")


def ids(function: str, name: str, x: Array, length: int) -> Array:
    """Require integers from 0 to length - 1."""
    xp = _arrays.namespace(x)
    if not xp.isdtype(x.dtype, "integral"):
        raise TypeError(f"{function}: {name} must be integers; got dtype {x.dtype}")
    if math.prod(x.shape) == 0:
        return x
    low, high = int(xp.min(x)), int(xp.max(x))
    if low < 0 or high >= length:
        raise ValueError(f"{function}: {name} must be from 0 to {length - 1}; got {low} to {high}")
    return x
