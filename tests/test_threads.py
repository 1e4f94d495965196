import numba
import pytest
from threadpoolctl import threadpool_info

from lowrank_la import limit_threads


def test_every_pool_is_limited_and_restored():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(2)
    before = numba.get_num_threads()
    with limit_threads(1):
        assert numba.get_num_threads() == torch.get_num_threads() == 1
        assert all(pool["num_threads"] == 1 for pool in threadpool_info())
    assert numba.get_num_threads() == before
    assert torch.get_num_threads() == 2


def test_limits_hold_after_an_error():
    before = numba.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"), limit_threads(1):
        raise RuntimeError("inside")
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_bad_numbers(n):
    with pytest.raises(ValueError, match="limit_threads: n must be an integer of at least 1"), limit_threads(n):
        pass
