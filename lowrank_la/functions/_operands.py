"""What the operations of a function take: axes, values, numbers and other functions."""

from __future__ import annotations

import cmath
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.functions._parts import Parts


def as_number(x: Any) -> complex | None:
    """Return a number, of Python or of an array library, as one of Python; None for anything else.

    Raises
    ------
    ValueError
        It is NaN or infinite.
    """
    if isinstance(x, numbers.Complex):
        value = float(x) if isinstance(x, numbers.Real) else complex(x)
    elif _arrays.is_array(x) and x.ndim == 0:
        value = number(x)
    else:
        return None
    if not cmath.isfinite(value):
        raise ValueError(f"FunctionTucker: a number beside a function must be finite; got {value}")
    return value


def number(x: Array) -> Any:
    """Return an array of one entry as a Python number, float if it is real."""
    xp = _arrays.namespace(x)
    return complex(x) if xp.isdtype(x.dtype, "complex floating") else float(x)


def axes_of(function: str, axes: Sequence[int] | int, dim: int) -> list[int]:
    """Require different axes; one may stand alone.

    Raises
    ------
    ValueError
        There is no such axis, or one is named twice.
    """
    chosen = [_checks.integer(function, "axes", axis, 0, dim - 1) for axis in (axes if np.iterable(axes) else [axes])]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"{function}: axes must be different; got {tuple(chosen)}")
    return chosen


def values_in(function: str, name: str, values: Mapping[int, float], domain: np.ndarray) -> dict[int, float]:
    """Require `{axis: value}` with values in the domain.

    Raises
    ------
    TypeError
        It is no mapping.
    ValueError
        There is no such axis, or a value is outside.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{function}: {name} must be a mapping from axes to numbers; got {type(values).__name__}")
    chosen = {}
    for key, value in values.items():
        axis = _checks.integer(function, f"axis in {name}", key, 0, len(domain) - 1)
        chosen[axis] = _checks.real(function, f"{name}[{axis}]", value, *map(float, domain[axis]))
    return chosen


def ranks_of(function: str, ranks: Sequence[int], dim: int) -> list[int]:
    """Require one rank for each variable.

    Raises
    ------
    ValueError
        There are more or fewer, or one is below 1.
    """
    if len(ranks) != dim:
        raise ValueError(f"{function}: ranks must be {dim} integers, one for each variable; got {len(ranks)}")
    return [_checks.integer(function, f"ranks[{k}]", r, 1) for k, r in enumerate(ranks)]


def refuse_outputs(function: str, *operands: Parts) -> None:
    """Require functions with values that are numbers.

    Raises
    ------
    ValueError
        One is vector-valued.
    """
    for parts in operands:
        if parts.lead:
            raise ValueError(f"{function}: values must be numbers; got a function with {parts.core.shape[0]} outputs")


def cast(parts: Parts, dtype: Any) -> Parts:
    """Change the dtype of core and factors."""
    xp = _arrays.namespace(parts.core)
    core, *factors = (xp.astype(x, dtype, copy=False) for x in (parts.core, *parts.factors))
    return Parts(core, tuple(factors), parts.domain)


def scaled(parts: Parts, factor: complex) -> Parts:
    """Multiply by a number; a complex one makes the function complex."""
    xp = _arrays.namespace(parts.core)
    if isinstance(factor, complex):
        parts = cast(parts, xp.result_type(parts.core.dtype, xp.complex64))
    return Parts(parts.core * factor, parts.factors, parts.domain)


def joined(function: str, one: Parts, other: Parts) -> tuple[Parts, Parts]:
    """Require two functions of the same variables, box, library and outputs, and give them one dtype.

    Raises
    ------
    TypeError
        They hold arrays of different libraries.
    ValueError
        They differ in their variables, domain or outputs.
    """
    xp, theirs = _arrays.namespace(one.core), _arrays.namespace(other.core)
    if xp is not theirs:
        raise TypeError(f"{function}: both functions must hold arrays of one library; got {xp.__name__} and {theirs.__name__}")
    if one.dim != other.dim:
        raise ValueError(f"{function}: both functions must have the same number of variables; got {one.dim} and {other.dim}")
    for axis, (a, b) in enumerate(zip(one.domain, other.domain, strict=True)):
        if not np.array_equal(a, b):
            got = f"[{a[0]:g}, {a[1]:g}] and [{b[0]:g}, {b[1]:g}] along axis {axis}"
            raise ValueError(f"{function}: both functions must have the same domain; got {got}")
    if one.core.shape[: one.lead] != other.core.shape[: other.lead]:
        got = " and ".join(str(parts.core.shape[0]) if parts.lead else "none" for parts in (one, other))
        raise ValueError(f"{function}: both functions must have the same outputs; got {got}")
    dtype = xp.result_type(one.core.dtype, other.core.dtype)
    return cast(one, dtype), cast(other, dtype)
