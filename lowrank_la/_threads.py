"""One switch for every thread pool: BLAS, OpenMP, Numba and PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


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
