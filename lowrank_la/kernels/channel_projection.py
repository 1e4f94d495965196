"""What is left of measurements when the best gains are taken out, and sums over snapshots: one pass over memory each.

Arrays (p, m) hold a row for each snapshot, a column for each channel. Both loops are bound by memory. NumPy needs a pass and a new array
for each operation: for four snapshots of a million channels it takes three times as long for the projection, twice for the sums.
On a GPU the references run, as elementwise kernels.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels._engine import Kernel

SPAN = 2048  # channels that one task takes: their sums stay in the first-level cache


def reference(F: Array, W: Array, weight: Array, scale: Array, phase: bool) -> Array:
    """Return weight * (F - W c) with c = scale * sum_l conj(W_l) F_l, or i times its imaginary part: gains of modulus one turn only.

    F and W are (p, m), weight and scale real (m,). The memory of F may become that of the answer.
    """
    xp = _arrays.namespace(F, W)
    c = scale * sum_reference(W, F)
    if phase:
        c = 1j * xp.imag(c) if xp.isdtype(c.dtype, "complex floating") else xp.zeros_like(c)
    return weight * (F - W * c)


def cpu(F: np.ndarray, W: np.ndarray, weight: np.ndarray, scale: np.ndarray, phase: bool) -> np.ndarray:
    """Overwrite F; real data take the reference."""
    if F.dtype != np.complex128 or W.dtype != F.dtype:
        return reference(F, W, weight, scale, phase)
    F = np.ascontiguousarray(F)
    _project(F.view(np.float64), np.ascontiguousarray(W).view(np.float64), weight, scale, 0.0 if phase else 1.0)
    return F


@njit(parallel=True, cache=True)
def _project(F, W, weight, scale, real):  # type: ignore[no-untyped-def]
    """Work on real and imaginary parts side by side: loops over complex numbers do not vectorize."""
    p, m = F.shape[0], F.shape[1] // 2
    for task in prange(-(-m // SPAN)):
        first, last = task * SPAN, min(m, (task + 1) * SPAN)
        n = last - first
        re, im = np.zeros(n), np.zeros(n)
        for l in range(p):
            f, w = F[l, 2 * first : 2 * last], W[l, 2 * first : 2 * last]
            for i in range(n):
                re[i] += w[2 * i] * f[2 * i] + w[2 * i + 1] * f[2 * i + 1]
                im[i] += w[2 * i] * f[2 * i + 1] - w[2 * i + 1] * f[2 * i]
        s, g = scale[first:last], weight[first:last]
        for i in range(n):
            re[i] *= real * s[i]
            im[i] *= s[i]
        for l in range(p):
            f, w = F[l, 2 * first : 2 * last], W[l, 2 * first : 2 * last]
            for i in range(n):
                f[2 * i] = g[i] * (f[2 * i] - w[2 * i] * re[i] + w[2 * i + 1] * im[i])
                f[2 * i + 1] = g[i] * (f[2 * i + 1] - w[2 * i] * im[i] - w[2 * i + 1] * re[i])


def sum_reference(W: Array, F: Array) -> Array:
    """Return sum_l conj(W_l) F_l for real or complex W (p, m) and F (p, m)."""
    xp = _arrays.namespace(W, F)
    return xp.sum((xp.conj(W) if xp.isdtype(W.dtype, "complex floating") else W) * F, axis=0)


def sum_cpu(W: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Add up on all threads."""
    out = np.zeros(W.shape[1], np.result_type(W, F))
    _sum(np.ascontiguousarray(W), np.ascontiguousarray(F), out)
    return out


@njit(parallel=True, cache=True)
def _sum(W, F, out):  # type: ignore[no-untyped-def]
    p, m = W.shape
    for task in prange(-(-m // SPAN)):
        for l in range(p):
            for i in range(task * SPAN, min(m, (task + 1) * SPAN)):
                out[i] += np.conj(W[l, i]) * F[l, i]


apply = Kernel(reference, cpu)
channel_sum = Kernel(sum_reference, sum_cpu)
