"""Functions in Tucker format made of random coefficients, and what they are: dense arrays of coefficients, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev

from lowrank_la.functions._function import function_of

BOXES = np.array([[0.0, 1.0], [-2.0, 3.0], [5.0, 5.5], [-1.0, 1.0], [0.5, 0.75], [-7.0, -3.0], [0.0, 4.0], [1.0, 3.0]])


def random_function(sizes, ranks, *, outputs=None, dtype=np.float64, seed=0, decay=0.7, **evidence):
    """Return a function whose coefficients decay, and its coefficients as a dense array."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        x = rng.standard_normal(shape)
        return (x + 1j * rng.standard_normal(shape) if np.issubdtype(dtype, np.complexfloating) else x).astype(dtype)

    core = draw(*(() if outputs is None else (outputs,)), *ranks)
    factors = [draw(m, r) * (decay ** np.arange(m))[:, None].astype(np.real(core).dtype) for m, r in zip(sizes, ranks, strict=True)]
    f = function_of(core, factors, BOXES[: len(sizes)], **evidence)
    return f, dense(f)


def dense(f):
    """Return the array of all coefficients of a function, after the axis of outputs if there is one."""
    C = np.asarray(f.core)
    for axis, V in enumerate(f.factors):
        mode = axis + C.ndim - f.dim
        C = np.moveaxis(np.tensordot(np.asarray(V), C, axes=(1, mode)), 0, mode)
    return C


def points(f, n, seed=1):
    """Return points (n, d) of the box of a function, its corners among them."""
    t = np.random.default_rng(seed).random((n, f.dim))
    t[0], t[1] = 0, 1
    return f.domain[:, 0] * (1 - t) + f.domain[:, 1] * t


def values(C, domain, X):
    """Evaluate dense coefficients at points (n, d)."""
    lead = C.ndim - len(domain)
    out = np.moveaxis(C, 0, -1)[..., None] if lead else C[..., None]
    for k, (a, b) in enumerate(domain):
        table = chebyshev.chebvander((2 * X[:, k] - a - b) / (b - a), out.shape[0] - 1)
        out = np.einsum("qi,i...q->...q", table, np.broadcast_to(out, (*out.shape[:-1], len(X))))
    return out


def differentiated(C, domain, axis, order=1):
    """Differentiate dense coefficients."""
    length = domain[axis, 1] - domain[axis, 0]
    return chebyshev.chebder(C, order, scl=2 / length, axis=axis + C.ndim - len(domain))


def integrated(C, domain):
    """Integrate dense coefficients over the box."""
    for a, b in domain[::-1]:
        ends = chebyshev.chebint(C, lbnd=-1, scl=(b - a) / 2, axis=-1)
        C = chebyshev.chebval(1.0, np.moveaxis(ends, -1, 0))
    return C


def padded(C, shape):
    """Pad dense coefficients with zeros."""
    return np.pad(C, [(0, n - m) for n, m in zip(shape, C.shape, strict=True)])


def multiplied(C, D):
    """Multiply two functions of dense coefficients through values on a grid that fits their product."""
    shape = [m + n - 1 for m, n in zip(C.shape, D.shape, strict=True)]
    tables = [chebyshev.chebvander(np.cos(np.pi * np.arange(m) / max(m - 1, 1)) * (m > 1), m - 1) for m in shape]
    values = [along_all(padded(X, shape), tables) for X in (C, D)]
    return along_all(values[0] * values[1], [np.linalg.inv(table) for table in tables])


def along_all(X, matrices):
    """Multiply every mode of an array by its matrix."""
    for k, M in enumerate(matrices):
        X = np.moveaxis(np.tensordot(M, X, axes=(1, k)), 0, k)
    return X
