"""Sets of directions: independent ones, orthonormal blocks, and low-discrepancy sets turned at random.

Directions are rows of float64 arrays on the host, a pure function of (seed, purpose, number), so that every
backend gets the same ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowrank_la import _random, kernels
from lowrank_la._threads import serial_blas

TURNS = 8  # independent rotations of a low-discrepancy set: their spread is the error


def independent(L: int, d: int, seed: int, purpose: str, first: int = 0) -> np.ndarray:
    """Draw L directions, numbers `first` to first + L of a stream, uniform on the sphere."""
    G = gaussians(L, d, seed, purpose, first)
    return G / np.linalg.norm(G, axis=1, keepdims=True)


def gaussians(L: int, d: int, seed: int, purpose: str, first: int = 0) -> np.ndarray:
    """Draw L rows of d standard normals."""
    rows = np.arange(first, first + L, dtype=np.int64)
    return kernels.dense.entries(np.empty((0, 0)), "gaussian", seed, _random.stream(purpose), d, rows).T


def orthonormal(L: int, d: int, size: int, seed: int, purpose: str, first: int = 0) -> np.ndarray:
    """Draw whole blocks of `size` orthonormal directions, at least L in all; each is uniform on the sphere."""
    blocks = -(-L // size)
    G = gaussians(blocks * size, d, seed, purpose, first).reshape(blocks, size, d)
    with serial_blas():  # the factors of threaded ones depend on the number of threads
        Q = np.linalg.qr(G.transpose(0, 2, 1))[0]
    return np.ascontiguousarray(Q.transpose(0, 2, 1)).reshape(blocks * size, d)


def low_discrepancy(L: int, d: int, size: int, seed: int, purpose: str, first: int = 0) -> np.ndarray:
    """Draw independent turns of one even set of `size` directions, at least L in all; each direction is uniform on the sphere."""
    return np.concatenate([_turned(size, d, seed, purpose, first // size + turn) for turn in range(-(-L // size))])


def _turned(count: int, d: int, seed: int, purpose: str, turn: int) -> np.ndarray:
    """Equal angles on the half circle, a spiral on the sphere, or a scrambled Sobol' sequence made normal."""
    rng = _random.host_generator(seed, f"{purpose}: turn {turn}")
    if d == 2:
        angles = np.pi * (np.arange(count) + rng.random()) / count
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if d == 3:
        Q, R = np.linalg.qr(rng.standard_normal((3, 3)))
        return spiral(count) @ (Q * np.sign(np.diag(R)))
    from scipy.special import ndtri
    from scipy.stats import qmc

    sequence: Any = qmc.Sobol(d, scramble=True, seed=int(rng.integers(2**32)))  # type: ignore[call-arg]
    points = sequence.random_base2(math.ceil(math.log2(count)))[:count]
    G = ndtri(np.clip(points, 2.0**-33, 1 - 2.0**-33))
    return G / np.linalg.norm(G, axis=1, keepdims=True)


def spiral(count: int) -> np.ndarray:
    """Place points on a generalised spiral over the sphere, at equal steps of height and about equal distances along it."""
    z = 1 - (2 * np.arange(count) + 1) / count
    radius = np.sqrt(1 - z * z)
    turn = np.cumsum(3.6 / (math.sqrt(count) * radius))
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)
