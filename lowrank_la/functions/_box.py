"""The box that a function lives on."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door

MOST_VARIABLES = 8


def box(name: str, f: Callable[..., Any] | None, domain: Any, dim: int | None = None) -> tuple[Door, Array]:
    """Take the domain inside; None is [-1, 1] for each of `dim` variables or arguments of f.

    Raises
    ------
    ValueError
        An interval is empty, a point or infinite, or the number of variables cannot be told or is too large.
    TypeError
        The domain is complex, or no numbers.
    """
    if domain is None:
        domain = np.asarray([[-1.0, 1.0]] * (_arguments(name, f) if f is not None else dim or 0))
    elif not _arrays.is_array(domain):
        domain = _arrays.on_host(name, "domain", domain)
    door, [domain] = _arrays.enter(name, domain=domain)
    _checks.finite(name, "domain", _checks.real_dtype(name, "domain", domain))
    rule = f"{name}: domain must have shape (d, 2) with d from 1 to {MOST_VARIABLES}"
    if domain.ndim != 2 or domain.shape[1] != 2 or not 1 <= domain.shape[0] <= MOST_VARIABLES:
        raise ValueError(f"{rule}; got shape {tuple(domain.shape)}")
    if dim is not None and domain.shape[0] != dim:
        raise ValueError(f"{name}: domain must have {dim} rows, one for each variable; got {domain.shape[0]}")
    for row, (a, b) in enumerate(_arrays.to_numpy(domain)):
        if not a < b or not math.isfinite(float(b) - float(a)):
            raise ValueError(f"{name}: domain must have lower ends below upper ends; got [{a:g}, {b:g}] in row {row}")
    return door, domain


def _arguments(name: str, f: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    plain = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not plain or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ValueError(f"{name}: domain must be given, since the arguments of f do not tell the number of variables; got None")
    return len(plain)
