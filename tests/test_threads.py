import numba
import pytest
from threadpoolctl import threadpool_info

from lowrank_la import limit_threads
from lowrank_la._threads import serial_blas


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


def _blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_serial_blas_nests_and_restores_when_the_last_one_leaves():
    before = _blas_threads()
    first, second = serial_blas(), serial_blas()
    first.__enter__()
    second.__enter__()
    assert _blas_threads() == {1}
    first.__exit__(None, None, None)  # as when two threads overlap
    assert _blas_threads() == {1}
    second.__exit__(None, None, None)
    assert _blas_threads() == before
