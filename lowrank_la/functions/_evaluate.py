"""Values of a function at points and on grids, and what points may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la.functions._chebyshev import vandermonde
from lowrank_la.functions._parts import Parts

BLOCK = 1 << 22  # entries of a table of polynomials at a time
ULPS = 4  # by so many roundoff units of its ends a point may miss an interval: it is taken for the end


def enter(function: str, points: Sequence[Any], dim: int) -> tuple[Door, list[Array]]:
    """Take coordinates inside: one array for each variable, or for two and more the columns of a single array (..., d).

    Raises
    ------
    TypeError
        Coordinates are complex or no arrays of numbers, or belong to different libraries.
    ValueError
        There are more or fewer coordinates than variables.
    """
    if len(points) == 1 and dim > 1:
        door, [X] = _arrays.enter(function, points=points[0])
        _checks.real_dtype(function, "points", X)
        if not X.ndim or X.shape[-1] != dim:
            raise ValueError(f"{function}: points must have a last axis of length {dim}, the variables; got shape {tuple(X.shape)}")
        return door, [X[..., k] for k in range(dim)]
    if len(points) != dim:
        raise ValueError(f"{function}: points must have {dim} coordinates, one for each variable; got {len(points)}")
    return entered(function, points)


def entered(function: str, coordinates: Sequence[Any]) -> tuple[Door, list[Array]]:
    """Take one array for each variable inside; plain numbers may stand beside arrays of any library.

    Raises
    ------
    TypeError
        Coordinates are complex or no arrays of numbers, or belong to different libraries.
    """
    arrays = [x for x in coordinates if _arrays.is_array(x)]
    named = {f"x{k}": _beside(x, arrays) for k, x in enumerate(coordinates)}
    first = next((name for name, x in named.items() if any(x is y for y in arrays)), "x0")
    door, inside = _arrays.enter(function, **{first: named[first], **named})
    by_name = dict(zip({first: 0, **named}, inside, strict=True))
    for name in named:
        if by_name[name] is None:
            raise TypeError(f"{function}: {name} must be an array of numbers; got NoneType")
        _checks.real_dtype(function, name, by_name[name])
    return door, [by_name[name] for name in named]


def _beside(x: Any, arrays: Sequence[Array]) -> Any:
    """Turn a plain number into an array of the library of the others."""
    if not arrays or not isinstance(x, int | float) or isinstance(x, bool):
        return x
    like = arrays[0]
    xp = _arrays.namespace(like)
    return xp.full((), float(x), device=like.device)


def check_inside(function: str, x: Array, interval: np.ndarray, axis: int) -> None:
    """Require points of an interval, but for rounding errors.

    Raises
    ------
    ValueError
        A point is NaN, or outside; the first one is named.
    """
    if 0 in x.shape:
        return
    xp, (a, b) = _arrays.namespace(x), map(float, interval)
    slack = ULPS * float(xp.finfo(x.dtype).eps) * max(abs(a), abs(b))
    if a - slack <= float(xp.min(x)) and float(xp.max(x)) <= b + slack:
        return
    bad = xp.reshape(~((x >= a - slack) & (x <= b + slack)), (-1,))
    first = int(xp.argmax(xp.astype(bad, xp.int8)))
    value = float(xp.reshape(x, (-1,))[first])
    raise ValueError(f"{function}: points must lie in the domain, from {a:g} to {b:g} along axis {axis}; got {value:.6g} at point {first}")


def at_points(function: str, parts: Parts, coordinates: Sequence[Array]) -> Array:
    """Return the values, of the shape that the coordinates broadcast to, after the axis of outputs if there is one."""
    xp = _arrays.namespace(*coordinates)
    for axis, (x, interval) in enumerate(zip(coordinates, parts.domain, strict=True)):
        check_inside(function, x, interval, axis)
    order = _open_grid(coordinates)
    if order is not None:
        return _on_open_grid(parts, coordinates, order)
    coordinates = xp.broadcast_arrays(*coordinates) if len(coordinates) > 1 else coordinates
    shape = tuple(coordinates[0].shape)
    X = xp.stack([xp.reshape(x, (-1,)) for x in coordinates], axis=1)
    core = parts.core if parts.lead else parts.core[None, ...]
    values = kernels.chebyshev.apply(X, core, parts.factors, parts.domain)
    return xp.reshape(values, (values.shape[0], *shape) if parts.lead else shape)


def on_axes(function: str, parts: Parts, axes: Sequence[Array]) -> list[Array]:
    """Return the values (n_k, r_k) of the one-dimensional functions at points of each axis."""
    for axis, (x, interval) in enumerate(zip(axes, parts.domain, strict=True)):
        check_inside(function, x, interval, axis)
    return [columns(V, x, interval) for V, x, interval in zip(parts.factors, axes, parts.domain, strict=True)]


def columns(V: Array, x: Array, interval: np.ndarray) -> Array:
    """Return the values (n, r) of functions with coefficients V (m, r), a block of points at a time."""
    xp = _arrays.namespace(V)
    inner = kernels.chebyshev.reference_points(x, interval, _arrays.real_dtype(xp, V.dtype))
    height = max(1, BLOCK // V.shape[0])
    blocks = [xp.astype(vandermonde(part, V.shape[0]), V.dtype, copy=False) @ V for _, part in _arrays.row_blocks(inner, height)]
    return xp.concat(blocks, axis=0) if blocks else xp.zeros((0, V.shape[1]), dtype=V.dtype, device=V.device)


def _open_grid(coordinates: Sequence[Array]) -> list[int] | None:
    """Give the axis along which each coordinate varies, all different, if the points are those of a grid."""
    if len(coordinates) == 1 or len({x.ndim for x in coordinates}) > 1 or coordinates[0].ndim != len(coordinates):
        return None
    long = [[axis for axis, n in enumerate(x.shape) if n != 1] for x in coordinates]
    taken = [axes[0] for axes in long if axes]
    if any(len(axes) > 1 for axes in long) or len(set(taken)) < len(taken) or len(taken) < 2:
        return None
    free = iter(axis for axis in range(len(coordinates)) if axis not in taken)
    return [axes[0] if axes else next(free) for axes in long]


def _on_open_grid(parts: Parts, coordinates: Sequence[Array], order: list[int]) -> Array:
    """Evaluate where coordinate k varies along axis order[k]: a product with a matrix for each mode."""
    xp = _arrays.namespace(parts.core)
    tables = [columns(V, xp.reshape(x, (-1,)), interval) for V, x, interval in zip(parts.factors, coordinates, parts.domain, strict=True)]
    values = parts.contracted(tables)
    back = [order.index(axis) + parts.lead for axis in range(parts.dim)]
    return xp.permute_dims(values, (*range(parts.lead), *back))
