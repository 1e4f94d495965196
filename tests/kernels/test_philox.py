"""Philox4x32-10 against the published vectors, and the counter layout, in Numba and in the array API."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from lowrank_la.kernels import philox

KNOWN = [  # counter, key, words: the known answers that the authors of Philox publish
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]
_rounds = njit(philox.rounds)


@njit
def _words_at(seed, stream, major, minor):
    return philox.cpu_words(seed, stream, major, minor)


def _exact(c, k):
    """Ten rounds in unbounded integers, as in the paper."""
    c, k, mask = list(c), list(k), 0xFFFFFFFF
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & mask, (p >> 32) ^ c[3] ^ k[1], p & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return tuple(c)


def _layout(seed, stream, major, minor):
    low = 0xFFFFFFFF
    return _exact((minor & low, major & low, (major >> 32) | ((minor >> 32) << 16), stream), (seed & low, seed >> 32))


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_published_vectors(counter, key, words):
    assert _exact(counter, key) == words
    assert tuple(int(w) for w in _rounds(*map(np.uint64, counter), *map(np.uint64, key))) == words


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_published_vectors_through_the_layout(counter, key, words, backend):
    """Counters whose third word splits into high parts of major and minor."""
    major = counter[1] | (counter[2] & 0xFFFF) << 32
    minor = counter[0] | (counter[2] >> 16) << 32
    seed = key[0] | key[1] << 32
    assert tuple(int(w) for w in _words_at(*map(np.uint64, (seed, counter[3], major, minor)))) == words
    got = philox.words(backend.array(np.zeros(1)), seed, counter[3], *(backend.array(np.array([x])) for x in (major, minor)))
    assert tuple(int(backend.numpy(w)[0]) for w in got) == words


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_versions_agree_on_the_whole_range(seed, stream, major, minor):
    expected = _layout(seed, stream, major, minor)
    assert tuple(int(w) for w in _words_at(*map(np.uint64, (seed, stream, major, minor)))) == expected
    assert tuple(int(w[0]) for w in philox.words(np.empty(0), seed, stream, np.array([major]), np.array([minor]))) == expected


@pytest.mark.parametrize("seed", [5, 2**63 + 5])
def test_large_counters_and_seeds_on_every_backend(seed, backend):
    major, minor = np.array([0, 2**32 - 1, 2**32, 2**48 - 1]), np.array([2**40, 0, 2**32 + 7, 2**48 - 1])
    got = philox.words(backend.array(np.zeros(1)), seed, 2**32 - 1, backend.array(major), backend.array(minor))
    expected = [_layout(seed, 2**32 - 1, int(a), int(b)) for a, b in zip(major, minor, strict=True)]
    np.testing.assert_array_equal(np.stack([backend.numpy(w) for w in got], axis=1), np.array(expected))
