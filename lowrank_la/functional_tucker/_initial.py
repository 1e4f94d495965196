"""Where coordinate ascent starts: the higher-order SVD of data in bins, or smooth random factors."""

from __future__ import annotations

import numpy as np

from lowrank_la.functional_tucker import _core
from lowrank_la.functional_tucker._state_space import Prior
from lowrank_la.functional_tucker._sweeps import Factor, Noise, State
from lowrank_la.tensors._modes import multiply_all
from lowrank_la.tensors._truncate import truncate

BINS, CELLS = 32, 1 << 20
SPREAD = 1e-3  # variance of the factors at the start: what is small leads to better optima


def start(
    t: list[np.ndarray],
    places: np.ndarray,
    z: np.ndarray,
    weights: np.ndarray,
    *,
    priors: list[Prior],
    ranks: tuple[int, ...],
    cp: bool,
    full: bool,
    generator: np.random.Generator | None,
) -> State:
    """Return a state to start from; with a generator, a random one."""
    if generator is None:
        T, centres = binned(t, places, z, weights, max(ranks))
        factors, core = _deflated(T, ranks[0]) if cp else _truncated(T, ranks)
        values = [_between(points, c, F) for points, c, F in zip(t, centres, factors, strict=True)]
        values = [_filled(F, R) for F, R in zip(values, ranks, strict=True)]
        core = core if cp else np.pad(core, [(0, R - r) for R, r in zip(ranks, core.shape, strict=True)])
    else:
        values = [generator.standard_normal((min(points.size, BINS), R)) for points, R in zip(t, ranks, strict=True)]
        values = [_between(points, np.linspace(points[0], points[-1], F.shape[0]), F) for points, F in zip(t, values, strict=True)]
        core = np.empty(0) if cp else 0.1 * generator.standard_normal(ranks)
    return _state(t, values, core, priors, cp=cp, full=full)


def _state(t: list[np.ndarray], values: list[np.ndarray], core: np.ndarray, priors: list[Prior], *, cp: bool, full: bool) -> State:
    """Give factors unit mean square, and move their sizes into the core."""
    sizes = [np.sqrt(np.mean(F**2, axis=0)) for F in values]
    sizes = [np.where(size > 0, size, 1.0) for size in sizes]
    if not cp:
        values = [F / size for F, size in zip(values, sizes, strict=True)]
        core = multiply_all(core, [np.diag(size) for size in sizes])
    factors = [
        Factor(prior, points, F, np.broadcast_to(SPREAD * np.eye(F.shape[1]), (*F.shape, F.shape[1])), *_nothing(F))
        for points, F, prior in zip(t, values, priors, strict=True)
    ]
    return State(tuple(factors), None if cp else _core.start(core, full=full), Noise(1.0, 1.0))


def _nothing(F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((*F.shape, F.shape[1])), np.zeros(F.shape)


def binned(t: list[np.ndarray], places: np.ndarray, z: np.ndarray, weights: np.ndarray, least: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Average data over the cells of a grid, 0 where there are none: the tensor, and the centres of the bins of each mode."""
    most = max(least, int(min(CELLS, 4 * float(np.sum(weights)) + 1) ** (1 / len(t))), 2)
    count = min(BINS, most)
    edges, room = [], CELLS
    for points in t:  # with very many modes, those that find no room have one bin
        e = points if points.size <= count else np.linspace(points[0], points[-1], count)
        edges.append(e if e.size <= room else np.array([(points[0] + points[-1]) / 2]))
        room //= edges[-1].size
    cells = [np.searchsorted((e[1:] + e[:-1]) / 2, points) for points, e in zip(t, edges, strict=True)]
    shape = tuple(e.size for e in edges)
    flat = np.ravel_multi_index(tuple(c[places[:, k]] for k, c in enumerate(cells)), shape)
    mass = np.bincount(flat, weights, int(np.prod(shape)))
    sums = np.bincount(flat, weights * z, int(np.prod(shape)))
    return (sums / np.where(mass > 0, mass, 1.0)).reshape(shape), edges


def _truncated(T: np.ndarray, ranks: tuple[int, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    found = truncate(T, ranks=ranks)
    return list(found.factors), found.core


def _deflated(T: np.ndarray, R: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Take one component after the other off the tensor, each with its size spread over the modes."""
    columns = []
    for _ in range(R):
        found = truncate(T, ranks=[1] * T.ndim)
        size = float(found.core.ravel()[0])
        share = abs(size) ** (1 / T.ndim)
        parts = [share * F for F in found.factors]
        parts[0] = np.copysign(parts[0], parts[0] * size) if size else parts[0]
        columns.append(parts)
        T = T - multiply_all(np.ones([1] * T.ndim), parts)
    factors = [np.concatenate([parts[k] for parts in columns], axis=1) for k in range(T.ndim)]
    return factors, np.empty(0)


def _between(t: np.ndarray, centres: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Interpolate linearly from bins to abscissae."""
    return np.stack([np.interp(t, centres, column) for column in F.T], axis=1)


def _filled(F: np.ndarray, R: int) -> np.ndarray:
    """Add columns that oscillate where the tensor has less rank than the model."""
    x = np.linspace(0.0, np.pi, F.shape[0])
    more = np.cos(np.arange(1, R - F.shape[1] + 1) * x[:, None] + 0.5)
    return np.concatenate([F, 0.1 * more], axis=1)
