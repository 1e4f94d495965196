"""Chebyshev polynomials in one variable: nodes, transforms between values and coefficients, and calculus on coefficients.

A polynomial is the vector c of m coefficients of sum_j c_j T_j; arrays of coefficients hold one along `axis`. Nodes are those
of the second kind, x_i = cos(pi i / (m - 1)), in descending order; those for m are among those for 2 m - 1. Intervals are
mapped to [-1, 1] by `to_reference`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array, Namespace

MANY = 1 << 16  # entries from which the threads of a transform pay


def nodes(m: int, xp: Namespace = np, dtype: Any = None, device: Any = None) -> Array:
    """Return the m nodes of the second kind on [-1, 1], descending; the only node of m = 1 is 0."""
    i = np.arange(m)
    x = np.sin(np.pi * (m - 1 - 2 * i) / (2 * max(m - 1, 1)))  # antisymmetric to the last bit
    return x if xp is np and dtype is None else xp.asarray(x, dtype=dtype or xp.float64, device=device)


def from_reference(x: Array, interval: Sequence[float] | np.ndarray) -> Array:
    """Map [-1, 1] to an interval, ends to ends exactly."""
    a, b = float(interval[0]), float(interval[1])
    return 0.5 * ((1 - x) * a + (1 + x) * b)


def to_reference(x: Array, interval: Sequence[float] | np.ndarray) -> Array:
    """Map an interval to [-1, 1], ends to ends exactly."""
    a, b = float(interval[0]), float(interval[1])
    return ((x - a) - (b - x)) / (b - a)


def coefficients(values: Array, axis: int = 0) -> Array:
    """Turn values at the nodes into coefficients."""
    m = values.shape[axis]
    if m == 1:
        return values
    return _scaled(_cosines(values, axis), axis, 0.5 / (m - 1), 1 / (m - 1))


def values(coefficients: Array, axis: int = 0) -> Array:
    """Turn coefficients into values at the nodes."""
    if coefficients.shape[axis] == 1:
        return coefficients
    return _cosines(_scaled(coefficients, axis, 1.0, 0.5), axis)


def _scaled(x: Array, axis: int, ends: float, rest: float) -> Array:
    """Multiply the first and the last slice by one number, those between by another."""
    xp = _arrays.namespace(x)
    weights = np.full(x.shape[axis], rest)
    weights[[0, -1]] = ends
    shape = [1] * x.ndim
    shape[axis] = -1
    weights = _arrays.from_numpy(weights.reshape(shape), x)
    return x * xp.astype(weights, _arrays.real_dtype(xp, x.dtype))


def _cosines(x: Array, axis: int) -> Array:
    """Return y_i = x_0 + (-1)^i x_{m-1} + 2 sum_{0 < j < m-1} x_j cos(pi i j / (m - 1)), by the fast Fourier transform."""
    if _arrays.engine_of(x) == "cpu":
        import scipy.fft

        return scipy.fft.dct(x, type=1, axis=axis, workers=_workers(x.size))
    xp, m = _arrays.namespace(x), x.shape[axis]
    x = xp.moveaxis(x, axis, -1)
    even = xp.concat([x, xp.flip(x[..., 1 : m - 1], axis=-1)], axis=-1)
    y = xp.fft.fft(even) if xp.isdtype(x.dtype, "complex floating") else xp.real(xp.fft.rfft(even))
    return xp.moveaxis(xp.astype(y[..., :m], x.dtype), -1, axis)


def _workers(size: int) -> int:
    if size < MANY:
        return 1
    import numba

    return numba.get_num_threads()


def vandermonde(x: Array, m: int) -> Array:
    """Return the (Q, m) values T_j(x_i) for points x (Q,) of [-1, 1], by the three-term recurrence."""
    return kernels.chebyshev.vandermonde(x, m)


def resized(c: Array, m: int) -> Array:
    """Pad coefficients along the first axis with zeros to m rows."""
    xp = _arrays.namespace(c)
    missing = xp.zeros((m - c.shape[0], *c.shape[1:]), dtype=c.dtype, device=c.device)
    return xp.concat([c, missing], axis=0)


def differentiate(c: Array) -> Array:
    """Return the coefficients of the derivative on [-1, 1] of polynomials along the first axis, one fewer but at least one."""
    xp, m = _arrays.namespace(c), c.shape[0]
    if m == 1:
        return xp.zeros_like(c)
    twice = _weighted_rows(c, 2.0 * np.arange(m))[1:, ...]
    out = xp.empty_like(twice)  # c'_i = sum of 2 j c_j over j = i + 1, i + 3, ...
    for parity in (0, 1):
        tail = xp.flip(twice, axis=0)[parity::2, ...]
        if tail.shape[0]:
            start = (m - 2 - parity) % 2
            out[start::2, ...] = xp.flip(xp.cumulative_sum(tail, axis=0), axis=0)
    out[0, ...] = out[0, ...] / 2
    return out


def integrate(c: Array) -> Array:
    """Return the coefficients, one more, of the integral from -1 of polynomials along the first axis."""
    xp, m = _arrays.namespace(c), c.shape[0]
    below = xp.concat([2 * c[:1, ...], c[1:, ...]], axis=0)
    above = resized(c[2:, ...] if m > 1 else c[1:, ...], m)
    terms = _weighted_rows(below - above, 0.5 / np.arange(1, m + 1))  # coefficients 1 to m
    signs = -((-1.0) ** np.arange(1, m + 1))
    first = xp.sum(_weighted_rows(terms, signs), axis=0, keepdims=True)
    return xp.concat([first, terms], axis=0)


def _weighted_rows(c: Array, weights: np.ndarray) -> Array:
    xp = _arrays.namespace(c)
    weights = weights.reshape((-1,) + (1,) * (c.ndim - 1))
    return c * xp.astype(_arrays.from_numpy(weights, c), _arrays.real_dtype(xp, c.dtype))


def integral_weights(m: int) -> np.ndarray:
    """Return the integrals of T_0, ..., T_{m-1} over [-1, 1]."""
    i = np.arange(m, dtype=np.float64)
    return np.where(i % 2 == 0, 2 / (1 - (i * (i % 2 == 0)) ** 2), 0.0)


def node_weights(m: int) -> np.ndarray:
    """Return the weights of Clenshaw and Curtis: with the values at m nodes they integrate over [-1, 1], exactly for degrees below m."""
    if m == 1:
        return np.array([2.0])
    weights = _cosines(integral_weights(m), 0) / (m - 1)
    weights[[0, -1]] /= 2
    return weights


def probability_scale(m: int) -> np.ndarray:
    """Return the root mean squares of T_0, ..., T_{m-1} under the law of the cosine of a uniform angle: 1, then sqrt(1/2)."""
    return np.where(np.arange(m) == 0, 1.0, math.sqrt(0.5))
