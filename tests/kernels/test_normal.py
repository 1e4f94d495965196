"""Products with the normal matrix against long-double sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from lowrank_la.kernels import normal, residual
from lowrank_la.kernels._engine import use_engine
from tests import oracles_tall
from tests.oracles_tall import problems, tall


def _assert_within(problem, got, length):
    zero = oracles_tall.Tall(problem.A, problem.X, np.zeros_like(problem.B), problem.R_inv, problem.scale)
    g, _, slack, _ = oracles_tall.gradient(zero, length)
    assert np.all(np.abs(got + g) <= slack)


@settings(max_examples=40)
@given(problem=problems)
def test_product_is_right_to_rounding(problem):
    got = normal.product(problem.A, problem.X, problem.scale)
    _assert_within(problem, got, residual.sum_length(problem.A, problem.X.shape[1]))


@settings(max_examples=15)
@given(problem=problems)
def test_reference_is_right_to_rounding(problem):
    with use_engine("reference"):
        got = normal.product(problem.A, problem.X, problem.scale)
    _assert_within(problem, got, problem.A.shape[0] + 4)


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_complex(dtype):
    rng = np.random.default_rng(0)
    A, V = ((rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype) for s in ((50, 4), (4, 2)))
    scale = rng.uniform(size=50)
    DA = scale[:, None] * A.astype(np.clongdouble)
    assert np.allclose(normal.product(A, V, scale), DA.conj().T @ (DA @ V), rtol=1e-12)


def test_other_libraries(backend):
    problem = tall(90, 5, 2, weighted=True)
    got = normal.product(*(backend.array(x) for x in (problem.A, problem.X, problem.scale)))
    _assert_within(problem, backend.numpy(got), 94)


@pytest.mark.cudasim
def test_cuda_loop():
    problem = tall(40, 7, 1, weighted=True)
    with use_engine("cuda"):
        got = normal.product(problem.A, problem.X, problem.scale)
    _assert_within(problem, got, 44)
