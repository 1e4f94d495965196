"""Fit in a larger space with the points there are, and new ones that make up for what these miss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lowrank_la import _checks, _random
from lowrank_la._arrays import Array
from lowrank_la.dpp._bases import Basis, Univariate
from lowrank_la.dpp._boost import warn_unless_passed
from lowrank_la.dpp._design import Design, Sites, inside, make_design, shortfall
from lowrank_la.dpp._indices import Index, margin
from lowrank_la.dpp._measure import measure
from lowrank_la.dpp._result import WeightedLstsqResult
from lowrank_la.dpp._sample import determinantal
from lowrank_la.dpp._tensor import TensorBasis
from lowrank_la.dpp._weighted import answer

NAME = "enlarge"
MOST = 16  # determinantal samples that are added to what the shares of old and new functions ask for


def enlarge(
    result: WeightedLstsqResult, f: Callable[[Array], Any], basis: Basis | None, add: int | None, delta: float, seed: int
) -> WeightedLstsqResult:
    """Add functions, draw points for them, and fit again; see `WeightedLstsqResult.enlarge`.

    Raises
    ------
    ValueError
        Both a basis and a number of functions are given, or an argument is out of range.
    """
    delta = _checks.real(NAME, "delta", delta, 0, 1, open=True)
    old = _as_tensor(result.basis)
    new = _new_functions(old, basis)
    if add is not None:
        if basis is not None:
            raise ValueError(f"{NAME}: add must not be given with a basis; got {add!r}")
        _checks.integer(NAME, "add", add, 1, len(new))
    wide = _with_functions(old, basis, (*old.indices, *new))
    fresh = TensorBasis(wide.families, new)
    points, strata, passed = _points(result, wide, old, fresh, delta, _random.host_generator(seed, NAME))
    values = result.measured.beside(measure(NAME, f, wide, points[result.design.size :]))
    if add is not None:
        design = _design(wide, points, strata, passed)
        C = answer(wide, design, values, result.ridge, strata).C[len(old.indices) :]
        best = np.sort(np.argsort(-np.linalg.norm(C, axis=1), kind="stable")[:add])
        wide = TensorBasis(wide.families, (*old.indices, *(new[i] for i in best)))
    design = _design(wide, points, strata, passed)
    warn_unless_passed(NAME, design, delta)
    return answer(wide, design, values, result.ridge, strata)


def _as_tensor(basis: Basis) -> TensorBasis:
    """See a basis as a product of families.

    Raises
    ------
    TypeError
        It is none.
    """
    if isinstance(basis, TensorBasis):
        return basis
    if isinstance(basis, Univariate):
        return TensorBasis(basis, range(basis.size))
    raise TypeError(f"{NAME}: basis must be a family or a TensorBasis; got {type(basis).__name__}")


def _new_functions(old: TensorBasis, basis: Basis | None) -> tuple[Index, ...]:
    """List the functions that join.

    Raises
    ------
    ValueError
        The larger basis has other families, lacks a present function or has no new one.
    """
    if basis is None:
        return margin(old.indices)
    larger = _as_tensor(basis)
    if [replace(family, size=1) for family in larger.families] != [replace(family, size=1) for family in old.families]:
        raise ValueError(f"{NAME}: basis must have the families of {old!r}; got {larger!r}")
    lacking = set(old.indices) - set(larger.indices)
    if lacking or len(larger.indices) == len(old.indices):
        what = f"it lacks {min(lacking)}" if lacking else "it has no other"
        raise ValueError(f"{NAME}: basis must have all present functions and new ones; {what}")
    have = set(old.indices)
    return tuple(index for index in larger.indices if index not in have)


def _with_functions(old: TensorBasis, basis: Basis | None, indices: tuple[Index, ...]) -> TensorBasis:
    """Make the families large enough."""
    sizes = [max(index[k] for index in indices) + 1 for k in range(old.dim)]
    return TensorBasis([replace(family, size=size) for family, size in zip(old.families, sizes, strict=True)], indices)


def _points(
    result: WeightedLstsqResult, wide: TensorBasis, old: TensorBasis, fresh: TensorBasis, delta: float, generator: np.random.Generator
) -> tuple[np.ndarray, tuple[tuple[int, Basis], ...], bool]:
    """Append determinantal samples: for the new functions as their share asks, then for the part that is worst determined."""
    points, strata = inside(result.basis, result.design), list(result.strata)
    parts, passed = [fresh] * max(1, round(result.design.size / old.size)), False
    for extra in range(MOST + 1):
        for part in parts:
            points = np.concatenate([points, determinantal(part, 1, generator)[0]])
            strata.append((part.size, part))
        sites = _sites(wide, points, tuple(strata))
        passed = shortfall(wide, sites) <= delta
        if passed or extra == MOST:
            break
        weakest = np.linalg.eigh(sites.gram)[1][:, 0]
        parts = [old if np.sum(np.abs(weakest[: old.size]) ** 2) > 0.5 else fresh]
    return points, tuple(strata), passed


def _sites(basis: Basis, points: np.ndarray, strata: tuple[tuple[int, Basis], ...]) -> Sites:
    """Weight points by one over the density of the mixture that they come from."""
    shares: dict[Basis, int] = {}
    for count, part in strata:
        shares[part] = shares.get(part, 0) + count
    n = points.shape[0]
    logs = np.stack([part.unit(points)[1] + math.log(count / (n * part.size)) for part, count in shares.items()])
    log_weights = -np.logaddexp.reduce(logs, axis=0)
    u, log_k = basis.unit(points)
    return Sites(points, np.exp((log_k + log_weights) / 2)[:, None] * u, log_weights)


def _design(basis: Basis, points: np.ndarray, strata: tuple[tuple[int, Basis], ...], passed: bool) -> Design:
    return make_design(basis, _sites(basis, points, strata), kind="enlarged", repeats=len(strata), converged=passed)
