"""What other packages build on: products by modes, truncation with tails that add up, its bases."""

import math

import numpy as np
import pytest

from lowrank_la.tensors import _basis, _canonical, _modes
from lowrank_la.tensors._truncate import truncate
from tests.tensors import oracles

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("shape", [(5,), (4, 6), (3, 1, 5), (2, 3, 4, 5)])
def test_products_by_modes(backend, shape):
    T = RNG.standard_normal(shape)
    matrices = [RNG.standard_normal((3, n)) for n in shape]
    for k, M in enumerate(matrices):
        expected = np.moveaxis(np.tensordot(M, T, (1, k)), 0, k)
        np.testing.assert_allclose(backend.numpy(_modes.multiply(backend.array(T), backend.array(M), k)), expected, atol=1e-13)
        unfolded = backend.numpy(_modes.unfold(backend.array(T), k))
        np.testing.assert_array_equal(unfolded, np.moveaxis(T, k, 0).reshape(shape[k], -1))
        blocks = [backend.numpy(block) for block in _basis.fibres(backend.array(T), k)]
        assert sorted(map(tuple, np.concatenate(blocks))) == sorted(map(tuple, unfolded.T))
    matrices[0] = None
    result = _modes.multiply_all(backend.array(T), [None if M is None else backend.array(M) for M in matrices])
    np.testing.assert_allclose(
        backend.numpy(result), np.real(oracles.dense(T, [np.eye(shape[0]), *matrices[1:]])).astype(float), atol=1e-12
    )


@pytest.mark.parametrize("shape", [(7,), (30, 40), (20, 30, 10), (70, 60, 50), (12, 13, 14, 90)])
def test_squared_tails_add_up_to_the_squared_error(shape):
    for complex_values in (False, True):
        T = oracles.tensor(shape, tuple(min(3, n) for n in shape), 0.1, RNG, complex_values=complex_values)
        before, size = T.copy(), np.linalg.norm(T)
        for tol, ranks in ((0.3 * size, None), (1e-9 * size, None), (0.0, (2,) * len(shape)), (0.2 * size, (4,) * len(shape))):
            found = truncate(T, tol=tol, ranks=ranks)
            error = oracles.error(T, found.core, found.factors)
            assert found.error == pytest.approx(math.sqrt(sum(tail**2 for tail in found.tails)))
            assert found.error == pytest.approx(error, rel=1e-9, abs=1e-12 * size)
            assert error <= found.bound
            assert found.size == pytest.approx(size)
            assert ranks is not None or found.bound <= max(tol, 1e-12 * size)
            assert ranks is None or max(found.core.shape) <= max(ranks)
        assert np.array_equal(T, before)


def test_ranks_do_not_exceed_the_product_of_the_others():
    T = np.concatenate([RNG.standard_normal((9, 3, 2)), 1e-12 * RNG.standard_normal((9, 3, 2))], axis=1)
    found = truncate(T, tol=1e-9)
    assert found.core.shape == (6, 3, 2)
    assert oracles.error(T, found.core, found.factors) <= 1e-9


def test_exact_bases_resolve_what_gram_matrices_do_not():
    A = np.linalg.qr(RNG.standard_normal((500, 20)))[0] * 10.0 ** -np.arange(20)
    for tol in (1e-2, 1e-6, 1e-9, 1e-13):
        found = _basis.exact(A, 1, tol, 20)
        assert found.X.shape[1] == pytest.approx(-math.log10(tol) + 1, abs=1)
        assert np.linalg.norm(A - A @ found.X @ found.X.T) == pytest.approx(found.tail, rel=1e-2)


def test_canonical_tensors_for_neighbours():
    weights, factors = RNG.standard_normal(40), [RNG.standard_normal((n, 40)) for n in (9, 8, 7)]
    T = np.real(oracles.canonical(weights, factors)).astype(float)
    assert _canonical.canonical_norm(weights, factors) == pytest.approx(np.linalg.norm(T))
    found = _canonical.canonical(weights, factors, tol=2.0)
    assert oracles.error(T, found.core, found.factors) <= found.bound <= 2.0 * (1 + 1e-9)
