import numpy as np
import pytest

from lowrank_la import _random


def test_seeds_are_ints_draws_or_entropy():
    assert _random.seed_of("f", 7) == _random.seed_of("f", np.int64(7)) == 7
    assert _random.seed_of("f", 2**64 - 1) == 2**64 - 1
    assert _random.seed_of("f", None) != _random.seed_of("f", None)
    first, second = (_random.seed_of("f", np.random.default_rng(1)) for _ in range(2))
    assert first == second


def test_a_generator_moves_on():
    rng = np.random.default_rng(1)
    assert _random.seed_of("f", rng) != _random.seed_of("f", rng)


@pytest.mark.parametrize(("rng", "error"), [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), (True, TypeError), ("0", TypeError)])
def test_bad_seeds(rng, error):
    with pytest.raises(error, match="f: rng must be"):
        _random.seed_of("f", rng)


def test_purposes_have_streams_of_their_own():
    assert _random.stream("sketch") != _random.stream("probe")
    a, b = (_random.host_generator(3, purpose).random(4) for purpose in ("sketch", "probe"))
    assert not np.any(a == b)
    np.testing.assert_array_equal(a, _random.host_generator(3, "sketch").random(4))
