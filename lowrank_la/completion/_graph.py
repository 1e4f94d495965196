"""Connectedness of the pattern of entries."""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays
from lowrank_la.completion._observations import Compressed

FIRST = 2  # entries of each row and column that nearly always connect everything


def components(rows: Compressed, cols: Compressed) -> int:
    """Count connected components of the bipartite graph of rows and columns, those without entries left out."""
    m, n = rows.shape
    lonely = sum(int(np.count_nonzero(_arrays.to_numpy(side.degrees) == 0)) for side in (rows, cols))
    few = [_edges(side, FIRST) for side in (rows, cols)]
    joined = np.concatenate([few[0], few[1][:, ::-1]]) if len(rows) else few[0]
    count = _count(joined, m, n) - lonely
    return count if count == 1 else _count(_edges(rows, len(rows)), m, n) - lonely


def _edges(side: Compressed, at_most: int) -> np.ndarray:
    """Return the first entries of each row as pairs (row, column), on the host."""
    indptr, indices = _arrays.to_numpy(side.indptr), _arrays.to_numpy(side.indices)
    lengths = np.minimum(np.diff(indptr), at_most)
    rows = np.repeat(np.arange(side.shape[0]), lengths)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.stack([rows, indices[indptr[rows] + within]], axis=1)


def _count(edges: np.ndarray, m: int, n: int) -> int:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], m + edges[:, 1])), shape=(m + n, m + n))
    count, _ = connected_components(graph, directed=False)
    return int(count)
