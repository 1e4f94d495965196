"""Kernels known by name: their values, parameters and refusals."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from lowrank_la.kernel_methods import RBF, Cosine, KernelFunction, Laplace, Matern, Polynomial
from lowrank_la.kernel_methods._functions import NAMES

X, Y = np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([[3.0, 4.0]])


@pytest.mark.parametrize(
    ("kernel", "first", "second"),
    [
        (RBF(5.0), math.exp(-0.5), math.exp(-8 / 50)),
        (Laplace(7.0), math.exp(-1), math.exp(-4 / 7)),
        (Matern(5.0, 0.5), math.exp(-1), math.exp(-(8**0.5) / 5)),
        (Matern(5.0, 1.5), (1 + 3**0.5) * math.exp(-(3**0.5)), (1 + 24**0.5 / 5) * math.exp(-(24**0.5) / 5)),
        (
            Matern(5.0, 2.5),
            (1 + 5**0.5 + 5 / 3) * math.exp(-(5**0.5)),
            (1 + 40**0.5 / 5 + 40 / 75) * math.exp(-(40**0.5) / 5),
        ),
        (Polynomial(2, 0.5, 1.0), 1.0, (0.5 * 11 + 1) ** 2),
        (NAMES["linear"], 0.0, 11.0),
        (Cosine(), 0.0, 11 / (5 * 5**0.5)),
    ],
)
def test_values(kernel, first, second):
    np.testing.assert_allclose(kernel(X, Y), [[first], [second]], rtol=1e-14)
    assert isinstance(kernel, KernelFunction)
    assert pickle.loads(pickle.dumps(kernel)) == kernel


def test_values_keep_library_and_dtype(backend):
    values = RBF(2.0)(backend.array(X.astype(np.float32)), backend.array(Y.astype(np.float32)))
    assert backend.numpy(values).dtype == np.float32
    assert RBF(2.0)(X.astype(int).tolist(), Y.astype(int).tolist()).dtype == np.float64


def test_sparse_points():
    S = sp.csr_array(X)
    np.testing.assert_allclose(RBF(5.0)(S, S), RBF(5.0)(X, X), rtol=1e-14)


BAD = [
    (lambda: RBF(1.0)(np.array([[np.nan, 1.0]]), np.ones((1, 2))), ValueError, "RBF: X must be finite"),
    (lambda: RBF(1.0)(np.ones((1, 2)), None), TypeError, "RBF: Y must be an array of numbers; got NoneType"),
    (lambda: RBF(np.ones(2)), TypeError, "RBF: bandwidth must be a number above 0"),
    (lambda: RBF(0), ValueError, "RBF: bandwidth must be a number above 0; got 0"),
    (lambda: Laplace("mean"), TypeError, "Laplace: bandwidth must be a number above 0; got 'mean'"),
    (lambda: Matern(1.0, 2), ValueError, "Matern: nu must be one of 0.5, 1.5, 2.5; got 2"),
    (lambda: Polynomial(0), ValueError, "Polynomial: degree must be an integer of at least 1; got 0"),
    (lambda: Polynomial(2, -1.0), ValueError, "Polynomial: scale must be a number above 0"),
    (lambda: Polynomial(2, 1.0, -1.0), ValueError, "Polynomial: offset must be a number of at least 0"),
    (lambda: RBF()(X, Y), ValueError, "RBF: bandwidth must be a number to call the kernel; got 'median'"),
    (lambda: RBF(1.0)(X, Y[:, :1]), ValueError, r"RBF: Y must have shape \(1, 2\)"),
    (lambda: RBF(1.0)(X[0], Y), ValueError, "RBF: X must be 2-dimensional"),
    (lambda: Laplace(1.0)(sp.csr_array(X), Y), TypeError, "Laplace: X must be a dense array for the Laplace kernel; got csr_array"),
    (lambda: RBF(1.0)(X * 1j, Y), TypeError, "RBF: X must be real"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
