"""Vectors of Krylov iterations: compiled passes against plain formulas on every backend; the same bits for any thread count."""

import numpy as np
import pytest

from lowrank_la import limit_threads
from lowrank_la.kernels import krylov

RNG = np.random.default_rng(5)


def answers(arrays, factors):
    X, R, P, Q = arrays
    X_new, R_new, squares = krylov.step(X, R, P, Q, factors)
    return krylov.dots(X, R), X_new, R_new, squares, krylov.turn(X, P, factors), krylov.scale(X, factors)


@pytest.mark.parametrize("kind", ["real", "complex", "single", "scattered"])
@pytest.mark.parametrize("shape", [(50, 1), (40000, 1), (9001, 3), (5000, 8)])
def test_passes(shape, kind, backend):
    arrays = [RNG.standard_normal(shape) + (1j * RNG.standard_normal(shape) if kind == "complex" else 0) for _ in range(4)]
    if kind == "single":
        arrays = [x.astype(np.float32) for x in arrays]
    if kind == "scattered":
        arrays = [np.asfortranarray(x) for x in arrays]
    X, R, P, Q = arrays
    factors = RNG.standard_normal(shape[1])
    R_new = R - Q * factors
    expected = np.sum(X.conj() * R, axis=0).real, X + P * factors, R_new, np.sum(abs(R_new) ** 2, axis=0), X + P * factors, X * factors
    inside = [backend.array(x) for x in arrays] if backend.name == "strict" else arrays
    for place, (ours, theirs) in enumerate(zip(answers(inside, factors), expected, strict=True)):
        ours = ours if place in (0, 3) else backend.numpy(ours) if backend.name == "strict" else ours
        np.testing.assert_allclose(ours, theirs, rtol=1e-3 if kind == "single" else 1e-10, atol=1e-2 if kind == "single" else 1e-9)
    for before, after in zip(arrays, (X, R, P, Q), strict=True):
        np.testing.assert_array_equal(before, after)


def test_threads_do_not_change_a_bit():
    arrays, factors = [RNG.standard_normal((30001, 2)) for _ in range(4)], RNG.standard_normal(2)
    with limit_threads(1):
        alone = answers(arrays, factors)
    for ours, theirs in zip(answers(arrays, factors), alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)
