"""Philox4x32-10: random words as a pure function of (seed, stream, major, minor).

Key = the seed's two words. Counter = (minor low, major low, major high | minor high
<< 16, stream): `major` (48 bits) runs along the long axis of the data, `minor` (48 bits)
along the sketch. One call gives four 32-bit words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from lowrank_la import _arrays
from lowrank_la._arrays import Array

MASK = 0xFFFFFFFF
M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10


def rounds(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """Scramble a counter of four uint64 that hold 32-bit words; plain Python that Numba compiles for CPU and GPU."""
    mask = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & mask, (p0 >> half) ^ c3 ^ k1, p0 & mask
        k0 = (k0 + np.uint64(0x9E3779B9)) & mask
        k1 = (k1 + np.uint64(0xBB67AE85)) & mask
    return c0, c1, c2, c3


def counter(seed: Any, stream: Any, major: Any, minor: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Give the counter and the key of one (major, minor) for `rounds`; all arguments uint64."""
    mask = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    high = (major >> half) | ((minor >> half) << np.uint64(16))
    return minor & mask, major & mask, high, stream, seed & mask, seed >> half


def words_at(seed: Any, stream: Any, major: Any, minor: Any) -> tuple[Any, Any, Any, Any]:
    """Four words for one (major, minor); all arguments uint64. Compiled through `cpu_words` or a device twin."""
    c0, c1, c2, c3, k0, k1 = _counter(seed, stream, major, minor)
    return _rounds(c0, c1, c2, c3, k0, k1)


_counter = njit(inline="always")(counter)
_rounds = njit(inline="always")(rounds)
cpu_words = njit(inline="always")(words_at)


def words(like: Array, seed: int, stream: int, major: Array, minor: Array) -> tuple[Array, Array, Array, Array]:
    """Return four int64 arrays of 32-bit words for broadcastable int64 counters: the reference, in the array API."""
    xp = _arrays.namespace(like)
    c0, c1 = minor & MASK, major & MASK
    c2, c3 = (major >> 32) | ((minor >> 32) << 16), xp.full_like(major, stream)
    k0, k1 = seed & MASK, seed >> 32
    for _ in range(ROUNDS):
        hi0, lo0 = _wide_product(c0, M0)
        hi1, lo1 = _wide_product(c2, M1)
        c0, c1, c2, c3 = hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c0, c1, c2, c3


def _wide_product(x: Array, m: int) -> tuple[Array, Array]:
    """High and low word of x * m without overflow of int64."""
    low = x * (m & 0xFFFF)
    high = x * (m >> 16) + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)
