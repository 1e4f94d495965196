"""Norms of whitened rows, rounds of Lewis weights and fine products against long double, over shapes, layouts and engines."""

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

from lowrank_la.kernels import fine_scores, row_scores
from lowrank_la.kernels._engine import use_engine
from tests import oracles_tall
from tests.oracles_tall import LAYOUTS, LONG, U, problems, tall


def rows_of(problem):
    """Q = D A P, and |D| |A| |P|, in long double."""
    D, A, P = oracles_tall.weights(problem), problem.A.astype(LONG), problem.R_inv.astype(LONG)
    return D * (A @ P), abs(D) * (abs(A) @ abs(P))


@settings(max_examples=60)
@given(problem=problems)
@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_norms_are_right_to_rounding(engine, problem):
    Q, size = rows_of(problem)
    with use_engine(engine):
        h = row_scores.norms(problem.A, problem.R_inv, problem.scale)
    assert h.dtype == np.float64
    assert h.shape == (len(Q),)
    assert np.all(abs(h - np.sum(Q**2, axis=1)) <= 3 * (problem.A.shape[1] + 4) * U * np.sum(size**2, axis=1))


@settings(max_examples=40)
@given(problem=problems)
@pytest.mark.parametrize(("p", "theta"), [(1, 4 / 3), (2, 1.0), (6, 0.5)])
@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_rounds_of_lewis_weights(engine, p, theta, problem):
    A, P = problem.A.copy(), problem.R_inv
    A[::3] = 0
    x = np.random.default_rng(0).uniform(-20, 0, len(A))
    with use_engine(engine):
        y, G, residual, full = row_scores.lewis(A, P, x, theta, p, -10.0)
    Q = A.astype(LONG) @ P.astype(LONG)
    h, zero = np.sum(Q**2, axis=1), np.arange(len(A)) % 3 == 0
    r = np.where(zero, 0, p / 2 * np.log(np.where(zero, 1, h)) - x)
    expected = np.where(zero, row_scores.LEAST, np.maximum(x + theta * r, row_scores.LEAST))
    loss = 1e-13 * float(np.max(np.sum((abs(A) @ abs(P)) ** 2, axis=1) / np.where(zero, np.inf, h), initial=1))  # relative, of h
    np.testing.assert_allclose(y, expected.astype(float), atol=1e-12 + 2 * p * loss)
    counts = np.maximum(x, x + r) > -10
    assert residual == pytest.approx(float(np.max(abs(r) * counts)), abs=1e-12 + p * loss)
    assert full == pytest.approx(float(np.max(abs(r))), abs=1e-12 + p * loss)
    S = np.exp((0.5 - 1 / p) * y)[:, None] * Q
    size = np.sqrt(np.sum((np.exp((0.5 - 1 / p) * y)[:, None] * (abs(A) @ abs(P))) ** 2, axis=0))
    assert np.all(abs(G - S.T @ S) <= 1e-12 * np.outer(size, size))
    assert np.array_equal(G, G.T)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(700, 5), (1000, 60), (300, 137)])
def test_fine_products_lose_nothing_to_cancellation(shape, dtype, layout):
    """A P cancels by ten digits; rows of P and columns of A have opposite scales."""
    rng = np.random.default_rng(0)
    n, d = shape
    columns = 2.0 ** -rng.integers(-30, 30, d)
    R = np.triu(rng.standard_normal((d, d))) * 0.1 + np.eye(d)
    R[:, -1] += 1e10
    R = np.triu(R)
    A = oracles_tall.laid_out(((rng.standard_normal((n, d)) @ R) / columns).astype(dtype), layout)
    P, C = np.linalg.inv(R), np.triu(rng.standard_normal((d, d))) + 3 * np.eye(d)
    scale = rng.uniform(0, 2, n)
    Y = (np.asarray(A, LONG) * columns) @ np.triu(P).astype(LONG)
    Q = scale[:, None] * (Y @ C.astype(LONG))
    lost = 30 * d * U * (abs(Y) @ abs(C)) * scale[:, None] + 1e-6 * U * d * 1e10 * scale[:, None] * (1 + abs(C).sum(axis=0))
    for engine in ("cpu", "reference"):
        with use_engine(engine):
            h, G = fine_scores.product(A, np.triu(P), columns, C, scale)
        assert np.all(abs(h - np.sum(Q**2, axis=1)) <= np.sum(2 * abs(Q) * lost + lost**2, axis=1))
        size = np.sqrt(np.sum(Q**2, axis=0))
        loss = np.sqrt(np.sum(lost**2, axis=0))
        slack = np.outer(size, loss) + np.outer(loss, size) + np.outer(loss, loss) + 2 * n * U * np.outer(size, size)
        assert np.all(abs(G - Q.T @ Q) <= slack)


def test_sparse_and_complex_rows():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((500, 6)) * (rng.random((500, 6)) < 0.4)
    P, x, ones = np.triu(rng.standard_normal((6, 6))), rng.uniform(-3, 0, 500), np.ones(6)
    S, Z = sp.csr_array(A), A * np.exp(1j * x)[:, None]
    for B in (S, Z):
        np.testing.assert_allclose(row_scores.norms(B, P + (0j if B is Z else 0), x), row_scores.norms(A, P, x), rtol=1e-12)
        pair = zip(row_scores.lewis(B, P, x, 0.7, 3.0, -9.0), row_scores.lewis(A, P, x, 0.7, 3.0, -9.0), strict=True)
        assert all(np.allclose(one, other, rtol=1e-11, atol=1e-12) for one, other in pair)
        pair = zip(fine_scores.product(B, P + (0j if B is Z else 0), ones, P, x), fine_scores.product(A, P, ones, P, x), strict=True)
        assert all(np.allclose(one, other, rtol=1e-11, atol=1e-12) for one, other in pair)


def test_other_libraries(backend):
    problem = tall(200, 7, 1, weighted=True)
    A, P, scale = (backend.array(z) for z in (problem.A, problem.R_inv, problem.scale))
    h = backend.numpy(row_scores.norms(A, P, scale))
    np.testing.assert_allclose(h, row_scores.norms(problem.A, problem.R_inv, problem.scale), rtol=1e-12)
    fine, _ = fine_scores.product(A, P, backend.array(np.ones(7)), backend.array(np.eye(7)), scale)
    np.testing.assert_allclose(backend.numpy(fine), h, rtol=1e-9)


@pytest.mark.parametrize("layout", ["C", "F"])
def test_same_bits_for_any_number_of_threads(layout):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    problem = tall(30_001, 60, 1, layout=layout, weighted=True)
    x, ones = np.zeros(30_001), np.ones(60)
    threads, answers = numba.get_num_threads(), []
    try:
        for count in (1, 2):
            numba.set_num_threads(count)
            h = row_scores.norms(problem.A, problem.R_inv, problem.scale)
            y, G, *_ = row_scores.lewis(problem.A, problem.R_inv, x, 0.5, 3.0, -9.0)
            answers.append((h, y, G, *fine_scores.product(problem.A, problem.R_inv, ones, problem.R_inv, problem.scale)))
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(one, two) for one, two in zip(*answers, strict=True))
