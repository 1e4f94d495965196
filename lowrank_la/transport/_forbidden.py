"""Forbidden pairs: whether any plan avoids them, and a feasible plan near one that almost does."""

from __future__ import annotations

from typing import Any

import numpy as np

UNITS = 1 << 29  # integer units of mass in the flow
U = 2.0**-53


def is_infeasible(C: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """Say whether a maximum flow proves that no plan with sums a and b (mass 1) avoids infinite costs."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    n, m = C.shape
    rows, columns = np.nonzero(np.isfinite(C))
    capacities = [np.floor(a * UNITS), np.full(rows.size, float(UNITS)), np.floor(b * UNITS)]
    tails = [np.zeros(n), 1 + rows, 1 + n + np.arange(m)]
    heads = [1 + np.arange(n), 1 + n + columns, np.full(m, 1 + n + m)]
    capacity, tail, head = (np.concatenate(parts).astype(np.int32) for parts in (capacities, tails, heads))
    graph = csr_array((capacity, (tail, head)), shape=(n + m + 2, n + m + 2))
    return maximum_flow(graph, 0, n + m + 1).flow_value < UNITS - 2 * (n + m)  # weights lose less than a unit each


def cost_of_repaired(C: np.ndarray, P: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Return the cost of a plan that differs from P along a tree of its largest entries alone, or inf if the tree cannot carry it."""
    order, parent = _tree(P)
    if order is None:
        return np.inf
    n = len(a)
    lack = np.concatenate([a - P.sum(axis=1), b - P.sum(axis=0)])
    changes = np.zeros_like(P)
    for node in order[:0:-1]:  # leaves first
        up = parent[node]
        i, j = (node, up - n) if node < n else (up, node - n)
        changes[i, j] = lack[node]
        lack[up] -= lack[node]
    repaired = P + changes
    if repaired.min() < 0:
        return np.inf
    allowed = repaired > 0
    total = float(np.sum(C[allowed] * repaired[allowed]))
    return total + 8 * (P.shape[0] + P.shape[1]) * U * float(np.abs(C[allowed]).max())


def _tree(P: np.ndarray) -> tuple[Any, Any]:
    """Return the nodes (rows, then columns) of a tree of largest entries from its root on, and their parents; None if P is disconnected."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    n, m = P.shape
    rows, columns = np.nonzero(P)
    lengths = 1 - np.log(P[rows, columns] / P.max())  # the larger an entry, the shorter its edge
    tree = minimum_spanning_tree(coo_array((lengths, (rows, n + columns)), shape=(n + m, n + m)).tocsr())
    order, parent = breadth_first_order(tree, 0, directed=False)
    return (order, parent) if len(order) == n + m else (None, None)
