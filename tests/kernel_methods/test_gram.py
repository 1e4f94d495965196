"""Kernel matrices in tiles: blocks, products and diagonals against the whole matrix; bandwidths from the data."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial.distance import pdist

from lowrank_la import _arrays
from lowrank_la.kernel_methods import RBF, Cosine, Laplace, Matern, Polynomial
from lowrank_la.kernel_methods._gram import enter

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
KERNELS = [RBF(1.5), Laplace(1.5), Matern(1.5, 0.5), Matern(1.5, 2.5), Polynomial(2, 0.5, 1.0), Cosine()]


def grams(kernel, points):
    K = kernel(X, X)
    return (
        enter("test", points(X), kernel, 0),
        enter("test", points(X), lambda A, B: kernel(A, B), 0),
        enter("test", points(K), "precomputed", 0),
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_blocks_products_and_diagonals(kernel, backend):
    K, V = kernel(X, X), RNG.standard_normal((60, 4))
    rows, columns = np.array([3, 59, 0]), np.array([7, 7, 1, 20])
    for gram in grams(kernel, backend.array):
        places = [_arrays.from_numpy(index, gram.X) for index in (rows, columns)]
        inside = _arrays.from_numpy(V, gram.X)
        assert gram.n == 60
        np.testing.assert_allclose(_arrays.to_numpy(gram.block(*places)), K[np.ix_(rows, columns)], atol=1e-12)
        np.testing.assert_allclose(_arrays.to_numpy(gram.block(slice(None), places[1])), K[:, columns], atol=1e-12)
        np.testing.assert_allclose(_arrays.to_numpy(gram.apply(inside)), K @ V, atol=1e-11)
        np.testing.assert_allclose(_arrays.to_numpy(gram.diagonal), np.diagonal(K), atol=1e-12)
        assert gram.diagonal.dtype == gram.door.xp.float64
        if not isinstance(gram.kernel, str):
            few = gram.points(places[0])
            np.testing.assert_allclose(_arrays.to_numpy(gram.between(few, gram.X)), K[rows], atol=1e-12)
            np.testing.assert_allclose(_arrays.to_numpy(gram.product(few, gram.X, inside)), K[rows] @ V, atol=1e-11)


@pytest.mark.parametrize(("kernel", "metric"), [("rbf", "euclidean"), ("matern", "euclidean"), ("laplace", "cityblock")])
def test_the_bandwidth_is_the_median_distance(kernel, metric):
    assert enter("test", X, kernel, 0).kernel.bandwidth == pytest.approx(np.median(pdist(X, metric)))
    if kernel != "laplace":
        assert enter("test", sp.csr_array(X), kernel, 0).kernel.bandwidth == pytest.approx(np.median(pdist(X, metric)))


def test_bandwidths_of_many_points_come_from_a_sample_that_the_seed_decides():
    many = RNG.standard_normal((3000, 2))
    one, two, other = (enter("test", many, "rbf", seed).kernel.bandwidth for seed in (0, 0, 1))
    assert one == two != other
    assert one == pytest.approx(np.median(pdist(many)), rel=0.05)


def test_coinciding_points_have_bandwidth_one():
    assert enter("test", np.ones((5, 2)), "rbf", 0).kernel == RBF(1.0)
    assert enter("test", np.array([[0.0], [0.0], [0.0], [4.0]]), "rbf", 0).kernel == RBF(4.0)


def test_sparse_points():
    S = sp.random_array((50, 40), density=0.2, rng=np.random.default_rng(1), format="coo")
    gram, V = enter("test", S, Matern(2.0, 1.5), 0), RNG.standard_normal((50, 2))
    K = Matern(2.0, 1.5)(S.toarray(), S.toarray())
    np.testing.assert_allclose(gram.block(slice(None), np.array([4, 9])), K[:, [4, 9]], atol=1e-12)
    np.testing.assert_allclose(gram.apply(V), K @ V, atol=1e-12)
    np.testing.assert_allclose(enter("test", S, "polynomial", 0).diagonal, np.diagonal(Polynomial()(S.toarray(), S.toarray())))
