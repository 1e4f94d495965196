"""Random vectors for probing and starting: pure functions of (seed, purpose, row, column), on every backend."""

from __future__ import annotations

from lowrank_la import _arrays, _random, kernels
from lowrank_la._arrays import Array


def gaussian(like: Array, n: int, count: int, seed: int, purpose: str) -> Array:
    """Draw an (n, count) matrix of standard normals in the dtype of `like`; complex ones have |g|^2 = 1 on average."""
    xp = _arrays.namespace(like)
    if xp.isdtype(like.dtype, "complex floating"):
        real, imaginary = (_normals(like, n, count, seed, f"{purpose}: {part}") for part in ("real", "imaginary"))
        return xp.astype(real + 1j * imaginary, like.dtype) * 0.5**0.5
    return _normals(like, n, count, seed, purpose)


def sphere(like: Array, n: int, count: int, seed: int, purpose: str) -> Array:
    """Draw `count` columns that are uniform on the sphere of radius sqrt(n)."""
    X = gaussian(like, n, count, seed, purpose)
    return X * (n**0.5 / _arrays.namespace(X).linalg.vector_norm(X, axis=0))


def _normals(like: Array, n: int, count: int, seed: int, purpose: str) -> Array:
    xp = _arrays.namespace(like)
    rows = xp.arange(n, dtype=xp.int64, device=like.device)
    return kernels.dense.entries(like, "gaussian", seed, _random.stream(purpose), count, rows).T
