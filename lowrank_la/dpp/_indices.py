"""Sets of multi-indices: which products of functions of one variable a basis takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lowrank_la import _checks

Index = tuple[int, ...]


def tensor_product(degrees: Sequence[int]) -> tuple[Index, ...]:
    """List all multi-indices up to a degree in each coordinate.

    Parameters
    ----------
    degrees : sequence of int, each at least 0
        Largest index in each coordinate.

    Returns
    -------
    tuple of tuples of int
        By total degree, then lexicographically.

    Raises
    ------
    ValueError
        A degree is negative, or there is none.
    TypeError
        A degree is no integer.

    Examples
    --------
    >>> from lowrank_la.dpp import tensor_product
    >>> tensor_product((1, 2))
    ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (1, 2))
    """
    highest = [_checks.integer("tensor_product", "degrees", degree) for degree in _checks.several("tensor_product", "degrees", degrees)]
    if not highest:
        raise ValueError("tensor_product: degrees must have at least one entry; got none")
    return _grown(len(highest), lambda start: range(highest[len(start)] + 1))


def total_degree(dim: int, degree: int) -> tuple[Index, ...]:
    """List all multi-indices whose entries sum to at most a degree.

    Parameters
    ----------
    dim : int, dim >= 1
        Number of coordinates.
    degree : int, degree >= 0
        Largest sum.

    Returns
    -------
    tuple of tuples of int
        By total degree, then lexicographically.

    Raises
    ------
    ValueError
        An argument is out of range.
    TypeError
        An argument is no integer.

    Examples
    --------
    >>> from lowrank_la.dpp import total_degree
    >>> total_degree(2, 1)
    ((0, 0), (0, 1), (1, 0))
    """
    dim = _checks.integer("total_degree", "dim", dim, 1)
    degree = _checks.integer("total_degree", "degree", degree)
    return _grown(dim, lambda start: range(degree - sum(start) + 1))


def hyperbolic_cross(dim: int, level: int) -> tuple[Index, ...]:
    """List all multi-indices i for which the product of all i_k + 1 is at most level + 1.

    Parameters
    ----------
    dim : int, dim >= 1
        Number of coordinates.
    level : int, level >= 0
        Largest index along an axis.

    Returns
    -------
    tuple of tuples of int
        By total degree, then lexicographically.

    Raises
    ------
    ValueError
        An argument is out of range.
    TypeError
        An argument is no integer.

    Examples
    --------
    >>> from lowrank_la.dpp import hyperbolic_cross
    >>> hyperbolic_cross(2, 2)
    ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0))
    """
    dim = _checks.integer("hyperbolic_cross", "dim", dim, 1)
    level = _checks.integer("hyperbolic_cross", "level", level)
    return _grown(dim, lambda start: range((level + 1) // int(np.prod([i + 1 for i in start], dtype=np.int64))))


def _grown(dim: int, allowed: Callable[[Index], Iterable[int]]) -> tuple[Index, ...]:
    """Extend the empty index by one entry after the other."""
    indices: list[Index] = [()]
    for _ in range(dim):
        indices = [(*start, i) for start in indices for i in allowed(start)]
    return tuple(sorted(indices, key=lambda index: (sum(index), index)))


def lower_set(indices: Any) -> tuple[Index, ...]:
    """Check that a set of multi-indices is lower: with an index it has all smaller ones.

    Parameters
    ----------
    indices : sequence of sequences of int, or array (m, dim)
        The multi-indices.

    Returns
    -------
    tuple of tuples of int
        The same, in the given order.

    Raises
    ------
    ValueError
        The set is empty or not lower, an index is negative or occurs twice, or lengths differ.
    TypeError
        An entry is no integer.

    Examples
    --------
    >>> from lowrank_la.dpp import lower_set
    >>> lower_set([[0, 0], [1, 0], [0, 1], [2, 0]])
    ((0, 0), (1, 0), (0, 1), (2, 0))
    """
    return _lower("lower_set", indices)


def _lower(function: str, indices: Any) -> tuple[Index, ...]:
    chosen = multi_indices(function, indices)
    have = set(chosen)
    for index in chosen:
        for smaller in _below(index):
            if smaller not in have:
                raise ValueError(f"{function}: indices must hold {smaller}, which is below {index}")
    return chosen


def margin(indices: Any) -> tuple[Index, ...]:
    """List the multi-indices that can join a lower set, one at a time, so that it stays lower.

    Parameters
    ----------
    indices : sequence of sequences of int, or array (m, dim)
        A lower set.

    Returns
    -------
    tuple of tuples of int
        By total degree, then lexicographically.

    Raises
    ------
    ValueError
        The set is empty or not lower.
    TypeError
        An entry is no integer.

    Examples
    --------
    >>> from lowrank_la.dpp import margin
    >>> margin([(0, 0), (1, 0)])
    ((0, 1), (2, 0))
    """
    have = set(_lower("margin", indices))
    above = {(*i[:k], i[k] + 1, *i[k + 1 :]) for i in have for k in range(len(i))} - have
    return tuple(sorted((i for i in above if have.issuperset(_below(i))), key=lambda index: (sum(index), index)))


def _below(index: Index) -> list[Index]:
    """List the indices that are smaller by one in one entry."""
    return [(*index[:k], index[k] - 1, *index[k + 1 :]) for k in range(len(index)) if index[k]]


def multi_indices(function: str, indices: Any) -> tuple[Index, ...]:
    """Check multi-indices and make them hashable; plain integers have one coordinate.

    Raises
    ------
    ValueError
        There is none, an index is negative or occurs twice, or lengths differ.
    TypeError
        They are no sequence, or an entry is no integer.
    """
    rows = [tuple(index) if np.ndim(index) else (index,) for index in _checks.several(function, "indices", indices)]
    chosen = tuple(tuple(_checks.integer(function, "indices", int(i) if isinstance(i, np.integer) else i) for i in row) for row in rows)
    lengths = {len(index) for index in chosen}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"{function}: indices must be multi-indices of one length; got {len(chosen)} of lengths {sorted(lengths)}")
    if len(set(chosen)) < len(chosen):
        twice = next(index for k, index in enumerate(chosen) if index in chosen[:k])
        raise ValueError(f"{function}: indices must be different; got {twice} twice")
    return chosen
