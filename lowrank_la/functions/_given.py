"""Functions that come as numbers: samples at the nodes, Tucker tensors of samples, canonical tensors on a grid of cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.factor import _dense
from lowrank_la.functions import _chebyshev
from lowrank_la.functions._adaptive import START, finer
from lowrank_la.functions._box import box
from lowrank_la.functions._goal import Built, Goal, finish
from lowrank_la.functions._grid import on_nodes
from lowrank_la.functions._parts import Parts, orthonormal
from lowrank_la.functions._sampler import OPEN, Sampler
from lowrank_la.tensors._canonical import canonical, canonical_norm

NAME = "chebyshev_tucker"
FIRST_SHARE = 0.1  # of the tolerance, for the compression of a canonical tensor before its tails are seen
CUBIC = 3


def samples(f: Any, domain: Any, goal: Goal) -> tuple[Door, bool, Parts, float]:
    """Take samples at the nodes inside, whole or as a Tucker tensor, and turn them into coefficients.

    The answer says whether the function returns numbers, and bounds the norm of the coefficients that are left out.

    Raises
    ------
    ValueError
        The samples do not fit the domain.
    """
    if hasattr(f, "core") and hasattr(f, "factors"):
        names = [f"factors[{k}]" for k in range(len(f.factors))]
        door, [core, *columns] = _dense.enter(NAME, core=f.core, **dict(zip(names, f.factors, strict=True)))
        factors = tuple(_chebyshev.coefficients(U, axis=0) for U in columns)
        return door, True, orthonormal(Parts(core[None, ...], factors, _host_box(domain, len(columns)))), 0.0
    door, [T] = _dense.enter(NAME, f=f)
    host = _host_box(domain, T.ndim if domain is None else None)
    scalar = T.ndim == len(host)
    if not scalar and T.ndim != len(host) + 1:
        rule = f"{NAME}: f must have one axis for each of {len(host)} variables, or one more in front for outputs"
        raise ValueError(f"{rule}; got shape {tuple(T.shape)}")
    return door, scalar, *on_nodes(T[None, ...] if scalar else T, host, goal.tol, goal.seed)


def _host_box(domain: Any, dim: int | None) -> np.ndarray:
    return np.asarray(_arrays.to_numpy(box(NAME, None, domain, dim)[1]), dtype=np.float64)


@dataclass(frozen=True)
class Splines:
    """A canonical tensor of values at the centres of equal cells: its columns are cubic splines, and f is the sum of their products."""

    sampler: Sampler
    weights: Array
    lines: tuple[Callable[[np.ndarray], np.ndarray], ...]
    shape: tuple[int, ...]


def splines(weights: Any, factors: Any, domain: Any) -> Splines:
    """Take a canonical tensor inside.

    Raises
    ------
    TypeError
        The factors are no sequence of matrices.
    """
    if not isinstance(factors, tuple | list) or not factors:
        raise TypeError(f"{NAME}: f must be a pair of weights and a list of factors; got {type(factors).__name__}")
    names = [f"factors[{k}]" for k in range(len(factors))]
    door, [weights, *columns] = _dense.enter(NAME, weights=weights, **dict(zip(names, factors, strict=True)))
    host = _host_box(domain, len(columns))
    _checks.ndim(NAME, "weights", weights, 1)
    for name, U in zip(names, columns, strict=True):
        _checks.shape(NAME, name, U, (_checks.ndim(NAME, name, U, 2).shape[0], weights.shape[0]))
    lines = tuple(_spline(U, interval) for U, interval in zip(columns, host, strict=True))
    like = door.xp.real(weights) if door.xp.isdtype(weights.dtype, "complex floating") else weights
    sampler = Sampler(NAME, partial(_sum_of_products, _arrays.to_numpy(weights), lines), host, door, like, OPEN, None, door)
    return Splines(sampler, weights, lines, tuple(U.shape[0] for U in columns))


def _spline(U: Array, interval: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Interpolate the columns of U (n, R) by not-a-knot splines, cubic from four cells on, which extrapolate half a cell."""
    from scipy.interpolate import make_interp_spline

    n, (a, b) = U.shape[0], interval
    centres = a + (np.arange(n) + 0.5) * ((b - a) / n)
    values = _arrays.to_numpy(U)
    return make_interp_spline(centres, values.astype(np.result_type(values, np.float64)), k=min(CUBIC, n - 1))


def _sum_of_products(weights: np.ndarray, lines: Sequence[Callable[[np.ndarray], np.ndarray]], *x: Array) -> np.ndarray:
    product = weights
    for line, coordinates in zip(lines, x, strict=True):
        product = product * line(_arrays.to_numpy(coordinates))
    return np.sum(product, axis=-1)


def from_splines(tensor: Splines, goal: Goal) -> Built:
    """Sample the splines at nodes, more of them until their coefficients decay or they tell nothing new, and compress what they span."""
    most = [max(START, 2 * n) for n in tensor.shape]
    sizes = list(goal.sizes or (START for _ in tensor.shape))
    while True:
        built = _on_nodes(tensor, sizes, goal)
        modes = [] if goal.sizes else [k for k in built.short if finer(sizes[k]) <= min(goal.most, most[k])]
        if not modes:
            return built
        for k in modes:
            sizes[k] = finer(sizes[k])


def _on_nodes(tensor: Splines, sizes: Sequence[int], goal: Goal) -> Built:
    columns = []
    for line, m, interval in zip(tensor.lines, sizes, tensor.sampler.domain, strict=True):
        values = line(_chebyshev.from_reference(_chebyshev.nodes(m), interval))
        values = _arrays.from_numpy(values, tensor.weights)
        columns.append(_chebyshev.coefficients(tensor.sampler.door.xp.astype(values, tensor.weights.dtype), axis=0))
    first = canonical(tensor.weights, columns, tol=FIRST_SHARE * goal.tol * canonical_norm(tensor.weights, columns))
    return finish(Parts(first.core[None, ...], first.factors, tensor.sampler.domain), first.error, goal)
