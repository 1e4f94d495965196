"""Chebyshev-Tucker functions at points: every engine against dense sums in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import chebyshev as oracle

from lowrank_la import limit_threads
from lowrank_la.kernels import chebyshev
from lowrank_la.kernels._engine import use_engine

BOX = np.array([[0.0, 1.0], [-2.0, 3.0], [5.0, 5.5], [-1.0, 1.0], [0.5, 0.75], [-7.0, -3.0], [0.0, 4.0], [1.0, 3.0]])


def case(d, Q, p=1, dtype=np.float64, sizes=(9, 1, 12, 3, 5, 2, 7, 33), ranks=(3, 2, 4, 5, 1, 2, 3, 2), seed=0):
    rng = np.random.default_rng(seed)
    factors = [rng.standard_normal((m, r)).astype(dtype) for m, r in zip(sizes[:d], ranks[:d], strict=True)]
    core = rng.standard_normal((p, *ranks[:d])).astype(dtype)
    t = rng.random((Q, d))
    t[:2] = [[0], [1]]
    return (BOX[:d, 0] * (1 - t) + BOX[:d, 1] * t).astype(dtype), core, factors, BOX[:d]


def truth(X, core, factors, domain):
    """Sum in float64, one point at a time."""
    answers = []
    for x in X.astype(np.float64):
        W = core.astype(np.result_type(core.dtype, np.float64))
        for k in reversed(range(len(factors))):
            a, b = domain[k]
            W = W @ oracle.chebval((2 * x[k] - a - b) / (b - a), factors[k].astype(W.dtype))
        answers.append(W)
    return np.stack(answers, axis=1)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("d", range(1, 9))
@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-12), (np.float32, 1e-4), (np.complex128, 1e-12)])
def test_engines_agree_with_dense_sums(engine, d, dtype, tol):
    if dtype == np.complex128:
        X, core, factors, box = case(d, 37, 2)
        arguments = X, core * (1 + 2j), [V * (2 - 1j) for V in factors], box
    else:
        arguments = case(d, 37, 2, dtype)
    with use_engine(engine):
        got = chebyshev.apply(*arguments)
    expected = truth(*arguments)
    assert got.dtype == dtype
    assert abs(got - expected).max() < tol * abs(expected).max()


@pytest.mark.parametrize("Q", [0, 1, 15, 16, 17, 1000])
@pytest.mark.parametrize("layout", ["C", "F", "every other", "backwards"])
def test_any_number_and_layout_of_points(Q, layout):
    X, *rest = case(3, max(Q, 2), sizes=(20, 31, 9), ranks=(8, 9, 17))
    X = X[:Q]
    given = {
        "C": X,
        "F": np.asfortranarray(X),
        "every other": np.repeat(X, 2, axis=0)[::2],
        "backwards": np.ascontiguousarray(X[::-1])[::-1],
    }
    got = chebyshev.apply(given[layout], *rest)
    assert got.shape == (1, Q)
    expected = truth(X, *rest) if Q else got
    assert abs(got - expected).max(initial=0) <= 1e-12 * abs(expected).max(initial=0)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 8, 1025])
def test_recurrences_of_any_length_are_accurate(m):
    x = np.concatenate([np.linspace(-1, 1, 101), 1 - 10.0 ** -np.arange(16), [1, -1]])
    V = np.eye(m)
    angles = np.arccos(np.asarray(x, np.longdouble))
    expected = np.asarray(np.cos(np.arange(m) * angles[:, None]), np.float64)
    got = chebyshev.apply(x[:, None], np.eye(m), [V], np.array([[-1.0, 1.0]]))
    assert abs(got.T - expected).max() < 4e-16 * m**2 + 1e-15


def test_points_just_outside_are_taken_for_the_ends():
    X, *rest = case(2, 2)
    outside = X + np.array([[-1e-15, 0], [1e-15, 0]])
    assert np.array_equal(chebyshev.apply(outside, *rest), chebyshev.apply(X, *rest))


def test_threads_do_not_change_a_bit():
    arguments = case(3, 20000, sizes=(20, 31, 9), ranks=(8, 9, 7))
    answers = []
    for threads in (1, 2):
        with limit_threads(threads):
            answers.append(chebyshev.apply(*arguments))
    assert np.array_equal(*answers)


def test_backends(backend):
    X, core, factors, box = case(3, 37, 2)
    if backend.name == "torch":
        return
    got = chebyshev.apply(backend.array(X), backend.array(core), [backend.array(V) for V in factors], box)
    assert abs(backend.numpy(got) - truth(X, core, factors, box)).max() < 1e-11


@pytest.mark.cudasim
@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_cuda_agrees_in_the_simulator(d, dtype, tol):
    arguments = case(d, 5, 2, dtype, sizes=(4, 3, 5, 1, 2), ranks=(2, 5, 3, 1, 2))
    with use_engine("cuda"):
        got = chebyshev.apply(*arguments)
    expected = truth(*arguments)
    assert got.dtype == dtype
    assert abs(got - expected).max() < tol * abs(expected).max()
