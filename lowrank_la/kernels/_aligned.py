"""Memory that begins on a cache line: vector loads that straddle two lines take twice as long."""

from __future__ import annotations

import numpy as np
from numba import njit

LINE_BYTES = 64


@njit(cache=True)
def aligned(rows, columns, like):
    """Allocate zeros (rows, columns) of the dtype of an array `like` that begin on a cache line; so do all rows of whole vectors."""
    space = np.zeros(rows * columns + LINE_BYTES // like.itemsize, like.dtype)
    first = -space.ctypes.data % LINE_BYTES // like.itemsize
    return space[first : first + rows * columns].reshape((rows, columns))
