"""Cell lists: points of the plane or of space in the order of the cells of a grid, so that neighbours stand together in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CELLS_PER_POINT = 8  # at most, so that empty cells cost little
FINENESS = 2  # cells along the cut-off


class Grid(NamedTuple):
    """A box of cells: its corner, the side of a cell, the number of cells along each axis, and how many cells a cut-off spans."""

    corner: np.ndarray
    side: float
    shape: np.ndarray
    reach: int


class Sorted(NamedTuple):
    """Points by cells: `order` sorts them, `coordinates` (3, n) are sorted; cell c holds those from starts[c] to starts[c + 1]."""

    order: np.ndarray
    coordinates: np.ndarray
    cells: np.ndarray


def grid(points: np.ndarray, others: np.ndarray, cutoff: float) -> Grid:
    """Lay cells over the box of all points (n, 3); their number is bounded by that of the points."""
    corner = np.minimum(points.min(axis=0), others.min(axis=0))
    extent = np.maximum(points.max(axis=0), others.max(axis=0)) - corner
    side = cutoff / FINENESS
    most = max(64, CELLS_PER_POINT * others.shape[0])
    while np.prod(np.floor(extent / side) + 1) > most:
        side *= 1.25
    return Grid(corner, side, (np.floor(extent / side) + 1).astype(np.int64), int(np.ceil(cutoff / side)))


def by_cells(points: np.ndarray, grid: Grid) -> Sorted:
    """Sort points by cells, the last axis fastest."""
    places = np.minimum(((points - grid.corner) / grid.side).astype(np.int64), grid.shape - 1)
    cells = (places[:, 0] * grid.shape[1] + places[:, 1]) * grid.shape[2] + places[:, 2]
    order = np.argsort(cells, kind="stable")
    return Sorted(order, np.ascontiguousarray(points[order].T), cells[order])


def starts(cells: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the first index of each cell, and behind them the number of points."""
    return np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=int(np.prod(grid.shape))))])


def groups(cells: np.ndarray, most: int) -> np.ndarray:
    """Return the first indices of runs of points of one cell, none longer than `most`, and behind them the number of points."""
    new = np.flatnonzero(np.diff(cells, prepend=-1))
    lengths = np.diff(np.append(new, len(cells)))
    place = np.arange(len(cells)) - np.repeat(new, lengths)
    return np.append(np.flatnonzero(place % most == 0), len(cells))
