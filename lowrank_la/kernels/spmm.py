"""Product of compressed rows with a tall dense matrix. SciPy's runs on one core and in the wider of the two dtypes."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel


def reference(values: Array, indices: Array, indptr: Array, F: Array) -> Array:
    """Multiply compressed rows (m, n) with F (n, k).

    Parameters
    ----------
    values, indices, indptr : arrays (N,), (N,) and (m + 1,)
    F : array (n, k)

    Returns
    -------
    array (m, k), in the dtype of F; sums in float64
    """
    xp = _arrays.namespace(values, indices, indptr, F)
    terms = xp.astype(values, xp.float64)[:, None] * xp.astype(xp.take(F, indices, axis=0), xp.float64)
    start = xp.zeros((1, F.shape[1]), dtype=xp.float64, device=F.device)
    sums = xp.concat([start, xp.cumulative_sum(terms, axis=0)], axis=0)
    return xp.astype(xp.take(sums, indptr[1:], axis=0) - xp.take(sums, indptr[:-1], axis=0), F.dtype)


@njit(parallel=True, cache=True)
def _cpu(values, indices, indptr, F, out):
    k = F.shape[1]
    for i in prange(out.shape[0]):
        total = np.zeros(k)
        for t in range(indptr[i], indptr[i + 1]):
            y, j = values[t], indices[t]
            for c in range(k):
                total[c] += y * F[j, c]
        for c in range(k):
            out[i, c] = total[c]


def cpu(values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Run on all cores, one row of the answer at a time."""
    out = np.empty((len(indptr) - 1, F.shape[1]), F.dtype)
    _cpu(values, indices, indptr, np.ascontiguousarray(F), out)
    return out


apply = Kernel(reference, cpu)  # on a GPU the reference is a few CuPy calls
