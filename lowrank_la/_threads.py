"""One switch for every thread pool: BLAS, OpenMP, Numba and PyTorch."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

SERIAL_FLOPS = 2e6  # fifty microseconds or less on one core

_users = 0  # calls inside `serial_blas`, in all Python threads
_undo = ExitStack()
_lock = threading.Lock()


@contextmanager
def limit_threads(n: int) -> Iterator[None]:
    """Run the body of a `with` statement on at most n threads.

    Parameters
    ----------
    n : int, n >= 1
        Threads for BLAS, OpenMP, Numba kernels and, if it is loaded, PyTorch. Pools
        that are smaller stay as they are.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        n is not a positive integer.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import limit_threads, sketch_lstsq
    >>> A = np.vander(np.linspace(0, 1, 500), 4)
    >>> with limit_threads(1):
    ...     result = sketch_lstsq(A, A @ np.ones(4), rng=0)
    >>> bool(abs(result.x - 1).max() < 1e-10)
    True
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"limit_threads: n must be an integer of at least 1; got {n!r}")
    import numba
    from threadpoolctl import threadpool_limits

    with ExitStack() as undo:
        undo.enter_context(threadpool_limits(n))
        undo.callback(numba.set_num_threads, numba.get_num_threads())
        numba.set_num_threads(min(n, numba.get_num_threads()))
        torch = sys.modules.get("torch")
        if torch is not None:
            undo.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(min(n, torch.get_num_threads()))
        yield


@contextmanager
def serial_blas() -> Iterator[None]:
    """Keep BLAS on one thread while compiled kernels use all of them.

    OpenBLAS threads spin for some 25 ms after each call, on the cores that the next
    kernel needs; small products between kernels gain nothing from them. Calls nest, also
    in several Python threads: the last one out restores.

    Yields
    ------
    None
    """
    global _users
    with _lock:
        if _users == 0:
            _undo.enter_context(_blas("scipy.linalg" in sys.modules).limit(limits=1))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _undo.close()


@contextmanager
def serial_kernels() -> Iterator[None]:
    """Keep compiled kernels on the calling thread: to wake others costs more than small problems take, most of all on a busy machine.

    Yields
    ------
    None
    """
    import numba

    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(threads)


def kernels_for(work: float) -> AbstractContextManager[None]:
    """Let kernels use all threads if there is enough work for them, in flops."""
    return serial_kernels() if work < SERIAL_FLOPS else nullcontext()


@functools.cache
def _blas(with_scipy: bool) -> Any:
    """Find the BLAS libraries that are loaded, which takes milliseconds; SciPy brings one of its own."""
    del with_scipy
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
