"""Which way a function is built: a full grid where it is small, else lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lowrank_la import _checks
from lowrank_la.functions._adaptive import fibres, needed, pilot
from lowrank_la.functions._cross import cross
from lowrank_la.functions._focus import random_points
from lowrank_la.functions._goal import Built, Goal
from lowrank_la.functions._grid import on_grid
from lowrank_la.functions._sampler import POINTS, Sampler

LINES = 8  # of the pilot, along each axis
GRID = 1 << 22  # values up to which "auto" fills a grid of up to 3 variables
GRID_OF_MANY = 1 << 18  # likewise, of more variables, where lines save more
GRID_OF_POINTS = 1 << 14  # likewise, for a function that is called point by point
NOISE = 4.0  # times the level of noise: the tolerance where noise is above the one that was asked for


def build(sampler: Sampler, goal: Goal, method: str) -> tuple[Built, float]:
    """Choose between grid and lines, and build; the level of noise comes along."""
    points = random_points(goal.seed, "chebyshev_tucker pilot", LINES, sampler.dim)
    if goal.sizes:
        lines, sizes, noise = [fibres(sampler, k, points, m) for k, m in enumerate(goal.sizes)], goal.sizes, 0.0
        if method == "grid":
            _checks.integer(sampler.name, "max_bytes", goal.max_bytes, math.prod(sizes) * sampler.bytes)
    else:
        lines = pilot(sampler, points, goal.tol, goal.most)
        noise = max(F.noise for F in lines)
        goal = replace(goal, tol=max(goal.tol, min(0.5, NOISE * noise)))
        sizes = tuple(needed(F, goal.tol) for F in lines)
    if method == "grid" or (method == "auto" and _fits(sampler, sizes, goal)):
        return on_grid(sampler, _reduced(sampler, sizes, goal), goal), noise
    built = cross(sampler, lines, goal)
    fits = math.prod(sizes) * sampler.bytes <= goal.max_bytes and sampler.calling != POINTS
    if method == "auto" and fits and not (built.passed or built.short):
        built = on_grid(sampler, sizes, goal)
    return built, noise


def _fits(sampler: Sampler, sizes: Sequence[int], goal: Goal) -> bool:
    """Say whether a grid is small enough to be filled unasked."""
    most = GRID_OF_POINTS if sampler.calling == POINTS else GRID if sampler.dim <= 3 else GRID_OF_MANY
    return math.prod(sizes) * sampler.width <= most and math.prod(sizes) * sampler.bytes <= goal.max_bytes


def _reduced(sampler: Sampler, sizes: Sequence[int], goal: Goal) -> tuple[int, ...]:
    """Halve the finest modes until the grid fits."""
    shape = list(sizes)
    while math.prod(shape) * sampler.bytes > goal.max_bytes and max(shape) > 1:
        k = int(np.argmax(shape))
        shape[k] = (shape[k] + 1) // 2
    return tuple(shape)
