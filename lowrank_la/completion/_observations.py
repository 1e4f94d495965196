"""Read observed entries of any form into compressed rows, and set some of them aside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array, Door


@dataclass(frozen=True)
class Entries:
    """A few entries of a matrix, as triples."""

    rows: Array
    cols: Array
    values: Array
    weights: Array | None = None

    def __len__(self) -> int:
        return self.values.shape[0]

    def transpose(self) -> Entries:
        """Return the same entries of the transposed matrix."""
        return Entries(self.cols, self.rows, self.values, self.weights)


@dataclass(frozen=True)
class Compressed:
    """Observed entries by rows; `weights`, if any, stand beside `values`."""

    values: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]
    weights: Array | None = None

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def degrees(self) -> Array:
        """Entries of each row."""
        return self.indptr[1:] - self.indptr[:-1]

    def transpose(self) -> Compressed:
        """Return the same entries by columns."""
        m, n = self.shape
        indptr, indices, values = kernels.compress.transpose(self.values, self.indices, self.indptr, n)
        weights = self.weights
        if weights is not None:
            weights = kernels.compress.transpose(weights, self.indices, self.indptr, n)[2]
        return Compressed(values, indices, indptr, (n, m), weights)

    def blocks(self, share: float, count: int) -> Compressed:
        """Return a share of the rows, in a number of blocks of consecutive rows spread evenly."""
        xp, edges = _arrays.namespace(self.values), spread(self.shape[0], share, count)
        spans = [slice(int(self.indptr[first]), int(self.indptr[last])) for first, last in edges]
        degrees = xp.concat([self.degrees[first:last] for first, last in edges])
        values, indices = (xp.concat([x[span] for span in spans]) for x in (self.values, self.indices))
        weights = None if self.weights is None else xp.concat([self.weights[span] for span in spans])
        indptr = xp.cumulative_sum(degrees, include_initial=True)
        return Compressed(values, indices, indptr, (degrees.shape[0], self.shape[1]), weights)

    def at(self, places: np.ndarray) -> Entries:
        """Return the entries at some sorted places of the storage, given on the host."""
        xp = _arrays.namespace(self.values)
        places = _arrays.from_numpy(places, self.values)
        before = xp.searchsorted(places, self.indptr)
        rows = xp.repeat(xp.arange(self.shape[0], dtype=self.indptr.dtype, device=self.values.device), before[1:] - before[:-1])
        weights = None if self.weights is None else xp.take(self.weights, places)
        return Entries(rows, xp.take(self.indices, places), xp.take(self.values, places), weights)

    def without(self, places: np.ndarray) -> Compressed:
        """Return all entries but those at some sorted places of the storage."""
        if len(places) == 0:
            return self
        places = _arrays.from_numpy(places, self.values)
        indptr, indices, values = kernels.compress.without(self.values, self.indices, self.indptr, places)
        weights = self.weights
        if weights is not None:
            weights = kernels.compress.without(weights, self.indices, self.indptr, places)[2]
        return Compressed(values, indices, indptr, self.shape, weights)


def spread(m: int, share: float, count: int) -> list[tuple[int, int]]:
    """Cut a share of m rows into a number of ranges, spread evenly."""
    height = max(1, round(m * share / count))
    return [(first, min(first + height, m)) for first in sorted({m * block // count for block in range(count)})]


@dataclass(frozen=True)
class Parts:
    """Entries to fit, to decide with (when to stop, which rank), and to certify with."""

    train: Compressed
    tune: Entries
    test: Entries


def split(entries: Compressed, fraction: float, seed: int) -> Parts:
    """Draw every entry with one probability, independently; half of those drawn tune, half certify.

    The draw depends on the places of the entries alone: given how many were drawn, they are a uniform subset.
    """
    random = _random.host_generator(seed, "complete: held-out entries")
    drawn = _bernoulli_places(random, len(entries), fraction)
    certify = random.random(len(drawn)) < 0.5
    return Parts(entries.without(drawn), entries.at(drawn[~certify]), entries.at(drawn[certify]))


def _bernoulli_places(random: np.random.Generator, length: int, probability: float) -> np.ndarray:
    """Draw a Bernoulli subset of range(length) by its geometric gaps, at a cost proportional to the subset."""
    if probability == 0.0:
        return np.empty(0, dtype=np.int64)
    expected = length * probability
    places, last = [], -1
    while last < length:
        gaps = random.geometric(probability, int(expected + 4 * math.sqrt(expected) + 4))
        places.append(last + np.cumsum(gaps))
        last = int(places[-1][-1])
    drawn = np.concatenate(places)
    return drawn[drawn < length]


def read(
    function: str, M: Any, *, shape: Any = None, mask: Any = None, weights: Any = None, duplicates: str = "error"
) -> tuple[Door, Compressed]:
    """Read a NaN-masked array, a sparse matrix, or triples; entries of weight 0 count as missing."""
    if _arrays.is_sparse(M):
        _refuse(function, "shape", shape, "triples")
        _refuse(function, "mask", mask, "dense arrays")
        door, entries = _read_sparse(function, M, weights)
    elif isinstance(M, tuple):
        _refuse(function, "mask", mask, "dense arrays")
        door, entries = _read_triples(function, M, shape, weights)
    else:
        _refuse(function, "shape", shape, "triples")
        door, entries = _read_dense(function, M, mask, weights)
    entries = _weighed(function, _finite(function, entries))
    return door, _once(function, entries, duplicates) if _arrays.is_sparse(M) or isinstance(M, tuple) else entries


def _refuse(function: str, name: str, value: Any, kind: str) -> None:
    if value is not None:
        raise ValueError(f"{function}: {name} goes only with {kind}")


def _read_triples(function: str, M: tuple, shape: Any, weights: Any) -> tuple[Door, Compressed]:
    if len(M) != 3:
        raise ValueError(f"{function}: M must be an array, a sparse matrix or a tuple (rows, cols, values); got a tuple of {len(M)}")
    if shape is None:
        raise ValueError(f"{function}: shape must be given with (rows, cols, values)")
    if len(tuple(shape)) != 2:
        raise ValueError(f"{function}: shape must be two integers; got {shape!r}")
    m, n = (_checks.integer(function, "shape", length, 1) for length in shape)
    door, [values] = _arrays.enter(function, M=M[2])
    _checks.ndim(function, "values", values, 1)
    rows = _ids(function, "rows", M[0], values, m)
    cols = _ids(function, "cols", M[1], values, n)
    return door, _compress(function, values, rows, cols, (m, n), weights)


def _ids(function: str, name: str, ids: Any, values: Array, length: int) -> Array:
    ids = _arrays.beside(function, name, ids, values)
    _checks.shape(function, name, ids, tuple(values.shape))
    if _arrays.namespace(ids).isdtype(ids.dtype, "integral") and ids.shape[0]:
        low, high = kernels.compress.extent(ids)
        if low >= 0 and high < length:
            return ids
    return _checks.ids(function, name, ids, length)


def _compress(function: str, values: Array, rows: Array, cols: Array, shape: tuple[int, int], weights: Any) -> Compressed:
    weights = _weights_beside(function, weights, values)
    indptr, indices, sorted_values = kernels.compress.csr(values, rows, cols, shape)
    if weights is not None:
        weights = kernels.compress.csr(weights, rows, cols, shape)[2]
    return Compressed(sorted_values, indices, indptr, shape, weights)


def _weights_beside(function: str, weights: Any, values: Array) -> Array | None:
    if weights is None:
        return None
    weights = _arrays.beside(function, "weights", weights, values)
    xp = _arrays.namespace(values)
    _checks.shape(function, "weights", weights, tuple(values.shape))
    return xp.astype(weights, values.dtype, copy=False)


def _read_sparse(function: str, M: Any, weights: Any) -> tuple[Door, Compressed]:
    if M.ndim != 2:
        raise ValueError(f"{function}: M must be 2-dimensional; got shape {tuple(M.shape)}")
    if M.format not in {"csr", "csc", "coo"}:
        _refuse(function, "weights", weights, f"arrays, triples, CSR, CSC and COO matrices, not {M.format}")
        M = M.tocsr()
    door, [values] = _arrays.enter(function, M=M.data)
    m, n = (int(length) for length in M.shape)
    if M.format == "coo":
        return door, _compress(function, values, M.row, M.col, (m, n), weights)
    weights = _weights_beside(function, weights, values)
    entries = Compressed(values, M.indices, M.indptr, (m, n) if M.format == "csr" else (n, m), weights)
    if M.format == "csc":
        entries = entries.transpose()
    elif not M.has_sorted_indices:
        entries = entries.transpose().transpose()  # a transpose comes out sorted
    return door, entries


def _read_dense(function: str, M: Any, mask: Any, weights: Any) -> tuple[Door, Compressed]:
    door, [M] = _arrays.enter(function, M=M)
    _checks.ndim(function, "M", M, 2)
    if 0 in M.shape:
        raise ValueError(f"{function}: M must have at least one row and one column; got shape {tuple(M.shape)}")
    xp = door.xp
    if mask is not None:
        mask = _checks.shape(function, "mask", _arrays.beside(function, "mask", mask, M), tuple(M.shape))
        if mask.dtype != xp.bool:
            raise TypeError(f"{function}: mask must be boolean, True where observed; got dtype {mask.dtype}")
    weights = _weights_beside(function, weights, M)
    parts: dict[str, list] = {"values": [], "indices": [], "degrees": [], "weights": []}
    for first, block in _arrays.row_blocks(M):
        rows = slice(first, first + block.shape[0])
        seen = ~xp.isnan(block) if mask is None else mask[rows, :]
        parts["values"].append(block[seen])
        parts["indices"].append(xp.astype(xp.nonzero(seen)[1], xp.int32))
        parts["degrees"].append(xp.sum(xp.astype(seen, xp.int64), axis=1))
        if weights is not None:
            parts["weights"].append(weights[rows, :][seen])
    values, indices, degrees = (xp.concat(parts[name]) for name in ("values", "indices", "degrees"))
    indptr = xp.cumulative_sum(degrees, include_initial=True)
    return door, Compressed(values, indices, indptr, tuple(M.shape), xp.concat(parts["weights"]) if weights is not None else None)


def _finite(function: str, entries: Compressed) -> Compressed:
    _checks.real_dtype(function, "M", entries.values)
    if len(entries) == 0:
        raise ValueError(f"{function}: M must have at least one observed entry")
    _checks.finite(function, "the observed entries of M", entries.values)
    return entries


def _weighed(function: str, entries: Compressed) -> Compressed:
    if entries.weights is None:
        return entries
    xp = _arrays.namespace(entries.values)
    _checks.finite(function, "weights", entries.weights)
    if bool(xp.any(entries.weights < 0)):
        raise ValueError(f"{function}: weights must not be negative; got {float(xp.min(entries.weights)):g}")
    dropped = np.flatnonzero(_arrays.to_numpy(entries.weights) == 0)
    if len(dropped) == len(entries):
        raise ValueError(f"{function}: weights must not all be 0")
    return entries.without(dropped)


def _once(function: str, entries: Compressed, duplicates: str) -> Compressed:
    xp = _arrays.namespace(entries.values)
    if len(entries) < 2:
        return entries
    same = entries.indices[1:] == entries.indices[:-1]
    repeats = int(xp.count_nonzero(same))
    if repeats:  # the last entry of a row may equal the first of the next
        filled = (entries.indptr[1:] > entries.indptr[:-1]) & (entries.indptr[:-1] > 0)
        repeats -= int(xp.count_nonzero(xp.take(same, entries.indptr[:-1][filled] - 1)))
    if repeats and duplicates == "error":
        raise ValueError(f"{function}: M must give each entry once; got {repeats} repeated places (or pass duplicates='mean')")
    return _averaged(entries) if repeats else entries


def _averaged(entries: Compressed) -> Compressed:
    """Replace entries at one place by their mean, in which weights count, with the sum of the weights; on the host."""
    indptr, indices, values = (_arrays.to_numpy(x) for x in (entries.indptr, entries.indices, entries.values))
    new = np.append(True, indices[1:] != indices[:-1])
    new[indptr[:-1][np.diff(indptr) > 0]] = True
    starts = np.flatnonzero(new)
    weights = np.ones_like(values) if entries.weights is None else _arrays.to_numpy(entries.weights)
    total = np.add.reduceat(weights, starts)
    means = np.add.reduceat(weights * values, starts) / total
    parts = means, indices[starts], np.searchsorted(starts, indptr)
    values, indices, indptr = (_arrays.from_numpy(x, entries.values) for x in parts)
    return Compressed(values, indices, indptr, entries.shape, None if entries.weights is None else _arrays.from_numpy(total, values))
