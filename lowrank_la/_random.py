"""From `rng=` to seeds: every random number of the library is a pure function of (seed, stream, row, column)."""

from __future__ import annotations

import zlib
from typing import TypeAlias

import numpy as np

RNG: TypeAlias = "int | np.random.Generator | None"


def seed_of(function: str, rng: RNG) -> int:
    """Turn `rng=` into a 64-bit seed: fresh entropy for None, the int itself, or a draw from a generator.

    Raises
    ------
    TypeError
        rng is none of these.
    ValueError
        rng is a negative int or needs more than 64 bits.
    """
    if rng is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**64, dtype=np.uint64))
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise TypeError(f"{function}: rng must be None, an int or a numpy.random.Generator; got {type(rng).__name__}")
    if not 0 <= rng < 2**64:
        raise ValueError(f"{function}: rng must be an int from 0 to 2**64 - 1; got {rng}")
    return int(rng)


def stream(purpose: str) -> int:
    """Return the 32-bit tag that keeps draws for one purpose apart from all others with the same seed."""
    return zlib.crc32(purpose.encode())


def host_generator(seed: int, purpose: str) -> np.random.Generator:
    """Return a NumPy generator for small draws on the host, the same for every backend."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream(purpose)], dtype=np.uint64)))
