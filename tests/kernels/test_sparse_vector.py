"""Compressed rows times few vectors: dtypes of entries and places, empty rows, against dense ones; the same bits for any thread count."""

import numpy as np
import pytest
import scipy.sparse as sp

from lowrank_la import limit_threads
from lowrank_la.kernels import sparse_vector
from lowrank_la.kernels._engine import use_engine

RNG = np.random.default_rng(4)


def draw(n, d, dtype, places=np.int32, density=0.02):
    A = sp.random_array((n, d), density=density, rng=RNG, format="csr").astype(dtype)
    A.data = A.data - dtype(0.5) + (1j * A.data[::-1] if dtype in (np.complex64, np.complex128) else 0)
    A.indices, A.indptr = A.indices.astype(places), A.indptr.astype(places)
    return A


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("places", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize(("n", "d"), [(30, 20), (2000, 900), (700, 3000)])
def test_products_and_sizes(n, d, dtype, places, engine):
    A = draw(n, d, dtype, places)
    dense = A.toarray().astype(np.complex128 if dtype == np.complex128 else np.float64)
    for c in (1, 2, 3, 4, 5, 8):
        X = RNG.standard_normal((d, c))
        memory = A.data, A.indices, A.indptr
        with use_engine(engine):
            np.testing.assert_allclose(sparse_vector.times(*memory, X), dense @ X, atol=1e-12)
            np.testing.assert_allclose(sparse_vector.times(*memory, X + 2j * X), dense @ (X + 2j * X), atol=1e-12)
            np.testing.assert_allclose(
                sparse_vector.sizes(*memory, abs(X)), abs(dense) @ abs(X), atol=1e-6 if dtype == np.complex128 else 1e-12
            )


def test_empty_rows_and_strided_vectors():
    A = sp.csr_array(sp.vstack([sp.csr_array((3000, 500)), draw(900, 500, np.float64, density=0.2), sp.csr_array((1, 500))]))
    X = RNG.standard_normal((500, 6))[:, ::2]
    np.testing.assert_allclose(sparse_vector.times(A.data, A.indices, A.indptr, X), A @ X, atol=1e-12)


def test_threads_do_not_change_a_bit():
    A, X = draw(3000, 3000, np.float64), RNG.standard_normal((3000, 3))
    with limit_threads(1):
        alone = sparse_vector.times(A.data, A.indices, A.indptr, X)
    np.testing.assert_array_equal(sparse_vector.times(A.data, A.indices, A.indptr, X), alone)
